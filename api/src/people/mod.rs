//! Agencies, teams, users, holidays and devices over REST, for those who manage them.
//!
//! None of these is synced (phones get `staff`), so they are written by hand and not by the
//! registry. Each write goes through the write door and is confirmed in its transaction.

mod addresses;
mod agencies;
mod devices;
mod holidays;
mod passwords;
mod teams;
mod users;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use entities::Write;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::entity_tag::Tags;
use crate::form::{Form, line_shape, or_null};
use crate::operation::Op;
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

/// Every operation of this room.
pub fn operations() -> Vec<Op> {
    [
        agencies::operations(),
        teams::operations(),
        users::operations(),
        holidays::operations(),
        devices::operations(),
        passwords::operations(),
        addresses::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Schemas of this room.
pub fn schemas() -> Vec<(String, Value)> {
    [
        agencies::schemas(),
        teams::schemas(),
        users::schemas(),
        holidays::schemas(),
        devices::schemas(),
        addresses::schemas(),
    ]
    .into_iter()
    .flatten()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect()
}

/// Opens the write door for the caller and makes sure that they may still pass.
async fn open_door(state: &State, session: &Session) -> Result<Write, Problem> {
    let write = state.store.write(&session.actor).await?;
    session.confirm(write.conn(), write.now()).await?;
    Ok(write)
}

/// Commits, and makes what was changed hold in this process at the next request.
async fn close_door(state: &State, write: Write) -> Result<(), Problem> {
    write.commit().await?;
    state.recent.forget();
    Ok(())
}

/// Compares If-Match with the version the row has.
///
/// # Errors
/// 428 without the header, 400 when it is no tag, 412 when the row has another version.
fn precondition(req: &HttpRequest, rev: i64) -> Result<(), Problem> {
    let tags = Tags::of(req, header::IF_MATCH)?.ok_or(Problem::PreconditionRequired)?;
    if tags.name(rev) { Ok(()) } else { Err(Problem::Stale) }
}

fn etag(rev: i64) -> String {
    format!("\"{rev}\"")
}

fn row(status: StatusCode, rev: i64, body: Value) -> Answer {
    Ok(HttpResponseBuilder::new(status).insert_header((header::ETAG, etag(rev))).json(body))
}

fn list(items: Vec<Value>, next_cursor: Option<String>) -> Answer {
    Ok(HttpResponse::Ok().json(json!({"items": items, "next_cursor": next_cursor})))
}

/// Which page of a list is asked for.
#[derive(Debug, Deserialize)]
struct Paging {
    limit: Option<u64>,
    cursor: Option<String>,
}

impl Paging {
    /// Rows in the page.
    ///
    /// # Errors
    /// 422 for a number of rows that no page has, 400 for a cursor that no page gave.
    fn limit(&self) -> Result<u64, Problem> {
        if self.after().contains('\0') {
            return Err(Problem::malformed("the cursor is none"));
        }
        let limit = self.limit.unwrap_or(50);
        if (1..=200).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::invalid("limit", "out_of_range", "must be from 1 to 200"))
    }

    /// The id after which it begins.
    fn after(&self) -> &str {
        self.cursor.as_deref().unwrap_or_default()
    }

    /// The page, of rows that were read by one more than `limit` to see whether there are more.
    fn answer<T>(&self, mut found: Vec<T>, id: fn(&T) -> &str, view: fn(&T) -> Value) -> Answer {
        let limit = usize::try_from(self.limit()?).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| id(last).to_owned());
        list(found.iter().map(view).collect(), next)
    }
}

/// A member that may be left as it is, cleared by null, or set.
fn set_line(form: &mut Form, name: &str, max: usize, slot: &mut Option<String>) {
    if form.has(name) {
        *slot = form.maybe_line(name, max);
    }
}

/// A member that may be left as it is or set, and never cleared.
fn replace_line(form: &mut Form, name: &str, max: usize, slot: &mut String) {
    if form.has(name) {
        *slot = form.line(name, max);
    }
}

const AN_ID: &str = "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a00";
const ANOTHER_ID: &str = "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a01";

fn text() -> Value {
    json!({"type": "string"})
}

fn maybe_text() -> Value {
    json!({"type": ["string", "null"]})
}

fn instant() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

/// The id of a row that a body names, or null.
fn maybe_id() -> Value {
    or_null(line_shape(64))
}

/// A page of a list, as its schema.
fn page(of: &str) -> Value {
    json!({"type": "object", "required": ["items", "next_cursor"], "properties": {
        "items": {"type": "array", "items": crate::openapi::schema(of)}, "next_cursor": maybe_text()}})
}

fn page_example(item: Value) -> Value {
    json!({"items": [item], "next_cursor": null})
}
