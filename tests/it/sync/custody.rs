//! Unsynced work in safe keeping, and phones that heal.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use crate::support::{PASSWORD, Person, Phone, World, on_both};

on_both!(
    work_about_to_be_lost_is_uploaded_and_accepted,
    quarantined_work_can_be_rehomed_or_discarded_with_a_reason,
    what_hangs_on_quarantined_work_is_settled_with_it,
    whoever_gets_the_case_next_is_told_of_what_is_kept_there,
    a_new_supervisor_is_told_of_what_is_kept_in_each_case,
    what_was_told_to_its_author_alone_is_told_to_nobody_who_comes_later,
    a_supervisor_who_gains_a_team_gets_it_case_by_case,
    a_clock_that_leaps_ahead_writes_nothing,
    what_only_the_server_makes_is_made_by_no_acceptance,
    a_losing_value_is_brought_back_in_one_call,
    a_phone_that_differs_is_healed_row_by_row,
    what_one_author_may_have_waiting_is_bounded,
    what_belongs_to_no_case_is_healed_too,
);

/// Takes a case from Ana while her phone holds an unsent note, and uploads the note as the snippet does.
async fn loses(world: &World) -> (Phone, Phone, String, Value) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let case = opens_case(&mut ana).await;
    hands_over(world, &case, "ben@demo.example").await;
    let id =
        ana.creates("notes", json!({"case_id": case, "body": "unsent words", "kind": "progress", "status": "signed"}));
    let doomed = ana.outgoing();
    let kept = ana.person.post("/sync/quarantine", doomed.clone()).await.ok();
    assert_eq!(kept, json!({"kept": 1}));
    assert_eq!(
        ana.person.post("/sync/quarantine", doomed).await.ok(),
        json!({"kept": 1}),
        "the same work is the same entry"
    );
    ben.pulls().await;
    let issues = ben.everything().remove("sync_issues").expect("Ben is told");
    assert_eq!(issues.len(), 1);
    let issue = Value::Object(issues.into_values().next().expect("one"));
    assert_eq!(issue["about_id"], json!(id));
    (ana, ben, case, issue)
}

async fn work_about_to_be_lost_is_uploaded_and_accepted(world: World) {
    let (ana, mut ben, case, issue) = loses(&world).await;
    let path = format!("/sync_issues/{}", issue["id"].as_str().expect("id"));
    let work = ben.person.get(&format!("{path}/work")).await.ok();
    assert_eq!(work["sent"]["body"], json!("unsent words"));
    ana.person.get(&format!("{path}/work")).await.refused(404);
    world.cleo().await.post(&format!("{path}/accept"), json!({"reason": "mine"})).await.refused(404);
    ben.person.post(&format!("{path}/accept"), json!({})).await.refused(422);
    ben.person.post(&format!("{path}/accept"), json!({"reason": "Ana was there"})).await.ok();
    ben.person.post(&format!("{path}/accept"), json!({"reason": "again"})).await.refused(409);
    ben.pulls().await;
    let about = issue["about_id"].as_str().expect("id");
    assert_eq!(ben.column("notes", about, "body"), json!("unsent words"));
    assert_eq!(ben.column("notes", about, "case_id"), json!(case));
    assert_eq!(ben.column("notes", about, "author_id"), json!(ana.person.user_id()));
    assert_eq!(ben.column("sync_issues", issue["id"].as_str().expect("id"), "status"), json!("accepted"));
}

