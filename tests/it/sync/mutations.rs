//! Mutations as apps in Kotlin and Swift write them, and what of them is one thing.

use serde_json::{Value, json};

use super::native::mutates;
use super::rxdb::Collection;
use super::told::{a_goal, action, mutation, one, told};
use crate::rest::scene::{opens_a_case, smart, text};
use crate::support::{World, on_both};

on_both!(
    a_mutation_stamped_anew_is_the_same_mutation,
    a_null_may_be_left_out_of_a_pair,
    a_move_is_not_made_over_words_that_its_author_never_saw,
    a_document_moves_nothing_over_words_that_its_author_never_saw,
    what_makes_a_row_comes_before_what_changes_it,
    what_an_app_notes_for_itself_is_told_to_nobody,
    a_page_of_more_rows_than_there_are_numbers_is_the_largest,
    mutations_are_no_offer_of_rows,
);

async fn a_mutation_stamped_anew_is_the_same_mutation(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let sent = |at: &str| {
        let mut sent = mutation(1, "update", "goals", &id, json!({"unit": {"from": null, "to": "calls"}}));
        sent["at"] = json!(at);
        sent
    };
    let answer = one(ana, sent("2027-03-01T15:00:00Z")).await;
    assert_eq!(answer["status"], json!("applied"));
    ana.patch(&format!("/goals/{id}"), json!({"unit": "visits"})).await.ok();
    assert_eq!(one(ana, sent("2027-03-01T15:00:09Z")).await, answer);
    assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()["unit"], json!("visits"), "it is not done a second time");
    assert_eq!(told(ana, &id).await, []);
    // What is put off is so once, however often it is stamped.
    let orphan = |at: &str| {
        let set = json!({"case_id": "case-of-nobody", "body": "said once", "kind": "progress"});
        let mut orphan = mutation(2, "create", "notes", "note-00000001", set);
        orphan["at"] = json!(at);
        orphan
    };
    assert_eq!(one(ana, orphan("2027-03-01T15:00:00Z")).await["status"], json!("retry"));
    assert_eq!(one(ana, orphan("2027-03-01T15:00:09Z")).await["status"], json!("quarantined"));
}

async fn a_null_may_be_left_out_of_a_pair(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let filled = json!({"measure": "walks", "due_on": "2027-05-01", "strengths": ["patience"],
        "client_agreement": {"by": "client", "on": "2027-03-01", "how": "spoken"}});
    ana.patch(&format!("/goals/{id}"), filled.clone()).await.ok();
    let emptied: serde_json::Map<String, Value> =
        filled.as_object().expect("columns").iter().map(|(name, was)| (name.clone(), json!({"from": was}))).collect();
    let result = one(ana, mutation(1, "update", "goals", &id, json!(emptied))).await;
    assert_eq!(result["status"], json!("applied"), "{result}");
    let row = &result["row"];
    assert_eq!(
        ["measure", "due_on", "strengths", "client_agreement"].map(|name| row[name].clone()),
        [Value::Null, Value::Null, json!([]), Value::Null]
    );
    assert_eq!(told(ana, &id).await, []);
    let result = one(ana, mutation(2, "update", "goals", &id, json!({"measure": {"to": "steps"}}))).await;
    assert_eq!((&result["status"], &result["row"]["measure"]), (&json!("applied"), &json!("steps")));
    // An object that has other members is a value.
    let worded = json!({"by": "client", "on": "2027-03-01", "how": "spoken", "words": "yes"});
    let result = one(ana, mutation(3, "update", "goals", &id, json!({"client_agreement": worded}))).await;
    assert_eq!(result["row"]["client_agreement"], worded, "{result}");
}

async fn a_move_is_not_made_over_words_that_its_author_never_saw(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let note =
        text(&ana.post("/notes", json!({"case_id": case.id, "body": "first", "kind": "progress"})).await.ok()["id"]);
    ana.patch(&format!("/notes/{note}"), json!({"body": "typed on the tablet"})).await.ok();
    let set =
        json!({"body": {"from": "first", "to": "said on the phone"}, "client_words": {"from": null, "to": "yes"}});
    let result = one(&ana, action(1, "sign", "notes", &note, set)).await;
    assert_eq!(result["status"], json!("conflict"), "{result}");
    assert_eq!(
        result["conflicts"],
        json!([{"field": "body", "stored": "typed on the tablet", "sent": "said on the phone"}])
    );
    let stored = ana.get(&format!("/notes/{note}")).await.ok();
    assert_eq!(
        ["status", "body", "client_words"].map(|name| stored[name].clone()),
        [json!("draft"), json!("typed on the tablet"), Value::Null]
    );
    let kept = json!({"body": "said on the phone", "client_words": "yes"});
    assert_eq!(told(&ana, &note).await, [("conflict".to_owned(), kept.clone())]);
    let history = ana.get(&format!("/notes/{note}/history")).await.ok();
    let lost = history["items"].as_array().expect("items").iter().find(|kept| kept["op"] == "lost");
    assert_eq!(lost.expect("kept")["old"], kept);
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    ana.patch(&format!("/goals/{goal}"), json!({"target_value": 3})).await.ok();
    let result = one(&ana, action(2, "agree", "goals", &goal, json!({"target_value": {"from": 2, "to": 5}}))).await;
    assert_eq!((&result["status"], &result["row"]["lifecycle"]), (&json!("conflict"), &json!("draft")), "{result}");
    // An edit that names a state is no other.
    let set = json!({"lifecycle": {"from": "draft", "to": "proposed"}, "target_value": {"from": 2, "to": 5},
        "unit": {"from": "walks", "to": "steps"}});
    let result = one(&ana, mutation(3, "update", "goals", &goal, set)).await;
    let row = &result["row"];
    assert_eq!(
        (&result["status"], &row["lifecycle"], &row["target_value"], &row["unit"]),
        (&json!("merged"), &json!("draft"), &json!(3.0), &json!("steps")),
        "{result}"
    );
    assert_eq!(result["conflicts"].as_array().map(Vec::len), Some(2), "{result}");
}

