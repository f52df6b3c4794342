//! Who sees which row: every table of a case, asked by everybody.

use serde_json::{Value, json};

use super::scene::{fills, harbor, opens_a_case, text};
use crate::support::{World, on_both};

on_both!(
    every_row_of_a_case_is_seen_by_those_who_have_it_and_by_nobody_else,
    nobody_writes_what_they_do_not_see,
    a_note_is_seen_as_far_as_its_level_reaches,
    a_correction_is_seen_by_no_more_people_than_what_it_corrects,
    what_is_narrowed_narrows_what_corrects_it,
    a_substance_use_note_is_seen_by_those_assigned_who_may_see_it,
    somebody_who_has_left_sees_nothing_more,
    what_a_note_said_while_it_was_hidden_stays_hidden,
    a_restricted_note_that_is_read_is_told_in_the_trail,
    a_denied_access_is_told_in_the_trail_whether_the_row_exists_or_not,
);

async fn every_row_of_a_case_is_seen_by_those_who_have_it_and_by_nobody_else(world: World) {
    let (org, pat) = harbor(&world).await;
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let (cleo, sol, ada, omar) = (world.cleo().await, world.sol().await, world.ada().await, world.omar().await);
    let case = opens_a_case(&ana).await;
    let rows = fills(&ana, &case, &org).await;
    assert_eq!(rows.len(), 10, "one of each table of a case");
    for (table, id) in &rows {
        let path = format!("/{table}/{id}");
        for (who, statuses) in [
            (&ana, [200, 200]),
            (&sam, [200, 200]),
            (&ben, [404, 404]),
            (&cleo, [404, 404]),
            (&sol, [404, 404]),
            (&omar, [404, 404]),
            // Roles to whom no such row is ever visible are told so, whether it exists or not.
            (&ada, [403, 403]),
            (&pat, [404, 403]),
        ] {
            let answer = who.get(&path).await;
            assert!(statuses.contains(&answer.status), "{}: {} {}", answer.asked, answer.status, answer.text);
            if answer.status != 200 {
                let absent = who.get(&format!("/{table}/row-of-nobody")).await;
                assert_eq!(answer.status, absent.status, "{}", answer.asked);
                let listed = who.get(&format!("/{table}?limit=200")).await;
                assert!(!listed.text.contains(id.as_str()), "{}: {}", listed.asked, listed.text);
            }
        }
        let listed = sam.get(&format!("/{table}?limit=200")).await.ok().to_string();
        assert!(listed.contains(id.as_str()), "{table}");
    }
}

async fn nobody_writes_what_they_do_not_see(world: World) {
    let (org, pat) = harbor(&world).await;
    let (ana, sam) = (world.ana().await, world.sam().await);
    let others = [world.ben().await, world.cleo().await, world.omar().await];
    let case = opens_a_case(&ana).await;
    for (table, id) in fills(&ana, &case, &org).await {
        let path = format!("/{table}/{id}");
        for who in &others {
            let answer = who.patch_at(&path, "*", json!({})).await;
            assert!([404, 405].contains(&answer.status), "{} {}", answer.asked, answer.status);
        }
        for who in [&sam, &pat] {
            let answer = who.patch_at(&path, "*", json!({})).await;
            assert!([403, 405].contains(&answer.status), "{} {}", answer.asked, answer.status);
        }
    }
}

async fn a_note_is_seen_as_far_as_its_level_reaches(world: World) {
    let (ana, ben, sam, sol) = (world.ana().await, world.ben().await, world.sam().await, world.sol().await);
    let case = opens_a_case(&ana).await;
    let help = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "Helps"});
    sam.post(&format!("/cases/{}/assignments", case.id), help).await.ok();
    for (kind, visibility, by_ana, by_ben, by_sam) in [
        ("progress", "team", 200, 200, 200),
        ("progress", "assigned", 200, 200, 404),
        ("progress", "author_supervisor", 200, 404, 200),
        ("restricted", "team", 200, 404, 200),
    ] {
        let note = json!({"case_id": case.id, "body": "x", "kind": kind, "visibility": visibility});
        let path = format!("/notes/{}", text(&ana.post("/notes", note).await.ok()["id"]));
        for (who, status) in [(&ana, by_ana), (&ben, by_ben), (&sam, by_sam), (&sol, 404)] {
            let answer = who.get(&path).await;
            assert_eq!(answer.status, status, "{kind} {visibility} {}", answer.asked);
        }
    }
    ana.post("/notes", json!({"case_id": case.id, "kind": "supervision"})).await.refused(403);
    sam.post("/notes", json!({"case_id": case.id, "kind": "progress"})).await.refused(403);
    let own = sam.post("/notes", json!({"case_id": case.id, "kind": "supervision", "body": "x"})).await.ok();
    let path = format!("/notes/{}", text(&own["id"]));
    sam.get(&path).await.ok();
    ana.get(&path).await.refused(404);
}

