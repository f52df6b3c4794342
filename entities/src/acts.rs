//! What a person may do to a row of any synced table: make it, edit it, move it.
//!
//! Each act takes JSON as REST speaks it, finds every fault before it refuses, and asks in this
//! order: is the row visible (`NotFound` when not), may this actor do it (`Forbidden`), are these
//! values at all (`Invalid`), is it still the row they read (`Stale`), does it make sense there
//! (`Invalid`). Sync takes the same rows in
//! through `sync::push`, which mends and quarantines where this refuses.

use sea_orm::Value;
use serde_json::{Map, Value as Json};

use crate::access;
use crate::doc::Doc;
use crate::error::{Error, Fault, Result};
use crate::registry::{Column, Face, Holds, Kind, Merge, MoveSpec, Row, Table, ask, is_id, is_rested_on};
use crate::sql;
use crate::write::Write;

/// A new row, or the one that the same call made before.
#[derive(Debug)]
pub struct Made {
    /// The row as stored.
    pub row: Row,
    /// False when an equal row with this id was there already, made by the same user.
    pub new: bool,
}

/// Makes a row. The body may carry the id.
///
/// Fails with `Forbidden` for a role that writes no such rows, with `NotFound` when the case is
/// not the actor's to see or the id belongs to a row that is not, with `Conflict` when the id is
/// in use, and with `Invalid`.
pub async fn create(write: &mut Write, table: &'static Table, body: &Map<String, Json>) -> Result<Made> {
    if !table.writers.contains(&write.actor().role) {
        return Err(Error::Forbidden("your role does not write here".into()));
    }
    let mut row = table.fresh();
    let mut faults = Vec::new();
    for (name, json) in body {
        let Some((at, column)) = known(table, name, &mut faults) else { continue };
        match column.field.merge {
            _ if *name == "id" => (),
            Merge::Server => faults.push(Fault::field(name, "server_set", "is set by the server")),
            Merge::State if !may_start(table, column, json) => {
                faults.push(Fault::field(name, "illegal_start", "a new row cannot begin in this state"));
            }
            _ => match cell(column, json) {
                Ok(value) => row.put(at, value),
                Err(fault) => faults.push(fault),
            },
        }
    }
    for (_, column) in table.wire_columns().filter(|(_, column)| column.field.required) {
        if column.field.writable() && body.get(column.name).is_none_or(Json::is_null) {
            faults.push(Fault::field(column.name, "required", "must be present"));
        }
    }
    let id = match body.get("id") {
        None | Some(Json::Null) => write.mint(),
        Some(Json::String(id)) if is_id(id) => id.clone(),
        Some(_) => {
            faults.push(Fault::field("id", "id", "must be 8 to 64 of A-Z a-z 0-9 . _ -"));
            String::new()
        }
    };
    row.set("id", id.as_str().into());
    refuse(faults)?;
    if let Some(held) = write.row(table, &id).await? {
        return taken(write, held, &row, body).await;
    }
    start(table, &mut row, write)?;
    references(write, None, &row).await?;
    let actor = write.actor().clone();
    let checked = row.checked(None, write.now(), &actor)?;
    if !table.may_write(None, checked.row(), &actor)? {
        return Err(Error::Forbidden("this is not yours to write".into()));
    }
    ask(write.conn(), None, checked.row(), write.now(), &actor).await?;
    let stored = write.insert(vec![checked]).await?;
    stored.into_iter().next().map(|row| Made { row, new: true }).ok_or(Error::NotFound)
}

/// Changes columns of a row, as a JSON merge patch says. `seen` is the commit number of the row
/// that the caller read.
pub async fn edit(
    write: &mut Write,
    table: &'static Table,
    id: &str,
    seen: i64,
    body: &Map<String, Json>,
) -> Result<Row> {
    change(write, table, id, seen, body, |stored, said| stored.patched(said).0).await
}

/// Gives columns of a row the values that they had, objects as they were. `seen` as for `edit`.
pub async fn put_back(
    write: &mut Write,
    table: &'static Table,
    id: &str,
    seen: i64,
    values: &Map<String, Json>,
) -> Result<Row> {
    change(write, table, id, seen, values, |_, said| said.clone()).await
}

