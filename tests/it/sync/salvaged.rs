//! What phones bring back after a restore: as it was, of whoever it was, and nobody is given what they had not.

use serde_json::{Value, json};

use super::purge::forgets;
use super::restored::{holdings, restores, takes_a_backup};
use super::rules::{goal, hands_over, opens_case};
use crate::rest::scene::{Case, harbor, opens_a_case, ready, smart, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    what_comes_back_is_in_the_state_it_had,
    what_a_colleague_brings_back_stays_its_authors,
    what_a_colleague_brings_back_table_by_table_stays_its_authors,
    a_case_of_which_nothing_tells_who_had_it_is_that_of_who_brings_it,
    what_only_a_supervisor_holds_comes_back,
    nobody_is_given_a_case_by_what_a_phone_says,
    a_server_that_lacks_nothing_takes_nothing,
    a_phones_word_goes_no_further_than_its_users_moves,
    the_later_word_on_who_has_a_case_stands,
    a_hand_over_that_only_its_taker_knows_is_told,
    what_its_bringer_may_not_see_any_more_is_kept,
    an_edit_since_does_not_make_a_row_its_editors,
    what_was_written_since_stands_over_what_is_brought_back,
    what_the_first_of_two_restores_took_comes_back_after_the_second,
    what_was_lost_under_a_clock_that_ran_ahead_comes_back,
    an_app_that_only_asks_to_wait_keeps_what_nobody_else_has,
    what_was_taken_out_of_a_list_in_the_lost_time_stays_out,
    a_state_that_was_never_sent_comes_with_its_push,
);

const STAMPS: [&str; 3] = ["created_at", "updated_at", "updated_by"];

/// The rows of a table by id, without what every storing stamps anew.
fn rows(phone: &Phone, table: &str) -> Value {
    let mut rows = phone.everything().remove(table).unwrap_or_default();
    for row in rows.values_mut() {
        row.retain(|name, _| !STAMPS.contains(&name.as_str()));
    }
    json!(rows)
}

/// A phone that has pulled all there is.
async fn fresh(person: &Person) -> Phone {
    let other = person.on_another_device();
    other.logs_in().await;
    let mut phone = Phone::of(&other);
    phone.pulls().await;
    phone
}

async fn goes_back(world: &World, bytes: &[u8], people: &[&Person]) {
    world.pass_secs(3600);
    restores(world, bytes).await.expect("restored");
    for person in people {
        person.logs_in().await;
    }
}

async fn salvages(phone: &Phone) -> Value {
    phone.person.post("/sync/salvage", holdings(phone)).await.ok()["stored"].clone()
}

/// As the published snippet does it: a table at a time.
async fn salvages_by_table(phone: &Phone) {
    let all = holdings(phone);
    let first = json!({"cases": all["cases"], "case_assignments": all["case_assignments"]});
    phone.person.post("/sync/salvage", first).await.ok();
    for table in phone.asks("").await.ok()["changes"].as_object().expect("changes").keys() {
        if let Some(rows) = all.get(table) {
            phone.person.post("/sync/salvage", json!({table.as_str(): rows})).await.ok();
        }
    }
}

fn kinds(phone: &Phone) -> Vec<Value> {
    let issues = phone.everything().remove("sync_issues").unwrap_or_default();
    issues.into_values().map(|issue| issue["kind"].clone()).filter(|kind| kind != "restored").collect()
}

async fn agrees_and_starts(who: &Person, goal: &str) {
    who.post(&format!("/goals/{goal}/agree"), json!({})).await.ok();
    who.post(&format!("/goals/{goal}/start"), json!({})).await.ok();
}

async fn refers(who: &Person, case: &Case, org: &str) -> String {
    let referral = text(&who.post("/referrals", ready(case, org)).await.ok()["id"]);
    who.post(&format!("/referrals/{referral}/request"), json!({})).await.ok();
    referral
}

