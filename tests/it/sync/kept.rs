//! Work that is kept: who may read it, which is which, and what is told when it is taken in after all.

use reqwest::Method;
use serde_json::{Value, json};

use super::native::mutates;
use super::rules::{goal, hands_over, opens_case};
use crate::rest::scene::{harbor, opens_a_case, ready, text};
use crate::support::{Person, Phone, World, on_both};

on_both!(
    what_was_meant_for_fewer_eyes_is_read_by_no_more,
    the_same_words_under_another_id_are_said_again,
    a_repeated_mutation_is_kept_once,
    what_is_taken_in_otherwise_than_it_was_sent_is_told,
    what_a_lost_phone_alone_knew_can_be_read_and_taken_in,
    an_issue_that_is_settled_on_the_way_can_be_dismissed_too,
    a_kept_correction_is_hidden_as_far_as_what_it_corrects,
    late_work_that_is_cut_is_told_whole,
    what_its_author_took_out_and_put_back_can_be_accepted,
    a_note_of_a_kind_that_nobody_knows_is_seen_by_the_fewest,
    who_reads_kept_work_leaves_a_trail,
    what_somebody_who_has_left_had_not_sent_can_be_taken_in,
    discarding_an_edit_leaves_what_hangs_on_the_row,
    discarding_a_stale_copy_leaves_what_hangs_on_the_stored_row,
    what_the_holder_took_out_does_not_come_back_with_kept_work,
    a_withdrawal_is_not_taken_back_by_an_edit_made_before_it,
    what_a_partner_reads_is_made_no_more_by_a_push,
);

fn mutation(id: &str, op: &str, table: &str, row: &str, set: Value) -> Value {
    json!({"id": id, "op": op, "table": table, "row_id": row, "set": set})
}

/// The issues of a person about a row.
async fn issues(person: &Person, about: &str) -> Vec<Value> {
    let all = person.get("/sync_issues?limit=200").await.ok();
    let all = all["items"].as_array().expect("a list").iter();
    all.filter(|issue| issue["about_id"] == about).cloned().collect()
}

fn work(issue: &Value) -> String {
    format!("/sync_issues/{}/work", text(&issue["id"]))
}

async fn what_was_meant_for_fewer_eyes_is_read_by_no_more(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let (ben, sam) = (world.ben().await, world.sam().await);
    let case = opens_case(&mut ana).await;
    let draft = || json!({"case_id": case, "body": "seen by the team", "kind": "progress"});
    let narrowed = ana.creates("notes", draft());
    let part2 = ana.creates("notes", draft());
    let open = ana.creates("notes", draft());
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("notes", &narrowed, json!({"body": "for my supervisor", "visibility": "author_supervisor"}));
    ana.edits("notes", &part2, json!({"body": "about the treatment", "part2": true}));
    ana.edits("notes", &open, json!({"body": "for all"}));
    // A word of a newer app, and a yes in other words.
    let fresh = json!({"case_id": case, "body": "new", "kind": "progress", "visibility": "private"});
    let unknown = ana.creates("notes", fresh);
    let fresh = json!({"case_id": case, "body": "new", "kind": "progress", "part2": "true"});
    let unread = ana.creates("notes", fresh);
    ana.pushes().await.expect("something to push").ok();
    for (id, hidden_from_ben) in [(&narrowed, true), (&part2, true), (&open, false), (&unknown, true), (&unread, true)]
    {
        let issue = issues(&ben, id).await.pop().expect("Ben is told that there is something");
        let answer = ben.get(&work(&issue)).await;
        assert_eq!(answer.status, if hidden_from_ben { 403 } else { 200 }, "{id}: {}", answer.text);
        let accept = format!("/sync_issues/{}/accept", text(&issue["id"]));
        let accepted = ben.post(&accept, json!({"reason": "I have the case"})).await;
        assert_eq!(accepted.status, if hidden_from_ben { 403 } else { 200 }, "{id}: {}", accepted.text);
    }
    for id in [&narrowed, &unknown] {
        let issue = issues(&sam, id).await.pop().expect("Sam is told");
        assert!(sam.get(&work(&issue)).await.ok()["sent"]["body"].is_string(), "the supervisor may");
    }
}

