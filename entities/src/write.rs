//! The one write door.
//!
//! Every change of a row that a device may hold passes here, whoever makes it: a phone, the desk,
//! the worker, the operator. The agency's clock row is updated first and stays locked until the
//! commit, so that commit numbers are handed out in the order in which commits become visible and
//! no pull can step over a row that commits late (the lost-row race of every design that takes
//! its number early). The lock also serves as the lock of each of the agency's cases.
//!
//! One transaction has one number. At the commit the door settles access, re-stands rows, replans
//! the cases whose facts changed and writes one chained audit event. Read `history.rs` and
//! `audit.rs` for what it leaves behind, `sync/` for what is made of it.

use std::collections::BTreeSet;

use sea_orm::{DatabaseTransaction, Value};

use crate::access::{self, Actor, Stand};
use crate::casework::case_assignment;
use crate::clock::{Clock, Instant};
use crate::error::{Error, Result};
use crate::registry::{Checked, Merge, Row, Synced, Table, Touch, fill, table};
use crate::store::Store;
use crate::workflow::refused;
use crate::{audit, history, sql};

/// An open write transaction of one agency. Dropping it undoes everything.
#[derive(Debug)]
pub struct Write {
    tx: DatabaseTransaction,
    actor: Actor,
    clock: Clock,
    now: Instant,
    seq: i64,
    access: BTreeSet<String>,
    restand: BTreeSet<(&'static str, String)>,
    plan: BTreeSet<String>,
    refill: BTreeSet<(&'static str, String)>,
    ended: BTreeSet<String>,
    reached: BTreeSet<(String, Option<String>, Option<String>)>,
    immediate: bool,
    objects: Vec<String>,
    note: Option<(&'static str, String)>,
}

impl Store {
    /// Opens the write door for an agency: takes its clock row, then the instant.
    ///
    /// Fails with `NotFound` when there is no such agency and with `Busy` when another writer of
    /// the agency holds the clock for longer than the lock timeout (3 s).
    pub async fn write(&self, actor: &Actor) -> Result<Write> {
        let tx = self.begin().await?;
        let now = self.now_sql();
        let text = format!(
            "update sync_clock set seq = case when seq >= {now} then seq + 1 else {now} end \
             where agency_id = $1 returning seq, {now}"
        );
        let row = sql::one(&tx, &text, vec![actor.agency_id.as_str().into()]).await?.ok_or(Error::NotFound)?;
        let mut write = Write {
            seq: row.try_get_by_index(0)?,
            now: Instant(row.try_get_by_index(1)?),
            tx,
            actor: actor.clone(),
            clock: self.clock().clone(),
            access: BTreeSet::new(),
            restand: BTreeSet::new(),
            plan: BTreeSet::new(),
            refill: BTreeSet::new(),
            ended: BTreeSet::new(),
            reached: BTreeSet::new(),
            immediate: false,
            objects: Vec::new(),
            note: None,
        };
        access::settle_windows(&mut write).await?;
        Ok(write)
    }
}

impl Write {
    /// The instant of this transaction, read once.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The commit number that everything in this transaction carries.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The transaction, for reading, and for writing tables that no device holds.
    pub fn conn(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// A new row id of this transaction's time.
    pub fn mint(&self) -> String {
        self.clock.mint_at(self.now)
    }

    /// Says what this transaction is, for the audit trail: a stable word and, where a person gave
    /// one, the reason. Without it the trail says `write`.
    pub fn note(&mut self, action: &'static str, reason: impl Into<String>) {
        self.note = Some((action, reason.into()));
    }

    /// Names a row in the audit event although it does not change: somebody read it, or tried to.
    pub fn witness(&mut self, table: &Table, id: &str) {
        self.objects.push(audit::object(table.name, id));
    }

    /// Asks for the case's access to be settled before the commit.
    pub fn settle_access(&mut self, case_id: &str) {
        self.access.insert(case_id.to_owned());
    }

    /// Makes every loss of access in this transaction immediate: phones are told at their next
    /// pull, even one that asked for deletes to be held back until its own work is sent.
    pub fn revoke_at_once(&mut self) {
        self.immediate = true;
    }

    pub(crate) fn is_immediate(&self) -> bool {
        self.immediate
    }

    /// Asks for the case to be planned again before the commit.
    pub fn replan(&mut self, case_id: &str) {
        self.plan.insert(case_id.to_owned());
    }

    /// The row as stored, deleted ones included; whether the actor may see it is not asked.
    pub async fn row(&self, table: &'static Table, id: &str) -> Result<Option<Row>> {
        Ok(crate::read::by_ids(&self.tx, table, &[id.to_owned()]).await?.pop())
    }

    /// The typed row, unless it has been deleted.
    pub async fn load<E: Synced>(&self, id: &str) -> Result<Option<E::Model>> {
        match self.row(registered(E::NAME)?, id).await? {
            Some(row) if !row.is_deleted() => Ok(Some(row.model::<E>()?)),
            _ => Ok(None),
        }
    }

    /// Stores a new typed row and gives it back as stored. An empty id is replaced by a new one.
    pub async fn create<E: Synced>(&mut self, model: E::Model) -> Result<E::Model> {
        let mut row = Row::from_model::<E>(registered(E::NAME)?, model);
        if row.id().is_empty() {
            let id = self.mint();
            row.set("id", id.into());
        }
        let checked = row.checked(None, self.now, &self.actor)?;
        let stored = self.insert(vec![checked]).await?;
        stored.first().ok_or(Error::NotFound)?.model::<E>()
    }

    /// Stores a changed typed row; gives it back as stored. Nothing happens when nothing differs.
    pub async fn change<E: Synced>(&mut self, before: &E::Model, after: E::Model) -> Result<E::Model> {
        let table = registered(E::NAME)?;
        let before = Row::from_model::<E>(table, before.clone());
        let after = Row::from_model::<E>(table, after).checked(Some(&before), self.now, &self.actor)?;
        self.update(&before, after).await?.model::<E>()
    }

    /// Marks a typed row as deleted.
    pub async fn remove<E: Synced>(&mut self, before: &E::Model) -> Result<()> {
        let row = Row::from_model::<E>(registered(E::NAME)?, before.clone());
        self.delete(&row).await
    }

    /// Stores new rows, all of one table or of several; parents must come first. Answers the rows
    /// as stored, without those that came with them.
    pub async fn insert(&mut self, rows: Vec<Checked>) -> Result<Vec<Row>> {
        let stored = self.place(rows, false).await?;
        let mut along = Vec::new();
        for row in &stored {
            along.extend(row.table.follow(None, row, self.now, &self.actor)?);
        }
        self.place_along(along).await?;
        Ok(stored)
    }

    /// Stores the rows of a record that is whole as it is, such as one kept elsewhere before:
    /// nothing is read from other rows and nothing comes along.
    pub async fn insert_whole(&mut self, rows: Vec<Checked>) -> Result<Vec<Row>> {
        self.place(rows, true).await
    }

    /// Stores rows that come with a change.
    async fn place_along(&mut self, mut rows: Vec<Row>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_by_key(|row| row.table.rank);
        let mut checked = Vec::with_capacity(rows.len());
        for mut row in rows {
            if row.id().is_empty() {
                row.set("id", self.mint().into());
            }
            checked.push(row.checked(None, self.now, &self.actor)?);
        }
        self.place(checked, false).await.map(drop)
    }

    async fn place(&mut self, rows: Vec<Checked>, whole: bool) -> Result<Vec<Row>> {
        let mut stamped = Vec::with_capacity(rows.len());
        for checked in rows {
            let mut row = checked.into_row();
            if !whole {
                fill(&self.tx, None, &mut row, &self.actor).await?;
            }
            let (table, user) = (row.table, self.actor.user_id.clone());
            row.put(table.agency_id, self.actor.agency_id.as_str().into());
            row.put(table.seq, self.seq.into());
            row.put(table.edit_seq, self.seq.into());
            row.put(table.created_at, self.now.0.into());
            row.put(table.updated_at, self.now.0.into());
            row.put(table.created_by, Value::String(user.clone()));
            row.put(table.updated_by, Value::String(user));
            stamped.push(row);
        }
        for batch in stamped.chunk_by(|a, b| a.table.name == b.table.name) {
            insert_rows(&self.tx, batch).await?;
        }
        let mut entries = Vec::with_capacity(stamped.len());
        for row in &stamped {
            let keys = access::keys(&self.tx, &row.table.stands(row)?).await?;
            let multi = keys.len() > 1;
            for scope in keys {
                entries.push((scope, row.table.name, row.id().to_owned(), multi));
            }
            self.touched(row.table.touches(None, row)?);
            self.objects.push(audit::object(row.table.name, row.id()));
        }
        enter(&self.tx, &self.actor.agency_id, self.seq, &entries).await?;
        Ok(stamped)
    }

    /// Stores a changed row over the one that was read in this transaction, and gives it back as
    /// stored. When no cell differs nothing is written and the row keeps its number.
    pub async fn update(&mut self, before: &Row, after: Checked) -> Result<Row> {
        let mut row = after.into_row();
        fill(&self.tx, Some(before), &mut row, &self.actor).await?;
        let table = row.table;
        let stamps = [table.seq, table.edit_seq, table.updated_at, table.updated_by];
        for stamp in stamps.into_iter().chain([table.created_at, table.created_by, table.agency_id, table.id]) {
            row.put(stamp, before.cell(stamp).clone());
        }
        let changed: Vec<usize> = (0..row.cells().len()).filter(|at| row.cell(*at) != before.cell(*at)).collect();
        if changed.is_empty() {
            return Ok(row);
        }
        if before.seq() == self.seq {
            self.step().await?;
        }
        row.put(table.seq, self.seq.into());
        row.put(table.updated_at, self.now.0.into());
        row.put(table.updated_by, Value::String(self.actor.user_id.clone()));
        if changed.iter().any(|at| table.columns[*at].field.merge != Merge::Server) {
            row.put(table.edit_seq, self.seq.into());
        }
        let sets: Vec<usize> = changed.iter().copied().chain(stamps).collect();
        update_row(&self.tx, &row, &sets).await?;
        history::keep(self, before, &changed, "change").await?;
        let (stood, stands) = (table.stands(before)?, table.stands(&row)?);
        let fixed = !stands.iter().chain(&stood).any(|stand| matches!(stand, Stand::CasesOfPerson { .. }));
        if fixed && stood == stands {
            self.stamp_feed(&row).await?;
        } else {
            self.stand_again(&row).await?;
        }
        self.touched(table.touches(Some(before), &row)?);
        self.objects.push(audit::object(table.name, row.id()));
        let along = table.follow(Some(before), &row, self.now, &self.actor)?;
        self.place_along(along).await?;
        Ok(row)
    }

    /// Marks a row as deleted: it leaves every scope, and its values stay in history.
    pub async fn delete(&mut self, before: &Row) -> Result<()> {
        if before.is_deleted() {
            return Ok(());
        }
        if before.seq() == self.seq {
            self.step().await?;
        }
        let table = before.table;
        let mut row = before.clone();
        row.put(table.deleted_at, self.now.0.into());
        row.put(table.seq, self.seq.into());
        row.put(table.edit_seq, self.seq.into());
        row.put(table.updated_at, self.now.0.into());
        row.put(table.updated_by, Value::String(self.actor.user_id.clone()));
        let sets = [table.deleted_at, table.seq, table.edit_seq, table.updated_at, table.updated_by];
        update_row(&self.tx, &row, &sets).await?;
        let all: Vec<usize> = (0..row.cells().len()).collect();
        history::keep(self, before, &all, "delete").await?;
        sql::exec(
            &self.tx,
            "update sync_feed set live = false, seq = $1 where tbl = $2 and row_id = $3 and live",
            vec![self.seq.into(), table.name.into(), row.id().into()],
        )
        .await?;
        self.touched(table.touches(Some(before), &row)?);
        self.objects.push(audit::object(table.name, row.id()));
        Ok(())
    }

    /// Sends a row again to everyone who sees it, although nothing in it changed.
    pub async fn resend(&mut self, row: &Row) -> Result<()> {
        self.stamp_feed(row).await
    }

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
        mark_multi(&self.tx, table.name, id).await
    }

    /// Settles, re-stands, replans, writes the audit event and commits. Answers the commit number.
    pub async fn commit(mut self) -> Result<i64> {
        self.settle_pending().await?;
        for case in std::mem::take(&mut self.plan) {
            crate::workflow::timers::plan_case(&mut self, &case).await?;
        }
        for (id, before, after) in std::mem::take(&mut self.reached) {
            let agency = &self.actor.agency_id;
            refused::moved(&self.tx, self.now, agency, &id, before.as_deref(), after.as_deref()).await?;
        }
        if self.note.is_some() || !self.objects.is_empty() {
            let (action, reason) = self.note.take().unwrap_or(("write", String::new()));
            let objects = std::mem::take(&mut self.objects);
            audit::append(&self.tx, &self.actor, self.seq, self.now, action, &reason, &objects).await?;
        }
        self.tx.commit().await?;
        Ok(self.seq)
    }

    /// Does now what the commit would do about access and scopes, for those who must know who
    /// sees what before it.
    pub(crate) async fn settle_pending(&mut self) -> Result<()> {
        for case in std::mem::take(&mut self.ended) {
            case_assignment::end_all(self, &case).await?;
        }
        for (name, id) in std::mem::take(&mut self.refill) {
            if let Some(row) = self.row(registered(name)?, &id).await?.filter(|row| !row.is_deleted()) {
                let same = row.clone().checked(Some(&row), self.now, &self.actor)?;
                self.update(&row, same).await?;
            }
        }
        for case in std::mem::take(&mut self.access) {
            access::settle_case(self, &case).await?;
        }
        for (name, id) in std::mem::take(&mut self.restand) {
            if let Some(row) = self.row(registered(name)?, &id).await? {
                self.stand_again(&row).await?;
            }
        }
        Ok(())
    }

    /// Takes the next commit number, for a row that is stored a second time in this transaction (a
    /// case opened offline together with its first contact): a row never changes without a greater
    /// number. The clock row is held, so nobody else can have it, and both become visible at once.
    async fn step(&mut self) -> Result<()> {
        self.seq += 1;
        sql::exec(
            &self.tx,
            "update sync_clock set seq = $1 where agency_id = $2",
            vec![self.seq.into(), self.actor.agency_id.as_str().into()],
        )
        .await?;
        Ok(())
    }

    fn touched(&mut self, touches: Vec<Touch>) {
        for touch in touches {
            match touch {
                Touch::Access(case) => {
                    self.plan.insert(case.clone());
                    self.access.insert(case);
                }
                Touch::Restand(name, id) => {
                    self.restand.insert((name, id));
                }
                Touch::Plan(case) => {
                    self.plan.insert(case);
                }
                Touch::Refill(name, id) => {
                    self.refill.insert((name, id));
                }
                Touch::End(case) => {
                    self.ended.insert(case);
                }
                Touch::Reached(id, before, after) => {
                    self.reached.insert((id, before, after));
                }
            }
        }
    }

    async fn stamp_feed(&self, row: &Row) -> Result<()> {
        sql::exec(
            &self.tx,
            "update sync_feed set seq = $1 where tbl = $2 and row_id = $3 and live",
            vec![self.seq.into(), row.table.name.into(), row.id().into()],
        )
        .await?;
        Ok(())
    }

    /// Works out where the row stands now, and enters, stamps and ends its entries.
    async fn stand_again(&self, row: &Row) -> Result<()> {
        let keys = access::keys(&self.tx, &row.table.stands(row)?).await?;
        let (name, id) = (row.table.name, row.id());
        let held = sql::all(
            &self.tx,
            "select scope, live from sync_feed where tbl = $1 and row_id = $2",
            vec![name.into(), id.into()],
        )
        .await?;
        let mut known = BTreeSet::new();
        for entry in &held {
            let scope: String = entry.try_get_by_index(0)?;
            let live: bool = entry.try_get_by_index(1)?;
            let stays = keys.contains(&scope);
            if live || stays {
                sql::exec(
                    &self.tx,
                    "update sync_feed set seq = $1, live = $2 where tbl = $3 and row_id = $4 and scope = $5",
                    vec![self.seq.into(), stays.into(), name.into(), id.into(), scope.as_str().into()],
                )
                .await?;
            }
            known.insert(scope);
        }
        let entries: Vec<_> = keys
            .into_iter()
            .filter(|scope| !known.contains(scope))
            .map(|scope| (scope, name, id.to_owned(), false))
            .collect();
        enter(&self.tx, &self.actor.agency_id, self.seq, &entries).await?;
        if known.len() + entries.len() > 1 { mark_multi(&self.tx, name, id).await } else { Ok(()) }
    }
}

fn registered(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::Internal(format!("{name} is not registered")))
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

type Entry = (String, &'static str, String, bool);

async fn enter(tx: &DatabaseTransaction, agency: &str, seq: i64, entries: &[Entry]) -> Result<()> {
    for batch in sql::pieces(entries) {
        let text = format!(
            "insert into sync_feed (scope, tbl, row_id, agency_id, seq, entered, live, multi) values {}",
            sql::tuples(batch.len(), 8)
        );
        let mut values: Vec<Value> = Vec::with_capacity(batch.len() * 8);
        for (scope, name, id, multi) in batch {
            values.extend([
                scope.as_str().into(),
                (*name).into(),
                id.as_str().into(),
                agency.into(),
                seq.into(),
                seq.into(),
                true.into(),
                (*multi).into(),
            ]);
        }
        sql::exec(tx, &text, values).await?;
    }
    Ok(())
}

async fn insert_rows(tx: &DatabaseTransaction, rows: &[Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let table = first.table;
    let names = table.column_list();
    for batch in sql::pieces(rows) {
        let text =
            format!("insert into {} ({names}) values {}", table.name, sql::tuples(batch.len(), table.columns.len()));
        let values = batch.iter().flat_map(|row| row.cells().iter().cloned()).collect();
        sql::exec(tx, &text, values).await?;
    }
    Ok(())
}

async fn update_row(tx: &DatabaseTransaction, row: &Row, sets: &[usize]) -> Result<()> {
    let mut values: Vec<Value> = Vec::with_capacity(sets.len() + 1);
    let mut parts = Vec::with_capacity(sets.len());
    let mut seen = BTreeSet::new();
    for at in sets.iter().filter(|at| seen.insert(**at)) {
        values.push(row.cell(*at).clone());
        parts.push(format!("\"{}\" = ${}", row.table.columns[*at].name, values.len()));
    }
    values.push(row.id().into());
    let text = format!("update {} set {} where id = ${}", row.table.name, parts.join(", "), values.len());
    sql::exec(tx, &text, values).await?;
    Ok(())
}
