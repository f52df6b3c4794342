//! Who is asking.
//!
//! `operation.rs` calls [`authenticate`] before a handler runs; the handler takes [`Session`]. A
//! token only names a session. Whether it stands is looked up for each request; an operation with
//! `Access::Recent` accepts an answer up to a second old and confirms it before it sends content. Where a body
//! comes with the request, it is looked up again once that has come, by [`still_stands`].

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev, web};
use entities::people::session::{self as sessions, Check, Standing};
use entities::{Actor, ConnectionTrait, Instant, Role};
use tokio::time;

use crate::problem::Problem;
use crate::state::State;
use crate::tokens::Refused;

const FRESH: Duration = Duration::from_secs(1);
const REMEMBERED: usize = 20_000;
const A_MOMENT: Duration = Duration::from_millis(200);

/// A caller who may do what they ask for. Only made by [`authenticate`], and only handed to a handler
/// once the role was found among those allowed.
#[derive(Clone, Debug)]
pub struct Session {
    /// Agency, user, role of this moment, device: what the write door wants to know.
    pub actor: Actor,
    /// The user's id.
    pub user_id: String,
    /// The session's id.
    pub session_id: String,
    /// The app's id of the device.
    pub device_id: String,
    /// Name as colleagues know it.
    pub display_name: String,
    /// Organisation, for partners.
    pub partner_org_id: Option<String>,
    /// Team.
    pub team_id: Option<String>,
    /// When the user last gave a password.
    pub signed_in_at: Instant,
    /// Whether the check may be up to a second old.
    pub recent: bool,
    /// When the check began, by this process's clock.
    checked_at: Instant,
    roles: &'static [Role],
}

impl Session {
    /// Checks again, in the transaction that reads the content or writes the change.
    ///
    /// # Errors
    /// 401 when the session is over, 403 when the device was reported lost or the role no longer
    /// allows the operation.
    pub async fn confirm(&self, conn: &impl ConnectionTrait, now: Instant) -> Result<Session, Problem> {
        let standing = standing(sessions::check(conn, &self.session_id, now).await?)?;
        if !self.roles.contains(&standing.actor.role) {
            return Err(Problem::Forbidden("your role does not allow this".into()));
        }
        Ok(caller(standing, self.roles, false, now))
    }

    /// Checks again for a line that is held open and carries no content: what was seen within the last second will do.
    ///
    /// # Errors
    /// As [`Session::confirm`].
    pub async fn confirm_lately(&self, state: &State) -> Result<(), Problem> {
        let known = state.recent.get(&self.session_id);
        if known.is_some_and(|standing| self.roles.contains(&standing.actor.role)) {
            return Ok(());
        }
        let (round, asked_at) = (state.recent.round(), time::Instant::now());
        let found = standing(sessions::check(state.store.connection(), &self.session_id, state.now()).await?)?;
        state.recent.put(&found, round, asked_at);
        if self.roles.contains(&found.actor.role) {
            return Ok(());
        }
        Err(Problem::Forbidden("your role does not allow this".into()))
    }
}

/// Checks again who sends a body, once it has come: it may have been minutes on its way, and who was shut
/// out meanwhile is let in no more. What came within a second of the check is as good as checked. So is a
/// request without a session.
///
/// # Errors
/// As [`Session::confirm`]. 503 when the role has changed: what the body asks for is judged by the new one when
/// it is sent again.
pub async fn still_stands(req: &HttpRequest) -> Result<(), Problem> {
    let session = req.extensions().get::<Session>().cloned();
    let (Some(session), Some(state)) = (session, req.app_data::<web::Data<State>>()) else { return Ok(()) };
    let since = state.store.clock().now().0 - session.checked_at.0;
    // A clock that was set back says nothing.
    if (0..FRESH.as_millis() as i64).contains(&since) {
        return Ok(());
    }
    let now = session.confirm(state.store.connection(), state.now()).await?;
    if now.actor.role == session.actor.role { Ok(()) } else { Err(Problem::Busy { retry_after: 1 }) }
}

impl FromRequest for Session {
    type Error = Problem;
    type Future = Ready<Result<Session, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let session = req.extensions().get::<Session>().cloned();
        ready(session.ok_or_else(|| Problem::Internal("a public operation asked for a session".into())))
    }
}

/// Sessions seen standing less than a second ago.
#[derive(Debug, Default)]
pub struct Recent(RwLock<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Counts how often everything was forgotten.
    round: u64,
    standing: HashMap<String, (Standing, time::Instant)>,
}

