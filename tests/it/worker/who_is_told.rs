//! Who is told of what: roles that nobody holds or two hold, steps that have lost their own reason, days where the
//! reader is.

use entities::casework::{contact, goal};
use entities::partners::organization;
use entities::people::{agency, user};
use entities::sql;
use entities::workflow::{dead, explain, prompt, simulate};

use super::office::{ANA, BEN, Office, PAT, SAM, at, day, mailer};
use super::refused_addresses::refers_to_clinic;
use crate::support::{World, on_both};

on_both!(
    of_two_contacts_at_one_instant_one_speaks,
    what_nobody_can_be_told_waits_for_somebody,
    without_a_supervisor_the_cover_hears_what_the_caseworker_would,
    of_several_covers_one_who_is_there_is_told,
    a_step_that_has_lost_its_own_reason_is_taken_back,
    a_matter_that_is_done_goes_no_further_up,
    what_one_version_of_a_goal_was_told_stays_with_the_next,
    a_timer_that_is_given_up_ends_and_the_next_step_comes,
    what_comes_before_a_simulated_day_is_told_in_its_time,
    whoever_comes_to_hold_both_roles_is_told_once,
    each_has_their_own_again_when_two_roles_part,
    a_digest_goes_with_quiet_hours_that_have_changed,
    mail_that_no_server_heard_of_comes_back_with_its_reason,
    a_case_that_is_opened_again_is_not_told_the_old,
    a_digest_keeps_out_of_quiet_hours,
    a_partner_reads_the_day_where_they_are,
    a_partner_without_an_account_is_told_whom_to_ask,
);

impl Office {
    async fn alters(&self, email: &str, alter: impl FnOnce(&mut user::Model)) {
        let mut write = self.write().await;
        let before = user::by_email(write.conn(), email).await.expect("users").expect("a user");
        let mut after = before.clone();
        alter(&mut after);
        user::change(&mut write, &before, after).await.expect("changed");
        write.commit().await.expect("a commit");
    }

    async fn alters_agency(&self, alter: impl FnOnce(&mut agency::Model)) {
        let mut write = self.write().await;
        let before = agency::by_id(write.conn(), &self.world.riverbend).await.expect("agencies").expect("Riverbend");
        let mut after = before.clone();
        alter(&mut after);
        agency::change(&mut write, &before, after).await.expect("changed");
        write.commit().await.expect("a commit");
    }

    /// `step status` of the prompts, in order of time.
    async fn shown(&self) -> Vec<String> {
        self.asks("select step || ' ' || status from prompts order by due_at, step, id", vec![]).await
    }

    /// Says that the server is not there while it would be told of at these instants.
    async fn fires_unheard(&self, instants: &[&str]) {
        let nowhere = mailer("smtp://127.0.0.1:9");
        for instant in instants {
            self.world.set_clock(instant);
            worker::drain_once(self.store(), &nowhere, None).await.expect("it fires");
        }
    }

    async fn finishes(&self, step: &str) {
        let open = "select id from prompts where step = $1 and status = 'pending'";
        let id = self.asks(open, vec![step.into()]).await.remove(0);
        self.change::<prompt::Entity>(&id, |prompt| prompt.status = "done".into()).await;
    }
}

fn to<'a>(told: &'a [String], who: &str) -> Vec<&'a str> {
    told.iter().filter(|line| line.contains(who)).map(String::as_str).collect()
}

async fn of_two_contacts_at_one_instant_one_speaks(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let held = |kind: &str, next: Option<&str>| contact::Model {
        case_id: case.clone(),
        kind: kind.into(),
        status: "completed".into(),
        occurred_at: Some(at("2027-03-01T15:00:00Z")),
        next_contact_on: next.map(day),
        ..contact::Model::default()
    };
    office.contact(held("visit", Some("2027-03-09"))).await;
    office.contact(held("collateral", Some("2027-03-09"))).await;
    office.contact(held("call", None)).await;
    assert_eq!(office.pending(&case).await, ["d1 2027-03-08T08:00 America/New_York"]);
    // One that is later speaks, whether it promises anything or not.
    office.contact(contact::Model { occurred_at: Some(at("2027-03-01T15:00:01Z")), ..held("call", None) }).await;
    assert!(office.pending(&case).await.is_empty());
}

