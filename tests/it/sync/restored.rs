//! A server that went back in time, and the phones that did not.

use entities::{backup, sql};
use serde_json::json;

use super::rules::{goal, opens_case};
use crate::support::{Phone, World, on_both};

on_both!(after_a_restore_phones_bring_back_what_the_server_lost, a_backup_that_was_cut_off_or_edited_is_refused,);

pub(super) async fn takes_a_backup(world: &World) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = backup::write(&world.store, &mut bytes, |_| ()).await.expect("a backup");
    assert_eq!(backup::check(bytes.as_slice()).expect("sound"), summary);
    bytes
}

/// What a new machine does: an empty database, filled from the file.
pub(super) async fn restores(world: &World, bytes: &[u8]) -> entities::Result<backup::Summary> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    let tables = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut tables: Vec<String> = tables.filter_map(|line| line["table"].as_str().map(str::to_owned)).collect();
    tables.extend(["sessions".to_owned(), "one_time_links".to_owned()]);
    for table in tables.iter().rev() {
        sql::exec(world.store.writer(), &format!("delete from {table}"), vec![]).await.expect("emptied");
    }
    backup::restore(&world.store, bytes, |_| ()).await
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
    assert_eq!(page["epoch"].as_i64(), Some(epoch + 1));
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

async fn a_backup_that_was_cut_off_or_edited_is_refused(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    opens_case(&mut phone).await;
    let bytes = takes_a_backup(&world).await;
    assert!(backup::check(&bytes[..bytes.len() / 2]).is_err());
    let edited = String::from_utf8(bytes.clone()).expect("text").replace("First steps", "Other steps");
    assert!(backup::check(edited.as_bytes()).is_err());
    assert!(backup::check(&b""[..]).is_err());
    // A database with an agency in it is never written over.
    let refused = backup::restore(&world.store, bytes.as_slice(), |_| ()).await;
    assert!(matches!(refused, Err(entities::Error::Conflict { code: "backup", .. })), "{refused:?}");
    phone.pulls().await;
    assert_eq!(phone.ids("cases").len(), 1);
}
