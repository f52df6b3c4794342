//! The RxDB face: checkpoints, full pages, conflicts that end. The real library is tried in tests/clients.

use entities::sql;
use serde_json::{Value, json};

use super::restored::{restores, takes_a_backup};
use super::rules::{goal, hands_over, opens_case};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    pages_are_full_until_the_last_and_bring_every_row_once,
    a_page_may_end_within_a_commit_and_goes_on_there,
    a_checkpoint_that_cannot_be_gone_on_from_brings_the_whole_table,
    a_row_that_is_lost_comes_as_its_id_and_nothing_else,
    a_row_that_was_made_before_the_first_full_page_can_be_lost,
    a_replayed_push_is_known_by_its_content,
    what_a_client_passed_over_in_a_pull_comes_again_after_its_push,
    different_fields_are_both_kept_and_the_same_field_keeps_the_stored_value,
    what_the_server_stamps_is_never_in_conflict,
    an_old_value_of_ones_own_does_not_come_back,
    nobody_is_told_of_the_same_conflict_twice,
    a_row_of_a_lost_case_goes_into_quarantine_and_off_the_device,
    a_deletion_is_taken_refused_or_ignored_and_never_repeated,
    an_illegal_move_is_ignored_told_and_sent_again,
    a_child_that_comes_before_its_case_waits_for_it,
    a_row_that_cannot_be_stored_is_told_and_answered_with_success,
    a_table_that_is_not_there_is_refused,
    whoever_sees_a_table_no_more_drops_it_and_hands_its_work_over,
    after_a_restore_the_table_comes_again_and_what_it_lacks_is_offered,
    what_a_document_leaves_out_is_emptied,
);

/// One collection of one device, as RxDB's replication keeps it.
pub(super) struct Collection<'a> {
    pub(super) person: &'a Person,
    pub(super) table: &'static str,
    pub(super) cursor: String,
    pub(super) schema_version: u32,
}

impl<'a> Collection<'a> {
    pub(super) fn of(person: &'a Person, table: &'static str) -> Collection<'a> {
        Collection { person, table, cursor: String::new(), schema_version: 1 }
    }

    /// One page; the checkpoint is kept, though not that of an empty page.
    pub(super) async fn page(&mut self, limit: usize) -> Value {
        let Collection { table, cursor, schema_version, .. } = self;
        let path = format!("/sync/rxdb/{table}/pull?cursor={cursor}&limit={limit}&schema_version={schema_version}");
        let page = self.person.get(&path).await.ok();
        assert_eq!(page["checkpoint"].as_object().expect("an object").keys().collect::<Vec<_>>(), ["cursor"]);
        if page["documents"] != json!([]) {
            self.cursor = page["checkpoint"]["cursor"].as_str().expect("a cursor").to_owned();
        }
        page
    }

    /// As the library does it: until a page is short.
    pub(super) async fn pulls(&mut self, limit: usize) -> Vec<Value> {
        let mut all = Vec::new();
        for _ in 0..500 {
            let page = self.page(limit).await;
            let documents = page["documents"].as_array().expect("documents").clone();
            let short = documents.len() < limit;
            all.extend(documents);
            if short {
                assert_eq!(page["has_more"], json!(false));
                return all;
            }
        }
        panic!("the pages never end");
    }

    pub(super) async fn pushes(&self, assumed: Option<&Value>, wanted: &Value) -> Vec<Value> {
        let mut row = json!({"newDocumentState": wanted});
        if let Some(assumed) = assumed {
            row["assumedMasterState"] = assumed.clone();
        }
        let path = format!("/sync/rxdb/{}/push?schema_version={}", self.table, self.schema_version);
        let answer = self.person.post(&path, json!([row])).await;
        answer.ok().as_array().expect("a list").clone()
    }
}

fn ids(documents: &[Value]) -> Vec<&str> {
    documents.iter().filter_map(|document| document["id"].as_str()).collect()
}

fn with(document: &Value, columns: Value) -> Value {
    let mut document = document.clone();
    for (name, value) in columns.as_object().expect("columns") {
        document[name] = value.clone();
    }
    document
}

pub(super) fn find<'a>(documents: &'a [Value], id: &str) -> &'a Value {
    documents.iter().find(|document| document["id"] == id).unwrap_or_else(|| panic!("no {id} in {documents:?}"))
}

async fn issues(person: &Person) -> Vec<Value> {
    Collection::of(person, "sync_issues").pulls(100).await
}