async fn what_only_the_server_makes_is_made_by_no_acceptance(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let before = ana.person.get("/staff").await.ok()["items"].as_array().map(Vec::len);
    let made = |more: Value| {
        let mut row = json!({"id": "0190a0b0-0000-7000-8000-00000000beef", "case_id": case});
        row.as_object_mut().expect("a row").extend(more.as_object().cloned().unwrap_or_default());
        json!({"created": [row], "updated": [], "deleted": []})
    };
    let planted = json!({
        "staff": made(json!({"display_name": "Nobody", "role": "supervisor", "active": true})),
        "case_assignments": made(json!({"user_id": world.ben().await.user_id(), "role": "secondary"})),
        "prompts": made(json!({"rule": "goal.deadline"})),
        "sync_issues": made(json!({"message": "All is well"})),
    });
    for path in ["/sync/quarantine", "/sync?last_pulled_at=1"] {
        ana.person.post(path, planted.clone()).await.ok();
    }
    let mut asked = 0;
    for issue in ana.person.get("/sync_issues").await.ok()["items"].as_array().expect("a list") {
        let accept = format!("/sync_issues/{}/accept", issue["id"].as_str().expect("an id"));
        let status = ana.person.post(&accept, json!({"reason": "why not"})).await.status;
        assert!([403, 404, 409].contains(&status), "{status}: {issue}");
        asked += 1;
    }
    assert!(asked > 0, "Ana is told that it was kept");
    assert_eq!(ana.person.get("/staff").await.ok()["items"].as_array().map(Vec::len), before);
    for table in ["staff", "case_assignments", "prompts", "sync_issues"] {
        ana.person.get(&format!("/{table}/0190a0b0-0000-7000-8000-00000000beef")).await.refused(404);
    }
}

async fn quarantined_work_can_be_rehomed_or_discarded_with_a_reason(world: World) {
    let (_, mut ben, _, issue) = loses(&world).await;
    let own = opens_case(&mut ben).await;
    let path = format!("/sync_issues/{}", issue["id"].as_str().expect("id"));
    let foreign = json!({"reason": "wrong case", "case_id": "case-of-nobody"});
    let refused = ben.person.post(&format!("{path}/rehome"), foreign).await;
    assert!([404, 409].contains(&refused.status), "{}", refused.text);
    ben.person.post(&format!("{path}/rehome"), json!({"reason": "it was about the sister", "case_id": own})).await.ok();
    ben.pulls().await;
    assert_eq!(ben.column("notes", issue["about_id"].as_str().expect("id"), "case_id"), json!(own));

    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.creates("notes", json!({"case_id": case, "body": "typed into the wrong case", "kind": "progress"}));
    ana.pushes().await.expect("something to push").ok();
    ben.pulls().await;
    let issues = ben.everything().remove("sync_issues").expect("issues");
    let open = issues.values().find(|issue| issue["status"] == "open").expect("an open one");
    let path = format!("/sync_issues/{}", open["id"].as_str().expect("id"));
    ben.person.post(&format!("{path}/discard"), json!({"reason": "a mistake, Ana says"})).await.ok();
    let work = ben.person.get(&format!("{path}/work")).await.ok();
    assert_eq!((&work["state"], &work["sent"]["body"]), (&json!("discarded"), &json!("typed into the wrong case")));
}

/// "Children of a quarantined parent join its bundle" (S8).
async fn what_hangs_on_quarantined_work_is_settled_with_it(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let case = opens_case(&mut ana).await;
    hands_over(&world, &case, "ben@demo.example").await;
    let visit = ana.creates("contacts", json!({"case_id": case, "kind": "visit", "status": "planned"}));
    let about = json!({"case_id": case, "contact_id": visit, "body": "what we planned", "kind": "progress", "status": "signed"});
    let note = ana.creates("notes", about);
    let apart = ana.creates("notes", json!({"case_id": case, "body": "of another day", "kind": "progress"}));
    ana.pushes().await.expect("something to push").ok();
    ben.pulls().await;
    assert_eq!((ben.row("contacts", &visit), ben.row("notes", &note)), (None, None), "all three are kept apart");
    let issues = ben.everything().remove("sync_issues").expect("Ben is told");
    let of = |row: &str| {
        let issue = issues.iter().find(|(_, issue)| issue["about_id"] == row);
        issue.map(|(id, _)| id.clone()).expect("an issue for each row")
    };
    let path = format!("/sync_issues/{}/accept", of(&visit));
    ben.person.post(&path, json!({"reason": "it was agreed with the family"})).await.ok();
    ben.pulls().await;
    assert_eq!(ben.column("contacts", &visit, "status"), json!("planned"));
    assert_eq!(ben.column("notes", &note, "contact_id"), json!(visit));
    assert_eq!(ben.row("notes", &apart), None, "what does not hang on it waits");
    for (row, status) in [(&visit, "accepted"), (&note, "accepted"), (&apart, "open")] {
        assert_eq!(ben.column("sync_issues", &of(row), "status"), json!(status));
    }
}

