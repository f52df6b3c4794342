//! Goals, contacts and cases as state machines.

use reqwest::Method;
use serde_json::{Value, json};

use super::scene::{harbor, opens_a_case, ready, smart, text};
use crate::support::{Document, Person, Phone, World, on_both};

on_both!(
    a_goal_that_is_not_smart_is_refused_with_every_letter_that_is_missing,
    a_goal_lives_from_draft_to_completed_and_back,
    a_goal_is_completed_as_its_last_rating_says,
    a_goal_and_a_referral_are_for_a_person_of_the_case,
    an_agreed_goal_keeps_its_scale,
    an_agreed_goal_stays_smart_and_agreed,
    a_goal_names_its_reminders_among_those_there_are,
    a_rating_is_added_and_never_changed,
    a_contact_begins_as_planned_or_as_held,
    a_contact_is_rescheduled_to_one_that_is_ahead,
    a_closed_case_is_opened_again_with_a_worker_and_a_new_episode,
    a_closed_case_is_opened_again_for_somebody_else,
    three_no_shows_in_a_row_are_counted_and_a_contact_starts_anew,
    a_no_show_is_recorded_a_quarter_of_an_hour_late_at_the_earliest,
    a_contact_that_took_place_stands_and_dates_the_case,
    a_case_closes_when_nothing_in_it_is_open_and_its_workers_leave,
    a_case_does_not_go_while_a_partner_works_on_a_referral,
    a_case_without_a_worker_does_not_become_active,
    a_case_rests_until_a_day_to_come_and_long_only_as_the_supervisor_says,
    who_was_promoted_works_on_and_signs_nothing_off,
    what_other_rows_stand_against_is_not_stored_from_a_phone_either,
    an_illegal_move_says_where_the_row_is,
    a_move_with_which_nothing_comes_along_does_without_a_body,
    a_case_says_what_its_workflow_waits_for_to_those_who_have_it,
);

async fn a_goal_that_is_not_smart_is_refused_with_every_letter_that_is_missing(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = ana.post("/goals", json!({"case_id": case.id, "statement": "too short"})).await.ok();
    assert_eq!(goal["lifecycle"], "draft");
    let problem = ana.post(&format!("/goals/{}/agree", text(&goal["id"])), json!({})).await.refused(422);
    let codes: Vec<String> =
        problem["errors"].as_array().expect("errors").iter().map(|fault| text(&fault["code"])).collect();
    assert_eq!(codes, ["smart_s", "smart_m", "smart_a", "smart_r", "smart_t", "required"]);
    assert_eq!(problem["errors"][5]["pointer"], "/client_agreement");
}

async fn verb(who: &Person, goal: &str, verb: &str, body: Value) -> Value {
    who.post(&format!("/goals/{goal}/{verb}"), body).await.ok()
}

async fn a_goal_lives_from_draft_to_completed_and_back(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let mut body = smart(&case);
    let agreement = body.as_object_mut().and_then(|body| body.remove("client_agreement")).expect("an agreement");
    let goal = text(&ana.post("/goals", body).await.ok()["id"]);
    assert_eq!(verb(&ana, &goal, "propose", json!({})).await["lifecycle"], "proposed");
    let agreed = verb(&ana, &goal, "agree", json!({"client_agreement": agreement})).await;
    assert_eq!(agreed["lifecycle"], "agreed");
    assert_eq!(agreed["locked_at"], "2027-03-01T15:00:00.000Z");
    assert_eq!(verb(&ana, &goal, "start", json!({})).await["lifecycle"], "active");
    assert_eq!(verb(&ana, &goal, "hold", json!({})).await["lifecycle"], "on_hold");
    assert_eq!(verb(&ana, &goal, "start", json!({})).await["lifecycle"], "active");
    let moved = ana.patch(&format!("/goals/{goal}"), json!({"due_on": "2027-07-01"})).await.ok();
    assert_eq!(moved["due_moves"], 1);
    let done = json!({"achievement": "achieved", "outcome_reason": "she says so"});
    assert!(verb(&ana, &goal, "complete", done).await["completed_at"].is_string());
    ana.patch(&format!("/goals/{goal}"), json!({"statement": "Something else entirely"})).await.refused(403);
    let back = verb(&ana, &goal, "reopen", json!({})).await;
    assert_eq!((&back["achievement"], &back["completed_at"]), (&json!("in_progress"), &Value::Null));
    ana.post(&format!("/goals/{goal}/withdraw"), json!({})).await.refused(422);
    let gone = verb(&ana, &goal, "withdraw", json!({"outcome_reason": "no longer wanted"})).await;
    assert_eq!(gone["lifecycle"], "withdrawn");
}

