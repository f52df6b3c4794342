//! What a row said before: the old values of every overwrite and every deletion.
//!
//! It is what makes a merge without loss possible (the losing value can be brought back), and it
//! tells which columns changed since a device last pulled, and from which device (rule S10). It
//! is read under the row's own scopes.

use std::collections::{BTreeSet, HashSet};

use sea_orm::{ConnectionTrait, QueryResult};
use serde_json::{Map, Value};

use crate::access::{self, Actor};
use crate::error::{Error, Result};
use crate::registry::{Face, Merge, Row, Table};
use crate::sql;
use crate::write::Write;

/// Keeps the old values of the named columns.
pub(crate) async fn keep(write: &Write, before: &Row, columns: &[usize], op: &str) -> Result<()> {
    let mut old = Map::new();
    for at in columns {
        let column = &before.table.columns[*at];
        if column.field.wire {
            old.insert(column.name.to_owned(), before.json(*at, crate::registry::Face::Rest));
        }
    }
    put(write, before.table, before.id(), op, old).await
}

/// Keeps values that lost against what is stored: they were never in the row, and can be brought
/// back from here.
pub(crate) async fn keep_lost(write: &Write, row: &Row, lost: Map<String, Value>) -> Result<()> {
    put(write, row.table, row.id(), "lost", lost).await
}

/// Keeps what a row offered would have set and the stored one does not say, as far as history does not have it already.
/// Answers what was kept.
pub(crate) async fn keep_new(write: &Write, stored: &Row, mut lost: Map<String, Value>) -> Result<Map<String, Value>> {
    if lost.is_empty() {
        return Ok(lost);
    }
    let text = "select old from row_history where tbl = $1 and row_id = $2";
    for kept in sql::all(write.conn(), text, vec![stored.table.name.into(), stored.id().into()]).await? {
        let old = old_values(&kept, 0)?;
        lost.retain(|name, value| old.get(name) != Some(value));
    }
    if !lost.is_empty() {
        keep_lost(write, stored, lost.clone()).await?;
    }
    Ok(lost)
}

/// The old values that an entry keeps, from that column of it.
fn old_values(entry: &QueryResult, at: usize) -> Result<Map<String, Value>> {
    let old: String = entry.try_get_by_index(at)?;
    serde_json::from_str(&old).map_err(|err| Error::Internal(err.to_string()))
}

async fn put(write: &Write, table: &'static Table, id: &str, op: &str, old: Map<String, Value>) -> Result<()> {
    let actor = write.actor();
    sql::exec(
        write.conn(),
        "insert into row_history (tbl, row_id, seq, agency_id, at, op, user_id, device_id, old, part) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
         (select count(*) from row_history where tbl = $1 and row_id = $2 and seq = $3))",
        vec![
            table.name.into(),
            id.into(),
            write.seq().into(),
            actor.agency_id.as_str().into(),
            write.now().0.into(),
            op.into(),
            actor.user_id.clone().into(),
            actor.device_id.clone().into(),
            Value::Object(old).to_string().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Names of the columns of a row that others changed after `since`: other devices, or another user of
/// this one.
pub async fn changed_elsewhere(
    conn: &impl ConnectionTrait,
    table: &'static Table,
    id: &str,
    since: i64,
    actor: &Actor,
) -> Result<BTreeSet<String>> {
    let rows = sql::all(
        conn,
        "select old from row_history where tbl = $1 and row_id = $2 and seq > $3 \
         and op <> 'lost' and (device_id is null or device_id <> $4 or user_id is null or user_id <> $5)",
        vec![
            table.name.into(),
            id.into(),
            since.into(),
            actor.device_id.clone().unwrap_or_default().into(),
            actor.user().into(),
        ],
    )
    .await?;
    let mut names = BTreeSet::new();
    for row in rows {
        let old = old_values(&row, 0)?;
        names.extend(old.into_iter().map(|(name, _)| name));
    }
    Ok(names)
}

/// The items that others took out of a list of the row after `since`, or made others of, as they were before: other
/// devices, or another user of this one.
pub(crate) async fn taken_out(
    conn: &impl ConnectionTrait,
    row: &Row,
    column: &str,
    since: i64,
    actor: &Actor,
) -> Result<Vec<Value>> {
    let kept = sql::all(
        conn,
        "select old, user_id, device_id from row_history where tbl = $1 and row_id = $2 and seq > $3 and op <> 'lost' \
         order by seq, part",
        vec![row.table.name.into(), row.id().into(), since.into()],
    )
    .await?;
    // Each list beside the one that came after it, and whether it was others who made that of it.
    let (mut lists, mut others) = (Vec::new(), Vec::new());
    for entry in kept {
        let mut old = old_values(&entry, 0)?;
        let Some(Value::Array(list)) = old.remove(column) else { continue };
        lists.push(list);
        let another = actor.device_id.is_some() && entry.try_get_by_index::<Option<String>>(2)? != actor.device_id;
        others.push(another || entry.try_get_by_index::<Option<String>>(1)?.as_deref() != Some(actor.user()));
    }
    let stored = row.table.index(column).map(|at| row.json(at, crate::registry::Face::Rest));
    lists.push(match stored {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    });
    let pairs = lists.windows(2).zip(others).filter(|(_, others)| *others);
    let gone = pairs.flat_map(|(pair, _)| {
        let next: HashSet<&Value> = pair[1].iter().collect();
        pair[0].iter().filter(move |item| !next.contains(item)).cloned()
    });
    Ok(gone.collect())
}

/// The values that a column has had and has no more, oldest first, and whether this device gave it each.
pub(crate) async fn said_by(
    conn: &impl ConnectionTrait,
    row: &Row,
    column: &str,
    actor: &Actor,
) -> Result<Vec<(Value, bool)>> {
    let kept = sql::all(
        conn,
        "select old, user_id, device_id from row_history where tbl = $1 and row_id = $2 and op <> 'lost' \
         order by seq, part",
        vec![row.table.name.into(), row.id().into()],
    )
    .await?;
    // Which device made a row is not kept; that its user did says enough.
    let mut ours = row.text("created_by") == Some(actor.user());
    let mut said = Vec::new();
    for entry in kept {
        let mut old = old_values(&entry, 0)?;
        let Some(value) = old.remove(column) else { continue };
        said.push((value, ours));
        ours = entry.try_get_by_index::<Option<String>>(1)?.as_deref() == Some(actor.user())
            && entry.try_get_by_index::<Option<String>>(2)? == actor.device_id;
    }
    Ok(said)
}

/// One kept set of old values.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Old {
    /// Commit number of the change that they gave way to.
    pub seq: i64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// `change`, `delete`, or `lost` for values that lost a merge and never stood in the row.
    pub op: String,
    /// Who made the change, or sent the value that lost.
    pub user_id: Option<String>,
    /// The values by column, as REST writes them.
    pub old: Map<String, Value>,
}

/// What a row said before, newest first, at most 500 sets. Whether the reader may see the row is
/// asked by the caller.
pub async fn of(conn: &impl ConnectionTrait, table: &'static Table, id: &str) -> Result<Vec<Old>> {
    let rows = sql::all(
        conn,
        "select seq, at, op, user_id, old from row_history where tbl = $1 and row_id = $2 \
         order by seq desc, part desc limit 500",
        vec![table.name.into(), id.into()],
    )
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Old {
                seq: row.try_get_by_index(0)?,
                at: crate::Instant(row.try_get_by_index(1)?).rfc3339(),
                op: row.try_get_by_index(2)?,
                user_id: row.try_get_by_index(3)?,
                old: old_values(row, 4)?,
            })
        })
        .collect()
}

