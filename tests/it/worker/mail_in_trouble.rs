//! Whatever a mail server does, each mail is accounted for and the others go on.

use std::time::Duration;

use entities::workflow::outbox::{NewMessage, Recipient, ResendPolicy, queue};
use entities::workflow::{dead, explain, prune, refused};
use entities::{instance, sql};
use worker::mail::{Route, Server};
use worker::{Mailer, drain_once};

use super::office::{ANA, BEN, Office, SAM};
use super::scripted::{Script, Scripted};
use crate::support::{PASSWORD, World, on_both};

on_both!(
    a_server_that_is_down_costs_a_wait_and_no_mail,
    an_address_that_is_refused_for_good_is_the_only_mail_that_dies,
    a_refused_login_or_greeting_is_nobodys_fault_and_no_mail_dies_of_it,
    a_server_that_puts_off_is_asked_again_six_times_and_then_no_more,
    a_mail_that_waited_for_a_server_is_put_off_as_often_as_any,
    silence_after_the_final_dot_is_answered_with_one_more_copy_and_then_with_a_question,
    a_line_that_breaks_before_the_hand_over_is_simply_tried_again,
    a_message_that_the_server_will_not_have_dies_with_its_words,
    a_silent_server_holds_up_nobody_else,
    a_server_that_says_no_goodbye_has_the_mail_all_the_same,
    a_server_that_never_greets_is_down_and_no_mail_dies_of_it,
    a_case_that_passes_on_in_the_middle_of_a_round_is_told_to_its_new_holder,
    a_clock_that_leaps_ends_no_mail_and_forgets_nothing,
    a_silent_server_keeps_nothing_from_coming_due,
    a_busy_database_after_the_final_dot_makes_no_second_copy,
    an_address_with_a_line_break_costs_that_one_mail,
    a_restored_database_sends_nothing_until_it_is_confirmed,
    a_worker_that_died_while_sending_leaves_a_mail_that_goes_once_more,
    a_case_that_passed_on_after_an_uncertain_copy_gives_the_new_one_their_own,
);

/// Riverbend with a scripted server: Ana, Ben and Sam each have a mail in the outbox.
struct Desk {
    office: Office,
    server: Scripted,
    mailer: Mailer,
}

impl Desk {
    async fn open(world: World) -> Desk {
        let office = Office::open(world).await;
        let server = Scripted::open().await;
        let mailer = impatient(&server.url());
        Desk { office, server, mailer }
    }

    async fn with_mail_for(world: World, people: &[&str]) -> Desk {
        let desk = Desk::open(world).await;
        for email in people {
            desk.queue(email).await;
        }
        desk
    }

    async fn queue(&self, email: &str) {
        let side = self.office.store().side().await.expect("a transaction");
        let message = NewMessage {
            agency_id: self.office.world.riverbend.clone(),
            message_key: format!("test|{email}"),
            template: "password_changed".into(),
            to: Recipient::User(self.office.world.id_of(email).await),
            data: serde_json::json!({}),
            not_before: None,
            expires_at: None,
            resend_policy: ResendPolicy::Once,
        };
        assert!(queue(&*side, side.now(), message).await.expect("it is queued"));
        side.commit().await.expect("a commit");
    }

    async fn works(&self) {
        drain_once(self.office.store(), &self.mailer, None).await.expect("the worker works");
    }

    async fn works_after(&self, secs: i64) {
        self.office.world.pass_secs(secs);
        self.works().await;
    }

    /// `state attempts` of every message for an address, oldest first.
    async fn states(&self, email: &str) -> Vec<String> {
        let user = self.office.world.id_of(email).await;
        let text = "select state || ' ' || attempts from outbound_message where to_user = $1 order by id";
        self.office.asks(text, vec![user.into()]).await
    }
}

fn impatient(url: &str) -> Mailer {
    let server = Server::parse(url).expect("a URL").patience(Duration::from_millis(1500));
    Mailer::new(Route::Smtp(server), "Fieldstone <desk@riverbend.example>", "https://desk.riverbend.example")
        .expect("a mailer")
}