async fn a_goal_is_completed_as_its_last_rating_says(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    verb(&ana, &goal, "agree", json!({})).await;
    let complete = format!("/goals/{goal}/complete");
    let bare = ana.post(&complete, json!({"achievement": "achieved"})).await.refused(422);
    assert_eq!(bare["errors"][0]["code"], "no_final_rating");
    let rating = |level: i64, on: &str| json!({"case_id": case.id, "goal_id": goal, "rated_on": on, "level": level});
    ana.post("/goal_ratings", rating(1, "2027-02-26")).await.ok();
    ana.post("/goal_ratings", rating(-1, "2027-02-27")).await.ok();
    let counted = json!({"case_id": case.id, "goal_id": goal, "rated_on": "2027-02-28", "value": 3});
    for _ in 0..2 {
        let wrong = ana.post(&complete, json!({"achievement": "achieved"})).await.refused(422);
        assert_eq!(wrong["errors"][0]["code"], "contradicts_rating");
        // What was counted later says no level.
        ana.post("/goal_ratings", counted.clone()).await.ok();
    }
    ana.post("/goal_ratings", rating(0, "2027-03-01")).await.ok();
    ana.post(&complete, json!({"achievement": "achieved"})).await.ok();
}

async fn a_goal_and_a_referral_are_for_a_person_of_the_case(world: World) {
    let ana = world.ana().await;
    let (org, _) = harbor(&world).await;
    let (case, other) = (opens_a_case(&ana).await, opens_a_case(&ana).await);
    for (table, body) in [("goals", smart(&case)), ("referrals", ready(&case, &org))] {
        let mut astray = body.clone();
        astray["person_id"] = json!(other.person);
        let problem = ana.post(&format!("/{table}"), astray).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], "no_part", "{problem}");
        let path = format!("/{table}/{}", text(&ana.post(&format!("/{table}"), body).await.ok()["id"]));
        let problem = ana.patch(&path, json!({"person_id": other.person})).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], "/person_id", "{problem}");
        ana.patch(&path, json!({"person_id": null})).await.ok();
    }
}

async fn an_agreed_goal_keeps_its_scale(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let mut body = smart(&case);
    body["gas_text"] = json!({"-2": "a", "-1": "b", "0": "c", "1": "d", "2": "e"});
    let goal = text(&ana.post("/goals", body).await.ok()["id"]);
    let path = format!("/goals/{goal}");
    ana.patch(&path, json!({"gas_baseline": -2})).await.ok();
    verb(&ana, &goal, "agree", json!({})).await;
    for patch in [
        json!({"gas_baseline": -1}),
        json!({"gas_text": {"0": "other"}}),
        json!({"unit": "walks a month"}),
        json!({"baseline_value": 1}),
    ] {
        assert_eq!(ana.patch(&path, patch).await.refused(422)["errors"][0]["code"], "locked");
    }
    ana.patch(&path, json!({"cadence": "weekly"})).await.ok();
}

