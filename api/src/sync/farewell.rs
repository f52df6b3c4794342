//! `POST /sync/farewell`: what a device that was shut out has not sent yet.
//!
//! A lost device is told to erase itself (403 `device_wiped`) from every path, and what it had not sent
//! would go with the rest. So it may hand that over once more, by the refresh token that it holds
//! and that opens nothing else: into quarantine, where people decide.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use entities::people::session as sessions;
use entities::sync::{self, MAX_ROWS, devices};
use serde_json::json;

use super::asked;
use crate::body::Limits;
use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::state::State;

pub(super) fn operation() -> Op {
    Op::new(Method::POST, "/sync/farewell", "farewell", farewell)
        .says("sync", "Hand over unsent work before erasing a device that was shut out")
        .detail(
            "The refresh token is sent as the bearer token. Open to a device that was reported lost or signed out by a \
             person, or whose account was closed. The body has the shape of a push. Nothing is applied; the people it \
             concerns are told. At most 5,000 rows from one device.",
        )
        .access(Access::Public)
        .takes(json!({"type": "object"}), json!({"notes": {"created": [], "updated": [], "deleted": []}}))
        .gives(200, "Kept", json!({"type": "object"}), json!({"kept": 0}))
        .errors(&[401, 413, 415])
}

async fn farewell(req: HttpRequest, state: web::Data<State>, payload: web::Payload) -> Answer {
    let sent = req.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = sent.and_then(|text| text.split_once(' ')).map(|(_, token)| token.trim());
    let token = token.ok_or(Problem::Unauthorized("token_missing"))?;
    let found = sessions::leaving(state.store.connection(), token).await?;
    let (actor, since) = found.ok_or(Problem::Unauthorized("session_over"))?;
    let device = actor.device_id.clone().unwrap_or_default();
    let there = devices::quarantined_since(state.store.connection(), actor.user(), &device, since).await?;
    if there >= MAX_ROWS as i64 {
        return Err(Problem::TooLarge { max_bytes: Limits::SYNC.inflated, max_rows: Some(MAX_ROWS) });
    }
    let body = asked::body(&req, payload).await?;
    let kept = sync::farewell(&state.store, &actor, body).await.map_err(asked::refused)?;
    Ok(HttpResponse::Ok().json(json!({"kept": kept})))
}
