//! Invitations, forgotten passwords and changed ones.

use entities::people::link::{self, Kind};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Person, World, mails_queued, on_both};

on_both!(
    an_invited_user_chooses_a_password_and_signs_in,
    a_link_is_worth_nothing_once_address_or_password_is_another,
    the_page_of_a_link_changes_nothing_until_its_form_is_sent,
    a_link_works_once_and_takes_the_users_others_with_it,
    links_run_out,
    asking_for_a_link_tells_nothing_about_the_account,
    a_changed_password_ends_every_other_session,
    of_changes_made_at_once_with_one_password_one_is_made,
    a_weak_password_is_refused_with_its_reason,
    a_letter_is_completed_with_the_configured_address_when_it_is_sent,
);

const NEW: &str = "a long sentence of my own";

/// The secret that the sender would put into the mail at this moment.
async fn secret(world: &World, kind: Kind, user_id: &str) -> String {
    let side = world.store.side().await.expect("a transaction");
    let secret = link::issue(&*side, kind, user_id, side.now()).await.expect("a link");
    side.commit().await.expect("stored");
    secret
}

async fn choose(world: &World, secret: &str, password: &str) -> u16 {
    let body = json!({"token": secret, "password": password});
    world.stranger().post("/auth/password", body).await.status
}

async fn invited(world: &World) -> Value {
    let new = json!({"display_name": "Dora Dale", "email": "Dora@Demo.example", "role": "caseworker"});
    world.ada().await.post("/users", new).await.ok()
}

async fn an_invited_user_chooses_a_password_and_signs_in(world: World) {
    let dora = invited(&world).await;
    assert_eq!(dora["email"], "dora@demo.example");
    assert_eq!(dora["invited"], true);
    assert!(dora.get("password_hash").is_none());
    let id = dora["id"].as_str().expect("an id");
    assert_eq!(mails_queued(&world.store, "invitation").await, [id]);
    Person::at(&world.url, "dora@demo.example").tries_to_log_in("").await.refused(422);
    Person::at(&world.url, "dora@demo.example").tries_to_log_in(NEW).await.refused(401);
    let secret = secret(&world, Kind::Invitation, id).await;
    assert_eq!(choose(&world, &secret, NEW).await, 204);
    Person::at(&world.url, "dora@demo.example").tries_to_log_in(NEW).await.ok();
    assert_eq!(world.ada().await.get(&format!("/users/{id}")).await.ok()["invited"], false);
}

/// It went to an address that was misspelt, or somebody else has seen it.
async fn a_link_is_worth_nothing_once_address_or_password_is_another(world: World) {
    let dora = invited(&world).await;
    let id = dora["id"].as_str().expect("an id");
    let misspelt = secret(&world, Kind::Invitation, id).await;
    let right = json!({"email": "dora.dale@demo.example"});
    world.ada().await.patch(&format!("/users/{id}"), right).await.ok();
    assert_eq!(choose(&world, &misspelt, NEW).await, 404);
    let again = secret(&world, Kind::Invitation, id).await;
    assert_eq!(choose(&world, &again, NEW).await, 204);
    let ana = world.ana().await;
    let seen = secret(&world, Kind::Reset, &ana.user_id()).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    assert_eq!(ana.post("/auth/change_password", change).await.status, 204);
    assert_eq!(choose(&world, &seen, "a third one that is long enough").await, 404);
}

