//! Pages of rows.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use entities::lists::{self, Page, Wanted};
use entities::registry::{Kind, Row, Table};
use entities::{Actor, Fault, Instant, Role, Store, access};
use serde_json::{Value, json};

use super::{cursor, document, object, singular};
use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

const MOST: usize = 200;
const USUAL: usize = 50;
const AN_ID: &str = "[A-Za-z0-9._-]{8,64}";

pub(super) fn operation(table: &'static Table) -> Op {
    let handler = move |session: Session, state: web::Data<State>, req: HttpRequest| async move {
        list(table, &session, &state, &req).await
    };
    let number = json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL});
    let instant = json!({"type": "string", "format": "date-time"});
    let mut op = Op::new(Method::GET, &format!("/{}", table.name), format!("list_{}", table.name), handler)
        .says(table.name, format!("List {} that you may see", table.name.replace('_', " ")))
        .detail(
            "Ordered by id. Read on with next_cursor until it is null; rows written meanwhile are neither skipped \
             nor repeated. A filter takes several values between commas.",
        )
        .access(Access::Roles(table.readers))
        .query("limit", "Rows in a page", number)
        .query("cursor", "next_cursor of the page before", json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}))
        .query("updated_since", "Only rows changed at this instant or later", instant);
    for column in lists::filters(table) {
        op = match column.field.kind {
            Kind::Code(words) => {
                let one = format!("({})", words.join("|"));
                op.query(column.name, "Only these", several(&one, "*", words))
            }
            _ if column.name == "id" => op.query("id", "Only these rows", several(AN_ID, "{0,99}", &[])),
            _ => op.query(column.name, "Only rows that name one of these", several(AN_ID, "{0,99}", &[])),
        };
    }
    let example = json!({"items": [document::example(table)], "next_cursor": null});
    op.gives(200, "A page", document::page(table), example).errors(&[422]).link(
        "one",
        format!("get_{}", singular(table)),
        ("id", "$response.body#/items/0/id"),
    )
}

/// Values between commas, each of this pattern; the first is followed by so many.
fn several(one: &str, more: &str, examples: &[&str]) -> Value {
    let mut schema = json!({"type": "string", "pattern": format!("^{one}(,{one}){more}$")});
    if !examples.is_empty() {
        schema["examples"] = json!(examples);
    }
    schema
}

async fn list(table: &'static Table, session: &Session, state: &State, req: &HttpRequest) -> Answer {
    let actor = &session.actor;
    let (wanted, question) = read(table, actor, state, req.query_string())?;
    let snapshot = access::settled_view(&state.store, &actor.agency_id).await?;
    let page = lists::page(&*snapshot, table, actor.user(), actor.role == Role::Partner, &wanted).await?;
    drop(snapshot);
    witness(&state.store, actor, &page.rows).await?;
    Ok(HttpResponse::Ok().json(answer(state, &question, &page, actor)?))
}

fn answer(state: &State, question: &str, page: &Page, actor: &Actor) -> Answer<Value> {
    let now = state.store.clock().now();
    let items = page.rows.iter().map(|row| object(row, actor, now)).collect::<entities::Result<Vec<_>>>()?;
    let next = page.rows.last().filter(|_| page.more);
    let next = next.map(|row| cursor::seal(&state.config.keys, question, row.id()));
    Ok(json!({"items": items, "next_cursor": next}))
}

/// Tells in the audit trail which restricted rows were read.
pub(crate) async fn witness(store: &Store, actor: &Actor, rows: &[Row]) -> Answer<()> {
    let mut watched = Vec::new();
    for row in rows {
        if row.table.watched(row, actor)? {
            watched.push(row);
        }
    }
    if watched.is_empty() {
        return Ok(());
    }
    let mut write = store.write(actor).await?;
    write.note("read_restricted", "");
    for row in watched {
        write.witness(row.table, row.id());
    }
    write.commit().await?;
    Ok(())
}

/// Reads the query; also gives what a cursor is bound to.
fn read(table: &'static Table, actor: &Actor, state: &State, query: &str) -> Answer<(Wanted, String)> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|_| Problem::malformed("the query cannot be read"))?
        .into_inner();
    let mut wanted = Wanted::first(USUAL);
    let mut faults = Vec::new();
    let mut question = format!("{} {}", table.name, actor.user());
    let mut cursor = None;
    let mut seen = Vec::new();
    for (name, value) in pairs {
        if seen.contains(&name) {
            faults.push(Fault::field(&name, "repeated", "may be given once, with commas between its values"));
        } else if name == "limit" {
            match value.parse() {
                Ok(limit @ 1..=MOST) => wanted.limit = limit,
                _ => faults.push(Fault::field("limit", "out_of_range", "must be from 1 to 200")),
            }
        } else if name == "cursor" {
            cursor = Some(value);
        } else {
            question.push_str(&format!(" {name}={value}"));
            if name == "updated_since" {
                // A plus sign in a query means a blank; in an offset it can mean nothing else.
                wanted.updated_since = Instant::parse(&value.replace(' ', "+"));
                if wanted.updated_since.is_none() {
                    faults.push(Fault::field("updated_since", "instant", "must be an instant in RFC 3339"));
                }
            } else if let Err(fault) = wanted.filter(table, &name, &value) {
                faults.push(fault);
            }
        }
        seen.push(name);
    }
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    if let Some(cursor) = cursor {
        wanted.after = Some(cursor::open(&state.config.keys, &question, &cursor)?);
    }
    Ok((wanted, question))
}
