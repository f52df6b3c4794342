//! What reaches a restored server before the device has offered what it holds: it makes no row of what only the device
//! still has.

use serde_json::{Value, json};

use super::native::mutates;
use super::restored::{holdings, restores, takes_a_backup};
use super::rules::{goal, opens_case};
use super::rxdb::Collection;
use super::told::{action, mutation, one};
use crate::rest::scene::{opens_a_case, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    a_push_on_what_a_lost_server_gave_is_sent_back,
    a_push_that_names_another_epoch_is_sent_back,
    an_edit_of_a_row_that_is_not_here_makes_none_and_waits_for_it,
    a_row_that_nobody_showed_them_is_as_absent_as_one_that_is_not_there,
    what_waits_for_its_row_is_no_row_of_its_own,
);

async fn goes_back(world: &World, bytes: &[u8], person: &Person) {
    world.pass_secs(3600);
    restores(world, bytes).await.expect("restored");
    person.logs_in().await;
}

async fn a_push_on_what_a_lost_server_gave_is_sent_back(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    phone.syncs().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let id = phone.creates("goals", goal(&case, "Synced after the backup"));
    phone.syncs().await;
    phone.pulls().await;
    phone.edits("goals", &id, json!({"measure": "not sent yet"}));
    phone.pulls().await;
    // Between the pull and the push of one sync.
    goes_back(&world, &bytes, &phone.person).await;
    let sent_back = phone.pushes().await.expect("the edit");
    assert_eq!(sent_back.status, 409, "{}", sent_back.text);
    assert_eq!(sent_back.json()["code"], json!("epoch_changed"));
    phone.person.get(&format!("/goals/{id}")).await.refused(404);
    phone.person.post("/sync/salvage", holdings(&phone)).await.ok();
    phone.syncs().await;
    let stored = phone.person.get(&format!("/goals/{id}")).await.ok();
    assert_eq!(
        (&stored["statement"], &stored["measure"]),
        (&json!("Synced after the backup"), &json!("not sent yet")),
        "{stored}"
    );
}

async fn a_push_that_names_another_epoch_is_sent_back(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    opens_case(&mut phone).await;
    let bytes = takes_a_backup(&world).await;
    let before = phone.epoch.expect("an epoch");
    goes_back(&world, &bytes, &ana).await;
    phone.pulls().await;
    let now = phone.epoch.expect("an epoch");
    assert!(now > before);
    let case = json!({"id": "case-00000001", "unit": "family"});
    let ways = [
        ("/sync?last_pulled_at=0&epoch=EPOCH", json!({"cases": {"created": [case], "updated": [], "deleted": []}})),
        ("/sync/rxdb/cases/push?epoch=EPOCH", json!([{"newDocumentState": case}])),
        (
            "/sync/push",
            json!({"epoch": "EPOCH", "mutations": [mutation(1, "create", "cases", "case-00000001", json!({"unit": "family"}))]}),
        ),
    ];
    let fill = |epoch: i64, path: &str, body: &Value| {
        let body = body.to_string().replace("\"EPOCH\"", &epoch.to_string());
        (path.replace("EPOCH", &epoch.to_string()), serde_json::from_str::<Value>(&body).expect("JSON"))
    };
    for (path, body) in &ways {
        for wrong in [before, now + 1] {
            let (path, body) = fill(wrong, path, body);
            let refused = ana.post(&path, body).await.refused(409);
            assert_eq!((&refused["code"], &refused["epoch"]), (&json!("epoch_changed"), &json!(now)), "{path}");
        }
    }
    ana.get("/cases/case-00000001").await.refused(404);
    // There is no epoch 0: an app that has none yet may say so.
    for (epoch, (path, body)) in [now, 0, now].into_iter().zip(&ways) {
        let (path, body) = fill(epoch, path, body);
        ana.post(&path, body).await.ok();
    }
    ana.get("/cases/case-00000001").await.ok();
    ana.get("/sync/pull?epoch=0").await.ok();
    let far = json!({"cases": {"created": [], "updated": [], "deleted": []}});
    ana.post("/sync?last_pulled_at=9007199254740991", far).await.ok();
}

