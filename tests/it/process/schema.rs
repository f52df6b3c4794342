//! The schema, and those who start before it is there or after it has moved on.

use std::process::Stdio;

use entities::sql;
use migrations::Standing;

use crate::support::database::{empty_on, postgres_url, uuid_text};
use crate::support::{Kind, Server, TestDb, Town, fieldstone, on_both};

on_both!(
    processes_refuse_a_schema_that_is_not_theirs,
    processes_that_migrate_at_once_take_turns,
    a_change_of_the_schema_lets_others_read_while_it_waits,
);

async fn processes_refuse_a_schema_that_is_not_theirs(town: Town) {
    let settings = town.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = async |command: &str, part: &str| {
        let mut process = Server::launch(&[command], &settings);
        let ended = process.ends().await;
        assert_eq!(ended.code(), Some(1), "{command}: {}", process.log());
        process.says(part).await;
    };
    let does = async |text: &str| sql::exec(town.store.writer(), text, vec![]).await.expect("it is done");
    does("insert into seaql_migrations (version, applied_at) values ('m9999_later', 0)").await;
    for command in ["serve", "worker"] {
        refused(command, "belongs to a newer Fieldstone: it holds m9999_later").await;
    }
    refused("up", "m9999_later").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("monday.backup");
    let backs_up = || {
        let mut command = fieldstone(&["backup", &file.display().to_string()]);
        let done = command.envs(settings.iter().copied()).output().expect("it ends");
        assert!(!file.exists() && done.status.code() == Some(1), "no version could restore it");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    assert!(backs_up().contains("m9999_later"));
    does("delete from seaql_migrations where version in ('m9999_later', 'm0009_instance')").await;
    for command in ["serve", "worker"] {
        refused(command, "lacks 1 migration(s), the first is m0009_instance; run `fieldstone migrate up`").await;
    }
    assert!(backs_up().contains("run `fieldstone migrate up`, or: a backup of the schema as it is"));
}

async fn processes_that_migrate_at_once_take_turns(beside: TestDb) {
    let kind = beside.kind;
    let db = match kind {
        Kind::Sqlite => TestDb { kind, url: beside.url.replace(".db", "-empty.db") },
        Kind::Postgres => empty_on(&postgres_url(), &format!("fieldstone_test_{}", uuid_text())).await,
    };
    let starts = || {
        let mut command = fieldstone(&["migrate", "up"]);
        command.env("FIELDSTONE_DATABASE_URL", &db.url).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let all: Vec<_> = (0..4).map(|_| starts()).collect();
    for one in all {
        let done = one.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let store = db.store(entities::Clock::System).await;
    assert_eq!(migrations::standing(store.connection()).await.ok(), Some(Standing::Current));
    store.close().await.expect("it closes");
    db.drops().await;
}

/// A backup reads every table for long; a change of one waits for it, and whoever comes next would wait for the change.
async fn a_change_of_the_schema_lets_others_read_while_it_waits(db: TestDb) {
    if db.kind == Kind::Sqlite {
        return; // a change is one transaction that waits for nobody who reads
    }
    let store = db.store(entities::Clock::System).await;
    for text in [
        "alter table sync_device drop column filling_at",
        "alter table sync_device drop column filling_was",
        "delete from seaql_migrations where version = 'm0016_filling'",
    ] {
        sql::exec(store.writer(), text, vec![]).await.expect("an older schema");
    }
    let look = "select count(*) from sync_device";
    let backup = store.read().await.expect("a view");
    sql::one(&*backup, look, vec![]).await.expect("it reads");
    let mut migrates = Server::launch(&["migrate", "up"], &[("FIELDSTONE_DATABASE_URL", &db.url)]);
    migrates.says("somebody reads a table that is to change").await;
    // It lets others pass, and tries again.
    for _ in 0..3 {
        sql::one(store.connection(), look, vec![]).await.expect("others read meanwhile");
    }
    drop(backup);
    assert!(migrates.ends().await.success(), "{}", migrates.log());
    assert_eq!(migrations::standing(store.connection()).await.ok(), Some(Standing::Current));
    store.close().await.expect("it closes");
}
