//! Deletions are kept for a time, and phones that stay away longer are sent everything afresh.

use std::process::Stdio;

use entities::sql;
use entities::sync::purge::{self, Purged};
use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use crate::support::{Phone, Town, World, fieldstone, on_both};

on_both!(
    a_phone_that_stayed_away_too_long_is_sent_everything_afresh,
    a_held_pull_never_replaces_what_the_phone_holds,
    a_first_sync_in_pages_goes_on_through_rows_older_than_any_deletion,
    a_native_cursor_from_before_the_purge_has_expired,
    an_id_whose_deletion_was_forgotten_does_not_come_back_to_life,
    a_phone_is_healed_after_a_purge,
    what_is_younger_than_the_retention_stays,
    an_operator_purges_by_hand,
);

const DAY: i64 = 86_400;

/// Ana's case with two goals on two phones, and one goal deleted from the second.
async fn parted(world: &World) -> (Phone, Phone, String, [String; 2]) {
    let ana = world.ana().await;
    let mut away = Phone::of(&ana);
    let case = opens_case(&mut away).await;
    let goals = ["Stays", "Is dropped"].map(|text| away.creates("goals", goal(&case, text)));
    away.syncs().await;
    away.syncs().await;
    let other = ana.on_another_device();
    other.logs_in().await;
    let mut there = Phone::of(&other);
    there.syncs().await;
    there.deletes("goals", &goals[1]);
    there.syncs().await;
    (away, there, case, goals)
}

pub(super) async fn forgets(world: &World) -> Purged {
    purge::all(&world.store, 400).await.expect("a purge")
}

async fn ended(world: &World) -> i64 {
    let text = "select count(*) from sync_feed where not live";
    let row = sql::one(world.store.connection(), text, vec![]).await.expect("an answer").expect("a row");
    row.try_get_by_index(0).expect("a number")
}

async fn a_phone_that_stayed_away_too_long_is_sent_everything_afresh(world: World) {
    let (mut away, mut there, case, goals) = parted(&world).await;
    let unsent = away.creates("notes", json!({"case_id": case, "body": "never sent", "kind": "progress"}));
    away.edits("goals", &goals[0], json!({"measure": "edited offline"}));
    world.pass_secs(401 * DAY);
    assert!(ended(&world).await > 0);
    let done = forgets(&world).await;
    assert!(done.agencies >= 1 && done.rows > 0, "{done:?}");
    assert_eq!(ended(&world).await, 0);
    assert_eq!(forgets(&world).await.rows, 0, "nothing is left");

    let lost = away.asks("&limit=1").await.ok();
    assert_eq!(lost["experimentalStrategy"], json!("replacement"), "also when its reply is lost");
    assert_eq!((&lost["has_more"], &lost["changes"]["goals"]["deleted"]), (&json!(false), &json!([])));
    assert_eq!(away.pulls().await["experimentalStrategy"], json!("replacement"));
    assert!(away.ids("goals").contains(&goals[0]) && !away.ids("goals").contains(&goals[1]));
    assert_eq!(away.column("notes", &unsent, "body"), json!("never sent"), "what was never sent survives");
    away.pushes().await.expect("a note and an edit").ok();
    assert!(away.pulls().await.get("experimentalStrategy").is_none(), "once");
    there.syncs().await;
    assert_eq!(there.column("goals", &goals[0], "measure"), json!("edited offline"));
    assert_eq!(away.everything(), there.everything());
}

async fn a_held_pull_never_replaces_what_the_phone_holds(world: World) {
    let (mut away, mut there, case, goals) = parted(&world).await;
    away.edits("goals", &goals[1], json!({"measure": "to a goal that is gone"}));
    world.pass_secs(401 * DAY);
    forgets(&world).await;
    let held = away.asks("&pending=1").await.ok();
    assert!(held.get("experimentalStrategy").is_none());
    away.applies(&held);
    assert!(away.ids("goals").contains(&goals[1]));
    let again = away.asks("&pending=1").await.ok();
    assert!(again.get("experimentalStrategy").is_none(), "the work is still on its way");
    away.pushes().await.expect("the edit").ok();
    let lost = away.asks("").await.ok();
    assert_eq!(lost["experimentalStrategy"], json!("replacement"));
    assert_eq!(away.pulls().await["experimentalStrategy"], json!("replacement"), "until it has arrived");
    assert!(away.pulls().await.get("experimentalStrategy").is_none());
    assert!(!away.ids("goals").contains(&goals[1]) && away.ids("cases").contains(&case));
    there.pulls().await;
    let words = serde_json::to_string(&there.everything()["sync_issues"]).expect("JSON");
    assert!(words.contains("to a goal that is gone"), "{words}");
    assert_eq!(away.everything(), there.everything());
}

