//! What no phone should send, through each of the three faces: it is answered as docs/sync.md says, tells nothing,
//! changes nothing that it should not, and leaves the phone able to go on. (Children that come before their parents
//! are tried beside each face.)

use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};

use super::rules::{goal, opens_case};
use super::rxdb::Collection;
use crate::support::{Answer, Person, Phone, World, on_both};

on_both!(
    numbers_that_are_no_cursors_are_malformed_or_bring_everything,
    six_thousand_rows_are_refused_whole,
    rows_that_cannot_be_stored_count_like_those_that_can,
    a_gzip_bomb_is_refused,
    equal_keys_are_refused,
    names_that_mean_something_elsewhere_mean_nothing_here,
    an_id_of_somebody_else_tells_no_more_than_one_that_is_free,
    an_id_that_another_table_uses_is_free,
    a_number_that_no_reader_can_hold_becomes_nothing,
    a_rating_without_a_day_is_kept_apart_and_keeps_nothing_back,
    a_token_that_expires_in_mid_paging_costs_no_row,
    the_same_push_twice_at_once_has_one_effect,
    any_text_comes_back_as_it_was_sent,
    what_is_no_row_at_all_is_told,
);

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Watermelon,
    Native,
    Rxdb,
}

const FACES: [Face; 3] = [Face::Watermelon, Face::Native, Face::Rxdb];

impl Face {
    fn path(self, table: &str) -> String {
        match self {
            Face::Watermelon => format!("/sync?last_pulled_at={}", i64::MAX / 4096),
            Face::Native => "/sync/push".into(),
            Face::Rxdb => format!("/sync/rxdb/{table}/push"),
        }
    }

    /// A body with these new rows of one table.
    fn creates(self, table: &str, rows: &[Value]) -> Value {
        match self {
            Face::Watermelon => json!({table: {"created": rows, "updated": [], "deleted": []}}),
            Face::Native => {
                let mutations: Vec<Value> = rows.iter().map(|row| mutation("create", table, row)).collect();
                json!({"mutations": mutations})
            }
            Face::Rxdb => rows.iter().map(|row| json!({"newDocumentState": row})).collect(),
        }
    }

    /// A body with one edited row.
    fn updates(self, table: &str, row: &Value) -> Value {
        match self {
            Face::Watermelon => json!({table: {"created": [], "updated": [row], "deleted": []}}),
            Face::Native => json!({"mutations": [mutation("update", table, row)]}),
            Face::Rxdb => {
                json!([{"assumedMasterState": {"id": row["id"], "_deleted": false}, "newDocumentState": row}])
            }
        }
    }

    fn deletes(self, table: &str, id: &str) -> Value {
        match self {
            Face::Watermelon => json!({table: {"created": [], "updated": [], "deleted": [id]}}),
            Face::Native => json!({"mutations": [mutation("delete", table, &json!({"id": id}))]}),
            Face::Rxdb => json!([{"newDocumentState": {"id": id, "_deleted": true}}]),
        }
    }

    async fn sends(self, person: &Person, table: &str, body: &Value) -> Answer {
        let request = person.request(Method::POST, &self.path(table)).body(body.to_string());
        person.send(&format!("{self:?}"), request).await
    }

    async fn sends_text(self, person: &Person, table: &str, body: String) -> Answer {
        person.send(&format!("{self:?}"), person.request(Method::POST, &self.path(table)).body(body)).await
    }
}

fn mutation(op: &str, table: &str, row: &Value) -> Value {
    let table_letters: String = table.chars().filter(char::is_ascii_alphanumeric).collect();
    let id = format!("{op}-{table_letters}-{}", row["id"].as_str().unwrap_or_default());
    let mut set = row.clone();
    set.as_object_mut().expect("a row").remove("id");
    json!({"id": id, "op": op, "table": table, "row_id": row["id"], "set": set})
}

