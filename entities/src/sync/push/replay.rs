//! Telling a push that is sent again because its answer was lost from a new one (S9).
//!
//! An app that numbers its pushes says with each the last one it had an answer to. What the others
//! carried is kept by column, as hashes. A row that says nothing but what one of them said
//! already is not applied again, and a column that does is not said anew where another device has
//! changed it since: it stays, and the row is sent again. Without this a lost answer would let an
//! old value win over one that somebody chose after seeing it.
//!
//! A push can also be overtaken: it hung in one process, the app gave it up, and a later one went through another.
//! The later one carried all that was still unsent, as it stood by then, so one that was overtaken writes nothing
//! over what was stored since it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::desk::Desk;
use super::intake::{Incoming, Op};
use super::merge::{self, Elsewhere};
use crate::access::Actor;
use crate::audit::short;
use crate::error::{Error, Result};
use crate::history;
use crate::sql;
use crate::sync::device::{self, Device};
use crate::sync::quarantine::Telling;
use crate::write::Write;

/// A push's number, as the app counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its own number, greater than that of every push before.
    pub number: i64,
    /// The number of the last push whose answer the app has taken in; 0 for none.
    pub acked: i64,
}

/// Hashes of values by table, row and column.
pub(super) type Sent = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// Stands in the place of a column where a row was deleted; no column that counts is called so.
const DELETED: &str = "_deleted";

/// What is kept of a push until the device says that it had the answer.
struct Kept {
    number: i64,
    seq: i64,
    hash: String,
    sent: Sent,
}

/// A numbered push on its way in.
pub(super) struct Counted {
    number: i64,
    /// The pull that it was made on.
    since: i64,
    hash: String,
    text: String,
    /// What later pushes said that have overtaken this one; none where none has.
    pub(super) overtaken: Option<Sent>,
}

impl Counted {
    /// Takes out of a push what an unanswered one said already, and asks for those rows to be sent again. `since` is
    /// the pull that the push was made on.
    pub(super) async fn take(
        write: &Write,
        numbered: Numbered,
        since: i64,
        rows: &mut Vec<Incoming>,
    ) -> Result<Counted> {
        let actor = write.actor().clone();
        let number = numbered.number;
        let sent = sent(rows);
        let text = written(&sent)?;
        let hash = short(text.as_bytes());
        // What the device has had the answer to, it knew when it wrote this.
        if let Some(since) = forget(write, &actor, numbered.acked).await? {
            Device::knows(write.conn(), &actor, since).await?;
        }
        let mut kept = unanswered(write, &actor).await?;
        let again = kept.iter().any(|push| push.number == number && push.hash == hash);
        let mut counted = Counted { number, since, hash, text, overtaken: None };
        if kept.iter().any(|push| push.number > number) && !again {
            // The newest push is kept until a newer one is taken in, so one that was overtaken finds it. It was made
            // on a pull from before that one; what was made on a later pull was not under way then.
            if kept.iter().any(|push| push.number > number && push.seq > since) {
                let mut later = Sent::new();
                for push in kept.iter().filter(|push| push.number > number) {
                    lay_over(&mut later, &push.sent);
                }
                counted.overtaken = Some(later);
            } else if numbered.acked == 0 {
                // The app has begun to count afresh: what it counted before says nothing about this push.
                forget(write, &actor, i64::MAX).await?;
                kept.clear();
            }
        }
        if again {
            // A copy of a push that was taken in: whatever has been said since, it says nothing new.
            for row in std::mem::take(rows) {
                device::resend(write, row.table.name, &row.id).await?;
            }
        } else if !kept.is_empty() {
            let mut left = Vec::with_capacity(rows.len());
            for mut row in std::mem::take(rows) {
                let again = said_before(write, &actor, &kept, &sent, &mut row).await?;
                if again != Said::Nothing {
                    device::resend(write, row.table.name, &row.id).await?;
                }
                if again != Said::Everything {
                    left.push(row);
                }
            }
            *rows = left;
        }
        // An app that sends more under a number it has used has said both.
        if let Some(mut both) = kept.into_iter().find(|push| push.number == number) {
            lay_over(&mut both.sent, &sent);
            counted.text = written(&both.sent)?;
        }
        Ok(counted)
    }

    /// Keeps what it carried, in the transaction that takes it in.
    pub(super) async fn keep(self, write: &Write) -> Result<()> {
        let actor = write.actor();
        sql::exec(
            write.conn(),
            "insert into sync_push (device_id, user_id, number, agency_id, seq, hash, sent, since) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) \
             on conflict (device_id, user_id, number) do update set hash = excluded.hash, sent = excluded.sent",
            vec![
                actor.device_id.clone().unwrap_or_default().into(),
                actor.user().into(),
                self.number.into(),
                actor.agency_id.as_str().into(),
                write.seq().into(),
                self.hash.into(),
                self.text.into(),
                self.since.min(write.seq()).into(),
            ],
        )
        .await?;
        Ok(())
    }
}

