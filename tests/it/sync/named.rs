//! What a pushed row names: hidden since it was written, not come yet, kept itself, or nobody at all; and words that are
//! said anew and must not be taken for a repeat.

use serde_json::{Value, json};

use super::reach::natively;
use super::rules::{goal, hands_over, opens_case};
use super::rxdb::{Collection, find};
use super::told::{a_goal, kept, mutation, one, told};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_correction_of_a_note_that_was_hidden_meanwhile_is_hidden_too,
    what_names_a_row_that_has_not_come_yet_waits_for_it,
    what_never_comes_holds_up_nothing,
    what_is_new_comes_first_in_a_push_of_one_table,
    what_names_a_row_that_is_kept_is_kept_beside_it,
    only_what_makes_a_row_of_a_case_goes_to_another,
    what_was_discarded_and_is_said_anew_is_kept_anew,
    an_edit_that_arrived_before_the_case_was_lost_is_not_told_as_kept,
    a_value_that_was_chosen_again_is_not_lost_without_a_word,
    items_that_name_nobody_stay_apart,
    half_a_character_in_a_list_costs_no_more,
    two_days_that_do_not_go_together_cost_no_more_than_themselves,
);

fn document(id: &str, columns: Value) -> Value {
    let mut document = columns;
    (document["id"], document["_deleted"]) = (json!(id), json!(false));
    document
}

async fn a_correction_of_a_note_that_was_hidden_meanwhile_is_hidden_too(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let (ben, cleo, sam) = (world.ben().await, world.cleo().await, world.sam().await);
    let case = opens_case(&mut ana).await;
    for person in [&ben, &cleo] {
        let helps = json!({"user_id": person.user_id(), "role": "secondary", "reason": "helps"});
        sam.post(&format!("/cases/{case}/assignments"), helps).await.ok();
    }
    let mut bens = Phone::of(&ben);
    for (at, face) in ["watermelondb", "native", "rxdb"].into_iter().enumerate() {
        let note = ana.creates("notes", json!({"case_id": case, "body": "first", "kind": "progress"}));
        ana.syncs().await;
        ana.pulls().await;
        bens.pulls().await;
        ana.edits("notes", &note, json!({"visibility": "author_supervisor"}));
        ana.syncs().await;
        ana.pulls().await;
        let id = format!("correction-{at:04}");
        let row = json!({"case_id": case, "body": "quotes the first", "kind": "progress", "amends_note_id": note,
            "visibility": "team", "status": "draft"});
        match face {
            "watermelondb" => {
                let body = json!({"notes": {"created": [document(&id, row)], "updated": [], "deleted": []}});
                let cursor = bens.cursor.expect("a cursor");
                ben.post(&format!("/sync?last_pulled_at={cursor}"), body).await.ok();
            }
            "native" => assert_ne!(one(&ben, mutation(1, "create", "notes", &id, row)).await["status"], "conflict"),
            _ => assert_eq!(Collection::of(&ben, "notes").pushes(None, &document(&id, row)).await, [Value::Null; 0]),
        }
        let stored = ben.get(&format!("/notes/{id}")).await.ok();
        assert_eq!((&stored["amends_note_id"], &stored["visibility"]), (&json!(note), &json!("author_supervisor")));
        cleo.get(&format!("/notes/{id}")).await.refused(404);
        // One that its author never saw, or that is not there, is not guessed at: the correction is kept.
        let row = json!({"case_id": case, "body": "quotes", "kind": "progress", "amends_note_id": "note-of-nobody-1"});
        let id = format!("unknown-{at:04}");
        let body = json!({"notes": {"created": [document(&id, row)], "updated": [], "deleted": []}});
        ben.post("/sync?last_pulled_at=1", body).await.ok();
        ben.get(&format!("/notes/{id}")).await.refused(404);
        assert_eq!(told(&ben, &id).await[0].0, "quarantined");
    }
}

