//! The contract of docs/sync.md, rule by rule, over HTTP.

use std::io::Write as _;

use entities::casework::case_assignment;
use entities::partners::organization;
use entities::people::user;
use entities::{Actor, Role, read};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_first_sync_begins_with_any_of_the_four_words,
    a_pull_without_news_is_empty_in_every_table,
    a_push_is_taken_as_text_and_as_gzip,
    what_the_server_does_not_know_is_ignored,
    two_edits_of_one_row_both_survive_one_retry,
    creating_what_exists_and_updating_what_does_not_are_no_errors,
    a_replayed_push_changes_nothing,
    handing_a_case_over_moves_every_row,
    unsent_work_survives_the_loss_of_its_case,
    work_done_in_time_is_taken_in_late,
    a_column_left_out_keeps_its_value,
    a_number_is_written_alike_by_both_databases_and_in_every_face,
    children_may_come_before_their_parents,
    a_body_with_too_many_rows_stores_nothing,
    bad_text_is_mended_and_told,
    a_narrowed_note_leaves_one_phone_and_stays_on_the_other,
    an_illegal_move_is_ignored_told_and_sent_back,
    a_stranger_and_a_partner_get_nothing,
    an_id_of_somebody_else_answers_like_one_that_is_free,
    an_app_that_grows_is_filled_in,
    a_page_holds_two_thousand_rows_and_ends_on_a_commit,
);

/// Opens a case offline and sends it; gives its id.
pub(super) async fn opens_case(phone: &mut Phone) -> String {
    if phone.cursor.is_none() {
        phone.pulls().await;
    }
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "First steps"}));
    phone.syncs().await;
    phone.syncs().await;
    case
}

async fn a_number_is_written_alike_by_both_databases_and_in_every_face(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let case = opens_case(&mut ana).await;
    let mut measured = goal(&case, "Walk to the market");
    (measured["baseline_value"], measured["target_value"]) = (json!(-2), json!(2.5));
    let id = ana.creates("goals", measured);
    ana.syncs().await;
    let pulled = Phone::of(&ana.person).asks("").await.text;
    let read = ana.person.get(&format!("/goals/{id}")).await.text;
    for text in [pulled, read] {
        assert!(text.contains("\"baseline_value\":-2.0,\"target_value\":2.5,"), "{text}");
    }
}

/// What a supervisor does at the desk: ends the primary's time and begins another's, in one commit.
pub(super) async fn hands_over(world: &World, case: &str, to: &str) {
    let to = world.id_of(to).await;
    let mut write = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let open = read::models::<case_assignment::Entity>(
        write.conn(),
        "t.case_id = $1 and t.role = 'primary' and t.to_ts is null",
        vec![case.into()],
    );
    for before in open.await.expect("assignments") {
        let after = case_assignment::Model { to_ts: Some(write.now()), ..before.clone() };
        write.change::<case_assignment::Entity>(&before, after).await.expect("ended");
    }
    let next = case_assignment::Model {
        case_id: case.into(),
        user_id: to,
        role: "primary".into(),
        from_ts: write.now(),
        reason: Some("handed over".into()),
        ..entities::registry::fresh::<case_assignment::Entity>().expect("registered")
    };
    write.create::<case_assignment::Entity>(next).await.expect("assigned");
    write.commit().await.expect("commit");
    world.pass_secs(1);
}

pub(super) fn goal(case: &str, statement: &str) -> Value {
    json!({"case_id": case, "level": "individual", "statement": statement, "lifecycle": "draft",
        "achievement": "in_progress"})
}

fn note(case: &str, body: &str) -> Value {
    json!({"case_id": case, "body": body, "kind": "progress", "visibility": "team", "status": "draft"})
}

async fn issues(phone: &mut Phone) -> Vec<Value> {
    phone.pulls().await;
    let ids = phone.ids("sync_issues");
    ids.iter().map(|id| Value::Object(phone.row("sync_issues", id).expect("held").clone())).collect()
}

