//! Mutations of the native face, each with a result of its own.
//!
//! All mutations of a request share one transaction: each is either taken whole or answered with
//! why not, and a failure of the database undoes all of them, results included, so that the same
//! request can be sent again.

use std::collections::HashSet;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::{Map, Value};

use super::desk::{Desk, NOT_YOUR_CASE, OnConflict};
use super::intake::{Incoming, Op, VERB};
use super::{PushRefusal, merge, of_this_epoch, rights};
use crate::access::{self, Actor};
use crate::audit::hex;
use crate::doc::canonical;
use crate::error::Result;
use crate::read;
use crate::registry::{Column, Face, Row, Table, is_id};
use crate::sql;
use crate::store::Store;
use crate::sync::custody;
use crate::sync::device::{self, Device};
use crate::sync::quarantine::Telling;
use crate::write::Write;

/// Remembered of a mutation that was answered `retry`.
const ASKED_AGAIN: &str = "";

/// What a mutation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutationOp {
    /// Makes a row.
    Create,
    /// Sets fields.
    Update,
    /// Deletes a row.
    Delete,
    /// Makes a move of the row's state machine, named by its verb.
    Action(String),
}

/// One mutation.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The device's id for it: a UUID, unique on the device.
    pub id: String,
    /// What it does.
    pub op: MutationOp,
    /// The table.
    pub table: &'static Table,
    /// The row; one whose id cannot be one is told and not stored.
    pub row_id: String,
    /// For each field what it was on the device and what it is to be.
    pub set: Map<String, Value>,
    /// The mutation as sent, by which a repeat was told once from another mutation under the same id.
    pub sent: String,
}

/// What came of one mutation.
#[derive(Clone, Debug, Serialize)]
pub struct MutationResult {
    /// Its id.
    pub id: String,
    /// `applied`, `merged`, `duplicate`, `conflict`, `quarantined` or `retry`.
    pub status: &'static str,
    /// The row's number afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// The row as stored, where its author may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<Map<String, Value>>,
    /// Fields whose stored value stayed: `{field, stored, sent}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Value>,
    /// Why, in a word and a sentence, where it was not simply applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The issue that tells the author of it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue_id: Option<String>,
}

/// Takes mutations in, where they were made in this epoch or do not say in which. Answers their results as JSON texts, in
/// the order sent, with rows as an app of this version knows them; a mutation that was answered before gets the same text
/// again (S11).
pub async fn mutate(
    store: &Store,
    actor: &Actor,
    mutations: &[Mutation],
    epoch: Option<i64>,
    schema_version: u32,
) -> std::result::Result<Vec<Box<serde_json::value::RawValue>>, PushRefusal> {
    let mut write = store.write(actor).await?;
    of_this_epoch(&write, epoch)?;
    let mut answers: Vec<Option<String>> = Vec::with_capacity(mutations.len());
    let mut waited = HashSet::new();
    for (at, mutation) in mutations.iter().enumerate() {
        let told = match known(&write, mutation).await? {
            Some(text) if text == ASKED_AGAIN => {
                waited.insert(at);
                None
            }
            told => told,
        };
        if told.is_some() && is_id(&mutation.row_id) {
            // The row in that answer may be older than what the device has pulled since.
            device::resend(&write, mutation.table.name, &mutation.row_id).await?;
        }
        answers.push(told);
    }
    let mut order: Vec<usize> = (0..mutations.len()).filter(|at| answers[*at].is_none()).collect();
    // What is made comes first, parents before children (H18); the rest as sent, since a move may rest on what the app
    // did just before. What is deleted and made anew keeps its order.
    let mut made = HashSet::new();
    let places: Vec<u8> = mutations
        .iter()
        .map(|mutation| {
            let makes = mutation.op == MutationOp::Create;
            let first =
                (makes || mutation.op == MutationOp::Delete) && made.insert((mutation.table.name, &mutation.row_id));
            if first && makes { mutation.table.rank } else { u8::MAX }
        })
        .collect();
    order.sort_by_key(|at| places[*at]);
    let mut desk = Desk::for_mutations(&mut write, mutations).await?;
    desk.once = true;
    let mut results = Vec::with_capacity(order.len());
    for at in order.iter().copied() {
        let mutation = &mutations[at];
        results.push((
            at,
            if is_id(&mutation.row_id) {
                desk.mutate(mutation, waited.contains(&at)).await?
            } else {
                desk.unfit(mutation)
            },
        ));
    }
    desk.close().await?;
    write.settle_pending().await?;
    for (at, mut result) in results {
        let mutation = &mutations[at];
        if result.status != "retry"
            && is_id(&mutation.row_id)
            && access::sees(write.conn(), actor.user(), mutation.table.name, &mutation.row_id).await?
            && let Some(row) =
                read::by_ids(write.conn(), mutation.table, std::slice::from_ref(&mutation.row_id)).await?.pop()
        {
            result.seq = Some(row.seq());
            result.row = Some(crate::sync::native::page::object(&row, schema_version));
        }
        let text = serde_json::to_string(&result).map_err(|err| crate::Error::Internal(err.to_string()))?;
        remember(&write, mutation, if result.status == "retry" { ASKED_AGAIN } else { &text }).await?;
        answers[at] = Some(text);
    }
    Device::pushed(write.conn(), actor, write.now(), None, true).await?;
    write.note("mutate", "");
    write.commit().await?;
    answers
        .into_iter()
        .flatten()
        .map(|text| {
            let raw = serde_json::value::RawValue::from_string(text);
            raw.map_err(|err| crate::Error::Internal(err.to_string()).into())
        })
        .collect()
}

