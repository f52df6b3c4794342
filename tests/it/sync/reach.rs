//! What a push may reach: the rows it may name, the work it may bring in, and what it may learn by trying.

use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_push_names_only_rows_that_are_there_for_its_author,
    rows_of_one_push_may_name_each_other_in_any_order,
    a_native_push_shows_nothing_of_a_note_that_is_hidden,
    accepting_ones_own_work_does_not_widen_what_one_may_make,
    a_changed_role_takes_its_cases_from_the_phone,
    a_changed_role_takes_what_was_ones_own_too,
    a_supervisor_who_comes_back_sees_all_cases_again,
    an_edit_of_a_lost_case_reaches_who_has_it_now_and_can_be_accepted,
    work_on_a_hidden_note_is_not_shown_to_who_may_not_see_the_note,
    an_unknown_case_and_a_foreign_one_answer_alike,
    neither_an_issue_nor_its_work_tells_of_a_case_that_was_never_ones_own,
    what_became_of_a_row_is_told_to_those_who_had_it,
    a_nul_in_a_reference_fails_no_push,
    a_very_long_text_is_cut_and_kept_whole_in_history,
    an_odd_row_costs_itself_alone,
    a_value_taken_back_and_given_again_is_news,
    two_users_of_one_phone_are_told_of_each_others_edits,
    a_cursor_from_nowhere_tells_of_no_restore,
    who_had_a_case_while_a_person_was_away_is_not_told_of_the_person,
    a_phone_that_was_promised_deletes_elsewhere_gets_them_here,
    deletes_that_a_late_request_was_answered_with_come_again,
);

/// A case with a person in it; gives both ids.
pub(super) async fn with_person(phone: &mut Phone, name: &str) -> (String, String) {
    let case = opens_case(phone).await;
    let person = phone.creates("persons", json!({"given_name": name}));
    phone.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "primary_client"}));
    phone.syncs().await;
    (case, person)
}

pub(super) async fn natively(person: &Person, mutations: Value) -> Vec<Value> {
    let answer = person.post("/sync/push", json!({"mutations": mutations})).await.ok();
    answer["results"].as_array().expect("results").clone()
}

pub(super) fn issues(phone: &Phone) -> Vec<Value> {
    let issues = phone.everything().remove("sync_issues").unwrap_or_default();
    issues.into_values().map(Value::Object).collect()
}

async fn a_push_names_only_rows_that_are_there_for_its_author(world: World) {
    let (mut omar, mut ben) = (Phone::of(&world.omar().await), Phone::of(&world.ben().await));
    let (_, foreign) = with_person(&mut omar, "Client of another agency").await;
    let (bens, colleagues) = with_person(&mut ben, "Client of a colleague").await;
    let aim = ben.creates("goals", goal(&bens, "A goal in a colleague's case"));
    let visit = ben.creates("contacts", json!({"case_id": bens, "kind": "visit", "status": "planned"}));
    ben.syncs().await;
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    for person in [&foreign, &colleagues, &"nobody-at-all-1".to_owned()] {
        let party = json!({"case_id": case, "person_id": person, "role": "child"});
        let party = ana.creates("case_parties", party);
        ana.syncs().await;
        ana.pulls().await;
        assert_eq!(ana.row("case_parties", &party), None, "kept apart, and taken from the phone");
        assert_eq!(ana.row("persons", person), None);
        ana.person.get(&format!("/persons/{person}")).await.refused(404);
        let set = json!({"case_id": {"to": case}, "person_id": {"to": person}, "role": {"to": "child"}});
        let mutation = json!({"id": format!("native-{person}"), "op": "create", "table": "case_parties",
            "row_id": format!("party-{}", &person[..8]), "set": set});
        let results = natively(&ana.person, json!([mutation])).await;
        assert_eq!(results[0]["status"], json!("retry"), "as one that has not arrived yet");
        ana.person.get(&format!("/persons/{person}")).await.refused(404);
    }
    ana.creates(
        "goal_ratings",
        json!({"case_id": case, "goal_id": aim, "level": -2, "rated_on": "2027-03-01", "rater": "worker"}),
    );
    let note = json!({"case_id": case, "body": "kept, without the visit", "kind": "progress", "contact_id": visit});
    let note = ana.creates("notes", note);
    ana.syncs().await;
    ana.pulls().await;
    assert_eq!(ana.ids("goal_ratings").len(), 0);
    assert_eq!(ana.column("notes", &note, "body"), json!("kept, without the visit"));
    assert_eq!(ana.column("notes", &note, "contact_id"), Value::Null);
    assert!(issues(&ana).iter().any(|issue| issue["about_id"] == json!(note) && issue["kind"] == json!("cleaned")));
    ben.pulls().await;
    assert_eq!(ben.ids("goal_ratings").len(), 0);
}