async fn a_first_sync_begins_with_any_of_the_four_words(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    for word in ["null", "0", "", "undefined"] {
        let page = ana.get(&format!("/sync?last_pulled_at={word}&schema_version=1&migration=null")).await.ok();
        let cases = page["changes"]["cases"]["updated"].as_array().expect("a list");
        assert_eq!(cases.iter().map(|row| row["id"].as_str()).collect::<Vec<_>>(), [Some(case.as_str())], "{word}");
        let timestamp = page["timestamp"].as_i64().expect("a whole number");
        assert!(timestamp > 0 && timestamp < 1 << 53);
        for (table, changes) in page["changes"].as_object().expect("tables") {
            assert_eq!(changes["deleted"], json!([]), "{table}");
            assert_eq!(changes["created"], json!([]), "{table}");
        }
    }
    let wrong = ana.get("/sync?last_pulled_at=yesterday").await;
    assert_eq!((wrong.status, wrong.header("content-type")), (400, "application/problem+json"));
}

async fn a_pull_without_news_is_empty_in_every_table(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    opens_case(&mut phone).await;
    phone.pulls().await;
    let at = phone.cursor.expect("pulled");
    for _ in 0..3 {
        let page = phone.pulls().await;
        assert!(page["timestamp"].as_i64().expect("a number") >= at);
        let tables = page["changes"].as_object().expect("tables");
        assert_eq!(tables.len(), entities::registry::TABLES.len());
        for (table, changes) in tables {
            assert_eq!(*changes, json!({"created": [], "updated": [], "deleted": []}), "{table}");
        }
    }
}

async fn a_push_is_taken_as_text_and_as_gzip(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Paint once a week, at the table by the window"));
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(phone.outgoing().to_string().as_bytes()).expect("memory");
    let path = format!("/sync?last_pulled_at={}", phone.cursor.expect("pulled"));
    let request =
        ana.request(Method::POST, &path).header("content-encoding", "gzip").body(packer.finish().expect("memory"));
    ana.send("a gzipped push", request).await.ok();
    let mut other = Phone::of(&ana);
    other.pulls().await;
    assert_eq!(other.column("goals", &id, "lifecycle"), json!("draft"));
    let request = ana.request(Method::POST, &path).header("content-encoding", "zzz").body("{}");
    assert_eq!(ana.send("an unknown encoding", request).await.status, 415);
}

async fn what_the_server_does_not_know_is_ignored(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let mut row = goal(&case, "Call the school before Friday");
    row["id"] = json!("goal-0000001");
    row["colour"] = json!("green");
    row["__proto__"] = json!({"polluted": true});
    row["_status"] = json!("created");
    row["agency_id"] = json!("another-agency");
    let changes = json!({
        "goals": {"created": [row], "updated": [], "deleted": []},
        "spaceships": {"created": [{"id": "ship-000001"}], "updated": [], "deleted": []},
        "__proto__": {"created": [], "updated": [], "deleted": []},
    });
    phone.sends(&changes).await.ok();
    phone.pulls().await;
    let stored = phone.row("goals", "goal-0000001").expect("stored").clone();
    for name in ["colour", "__proto__", "_status", "agency_id"] {
        assert!(!stored.contains_key(name), "{name}");
    }
}

async fn two_edits_of_one_row_both_survive_one_retry(world: World) {
    let ana = world.ana().await;
    let (mut phone, mut tablet) = (Phone::of(&ana), Phone::of(&ana.on_another_device()));
    tablet.person.logs_in().await;
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk to the market with Mira"));
    phone.syncs().await;
    tablet.syncs().await;
    world.pass_secs(5);
    tablet.edits("goals", &id, json!({"measure": "twice a week"}));
    tablet.syncs().await;
    // The phone pulled before that and has changed another column: no conflict at all.
    phone.edits("goals", &id, json!({"why_it_matters": "I want to see people again"}));
    phone.pushes().await.expect("something to push").ok();
    // Now both change the same column.
    tablet.syncs().await;
    tablet.edits("goals", &id, json!({"unit": "walks"}));
    tablet.syncs().await;
    phone.edits("goals", &id, json!({"unit": "trips", "cadence": "weekly"}));
    let refused = phone.pushes().await.expect("something to push");
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["code"], json!("sync_conflict"));
    assert_eq!(refused.json()["conflicts"][0]["id"], json!(id));
    phone.syncs().await;
    tablet.syncs().await;
    for (column, value) in [
        ("measure", "twice a week"),
        ("why_it_matters", "I want to see people again"),
        ("unit", "trips"),
        ("cadence", "weekly"),
    ] {
        assert_eq!(tablet.column("goals", &id, column), json!(value), "{column}");
    }
}

