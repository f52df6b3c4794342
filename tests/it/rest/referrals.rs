//! A referral between the agency and its partner.

use serde_json::{Value, json};

use super::scene::{harbor, opens_a_case, partner, ready, text};
use crate::support::{Person, World, on_both};

on_both!(
    nothing_is_shared_before_the_client_has_chosen_and_agreed,
    a_partner_sees_a_referral_from_the_request_on_and_only_what_was_agreed,
    an_agreement_is_a_record_that_can_be_read,
    what_the_partner_reads_only_becomes_less_once_it_was_requested,
    a_withdrawn_agreement_cancels_what_has_not_begun_and_hides_the_need,
    what_the_client_agreed_to_stays_whole_until_it_is_withdrawn,
    a_referral_goes_from_request_to_a_closed_loop_and_tells_each_step,
    a_confirmation_is_of_the_outcome_that_was_confirmed,
    a_worker_records_an_answer_that_came_by_telephone,
    a_cancelled_referral_waits_for_the_other_side,
    a_partner_changes_nothing_but_by_answering,
    an_administrator_keeps_the_partners,
);

async fn verb(who: &Person, id: &str, verb: &str, body: Value) -> Value {
    who.post(&format!("/referrals/{id}/{verb}"), body).await.ok()
}

async fn nothing_is_shared_before_the_client_has_chosen_and_agreed(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", json!({"case_id": case.id})).await.ok()["id"]);
    let request = format!("/referrals/{id}/request");
    let problem = ana.post(&request, json!({})).await.refused(422);
    let pointers: Vec<String> =
        problem["errors"].as_array().expect("errors").iter().map(|fault| text(&fault["pointer"])).collect();
    assert_eq!(pointers, ["/partner_org_id", "/need_category", "/client_choice", "/client_consent", "/client_consent"]);
    let mut body = ready(&case, &org);
    body["client_consent"]["until"] = json!("2027-02-28");
    body.as_object_mut().expect("an object").remove("case_id");
    ana.patch(&format!("/referrals/{id}"), body).await.ok();
    assert_eq!(ana.post(&request, json!({})).await.refused(422)["errors"][0]["code"], "expired");
    pat.get(&format!("/referrals/{id}")).await.refused(404);
    let (ada, partner) = (world.ada().await, format!("/organizations/{org}"));
    ana.patch(&format!("/referrals/{id}"), json!({"client_consent": {"until": "2027-09-01"}})).await.ok();
    for gone in ["defunct", "temporarily_closed"] {
        ada.patch(&partner, json!({"status": gone})).await.ok();
        assert_eq!(ana.post(&request, json!({})).await.refused(422)["errors"][0]["code"], "closed", "{gone}");
    }
    ada.patch(&partner, json!({"status": "active"})).await.ok();
    ana.post(&request, json!({})).await.ok();
    let straight = json!({"case_id": case.id, "status": "requested"});
    assert_eq!(ana.post("/referrals", straight).await.refused(422)["errors"][0]["code"], "illegal_start");
}

async fn a_partner_sees_a_referral_from_the_request_on_and_only_what_was_agreed(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let mut write = world.store.write(&entities::Actor::system(&world.riverbend)).await.expect("the door");
    let other = entities::partners::organization::Model {
        name: "Elsewhere".into(),
        status: "active".into(),
        ..Default::default()
    };
    let other = write.create::<entities::partners::organization::Entity>(other).await.expect("an organisation").id;
    write.commit().await.expect("a commit");
    let eve = partner(&world, &other, "eve@partner.example").await;
    let case = opens_a_case(&ana).await;
    // That the reason may be shared, the client agrees to before it is asked.
    let without = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    verb(&ana, &without, "request", json!({})).await;
    assert!(pat.get(&format!("/referrals/{without}")).await.ok().get("reason").is_none());
    verb(&ana, &without, "mark_error", json!({"status_reason": "twice"})).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    let path = format!("/referrals/{id}");
    ana.patch(&path, json!({"packet_fields": ["reason"]})).await.ok();
    pat.get(&path).await.refused(404);
    verb(&ana, &id, "request", json!({})).await;
    eve.get(&path).await.refused(404);
    let seen = pat.get(&path).await.ok();
    assert_eq!(seen["need_category"], "food_insecurity");
    for hidden in ["case_id", "person_id", "client_choice", "client_consent", "created_by", "updated_by"] {
        assert!(seen.get(hidden).is_none(), "{hidden} in {seen}");
    }
    let listed = pat.get("/referrals").await.ok();
    assert_eq!(listed["items"], json!([seen]));
    assert_eq!(pat.get(&format!("/referrals?case_id={}", case.id)).await.ok()["items"], json!([]));
    assert_eq!(eve.get("/referrals").await.ok()["items"], json!([]));
    assert!(text(&pat.get(&path).await.ok()["reason"]).contains("secret-reason"));
    let until =
        |on: &str| json!({"client_consent": {"by": "client", "on": "2027-03-01", "how": "signed", "until": on}});
    ana.patch(&path, until("2027-02-28")).await.ok();
    assert!(pat.get(&path).await.ok().get("reason").is_none(), "the agreement has run out");
    ana.patch(&path, until("2027-09-01")).await.ok();
    ana.patch(&path, json!({"partner_org_id": other})).await.refused(422);
    verb(&ana, &id, "cancel", json!({"status_reason": "client withdrew; secret-why"})).await;
    let seen = pat.get(&path).await.ok();
    assert_eq!(seen["status"], "cancelled");
    assert!(!seen.to_string().contains("secret"), "{seen}");
    verb(&ana, &id, "mark_error", json!({"status_reason": "wrong person"})).await;
    pat.get(&path).await.refused(404);
}

