//! What is not stored as it was sent is told, and of what is told nothing is half done.

use serde_json::{Value, json};

use super::native::mutates;
use super::restored::{holdings, restores, takes_a_backup};
use super::rules::{goal, hands_over, opens_case};
use crate::rest::scene::{Case, harbor, opens_a_case, ready, smart, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    what_cannot_be_stored_is_told_whatever_stood_there,
    a_mutation_of_a_row_that_cannot_be_is_told,
    a_move_that_cannot_be_made_stores_nothing_of_itself,
    a_move_is_made_from_what_another_device_set_meanwhile,
    making_a_row_again_takes_nothing_back,
    a_move_on_a_lost_case_is_made_when_it_is_accepted,
    a_move_on_a_row_that_waits_waits_with_it,
    what_happens_again_after_it_was_dismissed_is_told_again,
    a_word_that_nobody_knows_hides_a_note,
    a_deletion_in_a_lost_case_is_kept,
    a_queue_of_mutations_can_be_handed_over,
    lists_that_stand_deep_in_each_other_break_no_answer,
    instants_in_either_form_bring_back_what_was_lost,
    a_kept_move_is_made_whole_or_not_at_all,
    kept_mutations_of_one_row_are_applied_in_their_order,
    what_was_said_with_a_move_that_was_made_elsewhere_is_not_dropped,
    a_cut_character_is_told_once,
    a_date_that_only_looks_like_one_stops_no_push,
    a_nul_that_is_spelt_out_is_text,
);

async fn a_date_that_only_looks_like_one_stops_no_push(world: World) {
    let (phone, case, id) = a_goal(&world).await;
    let ana = &phone.person;
    for (at, wrong) in ["-001-01-01", "+99999-1-1", "2027- 1- 1", "+202-01-01"].into_iter().enumerate() {
        let note = format!("note-beside-{at:04}");
        let body = json!({
            "notes": {"created": [{"id": note, "case_id": case, "body": "well said", "kind": "progress"}], "updated": [], "deleted": []},
            "goals": {"created": [], "updated": [{"id": id, "_changed": "due_on", "due_on": wrong}], "deleted": []}});
        ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), body).await.ok();
        ana.get(&format!("/notes/{note}")).await.ok();
        let set = json!({"due_on": {"from": null, "to": wrong}});
        let result = one(ana, mutation(u32::try_from(at).expect("few"), "update", "goals", &id, set)).await;
        assert!(result["issue_id"].is_string(), "{wrong}: {result}");
        let pushed = json!([{"newDocumentState": {"id": id, "due_on": wrong}, "assumedMasterState": {"id": id, "due_on": null}}]);
        ana.post("/sync/rxdb/goals/push", pushed).await.ok();
        assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()["due_on"], Value::Null);
        assert!(told(ana, &id).await.contains(&("cleaned".into(), json!({"due_on": wrong}))), "{wrong}");
        ana.patch(&format!("/goals/{id}"), json!({"due_on": wrong})).await.refused(422);
    }
}

async fn a_nul_that_is_spelt_out_is_text(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let spelt = json!(["C:\\u0000 path"]);
    let pushed = json!([{"newDocumentState": {"id": id, "strengths": spelt}, "assumedMasterState": {"id": id, "strengths": null}}]);
    ana.post("/sync/rxdb/goals/push", pushed).await.ok();
    assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()["strengths"], spelt);
    // One that is meant goes, in whatever face, and takes nothing else along.
    let update =
        json!({"id": id, "_changed": "strengths", "strengths": "[\"kind\\u0000 to others\", \"D:\\\\u0000 path\"]"});
    let body = json!({"goals": {"created": [], "updated": [update], "deleted": []}});
    ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), body).await.ok();
    let stored = ana.get(&format!("/goals/{id}")).await.ok()["strengths"].clone();
    assert_eq!(stored, json!(["C:\\u0000 path", "kind to others", "D:\\u0000 path"]));
}

pub(super) async fn a_goal(world: &World) -> (Phone, String, String) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "A goal to write to"));
    phone.syncs().await;
    phone.pulls().await;
    (phone, case, id)
}

pub(super) fn mutation(number: u32, op: &str, table: &str, row: &str, set: Value) -> Value {
    json!({"id": format!("mutation-{number:04}"), "op": op, "table": table, "row_id": row, "set": set})
}

