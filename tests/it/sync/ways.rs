//! How a device reaches the server: the engine with nothing in between, so that thousands of schedules can be tried, or
//! the API over HTTP, as a phone does. What is asked and what is done with the answer is the same, and stands in
//! `phones.rs`.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use entities::Actor;
use entities::sync::{self, Numbered, PullRequest, PushRefusal, PushRequest};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::agency::Agency;
use super::phones::Device;
use crate::support::Person;

#[derive(Clone, Copy, Debug)]
pub enum Way {
    Engine,
    Http,
}

/// What became of a push.
pub(super) enum Pushed {
    Stored,
    Conflicts,
}

/// Who holds a device of this name; logged in where there is an API to log in to.
pub(super) async fn holder(agency: &Agency, owner: &str, device: &str) -> Person {
    let email = format!("{owner}@demo.example");
    let Some(url) = &agency.url else { return Person::at("http://127.0.0.1:1", &email) };
    let mut person = Person::at(url, &email);
    person.device_id = device.to_owned();
    person.logs_in().await;
    person
}

impl Device {
    /// The reply to a pull.
    pub(super) async fn asks(&self, agency: &Agency, request: PullRequest) -> Value {
        match agency.url {
            None => {
                let mut pull = sync::pull(&agency.store, &self.actor, &request).await.expect("pull");
                let body = sync::page::watermelon(&pull, Vec::new()).await.expect("page");
                let note = pull.note();
                drop(pull);
                if let Some(note) = note {
                    note.keep(&agency.store).await.expect("kept");
                }
                serde_json::from_slice(&body).expect("the page is JSON")
            }
            Some(_) => {
                let person = &self.phone.person;
                let get = person.request(Method::GET, "/sync").query(&query(&request));
                let get = match request.told.clock {
                    Some(clock) => get.header("x-device-time", clock),
                    None => get,
                };
                person.send(&format!("pull {request:?}"), get).await.ok()
            }
        }
    }

    /// Sends what is waiting.
    pub(super) async fn sends(&self, agency: &Agency) -> Pushed {
        match agency.url {
            None => match sync::push(&agency.store, &self.actor, self.push()).await {
                Ok(_) => Pushed::Stored,
                Err(PushRefusal::Conflict(_) | PushRefusal::EpochChanged(_)) => Pushed::Conflicts,
                Err(other) => panic!("{}: a push must never fail: {other:?}", self.name),
            },
            Some(_) => {
                let answer = self.phone.sends(&self.phone.outgoing()).await;
                match answer.status {
                    200 => Pushed::Stored,
                    409 => Pushed::Conflicts,
                    _ => panic!("{}: a push must never fail: {} {}", self.name, answer.status, answer.text),
                }
            }
        }
    }

    fn push(&self) -> PushRequest {
        let last_pulled_at = self.phone.cursor.expect("no push before the first pull");
        let numbered = self.phone.counts.map(|(number, acked)| Numbered { number, acked });
        PushRequest { last_pulled_at, epoch: None, body: self.phone.outgoing(), numbered }
    }

    /// Hands over rows that a reply is about to take.
    pub(super) async fn rescues(&self, agency: &Agency, doomed: Value) {
        match agency.url {
            None => sync::rescue(&agency.store, &self.actor, doomed).await.map(|_| ()).expect("rescue"),
            Some(_) => drop(self.phone.person.post("/sync/quarantine", doomed).await.ok()),
        }
    }

    /// A request of this device as it is now, which the network keeps: for the device it is lost.
    pub fn sets_off(&mut self) -> Device {
        if let Some((sent, _)) = &mut self.phone.counts {
            *sent += 1;
        }
        self.clone()
    }

    /// A request arrives late, and nobody hears the answer.
    pub async fn arrives(&self, agency: &Agency, pulls: bool) {
        if pulls {
            self.asks(agency, self.request(agency, None, None)).await;
        } else if self.phone.has_unsynced_changes() && self.phone.cursor.is_some() {
            self.sends(agency).await;
        }
    }

    /// A server dies in the middle of a push or a pull: its work is dropped where it stands, and the device hears
    /// nothing. Where the device speaks to an API this is another process of it, which is not heard of again.
    pub async fn is_cut_off(&self, agency: &Agency, pulls: bool, after: usize) {
        if pulls {
            let request = self.request(agency, None, None);
            cut_short(sync::pull(&agency.store, &self.actor, &request), after).await;
        } else if self.phone.has_unsynced_changes() && self.phone.cursor.is_some() {
            cut_short(sync::push(&agency.store, &self.actor, self.push()), after).await;
        }
    }
}

/// Offers a restored server rows that it may have lost, a table at a time, and cases together with who has them.
pub(super) async fn offers(agency: &Agency, actor: &Actor, person: &Person, held: Vec<(&str, Vec<Value>)>) {
    let (first, rest): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|(table, _)| ["cases", "case_assignments"].contains(table));
    offer(agency, actor, person, first).await;
    for one in rest {
        offer(agency, actor, person, vec![one]).await;
    }
}

async fn offer(agency: &Agency, actor: &Actor, person: &Person, part: Vec<(&str, Vec<Value>)>) {
    let offered: Map<String, Value> = part
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(table, rows)| (table.to_owned(), json!({"created": [], "updated": rows, "deleted": []})))
        .collect();
    if offered.is_empty() {
        return;
    }
    let offered = Value::Object(offered);
    match agency.url {
        None => sync::salvage(&agency.store, actor, offered).await.map(|_| ()).expect("salvage"),
        Some(_) => drop(person.post("/sync/salvage", offered).await.ok()),
    }
    // A case that came back stands with whoever brought it until the next table tells who had it.
    let views = agency.views().await;
    agency.between.lock().expect("a list").push(views);
}

/// A pull as an app's query string says it.
fn query(request: &PullRequest) -> Vec<(&'static str, String)> {
    let mut query = vec![
        ("last_pulled_at", request.cursor.to_string()),
        ("schema_version", request.schema_version.to_string()),
        ("migration", request.migration.as_ref().map_or("null".to_owned(), migration)),
        ("pending", u8::from(request.pending).to_string()),
    ];
    query.extend(request.limit.map(|limit| ("limit", limit.to_string())));
    query.extend(request.epoch.map(|epoch| ("epoch", epoch.to_string())));
    query.extend(request.salvaged.map(|epoch| ("salvaged", epoch.to_string())));
    query
}

fn migration(migration: &sync::Migration) -> String {
    json!({"from": 1, "tables": migration.tables, "columns": []}).to_string()
}

/// Drops work that is not done when it has been looked at so many times.
pub(super) async fn cut_short<F: Future>(work: F, after: usize) {
    let (mut work, mut left) = (pin!(work), after);
    poll_fn(|context| {
        if left == 0 || work.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}
