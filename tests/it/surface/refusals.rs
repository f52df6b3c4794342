//! What a generator found that was taken and should not have been, or refused in the wrong words.

use reqwest::Method;
use serde_json::{Value, json};

use super::document::{a_goal, text};
use crate::support::{Answer, Person, World, on_both};

on_both!(
    a_parameter_of_sync_that_is_named_twice_or_is_no_answer_is_refused,
    rows_named_twice_are_repaired_once,
    what_a_filter_refuses_it_names,
    a_header_that_is_no_tag_is_malformed,
    a_value_that_is_none_is_told_before_the_version_is_compared,
    an_empty_word_is_none_of_the_list,
    the_form_of_a_dead_link_is_gone_whatever_is_typed,
    a_whole_number_may_be_written_with_a_point,
    a_nul_in_a_path_or_a_query_is_no_fault_of_ours,
    what_is_read_may_be_asked_for_its_head_alone,
);

async fn what_is_read_may_be_asked_for_its_head_alone(world: World) {
    let (ana, _, goal) = a_goal(&world).await;
    let path = format!("/goals/{goal}");
    let head = async |path: &str| ana.send(&format!("HEAD {path}"), ana.request(Method::HEAD, path)).await;
    let (read, asked) = (ana.get(&path).await, head(&path).await);
    assert_eq!((asked.status, asked.text.as_str()), (200, ""));
    for name in ["etag", "content-type", "content-length"] {
        assert_eq!(asked.header(name), read.header(name), "{name}");
    }
    assert_eq!(head("/goals/0192f0c1-7a1b-7000-8000-000000000000").await.status, 404);
    assert_eq!(head("/teams").await.status, ana.get("/teams").await.status);
    // A pull that nobody reads would count as told, and the stream has no end.
    for path in ["/sync", "/sync/pull", "/sync/live"] {
        assert_eq!(head(path).await.status, 405, "{path}");
    }
    let health = reqwest::Client::new().head(format!("{}/healthz", world.url)).send().await.expect("an answer");
    assert_eq!(health.status(), 200);
}

async fn changes(person: &Person, path: &str, version: &str, body: Value) -> Answer {
    person.patch_at(path, version, body).await
}

async fn a_parameter_of_sync_that_is_named_twice_or_is_no_answer_is_refused(world: World) {
    let ana = world.ana().await;
    for path in [
        "/sync?schema_version=1&schema_version=1",
        "/sync?pending=perhaps",
        "/sync?epoch=-1",
        "/sync?migration=5",
        "/sync/pull?limit=1&limit=2",
        "/sync/rxdb/goals/pull?limit=1&limit=1",
        "/sync/digest?case_id=a&case_id=b",
        "/sync/digest?table=nothing",
        "/sync/digest?table=goals&case_id=a",
    ] {
        ana.get(path).await.refused(400);
    }
    for path in ["/sync?pending=null&epoch=undefined&salvaged=&migration=null", "/sync?pending=true", "/sync?pending=0"]
    {
        ana.get(path).await.ok();
    }
}

async fn rows_named_twice_are_repaired_once(world: World) {
    let (ana, _, goal) = a_goal(&world).await;
    let row = json!({"table": "goals", "id": goal});
    assert_eq!(ana.post("/sync/repair", json!({"rows": [row, row, row]})).await.ok(), json!({"rows": 1}));
}

async fn what_a_filter_refuses_it_names(world: World) {
    let ana = world.ana().await;
    let many = vec!["0192f0c1-7a1b"; 101].join(",");
    for wrong in ["", "a,b", &many] {
        let problem = ana.get(&format!("/goals?case_id={wrong}")).await.refused(422);
        assert_eq!(problem["errors"][0]["code"], "id", "{problem}");
    }
}

async fn a_header_that_is_no_tag_is_malformed(world: World) {
    let (ana, _, goal) = a_goal(&world).await;
    let ada = world.ada().await;
    let team = text(&ada.post("/teams", json!({"name": "West"})).await.ok()["id"]);
    let (goal, team) = (format!("/goals/{goal}"), format!("/teams/{team}"));
    for wrong in ["", "5", "\"5", "null"] {
        changes(&ana, &goal, wrong, json!({"statement": "x"})).await.refused(400);
        let act = ana.request(Method::POST, &format!("{goal}/propose")).header("if-match", wrong).json(&json!({}));
        ana.send("propose", act).await.refused(400);
        changes(&ada, &team, wrong, json!({"name": "x"})).await.refused(400);
    }
    for other in ["\"5\"", "W/\"x\""] {
        changes(&ana, &goal, other, json!({"statement": "x"})).await.refused(412);
        changes(&ada, &team, other, json!({"name": "x"})).await.refused(412);
    }
    changes(&ana, "/goals/0192f0c1-7a1b", "5", json!({})).await.refused(404);
}

