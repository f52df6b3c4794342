//! What an app needs to build its own schema: tables, columns, types, since when.

use serde_json::{Value, json};

use crate::registry::{Kind, MIN_SCHEMA_VERSION, SCHEMA_VERSION, TABLES};

/// The schema of a version: tables and columns that version has, each with the version in which
/// it appeared. `type` is WatermelonDB's; `holds` says what a string or number stands for.
pub fn describe(version: u32) -> Value {
    let tables: Vec<Value> = TABLES
        .iter()
        .filter(|table| table.since <= version)
        .map(|table| {
            let columns: Vec<Value> = table
                .wire_columns()
                .filter(|(at, column)| *at != table.id_column() && column.field.since <= version)
                .map(|(_, column)| {
                    let mut entry = json!({
                        "name": column.name,
                        "type": watermelon_type(column.field.kind),
                        "optional": column.nullable && !column.field.required,
                        "writable": column.field.writable(),
                        "since": column.field.since,
                    });
                    if let Some(holds) = column.field.kind.holds() {
                        entry["holds"] = holds.into();
                    }
                    if let Kind::Code(words) = column.field.kind {
                        entry["words"] = json!(words);
                    }
                    entry
                })
                .collect();
            json!({"name": table.name, "since": table.since, "columns": columns})
        })
        .collect();
    json!({"version": (*SCHEMA_VERSION).min(version), "min_version": MIN_SCHEMA_VERSION, "tables": tables})
}

fn watermelon_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int(..) | Kind::Real(..) | Kind::Instant => "number",
        Kind::Bool => "boolean",
        _ => "string",
    }
}
