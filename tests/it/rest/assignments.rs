//! Who has a case, and when.

use serde_json::{Value, json};

use super::scene::{harbor, opens_a_case, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_new_primary_ends_the_old_one_and_takes_the_case,
    a_primary_of_another_team_takes_the_case_along,
    a_cover_has_the_case_for_its_window_and_no_longer,
    a_cover_that_is_over_reads_nothing_more_by_any_path,
    a_cover_of_several_cases_gets_them_one_by_one,
    a_secondary_leaves_when_the_assignment_ends,
    only_the_supervisor_of_the_team_assigns,
    a_worker_who_cannot_have_the_case_is_refused,
    a_person_in_two_cases_is_seen_through_either,
    a_person_goes_with_the_case_however_their_part_ends,
    how_kept_work_was_settled_is_not_worded_anew_by_its_author,
);

async fn assign(who: &Person, case: &str, user: &str, role: &str, more: Value) -> crate::support::Answer {
    let mut body = json!({"user_id": user, "role": role, "reason": "caseload"});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    who.post(&format!("/cases/{case}/assignments"), body).await
}

async fn a_new_primary_ends_the_old_one_and_takes_the_case(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    let note = text(&ana.post("/notes", json!({"case_id": case.id, "body": "x"})).await.ok()["id"]);
    ben.get(&path).await.refused(404);
    let made = assign(&sam, &case.id, &ben.user_id(), "primary", json!({"handover_note": "Likes tea"})).await.ok();
    assert_eq!((&made["role"], &made["to_ts"]), (&json!("primary"), &Value::Null));
    assert_eq!(made["assigned_by"], json!(sam.user_id()));
    for row in [path.clone(), format!("/notes/{note}"), format!("/persons/{}", case.person)] {
        ana.get(&row).await.refused(404);
        ben.get(&row).await.ok();
    }
    assert_eq!(ana.get("/cases").await.ok()["items"], json!([]));
    ana.post("/notes", json!({"case_id": case.id})).await.refused(404);
    ana.post("/goals", json!({"case_id": case.id})).await.refused(404);
    let all = ben.get(&format!("/case_assignments?case_id={}", case.id)).await.ok();
    let items = all["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    assert_eq!(items.iter().filter(|row| row["to_ts"].is_null()).count(), 1);
    let again = assign(&sam, &case.id, &ben.user_id(), "primary", json!({})).await.refused(409);
    assert_eq!(again["code"], "already_assigned");
}

async fn a_primary_of_another_team_takes_the_case_along(world: World) {
    let (ana, cleo, sam, sol) = (world.ana().await, world.cleo().await, world.sam().await, world.sol().await);
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    sol.get(&path).await.refused(404);
    assign(&sam, &case.id, &cleo.user_id(), "primary", json!({})).await.ok();
    for who in [&cleo, &sol] {
        who.get(&path).await.ok();
    }
    for who in [&ana, &sam] {
        who.get(&path).await.refused(404);
    }
}

async fn a_cover_has_the_case_for_its_window_and_no_longer(world: World) {
    let (ana, cleo, sam, sol) = (world.ana().await, world.cleo().await, world.sam().await, world.sol().await);
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    let window = json!({"from": "2027-03-03T05:00:00Z", "to": "2027-03-05T05:00:00Z"});
    assign(&sam, &case.id, &cleo.user_id(), "covering", window).await.ok();
    cleo.get(&path).await.refused(404);
    world.set_clock("2027-03-03T04:59:59Z");
    assert_eq!(cleo.get("/cases").await.ok()["items"], json!([]));
    world.set_clock("2027-03-03T05:00:00Z");
    cleo.get(&path).await.ok();
    assert_eq!(cleo.get("/cases").await.ok()["items"].as_array().map(Vec::len), Some(1));
    cleo.post("/notes", json!({"case_id": case.id, "body": "All well"})).await.ok();
    sol.get(&path).await.refused(404);
    ana.get(&path).await.ok();
    world.set_clock("2027-03-05T05:00:00Z");
    cleo.post("/notes", json!({"case_id": case.id, "body": "Too late"})).await.refused(404);
    cleo.get(&path).await.refused(404);
    ana.get(&path).await.ok();
}

/// Nobody writes and no worker runs: each read settles what time has ended by itself.
async fn a_cover_that_is_over_reads_nothing_more_by_any_path(world: World) {
    let (ana, cleo, sam) = (world.ana().await, world.cleo().await, world.sam().await);
    for at in 0..4 {
        let case = opens_a_case(&ana).await;
        let note = text(&ana.post("/notes", json!({"case_id": case.id, "body": "first words"})).await.ok()["id"]);
        ana.patch(&format!("/notes/{note}"), json!({"body": "other words"})).await.ok();
        let window = json!({"from": "2027-03-01T05:00:00Z", "to": format!("2027-03-0{}T05:00:00Z", 3 + at)});
        assign(&sam, &case.id, &cleo.user_id(), "covering", window).await.ok();
        let kept = json!({"notes": {"created": [{"id": format!("note-of-ana-{at}"), "case_id": case.id, "body": "kept words",
            "kind": "progress"}], "updated": [], "deleted": []}});
        ana.post("/sync/quarantine", kept).await.ok();
        let issues = cleo.get("/sync_issues?status=open").await.ok();
        let about = issues["items"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|one| one["about_id"] == format!("note-of-ana-{at}"));
        let work = format!("/sync_issues/{}/work", text(&about.expect("a cover is told")["id"]));
        let history = format!("/notes/{note}/history");
        let digest = format!("/sync/digest?case_id={}", case.id);
        assert!(cleo.get(&history).await.ok().to_string().contains("first words"));
        cleo.get(&work).await.ok();
        assert!(cleo.get(&digest).await.ok().to_string().contains(&note));
        world.set_clock(&format!("2027-03-0{}T05:00:00Z", 3 + at));
        match at {
            0 => drop(cleo.get(&history).await.refused(404)),
            1 => drop(cleo.get(&work).await.refused(404)),
            2 => assert!(!cleo.get(&digest).await.ok().to_string().contains(&note)),
            _ => drop(cleo.get(&format!("/cases/{}/workflow", case.id)).await.refused(404)),
        }
    }
}

async fn a_cover_of_several_cases_gets_them_one_by_one(world: World) {
    let (ana, cleo, sam) = (world.ana().await, world.cleo().await, world.sam().await);
    let window = json!({"from": "2027-03-03T05:00:00Z", "to": "2027-03-05T05:00:00Z"});
    for _ in 0..3 {
        let case = opens_a_case(&ana).await;
        assign(&sam, &case.id, &cleo.user_id(), "covering", window.clone()).await.ok();
    }
    let mut phone = Phone::of(&cleo);
    phone.pulls().await;
    world.set_clock("2027-03-03T05:00:00Z");
    let mut gained = 0;
    for _ in 0..50 {
        let page = phone.asks("&limit=1").await.ok();
        let cases = page["changes"]["cases"]["updated"].as_array().expect("a list").len();
        assert!(cases <= 1, "{cases} in one page");
        gained += cases;
        phone.applies(&page);
        if page["has_more"] == json!(false) {
            break;
        }
    }
    assert_eq!(gained, 3);
}

async fn a_secondary_leaves_when_the_assignment_ends(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let made = assign(&sam, &case.id, &ben.user_id(), "secondary", json!({})).await.ok();
    let end = format!("/case_assignments/{}/end", text(&made["id"]));
    ben.get(&format!("/cases/{}", case.id)).await.ok();
    ana.post(&end, json!({"reason": "done"})).await.refused(403);
    sam.post(&end, json!({})).await.refused(422);
    sam.post(&end, json!({"reason": "done", "immediate": true})).await.ok();
    sam.post(&end, json!({"reason": "done"})).await.refused(409);
    ben.get(&format!("/cases/{}", case.id)).await.refused(404);
    let held = sam.get(&format!("/case_assignments?case_id={}&role=primary", case.id)).await.ok();
    let primary = text(&held["items"][0]["id"]);
    sam.post(&format!("/case_assignments/{primary}/end"), json!({"reason": "x"})).await.refused(409);
}

async fn only_the_supervisor_of_the_team_assigns(world: World) {
    let (ana, ben, sol, ada, omar) =
        (world.ana().await, world.ben().await, world.sol().await, world.ada().await, world.omar().await);
    let (_, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    for (who, status) in [(&ana, 403), (&ben, 403), (&sol, 404), (&ada, 403), (&omar, 403), (&pat, 403)] {
        assign(who, &case.id, &ben.user_id(), "primary", json!({})).await.refused(status);
    }
}

async fn a_worker_who_cannot_have_the_case_is_refused(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let (ada, omar) = (world.id_of("ada@demo.example").await, world.id_of("omar@other.example").await);
    for user in [ada.as_str(), omar.as_str(), "user-of-nobody"] {
        let problem = assign(&sam, &case.id, user, "primary", json!({})).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], "unknown_user");
    }
    for (role, more) in [
        ("primary", json!({"to": "2027-03-05T05:00:00Z"})),
        ("covering", json!({"from": "2027-03-05T05:00:00Z", "to": "2027-03-04T05:00:00Z"})),
        ("covering", json!({"to": "soon"})),
        ("boss", json!({})),
        ("covering", json!({"colour": "red"})),
    ] {
        assign(&sam, &case.id, &ana.user_id(), role, more).await.refused(422);
    }
}

