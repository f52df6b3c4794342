//! Reading rows of any synced table, without asking who may see them (`access` does that).

use sea_orm::{ConnectionTrait, QueryResult, Value};

use crate::bulk::Class;
use crate::error::Result;
use crate::registry::{Row, Table};
use crate::sql;

/// The rows with these ids, in no particular order; missing ids are left out, deleted rows stay.
pub async fn by_ids(conn: &impl ConnectionTrait, table: &'static Table, ids: &[String]) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let backend = conn.get_database_backend();
    let text = format!("select {} from {} where {}", table.column_list(), table.name, sql::among(backend, "id", 1));
    sql::all(conn, &text, vec![sql::list(backend, ids)]).await?.iter().map(|found| row(table, found)).collect()
}

/// Rows by a condition on the table under the alias `t`, such as `t.case_id = $1 order by t.id`.
pub async fn rows_where(
    conn: &impl ConnectionTrait,
    table: &'static Table,
    condition: &str,
    values: Vec<Value>,
) -> Result<Vec<Row>> {
    let text = format!("select {} from {} t where {condition}", table.column_list(), table.name);
    sql::all(conn, &text, values).await?.iter().map(|found| row(table, found)).collect()
}

/// Typed rows of one table by a condition under the alias `t`.
pub async fn models<E: crate::registry::Synced>(
    conn: &impl ConnectionTrait,
    condition: &str,
    values: Vec<Value>,
) -> Result<Vec<E::Model>> {
    let table = crate::registry::table(E::NAME).ok_or(crate::Error::NotFound)?;
    rows_where(conn, table, condition, values).await?.iter().map(Row::model::<E>).collect()
}

/// Reads one result whose columns stand in the table's order.
fn row(table: &'static Table, found: &QueryResult) -> Result<Row> {
    let mut cells = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        cells.push(match column.field.kind.class() {
            Class::Bigint => Value::BigInt(found.try_get_by_index(at)?),
            Class::Double => Value::Double(found.try_get_by_index(at)?),
            Class::Boolean => Value::Bool(found.try_get_by_index(at)?),
            Class::Text => Value::String(found.try_get_by_index(at)?),
        });
    }
    Ok(Row::of(table, cells))
}
