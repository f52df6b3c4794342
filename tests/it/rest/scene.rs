//! A case with something in every table, and the partner that its referral goes to.

use entities::access::{Actor, Role};
use entities::partners::organization;
use entities::people::user;
use serde_json::{Value, json};

use crate::support::{Person, World};

/// A case that somebody opened, with a client in it.
#[derive(Debug)]
pub struct Case {
    pub id: String,
    pub person: String,
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

/// Opens a case for a person, and makes it active.
pub async fn opens_a_case(worker: &Person) -> Case {
    let id = text(&worker.post("/cases", json!({"summary": "Draws well"})).await.ok()["id"]);
    let person = text(&worker.post("/persons", json!({"given_name": "Noor"})).await.ok()["id"]);
    worker.post("/case_parties", json!({"case_id": id, "person_id": person})).await.ok();
    worker.post(&format!("/cases/{id}/status"), json!({"to": "active"})).await.ok();
    Case { id, person }
}

/// A goal with every part of SMART.
pub fn smart(case: &Case) -> Value {
    json!({
        "case_id": case.id, "person_id": case.person, "statement": "Walk to the market twice a week",
        "measure": "walks a week", "unit": "walks", "baseline_value": 0, "target_value": 2, "confidence": 7,
        "strengths": ["knows the stallholders"], "why_it_matters": "I want to see people again",
        "starts_on": "2027-03-01", "due_on": "2027-06-01",
        "client_agreement": {"by": "client", "on": "2027-03-01", "how": "spoken", "words": "yes"},
    })
}

/// A partner organisation with one user who can sign in.
pub async fn harbor(world: &World) -> (String, Person) {
    let mut write = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let org = organization::Model {
        name: "Harbor Food Bank".into(),
        email: Some("intake@partner.example".into()),
        status: "active".into(),
        ..organization::Model::default()
    };
    let org = write.create::<organization::Entity>(org).await.expect("an organisation").id;
    write.commit().await.expect("a commit");
    (org.clone(), partner(world, &org, "pat@partner.example").await)
}

/// A user of a partner organisation.
pub async fn partner(world: &World, org: &str, email: &str) -> Person {
    let mut write = world.store.write(&Actor::system(&world.riverbend)).await.expect("the door");
    let ana = user::by_email(write.conn(), "ana@demo.example").await.expect("users").expect("Ana");
    let someone =
        user::Model { partner_org_id: Some(org.to_owned()), ..user::Model::new("Pat Park", email, Role::Partner) };
    let id = user::create(&mut write, someone).await.expect("a user").id;
    let hash = ana.password_hash.expect("Ana has a password");
    user::set_password(&mut write, &id, &hash, None).await.expect("a password");
    write.commit().await.expect("a commit");
    world.person(email).await
}

/// A referral that may be requested.
pub fn ready(case: &Case, org: &str) -> Value {
    json!({
        "case_id": case.id, "person_id": case.person, "partner_org_id": org, "need_category": "food_insecurity",
        "reason": "Weekly parcel; secret-reason", "packet_fields": [], "client_choice": "This one, it is near",
        "client_consent": {"by": "client", "on": "2027-03-01", "how": "signed", "until": "2027-09-01"},
    })
}

/// One row in every table of a case; answers (table, id).
pub async fn fills(worker: &Person, case: &Case, org: &str) -> Vec<(&'static str, String)> {
    let mut rows = vec![("cases", case.id.clone()), ("persons", case.person.clone())];
    let goal = text(&worker.post("/goals", smart(case)).await.ok()["id"]);
    let rating = json!({"case_id": case.id, "goal_id": goal, "rated_on": "2027-03-01", "level": -1});
    rows.push(("goal_ratings", text(&worker.post("/goal_ratings", rating).await.ok()["id"])));
    rows.push(("goals", goal));
    let contact = json!({"case_id": case.id, "planned_start": "2027-03-02T15:00:00Z"});
    rows.push(("contacts", text(&worker.post("/contacts", contact).await.ok()["id"])));
    rows.push(("notes", text(&worker.post("/notes", json!({"case_id": case.id, "body": "Well"})).await.ok()["id"])));
    let referral = text(&worker.post("/referrals", ready(case, org)).await.ok()["id"]);
    rows.push(("referrals", referral));
    for table in ["case_parties", "case_assignments", "referral_events"] {
        let page = worker.get(&format!("/{table}?case_id={}", case.id)).await.ok();
        rows.push((table, text(&page["items"][0]["id"])));
    }
    rows
}
