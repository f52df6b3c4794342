//! Bringing a pushed row and the stored one together, column by column.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sea_orm::Value as Cell;
use serde_json::{Map, Value};

use crate::access::Actor;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};
use crate::registry::{Checked, Column, Face, Kind, Merge, MoveSpec, Row, Table, items};

use super::intake::Incoming;
use crate::sync::{issue, text};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) row: Row,
    /// Columns that another device changed too, to another value.
    pub(crate) conflicts: Vec<&'static str>,
    /// Columns that kept their value although the device changed them.
    pub(crate) kept: Vec<&'static str>,
    /// Columns whose value had to be mended or dropped.
    pub(crate) mended: Vec<&'static str>,
    /// A move of the state machine that is not legal.
    pub(crate) illegal: bool,
    /// What stands against it, in sentences.
    pub(crate) against: Vec<String>,
    /// A list came out as another one than was sent, so that the device has to see it.
    pub(crate) again: bool,
}

impl Merged {
    /// A row of which there is nothing to tell yet.
    pub(crate) fn of(row: Row) -> Merged {
        Merged {
            row,
            conflicts: Vec::new(),
            kept: Vec::new(),
            mended: Vec::new(),
            illegal: false,
            against: Vec::new(),
            again: false,
        }
    }
}

/// A new row under the id of the one that came.
fn blank(incoming: &Incoming) -> Row {
    let mut row = incoming.table.fresh();
    row.set("id", incoming.id.as_str().into());
    // A day that nobody named is none, and not the first of the calendar.
    for (at, column) in incoming.table.wire_columns().filter(|(_, column)| column.field.kind == Kind::Date) {
        row.put(at, column.initial_or_zero());
    }
    row
}

/// What others did to a row that a device may not have known of when it wrote.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// Columns that were changed since the device pulled.
    pub(crate) columns: BTreeSet<String>,
    /// Columns that may have been changed since it wrote, though it has pulled them since.
    pub(crate) moved: BTreeSet<String>,
    /// Items of lists that were taken out since it wrote, and that it still sends, by column.
    pub(crate) taken_out: BTreeMap<&'static str, Vec<Value>>,
}

/// Lays the pushed values over `before` (or over a new row).
pub(crate) fn merge(
    incoming: &Incoming,
    before: Option<&Row>,
    elsewhere: &Elsewhere,
    now: Instant,
    actor: &Actor,
) -> Result<Merged> {
    let table = incoming.table;
    let mut merged = Merged::of(before.cloned().unwrap_or_else(|| blank(incoming)));
    let mut moves = Vec::new();
    for (at, column) in table.wire_columns() {
        let Some(sent) = incoming.raw.get(column.name) else { continue };
        // An update of a row that is not there makes it, so then every column counts.
        if at == table.id_column() || (before.is_some() && !incoming.speaks_for(column.name)) {
            continue;
        }
        // What stands as it came is no news, also where it would not be taken as one.
        let stands = || column.parse(sent, incoming.face).is_ok_and(|cell| cell == *merged.row.cell(at));
        if before.is_some() && column.field.merge != Merge::State && stands() {
            continue;
        }
        let (cell, mended) = clean(column, sent, incoming.face);
        if mended {
            merged.mended.push(column.name);
        }
        let cell = match column.field.merge {
            // Whatever it was to say, it was to protect: what nobody understands must not be read by all.
            Merge::Protective if mended && before.is_none() => closed(column),
            _ if mended && before.is_none() && column.field.in_doubt.is_some() => column.field.in_doubt.into(),
            Merge::Items => {
                let said = elsewhere.taken_out.get(column.name).map(|gone| items::without(&cell, gone));
                let list = items::laid_over(merged.row.cell(at), said.as_ref().unwrap_or(&cell));
                merged.again |= list != cell;
                list
            }
            _ => cell,
        };
        // A move may lead to the state that it begins in.
        let acts = incoming.verb.is_some() && column.field.merge == Merge::State;
        if cell == *merged.row.cell(at) && !acts {
            continue;
        }
        if column.field.agreement && withdrawn(merged.row.cell(at)) && !withdrawn(&cell) {
            merged.kept.push(column.name);
            continue;
        }
        // What was cut in the middle of a character came as this one, and is not what was typed.
        if cuts(&cell) > cuts(merged.row.cell(at)) {
            merged.mended.push(column.name);
        }
        if elsewhere.columns.contains(column.name) && column.field.writable() && column.field.merge != Merge::Items {
            merged.conflicts.push(column.name);
        }
        let stands = match (column.field.merge, before) {
            (Merge::Server, None) => continue,
            (Merge::Server, Some(_)) => incoming.op == super::intake::Op::Created,
            (Merge::State, _) => {
                moves.push((at, column, cell));
                continue;
            }
            (Merge::Once, Some(_)) => false,
            (Merge::Protective, Some(_)) => !column.loosens(merged.row.cell(at), &cell),
            (Merge::Once | Merge::Protective | Merge::Field | Merge::Items, _) => {
                merged.row.put(at, cell);
                continue;
            }
        };
        match (stands, column.field.merge) {
            (true, Merge::Protective) => merged.row.put(at, cell),
            (true, _) => (),
            (false, _) => merged.kept.push(column.name),
        }
    }
    // Moves last: their guards look at the row as it would be.
    for (at, column, cell) in moves {
        let from = merged.row.text(column.name).unwrap_or_default();
        let verb = incoming.verb.as_deref();
        let ways = || table.moves.iter().filter(|way| Some(way.verb) == verb && way.column == column.name);
        if ways().any(|way| way.to == from) && !ways().any(|way| way.from.contains(&from)) {
            // It was made elsewhere, and what came with it is an edit.
            continue;
        }
        // What somebody did has to be possible in the state that is found, not only to lead to the same one.
        let way = verb.map(|_| ways().find(|way| way.from.contains(&from)));
        if way.flatten().is_some_and(|way| way.to != from)
            && !incoming.raw.contains_key("status_reason")
            && let Some(reason) = table.index("status_reason")
        {
            // Why a row has its state is said anew at each move, or it would explain the one before.
            merged.row.put(reason, table.columns[reason].null());
        }
        let cell = way.flatten().map_or(cell, |way| way.to.into());
        // A face that sends states sends the last of an offline spell: agreed and started on one visit.
        let moved = elsewhere.columns.contains(column.name) || elsewhere.moved.contains(column.name);
        let far = verb.is_none() && !moved;
        if let Err(against) = step(&mut merged.row, (at, column, &cell), way, (before.is_none(), far), now, actor)? {
            merged.illegal = true;
            merged.against.extend(against);
            merged.kept.push(column.name);
        }
    }
    Ok(merged)
}

