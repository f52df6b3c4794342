//! Deciding about kept work: accepted, re-homed or discarded, with what hangs on it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::issue;
use super::super::push::{Incoming, VERB, apply_kept};
use super::{COLUMNS, Kept, kept, opens_case, would_see};
use crate::access::Actor;
use crate::error::{Error, Result};
use crate::read;
use crate::registry::{Merge, is_id};
use crate::sql;
use crate::store::Store;
use crate::write::Write;

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

/// Settles quarantined work, what hangs on it, and every issue about either.
///
/// Fails with `NotFound` for an issue that is not the actor's, `Forbidden` for work they may not
/// read or a case that is not theirs, `Conflict` when it is settled already or cannot be applied
/// even now, `Invalid` without a reason.
pub async fn decide(store: &Store, actor: &Actor, issue_id: &str, decision: Decision, reason: &str) -> Result<()> {
    if reason.trim().is_empty() {
        return Err(Error::invalid("reason", "required", "say why"));
    }
    let mut write = store.write(actor).await?;
    let kept = kept(write.conn(), actor, issue_id, write.now()).await?;
    if kept.state != "open" {
        return Err(Error::Conflict { code: "settled", detail: format!("this work was {} already", kept.state) });
    }
    if let Decision::Rehome(case) = &decision
        && !is_id(case)
    {
        return Err(Error::invalid("case_id", "id", "must be the id of a case"));
    }
    // An edit of a row that is kept itself is nothing without it: the two are taken in together.
    let maker = match decision {
        Decision::Discard => None,
        _ if kept.op == "create" => None,
        _ if write.row(kept.table, &kept.row_id).await?.is_some() => None,
        _ => maker_of(&write, &kept).await?,
    };
    let kept = match maker {
        Some(maker) if maker.author != kept.author => kept,
        Some(maker) if maker.author == actor.user() || would_see(write.conn(), actor, &maker, write.now()).await? => {
            maker
        }
        Some(_) => return Err(Error::Forbidden("this work is meant for fewer eyes".into())),
        None => kept,
    };
    // What it makes, others may hang on, whether it was pushed as new or handed over as it was held.
    let makes = ["create", "update"].contains(&kept.op.as_str())
        && !kept.raw.contains_key(VERB)
        && write.row(kept.table, &kept.row_id).await?.is_none()
        && (kept.op == "create" || maker_of(&write, &kept).await?.is_none());
    if matches!(decision, Decision::Rehome(_)) && !(makes && kept.table.has_case()) {
        let detail = "Only what makes a new row of a case can go to another case: accept or discard it.".into();
        return Err(Error::Conflict { code: "not_applicable", detail });
    }
    if decision == Decision::Discard
        && kept.author == actor.user()
        && let Some(case) = &kept.case_id
        && !opens_case(write.conn(), actor, case, "").await?
        && is_told_to_others(&write, &kept).await?
    {
        return Err(Error::Forbidden("those who have the case were told of it and decide".into()));
    }
    if decision != Decision::Discard {
        // A person whom it names is taken in with it, being nothing to those who have the case without.
        for person in named_by(&write, &kept).await? {
            match write.attempt(async |write| carry_out(write, &person, &Decision::Accept, reason).await).await {
                Ok(()) | Err(Error::Conflict { .. } | Error::NotFound) => (),
                Err(error) => return Err(error),
            }
        }
    }
    carry_out(&mut write, &kept, &decision, reason).await?;
    // A case that has just been made is somebody's only when access to it is settled. Those who have it are told of what
    // is left of this when all is done.
    write.settle_scopes().await?;
    let mut left = if makes { bundle(&write, &kept, &decision).await? } else { Vec::new() };
    loop {
        let before = left.len();
        let mut again = Vec::new();
        for child in left {
            // What cannot be applied even now, or is meant for fewer eyes, waits for a decision of its own.
            if child.author != actor.user() && !would_see(write.conn(), actor, &child, write.now()).await? {
                again.push(child);
                continue;
            }
            match write.attempt(async |write| carry_out(write, &child, &decision, reason).await).await {
                Ok(()) => (),
                Err(Error::Conflict { .. } | Error::Forbidden(_) | Error::NotFound) => again.push(child),
                Err(error) => return Err(error),
            }
        }
        // What one of them names may have come with another.
        if again.is_empty() || again.len() == before {
            break;
        }
        left = again;
    }
    write.note("quarantine_settled", decision.status());
    write.commit().await?;
    Ok(())
}

async fn carry_out(write: &mut Write, kept: &Kept, decision: &Decision, reason: &str) -> Result<()> {
    let case = match decision {
        Decision::Discard => return settle(write, &kept.id, decision.status(), reason).await,
        Decision::Accept => None,
        Decision::Rehome(case) => Some(case.as_str()),
    };
    if kept.says_another_wrote_it() && write.row(kept.table, &kept.row_id).await?.is_none() {
        let detail = "It says that somebody else wrote it, and nobody is made the author of another's words: write down \
                      what is to stay, and discard it.";
        return Err(Error::Conflict { code: "not_applicable", detail: detail.into() });
    }
    apply_kept(write, kept, case).await?;
    settle(write, &kept.id, decision.status(), reason).await?;
    settle_earlier(write, kept, reason).await
}

