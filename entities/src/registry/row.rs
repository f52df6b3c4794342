//! A row without its type: what the generic rooms pass around.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use sea_orm::{IdenStatic, Iterable, ModelTrait, Value};

use super::{Face, Kind, Synced, Table};
use crate::access::Actor;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};

/// One row of one synced table; cells are in the table's column order.
#[derive(Clone)]
pub struct Row {
    /// The table it belongs to.
    pub table: &'static Table,
    cells: Vec<Value>,
    /// The same cells as the entity's model, once somebody asked: every rule of an entity wants
    /// it, and making it costs more than most rules do.
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("table", &self.table).field("cells", &self.cells).finish()
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.table.name == other.table.name && self.cells == other.cells
    }
}

impl Row {
    /// A row of these cells, one for each column in the table's order.
    pub(crate) fn of(table: &'static Table, cells: Vec<Value>) -> Row {
        Row { table, cells, typed: OnceLock::new() }
    }

    /// The values, in the table's order of columns.
    pub fn cells(&self) -> &[Value] {
        &self.cells
    }

    /// One value by its place.
    pub fn cell(&self, at: usize) -> &Value {
        &self.cells[at]
    }

    /// Sets one value by its place.
    pub fn put(&mut self, at: usize, value: Value) {
        // What it holds already costs the typed row nothing.
        if self.cells[at] != value {
            self.cells[at] = value;
            self.typed.take();
        }
    }

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
        if self.table.is_case() { Some(self.id()) } else { self.text("case_id") }
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

    /// What of it a client may write and says otherwise than the other row, as history writes it.
    pub(crate) fn says_beside(&self, other: &Row) -> serde_json::Map<String, serde_json::Value> {
        let columns = self.table.wire_columns().filter(|(_, column)| column.field.writable());
        let differs = columns.filter(|(at, _)| self.cells[*at] != other.cells[*at]);
        differs.map(|(at, column)| (column.name.to_owned(), self.json(at, Face::Rest))).collect()
    }

    /// Sets a column by name; a name the table does not have is ignored.
    pub fn set(&mut self, column: &str, value: Value) {
        if let Some(at) = self.table.index(column) {
            self.put(at, value);
        }
    }

    /// Sets what follows from other columns, checks every limit and the row as a whole. Only a
    /// row that passed here can be stored.
    pub fn checked(self, before: Option<&Row>, now: Instant, actor: &Actor) -> Result<Checked> {
        self.tried(before, now, actor)?.map_err(|(_, faults)| Error::Invalid(faults))
    }

    /// As `checked`; a row with faults comes back with them, to be mended.
    pub(crate) fn tried(
        mut self,
        before: Option<&Row>,
        now: Instant,
        actor: &Actor,
    ) -> Result<std::result::Result<Checked, (Row, Vec<Fault>)>> {
        let table = self.table;
        // What follows from a row is worked out on its typed form, and no text but a day makes one.
        let mut faults = self.no_days();
        if faults.is_empty() {
            self = table.derive(self, now, actor)?;
            faults = self.limits(before);
        }
        if faults.is_empty() {
            faults = table.check(before, &self)?;
        }
        Ok(if faults.is_empty() { Ok(Checked(self)) } else { Err((self, faults)) })
    }

    /// Faults of dates that are none.
    fn no_days(&self) -> Vec<Fault> {
        let dates = self.table.columns.iter().zip(&self.cells).filter(|(column, _)| column.field.kind == Kind::Date);
        dates.filter_map(|(column, cell)| column.limit(cell)).collect()
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
        Ok((*self.typed::<E>()?).clone())
    }

    /// The typed row, made once and kept until a cell changes.
    pub(crate) fn typed<E: Synced>(&self) -> Result<Arc<E::Model>> {
        if let Some(known) = self.typed.get().and_then(|known| Arc::clone(known).downcast().ok()) {
            return Ok(known);
        }
        let model = Arc::new(model_of::<E>(self.cells.iter().cloned())?);
        // Whoever else made it meanwhile made the same.
        let _ = self.typed.set(Arc::<E::Model>::clone(&model));
        Ok(model)
    }

    /// The typed row, to be changed; what it was made from is not needed any more.
    pub(crate) fn into_model<E: Synced>(self) -> Result<E::Model> {
        match self.typed.into_inner().and_then(|known| known.downcast().ok()) {
            Some(model) => Ok(Arc::unwrap_or_clone(model)),
            None => model_of::<E>(self.cells),
        }
    }

    /// The erased form of a typed row.
    pub fn from_model<E: Synced>(table: &'static Table, model: E::Model) -> Row {
        let cells = E::Column::iter().map(|column| model.get(column)).collect();
        let row = Row::of(table, cells);
        let _ = row.typed.set(Arc::new(model));
        row
    }
}

fn model_of<E: Synced>(cells: impl IntoIterator<Item = Value>) -> Result<E::Model> {
    let mut model = E::Model::default();
    for (column, cell) in E::Column::iter().zip(cells) {
        let misfit = |err| Error::Internal(format!("{}.{}: {err}", E::NAME, column.as_str()));
        model.try_set(column, cell).map_err(misfit)?;
    }
    Ok(model)
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
