//! Statements by text, one text for both databases.
//!
//! SQLite and PostgreSQL both take `$1` through the driver, and the storage classes are the same
//! on both, so the engine's own statements are written once. Everything here binds its values.
//! The driver keeps prepared statements by their text, so long lists come in few lengths.

use std::fmt::Write;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use crate::error::Result;

/// Runs a statement and says how many rows it touched.
pub async fn exec(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<u64> {
    let statement = statement(conn, sql, values);
    Ok(conn.execute_raw(statement).await?.rows_affected())
}

/// All rows of a query.
pub async fn all(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>> {
    let statement = statement(conn, sql, values);
    Ok(conn.query_all_raw(statement).await?)
}

/// The first row of a query, if there is one.
pub async fn one(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<Option<QueryResult>> {
    let statement = statement(conn, sql, values);
    Ok(conn.query_one_raw(statement).await?)
}

/// Deletes at most so many rows of a table that fit a condition, and says how many. A row that a
/// writer changes meanwhile is looked at again, and stays when it does not fit any more.
pub async fn delete_some(
    conn: &impl ConnectionTrait,
    table: &str,
    condition: &str,
    values: Vec<Value>,
    most: u64,
) -> Result<u64> {
    let these = match conn.get_database_backend() {
        DbBackend::Postgres => format!("ctid = any(array(select ctid from {table} where {condition} limit {most}))"),
        _ => format!("rowid in (select rowid from {table} where {condition} limit {most})"),
    };
    exec(conn, &format!("delete from {table} where {condition} and {these}"), values).await
}

/// More values than this are bound to nameless marks on SQLite.
const FEW: usize = 16;

fn statement(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Statement {
    let backend = conn.get_database_backend();
    if backend != DbBackend::Sqlite || values.len() <= FEW {
        return Statement::from_sql_and_values(backend, sql, values);
    }
    let (sql, values) = nameless(sql, values);
    Statement::from_sql_and_values(backend, sql, values)
}

/// To SQLite `$7` is a name, and the driver asks for the name of each mark, which SQLite finds by
/// walking all names: binding the 2,300 values of a push took five times as long as the insert.
/// Marks without a name are bound in the order in which they stand.
fn nameless(sql: &str, values: Vec<Value>) -> (String, Vec<Value>) {
    let mut text = String::with_capacity(sql.len());
    let mut bound = Vec::with_capacity(values.len());
    let mut values: Vec<Option<Value>> = values.into_iter().map(Some).collect();
    let marks: Vec<(usize, usize, usize)> = marks_in(sql).collect();
    let mut uses = vec![0_usize; values.len()];
    for (_, _, number) in &marks {
        if let Some(uses) = uses.get_mut(number - 1) {
            *uses += 1;
        }
    }
    let mut from = 0;
    // The last use of a value takes it; only the others copy it.
    for (start, end, number) in marks {
        text.push_str(&sql[from..start]);
        text.push('?');
        from = end;
        let (Some(value), Some(uses)) = (values.get_mut(number - 1), uses.get_mut(number - 1)) else { continue };
        *uses -= 1;
        bound.extend(if *uses == 0 { value.take() } else { value.clone() });
    }
    text.push_str(&sql[from..]);
    (text, bound)
}

/// Where marks stand: from, to, and their number.
fn marks_in(sql: &str) -> impl Iterator<Item = (usize, usize, usize)> {
    sql.match_indices('$').filter_map(|(start, _)| {
        let digits = sql[start + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let number = sql[start + 1..start + 1 + digits].parse().ok().filter(|number| *number > 0)?;
        Some((start, start + 1 + digits, number))
    })
}

/// Ids in batches of at most 512, each filled up to a power of two by repeating its last one, for
/// a condition `in (…)`.
pub fn batches<T: AsRef<str>>(ids: &[T]) -> impl Iterator<Item = Vec<&str>> {
    ids.chunks(512).map(|chunk| {
        let mut batch: Vec<&str> = chunk.iter().map(AsRef::as_ref).collect();
        if let Some(last) = batch.last().copied() {
            batch.resize(chunk.len().next_power_of_two(), last);
        }
        batch
    })
}

/// A list in pieces of 64, 16, 4 and 1, for an insert of several rows.
pub fn pieces<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = [64, 16, 4, 1].into_iter().find(|size| *size <= list.len())?;
        let (piece, rest) = list.split_at(size);
        list = rest;
        Some(piece)
    })
}

/// `$from, $from+1, …`: placeholders for a list of `count` values.
pub fn marks(from: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    put_marks(&mut text, from, count);
    text
}

/// `($1,$2),($3,$4),…`: placeholders for `rows` tuples of `width` values.
pub fn tuples(rows: usize, width: usize) -> String {
    let mut text = String::with_capacity(rows * (width * 6 + 3));
    for row in 0..rows {
        text.push_str(if row > 0 { ",(" } else { "(" });
        put_marks(&mut text, row * width + 1, width);
        text.push(')');
    }
    text
}

fn put_marks(text: &mut String, from: usize, count: usize) {
    for at in from..from + count {
        text.push_str(if at > from { ",$" } else { "$" });
        // Writing to a text cannot fail.
        let _ = write!(text, "{at}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameless_marks_bind_the_same_values_in_the_order_in_which_they_stand() {
        let (text, bound) =
            nameless("select $2 where a = $1 and b > $1 and c in ($3,$10)", (1..=10_i64).map(Value::from).collect());
        assert_eq!(text, "select ? where a = ? and b > ? and c in (?,?)");
        assert_eq!(bound, [2_i64, 1, 1, 3, 10].map(Value::from));
    }

    #[test]
    fn lists_come_in_few_lengths_and_lose_nothing() {
        let ids: Vec<String> = (0..1029).map(|id| id.to_string()).collect();
        let lengths: Vec<usize> = batches(&ids).map(|batch| batch.len()).collect();
        assert_eq!(lengths, [512, 512, 8]);
        let mut all: Vec<&str> = batches(&ids).flatten().collect();
        all.dedup();
        assert_eq!(all, ids.iter().map(String::as_str).collect::<Vec<_>>());
        let list: Vec<usize> = (0..150).collect();
        assert_eq!(pieces(&list).map(<[usize]>::len).collect::<Vec<_>>(), [64, 64, 16, 4, 1, 1]);
        assert_eq!(pieces(&list).flatten().copied().collect::<Vec<_>>(), list);
    }
}
