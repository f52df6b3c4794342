//! One row: made, read, changed.

use serde_json::{Value, json};

use super::scene::{opens_a_case, text};
use crate::support::{World, on_both};

on_both!(
    a_case_opened_by_a_caseworker_is_theirs_with_a_random_reference_and_their_team,
    a_row_keeps_the_id_its_maker_gave_it_and_the_same_call_again_changes_nothing,
    the_same_call_again_is_known_by_what_it_says,
    an_id_in_use_out_of_sight_answers_as_if_there_were_nothing,
    every_fault_of_a_body_is_told_at_once,
    what_only_the_server_sets_is_refused,
    a_text_with_nul_is_refused_wherever_it_stands,
    a_change_needs_the_version_that_was_read,
    a_change_may_name_several_versions,
    null_takes_a_column_back,
    a_patch_reaches_into_an_object_and_a_restore_brings_it_back_whole,
    what_is_brought_back_has_to_be_there_and_the_newest_that_was_lost_is,
    a_reader_who_holds_the_version_is_told_that_nothing_changed,
    references_lead_to_rows_of_the_same_case,
    a_person_without_a_part_in_any_case_belongs_to_their_maker,
    a_signed_note_stands_and_only_its_visibility_narrows,
    a_draft_can_be_thrown_away_and_a_signed_note_cannot,
    the_document_names_every_table,
);

async fn a_case_opened_by_a_caseworker_is_theirs_with_a_random_reference_and_their_team(world: World) {
    let ana = world.ana().await;
    let made = ana.post("/cases", json!({})).await;
    assert_eq!(made.status, 201);
    let location = made.header("location").to_owned();
    let case = made.ok();
    assert_eq!(location, format!("/api/v1/cases/{}", text(&case["id"])));
    let reference = text(&case["reference"]);
    assert_eq!(reference.len(), 9);
    assert!(reference.bytes().all(|byte| b"23456789BCDFGHJKMNPQRSTVWXZ".contains(&byte)), "{reference}");
    assert_ne!(ana.post("/cases", json!({})).await.ok()["reference"], case["reference"]);
    let sam = world.sam().await;
    assert_eq!(sam.get(&format!("/cases/{}", text(&case["id"]))).await.ok()["team_id"], case["team_id"]);
    let held = ana.get(&format!("/case_assignments?case_id={}", text(&case["id"]))).await.ok();
    assert_eq!(held["items"][0]["role"], "primary");
    assert_eq!(held["items"][0]["user_id"], json!(ana.user_id()));
}

async fn a_row_keeps_the_id_its_maker_gave_it_and_the_same_call_again_changes_nothing(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let note = json!({"id": "note-from-phone-1", "case_id": case.id, "body": "Kind and tired"});
    let first = ana.post("/notes", note.clone()).await;
    assert_eq!(first.status, 201);
    let again = ana.post("/notes", note).await;
    assert_eq!(again.status, 200);
    assert_eq!(first.ok(), again.ok());
    let other = json!({"id": "note-from-phone-1", "case_id": case.id, "body": "Something else"});
    assert_eq!(ana.post("/notes", other).await.refused(409)["code"], "id_in_use");
    let wrong = json!({"id": "a b", "case_id": case.id});
    assert_eq!(ana.post("/notes", wrong).await.refused(422)["errors"][0]["pointer"], "/id");
}

