//! Pages and filters.

use std::collections::BTreeSet;

use serde_json::json;

use super::scene::{opens_a_case, text};
use crate::support::{World, on_both};

on_both!(
    a_list_is_read_to_its_end_while_others_write,
    a_cursor_serves_its_own_reader_and_question_only,
    filters_narrow_a_list_to_a_case_a_code_and_a_time,
    a_wrong_question_is_told_what_is_wrong_with_it,
);

async fn a_list_is_read_to_its_end_while_others_write(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let mut expected = BTreeSet::new();
    for number in 10..37 {
        let id = format!("note-number-{number}");
        ana.post("/notes", json!({"id": id, "case_id": case.id})).await.ok();
        expected.insert(id);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ana.get(&format!("/notes?limit=5{cursor}")).await.ok();
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().map(|row| text(&row["id"])));
        // Between pages a row that was read changes, one to come changes, and a new one comes first.
        ana.patch("/notes/note-number-10", json!({"body": cursor})).await.ok();
        ana.patch("/notes/note-number-36", json!({"body": cursor})).await.ok();
        ana.post("/notes", json!({"id": format!("note-a-{:04}", seen.len()), "case_id": case.id})).await.ok();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), expected.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

async fn a_cursor_serves_its_own_reader_and_question_only(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    for _ in 0..3 {
        ana.post("/notes", json!({"case_id": case.id})).await.ok();
    }
    let page = ana.get("/notes?limit=1").await.ok();
    let cursor = text(&page["next_cursor"]);
    assert!(!cursor.contains(&text(&page["items"][0]["id"])), "a cursor is opaque");
    ana.get(&format!("/notes?limit=2&cursor={cursor}")).await.ok();
    for (who, path) in [
        (&sam, format!("/notes?limit=1&cursor={cursor}")),
        (&ana, format!("/goals?limit=1&cursor={cursor}")),
        (&ana, format!("/notes?limit=1&status=draft&cursor={cursor}")),
        (&ana, "/notes?cursor=nonsense".to_owned()),
        (&ana, "/notes?cursor=".to_owned()),
    ] {
        who.get(&path).await.refused(400);
    }
}

async fn filters_narrow_a_list_to_a_case_a_code_and_a_time(world: World) {
    let ana = world.ana().await;
    let (one, two) = (opens_a_case(&ana).await, opens_a_case(&ana).await);
    let early = text(&ana.post("/goals", json!({"case_id": one.id, "level": "family"})).await.ok()["id"]);
    ana.post("/goals", json!({"case_id": two.id})).await.ok();
    world.pass_secs(60);
    let late = text(&ana.post("/goals", json!({"case_id": one.id})).await.ok()["id"]);
    ana.post(&format!("/goals/{late}/propose"), json!({})).await.ok();
    let count =
        async |query: &str| ana.get(&format!("/goals?{query}")).await.ok()["items"].as_array().expect("items").len();
    assert_eq!(count("").await, 3);
    assert_eq!(count(&format!("case_id={}", one.id)).await, 2);
    assert_eq!(count("level=family").await, 1);
    assert_eq!(count("lifecycle=draft,proposed").await, 3);
    assert_eq!(count("lifecycle=proposed").await, 1);
    assert_eq!(count(&format!("lifecycle=draft&case_id={}", one.id)).await, 1);
    assert_eq!(count("updated_since=2027-03-01T15:00:30Z").await, 1);
    assert_eq!(count("updated_since=2027-03-01T10:00:30-05:00").await, 1);
    assert_eq!(count("updated_since=2027-03-01T16:00:30+01:00").await, 1);
    ana.patch(&format!("/goals/{early}"), json!({"statement": "x"})).await.ok();
    assert_eq!(count("updated_since=2027-03-01T15:00:30Z").await, 2);
    assert_eq!(count("case_id=case-of-nobody").await, 0);
}

async fn a_wrong_question_is_told_what_is_wrong_with_it(world: World) {
    let ana = world.ana().await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "lifecycle=asleep",
        "updated_since=yesterday",
        "color=red",
        "statement=x",
        "level=family&level=group",
    ] {
        let problem = ana.get(&format!("/goals?{query}")).await.refused(422);
        let pointer = format!("/{}", query.split('=').next().unwrap_or_default());
        assert_eq!(problem["errors"][0]["pointer"], json!(pointer), "{query}");
    }
    assert_eq!(ana.get("/goals?limit=200").await.status, 200);
}
