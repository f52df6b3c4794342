//! Taking a device's work in, whole or not at all.
//!
//! Nothing that a person wrote is dropped: it is stored, or kept in quarantine, or the device is
//! told to merge and come back (409). A data problem is never an error, because a client that
//! cannot push is a client that loses work (M11).

mod desk;
mod intake;
mod merge;
pub(super) mod mutate;
mod offer;
mod reach;
mod refused;
mod replay;
pub(super) mod replicate;
pub(super) mod rights;
mod salvage;
mod three_way;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::access::{Actor, Role};
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::registry::{Row, is_id};
use crate::store::Store;
use crate::write::Write;

use super::custody::Kept;
use super::device::Device;
use super::timeline::Standing;
use super::{custody, quarantine};
pub(super) use desk::NOT_YOUR_CASE;
use desk::{Desk, OnConflict};
use intake::Intake;
pub(super) use intake::{Incoming, VERB};
use merge::Elsewhere;
use mutate::Mutation;
use reach::Reach;
pub use replay::Numbered;
pub use salvage::salvage;

/// Rows in one push.
pub const MAX_ROWS: usize = 5000;

/// One push of the WatermelonDB face.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// The number the device pulled just before.
    pub last_pulled_at: i64,
    /// The epoch of that pull's reply, where the app says it.
    pub epoch: Option<i64>,
    /// The body.
    pub body: Value,
    /// The app's count of its pushes, where it keeps one (S9).
    pub numbered: Option<Numbered>,
}

/// What came of a push that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The commit number.
    pub seq: i64,
    /// Rows stored, changed or deleted.
    pub applied: usize,
    /// Rows that were kept in quarantine.
    pub quarantined: usize,
    /// Ids of rows of tables that this server does not know, by table.
    pub unknown: BTreeMap<String, Vec<String>>,
}

/// Why a push was not taken. Nothing was stored.
#[derive(Debug)]
pub enum PushRefusal {
    /// Another device changed the same columns: pull, merge and push again.
    Conflict(Vec<Conflict>),
    /// A backup was restored since the device pulled, and it may hold what is to be changed here: the epoch now. It
    /// offers that first, or what it pushes would be taken for all there is of it.
    EpochChanged(i64),
    /// More rows than `MAX_ROWS`.
    TooManyRows,
    /// The body is not a push.
    Malformed(String),
    /// Anything else.
    Failed(Error),
}

/// One row on which two devices disagree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// Its table.
    pub table: &'static str,
    /// Its id.
    pub id: String,
    /// The columns, or that it was deleted or changed meanwhile.
    pub reason: String,
}

impl<E: Into<Error>> From<E> for PushRefusal {
    fn from(err: E) -> Self {
        PushRefusal::Failed(err.into())
    }
}

/// Refuses what was made on what another epoch gave, where the app says which that was.
fn of_this_epoch(write: &Write, epoch: Option<i64>) -> std::result::Result<(), PushRefusal> {
    let now = write.line().epoch;
    if epoch.is_some_and(|epoch| epoch != now) { Err(PushRefusal::EpochChanged(now)) } else { Ok(()) }
}

/// Takes a push in. All or nothing.
pub async fn push(store: &Store, actor: &Actor, request: PushRequest) -> std::result::Result<Push, PushRefusal> {
    let mut intake = intake::read(request.body)?;
    let mut write = store.write(actor).await?;
    let since = request.last_pulled_at;
    // A number that lies further than the newest is an app's own mistake.
    if write.line().standing(request.epoch, since.min(write.line().head)) == Standing::Lost {
        return Err(PushRefusal::EpochChanged(write.line().epoch));
    }
    let counted = match request.numbered {
        Some(numbered) => Some(replay::Counted::take(&write, numbered, since, &mut intake.rows).await?),
        None => None,
    };
    let overtaken = counted.as_ref().and_then(|counted| counted.overtaken.as_ref());
    let mut desk = Desk::open(&mut write, &intake.rows, since, OnConflict::AskDevice).await?;
    desk.once = counted.is_some();
    match overtaken {
        Some(later) => {
            for incoming in &intake.rows {
                desk.take_overtaken(incoming, later).await?;
            }
        }
        None => desk.take_all(&intake.rows).await?,
    }
    desk.tell_unfit(intake.unfit);
    if !desk.conflicts.is_empty() {
        let conflicts = std::mem::take(&mut desk.conflicts);
        drop(write);
        let side = store.side().await?;
        Device::sent_back(&*side, actor).await?;
        side.commit().await?;
        return Err(PushRefusal::Conflict(conflicts));
    }
    let (applied, quarantined) = desk.close().await?;
    // One that is counted says itself what it has had an answer to.
    let knows = counted.is_none().then_some(since.min(write.seq()));
    Device::pushed(write.conn(), actor, write.now(), knows, applied + quarantined > 0).await?;
    if let Some(counted) = counted {
        counted.keep(&write).await?;
    }
    write.note("push", "");
    let seq = write.commit().await?;
    Ok(Push { seq, applied, quarantined, unknown: intake.unknown })
}