async fn a_referral_goes_from_request_to_a_closed_loop_and_tells_each_step(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    verb(&ana, &id, "request", json!({})).await;
    sam.post(&format!("/referrals/{id}/accept"), json!({})).await.refused(403);
    let accepted = verb(&pat, &id, "accept", json!({"capacity": "capacity"})).await;
    assert_eq!(
        (&accepted["answered_via"], &accepted["ack_at"]),
        (&json!("portal"), &json!("2027-03-01T15:00:00.000Z"))
    );
    pat.post(&format!("/referrals/{id}/reject"), json!({"reason_code": "other"})).await.refused(409);
    verb(&pat, &id, "start", json!({"enrolment": "enrolled"})).await;
    pat.post(&format!("/referrals/{id}/hold"), json!({})).await.refused(422);
    verb(&pat, &id, "hold", json!({"status_reason": "no stock"})).await;
    verb(&pat, &id, "resume", json!({})).await;
    pat.post(&format!("/referrals/{id}/complete"), json!({})).await.refused(422);
    let done = verb(&pat, &id, "complete", json!({"result": "parcels given", "outcome": "received"})).await;
    assert_eq!(done["outcome_confirmed_by"], "partner");
    assert!(done["loop_closed_at"].is_string());
    let events = ana.get(&format!("/referral_events?referral_id={id}")).await.ok();
    let steps: Vec<String> =
        events["items"].as_array().expect("items").iter().map(|event| text(&event["to_status"])).collect();
    let mut sorted = steps.clone();
    sorted.sort();
    assert_eq!(sorted, ["accepted", "completed", "draft", "in_progress", "in_progress", "on_hold", "requested"]);
    pat.get("/referral_events").await.refused(403);
}

async fn a_worker_records_an_answer_that_came_by_telephone(world: World) {
    let ana = world.ana().await;
    let (org, _) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    verb(&ana, &id, "request", json!({})).await;
    let missing = ana.post(&format!("/referrals/{id}/reject"), json!({"answered_via": "phone"})).await.refused(422);
    assert_eq!(missing["errors"][0]["pointer"], "/reason_code");
    let body = json!({"answered_via": "phone", "reason_code": "no_capacity"});
    assert_eq!(verb(&ana, &id, "reject", body).await["status"], "rejected");
    let events = ana.get(&format!("/referral_events?referral_id={id}")).await.ok();
    let told = events["items"].as_array().expect("items").iter().find(|event| event["to_status"] == "rejected");
    assert_eq!(told.map(|event| &event["via"]), Some(&json!("phone")));
    let done = json!({"outcome": "received"});
    ana.post(&format!("/referrals/{id}/complete"), done).await.refused(409);
}

async fn a_cancelled_referral_waits_for_the_other_side(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    verb(&ana, &id, "request", json!({})).await;
    ana.post(&format!("/referrals/{id}/cancel"), json!({})).await.refused(422);
    verb(&ana, &id, "cancel", json!({"status_reason": "moved away"})).await;
    assert_eq!(verb(&ana, &id, "acknowledge", json!({})).await["cancel_ack_at"], Value::Null);
    assert!(verb(&pat, &id, "acknowledge", json!({})).await["cancel_ack_at"].is_string());
}

