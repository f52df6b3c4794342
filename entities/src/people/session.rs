//! Sessions and their refresh tokens.
//!
//! A refresh token is `fsr1.SESSION.SECRET`. Each refresh replaces the secret by the one that
//! follows from it and a salt that only the database holds; what is stored are the hashes of the
//! secret in force and of the one spent last. A spent secret means one of two things: the answer
//! was lost on its way to this very device, which is then given the identical successor again, or
//! someone else holds a copy, and the whole session dies.

use sea_orm::{ConnectionTrait, DbBackend, QueryResult};

use super::{device, secret};
use crate::access::{Actor, Role};
use crate::clock::{Instant, mint_at};
use crate::error::{Error, Result};
use crate::sql;
use crate::store::Side;
use crate::write::refuse_leap;

/// A session ends this long after its last refresh: 30 days.
pub const IDLE_SECS: i64 = 30 * 86_400;
/// A session ends this long after sign-in: 90 days.
pub const ABSOLUTE_SECS: i64 = 90 * 86_400;
/// A lost answer can be asked for again this long: 10 minutes.
pub const LOST_ANSWER_SECS: i64 = 600;
/// Once the successor's access token was seen in use, the answer was not lost; requests that were
/// under way at that moment are still let through this long.
const OVERLAP_SECS: i64 = 60;
const PREFIX: &str = "fsr1";

/// What a device is handed.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The session.
    pub session_id: String,
    /// The user.
    pub user_id: String,
    /// How often it was refreshed.
    pub generation: i64,
    /// The refresh token, in the clear this once.
    pub refresh_token: String,
}

/// How a refresh went.
#[derive(Clone, Debug)]
pub enum Refreshed {
    /// New tokens, or the same ones again.
    Renewed(Tokens),
    /// Unknown, ended or expired: sign in again.
    Over,
    /// The device was reported lost.
    Wiped,
    /// A copy was in use: the session has just been ended, and people should be told.
    Stolen {
        /// Whose session it was.
        user_id: String,
        /// Their agency.
        agency_id: String,
    },
}

/// A session as it stands at this moment, with the user and the device it belongs to.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Who acts through it, with the role of this moment.
    pub actor: Actor,
    /// The session.
    pub session_id: String,
    /// Name as colleagues know it.
    pub display_name: String,
    /// Organisation, for partners.
    pub partner_org_id: Option<String>,
    /// Team.
    pub team_id: Option<String>,
    /// When the user last proved who they are with a password.
    pub opened_at: Instant,
    /// How often it was refreshed.
    pub generation: i64,
    /// Whether the access token of this generation has been seen in use.
    pub received: bool,
}

/// Whether a session holds.
#[derive(Clone, Debug)]
pub enum Check {
    /// It does.
    Stands(Box<Standing>),
    /// It is over, or its user or device may no longer come in.
    Over,
    /// Its device was reported lost.
    Wiped,
}

/// Opens a session for a user who has just proved who they are.
pub async fn open(side: &Side, user_id: &str, agency_id: &str, device_id: &str) -> Result<Tokens> {
    let now = side.now();
    refuse_leap(&**side, now).await?;
    // What ended a month ago is of no use to anybody, and the user's own next sign-in clears it away;
    // but a lost device must be told to erase itself however late it calls.
    sql::exec(
        &**side,
        "delete from sessions where user_id = $1 and (expires_at < $2 or ended_at < $3) and device_id not in \
         (select id from devices where user_id = $1 and wipe_requested_at is not null)",
        vec![user_id.into(), now.0.into(), now.plus_secs(-IDLE_SECS).0.into()],
    )
    .await?;
    let (session_id, secret, salt) = (mint_at(now), secret::fresh()?, secret::fresh()?);
    sql::exec(
        &**side,
        "insert into sessions (id, user_id, agency_id, device_id, generation, salt, current_hash, rotated_at, \
         opened_at, last_used_at, expires_at) values ($1, $2, $3, $4, 0, $5, $6, $7, $7, $7, $8)",
        vec![
            session_id.as_str().into(),
            user_id.into(),
            agency_id.into(),
            device_id.into(),
            salt.into(),
            secret::hash(&secret).into(),
            now.0.into(),
            now.plus_secs(ABSOLUTE_SECS).0.into(),
        ],
    )
    .await?;
    Ok(tokens(session_id, user_id.to_owned(), 0, &secret))
}