/// Those of a row's old values, newest first, that a reader may see: each set belongs to the row as it stood then, and
/// that may have been hidden from them, as a note is before its author shows it to the team. Also the row as it stood
/// with each, for the trail.
pub async fn shown_to(
    conn: &impl ConnectionTrait,
    row: &Row,
    kept: Vec<Old>,
    user: &str,
) -> Result<(Vec<Old>, Vec<Row>)> {
    let mut then = row.clone();
    let (mut shown, mut stood) = (Vec::new(), Vec::new());
    let mut known: Option<(Vec<String>, bool)> = None;
    for entry in kept {
        // What lost a merge never stood in the row, and is as hidden as the row was.
        if entry.op != "lost" {
            for (name, value) in &entry.old {
                let Some(column) = row.table.column(name) else { continue };
                then.set(name, column.parse(value, Face::Rest).unwrap_or_else(|_| column.null()));
            }
        }
        let keys = access::keys(conn, &row.table.stands(&then)?).await?;
        let open = match &known {
            Some((same, open)) if *same == keys => *open,
            _ => access::opens(conn, user, &keys).await?,
        };
        known = Some((keys, open));
        if open {
            stood.push(then.clone());
            shown.push(entry);
        }
    }
    Ok((shown, stood))
}

/// The old values kept with one commit, of these columns or of all that a client may set.
///
/// Fails with `Invalid` when that commit kept nothing of the row, or nothing of a column that is named.
pub async fn values_at(
    conn: &impl ConnectionTrait,
    table: &'static Table,
    id: &str,
    seq: i64,
    fields: &[String],
) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    for kept in of(conn, table, id).await?.into_iter().filter(|kept| kept.seq == seq) {
        for (name, value) in kept.old {
            let settable =
                table.column(&name).is_some_and(|column| matches!(column.field.merge, Merge::Field | Merge::Items));
            if settable {
                // They come newest first: of what lost, the last word counts, and of what stood, what was there before.
                if kept.op == "lost" {
                    values.entry(name).or_insert(value);
                } else {
                    values.insert(name, value);
                }
            }
        }
    }
    if values.is_empty() {
        return Err(Error::invalid("seq", "unknown", "names no commit that kept old values of this row"));
    }
    if fields.iter().any(|name| !values.contains_key(name)) {
        return Err(Error::invalid("fields", "unknown", "names a column of which that commit kept nothing"));
    }
    values.retain(|name, _| fields.is_empty() || fields.contains(name));
    Ok(values)
}
