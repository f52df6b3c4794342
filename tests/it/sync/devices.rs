//! How devices are doing, who sees it, and what becomes of the work on one that is shut out.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rules::{goal, hands_over, opens_case};
use crate::support::{Answer, Person, Phone, World, on_both};

on_both!(
    a_person_sees_how_their_devices_are_doing,
    a_supervisor_sees_the_devices_of_their_people,
    a_device_that_is_wiped_hands_over_what_it_has_not_sent,
    only_a_device_that_was_shut_out_says_farewell,
    what_was_still_being_sent_when_a_device_was_shut_out_is_not_taken,
    what_comes_slowly_from_a_device_in_good_standing_is_taken,
    who_has_another_role_by_the_end_of_a_body_sends_it_again,
);

/// Pulls until the list says what is waited for: what a pull tells of its device is kept after its answer.
/// Each pull comes five minutes after the one before, or a phone for which nothing is new is not looked at closely.
async fn pulls_until(world: &World, phone: &Phone, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..200 {
        world.pass_secs(301);
        let path = format!("/sync?last_pulled_at={}&schema_version=1", phone.cursor.unwrap_or(0));
        let request = phone.person.request(Method::GET, &path);
        let ahead = world.clock.now().plus_ms(3_600_000).0.to_string();
        let request = request.header("x-device-time", ahead).header("x-app-version", "2.0.1");
        phone.person.send("a pull", request).await.ok();
        last = phone.person.get("/devices").await.ok()["items"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["id"] == json!(phone.person.device_id)).cloned())
            .expect("the device is listed");
        if holds(&last) {
            return last;
        }
    }
    panic!("not so: {last}");
}

async fn a_person_sees_how_their_devices_are_doing(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let new = ana.get("/devices").await.ok()["items"][0].clone();
    assert_eq!((&new["last_pull_at"], &new["behind_seconds"]), (&Value::Null, &Value::Null), "it never synced");
    let case = opens_case(&mut phone).await;
    phone.pulls().await;
    let seen = pulls_until(&world, &phone, |seen| {
        seen["behind_seconds"] == json!(0)
            && seen["schema_version"] == json!(1)
            && seen["app_version"] == json!("2.0.1")
    })
    .await;
    assert!(seen["last_pull_at"].is_string());
    assert!(seen["last_push_at"].is_string() && seen["holds_deletes_since"].is_null(), "{seen}");
    let skew = seen["clock_skew_seconds"].as_i64().expect("measured");
    assert!((3590..=3610).contains(&skew), "{skew}");

    world.pass_secs(2 * 86_400);
    opens_case(&mut Phone::of(&world.ben().await)).await;
    let seen = ana.get("/devices").await.ok()["items"][0].clone();
    let behind = seen["behind_seconds"].as_i64().expect("known");
    assert!((2 * 86_400 - 60..4 * 86_400).contains(&behind), "{behind}");

    hands_over(&world, &case, "ben@demo.example").await;
    phone.creates("notes", json!({"case_id": case, "body": "too late", "kind": "progress"}));
    let held = phone.asks("&pending=1").await.ok();
    assert_eq!(held["changes"]["cases"]["deleted"], json!([]));
    let seen = ana.get("/devices").await.ok()["items"][0].clone();
    assert_eq!(seen["holds_deletes_since"], json!(world.clock.now().rfc3339()));
    phone.pushes().await.expect("a note").ok();
    let seen = ana.get("/devices").await.ok()["items"][0].clone();
    assert_eq!((&seen["open_issues"], &seen["quarantined"]), (&json!(1), &json!(1)));
}

