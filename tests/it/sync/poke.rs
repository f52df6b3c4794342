//! The poke, across processes: what one of them commits is heard through another at once.

use std::time::Duration;

use entities::people::user;
use entities::{Clock, Day};
use futures_util::{Stream, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};

use super::rules::opens_case;
use crate::rest::scene::{opens_a_case, smart, text};
use crate::support::{Person, Phone, Town, World, fieldstone, on_both};

on_both!(
    a_commit_of_one_process_is_heard_through_another_within_two_seconds,
    what_a_worker_asks_is_heard_at_once_and_comes_with_the_next_pull,
    whoever_was_shut_out_hears_nothing_more,
);

/// What is promised. Where commits are heard, clocks are read only every five seconds as a safety net: what that finds
/// is too late.
const PROMISED: Duration = Duration::from_secs(2);

/// Somebody's open stream.
struct Listener<S>(S);

impl<S: Stream<Item = reqwest::Result<B>> + Unpin, B: AsRef<[u8]>> Listener<S> {
    /// Waits for a poke no longer than this; gives its number.
    async fn hears(&mut self, limit: Duration) -> i64 {
        let poke = async {
            loop {
                let part = self.0.next().await.expect("the stream goes on").expect("bytes");
                let part = String::from_utf8(part.as_ref().to_vec()).expect("text");
                if let Some(data) = part.strip_prefix("event: poke\ndata: ") {
                    let data: Value = serde_json::from_str(data.lines().next().expect("a line")).expect("JSON");
                    let keys: Vec<&String> = data.as_object().expect("an object").keys().collect();
                    assert_eq!(keys, ["head"], "no data in it");
                    return data["head"].as_i64().expect("a number");
                }
            }
        };
        tokio::time::timeout(limit, poke).await.unwrap_or_else(|_| panic!("no poke within {limit:?}"))
    }

    /// How much it still hears; its stream ends within what is promised.
    async fn hears_before_it_ends(&mut self) -> usize {
        let rest = async {
            let mut heard = 0;
            while self.0.next().await.is_some() {
                heard += 1;
            }
            heard
        };
        tokio::time::timeout(PROMISED, rest).await.expect("the stream ends")
    }

    /// Waits for a poke that was brought about by this commit or a later one.
    async fn hears_of(&mut self, head: i64, limit: Duration) {
        let until = tokio::time::Instant::now() + limit;
        while self.hears(until.saturating_duration_since(tokio::time::Instant::now())).await < head {}
    }
}

async fn listens(person: Person) -> Listener<impl Stream<Item = reqwest::Result<impl AsRef<[u8]>>> + Unpin> {
    let answer = person.request(Method::GET, "/sync/live").send().await.expect("a stream");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut listener = Listener(Box::pin(answer.bytes_stream()));
    // It begins with one.
    listener.hears(Duration::from_secs(20)).await;
    listener
}

async fn a_commit_of_one_process_is_heard_through_another_within_two_seconds(town: Town) {
    let (first, second) = (town.server().await, town.server().await);
    let ana = first.person("ana@demo.example").await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let mut listener = listens(ana.through(&second.url)).await;
    for round in 0..4 {
        phone.creates("notes", json!({"case_id": case, "kind": "progress", "body": format!("Visit {round}")}));
        phone.pushes().await.expect("a note").ok();
        // The first may be found by the clock that is read every few seconds; directly after that it is not read.
        listener.hears(if round == 0 { Duration::from_secs(20) } else { PROMISED }).await;
    }
    let stranger = Person::at(&second.url, "stranger@nowhere.example");
    assert_eq!(stranger.get("/sync/live").await.status, 401);
}

async fn what_a_worker_asks_is_heard_at_once_and_comes_with_the_next_pull(town: Town) {
    let (first, second) = (town.server().await, town.server().await);
    let ana = first.person("ana@demo.example").await;
    let case = opens_a_case(&ana).await;
    let today: Day = Clock::System.now().rfc3339()[..10].parse().expect("a day");
    let mut goal = smart(&case);
    goal["starts_on"] = json!(today.to_string());
    goal["due_on"] = json!(today.plus_days(20).to_string());
    goal["client_agreement"]["on"] = json!(today.to_string());
    let goal = text(&ana.post("/goals", goal).await.ok()["id"]);
    ana.post(&format!("/goals/{goal}/agree"), json!({})).await.ok();
    let mut phone = Phone::of(&ana.through(&second.url));
    phone.pulls().await;
    assert!(phone.ids("prompts").is_empty());
    let mut listener = listens(ana.through(&second.url)).await;
    // As in the other test: the worker's is not the first after a reading of the clock.
    ana.post("/notes", json!({"case_id": case.id, "body": "Well"})).await.ok();
    listener.hears(Duration::from_secs(20)).await;

    let settings = town.settings();
    let due = format!("{}T23:00:00Z", today.plus_days(6));
    let mut worker = fieldstone(&["worker", "drain", "--once", "--now", &due]);
    worker.envs(settings);
    let done = tokio::task::spawn_blocking(move || worker.output()).await.expect("it ends").expect("the binary runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    listener.hears_of(head(&town).await, PROMISED).await;
    phone.pulls().await;
    let asked = phone.ids("prompts");
    assert_eq!(asked.len(), 1);
    let id = asked.first().expect("one");
    assert_eq!(phone.column("prompts", id, "recipient_user_id"), json!(ana.user_id()));
    assert_eq!(phone.column("prompts", id, "case_id"), json!(case.id));
}

/// The newest commit number of Riverbend.
async fn head(town: &Town) -> i64 {
    let snapshot = town.store.read().await.expect("a snapshot");
    let ana = user::by_email(&*snapshot, "ana@demo.example").await.expect("users").expect("Ana");
    drop(snapshot);
    entities::sync::timeline(town.store.connection(), &ana.agency_id).await.expect("a timeline").head
}

async fn whoever_was_shut_out_hears_nothing_more(mut world: World) {
    let (ada, other) = (world.ada().await, world.another_server().await);
    for url in [world.url.clone(), other] {
        let (wiped, left) = (world.ana().await, world.ana().await);
        let (mut lost, mut out) = (listens(wiped.through(&url)).await, listens(left.through(&url)).await);
        assert_eq!(left.post("/auth/logout", json!({})).await.status, 204);
        assert_eq!(ada.post(&format!("/devices/{}/wipe", wiped.device_id), json!({})).await.status, 204);
        if url == world.url {
            assert_eq!((lost.hears_before_it_ends().await, out.hears_before_it_ends().await), (0, 0));
            continue;
        }
        // Another process may believe for a second what it has seen; a commit after that finds them gone.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        ada.post("/teams", json!({"name": "West"})).await.ok();
        assert!(lost.hears_before_it_ends().await < 3 && out.hears_before_it_ends().await < 3);
    }
}