async fn rows_of_one_push_may_name_each_other_in_any_order(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    ana.pulls().await;
    let note = |id: &str, amends: Option<&str>| {
        json!({"id": id, "case_id": "case-of-one-push", "body": "said", "kind": "progress", "status": "signed",
            "amends_note_id": amends, "contact_id": "contact-of-one-push"})
    };
    let body = json!({
        "notes": {"created": [note("note-the-second", Some("note-the-first")), note("note-the-first", None)],
            "updated": [], "deleted": []},
        "case_parties": {"created": [{"id": "party-of-one-push", "case_id": "case-of-one-push",
            "person_id": "person-of-one-push", "role": "primary_client"}]},
        "persons": {"created": [{"id": "person-of-one-push", "given_name": "Pia"}]},
        "contacts": {"created": [{"id": "contact-of-one-push", "case_id": "case-of-one-push", "kind": "visit",
            "status": "planned"}]},
        "cases": {"created": [{"id": "case-of-one-push", "unit": "individual"}]},
    });
    ana.sends(&body).await.ok();
    ana.pulls().await;
    assert_eq!(ana.column("notes", "note-the-second", "amends_note_id"), json!("note-the-first"));
    assert_eq!(ana.column("notes", "note-the-first", "contact_id"), json!("contact-of-one-push"));
    assert_eq!(ana.column("persons", "person-of-one-push", "given_name"), json!("Pia"));
    assert_eq!(issues(&ana), Vec::<Value>::new());
}

async fn a_native_push_shows_nothing_of_a_note_that_is_hidden(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let ben = world.ben().await;
    let second = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "they work together"});
    world.sam().await.post(&format!("/cases/{case}/assignments"), second).await.ok();
    let hidden = json!({"case_id": case, "body": "for few eyes", "kind": "restricted"});
    let hidden = ana.creates("notes", hidden);
    ana.syncs().await;
    ben.get(&format!("/notes/{hidden}")).await.refused(404);
    let update = |id: &str, field: &str, from: Value| json!({"id": id, "op": "update", "table": "notes", "row_id": hidden, "set": {field: {"from": from, "to": "x"}}});
    let tries =
        json!([update("try-number-1", "client_words", Value::Null), update("try-number-2", "body", json!("guess"))]);
    let answer = ben.post("/sync/push", json!({"mutations": tries})).await;
    assert!(!answer.text.contains("for few eyes"), "{}", answer.text);
    let history = ana.person.get(&format!("/notes/{hidden}/history")).await.ok();
    assert_eq!(history["items"], json!([]), "and nothing of it came into the note's history");
}

async fn accepting_ones_own_work_does_not_widen_what_one_may_make(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let pantry = ana.creates("organizations", json!({"name": "A pantry of my own"}));
    let talk = json!({"case_id": case, "body": "said by my supervisor", "kind": "supervision"});
    let talk = ana.creates("notes", talk);
    ana.pushes().await.expect("something to push").ok();
    ana.pulls().await;
    for row in [pantry, talk] {
        let issue = issues(&ana).into_iter().find(|issue| issue["about_id"] == json!(row)).expect("an issue");
        let path = format!("/sync_issues/{}/accept", issue["id"].as_str().expect("an id"));
        ana.person.post(&path, json!({"reason": "I would like it"})).await.refused(409);
    }
    let mut sam = Phone::of(&world.sam().await);
    sam.pulls().await;
    assert_eq!((sam.ids("organizations").len(), sam.ids("notes").len()), (0, 0));
}