async fn a_rating_is_added_and_never_changed(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    let rating = json!({"case_id": case.id, "goal_id": goal, "rated_on": "2027-03-01", "level": -0.5});
    let id = text(&ana.post("/goal_ratings", rating.clone()).await.ok()["id"]);
    ana.patch(&format!("/goal_ratings/{id}"), json!({"level": 2})).await.refused(405);
    for level in [json!(0.7), json!(3), json!(null)] {
        let mut wrong = rating.clone();
        wrong["level"] = level;
        assert_eq!(ana.post("/goal_ratings", wrong).await.refused(422)["errors"][0]["pointer"], "/level");
    }
    let mut ahead = rating.clone();
    ahead["rated_on"] = json!("2027-03-03");
    assert_eq!(ana.post("/goal_ratings", ahead).await.refused(422)["errors"][0]["pointer"], "/rated_on");
    let mut instead = rating;
    instead["replaces"] = json!(id);
    instead["level"] = json!(1);
    let mut astray = instead.clone();
    astray["goal_id"] = ana.post("/goals", smart(&case)).await.ok()["id"].clone();
    assert_eq!(ana.post("/goal_ratings", astray).await.refused(422)["errors"][0]["pointer"], "/replaces");
    ana.post("/goal_ratings", instead).await.ok();
}

async fn three_no_shows_in_a_row_are_counted_and_a_contact_starts_anew(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    for (day, then, counted) in [
        (2, "no_show", 1),
        (3, "no_show", 2),
        (4, "cancel_by_client", 0),
        (5, "no_show", 3),
        (6, "complete", 0),
        (7, "no_show", 1),
    ] {
        let start = format!("2027-03-0{day}T15:00:00Z");
        world.set_clock(&start);
        let contact = ana.post("/contacts", json!({"case_id": case.id, "planned_start": start})).await.ok();
        world.pass_secs(3600);
        let after = ana.post(&format!("/contacts/{}/{then}", text(&contact["id"])), json!({})).await.ok();
        assert_eq!(after["no_show_seq"], counted, "{after}");
    }
}

async fn a_no_show_is_recorded_a_quarter_of_an_hour_late_at_the_earliest(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let contact =
        ana.post("/contacts", json!({"case_id": case.id, "planned_start": "2027-03-01T15:00:00Z"})).await.ok();
    let path = format!("/contacts/{}/no_show", text(&contact["id"]));
    world.pass_secs(15 * 60 - 1);
    assert_eq!(ana.post(&path, json!({})).await.refused(422)["errors"][0]["code"], "too_early");
    world.pass_secs(1);
    ana.post(&path, json!({})).await.ok();
}

async fn a_contact_that_took_place_stands_and_dates_the_case(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let held = json!({"case_id": case.id, "status": "completed", "ended_at": "2027-02-28T16:00:00Z"});
    let contact = text(&ana.post("/contacts", held).await.ok()["id"]);
    let path = format!("/contacts/{contact}");
    assert_eq!(ana.get(&format!("/cases/{}", case.id)).await.ok()["last_contact_at"], "2027-02-28T16:00:00.000Z");
    ana.patch(&path, json!({"place": "home"})).await.refused(403);
    ana.post(&format!("{path}/mark_error"), json!({})).await.refused(403);
    sam.post(&format!("{path}/mark_error"), json!({"status_reason": "typed twice"})).await.ok();
    assert_eq!(ana.get(&format!("/cases/{}", case.id)).await.ok()["last_contact_at"], Value::Null);
    let wrong = json!({"case_id": case.id, "status": "entered_in_error"});
    assert_eq!(ana.post("/contacts", wrong).await.refused(422)["errors"][0]["code"], "illegal_start");
}

