//! What changes around the rules: the program, the hour at which mail goes out, whom mail can reach.

use entities::casework::{contact, goal};
use entities::partners::organization;
use entities::people::{agency, user};
use entities::{Role, sql};

use super::office::{ANA, BEN, Office, PAT, SAM, at, day};
use super::refused_addresses::{GONE, refers_to_clinic};
use crate::support::{World, on_both};

on_both!(
    what_comes_up_at_night_is_told_in_the_morning,
    after_an_outage_of_the_mail_server_the_latest_says_it,
    a_prompt_whose_reason_comes_back_asks_again,
    a_cover_is_told_on_their_own_clock,
    what_a_newer_program_planned_is_left_to_it,
    another_programs_plans_are_made_again_at_the_start,
    a_contact_in_years_to_come_silences_nothing,
    a_partner_who_comes_to_be_reachable_hears_of_what_waits,
    a_partner_whose_only_address_is_refused_is_told_to_the_caseworker_at_once,
);

async fn does(office: &Office, text: &str) {
    let side = office.store().side().await.expect("a transaction");
    sql::exec(&*side, text, vec![]).await.expect(text);
    side.commit().await.expect("a commit");
}

async fn what_comes_up_at_night_is_told_in_the_morning(world: World) {
    let office = Office::open(world).await;
    let mut write = office.write().await;
    let riverbend = agency::by_id(write.conn(), &office.world.riverbend).await.expect("agencies").expect("Riverbend");
    let quiet = agency::Model { quiet_from: Some("20:00".into()), quiet_to: Some("07:00".into()), ..riverbend.clone() };
    agency::change(&mut write, &riverbend, quiet).await.expect("quiet hours");
    write.commit().await.expect("a commit");
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-08-31").await;
    // A Tuesday evening in New York, half past nine.
    office.world.set_clock("2027-06-02T01:30:00Z");
    office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = "completed".into()).await;
    let told = office.told_at(&["2027-06-02T01:30:10Z", "2027-06-02T10:59:00Z", "2027-06-02T11:00:00Z"]).await;
    let told: Vec<_> = told.iter().filter(|line| line.contains(ANA)).collect();
    assert_eq!(told, ["2027-06-02 ana@demo.example: A case may be ready to close"]);
    let sent = "select reason || ' ' || attempts from outbound_message where case_id is not null";
    assert_eq!(office.asks(sent, vec![]).await, [" 1"], "the night was no attempt");
    // What was due in the last minutes of the day is not kept for the next.
    office.world.set_clock("2027-06-02T23:59:50Z");
    office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = "active".into()).await;
    office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = "completed".into()).await;
    let told = office.told_at(&["2027-06-03T00:00:20Z"]).await;
    assert_eq!(told, ["2027-06-03 ana@demo.example: A case may be ready to close"]);
}

async fn after_an_outage_of_the_mail_server_the_latest_says_it(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-05").await;
    office.referral(&case).await;
    // A mail server that is down, as it is in earnest.
    let nowhere = super::office::mailer("smtp://127.0.0.1:9");
    for instant in ["2027-03-01T15:00:01Z", "2027-03-04T13:00:00Z", "2027-03-05T13:00:00Z"] {
        office.world.set_clock(instant);
        worker::drain_once(office.store(), &nowhere, None).await.expect("it fires");
    }
    let told = office.told_at(&["2027-03-05T20:00:00Z"]).await;
    let to = |who: &str| told.iter().filter(|line| line.contains(who)).cloned().collect::<Vec<_>>();
    let of_the_goal: Vec<_> = to(ANA).into_iter().filter(|line| line.contains("goal")).collect();
    assert_eq!(of_the_goal, ["2027-03-05 ana@demo.example: A goal is due today"]);
    assert_eq!(to(PAT), ["2027-03-05 pat@partner.example: A new referral for you"]);
    // Nor does it come after all when something else is written in the case.
    office.goal(&case, "2027-09-01").await;
    let told = office.told_at(&["2027-03-05T20:30:00Z", "2027-03-06T14:00:00Z"]).await;
    assert!(!told.iter().any(|line| line.contains(PAT) || line.contains(ANA)), "{told:?}");
}

