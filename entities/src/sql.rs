//! Statements by text, one text for both databases.
//!
//! SQLite and PostgreSQL both take `$1` through the driver, and the storage classes are the same
//! on both, so the engine's own statements are written once. Everything here binds its values.

use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};

use crate::error::Result;

/// Runs a statement and says how many rows it touched.
pub async fn exec(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    Ok(conn.execute_raw(statement).await?.rows_affected())
}

/// All rows of a query.
pub async fn all(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    Ok(conn.query_all_raw(statement).await?)
}

/// The first row of a query, if there is one.
pub async fn one(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<Option<QueryResult>> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    Ok(conn.query_one_raw(statement).await?)
}

/// `$from, $from+1, …`: placeholders for a list of `count` values.
pub fn marks(from: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for at in from..from + count {
        if at > from {
            text.push(',');
        }
        text.push('$');
        text.push_str(&at.to_string());
    }
    text
}

/// `($1,$2),($3,$4),…`: placeholders for `rows` tuples of `width` values.
pub fn tuples(rows: usize, width: usize) -> String {
    (0..rows).map(|row| format!("({})", marks(row * width + 1, width))).collect::<Vec<_>>().join(",")
}