pub(super) fn action(number: u32, verb: &str, table: &str, row: &str, set: Value) -> Value {
    let mut mutation = mutation(number, "action", table, row, set);
    mutation["verb"] = json!(verb);
    mutation
}

pub(super) async fn one(person: &Person, mutation: Value) -> Value {
    mutates(person, json!([mutation])).await.remove(0)
}

async fn issues(person: &Person) -> Vec<Value> {
    person.get("/sync_issues?limit=200").await.ok()["items"].as_array().expect("a list").clone()
}

/// Open issues of a person about a row, oldest first: kind and detail.
pub(super) async fn told(person: &Person, about: &str) -> Vec<(String, Value)> {
    let all = issues(person).await;
    let about = all.into_iter().filter(|issue| issue["about_id"] == about && issue["status"] == "open");
    about.map(|issue| (text(&issue["kind"]), issue["detail"].clone())).collect()
}

/// Where a person reads and settles what is kept of a row.
pub(super) async fn kept(person: &Person, about: &str) -> String {
    let issue = issues(person).await.into_iter().find(|issue| issue["about_id"] == about);
    format!("/sync_issues/{}", text(&issue.expect("told")["id"]))
}

async fn what_cannot_be_stored_is_told_whatever_stood_there(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let unfit = [
        ("due_on", json!("01.02.2027")),
        ("confidence", json!("ten")),
        ("life_area", json!("nonsense")),
        ("strengths", json!({"a": 1})),
        ("target_value", json!("much")),
    ];
    for (at, (column, value)) in unfit.into_iter().enumerate() {
        let set = json!({column: {"from": null, "to": value}});
        let result = one(ana, mutation(u32::try_from(at).expect("few"), "update", "goals", &id, set)).await;
        assert!(result["issue_id"].is_string(), "{column}: {result}");
        assert!(told(ana, &id).await.contains(&("cleaned".into(), json!({column: value}))), "{column}");
        let other = json!({"id": id, column: value});
        let known = json!({"id": id, column: null});
        let pushed = json!([{"newDocumentState": other, "assumedMasterState": known}]);
        let before = ana.get(&format!("/goals/{id}")).await.ok();
        ana.post("/sync/rxdb/goals/push", pushed).await.ok();
        assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()[column], before[column]);
    }
    // Of texts and numbers that no reader takes, in every face.
    let half = |face: &str| format!(r#""{face} \ud83d""#);
    let native = format!(
        r#"{{"mutations":[{{"id":"mutation-1001","op":"update","table":"goals","row_id":"{id}","set":{{"measure":{{"from":null,"to":{}}},"target_count":{{"from":null,"to":1e400}}}}}}]}}"#,
        half("native")
    );
    let rxdb = format!(
        r#"[{{"newDocumentState":{{"id":"{id}","unit":{}}},"assumedMasterState":{{"id":"{id}","unit":null}}}}]"#,
        half("rxdb")
    );
    let watermelon = format!(
        r#"{{"goals":{{"created":[],"updated":[{{"id":"{id}","_changed":"why_it_matters,weight_importance","why_it_matters":{},"weight_importance":1e400}}],"deleted":[]}}}}"#,
        half("watermelon")
    );
    let cursor = phone.cursor.expect("a cursor");
    for (path, body) in [
        ("/sync/push".to_owned(), native),
        ("/sync/rxdb/goals/push".to_owned(), rxdb),
        (format!("/sync?last_pulled_at={cursor}"), watermelon),
    ] {
        let known = told(ana, &id).await.len();
        let request = ana.request(reqwest::Method::POST, &path).header("content-type", "application/json").body(body);
        ana.send(&path, request).await.ok();
        assert_eq!(told(ana, &id).await.len(), known + 1, "{path}");
    }
    let all = format!("{:?}", told(ana, &id).await);
    for part in ["native \u{fffd}", "rxdb \u{fffd}", "watermelon \u{fffd}", "1e400"] {
        assert!(all.contains(part), "{part} in {all}");
    }
}