pub(super) fn incoming(mutation: &Mutation, raw: Map<String, Value>) -> Incoming {
    let op = match mutation.op {
        MutationOp::Create => Op::Created,
        MutationOp::Delete => Op::Deleted,
        MutationOp::Update | MutationOp::Action(_) => Op::Updated,
    };
    let whole = matches!(mutation.op, MutationOp::Action(_));
    let known_by = Some(mutation.id.clone()).filter(|id| !id.is_empty());
    let (table, id) = (mutation.table, mutation.row_id.clone());
    let verb = match &mutation.op {
        MutationOp::Action(verb) => Some(verb.clone()),
        _ => None,
    };
    Incoming { table, id, op, raw, face: Face::Rest, whole, verb, mutation: known_by }
}

/// Tells a mutation from another under the same id by what it does. An app that starts again may write its members in
/// another order, and stamp it anew.
fn hash(mutation: &Mutation) -> String {
    let (op, verb) = match &mutation.op {
        MutationOp::Create => ("create", None),
        MutationOp::Update => ("update", None),
        MutationOp::Delete => ("delete", None),
        MutationOp::Action(verb) => ("action", Some(verb)),
    };
    let does = serde_json::json!({
        "op": op, "table": mutation.table.name, "row_id": mutation.row_id, "verb": verb, "set": mutation.set,
    });
    hash_of(&canonical(does))
}

/// As it was told once, by all that was sent: what was answered then is answered so again.
fn hash_as_sent(mutation: &Mutation) -> String {
    let sent = serde_json::from_str(&mutation.sent).map_or_else(|_| mutation.sent.clone(), canonical);
    hash_of(&sent)
}

