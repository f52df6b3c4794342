//! Quarantined work: found, filed under its case, released when what it waits for has come, and read by those who may.
//! `custody/decide.rs` is what somebody who has the case makes of it.
//!
//! Nothing here destroys content: a discarded entry stays in the table with who discarded it and
//! why. Accepting applies the work under the rules of a push, in the name of its author.

mod decide;

use std::collections::BTreeSet;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, QueryResult};
use serde_json::{Map, Value};

use crate::access::{self, Actor, Role};
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::people::team::LED;
use crate::people::user;
use crate::read;
use crate::registry::{Face, Kind, Row, Table, fill, is_id, table};
use crate::sql;
use crate::store::Store;
use crate::write::{Arrived, Write};

use super::issue;
use super::push::{NOT_YOUR_CASE, apply_kept, as_applied, rights};
use decide::settle;
pub use decide::{Decision, decide};

/// One quarantined row.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The entry's id.
    pub id: String,
    /// The row's table.
    pub table: &'static Table,
    /// The row's id.
    pub row_id: String,
    /// The case it belongs to, where the server knows it.
    pub case_id: Option<String>,
    /// Who sent it.
    pub author: String,
    /// `create`, `update` or `delete`.
    pub op: String,
    /// Why it was not applied.
    pub reason: String,
    /// What was sent.
    pub raw: Map<String, Value>,
    /// The dialect it was written in.
    pub face: Face,
    /// `open`, or how it was settled.
    pub state: String,
}

impl Kept {
    /// Whether what was sent names that row.
    fn names(&self, table: &str, id: &str) -> bool {
        names(self.table, &self.raw, table, id)
    }

    /// Whether what was sent names an author, and that is not whoever sent it.
    fn says_another_wrote_it(&self) -> bool {
        let named = self.raw.get("author_id").and_then(Value::as_str).filter(|id| is_id(id));
        self.table.index("author_id").is_some() && named.is_some_and(|id| id != self.author)
    }

    /// Whether what was sent says that it is of that case.
    fn is_of(&self, case: &str) -> bool {
        self.table.is_case() && self.row_id == case || self.names("cases", case)
    }

    /// Whether another piece of the same author's work names this row, which is of no case by itself, such as a person.
    fn comes_with(&self, other: &Kept) -> bool {
        is_of_none(self.table) && other.author == self.author && other.names(self.table.name, &self.row_id)
    }

    /// The case it belongs to, where there is such a case: also one that came by a way that did not pass here.
    async fn known_case(&self, conn: &impl ConnectionTrait, actor: &Actor, row: &Row) -> Result<Option<String>> {
        let Some(case) = row.case_id().filter(|_| self.case_id.is_none()) else { return Ok(self.case_id.clone()) };
        let text = "select 1 from cases where id = $1 and agency_id = $2";
        let values = vec![case.into(), actor.agency_id.as_str().into()];
        Ok(sql::one(conn, text, values).await?.map(|_| case.to_owned()))
    }
}

/// Whether what was sent of a row names that other one.
pub(super) fn names(table: &Table, sent: &Map<String, Value>, other: &str, id: &str) -> bool {
    table
        .columns
        .iter()
        .any(|column| column.field.refers == Some(other) && sent.get(column.name).and_then(Value::as_str) == Some(id))
}

/// Whether rows of the table belong to no case by themselves, and are of those whose rows name them.
pub(super) fn is_of_none(table: &Table) -> bool {
    !table.is_case() && !table.has_case()
}

const COLUMNS: &str = "tbl, row_id, case_id, user_id, op, reason, raw, face, state, id";

impl Kept {
    fn of(found: &QueryResult) -> Result<Kept> {
        let name: String = found.try_get_by_index(0)?;
        let raw: String = found.try_get_by_index(6)?;
        let face: String = found.try_get_by_index(7)?;
        Ok(Kept {
            id: found.try_get_by_index(9)?,
            table: table(&name).ok_or(Error::NotFound)?,
            row_id: found.try_get_by_index(1)?,
            case_id: found.try_get_by_index(2)?,
            author: found.try_get_by_index(3)?,
            op: found.try_get_by_index(4)?,
            reason: found.try_get_by_index(5)?,
            raw: serde_json::from_str(&raw).map_err(|err| Error::Internal(err.to_string()))?,
            face: if face == "rest" { Face::Rest } else { Face::Watermelon },
            state: found.try_get_by_index(8)?,
        })
    }
}

/// Why work is kept that cannot do without a row which has not arrived: `release` applies it when it has.
pub(crate) const WAITING: &str = "what it belongs to has not arrived yet";

/// What one author may have waiting. What is beyond it is kept like other work, for people to decide.
const WAITING_AT_MOST: i64 = 500;

