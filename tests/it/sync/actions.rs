//! What somebody did, said natively: it is what the verb says in the state that is found, or it is not done.

use serde_json::{Value, json};

use super::native::mutates;
use super::rules::{hands_over, opens_case};
use super::told::{a_goal, action, an_accepted_referral, kept, mutation, one, told};
use crate::rest::scene::{opens_a_case, smart, text};
use crate::support::{Phone, World, on_both};

on_both!(
    a_stale_move_makes_no_other_one_that_leads_to_the_same_state,
    two_moves_of_one_visit_are_both_made,
    a_move_that_leads_to_the_state_it_begins_in_is_made,
    what_was_done_to_a_row_that_is_kept_is_kept_with_it,
    late_work_that_names_kept_work_is_kept_beside_it,
    a_mutation_is_the_same_in_whatever_order_its_members_are_written,
    what_changes_nothing_does_not_shut_out_what_follows,
    a_narrower_word_stands_whatever_the_device_knew,
    a_bare_value_is_news_where_something_else_stands,
    a_deletion_that_knew_the_row_otherwise_is_not_made,
    a_replica_deletes_what_only_the_server_has_stamped_since,
    of_two_states_of_a_kept_row_the_one_that_is_meant_is_taken_in,
    a_kept_move_that_was_made_meanwhile_is_an_edit,
    two_dates_that_protect_alike_are_a_conflict,
);

async fn a_stale_move_makes_no_other_one_that_leads_to_the_same_state(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    let path = format!("/goals/{id}");
    ana.post(&format!("{path}/agree"), json!({})).await.ok();
    // Started on a phone that is out of reach, and meanwhile started and completed at the desk.
    ana.post(&format!("{path}/start"), json!({})).await.ok();
    let ended = json!({"achievement": "not_achieved", "outcome_reason": "moved away"});
    ana.post(&format!("{path}/complete"), ended).await.ok();
    let before = ana.get(&path).await.ok();
    let result = one(&ana, action(1, "start", "goals", &id, json!({}))).await;
    assert_eq!(result["status"], json!("conflict"), "{result}");
    assert_eq!(ana.get(&path).await.ok(), before);
    assert_eq!(told(&ana, &id).await[0].0, "illegal_move");
    // Nor does what is kept of one, once it is taken in.
    let (hold, path) = (action(2, "resume", "cases", &case.id, json!({})), format!("/cases/{}", case.id));
    ana.post(&format!("{path}/begin_closing"), json!({"status_reason": "all is done"})).await.ok();
    let result = one(&ana, hold).await;
    assert_eq!((&result["status"], &ana.get(&path).await.ok()["status"]), (&json!("conflict"), &json!("closing")));
    // A move says anew why, or nothing.
    let set = json!({"status_reason": {"from": null, "to": "not yet"}});
    assert_eq!(one(&ana, action(3, "continue", "cases", &case.id, set)).await["status"], json!("applied"));
    // Also where it is the same again.
    let same = json!({"status_reason": {"from": "not yet", "to": "not yet"}});
    assert_eq!(
        one(&ana, action(6, "begin_closing", "cases", &case.id, same.clone())).await["status"],
        json!("applied")
    );
    assert_eq!(one(&ana, action(7, "continue", "cases", &case.id, same)).await["status"], json!("applied"));
    let why = json!({"status_reason": "in hospital", "resume_on": "2027-03-20"});
    let held = one(&ana, action(4, "hold", "cases", &case.id, why)).await;
    assert_eq!(held["status"], json!("applied"), "{held}");
    one(&ana, action(5, "resume", "cases", &case.id, json!({}))).await;
    let now = ana.get(&path).await.ok();
    assert_eq!((&now["status"], &now["status_reason"]), (&json!("active"), &Value::Null), "{now}");
}