fn hash_of(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

async fn known(write: &Write, mutation: &Mutation) -> Result<Option<String>> {
    let row = sql::one(
        write.conn(),
        "select result from sync_mutation where user_id = $1 and device_id = $2 and id = $3 and hash in ($4, $5) \
         order by result desc limit 1",
        vec![
            write.actor().user().into(),
            write.actor().device_id.clone().unwrap_or_default().into(),
            mutation.id.as_str().into(),
            hash(mutation).into(),
            hash_as_sent(mutation).into(),
        ],
    )
    .await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
}

async fn remember(write: &Write, mutation: &Mutation, result: &str) -> Result<()> {
    let actor = write.actor();
    sql::exec(
        write.conn(),
        "insert into sync_mutation (user_id, device_id, id, hash, agency_id, seq, result) \
         values ($1, $2, $3, $4, $5, $6, $7) \
         on conflict (user_id, device_id, id, hash) do update set seq = excluded.seq, result = excluded.result \
         where sync_mutation.result = $8",
        vec![
            actor.user().into(),
            actor.device_id.clone().unwrap_or_default().into(),
            mutation.id.as_str().into(),
            hash(mutation).into(),
            actor.agency_id.as_str().into(),
            write.seq().into(),
            result.into(),
            ASKED_AGAIN.into(),
        ],
    )
    .await?;
    Ok(())
}

/// What tells of an action that could not be tried.
pub(super) fn not_done(mutation: &Mutation, case_id: Option<&str>, message: &str) -> Telling {
    Telling::to_author("ignored", mutation.table, &mutation.row_id, case_id, message, whole(mutation))
}

pub(super) fn answer(mutation: &Mutation, status: &'static str, reason: Option<String>) -> MutationResult {
    MutationResult {
        id: mutation.id.clone(),
        status,
        seq: None,
        row: None,
        conflicts: Vec::new(),
        reason,
        issue_id: None,
    }
}

impl<'a> Desk<'a> {
    /// A desk for mutations, which say for each field what they knew of it.
    pub(super) async fn for_mutations(write: &'a mut Write, mutations: &[Mutation]) -> Result<Desk<'a>> {
        let fit = mutations.iter().filter(|one| is_id(&one.row_id));
        let mut sorted: Vec<Incoming> = fit.map(|one| incoming(one, whole(one))).collect();
        sorted.sort_by_key(|row| (row.table.rank, row.table.name));
        Desk::open(write, &sorted, i64::MAX, OnConflict::Settle).await
    }

    /// Takes one mutation. One that has `waited` already is not put off again: what it hangs on may never
    /// come, and it would be sent for ever.
    pub(super) async fn mutate(&mut self, mutation: &Mutation, waited: bool) -> Result<MutationResult> {
        let key = (mutation.table.name, mutation.row_id.clone());
        // Another mutation of the request may have changed it on the way, such as the issue of what it settled.
        let before = self.write.row(mutation.table, &mutation.row_id).await?;
        if let Some(row) = &before {
            self.stored.insert(key.clone(), row.clone());
        }
        let (applied, quarantined, told) = (self.applied, self.quarantined, self.tellings.len());
        let was_visible = self.visible.contains(&key);
        let changes = matches!(mutation.op, MutationOp::Update | MutationOp::Action(_));
        let differs = match (&before, &mutation.op) {
            (Some(row), MutationOp::Delete) => differences(mutation, row),
            _ => Vec::new(),
        };
        let maker = match &before {
            None if changes => custody::kept_maker(self.write, mutation.table, &mutation.row_id).await?,
            _ => None,
        };
        // To its author a row that they never saw is as absent as one that does not exist.
        let absent = before.is_none()
            || !self.visible.contains(&key) && !self.ever_seen(mutation.table, &mutation.row_id).await?;
        let result = match (&before, &mutation.op) {
            (Some(row), MutationOp::Create | MutationOp::Update)
                if !row.is_deleted() && self.visible.contains(&key) =>
            {
                self.three_way(mutation, row, None).await?
            }
            (Some(row), MutationOp::Action(verb)) if !row.is_deleted() && self.visible.contains(&key) => {
                self.action(mutation, row, verb).await?
            }
            (None, MutationOp::Action(_) | MutationOp::Update) if maker.is_some() => {
                // What is kept of a row is kept with it, for whoever decides about that.
                let mut raw = whole(mutation);
                raw.insert("case_id".into(), maker.into());
                self.keep(&incoming(mutation, raw), None, NOT_YOUR_CASE, true).await?;
                answer(mutation, "duplicate", None)
            }
            // What is done to a row makes none: a restored server may lack it, and a device bring it back.
            _ if absent && says_what_is_done(mutation) => {
                self.puts_off(mutation, waited, "the row is not here yet").await?
            }
            (_, MutationOp::Create | MutationOp::Update) if absent && self.parent_missing(mutation, waited).await? => {
                self.puts_off(mutation, waited, "the case it belongs to is not here yet").await?
            }
            (Some(row), MutationOp::Delete) if !row.is_deleted() && was_visible && !differs.is_empty() => {
                let mut result = answer(mutation, "conflict", Some("it was changed since the device knew it".into()));
                for (name, stored) in differs {
                    result.conflicts.push(serde_json::json!({"field": name, "stored": stored, "sent": null}));
                }
                result
            }
            (None, MutationOp::Delete) if self.put_off.contains(&key) => {
                answer(mutation, "retry", Some("what it deletes is not here yet".into()))
            }
            (None, MutationOp::Delete) => {
                custody::supersede(self.write, mutation.table, &mutation.row_id, None).await?;
                answer(mutation, "duplicate", None)
            }
            _ => {
                self.take(&incoming(mutation, whole(mutation))).await?;
                answer(mutation, "duplicate", None)
            }
        };
        // What a mutation made or changed is there for the next one of the same request.
        self.flush().await?;
        if let Some(row) = self.write.row(mutation.table, &mutation.row_id).await? {
            // Of a case that was made in this request, access is settled only at its end.
            let actor = Arc::clone(self.write.actor());
            if access::sees(self.write.conn(), actor.user(), key.0, &key.1).await?
                || ((self.applied > applied || was_visible)
                    && rights::author_sees(self.write, &self.cases, &actor, &row).await?)
            {
                self.visible.insert(key.clone());
            } else {
                self.visible.remove(&key);
            }
            self.stored.insert(key, row);
        }
        let mut result = result;
        let (told, author) = (&self.tellings[told..], self.write.actor().user());
        let refused = told.iter().any(|telling| telling.kind == "illegal_move");
        let why = told.last().map(|telling| telling.message.clone());
        if self.quarantined > quarantined {
            (result.status, result.reason) = ("quarantined", why);
        } else if self.applied > applied && matches!(result.status, "duplicate" | "conflict") {
            result.status = if result.conflicts.is_empty() && told.is_empty() { "applied" } else { "merged" };
            result.reason = result.reason.or(why);
        } else if refused || (!told.is_empty() && result.status == "duplicate") {
            (result.status, result.reason) = ("conflict", why);
        }
        result.issue_id = told.last().map(|telling| telling.issue_of(author, author));
        Ok(result)
    }

    /// A mutation whose row cannot be kept under its id.
    fn unfit(&mut self, mutation: &Mutation) -> MutationResult {
        self.tell_unfit([(mutation.table, mutation.row_id.clone(), whole(mutation))]);
        let mut result = answer(mutation, "conflict", Some("its row_id cannot be one".into()));
        let author = self.write.actor().user();
        result.issue_id = self.tellings.last().map(|telling| telling.issue_of(author, author));
        result
    }

    /// Asks for it again later, and the second time keeps it.
    async fn puts_off(&mut self, mutation: &Mutation, waited: bool, why: &str) -> Result<MutationResult> {
        let (name, id) = (mutation.table.name, &mutation.row_id);
        if waited {
            let reason = custody::why_waiting(self.write).await?;
            self.keep(&incoming(mutation, whole(mutation)), None, reason, false).await?;
            device::resend(self.write, name, id).await?;
        } else {
            self.put_off.insert((name, id.clone()));
        }
        Ok(answer(mutation, "retry", Some(why.into())))
    }

    async fn has_had(&self, case_id: &str) -> Result<bool> {
        rights::has_had(self.write.conn(), self.write.actor(), case_id, self.write.now()).await
    }

    /// A child whose case, or whatever else it cannot do without, is not here yet is asked for again
    /// rather than refused (H18). So is one of a case that its author never had: nothing tells them
    /// whether it exists.
    async fn parent_missing(&self, mutation: &Mutation, waited: bool) -> Result<bool> {
        if mutation.op == MutationOp::Update && self.waits(mutation).await? {
            return Ok(true);
        }
        // What it can be without it is stored without, where that does not come after all.
        let named = mutation.op == MutationOp::Create && !waited;
        self.lacks_parent(mutation, named).await
    }

    /// What changes a row that waits, waits with it.
    async fn waits(&self, mutation: &Mutation) -> Result<bool> {
        let (table, id) = (mutation.table, &mutation.row_id);
        Ok(self.put_off.contains(&(table.name, id.clone())) || custody::waits(self.write, table, id).await?)
    }

    /// Whether it names a row that it can do without and that its author saw once: nothing brings that back.
    async fn had_once(&self, column: &Column, target: &'static str, id: &str) -> Result<bool> {
        match crate::registry::table(target) {
            Some(target) if !column.field.required => self.ever_seen(target, id).await,
            _ => Ok(false),
        }
    }

    async fn lacks_parent(&self, mutation: &Mutation, or_named: bool) -> Result<bool> {
        let named = |column: &str| mutation.set.get(column).map(to).and_then(|id| id.as_str().map(str::to_owned));
        for column in mutation.table.columns.iter().filter(|column| column.field.required || or_named) {
            let named = named(column.name).filter(|id| is_id(id) || column.field.required);
            let (Some(target), Some(id)) = (column.field.refers, named) else { continue };
            let missing = match column.name {
                "case_id" => !self.cases.contains(&id) && !self.has_had(&id).await?,
                _ => {
                    let comes = self.put_off.contains(&(target, id.clone()));
                    comes || !self.reach.knows(target, &id) && !self.had_once(column, target, &id).await?
                }
            };
            if missing {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether it says what is done to a row that is there. A document says how the row is to be, whether it is there or not.
fn says_what_is_done(mutation: &Mutation) -> bool {
    let is_document = mutation.id.is_empty();
    matches!(mutation.op, MutationOp::Update | MutationOp::Action(_)) && !is_document
}

/// Fields that a deletion knew otherwise than they stand, with what stands there.
fn differences(mutation: &Mutation, row: &Row) -> Vec<(String, Value)> {
    let known = mutation.set.iter().filter_map(|(name, pair)| Some((name, knew(pair)?)));
    let differs = known.filter_map(|(name, from)| {
        let said = |at: &usize| mutation.table.columns[*at].field.wire && mutation.table.columns[*at].field.writable();
        let at = mutation.table.index(name).filter(said)?;
        let (from, _) = merge::clean(&mutation.table.columns[at], from, Face::Rest);
        (from != *row.cell(at)).then(|| (name.clone(), row.json(at, Face::Rest)))
    });
    differs.collect()
}

/// Every value a mutation names; of an update `_changed` says which are new, and of an action what it leads to.
pub(super) fn whole(mutation: &Mutation) -> Map<String, Value> {
    let mut raw: Map<String, Value> = mutation.set.iter().map(|(name, pair)| (name.clone(), to(pair))).collect();
    let step = match &mutation.op {
        MutationOp::Create | MutationOp::Delete => return raw,
        MutationOp::Update => None,
        MutationOp::Action(verb) => mutation.table.move_by_verb(verb).ok(),
    };
    if says_what_is_done(mutation) {
        raw.insert(VERB.to_owned(), step.map_or("update", |step| step.verb).into());
    }
    let changed = mutation.set.iter().filter(|(_, pair)| knew(pair) != Some(&to(pair)));
    let mut changed: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
    if let Some(step) = step {
        raw.insert(step.column.to_owned(), step.to.into());
        changed.push(step.column);
    }
    raw.insert("_changed".into(), changed.join(",").into());
    raw
}

/// A `{from, to}` pair. Of an app that writes no nulls one of the two may be missing.
fn pair(value: &Value) -> Option<&Map<String, Value>> {
    let members = |object: &&Map<String, Value>| {
        !object.is_empty() && object.keys().all(|name| matches!(name.as_str(), "from" | "to"))
    };
    value.as_object().filter(members)
}

/// What a pair says that the device knew, where it says so.
pub(super) fn knew(value: &Value) -> Option<&Value> {
    pair(value)?.get("from")
}

/// The new value of a pair; a bare value stands for itself.
pub(super) fn to(value: &Value) -> Value {
    match pair(value) {
        Some(pair) => pair.get("to").cloned().unwrap_or_default(),
        None => value.clone(),
    }
}
