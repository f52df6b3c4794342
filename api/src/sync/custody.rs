//! Quarantined work over REST: read it, accept it, re-home it, discard it.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::registry::{Table, table};
use entities::sync::custody::{self, Decision};
use entities::{Actor, Role};
use serde_json::json;

use crate::body::JsonBody;
use crate::columns::ID;
use crate::form::Form;
use crate::operation::Op;
use crate::problem::{Answer, Problem};
use crate::rest::list::witness;
use crate::rest::watched;
use crate::session::Session;
use crate::state::State;

/// Those who have cases.
const CASE_ROLES: &[Role] = &[Role::Caseworker, Role::Supervisor];

pub(super) fn operations() -> Vec<Op> {
    let reason = json!({"type": "object", "required": ["reason"], "additionalProperties": false,
        "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 1000}}});
    let rehome = json!({"type": "object", "required": ["reason", "case_id"], "additionalProperties": false,
        "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 1000}, "case_id": {"type": "string", "pattern": ID}}});
    let settled = json!({"status": "accepted"});
    let outcome = json!({"type": "object", "required": ["status"],
        "properties": {"status": {"enum": ["accepted", "rehomed", "discarded"]}}});
    let text = json!({"type": "string"});
    let kept = json!({"type": "object", "required": ["table", "row_id", "author", "op", "reason", "state", "sent"],
        "properties": {"table": text, "row_id": text, "case_id": {"type": ["string", "null"]}, "author": text,
            "op": {"enum": ["create", "update", "delete", "action"]}, "reason": text, "state": text, "sent": {"type": "object"}}});
    let example = json!({"reason": "Talked it over with Ana"});
    let case = "0190a0b0-0000-7000-8000-000000000002";
    let decision = |name: &str, summary: &str| {
        let path = format!("/sync_issues/{{id}}/{name}");
        let op = match name {
            "accept" => Op::new(Method::POST, &path, "sync_issue_accept", accept),
            "rehome" => Op::new(Method::POST, &path, "sync_issue_rehome", rehomes),
            _ => Op::new(Method::POST, &path, "sync_issue_discard", discard),
        };
        op.says("sync", summary)
            .only(CASE_ROLES)
            .gives(200, "Settled", outcome.clone(), settled.clone())
            .errors(&[403, 404, 409, 422])
    };
    vec![
        Op::new(Method::GET, "/sync_issues/{id}/work", "sync_issue_work", work)
            .says("sync", "The quarantined work an issue is about")
            .only(CASE_ROLES)
            .gives(
                200,
                "What was sent, by whom, and why it was not applied",
                kept,
                json!({"table": "notes", "row_id": case, "op": "create", "author": case, "reason": "the case is not yours",
                    "state": "open", "sent": {"body": "Visited at home."}}),
            )
            .errors(&[403, 404]),
        decision("accept", "Apply quarantined work where it belongs").takes(reason.clone(), example.clone()),
        decision("rehome", "Apply quarantined work to another case")
            .takes(rehome, json!({"reason": "Noted on the wrong case", "case_id": case})),
        decision("discard", "Leave quarantined work unapplied; it stays readable").takes(reason, example),
    ]
}

async fn work(state: web::Data<State>, session: Session, path: web::Path<String>) -> Answer {
    watched(read(&state, &session.actor, &path).await, &state, &session.actor, "work", issues()?, &path).await
}

async fn read(state: &State, actor: &Actor, issue_id: &str) -> Answer {
    let (kept, row) = custody::work(&state.store, actor, issue_id).await?;
    witness(&state.store, actor, &[row]).await?;
    Ok(HttpResponse::Ok().json(json!({
        "table": kept.table.name, "row_id": kept.row_id, "case_id": kept.case_id, "author": kept.author, "op": kept.op,
        "reason": kept.reason, "state": kept.state, "sent": kept.raw,
    })))
}

fn issues() -> Result<&'static Table, Problem> {
    table("sync_issues").ok_or(Problem::NotFound)
}

async fn accept(state: web::Data<State>, session: Session, path: web::Path<String>, body: JsonBody) -> Answer {
    decide(&state, &session, &path, body, |_| Decision::Accept).await
}

async fn rehomes(state: web::Data<State>, session: Session, path: web::Path<String>, body: JsonBody) -> Answer {
    decide(&state, &session, &path, body, |form| Decision::Rehome(form.text("case_id", 8, 64))).await
}

async fn discard(state: web::Data<State>, session: Session, path: web::Path<String>, body: JsonBody) -> Answer {
    decide(&state, &session, &path, body, |_| Decision::Discard).await
}

async fn decide(
    state: &State,
    session: &Session,
    issue_id: &str,
    body: JsonBody,
    read: impl FnOnce(&mut Form) -> Decision,
) -> Answer {
    let mut form = Form::new(body.0)?;
    let decision = read(&mut form);
    let reason = form.text("reason", 1, 1000);
    form.finish()?;
    let status = decision.status();
    let done = custody::decide(&state.store, &session.actor, issue_id, decision, &reason).await;
    let answer = done.map(|()| HttpResponse::Ok().json(json!({"status": status}))).map_err(Problem::from);
    watched(answer, state, &session.actor, status, issues()?, issue_id).await
}