async fn a_prompt_whose_reason_comes_back_asks_again(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-18").await;
    office.works_at("2027-03-11T13:00:00Z").await;
    let prompts = "select step || ' ' || status from prompts order by id";
    let held = async |lifecycle: &str| {
        office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = lifecycle.into()).await;
        office.asks(prompts, vec![]).await
    };
    assert_eq!(office.asks(prompts, vec![]).await, ["d7 pending"]);
    assert_eq!(held("on_hold").await, ["d7 cancelled"]);
    assert_eq!(held("active").await, ["d7 pending"]);
    assert_eq!(office.mails_to(ANA).len(), 1, "it is shown again and told once");
    office.works_at("2027-03-17T12:00:00Z").await;
    assert_eq!(held("on_hold").await, ["d7 cancelled", "d1 cancelled"]);
    assert_eq!(held("active").await, ["d7 cancelled", "d1 pending"], "a later one speaks for it");
    // What went with a case that was closed stays gone.
    let status = async |word: &str| {
        let again = i64::from(word == "active");
        office
            .change::<entities::casework::case::Entity>(&case, |case| {
                (case.status, case.episode_no) = (word.into(), case.episode_no + again);
            })
            .await;
    };
    status("closed").await;
    office.world.pass_secs(60);
    status("active").await;
    assert!(!office.asks(prompts, vec![]).await.contains(&"d1 pending".to_owned()));
}

async fn a_cover_is_told_on_their_own_clock(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let mut write = office.write().await;
    let change = async |write: &mut entities::Write, email: &str, alter: &dyn Fn(&mut user::Model)| {
        let before = user::by_email(write.conn(), email).await.expect("users").expect("a user");
        let mut after = before.clone();
        alter(&mut after);
        user::change(write, &before, after).await.expect("changed");
    };
    change(&mut write, ANA, &|ana| (ana.away_from, ana.away_to) = (Some(day("2027-03-15")), Some(day("2027-03-26"))))
        .await;
    change(&mut write, BEN, &|ben| (ben.tz, ben.digest_hour) = (Some("America/Los_Angeles".into()), 9)).await;
    write.commit().await.expect("a commit");
    office.covers(&case, BEN).await;
    office.goal(&case, "2027-03-18").await;
    assert_eq!(office.pending(&case).await, ["d14 2027-03-04T08:00 America/New_York"], "Ana is there");
    office.works_at("2027-03-12T13:00:00Z").await;
    assert_eq!(office.pending(&case).await, ["d1 2027-03-17T09:00 America/Los_Angeles"], "Ben is who is told");
    let told = office.told_at(&["2027-03-17T12:00:00Z", "2027-03-17T16:00:00Z"]).await;
    let told: Vec<_> = told.iter().filter(|line| !line.contains(SAM)).collect();
    assert_eq!(told, ["2027-03-17 ben@demo.example: A goal is due tomorrow"]);
}

async fn what_a_newer_program_planned_is_left_to_it(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    does(&office, "update wf_timer set rule_id = 'umbrella.back' where state = 'pending' and case_id is not null")
        .await;
    let other = office.case_of(ANA).await;
    let goal = office.goal(&other, "2027-03-19").await;
    let done = office.works_at("2027-03-05T13:00:00Z").await;
    assert_eq!((done.timers, office.mails_to(ANA).len()), (1, 1), "its own and nothing else");
    let pending = "select state from wf_timer where rule_id = 'umbrella.back'";
    assert_eq!(office.asks(pending, vec![]).await, ["pending"]);
    // The same of mail that is queued.
    let text =
        format!("update outbound_message set state = 'queued', rule_id = 'umbrella.back' where subject_id = '{goal}'");
    does(&office, &text).await;
    office.works().await;
    let state = "select state from outbound_message where rule_id = 'umbrella.back'";
    assert_eq!(office.asks(state, vec![]).await, ["queued"]);
}

