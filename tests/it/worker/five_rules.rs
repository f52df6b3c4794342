//! Each rule as the people it writes to see it.

use entities::casework::{case, contact, goal};
use entities::partners::referral;
use entities::workflow::simulate;
use serde_json::json;

use super::office::{ANA, BEN, Office, PAT, SAM, at, consent, day};
use crate::support::{World, on_both};

on_both!(
    a_goal_is_told_before_on_and_after_its_day_across_the_clock_change,
    a_goal_that_is_completed_is_not_told_of_any_more,
    after_three_days_without_a_worker_only_the_latest_step_is_told,
    a_reassigned_case_is_told_to_its_new_caseworker_and_to_nobody_else,
    a_promised_contact_is_told_until_one_is_planned,
    a_no_show_is_told_on_the_next_working_day,
    a_referral_is_told_to_the_partner_then_up_until_it_is_answered,
    a_case_ready_to_close_is_told_once_and_taken_back_when_a_goal_reopens,
    the_morning_digest_says_what_stands_and_nothing_when_nothing_does,
    a_closed_case_has_nothing_pending_in_the_same_commit,
    a_partner_is_not_told_once_the_agreement_has_ended_or_is_withdrawn,
    a_digest_is_not_lost_when_its_hour_is_moved_earlier,
    somebody_who_changes_their_hour_zone_or_absence_is_told_accordingly,
    prompts_of_somebody_who_has_left_move_on,
    an_agency_that_wants_counts_gets_counts,
);

/// Clocks in New York go forward on 14 March 2027: eight in the morning is 13:00Z before, 12:00Z after.
async fn a_goal_is_told_before_on_and_after_its_day_across_the_clock_change(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    assert_eq!(office.pending(&case).await, ["d14 2027-03-04T08:00 America/New_York"]);
    let told = office
        .told_at(&[
            "2027-03-04T12:59:59Z",
            "2027-03-04T13:00:00Z",
            "2027-03-11T12:59:59Z",
            "2027-03-11T13:00:00Z",
            "2027-03-17T11:59:59Z",
            "2027-03-17T12:00:00Z",
            "2027-03-18T11:59:59Z",
            "2027-03-18T12:00:00Z",
            "2027-03-18T18:00:00Z",
        ])
        .await;
    assert_eq!(
        told.iter().filter(|line| line.contains(ANA)).collect::<Vec<_>>(),
        [
            "2027-03-04 ana@demo.example: A goal is due in 14 days",
            "2027-03-11 ana@demo.example: A goal is due in 7 days",
            "2027-03-17 ana@demo.example: A goal is due tomorrow",
            "2027-03-18 ana@demo.example: A goal is due today",
        ]
    );
    let late = office.told_at(&["2027-03-23T11:59:59Z", "2027-03-23T12:00:00Z"]).await;
    assert!(late.contains(&"2027-03-23 sam@demo.example: A goal is overdue".to_owned()), "{late:?}");
    assert!(office.pending(&case).await.is_empty());
    let mail = &office.mails_to(ANA)[0];
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.text.contains("is due in 14 days, on Thursday, 18 March"), "{}", mail.text);
    for mail in office.post.mails() {
        let all = mail.everything();
        assert!(!all.contains("CANARY"), "{all}");
        assert!(!all.contains("Ana Ortiz"), "{all}");
    }
}

async fn a_goal_that_is_completed_is_not_told_of_any_more(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-18").await;
    office.goal(&case, "2027-06-30").await;
    office.works_at("2027-03-04T13:00:00Z").await;
    office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = "completed".into()).await;
    let told = office.told_at(&["2027-03-11T13:00:00Z", "2027-03-18T12:00:00Z", "2027-03-23T12:00:00Z"]).await;
    assert_eq!(told, [""; 0]);
    let prompts = office.asks("select status from prompts", vec![]).await;
    assert_eq!(prompts, ["cancelled"]);
}

async fn after_three_days_without_a_worker_only_the_latest_step_is_told(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-17").await;
    office.works_at("2027-03-09T13:00:00Z").await;
    // d7 on the 10th and d1 on the 16th pass with nobody at work; the 17th is the day.
    let told = office.told_at(&["2027-03-17T15:00:00Z", "2027-03-17T15:10:00Z"]).await;
    let to_ana: Vec<_> = told.iter().filter(|line| line.contains(ANA)).collect();
    assert_eq!(to_ana, ["2027-03-17 ana@demo.example: A goal is due today"]);
    let digests: Vec<_> = told.iter().filter(|line| line.contains(SAM)).collect();
    assert_eq!(digests, ["2027-03-17 sam@demo.example: Your team's deadlines on Wednesday, 17 March"]);
    let outcomes = office
        .asks("select outcome || ' ' || key from wf_ledger where key like '%|d1' or key like '%|d7' order by 1", vec![])
        .await;
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    assert!(outcomes.iter().all(|line| line.starts_with("superseded")), "{outcomes:?}");
}

