//! The audit trail: one event for each transaction, chained by hash.
//!
//! An event names the rows it touched by hash, never their content, so that an administrator may
//! read the trail without reading cases. Each event's hash covers the one before it: an edited,
//! removed or reordered event breaks the chain at that place.

use futures_util::TryStreamExt;
use ring::digest::{SHA256, digest};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, StreamTrait};
use serde::{Deserialize, Serialize};

use crate::access::Actor;
use crate::clock::Instant;
use crate::error::Result;
use crate::sql;

/// The name of a row in the trail: the first 16 hex digits of SHA-256 over `table/id`.
pub fn object(table: &str, id: &str) -> String {
    short(format!("{table}/{id}").as_bytes())
}

/// The first 16 hex digits of SHA-256.
pub(crate) fn short(bytes: &[u8]) -> String {
    hex(&digest(&SHA256, bytes).as_ref()[..8])
}

/// Adds an event to the agency's chain, after the one with the hash `previous`. The caller holds the
/// agency's clock row, so events are added one at a time.
pub(crate) async fn append(conn: &impl ConnectionTrait, previous: &str, event: Event) -> Result<()> {
    let hash = event.hash(previous);
    // The commit is told to other processes on the way, without a round trip of its own.
    let tells = match conn.get_database_backend() {
        sea_orm::DbBackend::Postgres => {
            format!(" returning pg_notify('{}', agency_id || ':' || seq::text)::text", crate::store::CHANNEL)
        }
        _ => String::new(),
    };
    let text = format!(
        "insert into audit_event (agency_id, seq, at, user_id, role, device_id, action, reason, objects, previous, hash) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11){tells}"
    );
    sql::exec(
        conn,
        &text,
        vec![
            event.agency_id.into(),
            event.seq.into(),
            event.at.into(),
            event.user_id.into(),
            event.role.into(),
            event.device_id.into(),
            event.action.into(),
            event.reason.into(),
            event.objects.into(),
            previous.into(),
            hash.into(),
        ],
    )
    .await?;
    Ok(())
}

/// What the trail says of one transaction.
pub(crate) struct Event {
    agency_id: String,
    seq: i64,
    at: i64,
    user_id: Option<String>,
    role: String,
    device_id: Option<String>,
    action: String,
    reason: String,
    objects: String,
}

impl Event {
    /// An event: what was done, the reason where there is one, and the rows by their names in the trail.
    pub(crate) fn of(actor: &Actor, seq: i64, at: Instant, action: &str, reason: String, objects: String) -> Event {
        Event {
            agency_id: actor.agency_id.clone(),
            seq,
            at: at.0,
            user_id: actor.user_id.clone(),
            role: actor.role.as_str().to_owned(),
            device_id: actor.device_id.clone(),
            action: action.to_owned(),
            reason,
            objects,
        }
    }

    /// SHA-256 over the previous hash and every field, each preceded by its length so that no two
    /// different events can be written the same way.
    fn hash(&self, previous: &str) -> String {
        let (seq, at) = (self.seq.to_string(), self.at.to_string());
        let mut bytes = Vec::with_capacity(256);
        for part in [
            previous,
            &self.agency_id,
            &seq,
            &at,
            self.user_id.as_deref().unwrap_or_default(),
            &self.role,
            self.device_id.as_deref().unwrap_or_default(),
            &self.action,
            &self.reason,
            &self.objects,
        ] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        hex(digest(&SHA256, &bytes).as_ref())
    }
}

/// A trail in which every event is what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// How many events there are.
    pub events: u64,
    /// The last event of each agency, to be noted down elsewhere.
    pub heads: Vec<Head>,
}

/// An event by its place and its hash, which covers all before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose trail.
    pub agency_id: String,
    /// The event's commit number.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

/// The first event that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose trail.
    pub agency_id: String,
    /// The event's commit number.
    pub seq: i64,
    /// Nothing is left of the trail at all, which begins with the making of the agency.
    pub gone: bool,
}