/// What a device hands over beside its pushes, in the words of its face.
#[derive(Debug)]
pub enum HandedOver {
    /// `{table: {created, updated, deleted}}`.
    Rows(Value),
    /// Mutations of the native face.
    Mutations(Vec<Mutation>),
}

impl From<Value> for HandedOver {
    fn from(body: Value) -> HandedOver {
        HandedOver::Rows(body)
    }
}

impl HandedOver {
    fn read(self) -> std::result::Result<Intake, PushRefusal> {
        let mutations = match self {
            HandedOver::Rows(body) => return intake::read(body),
            HandedOver::Mutations(mutations) => mutations,
        };
        let mut intake = Intake::default();
        for mutation in &mutations {
            let raw = mutate::whole(mutation);
            if is_id(&mutation.row_id) {
                intake.rows.push(mutate::incoming(mutation, raw));
            } else {
                intake.unfit.push((mutation.table, mutation.row_id.clone(), raw));
            }
        }
        intake.rows.sort_by_key(|row| (row.table.rank, row.table.name));
        Ok(intake)
    }
}

/// Keeps rows that a device is about to lose to a reply it has just received (S4): all of them,
/// whoever may see the case now. Answers how many. The same rows sent again are the same entries.
pub async fn rescue(
    store: &Store,
    actor: &Actor,
    body: impl Into<HandedOver>,
) -> std::result::Result<usize, PushRefusal> {
    keep_all(store, actor, body.into(), "the device was about to lose it with the case", "rescue").await
}

/// Keeps what a device that was shut out had not sent yet, before it erases itself: all of it in
/// quarantine, since nobody can vouch for who held the device.
pub async fn farewell(
    store: &Store,
    actor: &Actor,
    body: impl Into<HandedOver>,
) -> std::result::Result<usize, PushRefusal> {
    keep_all(store, actor, body.into(), "it was left on a device that had been shut out", "farewell").await
}

async fn keep_all(
    store: &Store,
    actor: &Actor,
    body: HandedOver,
    reason: &'static str,
    action: &'static str,
) -> std::result::Result<usize, PushRefusal> {
    let intake = body.read()?;
    let mut write = store.write(actor).await?;
    let mut desk = Desk::open(&mut write, &intake.rows, 0, OnConflict::Settle).await?;
    for incoming in &intake.rows {
        let mut before = desk.stored.get(&(incoming.table.name, incoming.id.clone())).cloned();
        // Of a device that was shut out nobody knows who held it.
        if let Some(row) = before.as_mut().filter(|_| action == "rescue")
            && desk.narrows(incoming, row).await?
        {
            continue;
        }
        desk.keep(incoming, before.as_ref(), reason, true).await?;
    }
    desk.tell_unfit(intake.unfit);
    let (_, kept) = desk.close().await?;
    write.note(action, "");
    write.commit().await?;
    Ok(kept)
}

