//! Every operation of the document, called by everyone it is not for.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Person, World, everybodys_hash, on_both};

on_both!(
    nobody_calls_an_operation_without_a_session,
    nobody_calls_an_operation_that_is_not_for_their_role,
    every_path_of_the_document_is_served,
    answers_carry_safe_headers_whatever_they_are,
);

struct Described {
    method: Method,
    path: String,
    roles: Option<Vec<String>>,
}

/// Every operation, with names in its path filled in.
async fn described(world: &World) -> Vec<Described> {
    let document = world.stranger().get("//openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let roles = operation.get("x-roles").and_then(Value::as_array);
            let words = roles.map(|roles| roles.iter().filter_map(|role| role.as_str().map(str::to_owned)).collect());
            assert_eq!(operation["security"] == json!([]), roles.is_none(), "{method} {path}");
            let path = path.split('/').map(|part| if part.starts_with('{') { "0197a5c2" } else { part });
            all.push(Described {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.collect::<Vec<_>>().join("/"),
                roles: words,
            });
        }
    }
    assert!(all.len() > 30);
    all
}

/// Its status, and what it says of itself, when this person calls it with an empty object.
async fn call(person: &Person, op: &Described) -> (u16, String) {
    let path = op.path.strip_prefix("/api/v1").map_or(format!("/{}", op.path), str::to_owned);
    let request = person.request(op.method.clone(), &path);
    let request = if op.method == Method::GET { request } else { request.json(&json!({})) };
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    (status, kind)
}

async fn nobody_calls_an_operation_without_a_session(world: World) {
    for op in described(&world).await.iter().filter(|op| op.roles.is_some()) {
        let (status, kind) = call(&world.stranger(), op).await;
        assert_eq!((status, kind.as_str()), (401, "application/problem+json"), "{} {}", op.method, op.path);
    }
}

async fn nobody_calls_an_operation_that_is_not_for_their_role(world: World) {
    let ada = world.ada().await;
    let new = json!({"display_name": "Audra", "email": "audra@demo.example", "role": "auditor"});
    let audra = ada.post("/users", new).await.ok();
    let mut write = world.store.write(&entities::Actor::system(&world.riverbend)).await.expect("the door opens");
    let id = audra["id"].as_str().expect("an id");
    entities::people::user::set_password(&mut write, id, everybodys_hash().await, None).await.expect("set");
    write.commit().await.expect("stored");
    let audra = world.person("audra@demo.example").await;
    let mut denied = 0;
    for op in described(&world).await {
        let Some(roles) = &op.roles else { continue };
        for person in [world.ana().await, world.sam().await, ada.clone(), audra.clone()] {
            let role = person.session()["user"]["role"].as_str().expect("a role").to_owned();
            if !roles.contains(&role) {
                let (status, _) = call(&person, &op).await;
                assert_eq!(status, 403, "{} {} by {role}", op.method, op.path);
                denied += 1;
            }
        }
    }
    let snapshot = world.store.read().await.expect("a snapshot");
    let rows = entities::sql::all(&*snapshot, "select reason from audit_event where action = 'denied'", vec![]).await;
    assert_eq!(rows.expect("the trail").len(), denied, "every denial stands in the audit trail");
}

async fn every_path_of_the_document_is_served(world: World) {
    for op in described(&world).await {
        let (status, _) = call(&world.stranger(), &op).await;
        assert_ne!(status, 405, "{} {}", op.method, op.path);
        let a_row = op.path.contains("0197a5c2");
        assert!(status != 404 || a_row, "{} {}", op.method, op.path);
    }
    let problem = world.stranger().delete("/me").await;
    assert_eq!(problem.header("allow"), "GET, HEAD");
    problem.refused(405);
    world.stranger().get("/nothing/here").await.refused(404);
    world.stranger().get("//nothing").await.refused(404);
}

async fn answers_carry_safe_headers_whatever_they_are(world: World) {
    let ana = world.ana().await;
    let https = world.serve_with(|config| config.public_url = "https://help.example".into());
    let answers = [
        ana.get("/me").await,
        ana.get("/nothing").await,
        ana.get("//docs/").await,
        ana.get("//healthz").await,
        world.stranger().get("/me").await,
        world.stranger().get("//password/none").await,
    ];
    let mut ids = Vec::new();
    for answer in answers {
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")]
        {
            assert_eq!(answer.header(name), value, "{}", answer.asked);
        }
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{}", answer.asked);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{}", answer.asked);
        assert_eq!(answer.header("strict-transport-security"), "", "{}", answer.asked);
        ids.push(answer.header("x-request-id").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each request has an id of its own");
    let answer = Person::at(&https, "x@y.example").get("//healthz").await;
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
}
