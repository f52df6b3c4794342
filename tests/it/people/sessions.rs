//! Refresh tokens, and how soon a session that must end has ended.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, Person, World, mails_queued, on_both};

on_both!(
    a_lost_answer_is_given_again_to_the_same_device,
    twenty_refreshes_at_once_give_one_successor,
    a_spent_token_ends_the_session_once_its_successor_was_used,
    a_copy_on_another_device_ends_the_session_and_people_are_told,
    a_lost_answer_cannot_be_had_again_after_ten_minutes,
    a_spent_token_is_a_copy_once_the_new_ones_have_arrived,
    a_made_up_token_ends_nobodys_session,
    a_session_ends_after_thirty_idle_days_and_after_ninety_in_all,
    signing_out_ends_the_session_on_every_path,
    a_user_who_is_switched_off_is_out_at_the_next_request_everywhere,
    a_new_role_holds_at_the_next_request,
    a_revoked_device_is_out_and_may_sign_in_again,
    a_wiped_device_hears_it_from_every_path,
    a_wiped_device_that_calls_months_later_is_still_told,
    a_wiped_device_is_told_after_a_restore_too,
    nobody_else_can_shut_out_a_device,
    whoever_reports_a_shared_phone_wipes_what_is_theirs_alone,
    an_administrators_report_reaches_whoever_signs_in_from_the_device_later,
    signing_out_ends_earlier_sign_ins_on_the_device_too,
);

struct Held {
    access: String,
    refresh: String,
}

fn held(answer: &Value) -> Held {
    let part = |name: &str| answer[name].as_str().expect("tokens").to_owned();
    Held { access: part("access_token"), refresh: part("refresh_token") }
}

async fn refresh(world: &World, token: &str, device: &str) -> Answer {
    world.stranger().post("/auth/refresh", json!({"refresh_token": token, "device_id": device})).await
}

/// Status of `GET /me` with this very token.
async fn me(base: &str, token: &str) -> u16 {
    let asked = reqwest::Client::new().get(format!("{base}/api/v1/me")).bearer_auth(token);
    asked.send().await.expect("an answer").status().as_u16()
}

async fn signed_in(world: &World) -> (Person, Held) {
    let ana = world.ana().await;
    let tokens = held(&ana.session());
    (ana, tokens)
}

async fn a_lost_answer_is_given_again_to_the_same_device(world: World) {
    let (ana, first) = signed_in(&world).await;
    let second = held(&refresh(&world, &first.refresh, &ana.device_id).await.ok());
    world.pass_secs(9 * 60);
    let again = held(&refresh(&world, &first.refresh, &ana.device_id).await.ok());
    assert_eq!(second.refresh, again.refresh);
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(me(&world.url, &again.access).await, 200);
    refresh(&world, &again.refresh, &ana.device_id).await.ok();
}

async fn twenty_refreshes_at_once_give_one_successor(mut world: World) {
    let (ana, first) = signed_in(&world).await;
    let other = world.another_server().await;
    let tries = (0..20).map(|at| {
        let person = world.stranger();
        let person = if at % 2 == 0 { person } else { person.through(&other) };
        let body = json!({"refresh_token": first.refresh, "device_id": ana.device_id});
        async move { held(&person.post("/auth/refresh", body).await.ok()).refresh }
    });
    let mut successors = join_all(tries).await;
    successors.dedup();
    assert_eq!(successors.len(), 1);
}

async fn a_spent_token_ends_the_session_once_its_successor_was_used(world: World) {
    let (ana, first) = signed_in(&world).await;
    let second = held(&refresh(&world, &first.refresh, &ana.device_id).await.ok());
    let third = held(&refresh(&world, &second.refresh, &ana.device_id).await.ok());
    refresh(&world, &first.refresh, &ana.device_id).await.refused(401);
    refresh(&world, &third.refresh, &ana.device_id).await.refused(401);
    assert_eq!(me(&world.url, &third.access).await, 401, "the access token already out is worthless too");
}

async fn a_copy_on_another_device_ends_the_session_and_people_are_told(world: World) {
    let (ana, first) = signed_in(&world).await;
    refresh(&world, &first.refresh, "a-thief").await.refused(401);
    refresh(&world, &first.refresh, &ana.device_id).await.refused(401);
    let told = mails_queued(&world.store, "session_ended").await;
    let mut expected = vec![world.id_of("ana@demo.example").await, world.id_of("sam@demo.example").await];
    expected.sort();
    assert_eq!(told, expected);
}

async fn a_lost_answer_cannot_be_had_again_after_ten_minutes(world: World) {
    let (ana, first) = signed_in(&world).await;
    refresh(&world, &first.refresh, &ana.device_id).await.ok();
    world.pass_secs(601);
    refresh(&world, &first.refresh, &ana.device_id).await.refused(401);
}

