//! What a device says of itself with every request, and keeping it when nobody waits.

use actix_web::{HttpRequest, web};
use entities::Instant;
use entities::sync::{Note, Told};

use crate::state::State;

/// The device's clock at the moment of sending: RFC 3339, or milliseconds since 1970.
pub(super) const DEVICE_TIME: &str = "x-device-time";
/// The version of the app.
pub(super) const APP_VERSION: &str = "x-app-version";

/// Reads it; what cannot be read was not said.
pub(super) fn read(req: &HttpRequest) -> Told {
    let header = |name: &str| req.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let clock = header(DEVICE_TIME).and_then(|text| text.parse().ok().or_else(|| Instant::parse(text).map(|at| at.0)));
    let app_version = header(APP_VERSION).filter(|text| (1..=60).contains(&text.len())).map(str::to_owned);
    Told { clock, app_version }
}

/// Keeps what a pull found out about its device, after the answer and in nobody's way.
pub(super) fn keep(state: &web::Data<State>, note: Option<Note>) {
    let Some(note) = note else { return };
    let state = state.clone();
    actix_web::rt::spawn(async move {
        if let Err(error) = note.keep(&state.store).await {
            tracing::warn!(%error, "what a pull told of its device was not kept; the next one tells it again");
        }
    });
}