async fn a_substance_use_note_is_seen_by_those_assigned_who_may_see_it(world: World) {
    let (ana, ben, cleo, sam) = (world.ana().await, world.ben().await, world.cleo().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    for (who, part2) in [(&ben, true), (&cleo, false)] {
        let help = json!({"user_id": who.user_id(), "role": "secondary", "reason": "Helps", "part2": part2});
        sam.post(&format!("/cases/{}/assignments", case.id), help).await.ok();
    }
    for (visibility, by_sam) in [("team", 200), ("assigned", 404)] {
        let note = json!({"case_id": case.id, "body": "x", "part2": true, "visibility": visibility});
        let path = format!("/notes/{}", text(&ana.post("/notes", note).await.ok()["id"]));
        for (who, status) in [(&ana, 200), (&ben, 200), (&cleo, 404), (&sam, by_sam)] {
            let answer = who.get(&path).await;
            assert_eq!(answer.status, status, "{visibility} {}", answer.asked);
        }
    }
}

async fn a_correction_is_seen_by_no_more_people_than_what_it_corrects(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let given = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "help"});
    sam.post(&format!("/cases/{}/assignments", case.id), given).await.ok();
    for (hidden, column, value) in [
        (json!({"visibility": "author_supervisor"}), "visibility", json!("author_supervisor")),
        (json!({"visibility": "assigned"}), "visibility", json!("assigned")),
        (json!({"kind": "restricted"}), "visibility", json!("author_supervisor")),
        (json!({"part2": true}), "part2", json!(true)),
        (json!({}), "visibility", json!("team")),
    ] {
        let mut note = json!({"case_id": case.id, "body": "about the bruise"});
        note.as_object_mut().expect("a note").extend(hidden.as_object().expect("columns").clone());
        let id = text(&ana.post("/notes", note).await.ok()["id"]);
        ana.post(&format!("/notes/{id}/sign"), json!({})).await.ok();
        let amends = json!({"case_id": case.id, "body": "it was in May", "amends_note_id": id});
        let correction = ana.post("/notes", amends).await.ok();
        assert_eq!(correction[column], value, "{hidden}");
        let path = format!("/notes/{}", text(&correction["id"]));
        assert_eq!(ben.get(&path).await.status, ben.get(&format!("/notes/{id}")).await.status, "{hidden}");
        if column == "visibility" {
            ana.patch(&path, json!({"visibility": "team"})).await.ok();
            assert_eq!(ana.get(&path).await.ok()[column], value, "{hidden}");
            assert_eq!(
                ana.patch(&path, json!({"visibility": null})).await.refused(422)["errors"][0]["code"],
                "required"
            );
        }
    }
}

/// However late it is narrowed, and in whatever order it is sent.
async fn what_is_narrowed_narrows_what_corrects_it(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let given = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "help"});
    sam.post(&format!("/cases/{}/assignments", case.id), given).await.ok();
    let note = async |amends: Value| {
        let note = json!({"case_id": case.id, "body": "about the bruise", "amends_note_id": amends});
        let id = text(&ana.post("/notes", note).await.ok()["id"]);
        ana.post(&format!("/notes/{id}/sign"), json!({})).await.ok();
        id
    };
    let first = note(Value::Null).await;
    let second = note(json!(first)).await;
    let third = note(json!(second)).await;
    for id in [&first, &second, &third] {
        ben.get(&format!("/notes/{id}")).await.ok();
    }
    ana.patch(&format!("/notes/{first}"), json!({"visibility": "author_supervisor"})).await.ok();
    for id in [&first, &second, &third] {
        ben.get(&format!("/notes/{id}")).await.refused(404);
        sam.get(&format!("/notes/{id}")).await.ok();
    }
    let other = note(Value::Null).await;
    let narrow = json!({"visibility": {"from": "team", "to": "author_supervisor"}});
    let correct = json!({"case_id": case.id, "body": "it was in May", "kind": "progress", "amends_note_id": other});
    let queue = json!([
        {"id": "mutation-0001", "op": "update", "table": "notes", "row_id": other, "set": narrow},
        {"id": "mutation-0002", "op": "create", "table": "notes", "row_id": "note-that-corrects", "set": correct},
    ]);
    let answer = ana.post("/sync/push", json!({"mutations": queue})).await.ok();
    assert!(answer["results"].as_array().expect("results").iter().all(|one| one["status"] == "applied"), "{answer}");
    ben.get("/notes/note-that-corrects").await.refused(404);
    sam.get("/notes/note-that-corrects").await.ok();
}