/// A new goal of a case under an id of one's own.
fn named(case: &str, id: &str) -> Value {
    let mut row = goal(case, &format!("A goal called {id}"));
    row["id"] = json!(id);
    row
}

/// Ids of a table as each face tells them to a device that begins.
async fn ids(person: &Person, table: &'static str) -> BTreeSet<String> {
    let fresh = person.on_another_device();
    fresh.logs_in().await;
    let mut phone = Phone::of(&fresh);
    phone.pulls().await;
    let watermelon = phone.ids(table);
    let page = fresh.get("/sync/pull?limit=2000").await.ok();
    let changes = page["changes"].as_array().expect("changes").iter();
    let id = |value: &Value| value["id"].as_str().map(str::to_owned);
    let native: BTreeSet<String> = changes.filter(|change| change["table"] == table).filter_map(id).collect();
    let rxdb: BTreeSet<String> = Collection::of(&fresh, table).pulls(7).await.iter().filter_map(id).collect();
    assert_eq!((&watermelon, &watermelon), (&native, &rxdb), "three faces of one feed");
    watermelon
}

async fn a_case(world: &World) -> (Person, String) {
    let ana = world.ana().await;
    let case = opens_case(&mut Phone::of(&ana)).await;
    world.pass_secs(1);
    (ana, case)
}

