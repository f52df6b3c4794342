//! What becomes of quarantined work: read, accepted, re-homed or discarded, by somebody who has
//! the case.
//!
//! Nothing here destroys content: a discarded entry stays in the table with who discarded it and
//! why. Accepting applies the work under the rules of a push, in the name of its author.

use sea_orm::QueryResult;
use serde_json::{Map, Value};

use crate::access::{self, Actor, Role};
use crate::error::{Error, Result};
use crate::read;
use crate::registry::{Face, Row, Table, is_id, table};
use crate::sql;
use crate::store::Store;
use crate::write::Write;

use super::issue;
use super::push::apply_kept;

/// What somebody decides about quarantined work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Apply it where it belongs.
    Accept,
    /// Apply it to another case.
    Rehome(String),
    /// Leave it unapplied.
    Discard,
}

impl Decision {
    /// The word that the issue has afterwards.
    pub fn status(&self) -> &'static str {
        match self {
            Decision::Accept => "accepted",
            Decision::Rehome(_) => "rehomed",
            Decision::Discard => "discarded",
        }
    }
}

/// One quarantined row.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The entry's id.
    pub id: String,
    /// The row's table.
    pub table: &'static Table,
    /// The row's id.
    pub row_id: String,
    /// The case it belongs to, where the server knows it.
    pub case_id: Option<String>,
    /// Who sent it.
    pub author: String,
    /// `create`, `update` or `delete`.
    pub op: String,
    /// Why it was not applied.
    pub reason: String,
    /// What was sent.
    pub raw: Map<String, Value>,
    /// The dialect it was written in.
    pub face: Face,
    /// `open`, or how it was settled.
    pub state: String,
}

const COLUMNS: &str = "tbl, row_id, case_id, user_id, op, reason, raw, face, state, id";

impl Kept {
    fn of(found: &QueryResult) -> Result<Kept> {
        let name: String = found.try_get_by_index(0)?;
        let raw: String = found.try_get_by_index(6)?;
        let face: String = found.try_get_by_index(7)?;
        Ok(Kept {
            id: found.try_get_by_index(9)?,
            table: table(&name).ok_or(Error::NotFound)?,
            row_id: found.try_get_by_index(1)?,
            case_id: found.try_get_by_index(2)?,
            author: found.try_get_by_index(3)?,
            op: found.try_get_by_index(4)?,
            reason: found.try_get_by_index(5)?,
            raw: serde_json::from_str(&raw).map_err(|err| Error::Internal(err.to_string()))?,
            face: if face == "rest" { Face::Rest } else { Face::Watermelon },
            state: found.try_get_by_index(8)?,
        })
    }
}

/// Why work is kept whose case the server has not heard of: `release` applies it when it does.
pub(super) const WAITING: &str = "its case has not arrived yet";

