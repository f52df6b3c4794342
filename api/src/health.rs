//! Is the process alive, and can it serve?

use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::state::State;

/// `/healthz` and `/readyz`.
pub fn operations() -> Vec<Op> {
    vec![
        Op::at_root(Method::GET, "/healthz", "healthz", alive)
            .access(Access::Public)
            .says("operation", "Is the process alive")
            .detail("Answers without asking the database: for a supervisor that restarts what hangs.")
            .answers(200, "It is", Some("text/plain")),
        Op::at_root(Method::GET, "/readyz", "readyz", ready)
            .access(Access::Public)
            .says("operation", "Can it serve requests")
            .detail("Asks the database. For a load balancer; the reason stands on the admin listener.")
            .answers(200, "It can", Some("text/plain")),
    ]
}

/// Alive.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

async fn ready(state: web::Data<State>) -> Answer {
    match probe(&state).await {
        Ok(_) => Ok(HttpResponse::Ok().content_type("text/plain").body("ready\n")),
        Err(_) => Err(Problem::Busy { retry_after: 2 }),
    }
}

/// Ready or not, and why, for operators only.
pub async fn ready_in_detail(state: web::Data<State>) -> HttpResponse {
    match probe(&state).await {
        Ok(agencies) => HttpResponse::Ok().json(json!({"ready": true, "database": "ok", "agencies": agencies})),
        Err(why) => HttpResponse::ServiceUnavailable().json(json!({"ready": false, "database": why})),
    }
}

async fn probe(state: &State) -> Result<usize, String> {
    let asked = entities::people::agency::all(state.store.connection());
    match tokio::time::timeout(Duration::from_secs(2), asked).await {
        Ok(Ok(agencies)) => Ok(agencies.len()),
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err("no answer within 2 s".into()),
    }
}
