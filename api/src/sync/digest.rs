//! Verify and heal: compare what a phone holds with what it should hold, and mend row by row.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::access;
use entities::registry::{self, is_id};
use entities::sync::{self, MAX_ROWS, digest};
use serde_json::{Value, json};

use super::asked::Query;
use super::document;
use crate::body::JsonBody;
use crate::columns::ID;
use crate::openapi::schema;
use crate::operation::{Access, Op, STAFF};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    let id = "0190a0b0-0000-7000-8000-000000000002";
    let sum = json!({"goals": {"rows": 3, "hash": "00f1a2b3c4d5e6f7"}});
    let row = json!({"type": "object", "required": ["table", "id"],
        "properties": {"table": {"type": "string"}, "id": {"type": "string", "pattern": ID}}});
    vec![
        Op::new(Method::GET, "/sync/digest", "digest", read)
            .says("sync", "Rows and hash of each table, by case")
            .detail(
                "A table's hash is the sum modulo 2^64 of its rows' fingerprints; a fingerprint is the first 8 bytes \
                 of SHA-256 over id:updated_at in milliseconds, big-endian. With case_id: that case's ids and \
                 updated_at, to find the rows that differ. With table: the same of that table's rows that belong to no \
                 case (persons, staff, organizations), which are summed up in other.",
            )
            .access(Access::Roles(STAFF))
            .query("scope", "case, the only one", json!({"enum": ["case"]}))
            .query("case_id", "One case's rows instead of hashes", json!({"type": "string"}))
            .query("table", "Rows of this table that belong to no case instead of hashes", document::table_names())
            .gives(
                200,
                "The digest",
                schema("Digest"),
                json!({"head": 1_800_000_000_000_i64, "cases": [{"case_id": id, "tables": sum}], "other": {}}),
            ),
        Op::new(Method::POST, "/sync/repair", "repair", repair)
            .says("sync", "Have rows sent to this device again with the next pull")
            .access(Access::Roles(STAFF))
            .takes(
                json!({"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array",  "items": row}}}),
                json!({"rows": [{"table": "goals", "id": id}]}),
            )
            .gives(200, "How many will come", document::count("rows"), json!({"rows": 1})),
    ]
}

async fn read(state: web::Data<State>, session: Session, query: Query) -> Answer {
    if query.get("scope").is_some_and(|scope| scope != "case") {
        return Err(Problem::malformed("scope must be case"));
    }
    let table = query.get("table").map(|name| {
        registry::table(name).ok_or_else(|| Problem::malformed("table must be the name of a synced table"))
    });
    let table = table.transpose()?;
    if table.is_some() && query.get("case_id").is_some() {
        return Err(Problem::malformed("table lists what belongs to no case, so it does not go with case_id"));
    }
    let snapshot = access::settled_view(&state.store, &session.actor.agency_id).await?;
    if let Some(table) = table {
        let tables = digest::others_of(&*snapshot, &session.actor, table).await?;
        return Ok(HttpResponse::Ok().json(json!({"case_id": null, "tables": tables})));
    }
    if let Some(case) = query.get("case_id") {
        if !is_id(case) {
            return Ok(HttpResponse::Ok().json(json!({"case_id": case, "tables": {}})));
        }
        let tables = digest::rows_of(&*snapshot, &session.actor, case).await?;
        return Ok(HttpResponse::Ok().json(json!({"case_id": case, "tables": tables})));
    }
    let line = sync::timeline(&*snapshot, &session.actor.agency_id).await?;
    let mut body = digest::by_case(&*snapshot, &session.actor).await?;
    body["head"] = line.head.into();
    Ok(HttpResponse::Ok().json(body))
}

async fn repair(state: web::Data<State>, session: Session, body: JsonBody) -> Answer {
    let list = body.0.get("rows").and_then(Value::as_array).cloned();
    let list = list.ok_or_else(|| Problem::malformed("rows must be a list of {table, id}"))?;
    if list.len() > MAX_ROWS {
        return Err(Problem::TooLarge { max_bytes: crate::body::Limits::REST.inflated, max_rows: Some(MAX_ROWS) });
    }
    let mut rows = Vec::with_capacity(list.len());
    for (at, row) in list.iter().enumerate() {
        match (row.get("table").and_then(Value::as_str), row.get("id").and_then(Value::as_str)) {
            (Some(table), Some(id)) if is_id(id) => rows.push((table.to_owned(), id.to_owned())),
            _ => return Err(Problem::malformed(format!("rows/{at} must be an object with table and id"))),
        }
    }
    let count = digest::repair(&state.store, &session.actor, &rows).await?;
    Ok(HttpResponse::Ok().json(json!({"rows": count})))
}
