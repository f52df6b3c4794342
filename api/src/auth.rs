//! Signing in, staying signed in, signing out.
//!
//! The rules of refresh tokens are in `entities::people::session`; here are throttling, passwords
//! and the answers. An unknown address and a wrong password go the same way at the same pace.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use entities::Instant;
use entities::people::session::{self as sessions, Refreshed, Standing, Tokens};
use entities::people::throttle::{self, Limit};
use entities::people::{device, letters, user};
use entities::registry::{MIN_SCHEMA_VERSION, SCHEMA_VERSION};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::form::{Form, line_shape, or_null, text_shape};
use crate::limit;
use crate::openapi::schema;
use crate::operation::{Access, Op};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;
use crate::tokens::{ACCESS_SECS, Claims};

const QUARTER_HOUR: i64 = 900;
/// Failures on one account from devices it does not know.
const PER_ACCOUNT: i64 = 10;
/// Failures on one account from one device it knows.
const PER_DEVICE: i64 = 10;
/// Failures from one address.
const PER_ADDRESS: i64 = 60;
/// Failures with one and the same password, whatever the account, in an hour.
const PER_PASSWORD: i64 = 20;

/// Signing in and out.
pub fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::POST, "/auth/login", "login", login)
            .access(Access::Public)
            .says("sessions", "Sign in with e-mail address and password")
            .detail("The device id is the app's own: made once at installation and kept.")
            .takes(schema("Login"), login_example())
            .gives(200, "Signed in", schema("Tokens"), tokens_example())
            .errors(&[401, 403])
            .link("refresh", "refresh", ("refresh_token", "$response.body#/refresh_token")),
        Op::new(Method::POST, "/auth/refresh", "refresh", refresh)
            .access(Access::Public)
            .says("sessions", "Exchange the refresh token for new tokens")
            .detail(
                "Each refresh token works once. If the answer was lost, the same request from the same device \
                 within ten minutes gives the same successor again; a spent token otherwise ends the session.",
            )
            .takes(schema("Refresh"), json!({"refresh_token": "fsr1.0197a5c2…", "device_id": "phone-7f3a"}))
            .gives(200, "New tokens", schema("Tokens"), tokens_example())
            .errors(&[401, 403]),
        Op::new(Method::POST, "/auth/logout", "logout", logout)
            .says("sessions", "Sign out: the session ends on every path")
            .detail(
                "So does every other session of the same user on the same device, such as one of an earlier sign-in.",
            )
            .answers(204, "Signed out", None),
        Op::new(Method::GET, "/me", "me", me).says("sessions", "Who am I").gives(
            200,
            "The caller",
            schema("Me"),
            me_example(),
        ),
    ]
}

async fn login(state: web::Data<State>, req: HttpRequest, body: JsonBody) -> Answer {
    let asked = Login::read(body)?;
    let conn = state.store.connection();
    let found = user::by_email(conn, &asked.email).await?.filter(|user| user.active);
    let user_id = found.as_ref().map_or("", |user| user.id.as_str());
    let known = sessions::knows_device(conn, user_id, &asked.device_id).await?;
    let limits = asked.limits(&state, &req, user_id, known);
    let hash = found.as_ref().and_then(|user| user.password_hash.clone());
    let right = try_password(&state, &limits, asked.password, hash.clone()).await?;
    let (Some(user), true) = (found, right) else { return Err(Problem::Unauthorized("sign_in_failed")) };
    let side = state.store.side().await?;
    let now = side.now();
    // The password may have been changed, and every session ended, while this one was looked at.
    if !user::still_signs_in_with(&*side, &user.id, hash.as_deref()).await? {
        return Err(Problem::Unauthorized("sign_in_failed"));
    }
    if device::is_wiped(&*side, &user.agency_id, &user.id, &asked.device_id).await? {
        // It was the right password: whoever has it must not be shut out of a new phone by the lost one.
        throttle::succeeded(&*side, &limits, &[]).await?;
        side.commit().await?;
        return Err(Problem::DeviceWiped);
    }
    let forget: Vec<String> = limits.iter().filter(|limit| limit.forgiven()).map(|limit| limit.key.clone()).collect();
    throttle::succeeded(&*side, &limits, &forget).await?;
    let row = device::Model {
        user_id: user.id.clone(),
        id: asked.device_id,
        agency_id: user.agency_id.clone(),
        name: asked.device_name,
        platform: asked.platform,
        app_version: asked.app_version,
        registered_at: now,
        last_seen_at: now,
        revoked_at: None,
        wipe_requested_at: None,
    };
    device::seen(&*side, row.clone()).await?;
    let tokens = sessions::open(&side, &user.id, &user.agency_id, &row.id).await?;
    let standing = sessions::standing(&*side, &tokens.session_id, now).await?;
    side.commit().await?;
    answer(&state, &tokens, &standing, now)
}

