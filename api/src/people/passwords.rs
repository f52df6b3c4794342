//! Choosing a password: with a link that works once, or with the password one has.
//!
//! The link leads to a page that needs no script. Looking at it uses nothing up, whatever a mail
//! scanner does; only the form's POST does.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use entities::people::throttle::{self, Limit};
use entities::people::{letters, link, user};
use entities::{Actor, Role};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::open_door;
use crate::auth::try_password;
use crate::body::{self, JsonBody};
use crate::form::{Form, text_shape};
use crate::limit;
use crate::operation::{Access, Op};
use crate::password::{MAX_CHARS, MIN_CHARS, objection};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

const PER_ACCOUNT: i64 = 3;
const PER_ADDRESS: i64 = 30;
const HOUR: i64 = 3600;

pub(super) fn operations() -> Vec<Op> {
    let chosen = text_shape(MIN_CHARS, MAX_CHARS);
    let fields = |required: &[&str], properties| super::object(required, properties);
    vec![
        Op::new(Method::POST, "/auth/forgot", "forgot_password", forgot)
            .access(Access::Public)
            .says("sessions", "Ask for a link to choose a new password")
            .detail("The answer is the same whether the account exists or not. The link works once, for 30 minutes.")
            .takes(fields(&["email"], json!({"email": text_shape(1, 254)})), json!({"email": "ana@demo.example"}))
            .answers(202, "If there is such an account, a mail is on its way", None),
        Op::new(Method::POST, "/auth/password", "set_password", set)
            .access(Access::Public)
            .says("sessions", "Choose a password with the secret of an invitation or reset link")
            .detail("12 to 128 characters. Every session of the user ends.")
            .takes(
                fields(&["token", "password"], json!({"token": text_shape(1, 256), "password": chosen})),
                json!({"token": "J8m2…", "password": "a long sentence of your own"}),
            )
            .answers(204, "Chosen", None)
            .errors(&[404]),
        Op::new(Method::POST, "/auth/change_password", "change_password", change)
            .says("sessions", "Change one's own password")
            .detail("Every other session of the user ends.")
            .takes(
                fields(
                    &["current_password", "new_password"],
                    json!({"current_password": text_shape(1, 1024), "new_password": chosen}),
                ),
                json!({"current_password": "fieldstone-demo", "new_password": "a long sentence of your own"}),
            )
            .answers(204, "Changed", None),
        Op::at_root(Method::GET, "/password/{secret}", "password_page", page)
            .access(Access::Public)
            .says("pages", "The page behind an invitation or reset link")
            .answers(200, "A form", Some("text/html"))
            .answers(404, "A page that says that the link works no longer", Some("text/html")),
        Op::at_root(Method::POST, "/password/{secret}", "password_form", submit)
            .access(Access::Public)
            .says("pages", "What the page's form sends")
            .takes_as(
                "application/x-www-form-urlencoded",
                fields(&["password", "again"], json!({"password": chosen, "again": chosen})),
                serde_json::Value::Null,
            )
            .answers(200, "Chosen", Some("text/html"))
            .answers(404, "A page that says that the link works no longer", Some("text/html"))
            .answers(422, "The form again, with what is wrong", Some("text/html")),
    ]
}

async fn forgot(state: web::Data<State>, req: HttpRequest, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let email = form.text("email", 1, 254).trim().to_lowercase();
    form.finish()?;
    let address = limit::household(limit::address(&req, &state));
    let limit = |key: String, allowed| Limit { key, allowed, window_secs: HOUR };
    let side = state.store.side().await?;
    let now = side.now();
    let by_address = [limit(format!("forgot:address:{address}"), PER_ADDRESS)];
    let wait = throttle::count(&*side, &by_address, now).await?;
    let account = state.config.keys.fingerprint(email.as_bytes());
    let by_account = [limit(format!("forgot:account:{account}"), PER_ACCOUNT)];
    let often = throttle::count(&*side, &by_account, now).await?.is_some();
    side.commit().await?;
    if let Some(retry_after) = wait {
        return Err(Problem::TooMany { retry_after });
    }
    // Afterwards, so that the time of the answer does not tell whether there is an account.
    let state = state.clone();
    actix_web::rt::spawn(async move {
        if !often && let Err(problem) = send_reset(&state, &email).await {
            tracing::error!(%problem, "a reset link could not be sent");
        }
    });
    Ok(HttpResponse::Accepted().finish())
}

async fn send_reset(state: &State, email: &str) -> Result<(), Problem> {
    let side = state.store.side().await?;
    if let Some(user) = user::by_email(&*side, email).await?.filter(|user| user.active) {
        letters::reset(&*side, side.now(), &user).await?;
        side.commit().await?;
    }
    Ok(())
}