/// The reason under which work is kept that waits: one who has as much waiting as may be has the rest kept for people.
pub(super) async fn why_waiting(write: &Write) -> Result<&'static str> {
    let text =
        "select count(*) from sync_quarantine where agency_id = $1 and state = 'open' and reason = $2 and user_id = $3";
    let actor = write.actor();
    let values = vec![actor.agency_id.as_str().into(), WAITING.into(), actor.user().into()];
    let count: i64 = match sql::one(write.conn(), text, values).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => 0,
    };
    Ok(if count < WAITING_AT_MOST { WAITING } else { NOT_YOUR_CASE })
}

/// The reason for which a waiting state gives way to a later one.
pub(super) const SUPERSEDED: &str = "a later state of it has come";

/// Work that waits for other rows, of one author or of all of the agency, in the order in which it must be stored.
async fn waiting(write: &Write, author: Option<&str>) -> Result<Vec<Kept>> {
    let text = format!(
        "select {COLUMNS} from sync_quarantine where agency_id = $1 and state = 'open' and reason = $2 \
         and ($3 is null or user_id = $3) order by at, turn, id"
    );
    let agency = write.actor().agency_id.as_str();
    let values = vec![agency.into(), WAITING.into(), author.map(str::to_owned).into()];
    let rows = sql::all(write.conn(), &text, values).await?;
    let mut waiting = rows.iter().map(Kept::of).collect::<Result<Vec<_>>>()?;
    // A row before what was changed in it, and that in the order in which it came.
    waiting
        .sort_by(|a, b| (a.table.rank, &a.row_id, a.op != "create").cmp(&(b.table.rank, &b.row_id, b.op != "create")));
    Ok(waiting)
}

/// Open work of the agency whose case is not known; all of it, or what more people than its author are told of.
pub(super) async fn of_no_case(write: &Write, widely: bool) -> Result<Vec<Kept>> {
    let text = format!(
        "select {COLUMNS} from sync_quarantine where agency_id = $1 and state = 'open' and case_id is null \
         and (widely or not $2) order by at, turn, id"
    );
    let rows = sql::all(write.conn(), &text, vec![write.actor().agency_id.as_str().into(), widely.into()]).await?;
    rows.iter().map(Kept::of).collect()
}

/// Files what was kept before its case was known under the cases that have come to be, and with it the persons whom it
/// names. Whoever was told of it as the author's supervisor is told from now on as one of those who have the case.
pub(crate) async fn file(write: &mut Write, opened: &BTreeSet<String>) -> Result<()> {
    let mut left = of_no_case(write, false).await?;
    for case in opened {
        let mut of_case = Vec::new();
        while !left.is_empty() {
            let known = |kept: &Kept| kept.is_of(case) || of_case.iter().any(|other| kept.comes_with(other));
            let (found, others): (Vec<_>, Vec<_>) = left.into_iter().partition(known);
            left = others;
            if found.is_empty() {
                break;
            }
            of_case.extend(found);
        }
        for kept in of_case {
            file_under(write, &kept.id, case).await?;
        }
    }
    Ok(())
}

async fn file_under(write: &mut Write, entry: &str, case: &str) -> Result<()> {
    file_entry(write, entry, case).await?;
    let told = "t.quarantine_id = $1 and t.audience <> 'author' and t.case_id is null and t.deleted_at is null";
    for before in read::models::<issue::Entity>(write.conn(), told, vec![entry.into()]).await? {
        let after = issue::Model { case_id: Some(case.to_owned()), ..before.clone() };
        write.change::<issue::Entity>(&before, after).await?;
    }
    Ok(())
}

/// Says of which case an entry is.
pub(super) async fn file_entry(write: &Write, entry: &str, case: &str) -> Result<()> {
    let text = "update sync_quarantine set case_id = $1 where id = $2";
    sql::exec(write.conn(), text, vec![case.into(), entry.into()]).await?;
    Ok(())
}

/// Open work of these cases that those who have them may decide about, case by case. One look, however many cases.
pub(super) async fn open_in(write: &Write, cases: &BTreeSet<String>) -> Result<Vec<Kept>> {
    let backend = write.conn().get_database_backend();
    let text = format!(
        "select {COLUMNS} from sync_quarantine where state = 'open' and widely and {} order by case_id, at, turn, id",
        sql::among(backend, "case_id", 1)
    );
    let cases: Vec<&String> = cases.iter().collect();
    let rows = sql::all(write.conn(), &text, vec![sql::list(backend, &cases)]).await?;
    rows.iter().map(Kept::of).collect()
}

