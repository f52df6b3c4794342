//! A schema that grew (S14): the table `notes` and the column `goals.why_it_matters` as though they had come with a second
//! version. Which tables there are holds for a whole process, so each test has one of its own.

use entities::sync::{self, PullRequest};
use entities::{Actor, Role};
use serde_json::{Value, json};

use super::rules::{goal, hands_over, opens_case};
use super::rxdb::Collection;
use crate::support::{Document, Person, Phone, Town, World, alone_on_both};

alone_on_both!(
    after entities::registry::later::declare(2, &[("notes", None), ("goals", Some("why_it_matters"))]);
    an_app_of_the_first_version_sees_nothing_newer_and_leaves_it_alone,
    an_updated_app_is_sent_what_is_new_whether_it_says_so_or_not,
    a_lost_reply_loses_nothing_of_what_is_new,
    a_late_request_of_a_newer_app_is_not_taken_for_arrived,
    an_app_that_went_back_and_is_updated_again_is_sent_it_again,
    an_app_that_went_back_counts_as_such_though_the_note_of_it_was_lost,
    an_app_that_went_back_counts_as_such_in_every_process,
    an_app_that_is_updated_before_its_server_is_filled_in_when_the_server_follows,
    the_native_face_fills_in_too,
    what_an_older_server_has_no_table_for_is_not_taken_for_sent,
    the_rxdb_face_fills_in_too,
);

/// Ana's tablet, of the second version, with a goal that says why it matters and a note; and her phone, of the first,
/// with what there is of that.
struct Scene {
    tablet: Phone,
    phone: Phone,
    case: String,
    goal: String,
    note: String,
}

impl Scene {
    async fn of(tablet: Person, phone: Person) -> Scene {
        let mut tablet = Phone::of(&tablet);
        tablet.schema_version = 2;
        let case = opens_case(&mut tablet).await;
        let mut reasoned = goal(&case, "Plant beans on the balcony");
        reasoned["why_it_matters"] = json!("For Mira");
        let goal = tablet.creates("goals", reasoned);
        let note = tablet.creates("notes", note(&case, "Three pots"));
        tablet.syncs().await;
        tablet.syncs().await;
        let mut phone = Phone::of(&phone);
        phone.pulls().await;
        phone.pulls().await;
        Scene { tablet, phone, case, goal, note }
    }

    async fn at(world: &World) -> Scene {
        Scene::of(world.ana().await, world.ana().await).await
    }

    /// Both devices hold the same.
    async fn are_equal(&mut self) {
        self.tablet.pulls().await;
        self.phone.pulls().await;
        assert_eq!(self.phone.everything(), self.tablet.everything());
        assert_eq!(self.phone.column("goals", &self.goal, "why_it_matters"), json!("For Mira"));
        assert_eq!(self.phone.column("notes", &self.note, "body"), json!("Three pots"));
    }
}

fn note(case: &str, body: &str) -> Value {
    json!({"case_id": case, "kind": "progress", "body": body})
}

/// Ids that a reply brings of a table; nothing where the table is not in it.
fn brings<'a>(page: &'a Value, table: &str) -> Vec<&'a str> {
    page["changes"][table]["updated"].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).collect()
}

fn is_of_the_first_version(page: &Value) {
    let changes = page["changes"].as_object().expect("changes");
    assert!(changes.contains_key("goals") && !changes.contains_key("notes"), "{page}");
    assert!(!page.to_string().contains("why_it_matters"), "{page}");
}

