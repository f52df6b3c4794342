//! Several workers on one database, and what explain and simulate say beforehand.

use entities::workflow::{explain, simulate};
use serde_json::json;
use worker::drain_once;

use super::office::{ANA, BEN, Office, SAM, day};
use crate::rest::scene::{opens_a_case, smart};
use crate::support::{Kind, World, on_both};

on_both!(
    a_row_that_cannot_be_read_holds_up_nobody_else,
    an_agency_that_is_held_keeps_no_other_from_its_turn,
    two_workers_tell_each_thing_once,
    draining_a_later_instant_moves_no_stamp,
    explain_says_when_or_why_not,
    simulate_says_what_a_walk_then_does_and_writes_nothing,
    a_holiday_moves_what_counts_in_working_days,
);

async fn two_workers_tell_each_thing_once(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    for _ in 0..30 {
        office.goal(&case, "2027-03-18").await;
        office.case_of(ANA).await;
    }
    let second = office.world.db.store(office.world.clock.clone()).await;
    office.world.set_clock("2027-03-04T13:00:00Z");
    let both =
        tokio::join!(drain_once(office.store(), &office.mailer, None), drain_once(&second, &office.mailer, None),);
    both.0.expect("one works");
    both.1.expect("the other works");
    let mails = office.mails_to(ANA);
    assert_eq!(mails.len(), 30);
    let ids: std::collections::BTreeSet<_> = mails.iter().map(|mail| mail.message_id.clone()).collect();
    assert_eq!(ids.len(), 30);
    assert_eq!(office.asks("select id from prompts", vec![]).await.len(), 30);
}

async fn draining_a_later_instant_moves_no_stamp(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let later = super::office::at("2027-03-11T13:00:00Z");
    drain_once(office.store(), &office.mailer, Some(later)).await.expect("it works");
    let subjects: Vec<_> = office.mails_to(ANA).into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects, ["A goal is due in 7 days"]);
    let stamps = office.asks("select cast(at as text) from wf_ledger order by at desc", vec![]).await;
    assert!(stamps.iter().all(|at| *at == office.world.clock.now().0.to_string()), "{stamps:?}");
}

async fn explain_says_when_or_why_not(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let asked = async || {
        let snapshot = office.store().read().await.expect("a snapshot");
        let said = explain::explain(&*snapshot, &case, snapshot.now()).await.expect("it answers").expect("the case");
        serde_json::to_value(said).expect("JSON")
    };
    let said = asked().await;
    let goal = &said["rules"][0];
    assert_eq!((&goal["rule"], &goal["state"]), (&"goal.deadline".into(), &"pending".into()));
    assert_eq!(goal["next"]["due_at"], "2027-03-04T13:00:00.000Z");
    assert_eq!(goal["next"]["nominal_local"], "2027-03-04T08:00");
    assert_eq!(goal["next"]["zone"], "America/New_York");
    let blocked = said["rules"].as_array().expect("a list").iter().filter(|rule| rule["state"] == "blocked").count();
    assert!(blocked >= 3, "{said}");
    let hold = |row: &mut entities::casework::case::Model| row.status = "on_hold".into();
    office.change::<entities::casework::case::Entity>(&case, hold).await;
    let said = asked().await;
    assert_eq!(said["rules"][0]["state"], "blocked");
    assert_eq!(said["rules"][0]["next"], serde_json::Value::Null);
    assert!(said["rules"][0]["because"].to_string().contains("cases.status = on_hold"), "{said}");
}

async fn simulate_says_what_a_walk_then_does_and_writes_nothing(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let count = "select cast(count(*) as text) from wf_timer union all select cast(count(*) as text) from wf_ledger \
                 union all select cast(count(*) as text) from wf_watch";
    let before = office.asks(count, vec![]).await;
    let snapshot = office.store().read().await.expect("a snapshot");
    let lines = simulate::simulate(&*snapshot, None, day("2027-03-02"), day("2027-03-31"), snapshot.now()).await;
    drop(snapshot);
    let lines = lines.expect("it answers");
    assert_eq!(office.asks(count, vec![]).await, before);
    let mails: Vec<_> = lines
        .iter()
        .filter(|line| line.channel == "mail" && line.outcome == "fires" && line.case_id.is_some())
        .map(|line| format!("{} {} {}", line.step, line.to_role, line.due_at))
        .collect();
    assert_eq!(
        mails,
        [
            "d14 caseworker 2027-03-04T13:00:00.000Z",
            "d7 caseworker 2027-03-11T13:00:00.000Z",
            "d1 caseworker 2027-03-17T12:00:00.000Z",
            "d0 caseworker 2027-03-18T12:00:00.000Z",
            "late supervisor 2027-03-23T12:00:00.000Z",
        ]
    );
    let mut ticks: Vec<String> = lines.iter().map(|line| line.due_at.clone()).collect();
    ticks.dedup();
    let mut told = 0;
    for tick in ticks {
        told += office.works_at(&tick).await.mail.sent;
    }
    assert_eq!(told, lines.iter().filter(|line| line.channel == "mail" && line.outcome == "fires").count());
}

