//! Administrators manage; everyone else reads what they need and changes what is their own.

use serde_json::json;

use crate::support::{World, mails_queued, on_both};

on_both!(
    administrators_make_teams_and_users,
    a_change_needs_the_version_that_was_read,
    an_address_is_used_once_in_the_installation,
    the_last_administrator_stays,
    people_change_what_is_their_own_and_nothing_else,
    another_agency_does_not_exist,
    whoever_was_named_may_end_and_the_rest_still_changes,
    what_people_are_refused_stands_in_the_trail,
    settings_that_make_no_sense_are_all_named,
    a_setting_that_is_not_named_stays,
    a_holiday_stands_once_and_can_be_taken_out,
    staff_follow_their_users,
    a_team_cannot_stand_above_itself,
    a_name_is_one_line_that_can_be_seen,
    a_change_may_name_several_versions,
);

async fn administrators_make_teams_and_users(world: World) {
    let ada = world.ada().await;
    let team = ada.post("/teams", json!({"name": "West"})).await.ok();
    let new =
        json!({"display_name": "Wes West", "email": "wes@demo.example", "role": "supervisor", "team_id": team["id"]});
    let wes = ada.post("/users", new).await.ok();
    let path = format!("/teams/{}", team["id"].as_str().expect("an id"));
    let led = ada.patch(&path, json!({"supervisor_user_id": wes["id"]})).await.ok();
    assert_eq!(led["supervisor_user_id"], wes["id"]);
    let problem = ada.patch(&path, json!({"supervisor_user_id": world.id_of("ana@demo.example").await})).await;
    assert_eq!(problem.refused(422)["errors"][0]["pointer"], "/supervisor_user_id");
    let first = ada.get("/users?limit=3").await.ok();
    let cursor = first["next_cursor"].as_str().expect("more");
    let rest = ada.get(&format!("/users?limit=200&cursor={cursor}")).await.ok();
    let count = |page: &serde_json::Value| page["items"].as_array().map_or(0, Vec::len);
    assert_eq!((count(&first), count(&rest)), (3, 4));
    assert!(rest["next_cursor"].is_null());
    ada.get("/users?limit=0").await.refused(422);
    ada.get("/users?limit=x").await.refused(400);
    assert_eq!(ada.post(&format!("/users/{}/invite", wes["id"].as_str().expect("an id")), json!({})).await.status, 202);
    assert_eq!(mails_queued(&world.store, "invitation").await.len(), 2);
}

async fn a_change_needs_the_version_that_was_read(world: World) {
    let ada = world.ada().await;
    let path = format!("/agencies/{}", world.riverbend);
    let read = ada.get(&path).await;
    let version = read.header("etag").to_owned();
    let change = json!({"name": "Riverbend"});
    let unconditional = ada.request(reqwest::Method::PATCH, &path).json(&change);
    ada.send("without If-Match", unconditional).await.refused(428);
    ada.patch_at(&path, "\"99\"", change.clone()).await.refused(412);
    let changed = ada.patch_at(&path, &version, change.clone()).await;
    assert_ne!(changed.header("etag"), version);
    assert_eq!(changed.ok()["name"], "Riverbend");
    ada.patch_at(&path, &version, change).await.refused(412);
}

async fn an_address_is_used_once_in_the_installation(world: World) {
    let ada = world.ada().await;
    let new = json!({"display_name": "Omar II", "email": "OMAR@other.example", "role": "caseworker"});
    assert_eq!(ada.post("/users", new).await.refused(409)["code"], "email_in_use");
    let id = world.id_of("ana@demo.example").await;
    ada.patch(&format!("/users/{id}"), json!({"email": "ben@demo.example"})).await.refused(409);
}

