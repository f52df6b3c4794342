//! What a row said before, and bringing a value back that lost a merge or was overwritten.

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};
use entities::registry::{Merge, Table};
use entities::{Actor, Fault, Role, access, acts, history, lists};
use serde_json::{Value, json};

use super::list::witness;
use super::{document, etag, members, object, singular, watched};
use crate::body::JsonBody;
use crate::form;
use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

type Shared = web::Data<State>;

/// Those who have cases: history is the case's, not the partner's.
const READERS: &[Role] = &[Role::Caseworker, Role::Supervisor];

pub(super) fn operations(table: &'static Table) -> Vec<Op> {
    if table.append_only || !table.writers.iter().any(|role| READERS.contains(role)) {
        return Vec::new();
    }
    let one = singular(table);
    let id = "0190a0b0-0000-7000-8000-000000000001";
    let entry = json!({"seq": 1_800_000_000_000_i64, "at": "2027-01-15T08:00:00.000Z", "op": "change", "user_id": id,
        "old": {}});
    let fields: Vec<&str> = table
        .wire_columns()
        .filter_map(|(_, column)| (column.field.merge == Merge::Field).then_some(column.name))
        .collect();
    let old = json!({"type": "object", "required": ["seq", "at", "op", "user_id", "old"], "properties": {
        "seq": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}, "op": {"type": "string"},
        "user_id": {"type": ["string", "null"]}, "old": {"type": "object", "description": "The columns as they were"}}});
    let said =
        json!({"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": old}}});
    let read = move |session: Session, state: Shared, id: web::Path<String>| async move {
        let answer = read(table, &session.actor, &state, &id).await;
        watched(answer, &state, &session.actor, "history", table, &id).await
    };
    let restore = move |session: Session, state: Shared, id: web::Path<String>, body: JsonBody| async move {
        let answer = restore(table, &session, &state, &id, body).await;
        watched(answer, &state, &session.actor, "restore", table, &id).await
    };
    vec![
        Op::new(Method::GET, &format!("/{}/{{id}}/history", table.name), format!("history_{one}"), read)
            .says(table.name, "What the row said before, newest first")
            .access(Access::Roles(READERS))
            .gives(200, "Old values by commit", said, json!({"items": [entry]})),
        Op::new(Method::POST, &format!("/{}/{{id}}/restore", table.name), format!("restore_{one}"), restore)
            .says(table.name, "Bring old values back, as a change of their own")
            .detail("seq names the commit in the row's history; fields names the columns, all of them when absent.")
            .access(Access::Roles(table.writers))
            .takes(
                json!({"type": "object", "required": ["seq"], "additionalProperties": false, "properties": {
                    "seq": {"type": "integer", "minimum": 0, "maximum": i64::MAX},
                    "fields": {"type": ["array", "null"], "items": {"enum": fields}}}}),
                json!({"seq": 1_800_000_000_000_i64}),
            )
            .gives(200, "The row", document::reference(table), document::example(table))
            .with(&["ETag"])
            .errors(&[404, 409]),
    ]
}

async fn read(table: &'static Table, actor: &Actor, state: &State, id: &str) -> Answer {
    let snapshot = access::settled_view(&state.store, &actor.agency_id).await?;
    let row = lists::one(&*snapshot, table, actor.user(), id).await?;
    let kept = history::of(&*snapshot, table, id).await?;
    let (items, stood) = history::shown_to(&*snapshot, &row, kept, actor.user()).await?;
    drop(snapshot);
    // Once, whether the row is restricted now or was.
    let mut restricted = None;
    for row in stood.into_iter().chain([row]) {
        if table.watched(&row, actor)? {
            restricted = Some(row);
        }
    }
    witness(&state.store, actor, restricted.as_slice()).await?;
    Ok(HttpResponse::Ok().json(json!({"items": items})))
}

async fn restore(table: &'static Table, session: &Session, state: &State, id: &str, body: JsonBody) -> Answer {
    let body = members(body.0)?;
    let mut faults = Vec::new();
    let seq = body.get("seq").and_then(form::whole);
    if seq.is_none() {
        faults.push(Fault::field("seq", "required", "must be a commit number of the row's history"));
    }
    let fields: Option<Vec<String>> = match body.get("fields") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    if fields.is_none() {
        faults.push(Fault::field("fields", "wrong_type", "must be a list of column names"));
    }
    for name in body.keys().filter(|name| !["seq", "fields"].contains(&name.as_str())) {
        faults.push(Fault::field(name, "unknown_field", "is not known here"));
    }
    let (Some(seq), Some(fields), true) = (seq, fields, faults.is_empty()) else {
        return Err(Problem::Invalid(faults));
    };
    let mut write = state.store.write(&session.actor).await?;
    if !access::sees(write.conn(), session.actor.user(), table.name, id).await? {
        return Err(Problem::NotFound);
    }
    let values = history::values_at(write.conn(), table, id, seq, &fields).await?;
    let now = write.row(table, id).await?.ok_or(Problem::NotFound)?;
    let row = acts::put_back(&mut write, table, id, now.seq(), &values).await?;
    write.note("restored", format!("values of commit {seq}"));
    let at = write.now();
    write.commit().await?;
    let answer = object(&row, &session.actor, at)?;
    Ok(HttpResponse::Ok().insert_header((header::ETAG, etag(&row))).json(answer))
}
