//! What the document says of the bodies of sync, in each of the three dialects: read from the registry.
//!
//! A push takes more than this: a value that does not fit its column is mended or kept and told, never refused, and
//! what the server does not know is left aside. The schemas say what a good body is; docs/sync.md, what becomes of
//! any other.

use entities::registry::{Column, Face, MIN_SCHEMA_VERSION, TABLES, Table};
use entities::sync::MAX_ROWS;
use serde_json::{Map, Value, json};

use crate::columns::{self, ID};
use crate::openapi::schema;
use crate::rest::singular;

/// An id for examples.
pub(super) const AN_ID: &str = "0190a0b0-0000-7000-8000-000000000001";
/// The largest number that a parameter can hold.
const MOST: i64 = i64::MAX;

/// The named schemas of this room.
pub fn schemas() -> Vec<(String, Value)> {
    let rows = TABLES.iter().flat_map(|table| {
        [(format!("{}Record", singular(table)), record(table)), (format!("{}Document", singular(table)), one(table))]
    });
    let rest = [
        (
            "Absent",
            json!({"enum": ["null", "undefined", ""], "description": "How JavaScript spells what is not there"}),
        ),
        ("PulledChanges", pulled_changes()),
        ("PushedChanges", pushed_changes()),
        ("Push", push()),
        ("Mutation", mutation()),
        ("MutationResult", mutation_result()),
        ("Digest", digest()),
        ("SyncSchema", tables()),
    ];
    rows.chain(rest.map(|(name, schema)| (name.to_owned(), schema))).collect()
}

/// A row of the WatermelonDB face.
fn record(table: &Table) -> Value {
    let mut properties = columns_of(table, Face::Watermelon);
    for name in ["_status", "_changed"] {
        properties.insert(
            name.into(),
            json!({"type": "string", "writeOnly": true,
            "description": "WatermelonDB's own: _changed names the columns that a device has set, between commas"}),
        );
    }
    json!({"type": "object", "required": ["id"], "properties": properties})
}

/// A row of the native and the RxDB face.
fn one(table: &Table) -> Value {
    let mut properties = columns_of(table, Face::Rest);
    properties.insert("_deleted".into(), json!({"description": "The RxDB face's: true where the row is gone"}));
    json!({"type": "object", "required": ["id"], "properties": properties})
}

fn columns_of(table: &Table, face: Face) -> Map<String, Value> {
    let mut properties: Map<String, Value> =
        table.wire_columns().map(|(_, column)| (column.name.to_owned(), columns::shape(column, face))).collect();
    properties.insert("id".into(), json!({"type": "string", "pattern": ID}));
    properties
}

fn record_of(table: &Table) -> Value {
    schema(&format!("{}Record", singular(table)))
}

fn document_of(table: &Table) -> Value {
    schema(&format!("{}Document", singular(table)))
}

/// A row of any table in the dialect of the native and the RxDB face.
pub(super) fn any_document() -> Value {
    json!({"anyOf": TABLES.iter().map(document_of).collect::<Vec<_>>()})
}

fn ids() -> Value {
    json!({"type": "array", "items": {"type": "string", "pattern": ID}})
}

/// What a pull gives of each table.
fn pulled_changes() -> Value {
    let of = |table: &Table| {
        json!({"type": "object", "required": ["created", "updated", "deleted"], "properties": {
            "created": {"type": "array", "maxItems": 0}, "updated": {"type": "array", "items": record_of(table)},
            "deleted": ids()}})
    };
    let tables: Map<String, Value> = TABLES.iter().map(|table| (table.name.to_owned(), of(table))).collect();
    json!({"type": "object", "properties": tables})
}

/// What a device sends of each table.
fn pushed_changes() -> Value {
    let lists = |row: Value| {
        let rows = json!({"type": ["array", "null"], "items": row});
        json!({"type": "object", "properties": {"created": rows, "updated": rows,
            "deleted": {"type": ["array", "null"], "description": "Ids"}}})
    };
    let mut tables: Map<String, Value> =
        TABLES.iter().map(|table| (table.name.to_owned(), lists(record_of(table)))).collect();
    // The other shape of the body has this name.
    tables.insert("changes".into(), json!(false));
    // What the server does not know, it does not look into.
    let unknown = json!({"type": ["object", "null"]});
    json!({"type": "object", "properties": tables, "additionalProperties": unknown,
        "description": format!("Rows by table; those of tables the server does not know are left aside. At most {MAX_ROWS} rows")})
}

/// The body of a push: the tables as they are, or under `changes`.
fn push() -> Value {
    let wrapped = json!({"type": "object", "required": ["changes"], "properties": {
        "changes": schema("PushedChanges"),
        "lastPulledAt": {"type": "integer", "minimum": 0, "description": "Instead of the parameter last_pulled_at"}}});
    json!({"anyOf": [schema("PushedChanges"), wrapped]})
}