async fn the_same_words_under_another_id_are_said_again(world: World) {
    let ana = world.ana().await;
    let ben = world.ben().await;
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk the dog each day"));
    phone.syncs().await;
    let set = json!({"measure": {"from": null, "to": "walks"}});
    for number in 1..=2 {
        hands_over(&world, &case, "ben@demo.example").await;
        let sent = mutation(&format!("mutation-{number:04}"), "update", "goals", &id, set.clone());
        let result = mutates(&ana, json!([sent])).await.remove(0);
        assert_eq!(result["status"], json!("quarantined"), "{result}");
        let open: Vec<Value> =
            issues(&ben, &id).await.into_iter().filter(|issue| issue["status"] == json!("open")).collect();
        assert_eq!(open.len(), 1, "somebody has it to decide, time {number}");
        let discard = format!("/sync_issues/{}/discard", text(&open[0]["id"]));
        ben.post(&discard, json!({"reason": "we chose another"})).await.ok();
        hands_over(&world, &case, "ana@demo.example").await;
    }
    // Of kept work the last word counts, also where it was said before.
    let row = "goal-that-waits";
    let made =
        json!({"case_id": "case-that-comes-later", "statement": "A goal of a case to come", "level": "individual"});
    let says = |number: u32, word: &str| {
        mutation(
            &format!("word-number-{number}"),
            "update",
            "goals",
            row,
            json!({"measure": {"from": null, "to": word}}),
        )
    };
    let queue = json!([
        mutation("word-number-0", "create", "goals", row, made),
        says(1, "one"),
        says(2, "two"),
        says(3, "one"),
    ]);
    for status in ["retry", "quarantined"] {
        let results = mutates(&ana, queue.clone()).await;
        assert!(results.iter().all(|result| result["status"] == status), "{results:?}");
    }
    let case = mutation("mutation-0009", "create", "cases", "case-that-comes-later", json!({"unit": "family"}));
    mutates(&ana, json!([case])).await;
    assert_eq!(ana.get(&format!("/goals/{row}")).await.ok()["measure"], json!("one"));
}

async fn a_repeated_mutation_is_kept_once(world: World) {
    let (ana, ben) = (world.ana().await, world.ben().await);
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Walk the dog each day"));
    phone.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let sent = mutation("mutation-0001", "update", "goals", &id, json!({"measure": {"from": null, "to": "walks"}}));
    // Handed over and pushed, in either order and again.
    for _ in 0..2 {
        let queue = json!({"mutations": [sent]});
        ana.post("/sync/quarantine", queue).await.ok();
        mutates(&ana, json!([sent])).await;
    }
    assert_eq!(issues(&ben, &id).await.len(), 1);
    assert_eq!(issues(&ana, &id).await.len(), 1);
}

