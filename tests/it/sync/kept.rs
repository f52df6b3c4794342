//! Work that is kept: who may read it, which is which, and what is told when it is taken in after all.

use reqwest::Method;
use serde_json::{Value, json};

use super::native::mutates;
use super::rules::{goal, hands_over, opens_case};
use crate::rest::scene::text;
use crate::support::{Person, Phone, World, on_both};

on_both!(
    what_was_meant_for_fewer_eyes_is_read_by_no_more,
    the_same_words_under_another_id_are_said_again,
    a_repeated_mutation_is_kept_once,
    what_is_taken_in_otherwise_than_it_was_sent_is_told,
    what_a_lost_phone_alone_knew_can_be_read_and_taken_in,
    an_issue_that_is_settled_on_the_way_can_be_dismissed_too,
);

fn mutation(id: &str, op: &str, table: &str, row: &str, set: Value) -> Value {
    json!({"id": id, "op": op, "table": table, "row_id": row, "set": set})
}

/// The issues of a person about a row.
async fn issues(person: &Person, about: &str) -> Vec<Value> {
    let all = person.get("/sync_issues?limit=200").await.ok();
    let all = all["items"].as_array().expect("a list").iter();
    all.filter(|issue| issue["about_id"] == about).cloned().collect()
}

fn work(issue: &Value) -> String {
    format!("/sync_issues/{}/work", text(&issue["id"]))
}

async fn what_was_meant_for_fewer_eyes_is_read_by_no_more(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let (ben, sam) = (world.ben().await, world.sam().await);
    let case = opens_case(&mut ana).await;
    let draft = || json!({"case_id": case, "body": "seen by the team", "kind": "progress"});
    let narrowed = ana.creates("notes", draft());
    let part2 = ana.creates("notes", draft());
    let open = ana.creates("notes", draft());
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("notes", &narrowed, json!({"body": "for my supervisor", "visibility": "author_supervisor"}));
    ana.edits("notes", &part2, json!({"body": "about the treatment", "part2": true}));
    ana.edits("notes", &open, json!({"body": "for all"}));
    // A word of a newer app, and a yes in other words.
    let fresh = json!({"case_id": case, "body": "new", "kind": "progress", "visibility": "private"});
    let unknown = ana.creates("notes", fresh);
    let fresh = json!({"case_id": case, "body": "new", "kind": "progress", "part2": "true"});
    let unread = ana.creates("notes", fresh);
    ana.pushes().await.expect("something to push").ok();
    for (id, hidden_from_ben) in [(&narrowed, true), (&part2, true), (&open, false), (&unknown, true), (&unread, true)]
    {
        let issue = issues(&ben, id).await.pop().expect("Ben is told that there is something");
        let answer = ben.get(&work(&issue)).await;
        assert_eq!(answer.status, if hidden_from_ben { 403 } else { 200 }, "{id}: {}", answer.text);
        let accept = format!("/sync_issues/{}/accept", text(&issue["id"]));
        let accepted = ben.post(&accept, json!({"reason": "I have the case"})).await;
        assert_eq!(accepted.status, if hidden_from_ben { 403 } else { 200 }, "{id}: {}", accepted.text);
    }
    for id in [&narrowed, &unknown] {
        let issue = issues(&sam, id).await.pop().expect("Sam is told");
        assert!(sam.get(&work(&issue)).await.ok()["sent"]["body"].is_string(), "the supervisor may");
    }
}

async fn the_same_words_under_another_id_are_said_again(world: World) {
    let ana = world.ana().await;
    let ben = world.ben().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk the dog each day"));
    phone.syncs().await;
    let set = json!({"measure": {"from": null, "to": "walks"}});
    for number in 1..=2 {
        hands_over(&world, &case, "ben@demo.example").await;
        let sent = mutation(&format!("mutation-{number:04}"), "update", "goals", &id, set.clone());
        let result = mutates(&ana, json!([sent])).await.remove(0);
        assert_eq!(result["status"], json!("quarantined"), "{result}");
        let open: Vec<Value> =
            issues(&ben, &id).await.into_iter().filter(|issue| issue["status"] == json!("open")).collect();
        assert_eq!(open.len(), 1, "somebody has it to decide, time {number}");
        let discard = format!("/sync_issues/{}/discard", text(&open[0]["id"]));
        ben.post(&discard, json!({"reason": "we chose another"})).await.ok();
        hands_over(&world, &case, "ana@demo.example").await;
    }
    // Of kept work the last word counts, also where it was said before.
    let row = "goal-that-waits";
    let made =
        json!({"case_id": "case-that-comes-later", "statement": "A goal of a case to come", "level": "individual"});
    let says = |number: u32, word: &str| {
        mutation(
            &format!("word-number-{number}"),
            "update",
            "goals",
            row,
            json!({"measure": {"from": null, "to": word}}),
        )
    };
    let queue = json!([
        mutation("word-number-0", "create", "goals", row, made),
        says(1, "one"),
        says(2, "two"),
        says(3, "one"),
    ]);
    for status in ["retry", "quarantined"] {
        let results = mutates(&ana, queue.clone()).await;
        assert!(results.iter().all(|result| result["status"] == status), "{results:?}");
    }
    let case = mutation("mutation-0009", "create", "cases", "case-that-comes-later", json!({"unit": "family"}));
    mutates(&ana, json!([case])).await;
    assert_eq!(ana.get(&format!("/goals/{row}")).await.ok()["measure"], json!("one"));
}

