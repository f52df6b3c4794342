//! Kept work reaches somebody who can decide about it, and nobody else.

use reqwest::Method;
use serde_json::{Value, json};

use super::native::mutates;
use super::restored::{restores, takes_a_backup};
use super::rules::{goal, hands_over, opens_case};
use super::told::{action, kept, mutation};
use crate::rest::scene::text;
use crate::support::{Person, Phone, World, on_both};

on_both!(
    what_was_kept_before_its_case_came_goes_with_the_case,
    a_case_of_a_lost_phone_is_taken_in_with_its_persons,
    a_kept_person_is_taken_in_with_the_part_that_names_them,
    work_of_no_case_is_told_to_the_nearest_supervisor_above,
    work_of_no_case_is_told_to_whoever_supervises_its_author_next,
    work_of_somebody_who_was_promoted_is_taken_in,
    a_kept_edit_of_a_person_is_decided_where_the_person_is,
    a_kept_move_of_a_case_is_made_by_whoever_has_it,
    a_kept_move_that_is_not_for_who_accepts_waits_for_another,
    kept_work_goes_to_no_case_that_its_decider_has_lost,
    a_kept_draft_waits_for_its_author,
    an_author_narrows_a_note_of_a_lost_case,
    nobody_is_made_the_author_of_what_another_wrote,
    who_has_lost_the_case_discards_nothing_that_others_were_told_of,
    a_later_state_settles_the_earlier,
    an_edit_typed_again_is_told_again,
    what_would_be_kept_once_more_is_not_settled,
);

/// The open issues of a person about a row that is kept.
async fn open(person: &Person, about: &str) -> Vec<Value> {
    let all = person.get("/sync_issues?limit=200").await.ok();
    let about = all["items"].as_array().expect("a list").iter().filter(|issue| issue["about_id"] == about);
    about.filter(|issue| issue["status"] == "open" && issue["kind"] == "quarantined").cloned().collect()
}

async fn decides(person: &Person, verb: &str, about: &str) -> crate::support::Answer {
    let issue = open(person, about).await.pop().unwrap_or_else(|| panic!("{} is told of {about}", person.email));
    person.post(&format!("/sync_issues/{}/{verb}", text(&issue["id"])), json!({"reason": "it is so"})).await
}

async fn accepts(person: &Person, about: &str) -> crate::support::Answer {
    decides(person, "accept", about).await
}

/// Reports a phone as lost, which then hands over what it has not sent.
async fn says_farewell(world: &World, phone: &Phone) {
    let wiped = world.ada().await.post(&format!("/devices/{}/wipe", phone.person.device_id), json!({})).await;
    assert_eq!(wiped.status, 204, "{}", wiped.text);
    let token = text(&phone.person.session()["refresh_token"]);
    let farewell = world.stranger().request(Method::POST, "/sync/farewell").bearer_auth(token);
    let mut held = phone.outgoing();
    for (_, table) in held.as_object_mut().expect("tables") {
        table["updated"] = std::mem::replace(&mut table["created"], json!([]));
    }
    phone.person.send("a farewell", farewell.body(held.to_string())).await.ok();
}

/// A case that Ana opened without signal, of which nothing has arrived: case, person, party, note.
async fn offline(world: &World) -> (Phone, [String; 4]) {
    let mut ana = Phone::of(&world.ana().await);
    ana.pulls().await;
    let case = ana.creates("cases", json!({"unit": "family", "summary": "opened without signal"}));
    let person = ana.creates("persons", json!({"given_name": "Pia"}));
    let party = json!({"case_id": case, "person_id": person, "role": "primary_client"});
    let party = ana.creates("case_parties", party);
    let note =
        json!({"case_id": case, "body": "a secret of the first visit", "kind": "restricted", "status": "signed"});
    let note = ana.creates("notes", note);
    (ana, [case, person, party, note])
}

/// Sets columns of a user.
async fn user(world: &World, email: &str, columns: Value) {
    let id = world.id_of(email).await;
    world.ada().await.patch(&format!("/users/{id}"), columns).await.ok();
}

