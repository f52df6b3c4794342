//! What the operator does on the command line before anyone can sign in.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use entities::people::user;
use entities::workflow::refused;
use entities::{Clock, Store, audit, sql};
use serde_json::Value;

use crate::support::{TestDb, fieldstone, on_both};

on_both!(
    an_operator_makes_an_agency_and_its_first_administrator,
    a_password_is_read_from_standard_input_and_refused_when_weak,
    a_name_on_the_command_line_is_one_line,
    an_errand_that_makes_no_sense_is_refused_with_a_line,
    a_restored_database_is_confirmed_once,
    what_the_operator_does_stands_in_the_trail,
    a_refused_address_is_shown_and_lifted_on_the_command_line,
);

/// Runs a command with this line on its standard input; its exit code, output and complaint.
fn told(db: &TestDb, args: &[&str], line: &str) -> (i32, String, String) {
    let mut command = fieldstone(args);
    command.env("FIELDSTONE_DATABASE_URL", &db.url);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    writeln!(child.stdin.take().expect("it was asked for"), "{line}").expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (done.status.code().unwrap_or(-1), text(done.stdout), text(done.stderr))
}

const CREATE_ADA: &[&str] = &[
    "admin",
    "create-user",
    "--json",
    "--agency",
    "Riverbend",
    "--email",
    "Ada@demo.example",
    "--name",
    "Ada Adams",
    "--role",
    "administrator",
];

async fn an_operator_makes_an_agency_and_its_first_administrator(db: TestDb) {
    let (code, said, _) = told(&db, &["admin", "create-agency", "Riverbend", "--tz", "America/New_York", "--json"], "");
    let agency: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, agency["name"].as_str()), (0, Some("Riverbend")));
    let (code, said, why) = told(&db, CREATE_ADA, "a long sentence of my own");
    assert_eq!(code, 0, "{why}");
    assert!(!said.contains("sentence") && !why.contains("sentence"));
    let store = db.store(Clock::System).await;
    let ada = user::by_email(store.connection(), "ada@demo.example").await.expect("users").expect("Ada");
    assert_eq!((ada.agency_id.as_str(), ada.role.as_str()), (agency["id"].as_str().expect("an id"), "administrator"));
    let (code, _, why) = told(&db, CREATE_ADA, "a long sentence of my own");
    assert_eq!(code, 1);
    assert!(why.contains("address"), "{why}");
    let (code, _, why) = told(&db, &["admin", "create-agency", "Riverbend ", "--tz", "Europe/London"], "");
    assert!(code == 1 && why.contains("there is an agency Riverbend already"), "{why}");
    let elsewhere: Vec<&str> = CREATE_ADA.iter().map(|arg| if *arg == "Riverbend" { "River" } else { *arg }).collect();
    let (code, _, why) = told(&db, &elsewhere, "a long sentence of my own");
    assert!(code == 1 && why.contains(&format!("there are: Riverbend ({})", ada.agency_id)), "{why}");
    let (code, _, _) = told(&db, &["admin", "create-agency", "Nowhere", "--tz", "Mars/Olympus"], "");
    assert_eq!(code, 2);
}

async fn a_password_is_read_from_standard_input_and_refused_when_weak(db: TestDb) {
    told(&db, &["admin", "create-agency", "Riverbend", "--tz", "America/New_York"], "");
    for weak in ["", "short", "password1234", "ada@demo.example"] {
        let (code, _, why) = told(&db, CREATE_ADA, weak);
        assert_eq!(code, 2, "{weak}: {why}");
        assert!(why.contains("the password"), "{why}");
    }
    assert_eq!(told(&db, CREATE_ADA, "a long sentence of my own").0, 0);
    let reset = ["admin", "reset-password", "ADA@demo.example"];
    assert_eq!(told(&db, &reset, "another sentence of my own").0, 0);
    assert_eq!(told(&db, &["admin", "reset-password", "nobody@demo.example"], "another sentence").0, 1);
}

