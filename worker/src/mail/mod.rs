//! From a row in the outbox to a mail server's yes.
//!
//! `claim` takes rows under a lease, `bind` asks once more whether the reason still stands and who
//! is to get it, `words` and `build` make the message, `smtp` hands it over, and `claim` again
//! writes down how it went. No network is ever touched inside a transaction. Whatever goes wrong
//! with one message is written on that message, and the others go on.

mod bind;
mod build;
mod claim;
mod refused;
mod smtp;
mod words;

pub use build::{Sender, Unbuilt};
pub use claim::{LEASE_SECS, RESEND_AFTER_SECS};
pub use smtp::{Attempt, BadUrl, Outcome, Refusal, Server};
pub use words::{NAMES, Templates, Unworded, Words};

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use entities::write::refuse_leap;
use entities::{Instant, Result, Store, instance};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant as Tick;

use bind::Bound;
use claim::{Claimed, Verdict};

/// How many messages are on their way at once.
const AT_ONCE: usize = 8;

/// Where mail goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// To a mail server.
    Smtp(Server),
    /// Nowhere: worded, kept in the database and shown by the demo.
    Capture,
    /// No mail server is configured: mail waits in the outbox.
    None,
}

/// Everything needed to send.
#[derive(Clone, Debug)]
pub struct Mailer {
    route: Route,
    sender: Sender,
    public_url: String,
    templates: Arc<Templates>,
    turn: Arc<Semaphore>,
}

/// A message's turn to be handed over, until it is dropped. A crash repeats what it finds between the
/// final dot and the record of the answer, so that is one message at a time; a server that takes long
/// over its answer does not keep the others waiting.
struct Turn(AbortHandle);