/// Changes columns; `object` says what becomes of a stored object and what was said of it.
async fn change(
    write: &mut Write,
    table: &'static Table,
    id: &str,
    seen: i64,
    body: &Map<String, Json>,
    object: fn(Doc, &Json) -> Json,
) -> Result<Row> {
    let before = visible(write, table, id).await?;
    let actor = write.actor().clone();
    if table.append_only || !table.writers.contains(&actor.role) || !table.suits(&before, &before, &actor)? {
        return Err(Error::Forbidden("this row is not yours to change".into()));
    }
    let stale = before.seq() != seen;
    let mut after = before.clone();
    let mut faults = Vec::new();
    for (name, json) in body {
        let Some((at, column)) = known(table, name, &mut faults) else { continue };
        let said = match column.field.holds {
            Some(Holds::Object(_)) => &object(Doc(before.json(at, Face::Rest)), json),
            _ => json,
        };
        let value = match cell(column, said) {
            Ok(value) => value,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let same = value == *before.cell(at);
        match column.field.merge {
            Merge::Server => faults.push(Fault::field(name, "server_set", "is set by the server")),
            // What the caller read may have been so.
            Merge::Once | Merge::State if stale => (),
            Merge::Once if !same => faults.push(Fault::field(name, "fixed", "is given once and stays")),
            Merge::State if !same => {
                faults.push(Fault::field(name, "by_move", "changes by a move: POST to the row and the move's verb"));
            }
            _ => after.put(at, value),
        }
    }
    refuse(faults)?;
    if stale {
        return Err(Error::Stale);
    }
    references(write, Some(&before), &after).await?;
    let checked = after.checked(Some(&before), write.now(), &actor)?;
    if !table.may_write(Some(&before), checked.row(), &actor)? {
        return Err(Error::Forbidden("this row is not yours to change".into()));
    }
    ask(write.conn(), Some(&before), checked.row(), write.now(), &actor).await?;
    write.update(&before, checked).await
}

/// Makes a move of the row's state machine, with the columns that may come along.
///
/// Fails with `Conflict` (`illegal_move`) when the row's state does not allow it.
pub async fn act(
    write: &mut Write,
    table: &'static Table,
    id: &str,
    verb: &str,
    seen: Option<i64>,
    body: &Map<String, Json>,
) -> Result<Row> {
    let before = visible(write, table, id).await?;
    let step = table.move_by_verb(verb)?;
    make(write, &before, step, seen, body).await
}

/// Makes the move that leads to a state, as `act` does.
pub async fn act_to(
    write: &mut Write,
    table: &'static Table,
    id: &str,
    column: &str,
    to: &str,
    body: &Map<String, Json>,
) -> Result<Row> {
    let before = visible(write, table, id).await?;
    let from = before.text(column).unwrap_or_default();
    match table.move_between(column, from, to) {
        Some(step) => make(write, &before, step, None, body).await,
        None => Err(illegal(from)),
    }
}

async fn make(
    write: &mut Write,
    before: &Row,
    step: &MoveSpec,
    seen: Option<i64>,
    body: &Map<String, Json>,
) -> Result<Row> {
    let (table, actor, now) = (before.table, write.actor().clone(), write.now());
    if !step.who.contains(&actor.role) {
        return Err(Error::Forbidden("your role does not make this move".into()));
    }
    let mut after = before.clone();
    let mut faults = Vec::new();
    // Why a row has its state is said anew at each move, or it would explain the one before.
    if let Some(at) = table.index("status_reason").filter(|_| before.text(step.column) != Some(step.to)) {
        after.put(at, table.columns[at].null());
    }
    for (name, json) in body {
        match table.index(name).filter(|_| step.takes.contains(&name.as_str())) {
            None => faults.push(Fault::field(name, "unknown_field", "does not come with this move")),
            Some(at) => match cell(&table.columns[at], json) {
                Ok(value) => after.put(at, value),
                Err(fault) => faults.push(fault),
            },
        }
    }
    let from = before.text(step.column).unwrap_or_default();
    if seen.is_some_and(|seen| seen != before.seq()) {
        refuse(faults)?;
        return Err(Error::Stale);
    }
    if !step.from.contains(&from) {
        return Err(illegal(from));
    }
    refuse(faults)?;
    after.set(step.column, step.to.into());
    refuse(table.guard(step, &after, now)?)?;
    table.effect(step, &mut after, now, &actor)?;
    if !table.suits(before, &after, &actor)? {
        return Err(Error::Forbidden("this row is not yours to change".into()));
    }
    references(write, Some(before), &after).await?;
    let checked = after.checked(Some(before), now, &actor)?;
    ask(write.conn(), Some(before), checked.row(), now, &actor).await?;
    write.update(before, checked).await
}

/// Deletes a row where its entity allows it: a draft that nobody but its author needs.
pub async fn remove(write: &mut Write, table: &'static Table, id: &str, seen: i64) -> Result<()> {
    let before = visible(write, table, id).await?;
    if !table.may_delete(&before, write.actor())? {
        return Err(Error::Forbidden("this cannot be deleted; void or withdraw it instead".into()));
    }
    if before.seq() != seen {
        return Err(Error::Stale);
    }
    if is_rested_on(write.conn(), &before).await? {
        let detail = "Other rows hang on it, such as a rating of a goal: withdraw it instead.".into();
        return Err(Error::Conflict { code: "rested_on", detail });
    }
    write.delete(&before).await
}

/// The row, for somebody who sees it.
async fn visible(write: &Write, table: &'static Table, id: &str) -> Result<Row> {
    if !access::sees(write.conn(), write.actor().user(), table.name, id).await? {
        return Err(Error::NotFound);
    }
    write.row(table, id).await?.filter(|row| !row.is_deleted()).ok_or(Error::NotFound)
}

/// An id in use: the same call again is answered as before; another's row as if it were not there. It is the same when
/// what it says is stored: the server may have set what it left out, and what protects may have been narrowed by what
/// the row names.
async fn taken(write: &Write, held: Row, sent: &Row, body: &Map<String, Json>) -> Result<Made> {
    if !access::sees(write.conn(), write.actor().user(), held.table.name, held.id()).await? {
        return Err(Error::NotFound);
    }
    let mine = held.text("created_by") == Some(write.actor().user());
    let said = |column: &&Column| body.get(column.name).is_some_and(|json| !json.is_null());
    let equal = held.table.writable().filter(said).all(|column| match (held.get(column.name), sent.get(column.name)) {
        (Some(held), Some(sent)) if column.field.merge == Merge::Protective => {
            held == sent || column.loosens(held, sent)
        }
        (held, sent) => held == sent,
    });
    if mine && equal {
        return Ok(Made { row: held, new: false });
    }
    Err(Error::Conflict { code: "id_in_use", detail: "there is a row with this id already".into() })
}

/// A row made in a later state passes the guard of the move that would have led there.
fn start(table: &'static Table, row: &mut Row, write: &Write) -> Result<()> {
    for (at, column) in table.columns.iter().enumerate().filter(|(_, column)| column.field.merge == Merge::State) {
        let (Value::String(Some(from)), Value::String(Some(to))) = (column.initial(), row.cell(at).clone()) else {
            continue;
        };
        let Some(step) = table.move_between(column.name, &from, &to).filter(|_| from != to) else { continue };
        refuse(table.guard(step, row, write.now())?)?;
        table.effect(step, row, write.now(), write.actor())?;
    }
    Ok(())
}

fn may_start(table: &Table, column: &Column, json: &Json) -> bool {
    let initial = column.field.default.unwrap_or_default();
    json.is_null() || json.as_str().is_some_and(|to| to == initial || table.starts.contains(&to))
}

/// Every row that is named must be one the actor sees, and of the same case. The case itself
/// answers as if it were not there; of the others the pointer says which.
async fn references(write: &Write, before: Option<&Row>, after: &Row) -> Result<()> {
    let mut faults = Vec::new();
    for (at, column) in after.table.columns.iter().enumerate() {
        let (Some(target), Value::String(Some(id))) = (column.field.refers, after.cell(at)) else { continue };
        if before.is_some_and(|before| before.cell(at) == after.cell(at)) {
            continue;
        }
        let seen = access::sees(write.conn(), write.actor().user(), target, id).await?;
        if !seen && target == "cases" {
            return Err(Error::NotFound);
        }
        let fits = match crate::registry::table(target).filter(|target| target.has_case()) {
            Some(target) if seen && after.table.has_case() => same_case(write, target, id, after).await?,
            _ => seen,
        };
        if !fits {
            faults.push(Fault::field(column.name, "unknown_reference", "names no row of this case that you may see"));
        }
    }
    refuse(faults)
}

async fn same_case(write: &Write, target: &'static Table, id: &str, row: &Row) -> Result<bool> {
    let text = format!("select 1 from {} where id = $1 and case_id = $2", target.name);
    let case = row.case_id().unwrap_or_default();
    Ok(sql::one(write.conn(), &text, vec![id.into(), case.into()]).await?.is_some())
}

fn known<'a>(table: &'a Table, name: &str, faults: &mut Vec<Fault>) -> Option<(usize, &'a Column)> {
    match table.index(name).filter(|at| table.columns[*at].field.wire) {
        Some(at) => Some((at, &table.columns[at])),
        None => {
            faults.push(Fault::field(name, "unknown_field", "there is no such field"));
            None
        }
    }
}

/// The cell for a JSON value; null takes the column back to its initial value.
fn cell(column: &Column, json: &Json) -> std::result::Result<Value, Fault> {
    if json.is_null() && !column.nullable {
        if column.field.merge == Merge::Protective && matches!(column.field.kind, Kind::Code(_)) {
            return Err(Fault::field(
                column.name,
                "required",
                "must say what it is to be: nothing would be the widest",
            ));
        }
        return Ok(column.initial_or_zero());
    }
    if matches!(column.field.kind, Kind::Code(_)) && json.as_str() == Some("") {
        return Err(Fault::field(column.name, "unknown_code", "must be one of the words, or null"));
    }
    let value = column.parse(json, Face::Rest).map_err(|unfit| Fault {
        pointer: format!("/{}", column.name),
        code: unfit.code,
        detail: unfit.detail,
    })?;
    match column.limit(&value) {
        Some(fault) if column.field.writable() => Err(fault),
        _ => Ok(value),
    }
}

fn refuse(faults: Vec<Fault>) -> Result<()> {
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

fn illegal(from: &str) -> Error {
    Error::Conflict { code: "illegal_move", detail: format!("the row is {from}, which does not allow this move") }
}
