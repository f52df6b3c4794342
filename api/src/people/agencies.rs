//! The caller's agency and its settings.

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, web};
use entities::Doc;
use entities::people::agency::{self, Model};
use serde_json::{Value, json};

use super::{
    close_door, list, maybe_text, open_door, page, page_example, precondition, replace_line, row, set_line, text,
};
use crate::body::JsonBody;
use crate::form::{Form, line_shape, or_null, whole};
use crate::openapi::schema;
use crate::operation::{ADMINISTRATORS, Op, STAFF};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::GET, "/agencies", "list_agencies", all)
            .only(STAFF)
            .says("people", "The caller's own agency, as a list")
            .gives(200, "The agency", page("Agency"), page_example(example()))
            .link("agency", "read_agency", ("id", "$response.body#/items/0/id")),
        Op::new(Method::GET, "/agencies/{id}", "read_agency", read)
            .only(STAFF)
            .says("people", "An agency and its settings")
            .gives(200, "The agency", schema("Agency"), example())
            .with(&["ETag"]),
        Op::new(Method::PATCH, "/agencies/{id}", "change_agency", change)
            .only(ADMINISTRATORS)
            .says("people", "Change the agency's settings")
            .detail("A JSON merge patch, also of what stands in settings. Deadlines are planned again, since they count in its days and hours.")
            .if_match(true)
            .takes(schema("AgencyChange"), json!({"quiet_from": "19:00", "work_days": [1, 2, 3, 4, 5]}))
            .gives(200, "As it is now", schema("Agency"), example())
            .with(&["ETag"])
            .errors(&[412, 428]),
    ]
}

async fn all(state: web::Data<State>, session: Session) -> Answer {
    list(vec![view(&own(&state, &session, &session.actor.agency_id).await?)], None)
}

async fn read(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let found = own(&state, &session, &id).await?;
    row(StatusCode::OK, found.rev, view(&found))
}

async fn own(state: &State, session: &Session, id: &str) -> Result<Model, Problem> {
    if id != session.actor.agency_id {
        return Err(Problem::NotFound);
    }
    agency::by_id(state.store.connection(), id).await?.ok_or(Problem::NotFound)
}

async fn change(
    state: web::Data<State>,
    session: Session,
    id: web::Path<String>,
    req: HttpRequest,
    body: JsonBody,
) -> Answer {
    if *id != session.actor.agency_id {
        return Err(Problem::NotFound);
    }
    let mut write = open_door(&state, &session).await?;
    let before = agency::by_id(write.conn(), &id).await?.ok_or(Problem::NotFound)?;
    precondition(&req, before.rev)?;
    let mut after = before.clone();
    let mut form = Form::new(body.0)?;
    replace_line(&mut form, "name", 120, &mut after.name);
    replace_line(&mut form, "tz", 60, &mut after.tz);
    replace_line(&mut form, "locale", 35, &mut after.locale);
    set_line(&mut form, "quiet_from", 5, &mut after.quiet_from);
    set_line(&mut form, "quiet_to", 5, &mut after.quiet_to);
    if let Some(mut days) = form.raw("work_days") {
        // 1.0 is a whole number too.
        for day in days.as_array_mut().into_iter().flatten() {
            *day = whole(day).map_or(day.take(), Value::from);
        }
        after.work_days = Doc(days);
    }
    if let Some(patch) = form.raw("settings") {
        after.settings = after.settings.patched(&patch);
    }
    after.email_policy = form.maybe_int("email_policy", 0, 1).unwrap_or(after.email_policy);
    after.retention_years = form.maybe_int("retention_years", 1, 100).unwrap_or(after.retention_years);
    form.finish()?;
    let stored = agency::change(&mut write, &before, after).await?;
    close_door(&state, write).await?;
    row(StatusCode::OK, stored.rev, view(&stored))
}

fn view(agency: &Model) -> Value {
    json!({
        "id": agency.id, "name": agency.name, "tz": agency.tz, "locale": agency.locale,
        "work_days": agency.work_days, "quiet_from": agency.quiet_from, "quiet_to": agency.quiet_to,
        "settings": agency.settings, "email_policy": agency.email_policy,
        "retention_years": agency.retention_years,
        "created_at": agency.created_at.rfc3339(), "updated_at": agency.updated_at.rfc3339(),
    })
}

fn example() -> Value {
    json!({"id": super::AN_ID, "name": "Riverbend Family Services", "tz": "America/New_York", "locale": "en-US",
        "work_days": [1, 2, 3, 4, 5], "quiet_from": "20:00", "quiet_to": "07:00", "settings": {}, "email_policy": 1,
        "retention_years": 7, "created_at": "2027-03-01T09:00:00.000Z", "updated_at": "2027-03-01T09:00:00.000Z"})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let settings = json!({"name": text(), "tz": text(), "locale": text(),
        "work_days": {"type": "array", "minItems": 1, "maxItems": 7, "uniqueItems": true, "items": {"type": "integer", "minimum": 1, "maximum": 7}},
        "quiet_from": maybe_text(), "quiet_to": maybe_text(), "settings": {"type": "object"},
        "email_policy": {"type": "integer", "minimum": 0, "maximum": 1},
        "retention_years": {"type": "integer", "minimum": 1, "maximum": 100}});
    let hour = or_null(json!({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}));
    let mut given = settings.clone();
    for (name, kind) in [
        ("name", line_shape(120)),
        ("tz", line_shape(60)),
        ("locale", line_shape(35)),
        ("quiet_from", hour.clone()),
        ("quiet_to", hour),
        ("email_policy", json!({"type": ["integer", "null"], "minimum": 0, "maximum": 1})),
        ("retention_years", json!({"type": ["integer", "null"], "minimum": 1, "maximum": 100})),
    ] {
        given[name] = kind;
    }
    let mut whole = settings;
    whole["id"] = text();
    whole["created_at"] = super::instant();
    whole["updated_at"] = super::instant();
    vec![
        ("Agency", super::object(&["id", "name", "tz", "locale", "work_days"], whole)),
        ("AgencyChange", super::object(&[], given)),
    ]
}
