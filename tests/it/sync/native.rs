//! The native face: cursors, pages, mutations.

use entities::Actor;
use entities::casework::case_party;
use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    pages_bring_everything_once,
    a_foreign_an_edited_and_a_lost_cursor_have_one_answer_each,
    two_devices_change_different_fields_and_nobody_conflicts,
    the_same_mutation_gets_the_same_answer,
    an_action_is_checked_against_the_state,
    a_child_waits_for_its_case,
    what_follows_a_row_that_waits_waits_with_it,
    work_that_waits_is_taken_in_when_the_case_is_given_to_its_author,
    work_that_waits_for_a_row_is_taken_in_when_somebody_else_brings_it,
    losing_a_case_is_a_revocation,
);

/// Follows the cursor to the end; gives the changes and the last cursor.
async fn follows(person: &Person, cursor: &str, limit: usize) -> (Vec<Value>, String) {
    let (mut changes, mut cursor) = (Vec::new(), cursor.to_owned());
    for _ in 0..500 {
        let page = person.get(&format!("/sync/pull?cursor={cursor}&limit={limit}")).await.ok();
        changes.extend(page["changes"].as_array().expect("changes").clone());
        cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
        if page["has_more"] == json!(false) {
            return (changes, cursor);
        }
    }
    panic!("the pages never end");
}

pub(super) async fn mutates(person: &Person, mutations: Value) -> Vec<Value> {
    let body = json!({"batch_id": "batch-000001", "mutations": mutations});
    let answer = person.post("/sync/push", body).await.ok();
    answer["results"].as_array().expect("results").clone()
}

fn update(id: &str, row: &str, set: Value) -> Value {
    json!({"id": id, "op": "update", "table": "goals", "row_id": row, "set": set, "at": "2027-03-01T15:00:00Z"})
}

async fn pages_bring_everything_once(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    for _ in 0..4 {
        let case = opens_case(&mut phone).await;
        for at in 0..6 {
            phone.creates("goals", goal(&case, &format!("Step number {at} on the way")));
        }
        phone.syncs().await;
        world.pass_secs(1);
    }
    phone.syncs().await;
    let (changes, cursor) = follows(&ana, "", 5).await;
    let mut ids: Vec<(String, String)> = changes
        .iter()
        .map(|change| {
            (change["table"].as_str().unwrap_or_default().into(), change["id"].as_str().unwrap_or_default().into())
        })
        .collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "each row once");
    let held: usize = phone.everything().values().map(std::collections::BTreeMap::len).sum();
    assert_eq!(all, held);
    assert!(changes.iter().all(|change| change["op"] == "put" && change["row"]["id"] == change["id"]));
    let (nothing, _) = follows(&ana, &cursor, 5).await;
    assert_eq!(nothing, Vec::<Value>::new());
}

async fn a_foreign_an_edited_and_a_lost_cursor_have_one_answer_each(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let (_, cursor) = follows(&ana, "", 100).await;
    let answer = ben.get(&format!("/sync/pull?cursor={cursor}")).await.refused(409);
    assert_eq!(answer["code"], json!("cursor_user_mismatch"));
    let mut edited = cursor.clone();
    edited.replace_range(3..4, if &edited[3..4] == "A" { "B" } else { "A" });
    ana.get(&format!("/sync/pull?cursor={edited}")).await.refused(400);
    ana.get("/sync/pull?cursor=12345").await.refused(400);
    ana.get("/sync/pull?limit=0").await.refused(400);
}

async fn two_devices_change_different_fields_and_nobody_conflicts(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Paint once a week"));
    phone.syncs().await;
    let first =
        mutates(&ana, json!([update("mutation-0001", &id, json!({"measure": {"from": null, "to": "pictures"}}))]))
            .await;
    assert_eq!(first[0]["status"], json!("applied"), "{first:?}");
    let second =
        mutates(&ana, json!([update("mutation-0002", &id, json!({"unit": {"from": null, "to": "a week"}}))])).await;
    assert_eq!(second[0]["status"], json!("applied"));
    assert_eq!(second[0]["row"]["measure"], json!("pictures"));
    // The same field from another starting point: the stored value stays, the other is kept.
    let third = mutates(
        &ana,
        json!([update(
            "mutation-0003",
            &id,
            json!({
                "measure": {"from": null, "to": "planted-loser"}, "cadence": {"from": null, "to": "weekly"},
            })
        )]),
    )
    .await;
    assert_eq!(third[0]["status"], json!("merged"), "{third:?}");
    assert_eq!(third[0]["conflicts"][0]["stored"], json!("pictures"));
    assert_eq!(third[0]["row"]["cadence"], json!("weekly"));
    phone.syncs().await;
    let told = phone.everything().remove("sync_issues").unwrap_or_default();
    assert!(
        told.values().any(|issue| issue["kind"] == "conflict" && issue["detail"].to_string().contains("planted-loser"))
    );
}

