//! A page for a device: what is there now, what is gone, and the number to ask from next time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::access::Actor;
use crate::error::{Error, Result};
use crate::registry::{TABLES, Table, table};
use crate::store::{Snapshot, Store};

use super::device;
use super::feed::{self, Entry};
use super::restored;
use super::state::{Look, Note, State};

/// What an app that grew new tables or columns asks to be filled in.
#[derive(Clone, Debug, Default)]
pub struct Migration {
    /// New tables.
    pub tables: Vec<String>,
    /// Tables with new columns.
    pub columns: Vec<String>,
}

/// One pull.
#[derive(Clone, Debug, Default)]
pub struct PullRequest {
    /// The number the last reply gave; 0 for a first sync.
    pub cursor: i64,
    /// About how many rows to send; none for everything.
    pub limit: Option<usize>,
    /// Schema version of the app.
    pub schema_version: u32,
    /// New tables and columns of the app, if it says so.
    pub migration: Option<Migration>,
    /// The app holds work not sent yet and asks that deletes wait for it.
    pub pending: bool,
    /// What the device says of itself.
    pub told: Told,
    /// The epoch of the last reply, where the app gives it back.
    pub epoch: Option<i64>,
    /// The epoch for which the device has offered all it holds (`salvage`): what it then still holds and the
    /// server does not know may go.
    pub salvaged: Option<i64>,
}

/// What a device says of itself. Shown to people; decides nothing.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its clock, in milliseconds since 1970.
    pub clock: Option<i64>,
    /// The version of the app.
    pub app_version: Option<String>,
}

