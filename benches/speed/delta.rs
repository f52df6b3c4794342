//! A delta of 100 rows for somebody who holds 10,000 rows, and for the same person once they hold 100,000.

use std::time::Instant;

use serde_json::{Value, json};

use crate::QUIET;
use crate::push::{ROWS, case_of, changes};
use crate::support::{Kind, Person, Town};
use crate::table::{Floor, Table, median};
use crate::wire::{Wire, get, post};

const CASES: usize = 20;
const ASKED: usize = 300;

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let server = town.server_with(QUIET).await;
    let ana = server.person("ana@demo.example").await;
    let mut cases = Vec::new();
    let mut cursor = 0;
    for _ in 0..CASES {
        let (case, at) = case_of(&ana).await;
        cases.push(case);
        cursor = at;
    }
    let mut wire = Wire::open(&server.url).await;
    let mut held = 0;
    let mut p50s = Vec::new();
    for wanted in [10_000, 100_000] {
        while held < wanted {
            push(&mut wire, &server.url, &ana, cursor, &cases[held / 1000 % CASES], 1000).await;
            held += 1000;
        }
        // From just before the last hundred.
        let from = pulled(&mut wire, &server.url, &ana, None).await["timestamp"].as_i64().expect("a timestamp");
        push(&mut wire, &server.url, &ana, from, &cases[0], ROWS).await;
        let answer = pulled(&mut wire, &server.url, &ana, Some(from)).await;
        assert_eq!(answer["changes"]["notes"]["updated"].as_array().map(Vec::len), Some(ROWS));
        let request = get(&server.url, &format!("/api/v1/sync?last_pulled_at={from}"), &ana.token());
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let began = Instant::now();
            assert_eq!(wire.ask(&request).await.0, 200);
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        p50s.push(median(&mut times));
    }
    let growth = p50s[1] / p50s[0];
    table.add(
        &format!("delta of {ROWS} rows, p50 at 10,000 and at 100,000 rows held, {kind:?}"),
        format!("{:.2} ms and {:.2} ms: {growth:.2} times", p50s[0], p50s[1]),
        growth,
        Floor::AtMost(1.3),
    );
}

async fn push(wire: &mut Wire, url: &str, person: &Person, cursor: i64, case: &str, rows: usize) {
    let body = json!({"notes": changes(case, rows)}).to_string();
    let path = format!("/api/v1/sync?last_pulled_at={cursor}");
    let (status, body) = wire.ask(&post(url, &path, &person.token(), &body)).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

async fn pulled(wire: &mut Wire, url: &str, person: &Person, from: Option<i64>) -> Value {
    let from = from.map_or("null".to_owned(), |at| at.to_string());
    let (status, body) = wire.ask(&get(url, &format!("/api/v1/sync?last_pulled_at={from}"), &person.token())).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}