/// Whether the actor has work that waits under this row's id.
pub(super) async fn waits(write: &Write, table: &'static Table, row_id: &str) -> Result<bool> {
    let text = "select 1 from sync_quarantine where user_id = $1 and state = 'open' and reason = $2 and tbl = $3 and row_id = $4";
    let values = vec![write.actor().user().into(), WAITING.into(), table.name.into(), row_id.into()];
    Ok(sql::one(write.conn(), text, values).await?.is_some())
}

/// Whether a row that is to be made is kept open, whoever sent it.
pub(super) async fn is_kept(write: &Write, table: &'static Table, row_id: &str) -> Result<bool> {
    let text = "select 1 from sync_quarantine where agency_id = $1 and state = 'open' and tbl = $2 and row_id = $3";
    let values = vec![write.actor().agency_id.as_str().into(), table.name.into(), row_id.into()];
    Ok(sql::one(write.conn(), text, values).await?.is_some())
}

/// Whether the author's last move of a row that is to be made is kept beside it, such as the signature of a draft.
pub(super) async fn ends_it(write: &Write, author: &str, row: &Row) -> Result<bool> {
    let text = format!(
        "select {COLUMNS} from sync_quarantine where user_id = $1 and state = 'open' and tbl = $2 and row_id = $3"
    );
    let values = vec![author.into(), row.table.name.into(), row.id().into()];
    let ends = |kept: &Kept| {
        let mut ways = row.table.moves.iter();
        let said = |column: &str| kept.raw.get(column).and_then(Value::as_str).unwrap_or_default();
        ways.any(|way| said(way.column) == way.to && Some(way.to) != row.text(way.column))
    };
    Ok(sql::all(write.conn(), &text, values).await?.iter().map(Kept::of).collect::<Result<Vec<_>>>()?.iter().any(ends))
}

