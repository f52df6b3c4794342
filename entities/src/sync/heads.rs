//! The newest commit number of an agency, read once for everybody who asks at the same moment.
//!
//! A thousand phones that ask "anything new?" need one look at the clock row, not a thousand. An
//! answer may serve only those who had asked before the look began: whoever comes while one is
//! under way waits for the next. So what is told is never older than the question, whichever
//! process committed, and the busier the server the more questions each look answers. (A number
//! kept in memory until a notice drops it would be cheaper still, and behind by the notice's way.)

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::error::Result;
use crate::sql;
use crate::store::Store;

/// Agencies remembered before those at rest are forgotten.
const REMEMBERED: usize = 1000;

/// Where an agency's clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The newest commit number.
    pub(crate) seq: i64,
    /// The timeline it belongs to.
    pub(crate) epoch: i64,
    /// Something has come due by time alone and waits to be settled.
    pub(crate) due: bool,
}

/// `None` where the look failed: whoever asks goes the long way, which says why.
type Look = Shared<BoxFuture<'static, Option<Head>>>;

/// How the caller's runtime lets whatever is ready go first.
pub type Pause = fn() -> BoxFuture<'static, ()>;

/// The looks under way, by agency. They belong to those who wait for them: when all have gone, so
/// has the look, with its connection.
#[derive(Debug)]
pub(crate) struct Heads {
    agencies: Mutex<HashMap<String, Looks>>,
    pause: Pause,
}

#[derive(Debug, Default)]
struct Looks {
    /// Has begun, or is about to.
    now: Option<Held>,
    /// Begins when the other has ended.
    next: Option<Held>,
}

/// A look, for as long as somebody waits for it, and whether it has begun.
#[derive(Clone, Debug)]
struct Held {
    look: WeakShared<BoxFuture<'static, Option<Head>>>,
    begun: Arc<AtomicBool>,
}

impl Held {
    /// The look, for one more: `None` when it has begun or nobody waits for it any more.
    fn joined(&self) -> Option<Look> {
        self.look.upgrade().filter(|_| !self.begun.load(SeqCst))
    }
}

impl Heads {
    pub(crate) fn new(pause: Pause) -> Heads {
        Heads { agencies: Mutex::default(), pause }
    }

    /// The agency's head at some moment after this call; `None` when it could not be read.
    pub(crate) async fn newest(&self, store: &Store, agency_id: &str) -> Option<Head> {
        let look = {
            let mut agencies = self.agencies.lock().unwrap_or_else(PoisonError::into_inner);
            if agencies.len() >= REMEMBERED && !agencies.contains_key(agency_id) {
                agencies.retain(|_, looks| looks.under_way().is_some());
            }
            if !agencies.contains_key(agency_id) {
                agencies.insert(agency_id.to_owned(), Looks::default());
            }
            agencies.get_mut(agency_id)?.join(store, agency_id, self.pause)
        };
        look.await
    }
}

impl Looks {
    /// The look that has begun or is about to, and has not ended.
    fn under_way(&mut self) -> Option<Look> {
        loop {
            match self.now.as_ref()?.look.upgrade() {
                Some(look) if look.peek().is_none() => return Some(look),
                _ => self.now = self.next.take(),
            }
        }
    }

    /// A look that begins after this call.
    fn join(&mut self, store: &Store, agency_id: &str, pause: Pause) -> Look {
        let now = self.under_way();
        for held in self.now.iter().chain(&self.next) {
            if let Some(look) = held.joined() {
                return look;
            }
        }
        let begun = Arc::new(AtomicBool::new(false));
        let (store, agency_id, begins) = (store.clone(), agency_id.to_owned(), Arc::clone(&begun));
        let follows = now.is_some();
        let look = async move {
            if let Some(now) = now {
                now.await;
            }
            // Whoever asks at this very moment can still come along.
            pause().await;
            begins.store(true, SeqCst);
            read(&store, agency_id).await.ok().flatten()
        };
        let look = look.boxed().shared();
        let held = look.downgrade().map(|look| Held { look, begun });
        if follows {
            self.next = held;
        } else {
            self.now = held;
        }
        look
    }
}

async fn read(store: &Store, agency_id: String) -> Result<Option<Head>> {
    let text = format!(
        "select c.seq, c.epoch, exists (select 1 from sync_due d where d.agency_id = $1 and d.at <= {}) \
         from sync_clock c where c.agency_id = $1",
        store.now_sql()
    );
    let row = sql::one(store.connection(), &text, vec![agency_id.into()]).await?;
    row.map(|row| {
        Ok(Head { seq: row.try_get_by_index(0)?, epoch: row.try_get_by_index(1)?, due: row.try_get_by_index(2)? })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look that ends as soon as somebody waits for it.
    fn made(begun: bool) -> (Look, Option<Held>) {
        let look: Look = std::future::ready(None).boxed().shared();
        let held = look.downgrade().map(|look| Held { look, begun: Arc::new(AtomicBool::new(begun)) });
        (look, held)
    }

    #[test]
    fn a_look_that_ended_or_was_given_up_is_not_under_way() {
        let (first, now) = made(true);
        let mut looks = Looks { now, next: None };
        assert!(looks.under_way().is_some());
        assert!(first.clone().now_or_never().is_some());
        assert!(looks.under_way().is_none(), "it has ended");
        let (second, now) = made(true);
        looks.now = now;
        drop(second);
        assert!(looks.under_way().is_none(), "nobody waits for it");
    }

    #[test]
    fn nobody_joins_a_look_that_has_begun() {
        let ((_first, now), (second, next)) = (made(true), made(false));
        assert!(now.as_ref().is_some_and(|held| held.joined().is_none()));
        assert!(next.as_ref().and_then(Held::joined).is_some_and(|look| look.ptr_eq(&second)));
    }

    #[test]
    fn the_next_one_has_its_turn_when_the_first_has_ended() {
        let ((first, now), (second, next)) = (made(true), made(false));
        let mut looks = Looks { now, next };
        assert!(first.clone().now_or_never().is_some());
        assert!(looks.under_way().is_some_and(|look| look.ptr_eq(&second)), "the next one's turn has come");
        assert!(looks.next.is_none());
    }
}
