//! Where rows stand: their entries in the feed, one for each scope in which a row can be seen.
//!
//! An entry says when the row entered the scope, when it last changed there, and whether it is still
//! there. An ended entry is what tells a device that a row is gone, so it stays until a purge.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sea_orm::{DatabaseTransaction, Value};

use super::Write;
use crate::access::{self, Role};
use crate::bulk::{Class, Insert};
use crate::error::Result;
use crate::registry::{Row, Table};
use crate::sql;
use crate::sync::device;

impl Write {
    /// Leaves an ended entry for one user alone, so that a row they pushed and may not see is
    /// taken from their device and from nobody else's knowledge (S7).
    pub async fn take_from_author(&mut self, table: &'static Table, id: &str, user_id: &str) -> Result<()> {
        sql::exec(
            &self.tx,
            "insert into sync_feed (scope, tbl, row_id, agency_id, seq, entered, live, multi) \
             values ($1, $2, $3, $4, $5, 0, false, true) \
             on conflict (scope, tbl, row_id) do update set seq = excluded.seq, live = false, multi = true",
            vec![
                format!("user:{user_id}").into(),
                table.name.into(),
                id.into(),
                self.actor.agency_id.as_str().into(),
                self.seq.into(),
            ],
        )
        .await?;
        if user_id == self.actor.user() && [Role::Administrator, Role::Auditor].contains(&self.actor.role) {
            // Nothing of their own is open to them: this device is told by name.
            device::resend(self, table.name, id).await?;
        }
        mark_multi(&self.tx, table.name, id).await
    }

    pub(super) async fn stamp_feed(&self, row: &Row) -> Result<()> {
        sql::exec(
            &self.tx,
            "update sync_feed set seq = $1 where tbl = $2 and row_id = $3 and live",
            vec![self.seq.into(), row.table.name.into(), row.id().into()],
        )
        .await?;
        Ok(())
    }

    /// The row has been deleted: it leaves every scope.
    pub(super) async fn leave_all(&self, row: &Row) -> Result<()> {
        sql::exec(
            &self.tx,
            "update sync_feed set live = false, seq = $1 where tbl = $2 and row_id = $3 and live",
            vec![self.seq.into(), row.table.name.into(), row.id().into()],
        )
        .await?;
        Ok(())
    }

    /// Enters rows of a table into the feed: rows that are new there, or paths of theirs that are.
    pub(super) async fn enter(&self, table: &Table, entries: Vec<Entry>) -> Result<()> {
        let agency = self.actor.agency_id.as_str();
        let shared = [table.name.into(), agency.into(), self.seq.into(), self.seq.into(), true.into()];
        // A row that was taken from a device before there was one has an ended entry for its author, and nobody else.
        // To look for what is there already costs PostgreSQL half of the rest.
        let (own, plain): (Vec<Entry>, _) = entries
            .into_iter()
            .partition(|[scope, ..]| sql::text(scope).is_some_and(|scope| scope.starts_with("user:")));
        ENTER.rows(&self.tx, &shared, &plain, |entry, at| &entry[at]).await?;
        ENTER_AGAIN.rows(&self.tx, &shared, &own, |entry, at| &entry[at]).await
    }

    /// Works out where the row stands now, and enters, stamps and ends its entries.
    pub(super) async fn stand_again(&mut self, row: &Row) -> Result<()> {
        let keys = access::keys(&self.tx, &row.table.stands(row)?).await?;
        let (name, id) = (row.table.name, row.id());
        let held = sql::all(
            &self.tx,
            "select scope, live from sync_feed where tbl = $1 and row_id = $2",
            vec![name.into(), id.into()],
        )
        .await?;
        let (mut known, mut comes) = (BTreeSet::new(), false);
        for entry in &held {
            let scope: String = entry.try_get_by_index(0)?;
            let live: bool = entry.try_get_by_index(1)?;
            let stays = keys.contains(&scope);
            // A row that comes back keeps when it was there before: who had the scope open in between
            // must not be told that it is gone. The mark has it looked up with all its paths.
            let text = match (live, stays) {
                (false, false) => "",
                (false, true) => {
                    "update sync_feed set stays = coalesce(stays || ',', '') || entered || '-' || seq, \
                     entered = $1, seq = $1, live = $2, multi = true where tbl = $3 and row_id = $4 and scope = $5"
                }
                (true, _) => "update sync_feed set seq = $1, live = $2 where tbl = $3 and row_id = $4 and scope = $5",
            };
            if !text.is_empty() {
                let values = vec![self.seq.into(), stays.into(), name.into(), id.into(), scope.as_str().into()];
                if sql::exec(&self.tx, text, values).await? == 0 {
                    // A purge takes no clock and has forgotten it since: the row enters as if it had never been there.
                    continue;
                }
            }
            comes |= stays && !live;
            known.insert(scope);
        }
        let entries: Vec<_> =
            keys.into_iter().filter(|scope| !known.contains(scope)).map(|scope| entry(scope, id, false)).collect();
        let paths = known.len() + entries.len();
        comes |= !entries.is_empty();
        self.enter(row.table, entries).await?;
        if comes {
            self.arrives(row);
        }
        if paths > 1 { mark_multi(&self.tx, name, id).await } else { Ok(()) }
    }
}

/// Rows that stand or stood in more than one scope carry a mark, so that only they pay for the
/// look-up over all their paths at a pull.
async fn mark_multi(tx: &DatabaseTransaction, name: &'static str, id: &str) -> Result<()> {
    sql::exec(
        tx,
        "update sync_feed set multi = true where tbl = $1 and row_id = $2 and not multi",
        vec![name.into(), id.into()],
    )
    .await?;
    Ok(())
}

/// A place in the feed: scope, row id, and whether the row stands in more than one.
pub(super) type Entry = [Value; 3];

pub(super) fn entry(scope: String, id: &str, multi: bool) -> Entry {
    [scope.into(), id.into(), multi.into()]
}

static ENTER: LazyLock<Insert> = LazyLock::new(|| {
    let own = [("scope", Class::Text), ("row_id", Class::Text), ("multi", Class::Boolean)];
    Insert::new("sync_feed", &own, &["tbl", "agency_id", "seq", "entered", "live"])
});

static ENTER_AGAIN: LazyLock<Insert> = LazyLock::new(|| {
    ENTER.clone().or("on conflict (row_id, tbl, scope) do update set seq = excluded.seq, entered = excluded.entered, \
         live = true, multi = true")
});
