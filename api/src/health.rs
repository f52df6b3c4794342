//! Is the process alive, and can it serve?

use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::instance;
use entities::people::agency;
use entities::workflow::gauges;
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
        Ok((agencies, sends)) => {
            // What cannot be asked is told by the probe the next time.
            let unreached = gauges::unreached(state.store.connection()).await.unwrap_or_default();
            let mail = match unreached {
                _ if !sends => "held until `fieldstone admin confirm-instance`".to_owned(),
                Some((since, said)) => format!("no mail server is reached since {}: {said}", since.rfc3339()),
                None => "goes out".to_owned(),
            };
            let storage = if state.room.is_full(state.now()) { "full: writes are refused" } else { "ok" };
            HttpResponse::Ok().json(json!({
                "ready": true, "database": "ok", "storage": storage, "agencies": agencies, "mail": mail
            }))
        }
        Err(why) => HttpResponse::ServiceUnavailable().json(json!({"ready": false, "database": why})),
    }
}

/// How many agencies there are, and whether mail goes out.
async fn probe(state: &State) -> Result<(usize, bool), String> {
    let conn = state.store.connection();
    let asked = async { Ok((agency::all(conn).await?.len(), instance::sends(conn).await?)) };
    match tokio::time::timeout(Duration::from_secs(2), asked).await {
        Ok(answer) => answer.map_err(|why: entities::Error| why.to_string()),
        Err(_) => Err("no answer within 2 s".into()),
    }
}
