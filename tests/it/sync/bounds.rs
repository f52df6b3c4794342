//! Rules with a number in them, at that number: the third conflict, a day of waiting, two weeks of grace.

use entities::casework::{case, case_assignment};
use entities::{Actor, sql};
use serde_json::{Value, json};

use super::reach::with_person;
use super::rules::{goal, hands_over, opens_case};
use crate::support::{Phone, World, on_both};

on_both!(
    the_third_conflict_in_a_row_is_settled_row_by_row_and_the_loser_is_in_history,
    an_immediate_loss_waits_for_no_unsent_work,
    a_person_is_taken_as_the_last_of_their_cases_is,
    deletes_wait_for_unsent_work_a_day_and_no_longer,
    late_work_is_taken_in_for_two_weeks_and_no_longer,
    a_cover_that_is_over_is_ended_by_a_worker_alone,
    as_many_covers_as_there_are_end_at_once,
);

const DAY: i64 = 86_400_000;

fn note(world: &World, case: &str, body: &str) -> Value {
    json!({"case_id": case, "body": body, "kind": "progress", "status": "signed",
        "occurred_at": world.clock.now().0})
}

fn deleted(page: &Value, table: &str) -> Vec<Value> {
    page["changes"][table]["deleted"].as_array().expect("a list").clone()
}

async fn the_third_conflict_in_a_row_is_settled_row_by_row_and_the_loser_is_in_history(world: World) {
    let ana = world.ana().await;
    let (mut phone, mut tablet) = (Phone::of(&ana), Phone::of(&ana.on_another_device()));
    tablet.person.logs_in().await;
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk to the market"));
    phone.syncs().await;
    phone.syncs().await;
    tablet.syncs().await;
    phone.edits("goals", &id, json!({"unit": "walks"}));
    let beside = phone.creates("notes", note(&world, &case, "Beside a conflict"));
    let mut answers = Vec::new();
    for value in ["rounds", "trips", "tours"] {
        // The phone pulls, and before it pushes the tablet has been quicker.
        phone.pulls().await;
        world.pass_secs(1);
        tablet.syncs().await;
        tablet.edits("goals", &id, json!({"unit": value}));
        tablet.syncs().await;
        world.pass_secs(1);
        let answer = phone.pushes().await.expect("something to push");
        answers.push(answer.status);
        if answer.status == 409 {
            let told = &answer.json()["conflicts"];
            assert_eq!((&told[0]["table"], &told[0]["id"]), (&json!("goals"), &json!(id)));
            tablet.pulls().await;
            assert_eq!(tablet.column("goals", &id, "unit"), json!(value), "nothing of it is stored");
            assert!(tablet.row("notes", &beside).is_none(), "nothing beside it either");
        }
    }
    assert_eq!(answers, [409, 409, 200]);
    assert!(!phone.has_unsynced_changes());
    phone.syncs().await;
    tablet.syncs().await;
    for held in [&phone, &tablet] {
        assert_eq!(held.column("goals", &id, "unit"), json!("walks"), "the one that lost twice");
        assert!(held.row("notes", &beside).is_some());
    }
    let history = ana.get(&format!("/goals/{id}/history")).await.ok();
    let lost = history["items"].as_array().expect("a list").iter().filter(|item| item["old"]["unit"] == json!("tours"));
    assert_eq!(lost.count(), 1, "{history}");
    // They are counted in a row: the next one is the first again.
    tablet.edits("goals", &id, json!({"unit": "miles"}));
    tablet.syncs().await;
    phone.edits("goals", &id, json!({"unit": "steps"}));
    assert_eq!(phone.pushes().await.expect("something to push").status, 409);
}

async fn an_immediate_loss_waits_for_no_unsent_work(world: World) {
    let (ben, sam) = (world.ben().await, world.sam().await);
    for (immediate, at_once) in [(false, false), (true, true)] {
        let mut phone = Phone::of(&world.ana().await);
        let case = opens_case(&mut phone).await;
        phone.creates("notes", note(&world, &case, "Not sent yet"));
        let to = json!({"user_id": ben.user_id(), "role": "primary", "reason": "Today", "immediate": immediate});
        sam.post(&format!("/cases/{case}/assignments"), to).await.ok();
        world.pass_secs(1);
        let page = phone.asks("&pending=1").await.ok();
        assert_eq!(deleted(&page, "cases").contains(&json!(case)), at_once, "immediate: {immediate}");
    }
}

async fn a_person_is_taken_as_the_last_of_their_cases_is(world: World) {
    let (ben, sam) = (world.ben().await, world.sam().await);
    for last_at_once in [false, true] {
        let mut phone = Phone::of(&world.ana().await);
        let (first, person) = with_person(&mut phone, "Noor").await;
        let second = opens_case(&mut phone).await;
        phone.creates("case_parties", json!({"case_id": second, "person_id": person, "role": "primary_client"}));
        phone.syncs().await;
        phone.syncs().await;
        for (case, immediate) in [(&first, !last_at_once), (&second, last_at_once)] {
            let to = json!({"user_id": ben.user_id(), "role": "primary", "reason": "Today", "immediate": immediate});
            sam.post(&format!("/cases/{case}/assignments"), to).await.ok();
            world.pass_secs(1);
        }
        let page = phone.asks("&pending=1").await.ok();
        assert_eq!(deleted(&page, "persons").contains(&json!(person)), last_at_once, "at once: {last_at_once}");
    }
}

