//! What the author of a push may touch, asked in bulk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use crate::access::{self, Actor, Role};
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::registry::{Row, is_id};
use crate::sql;
use crate::sync::custody::Kept;
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
    let (mut seen, backend) = (HashSet::new(), write.conn().get_database_backend());
    for (name, ids) in by_table {
        let text = format!(
            "select distinct f.row_id from sync_feed f join sync_access a on a.scope = f.scope \
             where a.user_id = $1 and a.visible and f.live and f.tbl = $2 and {}",
            sql::among(backend, "f.row_id", 3)
        );
        let values = vec![write.actor().user().into(), name.into(), sql::list(backend, &ids)];
        for row in sql::all(write.conn(), &text, values).await? {
            seen.insert((name, row.try_get_by_index(0)?));
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
        .filter_map(|row| row.raw.get("case_id").and_then(|id| id.as_str()).filter(|id| is_id(id)))
        .chain(stored.values().filter_map(Row::case_id))
        .collect();
    if named.is_empty() {
        return Ok(HashSet::new());
    }
    let scopes: Vec<String> = named.into_iter().map(|id| format!("case:{id}")).collect();
    let backend = write.conn().get_database_backend();
    let text =
        format!("select scope from sync_access where user_id = $1 and visible and {}", sql::among(backend, "scope", 2));
    let values = vec![write.actor().user().into(), sql::list(backend, &scopes)];
    let mut open = HashSet::new();
    for row in sql::all(write.conn(), &text, values).await? {
        let scope: String = row.try_get_by_index(0)?;
        open.extend(scope.strip_prefix("case:").map(str::to_owned));
    }
    Ok(open)
}

/// Whether the author will see the row where it stands. Cases made in the same push count as
/// theirs: the access that follows from it is settled at the commit.
pub(super) async fn author_sees(write: &Write, cases: &HashSet<String>, actor: &Actor, row: &Row) -> Result<bool> {
    let keys = access::keys(write.conn(), &row.table.stands(row)?).await?;
    let user = actor.user();
    if row.table.is_case() {
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
    access::opens(write.conn(), user, &unknown).await
}

/// Somebody whose work it is, with the role that they have now.
pub(crate) async fn author(write: &Write, user_id: &str) -> Result<Arc<Actor>> {
    let text = "select role from users where id = $1 and agency_id = $2";
    let agency_id = write.actor().agency_id.clone();
    let row = sql::one(write.conn(), text, vec![user_id.into(), agency_id.as_str().into()]).await?;
    let role: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    let role = role.as_deref().and_then(Role::parse).ok_or(Error::NotFound)?;
    Ok(Arc::new(Actor { agency_id, user_id: Some(user_id.to_owned()), role, device_id: None }))
}

/// The same person as the worker of a case.
pub(super) fn as_worker(author: &Actor) -> Arc<Actor> {
    Arc::new(Actor { role: Role::Caseworker, ..author.clone() })
}

/// Whether the author of kept work had its case as a worker at some time, or of a case that is not there yet, any.
pub(super) async fn was_its_worker(write: &Write, kept: &Kept) -> Result<bool> {
    if kept.table.is_case() && write.row(kept.table, &kept.row_id).await?.is_none() {
        let text =
            "select 1 from case_assignments where user_id = $1 and agency_id = $2 and deleted_at is null limit 1";
        let values = vec![kept.author.as_str().into(), write.actor().agency_id.as_str().into()];
        return Ok(sql::one(write.conn(), text, values).await?.is_some());
    }
    let named = kept.raw.get("case_id").and_then(serde_json::Value::as_str);
    worked_on(write, &kept.author, kept.case_id.as_deref().or(named).unwrap_or_default()).await
}

/// Whether somebody had the case as a worker at some time.
pub(super) async fn worked_on(write: &Write, user_id: &str, case_id: &str) -> Result<bool> {
    let text = "select 1 from case_assignments where case_id = $1 and user_id = $2 and agency_id = $3 \
                and deleted_at is null";
    let values = vec![case_id.into(), user_id.into(), write.actor().agency_id.as_str().into()];
    Ok(sql::one(write.conn(), text, values).await?.is_some())
}

/// Whether a user of the agency may sign in.
pub(super) async fn is_active(write: &Write, user_id: &str) -> Result<bool> {
    let text = "select 1 from users where id = $1 and agency_id = $2 and active";
    let values = vec![user_id.into(), write.actor().agency_id.as_str().into()];
    Ok(sql::one(write.conn(), text, values).await?.is_some())
}

/// Whether somebody had the case at some time: only then may anything be said of it to them. The end of an
/// access is forgotten with time, an assignment is not.
pub(crate) async fn has_had(conn: &impl ConnectionTrait, actor: &Actor, case_id: &str, now: Instant) -> Result<bool> {
    let text = "select 1 where exists (select 1 from sync_access where user_id = $1 and scope = $2) \
                or exists (select 1 from case_assignments where case_id = $3 and user_id = $1 and agency_id = $4 \
                and deleted_at is null and from_ts <= $5)";
    let values = vec![
        actor.user().into(),
        format!("case:{case_id}").into(),
        case_id.into(),
        actor.agency_id.as_str().into(),
        now.0.into(),
    ];
    Ok(is_id(case_id) && sql::one(conn, text, values).await?.is_some())
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