async fn a_changed_role_takes_its_cases_from_the_phone(world: World) {
    let (mut ana, mut sam) = (Phone::of(&world.ana().await), Phone::of(&world.sam().await));
    let (case, _) = with_person(&mut ana, "Pia").await;
    sam.pulls().await;
    assert!(sam.row("cases", &case).is_some());
    let ada = world.ada().await;
    ada.patch(&format!("/users/{}", ana.person.user_id()), json!({"role": "administrator"})).await.ok();
    ada.patch(&format!("/users/{}", sam.person.user_id()), json!({"role": "auditor"})).await.ok();
    for mut phone in [ana, sam] {
        phone.pulls().await;
        let mut fresh = Phone::of(&phone.person);
        fresh.pulls().await;
        for phone in [phone, fresh] {
            assert_eq!((phone.ids("cases").len(), phone.ids("persons").len()), (0, 0), "{}", phone.person.email);
        }
    }
}

/// A person without a case is its maker's, and issues tell of clients.
async fn a_changed_role_takes_what_was_ones_own_too(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    ana.pulls().await;
    let person = ana.creates("persons", json!({"given_name": "Pia"}));
    ana.creates("notes", json!({"case_id": "case-of-nobody-here", "body": "words about Pia", "kind": "progress"}));
    ana.syncs().await;
    ana.pulls().await;
    assert!(ana.row("persons", &person).is_some() && !issues(&ana).is_empty());
    let ada = world.ada().await;
    for (role, sees) in [("administrator", false), ("caseworker", true), ("auditor", false)] {
        ada.patch(&format!("/users/{}", ana.person.user_id()), json!({"role": role})).await.ok();
        ana.person.logs_in().await;
        ana.pulls().await;
        let mut fresh = Phone::of(&ana.person);
        fresh.pulls().await;
        for phone in [&ana, &fresh] {
            assert_eq!((phone.row("persons", &person).is_some(), !issues(phone).is_empty()), (sees, sees), "{role}");
        }
        if !sees {
            // What was left on the phone is kept, and taken from it.
            let late = ana.creates("persons", json!({"given_name": "Mira"}));
            ana.syncs().await;
            ana.pulls().await;
            assert!(ana.row("persons", &late).is_none(), "{role}");
        }
        for path in ["/sync/pull", "/sync/digest?table=persons"] {
            assert_eq!(ana.person.get(path).await.ok().to_string().contains(&person), sees, "{role} {path}");
        }
    }
}

async fn a_supervisor_who_comes_back_sees_all_cases_again(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let (ada, sam) = (world.ada().await, world.sam().await);
    let mut phone = Phone::of(&sam);
    phone.pulls().await;
    let path = format!("/users/{}", sam.user_id());
    for again in 0..2 {
        if again == 0 {
            ada.post(&format!("{path}/deactivate"), json!({})).await.ok();
            ada.post(&format!("{path}/reactivate"), json!({})).await.ok();
        } else {
            ada.patch(&path, json!({"role": "auditor"})).await.ok();
            ada.patch(&path, json!({"role": "supervisor"})).await.ok();
        }
        sam.logs_in().await;
        sam.get(&format!("/cases/{case}")).await.ok();
        phone.pulls().await;
        assert!(phone.row("cases", &case).is_some(), "time {again}");
    }
}

