//! The sync faces over HTTP: reading the request, calling the engine, writing the answer.
//!
//! WatermelonDB's documented contract lives at `/sync` (see docs/sync.md). Everything that
//! decides is in `entities::sync`.

mod answer;
mod asked;
mod custody;
mod digest;
mod document;
mod handed;
pub mod live;
mod native;
mod rxdb;
mod told;
mod watermelon;

pub use document::schemas;

use actix_web::http::Method;
use entities::registry::{SCHEMA_VERSION, TABLES};
use serde_json::{Value, json};

use crate::openapi::schema;
use crate::operation::{Access, Op, STAFF};

/// Every operation of this room.
pub fn operations() -> Vec<Op> {
    let (number, version) = (document::number(0), document::schema_version());
    let unknown = json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}},
        "description": "Rows in tables that this server does not know yet, for an app that says it is newer"});
    let pushed =
        json!({"type": "object", "additionalProperties": false, "properties": {"experimentalRejectedIds": unknown}});
    let mut operations = native::operations();
    operations.extend(rxdb::operations());
    operations.push(live::operation());
    operations.extend(handed::operations());
    operations.extend(custody::operations());
    operations.extend(digest::operations());
    operations.extend([
        Op::new(Method::GET, "/sync", "pull", watermelon::pull)
            .says("sync", "Pull what changed, as WatermelonDB's pullChanges expects it")
            .detail(
                "First sync: last_pulled_at is null, 0, empty or absent. Live rows stand in updated, created is \
                 always empty, deleted is empty on a first sync. With limit the page ends on a whole commit; pull \
                 again from timestamp while has_more.",
            )
            .access(Access::Recent(STAFF))
            .query("last_pulled_at", "The timestamp of the last reply", number.clone())
            .query("schema_version", "The app's schema version; the newest when absent", version.clone())
            .query_json("migration", "WatermelonDB's migration argument as JSON, or null", document::migration())
            .query(
                "pending",
                "1 when the app holds work not sent yet: deletes wait for it",
                json!({"enum": ["0", "1", "false", "true", "", "null", "undefined"]}),
            )
            .query("epoch", "The epoch of the last reply", number.clone())
            .query("salvaged", "The epoch for which this device has offered what it holds", number.clone())
            .query("limit", "About how many rows to send; 2,000 at most", document::number(1))
            .gives(200, "What changed", document::page(), page_example())
            .errors(&[426]),
        Op::new(Method::POST, "/sync", "push", watermelon::push)
            .says("sync", "Push local changes, as WatermelonDB's pushChanges sends them")
            .detail(
                "All or nothing. 409 means that another device changed the same columns (`sync_conflict`) or that a \
                 backup was restored since the pull (`epoch_changed`): pull and push again. A data problem is never an error: it is mended or kept, and told as a sync issue.",
            )
            .access(Access::Roles(STAFF))
            .needs_query(
                "last_pulled_at",
                "The timestamp pulled just before; it may be lastPulledAt in the body instead, beside changes",
                number.clone(),
            )
            .query("schema_version", "The app's schema version", version.clone())
            .query("epoch", "The epoch of the reply pulled just before", number.clone())
            .query("push", "The app's number for this push", number.clone())
            .query("acked", "The number of the last push it had an answer to", number)
            .takes(schema("Push"), document::push_example())
            .gives(200, "Stored", pushed, json!({}))
            .errors(&[409, 413, 415, 426]),
        Op::new(Method::GET, "/sync/schema", "sync_schema", watermelon::schema)
            .says("sync", "Tables, columns and types of a schema version")
            .access(Access::Recent(STAFF))
            .query("version", "A schema version; the newest when absent", version)
            .gives(200, "The schema", schema("SyncSchema"), entities::sync::schema::describe(*SCHEMA_VERSION))
            .errors(&[426]),
    ]);
    operations
}

fn page_example() -> Value {
    let empty = json!({"created": [], "updated": [], "deleted": []});
    let changes: serde_json::Map<String, Value> =
        TABLES.iter().map(|table| (table.name.to_owned(), empty.clone())).collect();
    json!({"changes": changes, "timestamp": 1_800_000_000_000_i64, "has_more": false, "complete": true, "epoch": 1})
}
