//! What the server knows of a device before it looks at the feed: where it stands, what was held back from
//! it, what it has missed, and what a reply to it will promise.

use crate::access::{self, Actor};
use crate::error::{Error, Result};
use crate::registry::{MIN_SCHEMA_VERSION, SCHEMA_VERSION, TABLES, Table};
use crate::sql;
use crate::store::{Snapshot, Store};

use super::device::{self, Device};
use super::feed::Entry;
use super::pull::{PullRequest, Told};
use super::timeline::{self, Standing, Timeline};

/// Deletes are held back for at most this long.
const HOLD_MS: i64 = 24 * 3600 * 1000;
/// How fine the time of a device's last pull is kept: a pull that brings nothing writes nothing.
const PULL_TIME_MS: i64 = 5 * 60 * 1000;
/// How fine a device's clock is measured.
const SKEW_MS: u64 = 5000;

/// What has to be known before the feed is looked at, in one look: on either database a statement costs
/// more than what it finds.
pub(super) struct Look {
    pub(super) line: Timeline,
    pub(super) device: Device,
    /// Something has come due by time alone and waits to be settled.
    pub(super) due: bool,
    /// Rows wait to be sent to this device again.
    pub(super) resends: bool,
    /// The present by the clock that stamps what is written: on PostgreSQL the database's, of which a process's own
    /// may differ.
    pub(super) now: i64,
}

impl Look {
    /// Opens a view and looks, once all that is due has been settled.
    pub(super) async fn open(store: &Store, actor: &Actor) -> Result<(Snapshot, Look)> {
        let snapshot = store.read().await?;
        let look = Look::take(store, &snapshot, actor).await?;
        if !look.due {
            return Ok((snapshot, look));
        }
        drop(snapshot);
        access::settle_due(store, &actor.agency_id).await?;
        let snapshot = store.read().await?;
        let look = Look::take(store, &snapshot, actor).await?;
        Ok((snapshot, look))
    }

    pub(super) async fn take(store: &Store, snapshot: &Snapshot, actor: &Actor) -> Result<Look> {
        let text = format!(
            "select {}, exists (select 1 from sync_due u where u.agency_id = $1 and u.at <= {}), \
             exists (select 1 from sync_resend r where r.device_id = $2 and r.user_id = $3), {}, {} \
             from {} left join sync_device d on d.device_id = $2 and d.user_id = $3 where c.agency_id = $1",
            timeline::COLUMNS,
            store.now_sql(),
            store.now_sql(),
            device::COLUMNS,
            timeline::CLOCK
        );
        let values = vec![
            actor.agency_id.as_str().into(),
            actor.device_id.clone().unwrap_or_default().into(),
            actor.user().into(),
        ];
        let row = sql::one(&**snapshot, &text, values).await?.ok_or(Error::NotFound)?;
        Ok(Look {
            line: Timeline::of(&row)?,
            due: row.try_get_by_index(5)?,
            resends: row.try_get_by_index(6)?,
            now: row.try_get_by_index(7)?,
            device: Device::of(&row, 8, actor)?,
        })
    }
}

/// What the server knows before it looks at the feed.
pub(super) struct State {
    /// The device as it is to be kept.
    pub(super) device: Device,
    /// The device as it is kept.
    pub(super) stored: Device,
    /// When the view was opened, in milliseconds.
    pub(super) now: i64,
    /// The newest commit number in the view.
    pub(super) horizon: i64,
    pub(super) epoch: i64,
    /// Deletions before this number have been forgotten.
    pub(super) purged_below: i64,
    /// Where this device really stands.
    pub(super) since: i64,
    /// The device comes from a timeline that is gone.
    pub(super) lost: bool,
    /// Deletions that the device has not heard of have been forgotten.
    pub(super) expired: bool,
    /// It is sent everything, to take the place of what it holds.
    pub(super) replaces: bool,
    /// Deletions up to this number are known to it.
    pub(super) deletes_after: i64,
    /// Deletes are held back in this reply.
    pub(super) withholds: bool,
    /// Held deletes are delivered, beginning after this number.
    pub(super) deliver_from: Option<i64>,
    /// Of these only what the device was spared before; deletes beyond its cursor are held back in their turn.
    pub(super) spares: bool,
    /// Rows wait to be sent to this device again.
    pub(super) resends: bool,
    /// The reply has a commit number of its own: it sends rows that stand behind the cursor, or answers an app that
    /// went back to an older version, which no process may take for quiet.
    pub(super) fresh: bool,
}

