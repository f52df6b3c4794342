//! The list of synced tables, and what the generic rooms may know of each.
//!
//! An entity file says everything about its table once, by `impl Synced`; one line in `TABLES`
//! makes it listed, read, created, edited, synced and documented. Nothing outside the entity
//! files knows a synced table by name. Read `row.rs` for the erased row, then `crate::write`.

mod field;
pub(crate) mod items;
#[cfg(feature = "later")]
pub mod later;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod ties;
#[cfg(feature = "wide")]
pub mod wide;
mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use field::{Field, Holds, Kind, Merge};
pub use row::{Checked, Row};
pub use table::{Column, MoveSpec, Table};
pub use ties::{Fill, Need, ask};
pub(crate) use ties::{fill, is_rested_on};
pub use wire::{Face, Unfit, is_id};

use sea_orm::{EntityTrait, ModelTrait};

use crate::access::{Actor, Role, Stand};
use crate::clock::Instant;
use crate::error::Fault;

/// The schema version this server speaks: the newest in which a table or a column appeared.
pub static SCHEMA_VERSION: LazyLock<u32> = LazyLock::new(|| {
    let columns = TABLES.iter().flat_map(|table| table.columns.iter().map(|column| column.field.since));
    columns.chain(TABLES.iter().map(|table| table.since)).max().unwrap_or(MIN_SCHEMA_VERSION)
});
/// The oldest schema version a device may have.
pub const MIN_SCHEMA_VERSION: u32 = 1;

/// What else a change of one row obliges the write door to do in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Who may see this case has to be settled again.
    Access(String),
    /// The row of this table and id may stand in other scopes now.
    Restand(&'static str, String),
    /// The workflow facts of this case have changed.
    Plan(String),
    /// Columns of the row of this table and id that are read from other rows may differ now.
    Refill(&'static str, String),
    /// The same of the rows of a case that name a row in that column.
    RefillNaming {
        /// Their table.
        table: &'static str,
        /// Their column.
        column: &'static str,
        /// The row they name.
        id: String,
        /// Their case.
        case_id: String,
    },
    /// The case has ended, and its open assignments with it.
    End(String),
    /// The row of this id is reached by mail under the second address now, and was under the first.
    Reached(String, Option<String>, Option<String>),
}

/// A legal change of state.
pub struct Move<M: 'static> {
    /// The last part of the path, `POST /{table}/{id}/{verb}`.
    pub verb: &'static str,
    /// The column that holds the state.
    pub column: &'static str,
    /// States it may start from.
    pub from: &'static [&'static str],
    /// The state it ends in.
    pub to: &'static str,
    /// Roles that may make it.
    pub who: &'static [Role],
    /// Columns that may come along in the body.
    pub takes: &'static [&'static str],
    /// What is missing or wrong, looking at the row as it would be after the move.
    pub guard: fn(&M, Instant) -> Vec<Fault>,
    /// What else the move sets (stamps, flags).
    pub effect: fn(&mut M, Instant, &Actor),
}

impl<M> Move<M> {
    /// A move between states of `status` for caseworkers and supervisors, without guard or effect.
    pub const fn plain(verb: &'static str, from: &'static [&'static str], to: &'static str) -> Move<M> {
        Move {
            verb,
            column: "status",
            from,
            to,
            who: &[Role::Caseworker, Role::Supervisor],
            takes: &[],
            guard: |_, _| Vec::new(),
            effect: |_, _, _| (),
        }
    }

    /// As `plain`, for caseworkers alone: a supervisor reads and signs off.
    pub const fn by_worker(verb: &'static str, from: &'static [&'static str], to: &'static str) -> Move<M> {
        Move { who: &[Role::Caseworker], ..Move::plain(verb, from, to) }
    }
}

/// A table that devices hold copies of.
pub trait Synced: EntityTrait<Model: ModelTrait<Entity = Self> + Default + PartialEq + Send + Sync + 'static> {
    /// Plural noun: table name, path segment and name on the wire.
    const NAME: &'static str;
    /// Schema version in which the table appeared.
    const SINCE: u32 = 1;
    /// Place in the order of dependency: a row may refer only to tables of a lower rank (or to
    /// its own), so that a push is stored parents first.
    const RANK: u8;
    /// Roles to whom rows can be visible at all; which rows is the scopes' to say.
    const READERS: &'static [Role] = &[Role::Caseworker, Role::Supervisor];
    /// Roles that may create and edit rows over REST and sync, where they see them.
    const WRITERS: &'static [Role] = &[Role::Caseworker];
    /// Some rows may be deleted; see `may_delete`.
    const DELETES: bool = false;
    /// The server makes the rows from others, and anew where they are lost: reminders, and what people are told.
    const ANEW: bool = false;
    /// Rows are only ever added; a correction is a new row.
    const APPEND_ONLY: bool = false;
    /// The moves of its state machine.
    const MOVES: &'static [Move<Self::Model>] = &[];

    /// States in which a device may make a row, besides the state column's initial value (an
    /// unplanned contact starts as completed).
    const STARTS: &'static [&'static str] = &[];

