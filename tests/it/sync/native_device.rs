//! A device whose app speaks the native protocol: an opaque cursor, and mutations that wait, laid over what the server
//! said last.

use std::collections::{BTreeMap, BTreeSet};

use entities::Actor;
use entities::registry::{SCHEMA_VERSION, TABLES, Table, table};
use entities::sync::native::cursor::CursorKey;
use entities::sync::native::{self, Mutation, MutationOp, PullRefusal, page};
use entities::sync::{self, PullRequest};
use serde_json::{Map, Value, json};

use super::agency::Agency;
use super::phones::Network;
use super::replica::{Document, object, said, text};
use super::ways::{cut_short, holder, offers};
use crate::support::Person;

/// What a pull was answered.
enum Reply {
    Page(Value),
    /// A backup was restored.
    EpochChanged(i64),
    /// It was away for too long.
    Expired,
}

#[derive(Clone, Debug)]
pub struct NativeDevice {
    pub owner: &'static str,
    pub name: String,
    person: Person,
    actor: Actor,
    cursor: Option<String>,
    pub epoch: Option<i64>,
    /// What the server said of each row, by table and id.
    base: BTreeMap<String, BTreeMap<String, Document>>,
    /// Mutations that wait, in the order in which they were made.
    waiting: Vec<Value>,
    made_so_far: u32,
    /// Rows that a pull from the start has not named yet.
    unnamed: BTreeSet<(String, String)>,
    pub named: BTreeSet<(String, String)>,
    pub made: BTreeSet<(String, String)>,
}

impl NativeDevice {
    pub async fn new(agency: &Agency, owner: &'static str, name: &str) -> NativeDevice {
        NativeDevice {
            owner,
            name: name.into(),
            person: holder(agency, owner, name).await,
            actor: agency.actor(owner, Some(name)),
            cursor: None,
            epoch: None,
            base: BTreeMap::new(),
            waiting: Vec::new(),
            made_so_far: 0,
            unnamed: BTreeSet::new(),
            named: BTreeSet::new(),
            made: BTreeSet::new(),
        }
    }

    /// Pulls until there is no more. True when it came so far; the network may fail at the page of that number.
    pub async fn pulls(&mut self, agency: &Agency, limit: Option<usize>, fails: Option<(usize, Network)>) -> bool {
        for number in 0..500 {
            let network = fails.filter(|(at, _)| *at == number).map_or(Network::Works, |(_, network)| network);
            if network == Network::LosesRequest {
                return false;
            }
            let reply = self.asks(agency, limit).await;
            if network == Network::LosesAnswer {
                return false;
            }
            let page = match reply {
                Reply::Page(page) => page,
                restart => {
                    if let Reply::EpochChanged(epoch) = restart {
                        self.salvages(agency).await;
                        self.epoch = Some(epoch);
                    }
                    self.cursor = None;
                    continue;
                }
            };
            if self.cursor.is_none() {
                let all = self.base.iter().flat_map(|(table, rows)| rows.keys().map(|id| (table.clone(), id.clone())));
                self.unnamed = all.collect();
            }
            for change in page["changes"].as_array().expect("changes") {
                let change = object(change);
                let (table, id) = (text(&change, "table").to_owned(), text(&change, "id").to_owned());
                self.unnamed.remove(&(table.clone(), id.clone()));
                if text(&change, "op") == "put" {
                    self.base.entry(table).or_default().insert(id, object(&change["row"]));
                } else {
                    self.base.entry(table.clone()).or_default().remove(&id);
                    self.named.insert((table, id));
                }
            }
            self.cursor = page["next_cursor"].as_str().map(str::to_owned);
            self.epoch = page["epoch"].as_i64();
            if page["has_more"] == json!(false) {
                for (table, id) in std::mem::take(&mut self.unnamed) {
                    self.base.entry(table).or_default().remove(&id);
                }
                return true;
            }
        }
        panic!("{}: the pages never end", self.name);
    }