async fn what_is_taken_in_otherwise_than_it_was_sent_is_told(world: World) {
    let ana = world.ana().await;
    let row = |lifecycle: &str| {
        json!({"id": "goal-before-its-case", "case_id": "case-that-comes-later", "statement": "Keep the flat we have",
            "level": "individual", "lifecycle": lifecycle, "confidence": 99, "_deleted": false})
    };
    let path = "/sync/rxdb/goals/push";
    for _ in 0..2 {
        ana.post(path, json!([{"newDocumentState": row("active")}])).await.ok();
    }
    ana.get("/goals/goal-before-its-case").await.refused(404);
    let case = mutation("mutation-0001", "create", "cases", "case-that-comes-later", json!({"unit": "family"}));
    mutates(&ana, json!([case])).await;
    assert_eq!(ana.get("/goals/goal-before-its-case").await.ok()["lifecycle"], json!("draft"));
    let told: Vec<String> = issues(&ana, "goal-before-its-case")
        .await
        .iter()
        .filter(|issue| issue["status"] == json!("open"))
        .map(|issue| issue["kind"].to_string())
        .collect();
    assert_eq!(told, [r#""illegal_move""#], "the move was not made, and its author hears of it");
    // Of what somebody else takes in, the author hears too.
    let mut phone = Phone::of(&ana);
    let case = opens_case(&mut phone).await;
    let id = phone.creates("goals", goal(&case, "Keep what was agreed"));
    phone.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    phone.edits("goals", &id, json!({"measure": "a calendar", "due_on": "some day"}));
    phone.pushes().await.expect("an edit").ok();
    let ben = world.ben().await;
    let issue = issues(&ben, &id).await.pop().expect("told");
    ben.post(&format!("/sync_issues/{}/accept", text(&issue["id"])), json!({"reason": "she was there"})).await.ok();
    assert_eq!(ben.get(&format!("/goals/{id}")).await.ok()["measure"], json!("a calendar"));
    let kinds: Vec<Value> = issues(&ana, &id).await.iter().map(|issue| issue["kind"].clone()).collect();
    assert!(kinds.contains(&json!("cleaned")), "{kinds:?}");
}

async fn what_a_lost_phone_alone_knew_can_be_read_and_taken_in(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    ana.pulls().await;
    let case = ana.creates("cases", json!({"unit": "family", "summary": "opened without signal"}));
    let person = ana.creates("persons", json!({"given_name": "Pia"}));
    ana.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "primary_client"}));
    let note = ana.creates("notes", json!({"case_id": case, "body": "a first visit", "kind": "progress"}));
    let path = format!("/devices/{}/wipe", ana.person.device_id);
    assert_eq!(world.ada().await.post(&path, json!({})).await.status, 204);
    let token = text(&ana.person.session()["refresh_token"]);
    let farewell = world.stranger().request(Method::POST, "/sync/farewell").bearer_auth(token);
    // The published snippets hand over what they hold, and say nothing of new and old.
    let mut held = ana.outgoing();
    for (_, table) in held.as_object_mut().expect("tables") {
        table["updated"] = std::mem::replace(&mut table["created"], json!([]));
    }
    ana.person.send("a farewell", farewell.body(held.to_string())).await.ok();
    let (sam, ben) = (world.sam().await, world.ben().await);
    assert_eq!(issues(&ben, &case).await, Vec::<Value>::new(), "it is nobody else's");
    for row in [&case, &person, &note] {
        let issue = issues(&sam, row).await.pop().expect("her supervisor is told");
        sam.get(&work(&issue)).await.ok();
    }
    // The person first, since the party that comes with the case names it.
    for row in [&person, &case] {
        let issue = issues(&sam, row).await.pop().expect("told");
        let accept = format!("/sync_issues/{}/accept", text(&issue["id"]));
        sam.post(&accept, json!({"reason": "Ana told me of it"})).await.ok();
    }
    // It is Ana's, as if it had come while she held the phone.
    let again = world.ana().await;
    for who in [&sam, &again] {
        assert_eq!(who.get(&format!("/cases/{case}")).await.ok()["summary"], json!("opened without signal"));
        assert_eq!(
            who.get(&format!("/notes/{note}")).await.ok()["body"],
            json!("a first visit"),
            "and what hangs on it"
        );
    }
    for who in [&sam, &again] {
        who.get(&format!("/persons/{person}")).await.ok();
        let parties = who.get(&format!("/case_parties?case_id={case}")).await.ok();
        assert_eq!(parties["items"][0]["person_id"], json!(person), "the person is of the case");
    }
    let has = again.get(&format!("/case_assignments?case_id={case}")).await.ok();
    assert_eq!((&has["items"][0]["user_id"], &has["items"][0]["role"]), (&json!(again.user_id()), &json!("primary")));
    assert_eq!(again.get(&format!("/notes/{note}")).await.ok()["created_by"], json!(again.user_id()));
}

/// An issue about a note is settled by the note's deletion, and dismissed in the same request.
async fn an_issue_that_is_settled_on_the_way_can_be_dismissed_too(world: World) {
    let ana = world.ana().await;
    let note = "note-that-is-thrown-away";
    let set = json!({"case_id": "case-of-some-day", "body": "a thought", "kind": "progress"});
    let create = mutation("mutation-0001", "create", "notes", note, set);
    for status in ["retry", "quarantined"] {
        assert_eq!(mutates(&ana, json!([create])).await[0]["status"], json!(status));
    }
    let issue = issues(&ana, note).await.pop().expect("told");
    let mut dismiss = mutation("mutation-0003", "action", "sync_issues", &text(&issue["id"]), json!({}));
    dismiss["verb"] = json!("dismiss");
    let queue = json!([mutation("mutation-0002", "delete", "notes", note, json!({})), dismiss]);
    let results = mutates(&ana, queue).await;
    assert_eq!(results.len(), 2, "{results:?}");
    assert_ne!(issues(&ana, note).await[0]["status"], json!("open"));
}

