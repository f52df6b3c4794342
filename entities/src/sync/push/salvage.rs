//! After a restore: taking in what a device holds and the server lost (S6).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::desk::{Desk, NOT_YOURS, OnConflict};
use super::intake::{self, Incoming, Op};
use super::{MAX_ROWS, PushRefusal, merge};
use crate::access::Actor;
use crate::error::Result;
use crate::history;
use crate::registry::{Face, Row, Synced};
use crate::store::Store;
use crate::sync::timeline::{Timeline, timeline};
use crate::sync::{issue, restored};

/// Takes in what a device holds as synced and a restored server does not have (S6): rows that are not
/// there, and what was changed in others after the backup was made. The latest state that any device
/// offers stands in the end; what it takes the place of is in history. Answers how many rows were
/// stored.
pub async fn salvage(store: &Store, actor: &Actor, body: Value) -> std::result::Result<usize, PushRefusal> {
    let intake = intake::read(body).map_err(PushRefusal::Malformed)?;
    if intake.rows.len() > MAX_ROWS {
        return Err(PushRefusal::TooManyRows);
    }
    let mut write = store.write(actor).await?;
    let line = timeline(write.conn(), &actor.agency_id).await?;
    let mut desk = Desk::open(&mut write, &intake.rows, i64::MAX, OnConflict::Settle).await?;
    desk.salvages = true;
    // What people were told is the server's to say again.
    let work = |row: &&Incoming| row.op != Op::Deleted && row.table.name != issue::Entity::NAME;
    for incoming in intake.rows.iter().filter(work) {
        match desk.stored.get(&(incoming.table.name, incoming.id.clone())).cloned() {
            None => desk.create(incoming).await?,
            Some(stored) => desk.salvage(incoming, &stored, &line).await?,
        }
    }
    desk.tell_unfit(intake.unfit);
    let (stored, _) = desk.close().await?;
    write.note("salvage", "");
    write.commit().await?;
    Ok(stored)
}

impl Desk<'_> {
    /// A row that is there: when the device holds a later state of it that the server had after the backup
    /// was made, that state comes back. The instants compared are the server's own. A push that was taken in
    /// and not pulled again since still bears the instant of the state it was made on; that a device stands
    /// on the very state that is here, and differs, tells it.
    async fn salvage(&mut self, incoming: &Incoming, before: &Row, line: &Timeline) -> Result<()> {
        let (name, id) = (incoming.table.name, incoming.id.as_str());
        let sent = incoming.raw.get("updated_at").and_then(Value::as_i64);
        let held = sent.or(before.int("created_at")).unwrap_or_default();
        let seen = self.visible.contains(&(name, incoming.id.clone())) && !before.is_deleted();
        let actor = self.write.actor().clone();
        let merged = merge::merge(incoming, Some(before), &BTreeSet::new(), self.write.now(), &actor)?;
        if incoming.table.append_only || (merged.row == *before && held <= line.restored_to) {
            return Ok(());
        }
        let known = restored::salvaged(self.write, name, id, line.epoch).await?;
        let stored = before.int("updated_at").unwrap_or_default();
        // What a device has had of this timeline is no part of the one that was lost.
        let later = match known {
            _ if line.started > 0 && held >= line.started => false,
            Some(known) => held > known,
            None if held > line.restored_to => held > stored,
            None => held == stored,
        };
        let may = incoming.table.may_write(Some(before), &merged.row, &actor)?;
        if !seen {
            // A case that was handed to the user after the backup is somebody else's again, or another device has
            // deleted the row since. What only the lost timeline had is kept.
            let work = may && incoming.table.has_case() && merged.row != *before;
            if work && (later || held > line.restored_to) {
                let gone = before.is_deleted() && self.visible_before(before);
                let reason = if gone { "the row was deleted meanwhile" } else { NOT_YOURS };
                return self.quarantine(incoming, Some(before), reason, true).await;
            }
            return Ok(());
        }
        if later && may {
            restored::note_salvaged(self.write, name, id, line.epoch, held).await?;
            return self.update(incoming, before).await;
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
