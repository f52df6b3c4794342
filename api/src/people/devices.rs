//! Devices: a person's own, and for administrators everybody's.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::Role;
use entities::people::device::{self, Model, Shut};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANOTHER_ID, close_door, list, maybe_text, object, open_door, page, page_example, text};
use crate::operation::Op;
use crate::problem::Answer;
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::GET, "/devices", "list_devices", all)
            .says("people", "My devices; for administrators, those of the agency or of one user")
            .query("user_id", "Only this user's; for administrators", text())
            .gives(200, "The devices, the latest seen first, at most 200", page("Device"), page_example(example()))
            .link("revoke", "revoke_device", ("id", "$response.body#/items/0/id")),
        Op::new(Method::POST, "/devices/{id}/revoke", "revoke_device", revoke)
            .says("people", "Sign a device out")
            .detail("Every session on it ends at once. The user may sign in from it again.")
            .answers(204, "Signed out", None),
        Op::new(Method::POST, "/devices/{id}/wipe", "wipe_device", wipe)
            .says("people", "Report a device lost")
            .detail("At its next contact every path answers 403 device_wiped and the app erases itself. There is no way back for that device id.")
            .answers(204, "It will be told", None),
    ]
}

#[derive(Debug, Deserialize)]
struct Whose {
    user_id: Option<String>,
}

async fn all(state: web::Data<State>, session: Session, whose: web::Query<Whose>) -> Answer {
    let user = match session.actor.role {
        Role::Administrator => whose.user_id.clone(),
        _ => Some(session.user_id.clone()),
    };
    let devices = device::list(state.store.connection(), &session.actor.agency_id, user.as_deref()).await?;
    list(devices.iter().map(view).collect(), None)
}

async fn revoke(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    shut(&state, &session, &id, Shut::Revoke).await
}

async fn wipe(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    shut(&state, &session, &id, Shut::Wipe).await
}

/// A person shuts out their own device; an administrator a device, whoever of the agency used it.
async fn shut(state: &State, session: &Session, id: &str, how: Shut) -> Answer {
    let mut write = open_door(state, session).await?;
    let user = (session.actor.role != Role::Administrator).then_some(session.user_id.as_str());
    device::shut(&mut write, id, user, how).await?;
    close_door(state, write).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn view(device: &Model) -> Value {
    json!({
        "id": device.id, "user_id": device.user_id, "name": device.name, "platform": device.platform,
        "app_version": device.app_version, "registered_at": device.registered_at.rfc3339(),
        "last_seen_at": device.last_seen_at.rfc3339(),
        "revoked_at": device.revoked_at.map(|at| at.rfc3339()),
        "wipe_requested_at": device.wipe_requested_at.map(|at| at.rfc3339()),
    })
}

fn example() -> Value {
    json!({"id": "phone-7f3a", "user_id": ANOTHER_ID, "name": "Ana's phone", "platform": "Android 16",
        "app_version": "1.4.0", "registered_at": "2027-03-01T09:00:00.000Z",
        "last_seen_at": "2027-03-02T08:00:00.000Z", "revoked_at": null, "wipe_requested_at": null})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let fields = json!({"id": text(), "user_id": text(), "name": text(), "platform": maybe_text(),
        "app_version": maybe_text(), "registered_at": super::instant(), "last_seen_at": super::instant(),
        "revoked_at": maybe_text(), "wipe_requested_at": maybe_text()});
    vec![("Device", object(&["id", "user_id", "name", "registered_at", "last_seen_at"], fields))]
}
