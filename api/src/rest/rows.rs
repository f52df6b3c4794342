//! One row: read, make, change, move, delete.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use entities::registry::{Row, Table, is_id};
use entities::{Actor, Role, access, acts, lists};
use serde_json::Value;

use super::list::witness;
use super::{document, etag, members, object, singular, watched};
use crate::body::{JsonBody, MaybeBody};
use crate::entity_tag::Tags;
use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

type Shared = web::Data<State>;

/// The operations of a table on single rows; writes only where somebody may write.
pub(super) fn operations(table: &'static Table) -> Vec<Op> {
    let mut all = vec![get_operation(table)];
    if !table.writers.is_empty() && table.writable().count() > 1 {
        // A row whose id is the server's to give is one that only the server makes.
        if table.columns[table.id_column()].field.writable() {
            all.push(post_operation(table));
        }
        if !table.append_only {
            all.push(patch_operation(table));
        }
    }
    if table.deletes {
        all.push(delete_operation(table));
    }
    all.extend(move_operations(table));
    all
}

fn get_operation(table: &'static Table) -> Op {
    let one = singular(table);
    let get = move |session: Session, state: Shared, req: HttpRequest, id: web::Path<String>| async move {
        let answer = get(table, &session.actor, &state, &req, &id).await;
        watched(answer, &state, &session.actor, "get", table, &id).await
    };
    Op::new(Method::GET, &format!("/{}/{{id}}", table.name), format!("get_{one}"), get)
        .says(table.name, format!("Read one of the {}", table.name.replace('_', " ")))
        .detail("ETag is the row's version; If-None-Match answers 304 while it has not changed.")
        .access(Access::Roles(table.readers))
        .header("If-None-Match", false, "ETag of the copy you hold")
        .gives(200, "The row", document::reference(table), document::example(table))
        .with(&["ETag"])
        .answers(304, "Not changed", None)
        .with(&["ETag"])
}

fn post_operation(table: &'static Table) -> Op {
    let one = singular(table);
    let post = move |session: Session, state: Shared, body: JsonBody| async move {
        let about = ["case_id", "id"].iter().find_map(|name| body.0.get(*name)?.as_str().map(str::to_owned));
        let answer = create(table, &session.actor, &state, body).await;
        watched(answer, &state, &session.actor, "create", table, &about.unwrap_or_default()).await
    };
    Op::new(Method::POST, &format!("/{}", table.name), format!("create_{one}"), post)
        .says(table.name, format!("Add to the {}", table.name.replace('_', " ")))
        .detail(
            "The body may carry the id. The same call again with the same id and content answers 200 with the row. \
             Fields that are unknown or set by the server are refused.",
        )
        .access(Access::Roles(table.writers))
        .takes(document::draft(table), document::draft_example(table))
        .gives(201, "Made; Location says where", document::reference(table), document::example(table))
        .with(&["ETag", "Location"])
        .gives(200, "It was there already", document::reference(table), document::example(table))
        .with(&["ETag", "Location"])
        .errors(&[404, 409])
        .link("read", format!("get_{one}"), ("id", "$response.body#/id"))
}

fn patch_operation(table: &'static Table) -> Op {
    let one = singular(table);
    let patch = move |session: Session, state: Shared, req: HttpRequest, id: web::Path<String>, body: JsonBody| async move {
        let answer = edit(table, &session.actor, &state, &req, &id, body).await;
        watched(answer, &state, &session.actor, "change", table, &id).await
    };
    Op::new(Method::PATCH, &format!("/{}/{{id}}", table.name), format!("change_{one}"), patch)
        .says(table.name, format!("Change one of the {}", table.name.replace('_', " ")))
        .detail(
            "A JSON merge patch: what is absent stays, null empties, inside objects too. State changes by moves only.",
        )
        .access(Access::Roles(table.writers))
        .if_match(true)
        .takes_as("application/merge-patch+json", document::patch(table), document::patch_example(table))
        .gives(200, "Changed", document::reference(table), document::example(table))
        .with(&["ETag"])
        .errors(&[409, 412, 428])
}

fn delete_operation(table: &'static Table) -> Op {
    let delete = move |session: Session, state: Shared, req: HttpRequest, id: web::Path<String>| async move {
        let answer = remove(table, &session.actor, &state, &req, &id).await;
        watched(answer, &state, &session.actor, "delete", table, &id).await
    };
    Op::new(Method::DELETE, &format!("/{}/{{id}}", table.name), format!("delete_{}", singular(table)), delete)
        .says(table.name, "Throw a draft away")
        .detail("Only a draft, and only where the table allows it; all else is voided or withdrawn.")
        .access(Access::Roles(table.writers))
        .if_match(true)
        .answers(204, "Gone", None)
        .errors(&[409, 412, 428])
}

/// One operation for each verb; two moves of one verb are one operation.
fn move_operations(table: &'static Table) -> Vec<Op> {
    let mut verbs: Vec<&'static str> = Vec::new();
    for step in &table.moves {
        if !verbs.contains(&step.verb) && !super::cases::is_own(table, step.verb) {
            verbs.push(step.verb);
        }
    }
    verbs.into_iter().filter_map(|verb| move_operation(table, verb)).collect()
}

