//! The WatermelonDB face.

use entities::sync::purge;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Stand, Vector, offers};
use crate::support::{Answer, Phone, on_both};
use crate::sync::restored::{restores, takes_a_backup};
use crate::sync::rules::{goal, hands_over};

on_both!(
    first_sync,
    delta,
    paging,
    deleted_row,
    created_and_edited_rows,
    conflict_and_retry,
    ignored_move,
    held_deletes,
    rescue_upload,
    lost_answer,
    restored_server,
    cursor_too_old,
    schema_too_old,
    token_expired,
    device_wiped,
    poke,
);

const CASE: &str = "case-of-the-vectors";

fn vector(name: &'static str, says: &'static str) -> Vector {
    Vector::new("watermelondb", name, says)
}

/// What the phone holds besides the directory, and what it has not sent.
fn state(phone: &Phone) -> Value {
    let mut rows = Map::new();
    for (table, held) in phone.everything() {
        if !["staff", "organizations"].contains(&table.as_str()) {
            rows.insert(table, held.into_keys().collect());
        }
    }
    let outgoing = phone.outgoing();
    let unsent = outgoing.as_object().into_iter().flatten().flat_map(|(table, changes)| {
        let made = ["created", "updated"].into_iter().flat_map(|part| changes[part].as_array().into_iter().flatten());
        let made = made.filter_map(|row| row["id"].as_str());
        let deleted = changes["deleted"].as_array().into_iter().flatten().filter_map(Value::as_str);
        made.chain(deleted).map(|id| format!("{table}/{id}")).collect::<Vec<_>>()
    });
    let unsent: Vec<String> = unsent.collect();
    json!({"last_pulled_at": phone.cursor, "epoch": phone.epoch, "holds": rows, "unsent": unsent})
}

async fn tries(vector: &mut Vector, stand: &Stand, phone: &Phone, more: &str) -> Answer {
    let cursor = phone.cursor.map_or("null".to_owned(), |at| at.to_string());
    let epoch = phone.epoch.map(|epoch| format!("&epoch={epoch}")).unwrap_or_default();
    let pending = if phone.has_unsynced_changes() { "&pending=1" } else { "" };
    let version = phone.schema_version;
    let path = format!("/sync?last_pulled_at={cursor}&schema_version={version}&migration=null{pending}{more}{epoch}");
    vector.asks(stand, &phone.person, Method::GET, &path, None).await
}

async fn asks(vector: &mut Vector, stand: &Stand, phone: &Phone, more: &str) -> Value {
    tries(vector, stand, phone, more).await.ok()
}

/// A pull that is applied as it comes.
async fn pulls(vector: &mut Vector, stand: &Stand, phone: &mut Phone, more: &str) -> Value {
    let page = asks(vector, stand, phone, more).await;
    phone.applies(&page);
    vector.client(&["apply", "keep timestamp"], state(phone));
    page
}

async fn pushes(vector: &mut Vector, stand: &Stand, phone: &mut Phone, more: &str) -> u16 {
    let (cursor, epoch) = (phone.cursor.expect("pulled"), phone.epoch.expect("with an epoch"));
    let path = format!("/sync?last_pulled_at={cursor}&schema_version=1&epoch={epoch}{more}");
    let body = phone.outgoing();
    let answer = vector.asks(stand, &phone.person, Method::POST, &path, Some(&body)).await;
    if answer.status == 200 {
        phone.marks_as_synced(&answer.json());
        vector.client(&["mark as synced what was sent and not edited since"], state(phone));
    }
    answer.status
}

/// Ana's phone with a case, and what a note and a goal of it are called.
async fn anas(stand: &Stand) -> Phone {
    let mut phone = Phone::of(&stand.person("ana", "phone-0001").await);
    phone.pulls().await;
    phone.creates("cases", json!({"id": CASE, "unit": "individual", "summary": "First steps"}));
    phone.creates("goals", with_id("goal-0001", goal(CASE, "Walk to the market")));
    phone.creates("notes", note("note-0001", "At the kitchen table"));
    phone.syncs().await;
    stand.0.pass_secs(60);
    phone.syncs().await;
    phone
}

