//! The native face: cursors, pages, mutations.

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

async fn mutates(person: &Person, mutations: Value) -> Vec<Value> {
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