async fn numbers_that_are_no_cursors_are_malformed_or_bring_everything(world: World) {
    let (ana, case) = a_case(&world).await;
    for wrong in ["-1", "1.5", "1e12", "yesterday", "99999999999999999999", "%00", "null%20", "{}"] {
        ana.get(&format!("/sync?last_pulled_at={wrong}")).await.refused(400);
        ana.get(&format!("/sync/pull?cursor={wrong}")).await.refused(400);
        let page = ana.get(&format!("/sync/rxdb/cases/pull?cursor={wrong}")).await.ok();
        assert_eq!(page["documents"][0]["id"], json!(case), "{wrong}");
    }
    // A number from the future belongs to no timeline of ours, and so does another agency's from before this one.
    for future in [i64::MAX, 1 << 52] {
        let page = ana.get(&format!("/sync?last_pulled_at={future}")).await.ok();
        assert_eq!(page["changes"]["cases"]["updated"][0]["id"], json!(case));
        assert!(page["timestamp"].as_i64().is_some_and(|at| at < 1 << 52));
    }
    let omar = world.omar().await;
    let mut theirs = Phone::of(&omar);
    theirs.pulls().await;
    let page = ana.get(&format!("/sync?last_pulled_at={}", theirs.cursor.expect("pulled"))).await.ok();
    assert!(!page.to_string().contains(&omar.user_id()));
    let native = omar.get("/sync/pull").await.ok()["next_cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(ana.get(&format!("/sync/pull?cursor={native}")).await.refused(409)["code"], "cursor_user_mismatch");
    let mut cases = Collection::of(&omar, "staff");
    cases.pulls(100).await;
    let page = Collection { cursor: cases.cursor, ..Collection::of(&ana, "staff") }.page(100).await;
    assert_eq!(page["replace"], json!(true));
    assert!(!page.to_string().contains(&omar.user_id()));
}

async fn a_rating_without_a_day_is_kept_apart_and_keeps_nothing_back(world: World) {
    let (ana, case) = a_case(&world).await;
    let path = Face::Rxdb.path("goals");
    ana.post(&path, Face::Rxdb.creates("goals", &[named(&case, "goal-00000001")])).await.ok();
    let rating = |id: String, day: &Value| {
        let mut row = json!({"id": id, "case_id": case, "goal_id": "goal-00000001", "level": 0, "rater": "joint"});
        if *day != json!("left out") {
            row["rated_on"] = day.clone();
        }
        row
    };
    let strange =
        [json!("left out"), Value::Null, json!(""), json!(5), json!("2027-02-30"), json!("2027-01-01T00:00Z")];
    for face in FACES {
        let name = format!("{face:?}").to_lowercase();
        let mut rows: Vec<Value> =
            strange.iter().enumerate().map(|(at, day)| rating(format!("{name}-{at:08}"), day)).collect();
        rows.push(rating(format!("{name}-whole"), &json!("2027-01-01")));
        face.sends(&ana, "goal_ratings", &face.creates("goal_ratings", &rows)).await.ok();
        ana.post("/sync/salvage", Face::Watermelon.creates("goal_ratings", &rows)).await.ok();
    }
    assert_eq!(ids(&ana, "goal_ratings").await, FACES.map(|face| format!("{face:?}-whole").to_lowercase()).into());
    for issue in ids(&ana, "sync_issues").await {
        ana.get(&format!("/sync_issues/{issue}/work")).await.ok();
    }
}

async fn six_thousand_rows_are_refused_whole(world: World) {
    let (ana, case) = a_case(&world).await;
    let rows: Vec<Value> = (0..6000).map(|at| named(&case, &format!("goal-{at:08}"))).collect();
    for face in FACES {
        let problem = face.sends(&ana, "goals", &face.creates("goals", &rows)).await.refused(413);
        assert_eq!((&problem["code"], &problem["max_rows"]), (&json!("too_large"), &json!(5000)), "{face:?}");
    }
    for path in ["/sync/quarantine", "/sync/salvage"] {
        let body = Face::Watermelon.creates("goals", &rows);
        assert_eq!(ana.post(path, body).await.refused(413)["max_rows"], json!(5000), "{path}");
    }
    assert!(ids(&ana, "goals").await.is_empty());
}

/// Each of them would be told to its author, under the lock that the whole agency waits for.
async fn rows_that_cannot_be_stored_count_like_those_that_can(world: World) {
    let (ana, case) = a_case(&world).await;
    let mut rows: Vec<Value> = (0..3000).map(|at| named(&case, &format!("goal-{at:08}"))).collect();
    rows.extend((0..3000).map(|at| named(&case, &format!("x{at}"))));
    for face in FACES {
        let problem = face.sends(&ana, "goals", &face.creates("goals", &rows)).await.refused(413);
        assert_eq!((&problem["code"], &problem["max_rows"]), (&json!("too_large"), &json!(5000)), "{face:?}");
    }
    let (fit, unfit) = rows.split_at(3000);
    let deleted: Vec<&Value> = unfit.iter().map(|row| &row["id"]).collect();
    let changes = Face::Watermelon.creates("goals", &rows);
    let with_deleted = json!({"goals": {"created": fit, "updated": [], "deleted": deleted}});
    for body in [&changes, &with_deleted] {
        for path in [&Face::Watermelon.path("goals"), "/sync/quarantine", "/sync/salvage"] {
            assert_eq!(ana.post(path, body.clone()).await.refused(413)["max_rows"], json!(5000), "{path}");
        }
    }
    assert!(ids(&ana, "goals").await.is_empty());
    assert!(ids(&ana, "sync_issues").await.is_empty(), "nothing is told of what was refused whole");
    ana.post(&format!("/devices/{}/revoke", ana.device_id), json!({})).await;
    let refresh = ana.session()["refresh_token"].as_str().expect("a token").to_owned();
    let request = world.stranger().request(Method::POST, "/sync/farewell").bearer_auth(refresh);
    let answer = ana.send("farewell", request.body(changes.to_string())).await;
    assert_eq!(answer.refused(413)["max_rows"], json!(5000));
}

async fn a_gzip_bomb_is_refused(world: World) {
    let (ana, _) = a_case(&world).await;
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..200 {
        packer.write_all(&zeros).expect("memory");
    }
    let bomb = packer.finish().expect("memory");
    let paths =
        FACES.map(|face| face.path("goals")).into_iter().chain(["/sync/quarantine", "/sync/salvage"].map(Into::into));
    for path in paths {
        let request = ana.request(Method::POST, &path).header("content-encoding", "gzip").body(bomb.clone());
        let problem = ana.send("a bomb", request).await.refused(413);
        assert_eq!(problem["max_bytes"], json!(16 << 20), "{path}");
    }
    assert_eq!(ids(&ana, "cases").await.len(), 1, "and it goes on");
}

async fn equal_keys_are_refused(world: World) {
    let (ana, case) = a_case(&world).await;
    for face in FACES {
        let body = face.creates("goals", &[named(&case, "goal-00000001")]).to_string();
        let doubled = body.replacen("\"statement\":", "\"statement\":\"one reader sees this\",\"statement\":", 1);
        assert_ne!(body, doubled);
        let problem = face.sends_text(&ana, "goals", doubled).await.refused(400);
        assert_eq!(problem["code"], "malformed", "{face:?}");
        face.sends_text(&ana, "goals", body[1..].to_owned()).await.refused(400);
        face.sends_text(&ana, "goals", "[".repeat(200)).await.refused(400);
    }
    assert!(ids(&ana, "goals").await.is_empty());
}

async fn names_that_mean_something_elsewhere_mean_nothing_here(world: World) {
    let (ana, case) = a_case(&world).await;
    for (at, face) in FACES.into_iter().enumerate() {
        let id = format!("goal-0000000{at}");
        let mut row = named(&case, &id);
        for (name, value) in [
            ("__proto__", json!({"polluted": true})),
            ("constructor", json!("x")),
            ("agency_id", json!(world.hillside)),
            ("seq", json!(1)),
            ("edit_seq", json!(1)),
            ("deleted_at", json!(1)),
            ("created_by", json!("somebody-else")),
            ("statement; drop table goals", json!("x")),
        ] {
            row[name] = value;
        }
        face.sends(&ana, "goals", &face.creates("goals", &[row])).await.ok();
        let stored = ana.get(&format!("/goals/{id}")).await.ok();
        assert_eq!(stored["created_by"], json!(ana.user_id()), "{face:?}");
        for name in ["__proto__", "constructor", "agency_id", "deleted_at", "polluted"] {
            assert!(stored.get(name).is_none(), "{face:?}: {name}");
        }
        for table in ["spaceships", "users", "sync_clock", "__proto__", "goals; drop table goals"] {
            let answer = face.sends(&ana, table, &face.creates(table, &[named(&case, "goal-00000009")])).await;
            let expected = if face == Face::Rxdb { 404 } else { 200 };
            assert_eq!(answer.status, expected, "{face:?}: {table}: {}", answer.text);
        }
    }
    assert_eq!(ids(&ana, "goals").await.len(), 3);
    assert!(ids(&world.omar().await, "goals").await.is_empty());
}

/// The text without the ids that were asked for.
fn without(text: &str, id: &str) -> String {
    let text = text.replace(id, "ID");
    // An issue's id is made from the row's.
    match text.split_once("\"issue_id\":\"") {
        Some((before, rest)) => format!("{before}{}", rest.split_once('"').map_or("", |(_, after)| after)),
        None => text,
    }
}

/// What a person is told in issues about a row, without what differs from row to row.
async fn told(person: &Person, id: &str) -> Vec<(String, String)> {
    let fresh = person.on_another_device();
    fresh.logs_in().await;
    let issues = Collection::of(&fresh, "sync_issues").pulls(100).await;
    let about = issues.iter().filter(|issue| issue["about_id"] == id);
    about.map(|issue| (issue["kind"].to_string(), without(&issue["message"].to_string(), id))).collect()
}

async fn an_id_of_somebody_else_tells_no_more_than_one_that_is_free(world: World) {
    let (ana, case) = a_case(&world).await;
    let omar = world.omar().await;
    let own = opens_case(&mut Phone::of(&omar)).await;
    let cleo = world.cleo().await;
    let rows: Vec<Value> = (0..6).map(|at| named(&case, &format!("taken-000{at}"))).collect();
    Face::Native.sends(&ana, "goals", &Face::Native.creates("goals", &rows)).await.ok();
    let before = ana.get("/goals?limit=50").await.ok();
    // Another agency's, and a colleague's of another team.
    for (round, stranger) in [omar.clone(), cleo].into_iter().enumerate() {
        for (at, face) in FACES.into_iter().enumerate() {
            let (taken, free) = (format!("taken-000{}", at + 3 * round), format!("free--000{}", at + 3 * round));
            let mut answers = Vec::new();
            for id in [&taken, &free] {
                let edit = face.updates("goals", &json!({"id": id, "unit": "guesses", "_changed": "unit"}));
                let mut said = vec![
                    face.sends(&stranger, "goals", &edit).await.text,
                    face.sends(&stranger, "goals", &face.deletes("goals", id)).await.text,
                ];
                if face == Face::Native {
                    let mut action = mutation("action", "goals", &json!({"id": id}));
                    action["verb"] = json!("propose");
                    said.push(face.sends(&stranger, "goals", &json!({"mutations": [action]})).await.text);
                }
                let repair = json!({"rows": [{"table": "goals", "id": id}]});
                said.push(stranger.post("/sync/repair", repair).await.text);
                for path in
                    [format!("/goals/{id}"), format!("/goals/{id}/history"), format!("/sync/digest?case_id={id}")]
                {
                    let answer = stranger.get(&path).await;
                    said.push(format!("{} {}", answer.status, answer.json()["code"]));
                }
                let said: Vec<String> = said.iter().map(|text| without(text, id)).collect();
                answers.push((said, told(&stranger, id).await));
            }
            assert_eq!(answers[0], answers[1], "{face:?}");
        }
        assert!(ids(&stranger, "goals").await.is_empty());
    }
    // Nor does one of a row that only the server makes.
    let mut anas = Phone::of(&ana);
    anas.pulls().await;
    let assignment = anas.ids("case_assignments").into_iter().next().expect("one");
    let mut answers = Vec::new();
    for id in [assignment.as_str(), "free--0099"] {
        let edit = Face::Native.updates("case_assignments", &json!({"id": id, "role": "primary", "_changed": "role"}));
        let said = Face::Native.sends(&omar, "case_assignments", &edit).await.text;
        answers.push((without(&said, id), told(&omar, id).await));
    }
    assert_eq!(answers[0], answers[1]);
    // Making a row under an id that is taken is no plain creation: it is kept, and nothing of the other row comes back.
    for (at, face) in FACES.into_iter().enumerate() {
        let answer =
            face.sends(&omar, "goals", &face.creates("goals", &[named(&own, &format!("taken-000{at}"))])).await;
        let text = answer.text.clone();
        answer.ok();
        assert!(!text.contains(&case) && !text.contains(&ana.user_id()), "{face:?}: {text}");
    }
    assert!(ids(&omar, "goals").await.is_empty());
    assert_eq!(ana.get("/goals?limit=50").await.ok(), before, "nothing of Ana's has changed");
}

async fn an_id_that_another_table_uses_is_free(world: World) {
    let (ana, case) = a_case(&world).await;
    for (at, face) in FACES.into_iter().enumerate() {
        let id = format!("shared-0{at}");
        face.sends(&ana, "goals", &face.creates("goals", &[named(&case, &id)])).await.ok();
        let note = json!({"id": id, "case_id": case, "body": "under the same id", "kind": "progress"});
        face.sends(&ana, "notes", &face.creates("notes", &[note])).await.ok();
    }
    assert_eq!(ids(&ana, "goals").await, ids(&ana, "notes").await);
    assert_eq!(ids(&ana, "goals").await.len(), 3);
    // Of one table the same id twice in one body is one row, as it was said last.
    for (at, face) in FACES.into_iter().enumerate() {
        let id = format!("twice-00{at}");
        let mut last = named(&case, &id);
        last["measure"] = json!("said last");
        let body = match face {
            Face::Native => {
                let mut second = mutation("update", "goals", &json!({"id": id, "measure": "said last"}));
                second["id"] = json!(format!("second-{id}"));
                json!({"mutations": [mutation("create", "goals", &named(&case, &id)), second]})
            }
            _ => face.creates("goals", &[named(&case, &id), last]),
        };
        face.sends(&ana, "goals", &body).await.ok();
        assert_eq!(ana.get(&format!("/goals/{id}")).await.ok()["measure"], json!("said last"), "{face:?}");
    }
    assert_eq!(ids(&ana, "goals").await.len(), 6);
}

async fn a_number_that_no_reader_can_hold_becomes_nothing(world: World) {
    let (ana, case) = a_case(&world).await;
    for (at, face) in FACES.into_iter().enumerate() {
        let mut row = named(&case, &format!("goal-0000000{at}"));
        row["target_value"] = json!(12345.5);
        row["due_on"] = json!("2027-13-45");
        row["confidence"] = json!(9_223_372_036_854_775_807_u64);
        let body = face.creates("goals", &[row]).to_string().replace("12345.5", "1e400");
        face.sends_text(&ana, "goals", body).await.ok();
        let stored = ana.get(&format!("/goals/goal-0000000{at}")).await.ok();
        for column in ["target_value", "due_on", "confidence"] {
            assert_eq!(stored[column], Value::Null, "{face:?}: {column}");
        }
        let kinds = told(&ana, &format!("goal-0000000{at}")).await;
        assert!(kinds.iter().any(|(kind, _)| kind == "\"cleaned\""), "{face:?}: {kinds:?}");
    }
}

async fn a_token_that_expires_in_mid_paging_costs_no_row(world: World) {
    let (ana, case) = a_case(&world).await;
    let rows: Vec<Value> = (0..9).map(|at| named(&case, &format!("goal-0000000{at}"))).collect();
    for row in &rows {
        Face::Native.sends(&ana, "goals", &Face::Native.creates("goals", std::slice::from_ref(row))).await.ok();
        world.pass_secs(1);
    }
    for face in FACES {
        ana.logs_in().await;
        let (mut cursor, mut seen, mut refusals) = (String::new(), Vec::new(), 0);
        for _ in 0..50 {
            let path = match face {
                Face::Watermelon => format!("/sync?last_pulled_at={cursor}&limit=2"),
                Face::Native => format!("/sync/pull?cursor={cursor}&limit=2"),
                Face::Rxdb => format!("/sync/rxdb/goals/pull?cursor={cursor}&limit=2"),
            };
            // Asked with a token that has run out: the same question has the same answer after a refresh.
            world.pass_secs(660);
            let stale = Answer::of(path.clone(), ana.request(Method::GET, &path).send().await).await;
            assert_eq!(stale.refused(401)["code"], json!("token_expired"));
            refusals += 1;
            ana.logs_in().await;
            let page = ana.get(&path).await.ok();
            let (found, next) = match face {
                Face::Watermelon => (page["changes"]["goals"]["updated"].clone(), page["timestamp"].to_string()),
                Face::Native => (page["changes"].clone(), text(&page["next_cursor"])),
                Face::Rxdb => (page["documents"].clone(), text(&page["checkpoint"]["cursor"])),
            };
            let found = found.as_array().expect("rows").clone();
            let found = found.iter().filter(|row| row.get("table").is_none_or(|table| table == "goals"));
            seen.extend(found.map(|row| text(&row["id"])));
            cursor = next;
            if page["has_more"] == json!(false) {
                break;
            }
        }
        seen.sort();
        let expected: Vec<String> = rows.iter().map(|row| text(&row["id"])).collect();
        assert_eq!(seen, expected, "{face:?}: each row once");
        assert!(refusals > 3);
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

async fn the_same_push_twice_at_once_has_one_effect(world: World) {
    let (ana, case) = a_case(&world).await;
    for (at, face) in FACES.into_iter().enumerate() {
        let id = format!("goal-0000000{at}");
        let body = face.creates("goals", &[named(&case, &id)]);
        let sent = || face.sends(&ana, "goals", &body);
        let answers = tokio::join!(sent(), sent(), ana.get("/sync"), sent(), ana.get("/sync/pull"), sent());
        let texts = [answers.0, answers.1, answers.3, answers.5].map(|answer| answer.ok().to_string());
        assert!(texts.iter().all(|text| *text == texts[0]), "{face:?}: {texts:?}");
        let history = ana.get(&format!("/goals/{id}/history")).await.ok();
        assert_eq!(history["items"], json!([]), "{face:?}: stored once and never changed");
        assert_eq!(told(&ana, &id).await, Vec::new(), "{face:?}");
    }
    assert_eq!(ids(&ana, "goals").await.len(), 3);
}

/// Alone and among others: how rows are handed to the database is nobody's business.
async fn any_text_comes_back_as_it_was_sent(world: World) {
    let mut phone = Phone::of(&world.ana().await);
    let case = opens_case(&mut phone).await;
    let texts = [
        "a\u{1f}b",
        "\u{1f}",
        "\u{1d}0",
        "\u{1e}1\u{1f}",
        "\u{1e}1",
        "1\u{1f}",
        "{\"a\",NULL}",
        "NULL",
        "\\N",
        "",
        " ",
        "'; drop table notes; --",
        "a,b\nc\td\"e\\f",
        "\u{1d}1\u{1e}2\u{1f}",
        "𝄞 ñ \u{2028}",
    ];
    for rows in [1, 2, texts.len(), texts.len()] {
        let sent: Vec<(String, &str, Option<&str>)> = texts
            .iter()
            .cycle()
            .zip(0..rows.max(texts.len()))
            .map(|(text, at)| {
                let words = (at % 3 > 0).then_some(*text);
                let note =
                    json!({"case_id": case, "kind": "progress", "body": format!("x{text}"), "client_words": words});
                (phone.creates("notes", note), *text, words)
            })
            .collect();
        // So many to a push.
        let all = phone.outgoing()["notes"]["created"].as_array().expect("a list").clone();
        for part in all.chunks(rows) {
            phone.sends(&json!({"notes": {"created": part, "updated": [], "deleted": []}})).await.ok();
        }
        phone.marks_as_synced(&json!({}));
        let mut other = Phone::of(&phone.person);
        other.pulls().await;
        for (id, text, words) in sent {
            assert_eq!(other.column("notes", &id, "body"), json!(format!("x{text}")), "{rows} at once");
            let stored = other.column("notes", &id, "client_words");
            // An empty text is nothing to WatermelonDB.
            assert_eq!(stored.as_str().unwrap_or_default(), words.unwrap_or_default(), "{rows} at once");
        }
        phone.pulls().await;
    }
}

async fn what_is_no_row_at_all_is_told(world: World) {
    let (ana, _) = a_case(&world).await;
    let body = json!({"notes": {"created": ["text of a note", null], "updated": [["x"]], "deleted": [7]}});
    ana.post(&Face::Watermelon.path("notes"), body.clone()).await.ok();
    ana.post("/sync/quarantine", body).await.ok();
    let issues = ana.get("/sync_issues?limit=200").await.ok();
    let mut told: Vec<&Value> =
        issues["items"].as_array().expect("a list").iter().map(|told| &told["detail"]["row"]).collect();
    told.sort_by_key(|row| row.to_string());
    assert_eq!(told, [&json!("text of a note"), &json!(["x"])]);
}
