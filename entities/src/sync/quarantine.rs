//! Work that may not be applied is kept, and the people it concerns are told.

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::audit::hex;
use crate::doc::Doc;
use crate::error::Result;
use crate::registry::{Face, Row, Synced, Table, table};
use crate::sql;
use crate::write::Write;

use super::issue;

/// Something to tell, before it is known to whom.
pub(crate) struct Telling {
    pub(crate) kind: &'static str,
    pub(crate) table: &'static Table,
    pub(crate) id: String,
    pub(crate) case_id: Option<String>,
    pub(crate) message: String,
    /// What the author sent, for the author's eyes.
    pub(crate) sent: Map<String, Value>,
    pub(crate) quarantine_id: Option<String>,
    /// Holders of the case and supervisors are told too.
    pub(crate) widely: bool,
}

/// The id of whatever is made from these parts: the same parts make the same id (S8).
pub(crate) fn derived_id(parts: &[&str]) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    hex(digest(&SHA256, &bytes).as_ref())[..32].to_owned()
}

/// Puts a pushed row into quarantine and answers the entry's id. The same work sent again is the
/// same entry.
pub(crate) async fn keep(
    write: &Write,
    table: &'static Table,
    id: &str,
    case_id: Option<&str>,
    op: &str,
    reason: &str,
    (raw, face): (&Map<String, Value>, Face),
) -> Result<String> {
    let raw = Value::Object(raw.clone()).to_string();
    let actor = write.actor();
    let entry = derived_id(&[table.name, id, actor.user(), op, &raw]);
    sql::exec(
        write.conn(),
        "insert into sync_quarantine (id, agency_id, tbl, row_id, case_id, user_id, device_id, at, op, reason, raw, \
         face, state) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'open') on conflict (id) do nothing",
        vec![
            entry.as_str().into(),
            actor.agency_id.as_str().into(),
            table.name.into(),
            id.into(),
            case_id.map(str::to_owned).into(),
            actor.user().into(),
            actor.device_id.clone().into(),
            write.now().0.into(),
            op.into(),
            reason.into(),
            raw.into(),
            if face == Face::Rest { "rest" } else { "watermelon" }.into(),
        ],
    )
    .await?;
    Ok(entry)
}

/// Makes the issues of a push: one for each person to be told; those that exist already stay.
pub(crate) async fn tell(write: &mut Write, tellings: Vec<Telling>) -> Result<()> {
    let author = write.actor().user().to_owned();
    for telling in tellings {
        let mut audience = vec![(author.clone(), "author")];
        if telling.widely {
            audience.extend(concerned(write, &author, telling.case_id.as_deref()).await?);
        }
        let sent = Value::Object(telling.sent.clone());
        for (user, role) in audience {
            let id = derived_id(&[telling.table.name, &telling.id, telling.kind, &user, &author, &sent.to_string()]);
            let registered = table(issue::Entity::NAME).ok_or(crate::Error::NotFound)?;
            if write.row(registered, &id).await?.is_some() {
                continue;
            }
            write
                .create::<issue::Entity>(issue::Model {
                    id,
                    user_id: user,
                    // An author without the case learns nothing of it, not even that it exists.
                    case_id: telling.case_id.clone().filter(|_| role != "author" || !telling.widely),
                    audience: role.into(),
                    kind: telling.kind.into(),
                    about_table: telling.table.name.into(),
                    about_id: telling.id.clone(),
                    quarantine_id: telling.quarantine_id.clone(),
                    message: telling.message.clone(),
                    detail: (role == "author" && !telling.sent.is_empty()).then(|| Doc(sent.clone())),
                    status: "open".into(),
                    ..Default::default()
                })
                .await?;
        }
    }
    Ok(())
}

/// Who else a case's issue concerns: those who have the case now, and its supervisors; where the
/// case is not known, the supervisor of the author's team.
pub(crate) async fn concerned(
    write: &Write,
    author: &str,
    case_id: Option<&str>,
) -> Result<Vec<(String, &'static str)>> {
    let mut found = Vec::new();
    if let Some(case) = case_id {
        let rows = sql::all(
            write.conn(),
            "select distinct user_id, scope from sync_access where visible and scope in ($1, $2) and user_id <> $3 \
             order by scope, user_id",
            vec![format!("case:{case}/assigned").into(), format!("case:{case}/supervision").into(), author.into()],
        )
        .await?;
        for row in rows {
            let scope: String = row.try_get_by_index(1)?;
            let role = if scope.ends_with("/assigned") { "holder" } else { "supervisor" };
            found.push((row.try_get_by_index(0)?, role));
        }
        return Ok(found);
    }
    let text = "select t.supervisor_user_id from users u join teams t on t.id = u.team_id \
                where u.id = $1 and t.supervisor_user_id is not null and t.supervisor_user_id <> u.id";
    for row in sql::all(write.conn(), text, vec![author.into()]).await? {
        found.push((row.try_get_by_index(0)?, "supervisor"));
    }
    Ok(found)
}

/// The case a row concerns, where the server knows that case.
pub(crate) async fn known_case(write: &Write, row: Option<&Row>, raw: &Map<String, Value>) -> Result<Option<String>> {
    let named = row.and_then(Row::case_id).or_else(|| raw.get("case_id").and_then(Value::as_str));
    let Some(case) = named else { return Ok(None) };
    let found = sql::one(
        write.conn(),
        "select id from cases where id = $1 and agency_id = $2",
        vec![case.into(), write.actor().agency_id.as_str().into()],
    )
    .await?;
    Ok(found.map(|row| row.try_get_by_index(0)).transpose()?)
}