async fn the_same_mutation_gets_the_same_answer(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let row = json!({"case_id": {"from": null, "to": case}, "statement": {"from": null, "to": "Ring the clinic"}});
    let create =
        json!({"id": "mutation-0001", "op": "create", "table": "goals", "row_id": "goal-00000001", "set": row});
    let first = mutates(&ana, json!([create])).await;
    assert_eq!(first[0]["status"], json!("applied"), "{first:?}");
    world.pass_secs(60);
    mutates(&ana, json!([update("mutation-0002", "goal-00000001", json!({"unit": {"from": null, "to": "calls"}}))]))
        .await;
    assert_eq!(mutates(&ana, json!([create])).await, first);
    // Under the same id, but another mutation.
    let other = update("mutation-0001", "goal-00000001", json!({"unit": {"from": "calls", "to": "visits"}}));
    assert_eq!(mutates(&ana, json!([other])).await[0]["row"]["unit"], json!("visits"));
    let unknown = json!({"id": "mutation-0009", "op": "update", "table": "__proto__", "row_id": "x", "set": {}});
    assert_eq!(mutates(&ana, json!([unknown])).await[0]["status"], json!("conflict"));
    ana.post("/sync/push", json!({"mutations": [{"id": "mutation-0010", "op": "explode"}]})).await.refused(400);
    let short = ana.post("/sync/push", json!({"mutations": [{"id": "short", "op": "create"}]})).await.refused(400);
    assert_eq!(short["detail"], json!("mutation 0: id must be 8 to 64 of A-Z a-z 0-9 . _ -"));
}

async fn an_action_is_checked_against_the_state(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Only a few words so far"));
    phone.syncs().await;
    let action = |id: &str, row: &str, verb: &str| json!({"id": id, "op": "action", "verb": verb, "table": "goals", "row_id": row});
    let agreed = mutates(&ana, json!([action("mutation-0001", &id, "agree")])).await;
    assert_eq!(agreed[0]["status"], json!("conflict"), "not SMART yet: {agreed:?}");
    assert_eq!(agreed[0]["row"]["lifecycle"], json!("draft"));
    let proposed = mutates(&ana, json!([action("mutation-0002", &id, "propose")])).await;
    assert_eq!((&proposed[0]["status"], &proposed[0]["row"]["lifecycle"]), (&json!("applied"), &json!("proposed")));
    let unknown = mutates(&ana, json!([action("mutation-0003", &id, "celebrate")])).await;
    assert_eq!(unknown[0]["status"], json!("conflict"));
}

async fn a_child_waits_for_its_case(world: World) {
    let ana = world.ana().await;
    let child = json!({"id": "mutation-0001", "op": "create", "table": "notes", "row_id": "note-00000001",
        "set": {"case_id": "case-00000001", "body": "first words"}});
    assert_eq!(mutates(&ana, json!([child])).await[0]["status"], json!("retry"));
    let parent = json!({"id": "mutation-0002", "op": "create", "table": "cases", "row_id": "case-00000001",
        "set": {"unit": "family"}});
    let both = mutates(&ana, json!([child, parent])).await;
    assert_eq!(
        both.iter().map(|result| result["status"].clone()).collect::<Vec<_>>(),
        [json!("applied"), json!("applied")],
        "{both:?}"
    );
    assert_eq!(both[0]["row"]["author_id"], json!(ana.user_id()));
}

async fn what_follows_a_row_that_waits_waits_with_it(world: World) {
    let ana = world.ana().await;
    let statuses = |results: &[Value]| results.iter().map(|one| one["status"].clone()).collect::<Vec<_>>();
    let note = |at: u8| {
        json!({"id": format!("mutation-{at}-create"), "op": "create", "table": "notes", "row_id": format!("note-0000000{at}"),
            "set": {"case_id": "case-00000001", "body": "first words"}})
    };
    let follows = |at: u8, op: &str, set: Value| {
        json!({"id": format!("mutation-{at}-follows"), "op": op, "table": "notes",
            "row_id": format!("note-0000000{at}"), "set": set})
    };
    let edit = follows(1, "update", json!({"body": {"from": "first words", "to": "better words"}}));
    let sent = json!([note(1), edit, note(2), follows(2, "delete", json!({}))]);
    let retry = json!("retry");
    assert_eq!(statuses(&mutates(&ana, sent.clone()).await), [&retry, &retry, &retry, &retry].map(Clone::clone));
    // Nobody is put off twice: it is kept, in order, and what was deleted meanwhile is not.
    let again = mutates(&ana, sent.clone()).await;
    let kept = json!("quarantined");
    assert_eq!(statuses(&again), [kept.clone(), kept.clone(), kept, json!("duplicate")], "{again:?}");
    assert_eq!(mutates(&ana, sent).await, again, "to the byte");
    let parent = json!({"id": "mutation-parent", "op": "create", "table": "cases", "row_id": "case-00000001",
        "set": {"unit": "family"}});
    assert_eq!(statuses(&mutates(&ana, json!([parent])).await), [json!("applied")]);
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    assert_eq!(phone.column("notes", "note-00000001", "body"), json!("better words"));
    assert!(phone.row("notes", "note-00000002").is_none(), "it was deleted before it came");
}

