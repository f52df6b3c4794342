//! What a push says, in whatever order and form it says it.

use serde_json::{Value, json};

use super::native::mutates;
use super::rules::opens_case;
use super::rxdb::Collection;
use crate::rest::scene::{Case, opens_a_case, smart, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_goal_is_completed_together_with_its_last_rating,
    a_visit_is_rescheduled_to_one_of_the_same_push,
    a_move_that_nothing_in_the_push_helps_is_taken_back,
    mutations_go_in_the_order_in_which_they_were_made,
    an_object_is_the_same_in_any_order_of_its_members,
);

/// A phone that holds a case with an active goal.
async fn with_a_goal(ana: &Person) -> (Phone, Case, String) {
    let case = opens_a_case(ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    ana.post(&format!("/goals/{goal}/agree"), json!({})).await.ok();
    ana.post(&format!("/goals/{goal}/start"), json!({})).await.ok();
    ana.post("/goal_ratings", rating(&case.id, &goal, -1)).await.ok();
    let mut phone = Phone::of(ana);
    phone.pulls().await;
    (phone, case, goal)
}

fn rating(case: &str, goal: &str, level: i64) -> Value {
    json!({"case_id": case, "goal_id": goal, "rated_on": "2027-03-01", "level": level, "rater": "client"})
}

fn done() -> Value {
    json!({"lifecycle": "completed", "achievement": "achieved", "outcome_reason": "she says so"})
}

fn told(phone: &Phone) -> Vec<Value> {
    let issues = phone.everything().remove("sync_issues").unwrap_or_default();
    issues.into_values().map(|issue| issue["kind"].clone()).collect()
}

async fn a_goal_is_completed_together_with_its_last_rating(world: World) {
    let (mut phone, case, goal) = with_a_goal(&world.ana().await).await;
    world.pass_secs(60);
    let mut last = rating(&case.id, &goal, 1);
    last["rated_on"] = json!("2027-03-02");
    phone.creates("goal_ratings", last);
    phone.edits("goals", &goal, done());
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(phone.column("goals", &goal, "lifecycle"), json!("completed"));
    assert_eq!(told(&phone), Vec::<Value>::new());
}

async fn a_visit_is_rescheduled_to_one_of_the_same_push(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let visit = |at: i64| {
        json!({"case_id": case, "kind": "visit", "status": "planned",
            "planned_start": world.clock.now().0 + at * 3_600_000})
    };
    let first = phone.creates("contacts", visit(24));
    phone.syncs().await;
    phone.pulls().await;
    let second = phone.creates("contacts", visit(48));
    phone.edits("contacts", &first, json!({"status": "rescheduled", "rescheduled_to": second}));
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(phone.column("contacts", &first, "status"), json!("rescheduled"));
    assert_eq!(told(&phone), Vec::<Value>::new());
}

async fn a_move_that_nothing_in_the_push_helps_is_taken_back(world: World) {
    let (mut phone, case, goal) = with_a_goal(&world.ana().await).await;
    let note = phone.creates("notes", json!({"case_id": case.id, "kind": "progress", "body": "Comes through"}));
    phone.edits("goals", &goal, json!({"lifecycle": "completed", "achievement": "achieved", "measure": "walks"}));
    phone.syncs().await;
    phone.pulls().await;
    let column = |name| phone.column("goals", &goal, name);
    assert_eq!((column("lifecycle"), column("completed_at")), (json!("active"), Value::Null), "its last rating is -1");
    assert_eq!((told(&phone), phone.row("notes", &note).is_some()), (vec![json!("illegal_move")], true));
}

async fn mutations_go_in_the_order_in_which_they_were_made(world: World) {
    let ana = world.ana().await;
    let (mut phone, case, goal) = with_a_goal(&ana).await;
    let set: Value =
        rating(&case.id, &goal, 1).as_object().expect("a row").iter().fold(json!({}), |mut set, (name, to)| {
            set[name] = json!({"from": null, "to": if name == "rated_on" { json!("2027-03-02") } else { to.clone() }});
            set
        });
    let rate =
        json!({"id": "mutation-rate", "op": "create", "table": "goal_ratings", "row_id": "rating-0001", "set": set});
    let complete = json!({"id": "mutation-complete", "op": "action", "verb": "complete", "table": "goals", "row_id": goal,
        "set": {"achievement": {"from": "in_progress", "to": "achieved"}, "outcome_reason": {"from": null, "to": "she says so"}}});
    let results = mutates(&ana, json!([rate, complete])).await;
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!("applied"), &json!("applied")), "{results:?}");
    phone.pulls().await;
    assert_eq!(phone.column("goals", &goal, "lifecycle"), json!("completed"));
}

async fn an_object_is_the_same_in_any_order_of_its_members(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let mut body = smart(&case);
    body["gas_text"] = json!({"-2": "none", "-1": "one", "0": "two", "1": "three", "2": "more"});
    body["client_agreement"] = json!({"words": "yes", "how": "spoken", "on": "2027-03-01", "by": "client"});
    let goal = text(&ana.post("/goals", body).await.ok()["id"]);
    // Swift writes members in any order.
    let from = json!({"on": "2027-03-01", "by": "client", "words": "yes", "how": "spoken"});
    let to = json!({"how": "written", "words": "yes", "by": "client", "on": "2027-03-01"});
    let set = json!({"client_agreement": {"from": from, "to": to}});
    let update = json!({"id": "mutation-agree", "op": "update", "table": "goals", "row_id": goal, "set": set});
    let results = mutates(&ana, json!([update])).await;
    assert_eq!(results[0]["status"], json!("applied"), "{results:?}");
    assert_eq!(results[0]["row"]["client_agreement"]["how"], json!("written"));
    // JavaScript puts names that are numbers first.
    let goals = Collection::of(&ana, "goals");
    let mut held = ana.get(&format!("/goals/{goal}")).await.ok();
    held["gas_text"] = json!({"0": "two", "1": "three", "2": "more", "-2": "none", "-1": "one"});
    let mut gone = held.clone();
    gone["_deleted"] = json!(true);
    held["_deleted"] = json!(false);
    assert_eq!(goals.pushes(Some(&held), &gone).await, Vec::<Value>::new());
    ana.get(&format!("/goals/{goal}")).await.refused(404);
}
