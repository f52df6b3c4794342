//! After a restore: taking in what a device holds and the server lost (S6).

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use sea_orm::ConnectionTrait;
use serde_json::{Map, Value};

use super::desk::{BREAKS, DELETED, Desk, LACKING, NO_SUCH_ROW, NOT_YOURS, OnConflict};
use super::intake::{self, Incoming, Op};
use super::{PushRefusal, merge, rights};
use crate::access::{Actor, Role};
use crate::casework::case_assignment;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::history;
use crate::registry::{Column, Face, Kind, Merge, Row, Synced, Table, is_id};
use crate::sql;
use crate::store::Store;
use crate::sync::quarantine::{Telling, derived_id};
use crate::sync::timeline::{Timeline, timeline};
use crate::sync::{issue, restored};
use crate::write::Write;

/// What holds for one offer.
struct Offer {
    line: Timeline,
    /// Users and teams that its rows name, as far as there are such.
    people: HashSet<String>,
    /// Cases with which came who had them.
    complete: HashSet<String>,
}

impl Offer {
    async fn of(write: &Write, rows: &[Incoming]) -> Result<Offer> {
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
        let has_it = |row: &&Incoming| {
            let user = row.raw.get("user_id").and_then(Value::as_str);
            let ended = row.raw.get("to_ts").is_some_and(|ended| !ended.is_null());
            row.table.name == case_assignment::Entity::NAME && !ended && user.is_some_and(|user| people.contains(user))
        };
        let case = |row: &Incoming| Some(row.raw.get("case_id")?.as_str()?.to_owned());
        let complete = rows.iter().filter(has_it).filter_map(case).collect();
        Ok(Offer { line: timeline(write.conn(), &write.actor().agency_id).await?, people, complete })
    }

    /// Whether the author that the row names, if it names one, is known here.
    fn knows_its_author(&self, incoming: &Incoming) -> bool {
        incoming.raw.get("author_id").and_then(Value::as_str).is_none_or(|id| self.people.contains(id))
    }

    /// Whether everybody whom the row names is known here.
    fn knows_all(&self, incoming: &Incoming) -> bool {
        let somebody = |column: &&Column| column.field.kind == Kind::Id && column.field.refers.is_none();
        let columns = incoming.table.columns.iter().filter(somebody).filter(|column| column.name != "id");
        columns.filter_map(|column| incoming.raw.get(column.name)?.as_str()).all(|id| self.people.contains(id))
    }

    /// The instant of the state that is offered, by the clock of the server that is gone. Where the app stamps a row that it
    /// edits by its own clock, the server's instant is no more there: it was some time before the restore.
    fn held(&self, incoming: &Incoming) -> Option<i64> {
        let held = incoming.raw.get("updated_at").and_then(Value::as_i64)?;
        let edited = incoming.raw.get("_changed").and_then(Value::as_str).is_some_and(|names| !names.is_empty());
        let own = edited && (held >= self.line.started || incoming.names_as_changed("updated_at"));
        Some(if own { self.line.started - 1 } else { held })
    }

    /// Whether a row that is not here is one that the restore took away. Rows are never purged, so any instant of the
    /// server's from before it tells that.
    fn was_here(&self, incoming: &Incoming) -> bool {
        self.held(incoming).is_some_and(|held| held > 0 && held < self.line.started)
    }

    /// Whether the state belongs to the time that the restore took away: only then is it taken for what the server had.
    fn is_of_the_lost_time(&self, incoming: &Incoming) -> bool {
        self.held(incoming).is_some_and(|held| held > self.line.restored_to && held < self.line.started)
    }
}