/// Sends it until it is kept.
async fn waits(person: &Person, mutation: Value) {
    let once = mutates(person, json!([mutation])).await;
    assert_eq!(once[0]["status"], json!("retry"), "{once:?}");
    let twice = mutates(person, json!([mutation])).await;
    assert_eq!(twice[0]["status"], json!("quarantined"), "{twice:?}");
}

fn create(table: &str, row: &str, set: Value) -> Value {
    json!({"id": format!("create-{row}"), "op": "create", "table": table, "row_id": row, "set": set})
}

async fn work_that_waits_is_taken_in_when_the_case_is_given_to_its_author(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let (mut anas, mut bens) = (Phone::of(&ana), Phone::of(&ben));
    let case = opens_case(&mut anas).await;
    let person = anas.creates("persons", json!({"given_name": "Pia"}));
    anas.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "child"}));
    anas.syncs().await;
    let own = opens_case(&mut bens).await;
    waits(&ben, create("notes", "note-waits-1", json!({"case_id": case, "body": "said at the door"}))).await;
    let party = json!({"case_id": own, "person_id": person, "role": "child"});
    waits(&ben, create("case_parties", "party-waits-1", party)).await;
    // What somebody else waits for is not this.
    let cleo = world.cleo().await;
    waits(&cleo, create("notes", "note-waits-2", json!({"case_id": "case-unheard-of", "body": "elsewhere"}))).await;

    hands_over(&world, &case, "ben@demo.example").await;
    bens.pulls().await;
    let note = bens.row("notes", "note-waits-1").expect("the note").clone();
    assert_eq!((&note["body"], &note["author_id"]), (&json!("said at the door"), &json!(ben.user_id())));
    assert_eq!(
        bens.column("case_parties", "party-waits-1", "person_id"),
        json!(person),
        "the person came with the case"
    );
    let told = |phone: &Phone| -> Vec<Value> {
        let issues = phone.everything().remove("sync_issues").unwrap_or_default();
        issues.into_values().map(|issue| issue["status"].clone()).collect()
    };
    assert_eq!(told(&bens), [json!("accepted"), json!("accepted")]);
    let mut cleos = Phone::of(&cleo);
    cleos.pulls().await;
    assert_eq!((told(&cleos), cleos.row("notes", "note-waits-2")), (vec![json!("open")], None));
}

async fn work_that_waits_for_a_row_is_taken_in_when_somebody_else_brings_it(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let (mut anas, mut bens) = (Phone::of(&ana), Phone::of(&ben));
    let (anas_case, own) = (opens_case(&mut anas).await, opens_case(&mut bens).await);
    let person = anas.creates("persons", json!({"given_name": "Pia"}));
    anas.creates("case_parties", json!({"case_id": anas_case, "person_id": person, "role": "child"}));
    anas.syncs().await;
    let goal = bens.creates("goals", goal(&own, "Walk to school together"));
    bens.syncs().await;
    let second = opens_case(&mut bens).await;
    let party = json!({"case_id": second, "person_id": person, "role": "child"});
    waits(&ben, create("case_parties", "party-waits-1", party)).await;
    let mut write = world.store.write(&Actor::system(&world.riverbend)).await.expect("door");
    let party =
        case_party::Model { case_id: own, person_id: person.clone(), role: "child".into(), ..Default::default() };
    write.create::<case_party::Entity>(party).await.expect("a party");
    write.commit().await.expect("commit");
    bens.pulls().await;
    assert_eq!(bens.column("persons", &person, "given_name"), json!("Pia"));
    assert_eq!(bens.column("case_parties", "party-waits-1", "case_id"), json!(second));
    assert!(bens.row("goals", &goal).is_some());
}

async fn losing_a_case_is_a_revocation(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Sign up for the course"));
    phone.syncs().await;
    let (_, cursor) = follows(&ana, "", 100).await;
    hands_over(&world, &case, "ben@demo.example").await;
    let (changes, _) = follows(&ana, &cursor, 100).await;
    assert!(changes.iter().any(|change| change["op"] == "revoke" && change["id"] == json!(id)), "{changes:?}");
    let late =
        mutates(&ana, json!([update("mutation-0001", &id, json!({"unit": {"from": null, "to": "hours"}}))])).await;
    assert_eq!(late[0]["status"], json!("quarantined"), "{late:?}");
    assert!(late[0].get("row").is_none());
}
