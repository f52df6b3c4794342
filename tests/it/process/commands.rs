//! Commands that end by themselves, and the exit code each ends with.

use std::os::unix::fs::PermissionsExt;

use entities::workflow::outbox::{NewMessage, Recipient, ResendPolicy, queue};
use entities::{Clock, sql};
use serde_json::{Value, json};

use crate::support::database::{empty_on, postgres_url, uuid_text};
use crate::support::{Kind, TestDb, fieldstone, on_both};

on_both!(
    the_schema_of_an_empty_database_is_brought_up_and_said_to_be_current,
    what_a_command_did_is_told_as_json_too,
    a_database_of_somebody_else_is_left_alone,
);

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
    let mut unnamed = fieldstone(&["worker", "dead", "retry", ""]);
    let done = unnamed.env("FIELDSTONE_DATABASE_URL", &db.url).output().expect("it runs");
    assert_eq!(done.status.code(), Some(1), "an empty name is not all");
    assert_eq!(told(&["worker", "dead", "drop", &id, "--json"]), json!({"done": 1}));
    assert_eq!(told(&["worker", "dead", "retry", "--all", "--json"]), json!({"done": 1}));
    let nothing = json!({"timers": 0, "planned": 0, "mail": {"sent": 0, "suppressed": 0, "troubled": 0}});
    assert_eq!(told(&["worker", "drain", "--once", "--json"]), nothing, "there is no mail server");
    assert_eq!(told(&["migrate", "up", "--json"]), json!({"standing": "current", "migrations": []}));
}

async fn a_database_of_somebody_else_is_left_alone(db: TestDb) {
    let url = match db.kind {
        Kind::Sqlite => db.url.replace(".db", "-theirs.db"),
        Kind::Postgres => empty_on(&postgres_url(), &format!("fieldstone_test_{}", uuid_text())).await.url,
    };
    let theirs = TestDb { kind: db.kind, url };
    let store = theirs.store(Clock::System).await;
    sql::exec(store.writer(), "create table customers (id text)", vec![]).await.expect("a table");
    for args in [&["migrate", "up"][..], &["sample", "--size", "demo"]] {
        let done = fieldstone(args).env("FIELDSTONE_DATABASE_URL", &theirs.url).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(1) && said.contains("of somebody else, the first is customers"), "{said}");
    }
    sql::one(store.connection(), "select 1 from agencies", vec![]).await.expect_err("nothing came beside it");
    store.close().await.expect("closed");
    theirs.drops().await;
}

#[test]
fn what_is_wrong_with_the_database_is_said_plainly() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("wrong.db"), "somebody's letter, and no database at all").expect("written");
    let says = |args: &[&str], url: &str, parts: &[&str]| {
        let (code, said) = in_a_folder(folder.path(), args, &[("FIELDSTONE_DATABASE_URL", url)]);
        assert!(code == Some(1) && parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
        for never in ["busy", "PLANTED", " at line ", "signing"] {
            assert!(!said.contains(never), "{args:?}: {said}");
        }
    };
    says(&["migrate", "status"], "sqlite://wrong.db", &["wrong.db: it is no SQLite database"]);
    says(&["up"], "sqlite:///nowhere/at/all/x.db", &["there is no folder /nowhere/at/all"]);
    says(&["serve"], "sqlite:///nowhere/at/all/x.db", &["there is no folder /nowhere/at/all"]);
    says(&["migrate", "up"], "postgres://me:PLANTED@127.0.0.1:1/home", &["home at 127.0.0.1:1: it does not answer"]);
    let gone = postgres_url();
    let (server, options) =
        gone.split_once('?').map_or((gone.as_str(), String::new()), |(url, options)| (url, format!("?{options}")));
    let at = server.find("://").map_or(0, |at| at + 3);
    let end = server[at..].find('/').map_or(server.len(), |slash| at + slash);
    let gone = format!("{}/not_there{options}", &server[..end]);
    says(&["migrate", "up"], &gone, &["database \"not_there\" does not exist: make it"]);
}

