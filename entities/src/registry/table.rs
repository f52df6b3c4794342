//! A table without its type: its columns as data and its entity's functions behind pointers.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use sea_orm::{IdenStatic, Iterable};

use super::{Field, Fill, Merge, Need, Row, Synced, Touch};
use crate::access::{Actor, Role, Stand};
use crate::bulk::Insert;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};
use crate::sql::is_null;

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the database, on REST and in sync.
    pub name: &'static str,
    /// What it is.
    pub field: Field,
    /// May be empty.
    pub nullable: bool,
}

/// A move, without the type of its row.
#[derive(Clone, Copy, Debug)]
pub struct MoveSpec {
    /// The last part of the path.
    pub verb: &'static str,
    /// The column that holds the state.
    pub column: &'static str,
    /// States it may start from.
    pub from: &'static [&'static str],
    /// The state it ends in.
    pub to: &'static str,
    /// Roles that may make it.
    pub who: &'static [Role],
    /// Columns that may come along.
    pub takes: &'static [&'static str],
    index: usize,
}

/// Columns that the write door sets to the same value in every row that a transaction stores.
const STAMPS: [&str; 7] = ["agency_id", "seq", "edit_seq", "created_at", "updated_at", "created_by", "updated_by"];

type Check = fn(Option<&Row>, &Row) -> Result<Vec<Fault>>;
type Of<T> = fn(Option<&Row>, &Row, Instant, &Actor) -> Result<Vec<T>>;
type MayWrite = fn(Option<&Row>, &Row, &Actor) -> Result<bool>;

/// A synced table as the generic rooms see it.
pub struct Table {
    /// Plural noun: table name, path segment and name on the wire.
    pub name: &'static str,
    /// Schema version in which it appeared.
    pub since: u32,
    /// Order of dependency.
    pub rank: u8,
    /// Its columns, in the order of a row's cells.
    pub columns: Vec<Column>,
    /// Its moves.
    pub moves: Vec<MoveSpec>,
    /// Roles to whom rows can be visible at all.
    pub readers: &'static [Role],
    /// Some rows may be deleted.
    pub deletes: bool,
    /// Roles that may write.
    pub writers: &'static [Role],
    /// Rows are made by the server from others, and anew where they are lost.
    pub anew: bool,
    /// Rows are only ever added.
    pub append_only: bool,
    /// States, besides the initial one, in which a device may make a row.
    pub starts: &'static [&'static str],
    pub(crate) id: usize,
    pub(crate) agency_id: usize,
    pub(crate) seq: usize,
    pub(crate) edit_seq: usize,
    pub(crate) created_at: usize,
    pub(crate) updated_at: usize,
    pub(crate) created_by: usize,
    pub(crate) updated_by: usize,
    pub(crate) deleted_at: usize,
    by_name: HashMap<&'static str, usize>,
    /// The cells of a new row.
    fresh: Vec<sea_orm::Value>,
    list: String,
    /// Places of the cells of which each row has its own, and the insert that takes them.
    pub(crate) own: Vec<usize>,
    pub(crate) insert: Insert,
    stands: fn(&Row) -> Result<Vec<Stand>>,
    check: Check,
    may_write: MayWrite,
    may_delete: fn(&Row, &Actor) -> Result<bool>,
    occurred: fn(&Row) -> Result<Option<Instant>>,
    derive: fn(Row, Instant, &Actor) -> Result<Row>,
    touches: fn(Option<&Row>, &Row) -> Result<Vec<Touch>>,
    fills: fn(Option<&Row>, &Row, &Actor) -> Result<Vec<Fill>>,
    needs: Of<Need>,
    follow: Of<Row>,
    watched: fn(&Row, &Actor) -> Result<bool>,
    partner_reads: fn(&Row, &str, Instant) -> Result<bool>,
    guard: fn(usize, &Row, Instant) -> Result<Vec<Fault>>,
    effect: fn(usize, &mut Row, Instant, &Actor) -> Result<()>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.name)
    }
}