async fn what_comes_back_is_in_the_state_it_had(world: World) {
    let (org, pat) = harbor(&world).await;
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let draft = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let second = opens_a_case(&ana).await;
    for (case, goal) in [(&case, draft), (&second, text(&ana.post("/goals", smart(&second)).await.ok()["id"]))] {
        agrees_and_starts(&ana, &goal).await;
        let referral = refers(&ana, case, &org).await;
        pat.post(&format!("/referrals/{referral}/accept"), json!({})).await.ok();
        let note = json!({"case_id": case.id, "body": "Signed in time", "occurred_at": "2027-03-01T15:00:00Z"});
        let note = text(&ana.post("/notes", note).await.ok()["id"]);
        ana.post(&format!("/notes/{note}/sign"), json!({})).await.ok();
    }
    phone.pulls().await;
    goes_back(&world, &bytes, &[&ana, &pat]).await;
    assert_ne!(salvages(&phone).await, json!(0));
    let there = fresh(&ana).await;
    for table in
        ["cases", "persons", "case_parties", "case_assignments", "goals", "referrals", "referral_events", "notes"]
    {
        assert_eq!(rows(&there, table), rows(&phone, table), "{table}");
    }
    assert_eq!(kinds(&there), Vec::<Value>::new());
    let seen = pat.get("/referrals").await.ok();
    assert_eq!(seen["items"].as_array().expect("items").len(), 2, "the partner has its referrals again: {seen}");
    assert_eq!(salvages(&phone).await, json!(0), "once");
}

async fn what_a_colleague_brings_back_stays_its_authors(world: World) {
    a_colleague_comes_first(&world, true).await;
}

async fn what_a_colleague_brings_back_table_by_table_stays_its_authors(world: World) {
    a_colleague_comes_first(&world, false).await;
}

async fn a_case_of_which_nothing_tells_who_had_it_is_that_of_who_brings_it(world: World) {
    let ben = world.ben().await;
    let bytes = takes_a_backup(&world).await;
    goes_back(&world, &bytes, &[&ben]).await;
    let row = json!({"id": "case-nobodys", "unit": "family", "status": "active", "reference": "BCDFGHJK2",
        "updated_at": within(&world)});
    let body = json!({"cases": {"created": [], "updated": [row], "deleted": []}});
    assert_eq!(ben.post("/sync/salvage", body).await.ok(), json!({"stored": 1}));
    let bens = fresh(&ben).await;
    let assignments = bens.everything().remove("case_assignments").expect("one");
    assert_eq!(assignments.into_values().next().expect("one")["user_id"], json!(ben.user_id()));
    assert_eq!(bens.column("cases", "case-nobodys", "reference"), json!("BCDFGHJK2"));
}

async fn a_colleague_comes_first(world: &World, in_one: bool) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let (mut anas, mut bens) = (Phone::of(&ana), Phone::of(&ben));
    let bytes = takes_a_backup(world).await;
    world.pass_secs(3600);
    let case = opens_case(&mut anas).await;
    let joins = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "helps out"});
    sam.post(&format!("/cases/{case}/assignments"), joins).await.ok();
    let note = anas.creates("notes", json!({"case_id": case, "kind": "progress", "body": "Ana's own words"}));
    anas.syncs().await;
    anas.pulls().await;
    bens.pulls().await;
    assert!(bens.ids("notes").contains(&note));
    goes_back(world, &bytes, &[&ana, &ben]).await;
    // Ben's phone comes first.
    if in_one {
        salvages(&bens).await;
    } else {
        salvages_by_table(&bens).await;
    }
    assert_eq!(salvages(&anas).await, json!(0), "all of it is there");
    for phone in [&anas, &bens] {
        let there = fresh(&phone.person).await;
        for table in ["cases", "case_assignments", "notes"] {
            assert_eq!(rows(&there, table), rows(phone, table), "{table}");
        }
        assert_eq!(kinds(&there), Vec::<Value>::new());
    }
    anas.pulls().await;
    anas.edits("notes", &note, json!({"body": "Ana goes on with it"}));
    anas.syncs().await;
    bens.pulls().await;
    assert_eq!(bens.column("notes", &note, "body"), json!("Ana goes on with it"));
}

