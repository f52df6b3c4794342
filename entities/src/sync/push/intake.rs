//! Reading the body of a push.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{MAX_ROWS, PushRefusal};
use crate::registry::{Face, Table, is_id, table};
use crate::sync::custody::Kept;

/// What a device wants done with one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Created,
    Updated,
    Deleted,
}

impl Op {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Op::Created => "create",
            Op::Updated => "update",
            Op::Deleted => "delete",
        }
    }
}

/// What kept work of an action is called, and the member of it that says which. What is done to a row in the native face
/// bears it too, an edit as `update`: it makes no row.
const ACTION: &str = "action";
pub(crate) const VERB: &str = "_verb";

/// One row as pushed.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) table: &'static Table,
    pub(crate) id: String,
    pub(crate) op: Op,
    pub(crate) raw: Map<String, Value>,
    /// The dialect its values are written in.
    pub(crate) face: Face,
    /// All of it or nothing: it is a move, and what the move says of itself.
    pub(crate) whole: bool,
    /// The verb of the move that it is, in the face that says what somebody did.
    pub(crate) verb: Option<String>,
    /// The device's id of this piece of work, in the face that has one: the same words under another are said again.
    pub(crate) mutation: Option<String>,
}

impl Incoming {
    /// Kept work, as it came.
    pub(crate) fn of_kept(kept: &Kept) -> Incoming {
        let (op, whole) = match kept.op.as_str() {
            "create" => (Op::Created, false),
            "delete" => (Op::Deleted, false),
            op => (Op::Updated, op == ACTION),
        };
        let (raw, face) = (kept.raw.clone(), kept.face);
        let verb = raw.get(VERB).and_then(Value::as_str).filter(|_| whole).map(str::to_owned);
        Incoming { table: kept.table, id: kept.row_id.clone(), op, raw, face, whole, verb, mutation: None }
    }

    /// What it is called where it is kept.
    pub(crate) fn kept_as(&self) -> &'static str {
        if self.whole { ACTION } else { self.op.as_str() }
    }

    /// Whether it says what is done to a row, and so makes none where there is none.
    pub(crate) fn needs_its_row(&self) -> bool {
        self.raw.contains_key(VERB)
    }

    /// Whether the device names this column as one that it changed.
    pub(crate) fn names_as_changed(&self, column: &str) -> bool {
        let names = self.raw.get("_changed").and_then(Value::as_str).unwrap_or_default();
        names.split(',').any(|name| name == column)
    }

    /// Whether the device says that it changed this column. A row that names no columns speaks
    /// for all of them; one that the device made names what it changed since.
    pub(crate) fn speaks_for(&self, column: &str) -> bool {
        match self.raw.get("_changed").and_then(Value::as_str) {
            Some(names) if !names.is_empty() => names.split(',').any(|name| name == column),
            _ => true,
        }
    }
}

/// A row whose id cannot be one: its table, that id, and what it holds.
pub(crate) type Unfit = (&'static Table, String, Map<String, Value>);

/// A body read: rows in order of dependency, and what of it was not understood.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    pub(crate) rows: Vec<Incoming>,
    /// Ids of rows of tables that this server does not know, by table.
    pub(crate) unknown: BTreeMap<String, Vec<String>>,
    /// Rows of known tables whose id cannot be one: they cannot be kept under it, so their author is told.
    pub(crate) unfit: Vec<Unfit>,
}