async fn a_kept_correction_is_hidden_as_far_as_what_it_corrects(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let (ben, sam) = (world.ben().await, world.sam().await);
    let case = opens_case(&mut ana).await;
    let note = |kind: &str, part2: bool| json!({"case_id": case, "body": "first", "kind": kind, "part2": part2, "status": "signed"});
    let stored = [
        ana.creates("notes", note("restricted", false)),
        ana.creates("notes", note("progress", true)),
        ana.creates("notes", note("progress", false)),
    ];
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let correction = |of: &str| json!({"case_id": case, "body": "corrected", "kind": "progress", "amends_note_id": of, "status": "signed"});
    let hidden = [ana.creates("notes", correction(&stored[0])), ana.creates("notes", correction(&stored[1]))];
    let open = ana.creates("notes", correction(&stored[2]));
    // And one of a note that is kept itself.
    let hidden_too = json!({"case_id": case, "body": "hidden", "kind": "restricted", "status": "signed"});
    let kept = ana.creates("notes", hidden_too);
    let of_kept = ana.creates("notes", correction(&kept));
    // A row without the day that it needs can be read all the same.
    let rating = ana.creates("goal_ratings", json!({"case_id": case, "goal_id": "goal-of-nobody-here", "level": 1}));
    ana.pushes().await.expect("work").ok();
    for id in hidden.iter().chain([&kept, &of_kept]) {
        let issue = issues(&ben, id).await.pop().expect("Ben is told that there is something");
        ben.get(&work(&issue)).await.refused(403);
    }
    for id in [&hidden[0], &kept, &of_kept] {
        let issue = issues(&sam, id).await.pop().expect("Sam is told");
        sam.get(&work(&issue)).await.ok();
    }
    for id in [&open, &rating] {
        ben.get(&work(&issues(&ben, id).await.pop().expect("told"))).await.ok();
    }
    // Taken in before what it corrects, it would lose that, and be seen by all.
    let accept = async |id: &str| {
        let issue = issues(&sam, id).await.pop().expect("told");
        sam.post(&format!("/sync_issues/{}/accept", text(&issue["id"])), json!({"reason": "she was there"})).await
    };
    accept(&of_kept).await.refused(409);
    ben.get(&format!("/notes/{of_kept}")).await.refused(404);
    accept(&kept).await.ok();
    // It may have come with that.
    if sam.get(&format!("/notes/{of_kept}")).await.status == 404 {
        accept(&of_kept).await.ok();
    }
    sam.get(&format!("/notes/{of_kept}")).await.ok();
    ben.get(&format!("/notes/{of_kept}")).await.refused(404);
}

/// Its account is closed, so that nobody would see what is its own.
async fn what_somebody_who_has_left_had_not_sent_can_be_taken_in(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    ana.pulls().await;
    let case = ana.creates("cases", json!({"unit": "family", "summary": "opened without signal"}));
    let person = ana.creates("persons", json!({"given_name": "Pia"}));
    ana.creates("case_parties", json!({"case_id": case, "person_id": person, "role": "primary_client"}));
    world.ada().await.post(&format!("/users/{}/deactivate", ana.person.user_id()), json!({})).await.ok();
    let token = text(&ana.person.session()["refresh_token"]);
    let farewell = world.stranger().request(Method::POST, "/sync/farewell").bearer_auth(token);
    ana.person.send("a farewell", farewell.body(ana.outgoing().to_string())).await.ok();
    let sam = world.sam().await;
    for row in [&person, &case] {
        let issue = issues(&sam, row).await.pop().expect("told");
        sam.post(&format!("/sync_issues/{}/accept", text(&issue["id"])), json!({"reason": "she told me"})).await.ok();
    }
    sam.get(&format!("/cases/{case}")).await.ok();
    sam.get(&format!("/persons/{person}")).await.ok();
    let parties = sam.get(&format!("/case_parties?case_id={case}")).await.ok();
    assert_eq!(parties["items"][0]["person_id"], json!(person));
}

