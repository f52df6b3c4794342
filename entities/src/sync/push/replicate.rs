//! What an RxDB client pushes: rows of one table, each with what it believed was stored.
//!
//! The answer names the rows that were not stored, as they stand. One rule keeps such a client
//! from asking the same for ever: a row is named only to a client that did not know it as it
//! stands. One that knew, and whose wish cannot be granted all the same, is told by an issue, and
//! the row comes to it again with its next pull.

use serde_json::{Map, Value, json};

use super::desk::Desk;
use super::mutate::{Mutation, MutationOp, incoming, whole};
use super::{PushRefusal, merge, of_this_epoch, rights};
use crate::access::Actor;
use crate::error::Result;
use crate::read;
use crate::registry::{Column, Face, Row, Table, is_id};
use crate::store::Store;
use crate::sync::custody;
use crate::sync::device::{self, Device};
use crate::sync::quarantine::Telling;
use crate::sync::rxdb::document;
use crate::write::Write;

/// One pushed row.
#[derive(Clone, Debug)]
pub struct Pushed {
    id: String,
    /// What the client believed was stored, if anything.
    assumed: Option<Map<String, Value>>,
    /// What it wants stored.
    wanted: Map<String, Value>,
}

impl Pushed {
    /// Reads `{assumedMasterState?, newDocumentState}`; `None` when it is not that.
    pub fn read(item: &Value) -> Option<Pushed> {
        let wanted = item.get("newDocumentState")?.as_object()?.clone();
        let assumed = match item.get("assumedMasterState") {
            None | Some(Value::Null) => None,
            Some(state) => Some(state.as_object()?.clone()),
        };
        Some(Pushed { id: wanted.get("id")?.as_str()?.to_owned(), assumed, wanted })
    }

    fn mutation(&self, table: &'static Table) -> Mutation {
        let assumed = self.assumed.as_ref().filter(|state| !is_deleted(state));
        let op = match assumed {
            _ if is_deleted(&self.wanted) => MutationOp::Delete,
            Some(_) => MutationOp::Update,
            None => MutationOp::Create,
        };
        let from = |name: &str| assumed.and_then(|state| state.get(name)).cloned().unwrap_or_default();
        let column = |name: &str| table.column(name).filter(|column| name != "id" && column.field.wire);
        let said = self.wanted.iter().filter(|(name, _)| column(name).is_some());
        // What the app knew and leaves out it has emptied: such a document has no other way to say so.
        let emptied = assumed.into_iter().flatten().filter(|(name, was)| {
            let known = column(name).is_some_and(|column| column.field.writable());
            known && !was.is_null() && !self.wanted.contains_key(*name) && op == MutationOp::Update
        });
        let set = said
            .map(|(name, value)| match op {
                // What a deletion knew is judged by the whole row, below.
                MutationOp::Delete => (name.clone(), json!({"to": value})),
                _ => (name.clone(), json!({"from": from(name), "to": value})),
            })
            .chain(emptied.map(|(name, was)| (name.clone(), json!({"from": was, "to": null}))))
            .collect();
        Mutation { id: String::new(), op, table, row_id: self.id.clone(), set, sent: String::new() }
    }

    /// Whether the client knew the row as it stands. Only what a client may write is compared: what
    /// the server stamps changes with every write and would be in conflict for ever (M13).
    fn knew(&self, master: Option<&Row>, version: u32) -> bool {
        match (&self.assumed, master) {
            (None, _) => false,
            (Some(assumed), None) => is_deleted(assumed),
            (Some(assumed), Some(row)) => !is_deleted(assumed) && says(assumed, row, version),
        }
    }
}

fn is_deleted(state: &Map<String, Value>) -> bool {
    state.get("_deleted") == Some(&Value::Bool(true))
}

/// A column that a document leaves out is one that it takes for empty, where its app knows the column.
fn says(state: &Map<String, Value>, row: &Row, version: u32) -> bool {
    let known = |column: &Column| column.field.writable() && column.field.since <= version;
    row.table.wire_columns().filter(|(_, column)| known(column)).all(|(at, column)| {
        let value = state.get(column.name).unwrap_or(&Value::Null);
        merge::clean(column, value, Face::Rest).0 == *row.cell(at)
    })
}

/// Whether a document says all that is stored.
fn holds(document: &Map<String, Value>, row: &Row) -> bool {
    row.object(Face::Rest).iter().all(|(name, value)| document.get(name) == Some(value))
}