async fn a_mutation_of_a_row_that_cannot_be_is_told(world: World) {
    let ana = world.ana().await;
    let case = opens_case(&mut Phone::of(&ana)).await;
    for row in ["note-1", "../note", "a\0b"] {
        let set = json!({"case_id": case, "body": {"from": null, "to": format!("words under {}", row.len())}});
        let result = one(&ana, mutation(u32::try_from(row.len()).expect("few"), "create", "notes", row, set)).await;
        assert_eq!(result["status"], json!("conflict"));
        let issue = issues(&ana).await.into_iter().find(|issue| issue["id"] == result["issue_id"]);
        assert_eq!(issue.expect("told")["detail"]["body"], json!(format!("words under {}", row.len())));
    }
}

/// A referral of Ana's that Pat has accepted: who they are, its id and its case.
pub(super) async fn an_accepted_referral(world: &World) -> (Person, Person, String, Case) {
    let (org, pat) = harbor(world).await;
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    ana.post(&format!("/referrals/{id}/request"), json!({})).await.ok();
    pat.post(&format!("/referrals/{id}/accept"), json!({})).await.ok();
    (ana, pat, id, case)
}

async fn a_move_that_cannot_be_made_stores_nothing_of_itself(world: World) {
    let (ana, _, id, case) = an_accepted_referral(&world).await;
    let before = ana.get(&format!("/referrals/{id}")).await.ok();
    let set = json!({"status_reason": {"from": null, "to": "they told me no"}, "capacity": {"from": null, "to": "no_capacity"}});
    let result = one(&ana, action(1, "reject", "referrals", &id, set.clone())).await;
    assert_eq!(result["status"], json!("conflict"), "{result}");
    let after = ana.get(&format!("/referrals/{id}")).await.ok();
    assert_eq!(after, before);
    let (kind, detail) = told(&ana, &id).await.remove(0);
    assert_eq!((kind.as_str(), &detail["status_reason"]), ("illegal_move", &json!("they told me no")));
    let history = ana.get(&format!("/referrals/{id}/history")).await.ok();
    assert!(history.to_string().contains("they told me no"), "it is kept: {history}");
    // And says what is missing, where something is.
    let goal = text(&ana.post("/goals", json!({"case_id": case.id, "statement": "Short"})).await.ok()["id"]);
    let result = one(&ana, action(2, "agree", "goals", &goal, json!({}))).await;
    let why = text(&result["reason"]);
    assert!(why.contains("at least 15 characters") && why.contains("client_agreement"), "{why}");
}

async fn a_move_is_made_from_what_another_device_set_meanwhile(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let planned = json!({"case_id": case.id, "kind": "visit", "planned_start": "2027-03-03T15:00:00Z"});
    let id = text(&ana.post("/contacts", planned).await.ok()["id"]);
    let day = |from: Value, to: &str| json!({"next_contact_on": {"from": from, "to": to}});
    one(&ana, mutation(1, "update", "contacts", &id, day(Value::Null, "2027-03-24"))).await;
    let cancels = |from: Value| {
        let mut set = day(from, "2027-03-11");
        set["status_reason"] = json!({"from": null, "to": "was ill"});
        set
    };
    let result = one(&ana, action(2, "cancel_by_client", "contacts", &id, cancels(Value::Null))).await;
    assert_eq!((&result["status"], &result["conflicts"][0]["field"]), (&json!("conflict"), &json!("next_contact_on")));
    let row = ana.get(&format!("/contacts/{id}")).await.ok();
    assert_eq!(
        (&row["status"], &row["next_contact_on"], &row["status_reason"]),
        (&json!("planned"), &json!("2027-03-24"), &Value::Null)
    );
    let kept = json!({"next_contact_on": "2027-03-11", "status_reason": "was ill"});
    assert_eq!(told(&ana, &id).await, [("conflict".to_owned(), kept)]);
    let result = one(&ana, action(4, "cancel_by_client", "contacts", &id, cancels(json!("2027-03-24")))).await;
    let row = &result["row"];
    assert_eq!(
        (&row["status"], &row["next_contact_on"], &row["status_reason"]),
        (&json!("client_cancelled"), &json!("2027-03-11"), &json!("was ill")),
        "{result}"
    );
    // What goes with a move beside what the move needs is an edit like any other.
    let other = json!({"case_id": case.id, "kind": "visit", "planned_start": "2027-03-04T15:00:00Z"});
    let other = text(&ana.post("/contacts", other).await.ok()["id"]);
    let set = json!({"place": {"from": null, "to": "office"}});
    assert_eq!(one(&ana, action(3, "confirm", "contacts", &other, set)).await["status"], json!("applied"));
    assert_eq!(ana.get(&format!("/contacts/{other}")).await.ok()["place"], json!("office"));
}

