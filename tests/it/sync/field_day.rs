//! A day without signal, sent in one push.

use serde_json::json;

use crate::support::{Phone, World, on_both};

on_both!(a_case_opened_offline_with_its_first_visits_is_taken_in_whole);

/// What a held visit says of the case is written on a case row of the same commit.
async fn a_case_opened_offline_with_its_first_visits_is_taken_in_whole(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    phone.syncs().await;
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "Found us by herself."}));
    let person = phone.creates("persons", json!({"given_name": "Ruth"}));
    phone.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "primary_client"}));
    let begin = world.clock.now().0 - 3 * 3_600_000;
    for hour in [0, 1] {
        let started_at = begin + hour * 3_600_000;
        let visit = json!({"case_id": case, "kind": "visit", "status": "completed",
            "started_at": started_at, "ended_at": started_at + 1_800_000});
        phone.creates("contacts", visit);
    }
    phone.pushes().await.expect("something to push").ok();
    let mut fresh = Phone::of(&world.ana().await);
    fresh.syncs().await;
    assert_eq!(fresh.column("cases", &case, "last_contact_at"), begin + 3_600_000 + 1_800_000);
    assert_eq!(fresh.column("persons", &person, "given_name"), "Ruth");
    // The phone that pushed hears what the server made of its rows.
    phone.syncs().await;
    assert_eq!(phone.everything(), fresh.everything());
}