async fn a_supervisor_sees_the_devices_of_their_people(world: World) {
    let (ana, ben, cleo) = (world.ana().await, world.ben().await, world.cleo().await);
    let (sam, sol) = (world.sam().await, world.sol().await);
    let listed = |answer: Answer| -> Vec<String> {
        let mut ids: Vec<String> = answer.ok()["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort();
        ids
    };
    let ids = |people: &[&Person]| {
        let mut ids: Vec<String> = people.iter().map(|person| person.device_id.clone()).collect();
        ids.sort();
        ids
    };
    let theirs = listed(sam.get("/devices?of=team").await);
    for person in [&ana, &ben] {
        assert!(theirs.contains(&person.device_id));
    }
    assert!(!theirs.contains(&cleo.device_id));
    assert_eq!(listed(sam.get("/devices").await), ids(&[&sam]));
    assert_eq!(listed(sam.get(&format!("/devices?user_id={}", ana.user_id())).await), ids(&[&ana]));
    assert_eq!(listed(sam.get(&format!("/devices?user_id={}", cleo.user_id())).await), ids(&[]));
    assert!(listed(sol.get("/devices?of=team").await).contains(&cleo.device_id));
    assert_eq!(listed(ben.get("/devices?of=team").await), ids(&[&ben]));
    sam.get("/devices?of=everybody").await.refused(422);
    assert_eq!(listed(ben.get(&format!("/devices?user_id={}", ana.user_id())).await), ids(&[]));
    let all = listed(world.ada().await.get("/devices").await);
    assert!([&ana, &ben, &cleo, &sam, &sol].iter().all(|person| all.contains(&person.device_id)));
    assert!(!all.contains(&world.omar().await.device_id));
}

async fn says_farewell(world: &World, person: &Person, token: &str, body: &Value) -> Answer {
    let stranger = world.stranger();
    let request = stranger.request(Method::POST, "/sync/farewell").bearer_auth(token).body(body.to_string());
    stranger.send(&format!("{} says farewell", person.email), request).await
}

fn refresh_token(person: &Person) -> String {
    person.session()["refresh_token"].as_str().expect("signed in").to_owned()
}

async fn a_device_that_is_wiped_hands_over_what_it_has_not_sent(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Known to the server"));
    phone.syncs().await;
    phone.syncs().await;
    phone.edits("goals", &id, json!({"measure": "changed by whoever has it now"}));
    phone.creates("notes", json!({"case_id": case, "body": "a visit nobody knows of", "kind": "progress"}));
    let path = format!("/devices/{}/wipe", phone.person.device_id);
    assert_eq!(world.ada().await.post(&path, json!({})).await.status, 204);
    let refused = phone.pushes().await.expect("work to send").refused(403);
    assert_eq!(refused["code"], json!("device_wiped"));
    let token = refresh_token(&phone.person);
    for _ in 0..2 {
        let answer = says_farewell(&world, &phone.person, &token, &phone.outgoing()).await;
        assert_eq!(answer.ok(), json!({"kept": 2}), "the same work is the same entry");
    }
    let mut sam = Phone::of(&world.sam().await);
    sam.pulls().await;
    assert!(sam.ids("notes").is_empty(), "nothing is applied");
    assert_eq!(sam.column("goals", &id, "measure"), Value::Null);
    let issues = sam.everything().remove("sync_issues").expect("Sam is told");
    assert_eq!(issues.len(), 2);
    let note = issues.values().find(|issue| issue["about_table"] == "notes").expect("the note");
    let path = format!("/sync_issues/{}", note["id"].as_str().expect("an id"));
    let work = sam.person.get(&format!("{path}/work")).await.ok();
    assert_eq!(work["sent"]["body"], json!("a visit nobody knows of"));
    assert!(work["reason"].as_str().expect("a reason").contains("shut out"));
    sam.person.post(&format!("{path}/accept"), json!({"reason": "Ana says it is hers"})).await.ok();
    sam.pulls().await;
    assert_eq!(sam.ids("notes").len(), 1);
    assert_eq!(phone.asks("").await.refused(403)["code"], json!("device_wiped"), "nothing else is open to it");
}

async fn only_a_device_that_was_shut_out_says_farewell(world: World) {
    let ana = world.ana().await;
    let (token, empty) = (refresh_token(&ana), json!({}));
    says_farewell(&world, &ana, &token, &empty).await.refused(401);
    says_farewell(&world, &ana, &ana.token(), &empty).await.refused(401);
    let guess = format!("{}x", &token[..token.len() - 1]);
    let tablet = ana.on_another_device();
    tablet.logs_in().await;
    let path = format!("/devices/{}/revoke", ana.device_id);
    assert_eq!(tablet.post(&path, json!({})).await.status, 204);
    if guess != token {
        says_farewell(&world, &ana, &guess, &empty).await.refused(401);
    }
    says_farewell(&world, &ana, "", &empty).await.refused(401);
    assert_eq!(world.stranger().post("/sync/farewell", empty.clone()).await.status, 401);
    assert_eq!(says_farewell(&world, &ana, &token, &empty).await.ok(), json!({"kept": 0}));
    says_farewell(&world, &ana, &token, &json!([])).await.refused(400);
    tablet.post("/auth/logout", json!({})).await;
    says_farewell(&world, &tablet, &refresh_token(&tablet), &empty).await.refused(401);
}

/// A request of which the head and half the body have been sent.
struct Begun {
    line: TcpStream,
    rest: Vec<u8>,
}

impl Begun {
    async fn of(world: &World, person: &Person, path: &str, body: &Value) -> Begun {
        let host = world.url.trim_start_matches("http://");
        let mut line = TcpStream::connect(host).await.expect("a connection");
        let (token, mut sent) = (person.token(), body.to_string().into_bytes());
        let head = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        );
        let rest = sent.split_off(sent.len() / 2);
        line.write_all(head.as_bytes()).await.expect("it is read");
        line.write_all(&sent).await.expect("it is read");
        Begun { line, rest }
    }

    /// Sends the rest; the status and the body of the answer.
    async fn ends(mut self) -> (u16, Value) {
        self.line.write_all(&self.rest).await.expect("it is read");
        let mut said = String::new();
        self.line.read_to_string(&mut said).await.expect("text");
        let status = said.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = said.split_once("\r\n\r\n").expect("a head and a body").1;
        (status, serde_json::from_str(body).unwrap_or_else(|why| panic!("{why} in {said}")))
    }
}