/// A stale copy of a row that is stored is discarded, and what hangs on the row is still to be decided.
async fn discarding_a_stale_copy_leaves_what_hangs_on_the_stored_row(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    let mut row = goal(&case, "Walk the dog each day");
    row["measure"] = json!("steps");
    let id = ana.creates("goals", row);
    let made = ana.outgoing();
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ben.patch(&format!("/goals/{id}"), json!({"measure": "walks"})).await.ok();
    // The answer was lost: it comes again, and with it a rating from after her time.
    ana.sends(&made).await.ok();
    let rating = json!({"id": "rating-of-that-goal", "case_id": case, "goal_id": id, "level": 0, "rated_on": "2027-03-01",
        "rater": "worker"});
    ana.sends(&json!({"goal_ratings": {"created": [rating], "updated": [], "deleted": []}})).await.ok();
    let stale = issues(&ben, &id).await.pop().expect("told of the copy");
    ben.post(&format!("/sync_issues/{}/discard", text(&stale["id"])), json!({"reason": "stale"})).await.ok();
    let of_rating = issues(&ben, "rating-of-that-goal").await.pop().expect("told of the rating");
    assert_eq!(of_rating["status"], json!("open"));
    ben.post(&format!("/sync_issues/{}/accept", text(&of_rating["id"])), json!({"reason": "she was there"})).await.ok();
}

/// An edit is discarded, and what hangs on the row that is kept beside it is not.
async fn discarding_an_edit_leaves_what_hangs_on_the_row(world: World) {
    let ana = world.ana().await;
    let (case, goal) = ("case-that-comes-later", "goal-that-waits");
    let made = json!({"case_id": case, "statement": "A goal of a case to come", "level": "individual"});
    let party = json!({"case_id": case, "body": "about it", "kind": "progress"});
    let queue = json!([
        mutation("mutation-0001", "create", "goals", goal, made),
        mutation("mutation-0002", "update", "goals", goal, json!({"measure": {"from": null, "to": "walks"}})),
        mutation(
            "mutation-0003",
            "create",
            "goal_ratings",
            "rating-that-waits",
            json!({"case_id": case, "goal_id": goal, "level": 0, "rated_on": "2027-03-01", "rater": "worker"})
        ),
        mutation("mutation-0004", "create", "notes", "note-that-waits", party),
    ]);
    for _ in 0..2 {
        mutates(&ana, queue.clone()).await;
    }
    let of_goal = issues(&ana, goal).await;
    let edit = of_goal.iter().find(|issue| issue["detail"]["measure"] == "walks").expect("told of the edit");
    ana.post(&format!("/sync_issues/{}/discard", text(&edit["id"])), json!({"reason": "not so"})).await.ok();
    let case = mutation("mutation-0009", "create", "cases", case, json!({"unit": "family"}));
    mutates(&ana, json!([case])).await;
    assert_eq!(ana.get(&format!("/goals/{goal}")).await.ok()["measure"], Value::Null);
    ana.get("/goal_ratings/rating-that-waits").await.ok();
    ana.get("/notes/note-that-waits").await.ok();
}

async fn late_work_that_is_cut_is_told_whole(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    let long = "word ".repeat(5_000);
    let row = json!({"case_id": case, "body": long, "kind": "progress", "status": "signed", "contact_id": "contact-of-nobody",
        "occurred_at": world.clock.now().0});
    world.pass_secs(3600);
    hands_over(&world, &case, "ben@demo.example").await;
    let id = ana.creates("notes", row);
    ana.pushes().await.expect("a note").ok();
    let stored = ben.get(&format!("/notes/{id}")).await.ok();
    assert_eq!((stored["late"].clone(), stored["body"].as_str().map(str::len)), (json!(true), Some(20_000)));
    let told = issues(&ana.person, &id).await;
    assert!(
        told.iter().any(|issue| issue["kind"] == json!("cleaned") && issue["message"].to_string().contains("body")),
        "{told:?}"
    );
    assert!(told.iter().any(|issue| issue["detail"]["body"] == json!(long)), "whole");
}