/// The issues on a phone after a pull, by id: what each is about, and how it stands.
async fn told(phone: &mut Phone) -> BTreeMap<String, (Value, Value)> {
    phone.pulls().await;
    let issues = phone.everything().remove("sync_issues").unwrap_or_default();
    issues.into_iter().map(|(id, issue)| (id, (issue["about_id"].clone(), issue["status"].clone()))).collect()
}

async fn whoever_gets_the_case_next_is_told_of_what_is_kept_there(world: World) {
    let (_, mut ben, case, issue) = loses(&world).await;
    let (mut cleo, mut sam) = (Phone::of(&world.cleo().await), Phone::of(&world.sam().await));
    let about = (issue["about_id"].clone(), json!("open"));
    let (bens, sams) = (told(&mut ben).await, told(&mut sam).await);
    assert_eq!(bens.values().chain(sams.values()).collect::<Vec<_>>(), [&about, &about]);
    assert!(told(&mut cleo).await.is_empty());
    hands_over(&world, &case, "cleo@demo.example").await;
    let cleos = told(&mut cleo).await;
    assert_eq!(cleos.values().collect::<Vec<_>>(), [&about], "she has the case, so she can decide");
    assert!(told(&mut ben).await.is_empty(), "he cannot any more");
    let bens_own = format!("/sync_issues/{}/work", bens.keys().next().expect("an issue"));
    ben.person.get(&bens_own).await.refused(404);
    // To and fro: each has the one issue, and nobody has it twice.
    for _ in 0..2 {
        hands_over(&world, &case, "ben@demo.example").await;
        assert_eq!((told(&mut ben).await, told(&mut cleo).await.len()), (bens.clone(), 0));
        hands_over(&world, &case, "cleo@demo.example").await;
        assert_eq!((told(&mut cleo).await, told(&mut ben).await.len()), (cleos.clone(), 0));
    }
    assert_eq!(told(&mut sam).await, sams);
    let path = format!("/sync_issues/{}", cleos.keys().next().expect("an issue"));
    assert_eq!(cleo.person.get(&format!("{path}/work")).await.ok()["sent"]["body"], json!("unsent words"));
    cleo.person.post(&format!("{path}/accept"), json!({"reason": "it belongs to the case"})).await.ok();
    cleo.pulls().await;
    assert_eq!(cleo.column("notes", about.0.as_str().expect("an id"), "body"), json!("unsent words"));
    // What is settled is told to nobody else.
    let settled = (about.0, json!("accepted"));
    assert_eq!(told(&mut sam).await.into_values().collect::<Vec<_>>(), [settled]);
    let sol = gets_the_team(&world, "South", "North").await;
    assert!(told(&mut Phone::of(&sol)).await.is_empty());
}

/// Gives the supervisor of one team another team too.
async fn gets_the_team(world: &World, from: &str, team: &str) -> Person {
    let ada = world.ada().await;
    let teams = ada.get("/teams").await.ok();
    let find = |name: &str| teams["items"].as_array().expect("teams").iter().find(|team| team["name"] == name).cloned();
    let (from, team) = (find(from).expect("a team"), find(team).expect("a team"));
    let path = format!("/teams/{}", team["id"].as_str().expect("an id"));
    ada.patch(&path, json!({"supervisor_user_id": from["supervisor_user_id"]})).await.ok();
    world.sol().await
}