    /// Pushes what waits. True when the server has been told.
    pub async fn pushes(&mut self, agency: &Agency, network: Network, twice: bool) -> bool {
        if self.waiting.is_empty() || network == Network::LosesRequest {
            return false;
        }
        let mut results = self.sends(agency).await;
        if twice {
            let again = self.sends(agency).await;
            let answered = |result: &&Value| result["status"] != json!("retry");
            let texts =
                |results: &[Value]| -> Vec<String> { results.iter().filter(answered).map(Value::to_string).collect() };
            let (first, second) = (texts(&results), texts(&again));
            assert!(first.iter().all(|result| second.contains(result)), "{}: {first:?}, then {second:?}", self.name);
            results = again;
        }
        if network == Network::LosesAnswer {
            return true;
        }
        let sent = std::mem::take(&mut self.waiting);
        assert_eq!(sent.len(), results.len());
        for (mutation, result) in sent.into_iter().zip(results) {
            assert_eq!(mutation["id"], result["id"]);
            if result["status"] == json!("retry") {
                self.waiting.push(mutation);
            } else if let Some(row) = result.get("row") {
                let mutation = object(&mutation);
                let rows = self.base.entry(text(&mutation, "table").to_owned()).or_default();
                rows.insert(text(&mutation, "row_id").to_owned(), object(row));
            }
        }
        true
    }

    async fn asks(&self, agency: &Agency, limit: Option<usize>) -> Reply {
        match agency.url {
            None => {
                let keys = [key()];
                let request = PullRequest { epoch: self.epoch, ..request(agency, limit) };
                let pulled = native::pull(&agency.store, &self.actor, request, self.cursor.as_deref(), &keys);
                let mut pull = match pulled.await {
                    Ok(pull) => pull,
                    Err(PullRefusal::EpochChanged(epoch)) => return Reply::EpochChanged(epoch),
                    Err(PullRefusal::Expired) => return Reply::Expired,
                    Err(other) => panic!("{}: {other:?}", self.name),
                };
                let body = page::native(&pull, self.actor.user(), &keys[0]).await.expect("page");
                let note = pull.note();
                drop(pull);
                if let Some(note) = note {
                    note.keep(&agency.store).await.expect("kept");
                }
                Reply::Page(serde_json::from_slice(&body).expect("the page is JSON"))
            }
            Some(_) => {
                let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
                let epoch = self.epoch.map(|epoch| format!("&epoch={epoch}")).unwrap_or_default();
                let path = format!("/sync/pull?cursor={}{limit}{epoch}", self.cursor.as_deref().unwrap_or_default());
                let answer = self.person.get(&path).await;
                match answer.status {
                    409 => Reply::EpochChanged(answer.json()["epoch"].as_i64().expect("an epoch")),
                    410 => Reply::Expired,
                    _ => Reply::Page(answer.ok()),
                }
            }
        }
    }

    async fn sends(&self, agency: &Agency) -> Vec<Value> {
        match agency.url {
            None => {
                let mutations = self.mutations();
                let results = native::mutate(&agency.store, &self.actor, &mutations, None, *SCHEMA_VERSION).await;
                let results = results.expect("push");
                results.iter().map(|text| serde_json::from_str(text.get()).expect("JSON")).collect()
            }
            Some(_) => {
                let body = json!({"batch_id": "batch-00000001", "mutations": self.waiting});
                self.person.post("/sync/push", body).await.ok()["results"].as_array().expect("results").clone()
            }
        }
    }

    fn mutations(&self) -> Vec<Mutation> {
        let read = |sent: &Value| {
            let one = object(sent);
            let op = match text(&one, "op") {
                "create" => MutationOp::Create,
                "update" => MutationOp::Update,
                "action" => MutationOp::Action(text(&one, "verb").to_owned()),
                _ => MutationOp::Delete,
            };
            let set = one.get("set").map(object).unwrap_or_default();
            let table = table(text(&one, "table")).expect("a table");
            Mutation {
                id: text(&one, "id").into(),
                op,
                table,
                row_id: text(&one, "row_id").into(),
                set,
                sent: sent.to_string(),
            }
        };
        self.waiting.iter().map(read).collect()
    }

    /// Offers a restored server every row that it once had, in the words of a push.
    async fn salvages(&self, agency: &Agency) {
        let held = TABLES.iter().map(|table| {
            let rows = self.base.get(table.name).into_iter().flatten().map(|(_, row)| said(table, row));
            (table.name, rows.collect())
        });
        offers(agency, &self.actor, &self.person, held.collect()).await;
    }