/// Ana's phone with a case and a goal, and the goal as another device of hers holds it.
async fn a_goal(world: &World) -> (Person, Phone, String, Value) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk to the market with Mira"));
    phone.syncs().await;
    world.pass_secs(1);
    let other = ana.on_another_device();
    other.logs_in().await;
    let held = Collection::of(&other, "goals").pulls(100).await;
    (other, phone, case, find(&held, &id).clone())
}

async fn pages_are_full_until_the_last_and_bring_every_row_once(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    for at in 0..3 {
        let case = opens_case(&mut phone).await;
        for number in 0..4 {
            phone.creates("goals", goal(&case, &format!("Step {number} of stage {at}")));
            phone.creates("notes", json!({"case_id": case, "body": "in between", "kind": "progress"}));
        }
        phone.syncs().await;
        world.pass_secs(1);
    }
    let mut goals = Collection::of(&ana, "goals");
    for expected in [5, 5, 2, 0] {
        let page = goals.page(5).await;
        let documents = page["documents"].as_array().expect("documents");
        assert_eq!(documents.len(), expected);
        assert_eq!(page["has_more"], json!(expected == 5), "{expected}");
        assert!(documents.iter().all(|document| document["_deleted"] == json!(false)));
    }
    // A first sync that has come to rows from before the last purge goes on as it began.
    let raise = "update sync_clock set purged_below = seq where agency_id = $1";
    sql::exec(world.store.writer(), raise, vec![world.riverbend.as_str().into()]).await.expect("purged");
    for limit in [1, 3, 12, 13] {
        let all = Collection::of(&ana, "goals").pulls(limit).await;
        let mut seen = ids(&all);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((all.len(), seen.len()), (12, 12), "pages of {limit}");
    }
}

async fn a_page_may_end_within_a_commit_and_goes_on_there(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let made: Vec<String> =
        (0..7).map(|at| phone.creates("goals", goal(&case, &format!("Step number {at}")))).collect();
    phone.syncs().await;
    let mut goals = Collection::of(&ana, "goals");
    let first = goals.page(3).await["documents"].as_array().expect("documents").clone();
    // A row that was sent changes and moves to the end; one that was not sent changes and comes once.
    world.pass_secs(1);
    let sent = first[0]["id"].as_str().expect("an id").to_owned();
    let unsent = made.iter().find(|id| !ids(&first).contains(&id.as_str())).expect("four of them").clone();
    phone.pulls().await;
    phone.edits("goals", &sent, json!({"measure": "steps"}));
    phone.edits("goals", &unsent, json!({"measure": "miles"}));
    phone.syncs().await;
    let rest = goals.pulls(2).await;
    assert_eq!(rest.len(), 5, "four that were not sent, and one again: {rest:?}");
    assert_eq!(find(&rest, &sent)["measure"], json!("steps"));
    assert_eq!(find(&rest, &unsent)["measure"], json!("miles"));
    assert_eq!(goals.pulls(2).await, Vec::<Value>::new());
}

async fn a_checkpoint_that_cannot_be_gone_on_from_brings_the_whole_table(world: World) {
    let (ana, mut phone, case, document) = a_goal(&world).await;
    let ben = world.ben().await;
    let mut goals = Collection::of(&ana, "goals");
    goals.pulls(100).await;
    let good = goals.cursor.clone();
    let mut notes = Collection::of(&ana, "notes");
    phone.creates("notes", json!({"case_id": case, "body": "for a checkpoint", "kind": "progress"}));
    phone.syncs().await;
    notes.pulls(100).await;
    let mut edited = good.clone();
    edited.replace_range(50..51, if &edited[50..51] == "A" { "B" } else { "A" });
    let native = ana.get("/sync/pull").await.ok()["next_cursor"].as_str().expect("a cursor").to_owned();
    for foreign in [edited.as_str(), &notes.cursor, &native, "12345", "%7B%7D", "__proto__"] {
        let mut goals = Collection { cursor: foreign.to_owned(), ..Collection::of(&ana, "goals") };
        let page = goals.page(1).await;
        assert_eq!(page["replace"], json!(true), "{foreign}");
        assert_eq!(ids(page["documents"].as_array().expect("documents")), [document["id"].as_str().expect("an id")]);
        assert_eq!(goals.page(1).await["documents"], json!([]), "and goes on from there");
    }
    // Ana's checkpoint in Ben's hands: what Ben may see and nothing else.
    let page = Collection { cursor: good.clone(), ..Collection::of(&ben, "goals") }.page(100).await;
    assert_eq!((&page["replace"], &page["documents"]), (&json!(true), &json!([])));
    // Too old: what was deleted meanwhile cannot be told any more.
    let raise = "update sync_clock set purged_below = seq where agency_id = $1";
    world.pass_secs(60);
    phone.edits("goals", document["id"].as_str().expect("an id"), json!({"measure": "after the purge"}));
    phone.syncs().await;
    sql::exec(world.store.writer(), raise, vec![world.riverbend.as_str().into()]).await.expect("purged");
    let page = Collection { cursor: good.clone(), ..Collection::of(&ana, "goals") }.page(1).await;
    assert_eq!((&page["replace"], page["documents"].as_array().map(Vec::len)), (&json!(true), Some(1)));
    // A restored backup: everything again, and nothing that the device holds is taken for lost.
    let epoch = "update sync_clock set epoch = epoch + 1, purged_below = 0 where agency_id = $1";
    sql::exec(world.store.writer(), epoch, vec![world.riverbend.as_str().into()]).await.expect("restored");
    let page = Collection { cursor: good, ..Collection::of(&ana, "goals") }.page(1).await;
    assert_eq!((&page["replace"], page["documents"].as_array().map(Vec::len)), (&json!(false), Some(1)));
}

