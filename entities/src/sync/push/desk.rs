//! The desk on which a push is sorted, row by row: stored, changed, kept in quarantine, or told to
//! be merged first.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::intake::{Incoming, Op};
use super::merge::Elsewhere;
use super::reach::Reach;
use super::{Conflict, merge, rights};
use crate::access::{self, Actor};
use crate::error::{Error, Result};
use crate::history;
use crate::read;
use crate::registry::{Checked, Face, Merge, Row, Table, ask, is_rested_on, table};
use crate::sync::custody::{self, WAITING};
use crate::sync::device::{self, Device};
use crate::sync::feed;
use crate::sync::quarantine::{self, Telling};
use crate::write::Write;

/// The reason given for a row that is not there as well as for one that is not the author's.
pub(super) const NOT_YOURS: &str = "no such row is yours to change";
/// The reason given for new work in a case that is not the author's, or that is not there.
pub(in crate::sync) const NOT_YOUR_CASE: &str = "the case is not yours at this time";
/// The reason given for a row that cannot do without another, which is not there for its author.
pub(super) const NO_SUCH_ROW: &str = "it names a row that is not there for you";

/// The reason given for a new row that cannot be stored.
pub(super) const LACKING: &str = "the row lacks what it needs to be stored";
/// The reason given for a change that cannot be stored.
pub(super) const BREAKS: &str = "the change breaks a rule of the table";
/// The reason given for work on a row that its author knew and that is deleted.
pub(super) const DELETED: &str = "the row was deleted meanwhile";

/// Conflicts in a row after which a push is taken row by row instead (S10).
const PATIENCE: i64 = 2;

/// What becomes of a push in which a row is in conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnConflict {
    /// It hangs on how often the device was sent back already, which is looked up when there is one.
    AskDevice,
    /// The device merges and comes back.
    SendBack,
    /// The push is taken, row by row.
    Settle,
}