async fn what_only_a_supervisor_holds_comes_back(world: World) {
    let (ana, sam) = (world.ana().await, world.sam().await);
    let (mut anas, mut sams) = (Phone::of(&ana), Phone::of(&sam));
    let case = opens_case(&mut anas).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let note = anas.creates("notes", json!({"case_id": case, "kind": "progress", "body": "Ana's own words"}));
    let goal = anas.creates("goals", goal(&case, "Only her supervisor has it"));
    anas.syncs().await;
    sams.pulls().await;
    goes_back(&world, &bytes, &[&ana, &sam]).await;
    salvages(&sams).await;
    let there = fresh(&ana).await;
    assert_eq!(there.column("notes", &note, "author_id"), json!(ana.user_id()));
    assert_eq!(there.column("goals", &goal, "statement"), json!("Only her supervisor has it"));
}

async fn nobody_is_given_a_case_by_what_a_phone_says(world: World) {
    let (ana, cleo, omar) = (world.ana().await, world.cleo().await, world.omar().await);
    let mut anas = Phone::of(&ana);
    let case = opens_case(&mut anas).await;
    let bytes = takes_a_backup(&world).await;
    goes_back(&world, &bytes, &[&ana, &cleo, &omar]).await;
    let assigned = |id: &str, user: &Person| json!({"id": id, "case_id": case, "user_id": user.user_id(), "role": "primary", "from_ts": 1_803_913_200_000_i64});
    for (who, of) in [(&cleo, &cleo), (&ana, &cleo), (&omar, &omar)] {
        let rows = json!([assigned(&format!("assignment-{}", &of.user_id()[30..]), of)]);
        let body = json!({"case_assignments": {"created": [], "updated": rows, "deleted": []}});
        assert_eq!(who.post("/sync/salvage", body).await.ok(), json!({"stored": 0}));
    }
    // With a case of one's own it comes, and names nobody of another agency.
    let at = within(&world);
    let body = json!({
        "cases": {"created": [], "updated": [
            {"id": "case-of-cleos", "unit": "family", "status": "active", "reference": "Maria Lopez", "updated_at": at}],
            "deleted": []},
        "case_assignments": {"created": [], "updated": [
            {"id": "assignment-0001", "case_id": "case-of-cleos", "user_id": cleo.user_id(), "role": "primary", "from_ts": 1,
                "updated_at": at},
            {"id": "assignment-0002", "case_id": "case-of-cleos", "user_id": omar.user_id(), "role": "secondary",
                "from_ts": 1, "updated_at": at},
        ], "deleted": []},
    });
    cleo.post("/sync/salvage", body).await.ok();
    let cleos = fresh(&cleo).await;
    assert_eq!((cleos.ids("cases"), kinds(&cleos)), (["case-of-cleos".to_owned()].into(), vec![]));
    assert_eq!(cleos.column("cases", "case-of-cleos", "status"), json!("active"));
    assert!(
        !cleos.everything()["cases"]["case-of-cleos"]["reference"].to_string().contains("Maria"),
        "it goes into mails"
    );
    assert!(fresh(&omar).await.ids("cases").is_empty());
    assert_eq!(fresh(&ana).await.ids("cases"), [case].into());
}

/// An instant of the time that the last restore took away.
fn within(world: &World) -> i64 {
    world.clock.now().plus_ms(-1_800_000).0
}

fn offers(table: &str, row: Value) -> Value {
    json!({table: {"created": [], "updated": [row], "deleted": []}})
}