async fn a_case_closes_when_nothing_in_it_is_open_and_its_workers_leave(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    verb(&ana, &goal, "agree", json!({})).await;
    let status = format!("/cases/{}/status", case.id);
    assert_eq!(ana.post(&status, json!({"to": "closing"})).await.refused(422)["errors"][0]["pointer"], "/reason");
    ana.post(&status, json!({"to": "closing", "reason": "goals reached"})).await.ok();
    ana.post(&status, json!({"to": "closed", "reason": "goals reached"})).await.refused(403);
    let open = sam.post(&status, json!({"to": "closed", "reason": "goals reached"})).await.refused(422);
    assert_eq!(open["errors"][0]["code"], "open_goals");
    verb(&ana, &goal, "complete", json!({"achievement": "achieved", "outcome_reason": "she says so"})).await;
    let closed = sam.post(&status, json!({"to": "closed", "reason": "goals reached"})).await.ok();
    assert_eq!((&closed["status"], &closed["closed_on"]), (&json!("closed"), &json!("2027-03-01")));
    ana.get(&format!("/cases/{}", case.id)).await.refused(404);
    let held = sam.get(&format!("/case_assignments?case_id={}", case.id)).await.ok();
    assert!(held["items"][0]["to_ts"].is_string(), "{held}");
    let assign = json!({"user_id": ana.user_id(), "role": "primary", "reason": "comes back"});
    let early = sam.post(&format!("/cases/{}/assignments", case.id), assign).await.refused(409);
    assert_eq!(early["code"], "case_ended");
}

async fn a_case_does_not_go_while_a_partner_works_on_a_referral(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let (org, pat) = harbor(&world).await;
    for (verb, more) in [("mark_error", json!({})), ("transfer_out", json!({"receiving_agency": "Lakeside"}))] {
        let case = opens_a_case(&ana).await;
        let referral = format!("/referrals/{}", text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]));
        ana.post(&format!("{referral}/request"), json!({})).await.ok();
        let mut body = json!({"status_reason": "opened twice"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let path = format!("/cases/{}/{verb}", case.id);
        let problem = sam.post(&path, body.clone()).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], "open_referrals", "{problem}");
        sam.post(&format!("{referral}/cancel"), json!({"status_reason": "opened twice"})).await.ok();
        sam.post(&path, body).await.ok();
        pat.post(&format!("{referral}/accept"), json!({})).await.refused(409);
    }
}

async fn a_case_without_a_worker_does_not_become_active(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let id = text(&ana.post("/cases", json!({})).await.ok()["id"]);
    let help = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "Helps"});
    sam.post(&format!("/cases/{id}/assignments"), help).await.ok();
    let status = format!("/cases/{id}/status");
    ben.post(&status, json!({"to": "active"})).await.refused(403);
    let begun = sam.post(&status, json!({"to": "active", "reason": "She asks for help"})).await.ok();
    assert_eq!((&begun["status"], &begun["status_reason"]), (&json!("active"), &json!("She asks for help")));
    let rest = |on: &str| json!({"to": "on_hold", "reason": "in hospital", "resume_on": on});
    assert_eq!(
        ana.post(&status, json!({"to": "on_hold", "reason": "x"})).await.refused(422)["errors"][0]["pointer"],
        "/resume_on"
    );
    ana.post(&status, rest("2027-05-01")).await.refused(403);
    sam.post(&status, rest("2027-05-01")).await.ok();
    ana.post(&status, json!({"to": "active"})).await.ok();
    let id = text(&ana.post("/cases", json!({})).await.ok()["id"]);
    world.ada().await.post(&format!("/users/{}/deactivate", ana.user_id()), json!({})).await.ok();
    let gone = sam.post(&format!("/cases/{id}/status"), json!({"to": "active"})).await.refused(422);
    assert_eq!(gone["errors"][0]["code"], "no_primary");
    // Nor with one who manages the agency by now and sees no case.
    let id = text(&ben.post("/cases", json!({})).await.ok()["id"]);
    world.ada().await.patch(&format!("/users/{}", ben.user_id()), json!({"role": "administrator"})).await.ok();
    let unseen = sam.post(&format!("/cases/{id}/status"), json!({"to": "active"})).await.refused(422);
    assert_eq!(unseen["errors"][0]["code"], "no_primary");
}

