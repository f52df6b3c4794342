//! Work that may not be applied is kept, and the people it concerns are told.

use std::collections::{BTreeSet, HashSet};

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::audit::hex;
use crate::doc::{Doc, canonical};
use crate::error::Result;
use crate::people::user;
use crate::registry::{Face, Row, Table, is_id};
use crate::sql;
use crate::write::Write;

use super::custody::{self, Kept, SUPERSEDED};
use super::issue;
use super::push::{Incoming, rights};

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
    /// It is certain that it happened again, and was not only sent again.
    pub(crate) again: bool,
}

impl Telling {
    /// Tells the author alone. What is more than an issue's message holds is left out of it, and so is what the app or
    /// the server noted beside what was written.
    pub(crate) fn to_author(
        kind: &'static str,
        table: &'static Table,
        id: &str,
        case_id: Option<&str>,
        message: impl Into<String>,
        mut sent: Map<String, Value>,
    ) -> Telling {
        sent.retain(|name, _| !name.starts_with('_'));
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(issue::MESSAGE) {
            message.truncate(end);
        }
        let case_id = case_id.map(str::to_owned);
        Telling {
            kind,
            table,
            id: id.to_owned(),
            case_id,
            message,
            sent,
            quarantine_id: None,
            widely: false,
            again: false,
        }
    }

    /// The id of the issue that this makes for a user: the same thing told again is the same issue, and so is all that is
    /// told of one piece of kept work.
    pub(crate) fn issue_of(&self, user: &str, author: &str) -> String {
        let sent = || canonical(Value::Object(self.sent.clone()));
        let what = self.quarantine_id.clone().unwrap_or_else(sent);
        derived_id(&[self.table.name, &self.id, self.kind, user, author, &what])
    }

    /// Tells that a row was kept; in the same words, and so in the same issue, whenever it is told.
    pub(crate) fn of_kept(
        table: &'static Table,
        id: &str,
        case_id: Option<String>,
        reason: &str,
        raw: &Map<String, Value>,
        entry: String,
        widely: bool,
    ) -> Telling {
        let sent = raw.iter().filter(|(name, _)| !name.starts_with('_'));
        Telling {
            kind: "quarantined",
            table,
            id: id.to_owned(),
            case_id,
            message: format!("Kept, not applied: {reason}."),
            sent: sent.map(|(name, value)| (name.clone(), value.clone())).collect(),
            quarantine_id: Some(entry),
            widely,
            again: false,
        }
    }
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
/// same entry, which stays one that many may be told of when it was that once; it is open `again` where it is certain
/// that it was not only sent again: because the sender knows, or because its author has had the case again since it was
/// settled. Answers that too. `turn` orders what comes with one request.
pub(crate) async fn keep(
    write: &Write,
    incoming: &Incoming,
    case_id: Option<&str>,
    turn: usize,
    (reason, widely): (&str, bool),
    again: bool,
) -> Result<(String, bool)> {
    let raw = Value::Object(incoming.raw.clone()).to_string();
    let (actor, table, id) = (write.actor(), incoming.table, incoming.id.as_str());
    let op = incoming.kept_as();
    // The same words are the same work, whether they come as a new row, as an edit or as what is held.
    let said = incoming.raw.iter().filter(|(name, _)| !name.starts_with('_'));
    let said = canonical(Value::Object(said.map(|(name, value)| (name.clone(), value.clone())).collect()));
    let kind = if incoming.whole || op == "delete" { op } else { "" };
    let mut parts = vec![table.name, id, actor.user(), kind, &said];
    parts.extend(incoming.mutation.as_deref());
    let entry = derived_id(&parts);
    let again = again || has_had_again(write, &entry, case_id).await?;
    sql::exec(
        write.conn(),
        "insert into sync_quarantine (id, agency_id, tbl, row_id, case_id, user_id, device_id, at, op, reason, raw, \
         face, widely, turn, state) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $15, 'open') \
         on conflict (id) do update set widely = sync_quarantine.widely or excluded.widely, \
         state = case when $16 or sync_quarantine.state = 'discarded' and sync_quarantine.settled_reason = $14 \
         then 'open' else sync_quarantine.state end",
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
            if incoming.face == Face::Rest { "rest" } else { "watermelon" }.into(),
            widely.into(),
            // A state that gave way to a later one may come again.
            SUPERSEDED.into(),
            i64::try_from(turn).unwrap_or(i64::MAX).into(),
            again.into(),
        ],
    )
    .await?;
    Ok((entry, again))
}