async fn a_holiday_moves_what_counts_in_working_days(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.referral(&case).await;
    office.works_at("2027-03-01T15:00:10Z").await;
    assert_eq!(office.pending(&case).await, ["nudge 2027-03-04T08:00 America/New_York"]);
    let mut write = office.write().await;
    entities::people::holiday::create(&mut write, day("2027-03-03"), "Founders' day").await.expect("a holiday");
    write.commit().await.expect("a commit");
    office.works().await;
    assert_eq!(office.pending(&case).await, ["nudge 2027-03-05T08:00 America/New_York"]);
    // A change that touches many cases leaves a mark, and a worker plans them by lots.
    let write = office.write().await;
    let text = "delete from holidays";
    entities::sql::exec(write.conn(), text, vec![]).await.expect("the holiday is gone");
    entities::workflow::timers::mark_agency(&write, "calendar").await.expect("a mark");
    write.commit().await.expect("a commit");
    assert_eq!(office.works().await.planned, 1);
    assert_eq!(office.pending(&case).await, ["nudge 2027-03-04T08:00 America/New_York"]);
}

async fn a_row_that_cannot_be_read_holds_up_nobody_else(world: World) {
    let office = Office::open(world).await;
    // Ids rise, so the bad one lies between two good ones.
    let cases = [office.case_of(ANA).await, office.case_of(BEN).await, office.case_of(ANA).await];
    let mut goals = Vec::new();
    for case in &cases {
        goals.push(office.goal(case, "2027-03-18").await);
    }
    office.works().await;
    let mut write = office.write().await;
    let text = format!("update goals set due_on = 'no such day', seq = {} where id = $1", write.seq());
    entities::sql::exec(write.conn(), &text, vec![goals[1].as_str().into()]).await.expect("it is spoilt");
    entities::workflow::timers::mark_agency(&write, "test").await.expect("every case is planned again");
    write.note("spoilt", "");
    write.commit().await.expect("a commit");
    office.works_at("2027-03-04T13:05:00Z").await;
    assert_eq!(office.mails_to(ANA).len(), 2);
    assert_eq!(office.asks("select id from wf_dirty", vec![]).await, [""; 0], "the mark is worked off");
    office.works_at("2027-03-11T13:05:00Z").await;
    let digests = office.mails_to(SAM).into_iter().filter(|mail| mail.subject.contains("deadlines")).count();
    assert_eq!(digests, 1, "the supervisor reads of the others");
}

async fn an_agency_that_is_held_keeps_no_other_from_its_turn(world: World) {
    if world.db.kind == Kind::Sqlite {
        return; // there is one lock for all
    }
    let office = Office::open(world).await;
    let ana = office.case_of(ANA).await;
    office.goal(&ana, "2027-03-18").await;
    let omar = office.world.omar().await;
    let case = opens_a_case(&omar).await;
    let goal = omar.post("/goals", smart(&case)).await.ok();
    omar.post(&format!("/goals/{}/agree", goal["id"].as_str().expect("an id")), json!({})).await.ok();
    office.works().await;
    let other = office.world.db.store(office.world.clock.clone()).await;
    let mut write = other.write(&entities::Actor::system(&office.world.riverbend)).await.expect("the door");
    entities::workflow::timers::mark_agency(&write, "test").await.expect("a mark");
    write.note("held", "");
    office.world.set_clock("2027-05-18T12:00:00Z");
    let why = drain_once(office.store(), &office.mailer, None).await.expect_err("Riverbend is held");
    assert!(matches!(why, entities::Error::Busy(_)), "{why}");
    let told: Vec<_> = office.mails_to("omar@other.example").into_iter().map(|mail| mail.subject).collect();
    assert_eq!(told, ["A goal is due in 14 days"]);
    assert!(office.mails_to(ANA).is_empty());
    drop(write);
    office.works().await;
    assert_eq!(office.pending(&ana).await, [""; 0], "Riverbend's turn");
}