/// The row as a device had it from the server, laid over `before` or a new one (S6): its state as it was, however many
/// moves led there, and what the server itself had set. Where there is a row, whose it is stays, and so does what
/// protects more; `people` are the users and teams that a new row may be said to be of.
pub(crate) fn as_it_was(incoming: &Incoming, before: Option<&Row>, people: &HashSet<String>) -> Row {
    let table = incoming.table;
    let mut row = before.cloned().unwrap_or_else(|| blank(incoming));
    for (at, column) in table.wire_columns().filter(|(at, _)| !table.is_stamp(*at)) {
        let Some(sent) = incoming.raw.get(column.name) else { continue };
        let (cell, _) = clean(column, sent, incoming.face);
        let stays = match (column.field.merge, before) {
            (Merge::Once, Some(_)) => true,
            (Merge::Protective, Some(before)) => column.loosens(before.cell(at), &cell),
            // The server's own words (a case's number) are not taken from a device where there are any.
            (Merge::Server, Some(_)) if !table.is_servers() => matches!(column.field.kind, Kind::Id | Kind::Text(_)),
            (Merge::State, _) => incoming.names_as_changed(column.name),
            (Merge::Server, None) if column.field.kind == Kind::Id && column.field.refers.is_none() => {
                !matches!(&cell, Cell::String(Some(id)) if people.contains(id))
            }
            _ => false,
        };
        if !stays {
            // What was taken out of a list in the lost time is out; what has not been sent yet only adds.
            let adds = column.field.merge == Merge::Items && incoming.names_as_changed(column.name);
            row.put(at, if adds { items::laid_over(row.cell(at), &cell) } else { cell });
        }
    }
    row
}

/// Takes a state back to the stored one where the actor could not have got there move by move, or where the row as it is
/// would not have been let: so much of the rules holds for what a device says of a time that nobody else knows.
pub(crate) fn walk(merged: &mut Merged, before: &Row, now: Instant, actor: &Actor) -> Result<()> {
    let table = before.table;
    for (at, column) in table.columns.iter().enumerate().filter(|(_, column)| column.field.merge == Merge::State) {
        let (Some(from), Some(to)) = (before.text(column.name), merged.row.text(column.name)) else { continue };
        if from != to && !table.leads(column.name, from, to, &merged.row, now, actor)? {
            merged.row.put(at, before.cell(at).clone());
            merged.illegal = true;
            merged.kept.push(column.name);
        }
    }
    Ok(())
}