fn tokens(session_id: String, user_id: String, generation: i64, secret: &str) -> Tokens {
    Tokens { refresh_token: format!("{PREFIX}.{session_id}.{secret}"), session_id, user_id, generation }
}

fn parts(token: &str) -> Option<(&str, &str)> {
    let (session, secret) = token.strip_prefix(PREFIX)?.strip_prefix('.')?.split_once('.')?;
    (secret.len() == 43).then_some((session, secret))
}

/// Exchanges a refresh token. The caller commits whatever the answer: a stolen token ends the
/// session, and that has to stay.
pub async fn refresh(side: &Side, token: &str, device_id: &str) -> Result<Refreshed> {
    let Some((session_id, secret)) = parts(token) else { return Ok(Refreshed::Over) };
    let lock = if side.get_database_backend() == DbBackend::Postgres { " for update of s" } else { "" };
    let text = format!(
        "select s.user_id, s.agency_id, s.device_id, s.generation, s.salt, s.current_hash, s.spent_hash, \
         s.rotated_at, s.received_at, s.last_used_at, s.expires_at, s.ended_at, u.active, d.revoked_at, \
         d.wipe_requested_at from sessions s join users u on u.id = s.user_id \
         join devices d on d.user_id = s.user_id and d.id = s.device_id where s.id = $1{lock}"
    );
    let Some(row) = sql::one(&**side, &text, vec![session_id.into()]).await? else { return Ok(Refreshed::Over) };
    let family = Family::read(&row)?;
    let presented = secret::hash(secret);
    let known = presented == family.current_hash || family.spent_hash.as_deref() == Some(presented.as_str());
    if !known && !descends(secret, &family) {
        return Ok(Refreshed::Over);
    }
    if family.wiped {
        return Ok(Refreshed::Wiped);
    }
    let now = side.now();
    if family.shut || now.0 >= family.expires_at || now.0 >= family.last_used_at + IDLE_SECS * 1000 {
        return Ok(Refreshed::Over);
    }
    let same_device = family.device_id == device_id;
    if presented == family.current_hash && same_device {
        let next = secret::successor(secret, &family.salt);
        rotate(side, session_id, &next, &presented, now).await?;
        return Ok(Refreshed::Renewed(tokens(session_id.into(), family.user_id, family.generation + 1, &next)));
    }
    let within = |from: i64, secs: i64| now.0 - from <= secs * 1000;
    let lost = family.spent_hash.as_deref() == Some(presented.as_str())
        && same_device
        && within(family.rotated_at, LOST_ANSWER_SECS)
        && family.received_at.is_none_or(|at| within(at, OVERLAP_SECS));
    if lost {
        let same = secret::successor(secret, &family.salt);
        return Ok(Refreshed::Renewed(tokens(session_id.into(), family.user_id, family.generation, &same)));
    }
    end(&**side, "id = $3", session_id, now, "stolen").await?;
    Ok(Refreshed::Stolen { user_id: family.user_id, agency_id: family.agency_id })
}

struct Family {
    user_id: String,
    agency_id: String,
    device_id: String,
    generation: i64,
    salt: String,
    current_hash: String,
    spent_hash: Option<String>,
    rotated_at: i64,
    received_at: Option<i64>,
    last_used_at: i64,
    expires_at: i64,
    shut: bool,
    wiped: bool,
}

impl Family {
    fn read(row: &QueryResult) -> Result<Family> {
        let set = |at: usize| -> Result<bool> { Ok(row.try_get_by_index::<Option<i64>>(at)?.is_some()) };
        Ok(Family {
            user_id: row.try_get_by_index(0)?,
            agency_id: row.try_get_by_index(1)?,
            device_id: row.try_get_by_index(2)?,
            generation: row.try_get_by_index(3)?,
            salt: row.try_get_by_index(4)?,
            current_hash: row.try_get_by_index(5)?,
            spent_hash: row.try_get_by_index(6)?,
            rotated_at: row.try_get_by_index(7)?,
            received_at: row.try_get_by_index(8)?,
            last_used_at: row.try_get_by_index(9)?,
            expires_at: row.try_get_by_index(10)?,
            shut: set(11)? || !row.try_get_by_index::<bool>(12)? || set(13)?,
            wiped: set(14)?,
        })
    }
}

