//! Devices: a person's own, for supervisors their people's, and for administrators everybody's.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use entities::Role;
use entities::people::device::{self, Shut};
use entities::registry::is_id;
use entities::sync::devices::{self, Overview, Whose};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANOTHER_ID, close_door, list, maybe_text, object, open_door, page, page_example, text};
use crate::operation::Op;
use crate::problem::{Answer, Problem};
use crate::session::Session;
use crate::state::State;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::new(Method::GET, "/devices", "list_devices", all)
            .says("people", "My devices, and how their sync is doing")
            .detail("Administrators see the agency's, or one user's. Supervisors see their own and, with of=team, those of their people. behind_seconds is how far what a device certainly holds lies behind the newest change; clock_skew_seconds is how far its clock is ahead. Neither decides anything.")
            .query("user_id", "Only this user's; for administrators, and for supervisors of their people", text())
            .query("of", "team: those of my people; for supervisors", json!({"enum": ["team"]}))
            .gives(200, "The devices, the latest seen first, at most 200", page("Device"), page_example(example()))
            .errors(&[422])
            .link("revoke", "revoke_device", ("id", "$response.body#/items/0/id")),
        Op::new(Method::POST, "/devices/{id}/revoke", "revoke_device", revoke)
            .says("people", "Sign a device out")
            .detail("Every session on it ends at once. The user may sign in from it again.")
            .answers(204, "Signed out", None),
        Op::new(Method::POST, "/devices/{id}/wipe", "wipe_device", wipe)
            .says("people", "Report a device lost")
            .detail("At its next contact every path answers 403 device_wiped and the app erases itself. There is no way back for that device id. Somebody's own report reaches them alone, although others share the device; an administrator's reaches everybody of the agency who used it or signs in from it later.")
            .answers(204, "It will be told", None),
    ]
}

#[derive(Debug, Deserialize)]
struct Asked {
    user_id: Option<String>,
    of: Option<String>,
}

async fn all(state: web::Data<State>, session: Session, whose: web::Query<Asked>) -> Answer {
    let team = match whose.of.as_deref() {
        None => false,
        Some("team") => true,
        Some(_) => return Err(Problem::invalid("of", "unknown_code", "must be team")),
    };
    if whose.user_id.as_deref().is_some_and(|user| !is_id(user)) {
        return list(Vec::new(), None);
    }
    let range = match (session.actor.role, &whose.user_id) {
        (Role::Administrator, Some(user)) => Whose::User(user.clone()),
        (Role::Administrator, None) => Whose::Agency,
        (Role::Supervisor, one) if team || one.is_some() => Whose::TeamsOf(session.user_id.clone(), one.clone()),
        // Nobody else looks at anybody else's.
        (_, Some(user)) if *user != session.user_id => return list(Vec::new(), None),
        _ => Whose::User(session.user_id.clone()),
    };
    let now = state.store.now().await?;
    let found = devices::overview(state.store.connection(), &session.actor.agency_id, &range, now).await?;
    list(found.iter().map(view).collect(), None)
}

async fn revoke(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    shut(&state, &session, &id, Shut::Revoke).await
}

async fn wipe(state: web::Data<State>, session: Session, id: web::Path<String>) -> Answer {
    shut(&state, &session, &id, Shut::Wipe).await
}

/// A person shuts out what is theirs on a device, and nobody else: who knows a colleague's device id must not wipe their
/// phone with it. An administrator shuts out the device, whoever of the agency used it.
async fn shut(state: &State, session: &Session, id: &str, how: Shut) -> Answer {
    let mut write = open_door(state, session).await?;
    let user = (session.actor.role != Role::Administrator).then_some(session.user_id.as_str());
    device::shut(&mut write, id, user, how).await?;
    close_door(state, write).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn view(device: &Overview) -> Value {
    let instant = |at: Option<entities::Instant>| at.map(|at| at.rfc3339());
    json!({
        "id": device.id, "user_id": device.user_id, "user_name": device.user_name, "name": device.name, "platform": device.platform,
        "app_version": device.app_version, "registered_at": device.registered_at.rfc3339(),
        "last_seen_at": device.last_seen_at.rfc3339(),
        "revoked_at": instant(device.revoked_at),
        "wipe_requested_at": instant(device.wipe_requested_at),
        "last_pull_at": instant(device.last_pull_at), "last_push_at": instant(device.last_push_at),
        "schema_version": device.schema_version, "behind_seconds": device.behind_ms.map(|ms| ms / 1000),
        "clock_skew_seconds": device.clock_skew_ms.map(|ms| ms / 1000),
        "holds_deletes_since": instant(device.holds_deletes_since),
        "open_issues": device.open_issues, "quarantined": device.quarantined,
    })
}

fn example() -> Value {
    json!({"id": "phone-7f3a", "user_id": ANOTHER_ID, "user_name": "Ana Ortiz", "name": "Ana's phone", "platform": "Android 16",
        "app_version": "1.4.0", "registered_at": "2027-03-01T09:00:00.000Z",
        "last_seen_at": "2027-03-02T08:00:00.000Z", "revoked_at": null, "wipe_requested_at": null,
        "last_pull_at": "2027-03-02T08:00:00.000Z", "last_push_at": null, "schema_version": 1, "behind_seconds": 0,
        "clock_skew_seconds": -3, "holds_deletes_since": null, "open_issues": 0, "quarantined": 0})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let (whole, maybe_whole) = (json!({"type": "integer"}), json!({"type": ["integer", "null"]}));
    let fields = json!({"id": text(), "user_id": text(), "user_name": text(), "name": text(), "platform": maybe_text(),
        "app_version": maybe_text(), "registered_at": super::instant(), "last_seen_at": super::instant(),
        "revoked_at": maybe_text(), "wipe_requested_at": maybe_text(), "last_pull_at": maybe_text(),
        "last_push_at": maybe_text(), "schema_version": maybe_whole, "behind_seconds": maybe_whole,
        "clock_skew_seconds": maybe_whole, "holds_deletes_since": maybe_text(), "open_issues": whole,
        "quarantined": whole});
    vec![("Device", object(&["id", "user_id", "name", "registered_at", "last_seen_at"], fields))]
}
