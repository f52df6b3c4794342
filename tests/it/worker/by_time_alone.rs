//! What time alone changes: an agreement that ends, an absence or a cover that begins, a calendar under a digest that
//! waits. And that `simulate` and `explain` foresee it.

use entities::partners::referral;
use entities::workflow::{explain, simulate};
use serde_json::json;

use super::office::{ANA, BEN, Office, PAT, SAM, consent, day};
use crate::support::{World, on_both};

on_both!(
    what_is_shown_is_taken_back_when_the_agreement_ends,
    prompts_move_when_an_absence_begins_and_when_it_ends,
    a_digest_is_neither_lost_nor_late_when_the_calendar_changes_under_it,
    what_is_simulated_is_what_happens_when_covers_begin_and_agreements_end,
    a_supervisor_above_reads_a_digest_in_simulate_and_explain,
);

const SOL: &str = "sol@demo.example";

impl Office {
    /// Prompts as `step status whose`.
    async fn whose_prompts(&self) -> Vec<String> {
        let text = "select p.step || ' ' || p.status || ' ' || u.email from prompts p \
                    join users u on u.id = p.recipient_user_id order by p.due_at, p.step, p.id";
        self.asks(text, vec![]).await
    }

    /// An urgent referral to which the client agrees until a day.
    async fn agreed_until(&self, case: &str, until: &str) -> String {
        let referral = self.referral_of(case, "urgent").await;
        self.change::<referral::Entity>(&referral, |referral| {
            let mut record = consent();
            record.0["until"] = until.into();
            referral.client_consent = Some(record);
        })
        .await;
        referral
    }

    /// Ben covers in March from the 10th to the 20th, and Ana is away from the 10th to the 15th: both said in advance.
    async fn is_covered_for_a_while(&self, case: &str) {
        let cover = json!({
            "user_id": self.world.id_of(BEN).await, "role": "covering", "reason": "leave",
            "from": "2027-03-10T05:00:00Z", "to": "2027-03-20T04:00:00Z",
        });
        self.world.sam().await.post(&format!("/cases/{case}/assignments"), cover).await.ok();
        let path = format!("/users/{}", self.world.id_of(ANA).await);
        let away = json!({"away_from": "2027-03-10", "away_to": "2027-03-15"});
        self.world.ada().await.patch(&path, away).await.ok();
    }

    async fn simulates(&self, from: &str, to: &str) -> Vec<simulate::Line> {
        let snapshot = self.store().read().await.expect("a snapshot");
        simulate::simulate(&*snapshot, None, day(from), day(to), snapshot.now()).await.expect("it answers")
    }

    async fn explains(&self, case: &str) -> explain::Explained {
        let snapshot = self.store().read().await.expect("a snapshot");
        explain::explain(&*snapshot, case, snapshot.now()).await.expect("it answers").expect("a case")
    }
}

async fn what_is_shown_is_taken_back_when_the_agreement_ends(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.agreed_until(&case, "2027-03-08").await;
    for instant in ["2027-03-03T13:00:00Z", "2027-03-04T13:00:00Z", "2027-03-08T23:59:00Z"] {
        office.works_at(instant).await;
    }
    let shown = office.whose_prompts().await;
    assert_eq!(shown, ["caseworker pending ana@demo.example", "supervisor pending sam@demo.example"]);
    assert!(office.mails_to(SAM).iter().any(|mail| mail.text.contains("Referrals without an answer: 1")));
    // Whoever asks first is told the truth, whether a worker has been there or not.
    office.world.set_clock("2027-03-09T00:00:00Z");
    let ana = office.world.ana().await;
    let asked = ana.get("/prompts").await.ok();
    let open = |row: &&serde_json::Value| row["status"] == "pending";
    assert_eq!(asked["items"].as_array().expect("a list").iter().filter(open).count(), 0, "{asked}");
    let told = office.told_at(&["2027-03-09T13:00:00Z"]).await;
    assert_eq!(told, [""; 0], "there is nothing to say of it");
}

async fn prompts_move_when_an_absence_begins_and_when_it_ends(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.covers(&case, BEN).await;
    office.goal(&case, "2027-03-09").await;
    let path = format!("/users/{}", office.world.id_of(ANA).await);
    office.world.ada().await.patch(&path, json!({"away_from": "2027-03-03", "away_to": "2027-03-05"})).await.ok();
    for (instant, whose) in [
        ("2027-03-02T13:00:00Z", ANA),
        ("2027-03-03T04:59:00Z", ANA),
        ("2027-03-03T05:00:00Z", BEN),
        ("2027-03-06T04:59:00Z", BEN),
        ("2027-03-06T05:00:00Z", ANA),
    ] {
        office.works_at(instant).await;
        assert_eq!(office.whose_prompts().await, [format!("d7 pending {whose}")], "{instant}");
    }
}