async fn a_partner_changes_nothing_but_by_answering(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    verb(&ana, &id, "request", json!({})).await;
    pat.patch_at(&format!("/referrals/{id}"), "*", json!({"priority": "urgent"})).await.refused(403);
    pat.post("/referrals", json!({"case_id": case.id})).await.refused(403);
    pat.post(&format!("/referrals/{id}/mark_error"), json!({"status_reason": "x"})).await.refused(403);
    let reach = json!({"client_consent": {"by": "partner"}});
    pat.post(&format!("/referrals/{id}/accept"), reach).await.refused(422);
    assert_eq!(pat.get("/organizations").await.ok()["items"][0]["id"], json!(org));
    for table in ["cases", "persons", "goals", "notes", "contacts", "case_assignments", "staff"] {
        pat.get(&format!("/{table}")).await.refused(403);
    }
}

async fn an_administrator_keeps_the_partners(world: World) {
    let (ana, ada, omar) = (world.ana().await, world.ada().await, world.omar().await);
    ana.post("/organizations", json!({"name": "Harbor"})).await.refused(403);
    let org = ada.post("/organizations", json!({"name": "Harbor Food Bank", "email": "a@b.example"})).await.ok();
    let path = format!("/organizations/{}", text(&org["id"]));
    for (field, value) in [
        ("email", "no address"),
        ("email", "a@b\r\nBcc: c@d"),
        ("email", "a@b"),
        ("email", "a b@c.example"),
        ("email", "\u{e1}@c.example"),
        ("name", "a\nb"),
        ("tz", "Mars/Base"),
        ("website", "javascript:alert(1)"),
        ("website", "https://"),
        ("website", "JavaScript://example.org/%0aalert(1)"),
        ("parent_organization_id", &text(&org["id"])),
    ] {
        let problem = ada.patch(&path, json!({field: value})).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{problem}");
    }
    ada.patch(&path, json!({"website": "HTTPS://harbor.example"})).await.ok();
    assert_eq!(ana.get(&path).await.ok()["name"], "Harbor Food Bank");
    omar.get(&path).await.refused(404);
    assert_eq!(ada.patch(&path, json!({"status": "inactive"})).await.ok()["status"], "inactive");
}

async fn an_agreement_is_a_record_that_can_be_read(world: World) {
    let ana = world.ana().await;
    let (org, _) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    for (part, value) in [("how", "guessed"), ("on", "yesterday"), ("until", "soon"), ("withdrawn", "yes")] {
        let mut body = ready(&case, &org);
        body["client_consent"][part] = json!(value);
        let problem = ana.post("/referrals", body).await.refused(422);
        assert_eq!(problem["errors"][0]["pointer"], "/client_consent", "{part}");
    }
    let mut body = ready(&case, &org);
    body["client_consent"]["on"] = json!("2027-03-09");
    let id = text(&ana.post("/referrals", body).await.ok()["id"]);
    let problem = ana.post(&format!("/referrals/{id}/request"), json!({})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "in_future");
}

async fn a_withdrawn_agreement_cancels_what_has_not_begun_and_hides_the_need(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let mut consent = ready(&case, &org)["client_consent"].clone();
    consent["withdrawn"] = json!("2027-03-01");
    for (steps, then) in
        [(&[][..], "cancelled"), (&["accept"][..], "cancelled"), (&["accept", "start"][..], "in_progress")]
    {
        for gone in [consent.clone(), Value::Null] {
            let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
            let path = format!("/referrals/{id}");
            verb(&ana, &id, "request", json!({})).await;
            for step in steps {
                verb(&pat, &id, step, json!({})).await;
            }
            ana.patch(&path, json!({"client_consent": gone})).await.ok();
            let seen = pat.get(&path).await.ok();
            assert_eq!(seen["status"], then, "{seen}");
            assert!(seen.get("need_category").is_none() && seen.get("reason").is_none(), "{seen}");
            if then == "cancelled" {
                assert_eq!(seen["status_reason"], "withdrawn", "{seen}");
                let events = ana.get(&format!("/referral_events?referral_id={id}")).await.ok();
                assert!(events.to_string().contains("\"cancelled\""), "{events}");
            }
        }
    }
}