/// Whether a table of a later version could be called so.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Reads `{table: {created, updated, deleted}}`; the whole may stand under `changes`. The same row
/// named twice counts once, with its last content.
///
/// Fails with `Malformed`, and with `TooManyRows`. A row whose id cannot be one counts like any other: its
/// author is told of each, so it costs as much as one that is stored.
pub(crate) fn read(body: Value) -> Result<Intake, PushRefusal> {
    let malformed = |what: &str| PushRefusal::Malformed(what.to_owned());
    let Value::Object(mut top) = body else { return Err(malformed("the body must be an object of tables")) };
    let tables = match top.remove("changes") {
        Some(Value::Object(inner)) => inner,
        Some(_) => return Err(malformed("changes must be an object of tables")),
        None => top,
    };
    let mut intake = Intake::default();
    let mut unfit = 0;
    let mut places: HashMap<(&'static str, String), usize> = HashMap::new();
    for (name, changes) in tables {
        let known = table(&name);
        let Value::Object(mut changes) = changes else {
            if known.is_none() {
                continue;
            }
            return Err(malformed("each table must be an object of three lists"));
        };
        for (key, op) in [("created", Op::Created), ("updated", Op::Updated), ("deleted", Op::Deleted)] {
            let list = match changes.remove(key) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(list)) => list,
                Some(_) => return Err(malformed(&format!("{key} must be a list"))),
            };
            for item in list {
                let (id, raw) = match (op, item) {
                    (Op::Deleted, Value::String(id)) => (id, Map::new()),
                    (Op::Created | Op::Updated, Value::Object(raw)) => {
                        (raw.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(), raw)
                    }
                    (Op::Created | Op::Updated, item) if !item.is_null() => {
                        // No row, but somebody may have meant something by it.
                        (item.to_string(), Map::from_iter([("row".to_owned(), item)]))
                    }
                    // Nothing a person wrote can be in it.
                    _ => continue,
                };
                let Some(table) = known else {
                    if is_id(&id) && is_name(&name) {
                        intake.unknown.entry(name.clone()).or_default().push(id);
                    }
                    continue;
                };
                if !is_id(&id) {
                    unfit += 1;
                    intake.unfit.extend(Some((table, id, raw)).filter(|(_, _, raw)| !raw.is_empty()));
                    continue;
                }
                let place = places.entry((table.name, id.clone())).or_insert(intake.rows.len());
                let incoming =
                    Incoming { table, id, op, raw, face: Face::Watermelon, whole: false, verb: None, mutation: None };
                match intake.rows.get_mut(*place) {
                    Some(earlier) if op == Op::Updated && earlier.op == Op::Created => earlier.raw.extend(incoming.raw),
                    Some(earlier) => *earlier = incoming,
                    None => intake.rows.push(incoming),
                }
            }
        }
    }
    if intake.rows.len() + unfit > MAX_ROWS {
        return Err(PushRefusal::TooManyRows);
    }
    // Parents before children, whatever order the device listed them in (H18), and of one table what is named before what
    // names it: what becomes of a correction hangs on what becomes of its note.
    let mut rows: Vec<(usize, Incoming)> = depths(&intake.rows).into_iter().zip(intake.rows).collect();
    rows.sort_by_key(|(depth, row)| (row.table.rank, row.table.name, *depth));
    intake.rows = rows.into_iter().map(|(_, row)| row).collect();
    Ok(intake)
}

/// How many rows of its own table, of those that came, each row names one after the other.
fn depths(rows: &[Incoming]) -> Vec<usize> {
    let places: HashMap<(&str, &str), usize> =
        rows.iter().enumerate().map(|(at, row)| ((row.table.name, row.id.as_str()), at)).collect();
    let names = |row: &Incoming| -> Vec<usize> {
        let own = row.table.columns.iter().filter(|column| column.field.refers == Some(row.table.name));
        own.filter_map(|column| places.get(&(row.table.name, row.raw.get(column.name)?.as_str()?)).copied()).collect()
    };
    let named: Vec<Vec<usize>> = rows.iter().map(names).collect();
    let (mut depths, mut entered) = (vec![0; rows.len()], vec![false; rows.len()]);
    for first in 0..rows.len() {
        let mut way = vec![first];
        while let Some(&at) = way.last() {
            entered[at] = true;
            // A ring is broken where it was entered.
            if let Some(below) = named[at].iter().find(|below| !entered[**below]) {
                way.push(*below);
            } else {
                depths[at] = named[at].iter().map(|below| depths[*below] + 1).max().unwrap_or(0);
                way.pop();
            }
        }
    }
    depths
}