async fn a_server_that_is_down_costs_a_wait_and_no_mail(world: World) {
    let mut desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    let alive = desk.mailer.clone();
    desk.mailer = impatient("smtp://127.0.0.1:9");
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["queued 1"]);
    desk.mailer = alive;
    desk.works().await;
    assert!(desk.server.taken().is_empty(), "not before the wait is over");
    desk.works_after(75).await;
    assert_eq!((desk.server.taken_for(ANA).len(), desk.server.taken_for(BEN).len()), (1, 1));
    assert_eq!(desk.states(ANA).await, ["sent 2"]);
    desk.works_after(3600).await;
    assert_eq!(desk.server.taken().len(), 2);
}

async fn an_address_that_is_refused_for_good_is_the_only_mail_that_dies(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA, BEN, SAM]).await;
    desk.server.tell(BEN, Script::Never);
    desk.works().await;
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["sent 1"]);
    assert_eq!(desk.states(SAM).await, ["sent 1", "sent 1"], "one to tell of Ben's");
    assert_eq!(desk.states(BEN).await, ["dead 1"]);
    let said =
        desk.office.asks("select last_code || ' ' || last_error from outbound_message where state = 'dead'", vec![]);
    assert!(said.await[0].starts_with("550 "));
    desk.server.tell(BEN, Script::Take);
    let side = desk.office.store().side().await.expect("a transaction");
    assert!(refused::lift(&*side, side.now(), &desk.office.world.riverbend, BEN).await.expect("it is lifted"));
    side.commit().await.expect("a commit");
    desk.works().await;
    assert_eq!(desk.states(BEN).await, ["sent 1"]);
}

async fn a_refused_login_or_greeting_is_nobodys_fault_and_no_mail_dies_of_it(world: World) {
    let mut desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    desk.mailer = impatient(&desk.server.url().replace("smtp://", "smtp://clerk:wrong@"));
    for (refused, wait, code) in [("login", 75, "535"), ("greeting", 400, "554")] {
        desk.server.tell(refused, Script::Never);
        desk.works_after(wait).await;
        let states = desk.office.asks("select distinct state || ' ' || last_code from outbound_message", vec![]).await;
        assert_eq!(states, [format!("queued {code}")]);
        desk.server.tell(refused, Script::Take);
    }
    // However long it takes until somebody sees to it.
    desk.server.tell("login", Script::Never);
    for _ in 0..6 {
        desk.works_after(26_000).await;
    }
    assert_eq!(desk.states(ANA).await, ["queued 8"]);
    desk.server.tell("login", Script::Take);
    desk.works_after(26_000).await;
    assert_eq!((desk.states(ANA).await, desk.states(BEN).await), (vec!["sent 9".into()], vec!["sent 9".into()]));
}

async fn a_server_that_puts_off_is_asked_again_six_times_and_then_no_more(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    desk.server.tell(ANA, Script::NotNow);
    desk.works().await;
    assert_eq!(desk.states(BEN).await, ["sent 1"]);
    for (wait, state) in [
        (47, "queued 1"),
        (28, "queued 2"),
        (361, "queued 3"),
        (2161, "queued 4"),
        (8641, "queued 5"),
        (25_921, "dead 6"),
        (90_000, "dead 6"),
    ] {
        desk.works_after(wait).await;
        // 47 s are too early whatever the jitter, the others late enough.
        assert_eq!(desk.states(ANA).await, [state], "after {wait} s");
    }
    assert!(desk.server.taken_for(ANA).is_empty());
}

/// The server was down for hours; the first thing that it says is "not now".
async fn a_mail_that_waited_for_a_server_is_put_off_as_often_as_any(world: World) {
    let mut desk = Desk::with_mail_for(world, &[ANA]).await;
    let alive = desk.mailer.clone();
    desk.mailer = impatient("smtp://127.0.0.1:9");
    for _ in 0..7 {
        desk.works_after(30_000).await;
    }
    assert_eq!(desk.states(ANA).await, ["queued 7"]);
    desk.mailer = alive;
    desk.server.tell(ANA, Script::NotNow);
    for tried in 8..13 {
        desk.works_after(30_000).await;
        assert_eq!(desk.states(ANA).await, [format!("queued {tried}")]);
    }
    desk.works_after(30_000).await;
    assert_eq!(desk.states(ANA).await, ["dead 13"]);
}

