//! A phone with the habits of its app, on a network that loses things. `ways.rs` says how it reaches the server.

use std::collections::BTreeSet;

use entities::registry::{SCHEMA_VERSION, TABLES};
use entities::sync::{self, PullRequest};
use entities::{Actor, Instant};
use serde_json::{Map, Value, json};

use super::agency::Agency;
use super::ways::{Pushed, holder, offers};
use crate::support::Phone;

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
    pub(super) actor: Actor,
    /// Ids that the last replies named as deleted.
    pub named: BTreeSet<(String, String)>,
    /// Ids this device has ever made.
    pub made: BTreeSet<(String, String)>,
    /// Deletes have been held back and not been delivered.
    pub conflicts_in_a_row: usize,
    pub most_conflicts: usize,
    /// The epoch it belongs to, once it has heard of one.
    pub epoch: Option<i64>,
    /// Tables that its version of the app does not know.
    pub lacks: BTreeSet<&'static str>,
    /// Tables that it has come to know and not been sent yet.
    pub grown: BTreeSet<&'static str>,
    /// Milliseconds by which its clock is ahead.
    pub skew_ms: i64,
}

impl Device {
    pub async fn new(agency: &Agency, owner: &'static str, name: &str, habit: Habit) -> Device {
        Device {
            owner,
            name: name.into(),
            habit,
            phone: Phone::of(&holder(agency, owner, name).await),
            actor: agency.actor(owner, Some(name)),
            named: BTreeSet::new(),
            made: BTreeSet::new(),
            conflicts_in_a_row: 0,
            most_conflicts: 0,
            epoch: None,
            lacks: BTreeSet::new(),
            grown: BTreeSet::new(),
            skew_ms: 0,
        }
    }

    /// Pulls once. True when the reply was taken in and nothing more is waiting.
    pub async fn pulls(&mut self, agency: &Agency, limit: Option<usize>, network: Network) -> bool {
        if network == Network::LosesRequest {
            return false;
        }
        let mut reply = self.asks(agency, self.request(agency, limit, None)).await;
        let epoch = reply["epoch"].as_i64().expect("an epoch");
        let restored = self.phone.cursor.is_some() && self.epoch.is_some_and(|known| known != epoch);
        // Now this answer is lost, now the one after the salvage.
        let at_once = self.phone.cursor.is_none_or(|cursor| cursor % 2 == 0);
        if network == Network::LosesAnswer && (at_once || !restored) {
            return false;
        }
        if restored {
            self.salvages(agency).await;
            reply = self.asks(agency, self.request(agency, limit, Some(epoch))).await;
            if network == Network::LosesAnswer {
                return false;
            }
        }
        for table in &self.lacks {
            reply["changes"].as_object_mut().expect("changes").remove(*table);
        }
        let replaced = reply["experimentalStrategy"] == json!("replacement");
        if self.habit == Habit::Rescues {
            let doomed = self.doomed(&reply, replaced);
            if !doomed.is_empty() {
                self.rescues(agency, Value::Object(doomed)).await;
            }
        }
        for (table, changes) in reply["changes"].as_object().expect("changes") {
            for id in changes["deleted"].as_array().expect("deleted") {
                self.named.insert((table.clone(), id.as_str().expect("id").to_owned()));
            }
        }
        let before = self.phone.cursor;
        self.phone.applies(&reply);
        assert!(
            before <= self.phone.cursor,
            "{}: the cursor fell from {before:?} to {:?}",
            self.name,
            self.phone.cursor
        );
        self.grown.clear();
        // Until the server's word has taken the place of what is held, this phone belongs to the old epoch.
        if !restored || replaced {
            self.epoch = Some(epoch);
        }
        reply["has_more"] == json!(false)
    }

    pub(super) fn request(&self, agency: &Agency, limit: Option<usize>, salvaged: Option<i64>) -> PullRequest {
        let migration =
            sync::Migration { tables: self.grown.iter().map(|name| (*name).to_owned()).collect(), columns: vec![] };
        PullRequest {
            cursor: self.phone.cursor.unwrap_or(0),
            limit,
            schema_version: *SCHEMA_VERSION,
            migration: (!self.grown.is_empty()).then_some(migration),
            told: sync::Told { clock: Some(self.now(agency).0), app_version: None },
            epoch: self.epoch,
            salvaged,
            pending: self.habit == Habit::AsksToWait && self.phone.has_unsynced_changes(),
        }
    }

    /// What this device takes for the time.
    pub fn now(&self, agency: &Agency) -> Instant {
        agency.clock.now().plus_ms(self.skew_ms)
    }

    /// Offers a restored server what it once had, as the published snippet does.
    async fn salvages(&self, agency: &Agency) {
        let mut held = self.phone.once_synced();
        let held = TABLES.iter().filter_map(|table| held.remove(table.name).map(|rows| (table.name, rows)));
        offers(agency, &self.actor, &self.phone.person, held.collect()).await;
    }

    /// The app is installed anew in a version that does not know a table.
    pub fn is_installed_without(&mut self, table: &'static str) {
        // The app's count stays with the person: a number is never used twice.
        let counts = self.phone.counts;
        self.phone = Phone::of(&self.phone.person);
        self.phone.counts = counts;
        self.epoch = None;
        self.lacks = [table].into();
        self.grown.clear();
    }

    /// The app is updated: it knows every table, and says so with its next pull.
    pub fn is_updated(&mut self) {
        self.grown = std::mem::take(&mut self.lacks);
    }

    /// Unsent rows that a reply would destroy.
    fn doomed(&self, reply: &Value, replaced: bool) -> Map<String, Value> {
        let outgoing = self.phone.outgoing();
        let mut doomed = Map::new();
        for (table, changes) in outgoing.as_object().expect("tables") {
            let lost: BTreeSet<&str> =
                reply["changes"][table]["deleted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let sent: BTreeSet<&str> = reply["changes"][table]["updated"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|row| row["id"].as_str())
                .collect();
            let rows: Vec<&Value> = ["created", "updated"]
                .iter()
                .flat_map(|part| changes[part].as_array().into_iter().flatten())
                .filter(|row| {
                    let id = row["id"].as_str().unwrap_or_default();
                    lost.contains(id) || (replaced && row["_status"] == json!("updated") && !sent.contains(id))
                })
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
        if self.phone.cursor.is_none() {
            return false;
        }
        if let Some((sent, _)) = &mut self.phone.counts {
            *sent += 1;
        }
        let mut answer = self.sends(agency).await;
        if twice {
            answer = self.sends(agency).await;
        }
        match answer {
            Pushed::Stored if network == Network::LosesAnswer => false,
            Pushed::Stored => {
                self.conflicts_in_a_row = 0;
                if let Some((sent, acked)) = &mut self.phone.counts {
                    *acked = *sent;
                }
                self.phone.marks_as_synced(&json!({}));
                true
            }
            Pushed::Conflicts => {
                self.conflicts_in_a_row += 1;
                self.most_conflicts = self.most_conflicts.max(self.conflicts_in_a_row);
                false
            }
        }
    }
}