async fn what_the_client_agreed_to_stays_whole_until_it_is_withdrawn(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let whole = ready(&case, &org)["client_consent"].clone();
    for gone in [json!("2027-03-01"), Value::Null] {
        let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
        let path = format!("/referrals/{id}");
        ana.patch(&path, json!({"client_consent": {"how": null}})).await.ok();
        ana.patch(&path, json!({"client_consent": whole})).await.ok();
        verb(&ana, &id, "request", json!({})).await;
        for step in ["accept", "start"] {
            verb(&pat, &id, step, json!({})).await;
        }
        for (part, value) in [("by", " "), ("how", ""), ("on", ""), ("until", "")] {
            let value = if value.is_empty() { Value::Null } else { json!(value) };
            let mut less = whole.clone();
            less[part] = value;
            let problem = ana.patch(&path, json!({"client_consent": less})).await.refused(422);
            let error = &problem["errors"][0];
            assert_eq!((&error["pointer"], &error["code"]), (&json!("/client_consent"), &json!("required")), "{part}");
        }
        let mut longer = whole.clone();
        longer["until"] = json!("2027-10-01");
        ana.patch(&path, json!({"client_consent": longer})).await.ok();
        let withdrawn = if gone.is_null() { Value::Null } else { json!({"withdrawn": gone}) };
        ana.patch(&path, json!({"client_consent": withdrawn})).await.ok();
        let mut again = whole.clone();
        again["withdrawn"] = Value::Null;
        let problem = ana.patch(&path, json!({"client_consent": again})).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], "withdrawn");
    }
}

async fn a_confirmation_is_of_the_outcome_that_was_confirmed(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let begun = async || {
        let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
        verb(&ana, &id, "request", json!({})).await;
        verb(&pat, &id, "accept", json!({})).await;
        id
    };
    let id = begun().await;
    let path = format!("/referrals/{id}");
    ana.patch(&path, json!({"outcome": "received", "outcome_confirmed_by": "client"})).await.ok();
    let done = verb(&ana, &id, "complete", json!({"result": "she has her parcels"})).await;
    assert_eq!((&done["outcome_confirmed_by"], done["loop_closed_at"].is_string()), (&json!("client"), true), "{done}");
    let other = ana.patch(&path, json!({"outcome": "not_received"})).await.ok();
    assert_eq!((&other["outcome_confirmed_by"], &other["loop_closed_at"]), (&Value::Null, &Value::Null));
    let again = ana.patch(&path, json!({"outcome_confirmed_by": "client"})).await.ok();
    assert!(again["loop_closed_at"].is_string(), "{again}");
    // Who completes it says an outcome that nobody has confirmed.
    let id = begun().await;
    let done = verb(&ana, &id, "complete", json!({"outcome": "received"})).await;
    assert_eq!((&done["outcome_confirmed_by"], &done["loop_closed_at"]), (&json!("worker"), &Value::Null));
    let id = begun().await;
    ana.patch(&format!("/referrals/{id}"), json!({"outcome": "received", "outcome_confirmed_by": "partner"}))
        .await
        .ok();
    let done = verb(&pat, &id, "complete", json!({"outcome": "partly"})).await;
    assert_eq!(
        (&done["outcome_confirmed_by"], done["loop_closed_at"].is_string()),
        (&json!("partner"), true),
        "{done}"
    );
}

async fn what_the_partner_reads_only_becomes_less_once_it_was_requested(world: World) {
    let ana = world.ana().await;
    let (org, pat) = harbor(&world).await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    let path = format!("/referrals/{id}");
    ana.patch(&path, json!({"packet_fields": ["reason", "x"]})).await.ok();
    verb(&ana, &id, "request", json!({"packet_fields": ["reason"]})).await;
    let reads = async || pat.get(&path).await.ok().get("reason").is_some();
    assert!(reads().await);
    ana.patch(&path, json!({"packet_fields": ["reason"], "priority": "urgent"})).await.ok();
    for less in [json!([]), Value::Null] {
        ana.patch(&path, json!({"packet_fields": less})).await.ok();
        assert!(!reads().await);
        let problem = ana.patch(&path, json!({"packet_fields": ["reason"]})).await.refused(422);
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!("/packet_fields"), &json!("sent"))
        );
    }
    assert!(!reads().await);
    ana.patch(&path, json!({"reason": "said anew"})).await.ok();
}
