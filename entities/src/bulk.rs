//! Storing many rows with one statement.
//!
//! PostgreSQL looks up how to read each value that is bound, so the 2,400 values of a push cost it
//! more than storing them does. It is given one text for each column instead and cuts it up itself,
//! and what is the same in every row is bound once. Texts are cut at a mark that none of them holds
//! (`string_to_array`), which takes it a quarter of what reading a quoted array of them does. SQLite
//! binds a value for next to nothing and is given them one by one, in few lengths, since the driver
//! keeps statements by their text.

use std::collections::HashSet;

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
    own: Vec<Class>,
    shared: usize,
    /// For PostgreSQL: many rows, and one.
    many: String,
    one: String,
    or: &'static str,
}

impl Insert {
    /// Into these columns of a table: those of which each row has a value of its own, and those that
    /// hold the same in all rows.
    pub(crate) fn new(table: &str, own: &[(&str, Class)], shared: &[&str]) -> Insert {
        let names: Vec<String> =
            own.iter().map(|(name, _)| name).chain(shared).map(|name| format!("\"{name}\"")).collect();
        let into = format!("insert into {table} ({})", names.join(", "));
        let (own, last): (Vec<Class>, _) = (own.iter().map(|(_, class)| *class).collect(), own.len());
        let column = |(at, class): (usize, &Class)| match class {
            Class::Text => format!("string_to_array(${}, ${}, ${})", at + 1, last + 1, last + 2),
            other => format!("${}::{}[]", at + 1, other.word()),
        };
        let columns: Vec<String> = own.iter().enumerate().map(column).collect();
        let same: String = (last + 3..last + 3 + shared.len()).map(|at| format!(", ${at}")).collect();
        let many = format!("{into} select own.*{same} from unnest({}) own", columns.join(", "));
        let one = format!("{into} values ({})", sql::marks(1, last + shared.len()));
        Insert { into, own, shared: shared.len(), many, one, or: "" }
    }

    /// What becomes of a row that is there already.
    pub(crate) fn or(mut self, conflict: &'static str) -> Insert {
        for text in [&mut self.many, &mut self.one] {
            *text = format!("{text} {conflict}");
        }
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
            let (text, values) = match rows {
                // Cut at a mark, one empty text would be no text at all.
                [row] => {
                    let own = (0..self.own.len()).map(|at| cell(row, at));
                    (&self.one, own.chain(shared).cloned().collect())
                }
                _ => (&self.many, self.columns(rows, shared, cell)),
            };
            sql::exec(conn, text, values).await?;
            return Ok(());
        }
        for piece in pieces(rows) {
            let mut values: Vec<Value> = Vec::with_capacity(self.shared + piece.len() * self.own.len());
            values.extend(shared.iter().cloned());
            for row in piece {
                values.extend((0..self.own.len()).map(|at| cell(row, at).clone()));
            }
            let text = self.sqlite(piece.len());
            conn.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, text, values)).await?;
        }
        Ok(())
    }

    /// What is bound to `many`: a text for each column, the mark between texts, the word for an empty cell, and what all
    /// rows share.
    fn columns<T>(&self, rows: &[T], shared: &[Value], cell: impl Fn(&T, usize) -> &Value) -> Vec<Value> {
        let texts = self.own.iter().enumerate().filter(|(_, class)| **class == Class::Text);
        let texts = texts.flat_map(|(at, _)| rows.iter().map(move |row| (row, at)));
        let (mark, empty) = marks_beside(texts.filter_map(|(row, at)| sql::text(cell(row, at))));
        let mut values: Vec<Value> = Vec::with_capacity(self.own.len() + 2 + self.shared);
        for (at, class) in self.own.iter().enumerate() {
            let cells = || rows.iter().map(|row| cell(row, at));
            values.push(match class {
                // Columns that nobody filled are left for `unnest` to fill, which reads them for nothing.
                Class::Text if cells().all(sql::is_null) => "".into(),
                Class::Text => {
                    cells().map(|cell| sql::text(cell).unwrap_or(&empty)).collect::<Vec<_>>().join(&mark).into()
                }
                _ if cells().all(sql::is_null) => "{}".into(),
                _ => sql::array(cells()).into(),
            });
        }
        values.extend([mark.into(), empty.into()]);
        values.extend(shared.iter().cloned());
        values
    }

    fn sqlite(&self, rows: usize) -> String {
        let row = format!(",({})", vec!["?"; self.own.len()].join(","));
        let same = ", ?".repeat(self.shared);
        // Without a condition SQLite would read `on` as one of a join.
        let or = if self.or.is_empty() { String::new() } else { format!(" where true {}", self.or) };
        format!("{} select *{same} from (values {}){or}", self.into, &row.repeat(rows)[1..])
    }
}

/// A mark that no text holds, and a word that none is. The mark begins and ends with characters that do not stand
/// inside it, so it cannot be found half in a text and half in the next mark. One walk, whatever the texts hold.
fn marks_beside<'a>(texts: impl Iterator<Item = &'a str>) -> (String, String) {
    let (mut plain, mut marks, mut words) = (true, HashSet::new(), HashSet::new());
    for text in texts {
        if text.contains('\u{1f}') {
            plain = false;
            marks.extend(
                text.split('\u{1e}').skip(1).filter_map(|part| part.split_once('\u{1f}')?.0.parse::<u32>().ok()),
            );
        }
        words.extend(text.strip_prefix('\u{1d}').and_then(|number| number.parse::<u32>().ok()));
    }
    let free = |taken: &HashSet<u32>| (0..).find(|number| !taken.contains(number)).unwrap_or_default();
    let mark = if plain { "\u{1f}".to_owned() } else { format!("\u{1e}{}\u{1f}", free(&marks)) };
    (mark, format!("\u{1d}{}", free(&words)))
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
            insert.many,
            "insert into pets (\"name\", \"age\", \"seq\") select own.*, $5 \
             from unnest(string_to_array($1, $3, $4), $2::bigint[]) own"
        );
        assert_eq!(insert.one, "insert into pets (\"name\", \"age\", \"seq\") values ($1,$2,$3)");
        assert_eq!(
            insert.sqlite(2),
            "insert into pets (\"name\", \"age\", \"seq\") select *, ? from (values (?,?),(?,?))"
        );
    }

    #[test]
    fn texts_are_cut_at_a_mark_that_none_of_them_holds() {
        let marks = |texts: &[&'static str]| marks_beside(texts.iter().copied());
        assert_eq!(marks(&["a", "", "\u{1e}0"]), ("\u{1f}".into(), "\u{1d}0".into()));
        let taken = ["\u{1f}", "x\u{1e}1\u{1f}y\u{1e}0\u{1f}", "\u{1d}0", "\u{1d}1", "\u{1e}\u{1e}2\u{1f}"];
        assert_eq!(marks(&taken), ("\u{1e}3\u{1f}".into(), "\u{1d}2".into()));
    }
}