async fn a_row_that_is_lost_comes_as_its_id_and_nothing_else(world: World) {
    let (ana, _, case, document) = a_goal(&world).await;
    let (mut goals, mut cases) = (Collection::of(&ana, "goals"), Collection::of(&ana, "cases"));
    goals.pulls(100).await;
    cases.pulls(100).await;
    hands_over(&world, &case, "ben@demo.example").await;
    assert_eq!(goals.pulls(100).await, [json!({"id": document["id"], "_deleted": true})]);
    assert_eq!(cases.pulls(100).await, [json!({"id": case, "_deleted": true})]);
    assert_eq!(Collection::of(&ana, "goals").pulls(100).await, Vec::<Value>::new(), "a new phone never hears of it");
    let ben = world.ben().await;
    let gained = Collection::of(&ben, "goals").pulls(100).await;
    assert_eq!(find(&gained, document["id"].as_str().expect("an id"))["statement"], document["statement"]);
}

async fn a_row_that_was_made_before_the_first_full_page_can_be_lost(world: World) {
    let ana = world.ana().await;
    let case = opens_case(&mut Phone::of(&ana)).await;
    let (phone, laptop) = (ana.on_another_device(), ana.on_another_device());
    phone.logs_in().await;
    laptop.logs_in().await;
    let mut goals = Collection::of(&phone, "goals");
    assert_eq!(goals.pulls(100).await, Vec::<Value>::new());
    assert_eq!(goals.cursor, "", "of an empty page no checkpoint is kept");
    let new = with(&goal(&case, "Made before the first page"), json!({"id": "goal-00000001", "_deleted": false}));
    assert_eq!(goals.pushes(None, &new).await, Vec::<Value>::new());
    let bens = opens_case(&mut Phone::of(&world.ben().await)).await;
    Collection::of(&laptop, "notes")
        .pushes(
            None,
            &json!({"id": "note-00000001", "case_id": case, "kind": "progress", "body": "x", "_deleted": false}),
        )
        .await;
    hands_over(&world, &case, "ben@demo.example").await;
    assert_eq!(goals.pulls(100).await, [json!({"id": "goal-00000001", "_deleted": true})]);
    assert_eq!(goals.pulls(100).await, Vec::<Value>::new(), "and once");
    // A device that never pushed holds nothing, and nobody hears of what others made.
    let third = ana.on_another_device();
    third.logs_in().await;
    assert_eq!(Collection::of(&third, "goals").pulls(100).await, Vec::<Value>::new());
    assert!(ids(&Collection::of(&laptop, "cases").pulls(100).await).iter().all(|id| *id != bens));
}

