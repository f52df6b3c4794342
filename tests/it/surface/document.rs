//! The document holds what it promises: its examples are taken, answers fit its schemas, refusals too. What it did
//! not say was found by a generator that feeds on it.

use serde_json::{Value, json};

use crate::support::{Document, Person, World, on_both};

on_both!(
    every_example_fits_its_schema,
    the_bodies_of_sync_that_the_document_shows_are_taken,
    the_pages_of_every_face_fit_what_the_document_says,
    the_refusals_of_sync_fit_what_the_document_says,
    what_only_the_server_makes_is_not_offered,
    a_page_that_is_too_long_is_refused_as_documented,
    a_list_takes_the_filters_that_the_document_names_and_no_others,
);

/// Ana, and a case of hers with a goal in it.
pub(super) async fn a_goal(world: &World) -> (Person, String, String) {
    let ana = world.ana().await;
    let case = text(&ana.post("/cases", json!({"summary": "Draws well"})).await.ok()["id"]);
    let goal = json!({"case_id": case, "level": "individual", "statement": "Paint every week"});
    let goal = text(&ana.post("/goals", goal).await.ok()["id"]);
    (ana, case, goal)
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

async fn every_example_fits_its_schema(world: World) {
    let document = Document::of(&world).await;
    let examples = document.examples();
    assert!(examples.len() > 250, "{}", examples.len());
    for (at, schema, example) in examples {
        document.fits(schema, example).unwrap_or_else(|why| panic!("{at}: {why}"));
    }
}

async fn the_bodies_of_sync_that_the_document_shows_are_taken(world: World) {
    let document = Document::of(&world).await;
    let (ana, ..) = a_goal(&world).await;
    for (id, path) in [
        ("push", "/sync?last_pulled_at=0"),
        ("native_push", "/sync/push"),
        ("rxdb_push", "/sync/rxdb/goals/push"),
        ("rescue", "/sync/quarantine"),
        ("salvage", "/sync/salvage"),
        ("repair", "/sync/repair"),
    ] {
        let example = document.example(id);
        assert!(example.to_string().len() > 40, "{id} shows {example}");
        let answer = ana.post(path, example).await.ok();
        document.describes(id, 200, &answer);
    }
    let wrapped = json!({"lastPulledAt": 0, "changes": document.example("push")});
    document.fits(&json!({"$ref": "#/components/schemas/Push"}), &wrapped).expect("the other shape");
    ana.post("/sync", wrapped).await.ok();
}

async fn the_pages_of_every_face_fit_what_the_document_says(world: World) {
    let document = Document::of(&world).await;
    let (ana, case, goal) = a_goal(&world).await;
    ana.patch(&format!("/goals/{goal}"), json!({"statement": "Paint twice a week"})).await.ok();
    for (id, path) in [
        ("pull", "/sync".to_owned()),
        ("native_pull", "/sync/pull".into()),
        ("rxdb_pull", "/sync/rxdb/goals/pull".into()),
        ("digest", "/sync/digest".into()),
        ("digest", format!("/sync/digest?case_id={case}")),
        ("sync_schema", "/sync/schema".into()),
        ("history_Goal", format!("/goals/{goal}/history")),
    ] {
        let page = ana.get(&path).await.ok();
        assert!(
            id == "sync_schema" || page.to_string().contains(&case) || page.to_string().contains("items"),
            "{page}"
        );
        document.describes(id, 200, &page);
    }
    let staff = ana.get("/sync/digest?table=staff").await.ok();
    assert!(staff.to_string().contains(&ana.user_id()), "{staff}");
    document.describes("digest", 200, &staff);
    let wrong = json!({"changes": {"goals": {"created": [], "updated": [{"id": 5}], "deleted": []}}, "timestamp": 1,
        "has_more": false, "complete": true, "epoch": 1});
    let schema = &document.operations()["pull"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert!(document.fits(schema, &wrong).is_err(), "the schema says what a row is");
}

async fn the_refusals_of_sync_fit_what_the_document_says(world: World) {
    let document = Document::of(&world).await;
    let (ana, _, goal) = a_goal(&world).await;
    let seen = ana.get("/sync").await.ok()["timestamp"].clone();
    let other = ana.on_another_device();
    other.logs_in().await;
    let edit = |words: &str| {
        let row = json!({"id": goal, "statement": words, "_changed": "statement", "_status": "updated"});
        json!({"goals": {"created": [], "updated": [row], "deleted": []}})
    };
    let push = format!("/sync?last_pulled_at={seen}");
    world.pass_secs(1);
    other.post(&push, edit("Paint at dawn")).await.ok();
    let conflict = ana.post(&push, edit("Paint at dusk")).await.refused(409);
    assert_eq!(conflict["conflicts"][0]["id"], json!(goal));
    document.describes("push", 409, &conflict);
    let old = ana.get("/sync?schema_version=0").await.refused(426);
    document.describes("pull", 426, &old);
    let many: Vec<String> = (0..5001).map(|at| format!("goal-{at:05}")).collect();
    let large = ana.post("/sync/salvage", json!({"goals": {"deleted": many}})).await.refused(413);
    assert_eq!(large["max_rows"], 5000);
    document.describes("salvage", 413, &large);
    let wrong = ana.post("/sync/repair", json!({"rows": [{}]})).await.refused(400);
    document.describes("repair", 400, &wrong);
    let bare =
        json!({"type": "urn:x", "title": "x", "status": 426, "detail": "", "request_id": "", "code": "schema_too_old"});
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| document.describes("pull", 426, &bare)));
    assert!(said.is_err(), "a 426 says which schema is served");
}

async fn what_only_the_server_makes_is_not_offered(world: World) {
    let document = Document::of(&world).await;
    let ana = world.ana().await;
    for (table, id) in [("prompts", "create_Prompt"), ("sync_issues", "create_SyncIssue")] {
        assert!(!document.operations().contains_key(id), "{id}");
        ana.post(&format!("/{table}"), json!({})).await.refused(405);
    }
}

async fn a_page_that_is_too_long_is_refused_as_documented(world: World) {
    let document = Document::of(&world).await;
    let ada = world.ada().await;
    for (id, path) in [("list_users", "/users"), ("list_refused_addresses", "/refused_addresses")] {
        let problem = ada.get(&format!("{path}?limit=201")).await.refused(422);
        document.describes(id, 422, &problem);
    }
}

async fn a_list_takes_the_filters_that_the_document_names_and_no_others(world: World) {
    let document = Document::of(&world).await;
    let (ana, case, _) = a_goal(&world).await;
    for table in entities::registry::TABLES.iter().filter(|table| table.readers.contains(&entities::Role::Caseworker)) {
        let list = document.operations()[format!("list_{}", table.name).as_str()];
        let named =
            |name: &str| list["parameters"].as_array().expect("parameters").iter().any(|one| one["name"] == name);
        for column in table.columns.iter().map(|column| column.name) {
            // What is no value is refused otherwise than what is no filter.
            let answer = ana.get(&format!("/{}?{column}=%20", table.name)).await;
            let code = answer.refused(422)["errors"][0]["code"].clone();
            assert_eq!(named(column), code != "unknown_filter", "{} {column}: {code}", table.name);
        }
    }
    let listed = ana.get(&format!("/cases?id={case}&created_by={}", ana.user_id())).await.ok();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}