/// True for a secret spent longer ago: the one in force follows from it in a few steps. A made-up
/// secret leads nowhere, so nobody can end a session by guessing.
fn descends(secret: &str, family: &Family) -> bool {
    let mut step = secret.to_owned();
    for _ in 0..family.generation.min(MOST_STEPS) {
        step = secret::successor(&step, &family.salt);
        if secret::hash(&step) == family.current_hash {
            return true;
        }
    }
    false
}

/// A session refreshed every ten minutes for 90 days has 12,960 generations; 20,000 steps of a
/// hash take about 20 ms, and only the holder of a session's id can ask for them.
const MOST_STEPS: i64 = 20_000;

async fn rotate(side: &Side, session_id: &str, next: &str, spent: &str, now: Instant) -> Result<()> {
    sql::exec(
        &**side,
        "update sessions set generation = generation + 1, current_hash = $1, spent_hash = $2, rotated_at = $3, \
         received_at = null, last_used_at = $3 where id = $4",
        vec![secret::hash(next).into(), spent.into(), now.0.into(), session_id.into()],
    )
    .await?;
    sql::exec(
        &**side,
        "update devices set last_seen_at = $1 where (user_id, id) in (select user_id, device_id from sessions where id = $2)",
        vec![now.0.into(), session_id.into()],
    )
    .await?;
    Ok(())
}

/// Who may still say farewell: the holder of a refresh token whose device was reported lost or signed out by
/// a person, or whose account was closed. What such a device has not sent is kept; nothing else
/// is open to it. Also gives since when.
pub async fn leaving(conn: &impl ConnectionTrait, token: &str) -> Result<Option<(Actor, Instant)>> {
    let Some((session_id, secret)) = parts(token) else { return Ok(None) };
    let text = "select s.user_id, s.agency_id, s.device_id, s.generation, s.salt, s.current_hash, s.spent_hash, \
                s.rotated_at, s.received_at, s.last_used_at, s.expires_at, s.ended_at, u.active, d.revoked_at, \
                d.wipe_requested_at, u.role, u.updated_at from sessions s join users u on u.id = s.user_id \
                join devices d on d.user_id = s.user_id and d.id = s.device_id where s.id = $1";
    let Some(row) = sql::one(conn, text, vec![session_id.into()]).await? else { return Ok(None) };
    let family = Family::read(&row)?;
    let presented = secret::hash(secret);
    let known = presented == family.current_hash || family.spent_hash.as_deref() == Some(presented.as_str());
    if !known && !descends(secret, &family) {
        return Ok(None);
    }
    let (revoked, wiped) = (row.try_get_by_index::<Option<i64>>(13)?, row.try_get_by_index::<Option<i64>>(14)?);
    let closed = if row.try_get_by_index::<bool>(12)? { None } else { Some(row.try_get_by_index(16)?) };
    let (Some(since), Some(role)) = (wiped.or(revoked).or(closed), Role::parse(&row.try_get_by_index::<String>(15)?))
    else {
        return Ok(None);
    };
    let actor =
        Actor { agency_id: family.agency_id, user_id: Some(family.user_id), role, device_id: Some(family.device_id) };
    Ok(Some((actor, Instant(since))))
}