async fn another_programs_plans_are_made_again_at_the_start(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let planned = office.pending(&case).await;
    assert_eq!(planned.len(), 1);
    office.works().await;
    // As a program without that rule would have left it.
    does(&office, "delete from wf_timer where case_id is not null").await;
    office.works().await;
    assert!(office.pending(&case).await.is_empty(), "the same program has nothing to plan anew");
    does(&office, "update wf_instance set planned_by = 'goal.deadline 0; zones 1999a'").await;
    office.works().await;
    assert_eq!(office.pending(&case).await, planned);
}

async fn a_contact_in_years_to_come_silences_nothing(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let visit = |status: &str, when: &str| contact::Model {
        case_id: case.clone(),
        kind: "visit".into(),
        status: status.into(),
        occurred_at: Some(at(when)),
        no_show_seq: i64::from(status == "no_show"),
        ..contact::Model::default()
    };
    office.world.set_clock("2027-03-10T21:00:00Z");
    office.contact(visit("completed", "2037-03-10T20:00:00Z")).await;
    // What was planned long before is as late as it happened.
    let planned = contact::Model {
        occurred_at: None,
        planned_start: Some(at("2027-03-18T14:00:00Z")),
        ..visit("planned", "2027-03-18T14:00:00Z")
    };
    let planned = office.contact(contact::Model { case_id: office.case_of(BEN).await, ..planned }).await;
    office.world.set_clock("2027-03-12T21:00:00Z");
    office.contact(visit("no_show", "2027-03-12T20:00:00Z")).await;
    let told = office.told_at(&["2027-03-15T12:00:00Z"]).await;
    assert_eq!(told, ["2027-03-15 ana@demo.example: A missed appointment to follow up"]);
    office.world.set_clock("2027-03-18T15:00:00Z");
    office.change::<contact::Entity>(&planned, |visit| (visit.status, visit.no_show_seq) = ("no_show".into(), 1)).await;
    assert_eq!(office.told_at(&["2027-03-18T15:00:01Z"]).await.iter().filter(|line| line.contains(BEN)).count(), 0);
    let told = office.told_at(&["2027-03-19T12:00:00Z"]).await;
    assert!(told.contains(&"2027-03-19 ben@demo.example: A missed appointment to follow up".to_owned()), "{told:?}");
}

async fn a_partner_who_comes_to_be_reachable_hears_of_what_waits(world: World) {
    let office = Office::open(world).await;
    let clinic = refers_to_clinic(&office).await;
    office.change::<organization::Entity>(&clinic, |clinic| clinic.email = None).await;
    office.works().await;
    office.change::<organization::Entity>(&clinic, |clinic| clinic.email = Some("intake@clinic.example".into())).await;
    office.works().await;
    assert_eq!(office.mails_to("intake@clinic.example").len(), 1);
    // The same where a user is made for one that had no address.
    let another = refers_to_clinic(&office).await;
    office.change::<organization::Entity>(&another, |clinic| clinic.email = None).await;
    office.works().await;
    let mut write = office.write().await;
    let pia = user::Model::new("Pia", "pia@clinic.example", Role::Partner);
    user::create(&mut write, user::Model { partner_org_id: Some(another), ..pia }).await.expect("Pia");
    write.commit().await.expect("a commit");
    office.works().await;
    assert_eq!(office.mails_to("pia@clinic.example").len(), 1);
    assert_eq!(office.mails_to(PAT).len() + office.mails_to(SAM).len(), 0);
}

async fn a_partner_whose_only_address_is_refused_is_told_to_the_caseworker_at_once(world: World) {
    let office = Office::open(world).await;
    office.post.refuses("Desk@clinic.example", GONE);
    refers_to_clinic(&office).await;
    office.works().await;
    office.works().await;
    let told: Vec<String> = office.mails_to(ANA).into_iter().map(|mail| mail.subject).collect();
    assert_eq!(told, ["A referral that the partner does not know of"]);
}