/// Sets columns of a team; gives its id.
async fn team(world: &World, name: &str, columns: Value) -> String {
    let ada = world.ada().await;
    let teams = ada.get("/teams").await.ok();
    let team = teams["items"].as_array().expect("teams").iter().find(|team| team["name"] == name);
    let id = text(&team.expect("a team of that name")["id"]);
    if columns != Value::Null {
        ada.patch(&format!("/teams/{id}"), columns).await.ok();
    }
    id
}

/// Makes somebody of another team the primary worker, so that the case is that team's.
async fn gives(world: &World, case: &str, to: &str) {
    let to = json!({"user_id": world.id_of(to).await, "role": "primary", "reason": "they live there now"});
    world.sam().await.post(&format!("/cases/{case}/assignments"), to).await.ok();
    world.pass_secs(1);
}

async fn what_was_kept_before_its_case_came_goes_with_the_case(world: World) {
    let (phone, [case, person, party, note]) = offline(&world).await;
    says_farewell(&world, &phone).await;
    let (sam, cleo, sol) = (world.sam().await, world.cleo().await, world.sol().await);
    let sams = text(&open(&sam, &note).await.pop().expect("Sam is told")["id"]);
    sam.get(&format!("/sync_issues/{sams}/work")).await.ok();
    // The case comes from a copy of the phone, and goes to another team.
    let ana = world.ana().await;
    let mut copy = Phone::of(&ana);
    copy.pulls().await;
    copy.creates("cases", json!({"id": case, "unit": "family", "summary": "opened without signal"}));
    copy.syncs().await;
    gives(&world, &case, "cleo@demo.example").await;
    sam.get(&format!("/cases/{case}")).await.refused(404);
    sam.get(&format!("/sync_issues/{sams}/work")).await.refused(404);
    sam.post(&format!("/sync_issues/{sams}/accept"), json!({"reason": "mine"})).await.refused(404);
    for row in [&person, &party, &note] {
        assert_eq!((open(&cleo, row).await.len(), open(&sol, row).await.len()), (1, 1), "{row}");
        assert_eq!(open(&sam, row).await, [] as [Value; 0], "{row}");
    }
    let work = |issue: &Value| format!("/sync_issues/{}/work", text(&issue["id"]));
    let cleos = open(&cleo, &person).await.remove(0);
    assert_eq!(cleo.get(&work(&cleos)).await.ok()["sent"]["given_name"], json!("Pia"));
    // A restricted note is hers alone who wrote it, and the supervisor's.
    cleo.get(&work(&open(&cleo, &note).await.remove(0))).await.refused(403);
    accepts(&sol, &note).await.ok();
    sol.get(&format!("/notes/{note}")).await.ok();
    // The party is nothing without the person, who comes with it.
    accepts(&cleo, &party).await.ok();
    assert_eq!(cleo.get(&format!("/persons/{person}")).await.ok()["given_name"], json!("Pia"));
    assert_eq!(open(&cleo, &person).await, [] as [Value; 0]);
}

async fn a_case_of_a_lost_phone_is_taken_in_with_its_persons(world: World) {
    let (phone, [case, person, party, note]) = offline(&world).await;
    says_farewell(&world, &phone).await;
    let sam = world.sam().await;
    accepts(&sam, &case).await.ok();
    let parties = sam.get(&format!("/case_parties?case_id={case}")).await.ok();
    assert_eq!(parties["items"][0]["person_id"], json!(person));
    for row in [&case, &person, &party, &note] {
        assert_eq!(open(&sam, row).await, [] as [Value; 0], "{row}");
    }
    world.ana().await.get(&format!("/persons/{person}")).await.ok();
    // Of somebody who has left and belonged to another team last, the supervisor of that team decides about all of it.
    let (phone, rows) = offline(&world).await;
    says_farewell(&world, &phone).await;
    let (ana, south) = (world.id_of("ana@demo.example").await, team(&world, "South", Value::Null).await);
    user(&world, "ana@demo.example", json!({"team_id": south})).await;
    world.ada().await.post(&format!("/users/{ana}/deactivate"), json!({})).await.ok();
    accepts(&sam, &rows[0]).await.refused(403);
    let sol = world.sol().await;
    accepts(&sol, &rows[0]).await.ok();
    for (table, row) in ["cases", "persons", "case_parties", "notes"].into_iter().zip(&rows) {
        sol.get(&format!("/{table}/{row}")).await.ok();
        assert_eq!(open(&sol, row).await, [] as [Value; 0], "{table}");
    }
}

