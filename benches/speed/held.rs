//! What pulls cost, and whether that grows with what is held: pages of 100 and 1,000 at 10,000 rows, a first sync of
//! 50,000, many large pages at once, and the page of 100 again at 100,000 and 1,000,000.

use std::time::{Duration, Instant};

use crate::office::Office;
use crate::support::{Kind, Town};
use crate::table::{Floor, Table, median};
use crate::usage::{cpu_micros, forget_peak, peak_mib, resident_mib};
use crate::wire::{Wire, rate};

const SMALL: usize = 10_000;
const FIRST: usize = 50_000;
const MIDDLE: usize = 100_000;
const LARGE: usize = 1_000_000;

/// What a page cost.
struct Cost {
    p50_ms: f64,
    cpu_micros: f64,
}

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let mut office = Office::open(town).await;
    office.holds(SMALL).await;
    let mut before = Vec::new();
    for (whose, person) in office.people() {
        for (rows, most) in [(100, 600.0), (1000, 5000.0)] {
            let request = office.pull(person, office.cursor_before(rows).await, false);
            let (cost, bytes) = pages(&office, &request, rows, 100_000 / rows).await;
            table.add(
                &format!("page of {rows} rows, {whose}, {kind:?}"),
                format!("{:.0} µs of own CPU, p50 {:.2} ms, {bytes} bytes a row", cost.cpu_micros, cost.p50_ms),
                cost.cpu_micros,
                Floor::AtMost(most),
            );
            if rows == 100 {
                before.push(cost);
            }
        }
    }
    gzip(kind, &office, table).await;
    office.holds(FIRST).await;
    first_sync(kind, &office, table).await;
    for held in [MIDDLE, LARGE] {
        office.holds(held).await;
        for ((whose, person), before) in office.people().into_iter().zip(&before) {
            let request = office.pull(person, office.cursor_before(100).await, false);
            let (after, _) = pages(&office, &request, 100, 1000).await;
            let (p50, cpu) = (after.p50_ms / before.p50_ms, after.cpu_micros / before.cpu_micros);
            table.add(
                &format!("page of 100 rows at {held} rows held beside {SMALL}, {whose}, {kind:?}"),
                format!("p50 {:.2} ms, {p50:.2} times; CPU {:.0} µs, {cpu:.2} times", after.p50_ms, after.cpu_micros),
                p50.max(cpu),
                Floor::AtMost(1.3),
            );
        }
    }
}

/// Asks for a page again and again; answers what one costs and how many bytes a row has.
async fn pages(office: &Office, request: &[u8], rows: usize, asked: usize) -> (Cost, usize) {
    let mut wire = Wire::open(&office.server.url).await;
    let body = office.warm(&mut wire, request).await;
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(answer["changes"]["notes"]["updated"].as_array().map(Vec::len), Some(rows));
    let (mut times, pid) = (Vec::new(), office.server.pid());
    let used = cpu_micros(pid);
    for _ in 0..asked {
        let began = Instant::now();
        assert_eq!(wire.ask(request).await.0, 200);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let cost = Cost { p50_ms: median(&mut times), cpu_micros: (cpu_micros(pid) - used) / asked as f64 };
    (cost, body.len() / rows)
}

async fn gzip(kind: Kind, office: &Office, table: &mut Table) {
    let request = office.pull(&office.ana, office.cursor_before(100).await, true);
    let body = office.warm(&mut Wire::open(&office.server.url).await, &request).await;
    assert!(body.starts_with(&[0x1f, 0x8b]), "it is compressed");
    let plain = office.pull(&office.ana, office.cursor_before(100).await, false);
    let plain = office.warm(&mut Wire::open(&office.server.url).await, &plain).await.len() / 100;
    let packed = body.len() / 100;
    table.add(&format!("bytes a row, plain, {kind:?}"), format!("{plain}"), plain as f64, Floor::AtMost(520.0));
    table.add(&format!("bytes a row, gzip, {kind:?}"), format!("{packed}"), packed as f64, Floor::AtMost(160.0));
}

async fn first_sync(kind: Kind, office: &Office, table: &mut Table) {
    let pid = office.server.pid();
    let mut wire = Wire::open(&office.server.url).await;
    let rest = resident_mib(pid);
    forget_peak(pid);
    let began = Instant::now();
    let (status, body) = wire.ask(&office.pull(&office.ana, 0, true)).await;
    assert_eq!(status, 200);
    let (growth, took) = (peak_mib(pid) - rest, began.elapsed().as_secs_f64());
    table.add(
        &format!("first sync of {FIRST} rows in one answer, {kind:?}"),
        format!("{growth:.0} MiB of growth, {took:.1} s, {:.1} MiB sent", body.len() as f64 / 1_048_576.0),
        growth,
        Floor::AtMost(64.0),
    );
    forget_peak(pid);
    let request = office.pull(&office.ana, office.cursor_before(1000).await, false);
    let pages = rate(&office.server.url, &request, 64, Duration::from_secs(3)).await;
    let peak = peak_mib(pid);
    table.add(
        &format!("memory (RSS) at its peak, 64 connections of 1,000-row pages, {kind:?}"),
        format!("{peak:.0} MiB, {pages:.0} pages/s"),
        peak,
        Floor::AtMost(160.0),
    );
}
