//! Operation by role, read from the document: who is let in where, tried with real rows.

use reqwest::Method;
use serde_json::Value;

use super::scene::{fills, harbor, opens_a_case, text};
use crate::support::{Answer, Person, World, on_both};

on_both!(the_document_says_who_is_let_in_and_nobody_else_is);

/// One operation as the document tells it.
#[derive(Debug)]
struct Told {
    method: Method,
    /// Path below `/api/v1`.
    path: String,
    roles: Vec<String>,
    example: Option<Value>,
}

fn told(document: &Value) -> Vec<Told> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let Some(path) = path.strip_prefix("/api/v1") else { continue };
        for (method, op) in methods.as_object().expect("methods") {
            if op["security"].as_array().is_none_or(Vec::is_empty) {
                continue;
            }
            let content = op["requestBody"]["content"].as_object().and_then(|content| content.values().next());
            all.push(Told {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.to_owned(),
                roles: op["x-roles"].as_array().expect("x-roles").iter().map(text).collect(),
                example: op
                    .get("requestBody")
                    .map(|_| content.map_or(Value::Null, |content| content["example"].clone())),
            });
        }
    }
    all
}

/// Tries an operation on the row of its table, with the example of the document.
async fn tries(who: &Person, op: &Told, rows: &[(&'static str, String)]) -> Answer {
    let table = op.path.split('/').nth(1).unwrap_or_default();
    let id = rows.iter().find(|(name, _)| *name == table).map_or("row-of-nobody", |(_, id)| id);
    let path = op.path.replace("{id}", id).replace("{table}", "goals");
    let path = path.split('{').next().unwrap_or_default().to_owned();
    let mut request = who.request(op.method.clone(), &path).header("if-match", "*");
    if let Some(example) = &op.example {
        request = request.json(example);
    }
    let asked = format!("{} {} {path}", who.email, op.method);
    Answer::of(asked, request.send().await).await
}

async fn the_document_says_who_is_let_in_and_nobody_else_is(world: World) {
    let (org, pat) = harbor(&world).await;
    let (ana, sam, ada) = (world.ana().await, world.sam().await, world.ada().await);
    let outsiders = [world.ben().await, world.cleo().await, world.sol().await, world.omar().await];
    let case = opens_a_case(&ana).await;
    let rows = fills(&ana, &case, &org).await;
    let gone = world.cleo().await;
    leaves(&world, &gone).await;
    let document = ana.get("//openapi.json").await.ok();
    let all = told(&document);
    assert!(all.len() > 80, "{} operations", all.len());
    for op in &all {
        assert_eq!(tries(&world.stranger(), op, &rows).await.status, 401, "{op:?}");
        let answer = tries(&gone, op, &rows).await;
        assert_eq!(answer.status, 401, "{}", answer.asked);
        for (who, role) in [(&ana, "caseworker"), (&sam, "supervisor"), (&ada, "administrator"), (&pat, "partner")] {
            if !op.roles.iter().any(|allowed| allowed == role) {
                tries(who, op, &rows).await.refused(403);
            }
        }
        let table = op.path.split('/').nth(1).unwrap_or_default();
        let of_a_case = rows.iter().any(|(name, _)| *name == table);
        for who in outsiders.iter().filter(|who| of_a_case && who.email != gone.email) {
            let role = text(&who.session()["user"]["role"]);
            if !op.roles.contains(&role) {
                continue;
            }
            let answer = tries(who, op, &rows).await;
            if op.path.contains("{id}") {
                answer.refused(404);
            } else if op.method == Method::GET {
                assert!(rows.iter().all(|(_, id)| !answer.text.contains(id)), "{} {}", answer.asked, answer.text);
            } else {
                assert!([201, 404, 422].contains(&answer.status), "{} {}", answer.asked, answer.text);
            }
        }
    }
}

async fn leaves(world: &World, who: &Person) {
    use entities::people::user;
    let mut write = world.store.write(&entities::Actor::system(&world.riverbend)).await.expect("the door");
    let before = user::by_id(write.conn(), &world.riverbend, &who.user_id()).await.expect("users").expect("the user");
    let after = user::Model { active: false, ..before.clone() };
    user::change(&mut write, &before, after).await.expect("a change");
    write.commit().await.expect("a commit");
}