async fn an_edit_of_a_lost_case_reaches_who_has_it_now_and_can_be_accepted(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let (case, person) = with_person(&mut ana, "Pia").await;
    let note = ana.creates("notes", json!({"case_id": case, "body": "a first draft", "kind": "progress"}));
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("cases", &case, json!({"summary": "what Ana knew last"}));
    ana.edits("persons", &person, json!({"pronouns": "she/her"}));
    ana.edits("notes", &note, json!({"body": "a better draft"}));
    ana.pushes().await.expect("something to push").ok();
    ben.pulls().await;
    for (table, row, column, value) in [
        ("cases", &case, "summary", "what Ana knew last"),
        ("persons", &person, "pronouns", "she/her"),
        ("notes", &note, "body", "a better draft"),
    ] {
        let issue = issues(&ben).into_iter().find(|issue| issue["about_id"] == json!(row)).expect("Ben is told");
        assert_eq!(issue["case_id"], json!(case), "{table}");
        let path = format!("/sync_issues/{}/accept", issue["id"].as_str().expect("an id"));
        ben.person.post(&path, json!({"reason": "Ana was there"})).await.ok();
        ben.pulls().await;
        assert_eq!(ben.column(table, row, column), json!(value));
    }
}

async fn work_on_a_hidden_note_is_not_shown_to_who_may_not_see_the_note(world: World) {
    let (mut ana, mut sam) = (Phone::of(&world.ana().await), Phone::of(&world.sam().await));
    let case = opens_case(&mut ana).await;
    let note = json!({"case_id": case, "body": "among us", "kind": "progress", "visibility": "assigned"});
    let note = ana.creates("notes", note);
    ana.syncs().await;
    sam.person.get(&format!("/notes/{note}")).await.refused(404);
    hands_over(&world, &case, "ben@demo.example").await;
    let set = json!({"body": {"from": "among us", "to": "still among us"}});
    let mutation = json!({"id": "mutation-of-ana", "op": "update", "table": "notes", "row_id": note, "set": set});
    let results = natively(&ana.person, json!([mutation])).await;
    assert_eq!(results[0]["status"], json!("quarantined"));
    sam.pulls().await;
    let issue = issues(&sam).into_iter().find(|issue| issue["about_id"] == json!(note)).expect("Sam is told of it");
    sam.person.get(&format!("/sync_issues/{}/work", issue["id"].as_str().expect("an id"))).await.refused(403);
}

async fn an_unknown_case_and_a_foreign_one_answer_alike(world: World) {
    let mut cleo = Phone::of(&world.cleo().await);
    let foreign = opens_case(&mut cleo).await;
    let note = cleo.creates("notes", json!({"case_id": foreign, "body": "of Cleo", "kind": "progress"}));
    cleo.syncs().await;
    let ana = world.ana().await;
    let create = |id: &str, row: &str, case: &str| {
        json!({"id": id, "op": "create", "table": "notes", "row_id": row,
            "set": {"case_id": {"to": case}, "body": {"to": "x"}, "kind": {"to": "progress"}}})
    };
    let tries = json!([
        create("try-unknown-1", "note-unknown-1", "case-of-nobody"),
        create("try-foreign-1", "note-foreign-1", &foreign),
        create("try-foreign-2", &note, &foreign),
    ]);
    let results = natively(&ana, tries).await;
    let told: Vec<_> = results.iter().map(|result| (&result["status"], &result["reason"])).collect();
    assert_eq!(told[0], told[1]);
    // The same through the other face, whether the row's id is taken or free.
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    for (id, case) in [("note-unknown-2", "case-of-nobody"), ("note-foreign-2", &foreign), (note.as_str(), &foreign)] {
        phone.creates("notes", json!({"id": id, "case_id": case, "body": "x", "kind": "progress"}));
    }
    phone.pushes().await.expect("something to push").ok();
    phone.pulls().await;
    let messages: std::collections::BTreeSet<String> = issues(&phone)
        .iter()
        .filter(|issue| issue["kind"] == json!("quarantined"))
        .map(|issue| issue["message"].to_string())
        .collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
}