struct Login {
    email: String,
    password: SecretString,
    fingerprint: Vec<u8>,
    device_id: String,
    device_name: String,
    platform: Option<String>,
    app_version: Option<String>,
}

impl Login {
    fn read(body: JsonBody) -> Result<Login, Problem> {
        let mut form = Form::new(body.0)?;
        let email = form.text("email", 1, 254).trim().to_lowercase();
        let password = form.text("password", 1, 1024);
        let device_id = device_id(&mut form);
        let device_name = form.maybe_line("device_name", 120).unwrap_or_else(|| "device".into());
        let (platform, app_version) = (form.maybe_line("platform", 60), form.maybe_line("app_version", 60));
        form.finish()?;
        let fingerprint = password.as_bytes().to_vec();
        Ok(Login { email, password: password.into(), fingerprint, device_id, device_name, platform, app_version })
    }

    /// What this attempt is counted against. A device that the account knows has a count of its
    /// own and no other, so that a stranger's failures never lock it out.
    fn limits(&self, state: &State, req: &HttpRequest, user_id: &str, known: bool) -> Vec<Limit> {
        let limit = |key: String, allowed, window_secs| Limit { key, allowed, window_secs };
        if known {
            return vec![limit(format!("device:{user_id}:{}", self.device_id), PER_DEVICE, QUARTER_HOUR)];
        }
        let keys = &state.config.keys;
        let account = keys.fingerprint(self.email.as_bytes());
        let password = keys.fingerprint(&self.fingerprint);
        let address = limit::household(limit::address(req, state));
        vec![
            limit(format!("account:{account}"), PER_ACCOUNT, QUARTER_HOUR),
            limit(format!("address:{address}"), PER_ADDRESS, QUARTER_HOUR),
            limit(format!("password:{password}"), PER_PASSWORD, 3600),
        ]
    }
}

trait Forgiven {
    fn forgiven(&self) -> bool;
}

impl Forgiven for Limit {
    /// A success clears the account's and the device's count; the address's and the password's are
    /// only given this attempt back, or one account of one's own would reset them.
    fn forgiven(&self) -> bool {
        self.key.starts_with("account:") || self.key.starts_with("device:")
    }
}

/// Counts an attempt in a transaction of its own, so that it stays counted whatever follows.
async fn count(state: &State, limits: &[Limit]) -> Result<(), Problem> {
    let side = state.store.side().await?;
    let wait = throttle::count(&*side, limits, side.now()).await?;
    side.commit().await?;
    wait.map_or(Ok(()), |retry_after| Err(Problem::TooMany { retry_after }))
}

/// Looks at a password, which counts as an attempt. Where nobody has time to look at it, it was none: strangers who
/// keep us busy would lock a known device out.
///
/// # Errors
/// 429 when there were too many attempts, 503 when too many are waiting.
pub(crate) async fn try_password(
    state: &State,
    limits: &[Limit],
    password: SecretString,
    hash: Option<String>,
) -> Result<bool, Problem> {
    count(state, limits).await?;
    let right = state.passwords.verify(password, hash).await;
    if right.is_err() {
        let side = state.store.side().await?;
        throttle::succeeded(&*side, limits, &[]).await?;
        side.commit().await?;
    }
    right
}

fn device_id(form: &mut Form) -> String {
    let id = form.text("device_id", 1, 64);
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)) {
        form.fault("device_id", "wrong_value", "must consist of letters, digits and . _ : -");
    } else if [".", ".."].contains(&id.as_str()) {
        // It stands in paths, where these lead elsewhere.
        form.fault("device_id", "wrong_value", "must be more than dots");
    }
    id
}

async fn refresh(state: web::Data<State>, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let token = form.text("refresh_token", 1, 256);
    let device = device_id(&mut form);
    form.finish()?;
    let side = state.store.side().await?;
    let now = side.now();
    match sessions::refresh(&side, &token, &device).await? {
        Refreshed::Renewed(tokens) => {
            let standing = sessions::standing(&*side, &tokens.session_id, now).await?;
            side.commit().await?;
            answer(&state, &tokens, &standing, now)
        }
        Refreshed::Over => Err(Problem::Unauthorized("session_over")),
        Refreshed::Wiped => Err(Problem::DeviceWiped),
        Refreshed::Stolen { user_id, agency_id } => {
            if let Some(user) = user::by_id(&*side, &agency_id, &user_id).await? {
                letters::session_stolen(&*side, now, &user).await?;
            }
            side.commit().await?;
            state.recent.forget();
            tracing::warn!(user_id, "a spent refresh token was used again: the session was ended");
            Err(Problem::Unauthorized("session_over"))
        }
    }
}