async fn what_a_client_passed_over_in_a_pull_comes_again_after_its_push(world: World) {
    let (ana, mut phone, _, document) = a_goal(&world).await;
    let id = document["id"].as_str().expect("an id");
    let mut goals = Collection::of(&ana, "goals");
    goals.pulls(100).await;
    let edited = with(&document, json!({"measure": "steps"}));
    goals.pushes(Some(&document), &edited).await;
    phone.pulls().await;
    phone.edits("goals", id, json!({"unit": "a day"}));
    phone.syncs().await;
    // The answer was lost, so the client holds an edit that it takes for unsent, and passes over what it pulls.
    assert_eq!(goals.pulls(100).await.len(), 1);
    assert_eq!(goals.pushes(Some(&document), &edited).await, Vec::<Value>::new());
    let again = goals.pulls(100).await;
    assert_eq!(
        (&find(&again, id)["measure"], &find(&again, id)["unit"]),
        (&json!("steps"), &json!("a day")),
        "the row as it stands"
    );
    let stored = find(&again, id).clone();
    assert_eq!(goals.pushes(Some(&document), &stored).await, Vec::<Value>::new());
    assert_eq!(goals.pulls(100).await, Vec::<Value>::new(), "what is held whole is not sent again");
}

async fn a_replayed_push_is_known_by_its_content(world: World) {
    let (ana, mut phone, case, document) = a_goal(&world).await;
    let goals = Collection::of(&ana, "goals");
    let new = with(&goal(&case, "Made on this device"), json!({"id": "goal-00000001", "_deleted": false}));
    let edited = with(&document, json!({"measure": "steps"}));
    for _ in 0..3 {
        assert_eq!(goals.pushes(None, &new).await, Vec::<Value>::new());
        assert_eq!(goals.pushes(Some(&document), &edited).await, Vec::<Value>::new());
    }
    phone.pulls().await;
    let before = phone.everything();
    assert_eq!(phone.column("goals", "goal-00000001", "statement"), json!("Made on this device"));
    goals.pushes(None, &new).await;
    goals.pushes(Some(&document), &edited).await;
    let news = phone.pulls().await;
    assert_eq!(news["changes"]["goals"]["updated"], json!([]), "no number is given for what is stored already");
    assert_eq!(phone.everything(), before);
    assert_eq!(issues(&ana).await, Vec::<Value>::new());
}

async fn different_fields_are_both_kept_and_the_same_field_keeps_the_stored_value(world: World) {
    let (ana, mut phone, _, document) = a_goal(&world).await;
    let id = document["id"].as_str().expect("an id");
    phone.edits("goals", id, json!({"measure": "steps", "unit": "a day"}));
    phone.syncs().await;
    let goals = Collection::of(&ana, "goals");
    assert_eq!(
        goals.pushes(Some(&document), &with(&document, json!({"cadence": "weekly"}))).await,
        Vec::<Value>::new()
    );
    let both = with(&document, json!({"measure": "planted-loser", "cadence": "weekly", "why_it_matters": "Fresh air"}));
    let masters = goals.pushes(Some(&document), &both).await;
    assert_eq!(masters.len(), 1);
    for (column, value) in
        [("measure", "steps"), ("unit", "a day"), ("cadence", "weekly"), ("why_it_matters", "Fresh air")]
    {
        assert_eq!(masters[0][column], json!(value), "{column}");
    }
    let told = issues(&ana).await;
    assert_eq!(
        (told.len(), &told[0]["kind"], &told[0]["detail"]),
        (1, &json!("conflict"), &json!({"measure": "planted-loser"}))
    );
    let history = ana.get(&format!("/goals/{id}/history")).await.ok();
    assert!(history["items"].as_array().expect("items").iter().any(|kept| kept["op"] == "lost"), "{history}");
    // One who has seen the stored value and wants the other all the same gets it.
    assert_eq!(
        goals.pushes(Some(&masters[0]), &with(&masters[0], json!({"measure": "planted-loser"}))).await,
        Vec::<Value>::new()
    );
    phone.pulls().await;
    assert_eq!(phone.column("goals", id, "measure"), json!("planted-loser"));
}

async fn what_the_server_stamps_is_never_in_conflict(world: World) {
    let (ana, _, _, document) = a_goal(&world).await;
    let goals = Collection::of(&ana, "goals");
    // The client goes on from what it sent itself, without pulling what the server made of it.
    let (mut assumed, mut wanted) = (document.clone(), document);
    for at in 0..5 {
        world.pass_secs(60);
        wanted = with(
            &wanted,
            json!({"measure": format!("step {at}"), "updated_at": "1999-01-01T00:00:00Z", "updated_by": "nobody"}),
        );
        assert_eq!(goals.pushes(Some(&assumed), &wanted).await, Vec::<Value>::new());
        assumed = wanted.clone();
    }
    let stored = Collection::of(&ana, "goals").pulls(100).await;
    assert_eq!((&stored[0]["measure"], &stored[0]["updated_by"]), (&json!("step 4"), &json!(ana.user_id())));
    assert_eq!(issues(&ana).await, Vec::<Value>::new());
}