async fn creating_what_exists_and_updating_what_does_not_are_no_errors(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Sleep through the night"));
    phone.syncs().await;
    let mut row = goal(&case, "Sleep through the night, most nights");
    row["id"] = json!(id);
    phone.sends(&json!({"goals": {"created": [row.clone()], "updated": [], "deleted": []}})).await.ok();
    row["id"] = json!("never-seen-1");
    row["_changed"] = json!("statement");
    phone.sends(&json!({"goals": {"created": [], "updated": [row], "deleted": ["nobody-knows-1"]}})).await.ok();
    phone.pulls().await;
    assert_eq!(phone.column("goals", &id, "statement"), json!("Sleep through the night, most nights"));
    assert_eq!(phone.column("goals", "never-seen-1", "case_id"), json!(case));
}

async fn a_replayed_push_changes_nothing(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Write to the landlord"));
    let lost = phone.outgoing();
    phone.sends(&lost).await.ok();
    world.pass_secs(1);
    let mut other = Phone::of(&phone.person);
    other.pulls().await;
    let before = other.row("goals", &id).cloned();
    for _ in 0..4 {
        phone.sends(&lost).await.ok();
    }
    let news = other.pulls().await;
    assert_eq!(news["changes"]["goals"]["updated"], json!([]));
    assert_eq!(other.row("goals", &id).cloned(), before);
    phone.syncs().await;
    assert!(!phone.has_unsynced_changes());
}

async fn handing_a_case_over_moves_every_row(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let case = opens_case(&mut ana).await;
    let goal_id = ana.creates("goals", goal(&case, "Find a room near the school"));
    let note_id = ana.creates("notes", note(&case, "Looked at three rooms together."));
    ana.syncs().await;
    world.pass_secs(3600);
    ben.pulls().await;
    assert!(ben.ids("cases").is_empty());
    hands_over(&world, &case, "ben@demo.example").await;
    // Pushed before the phone has heard of it: what it pushed since goes too.
    ben.pulls().await;
    assert!(
        ben.ids("cases").contains(&case) && ben.ids("goals").contains(&goal_id) && ben.ids("notes").contains(&note_id)
    );
    let page = ana.pulls().await;
    for (table, id) in [("cases", &case), ("goals", &goal_id), ("notes", &note_id)] {
        assert!(page["changes"][table]["deleted"].as_array().expect("a list").contains(&json!(id)), "{table}");
    }
    let left: usize =
        ana.everything().iter().filter(|(table, _)| *table != "staff" && *table != "organizations").count();
    assert_eq!(left, 0, "{:?}", ana.everything().keys());
    // Back again between two pulls is calm.
    hands_over(&world, &case, "ana@demo.example").await;
    hands_over(&world, &case, "ben@demo.example").await;
    let page = ben.pulls().await;
    assert_eq!(page["changes"]["goals"]["deleted"], json!([]));
    assert!(ben.ids("goals").contains(&goal_id));
}

async fn unsent_work_survives_the_loss_of_its_case(world: World) {
    let (mut ana, mut ben, mut sam) =
        (Phone::of(&world.ana().await), Phone::of(&world.ben().await), Phone::of(&world.sam().await));
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Open a bank account"));
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    world.pass_secs(60);
    ana.edits("goals", &id, json!({"why_it_matters": "planted-word-kitchen"}));
    let page = ana.asks("&pending=1").await.ok();
    ana.applies(&page);
    assert!(ana.ids("goals").contains(&id), "deletes wait for the unsent work");
    ana.pushes().await.expect("something to push").ok();
    world.pass_secs(1);
    ana.syncs().await;
    assert!(!ana.ids("goals").contains(&id) && !ana.has_unsynced_changes());
    let own = issues(&mut ana).await;
    assert!(
        own.iter().any(|issue| issue["kind"] == "quarantined" && issue["detail"].to_string().contains("kitchen")),
        "{own:?}"
    );
    for phone in [&mut ben, &mut sam] {
        let told = issues(phone).await;
        assert!(told.iter().any(|issue| issue["kind"] == "quarantined" && issue["about_id"] == json!(id)), "{told:?}");
        assert!(!json!(told).to_string().contains("kitchen"), "others read it under the rights of the case");
    }
    assert_eq!(ben.column("goals", &id, "why_it_matters"), Value::Null);
}