/// Takes in what a device holds as synced and a restored server does not have (S6): rows that are not
/// there, and what was changed in others after the backup was made. The latest state that any device
/// offers stands in the end; what it takes the place of is in history. Answers how many rows were
/// stored.
pub async fn salvage(store: &Store, actor: &Actor, body: Value) -> std::result::Result<usize, PushRefusal> {
    let intake = intake::read(body)?;
    let mut write = store.write(actor).await?;
    let offer = Offer::of(&write, &intake.rows).await?;
    // A server that was never restored lacks nothing, and whoever has no cases has nothing to bring back.
    if offer.line.restored_to == 0 || !matches!(actor.role, Role::Caseworker | Role::Supervisor) {
        return Ok(0);
    }
    let mut desk = Desk::open(&mut write, &intake.rows, i64::MAX, OnConflict::Settle).await?;
    // What people were told is the server's to say again.
    let mut rows: Vec<&Incoming> =
        intake.rows.iter().filter(|row| row.op != Op::Deleted && row.table.name != issue::Entity::NAME).collect();
    // Whose time with a case ended makes room for whoever came after.
    let open = |row: &Incoming| row.raw.get("to_ts").is_none_or(Value::is_null);
    rows.sort_by_key(|row| (row.table.rank, row.table.name, open(row)));
    for incoming in rows {
        match desk.stored.get(&(incoming.table.name, incoming.id.clone())).cloned() {
            None => desk.bring_back(incoming, &offer).await?,
            Some(stored) => desk.salvage(incoming, &stored, &offer).await?,
        }
    }
    desk.tell_unfit(intake.unfit);
    let (stored, _) = desk.close().await?;
    write.note("salvage", "");
    write.commit().await?;
    Ok(stored)
}

fn provisional_id(table: &Table, case: &str, offer: &Offer) -> String {
    derived_id(&["provisional", table.name, case, &offer.line.epoch.to_string()])
}

/// What comes along with a case of which nothing tells yet who had it: whoever offers it answers for it.
fn provisional(case: &Row, now: Instant, actor: &Actor, offer: &Offer) -> Result<Vec<Row>> {
    let opener = Actor { role: Role::Caseworker, ..actor.clone() };
    let mut rows = case.table.follow(None, case, now, &opener)?;
    for row in &mut rows {
        let id = provisional_id(row.table, case.id(), offer);
        row.set("id", id.into());
    }
    Ok(rows)
}

/// All that the device has of a row, but for a move that it has not sent: that comes with its next push.
fn without_unsent_moves(incoming: &Incoming) -> Incoming {
    let mut offered = incoming.clone();
    for column in incoming.table.columns.iter().filter(|column| column.field.merge == Merge::State) {
        if incoming.names_as_changed(column.name) {
            offered.raw.remove(column.name);
        }
    }
    offered.raw.remove("_changed");
    offered
}