async fn a_digest_is_neither_lost_nor_late_when_the_calendar_changes_under_it(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-02-26").await;
    let ada = office.world.ada().await;
    let agency = format!("/agencies/{}", office.world.riverbend);
    let mornings = async |instants: &[&str]| {
        let told = office.told_at(instants).await;
        told.iter().filter(|line| line.contains("deadlines")).map(|line| line[..10].to_owned()).collect::<Vec<_>>()
    };
    // A holiday that comes and goes.
    let holiday = ada.post("/holidays", json!({"day": "2027-03-02", "name": "Flood"})).await.ok();
    office.works().await;
    ada.delete(&format!("/holidays/{}", holiday["id"].as_str().expect("an id"))).await.ok();
    assert_eq!(mornings(&["2027-03-01T20:00:00Z", "2027-03-02T13:00:00Z"]).await, ["2027-03-02"]);
    // A Saturday on which the agency comes to work after all.
    office.works_at("2027-03-05T20:00:00Z").await;
    ada.patch(&agency, json!({"work_days": [1, 2, 3, 4, 5, 6]})).await.ok();
    assert_eq!(mornings(&["2027-03-05T21:00:00Z", "2027-03-06T13:00:00Z"]).await, ["2027-03-06"]);
    // Quiet hours until half past nine, shortened while the digest waits for their end.
    ada.patch(&agency, json!({"quiet_from": "20:00", "quiet_to": "09:30"})).await.ok();
    assert_eq!(mornings(&["2027-03-08T13:10:00Z"]).await, [""; 0]);
    ada.patch(&agency, json!({"quiet_to": "07:00"})).await.ok();
    assert_eq!(mornings(&["2027-03-08T13:11:00Z", "2027-03-08T14:30:00Z"]).await, ["2027-03-08"]);
}

async fn what_is_simulated_is_what_happens_when_covers_begin_and_agreements_end(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.is_covered_for_a_while(&case).await;
    let other = office.case_of(BEN).await;
    office.agreed_until(&other, "2027-03-02").await;
    office.works().await;
    let lines = office.simulates("2027-03-01", "2027-03-19").await;
    let mut foreseen = Vec::new();
    for line in lines.iter().filter(|line| line.channel == "mail" && line.outcome == "fires") {
        let text = "select email from users where id = $1";
        let whose = office.asks(text, vec![line.to_user.clone().into()]).await.pop();
        foreseen.push(format!("{} {}", line.due_at, whose.unwrap_or_else(|| PAT.into())));
    }
    foreseen.sort();
    foreseen.dedup();
    let mut happened = Vec::new();
    let instants: std::collections::BTreeSet<&str> = foreseen.iter().map(|line| &line[..24]).collect();
    for instant in instants {
        for told in office.told_at(&[instant]).await {
            happened.push(format!("{instant} {}", told[11..].split(':').next().unwrap_or_default()));
        }
    }
    happened.sort();
    assert_eq!(happened, foreseen);
    let of = |rule: &str, step: &str| lines.iter().find(|line| (&*line.rule, &*line.step) == (rule, step));
    let whose = |step: &str| of("goal.deadline", step).and_then(|line| line.to_user.clone());
    assert_eq!(whose("d7"), Some(office.world.id_of(BEN).await), "Ana is away on the 11th");
    assert_eq!(whose("d1"), Some(office.world.id_of(ANA).await));
    assert!(of("referral.answer", "second").is_some() && of("referral.answer", "caseworker").is_none(), "{lines:?}");
    assert!(lines.iter().all(|line| line.due_at.as_str() > "2027-03-01T15"), "this morning is over: {lines:?}");
}

async fn a_supervisor_above_reads_a_digest_in_simulate_and_explain(world: World) {
    let office = Office::open(world).await;
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    let team = |name: &str| vec![name.to_owned().into()];
    let text = "select id from teams where name = $1";
    let north = office.asks(text, team("North")).await.remove(0);
    let south = office.asks(text, team("South")).await.remove(0);
    office.world.ada().await.patch(&format!("/teams/{north}"), json!({"parent_team_id": south})).await.ok();
    office.works().await;
    let sol = office.world.id_of(SOL).await;
    let lines = office.simulates("2027-03-11", "2027-03-11").await;
    let reads = |line: &&simulate::Line| line.rule == "supervisor.digest" && line.to_user.as_ref() == Some(&sol);
    assert_eq!(lines.iter().filter(reads).map(|line| line.outcome).collect::<Vec<_>>(), ["fires"]);
    let said = office.explains(&case).await;
    assert!(said.rules.iter().any(|says| says.subject_id.as_ref() == Some(&sol) && says.state == "pending"));
    let told = office.told_at(&["2027-03-11T13:00:00Z"]).await;
    assert!(told.iter().any(|line| line.contains(SOL)), "{told:?}");
    // A step that would come after the end of the agreement never comes, and says so.
    let other = office.case_of(BEN).await;
    office.agreed_until(&other, "2027-03-14").await;
    office.works_at("2027-03-12T13:00:00Z").await;
    let said = office.explains(&other).await;
    let says = said.rules.iter().find(|says| says.rule == "referral.answer").expect("the rule");
    assert_eq!((says.state, says.next.is_none()), ("blocked", true), "{says:?}");
    assert!(said.text().contains("caseworker would come at 2027-03-15T12:00:00.000Z"), "{}", said.text());
}
