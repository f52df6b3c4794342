//! A mail server or a worker that is away for long: who is told of what in the end, and that an operator sees it.

use std::time::Duration;

use entities::workflow::{dead, gauges};
use serde_json::json;

use super::office::{ANA, Office, PAT, SAM, mailer};
use crate::support::server::{Server, free_port};
use crate::support::{Person, Phone, Town, World, on_both};

on_both!(
    after_a_week_without_a_mail_server_a_partner_still_hears_of_a_referral,
    a_reminder_waits_for_what_makes_it_needless_and_no_longer,
    mail_that_no_server_takes_is_seen_to_wait_however_often_it_is_tried,
    an_operator_hears_that_no_mail_server_is_reached_and_why,
    after_an_outage_of_the_worker_a_partner_hears_of_the_request_itself,
    a_digest_of_a_morning_that_is_over_is_not_tried_again,
    of_two_no_shows_the_one_written_down_later_counts_too,
);

impl Office {
    /// What comes due at these instants while no mail server is there.
    async fn works_without_mail(&self, instants: &[&str]) {
        let nowhere = mailer("smtp://127.0.0.1:9");
        for instant in instants {
            self.world.set_clock(instant);
            worker::drain_once(self.store(), &nowhere, None).await.expect("it works");
        }
    }

    async fn told_to(&self, who: &str, instants: &[&str]) -> Vec<String> {
        self.told_at(instants).await.into_iter().filter(|line| line.contains(who)).collect()
    }

    async fn waits(&self) -> Vec<dead::Waiting> {
        dead::list(self.store().connection()).await.expect("a list")
    }
}

async fn after_a_week_without_a_mail_server_a_partner_still_hears_of_a_referral(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.referral_of(&case, "urgent").await;
    let mut instants = vec!["2027-03-01T15:00:01Z".to_owned(), "2027-03-01T19:00:00Z".into()];
    for day in 2..=8 {
        instants.extend(["07", "13"].map(|hour| format!("2027-03-{day:02}T{hour}:00:00Z")));
    }
    let instants: Vec<&str> = instants.iter().map(String::as_str).collect();
    office.works_without_mail(&instants).await;
    let told = office.told_to(PAT, &["2027-03-08T15:31:00Z", "2027-03-08T15:40:00Z", "2027-03-09T15:00:00Z"]).await;
    assert_eq!(told, ["2027-03-08 pat@partner.example: A referral waits for your answer"]);
    let waits = office.waits().await;
    assert_eq!(waits.iter().filter(|waits| waits.to_role == "partner").count(), 1, "the request itself: {waits:?}");
    assert!(waits.iter().all(|waits| waits.state == "dead" && !waits.last_error.is_empty()), "{waits:?}");
}

async fn a_reminder_waits_for_what_makes_it_needless_and_no_longer(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.referral_of(&case, "urgent").await;
    office.works_without_mail(&["2027-03-01T15:00:01Z", "2027-03-01T19:00:00Z"]).await;
    let states = "select step || ' ' || state from outbound_message where to_role = 'partner' order by created_at, id";
    assert_eq!(office.asks(states, vec![]).await, ["told queued", "nudge queued"]);
    // The request is refused for good: what reminds of it goes in its place.
    office.post.refuses("data:pat@partner.example", "554 5.6.0 not this message");
    office.works_at("2027-03-02T03:00:00Z").await;
    assert_eq!(office.asks(states, vec![]).await, ["told dead", "nudge queued"]);
    office.post.refuses_nothing();
    office.works_at("2027-03-02T03:10:00Z").await;
    assert_eq!(office.asks(states, vec![]).await, ["told dead", "nudge sent"]);
}

async fn mail_that_no_server_takes_is_seen_to_wait_however_often_it_is_tried(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let age = async || {
        let now = office.world.clock.now();
        gauges::read(office.store().connection(), now).await.expect("gauges").oldest_mail_ms / 60_000
    };
    office.works_without_mail(&["2027-03-04T13:00:00Z", "2027-03-04T13:02:00Z", "2027-03-04T13:09:00Z"]).await;
    office.world.set_clock("2027-03-04T13:10:00Z");
    assert_eq!(age().await, 10);
    let (since, said) = gauges::unreached(office.store().connection()).await.expect("an answer").expect("it waits");
    assert!(since.rfc3339().starts_with("2027-03-04T13:00:00") && said.contains("refused"), "{since:?} {said}");
    // What waits for the morning is not late.
    let ada = office.world.ada().await;
    let quiet = json!({"quiet_from": "20:00", "quiet_to": "07:00"});
    ada.patch(&format!("/agencies/{}", office.world.riverbend), quiet).await.ok();
    office.works_without_mail(&["2027-03-05T03:00:00Z"]).await;
    assert_eq!(age().await, 0);
    office.works_at("2027-03-05T12:00:00Z").await;
    assert!(gauges::unreached(office.store().connection()).await.expect("an answer").is_none());
}