async fn a_spent_token_is_a_copy_once_the_new_ones_have_arrived(world: World) {
    let (ana, first) = signed_in(&world).await;
    let second = held(&refresh(&world, &first.refresh, &ana.device_id).await.ok());
    assert_eq!(me(&world.url, &second.access).await, 200);
    refresh(&world, &first.refresh, &ana.device_id).await.ok();
    world.pass_secs(61);
    refresh(&world, &first.refresh, &ana.device_id).await.refused(401);
    assert_eq!(me(&world.url, &second.access).await, 401);
}

async fn a_made_up_token_ends_nobodys_session(world: World) {
    let (ana, first) = signed_in(&world).await;
    let session = first.refresh.rsplit_once('.').expect("three parts").0;
    let guess = format!("{session}.{}", "A".repeat(43));
    for wrong in [guess.as_str(), "nonsense", "fsr1.x.y", "fsr1..", "\u{1F600}"] {
        refresh(&world, wrong, &ana.device_id).await.refused(401);
    }
    refresh(&world, &first.refresh, &ana.device_id).await.ok();
}

async fn a_session_ends_after_thirty_idle_days_and_after_ninety_in_all(world: World) {
    let (ana, idle) = signed_in(&world).await;
    world.pass_secs(30 * 86_400);
    refresh(&world, &idle.refresh, &ana.device_id).await.refused(401);
    let (ana, mut used) = signed_in(&world).await;
    for _ in 0..3 {
        world.pass_secs(29 * 86_400);
        used = held(&refresh(&world, &used.refresh, &ana.device_id).await.ok());
    }
    world.pass_secs(3 * 86_400);
    refresh(&world, &used.refresh, &ana.device_id).await.refused(401);
}

async fn signing_out_ends_the_session_on_every_path(world: World) {
    let (ana, tokens) = signed_in(&world).await;
    assert_eq!(ana.post("/auth/logout", json!({})).await.status, 204);
    assert_eq!(me(&world.url, &tokens.access).await, 401);
    refresh(&world, &tokens.refresh, &ana.device_id).await.refused(401);
}

async fn a_user_who_is_switched_off_is_out_at_the_next_request_everywhere(mut world: World) {
    let other = world.another_server().await;
    let (ana, tokens) = signed_in(&world).await;
    assert_eq!(me(&other, &tokens.access).await, 200);
    let ada = world.ada().await;
    ada.post(&format!("/users/{}/deactivate", ana.user_id()), json!({})).await.ok();
    for base in [&world.url, &other] {
        assert_eq!(me(base, &tokens.access).await, 401);
    }
    refresh(&world, &tokens.refresh, &ana.device_id).await.refused(401);
    ana.tries_to_log_in(crate::support::PASSWORD).await.refused(401);
    ada.post(&format!("/users/{}/reactivate", ana.user_id()), json!({})).await.ok();
    ana.tries_to_log_in(crate::support::PASSWORD).await.ok();
}

async fn a_new_role_holds_at_the_next_request(mut world: World) {
    let other = world.another_server().await;
    let ben = world.ben().await;
    let elsewhere = ben.through(&other);
    elsewhere.get("/users").await.refused(403);
    let ada = world.ada().await;
    ada.patch(&format!("/users/{}", ben.user_id()), json!({"role": "administrator", "team_id": null})).await.ok();
    elsewhere.get("/users").await.ok();
    ada.patch(&format!("/users/{}", ben.user_id()), json!({"role": "caseworker"})).await.ok();
    elsewhere.get("/users").await.refused(403);
}

async fn a_revoked_device_is_out_and_may_sign_in_again(world: World) {
    let (ana, tokens) = signed_in(&world).await;
    let tablet = ana.on_another_device();
    tablet.logs_in().await;
    assert_eq!(tablet.post(&format!("/devices/{}/revoke", ana.device_id), json!({})).await.status, 204);
    assert_eq!(me(&world.url, &tokens.access).await, 401);
    refresh(&world, &tokens.refresh, &ana.device_id).await.refused(401);
    tablet.get("/me").await.ok();
    ana.tries_to_log_in(crate::support::PASSWORD).await.ok();
}

async fn a_wiped_device_hears_it_from_every_path(world: World) {
    let (ana, tokens) = signed_in(&world).await;
    let ada = world.ada().await;
    assert_eq!(ada.post(&format!("/devices/{}/wipe", ana.device_id), json!({})).await.status, 204);
    let heard = [
        ana.get("/me").await,
        ana.get("/sync?last_pulled_at=0&schema_version=1").await,
        ana.post("/sync?last_pulled_at=0&schema_version=1", json!({})).await,
        refresh(&world, &tokens.refresh, &ana.device_id).await,
        ana.tries_to_log_in(crate::support::PASSWORD).await,
    ];
    for answer in heard {
        assert_eq!(answer.refused(403)["code"], "device_wiped");
    }
    let guess = ana.tries_to_log_in("not the password").await;
    assert_eq!(guess.refused(401)["code"], "sign_in_failed", "only who knows the password is told");
    ana.on_another_device().logs_in().await;
}

