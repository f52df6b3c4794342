//! Writers that overtake each other, and pulls in between.
//!
//! On PostgreSQL with connections and processes of their own; on SQLite with two stores on one file.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use entities::casework::note;
use entities::sync::purge;
use entities::{Actor, instance, registry, sql};
use sea_orm::sqlx::{self, Connection};
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};

use super::restored::holdings;
use super::rules::{goal, opens_case};
use crate::rest::scene::{fills, harbor, opens_a_case};
use crate::support::{Kind, Phone, Town, World, on_both};

on_both!(
    a_stalled_writer_makes_no_pull_step_over_its_rows,
    a_row_that_comes_back_while_its_leaving_is_forgotten_is_there,
    writers_and_readers_through_two_processes_lose_nothing,
    a_row_that_changes_behind_the_door_is_refused_by_the_database,
    who_signs_in_while_the_password_is_changed_is_not_let_in,
    a_pull_that_waited_does_not_write_over_what_another_learnt,
    a_database_that_took_the_place_of_another_opens_an_epoch_before_it_is_written_to,
);

fn a_note(case: &str, body: &str) -> note::Model {
    note::Model {
        case_id: case.into(),
        body: Some(body.into()),
        ..registry::fresh::<note::Entity>().expect("registered")
    }
}

/// The lost-row race: the first writer has its number and stalls, the second would commit a greater one, a phone pulls
/// and moves its cursor past both.
async fn a_stalled_writer_makes_no_pull_step_over_its_rows(mut world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.pulls().await;
    let elsewhere = world.another_server().await;
    let mut other = Phone::of(&phone.person.through(&elsewhere));
    other.pulls().await;
    let actor = Actor::system(&world.riverbend);
    let mut stalled = world.store.write(&actor).await.expect("the door");
    let slow = stalled.create::<note::Entity>(a_note(&case, "written slowly")).await.expect("a note").id;
    // The second writer has a connection of its own, and must wait for the first.
    let fast = other.creates("notes", json!({"case_id": case, "body": "written fast", "kind": "progress"}));
    let second = tokio::spawn(async move {
        other.pushes().await.expect("something to push").ok();
    });
    if world.db.kind == Kind::Postgres {
        waits(&world, 1, &second).await;
    }
    for _ in 0..3 {
        phone.pulls().await;
        assert!(phone.row("notes", &slow).is_none() && phone.row("notes", &fast).is_none());
    }
    let first = stalled.commit().await.expect("commit");
    second.await.expect("the second writer was taken in");
    phone.pulls().await;
    assert!(phone.row("notes", &slow).is_some(), "the slow row was stepped over");
    assert!(phone.row("notes", &fast).is_some());
    let text = format!("select seq from notes where id = '{fast}'");
    assert!(count(&world, &text).await > first, "numbers follow the order of commits");
}

/// A purge that has deleted and not committed yet, and a writer that brings a row back to where it was before: the
/// entry that it means to take up again is gone when it gets there.
async fn a_row_that_comes_back_while_its_leaving_is_forgotten_is_there(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let note = json!({"case_id": case, "body": "for the team", "kind": "progress", "visibility": "team"});
    let id = phone.creates("notes", note);
    phone.syncs().await;
    let path = format!("/notes/{id}");
    ana.patch(&path, json!({"visibility": "assigned"})).await.ok();
    world.pass_secs(401 * 86_400);
    let sam = world.sam().await;
    sam.get(&path).await.refused(404);
    // Her session is taken up again before anything is held.
    ana.get(&path).await.ok();
    let store = world.store.clone();
    let purge = async move { purge::all(&store, 400).await.expect("a purge") };
    let back = async move { ana.patch(&path, json!({"visibility": "team"})).await.ok() };
    if world.db.kind == Kind::Postgres {
        // Devices are purged last, so a purge that waits for one has deleted the entry.
        let held = world.store.side().await.expect("a transaction");
        sql::exec(&*held, "lock table sync_device in exclusive mode", vec![]).await.expect("devices");
        let purge = tokio::spawn(purge);
        waits(&world, 1, &purge).await;
        let back = tokio::spawn(back);
        waits(&world, 2, &back).await;
        held.commit().await.expect("commit");
        assert!(purge.await.expect("the purge ends").rows > 0);
        back.await.expect("the note is for the team again");
    } else {
        // One writer at a time: nothing can come between.
        purge.await;
        back.await;
    }
    sam.get(&format!("/notes/{id}")).await.ok();
    let mut sams = Phone::of(&sam);
    sams.pulls().await;
    assert!(sams.row("notes", &id).is_some());
}