async fn the_same_call_again_is_known_by_what_it_says(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let hidden = json!({"id": "note-hidden-1", "case_id": case.id, "body": "for few", "visibility": "author_supervisor",
        "part2": true});
    ana.post("/notes", hidden).await.ok();
    for (table, body) in [
        ("contacts", json!({"id": "contact-held-1", "case_id": case.id, "status": "completed", "ended_at": null})),
        ("contacts", json!({"id": "contact-tried-1", "case_id": case.id, "status": "attempted"})),
        // It is seen by no more people than what it corrects.
        (
            "notes",
            json!({"id": "note-amends-1", "case_id": case.id, "body": "in May", "amends_note_id": "note-hidden-1",
            "visibility": "team", "part2": false}),
        ),
    ] {
        let path = format!("/{table}");
        let first = ana.post(&path, body.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        world.pass_secs(60);
        let again = ana.post(&path, body.clone()).await;
        assert_eq!(again.status, 200, "{}", again.text);
        assert_eq!(first.ok(), again.ok());
        let mut other = body;
        other["case_id"] = json!("case-of-nobody");
        ana.post(&path, other).await.refused(409);
    }
}

async fn an_id_in_use_out_of_sight_answers_as_if_there_were_nothing(world: World) {
    let (ana, omar) = (world.ana().await, world.omar().await);
    let case = opens_a_case(&ana).await;
    ana.post("/notes", json!({"id": "note-of-ana-1", "case_id": case.id})).await.ok();
    let own = opens_a_case(&omar).await;
    let taken = omar.post("/notes", json!({"id": "note-of-ana-1", "case_id": own.id})).await.refused(404);
    let absent = omar.get("/notes/note-of-nobody").await.refused(404);
    for part in ["type", "code", "detail", "title"] {
        assert_eq!(taken[part], absent[part]);
    }
    assert_eq!(omar.post("/notes", json!({"case_id": case.id})).await.refused(404)["code"], "not_found");
}

async fn every_fault_of_a_body_is_told_at_once(world: World) {
    let ana = world.ana().await;
    let body = json!({"level": "planet", "confidence": 11, "due_on": "soon", "statment": "x", "strengths": "many"});
    let problem = ana.post("/goals", body).await.refused(422);
    let mut pointers: Vec<String> =
        problem["errors"].as_array().expect("errors").iter().map(|fault| text(&fault["pointer"])).collect();
    pointers.sort();
    assert_eq!(pointers, ["/case_id", "/confidence", "/due_on", "/level", "/statment", "/strengths"]);
    assert!(!problem.to_string().contains("planet"), "a refusal never repeats what was sent");
    for wrong in [json!([]), json!("x"), json!(null), json!(7)] {
        assert_eq!(ana.post("/goals", wrong).await.refused(422)["errors"][0]["code"], "not_an_object");
    }
}

async fn what_only_the_server_sets_is_refused(world: World) {
    let ana = world.ana().await;
    for (name, value) in [
        ("reference", json!("ABC")),
        ("team_id", json!("team-somewhere")),
        ("episode_no", json!(2)),
        ("created_at", json!("2027-03-01T00:00:00Z")),
        ("created_by", json!("somebody-else")),
        ("agency_id", json!("agency-other")),
        ("seq", json!(1)),
        ("rev", json!(1)),
        ("deleted_at", Value::Null),
        ("__proto__", json!({})),
    ] {
        let problem = ana.post("/cases", json!({name: value})).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], json!(format!("/{name}")));
    }
    assert_eq!(
        ana.post("/cases", json!({"status": "closed"})).await.refused(422)["errors"][0]["code"],
        "illegal_start"
    );
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    assert_eq!(ana.patch(&path, json!({"status": "closed"})).await.refused(422)["errors"][0]["code"], "by_move");
    assert_eq!(ana.patch(&path, json!({"id": "case-renamed"})).await.refused(422)["errors"][0]["code"], "fixed");
}

async fn a_text_with_nul_is_refused_wherever_it_stands(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    for body in [
        json!({"case_id": case.id, "body": "a\u{0}b"}),
        json!({"case_id": "case\u{0}id-x"}),
        json!({"id": "note\u{0}id-x", "case_id": case.id}),
        json!({"case_id": case.id, "a\u{0}": 1}),
    ] {
        ana.post("/notes", body).await.refused(422);
    }
    let inside = json!({"case_id": case.id, "strengths": ["x\u{0}"]});
    assert_eq!(ana.post("/goals", inside).await.refused(422)["errors"][0]["pointer"], "/strengths/0");
    // The same spelt out is text like any other.
    let spelt = json!({"case_id": case.id, "strengths": ["C:\\u0000 path"]});
    assert_eq!(ana.post("/goals", spelt.clone()).await.ok()["strengths"], spelt["strengths"]);
    ana.get("/notes/%00%00%00%00%00%00%00%00").await.refused(404);
    ana.get("/notes?case_id=%00%00%00%00%00%00%00%00").await.refused(422);
    ana.get("/notes?%00=1").await.refused(422);
}