async fn a_value_that_is_none_is_told_before_the_version_is_compared(world: World) {
    let (ana, case, goal) = a_goal(&world).await;
    let path = format!("/goals/{goal}");
    let problem = changes(&ana, &path, "\"5\"", json!({"due_on": "soon", "statement": 5})).await.refused(422);
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2), "{problem}");
    // What the caller read may have been otherwise, so that is not told of an old version.
    changes(&ana, &path, "\"5\"", json!({"lifecycle": "active", "case_id": "0192f0c1-7a1b"})).await.refused(412);
    let path = format!("/cases/{case}/screen_out");
    let act = |body: Value| ana.request(Method::POST, &path).header("if-match", "\"5\"").json(&body);
    ana.send("screen out", act(json!({"status_reason": 5}))).await.refused(422);
    ana.send("screen out", act(json!({"status_reason": "Moved away"}))).await.refused(412);
}

async fn an_empty_word_is_none_of_the_list(world: World) {
    let (ana, case, goal) = a_goal(&world).await;
    let problem = ana.patch(&format!("/goals/{goal}"), json!({"life_area": ""})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "unknown_code");
    ana.patch(&format!("/goals/{goal}"), json!({"life_area": null})).await.ok();
    ana.post("/goals", json!({"case_id": case, "level": "", "statement": "x"})).await.refused(422);
}

async fn the_form_of_a_dead_link_is_gone_whatever_is_typed(world: World) {
    let stranger = world.stranger();
    let form = stranger.request(Method::POST, "//password/no-such-secret").body("password=one&again=other");
    assert_eq!(stranger.send("the form", form).await.status, 404);
}

async fn a_whole_number_may_be_written_with_a_point(world: World) {
    let (ana, _, goal) = a_goal(&world).await;
    let path = format!("/goals/{goal}/restore");
    let send = |body: &'static str| {
        let request = ana.request(Method::POST, &path).header("content-type", "application/json").body(body);
        let ana = ana.clone();
        async move { ana.send(body, request).await }
    };
    for (body, code) in [("{\"seq\": 5.0}", "unknown"), ("{\"seq\": 5.5}", "required")] {
        assert_eq!(send(body).await.refused(422)["errors"][0]["code"], code, "{body}");
    }
    let me = format!("/users/{}", ana.user_id());
    let body = "{\"digest_hour\": 7.0}";
    let change = ana.request(Method::PATCH, &me).header("if-match", "*").header("content-type", "application/json");
    ana.send("digest hour", change.body(body)).await.ok();
}

async fn a_nul_in_a_path_or_a_query_is_no_fault_of_ours(world: World) {
    let (ana, ada) = (world.ana().await, world.ada().await);
    let nul = "%00".repeat(8);
    for path in ["/sync/digest?case_id=", "/goals?cursor=", "/sync/pull?cursor=", "/devices?user_id=", "/users?cursor="]
    {
        for person in [&ana, &ada] {
            let status = person.get(&format!("{path}{nul}")).await.status;
            assert!(status < 500, "{path} {status}");
        }
    }
    for path in [
        "/sync_issues/{}/work",
        "/goals/{}/history",
        "/users/{}",
        "/teams/{}",
        "/agencies/{}",
        "/cases/{}/workflow",
        "/sync/rxdb/{}/pull",
        "//password/{}",
    ] {
        let path = path.replace("{}", &nul);
        for person in [&ana, &ada] {
            let status = person.get(&path).await.status;
            assert!(status == 404 || status == 403, "{path} {status}");
        }
    }
    for path in [
        "/users/{}/deactivate",
        "/users/{}/invite",
        "/devices/{}/revoke",
        "/devices/{}/wipe",
        "/refused_addresses/{}/lift",
        "/goals/{}/restore",
        "/sync_issues/{}/accept",
        "/cases/{}/assignments",
    ] {
        let path = path.replace("{}", &nul);
        for person in [&ana, &ada] {
            let status = person.post(&path, json!({"reason": "why", "seq": 1})).await.status;
            assert!(status < 500, "{path} {status}");
        }
    }
    assert!(ada.delete(&format!("/holidays/{nul}")).await.status < 500);
}