async fn set(state: web::Data<State>, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let secret = form.text("token", 1, 256);
    let password: SecretString = form.text("password", 1, 1024).into();
    form.finish()?;
    choose(&state, &secret, password).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sets the password of the link's owner and uses the link up.
async fn choose(state: &State, secret: &str, password: SecretString) -> Result<(), Problem> {
    let now = state.store.now().await?;
    let owner = link::owner(state.store.connection(), secret, now).await?.ok_or(Problem::NotFound)?;
    refuse_weak("password", &password, &owner.email)?;
    let hash = state.passwords.hash(password).await?;
    let actor = Actor {
        agency_id: owner.agency_id.clone(),
        user_id: Some(owner.user_id.clone()),
        role: Role::System,
        device_id: None,
    };
    let mut write = state.store.write(&actor).await?;
    link::spend(write.conn(), secret, write.now()).await?;
    store(&mut write, &owner.user_id, &hash, None).await?;
    write.commit().await?;
    state.recent.forget();
    Ok(())
}

async fn change(state: web::Data<State>, session: Session, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let current: SecretString = form.text("current_password", 1, 1024).into();
    let new: SecretString = form.text("new_password", 1, 1024).into();
    form.finish()?;
    let found = user::by_id(state.store.connection(), &session.actor.agency_id, &session.user_id).await?;
    let user = found.ok_or(Problem::NotFound)?;
    refuse_weak("new_password", &new, &user.email)?;
    let key = format!("device:{}:{}", session.user_id, session.device_id);
    let limits = [Limit { key: key.clone(), allowed: 10, window_secs: 900 }];
    let wrong = || Problem::invalid("current_password", "wrong_value", "is not your password");
    if !try_password(&state, &limits, current, user.password_hash.clone()).await? {
        return Err(wrong());
    }
    let hash = state.passwords.hash(new).await?;
    let mut write = open_door(&state, &session).await?;
    // Of several changes at once each found the password right; it is so for the first one only.
    if !user::still_signs_in_with(write.conn(), &session.user_id, user.password_hash.as_deref()).await? {
        return Err(wrong());
    }
    throttle::succeeded(write.conn(), &limits, &[key]).await?;
    store(&mut write, &session.user_id, &hash, Some(&session.session_id)).await?;
    super::close_door(&state, write).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sets the password and tells the user, in case it was not them.
async fn store(
    write: &mut entities::Write,
    user_id: &str,
    hash: &str,
    but_session: Option<&str>,
) -> Result<(), Problem> {
    let agency = write.actor().agency_id.clone();
    let user = user::by_id(write.conn(), &agency, user_id).await?.ok_or(Problem::NotFound)?;
    user::set_password(write, user_id, hash, but_session).await?;
    if user.password_hash.is_some() {
        letters::password_changed(write.conn(), write.now(), &user).await?;
    }
    Ok(())
}

fn refuse_weak(field: &str, password: &SecretString, email: &str) -> Result<(), Problem> {
    match objection(password.expose_secret(), email) {
        Some((code, why)) => Err(Problem::invalid(field, code, why)),
        None => Ok(()),
    }
}

async fn page(state: web::Data<State>, secret: web::Path<String>) -> Answer {
    let now = state.store.now().await?;
    match link::owner(state.store.connection(), &secret, now).await? {
        Some(_) => Ok(html(StatusCode::OK, FORM)),
        None => Ok(html(StatusCode::NOT_FOUND, GONE)),
    }
}

#[derive(Deserialize)]
struct Chosen {
    password: String,
    again: String,
}

async fn submit(state: web::Data<State>, secret: web::Path<String>, req: HttpRequest, payload: web::Payload) -> Answer {
    let mut payload = payload.into_inner();
    let bytes = body::read(&req, &mut payload, body::Limits::FORM).await?;
    let sent = std::str::from_utf8(&bytes).ok().and_then(|text| web::Query::<Chosen>::from_query(text).ok());
    let Some(web::Query(chosen)) = sent else { return Err(Problem::malformed("the form cannot be read")) };
    if link::owner(state.store.connection(), &secret, state.store.now().await?).await?.is_none() {
        return Ok(html(StatusCode::NOT_FOUND, GONE));
    }
    if chosen.password != chosen.again {
        return Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &again("The two are not the same.")));
    }
    match choose(&state, &secret, chosen.password.into()).await {
        Ok(()) => Ok(html(StatusCode::OK, DONE)),
        Err(Problem::NotFound) => Ok(html(StatusCode::NOT_FOUND, GONE)),
        Err(Problem::Invalid(faults)) => {
            let why = faults.first().map_or("", |fault| fault.detail.as_str());
            Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &again(&format!("The password {why}."))))
        }
        Err(other) => Err(other),
    }
}

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; \
                      base-uri 'none'";

const FORM: &str = "<h1>Choose a password</h1><p>At least 12 characters. A sentence of your own is easy to keep and \
    hard to guess.</p><form method=\"post\"><label>Password<input type=\"password\" name=\"password\" \
    autocomplete=\"new-password\" minlength=\"12\" maxlength=\"128\" required autofocus></label>\
    <label>The same again<input type=\"password\" name=\"again\" autocomplete=\"new-password\" minlength=\"12\" \
    maxlength=\"128\" required></label><button>Set password</button></form>";
const DONE: &str =
    "<h1>Done</h1><p>Your password is set. Sign in with it in the app; all other devices were signed out.</p>";
const GONE: &str = "<h1>This link no longer works</h1><p>It was used, or its time is over. Ask for a new one: \
    &ldquo;forgot password&rdquo; in the app, or your administrator.</p>";

/// The form once more. `why` is our own wording, never what was typed.
fn again(why: &str) -> String {
    FORM.replacen("</h1>", &format!("</h1><p role=\"alert\"><strong>{why}</strong></p>"), 1)
}

fn html(status: StatusCode, content: &str) -> HttpResponse {
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>Fieldstone</title><style>\
         body{{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}}\
         label,input,button{{display:block;width:100%;box-sizing:border-box;margin:.5rem 0}}\
         input,button{{font:inherit;padding:.6rem}}</style></head><body><main>{content}</main></body></html>"
    );
    HttpResponseBuilder::new(status)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .content_type("text/html; charset=utf-8")
        .body(page)
}