impl State {
    pub(super) fn of(look: Look, request: &PullRequest) -> State {
        let Look { line, device: stored, resends, now, .. } = look;
        let (horizon, epoch) = (line.head, line.epoch);
        let mut device = stored.clone();
        // After a restore everything is sent again, and what was deleted after the point to which
        // both timelines agree (S6).
        let lost = request.cursor > 0 && line.standing(request.epoch, request.cursor) == Standing::Lost;
        let cursor = if lost { 0 } else { request.cursor };
        // What was held back when the backup was made, or after it, has not arrived for certain.
        // Of a device that the backup does not know nothing had been held back when it was made.
        let acked = if device.acked_cursor == 0 { i64::MAX } else { device.acked_cursor };
        let certain = acked.min(device.held_from.unwrap_or(i64::MAX));
        let deletes_after = if lost { request.cursor.min(line.restored_to).min(certain) } else { 0 };
        // One that begins anew acknowledges nothing, and what its last install was sent is void.
        device.acknowledge(cursor, now);
        let expired = device.has_missed(&line, cursor);
        let waited = device
            .held_since
            .is_some_and(|began| now - began > HOLD_MS || device.last_push_at.is_some_and(|pushed| pushed > began));
        let holds = request.pending && request.cursor > 0;
        let withholds = holds && !waited;
        // What waits to be sent from the device is not taken away with what it lacks (S5).
        let salvaged = lost && request.salvaged == Some(line.epoch);
        let replaces = (expired || salvaged) && !withholds;
        let since = if expired { 0 } else { cursor };
        let deliver_from = if since > 0 && !withholds { device.held_from.map(|from| from.min(since)) } else { None };
        // What was held back goes now, and what the device has not heard of yet waits in its turn.
        let spares = holds && deliver_from.is_some();
        // A cursor at or beyond this number says that the reply has arrived. One that delivers takes a
        // number of its own, beyond every reply before it: the device may have had another since, where
        // this request was held up on its way.
        if deliver_from.is_some() {
            device.held_reply = Some(horizon + 1);
            device.held_next = spares.then_some(since);
        } else if (replaces || lost) && !withholds && device.held_from.is_some() {
            device.held_reply = Some(if replaces { horizon + 1 } else { cursor + 1 });
        }
        if request.cursor == 0 && request.limit.is_some() {
            (device.filling_from, device.filling_at, device.filling_was) = (Some(horizon), None, None);
        }
        // An app that went back has lost what it had of the newer version; one that is ahead of this server has
        // not been sent what the server will know of that version.
        let version = i64::from(request.schema_version.min(*SCHEMA_VERSION));
        let went_back = version < stored.schema_offered.unwrap_or(stored.schema_version);
        device.schema_version = device.schema_version.min(version);
        device.is_heard(now, &request.told);
        let mut state = State {
            device,
            stored,
            now,
            horizon,
            epoch,
            purged_below: line.purged_below,
            since,
            lost,
            expired,
            replaces,
            deletes_after,
            withholds,
            deliver_from,
            spares,
            resends,
            fresh: false,
        };
        let fills = !state.tables_to_fill(request).is_empty();
        if since > 0 && !fills {
            state.device.schema_version = version;
        } else if version != state.device.schema_version {
            // A full set brings all in the new form, in whatever pages; what is filled in later comes in one
            // reply, and only that one's number says that it has arrived.
            state.device.schema_offered = Some(version);
            state.device.schema_reply = Some(if fills { horizon + 1 } else { cursor + 1 });
        }
        state.fresh = went_back || state.deliver_from.is_some() || replaces || fills;
        state
    }