/// Makes a change of state as a move, or as several where those in between are not told, or says what stands against it.
fn step(
    row: &mut Row,
    (at, column, cell): (usize, &Column, &Cell),
    way: Option<Option<&MoveSpec>>,
    (new, far): (bool, bool),
    now: Instant,
    actor: &Actor,
) -> Result<std::result::Result<(), Vec<String>>> {
    let table = row.table;
    let no_way = || Ok(Err(vec!["it does not follow from the state it is in".into()]));
    let (Cell::String(Some(from)), Cell::String(Some(to))) = (row.cell(at).clone(), cell) else { return no_way() };
    let found = way.unwrap_or_else(|| table.move_between(column.name, &from, to));
    let moves = match found {
        Some(found) => vec![found],
        None if new && way.is_none() && table.starts.contains(&to.as_str()) => {
            row.put(at, cell.clone());
            return Ok(Ok(()));
        }
        None if far => table.way(column.name, &from, to, actor.role),
        None => Vec::new(),
    };
    if moves.is_empty() {
        return no_way();
    }
    let mut after = row.clone();
    for found in moves {
        if !found.who.contains(&actor.role) {
            return Ok(Err(vec!["that is not for your role to do".into()]));
        }
        after.put(at, found.to.into());
        let faults = table.guard(found, &after, now)?;
        if !faults.is_empty() {
            return Ok(Err(sentences(&faults)));
        }
        table.effect(found, &mut after, now, actor)?;
    }
    *row = after;
    Ok(Ok(()))
}

/// What faults say, with the column each is about.
fn sentences(faults: &[Fault]) -> Vec<String> {
    let column = |fault: &Fault| fault.pointer.trim_start_matches('/').to_owned();
    faults.iter().map(|fault| format!("{}: {}", column(fault), fault.detail)).collect()
}

/// Takes back what other rows stand against: a move, since what is said with it is said together, and the columns that are
/// named; what the device wrote besides stays.
pub(crate) fn unmove(merged: &mut Merged, before: &Row, refused: Error) -> Result<()> {
    let mut named = HashSet::new();
    match &refused {
        Error::Invalid(faults) => {
            merged.against.extend(sentences(faults));
            named.extend(faults.iter().filter_map(|fault| at_pointer(before.table, &fault.pointer)).map(|(at, _)| at));
        }
        Error::Forbidden(why) => merged.against.push(why.clone()),
        _ => return Err(refused),
    }
    // Why a row has its state would be said of another one; of who may not make the move nothing of it is taken.
    let made = |way: &&MoveSpec| before.text(way.column) != Some(way.to) && merged.row.text(way.column) == Some(way.to);
    let takes: HashSet<&str> = before.table.moves.iter().filter(made).flat_map(|way| way.takes).copied().collect();
    let goes_too =
        |name: &str| takes.contains(name) && (name == "status_reason" || matches!(refused, Error::Forbidden(_)));
    for (at, column) in before.table.columns.iter().enumerate() {
        let falls =
            named.contains(&at) || matches!(column.field.merge, Merge::State | Merge::Server) || goes_too(column.name);
        if falls && merged.row.cell(at) != before.cell(at) {
            merged.row.put(at, before.cell(at).clone());
            merged.illegal |= column.field.merge == Merge::State;
            if column.field.merge != Merge::Server {
                merged.kept.push(column.name);
            }
        }
    }
    Ok(())
}

/// Checks the merged row; columns that break a rule fall back to their stored value, cut where
/// they are only too long, and are named in `mended`. `None` when it cannot be stored at all; otherwise
/// the row has been moved out of `merged`.
pub(crate) fn settle(
    merged: &mut Merged,
    before: Option<&Row>,
    now: Instant,
    actor: &Actor,
) -> Result<Option<Checked>> {
    for _ in 0..4 {
        let moved = Row::of(merged.row.table, Vec::new());
        let row = std::mem::replace(&mut merged.row, moved);
        let faults = match row.tried(before, now, actor)? {
            Ok(checked) => return Ok(Some(checked)),
            Err((row, faults)) => {
                merged.row = row;
                faults
            }
        };
        let mut helped = false;
        for fault in &faults {
            let Some((at, column)) = at_pointer(merged.row.table, &fault.pointer) else { continue };
            let fallback = match (column.field.kind, merged.row.cell(at)) {
                (Kind::Text(max), Cell::String(Some(text))) if fault.code == "too_long" => {
                    text.chars().take(max).collect::<String>().into()
                }
                _ => before.map_or_else(|| column.initial_or_zero(), |before| before.cell(at).clone()),
            };
            if *merged.row.cell(at) != fallback {
                merged.row.put(at, fallback);
                merged.mended.push(column.name);
                helped = true;
            }
        }
        // Two days that do not go together: the one that is stored already cannot give way.
        helped = helped || is_about_time(&faults, merged.row.table) && back_in_time(merged, before);
        if !helped {
            return Ok(None);
        }
    }
    Ok(None)
}

fn is_about_time(faults: &[Fault], table: &'static Table) -> bool {
    let time = |fault: &Fault| at_pointer(table, &fault.pointer).is_some_and(|(_, column)| is_time(column));
    faults.iter().all(time)
}