async fn a_reassigned_case_is_told_to_its_new_caseworker_and_to_nobody_else(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    // Fired for Ana while no mail server is there, then the case passes on.
    office.world.set_clock("2027-03-04T13:00:00Z");
    let nowhere = worker::Mailer::to_server(None, "desk@riverbend.example", "https://desk.riverbend.example");
    worker::drain_once(office.store(), &nowhere.expect("a mailer"), None).await.expect("it fires");
    office.reassign(&case, BEN).await;
    office.works_at("2027-03-04T13:05:00Z").await;
    assert_eq!(office.mails_to(ANA).len(), 0);
    assert_eq!(office.mails_to(BEN).len(), 1);
    let prompts = office.asks("select recipient_user_id from prompts where status = 'pending'", vec![]).await;
    assert_eq!(prompts, [office.world.id_of(BEN).await]);
    let why =
        office.asks("select reason from outbound_message where state = 'sent' and case_id is not null", vec![]).await;
    assert_eq!(why, ["the case has passed on since it was queued: its new holder gets it"]);
}

async fn a_promised_contact_is_told_until_one_is_planned(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let held = contact::Model {
        case_id: case.clone(),
        kind: "visit".into(),
        status: "completed".into(),
        occurred_at: Some(at("2027-03-01T14:00:00Z")),
        next_contact_on: Some(day("2027-03-15")),
        ..contact::Model::default()
    };
    office.contact(held).await;
    assert_eq!(office.pending(&case).await, ["d1 2027-03-14T08:00 America/New_York"]);
    let told = office.told_at(&["2027-03-14T11:59:00Z", "2027-03-14T12:00:00Z"]).await;
    assert_eq!(told, ["2027-03-14 ana@demo.example: A follow-up is due tomorrow"]);
    let planned = contact::Model {
        case_id: case.clone(),
        kind: "visit".into(),
        status: "planned".into(),
        planned_start: Some(at("2027-03-16T14:00:00Z")),
        ..contact::Model::default()
    };
    office.contact(planned).await;
    assert!(office.pending(&case).await.is_empty());
    assert_eq!(office.told_at(&["2027-03-15T12:00:00Z"]).await, [""; 0]);
}

async fn a_no_show_is_told_on_the_next_working_day(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let missed = contact::Model {
        case_id: case.clone(),
        kind: "visit".into(),
        status: "no_show".into(),
        occurred_at: Some(at("2027-03-12T20:00:00Z")),
        no_show_seq: 1,
        ..contact::Model::default()
    };
    office.world.set_clock("2027-03-12T21:00:00Z");
    office.contact(missed).await;
    let told = office.told_at(&["2027-03-13T13:00:00Z", "2027-03-15T11:59:00Z", "2027-03-15T12:00:00Z"]).await;
    assert_eq!(told, ["2027-03-15 ana@demo.example: A missed appointment to follow up"]);
}

async fn a_referral_is_told_to_the_partner_then_up_until_it_is_answered(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let sent = office.referral(&case).await;
    let told = office
        .told_at(&[
            "2027-03-01T15:00:01Z",
            "2027-03-04T13:00:00Z",
            "2027-03-10T13:00:00Z",
            "2027-03-11T13:00:00Z",
            "2027-03-15T12:00:00Z",
        ])
        .await;
    let told: Vec<_> = told.iter().filter(|line| !line.contains("deadlines")).collect();
    assert_eq!(
        told,
        [
            "2027-03-01 pat@partner.example: A new referral for you",
            "2027-03-04 pat@partner.example: A referral waits for your answer",
            "2027-03-10 pat@partner.example: A referral waits for your answer",
            "2027-03-11 ana@demo.example: A referral has no answer",
            "2027-03-15 sam@demo.example: A referral has no answer",
        ]
    );
    let reference = office.asks("select reference from cases", vec![]).await.remove(0);
    for mail in office.mails_to(PAT) {
        assert!(!mail.everything().contains(&reference), "the case's reference is not the partner's");
        assert!(!mail.everything().contains("CANARY"));
    }
    let second = office.case_of(ANA).await;
    office.change::<referral::Entity>(&sent, |referral| referral.status = "accepted".into()).await;
    assert!(office.pending(&case).await.is_empty());
    assert!(office.pending(&second).await.is_empty());
}

