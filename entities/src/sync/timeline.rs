//! Where an agency's commit numbers stand, and how a device's cursor stands to them. A restored
//! backup begins a new epoch, a purge raises the horizon; every face asks here what that means for
//! a cursor and gives its own answer.

use sea_orm::{ConnectionTrait, QueryResult};

use crate::error::{Error, Result};
use crate::sql;

/// Where an agency's timeline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Its number; a restored backup opens the next one.
    pub epoch: i64,
    /// The newest commit number.
    pub head: i64,
    /// Deletions before this number have been forgotten.
    pub purged_below: i64,
    /// The last number that a restored backup knew; 0 where none was ever restored.
    pub restored_to: i64,
    /// The number at which this epoch began: a cursor below it belongs to a past that is gone.
    pub started: i64,
}

/// How a cursor stands to an agency's timeline. Every face asks here and gives its own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be gone on from.
    Current,
    /// It belongs to a past that a restored backup does not have.
    Lost,
    /// Deletions since then have been forgotten.
    Forgotten,
}

impl Timeline {
    /// Reads the first of a row's cells.
    pub(crate) fn of(row: &QueryResult) -> Result<Timeline> {
        Ok(Timeline {
            epoch: row.try_get_by_index(0)?,
            head: row.try_get_by_index(1)?,
            purged_below: row.try_get_by_index(2)?,
            restored_to: row.try_get_by_index::<Option<i64>>(3)?.unwrap_or_default(),
            started: row.try_get_by_index::<Option<i64>>(4)?.unwrap_or_default(),
        })
    }

    /// How a cursor stands, with the epoch it was given in where it says so: a first sync in pages gives
    /// cursors of this epoch from before it began, and from before the backup was made. What lies between
    /// was never given in it, whatever an app says.
    pub fn standing(&self, epoch: Option<i64>, cursor: i64) -> Standing {
        let lost = match epoch {
            Some(epoch) => epoch != self.epoch || (cursor > self.restored_to && self.has_lost(cursor)),
            None => self.has_lost(cursor),
        };
        if lost {
            Standing::Lost
        } else if cursor > 0 && cursor < self.purged_below {
            Standing::Forgotten
        } else {
            Standing::Current
        }
    }

    /// Whether a cursor of no known epoch belongs to a timeline that this database does not have.
    pub fn has_lost(&self, cursor: i64) -> bool {
        cursor > 0 && (cursor < self.started || cursor > self.head)
    }
}

/// Reads where an agency's timeline stands.
pub async fn timeline(conn: &impl ConnectionTrait, agency_id: &str) -> Result<Timeline> {
    let text = format!("select {COLUMNS} from {CLOCK} where c.agency_id = $1");
    let row = sql::one(conn, &text, vec![agency_id.into()]).await?.ok_or(Error::NotFound)?;
    Timeline::of(&row)
}

/// What `Timeline::of` reads, and from where.
pub(super) const COLUMNS: &str = "c.epoch, c.seq, c.purged_below, e.restored_to_seq, e.started_seq";
pub(super) const CLOCK: &str = "sync_clock c left join sync_epoch e on e.agency_id = c.agency_id and e.epoch = c.epoch";

/// The newest commit number of every agency.
pub async fn heads(conn: &impl ConnectionTrait) -> Result<Vec<(String, i64)>> {
    let rows = sql::all(conn, "select agency_id, seq from sync_clock", vec![]).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}