/// Walks every agency's chain and answers what it found, or the first event that is not what was written. Holds one
/// event at a time.
pub async fn verify(conn: &(impl ConnectionTrait + StreamTrait)) -> Result<std::result::Result<Trail, Broken>> {
    // SQLite keeps what a column is not for; the event is named all the same.
    let text = "select agency_id, seq, at, user_id, role, device_id, action, reason, objects, previous, hash, \
                cast(agency_id as text), cast(seq as bigint) from audit_event order by agency_id, seq";
    let mut trail = Trail::default();
    {
        let rows = conn.stream_raw(Statement::from_string(ConnectionTrait::get_database_backend(conn), text)).await?;
        let mut rows = std::pin::pin!(rows);
        let mut last: Option<Head> = None;
        while let Some(row) = rows.try_next().await? {
            let follows = match written(&row) {
                Ok(written) => written.follows(&mut last, &mut trail.heads),
                Err(_) => false,
            };
            if !follows {
                let agency_id = row.try_get_by_index(11).unwrap_or_default();
                return Ok(Err(Broken { agency_id, seq: row.try_get_by_index(12).unwrap_or_default(), gone: false }));
            }
            trail.events += 1;
        }
        trail.heads.extend(last);
    }
    // One that nobody was ever made in may be older than the event that tells of an agency.
    let text = "select id from agencies where id not in (select agency_id from audit_event) \
                and id in (select agency_id from users) order by id limit 1";
    Ok(match sql::one(conn, text, vec![]).await? {
        Some(row) => Err(Broken { agency_id: row.try_get_by_index(0)?, seq: 0, gone: true }),
        None => Ok(trail),
    })
}

/// An event as it stands, with the hashes that stand beside it.
struct Written {
    event: Event,
    previous: String,
    hash: String,
}

/// Reads an event; fails where a column holds what no event has.
fn written(row: &QueryResult) -> Result<Written, DbErr> {
    let event = Event {
        agency_id: row.try_get_by_index(0)?,
        seq: row.try_get_by_index(1)?,
        at: row.try_get_by_index(2)?,
        user_id: row.try_get_by_index(3)?,
        role: row.try_get_by_index(4)?,
        device_id: row.try_get_by_index(5)?,
        action: row.try_get_by_index(6)?,
        reason: row.try_get_by_index(7)?,
        objects: row.try_get_by_index(8)?,
    };
    Ok(Written { event, previous: row.try_get_by_index(9)?, hash: row.try_get_by_index(10)? })
}

impl Written {
    /// Whether it is what was written after the `last` event, in whose place it comes. The last of an agency goes to
    /// `heads` when the next agency's first one comes.
    fn follows(self, last: &mut Option<Head>, heads: &mut Vec<Head>) -> bool {
        let Written { event, previous, hash } = self;
        if last.as_ref().is_some_and(|head| head.agency_id != event.agency_id) {
            heads.extend(last.take());
        }
        // Nobody is written as nothing, and never as an empty name: the hash does not tell the two apart.
        let named = |id: &Option<String>| id.as_deref() != Some("");
        let expected = last.as_ref().map_or("", |head| head.hash.as_str());
        let follows =
            named(&event.user_id) && named(&event.device_id) && previous == expected && hash == event.hash(expected);
        *last = Some(Head { agency_id: event.agency_id, seq: event.seq, hash });
        follows
    }
}

/// Whether an event that was noted down stands where it stood. A trail whose end was cut off, or that was written anew
/// from some event on, is sound in itself; only what was noted elsewhere tells.
pub async fn holds(conn: &impl ConnectionTrait, noted: &Head) -> Result<bool> {
    let text = "select 1 from audit_event where agency_id = $1 and seq = $2 and hash = $3";
    let values = vec![noted.agency_id.as_str().into(), noted.seq.into(), noted.hash.as_str().into()];
    Ok(sql::one(conn, text, values).await?.is_some())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