async fn an_old_value_of_ones_own_does_not_come_back(world: World) {
    let (ana, mut phone, case, document) = a_goal(&world).await;
    let id = document["id"].as_str().expect("an id");
    let goals = Collection::of(&ana, "goals");
    let new = with(&goal(&case, "Made here"), json!({"id": "goal-00000001", "measure": "one", "_deleted": false}));
    goals.pushes(None, &new).await;
    goals.pushes(Some(&document), &with(&document, json!({"measure": "mine"}))).await;
    world.pass_secs(1);
    phone.pulls().await;
    phone.edits("goals", id, json!({"measure": "theirs"}));
    phone.edits("goals", "goal-00000001", json!({"measure": "theirs"}));
    phone.syncs().await;
    // The answers to both pushes were lost.
    for masters in [
        goals.pushes(Some(&document), &with(&document, json!({"measure": "mine"}))).await,
        goals.pushes(None, &new).await,
    ] {
        assert_eq!((masters.len(), &masters[0]["measure"]), (1, &json!("theirs")));
    }
    assert_eq!(issues(&ana).await, Vec::<Value>::new(), "nothing was lost: both values were stored in their time");
}

async fn nobody_is_told_of_the_same_conflict_twice(world: World) {
    let (ana, mut phone, _, document) = a_goal(&world).await;
    let id = document["id"].as_str().expect("an id");
    let goals = Collection::of(&ana, "goals");
    phone.edits("goals", id, json!({"lifecycle": "proposed"}));
    phone.syncs().await;
    // Back to draft is no legal move, whatever the client insists on.
    let mut assumed = document.clone();
    let mut rounds = 0;
    loop {
        let masters = goals
            .pushes(Some(&assumed), &with(&assumed, json!({"lifecycle": "completed", "case_id": "case-of-nobody"})))
            .await;
        match masters.first() {
            Some(master) => assumed = master.clone(),
            None => break,
        }
        rounds += 1;
        assert!(rounds < 3, "the client spins");
    }
    let kinds: Vec<Value> = issues(&ana).await.iter().map(|issue| issue["kind"].clone()).collect();
    assert!(kinds.contains(&json!("illegal_move")) || kinds.contains(&json!("ignored")), "{kinds:?}");
    let again = Collection::of(&ana, "goals").pulls(100).await;
    assert_eq!(find(&again, id)["lifecycle"], json!("proposed"));
}

async fn a_row_of_a_lost_case_goes_into_quarantine_and_off_the_device(world: World) {
    let (ana, _, case, document) = a_goal(&world).await;
    let mut goals = Collection::of(&ana, "goals");
    goals.pulls(100).await;
    hands_over(&world, &case, "ben@demo.example").await;
    let edited = with(&document, json!({"why_it_matters": "planted-word-kitchen"}));
    let gone = json!({"id": document["id"], "_deleted": true});
    assert_eq!(goals.pushes(Some(&document), &edited).await, std::slice::from_ref(&gone));
    assert_eq!(goals.pushes(Some(&document), &edited).await, std::slice::from_ref(&gone), "a replay is answered alike");
    // A handler that insists, and one that gives in.
    assert_eq!(goals.pushes(Some(&gone), &edited).await, Vec::<Value>::new());
    assert_eq!(goals.pushes(Some(&document), &gone).await, Vec::<Value>::new());
    let new = with(&goal(&case, "Made after the case was gone"), json!({"id": "goal-00000001", "_deleted": false}));
    assert_eq!(goals.pushes(None, &new).await, [json!({"id": "goal-00000001", "_deleted": true})]);
    let mut left = goals.pulls(100).await;
    left.sort_by_key(|document| document["id"].to_string());
    left.dedup();
    assert!(
        left.iter()
            .all(|document| document["_deleted"] == json!(true)
                && document.as_object().map(serde_json::Map::len) == Some(2)),
        "{left:?}"
    );
    let ben = world.ben().await;
    let told = issues(&ben).await;
    let issue = told.iter().find(|issue| issue["about_id"] == document["id"]).expect("Ben is told");
    assert!(!json!(told).to_string().contains("kitchen"));
    let work = ben.get(&format!("/sync_issues/{}/work", issue["id"].as_str().expect("an id"))).await.ok();
    assert_eq!(work["sent"]["why_it_matters"], json!("planted-word-kitchen"));
    ben.post(
        &format!("/sync_issues/{}/accept", issue["id"].as_str().expect("an id")),
        json!({"reason": "Ana was there"}),
    )
    .await
    .ok();
    let stored = Collection::of(&ben, "goals").pulls(100).await;
    let stored = find(&stored, document["id"].as_str().expect("an id"));
    assert_eq!(
        (&stored["why_it_matters"], &stored["statement"]),
        (&json!("planted-word-kitchen"), &document["statement"])
    );
}

