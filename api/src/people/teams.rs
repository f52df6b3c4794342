//! Teams. A change of supervisor or of the team above settles who sees which case.

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, web};
use entities::people::team::{self, Model};
use serde_json::{Value, json};

use super::{
    AN_ID, ANOTHER_ID, close_door, list, maybe_id, maybe_text, object, open_door, page, page_example, precondition,
    replace_line, row, set_line, text,
};
use crate::body::JsonBody;
use crate::form::{Form, line_shape};
use crate::openapi::schema;
use crate::operation::{ADMINISTRATORS, Op, STAFF};
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::GET, "/teams", "list_teams", all).only(STAFF).says("people", "The agency's teams").gives(
            200,
            "The teams",
            page("Team"),
            page_example(example()),
        ),
        Op::new(Method::POST, "/teams", "create_team", create)
            .only(ADMINISTRATORS)
            .says("people", "Make a team")
            .takes(schema("NewTeam"), json!({"name": "North"}))
            .gives(201, "Made", schema("Team"), example())
            .with(&["ETag"])
            .link("team", "read_team", ("id", "$response.body#/id")),
        Op::new(Method::GET, "/teams/{id}", "read_team", read)
            .only(STAFF)
            .says("people", "A team")
            .gives(200, "The team", schema("Team"), example())
            .with(&["ETag"]),
        Op::new(Method::PATCH, "/teams/{id}", "change_team", change)
            .only(ADMINISTRATORS)
            .says("people", "Change a team")
            .detail("A new supervisor sees the team's cases from this commit on, and the old one no longer does.")
            .if_match(true)
            .takes(schema("TeamChange"), json!({"supervisor_user_id": ANOTHER_ID}))
            .gives(200, "As it is now", schema("Team"), example())
            .with(&["ETag"])
            .errors(&[412, 428]),
    ]
}

async fn all(state: web::Data<State>, session: Session) -> Answer {
    let teams = team::list(state.store.connection(), &session.actor.agency_id).await?;
    list(teams.iter().map(view).collect(), None)
}

async fn read(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    let found = team::by_id(state.store.connection(), &session.actor.agency_id, &id).await?;
    let found = found.ok_or(Problem::NotFound)?;
    row(StatusCode::OK, found.rev, view(&found))
}

async fn create(state: web::Data<State>, session: Session, body: JsonBody) -> Answer {
    let mut form = Form::new(body.0)?;
    let mut new = Model { name: form.line("name", 120), ..Model::default() };
    set_line(&mut form, "supervisor_user_id", 64, &mut new.supervisor_user_id);
    set_line(&mut form, "parent_team_id", 64, &mut new.parent_team_id);
    form.finish()?;
    let mut write = open_door(&state, &session).await?;
    let stored = team::create(&mut write, new).await?;
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
    let mut write = open_door(&state, &session).await?;
    let before = team::by_id(write.conn(), &session.actor.agency_id, &id).await?.ok_or(Problem::NotFound)?;
    precondition(&req, before.rev)?;
    let mut after = before.clone();
    let mut form = Form::new(body.0)?;
    replace_line(&mut form, "name", 120, &mut after.name);
    set_line(&mut form, "supervisor_user_id", 64, &mut after.supervisor_user_id);
    set_line(&mut form, "parent_team_id", 64, &mut after.parent_team_id);
    form.finish()?;
    let stored = team::change(&mut write, &before, after).await?;
    close_door(&state, write).await?;
    row(StatusCode::OK, stored.rev, view(&stored))
}

fn view(team: &Model) -> Value {
    json!({
        "id": team.id, "name": team.name, "supervisor_user_id": team.supervisor_user_id,
        "parent_team_id": team.parent_team_id,
        "created_at": team.created_at.rfc3339(), "updated_at": team.updated_at.rfc3339(),
    })
}

fn example() -> Value {
    json!({"id": AN_ID, "name": "North", "supervisor_user_id": ANOTHER_ID, "parent_team_id": null,
        "created_at": "2027-03-01T09:00:00.000Z", "updated_at": "2027-03-01T09:00:00.000Z"})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let mut fields = json!({"name": text(), "supervisor_user_id": maybe_text(), "parent_team_id": maybe_text()});
    let given = json!({"name": line_shape(120), "supervisor_user_id": maybe_id(), "parent_team_id": maybe_id()});
    let change = object(&[], given.clone());
    let new = object(&["name"], given);
    for (name, kind) in [("id", text()), ("created_at", super::instant()), ("updated_at", super::instant())] {
        fields[name] = kind;
    }
    vec![("Team", object(&["id", "name"], fields)), ("NewTeam", new), ("TeamChange", change)]
}
