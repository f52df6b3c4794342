//! `GET /sync` and `POST /sync`: WatermelonDB's own contract, for an app that knows nothing else.

use actix_web::{HttpRequest, HttpResponse, web};
use entities::registry::{SCHEMA_VERSION, table};
use entities::sync::{self, Migration, Numbered, PullRequest, PushRequest};
use serde_json::{Value, json};

use super::asked::{Query, number};
use super::{answer, asked, told};
use crate::body;
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) async fn pull(req: HttpRequest, state: web::Data<State>, session: Session, query: Query) -> Answer {
    let request = PullRequest {
        told: told::read(&req),
        cursor: cursor(query.get("last_pulled_at"))?,
        limit: asked::limit(query.get("limit"), asked::MAX_LIMIT)?,
        schema_version: asked::schema_version(query.get("schema_version"))?,
        migration: migration(query.get("migration"))?,
        epoch: asked::epoch(&query)?,
        salvaged: number(&query, "salvaged")?,
        pending: pending(query.get("pending"))?,
    };
    if let Some((timestamp, epoch)) = state.quiet.unchanged(&state.store, &session.actor, &request).await?
        && request.epoch.is_none_or(|known| known == epoch)
    {
        return answer::json(&req, &sync::page::nothing(request.schema_version, timestamp, epoch)?);
    }
    // On the heap, since most pulls end above and every one would have to carry the room for it.
    Box::pin(changes(req, state, session, request)).await
}

async fn changes(req: HttpRequest, state: web::Data<State>, session: Session, request: PullRequest) -> Answer {
    let mut pull = sync::pull(&state.store, &session.actor, &request).await?;
    if !pull.live.is_empty() || !pull.gone.is_empty() {
        session.confirm(pull.connection(), state.store.clock().now()).await?;
    }
    let body = sync::page::watermelon(&pull, answer::Body::of(&req, pull.rows())).await?;
    pull.remember(&state.quiet, &session.actor);
    let note = pull.note();
    drop(pull);
    told::keep(&state, note);
    body.send()
}

pub(super) async fn push(
    req: HttpRequest,
    state: web::Data<State>,
    session: Session,
    query: Query,
    payload: web::Payload,
) -> Answer {
    let version = asked::schema_version(query.get("schema_version"))?;
    let sent = query.get("last_pulled_at");
    let body = asked::body(&req, payload).await?;
    let named = body.get("lastPulledAt").and_then(crate::form::whole);
    let last_pulled_at = match (sent, named) {
        (Some(sent), _) => cursor(Some(sent))?,
        (None, Some(named)) => named.max(0),
        (None, None) => return Err(Problem::malformed("last_pulled_at is missing: pull before you push")),
    };
    let (epoch, numbered) = (asked::epoch(&query)?, numbered(&query)?);
    match sync::push(&state.store, &session.actor, PushRequest { last_pulled_at, epoch, body, numbered }).await {
        // An app that says it is newer than this server keeps what is in its new tables as not sent, until there is a
        // server that knows them.
        Ok(push) if version > *SCHEMA_VERSION && !push.unknown.is_empty() => {
            Ok(HttpResponse::Ok().json(json!({"experimentalRejectedIds": push.unknown})))
        }
        Ok(_) => Ok(HttpResponse::Ok().json(json!({}))),
        Err(refusal) => Err(asked::refused(refusal)),
    }
}

pub(super) async fn schema(query: Query, _session: Session) -> Answer {
    let version = asked::schema_version(query.get("version"))?;
    Ok(HttpResponse::Ok().json(sync::schema::describe(version)))
}

/// Whether the app holds work that was not sent yet. A word that is neither yes nor no is refused: taking it for no
/// could cost that work.
fn pending(sent: Option<&str>) -> Result<bool, Problem> {
    match asked::word(sent) {
        Some("1" | "true") => Ok(true),
        None | Some("0" | "false") => Ok(false),
        Some(_) => Err(Problem::malformed("pending must be 1 or 0")),
    }
}

/// The app's count of its pushes; an app that keeps none is served all the same.
fn numbered(query: &Query) -> Result<Option<Numbered>, Problem> {
    let Some(number) = number(query, "push")? else { return Ok(None) };
    let acked = asked::number(query, "acked")?.unwrap_or(0);
    Ok(Some(Numbered { number, acked }))
}

/// The documented client builds `last_pulled_at=null` literally on its first sync.
fn cursor(sent: Option<&str>) -> Result<i64, Problem> {
    match asked::word(sent) {
        None => Ok(0),
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(number),
            _ => Err(Problem::malformed("last_pulled_at must be the timestamp of the last reply, or null")),
        },
    }
}

/// `{from, tables: [..], columns: [{table, columns: [..]}]}`; names this server does not know are
/// left out.
fn migration(sent: Option<&str>) -> Result<Option<Migration>, Problem> {
    let malformed = || Problem::malformed("migration must be WatermelonDB's migration argument as JSON, or null");
    let value: Value = match asked::word(sent) {
        None => return Ok(None),
        Some(text) => body::parse(text.as_bytes()).map_err(|_| malformed())?,
    };
    match value {
        Value::Null => return Ok(None),
        Value::Object(_) => (),
        _ => return Err(malformed()),
    }
    let list = |key: &str| match value.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(_) => Err(malformed()),
    };
    let known = |name: &Value| name.as_str().filter(|name| table(name).is_some()).map(str::to_owned);
    Ok(Some(Migration {
        tables: list("tables")?.iter().filter_map(known).collect(),
        columns: list("columns")?.iter().filter_map(|entry| entry.get("table").and_then(known)).collect(),
    }))
}
