//! `/`: where links in mails lead when they are opened in a browser.
//!
//! A link names its row behind the `#`, which no browser sends and no proxy logs; the page's own
//! script reads it there and says which reference to look for in the agency's app.

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};

use crate::operation::{Access, Op};
use crate::state::State;

/// The page may run its one script, from here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The page.
pub fn operations() -> Vec<Op> {
    vec![
        Op::at_root(Method::GET, "/", "front", page)
            .access(Access::Public)
            .says("operation", "Where links in mails lead in a browser")
            .detail(
                "A page for people: what the link is about and which app to open. It knows nobody and shows no row.",
            )
            .answers(200, "The page", Some("text/html")),
    ]
}

/// The page's script. Not an operation of the api, so not in the document.
pub fn assets(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/front/link.js").route(web::get().to(script)));
}

async fn page(state: web::Data<State>) -> HttpResponse {
    let more = if state.config.demo { include_str!("front/demo.html") } else { "" };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .content_type("text/html; charset=utf-8")
        .body(include_str!("front/page.html").replace("<!-- more -->", more))
}

async fn script() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "max-age=3600"))
        .content_type("text/javascript; charset=utf-8")
        .body(include_str!("front/link.js"))
}
