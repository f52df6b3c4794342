//! Users: made and changed by administrators; a few personal settings are everyone's own.

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use entities::people::user::{self, Model};
use entities::people::{letters, user as users};
use entities::{Day, Doc, Role, Write};
use serde_json::{Value, json};

use super::{
    AN_ID, ANOTHER_ID, Paging, close_door, maybe_text, object, open_door, page, page_example, precondition,
    replace_line, row, set_line, text,
};
use crate::body::JsonBody;
use crate::form::{Form, line_shape, or_null};
use crate::openapi::schema;
use crate::operation::{ADMINISTRATORS, Op};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    let read = ("id", "$response.body#/id");
    vec![
        Op::new(Method::GET, "/users", "list_users", all)
            .only(ADMINISTRATORS)
            .says("people", "The agency's users")
            .query("limit", "1 to 200; 50 when absent", json!({"type": "integer", "minimum": 1, "maximum": 200}))
            .query("cursor", "next_cursor of the page before", text())
            .gives(200, "A page of users", page("User"), page_example(example()))
            .errors(&[422]),
        Op::new(Method::POST, "/users", "create_user", create)
            .only(ADMINISTRATORS)
            .says("people", "Make a user and send the invitation")
            .detail("The user chooses a password through a link that works once, within 72 hours.")
            .takes(
                schema("NewUser"),
                json!({"display_name": "Ana Ortiz", "email": "ana@demo.example", "role": "caseworker", "team_id": AN_ID}),
            )
            .gives(201, "Made", schema("User"), example())
            .with(&["ETag"])
            .errors(&[409])
            .link("user", "read_user", read),
        Op::new(Method::GET, "/users/{id}", "read_user", read_one)
            .says("people", "A user: oneself, or for administrators anyone of the agency")
            .gives(200, "The user", schema("User"), example())
            .with(&["ETag"]),
        Op::new(Method::PATCH, "/users/{id}", "change_user", change)
            .says("people", "Change a user")
            .detail("Everyone may change their own tz, languages, digest_hour, absence and cover; the rest is the administrators'. The cover says whom to ask and opens no case to them; a supervisor assigns `covering`. A new role holds from the next request.")
            .if_match(true)
            .takes(schema("UserChange"), json!({"away_from": "2027-07-05", "away_to": "2027-07-16", "cover_user_id": ANOTHER_ID}))
            .gives(200, "As it is now", schema("User"), example())
            .with(&["ETag"])
            .errors(&[409, 412, 428]),
        verb("deactivate", "deactivate_user", "Switch a user off: every session ends at once", deactivate),
        verb("reactivate", "reactivate_user", "Let a user in again", reactivate),
        Op::new(Method::POST, "/users/{id}/invite", "invite_user", invite)
            .only(ADMINISTRATORS)
            .says("people", "Send the invitation again")
            .answers(202, "The mail is on its way", None)
            .errors(&[409]),
        Op::new(Method::POST, "/users/{id}/reset_password", "reset_user_password", reset)
            .only(ADMINISTRATORS)
            .says("people", "Send the user a link to choose a new password")
            .answers(202, "The mail is on its way", None)
            .errors(&[409]),
    ]
}

fn verb<F, Args>(name: &str, id: &str, says: &str, handler: F) -> Op
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    Op::new(Method::POST, &format!("/users/{{id}}/{name}"), id, handler)
        .only(ADMINISTRATORS)
        .says("people", says)
        .gives(200, "As it is now", schema("User"), example())
        .with(&["ETag"])
        .errors(&[409])
}

async fn all(state: web::Data<State>, session: Session, page: web::Query<Paging>) -> Answer {
    let (agency, limit) = (&session.actor.agency_id, page.limit()?);
    let found = user::list(state.store.connection(), agency, page.after(), limit + 1).await?;
    page.answer(found, |row| &row.id, view)
}

