//! What the server remembers of one device of one user.

use sea_orm::{ConnectionTrait, QueryResult};

use crate::access::Actor;
use crate::clock::Instant;
use crate::error::Result;
use crate::sql;
use crate::write::Write;

/// A device's state of sync. It belongs to (device, user): another user on the same phone starts
/// with nothing (S15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device's id, as it gave it at login.
    pub device_id: String,
    /// Its user.
    pub user_id: String,
    /// The greatest cursor it has sent: everything up to there has arrived.
    pub acked_cursor: i64,
    /// Deletes after this number have been held back and not been delivered for certain.
    pub held_from: Option<i64>,
    /// When holding back began, in milliseconds.
    pub held_since: Option<i64>,
    /// The number of the reply that delivered what was held; a cursor at or beyond it says that
    /// the reply arrived.
    pub held_reply: Option<i64>,
    /// Deletes after this number were held back in that reply in their turn.
    pub held_next: Option<i64>,
    /// The schema version for which it certainly has every table and column.
    pub schema_version: i64,
    /// The version offered in the reply `schema_reply`.
    pub schema_offered: Option<i64>,
    /// The number of the reply that brought the rows of that version.
    pub schema_reply: Option<i64>,
    /// Pushes answered with a conflict since the last that went through.
    pub conflicts_in_a_row: i64,
    /// When it last pushed with success, in milliseconds.
    pub last_push_at: Option<i64>,
    /// When it last pulled, in milliseconds; kept to the nearest few minutes.
    pub last_pull_at: Option<i64>,
    /// The newest commit number when a first sync in pages began, while it goes on.
    pub filling_from: Option<i64>,
    /// The cursor that the newest page of it gave, where that lies in a time of which deletions have been forgotten.
    pub filling_at: Option<i64>,
    /// The cursor from which that page was asked for.
    pub filling_was: Option<i64>,
    /// Milliseconds by which its clock was ahead of the server's at its last pull; shown, and deciding nothing.
    pub clock_skew: Option<i64>,
}

/// What `Device::of` reads.
pub(super) const COLUMNS: &str = "d.acked_cursor, d.held_from, d.held_since, d.held_reply, d.schema_version, \
     d.schema_offered, d.schema_reply, d.conflicts_in_a_row, d.last_push_at, d.last_pull_at, d.filling_from, d.clock_skew, \
     d.held_next, d.filling_at, d.filling_was";

impl Device {
    /// Reads the state of the actor's device; a device never seen before has an empty one.
    pub async fn load(conn: &impl ConnectionTrait, actor: &Actor) -> Result<Device> {
        let text = format!("select {COLUMNS} from sync_device d where d.device_id = $1 and d.user_id = $2");
        let values = vec![actor.device_id.clone().unwrap_or_default().into(), actor.user().into()];
        match sql::one(conn, &text, values).await? {
            Some(row) => Device::of(&row, 0, actor),
            None => Ok(Device::unseen(actor)),
        }
    }

    /// Reads a row's cells from that place on; they are null for a device never seen before.
    pub(super) fn of(row: &QueryResult, from: usize, actor: &Actor) -> Result<Device> {
        let Some(acked_cursor) = row.try_get_by_index(from)? else { return Ok(Device::unseen(actor)) };
        Ok(Device {
            acked_cursor,
            held_from: row.try_get_by_index(from + 1)?,
            held_since: row.try_get_by_index(from + 2)?,
            held_reply: row.try_get_by_index(from + 3)?,
            schema_version: row.try_get_by_index(from + 4)?,
            schema_offered: row.try_get_by_index(from + 5)?,
            schema_reply: row.try_get_by_index(from + 6)?,
            conflicts_in_a_row: row.try_get_by_index(from + 7)?,
            last_push_at: row.try_get_by_index(from + 8)?,
            last_pull_at: row.try_get_by_index(from + 9)?,
            filling_from: row.try_get_by_index(from + 10)?,
            clock_skew: row.try_get_by_index(from + 11)?,
            held_next: row.try_get_by_index(from + 12)?,
            filling_at: row.try_get_by_index(from + 13)?,
            filling_was: row.try_get_by_index(from + 14)?,
            ..Device::unseen(actor)
        })
    }

    fn unseen(actor: &Actor) -> Device {
        Device {
            device_id: actor.device_id.clone().unwrap_or_default(),
            user_id: actor.user().to_owned(),
            acked_cursor: 0,
            held_from: None,
            held_since: None,
            held_reply: None,
            held_next: None,
            schema_version: 0,
            schema_offered: None,
            schema_reply: None,
            conflicts_in_a_row: 0,
            last_push_at: None,
            last_pull_at: None,
            filling_from: None,
            filling_at: None,
            filling_was: None,
            clock_skew: None,
        }
    }