/// The desk on which a push is sorted.
pub(super) struct Desk<'a> {
    pub(super) write: &'a mut Write,
    pub(super) since: i64,
    on_conflict: OnConflict,
    pub(super) stored: HashMap<(&'static str, String), Row>,
    pub(super) visible: HashSet<(&'static str, String)>,
    /// Cases that are the author's, or become so in this push.
    pub(super) cases: HashSet<String>,
    pub(super) fresh: Vec<Checked>,
    /// What rows of this push may name.
    pub(super) reach: Reach,
    /// New rows that their author may not see once they are stored.
    pub(super) unseen: Vec<(&'static Table, String)>,
    pub(super) tellings: Vec<Telling>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) applied: usize,
    pub(super) quarantined: usize,
    /// Whose work it is, and under whose rights it is judged: the actor's own, or that of somebody
    /// whose quarantined work the actor accepts.
    pub(super) author: Arc<Actor>,
    /// Rows whose move other rows stand against, which may have come with the same push.
    deferred: Vec<Incoming>,
    /// Nothing more comes.
    last_try: bool,
    /// What was sent before is recognised by its content.
    pub(super) by_content: bool,
    /// What was sent before does not come here again.
    pub(super) once: bool,
    /// Rows of which a mutation was put off in this request: what follows of them is too.
    pub(super) put_off: HashSet<(&'static str, String)>,
}

impl<'a> Desk<'a> {
    pub(super) async fn open(
        write: &'a mut Write,
        rows: &[Incoming],
        since: i64,
        on_conflict: OnConflict,
    ) -> Result<Desk<'a>> {
        let mut stored = HashMap::new();
        for batch in rows.chunk_by(|a, b| a.table.name == b.table.name) {
            let ids: Vec<String> = batch.iter().map(|row| row.id.clone()).collect();
            for row in read::by_ids(write.conn(), batch[0].table, &ids).await? {
                stored.insert((row.table.name, row.id().to_owned()), row);
            }
        }
        let visible = rights::visible(write, stored.keys()).await?;
        let cases = rights::open_cases(write, rows, &stored).await?;
        let reach = Reach::of(write, rows, &stored).await?;
        let author = Arc::clone(write.actor());
        Ok(Desk {
            write,
            reach,
            author,
            since,
            on_conflict,
            stored,
            visible,
            cases,
            fresh: Vec::new(),
            unseen: Vec::new(),
            tellings: Vec::new(),
            conflicts: Vec::new(),
            applied: 0,
            quarantined: 0,
            deferred: Vec::new(),
            last_try: true,
            by_content: false,
            once: false,
            put_off: HashSet::new(),
        })
    }

    /// Takes all rows of a push. A move that other rows stand against is tried again when the rest has been stored: what it
    /// rests on may have come with it, such as the rating of a goal that is completed.
    pub(super) async fn take_all(&mut self, rows: &[Incoming]) -> Result<()> {
        self.last_try = false;
        for incoming in rows {
            self.take(incoming).await?;
        }
        while !self.deferred.is_empty() {
            self.flush().await?;
            let again = std::mem::take(&mut self.deferred);
            for incoming in &again {
                self.take(incoming).await?;
            }
            self.last_try = self.deferred.len() == again.len();
        }
        self.last_try = true;
        Ok(())
    }

    pub(super) async fn take(&mut self, incoming: &Incoming) -> Result<()> {
        let key = (incoming.table.name, incoming.id.clone());
        let before = self.stored.get(&key).cloned();
        match (&before, incoming.op) {
            (None, Op::Deleted) => Ok(()),
            (None, _) => self.create(incoming).await,
            (Some(row), Op::Deleted) if !self.visible.contains(&key) => {
                // Whoever knew the row is told that it stays; to everybody else it does not exist.
                let own = row.text("created_by") == Some(self.write.actor().user());
                if row.is_deleted() || !(own || self.ever_seen(incoming.table, &incoming.id).await?) {
                    return Ok(());
                }
                let author = Arc::clone(&self.author);
                if row.table.may_delete(row, &author)? {
                    return self.replayed_or_quarantined(incoming, row).await;
                }
                // Nobody could let it be deleted, whoever has it now.
                self.refuse_deletion(incoming, row, "This cannot be deleted, and it is not yours any more.");
                Ok(())
            }
            (Some(row), Op::Deleted) => self.delete(incoming, row).await,
            (Some(row), _) if row.is_deleted() || !self.visible.contains(&key) => {
                self.replayed_or_quarantined(incoming, row).await
            }
            (Some(row), _) => self.update(incoming, row).await,
        }
    }

    pub(super) async fn create(&mut self, incoming: &Incoming) -> Result<()> {
        let (now, author) = (self.write.now(), Arc::clone(&self.author));
        let table = incoming.table;
        if incoming.op == Op::Updated && (table.is_servers() || table.anew || incoming.needs_its_row()) {
            // As one that is there and is not the author's: no device makes such a row.
            return self.quarantine(incoming, None, NOT_YOURS, true).await;
        }
        let mut merged = merge::merge(incoming, None, &Elsewhere::default(), now, &author)?;
        // Where it will stand may hang on who made it.
        self.write.stamp(&mut merged.row);
        let own = match merged.row.case_id() {
            Some(_) if table.is_case() => true,
            Some(case) => self.cases.contains(case),
            None => !table.has_case(),
        };
        if let Err(why) = self.reach.fits(&mut merged, None, own, &author) {
            // What waits settles itself.
            return self.quarantine(incoming, None, why, why != WAITING).await;
        }
        let Some(checked) = merge::settle(&mut merged, None, now, &author)? else {
            // An edit of a row that is not there is answered as one of a row that is not the author's.
            let (reason, widely) = match incoming.op {
                Op::Updated => (NOT_YOURS, true),
                _ => (LACKING, false),
            };
            return self.quarantine(incoming, None, reason, widely).await;
        };
        if !own {
            return self.late_or_quarantined(incoming, &merged, checked).await;
        }
        // Accepting another's work does not widen what its author may make.
        if !table.may_write(None, checked.row(), &author)? {
            return self.quarantine(incoming, None, "this role may not make such a row", true).await;
        }
        // Of whoever brings it: who accepts another's work answers for the case.
        let actor = Arc::clone(self.write.actor());
        match ask(self.write.conn(), None, checked.row(), now, &actor).await {
            // What other rows stand against is refused at the desk alone: they may come after this one.
            Ok(()) | Err(Error::Invalid(_)) => (),
            Err(Error::Forbidden(_)) => {
                return self.quarantine(incoming, None, "this role may not make such a row", true).await;
            }
            Err(why) => return Err(why),
        }
        if self.is_left_unfinished(checked.row(), &actor).await? {
            let detail = "Only its author can finish a draft, and has not the case: give it to them again and they take \
                          the draft in, or write down what is to stay, and discard it.";
            return Err(Error::Conflict { code: "not_applicable", detail: detail.into() });
        }
        if table.is_case() {
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

    /// Whether somebody else would take in what its author alone may finish, such as a draft, and cannot any more.
    async fn is_left_unfinished(&self, row: &Row, actor: &Actor) -> Result<bool> {
        let author = &self.author;
        if actor.user() == author.user() || row.text("author_id") != Some(author.user()) {
            return Ok(false);
        }
        let (table, case) = (row.table, row.case_id().unwrap_or_default());
        let goes_on = table.moves.iter().any(|way| row.text(way.column).is_some_and(|state| way.from.contains(&state)));
        let another = Actor { role: author.role, ..actor.clone() };
        // As what they are now: who has become a supervisor signs no worker's draft.
        let as_now = rights::author(self.write, author.user()).await?;
        let may_finish = table.may_write(Some(row), row, &as_now)?
            && access::opens(self.write.conn(), author.user(), &[format!("case:{case}")]).await?;
        Ok(goes_on
            && !may_finish
            && !table.may_write(Some(row), row, &another)?
            && !custody::ends_it(self.write, author.user(), row).await?)
    }

    /// New work for a case that is not the author's any more: taken in when it only adds, when it
    /// happened while the case was theirs, and when it comes within 14 days (S18).
    pub(super) async fn late_or_quarantined(
        &mut self,
        incoming: &Incoming,
        merged: &merge::Merged,
        checked: Checked,
    ) -> Result<()> {
        let row = checked.row().clone();
        let actor = Arc::clone(&self.author);
        // Who takes in another's work answers for the case, and so has to have it.
        let in_time = match (row.table.occurred(&row)?, row.case_id()) {
            (Some(occurred), Some(case)) if self.write.actor().user() == actor.user() => {
                rights::was_theirs(self.write, case, occurred).await?
            }
            _ => false,
        };
        if !in_time || !row.table.may_write(None, &row, &actor)? {
            return self.quarantine(incoming, None, NOT_YOUR_CASE, true).await;
        }
        // What it names may have come with it and be kept, such as the note that it corrects or the goal that it rates:
        // then it is kept beside that (S8).
        for column in row.table.columns.iter().filter(|column| column.name != "case_id") {
            let (Some(target), Some(id)) = (column.field.refers.and_then(table), row.text(column.name)) else {
                continue;
            };
            let comes = self.fresh.iter().any(|fresh| fresh.row().table.name == target.name && fresh.row().id() == id);
            if !comes && self.write.row(target, id).await?.is_none() {
                return self.quarantine(incoming, None, NO_SUCH_ROW, true).await;
            }
        }
        self.report(incoming, merged, &row).await?;
        let mut late = row;
        late.set("late", true.into());
        let said = "Work done before the case was handed over arrived afterwards and was added to it.";
        let (table, id) = (incoming.table, &incoming.id);
        let telling = Telling::to_author("late_accepted", table, id, late.case_id(), said, Map::new());
        self.tellings.push(Telling { widely: true, ..telling });
        self.unseen.push((incoming.table, incoming.id.clone()));
        self.fresh.push(late.checked(None, self.write.now(), &actor)?);
        self.applied += 1;
        Ok(())
    }

    pub(super) async fn update(&mut self, incoming: &Incoming, before: &Row) -> Result<()> {
        let (now, actor) = (self.write.now(), Arc::clone(&self.author));
        let columns =
            if before.edit_seq() > self.since { self.changed_elsewhere(incoming).await? } else { BTreeSet::new() };
        let (taken_out, left_out) = self.taken_out(incoming, before).await?;
        let states = || incoming.table.columns.iter().filter(|column| column.field.merge == Merge::State);
        let moves = states().any(|column| {
            let sent = incoming.raw.get(column.name).and_then(Json::as_str);
            sent.is_some() && sent != before.text(column.name) && incoming.speaks_for(column.name)
        });
        let moved = if moves { self.changed_unknown(incoming).await? } else { BTreeSet::new() };
        let elsewhere = Elsewhere { columns, moved, taken_out };
        let mut merged = merge::merge(incoming, Some(before), &elsewhere, now, &actor)?;
        if !merged.conflicts.is_empty() && self.sends_back().await? {
            self.conflicts.push(Conflict {
                table: incoming.table.name,
                id: incoming.id.clone(),
                reason: format!("changed elsewhere: {}", merged.conflicts.join(", ")),
            });
            return Ok(());
        }
        if incoming.whole && merged.illegal {
            return self.refuse_move(incoming, before, &merged).await;
        }
        if let Err(why) = self.reach.fits(&mut merged, Some(before), true, &actor) {
            return self.quarantine(incoming, Some(before), why, false).await;
        }
        // With what was taken back, the rest may stand otherwise. Whose case it is, is asked of whoever brings it.
        let (mut tries, bringer) = (3, Arc::clone(self.write.actor()));
        while let Err(refused) = ask(self.write.conn(), Some(before), &merged.row, now, &bringer).await {
            if let Error::Forbidden(why) = &refused
                && bringer.user() != actor.user()
            {
                // Somebody else may take it in.
                let detail = format!("It cannot be applied by you: {why}.");
                return Err(Error::Conflict { code: "not_applicable", detail });
            }
            if !self.last_try && matches!(refused, Error::Invalid(_) | Error::Forbidden(_)) {
                self.deferred.push(incoming.clone());
                return Ok(());
            }
            if tries == 0 {
                return self.quarantine(incoming, Some(before), BREAKS, false).await;
            }
            tries -= 1;
            merge::unmove(&mut merged, before, refused)?;
        }
        if incoming.whole && merged.illegal {
            return self.refuse_move(incoming, before, &merged).await;
        }
        let Some(checked) = merge::settle(&mut merged, Some(before), now, &actor)? else {
            return self.quarantine(incoming, Some(before), BREAKS, false).await;
        };
        let table = incoming.table;
        if *checked.row() != *before && (table.append_only || !table.may_write(Some(before), checked.row(), &actor)?) {
            let widely = self.was_theirs_to_change(incoming, before, checked.row()).await?;
            return self.quarantine(incoming, Some(before), "this row is not yours to change", widely).await;
        }
        self.report(incoming, &merged, before).await?;
        self.tellings.extend(left_out);
        let after = self.write.update(before, checked).await?;
        if after.seq() != before.seq() {
            self.applied += 1;
            let actor = Arc::clone(self.write.actor());
            if !rights::author_sees(self.write, &self.cases, &actor, &after).await? {
                self.unseen.push((table, incoming.id.clone()));
            }
        }
        Ok(())
    }

    /// Whether the author could have made the change as the worker of the case that they were before they had the role
    /// that they have: then those who have the case may make it theirs.
    async fn was_theirs_to_change(&self, incoming: &Incoming, before: &Row, after: &Row) -> Result<bool> {
        let worker = rights::as_worker(&self.author);
        if self.author.role == worker.role
            || before.table.append_only
            || !before.table.may_write(Some(before), after, &worker)?
        {
            return Ok(false);
        }
        let case = quarantine::known_case(self.write, Some(before), &incoming.raw).await?;
        rights::worked_on(self.write, worker.user(), case.as_deref().unwrap_or_default()).await
    }

    /// Stores what an edit by the row's author says about fewer people seeing it, whoever has the case now: nobody else may
    /// say it, and what protects more stands. Answers whether that was all of the edit.
    pub(super) async fn narrows(&mut self, incoming: &Incoming, before: &mut Row) -> Result<bool> {
        let (now, author, table) = (self.write.now(), Arc::clone(self.write.actor()), incoming.table);
        let its_author = before.text("author_id") == Some(author.user()) && before.agency_id() == author.agency_id;
        if incoming.op != Op::Updated || incoming.whole || before.is_deleted() || !its_author {
            return Ok(false);
        }
        let meant = merge::merge(incoming, Some(before), &Elsewhere::default(), now, &author)?;
        let mut narrowed = before.clone();
        for (at, _) in table.wire_columns().filter(|(_, column)| column.field.merge == Merge::Protective) {
            narrowed.put(at, meant.row.cell(at).clone());
        }
        let Ok(checked) = narrowed.tried(Some(before), now, &author)? else { return Ok(false) };
        let all = meant.row == *checked.row() && meant.kept.is_empty() && meant.mended.is_empty();
        if *checked.row() == *before {
            // Said again: all of it may be there.
            return Ok(all);
        }
        if !table.may_write(Some(before), checked.row(), &author)? {
            return Ok(false);
        }
        *before = self.write.update(before, checked).await?;
        self.stored.insert((table.name, incoming.id.clone()), before.clone());
        self.applied += 1;
        Ok(all)
    }

    pub(super) async fn delete(&mut self, incoming: &Incoming, before: &Row) -> Result<()> {
        if before.is_deleted() {
            return Ok(());
        }
        if before.edit_seq() > self.since
            && !self.changed_elsewhere(incoming).await?.is_empty()
            && self.sends_back().await?
        {
            self.conflicts.push(Conflict {
                table: incoming.table.name,
                id: incoming.id.clone(),
                reason: "changed elsewhere since it was deleted here".into(),
            });
            return Ok(());
        }
        let actor = Arc::clone(&self.author);
        let said = if !before.table.may_delete(before, &actor)? || is_rested_on(self.write.conn(), before).await? {
            "This cannot be deleted; it has been put back. Void or withdraw it instead."
        } else if self.changed_unknown(incoming).await?.is_empty() {
            self.applied += 1;
            return self.write.delete(before).await;
        } else {
            "It was changed elsewhere, perhaps after it was deleted here, so it has been put back."
        };
        device::resend(self.write, before.table.name, before.id()).await?;
        self.refuse_deletion(incoming, before, said);
        Ok(())
    }

    /// Columns that others changed and of which the device may not have known when it wrote. A WatermelonDB app pulls
    /// before it pushes, so what it wrote on is the pull of the push before (`taken_out` in refused.rs); where there was
    /// none, this one's.
    async fn changed_unknown(&self, incoming: &Incoming) -> Result<BTreeSet<String>> {
        if incoming.face != Face::Watermelon || self.since == i64::MAX {
            return Ok(BTreeSet::new());
        }
        let known = match Device::pushed_since(self.write.conn(), &self.author).await? {
            0 => self.since,
            pushed => pushed.min(self.since),
        };
        let conn = self.write.conn();
        let mut changed = history::changed_elsewhere(conn, incoming.table, &incoming.id, known, &self.author).await?;
        // What only the server sets, nobody wrote.
        changed.retain(|name| incoming.table.column(name).is_some_and(|column| column.field.writable()));
        Ok(changed)
    }

    /// A row that is deleted or not the author's to see. When it says only what is stored already
    /// it is a replay whose answer was lost; otherwise it is kept, and taken from the device.
    pub(super) async fn replayed_or_quarantined(&mut self, incoming: &Incoming, before: &Row) -> Result<()> {
        let (now, actor) = (self.write.now(), self.write.actor().clone());
        // Made by them, or changed by nobody after them: what they say of it tells them nothing that they did not say.
        let by = if incoming.op == Op::Created { "created_by" } else { "updated_by" };
        let known = before.agency_id() == actor.agency_id && before.text(by) == Some(actor.user());
        if known && incoming.op != Op::Deleted && !before.is_deleted() {
            let merged = merge::merge(incoming, Some(before), &Elsewhere::default(), now, &actor)?;
            if merged.row == *before && merged.kept.is_empty() && merged.mended.is_empty() {
                // Its end may have been forgotten since, and no pull would take it from the device.
                let (name, id) = (incoming.table.name, incoming.id.as_str());
                return device::resend(self.write, name, id).await;
            }
        }
        let named = incoming.raw.get("case_id").and_then(Json::as_str);
        let mut before = before.clone();
        if self.narrows(incoming, &mut before).await? {
            return self.write.take_from_author(incoming.table, &incoming.id, actor.user()).await;
        }
        let before = &before;
        let reason = if before.is_deleted() && self.visible_before(before) {
            DELETED
        } else if incoming.op == Op::Created && named.is_some_and(|case| !self.cases.contains(case)) {
            // As for a row whose id is free.
            NOT_YOUR_CASE
        } else {
            NOT_YOURS
        };
        self.keep(incoming, Some(before), reason, true).await?;
        self.write.take_from_author(incoming.table, &incoming.id, actor.user()).await
    }

    /// Whether the author could see the row at some time.
    pub(super) async fn ever_seen(&self, table: &'static Table, id: &str) -> Result<bool> {
        let ids = [id.to_owned()];
        let places = feed::places(self.write.conn(), self.write.actor().user(), table, &ids).await?;
        Ok(places.iter().any(|place| place.seen))
    }

    /// Whether a conflict sends the push back.
    async fn sends_back(&mut self) -> Result<bool> {
        if self.on_conflict == OnConflict::AskDevice {
            let device = Device::load(self.write.conn(), self.write.actor()).await?;
            let patient = device.conflicts_in_a_row < PATIENCE;
            self.on_conflict = if patient { OnConflict::SendBack } else { OnConflict::Settle };
        }
        Ok(self.on_conflict == OnConflict::SendBack)
    }

    pub(super) fn visible_before(&self, before: &Row) -> bool {
        before.case_id().is_some_and(|case| self.cases.contains(case))
    }

    pub(super) async fn changed_elsewhere(&self, incoming: &Incoming) -> Result<BTreeSet<String>> {
        let actor = self.write.actor();
        history::changed_elsewhere(self.write.conn(), incoming.table, &incoming.id, self.since, actor).await
    }

    /// Stores the new rows, and takes back those that the author may not see.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.write.insert(std::mem::take(&mut self.fresh)).await?;
        let user = self.write.actor().user().to_owned();
        for (table, id) in std::mem::take(&mut self.unseen) {
            self.write.take_from_author(table, &id, &user).await?;
        }
        Ok(())
    }

    /// Stores what is left and writes the issues.
    pub(super) async fn close(mut self) -> Result<(usize, usize)> {
        self.flush().await?;
        let again = self.once;
        quarantine::tell(self.write, std::mem::take(&mut self.tellings), again).await?;
        Ok((self.applied, self.quarantined))
    }
}