async fn another(stand: &Stand) -> Phone {
    let mut phone = Phone::of(&stand.person("ana", "tablet-0001").await);
    phone.syncs().await;
    phone
}

fn with_id(id: &str, mut row: Value) -> Value {
    row["id"] = json!(id);
    row
}

fn note(id: &str, body: &str) -> Value {
    json!({"id": id, "case_id": CASE, "body": body, "kind": "progress", "visibility": "team", "status": "draft"})
}

async fn first_sync(stand: Stand) {
    let ana = anas(&stand).await.person;
    let mut v = vector(
        "first_sync",
        "A first sync brings everything the user may see, as updated; created and deleted are empty.",
    );
    pulls(&mut v, &stand, &mut Phone::of(&ana), "").await;
    v.holds();
}

async fn delta(stand: Stand) {
    let (mut phone, mut tablet) = (anas(&stand).await, another(&stand).await);
    tablet.edits("goals", "goal-0001", json!({"measure": "twice a week"}));
    tablet.syncs().await;
    let mut v = vector("delta", "A pull brings what changed since last_pulled_at; without news all lists are empty.");
    v.meanwhile("Ana edits goal-0001 on her tablet.");
    pulls(&mut v, &stand, &mut phone, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    v.holds();
}

async fn paging(stand: Stand) {
    let ana = anas(&stand).await.person;
    let mut v =
        vector("paging", "With limit a page ends on a whole commit. Pull alone while has_more, then pull and push.");
    let mut fresh = Phone::of(&ana);
    loop {
        let page = asks(&mut v, &stand, &fresh, "&limit=3").await;
        fresh.applies(&page);
        let more = page["has_more"] == json!(true);
        v.client(&["apply", "keep timestamp", if more { "pull again, do not push" } else { "go on" }], state(&fresh));
        if !more {
            break;
        }
    }
    v.holds();
}

async fn deleted_row(stand: Stand) {
    let (mut phone, mut tablet) = (anas(&stand).await, another(&stand).await);
    tablet.deletes("notes", "note-0001");
    tablet.syncs().await;
    let mut v = vector("deleted_row", "A row that was deleted, or is no longer the user's, is named in deleted.");
    v.meanwhile("Ana deletes the draft note-0001 on her tablet.");
    pulls(&mut v, &stand, &mut phone, "").await;
    phone.deletes("goals", "goal-0001");
    pushes(&mut v, &stand, &mut phone, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    v.holds();
}

async fn created_and_edited_rows(stand: Stand) {
    let mut phone = anas(&stand).await;
    let mut v = vector(
        "created_and_edited_rows",
        "A push names what was made, edited and deleted. Columns of an edited row count where _changed names them. The \
         same push again changes nothing.",
    );
    phone.creates("notes", note("note-0002", "On the way home"));
    phone.edits("goals", "goal-0001", json!({"measure": "twice a week"}));
    let mut again = phone.clone();
    pushes(&mut v, &stand, &mut phone, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    v.meanwhile("The same push arrives once more: its answer was lost on the way.");
    pushes(&mut v, &stand, &mut again, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    v.holds();
}

async fn conflict_and_retry(stand: Stand) {
    let (mut phone, mut tablet) = (anas(&stand).await, another(&stand).await);
    tablet.edits("goals", "goal-0001", json!({"measure": "twice a week", "unit": "walks"}));
    tablet.syncs().await;
    phone.edits("goals", "goal-0001", json!({"unit": "trips", "cadence": "weekly"}));
    let mut v = vector(
        "conflict_and_retry",
        "409: another device changed one of the same columns after last_pulled_at, and nothing was stored. Pull, keep \
         the local value of every column in _changed, push again, once.",
    );
    v.meanwhile("Ana sets measure and unit of goal-0001 on her tablet.");
    assert_eq!(pushes(&mut v, &stand, &mut phone, "").await, 409);
    v.client(&["keep everything", "pull, then push again, once"], state(&phone));
    pulls(&mut v, &stand, &mut phone, "").await;
    assert_eq!(phone.column("goals", "goal-0001", "unit"), json!("trips"));
    assert_eq!(pushes(&mut v, &stand, &mut phone, "").await, 200);
    pulls(&mut v, &stand, &mut phone, "").await;
    v.holds();
}

async fn ignored_move(stand: Stand) {
    let mut phone = anas(&stand).await;
    let mut v = vector(
        "ignored_move",
        "A state that does not follow from the stored one is ignored: the rest is stored, an issue tells, and the row \
         comes again with the next pull.",
    );
    phone.edits("goals", "goal-0001", json!({"lifecycle": "completed", "measure": "kept all the same"}));
    pushes(&mut v, &stand, &mut phone, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    assert_eq!(phone.column("goals", "goal-0001", "lifecycle"), json!("draft"));
    v.holds();
}

async fn held_deletes(stand: Stand) {
    let mut phone = anas(&stand).await;
    let mut v = vector(
        "held_deletes",
        "With pending=1, which says that unsent work waits, deletions wait until a push has succeeded.",
    );
    phone.edits("goals", "goal-0001", json!({"why_it_matters": "I want to see people again"}));
    hands_over(&stand.0, CASE, "ben@demo.example").await;
    v.meanwhile("The case is handed to Ben while Ana's phone holds an unsent edit of goal-0001.");
    let held = pulls(&mut v, &stand, &mut phone, "").await;
    assert_eq!(held["changes"]["goals"]["deleted"], json!([]));
    pushes(&mut v, &stand, &mut phone, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    assert!(phone.row("goals", "goal-0001").is_none());
    v.holds();
}

async fn rescue_upload(stand: Stand) {
    let mut phone = anas(&stand).await;
    let mut v = vector(
        "rescue_upload",
        "Before a reply is applied, unsent rows that its deleted names are uploaded; if that fails, the reply is not \
         applied. Rows made offline for the lost case are not named and are pushed as ever.",
    );
    phone.edits("goals", "goal-0001", json!({"why_it_matters": "I want to see people again"}));
    phone.creates("notes", note("note-0002", "Written when the case was Ben's already"));
    let ben = stand.0.id_of("ben@demo.example").await;
    let to = json!({"user_id": ben, "role": "primary", "reason": "Today", "immediate": true});
    stand.person("sam", "desk-0001").await.post(&format!("/cases/{CASE}/assignments"), to).await.ok();
    v.meanwhile("The case is handed to Ben at once while Ana's phone holds an unsent edit and an unsent note.");
    let page = asks(&mut v, &stand, &phone, "").await;
    v.client(&["before applying, upload the unsent rows that deleted names"], state(&phone));
    let outgoing = phone.outgoing();
    let lost = page["changes"]["goals"]["deleted"].as_array().expect("a list");
    let doomed: Vec<&Value> =
        outgoing["goals"]["updated"].as_array().into_iter().flatten().filter(|row| lost.contains(&row["id"])).collect();
    assert!(!doomed.is_empty());
    let body = json!({"goals": {"created": [], "updated": doomed, "deleted": []}});
    v.asks(&stand, &phone.person, Method::POST, "/sync/quarantine", Some(&body)).await.ok();
    phone.applies(&page);
    v.client(&["now apply the pulled reply", "keep timestamp"], state(&phone));
    pushes(&mut v, &stand, &mut phone, "").await;
    pulls(&mut v, &stand, &mut phone, "").await;
    assert!(phone.ids("notes").is_empty() && !phone.has_unsynced_changes());
    v.holds();
}

async fn lost_answer(stand: Stand) {
    let (mut phone, mut tablet) = (anas(&stand).await, another(&stand).await);
    let mut v = vector(
        "lost_answer",
        "A phone that counts its pushes and says which was answered last does not undo, by repeating one, what others \
         have changed since.",
    );
    phone.edits("goals", "goal-0001", json!({"measure": "twice a week"}));
    let mut unaware = phone.clone();
    pushes(&mut v, &stand, &mut phone, "&push=1&acked=0").await;
    v.client(&["nothing: this answer is lost on its way"], state(&unaware));
    tablet.syncs().await;
    tablet.edits("goals", "goal-0001", json!({"measure": "every day"}));
    tablet.syncs().await;
    v.meanwhile("Ana's tablet pulls that edit and sets measure to another value.");
    pulls(&mut v, &stand, &mut unaware, "").await;
    pushes(&mut v, &stand, &mut unaware, "&push=2&acked=0").await;
    pulls(&mut v, &stand, &mut unaware, "").await;
    assert_eq!(unaware.column("goals", "goal-0001", "measure"), json!("every day"));
    v.holds();
}

async fn restored_server(stand: Stand) {
    let mut phone = anas(&stand).await;
    let bytes = takes_a_backup(&stand.0).await;
    stand.0.pass_secs(3600);
    phone.creates("notes", note("note-0002", "Synced after the backup"));
    phone.edits("goals", "goal-0001", json!({"measure": "twice a week"}));
    phone.syncs().await;
    phone.syncs().await;
    stand.0.pass_secs(3600);
    restores(&stand.0, &bytes).await.expect("restored");
    phone.person.logs_in().await;
    let mut v = vector(
        "restored_server",
        "epoch has risen: a backup was restored. Before that reply is applied every row that the server once had is \
         offered; then the phone pulls again with salvaged, from the old timestamp and with the old epoch, and that reply \
         takes the place of everything.",
    );
    v.meanwhile("The server is restored from a backup taken before note-0002 was synced and goal-0001 was edited.");
    let epoch = asks(&mut v, &stand, &phone, "").await["epoch"].as_i64().expect("an epoch");
    assert!(Some(epoch) > phone.epoch);
    let offer = "offer every row that the server once had, cases and case_assignments first";
    v.client(&["do not apply", offer], state(&phone));
    let [cases, rest] = offers(&phone.once_synced());
    v.asks(&stand, &phone.person, Method::POST, "/sync/salvage", Some(&cases)).await.ok();
    v.client(&["keep everything", "offer the rest"], state(&phone));
    v.asks(&stand, &phone.person, Method::POST, "/sync/salvage", Some(&rest)).await.ok();
    v.client(&["keep everything", "pull again with salvaged"], state(&phone));
    let page = asks(&mut v, &stand, &phone, &format!("&salvaged={epoch}")).await;
    assert_eq!(page["experimentalStrategy"], json!("replacement"));
    phone.applies(&page);
    let stays = "remove rows that are not named, but not rows never sent";
    v.client(&["apply", stays, "keep timestamp", "keep epoch"], state(&phone));
    assert!(phone.row("notes", "note-0002").is_some());
    assert_eq!(phone.column("goals", "goal-0001", "measure"), json!("twice a week"));
    pulls(&mut v, &stand, &mut phone, "").await;
    v.holds();
}

async fn cursor_too_old(stand: Stand) {
    let (mut phone, mut tablet) = (anas(&stand).await, another(&stand).await);
    tablet.deletes("notes", "note-0001");
    tablet.syncs().await;
    phone.creates("notes", note("note-0002", "Never sent"));
    stand.0.pass_secs(401 * 86_400);
    purge::all(&stand.0.store, 400).await.expect("a purge");
    phone.person.logs_in().await;
    let mut v = vector(
        "cursor_too_old",
        "experimentalStrategy replacement: deletions have been forgotten that this phone never heard of. It removes \
         what the reply does not name, but not rows that were never sent. With pending=1 that waits until they were sent.",
    );
    v.meanwhile("note-0001 was deleted elsewhere, and this phone stayed away for 401 days with an unsent note.");
    let held = pulls(&mut v, &stand, &mut phone, "").await;
    assert!(held.get("experimentalStrategy").is_none() && phone.row("notes", "note-0001").is_some());
    pushes(&mut v, &stand, &mut phone, "").await;
    let page = asks(&mut v, &stand, &phone, "").await;
    assert_eq!(page["experimentalStrategy"], json!("replacement"));
    phone.applies(&page);
    v.client(&["apply", "remove rows that are not named, but not rows never sent", "keep timestamp"], state(&phone));
    assert!(phone.row("notes", "note-0001").is_none() && phone.row("notes", "note-0002").is_some());
    v.holds();
}

async fn schema_too_old(stand: Stand) {
    let mut phone = anas(&stand).await;
    phone.schema_version = 0;
    let mut v = vector("schema_too_old", "426: the app is older than the oldest that is served.");
    tries(&mut v, &stand, &phone, "").await.refused(426);
    v.client(&["keep everything", "ask the user to update the app"], state(&phone));
    v.holds();
}

async fn token_expired(stand: Stand) {
    let mut phone = anas(&stand).await;
    let mut v = vector(
        "token_expired",
        "401: refresh, then ask the same again. Cursor and rows stay. Where the answer to the refresh is lost, the same \
         refresh token is good once more.",
    );
    v.meanwhile("More than ten minutes pass.");
    stand.0.pass_secs(11 * 60);
    tries(&mut v, &stand, &phone, "").await.refused(401);
    v.client(&["keep everything", "refresh, then ask the same again"], state(&phone));
    let body = json!({
        "refresh_token": phone.person.session()["refresh_token"], "device_id": phone.person.device_id,
    });
    let lost = v.asks(&stand, &phone.person, Method::POST, "/auth/refresh", Some(&body)).await.ok();
    v.client(&["nothing: this answer is lost on its way"], state(&phone));
    let session = v.asks(&stand, &phone.person, Method::POST, "/auth/refresh", Some(&body)).await.ok();
    assert_eq!(session["refresh_token"], lost["refresh_token"]);
    phone.person.keeps(session);
    v.client(&["keep both tokens", "ask the same again"], state(&phone));
    pulls(&mut v, &stand, &mut phone, "").await;
    v.holds();
}

async fn device_wiped(stand: Stand) {
    let mut phone = anas(&stand).await;
    let tablet = another(&stand).await;
    phone.creates("notes", note("note-0002", "A visit nobody knows of"));
    phone.edits("goals", "goal-0001", json!({"measure": "twice a week"}));
    tablet.person.post(&format!("/devices/{}/wipe", phone.person.device_id), json!({})).await.ok();
    let mut v = vector(
        "device_wiped",
        "403 device_wiped, from every path: hand over what was never sent, then erase everything and stop.",
    );
    v.meanwhile("Ana reports the phone lost, which holds a new note and an edit.");
    tries(&mut v, &stand, &phone, "").await.refused(403);
    v.client(
        &["hand over what was never sent to POST /sync/farewell, with the refresh token as bearer token"],
        state(&phone),
    );
    let kept = v.says_farewell(&stand, &phone.person, &phone.outgoing()).await.ok();
    assert_eq!(kept, json!({"kept": 2}));
    v.client(&["erase everything and stop"], state(&Phone::of(&phone.person)));
    v.holds();
}

async fn poke(stand: Stand) {
    use futures_util::StreamExt;
    let phone = anas(&stand).await;
    let answer = phone.person.request(Method::GET, "/sync/live").send().await.expect("a stream");
    let head = answer.bytes_stream().next().await.expect("an event").expect("bytes");
    let text = String::from_utf8(head.to_vec()).expect("text");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("event: poke"));
    let data = lines.next().and_then(|line| line.strip_prefix("data: {\"head\":")?.strip_suffix('}'));
    let number: i64 = data.expect("a poke").parse().expect("a number");
    assert!(lines.next().is_some_and(|line| line.starts_with("retry: ")), "{text}");
    assert!(phone.cursor.is_some_and(|at| at <= number));
    let mut v = vector(
        "poke",
        "A server-sent event says that something was committed and carries no data; lines that begin with a colon mean \
         nothing. The stream begins with a poke; retry says after how many milliseconds to open it again when it breaks.",
    );
    v.says_by_stream("ana", "event: poke\ndata: {\"head\":1800000000000}\nretry: 4000\n\n: still here\n\n");
    v.client(&["wait a random time of up to three seconds", "sync"], state(&phone));
    v.holds();
}