async fn silence_after_the_final_dot_is_answered_with_one_more_copy_and_then_with_a_question(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    desk.server.tell(ANA, Script::SilentAfter);
    desk.server.tell(BEN, Script::BreakAfter);
    desk.works().await;
    assert_eq!(
        (desk.states(ANA).await, desk.states(BEN).await),
        (vec!["uncertain 1".into()], vec!["uncertain 1".into()])
    );
    desk.works_after(14 * 60).await;
    assert_eq!(desk.server.taken().len(), 2, "not before a quarter of an hour");
    desk.server.tell(BEN, Script::Take);
    desk.works_after(2 * 60).await;
    assert_eq!(desk.states(BEN).await, ["sent 2"]);
    assert_eq!(desk.states(ANA).await, ["held 2"]);
    for email in [ANA, BEN] {
        let copies = desk.server.taken_for(email);
        assert_eq!(copies.len(), 2);
        assert_eq!(copies[0].message_id, copies[1].message_id, "the reader can tell that it is one mail");
    }
    desk.works_after(90_000).await;
    assert_eq!(desk.server.taken().len(), 4, "a held mail waits for a person");
}

async fn a_line_that_breaks_before_the_hand_over_is_simply_tried_again(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    desk.server.tell(ANA, Script::BreakBefore);
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["queued 1"]);
    desk.server.tell(ANA, Script::Take);
    desk.works_after(75).await;
    assert_eq!(desk.server.taken_for(ANA).len(), 1);
}

async fn a_message_that_the_server_will_not_have_dies_with_its_words(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    desk.server.tell(ANA, Script::NotThis);
    desk.works().await;
    assert_eq!((desk.states(ANA).await, desk.states(BEN).await), (vec!["dead 1".into()], vec!["sent 1".into()]));
    let side = desk.office.store().side().await.expect("a transaction");
    let waits = dead::list(&*side).await.expect("a list");
    assert_eq!(waits.len(), 1);
    assert_eq!(dead::retry(&*side, Some(&waits[0].id), side.now()).await.expect("a retry").again, 1);
    side.commit().await.expect("a commit");
    desk.server.tell(ANA, Script::Take);
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["sent 1"]);
}

async fn a_silent_server_holds_up_nobody_else(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    desk.server.tell("greeting", Script::SilentBefore);
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["queued 1"]);
    desk.server.tell("greeting", Script::Take);
    desk.queue(BEN).await;
    desk.works().await;
    assert_eq!(desk.states(BEN).await, ["sent 1"]);
}

async fn a_server_that_says_no_goodbye_has_the_mail_all_the_same(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    desk.server.tell(ANA, Script::NoFarewell);
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["sent 1"]);
    desk.works_after(3600).await;
    assert_eq!(desk.server.taken_for(ANA).len(), 1);
}

async fn a_server_that_never_greets_is_down_and_no_mail_dies_of_it(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    desk.server.tell("greeting", Script::SilentBefore);
    for _ in 0..8 {
        desk.works_after(8 * 3600).await;
    }
    assert_eq!(desk.states(ANA).await, ["queued 8"]);
    desk.server.tell("greeting", Script::Take);
    desk.works_after(8 * 3600).await;
    assert_eq!(desk.states(ANA).await, ["sent 9"]);
}