async fn a_nul_in_a_reference_fails_no_push(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    for table in entities::registry::TABLES.iter().map(|table| table.name) {
        let row = json!({"id": format!("odd-{table}-row"), "case_id": "x\u{0}y", "person_id": "\u{0}", "goal_id": "\u{0}",
            "contact_id": "a\u{0}", "body": "t\u{0}"});
        let body = json!({table: {"created": [row], "updated": [], "deleted": []}});
        ana.sends(&body).await.ok();
        ana.person.post("/sync/quarantine", body.clone()).await.ok();
        ana.person.post("/sync/salvage", body).await.ok();
        let set = json!({"case_id": {"to": "x\u{0}y"}, "body": {"to": "t\u{0}"}});
        let mutation = json!({"id": format!("mutation-{table}"), "op": "create", "table": table,
            "row_id": format!("new-{table}-row"), "set": set});
        natively(&ana.person, json!([mutation])).await;
    }
    ana.person.get("/sync/digest?case_id=%00").await.ok();
    ana.pulls().await;
    assert!(ana.row("cases", &case).is_some());
}

async fn a_very_long_text_is_cut_and_kept_whole_in_history(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let long = "word ".repeat(400_000);
    let note = ana.creates("notes", json!({"case_id": case, "body": long, "kind": "progress"}));
    ana.pushes().await.expect("something to push").ok();
    ana.pulls().await;
    assert_eq!(ana.column("notes", &note, "body").as_str().map(str::len), Some(20_000));
    let history = ana.person.get(&format!("/notes/{note}/history")).await.ok();
    assert_eq!(history["items"][0]["old"]["body"], json!(long));
    // The same of a case that is not hers any more, where all of it is kept.
    hands_over(&world, &case, "ben@demo.example").await;
    ana.creates("notes", json!({"case_id": case, "body": long, "kind": "progress"}));
    ana.pushes().await.expect("something to push").ok();
    let mut ben = Phone::of(&world.ben().await);
    ben.pulls().await;
    let issue = issues(&ben).pop().expect("Ben is told");
    let work = ben.person.get(&format!("/sync_issues/{}/work", issue["id"].as_str().expect("an id"))).await.ok();
    assert_eq!(work["sent"]["body"], json!(long));
}

async fn an_odd_row_costs_itself_alone(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let sound = json!({"id": "note-that-is-sound", "case_id": case, "body": "sound", "kind": "progress"});
    let odd = json!([sound, null, 7, {}, {"id": 5, "body": "words of mine"}, {"id": "x", "body": "under a short id"}]);
    let body = json!({"notes": {"created": odd, "updated": null, "deleted": [5, null]}, "nosuch": 5});
    ana.sends(&body).await.ok();
    ana.pulls().await;
    assert_eq!(ana.column("notes", "note-that-is-sound", "body"), json!("sound"));
    let told: Vec<String> = issues(&ana).iter().map(|issue| issue["detail"].to_string()).collect();
    for words in ["words of mine", "under a short id"] {
        assert!(told.iter().any(|detail| detail.contains(words)), "{told:?}");
    }
    // So on a phone that is about to lose its work.
    let odd = json!({"notes": {"created": [], "updated": [{"id": 5, "body": "about to be lost"}], "deleted": []}});
    ana.person.post("/sync/quarantine", odd).await.ok();
    ana.pulls().await;
    assert!(issues(&ana).iter().any(|issue| issue["detail"].to_string().contains("about to be lost")));
    // Made and changed in one body: both count.
    let body = json!({"notes": {
        "created": [{"id": "note-made-at-once", "case_id": case, "body": "first", "kind": "progress"}],
        "updated": [{"id": "note-made-at-once", "body": "second", "_changed": "body"}], "deleted": []}});
    ana.sends(&body).await.ok();
    ana.pulls().await;
    assert_eq!(ana.column("notes", "note-made-at-once", "body"), json!("second"));
}

