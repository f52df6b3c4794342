//! Deletes that wait for a phone's unsent work (`pending=1`): each for its own beat, and none for ever.

use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use crate::support::{Phone, World, on_both};

on_both!(
    each_loss_waits_for_its_own_beat,
    a_lost_reply_loses_neither_what_it_brought_nor_what_it_held,
    a_day_is_the_longest_that_a_loss_waits,
    a_row_that_was_to_be_sent_again_waits_with_the_rest,
);

/// Two cases with a goal in each, of which the first has been lost, and held back.
struct Scene {
    phone: Phone,
    cases: [String; 2],
    goals: [String; 2],
}

impl Scene {
    async fn of(world: &World) -> Scene {
        let mut phone = Phone::of(&world.ana().await);
        let cases = [opens_case(&mut phone).await, opens_case(&mut phone).await];
        let goals = [0, 1].map(|at| phone.creates("goals", goal(&cases[at], "Keep what was agreed in writing")));
        phone.syncs().await;
        phone.syncs().await;
        hands_over(world, &cases[0], "ben@demo.example").await;
        phone.edits("goals", &goals[0], json!({"measure": "edited without signal"}));
        let page = phone.asks("&pending=1").await.ok();
        assert_eq!(deleted(&page), Vec::<&str>::new());
        phone.applies(&page);
        world.pass_secs(1);
        phone.pushes().await.expect("the edit").ok();
        world.pass_secs(60);
        // The second case goes while the phone is offline again, with an edit in it.
        hands_over(world, &cases[1], "ben@demo.example").await;
        phone.edits("goals", &goals[1], json!({"measure": "edited on the way home"}));
        Scene { phone, cases, goals }
    }

    /// The second loss has its beat: what was edited arrives, and only then the row goes.
    async fn ends_well(mut self, world: &World) {
        world.pass_secs(1);
        self.phone.pushes().await.expect("the edit").ok();
        world.pass_secs(1);
        let page = self.phone.pulls().await;
        assert!(deleted(&page).contains(&&*self.goals[1]), "{page}");
        assert!(!self.phone.has_unsynced_changes() && self.phone.ids("cases").is_empty());
        let kept: Vec<String> = self.phone.everything()["sync_issues"]
            .values()
            .map(|issue| issue["detail"].to_string())
            .filter(|detail| detail.contains("on the way home"))
            .collect();
        assert_eq!(kept.len(), 1, "it is in quarantine");
        // All is told: nothing is held any more.
        self.phone.pulls().await;
        let before = self.phone.cursor;
        self.phone.pulls().await;
        assert_eq!(self.phone.cursor, before);
    }
}

fn deleted(page: &Value) -> Vec<&str> {
    page["changes"]["goals"]["deleted"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

async fn each_loss_waits_for_its_own_beat(world: World) {
    let mut scene = Scene::of(&world).await;
    let page = scene.phone.asks("&pending=1").await.ok();
    assert_eq!(deleted(&page), [&*scene.goals[0]], "the first has had its beat, and the second has not");
    scene.phone.applies(&page);
    assert!(scene.phone.ids("cases").contains(&scene.cases[1]));
    scene.ends_well(&world).await;
}

async fn a_lost_reply_loses_neither_what_it_brought_nor_what_it_held(world: World) {
    let mut scene = Scene::of(&world).await;
    for _ in 0..3 {
        let page = scene.phone.asks("&pending=1").await.ok();
        assert_eq!(deleted(&page), [&*scene.goals[0]]);
        world.pass_secs(1);
    }
    let page = scene.phone.asks("&pending=1").await.ok();
    scene.phone.applies(&page);
    scene.ends_well(&world).await;
}

async fn a_day_is_the_longest_that_a_loss_waits(world: World) {
    let mut scene = Scene::of(&world).await;
    let page = scene.phone.asks("&pending=1").await.ok();
    scene.phone.applies(&page);
    let mut brought = false;
    for _ in 0..5 {
        world.pass_secs(12 * 3600 + 60);
        scene.phone.person.logs_in().await;
        // Its push never gets through.
        let page = scene.phone.asks("&pending=1").await.ok();
        brought |= deleted(&page).contains(&&*scene.goals[1]);
        scene.phone.applies(&page);
    }
    assert!(brought && scene.phone.ids("cases").is_empty());
}

/// Its list came out otherwise than it was sent, so it is sent again; meanwhile the case goes.
async fn a_row_that_was_to_be_sent_again_waits_with_the_rest(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id =
        phone.creates("goals", json!({"case_id": case, "level": "individual", "statement": "Keep the flat we have"}));
    phone.syncs().await;
    phone.syncs().await;
    phone.edits("goals", &id, json!({"due_on": "some day"}));
    phone.pushes().await.expect("the edit").ok();
    world.pass_secs(1);
    phone.edits("goals", &id, json!({"measure": "edited without signal"}));
    hands_over(&world, &case, "ben@demo.example").await;
    let page = phone.asks("&pending=1").await.ok();
    assert_eq!(deleted(&page), Vec::<&str>::new(), "what was not sent yet is not destroyed");
    phone.applies(&page);
    assert!(phone.row("goals", &id).is_some());
    world.pass_secs(1);
    phone.pushes().await.expect("the edit").ok();
    world.pass_secs(1);
    let page = phone.pulls().await;
    assert!(deleted(&page).contains(&&*id), "{page}");
    let kept =
        phone.everything()["sync_issues"].values().any(|issue| issue["detail"].to_string().contains("without signal"));
    assert!(kept, "and it is in quarantine");
}