    /// A server dies in the middle of a pull or a push, and the device hears nothing.
    pub async fn arrives(&self, agency: &Agency, pulls: bool) {
        if pulls {
            self.asks(agency, None).await;
        } else if !self.waiting.is_empty() {
            self.sends(agency).await;
        }
    }

    pub async fn is_cut_off(&self, agency: &Agency, pulls: bool, after: usize) {
        if pulls && agency.url.is_none() {
            let (keys, cursor) = ([key()], self.cursor.as_deref());
            cut_short(native::pull(&agency.store, &self.actor, request(agency, None), cursor, &keys), after).await;
        } else if !self.waiting.is_empty() {
            let mutations = self.mutations();
            cut_short(native::mutate(&agency.store, &self.actor, &mutations, None, *SCHEMA_VERSION), after).await;
        }
    }

    fn waits(&mut self, op: &str, table: &str, row_id: &str, set: Map<String, Value>) {
        self.made_so_far += 1;
        let id = format!("{}-{:06}", self.name, self.made_so_far);
        self.waiting.push(json!({"id": id, "op": op, "table": table, "row_id": row_id, "set": set}));
    }

    /// What the app shows of a table: the server's word with what waits laid over it.
    fn shown(&self, table: &str) -> BTreeMap<String, Document> {
        let mut rows = self.base.get(table).cloned().unwrap_or_default();
        for mutation in self.waiting.iter().map(object).filter(|one| text(one, "table") == table) {
            let id = text(&mutation, "row_id").to_owned();
            match text(&mutation, "op") {
                "delete" => drop(rows.remove(&id)),
                "update" if !rows.contains_key(&id) => (),
                _ => {
                    let row = rows.entry(id).or_default();
                    for (name, pair) in object(&mutation["set"]) {
                        row.insert(name, pair["to"].clone());
                    }
                }
            }
        }
        rows
    }

    pub fn ids(&self, table: &str) -> BTreeSet<String> {
        self.shown(table).into_keys().collect()
    }

    pub fn row(&self, table: &str, id: &str) -> Document {
        self.shown(table).remove(id).expect("a row that it shows")
    }

    pub fn creates(&mut self, table: &str, row: Value) {
        let mut row = object(&row);
        let id = row.remove("id").and_then(|id| id.as_str().map(str::to_owned)).expect("an id");
        let set = row.into_iter().map(|(name, value)| (name, json!({"from": null, "to": value}))).collect();
        self.made.insert((table.to_owned(), id.clone()));
        self.waits("create", table, &id, set);
    }

    pub fn edits(&mut self, table: &str, id: &str, column: &str, value: Value) {
        let from = self.row(table, id).get(column).cloned().unwrap_or_default();
        let set = Map::from_iter([(column.to_owned(), json!({"from": from, "to": value}))]);
        self.waits("update", table, id, set);
    }

    /// Says what somebody did to a row, and why.
    pub fn acts(&mut self, table: &str, id: &str, verb: &str, why: &str) {
        let mut set = Map::from_iter([("status_reason".to_owned(), json!({"from": null, "to": why}))]);
        if verb == "hold" {
            set.insert("resume_on".into(), json!({"from": null, "to": "2027-03-01"}));
        }
        self.waits("action", table, id, set);
        self.waiting.last_mut().expect("it waits")["verb"] = json!(verb);
    }

    pub fn deletes(&mut self, table: &str, id: &str) {
        self.waits("delete", table, id, Map::new());
    }

    pub fn has_unsent_changes(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What waits to be sent, as text. What a mutation takes a field from is not its own.
    pub fn outgoing(&self) -> String {
        let mut all = String::new();
        for mutation in self.waiting.iter().map(object) {
            all.push_str(text(&mutation, "row_id"));
            for (_, pair) in object(&mutation["set"]) {
                all.push_str(&pair["to"].to_string());
            }
        }
        all
    }

    pub fn tables(&self) -> Vec<&'static Table> {
        TABLES.iter().filter(|table| table.readers.contains(&self.actor.role)).collect()
    }
}

fn key() -> CursorKey {
    CursorKey::derive(b"a key for tests")
}

fn request(agency: &Agency, limit: Option<usize>) -> PullRequest {
    let told = sync::Told { clock: Some(agency.clock.now().0), app_version: None };
    PullRequest { limit: Some(limit.unwrap_or(500)), schema_version: *SCHEMA_VERSION, told, ..PullRequest::default() }
}
