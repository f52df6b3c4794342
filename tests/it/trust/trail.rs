//! What `audit verify` finds of what was done to the trail behind the program's back.

use entities::access::Actor;
use entities::{audit, sql};
use serde_json::Value;

use crate::support::{Kind, Town, fieldstone, on_both};

on_both!(
    an_edited_event_is_named_whatever_was_edited,
    an_agency_without_a_trail_is_named,
    the_event_after_one_that_is_gone_is_named,
    the_first_event_of_two_that_changed_places_is_named,
    an_end_that_was_cut_off_is_found_by_what_was_noted_down,
);

/// Agency and commit number of every event of Riverbend, in order.
async fn events(town: &Town) -> Vec<(String, i64)> {
    let text = "select agency_id, seq from audit_event where agency_id = (select id from agencies \
                where name like 'Riverbend%') order by seq";
    let rows = sql::all(town.store.connection(), text, vec![]).await.expect("the trail");
    let events: Vec<(String, i64)> = rows
        .iter()
        .map(|row| (row.try_get_by_index(0).expect("an agency"), row.try_get_by_index(1).expect("a number")))
        .collect();
    assert!(events.len() > 6, "{events:?}");
    events
}

async fn does(town: &Town, text: &str, number: i64) {
    assert!(sql::exec(town.store.writer(), text, vec![number.into()]).await.expect("it is done") > 0, "{text}");
}

/// What the command says: exit code, output, complaint.
fn verifies(town: &Town, more: &[&str]) -> (Option<i32>, String, String) {
    let done = fieldstone(&[&["audit", "verify"], more].concat()).envs(town.settings()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[track_caller]
fn is_named(town: &Town, (agency, seq): &(String, i64)) {
    let line = format!("fieldstone: event {seq} of agency {agency} is not what was written, or one before it is gone");
    assert_eq!(verifies(town, &[]), (Some(1), String::new(), line.clone()));
    let (code, said, why) = verifies(town, &["--json"]);
    let told: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, why), (Some(1), line));
    assert_eq!(told, serde_json::json!({"sound": false, "agency_id": agency, "seq": seq}));
}

#[track_caller]
fn is_sound(town: &Town) {
    let (code, said, why) = verifies(town, &[]);
    assert!(code == Some(0) && said.starts_with("sound: "), "{said} {why}");
}

async fn an_edited_event_is_named_whatever_was_edited(town: Town) {
    let events = events(&town).await;
    let (agency, seq) = &events[3];
    does(&town, "create table kept as select * from audit_event where seq = $1", *seq).await;
    let edits = [
        "at = at + 1",
        "user_id = 'x'",
        "role = 'x'",
        "device_id = 'x'",
        "action = 'x'",
        "reason = 'x'",
        "objects = 'x'",
        "previous = ''",
        "hash = 'x'",
        "user_id = ''",
        "device_id = ''",
    ];
    // What a column is not for, SQLite keeps all the same.
    let odd = ["role = cast(role as blob)", "reason = x'ff'", "at = 'x'", "seq = seq + 0.5", "hash = 7.5"];
    let odd: &[&str] = if town.db.kind == Kind::Sqlite { &odd } else { &[] };
    for edit in edits.iter().chain(odd) {
        does(&town, &format!("update audit_event set {edit} where seq = $1"), *seq).await;
        let found = audit::verify(town.store.connection()).await.expect("the trail");
        assert_eq!(found.err().map(|broken| (broken.agency_id, broken.seq)), Some((agency.clone(), *seq)), "{edit}");
        does(&town, "delete from audit_event where cast(seq as bigint) = $1", *seq).await;
        does(&town, "insert into audit_event select * from kept where seq = $1", *seq).await;
    }
    is_sound(&town);
    does(&town, "update audit_event set reason = 'nothing to see' where seq = $1", *seq).await;
    is_named(&town, &events[3]);
}

async fn an_agency_without_a_trail_is_named(town: Town) {
    let (agency, _) = events(&town).await.swap_remove(0);
    does(
        &town,
        "delete from audit_event where seq >= $1 and agency_id = (select id from agencies where name like \
         'Riverbend%')",
        0,
    )
    .await;
    let line = format!("fieldstone: event 0 of agency {agency} is gone, and all that came after it");
    assert_eq!(verifies(&town, &[]), (Some(1), String::new(), line));
    does(&town, "delete from audit_event where seq >= $1", 0).await;
    assert_eq!(verifies(&town, &[]).0, Some(1), "nor are all of them sound that have none");
}

async fn the_event_after_one_that_is_gone_is_named(town: Town) {
    let events = events(&town).await;
    for gone in [4, 0] {
        does(&town, "delete from audit_event where seq = $1", events[gone].1).await;
        is_named(&town, &events[gone + 1]);
    }
}

async fn the_first_event_of_two_that_changed_places_is_named(town: Town) {
    let events = events(&town).await;
    let (first, second) = (events[2].1, events[3].1);
    does(&town, "update audit_event set seq = -1 where seq = $1", first).await;
    does(&town, &format!("update audit_event set seq = {first} where seq = $1"), second).await;
    does(&town, &format!("update audit_event set seq = {second} where seq = -1 and $1 = 0"), 0).await;
    is_named(&town, &events[2]);
}

async fn an_end_that_was_cut_off_is_found_by_what_was_noted_down(town: Town) {
    let events = events(&town).await;
    let (agency, last) = events.last().expect("an event");
    let (_, noted, _) = verifies(&town, &["--json"]);
    let told: Value = serde_json::from_str(&noted).expect("JSON");
    assert!(told["heads"].as_array().is_some_and(|heads| heads.iter().any(|head| head["seq"] == *last)), "{told}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("monday.trail");
    std::fs::write(&file, noted).expect("noted down");
    let against = ["--against", &file.display().to_string()];
    let writes = async || {
        let write = town.store.write(&Actor::system(agency)).await.expect("the door");
        write.commit().await.expect("a commit");
    };
    writes().await;
    assert_eq!(verifies(&town, &against).0, Some(0), "what has come since then is no fault");

    does(&town, "delete from audit_event where seq >= $1", *last).await;
    is_sound(&town);
    let line = format!("fieldstone: event {last} of agency {agency} was noted down, and is gone or was written anew");
    assert_eq!(verifies(&town, &against), (Some(1), String::new(), line.clone()));
    writes().await;
    is_sound(&town);
    assert_eq!(verifies(&town, &against).2, line, "events that came in its place do not hide it");
}