async fn a_kept_person_is_taken_in_with_the_part_that_names_them(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    let person = ana.creates("persons", json!({"given_name": "Uncle Tom"}));
    let party = ana.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "child"}));
    hands_over(&world, &case, "ben@demo.example").await;
    says_farewell(&world, &ana).await;
    assert_eq!((open(&ben, &person).await.len(), open(&ben, &party).await.len()), (1, 1));
    accepts(&ben, &party).await.ok();
    ben.get(&format!("/persons/{person}")).await.ok();
    assert_eq!(open(&ben, &person).await, [] as [Value; 0]);
}

async fn work_of_no_case_is_told_to_the_nearest_supervisor_above(world: World) {
    let north = team(&world, "North", Value::Null).await;
    let made = world.ada().await.post("/teams", json!({"name": "North outreach", "parent_team_id": north})).await.ok();
    user(&world, "ana@demo.example", json!({"team_id": made["id"]})).await;
    let (phone, rows) = offline(&world).await;
    says_farewell(&world, &phone).await;
    let sam = world.sam().await;
    accepts(&sam, &rows[0]).await.ok();
    sam.get(&format!("/cases/{}", rows[0])).await.ok();
}

async fn work_of_no_case_is_told_to_whoever_supervises_its_author_next(world: World) {
    let (phone, [case, ..]) = offline(&world).await;
    says_farewell(&world, &phone).await;
    let (sam, sol) = (world.sam().await, world.sol().await);
    let sams = format!("/sync_issues/{}/work", text(&open(&sam, &case).await.pop().expect("told")["id"]));
    // The author goes, another leads the team, and the one before leaves.
    let ana = world.id_of("ana@demo.example").await;
    world.ada().await.post(&format!("/users/{ana}/deactivate"), json!({})).await.ok();
    team(&world, "North", json!({"supervisor_user_id": sol.user_id()})).await;
    assert_eq!(open(&sol, &case).await.len(), 1);
    sam.get(&sams).await.refused(403);
    // To and fro each has the one issue.
    team(&world, "North", json!({"supervisor_user_id": sam.user_id()})).await;
    assert_eq!((open(&sam, &case).await.len(), open(&sol, &case).await.len()), (1, 1));
    sam.get(&sams).await.ok();
    // Whoever supervises nobody any more is told of nothing more, and whoever comes after is.
    let south = team(&world, "South", Value::Null).await;
    team(&world, "North", json!({"parent_team_id": south})).await;
    world.ada().await.post(&format!("/users/{}/deactivate", sam.user_id()), json!({})).await.ok();
    accepts(&sol, &case).await.ok();
    sol.get(&format!("/cases/{case}")).await.ok();
}

async fn work_of_somebody_who_was_promoted_is_taken_in(world: World) {
    for role in ["supervisor", "administrator"] {
        let mut ana = Phone::of(&world.ana().await);
        let case = opens_case(&mut ana).await;
        let edited = ana.creates("goals", goal(&case, "Walk the dog each day"));
        let draft = ana.creates("notes", json!({"case_id": case, "body": "begun", "kind": "progress"}));
        ana.syncs().await;
        ana.syncs().await;
        ana.edits("goals", &edited, json!({"measure": "walks a week"}));
        ana.edits("notes", &draft, json!({"body": "finished", "status": "signed"}));
        let note = json!({"case_id": case, "body": "seen at home", "kind": "progress", "status": "signed"});
        let note = ana.creates("notes", note);
        user(&world, "ana@demo.example", json!({"role": role})).await;
        ana.person.logs_in().await;
        ana.pushes().await.expect("work").ok();
        let sam = world.sam().await;
        for row in [&edited, &draft, &note] {
            // When she did it nobody knows, and her role does not write so any more.
            if role == "supervisor" {
                accepts(&ana.person, row).await.refused(409);
            }
            accepts(&sam, row).await.ok();
        }
        assert_eq!(sam.get(&format!("/goals/{edited}")).await.ok()["measure"], json!("walks a week"), "{role}");
        let signed = sam.get(&format!("/notes/{draft}")).await.ok();
        assert_eq!((&signed["body"], &signed["status"]), (&json!("finished"), &json!("signed")), "{role}");
        assert_eq!(sam.get(&format!("/notes/{note}")).await.ok()["author_id"], json!(ana.person.user_id()), "{role}");
        user(&world, "ana@demo.example", json!({"role": "caseworker"})).await;
    }
}