async fn a_deletion_is_taken_refused_or_ignored_and_never_repeated(world: World) {
    let (ana, mut phone, case, document) = a_goal(&world).await;
    let id = document["id"].as_str().expect("an id");
    let mut goals = Collection::of(&ana, "goals");
    goals.pulls(100).await;
    // Changed elsewhere since.
    phone.edits("goals", id, json!({"measure": "steps"}));
    phone.syncs().await;
    let deleted = with(&document, json!({"_deleted": true}));
    let masters = goals.pushes(Some(&document), &deleted).await;
    assert_eq!((masters.len(), &masters[0]["measure"]), (1, &json!("steps")));
    // A draft may be deleted by whoever knows how it stands.
    assert_eq!(
        goals.pushes(Some(&masters[0]), &with(&masters[0], json!({"_deleted": true}))).await,
        Vec::<Value>::new()
    );
    assert_eq!(goals.pulls(100).await, [json!({"id": id, "_deleted": true})]);
    // A case may not: it comes again.
    let mut cases = Collection::of(&ana, "cases");
    let held = cases.pulls(100).await;
    let deleted = with(&held[0], json!({"_deleted": true}));
    assert_eq!(cases.pushes(Some(&held[0]), &deleted).await, Vec::<Value>::new());
    let again = cases.pulls(100).await;
    assert_eq!((ids(&again), &again[0]["_deleted"]), (vec![case.as_str()], &json!(false)));
    // Somebody else's, and nobody's.
    let omar = world.omar().await;
    let theirs = Collection::of(&omar, "cases");
    assert_eq!(theirs.pushes(Some(&held[0]), &deleted).await, Vec::<Value>::new());
    let nobodys = json!({"id": "case-of-nobody", "_deleted": true});
    assert_eq!(theirs.pushes(None, &nobodys).await, Vec::<Value>::new());
    assert_eq!(cases.pulls(100).await, Vec::<Value>::new());
    assert_eq!(issues(&omar).await, Vec::<Value>::new());
}

async fn an_illegal_move_is_ignored_told_and_sent_again(world: World) {
    let (ana, _, _, document) = a_goal(&world).await;
    let mut goals = Collection::of(&ana, "goals");
    goals.pulls(100).await;
    let wanted = with(&document, json!({"lifecycle": "completed", "measure": "kept all the same"}));
    assert_eq!(goals.pushes(Some(&document), &wanted).await, Vec::<Value>::new());
    let again = goals.pulls(100).await;
    let row = find(&again, document["id"].as_str().expect("an id"));
    assert_eq!((&row["lifecycle"], &row["measure"]), (&json!("draft"), &json!("kept all the same")));
    assert_eq!(issues(&ana).await[0]["kind"], json!("illegal_move"));
    // The same wish again, by one who knows better.
    assert_eq!(goals.pushes(Some(row), &with(row, json!({"lifecycle": "completed"}))).await, Vec::<Value>::new());
    assert_eq!(find(&goals.pulls(100).await, document["id"].as_str().expect("an id"))["lifecycle"], json!("draft"));
    // A legal one is made.
    assert_eq!(goals.pushes(Some(row), &with(row, json!({"lifecycle": "proposed"}))).await, Vec::<Value>::new());
    assert_eq!(goals.pulls(100).await[0]["lifecycle"], json!("proposed"));
}