/// The answer, as ids; the rows are read from the same snapshot while the page is written.
#[derive(Debug)]
pub struct Pull {
    pub(crate) snapshot: Snapshot,
    /// Rows to send, by table in order of dependency.
    pub live: Vec<(&'static Table, Vec<String>)>,
    /// Rows to take away, by table.
    pub gone: Vec<(&'static Table, Vec<String>)>,
    /// The cursor for next time.
    pub timestamp: i64,
    /// The newest commit number of the agency.
    pub head: i64,
    /// There is more beyond this page.
    pub has_more: bool,
    /// The timeline the numbers belong to.
    pub epoch: i64,
    /// Schema version to write rows for.
    pub schema_version: u32,
    /// Something about the device is not settled yet: deletes held back, a schema on its way.
    pub(crate) unsettled: bool,
    /// The device takes away whatever is not in this reply, but for rows it has never sent:
    /// deletions it did not hear of have been forgotten (H8).
    pub replaces: bool,
    note: Option<Note>,
}

impl Pull {
    /// What is still to be kept of the device: once the page has been written and this is dropped, since a
    /// connection is needed for it. Nothing is lost with it but the next pull's time.
    pub fn note(&mut self) -> Option<Note> {
        self.note.take()
    }

    /// Takes note in `quiet` of what this reply leaves open.
    pub fn remember(&self, quiet: &super::Quiet, actor: &Actor) {
        quiet.note(actor, self);
    }

    /// How many rows it names, live and gone.
    pub fn rows(&self) -> usize {
        self.live.iter().chain(&self.gone).map(|(_, ids)| ids.len()).sum()
    }

    /// The view the page is read from, for a last check of the session that asked.
    pub fn connection(&self) -> &sea_orm::DatabaseTransaction {
        &self.snapshot
    }
}

/// Answers a pull. One consistent view; the cursor covers exactly what is sent (M4). `Busy` where the same device asks
/// again and again at the same moment.
pub async fn pull(store: &Store, actor: &Actor, request: &PullRequest) -> Result<Pull> {
    for _ in 0..4 {
        if let Some(pull) = attempt(store, actor, request).await? {
            return Ok(pull);
        }
    }
    Err(Error::Busy("this device has several pulls under way".into()))
}

/// `None` where the device was heard of again meanwhile, so that what was read of it no longer holds.
async fn attempt(store: &Store, actor: &Actor, request: &PullRequest) -> Result<Option<Pull>> {
    let (mut snapshot, look) = Look::open(store, actor).await?;
    let mut state = State::of(look, request);
    if state.lost && !restored::told(&*snapshot, actor, state.epoch).await? {
        drop(snapshot);
        restored::tell(store, actor).await?;
        snapshot = store.read().await?;
        state = State::of(Look::take(store, &snapshot, actor).await?, request);
    }
    if state.promises() {
        // What the reply promises is kept before the view that answers it is opened, and no connection
        // is held while another is asked for, which would stop a pool as soon as more first syncs
        // came than it is large.
        drop(snapshot);
        if !state.keep(store, actor).await? {
            return Ok(None);
        }
        snapshot = store.read().await?;
        state = state.reload(store, &snapshot, actor, request).await?;
    }
    let mut page = Page::find(&snapshot, actor, request, &state, None).await?;
    // What has been forgotten cannot be seen to be held back.
    let held_back = page.held_back || (state.expired && state.withholds);
    let holds = held_back && state.device.held_from.is_none();
    let fills = page.has_more && state.fills(request, page.upto);
    if holds || fills {
        drop(snapshot);
        if holds {
            // What has been forgotten cannot be delivered: held from there on it would ask for a replacement, and that
            // would take what only this device has.
            let lost_from = state.deletes_after.max(state.purged_below);
            state.hold(if state.lost { lost_from } else { request.cursor });
        }
        let ends = fills.then_some(page.upto);
        if fills {
            (state.device.filling_at, state.device.filling_was) = (ends, Some(request.cursor));
        }
        if !state.keep(store, actor).await? {
            return Ok(None);
        }
        snapshot = store.read().await?;
        state = state.reload(store, &snapshot, actor, request).await?;
        page = Page::find(&snapshot, actor, request, &state, ends).await?;
    }
    Ok(Some(Pull {
        live: by_table(page.live, request.schema_version),
        gone: by_table(page.gone, request.schema_version),
        timestamp: page.upto,
        head: state.horizon,
        has_more: page.has_more,
        epoch: state.epoch,
        schema_version: request.schema_version,
        snapshot,
        unsettled: state.device.held_from.is_some(),
        replaces: state.replaces,
        note: state.note(actor, request),
    }))
}

/// What a reply carries, by table.
#[derive(Default)]
struct Page {
    live: BTreeMap<&'static str, BTreeSet<String>>,
    gone: BTreeMap<&'static str, BTreeSet<String>>,
    /// Where it ends.
    upto: i64,
    has_more: bool,
    /// It leaves out a delete that the device asked to wait for.
    held_back: bool,
}

impl Page {
    /// `ends` is where it is to end, where that has been told.
    async fn find(
        snapshot: &Snapshot,
        actor: &Actor,
        request: &PullRequest,
        state: &State,
        ends: Option<i64>,
    ) -> Result<Page> {
        let user = actor.user();
        let fill = state.tables_to_fill(request);
        let end = match request.limit {
            _ if ends.is_some() => ends,
            // A full set that a restore or a purge makes necessary comes whole, and so does what an app that
            // has grown lacks (S5).
            Some(_) if state.lost || state.expired || !fill.is_empty() => None,
            Some(limit) => feed::page_end(&**snapshot, user, state.since, limit.max(1)).await?,
            None => None,
        };
        let upto = end.unwrap_or(state.horizon).min(state.horizon);
        let mut page = Page { upto, has_more: upto < state.horizon && end.is_some(), ..Page::default() };
        let changes = feed::changes(&**snapshot, user, state.since, upto).await?;
        for (table, ids) in changes.plain {
            page.live.entry(table.name).or_default().extend(ids);
        }
        for entry in changes.others {
            if entry.live {
                page.live.entry(entry.table.name).or_default().insert(entry.id);
            } else if entry.held && request.cursor > 0 && !state.replaces && entry.position > state.deletes_after {
                if state.spares_device(&entry) {
                    page.held_back = true;
                } else {
                    page.gone.entry(entry.table.name).or_default().insert(entry.id);
                }
            }
        }
        if let Some(from) = state.deliver_from {
            for entry in feed::changes(&**snapshot, user, from, state.horizon).await?.others {
                let in_turn = !state.spares || entry.lost <= state.since || entry.immediate;
                if !entry.live && entry.held && in_turn {
                    page.gone.entry(entry.table.name).or_default().insert(entry.id);
                }
            }
        }
        for table in fill {
            page.live.entry(table.name).or_default().extend(feed::all_of(&**snapshot, user, table).await?);
        }
        if request.cursor > 0 && state.resends {
            resend(snapshot, actor, state, &mut page).await?;
        }
        Ok(page)
    }
}

async fn resend(snapshot: &Snapshot, actor: &Actor, state: &State, page: &mut Page) -> Result<()> {
    // What was held back before goes with what else was.
    let since = state.deliver_from.map_or(state.since, |from| from.min(state.since));
    let mut again: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for (name, id, asked) in device::to_resend(&**snapshot, actor, since).await? {
        again.entry(name).or_default().push((id, asked));
    }
    for (name, asked) in again {
        let Some(table) = table(&name) else { continue };
        let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
        let places = feed::places(&**snapshot, actor.user(), table, &ids).await?;
        let places: HashMap<&str, &Entry> = places.iter().map(|place| (place.id.as_str(), place)).collect();
        for (id, asked) in asked {
            let place = places.get(id.as_str());
            let spared = || state.withholds || (state.spares && asked > state.since);
            if place.is_some_and(|place| place.live) {
                page.live.entry(table.name).or_default().insert(id);
            } else if place.map_or_else(spared, |place| state.spares_device(place)) {
                page.held_back = true;
            } else {
                // The device named the row itself, so saying that it is not its to hold tells nothing.
                page.gone.entry(table.name).or_default().insert(id);
            }
        }
    }
    Ok(())
}

fn by_table(rows: BTreeMap<&'static str, BTreeSet<String>>, version: u32) -> Vec<(&'static Table, Vec<String>)> {
    let mut rows = rows;
    TABLES
        .iter()
        .filter(|table| table.since <= version)
        .filter_map(|table| rows.remove(table.name).map(|ids| (table, ids.into_iter().collect())))
        .collect()
}