/// Takes rows in and answers those that were not stored, as they stand for this user. All share
/// one commit; a failure undoes all of them.
pub async fn push(
    store: &Store,
    actor: &Actor,
    table: &'static Table,
    rows: &[Pushed],
    epoch: Option<i64>,
    schema_version: u32,
) -> std::result::Result<Vec<Map<String, Value>>, PushRefusal> {
    let mut write = store.write(actor).await?;
    of_this_epoch(&write, epoch)?;
    let (rows, strange): (Vec<&Pushed>, Vec<&Pushed>) = rows.iter().partition(|row| is_id(&row.id));
    let mutations: Vec<Mutation> = rows.iter().map(|row| row.mutation(table)).collect();
    let mut desk = Desk::for_mutations(&mut write, &mutations).await?;
    desk.by_content = true;
    let mut refused = Vec::new();
    // What is new comes first: a row that is changed may name it.
    let mut order: Vec<_> = rows.iter().zip(mutations).collect();
    order.sort_by_key(|(_, mutation)| mutation.op != MutationOp::Create);
    for (row, mutation) in order {
        if !desk.replicates(row, mutation, schema_version).await? {
            refused.push(*row);
        }
    }
    desk.tell_unfit(strange.into_iter().map(|row| (table, row.id.clone(), row.wanted.clone())));
    desk.close().await?;
    write.settle_pending().await?;
    let masters = masters(&write, table, &refused, schema_version).await?;
    Device::pushed(write.conn(), actor, write.now(), None, true).await?;
    write.note("push", "");
    write.commit().await?;
    Ok(masters)
}

async fn masters(
    write: &Write,
    table: &'static Table,
    rows: &[&Pushed],
    version: u32,
) -> Result<Vec<Map<String, Value>>> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let keys: Vec<_> = ids.iter().map(|id| (table.name, id.clone())).collect();
    let visible = rights::visible(write, keys.iter()).await?;
    let stored = read::by_ids(write.conn(), table, &ids).await?;
    let mut masters = Vec::new();
    for (row, key) in rows.iter().zip(&keys) {
        let master = stored.iter().find(|found| found.id() == row.id && !found.is_deleted());
        let master = master.filter(|_| visible.contains(key));
        if !row.knew(master, version) {
            masters.push(document(master, &row.id, version));
        }
    }
    Ok(masters)
}

impl Desk<'_> {
    /// Takes one row; false when it was not stored, or not all of it.
    async fn replicates(&mut self, row: &Pushed, mut mutation: Mutation, version: u32) -> Result<bool> {
        let key = (mutation.table.name, mutation.row_id.clone());
        let there = self.stored.get(&key).filter(|row| !row.is_deleted() && self.visible.contains(&key));
        if mutation.op == MutationOp::Delete && there.is_none() {
            custody::supersede(self.write, mutation.table, &mutation.row_id, None).await?;
        }
        match (&mutation.op, there) {
            // Made on two devices, or made once and its answer lost: field by field, from nothing.
            (MutationOp::Create, Some(_)) => mutation.op = MutationOp::Update,
            (MutationOp::Delete, Some(before)) if row.assumed.is_some() && !row.knew(Some(before), version) => {
                let said = "Changed on another device before it was deleted on this one, so it stayed.";
                let case = before.case_id();
                self.tellings.push(Telling::to_author("conflict", mutation.table, &row.id, case, said, Map::new()));
                return Ok(false);
            }
            _ => (),
        }
        let gone = mutation.op == MutationOp::Delete && there.is_none();
        let result = self.mutate(&mutation, false).await?;
        if gone {
            // Whatever becomes of it, this device is without it already.
            return Ok(true);
        }
        if result.status == "retry" {
            // Such a client sends each table by itself, so a child may come before its case.
            let incoming = incoming(&mutation, whole(&mutation));
            custody::supersede(self.write, mutation.table, &mutation.row_id, Some(&incoming.raw)).await?;
            let why = custody::why_waiting(self.write).await?;
            self.keep(&incoming, None, why, false).await?;
            // It may never come: until it does, the device does not hold what the server does not have.
            device::resend(self.write, key.0, &key.1).await?;
            return Ok(true);
        }
        if !result.conflicts.is_empty() || matches!(result.status, "conflict" | "quarantined") {
            return Ok(false);
        }
        // Such a client passes over what a pull says of a row that it has not sent yet. What it said then
        // comes again with what is stored now, or, where nothing is, because it is asked for here.
        if let Some(there) = self.stored.get(&key).filter(|there| there.seq() != self.write.seq())
            && !there.is_deleted()
            && !holds(&row.wanted, there)
        {
            device::resend(self.write, key.0, &key.1).await?;
        }
        Ok(true)
    }
}
