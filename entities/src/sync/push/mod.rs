//! Taking a device's work in, whole or not at all.
//!
//! Nothing that a person wrote is dropped: it is stored, or kept in quarantine, or the device is
//! told to merge and come back (409). A data problem is never an error, because a client that
//! cannot push is a client that loses work (M11).

mod intake;
mod merge;
pub(super) mod mutate;
mod replay;
pub(super) mod replicate;
mod rights;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use crate::access::Actor;
use crate::error::{Error, Result};
use crate::history;
use crate::read;
use crate::registry::{Checked, Row, Synced, Table, ask};
use crate::store::Store;
use crate::write::Write;

use super::custody::Kept;
use super::device::{self, Device};
use super::issue;
use super::pull::{Timeline, timeline};
use super::quarantine::{self, Telling};
use super::restored;
use intake::{Incoming, Op};
pub use replay::Numbered;

/// Rows in one push.
pub const MAX_ROWS: usize = 5000;
/// Conflicts in a row after which a push is taken row by row instead (S10).
const PATIENCE: i64 = 2;

/// The reason given for a row that is not there as well as for one that is not the author's.
const NOT_YOURS: &str = "no such row is yours to change";

/// One push of the WatermelonDB face.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// The number the device pulled just before.
    pub last_pulled_at: i64,
    /// The body.
    pub body: Value,
    /// The app's count of its pushes, where it keeps one (S9).
    pub numbered: Option<Numbered>,
}

/// What came of a push that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The commit number.
    pub seq: i64,
    /// Rows stored, changed or deleted.
    pub applied: usize,
    /// Rows that were kept in quarantine.
    pub quarantined: usize,
    /// Rows and columns that this server does not know.
    pub ignored: usize,
}

/// Why a push was not taken. Nothing was stored.
#[derive(Debug)]
pub enum PushRefusal {
    /// Another device changed the same columns: pull, merge and push again.
    Conflict(Vec<Conflict>),
    /// More rows than `MAX_ROWS`.
    TooManyRows,
    /// The body is not a push.
    Malformed(String),
    /// Anything else.
    Failed(Error),
}

/// One row on which two devices disagree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// Its table.
    pub table: &'static str,
    /// Its id.
    pub id: String,
    /// The columns, or that it was deleted or changed meanwhile.
    pub reason: String,
}

impl<E: Into<Error>> From<E> for PushRefusal {
    fn from(err: E) -> Self {
        PushRefusal::Failed(err.into())
    }
}

/// Takes a push in. All or nothing.
pub async fn push(store: &Store, actor: &Actor, request: PushRequest) -> std::result::Result<Push, PushRefusal> {
    let mut intake = intake::read(request.body).map_err(PushRefusal::Malformed)?;
    if intake.rows.len() > MAX_ROWS {
        return Err(PushRefusal::TooManyRows);
    }
    let mut write = store.write(actor).await?;
    let mut device = Device::load(write.conn(), actor).await?;
    let counted = match request.numbered {
        Some(numbered) => Some(replay::Counted::take(&write, numbered, &mut intake.rows).await?),
        None => None,
    };
    let mut desk =
        Desk::open(&mut write, &intake.rows, request.last_pulled_at, device.conflicts_in_a_row >= PATIENCE).await?;
    for incoming in &intake.rows {
        desk.take(incoming).await?;
    }
    if !desk.conflicts.is_empty() {
        let conflicts = std::mem::take(&mut desk.conflicts);
        drop(write);
        let side = store.side().await?;
        let mut device = Device::load(&*side, actor).await?;
        device.conflicts_in_a_row += 1;
        device.save(&*side, &actor.agency_id).await?;
        side.commit().await?;
        return Err(PushRefusal::Conflict(conflicts));
    }
    let (applied, quarantined) = desk.close().await?;
    device.conflicts_in_a_row = 0;
    device.last_push_at = Some(write.now().0);
    device.save(write.conn(), &actor.agency_id).await?;
    if let Some(counted) = counted {
        counted.keep(&write).await?;
    }
    write.note("push", "");
    let seq = write.commit().await?;
    Ok(Push { seq, applied, quarantined, ignored: intake.ignored })
}