async fn the_last_administrator_stays(world: World) {
    let ada = world.ada().await;
    let own = format!("/users/{}", ada.user_id());
    assert_eq!(ada.post(&format!("{own}/deactivate"), json!({})).await.refused(409)["code"], "last_administrator");
    ada.patch(&own, json!({"role": "auditor"})).await.refused(409);
    // Nor does somebody stand in who was invited and never came.
    let new = json!({"display_name": "Wes West", "email": "wes@demo.example", "role": "administrator"});
    let invited = ada.post("/users", new).await.ok();
    assert_eq!(ada.post(&format!("{own}/deactivate"), json!({})).await.refused(409)["code"], "last_administrator");
    let invited = format!("/users/{}", invited["id"].as_str().expect("an id"));
    ada.post(&format!("{invited}/deactivate"), json!({})).await.ok();
    ada.get("/users").await.ok();
}

async fn people_change_what_is_their_own_and_nothing_else(world: World) {
    let ana = world.ana().await;
    let own = format!("/users/{}", ana.user_id());
    let away = json!({"away_from": "2027-07-05", "away_to": "2027-07-16", "cover_user_id": world.id_of("ben@demo.example").await,
        "digest_hour": 9, "languages": ["en", "es"], "tz": "America/Chicago"});
    let changed = ana.patch(&own, away).await.ok();
    assert_eq!(changed["away_to"], "2027-07-16");
    assert_eq!(ana.patch(&own, json!({"away_from": null, "away_to": null})).await.ok()["away_to"], json!(null));
    for (field, value) in [("role", json!("administrator")), ("team_id", json!(null)), ("email", json!("x@y.example"))]
    {
        let problem = ana.patch(&own, json!({field: value, "digest_hour": 10})).await.refused(403);
        assert!(problem["detail"].as_str().expect("a reason").starts_with(field), "{problem}");
    }
    let problem = ana.patch(&own, json!({"active": false})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "unknown_field");
    assert_eq!(ana.get(&own).await.ok()["digest_hour"], 9, "nothing of what was refused is stored");
    for tags in [json!(["é"]), json!(["aa\r\nBcc: x"]), json!(["e"]), json!("en")] {
        ana.patch(&own, json!({"languages": tags})).await.refused(422);
    }
    ana.get(&format!("/users/{}", world.id_of("ben@demo.example").await)).await.refused(404);
    for path in ["/users", "/teams", "/holidays"] {
        let body = json!({"name": "x", "display_name": "x", "email": "x@y.example", "role": "caseworker", "day": "2027-01-01"});
        ana.post(path, body).await.refused(403);
    }
    ana.patch(&format!("/agencies/{}", world.riverbend), json!({"name": "Mine"})).await.refused(403);
}

/// However their colleagues stand by now.
async fn whoever_was_named_may_end_and_the_rest_still_changes(world: World) {
    let (ada, ana, sam) = (world.ada().await, world.ana().await, world.sam().await);
    let ben = world.id_of("ben@demo.example").await;
    let own = format!("/users/{}", ana.user_id());
    ana.patch(&own, json!({"cover_user_id": ben})).await.ok();
    ada.post(&format!("/users/{ben}/deactivate"), json!({})).await.ok();
    ana.patch(&own, json!({"digest_hour": 11})).await.ok();
    ana.patch(&own, json!({"cover_user_id": world.id_of("omar@other.example").await})).await.refused(422);
    let team = ada.get(&own).await.ok()["team_id"].as_str().expect("a team").to_owned();
    ada.post(&format!("/users/{}/deactivate", sam.user_id()), json!({})).await.ok();
    ada.patch(&format!("/teams/{team}"), json!({"name": "North of the river"})).await.ok();
    ada.post(&format!("{own}/deactivate"), json!({})).await.ok();
    ada.post(&format!("{own}/reset_password"), json!({})).await.refused(409);
}