async fn a_case_rests_until_a_day_to_come_and_long_only_as_the_supervisor_says(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let case = opens_a_case(&ana).await;
    let path = format!("/cases/{}", case.id);
    let hold = json!({"status_reason": "in hospital", "resume_on": "2027-02-27"});
    let past = ana.post(&format!("{path}/hold"), hold).await.refused(422);
    assert_eq!(past["errors"][0]["code"], "past");
    ana.post(&format!("{path}/hold"), json!({"status_reason": "in hospital", "resume_on": "2027-03-20"})).await.ok();
    for (day, code) in [(json!("2027-05-01"), "too_far"), (json!("2027-02-01"), "past"), (Value::Null, "required")] {
        let problem = ana.patch(&path, json!({"resume_on": day})).await.refused(422);
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!("/resume_on"), &json!(code))
        );
    }
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    phone.edits("cases", &case.id, json!({"resume_on": "2027-05-01", "risk": "watch"}));
    phone.syncs().await;
    let row = ana.get(&path).await.ok();
    assert_eq!((&row["resume_on"], &row["risk"]), (&json!("2027-03-20"), &json!("watch")));
    ana.patch(&path, json!({"resume_on": "2027-03-31"})).await.ok();
    // The rest that was agreed goes by, and the case is worked on.
    world.set_clock("2027-04-05T15:00:00Z");
    ana.patch(&path, json!({"risk": "none"})).await.ok();
    ana.post(&format!("{path}/resume"), json!({})).await.ok();
    sam.post(&format!("{path}/hold"), json!({"status_reason": "abroad", "resume_on": "2027-08-01"})).await.ok();
}

/// The role alone is not the supervision of the case.
async fn who_was_promoted_works_on_and_signs_nothing_off(world: World) {
    let (ana, sam, ada) = (world.ana().await, world.sam().await, world.ada().await);
    let case = opens_a_case(&ana).await;
    let held = json!({"case_id": case.id, "status": "completed", "ended_at": "2027-02-28T16:00:00Z"});
    let contact = format!("/contacts/{}", text(&ana.post("/contacts", held).await.ok()["id"]));
    ada.patch(&format!("/users/{}", ana.user_id()), json!({"role": "supervisor"})).await.ok();
    ana.logs_in().await;
    let path = format!("/cases/{}", case.id);
    let error = json!({"status_reason": "typed twice"});
    ana.post(&format!("{contact}/mark_error"), error.clone()).await.refused(403);
    sam.post(&format!("{contact}/mark_error"), error.clone()).await.ok();
    ana.post("/notes", json!({"case_id": case.id, "kind": "supervision", "body": "x"})).await.refused(403);
    ana.post(&format!("{path}/mark_error"), error).await.refused(403);
    let away = json!({"status_reason": "moves away", "receiving_agency": "Lakeside"});
    ana.post(&format!("{path}/transfer_out"), away).await.refused(403);
    let rest = |on: &str| json!({"status_reason": "in hospital", "resume_on": on});
    ana.post(&format!("{path}/hold"), rest("2027-05-01")).await.refused(403);
    ana.post(&format!("{path}/hold"), rest("2027-03-20")).await.ok();
    ana.post(&format!("{path}/resume"), json!({})).await.ok();
    let done = json!({"status_reason": "goals reached"});
    ana.post(&format!("{path}/begin_closing"), done.clone()).await.ok();
    ana.post(&format!("{path}/close"), done.clone()).await.refused(403);
    sam.post(&format!("{path}/close"), done).await.ok();
}

