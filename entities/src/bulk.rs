//! Storing many rows with one statement.
//!
//! PostgreSQL looks up how to read each value that is bound, so the 2,400 values of a push cost it
//! more than storing them does. It is given one array for each column instead, written as text, and
//! what is the same in every row is bound once. SQLite binds a value for next to nothing and is
//! given them one by one, in few lengths, since the driver keeps statements by their text.

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::error::Result;
use crate::sql;

/// A storage class: every column of both databases has one of these four types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Text,
    Bigint,
    Double,
    Boolean,
}

impl Class {
    /// The class of a column by its declared type.
    pub(crate) fn of(declared: &str) -> Class {
        match declared.to_ascii_lowercase().as_str() {
            "bigint" => Class::Bigint,
            "double precision" => Class::Double,
            "boolean" => Class::Boolean,
            _ => Class::Text,
        }
    }

    /// The declared type.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::Text => "text",
            Class::Bigint => "bigint",
            Class::Double => "double precision",
            Class::Boolean => "boolean",
        }
    }
}

/// An insert of any number of rows into one table.
#[derive(Clone, Debug)]
pub(crate) struct Insert {
    into: String,
    own: usize,
    shared: usize,
    postgres: String,
    or: &'static str,
}

impl Insert {
    /// Into these columns of a table: those of which each row has a value of its own, and those that
    /// hold the same in all rows.
    pub(crate) fn new(table: &str, own: &[(&str, Class)], shared: &[&str]) -> Insert {
        let names: Vec<String> =
            own.iter().map(|(name, _)| name).chain(shared).map(|name| format!("\"{name}\"")).collect();
        let into = format!("insert into {table} ({})", names.join(", "));
        let arrays: Vec<String> =
            own.iter().enumerate().map(|(at, (_, class))| format!("${}::{}[]", at + 1, class.word())).collect();
        let same: String = (own.len() + 1..=own.len() + shared.len()).map(|at| format!(", ${at}")).collect();
        let postgres = format!("{into} select own.*{same} from unnest({}) own", arrays.join(", "));
        Insert { into, own: own.len(), shared: shared.len(), postgres, or: "" }
    }

    /// What becomes of a row that is there already.
    pub(crate) fn or(mut self, conflict: &'static str) -> Insert {
        self.postgres = format!("{} {conflict}", self.postgres);
        self.or = conflict;
        self
    }

    /// Stores rows. `cell` gives the value of a row for one of the table's own columns, by its place.
    pub(crate) async fn rows<T>(
        &self,
        conn: &impl ConnectionTrait,
        shared: &[Value],
        rows: &[T],
        cell: impl Fn(&T, usize) -> &Value,
    ) -> Result<()> {
        debug_assert_eq!(shared.len(), self.shared, "a value for each shared column");
        if rows.is_empty() {
            return Ok(());
        }
        if conn.get_database_backend() == DbBackend::Postgres {
            let mut values: Vec<Value> = Vec::with_capacity(self.own + self.shared);
            for at in 0..self.own {
                // Columns that nobody filled are left for `unnest` to fill, which reads them for nothing.
                let empty = rows.iter().all(|row| sql::is_null(cell(row, at)));
                let filled = if empty { &[] } else { rows };
                values.push(sql::array(filled.iter().map(|row| cell(row, at))).into());
            }
            values.extend(shared.iter().cloned());
            sql::exec(conn, &self.postgres, values).await?;
            return Ok(());
        }
        for piece in pieces(rows) {
            let mut values: Vec<Value> = Vec::with_capacity(self.shared + piece.len() * self.own);
            values.extend(shared.iter().cloned());
            for row in piece {
                values.extend((0..self.own).map(|at| cell(row, at).clone()));
            }
            let text = self.sqlite(piece.len());
            conn.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, text, values)).await?;
        }
        Ok(())
    }

    fn sqlite(&self, rows: usize) -> String {
        let row = format!(",({})", vec!["?"; self.own].join(","));
        let same = ", ?".repeat(self.shared);
        // Without a condition SQLite would read `on` as one of a join.
        let or = if self.or.is_empty() { String::new() } else { format!(" where true {}", self.or) };
        format!("{} select *{same} from (values {}){or}", self.into, &row.repeat(rows)[1..])
    }
}

/// A list in pieces of 64, 16, 4 and 1.
fn pieces<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = [64, 16, 4, 1].into_iter().find(|size| *size <= list.len())?;
        let (piece, rest) = list.split_at(size);
        list = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_few_lengths_and_lose_nothing() {
        let list: Vec<usize> = (0..150).collect();
        assert_eq!(pieces(&list).map(<[usize]>::len).collect::<Vec<_>>(), [64, 64, 16, 4, 1, 1]);
        assert_eq!(pieces(&list).flatten().copied().collect::<Vec<_>>(), list);
    }

    #[test]
    fn what_is_the_same_in_every_row_is_bound_once() {
        let insert = Insert::new("pets", &[("name", Class::Text), ("age", Class::Bigint)], &["seq"]);
        assert_eq!(
            insert.postgres,
            "insert into pets (\"name\", \"age\", \"seq\") select own.*, $3 from unnest($1::text[], $2::bigint[]) own"
        );
        assert_eq!(
            insert.sqlite(2),
            "insert into pets (\"name\", \"age\", \"seq\") select *, ? from (values (?,?),(?,?))"
        );
    }
}
