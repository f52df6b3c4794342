//! Strings planted in every field that may tell of a client, searched for in every mail and every log line.

use entities::registry::{Column, Kind, TABLES};
use reqwest::Method;
use serde_json::json;

use crate::support::server::Server;
use crate::support::{Phone, World, on_both};
use crate::worker::office::{ANA, Office};

on_both!(no_mail_carries_anything_planted_in_a_row, no_log_line_carries_anything_planted_in_a_row_or_a_request);

/// Words that are meant to be read outside the record, or that are not free text.
const OPEN: &[(&str, &str)] = &[
    ("cases", "reference"),
    ("referrals", "reference"),
    ("cases", "tz"),
    ("persons", "tz"),
    ("staff", "display_name"),
    ("organizations", "name"),
    ("organizations", "email"),
    ("goals", "reminder_offsets_days"),
];

async fn no_mail_carries_anything_planted_in_a_row(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.referral(&case).await;
    let planted = plant(&office).await;
    assert!(planted > 20, "{planted} fields");
    for day in 1..=31 {
        for hour in [13, 19] {
            office.works_at(&format!("2027-03-{day:02}T{hour}:05:00Z")).await;
        }
    }
    let mails = office.post.mails();
    assert!(mails.len() >= 6, "{} mails", mails.len());
    for mail in mails {
        let all = mail.everything();
        for secret in ["PLANTED", "CANARY", "Ana Ortiz", "Sam Stone"] {
            assert!(!all.contains(secret), "{secret} in a mail to {}: {all}", mail.to);
        }
    }
}

async fn no_log_line_carries_anything_planted_in_a_row_or_a_request(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    let goal = office.goal(&case, "2027-03-18").await;
    office.referral(&case).await;
    plant(&office).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key_file = keys.path().join("signing.json");
    api::Keys::open(&key_file, true).expect("signing keys");
    let settings = [
        ("FIELDSTONE_DATABASE_URL", office.world.db.url.clone()),
        ("FIELDSTONE_SIGNING_KEY_FILE", key_file.display().to_string()),
        ("FIELDSTONE_LOG", "debug".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::start(&["serve"], &settings).await;

    let ana = server.person(ANA).await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    assert!(phone.row("goals", &goal).is_some());
    phone.edits("goals", &goal, json!({"measure": "PLANTED-edit", "due_on": "PLANTED-date"}));
    phone.creates("notes", json!({"case_id": case, "body": "PLANTED-note\u{0}", "kind": "PLANTED-kind"}));
    phone.creates("notes", json!({"case_id": "PLANTED-unknown-case", "body": "PLANTED-orphan"}));
    phone.pushes().await.expect("something to push");
    ana.get("/cases/PLANTED-id").await.refused(404);
    ana.get("/cases?status=PLANTED-filter&q=PLANTED-search").await;
    ana.post("/notes", json!({"case_id": case, "body": {"PLANTED-shape": 1}, "PLANTED-field": "PLANTED-value"})).await;
    for body in ["{\"body\": \"PLANTED-broken", "{\"body\": \"PLANTED-surrogate \\ud800\"}"] {
        ana.send("broken", ana.request(Method::POST, "/notes").body(body)).await;
        ana.send("broken", ana.request(Method::POST, "/sync?last_pulled_at=1").body(body)).await;
    }
    ana.tries_to_log_in("PLANTED-password").await.refused(401);
    ana.send("token", ana.request(Method::GET, "/me").header("x-request-id", "PLANTED-request-id")).await;
    server.is_asked_to_stop();
    server.ends().await;

    let log = server.log();
    assert!(log.lines().count() > 10, "{log}");
    for line in log.lines() {
        for secret in ["PLANTED", "CANARY", "Ana Ortiz", ANA, &ana.token()] {
            assert!(!line.contains(secret), "{secret} in: {line}");
        }
    }
}

/// Puts `PLANTED-table-column` into every column of every synced table that holds text or JSON; says into how many.
async fn plant(office: &Office) -> usize {
    let mut write = office.write().await;
    let mut planted = 0;
    for table in TABLES.iter() {
        for column in table.columns.iter().filter(|column| holds_words(table.name, column)) {
            let word = format!("PLANTED-{}-{}", table.name, column.name);
            let value = if matches!(column.field.kind, Kind::Json(_)) { json!([word]).to_string() } else { word };
            let set = format!("update {} set {} = $1, seq = {}", table.name, column.name, write.seq() + planted);
            entities::sql::exec(write.conn(), &set, vec![value.into()]).await.expect("it is planted");
            planted += 1;
        }
    }
    let ahead = format!("update sync_clock set seq = seq + {planted}");
    entities::sql::exec(write.conn(), &ahead, vec![]).await.expect("numbers stay in order");
    write.note("planted", "strings to search for".to_owned());
    write.commit().await.expect("a commit");
    usize::try_from(planted).expect("a count")
}

fn holds_words(table: &str, column: &Column) -> bool {
    matches!(column.field.kind, Kind::Text(_) | Kind::Json(_)) && !OPEN.contains(&(table, column.name))
}
