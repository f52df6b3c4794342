//! What changed for one user.
//!
//! A row's position for a user is the greatest number on the paths to it: the entry's, when the
//! row changed, entered or left the scope, or the access's, when the scope opened or closed for
//! the user (S2). Where the scope is closed only the access's number counts. A row is live when any
//! path is open at both ends, and then only such paths count: one that ended tells nothing of a row
//! that stays, and is forgotten some day, which must not move the row to where a phone has been. So one
//! question, "entries of my scopes beyond my cursor", finds edits, gains, losses and deletions alike.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult};

use crate::error::Result;
use crate::registry::{Table, table};
use crate::sql;

/// A row's place in a user's feed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) table: &'static Table,
    pub(crate) id: String,
    /// The greatest number on the paths that count.
    pub(crate) position: i64,
    /// The greatest number on any path.
    pub(crate) latest: i64,
    /// As the position, without what a push of the user's own left there: when they lost it, for a row that is not live.
    pub(crate) lost: i64,
    /// The user may see it now.
    pub(crate) live: bool,
    /// The user could see it at some time, or pushed it, so a device may hold it.
    pub(crate) held: bool,
    /// The user could see it at some time.
    pub(crate) seen: bool,
    /// The user could see that it ended: what became of a row after its reader lost it is not theirs to know.
    pub(crate) ended: bool,
    /// Its loss is not to be held back, whatever the device asks for.
    pub(crate) immediate: bool,
}

impl Entry {
    /// A row that its device named itself.
    pub(crate) fn told(table: &'static Table, id: String, position: i64, live: bool) -> Entry {
        let (latest, lost) = (position, position);
        Entry { table, id, position, latest, lost, live, held: true, seen: true, ended: false, immediate: false }
    }
}

/// One path from the user to a row: an entry and the access to its scope.
struct Path {
    seq: i64,
    entered: i64,
    live: bool,
    access_seq: i64,
    visible: bool,
    immediate: bool,
    spans: String,
    /// When the row stood in the scope before; only rows with the mark have any.
    stays: String,
}

const COLUMNS: &str = "f.tbl, f.row_id, f.seq, f.entered, f.live, f.multi, a.seq, a.visible, a.spans, a.immediate";
/// What happens in a scope after it closed for a user is nothing to them: the path stays where the
/// loss put it. (A page that ends between the loss and a later change would otherwise step over it.)
const POSITION: &str = "case when a.visible and f.seq > a.seq then f.seq else a.seq end";

/// Narrows a feed to the table named by the last value.
const OF_TABLE: &str = "and f.tbl = $4";

/// Where an access begins to be read: from the start where it changed beyond `$2` itself.
const SINCE: &str = "case when a.seq > $2 then 0 else $2 end";

/// Accesses whose scope may hold something beyond `$2`, or that opened or closed since.
const OPEN: &str = "a.user_id = $1 and (a.visible or a.seq > $2)";
/// Of these the scopes in which something did happen. What else the user has open is not looked into: on SQLite it is what
/// a page would cost most with, where there are many scopes.
const NEWS: &str = "a.user_id = $1 and s.scope = a.scope and (a.seq > $2 or (a.visible and s.seq > $2))";

/// Joins the user's accesses with the entries `f` of each scope beyond the cursor, or all of them where the access
/// itself changed beyond it. Each scope is probed in the index: left to itself PostgreSQL reads the whole feed once
/// there are many scopes, and SQLite may start at the wrong end.
fn join(backend: DbBackend, bound: &str) -> String {
    join_of(backend, "*", bound, "")
}

/// As `join`, with the columns taken of an entry and what bounds the entries of one scope, where the database does that.
fn join_of(backend: DbBackend, columns: &str, bound: &str, first: &str) -> String {
    match backend {
        DbBackend::Postgres => format!(
            "from sync_access a cross join lateral (select {columns} from sync_feed f where f.scope = a.scope \
             and f.seq > {SINCE} {bound} {first} offset 0) f where {OPEN}"
        ),
        _ => format!(
            "from sync_access a cross join sync_scope s cross join sync_feed f \
             where {NEWS} and f.scope = s.scope and f.seq > {SINCE} {bound}"
        ),
    }
}

/// The position at which a page of about `limit` entries ends: always a whole commit, so that a
/// cursor that is a bare number never splits one. `None` when everything fits.
pub(crate) async fn page_end(conn: &impl ConnectionTrait, user: &str, since: i64, limit: usize) -> Result<Option<i64>> {
    page_end_of(conn, user, None, since, limit).await
}

/// As `page_end`, of one table's entries.
pub(crate) async fn page_end_of(
    conn: &impl ConnectionTrait,
    user: &str,
    only: Option<&'static Table>,
    since: i64,
    limit: usize,
) -> Result<Option<i64>> {
    let backend = conn.get_database_backend();
    let bound = if only.is_some() { OF_TABLE } else { "" };
    // A page can be found without reading more of any one scope than a page.
    let from = join_of(backend, "f.seq", bound, "order by f.seq limit $3");
    let text = format!("select {POSITION} {from} order by 1 limit $3");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut values = vec![user.into(), since.into(), limit.into()];
    values.extend(only.map(|table| table.name.into()));
    let rows = sql::all(conn, &text, values).await?;
    match rows.last() {
        Some(last) if rows.len() as i64 == limit => Ok(Some(last.try_get_by_index(0)?)),
        _ => Ok(None),
    }
}

