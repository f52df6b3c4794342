//! Forgetting deletions that every phone has had time to hear of (H8, M18).
//!
//! A deletion is an ended entry in the feed, and the end of somebody's access to a scope. Both are
//! kept for the retention, 400 days unless the operator says otherwise. Then the agency's horizon,
//! `purged_below`, is raised first, and what lies below it is deleted in small batches: a device whose
//! cursor lies below the horizon is sent everything instead of what changed. No device holds the
//! horizon back, whether it is used or lies in a drawer. Rows, their history, quarantined work and
//! the audit trail are never touched: a deleted row keeps its id, so that making it again is
//! still no plain creation.

use crate::access::Actor;
use crate::clock::Instant;
use crate::error::Result;
use crate::people::agency;
use crate::sql;
use crate::store::Store;

use super::timeline::timeline;

/// Rows deleted in one transaction at most.
const BATCH: u64 = 500;
const DAY_MS: i64 = 86_400_000;

/// What can be forgotten, as table and condition; `$1` is the agency, `$2` the horizon. Commit numbers
/// are milliseconds, or run ahead of them, so the horizon is an instant as well.
const LEFTOVERS: [(&str, &str); 6] = [
    ("sync_feed", "agency_id = $1 and not live and seq < $2"),
    ("sync_access", "agency_id = $1 and not visible and seq < $2"),
    ("sync_resend", "agency_id = $1 and seq < $2"),
    ("sync_mutation", "agency_id = $1 and seq < $2"),
    ("sync_push", "agency_id = $1 and seq < $2"),
    ("sync_device", "agency_id = $1 and coalesce(last_pull_at, 0) < $2 and coalesce(last_push_at, 0) < $2"),
];

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Agencies whose horizon was raised.
    pub agencies: u64,
    /// Entries of the feed, endings of access and what hung on them.
    pub rows: u64,
}

/// Purges every agency now: all that is older than so many days.
pub async fn all(store: &Store, days: u32) -> Result<Purged> {
    let mut purged = Purged::default();
    for agency in agency::all(store.connection()).await? {
        purged.agencies += u64::from(raise(store, &agency.id, days, 0).await?);
        loop {
            let rows = batch(store, &agency.id).await?;
            purged.rows += rows;
            if rows == 0 {
                break;
            }
        }
    }
    Ok(purged)
}

/// One short step of a purge that goes on by itself; true when there is more to do at once. The horizon
/// is raised by a day at a time at least.
pub async fn step(store: &Store, days: u32) -> Result<bool> {
    for agency in agency::all(store.connection()).await? {
        if raise(store, &agency.id, days, DAY_MS).await? || batch(store, &agency.id).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Raises the horizon where something lies below the new one and the two differ by more than `by`.
async fn raise(store: &Store, agency_id: &str, days: u32, by: i64) -> Result<bool> {
    let below = store.now().await?.0 - i64::from(days) * DAY_MS;
    if timeline(store.connection(), agency_id).await?.purged_below + by >= below {
        return Ok(false);
    }
    let mut something = false;
    for (table, old) in LEFTOVERS {
        let text = format!("select 1 from {table} where {old} limit 1");
        something |= sql::one(store.connection(), &text, vec![agency_id.into(), below.into()]).await?.is_some();
    }
    if !something {
        return Ok(false);
    }
    let mut write = store.write(&Actor::system(agency_id)).await?;
    let text = "update sync_clock set purged_below = $2 where agency_id = $1 and purged_below < $2";
    sql::exec(write.conn(), text, vec![agency_id.into(), below.into()]).await?;
    write.note("deletions_forgotten", Instant(below).rfc3339());
    write.commit().await?;
    Ok(true)
}

/// Deletes some of what lies below the horizon; 0 when nothing is left. It takes no clock, so that no writer
/// waits for it: whoever has read an ended entry may find it gone.
async fn batch(store: &Store, agency_id: &str) -> Result<u64> {
    let below = timeline(store.connection(), agency_id).await?.purged_below;
    if below == 0 {
        return Ok(0);
    }
    let side = store.side().await?;
    let mut left = BATCH;
    for (table, old) in LEFTOVERS {
        left -= sql::delete_some(&*side, table, old, vec![agency_id.into(), below.into()], left).await?.min(left);
        if left == 0 {
            break;
        }
    }
    side.commit().await?;
    Ok(BATCH - left)
}
