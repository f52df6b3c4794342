//! `GET /sync/live`: a poke when something was committed, and nothing else.
//!
//! A stream of server-sent events that carries the agency's newest commit number and no client
//! data. Commits of this and other processes are heard through PostgreSQL's notifications and
//! found by polling, which alone is enough.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use entities::store::Commits;
use entities::sync;
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::operation::{Access, Op, STAFF};
use crate::pace;
use crate::problem::Answer;
use crate::session::Session;
use crate::state::State;

/// A comment is sent this often, so that proxies keep the line open; the session is checked then, and before each poke.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// How often the clocks are read where commits are not heard, and as a safety net where they are.
const POLL: Duration = Duration::from_secs(1);
const SAFETY_NET: Duration = Duration::from_secs(5);

pub(super) fn operation() -> Op {
    Op::new(Method::GET, "/sync/live", "live", live)
        .says("sync", "Listen for commits, as server-sent events")
        .detail("event: poke, data: {\"head\": N}. After a poke wait a random time of up to 3 s, then sync.")
        .access(Access::Roles(STAFF))
        .answers(200, "A stream that does not end by itself", Some("text/event-stream"))
}

/// The newest commit number of each agency somebody listens to.
#[derive(Debug, Default)]
pub struct Heads(Mutex<HashMap<String, watch::Sender<i64>>>);

impl Heads {
    fn subscribe(&self, agency: &str, head: i64) -> watch::Receiver<i64> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.entry(agency.to_owned()).or_insert_with(|| watch::Sender::new(head)).subscribe()
    }

    fn tell(&self, agency: &str, head: i64) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = heads.get(agency) else { return };
        if known.is_closed() {
            heads.remove(agency);
        } else {
            known.send_if_modified(|known| std::mem::replace(known, head.max(*known)) < head);
        }
    }

    fn anybody(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Hears and polls until the process stops.
pub async fn keep(state: State) {
    let mut stopping = state.stopping();
    let mut commits: Option<Commits> = None;
    let mut due = Instant::now();
    while !*stopping.borrow_and_update() {
        if commits.is_none() {
            commits = state.store.commits().await.unwrap_or_default();
            // What was committed before the line stood, nobody told.
            due = if commits.is_some() { Instant::now() } else { due.min(Instant::now() + POLL) };
        }
        tokio::select! {
            biased;
            _ = stopping.changed() => return,
            // However much is heard: one agency's commits tell nothing of another's.
            () = sleep_until(due) => {
                poll(&state).await;
                due = Instant::now() + if commits.is_some() { SAFETY_NET } else { POLL };
            }
            heard = next(&mut commits) => match heard {
                Some((agency, head)) => state.heads.tell(&agency, head),
                None => commits = None,
            },
        }
    }
}

async fn next(commits: &mut Option<Commits>) -> Option<(String, i64)> {
    match commits {
        Some(commits) => commits.next().await,
        None => std::future::pending().await,
    }
}

async fn poll(state: &State) {
    if !state.heads.anybody() {
        return;
    }
    match sync::heads(state.store.connection()).await {
        Ok(heads) => heads.into_iter().for_each(|(agency, head)| state.heads.tell(&agency, head)),
        Err(error) => tracing::warn!(%error, "the clocks could not be read for the live streams"),
    }
}

async fn live(state: web::Data<State>, session: Session) -> Answer {
    let line = sync::timeline(state.store.connection(), &session.actor.agency_id).await?;
    let mut heads = state.heads.subscribe(&session.actor.agency_id, line.head);
    heads.mark_changed();
    let listener = Listener { state, session, heads, beat: Instant::now() + HEARTBEAT };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.event().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Compressed, a small event would wait in the encoder for more.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events))
}

struct Listener {
    state: web::Data<State>,
    session: Session,
    heads: watch::Receiver<i64>,
    beat: Instant,
}

impl Listener {
    /// The next event; `None` ends the stream.
    async fn event(&mut self) -> Option<Bytes> {
        let mut stopping = self.state.stopping();
        if *stopping.borrow_and_update() {
            return None;
        }
        tokio::select! {
            _ = stopping.changed() => None,
            changed = self.heads.changed() => {
                changed.ok()?;
                let head = *self.heads.borrow_and_update();
                // Whoever was shut out meanwhile hears nothing more, not even that something happened.
                self.session.confirm_lately(&self.state).await.ok()?;
                // Streams that break off together are opened again apart.
                let retry = pace::reconnect_ms(&self.state.store.clock().mint());
                Some(format!("event: poke\ndata: {}\nretry: {retry}\n\n", json!({"head": head})).into())
            }
            () = sleep_until(self.beat) => {
                self.beat = Instant::now() + HEARTBEAT;
                let now = self.state.store.clock().now();
                self.session.confirm(self.state.store.connection(), now).await.ok()?;
                Some(Bytes::from_static(b": still here\n\n"))
            }
        }
    }
}