async fn making_a_row_again_takes_nothing_back(world: World) {
    let (phone, case, id) = a_goal(&world).await;
    let ana = &phone.person;
    let whole =
        json!({"case_id": case, "statement": {"from": null, "to": "A goal to write to"}, "level": "individual"});
    assert_eq!(one(ana, mutation(1, "create", "goals", &id, whole.clone())).await["status"], json!("duplicate"));
    let edit = json!({"statement": {"from": "A goal to write to", "to": "Written on the tablet"}});
    one(ana, mutation(2, "update", "goals", &id, edit)).await;
    let again = one(ana, mutation(3, "create", "goals", &id, whole)).await;
    assert_eq!((&again["status"], &again["row"]["statement"]), (&json!("conflict"), &json!("Written on the tablet")));
}

async fn a_move_on_a_lost_case_is_made_when_it_is_accepted(world: World) {
    let (phone, case, id) = a_goal(&world).await;
    let ben = world.ben().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let set = json!({"why_it_matters": {"from": null, "to": "said at the door"}});
    let result = one(&phone.person, action(1, "propose", "goals", &id, set)).await;
    assert_eq!(result["status"], json!("quarantined"), "{result}");
    let path = kept(&ben, &id).await;
    assert_eq!(ben.get(&format!("{path}/work")).await.ok()["sent"]["lifecycle"], json!("proposed"));
    ben.post(&format!("{path}/accept"), json!({"reason": "she was there"})).await.ok();
    let goal = ben.get(&format!("/goals/{id}")).await.ok();
    assert_eq!((&goal["lifecycle"], &goal["why_it_matters"]), (&json!("proposed"), &json!("said at the door")));
}

async fn a_move_on_a_row_that_waits_waits_with_it(world: World) {
    let ana = world.ana().await;
    let set = json!({"case_id": "case-00000001", "statement": "A goal of a case to come", "level": "individual"});
    let sent = json!([
        mutation(1, "create", "goals", "goal-00000001", set),
        action(2, "propose", "goals", "goal-00000001", json!({})),
    ]);
    for status in ["retry", "quarantined"] {
        let results = mutates(&ana, sent.clone()).await;
        assert!(results.iter().all(|result| result["status"] == status), "{results:?}");
    }
    one(&ana, mutation(3, "create", "cases", "case-00000001", json!({"unit": "family"}))).await;
    assert_eq!(ana.get("/goals/goal-00000001").await.ok()["lifecycle"], json!("proposed"));
}

async fn what_happens_again_after_it_was_dismissed_is_told_again(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let due = |day: u32| json!({"due_on": {"from": null, "to": format!("2027-02-{day}")}});
    let result = one(ana, mutation(1, "update", "goals", &id, due(30))).await;
    ana.post(&format!("/sync_issues/{}/dismiss", text(&result["issue_id"])), json!({"settled_reason": "seen"}))
        .await
        .ok();
    assert_eq!(told(ana, &id).await, []);
    let again = one(ana, mutation(2, "update", "goals", &id, due(30))).await;
    assert_eq!(again["issue_id"], result["issue_id"]);
    assert_eq!(told(ana, &id).await, [("cleaned".to_owned(), json!({"due_on": "2027-02-30"}))]);
}

async fn a_word_that_nobody_knows_hides_a_note(world: World) {
    let ana = world.ana().await;
    let case = opens_case(&mut Phone::of(&ana)).await;
    let set = json!({"case_id": case, "body": "for few", "visibility": "private", "part2": "true"});
    one(&ana, mutation(1, "create", "notes", "note-00000001", set)).await;
    let row = json!({"id": "note-00000002", "case_id": case, "body": "for few", "visibility": "private", "part2": 1,
        "kind": "progress", "status": "draft"});
    let pushed = json!({"notes": {"created": [row], "updated": [], "deleted": []}});
    ana.post("/sync?last_pulled_at=1", pushed).await.ok();
    for id in ["note-00000001", "note-00000002"] {
        let note = ana.get(&format!("/notes/{id}")).await.ok();
        assert_eq!((&note["visibility"], &note["part2"]), (&json!("author_supervisor"), &json!(true)));
        assert_eq!(told(&ana, id).await[0].1["visibility"], json!("private"));
    }
}