async fn a_kept_edit_of_a_person_is_decided_where_the_person_is(world: World) {
    let (mut ana, cleo) = (Phone::of(&world.ana().await), world.cleo().await);
    // Two cases of one person, who has left the first.
    let first = opens_case(&mut ana).await;
    let second = opens_case(&mut ana).await;
    let person = ana.creates("persons", json!({"given_name": "Pia"}));
    let part = |case: &str| json!({"case_id": case, "person_id": person, "role": "primary_client"});
    let ended = ana.creates("case_parties", part(&first));
    ana.creates("case_parties", part(&second));
    ana.syncs().await;
    ana.edits("case_parties", &ended, json!({"left_on": "2027-02-20"}));
    ana.syncs().await;
    ana.edits("persons", &person, json!({"given_name": "Philippa"}));
    gives(&world, &second, "cleo@demo.example").await;
    ana.pushes().await.expect("an edit").ok();
    assert_eq!(open(&world.sam().await, &person).await, [] as [Value; 0], "Sam has the person no more");
    assert_eq!(open(&world.sol().await, &person).await.len(), 1);
    accepts(&cleo, &person).await.ok();
    assert_eq!(cleo.get(&format!("/persons/{person}")).await.ok()["given_name"], json!("Philippa"));
    // Also where the person is in a case that the author never had.
    let mut other = Phone::of(&cleo);
    let third = opens_case(&mut other).await;
    other.pulls().await;
    let mine = ana.creates("persons", json!({"given_name": "Rosa"}));
    let of_mine = ana.creates("case_parties", json!({"case_id": first, "person_id": mine, "role": "child"}));
    ana.syncs().await;
    ana.syncs().await;
    world
        .sam()
        .await
        .post(
            &format!("/cases/{first}/assignments"),
            json!({"user_id": cleo.user_id(), "role": "secondary", "reason": "they know each other"}),
        )
        .await
        .ok();
    cleo.post("/case_parties", json!({"case_id": third, "person_id": mine, "role": "child"})).await.ok();
    cleo.patch(&format!("/case_parties/{of_mine}"), json!({"left_on": "2027-02-28"})).await.ok();
    ana.edits("persons", &mine, json!({"given_name": "Rosalind"}));
    ana.pushes().await.expect("an edit").ok();
    accepts(&cleo, &mine).await.ok();
    assert_eq!(cleo.get(&format!("/persons/{mine}")).await.ok()["given_name"], json!("Rosalind"));
}

async fn a_kept_move_of_a_case_is_made_by_whoever_has_it(world: World) {
    for (by, native) in [("ben@demo.example", false), ("sam@demo.example", false), ("ben@demo.example", true)] {
        let mut ana = Phone::of(&world.ana().await);
        let case = opens_case(&mut ana).await;
        ana.person.post(&format!("/cases/{case}/activate"), json!({})).await.ok();
        ana.syncs().await;
        let columns = json!({"status_reason": "in hospital", "resume_on": "2027-03-20", "summary": "as told"});
        hands_over(&world, &case, "ben@demo.example").await;
        if native {
            let hold = action(1, "hold", "cases", &case, columns);
            assert_eq!(mutates(&ana.person, json!([hold])).await[0]["status"], json!("quarantined"));
        } else {
            ana.edits("cases", &case, columns);
            ana.edits("cases", &case, json!({"status": "on_hold"}));
            ana.pushes().await.expect("a move").ok();
        }
        let who = world.person(by).await;
        accepts(&who, &case).await.ok();
        let stored = who.get(&format!("/cases/{case}")).await.ok();
        let of = |name: &str| text(&stored[name]);
        assert_eq!((of("status"), of("status_reason")), ("on_hold".into(), "in hospital".into()), "{by} {native}");
        assert_eq!((of("resume_on"), of("summary")), ("2027-03-20".into(), "as told".into()), "{by} {native}");
    }
}

