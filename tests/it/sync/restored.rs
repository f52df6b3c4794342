//! A server that went back in time, and the phones that did not.

use entities::people::agency;
use entities::{Error, Store, backup, instance, sql};
use serde_json::{Value, json};

use super::rules::{goal, opens_case};
use crate::support::{Phone, World, on_both};

on_both!(
    after_a_restore_phones_bring_back_what_the_server_lost,
    what_a_phone_holds_is_salvaged_before_it_is_replaced,
    the_latest_state_that_any_phone_offers_stands,
    a_restore_is_told_in_every_face,
    deletes_wait_for_unsent_work_after_a_restore_too,
    a_backup_that_was_cut_off_or_edited_is_refused,
    a_clock_that_leapt_opens_no_epoch_and_makes_no_agency,
);

pub async fn takes_a_backup(world: &World) -> Vec<u8> {
    backs_up(&world.store).await
}

pub(super) async fn backs_up(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = backup::write(store, &mut bytes, |_| ()).await.expect("a backup");
    assert_eq!(backup::check(bytes.as_slice()).expect("sound"), summary);
    bytes
}

/// What a new machine does: an empty database, filled from the file.
pub async fn restores(world: &World, bytes: &[u8]) -> entities::Result<backup::Summary> {
    refills(&world.store, bytes).await
}

pub(super) async fn refills(store: &Store, bytes: &[u8]) -> entities::Result<backup::Summary> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    let tables = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut tables: Vec<String> = tables.filter_map(|line| line["table"].as_str().map(str::to_owned)).collect();
    tables.extend(["sessions".to_owned(), "one_time_links".to_owned()]);
    for table in tables.iter().rev() {
        sql::exec(store.writer(), &format!("delete from {table}"), vec![]).await.expect("emptied");
    }
    backup::restore(store, bytes, false, |_| ()).await
}

async fn after_a_restore_phones_bring_back_what_the_server_lost(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let old = phone.creates("goals", goal(&case, "Known before the backup"));
    let doomed = phone.creates("goals", goal(&case, "Deleted after the backup"));
    phone.syncs().await;
    phone.syncs().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let new = phone.creates("goals", goal(&case, "Synced after the backup"));
    phone.edits("goals", &old, json!({"measure": "set after the backup"}));
    phone.deletes("goals", &doomed);
    phone.syncs().await;
    phone.syncs().await;
    assert!(!phone.has_unsynced_changes());
    let epoch = phone.pulls().await["epoch"].as_i64().expect("an epoch");
    let cursor = phone.cursor;
    world.pass_secs(3600);
    let before = backup::check(bytes.as_slice()).expect("sound");
    assert_eq!(restores(&world, &bytes).await.expect("restored"), before);
    phone.person.logs_in().await;

    let page = phone.pulls().await;
    assert!(page["epoch"].as_i64() > Some(epoch));
    assert!(phone.cursor > cursor, "numbers handed out before are never handed out again");
    assert!(phone.ids("goals").contains(&new), "the only copy stays on the phone");
    assert!(phone.ids("goals").contains(&doomed), "what the server knows again is there again");
    let mine = phone.row("goals", &new).expect("held").clone();
    let offered = json!({"goals": {"created": [], "updated": [mine], "deleted": []}});
    assert_eq!(phone.person.post("/sync/salvage", offered.clone()).await.ok(), json!({"stored": 1}));
    assert_eq!(phone.person.post("/sync/salvage", offered).await.ok(), json!({"stored": 0}));
    phone.syncs().await;
    let mut fresh = Phone::of(&phone.person);
    fresh.pulls().await;
    assert_eq!(fresh.column("goals", &new, "statement"), json!("Synced after the backup"));
    assert_eq!(phone.everything(), fresh.everything());

    let row = sql::one(world.store.connection(), "select mail_enabled from wf_instance", vec![]).await;
    assert!(!row.expect("an answer").expect("a row").try_get_by_index::<bool>(0).expect("a truth"), "no mail yet");
    assert!(entities::audit::verify(world.store.connection()).await.expect("the trail").is_ok());
}

/// All that a phone holds as synced, in the shape of a push.
pub(super) fn holdings(phone: &Phone) -> Value {
    let tables = phone.everything().into_iter().map(|(table, rows)| {
        let rows: Vec<Value> = rows.into_values().map(Value::Object).collect();
        (table, json!({"created": [], "updated": rows, "deleted": []}))
    });
    Value::Object(tables.collect())
}

