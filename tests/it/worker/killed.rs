//! `kill -9` of the worker while mail is on its way.

use std::time::Duration;

use entities::clock::Clock;
use entities::sql;
use entities::workflow::outbox::{NewMessage, Recipient, ResendPolicy, queue};

use super::scripted::{Script, Scripted};
use crate::support::{Server, World, kills, on_both};

on_both!(a_killed_worker_loses_no_mail_and_repeats_only_what_it_had_handed_over);

const EACH: usize = 4;

async fn a_killed_worker_loses_no_mail_and_repeats_only_what_it_had_handed_over(world: World) {
    // The binary reads the machine's clock.
    world.clock.set(Clock::System.now());
    let mail = Scripted::open().await;
    mail.tell("*", Script::SlowAnswer);
    let settings = [("FIELDSTONE_DATABASE_URL", world.db.url.as_str()), ("FIELDSTONE_SMTP_URL", &mail.url())];
    let kills = kills() as usize;
    for round in 0..kills {
        queue_some(&world, round).await;
        let before = mail.taken().len();
        let mut worker = Server::launch(&["worker"], &settings);
        for tries in 0.. {
            assert!(tries < 6000, "the worker sends nothing. It wrote:\n{}", worker.log());
            if mail.taken().len() > before {
                break;
            }
            // Waiting for another process: there is nothing here to be told by.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.kill();
        time_passes(&world).await;
    }
    for _ in 0..3 {
        let mut drain = crate::support::fieldstone(&["worker", "drain", "--once"]);
        let ended = drain.envs(settings).output().expect("the binary runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        time_passes(&world).await;
    }
    let (mut repeated, mut unknown) = (0, 0);
    for number in 0..kills * EACH {
        let copies = mail.taken_for(&address(number));
        if copies.is_empty() {
            // Struck twice between the mark and the final dot: nobody can know, so it waits for a person.
            let text = "select state || ' after ' || attempts from outbound_message where to_address = $1 \
                        and (attempts >= 2 or state <> 'held')";
            let row = sql::one(world.store.connection(), text, vec![address(number).into()]).await.expect("a state");
            let row = row.unwrap_or_else(|| panic!("mail {number} was given up after one attempt"));
            let state: String = row.try_get_by_index(0).expect("text");
            assert!(state.starts_with("held after "), "mail {number} is lost: {state}");
            unknown += 1;
            continue;
        }
        assert!(copies.len() <= 2, "mail {number} came {} times", copies.len());
        assert!(copies.iter().all(|copy| copy.message_id == copies[0].message_id));
        repeated += copies.len() - 1;
    }
    assert!(unknown <= kills / 4, "{unknown} of {} mails never came: that is not chance", kills * EACH);
    assert!(repeated <= kills, "{repeated} repeated by {kills} kills: more than one for each");
    assert!(repeated > 0, "no kill came between the final dot and the answer: the test shows nothing");
    let text = "select distinct state from outbound_message order by state";
    let rows = sql::all(world.store.connection(), text, vec![]).await.expect("states");
    let states: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).expect("text")).collect();
    assert!(states.iter().all(|state| ["sent", "held"].contains(&state.as_str())), "{states:?}");
}

fn address(number: usize) -> String {
    format!("reader{number}@demo.example")
}

async fn queue_some(world: &World, round: usize) {
    let side = world.store.side().await.expect("a transaction");
    for number in round * EACH..(round + 1) * EACH {
        let message = NewMessage {
            agency_id: world.riverbend.clone(),
            message_key: format!("test|{number}"),
            template: "password_changed".into(),
            to: Recipient::Address(address(number)),
            data: serde_json::json!({}),
            not_before: None,
            expires_at: None,
            resend_policy: ResendPolicy::Once,
        };
        queue(&*side, side.now(), message).await.expect("it is queued");
    }
    side.commit().await.expect("a commit");
}

/// The lease of the dead worker runs out, and the quarter of an hour after it.
async fn time_passes(world: &World) {
    let side = world.store.side().await.expect("a transaction");
    let text = "update outbound_message set lease_until = 0 where state = 'sending'";
    sql::exec(&*side, text, vec![]).await.expect("leases run out");
    side.commit().await.expect("a commit");
    // What a worker does with a lease that has run out, then the wait that it asks for. Nothing is due at that
    // instant, so nothing is tried.
    let mailer = super::office::mailer("smtp://127.0.0.1:9");
    worker::drain_once(&world.store, &mailer, Some(entities::Instant(-1))).await.expect("it works");
    let side = world.store.side().await.expect("a transaction");
    sql::exec(&*side, "update outbound_message set next_at = 0", vec![]).await.expect("time passes");
    side.commit().await.expect("a commit");
}