async fn a_wiped_device_that_calls_months_later_is_still_told(world: World) {
    let (ana, tokens) = signed_in(&world).await;
    let tablet = ana.on_another_device();
    tablet.logs_in().await;
    assert_eq!(tablet.post(&format!("/devices/{}/wipe", ana.device_id), json!({})).await.status, 204);
    world.pass_secs(200 * 86_400);
    tablet.logs_in().await;
    let heard = refresh(&world, &tokens.refresh, &ana.device_id).await.refused(403);
    assert_eq!(heard["code"], "device_wiped");
}

async fn a_wiped_device_is_told_after_a_restore_too(world: World) {
    let (ana, tokens) = signed_in(&world).await;
    let (ben, his) = {
        let ben = world.ben().await;
        let tokens = held(&ben.session());
        (ben, tokens)
    };
    let ada = world.ada().await;
    assert_eq!(ada.post(&format!("/devices/{}/wipe", ana.device_id), json!({})).await.status, 204);
    let bytes = crate::sync::restored::takes_a_backup(&world).await;
    world.pass_secs(3600);
    crate::sync::restored::restores(&world, &bytes).await.expect("restored");
    let heard = refresh(&world, &tokens.refresh, &ana.device_id).await.refused(403);
    assert_eq!(heard["code"], "device_wiped");
    let stranger = world.stranger();
    let work =
        json!({"notes": {"created": [{"id": "note-never-sent", "body": "a visit"}], "updated": [], "deleted": []}});
    let request = stranger.request(reqwest::Method::POST, "/sync/farewell").bearer_auth(&tokens.refresh);
    let answer = stranger.send("Ana's phone says farewell", request.body(work.to_string())).await;
    assert_eq!(answer.ok(), json!({"kept": 1}));
    refresh(&world, &his.refresh, &ben.device_id).await.refused(401);
    ben.logs_in().await;
}

async fn nobody_else_can_shut_out_a_device(world: World) {
    let ana = world.ana().await;
    for person in [world.ben().await, world.sam().await, world.omar().await] {
        for verb in ["revoke", "wipe"] {
            person.post(&format!("/devices/{}/{verb}", ana.device_id), json!({})).await.refused(404);
        }
    }
    let listed = ana.get("/devices").await.ok();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    ana.get("/me").await.ok();
}

async fn whoever_reports_a_shared_phone_wipes_what_is_theirs_alone(world: World) {
    let ana = world.ana().await;
    let ben = ana.hands_the_phone_to("ben@demo.example");
    ben.logs_in().await;
    let tablet = ana.on_another_device();
    tablet.logs_in().await;
    assert_eq!(tablet.post(&format!("/devices/{}/wipe", ana.device_id), json!({})).await.status, 204);
    assert_eq!(ana.get("/me").await.refused(403)["code"], "device_wiped");
    ben.get("/me").await.ok();
    ben.tries_to_log_in(PASSWORD).await.ok();
    ana.hands_the_phone_to("sam@demo.example").logs_in().await;
}

async fn an_administrators_report_reaches_whoever_signs_in_from_the_device_later(world: World) {
    let (ana, ada) = (world.ana().await, world.ada().await);
    let ben = ana.hands_the_phone_to("ben@demo.example");
    ben.logs_in().await;
    assert_eq!(ada.post(&format!("/devices/{}/wipe", ana.device_id), json!({})).await.status, 204);
    for person in [&ana, &ben] {
        assert_eq!(person.get("/me").await.refused(403)["code"], "device_wiped");
    }
    for email in ["cleo@demo.example", "sam@demo.example", "ada@demo.example"] {
        let later = ana.hands_the_phone_to(email);
        assert_eq!(later.tries_to_log_in(PASSWORD).await.refused(403)["code"], "device_wiped", "{email}");
        later.tries_to_log_in("not the password").await.refused(401);
    }
    let listed = ada.get("/devices").await.ok();
    let users: Vec<&Value> = listed["items"].as_array().expect("devices").iter().map(|one| &one["user_name"]).collect();
    assert!(!users.contains(&&json!("Cleo Clark")), "nobody has a device that they never came in from: {users:?}");
    // Another agency has ids of its own.
    ana.hands_the_phone_to("omar@other.example").logs_in().await;
}

async fn signing_out_ends_earlier_sign_ins_on_the_device_too(world: World) {
    let (ana, earlier) = signed_in(&world).await;
    let (tablet, ben) = (ana.on_another_device(), ana.hands_the_phone_to("ben@demo.example"));
    tablet.logs_in().await;
    ben.logs_in().await;
    ana.logs_in().await;
    assert_eq!(ana.post("/auth/logout", json!({})).await.status, 204);
    assert_eq!(me(&world.url, &earlier.access).await, 401);
    refresh(&world, &earlier.refresh, &ana.device_id).await.refused(401);
    for other in [tablet, ben] {
        assert_eq!(me(&world.url, &other.token()).await, 200, "{}", other.email);
    }
}
