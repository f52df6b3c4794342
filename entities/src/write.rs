//! The one write door.
//!
//! Every change of a row that a device may hold passes here, whoever makes it: a phone, the desk,
//! the worker, the operator. The agency's clock row is updated first and stays locked until the
//! commit, so that commit numbers are handed out in the order in which commits become visible and
//! no pull can step over a row that commits late (the lost-row race of every design that takes
//! its number early). The lock also serves as the lock of each of the agency's cases.
//!
//! One transaction has one number. At the commit the door settles access, re-stands rows, replans
//! the cases whose facts changed and writes one chained audit event (`write/settle.rs`). Read `write/stand.rs` for where
//! rows can be seen, `history.rs` and `audit.rs` for what it leaves behind, `sync/` for what is made of it.

mod settle;
mod stand;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};

use crate::access::{self, Actor, Stand};
use crate::clock::{Clock, Instant};
use crate::error::{Error, Result};
use crate::registry::{Checked, Merge, Row, Synced, Table, Touch, fill, table};
use crate::store::Store;
use crate::sync::{Timeline, custody};
use crate::{audit, history, sql};
pub(crate) use settle::Arrived;
use settle::Refill;
use stand::entry;

/// An open write transaction of one agency. Dropping it undoes everything.
#[derive(Debug)]
pub struct Write {
    tx: DatabaseTransaction,
    actor: Arc<Actor>,
    clock: Clock,
    now: Instant,
    seq: i64,
    line: Timeline,
    stepped: bool,
    access: BTreeSet<String>,
    restand: BTreeSet<(&'static str, String)>,
    plan: BTreeSet<String>,
    refill: BTreeSet<Refill>,
    ended: BTreeSet<String>,
    reached: BTreeSet<(String, Option<String>, Option<String>)>,
    /// Somebody's work waits for a row that has not arrived,
    awaited: bool,
    /// and of these tables for the row itself.
    awaited_in: BTreeSet<String>,
    /// What came in this transaction that work may have waited for.
    arrived: Arrived,
    /// Cases that somebody came to have or to supervise in this transaction.
    gained: BTreeSet<String>,
    /// Cases that came to be in this transaction: work may have been kept before they were known.
    opened: BTreeSet<String>,
    /// Who supervises whom has changed in this transaction.
    led: bool,
    immediate: bool,
    objects: Vec<String>,
    note: Option<(&'static str, String)>,
    /// The hash of the agency's last audit event.
    last_event: String,
}

/// How far the present may lie beyond the newest commit number of all agencies: two years.
const LEAP_MS: i64 = 2 * 366 * 24 * 3600 * 1000;
/// Cases whose windows of time are settled in one transaction.
const WINDOWS: usize = 500;
/// What an operator does about a leap where the clock is right.
const CONFIRM: &str = "run `fieldstone admin confirm-instance`";

/// The refusal of a present that has leapt, with what to do where it is right.
pub(crate) fn leapt(then: &str) -> Error {
    Error::Busy(format!(
        "the clock stands more than two years beyond everything stored here, so nothing is written: set it right, or if \
         it is right {then}"
    ))
}

/// Whether the present has leapt. An empty database knows no time.
pub(crate) async fn leaps(conn: &impl ConnectionTrait, now: Instant) -> Result<bool> {
    let row = sql::one(conn, "select coalesce(max(seq), 0) from sync_clock", vec![]).await?;
    let newest: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(newest > 0 && now.0 >= newest.saturating_add(LEAP_MS))
}

/// Fails where the present has leapt: what is not written through the door, such as the end of a mail, a sign-in, a new
/// epoch or what is forgotten, must not believe it either.
pub async fn refuse_leap(conn: &impl ConnectionTrait, now: Instant) -> Result<()> {
    if leaps(conn, now).await? { Err(leapt(CONFIRM)) } else { Ok(()) }
}

impl Store {
    /// Takes the present for right, however long nothing was written: every agency's clock is brought
    /// up to it.
    pub async fn confirm_clock(&self) -> Result<()> {
        let (side, now) = (self.begin().await?, self.now_sql());
        sql::exec(&side, &format!("update sync_clock set seq = {now} where seq < {now}"), vec![]).await?;
        Ok(side.commit().await?)
    }

    /// Opens the write door for an agency: takes its clock row, then the instant.
    ///
    /// Fails with `NotFound` when there is no such agency, with `Busy` when another writer of the
    /// agency holds the clock for longer than the lock timeout (3 s), and with `Busy` when the
    /// present lies more than two years beyond anything this installation ever stored: such a clock
    /// has leapt, and numbers once given out cannot be taken back (S6).
    pub async fn write(&self, actor: &Actor) -> Result<Write> {
        loop {
            let mut write = self.take_clock(actor).await?;
            let due = write.begins().await?;
            access::settle_windows(&mut write, &due).await?;
            if due.len() < WINDOWS {
                return Ok(write);
            }
            // More than one transaction should carry is settled first: nothing is judged while the time of somebody
            // is over and not yet taken from them.
            write.actor = Arc::new(Actor::system(&actor.agency_id));
            write.note("access_settled", "windows of time began or ended");
            write.commit().await?;
        }
    }

    async fn take_clock(&self, actor: &Actor) -> Result<Write> {
        let tx = self.begin().await?;
        let now = self.now_sql();
        let of_epoch = |column: &str| {
            let its = "e.agency_id = sync_clock.agency_id and e.epoch = sync_clock.epoch";
            format!("(select e.{column} from sync_epoch e where {its})")
        };
        // The other agencies are asked only by one that has not written for as long.
        let text = format!(
            "update sync_clock set seq = case when seq >= {now} then seq + 1 else {now} end where agency_id = $1 \
             and ({now} < seq + {LEAP_MS} or (select max(seq) = 0 or {now} < max(seq) + {LEAP_MS} from sync_clock)) \
             returning epoch, seq, purged_below, {}, {}, {now}",
            of_epoch("restored_to_seq"),
            of_epoch("started_seq")
        );
        let Some(row) = sql::one(&tx, &text, vec![actor.agency_id.as_str().into()]).await? else {
            let known = "select 1 from sync_clock where agency_id = $1";
            return Err(match sql::one(&tx, known, vec![actor.agency_id.as_str().into()]).await? {
                Some(_) => leapt(CONFIRM),
                None => Error::NotFound,
            });
        };
        let line = Timeline::of(&row)?;
        Ok(Write {
            seq: line.head,
            line,
            now: Instant(row.try_get_by_index(5)?),
            tx,
            actor: Arc::new(actor.clone()),
            clock: self.clock().clone(),
            stepped: false,
            access: BTreeSet::new(),
            restand: BTreeSet::new(),
            plan: BTreeSet::new(),
            refill: BTreeSet::new(),
            ended: BTreeSet::new(),
            reached: BTreeSet::new(),
            awaited: false,
            awaited_in: BTreeSet::new(),
            arrived: Arrived::default(),
            gained: BTreeSet::new(),
            opened: BTreeSet::new(),
            led: false,
            immediate: false,
            objects: Vec::new(),
            note: None,
            last_event: String::new(),
        })
    }
}

impl Write {
    /// What every write has to know first, in one look: the last event of the audit trail, the
    /// cases in which a window of time has begun or ended, and whether work waits for what may come now.
    async fn begins(&mut self) -> Result<Vec<String>> {
        let text = format!(
            "select hash, null, false from \
             (select hash from audit_event where agency_id = $1 order by seq desc limit 1) last \
             union all select null, case_id, false from \
             (select case_id from sync_due where agency_id = $1 and at <= $2 order by at limit {WINDOWS}) due \
             union all select distinct null, case when op in ('update', 'action') then tbl end, true \
             from sync_quarantine where agency_id = $1 and state = 'open' and reason = $3"
        );
        let values = vec![self.actor.agency_id.as_str().into(), self.now.0.into(), custody::WAITING.into()];
        let mut due = Vec::new();
        for row in sql::all(&self.tx, &text, values).await? {
            match (row.try_get_by_index::<Option<String>>(0)?, row.try_get_by_index::<Option<String>>(1)?) {
                (Some(hash), _) => self.last_event = hash,
                (None, named) if row.try_get_by_index(2)? => {
                    self.awaited = true;
                    self.awaited_in.extend(named);
                }
                (None, case) => due.extend(case),
            }
        }
        Ok(due)
    }

    /// The instant of this transaction, read once.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The commit number that everything in this transaction carries.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Where the agency's timeline stood when this transaction began.
    pub fn line(&self) -> &Timeline {
        &self.line
    }

    /// Who acts.
    pub fn actor(&self) -> &Arc<Actor> {
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

    /// Asks for the row to be stood again before the commit.
    pub(crate) fn restand(&mut self, table: &'static str, id: String) {
        self.restand.insert((table, id));
    }

    /// Makes every loss of access in this transaction immediate: phones are told at their next
    /// pull, even one that asked for deletes to be held back until its own work is sent.
    pub fn revoke_at_once(&mut self) {
        self.immediate = true;
    }

    pub(crate) fn is_immediate(&self) -> bool {
        self.immediate
    }

    /// Does something in the name of somebody else, whose work it is.
    pub(crate) async fn in_the_name_of<T>(&mut self, actor: Arc<Actor>, what: impl AsyncFnOnce(&mut Write) -> T) -> T {
        let own = std::mem::replace(&mut self.actor, actor);
        let done = what(self).await;
        self.actor = own;
        done
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

    /// Stores a new row that was here before, in a timeline that is gone, made by somebody: what came along with it then is
    /// not made anew.
    pub(crate) async fn bring_back(&mut self, row: Checked, maker: &Actor) -> Result<()> {
        let mut row = row.into_row();
        fill(&self.tx, None, &mut row, &self.actor).await?;
        self.stamp(&mut row);
        row.put(row.table.created_by, maker.user_id.clone().into());
        self.store(&[row]).await
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

    /// Puts the stamps of this transaction on a new row, as storing it will.
    pub(crate) fn stamp(&self, row: &mut Row) {
        let (table, actor) = (row.table, &self.actor);
        row.put(table.agency_id, actor.agency_id.as_str().into());
        row.put(table.seq, self.seq.into());
        row.put(table.edit_seq, self.seq.into());
        row.put(table.created_at, self.now.0.into());
        row.put(table.updated_at, self.now.0.into());
        row.put(table.created_by, actor.user_id.clone().into());
        row.put(table.updated_by, actor.user_id.clone().into());
    }

    async fn place(&mut self, rows: Vec<Checked>, whole: bool) -> Result<Vec<Row>> {
        let mut stamped = Vec::with_capacity(rows.len());
        for checked in rows {
            let mut row = checked.into_row();
            if !whole {
                fill(&self.tx, None, &mut row, &self.actor).await?;
            }
            self.stamp(&mut row);
            stamped.push(row);
        }
        self.store(&stamped).await?;
        Ok(stamped)
    }

    /// Stores stamped rows, those of one table under the same stamps.
    async fn store(&mut self, stamped: &[Row]) -> Result<()> {
        let mut places = Vec::with_capacity(stamped.len());
        for batch in stamped.chunk_by(|a, b| a.table.name == b.table.name) {
            let table = batch[0].table;
            let stamps = table.stamps(&batch[0]);
            let stored = table.insert.rows(&self.tx, &stamps, batch, |row, at| row.cell(table.own[at]));
            // Worked out while the database is at it.
            let placed = async { batch.iter().map(Place::of).collect::<Result<Vec<_>>>() };
            let (stored, placed) = join(stored, placed).await;
            stored?;
            places.extend(placed?);
        }
        let mut places = places.into_iter();
        for batch in stamped.chunk_by(|a, b| a.table.name == b.table.name) {
            let mut entries = Vec::with_capacity(batch.len());
            for (row, place) in batch.iter().zip(places.by_ref()) {
                let keys = access::keys(&self.tx, &place.stands).await?;
                let multi = keys.len() > 1;
                entries.extend(keys.into_iter().map(|scope| entry(scope, row.id(), multi)));
                self.touched(place.touches);
                self.objects.push(place.object);
                self.arrives(row);
            }
            self.enter(batch[0].table, entries).await?;
        }
        Ok(())
    }

    /// Stores a changed row over the one that was read in this transaction, and gives it back as
    /// stored. When no cell differs nothing is written and the row keeps its number.
    pub async fn update(&mut self, before: &Row, after: Checked) -> Result<Row> {
        let row = self.update_alone(before, after).await?;
        if row.seq() != before.seq() {
            let along = row.table.follow(Some(before), &row, self.now, &self.actor)?;
            self.place_along(along).await?;
        }
        Ok(row)
    }

    /// As `update`; nothing comes along.
    pub(crate) async fn update_alone(&mut self, before: &Row, after: Checked) -> Result<Row> {
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
            self.step();
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
        Ok(row)
    }

    /// Marks a row as deleted: it leaves every scope, and its values stay in history.
    pub async fn delete(&mut self, before: &Row) -> Result<()> {
        if before.is_deleted() {
            return Ok(());
        }
        if before.seq() == self.seq {
            self.step();
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
        self.leave_all(&row).await?;
        self.touched(table.touches(Some(before), &row)?);
        self.objects.push(audit::object(table.name, row.id()));
        Ok(())
    }

    /// Sends a row again to everyone who sees it, although nothing in it changed.
    pub async fn resend(&mut self, row: &Row) -> Result<()> {
        self.stamp_feed(row).await
    }

    /// Does something that may be refused without refusing the whole: what it stored is undone then, and
    /// the audit event does not name it. What it asked for at the commit is done all the same, and finds
    /// nothing to do.
    pub(crate) async fn attempt<T>(&mut self, what: impl AsyncFnOnce(&mut Write) -> Result<T>) -> Result<T> {
        sql::exec(&self.tx, "savepoint attempt", vec![]).await?;
        let (named, arrived, opened) = (self.objects.len(), self.arrived.clone(), self.opened.clone());
        let done = what(self).await;
        if done.is_err() {
            sql::exec(&self.tx, "rollback to savepoint attempt", vec![]).await?;
            self.objects.truncate(named);
            self.arrived = arrived;
            self.opened = opened;
        }
        sql::exec(&self.tx, "release savepoint attempt", vec![]).await?;
        done
    }

    /// Takes the next commit number: for a row that is stored a second time in this transaction (a
    /// case opened offline together with its first contact), since a row never changes without a
    /// greater number; and for each case of a grant of many (S13), since one number is one page. The
    /// clock row is held, so nobody else can have it, and all become visible at once.
    pub(crate) fn step(&mut self) {
        self.seq += 1;
        self.stepped = true;
    }
}

/// What follows from a new row.
struct Place {
    stands: Vec<Stand>,
    touches: Vec<Touch>,
    object: String,
}

impl Place {
    fn of(row: &Row) -> Result<Place> {
        let table = row.table;
        let (stands, touches) = (table.stands(row)?, table.touches(None, row)?);
        Ok(Place { stands, touches, object: audit::object(table.name, row.id()) })
    }
}

fn registered(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::Internal(format!("{name} is not registered")))
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