async fn a_server_that_lacks_nothing_takes_nothing(world: World) {
    let (ana, ada) = (world.ana().await, world.ada().await);
    let case = opens_a_case(&ana).await;
    let before = ana.get(&format!("/cases/{}", case.id)).await.ok();
    let forged =
        json!({"id": case.id, "status": "closed", "reference": "Maria Lopez", "updated_at": 9_000_000_000_000_000_i64});
    for who in [&ana, &ada] {
        assert_eq!(who.post("/sync/salvage", offers("cases", forged.clone())).await.ok(), json!({"stored": 0}));
        let new = json!({"id": "case-of-nobody", "unit": "family", "updated_at": 9_000_000_000_000_000_i64});
        assert_eq!(who.post("/sync/salvage", offers("cases", new)).await.ok(), json!({"stored": 0}));
    }
    assert_eq!(ana.get(&format!("/cases/{}", case.id)).await.ok(), before);
}

async fn a_phones_word_goes_no_further_than_its_users_moves(world: World) {
    let (ana, ada) = (world.ana().await, world.ada().await);
    let case = opens_a_case(&ana).await;
    let goal = text(&ana.post("/goals", smart(&case)).await.ok()["id"]);
    agrees_and_starts(&ana, &goal).await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let bytes = takes_a_backup(&world).await;
    goes_back(&world, &bytes, &[&ana, &ada]).await;
    let at = within(&world);
    // Only a supervisor closes a case, and its number is the server's.
    let row = json!({"id": case.id, "status": "closed", "summary": "From the lost hour", "reference": "BCDFGHJK2", "updated_at": at});
    ana.post("/sync/salvage", offers("cases", row)).await.ok();
    let stored = ana.get(&format!("/cases/{}", case.id)).await.ok();
    assert_eq!((&stored["status"], &stored["summary"]), (&json!("active"), &json!("From the lost hour")));
    assert_ne!(stored["reference"], json!("BCDFGHJK2"));
    // What was not sent yet is left to the push that follows, which asks what it rests on.
    let mut row = Value::Object(phone.row("goals", &goal).expect("held").clone());
    row["lifecycle"] = json!("completed");
    row["_changed"] = json!("lifecycle");
    for held in [row["updated_at"].clone(), json!(at)] {
        row["updated_at"] = held;
        ana.post("/sync/salvage", offers("goals", row.clone())).await.ok();
        assert_eq!(ana.get(&format!("/goals/{goal}")).await.ok()["lifecycle"], json!("active"));
    }
    // Whose account the backup does not know is nobody's to speak for: the words are kept, and told.
    let note = json!({"id": "note-of-danas", "case_id": case.id, "kind": "progress", "body": "Dana's words",
        "author_id": "dana-made-later", "status": "signed", "updated_at": at});
    ana.post("/sync/salvage", offers("notes", note)).await.ok();
    let there = fresh(&ana).await;
    assert!(there.row("notes", "note-of-danas").is_none());
    assert!(there.everything()["sync_issues"].values().any(|one| one["detail"].to_string().contains("Dana's words")));
    // Nor is a row lost that cannot be stored under its id.
    ana.post("/sync/salvage", offers("notes", json!({"id": 5, "body": "only copy there is"}))).await.ok();
    assert!(
        fresh(&ana).await.everything()["sync_issues"]
            .values()
            .any(|one| one["detail"].to_string().contains("only copy"))
    );
    // A partner made after the backup is not there: the referral comes back without it, and that is told.
    let mut referral = ready(&case, "partner-made-later");
    for (name, value) in [("id", json!("referral-0001")), ("updated_at", json!(at)), ("status", json!("requested"))] {
        referral[name] = value;
    }
    for name in ["packet_fields", "client_consent"] {
        referral[name] = json!(referral[name].to_string());
    }
    ana.post("/sync/salvage", offers("referrals", referral)).await.ok();
    let there = fresh(&ana).await;
    assert_eq!(there.column("referrals", "referral-0001", "partner_org_id"), Value::Null);
    let history = ana.get("/referrals/referral-0001/history").await.ok();
    assert!(history.to_string().contains("partner-made-later"), "{history}");
}