/// The exit code and the complaint of a command in a folder of its own.
fn in_a_folder(folder: &std::path::Path, args: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let done = fieldstone(args).current_dir(folder).envs(settings.iter().copied()).output().expect("it runs");
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_command_that_only_looks_makes_no_database() {
    let folder = tempfile::tempdir().expect("a folder");
    for args in [
        &["backup", "x.backup"][..],
        &["migrate", "status"],
        &["audit", "verify"],
        &["worker", "dead", "list"],
        &["restore", "no-such.backup"],
    ] {
        let (code, said) = in_a_folder(folder.path(), args, &[]);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "{args:?}: {said}");
    }
}

#[test]
fn a_backup_writes_over_nothing_and_a_full_database_is_not_restored_into() {
    let folder = tempfile::tempdir().expect("a folder");
    let says = |args: &[&str]| in_a_folder(folder.path(), args, &[]);
    assert_eq!(says(&["migrate", "up"]).0, Some(0));
    assert_eq!(says(&["admin", "create-agency", "Riverbend", "--tz", "Europe/London"]).0, Some(0));
    std::fs::write(folder.path().join("monday.partial"), "somebody's own").expect("written");
    assert_eq!(
        says(&["backup", "monday.backup"]),
        (Some(0), says(&["backup", "other.backup"]).1.replace("other", "monday"))
    );
    assert_eq!(std::fs::read_to_string(folder.path().join("monday.partial")).expect("there"), "somebody's own");
    let (code, said) = says(&["backup", "monday.backup"]);
    assert!(code == Some(1) && said.contains("exists already"), "{said}");
    let names = std::fs::read_dir(folder.path()).expect("a folder").filter_map(Result::ok);
    let left = names.filter(|name| name.file_name().to_string_lossy().contains(".partial-")).count();
    assert_eq!(left, 0, "nothing half done stays");
    // A database of an older program is not moved on by a restore that is refused.
    let store = |text: &'static str| {
        let url = format!("sqlite://{}", folder.path().join("fieldstone.db").display());
        tokio::runtime::Runtime::new().expect("a runtime").block_on(async move {
            let store = entities::Store::open(&url, entities::Pool::default(), Clock::System).await.expect("it opens");
            let rows = sql::all(store.writer(), text, vec![]).await.expect("it is asked");
            store.close().await.expect("closed");
            rows.len()
        })
    };
    let newest = "select version from seaql_migrations where version like 'm0023%'";
    assert_eq!(store(newest), 1);
    store("delete from seaql_migrations where version like 'm0023%'");
    let (code, said) = says(&["restore", "monday.backup"]);
    assert!(code == Some(1) && said.contains("not empty"), "{said}");
    assert_eq!(store(newest), 0);
}

#[test]
fn the_database_file_alone_is_whole_when_a_command_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let beside = folder.path().join("fieldstone.db-wal");
    let does = |args: &[&str]| {
        let (code, said) = in_a_folder(folder.path(), args, &[]);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        assert!(!beside.exists(), "{args:?} left a part of the database in {}", beside.display());
    };
    does(&["migrate", "up"]);
    // Whether something was left was a matter of luck.
    for name in ["Riverbend", "Hillside", "Lakeside", "Northgate"] {
        does(&["admin", "create-agency", name, "--tz", "Europe/London"]);
        does(&["admin", "confirm-instance"]);
    }
    does(&["backup", "monday.backup"]);
    for _ in 0..4 {
        std::fs::remove_file(folder.path().join("fieldstone.db")).expect("there");
        does(&["restore", "monday.backup"]);
    }
    does(&["audit", "verify"]);
}

#[test]
fn what_was_noted_of_a_trail_has_to_be_that() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(in_a_folder(folder.path(), &["migrate", "up"], &[]).0, Some(0));
    for wrong in ["[]", "1", "{}", "{\"heads\": 1}", "nonsense"] {
        std::fs::write(folder.path().join("noted.json"), wrong).expect("written");
        let (code, said) = in_a_folder(folder.path(), &["audit", "verify", "--against", "noted.json"], &[]);
        assert!(code == Some(1) && said.contains("noted.json"), "{wrong}: {said}");
    }
}

