//! What a phone wrote without a network, behind what others did meanwhile: WatermelonDB pulls before it pushes, so the
//! cursor of a push says nothing about what its user knew.

use serde_json::{Value, json};

use super::rules::{goal, opens_case};
use super::told::told;
use crate::rest::scene::{opens_a_case, smart, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_deletion_takes_nothing_that_was_written_after_it,
    what_others_cannot_be_without_is_not_deleted,
    a_move_of_an_offline_spell_undoes_none_that_was_made_later,
    a_phone_that_has_never_sent_anything_may_make_moves,
);

/// Another device of the same person, signed in.
async fn another(person: &Person) -> Person {
    let other = person.on_another_device();
    other.logs_in().await;
    other
}

async fn a_deletion_takes_nothing_that_was_written_after_it(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Ride the bus"));
    phone.syncs().await;
    phone.pulls().await;
    let mut tablet = Phone::of(&another(&ana).await);
    tablet.pulls().await;
    phone.deletes("goals", &id);
    tablet.edits("goals", &id, json!({"why_it_matters": "To see her sister"}));
    tablet.syncs().await;
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(phone.column("goals", &id, "why_it_matters"), json!("To see her sister"), "it is back");
    let kinds: Vec<String> = told(&ana, &id).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["delete_refused"]);
    // Who has seen it and means it deletes it.
    phone.deletes("goals", &id);
    phone.syncs().await;
    ana.get(&format!("/goals/{id}")).await.refused(404);
}

async fn what_others_cannot_be_without_is_not_deleted(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Ride the bus"));
    phone.creates("goal_ratings", json!({"case_id": case, "goal_id": id, "rated_on": "2027-03-01", "level": 0}));
    phone.syncs().await;
    phone.pulls().await;
    let path = format!("/goals/{id}");
    let tag = ana.get(&path).await.header("etag").to_owned();
    let request = ana.request(reqwest::Method::DELETE, &path).header("if-match", tag);
    assert_eq!(ana.send("delete", request).await.refused(409)["code"], "rested_on");
    phone.deletes("goals", &id);
    phone.syncs().await;
    phone.pulls().await;
    assert!(phone.row("goals", &id).is_some(), "it is back");
    assert_eq!(told(&ana, &id).await[0].0, "delete_refused");
}

/// An active goal, that Ana's phone and tablet have.
async fn active(world: &World) -> (Phone, Person, String) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    for verb in ["agree", "start"] {
        ana.post(&format!("/goals/{id}/{verb}"), json!({})).await.ok();
    }
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let tablet = another(&ana).await;
    (phone, tablet, id)
}

async fn a_move_of_an_offline_spell_undoes_none_that_was_made_later(world: World) {
    let (mut phone, tablet, id) = active(&world).await;
    let case = phone.column("goals", &id, "case_id");
    phone.creates("notes", json!({"case_id": case, "kind": "progress", "body": "Sent before"}));
    phone.syncs().await;
    phone.pulls().await;
    phone.edits("goals", &id, json!({"lifecycle": "on_hold"}));
    let done = json!({"achievement": "achieved", "outcome_reason": "she says so"});
    tablet.post(&format!("/goals/{id}/complete"), done).await.ok();
    world.pass_secs(1);
    phone.syncs().await;
    phone.pulls().await;
    let there = tablet.get(&format!("/goals/{id}")).await.ok();
    assert_eq!((&there["lifecycle"], &there["outcome_reason"]), (&json!("completed"), &json!("she says so")));
    assert_eq!(phone.column("goals", &id, "lifecycle"), json!("completed"));
    assert_eq!(told(&tablet, &id).await[0].0, "illegal_move");
}

async fn a_phone_that_has_never_sent_anything_may_make_moves(world: World) {
    let (mut phone, tablet, id) = active(&world).await;
    let done = json!({"achievement": "achieved", "outcome_reason": "she says so"});
    tablet.post(&format!("/goals/{id}/complete"), done).await.ok();
    world.pass_secs(1);
    let mut fresh = Phone::of(&another(&phone.person).await);
    fresh.pulls().await;
    fresh.edits("goals", &id, json!({"lifecycle": "on_hold"}));
    fresh.syncs().await;
    phone.pulls().await;
    assert_eq!(phone.column("goals", &id, "lifecycle"), json!("on_hold"), "reopened and put on hold");
    assert_eq!(told(&tablet, &id).await, Vec::<(String, Value)>::new());
}
