//! Pushes that are sent again because their answer was lost, by an app that counts them (S9).

use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use super::told::kept;
use crate::support::{Answer, Phone, World, on_both};

on_both!(
    a_repeated_push_does_not_undo_what_was_changed_since,
    what_is_new_in_a_repeated_push_is_stored,
    a_value_typed_again_after_its_answer_is_stored,
    a_copy_of_a_push_that_comes_late_changes_nothing,
    an_app_that_counts_afresh_is_not_taken_for_a_repeat,
    a_row_deleted_since_is_not_kept_as_new_work,
    a_push_that_was_overtaken_undoes_nothing,
    a_push_that_was_overtaken_long_ago_undoes_nothing,
    what_was_thrown_away_before_it_arrived_is_not_made,
    what_only_an_overtaken_push_holds_is_not_lost,
    what_is_added_under_a_number_that_was_used_is_done,
    a_push_that_is_repeated_again_and_again_undoes_nothing,
    a_deletion_that_is_repeated_opens_no_decision_again,
);

/// Pushes what is waiting as number `push`; the answer is lost unless it is given to the phone.
async fn counted(phone: &Phone, body: &Value, push: i64, acked: i64) -> Answer {
    let cursor = phone.cursor.expect("pulled");
    let path = format!("/sync?last_pulled_at={cursor}&push={push}&acked={acked}");
    let request = phone.person.request(Method::POST, &path).body(body.to_string());
    phone.person.send("a counted push", request).await
}

/// A goal on two of Ana's phones.
async fn two_phones(world: &World) -> (Phone, Phone, String) {
    let ana = world.ana().await;
    let mut one = Phone::of(&ana);
    let case = opens_case(&mut one).await;
    let id = one.creates("goals", goal(&case, "Ride the bus"));
    one.syncs().await;
    one.syncs().await;
    let other = ana.on_another_device();
    other.logs_in().await;
    let mut two = Phone::of(&other);
    two.syncs().await;
    (one, two, id)
}

/// The second phone's value, chosen after it saw the first's.
async fn changes(two: &mut Phone, id: &str, columns: Value) {
    two.syncs().await;
    two.edits("goals", id, columns);
    two.syncs().await;
}

async fn a_repeated_push_does_not_undo_what_was_changed_since(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    counted(&one, &one.outgoing(), 1, 0).await.ok();
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    one.pulls().await;
    assert_eq!(one.column("goals", &id, "measure"), json!("rides"), "the phone does not know that it was taken");
    let answer = counted(&one, &one.outgoing(), 2, 0).await.ok();
    one.marks_as_synced(&answer);
    one.pulls().await;
    assert_eq!(one.column("goals", &id, "measure"), json!("lines"));
    two.pulls().await;
    assert_eq!(one.everything(), two.everything());
    assert!(!one.everything().contains_key("sync_issues"), "nothing was wrong");
    counted(&one, &json!({}), 3, 2).await.ok();
    let bad = one.person.post("/sync?last_pulled_at=1&push=x", json!({})).await;
    assert_eq!(bad.status, 400);
}

async fn what_is_new_in_a_repeated_push_is_stored(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    counted(&one, &one.outgoing(), 1, 0).await.ok();
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    one.pulls().await;
    one.edits("goals", &id, json!({"unit": "a week"}));
    let answer = counted(&one, &one.outgoing(), 2, 0).await.ok();
    one.marks_as_synced(&answer);
    one.pulls().await;
    assert_eq!(one.column("goals", &id, "measure"), json!("lines"));
    assert_eq!(one.column("goals", &id, "unit"), json!("a week"));
}

async fn a_value_typed_again_after_its_answer_is_stored(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    let answer = counted(&one, &one.outgoing(), 1, 0).await.ok();
    one.marks_as_synced(&answer);
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    one.pulls().await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    counted(&one, &one.outgoing(), 2, 1).await.ok();
    two.pulls().await;
    assert_eq!(two.column("goals", &id, "measure"), json!("rides"));
}

