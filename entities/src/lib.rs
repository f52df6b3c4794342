//! Everything the agency knows, each thing once: columns, scopes, merge policy and pure rules of
//! every table, the sync engine, and the one write door.
//!
//! This crate knows no HTTP, no mail, no runtime and no environment variable. Start with
//! `registry` (what a table is), then `write` (how anything changes), then `access` (who sees
//! it), then `sync` (how phones get it).

pub mod access;
pub mod acts;
pub mod audit;
pub mod backup;
mod bulk;
pub mod casework;
pub mod clock;
pub mod doc;
pub mod error;
pub mod history;
pub mod instance;
pub mod lists;
pub mod partners;
pub mod people;
pub mod read;
pub mod registry;
pub mod sql;
pub mod store;
pub mod sync;
pub mod workflow;
pub mod write;

pub use access::{Actor, Role};
pub use clock::{Clock, Day, Instant};
pub use doc::Doc;
pub use error::{Error, Fault, Result};
pub use store::{Pool, Side, Snapshot, Store};
pub use write::Write;

/// What a query runs on: a snapshot, a side transaction, the inside of a write.
pub use sea_orm::ConnectionTrait;