async fn a_change_needs_the_version_that_was_read(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    let read = ana.get(&path).await;
    let version = read.header("etag").to_owned();
    assert_eq!(version, format!("\"{}\"", read.ok()["rev"]));
    let bare = ana.request(reqwest::Method::PATCH, &path).json(&json!({"risk": "watch"}));
    ana.send("PATCH without If-Match", bare).await.refused(428);
    let changed = ana.patch_at(&path, &version, json!({"risk": "watch"})).await;
    let next = changed.header("etag").to_owned();
    assert_eq!(changed.ok()["risk"], "watch");
    ana.patch_at(&path, &version, json!({"risk": "none"})).await.refused(412);
    ana.patch_at(&path, "\"x\"", json!({"risk": "none"})).await.refused(412);
    let same = ana.patch_at(&path, &next, json!({"risk": "watch"})).await;
    assert_eq!(same.header("etag"), next, "what changes nothing has no new version");
    // Who does not see the row learns nothing from the header either.
    let bare = ben.request(reqwest::Method::PATCH, &path).json(&json!({"risk": "watch"}));
    ben.send("PATCH without If-Match", bare).await.refused(404);
}

async fn null_takes_a_column_back(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    ana.patch(&path, json!({"intensity": "high", "summary": "x", "part2": true})).await.ok();
    let row = ana.patch(&path, json!({"intensity": null, "summary": null, "part2": null})).await.ok();
    assert_eq!(row["intensity"], "medium");
    assert_eq!(row["summary"], Value::Null);
    assert_eq!(row["part2"], false);
}

async fn a_patch_reaches_into_an_object_and_a_restore_brings_it_back_whole(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let record = json!({"by": "client", "on": "2027-03-01", "how": "spoken"});
    let path = ana.post("/goals", json!({"case_id": case.id, "client_agreement": record})).await.ok();
    let path = format!("/goals/{}", text(&path["id"]));
    let patch = json!({"client_agreement": {"how": null, "words": "yes"}});
    let row = ana.patch(&path, patch).await.ok();
    assert_eq!(row["client_agreement"], json!({"by": "client", "on": "2027-03-01", "words": "yes"}));
    ana.patch(&path, json!({"client_agreement": []})).await.refused(422);
    let kept = ana.get(&format!("{path}/history")).await.ok();
    let back = ana.post(&format!("{path}/restore"), json!({"seq": kept["items"][0]["seq"]})).await.ok();
    assert_eq!(back["client_agreement"], record);
    assert_eq!(ana.patch(&path, json!({"client_agreement": null})).await.ok()["client_agreement"], Value::Null);
    let row = ana.patch(&path, json!({"client_agreement": {"by": "client", "on": null}})).await.ok();
    assert_eq!(row["client_agreement"], json!({"by": "client"}));
}