async fn a_value_taken_back_and_given_again_is_news(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let note = ana.creates("notes", json!({"case_id": case, "body": "first", "kind": "progress"}));
    ana.syncs().await;
    for (number, body) in [(2, "X"), (3, "Y"), (4, "X")] {
        ana.pulls().await;
        let row = json!({"id": note, "body": body, "_status": "updated", "_changed": "body"});
        let path = format!("/sync?last_pulled_at={}&push={number}&acked=1", ana.cursor.expect("a cursor"));
        ana.person.post(&path, json!({"notes": {"created": [], "updated": [row], "deleted": []}})).await.ok();
    }
    ana.pulls().await;
    assert_eq!(ana.column("notes", &note, "body"), json!("X"));
}

async fn two_users_of_one_phone_are_told_of_each_others_edits(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let ben = ana.hands_the_phone_to("ben@demo.example");
    ben.logs_in().await;
    let second = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "they work together"});
    world.sam().await.post(&format!("/cases/{case}/assignments"), second).await.ok();
    let mut bens = Phone::of(&ben);
    bens.pulls().await;
    phone.pulls().await;
    phone.edits("cases", &case, json!({"summary": "by Ana"}));
    phone.syncs().await;
    bens.edits("cases", &case, json!({"summary": "by Ben"}));
    assert_eq!(bens.pushes().await.map(|answer| answer.status), Some(409));
}

async fn a_cursor_from_nowhere_tells_of_no_restore(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    opens_case(&mut ana).await;
    ana.asks("&epoch=7").await.ok();
    ana.cursor = Some(9_000_000_000_000);
    ana.asks("").await.ok();
    let mut sam = Phone::of(&world.sam().await);
    sam.pulls().await;
    ana.cursor = None;
    ana.pulls().await;
    assert_eq!((issues(&ana), issues(&sam)), (Vec::new(), Vec::new()));
}

async fn a_phone_that_was_promised_deletes_elsewhere_gets_them_here(mut world: World) {
    let mut here = Phone::of(&world.ana().await);
    let case = opens_case(&mut here).await;
    here.pulls().await;
    here.pulls().await;
    let elsewhere = world.another_server().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let mut there = here.clone();
    there.person = here.person.through(&elsewhere);
    let withheld = there.asks("&pending=1").await.ok();
    assert_eq!(withheld["changes"]["cases"]["deleted"], json!([]), "held back");
    here.applies(&withheld);
    here.pulls().await;
    assert_eq!(here.row("cases", &case), None);
}

/// "`deleted` never names a row its reader could not see before" (S1).
async fn who_had_a_case_while_a_person_was_away_is_not_told_of_the_person(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let (case, person) = with_person(&mut ana, "Pia").await;
    ben.pulls().await;
    let party = ana.ids("case_parties").pop_first().expect("a party");
    // The person is with another case meanwhile, or would go with this one.
    let other = opens_case(&mut ana).await;
    ana.creates("case_parties", json!({"case_id": other, "person_id": person, "role": "child"}));
    ana.edits("case_parties", &party, json!({"left_on": "2027-03-01"}));
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    hands_over(&world, &case, "ana@demo.example").await;
    ana.pulls().await;
    ana.edits("case_parties", &party, json!({"left_on": null}));
    ana.syncs().await;
    let page = ben.pulls().await;
    assert_eq!(page["changes"]["persons"]["deleted"], json!([]));
    assert!(page["changes"]["cases"]["deleted"].to_string().contains(&case), "the case was Ben's for a moment");
    ana.pulls().await;
    assert!(ana.row("persons", &person).is_some());
}

async fn deletes_that_a_late_request_was_answered_with_come_again(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.pulls().await;
    let given_up = phone.clone();
    hands_over(&world, &case, "ben@demo.example").await;
    phone.creates("notes", json!({"case_id": case, "body": "unsent", "kind": "progress"}));
    let withheld = phone.asks("&pending=1").await.ok();
    assert_eq!(withheld["changes"]["cases"]["deleted"], json!([]), "held back");
    phone.applies(&withheld);
    phone.pushes().await.expect("something to push").ok();
    // A request that the phone gave up long ago arrives now; its answer reaches nobody.
    given_up.asks("").await.ok();
    phone.pulls().await;
    assert_eq!((phone.row("cases", &case), phone.ids("notes").len()), (None, 0));
}