/// Applies the actor's work that was waiting for these cases. What cannot be applied even now stays
/// where it is.
pub(super) async fn release(write: &mut Write, cases: &[&str]) -> Result<()> {
    let text = format!("select {COLUMNS} from sync_quarantine where user_id = $1 and state = 'open' and reason = $2");
    let rows = sql::all(write.conn(), &text, vec![write.actor().user().into(), WAITING.into()]).await?;
    let mut waiting = rows.iter().map(Kept::of).collect::<Result<Vec<_>>>()?;
    waiting.retain(|kept| kept.raw.get("case_id").and_then(Value::as_str).is_some_and(|case| cases.contains(&case)));
    waiting.sort_by_key(|kept| kept.table.rank);
    for kept in waiting {
        match apply_kept(write, &kept, None).await {
            Ok(()) => settle(write, &kept.id, "accepted", "its case has arrived").await?,
            Err(Error::Conflict { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The work an issue is about, for a reader of that issue who may read the work: its author, or
/// somebody who would see the row if it were applied.
pub async fn kept(conn: &impl sea_orm::ConnectionTrait, actor: &Actor, issue_id: &str) -> Result<Kept> {
    let issues = table("sync_issues").ok_or(Error::NotFound)?;
    if !access::sees(conn, actor.user(), issues.name, issue_id).await? {
        return Err(Error::NotFound);
    }
    let row = read::by_ids(conn, issues, &[issue_id.to_owned()]).await?.pop().ok_or(Error::NotFound)?;
    let issue = row.model::<issue::Entity>()?;
    let entry = issue.quarantine_id.ok_or(Error::NotFound)?;
    let text = format!("select {COLUMNS} from sync_quarantine where id = $1");
    let kept = Kept::of(&sql::one(conn, &text, vec![entry.into()]).await?.ok_or(Error::NotFound)?)?;
    if kept.author != actor.user() && !would_see(conn, actor, &kept).await? {
        return Err(Error::Forbidden("this work is meant for fewer eyes".into()));
    }
    Ok(kept)
}

/// Whether the reader would see the row if it stood where its author meant it to.
async fn would_see(conn: &impl sea_orm::ConnectionTrait, actor: &Actor, kept: &Kept) -> Result<bool> {
    let mut row = Row::fresh(kept.table);
    for (at, column) in kept.table.wire_columns() {
        if let Some(Ok(cell)) = kept.raw.get(column.name).map(|sent| column.parse(sent, kept.face))
            && (column.nullable || cell != column.null())
        {
            row.put(at, cell);
        }
    }
    if kept.table.index("author_id").is_some() {
        row.set("author_id", kept.author.as_str().into());
    }
    if kept.table.has_case() && kept.case_id.is_none() {
        // Of a case nobody knows: the author's supervisor was told, and may read it.
        return Ok(actor.role == Role::Supervisor);
    }
    for key in access::keys(conn, &kept.table.stands(&row)?).await? {
        let text = "select 1 from sync_access where user_id = $1 and scope = $2 and visible";
        if sql::one(conn, text, vec![actor.user().into(), key.into()]).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Settles quarantined work, and with it every issue about it.
///
/// Fails with `NotFound` for an issue that is not the actor's, `Forbidden` for work they may not
/// read or a case that is not theirs, `Conflict` when it is settled already or cannot be applied
/// even now, `Invalid` without a reason.
pub async fn decide(store: &Store, actor: &Actor, issue_id: &str, decision: Decision, reason: &str) -> Result<()> {
    if reason.trim().is_empty() {
        return Err(Error::invalid("reason", "required", "say why"));
    }
    let mut write = store.write(actor).await?;
    let kept = kept(write.conn(), actor, issue_id).await?;
    if kept.state != "open" {
        return Err(Error::Conflict { code: "settled", detail: format!("this work was {} already", kept.state) });
    }
    match &decision {
        Decision::Discard => (),
        Decision::Accept => apply_kept(&mut write, &kept, None).await?,
        Decision::Rehome(case) if is_id(case) => apply_kept(&mut write, &kept, Some(case)).await?,
        Decision::Rehome(_) => return Err(Error::invalid("case_id", "id", "must be the id of a case")),
    }
    settle(&mut write, &kept.id, decision.status(), reason).await?;
    write.note("quarantine_settled", reason);
    write.commit().await?;
    Ok(())
}

async fn settle(write: &mut Write, entry: &str, status: &str, reason: &str) -> Result<()> {
    let (now, user) = (write.now(), write.actor().user().to_owned());
    sql::exec(
        write.conn(),
        "update sync_quarantine set state = $1, settled_at = $2, settled_by = $3, settled_reason = $4 where id = $5",
        vec![status.into(), now.0.into(), user.as_str().into(), reason.into(), entry.into()],
    )
    .await?;
    let open = read::models::<issue::Entity>(
        write.conn(),
        "t.quarantine_id = $1 and t.status = 'open' and t.deleted_at is null",
        vec![entry.into()],
    )
    .await?;
    for before in open {
        let after = issue::Model {
            status: status.into(),
            settled_at: Some(now),
            settled_by: Some(user.clone()),
            settled_reason: Some(reason.chars().take(1000).collect()),
            ..before.clone()
        };
        write.change::<issue::Entity>(&before, after).await?;
    }
    Ok(())
}