    /// Goes on in a later view, after what the reply promises has been kept.
    pub(super) async fn reload(
        self,
        store: &Store,
        snapshot: &Snapshot,
        actor: &Actor,
        request: &PullRequest,
    ) -> Result<State> {
        let mut state = State::of(Look::take(store, snapshot, actor).await?, request);
        if state.device.held_reply.is_some() && self.device.held_reply.is_some() {
            state.device.held_reply = self.device.held_reply;
            state.device.held_next = self.device.held_next;
        }
        let Device { filling_from, filling_at, filling_was, .. } = self.device;
        (state.device.filling_from, state.device.filling_at, state.device.filling_was) =
            (filling_from, filling_at, filling_was);
        if state.device.schema_offered == self.device.schema_offered {
            state.device.schema_reply = self.device.schema_reply;
        }
        Ok(state)
    }

    /// Whether something has to be kept before the reply may be sent: that it delivers what was held or
    /// rows behind the cursor, that one which did has not arrived, or that the app went back.
    pub(super) fn promises(&self) -> bool {
        let (was, is) = (&self.stored, &self.device);
        let cursor = is.acked_cursor;
        let undone = |was: Option<i64>, is: Option<i64>| was.is_some_and(|reply| cursor < reply) && was != is;
        let behind = self.horizon <= self.since;
        (self.fresh && (was != is || behind))
            || undone(was.held_reply, is.held_reply)
            || undone(was.schema_reply, is.schema_reply)
    }

    /// What else has changed about the device, to be kept when there is time for it: nothing waits for
    /// this, and the next pull finds it out again. Where a device stands is kept whenever
    /// something else is, not for its own sake.
    pub(super) fn note(self, actor: &Actor, request: &PullRequest) -> Option<Note> {
        Note::of(actor, self.device, self.stored, &request.told)
    }

    /// Tables whose rows have to be sent whole because the app has grown: those it names, checked
    /// against the list of tables, and those newer than what this device is known to have (S14).
    pub(super) fn tables_to_fill(&self, request: &PullRequest) -> Vec<&'static Table> {
        if self.since == 0 {
            return Vec::new();
        }
        // What the first sync brought may not have been kept: then it was the oldest version.
        let known = self.device.schema_version.max(i64::from(MIN_SCHEMA_VERSION));
        let grown = i64::from(request.schema_version) > known;
        let named = |name: &str| {
            request
                .migration
                .as_ref()
                .is_some_and(|asked| asked.tables.iter().chain(&asked.columns).any(|table| table == name))
        };
        TABLES
            .iter()
            .filter(|table| {
                let newer = i64::from(table.since) > known
                    || table.columns.iter().any(|column| i64::from(column.field.since) > known);
                named(table.name) || (grown && newer)
            })
            .collect()
    }

    /// Whether the end of this row is kept from the device for now, which has work to send that it would take with it.
    pub(super) fn spares_device(&self, entry: &Entry) -> bool {
        (self.withholds || (self.spares && entry.lost > self.since)) && !entry.immediate
    }

    /// Takes note that deletes beyond the cursor are held back from now on.
    pub(super) fn hold(&mut self, cursor: i64) {
        self.device.held_from = Some(cursor);
        self.device.held_since = Some(self.now);
    }

    /// Whether this page is one of a first sync in pages, and ends where deletions have been forgotten: what is asked for
    /// from there must be known for what it is.
    pub(super) fn fills(&self, request: &PullRequest, upto: i64) -> bool {
        let goes_on = request.cursor == 0 || self.device.is_filling(request.cursor);
        let forgotten = |number: i64| number < self.purged_below;
        goes_on
            && self.device.filling_from.is_some()
            && (forgotten(upto) || self.device.held_from.is_some_and(forgotten))
    }

    /// Keeps what has changed about the device. Rows that stand behind the cursor ride on a number
    /// of their own: were the reply lost, its cursor would otherwise look acknowledged (S5). The number is known
    /// when the clock is had, and not by what was the newest when this request came. False where the device has been
    /// heard of again since it was read, by this process or another: its state is then another's, and nothing is kept.
    pub(super) async fn keep(&mut self, store: &Store, actor: &Actor) -> Result<bool> {
        let kept;
        if self.fresh {
            let write = store.write(actor).await?;
            for reply in [&mut self.device.held_reply, &mut self.device.schema_reply].into_iter().flatten() {
                if *reply > self.horizon {
                    *reply = write.seq();
                }
            }
            kept = self.device.save_if(write.conn(), &actor.agency_id, &self.stored).await?;
            if kept {
                write.commit().await?;
            }
        } else {
            let side = store.side().await?;
            kept = self.device.save_if(&*side, &actor.agency_id, &self.stored).await?;
            side.commit().await?;
        }
        Ok(kept)
    }
}