async fn neither_an_issue_nor_its_work_tells_of_a_case_that_was_never_ones_own(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    let hidden = ana.creates("goals", goal(&case, "Not for Ben's eyes"));
    ana.syncs().await;
    let mut bens = Phone::of(&ben);
    bens.pulls().await;
    // An edit of a row that is there and of one that is not; new work in a case that is there and in one that is not.
    for (id, case) in [(hidden.as_str(), case.as_str()), ("goal-unheard-of", "case-unheard-of")] {
        let row = json!({"id": id, "statement": "Tried", "_status": "updated", "_changed": "statement"});
        bens.sends(&json!({"goals": {"created": [], "updated": [row], "deleted": []}})).await.ok();
        let set = json!({"case_id": {"to": case}, "body": {"to": "Tried"}});
        let create = json!({"id": format!("mutation-{case}"), "op": "create", "table": "notes",
            "row_id": format!("note-{case}"), "set": set});
        natively(&ben, json!([create])).await;
        natively(&ben, json!([create])).await;
    }
    bens.pulls().await;
    let told = issues(&bens);
    assert_eq!(told.len(), 4, "{told:?}");
    for issue in told {
        assert_eq!(issue["case_id"], Value::Null, "{issue}");
        let work = ben.get(&format!("/sync_issues/{}/work", issue["id"].as_str().expect("an id"))).await.ok();
        assert_eq!(work["case_id"], Value::Null, "{work}");
    }
}

async fn what_became_of_a_row_is_told_to_those_who_had_it(world: World) {
    let (ana, ben, omar) = (world.ana().await, world.ben().await, world.omar().await);
    let mut anas = Phone::of(&ana);
    let case = opens_case(&mut anas).await;
    let [gone, there] = ["Deleted since", "Still there"].map(|words| anas.creates("goals", goal(&case, words)));
    anas.syncs().await;
    anas.pulls().await;
    let cursor = ana.get("/sync/pull?limit=2000").await.ok()["next_cursor"].as_str().expect("a cursor").to_owned();
    anas.deletes("goals", &gone);
    anas.syncs().await;
    let ops = async |person: &Person, cursor: &str| -> Vec<(Value, Value)> {
        let page = person.get(&format!("/sync/pull?cursor={cursor}&limit=2000")).await.ok();
        let changes = page["changes"].as_array().expect("changes").clone();
        changes
            .into_iter()
            .filter(|one| one["table"] == "goals")
            .map(|one| (one["id"].clone(), one["op"].clone()))
            .collect()
    };
    assert_eq!(ops(&ana, &cursor).await, [(json!(gone), json!("del"))]);
    // Whoever asks for rows that never were theirs hears one answer.
    for stranger in [&ben, &omar] {
        let cursor = stranger.get("/sync/pull?limit=2000").await.ok()["next_cursor"].as_str().expect("one").to_owned();
        let rows: Vec<Value> =
            [&*gone, &*there, "goal-unheard-of"].iter().map(|id| json!({"table": "goals", "id": id})).collect();
        stranger.post("/sync/repair", json!({"rows": rows})).await.ok();
        // A push of their own leaves nothing there that would tell.
        let set = json!({"statement": {"from": null, "to": "Tried"}});
        let tried =
            |id: &str| json!({"id": format!("tried-{id}"), "op": "update", "table": "goals", "row_id": id, "set": set});
        natively(stranger, json!([tried(&gone), tried(&there)])).await;
        let mut told = ops(stranger, &cursor).await;
        told.retain(|(_, op)| op != "revoke");
        assert_eq!(told, Vec::<(Value, Value)>::new());
    }
}