async fn an_app_of_the_first_version_sees_nothing_newer_and_leaves_it_alone(world: World) {
    let Scene { mut tablet, mut phone, case, goal, note } = Scene::at(&world).await;
    let ana = phone.person.clone();
    assert_eq!(ana.session()["sync"], json!({"min_schema": 1, "max_schema": 2}));
    for (version, newer) in [(1, false), (2, true)] {
        let told = ana.get(&format!("/sync/schema?version={version}")).await.ok();
        assert_eq!(told["version"], json!(version));
        let text = told.to_string();
        assert_eq!((text.contains("\"notes\""), text.contains("why_it_matters")), (newer, newer), "{version}");
    }
    is_of_the_first_version(&Phone::of(&ana).pulls().await);

    phone.edits("goals", &goal, json!({"statement": "Plant beans and peas"}));
    is_of_the_first_version(&phone.pulls().await);
    phone.pushes().await.expect("the edit").ok();
    let goals = Collection::of(&ana, "goals");
    let held = json!(phone.row("goals", &goal));
    let mut wanted = held.clone();
    wanted["measure"] = json!("Beans eaten");
    assert_eq!(goals.pushes(Some(&held), &wanted).await, Vec::<Value>::new());
    wanted["measure"] = json!("Peas eaten");
    let stored = goals.pushes(Some(&held), &wanted).await;
    assert_eq!(stored[0]["measure"], json!("Beans eaten"));
    assert!(stored[0].get("why_it_matters").is_none(), "{stored:?}");
    let set = json!({"unit": {"from": null, "to": "plates"}});
    let mutation = json!({"id": "mutation-01", "op": "update", "table": "goals", "row_id": goal, "set": set});
    let answer = ana.post("/sync/push?schema_version=1", json!({"mutations": [mutation]})).await.ok();
    assert_eq!(answer["results"][0]["row"]["unit"], json!("plates"));
    assert!(!answer.to_string().contains("why_it_matters"), "{answer}");

    tablet.pulls().await;
    let row = tablet.row("goals", &goal).expect("held");
    let now = ["statement", "measure", "unit", "why_it_matters"].map(|name| row[name].clone());
    assert_eq!(now, ["Plant beans and peas", "Beans eaten", "plates", "For Mira"].map(|text| json!(text)));

    // Changes of what it does not know move its cursor and nothing else.
    phone.pulls().await;
    tablet.edits("notes", &note, json!({"body": "Four pots"}));
    tablet.syncs().await;
    let before = phone.cursor;
    let page = phone.pulls().await;
    is_of_the_first_version(&page);
    assert!(page["changes"].as_object().expect("changes").values().all(|rows| rows["updated"] == json!([])), "{page}");
    assert!(phone.cursor > before);
    hands_over(&world, &case, "ben@demo.example").await;
    let page = phone.pulls().await;
    is_of_the_first_version(&page);
    assert_eq!(page["changes"]["goals"]["deleted"], json!([goal]));
}

async fn an_updated_app_is_sent_what_is_new_whether_it_says_so_or_not(world: World) {
    let mut scene = Scene::at(&world).await;
    let said = json!({"from": 1, "tables": ["notes"], "columns": [{"table": "goals", "columns": ["why_it_matters"]}]});
    for migration in [Value::Null, said] {
        scene.phone = Phone::of(&world.ana().await);
        scene.phone.pulls().await;
        scene.phone.pulls().await;
        scene.phone.edits("goals", &scene.goal, json!({"unit": format!("plates, {migration}")}));
        let before = scene.phone.cursor;
        scene.phone.schema_version = 2;
        scene.phone.migration = migration;
        let page = scene.phone.pulls().await;
        scene.phone.migration = Value::Null;
        assert_eq!((brings(&page, "notes"), brings(&page, "goals")), (vec![&*scene.note], vec![&*scene.goal]));
        assert_eq!(brings(&page, "cases"), Vec::<&str>::new(), "what did not grow is not sent again");
        assert!(scene.phone.cursor > before, "on a number of its own");
        scene.phone.pushes().await.expect("the edit from before").ok();
        scene.phone.pulls().await;
        let page = scene.phone.pulls().await;
        assert_eq!((brings(&page, "notes"), brings(&page, "goals")), (vec![], vec![]), "once");
        scene.are_equal().await;
    }
}

async fn a_lost_reply_loses_nothing_of_what_is_new(world: World) {
    let mut scene = Scene::at(&world).await;
    scene.phone.schema_version = 2;
    let whole = |page: &Value, scene: &Scene| {
        assert!(brings(page, "notes").contains(&&*scene.note), "{page}");
        assert_eq!(brings(page, "goals"), [&*scene.goal]);
    };
    for limit in ["", "&limit=1", "", "&limit=1"] {
        whole(&scene.phone.asks(limit).await.ok(), &scene);
        // Others write on, so that the next number is greater than that of the reply that was lost.
        world.pass_secs(1);
        scene.tablet.creates("notes", note(&scene.case, "And another"));
        scene.tablet.syncs().await;
    }
    // Whatever the limit, it comes in one reply, which alone says that it has arrived.
    let page = scene.phone.asks("&limit=1").await.ok();
    whole(&page, &scene);
    assert_eq!(page["has_more"], json!(false));
    scene.phone.applies(&page);
    // Nor is a reply taken for one that brought it because it came to the older app.
    scene.are_equal().await;
    let page = scene.phone.pulls().await;
    assert_eq!((brings(&page, "notes"), brings(&page, "goals")), (vec![], vec![]), "once");
}