/// Keeps rows that a device is about to lose to a reply it has just received (S4): all of them,
/// whoever may see the case now. Answers how many. The same rows sent again are the same entries.
pub async fn rescue(store: &Store, actor: &Actor, body: Value) -> std::result::Result<usize, PushRefusal> {
    keep_all(store, actor, body, "the device was about to lose it with the case", "rescue").await
}

/// Keeps what a device that was shut out had not sent yet, before it erases itself: all of it in
/// quarantine, since nobody can vouch for who held the device.
pub async fn farewell(store: &Store, actor: &Actor, body: Value) -> std::result::Result<usize, PushRefusal> {
    keep_all(store, actor, body, "it was left on a device that had been shut out", "farewell").await
}

async fn keep_all(
    store: &Store,
    actor: &Actor,
    body: Value,
    reason: &'static str,
    action: &'static str,
) -> std::result::Result<usize, PushRefusal> {
    let intake = intake::read(body).map_err(PushRefusal::Malformed)?;
    if intake.rows.len() > MAX_ROWS {
        return Err(PushRefusal::TooManyRows);
    }
    let mut write = store.write(actor).await?;
    let mut desk = Desk::open(&mut write, &intake.rows, 0, true).await?;
    for incoming in &intake.rows {
        let before = desk.stored.get(&(incoming.table.name, incoming.id.clone())).cloned();
        desk.keep(incoming, before.as_ref(), reason, true).await?;
    }
    let (_, kept) = desk.close().await?;
    write.note(action, "");
    write.commit().await?;
    Ok(kept)
}

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
    let mut desk = Desk::open(&mut write, &intake.rows, i64::MAX, true).await?;
    desk.salvages = true;
    // What people were told is the server's to say again.
    let work = |row: &&Incoming| row.op != Op::Deleted && row.table.name != issue::Entity::NAME;
    for incoming in intake.rows.iter().filter(work) {
        match desk.stored.get(&(incoming.table.name, incoming.id.clone())).cloned() {
            None => desk.create(incoming).await?,
            Some(stored) => desk.salvage(incoming, &stored, &line).await?,
        }
    }
    let (stored, _) = desk.close().await?;
    write.note("salvage", "");
    write.commit().await?;
    Ok(stored)
}

/// Applies quarantined work now, in its author's name and under the actor's rights; to another
/// case where one is named.
///
/// Fails with `Conflict` when it cannot be applied even now.
pub(crate) async fn apply_kept(write: &mut Write, kept: &Kept, case_id: Option<&str>) -> Result<()> {
    let mut raw = kept.raw.clone();
    if let Some(case) = case_id {
        raw.insert("case_id".into(), case.into());
    }
    let op = match kept.op.as_str() {
        "create" => Op::Created,
        "delete" => Op::Deleted,
        _ => Op::Updated,
    };
    let incoming = [Incoming { table: kept.table, id: kept.row_id.clone(), op, raw, face: kept.face }];
    let mut desk = Desk::open(write, &incoming, i64::MAX, true).await?;
    desk.behalf = Some(kept.author.clone());
    desk.take(&incoming[0]).await?;
    // Work that is there already, because its author could send it after all, is settled too.
    if let Some(telling) = desk.tellings.pop().filter(|_| desk.applied == 0) {
        let why = telling.message;
        return Err(Error::Conflict { code: "not_applicable", detail: format!("It cannot be applied. {why}") });
    }
    desk.flush().await
}