async fn what_people_are_refused_stands_in_the_trail(world: World) {
    let (ada, omar) = (world.ada().await, world.omar().await);
    let ana = world.id_of("ana@demo.example").await;
    let denied = async || {
        let text = "select count(*) from audit_event where action = 'denied'";
        let row =
            entities::sql::one(world.store.connection(), text, vec![]).await.expect("the trail").expect("a count");
        row.try_get_by_index::<i64>(0).expect("a number")
    };
    omar.get(&format!("/users/{ana}")).await.refused(404);
    ada.get("/users/user-of-nobody").await.refused(404);
    ada.post(&format!("/users/{}/deactivate", omar.user_id()), json!({})).await.refused(404);
    ada.get(&format!("/agencies/{}", world.hillside)).await.refused(404);
    ada.post("/devices/no-such-device/wipe", json!({})).await.refused(404);
    assert_eq!(denied().await, 5);
}

async fn another_agency_does_not_exist(world: World) {
    let omar = world.id_of("omar@other.example").await;
    let ada = world.ada().await;
    ada.get(&format!("/users/{omar}")).await.refused(404);
    ada.get(&format!("/agencies/{}", world.hillside)).await.refused(404);
    ada.post(&format!("/users/{omar}/deactivate"), json!({})).await.refused(404);
    let own = format!("/users/{}", world.id_of("ana@demo.example").await);
    let problem = ada.patch(&own, json!({"cover_user_id": omar})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "unknown");
    assert_eq!(ada.get("/agencies").await.ok()["items"].as_array().map(Vec::len), Some(1));
}

async fn settings_that_make_no_sense_are_all_named(world: World) {
    let ada = world.ada().await;
    let path = format!("/agencies/{}", world.riverbend);
    for days in [json!([]), json!([1, 1]), json!([1, 2, 3, 4, 5, 6, 7, 1]), json!([1.5])] {
        ada.patch(&path, json!({"work_days": days})).await.refused(422);
    }
    assert_eq!(ada.patch(&path, json!({"work_days": [1.0, 2]})).await.ok()["work_days"], json!([1, 2]));
    let wrong = json!({"tz": "Mars/Olympus", "work_days": [0], "quiet_from": "25:00", "settings": []});
    let problem = ada.patch(&path, wrong).await.refused(422);
    let named: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|fault| fault["pointer"].clone()).collect();
    assert_eq!(named, [json!("/tz"), json!("/work_days"), json!("/quiet_from"), json!("/settings")]);
    let problem = ada.post("/users", json!({"email": "x", "id": "mine"})).await.refused(422);
    let named: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|fault| fault["pointer"].clone()).collect();
    assert_eq!(named, [json!("/display_name"), json!("/email"), json!("/role"), json!("/id")]);
}

async fn a_setting_that_is_not_named_stays(world: World) {
    let ada = world.ada().await;
    let path = format!("/agencies/{}", world.riverbend);
    for (patch, left) in [
        (json!({"first": {"days": 3, "hour": 8}, "second": 1}), json!({"first": {"days": 3, "hour": 8}, "second": 1})),
        (json!({"first": {"days": 5}}), json!({"first": {"days": 5, "hour": 8}, "second": 1})),
        (json!({"first": {"hour": null}, "second": null}), json!({"first": {"days": 5}})),
    ] {
        assert_eq!(ada.patch(&path, json!({"settings": patch})).await.ok()["settings"], left, "{patch}");
    }
}

async fn a_holiday_stands_once_and_can_be_taken_out(world: World) {
    let ada = world.ada().await;
    let day = json!({"day": "2027-07-05", "name": "Independence Day (observed)"});
    let made = ada.post("/holidays", day.clone()).await.ok();
    ada.post("/holidays", day).await.refused(409);
    ada.post("/holidays", json!({"day": "2027-02-30", "name": "Never"})).await.refused(422);
    assert_eq!(world.ana().await.get("/holidays").await.ok()["items"][0]["day"], "2027-07-05");
    let path = format!("/holidays/{}", made["id"].as_str().expect("an id"));
    assert_eq!(ada.delete(&path).await.status, 204);
    ada.delete(&path).await.refused(404);
}

