//! The rows of one case, stored in one commit, so that no page of a sync grows past one case.
//!
//! A hand-made case has a second commit: what happened lately, as changes of rows that were there
//! before and as new ones.

use entities::clock::Instant;
use entities::registry::{Row, Synced, Table, table};
use entities::{Actor, Error, Result, Store};
use sea_orm::Value;

/// Rows that belong together.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    rows: Vec<Row>,
    late_rows: Vec<Row>,
    late_changes: Vec<Change>,
}

/// Columns of one row that change.
#[derive(Debug)]
struct Change {
    table: &'static Table,
    id: String,
    sets: Vec<(&'static str, Value)>,
}

impl Bundle {
    /// Adds a typed row.
    pub(crate) fn add<E: Synced>(&mut self, model: &E::Model) -> Result<()> {
        self.rows.push(Row::from_model::<E>(registered(E::NAME)?, model.clone()));
        Ok(())
    }

    /// Adds a typed row to the second commit.
    pub(crate) fn add_late<E: Synced>(&mut self, model: &E::Model) -> Result<()> {
        self.late_rows.push(Row::from_model::<E>(registered(E::NAME)?, model.clone()));
        Ok(())
    }

    /// Changes columns of a row of the first commit in the second.
    pub(crate) fn change_late<E: Synced>(&mut self, id: &str, sets: Vec<(&'static str, Value)>) -> Result<()> {
        self.late_changes.push(Change { table: registered(E::NAME)?, id: id.to_owned(), sets });
        Ok(())
    }

    /// The end of the last contact that was held, among the rows of the first commit.
    pub(crate) fn last_end(&self) -> Option<Instant> {
        let held =
            self.rows.iter().filter(|row| row.table.name == "contacts" && row.text("status") == Some("completed"));
        held.filter_map(|row| row.int("ended_at")).max().map(Instant)
    }

    /// Stores the rows through the write door, parents first, as done by `actor` with the clock
    /// standing at `at`, and keeps what is late. Answers the number of rows.
    pub(crate) async fn store(&mut self, store: &Store, actor: &Actor, at: Instant) -> Result<usize> {
        write(store, actor, at, std::mem::take(&mut self.rows), Vec::new()).await
    }

    /// Stores what happened lately. Answers the number of new rows.
    pub(crate) async fn store_late(self, store: &Store, actor: &Actor, at: Instant) -> Result<usize> {
        if self.late_rows.is_empty() && self.late_changes.is_empty() {
            return Ok(0);
        }
        write(store, actor, at, self.late_rows, self.late_changes).await
    }
}

async fn write(store: &Store, actor: &Actor, at: Instant, mut rows: Vec<Row>, changes: Vec<Change>) -> Result<usize> {
    rows.sort_by_key(|row| (row.table.rank, row.table.name));
    store.clock().set(at);
    let mut write = store.write(actor).await?;
    write.note("sample_data", "made up by the sample generator");
    let now = write.now();
    let checked = rows.into_iter().map(|row| row.checked(None, now, actor)).collect::<Result<Vec<_>>>()?;
    let count = checked.len();
    write.insert_whole(checked).await?;
    for Change { table, id, sets } in changes {
        let before = write.row(table, &id).await?.ok_or(Error::NotFound)?;
        let mut after = before.clone();
        for (column, value) in sets {
            after.set(column, value);
        }
        let after = after.checked(Some(&before), now, actor)?;
        write.update(&before, after).await?;
    }
    write.commit().await?;
    Ok(count)
}

fn registered(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::Internal(format!("{name} is not registered")))
}
