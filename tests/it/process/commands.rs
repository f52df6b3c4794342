//! Commands that end by themselves, and the exit code each ends with.

use entities::workflow::outbox::{NewMessage, Recipient, ResendPolicy, queue};
use entities::{Clock, sql};
use serde_json::{Value, json};

use crate::support::{TestDb, fieldstone, on_both};

on_both!(the_schema_of_an_empty_database_is_brought_up_and_said_to_be_current, what_a_command_did_is_told_as_json_too,);

async fn the_schema_of_an_empty_database_is_brought_up_and_said_to_be_current(db: TestDb) {
    for args in [["migrate", "up"], ["migrate", "up"], ["migrate", "status"]] {
        let done = fieldstone(&args).env("FIELDSTONE_DATABASE_URL", &db.url).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(said.contains("current"), "{args:?}: {said}");
    }
}

async fn what_a_command_did_is_told_as_json_too(db: TestDb) {
    let store = db.store(Clock::System).await;
    let side = store.side().await.expect("a transaction");
    for address in ["tried@demo.example", "dropped@demo.example"] {
        let message = NewMessage {
            agency_id: "nobody".into(),
            message_key: address.into(),
            template: "password_changed".into(),
            to: Recipient::Address(address.into()),
            data: json!({}),
            not_before: None,
            expires_at: None,
            resend_policy: ResendPolicy::Once,
        };
        queue(&*side, side.now(), message).await.expect("it is queued");
    }
    sql::exec(&*side, "update outbound_message set state = 'dead'", vec![]).await.expect("given up");
    side.commit().await.expect("a commit");
    let told = |args: &[&str]| -> Value {
        let done = fieldstone(args).env("FIELDSTONE_DATABASE_URL", &db.url).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stdout);
        serde_json::from_str(&said).unwrap_or_else(|why| panic!("{args:?}: {why}: {said}"))
    };
    let text = "select id from outbound_message where to_address = 'dropped@demo.example'";
    let row = sql::one(store.connection(), text, vec![]).await.expect("the outbox").expect("a message");
    let id: String = row.try_get_by_index(0).expect("an id");
    assert_eq!(told(&["worker", "dead", "drop", &id, "--json"]), json!({"done": 1}));
    assert_eq!(told(&["worker", "dead", "retry", "--all", "--json"]), json!({"done": 1}));
    let nothing = json!({"timers": 0, "planned": 0, "mail": {"sent": 0, "suppressed": 0, "troubled": 0}});
    assert_eq!(told(&["worker", "drain", "--once", "--json"]), nothing, "there is no mail server");
    assert_eq!(told(&["migrate", "up", "--json"]), json!({"standing": "current", "migrations": []}));
}

#[test]
fn misuse_ends_with_2_and_an_invalid_configuration_with_78() {
    let code = |args: &[&str], settings: &[(&str, &str)]| {
        let done = fieldstone(args).envs(settings.iter().copied()).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!said.trim().is_empty(), "{args:?} ended with {} and said nothing", done.status);
        (done.status.code(), said)
    };
    assert_eq!(code(&["dance"], &[]).0, Some(2));
    assert_eq!(code(&["serve", "--tango"], &[]).0, Some(2));
    let (status, said) = code(&["serve"], &[("FIELDSTONE_DATABSE_URL", "sqlite://x.db")]);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("database_url"), "an unknown key is told the nearest one: {said}");
    let (status, said) = code(&["serve"], &[("FIELDSTONE_DATABASE_URL", "mysql://x")]);
    assert_eq!(status, Some(78), "{said}");
}

/// Taken and left out, they would let an agency believe that its own deadlines are kept.
#[test]
fn rules_of_ones_own_are_refused_as_long_as_there_can_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fieldstone.toml");
    std::fs::write(&file, "rules = \"rules.toml\"\n").expect("written");
    for command in [&["worker"][..], &["serve"], &["up"], &["config", "print"]] {
        let in_file = fieldstone(command).arg("--config").arg(&file).output().expect("it runs");
        let in_environment = fieldstone(command).env("FIELDSTONE_RULES", "rules.toml").output().expect("it runs");
        for done in [in_file, in_environment] {
            let said = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(78), "{command:?}: {said}");
            assert!(said.contains("rules cannot be set yet"), "{command:?}: {said}");
        }
    }
}

#[test]
fn every_command_explains_itself() {
    for args in [&["--help"][..], &["serve", "--help"], &["admin", "--help"], &["migrate", "--help"]] {
        let done = fieldstone(args).output().expect("it runs");
        assert!(done.status.success() && done.stdout.len() > 100, "{args:?}");
    }
}
