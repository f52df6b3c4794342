//! A device of another kind than a phone with WatermelonDB, whichever it is.

use std::collections::BTreeSet;

use entities::registry::Table;
use serde_json::Value;

use super::agency::Agency;
use super::native_device::NativeDevice;
use super::phones::Network;
use super::replica::{Document, Replica};

#[derive(Clone, Debug)]
pub enum Laptop {
    Rxdb(Replica),
    Native(NativeDevice),
}

/// What a sync is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub limit: usize,
    /// The network fails at the page of that number.
    pub pull: Option<(usize, Network)>,
    pub push: Network,
}

impl Conditions {
    pub const GOOD: Conditions = Conditions { limit: 100, pull: None, push: Network::Works };
}

macro_rules! both {
    ($laptop:expr, $one:ident => $what:expr) => {
        match $laptop {
            Laptop::Rxdb($one) => $what,
            Laptop::Native($one) => $what,
        }
    };
}

impl Laptop {
    pub fn owner(&self) -> &'static str {
        both!(self, one => one.owner)
    }

    pub fn name(&self) -> &str {
        both!(self, one => &one.name)
    }

    /// What is synced by itself: each table, or all of them at once.
    pub fn parts(&self) -> Vec<Option<&'static Table>> {
        match self {
            Laptop::Rxdb(replica) => replica.tables().into_iter().map(Some).collect(),
            Laptop::Native(_) => vec![None],
        }
    }

    pub fn tables(&self) -> Vec<&'static Table> {
        both!(self, one => one.tables())
    }

    /// Pulls a part, whatever becomes of that.
    pub async fn pulls(&mut self, agency: &Agency, part: Option<&'static Table>, how: Conditions) {
        match (self, part) {
            (Laptop::Rxdb(replica), Some(table)) => drop(replica.pulls(agency, table, how.limit, how.pull).await),
            (Laptop::Native(device), _) => drop(device.pulls(agency, Some(how.limit), how.pull).await),
            (Laptop::Rxdb(_), None) => (),
        }
    }

    /// Pushes what a part has. True when the server has been told.
    pub async fn pushes(&mut self, agency: &Agency, part: Option<&'static Table>, how: Conditions) -> bool {
        match (self, part) {
            (Laptop::Rxdb(replica), Some(table)) => replica.pushes(agency, table, how.push).await,
            (Laptop::Native(device), _) => device.pushes(agency, how.push, how.limit.is_multiple_of(2)).await,
            (Laptop::Rxdb(_), None) => false,
        }
    }

    /// A request of it arrives late, and nobody hears the answer.
    pub async fn arrives(&self, agency: &Agency, table: usize, pulls: bool) {
        match self {
            Laptop::Rxdb(replica) => {
                let tables = replica.tables();
                replica.arrives(agency, tables[table % tables.len()], pulls).await;
            }
            Laptop::Native(device) => device.arrives(agency, pulls).await,
        }
    }

    pub async fn is_cut_off(&self, agency: &Agency, table: usize, pulls: bool, after: usize) {
        match self {
            Laptop::Rxdb(replica) => {
                let tables = replica.tables();
                replica.is_cut_off(agency, tables[table % tables.len()], pulls, after).await;
            }
            Laptop::Native(device) => device.is_cut_off(agency, pulls, after).await,
        }
    }

    /// The epoch to which it knows its rows of a table to belong.
    pub fn epoch(&self, table: &str) -> Option<i64> {
        match self {
            Laptop::Rxdb(replica) => replica.collection(table).epoch,
            Laptop::Native(device) => device.epoch,
        }
    }

    /// Rows that its pulls named as gone since it was asked last.
    pub fn named(&mut self) -> BTreeSet<(String, String)> {
        both!(self, one => std::mem::take(&mut one.named))
    }

    pub fn made(&self) -> &BTreeSet<(String, String)> {
        both!(self, one => &one.made)
    }

    pub fn ids(&self, table: &str) -> BTreeSet<String> {
        both!(self, one => one.ids(table))
    }

    pub fn row(&self, table: &str, id: &str) -> Document {
        both!(self, one => one.row(table, id))
    }

    pub fn creates(&mut self, table: &str, row: Value) {
        both!(self, one => one.creates(table, row));
    }

    pub fn edits(&mut self, table: &str, id: &str, column: &str, value: Value) {
        both!(self, one => one.edits(table, id, column, value));
    }

    pub fn deletes(&mut self, table: &str, id: &str) {
        both!(self, one => one.deletes(table, id));
    }

    pub fn has_unsent_changes(&self) -> bool {
        both!(self, one => one.has_unsent_changes())
    }

    pub fn outgoing(&self) -> String {
        both!(self, one => one.outgoing())
    }
}