async fn a_first_sync_in_pages_goes_on_through_rows_older_than_any_deletion(world: World) {
    let (_, mut there, case, goals) = parted(&world).await;
    world.pass_secs(401 * DAY);
    forgets(&world).await;
    there.creates("notes", json!({"case_id": case, "body": "of this year", "kind": "progress"}));
    there.syncs().await;
    there.syncs().await;
    let ana = world.ana().await;
    let mut fresh = Phone::of(&ana);
    let (mut pages, mut more) = (0, true);
    while more {
        let page = fresh.asks("&limit=1").await.ok();
        assert!(page.get("experimentalStrategy").is_none(), "{page}");
        more = page["has_more"] == json!(true);
        fresh.applies(&page);
        pages += 1;
        assert!(pages < 50, "it comes to an end");
    }
    assert!(pages > 2, "{pages} pages");
    fresh.pulls().await;
    assert_eq!(fresh.everything(), there.everything());
    let (mut cursor, mut seen, mut more) = (String::new(), Vec::new(), true);
    while more {
        let page = ana.get(&format!("/sync/pull?limit=1&cursor={cursor}")).await.ok();
        cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
        seen.extend(page["changes"].as_array().expect("changes").iter().map(|change| change["id"].clone()));
        more = page["has_more"] == json!(true);
    }
    assert!(seen.contains(&json!(goals[0])) && !seen.contains(&json!(goals[1])));
}

async fn a_native_cursor_from_before_the_purge_has_expired(world: World) {
    let (away, ..) = parted(&world).await;
    let ana = &away.person;
    let cursor = |page: Value| page["next_cursor"].as_str().expect("a cursor").to_owned();
    let old = cursor(ana.get("/sync/pull?limit=2000").await.ok());
    world.pass_secs(401 * DAY);
    forgets(&world).await;
    let refused = ana.get(&format!("/sync/pull?cursor={old}")).await.refused(410);
    assert_eq!(refused["code"], json!("cursor_expired"));
    let new = cursor(ana.get("/sync/pull?limit=2000").await.ok());
    ana.get(&format!("/sync/pull?cursor={new}")).await.ok();
}

async fn an_id_whose_deletion_was_forgotten_does_not_come_back_to_life(world: World) {
    let (away, there, case, goals) = parted(&world).await;
    world.pass_secs(401 * DAY);
    forgets(&world).await;
    let mut again = Phone::of(&away.person);
    again.pulls().await;
    again.creates("goals", json!({"id": goals[1], "case_id": case, "level": "individual", "statement": "Once more"}));
    again.pushes().await.expect("a goal").ok();
    again.pulls().await;
    assert!(!again.ids("goals").contains(&goals[1]));
    let issues = again.everything().remove("sync_issues").expect("it is told");
    assert!(issues.values().any(|issue| issue["kind"] == "quarantined" && issue["about_id"] == json!(goals[1])));
    there.person.get(&format!("/goals/{}", goals[1])).await.refused(404);
}

async fn a_phone_is_healed_after_a_purge(world: World) {
    let (mut away, mut there, case, goals) = parted(&world).await;
    // It took the deletion in and has lost another row since; a goal that is long gone is there again.
    let gone = away.row("goals", &goals[1]).expect("held").clone();
    away.pulls().await;
    let digest = away.person.get("/sync/digest?scope=case").await.ok();
    away.deletes("goals", &goals[0]);
    away.creates("goals", Value::Object(gone));
    away.marks_as_synced(&json!({}));
    away.pulls().await;
    world.pass_secs(401 * DAY);
    away.pulls().await;
    forgets(&world).await;
    assert_eq!(away.person.get("/sync/digest?scope=case").await.ok()["cases"], digest["cases"]);
    let rows = away.person.get(&format!("/sync/digest?case_id={case}")).await.ok();
    assert_eq!(rows["tables"]["goals"].as_array().map(Vec::len), Some(1));
    let wanted = goals.iter().map(|id| json!({"table": "goals", "id": id})).collect::<Vec<_>>();
    away.person.post("/sync/repair", json!({"rows": wanted})).await.ok();
    away.pulls().await;
    there.pulls().await;
    assert_eq!(away.everything(), there.everything());
}

async fn what_is_younger_than_the_retention_stays(world: World) {
    let (mut away, there, case, goals) = parted(&world).await;
    world.pass_secs(200 * DAY);
    hands_over(&world, &case, "ben@demo.example").await;
    world.pass_secs(199 * DAY);
    assert_eq!(forgets(&world).await.rows, 0);
    assert!(away.pulls().await.get("experimentalStrategy").is_none());
    assert!(away.ids("cases").is_empty() && away.ids("goals").is_empty());
    world.pass_secs(2 * DAY);
    assert!(forgets(&world).await.rows > 0, "the goal's deletion, and not the case's leaving");
    // A phone between the two deletions still hears of the second, as it stood then.
    let mut between = there.clone();
    between.cursor = between.cursor.map(|at| at + 100 * DAY * 1000);
    assert!(between.ids("cases").contains(&case) && !between.ids("goals").contains(&goals[1]));
    assert!(between.pulls().await.get("experimentalStrategy").is_none());
    assert!(between.ids("cases").is_empty() && between.ids("goals").is_empty());
}

async fn an_operator_purges_by_hand(town: Town) {
    let settings = town.settings();
    let told = fieldstone(&["admin", "purge", "--json"])
        .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
        .stderr(Stdio::inherit())
        .output()
        .expect("the binary runs");
    assert!(told.status.success());
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told, json!({"agencies": 0, "rows": 0}));
}
