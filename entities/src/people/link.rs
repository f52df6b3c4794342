//! Links that work once: an invitation, and the way back for someone who forgot a password.
//!
//! Only the hash is stored. Using one up makes the user's other links worthless.

use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::sql;
use sea_orm::ConnectionTrait;

use super::secret;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First password of a new user; 72 hours.
    Invitation,
    /// New password; 30 minutes.
    Reset,
}

impl Kind {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Invitation => "invitation",
            Kind::Reset => "reset",
        }
    }

    /// How long it works, in seconds.
    pub fn lives_secs(self) -> i64 {
        match self {
            Kind::Invitation => 72 * 3600,
            Kind::Reset => 30 * 60,
        }
    }
}

/// Whose link it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user_id: String,
    /// Their agency.
    pub agency_id: String,
    /// Their address, for the page that asks for a password.
    pub email: String,
}

/// Makes a link's secret for a user. `NotFound` when there is no such active user.
pub async fn issue(conn: &impl ConnectionTrait, kind: Kind, user_id: &str, now: Instant) -> Result<String> {
    let secret = secret::fresh()?;
    let made = sql::exec(
        conn,
        "insert into one_time_links (hash, kind, user_id, agency_id, created_at, expires_at) \
         select $1, $2, u.id, u.agency_id, $3, $4 from users u where u.id = $5 and u.active",
        vec![
            secret::hash(&secret).into(),
            kind.as_str().into(),
            now.0.into(),
            now.plus_secs(kind.lives_secs()).0.into(),
            user_id.into(),
        ],
    )
    .await?;
    if made == 1 { Ok(secret) } else { Err(Error::NotFound) }
}

/// Whose link this is, as long as it works; looking uses nothing up.
pub async fn owner(conn: &impl ConnectionTrait, secret: &str, now: Instant) -> Result<Option<Owner>> {
    let row = sql::one(
        conn,
        "select l.user_id, l.agency_id, u.email from one_time_links l join users u on u.id = l.user_id \
         where l.hash = $1 and l.used_at is null and l.expires_at > $2 and u.active",
        vec![secret::hash(secret).into(), now.0.into()],
    )
    .await?;
    let read = |row: sea_orm::QueryResult| -> Result<Owner> {
        Ok(Owner {
            user_id: row.try_get_by_index(0)?,
            agency_id: row.try_get_by_index(1)?,
            email: row.try_get_by_index(2)?,
        })
    };
    row.map(read).transpose()
}

/// Uses the link up, and with it every other link of the user. `NotFound` when it was used, has
/// expired or never was; of two that try at once, one succeeds.
pub async fn spend(conn: &impl ConnectionTrait, secret: &str, now: Instant) -> Result<()> {
    let used = sql::one(
        conn,
        "update one_time_links set used_at = $1 where hash = $2 and used_at is null and expires_at > $1 returning user_id",
        vec![now.0.into(), secret::hash(secret).into()],
    )
    .await?;
    let user: String = used.ok_or(Error::NotFound)?.try_get_by_index(0)?;
    end_all(conn, &user, now).await
}

/// Makes every link of a user worthless that has not been used.
pub(crate) async fn end_all(conn: &impl ConnectionTrait, user_id: &str, now: Instant) -> Result<()> {
    let text = "update one_time_links set used_at = $1 where user_id = $2 and used_at is null";
    sql::exec(conn, text, vec![now.0.into(), user_id.into()]).await?;
    Ok(())
}
