//! Ten thousand phones that listen: what they hold in memory, and how long until all have been poked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::QUIET;
use crate::push::{case_of, changes};
use crate::support::{Kind, Town};
use crate::table::{Floor, Table};
use crate::usage::resident_mib;
use crate::wire::{Wire, get, host, post};

const LISTENERS: usize = 10_000;

/// How many listeners have been told of a commit beyond a number.
#[derive(Default)]
struct Told {
    listeners: AtomicUsize,
    all: Notify,
}

impl Told {
    fn one(&self) {
        if self.listeners.fetch_add(1, Ordering::SeqCst) + 1 == LISTENERS {
            self.all.notify_one();
        }
    }
}

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let settings = [QUIET[0], ("FIELDSTONE_CONNECTIONS_PER_ADDRESS", "0"), ("FIELDSTONE_RATE_PER_SECOND", "0")];
    let server = town.server_with(&settings).await;
    let ana = server.person("ana@demo.example").await;
    let (case, cursor) = case_of(&ana).await;
    let rest = resident_mib(server.pid());
    let (first, later) = (Arc::new(Told::default()), Arc::new(Told::default()));
    let request = get(&server.url, "/api/v1/sync/live", &ana.token());
    for _ in 0..LISTENERS {
        let mut stream = TcpStream::connect(host(&server.url)).await.expect("the server listens");
        stream.write_all(&request).await.expect("the request");
        tokio::spawn(listens(stream, cursor, Arc::clone(&first), Arc::clone(&later)));
    }
    within(Duration::from_secs(120), &first).await;
    let each = (resident_mib(server.pid()) - rest) * 1024.0 / LISTENERS as f64;
    table.add(
        &format!("memory for each of {LISTENERS} listeners, {kind:?}"),
        format!("{each:.1} KiB, {:.0} MiB in all", resident_mib(server.pid())),
        each,
        Floor::AtMost(50.0),
    );
    let mut wire = Wire::open(&server.url).await;
    let path = format!("/api/v1/sync?last_pulled_at={cursor}");
    let push = post(&server.url, &path, &ana.token(), &json!({"notes": changes(&case, 1)}).to_string());
    let began = Instant::now();
    assert_eq!(wire.ask(&push).await.0, 200);
    within(Duration::from_secs(30), &later).await;
    let took = began.elapsed().as_secs_f64();
    table.add(
        &format!("a push until all {LISTENERS} listeners are poked, {kind:?}"),
        format!("{took:.2} s"),
        took,
        Floor::AtMost(5.0),
    );
}

async fn within(limit: Duration, told: &Told) {
    let waited = tokio::time::timeout(limit, told.all.notified()).await;
    assert!(waited.is_ok(), "{} of {LISTENERS} were told", told.listeners.load(Ordering::SeqCst));
}

/// Reads the stream: the first poke, and one that tells of a commit beyond `cursor`.
async fn listens(stream: TcpStream, cursor: i64, first: Arc<Told>, later: Arc<Told>) {
    let mut lines = BufReader::with_capacity(1024, stream).lines();
    let mut opened = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        if !std::mem::replace(&mut opened, true) {
            first.one();
        }
        if data["head"].as_i64().is_some_and(|head| head > cursor) {
            return later.one();
        }
    }
}