async fn the_page_of_a_link_changes_nothing_until_its_form_is_sent(world: World) {
    let id = world.id_of("ben@demo.example").await;
    let secret = secret(&world, Kind::Reset, &id).await;
    let url = format!("{}/password/{secret}", world.url);
    let client = reqwest::Client::new();
    for _ in 0..3 {
        let page = client.get(&url).send().await.expect("a page");
        assert_eq!(page.status(), 200);
        for (name, value) in
            [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")]
        {
            assert_eq!(page.headers()[name], value);
        }
    }
    let send = |password: &'static str, again: &'static str| {
        let form = format!("password={password}&again={again}");
        let request = client.post(&url).header("content-type", "application/x-www-form-urlencoded").body(form);
        async { request.send().await.expect("a page").status().as_u16() }
    };
    assert_eq!(send("one+long+password", "another+password").await, 422);
    assert_eq!(send("short", "short").await, 422);
    assert_eq!(send("one+long+password", "one+long+password").await, 200);
    assert_eq!(send("one+long+password", "one+long+password").await, 404);
    assert_eq!(client.get(&url).send().await.expect("a page").status(), 404);
    Person::at(&world.url, "ben@demo.example").tries_to_log_in("one long password").await.ok();
}

async fn a_link_works_once_and_takes_the_users_others_with_it(world: World) {
    let id = world.id_of("ana@demo.example").await;
    let (one, two) = (secret(&world, Kind::Reset, &id).await, secret(&world, Kind::Reset, &id).await);
    let ana = world.ana().await;
    assert_eq!(choose(&world, &two, NEW).await, 204);
    assert_eq!(choose(&world, &two, NEW).await, 404);
    assert_eq!(choose(&world, &one, NEW).await, 404);
    assert_eq!(choose(&world, "made-up", NEW).await, 404);
    let token = ana.session()["access_token"].as_str().expect("a token").to_owned();
    let me = reqwest::Client::new().get(format!("{}/api/v1/me", world.url)).bearer_auth(token).send().await;
    assert_eq!(me.expect("an answer").status(), 401, "every session of before has ended");
    assert_eq!(mails_queued(&world.store, "password_changed").await, [id]);
}

async fn links_run_out(world: World) {
    let id = world.id_of("ana@demo.example").await;
    let (reset, invitation) = (secret(&world, Kind::Reset, &id).await, secret(&world, Kind::Invitation, &id).await);
    world.pass_secs(30 * 60);
    assert_eq!(choose(&world, &reset, NEW).await, 404);
    world.pass_secs(72 * 3600 - 30 * 60);
    assert_eq!(choose(&world, &invitation, NEW).await, 404);
}

async fn asking_for_a_link_tells_nothing_about_the_account(world: World) {
    let ask = |email: &'static str| {
        let person = world.stranger();
        async move { person.post("/auth/forgot", json!({"email": email})).await }
    };
    let (known, unknown) = (ask("ana@demo.example").await, ask("nobody@demo.example").await);
    assert_eq!((known.status, &known.text), (202, &unknown.text));
    assert_eq!(unknown.status, 202);
    for _ in 0..5 {
        assert_eq!(ask("ana@demo.example").await.status, 202, "too many are not sent, and not told either");
    }
}

async fn a_changed_password_ends_every_other_session(world: World) {
    let ana = world.ana().await;
    let tablet = ana.on_another_device();
    tablet.logs_in().await;
    let old = tablet.session()["access_token"].as_str().expect("a token").to_owned();
    let body = |current: &str| json!({"current_password": current, "new_password": NEW});
    ana.post("/auth/change_password", body("not my password")).await.refused(422);
    assert_eq!(ana.post("/auth/change_password", body(PASSWORD)).await.status, 204);
    ana.get("/me").await.ok();
    let me = reqwest::Client::new().get(format!("{}/api/v1/me", world.url)).bearer_auth(old).send().await;
    assert_eq!(me.expect("an answer").status(), 401);
    ana.tries_to_log_in(PASSWORD).await.refused(401);
    ana.tries_to_log_in(NEW).await.ok();
}

async fn a_weak_password_is_refused_with_its_reason(world: World) {
    let id = world.id_of("ana@demo.example").await;
    let secret = secret(&world, Kind::Reset, &id).await;
    for (password, code) in [("short", "too_short"), ("password1234", "too_common"), ("ana@demo.example", "too_common")]
    {
        let body = json!({"token": secret, "password": password});
        let problem = world.stranger().post("/auth/password", body).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], code);
    }
    assert_eq!(choose(&world, &secret, NEW).await, 204, "a refused password does not use the link up");
}

async fn a_letter_is_completed_with_the_configured_address_when_it_is_sent(world: World) {
    let id = world.id_of("ana@demo.example").await;
    let side = world.store.side().await.expect("a transaction");
    let data = json!({"link": {"kind": "reset", "user_id": id}});
    let done =
        entities::people::letters::complete(&*side, side.now(), "https://help.example", data).await.expect("done");
    side.commit().await.expect("stored");
    let link = done["link"].as_str().expect("a link");
    let secret = link.strip_prefix("https://help.example/password/").expect("under the public URL");
    assert_eq!(choose(&world, secret, NEW).await, 204);
}

async fn of_changes_made_at_once_with_one_password_one_is_made(world: World) {
    let ana = world.ana().await;
    let changes = (0..4).map(|at| {
        let ana = ana.clone();
        async move {
            let new = format!("{NEW}, number {at}");
            let body = json!({"current_password": PASSWORD, "new_password": new});
            (ana.post("/auth/change_password", body).await, new)
        }
    });
    let (made, refused): (Vec<_>, Vec<_>) = join_all(changes).await.into_iter().partition(|(one, _)| one.status == 204);
    assert_eq!(made.len(), 1);
    for (answer, _) in refused {
        assert_eq!(answer.refused(422)["errors"][0]["pointer"], "/current_password");
    }
    ana.tries_to_log_in(&made[0].1).await.ok();
}
