//! A prompt that somebody put off comes back when they said, and not when there is no reason any more.

use entities::casework::goal;
use entities::workflow::explain;
use serde_json::json;

use super::office::{ANA, BEN, Office, SAM};
use crate::support::{Document, Person, Phone, World, on_both};

on_both!(
    the_snooze_that_the_document_shows_is_taken,
    a_prompt_that_was_put_off_comes_back_at_its_time_and_once,
    a_prompt_that_was_put_off_on_a_phone_comes_back_too,
    a_prompt_is_put_off_three_times_at_the_most,
    a_later_step_speaks_for_a_prompt_that_was_put_off_beyond_it,
    a_prompt_does_not_come_back_when_its_reason_is_gone,
    a_case_that_passes_on_shows_its_new_holder_what_the_old_one_put_off,
    putting_off_does_not_put_off_the_supervisor,
    a_prompt_that_is_put_off_until_nothing_is_asked_again,
);

/// Ana was told that a goal is due in 14 days: case, goal and prompt.
async fn told(world: World) -> (Office, Person, [String; 3]) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-18").await;
    office.works_at("2027-03-04T13:05:00Z").await;
    let prompt = office.asks("select id from prompts where rule = 'goal.deadline'", vec![]).await.remove(0);
    let ana = office.world.ana().await;
    (office, ana, [case, goal, prompt])
}

async fn snooze(ana: &Person, prompt: &str, until: &str) {
    ana.post(&format!("/prompts/{prompt}/snooze"), json!({"snooze_until": until})).await.ok();
}

impl Office {
    /// `step status` of each prompt about a goal, oldest first.
    async fn prompts(&self) -> Vec<String> {
        let text = "select step || ' ' || status from prompts where rule = 'goal.deadline' order by due_at, step";
        self.asks(text, vec![]).await
    }

    /// `nominal zone state` of each snooze's timer.
    async fn snoozes(&self) -> Vec<String> {
        let text =
            "select nominal_local || ' ' || zone || ' ' || state from wf_timer where step like '%~s%' order by due_at";
        self.asks(text, vec![]).await
    }
}

async fn the_snooze_that_the_document_shows_is_taken(world: World) {
    let (office, ana, [.., prompt]) = told(world).await;
    let example = Document::of(&office.world).await.example("snooze_Prompt");
    assert_eq!(example, json!({"snooze_until": "2027-03-05T12:00:00.000Z"}));
    ana.post(&format!("/prompts/{prompt}/snooze"), example).await.ok();
}

async fn a_prompt_that_was_put_off_comes_back_at_its_time_and_once(world: World) {
    let (office, ana, [case, _, prompt]) = told(world).await;
    ana.post(&format!("/prompts/{prompt}/snooze"), json!({"snooze_until": "2027-04-30T13:00:00Z"})).await.refused(422);
    snooze(&ana, &prompt, "2027-03-06T14:30:00Z").await;
    assert_eq!(office.snoozes().await, ["2027-03-06T09:30 America/New_York pending"]);
    let snapshot = office.store().read().await.expect("a snapshot");
    let said = explain::explain(&*snapshot, &case, snapshot.now()).await.expect("it answers").expect("the case");
    drop(snapshot);
    let why = said.rules.iter().flat_map(|says| &says.because).find(|because| because.kind == "snooze");
    assert!(why.is_some_and(|why| why.text.contains("2027-03-06T14:30:00")), "{said:?}");
    let mails = office.mails_to(ANA).len();
    office.works_at("2027-03-06T14:29:59Z").await;
    assert_eq!(office.prompts().await, ["d14 snoozed"]);
    office.works_at("2027-03-06T14:30:00Z").await;
    assert_eq!(office.prompts().await, ["d14 pending"]);
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let row = phone.row("prompts", &prompt).expect("it is on the phone");
    assert_eq!((row["status"].as_str(), row["snooze_until"].is_null()), (Some("pending"), true));
    ana.post(&format!("/prompts/{prompt}/see"), json!({})).await.ok();
    office.works_at("2027-03-07T14:30:00Z").await;
    assert_eq!(office.prompts().await, ["d14 seen"], "it comes back once");
    assert_eq!(office.snoozes().await, ["2027-03-06T09:30 America/New_York fired"]);
    assert_eq!(office.mails_to(ANA).len(), mails, "and nothing is mailed a second time");
    // A second time, to another time, moved before it has come.
    snooze(&ana, &prompt, "2027-03-09T13:00:00Z").await;
    ana.post(&format!("/prompts/{prompt}/see"), json!({})).await.ok();
    snooze(&ana, &prompt, "2027-03-08T13:00:00Z").await;
    office.works_at("2027-03-08T13:00:00Z").await;
    assert_eq!(office.prompts().await, ["d14 pending"]);
    assert!(office.snoozes().await.iter().all(|snooze| !snooze.ends_with("pending")), "{:?}", office.snoozes().await);
}

