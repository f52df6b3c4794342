//! What happened to a referral, in order: one row for each change of its state, written by the
//! write door beside the change.

use sea_orm::entity::prelude::*;

use crate::access::{Role, Stand};
use crate::clock::Instant;
use crate::registry::{Field, Synced};

/// Columns of an event of a referral.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "referral_events")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// The referral.
    pub referral_id: String,
    /// State before; none for the first.
    pub from_status: Option<String>,
    /// State after.
    pub to_status: String,
    /// When.
    pub at: Instant,
    /// Who did it.
    pub by_user_id: Option<String>,
    /// In which role.
    pub by_role: String,
    /// Why, in words.
    pub note: Option<String>,
    /// How it came.
    pub via: Option<String>,
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
    const NAME: &'static str = "referral_events";
    const RANK: u8 = 45;
    const WRITERS: &'static [Role] = &[];
    const APPEND_ONLY: bool = true;

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").server(),
            Column::ReferralId => Field::refer("referrals").server(),
            Column::FromStatus | Column::ToStatus => Field::text(30).server(),
            Column::At => Field::instant().server(),
            Column::ByUserId => Field::id().server(),
            Column::ByRole => Field::text(30).server(),
            Column::Note => Field::text(1000).server(),
            Column::Via => Field::text(30).server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Case(row.case_id.clone())]
    }
}
