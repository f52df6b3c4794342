//! What the author of a push may touch, asked in bulk.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::access::{self, Actor};
use crate::clock::Instant;
use crate::error::Result;
use crate::registry::Row;
use crate::sql;
use crate::write::Write;

use super::intake::Incoming;

/// Late work is taken in for this long after the author's window ended.
const GRACE_MS: i64 = 14 * 24 * 3600 * 1000;

type Key = (&'static str, String);

/// Which of these rows the author may see.
pub(super) async fn visible<'a>(write: &Write, keys: impl Iterator<Item = &'a Key>) -> Result<HashSet<Key>> {
    let mut by_table: HashMap<&'static str, Vec<&str>> = HashMap::new();
    for (name, id) in keys {
        by_table.entry(name).or_default().push(id);
    }
    let mut seen = HashSet::new();
    for (name, ids) in by_table {
        for batch in sql::batches(&ids) {
            let text = format!(
                "select distinct f.row_id from sync_feed f join sync_access a on a.scope = f.scope \
                 where a.user_id = $1 and a.visible and f.live and f.tbl = $2 and f.row_id in ({})",
                sql::marks(3, batch.len())
            );
            let mut values = vec![write.actor().user().into(), name.into()];
            values.extend(batch.into_iter().map(sea_orm::Value::from));
            for row in sql::all(write.conn(), &text, values).await? {
                seen.insert((name, row.try_get_by_index(0)?));
            }
        }
    }
    Ok(seen)
}

/// The cases named in a push that are the author's at this moment.
pub(super) async fn open_cases(
    write: &Write,
    rows: &[Incoming],
    stored: &HashMap<Key, Row>,
) -> Result<HashSet<String>> {
    let named: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.raw.get("case_id").and_then(|id| id.as_str()))
        .chain(stored.values().filter_map(Row::case_id))
        .collect();
    let named: Vec<&str> = named.into_iter().collect();
    let mut open = HashSet::new();
    for batch in sql::batches(&named) {
        let text = format!(
            "select scope from sync_access where user_id = $1 and visible and scope in ({})",
            sql::marks(2, batch.len())
        );
        let mut values = vec![write.actor().user().into()];
        values.extend(batch.iter().map(|id| format!("case:{id}").into()));
        for row in sql::all(write.conn(), &text, values).await? {
            let scope: String = row.try_get_by_index(0)?;
            open.extend(scope.strip_prefix("case:").map(str::to_owned));
        }
    }
    Ok(open)
}

/// Whether the author will see the row where it stands. Cases made in the same push count as
/// theirs: the access that follows from it is settled at the commit.
pub(super) async fn author_sees(write: &Write, cases: &HashSet<String>, actor: &Actor, row: &Row) -> Result<bool> {
    let keys = access::keys(write.conn(), &row.table.stands(row)?).await?;
    let user = actor.user();
    if row.table.name == "cases" {
        return Ok(true);
    }
    let mut unknown = Vec::new();
    for key in keys {
        let plain = key.strip_prefix("case:").is_some_and(|rest| {
            cases.contains(rest)
                || rest
                    .split_once('/')
                    .is_some_and(|(case, tail)| cases.contains(case) && tail == format!("user:{user}"))
        });
        if plain || key == format!("user:{user}") {
            return Ok(true);
        }
        unknown.push(key);
    }
    for key in unknown {
        let open = sql::one(
            write.conn(),
            "select 1 from sync_access where user_id = $1 and scope = $2 and visible",
            vec![user.into(), key.into()],
        )
        .await?;
        if open.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the case was the author's when something happened, and their time with it ended no
/// longer than the grace ago. The one place where a device's time is believed.
pub(super) async fn was_theirs(write: &Write, case_id: &str, occurred: Instant) -> Result<bool> {
    let row = sql::one(
        write.conn(),
        "select 1 from case_assignments where case_id = $1 and user_id = $2 and deleted_at is null \
         and from_ts <= $3 and to_ts > $3 and to_ts >= $4 and agency_id = $5",
        vec![
            case_id.into(),
            write.actor().user().into(),
            occurred.0.into(),
            write.now().plus_ms(-GRACE_MS).0.into(),
            write.actor().agency_id.as_str().into(),
        ],
    )
    .await?;
    Ok(row.is_some())
}
