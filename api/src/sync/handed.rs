//! What a device hands over beside its pushes, whatever face it speaks: rows that a reply is about to take from it,
//! rows that a restored server may have lost, rows on a device that was shut out.
//!
//! The body has the shape of a WatermelonDB push; of what was not sent, that of a native one will do too. A lost device is told to erase itself (403 `device_wiped`) from every
//! path, and what it had not sent would go with the rest. So it may hand that over once more, by the refresh token
//! that it holds and that opens nothing else: into quarantine, where people decide.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use entities::people::session as sessions;
use entities::sync::{self, HandedOver, MAX_ROWS, devices};
use serde_json::{Value, json};

use super::{asked, document, native};
use crate::openapi::schema;
use crate::operation::{Access, Op, STAFF};
use crate::problem::{Answer, Problem};
use crate::session::{Session, bearer};
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        op("/sync/quarantine", "rescue", rescue)
            .says("sync", "Keep rows that a reply is about to take from this device")
            .detail("The body has the shape of a push. Nothing is applied; the people it concerns are told.")
            .access(Access::Roles(STAFF))
            .gives(200, "Kept", document::count("kept"), json!({"kept": 1}))
            .errors(&[413, 415]),
        op("/sync/salvage", "salvage", salvage)
            .says("sync", "Offer rows that a restored server may have lost")
            .detail(
                "After epoch_changed, or when a reply's epoch has risen: send the rows this device holds as synced, in \
                 the shape of a push. Those the server does not have are stored, and what was changed in others after the \
                 backup is brought back; the latest state that any device offers stands.",
            )
            .access(Access::Roles(STAFF))
            .gives(200, "Stored", document::count("stored"), json!({"stored": 1}))
            .errors(&[413, 415]),
        op("/sync/farewell", "farewell", farewell)
            .says("sync", "Hand over unsent work before erasing a device that was shut out")
            .detail(
                "The refresh token is sent as the bearer token. Open to a device that was reported lost or signed out \
                 by a person, or whose account was closed. The body has the shape of a push. Nothing is applied; the \
                 people it concerns are told. One device may hand over 5,000 rows; then the answer is 409 `handed_over`.",
            )
            .access(Access::Public)
            .gives(200, "Kept", document::count("kept"), json!({"kept": 1}))
            .errors(&[401, 409, 413, 415]),
    ]
}

fn op<F, Args>(path: &str, id: &str, handler: F) -> Op
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    Op::new(Method::POST, path, id, handler).takes(schema("Push"), document::push_example())
}

async fn rescue(req: HttpRequest, state: web::Data<State>, session: Session, payload: web::Payload) -> Answer {
    let body = handed_over(asked::body(&req, payload).await?)?;
    let kept = sync::rescue(&state.store, &session.actor, body).await.map_err(asked::refused)?;
    Ok(HttpResponse::Ok().json(json!({"kept": kept})))
}

/// A body in the shape of a push, WatermelonDB's or the native one.
fn handed_over(body: Value) -> Result<HandedOver, Problem> {
    if !body.get("mutations").is_some_and(Value::is_array) {
        return Ok(body.into());
    }
    let (_, mutations) = native::read(&body)?;
    Ok(HandedOver::Mutations(mutations.into_iter().flatten().collect()))
}

async fn salvage(req: HttpRequest, state: web::Data<State>, session: Session, payload: web::Payload) -> Answer {
    let body = asked::body(&req, payload).await?;
    if body.get("mutations").is_some_and(Value::is_array) {
        let shape =
            "offer the rows that the device holds, as {table: {created, updated, deleted}}: mutations are pushed";
        return Err(Problem::malformed(shape));
    }
    let stored = sync::salvage(&state.store, &session.actor, body).await.map_err(asked::refused)?;
    Ok(HttpResponse::Ok().json(json!({"stored": stored})))
}

async fn farewell(req: HttpRequest, state: web::Data<State>, payload: web::Payload) -> Answer {
    let found = sessions::leaving(state.store.connection(), bearer(&req)?).await?;
    let (actor, since) = found.ok_or(Problem::Unauthorized("session_over"))?;
    let device = actor.device_id.clone().unwrap_or_default();
    let there = devices::quarantined_since(state.store.connection(), actor.user(), &device, since).await?;
    if there >= MAX_ROWS as i64 {
        let detail = format!("This device has handed over {MAX_ROWS} rows; no more are kept.");
        return Err(Problem::Conflict { code: "handed_over", detail, conflicts: Vec::new() });
    }
    let body = handed_over(asked::body(&req, payload).await?)?;
    let kept = sync::farewell(&state.store, &actor, body).await.map_err(asked::refused)?;
    Ok(HttpResponse::Ok().json(json!({"kept": kept})))
}
