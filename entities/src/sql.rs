//! Statements by text, one text for both databases.
//!
//! SQLite and PostgreSQL both take `$1` through the driver, and the storage classes are the same
//! on both, so the engine's own statements are written once. Everything here binds its values.
//! Storing many rows is in `bulk.rs`.

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
/// writer has in hand stays: waiting for it, both could come to wait for each other.
pub async fn delete_some(
    conn: &impl ConnectionTrait,
    table: &str,
    condition: &str,
    values: Vec<Value>,
    most: u64,
) -> Result<u64> {
    let these = match conn.get_database_backend() {
        DbBackend::Postgres => {
            format!("ctid = any(array(select ctid from {table} where {condition} limit {most} for update skip locked))")
        }
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

/// A condition that holds for rows whose column is one of a list bound at that mark with [`list`],
/// however long: one text for every length.
pub fn among(backend: DbBackend, column: &str, mark: usize) -> String {
    match backend {
        DbBackend::Postgres => format!("{column} = any(${mark}::text[])"),
        _ => format!("{column} in (select value from json_each(${mark}))"),
    }
}

/// Texts as one value, for [`among`].
pub fn list<T: AsRef<str>>(backend: DbBackend, texts: &[T]) -> Value {
    let texts = texts.iter().map(AsRef::as_ref);
    match backend {
        DbBackend::Postgres => array(texts.map(Value::from).collect::<Vec<_>>().iter()),
        _ => texts.collect::<serde_json::Value>().to_string(),
    }
    .into()
}

/// True for an empty cell of any type.
pub(crate) fn is_null(cell: &Value) -> bool {
    matches!(cell, Value::String(None) | Value::BigInt(None) | Value::Double(None) | Value::Bool(None))
}

/// What a text cell says.
pub(crate) fn text(cell: &Value) -> Option<&str> {
    match cell {
        Value::String(text) => text.as_deref(),
        _ => None,
    }
}

/// Cells as the text of a PostgreSQL array.
pub(crate) fn array<'a>(cells: impl Iterator<Item = &'a Value>) -> String {
    let mut array = String::from("{");
    for cell in cells {
        if array.len() > 1 {
            array.push(',');
        }
        // Writing to a text cannot fail.
        let _ = match cell {
            Value::String(Some(text)) => {
                array.push('"');
                put_quoted(&mut array, text);
                array.push('"');
                Ok(())
            }
            Value::BigInt(Some(number)) => write!(array, "{number}"),
            Value::Double(Some(number)) => write!(array, "{number}"),
            Value::Bool(Some(yes)) => write!(array, "{yes}"),
            _ => write!(array, "NULL"),
        };
    }
    array.push('}');
    array
}

/// What stands between the quotes of an array's element.
fn put_quoted(text: &mut String, mut rest: &str) {
    while let Some(at) = rest.find(['"', '\\']) {
        text.push_str(&rest[..at]);
        text.push('\\');
        text.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

/// `$from, $from+1, …`: placeholders for a list of `count` values.
pub fn marks(from: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    put_marks(&mut text, from, count);
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
    fn an_array_says_the_same_whatever_a_text_holds() {
        let cells = [Value::from("a"), Value::from("say \"no\", {\\x}"), Value::String(None), "NULL".into(), "".into()];
        assert_eq!(array(cells.iter()), r#"{"a","say \"no\", {\\x}",NULL,"NULL",""}"#);
        let cells = [Value::from(-7_i64), Value::from(0.1), Value::from(true), Value::Bool(None)];
        assert_eq!(array(cells.iter()), "{-7,0.1,true,NULL}");
    }

    #[test]
    fn a_list_says_the_same_whatever_a_text_holds() {
        let texts = ["case:a", "a\"b,c\\"];
        assert_eq!(list(DbBackend::Postgres, &texts), r#"{"case:a","a\"b,c\\"}"#.into());
        assert_eq!(list(DbBackend::Sqlite, &texts), r#"["case:a","a\"b,c\\"]"#.into());
        assert_eq!(list::<&str>(DbBackend::Sqlite, &[]), "[]".into());
    }
}