async fn what_is_brought_back_has_to_be_there_and_the_newest_that_was_lost_is(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", json!({"case_id": case.id, "measure": "lines"})).await.ok()["id"]);
    let path = format!("/goals/{goal}");
    let lost = |at: usize, to: &str| {
        json!({"id": format!("mutation-000{at}"), "op": "update", "table": "goals", "row_id": goal,
            "set": {"measure": {"from": null, "to": to}}})
    };
    ana.post("/sync/push", json!({"mutations": [lost(1, "rides"), lost(2, "rides alone")]})).await.ok();
    let kept = ana.get(&format!("{path}/history")).await.ok()["items"][0].clone();
    assert_eq!((&kept["op"], &kept["old"]["measure"]), (&json!("lost"), &json!("rides alone")));
    for (body, pointer) in [
        (json!({"seq": 1}), "/seq"),
        (json!({"seq": kept["seq"], "fields": ["unit"]}), "/fields"),
        (json!({"seq": kept["seq"], "fields": ["measure", "no_such_field"]}), "/fields"),
    ] {
        let problem = ana.post(&format!("{path}/restore"), body).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], json!(pointer));
    }
    let text = "select 1 from audit_event where action = 'denied'";
    assert!(entities::sql::one(world.store.connection(), text, vec![]).await.expect("the trail").is_none());
    let back = ana.post(&format!("{path}/restore"), json!({"seq": kept["seq"]})).await.ok();
    assert_eq!(back["measure"], "rides alone");
    world.ben().await.post(&format!("{path}/restore"), json!({"seq": kept["seq"]})).await.refused(404);
}

async fn a_reader_who_holds_the_version_is_told_that_nothing_changed(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    let version = ana.get(&path).await.header("etag").to_owned();
    let again = ana.request(reqwest::Method::GET, &path).header("if-none-match", &version);
    assert_eq!(ana.send("GET again", again).await.status, 304);
    ana.patch(&path, json!({"risk": "watch"})).await.ok();
    let again = ana.request(reqwest::Method::GET, &path).header("if-none-match", &version);
    assert_eq!(ana.send("GET again", again).await.status, 200);
}

async fn references_lead_to_rows_of_the_same_case(world: World) {
    let (ana, cleo) = (world.ana().await, world.cleo().await);
    let (one, two, hers) = (opens_a_case(&ana).await, opens_a_case(&ana).await, opens_a_case(&cleo).await);
    let goal = text(&ana.post("/goals", json!({"case_id": one.id})).await.ok()["id"]);
    let rating =
        |case: &str, goal: &str| json!({"case_id": case, "goal_id": goal, "rated_on": "2027-03-01", "level": 0});
    ana.post("/goal_ratings", rating(&one.id, &goal)).await.ok();
    for (case, goal) in [(&two.id, goal.as_str()), (&one.id, "goal-of-nobody")] {
        let problem = ana.post("/goal_ratings", rating(case, goal)).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], "/goal_id");
    }
    let stranger = json!({"case_id": one.id, "person_id": hers.person});
    assert_eq!(ana.post("/case_parties", stranger).await.refused(422)["errors"][0]["code"], "unknown_reference");
}

async fn a_person_without_a_part_in_any_case_belongs_to_their_maker(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let id = text(&ana.post("/persons", json!({"given_name": "Lou", "birth": "1980-05"})).await.ok()["id"]);
    let path = format!("/persons/{id}");
    ana.get(&path).await.ok();
    ben.get(&path).await.refused(404);
    sam.get(&path).await.refused(404);
    let case = opens_a_case(&ana).await;
    let part = text(&ana.post("/case_parties", json!({"case_id": case.id, "person_id": id})).await.ok()["id"]);
    sam.get(&path).await.ok();
    ana.patch(&format!("/case_parties/{part}"), json!({"left_on": "2027-03-01"})).await.ok();
    sam.get(&path).await.ok();
    ben.get(&path).await.refused(404);
    ana.get(&path).await.ok();
    for (field, value) in [("birth", "May 1980"), ("given_name", "A\r\nBcc: x"), ("deceased_on", "2027-02-30")] {
        let problem = ana.post("/persons", json!({field: value})).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], json!(format!("/{field}")));
    }
}

