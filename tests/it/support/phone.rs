//! A phone that behaves as WatermelonDB 0.28 does: its cursor, its rows, its merge, its marks.
//!
//! Written from that library's `sync/impl`, quirks included, so that a thousand schedules can be tried in the time the
//! real one (`tests/clients`) takes for ten. Where the two differ, this one is wrong.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::database::uuid;
use super::person::Person;

/// What a row on the phone is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Synced,
    Created,
    Updated,
}

/// A row as the phone holds it.
#[derive(Clone, Debug)]
pub struct Local {
    pub row: Map<String, Value>,
    pub status: Status,
    /// Columns edited here since the last push.
    pub changed: BTreeSet<String>,
}

/// A phone and the person who carries it. Clone it to see what a lost answer or a copy from a backup does.
#[derive(Clone, Debug)]
pub struct Phone {
    pub person: Person,
    /// Milliseconds, as the server said; `None` before the first pull.
    pub cursor: Option<i64>,
    /// Of the last reply that was taken in, for an app that gives it back.
    pub epoch: Option<i64>,
    pub schema_version: u32,
    /// What an app says once after it was updated: the new tables and columns; null else.
    pub migration: Value,
    /// The number of the last push and of the last that was answered, for an app that counts its pushes.
    pub counts: Option<(i64, i64)>,
    tables: BTreeMap<String, BTreeMap<String, Local>>,
    deleted: BTreeMap<String, BTreeSet<String>>,
}

impl Phone {
    /// A phone with nothing on it.
    pub fn of(person: &Person) -> Phone {
        Phone {
            person: person.clone(),
            cursor: None,
            epoch: None,
            schema_version: 1,
            migration: Value::Null,
            counts: None,
            tables: BTreeMap::new(),
            deleted: BTreeMap::new(),
        }
    }

    /// The whole of `synchronize()` once: pull, apply, push. Gives the push's answer; `None` when nothing was to push.
    pub async fn syncs_once(&mut self) -> Option<Answer> {
        self.pulls().await;
        self.pushes().await
    }

    /// As the documentation advises: `synchronize()`, and once more after a conflict.
    pub async fn syncs(&mut self) {
        if let Some(answer) = self.syncs_once().await {
            if answer.status == 409 {
                if let Some(again) = self.syncs_once().await {
                    again.ok();
                }
            } else {
                answer.ok();
            }
        }
    }

    /// Pulls and applies. Gives the answer as it came.
    pub async fn pulls(&mut self) -> Value {
        let answer = self.asks("").await.ok();
        self.applies(&answer);
        answer
    }

    /// Asks for a pull with more in its query string, and applies nothing.
    pub async fn asks(&self, more: &str) -> Answer {
        let cursor = self.cursor.map_or("null".to_owned(), |at| at.to_string());
        // As encodeURIComponent does it, and more.
        let migration: String = match &self.migration {
            Value::Null => "null".to_owned(),
            given => given.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        };
        let version = self.schema_version;
        let path = format!("/sync?last_pulled_at={cursor}&schema_version={version}&migration={migration}{more}");
        self.person.get(&path).await
    }

    /// Takes an answer in, as the library does in one local transaction.
    #[track_caller]
    pub fn applies(&mut self, answer: &Value) {
        let timestamp = answer["timestamp"].as_i64().filter(|at| *at > 0).expect("a timestamp greater than zero");
        let strategy = &answer["experimentalStrategy"];
        for (table, changes) in answer["changes"].as_object().expect("changes") {
            let [created, updated, deleted] =
                ["created", "updated", "deleted"].map(|part| changes[part].as_array().expect("all three arrays"));
            assert!(created.is_empty(), "{table}: with sendCreatedAsUpdated nothing comes as created");
            let mut seen = BTreeSet::new();
            for raw in updated {
                let raw = raw.as_object().expect("a row is an object");
                let id = raw["id"].as_str().expect("a row has an id");
                assert!(seen.insert(id.to_owned()), "{table}/{id} comes twice");
                assert!(!raw.contains_key("_status") && !raw.contains_key("_changed"), "{table}/{id}");
                self.takes(table, id, raw);
            }
            if replaces(strategy, table) {
                let keep = |id: &String, local: &Local| seen.contains(id) || local.status == Status::Created;
                self.tables.entry(table.clone()).or_default().retain(|id, local| keep(id, local));
                self.deleted.entry(table.clone()).or_default().retain(|id| seen.contains(id));
            }
            for id in deleted {
                let id = id.as_str().expect("an id is a string");
                assert!(seen.insert(id.to_owned()), "{table}/{id} comes twice");
                self.tables.entry(table.clone()).or_default().remove(id);
                self.deleted.entry(table.clone()).or_default().remove(id);
            }
        }
        self.cursor = Some(timestamp);
        self.epoch = answer["epoch"].as_i64();
    }