/// Applies quarantined work now, to a case that the actor has and under the rights of its author; to
/// another case where one is named. What somebody did as the worker of a case is theirs whatever they have become since,
/// but then somebody else has to say so.
///
/// Fails with `Conflict` when it cannot be applied even now.
pub(crate) async fn apply_kept(write: &mut Write, kept: &Kept, case_id: Option<&str>) -> Result<()> {
    let author = rights::author(write, &kept.author).await?;
    let by_another = write.actor().user() != author.user();
    if author.role == Role::Caseworker || !by_another || !rights::was_its_worker(write, kept).await? {
        return apply_as(write, kept, case_id, author).await;
    }
    let as_they_are = Arc::clone(&author);
    match write.attempt(async |write| apply_as(write, kept, case_id, as_they_are).await).await {
        Err(Error::Conflict { .. }) => apply_as(write, kept, case_id, rights::as_worker(&author)).await,
        done => done,
    }
}

async fn apply_as(write: &mut Write, kept: &Kept, case_id: Option<&str>, author: Arc<Actor>) -> Result<()> {
    let mut incoming = Incoming::of_kept(kept);
    if let Some(case) = case_id {
        incoming.raw.insert("case_id".into(), case.into());
    }
    let incoming = [incoming];
    // What its author may name, it may name: a person who was taken in before it is theirs.
    let theirs =
        write.in_the_name_of(Arc::clone(&author), async |write| Reach::of(write, &incoming, &HashMap::new()).await);
    let theirs = theirs.await?;
    let mut desk = Desk::open(write, &incoming, i64::MAX, OnConflict::Settle).await?;
    desk.author = Arc::clone(&author);
    desk.reach.extend(theirs);
    desk.take(&incoming[0]).await?;
    if let Some(name) = desk.fresh.first().and_then(|fresh| lost_name(&incoming[0], fresh.row()))
        && custody::is_kept(desk.write, kept.table, name).await?
    {
        let detail = "It names a row that is kept itself: decide about that first.".into();
        return Err(Error::Conflict { code: "not_applicable", detail });
    }
    let mut tellings = std::mem::take(&mut desk.tellings);
    // Kept once more: whatever of it could be stored, the rest was not.
    if desk.quarantined > 0 {
        let why = tellings.pop().map(|telling| telling.message).unwrap_or_default();
        return Err(Error::Conflict { code: "not_applicable", detail: format!("It cannot be applied. {why}") });
    }
    // Work that is there already, because its author could send it after all, is settled too.
    if let Some(telling) = tellings.pop_if(|_| desk.applied == 0) {
        let why = telling.message;
        return Err(Error::Conflict { code: "not_applicable", detail: format!("It cannot be applied. {why}") });
    }
    let (fresh, unseen) = (std::mem::take(&mut desk.fresh), std::mem::take(&mut desk.unseen));
    let user = write.actor().user().to_owned();
    // Of an account that is closed nobody would see what stands in no case.
    let of_a_case = kept.table.is_case() || kept.table.has_case();
    let its = of_a_case || rights::is_active(write, &kept.author).await?;
    let owner = if its { author.clone() } else { Arc::clone(write.actor()) };
    let stored = write.in_the_name_of(owner, async |write| {
        // It is its author's: a case that was opened offline, and the team it is of.
        write.insert(fresh).await
    });
    stored.await?;
    // What is not stored as it was sent is told as if it had come now.
    write.in_the_name_of(author, async |write| quarantine::tell_of_accepted(write, tellings, &user).await).await?;
    for (table, id) in unseen {
        write.take_from_author(table, &id, &user).await?;
    }
    Ok(())
}

/// The row of its own table that work named and that was dropped from it.
fn lost_name<'a>(incoming: &'a Incoming, stored: &Row) -> Option<&'a str> {
    let own = incoming.table.columns.iter().filter(|column| column.field.refers == Some(incoming.table.name));
    own.filter(|column| stored.text(column.name).is_none())
        .find_map(|column| incoming.raw.get(column.name).and_then(Value::as_str))
        .filter(|id| is_id(id))
}

/// The row as it would be, were kept work applied to the stored one or made anew.
pub(super) fn as_applied(kept: &Kept, stored: Option<&Row>, now: Instant, actor: &Actor) -> Result<Row> {
    let merged = merge::merge(&Incoming::of_kept(kept), stored, &Elsewhere::default(), now, actor)?;
    Ok(merged.row)
}