/// Whether this work was discarded, and its author has come to have the case again after that.
async fn has_had_again(write: &Write, entry: &str, case_id: Option<&str>) -> Result<bool> {
    let text = "select 1 from sync_quarantine q join case_assignments a on a.case_id = $2 and a.user_id = q.user_id \
                where q.id = $1 and q.state = 'discarded' and a.deleted_at is null and a.from_ts > q.settled_at \
                and a.from_ts <= $3";
    let values = vec![entry.into(), case_id.unwrap_or_default().into(), write.now().0.into()];
    Ok(sql::one(write.conn(), text, values).await?.is_some())
}

/// Makes the issues of a push: one for each person to be told; those that are there already stay, and are open `again`
/// where it is certain that it happened again, and was not only sent again.
pub(crate) async fn tell(write: &mut Write, mut tellings: Vec<Telling>, again: bool) -> Result<()> {
    file_persons(write, &mut tellings).await?;
    let author = write.actor().user().to_owned();
    for telling in tellings {
        let mut audience = vec![(author.clone(), "author")];
        if telling.widely {
            audience.extend(concerned(write, &author, telling.case_id.as_deref()).await?);
        }
        tell_each(write, &telling, &author, audience, again || telling.again).await?;
    }
    Ok(())
}

/// Tells its author, in whose name this is done, and whoever took the work in for them what of it was not stored as sent.
pub(crate) async fn tell_of_accepted(write: &mut Write, tellings: Vec<Telling>, decider: &str) -> Result<()> {
    let author = write.actor().user().to_owned();
    for telling in tellings {
        let mut audience = concerned(write, &author, telling.case_id.as_deref()).await?;
        if !telling.widely {
            audience.retain(|(user, _)| user == decider);
        }
        audience.insert(0, (author.clone(), "author"));
        tell_each(write, &telling, &author, audience, false).await?;
    }
    Ok(())
}

/// A new row that is of no case by itself, such as a person, is filed with what was kept beside it and names it: those who
/// decide about that could not do without.
async fn file_persons(write: &Write, tellings: &mut [Telling]) -> Result<()> {
    for at in 0..tellings.len() {
        let (table, id) = (tellings[at].table, tellings[at].id.clone());
        let (None, Some(entry)) = (&tellings[at].case_id, tellings[at].quarantine_id.clone()) else { continue };
        if !custody::is_of_none(table) {
            continue;
        }
        let names = |other: &&Telling| other.widely && custody::names(other.table, &other.sent, table.name, &id);
        let case = tellings.iter().filter(names).find_map(|other| other.case_id.clone());
        if case.is_some() && write.row(table, &id).await?.is_none() {
            custody::file_entry(write, &entry, case.as_deref().unwrap_or_default()).await?;
            tellings[at].case_id = case;
        }
    }
    Ok(())
}

/// Tells whoever has these cases now, or supervises them, of the work that is kept open there: the
/// issues of those who had them before are out of sight with their access, and somebody has to decide.
pub(crate) async fn tell_newcomers(write: &mut Write, cases: &BTreeSet<String>) -> Result<()> {
    let open = custody::open_in(write, cases).await?;
    for (at, of_case) in open.chunk_by(|a, b| a.case_id == b.case_id).enumerate() {
        // A page of what came with many cases can end between two of them (S13).
        if at > 0 {
            write.step();
        }
        for kept in of_case {
            let told = told(write, kept).await?;
            let mut audience = concerned(write, &kept.author, kept.case_id.as_deref()).await?;
            audience.retain(|(user, _)| !told.contains(user));
            let (case, entry) = (kept.case_id.clone(), kept.id.clone());
            let telling = Telling::of_kept(kept.table, &kept.row_id, case, &kept.reason, &kept.raw, entry, true);
            tell_each(write, &telling, &kept.author, audience, false).await?;
        }
    }
    Ok(())
}