async fn a_new_supervisor_is_told_of_what_is_kept_in_each_case(world: World) {
    let (mut ana, _, _, first) = loses(&world).await;
    let second = opens_case(&mut ana).await;
    hands_over(&world, &second, "ben@demo.example").await;
    let late = ana.creates(
        "notes",
        json!({"case_id": second, "body": "of the other case", "kind": "progress", "status": "signed"}),
    );
    ana.pushes().await.expect("something to push").ok();
    let (mut sam, mut sol) = (Phone::of(&world.sam().await), Phone::of(&world.sol().await));
    assert!(told(&mut sam).await.len() == 2 && told(&mut sol).await.is_empty());
    gets_the_team(&world, "South", "North").await;
    let sols = told(&mut sol).await;
    let about: BTreeSet<&str> = sols.values().filter_map(|(about, _)| about.as_str()).collect();
    assert_eq!((sols.len(), about), (2, BTreeSet::from([first["about_id"].as_str().expect("an id"), late.as_str()])));
    assert!(told(&mut sam).await.is_empty());
    for id in sols.keys() {
        assert_eq!(sol.column("sync_issues", id, "audience"), json!("supervisor"));
        assert_eq!(sol.column("sync_issues", id, "detail"), Value::Null, "it is read under the rights of the case");
        sol.person.get(&format!("/sync_issues/{id}/work")).await.ok();
        sol.person.post(&format!("/sync_issues/{id}/accept"), json!({"reason": "seen"})).await.ok();
    }
    sol.pulls().await;
    assert_eq!(sol.column("notes", &late, "body"), json!("of the other case"));
}

async fn what_was_told_to_its_author_alone_is_told_to_nobody_who_comes_later(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let case = opens_case(&mut ana).await;
    // A row that lacks what it needs is between the phone and its author.
    let half = ana.creates("goal_ratings", json!({"case_id": case, "rated_on": "2027-02-01", "level": 0}));
    ana.pushes().await.expect("something to push").ok();
    let (id, (about, _)) = told(&mut ana).await.pop_first().expect("Ana is told");
    let said = ana.column("sync_issues", &id, "message");
    assert_eq!((about, said), (json!(half), json!("Kept, not applied: the row lacks what it needs to be stored.")));
    hands_over(&world, &case, "ben@demo.example").await;
    assert!(told(&mut ben).await.is_empty());
    assert!(ben.ids("cases").contains(&case));
}

/// "A bulk grant takes a range of numbers, one per case: no page grows past what a phone can take" (S13).
async fn a_supervisor_who_gains_a_team_gets_it_case_by_case(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let mut cases = vec![opens_case(&mut ana).await, opens_case(&mut ana).await, opens_case(&mut ana).await];
    let mut sol = Phone::of(&world.sol().await);
    sol.pulls().await;
    let ada = world.ada().await;
    let teams = ada.get("/teams").await.ok();
    let north = teams["items"].as_array().expect("teams").iter().find(|team| team["name"] == "North").expect("North");
    let path = format!("/teams/{}", north["id"].as_str().expect("an id"));
    ada.patch(&path, json!({"supervisor_user_id": sol.person.user_id()})).await.ok();
    let mut pages = Vec::new();
    loop {
        let page = sol.asks("&limit=1").await.ok();
        let gained = page["changes"]["cases"]["updated"].as_array().expect("cases");
        pages.extend(gained.iter().map(|case| case["id"].as_str().expect("an id").to_owned()));
        assert!(gained.len() <= 1, "{} cases in one page", gained.len());
        sol.applies(&page);
        if page["has_more"] == json!(false) {
            break;
        }
    }
    pages.sort();
    cases.sort();
    assert_eq!(pages, cases);
}

