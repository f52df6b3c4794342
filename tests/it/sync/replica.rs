//! A device whose app is built on RxDB, with the published snippet: each collection replicates by itself, and what is
//! unsent is what differs from the state that it believes the server to have.
//!
//! Written from that library's replication, so that thousands of schedules can be tried; the real one is in
//! `tests/clients`. Where the two differ, this one is wrong.

use std::collections::{BTreeMap, BTreeSet};

use entities::registry::{Kind, SCHEMA_VERSION, TABLES, Table};
use entities::sync::native::cursor::CursorKey;
use entities::sync::{self, rxdb};
use entities::{Actor, Instant};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::agency::Agency;
use super::phones::Network;
use super::ways::{cut_short, holder, offers};
use crate::support::Person;

/// A row as JSON.
pub type Document = Map<String, Value>;

/// One collection: what the app sees, and what it believes the server to have.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// The checkpoint, and the epoch that the snippet keeps with it.
    cursor: Option<String>,
    pub epoch: Option<i64>,
    fork: BTreeMap<String, Document>,
    known: BTreeMap<String, Document>,
}

impl Collection {
    fn is_unsent(&self, id: &str) -> bool {
        self.fork.get(id).is_some_and(|fork| self.known.get(id) != Some(fork))
    }

    /// The library leaves rows with unsent edits to its next push.
    fn takes(&mut self, document: &Document) {
        let id = text(document, "id");
        if !self.is_unsent(id) {
            self.settles(id.to_owned(), document.clone());
        }
    }

    fn settles(&mut self, id: String, document: Document) {
        self.known.insert(id.clone(), document.clone());
        self.fork.insert(id, document);
    }

    fn unsent(&self) -> Vec<Value> {
        let rows = self.fork.iter().filter(|(id, _)| self.is_unsent(id));
        rows.map(|(id, fork)| match self.known.get(id) {
            Some(known) => json!({"assumedMasterState": known, "newDocumentState": fork}),
            None => json!({"newDocumentState": fork}),
        })
        .collect()
    }

    fn live(&self) -> impl Iterator<Item = (&String, &Document)> {
        self.fork.iter().filter(|(_, document)| !is_gone(document))
    }
}

/// A device and who carries it.
#[derive(Clone, Debug)]
pub struct Replica {
    pub owner: &'static str,
    pub name: String,
    person: Person,
    actor: Actor,
    collections: BTreeMap<&'static str, Collection>,
    /// The epoch for which it has offered what it holds.
    salvaged: Option<i64>,
    /// Ids that the last pages named as gone, and ids this device has ever made.
    pub named: BTreeSet<(String, String)>,
    pub made: BTreeSet<(String, String)>,
}

impl Replica {
    pub async fn new(agency: &Agency, owner: &'static str, name: &str) -> Replica {
        let actor = agency.actor(owner, Some(name));
        let read = TABLES.iter().filter(|table| table.readers.contains(&actor.role));
        Replica {
            owner,
            name: name.into(),
            person: holder(agency, owner, name).await,
            collections: read.map(|table| (table.name, Collection::default())).collect(),
            actor,
            salvaged: None,
            named: BTreeSet::new(),
            made: BTreeSet::new(),
        }
    }