impl Table {
    /// The erased form of an entity. Panics at start-up if the entity lacks a stamp column.
    pub fn of<E: Synced>() -> Table {
        let blank_model = E::Model::default();
        let columns: Vec<Column> = E::Column::iter()
            .map(|column| {
                let blank = sea_orm::ModelTrait::get(&blank_model, column);
                Column { name: column.as_str(), field: E::field(column), nullable: is_null(&blank) }
            })
            .collect();
        let by_name: HashMap<_, _> = columns.iter().enumerate().map(|(at, column)| (column.name, at)).collect();
        #[expect(clippy::panic, reason = "an entity without its stamps must not start")]
        let at = |name: &str| *by_name.get(name).unwrap_or_else(|| panic!("{} has no column {name}", E::NAME));
        let fresh = |(own, column): (E::Column, &Column)| match column.field.default {
            Some(_) => column.initial(),
            None => sea_orm::ModelTrait::get(&blank_model, own),
        };
        // What the write door stamps is the same in all rows of a transaction.
        let own: Vec<usize> = (0..columns.len()).filter(|at| !STAMPS.contains(&columns[*at].name)).collect();
        let classes: Vec<_> = own.iter().map(|at| (columns[*at].name, columns[*at].field.kind.class())).collect();
        Table {
            insert: Insert::new(E::NAME, &classes, &STAMPS),
            own,
            name: E::NAME,
            since: E::SINCE,
            rank: E::RANK,
            moves: E::MOVES
                .iter()
                .enumerate()
                .map(|(index, step)| MoveSpec {
                    verb: step.verb,
                    column: step.column,
                    from: step.from,
                    to: step.to,
                    who: step.who,
                    takes: step.takes,
                    index,
                })
                .collect(),
            readers: E::READERS,
            deletes: E::DELETES,
            writers: E::WRITERS,
            anew: E::ANEW,
            append_only: E::APPEND_ONLY,
            starts: E::STARTS,
            id: at("id"),
            agency_id: at("agency_id"),
            seq: at("seq"),
            edit_seq: at("edit_seq"),
            created_at: at("created_at"),
            updated_at: at("updated_at"),
            created_by: at("created_by"),
            updated_by: at("updated_by"),
            deleted_at: at("deleted_at"),
            fresh: E::Column::iter().zip(&columns).map(fresh).collect(),
            list: columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", "),
            columns,
            by_name,
            stands: |row| Ok(E::stands(&*row.typed::<E>()?)),
            check: |before, after| {
                let before = before.map(Row::typed::<E>).transpose()?;
                Ok(E::check(before.as_deref(), &*after.typed::<E>()?))
            },
            may_write: |before, after, actor| {
                let before = before.map(Row::typed::<E>).transpose()?;
                Ok(E::may_write(before.as_deref(), &*after.typed::<E>()?, actor))
            },
            may_delete: |row, actor| Ok(E::may_delete(&*row.typed::<E>()?, actor)),
            occurred: |row| Ok(E::occurred(&*row.typed::<E>()?)),
            derive: |row, now, actor| {
                let table = row.table;
                let mut model = row.into_model::<E>()?;
                E::derive(&mut model, now, actor);
                Ok(Row::from_model::<E>(table, model))
            },
            touches: |before, after| {
                let before = before.map(Row::typed::<E>).transpose()?;
                Ok(E::touches(before.as_deref(), &*after.typed::<E>()?))
            },
            fills: |before, after, actor| {
                let before = before.map(Row::typed::<E>).transpose()?;
                Ok(E::fills(before.as_deref(), &*after.typed::<E>()?, actor))
            },
            needs: |before, after, now, actor| {
                let before = before.map(Row::typed::<E>).transpose()?;
                Ok(E::needs(before.as_deref(), &*after.typed::<E>()?, now, actor))
            },
            follow: |before, after, now, actor| {
                let before = before.map(Row::typed::<E>).transpose()?;
                Ok(E::follow(before.as_deref(), &*after.typed::<E>()?, now, actor))
            },
            watched: |row, actor| Ok(E::watched(&*row.typed::<E>()?, actor)),
            partner_reads: |row, column, now| Ok(E::partner_reads(&*row.typed::<E>()?, column, now)),
            guard: |at, row, now| Ok((E::MOVES[at].guard)(&*row.typed::<E>()?, now)),
            effect: |at, row, now, actor| {
                let mut model = row.model::<E>()?;
                (E::MOVES[at].effect)(&mut model, now, actor);
                *row = Row::from_model::<E>(row.table, model);
                Ok(())
            },
        }
    }

    /// The cells of `STAMPS` in a row.
    pub(crate) fn stamps(&self, row: &Row) -> [sea_orm::Value; 7] {
        let places = [
            self.agency_id,
            self.seq,
            self.edit_seq,
            self.created_at,
            self.updated_at,
            self.created_by,
            self.updated_by,
        ];
        places.map(|at| row.cell(at).clone())
    }

    /// Place of a column in a row's cells.
    pub fn index(&self, column: &str) -> Option<usize> {
        self.by_name.get(column).copied()
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.index(name).map(|at| &self.columns[at])
    }

    /// Place of the id in a row's cells.
    pub fn id_column(&self) -> usize {
        self.id
    }

    /// Columns that leave the server.
    pub fn wire_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.field.wire)
    }

    /// The columns' names, quoted and in order, for a statement.
    pub fn column_list(&self) -> &str {
        &self.list
    }

    /// True for the table of cases itself, whose rows are what the rows of others belong to.
    pub fn is_case(&self) -> bool {
        self.name == "cases"
    }

    /// True when rows of other tables may name one of this, and so may have come before it.
    pub fn is_needed(&self) -> bool {
        static NEEDED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
            let columns = super::TABLES.iter().flat_map(|table| &table.columns);
            columns.filter_map(|column| column.field.refers).collect()
        });
        NEEDED.contains(self.name)
    }

    /// Whether the column at this place is one that the write door stamps, or the row's id.
    pub(crate) fn is_stamp(&self, at: usize) -> bool {
        at == self.id || STAMPS.contains(&self.columns[at].name)
    }

    /// The fewest moves that lead from one state to another and that a role may make; none where there is no way.
    pub(crate) fn way(&self, column: &str, from: &str, to: &str, role: Role) -> Vec<&MoveSpec> {
        let mut reached: Vec<(&str, Option<(usize, &MoveSpec)>)> = vec![(from, None)];
        let mut at = 0;
        while let Some((state, _)) = reached.get(at).copied() {
            for step in self.moves.iter().filter(|step| step.column == column && step.from.contains(&state)) {
                if step.who.contains(&role) && !reached.iter().any(|(known, _)| *known == step.to) {
                    reached.push((step.to, Some((at, step))));
                }
            }
            at += 1;
        }
        let mut way = Vec::new();
        let mut last = reached.iter().find(|(state, _)| *state == to).and_then(|(_, by)| *by);
        while let Some((before, step)) = last {
            way.insert(0, step);
            last = reached[before].1;
        }
        way
    }

    /// Whether moves lead from one state to the other that this actor may make, each of which the row as it is now would be
    /// let.
    pub(crate) fn leads(
        &self,
        column: &str,
        from: &str,
        to: &str,
        row: &Row,
        now: Instant,
        actor: &Actor,
    ) -> Result<bool> {
        let (mut reached, mut at) = (vec![from], 0);
        while let Some(state) = reached.get(at).copied() {
            at += 1;
            for step in self.moves.iter().filter(|step| step.column == column && step.from.contains(&state)) {
                let new = step.who.contains(&actor.role) && !reached.contains(&step.to);
                if new && self.guard(step, row, now)?.is_empty() {
                    reached.push(step.to);
                }
            }
        }
        Ok(reached.contains(&to))
    }

    /// True when no client ever makes or edits a row.
    pub fn is_servers(&self) -> bool {
        self.writers.is_empty()
    }

    /// True when rows belong to a case.
    pub fn has_case(&self) -> bool {
        self.by_name.contains_key("case_id")
    }

    /// A new row with every column at its initial value: null where it names none, or the type's zero where null is not
    /// possible.
    pub fn fresh(&'static self) -> Row {
        Row::of(self, self.fresh.clone())
    }

    /// Where the row can be seen.
    pub fn stands(&self, row: &Row) -> Result<Vec<Stand>> {
        if row.is_deleted() { Ok(Vec::new()) } else { (self.stands)(row) }
    }

    /// Faults of the row as a whole.
    pub fn check(&self, before: Option<&Row>, after: &Row) -> Result<Vec<Fault>> {
        (self.check)(before, after)
    }

    /// Whether the actor's role and the row's own state allow the write; seeing it comes first.
    pub fn may_write(&self, before: Option<&Row>, after: &Row, actor: &Actor) -> Result<bool> {
        Ok(self.writers.contains(&actor.role) && (self.may_write)(before, after, actor)?)
    }

    /// Whether the actor may delete the row; seeing it comes first.
    pub fn may_delete(&self, row: &Row, actor: &Actor) -> Result<bool> {
        Ok(self.writers.contains(&actor.role) && (self.may_delete)(row, actor)?)
    }

    /// When the thing happened that the row records, for tables that take late work.
    pub fn occurred(&self, row: &Row) -> Result<Option<Instant>> {
        (self.occurred)(row)
    }

    /// Sets what follows from other columns.
    pub fn derive(&self, row: Row, now: Instant, actor: &Actor) -> Result<Row> {
        (self.derive)(row, now, actor)
    }

    /// Whether the row's own state lets this actor change it, whatever the table's writers: what
    /// a move asks, since it names its own roles.
    pub fn suits(&self, before: &Row, after: &Row, actor: &Actor) -> Result<bool> {
        (self.may_write)(Some(before), after, actor)
    }

    /// Columns that are read from other rows.
    pub fn fills(&self, before: Option<&Row>, after: &Row, actor: &Actor) -> Result<Vec<Fill>> {
        (self.fills)(before, after, actor)
    }

    /// What a change asks of other rows.
    pub fn needs(&self, before: Option<&Row>, after: &Row, now: Instant, actor: &Actor) -> Result<Vec<Need>> {
        (self.needs)(before, after, now, actor)
    }

    /// New rows that come with a change.
    pub fn follow(&self, before: Option<&Row>, after: &Row, now: Instant, actor: &Actor) -> Result<Vec<Row>> {
        (self.follow)(before, after, now, actor)
    }

    /// Whether this reader's look at the row is told in the audit trail.
    pub fn watched(&self, row: &Row, actor: &Actor) -> Result<bool> {
        (self.watched)(row, actor)
    }

    /// Whether a partner may read this column of this row.
    pub fn partner_reads(&self, row: &Row, column: &Column, now: Instant) -> Result<bool> {
        Ok(column.field.partner && (self.partner_reads)(row, column.name, now)?)
    }

    /// What a change obliges the write door to do.
    pub fn touches(&self, before: Option<&Row>, after: &Row) -> Result<Vec<Touch>> {
        (self.touches)(before, after)
    }

    /// The move of that verb, or an error naming those there are.
    pub fn move_by_verb(&self, verb: &str) -> Result<&MoveSpec> {
        self.moves.iter().find(|step| step.verb == verb).ok_or(Error::NotFound)
    }

    /// The states of a column to which moves lead, sorted.
    pub fn destinations(&self, column: &str) -> Vec<&'static str> {
        let mut states: Vec<&str> =
            self.moves.iter().filter(|step| step.column == column).map(|step| step.to).collect();
        states.sort_unstable();
        states.dedup();
        states
    }

    /// The move that leads from one state to another, as a device that edits the column means it.
    pub fn move_between(&self, column: &str, from: &str, to: &str) -> Option<&MoveSpec> {
        self.moves.iter().find(|step| step.column == column && step.to == to && step.from.contains(&from))
    }

    /// What stands against a move, looking at the row as it would be.
    pub fn guard(&self, step: &MoveSpec, after: &Row, now: Instant) -> Result<Vec<Fault>> {
        (self.guard)(step.index, after, now)
    }

    /// Sets what a move sets besides the state.
    pub fn effect(&self, step: &MoveSpec, row: &mut Row, now: Instant, actor: &Actor) -> Result<()> {
        (self.effect)(step.index, row, now, actor)
    }

    /// Names of the columns a client may write, state included.
    pub fn writable(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.field.wire && column.field.merge != Merge::Server)
    }
}
