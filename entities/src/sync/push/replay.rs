//! Telling a push that is sent again because its answer was lost from a new one (S9).
//!
//! An app that numbers its pushes says with each the last one it had an answer to. What the others
//! carried is kept by column, as hashes. A row that says nothing but what one of them said
//! already is not applied again, and a column that does is not said anew where another device has
//! changed it since: it stays, and the row is sent again. Without this a lost answer would let an
//! old value win over one that somebody chose after seeing it.

use std::collections::{BTreeMap, BTreeSet};

use super::intake::{Incoming, Op};
use crate::access::Actor;
use crate::audit::short;
use crate::error::{Error, Result};
use crate::history;
use crate::sql;
use crate::sync::device;
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
type Sent = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// What is kept of a push until the device says that it had the answer.
struct Kept {
    number: i64,
    seq: i64,
    hash: String,
    sent: Sent,
}

/// A numbered push on its way in.
pub(super) struct Counted {
    numbered: Numbered,
    hash: String,
    text: String,
}

impl Counted {
    /// Takes out of a push what an unanswered one said already, and asks for those rows to be sent again.
    pub(super) async fn take(write: &Write, numbered: Numbered, rows: &mut Vec<Incoming>) -> Result<Counted> {
        let actor = write.actor().clone();
        let sent = sent(rows);
        let text = serde_json::to_string(&sent).map_err(|err| Error::Internal(err.to_string()))?;
        let hash = short(text.as_bytes());
        let kept = unanswered(write, &actor, numbered, &hash).await?;
        if kept.iter().any(|push| push.number == numbered.number && push.hash == hash) {
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
        Ok(Counted { numbered, hash, text })
    }

    /// Keeps what it carried, in the transaction that takes it in.
    pub(super) async fn keep(self, write: &Write) -> Result<()> {
        let actor = write.actor();
        sql::exec(
            write.conn(),
            "insert into sync_push (device_id, user_id, number, agency_id, seq, hash, sent) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (device_id, user_id, number) do nothing",
            vec![
                actor.device_id.clone().unwrap_or_default().into(),
                actor.user().into(),
                self.numbered.number.into(),
                actor.agency_id.as_str().into(),
                write.seq().into(),
                self.hash.into(),
                self.text.into(),
            ],
        )
        .await?;
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
    let Some(now) = sent.get(row.table.name).and_then(|rows| rows.get(&row.id)) else { return Ok(Said::Nothing) };
    // What was said last counts: a value taken back and given again is news.
    let mut last: BTreeMap<&String, (&String, i64)> = BTreeMap::new();
    for push in kept {
        let then = push.sent.get(row.table.name).and_then(|rows| rows.get(&row.id));
        last.extend(then.into_iter().flatten().map(|(name, hash)| (name, (hash, push.seq))));
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

/// The pushes of this device to which it has had no answer. Those it had are forgotten.
async fn unanswered(write: &Write, actor: &Actor, numbered: Numbered, hash: &str) -> Result<Vec<Kept>> {
    let device = actor.device_id.clone().unwrap_or_default();
    let whose = || vec![device.as_str().into(), actor.user().into()];
    let forget = "delete from sync_push where device_id = $1 and user_id = $2 and number <= $3";
    let mut bound = whose();
    bound.push(numbered.acked.into());
    sql::exec(write.conn(), forget, bound).await?;
    let text = "select number, seq, hash, sent from sync_push where device_id = $1 and user_id = $2 order by number";
    let mut kept = Vec::new();
    for row in sql::all(write.conn(), text, whose()).await? {
        let sent: String = row.try_get_by_index(3)?;
        kept.push(Kept {
            number: row.try_get_by_index(0)?,
            seq: row.try_get_by_index(1)?,
            hash: row.try_get_by_index(2)?,
            sent: serde_json::from_str(&sent).map_err(|err| Error::Internal(err.to_string()))?,
        });
    }
    let again = kept.iter().any(|push| push.number == numbered.number && push.hash == hash);
    if !again && kept.iter().any(|push| push.number >= numbered.number) {
        // The app has begun to count afresh: what it counted before says nothing about this push.
        let mut bound = whose();
        bound.push(i64::MAX.into());
        sql::exec(write.conn(), forget, bound).await?;
        kept.clear();
    }
    Ok(kept)
}

/// What the rows say, column by column. Deletions are left out: one repeated does nothing.
fn sent(rows: &[Incoming]) -> Sent {
    let mut sent = Sent::new();
    for row in rows.iter().filter(|row| row.op != Op::Deleted) {
        let said = row.raw.iter().filter(|(name, _)| !name.starts_with('_') && row.speaks_for(name));
        let columns = said.map(|(name, value)| (name.clone(), short(value.to_string().as_bytes()))).collect();
        sent.entry(row.table.name.into()).or_default().insert(row.id.clone(), columns);
    }
    sent
}