/// A case opened and handed to Ben in the lost time. Ana's phone was away when she lost it; Sam's has heard of it.
async fn handed_over_in_the_lost_time(world: &World) -> (Phone, Phone, String) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let (mut anas, mut sams) = (Phone::of(&ana), Phone::of(&sam));
    sams.pulls().await;
    let bytes = takes_a_backup(world).await;
    world.pass_secs(60);
    let case = opens_case(&mut anas).await;
    world.pass_secs(60);
    hands_over(world, &case, "ben@demo.example").await;
    sams.pulls().await;
    goes_back(world, &bytes, &[&ana, &ben, &sam]).await;
    (anas, sams, case)
}

async fn the_later_word_on_who_has_a_case_stands(world: World) {
    let (anas, sams, case) = handed_over_in_the_lost_time(&world).await;
    salvages_by_table(&anas).await;
    assert!(fresh(&anas.person).await.ids("cases").contains(&case), "hers comes first");
    // In whatever order his time and the end of hers are listed.
    let mut all = holdings(&sams);
    all["case_assignments"]["updated"].as_array_mut().expect("rows").sort_by_key(|row| !row["to_ts"].is_null());
    assert!(all["case_assignments"]["updated"][0]["to_ts"].is_null());
    sams.person.post("/sync/salvage", all).await.ok();
    assert!(!fresh(&anas.person).await.ids("cases").contains(&case), "it is Ben's");
    assert!(fresh(&world.ben().await).await.ids("cases").contains(&case));
}

async fn a_hand_over_that_only_its_taker_knows_is_told(world: World) {
    let (anas, sams, case) = handed_over_in_the_lost_time(&world).await;
    salvages_by_table(&anas).await;
    // Ben's phone holds what Sam's does of it.
    let ben = world.ben().await;
    ben.post("/sync/salvage", json!({"case_assignments": holdings(&sams)["case_assignments"]})).await.ok();
    assert!(!fresh(&ben).await.ids("cases").contains(&case), "nobody is given a case by their own word");
    for told in [&anas.person, &sams.person] {
        let issues = fresh(told).await.everything().remove("sync_issues").expect("told");
        let mut about = issues.values().filter(|issue| issue["about_table"] == json!("case_assignments"));
        assert_eq!(about.next().expect("one")["kind"], json!("quarantined"));
    }
}

async fn what_was_written_since_stands_over_what_is_brought_back(world: World) {
    let ana = world.ana().await;
    let mut first = Phone::of(&ana);
    let case = opens_case(&mut first).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let id = first.creates("goals", goal(&case, "Made after the backup"));
    first.syncs().await;
    first.pulls().await;
    let earlier = first.clone();
    world.pass_secs(60);
    first.edits("goals", &id, json!({"measure": "the last word of the timeline that is gone"}));
    first.syncs().await;
    first.pulls().await;
    goes_back(&world, &bytes, &[&ana]).await;
    // The older state comes first, and gives way to the later one.
    salvages(&earlier).await;
    salvages(&first).await;
    let mut there = fresh(&ana).await;
    assert_eq!(there.column("goals", &id, "measure"), json!("the last word of the timeline that is gone"));
    there.edits("goals", &id, json!({"measure": "written in this one"}));
    there.syncs().await;
    let mut later = first.clone();
    // Another phone had a later state still.
    world.pass_secs(60);
    let held = later.row("goals", &id).expect("held").clone();
    let mut row = Value::Object(held);
    row["measure"] = json!("a state from between");
    row["updated_at"] = json!(row["updated_at"].as_i64().expect("an instant") + 1);
    let body = json!({"goals": {"created": [], "updated": [row], "deleted": []}});
    later.person.post("/sync/salvage", body).await.ok();
    later.pulls().await;
    assert_eq!(later.column("goals", &id, "measure"), json!("written in this one"));
    let history = ana.get(&format!("/goals/{id}/history")).await.ok();
    assert!(history.to_string().contains("a state from between"), "what loses is kept: {history}");
}