async fn what_other_rows_stand_against_is_not_stored_from_a_phone_either(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let made = async |body: Value| text(&ana.post("/contacts", body).await.ok()["id"]);
    let ahead = made(json!({"case_id": case.id, "planned_start": "2027-03-02T15:00:00Z"})).await;
    let held = made(json!({"case_id": case.id, "status": "completed"})).await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    phone.edits("contacts", &ahead, json!({"rescheduled_to": held, "place": "home"}));
    phone.syncs().await;
    phone.pulls().await;
    let row = ana.get(&format!("/contacts/{ahead}")).await.ok();
    assert_eq!((&row["rescheduled_to"], &row["place"]), (&Value::Null, &json!("home")));
    assert_eq!(phone.column("contacts", &ahead, "rescheduled_to"), Value::Null);
    let told = ana.get("/sync_issues?status=open").await.ok();
    assert_eq!((&told["items"][0]["kind"], &told["items"][0]["about_id"]), (&json!("ignored"), &json!(ahead)));
}

async fn an_illegal_move_says_where_the_row_is(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    let problem = ana.post(&format!("/goals/{goal}/start"), json!({})).await.refused(409);
    assert_eq!(problem["code"], "illegal_move");
    assert!(text(&problem["detail"]).contains("draft"));
    ana.post(&format!("/goals/{goal}/levitate"), json!({})).await.refused(404);
    let unknown = ana.post(&format!("/cases/{}/status", case.id), json!({"to": "zz"})).await.refused(422);
    assert_eq!(unknown["errors"][0]["pointer"], "/to");
    assert!(text(&unknown["errors"][0]["detail"]).contains("on_hold"), "{unknown}");
    let extra = ana.post(&format!("/goals/{goal}/propose"), json!({"due_on": "2027-04-01"})).await.refused(422);
    assert_eq!(extra["errors"][0]["code"], "unknown_field");
    let stale =
        ana.request(Method::POST, &format!("/goals/{goal}/propose")).header("if-match", "\"1\"").json(&json!({}));
    ana.send("propose an old version", stale).await.refused(412);
}

async fn a_move_with_which_nothing_comes_along_does_without_a_body(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    let bare = |path: String| ana.request(Method::POST, &path);
    let moved = ana.send("a move without a body", bare(format!("/goals/{goal}/propose"))).await.ok();
    assert_eq!(moved["lifecycle"], "proposed");
    let lacks = ana.send("a move that needs a word", bare(format!("/cases/{}/hold", case.id))).await.refused(422);
    let faults = lacks["errors"].as_array().expect("a list");
    assert!(faults.iter().any(|fault| fault["pointer"] == "/status_reason"), "{lacks}");
    ana.send("half a body", bare(format!("/goals/{goal}/agree")).body("{")).await.refused(400);
    let document = Document::of(&world).await;
    let required = |operation| document.operations()[operation]["requestBody"]["required"].clone();
    assert_eq!([required("propose_Goal"), required("hold_Case")], [json!(false), json!(true)]);
}

async fn a_case_says_what_its_workflow_waits_for_to_those_who_have_it(world: World) {
    let (ana, ben, sam, omar) = (world.ana().await, world.ben().await, world.sam().await, world.omar().await);
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    verb(&ana, &goal, "agree", json!({})).await;
    let path = format!("/cases/{}/workflow", case.id);
    let said = ana.get(&path).await.ok();
    assert_eq!((&said["case_id"], &said["as_of"]), (&json!(case.id), &json!("2027-03-01T15:00:00.000Z")));
    let rule = said["rules"].as_array().expect("rules").iter().find(|rule| rule["subject_id"] == json!(goal));
    let rule = rule.unwrap_or_else(|| panic!("a rule about the goal in {said}"));
    assert_eq!(rule["state"], "pending");
    assert_eq!(rule["next"]["due_at"], "2027-05-18T12:00:00.000Z", "fourteen days before, at eight in New York");
    sam.get(&path).await.ok();
    ben.get(&path).await.refused(404);
    omar.get(&path).await.refused(404);
    ana.get("/cases/case-of-nobody/workflow").await.refused(404);
}