/// What a pull found out about its device and promised nothing about.
#[derive(Debug)]
pub struct Note {
    agency_id: String,
    device: Device,
    stored: Device,
    app_version: Option<String>,
}

impl Note {
    /// What has changed about a device, if anything.
    pub(crate) fn of(actor: &Actor, device: Device, stored: Device, told: &Told) -> Option<Note> {
        let changed = Device { acked_cursor: stored.acked_cursor, ..device.clone() } != stored;
        let (agency_id, app_version) = (actor.agency_id.clone(), told.app_version.clone());
        changed.then_some(Note { agency_id, device, stored, app_version })
    }

    /// Keeps it, unless the device has been heard of again meanwhile.
    pub async fn keep(self, store: &Store) -> Result<()> {
        let side = store.side().await?;
        self.device.save_over(&*side, &self.agency_id, &self.stored).await?;
        if let Some(version) = self.app_version {
            let text = "update devices set app_version = $1 where user_id = $2 and id = $3 and coalesce(app_version, '') <> $1";
            let values = vec![version.into(), self.device.user_id.into(), self.device.device_id.into()];
            sql::exec(&*side, text, values).await?;
        }
        side.commit().await
    }
}

/// Whether deletions that a device with this cursor has not heard of have been forgotten, so that
/// it must begin afresh.
pub(super) async fn expired(
    conn: &impl sea_orm::ConnectionTrait,
    actor: &Actor,
    line: &Timeline,
    cursor: i64,
) -> Result<bool> {
    if cursor == 0 || cursor >= line.purged_below {
        return Ok(false);
    }
    let mut device = Device::load(conn, actor).await?;
    device.acknowledge(cursor, 0);
    Ok(device.has_missed(line, cursor))
}

impl Device {
    /// The lesser of the cursor and what is held back decides (S5). A device in the middle of a first
    /// sync that comes in pages lacks no deletion from before it began, however old the rows it
    /// has come to.
    fn has_missed(&self, line: &Timeline, cursor: i64) -> bool {
        let began = self.filling_from.filter(|_| self.is_filling(cursor)).unwrap_or(0);
        let knows = self.held_from.map_or(cursor, |from| from.min(cursor)).max(began);
        cursor > 0 && knows < line.purged_below
    }

    /// Whether this cursor was given in the first sync that goes on: by its newest page, or by the one before, where
    /// the newest was lost. A first sync that was held up on its way begins behind the back of a device whose cursor is
    /// from an earlier one, and that one has missed what it has missed.
    fn is_filling(&self, cursor: i64) -> bool {
        self.filling_from.is_some() && [self.filling_at, self.filling_was].contains(&Some(cursor))
    }

    /// Takes note of a pull, and of what the device says of itself.
    pub(crate) fn is_heard(&mut self, now: i64, told: &Told) {
        if let Some(clock) = told.clock {
            let skew = clock.saturating_sub(now);
            if self.clock_skew.is_none_or(|known| known.abs_diff(skew) > SKEW_MS) {
                self.clock_skew = Some(skew);
            }
        }
        if self.last_pull_at.is_none_or(|last| now - last > PULL_TIME_MS || now < last) {
            self.last_pull_at = Some(now);
        }
    }

    /// Takes note that everything up to `cursor` has arrived.
    fn acknowledge(&mut self, cursor: i64, now: i64) {
        self.acked_cursor = self.acked_cursor.max(cursor);
        if self.held_reply.is_some_and(|reply| cursor >= reply) {
            self.held_from = self.held_next;
            self.held_since = self.held_next.map(|_| now);
        }
        if self.filling_from.is_some_and(|began| cursor >= began) {
            (self.filling_from, self.filling_at, self.filling_was) = (None, None, None);
        }
        if self.schema_reply.is_some_and(|reply| cursor >= reply) {
            self.schema_version = self.schema_offered.unwrap_or(self.schema_version);
        }
        // A reply that has not arrived by now is lost: a later one with a greater number must not
        // be taken for it.
        self.held_reply = None;
        self.held_next = None;
        self.schema_offered = None;
        self.schema_reply = None;
    }
}
