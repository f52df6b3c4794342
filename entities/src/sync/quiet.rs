//! "Nothing new", answered with one look-up.
//!
//! Most pulls bring nothing. When a device's cursor is the agency's newest commit number, nothing
//! lies beyond it for anybody, and the only open questions are the device's own: deletes held
//! back, rows of a new schema. A device whose last complete reply left none of these is quiet, and
//! is remembered here for as long as nobody commits. The number itself is always read from the
//! database, so that a reply never lags behind another process's commit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::access::Actor;
use crate::error::Result;
use crate::store::Store;

use super::heads::{Heads, Pause};
use super::pull::{Pull, PullRequest};

/// Devices remembered before the memory starts afresh.
const REMEMBERED: usize = 100_000;
/// A quiet device goes the long way once in so many milliseconds, so that the time of its last
/// pull is kept.
const LONG_WAY_MS: i64 = 5 * 60 * 1000;

/// Devices for which nothing is pending.
#[derive(Debug)]
pub struct Quiet {
    devices: Mutex<HashMap<(String, String), Known>>,
    heads: Heads,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    schema_version: u32,
    /// The number of the reply: a later one came from another process, which may know more of the device.
    timestamp: i64,
    since: i64,
}

impl Quiet {
    /// Nothing is known yet. Before it looks it pauses, so that all who ask at that moment share the look.
    pub fn new(pause: Pause) -> Quiet {
        Quiet { devices: Mutex::default(), heads: Heads::new(pause) }
    }

    /// The timestamp and epoch to answer with when this pull brings nothing for certain.
    pub async fn unchanged(&self, store: &Store, actor: &Actor, request: &PullRequest) -> Result<Option<(i64, i64)>> {
        if request.cursor == 0 || request.migration.is_some() {
            return Ok(None);
        }
        let now = store.clock().now().0;
        let known = {
            let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
            devices.get(&key(actor)).copied()
        };
        let quiet = known.is_some_and(|known| {
            known.schema_version == request.schema_version
                && known.timestamp == request.cursor
                && (0..LONG_WAY_MS).contains(&(now - known.since))
        });
        if !quiet {
            return Ok(None);
        }
        let head = self.heads.newest(store, &actor.agency_id).await;
        Ok(head.filter(|head| head.seq == request.cursor && !head.due).map(|head| (head.seq, head.epoch)))
    }

    /// Takes note of a reply, and whether it left the device anything to wait for.
    pub(crate) fn note(&self, actor: &Actor, reply: &Pull) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if reply.has_more || reply.unsettled {
            devices.remove(&key(actor));
            return;
        }
        if devices.len() >= REMEMBERED {
            devices.clear();
        }
        let Pull { schema_version, timestamp, .. } = *reply;
        devices.insert(key(actor), Known { schema_version, timestamp, since: reply.snapshot.now().0 });
    }
}

fn key(actor: &Actor) -> (String, String) {
    (actor.device_id.clone().unwrap_or_default(), actor.user().to_owned())
}