/// A goal being written down, as a WatermelonDB app sends it.
pub(super) fn push_example() -> Value {
    json!({"notes": {"created": [{"id": AN_ID, "_status": "created", "_changed": "",
        "case_id": "0192f0c1-7a1b-7c00-8000-000000000001", "kind": "progress", "body": "Visited at home."}],
        "updated": [], "deleted": []}})
}

/// The answer of `GET /sync`.
pub(super) fn page() -> Value {
    json!({"type": "object", "required": ["changes", "timestamp", "has_more", "complete", "epoch"], "properties": {
        "changes": schema("PulledChanges"),
        "timestamp": {"type": "integer", "minimum": 1, "description": "A commit number; the next last_pulled_at"},
        "has_more": {"type": "boolean"}, "complete": {"type": "boolean"}, "epoch": {"type": "integer"},
        "experimentalStrategy": {"const": "replacement", "description": "The device replaces what it holds"}}})
}

/// The answer of `GET /sync/pull`.
pub(super) fn native_page() -> Value {
    let change = |op: Value, row: bool| {
        let mut change = json!({"type": "object", "required": ["seq", "table", "id", "op"], "properties": {
            "seq": {"type": "integer"}, "table": table_names(), "id": {"type": "string"}, "op": op}});
        if row {
            change["required"] = json!(["seq", "table", "id", "op", "row"]);
            change["properties"]["row"] = any_document();
        }
        change
    };
    let changes =
        json!({"anyOf": [change(json!({"const": "put"}), true), change(json!({"enum": ["del", "revoke"]}), false)]});
    json!({"type": "object", "required": ["epoch", "changes", "next_cursor", "has_more", "head"], "properties": {
        "epoch": {"type": "integer"}, "changes": {"type": "array", "items": changes}, "next_cursor": {"type": "string"},
        "has_more": {"type": "boolean"}, "head": {"type": "integer"}}})
}

/// The body of `POST /sync/push`.
pub(super) fn mutations() -> Value {
    json!({"type": "object", "required": ["mutations"], "properties": {
        "batch_id": {"type": ["string", "null"], "description": "Comes back with the answer"},
        "epoch": {"type": ["integer", "null"], "minimum": 0, "description": "The epoch of the last pull"},
        "mutations": {"type": "array",  "items": schema("Mutation")}}})
}

/// One mutation: of each table what may be set in it, and the verbs of its state machine.
fn mutation() -> Value {
    let of = |table: &'static Table, op: Value, verbs: Option<Vec<&str>>| {
        let fields: Map<String, Value> = table.writable().map(field).collect();
        let mut one = json!({"type": "object", "required": ["id", "op", "table", "row_id"], "properties": {
            "id": {"type": "string", "pattern": ID, "description": "Unique on the device; a UUID does well"},
            "op": op, "table": {"const": table.name}, "row_id": {"type": "string", "pattern": ID},
            "set": {"type": ["object", "null"], "properties": fields},
            "at": {"type": "string", "format": "date-time", "description": "The device's clock; decides nothing"}}});
        if let Some(verbs) = verbs {
            one["required"] = json!(["id", "op", "table", "row_id", "verb"]);
            // Any other is answered in its result, as whatever cannot be done is.
            one["properties"]["verb"] = json!({"type": "string", "examples": verbs});
        }
        one
    };
    let mut kinds = Vec::new();
    for table in TABLES.iter() {
        kinds.push(of(table, json!({"enum": ["create", "update", "delete"]}), None));
        let mut verbs: Vec<&str> = table.moves.iter().map(|step| step.verb).collect();
        verbs.sort_unstable();
        verbs.dedup();
        if !verbs.is_empty() {
            kinds.push(of(table, json!({"const": "action"}), Some(verbs)));
        }
    }
    json!({"anyOf": kinds})
}

/// What a field was on the device and what it is to be.
fn field(column: &Column) -> (String, Value) {
    let to = columns::shape(column, Face::Rest);
    (
        column.name.to_owned(),
        json!({"type": "object", "minProperties": 1, "additionalProperties": false,
        "properties": {"from": true, "to": to}, "description": "A null may be left out of the two"}),
    )
}

fn mutation_result() -> Value {
    let conflict = json!({"type": "object", "required": ["field", "stored", "sent"],
        "properties": {"field": {"type": "string"}, "stored": true, "sent": true}});
    json!({"type": "object", "required": ["id", "status"], "properties": {
        "id": {"type": "string"},
        "status": {"enum": ["applied", "merged", "duplicate", "conflict", "quarantined", "retry"]},
        "seq": {"type": "integer", "description": "The row's number afterwards"}, "row": any_document(),
        "conflicts": {"type": "array", "items": conflict, "description": "Fields whose stored value stayed"},
        "reason": {"type": "string", "description": "Why it was not simply applied"}}})
}

