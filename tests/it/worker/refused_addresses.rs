//! An address that the mail server refuses for good costs one attempt, is told once, and is tried
//! again when somebody has seen to it. The server is a real one.

use entities::access::Role;
use entities::partners::{organization, referral};
use entities::people::user;
use entities::workflow::{explain, refused};
use serde_json::json;

use super::office::{ANA, BEN, Office, PAT, SAM, consent};
use crate::support::{Mail, World, on_both};

on_both!(
    an_address_that_is_refused_is_tried_once_and_the_supervisor_is_told_once,
    an_administrator_lifts_it_and_what_waited_goes,
    another_address_for_the_user_lets_go_what_waited,
    a_partner_who_is_refused_is_told_to_the_supervisor_of_the_case_by_reference,
    another_address_for_the_organisation_lets_go_what_waited,
    one_refused_address_of_several_keeps_the_mail_from_nobody_else,
    one_full_mailbox_of_several_keeps_the_mail_from_nobody_else,
    a_partner_whom_no_mail_reaches_is_told_to_the_caseworker_at_the_request,
    a_refusal_of_the_message_or_of_the_sender_is_not_held_against_the_address,
    a_case_that_passes_on_is_told_to_its_new_holder,
    a_supervisor_who_cannot_be_reached_is_told_to_the_administrators,
);

pub const GONE: &str = "550 5.1.1 no such mailbox here";
const SUBJECT: &str = "Mail that does not arrive";

impl Office {
    /// Lets the worker go on until there is nothing left, what came up on the way included.
    async fn works_it_off(&self, instant: &str) {
        self.works_at(instant).await;
        self.works().await;
    }

    fn told_of_refusals(&self, email: &str) -> Vec<Mail> {
        self.mails_to(email).into_iter().filter(|mail| mail.subject == SUBJECT).collect()
    }

    /// `state: reason` of every mail about a goal, oldest first.
    async fn ends(&self) -> Vec<String> {
        let text = "select state || ': ' || reason from outbound_message where rule_id = 'goal.deadline' order by id";
        self.asks(text, vec![]).await
    }

    async fn refused(&self) -> Vec<String> {
        self.asks("select address from refused_addresses order by address", vec![]).await
    }
}

/// Ana's goal is due in 14 days, and her address is refused.
async fn ana_is_gone(world: World) -> (Office, String) {
    let office = Office::open(world).await;
    office.post.refuses(ANA, GONE);
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-18").await;
    office.works_it_off("2027-03-04T13:05:00Z").await;
    (office, case)
}

async fn an_address_that_is_refused_is_tried_once_and_the_supervisor_is_told_once(world: World) {
    let (office, case) = ana_is_gone(world).await;
    assert_eq!(office.refused().await, [ANA]);
    assert_eq!(office.ends().await, [format!("dead: {}", refused::MET)]);
    let told = office.told_of_refusals(SAM);
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("Ana Ortiz") && !told[0].everything().contains("CANARY"), "{}", told[0].text);
    office.works_it_off("2027-03-11T13:05:00Z").await;
    let ends = office.ends().await;
    assert_eq!(ends.last(), Some(&format!("suppressed: {}", refused::KNOWN)), "{ends:?}");
    let snapshot = office.store().read().await.expect("a snapshot");
    let said = explain::explain(&*snapshot, &case, snapshot.now()).await.expect("it answers").expect("the case");
    assert!(said.messages.iter().any(|one| one.state == "suppressed" && one.why.contains(refused::KNOWN)), "{said:?}");
    assert_eq!((office.post.tried(ANA), office.told_of_refusals(SAM).len()), (1, 1));
    assert!(office.mails_to(ANA).is_empty());
}

async fn an_administrator_lifts_it_and_what_waited_goes(world: World) {
    let (office, _) = ana_is_gone(world).await;
    let (ada, sam) = (office.world.ada().await, office.world.sam().await);
    let list = ada.get("/refused_addresses").await.ok();
    let item = &list["items"][0];
    assert_eq!((item["address"].as_str(), item["code"].as_i64()), (Some(ANA), Some(550)));
    assert!(item["said"].as_str().is_some_and(|said| said.contains("no such mailbox here")), "{item}");
    let lift = format!("/refused_addresses/{}/lift", item["id"].as_str().expect("an id"));
    sam.get("/refused_addresses").await.refused(403);
    sam.post(&lift, json!({})).await.refused(403);
    office.post.refuses_nothing();
    assert_eq!(ada.post(&lift, json!({})).await.status, 204);
    ada.post(&lift, json!({})).await.refused(404);
    assert_eq!(ada.get("/refused_addresses").await.ok()["items"], json!([]));
    office.works_it_off("2027-03-05T13:00:00Z").await;
    assert_eq!(office.mails_to(ANA).len(), 1);
    assert_eq!(office.ends().await.iter().filter(|end| end.starts_with("sent")).count(), 1);
}