async fn a_document_moves_nothing_over_words_that_its_author_never_saw(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id =
        text(&ana.post("/notes", json!({"case_id": case.id, "body": "first", "kind": "progress"})).await.ok()["id"]);
    let notes = Collection::of(&ana, "notes");
    let known = Collection::of(&ana, "notes").pulls(100).await.remove(0);
    ana.patch(&format!("/notes/{id}"), json!({"body": "typed on the tablet"})).await.ok();
    let mut wanted = known.clone();
    for (name, value) in [("body", "said on the phone"), ("status", "signed"), ("client_words", "yes")] {
        wanted[name] = json!(value);
    }
    let answer = notes.pushes(Some(&known), &wanted).await.remove(0);
    let stands = ["status", "body", "client_words"].map(|name| answer[name].clone());
    assert_eq!(stands, [json!("draft"), json!("typed on the tablet"), json!("yes")]);
    assert_eq!(
        told(&ana, &id).await,
        [("conflict".to_owned(), json!({"body": "said on the phone", "status": "signed"}))]
    );
    // Whoever insists has seen it.
    for (name, value) in [("body", "said on the phone"), ("status", "signed")] {
        wanted[name] = json!(value);
    }
    assert_eq!(notes.pushes(Some(&answer), &wanted).await, Vec::<Value>::new());
    assert_eq!(ana.get(&format!("/notes/{id}")).await.ok()["status"], json!("signed"));
}

async fn what_makes_a_row_comes_before_what_changes_it(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let ana = &phone.person;
    let queue = json!([
        mutation(1, "update", "goals", "goal-00000001", json!({"unit": {"from": null, "to": "walks"}})),
        mutation(2, "create", "goals", "goal-00000001", json!({"case_id": case, "statement": "Walk"})),
    ]);
    let results = mutates(ana, queue).await;
    assert!(results.iter().all(|result| result["status"] == "applied"), "{results:?}");
    assert_eq!(ana.get("/goals/goal-00000001").await.ok()["unit"], json!("walks"));
    // What is deleted first and made anew then is deleted first: its id stays taken.
    let queue = json!([
        mutation(3, "delete", "goals", "goal-00000001", json!({})),
        mutation(4, "create", "goals", "goal-00000001", json!({"case_id": case, "statement": "Swim"})),
    ]);
    let results = mutates(ana, queue).await;
    assert_eq!([&results[0]["status"], &results[1]["status"]], ["applied", "quarantined"]);
}

async fn what_an_app_notes_for_itself_is_told_to_nobody(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    one(ana, action(1, "celebrate", "goals", &id, json!({}))).await;
    one(ana, action(2, "rejoice", "goals", &id, json!({"measure": "songs"}))).await;
    let told = told(ana, &id).await;
    assert!(told.contains(&("ignored".into(), Value::Null)), "{told:?}");
    assert!(told.contains(&("ignored".into(), json!({"measure": "songs"}))), "{told:?}");
}

async fn a_page_of_more_rows_than_there_are_numbers_is_the_largest(world: World) {
    let (phone, ..) = a_goal(&world).await;
    let many = "99999999999999999999";
    phone.person.get(&format!("/sync/pull?limit={many}")).await.ok();
    phone.asks(&format!("&limit={many}")).await.ok();
    // There a shorter page would be taken for the last.
    phone.person.get(&format!("/sync/rxdb/goals/pull?limit={many}")).await.refused(400);
    phone.person.get("/sync/pull?limit=-99999999999999999999").await.refused(400);
}

async fn mutations_are_no_offer_of_rows(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let queue = json!({"mutations": [mutation(1, "update", "goals", &id, json!({"unit": "walks"}))]});
    let refused = phone.person.post("/sync/salvage", queue).await.refused(400);
    assert!(text(&refused["detail"]).contains("{table: {created, updated, deleted}}"), "{refused}");
}