/// The answer of `POST /sync/push`.
pub(super) fn results() -> Value {
    json!({"type": "object", "required": ["batch_id", "last_mutation_id", "results"], "properties": {
        "batch_id": true, "last_mutation_id": {"type": ["string", "null"],
            "description": "The id of the last mutation in the request, whatever became of it"},
        "results": {"type": "array", "items": schema("MutationResult")}}})
}

/// The answer of a pull of the RxDB face.
pub(super) fn rxdb_page() -> Value {
    let cursor = json!({"type": "object", "required": ["cursor"], "properties": {"cursor": {"type": "string"}}});
    json!({"type": "object", "required": ["documents", "checkpoint", "has_more", "replace", "epoch"], "properties": {
        "documents": documents(), "checkpoint": cursor, "has_more": {"type": "boolean"},
        "replace": {"type": "boolean"}, "epoch": {"type": "integer"}}})
}

/// Rows of one table of the RxDB face.
pub(super) fn documents() -> Value {
    json!({"type": "array", "items": any_document()})
}

/// The body of a push of the RxDB face: rows of the table in the path.
pub(super) fn rxdb_rows() -> Value {
    let pair = |table: &Table| {
        json!({"type": "object", "required": ["newDocumentState"], "properties": {
            "assumedMasterState": {"anyOf": [document_of(table), {"type": "null"}]},
            "newDocumentState": document_of(table)}})
    };
    json!({"type": "array",  "items": {"anyOf": TABLES.iter().map(pair).collect::<Vec<_>>()}})
}

/// The name of a synced table.
pub(super) fn table_names() -> Value {
    json!({"type": "string", "enum": TABLES.iter().map(|table| table.name).collect::<Vec<_>>()})
}

fn digest() -> Value {
    let sum = json!({"type": "object", "required": ["rows", "hash"],
        "properties": {"rows": {"type": "integer", "minimum": 1}, "hash": {"type": "string", "pattern": "^[0-9a-f]{16}$"}}});
    let sums = json!({"type": "object", "additionalProperties": sum});
    let case = json!({"type": "object", "required": ["case_id", "tables"],
        "properties": {"case_id": {"type": "string"}, "tables": sums}});
    let row = json!({"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": ["string", "integer"]},
        "description": "The id, and updated_at in milliseconds"});
    json!({"anyOf": [
        {"type": "object", "required": ["head", "cases", "other"],
            "properties": {"head": {"type": "integer"}, "cases": {"type": "array", "items": case}, "other": sums}},
        {"type": "object", "required": ["case_id", "tables"], "properties": {"case_id": {"type": ["string", "null"]},
            "tables": {"type": "object", "additionalProperties": {"type": "array", "items": row}}}},
    ]})
}

fn tables() -> Value {
    let version = json!({"type": "integer", "minimum": 1});
    let column = json!({"type": "object", "required": ["name", "type", "optional", "writable", "since"], "properties": {
        "name": {"type": "string"}, "type": {"enum": ["string", "number", "boolean"]}, "optional": {"type": "boolean"},
        "writable": {"type": "boolean"}, "since": version, "holds": {"enum": ["text", "date", "instant", "json", "code"]},
        "words": {"type": "array", "items": {"type": "string"}}}});
    let table = json!({"type": "object", "required": ["name", "since", "columns"], "properties": {
        "name": {"type": "string"}, "since": version, "columns": {"type": "array", "items": column}}});
    json!({"type": "object", "required": ["version", "min_version", "tables"], "properties": {
        "version": version, "min_version": version, "tables": {"type": "array", "items": table}}})
}

/// An object with one number in it.
pub(super) fn count(name: &str) -> Value {
    json!({"type": "object", "required": [name], "properties": {name: {"type": "integer", "minimum": 0}}})
}

/// A whole number in the query, or what JavaScript puts there instead.
pub(super) fn number(least: i64) -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": least, "maximum": MOST}, schema("Absent")]})
}

/// The schema version of an app.
pub(super) fn schema_version() -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": MIN_SCHEMA_VERSION, "maximum": u32::MAX}, schema("Absent")]})
}

/// A sealed cursor, or none.
pub(super) fn cursor() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]*$"})
}

/// WatermelonDB's migration argument.
pub(super) fn migration() -> Value {
    let names = json!({"type": ["array", "null"], "items": {"type": "string"}});
    let column = json!({"type": "object", "required": ["table"],
        "properties": {"table": {"type": "string"}, "columns": {"type": "array", "items": {"type": "string"}}}});
    json!({"type": ["object", "null"], "properties": {"from": {"type": "integer"}, "tables": names,
        "columns": {"type": ["array", "null"], "items": column}}})
}