/// Until so many statements wait for somebody else's rows; the last of them is this task's.
async fn waits<T>(world: &World, many: i64, task: &JoinHandle<T>) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while count(world, waiting).await < many {
        assert!(!task.is_finished(), "it did not wait");
        yield_now().await;
    }
}

async fn count(world: &World, text: &str) -> i64 {
    let row = sql::one(world.store.connection(), text, vec![]).await.expect("the database answers").expect("a row");
    row.try_get_by_index(0).expect("a number")
}

async fn writers_and_readers_through_two_processes_lose_nothing(town: Town) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 6;
    let (first, second) = (town.server().await, town.server().await);
    let ana = first.person("ana@demo.example").await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for at in 0..4 {
        let reader = ana.on_another_device().through(if at % 2 == 0 { &first.url } else { &second.url });
        reader.logs_in().await;
        let done = Arc::clone(&done);
        readers.push(tokio::spawn(async move {
            let mut phone = Phone::of(&reader);
            while !done.load(Ordering::SeqCst) {
                phone.pulls().await;
            }
            phone.pulls().await;
            phone
        }));
    }
    let mut writers = Vec::new();
    for at in 0..WRITERS {
        let writer = ana.on_another_device().through(if at % 2 == 0 { &second.url } else { &first.url });
        writer.logs_in().await;
        let case = case.clone();
        writers.push(tokio::spawn(async move {
            let mut phone = Phone::of(&writer);
            let mut made = BTreeSet::new();
            for round in 0..ROUNDS {
                phone.pulls().await;
                for row in 0..5 {
                    let body = format!("writer {at}, round {round}, row {row}");
                    made.insert(phone.creates("notes", json!({"case_id": case, "kind": "progress", "body": body})));
                }
                while phone.has_unsynced_changes() {
                    let answer = phone.pushes().await.expect("something to push");
                    // A writer that waited too long is told to come back, and does.
                    assert!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
                }
            }
            made
        }));
    }
    let mut made = BTreeSet::new();
    for writer in writers {
        made.extend(writer.await.expect("a writer"));
    }
    done.store(true, Ordering::SeqCst);
    assert_eq!(made.len(), WRITERS * ROUNDS * 5);
    for reader in readers {
        let phone = reader.await.expect("a reader");
        assert_eq!(phone.ids("notes"), made, "a reader stepped over rows");
    }
    // Every transaction has a number of its own.
    let text = "select count(*) from (select agency_id, seq from audit_event group by agency_id, seq having count(*) > 1) twice";
    let row = sql::one(town.store.connection(), text, vec![]).await.expect("an answer").expect("a row");
    assert_eq!(row.try_get_by_index::<i64>(0).expect("a number"), 0);
    assert!(entities::audit::verify(town.store.connection()).await.expect("the trail").is_ok());
}

/// A case of Ana's with a row in every synced table; its id.
async fn fills_every_table(world: &World) -> String {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let (org, _) = harbor(world).await;
    let rows = fills(&ana, &case, &org).await;
    // A goal that is agreed is asked about in time, and a phone that sends what cannot be stored is told.
    let (_, goal) = rows.iter().find(|(table, _)| *table == "goals").expect("a goal");
    ana.post(&format!("/goals/{goal}/agree"), json!({})).await.ok();
    world.set_clock("2027-05-18T13:00:00Z");
    let nowhere = worker::Mailer::to_server(None, "desk@riverbend.example", "https://desk.riverbend.example");
    worker::drain_once(&world.store, &nowhere.expect("a mailer"), None).await.expect("it fires");
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    phone.creates("notes", json!({"case_id": case.id, "kind": "progress", "body": "half a \u{0} word"}));
    phone.pushes().await.expect("a note").ok();
    for table in registry::TABLES.iter() {
        let text = format!("select count(*) from {}", table.name);
        assert!(count(world, &text).await > 0, "{} is empty, so nothing can be shown of it", table.name);
    }
    case.id
}

/// Somebody with a database shell, or a bug: a change that no phone would ever hear of.
async fn a_row_that_changes_behind_the_door_is_refused_by_the_database(world: World) {
    let case = fills_every_table(&world).await;
    for table in registry::TABLES.iter() {
        let text = format!("update {} set updated_at = updated_at + 1", table.name);
        let changed = sql::exec(world.store.writer(), &text, vec![]).await;
        assert!(changed.is_err(), "{}", table.name);
    }
    let text = "update cases set seq = seq + 1 where id = $1";
    sql::exec(world.store.writer(), text, vec![case.into()]).await.expect("a greater number is let through");
}