async fn a_copy_of_a_push_that_comes_late_changes_nothing(world: World) {
    let (mut one, _, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    let first = one.outgoing();
    counted(&one, &first, 1, 0).await.ok();
    one.edits("goals", &id, json!({"measure": "lines"}));
    let answer = counted(&one, &one.outgoing(), 2, 0).await.ok();
    one.marks_as_synced(&answer);
    counted(&one, &first, 1, 0).await.ok();
    one.pulls().await;
    assert_eq!(one.column("goals", &id, "measure"), json!("lines"));
}

async fn an_app_that_counts_afresh_is_not_taken_for_a_repeat(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    let answer = counted(&one, &one.outgoing(), 7, 6).await.ok();
    one.marks_as_synced(&answer);
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    let mut again = Phone::of(&one.person);
    again.pulls().await;
    again.edits("goals", &id, json!({"measure": "rides"}));
    counted(&again, &again.outgoing(), 1, 0).await.ok();
    two.pulls().await;
    assert_eq!(two.column("goals", &id, "measure"), json!("rides"));
}

async fn a_row_deleted_since_is_not_kept_as_new_work(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    let sent = one.outgoing();
    counted(&one, &sent, 1, 0).await.ok();
    two.syncs().await;
    two.deletes("goals", &id);
    two.syncs().await;
    counted(&one, &sent, 2, 0).await.ok();
    one.pulls().await;
    assert!(one.row("goals", &id).is_none());
    assert!(!one.everything().contains_key("sync_issues"), "what it said was stored before the deletion");
}

async fn a_push_that_was_overtaken_undoes_nothing(world: World) {
    let (mut one, _, id) = two_phones(&world).await;
    let case = one.column("goals", &id, "case_id").as_str().expect("a case").to_owned();
    let (made, dropped) =
        (one.creates("goals", goal(&case, "Take the train")), one.creates("goals", goal(&case, "Fly")));
    one.edits("goals", &id, json!({"measure": "rides"}));
    one.edits("goals", &dropped, json!({"unit": "flights"}));
    let hangs = one.clone();
    one.edits("goals", &id, json!({"measure": "lines"}));
    one.edits("goals", &made, json!({"statement": "Take the night train"}));
    let answer = counted(&one, &one.outgoing(), 2, 0).await.ok();
    one.marks_as_synced(&answer);
    one.pulls().await;
    one.deletes("goals", &dropped);
    let answer = counted(&one, &one.outgoing(), 3, 2).await.ok();
    one.marks_as_synced(&answer);
    counted(&hangs, &hangs.outgoing(), 1, 0).await.ok();
    one.pulls().await;
    assert_eq!(one.column("goals", &id, "measure"), json!("lines"));
    assert_eq!(one.column("goals", &made, "statement"), json!("Take the night train"));
    assert!(one.row("goals", &dropped).is_none());
}

async fn a_push_that_was_overtaken_long_ago_undoes_nothing(world: World) {
    let (mut one, _, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    let hangs = one.clone();
    for (push, value) in [(6, "lines"), (7, "stops")] {
        one.edits("goals", &id, json!({"measure": value}));
        let answer = counted(&one, &one.outgoing(), push, push - 2).await.ok();
        one.marks_as_synced(&answer);
        one.pulls().await;
    }
    for _ in 0..2 {
        counted(&hangs, &hangs.outgoing(), 5, 4).await.ok();
        one.pulls().await;
        assert_eq!(one.column("goals", &id, "measure"), json!("stops"));
        assert!(!one.everything().contains_key("sync_issues"), "the phone said something else since");
    }
    one.edits("goals", &id, json!({"measure": "rides"}));
    counted(&one, &one.outgoing(), 8, 7).await.ok();
    one.pulls().await;
    assert_eq!(one.column("goals", &id, "measure"), json!("rides"), "typed anew");
}

/// The app was taken away with it: no later push has these rows.
async fn what_only_an_overtaken_push_holds_is_not_lost(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    let case = one.column("goals", &id, "case_id").as_str().expect("a case").to_owned();
    let others = ["Take the train", "Take the tram"].map(|statement| one.creates("goals", goal(&case, statement)));
    one.syncs().await;
    one.syncs().await;
    let [alone, deleted] = &others;
    let mut hangs = one.clone();
    let made = hangs.creates("goals", goal(&case, "Walk to the stop"));
    hangs.edits("goals", &id, json!({"measure": "rides"}));
    hangs.edits("goals", alone, json!({"measure": "trains"}));
    hangs.deletes("goals", deleted);
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    changes(&mut two, deleted, json!({"measure": "trams"})).await;
    one.creates("goals", goal(&case, "Buy a ticket"));
    let answer = counted(&one, &one.outgoing(), 2, 0).await.ok();
    one.marks_as_synced(&answer);
    for _ in 0..2 {
        counted(&hangs, &hangs.outgoing(), 1, 0).await.ok();
        one.pulls().await;
        assert!(one.row("goals", &made).is_some(), "what is new is stored");
        assert_eq!(one.column("goals", alone, "measure"), json!("trains"), "so is what nobody touched since");
        assert_eq!(one.column("goals", &id, "measure"), json!("lines"));
        assert_eq!(one.column("goals", deleted, "measure"), json!("trams"));
        let about: Vec<Value> =
            one.ids("sync_issues").iter().map(|issue| one.column("sync_issues", issue, "about_id")).collect();
        assert_eq!(about.len(), 2, "{about:?}");
        assert!(about.contains(&json!(id)) && about.contains(&json!(deleted)), "{about:?}");
        let history = one.person.get(&format!("/goals/{id}/history")).await.ok();
        let kept = history["items"].as_array().expect("a list").iter();
        assert_eq!(kept.filter(|item| item["old"]["measure"] == json!("rides")).count(), 1, "{history}");
    }
}

async fn what_is_added_under_a_number_that_was_used_is_done(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    let case = one.column("goals", &id, "case_id").as_str().expect("a case").to_owned();
    let dropped = one.creates("goals", goal(&case, "Fly"));
    one.syncs().await;
    one.syncs().await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    counted(&one, &one.outgoing(), 1, 0).await.ok();
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    one.pulls().await;
    one.deletes("goals", &dropped);
    counted(&one, &one.outgoing(), 1, 0).await.ok();
    two.pulls().await;
    assert!(two.row("goals", &dropped).is_none());
    assert_eq!(two.column("goals", &id, "measure"), json!("lines"));
    one.pulls().await;
    one.edits("goals", &id, json!({"unit": "a week"}));
    let answer = counted(&one, &one.outgoing(), 1, 0).await.ok();
    one.marks_as_synced(&answer);
    one.pulls().await;
    two.pulls().await;
    assert_eq!(two.column("goals", &id, "unit"), json!("a week"));
    assert_eq!(two.column("goals", &id, "measure"), json!("lines"));
    assert_eq!(one.everything(), two.everything());
}

async fn a_push_that_is_repeated_again_and_again_undoes_nothing(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    one.edits("goals", &id, json!({"measure": "rides"}));
    counted(&one, &one.outgoing(), 1, 0).await.ok();
    changes(&mut two, &id, json!({"measure": "lines"})).await;
    for (push, column) in [(2, "unit"), (3, "why_it_matters")] {
        one.pulls().await;
        one.edits("goals", &id, json!({column: "Because"}));
        counted(&one, &one.outgoing(), push, 0).await.ok();
        two.pulls().await;
        assert_eq!(two.column("goals", &id, column), json!("Because"));
        assert_eq!(two.column("goals", &id, "measure"), json!("lines"), "in push {push}");
    }
}

async fn what_was_thrown_away_before_it_arrived_is_not_made(world: World) {
    let (mut one, mut two, id) = two_phones(&world).await;
    let case = one.column("goals", &id, "case_id").as_str().expect("a case").to_owned();
    let draft = one.creates("goals", goal(&case, "A thought at the door"));
    let other = one.creates("goals", goal(&case, "A thought at the gate"));
    let hangs = one.clone();
    // WatermelonDB tells the server of rows that it never sent, too.
    counted(&one, &json!({"goals": {"created": [], "updated": [], "deleted": [draft]}}), 2, 0).await.ok();
    counted(&hangs, &hangs.outgoing(), 1, 0).await.ok();
    two.pulls().await;
    assert!(two.row("goals", &draft).is_none(), "it was thrown away");
    assert!(two.row("goals", &other).is_some());
    one.pulls().await;
    let before = one.everything();
    assert!(!before.contains_key("sync_issues"), "{before:?}");
}

async fn a_deletion_that_is_repeated_opens_no_decision_again(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Ride the bus"));
    ana.syncs().await;
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let deletes = json!({"goals": {"created": [], "updated": [], "deleted": [id]}});
    counted(&ana, &deletes, 1, 0).await.ok();
    let discard = format!("{}/discard", kept(&ben, &id).await);
    ben.post(&discard, json!({"reason": "still wanted"})).await.ok();
    let of_ben = async || ben.get("/sync_issues?status=open").await.ok()["items"].as_array().map(Vec::len);
    assert_eq!(of_ben().await, Some(0));
    counted(&ana, &deletes, 2, 0).await.ok();
    assert_eq!(of_ben().await, Some(0), "its answer was lost, and nothing more");
    ana.pulls().await;
    assert!(!ana.everything().contains_key("goals"));
    ben.get(&format!("/goals/{id}")).await.ok();
}
