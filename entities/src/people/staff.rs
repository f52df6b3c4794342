//! The list of colleagues that phones hold: name, role and team, and nothing else of a user.

use sea_orm::entity::prelude::*;

use crate::access::{Role, Stand};
use crate::clock::Instant;
use crate::registry::{Field, Synced};

/// Columns of a colleague; the id is the user's.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "staff")]
pub struct Model {
    /// The user's id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Name as colleagues know it.
    pub display_name: String,
    /// Their role.
    pub role: String,
    /// Their team.
    pub team_id: Option<String>,
    /// False once they have left.
    pub active: bool,
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

const ROLES: &[&str] = &["caseworker", "supervisor", "administrator", "auditor"];

impl Synced for Entity {
    const NAME: &'static str = "staff";
    const RANK: u8 = 0;
    const READERS: &'static [Role] = &[Role::Caseworker, Role::Supervisor, Role::Administrator, Role::Auditor];
    const WRITERS: &'static [Role] = &[];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::DisplayName => Field::text(120).server(),
            Column::Role => Field::code(ROLES).server(),
            Column::TeamId => Field::id().server(),
            Column::Active => Field::boolean().server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Agency(row.agency_id.clone())]
    }
}