/// A backup, and on the phone what was synced after it: a goal, an edit of an older one, a move.
async fn goes_back_in_time(world: &World) -> (Phone, Vec<u8>, [String; 2]) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let old = phone.creates("goals", goal(&case, "Known before the backup"));
    phone.syncs().await;
    phone.syncs().await;
    let bytes = takes_a_backup(world).await;
    world.pass_secs(3600);
    let new = phone.creates("goals", goal(&case, "Synced after the backup"));
    phone.edits("goals", &old, json!({"measure": "set after the backup"}));
    phone.syncs().await;
    phone.syncs().await;
    world.pass_secs(3600);
    (phone, bytes, [old, new])
}

async fn what_a_phone_holds_is_salvaged_before_it_is_replaced(world: World) {
    let (mut phone, bytes, [old, new]) = goes_back_in_time(&world).await;
    restores(&world, &bytes).await.expect("restored");
    phone.person.logs_in().await;
    let case = phone.column("goals", &old, "case_id");
    let offered = holdings(&phone);
    let unsent = phone.creates("notes", json!({"case_id": case, "body": "never sent", "kind": "progress"}));
    let page = phone.asks("&epoch=1").await.ok();
    let epoch = page["epoch"].as_i64().expect("an epoch");
    assert!(epoch > 1 && page.get("experimentalStrategy").is_none());
    let salvaged = phone.person.post("/sync/salvage", offered).await.ok();
    assert_eq!(salvaged, json!({"stored": 2}), "the new goal, and the edit of the old one");
    let page = phone.asks(&format!("&epoch=1&salvaged={epoch}")).await.ok();
    assert_eq!(page["experimentalStrategy"], json!("replacement"));
    phone.applies(&page);
    assert_eq!(phone.column("goals", &old, "measure"), json!("set after the backup"));
    assert!(phone.ids("goals").contains(&new) && phone.ids("notes").contains(&unsent));
    phone.syncs().await;
    assert!(phone.asks(&format!("&epoch={epoch}")).await.ok().get("experimentalStrategy").is_none());
    phone.pulls().await;
    let mut fresh = Phone::of(&phone.person);
    fresh.pulls().await;
    assert_eq!(fresh.everything(), phone.everything());
    let kinds: Vec<Value> =
        fresh.everything().remove("sync_issues").expect("told").values().map(|i| i["kind"].clone()).collect();
    assert_eq!(kinds, [json!("restored")], "and nothing was wrong with what was offered");
    let early = phone.person.get("/sync?last_pulled_at=1&schema_version=1&epoch=x").await;
    assert_eq!(early.status, 400);
}

async fn the_latest_state_that_any_phone_offers_stands(world: World) {
    let (phone, bytes, [old, _]) = goes_back_in_time(&world).await;
    // Another phone saw the first edit and nothing after it.
    let earlier = holdings(&phone);
    let ana = phone.person.clone();
    let mut later = phone.clone();
    later.edits("goals", &old, json!({"measure": "set again after that"}));
    later.syncs().await;
    later.syncs().await;
    world.pass_secs(3600);
    restores(&world, &bytes).await.expect("restored");
    ana.logs_in().await;
    for (offered, stored) in [(holdings(&later), 2), (earlier, 0)] {
        assert_eq!(ana.post("/sync/salvage", offered).await.ok(), json!({"stored": stored}));
    }
    assert_eq!(ana.get(&format!("/goals/{old}")).await.ok()["measure"], json!("set again after that"));
    let history = ana.get(&format!("/goals/{old}/history")).await.ok();
    let lost = history["items"].as_array().expect("items").iter().find(|kept| kept["op"] == "lost");
    assert_eq!(lost.expect("kept")["old"]["measure"], json!("set after the backup"));
}

async fn a_restore_is_told_in_every_face(world: World) {
    let (mut phone, bytes, _) = goes_back_in_time(&world).await;
    let (ana, ben) = (world.ana().await, world.ben().await);
    let cursor = |page: &Value| page["next_cursor"].as_str().expect("a cursor").to_owned();
    let native = cursor(&ben.get("/sync/pull?limit=2000").await.ok());
    let rxdb = ana.get("/sync/rxdb/goals/pull").await.ok()["checkpoint"]["cursor"].as_str().expect("one").to_owned();
    restores(&world, &bytes).await.expect("restored");
    for person in [&phone.person, &ana, &ben] {
        person.logs_in().await;
    }
    phone.pulls().await;
    let issue = phone.everything().remove("sync_issues").expect("in the same reply").into_values().next().expect("one");
    assert_eq!((&issue["kind"], &issue["audience"]), (&json!("restored"), &json!("author")));
    assert!(issue["message"].as_str().expect("a sentence").contains("2027-03-01T15"), "{issue:?}");
    ana.get(&format!("/sync/rxdb/goals/pull?cursor={rxdb}")).await.ok();
    let refused = ben.get(&format!("/sync/pull?cursor={native}")).await.refused(409);
    assert_eq!(refused["code"], json!("epoch_changed"));
    let told = ben.get("/sync_issues").await.ok();
    assert_eq!(told["items"][0]["kind"], json!("restored"));
    let sam = world.sam().await.get("/sync_issues").await.ok();
    let about: Vec<&Value> = sam["items"].as_array().expect("items").iter().map(|issue| &issue["about_id"]).collect();
    assert_eq!(about.len(), 2, "one for each colleague, however many phones and faces: {sam}");
    assert_eq!(phone.asks("").await.ok()["changes"]["sync_issues"]["updated"], json!([]), "once");
}