impl Desk<'_> {
    /// Takes a row of a push that was overtaken. Where nobody has touched the row since the push was made, as any
    /// other. Else it stays as it is and is sent again; what neither a later push nor anybody else has said of it
    /// goes to its history, and its author is told.
    pub(super) async fn take_overtaken(&mut self, incoming: &Incoming, later: &Sent) -> Result<()> {
        let (table, key) = (incoming.table, (incoming.table.name, incoming.id.clone()));
        let said = later.get(table.name).and_then(|rows| rows.get(&incoming.id)).cloned().unwrap_or_default();
        let deleted = said.contains_key(DELETED);
        if deleted && !self.stored.contains_key(&key) {
            // Thrown away before it had ever arrived.
            return device::resend(self.write, table.name, &incoming.id).await;
        }
        let Some(before) = self.stored.get(&key).filter(|row| row.edit_seq() > self.since).cloned() else {
            return self.take(incoming).await;
        };
        // What somebody else deleted, or took from its author, is kept as ever.
        if !deleted && !self.visible.contains(&key) {
            return self.take(incoming).await;
        }
        device::resend(self.write, table.name, &incoming.id).await?;
        if deleted {
            return Ok(());
        }
        let (now, author) = (self.write.now(), Arc::clone(&self.author));
        let offered = merge::merge(incoming, Some(&before), &Elsewhere::default(), now, &author)?.row;
        let mut lost = offered.says_beside(&before);
        lost.retain(|name, _| !said.contains_key(name));
        let lost = history::keep_new(self.write, &before, lost).await?;
        if lost.is_empty() && incoming.op != Op::Deleted {
            return Ok(());
        }
        let said = "It was changed again before this arrived, so it stayed as it is; what arrived late is kept.";
        self.tellings.push(Telling::to_author("conflict", table, &incoming.id, before.case_id(), said, lost));
        Ok(())
    }
}

/// How much of a row an earlier push said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Partly,
    Everything,
}

async fn said_before(write: &Write, actor: &Actor, kept: &[Kept], sent: &Sent, row: &mut Incoming) -> Result<Said> {
    if row.op == Op::Deleted {
        // Where it was kept and somebody has decided since, it must not be asked for again.
        let then = kept.iter().rev().find_map(|push| push.sent.get(row.table.name)?.get(&row.id));
        let again = then.is_some_and(|said| said.contains_key(DELETED));
        return Ok(if again { Said::Everything } else { Said::Nothing });
    }
    let Some(now) = sent.get(row.table.name).and_then(|rows| rows.get(&row.id)) else { return Ok(Said::Nothing) };
    // What was said last counts: a value taken back and given again is news. One that was said again and
    // again was said when it was first.
    let mut last: BTreeMap<&String, (&String, i64)> = BTreeMap::new();
    for push in kept {
        let then = push.sent.get(row.table.name).and_then(|rows| rows.get(&row.id));
        for (name, hash) in then.into_iter().flatten() {
            let known = last.entry(name).or_insert((hash, push.seq));
            if known.0 != hash {
                *known = (hash, push.seq);
            }
        }
    }
    let same = now.iter().filter_map(|(name, hash)| match last.get(name) {
        Some((then, seq)) if *then == hash => Some((name, *seq)),
        _ => None,
    });
    let same: Vec<(&String, i64)> = same.collect();
    if same.len() == now.len() {
        return Ok(Said::Everything);
    }
    let mut stale = BTreeSet::new();
    for (name, seq) in same {
        let changed = history::changed_elsewhere(write.conn(), row.table, &row.id, seq, actor).await?;
        stale.extend(Some(name.clone()).filter(|name| changed.contains(name)));
    }
    if stale.is_empty() {
        return Ok(Said::Nothing);
    }
    let names: Vec<&str> = now.keys().filter(|name| !stale.contains(*name)).map(String::as_str).collect();
    // A row that names no columns would speak for all of them.
    if names.is_empty() {
        return Ok(Said::Everything);
    }
    row.raw.insert("_changed".into(), names.join(",").into());
    Ok(Said::Partly)
}

/// Forgets the pushes of this device up to a number; gives the latest pull on which one of them was made.
async fn forget(write: &Write, actor: &Actor, number: i64) -> Result<Option<i64>> {
    let device = actor.device_id.clone().unwrap_or_default();
    let text = "delete from sync_push where device_id = $1 and user_id = $2 and number <= $3 returning since";
    let mut latest = None;
    for row in sql::all(write.conn(), text, vec![device.into(), actor.user().into(), number.into()]).await? {
        latest = latest.max(row.try_get_by_index::<Option<i64>>(0)?);
    }
    Ok(latest)
}

/// The pushes of this device to which it has had no answer, as it counts.
async fn unanswered(write: &Write, actor: &Actor) -> Result<Vec<Kept>> {
    let device = actor.device_id.clone().unwrap_or_default();
    let text = "select number, seq, hash, sent from sync_push where device_id = $1 and user_id = $2 order by number";
    let mut kept = Vec::new();
    for row in sql::all(write.conn(), text, vec![device.into(), actor.user().into()]).await? {
        let sent: String = row.try_get_by_index(3)?;
        kept.push(Kept {
            number: row.try_get_by_index(0)?,
            seq: row.try_get_by_index(1)?,
            hash: row.try_get_by_index(2)?,
            sent: serde_json::from_str(&sent).map_err(|err| Error::Internal(err.to_string()))?,
        });
    }
    Ok(kept)
}

/// What the rows say, column by column.
fn sent(rows: &[Incoming]) -> Sent {
    let mut sent = Sent::new();
    for row in rows {
        let said = row.raw.iter().filter(|(name, _)| !name.starts_with('_') && row.speaks_for(name));
        let columns = match row.op {
            Op::Deleted => [(DELETED.to_owned(), String::new())].into(),
            _ => said.map(|(name, value)| (name.clone(), short(value.to_string().as_bytes()))).collect(),
        };
        sent.entry(row.table.name.into()).or_default().insert(row.id.clone(), columns);
    }
    sent
}

/// Adds what was said later to what was said before.
fn lay_over(said: &mut Sent, later: &Sent) {
    for (table, rows) in later {
        let known = said.entry(table.clone()).or_default();
        for (id, columns) in rows {
            known.entry(id.clone()).or_default().extend(columns.clone());
        }
    }
}

fn written(sent: &Sent) -> Result<String> {
    serde_json::to_string(sent).map_err(|err| Error::Internal(err.to_string()))
}
