//! A pull that brings nothing, which is what nearly every pull is, beside `hello`.

use std::time::Duration;

use crate::QUIET;
use crate::hello::Hello;
use crate::support::{Kind, Phone, Town};
use crate::table::{Floor, Table, median};
use crate::wire::{Wire, get, rate};

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let server = town.server_with(QUIET).await;
    let ana = server.person("ana@demo.example").await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    for case in 0..20 {
        phone.creates("cases", serde_json::json!({"unit": "individual", "summary": format!("Case {case}")}));
    }
    phone.syncs().await;
    phone.pulls().await;
    let cursor = phone.cursor.expect("a cursor");
    let request = get(&server.url, &format!("/api/v1/sync?last_pulled_at={cursor}"), &ana.token());
    let (status, body) = Wire::open(&server.url).await.ask(&request).await;
    assert_eq!(status, 200);
    let hello = Hello::start(body.len()).await;
    let plain = get(&hello.url, "/", "none");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(rate(&hello.url, &plain, CONNECTIONS, ROUND).await);
        ours.push(rate(&server.url, &request, CONNECTIONS, ROUND).await);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let share = ours / theirs;
    table.add(
        &format!("no-change pull, {CONNECTIONS} connections, {kind:?}"),
        format!("{ours:.0}/s beside {theirs:.0}/s of hello: {:.1} %", share * 100.0),
        share,
        Floor::AtLeast(0.10),
    );
}