/// The desk on which a push is sorted.
struct Desk<'a> {
    write: &'a mut Write,
    since: i64,
    /// The device has lost patience: conflicts are settled row by row.
    patient: bool,
    stored: HashMap<(&'static str, String), Row>,
    visible: HashSet<(&'static str, String)>,
    /// Cases that are the author's, or become so in this push.
    cases: HashSet<String>,
    fresh: Vec<Checked>,
    /// New rows that their author may not see once they are stored.
    unseen: Vec<(&'static Table, String)>,
    tellings: Vec<Telling>,
    conflicts: Vec<Conflict>,
    applied: usize,
    quarantined: usize,
    /// Whose work it is, where that is not the actor.
    behalf: Option<String>,
    /// The rows were the server's once: what a device could not write is left out without a word.
    salvages: bool,
    /// What was sent before is recognised by its content.
    by_content: bool,
}

impl<'a> Desk<'a> {
    async fn open(write: &'a mut Write, rows: &[Incoming], since: i64, worn_out: bool) -> Result<Desk<'a>> {
        let mut stored = HashMap::new();
        for batch in rows.chunk_by(|a, b| a.table.name == b.table.name) {
            let ids: Vec<String> = batch.iter().map(|row| row.id.clone()).collect();
            for row in read::by_ids(write.conn(), batch[0].table, &ids).await? {
                stored.insert((row.table.name, row.id().to_owned()), row);
            }
        }
        let visible = rights::visible(write, stored.keys()).await?;
        let cases = rights::open_cases(write, rows, &stored).await?;
        Ok(Desk {
            write,
            since,
            patient: !worn_out,
            stored,
            visible,
            cases,
            fresh: Vec::new(),
            unseen: Vec::new(),
            tellings: Vec::new(),
            conflicts: Vec::new(),
            applied: 0,
            quarantined: 0,
            behalf: None,
            salvages: false,
            by_content: false,
        })
    }

    async fn take(&mut self, incoming: &Incoming) -> Result<()> {
        let key = (incoming.table.name, incoming.id.clone());
        let before = self.stored.get(&key).cloned();
        match (&before, incoming.op) {
            (None, Op::Deleted) => Ok(()),
            (None, _) => self.create(incoming).await,
            (Some(_), Op::Deleted) if !self.visible.contains(&key) => Ok(()),
            (Some(row), Op::Deleted) => self.delete(incoming, row).await,
            (Some(row), _) if row.is_deleted() || !self.visible.contains(&key) => {
                self.replayed_or_quarantined(incoming, row).await
            }
            (Some(row), _) => self.update(incoming, row).await,
        }
    }

    async fn create(&mut self, incoming: &Incoming) -> Result<()> {
        let (now, actor) = (self.write.now(), self.write.actor().clone());
        let table = incoming.table;
        let mut merged = merge::merge(incoming, None, &BTreeSet::new(), now, &actor)?;
        if let Some(author) = &self.behalf {
            merged.row.set("author_id", author.as_str().into());
        }
        let Some(checked) = merge::settle(&mut merged, None, now, &actor)? else {
            // An edit of a row that is not there is answered as one of a row that is not the author's.
            let (reason, widely) = match incoming.op {
                Op::Updated => (NOT_YOURS, true),
                _ => ("the row lacks what it needs to be stored", false),
            };
            return self.quarantine(incoming, None, reason, widely).await;
        };
        let own = match checked.row().case_id() {
            Some(_) if table.name == "cases" => true,
            Some(case) => self.cases.contains(case),
            None => !table.has_case(),
        };
        if !own {
            return self.late_or_quarantined(incoming, checked).await;
        }
        // Who decides about another's work need not be one who makes such rows: a supervisor accepts a note.
        if self.behalf.is_none() && !table.may_write(None, checked.row(), &actor)? {
            if self.salvages {
                return Ok(());
            }
            return self.quarantine(incoming, None, "this role may not make such a row", true).await;
        }
        if table.name == "cases" {
            self.cases.insert(incoming.id.clone());
        }
        self.report(incoming, &merged, checked.row()).await?;
        if !rights::author_sees(self.write, &self.cases, &actor, checked.row()).await? {
            self.unseen.push((table, incoming.id.clone()));
        }
        self.fresh.push(checked);
        self.applied += 1;
        Ok(())
    }

    /// New work for a case that is not the author's any more: taken in when it only adds, when it
    /// happened while the case was theirs, and when it comes within 14 days (S18).
    async fn late_or_quarantined(&mut self, incoming: &Incoming, checked: Checked) -> Result<()> {
        let row = checked.row().clone();
        let in_time = match (row.table.occurred(&row)?, row.case_id()) {
            (Some(occurred), Some(case)) => rights::was_theirs(self.write, case, occurred).await?,
            _ => false,
        };
        let actor = self.write.actor().clone();
        if !in_time || !row.table.may_write(None, &row, &actor)? {
            return self.quarantine(incoming, None, "the case is not yours at this time", true).await;
        }
        let mut late = row;
        late.set("late", true.into());
        let case_id = late.case_id().map(str::to_owned);
        self.tellings.push(Telling {
            kind: "late_accepted",
            table: incoming.table,
            id: incoming.id.clone(),
            case_id,
            message: "Work done before the case was handed over arrived afterwards and was added to it.".into(),
            sent: Map::new(),
            quarantine_id: None,
            widely: true,
        });
        self.unseen.push((incoming.table, incoming.id.clone()));
        self.fresh.push(late.checked(None, self.write.now(), &actor)?);
        self.applied += 1;
        Ok(())
    }

    async fn update(&mut self, incoming: &Incoming, before: &Row) -> Result<()> {
        let (now, actor) = (self.write.now(), self.write.actor().clone());
        let elsewhere =
            if before.edit_seq() > self.since { self.changed_elsewhere(incoming).await? } else { BTreeSet::new() };
        let mut merged = merge::merge(incoming, Some(before), &elsewhere, now, &actor)?;
        if self.patient && !merged.conflicts.is_empty() {
            self.conflicts.push(Conflict {
                table: incoming.table.name,
                id: incoming.id.clone(),
                reason: format!("changed elsewhere: {}", merged.conflicts.join(", ")),
            });
            return Ok(());
        }
        if let Err(refused) = ask(self.write.conn(), Some(before), &merged.row, now, &actor).await {
            merge::unmove(&mut merged, before, refused)?;
        }
        let Some(checked) = merge::settle(&mut merged, Some(before), now, &actor)? else {
            return self.quarantine(incoming, Some(before), "the change breaks a rule of the table", false).await;
        };
        let table = incoming.table;
        if *checked.row() != *before && (table.append_only || !table.may_write(Some(before), checked.row(), &actor)?) {
            return self.quarantine(incoming, Some(before), "this row is not yours to change", false).await;
        }
        self.report(incoming, &merged, before).await?;
        let after = self.write.update(before, checked).await?;
        if after.seq() != before.seq() {
            self.applied += 1;
            if !rights::author_sees(self.write, &self.cases, &actor, &after).await? {
                self.unseen.push((table, incoming.id.clone()));
            }
        }
        Ok(())
    }

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
        let later = match known {
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
                lost.insert(column.name.to_owned(), merged.row.json(at, crate::registry::Face::Rest));
            }
        }
        // A device that was only behind offers what history has anyway.
        history::leave_new(self.write, before, &mut lost).await?;
        if !lost.is_empty() {
            history::keep_lost(self.write, before, lost).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, incoming: &Incoming, before: &Row) -> Result<()> {
        if before.is_deleted() {
            return Ok(());
        }
        if self.patient && before.edit_seq() > self.since && !self.changed_elsewhere(incoming).await?.is_empty() {
            self.conflicts.push(Conflict {
                table: incoming.table.name,
                id: incoming.id.clone(),
                reason: "changed elsewhere since it was deleted here".into(),
            });
            return Ok(());
        }
        let actor = self.write.actor().clone();
        if before.table.may_delete(before, &actor)? {
            self.applied += 1;
            return self.write.delete(before).await;
        }
        device::resend(self.write.conn(), &actor, self.write.seq(), before.table.name, before.id()).await?;
        self.tellings.push(Telling {
            kind: "delete_refused",
            table: incoming.table,
            id: incoming.id.clone(),
            case_id: before.case_id().map(str::to_owned),
            message: "This cannot be deleted; it has been put back. Void or withdraw it instead.".into(),
            sent: Map::new(),
            quarantine_id: None,
            widely: false,
        });
        Ok(())
    }

    /// A row that is deleted or not the author's to see. When it says only what is stored already
    /// it is a replay whose answer was lost; otherwise it is kept, and taken from the device.
    async fn replayed_or_quarantined(&mut self, incoming: &Incoming, before: &Row) -> Result<()> {
        let (now, actor) = (self.write.now(), self.write.actor().clone());
        let known = before.agency_id() == actor.agency_id && before.text("created_by") == Some(actor.user());
        if known && incoming.op == Op::Created && !before.is_deleted() {
            let merged = merge::merge(incoming, Some(before), &BTreeSet::new(), now, &actor)?;
            if merged.row == *before {
                // Its end may have been forgotten since, and no pull would take it from the device.
                let (name, id) = (incoming.table.name, incoming.id.as_str());
                return device::resend(self.write.conn(), &actor, self.write.seq(), name, id).await;
            }
        }
        let reason = if before.is_deleted() && self.visible_before(before) {
            "the row was deleted meanwhile"
        } else {
            NOT_YOURS
        };
        self.quarantine(incoming, None, reason, true).await
    }

    fn visible_before(&self, before: &Row) -> bool {
        before.case_id().is_some_and(|case| self.cases.contains(case))
    }

    async fn changed_elsewhere(&self, incoming: &Incoming) -> Result<BTreeSet<String>> {
        let device = self.write.actor().device_id.clone().unwrap_or_default();
        history::changed_elsewhere(self.write.conn(), incoming.table, &incoming.id, self.since, &device).await
    }

    /// Keeps a row that may not be applied; the device gets back what is stored, or loses the row
    /// where its user may not see it.
    async fn quarantine(
        &mut self,
        incoming: &Incoming,
        before: Option<&Row>,
        reason: &'static str,
        widely: bool,
    ) -> Result<()> {
        self.keep(incoming, before, reason, widely).await?;
        let actor = self.write.actor().clone();
        let (name, id) = (incoming.table.name, &incoming.id);
        if before.is_some() {
            device::resend(self.write.conn(), &actor, self.write.seq(), name, id).await
        } else {
            self.write.take_from_author(incoming.table, id, actor.user()).await
        }
    }

    /// Puts a row into quarantine and tells those it concerns.
    async fn keep(
        &mut self,
        incoming: &Incoming,
        before: Option<&Row>,
        reason: &'static str,
        widely: bool,
    ) -> Result<()> {
        let (table, id) = (incoming.table, incoming.id.as_str());
        let case_id = quarantine::known_case(self.write, before, &incoming.raw).await?;
        let entry = quarantine::keep(
            self.write,
            table,
            id,
            case_id.as_deref(),
            incoming.op.as_str(),
            reason,
            (&incoming.raw, incoming.face),
        )
        .await?;
        let sent = incoming.raw.iter().filter(|(name, _)| !name.starts_with('_'));
        self.tellings.push(Telling {
            kind: "quarantined",
            table,
            id: id.to_owned(),
            case_id,
            message: format!("Kept, not applied: {reason}."),
            sent: sent.map(|(name, value)| (name.clone(), value.clone())).collect(),
            quarantine_id: Some(entry),
            widely,
        });
        self.quarantined += 1;
        Ok(())
    }

    /// Tells the author what was not stored as sent, and has the row sent back as it is stored.
    async fn report(&mut self, incoming: &Incoming, merged: &merge::Merged, known: &Row) -> Result<()> {
        if merged.kept.is_empty() && merged.mended.is_empty() {
            return Ok(());
        }
        let actor = self.write.actor().clone();
        device::resend(self.write.conn(), &actor, self.write.seq(), incoming.table.name, &incoming.id).await?;
        let names: Vec<&'static str> = merged.kept.iter().chain(&merged.mended).copied().collect();
        let told: Vec<&'static str> = names
            .into_iter()
            .filter(|name| {
                incoming.table.column(name).is_some_and(|column| column.field.merge != crate::registry::Merge::Server)
            })
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        let (kind, what) = if merged.illegal {
            ("illegal_move", "does not follow from the state it is in, so it kept its value")
        } else if merged.mended.is_empty() {
            ("ignored", "cannot be changed this way and kept its value")
        } else {
            ("cleaned", "held something that cannot be stored and was mended")
        };
        self.tellings.push(Telling {
            kind,
            table: incoming.table,
            id: incoming.id.clone(),
            case_id: known.case_id().map(str::to_owned),
            message: format!("{} {what}.", told.join(", ")),
            sent: merge::excerpt(&incoming.raw, &told),
            quarantine_id: None,
            widely: false,
        });
        Ok(())
    }

    /// Stores the new rows, and takes back those that the author may not see.
    async fn flush(&mut self) -> Result<()> {
        self.write.insert(std::mem::take(&mut self.fresh)).await?;
        let user = self.write.actor().user().to_owned();
        for (table, id) in std::mem::take(&mut self.unseen) {
            self.write.take_from_author(table, &id, &user).await?;
        }
        Ok(())
    }

    /// Stores what is left and writes the issues.
    async fn close(mut self) -> Result<(usize, usize)> {
        self.flush().await?;
        quarantine::tell(self.write, std::mem::take(&mut self.tellings)).await?;
        Ok((self.applied, self.quarantined))
    }
}
