//! After a restore: taking in what a device holds and the server lost (S6).

use std::sync::Arc;

use serde_json::Map;

use super::desk::{BREAKS, DELETED, Desk, LACKING, NO_SUCH_ROW, NOT_YOURS, OnConflict};
use super::intake::{self, Incoming, Op};
use super::offer::{Offer, has_not_ended, is_assignment};
use super::{PushRefusal, merge};
use crate::access::{Actor, Role};
use crate::error::{Error, Result};
use crate::history;
use crate::registry::{Checked, Merge, Row};
use crate::store::Store;
use crate::sync::quarantine::Telling;
use crate::sync::restored::{self, Salvaged};

/// Takes in what a device holds as synced and a restored server does not have (S6): rows that are not
/// there, and what was changed in others after the backup was made. The latest state that any device
/// offers stands in the end; what it takes the place of is in history. Answers how many rows were
/// stored.
pub async fn salvage(store: &Store, actor: &Actor, body: serde_json::Value) -> std::result::Result<usize, PushRefusal> {
    let intake = intake::read(body)?;
    let mut write = store.write(actor).await?;
    let line = *write.line();
    // A server that was never restored lacks nothing, and whoever has no cases has nothing to bring back.
    if line.restored_to == 0 || !matches!(actor.role, Role::Caseworker | Role::Supervisor) {
        return Ok(0);
    }
    let offer = Offer::of(&write, line, &intake.rows).await?;
    let mut desk = Desk::open(&mut write, &intake.rows, i64::MAX, OnConflict::Settle).await?;
    let mut rows: Vec<&Incoming> = intake.rows.iter().filter(|row| row.op != Op::Deleted && !row.table.anew).collect();
    // Whose time with a case ended makes room for whoever came after.
    rows.sort_by_key(|row| (row.table.rank, row.table.name, has_not_ended(row)));
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
    /// case came back too: from a device's word nobody is given one that was there.
    async fn bring_back(&mut self, incoming: &Incoming, offer: &Offer) -> Result<()> {
        let (table, now) = (incoming.table, self.write.now());
        if !offer.was_here(incoming) {
            // What was pushed and never pulled again bears no instant of the server's.
            return if table.is_servers() { Ok(()) } else { self.create(incoming).await };
        }
        let mut merged = merge::Merged::of(merge::as_it_was(incoming, None, &offer.people));
        self.write.stamp(&mut merged.row);
        let maker = offer.maker(self.write, incoming).await?;
        let case = merged.row.case_id().map(str::to_owned);
        let own = table.is_case() || case.as_ref().map_or(!table.has_case(), |case| self.cases.contains(case));
        if table.is_servers() {
            let came_back = match &case {
                Some(case) if !table.append_only => restored::came_back(self.write, case, &offer.line).await?,
                case => case.is_some(),
            };
            if came_back && !own && is_assignment(table) && has_not_ended(incoming) {
                // Whose word nobody may take is told to those who can give the case.
                return self.quarantine(incoming, None, NOT_YOURS, true).await;
            }
            if !came_back || !own || !offer.knows_all(incoming) {
                return Ok(());
            }
        } else if case.is_none() && !table.writers.contains(&Role::Caseworker) {
            return Ok(());
        } else if !offer.knows_its_author(incoming) {
            // Nobody is made the author of what somebody else wrote.
            return self.quarantine(incoming, None, NO_SUCH_ROW, true).await;
        }
        if self.reach.fits(&mut merged, None, own, &maker).is_err() {
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
            return self.late_or_quarantined(incoming, &merged, checked).await;
        }
        let row = checked.row().clone();
        match self.put_back(checked, incoming, &maker, offer).await {
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

    /// Stores a row that comes back: a case with whoever stands in until it is told who has it, and who has it in their
    /// place. `Conflict` where there is another already, and then nothing is stored.
    async fn put_back(&mut self, row: Checked, incoming: &Incoming, maker: &Arc<Actor>, offer: &Offer) -> Result<()> {
        let (table, now) = (incoming.table, self.write.now());
        let along = offer.stands_in(row.row(), now, self.write.actor())?;
        let gives_way = match row.row().case_id() {
            Some(case) if is_assignment(table) && has_not_ended(incoming) => {
                self.write.row(table, &offer.stands_in_as(table, case)).await?
            }
            _ => None,
        };
        let put = self.write.attempt(async |write| {
            if let Some(gives_way) = gives_way {
                write.delete(&gives_way).await?;
            }
            write.bring_back(row, maker).await?;
            for row in along {
                let row = row.checked(None, now, maker)?;
                write.bring_back(row, &Actor::system(&maker.agency_id)).await?;
            }
            Ok(())
        });
        put.await
    }

    fn tell_of_the_cut(&mut self, incoming: &Incoming, row: &Row, cut: Map<String, serde_json::Value>) {
        let names: Vec<&str> = cut.keys().map(String::as_str).collect();
        let said = format!("{} named a row that is not there any more and came back empty.", names.join(", "));
        let (table, id) = (incoming.table, &incoming.id);
        self.tellings.push(Telling::to_author("cleaned", table, id, row.case_id(), said, cut));
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
        if table.append_only || (merged.row == *before && held <= line.restored_to) {
            return Ok(());
        }
        merge::walk(&mut merged, before, self.write.now(), &actor)?;
        let known = restored::salvaged(self.write, table.name, id).await?;
        let stored = before.int("updated_at").unwrap_or_default();
        let of_the_lost_time = offer.is_of_the_lost_time(incoming);
        // What a device has had of this timeline is no part of the one that was lost, and what was written in this one
        // stands; what was only brought back gives way to what was later in the one that was lost.
        let outdone = |known: &Salvaged| held > known.held && before.edit_seq() <= known.seq;
        let before_it = held > stored && before.edit_seq() < line.started;
        let later = of_the_lost_time && (before_it || known.as_ref().is_some_and(outdone));
        let untouched = known.is_none_or(|known| known.epoch != line.epoch);
        let unpulled = untouched && held <= line.restored_to && held == stored;
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
        if later && may && self.reach.fits(&mut merged, Some(before), true, &actor).is_ok() {
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
        // A device that was only behind offers what history has anyway.
        history::keep_new(self.write, before, merged.row.says_beside(before)).await?;
        Ok(())
    }
}
