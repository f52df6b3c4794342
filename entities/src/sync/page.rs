//! Writing a page of the WatermelonDB face.
//!
//! Rows are read in batches from the pull's snapshot and written straight to bytes, so that a
//! first sync of a large caseload never stands in memory as rows and as text at once.

use sea_orm::Value;

use crate::error::{Error, Result};
use crate::read;
use crate::registry::{Kind, Row, TABLES};

use super::pull::Pull;

const BATCH: usize = 500;

/// The reply's body: `{changes, timestamp, has_more, complete, epoch}`. Every table of the app's
/// schema is there with its three arrays; live rows stand in `updated`, `created` is empty (M7).
pub async fn watermelon(pull: &Pull) -> Result<Vec<u8>> {
    let rows: usize = pull.live.iter().map(|(_, ids)| ids.len()).sum();
    let mut out = Vec::with_capacity(2048 + rows * 512);
    out.extend_from_slice(b"{\"changes\":{");
    let mut first = true;
    for table in TABLES.iter().filter(|table| table.since <= pull.schema_version) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        string(&mut out, table.name)?;
        out.extend_from_slice(b":{\"created\":[],\"updated\":[");
        if let Some((_, ids)) = pull.live.iter().find(|(named, _)| named.name == table.name) {
            let mut first = true;
            for batch in ids.chunks(BATCH) {
                for row in read::by_ids(&*pull.snapshot, table, batch).await? {
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    write_row(&mut out, &row, pull.schema_version)?;
                }
            }
        }
        out.extend_from_slice(b"],\"deleted\":[");
        if let Some((_, ids)) = pull.gone.iter().find(|(named, _)| named.name == table.name) {
            for (at, id) in ids.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(&mut out, id)?;
            }
        }
        out.extend_from_slice(b"]}");
    }
    tail(&mut out, pull.timestamp, pull.has_more, pull.epoch);
    if pull.replaces {
        out.pop();
        out.extend_from_slice(b",\"experimentalStrategy\":\"replacement\"}");
    }
    Ok(out)
}

/// The body that says that nothing is new.
pub fn nothing(schema_version: u32, timestamp: i64, epoch: i64) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(2048);
    out.extend_from_slice(b"{\"changes\":{");
    let mut first = true;
    for table in TABLES.iter().filter(|table| table.since <= schema_version) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        string(&mut out, table.name)?;
        out.extend_from_slice(b":{\"created\":[],\"updated\":[],\"deleted\":[]}");
    }
    tail(&mut out, timestamp, false, epoch);
    Ok(out)
}

fn tail(out: &mut Vec<u8>, timestamp: i64, has_more: bool, epoch: i64) {
    let text =
        format!("}},\"timestamp\":{timestamp},\"has_more\":{has_more},\"complete\":{},\"epoch\":{epoch}}}", !has_more);
    out.extend_from_slice(text.as_bytes());
}

/// One row in the WatermelonDB dialect: strings, numbers, booleans and null only.
fn write_row(out: &mut Vec<u8>, row: &Row, version: u32) -> Result<()> {
    let mut first = true;
    for (at, column) in row.table.wire_columns() {
        if column.field.since > version {
            continue;
        }
        out.push(if std::mem::take(&mut first) { b'{' } else { b',' });
        out.push(b'"');
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        match &row.cells[at] {
            Value::String(Some(text)) => string(out, text)?,
            Value::BigInt(Some(number)) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Double(Some(number)) if number.is_finite() => {
                serde_json::to_writer(&mut *out, number).map_err(wrong)?;
            }
            Value::Bool(Some(yes)) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            _ if column.field.kind == Kind::Bool => out.extend_from_slice(b"false"),
            _ => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    Ok(())
}

fn string(out: &mut Vec<u8>, text: &str) -> Result<()> {
    serde_json::to_writer(out, text).map_err(wrong)
}

fn wrong(err: serde_json::Error) -> Error {
    Error::Internal(err.to_string())
}