async fn deletes_wait_for_unsent_work_after_a_restore_too(world: World) {
    let (mut phone, _, [old, _]) = goes_back_in_time(&world).await;
    let other = phone.person.on_another_device();
    other.logs_in().await;
    let mut there = Phone::of(&other);
    there.pulls().await;
    there.deletes("goals", &old);
    there.syncs().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(60);
    restores(&world, &bytes).await.expect("restored");
    phone.person.logs_in().await;
    phone.edits("goals", &old, json!({"unit": "not sent yet"}));
    let held = phone.asks("&pending=1").await.ok();
    assert_eq!(held["changes"]["goals"]["deleted"], json!([]));
    phone.applies(&held);
    phone.pushes().await.expect("the edit").ok();
    let reply = phone.pulls().await;
    assert_eq!(reply["changes"]["goals"]["deleted"], json!([old]));
}

async fn a_backup_that_was_cut_off_or_edited_is_refused(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    opens_case(&mut phone).await;
    let bytes = takes_a_backup(&world).await;
    assert!(backup::check(&bytes[..bytes.len() / 2]).is_err());
    let edited = String::from_utf8(bytes.clone()).expect("text").replace("First steps", "Other steps");
    assert!(backup::check(edited.as_bytes()).is_err());
    assert!(backup::check(&b""[..]).is_err());
    // A database with an agency in it is never written over.
    let refused = backup::restore(&world.store, bytes.as_slice(), false, |_| ()).await;
    assert!(matches!(refused, Err(entities::Error::Conflict { code: "backup", .. })), "{refused:?}");
    phone.pulls().await;
    assert_eq!(phone.ids("cases").len(), 1);
}

/// The numbers of an epoch cannot be taken back either, so a copy, a restore and a new agency ask first.
async fn a_clock_that_leapt_opens_no_epoch_and_makes_no_agency(world: World) {
    let store = &world.store;
    let count = async |text: &str| -> i64 {
        let row = sql::one(store.connection(), text, vec![]).await.expect("an answer").expect("a row");
        row.try_get_by_index(0).expect("a number")
    };
    let refused = |why: Option<Error>| matches!(why, Some(Error::Busy(why)) if why.contains("more than two years"));
    instance::look(store).await.expect("a look");
    let bytes = takes_a_backup(&world).await;
    let newest = count("select max(seq) from sync_clock").await;
    world.set_clock("2031-01-01T12:00:00Z");
    sql::exec(store.writer(), "update wf_instance set fingerprint = 'another'", vec![]).await.expect("a copy");
    assert!(refused(instance::look(store).await.err()), "no epoch");
    let agency = agency::Model::new("Lakeside", "Europe/London", &world.clock);
    assert!(refused(agency::create(store, agency).await.err()), "no agency");
    assert_eq!(count("select count(*) from agencies where name = 'Lakeside'").await, 0);
    assert_eq!(count("select count(*) from sync_epoch").await, 0);
    assert_eq!(count("select max(seq) from sync_clock").await, newest);

    let done = instance::confirm(store, true).await.expect("an operator says that it is right");
    assert_eq!(done, instance::Confirmed { was_held: true, had_leapt: true });
    assert_eq!(count("select max(restored_to_seq) from sync_epoch").await, newest, "it knows where the copy stood");
    let again = instance::confirm(store, true).await.expect("once more");
    assert_eq!(again, instance::Confirmed { was_held: false, had_leapt: false });

    assert!(refused(restores(&world, &bytes).await.err()), "no restore");
    assert_eq!(count("select count(*) from agencies").await, 0, "and nothing of it stays");
    backup::restore(store, bytes.as_slice(), true, |_| ()).await.expect("where the operator says that it is right");
    assert_eq!(count("select max(restored_to_seq) from sync_epoch").await, newest);
}
