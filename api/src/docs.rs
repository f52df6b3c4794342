//! `/openapi.json` and `/docs`: the document and a page to read it on, both out of the binary.

use std::sync::{Mutex, PoisonError};

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::state::State;

/// The page may run its own scripts and styles and call its own origin, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The document and the front page.
pub fn operations() -> Vec<Op> {
    vec![
        Op::at_root(Method::GET, "/openapi.json", "openapi", document)
            .access(Access::Public)
            .says("operation", "This document")
            .gives(200, "OpenAPI 3.1", serde_json::json!({"type": "object"}), serde_json::json!({"openapi": "3.1.0"})),
    ]
}

/// The document of a day.
type Written = Mutex<Option<(i64, Bytes)>>;

async fn document(state: web::Data<State>) -> HttpResponse {
    // Written once a day: it is large, and changes with the days in its examples only.
    static WRITTEN: [Written; 2] = [Mutex::new(None), Mutex::new(None)];
    let demo = state.config.demo;
    let now = state.store.clock().now();
    let today = now.0.div_euclid(86_400_000);
    let mut written = WRITTEN[usize::from(demo)].lock().unwrap_or_else(PoisonError::into_inner);
    let document = match &*written {
        Some((day, document)) if *day == today => document.clone(),
        _ => {
            let document = Bytes::from(crate::openapi::document(&crate::operations(demo), now).to_string());
            written.insert((today, document)).1.clone()
        }
    };
    HttpResponse::Ok().content_type("application/json").body(document)
}

/// The page's files. Not operations of the api, so not in the document.
pub fn assets(cfg: &mut web::ServiceConfig) {
    cfg.service(web::redirect("/docs", "/docs/"));
    cfg.service(web::resource("/docs/{file:.*}").route(web::get().to(asset)));
}

async fn asset(file: web::Path<String>) -> Answer {
    let config = std::sync::Arc::new(Config::from("/openapi.json").try_it_out_enabled(false));
    match utoipa_swagger_ui::serve(&file, config) {
        Ok(Some(found)) => Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::CACHE_CONTROL, "max-age=3600"))
            .content_type(found.content_type)
            .body(found.bytes.to_vec())),
        Ok(None) => Err(Problem::NotFound),
        Err(error) => Err(Problem::Internal(error.to_string())),
    }
}
