//! `kill -9` of the server while a push is on its way, twenty times: what was acknowledged is there, and nothing is there
//! by half.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::{Phone, Town, on_both};

on_both!(a_server_killed_in_mid_push_loses_nothing_it_acknowledged_and_stores_nothing_by_half);

const KILLS: u32 = 20;
const ROWS: usize = 40;

async fn a_server_killed_in_mid_push_loses_nothing_it_acknowledged_and_stores_nothing_by_half(town: Town) {
    let mut server = town.server().await;
    let ana = server.person("ana@demo.example").await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "A case to push to"}));
    phone.pushes().await.expect("something to push").ok();
    // How long an undisturbed push takes here, so that the kills fall before, within and after it.
    let began = Instant::now();
    phone.pulls().await;
    writes(&mut phone, &case, "undisturbed");
    phone.pushes().await.expect("something to push").ok();
    let undisturbed = began.elapsed();

    let mut pushes: Vec<(String, bool)> = vec![("undisturbed".into(), true)];
    let mut turn = 0;
    // Where the machine is busy the blows may all come too late: then there are more of them.
    while turn < KILLS || (pushes.iter().all(|(_, acknowledged)| *acknowledged) && turn < 4 * KILLS) {
        phone.pulls().await;
        let batch = format!("batch {turn}");
        writes(&mut phone, &case, &batch);
        let path = format!("/sync?last_pulled_at={}", phone.cursor.expect("it has pulled"));
        let push = phone.person.request(Method::POST, &path).body(phone.outgoing().to_string());
        let answer = tokio::spawn(async move { push.send().await?.error_for_status()?.text().await });
        // The one thing that has to be left to real time: when the blow falls.
        tokio::time::sleep(undisturbed * (turn % KILLS) * 3 / (2 * KILLS)).await;
        turn += 1;
        server.kill();
        let acknowledged = answer.await.expect("the push ran").is_ok();
        if acknowledged {
            phone.marks_as_synced(&json!({}));
        }
        pushes.push((batch, acknowledged));
        server = town.server().await;
        phone.person = phone.person.through(&server.url);
        if !acknowledged {
            // As an app does: what was not acknowledged is pushed again, whether it was stored or not.
            let seen = stored(&phone, &case, &pushes[pushes.len() - 1].0).await;
            assert!(seen == 0 || seen == ROWS, "{seen} of {ROWS} rows of a push that was cut off");
            phone.syncs().await;
        }
    }
    for (batch, acknowledged) in &pushes {
        let seen = stored(&phone, &case, batch).await;
        assert_eq!(seen, ROWS, "{batch}, acknowledged at once: {acknowledged}");
    }
    let cut_off = pushes.iter().filter(|(_, acknowledged)| !acknowledged).count();
    assert!(cut_off > 0, "no push was cut off: the blows came too late");
    town.is_intact().await;
    drop(server);
    assert!(undisturbed < Duration::from_secs(30));
}

fn writes(phone: &mut Phone, case: &str, batch: &str) {
    for row in 0..ROWS {
        let text = format!("{batch}, row {row}");
        phone.creates("notes", json!({"case_id": case, "kind": "progress", "body": text}));
    }
}

/// How many notes of a batch a phone that starts from nothing gets.
async fn stored(phone: &Phone, case: &str, batch: &str) -> usize {
    let mut fresh = Phone::of(&phone.person);
    fresh.pulls().await;
    let bodies = fresh.ids("notes").into_iter().filter(|id| fresh.column("notes", id, "case_id") == case);
    let of_batch = |id: &String| {
        let body = fresh.column("notes", id, "body");
        body.as_str().is_some_and(|body| body.starts_with(&format!("{batch},")))
    };
    bodies.filter(of_batch).count()
}