/// How the session stands at this moment. One look-up by primary keys.
pub async fn check(conn: &impl ConnectionTrait, session_id: &str, now: Instant) -> Result<Check> {
    let text = "select s.user_id, s.agency_id, s.device_id, s.generation, s.received_at, s.opened_at, s.ended_at, \
                s.expires_at, u.role, u.active, u.display_name, u.partner_org_id, u.team_id, d.revoked_at, \
                d.wipe_requested_at from sessions s join users u on u.id = s.user_id \
                join devices d on d.user_id = s.user_id and d.id = s.device_id where s.id = $1";
    let Some(row) = sql::one(conn, text, vec![session_id.into()]).await? else { return Ok(Check::Over) };
    let set = |at: usize| -> Result<bool> { Ok(row.try_get_by_index::<Option<i64>>(at)?.is_some()) };
    if set(14)? {
        return Ok(Check::Wiped);
    }
    let active: bool = row.try_get_by_index(9)?;
    let expires_at: i64 = row.try_get_by_index(7)?;
    let role = Role::parse(&row.try_get_by_index::<String>(8)?);
    let (Some(role), true) = (role, active && !set(6)? && !set(13)? && now.0 < expires_at) else {
        return Ok(Check::Over);
    };
    Ok(Check::Stands(Box::new(Standing {
        actor: Actor {
            agency_id: row.try_get_by_index(1)?,
            user_id: Some(row.try_get_by_index(0)?),
            role,
            device_id: Some(row.try_get_by_index(2)?),
        },
        session_id: session_id.into(),
        display_name: row.try_get_by_index(10)?,
        partner_org_id: row.try_get_by_index(11)?,
        team_id: row.try_get_by_index(12)?,
        opened_at: Instant(row.try_get_by_index(5)?),
        generation: row.try_get_by_index(3)?,
        received: set(4)?,
    })))
}

/// Remembers that the tokens of this generation have reached their device: their access token was
/// just used, so the refresh token before them is no longer good for a lost answer.
pub async fn received(conn: &impl ConnectionTrait, session_id: &str, generation: i64, now: Instant) -> Result<()> {
    sql::exec(
        conn,
        "update sessions set received_at = $1 where id = $2 and generation = $3 and received_at is null",
        vec![now.0.into(), session_id.into(), generation.into()],
    )
    .await?;
    Ok(())
}

/// Ends every session of a user.
pub async fn end_all(conn: &impl ConnectionTrait, user_id: &str, now: Instant, why: &str) -> Result<()> {
    end(conn, "user_id = $3", user_id, now, why).await
}

/// Ends every session of a user but one.
pub async fn end_all_but(
    conn: &impl ConnectionTrait,
    user_id: &str,
    but: Option<&str>,
    now: Instant,
    why: &str,
) -> Result<()> {
    sql::exec(
        conn,
        "update sessions set ended_at = $1, end_reason = $2 where user_id = $3 and id <> $4 and ended_at is null",
        vec![now.0.into(), why.into(), user_id.into(), but.unwrap_or_default().into()],
    )
    .await?;
    Ok(())
}

/// Ends every session of a user on one device.
pub async fn end_device(
    conn: &impl ConnectionTrait,
    user_id: &str,
    device_id: &str,
    now: Instant,
    why: &str,
) -> Result<()> {
    sql::exec(
        conn,
        "update sessions set ended_at = $1, end_reason = $2 where user_id = $3 and device_id = $4 and ended_at is null",
        vec![now.0.into(), why.into(), user_id.into(), device_id.into()],
    )
    .await?;
    Ok(())
}

async fn end(conn: &impl ConnectionTrait, whose: &str, id: &str, now: Instant, why: &str) -> Result<()> {
    let text = format!("update sessions set ended_at = $1, end_reason = $2 where {whose} and ended_at is null");
    sql::exec(conn, &text, vec![now.0.into(), why.into(), id.into()]).await?;
    Ok(())
}

/// True when the user has signed in from this device before and it was not shut out: strangers'
/// failures do not lock it.
pub async fn knows_device(conn: &impl ConnectionTrait, user_id: &str, device_id: &str) -> Result<bool> {
    let known = device::by_id(conn, user_id, device_id).await?;
    Ok(known.is_some_and(|device| device.revoked_at.is_none() && device.wipe_requested_at.is_none()))
}

/// The user behind a refreshed session, for the answer.
pub async fn standing(conn: &impl ConnectionTrait, session_id: &str, now: Instant) -> Result<Standing> {
    match check(conn, session_id, now).await? {
        Check::Stands(standing) => Ok(*standing),
        Check::Over | Check::Wiped => Err(Error::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_has_three_parts() {
        let secret = "s".repeat(43);
        let token = tokens("id".into(), "user".into(), 0, &secret).refresh_token;
        assert_eq!(parts(&token), Some(("id", secret.as_str())));
        for wrong in ["", "fsr1", "fsr1.id", "fsr2.id.x", "fsr1.id.short"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
