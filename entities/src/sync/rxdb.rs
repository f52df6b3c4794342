//! The RxDB face: each collection replicates one table by itself.
//!
//! A page is full unless it is the last, because that client stops at the first short one (M15).
//! So a page may end within a commit, and a checkpoint says after which row. It is sealed, and
//! belongs to one user and table: what cannot be read, or is another's, is answered with the whole
//! table and never with an error, which that client would repeat for ever. `push/replicate.rs`
//! takes in what such a device sends.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Map, Value, json};

use crate::access::Actor;
use crate::error::Result;
use crate::read;
use crate::registry::{Row, SCHEMA_VERSION, Table};
use crate::sql;
use crate::store::{Snapshot, Store};

use super::device;
use super::feed::{self, Entry};
use super::native::cursor::CursorKey;
use super::native::page::object;
use super::pull::Told;
use super::restored;
use super::state::{Look, Note};
use super::timeline::{Standing, Timeline};

pub use super::push::replicate::{Pushed, push};

/// One pull of one table.
#[derive(Clone, Debug)]
pub struct PullRequest<'a> {
    /// The table.
    pub table: &'static Table,
    /// The `cursor` of the last page's checkpoint; none for a first sync.
    pub cursor: Option<&'a str>,
    /// Rows in a page.
    pub limit: usize,
    /// Schema version of the app.
    pub schema_version: u32,
    /// What the device says of itself.
    pub told: Told,
}

/// A page found and not yet written.
#[derive(Debug)]
pub struct Page {
    snapshot: Snapshot,
    entries: Vec<Entry>,
    next: Checkpoint,
    has_more: bool,
    replace: bool,
    schema_version: u32,
    note: Option<Note>,
}

/// Where a device stands in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Checkpoint {
    epoch: i64,
    /// Everything before this commit number has been sent,
    seq: i64,
    /// and of this commit the rows up to this id; all of it when empty.
    row: String,
    /// The newest number when the table was sent from the start: older deletions are not missed.
    began: i64,
    /// The schema version for which rows were sent.
    schema: u32,
    table: String,
    user: String,
}

impl Checkpoint {
    fn seal(&self, key: &CursorKey) -> String {
        let Checkpoint { epoch, seq, row, began, schema, table, user } = self;
        key.seal(&format!("rxdb {epoch} {seq} {row} {began} {schema} {table} {user}"))
    }

    fn open(text: &str, keys: &[CursorKey]) -> Option<Checkpoint> {
        let body = keys.iter().find_map(|key| key.open(text))?;
        let parts: Vec<&str> = body.split(' ').collect();
        let ["rxdb", epoch, seq, row, began, schema, table, user] = parts[..] else { return None };
        Some(Checkpoint {
            epoch: epoch.parse().ok()?,
            seq: seq.parse().ok()?,
            row: row.into(),
            began: began.parse().ok()?,
            schema: schema.parse().ok()?,
            table: table.into(),
            user: user.into(),
        })
    }
}

/// What to send.
#[derive(Default)]
struct Plan {
    since: i64,
    /// Rows of the commit `since` up to this id have been sent; all of them when empty.
    after: String,
    /// Deletions beyond this number are sent; none on a first sync.
    deletes_after: Option<i64>,
    /// All at once, whatever the limit (S5).
    whole: bool,
    /// What the device holds and does not find in the answer is not the user's any more.
    replace: bool,
    /// The device comes from before a restore.
    lost: bool,
    /// When the table was sent from the start; now, where that is this time.
    began: Option<i64>,
    /// The device begins and has pushed before. It keeps no checkpoint of a page that brought nothing,
    /// so it may hold what its user made here and has lost since.
    own: bool,
}

impl Plan {
    fn of(request: &PullRequest<'_>, user: &str, line: &Timeline, keys: &[CursorKey]) -> Plan {
        let Some(text) = request.cursor else { return Plan::default() };
        let known = Checkpoint::open(text, keys).filter(|at| at.user == user && at.table == request.table.name);
        let Some(known) = known else { return Plan { whole: true, replace: true, ..Plan::default() } };
        let sent = if known.row.is_empty() { known.seq } else { known.seq - 1 };
        match line.standing(Some(known.epoch), known.seq.max(known.began)) {
            // Rows that the server does not know stay on the device: they may be the only copy.
            Standing::Lost => {
                let deletes_after = Some(sent.min(line.restored_to));
                Plan { whole: true, lost: true, deletes_after, ..Plan::default() }
            }
            Standing::Forgotten => Plan { whole: true, replace: true, ..Plan::default() },
            Standing::Current if grown(request.table, known.schema, request.schema_version) => {
                Plan { whole: true, deletes_after: Some(sent), ..Plan::default() }
            }
            Standing::Current => Plan {
                since: known.seq,
                after: known.row,
                deletes_after: Some(sent),
                began: Some(known.began),
                ..Plan::default()
            },
        }
    }