/// "A large forward leap of the clock is refused" (S6): a number once given out cannot be taken back.
async fn a_clock_that_leaps_ahead_writes_nothing(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    opens_case(&mut ana).await;
    world.set_clock("2031-01-01T12:00:00Z");
    let case = ana.creates("cases", json!({"unit": "individual", "summary": "In another decade"}));
    // The phone's token is long over by that clock, and nobody signs in by it.
    assert_eq!(ana.person.tries_to_log_in(PASSWORD).await.status, 503);
    let door = world.store.write(&entities::Actor::system(&world.riverbend)).await;
    assert!(matches!(door, Err(entities::Error::Busy(_))), "{door:?}");
    world.set_clock("2027-03-01T16:00:00Z");
    ana.syncs().await;
    assert_eq!(ana.column("cases", &case, "summary"), json!("In another decade"));
    assert!(ana.cursor.expect("a cursor") < 1_900_000_000_000, "no number of that time was given out");
    // An operator may say that it is right after all: the installation lay idle.
    world.set_clock("2031-01-01T12:00:00Z");
    world.store.confirm_clock().await.expect("confirmed");
    ana.edits("cases", &case, json!({"summary": "After a long pause"}));
    ana.syncs().await;
    assert!(!ana.has_unsynced_changes());
}

/// As docs/sync.md describes it.
fn hash(rows: &[(String, i64)]) -> String {
    let sum = rows.iter().fold(0_u64, |sum, (id, at)| sum.wrapping_add(entities::sync::digest::fingerprint(id, *at)));
    format!("{sum:016x}")
}

async fn a_phone_that_differs_is_healed_row_by_row(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let kept = phone.creates("goals", goal(&case, "This one stays as it is"));
    let lost = phone.creates("goals", goal(&case, "This one falls off the phone"));
    phone.syncs().await;
    phone.syncs().await;
    let sound = phone.clone();
    phone.person.get("/sync/digest?scope=person").await.refused(400);
    let digest = phone.person.get("/sync/digest?scope=case").await.ok();
    let of_case = &digest["cases"][0];
    assert_eq!(of_case["case_id"], json!(case));
    let held: Vec<(String, i64)> = phone
        .ids("goals")
        .into_iter()
        .map(|id| (id.clone(), phone.column("goals", &id, "updated_at").as_i64().expect("milliseconds")))
        .collect();
    assert_eq!(of_case["tables"]["goals"], json!({"rows": 2, "hash": hash(&held)}));
    // A row is lost and a ghost appears.
    phone.deletes("goals", &lost);
    phone.marks_as_synced(&json!({}));
    phone.creates("goals", json!({"id": "ghost-000001", "case_id": case, "statement": "nobody knows me"}));
    phone.marks_as_synced(&json!({}));
    let rows = phone.person.get(&format!("/sync/digest?case_id={case}")).await.ok();
    let there: Vec<&str> =
        rows["tables"]["goals"].as_array().expect("rows").iter().filter_map(|row| row[0].as_str()).collect();
    assert!(there.contains(&lost.as_str()) && there.contains(&kept.as_str()));
    let wanted = json!({"rows": [{"table": "goals", "id": lost}, {"table": "goals", "id": "ghost-000001"}]});
    phone.person.post("/sync/repair", wanted).await.ok();
    phone.pulls().await;
    assert_eq!(phone.everything(), sound.everything());
    phone.person.post("/sync/repair", json!({"rows": [7]})).await.refused(400);
}

