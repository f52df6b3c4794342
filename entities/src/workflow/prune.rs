//! Forgetting what the engine has done with, a little at a time.
//!
//! Timers that have come to an end, and mail that went out or was not wanted, are kept for the
//! retention and then deleted. What is pending, under way, or waits for a person is never touched,
//! however old. The ledger is what makes `once` last, so it stays as long as the case does: only
//! mornings long past and what belongs to a deleted case are forgotten.

use crate::error::Result;
use crate::sql;
use crate::store::Store;
use crate::write::refuse_leap;

/// Rows deleted in one transaction at most.
pub const BATCH: u64 = 500;
const DAY_MS: i64 = 86_400_000;

/// Cases deleted before `$1`.
const GONE: &str = "case_id in (select id from cases where deleted_at is not null and deleted_at < $1)";

/// What can be forgotten, as table and condition; `$1` is the instant before which it must have ended.
fn leftovers() -> [(&'static str, String); 6] {
    [
        ("wf_timer", "state <> 'pending' and state <> 'dead' and changed_at < $1".into()),
        (
            "outbound_message",
            "state in ('sent', 'suppressed', 'dropped') and created_at < $1 and coalesce(finished_at, 0) < $1".into(),
        ),
        ("wf_ledger", "case_id is null and at < $1".into()),
        ("wf_ledger", GONE.into()),
        ("wf_watch", GONE.into()),
        ("wf_timer", format!("state <> 'pending' and {GONE}")),
    ]
}

/// One short step; true when there is more to do at once.
pub async fn step(store: &Store, days: u32) -> Result<bool> {
    Ok(batch(store, days).await? > 0)
}

/// Deletes some of what is older than so many days; 0 when nothing is left.
pub async fn batch(store: &Store, days: u32) -> Result<u64> {
    let now = store.now().await?;
    refuse_leap(store.connection(), now).await?;
    let before = now.0 - i64::from(days) * DAY_MS;
    let side = store.side().await?;
    let mut left = BATCH;
    for (table, old) in leftovers() {
        left -= sql::delete_some(&*side, table, &old, vec![before.into()], left).await?.min(left);
        if left == 0 {
            break;
        }
    }
    side.commit().await?;
    Ok(BATCH - left)
}