async fn another_address_for_the_user_lets_go_what_waited(world: World) {
    let (office, _) = ana_is_gone(world).await;
    office.works_it_off("2027-03-11T13:05:00Z").await;
    let (ada, ana) = (office.world.ada().await, office.world.id_of(ANA).await);
    ada.patch(&format!("/users/{ana}"), json!({"email": "ana.ortiz@demo.example"})).await.ok();
    assert!(office.refused().await.is_empty());
    office.works_it_off("2027-03-11T13:06:00Z").await;
    let mails = office.mails_to("ana.ortiz@demo.example");
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(mails[0].text.contains("in 7 days"), "and not what is a week old: {}", mails[0].text);
}

async fn a_partner_who_is_refused_is_told_to_the_supervisor_of_the_case_by_reference(world: World) {
    let office = Office::open(world).await;
    office.post.refuses(PAT, GONE);
    let case = office.case_of(ANA).await;
    let referral = office.referral(&case).await;
    office.works().await;
    office.works().await;
    let told = office.told_of_refusals(SAM);
    assert_eq!(told.len(), 1);
    let text = "select reference from cases where id = $1 union all select reference from referrals where id = $2";
    for reference in office.asks(text, vec![case.into(), referral.into()]).await {
        assert!(told[0].text.contains(&reference), "{}", told[0].text);
    }
    for secret in ["CANARY", "Harbor", "Pat", PAT] {
        assert!(!told[0].everything().contains(secret), "{secret} in {}", told[0].text);
    }
}

/// An organisation with an address and no user, and a referral to it.
pub async fn refers_to_clinic(office: &Office) -> String {
    let clinic = organization::Model {
        name: "Clinic".into(),
        email: Some("Desk@clinic.example".into()),
        status: "active".into(),
        ..organization::Model::default()
    };
    let clinic = office.create::<organization::Entity>(clinic, |row| &row.id).await;
    let row = referral::Model {
        case_id: office.case_of(ANA).await,
        partner_org_id: Some(clinic.clone()),
        priority: "routine".into(),
        status: "requested".into(),
        client_consent: Some(consent()),
        sent_at: Some(office.world.clock.now()),
        ..referral::Model::default()
    };
    office.create::<referral::Entity>(row, |row| &row.id).await;
    clinic
}

async fn another_address_for_the_organisation_lets_go_what_waited(world: World) {
    let office = Office::open(world).await;
    office.post.refuses("Desk@clinic.example", GONE);
    let clinic = refers_to_clinic(&office).await;
    office.works().await;
    office.works().await;
    assert_eq!((office.refused().await, office.told_of_refusals(SAM).len()), (vec!["desk@clinic.example".into()], 1));
    let ada = office.world.ada().await;
    ada.patch(&format!("/organizations/{clinic}"), json!({"phone": "555 0100"})).await.ok();
    assert_eq!(office.refused().await.len(), 1, "that was not about the address");
    ada.patch(&format!("/organizations/{clinic}"), json!({"email": "intake@clinic.example"})).await.ok();
    assert!(office.refused().await.is_empty());
    office.works().await;
    assert_eq!(office.mails_to("intake@clinic.example").len(), 1);
}

/// A referral to an organisation with Pat, and with Pia as well.
async fn refers_to_pat_and_pia(office: &Office) {
    let case = office.case_of(ANA).await;
    let referral = office.referral(&case).await;
    let org = office.asks("select partner_org_id from referrals where id = $1", vec![referral.into()]).await.remove(0);
    let mut write = office.write().await;
    let pia =
        user::Model { partner_org_id: Some(org), ..user::Model::new("Pia", "pia@partner.example", Role::Partner) };
    user::create(&mut write, pia).await.expect("Pia");
    write.commit().await.expect("a commit");
}

async fn one_full_mailbox_of_several_keeps_the_mail_from_nobody_else(world: World) {
    let office = Office::open(world).await;
    office.post.refuses(PAT, "452 4.2.2 mailbox full");
    refers_to_pat_and_pia(&office).await;
    office.works().await;
    assert_eq!(office.mails_to("pia@partner.example").len(), 1);
    assert!(office.refused().await.is_empty(), "a full mailbox is emptied some day");
    let text = "select state || ': ' || reason from outbound_message where to_role = 'partner'";
    let left_out = "left out those of the addresses that could take nothing at the time";
    assert_eq!(office.asks(text, vec![]).await, [format!("sent: {left_out}")]);
}