impl Turn {
    async fn take(turns: &Arc<Semaphore>, at_most: Duration) -> Turn {
        let turn = Arc::clone(turns).acquire_owned().await;
        let ends = async move {
            tokio::time::sleep(at_most).await;
            drop(turn);
        };
        Turn(tokio::spawn(ends).abort_handle())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a mailer cannot be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// The mail server's URL.
    #[error("the URL of the mail server {0}")]
    Url(#[from] BadUrl),
    /// The address that mail is from.
    #[error("the address that mail is from: {0}")]
    From(#[from] Unbuilt),
    /// A template in this program.
    #[error(transparent)]
    Template(#[from] Unworded),
}

/// What became of a round of mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Taken by the server, or caught.
    pub sent: usize,
    /// Not sent because the reason or the recipient is gone.
    pub suppressed: usize,
    /// Left for another attempt, uncertain, held or dead.
    pub troubled: usize,
}

impl Mailer {
    /// A mailer that sends from `from` (`Name <address>`) with links that begin with `public_url`.
    pub fn new(route: Route, from: &str, public_url: &str) -> std::result::Result<Mailer, BadSettings> {
        Ok(Mailer {
            route,
            sender: Sender::parse(from)?,
            public_url: public_url.trim_end_matches('/').to_owned(),
            templates: Arc::new(Templates::new()?),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// A mailer for a mail server's URL, or for none.
    pub fn to_server(url: Option<&str>, from: &str, public_url: &str) -> std::result::Result<Mailer, BadSettings> {
        let route = match url {
            Some(url) => Route::Smtp(Server::parse(url)?),
            None => Route::None,
        };
        Mailer::new(route, from, public_url)
    }

    /// Sends what is due, at most `limit` messages, several at once. `at` is an instant that counts as now for what is
    /// due and what is said; leases and times of sending are the clock's. Without it each message is asked about at its
    /// own moment: a round lasts as long as its server takes, and a case may pass on in the middle of it.
    ///
    /// Each message has a task of its own, so that claiming the next never waits for a connection
    /// that a message under way holds. When `stopping` becomes true, or the database fails, no more
    /// are claimed and those under way are finished.
    pub(crate) async fn post(
        &self,
        store: &Store,
        worker: &str,
        at: Option<Instant>,
        limit: usize,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Posted> {
        let mut posted = Posted::default();
        if matches!(self.route, Route::None) || !instance::sends(store.connection()).await? {
            return Ok(posted);
        }
        // What is too late by a clock that leapt would be gone for good.
        refuse_leap(store.connection(), store.now().await?).await?;
        claim::expire_leases(store).await?;
        let mut under_way: JoinSet<Result<Verdict>> = JoinSet::new();
        let mut left = limit;
        let mut failed = None;
        let mut dry = false;
        loop {
            while !dry && left > 0 && under_way.len() < AT_ONCE && !*stopping.borrow() {
                let wanted = (AT_ONCE - under_way.len()).min(left);
                let claimed = async {
                    let due = match at {
                        Some(at) => at,
                        None => store.now().await?,
                    };
                    Ok((due, claim::claim(store, worker, due, wanted).await?))
                };
                let (due, claimed) = claimed.await.unwrap_or_else(|why| {
                    failed = Some(why);
                    (Instant(0), Vec::new())
                });
                dry = claimed.is_empty();
                left -= claimed.len();
                for row in claimed {
                    let (mailer, store) = (self.clone(), store.clone());
                    under_way.spawn(async move { mailer.deliver(&store, row, due).await });
                }
            }
            match under_way.join_next().await {
                Some(Ok(Ok(Verdict::Sent))) => posted.sent += 1,
                Some(Ok(Ok(Verdict::Suppressed))) => posted.suppressed += 1,
                Some(Ok(Ok(Verdict::Waits))) => (),
                // A task that broke leaves its message under lease, from where it is found again.
                Some(Ok(Ok(Verdict::Troubled)) | Err(_)) => posted.troubled += 1,
                Some(Ok(Err(why))) => (failed, dry) = (Some(why), true),
                None => return failed.map_or(Ok(posted), Err),
            }
        }
    }

    /// One message, whatever happens to it. A panic is that message's own failure.
    async fn deliver(&self, store: &Store, row: Claimed, due: Instant) -> Result<Verdict> {
        let worked = AssertUnwindSafe(self.work(store, &row, due)).catch_unwind().await;
        match worked {
            Ok(Ok(verdict)) => Ok(verdict),
            // The database is not there: the lease runs out and the message is found again.
            Ok(Err(why @ (entities::Error::Busy(_) | entities::Error::StorageFull))) => Err(why),
            Ok(Err(why)) => claim::poison(store, &row, &why.to_string()).await,
            Err(_) => claim::poison(store, &row, "preparing the message broke").await,
        }
    }

    async fn work(&self, store: &Store, row: &Claimed, due: Instant) -> Result<Verdict> {
        if row.data.is_none() {
            return claim::poison(store, row, "its values are not JSON").await;
        }
        let bound = match bind::bind(store, row, due, &self.public_url).await? {
            Bound::To(letter) => letter,
            Bound::Nobody(why) => return claim::suppress(store, row, &why).await,
            Bound::SpokenFor(why) => return claim::withhold(store, row, why).await,
            Bound::TooLate => return claim::too_late(store, row).await,
            Bound::Refused => return claim::spare(store, row).await,
            Bound::NotBefore(then, why) => return claim::put_back(store, row, then, why).await,
            Bound::Passed(to) => return claim::pass_on(store, row, &to).await,
        };
        let template = if bound.counts_only { "something_waits" } else { row.template.as_str() };
        let words = match self.templates.render(template, &bound.data) {
            Ok(words) => words,
            Err(why) => return claim::poison(store, row, &why.to_string()).await,
        };
        let now = store.now().await?;
        let addresses: std::result::Result<Vec<_>, _> =
            bound.addresses.iter().map(|text| build::address(text)).collect();
        let built = addresses.and_then(|to| Ok((self.sender.build(&row.message_id, &to, &words, now)?, to)));
        let (message, to) = match built {
            Ok(built) => built,
            Err(why) => return claim::poison(store, row, &why.to_string()).await,
        };
        // An error of the database here means: do not hand it over.
        let mut turn = None;
        let mut hand_over = async |by: Option<Tick>| {
            if let Route::Smtp(server) = &self.route {
                turn = Some(Turn::take(&self.turn, server.turn()).await);
            }
            by.is_none_or(|by| Tick::now() <= by) && claim::hand_over(store, row, &bound).await.unwrap_or(false)
        };
        let attempt = match &self.route {
            Route::Smtp(server) => server.send(self.sender.address(), &to, &message, hand_over).await,
            Route::Capture if hand_over(None).await => Outcome::Sent.into(),
            Route::Capture => return Ok(Verdict::Troubled),
            Route::None => return Ok(Verdict::Troubled),
        };
        let keep = matches!(self.route, Route::Capture).then_some(&words);
        let verdict = claim::finish(store, row, &attempt, keep, due, &self.public_url).await;
        drop(turn);
        verdict
    }
}