async fn a_deletion_in_a_lost_case_is_kept(world: World) {
    for native in [true, false] {
        let (phone, case, id) = a_goal(&world).await;
        let ben = world.ben().await;
        hands_over(&world, &case, "ben@demo.example").await;
        if native {
            let result = one(&phone.person, mutation(1, "delete", "goals", &id, json!({}))).await;
            assert_eq!(result["status"], json!("quarantined"), "{result}");
        } else {
            phone.person.post("/sync?last_pulled_at=9007199254740000", json!({"goals": {"deleted": [id]}})).await.ok();
        }
        assert_eq!(told(&phone.person, &id).await[0].0, "quarantined");
        ben.get(&format!("/goals/{id}")).await.ok();
        ben.post(&format!("{}/accept", kept(&ben, &id).await), json!({"reason": "she had thrown it away"})).await.ok();
        ben.get(&format!("/goals/{id}")).await.refused(404);
    }
}

async fn a_queue_of_mutations_can_be_handed_over(world: World) {
    let (phone, case, id) = a_goal(&world).await;
    let queue = json!({"mutations": [
        mutation(1, "create", "notes", "note-00000001", json!({"case_id": case, "body": {"from": null, "to": "unsent"}})),
        mutation(2, "update", "goals", &id, json!({"unit": {"from": null, "to": "walks"}})),
        mutation(3, "update", "goals", &id, json!({"measure": {"from": null, "to": "walks a week"}})),
        action(4, "propose", "goals", &id, json!({})),
    ]});
    assert_eq!(phone.person.post("/sync/quarantine", queue.clone()).await.ok(), json!({"kept": 4}));
    let kept: Vec<Value> = told(&phone.person, &id).await.into_iter().map(|(_, detail)| detail).collect();
    for said in [json!({"unit": "walks"}), json!({"measure": "walks a week"}), json!({"lifecycle": "proposed"})] {
        assert!(kept.contains(&said), "{said} in {kept:?}");
    }
    phone.person.post("/sync/quarantine", json!({"mutations": [{"op": "create"}]})).await.refused(400);
}

async fn lists_that_stand_deep_in_each_other_break_no_answer(world: World) {
    let (phone, case, id) = a_goal(&world).await;
    let ana = &phone.person;
    let deep = |levels: usize| (0..levels).fold(json!("x"), |inner, _| json!([inner]));
    let problem = ana.post("/goals", json!({"case_id": case, "strengths": deep(33)})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], json!("too_deep"));
    ana.post("/goals", json!({"case_id": case, "strengths": deep(32)})).await.ok();
    let text = deep(120).to_string();
    let row = json!({"id": id, "_changed": "strengths", "strengths": text});
    let pushed = json!({"goals": {"created": [], "updated": [row], "deleted": []}});
    ana.post(&format!("/sync?last_pulled_at={}", phone.cursor.expect("a cursor")), pushed).await.ok();
    assert_eq!(told(ana, &id).await[0].0, "cleaned");
    let set = json!({"measure": {"from": null, "to": "m"}});
    assert_eq!(one(ana, mutation(1, "update", "goals", &id, set)).await["row"]["measure"], json!("m"));
}

async fn instants_in_either_form_bring_back_what_was_lost(world: World) {
    let (org, pat) = harbor(&world).await;
    let ana = world.ana().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    ana.post(&format!("/goals/{goal}/agree"), json!({})).await.ok();
    let referral = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    ana.post(&format!("/referrals/{referral}/request"), json!({})).await.ok();
    pat.post(&format!("/referrals/{referral}/accept"), json!({})).await.ok();
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    // As the native face had given them.
    let page = ana.get("/sync/pull?limit=1000").await.ok();
    let mut offered = serde_json::Map::new();
    for change in page["changes"].as_array().expect("changes") {
        let table = offered.entry(text(&change["table"])).or_insert_with(|| json!({"updated": []}));
        table["updated"].as_array_mut().expect("a list").push(change["row"].clone());
    }
    assert!(offered["referrals"]["updated"][0]["updated_at"].is_string());
    let first = ana.get(&format!("/referrals/{referral}")).await.ok();
    world.pass_secs(3600);
    restores(&world, &bytes).await.expect("restored");
    ana.logs_in().await;
    ana.post("/sync/salvage", Value::Object(offered)).await.ok();
    let back = ana.get(&format!("/referrals/{referral}")).await.ok();
    for column in ["status", "reference", "sent_at", "ack_at"] {
        assert_eq!(back[column], first[column], "{column}");
    }
    assert_eq!(ana.get(&format!("/goals/{goal}")).await.ok()["lifecycle"], json!("agreed"));
    let stored = ana.post("/sync/salvage", holdings(&phone)).await.ok();
    assert_eq!(stored, json!({"stored": 0}), "the same in milliseconds");
}