async fn an_edit_of_a_row_that_is_not_here_makes_none_and_waits_for_it(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let made = json!({"given_name": "Zoe", "do_not_contact": true, "address_secret": true});
    let queue = json!([
        mutation(1, "create", "persons", "person-0000001", made),
        mutation(
            2,
            "create",
            "case_parties",
            "party-00000001",
            json!({"case_id": case, "person_id": "person-0000001"})
        ),
        mutation(3, "create", "goals", "goal-00000001", json!({"case_id": case, "statement": "Walk"})),
    ]);
    mutates(&ana, queue).await;
    phone.pulls().await;
    goes_back(&world, &bytes, &ana).await;
    let queue = json!([
        mutation(4, "update", "persons", "person-0000001", json!({"preferred_name": {"from": null, "to": "Zo"}})),
        action(5, "propose", "goals", "goal-00000001", json!({})),
    ]);
    let statuses = |results: Vec<Value>| results.into_iter().map(|one| one["status"].clone()).collect::<Vec<_>>();
    assert_eq!(statuses(mutates(&ana, queue.clone()).await), ["retry", "retry"]);
    assert_eq!(statuses(mutates(&ana, queue).await), ["quarantined", "quarantined"]);
    for path in ["/persons/person-0000001", "/goals/goal-00000001"] {
        ana.get(path).await.refused(404);
    }
    ana.post("/sync/salvage", holdings(&phone)).await.ok();
    let person = ana.get("/persons/person-0000001").await.ok();
    assert_eq!(
        ["given_name", "preferred_name", "do_not_contact", "address_secret"].map(|name| person[name].clone()),
        [json!("Zoe"), json!("Zo"), json!(true), json!(true)]
    );
    assert_eq!(ana.get("/goals/goal-00000001").await.ok()["lifecycle"], json!("proposed"));
    let open = ana.get("/sync_issues?limit=200").await.ok();
    let open = open["items"].as_array().expect("items").iter().filter(|issue| issue["status"] == "open");
    assert_eq!(open.filter(|issue| issue["kind"] != "restored").count(), 0, "all of it is settled");
}

async fn a_row_that_nobody_showed_them_is_as_absent_as_one_that_is_not_there(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let bens = opens_a_case(&ben).await;
    let edit = |number: u32, id: &str| {
        let set = json!({"preferred_name": {"from": null, "to": "Zo"}});
        mutation(number, "update", "persons", id, set)
    };
    for _ in 0..2 {
        let results = mutates(&ana, json!([edit(1, &bens.person), edit(2, "person-of-nobody")])).await;
        let [there, nowhere] = &results[..] else { panic!("{results:?}") };
        for member in ["status", "reason", "row", "seq"] {
            assert_eq!(there[member], nowhere[member], "{member}");
        }
    }
    let stored = ben.get(&format!("/persons/{}", bens.person)).await.ok();
    assert_eq!(stored["preferred_name"], Value::Null);
}

async fn what_waits_for_its_row_is_no_row_of_its_own(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let edit = mutation(1, "update", "persons", "person-of-nobody", json!({"given_name": {"from": null, "to": "Zoe"}}));
    let queue = json!({"mutations": [edit]});
    ana.post("/sync/quarantine", queue).await.ok();
    let issues = sam.get("/sync_issues?limit=200").await.ok();
    let issue = issues["items"].as_array().expect("items").iter().find(|one| one["about_id"] == "person-of-nobody");
    let path = format!("/sync_issues/{}", text(&issue.expect("told")["id"]));
    sam.post(&format!("{path}/accept"), json!({"reason": "why not"})).await.refused(409);
    ana.get("/persons/person-of-nobody").await.refused(404);
    // A document says how a row is to be, and makes it where it is not there.
    let people = Collection::of(&ana, "persons");
    let known = json!({"id": "person-of-nobody", "_deleted": false});
    people.pushes(Some(&known), &json!({"id": "person-of-nobody", "given_name": "Zoe", "_deleted": false})).await;
    assert_eq!(ana.get("/persons/person-of-nobody").await.ok()["given_name"], json!("Zoe"));
    assert_eq!(
        one(&ana, mutation(2, "update", "persons", "person-of-nobody", json!({"family_name": {"to": "Reyes"}}))).await
            ["status"],
        json!("applied")
    );
}