impl Desk<'_> {
    /// A row that is not there any more comes back as the device had it: in its state, with its author, whoever offers it
    /// first. Of what only the server makes the records of a case that is there come back, and who had a case only where the
    /// case came back too: from a device's word nobody is given one that was there. Reminders and the like are made anew.
    async fn bring_back(&mut self, incoming: &Incoming, offer: &Offer) -> Result<()> {
        let (table, now) = (incoming.table, self.write.now());
        if table.is_anew() {
            return Ok(());
        }
        if !offer.was_here(incoming) {
            // What was pushed and never pulled again bears no instant of the server's.
            return if table.is_servers() { Ok(()) } else { self.create(incoming).await };
        }
        let mut merged = merge::Merged::of(merge::as_it_was(incoming, None, &offer.people));
        self.write.stamp(&mut merged.row);
        let maker = self.maker(incoming, offer).await?;
        let own = table.is_case() || merged.row.case_id().map_or(!table.has_case(), |case| self.cases.contains(case));
        let comes = match merged.row.case_id() {
            Some(_) if table.is_servers() && !(own && offer.knows_all(incoming)) => false,
            Some(case) if table.is_servers() && !table.append_only => {
                restored::came_back(self.write, case, &offer.line).await?
            }
            Some(_) => true,
            None => table.writers.contains(&Role::Caseworker),
        };
        if !comes {
            // Whose word nobody may take is told to those who can give the case.
            let case = merged.row.case_id().unwrap_or_default();
            let gives = table.name == case_assignment::Entity::NAME && merged.row.int("to_ts").is_none() && !own;
            if gives && restored::came_back(self.write, case, &offer.line).await? {
                return self.quarantine(incoming, None, NOT_YOURS, true).await;
            }
            return Ok(());
        }
        // Nobody is made the author of what somebody else wrote.
        if !table.is_servers() && !offer.knows_its_author(incoming) {
            return self.quarantine(incoming, None, NO_SUCH_ROW, true).await;
        }
        if !self.reach.fits(&mut merged, None, own) {
            return self.quarantine(incoming, None, NO_SUCH_ROW, true).await;
        }
        let cut = merge::excerpt(&incoming.raw, &merged.mended);
        let Some(checked) = merge::settle(&mut merged, None, now, &maker)? else {
            return self.quarantine(incoming, None, LACKING, false).await;
        };
        if table.writers.contains(&maker.role) && !table.may_write(None, checked.row(), &maker)? {
            return self.quarantine(incoming, None, NOT_YOURS, true).await;
        }
        if !own {
            return self.late_or_quarantined(incoming, checked).await;
        }
        let row = checked.row().clone();
        let first = if table.is_case() && !offer.complete.contains(&incoming.id) {
            provisional(&row, now, self.write.actor(), offer)?
        } else {
            Vec::new()
        };
        let stands_in = if table.name == case_assignment::Entity::NAME && row.int("to_ts").is_none() {
            self.write.row(table, &provisional_id(table, row.case_id().unwrap_or_default(), offer)).await?
        } else {
            None
        };
        let stored = self.write.attempt(async |write| {
            if let Some(stands_in) = stands_in {
                write.delete(&stands_in).await?;
            }
            write.bring_back(checked, &maker).await?;
            for row in first {
                let row = row.checked(None, now, &maker)?;
                write.bring_back(row, &Actor::system(&maker.agency_id)).await?;
            }
            Ok(())
        });
        match stored.await {
            Ok(()) => (),
            // The same has been made anew since, such as a first worker of the case.
            Err(Error::Conflict { .. }) if table.is_servers() => return Ok(()),
            Err(Error::Conflict { .. }) => return self.quarantine(incoming, None, LACKING, false).await,
            Err(error) => return Err(error),
        }
        if table.is_case() {
            self.cases.insert(incoming.id.clone());
        }
        if !cut.is_empty() {
            // A name of a row that is not there, such as that of a partner made after the backup.
            history::keep_lost(self.write, &row, cut.clone()).await?;
            self.tell_of_the_cut(incoming, &row, cut);
        }
        self.applied += 1;
        let held = offer.held(incoming).unwrap_or_default();
        restored::note_salvaged(self.write, table.name, &incoming.id, offer.line.epoch, held).await
    }

    fn tell_of_the_cut(&mut self, incoming: &Incoming, row: &Row, cut: Map<String, Value>) {
        let names: Vec<&str> = cut.keys().map(String::as_str).collect();
        self.tellings.push(Telling {
            kind: "cleaned",
            table: incoming.table,
            id: incoming.id.clone(),
            case_id: row.case_id().map(str::to_owned),
            message: format!("{} named a row that is not there any more and came back empty.", names.join(", ")),
            sent: cut,
            quarantine_id: None,
            widely: false,
        });
    }

    /// Whose work an offered row was, with the role they have now.
    async fn maker(&self, incoming: &Incoming, offer: &Offer) -> Result<Arc<Actor>> {
        let named = ["author_id", "created_by"].iter().find_map(|column| incoming.raw.get(*column)?.as_str());
        let Some(id) = named.filter(|id| offer.people.contains(*id)) else { return Ok(Arc::clone(self.write.actor())) };
        match rights::author(self.write, id).await {
            // A team made nothing.
            Err(Error::NotFound) => Ok(Arc::clone(self.write.actor())),
            maker => maker,
        }
    }

    /// A row that is there: when the device holds a later state of it that the server had after the backup
    /// was made, that state comes back. The instants compared are the server's own. A push that was taken in
    /// and not pulled again since still bears the instant of the state it was made on; that a device stands
    /// on the very state that is here, and differs, tells it, and it is taken in as a push again.
    async fn salvage(&mut self, incoming: &Incoming, before: &Row, offer: &Offer) -> Result<()> {
        let (table, id, line) = (incoming.table, incoming.id.as_str(), &offer.line);
        let held = offer.held(incoming).or(before.int("created_at")).unwrap_or_default();
        let seen = self.visible.contains(&(table.name, incoming.id.clone())) && !before.is_deleted();
        let actor = self.write.actor().clone();
        let mut merged = merge::Merged::of(merge::as_it_was(incoming, Some(before), &offer.people));
        if table.append_only || table.is_anew() || (merged.row == *before && held <= line.restored_to) {
            return Ok(());
        }
        merge::walk(&mut merged, before, self.write.now(), &actor)?;
        let known = restored::salvaged(self.write, table.name, id, line.epoch).await?;
        let stored = before.int("updated_at").unwrap_or_default();
        let of_the_lost_time = offer.is_of_the_lost_time(incoming);
        // What a device has had of this timeline is no part of the one that was lost, and what was written in this one
        // stands.
        let later = match known {
            Some((known, seq)) => of_the_lost_time && held > known && before.edit_seq() <= seq,
            None => of_the_lost_time && held > stored,
        };
        let unpulled = known.is_none() && held <= line.restored_to && held == stored;
        let may = if table.is_servers() {
            let case = before.case_id().unwrap_or_default();
            restored::came_back(self.write, case, line).await? && offer.knows_all(incoming)
        } else {
            table.may_write(Some(before), &merged.row, &actor)?
        };
        if !seen {
            // A case that was handed to the user after the backup is somebody else's again, or another device has
            // deleted the row since. What only the lost timeline had is kept.
            let work = !table.is_servers() && merged.row != *before;
            if work && (later || unpulled || of_the_lost_time) {
                let gone = before.is_deleted() && self.visible_before(before);
                let reason = if gone { DELETED } else { NOT_YOURS };
                return self.quarantine(incoming, Some(before), reason, true).await;
            }
            return Ok(());
        }
        if unpulled && may && !table.is_servers() {
            restored::note_salvaged(self.write, table.name, id, line.epoch, held).await?;
            return self.update(&without_unsent_moves(incoming), before).await;
        }
        if later && may && self.reach.fits(&mut merged, Some(before), true) {
            if let Some(checked) = merge::settle(&mut merged, Some(before), self.write.now(), &actor)? {
                let stored = self.write.attempt(async |write| write.update_alone(before, checked).await).await;
                match stored {
                    Ok(after) => self.applied += usize::from(after.seq() != before.seq()),
                    Err(Error::Conflict { .. }) => {
                        return self.quarantine(incoming, Some(before), BREAKS, false).await;
                    }
                    Err(error) => return Err(error),
                }
                return restored::note_salvaged(self.write, table.name, id, line.epoch, held).await;
            }
            return self.quarantine(incoming, Some(before), BREAKS, false).await;
        }
        let mut lost = Map::new();
        for (at, column) in incoming.table.wire_columns() {
            if column.field.writable() && merged.row.cell(at) != before.cell(at) {
                lost.insert(column.name.to_owned(), merged.row.json(at, Face::Rest));
            }
        }
        // A device that was only behind offers what history has anyway.
        history::leave_new(self.write, before, &mut lost).await?;
        if !lost.is_empty() {
            history::keep_lost(self.write, before, lost).await?;
        }
        Ok(())
    }
}