/// The faces that send rows send the last state; what lay between is made on the way, with what each move asks.
async fn two_moves_of_one_visit_are_both_made(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let mut phone = Phone::of(&ana);
    let mut columns = smart(&case);
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let id = text(&ana.post("/goals", columns.clone()).await.ok()["id"]);
            ana.post(&format!("/goals/{id}/propose"), json!({})).await.ok();
            ids.push(id);
        }
        ids
    };
    phone.syncs().await;
    phone.edits("goals", &ids[0], json!({"lifecycle": "active"}));
    columns["lifecycle"] = json!("active");
    for name in ["strengths", "client_agreement"] {
        columns[name] = columns[name].to_string().into();
    }
    let made = phone.creates("goals", columns);
    let unready = phone.creates("goals", json!({"case_id": case.id, "statement": "Short", "lifecycle": "active"}));
    phone.syncs().await;
    phone.pulls().await;
    let known = ana.get(&format!("/goals/{}", ids[1])).await.ok();
    let (mut master, mut wanted) = (known.clone(), known);
    for row in [&mut master, &mut wanted] {
        row.as_object_mut().expect("a row").remove("rev");
        row["_deleted"] = json!(false);
    }
    wanted["lifecycle"] = json!("active");
    let pushed = json!([{"assumedMasterState": master, "newDocumentState": wanted}]);
    assert_eq!(ana.post("/sync/rxdb/goals/push", pushed).await.ok(), json!([]));
    for id in [&ids[0], &ids[1], &made] {
        let goal = ana.get(&format!("/goals/{id}")).await.ok();
        assert_eq!((&goal["lifecycle"], goal["locked_at"].is_string()), (&json!("active"), true), "{goal}");
    }
    assert_eq!(phone.column("goals", &unready, "lifecycle"), json!("draft"), "none of its moves is legal");
}

async fn a_move_that_leads_to_the_state_it_begins_in_is_made(world: World) {
    let (ana, pat, id, _) = an_accepted_referral(&world).await;
    pat.post(&format!("/referrals/{id}/cancel"), json!({"status_reason": "the van broke down"})).await.ok();
    let result = one(&ana, action(1, "acknowledge", "referrals", &id, json!({}))).await;
    assert_eq!(result["status"], json!("applied"), "{result}");
    let referral = ana.get(&format!("/referrals/{id}")).await.ok();
    assert!(referral["cancel_ack_at"].is_string(), "{referral}");
    assert_eq!(referral["status_reason"], json!("the van broke down"), "why it was cancelled is still true");
}

async fn what_was_done_to_a_row_that_is_kept_is_kept_with_it(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let (ana, ben) = (&phone.person, world.ben().await);
    hands_over(&world, &case, "ben@demo.example").await;
    let draft = json!({"case_id": case, "body": "seen at the door", "kind": "progress"});
    let queue = json!([
        mutation(1, "create", "notes", "note-00000001", draft),
        mutation(2, "update", "notes", "note-00000001", json!({"client_words": {"from": null, "to": "come again"}})),
        action(3, "sign", "notes", "note-00000001", json!({})),
    ]);
    let results = mutates(ana, queue).await;
    assert!(results.iter().all(|result| result["status"] == "quarantined"), "{results:?}");
    let path = kept(&ben, "note-00000001").await;
    ben.post(&format!("{path}/accept"), json!({"reason": "she was there"})).await.ok();
    let note = ben.get("/notes/note-00000001").await.ok();
    assert_eq!((&note["status"], &note["client_words"]), (&json!("signed"), &json!("come again")), "{note}");
    assert_eq!(told(&ben, "note-00000001").await, [], "all of it is settled");
}

async fn late_work_that_names_kept_work_is_kept_beside_it(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let (ana, ben) = (&phone.person, world.ben().await);
    world.pass_secs(2 * 86_400);
    let ana = {
        ana.logs_in().await;
        ana
    };
    hands_over(&world, &case, "ben@demo.example").await;
    let goal = json!({"case_id": case, "statement": "Made where there was no signal", "level": "individual"});
    let rating =
        json!({"case_id": case, "goal_id": "goal-00000001", "level": 1, "rated_on": "2027-03-02", "rater": "client"});
    let queue = json!([
        mutation(1, "create", "goals", "goal-00000001", goal),
        mutation(2, "create", "goal_ratings", "rating-0000001", rating),
    ]);
    let results = mutates(ana, queue).await;
    assert!(results.iter().all(|result| result["status"] == "quarantined"), "{results:?}");
    ben.get("/goal_ratings/rating-0000001").await.refused(404);
    let path = kept(&ben, "goal-00000001").await;
    ben.post(&format!("{path}/accept"), json!({"reason": "we spoke about it"})).await.ok();
    ben.get("/goals/goal-00000001").await.ok();
    ben.get("/goal_ratings/rating-0000001").await.ok();
}