    /// Whether an entry's place lies in the part of a commit that has been sent, and it has come up again since.
    fn has_sent(&self, entry: &Entry) -> bool {
        let within = (entry.position, entry.id.as_str()) <= (self.since, self.after.as_str());
        !self.after.is_empty() && within && entry.latest > self.since
    }

    /// Whether an entry lies beyond what has been sent.
    fn wants(&self, entry: &Entry) -> bool {
        let beyond = self.after.is_empty() || (entry.position, entry.id.as_str()) > (self.since, self.after.as_str());
        beyond && (entry.live || (entry.held && self.deletes_after.is_some_and(|after| entry.position > after)))
    }

    /// Entries with a greater number than this have to be looked at.
    fn start(&self) -> i64 {
        if self.after.is_empty() { self.since } else { self.since - 1 }
    }
}

/// Whether a table has columns that came after one schema version and not after another.
fn grown(table: &Table, from: u32, to: u32) -> bool {
    table.columns.iter().any(|column| column.field.since > from && column.field.since <= to)
}

/// Finds a page. One consistent view; the checkpoint covers exactly what is sent (M4).
pub async fn pull(store: &Store, actor: &Actor, request: &PullRequest<'_>, keys: &[CursorKey]) -> Result<Page> {
    let (mut snapshot, mut look) = Look::open(store, actor).await?;
    let mut plan = Plan::of(request, actor.user(), &look.line, keys);
    if plan.lost && !restored::told(&*snapshot, actor, look.line.epoch).await? {
        drop(snapshot);
        restored::tell(store, actor).await?;
        snapshot = store.read().await?;
        look = Look::take(store, &snapshot, actor).await?;
        plan = Plan::of(request, actor.user(), &look.line, keys);
    }
    let Look { line, device: stored, .. } = look;
    plan.own = request.cursor.is_none() && stored.last_push_at.is_some();
    let limit = if plan.whole { usize::MAX } else { request.limit.max(1) };
    let (mut entries, upto) = collect(&snapshot, actor, request.table, &plan, line.head, limit).await?;
    entries.sort_by(|a, b| (a.position, &a.id).cmp(&(b.position, &b.id)));
    let has_more = entries.len() > limit || upto < line.head;
    entries.truncate(limit);
    let last = entries.last().filter(|_| has_more);
    let next = Checkpoint {
        epoch: line.epoch,
        seq: last.map_or(line.head, |entry| entry.position),
        row: last.map_or_else(String::new, |entry| entry.id.clone()),
        began: plan.began.unwrap_or(line.head),
        // What is newer than this server was not sent.
        schema: request.schema_version.min(*SCHEMA_VERSION),
        table: request.table.name.into(),
        user: actor.user().into(),
    };
    let mut device = stored.clone();
    device.is_heard(snapshot.now().0, &request.told);
    let note = Note::of(actor, device, stored, &request.told);
    let (replace, schema_version) = (plan.replace, request.schema_version);
    Ok(Page { snapshot, entries, next, has_more, replace, schema_version, note })
}

/// At least `limit` of the next entries where there are so many, in no order, and the number up to
/// which they are all there.
async fn collect(
    snapshot: &Snapshot,
    actor: &Actor,
    table: &'static Table,
    plan: &Plan,
    head: i64,
    limit: usize,
) -> Result<(Vec<Entry>, i64)> {
    let (conn, user) = (&**snapshot, actor.user());
    let again = match plan.deletes_after {
        None if !plan.own => HashMap::new(),
        _ => resent(snapshot, actor, table, plan.start()).await?,
    };
    let (mut from, mut found) = (plan.start(), Vec::new());
    // A row whose path ended further on is found there once more, and a page names it once.
    let mut named = HashSet::new();
    loop {
        let end = match limit {
            usize::MAX => None,
            _ => feed::page_end_of(conn, user, Some(table), from, limit).await?,
        };
        let upto = end.unwrap_or(head).min(head);
        let mut entries = feed::entries(conn, user, table, from, upto).await?;
        for entry in
            entries.iter_mut().filter(|entry| plan.has_sent(entry) && (from + 1..=upto).contains(&entry.latest))
        {
            // It may have stood further on when its place was passed, by a path that has ended since.
            entry.position = entry.latest;
        }
        let own = if plan.own { made_by(conn, user, table, &entries).await? } else { HashSet::new() };
        let wants = |entry: &Entry| plan.wants(entry) || own.contains(&entry.id);
        let once = |entry: &Entry| !again.contains_key(&entry.id) && wants(entry) && named.insert(entry.id.clone());
        found.extend(entries.into_iter().filter(once));
        found.extend(
            again
                .values()
                .filter(|entry| (from + 1..=upto).contains(&entry.position) && (plan.own || plan.wants(entry)))
                .cloned(),
        );
        if upto >= head || found.len() >= limit {
            return Ok((found, upto));
        }
        from = upto;
    }
}