fn is_time(column: &Column) -> bool {
    matches!(column.field.kind, Kind::Date | Kind::Instant)
}

/// Takes the days and instants of a changed row back to what is stored; false where none differs.
fn back_in_time(merged: &mut Merged, before: Option<&Row>) -> bool {
    let Some(before) = before else { return false };
    let mut taken_back = false;
    let own = |(at, column): &(usize, &Column)| is_time(column) && !before.table.is_stamp(*at);
    for (at, column) in before.table.columns.iter().enumerate().filter(own) {
        if merged.row.cell(at) != before.cell(at) && column.field.writable() {
            merged.row.put(at, before.cell(at).clone());
            merged.mended.push(column.name);
            taken_back = true;
        }
    }
    taken_back
}

fn at_pointer(table: &'static Table, pointer: &str) -> Option<(usize, &'static Column)> {
    let name = pointer.strip_prefix('/')?.split('/').next()?;
    let at = table.index(name)?;
    Some((at, &table.columns[at]))
}

/// The cell for a pushed value, mended where it cannot be stored as it is: NUL is dropped, what
/// is out of range or of another type becomes empty (decision 5).
pub(super) fn clean(column: &Column, sent: &Value, face: Face) -> (Cell, bool) {
    let (cell, mended) = match column.parse(sent, face) {
        Ok(cell) => (cell, false),
        Err(unfit) if unfit.code == "nul" => {
            // A list or an object as text has them written as codes.
            let inside = sent.as_str().filter(|_| matches!(column.field.kind, Kind::Json(_)));
            let read = inside.and_then(|text| serde_json::from_str::<Value>(text).ok());
            let without = read.map_or_else(|| without_nul(sent), |read| without_nul(&read).to_string().into());
            (column.parse(&without, face).unwrap_or_else(|_| column.null()), true)
        }
        Err(_) => (mended_inside(column, sent, face).unwrap_or_else(|| column.null()), true),
    };
    let broken = matches!(column.field.kind, Kind::Int(..) | Kind::Real(..) | Kind::Instant | Kind::Code(_) | Kind::Id)
        && cell != column.null()
        && column.field.writable()
        && column.limit(&cell).is_some()
        || matches!(column.field.kind, Kind::Json(_)) && column.limit(&cell).is_some_and(|fault| fault.code == "type");
    let (cell, mended) = if broken { (column.null(), true) } else { (cell, mended) };
    if cell == column.null() && !column.nullable { (column.initial_or_zero(), mended) } else { (cell, mended) }
}

/// A list or an object that came as text and has half a character in it, or a number that nobody can read.
fn mended_inside(column: &Column, sent: &Value, face: Face) -> Option<Cell> {
    let text = sent.as_str().filter(|_| matches!(column.field.kind, Kind::Json(_)))?;
    let (mended, _) = text::mend(text.as_bytes());
    let bound = text::bound(&mended);
    column.parse(&bound.as_deref().unwrap_or(&mended).into(), face).ok()
}

/// The same without the one character that no database keeps.
fn without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace('\0', "").into(),
        Value::Array(items) => items.iter().map(without_nul).collect(),
        Value::Object(members) => {
            let clean = members.iter().map(|(name, member)| (name.replace('\0', ""), without_nul(member)));
            Value::Object(clean.collect())
        }
        other => other.clone(),
    }
}

/// How many characters of a text stand for what could not be read.
fn cuts(cell: &Cell) -> usize {
    match cell {
        Cell::String(Some(text)) => text.matches('\u{FFFD}').count(),
        _ => 0,
    }
}

/// Whether a client has withdrawn what this record says.
fn withdrawn(cell: &Cell) -> bool {
    let Cell::String(Some(text)) = cell else { return false };
    serde_json::from_str::<Value>(text).is_ok_and(|record| !record["withdrawn"].is_null())
}

/// The value that protects most.
fn closed(column: &Column) -> Cell {
    match column.field.kind {
        Kind::Bool => true.into(),
        Kind::Code(words) => words.last().map_or_else(|| column.initial_or_zero(), |word| (*word).into()),
        _ => column.initial_or_zero(),
    }
}

/// Whether an excerpt is more than an issue holds.
pub(crate) fn is_long(excerpt: &Map<String, Value>) -> bool {
    excerpt.values().map(|value| value.as_str().map_or(64, str::len)).sum::<usize>() > issue::DETAIL / 2
}

/// The columns of a raw row with these names, for the author to see again.
pub(crate) fn excerpt(raw: &Map<String, Value>, names: &[&'static str]) -> Map<String, Value> {
    names.iter().filter_map(|name| raw.get(*name).map(|value| ((*name).to_owned(), value.clone()))).collect()
}
