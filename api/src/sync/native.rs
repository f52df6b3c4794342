//! `GET /sync/pull` and `POST /sync/push`: the native face.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use entities::registry::{is_id, table};
use entities::sync::native::{self, Mutation, MutationOp, PullRefusal, mutate, page};
use entities::sync::{MAX_ROWS, PullRequest};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::asked::Query;
use super::{answer, asked, document, told};
use crate::form;
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
                "Without a cursor the first sync begins. 409 epoch_changed: a backup was restored; offer what the \
                 device holds and pull from the start with the epoch that the answer names. 409 cursor_user_mismatch: the cursor is another user's. 410: the cursor is older than what is \
                 kept.",
            )
            .access(Access::Recent(STAFF))
            .query("cursor", "next_cursor of the last page; none for the first", document::cursor())
            .query("limit", "About how many rows to send; 2,000 at most", document::number(1))
            .query("epoch", "Without a cursor: the epoch of the rows that the device still holds", document::number(1))
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
                 is to be. A mutation that was answered before gets the same answer again. 409 epoch_changed, where the \
                 request names its epoch: a backup was restored; offer what the device holds, and push again with the \
                 epoch that the answer names.",
            )
            .access(Access::Roles(STAFF))
            .query("schema_version", "The app's schema version", version)
            .takes(
                document::mutations(),
                json!({"batch_id": "0190a0b0-0000-7000-8000-0000000000ff", "epoch": 1, "mutations": [mutation]}),
            )
            .gives(
                200,
                "Results in the order sent; status is applied, merged, duplicate, conflict, quarantined or retry",
                document::results(),
                json!({"batch_id": "0190a0b0-0000-7000-8000-0000000000ff", "last_mutation_id": "0190a0b0-0000-7000-8000-00000000000a",
                    "results": [{"id": "0190a0b0-0000-7000-8000-00000000000a", "status": "applied"}]}),
            )
            .errors(&[409, 413, 415, 426]),
    ]
}

async fn pull(req: HttpRequest, state: web::Data<State>, session: Session, query: Query) -> Answer {
    let keys = state.cursor_keys().await?;
    let request = PullRequest {
        told: told::read(&req),
        limit: asked::limit(query.get("limit"), asked::MAX_LIMIT)?.or(Some(DEFAULT_LIMIT)),
        schema_version: asked::schema_version(query.get("schema_version"))?,
        epoch: asked::epoch(&query)?,
        ..PullRequest::default()
    };
    let sealed = query.get("cursor").filter(|text| !text.is_empty());
    let pulled = native::pull(&state.store, &session.actor, request, sealed, &keys).await;
    let mut pull = pulled.map_err(|refusal| match refusal {
        PullRefusal::Unreadable => Problem::malformed("cursor must be the next_cursor of an earlier page"),
        PullRefusal::AnotherUsers => conflict("cursor_user_mismatch", "this cursor was made for another user"),
        PullRefusal::EpochChanged(epoch) => Problem::EpochChanged { epoch },
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
    let (list, mutations) = read(&body)?;
    // A table this server does not know is answered, never refused: the app may be newer.
    let known: Vec<Mutation> = mutations.iter().filter_map(|read| read.as_ref().ok().cloned()).collect();
    let epoch = body.get("epoch").and_then(form::whole).filter(|epoch| *epoch > 0);
    let results = mutate(&state.store, &session.actor, &known, epoch, schema_version).await.map_err(asked::refused)?;
    let mut results = results.into_iter();
    let mut answers = Vec::with_capacity(list.len());
    for read in &mutations {
        answers.extend(match read {
            Ok(_) => results.next(),
            Err(id) => {
                let unknown = json!({"id": id, "status": "conflict", "reason": "this server knows no such table"});
                Some(to_raw_value(&unknown).map_err(|err| Problem::Internal(err.to_string()))?)
            }
        });
    }
    Ok(HttpResponse::Ok().json(Answered {
        batch_id: body.get("batch_id"),
        last_mutation_id: list.last().and_then(|item| item.get("id")),
        results: answers,
    }))
}

#[derive(Serialize)]
struct Answered<'a> {
    batch_id: Option<&'a Value>,
    last_mutation_id: Option<&'a Value>,
    results: Vec<Box<RawValue>>,
}

/// What is read of each mutation of a body; see `mutation`.
type Read = Vec<Result<Mutation, String>>;

/// The mutations of a body, as they stand there and read.
pub(super) fn read(body: &Value) -> Result<(&Vec<Value>, Read), Problem> {
    let list = body.get("mutations").and_then(Value::as_array);
    let list = list.ok_or_else(|| Problem::malformed("mutations must be a list"))?;
    if list.len() > MAX_ROWS {
        return Err(asked::too_many_rows());
    }
    let read = list.iter().enumerate().map(|(at, item)| mutation(at, item)).collect::<Result<_, _>>()?;
    Ok((list, read))
}

/// Reads a mutation; the inner error is the id of one whose table is not known here.
fn mutation(at: usize, item: &Value) -> Result<Result<Mutation, String>, Problem> {
    let malformed = |what: &str| Problem::malformed(format!("mutation {at}: {what}"));
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let id = text("id").filter(|id| is_id(id)).ok_or_else(|| malformed("id must be 8 to 64 of A-Z a-z 0-9 . _ -"))?;
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
    let Some(table) = table(name) else { return Ok(Err(id.to_owned())) };
    Ok(Ok(Mutation { id: id.into(), op, table, row_id: row_id.into(), set, sent: item.to_string() }))
}