async fn a_late_request_of_a_newer_app_is_not_taken_for_arrived(world: World) {
    let mut scene = Scene::at(&world).await;
    let held_up = scene.phone.cursor.expect("it has pulled");
    world.pass_secs(1);
    scene.tablet.creates("goals", goal(&scene.case, "Sow sunflowers"));
    scene.tablet.syncs().await;
    // The app was updated, asked, and went back before its request came out of a tunnel; nobody heard the answer.
    scene.phone.pulls().await;
    assert!(scene.phone.cursor > Some(held_up));
    scene.phone.person.get(&format!("/sync?last_pulled_at={held_up}&schema_version=2&migration=null")).await.ok();
    scene.phone.schema_version = 2;
    scene.are_equal().await;
}

async fn an_app_that_went_back_and_is_updated_again_is_sent_it_again(world: World) {
    let mut scene = Scene::at(&world).await;
    for _ in 0..2 {
        scene.phone.schema_version = 2;
        let page = scene.phone.pulls().await;
        assert_eq!((brings(&page, "notes"), brings(&page, "goals")), (vec![&*scene.note], vec![&*scene.goal]));
        scene.are_equal().await;
        scene.phone.schema_version = 1;
        is_of_the_first_version(&scene.phone.pulls().await);
        is_of_the_first_version(&scene.phone.pulls().await);
    }
    // Installed anew in the older version, on the same device, and updated.
    scene.phone.schema_version = 2;
    scene.are_equal().await;
    scene.phone = Phone::of(&scene.phone.person);
    is_of_the_first_version(&scene.phone.pulls().await);
    scene.phone.schema_version = 2;
    scene.are_equal().await;
}

async fn an_app_that_went_back_counts_as_such_though_the_note_of_it_was_lost(world: World) {
    let mut scene = Scene::at(&world).await;
    scene.phone.schema_version = 2;
    scene.are_equal().await;
    scene.phone.pulls().await;
    let person = &scene.phone.person;
    let actor = Actor {
        agency_id: world.riverbend.clone(),
        user_id: Some(person.user_id()),
        role: Role::Caseworker,
        device_id: Some(person.device_id.clone()),
    };
    let cursor = scene.phone.cursor.expect("it has pulled");
    let asks = async |schema_version| {
        let request = PullRequest { cursor, schema_version, ..PullRequest::default() };
        let pull = sync::pull(&world.store, &actor, &request).await.expect("a page");
        // Nobody keeps its note.
        pull.live.iter().any(|(table, _)| table.name == "notes")
    };
    assert!(!asks(2).await);
    assert!(!asks(1).await);
    assert!(asks(2).await);
}

async fn an_app_that_went_back_counts_as_such_in_every_process(mut world: World) {
    let mut scene = Scene::at(&world).await;
    let here = scene.phone.person.clone();
    let there = here.through(&world.another_server().await);
    for _ in 0..2 {
        (scene.phone.person, scene.phone.schema_version) = (there.clone(), 2);
        let page = scene.phone.pulls().await;
        assert_eq!((brings(&page, "notes"), brings(&page, "goals")), (vec![&*scene.note], vec![&*scene.goal]));
        scene.phone.pulls().await;
        // The other one remembers a quiet device of the older version.
        (scene.phone.person, scene.phone.schema_version) = (here.clone(), 1);
        is_of_the_first_version(&scene.phone.pulls().await);
    }
}

/// The binary knows one version: what is of the second here is of the first there.
async fn an_app_that_is_updated_before_its_server_is_filled_in_when_the_server_follows(town: Town) {
    let (here, _serving) = town.serves_here();
    let old = town.server().await;
    let ana = old.person("ana@demo.example").await;
    assert_eq!(ana.session()["sync"]["max_schema"], json!(1));
    let phone = old.person("ana@demo.example").await;
    let mut scene = Scene::of(ana.clone(), phone).await;
    scene.phone.schema_version = 2;
    scene.phone.pulls().await;
    scene.phone.pulls().await;
    let mut goals = Collection { schema_version: 2, ..Collection::of(&ana, "goals") };
    goals.pulls(100).await;

    scene.phone.person = scene.phone.person.through(&here);
    let page = scene.phone.pulls().await;
    assert_eq!((brings(&page, "notes"), brings(&page, "goals")), (vec![&*scene.note], vec![&*scene.goal]));
    let ana = ana.through(&here);
    let mut goals = Collection { person: &ana, ..goals };
    let page = goals.page(100).await;
    assert_eq!(page["documents"][0]["why_it_matters"], json!("For Mira"), "{page}");
}