/// What changed for a user between two positions.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Rows on one path only that can be seen: nearly all there are. No order.
    pub(crate) plain: Vec<(&'static Table, Vec<String>)>,
    /// The others: gone, or on several paths. Each row once, in its final state, in order of position.
    pub(crate) others: Vec<Entry>,
}

/// Every row whose position for the user lies beyond `since` and at most at `upto`.
pub(crate) async fn changes(conn: &impl ConnectionTrait, user: &str, since: i64, upto: i64) -> Result<Changes> {
    let backend = conn.get_database_backend();
    // The plain ones come as one list of ids for each table (no id holds a comma): taking cells out
    // of the driver one by one costs more than finding them.
    let list = match backend {
        DbBackend::Postgres => "string_agg(row_id, ',')",
        _ => "group_concat(row_id, ',')",
    };
    let text = format!(
        "with found (tbl, row_id, seq, entered, live, multi, access_seq, visible, spans, immediate) as materialized \
         (select {COLUMNS} {} and {POSITION} <= $3) \
         select tbl, {list}, 0, 0, true, false, 0, true, '', false from found \
         where live and visible and not multi group by tbl \
         union all select * from found where multi or not live or not visible",
        join(backend, "")
    );
    let found = sql::all(conn, &text, vec![user.into(), since.into(), upto.into()]).await?;
    let mut changes = Changes::default();
    let mut rest = Vec::new();
    for row in found {
        let (live, multi, visible): (bool, bool, bool) =
            (row.try_get_by_index(4)?, row.try_get_by_index(5)?, row.try_get_by_index(7)?);
        if multi || !live || !visible {
            rest.push(row);
        } else if let Some(table) = table(&row.try_get_by_index::<String>(0)?) {
            let ids: String = row.try_get_by_index(1)?;
            changes.plain.push((table, ids.split(',').map(str::to_owned).collect()));
        }
    }
    changes.others = resolved(conn, user, &rest, upto).await?;
    Ok(changes)
}

/// Every row of one table whose position for the user lies beyond `since` and at most at `upto`,
/// in order of position; each row once, in its final state.
pub(crate) async fn entries(
    conn: &impl ConnectionTrait,
    user: &str,
    only: &'static Table,
    since: i64,
    upto: i64,
) -> Result<Vec<Entry>> {
    let text = format!("select {COLUMNS} {} and {POSITION} <= $3", join(conn.get_database_backend(), OF_TABLE));
    let values = vec![user.into(), since.into(), upto.into(), only.name.into()];
    let mut entries = resolved(conn, user, &sql::all(conn, &text, values).await?, upto).await?;
    // Found by a path that has ended. By the others it stands where has been passed already, but it may have stood
    // further on by that path when that was passed, so it comes where the path ended.
    for entry in entries.iter_mut().filter(|entry| entry.position <= since) {
        entry.position = entry.latest;
    }
    entries.retain(|entry| entry.position <= upto);
    entries.sort_by(in_order);
    Ok(entries)
}

/// Entries of the paths that were found, in order of position: a row that stands or stood in
/// several scopes takes the greatest number over its paths.
async fn resolved(conn: &impl ConnectionTrait, user: &str, found: &[QueryResult], upto: i64) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(found.len());
    let mut many: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in found {
        let name: String = row.try_get_by_index(0)?;
        let id: String = row.try_get_by_index(1)?;
        if row.try_get_by_index::<bool>(5)? {
            many.entry(name).or_default().push(id);
        } else if let Some(table) = table(&name) {
            entries.push(resolve(table, id, &[path(row)?]));
        }
    }
    for (name, mut ids) in many {
        let Some(table) = table(&name) else { continue };
        ids.sort();
        ids.dedup();
        // A row that was kept for its author and came to stand somewhere later has an entry without the mark, too.
        entries.retain(|entry| entry.table.name != table.name || ids.binary_search(&entry.id).is_err());
        for (id, paths) in paths(conn, user, &name, &ids).await? {
            let entry = resolve(table, id, &paths);
            // Another path has carried it beyond this page: it comes later, once.
            if entry.position <= upto {
                entries.push(entry);
            }
        }
    }
    entries.sort_by(in_order);
    Ok(entries)
}

fn in_order(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    (a.position, a.table.rank, &a.id).cmp(&(b.position, b.table.rank, &b.id))
}

/// The place of certain rows, whatever their position: for rows that have to be sent again.
pub(crate) async fn places(
    conn: &impl ConnectionTrait,
    user: &str,
    table: &'static Table,
    ids: &[String],
) -> Result<Vec<Entry>> {
    let found = paths(conn, user, table.name, ids).await?;
    Ok(found.into_iter().map(|(id, paths)| resolve(table, id, &paths)).collect())
}