async fn work_done_in_time_is_taken_in_late(world: World) {
    let (mut ana, mut ben) = (Phone::of(&world.ana().await), Phone::of(&world.ben().await));
    let case = opens_case(&mut ana).await;
    let mut row = note(&case, "At the kitchen table, before the holidays.");
    (row["occurred_at"], row["status"]) = (json!(world.clock.now().0), json!("signed"));
    let draft =
        json!({"case_id": case, "body": "Half a thought", "kind": "progress", "occurred_at": row["occurred_at"]});
    let before = json!({"occurred_at": world.clock.now().plus_ms(-30 * 86_400_000).0, "status": "signed",
        "case_id": case, "body": "Long before it was hers", "kind": "progress"});
    world.pass_secs(3600);
    hands_over(&world, &case, "ben@demo.example").await;
    world.pass_secs(3600);
    let id = ana.creates("notes", row);
    // A draft could be signed by nobody, and what happened before her time is not hers to tell.
    let others = [ana.creates("notes", draft), ana.creates("notes", before)];
    let mut too_late = note(&case, "Happened when the case was another's.");
    (too_late["occurred_at"], too_late["status"]) = (json!(world.clock.now().0), json!("signed"));
    let other = ana.creates("notes", too_late);
    ana.pushes().await.expect("something to push").ok();
    ana.syncs().await;
    assert!(ana.ids("notes").is_empty(), "its author does not see it any more");
    ben.pulls().await;
    assert_eq!(ben.column("notes", &id, "late"), json!(true));
    assert_eq!(ben.column("notes", &id, "author_id"), json!(ana.person.user_id()));
    let told = issues(&mut ben).await;
    assert!(told.iter().any(|issue| issue["kind"] == "late_accepted" && issue["about_id"] == json!(id)));
    for other in others.iter().chain([&other]) {
        assert!(ben.row("notes", other).is_none());
        assert!(told.iter().any(|issue| issue["kind"] == "quarantined" && issue["about_id"] == json!(other)));
    }
}

async fn a_column_left_out_keeps_its_value(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let mut row = goal(&case, "Cook together on Sundays");
    row["measure"] = json!("a photo of the table");
    let id = phone.creates("goals", row);
    phone.syncs().await;
    let old_app =
        json!({"id": id, "_status": "updated", "_changed": "statement", "statement": "Cook together", "case_id": case});
    phone.sends(&json!({"goals": {"created": [], "updated": [old_app], "deleted": []}})).await.ok();
    phone.pulls().await;
    assert_eq!(phone.column("goals", &id, "measure"), json!("a photo of the table"));
    assert_eq!(phone.column("goals", &id, "statement"), json!("Cook together"));
}

async fn children_may_come_before_their_parents(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    phone.pulls().await;
    let body = r#"{"notes":{"created":[{"id":"note-00000001","case_id":"case-00000001","body":"first","kind":"progress"}],
        "updated":[],"deleted":[]},"cases":{"created":[{"id":"case-00000001","unit":"family"}],"updated":[],"deleted":[]}}"#;
    phone.sends(&serde_json::from_str(body).expect("json")).await.ok();
    phone.pulls().await;
    assert_eq!(phone.column("notes", "note-00000001", "case_id"), json!("case-00000001"));
    assert_eq!(phone.ids("case_assignments").len(), 1, "who opens a case has it");
}

async fn a_body_with_too_many_rows_stores_nothing(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let rows: Vec<Value> = (0..6000)
        .map(|at| {
            let mut row = note(&case, "one of many");
            row["id"] = json!(format!("note-{at:08}"));
            row
        })
        .collect();
    let refused = phone.sends(&json!({"notes": {"created": rows, "updated": [], "deleted": []}})).await;
    assert_eq!(refused.status, 413);
    assert_eq!(refused.json()["max_rows"], json!(5000));
    phone.pulls().await;
    assert!(phone.ids("notes").is_empty());
}

