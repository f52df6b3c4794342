//! `kill -9` of the worker anywhere in a round, from planning to the last answer, again and again: no mail is lost, and
//! the ones that come twice are the ones whose answer nobody can know of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::{World, fieldstone, kills, on_both};
use crate::worker::office::{ANA, Office, at};

on_both!(a_worker_killed_at_any_moment_of_a_round_loses_no_mail_and_repeats_only_what_was_under_way);

const GOALS: usize = 6;
/// The worker's clock when the goals' seven-day step is due.
const DUE: &str = "2027-03-11T13:05:00Z";

async fn a_worker_killed_at_any_moment_of_a_round_loses_no_mail_and_repeats_only_what_was_under_way(world: World) {
    let office = Office::open(world).await;
    // How long an undisturbed round takes here, so that the blows fall all over it.
    goals(&office).await;
    let began = Instant::now();
    assert!(drain(&office).wait().expect("it ends").success());
    let undisturbed = began.elapsed();
    assert_eq!(office.mails_to(ANA).len(), GOALS);

    let mut under_way: Vec<String> = Vec::new();
    let (mut turn, kills) = (0, kills());
    // Where the machine is busy the blows may all miss the sending: then there are more of them.
    while turn < kills || (under_way.is_empty() && turn < 4 * kills) {
        goals(&office).await;
        let mut worker = drain(&office);
        // The one thing that has to be left to real time: when the blow falls.
        tokio::time::sleep(undisturbed * (kills + turn % kills * 4) / (kills * 5)).await;
        worker.kill().expect("it was started");
        worker.wait().expect("it has ended");
        under_way.extend(office.asks("select message_id from outbound_message where state = 'sending'", vec![]).await);
        // The survivors: once the leases have run out, and once the uncertain ones may be sent again.
        for _ in 0..2 {
            office.world.pass_secs(1000);
            worker::drain_once(office.store(), &office.mailer, Some(at(DUE))).await.expect("the worker works");
        }
        turn += 1;
    }

    let all = (turn as usize + 1) * GOALS;
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for mail in office.mails_to(ANA) {
        *arrived.entry(mail.message_id).or_default() += 1;
    }
    assert_eq!(arrived.len(), all, "one Message-ID for each goal, and none lost");
    for (id, copies) in &arrived {
        let was_under_way = under_way.iter().any(|one| id.contains(one.trim_matches(['<', '>'])));
        assert!(*copies == 1 || (*copies == 2 && was_under_way), "{copies} of {id}, under way: {was_under_way}");
    }
    assert!(!under_way.is_empty(), "no mail was under way when a blow fell");
    let left = office.asks("select state from outbound_message where state <> 'sent'", vec![]).await;
    assert_eq!(left, Vec::<String>::new());
    let prompted = office.asks("select subject_id from prompts where rule = 'goal.deadline'", vec![]).await;
    let goals: BTreeSet<&String> = prompted.iter().collect();
    assert_eq!((prompted.len(), goals.len()), (all, all), "one prompt for each goal");
    assert!(undisturbed < Duration::from_secs(60));
}

/// In a case of their own: planning one looks at all of its case.
async fn goals(office: &Office) {
    let case = office.case_of(ANA).await;
    for _ in 0..GOALS {
        office.goal(&case, "2027-03-18").await;
    }
}

/// The real binary, doing all that is due.
fn drain(office: &Office) -> std::process::Child {
    fieldstone(&["worker", "drain", "--once", "--now", DUE])
        .env("FIELDSTONE_DATABASE_URL", &office.world.db.url)
        .env("FIELDSTONE_SMTP_URL", office.post.url())
        .env("FIELDSTONE_MAIL_FROM", "Fieldstone <desk@riverbend.example>")
        .env("FIELDSTONE_PUBLIC_URL", "https://desk.riverbend.example")
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts")
}
