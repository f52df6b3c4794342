//! How devices are doing, who sees it, and what becomes of the work on one that is shut out.

use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use crate::support::{Answer, Person, Phone, World, on_both};

on_both!(
    a_person_sees_how_their_devices_are_doing,
    a_supervisor_sees_the_devices_of_their_people,
    a_device_that_is_wiped_hands_over_what_it_has_not_sent,
    only_a_device_that_was_shut_out_says_farewell,
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