async fn an_agreed_goal_stays_smart_and_agreed(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    let path = format!("/goals/{goal}");
    ana.patch(&path, json!({"measure": null})).await.ok();
    ana.patch(&path, json!({"measure": "walks a week"})).await.ok();
    verb(&ana, &goal, "agree", json!({})).await;
    for then in ["", "start", "hold"] {
        if !then.is_empty() {
            verb(&ana, &goal, then, json!({})).await;
        }
        for (patch, pointer, code) in [
            (json!({"statement": null}), "/statement", "smart_s"),
            (json!({"statement": "short"}), "/statement", "smart_s"),
            (json!({"measure": null}), "/measure", "smart_m"),
            (json!({"unit": null}), "/unit", "smart_m"),
            (json!({"strengths": []}), "/strengths", "smart_a"),
            (json!({"why_it_matters": ""}), "/why_it_matters", "smart_r"),
            (json!({"due_on": null}), "/due_on", "smart_t"),
            (json!({"client_agreement": null}), "/client_agreement", "required"),
        ] {
            let problem = ana.patch(&path, patch).await.refused(422);
            let error = &problem["errors"][0];
            assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{then} {problem}");
        }
    }
    let all = json!({"statement": null, "measure": null, "due_on": null, "client_agreement": null});
    assert_eq!(ana.patch(&path, all).await.refused(422)["errors"].as_array().map(Vec::len), Some(4));
    ana.patch(&path, json!({"statement": "Walk to the market three times a week", "due_on": "2028-07-01"})).await.ok();
}

async fn a_goal_names_its_reminders_among_those_there_are(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let mut body = smart(&case);
    body["reminder_offsets_days"] = json!([7, 0]);
    let goal = text(&ana.post("/goals", body).await.ok()["id"]);
    verb(&ana, &goal, "agree", json!({})).await;
    let said = ana.get(&format!("/cases/{}/workflow", case.id)).await.ok();
    let rule = said["rules"].as_array().expect("rules").iter().find(|rule| rule["subject_id"] == json!(goal));
    let rule = rule.unwrap_or_else(|| panic!("a rule about the goal in {said}"));
    assert_eq!(rule["next"]["step"], "d7", "{rule}");
    assert!(rule["because"].to_string().contains("goals.reminder_offsets_days lacks 14"), "{rule}");
    for wrong in [json!([21]), json!("weekly"), json!({"7": true})] {
        let problem = ana.patch(&format!("/goals/{goal}"), json!({"reminder_offsets_days": wrong})).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], "/reminder_offsets_days");
    }
}

async fn a_contact_begins_as_planned_or_as_held(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    for status in ["confirmed", "in_progress", "client_cancelled", "worker_cancelled", "rescheduled", "no_show"] {
        let body = json!({"case_id": case.id, "status": status});
        assert_eq!(ana.post("/contacts", body).await.refused(422)["errors"][0]["code"], "illegal_start", "{status}");
    }
    for status in ["planned", "completed", "attempted"] {
        ana.post("/contacts", json!({"case_id": case.id, "status": status})).await.ok();
    }
    let unplanned = text(&ana.post("/contacts", json!({"case_id": case.id})).await.ok()["id"]);
    let problem = ana.post(&format!("/contacts/{unplanned}/no_show"), json!({})).await.refused(422);
    assert_eq!(problem["errors"][0]["pointer"], "/planned_start");
}

async fn a_contact_is_rescheduled_to_one_that_is_ahead(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let plans = async |start: &str| {
        text(&ana.post("/contacts", json!({"case_id": case.id, "planned_start": start})).await.ok()["id"])
    };
    let missed = plans("2027-03-01T14:00:00Z").await;
    ana.post(&format!("/contacts/{missed}/no_show"), json!({})).await.ok();
    let (first, second) = (plans("2027-03-02T15:00:00Z").await, plans("2027-03-03T15:00:00Z").await);
    let path = format!("/contacts/{first}/reschedule");
    for (other, code) in [(&first, "itself"), (&missed, "not_ahead")] {
        let problem = ana.post(&path, json!({"rescheduled_to": other})).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
    }
    assert_eq!(ana.post(&path, json!({"rescheduled_to": second})).await.ok()["status"], "rescheduled");
}