    /// What each column is. The match over columns has no `_` arm, so that a forgotten column
    /// does not compile.
    fn field(column: Self::Column) -> Field;

    /// The places where the row can be seen.
    fn stands(row: &Self::Model) -> Vec<Stand>;

    /// What is wrong with the row as a whole; limits of single columns are checked before.
    fn check(_before: Option<&Self::Model>, _after: &Self::Model) -> Vec<Fault> {
        Vec::new()
    }

    /// Whether this actor, who sees the row and has one of the roles in `WRITERS`, may change it
    /// as it stands (a signed note is nobody's to edit). `before` is `None` for a new row.
    fn may_write(_before: Option<&Self::Model>, _after: &Self::Model, _actor: &Actor) -> bool {
        true
    }

    /// Whether this actor may delete the row; field users void, so the rule is no.
    fn may_delete(_row: &Self::Model, _actor: &Actor) -> bool {
        false
    }

    /// When the thing happened that the row records, for tables whose rows are accepted from
    /// somebody who has lost the case since (rule S18). Such a table has a column `late`.
    fn occurred(_row: &Self::Model) -> Option<Instant> {
        None
    }

    /// Values that follow from the others, set on every write before the checks.
    fn derive(_row: &mut Self::Model, _now: Instant, _actor: &Actor) {}

    /// Columns that are read from other rows when the row is stored.
    fn fills(_before: Option<&Self::Model>, _after: &Self::Model, _actor: &Actor) -> Vec<Fill> {
        Vec::new()
    }

    /// What the change asks of other rows, for changes that a person makes.
    fn needs(_before: Option<&Self::Model>, _after: &Self::Model, _now: Instant, _actor: &Actor) -> Vec<Need> {
        Vec::new()
    }

    /// New rows that come with the change, in the same transaction; `before` is `None` for a new
    /// row. They are stored as they are, and nothing follows from them in turn.
    fn follow(_before: Option<&Self::Model>, _after: &Self::Model, _now: Instant, _actor: &Actor) -> Vec<Row> {
        Vec::new()
    }

    /// Whether this reader's look at the row is told in the audit trail.
    fn watched(_row: &Self::Model, _actor: &Actor) -> bool {
        false
    }

    /// Whether a partner may read this column of this row, among the columns that partners may
    /// read at all.
    fn partner_reads(_row: &Self::Model, _column: &str, _now: Instant) -> bool {
        true
    }

    /// What a change obliges the write door to do besides.
    fn touches(_before: Option<&Self::Model>, _after: &Self::Model) -> Vec<Touch> {
        Vec::new()
    }
}

/// Every synced table, in order of rank.
pub static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let mut tables = vec![
        Table::of::<crate::people::staff::Entity>(),
        Table::of::<crate::casework::case::Entity>(),
        Table::of::<crate::casework::case_party::Entity>(),
        Table::of::<crate::casework::case_assignment::Entity>(),
        Table::of::<crate::casework::person::Entity>(),
        Table::of::<crate::casework::goal::Entity>(),
        Table::of::<crate::casework::goal_rating::Entity>(),
        Table::of::<crate::casework::contact::Entity>(),
        Table::of::<crate::casework::note::Entity>(),
        Table::of::<crate::partners::organization::Entity>(),
        Table::of::<crate::partners::referral::Entity>(),
        Table::of::<crate::partners::referral_event::Entity>(),
        Table::of::<crate::workflow::prompt::Entity>(),
        Table::of::<crate::sync::issue::Entity>(),
    ];
    #[cfg(feature = "wide")]
    tables.extend(wide::tables());
    #[cfg(feature = "later")]
    later::apply(&mut tables);
    tables.sort_by_key(|table| table.rank);
    tables
});

static BY_NAME: LazyLock<HashMap<&'static str, &'static Table>> =
    LazyLock::new(|| TABLES.iter().map(|table| (table.name, table)).collect());

/// A typed row as a `Row`, for what follows from a change.
pub fn erased<E: Synced>(model: &E::Model) -> Option<Row> {
    table(E::NAME).map(|table| Row::from_model::<E>(table, model.clone()))
}

/// The table of that name, if it is a synced one.
pub fn table(name: &str) -> Option<&'static Table> {
    BY_NAME.get(name).copied()
}

/// A new typed row with every column at its initial value, to be filled in with `..fresh()?`.
pub fn fresh<E: Synced>() -> crate::Result<E::Model> {
    let table = table(E::NAME).ok_or_else(|| crate::Error::Internal(format!("{} is not registered", E::NAME)))?;
    table.fresh().model::<E>()
}
