//! A copied database beside its original: it writes to nobody, and phones of the original lose nothing to it.

use entities::{Clock, sql};
use serde_json::{Value, json};

use crate::support::database::{fresh_on, postgres_url, uuid_text};
use crate::support::server::free_port;
use crate::support::{Kind, Person, Phone, Postbox, Server, TestDb, Town, fieldstone, on_both};

on_both!(
    a_copy_sends_no_mail_and_takes_nothing_from_phones,
    processes_that_start_at_once_open_one_epoch,
    a_restored_database_opens_one_epoch,
);

/// The settings of a process on this database that sends its mail to this box.
fn settings(town: &Town, db: &TestDb, postbox: &Postbox) -> Vec<(&'static str, String)> {
    let mut settings = town.settings();
    settings.extend([("FIELDSTONE_DATABASE_URL", db.url.clone()), ("FIELDSTONE_SMTP_URL", postbox.url())]);
    settings
}

fn texts<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Runs a command to its end; what it said, log and all.
fn runs(args: &[&str], settings: &[(&'static str, String)]) -> String {
    let done = fieldstone(args).envs(texts(settings)).output().expect("the binary runs");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{args:?}: {said}");
    said
}

/// Epochs opened, of all agencies.
async fn epochs(db: &TestDb) -> i64 {
    let store = db.store(Clock::System).await;
    let row = sql::one(store.connection(), "select count(*) from sync_epoch", vec![]).await.expect("an answer");
    let count = row.expect("a row").try_get_by_index(0).expect("a number");
    store.close().await.expect("it closes");
    count
}

async fn stops(mut server: Server) {
    server.is_asked_to_stop();
    assert!(server.ends().await.success(), "{}", server.log());
}

/// Used once, so that it knows itself, and then left alone.
async fn used(town: &Town) {
    stops(town.server().await).await;
    town.store.clone().close().await.expect("it closes");
}

const DRAIN: &[&str] = &["worker", "drain", "--once"];
const CONFIRM: &str = "fieldstone admin confirm-instance";

async fn a_copy_sends_no_mail_and_takes_nothing_from_phones(town: Town) {
    let original = town.server().await;
    let mut phone = Phone::of(&original.person("ana@demo.example").await);
    phone.pulls().await;
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "Known before the copy"}));
    phone.syncs().await;
    phone.syncs().await;
    let nia = json!({"display_name": "Nia", "email": "nia@demo.example", "role": "caseworker"});
    original.person("ada@demo.example").await.post("/users", nia).await.ok();
    stops(original).await;
    town.store.clone().close().await.expect("it closes");
    let copy = town.db.copied().await;

    let original = town.server().await;
    phone.person = phone.person.through(&original.url);
    let goal = phone.creates(
        "goals",
        json!({"case_id": case, "level": "individual", "statement": "Synced after the copy", "lifecycle": "draft",
            "achievement": "in_progress"}),
    );
    phone.syncs().await;
    phone.syncs().await;
    assert!(!phone.has_unsynced_changes());
    let epoch = phone.pulls().await["epoch"].as_i64().expect("an epoch");
    stops(original).await;

    let postbox = Postbox::open().await;
    let admin = format!("127.0.0.1:{}", free_port());
    let mut there = settings(&town, &copy, &postbox);
    assert!(runs(DRAIN, &there).contains(CONFIRM), "whoever starts it is told what to type");
    assert_eq!(postbox.mails().len(), 0);
    there.push(("FIELDSTONE_ADMIN_LISTEN", admin.clone()));
    let server = Server::start(&["up"], &texts(&there)).await;
    server.says(CONFIRM).await;
    let ready = Person::at(&format!("http://{admin}"), "operator").get("//readyz").await.ok();
    assert!(ready["mail"].as_str().is_some_and(|mail| mail.contains(CONFIRM)), "{ready}");

    phone.person = Person::at(&server.url, "ana@demo.example");
    phone.person.logs_in().await;
    let reply = phone.pulls().await;
    assert!(reply["epoch"].as_i64() > Some(epoch), "{reply}");
    assert!(phone.ids("goals").contains(&goal), "the only copy stays on the phone");
    let mine = phone.row("goals", &goal).expect("held").clone();
    let offered = json!({"goals": {"created": [], "updated": [mine], "deleted": []}});
    assert_eq!(phone.person.post("/sync/salvage", offered).await.ok(), json!({"stored": 1}));
    stops(server).await;
    assert_eq!(postbox.mails().len(), 0);

    let said: Value = serde_json::from_str(&runs(&["admin", "confirm-instance", "--json"], &there)).expect("JSON");
    assert_eq!(said["mail"], "goes out from now on");
    assert!(!runs(DRAIN, &there).contains(CONFIRM));
    assert_eq!(postbox.mails_to("nia@demo.example").len(), 1);
    assert_eq!(epochs(&copy).await, 2, "one for each agency");
    // The original never had to be confirmed.
    let postbox = Postbox::open().await;
    assert!(!runs(DRAIN, &settings(&town, &town.db, &postbox)).contains(CONFIRM));
    assert_eq!(postbox.mails_to("nia@demo.example").len(), 1);
    assert_eq!(epochs(&town.db).await, 0);
    copy.drops().await;
}

async fn processes_that_start_at_once_open_one_epoch(town: Town) {
    used(&town).await;
    let copy = town.db.copied().await;
    let mut there = town.settings();
    there.push(("FIELDSTONE_DATABASE_URL", copy.url.clone()));
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::launch(&["serve"], &texts(&there)));
    }
    for server in &servers {
        server.ready().await;
    }
    assert_eq!(servers.iter().filter(|server| server.log().contains("once more")).count(), 1);
    for server in servers {
        stops(server).await;
    }
    assert_eq!(epochs(&copy).await, 2, "one for each agency");
    copy.drops().await;
}

async fn a_restored_database_opens_one_epoch(town: Town) {
    used(&town).await;
    let here = town.settings();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("monday.backup").display().to_string();
    runs(&["backup", &file], &here);
    let kind = town.db.kind;
    let new = match kind {
        Kind::Sqlite => TestDb { kind, url: format!("sqlite://{}", folder.path().join("new.db").display()) },
        Kind::Postgres => fresh_on(&postgres_url(), &format!("fieldstone_test_{}", uuid_text())).await,
    };
    let mut there = town.settings();
    there.push(("FIELDSTONE_DATABASE_URL", new.url.clone()));
    runs(&["restore", &file], &there);
    assert_eq!(epochs(&new).await, 2, "one for each agency");
    assert!(runs(DRAIN, &there).contains(CONFIRM));
    assert_eq!(epochs(&new).await, 2, "and the first start opens no other");
    new.drops().await;
}
