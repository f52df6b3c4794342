//! Who works on a case, and from when to when.
//!
//! An assignment is never edited in place: it is ended and a new one begins, so that the record
//! says at any time who had the case. The server writes all of it; see `case::assign`.

use sea_orm::entity::prelude::*;

use crate::access::{Role, Stand};
use crate::clock::Instant;
use crate::error::Fault;
use crate::registry::{Field, Synced, Touch};

/// Columns of an assignment.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "case_assignments")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// The worker.
    pub user_id: String,
    /// `primary`, `secondary` or `covering`.
    pub role: String,
    /// From when the worker has the case.
    pub from_ts: Instant,
    /// Until when; none while it is open.
    pub to_ts: Option<Instant>,
    /// Why it was made.
    pub reason: Option<String>,
    /// The supervisor who made it; none when it came with the case.
    pub assigned_by: Option<String>,
    /// What the next worker should know.
    pub handover_note: Option<String>,
    /// May see substance-use records under 42 CFR Part 2.
    pub part2: bool,
    /// Commit number of the last change.
    pub seq: i64,
    /// Commit number of the last change a client could have made.
    pub edit_seq: i64,
    /// When it was stored first.
    pub created_at: Instant,
    /// When it was stored last.
    pub updated_at: Instant,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// When it was deleted.
    pub deleted_at: Option<Instant>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Synced for Entity {
    const NAME: &'static str = "case_assignments";
    const RANK: u8 = 20;
    const WRITERS: &'static [Role] = &[];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").server(),
            Column::UserId => Field::id().server(),
            Column::Role => Field::code(&["primary", "secondary", "covering"]).server().or("primary"),
            Column::FromTs | Column::ToTs => Field::instant().server(),
            Column::Reason => Field::text(1000).server(),
            Column::AssignedBy => Field::id().server(),
            Column::HandoverNote => Field::text(4000).server(),
            Column::Part2 => Field::boolean().server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Case(row.case_id.clone())]
    }

    fn check(_before: Option<&Model>, after: &Model) -> Vec<Fault> {
        match after.to_ts {
            Some(to) if to < after.from_ts => {
                vec![Fault::field("to", "before_start", "must not lie before its beginning")]
            }
            _ => Vec::new(),
        }
    }

    fn touches(_before: Option<&Model>, after: &Model) -> Vec<Touch> {
        vec![Touch::Access(after.case_id.clone())]
    }
}
