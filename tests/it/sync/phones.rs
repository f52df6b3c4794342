//! A phone that speaks to the engine without HTTP in between, so that thousands of schedules can be tried.

use std::collections::BTreeSet;

use entities::Actor;
use entities::registry::SCHEMA_VERSION;
use entities::sync::{self, PullRequest, PushRefusal, PushRequest};
use serde_json::{Map, Value, json};

use super::agency::Agency;
use crate::support::{Person, Phone};

/// How an app treats a reply that would take rows it has not sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Uploads them first, as the published snippet does (S4).
    Rescues,
    /// Asks the server to hold deletes back while it has unsent work.
    AsksToWait,
}

/// What the network does to one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Works,
    LosesRequest,
    LosesAnswer,
}

#[derive(Clone, Debug)]
pub struct Device {
    pub owner: &'static str,
    pub name: String,
    pub habit: Habit,
    pub phone: Phone,
    pub actor: Actor,
    /// Ids that the last replies named as deleted.
    pub named: BTreeSet<(String, String)>,
    /// Ids this device has ever made.
    pub made: BTreeSet<(String, String)>,
    /// Deletes have been held back and not been delivered.
    pub conflicts_in_a_row: usize,
    pub most_conflicts: usize,
}

impl Device {
    pub fn new(agency: &Agency, owner: &'static str, name: &str, habit: Habit) -> Device {
        Device {
            owner,
            name: name.into(),
            habit,
            phone: Phone::of(&Person::at("http://127.0.0.1:1", &format!("{owner}@demo.example"))),
            actor: agency.actor(owner, Some(name)),
            named: BTreeSet::new(),
            made: BTreeSet::new(),
            conflicts_in_a_row: 0,
            most_conflicts: 0,
        }
    }

    /// Pulls once. True when the reply was taken in and nothing more is waiting.
    pub async fn pulls(&mut self, agency: &Agency, limit: Option<usize>, network: Network) -> bool {
        if network == Network::LosesRequest {
            return false;
        }
        let request = PullRequest {
            cursor: self.phone.cursor.unwrap_or(0),
            limit,
            schema_version: SCHEMA_VERSION,
            migration: None,
            told: sync::Told::default(),
            epoch: None,
            salvaged: None,
            pending: self.habit == Habit::AsksToWait && self.phone.has_unsynced_changes(),
        };
        let mut pull = sync::pull(&agency.store, &self.actor, &request).await.expect("pull");
        let body = sync::page::watermelon(&pull, Vec::new()).await.expect("page");
        let note = pull.note();
        drop(pull);
        if let Some(note) = note {
            note.keep(&agency.store).await.expect("kept");
        }
        if network == Network::LosesAnswer {
            return false;
        }
        let reply: Value = serde_json::from_slice(&body).expect("the page is JSON");
        if self.habit == Habit::Rescues {
            let doomed = self.doomed(&reply);
            if !doomed.is_empty() {
                sync::rescue(&agency.store, &self.actor, Value::Object(doomed)).await.expect("rescue");
            }
        }
        for (table, changes) in reply["changes"].as_object().expect("changes") {
            for id in changes["deleted"].as_array().expect("deleted") {
                self.named.insert((table.clone(), id.as_str().expect("id").to_owned()));
            }
        }
        self.phone.applies(&reply);
        reply["has_more"] == json!(false)
    }

    /// Unsent rows that a reply would destroy.
    fn doomed(&self, reply: &Value) -> Map<String, Value> {
        let outgoing = self.phone.outgoing();
        let mut doomed = Map::new();
        for (table, changes) in outgoing.as_object().expect("tables") {
            let lost: BTreeSet<&str> =
                reply["changes"][table]["deleted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let rows: Vec<&Value> = ["created", "updated"]
                .iter()
                .flat_map(|part| changes[part].as_array().into_iter().flatten())
                .filter(|row| lost.contains(row["id"].as_str().unwrap_or_default()))
                .collect();
            if !rows.is_empty() {
                doomed.insert(table.clone(), json!({"created": [], "updated": rows, "deleted": []}));
            }
        }
        doomed
    }

    /// Pushes what is waiting. True when the server has it and the phone knows.
    pub async fn pushes(&mut self, agency: &Agency, network: Network, twice: bool) -> bool {
        if !self.phone.has_unsynced_changes() || network == Network::LosesRequest {
            return !self.phone.has_unsynced_changes();
        }
        let Some(last_pulled_at) = self.phone.cursor else { return false };
        let request = PushRequest { last_pulled_at, body: self.phone.outgoing(), numbered: None };
        let mut answer = sync::push(&agency.store, &self.actor, request.clone()).await;
        if twice {
            answer = sync::push(&agency.store, &self.actor, request).await;
        }
        match answer {
            Ok(_) if network == Network::LosesAnswer => false,
            Ok(_) => {
                self.conflicts_in_a_row = 0;
                self.phone.marks_as_synced(&json!({}));
                true
            }
            Err(PushRefusal::Conflict(_)) => {
                self.conflicts_in_a_row += 1;
                self.most_conflicts = self.most_conflicts.max(self.conflicts_in_a_row);
                false
            }
            Err(other) => panic!("{}: a push must never fail: {other:?}", self.name),
        }
    }
}