async fn a_case_that_passes_on_in_the_middle_of_a_round_is_told_to_its_new_holder(world: World) {
    let desk = Desk::open(world).await;
    // As many mails as go at once, which the server thinks about, and one about a case after them.
    let slow: Vec<String> = (0..8).map(|at| format!("slow-{at}@x.example")).collect();
    let side = desk.office.store().side().await.expect("a transaction");
    for address in &slow {
        desk.server.tell(address, Script::Hesitate);
        let message = NewMessage {
            agency_id: desk.office.world.riverbend.clone(),
            message_key: format!("test|{address}"),
            template: "password_changed".into(),
            to: Recipient::Address(address.clone()),
            data: serde_json::json!({}),
            not_before: None,
            expires_at: None,
            resend_policy: ResendPolicy::Once,
        };
        queue(&*side, side.now(), message).await.expect("it is queued");
    }
    side.commit().await.expect("a commit");
    let case = desk.office.case_of(ANA).await;
    desk.office.goal(&case, "2027-03-18").await;
    desk.office.world.set_clock("2027-03-04T13:00:00Z");
    let nowhere = Mailer::to_server(None, "desk@riverbend.example", "https://desk.riverbend.example");
    drain_once(desk.office.store(), &nowhere.expect("a mailer"), None).await.expect("it fires");
    let (store, mailer) = (desk.office.store().clone(), desk.mailer.clone());
    let round = tokio::spawn(async move { drain_once(&store, &mailer, None).await });
    while desk.server.taken().is_empty() {
        tokio::task::yield_now().await;
    }
    desk.office.world.pass_secs(10);
    desk.office.reassign(&case, BEN).await;
    desk.office.world.pass_secs(10);
    for address in &slow {
        desk.server.tell(address, Script::Take);
    }
    round.await.expect("the round ran").expect("it ends well");
    let told = |email: &str| desk.server.taken_for(email).len();
    assert_eq!((told(ANA), told(BEN)), (0, 1));
}

async fn a_clock_that_leaps_ends_no_mail_and_forgets_nothing(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    let store = desk.office.store();
    let side = store.side().await.expect("a transaction");
    let until = desk.office.world.clock.now().plus_secs(3600).0;
    sql::exec(&*side, "update outbound_message set expires_at = $1", vec![until.into()]).await.expect("it has an end");
    side.commit().await.expect("a commit");
    let right = desk.office.world.clock.now();
    desk.office.world.pass_secs(3 * 366 * 86_400);
    drain_once(store, &desk.mailer, None).await.expect_err("nothing is sent, and nothing is too late");
    prune::batch(store, 400).await.expect_err("nothing is forgotten");
    let ben = desk.office.world.stranger().hands_the_phone_to(BEN);
    assert_eq!(ben.tries_to_log_in(PASSWORD).await.status, 503, "no session begins in a year to come");
    assert_eq!(desk.states(ANA).await, ["queued 0"]);
    desk.office.world.clock.set(right);
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["sent 1"]);
}

async fn a_silent_server_keeps_nothing_from_coming_due(world: World) {
    let desk = Desk::open(world).await;
    desk.queue(ANA).await;
    desk.server.tell("greeting", Script::SilentBefore);
    let case = desk.office.case_of(BEN).await;
    desk.office.goal(&case, "2027-03-18").await;
    // A server's full patience is half a minute.
    let mailer = super::office::mailer(&desk.server.url());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker::run(desk.office.store().clone(), mailer, async {
        let _asked = stopped.await;
    }));
    let until = async |text: &str, wanted: &str| {
        for _ in 0..400 {
            if desk.office.asks(text, vec![]).await == [wanted] {
                return;
            }
            // Waiting for the loop that is tested: there is nothing here to be told by.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{text} does not come to {wanted}");
    };
    until("select state from outbound_message where rule_id is null", "sending").await;
    desk.office.world.set_clock("2027-03-04T13:00:00Z");
    until("select step from prompts", "d14").await;
    assert_eq!(desk.states(ANA).await, ["sending 0"], "the server still says nothing");
    running.abort();
    drop(stop);
}

async fn a_busy_database_after_the_final_dot_makes_no_second_copy(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    for email in [ANA, BEN] {
        desk.server.tell(email, Script::Hesitate);
    }
    let mailer = super::office::mailer(&desk.server.url());
    let store = desk.office.store().clone();
    let sending = tokio::spawn(async move { drain_once(&store, &mailer, None).await });
    while desk.server.taken().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = desk.office.world.db.store(desk.office.world.clock.clone()).await;
    let side = other.side().await.expect("a transaction");
    entities::sql::exec(&*side, "update outbound_message set reason = reason", vec![]).await.expect("it is locked");
    for email in [ANA, BEN] {
        desk.server.tell(email, Script::Take);
    }
    // Longer than either database waits for a lock.
    tokio::time::sleep(Duration::from_millis(6500)).await;
    drop(side);
    let done = sending.await.expect("no panic").expect("it goes on when the database does");
    assert_eq!(done.mail.sent, 2);
    assert_eq!((desk.states(ANA).await, desk.states(BEN).await), (vec!["sent 1".into()], vec!["sent 1".into()]));
    desk.works_after(3600).await;
    assert_eq!(desk.server.taken().len(), 2);
}

