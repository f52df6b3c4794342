//! `GET` and `POST /sync/rxdb/{table}/…`: what an RxDB replication of one collection calls.

use actix_web::http::Method;
use actix_web::{HttpRequest, web};
use entities::registry::{self, Table};
use entities::sync::{MAX_ROWS, rxdb};
use serde_json::json;

use super::asked::Query;
use super::{answer, asked, document, told};
use crate::openapi::schema;
use crate::operation::{Access, Op, STAFF};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

const DEFAULT_LIMIT: usize = 100;

pub(super) fn operations() -> Vec<Op> {
    let row =
        json!({"id": "0190a0b0-0000-7000-8000-000000000001", "statement": "Paint once a week", "_deleted": false});
    let edited =
        json!({"id": "0190a0b0-0000-7000-8000-000000000001", "statement": "Paint every week", "_deleted": false});
    let table = |op: Op| op.in_path("table", "The table", document::table_names());
    let version = document::schema_version();
    let many = json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": asked::MAX_LIMIT}, schema("Absent")]});
    [
        Op::new(Method::GET, "/sync/rxdb/{table}/pull", "rxdb_pull", pull)
            .says("sync", "Pull a page of one table, as an RxDB pull handler gives it")
            .detail(
                "A page is full unless it is the last. A row that is gone is its id and _deleted. A cursor that is \
                 too old, another user's or edited brings the whole table at once; replace then says that rows which \
                 are not in it are not this user's.",
            )
            .access(Access::Recent(STAFF))
            .query("cursor", "The cursor of the last checkpoint; none on a first sync", json!({"type": "string"}))
            .query("limit", "RxDB's batchSize", many)
            .query("schema_version", "The app's schema version", version.clone())
            .gives(
                200,
                "A page",
                document::rxdb_page(),
                json!({"documents": [row], "checkpoint": {"cursor": "opaque"}, "has_more": false, "replace": false,
                    "epoch": 1}),
            )
            .errors(&[404, 426]),
        Op::new(Method::POST, "/sync/rxdb/{table}/push", "rxdb_push", push)
            .says("sync", "Push rows of one table, as an RxDB push handler sends them")
            .detail(
                "Answers the rows that were not stored as sent and that the client did not know as they stand. \
                 Columns are compared one by one, and only those that a client may write. 409 epoch_changed, where \
                 the request names its epoch: a backup was restored; offer what the device holds, and push again.",
            )
            .access(Access::Roles(STAFF))
            .query("epoch", "The epoch of the last page of the table", document::number(0))
            .query("schema_version", "The app's schema version", version)
            .takes(document::rxdb_rows(), json!([{"assumedMasterState": row, "newDocumentState": edited}]))
            .gives(200, "Rows in conflict, as they stand", document::documents(), json!([]))
            .errors(&[404, 409, 413, 415, 426]),
    ]
    .map(table)
    .into()
}

async fn pull(
    req: HttpRequest,
    state: web::Data<State>,
    session: Session,
    path: web::Path<String>,
    query: Query,
) -> Answer {
    let request = rxdb::PullRequest {
        table: known(&path)?,
        cursor: asked::word(query.get("cursor")),
        limit: limit(query.get("limit"))?,
        schema_version: asked::schema_version(query.get("schema_version"))?,
        told: told::read(&req),
    };
    let keys = state.cursor_keys().await?;
    let key = keys.first().ok_or_else(|| Problem::Internal("there is no signing key".into()))?;
    let mut page = rxdb::pull(&state.store, &session.actor, &request, &keys).await?;
    if !page.is_empty() {
        session.confirm(page.connection(), state.store.clock().now()).await?;
    }
    let body = page.body(key).await?;
    let note = page.note();
    drop(page);
    told::keep(&state, note);
    answer::json(&req, &body)
}

async fn push(
    req: HttpRequest,
    state: web::Data<State>,
    session: Session,
    path: web::Path<String>,
    query: Query,
    payload: web::Payload,
) -> Answer {
    let table = known(&path)?;
    let epoch = asked::epoch(&query)?;
    let schema_version = asked::schema_version(query.get("schema_version"))?;
    let body = asked::body(&req, payload).await?;
    let malformed = || Problem::malformed("the body must be a list of {assumedMasterState, newDocumentState}");
    let list = body.as_array().ok_or_else(malformed)?;
    if list.len() > MAX_ROWS {
        return Err(asked::too_many_rows());
    }
    let rows: Option<Vec<_>> = list.iter().map(rxdb::Pushed::read).collect();
    let rows = rows.ok_or_else(malformed)?;
    let masters = rxdb::push(&state.store, &session.actor, table, &rows, epoch, schema_version).await;
    let masters = masters.map_err(asked::refused)?;
    answer::json(&req, json!(masters).to_string().as_bytes())
}

/// A page shorter than its client asked for would be taken for the last, so more than can be given is refused.
fn limit(sent: Option<&str>) -> Result<usize, Problem> {
    let limit = asked::limit(sent, usize::MAX)?.unwrap_or(DEFAULT_LIMIT);
    if limit > asked::MAX_LIMIT {
        return Err(Problem::malformed(format!(
            "limit must be at most {}: choose a smaller batchSize",
            asked::MAX_LIMIT
        )));
    }
    Ok(limit)
}

/// The table of that name. Of one whose rows this role never sees the device may hold some from before its user had it,
/// and work on them.
fn known(name: &str) -> Result<&'static Table, Problem> {
    registry::table(name).ok_or(Problem::NotFound)
}