async fn what_nobody_can_be_told_waits_for_somebody(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    for email in [ANA, SAM] {
        office.alters(email, |user| user.active = false).await;
    }
    for instant in ["2027-03-11T13:00:00Z", "2027-03-11T13:05:00Z"] {
        office.works_at(instant).await;
    }
    let ledger = "select key || ' ' || outcome from wf_ledger where case_id is not null";
    assert!(office.shown().await.is_empty() && !office.asks(ledger, vec![]).await.iter().any(|key| key.contains("d7")));
    let snapshot = office.store().read().await.expect("a snapshot");
    let said = explain::explain(&*snapshot, &case, snapshot.now()).await.expect("it answers").expect("a case").text();
    assert!(said.contains("d7 is due, and nobody can be told") && !said.contains("the supervisor is told"), "{said}");
    let lines = simulate::simulate(&*snapshot, None, day("2027-03-11"), day("2027-03-11"), snapshot.now()).await;
    let lines = lines.expect("it answers");
    assert!(lines.iter().any(|line| (&*line.step, line.outcome) == ("d7", "suppressed")), "{lines:?}");
    drop(snapshot);
    office.alters(ANA, |user| user.active = true).await;
    let told = office.told_at(&["2027-03-12T15:00:00Z"]).await;
    assert_eq!(to(&told, ANA), ["2027-03-12 ana@demo.example: A goal is due in 6 days"]);
}

async fn without_a_supervisor_the_cover_hears_what_the_caseworker_would(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.covers(&case, BEN).await;
    office.alters(ANA, |ana| (ana.away_from, ana.away_to) = (Some(day("2027-03-15")), Some(day("2027-03-31")))).await;
    office.alters(SAM, |sam| sam.active = false).await;
    let told = office.told_at(&["2027-03-18T12:00:00Z", "2027-03-23T12:00:00Z"]).await;
    assert_eq!(
        told,
        ["2027-03-18 ben@demo.example: A goal is due today", "2027-03-23 ben@demo.example: A goal is overdue"]
    );
}

async fn of_several_covers_one_who_is_there_is_told(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.covers(&case, BEN).await;
    office.world.pass_secs(1);
    office.covers(&case, "cleo@demo.example").await;
    let away = |user: &mut user::Model| {
        (user.away_from, user.away_to) = (Some(day("2027-03-15")), Some(day("2027-03-31")));
    };
    office.alters(ANA, away).await;
    let told = office.told_at(&["2027-03-17T12:00:00Z"]).await;
    assert_eq!(to(&told, "goal"), ["2027-03-17 cleo@demo.example: A goal is due tomorrow"]);
    office.alters("cleo@demo.example", away).await;
    let told = office.told_at(&["2027-03-18T12:00:00Z"]).await;
    assert_eq!(to(&told, "goal"), ["2027-03-18 ben@demo.example: A goal is due today"]);
}

async fn a_step_that_has_lost_its_own_reason_is_taken_back(world: World) {
    let office = Office::open(world).await;
    let clinic = refers_to_clinic(&office).await;
    office.change::<organization::Entity>(&clinic, |clinic| clinic.email = None).await;
    office.fires_unheard(&["2027-03-02T14:00:00Z"]).await;
    assert_eq!(office.shown().await, ["unreachable pending"]);
    office.change::<organization::Entity>(&clinic, |clinic| clinic.email = Some("intake@clinic.example".into())).await;
    let told = office.told_at(&["2027-03-02T14:30:00Z", "2027-03-02T14:31:00Z"]).await;
    assert_eq!(told, ["2027-03-02 intake@clinic.example: A new referral for you"]);
    assert_eq!(office.shown().await, ["unreachable cancelled"]);
    // A goal whose reminders are trimmed.
    let case = office.case_of(BEN).await;
    let goal = office.goal(&case, "2027-03-18").await;
    office.fires_unheard(&["2027-03-11T13:00:00Z"]).await;
    let offsets = entities::Doc(serde_json::json!([1, 0]));
    office.change::<goal::Entity>(&goal, |goal| goal.reminder_offsets_days = Some(offsets)).await;
    let told = office.told_at(&["2027-03-11T14:00:00Z", "2027-03-17T12:00:00Z"]).await;
    assert_eq!(to(&told, BEN), ["2027-03-17 ben@demo.example: A goal is due tomorrow"]);
}

async fn a_matter_that_is_done_goes_no_further_up(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.referral(&case).await;
    // The eighth and the tenth working day after the first of March.
    office.works_at("2027-03-11T13:00:00Z").await;
    office.fires_unheard(&["2027-03-15T12:00:00Z"]).await;
    assert_eq!(office.shown().await, ["caseworker pending", "supervisor pending"]);
    office.finishes("caseworker").await;
    assert_eq!(office.shown().await, ["caseworker done", "supervisor cancelled"]);
    let told = office.told_at(&["2027-03-15T14:00:00Z"]).await;
    assert!(!told.iter().any(|line| line.contains(SAM) && !line.contains("deadlines")), "{told:?}");
    assert_eq!(
        to(&office.asks("select step || ' ' || state from outbound_message", vec![]).await, "supervisor"),
        ["supervisor suppressed"]
    );
}