async fn an_address_with_a_line_break_costs_that_one_mail(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA, BEN]).await;
    let side = desk.office.store().side().await.expect("a transaction");
    let ana = desk.office.world.id_of(ANA).await;
    let text = "update users set email = $1, display_name = $2 where id = $3";
    let planted = vec!["ana@demo.example\r\nBcc: all@demo.example".into(), "A\r\nna".into(), ana.as_str().into()];
    entities::sql::exec(&*side, text, planted).await.expect("it is planted");
    side.commit().await.expect("a commit");
    desk.works().await;
    let states = desk.office.asks("select state from outbound_message where to_user = $1", vec![ana.into()]).await;
    assert_eq!(states, ["dead"]);
    assert_eq!(desk.states(BEN).await, ["sent 1"]);
    assert_eq!(desk.server.taken().len(), 1);
}

async fn a_restored_database_sends_nothing_until_it_is_confirmed(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    let side = desk.office.store().side().await.expect("a transaction");
    sql::exec(&*side, "update wf_instance set mail_enabled = false", vec![]).await.expect("as a restore does");
    side.commit().await.expect("a commit");
    desk.works_after(3600).await;
    assert_eq!(desk.states(ANA).await, ["queued 0"]);
    assert!(instance::confirm(desk.office.store(), true).await.expect("it is confirmed").was_held);
    desk.works().await;
    assert_eq!(desk.states(ANA).await, ["sent 1"]);
}

async fn a_worker_that_died_while_sending_leaves_a_mail_that_goes_once_more(world: World) {
    let desk = Desk::with_mail_for(world, &[ANA]).await;
    desk.server.tell(ANA, Script::SilentAfter);
    let (store, mailer) = (desk.office.store().clone(), desk.mailer.clone());
    let sending = tokio::spawn(async move { drain_once(&store, &mailer, None).await });
    while desk.server.taken().is_empty() {
        tokio::task::yield_now().await;
    }
    sending.abort();
    let _gone = sending.await;
    assert_eq!(desk.states(ANA).await, ["sending 0"]);
    desk.server.tell(ANA, Script::Take);
    desk.works_after(30).await;
    assert_eq!(desk.states(ANA).await, ["sending 0"], "the lease still runs");
    desk.works_after(31).await;
    assert_eq!(desk.states(ANA).await, ["uncertain 1"]);
    desk.works_after(15 * 60).await;
    assert_eq!(desk.states(ANA).await, ["sent 2"]);
    let copies = desk.server.taken_for(ANA);
    assert_eq!((copies.len(), copies[0].message_id == copies[1].message_id), (2, true));
}

async fn a_case_that_passed_on_after_an_uncertain_copy_gives_the_new_one_their_own(world: World) {
    let desk = Desk::open(world).await;
    let case = desk.office.case_of(ANA).await;
    desk.office.goal(&case, "2027-03-18").await;
    desk.server.tell(ANA, Script::BreakAfter);
    desk.office.world.set_clock("2027-03-04T13:00:00Z");
    desk.works().await;
    assert_eq!(desk.server.taken_for(ANA).len(), 1);
    desk.office.reassign(&case, BEN).await;
    desk.works_after(16 * 60).await;
    desk.works_after(60).await;
    assert_eq!((desk.server.taken_for(ANA).len(), desk.server.taken_for(BEN).len()), (1, 1));
    let snapshot = desk.office.store().read().await.expect("a snapshot");
    let said = explain::explain(&*snapshot, &case, snapshot.now()).await.expect("it answers").expect("the case");
    let states: Vec<_> = said.messages.iter().map(|message| message.state.as_str()).collect();
    assert_eq!(states, ["suppressed", "sent"]);
    assert!(said.messages[0].why.contains("the case has passed on"), "{:?}", said.messages);
}