async fn what_its_author_took_out_and_put_back_can_be_accepted(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    for list in [r#"["trauma"]"#, r#"[{"value": "trauma", "removed": true}]"#] {
        ana.edits("cases", &case, json!({"difficulty_tags": list}));
        ana.syncs().await;
        ana.pulls().await;
    }
    hands_over(&world, &case, "ben@demo.example").await;
    ana.edits("cases", &case, json!({"difficulty_tags": r#"["trauma"]"#}));
    ana.pushes().await.expect("an edit").ok();
    let issue = issues(&ben, &case).await.pop().expect("told");
    ben.post(&format!("/sync_issues/{}/accept", text(&issue["id"])), json!({"reason": "she knew"})).await.ok();
    assert_eq!(ben.get(&format!("/cases/{case}")).await.ok()["difficulty_tags"], json!(["trauma"]));
}

async fn a_note_of_a_kind_that_nobody_knows_is_seen_by_the_fewest(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let (ben, sam) = (world.ben().await, world.sam().await);
    let case = opens_case(&mut ana).await;
    let second = json!({"user_id": ben.user_id(), "role": "secondary", "reason": "they work together"});
    sam.post(&format!("/cases/{case}/assignments"), second).await.ok();
    let note = ana.creates("notes", json!({"case_id": case, "body": "for few", "kind": "Restricted"}));
    let plain = ana.creates("notes", json!({"case_id": case, "body": "for all"}));
    ana.syncs().await;
    ben.get(&format!("/notes/{note}")).await.refused(404);
    ben.get(&format!("/notes/{plain}")).await.ok();
    sam.get(&format!("/notes/{note}")).await.ok();
    let set = json!({"case_id": case, "body": "for few", "kind": {"to": "secret"}});
    mutates(&ana.person, json!([mutation("mutation-0001", "create", "notes", "note-of-a-new-app", set)])).await;
    ben.get("/notes/note-of-a-new-app").await.refused(404);
    ana.person.get("/notes/note-of-a-new-app").await.ok();
    // Nothing is no word, in any face.
    for (at, (column, part2)) in [("kind", true), ("visibility", true), ("kind", false)].into_iter().enumerate() {
        let (id, row) = (format!("mutation-100{at}"), format!("note-without-a-word-{at}"));
        let set = json!({"case_id": case, "body": "about treatment", column: {"to": ""}, "part2": {"to": part2}});
        mutates(&ana.person, json!([mutation(&id, "create", "notes", &row, set)])).await;
        assert_ne!(ana.person.get(&format!("/notes/{row}")).await.ok()[column], json!(""));
        assert_eq!(ben.get(&format!("/notes/{row}")).await.status, if part2 { 404 } else { 200 }, "{column}");
    }
}

async fn what_the_holder_took_out_does_not_come_back_with_kept_work(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let ben = world.ben().await;
    let case = opens_case(&mut ana).await;
    ana.edits("cases", &case, json!({"difficulty_tags": r#"["trauma", "unemployment"]"#}));
    ana.syncs().await;
    ana.pulls().await;
    hands_over(&world, &case, "ben@demo.example").await;
    ben.patch(&format!("/cases/{case}"), json!({"difficulty_tags": ["unemployment"]})).await.ok();
    ana.edits("cases", &case, json!({"difficulty_tags": r#"["trauma", "unemployment", "substance_use"]"#}));
    ana.pushes().await.expect("an edit").ok();
    let issue = issues(&ben, &case).await.pop().expect("told");
    ben.post(&format!("/sync_issues/{}/accept", text(&issue["id"])), json!({"reason": "she knew"})).await.ok();
    let tags = ben.get(&format!("/cases/{case}")).await.ok()["difficulty_tags"].clone();
    assert_eq!(tags, json!(["unemployment", "substance_use"]));
}

async fn a_withdrawal_is_not_taken_back_by_an_edit_made_before_it(world: World) {
    let (org, pat) = harbor(&world).await;
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    ana.post(&format!("/referrals/{id}/request"), json!({})).await.ok();
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let consent = |until: &str| json!({"by": "client", "on": "2027-03-01", "how": "signed", "until": until});
    let mut gone = consent("2027-09-01");
    gone["withdrawn"] = json!("2027-03-01");
    phone.edits("referrals", &id, json!({"client_consent": consent("2027-12-01").to_string()}));
    ana.patch(&format!("/referrals/{id}"), json!({"client_consent": gone})).await.ok();
    // The app keeps its own column over what it pulls, and pushes it.
    phone.syncs().await;
    phone.pulls().await;
    assert_eq!(ana.get(&format!("/referrals/{id}")).await.ok()["client_consent"], gone);
    // Nor by way of nothing.
    for sent in [Value::Null, consent("2027-12-01").to_string().into()] {
        let row = json!({"id": id, "client_consent": sent, "_status": "updated", "_changed": "client_consent"});
        phone.sends(&json!({"referrals": {"created": [], "updated": [row], "deleted": []}})).await.ok();
        phone.pulls().await;
    }
    assert_eq!(ana.get(&format!("/referrals/{id}")).await.ok()["client_consent"], gone);
    assert!(
        phone.column("referrals", &id, "client_consent").to_string().contains("withdrawn"),
        "the phone hears of it"
    );
    assert!(!issues(&ana, &id).await.is_empty(), "and its user");
    assert!(!pat.get(&format!("/referrals/{id}")).await.text.contains("secret-reason"));
    // Nor online: when the client agrees again, that is another referral.
    let mut again = json!({"client_consent": consent("2027-12-01")});
    again["client_consent"]["withdrawn"] = Value::Null;
    let problem = ana.patch(&format!("/referrals/{id}"), again).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "withdrawn");
}

async fn who_reads_kept_work_leaves_a_trail(world: World) {
    let mut ana = Phone::of(&world.ana().await);
    let (ben, sam) = (world.ben().await, world.sam().await);
    let case = opens_case(&mut ana).await;
    let note = ana.creates("notes", json!({"case_id": case, "body": "for few", "kind": "restricted"}));
    ana.syncs().await;
    hands_over(&world, &case, "ben@demo.example").await;
    let fresh = ana.creates("notes", json!({"case_id": case, "body": "for few, too", "kind": "restricted"}));
    ana.pushes().await.expect("a note").ok();
    let events = async |action: &str| {
        let text = "select count(*) from audit_event where action = $1";
        let row = entities::sql::one(world.store.connection(), text, vec![action.into()]).await.expect("an answer");
        row.expect("a row").try_get_by_index::<i64>(0).expect("a number")
    };
    let before = events("read_restricted").await;
    sam.get(&format!("/notes/{note}/history")).await.ok();
    sam.get(&work(&issues(&sam, &fresh).await.pop().expect("told"))).await.ok();
    assert_eq!(events("read_restricted").await, before + 2);
    let before = events("denied").await;
    ben.get(&format!("/notes/{note}/history")).await.refused(404);
    ben.post(&format!("/notes/{note}/restore"), json!({"seq": 1})).await.refused(404);
    ben.get("/sync_issues/issue-of-nobody/work").await.refused(404);
    for verb in ["accept", "discard"] {
        ben.post(&format!("/sync_issues/issue-of-nobody/{verb}"), json!({"reason": "x"})).await.refused(404);
    }
    assert_eq!(events("denied").await, before + 5);
    // And what is wrong with a question tells nothing of a case that is out of sight.
    let odd = json!({"to": "active", "user_id": 5});
    let cleo = world.cleo().await;
    let mut foreign = Phone::of(&cleo);
    let theirs = opens_case(&mut foreign).await;
    world.sol().await.post(&format!("/cases/{theirs}/status"), json!({"to": "closed", "reason": "x"})).await;
    for case in [theirs.as_str(), "case-of-nobody-here"] {
        sam.post(&format!("/cases/{case}/status"), odd.clone()).await.refused(404);
    }
}

async fn what_a_partner_reads_is_made_no_more_by_a_push(world: World) {
    let (org, pat) = harbor(&world).await;
    let ana = world.ana().await;
    let case = opens_a_case(&ana).await;
    let id = text(&ana.post("/referrals", ready(&case, &org)).await.ok()["id"]);
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    ana.post(&format!("/referrals/{id}/request"), json!({})).await.ok();
    phone.edits("referrals", &id, json!({"packet_fields": r#"["reason"]"#, "priority": "urgent"}));
    phone.syncs().await;
    phone.pulls().await;
    let stored = ana.get(&format!("/referrals/{id}")).await.ok();
    assert_eq!((&stored["packet_fields"], &stored["priority"]), (&json!([]), &json!("urgent")));
    assert_eq!(phone.column("referrals", &id, "packet_fields"), json!("[]"), "the phone hears of it");
    assert!(!issues(&ana, &id).await.is_empty(), "and its user");
    let more =
        mutation("m-more-00001", "update", "referrals", &id, json!({"packet_fields": {"from": [], "to": ["reason"]}}));
    let told = mutates(&ana, json!([more])).await;
    assert_ne!(told[0]["status"], "applied", "{told:?}");
    assert!(!pat.get(&format!("/referrals/{id}")).await.text.contains("secret-reason"));
}
