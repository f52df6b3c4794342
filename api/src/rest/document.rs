//! What the OpenAPI document says of a table: read from the registry, so that a column added there
//! is documented by that.

use entities::Instant;
use entities::registry::{Column, Face, Kind, Merge, MoveSpec, TABLES, Table};
use serde_json::{Map, Value, json};

use super::singular;
use crate::columns;

/// One named schema for each table's row.
pub fn schemas() -> Vec<(String, Value)> {
    TABLES.iter().map(|table| (singular(table), row(table))).chain(super::cases::schemas()).collect()
}

/// The schema of a row by name.
pub(super) fn reference(table: &Table) -> Value {
    crate::openapi::schema(&singular(table))
}

/// The schema of a page.
pub(super) fn page(table: &Table) -> Value {
    json!({
        "type": "object", "required": ["items", "next_cursor"],
        "properties": {
            "items": {"type": "array", "items": reference(table)},
            "next_cursor": {"type": ["string", "null"], "description": "Null on the last page"},
        },
    })
}

fn row(table: &Table) -> Value {
    let mut properties: Map<String, Value> =
        table.wire_columns().map(|(_, column)| (column.name.to_owned(), columns::shape(column, Face::Rest))).collect();
    properties.insert("rev".into(), json!({"type": "integer", "description": "The row's version, as in ETag"}));
    json!({"type": "object", "required": ["id", "rev"], "properties": properties})
}

/// The body that makes a row.
pub(super) fn draft(table: &Table) -> Value {
    let required: Vec<&str> =
        table.writable().filter(|column| column.field.required).map(|column| column.name).collect();
    let begun = |column: &Column| match column.field.merge {
        Merge::State => {
            let first = column.field.default.into_iter();
            columns::coded(first.chain(table.starts.iter().copied()), true)
        }
        _ => columns::given(column),
    };
    body(table.writable().map(|column| (column.name, begun(column))), &required)
}

/// The body that changes a row.
pub(super) fn patch(table: &Table) -> Value {
    body(table.writable().filter(|column| changes(column)).map(|column| (column.name, columns::given(column))), &[])
}

/// The body of a move.
pub(super) fn moved(table: &'static Table, step: &MoveSpec) -> Value {
    let (properties, required) = coming_along(table, step);
    let mut schema = body(properties.into_iter(), &required);
    if required.is_empty() {
        // Where nothing has to come along, nothing may be sent as well.
        schema["type"] = json!(["object", "null"]);
    }
    schema
}

/// The body that changes a state by its name: for each state what may come along with the moves to it.
pub(super) fn moved_to(table: &'static Table, column: &str, rename: fn(&'static str) -> &'static str) -> Value {
    let moves = || table.moves.iter().filter(|step| step.column == column);
    let ways = table.destinations(column).into_iter().map(|state| {
        let mut properties: Vec<(&str, Value)> = vec![("to", json!({"const": state}))];
        let mut always: Option<Vec<&'static str>> = None;
        for step in moves().filter(|step| step.to == state) {
            let (more, needed) = coming_along(table, step);
            properties.extend(more.into_iter().map(|(name, shape)| (rename(name), shape)));
            always = Some(match always {
                Some(before) => before.into_iter().filter(|name| needed.contains(name)).collect(),
                None => needed,
            });
        }
        let required: Vec<&str> = ["to"].into_iter().chain(always.into_iter().flatten().map(rename)).collect();
        body(properties.into_iter(), &required)
    });
    json!({"anyOf": ways.collect::<Vec<_>>()})
}

/// The columns that a move takes, and those that it cannot do without. The move itself is asked, on a row that has
/// nothing: `status_reason` is said anew at each move, so it has to come along; another column may be there already.
fn coming_along(table: &'static Table, step: &MoveSpec) -> (Vec<(&'static str, Value)>, Vec<&'static str>) {
    let faults = table.guard(step, &table.fresh(), Instant(0)).unwrap_or_default();
    let mut required = Vec::new();
    let properties = step.takes.iter().filter_map(|name| {
        let mut shape = columns::given(table.column(name)?);
        if faults.iter().any(|fault| fault.pointer.strip_prefix('/') == Some(name)) {
            if *name == "status_reason" {
                required.push(*name);
                columns::must_say_something(&mut shape);
            } else {
                shape["description"] = json!("Needed where the row has none yet");
            }
        }
        Some((*name, shape))
    });
    let properties = properties.collect();
    (properties, required)
}

fn body<'a>(properties: impl Iterator<Item = (&'a str, Value)>, required: &[&str]) -> Value {
    let properties: Map<String, Value> = properties.map(|(name, shape)| (name.to_owned(), shape)).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn changes(column: &Column) -> bool {
    matches!(column.field.merge, Merge::Field | Merge::Items | Merge::Protective)
}

/// A row as it may come back.
pub(super) fn example(table: &Table) -> Value {
    let mut row: Map<String, Value> =
        table.wire_columns().map(|(_, column)| (column.name.to_owned(), columns::sample(column, Face::Rest))).collect();
    row.insert("rev".into(), json!(1_805_025_600_000_i64));
    Value::Object(row)
}

/// A body that would make a row: what must be there, and a few words.
pub(super) fn draft_example(table: &Table) -> Value {
    let plain = |column: &&Column| column.field.refers.is_none() && changes(column);
    let some =
        table.writable().filter(plain).filter(|column| matches!(column.field.kind, Kind::Code(_) | Kind::Text(_)));
    let must = table.writable().filter(|column| column.field.required);
    let mut names: Vec<&Column> = must.collect();
    names.extend(some.filter(|column| !column.field.required).take(3));
    Value::Object(
        names.into_iter().map(|column| (column.name.to_owned(), columns::sample(column, Face::Rest))).collect(),
    )
}

pub(super) fn patch_example(table: &Table) -> Value {
    let some = table.writable().filter(|column| changes(column) && column.field.refers.is_none());
    Value::Object(some.take(2).map(|column| (column.name.to_owned(), columns::sample(column, Face::Rest))).collect())
}

pub(super) fn move_example(table: &Table, step: &MoveSpec) -> Value {
    let takes = step.takes.iter().filter_map(|name| table.column(name));
    Value::Object(takes.map(|column| (column.name.to_owned(), columns::sample(column, Face::Rest))).collect())
}