impl Recent {
    /// Forgets everything: called by this process after a change of users, devices or sessions, so
    /// that it holds here at the next request.
    pub fn forget(&self) {
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        seen.round += 1;
        seen.standing.clear();
    }

    fn round(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).round
    }

    fn get(&self, session_id: &str) -> Option<Standing> {
        let seen = self.0.read().unwrap_or_else(PoisonError::into_inner);
        seen.standing.get(session_id).filter(|(_, at)| at.elapsed() < FRESH).map(|(standing, _)| standing.clone())
    }

    /// Remembers what was read, unless everything was forgotten since the reading began.
    fn put(&self, standing: &Standing, round: u64, asked_at: time::Instant) {
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if seen.round != round {
            return;
        }
        if seen.standing.len() >= REMEMBERED {
            seen.standing.clear();
        }
        seen.standing.insert(standing.session_id.clone(), (standing.clone(), asked_at));
    }
}

/// Reads the token and finds the session. Whether its role is among those allowed, `operation.rs`
/// asks next; the session keeps them for [`Session::confirm`].
///
/// # Errors
/// 401 without a good token or session, 403 for a lost device.
pub async fn authenticate(
    state: &State,
    req: &HttpRequest,
    roles: &'static [Role],
    recent: bool,
) -> Result<Session, Problem> {
    let token = bearer(req)?;
    let claims = match state.config.keys.verify(token, state.now()) {
        // Before a token is sent away for its time, our own sense of time is checked.
        Err(Refused::Expired | Refused::Early) => {
            state.measure().await?;
            state.config.keys.verify(token, state.now())
        }
        verified => verified,
    };
    let claims = claims.map_err(|refused| match refused {
        Refused::Expired => Problem::Unauthorized("token_expired"),
        Refused::Early | Refused::Invalid => Problem::Unauthorized("token_invalid"),
    })?;
    let checked_at = state.store.clock().now();
    let known = if recent { state.recent.get(&claims.sid) } else { None };
    let standing = match known {
        Some(standing) => standing,
        _ => {
            let (round, asked_at) = (state.recent.round(), time::Instant::now());
            let found = standing(sessions::check(state.store.connection(), &claims.sid, state.now()).await?)?;
            if !found.received && found.generation == claims.generation && found.generation > 0 {
                note_arrival(state, &claims.sid, claims.generation).await;
            }
            state.recent.put(&found, round, asked_at);
            found
        }
    };
    if standing.actor.user() != claims.sub {
        return Err(Problem::Unauthorized("token_invalid"));
    }
    Ok(caller(standing, roles, recent, checked_at))
}

/// The tokens of this generation have arrived. A request is not failed for the sake of this note:
/// the next one with the same token writes it.
async fn note_arrival(state: &State, session_id: &str, generation: i64) {
    let noted = async {
        let side = state.store.side().await?;
        sessions::received(&*side, session_id, generation, side.now()).await?;
        side.commit().await
    };
    // A read never waits behind a long write for it.
    match time::timeout(A_MOMENT, noted).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::warn!(%error, "the arrival of new tokens could not be noted"),
        Err(_) => tracing::debug!("the arrival of new tokens is noted later"),
    }
}

/// The token of the Authorization header.
///
/// # Errors
/// 401 where there is none, or more than one.
pub(crate) fn bearer(req: &HttpRequest) -> Result<&str, Problem> {
    let missing = Problem::Unauthorized("token_missing");
    let mut values = req.headers().get_all(header::AUTHORIZATION);
    let Some(value) = values.next() else { return Err(missing) };
    if values.next().is_some() {
        return Err(Problem::Unauthorized("token_invalid"));
    }
    let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return Err(missing);
    };
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing) }
}

fn standing(check: Check) -> Result<Standing, Problem> {
    match check {
        Check::Stands(standing) => Ok(*standing),
        Check::Over => Err(Problem::Unauthorized("session_over")),
        Check::Wiped => Err(Problem::DeviceWiped),
    }
}

fn caller(standing: Standing, roles: &'static [Role], recent: bool, checked_at: Instant) -> Session {
    Session {
        user_id: standing.actor.user().to_owned(),
        device_id: standing.actor.device_id.clone().unwrap_or_default(),
        actor: standing.actor,
        session_id: standing.session_id,
        display_name: standing.display_name,
        partner_org_id: standing.partner_org_id,
        team_id: standing.team_id,
        signed_in_at: standing.opened_at,
        recent,
        checked_at,
        roles,
    }
}
