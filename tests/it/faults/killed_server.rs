//! `kill -9` of the server while a push is on its way, again and again: what was acknowledged is there, and nothing is
//! there by half.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::{Phone, Town, kills, on_both};

on_both!(a_server_killed_in_mid_push_loses_nothing_it_acknowledged_and_stores_nothing_by_half);

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
    let (mut turn, kills) = (0, kills());
    // Where the machine is busy the blows may all come too late: then there are more of them.
    while turn < kills || (pushes.iter().all(|(_, acknowledged)| *acknowledged) && turn < 4 * kills) {
        phone.pulls().await;
        let batch = format!("batch {turn}");
        writes(&mut phone, &case, &batch);
        let path = format!("/sync?last_pulled_at={}", phone.cursor.expect("it has pulled"));
        let push = phone.person.request(Method::POST, &path).body(phone.outgoing().to_string());
        let answer = tokio::spawn(async move { push.send().await?.error_for_status()?.text().await });
        // The one thing that has to be left to real time: when the blow falls.
        tokio::time::sleep(undisturbed * (turn % kills) * 3 / (2 * kills)).await;
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
            let seen = stored(&phone, &case).await.remove(&pushes[pushes.len() - 1].0).unwrap_or(0);
            assert!(seen == 0 || seen == ROWS, "{seen} of {ROWS} rows of a push that was cut off");
            phone.syncs().await;
        }
    }
    let stored = stored(&phone, &case).await;
    for (batch, acknowledged) in &pushes {
        assert_eq!(stored.get(batch), Some(&ROWS), "{batch}, acknowledged at once: {acknowledged}");
    }
    assert_eq!(stored.len(), pushes.len());
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

/// How many notes of each batch a phone that starts from nothing gets.
async fn stored(phone: &Phone, case: &str) -> BTreeMap<String, usize> {
    let mut fresh = Phone::of(&phone.person);
    fresh.pulls().await;
    let mut batches = BTreeMap::new();
    for id in fresh.ids("notes").iter().filter(|id| fresh.column("notes", id, "case_id") == case) {
        let body = fresh.column("notes", id, "body");
        let (batch, _) = body.as_str().and_then(|body| body.split_once(',')).expect("a note of a batch");
        *batches.entry(batch.to_owned()).or_default() += 1;
    }
    batches
}