    /// The tables it replicates, parents first.
    pub fn tables(&self) -> Vec<&'static Table> {
        TABLES.iter().filter(|table| self.collections.contains_key(table.name)).collect()
    }

    pub fn collection(&self, table: &str) -> &Collection {
        &self.collections[table]
    }

    fn held(&mut self, table: &str) -> &mut Collection {
        self.collections.get_mut(table).expect("a table that it replicates")
    }

    /// Pulls until a page is short. True when it came so far; the network may fail at the page of that number.
    pub async fn pulls(
        &mut self,
        agency: &Agency,
        table: &'static Table,
        limit: usize,
        fails: Option<(usize, Network)>,
    ) -> bool {
        for number in 0..500 {
            let network = fails.filter(|(at, _)| *at == number).map_or(Network::Works, |(_, network)| network);
            if network == Network::LosesRequest {
                return false;
            }
            let mut page = self.asks(agency, table, limit).await;
            let epoch = page["epoch"].as_i64().expect("an epoch");
            let others = self.collections.values().filter_map(|other| other.epoch).min();
            let own = self.collection(table.name).epoch;
            let restored = own.or(others).is_some_and(|known| known != epoch);
            if restored {
                if self.salvaged != Some(epoch) {
                    self.salvages(agency).await;
                    self.salvaged = Some(epoch);
                }
                page = self.asks(agency, table, limit).await;
            }
            if network == Network::LosesAnswer {
                return false;
            }
            let mut documents: Vec<Document> =
                page["documents"].as_array().expect("documents").iter().map(object).collect();
            let short = documents.len() < limit;
            for gone in documents.iter().filter(|document| is_gone(document)) {
                self.named.insert((table.name.to_owned(), text(gone, "id").to_owned()));
            }
            let replaced = page["replace"] == json!(true);
            let held = self.held(table.name);
            if replaced || restored {
                let sent: BTreeSet<&str> = documents.iter().map(|document| text(document, "id")).collect();
                let strays: Vec<Document> = held
                    .live()
                    .filter(|(id, _)| !sent.contains(id.as_str()))
                    .map(|(id, _)| object(&json!({"id": id, "_deleted": true})))
                    .collect();
                documents.extend(strays);
            }
            for document in &documents {
                held.takes(document);
            }
            // The checkpoint of a page that brought nothing is not kept.
            if !documents.is_empty() {
                held.cursor = page["checkpoint"]["cursor"].as_str().map(str::to_owned);
                held.epoch = Some(epoch);
            }
            if short {
                return true;
            }
        }
        panic!("{}: the pages of {} never end", self.name, table.name);
    }

    /// Pushes what is unsent in a table; a row in conflict is taken as it stands. True when the server has been told.
    pub async fn pushes(&mut self, agency: &Agency, table: &'static Table, network: Network) -> bool {
        let rows = self.collection(table.name).unsent();
        if rows.is_empty() || network == Network::LosesRequest {
            return false;
        }
        let masters = self.sends(agency, table, &rows).await;
        if network == Network::LosesAnswer {
            return true;
        }
        let held = self.held(table.name);
        for row in &rows {
            let sent = object(&row["newDocumentState"]);
            held.known.insert(text(&sent, "id").to_owned(), sent);
        }
        for master in masters {
            held.settles(text(&master, "id").to_owned(), master);
        }
        true
    }

    async fn asks(&self, agency: &Agency, table: &'static Table, limit: usize) -> Value {
        let held = self.collection(table.name);
        // Where there are rows and no checkpoint, the snippet asks for the whole table.
        let cursor = held.cursor.as_deref().or_else(|| held.live().next().map(|_| "none"));
        match agency.url {
            None => {
                let key = key();
                let request = request(table, cursor, limit, self.now(agency));
                let mut page =
                    rxdb::pull(&agency.store, &self.actor, &request, std::slice::from_ref(&key)).await.expect("pull");
                let body = page.body(&key).await.expect("page");
                let note = page.note();
                drop(page);
                if let Some(note) = note {
                    note.keep(&agency.store).await.expect("kept");
                }
                serde_json::from_slice(&body).expect("the page is JSON")
            }
            Some(_) => {
                let path =
                    format!("/sync/rxdb/{}/pull?cursor={}&limit={limit}", table.name, cursor.unwrap_or_default());
                let get = self.person.request(Method::GET, &path).header("x-device-time", self.now(agency).0);
                self.person.send(&path, get).await.ok()
            }
        }
    }

    async fn sends(&self, agency: &Agency, table: &'static Table, rows: &[Value]) -> Vec<Document> {
        match agency.url {
            None => {
                let rows = read(rows);
                let version = *SCHEMA_VERSION;
                rxdb::push(&agency.store, &self.actor, table, &rows, None, version).await.expect("a push never fails")
            }
            Some(_) => {
                let answer = self.person.post(&format!("/sync/rxdb/{}/push", table.name), json!(rows)).await.ok();
                answer.as_array().expect("rows").iter().map(object).collect()
            }
        }
    }

    /// Offers a restored server every row that it once had, in the words of a push.
    async fn salvages(&self, agency: &Agency) {
        let held = self.tables().into_iter().map(|table| {
            let collection = self.collection(table.name);
            let once = |id: &String| collection.known.get(id).is_some_and(|known| !is_gone(known));
            let rows = collection.live().filter(|(id, _)| once(id)).map(|(_, document)| said(table, document));
            (table.name, rows.collect())
        });
        offers(agency, &self.actor, &self.person, held.collect()).await;
    }

    /// A server dies in the middle of a pull or push of one table, and the device hears nothing.
    pub async fn arrives(&self, agency: &Agency, table: &'static Table, pulls: bool) {
        let rows = self.collection(table.name).unsent();
        if pulls {
            self.asks(agency, table, 100).await;
        } else if !rows.is_empty() {
            self.sends(agency, table, &rows).await;
        }
    }

    pub async fn is_cut_off(&self, agency: &Agency, table: &'static Table, pulls: bool, after: usize) {
        let collection = self.collection(table.name);
        let rows = read(&collection.unsent());
        if pulls {
            let (key, cursor) = (key(), collection.cursor.as_deref());
            let request = request(table, cursor, 100, self.now(agency));
            // Over HTTP the cursor is sealed by the API's own key: this one is then a stranger's.
            cut_short(rxdb::pull(&agency.store, &self.actor, &request, &[key]), after).await;
        } else if !rows.is_empty() {
            cut_short(rxdb::push(&agency.store, &self.actor, table, &rows, None, *SCHEMA_VERSION), after).await;
        }
    }

    fn now(&self, agency: &Agency) -> Instant {
        agency.clock.now()
    }

    pub fn has_unsent_changes(&self) -> bool {
        self.collections.values().any(|collection| !collection.unsent().is_empty())
    }

    /// What waits to be sent, as text.
    pub fn outgoing(&self) -> String {
        let waiting = self.collections.values().flat_map(Collection::unsent);
        waiting.map(|row| row["newDocumentState"].to_string()).collect()
    }

    pub fn creates(&mut self, table: &str, row: Value) {
        let mut row = object(&row);
        row.insert("_deleted".into(), false.into());
        let id = text(&row, "id").to_owned();
        self.made.insert((table.to_owned(), id.clone()));
        self.held(table).fork.insert(id, row);
    }

    pub fn edits(&mut self, table: &str, id: &str, column: &str, value: Value) {
        let row = self.held(table).fork.get_mut(id).expect("a row that it holds");
        row.insert(column.to_owned(), value);
    }

    pub fn deletes(&mut self, table: &str, id: &str) {
        let row = self.held(table).fork.get_mut(id).expect("a row that it holds");
        row.insert("_deleted".into(), true.into());
    }

    pub fn ids(&self, table: &str) -> BTreeSet<String> {
        self.collection(table).live().map(|(id, _)| id.clone()).collect()
    }

    pub fn row(&self, table: &str, id: &str) -> Document {
        self.collection(table).fork[id].clone()
    }
}