/// Every live row of one table that the user may see.
pub(crate) async fn all_of(conn: &impl ConnectionTrait, user: &str, table: &'static Table) -> Result<Vec<String>> {
    let text = "select distinct f.row_id from sync_access a cross join sync_feed f \
                where a.user_id = $1 and a.visible and f.scope = a.scope and f.live and f.tbl = $2 order by 1";
    let rows = sql::all(conn, text, vec![user.into(), table.name.into()]).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

async fn paths(
    conn: &impl ConnectionTrait,
    user: &str,
    name: &str,
    ids: &[String],
) -> Result<HashMap<String, Vec<Path>>> {
    let mut found: HashMap<String, Vec<Path>> = HashMap::new();
    let backend = conn.get_database_backend();
    let text = format!(
        "select {COLUMNS}, coalesce(f.stays, '') from sync_feed f join sync_access a on a.scope = f.scope and a.user_id = $1 \
         where f.tbl = $2 and {}",
        sql::among(backend, "f.row_id", 3)
    );
    for row in sql::all(conn, &text, vec![user.into(), name.into(), sql::list(backend, ids)]).await? {
        let path = Path { stays: row.try_get_by_index(10)?, ..path(&row)? };
        found.entry(row.try_get_by_index(1)?).or_default().push(path);
    }
    Ok(found)
}

fn path(row: &QueryResult) -> Result<Path> {
    Ok(Path {
        seq: row.try_get_by_index(2)?,
        entered: row.try_get_by_index(3)?,
        live: row.try_get_by_index(4)?,
        access_seq: row.try_get_by_index(6)?,
        visible: row.try_get_by_index(7)?,
        spans: row.try_get_by_index(8)?,
        immediate: row.try_get_by_index(9)?,
        stays: String::new(),
    })
}

fn resolve(table: &'static Table, id: String, paths: &[Path]) -> Entry {
    let live = paths.iter().any(Path::is_open);
    let position = paths.iter().filter(|path| path.is_open() == live).map(Path::position).max().unwrap_or_default();
    let lost = paths.iter().filter(|path| path.entered > 0).map(Path::position).max().unwrap_or(position);
    Entry {
        table,
        id,
        position,
        latest: paths.iter().map(Path::position).max().unwrap_or_default(),
        lost,
        live,
        held: paths.iter().any(Path::was_visible),
        seen: paths.iter().any(|path| path.entered > 0 && path.was_visible()),
        ended: paths.iter().any(Path::was_seen_to_end),
        // Of several paths the one that ended last is what took it: what was taken at once before stayed by that one.
        immediate: paths.iter().any(|path| path.immediate && !path.visible && path.position() == lost),
    }
}

impl Path {
    /// Whether the row can be seen by it.
    fn is_open(&self) -> bool {
        self.live && self.visible
    }

    /// As `POSITION`.
    fn position(&self) -> i64 {
        if self.visible { self.seq.max(self.access_seq) } else { self.access_seq }
    }

    /// Whether the scope was open when the row left it.
    fn was_seen_to_end(&self) -> bool {
        // What a push of one's own left there tells of nothing that was seen.
        let stood = !self.live && self.entered > 0;
        stood && spans(&self.spans).any(|(from, to)| from < self.seq && self.seq < to) && self.was_visible()
    }

    /// Whether the time in which the row stood in the scope met a time in which the scope was
    /// open: `deleted` never names a row that its reader could not see (S1).
    fn was_visible(&self) -> bool {
        let left = if self.live { i64::MAX } else { self.seq };
        let stays = || spans(&self.stays).chain([(self.entered, left)]);
        spans(&self.spans).any(|(from, to)| stays().any(|(entered, left)| from.max(entered) < to.min(left)))
    }
}

/// Reads `from-to,from-to,from-`.
fn spans(text: &str) -> impl Iterator<Item = (i64, i64)> {
    text.split(',').filter(|span| !span.is_empty()).map(|span| {
        let (from, to) = span.split_once('-').unwrap_or((span, ""));
        (from.parse().unwrap_or(0), to.parse().unwrap_or(i64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(spans: &str, entered: i64, left: Option<i64>) -> Path {
        Path {
            seq: left.unwrap_or(entered),
            entered,
            live: left.is_none(),
            access_seq: 0,
            visible: true,
            immediate: false,
            spans: spans.into(),
            stays: String::new(),
        }
    }

    #[test]
    fn a_row_is_held_only_if_it_stood_there_while_the_scope_was_open() {
        assert!(path("10-20", 5, None).was_visible());
        assert!(path("10-20,30-", 12, Some(25)).was_visible());
        assert!(!path("10-20,30-", 22, Some(25)).was_visible(), "entered and left while closed");
        assert!(!path("10-20", 20, None).was_visible(), "entered when it closed");
        assert!(!path("30-", 5, Some(30)).was_visible(), "left when it opened");
        let back = |spans| Path { stays: "5-10,12-15".into(), ..path(spans, 30, None) };
        assert!(!back("16-29").was_visible(), "opened and closed while it was away");
        assert!(back("14-20").was_visible() && back("2-6").was_visible() && back("16-31").was_visible());
    }
}