/// Applies what was waiting for what has arrived, or for what comes with it in turn, each in the name of its author and
/// under their rights, whoever brought it. What cannot be applied even now stays where it is.
pub(crate) async fn release(write: &mut Write, arrived: Arrived) -> Result<()> {
    let Arrived { rows: mut there, readers } = arrived;
    for kept in waiting(write, None).await? {
        let itself = (kept.table.name, kept.row_id.clone());
        let named = || there.iter().any(|(name, id)| kept.names(name, id));
        if !readers.contains(&kept.author) && !there.contains(&itself) && !named() {
            continue;
        }
        let author = if kept.author == write.actor().user() {
            Arc::clone(write.actor())
        } else {
            rights::author(write, &kept.author).await?
        };
        let applied = write.in_the_name_of(author, async |write| {
            write.attempt(async |write| apply_kept(write, &kept, None).await).await?;
            settle(write, &kept.id, "accepted", "what it belongs to has arrived").await
        });
        match applied.await {
            Ok(()) => there.insert(itself),
            Err(Error::Conflict { .. }) => continue,
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

/// Settles what was waiting of a row of which another state has come, or none any more.
pub(super) async fn supersede(
    write: &mut Write,
    table: &'static Table,
    row_id: &str,
    by: Option<&Map<String, Value>>,
) -> Result<()> {
    for kept in waiting(write, Some(write.actor().user())).await? {
        if kept.table.name == table.name && kept.row_id == row_id && Some(&kept.raw) != by {
            settle(write, &kept.id, "discarded", SUPERSEDED).await?;
        }
    }
    Ok(())
}

/// The work an issue is about, for a reader of that issue who may read the work: its author, or
/// somebody who would see the row if it were applied. Which case it belongs to is told to an author who has or had
/// that case. With it the row as it would be, for the trail of what is read.
pub async fn work(store: &Store, actor: &Actor, issue_id: &str) -> Result<(Kept, Row)> {
    let snapshot = access::settled_view(store, &actor.agency_id).await?;
    let mut kept = kept(&*snapshot, actor, issue_id, snapshot.now()).await?;
    let row = as_meant(&*snapshot, &kept, snapshot.now(), actor).await?.0;
    if let Some(case) = kept.case_id.as_deref().filter(|_| kept.author == actor.user())
        && !rights::has_had(&*snapshot, actor, case, snapshot.now()).await?
    {
        kept.case_id = None;
    }
    Ok((kept, row))
}

async fn kept(conn: &impl ConnectionTrait, actor: &Actor, issue_id: &str, now: Instant) -> Result<Kept> {
    let issues = table("sync_issues").ok_or(Error::NotFound)?;
    if !access::sees(conn, actor.user(), issues.name, issue_id).await? {
        return Err(Error::NotFound);
    }
    let row = read::by_ids(conn, issues, &[issue_id.to_owned()]).await?.pop().ok_or(Error::NotFound)?;
    let issue = row.model::<issue::Entity>()?;
    let entry = issue.quarantine_id.ok_or(Error::NotFound)?;
    let text = format!("select {COLUMNS} from sync_quarantine where id = $1");
    let kept = Kept::of(&sql::one(conn, &text, vec![entry.into()]).await?.ok_or(Error::NotFound)?)?;
    if kept.author != actor.user() && !would_see(conn, actor, &kept, now).await? {
        return Err(Error::Forbidden("this work is meant for fewer eyes".into()));
    }
    Ok(kept)
}

/// The row as its author meant it, and as it is stored.
async fn as_meant(conn: &impl ConnectionTrait, kept: &Kept, now: Instant, actor: &Actor) -> Result<(Row, Option<Row>)> {
    let stored = read::by_ids(conn, kept.table, std::slice::from_ref(&kept.row_id)).await?.pop();
    let mut there = stored.clone();
    if let Some(there) = &mut there {
        there.put(kept.table.deleted_at, kept.table.columns[kept.table.deleted_at].null());
    }
    let mut row = as_applied(kept, there.as_ref(), now, actor)?;
    // Where it would stand does not hang on a day, and a row without one that it needs has no form to ask.
    for (at, column) in kept.table.wire_columns().filter(|(_, column)| column.field.kind == Kind::Date) {
        if column.limit(row.cell(at)).is_some() {
            row.put(at, kept.table.fresh().cell(at).clone());
        }
    }
    if kept.table.index("author_id").is_some() {
        row.set("author_id", kept.author.as_str().into());
    }
    // What corrects a row is hidden as far as that is.
    fill(conn, there.as_ref(), &mut row, actor).await?;
    Ok((row, stored))
}

/// Whether the reader would see the row if what was sent were applied, and sees it as it stands.
async fn would_see(conn: &impl ConnectionTrait, actor: &Actor, kept: &Kept, now: Instant) -> Result<bool> {
    let (row, stored) = as_meant(conn, kept, now, actor).await?;
    if let Some(stored) = &stored
        && !stored.is_deleted()
        && !access::sees(conn, actor.user(), kept.table.name, stored.id()).await?
    {
        return Ok(false);
    }
    let case = kept.known_case(conn, actor, &row).await?.filter(|_| stored.is_some() || !kept.table.is_case());
    if case.is_none() && (kept.table.has_case() || stored.is_none()) {
        // Of a case nobody knows, or itself unknown: the author's supervisor was told, and may read it.
        return leads(conn, actor, &kept.author).await;
    }
    if let Some(case) = case.as_deref().filter(|_| stored.is_none() && is_of_none(kept.table)) {
        // A person is seen by those who have the case that brings them.
        return opens_case(conn, actor, case, "").await;
    }
    let read_from = kept.table.fills(stored.as_ref(), &row, actor)?;
    for column in kept.table.columns.iter().filter(|column| column.field.refers == Some(kept.table.name)) {
        if let Some(id) = row.text(column.name)
            && read_from.iter().any(|fill| fill.values.contains(&id.into()))
            && read::by_ids(conn, kept.table, &[id.to_owned()]).await?.is_empty()
        {
            // How far what it corrects is hidden, nobody knows while that is kept itself.
            return opens_case(conn, actor, case.as_deref().unwrap_or_default(), "/supervision").await;
        }
    }
    access::opens(conn, actor.user(), &access::keys(conn, &kept.table.stands(&row)?).await?).await
}

async fn opens_case(conn: &impl ConnectionTrait, actor: &Actor, case: &str, part: &str) -> Result<bool> {
    access::opens(conn, actor.user(), &[format!("case:{case}{part}")]).await
}

/// Whether the actor supervises the author's team or one above it.
async fn leads(conn: &impl ConnectionTrait, actor: &Actor, author: &str) -> Result<bool> {
    let text = format!("{LED} select 1 from users where id = $2 and team_id in (select id from led)");
    if actor.role != Role::Supervisor {
        return Ok(false);
    }
    let led = sql::one(conn, &text, vec![actor.user().into(), author.into()]).await?.is_some();
    // Whom nobody leads any more, somebody who was told once must be able to decide for.
    let author = user::by_id(conn, &actor.agency_id, author).await?;
    Ok(led
        || match author {
            Some(author) => user::supervisor_of(conn, &author).await?.is_none(),
            None => false,
        })
}

/// The case of a row that this author has made and that is kept; `None` where there is none or the case is not known.
pub(crate) async fn kept_maker(write: &Write, table: &'static Table, id: &str) -> Result<Option<String>> {
    let text = "select case_id from sync_quarantine where user_id = $1 and state = 'open' and op = 'create' and tbl = $2 \
                and row_id = $3 and case_id is not null and widely and reason <> $4";
    let values = vec![write.actor().user().into(), table.name.into(), id.into(), WAITING.into()];
    Ok(sql::one(write.conn(), text, values).await?.map(|row| row.try_get_by_index(0)).transpose()?)
}
