//! Reading the body of a push.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::registry::{Face, Table, is_id, table};

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

/// One row as pushed.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) table: &'static Table,
    pub(crate) id: String,
    pub(crate) op: Op,
    pub(crate) raw: Map<String, Value>,
    /// The dialect its values are written in.
    pub(crate) face: Face,
}

impl Incoming {
    /// Whether the device says that it changed this column. A row that names no columns speaks
    /// for all of them; one that the device made names what it changed since.
    pub(crate) fn speaks_for(&self, column: &str) -> bool {
        match self.raw.get("_changed").and_then(Value::as_str) {
            Some(names) if !names.is_empty() => names.split(',').any(|name| name == column),
            _ => true,
        }
    }
}

/// A body read: rows in order of dependency, and how much was not understood.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    pub(crate) rows: Vec<Incoming>,
    /// Rows of tables this server does not know, and rows whose id cannot be one.
    pub(crate) ignored: usize,
}

/// Reads `{table: {created, updated, deleted}}`; the whole may stand under `changes`. `Err` says
/// what is malformed. The same row named twice counts once, with its last content.
pub(crate) fn read(body: &Value) -> Result<Intake, String> {
    let top = body.as_object().ok_or("the body must be an object of tables")?;
    let tables = match top.get("changes") {
        Some(inner) => inner.as_object().ok_or("changes must be an object of tables")?,
        None => top,
    };
    let mut intake = Intake::default();
    let mut places: HashMap<(&'static str, String), usize> = HashMap::new();
    for (name, changes) in tables {
        let known = table(name);
        let changes = changes.as_object().ok_or_else(|| "each table must be an object of three lists".to_owned())?;
        for (key, op) in [("created", Op::Created), ("updated", Op::Updated), ("deleted", Op::Deleted)] {
            let list = match changes.get(key) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(list)) => list,
                Some(_) => return Err(format!("{key} must be a list")),
            };
            for item in list {
                let (id, raw) = match (op, item) {
                    (Op::Deleted, Value::String(id)) => (id.as_str(), Map::new()),
                    (Op::Deleted, _) => return Err("deleted must be a list of ids".into()),
                    (_, Value::Object(raw)) => match raw.get("id") {
                        Some(Value::String(id)) => (id.as_str(), raw.clone()),
                        _ => return Err("each row must have a text id".into()),
                    },
                    _ => return Err("each row must be an object".into()),
                };
                let Some(table) = known.filter(|_| is_id(id)) else {
                    intake.ignored += 1;
                    continue;
                };
                let incoming = Incoming { table, id: id.to_owned(), op, raw, face: Face::Watermelon };
                match places.get(&(table.name, incoming.id.clone())) {
                    Some(at) => intake.rows[*at] = incoming,
                    None => {
                        places.insert((table.name, incoming.id.clone()), intake.rows.len());
                        intake.rows.push(incoming);
                    }
                }
            }
        }
    }
    // Parents before children, whatever order the device listed them in (H18).
    intake.rows.sort_by_key(|row| (row.table.rank, row.table.name));
    Ok(intake)
}
