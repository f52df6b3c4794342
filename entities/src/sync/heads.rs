//! The newest commit number of an agency, read once for everybody who asks at the same moment.
//!
//! A thousand phones that ask "anything new?" need one look at the clock row, not a thousand. An
//! answer may serve only those who had asked before the look began: whoever comes while one is
//! under way waits for the next. So what is told is never older than the question, whichever
//! process committed, and the busier the server the more questions each look answers. (A number
//! kept in memory until a notice drops it would be cheaper still, and behind by the notice's way.)

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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

/// The looks under way, by agency. They belong to those who wait for them: when all have gone, so
/// has the look, with its connection.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<HashMap<String, Looks>>);

#[derive(Debug, Default)]
struct Looks {
    /// May have begun.
    now: Option<WeakShared<BoxFuture<'static, Option<Head>>>>,
    /// Begins when the other has ended.
    next: Option<WeakShared<BoxFuture<'static, Option<Head>>>>,
}

impl Heads {
    /// The agency's head at some moment after this call; `None` when it could not be read.
    pub(crate) async fn newest(&self, store: &Store, agency_id: &str) -> Option<Head> {
        let look = {
            let mut agencies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if agencies.len() >= REMEMBERED && !agencies.contains_key(agency_id) {
                agencies.retain(|_, looks| looks.under_way().is_some());
            }
            if !agencies.contains_key(agency_id) {
                agencies.insert(agency_id.to_owned(), Looks::default());
            }
            agencies.get_mut(agency_id)?.join(store, agency_id)
        };
        look.await
    }
}

impl Looks {
    /// The look that may have begun and has not ended.
    fn under_way(&mut self) -> Option<Look> {
        loop {
            match self.now.as_ref()?.upgrade() {
                Some(look) if look.peek().is_none() => return Some(look),
                _ => self.now = self.next.take(),
            }
        }
    }

    /// A look that begins after this call.
    fn join(&mut self, store: &Store, agency_id: &str) -> Look {
        let Some(now) = self.under_way() else {
            let look = look(store.clone(), agency_id.to_owned()).boxed().shared();
            self.now = look.downgrade();
            return look;
        };
        if let Some(next) = self.next.as_ref().and_then(WeakShared::upgrade) {
            return next;
        }
        let (store, agency_id) = (store.clone(), agency_id.to_owned());
        let next = async move {
            now.await;
            look(store, agency_id).await
        };
        let next = next.boxed().shared();
        self.next = next.downgrade();
        next
    }
}

async fn look(store: Store, agency_id: String) -> Option<Head> {
    read(&store, agency_id).await.ok().flatten()
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
    fn made() -> Look {
        std::future::ready(None).boxed().shared()
    }

    #[test]
    fn a_look_that_ended_or_was_given_up_is_not_under_way() {
        let first = made();
        let mut looks = Looks { now: first.downgrade(), next: None };
        assert!(looks.under_way().is_some());
        assert!(first.clone().now_or_never().is_some());
        assert!(looks.under_way().is_none(), "it has ended");
        let second = made();
        looks.now = second.downgrade();
        drop(second);
        assert!(looks.under_way().is_none(), "nobody waits for it");
    }

    #[test]
    fn nobody_joins_a_look_that_may_have_begun() {
        let (first, second) = (made(), made());
        let mut looks = Looks { now: first.downgrade(), next: second.downgrade() };
        assert!(first.clone().now_or_never().is_some());
        assert!(looks.under_way().is_some_and(|look| look.ptr_eq(&second)), "the next one's turn has come");
        assert!(looks.next.is_none());
    }
}
