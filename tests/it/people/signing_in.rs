//! Signing in as everybody else sees it. The rules of tokens are tested beside them, in `api`.

use serde_json::json;

use crate::support::{World, on_both};

on_both!(
    a_caseworker_signs_in_and_is_told_who_they_are,
    nobody_learns_from_a_refusal_whether_the_account_exists,
    a_session_runs_out_and_a_person_signs_in_again,
);

async fn a_caseworker_signs_in_and_is_told_who_they_are(world: World) {
    let ana = world.ana().await;
    let session = ana.session();
    assert_eq!(session["user"]["role"], "caseworker");
    assert_eq!(session["user"]["agency_id"], json!(world.riverbend));
    assert_eq!(session["server_time"], "2027-03-01T15:00:00.000Z");
    let me = ana.get("/me").await.ok();
    assert_eq!(me["id"], session["user"]["id"]);
}

async fn nobody_learns_from_a_refusal_whether_the_account_exists(world: World) {
    let known = crate::support::Person::at(&world.url, "ana@demo.example");
    let wrong = known.tries_to_log_in("not the password").await.refused(401);
    let unknown = world.stranger().tries_to_log_in("not the password").await.refused(401);
    for part in ["type", "title", "status", "code", "detail"] {
        assert_eq!(wrong[part], unknown[part], "{part}");
    }
}

async fn a_session_runs_out_and_a_person_signs_in_again(world: World) {
    let ana = world.ana().await;
    let token = ana.session()["access_token"].as_str().expect("a token").to_owned();
    world.pass_secs(11 * 60);
    let stale = reqwest::Client::new().get(format!("{}/api/v1/me", world.url)).bearer_auth(token).send().await;
    assert_eq!(stale.expect("an answer").status().as_u16(), 401);
    assert_eq!(ana.get("/me").await.ok()["role"], "caseworker", "a person signs in again by themselves");
}
