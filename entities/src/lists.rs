//! Pages of a table's rows, as one reader sees them.
//!
//! A page is ordered by id and continues after the last id of the one before, so that rows written
//! while somebody reads on are neither skipped nor seen twice. What a reader may not see takes no
//! part in filters, order or page size: a list says no more than its rows do.

use sea_orm::{ConnectionTrait, Value};

use crate::access::visible_sql;
use crate::clock::Instant;
use crate::error::{Fault, Result};
use crate::read;
use crate::registry::{Column, Kind, Row, Table, is_id};
use crate::sql;

/// What a reader asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Rows in a page, 1 to 200.
    pub limit: usize,
    /// The last id of the page before.
    pub after: Option<String>,
    /// Only rows changed at this instant or later.
    pub updated_since: Option<Instant>,
    /// Columns and the values they may have.
    pub only: Vec<(&'static str, Vec<String>)>,
}

/// The columns that a list of the table can be narrowed by: codes, and ids, its own and those of other rows.
pub fn filters(table: &'static Table) -> impl Iterator<Item = &'static Column> {
    table.columns.iter().filter(|column| column.field.wire && matches!(column.field.kind, Kind::Code(_) | Kind::Id))
}

impl Wanted {
    /// The first rows, unfiltered.
    pub fn first(limit: usize) -> Wanted {
        Wanted { limit, after: None, updated_since: None, only: Vec::new() }
    }

    /// Adds a filter from a query string: one of [`filters`], with one value or several between commas.
    pub fn filter(&mut self, table: &'static Table, name: &str, values: &str) -> Result<(), Fault> {
        let column = filters(table).find(|column| column.name == name);
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        match column.map(|column| (column.name, column.field.kind)) {
            Some((name, Kind::Code(words))) => {
                if values.iter().any(|value| !words.contains(&value.as_str())) {
                    return Err(Fault::field(name, "code", format!("must be of: {}", words.join(", "))));
                }
                self.only.push((name, values));
            }
            Some((name, Kind::Id)) => {
                if values.len() > 100 || !values.iter().all(|value| is_id(value)) {
                    return Err(Fault::field(name, "id", "must be ids, 100 at most"));
                }
                self.only.push((name, values));
            }
            _ => return Err(Fault::field(name, "unknown_filter", "this list has no such filter")),
        }
        Ok(())
    }

    fn names_a_case(&self) -> bool {
        self.only.iter().any(|(name, _)| *name == "case_id")
    }
}

/// A page of rows and whether there are more.
#[derive(Debug)]
pub struct Page {
    /// The rows, in order of id.
    pub rows: Vec<Row>,
    /// True when rows follow.
    pub more: bool,
}

/// The rows of a table that this user sees and that fit.
pub async fn page(
    conn: &impl ConnectionTrait,
    table: &'static Table,
    user: &str,
    partner: bool,
    wanted: &Wanted,
) -> Result<Page> {
    let mut values: Vec<Value> = vec![user.into()];
    let mut parts = vec![if wanted.names_a_case() { visible_sql(table.name, 1) } else { seen_sql(table.name) }];
    for (name, allowed) in &wanted.only {
        // A partner cannot ask about what a partner cannot read.
        if partner && !table.column(name).is_some_and(|column| column.field.partner) && *name != "id" {
            parts.push("1 = 0".into());
            continue;
        }
        parts.push(format!("t.\"{name}\" in ({})", sql::marks(values.len() + 1, allowed.len())));
        values.extend(allowed.iter().map(|value| Value::from(value.as_str())));
    }
    if let Some(since) = wanted.updated_since {
        values.push(since.0.into());
        parts.push(format!("t.updated_at >= ${}", values.len()));
    }
    if let Some(after) = &wanted.after {
        values.push(after.as_str().into());
        parts.push(format!("t.id > ${}", values.len()));
    }
    values.push(i64::try_from(wanted.limit + 1).unwrap_or(i64::MAX).into());
    let condition = format!("{} order by t.id limit ${}", parts.join(" and "), values.len());
    let mut rows = read::rows_where(conn, table, &condition, values).await?;
    let more = rows.len() > wanted.limit;
    rows.truncate(wanted.limit);
    Ok(Page { rows, more })
}

/// The row with this id, for somebody who sees it.
pub async fn one(conn: &impl ConnectionTrait, table: &'static Table, user: &str, id: &str) -> Result<Row> {
    let condition = format!("t.id = $2 and t.deleted_at is null and {}", visible_sql(table.name, 1));
    let found = read::rows_where(conn, table, &condition, vec![user.into(), id.into()]).await?.pop();
    found.ok_or(crate::Error::NotFound)
}

/// As `visible_sql`, read from the user's side: what they have open is far less than the table.
fn seen_sql(table: &'static str) -> String {
    format!(
        "t.id in (select f.row_id from sync_access a join sync_feed f on f.scope = a.scope \
         where a.user_id = $1 and a.visible and f.live and f.tbl = '{table}')"
    )
}