async fn staff_follow_their_users(world: World) {
    let (ada, ben) = (world.ada().await, world.ben().await);
    let pull = |since: i64| format!("/sync?last_pulled_at={since}&schema_version=1");
    let first = ben.get(&pull(0)).await.ok();
    let all = first["changes"]["staff"]["updated"].as_array().expect("staff").len();
    assert_eq!(all, 6, "everyone of Riverbend and nobody of Hillside");
    let id = world.id_of("ana@demo.example").await;
    ada.patch(&format!("/users/{id}"), json!({"display_name": "Ana Ortiz-Bell"})).await.ok();
    ada.patch(&format!("/users/{id}"), json!({"digest_hour": 5})).await.ok();
    let then = ben.get(&pull(first["timestamp"].as_i64().expect("a number"))).await.ok();
    let changed = then["changes"]["staff"]["updated"].as_array().expect("staff");
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["display_name"], "Ana Ortiz-Bell");
    for secret in ["email", "password_hash", "digest_hour"] {
        assert!(changed[0].get(secret).is_none(), "{secret}");
    }
}

async fn a_team_cannot_stand_above_itself(world: World) {
    let ada = world.ada().await;
    let upper = ada.post("/teams", json!({"name": "Upper"})).await.ok();
    let lower = ada.post("/teams", json!({"name": "Lower", "parent_team_id": upper["id"]})).await.ok();
    let path = format!("/teams/{}", upper["id"].as_str().expect("an id"));
    let problem = ada.patch(&path, json!({"parent_team_id": lower["id"]})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "circle");
    ada.patch(&path, json!({"parent_team_id": upper["id"]})).await.refused(422);
}

async fn a_name_is_one_line_that_can_be_seen(world: World) {
    let ada = world.ada().await;
    let agency = format!("/agencies/{}", world.riverbend);
    let user = format!("/users/{}", world.id_of("ana@demo.example").await);
    let team =
        format!("/teams/{}", ada.post("/teams", json!({"name": "West"})).await.ok()["id"].as_str().expect("an id"));
    let org = ada.post("/organizations", json!({"name": "Harbor"})).await.ok();
    let org = format!("/organizations/{}", org["id"].as_str().expect("an id"));
    for wrong in
        ["\u{200b}", " \u{feff}", "\u{3164}", "Ana\u{2028}Ortiz", "Ana\u{202e}zitrO", "Ana\u{2066}Ortiz", "Ana\nOrtiz"]
    {
        for (path, field) in [(&agency, "name"), (&user, "display_name"), (&team, "name"), (&org, "name")] {
            let problem = ada.patch(path, json!({field: wrong})).await.refused(422);
            assert_eq!(problem["errors"][0]["pointer"], json!(format!("/{field}")), "{wrong:?}: {problem}");
            assert_eq!(problem["errors"].as_array().map(Vec::len), Some(1), "{problem}");
        }
        let new = json!({"display_name": wrong, "email": "wes@demo.example", "role": "caseworker"});
        ada.post("/users", new).await.refused(422);
        ada.post("/teams", json!({"name": wrong})).await.refused(422);
    }
    for right in ["Zoë O\u{2019}Neil", "\u{645}\u{6cc}\u{200c}\u{62f}"] {
        ada.patch(&user, json!({"display_name": right})).await.ok();
        ada.patch(&org, json!({"name": right})).await.ok();
    }
}

async fn a_change_may_name_several_versions(world: World) {
    let ada = world.ada().await;
    let path = format!("/agencies/{}", world.riverbend);
    let version = async || ada.get(&path).await.header("etag").to_owned();
    let change = json!({"name": "Riverbend"});
    let now = version().await;
    ada.patch_at(&path, &format!("\"a,b\", {now}"), change.clone()).await.ok();
    for (tags, status) in [("\"a,b\"", 412), ("\"a\" \"b\"", 400), ("a", 400), ("\"a", 400), ("", 400)] {
        ada.patch_at(&path, tags, change.clone()).await.refused(status);
    }
}