    fn takes(&mut self, table: &str, id: &str, raw: &Map<String, Value>) {
        if self.deleted.get(table).is_some_and(|ids| ids.contains(id)) {
            return; // the deletion is pushed later
        }
        let rows = self.tables.entry(table.to_owned()).or_default();
        let fresh = Local { row: raw.clone(), status: Status::Synced, changed: BTreeSet::new() };
        let local = rows.entry(id.to_owned()).or_insert(fresh);
        for (column, value) in raw {
            if !local.changed.contains(column) {
                local.row.insert(column.clone(), value.clone());
            }
        }
    }

    /// What a push would carry, all tables present.
    pub fn outgoing(&self) -> Value {
        let tables: BTreeSet<&String> = self.tables.keys().chain(self.deleted.keys()).collect();
        let of = |table: &String, status: Status| -> Vec<Value> {
            let rows = self.tables.get(table).into_iter().flatten();
            rows.filter(|(_, local)| local.status == status).map(|(_, local)| local.raw()).collect()
        };
        let changes = tables.into_iter().map(|table| {
            let deleted: Vec<&String> = self.deleted.get(table).into_iter().flatten().collect();
            let all = json!({
                "created": of(table, Status::Created), "updated": of(table, Status::Updated), "deleted": deleted,
            });
            (table.clone(), all)
        });
        Value::Object(changes.collect())
    }

    /// Pushes what is waiting and marks it when it was taken. `None` when nothing is waiting.
    pub async fn pushes(&mut self) -> Option<Answer> {
        if !self.has_unsynced_changes() {
            return None;
        }
        let answer = self.sends(&self.outgoing()).await;
        if answer.status == 200 {
            self.marks_as_synced(&answer.json());
        }
        Some(answer)
    }

    /// Sends these changes as the documentation's snippet does: JSON, under no JSON content type.
    pub async fn sends(&self, changes: &Value) -> Answer {
        let counted = self.counts.map(|(push, acked)| format!("&push={push}&acked={acked}")).unwrap_or_default();
        let cursor = self.cursor.expect("no push before the first pull");
        let path = format!("/sync?last_pulled_at={cursor}{counted}");
        let request = self.person.request(Method::POST, &path).body(changes.to_string());
        let request = request.header("content-type", "text/plain;charset=UTF-8");
        self.person.send(&format!("push {changes}"), request).await
    }

    /// What the library does when a push was answered.
    pub fn marks_as_synced(&mut self, answer: &Value) {
        let rejected = |table: &str, id: &str| {
            let ids = answer["experimentalRejectedIds"][table].as_array();
            ids.is_some_and(|ids| ids.iter().any(|one| one == id))
        };
        for (table, rows) in &mut self.tables {
            for (_, local) in rows.iter_mut().filter(|(id, _)| !rejected(table, id)) {
                local.status = Status::Synced;
                local.changed.clear();
            }
        }
        for (table, ids) in &mut self.deleted {
            ids.retain(|id| rejected(table, id));
        }
    }

    pub fn has_unsynced_changes(&self) -> bool {
        self.tables.values().flatten().any(|(_, local)| local.status != Status::Synced)
            || self.deleted.values().any(|ids| !ids.is_empty())
    }