#[test]
fn a_url_that_cannot_be_read_and_a_level_that_is_none_are_refused_and_no_password_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in [
        "postgres://me:PLANTED/PW@127.0.0.1:1/db",
        "postgres://me:PLANTED@127.0.0.1:port/db",
        "postgres://me:PLANTED#x@h/db",
    ] {
        for args in [&["migrate", "status"][..], &["up"], &["worker"], &["config", "print"]] {
            let (_, said) = in_a_folder(folder.path(), args, &[("FIELDSTONE_DATABASE_URL", url)]);
            assert!(!said.contains("PLANTED"), "{args:?}: {said}");
        }
    }
    let (code, said) =
        in_a_folder(folder.path(), &["serve"], &[("FIELDSTONE_DATABASE_URL", "postgres://me:a/b@127.0.0.1:1/db")]);
    assert!(code == Some(78) && said.contains("percent-encoded"), "{said}");
    let secret = [("FIELDSTONE_DATABASE_URL", "postgres://db/x?user=me&password=hun@PLANTED")];
    assert!(!in_a_folder(folder.path(), &["config", "print"], &secret).1.contains("PLANTED"));
    for level in ["warning", "verbose", "all"] {
        let (code, said) = in_a_folder(folder.path(), &["up"], &[("FIELDSTONE_LOG", level)]);
        assert!(code == Some(78) && said.contains("log must be"), "{level}: {said}");
    }
    let (code, said) = in_a_folder(folder.path(), &["config", "print"], &[("FIELDSTONE_LOG", "")]);
    assert!(code == Some(0) && said.contains("log = \"info\""), "{said}");
    let percent = [("FIELDSTONE_DATABASE_URL", "sqlite://My%20Agency.db")];
    assert_eq!(in_a_folder(folder.path(), &["migrate", "up"], &percent).0, Some(78));
}

#[test]
fn a_secret_that_got_lost_does_not_mean_the_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    for content in ["", "\n", " \r\n"] {
        std::fs::write(&file, content).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("closed to others");
        for name in ["FIELDSTONE_DATABASE_URL_FILE", "FIELDSTONE_SMTP_URL_FILE"] {
            let (code, said) = in_a_folder(folder.path(), &["migrate", "up"], &[(name, "secret")]);
            assert!(code == Some(78) && said.contains("is empty") && said.contains(name), "{content:?}: {said}");
        }
        std::fs::write(folder.path().join("fieldstone.toml"), "database_url_file = \"secret\"\n").expect("written");
        let (code, said) = in_a_folder(folder.path(), &["migrate", "up"], &[]);
        assert!(code == Some(78) && said.contains("named by database_url_file"), "{content:?}: {said}");
        std::fs::remove_file(folder.path().join("fieldstone.toml")).expect("removed");
    }
    let (code, said) = in_a_folder(folder.path(), &["migrate", "up"], &[("FIELDSTONE_DATABASE_URL", "")]);
    assert!(code == Some(78) && said.contains("database_url is empty"), "{said}");
    assert!(!folder.path().join("fieldstone.db").exists(), "no database was begun");
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