async fn a_name_on_the_command_line_is_one_line(db: TestDb) {
    for name in ["River\nbend", "River\r\nBcc: all", " "] {
        let (code, _, why) = told(&db, &["admin", "create-agency", name, "--tz", "Europe/London"], "");
        assert_eq!((code, why.contains("name")), (2, true), "{name:?}: {why}");
    }
    told(&db, &["admin", "create-agency", "Riverbend", "--tz", "America/New_York"], "");
    let args: Vec<&str> =
        CREATE_ADA.iter().map(|arg| if *arg == "Ada Adams" { "Ada\r\nAdams" } else { *arg }).collect();
    let (code, _, why) = told(&db, &args, "a long sentence of my own");
    assert_eq!((code, why.contains("display_name")), (2, true), "{why}");
}

async fn an_errand_that_makes_no_sense_is_refused_with_a_line(db: TestDb) {
    let simulate = |more: &[&str]| {
        let args: Vec<&str> = ["worker", "simulate"].iter().chain(more).copied().collect();
        told(&db, &args, "")
    };
    let (code, said, why) = simulate(&["--from", "2027-03-02", "--to", "2027-03-01"]);
    assert_eq!((code, said.as_str(), why.contains("lies before --from")), (2, "", true), "{why}");
    let (code, said, why) = simulate(&["--from", "2027-03-01", "--to", "2027-03-02", "--agency", "nobody"]);
    assert_eq!((code, said.as_str(), why.contains("there is no agency")), (1, "", true), "{why}");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("new.db"), "").expect("a database without a schema");
    let mut command = fieldstone(&["audit", "verify"]);
    command.env("FIELDSTONE_DATABASE_URL", format!("sqlite://{}", folder.path().join("new.db").display()));
    let done = command.output().expect("it ends");
    let why = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!((done.status.code(), why.contains("run `fieldstone migrate up`")), (Some(1), true), "{why}");
}

async fn a_restored_database_is_confirmed_once(db: TestDb) {
    let store = db.store(Clock::System).await;
    let side = store.side().await.expect("a transaction");
    sql::exec(&*side, "update wf_instance set mail_enabled = false", vec![]).await.expect("as a restore does");
    side.commit().await.expect("stored");
    assert!(told(&db, &["admin", "confirm-instance"], "").1.contains("goes out from now on"));
    assert!(told(&db, &["admin", "confirm-instance"], "").1.contains("was going out already"));
}

async fn what_the_operator_does_stands_in_the_trail(db: TestDb) {
    told(&db, &["admin", "create-agency", "Riverbend", "--tz", "America/New_York"], "");
    let store = db.store(Clock::System).await;
    let made = trail(&store).await;
    assert_eq!(made, ["agency_created"]);
    sql::exec(store.writer(), "update wf_instance set mail_enabled = false", vec![]).await.expect("as a restore does");
    assert!(told(&db, &["admin", "confirm-instance", "--clock-only"], "").1.contains("as it was"));
    assert_eq!(trail(&store).await, ["agency_created"], "nothing has changed");
    assert_eq!(told(&db, &["admin", "confirm-instance"], "").0, 0);
    told(&db, &["admin", "confirm-instance"], "");
    let confirmed = ["agency_created", "instance_confirmed mail was held"];
    assert_eq!(trail(&store).await, confirmed);
    assert!(audit::verify(store.connection()).await.expect("the trail").is_ok());
}

/// What was done, with the reason, in order.
async fn trail(store: &Store) -> Vec<String> {
    let text = "select trim(action || ' ' || reason) from audit_event order by seq";
    let rows = sql::all(store.connection(), text, vec![]).await.expect("the trail");
    rows.iter().map(|row| row.try_get_by_index(0).expect("an action")).collect()
}