async fn a_repeated_mutation_is_kept_once(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk the dog each day"));
    phone.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let sent = mutation("mutation-0001", "update", "goals", &id, json!({"measure": {"from": null, "to": "walks"}}));
    // Handed over and pushed, in either order and again.
    for _ in 0..2 {
        let queue = json!({"mutations": [sent]});
        ana.post("/sync/quarantine", queue).await.ok();
        mutates(&ana, json!([sent])).await;
    }
    assert_eq!(issues(&ben, &id).await.len(), 1);
    assert_eq!(issues(&ana, &id).await.len(), 1);
}

async fn what_is_taken_in_otherwise_than_it_was_sent_is_told(world: World) {
    let ana = world.ana().await;
    let row = |lifecycle: &str| {
        json!({"id": "goal-before-its-case", "case_id": "case-that-comes-later", "statement": "Keep the flat we have",
            "level": "individual", "lifecycle": lifecycle, "confidence": 99, "_deleted": false})
    };
    let path = "/sync/rxdb/goals/push";
    for _ in 0..2 {
        ana.post(path, json!([{"newDocumentState": row("active")}])).await.ok();
    }
    ana.get("/goals/goal-before-its-case").await.refused(404);
    let case = mutation("mutation-0001", "create", "cases", "case-that-comes-later", json!({"unit": "family"}));
    mutates(&ana, json!([case])).await;
    assert_eq!(ana.get("/goals/goal-before-its-case").await.ok()["lifecycle"], json!("draft"));
    let told: Vec<String> = issues(&ana, "goal-before-its-case")
        .await
        .iter()
        .filter(|issue| issue["status"] == json!("open"))
        .map(|issue| issue["kind"].to_string())
        .collect();
    assert_eq!(told, [r#""illegal_move""#], "the move was not made, and its author hears of it");
    // Of what somebody else takes in, the author hears too.
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Keep what was agreed"));
    phone.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    phone.edits("goals", &id, json!({"measure": "a calendar", "due_on": "some day"}));
    phone.pushes().await.expect("an edit").ok();
    let ben = world.ben().await;
    let issue = issues(&ben, &id).await.pop().expect("told");
    ben.post(&format!("/sync_issues/{}/accept", text(&issue["id"])), json!({"reason": "she was there"})).await.ok();
    assert_eq!(ben.get(&format!("/goals/{id}")).await.ok()["measure"], json!("a calendar"));
    let kinds: Vec<Value> = issues(&ana, &id).await.iter().map(|issue| issue["kind"].clone()).collect();
    assert!(kinds.contains(&json!("cleaned")), "{kinds:?}");
}

async fn what_a_lost_phone_alone_knew_can_be_read_and_taken_in(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    ana.pulls().await;
    let case = ana.creates("cases", json!({"unit": "family", "summary": "opened without signal"}));
    let person = ana.creates("persons", json!({"given_name": "Pia"}));
    ana.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "primary_client"}));
    let note = ana.creates("notes", json!({"case_id": case, "body": "a first visit", "kind": "progress"}));
    let path = format!("/devices/{}/wipe", ana.person.device_id);
    assert_eq!(world.ada().await.post(&path, json!({})).await.status, 204);
    let token = text(&ana.person.session()["refresh_token"]);
    let farewell = world.stranger().request(Method::POST, "/sync/farewell").bearer_auth(token);
    ana.person.send("a farewell", farewell.body(ana.outgoing().to_string())).await.ok();
    let (sam, ben) = (world.sam().await, world.ben().await);
    assert_eq!(issues(&ben, &case).await, Vec::<Value>::new(), "it is nobody else's");
    for row in [&case, &person, &note] {
        let issue = issues(&sam, row).await.pop().expect("her supervisor is told");
        sam.get(&work(&issue)).await.ok();
    }
    // The person first, since the party that comes with the case names it.
    for row in [&person, &case] {
        let issue = issues(&sam, row).await.pop().expect("told");
        let accept = format!("/sync_issues/{}/accept", text(&issue["id"]));
        sam.post(&accept, json!({"reason": "Ana told me of it"})).await.ok();
    }
    assert_eq!(sam.get(&format!("/cases/{case}")).await.ok()["summary"], json!("opened without signal"));
    assert_eq!(sam.get(&format!("/notes/{note}")).await.ok()["body"], json!("a first visit"), "and what hangs on it");
}

/// An issue about a note is settled by the note's deletion, and dismissed in the same request.
async fn an_issue_that_is_settled_on_the_way_can_be_dismissed_too(world: World) {
    let ana = world.ana().await;
    let note = "note-that-is-thrown-away";
    let set = json!({"case_id": "case-of-some-day", "body": "a thought", "kind": "progress"});
    let create = mutation("mutation-0001", "create", "notes", note, set);
    for status in ["retry", "quarantined"] {
        assert_eq!(mutates(&ana, json!([create])).await[0]["status"], json!(status));
    }
    let issue = issues(&ana, note).await.pop().expect("told");
    let mut dismiss = mutation("mutation-0003", "action", "sync_issues", &text(&issue["id"]), json!({}));
    dismiss["verb"] = json!("dismiss");
    let queue = json!([mutation("mutation-0002", "delete", "notes", note, json!({})), dismiss]);
    let results = mutates(&ana, queue).await;
    assert_eq!(results.len(), 2, "{results:?}");
    assert_ne!(issues(&ana, note).await[0]["status"], json!("open"));
}
