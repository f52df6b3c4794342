//! What a row takes from other rows, and what it asks of them.
//!
//! An entity's functions see one row. Where a rule looks further (a case needs a worker before it
//! becomes active) the entity gives the question as data and the write door asks it, inside the
//! transaction.

use sea_orm::{ConnectionTrait, Value};

use super::{Kind, Row, TABLES};
use crate::access::Actor;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};
use crate::sql;

/// A column whose value is read from other rows when the row is stored.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The column.
    pub column: &'static str,
    /// A query with one column; no row means empty.
    pub text: &'static str,
    /// What it binds.
    pub values: Vec<Value>,
}

/// A rule about other rows.
#[derive(Clone, Debug)]
pub struct Need {
    text: &'static str,
    values: Vec<Value>,
    wants: bool,
    refusal: Refusal,
}

#[derive(Clone, Debug)]
enum Refusal {
    Fault(Fault),
    Forbidden(&'static str),
}

impl Need {
    /// The query must find a row.
    pub fn some(text: &'static str, values: Vec<Value>) -> Need {
        Need { text, values, wants: true, refusal: Refusal::Forbidden("not now") }
    }

    /// The query must find nothing.
    pub fn none(text: &'static str, values: Vec<Value>) -> Need {
        Need { wants: false, ..Need::some(text, values) }
    }

    /// Cannot be met.
    pub fn never() -> Need {
        Need::some("", Vec::new())
    }

    /// Says what is wrong when it is not met.
    pub fn or_fault(self, name: &str, code: &'static str, detail: &str) -> Need {
        Need { refusal: Refusal::Fault(Fault::field(name, code, detail)), ..self }
    }

    /// Says that the actor is not the one to do it.
    pub fn or_forbidden(self, why: &'static str) -> Need {
        Need { refusal: Refusal::Forbidden(why), ..self }
    }
}

/// Asks everything that the change needs of other rows.
///
/// Fails with `Forbidden`, or with `Invalid` and every fault there is.
pub async fn ask(
    conn: &impl ConnectionTrait,
    before: Option<&Row>,
    after: &Row,
    now: Instant,
    actor: &Actor,
) -> Result<()> {
    let mut faults = Vec::new();
    for need in after.table.needs(before, after, now, actor)? {
        let found = !need.text.is_empty() && sql::one(conn, need.text, need.values).await?.is_some();
        if found != need.wants || need.text.is_empty() {
            match need.refusal {
                Refusal::Fault(fault) => faults.push(fault),
                Refusal::Forbidden(why) => return Err(Error::Forbidden(why.into())),
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Whether another row cannot be without this one: then it is not deleted, even where its entity would allow it.
pub(crate) async fn is_rested_on(conn: &impl ConnectionTrait, row: &Row) -> Result<bool> {
    for table in TABLES.iter() {
        let columns = table.columns.iter().filter(|column| column.field.refers == Some(row.table.name));
        for column in columns.filter(|column| column.field.required && column.name != "case_id") {
            let mut text = format!("select 1 from {} where {} = $1 and deleted_at is null", table.name, column.name);
            let mut values = vec![row.id().into()];
            // A row names only rows of its own case, and those of a case are found by an index.
            if let Some(case) = row.case_id().filter(|_| table.has_case()) {
                text.push_str(" and case_id = $2");
                values.push(case.into());
            }
            if sql::one(conn, &text, values).await?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Sets the columns that are read from other rows.
pub(crate) async fn fill(
    conn: &impl ConnectionTrait,
    before: Option<&Row>,
    row: &mut Row,
    actor: &Actor,
) -> Result<()> {
    for fill in row.table.fills(before, row, actor)? {
        let Some(at) = row.table.index(fill.column) else { continue };
        let found = sql::one(conn, fill.text, fill.values).await?;
        let cell = match (row.table.columns[at].field.kind, found) {
            (_, None) => row.table.columns[at].initial_or_zero(),
            (Kind::Int(..) | Kind::Instant, Some(found)) => Value::BigInt(found.try_get_by_index(0)?),
            (Kind::Real(..), Some(found)) => Value::Double(found.try_get_by_index(0)?),
            (Kind::Bool, Some(found)) => Value::Bool(found.try_get_by_index(0)?),
            (_, Some(found)) => Value::String(found.try_get_by_index(0)?),
        };
        row.put(at, cell);
    }
    Ok(())
}
