//! `GET /sync/pull` and `POST /sync/push`: the native face.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use entities::registry::{is_id, table};
use entities::sync::native::{self, Mutation, MutationOp, PullRefusal, mutate, page};
use entities::sync::{MAX_ROWS, PullRequest};
use serde_json::{Map, Value, json};

use super::asked::Query;
use super::{answer, asked, document, told};
use crate::operation::{Access, Op, STAFF};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

const DEFAULT_LIMIT: usize = 500;

pub(super) fn operations() -> Vec<Op> {
    let change = json!({"seq": 1_800_000_000_000_i64, "table": "goals", "id": "0190a0b0-0000-7000-8000-000000000001",
        "op": "revoke"});
    let mutation = json!({"id": "0190a0b0-0000-7000-8000-00000000000a", "op": "update", "table": "goals",
        "row_id": "0190a0b0-0000-7000-8000-000000000001", "set": {"statement": {"from": null, "to": "Paint every week"}}});
    let version = document::schema_version();
    vec![
        Op::new(Method::GET, "/sync/pull", "native_pull", pull)
            .says("sync", "Pull a page from an opaque cursor")
            .detail(
                "Without a cursor the first sync begins. 409 epoch_changed: a backup was restored; pull from the \
                 start. 409 cursor_user_mismatch: the cursor is another user's. 410: the cursor is older than what is \
                 kept.",
            )
            .access(Access::Recent(STAFF))
            .query("cursor", "next_cursor of the last page; none for the first", document::cursor())
            .query("limit", "About how many rows to send; 2,000 at most", document::number(1))
            .query("schema_version", "The app's schema version", version.clone())
            .gives(
                200,
                "A page",
                document::native_page(),
                json!({"epoch": 1, "changes": [change], "next_cursor": "opaque", "has_more": false,
                    "head": 1_800_000_000_000_i64}),
            )
            .errors(&[409, 410, 426]),
        Op::new(Method::POST, "/sync/push", "native_push", push)
            .says("sync", "Push mutations, each with a result of its own")
            .detail(
                "op is create, update, delete or action (with verb). set names for each field what it was and what it \
                 is to be. A mutation that was answered before gets the same answer again.",
            )
            .access(Access::Roles(STAFF))
            .query("schema_version", "The app's schema version", version)
            .takes(
                document::mutations(),
                json!({"batch_id": "0190a0b0-0000-7000-8000-0000000000ff", "mutations": [mutation]}),
            )
            .gives(
                200,
                "Results in the order sent; status is applied, merged, duplicate, conflict, quarantined or retry",
                document::results(),
                json!({"batch_id": "0190a0b0-0000-7000-8000-0000000000ff", "last_mutation_id": "0190a0b0-0000-7000-8000-00000000000a",
                    "results": [{"id": "0190a0b0-0000-7000-8000-00000000000a", "status": "applied"}]}),
            )
            .errors(&[413, 415, 426]),
    ]
}

async fn pull(req: HttpRequest, state: web::Data<State>, session: Session, query: Query) -> Answer {
    let keys = state.config.keys.cursor_keys();
    let request = PullRequest {
        told: told::read(&req),
        limit: asked::limit(query.get("limit"), asked::MAX_LIMIT)?.or(Some(DEFAULT_LIMIT)),
        schema_version: asked::schema_version(query.get("schema_version"))?,
        ..PullRequest::default()
    };
    let sealed = query.get("cursor").filter(|text| !text.is_empty());
    let pulled = native::pull(&state.store, &session.actor, request, sealed, &keys).await;
    let mut pull = pulled.map_err(|refusal| match refusal {
        PullRefusal::Unreadable => Problem::malformed("cursor must be the next_cursor of an earlier page"),
        PullRefusal::AnotherUsers => conflict("cursor_user_mismatch", "this cursor was made for another user"),
        PullRefusal::EpochChanged => {
            conflict("epoch_changed", "a backup was restored: offer what you hold, then pull from the start")
        }
        PullRefusal::Expired => Problem::CursorExpired,
        PullRefusal::Failed(why) => why.into(),
    })?;
    if !pull.live.is_empty() || !pull.gone.is_empty() {
        session.confirm(pull.connection(), state.store.clock().now()).await?;
    }
    let key = keys.first().ok_or_else(|| Problem::Internal("there is no signing key".into()))?;
    let body = page::native(&pull, &session.user_id, key).await?;
    let note = pull.note();
    drop(pull);
    told::keep(&state, note);
    answer::json(&req, &body)
}

fn conflict(code: &'static str, detail: &str) -> Problem {
    Problem::Conflict { code, detail: detail.into(), conflicts: Vec::new() }
}

async fn push(
    req: HttpRequest,
    state: web::Data<State>,
    session: Session,
    query: Query,
    payload: web::Payload,
) -> Answer {
    let schema_version = asked::schema_version(query.get("schema_version"))?;
    let body = asked::body(&req, payload).await?;
    let list = body
        .get("mutations")
        .and_then(Value::as_array)
        .ok_or_else(|| Problem::malformed("mutations must be a list"))?;
    if list.len() > MAX_ROWS {
        return Err(asked::too_many_rows());
    }
    let mutations = list.iter().enumerate().map(|(at, item)| mutation(at, item)).collect::<Result<Vec<_>, _>>()?;
    // A table this server does not know is answered, never refused: the app may be newer.
    let known: Vec<Mutation> = mutations.iter().filter_map(|read| read.as_ref().ok().cloned()).collect();
    let mut results = mutate(&state.store, &session.actor, &known, schema_version).await?.into_iter();
    let mut answers = Vec::with_capacity(list.len());
    for read in &mutations {
        answers.push(match read {
            Ok(_) => json!(results.next()),
            Err(id) => json!({"id": id, "status": "conflict", "reason": "this server knows no such table or row id"}),
        });
    }
    let last = list.last().and_then(|item| item.get("id")).cloned().unwrap_or(Value::Null);
    let batch = body.get("batch_id").cloned().unwrap_or(Value::Null);
    Ok(HttpResponse::Ok().json(json!({"batch_id": batch, "last_mutation_id": last, "results": answers})))
}

/// Reads a mutation; the inner error is the id of one whose table or row cannot be known here.
fn mutation(at: usize, item: &Value) -> Result<Result<Mutation, String>, Problem> {
    let malformed = |what: &str| Problem::malformed(format!("mutation {at}: {what}"));
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let id = text("id").filter(|id| is_id(id)).ok_or_else(|| malformed("id must be a UUID"))?;
    let op = match text("op") {
        Some("create") => MutationOp::Create,
        Some("update") => MutationOp::Update,
        Some("delete") => MutationOp::Delete,
        Some("action") => {
            MutationOp::Action(text("verb").ok_or_else(|| malformed("an action needs its verb"))?.to_owned())
        }
        _ => return Err(malformed("op must be create, update, delete or action")),
    };
    let set = match item.get("set") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(set)) => set.clone(),
        Some(_) => return Err(malformed("set must be an object of fields")),
    };
    let name = text("table").ok_or_else(|| malformed("table is missing"))?;
    let row_id = text("row_id").ok_or_else(|| malformed("row_id is missing"))?;
    let Some(table) = table(name).filter(|_| is_id(row_id)) else { return Ok(Err(id.to_owned())) };
    Ok(Ok(Mutation { id: id.into(), op, table, row_id: row_id.into(), set, sent: item.to_string() }))
}
