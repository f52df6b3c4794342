//! A person's part in a case: client, caregiver, collateral, professional.
//!
//! Opening or ending a part changes who may see the person, since a person is seen through the
//! cases in which they have an open part, or once all are over, had one.

use sea_orm::entity::prelude::*;

use crate::access::Stand;
use crate::clock::{Day, Instant};
use crate::error::Fault;
use crate::registry::{Field, Synced, Touch};

/// Columns of a part in a case.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "case_parties")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// The person.
    pub person_id: String,
    /// What the person is to the case.
    pub role: String,
    /// In words: mother, neighbour, teacher.
    pub relation: Option<String>,
    /// First day.
    pub joined_on: Option<Day>,
    /// Last day; once set, the part is over.
    pub left_on: Option<Day>,
    /// May take part in sessions.
    pub may_attend_sessions: bool,
    /// Whom the person speaks for.
    pub represents_person_id: Option<String>,
    /// What there is to know about their capacity to decide.
    pub capacity_note: Option<String>,
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

/// What a person may be to a case.
pub const ROLES: &[&str] = &[
    "primary_client",
    "member",
    "child",
    "caregiver",
    "informal_support",
    "collateral",
    "professional",
    "representative",
];

impl Synced for Entity {
    const NAME: &'static str = "case_parties";
    const RANK: u8 = 20;

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").once().required(),
            Column::PersonId => Field::refer("persons").once().required(),
            Column::Role => Field::code(ROLES).or("primary_client"),
            Column::Relation => Field::text(200),
            Column::JoinedOn | Column::LeftOn => Field::date(),
            Column::MayAttendSessions => Field::boolean(),
            Column::RepresentsPersonId => Field::refer("persons"),
            Column::CapacityNote => Field::text(1000),
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
        match (after.joined_on, after.left_on) {
            (Some(from), Some(to)) if to < from => {
                vec![Fault::field("left_on", "before_start", "must not lie before joined_on")]
            }
            _ => Vec::new(),
        }
    }

    fn touches(_before: Option<&Model>, after: &Model) -> Vec<Touch> {
        vec![Touch::Restand("persons", after.person_id.clone()), Touch::Plan(after.case_id.clone())]
    }
}