async fn what_names_a_row_that_has_not_come_yet_waits_for_it(world: World) {
    let (phone, case, goal) = a_goal(&world).await;
    let ana = &phone.person;
    let visit = |id: &str| document(id, json!({"case_id": case, "kind": "visit", "status": "planned"}));
    let note =
        |id: &str, contact: &str| document(id, json!({"case_id": case, "body": "well said", "contact_id": contact}));
    // A lost request lets the table that names the other come first.
    let notes = Collection::of(ana, "notes");
    assert_eq!(notes.pushes(None, &note("note-00000001", "contact-0001")).await, [Value::Null; 0]);
    ana.get("/notes/note-00000001").await.refused(404);
    Collection::of(ana, "contacts").pushes(None, &visit("contact-0001")).await;
    assert_eq!(ana.get("/notes/note-00000001").await.ok()["contact_id"], json!("contact-0001"));
    // Mutations are asked for again, and what never comes is told and costs the name alone.
    let set = |contact: &str| json!({"case_id": case, "body": "well said", "contact_id": contact});
    let first = mutation(1, "create", "notes", "note-00000002", set("contact-0002"));
    assert_eq!(one(ana, first.clone()).await["status"], json!("retry"));
    let visit = mutation(2, "create", "contacts", "contact-0002", json!({"case_id": case, "kind": "visit"}));
    assert_eq!(one(ana, visit).await["status"], json!("applied"));
    assert_eq!(one(ana, first).await["status"], json!("applied"));
    assert_eq!(ana.get("/notes/note-00000002").await.ok()["contact_id"], json!("contact-0002"));
    let lone = mutation(3, "create", "notes", "note-00000003", set("contact-of-nobody"));
    assert_eq!(one(ana, lone.clone()).await["status"], json!("retry"));
    assert_eq!(one(ana, lone).await["status"], json!("merged"));
    assert_eq!(ana.get("/notes/note-00000003").await.ok()["contact_id"], Value::Null);
    assert_eq!(told(ana, "note-00000003").await[0].0, "cleaned");
    // A goal of a person who comes later, with the part that lets its author name them.
    let id = "goal-of-person-1";
    let named =
        document(id, json!({"case_id": case, "statement": "Walk to the market", "person_id": "person-00000001"}));
    Collection::of(ana, "goals").pushes(None, &named).await;
    ana.get(&format!("/goals/{id}")).await.refused(404);
    Collection::of(ana, "persons").pushes(None, &document("person-00000001", json!({"given_name": "Pia"}))).await;
    assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()["person_id"], json!("person-00000001"));
    ana.get(&format!("/goals/{goal}")).await.ok();
}

/// An id that is none is no name, and a child of what waits waits too.
async fn what_never_comes_holds_up_nothing(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let ana = &phone.person;
    let row = json!({"case_id": case, "body": "well said", "contact_id": ""});
    assert_eq!(Collection::of(ana, "notes").pushes(None, &document("note-00000001", row)).await, [Value::Null; 0]);
    assert_eq!(ana.get("/notes/note-00000001").await.ok()["contact_id"], Value::Null);
    let goal = json!({"case_id": case, "statement": "Walk to the market", "person_id": "person-00000001"});
    let rating = json!({"case_id": case, "goal_id": "goal-of-person-1", "rated_on": "2027-03-01", "level": 1});
    let both = json!([
        mutation(1, "create", "goals", "goal-of-person-1", goal),
        mutation(2, "create", "goal_ratings", "rating-0001", rating)
    ]);
    let results = natively(ana, both).await;
    assert_eq!([&results[0]["status"], &results[1]["status"]], ["retry", "retry"]);
    ana.get("/goal_ratings/rating-0001").await.refused(404);
}

async fn what_is_new_comes_first_in_a_push_of_one_table(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let ana = &phone.person;
    let planned = |id: &str| document(id, json!({"case_id": case, "kind": "visit", "status": "planned"}));
    let contacts = Collection::of(ana, "contacts");
    contacts.pushes(None, &planned("contact-0001")).await;
    let held = Collection::of(ana, "contacts").pulls(100).await;
    let before = find(&held, "contact-0001").clone();
    let mut moved = before.clone();
    (moved["status"], moved["rescheduled_to"]) = (json!("rescheduled"), json!("contact-0002"));
    let both = json!([{"assumedMasterState": before, "newDocumentState": moved},
        {"newDocumentState": planned("contact-0002")}]);
    assert_eq!(ana.post("/sync/rxdb/contacts/push", both).await.ok(), json!([]));
    assert_eq!(ana.get("/contacts/contact-0001").await.ok()["status"], json!("rescheduled"));
}