    /// Makes a row here; gives its id. The row may bring its own.
    #[track_caller]
    pub fn creates(&mut self, table: &str, row: Value) -> String {
        let mut row = row.as_object().expect("a row is an object").clone();
        let id = match row.get("id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => uuid(),
        };
        row.insert("id".to_owned(), json!(id));
        let local = Local { row, status: Status::Created, changed: BTreeSet::new() };
        let before = self.tables.entry(table.to_owned()).or_default().insert(id.clone(), local);
        assert!(before.is_none(), "{table}/{id} is on the phone already");
        id
    }

    /// Edits columns of a row here.
    #[track_caller]
    pub fn edits(&mut self, table: &str, id: &str, columns: Value) {
        let rows = self.tables.get_mut(table);
        let local = rows.and_then(|rows| rows.get_mut(id)).unwrap_or_else(|| panic!("no {table}/{id} on the phone"));
        for (column, value) in columns.as_object().expect("columns are an object") {
            local.row.insert(column.clone(), value.clone());
            local.changed.insert(column.clone());
            if local.status != Status::Created {
                local.status = Status::Updated;
            }
        }
    }

    /// Marks a row as deleted here; one that was never pushed is simply gone.
    #[track_caller]
    pub fn deletes(&mut self, table: &str, id: &str) {
        let local = self.tables.get_mut(table).and_then(|rows| rows.remove(id));
        let local = local.unwrap_or_else(|| panic!("no {table}/{id} on the phone"));
        if local.status != Status::Created {
            self.deleted.entry(table.to_owned()).or_default().insert(id.to_owned());
        }
    }

    /// A row, if it is on the phone.
    pub fn row(&self, table: &str, id: &str) -> Option<&Map<String, Value>> {
        self.tables.get(table)?.get(id).map(|local| &local.row)
    }

    /// One column of a row that must be on the phone.
    #[track_caller]
    pub fn column(&self, table: &str, id: &str, column: &str) -> Value {
        let row = self.row(table, id).unwrap_or_else(|| panic!("no {table}/{id} on the phone"));
        row.get(column).cloned().unwrap_or(Value::Null)
    }

    /// The ids of a table's rows on the phone.
    pub fn ids(&self, table: &str) -> BTreeSet<String> {
        self.tables.get(table).into_iter().flatten().map(|(id, _)| id.clone()).collect()
    }

    /// Every row that a server has had, as it stands here, by table: what is offered after a restore.
    pub fn once_synced(&self) -> BTreeMap<String, Vec<Value>> {
        let rows = |rows: &BTreeMap<String, Local>| -> Vec<Value> {
            let known = rows.values().filter(|local| local.status != Status::Created);
            known.map(Local::raw).collect()
        };
        self.tables.iter().map(|(table, all)| (table.clone(), rows(all))).filter(|(_, all)| !all.is_empty()).collect()
    }

    /// Every row on the phone by table and id, for comparing two phones.
    pub fn everything(&self) -> BTreeMap<String, BTreeMap<String, Map<String, Value>>> {
        let rows = |rows: &BTreeMap<String, Local>| rows.iter().map(|(id, l)| (id.clone(), l.row.clone())).collect();
        let filled = self.tables.iter().filter(|(_, rows)| !rows.is_empty());
        filled.map(|(table, all)| (table.clone(), rows(all))).collect()
    }
}

impl Local {
    /// The row as the library pushes it: with its two marks.
    fn raw(&self) -> Value {
        let mut raw = self.row.clone();
        let status = match self.status {
            Status::Synced => "synced",
            Status::Created => "created",
            Status::Updated => "updated",
        };
        raw.insert("_status".to_owned(), json!(status));
        raw.insert("_changed".to_owned(), json!(self.changed.iter().cloned().collect::<Vec<_>>().join(",")));
        Value::Object(raw)
    }
}

fn replaces(strategy: &Value, table: &str) -> bool {
    let of = |value: &Value| value == "replacement";
    of(strategy) || of(strategy["override"].get(table).unwrap_or(&strategy["default"]))
}