    /// Writes back what a pull learns; what pushes count stays as it is, since one may be under way.
    async fn save_pull(&self, conn: &impl ConnectionTrait, agency_id: &str) -> Result<()> {
        self.upsert(
            conn,
            agency_id,
            "update set acked_cursor = excluded.acked_cursor, held_from = excluded.held_from, \
             held_since = excluded.held_since, held_reply = excluded.held_reply, held_next = excluded.held_next, \
             schema_version = excluded.schema_version, schema_offered = excluded.schema_offered, \
             schema_reply = excluded.schema_reply, last_pull_at = excluded.last_pull_at, \
             filling_from = excluded.filling_from, filling_at = excluded.filling_at, \
             filling_was = excluded.filling_was, clock_skew = excluded.clock_skew",
        )
        .await
        .map(|_| ())
    }

    /// Notes that a push of the actor's device went through, and on which pull it was made where it says so; what pulls
    /// learn stays as it is. One that brought nothing `new` ends no row of conflicts: it may be the part of a push that
    /// went through before, and comes again for the sake of the part that did not.
    pub(crate) async fn pushed(
        conn: &impl ConnectionTrait,
        actor: &Actor,
        at: Instant,
        since: Option<i64>,
        new: bool,
    ) -> Result<()> {
        let ended = if new { "0" } else { "sync_device.conflicts_in_a_row" };
        let set = format!(
            "conflicts_in_a_row = {ended}, last_push_at = excluded.last_push_at, \
             pushed_since = case when coalesce(sync_device.pushed_since, -1) < excluded.pushed_since \
             then excluded.pushed_since else sync_device.pushed_since end"
        );
        Device::count(conn, actor, 0, (Some(at), since), &set).await
    }

    /// Notes that the device knew all until this pull when it wrote what it sends now.
    pub(crate) async fn knows(conn: &impl ConnectionTrait, actor: &Actor, since: i64) -> Result<()> {
        let text = "update sync_device set pushed_since = $1 where device_id = $2 and user_id = $3 \
                    and coalesce(pushed_since, -1) < $1";
        let device = actor.device_id.clone().unwrap_or_default();
        sql::exec(conn, text, vec![since.into(), device.into(), actor.user().into()]).await?;
        Ok(())
    }

    /// The number of the pull on which the device's last push was made: what it says now it wrote knowing all until then.
    pub(crate) async fn pushed_since(conn: &impl ConnectionTrait, actor: &Actor) -> Result<i64> {
        let text = "select pushed_since from sync_device where device_id = $1 and user_id = $2";
        let values = vec![actor.device_id.clone().unwrap_or_default().into(), actor.user().into()];
        let row = sql::one(conn, text, values).await?;
        let known: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        Ok(known.unwrap_or(0))
    }

    /// Counts a push that was answered with a conflict.
    pub(crate) async fn sent_back(conn: &impl ConnectionTrait, actor: &Actor) -> Result<()> {
        let set = "conflicts_in_a_row = sync_device.conflicts_in_a_row + 1";
        Device::count(conn, actor, 1, (None, None), set).await
    }

    async fn count(
        conn: &impl ConnectionTrait,
        actor: &Actor,
        conflicts: i64,
        (at, since): (Option<Instant>, Option<i64>),
        set: &str,
    ) -> Result<()> {
        let text = format!(
            "insert into sync_device (device_id, user_id, agency_id, acked_cursor, schema_version, conflicts_in_a_row, \
             last_push_at, pushed_since) values ($1, $2, $3, 0, 0, $4, $5, $6) on conflict (device_id, user_id) do update set {set}"
        );
        let values = vec![
            actor.device_id.clone().unwrap_or_default().into(),
            actor.user().into(),
            actor.agency_id.as_str().into(),
            conflicts.into(),
            at.map(|at| at.0).into(),
            since.into(),
        ];
        sql::exec(conn, &text, values).await?;
        Ok(())
    }