async fn what_names_a_row_that_is_kept_is_kept_beside_it(world: World) {
    let (phone, case, goal) = a_goal(&world).await;
    let ana = &phone.person;
    // Not for a caseworker to write, so it is kept; and a rating that says nothing.
    let hidden = json!({"case_id": case, "body": "first", "kind": "supervision"});
    let correction = json!({"case_id": case, "body": "second", "kind": "progress", "amends_note_id": "note-00000001"});
    let blank = json!({"case_id": case, "goal_id": goal, "rated_on": "2027-03-01"});
    let better =
        json!({"case_id": case, "goal_id": goal, "rated_on": "2027-03-01", "level": 1, "replaces": "rating-0001"});
    let body = json!({
        "notes": {"created": [document("note-00000002", correction), document("note-00000001", hidden)], "updated": [], "deleted": []},
        "goal_ratings": {"created": [document("rating-0001", blank), document("rating-0002", better)], "updated": [], "deleted": []}});
    ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), body).await.ok();
    for (table, id) in [("notes", "note-00000001"), ("notes", "note-00000002"), ("goal_ratings", "rating-0002")] {
        ana.get(&format!("/{table}/{id}")).await.refused(404);
        assert_eq!(told(ana, id).await[0].0, "quarantined", "{id}");
    }
}

async fn only_what_makes_a_row_of_a_case_goes_to_another(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Walk to the market"));
    ana.syncs().await;
    ana.pulls().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("goals", &id, json!({"measure": "walks"}));
    let note = json!({"case_id": case, "body": "new", "kind": "progress", "status": "signed"});
    let note = ana.creates("notes", note);
    ana.pushes().await.expect("work").ok();
    let mut bens = Phone::of(&ben);
    let other = opens_case(&mut bens).await;
    let rehome = json!({"case_id": other, "reason": "it belongs there"});
    let refused = ben.post(&format!("{}/rehome", kept(&ben, &id).await), rehome.clone()).await.refused(409);
    assert_eq!(refused["code"], json!("not_applicable"));
    assert_eq!(ben.get(&format!("/goals/{id}")).await.ok()["measure"], Value::Null);
    ben.post(&format!("{}/rehome", kept(&ben, &note).await), rehome).await.ok();
    assert_eq!(ben.get(&format!("/notes/{note}")).await.ok()["case_id"], json!(other));
}

async fn what_was_discarded_and_is_said_anew_is_kept_anew(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Walk to the market"));
    ana.syncs().await;
    let open = async |person: &Person| {
        let all = person.get("/sync_issues?limit=200").await.ok();
        let all = all["items"].as_array().expect("a list").clone();
        all.iter().filter(|issue| issue["about_id"] == id.as_str() && issue["status"] == "open").count()
    };
    for push in 1..=2 {
        ana.counts = Some((push, push - 1));
        ana.pulls().await;
        ana.edits("goals", &id, json!({"measure": "walks"}));
        hands_over(&world, &case, "ben@demo.example").await;
        ana.pushes().await.expect("work").ok();
        assert_eq!((open(&ben).await, open(&ana.person).await), (1, 1), "push {push}");
        let discard = format!("{}/discard", kept(&ben, &id).await);
        ben.post(&discard, json!({"reason": "not now"})).await.ok();
        assert_eq!(open(&ben).await, 0);
        hands_over(&world, &case, "ana@demo.example").await;
    }
}

async fn an_edit_that_arrived_before_the_case_was_lost_is_not_told_as_kept(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Walk to the market"));
    ana.syncs().await;
    ana.pulls().await;
    ana.edits("goals", &id, json!({"measure": "walks"}));
    let lost = ana.outgoing();
    ana.sends(&lost).await.ok();
    hands_over(&world, &case, "ben@demo.example").await;
    ana.sends(&lost).await.ok();
    assert_eq!(told(&ana.person, &id).await, []);
    // What would not have been stored is not passed over either.
    let said = json!({"goals": {"created": [], "updated": [{"id": id, "_changed": "lifecycle", "lifecycle": "completed"}],
        "deleted": []}});
    ana.person.post("/sync?last_pulled_at=9007199254740000", said).await.ok();
    assert_eq!(told(&ana.person, &id).await.len(), 1, "it is kept");
    // Somebody else's word since is not theirs to ask about.
    world.ben().await.patch(&format!("/goals/{id}"), json!({"unit": "a week"})).await.ok();
    ana.sends(&lost).await.ok();
    assert_eq!(told(&ana.person, &id).await.len(), 2);
}

