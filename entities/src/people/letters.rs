//! Mail about accounts: queued in the transaction that decides on it, worded when it is sent.
//!
//! A queued letter names the link it needs and never holds one: the secret is made at the moment
//! of sending by [`complete`], so that no secret lies in the outbox and its time begins when the
//! mail leaves.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{link, user};
use crate::clock::{Instant, mint_at};
use crate::error::{Error, Result};
use crate::workflow::outbox::{self, NewMessage, Recipient, ResendPolicy};

/// Asks a new user to choose a password.
pub async fn invite(conn: &impl ConnectionTrait, now: Instant, user: &user::Model) -> Result<()> {
    send(conn, now, user, user, "invitation", json!({"link": {"kind": "invitation", "user_id": user.id}})).await
}

/// Gives a user a way to choose a new password.
pub async fn reset(conn: &impl ConnectionTrait, now: Instant, user: &user::Model) -> Result<()> {
    send(conn, now, user, user, "password_reset", json!({"link": {"kind": "reset", "user_id": user.id}})).await
}

/// Tells a user that their password was changed.
pub async fn password_changed(conn: &impl ConnectionTrait, now: Instant, user: &user::Model) -> Result<()> {
    send(conn, now, user, user, "password_changed", json!({})).await
}

/// Tells a user and their supervisor that a copy of the user's sign-in was in use.
pub async fn session_stolen(conn: &impl ConnectionTrait, now: Instant, user: &user::Model) -> Result<()> {
    let data = json!({"name": user.display_name, "own": true});
    send(conn, now, user, user, "session_ended", data).await?;
    match user::supervisor_of(conn, user).await? {
        Some(leader) => {
            let data = json!({"name": user.display_name, "own": false});
            send(conn, now, user, &leader, "session_ended", data).await
        }
        None => Ok(()),
    }
}

/// Tells somebody that mail to another cannot be delivered. `data` names a colleague or a referral,
/// never a client.
pub async fn address_refused(
    conn: &impl ConnectionTrait,
    now: Instant,
    agency_id: &str,
    to_user: &str,
    data: Value,
) -> Result<()> {
    let message = NewMessage {
        agency_id: agency_id.into(),
        message_key: format!("address_refused:{to_user}:{}", mint_at(now)),
        template: "address_refused".into(),
        to: Recipient::User(to_user.into()),
        data,
        not_before: None,
        expires_at: Some(now.plus_secs(72 * 3600)),
        resend_policy: ResendPolicy::Once,
    };
    outbox::queue(conn, now, message).await.map(drop)
}

async fn send(
    conn: &impl ConnectionTrait,
    now: Instant,
    about: &user::Model,
    to: &user::Model,
    template: &str,
    data: Value,
) -> Result<()> {
    let hours = |hours: i64| Some(now.plus_secs(hours * 3600));
    let message = NewMessage {
        agency_id: about.agency_id.clone(),
        message_key: format!("{template}:{}:{}:{}", about.id, to.id, mint_at(now)),
        template: template.into(),
        to: Recipient::User(to.id.clone()),
        data,
        not_before: None,
        expires_at: if template == "password_reset" { hours(1) } else { hours(72) },
        resend_policy: ResendPolicy::AtOnce,
    };
    outbox::queue(conn, now, message).await?;
    Ok(())
}

/// Puts the address of a fresh link where the letter asked for one. Called by the sender, in a
/// transaction, just before it words the letter; other letters come back as they are.
pub async fn complete(conn: &impl ConnectionTrait, now: Instant, public_url: &str, mut data: Value) -> Result<Value> {
    let Some(asked) = data.get("link").filter(|asked| asked.is_object()) else { return Ok(data) };
    let kind = match asked["kind"].as_str() {
        Some("invitation") => link::Kind::Invitation,
        Some("reset") => link::Kind::Reset,
        _ => return Err(Error::Internal("a letter asks for an unknown kind of link".into())),
    };
    let user_id = asked["user_id"].as_str().unwrap_or_default().to_owned();
    let secret = link::issue(conn, kind, &user_id, now).await?;
    data["link"] = format!("{public_url}/password/{secret}").into();
    data["hours"] = (kind.lives_secs() / 3600).into();
    data["minutes"] = (kind.lives_secs() / 60).into();
    Ok(data)
}
