//! A team and its place under another. Its supervisor, and those of the teams above, see its cases.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, IntoActiveModel, QueryOrder};

use super::user;
use crate::access::{Role, settle_team};
use crate::audit;
use crate::clock::Instant;
use crate::error::{Error, Fault, Result};
use crate::write::Write;

/// Columns of a team.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "teams")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Name.
    pub name: String,
    /// Who leads it.
    pub supervisor_user_id: Option<String>,
    /// The team above.
    pub parent_team_id: Option<String>,
    /// Rises with every change; the ETag.
    pub rev: i64,
    /// When it was made.
    pub created_at: Instant,
    /// When it was changed last.
    pub updated_at: Instant,
}

impl ActiveModelBehavior for ActiveModel {}

/// The beginning of a statement: `led`, the teams that the user `$1` leads and those under them.
pub(crate) const LED: &str = "with recursive led(id) as (select id from teams where supervisor_user_id = $1 \
                              union select t.id from teams t join led on t.parent_team_id = led.id)";

/// The team, if it is this agency's.
pub async fn by_id(conn: &impl ConnectionTrait, agency_id: &str, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(Column::AgencyId.eq(agency_id)).one(conn).await?)
}

/// The agency's teams by id.
pub async fn list(conn: &impl ConnectionTrait, agency_id: &str) -> Result<Vec<Model>> {
    Ok(Entity::find().filter(Column::AgencyId.eq(agency_id)).order_by_asc(Column::Id).all(conn).await?)
}

/// Makes a team. An empty id is replaced by a new one.
pub async fn create(write: &mut Write, team: Model) -> Result<Model> {
    let team = Model {
        id: if team.id.is_empty() { write.mint() } else { team.id },
        agency_id: write.actor().agency_id.clone(),
        rev: 1,
        created_at: write.now(),
        updated_at: write.now(),
        ..team
    };
    check(write, None, &team).await?;
    team.clone().into_active_model().insert(write.conn()).await?;
    write.note("team_created", audit::object("teams", &team.id));
    Ok(team)
}

/// Stores a changed team and settles who sees the cases of it and of the teams under it.
pub async fn change(write: &mut Write, before: &Model, after: Model) -> Result<Model> {
    let after = Model { rev: before.rev + 1, updated_at: write.now(), ..after };
    check(write, Some(before), &after).await?;
    after.clone().into_active_model().reset_all().update(write.conn()).await?;
    write.note("team_changed", audit::object("teams", &after.id));
    if before.supervisor_user_id != after.supervisor_user_id || before.parent_team_id != after.parent_team_id {
        settle_team(write, &after.id).await?;
        super::agency::replan(write).await?;
        write.leads_otherwise();
    }
    Ok(after)
}

async fn check(write: &Write, before: Option<&Model>, team: &Model) -> Result<()> {
    let mut faults = Vec::new();
    if let Some(id) = &team.supervisor_user_id
        && before.is_none_or(|before| before.supervisor_user_id != team.supervisor_user_id)
    {
        let leads = user::by_id(write.conn(), &team.agency_id, id).await?;
        if !leads.is_some_and(|user| user.active && user.role() == Role::Supervisor) {
            faults.push(Fault::field(
                "supervisor_user_id",
                "wrong_value",
                "must be an active supervisor of the agency",
            ));
        }
    }
    let mut seen = BTreeSet::from([team.id.clone()]);
    let mut above = team.parent_team_id.clone();
    while let Some(id) = above {
        match by_id(write.conn(), &team.agency_id, &id).await? {
            None => {
                faults.push(Fault::field("parent_team_id", "unknown", "is no team of this agency"));
                break;
            }
            Some(_) if !seen.insert(id) => {
                faults.push(Fault::field("parent_team_id", "circle", "would put the team above itself"));
                break;
            }
            Some(parent) => above = parent.parent_team_id,
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}