async fn what_the_first_of_two_restores_took_comes_back_after_the_second(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let ids = ["on both", "on one", "written since"].map(|statement| phone.creates("goals", goal(&case, statement)));
    phone.syncs().await;
    let first = takes_a_backup(&world).await;
    world.pass_secs(60);
    for id in [&ids[0], &ids[2]] {
        phone.edits("goals", id, json!({"measure": "the earlier state"}));
    }
    phone.syncs().await;
    phone.pulls().await;
    let earlier = phone.clone();
    world.pass_secs(60);
    for id in &ids[..2] {
        phone.edits("goals", id, json!({"measure": "the last word"}));
    }
    phone.syncs().await;
    phone.pulls().await;
    goes_back(&world, &first, &[&ana]).await;
    salvages(&earlier).await;
    let mut other = fresh(&ana).await;
    assert_eq!(other.column("goals", &ids[0], "measure"), json!("the earlier state"));
    other.edits("goals", &ids[2], json!({"measure": "written after the first"}));
    other.syncs().await;
    let second = takes_a_backup(&world).await;
    world.pass_secs(60);
    other.edits("goals", &ids[2], json!({"measure": "and lost by the second"}));
    other.syncs().await;
    other.pulls().await;
    goes_back(&world, &second, &[&ana]).await;
    // The phone with the later state of the first two was away for both.
    salvages(&phone).await;
    salvages(&other).await;
    let there = fresh(&ana).await;
    for id in &ids[..2] {
        assert_eq!(there.column("goals", id, "measure"), json!("the last word"));
    }
    assert_eq!(there.column("goals", &ids[2], "measure"), json!("and lost by the second"));
}

async fn what_was_lost_under_a_clock_that_ran_ahead_comes_back(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Known before the backup"));
    phone.syncs().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(60);
    phone.edits("goals", &id, json!({"measure": "after the backup"}));
    phone.syncs().await;
    phone.pulls().await;
    world.set_clock("2027-03-01T14:30:00Z");
    restores(&world, &bytes).await.expect("restored");
    ana.logs_in().await;
    assert_eq!(fresh(&ana).await.column("goals", &id, "measure"), Value::Null);
    salvages(&phone).await;
    assert_eq!(fresh(&ana).await.column("goals", &id, "measure"), json!("after the backup"));
}

async fn an_app_that_only_asks_to_wait_keeps_what_nobody_else_has(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let mut before = Phone::of(&ana);
    let (lost, case) = (opens_case(&mut before).await, opens_case(&mut before).await);
    hands_over(&world, &lost, "ben@demo.example").await;
    world.pass_secs(401 * 24 * 3600);
    ana.logs_in().await;
    let id = before.creates("goals", goal(&case, "Something that happened since"));
    before.syncs().await;
    forgets(&world).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(60);
    let mut phone = fresh(&ana).await;
    phone.edits("goals", &id, json!({"measure": "set before the restore"}));
    let only = phone.creates("goals", goal(&case, "Only this phone has it"));
    phone.syncs().await;
    phone.pulls().await;
    goes_back(&world, &bytes, &[&ana, &ben]).await;
    phone.person.logs_in().await;
    let unsent = phone.creates("goals", goal(&case, "Not sent yet"));
    let page = phone.asks("&pending=1").await.ok();
    phone.applies(&page);
    phone.pushes().await.expect("a goal").ok();
    for _ in 0..3 {
        let page = phone.pulls().await;
        assert!(page.get("experimentalStrategy").is_none(), "{page}");
        assert!(phone.ids("goals").contains(&only) && phone.ids("goals").contains(&unsent));
    }
}

