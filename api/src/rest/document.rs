//! What the OpenAPI document says of a table: read from the registry, so that a column added there
//! is documented by that.

use entities::registry::{Column, Kind, Merge, MoveSpec, TABLES, Table};
use serde_json::{Map, Value, json};

use super::singular;

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
        table.wire_columns().map(|(_, column)| (column.name.to_owned(), shape(column))).collect();
    properties.insert("rev".into(), json!({"type": "integer", "description": "The row's version, as in ETag"}));
    json!({"type": "object", "required": ["id", "rev"], "properties": properties})
}

/// The body that makes a row.
pub(super) fn draft(table: &Table) -> Value {
    let required: Vec<&str> =
        table.writable().filter(|column| column.field.required).map(|column| column.name).collect();
    body(table.writable(), &required)
}

/// The body that changes a row.
pub(super) fn patch(table: &Table) -> Value {
    body(table.writable().filter(|column| changes(column)), &[])
}

/// The body of a move.
pub(super) fn moved(table: &Table, step: &MoveSpec) -> Value {
    body(step.takes.iter().filter_map(|name| table.column(name)), &[])
}

fn body<'a>(columns: impl Iterator<Item = &'a Column>, required: &[&str]) -> Value {
    let properties: Map<String, Value> = columns.map(|column| (column.name.to_owned(), shape(column))).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn changes(column: &Column) -> bool {
    matches!(column.field.merge, Merge::Field | Merge::Items | Merge::Protective)
}

/// The JSON schema of a column.
fn shape(column: &Column) -> Value {
    let null = column.nullable;
    let kind = |name: &str| if null { json!([name, "null"]) } else { json!(name) };
    let mut shape = match column.field.kind {
        Kind::Text(most) => json!({"type": kind("string"), "maxLength": most}),
        Kind::Code(words) => {
            let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            if null {
                all.push(Value::Null);
            }
            json!({"type": kind("string"), "enum": all})
        }
        Kind::Id => json!({"type": kind("string"), "pattern": "^[A-Za-z0-9._-]{8,64}$"}),
        Kind::Date => json!({"type": kind("string"), "format": "date"}),
        Kind::Instant => json!({"type": kind("string"), "format": "date-time"}),
        Kind::Int(least, most) => json!({"type": kind("integer"), "minimum": least, "maximum": most}),
        Kind::Real(least, most) => json!({"type": kind("number"), "minimum": least, "maximum": most}),
        Kind::Bool => json!({"type": kind("boolean")}),
        Kind::Json(_) => {
            json!({"type": if null { json!(["array", "object", "null"]) } else { json!(["array", "object"]) }})
        }
    };
    if column.field.merge == Merge::Server {
        shape["readOnly"] = json!(true);
    }
    if let Some(target) = column.field.refers {
        shape["description"] = json!(format!("Names a row of {target}"));
    }
    shape
}

/// A row as it may come back.
pub(super) fn example(table: &Table) -> Value {
    let mut row: Map<String, Value> =
        table.wire_columns().map(|(_, column)| (column.name.to_owned(), sample(column))).collect();
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
    Value::Object(names.into_iter().map(|column| (column.name.to_owned(), sample(column))).collect())
}

pub(super) fn patch_example(table: &Table) -> Value {
    let some = table.writable().filter(|column| changes(column) && column.field.refers.is_none());
    Value::Object(some.take(2).map(|column| (column.name.to_owned(), sample(column))).collect())
}

pub(super) fn move_example(table: &Table, step: &MoveSpec) -> Value {
    let takes = step.takes.iter().filter_map(|name| table.column(name));
    Value::Object(takes.map(|column| (column.name.to_owned(), sample(column))).collect())
}

/// A value that the column would take.
fn sample(column: &Column) -> Value {
    match column.field.kind {
        Kind::Text(_) if column.name == "tz" => json!("Europe/London"),
        Kind::Text(_) if column.name == "email" => json!("intake@partner.example"),
        Kind::Text(_) if column.name == "birth" => json!("1980-05"),
        Kind::Text(most) => json!("Walk to the market twice a week".chars().take(most).collect::<String>()),
        Kind::Code(words) => json!(column.field.default.or(words.first().copied())),
        Kind::Id if column.name == "id" || column.field.refers.is_some() || !column.nullable => {
            json!("0192f0c1-7a1b-7c00-8000-000000000001")
        }
        Kind::Id => Value::Null,
        Kind::Date => json!("2027-03-14"),
        Kind::Instant => json!("2027-03-14T12:00:00.000Z"),
        Kind::Int(least, most) => json!(1.clamp(least, most)),
        Kind::Real(least, most) => json!(1.0_f64.clamp(least, most)),
        Kind::Bool => json!(false),
        Kind::Json(_) => json!([]),
    }
}
