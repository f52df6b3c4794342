//! Every synced table over REST: one set of handlers for all of them.
//!
//! What a table is stands in `entities::registry`; what may be done to a row, in `entities::acts`;
//! which rows somebody sees, in `entities::lists`. Here is only HTTP: `rows` (one row), `list`
//! (pages), `cases` (the few actions that are more than a move), `document` (what OpenAPI says).

mod cases;
mod cursor;
mod document;
mod history;
pub(crate) mod list;
mod rows;

pub use document::schemas;

use entities::registry::{Row, Table};
use entities::{Actor, Instant, Result, Role};
use serde_json::{Map, Value};

use crate::operation::Op;
use crate::problem::{Answer, Problem};
use crate::state::State;

/// Every operation of this room.
pub fn operations() -> Vec<Op> {
    let mut all = Vec::new();
    for table in entities::registry::TABLES.iter() {
        all.push(list::operation(table));
        all.extend(rows::operations(table));
        all.extend(history::operations(table));
    }
    all.extend(cases::operations());
    all
}

/// A row as this reader may see it. A partner gets the columns marked for partners and nothing
/// that the packet does not hold.
pub(crate) fn object(row: &Row, actor: &Actor, now: Instant) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for (at, column) in row.table.wire_columns() {
        if actor.role != Role::Partner || column.name == "id" || row.table.partner_reads(row, column, now)? {
            object.insert(column.name.to_owned(), row.json(at, entities::registry::Face::Rest));
        }
    }
    object.insert("rev".into(), row.seq().into());
    Ok(object)
}

/// Tells the audit trail who reached for a row out of sight. One that does not exist is told of
/// alike, so that the time it takes does not tell the two apart. What is answered with 403 is told
/// where the answer leaves (`operation.rs`).
pub(crate) async fn watched(
    answer: Answer,
    state: &State,
    actor: &Actor,
    action: &'static str,
    table: &'static Table,
    id: &str,
) -> Answer {
    if !matches!(answer, Err(Problem::NotFound)) {
        return answer;
    }
    let told = async {
        let mut write = state.store.write(actor).await?;
        write.note("denied", format!("{action} {}", table.name));
        write.witness(table, id);
        write.commit().await
    };
    if let Err(why) = told.await {
        tracing::warn!(%why, "a denied access could not be told in the audit trail");
    }
    answer
}

/// The version of a row, as `ETag` gives it and `If-Match` takes it.
fn etag(row: &Row) -> String {
    format!("\"{}\"", row.seq())
}

/// The members of a JSON object; anything else is a fault of the body as a whole.
fn members(body: Value) -> Result<Map<String, Value>, Problem> {
    match body {
        Value::Object(members) => Ok(members),
        _ => Err(Problem::Invalid(vec![entities::Fault {
            pointer: String::new(),
            code: "not_an_object",
            detail: "the body must be a JSON object".into(),
        }])),
    }
}

/// `CaseParty` for `case_parties`: what one row is called in the document.
pub(crate) fn singular(table: &Table) -> String {
    let one = match table.name {
        name if name.ends_with("ies") => format!("{}y", &name[..name.len() - 3]),
        name => name.strip_suffix('s').unwrap_or(name).to_owned(),
    };
    let capital = |part: &str| part.chars().next().map(|first| first.to_ascii_uppercase().to_string() + &part[1..]);
    one.split('_').filter_map(capital).collect()
}