fn key() -> CursorKey {
    CursorKey::derive(b"a key for tests")
}

fn request<'a>(table: &'static Table, cursor: Option<&'a str>, limit: usize, now: Instant) -> rxdb::PullRequest<'a> {
    let told = sync::Told { clock: Some(now.0), app_version: None };
    rxdb::PullRequest { table, cursor, limit, schema_version: *SCHEMA_VERSION, told }
}

fn read(rows: &[Value]) -> Vec<rxdb::Pushed> {
    rows.iter().map(|row| rxdb::Pushed::read(row).expect("a pushed row")).collect()
}

/// A document in the words of a push: instants as milliseconds, lists and objects as text.
pub(super) fn said(table: &'static Table, document: &Document) -> Value {
    let value = |column: &entities::registry::Column| {
        let value = document.get(column.name).cloned().unwrap_or_default();
        match (column.field.kind, &value) {
            (_, Value::Null) => Value::Null,
            (Kind::Instant, Value::String(at)) => Instant::parse(at).expect("an instant").0.into(),
            (Kind::Json(_), held) => held.to_string().into(),
            _ => value,
        }
    };
    let mut row: Document = table.wire_columns().map(|(_, column)| (column.name.to_owned(), value(column))).collect();
    row.insert("_changed".into(), "".into());
    row.into()
}

pub(super) fn object(value: &Value) -> Document {
    value.as_object().expect("an object").clone()
}

pub(super) fn text<'a>(document: &'a Document, name: &str) -> &'a str {
    document.get(name).and_then(Value::as_str).expect("a text")
}

fn is_gone(document: &Document) -> bool {
    document.get("_deleted") == Some(&Value::Bool(true))
}