async fn a_kept_move_that_is_not_for_who_accepts_waits_for_another(world: World) {
    let (mut ana, ben, cleo) = (Phone::of(&world.ana().await), world.ben().await, world.cleo().await);
    let case = opens_case(&mut ana).await;
    ana.person.post(&format!("/cases/{case}/activate"), json!({})).await.ok();
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let sam = world.sam().await;
    let second = json!({"user_id": cleo.user_id(), "role": "secondary", "reason": "they work together"});
    sam.post(&format!("/cases/{case}/assignments"), second).await.ok();
    let rest = json!({"status": "on_hold", "status_reason": "in hospital", "resume_on": "2027-03-20"});
    ana.edits("cases", &case, rest);
    ana.pushes().await.expect("a move").ok();
    accepts(&cleo, &case).await.refused(409);
    let stored = ben.get(&format!("/cases/{case}")).await.ok();
    assert_eq!((&stored["status"], &stored["resume_on"]), (&json!("active"), &Value::Null), "nothing of it is stored");
    accepts(&ben, &case).await.ok();
    assert_eq!(ben.get(&format!("/cases/{case}")).await.ok()["status"], json!("on_hold"));
    // Nor does it leave its reason behind where its author has the case, and may not make it.
    let mut cleos = Phone::of(&cleo);
    cleos.pulls().await;
    cleos.edits("cases", &case, json!({"status": "active", "status_reason": "back home", "summary": "at home"}));
    cleos.syncs().await;
    let stored = ben.get(&format!("/cases/{case}")).await.ok();
    assert_eq!((&stored["status"], &stored["status_reason"]), (&json!("on_hold"), &json!("in hospital")));
    assert_eq!(stored["summary"], json!("at home"));
    // What cannot be done by anybody is told to who accepted the rest.
    hands_over(&world, &case, "ana@demo.example").await;
    ana.pulls().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("cases", &case, json!({"status": "closed", "summary": "all is done"}));
    ana.pushes().await.expect("a move").ok();
    accepts(&ben, &case).await.ok();
    assert_eq!(ben.get(&format!("/cases/{case}")).await.ok()["summary"], json!("all is done"));
    let issues = ben.get("/sync_issues?limit=200").await.ok();
    let told = issues["items"].as_array().expect("a list").iter().find(|issue| issue["kind"] == "illegal_move");
    assert_eq!(told.expect("Ben is told")["about_id"], json!(case));
}

async fn kept_work_goes_to_no_case_that_its_decider_has_lost(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let (case, other) = (opens_case(&mut ana).await, opens_case(&mut ben).await);
    world.pass_secs(60);
    let seen = world.clock.now().0;
    world.pass_secs(60);
    hands_over(&world, &case, "ben@demo.example").await;
    let row = json!({"case_id": case, "body": "seen", "kind": "progress", "status": "signed", "occurred_at": seen});
    let note = ana.creates("notes", row);
    ana.person.post("/sync/quarantine", ana.outgoing()).await.ok();
    hands_over(&world, &other, "cleo@demo.example").await;
    let path = kept(&ben.person, &note).await;
    let rehome = json!({"reason": "the other case", "case_id": other});
    ben.person.post(&format!("{path}/rehome"), rehome).await.refused(409);
    world.cleo().await.get(&format!("/notes/{note}")).await.refused(404);
    accepts(&ben.person, &note).await.ok();
}

async fn a_kept_draft_waits_for_its_author(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    hands_over(&world, &case, "ben@demo.example").await;
    let draft = ana.creates("notes", json!({"case_id": case, "body": "begun", "kind": "progress"}));
    ana.pushes().await.expect("a draft").ok();
    ana.pulls().await;
    let refused = accepts(&ben, &draft).await.refused(409);
    assert!(refused["detail"].to_string().contains("its author can finish"), "{refused}");
    let work = format!("{}/work", kept(&ben, &draft).await);
    assert_eq!(ben.get(&work).await.ok()["sent"]["body"], json!("begun"), "it can be read");
    hands_over(&world, &case, "ana@demo.example").await;
    accepts(&ana.person, &draft).await.ok();
    ana.person.post(&format!("/notes/{draft}/sign"), json!({})).await.ok();
}