    /// As `save_pull`, unless the device's state has changed since it was read as `stored`: then false.
    pub(crate) async fn save_if(&self, conn: &impl ConnectionTrait, agency_id: &str, stored: &Device) -> Result<bool> {
        if self.upsert(conn, agency_id, "nothing").await? == 1 {
            return Ok(true);
        }
        let text = "update sync_device set device_id = device_id where device_id = $1 and user_id = $2 \
                    and acked_cursor <= $3 and coalesce(held_from, -1) = $4 and coalesce(held_reply, -1) = $5 \
                    and coalesce(schema_reply, -1) = $6 and schema_version = $7 and coalesce(filling_from, -1) = $8 \
                    and coalesce(filling_at, -1) = $9";
        let values = vec![
            self.device_id.as_str().into(),
            self.user_id.as_str().into(),
            self.acked_cursor.into(),
            stored.held_from.unwrap_or(-1).into(),
            stored.held_reply.unwrap_or(-1).into(),
            stored.schema_reply.unwrap_or(-1).into(),
            stored.schema_version.into(),
            stored.filling_from.unwrap_or(-1).into(),
            stored.filling_at.unwrap_or(-1).into(),
        ];
        if sql::exec(conn, text, values).await? == 0 {
            return Ok(false);
        }
        self.save_pull(conn, agency_id).await?;
        Ok(true)
    }

    /// The same, and what only grows is written back anyway.
    pub(crate) async fn save_over(&self, conn: &impl ConnectionTrait, agency_id: &str, stored: &Device) -> Result<()> {
        if self.save_if(conn, agency_id, stored).await? {
            return Ok(());
        }
        // Where it stands only grows, so that much is true whatever it was heard to say meanwhile.
        let text = "update sync_device set last_pull_at = $3, clock_skew = $4, \
                    acked_cursor = case when acked_cursor < $5 then $5 else acked_cursor end \
                    where device_id = $1 and user_id = $2";
        let values = vec![
            self.device_id.as_str().into(),
            self.user_id.as_str().into(),
            self.last_pull_at.into(),
            self.clock_skew.into(),
            self.acked_cursor.into(),
        ];
        sql::exec(conn, text, values).await?;
        Ok(())
    }

    /// Inserts it, or does what is said where it is there. How many rows were touched.
    async fn upsert(&self, conn: &impl ConnectionTrait, agency_id: &str, otherwise: &str) -> Result<u64> {
        let text = format!(
            "insert into sync_device (device_id, user_id, agency_id, acked_cursor, held_from, held_since, held_reply, \
             schema_version, schema_offered, schema_reply, conflicts_in_a_row, last_push_at, last_pull_at, \
             filling_from, clock_skew, held_next, filling_at, filling_was) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
             on conflict (device_id, user_id) do {otherwise}"
        );
        let values = vec![
            self.device_id.as_str().into(),
            self.user_id.as_str().into(),
            agency_id.into(),
            self.acked_cursor.into(),
            self.held_from.into(),
            self.held_since.into(),
            self.held_reply.into(),
            self.schema_version.into(),
            self.schema_offered.into(),
            self.schema_reply.into(),
            self.conflicts_in_a_row.into(),
            self.last_push_at.into(),
            self.last_pull_at.into(),
            self.filling_from.into(),
            self.clock_skew.into(),
            self.held_next.into(),
            self.filling_at.into(),
            self.filling_was.into(),
        ];
        sql::exec(conn, &text, values).await
    }
}

/// Asks for a row to be sent to this device again although its position lies behind its cursor:
/// what was stored differs from what it pushed (S7).
pub(crate) async fn resend(write: &Write, table: &str, id: &str) -> Result<()> {
    let actor = write.actor();
    let Some(device) = actor.device_id.as_deref() else { return Ok(()) };
    sql::exec(
        write.conn(),
        "insert into sync_resend (device_id, user_id, tbl, row_id, agency_id, seq) values ($1, $2, $3, $4, $5, $6) \
         on conflict (device_id, user_id, tbl, row_id) do update set seq = excluded.seq",
        vec![
            device.into(),
            actor.user().into(),
            table.into(),
            id.into(),
            actor.agency_id.as_str().into(),
            write.seq().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Rows of one table to be sent to this device again, as (id, number of the push that asked).
pub(crate) async fn to_resend_of(
    conn: &impl ConnectionTrait,
    actor: &Actor,
    table: &str,
    since: i64,
) -> Result<Vec<(String, i64)>> {
    let rows = sql::all(
        conn,
        "select row_id, seq from sync_resend where device_id = $1 and user_id = $2 and seq > $3 and tbl = $4",
        vec![actor.device_id.clone().unwrap_or_default().into(), actor.user().into(), since.into(), table.into()],
    )
    .await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// Rows to be sent to this device again beyond its cursor, as (table, id, number of the push that asked).
pub(crate) async fn to_resend(
    conn: &impl ConnectionTrait,
    actor: &Actor,
    since: i64,
) -> Result<Vec<(String, String, i64)>> {
    let rows = sql::all(
        conn,
        "select tbl, row_id, seq from sync_resend where device_id = $1 and user_id = $2 and seq > $3",
        vec![actor.device_id.clone().unwrap_or_default().into(), actor.user().into(), since.into()],
    )
    .await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?))).collect()
}