/// What its author had said of the row before is settled with the last of it, where that says all of it anew.
async fn settle_earlier(write: &mut Write, kept: &Kept, reason: &str) -> Result<()> {
    let text = format!(
        "select {COLUMNS} from sync_quarantine q where user_id = $1 and tbl = $2 and row_id = $3 and op = $4 \
         and state = 'open' and exists (select 1 from sync_quarantine l where l.id = $5 \
         and (q.at < l.at or q.at = l.at and q.turn < l.turn))"
    );
    let values = vec![
        kept.author.as_str().into(),
        kept.table.name.into(),
        kept.row_id.as_str().into(),
        kept.op.as_str().into(),
        kept.id.as_str().into(),
    ];
    let rows = sql::all(write.conn(), &text, values).await?;
    for earlier in rows.iter().map(Kept::of).collect::<Result<Vec<_>>>()? {
        if kept.op != "action" && says_again(kept, &earlier) {
            settle(write, &earlier.id, "discarded", reason).await?;
        }
    }
    Ok(())
}

/// Whether one state of a row says something of every column of which another does, and of a list all that it says.
fn says_again(later: &Kept, earlier: &Kept) -> bool {
    let list = |kept: &Kept, name: &str| match kept.raw.get(name) {
        Some(Value::Array(list)) => list.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Vec::new(),
    };
    let lists = later.table.wire_columns().map(|(_, column)| column);
    let mut lists = lists.filter(|column| column.field.merge == Merge::Items);
    if !lists.all(|column| {
        let now = list(later, column.name);
        list(earlier, column.name).iter().all(|item| now.contains(item))
    }) {
        return false;
    }
    let said = |kept: &Kept| {
        let incoming = Incoming::of_kept(kept);
        let columns = kept.table.wire_columns().map(|(_, column)| column.name);
        columns.filter(|name| incoming.raw.contains_key(*name) && incoming.speaks_for(name)).collect::<BTreeSet<_>>()
    };
    said(earlier).is_subset(&said(later))
}

/// Whether anybody but its author has been told of it.
async fn is_told_to_others(write: &Write, kept: &Kept) -> Result<bool> {
    let text = "select 1 from sync_issues where quarantine_id = $1 and user_id <> $2 and deleted_at is null";
    let values = vec![kept.id.as_str().into(), kept.author.as_str().into()];
    Ok(sql::one(write.conn(), text, values).await?.is_some())
}

/// Rows of no case that this work names and that are kept themselves.
async fn named_by(write: &Write, kept: &Kept) -> Result<Vec<Kept>> {
    let mut named = others_of(write, kept).await?;
    named.retain(|other| other.comes_with(kept));
    not_there(write, named).await
}

/// Those of which there is no row yet: what is said of one that is there is a matter of its own.
async fn not_there(write: &Write, kept: Vec<Kept>) -> Result<Vec<Kept>> {
    let mut left = Vec::with_capacity(kept.len());
    for one in kept {
        if write.row(one.table, &one.row_id).await?.is_none() {
            left.push(one);
        }
    }
    Ok(left)
}

/// The author's other open work.
async fn others_of(write: &Write, kept: &Kept) -> Result<Vec<Kept>> {
    let text = format!(
        "select {COLUMNS} from sync_quarantine where user_id = $1 and state = 'open' and id <> $2 order by at, turn, id"
    );
    let rows = sql::all(write.conn(), &text, vec![kept.author.as_str().into(), kept.id.as_str().into()]).await?;
    rows.iter().map(Kept::of).collect()
}

/// The row itself, where it is kept beside this edit of it.
async fn maker_of(write: &Write, kept: &Kept) -> Result<Option<Kept>> {
    let text = format!(
        "select {COLUMNS} from sync_quarantine where agency_id = $1 and state = 'open' and op = 'create' and tbl = $2 \
         and row_id = $3 and id <> $4 order by at, turn, id limit 1"
    );
    let agency = write.actor().agency_id.as_str();
    let values = vec![agency.into(), kept.table.name.into(), kept.row_id.as_str().into(), kept.id.as_str().into()];
    sql::one(write.conn(), &text, values).await?.map(|row| Kept::of(&row)).transpose()
}

/// The author's open work that hangs on this new row, parents first: children of a quarantined
/// parent are one bundle with it (S8), and so are the persons whom they name. A person whom something else names too is
/// not discarded with them.
async fn bundle(write: &Write, parent: &Kept, decision: &Decision) -> Result<Vec<Kept>> {
    let mut others = others_of(write, parent).await?;
    others.sort_by_key(|kept| kept.table.rank);
    let mut parents = vec![(parent.table.name, parent.row_id.clone())];
    let (mut bundle, mut left) = (Vec::new(), Vec::new());
    for kept in others {
        // Edits of the row too; another state of it is a choice of its own.
        let edits = |table: &str, id: &str| kept.op != "create" && kept.table.name == table && kept.row_id == id;
        let of_one = |table: &str, id: &str| kept.names(table, id) || edits(table, id);
        if parents.iter().any(|(table, id)| of_one(table, id)) {
            parents.push((kept.table.name, kept.row_id.clone()));
            bundle.push(kept);
        } else {
            left.push(kept);
        }
    }
    let named = |kept: &Kept, by: &[Kept]| by.iter().any(|other| kept.comes_with(other));
    let persons = left.iter().filter(|kept| named(kept, &bundle));
    let persons = persons.filter(|kept| *decision != Decision::Discard || !named(kept, &left)).cloned();
    let persons = not_there(write, persons.collect()).await?;
    Ok(persons.into_iter().chain(bundle).collect())
}

pub(super) async fn settle(write: &mut Write, entry: &str, status: &str, reason: &str) -> Result<()> {
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