/// The old password is right when it is looked at, and is not any more when the session is opened.
async fn who_signs_in_while_the_password_is_changed_is_not_let_in(world: World) {
    let ana = world.ana().await;
    let other = ana.on_another_device();
    if world.db.kind != Kind::Postgres {
        // One writer at a time: the session is opened before the change, which ends it, or after.
        other.logs_in().await;
        return;
    }
    let held = world.store.side().await.expect("a transaction");
    let text = "update users set password_hash = 'another' where id = $1";
    sql::exec(&*held, text, vec![ana.user_id().into()]).await.expect("changed");
    let tries = tokio::spawn(async move { other.tries_to_log_in("fieldstone-demo").await });
    waits(&world, 1, &tries).await;
    held.commit().await.expect("commit");
    assert_eq!(tries.await.expect("an answer").refused(401)["code"], json!("sign_in_failed"));
}

/// A pull that sends what an app of a new version lacks waits for the clock. Meanwhile the same phone, over another
/// line, is told that deletes are held back.
async fn a_pull_that_waited_does_not_write_over_what_another_learnt(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    opens_case(&mut phone).await;
    phone.pulls().await;
    if world.db.kind != Kind::Postgres {
        // One writer at a time.
        return;
    }
    let clock = world.store.side().await.expect("a transaction");
    let text = "update sync_clock set seq = seq where agency_id = $1";
    sql::exec(&*clock, text, vec![world.riverbend.as_str().into()]).await.expect("held");
    let cursor = phone.cursor.expect("a cursor");
    let grown = json!({"from": 1, "tables": ["goals"], "columns": []}).to_string();
    let query = [("last_pulled_at", cursor.to_string()), ("schema_version", "1".into()), ("migration", grown)];
    let request = ana.request(reqwest::Method::GET, "/sync").query(&query);
    let waiting = tokio::spawn(async move { request.send().await.expect("an answer").status().as_u16() });
    waits(&world, 1, &waiting).await;
    let learnt = "update sync_device set held_from = $1, held_since = $1 where device_id = $2";
    let values = vec![cursor.into(), ana.device_id.as_str().into()];
    assert_eq!(sql::exec(world.store.writer(), learnt, values).await.expect("written"), 1);
    clock.commit().await.expect("commit");
    assert_eq!(waiting.await.expect("an answer"), 200);
    // What was held is delivered by that reply, and not before it has arrived forgotten.
    let kept = count(&world, "select count(*) from sync_device where held_from is not null").await;
    assert_eq!(kept, 1);
}

/// What a failover looks like to a process: its lines end, and the new ones lead to a database on another timeline,
/// which lacks the last commits.
async fn a_database_that_took_the_place_of_another_opens_an_epoch_before_it_is_written_to(world: World) {
    if world.db.kind != Kind::Postgres {
        return; // a file has no standby
    }
    instance::look(&world.store).await.expect("a look");
    let (ana, ben) = (world.ana().await, world.ben().await);
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    phone.pulls().await;
    let before = phone.asks("").await.ok()["epoch"].as_i64().expect("an epoch");
    let id = phone.creates("goals", goal(&case, "Not replicated in time"));
    phone.syncs().await;
    phone.pulls().await;
    let url = world.db.url.clone();
    let mut line = sqlx::PgConnection::connect(&url).await.expect("the database answers");
    for text in [
        format!("delete from sync_feed where row_id = '{id}'"),
        format!("delete from row_history where row_id = '{id}'"),
        format!("delete from goals where id = '{id}'"),
        "update wf_instance set fingerprint = 'the primary that is gone'".to_owned(),
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
         and pid <> pg_backend_pid()"
            .to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut line).await.expect("done");
    }
    // Somebody writes first.
    let mut answer = ben.post("/cases", json!({"summary": "Written to the standby"})).await;
    while answer.status == 503 {
        answer = ben.post("/cases", json!({"summary": "Written to the standby"})).await;
    }
    answer.ok();
    let reply = phone.asks(&format!("&epoch={before}")).await.ok();
    assert!(reply["epoch"].as_i64() > Some(before), "{reply}");
    assert_ne!(ana.post("/sync/salvage", holdings(&phone)).await.ok(), json!({"stored": 0}));
    ana.get(&format!("/goals/{id}")).await.ok();
    assert!(!instance::sends(world.store.connection()).await.expect("an answer"), "mail waits for a person");
}