async fn a_child_that_comes_before_its_case_waits_for_it(world: World) {
    let ana = world.ana().await;
    let (notes, cases) = (Collection::of(&ana, "notes"), Collection::of(&ana, "cases"));
    let note = json!({"id": "note-00000001", "case_id": "case-00000001", "body": "first words", "_deleted": false});
    for _ in 0..2 {
        assert_eq!(notes.pushes(None, &note).await, Vec::<Value>::new());
    }
    let waiting = issues(&ana).await;
    assert_eq!((waiting.len(), &waiting[0]["status"]), (1, &json!("open")), "{waiting:?}");
    assert_eq!(issues(&world.sam().await).await, Vec::<Value>::new());
    // Somebody else's case of that id would not be it.
    assert_eq!(
        cases.pushes(None, &json!({"id": "case-00000001", "unit": "family", "_deleted": false})).await,
        Vec::<Value>::new()
    );
    let stored = Collection::of(&ana, "notes").pulls(100).await;
    assert_eq!((ids(&stored), &stored[0]["author_id"]), (vec!["note-00000001"], &json!(ana.user_id())));
    assert_eq!(issues(&ana).await[0]["status"], json!("accepted"));
}

async fn a_row_that_cannot_be_stored_is_told_and_answered_with_success(world: World) {
    let (ana, _, case, document) = a_goal(&world).await;
    let goals = Collection::of(&ana, "goals");
    let short = with(&goal(&case, "An id of four"), json!({"id": "abcd", "_deleted": false}));
    assert_eq!(goals.pushes(None, &short).await, Vec::<Value>::new());
    let bare = json!({"id": "party-00000001", "case_id": case, "role": "member", "_deleted": false});
    let parties = Collection::of(&ana, "case_parties");
    assert_eq!(parties.pushes(None, &bare).await, [json!({"id": "party-00000001", "_deleted": true})]);
    let odd = with(
        &document,
        json!({"confidence": 99, "measure": "a \u{0} nul", "__proto__": {"polluted": true}, "colour": "green"}),
    );
    assert_eq!(goals.pushes(Some(&document), &odd).await, Vec::<Value>::new());
    let stored = Collection::of(&ana, "goals").pulls(100).await;
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0]["measure"], &stored[0]["confidence"]), (&json!("a  nul"), &Value::Null));
    let told = issues(&ana).await;
    for kind in ["ignored", "quarantined", "cleaned"] {
        assert!(told.iter().any(|issue| issue["kind"] == kind), "{kind}: {told:?}");
    }
    assert!(json!(told).to_string().contains("An id of four"), "what was not stored can still be read");
}

/// A caseworker who is made something else: what the phone holds goes, and what it had not sent arrives.
async fn whoever_sees_a_table_no_more_drops_it_and_hands_its_work_over(world: World) {
    let (ben, ada, sam) = (world.ben().await, world.ada().await, world.sam().await);
    for role in ["auditor", "administrator"] {
        let mut phone = Phone::of(&ben);
        let case = opens_case(&mut phone).await;
        let id = phone.creates("goals", goal(&case, "Walk to the market with Mira"));
        phone.syncs().await;
        let (mut goals, mut cases) = (Collection::of(&ben, "goals"), Collection::of(&ben, "cases"));
        let known = find(&goals.pulls(100).await, &id).clone();
        cases.pulls(100).await;
        ada.patch(&format!("/users/{}", ben.user_id()), json!({"role": role})).await.ok();
        ben.logs_in().await;
        for (collection, held) in [(&mut goals, &id), (&mut cases, &case)] {
            let page = collection.pulls(100).await;
            assert!(page.iter().all(|row| row["_deleted"] == json!(true)), "{page:?}");
            assert!(ids(&page).contains(&held.as_str()), "{role}: {page:?}");
        }
        let other = ben.on_another_device();
        other.logs_in().await;
        for table in ["cases", "goals", "notes", "persons"] {
            assert_eq!(Collection::of(&other, table).pulls(100).await, Vec::<Value>::new(), "{role}: {table}");
        }
        let words = format!("typed before {role} was the role");
        let answer = goals.pushes(Some(&known), &with(&known, json!({"measure": words}))).await;
        assert_eq!(answer, [json!({"id": id, "_deleted": true})]);
        let new = with(&goal(&case, "Made offline"), json!({"id": format!("goal-of-{role}"), "_deleted": false}));
        assert_eq!(goals.pushes(None, &new).await, [json!({"id": format!("goal-of-{role}"), "_deleted": true})]);
        let issues = sam.get("/sync_issues?limit=200").await.ok();
        let issues = issues["items"].as_array().expect("items");
        for about in [id.clone(), format!("goal-of-{role}")] {
            let issue = issues.iter().find(|issue| issue["about_id"] == about).expect("told");
            assert_eq!(issue["kind"], json!("quarantined"));
        }
        ada.patch(&format!("/users/{}", ben.user_id()), json!({"role": "caseworker"})).await.ok();
        ben.logs_in().await;
    }
}