async fn read_one(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    if !may_see(&session, &id) {
        return Err(Problem::NotFound);
    }
    let found = user::by_id(state.store.connection(), &session.actor.agency_id, &id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    row(StatusCode::OK, found.rev, view(&found))
}

fn may_see(session: &Session, id: &str) -> bool {
    session.actor.role == Role::Administrator || session.user_id == id
}

async fn create(state: web::Data<State>, session: Session, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let name = form.line("display_name", 120);
    let email = form.text("email", 3, 254);
    let role = role(&mut form).unwrap_or(Role::Caseworker);
    let mut new = Model::new(&name, &email, role);
    belongings(&mut form, &mut new);
    personal(&mut form, &mut new);
    form.finish()?;
    let mut write = open_door(&state, &session).await?;
    let stored = user::create(&mut write, new).await?;
    letters::invite(write.conn(), write.now(), &stored).await?;
    close_door(&state, write).await?;
    row(StatusCode::CREATED, stored.rev, view(&stored))
}

async fn change(
    state: web::Data<State>,
    session: Session,
    id: web::Path<String>,
    req: HttpRequest,
    body: JsonBody,
) -> Answer {
    if !may_see(&session, &id) {
        return Err(Problem::NotFound);
    }
    let write = open_door(&state, &session).await?;
    let before = load(&write, &id).await?;
    precondition(&req, before.rev)?;
    let mut after = before.clone();
    let mut form = Form::new(body.0)?;
    if session.actor.role == Role::Administrator {
        replace_line(&mut form, "display_name", 120, &mut after.display_name);
        if form.has("email") {
            after.email = form.text("email", 3, 254);
        }
        if form.has("role")
            && let Some(role) = role(&mut form)
        {
            after.role = role.as_str().into();
        }
        belongings(&mut form, &mut after);
    } else if let Some(name) = ADMINISTRATORS_DECIDE.iter().find(|name| form.has(name)) {
        return Err(Problem::Forbidden(format!("{name} is decided by administrators")));
    }
    personal(&mut form, &mut after);
    form.finish()?;
    store(&state, write, &before, after).await
}

const ADMINISTRATORS_DECIDE: &[&str] = &["display_name", "email", "role", "team_id", "partner_org_id", "profession"];

async fn deactivate(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let write = open_door(&state, &session).await?;
    let before = load(&write, &id).await?;
    let after = Model { active: false, ..before.clone() };
    store(&state, write, &before, after).await
}

async fn reactivate(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let write = open_door(&state, &session).await?;
    let before = load(&write, &id).await?;
    let after = Model { active: true, ..before.clone() };
    store(&state, write, &before, after).await
}

async fn store(state: &State, mut write: Write, before: &Model, after: Model) -> Answer {
    let stored = user::change(&mut write, before, after).await?;
    close_door(state, write).await?;
    row(StatusCode::OK, stored.rev, view(&stored))
}

async fn invite(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let mut write = open_door(&state, &session).await?;
    let user = load(&write, &id).await?;
    if user.password_hash.is_some() || !user.active {
        let detail = "the user is inactive or has a password already".into();
        return Err(Problem::Conflict { code: "not_invitable", detail, conflicts: Vec::new() });
    }
    letters::invite(write.conn(), write.now(), &user).await?;
    write.note("user_invited", entities::audit::object("users", &user.id));
    close_door(&state, write).await?;
    Ok(HttpResponse::Accepted().finish())
}

async fn reset(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let mut write = open_door(&state, &session).await?;
    let user = load(&write, &id).await?;
    if !user.active {
        let detail = "the user is inactive, and no link would work".into();
        return Err(Problem::Conflict { code: "inactive", detail, conflicts: Vec::new() });
    }
    letters::reset(write.conn(), write.now(), &user).await?;
    write.note("password_reset_sent", entities::audit::object("users", &user.id));
    close_door(&state, write).await?;
    Ok(HttpResponse::Accepted().finish())
}

async fn load(write: &Write, id: &str) -> Result<Model, Problem> {
    users::by_id(write.conn(), &write.actor().agency_id, id).await?.ok_or(Problem::NotFound)
}

fn role(form: &mut Form) -> Option<Role> {
    let word = form.text("role", 1, 20);
    let role = Role::parse(&word);
    if role.is_none() && !form.faulty("role") {
        form.fault("role", "wrong_value", "must be caseworker, supervisor, administrator, partner or auditor");
    }
    role
}

/// What administrators decide.
fn belongings(form: &mut Form, user: &mut Model) {
    set_line(form, "team_id", 64, &mut user.team_id);
    set_line(form, "partner_org_id", 64, &mut user.partner_org_id);
    set_line(form, "profession", 120, &mut user.profession);
}

/// What everyone decides for themselves.
fn personal(form: &mut Form, user: &mut Model) {
    set_line(form, "tz", 60, &mut user.tz);
    set_line(form, "cover_user_id", 64, &mut user.cover_user_id);
    user.digest_hour = form.maybe_int("digest_hour", 0, 23).unwrap_or(user.digest_hour);
    if let Some(tags) = form.raw("languages") {
        user.languages = Doc(tags);
    }
    for (name, slot) in [("away_from", &mut user.away_from), ("away_to", &mut user.away_to)] {
        if form.has(name) {
            *slot = form.maybe_parsed::<Day>(name, "a date YYYY-MM-DD");
        }
    }
}

fn view(user: &Model) -> Value {
    json!({
        "id": user.id, "display_name": user.display_name, "email": user.email, "role": user.role,
        "profession": user.profession, "team_id": user.team_id, "partner_org_id": user.partner_org_id,
        "tz": user.tz, "languages": user.languages, "active": user.active, "digest_hour": user.digest_hour,
        "away_from": user.away_from.map(|day| day.to_string()), "away_to": user.away_to.map(|day| day.to_string()),
        "cover_user_id": user.cover_user_id, "invited": user.password_hash.is_none(),
        "created_at": user.created_at.rfc3339(), "updated_at": user.updated_at.rfc3339(),
    })
}

fn example() -> Value {
    json!({"id": ANOTHER_ID, "display_name": "Ana Ortiz", "email": "ana@demo.example", "role": "caseworker",
        "profession": "social worker", "team_id": AN_ID, "partner_org_id": null, "tz": null, "languages": ["en", "es"],
        "active": true, "digest_hour": 7, "away_from": null, "away_to": null, "cover_user_id": null, "invited": false,
        "created_at": "2027-03-01T09:00:00.000Z", "updated_at": "2027-03-01T09:00:00.000Z"})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let roles = json!({"enum": ["caseworker", "supervisor", "administrator", "partner", "auditor"]});
    let day = json!({"type": ["string", "null"], "format": "date"});
    let mut fields = json!({"display_name": text(), "email": text(), "role": roles, "profession": maybe_text(),
        "team_id": maybe_text(), "partner_org_id": maybe_text(), "tz": maybe_text(),
        "languages": {"type": "array", "items": text(), "maxItems": 20},
        "digest_hour": {"type": "integer", "minimum": 0, "maximum": 23}, "away_from": day, "away_to": day,
        "cover_user_id": maybe_text()});
    let mut given = fields.clone();
    let email = json!({"type": "string", "format": "email", "minLength": 3, "maxLength": 254});
    let tags = json!({"type": "array", "maxItems": 20, "items": {"type": "string", "pattern": "^[A-Za-z0-9-]{2,35}$"}});
    for (name, kind) in [
        ("display_name", line_shape(120)),
        ("email", email),
        ("profession", or_null(line_shape(120))),
        ("tz", or_null(line_shape(60))),
        ("team_id", super::maybe_id()),
        ("partner_org_id", super::maybe_id()),
        ("cover_user_id", super::maybe_id()),
        ("languages", tags),
        ("digest_hour", json!({"type": ["integer", "null"], "minimum": 0, "maximum": 23})),
    ] {
        given[name] = kind;
    }
    let new = object(&["display_name", "email", "role"], given.clone());
    let change = object(&[], given);
    for (name, kind) in [
        ("id", text()),
        ("active", json!({"type": "boolean"})),
        ("invited", json!({"type": "boolean", "description": "True until a password was chosen."})),
        ("created_at", super::instant()),
        ("updated_at", super::instant()),
    ] {
        fields[name] = kind;
    }
    vec![
        ("User", object(&["id", "display_name", "email", "role", "active"], fields)),
        ("NewUser", new),
        ("UserChange", change),
    ]
}