async fn a_case_ready_to_close_is_told_once_and_taken_back_when_a_goal_reopens(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-08-31").await;
    let settle = async |lifecycle: &'static str| {
        office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = lifecycle.into()).await;
    };
    office.world.set_clock("2027-06-01T15:00:00Z");
    settle("completed").await;
    let told = office.told_at(&["2027-06-01T15:00:10Z", "2027-06-01T16:00:00Z"]).await;
    assert_eq!(told, ["2027-06-01 ana@demo.example: A case may be ready to close"]);
    settle("active").await;
    let prompts = "select status from prompts order by id";
    assert_eq!(office.asks(prompts, vec![]).await, ["cancelled"]);
    office.world.set_clock("2027-06-10T15:00:00Z");
    settle("completed").await;
    let told = office.told_at(&["2027-06-10T15:00:10Z", "2027-06-10T16:00:00Z"]).await;
    let told: Vec<_> = told.iter().filter(|line| line.contains(ANA)).collect();
    assert_eq!(told, ["2027-06-10 ana@demo.example: A case may be ready to close"]);
    assert_eq!(office.asks(prompts, vec![]).await, ["cancelled", "pending"]);
}

async fn the_morning_digest_says_what_stands_and_nothing_when_nothing_does(world: World) {
    let office = Office::open(world).await;
    office.works_at("2027-03-01T15:00:00Z").await;
    let told = office.told_at(&["2027-03-02T13:00:00Z"]).await;
    assert_eq!(told, [""; 0], "there is nothing to say");
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-05").await;
    let told = office
        .told_at(&[
            "2027-03-03T12:59:59Z",
            "2027-03-03T13:00:00Z",
            "2027-03-03T15:00:00Z",
            "2027-03-06T13:00:00Z",
            "2027-03-07T13:00:00Z",
        ])
        .await;
    let digests: Vec<_> = told.iter().filter(|line| line.contains(SAM)).collect();
    assert_eq!(digests, ["2027-03-03 sam@demo.example: Your team's deadlines on Wednesday, 3 March"]);
    assert!(office.mails_to("sol@demo.example").is_empty(), "the other team's supervisor has nothing to read");
    let reference = office.asks("select reference from cases", vec![]).await.remove(0);
    let mail = &office.mails_to(SAM)[0];
    assert!(mail.text.contains("Goals due within a week: 1"), "{}", mail.text);
    assert!(mail.text.contains(&reference), "{}", mail.text);
    // The state is asked at sending: what was settled meanwhile is not in it.
    office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = "withdrawn".into()).await;
    assert_eq!(office.told_at(&["2027-03-08T13:00:00Z"]).await, [""; 0]);
}

async fn a_closed_case_has_nothing_pending_in_the_same_commit(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    assert_eq!(office.pending(&case).await.len(), 1);
    office.change::<case::Entity>(&case, |case| case.status = "closed".into()).await;
    assert!(office.pending(&case).await.is_empty());
    let why = office.asks("select reason from wf_timer where state = 'cancelled'", vec![]).await;
    assert_eq!(why, ["goals are reminded while the case is open and not on hold"]);
    office.change::<case::Entity>(&case, |case| case.status = "active".into()).await;
    assert_eq!(office.pending(&case).await, ["d14 2027-03-04T08:00 America/New_York"]);
}

async fn a_partner_is_not_told_once_the_agreement_has_ended_or_is_withdrawn(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let sent = office.referral(&case).await;
    assert_eq!(office.told_at(&["2027-03-01T15:00:01Z"]).await.len(), 1);
    let until = |day: &str| {
        let mut record = consent();
        record.0["until"] = day.into();
        Some(record)
    };
    office.change::<referral::Entity>(&sent, |referral| referral.client_consent = until("2027-03-03")).await;
    let told = office.told_at(&["2027-03-04T13:00:00Z"]).await;
    assert!(told.iter().all(|line| line.contains("deadlines")), "it ended the day before: {told:?}");
    office.change::<referral::Entity>(&sent, |referral| referral.client_consent = until("2027-09-01")).await;
    // In the outbox while no mail server is there, then it is withdrawn.
    office.world.set_clock("2027-03-10T13:00:00Z");
    let nowhere = worker::Mailer::to_server(None, "desk@riverbend.example", "https://desk.riverbend.example");
    worker::drain_once(office.store(), &nowhere.expect("a mailer"), None).await.expect("it fires");
    let queued = "select step from outbound_message where to_role = 'partner' and state = 'queued'";
    assert_eq!(office.asks(queued, vec![]).await.len(), 1);
    office.change::<referral::Entity>(&sent, |referral| referral.client_consent = None).await;
    assert_eq!(office.asks(queued, vec![]).await, [""; 0]);
    assert!(office.pending(&case).await.is_empty());
    let told = office.told_at(&["2027-03-11T13:00:00Z", "2027-03-15T13:00:00Z"]).await;
    assert!(told.iter().all(|line| line.contains("deadlines")), "{told:?}");
}