async fn the_native_face_fills_in_too(world: World) {
    let scene = Scene::at(&world).await;
    let ana = world.ana().await;
    let asks = async |cursor: &Value, version: u32| {
        let cursor = cursor.as_str().unwrap_or_default();
        ana.get(&format!("/sync/pull?cursor={cursor}&schema_version={version}")).await.ok()
    };
    let named = |page: &Value| -> Vec<String> {
        let changes = page["changes"].as_array().expect("changes").iter();
        changes.filter_map(|change| change["id"].as_str().map(str::to_owned)).collect()
    };
    let first = asks(&Value::Null, 1).await;
    assert!(named(&first).contains(&scene.goal) && !named(&first).contains(&scene.note));
    assert!(!first.to_string().contains("why_it_matters"));
    let next = asks(&first["next_cursor"], 1).await;
    assert_eq!(named(&next), Vec::<String>::new());
    for _ in 0..2 {
        let grown = asks(&next["next_cursor"], 2).await;
        assert_eq!(named(&grown), [scene.goal.clone(), scene.note.clone()], "a lost reply loses nothing");
        assert!(grown.to_string().contains("For Mira"));
    }
    let grown = asks(&next["next_cursor"], 2).await;
    assert_eq!(named(&asks(&grown["next_cursor"], 2).await), Vec::<String>::new(), "once");
}

/// Work in a table that the server does not know yet stays on the phone as not sent.
async fn what_an_older_server_has_no_table_for_is_not_taken_for_sent(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let visit = json!({"id": "visit-of-version-9", "case_id": case, "words": "of a later version"});
    let body = json!({"home_visits": {"created": [visit], "updated": [], "deleted": ["visit-thrown-away"]},
        "__proto__": {"created": [{"id": "odd-row-number-1"}], "updated": [], "deleted": []},
        "goals": {"created": [{"id": "goal-beside-it", "case_id": case, "statement": "Keep the flat we have"}], "updated": [], "deleted": []}});
    let cursor = phone.cursor.expect("a cursor");
    let newer = phone.person.post(&format!("/sync?last_pulled_at={cursor}&schema_version=9"), body.clone()).await.ok();
    let left = json!({"home_visits": ["visit-of-version-9", "visit-thrown-away"]});
    assert_eq!(newer, json!({"experimentalRejectedIds": left}));
    Document::of(&world).await.describes("push", 200, &newer);
    // Of an app that is no newer, such a table is its own affair.
    let same = phone.person.post(&format!("/sync?last_pulled_at={cursor}"), body).await.ok();
    assert_eq!(same, json!({}));
    phone.pulls().await;
    assert!(phone.row("goals", "goal-beside-it").is_some());
}

async fn the_rxdb_face_fills_in_too(world: World) {
    let scene = Scene::at(&world).await;
    let ana = world.ana().await;
    let mut goals = Collection::of(&ana, "goals");
    let first = goals.pulls(100).await;
    assert_eq!(first.len(), 1);
    assert!(first[0].get("why_it_matters").is_none(), "{first:?}");
    for _ in 0..2 {
        // Asked twice: the first answer is lost.
        let before = goals.cursor.clone();
        for _ in 0..2 {
            goals.schema_version = 2;
            goals.cursor.clone_from(&before);
            let page = goals.page(1).await;
            assert_eq!(page["documents"][0]["id"], json!(scene.goal));
            assert_eq!(page["documents"][0]["why_it_matters"], json!("For Mira"));
        }
        assert_eq!(goals.page(1).await["documents"], json!([]), "once");
        // It goes back, and hears of a change there.
        goals.schema_version = 1;
        let mut scene = Scene::of(scene.tablet.person.clone(), scene.phone.person.clone()).await;
        let new = goals.pulls(100).await;
        assert_eq!(new.len(), 1);
        assert!(new[0].get("why_it_matters").is_none(), "{new:?}");
        scene.tablet.deletes("goals", &scene.goal);
        scene.tablet.syncs().await;
        goals.pulls(100).await;
    }
    // A collection for a table that is new begins from nothing.
    let notes = Collection { schema_version: 2, ..Collection::of(&ana, "notes") }.pulls(100).await;
    assert!(notes.iter().any(|note| note["id"] == json!(scene.note)));
}