async fn an_operator_hears_that_no_mail_server_is_reached_and_why(town: Town) {
    let admin = format!("127.0.0.1:{}", free_port());
    let server = town.server_with(&[("FIELDSTONE_ADMIN_LISTEN", &admin)]).await;
    let ready = async || {
        let page = reqwest::get(format!("http://{admin}/readyz")).await.expect("a page");
        page.json::<serde_json::Value>().await.expect("JSON")["mail"].as_str().expect("a sentence").to_owned()
    };
    assert_eq!(ready().await, "goes out");
    let ada: Person = server.person("ada@demo.example").await;
    ada.post("/users", json!({"display_name": "Nia", "email": "nia@demo.example", "role": "caseworker"})).await.ok();
    let mut settings = town.settings();
    settings.push(("FIELDSTONE_SMTP_URL", "smtp://127.0.0.1:9".into()));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let worker = Server::launch(&["worker"], &settings);
    worker.says("no mail server was reached").await;
    assert!(worker.log().contains("Connection refused") && !worker.log().contains("nia@"), "{}", worker.log());
    for tries in 0.. {
        let said = ready().await;
        if said.starts_with("no mail server is reached since 2") && said.contains("Connection refused") {
            break;
        }
        assert!(tries < 300, "{said}");
        // Waiting for another process: there is nothing here to be told by.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn after_an_outage_of_the_worker_a_partner_hears_of_the_request_itself(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.referral(&case).await;
    let told = office.told_to(PAT, &["2027-03-05T15:00:00Z", "2027-03-05T15:10:00Z", "2027-03-10T13:00:00Z"]).await;
    assert_eq!(
        told,
        [
            "2027-03-05 pat@partner.example: A new referral for you",
            "2027-03-10 pat@partner.example: A referral waits for your answer",
        ]
    );
}

async fn a_digest_of_a_morning_that_is_over_is_not_tried_again(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-05").await;
    office.works().await;
    office.post.refuses("data:sam@demo.example", "554 5.7.1 no");
    for instant in ["2027-03-02T13:00:00Z", "2027-03-03T13:00:00Z"] {
        office.works_at(instant).await;
    }
    office.post.refuses_nothing();
    assert_eq!(office.waits().await.len(), 2);
    office.world.set_clock("2027-03-03T15:00:00Z");
    let side = office.store().side().await.expect("a transaction");
    let retried = dead::retry(&*side, None, side.now()).await.expect("a retry");
    side.commit().await.expect("a commit");
    assert_eq!(retried, dead::Retried { again: 1, too_late: 1 });
    let told = office.told_to(SAM, &["2027-03-03T15:00:01Z"]).await;
    assert_eq!(told, ["2027-03-03 sam@demo.example: Your team's deadlines on Wednesday, 3 March"]);
    assert!(office.waits().await.is_empty());
}

async fn of_two_no_shows_the_one_written_down_later_counts_too(world: World) {
    let office = Office::open(world).await;
    let ana = office.world.ana().await;
    let phone = &mut Phone::of(&ana);
    // One case is written down in the order of time, one in the other, and one by a phone in a single push.
    let mut cases = Vec::new();
    for days in [["01", "03"], ["03", "01"], ["03", "01"]] {
        let case = office.case_of(ANA).await;
        let mut planned = Vec::new();
        for day in days {
            let start = format!("2027-03-{day}T14:00:00Z");
            let contact = ana.post("/contacts", json!({"case_id": case, "planned_start": start})).await.ok();
            planned.push(contact["id"].as_str().expect("an id").to_owned());
        }
        cases.push((case, planned));
    }
    office.world.set_clock("2027-03-03T15:00:00Z");
    let (by_phone, by_hand) = cases.split_last().expect("three cases");
    for contact in by_hand.iter().flat_map(|(_, planned)| planned) {
        ana.post(&format!("/contacts/{contact}/no_show"), json!({})).await.ok();
    }
    phone.pulls().await;
    for contact in &by_phone.1 {
        phone.edits("contacts", contact, json!({"status": "no_show"}));
    }
    phone.syncs().await;
    for (case, _) in &cases {
        let text = "select planned_start || ' ' || status || ' ' || no_show_seq from contacts where case_id = $1 \
                    order by planned_start";
        let counted: Vec<String> = office.asks(text, vec![case.as_str().into()]).await;
        let counted: Vec<&str> = counted.iter().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest)).collect();
        assert_eq!(counted, ["no_show 1", "no_show 2"]);
    }
    let told = office.told_to("A missed appointment", &["2027-03-04T13:00:00Z"]).await;
    let to = |who: &str| told.iter().filter(|line| line.contains(who)).count();
    assert_eq!((to(ANA), to(SAM)), (3, 3), "{told:?}");
}
