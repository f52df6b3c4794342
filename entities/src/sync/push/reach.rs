//! Which rows a pushed row may name.
//!
//! A row that names another lets its author reach it: a person named by a party of one's own case
//! comes to one's phone. So what is named must be there for the author already, or be made by the
//! same push, and must belong to the same case where it belongs to one. What is not there and what
//! is not the author's are answered alike.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sea_orm::{ConnectionTrait, Value as Cell};
use serde_json::Value;

use super::desk::NO_SUCH_ROW;
use super::intake::{Incoming, Op};
use super::merge::Merged;
use super::rights;
use crate::access::Actor;
use crate::error::Result;
use crate::registry::{Column, Row, is_id, table};
use crate::sql;
use crate::sync::feed;
use crate::write::Write;

type Key = (&'static str, String);

/// What the rows of a push may name.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Rows that the author sees, or has made in this push.
    seen: HashSet<Key>,
    /// Rows that the author saw once and does not any more.
    seen_once: HashSet<Key>,
    /// Cases of the rows that belong to one.
    case_of: HashMap<Key, String>,
    /// Rows of this push that are kept, and why: what names one is kept beside it.
    kept: HashMap<Key, &'static str>,
}

/// A column that names a row other than the case that the row itself belongs to, which is asked about
/// everywhere.
fn target(column: &Column) -> Option<&'static str> {
    column.field.refers.filter(|_| column.name != "case_id")
}

impl Reach {
    /// Looks up all that these rows name, of which some are stored already.
    pub(super) async fn of(write: &Write, rows: &[Incoming], stored: &HashMap<Key, Row>) -> Result<Reach> {
        let mut named: BTreeMap<&'static str, BTreeSet<&str>> = BTreeMap::new();
        for row in rows {
            for column in &row.table.columns {
                let Some(target) = target(column) else { continue };
                let Some(id) = row.raw.get(column.name).and_then(Value::as_str).filter(|id| is_id(id)) else {
                    continue;
                };
                named.entry(target).or_default().insert(id);
            }
        }
        let mut reach = Reach::default();
        if named.is_empty() {
            return Ok(reach);
        }
        // What the push itself makes, in whatever order it lists them.
        for row in rows.iter().filter(|row| row.op != Op::Deleted) {
            let key = (row.table.name, row.id.clone());
            if !stored.contains_key(&key) {
                let case = row.raw.get("case_id").and_then(Value::as_str).filter(|_| row.table.has_case());
                reach.case_of.extend(case.map(|case| (key.clone(), case.to_owned())));
                reach.seen.insert(key);
            }
        }
        for (name, ids) in named {
            let ids: Vec<&str> = ids.into_iter().collect();
            let keys: Vec<Key> = ids.iter().map(|id| (name, (*id).to_owned())).collect();
            reach.seen.extend(rights::visible(write, keys.iter()).await?);
            if !table(name).is_some_and(|table| table.has_case()) {
                continue;
            }
            let backend = write.conn().get_database_backend();
            let text = format!(
                "select id, case_id from {name} where agency_id = $1 and deleted_at is null and {}",
                sql::among(backend, "id", 2)
            );
            let values = vec![write.actor().agency_id.as_str().into(), sql::list(backend, &ids)];
            for row in sql::all(write.conn(), &text, values).await? {
                reach.case_of.insert((name, row.try_get_by_index(0)?), row.try_get_by_index(1)?);
            }
            // What was hidden from its author after they wrote.
            let hidden = keys.iter().filter(|key| reach.case_of.contains_key(key) && !reach.seen.contains(key));
            let hidden: Vec<String> = hidden.map(|(_, id)| id.clone()).collect();
            let Some(table) = table(name).filter(|_| !hidden.is_empty()) else { continue };
            for place in feed::places(write.conn(), write.actor().user(), table, &hidden).await? {
                reach.seen_once.extend(Some((name, place.id)).filter(|_| place.seen));
            }
        }
        Ok(reach)
    }

    /// What may be named beside.
    pub(super) fn extend(&mut self, other: Reach) {
        self.seen.extend(other.seen);
        self.seen_once.extend(other.seen_once);
        self.case_of.extend(other.case_of);
    }

    /// Whether there is such a row for the author, or was in a case that is not theirs any more.
    pub(super) fn knows(&self, target: &'static str, id: &str) -> bool {
        let key = (target, id.to_owned());
        self.seen.contains(&key) || self.case_of.contains_key(&key)
    }

    /// Takes note that a row of this push is kept and not stored.
    pub(super) fn is_kept(&mut self, table: &'static str, id: &str, why: &'static str) {
        self.kept.insert((table, id.to_owned()), why);
    }

    /// Takes out of a row what it may not name; answers why it is to be kept where it cannot be without, or would be seen
    /// by more people without. `own` says whether the case is the author's: late work names rows of a case that its
    /// author does not see any more.
    pub(super) fn fits(
        &self,
        merged: &mut Merged,
        before: Option<&Row>,
        own: bool,
        actor: &Actor,
    ) -> std::result::Result<(), &'static str> {
        let table = merged.row.table;
        for (at, column) in table.columns.iter().enumerate() {
            let (Some(target), Cell::String(Some(id))) = (target(column), merged.row.cell(at)) else { continue };
            if id.is_empty() || before.is_some_and(|before| before.cell(at) == merged.row.cell(at)) {
                continue;
            }
            let key = (target, id.clone());
            if let Some(why) = self.kept.get(&key) {
                return Err(why);
            }
            let same_case = match self.case_of.get(&key) {
                Some(case) => !table.has_case() || merged.row.case_id() == Some(case),
                None => !crate::registry::table(target).is_some_and(|target| target.has_case()),
            };
            let late = !own && self.case_of.contains_key(&key);
            if same_case && (late || self.seen.contains(&key) || self.seen_once.contains(&key)) {
                continue;
            }
            // Where it stands may be read from what it names. A row that has no typed form is stored nowhere.
            let read_from = || table.fills(before, &merged.row, actor).unwrap_or_default();
            let stands_by_it = || read_from().iter().any(|fill| fill.values.contains(merged.row.cell(at)));
            if !column.nullable || stands_by_it() {
                return Err(NO_SUCH_ROW);
            }
            let fallback = before.map_or_else(|| column.null(), |before| before.cell(at).clone());
            merged.row.put(at, fallback);
            merged.mended.push(column.name);
        }
        Ok(())
    }
}