async fn a_prompt_is_put_off_three_times_at_the_most(world: World) {
    let (office, ana, [.., prompt]) = told(world).await;
    let path = format!("/prompts/{prompt}");
    snooze(&ana, &prompt, "2027-03-05T13:00:00Z").await;
    // Sooner is no putting off.
    ana.patch(&path, json!({"snooze_until": "2027-03-05T12:00:00Z"})).await.ok();
    ana.patch(&path, json!({"snooze_until": "2027-03-06T13:00:00Z"})).await.ok();
    ana.post(&format!("{path}/see"), json!({})).await.ok();
    snooze(&ana, &prompt, "2027-03-07T13:00:00Z").await;
    let problem = ana.patch(&path, json!({"snooze_until": "2027-03-08T13:00:00Z"})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "too_often");
    ana.post(&format!("{path}/see"), json!({})).await.ok();
    let again = json!({"snooze_until": "2027-03-08T13:00:00Z"});
    let problem = ana.post(&format!("{path}/snooze"), again).await.refused(422);
    let error = &problem["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("/snooze_until"), &json!("too_often")));
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    assert!(phone.row("prompts", &prompt).is_some_and(|row| !row.contains_key("snoozed_times")));
    let until = entities::Instant::parse("2027-03-08T13:00:00Z").expect("an instant").0;
    phone.edits("prompts", &prompt, json!({"status": "snoozed", "snooze_until": until}));
    phone.syncs().await;
    assert_eq!(office.prompts().await, ["d14 seen"]);
}

async fn a_prompt_that_was_put_off_on_a_phone_comes_back_too(world: World) {
    let (office, ana, [_, _, prompt]) = told(world).await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let until = super::office::at("2027-03-05T13:00:00Z").0;
    phone.edits("prompts", &prompt, json!({"status": "snoozed", "snooze_until": until}));
    phone.syncs().await;
    assert_eq!(office.prompts().await, ["d14 snoozed"]);
    office.works_at("2027-03-05T13:00:00Z").await;
    assert_eq!(office.prompts().await, ["d14 pending"]);
}

async fn a_later_step_speaks_for_a_prompt_that_was_put_off_beyond_it(world: World) {
    let (office, ana, [_, _, prompt]) = told(world).await;
    snooze(&ana, &prompt, "2027-03-12T13:00:00Z").await;
    office.works_at("2027-03-11T13:05:00Z").await;
    assert_eq!(office.prompts().await, ["d14 expired", "d7 pending"]);
    assert_eq!(office.snoozes().await, ["2027-03-12T08:00 America/New_York cancelled"]);
    // The same when nobody was at work until both were due.
    let d7 = office.asks("select id from prompts where step = 'd7'", vec![]).await.remove(0);
    snooze(&ana, &d7, "2027-03-17T11:00:00Z").await;
    office.works_at("2027-03-17T12:05:00Z").await;
    assert_eq!(office.prompts().await, ["d14 expired", "d7 expired", "d1 pending"]);
}

async fn a_prompt_does_not_come_back_when_its_reason_is_gone(world: World) {
    let (office, ana, [_, goal, prompt]) = told(world).await;
    snooze(&ana, &prompt, "2027-03-06T14:30:00Z").await;
    office.change::<goal::Entity>(&goal, |goal| goal.lifecycle = "completed".into()).await;
    assert_eq!(office.snoozes().await, ["2027-03-06T09:30 America/New_York cancelled"]);
    office.works_at("2027-03-06T14:30:00Z").await;
    assert_eq!(office.prompts().await, ["d14 cancelled"]);
}

async fn a_case_that_passes_on_shows_its_new_holder_what_the_old_one_put_off(world: World) {
    let (office, ana, [case, _, prompt]) = told(world).await;
    snooze(&ana, &prompt, "2027-03-06T14:30:00Z").await;
    office.reassign(&case, BEN).await;
    assert_eq!(office.prompts().await, ["d14 pending"]);
    assert_eq!(office.snoozes().await, ["2027-03-06T09:30 America/New_York cancelled"]);
    let ben = office.world.ben().await;
    ben.get(&format!("/prompts/{prompt}")).await.ok();
}

async fn putting_off_does_not_put_off_the_supervisor(world: World) {
    let (office, ana, _) = told(world).await;
    office.works_at("2027-03-18T12:05:00Z").await;
    let day = office.asks("select id from prompts where step = 'd0' or status = 'pending'", vec![]).await;
    for prompt in day {
        snooze(&ana, &prompt, "2027-03-30T13:00:00Z").await;
    }
    office.works_at("2027-03-23T12:05:00Z").await;
    assert!(office.mails_to(SAM).iter().any(|mail| mail.subject == "A goal is overdue"));
}

/// A phone takes the instant out, and there is no move back from what is put off.
async fn a_prompt_that_is_put_off_until_nothing_is_asked_again(world: World) {
    let (office, ana, [.., prompt]) = told(world).await;
    snooze(&ana, &prompt, "2027-03-06T14:30:00Z").await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    phone.edits("prompts", &prompt, json!({"status": "pending", "snooze_until": null}));
    phone.syncs().await;
    office.works_at("2027-03-07T14:30:00Z").await;
    assert_eq!(office.prompts().await, ["d14 pending"]);
}