async fn an_author_narrows_a_note_of_a_lost_case(world: World) {
    let ways = ["push", "rescue", "mutate"];
    for way in ways {
        let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
        let case = opens_case(&mut ana).await;
        let row = |status: &str| json!({"case_id": case, "body": "as it was", "kind": "progress", "status": status});
        let (signed, draft) = (ana.creates("notes", row("signed")), ana.creates("notes", row("draft")));
        ana.syncs().await;
        ana.pulls().await;
        hands_over(&world, &case, "ben@demo.example").await;
        ben.get(&format!("/notes/{signed}")).await.ok();
        ana.edits("notes", &signed, json!({"visibility": "author_supervisor"}));
        ana.edits("notes", &draft, json!({"visibility": "author_supervisor", "body": "and more"}));
        match way {
            "push" => drop(ana.pushes().await.expect("edits").ok()),
            "rescue" => {
                // The first answer is lost.
                for _ in 0..2 {
                    ana.person.post("/sync/quarantine", ana.outgoing()).await.ok();
                }
            }
            _ => {
                let narrows = json!({"visibility": {"from": "team", "to": "author_supervisor"}});
                let more = json!({"visibility": {"from": "team", "to": "author_supervisor"},
                    "body": {"from": "as it was", "to": "and more"}});
                let queue = json!([
                    mutation(1, "update", "notes", &signed, narrows),
                    mutation(2, "update", "notes", &draft, more)
                ]);
                let results = mutates(&ana.person, queue).await;
                assert_eq!(
                    (&results[0]["status"], &results[0]["row"]),
                    (&json!("applied"), &Value::Null),
                    "{results:?}"
                );
                assert_eq!(results[1]["status"], json!("quarantined"));
            }
        }
        let sam = world.sam().await;
        for note in [&signed, &draft] {
            ben.get(&format!("/notes/{note}")).await.refused(404);
            assert_eq!(
                sam.get(&format!("/notes/{note}")).await.ok()["visibility"],
                json!("author_supervisor"),
                "{way}"
            );
        }
        assert_eq!(
            (open(&sam, &signed).await.len(), open(&sam, &draft).await.len()),
            (0, 1),
            "the rest is kept: {way}"
        );
        assert_eq!(sam.get(&format!("/notes/{draft}")).await.ok()["body"], json!("as it was"), "{way}");
        // Nothing widens, and nobody narrows what another wrote.
        let widens = json!({"id": signed, "visibility": "team", "_status": "updated", "_changed": "visibility"});
        let widens = json!({"notes": {"created": [], "updated": [widens], "deleted": []}});
        ana.sends(&widens).await.ok();
        assert_eq!(sam.get(&format!("/notes/{signed}")).await.ok()["visibility"], json!("author_supervisor"), "{way}");
    }
}

async fn nobody_is_made_the_author_of_what_another_wrote(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    ana.person.logs_in().await;
    let row = json!({"case_id": case, "body": "as another saw it", "kind": "progress", "status": "signed"});
    let note = ana.creates("notes", row);
    ana.syncs().await;
    ana.syncs().await;
    let mut held = ana.row("notes", &note).expect("held").clone();
    held.insert("author_id".into(), json!("somebody-made-after-the-backup"));
    world.pass_secs(3600);
    restores(&world, &bytes).await.expect("restored");
    ana.person.logs_in().await;
    let offered = json!({"notes": {"created": [], "updated": [held], "deleted": []}});
    ana.person.post("/sync/salvage", offered).await.ok();
    let refused = accepts(&ana.person, &note).await.refused(409);
    assert!(refused["detail"].to_string().contains("somebody else wrote it"), "{refused}");
    hands_over(&world, &case, "ben@demo.example").await;
    ben.logs_in().await;
    accepts(&ben, &note).await.refused(409);
    decides(&ben, "discard", &note).await.ok();
}