async fn a_table_that_is_not_there_is_refused(world: World) {
    let (ana, ada) = (world.ana().await, world.ada().await);
    for table in ["spaceships", "users", "__proto__"] {
        let pulled = ana.get(&format!("/sync/rxdb/{table}/pull")).await.refused(404);
        let pushed = ana.post(&format!("/sync/rxdb/{table}/push"), json!([])).await.refused(404);
        for problem in [pulled, pushed] {
            assert_eq!(problem["code"], json!("not_found"), "{table}");
        }
    }
    assert!(!Collection::of(&ada, "staff").pulls(100).await.is_empty());
    for body in [
        json!({}),
        json!([7]),
        json!([{"newDocumentState": {"id": 5}}]),
        json!([{"newDocumentState": {"id": "goal-00000001"}, "assumedMasterState": 7}]),
    ] {
        ana.post("/sync/rxdb/goals/push", body).await.refused(400);
    }
    for limit in ["0", "2001", "-1", "many"] {
        ana.get(&format!("/sync/rxdb/goals/pull?limit={limit}")).await.refused(400);
    }
    ana.get("/sync/rxdb/goals/pull?schema_version=0").await.refused(426);
    world.stranger().get("/sync/rxdb/goals/pull").await.refused(401);
}

async fn after_a_restore_the_table_comes_again_and_what_it_lacks_is_offered(world: World) {
    let (ana, _, case, document) = a_goal(&world).await;
    let id = document["id"].as_str().expect("an id").to_owned();
    let mut goals = Collection::of(&ana, "goals");
    goals.pulls(100).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let new = with(&goal(&case, "Made after the backup"), json!({"id": "goal-00000001", "_deleted": false}));
    goals.pushes(None, &new).await;
    goals.pushes(Some(&document), &with(&document, json!({"measure": "set after the backup"}))).await;
    let held = goals.pulls(100).await;
    world.pass_secs(3600);
    restores(&world, &bytes).await.expect("restored");
    ana.logs_in().await;
    let page = goals.page(1).await;
    assert_eq!(page["replace"], json!(false));
    assert!(page["epoch"].as_i64() > Some(1));
    let documents = page["documents"].as_array().expect("documents").clone();
    assert_eq!((ids(&documents), &documents[0]["measure"]), (vec![id.as_str()], &Value::Null));
    assert_eq!(goals.pulls(1).await, Vec::<Value>::new(), "once");
    let offered = json!({"goals": {"created": [], "updated": [find(&held, "goal-00000001")], "deleted": []}});
    assert_eq!(ana.post("/sync/salvage", offered).await.ok(), json!({"stored": 1}));
    assert_eq!(goals.pulls(1).await[0]["statement"], json!("Made after the backup"));
    // What the device had not sent when the server went back is three-way merged as ever.
    let edited = with(&documents[0], json!({"unit": "sent after the restore"}));
    assert_eq!(goals.pushes(Some(&documents[0]), &edited).await, Vec::<Value>::new());
    let devices = ana.get("/devices").await.ok();
    let seen =
        devices["items"].as_array().expect("devices").iter().find(|device| device["id"] == ana.device_id.as_str());
    assert!(seen.is_some_and(|device| device["last_pull_at"].is_string()), "{devices}");
}

async fn what_a_document_leaves_out_is_emptied(world: World) {
    let (ana, _, _, document) = a_goal(&world).await;
    let goals = Collection::of(&ana, "goals");
    let said = with(&document, json!({"measure": "walks", "strengths": ["patience", "humour"]}));
    assert_eq!(goals.pushes(Some(&document), &said).await, Vec::<Value>::new());
    let stored = Collection::of(&ana, "goals").pulls(100).await;
    let stored = find(&stored, document["id"].as_str().expect("an id")).clone();
    let mut emptied = stored.clone();
    for name in ["measure", "strengths", "seq", "updated_at"] {
        emptied.as_object_mut().expect("a document").remove(name);
    }
    assert_eq!(goals.pushes(Some(&stored), &emptied).await, Vec::<Value>::new());
    let after = Collection::of(&ana, "goals").pulls(100).await;
    let after = find(&after, document["id"].as_str().expect("an id"));
    assert_eq!((&after["measure"], &after["statement"]), (&Value::Null, &document["statement"]));
    assert!(after["strengths"].is_null() || after["strengths"] == json!([]), "{after}");
    assert_eq!(issues(&ana).await, Vec::<Value>::new());
}
