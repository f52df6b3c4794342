//! What a phone offers after a restore, and how far it is believed (S6): anybody may say that they hold something.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use sea_orm::ConnectionTrait;
use serde_json::Value;

use super::intake::Incoming;
use super::rights;
use crate::access::{Actor, Role};
use crate::casework::case_assignment;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::registry::{Column, Kind, Merge, Row, Synced, Table, is_id};
use crate::sql;
use crate::sync::quarantine::derived_id;
use crate::sync::timeline::Timeline;
use crate::write::Write;

/// What holds for one offer.
pub(super) struct Offer {
    pub(super) line: Timeline,
    /// What each restore of the agency took away, as numbers: after the first and before the second. A phone that was away
    /// for two restores holds what the first one took.
    lost: Vec<(i64, i64)>,
    /// Users and teams that its rows name, as far as there are such.
    pub(super) people: HashSet<String>,
    /// Cases with which came who has them.
    complete: HashSet<String>,
}

impl Offer {
    pub(super) async fn of(write: &Write, line: Timeline, rows: &[Incoming]) -> Result<Offer> {
        let mut named = BTreeSet::new();
        for row in rows {
            let servers = |column: &&Column| column.field.kind == Kind::Id && column.field.merge == Merge::Server;
            let columns = row.table.columns.iter().filter(servers);
            named.extend(columns.filter_map(|column| row.raw.get(column.name)?.as_str()).filter(|id| is_id(id)));
        }
        let named: Vec<&str> = named.into_iter().collect();
        let backend = write.conn().get_database_backend();
        let text = format!(
            "select id from users where agency_id = $1 and {0} union select id from teams where agency_id = $1 and {0}",
            sql::among(backend, "id", 2)
        );
        let values = vec![write.actor().agency_id.as_str().into(), sql::list(backend, &named)];
        let mut people = HashSet::new();
        for row in sql::all(write.conn(), &text, values).await? {
            people.insert(row.try_get_by_index(0)?);
        }
        let somebody = |row: &Incoming| text_of(row, "user_id").is_some_and(|user| people.contains(user));
        let has_it = |row: &&Incoming| is_assignment(row.table) && has_not_ended(row) && somebody(row);
        let complete =
            rows.iter().filter(has_it).filter_map(|row| text_of(row, "case_id").map(str::to_owned)).collect();
        let lost = lost_times(write).await?;
        Ok(Offer { line, lost, people, complete })
    }

    /// The instant of the state that is offered, by the clock of the server that is gone. Where the app stamps a row that it
    /// edits by its own clock, the server's instant is no more there: it was some time before the restore.
    pub(super) fn held(&self, incoming: &Incoming) -> Option<i64> {
        let held = match incoming.raw.get("updated_at")? {
            // As the native face gave it.
            Value::String(text) => Instant::parse(text)?.0,
            number => number.as_i64()?,
        };
        let edited = incoming.raw.get("_changed").and_then(Value::as_str).is_some_and(|names| !names.is_empty());
        let own = edited && (held >= self.line.started || incoming.names_as_changed("updated_at"));
        Some(if own { self.line.started - 1 } else { held })
    }

    /// Whether a row that is not here is one that the restore took away. Rows are never purged, so any instant of the
    /// server's from before it tells that.
    pub(super) fn was_here(&self, incoming: &Incoming) -> bool {
        self.held(incoming).is_some_and(|held| held > 0 && held < self.line.started)
    }

    /// Whether the state belongs to a time that a restore took away: only then is it taken for what the server had.
    pub(super) fn is_of_the_lost_time(&self, incoming: &Incoming) -> bool {
        let lost = |held| self.lost.iter().any(|&(restored_to, started)| held > restored_to && held < started);
        self.held(incoming).is_some_and(lost)
    }

    /// Whether the author that the row names, if it names one, is known here.
    pub(super) fn knows_its_author(&self, incoming: &Incoming) -> bool {
        text_of(incoming, "author_id").is_none_or(|id| self.people.contains(id))
    }

    /// Whether everybody whom the row names is known here.
    pub(super) fn knows_all(&self, incoming: &Incoming) -> bool {
        let somebody = |column: &&Column| column.field.kind == Kind::Id && column.field.refers.is_none();
        let columns = incoming.table.columns.iter().filter(somebody).filter(|column| column.name != "id");
        columns.filter_map(|column| text_of(incoming, column.name)).all(|id| self.people.contains(id))
    }

    /// Whose work an offered row was, with the role they have now.
    pub(super) async fn maker(&self, write: &Write, incoming: &Incoming) -> Result<Arc<Actor>> {
        let named = ["author_id", "created_by"].iter().find_map(|column| text_of(incoming, column));
        let Some(id) = named.filter(|id| self.people.contains(*id)) else { return Ok(Arc::clone(write.actor())) };
        match rights::author(write, id).await {
            // A team made nothing.
            Err(Error::NotFound) => Ok(Arc::clone(write.actor())),
            maker => maker,
        }
    }

    /// What comes along with a case of which nothing tells yet who had it: whoever offers it answers for it.
    pub(super) fn stands_in(&self, case: &Row, now: Instant, actor: &Actor) -> Result<Vec<Row>> {
        if !case.table.is_case() || self.complete.contains(case.id()) {
            return Ok(Vec::new());
        }
        let opener = Actor { role: Role::Caseworker, ..actor.clone() };
        let mut rows = case.table.follow(None, case, now, &opener)?;
        for row in &mut rows {
            let id = self.stands_in_as(row.table, case.id());
            row.set("id", id.into());
        }
        Ok(rows)
    }

    /// The id of the row of that table which came along so.
    pub(super) fn stands_in_as(&self, table: &Table, case: &str) -> String {
        derived_id(&["provisional", table.name, case, &self.line.epoch.to_string()])
    }
}

async fn lost_times(write: &Write) -> Result<Vec<(i64, i64)>> {
    let text = "select restored_to_seq, started_seq from sync_epoch where agency_id = $1";
    let epochs = sql::all(write.conn(), text, vec![write.actor().agency_id.as_str().into()]).await?;
    epochs.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// Whether rows of the table say who has a case.
pub(super) fn is_assignment(table: &Table) -> bool {
    table.name == case_assignment::Entity::NAME
}

/// Whether the time of which the row tells goes on.
pub(super) fn has_not_ended(incoming: &Incoming) -> bool {
    incoming.raw.get("to_ts").is_none_or(Value::is_null)
}

fn text_of<'a>(incoming: &'a Incoming, column: &str) -> Option<&'a str> {
    incoming.raw.get(column)?.as_str()
}