async fn who_has_lost_the_case_discards_nothing_that_others_were_told_of(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    hands_over(&world, &case, "ben@demo.example").await;
    let row = |words: &str| json!({"case_id": case, "body": words, "kind": "progress", "status": "signed"});
    let note = ana.creates("notes", row("of the visit"));
    ana.pushes().await.expect("a note").ok();
    decides(&ana.person, "discard", &note).await.refused(403);
    assert_eq!((open(&ana.person, &note).await.len(), open(&ben, &note).await.len()), (1, 1));
    // What nobody else was told of is theirs to throw away.
    let half = ana.creates("goal_ratings", json!({"case_id": case, "rated_on": "2027-02-01", "level": 0}));
    ana.pushes().await.expect("half a rating").ok();
    if open(&ben, &half).await.is_empty() {
        decides(&ana.person, "discard", &half).await.ok();
    }
    hands_over(&world, &case, "ana@demo.example").await;
    decides(&ana.person, "discard", &note).await.ok();
}

async fn a_later_state_settles_the_earlier(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Walk the dog each day"));
    ana.syncs().await;
    ana.pulls().await;
    hands_over(&world, &case, "ben@demo.example").await;
    for words in ["first", "better"] {
        ana.edits("goals", &id, json!({"measure": words}));
        ana.person.post("/sync/quarantine", ana.outgoing()).await.ok();
        world.pass_secs(5);
    }
    // What it does not say anew stands by itself.
    let alone = json!({"id": id, "unit": "walks", "_status": "updated", "_changed": "unit"});
    ana.person.post("/sync/quarantine", json!({"goals": {"updated": [alone]}})).await.ok();
    let issues = open(&ben, &id).await;
    assert_eq!(issues.len(), 3);
    for issue in issues {
        let path = format!("/sync_issues/{}", text(&issue["id"]));
        if ben.get(&format!("{path}/work")).await.ok()["sent"]["measure"] == "better" {
            ben.post(&format!("{path}/accept"), json!({"reason": "as she says"})).await.ok();
        }
    }
    let left = open(&ben, &id).await;
    assert_eq!(left.len(), 1, "{left:?}");
    accepts(&ben, &id).await.ok();
    let stored = ben.get(&format!("/goals/{id}")).await.ok();
    assert_eq!((&stored["measure"], &stored["unit"]), (&json!("better"), &json!("walks")));
}

async fn an_edit_typed_again_is_told_again(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Walk the dog each day"));
    ana.syncs().await;
    for time in 1..=2 {
        ana.syncs().await;
        ana.pulls().await;
        world.pass_secs(5);
        hands_over(&world, &case, "ben@demo.example").await;
        ana.edits("goals", &id, json!({"measure": "walks"}));
        let rows = ana.outgoing();
        ana.person.post("/sync/quarantine", rows.clone()).await.ok();
        assert_eq!(open(&ben, &id).await.len(), 1, "time {time}");
        ana.pulls().await;
        decides(&ben, "discard", &id).await.ok();
        // What is only sent again is settled.
        ana.person.post("/sync/quarantine", rows).await.ok();
        assert_eq!(open(&ben, &id).await.len(), 0, "time {time}");
        world.pass_secs(5);
        hands_over(&world, &case, "ana@demo.example").await;
    }
}

async fn what_would_be_kept_once_more_is_not_settled(world: World) {
    let (mut ana, sam) = (Phone::of(&world.ana().await), world.sam().await);
    let case = opens_case(&mut ana).await;
    let row = json!({"case_id": case, "body": "as it was", "kind": "progress", "status": "draft"});
    let note = ana.creates("notes", row);
    ana.syncs().await;
    ana.pulls().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("notes", &note, json!({"visibility": "author_supervisor", "body": "and more"}));
    world.ada().await.post(&format!("/devices/{}/wipe", ana.person.device_id), json!({})).await;
    let token = text(&ana.person.session()["refresh_token"]);
    let farewell = world.stranger().request(Method::POST, "/sync/farewell").bearer_auth(token);
    ana.person.send("a farewell", farewell.body(ana.outgoing().to_string())).await.ok();
    let new = ana.person.on_another_device();
    new.logs_in().await;
    accepts(&new, &note).await.refused(409);
    assert_eq!(open(&sam, &note).await.len(), 1, "somebody who can has still to decide");
}