/// Every way to send work: the path and the body.
fn ways(case: &str) -> Vec<(&'static str, Value)> {
    let row = |id: &str| {
        let mut row = goal(case, "Sent in halves");
        row["id"] = json!(id);
        row
    };
    let pushed = |id: &str| json!({"goals": {"created": [row(id)], "updated": [], "deleted": []}});
    let mutation = json!({"id": "0190a0b0-0000-7000-8000-00000000000a", "op": "create", "table": "goals",
        "row_id": "goal-native", "set": goal(case, "Sent in halves")});
    vec![
        ("/sync?last_pulled_at=1", pushed("goal-watermelon")),
        ("/sync/push", json!({"mutations": [mutation]})),
        ("/sync/rxdb/goals/push", json!([{"newDocumentState": row("goal-rxdb")}])),
        ("/sync/salvage", pushed("goal-salvage")),
        ("/sync/quarantine", pushed("goal-quarantine")),
        ("/goals", row("goal-rest")),
    ]
}

async fn what_was_still_being_sent_when_a_device_was_shut_out_is_not_taken(world: World) {
    let mut held = Phone::of(&world.ana().await);
    let case = opens_case(&mut held).await;
    for (verb, status, code) in [("wipe", 403, "device_wiped"), ("revoke", 401, "session_over")] {
        let phone = world.ana().await;
        let mut all = Vec::new();
        for (path, body) in ways(&case) {
            all.push((path, Begun::of(&world, &phone, path, &body).await));
        }
        // Signing in takes long enough for every head to have been read.
        let ada = world.ada().await;
        world.pass_secs(1);
        assert_eq!(ada.post(&format!("/devices/{}/{verb}", phone.device_id), json!({})).await.status, 204);
        for (path, begun) in all {
            let (answered, problem) = begun.ends().await;
            assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{verb} {path}");
        }
    }
    held.pulls().await;
    assert!(held.ids("goals").is_empty());
    assert!(held.ids("sync_issues").is_empty(), "nothing was kept either");
}

async fn what_comes_slowly_from_a_device_in_good_standing_is_taken(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    for (path, body) in ways(&case) {
        let begun = Begun::of(&world, &phone.person, path, &body).await;
        world.pass_secs(60);
        let (status, answer) = begun.ends().await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }
    phone.pulls().await;
    // What was to be kept is no row, and a server that was never restored lacks nothing.
    assert_eq!(phone.ids("goals").len(), 4);
}

/// Rights are those of the role, so what was sent under one is not judged by another.
async fn who_has_another_role_by_the_end_of_a_body_sends_it_again(world: World) {
    let (ben, ada) = (world.ben().await, world.ada().await);
    let case = opens_case(&mut Phone::of(&world.ana().await)).await;
    let mut all = Vec::new();
    for (path, body) in ways(&case) {
        all.push((path, Begun::of(&world, &ben, path, &body).await));
    }
    world.cleo().await;
    world.pass_secs(1);
    ada.patch(&format!("/users/{}", ben.user_id()), json!({"role": "supervisor"})).await.ok();
    for (path, begun) in all {
        let (status, problem) = begun.ends().await;
        // REST takes no goals from a supervisor; what a phone sends is judged row by row.
        let expected = if path == "/goals" { (403, "forbidden") } else { (503, "busy") };
        assert_eq!((status, problem["code"].as_str().expect("a code")), expected, "{path}");
    }
}