async fn a_value_that_was_chosen_again_is_not_lost_without_a_word(world: World) {
    let (mut phone, _, id) = a_goal(&world).await;
    let ana = phone.person.on_another_device();
    ana.logs_in().await;
    let goals = Collection::of(&ana, "goals");
    let stored = async || find(&Collection::of(&ana, "goals").pulls(100).await, &id).clone();
    let with = |document: &Value, value: &str| {
        let mut document = document.clone();
        document["measure"] = json!(value);
        document
    };
    let base = stored().await;
    assert_eq!(goals.pushes(Some(&base), &with(&base, "walks")).await, [Value::Null; 0]);
    let mut says = async |value: &str| {
        phone.pulls().await;
        phone.edits("goals", &id, json!({"measure": value}));
        phone.syncs().await;
    };
    says("steps").await;
    let seen = stored().await;
    says("miles").await;
    assert_eq!(goals.pushes(Some(&seen), &with(&seen, "walks")).await[0]["measure"], json!("miles"));
    assert!(told(&ana, &id).await.contains(&("conflict".into(), json!({"measure": "walks"}))));
    // The first push again, whose answer was lost, says nothing new.
    let count = told(&ana, &id).await.len();
    goals.pushes(Some(&base), &with(&base, "walks")).await;
    assert_eq!(told(&ana, &id).await.len(), count);
}

async fn items_that_name_nobody_stay_apart(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let ana = &phone.person;
    let both = json!([{"attended": true, "name": "Aunt May", "person_id": null},
        {"attended": false, "name": "Uncle Ben", "person_id": null}]);
    let row = json!({"case_id": case, "kind": "visit", "status": "completed", "parties_present": both.to_string()});
    let body = json!({"contacts": {"created": [document("contact-0001", row)], "updated": [], "deleted": []}});
    ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), body).await.ok();
    assert_eq!(ana.get("/contacts/contact-0001").await.ok()["parties_present"], both);
    let set = json!({"case_id": case, "kind": "visit", "status": "completed", "parties_present": both});
    natively(ana, json!([mutation(1, "create", "contacts", "contact-0002", set)])).await;
    assert_eq!(ana.get("/contacts/contact-0002").await.ok()["parties_present"], both);
}

async fn half_a_character_in_a_list_costs_no_more(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let update = json!({"id": id, "_changed": "strengths", "strengths": r#"["cooks", "half \ud83d", 1e400]"#});
    let body = json!({"goals": {"created": [], "updated": [update], "deleted": []}});
    ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), body).await.ok();
    let stored = ana.get(&format!("/goals/{id}")).await.ok()["strengths"].clone();
    assert_eq!(stored, json!(["cooks", "half \u{FFFD}", "1e400"]));
    assert_eq!(told(ana, &id).await[0].0, "cleaned");
}

async fn two_days_that_do_not_go_together_cost_no_more_than_themselves(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let ana = &phone.person;
    let row = json!({"case_id": case, "kind": "visit", "status": "planned", "ended_at": "2027-03-01T10:00:00Z"});
    ana.post("/contacts", document_of_rest("contact-0001", row)).await.ok();
    let started = entities::Instant::parse("2027-03-01T12:00:00Z").expect("an instant").0;
    let update = json!({"id": "contact-0001", "_changed": "started_at,place", "started_at": started, "place": "home"});
    let body = json!({"contacts": {"created": [], "updated": [update], "deleted": []}});
    ana.post("/sync?last_pulled_at=9007199254740000", body).await.ok();
    let stored = ana.get("/contacts/contact-0001").await.ok();
    assert_eq!((&stored["place"], &stored["started_at"]), (&json!("home"), &Value::Null));
    assert!(told(ana, "contact-0001").await[0].1["started_at"].is_number());
}

fn document_of_rest(id: &str, columns: Value) -> Value {
    let mut row = columns;
    row["id"] = json!(id);
    row
}