async fn a_digest_is_not_lost_when_its_hour_is_moved_earlier(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-05").await;
    office.works().await;
    office.works_at("2027-03-02T12:30:00Z").await;
    let (sam, sam_id) = (office.world.sam().await, office.world.id_of(SAM).await);
    // It is half past seven, and the digest would come at eight.
    sam.patch(&format!("/users/{sam_id}"), json!({"digest_hour": 6})).await.ok();
    let told = office.told_at(&["2027-03-02T12:31:00Z", "2027-03-02T13:00:00Z", "2027-03-03T11:00:00Z"]).await;
    let digests: Vec<_> = told.iter().filter(|line| line.contains(SAM)).map(|line| &line[..10]).collect();
    assert_eq!(digests, ["2027-03-02", "2027-03-03"], "{told:?}");
    let snapshot = office.store().read().await.expect("a snapshot");
    let lines = simulate::simulate(&*snapshot, None, day("2027-03-03"), day("2027-03-04"), snapshot.now()).await;
    let lines = lines.expect("it answers");
    let digests: Vec<_> =
        lines.iter().filter(|line| line.rule == "supervisor.digest").map(|line| &*line.due_at).collect();
    assert_eq!(digests, ["2027-03-04T11:00:00.000Z"], "what is out is not told again");
}

async fn somebody_who_changes_their_hour_zone_or_absence_is_told_accordingly(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let (ana, path) = (office.world.ana().await, format!("/users/{}", office.world.id_of(ANA).await));
    assert_eq!(office.pending(&case).await, ["d14 2027-03-04T08:00 America/New_York"]);
    ana.patch(&path, json!({"digest_hour": 6})).await.ok();
    assert_eq!(office.pending(&case).await, ["d14 2027-03-04T06:00 America/New_York"]);
    ana.patch(&path, json!({"tz": "America/Chicago"})).await.ok();
    assert_eq!(office.pending(&case).await, ["d14 2027-03-04T06:00 America/Chicago"]);
    // Ben covers while Ana is away, and what she was shown is shown to him.
    office.works_at("2027-03-04T12:00:00Z").await;
    let shown = "select recipient_user_id from prompts where status = 'pending'";
    assert_eq!(office.asks(shown, vec![]).await, [office.world.id_of(ANA).await]);
    let cover = json!({"user_id": office.world.id_of(BEN).await, "role": "covering", "reason": "leave"});
    office.world.sam().await.post(&format!("/cases/{case}/assignments"), cover).await.ok();
    ana.patch(&path, json!({"away_from": "2027-03-04", "away_to": "2027-03-12"})).await.ok();
    assert_eq!(office.asks(shown, vec![]).await, [office.world.id_of(BEN).await]);
}

async fn prompts_of_somebody_who_has_left_move_on(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.works_at("2027-03-04T13:00:00Z").await;
    let (ada, ana) = (office.world.ada().await, office.world.id_of(ANA).await);
    ada.post(&format!("/users/{ana}/deactivate"), json!({})).await.ok();
    let shown = "select recipient_user_id from prompts where status = 'pending'";
    assert_eq!(
        office.asks(shown, vec![]).await,
        [office.world.id_of(SAM).await],
        "without a caseworker, the supervisor"
    );
    ada.post(&format!("/users/{ana}/reactivate"), json!({})).await.ok();
    assert_eq!(office.asks(shown, vec![]).await, [ana]);
}

async fn an_agency_that_wants_counts_gets_counts(world: World) {
    let office = Office::open(world).await;
    let ada = office.world.ada().await;
    ada.patch(&format!("/agencies/{}", office.world.riverbend), json!({"email_policy": 0})).await.ok();
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.referral(&case).await;
    for now in ["2027-03-01T15:00:01Z", "2027-03-04T13:00:00Z", "2027-03-11T13:00:00Z", "2027-03-12T13:00:00Z"] {
        office.works_at(now).await;
    }
    let mails = office.post.mails();
    assert!([ANA, SAM, PAT].iter().all(|email| mails.iter().any(|mail| mail.to == *email)), "{mails:?}");
    let text = "select reference from cases union all select reference from referrals";
    let references = office.asks(text, vec![]).await;
    for mail in mails {
        let all = mail.everything();
        for reference in &references {
            assert!(!all.contains(reference), "{reference} in {all}");
        }
        assert!(!mail.text.contains("/#/") && mail.text.contains("https://desk.riverbend.example"), "{}", mail.text);
    }
    let digests = office.mails_to(SAM);
    assert!(digests.iter().any(|mail| mail.text.contains("Goals due within a week: 1")), "{digests:?}");
}