async fn a_signed_note_stands_and_only_its_visibility_narrows(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    sam.post(
        &format!("/cases/{}/assignments", case.id),
        json!({"user_id": ben.user_id(), "role": "secondary", "reason": "Helps"}),
    )
    .await
    .ok();
    let note = text(&ana.post("/notes", json!({"case_id": case.id})).await.ok()["id"]);
    let path = format!("/notes/{note}");
    ben.patch(&path, json!({"body": "mine"})).await.refused(403);
    let empty = ana.post(&format!("{path}/sign"), json!({})).await.refused(422);
    assert_eq!(empty["errors"][0]["pointer"], "/body");
    ana.patch(&path, json!({"body": "She laughed"})).await.ok();
    let signed = ana.post(&format!("{path}/sign"), json!({})).await.ok();
    assert_eq!(signed["signed_at"], "2027-03-01T15:00:00.000Z");
    ana.post(&format!("{path}/sign"), json!({})).await.refused(409);
    ana.patch(&path, json!({"body": "She cried"})).await.refused(403);
    ben.get(&path).await.ok();
    ana.patch(&path, json!({"visibility": "author_supervisor"})).await.ok();
    ben.get(&path).await.refused(404);
    sam.get(&path).await.ok();
    ana.get(&path).await.ok();
    ana.patch(&path, json!({"visibility": "team"})).await.refused(403);
    let amends = json!({"case_id": case.id, "body": "He laughed", "amends_note_id": note});
    ana.post("/notes", amends).await.ok();
}

async fn a_draft_can_be_thrown_away_and_a_signed_note_cannot(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let draft = ana.post("/notes", json!({"case_id": case.id, "body": "x"})).await;
    let version = draft.header("etag").to_owned();
    let path = format!("/notes/{}", text(&draft.ok()["id"]));
    let delete = |version: &str| ana.request(reqwest::Method::DELETE, &path).header("if-match", version);
    ana.delete(&path).await.refused(428);
    ana.send("DELETE", delete("\"1\"")).await.refused(412);
    assert_eq!(ana.send("DELETE", delete(&version)).await.status, 204);
    ana.get(&path).await.refused(404);
    let signed = ana.post("/notes", json!({"case_id": case.id, "body": "x", "status": "signed"})).await;
    let version = signed.header("etag").to_owned();
    let path = format!("/notes/{}", text(&signed.ok()["id"]));
    let delete = ana.request(reqwest::Method::DELETE, &path).header("if-match", version);
    ana.send("DELETE", delete).await.refused(403);
    ana.delete(&format!("/cases/{}", case.id)).await.refused(405);
}

async fn the_document_names_every_table(world: World) {
    let document = world.stranger().get("//openapi.json").await.ok();
    for table in entities::registry::TABLES.iter() {
        let path = format!("/api/v1/{}", table.name);
        let list = &document["paths"][&path]["get"];
        assert!(list["responses"]["200"]["content"]["application/json"]["example"].is_object(), "{path}");
        assert!(list["security"][0]["bearer"].is_array(), "{path}");
        let one = &document["paths"][format!("{path}/{{id}}")]["get"];
        assert!(one["responses"]["404"].is_object(), "{path}");
        for step in &table.moves {
            let verb = &document["paths"][format!("{path}/{{id}}/{}", step.verb)]["post"];
            assert!(verb["responses"]["409"].is_object(), "{path} {}", step.verb);
        }
    }
}

async fn a_change_may_name_several_versions(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    let version = ana.get(&path).await.header("etag").to_owned();
    let change = |summary: &str| json!({"summary": summary});
    ana.patch_at(&path, "\"1,5\", \"7\"", change("one")).await.refused(412);
    ana.patch_at(&path, &format!("\"1,5\" , W/{version}"), change("two")).await.ok();
    ana.patch_at(&path, &format!("{version} *"), change("three")).await.refused(400);
    let version = ana.get(&path).await.header("etag").to_owned();
    let held = format!("\"1,5\", {version}");
    let read = ana.request(reqwest::Method::GET, &path).header("if-none-match", held.as_str());
    assert_eq!(ana.send("GET with If-None-Match", read).await.status, 304);
    let hold = json!({"status_reason": "in hospital", "resume_on": "2027-03-20"});
    let moves =
        |tags: &str| ana.request(reqwest::Method::POST, &format!("{path}/hold")).header("if-match", tags).json(&hold);
    ana.send("hold", moves("\"1,5\"")).await.refused(412);
    ana.send("hold", moves(&held)).await.ok();
}