async fn somebody_who_has_left_sees_nothing_more(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let mut write = world.store.write(&entities::Actor::system(&world.riverbend)).await.expect("the door");
    let id = ana.user_id();
    let before = entities::people::user::by_id(write.conn(), &world.riverbend, &id).await.expect("users").expect("Ana");
    let after = entities::people::user::Model { active: false, ..before.clone() };
    entities::people::user::change(&mut write, &before, after).await.expect("a change");
    write.commit().await.expect("a commit");
    let bare = ana.request(reqwest::Method::GET, &format!("/cases/{}", case.id)).send().await.expect("an answer");
    assert_eq!(bare.status().as_u16(), 401);
    ana.tries_to_log_in("fieldstone-demo").await.refused(401);
    sam.get(&format!("/cases/{}", case.id)).await.ok();
}

async fn what_a_note_said_while_it_was_hidden_stays_hidden(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let given = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "help", "part2": false});
    sam.post(&format!("/cases/{}/assignments", case.id), given).await.ok();
    let said = async |who: &crate::support::Person, path: &str| {
        let answer = who.get(&format!("{path}/history")).await.ok();
        let items = answer["items"].as_array().expect("a list").clone();
        items.iter().filter_map(|item| item["old"]["body"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    for (hidden, shown) in [
        (json!({"visibility": "author_supervisor"}), json!({"visibility": "team"})),
        (json!({"part2": true, "visibility": "assigned"}), json!({"part2": false})),
    ] {
        let mut note = json!({"case_id": case.id, "body": "for few", "kind": "progress"});
        note.as_object_mut().expect("an object").extend(hidden.as_object().expect("columns").clone());
        let path = format!("/notes/{}", text(&ana.post("/notes", note).await.ok()["id"]));
        ana.patch(&path, json!({"body": "for few, better said"})).await.ok();
        ben.get(&format!("{path}/history")).await.refused(404);
        let mut open = json!({"body": "for all"});
        open.as_object_mut().expect("an object").extend(shown.as_object().expect("columns").clone());
        ana.patch(&path, open).await.ok();
        ana.patch(&path, json!({"body": "for all, better said"})).await.ok();
        assert_eq!(said(&ben, &path).await, ["for all"], "{hidden}");
        assert_eq!(said(&ana, &path).await, ["for all", "for few, better said", "for few"], "{hidden}");
    }
    let before = told(&world, "read_restricted").await;
    let note = json!({"case_id": case.id, "body": "x", "kind": "progress", "visibility": "author_supervisor"});
    let path = format!("/notes/{}", text(&ana.post("/notes", note).await.ok()["id"]));
    ana.patch(&path, json!({"visibility": "team", "body": "y"})).await.ok();
    sam.get(&path).await.ok();
    assert_eq!(told(&world, "read_restricted").await, before, "it is none any more");
    said(&sam, &path).await;
    assert_eq!(told(&world, "read_restricted").await, before + 1, "and was one");
}

async fn a_restricted_note_that_is_read_is_told_in_the_trail(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let note = json!({"case_id": case.id, "body": "x", "kind": "restricted"});
    let path = format!("/notes/{}", text(&ana.post("/notes", note).await.ok()["id"]));
    ana.get(&path).await.ok();
    assert_eq!(told(&world, "read_restricted").await, 0, "an author reads their own");
    sam.get(&path).await.ok();
    sam.get("/notes").await.ok();
    assert_eq!(told(&world, "read_restricted").await, 2);
}

async fn a_denied_access_is_told_in_the_trail_whether_the_row_exists_or_not(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let case = opens_a_case(&ana).await;
    ben.get(&format!("/cases/{}", case.id)).await.refused(404);
    ben.get("/cases/case-of-nobody").await.refused(404);
    ana.post(&format!("/cases/{}/mark_error", case.id), json!({})).await.refused(403);
    ana.post(&format!("/cases/{}/close", case.id), json!({})).await.refused(403);
    ben.post(&format!("/cases/{}/hold", case.id), json!({})).await.refused(404);
    let note = json!({"case_id": case.id, "body": "x", "kind": "progress"});
    ben.post("/notes", note).await.refused(404);
    assert_eq!(told(&world, "denied").await, 6);
}

/// How many events of this kind the trail holds.
async fn told(world: &World, action: &str) -> i64 {
    let snapshot = world.store.read().await.expect("a snapshot");
    let text = "select count(*) from audit_event where action = $1";
    let row = entities::sql::one(&*snapshot, text, vec![action.into()]).await.expect("the trail").expect("a count");
    row.try_get_by_index::<i64>(0).expect("a number")
}