async fn what_belongs_to_no_case_is_healed_too(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    opens_case(&mut phone).await;
    phone.creates("persons", json!({"given_name": "Pia"}));
    let lost = phone.creates("persons", json!({"given_name": "Ru\u{0}th"}));
    phone.syncs().await;
    phone.syncs().await;
    let sound = phone.clone();
    let other = phone.person.get("/sync/digest?scope=case").await.ok()["other"].clone();
    assert_eq!(other["persons"]["rows"], json!(2));
    assert_eq!(other["sync_issues"]["rows"], json!(1), "what was mended in a person is of no case");
    for (table, sum) in other.as_object().expect("tables") {
        let listed = phone.person.get(&format!("/sync/digest?table={table}")).await.ok();
        assert_eq!(listed["case_id"], Value::Null);
        assert_eq!(listed["tables"].as_object().map(serde_json::Map::len), Some(1), "{listed}");
        let rows: Vec<(String, i64)> = serde_json::from_value(listed["tables"][table].clone()).expect("rows");
        assert_eq!(*sum, json!({"rows": rows.len(), "hash": hash(&rows)}), "{table}");
        let held: BTreeSet<String> = rows.into_iter().map(|(id, _)| id).collect();
        assert_eq!(phone.ids(table), held, "{table}");
    }
    // Rows of cases are not among them, and nobody is told of another's.
    for table in ["cases", "goals", "case_parties"] {
        let listed = phone.person.get(&format!("/sync/digest?table={table}")).await.ok();
        assert_eq!(listed["tables"], json!({}));
    }
    let bens = world.ben().await.get("/sync/digest?table=persons").await.ok();
    assert_eq!(bens["tables"], json!({}));
    // A person is lost and a ghost appears.
    phone.deletes("persons", &lost);
    phone.creates("persons", json!({"id": "ghost-000001", "given_name": "Nobody"}));
    phone.marks_as_synced(&json!({}));
    let rows = phone.person.get("/sync/digest?table=persons").await.ok();
    let there = rows["tables"]["persons"].as_array().expect("rows").iter().filter_map(|row| row[0].as_str());
    let (there, held): (BTreeSet<String>, _) = (there.map(str::to_owned).collect(), phone.ids("persons"));
    let differ = there.symmetric_difference(&held).map(|id| json!({"table": "persons", "id": id})).collect::<Vec<_>>();
    assert_eq!(differ.len(), 2);
    phone.person.post("/sync/repair", json!({"rows": differ})).await.ok();
    phone.pulls().await;
    assert_eq!(phone.everything(), sound.everything());
}

/// "A losing value of a merge is kept and can be restored in one call."
async fn a_losing_value_is_brought_back_in_one_call(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Learn the bus lines"));
    phone.syncs().await;
    let first = json!({"measure": {"from": null, "to": "lines known by heart"}});
    let lost = json!({"measure": {"from": null, "to": "rides taken alone"}});
    for (at, set) in [first, lost].into_iter().enumerate() {
        let mutation =
            json!({"id": format!("mutation-000{at}"), "op": "update", "table": "goals", "row_id": id, "set": set});
        ana.post("/sync/push", json!({"mutations": [mutation]})).await.ok();
        world.pass_secs(1);
    }
    let history = ana.get(&format!("/goals/{id}/history")).await.ok();
    let kept = &history["items"][0];
    assert_eq!((&kept["op"], &kept["old"]["measure"]), (&json!("lost"), &json!("rides taken alone")));
    let restored = ana.post(&format!("/goals/{id}/restore"), json!({"seq": kept["seq"], "fields": ["measure"]})).await;
    assert_eq!(restored.ok()["measure"], json!("rides taken alone"));
    let unknown = ana.post(&format!("/goals/{id}/restore"), json!({"seq": 1})).await.refused(422);
    assert_eq!(unknown["errors"][0]["pointer"], "/seq");
    ana.post(&format!("/goals/{id}/restore"), json!({"fields": "measure"})).await.refused(422);
    world.cleo().await.get(&format!("/goals/{id}/history")).await.refused(404);
}

async fn what_one_author_may_have_waiting_is_bounded(world: World) {
    let (mut ana, ben) = (Phone::of(&world.ana().await), world.ben().await);
    let case = opens_case(&mut ana).await;
    let note = |at: usize| {
        json!({"newDocumentState": {"id": format!("note-{at:08}"), "case_id": case, "kind": "progress", "body": "waits",
            "_deleted": false}})
    };
    let rows: Vec<Value> = (0..503).map(note).collect();
    assert_eq!(ben.post("/sync/rxdb/notes/push", json!(rows)).await.ok(), json!([]));
    hands_over(&world, &case, "ben@demo.example").await;
    let mut bens = Phone::of(&ben);
    bens.pulls().await;
    assert_eq!(bens.ids("notes").len(), 500);
    let open = bens.everything()["sync_issues"].values().filter(|issue| issue["status"] == json!("open")).count();
    assert_eq!(open, 3, "the rest waits for people");
}
