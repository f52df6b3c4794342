//! The native face: an opaque cursor, pages, and mutations with a result each.
//!
//! For apps that are not built on WatermelonDB. A mutation names for each field what it was and
//! what it is to be, so two phones that changed different fields never meet a conflict, and the
//! value that loses one is kept.

pub mod cursor;
pub mod page;

use crate::access::Actor;
use crate::error::Error;
use crate::store::Store;

use super::pull::{Pull, PullRequest};
use super::timeline::{Standing, timeline};
use super::{restored, state};
use cursor::{Cursor, CursorKey};

pub use super::push::mutate::{Mutation, MutationOp, MutationResult, mutate};

/// Why a pull is not answered; each has one recovery.
#[derive(Debug)]
pub enum PullRefusal {
    /// The cursor is none of ours, or was edited.
    Unreadable,
    /// It was made for another user.
    AnotherUsers,
    /// A backup was restored: the device offers what it holds and pulls from the start, with this epoch.
    EpochChanged(i64),
    /// Deletions beyond it have been forgotten: the device pulls from the start, and that takes the
    /// place of what it holds.
    Expired,
    /// Anything else.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for PullRefusal {
    fn from(err: E) -> PullRefusal {
        PullRefusal::Failed(err.into())
    }
}

/// Answers a pull from a sealed cursor; without one from the start, where the request may name the epoch that what the
/// device holds belongs to. The request's own cursor is not looked at.
pub async fn pull(
    store: &Store,
    actor: &Actor,
    mut request: PullRequest,
    sealed: Option<&str>,
    keys: &[CursorKey],
) -> Result<Pull, PullRefusal> {
    request.cursor = 0;
    // With a cursor, it tells the epoch.
    let mut known = request.epoch.take().filter(|_| sealed.is_none());
    if let Some(text) = sealed {
        let cursor = keys.iter().find_map(|key| Cursor::open(text, key)).ok_or(PullRefusal::Unreadable)?;
        if cursor.user_id != actor.user() {
            return Err(PullRefusal::AnotherUsers);
        }
        let line = timeline(store.connection(), &actor.agency_id).await?;
        match line.standing(Some(cursor.epoch), cursor.seq) {
            Standing::Lost => {
                restored::tell(store, actor).await?;
                return Err(PullRefusal::EpochChanged(line.epoch));
            }
            Standing::Forgotten if state::expired(store.connection(), actor, &line, cursor.seq).await? => {
                return Err(PullRefusal::Expired);
            }
            Standing::Forgotten | Standing::Current => {
                (request.cursor, request.epoch) = (cursor.seq, Some(cursor.epoch));
                known = request.epoch;
            }
        }
    }
    let pull = super::pull(store, actor, &request).await?;
    // A device that holds rows and has lost its cursor; or a restore, or deletions forgotten, after the look above.
    if known.is_some_and(|known| known != pull.epoch) {
        let epoch = pull.epoch;
        drop(pull);
        restored::tell(store, actor).await?;
        return Err(PullRefusal::EpochChanged(epoch));
    }
    if sealed.is_some() && pull.replaces {
        return Err(PullRefusal::Expired);
    }
    Ok(pull)
}
