//! A day on which the agency does not work; deadlines in working days step over it.

use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, IntoActiveModel, QueryOrder};

use crate::clock::{Day, Instant};
use crate::error::{Error, Result};
use crate::write::Write;

/// Columns of a holiday.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "holidays")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The day, in the agency's zone.
    pub day: Day,
    /// What it is called.
    pub name: String,
    /// When it was entered.
    pub created_at: Instant,
}

impl ActiveModelBehavior for ActiveModel {}

/// The agency's holidays in order.
pub async fn list(conn: &impl ConnectionTrait, agency_id: &str) -> Result<Vec<Model>> {
    Ok(Entity::find().filter(Column::AgencyId.eq(agency_id)).order_by_asc(Column::Day).all(conn).await?)
}

/// Enters a holiday; cases are planned again. A second one on the same day is a conflict.
pub async fn create(write: &mut Write, day: Day, name: &str) -> Result<Model> {
    let (id, agency_id, created_at) = (write.mint(), write.actor().agency_id.clone(), write.now());
    let row = Model { id, agency_id, day, name: name.into(), created_at };
    row.clone().into_active_model().insert(write.conn()).await?;
    write.note("holiday_added", day.to_string());
    super::agency::replan(write).await?;
    Ok(row)
}

/// Takes a holiday out again; cases are planned again.
pub async fn remove(write: &mut Write, id: &str) -> Result<()> {
    let row = Entity::find_by_id(id)
        .filter(Column::AgencyId.eq(write.actor().agency_id.as_str()))
        .one(write.conn())
        .await?
        .ok_or(Error::NotFound)?;
    Entity::delete_by_id(id).exec(write.conn()).await?;
    write.note("holiday_removed", row.day.to_string());
    super::agency::replan(write).await
}