async fn what_one_version_of_a_goal_was_told_stays_with_the_next(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let first = office.goal(&case, "2027-03-18").await;
    office.works_at("2027-03-11T13:00:00Z").await;
    let mut write = office.write().await;
    let before = write.load::<goal::Entity>(&first).await.expect("a row").expect("a goal");
    let next = goal::Model { id: String::new(), version_of: Some(first.clone()), ..before.clone() };
    let next = write.create::<goal::Entity>(next).await.expect("a version").id;
    let over = goal::Model { lifecycle: "superseded".into(), ..before.clone() };
    write.change::<goal::Entity>(&before, over).await.expect("replaced");
    write.commit().await.expect("a commit");
    let asked = "select step || ' ' || status || ' ' || case when subject_id = $1 then 'next' else 'first' end \
                 from prompts order by due_at";
    assert_eq!(office.asks(asked, vec![next.as_str().into()]).await, ["d7 pending next"]);
    let told = office.told_at(&["2027-03-11T14:00:00Z", "2027-03-17T12:00:00Z"]).await;
    assert_eq!(to(&told, ANA), ["2027-03-17 ana@demo.example: A goal is due tomorrow"]);
    assert!(office.mails_to(ANA)[1].text.contains(&next), "{}", office.mails_to(ANA)[1].text);
}

async fn a_timer_that_is_given_up_ends_and_the_next_step_comes(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-18").await;
    let mut write = office.write().await;
    let text = "update wf_timer set state = 'dead' where case_id = $1";
    sql::exec(write.conn(), text, vec![case.as_str().into()]).await.expect("given up");
    let waits = dead::list(write.conn()).await.expect("it answers");
    let planned = dead::case_of(write.conn(), &waits[0].id).await.expect("it answers");
    assert_eq!(planned, Some((office.world.riverbend.clone(), case.clone())));
    assert_eq!(dead::drop(write.conn(), &waits[0].id, write.now()).await.expect("dropped"), 1);
    write.replan(&case);
    write.commit().await.expect("a commit");
    assert_eq!(office.pending(&case).await, ["d7 2027-03-11T08:00 America/New_York"]);
    office.change::<goal::Entity>(&goal, |goal| goal.confidence = Some(5)).await;
    assert_eq!(office.pending(&case).await, ["d7 2027-03-11T08:00 America/New_York"]);
    assert_eq!(to(&office.told_at(&["2027-03-04T13:00:00Z"]).await, ANA), [""; 0]);
}

async fn what_comes_before_a_simulated_day_is_told_in_its_time(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let snapshot = office.store().read().await.expect("a snapshot");
    let lines = simulate::simulate(&*snapshot, None, day("2027-03-12"), day("2027-03-18"), snapshot.now()).await;
    let said: Vec<String> = lines
        .expect("it answers")
        .iter()
        .filter(|line| (&*line.rule, line.channel) == ("goal.deadline", "mail"))
        .map(|line| format!("{} {} {}", &line.due_at[..10], line.step, line.outcome))
        .collect();
    assert_eq!(said, ["2027-03-17 d1 fires", "2027-03-18 d0 fires"]);
}

async fn whoever_comes_to_hold_both_roles_is_told_once(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(BEN).await;
    for (when, seq) in [("2027-03-01T15:00:00Z", 1), ("2027-03-01T15:30:00Z", 2)] {
        office.contact(missed(&case, when, seq)).await;
    }
    office.fires_unheard(&["2027-03-02T13:00:00Z"]).await;
    assert_eq!(office.shown().await, ["next_day pending", "next_day pending"]);
    office.alters(BEN, |ben| ben.active = false).await;
    let told = office.told_at(&["2027-03-02T14:00:00Z", "2027-03-02T14:10:00Z"]).await;
    let missed: Vec<_> = told.iter().filter(|line| line.contains("A missed appointment")).collect();
    assert_eq!(missed, ["2027-03-02 sam@demo.example: A missed appointment to follow up"]);
    let asked = "select status from prompts order by status";
    assert_eq!(office.asks(asked, vec![]).await, ["cancelled", "pending"]);
    // What they have finished in one role they are not asked in the other.
    office.finishes("next_day").await;
    assert_eq!(office.asks(asked, vec![]).await, ["cancelled", "done"]);
    office.world.pass_secs(60);
    office.works().await;
    assert_eq!(office.asks(asked, vec![]).await, ["cancelled", "done"]);
}

