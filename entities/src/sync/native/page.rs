//! Writing a page of the native face.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::read;
use crate::registry::{Face, Row};

use super::super::feed;
use super::super::pull::Pull;
use super::cursor::{Cursor, CursorKey};

/// The reply's body: `{epoch, changes: [{seq, table, id, op, row?}], next_cursor, has_more, head}`.
///
/// `op` is `put` for a row that can be seen, `del` for one that was deleted while it was the reader's, and `revoke` for
/// one that is not, whatever has become of it since. Changes stand parents first.
pub async fn native(pull: &Pull, user_id: &str, key: &CursorKey) -> Result<Vec<u8>> {
    let mut changes = Vec::new();
    for (table, ids) in &pull.gone {
        for batch in ids.chunks(500) {
            let rows = read::by_ids(&*pull.snapshot, table, batch).await?;
            let deleted: HashSet<&str> = rows.iter().filter(|row| row.is_deleted()).map(Row::id).collect();
            let places = feed::places(&*pull.snapshot, user_id, table, batch).await?;
            let ended: HashSet<&str> =
                places.iter().filter(|place| place.ended).map(|place| place.id.as_str()).collect();
            for id in batch {
                let seen_to_end = deleted.contains(id.as_str()) && ended.contains(id.as_str());
                let op = if seen_to_end { "del" } else { "revoke" };
                changes.push(json!({"seq": pull.timestamp, "table": table.name, "id": id, "op": op}));
            }
        }
    }
    for (table, ids) in &pull.live {
        for batch in ids.chunks(500) {
            for row in read::by_ids(&*pull.snapshot, table, batch).await? {
                changes.push(json!({
                    "seq": row.seq(), "table": table.name, "id": row.id(), "op": "put",
                    "row": object(&row, pull.schema_version),
                }));
            }
        }
    }
    let next = Cursor { epoch: pull.epoch, seq: pull.timestamp, user_id: user_id.into() };
    let body = json!({
        "epoch": pull.epoch,
        "changes": changes,
        "next_cursor": next.seal(key),
        "has_more": pull.has_more,
        "head": pull.head,
    });
    Ok(body.to_string().into_bytes())
}

/// A row as the native face shows it, without columns newer than the app's schema.
pub(crate) fn object(row: &Row, version: u32) -> Map<String, Value> {
    let mut object = row.object(Face::Rest);
    object.retain(|name, _| row.table.column(name).is_some_and(|column| column.field.since <= version));
    object
}