async fn logout(state: web::Data<State>, session: Session) -> Answer {
    let side = state.store.side().await?;
    // With what is left of earlier sign-ins on this device: whoever signs out leaves nothing of theirs behind.
    sessions::end_device(&*side, &session.user_id, &session.device_id, side.now(), "signed_out").await?;
    side.commit().await?;
    state.recent.forget();
    Ok(HttpResponse::NoContent().finish())
}

async fn me(state: web::Data<State>, session: Session) -> Answer {
    let found = user::by_id(state.store.connection(), &session.actor.agency_id, &session.user_id).await?;
    let user = found.ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok().json(json!({
        "id": user.id,
        "role": user.role,
        "agency_id": user.agency_id,
        "display_name": user.display_name,
        "email": user.email,
        "team_id": user.team_id,
        "partner_org_id": user.partner_org_id,
        "device_id": session.device_id,
        "signed_in_at": session.signed_in_at.rfc3339(),
    })))
}

fn answer(state: &State, tokens: &Tokens, standing: &Standing, now: Instant) -> Answer {
    let jti = entities::clock::mint_at(now);
    let claims = Claims::new(&tokens.user_id, &tokens.session_id, tokens.generation, jti, now);
    let access_token = state.config.keys.sign(&claims).map_err(Problem::Internal)?;
    Ok(HttpResponse::Ok().json(json!({
        "access_token": access_token,
        "refresh_token": tokens.refresh_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_SECS,
        "server_time": now.rfc3339(),
        "user": {
            "id": tokens.user_id,
            "role": standing.actor.role.as_str(),
            "agency_id": standing.actor.agency_id,
            "display_name": standing.display_name,
        },
        "sync": {"min_schema": MIN_SCHEMA_VERSION, "max_schema": *SCHEMA_VERSION},
    })))
}

fn login_example() -> Value {
    json!({"email": "ana@demo.example", "password": "fieldstone-demo", "device_id": "phone-7f3a", "device_name": "Ana's phone"})
}

fn tokens_example() -> Value {
    json!({"access_token": "eyJ…", "refresh_token": "fsr1.0197a5c2…", "token_type": "Bearer", "expires_in": 600,
        "server_time": "2027-03-01T09:00:00.000Z",
        "user": {"id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a01", "role": "caseworker",
            "agency_id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a00", "display_name": "Ana Ortiz"},
        "sync": {"min_schema": MIN_SCHEMA_VERSION, "max_schema": *SCHEMA_VERSION}})
}

fn me_example() -> Value {
    json!({"id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a01", "role": "caseworker",
        "agency_id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a00", "display_name": "Ana Ortiz",
        "email": "ana@demo.example", "team_id": "0197a5c2-7d3e-7c1f-9b52-5f0c4f0f6a02", "partner_org_id": null,
        "device_id": "phone-7f3a", "signed_in_at": "2027-03-01T09:00:00.000Z"})
}

/// Schemas of this room.
pub fn schemas() -> Vec<(String, Value)> {
    let text = json!({"type": "string"});
    let maybe = json!({"type": ["string", "null"]});
    let device = json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._:-]+$"});
    let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false});
    let all = [
        (
            "Login",
            object(
                &["email", "password", "device_id"],
                json!({"email": text_shape(1, 254), "password": text_shape(1, 1024), "device_id": device,
                    "device_name": or_null(line_shape(120)), "platform": or_null(line_shape(60)),
                    "app_version": or_null(line_shape(60))}),
            ),
        ),
        (
            "Refresh",
            object(&["refresh_token", "device_id"], json!({"refresh_token": text_shape(1, 256), "device_id": device})),
        ),
        (
            "Tokens",
            json!({"type": "object",
                "required": ["access_token", "refresh_token", "token_type", "expires_in", "server_time", "user", "sync"],
                "properties": {"access_token": text, "refresh_token": text, "token_type": {"const": "Bearer"},
                    "expires_in": {"type": "integer", "description": "Seconds."},
                    "server_time": {"type": "string", "format": "date-time"},
                    "user": {"type": "object", "properties": {"id": text, "role": text, "agency_id": text, "display_name": text}},
                    "sync": {"type": "object", "properties": {"min_schema": {"type": "integer"}, "max_schema": {"type": "integer"}}}}}),
        ),
        (
            "Me",
            json!({"type": "object", "required": ["id", "role", "agency_id", "display_name", "email"],
                "properties": {"id": text, "role": text, "agency_id": text, "display_name": text, "email": text,
                    "team_id": maybe, "partner_org_id": maybe, "device_id": text,
                    "signed_in_at": {"type": "string", "format": "date-time"}}}),
        ),
    ];
    all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