/// Each complaint says what it is about and what to do, and none says what programs call it.
#[test]
fn whoever_is_refused_is_told_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let says = |args: &[&str], settings: &[(&str, &str)], code: i32, parts: &[&str]| {
        let (ended, said) = in_a_folder(folder.path(), args, settings);
        assert!(ended == Some(code) && parts.iter().all(|part| said.contains(part)), "{args:?} {settings:?}: {said}");
        for never in ["os error", "conflict:", "internal:", "invalid input", ".partial", "PLANTED"] {
            assert!(!said.contains(never), "{args:?} {settings:?}: {said}");
        }
    };
    says(&["migrate", "up"], &[], 0, &[]);
    says(&["admin", "create-agency", "Riverbend", "--tz", "Europe/London"], &[], 0, &[]);
    says(&["admin", "create-agency", "\u{200b}", "--tz", "Europe/London"], &[], 2, &["name must be one line"]);
    says(&["backup", "monday.backup"], &[], 0, &[]);
    // Nobody may write there, whoever they are.
    let nowhere =
        [("FIELDSTONE_DATABASE_URL", "sqlite:///sys/fieldstone.db"), ("FIELDSTONE_SIGNING_KEY_FILE", "x.json")];
    says(&["up"], &nowhere, 1, &["the database /sys/fieldstone.db: ", "name another in database_url"]);
    says(&["up"], &nowhere[..1], 78, &["file /sys/fieldstone.signing.json: ", "name another in signing_key_file"]);
    let key = |file: &str| [("FIELDSTONE_SIGNING_KEY_FILE", file.to_owned())];
    for (file, part) in
        [("nowhere/x.json", "there is no folder nowhere; make it"), (".", "it is a folder; name a file")]
    {
        let key = key(file);
        says(&["up"], &[(key[0].0, &key[0].1)], 78, &[part, "signing_key_file"]);
    }
    for name in ["FIELDSTONE_SMTP_URL_FILE", "FIELDSTONE_DATABASE_URL_FILE"] {
        says(&["up"], &[(name, "/nowhere/at/all")], 78, &[name, "/nowhere/at/all", "there is no folder"]);
        says(&["up"], &[(name, "/dev/null/x")], 78, &[name, "/dev/null/x"]);
    }
    says(&["up", "--config", "none.toml"], &[], 78, &["none.toml: there is no such file", "--config"]);
    let both = [("FIELDSTONE_LISTEN", "127.0.0.1:9090"), ("FIELDSTONE_ADMIN_LISTEN", "127.0.0.1:9090")];
    says(&["config", "print"], &both, 78, &["admin_listen must have another port than listen"]);
    let public = [("FIELDSTONE_PUBLIC_URL", "https://me:PLANTED@x.example")];
    says(&["config", "print"], &public, 78, &["public_url must hold neither user nor password"]);
    says(&["backup", "none/x.backup"], &[], 1, &["none/x.backup: there is no folder none; make it"]);
    let whole = std::fs::read(at("monday.backup")).expect("a backup");
    std::fs::write(at("cut.backup"), &whole[..whole.len() / 2]).expect("written");
    let fresh = [("FIELDSTONE_DATABASE_URL", "sqlite://fresh.db")];
    says(&["restore", "cut.backup"], &fresh, 1, &["cut.backup: the file is"]);
    says(&["restore", "."], &fresh, 1, &[".: it is a folder; name a file"]);
    says(&["restore", "none.backup"], &fresh, 1, &["none.backup: there is no such file"]);
    says(&["audit", "verify", "--against", "none.json"], &[], 1, &["none.json: there is no such file"]);
    let user =
        ["admin", "create-user", "--agency", "Riverbend", "--name", "Ana", "--email", "ana@demo.example", "--role"];
    let user = |role: &'static [&'static str]| [&user[..], role].concat();
    says(&user(&["boss"]), &[], 2, &["caseworker, supervisor, administrator, partner, auditor"]);
    says(&user(&["partner"]), &[], 2, &["--partner-org"]);
    says(&user(&["caseworker", "--partner-org", "x"]), &[], 2, &["--partner-org"]);
    let typed = |password: &[u8]| {
        let file = at("typed");
        std::fs::write(&file, password).expect("written");
        let typed = std::fs::File::open(&file).expect("there");
        let mut command = fieldstone(&user(&["caseworker"]));
        let done = command.current_dir(folder.path()).stdin(typed).output().expect("it runs");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(
        typed(b"caf\xe9 au lait, please\n").1,
        "fieldstone: the password is not UTF-8, as every app sends it: choose another\n"
    );
    assert_eq!(typed(b"a long sentence of my own\n").0, Some(0));
    let twice = "fieldstone: a user with this address exists already\n";
    assert_eq!(typed(b"a long sentence of my own\n"), (Some(1), twice.to_owned()));
}