async fn a_mutation_is_the_same_in_whatever_order_its_members_are_written(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let first = format!(
        r#"{{"mutations":[{{"id":"mutation-0001","op":"update","table":"goals","row_id":"{id}","set":{{"unit":{{"from":null,"to":"calls"}}}}}}]}}"#
    );
    let again = format!(
        r#"{{"mutations":[{{"set":{{"unit":{{"to":"calls","from":null}}}},"row_id":"{id}","table":"goals","op":"update","id":"mutation-0001"}}]}}"#
    );
    let send = async |body: String| {
        let request = ana.request(reqwest::Method::POST, "/sync/push").header("content-type", "application/json");
        ana.send("Ana pushes", request.body(body)).await.ok()["results"][0].clone()
    };
    let answer = send(first).await;
    assert_eq!(answer["status"], json!("applied"));
    ana.patch(&format!("/goals/{id}"), json!({"unit": null})).await.ok();
    assert_eq!(send(again).await, answer);
    assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()["unit"], Value::Null, "it is not done a second time");
}

async fn what_changes_nothing_does_not_shut_out_what_follows(world: World) {
    let ana = world.ana().await;
    let goal = json!({"case_id": "case-00000001", "statement": "Short", "level": "individual"});
    let queue = json!([
        mutation(1, "create", "cases", "case-00000001", json!({"unit": "family"})),
        mutation(2, "create", "goals", "goal-00000001", goal),
        action(3, "agree", "goals", "goal-00000001", json!({})),
        mutation(4, "update", "goals", "goal-00000001", json!({"measure": {"from": null, "to": "walks"}})),
    ]);
    let statuses: Vec<Value> = mutates(&ana, queue).await.into_iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, ["applied", "applied", "conflict", "applied"]);
    assert_eq!(ana.get("/goals/goal-00000001").await.ok()["measure"], json!("walks"));
}

async fn a_narrower_word_stands_whatever_the_device_knew(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let ana = &phone.person;
    let note = json!({"case_id": case, "body": "x", "kind": "progress"});
    for face in ["native", "rxdb"] {
        let id = text(&ana.post("/notes", note.clone()).await.ok()["id"]);
        ana.patch(&format!("/notes/{id}"), json!({"visibility": "assigned"})).await.ok();
        let narrows = json!({"visibility": {"from": "team", "to": "author_supervisor"}});
        if face == "native" {
            let result = one(ana, mutation(1, "update", "notes", &id, narrows)).await;
            assert_eq!(result["status"], json!("applied"), "{result}");
        } else {
            let (known, new) =
                (json!({"id": id, "visibility": "team"}), json!({"id": id, "visibility": "author_supervisor"}));
            let pushed = json!([{"assumedMasterState": known, "newDocumentState": new}]);
            ana.post("/sync/rxdb/notes/push", pushed).await.ok();
        }
        assert_eq!(ana.get(&format!("/notes/{id}")).await.ok()["visibility"], json!("author_supervisor"), "{face}");
    }
}

async fn a_bare_value_is_news_where_something_else_stands(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let planned = json!({"case_id": case.id, "kind": "call", "planned_start": "2027-03-03T15:00:00Z",
        "next_contact_on": "2027-03-24"});
    let id = text(&ana.post("/contacts", planned).await.ok()["id"]);
    let set = json!({"next_contact_on": null, "kind": "visit", "status_reason": "was ill"});
    let result = one(&ana, action(1, "cancel_by_client", "contacts", &id, set)).await;
    assert_eq!(result["status"], json!("applied"), "{result}");
    let row = ana.get(&format!("/contacts/{id}")).await.ok();
    assert_eq!((&row["next_contact_on"], &row["kind"]), (&Value::Null, &json!("visit")));
    let person = text(&ana.get("/persons?limit=1").await.ok()["items"][0]["id"]);
    ana.patch(&format!("/persons/{person}"), json!({"interpreter": true})).await.ok();
    let result = one(&ana, mutation(2, "update", "persons", &person, json!({"interpreter": false}))).await;
    assert_eq!((&result["status"], &result["conflicts"][0]["stored"]), (&json!("conflict"), &json!(true)));
}

