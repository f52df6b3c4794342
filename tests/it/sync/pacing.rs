//! When phones are asked to come back, and that nobody who only asks waits behind one who writes.

use std::collections::BTreeSet;
use std::time::Duration;

use entities::Actor;
use entities::store::{Pool, Store};
use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{goal, opens_case};
use crate::support::{Answer, Phone, World, on_both};

on_both!(
    every_face_says_when_to_come_back,
    phones_are_asked_to_stay_away_longer_under_load,
    a_pull_does_not_wait_behind_a_long_write,
    a_push_that_waits_too_long_for_another_writer_is_asked_to_come_again,
);

fn after(answer: &Answer) -> u64 {
    answer
        .header("sync-after")
        .parse()
        .unwrap_or_else(|_| panic!("{}: {} {}", answer.asked, answer.status, answer.text))
}

async fn every_face_says_when_to_come_back(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.creates("goals", goal(&case, "Come back later"));
    let person = phone.person.clone();
    let note = json!({"notes": {"created": [], "updated": [], "deleted": []}});
    let answers = [
        phone.asks("").await,
        phone.pushes().await.expect("a goal"),
        phone.asks("").await,
        person.get("/sync/pull").await,
        person.post("/sync/push", json!({"mutations": []})).await,
        person.get("/sync/rxdb/goals/pull").await,
        person.post("/sync/rxdb/goals/push", json!([])).await,
        person.post("/sync/quarantine", note.clone()).await,
        person.post("/sync/salvage", note).await,
    ];
    let told: BTreeSet<u64> = answers.iter().map(after).collect();
    assert!(told.iter().all(|secs| (225..=375).contains(secs)) && told.len() > 3, "{told:?}");
    let other = person.through(&world.serve_with(|config| config.sync_every_secs = 40));
    assert!((30..=50).contains(&after(&other.get("/sync/pull").await)), "as the operator says");
    assert_eq!(person.get("/goals").await.header("sync-after"), "", "only sync says it");
    assert_eq!(person.get("/sync/pull?cursor=x").await.header("sync-after"), "");

    let live = person.request(Method::GET, "/sync/live").send().await.expect("a stream");
    assert!(live.headers()["sync-after"].to_str().expect("digits").parse::<u64>().is_ok());
    let first = live.bytes_stream().next().await.expect("an event").expect("bytes");
    let first = String::from_utf8(first.to_vec()).expect("text");
    let retry: u64 = first.lines().find_map(|line| line.strip_prefix("retry: ")).expect("one").parse().expect("ms");
    assert!((1000..=10_000).contains(&retry), "{retry}");
}

/// Pushes that cannot go on while a writer holds the agency's clock.
fn waiting_pushes(phone: &Phone, count: usize) -> Vec<tokio::task::JoinHandle<u16>> {
    let path = format!("/sync?last_pulled_at={}", phone.cursor.expect("pulled"));
    let request = || phone.person.request(Method::POST, &path).body("{}");
    let sends = (0..count).map(|_| {
        let request = request();
        tokio::spawn(async move { request.send().await.map_or(0, |answer| answer.status().as_u16()) })
    });
    sends.collect()
}

async fn phones_are_asked_to_stay_away_longer_under_load(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    opens_case(&mut phone).await;
    phone.pulls().await;
    let held = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let waiting = waiting_pushes(&phone, 60);
    // They come in one after the other; the limit only ends a test that has failed.
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let told = after(&phone.asks("").await);
            if told > 375 {
                return told;
            }
        }
    });
    let told = told.await.expect("longer, while sixty pushes wait");
    assert!(told >= 450, "{told}");
    drop(held);
    let ended = join_all(waiting).await;
    assert!(ended.into_iter().all(|status| [200, 503].contains(&status.expect("it ran"))));
    assert!(after(&phone.asks("").await) <= 375);
}

async fn a_pull_does_not_wait_behind_a_long_write(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.syncs().await;
    let mut there = phone.clone();
    there.creates("goals", goal(&case, "News for the others"));
    there.syncs().await;
    let fresh = phone.person.on_another_device();
    fresh.logs_in().await;
    let cursor = phone.person.get("/sync/pull").await.ok()["next_cursor"].as_str().expect("one").to_owned();

    let held = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let waiting = waiting_pushes(&phone, 20);
    // The write is not over before all of these are answered.
    let page = phone.pulls().await;
    assert_eq!(page["changes"]["goals"]["updated"].as_array().map(Vec::len), Some(1));
    let mut first = Phone::of(&fresh);
    first.pulls().await;
    assert_eq!(first.ids("goals").len(), 1, "a first sync on a device nobody knew");
    let native: Value = fresh.get("/sync/pull").await.ok();
    assert!(native["changes"].as_array().is_some_and(|changes| !changes.is_empty()));
    phone.person.get(&format!("/sync/pull?cursor={cursor}")).await.ok();
    let rows = fresh.get("/sync/rxdb/goals/pull").await.ok();
    assert_eq!(rows["documents"].as_array().map(Vec::len), Some(1));
    fresh.get("/sync/digest?scope=case").await.ok();
    drop(held);
    for push in waiting {
        assert!([200, 503].contains(&push.await.expect("it ran")));
    }
}

/// It is answered while the other still writes, and nothing of it is stored.
async fn a_push_that_waits_too_long_for_another_writer_is_asked_to_come_again(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.creates("goals", goal(&case, "Wait for nobody"));
    let store = Store::open(&world.db.url, Pool::default(), world.clock.clone()).await.expect("the database opens");
    phone.person = phone.person.through(&world.serve_on(store));
    let held = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let answer = phone.pushes().await.expect("a goal");
    assert_eq!(answer.json()["code"], json!("busy"), "{}", answer.text);
    let secs: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&secs), "{secs}");
    answer.refused(503);
    assert!(phone.has_unsynced_changes());
    drop(held);
    phone.pushes().await.expect("a goal").ok();
    assert_eq!(phone.person.get("/goals").await.ok()["items"].as_array().map(Vec::len), Some(1));
}