async fn bad_text_is_mended_and_told(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let body = format!(
        r#"{{"goals":{{"created":[{{"id":"goal-00000001","case_id":"{case}","statement":"half \ud83d an emoji and a \u0000 nul",
        "confidence":99,"target_value":"a lot","lifecycle":"draft"}}],"updated":[],"deleted":[]}}}}"#
    );
    let path = format!("/sync?last_pulled_at={}", phone.cursor.expect("pulled"));
    ana.send("bad text", ana.request(Method::POST, &path).body(body)).await.ok();
    let told = issues(&mut phone).await;
    assert_eq!(phone.column("goals", "goal-00000001", "statement"), json!("half \u{fffd} an emoji and a  nul"));
    assert_eq!(phone.column("goals", "goal-00000001", "confidence"), Value::Null);
    assert_eq!(phone.column("goals", "goal-00000001", "target_value"), Value::Null);
    assert!(told.iter().any(|issue| issue["kind"] == "cleaned" && issue["about_id"] == "goal-00000001"), "{told:?}");
    let broken = ana.send("no JSON", ana.request(Method::POST, &path).body("{\"goals\":")).await;
    assert_eq!(broken.status, 400);
}

async fn a_narrowed_note_leaves_one_phone_and_stays_on_the_other(world: World) {
    let (mut ana, mut sam) = (Phone::of(&world.ana().await), Phone::of(&world.sam().await));
    let case = opens_case(&mut ana).await;
    let id = ana.creates("notes", note(&case, "Said in confidence."));
    ana.syncs().await;
    // Sam leads the team of whoever opens a case there.
    sam.pulls().await;
    let seen = sam.ids("notes").contains(&id);
    assert!(seen, "a supervisor sees a note of the team");
    ana.edits("notes", &id, json!({"visibility": "assigned"}));
    ana.syncs().await;
    let page = sam.pulls().await;
    assert_eq!(page["changes"]["notes"]["deleted"], json!([id]));
    ana.pulls().await;
    assert!(ana.ids("notes").contains(&id));
    // It never widens through sync.
    ana.edits("notes", &id, json!({"visibility": "team"}));
    ana.syncs().await;
    ana.pulls().await;
    sam.pulls().await;
    assert!(!sam.ids("notes").contains(&id));
    assert_eq!(ana.column("notes", &id, "visibility"), json!("assigned"));
}

async fn an_illegal_move_is_ignored_told_and_sent_back(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "too short"));
    phone.syncs().await;
    phone.edits("goals", &id, json!({"lifecycle": "completed", "measure": "kept all the same"}));
    phone.syncs().await;
    let told = issues(&mut phone).await;
    assert_eq!(phone.column("goals", &id, "lifecycle"), json!("draft"));
    assert_eq!(phone.column("goals", &id, "measure"), json!("kept all the same"));
    assert!(told.iter().any(|issue| issue["kind"] == "illegal_move" && issue["about_id"] == json!(id)), "{told:?}");
}

/// Gives a partner organisation a user, with the password of everybody.
async fn joins_as_partner(world: &World) {
    let mut write = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let bank = organization::Model {
        name: "Harbor Food Bank".into(),
        ..entities::registry::fresh::<organization::Entity>().expect("registered")
    };
    let bank = write.create::<organization::Entity>(bank).await.expect("a partner").id;
    let ana = user::by_email(write.conn(), "ana@demo.example").await.expect("users").expect("Ana");
    let pat = user::Model {
        partner_org_id: Some(bank),
        password_hash: ana.password_hash,
        password_set_at: ana.password_set_at,
        ..user::Model::new("Pat Pine", "pat@partner.example", Role::Partner)
    };
    user::create(&mut write, pat).await.expect("a user");
    write.commit().await.expect("commit");
}

async fn a_stranger_and_a_partner_get_nothing(world: World) {
    let stranger = world.stranger();
    assert_eq!(stranger.get("/sync?last_pulled_at=null").await.status, 401);
    assert_eq!(stranger.post("/sync?last_pulled_at=1", json!({})).await.status, 401);
    joins_as_partner(&world).await;
    let partner = world.person("pat@partner.example").await;
    assert_eq!(partner.get("/sync?last_pulled_at=null").await.status, 403);
    assert_eq!(partner.post("/sync?last_pulled_at=1", json!({})).await.status, 403);
    let mut ada = Phone::of(&world.ada().await);
    let mut ana = Phone::of(&world.ana().await);
    opens_case(&mut ana).await;
    ada.pulls().await;
    let held: Vec<String> = ada.everything().into_keys().collect();
    assert!(held.iter().all(|table| table == "staff" || table == "organizations"), "{held:?}");
}