async fn a_deletion_that_knew_the_row_otherwise_is_not_made(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    ana.patch(&format!("/goals/{id}"), json!({"measure": "walks a week"})).await.ok();
    let knew = json!({"measure": {"from": null}, "statement": {"from": "A goal to write to"}});
    let result = one(ana, mutation(1, "delete", "goals", &id, knew)).await;
    assert_eq!(
        (&result["status"], &result["conflicts"][0]["field"]),
        (&json!("conflict"), &json!("measure")),
        "{result}"
    );
    assert_eq!(result["row"]["measure"], json!("walks a week"));
    let knows = json!({"measure": {"from": "walks a week"}});
    assert_eq!(one(ana, mutation(2, "delete", "goals", &id, knows)).await["status"], json!("applied"));
    ana.get(&format!("/goals/{id}")).await.refused(404);
}

async fn a_replica_deletes_what_only_the_server_has_stamped_since(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let mut known = ana.get(&format!("/goals/{id}")).await.ok();
    known.as_object_mut().expect("a row").remove("rev");
    known["_deleted"] = json!(false);
    let mut edited = known.clone();
    edited["measure"] = json!("walks");
    world.pass_secs(5);
    let pushed = json!([{"assumedMasterState": known, "newDocumentState": edited}]);
    assert_eq!(ana.post("/sync/rxdb/goals/push", pushed).await.ok(), json!([]));
    // It has not pulled since, so it does not know what the server stamped.
    let mut gone = edited.clone();
    gone["_deleted"] = json!(true);
    let pushed = json!([{"assumedMasterState": edited, "newDocumentState": gone}]);
    assert_eq!(ana.post("/sync/rxdb/goals/push", pushed).await.ok(), json!([]));
    ana.get(&format!("/goals/{id}")).await.refused(404);
}

async fn of_two_states_of_a_kept_row_the_one_that_is_meant_is_taken_in(world: World) {
    let (phone, case, _) = a_goal(&world).await;
    let (ana, ben) = (&phone.person, world.ben().await);
    hands_over(&world, &case, "ben@demo.example").await;
    for (at, words) in [(1, "as it was sent first"), (2, "as it was said better")] {
        let note = json!({"case_id": case, "body": words, "kind": "progress", "status": "signed"});
        let result = one(ana, mutation(at, "create", "notes", "note-00000001", note)).await;
        assert_eq!(result["status"], json!("quarantined"));
    }
    let issues = ben.get("/sync_issues?limit=200").await.ok()["items"].as_array().expect("a list").clone();
    let mut better = None;
    for issue in issues.iter().filter(|issue| issue["about_id"] == "note-00000001" && issue["status"] == "open") {
        let path = format!("/sync_issues/{}", text(&issue["id"]));
        if ben.get(&format!("{path}/work")).await.ok()["sent"]["body"] == json!("as it was said better") {
            better = Some(path);
        }
    }
    let path = better.expect("both are told");
    ben.post(&format!("{path}/accept"), json!({"reason": "the later one"})).await.ok();
    assert_eq!(ben.get("/notes/note-00000001").await.ok()["body"], json!("as it was said better"));
    assert_eq!(ben.get(&path).await.ok()["status"], json!("accepted"));
}

async fn a_kept_move_that_was_made_meanwhile_is_an_edit(world: World) {
    let (phone, case, id) = a_goal(&world).await;
    let (ana, ben) = (&phone.person, world.ben().await);
    hands_over(&world, &case, "ben@demo.example").await;
    let set = json!({"why_it_matters": {"from": null, "to": "said at the door"}});
    assert_eq!(one(ana, action(1, "propose", "goals", &id, set)).await["status"], json!("quarantined"));
    ben.post(&format!("/goals/{id}/propose"), json!({})).await.ok();
    ben.post(&format!("{}/accept", kept(&ben, &id).await), json!({"reason": "she was there"})).await.ok();
    let goal = ben.get(&format!("/goals/{id}")).await.ok();
    assert_eq!((&goal["lifecycle"], &goal["why_it_matters"]), (&json!("proposed"), &json!("said at the door")));
}

async fn two_dates_that_protect_alike_are_a_conflict(world: World) {
    let ana = world.ana().await;
    opens_a_case(&ana).await;
    let person = text(&ana.get("/persons?limit=1").await.ok()["items"][0]["id"]);
    ana.patch(&format!("/persons/{person}"), json!({"deceased_on": "2027-01-01"})).await.ok();
    let set = json!({"deceased_on": {"from": null, "to": "2027-01-02"}});
    let result = one(&ana, mutation(1, "update", "persons", &person, set)).await;
    assert_eq!(result["status"], json!("conflict"), "{result}");
    assert_eq!(ana.get(&format!("/persons/{person}")).await.ok()["deceased_on"], json!("2027-01-01"));
}