async fn what_its_bringer_may_not_see_any_more_is_kept(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let (mut anas, mut bens) = (Phone::of(&ana), Phone::of(&ben));
    let case = opens_case(&mut anas).await;
    let note = anas.creates("notes", json!({"case_id": case, "kind": "progress", "body": "A beginning"}));
    anas.syncs().await;
    anas.pulls().await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(60);
    anas.edits("notes", &note, json!({"body": "What she signed in the end", "status": "signed"}));
    anas.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    bens.pulls().await;
    goes_back(&world, &bytes, &[&ana, &ben]).await;
    salvages_by_table(&bens).await;
    let kept = fresh(&ben).await.everything().remove("sync_issues").expect("told");
    assert!(kept.values().any(|issue| issue["detail"].to_string().contains("What she signed in the end")), "{kept:?}");
    assert!(!kinds(&fresh(&ana).await).is_empty(), "so is who has the case again");
}

async fn an_edit_since_does_not_make_a_row_its_editors(world: World) {
    let (ana, ben, sam) = (world.ana().await, world.ben().await, world.sam().await);
    let (mut anas, mut bens) = (Phone::of(&ana), Phone::of(&ben));
    let case = opens_case(&mut anas).await;
    let joins = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "helps out"});
    sam.post(&format!("/cases/{case}/assignments"), joins).await.ok();
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(60);
    let note = anas.creates("notes", json!({"case_id": case, "kind": "progress", "body": "Ana's own words"}));
    anas.syncs().await;
    bens.pulls().await;
    goes_back(&world, &bytes, &[&ana, &ben]).await;
    // His app stamps what he edits by the phone's clock.
    let mut row = Value::Object(bens.row("notes", &note).expect("held").clone());
    for (name, value) in [
        ("client_words", json!("added by Ben")),
        ("_status", json!("updated")),
        ("_changed", json!("client_words")),
        ("updated_at", json!(world.clock.now().plus_ms(60_000).0)),
    ] {
        row[name] = value;
    }
    ben.post("/sync/salvage", offers("notes", row)).await.ok();
    assert_eq!(fresh(&ana).await.column("notes", &note, "author_id"), json!(ana.user_id()));
}

async fn what_was_taken_out_of_a_list_in_the_lost_time_stays_out(world: World) {
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let path = format!("/persons/{}", case.person);
    let number = |digits: &str| json!({"kind": "phone", "value": digits});
    ana.patch(&path, json!({"contact_points": [number("555-1"), number("555-2")]})).await.ok();
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    ana.patch(&path, json!({"contact_points": [number("555-1")]})).await.ok();
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    goes_back(&world, &bytes, &[&ana]).await;
    assert_eq!(ana.get(&path).await.ok()["contact_points"], json!([number("555-1"), number("555-2")]));
    salvages(&phone).await;
    assert_eq!(ana.get(&path).await.ok()["contact_points"], json!([number("555-1")]));
}

async fn a_state_that_was_never_sent_comes_with_its_push(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let bytes = takes_a_backup(&world).await;
    world.pass_secs(3600);
    let vague = phone.creates("goals", goal(&case, "Vague"));
    let blank = phone.creates("notes", json!({"case_id": case, "kind": "progress", "body": ""}));
    phone.syncs().await;
    phone.pulls().await;
    phone.edits("goals", &vague, json!({"lifecycle": "completed"}));
    phone.edits("notes", &blank, json!({"status": "signed"}));
    goes_back(&world, &bytes, &[&ana]).await;
    let held = phone.once_synced().into_iter();
    let offer: Value =
        held.map(|(table, rows)| (table, json!({"created": [], "updated": rows, "deleted": []}))).collect();
    assert_eq!(ana.post("/sync/salvage", offer).await.ok()["stored"], json!(2));
    for (path, column) in [(format!("/goals/{vague}"), "lifecycle"), (format!("/notes/{blank}"), "status")] {
        assert_eq!(ana.get(&path).await.ok()[column], "draft", "{path}");
    }
    phone.syncs().await;
    phone.pulls().await;
    for (table, id, column) in [("goals", &vague, "lifecycle"), ("notes", &blank, "status")] {
        assert_eq!(phone.column(table, id, column), json!("draft"), "as it would have been refused before");
    }
    assert!(kinds(&phone).contains(&json!("illegal_move")), "{:?}", kinds(&phone));
}