fn move_operation(table: &'static Table, verb: &'static str) -> Option<Op> {
    let step = table.moves.iter().find(|step| step.verb == verb)?;
    let one = singular(table);
    let act = move |session: Session, state: Shared, req: HttpRequest, id: web::Path<String>, body: MaybeBody| async move {
        let answer = act(table, verb, &session.actor, &state, &req, &id, body).await;
        watched(answer, &state, &session.actor, verb, table, &id).await
    };
    let path = format!("/{}/{{id}}/{verb}", table.name);
    let op = Op::new(Method::POST, &path, format!("{verb}_{one}"), act)
        .says(table.name, format!("Move to {}", step.to.replace('_', " ")))
        .detail(format!("From {}. If-Match is honoured where it is sent.", step.from.join(", ")))
        .access(Access::Roles(roles(step.who)))
        .if_match(false)
        .takes(document::moved(table, step), document::move_example(table, step))
        .gives(200, "Moved", document::reference(table), document::example(table))
        .with(&["ETag"])
        .errors(&[409, 412]);
    Some(op)
}

/// Roles of a move without the system's, which sends no requests.
fn roles(who: &'static [Role]) -> &'static [Role] {
    match who {
        [Role::System, rest @ ..] => rest,
        [rest @ .., Role::System] => rest,
        all => all,
    }
}

async fn get(table: &'static Table, actor: &Actor, state: &State, req: &HttpRequest, id: &str) -> Answer {
    let snapshot = access::settled_view(&state.store, &actor.agency_id).await?;
    let row = lists::one(&*snapshot, table, actor.user(), named(id)?).await?;
    drop(snapshot);
    let version = etag(&row);
    // What is no tag names no copy.
    let held = Tags::of(req, header::IF_NONE_MATCH).unwrap_or_default();
    if held.is_some_and(|held| held.name(row.seq())) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, version)).finish());
    }
    witness(&state.store, actor, std::slice::from_ref(&row)).await?;
    shown(HttpResponse::Ok(), &row, actor, state)
}

async fn create(table: &'static Table, actor: &Actor, state: &State, body: JsonBody) -> Answer {
    let body = members(body.0)?;
    let mut write = state.store.write(actor).await?;
    write.note("create", table.name);
    let made = acts::create(&mut write, table, &body).await?;
    if made.new {
        write.commit().await?;
    }
    let mut answer = if made.new { HttpResponse::Created() } else { HttpResponse::Ok() };
    answer.insert_header((header::LOCATION, format!("/api/v1/{}/{}", table.name, made.row.id())));
    shown(answer, &made.row, actor, state)
}

async fn edit(
    table: &'static Table,
    actor: &Actor,
    state: &State,
    req: &HttpRequest,
    id: &str,
    body: JsonBody,
) -> Answer {
    let body = members(body.0)?;
    let mut write = state.store.write(actor).await?;
    write.note("edit", table.name);
    let seen = seen(&write, table, actor, named(id)?, req).await?;
    let row = acts::edit(&mut write, table, id, seen, &body).await?;
    if row.seq() == write.seq() {
        write.commit().await?;
    }
    shown(HttpResponse::Ok(), &row, actor, state)
}

async fn act(
    table: &'static Table,
    verb: &'static str,
    actor: &Actor,
    state: &State,
    req: &HttpRequest,
    id: &str,
    body: MaybeBody,
) -> Answer {
    let body = if body.0 == Value::Null { serde_json::Map::new() } else { members(body.0)? };
    let mut write = state.store.write(actor).await?;
    write.note(verb, table.name);
    let row = lists::one(write.conn(), table, actor.user(), named(id)?).await?;
    let row = acts::act(&mut write, table, row.id(), verb, expected(req, &row)?, &body).await?;
    write.commit().await?;
    shown(HttpResponse::Ok(), &row, actor, state)
}

/// The version that a move asks for, where it asks for one: the row's own where that is among them, or one that no row
/// has.
pub(super) fn expected(req: &HttpRequest, row: &Row) -> Result<Option<i64>, Problem> {
    let tags = Tags::of(req, header::IF_MATCH)?;
    Ok(tags.map(|tags| if tags.name(row.seq()) { row.seq() } else { -1 }))
}

async fn remove(table: &'static Table, actor: &Actor, state: &State, req: &HttpRequest, id: &str) -> Answer {
    let mut write = state.store.write(actor).await?;
    write.note("delete", table.name);
    let seen = seen(&write, table, actor, named(id)?, req).await?;
    acts::remove(&mut write, table, id, seen).await?;
    write.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The version that the caller read. A row that is not theirs to see is 404 before a missing
/// `If-Match` is 428, so that the header says nothing about what exists.
async fn seen(
    write: &entities::Write,
    table: &'static Table,
    actor: &Actor,
    id: &str,
    req: &HttpRequest,
) -> Answer<i64> {
    let row = lists::one(write.conn(), table, actor.user(), id).await?;
    expected(req, &row)?.ok_or(Problem::PreconditionRequired)
}

/// What cannot be an id names nothing.
fn named(id: &str) -> Answer<&str> {
    if is_id(id) { Ok(id) } else { Err(Problem::NotFound) }
}

/// An answer with the row and its version.
pub(super) fn shown(mut answer: HttpResponseBuilder, row: &Row, actor: &Actor, state: &State) -> Answer {
    Ok(answer.insert_header((header::ETAG, etag(row))).json(object(row, actor, state.store.clock().now())?))
}