async fn a_kept_move_is_made_whole_or_not_at_all(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    ana.post(&format!("/goals/{id}/agree"), json!({})).await.ok();
    hands_over(&world, &case.id, "ben@demo.example").await;
    let ben = world.ben().await;
    let set = json!({"outcome_reason": {"from": null, "to": "moved away"}});
    assert_eq!(one(&ana, action(1, "withdraw", "goals", &id, set)).await["status"], json!("quarantined"));
    let done = json!({"achievement": "not_achieved", "outcome_reason": "the market closed"});
    ben.post(&format!("/goals/{id}/start"), json!({})).await.ok();
    ben.post(&format!("/goals/{id}/complete"), done).await.ok();
    let accept = format!("{}/accept", kept(&ben, &id).await);
    assert_eq!(ben.post(&accept, json!({"reason": "hers"})).await.refused(409)["code"], json!("not_applicable"));
    let goal = ben.get(&format!("/goals/{id}")).await.ok();
    assert_eq!((&goal["lifecycle"], &goal["outcome_reason"]), (&json!("completed"), &json!("the market closed")));
}

async fn kept_mutations_of_one_row_are_applied_in_their_order(world: World) {
    let ana = world.ana().await;
    let words = ["one", "two", "three", "four", "five", "six", "seven"];
    let mut sent = vec![mutation(
        0,
        "create",
        "goals",
        "goal-00000001",
        json!({"case_id": "case-00000001", "statement": "A goal of a case to come", "measure": "none"}),
    )];
    for (at, word) in words.iter().enumerate() {
        let from = if at == 0 { "none" } else { words[at - 1] };
        let set = json!({"measure": {"from": from, "to": word}});
        sent.push(mutation(u32::try_from(at).expect("few") + 1, "update", "goals", "goal-00000001", set));
    }
    for _ in 0..2 {
        mutates(&ana, json!(sent)).await;
    }
    one(&ana, mutation(100, "create", "cases", "case-00000001", json!({"unit": "family"}))).await;
    assert_eq!(ana.get("/goals/goal-00000001").await.ok()["measure"], json!("seven"));
}

async fn what_was_said_with_a_move_that_was_made_elsewhere_is_not_dropped(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let planned = json!({"case_id": case.id, "kind": "visit", "planned_start": "2027-03-03T15:00:00Z"});
    let id = text(&ana.post("/contacts", planned).await.ok()["id"]);
    ana.post(&format!("/contacts/{id}/cancel_by_client"), json!({"status_reason": "was ill"})).await.ok();
    let set = json!({"status_reason": {"from": null, "to": "her car broke down"}});
    let result = one(&ana, action(1, "cancel_by_client", "contacts", &id, set)).await;
    assert!(result["issue_id"].is_string(), "{result}");
    let history = ana.get(&format!("/contacts/{id}/history")).await.ok().to_string();
    assert!(history.contains("her car broke down"), "{history}");
    assert_eq!(
        one(&ana, action(2, "cancel_by_client", "contacts", &id, json!({}))).await["status"],
        json!("duplicate")
    );
}

async fn a_cut_character_is_told_once(world: World) {
    let (phone, _, id) = a_goal(&world).await;
    let ana = &phone.person;
    let measure = |from: Value, to: &str| json!({"measure": {"from": from, "to": to}});
    one(ana, mutation(1, "update", "goals", &id, measure(Value::Null, "walks \u{fffd}"))).await;
    assert_eq!(told(ana, &id).await.len(), 1);
    let set = measure(json!("walks \u{fffd}"), "walks \u{fffd} a week");
    assert_eq!(one(ana, mutation(2, "update", "goals", &id, set)).await["status"], json!("applied"));
    assert_eq!(told(ana, &id).await.len(), 1);
}
