//! A row without its type: what the generic rooms pass around.

use sea_orm::{IdenStatic, Iterable, ModelTrait, Value};

use super::{Synced, Table};
use crate::access::Actor;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};

/// One row of one synced table; cells are in the table's column order.
#[derive(Clone, Debug)]
pub struct Row {
    /// The table it belongs to.
    pub table: &'static Table,
    /// One value for each column, in the table's order.
    pub cells: Vec<Value>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.table.name == other.table.name && self.cells == other.cells
    }
}

impl Row {
    /// The row's id.
    pub fn id(&self) -> &str {
        self.text_at(self.table.id).unwrap_or_default()
    }

    /// The agency it belongs to.
    pub fn agency_id(&self) -> &str {
        self.text_at(self.table.agency_id).unwrap_or_default()
    }

    /// The case it belongs to, for tables that have one.
    pub fn case_id(&self) -> Option<&str> {
        if self.table.name == "cases" { Some(self.id()) } else { self.text("case_id") }
    }

    /// Commit number of the last change of anything a device sees.
    pub fn seq(&self) -> i64 {
        self.int_at(self.table.seq).unwrap_or_default()
    }

    /// Commit number of the last change of a column that a client may write.
    pub fn edit_seq(&self) -> i64 {
        self.int_at(self.table.edit_seq).unwrap_or_default()
    }

    /// True once the row has been deleted.
    pub fn is_deleted(&self) -> bool {
        self.int_at(self.table.deleted_at).is_some()
    }

    /// The value of a column by name.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.table.index(column).map(|at| &self.cells[at])
    }

    /// A text column by name; `None` when null, absent or not text.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.text_at(self.table.index(column)?)
    }

    /// A whole number by name.
    pub fn int(&self, column: &str) -> Option<i64> {
        self.int_at(self.table.index(column)?)
    }

    fn text_at(&self, at: usize) -> Option<&str> {
        match &self.cells[at] {
            Value::String(Some(text)) => Some(text),
            _ => None,
        }
    }

    fn int_at(&self, at: usize) -> Option<i64> {
        match &self.cells[at] {
            Value::BigInt(number) => *number,
            _ => None,
        }
    }

    /// Sets a column by name; a name the table does not have is ignored.
    pub fn set(&mut self, column: &str, value: Value) {
        if let Some(at) = self.table.index(column) {
            self.cells[at] = value;
        }
    }

    /// Sets what follows from other columns, checks every limit and the row as a whole. Only a
    /// row that passed here can be stored.
    pub fn checked(mut self, before: Option<&Row>, now: Instant, actor: &Actor) -> Result<Checked> {
        let table = self.table;
        table.derive(&mut self, now, actor)?;
        let mut faults = self.limits(before);
        if faults.is_empty() {
            faults = table.check(before, &self)?;
        }
        if faults.is_empty() { Ok(Checked(self)) } else { Err(Error::Invalid(faults)) }
    }

    /// Faults of single cells; of a changed row only cells that changed are looked at, so that an
    /// old row that a later limit would refuse can still be worked on.
    fn limits(&self, before: Option<&Row>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (at, column) in self.table.columns.iter().enumerate() {
            if before.is_some_and(|before| before.cells[at] == self.cells[at]) {
                continue;
            }
            if let Some(fault) = column.limit(&self.cells[at]) {
                faults.push(fault);
            }
        }
        faults
    }

    /// The typed row. Fails only if the cells do not fit the entity, which is a defect.
    pub fn model<E: Synced>(&self) -> Result<E::Model> {
        let mut model = E::Model::default();
        for (column, cell) in E::Column::iter().zip(&self.cells) {
            model
                .try_set(column, cell.clone())
                .map_err(|err| Error::Internal(format!("{}.{}: {err}", E::NAME, column.as_str())))?;
        }
        Ok(model)
    }

    /// The erased form of a typed row.
    pub fn from_model<E: Synced>(table: &'static Table, model: &E::Model) -> Row {
        Row { table, cells: E::Column::iter().map(|column| model.get(column)).collect() }
    }
}

/// True for an empty cell of any type.
pub(crate) fn is_null(cell: &Value) -> bool {
    matches!(cell, Value::String(None) | Value::BigInt(None) | Value::Double(None) | Value::Bool(None))
}

/// A row that passed every check and may be stored.
#[derive(Clone, Debug)]
pub struct Checked(Row);

impl Checked {
    /// The row inside.
    pub fn row(&self) -> &Row {
        &self.0
    }

    pub(crate) fn into_row(self) -> Row {
        self.0
    }
}
