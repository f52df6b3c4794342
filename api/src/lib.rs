//! Who asks, what they may, HTTP in and out.
//!
//! Start with `operation` (what an operation is), then `shell` (what surrounds each request), then
//! the rooms that offer operations: `auth`, `people`, `rest`, `sync`. Errors all end in `problem`.

pub mod auth;
pub mod body;
mod columns;
pub mod demo;
pub mod docs;
mod entity_tag;
pub mod form;
pub mod front;
pub mod health;
pub mod limit;
mod lines;
pub mod openapi;
pub mod operation;
pub mod pace;
pub mod password;
pub mod people;
pub mod problem;
pub mod rest;
pub mod session;
pub mod shell;
pub mod state;
pub mod sync;
pub mod tokens;

pub use operation::Op;
pub use problem::{Answer, Problem};
pub use session::Session;
pub use shell::{Listeners, RequestId, app, configure, run};
pub use state::{Config, State};
pub use tokens::Keys;

/// Every operation that is served, with those of the demonstration where it is one. Adding one here
/// serves, guards and documents it.
pub fn operations(demo: bool) -> Vec<Op> {
    let rooms = [
        health::operations(),
        docs::operations(),
        front::operations(),
        auth::operations(),
        people::operations(),
        rest::operations(),
        sync::operations(),
    ];
    rooms.into_iter().flatten().chain(demo.then(demo::operations).into_iter().flatten()).collect()
}

/// Named schemas of the document.
pub fn schemas() -> Vec<(String, serde_json::Value)> {
    let rooms = [auth::schemas(), people::schemas(), rest::schemas(), sync::schemas()];
    rooms.into_iter().flatten().collect()
}