async fn one_refused_address_of_several_keeps_the_mail_from_nobody_else(world: World) {
    let office = Office::open(world).await;
    office.post.refuses(PAT, GONE);
    refers_to_pat_and_pia(&office).await;
    office.works().await;
    office.works().await;
    assert_eq!((office.mails_to("pia@partner.example").len(), office.refused().await), (1, vec![PAT.to_owned()]));
    assert_eq!(office.told_of_refusals(SAM).len(), 1);
    // Three working days later.
    office.works_it_off("2027-03-04T15:00:00Z").await;
    assert_eq!((office.mails_to("pia@partner.example").len(), office.post.tried(PAT)), (2, 1));
}

async fn a_refusal_of_the_message_or_of_the_sender_is_not_held_against_the_address(world: World) {
    let office = Office::open(world).await;
    office.post.refuses(ANA, "550 5.1.8 Sender address rejected: Domain not found");
    office.post.refuses(BEN, "554 5.7.1 Relay access denied");
    office.post.refuses("data:cleo@demo.example", "554 5.6.0 not this message");
    for email in [ANA, BEN, "cleo@demo.example"] {
        let case = office.case_of(email).await;
        office.goal(&case, "2027-03-18").await;
    }
    office.works_it_off("2027-03-04T13:05:00Z").await;
    assert_eq!(office.ends().await, vec!["dead: the mail server refuses it"; 3]);
    assert!(office.refused().await.is_empty());
    assert!(office.post.mails().iter().all(|mail| mail.subject != SUBJECT));
    office.works_it_off("2027-03-11T13:05:00Z").await;
    assert_eq!((office.post.tried(ANA), office.post.tried(BEN)), (2, 2), "the next mail is tried again");
}

async fn a_case_that_passes_on_is_told_to_its_new_holder(world: World) {
    let (office, case) = ana_is_gone(world).await;
    office.works_it_off("2027-03-11T13:05:00Z").await;
    office.reassign(&case, BEN).await;
    office.works().await;
    let told: Vec<String> = office.mails_to(BEN).into_iter().map(|mail| mail.subject).collect();
    assert_eq!(told, ["A goal is due in 7 days"]);
}

async fn a_supervisor_who_cannot_be_reached_is_told_to_the_administrators(world: World) {
    let office = Office::open(world).await;
    office.post.refuses(SAM, GONE);
    let case = office.case_of(ANA).await;
    office.goal(&case, "2027-03-05").await;
    office.works().await;
    // Sam's digest of a working morning.
    office.works_it_off("2027-03-02T13:05:00Z").await;
    assert_eq!(office.refused().await, [SAM]);
    let told = office.told_of_refusals("ada@demo.example");
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("Sam Stone"));
}

async fn a_partner_whom_no_mail_reaches_is_told_to_the_caseworker_at_the_request(world: World) {
    let office = Office::open(world).await;
    let clinic = refers_to_clinic(&office).await;
    office.change::<organization::Entity>(&clinic, |clinic| clinic.email = None).await;
    let told = office.told_at(&["2027-03-01T15:00:01Z", "2027-03-04T13:00:00Z", "2027-03-10T13:00:00Z"]).await;
    let told: Vec<_> = told.iter().filter(|line| !line.contains("deadlines")).collect();
    assert_eq!(told, ["2027-03-01 ana@demo.example: A referral that the partner does not know of"]);
    let told = office.told_at(&["2027-03-11T13:00:00Z"]).await;
    assert!(told.contains(&"2027-03-11 ana@demo.example: A referral has no answer".to_owned()), "{told:?}");
    let mail = office.mails_to(ANA).pop().expect("the last one");
    assert!(mail.text.contains("no mail about it has reached the partner"), "{}", mail.text);
    assert!(!mail.text.contains("reminded"), "{}", mail.text);
    // With an address it is told after all.
    let case = office.asks("select id from cases", vec![]).await.remove(0);
    office.change::<organization::Entity>(&clinic, |clinic| clinic.email = Some("intake@clinic.example".into())).await;
    let mut write = office.write().await;
    write.replan(&case);
    write.note("planned", "");
    write.commit().await.expect("a commit");
    office.works().await;
    assert_eq!(office.mails_to("intake@clinic.example").len(), 1);
}
