//! PostgreSQL goes down and comes back while two api processes serve phones: what was acknowledged is there, and the
//! processes go on by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::database::{self, Stage};
use crate::support::{Cluster, Person, Phone, Server, Town, uuid};

const PHONES: usize = 4;
/// Acknowledged pushes of each phone before each blow, and after the last.
const EACH: usize = 6;

#[test]
fn a_postgres_restarted_under_load_loses_nothing_that_was_acknowledged() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(restarts());
}

async fn restarts() {
    let cluster = Cluster::start();
    let town = Town::open(database::fresh_on(&cluster.url(), "fieldstone_restarted").await).await;
    let mut servers = [town.server().await, town.server().await];
    let ana = servers[0].person("ana@demo.example").await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "A case to push to"}));
    phone.pushes().await.expect("something to push").ok();

    let count = Arc::new([const { AtomicUsize::new(0) }; PHONES]);
    let goal = Arc::new(AtomicUsize::new(usize::MAX));
    let mut working = Vec::new();
    for at in 0..PHONES {
        let person = ana.through(&servers[at % 2].url).on_another_device();
        person.logs_in().await;
        working.push(tokio::spawn(works(person, case.clone(), at, Arc::clone(&count), Arc::clone(&goal))));
    }
    let mut wanted = 0;
    for blow in ["fast", "immediate", "immediate"] {
        wanted += EACH;
        reach(&count, wanted).await;
        cluster.stops(blow);
        cluster.is_started();
        // The recovery is counted from here.
        wanted = count.iter().map(|done| done.load(Ordering::SeqCst)).max().unwrap_or(0);
    }
    let back = Instant::now();
    reach(&count, wanted + 1).await;
    assert!(back.elapsed() < Duration::from_secs(30), "service came back after {:?}", back.elapsed());
    wanted += EACH;
    reach(&count, wanted).await;
    goal.store(0, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for worker in working {
        acknowledged.extend(worker.await.expect("no phone was ever refused"));
    }
    for server in &mut servers {
        assert!(server.is_running(), "{}", server.log());
    }
    let mut fresh = Phone::of(&ana.through(&servers[1].url));
    fresh.pulls().await;
    let there = fresh.ids("notes");
    let missing: Vec<&String> = acknowledged.iter().filter(|id| !there.contains(*id)).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), acknowledged.len());
    assert!(acknowledged.len() >= PHONES * EACH * 4);
    assert!(entities::audit::verify(town.store.connection()).await.expect("the trail").is_ok());
    served(&servers[0], &ana).await;
}

/// One phone: a note at a time, repeated until it is acknowledged, and a pull after each.
async fn works(
    person: Person,
    case: String,
    at: usize,
    count: Arc<[AtomicUsize; PHONES]>,
    goal: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut cursor = 0;
    while acknowledged.len() < goal.load(Ordering::SeqCst) {
        let id = uuid();
        let note = json!({"id": id, "case_id": case, "kind": "progress", "body": format!("note of phone {at}")});
        let body = json!({"notes": {"created": [note], "updated": [], "deleted": []}});
        let pulled = asks(&person, Method::GET, &format!("/sync?last_pulled_at={cursor}&schema_version=1"), None).await;
        cursor = pulled["timestamp"].as_i64().expect("a timestamp");
        asks(&person, Method::POST, &format!("/sync?last_pulled_at={cursor}"), Some(&body)).await;
        acknowledged.push(id);
        count[at].fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

/// Asks until it is answered. While the database is away 503 with Retry-After is the one other answer.
async fn asks(person: &Person, method: Method, path: &str, body: Option<&Value>) -> Value {
    loop {
        let mut request = person.request(method.clone(), path);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = person.send(path, request).await;
        if answer.status == 200 {
            return answer.json();
        }
        assert_eq!(answer.status, 503, "{path}: {}", answer.text);
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|secs| secs > 0));
        // No phone waits for the other; the one thing that is left to real time is not to ask at once again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every phone has so many acknowledged; gives up after two minutes.
async fn reach(count: &[AtomicUsize; PHONES], wanted: usize) {
    let began = Instant::now();
    while count.iter().any(|done| done.load(Ordering::SeqCst) < wanted) {
        assert!(began.elapsed() < Duration::from_secs(120), "the phones stand still: {count:?}, wanted {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn served(server: &Server, person: &Person) {
    person.through(&server.url).get("/me").await.ok();
}
