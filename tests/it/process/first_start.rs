//! The first day of an installation, as docs/operations.md tells it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use entities::Clock;
use serde_json::json;

use crate::rest::scene::{opens_a_case, smart, text};
use crate::support::{Mail, PASSWORD, Person, Postbox, Server, TestDb, fieldstone, on_both};

on_both!(an_agency_starts_with_one_process_and_its_people_are_written_to);

async fn an_agency_starts_with_one_process_and_its_people_are_written_to(db: TestDb) {
    let postbox = Postbox::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fieldstone.toml");
    let settings = format!(
        "database_url = \"{}\"\nsigning_key_file = \"signing.json\"\nsmtp_url = \"{}\"\n\
         mail_from = \"Riverbend <desk@riverbend.example>\"\n",
        db.url,
        postbox.url()
    );
    std::fs::write(&file, settings).expect("the settings");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("they may hold a password");
    let file = file.display().to_string();
    told(&["admin", "create-agency", "Riverbend", "--tz", where_it_is_day(), "--config", &file]);
    let ada = ["--email", "ada@demo.example", "--name", "Ada Adams", "--role", "administrator", "--config", &file];
    told(&[&["admin", "create-user", "--agency", "Riverbend"], &ada[..]].concat());

    let server = Server::start(&["up", "--config", &file], &[]).await;
    let ada = Person::at(&server.url, "ada@demo.example");
    ada.logs_in().await;
    // The test may run on any day, and a mail for people waits for a working one.
    let agency = text(&ada.get("/agencies").await.ok()["items"][0]["id"]);
    let every_day = json!({"work_days": [1, 2, 3, 4, 5, 6, 7], "quiet_from": null, "quiet_to": null});
    ada.patch(&format!("/agencies/{agency}"), every_day).await.ok();
    let team = text(&ada.post("/teams", json!({"name": "North"})).await.ok()["id"]);
    let ana = json!({"display_name": "Ana", "email": "ana@demo.example", "role": "caseworker", "team_id": team});
    ada.post("/users", ana).await.ok();
    let invitation = comes(&postbox, &server, 1).await;
    let secret = invitation.text.split("/password/").nth(1).and_then(|rest| rest.split_whitespace().next());
    let ana = Person::at(&server.url, "ana@demo.example");
    let chosen = json!({"token": secret.expect("a link"), "password": PASSWORD});
    assert_eq!(ana.post("/auth/password", chosen).await.status, 204);

    ana.logs_in().await;
    let mut goal = smart(&opens_a_case(&ana).await);
    let day = |days: i64| json!(Clock::System.now().plus_secs(days * 86_400).rfc3339()[..10]);
    (goal["starts_on"], goal["due_on"]) = (day(0), day(60));
    let goal = text(&ana.post("/goals", goal).await.ok()["id"]);
    ana.post(&format!("/goals/{goal}/agree"), json!({})).await.ok();
    let done = json!({"achievement": "achieved", "outcome_reason": "she says so"});
    ana.post(&format!("/goals/{goal}/complete"), done).await.ok();
    // Told at once, since it is past eight there.
    assert_eq!(comes(&postbox, &server, 2).await.subject, "A case may be ready to close");
}

/// A zone in which it is between nine in the morning and eleven at night.
fn where_it_is_day() -> &'static str {
    match Clock::System.now().0 / 3_600_000 % 24 {
        0..9 => "Asia/Tokyo",
        9..22 => "Europe/London",
        _ => "America/New_York",
    }
}

/// Runs a command, with the password on its standard input.
fn told(args: &[&str]) {
    let mut child = fieldstone(args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // A command that asks for none may have ended.
    let _unread = writeln!(child.stdin.take().expect("it was asked for"), "{PASSWORD}");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Ana's mail of this number, once it is there.
async fn comes(postbox: &Postbox, server: &Server, number: usize) -> Mail {
    for _ in 0..1000 {
        if let Some(mail) = postbox.mails_to("ana@demo.example").into_iter().nth(number - 1) {
            return mail;
        }
        // The worker is a task of another process: there is nothing here to be told by.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no mail of number {number} in 20 s. It wrote:\n{}", server.log());
}