/// Ana's case with one goal reached, closed by Sam.
async fn closed(ana: &Person, sam: &Person) -> (String, String) {
    let case = opens_a_case(ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    verb(ana, &goal, "agree", json!({})).await;
    verb(ana, &goal, "complete", json!({"achievement": "achieved", "outcome_reason": "she says so"})).await;
    let status = format!("/cases/{}/status", case.id);
    ana.post(&status, json!({"to": "closing", "reason": "goals reached"})).await.ok();
    sam.post(&status, json!({"to": "closed", "reason": "goals reached"})).await.ok();
    (case.id, goal)
}

async fn a_closed_case_is_opened_again_with_a_worker_and_a_new_episode(world: World) {
    let (ana, sam, sol) = (world.ana().await, world.sam().await, world.sol().await);
    let (case, goal) = closed(&ana, &sam).await;
    let reopen = format!("/cases/{case}/reopen");
    ana.post(&reopen, json!({"status_reason": "x"})).await.refused(403);
    sol.post(&reopen, json!({"status_reason": "x"})).await.refused(404);
    assert_eq!(sam.post(&reopen, json!({})).await.refused(422)["errors"][0]["pointer"], "/status_reason");
    let problem = sam.post(&reopen, json!({"status_reason": "x", "user_id": sol.user_id()})).await.refused(422);
    assert_eq!(problem["errors"][0]["pointer"], "/user_id");
    ana.get(&format!("/cases/{case}")).await.refused(404);
    let open = sam.post(&reopen, json!({"status_reason": "asks for help again"})).await.ok();
    assert_eq!((&open["status"], &open["episode_no"], &open["closed_on"]), (&json!("active"), &json!(2), &Value::Null));
    assert_eq!(sam.post(&reopen, json!({"status_reason": "x"})).await.refused(409)["code"], "illegal_move");
    ana.get(&format!("/cases/{case}")).await.ok();
    let held = sam.get(&format!("/case_assignments?case_id={case}&role=primary")).await.ok();
    let open: Vec<_> = held["items"].as_array().expect("items").iter().filter(|row| row["to_ts"].is_null()).collect();
    assert_eq!((open.len(), &open[0]["user_id"]), (1, &json!(ana.user_id())));
    assert_eq!(ana.get(&format!("/goals/{goal}")).await.ok()["lifecycle"], "completed", "old goals stay closed");
    let said = ana.get(&format!("/cases/{case}/workflow")).await.ok();
    let ready = said["rules"].as_array().expect("rules").iter().find(|rule| rule["rule"] == "case.closure_ready");
    assert_eq!(ready.map(|rule| &rule["state"]), Some(&json!("blocked")), "what was reached before is no news");
}

async fn a_closed_case_is_opened_again_for_somebody_else(world: World) {
    let (ana, cleo, sam, ada) = (world.ana().await, world.cleo().await, world.sam().await, world.ada().await);
    let (case, _) = closed(&ana, &sam).await;
    ada.post(&format!("/users/{}/deactivate", ana.user_id()), json!({})).await.ok();
    let status = format!("/cases/{case}/status");
    let again = json!({"to": "active", "reason": "asks for help again"});
    let problem = sam.post(&status, again.clone()).await.refused(422);
    assert_eq!(problem["errors"][0]["pointer"], "/user_id", "Ana has gone");
    let mut named = again;
    named["user_id"] = json!(cleo.user_id());
    assert_eq!(sam.post(&status, named).await.ok()["status"], "active");
    cleo.get(&format!("/cases/{case}")).await.ok();
    sam.get(&format!("/cases/{case}")).await.refused(404); // it went along to the other team
}