async fn a_person_in_two_cases_is_seen_through_either(world: World) {
    let (ana, cleo, ben, sam) = (world.ana().await, world.cleo().await, world.ben().await, world.sam().await);
    let one = opens_a_case(&ana).await;
    let two = text(&ana.post("/cases", json!({"unit": "family"})).await.ok()["id"]);
    let part = json!({"case_id": two, "person_id": one.person, "role": "child"});
    let part = text(&ana.post("/case_parties", part).await.ok()["id"]);
    assign(&sam, &two, &cleo.user_id(), "primary", json!({})).await.ok();
    let person = format!("/persons/{}", one.person);
    for who in [&ana, &cleo] {
        who.get(&person).await.ok();
    }
    ben.get(&person).await.refused(404);
    cleo.patch(&format!("/case_parties/{part}"), json!({"left_on": "2027-03-01"})).await.ok();
    cleo.get(&person).await.refused(404);
    ana.get(&person).await.ok();
}

async fn a_person_goes_with_the_case_however_their_part_ends(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let part = async |who: &Person, case: &str| {
        let parts = who.get(&format!("/case_parties?case_id={case}")).await.ok();
        format!("/case_parties/{}", text(&parts["items"][0]["id"]))
    };
    let handed = opens_a_case(&ana).await;
    assign(&sam, &handed.id, &ben.user_id(), "primary", json!({})).await.ok();
    let person = format!("/persons/{}", handed.person);
    ben.patch(&person, json!({"addresses": [{"street": "7 New Street"}]})).await.ok();
    // To a day to come as well: once it is set, the part is over.
    ben.patch(&part(&ben, &handed.id).await, json!({"left_on": "2027-12-31"})).await.ok();
    for who in [&ben, &sam] {
        assert!(who.get(&person).await.ok().to_string().contains("7 New Street"), "{}", who.email);
    }
    for path in [person.clone(), format!("{person}/history")] {
        ana.get(&path).await.refused(404);
    }
    let kept = opens_a_case(&ana).await;
    let person = format!("/persons/{}", kept.person);
    ana.patch(&part(&ana, &kept.id).await, json!({"left_on": "2027-03-01"})).await.ok();
    for (holder, other) in [(&ana, &ben), (&ben, &ana), (&ana, &ben)] {
        if holder.get(&format!("/cases/{}", kept.id)).await.status == 404 {
            assign(&sam, &kept.id, &holder.user_id(), "primary", json!({})).await.ok();
        }
        holder.get(&person).await.ok();
        other.get(&person).await.refused(404);
    }
}

async fn how_kept_work_was_settled_is_not_worded_anew_by_its_author(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    assign(&sam, &case.id, &ben.user_id(), "primary", json!({})).await.ok();
    phone.edits("cases", &case.id, json!({"summary": "what Ana knew last"}));
    phone.pushes().await.expect("an edit").ok();
    let told = ben.get("/sync_issues?status=open").await.ok();
    let accept = format!("/sync_issues/{}/accept", text(&told["items"][0]["id"]));
    ben.post(&accept, json!({"reason": "she knew"})).await.ok();
    let own = ana.get("/sync_issues").await.ok()["items"][0].clone();
    assert_eq!((&own["status"], &own["settled_reason"]), (&json!("accepted"), &json!("she knew")));
    ana.patch(&format!("/sync_issues/{}", text(&own["id"])), json!({"settled_reason": "mine"})).await.refused(403);
}