/// Those of the ended entries whose rows this user made. Where there is no row, they made it and it was
/// kept in quarantine.
async fn made_by(
    conn: &impl ConnectionTrait,
    user: &str,
    table: &'static Table,
    entries: &[Entry],
) -> Result<HashSet<String>> {
    let ended: Vec<&str> =
        entries.iter().filter(|entry| !entry.live && entry.held).map(|entry| entry.id.as_str()).collect();
    if ended.is_empty() {
        return Ok(HashSet::new());
    }
    let backend = conn.get_database_backend();
    let text = format!(
        "select id from {} where coalesce(created_by, '') <> $1 and {}",
        table.name,
        sql::among(backend, "id", 2)
    );
    let rows = sql::all(conn, &text, vec![user.into(), sql::list(backend, &ended)]).await?;
    let others = rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect::<Result<HashSet<String>>>()?;
    Ok(ended.into_iter().filter(|id| !others.contains(*id)).map(str::to_owned).collect())
}

/// Rows to be sent to this device again: the push that asked is one more path to them (S2, S7).
async fn resent(
    snapshot: &Snapshot,
    actor: &Actor,
    table: &'static Table,
    since: i64,
) -> Result<HashMap<String, Entry>> {
    let asked = device::to_resend_of(&**snapshot, actor, table.name, since).await?;
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
    let places = feed::places(&**snapshot, actor.user(), table, &ids).await?;
    let mut places: HashMap<String, Entry> = places.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
    let entry = |(id, seq): (String, i64)| {
        let place = places.remove(&id);
        let (position, live) = place.map_or((0, false), |place| (place.position, place.live));
        // The device named the row itself, so that it is not its to hold tells nothing.
        (id.clone(), Entry::told(table, id, position.max(seq), live))
    };
    Ok(asked.into_iter().map(entry).collect())
}

impl Page {
    /// The view the page is read from, for a last check of the session that asked.
    pub fn connection(&self) -> &DatabaseTransaction {
        &self.snapshot
    }

    /// Whether it brings nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is to be kept of the device once this is dropped.
    pub fn note(&mut self) -> Option<Note> {
        self.note.take()
    }

    /// The reply's body: `{documents, checkpoint: {cursor}, has_more, replace, epoch}`. A row that
    /// is gone is its id and `_deleted` and nothing else.
    pub async fn body(&self, key: &CursorKey) -> Result<Vec<u8>> {
        let mut rows: HashMap<String, Map<String, Value>> = HashMap::new();
        if let Some(first) = self.entries.first() {
            let ids: Vec<String> = self.entries.iter().filter(|entry| entry.live).map(|e| e.id.clone()).collect();
            for row in read::by_ids(&*self.snapshot, first.table, &ids).await? {
                rows.insert(row.id().to_owned(), document(Some(&row), "", self.schema_version));
            }
        }
        let documents: Vec<Map<String, Value>> = self
            .entries
            .iter()
            .map(|entry| rows.remove(&entry.id).unwrap_or_else(|| document(None, &entry.id, self.schema_version)))
            .collect();
        let body = json!({
            "documents": documents,
            "checkpoint": {"cursor": self.next.seal(key)},
            "has_more": self.has_more,
            "replace": self.replace,
            "epoch": self.next.epoch,
        });
        Ok(body.to_string().into_bytes())
    }
}

/// A row as a document of the RxDB face; without one, what is left of it.
pub(crate) fn document(row: Option<&Row>, id: &str, version: u32) -> Map<String, Value> {
    let mut document = match row {
        Some(row) => object(row, version),
        None => Map::from_iter([("id".to_owned(), id.into())]),
    };
    document.insert("_deleted".into(), row.is_none().into());
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_no_other_text_does() {
        let key = CursorKey::derive(b"secret");
        let at = Checkpoint {
            epoch: 2,
            seq: 1_800_000_000_123,
            row: String::new(),
            began: 5,
            schema: 1,
            table: "goals".into(),
            user: "u.1-_x".into(),
        };
        let sealed = at.seal(&key);
        let keys = [CursorKey::derive(b"newer"), key];
        assert_eq!(Checkpoint::open(&sealed, &keys), Some(at));
        assert_eq!(Checkpoint::open(&sealed, &keys[..1]), None);
        assert_eq!(Checkpoint::open(&keys[1].seal("1.2.3.u"), &keys), None);
        assert_eq!(Checkpoint::open("", &keys), None);
    }
}
