//! How far a goal has been reached, on a day, as somebody saw it.
//!
//! Ratings are only added: progress may go down and that is part of the path. A correction is a
//! new rating that says which one it replaces.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Stand};
use crate::clock::{Day, Instant};
use crate::error::Fault;
use crate::registry::{Field, Need, Synced, Touch};

/// Columns of a rating of a goal.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "goal_ratings")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// The goal.
    pub goal_id: String,
    /// The day it stands for.
    pub rated_on: Day,
    /// Attainment level from -2 to 2; -0.5 is kept for display and scored as -1.
    pub level: Option<f64>,
    /// What was measured, in the goal's unit.
    pub value: Option<f64>,
    /// Who rated: `client`, `worker`, `joint` or `independent`.
    pub rater: String,
    /// What shows it.
    pub evidence: Option<String>,
    /// The contact in which it was rated.
    pub contact_id: Option<String>,
    /// The rating that this one corrects.
    pub replaces: Option<String>,
    /// Came in after the writer had lost the case.
    pub late: bool,
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
    const NAME: &'static str = "goal_ratings";
    const RANK: u8 = 40;
    const APPEND_ONLY: bool = true;

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").once().required(),
            Column::GoalId => Field::refer("goals").once().required(),
            Column::RatedOn => Field::date().once().required(),
            Column::Level => Field::real(-2.0, 2.0).once(),
            Column::Value => Field::real(-1e12, 1e12).once(),
            Column::Rater => Field::code(&["client", "worker", "joint", "independent"]).once().or("joint"),
            Column::Evidence => Field::text(4000).once(),
            Column::ContactId => Field::refer("contacts").once(),
            Column::Replaces => Field::refer("goal_ratings").once(),
            Column::Late => Field::boolean().server(),
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
        let mut faults = Vec::new();
        match after.level {
            Some(level) if level.fract() != 0.0 && level != -0.5 => {
                faults.push(Fault::field("level", "level", "must be -2, -1, -0.5, 0, 1 or 2"));
            }
            None if after.value.is_none() => {
                faults.push(Fault::field("level", "required", "give a level or a value"));
            }
            _ => (),
        }
        faults
    }

    /// A rating stands for no day to come, and corrects one of the same goal.
    fn needs(_before: Option<&Model>, after: &Model, now: Instant, _actor: &Actor) -> Vec<Need> {
        let mut needs = Vec::new();
        // Wherever the client is, it is no later than tomorrow in UTC.
        if after.rated_on > Day(now.utc().date_naive()).plus_days(1) {
            needs.push(Need::never().or_fault("rated_on", "in_future", "cannot be a day to come"));
        }
        if let Some(corrected) = &after.replaces {
            let values = vec![corrected.as_str().into(), after.goal_id.as_str().into()];
            needs.push(Need::some("select 1 from goal_ratings where id = $1 and goal_id = $2", values).or_fault(
                "replaces",
                "other_goal",
                "must be a rating of the same goal",
            ));
        }
        needs
    }

    fn occurred(row: &Model) -> Option<Instant> {
        let noon = row.rated_on.0.and_hms_opt(12, 0, 0)?;
        Some(noon.and_utc().into())
    }

    fn touches(_before: Option<&Model>, after: &Model) -> Vec<Touch> {
        vec![Touch::Plan(after.case_id.clone())]
    }
}
