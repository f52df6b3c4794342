//! Reading rows of any synced table, without asking who may see them (`access` does that).

use sea_orm::{ConnectionTrait, QueryResult, Value};

use crate::error::Result;
use crate::registry::{Kind, Row, Table};
use crate::sql;

/// The rows with these ids, in no particular order; missing ids are left out, deleted rows stay.
pub async fn by_ids(conn: &impl ConnectionTrait, table: &'static Table, ids: &[String]) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(ids.len());
    for batch in sql::batches(ids) {
        let text =
            format!("select {} from {} where id in ({})", table.column_list(), table.name, sql::marks(1, batch.len()));
        let values = batch.into_iter().map(Value::from).collect();
        for found in sql::all(conn, &text, values).await? {
            rows.push(row(table, &found)?);
        }
    }
    Ok(rows)
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
        cells.push(match column.field.kind {
            Kind::Int(..) | Kind::Instant => Value::BigInt(found.try_get_by_index(at)?),
            Kind::Real(..) => Value::Double(found.try_get_by_index(at)?),
            Kind::Bool => Value::Bool(found.try_get_by_index(at)?),
            Kind::Text(_) | Kind::Code(_) | Kind::Id | Kind::Date | Kind::Json(_) => {
                Value::String(found.try_get_by_index(at)?)
            }
        });
    }
    Ok(Row::of(table, cells))
}
