//! Strings planted in every field that may tell of a client, searched for in every mail and every log line.

use std::collections::BTreeSet;

use entities::casework::{contact, goal};
use entities::partners::organization;
use entities::registry::{Column, Holds, Kind, TABLES};
use entities::workflow::outbox::{NewMessage, Recipient, ResendPolicy, queue};
use entities::workflow::timers;
use reqwest::Method;
use serde_json::json;

use crate::support::server::Server;
use crate::support::{Phone, World, fieldstone, on_both};
use crate::worker::office::{ANA, BEN, Office, PAT, SAM, at, day};

on_both!(
    no_mail_carries_anything_planted_in_a_row,
    no_mail_of_any_template_carries_anything_planted,
    no_log_line_carries_anything_planted_in_a_row_or_a_request,
    no_log_line_of_a_worker_carries_anything_planted_whatever_goes_wrong,
);

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

/// One of each, whoever gets it and for whatever reason.
async fn no_mail_of_any_template_carries_anything_planted(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.referral(&case).await;
    let mute = organization::Model {
        name: "An office without mail".into(),
        status: "active".into(),
        ..organization::Model::default()
    };
    let mute = office.create::<organization::Entity>(mute, |row| &row.id).await;
    office.referral_to(&case, mute, "routine").await;
    let (visited, missed, settled) = (office.case_of(ANA).await, office.case_of(ANA).await, office.case_of(ANA).await);
    let visit = |case: &str, status: &str| contact::Model {
        case_id: case.into(),
        kind: "visit".into(),
        status: status.into(),
        occurred_at: Some(at("2027-03-01T14:00:00Z")),
        status_reason: Some("CANARY-REASON".into()),
        ..contact::Model::default()
    };
    let next_contact_on = Some(day("2027-03-10"));
    office.contact(contact::Model { next_contact_on, ..visit(&visited, "completed") }).await;
    office.contact(visit(&missed, "no_show")).await;
    let last = office.goal(&settled, "2027-08-31").await;
    office.change::<goal::Entity>(&last, |goal| goal.lifecycle = "completed".into()).await;
    let bens = office.case_of(BEN).await;
    office.goal(&bens, "2027-03-18").await;
    plant(&office).await;

    let (ana, ben) = (office.world.ana().await, office.world.ben().await);
    let dora = json!({"display_name": "Dora Dale", "email": "dora@demo.example", "role": "caseworker"});
    office.world.ada().await.post("/users", dora).await.ok();
    office.world.stranger().post("/auth/forgot", json!({"email": SAM})).await.ok();
    let new = json!({"current_password": crate::support::PASSWORD, "new_password": "a long sentence of my own"});
    assert_eq!(ben.post("/auth/change_password", new).await.status, 204);
    let copied = json!({"refresh_token": ana.session()["refresh_token"], "device_id": "a-thief"});
    office.world.stranger().post("/auth/refresh", copied).await.refused(401);
    office.works().await;
    office.post.refuses(BEN, "550 5.1.1 PLANTED-reply no such mailbox here");
    for day in 1..=31 {
        for hour in [13, 19] {
            office.works_at(&format!("2027-03-{day:02}T{hour}:05:00Z")).await;
        }
    }

    // An agency that wants counts alone is sent one template in place of the others.
    let path = format!("/agencies/{}", office.world.riverbend);
    office.world.ada().await.patch(&path, json!({"email_policy": 0})).await.ok();
    office.goal(&case, "2027-04-08").await;
    office.works_at("2027-04-01T13:05:00Z").await;

    let sent = "select distinct template from outbound_message where state = 'sent'";
    let mut sent: BTreeSet<String> = office.asks(sent, vec![]).await.into_iter().collect();
    let mails = office.post.mails();
    sent.extend(mails.iter().any(|mail| mail.text.contains("waits for you")).then(|| "something_waits".to_owned()));
    let all: BTreeSet<String> = worker::mail::NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(sent, all, "one of each template");
    assert_eq!(office.asks("select id from outbound_message where state = 'sent'", vec![]).await.len(), mails.len());
    for mail in mails {
        let all = mail.everything();
        assert!(mail.parts.len() >= 3 && all.contains(&mail.text) && all.contains(&mail.html), "{all}");
        for secret in ["PLANTED", "CANARY"] {
            assert!(!all.contains(secret), "{secret} in {} to {}: {all}", mail.subject, mail.to);
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
    holds_nothing_planted(&log, &[&ana.token()]);
}

fn holds_nothing_planted(log: &str, more: &[&str]) {
    for line in log.lines() {
        for secret in ["PLANTED", "CANARY", "Ana Ortiz", "Sam Stone", ANA, BEN, SAM, PAT].iter().chain(more) {
            assert!(!line.contains(secret), "{secret} in: {line}");
        }
    }
}

async fn no_log_line_of_a_worker_carries_anything_planted_whatever_goes_wrong(world: World) {
    let office = Office::open(world).await;
    let (case, bens) = (office.case_of(ANA).await, office.case_of(BEN).await);
    office.goal(&case, "2027-03-18").await;
    office.referral(&case).await;
    let spoilt = office.goal(&bens, "2027-03-18").await;
    plant(&office).await;
    // What servers say may quote anything.
    office.post.refuses(ANA, "550 5.1.1 PLANTED-reply ana@demo.example is no mailbox");
    office.post.refuses(PAT, "451 4.3.0 PLANTED-put-off");
    office.post.refuses("data:sam@demo.example", "554 5.6.0 PLANTED-content");
    let mut write = office.write().await;
    let spoil = format!("update goals set due_on = 'PLANTED-day', seq = {} where id = $1", write.seq());
    entities::sql::exec(write.conn(), &spoil, vec![spoilt.as_str().into()]).await.expect("it is planted");
    timers::mark_agency(&write, "planted").await.expect("every case is planned again");
    write.note("planted", "a day that is none");
    write.commit().await.expect("a commit");
    for (email, spoil) in [
        ("cleo@demo.example", "data = 'PLANTED-values'"),
        ("sol@demo.example", "template = 'PLANTED-template'"),
        ("ada@demo.example", "data = '{\"PLANTED\": [1'"),
        (SAM, "rule_version = 0"),
    ] {
        let user = office.world.id_of(email).await;
        let side = office.store().side().await.expect("a transaction");
        let letter = NewMessage {
            agency_id: office.world.riverbend.clone(),
            message_key: format!("PLANTED|{email}"),
            template: "password_changed".into(),
            to: Recipient::User(user.clone()),
            data: json!({}),
            not_before: None,
            expires_at: None,
            resend_policy: ResendPolicy::Once,
        };
        queue(&*side, side.now(), letter).await.expect("it is queued");
        let spoil = format!("update outbound_message set {spoil} where to_user = $1");
        entities::sql::exec(&*side, &spoil, vec![user.into()]).await.expect("it is planted");
        side.commit().await.expect("a commit");
    }

    let mut log = String::new();
    for now in ["2027-03-01T15:00:00Z", "2027-03-04T13:05:00Z", "2027-03-05T13:05:00Z"] {
        let done = worker_process(&office, &["worker", "drain", "--once", "--now", now]).output().expect("it runs");
        log.push_str(&String::from_utf8_lossy(&done.stderr));
        log.push_str(&String::from_utf8_lossy(&done.stdout));
        assert!(done.status.success(), "{log}");
    }
    for told in
        ["a case could not be planned", "a timer could not fire", "a mail was not sent", "a message could not be made"]
    {
        assert!(log.contains(told), "{told}: {log}");
    }
    holds_nothing_planted(&log, &["cleo@", "sol@", "ada@"]);
    let ends = office.asks("select state from outbound_message where message_key like 'PLANTED%'", vec![]).await;
    assert_eq!(ends, ["dead"; 4], "each by itself");

    // The same in a worker that runs on: what was put off is due at once.
    let side = office.store().side().await.expect("a transaction");
    let due = "update outbound_message set state = 'queued', next_at = 0, attempts = 0, expires_at = null";
    entities::sql::exec(&*side, due, vec![]).await.expect("it is due");
    side.commit().await.expect("a commit");
    let settings = settings(&office);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::launch(&["worker"], &settings);
    server.says("a mail was not sent").await;
    server.is_asked_to_stop();
    server.ends().await;
    let log = server.log();
    assert!(log.contains("the worker has stopped"), "{log}");
    holds_nothing_planted(&log, &["cleo@", "sol@", "ada@"]);
}

fn settings(office: &Office) -> Vec<(&'static str, String)> {
    vec![
        ("FIELDSTONE_DATABASE_URL", office.world.db.url.clone()),
        ("FIELDSTONE_SMTP_URL", office.post.url()),
        ("FIELDSTONE_MAIL_FROM", "Fieldstone <desk@riverbend.example>".to_owned()),
        ("FIELDSTONE_LOG", "debug".to_owned()),
    ]
}

fn worker_process(office: &Office, args: &[&str]) -> std::process::Command {
    let mut command = fieldstone(args);
    command.envs(settings(office));
    command
}

/// Puts `PLANTED-table-column` into every column of every synced table that holds text or JSON; says into how many.
async fn plant(office: &Office) -> usize {
    let mut write = office.write().await;
    let mut planted = 0;
    for table in TABLES.iter() {
        for column in table.columns.iter().filter(|column| holds_words(table.name, column)) {
            let word = format!("PLANTED-{}-{}", table.name, column.name);
            let value = match column.field.kind {
                // Without an agreement nothing would be sent.
                Kind::Json(_) if column.name == "client_consent" => {
                    json!({"by": word, "until": "2028-03-01"}).to_string()
                }
                Kind::Json(_) if matches!(column.field.holds, Some(Holds::Object(_))) => {
                    json!({"by": word}).to_string()
                }
                Kind::Json(_) => json!([word]).to_string(),
                _ => word,
            };
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