async fn deletes_wait_for_unsent_work_a_day_and_no_longer(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.pulls().await;
    phone.creates("notes", note(&world, &case, "Not sent for long"));
    hands_over(&world, &case, "ben@demo.example").await;
    let asked = world.clock.now();
    for (later, given) in [(0, false), (DAY / 2, false), (DAY, false), (DAY + 1, true)] {
        world.clock.set(asked.plus_ms(later));
        let page = phone.asks("&pending=1").await.ok();
        assert_eq!(deleted(&page, "cases").contains(&json!(case)), given, "after {later} ms");
        phone.applies(&page);
    }
}

async fn late_work_is_taken_in_for_two_weeks_and_no_longer(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let (in_time, too_late) = (note(&world, &case, "Told in time"), note(&world, &case, "Told too late"));
    world.pass_secs(3600);
    let ended = world.clock.now();
    hands_over(&world, &case, "ben@demo.example").await;
    let mut ben = Phone::of(&world.ben().await);
    for (row, after, taken) in [(in_time, 14 * DAY, true), (too_late, 14 * DAY + 1, false)] {
        world.clock.set(ended.plus_ms(after));
        let id = phone.creates("notes", row);
        phone.pushes().await.expect("a note").ok();
        ben.pulls().await;
        assert_eq!(ben.row("notes", &id).is_some(), taken, "after {after} ms");
        let kinds: Vec<Value> = ben
            .ids("sync_issues")
            .iter()
            .filter(|issue| ben.column("sync_issues", issue, "about_id") == json!(id))
            .map(|issue| ben.column("sync_issues", issue, "kind"))
            .collect();
        assert_eq!(kinds, [json!(if taken { "late_accepted" } else { "quarantined" })]);
    }
}

/// Nobody pulls, pushes or lists: what time alone changes is settled by the worker too.
async fn a_cover_that_is_over_is_ended_by_a_worker_alone(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_case(&mut Phone::of(&ana)).await;
    let window = json!({"user_id": ben.user_id(), "role": "covering", "reason": "A day off",
        "from": world.clock.now().rfc3339(), "to": world.clock.now().plus_ms(DAY).rfc3339()});
    sam.post(&format!("/cases/{case}/assignments"), window).await.ok();
    let mut phone = Phone::of(&ben);
    phone.pulls().await;
    assert!(phone.ids("cases").contains(&case));
    let open = async || {
        let text = "select count(*) from sync_access where user_id = $1 and scope = $2 and visible";
        let values = vec![ben.user_id().into(), format!("case:{case}").into()];
        let row = sql::one(world.store.connection(), text, values).await.expect("an answer").expect("a row");
        row.try_get_by_index::<i64>(0).expect("a number")
    };
    let nowhere = worker::Mailer::to_server(None, "desk@riverbend.example", "https://desk.riverbend.example");
    let nowhere = nowhere.expect("a mailer");
    let began = world.clock.now();
    for (later, left) in [(DAY - 1, 1), (DAY, 0)] {
        world.clock.set(began.plus_ms(later));
        worker::drain_once(&world.store, &nowhere, None).await.expect("it works");
        assert_eq!(open().await, left, "{later} ms after the cover began");
    }
}

/// More than are settled in one transaction.
async fn as_many_covers_as_there_are_end_at_once(world: World) {
    const COVERS: usize = 501;
    let ben = world.ben().await;
    let mut phone = Phone::of(&ben);
    let began = world.clock.now();
    let mut write = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    for _ in 0..COVERS {
        let made = case::Model { unit: "individual".into(), episode_no: 1, ..Default::default() };
        let made = write.create::<case::Entity>(made).await.expect("a case");
        let cover = case_assignment::Model {
            case_id: made.id,
            user_id: ben.user_id(),
            role: "covering".into(),
            from_ts: began,
            to_ts: Some(began.plus_ms(DAY)),
            ..Default::default()
        };
        write.create::<case_assignment::Entity>(cover).await.expect("a cover");
    }
    write.commit().await.expect("a commit");
    phone.pulls().await;
    let cases = phone.ids("cases");
    assert_eq!(cases.len(), COVERS);
    world.clock.set(began.plus_ms(DAY));
    // A push is judged after all of them have ended.
    let last = cases.last().expect("a case");
    phone.creates("notes", json!({"case_id": last, "body": "a day too late", "kind": "progress"}));
    for case in &cases {
        phone.edits("cases", case, json!({"summary": "a day too late"}));
    }
    phone.pushes().await.expect("work").ok();
    let text = "select count(*) from cases where summary is not null";
    let row = sql::one(world.store.connection(), text, vec![]).await.expect("an answer").expect("a row");
    assert_eq!(row.try_get_by_index::<i64>(0).expect("a number"), 0);
    phone.pulls().await;
    assert!(phone.ids("cases").is_empty());
}