async fn an_id_of_somebody_else_answers_like_one_that_is_free(world: World) {
    let (mut ana, mut omar) = (Phone::of(&world.ana().await), Phone::of(&world.omar().await));
    let case = opens_case(&mut ana).await;
    let id = ana.creates("goals", goal(&case, "Learn to swim this summer"));
    ana.syncs().await;
    omar.pulls().await;
    let own = opens_case(&mut omar).await;
    let mut taken = goal(&own, "Somebody else's row");
    taken["id"] = json!(id);
    let answer = omar.sends(&json!({"goals": {"created": [taken], "updated": [], "deleted": []}})).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "{}"));
    let mut foreign = goal(&case, "Into another agency's case");
    foreign["id"] = json!("goal-00000009");
    omar.sends(&json!({"goals": {"created": [foreign], "updated": [], "deleted": [id]}})).await.ok();
    ana.pulls().await;
    assert_eq!(ana.column("goals", &id, "statement"), json!("Learn to swim this summer"));
    assert!(ana.row("goals", "goal-00000009").is_none());
    let told = issues(&mut omar).await;
    assert_eq!(told.iter().filter(|issue| issue["kind"] == "quarantined").count(), 2);
    assert!(told.iter().all(|issue| issue["case_id"] != json!(case)), "nothing is told of the other agency");
}

async fn an_app_that_grows_is_filled_in(world: World) {
    let ana: Person = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Plant beans on the balcony"));
    phone.syncs().await;
    phone.pulls().await;
    let migration = r#"{"from":1,"tables":["goals","users; drop table goals"],"columns":[]}"#;
    let query: String = migration.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let before = phone.cursor.expect("pulled");
    let path = format!("/sync?last_pulled_at={before}&schema_version=1&migration={query}");
    let page = ana.get(&path).await.ok();
    assert_eq!(page["changes"]["goals"]["updated"][0]["id"], json!(id));
    assert_eq!(page["changes"]["notes"]["updated"], json!([]));
    assert!(page["timestamp"].as_i64() > phone.cursor);
    // The same once more, since its reply may have been lost: on a number of its own again.
    phone.applies(&page);
    let again = ana
        .get(&path.replace(
            &format!("last_pulled_at={}", before),
            &format!("last_pulled_at={}", phone.cursor.expect("pulled")),
        ))
        .await
        .ok();
    assert_eq!(again["changes"]["goals"]["updated"][0]["id"], json!(id));
    assert!(again["timestamp"].as_i64() > phone.cursor);
    let old = [
        ana.get("/sync?last_pulled_at=1&schema_version=0").await,
        ana.post("/sync?last_pulled_at=1&schema_version=0", json!({})).await,
        ana.get("/sync/pull?schema_version=0").await,
        ana.post("/sync/push?schema_version=0", json!({"mutations": []})).await,
        ana.get("/sync/rxdb/goals/pull?schema_version=0").await,
        ana.get("/sync/schema?version=0").await,
    ];
    for answer in old {
        assert_eq!(answer.refused(426)["min_schema"], json!(1));
    }
    ana.post("/sync/quarantine?schema_version=0", json!({})).await.ok();
    // An app that is ahead of the server is known by what the server could send it.
    for _ in 0..200 {
        world.pass_secs(301);
        ana.get(&format!("/sync?last_pulled_at={}&schema_version=99", phone.cursor.expect("pulled"))).await.ok();
        let device = ana.get("/devices").await.ok()["items"][0].clone();
        // Noted after the answer.
        if device["last_pull_at"].as_str() > Some("2027-03-01T15:05") {
            assert_eq!(device["schema_version"], json!(1));
            return;
        }
    }
    panic!("the pull was never noted");
}

async fn a_page_holds_two_thousand_rows_and_ends_on_a_commit(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    for (push, rows) in [1000, 1000, 10].into_iter().enumerate() {
        for row in 0..rows {
            phone.creates("notes", note(&case, &format!("{push} {row}")));
        }
        phone.syncs().await;
        world.pass_secs(1);
    }
    let mut fresh = Phone::of(&phone.person);
    let page = fresh.asks("&limit=5000").await.ok();
    fresh.applies(&page);
    assert_eq!((&page["has_more"], fresh.ids("notes").len()), (&json!(true), 2000));
    let rest = fresh.asks("&limit=5000").await.ok();
    fresh.applies(&rest);
    assert_eq!((&rest["has_more"], fresh.ids("notes").len()), (&json!(false), 2010));
}
