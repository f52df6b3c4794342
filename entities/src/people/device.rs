//! A device someone signs in from. The id is the app's own and means something only together with
//! the user: one phone shared by two people is two devices here.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, IntoActiveModel};

use super::session;
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::write::Write;
use crate::{audit, sql};

/// Columns of a device.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    /// Who signs in from it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    /// The id the app gave itself.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// What the user calls it.
    pub name: String,
    /// Operating system, as the app says.
    pub platform: Option<String>,
    /// Version of the app, as it says.
    pub app_version: Option<String>,
    /// First sign-in.
    pub registered_at: Instant,
    /// Last sign-in or refresh.
    pub last_seen_at: Instant,
    /// Signed out by a person; a new sign-in lifts it.
    pub revoked_at: Option<Instant>,
    /// Reported lost: it is told to erase itself and never let in again.
    pub wipe_requested_at: Option<Instant>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The device of this user, if they ever signed in from it.
pub async fn by_id(conn: &impl ConnectionTrait, user_id: &str, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id((user_id.to_owned(), id.to_owned())).one(conn).await?)
}

/// Remembers a sign-in. Lifts a revocation and leaves a wipe as it is.
pub async fn seen(conn: &impl ConnectionTrait, device: Model) -> Result<()> {
    Entity::insert(device.into_active_model())
        .on_conflict(
            OnConflict::columns([Column::UserId, Column::Id])
                .update_columns([
                    Column::Name,
                    Column::Platform,
                    Column::AppVersion,
                    Column::LastSeenAt,
                    Column::RevokedAt,
                ])
                .to_owned(),
        )
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Whether the device must erase what it holds, whoever signs in from it: its user reported it lost, or an administrator
/// did, who speaks for everybody of the agency, for those who never used it too.
pub async fn is_wiped(conn: &impl ConnectionTrait, agency_id: &str, user_id: &str, id: &str) -> Result<bool> {
    let text = "select 1 from devices where agency_id = $1 and id = $2 \
                and (wiped_for_all or user_id = $3 and wipe_requested_at is not null) limit 1";
    Ok(sql::one(conn, text, vec![agency_id.into(), id.into(), user_id.into()]).await?.is_some())
}

/// How a device is shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// Its sessions end; the user may sign in from it again.
    Revoke,
    /// Its sessions end, and at its next contact it is told to erase what it holds.
    Wipe,
}

/// Shuts a device out for one user, or for everyone of the agency who used it; once it is wiped for everyone, nobody
/// else of the agency signs in from it either. `NotFound` when nobody ever did.
pub async fn shut(write: &mut Write, id: &str, user_id: Option<&str>, how: Shut) -> Result<()> {
    let now = write.now();
    let column = match how {
        Shut::Revoke => "revoked_at",
        Shut::Wipe => "wipe_requested_at",
    };
    let for_all = if how == Shut::Wipe && user_id.is_none() { ", wiped_for_all = true" } else { "" };
    let theirs = "id = $1 and agency_id = $2 and ($3 = '' or user_id = $3)";
    let agency = write.actor().agency_id.clone();
    let values = || vec![id.into(), agency.as_str().into(), user_id.unwrap_or_default().into()];
    let users = sql::all(write.conn(), &format!("select user_id from devices where {theirs}"), values()).await?;
    if users.is_empty() {
        return Err(Error::NotFound);
    }
    // Sessions before devices, as whoever refreshes takes them.
    for row in users {
        let user: String = row.try_get_by_index(0)?;
        session::end_device(write.conn(), &user, id, now, column).await?;
    }
    let text = format!("update devices set {column} = $4{for_all} where {theirs}");
    sql::exec(write.conn(), &text, [values(), vec![now.0.into()]].concat()).await?;
    let action = if how == Shut::Wipe { "device_wipe_requested" } else { "device_revoked" };
    write.note(action, audit::object("devices", id));
    Ok(())
}