#[test]
fn signing_keys_that_others_can_read_stop_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let start = |key: &Path| {
        let mut command = fieldstone(&["serve"]);
        command.env("FIELDSTONE_DATABASE_URL", format!("sqlite://{}", folder.path().join("a.db").display()));
        command.env("FIELDSTONE_SIGNING_KEY_FILE", key);
        let done = command.output().expect("it ends");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let key = folder.path().join("signing.json");
    let (code, why) = start(&key);
    assert!(code == Some(78) && why.contains("`fieldstone admin rotate-signing-key` makes it"), "{why}");
    for command in ["serve", "up"] {
        let mut unnamed = fieldstone(&[command]);
        let done = unnamed.env("FIELDSTONE_DATABASE_URL", "postgres://127.0.0.1:1/none").output().expect("it ends");
        let why = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(78) && why.contains("signing_key_file is missing"), "{why}");
        assert!(why.contains("`fieldstone admin rotate-signing-key` makes it"), "{why}");
    }
    let secret = "A".repeat(43);
    for (content, mode, part) in [
        (format!("{{\"keys\":[{{\"kid\":\"a\",\"secret\":\"{secret}\"}}]}}"), 0o644, "chmod 600"),
        ("{\"keys\":[{\"kid\":\"a\",\"secret\":\"c2hvcnQ\"}]}".into(), 0o600, "shorter than 32 bytes"),
        ("{\"keys\":[]}".into(), 0o600, "no key"),
    ] {
        std::fs::write(&key, content).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("set");
        let (code, why) = start(&key);
        assert_eq!(code, Some(78), "{why}");
        assert!(why.contains(part) && !why.contains(&secret), "{why}");
    }
}

#[test]
fn the_operator_adds_a_signing_key_and_drops_those_that_have_leaked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("signing.json");
    let rotates = |more: &[&str]| -> (String, Vec<String>) {
        let mut command = fieldstone(&[&["admin", "rotate-signing-key"], more].concat());
        let done = command.env("FIELDSTONE_SIGNING_KEY_FILE", &file).output().expect("it ends");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).expect("the keys")).expect("JSON");
        let kids = kept["keys"].as_array().expect("a list").iter().map(|key| key["kid"].to_string()).collect();
        (String::from_utf8_lossy(&done.stdout).into_owned(), kids)
    };
    let (_, first) = rotates(&[]);
    let (said, two) = rotates(&[]);
    assert_eq!((two.len(), &two[1..]), (2, &first[..]));
    assert!(said.contains("within a minute"), "{said}");
    let (said, one) = rotates(&["--drop-old"]);
    assert!(one.len() == 1 && !two.contains(&one[0]), "{one:?}");
    assert!(said.contains("accepted no more"), "{said}");
}

async fn a_refused_address_is_shown_and_lifted_on_the_command_line(db: TestDb) {
    let (_, said, _) = told(&db, &["admin", "create-agency", "Riverbend", "--tz", "America/New_York", "--json"], "");
    let agency: Value = serde_json::from_str(&said).expect("JSON");
    let store = db.store(Clock::System).await;
    let side = store.side().await.expect("a transaction");
    let id = agency["id"].as_str().expect("an id");
    let words = "5.1.1 no such mailbox";
    assert!(refused::note(&*side, side.now(), id, "Ana@demo.example", Some(550), words).await.expect("it is noted"));
    side.commit().await.expect("a commit");
    let (code, said, _) = told(&db, &["admin", "refused-addresses"], "");
    assert_eq!(code, 0);
    assert!(said.contains("ana@demo.example") && said.contains("Riverbend") && said.contains(words), "{said}");
    let (_, said, _) = told(&db, &["admin", "refused-addresses", "--json"], "");
    let line: Value = serde_json::from_str(said.trim()).expect("one line of JSON");
    assert_eq!((line["agency_id"].as_str(), line["code"].as_i64()), (Some(id), Some(550)));
    assert!(line["refused_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
    let lift = ["admin", "lift-refused-address", "ANA@demo.example"];
    let (code, _, why) = told(&db, &lift, "");
    assert_eq!(code, 0, "{why}");
    assert_eq!(told(&db, &["admin", "refused-addresses"], "").1, "");
    assert_eq!(told(&db, &lift, "").0, 1, "there is nothing left to lift");
}