async fn each_has_their_own_again_when_two_roles_part(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(BEN).await;
    for (when, seq) in [("2027-03-01T15:00:00Z", 1), ("2027-03-01T15:30:00Z", 2)] {
        office.contact(missed(&case, when, seq)).await;
    }
    office.fires_unheard(&["2027-03-02T13:00:00Z"]).await;
    let asked = "select status || ' ' || recipient_role from prompts order by recipient_role";
    office.alters(BEN, |ben| ben.active = false).await;
    assert_eq!(
        office.asks(asked, vec![]).await,
        ["cancelled caseworker", "pending supervisor"],
        "as it was asked first"
    );
    office.alters(BEN, |ben| ben.active = true).await;
    assert_eq!(office.asks(asked, vec![]).await, ["pending caseworker", "pending supervisor"]);
    let told = office.told_at(&["2027-03-02T14:00:00Z", "2027-03-02T14:10:00Z"]).await;
    let missed: Vec<_> = told.iter().filter(|line| line.contains("A missed appointment")).collect();
    assert_eq!(missed.len(), 2, "{told:?}");
}

async fn a_digest_goes_with_quiet_hours_that_have_changed(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-05").await;
    office.works_at("2027-03-01T16:00:00Z").await;
    office
        .alters_agency(|agency| {
            (agency.quiet_from, agency.quiet_to) = (Some("19:00".into()), Some("08:30".into()));
        })
        .await;
    let told = office.told_at(&["2027-03-02T13:00:00Z", "2027-03-02T13:30:00Z"]).await;
    assert_eq!(to(&told, SAM), ["2027-03-02 sam@demo.example: Your team's deadlines on Tuesday, 2 March"]);
}

fn missed(case: &str, when: &str, seq: i64) -> contact::Model {
    contact::Model {
        case_id: case.into(),
        kind: "visit".into(),
        status: "no_show".into(),
        occurred_at: Some(at(when)),
        no_show_seq: seq,
        ..contact::Model::default()
    }
}

async fn mail_that_no_server_heard_of_comes_back_with_its_reason(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-18").await;
    office.fires_unheard(&["2027-03-11T13:00:00Z"]).await;
    for lifecycle in ["on_hold", "active"] {
        office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = lifecycle.into()).await;
    }
    let told = office.told_at(&["2027-03-11T14:00:00Z"]).await;
    assert_eq!(to(&told, ANA), ["2027-03-11 ana@demo.example: A goal is due in 7 days"]);
}

async fn a_case_that_is_opened_again_is_not_told_the_old(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.fires_unheard(&["2027-03-11T13:00:00Z"]).await;
    for status in ["closed", "active"] {
        office.world.pass_secs(60);
        office
            .change::<entities::casework::case::Entity>(&case, |case| {
                (case.status, case.episode_no) = (status.into(), if status == "active" { 2 } else { 1 });
            })
            .await;
    }
    office.reassign(&case, ANA).await;
    let told = office.told_at(&["2027-03-11T15:00:00Z"]).await;
    assert_eq!(to(&told, ANA), [""; 0]);
    assert_eq!(office.shown().await, ["d7 cancelled"]);
}

async fn a_digest_keeps_out_of_quiet_hours(world: World) {
    let office = Office::open(world).await;
    let quiet = |agency: &mut agency::Model| {
        (agency.quiet_from, agency.quiet_to) = (Some("19:00".into()), Some("07:30".into()));
    };
    office.alters_agency(quiet).await;
    office.alters(SAM, |sam| sam.digest_hour = 5).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-05").await;
    let told = office.told_at(&["2027-03-02T09:00:00Z", "2027-03-02T12:29:00Z", "2027-03-02T12:30:00Z"]).await;
    assert_eq!(to(&told, SAM).len(), 1, "{told:?}");
    assert_eq!(office.post.mails().len(), 1);
    // One that a mail server holds up until the evening is not sent in the night, nor on the next day.
    office.fires_unheard(&["2027-03-03T12:30:00Z"]).await;
    let told = office.told_at(&["2027-03-04T00:45:00Z", "2027-03-04T12:29:00Z", "2027-03-04T12:30:00Z"]).await;
    assert_eq!(to(&told, SAM).len(), 1, "{told:?}");
    assert!(to(&told, SAM)[0].starts_with("2027-03-04"));
}

async fn a_partner_reads_the_day_where_they_are(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.change::<entities::casework::case::Entity>(&case, |case| case.tz = Some("Pacific/Honolulu".into())).await;
    // Half past two at night in New York is the evening before in Honolulu.
    office.world.set_clock("2027-03-02T07:30:00Z");
    office.referral(&case).await;
    office.works().await;
    let text = office.mails_to(PAT).remove(0).text;
    assert!(text.contains("on Tuesday, 2 March"), "{text}");
}

async fn a_partner_without_an_account_is_told_whom_to_ask(world: World) {
    let office = Office::open(world).await;
    office.alters_agency(|agency| agency.email_policy = 0).await;
    refers_to_clinic(&office).await;
    office.works().await;
    let mail = office.mails_to("Desk@clinic.example").pop().or_else(|| office.mails_to("desk@clinic.example").pop());
    let text = mail.expect("a mail").text;
    assert!(text.contains("It comes from Riverbend") && !text.contains("Sign in"), "{text}");
}