/// Who of a case has an issue about this work already: it comes into sight again with the case.
async fn told(write: &Write, kept: &Kept) -> Result<HashSet<String>> {
    let text = "select user_id from sync_issues where case_id = $1 and quarantine_id = $2";
    let values = vec![kept.case_id.clone().into(), kept.id.as_str().into()];
    let rows = sql::all(write.conn(), text, values).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Tells whoever supervises an author now of what is kept of theirs and belongs to no known case: nobody else would hear
/// of it, and whoever was told first may be gone.
pub(crate) async fn tell_supervisors(write: &mut Write) -> Result<()> {
    let mut open = custody::of_no_case(write, true).await?;
    open.sort_by(|a, b| a.author.cmp(&b.author));
    for of_author in open.chunk_by(|a, b| a.author == b.author) {
        let audience = concerned(write, &of_author[0].author, None).await?;
        for kept in of_author {
            let entry = kept.id.clone();
            let telling = Telling::of_kept(kept.table, &kept.row_id, None, &kept.reason, &kept.raw, entry, true);
            tell_each(write, &telling, &kept.author, audience.clone(), false).await?;
        }
    }
    Ok(())
}

async fn tell_each(
    write: &mut Write,
    telling: &Telling,
    author: &str,
    audience: Vec<(String, &'static str)>,
    again: bool,
) -> Result<()> {
    let shown = shown(&telling.sent);
    // An author who never had the case learns nothing of it, not even that it exists; nor does one who is
    // told together with those who have it now.
    let authors = match telling.case_id.as_deref().filter(|_| !telling.widely) {
        Some(case) if rights::has_had(write.conn(), write.actor(), case, write.now()).await? => Some(case.to_owned()),
        _ => None,
    };
    for (user, role) in audience {
        let id = telling.issue_of(&user, author);
        if let Some(before) = write.load::<issue::Entity>(&id).await? {
            if again && before.status != "open" {
                let again = issue::Model {
                    status: "open".into(),
                    settled_at: None,
                    settled_by: None,
                    settled_reason: None,
                    ..before.clone()
                };
                write.change::<issue::Entity>(&before, again).await?;
            }
            continue;
        }
        write
            .create::<issue::Entity>(issue::Model {
                id,
                user_id: user,
                case_id: if role == "author" { authors.clone() } else { telling.case_id.clone() },
                audience: role.into(),
                kind: telling.kind.into(),
                about_table: telling.table.name.into(),
                about_id: telling.id.clone(),
                quarantine_id: telling.quarantine_id.clone(),
                message: telling.message.clone(),
                detail: (role == "author" && !telling.sent.is_empty()).then(|| Doc(shown.clone())),
                status: "open".into(),
                ..Default::default()
            })
            .await?;
    }
    Ok(())
}

/// What an issue shows of what was sent: all of it, or the beginning of each text where it is more
/// than an issue holds (quarantine and history have the whole).
fn shown(sent: &Map<String, Value>) -> Value {
    let whole = Value::Object(sent.clone());
    if whole.to_string().len() <= issue::DETAIL {
        return whole;
    }
    let cut = |value: &Value| match value {
        Value::String(text) => text.chars().take(2000).collect::<String>().into(),
        Value::Array(_) | Value::Object(_) => Value::Null,
        plain => plain.clone(),
    };
    sent.iter().filter(|(name, _)| name.len() <= 64).take(100).map(|(name, value)| (name.clone(), cut(value))).collect()
}

/// Who else a case's issue concerns: those who have the case now, and its supervisors; where the
/// case is not known, the nearest supervisor above its author.
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
    if let Some(author) = user::by_id(write.conn(), &write.actor().agency_id, author).await? {
        let leader = user::supervisor_of(write.conn(), &author).await?;
        found.extend(leader.map(|leader| (leader.id, "supervisor")));
    }
    Ok(found)
}

/// The case a row concerns, where the server knows that case: its own, the one that was sent with it,
/// or for a row of several cases (a person) one in which it stands now, since nobody else could decide about it; of those
/// the one that its author has, or had last.
pub(crate) async fn known_case(write: &Write, row: Option<&Row>, raw: &Map<String, Value>) -> Result<Option<String>> {
    let named = row.and_then(Row::case_id).or_else(|| raw.get("case_id").and_then(Value::as_str));
    let (text, values) = match (named.filter(|id| is_id(id)), row) {
        (Some(case), _) => (
            "select id from cases where id = $1 and agency_id = $2",
            vec![case.into(), write.actor().agency_id.as_str().into()],
        ),
        (None, Some(row)) => (
            "select c.id from sync_feed f join cases c on c.id = substr(f.scope, 6) and c.agency_id = $4 \
             left join sync_access a on a.scope = f.scope and a.user_id = $3 \
             where f.tbl = $1 and f.row_id = $2 and f.scope >= 'case:' and f.scope < 'case;' \
             and f.scope not like '%/%' and (f.live or a.user_id is not null) \
             order by f.live desc, case when a.visible then 2 when a.user_id is not null then 1 else 0 end desc, \
             coalesce(a.seq, 0) desc, f.scope limit 1",
            vec![
                row.table.name.into(),
                row.id().into(),
                write.actor().user().into(),
                write.actor().agency_id.as_str().into(),
            ],
        ),
        (None, None) => return Ok(None),
    };
    Ok(sql::one(write.conn(), text, values).await?.map(|row| row.try_get_by_index(0)).transpose()?)
}
