//! The native face.

use std::collections::BTreeMap;

use entities::sync::purge;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Stand, Vector, offers};
use crate::support::{Answer, Person, on_both};
use crate::sync::restored::{restores, takes_a_backup};
use crate::sync::rules::hands_over;

on_both!(
    first_sync_in_pages,
    delta,
    mutations,
    repeated_mutation,
    child_before_its_case,
    action,
    lost_case,
    cursor_of_another_user,
    cursor_edited,
    restored_server,
    cursor_expired,
    schema_too_old,
    token_expired_in_mid_paging,
    device_wiped,
);

const CASE: &str = "case-of-the-vectors";

fn vector(name: &'static str, says: &'static str) -> Vector {
    Vector::new("native", name, says)
}

/// A client of the native face: what it holds, where it stands, what it has not sent.
struct Client {
    person: Person,
    schema_version: u32,
    cursor: String,
    epoch: Option<i64>,
    rows: BTreeMap<String, BTreeMap<String, Value>>,
    queue: Vec<Value>,
}

impl Client {
    fn of(person: Person) -> Client {
        let (cursor, rows, queue) = (String::new(), BTreeMap::new(), Vec::new());
        Client { person, schema_version: 1, cursor, epoch: None, rows, queue }
    }

    fn state(&self) -> Value {
        let rows = self
            .rows
            .iter()
            .filter(|(table, rows)| !rows.is_empty() && !["staff", "organizations"].contains(&table.as_str()));
        let holds: BTreeMap<_, Vec<&String>> = rows.map(|(table, rows)| (table, rows.keys().collect())).collect();
        let unsent: Vec<&Value> = self.queue.iter().map(|mutation| &mutation["id"]).collect();
        json!({"next_cursor": self.cursor, "epoch": self.epoch, "holds": holds, "unsent": unsent})
    }

    /// Every row as it came.
    fn held(&self) -> BTreeMap<String, Vec<Value>> {
        self.rows.iter().map(|(table, rows)| (table.clone(), rows.values().cloned().collect())).collect()
    }

    fn applies(&mut self, page: &Value) {
        for change in page["changes"].as_array().expect("changes") {
            let (table, id) = (change["table"].as_str().expect("a table"), change["id"].as_str().expect("an id"));
            let rows = self.rows.entry(table.to_owned()).or_default();
            match change["op"].as_str() {
                Some("put") => rows.insert(id.to_owned(), change["row"].clone()),
                Some("del" | "revoke") => rows.remove(id),
                other => panic!("an op that the documentation does not know: {other:?}"),
            };
        }
        self.cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
        self.epoch = page["epoch"].as_i64();
    }

    /// Removes what a full set that came in one page does not name.
    fn removes_what_did_not_come(&mut self, page: &Value) {
        let changes = page["changes"].as_array().expect("changes");
        for (table, rows) in &mut self.rows {
            rows.retain(|id, _| {
                changes.iter().any(|change| change["table"] == json!(table) && change["id"] == json!(id))
            });
        }
    }

    fn settles(&mut self, answer: &Value) {
        for result in answer["results"].as_array().expect("results") {
            let at = self.queue.iter().position(|mutation| mutation["id"] == result["id"]).expect("one that was sent");
            if result["status"] == "retry" {
                continue;
            }
            let mutation = self.queue.remove(at);
            let id = mutation["row_id"].as_str().expect("an id").to_owned();
            let rows = self.rows.entry(mutation["table"].as_str().expect("a table").to_owned()).or_default();
            match result.get("row") {
                Some(row) => rows.insert(id, row.clone()),
                None => rows.remove(&id),
            };
        }
    }
}

async fn asks(vector: &mut Vector, stand: &Stand, client: &Client, more: &str) -> Answer {
    vector.seals(&client.cursor);
    let epoch = client.epoch.map(|epoch| format!("&epoch={epoch}")).unwrap_or_default();
    let path = format!("/sync/pull?cursor={}&schema_version={}{more}{epoch}", client.cursor, client.schema_version);
    vector.asks(stand, &client.person, Method::GET, &path, None).await
}

async fn pulls(vector: &mut Vector, stand: &Stand, client: &mut Client, more: &str) -> Value {
    let page = asks(vector, stand, client, more).await.ok();
    client.applies(&page);
    let go_on = if page["has_more"] == json!(true) { "pull again from it" } else { "go on" };
    vector.client(&["apply", "keep next_cursor", go_on], client.state());
    page
}

async fn pushes(vector: &mut Vector, stand: &Stand, client: &mut Client) -> Vec<Value> {
    let body = json!({"batch_id": "batch-0001", "epoch": client.epoch, "mutations": client.queue});
    let answer =
        vector.asks(stand, &client.person, Method::POST, "/sync/push?schema_version=1", Some(&body)).await.ok();
    client.settles(&answer);
    vector.client(&["take the rows of the results", "drop what was answered", "keep what says retry"], client.state());
    answer["results"].as_array().expect("results").clone()
}

fn mutation(number: usize, op: &str, table: &str, row: &str, set: Value) -> Value {
    json!({"id": format!("mutation-{number:04}"), "op": op, "table": table, "row_id": row, "set": set,
        "at": "2027-03-01T15:00:00Z"})
}

fn new_goal(number: usize, row: &str, statement: &str) -> Value {
    let set = json!({"case_id": {"from": null, "to": CASE}, "level": {"from": null, "to": "individual"},
        "statement": {"from": null, "to": statement}});
    mutation(number, "create", "goals", row, set)
}

/// Ana's client with a case, a goal and a note that she made on it.
async fn anas(stand: &Stand) -> Client {
    let mut client = Client::of(stand.person("ana", "phone-0001").await);
    let case = json!({"unit": "individual", "summary": "First steps"});
    let note = json!({"case_id": CASE, "body": "At the kitchen table", "kind": "progress"});
    let made = json!({"mutations": [mutation(9001, "create", "cases", CASE, case), new_goal(9002, "goal-0001", "Walk to the market"),
        mutation(9003, "create", "notes", "note-0001", note)]});
    client.person.post("/sync/push", made).await.ok();
    stand.0.pass_secs(60);
    let page = client.person.get("/sync/pull").await.ok();
    client.applies(&page);
    client
}

/// What another device of Ana's does.
async fn elsewhere(stand: &Stand, mutations: Value) {
    let tablet = stand.person("ana", "tablet-0001").await;
    tablet.post("/sync/push", json!({"mutations": mutations})).await.ok();
}

async fn first_sync_in_pages(stand: Stand) {
    let mut client = Client::of(anas(&stand).await.person);
    let mut v = vector("first_sync_in_pages", "Begin without a cursor and go on with next_cursor while has_more.");
    while pulls(&mut v, &stand, &mut client, "&limit=3").await["has_more"] == json!(true) {}
    v.holds();
}

async fn delta(stand: Stand) {
    let mut client = anas(&stand).await;
    let mut v = vector("delta", "put: here is the row; del: it was deleted; revoke: it is no longer the user's.");
    elsewhere(
        &stand,
        json!([mutation(1, "delete", "notes", "note-0001", json!({})), new_goal(2, "goal-0002", "Ride the bus")]),
    )
    .await;
    v.meanwhile("On her tablet Ana deletes the draft note-0001 and makes goal-0002.");
    pulls(&mut v, &stand, &mut client, "").await;
    hands_over(&stand.0, CASE, "ben@demo.example").await;
    v.meanwhile("The case is handed to Ben.");
    pulls(&mut v, &stand, &mut client, "").await;
    pulls(&mut v, &stand, &mut client, "").await;
    v.holds();
}

async fn mutations(stand: Stand) {
    let mut client = anas(&stand).await;
    elsewhere(
        &stand,
        json!([mutation(1, "update", "goals", "goal-0001", json!({"measure": {"from": null, "to": "walks"}}))]),
    )
    .await;
    let mut v = vector(
        "mutations",
        "Each mutation has a result of its own: applied; merged, where some fields are stored and another field had \
         been set elsewhere; conflict, where none is; duplicate, where it was so already.",
    );
    v.meanwhile("On her tablet Ana sets measure of goal-0001, which was empty, to walks.");
    let update = |number, set| mutation(number, "update", "goals", "goal-0001", set);
    client.queue = vec![
        update(1, json!({"unit": {"from": null, "to": "a week"}})),
        update(2, json!({"measure": {"from": null, "to": "trips"}, "cadence": {"from": null, "to": "weekly"}})),
        update(3, json!({"measure": {"from": null, "to": "hours"}})),
        update(4, json!({"unit": {"from": null, "to": "a week"}})),
        new_goal(5, "goal-0002", "Ride the bus"),
        mutation(6, "delete", "notes", "note-0001", json!({})),
    ];
    let results = pushes(&mut v, &stand, &mut client).await;
    let statuses: Vec<&str> = results.iter().filter_map(|result| result["status"].as_str()).collect();
    assert_eq!(statuses, ["applied", "merged", "conflict", "duplicate", "applied", "applied"]);
    pulls(&mut v, &stand, &mut client, "").await;
    v.holds();
}

async fn repeated_mutation(stand: Stand) {
    let mut client = anas(&stand).await;
    let mut v =
        vector("repeated_mutation", "A mutation sent again under its id gets the answer it got before, to the byte.");
    client.queue = vec![new_goal(1, "goal-0002", "Ride the bus")];
    let sent = client.queue.clone();
    let first = pushes(&mut v, &stand, &mut client).await;
    elsewhere(
        &stand,
        json!([mutation(2, "update", "goals", "goal-0002", json!({"unit": {"from": null, "to": "rides"}}))]),
    )
    .await;
    v.meanwhile("On her tablet Ana edits goal-0002.");
    client.queue = sent;
    assert_eq!(pushes(&mut v, &stand, &mut client).await, first);
    pulls(&mut v, &stand, &mut client, "").await;
    v.holds();
}

async fn child_before_its_case(stand: Stand) {
    let mut client = Client::of(stand.person("ana", "phone-0001").await);
    let mut v =
        vector("child_before_its_case", "retry: the case is not here yet. Send the mutation again with the next push.");
    client.queue = vec![new_goal(1, "goal-0001", "Walk to the market")];
    assert_eq!(pushes(&mut v, &stand, &mut client).await[0]["status"], json!("retry"));
    client.queue.push(mutation(2, "create", "cases", CASE, json!({"unit": {"from": null, "to": "individual"}})));
    pushes(&mut v, &stand, &mut client).await;
    assert!(client.queue.is_empty());
    v.holds();
}

async fn action(stand: Stand) {
    let mut client = anas(&stand).await;
    let mut v = vector("action", "A change of state is an action, checked against the state the row is in now.");
    let act = |number, verb: &str| {
        let mut action = mutation(number, "action", "goals", "goal-0001", json!({}));
        action["verb"] = json!(verb);
        action
    };
    client.queue = vec![act(1, "complete"), act(2, "propose"), act(3, "propose")];
    pushes(&mut v, &stand, &mut client).await;
    v.holds();
}

async fn lost_case(stand: Stand) {
    let mut client = anas(&stand).await;
    let mut v = vector(
        "lost_case",
        "Work on a case that is no longer the user's is kept in quarantine; no row comes back, and an issue tells.",
    );
    client.queue = vec![mutation(1, "update", "goals", "goal-0001", json!({"unit": {"from": null, "to": "a week"}}))];
    hands_over(&stand.0, CASE, "ben@demo.example").await;
    v.meanwhile("The case is handed to Ben while the client holds an unsent mutation.");
    let page = pulls(&mut v, &stand, &mut client, "").await;
    assert!(page["changes"].as_array().expect("changes").iter().all(|change| change["op"] == "revoke"));
    assert_eq!(pushes(&mut v, &stand, &mut client).await[0]["status"], json!("quarantined"));
    pulls(&mut v, &stand, &mut client, "").await;
    v.holds();
}

async fn cursor_of_another_user(stand: Stand) {
    let ana = anas(&stand).await;
    let mut bens =
        Client { cursor: ana.cursor, epoch: ana.epoch, ..Client::of(stand.person("ben", "phone-0001").await) };
    let mut v = vector(
        "cursor_of_another_user",
        "409 cursor_user_mismatch: begin without a cursor, in that user's own database.",
    );
    asks(&mut v, &stand, &bens, "").await.refused(409);
    (bens.cursor, bens.epoch) = (String::new(), None);
    v.client(&["keep everything", "open this user's own database and pull from the start"], bens.state());
    pulls(&mut v, &stand, &mut bens, "").await;
    v.holds();
}

async fn cursor_edited(stand: Stand) {
    let mut client = anas(&stand).await;
    client.cursor = "none-of-ours".into();
    let mut v = vector(
        "cursor_edited",
        "400: a cursor that is none of the server's. A defect of the app: keep the data, report it.",
    );
    asks(&mut v, &stand, &client, "").await.refused(400);
    v.client(&["keep everything", "report it"], client.state());
    v.holds();
}

async fn restored_server(stand: Stand) {
    let mut client = anas(&stand).await;
    let bytes = takes_a_backup(&stand.0).await;
    stand.0.pass_secs(3600);
    let note = json!({"case_id": CASE, "body": "Synced after the backup", "kind": "progress"});
    let measure = json!({"measure": {"from": null, "to": "twice a week"}});
    let made =
        [mutation(1, "create", "notes", "note-0002", note), mutation(2, "update", "goals", "goal-0001", measure)];
    client.person.post("/sync/push", json!({"mutations": made})).await.ok();
    let page = client.person.get(&format!("/sync/pull?cursor={}", client.cursor)).await.ok();
    client.applies(&page);
    stand.0.pass_secs(3600);
    restores(&stand.0, &bytes).await.expect("restored");
    client.person.logs_in().await;
    let mut v = vector(
        "restored_server",
        "409 epoch_changed: a backup was restored. Offer every row that you hold, as it came, then pull from the start \
         with the new epoch.",
    );
    v.meanwhile("The server is restored from a backup taken before note-0002 was synced and goal-0001 was edited.");
    let epoch = asks(&mut v, &stand, &client, "").await.refused(409)["epoch"].as_i64();
    let offer = "offer every row that you hold, in the shape of a WatermelonDB push: cases and case_assignments first";
    v.client(&["keep everything", offer], client.state());
    let [cases, rest] = offers(&client.held());
    v.asks(&stand, &client.person, Method::POST, "/sync/salvage", Some(&cases)).await.ok();
    v.client(&["keep everything", "offer the rest"], client.state());
    v.asks(&stand, &client.person, Method::POST, "/sync/salvage", Some(&rest)).await.ok();
    (client.cursor, client.epoch) = (String::new(), epoch);
    v.client(&["forget the cursor", "keep epoch", "pull from the start with it"], client.state());
    let page = asks(&mut v, &stand, &client, "").await.ok();
    client.applies(&page);
    client.removes_what_did_not_come(&page);
    v.client(&["apply", "keep next_cursor", "remove what did not come, but keep what was never sent"], client.state());
    assert!(client.rows["notes"].contains_key("note-0002"));
    assert_eq!(client.rows["goals"]["goal-0001"]["measure"], json!("twice a week"));
    v.holds();
}

async fn cursor_expired(stand: Stand) {
    let mut client = anas(&stand).await;
    elsewhere(&stand, json!([mutation(1, "delete", "notes", "note-0001", json!({}))])).await;
    stand.0.pass_secs(401 * 86_400);
    purge::all(&stand.0.store, 400).await.expect("a purge");
    client.person.logs_in().await;
    client.queue = vec![new_goal(1, "goal-0002", "Ride the bus")];
    let mut v = vector(
        "cursor_expired",
        "410: deletions have been forgotten that this client never heard of. It pulls from the start, with the epoch of \
         the rows that it holds, and removes what did not come when the last page is there.",
    );
    v.meanwhile("note-0001 was deleted elsewhere, and this client stayed away for 401 days with an unsent mutation.");
    asks(&mut v, &stand, &client, "").await.refused(410);
    client.cursor.clear();
    v.client(&["forget the cursor", "keep everything else", "pull from the start with the last epoch"], client.state());
    let page = asks(&mut v, &stand, &client, "").await.ok();
    assert_eq!(page["has_more"], json!(false));
    client.applies(&page);
    client.removes_what_did_not_come(&page);
    v.client(&["apply", "keep next_cursor", "remove what did not come, but keep what was never sent"], client.state());
    assert!(!client.rows["notes"].contains_key("note-0001"));
    assert_eq!(pushes(&mut v, &stand, &mut client).await[0]["status"], json!("applied"));
    v.holds();
}

async fn schema_too_old(stand: Stand) {
    let client = Client { schema_version: 0, ..anas(&stand).await };
    let mut v = vector("schema_too_old", "426: the app is older than the oldest that is served.");
    asks(&mut v, &stand, &client, "").await.refused(426);
    v.client(&["keep everything", "ask the user to update the app"], client.state());
    v.holds();
}

async fn token_expired_in_mid_paging(stand: Stand) {
    let mut client = Client::of(anas(&stand).await.person);
    let mut v = vector("token_expired_in_mid_paging", "401: refresh, then ask for the same page again.");
    pulls(&mut v, &stand, &mut client, "&limit=3").await;
    v.meanwhile("More than ten minutes pass.");
    stand.0.pass_secs(11 * 60);
    asks(&mut v, &stand, &client, "&limit=3").await.refused(401);
    v.client(&["keep everything", "refresh, then ask the same again"], client.state());
    client.person.logs_in().await;
    v.meanwhile("The app refreshes its token.");
    while pulls(&mut v, &stand, &mut client, "&limit=3").await["has_more"] == json!(true) {}
    v.holds();
}

async fn device_wiped(stand: Stand) {
    let mut client = anas(&stand).await;
    let tablet = stand.person("ana", "tablet-0001").await;
    tablet.post(&format!("/devices/{}/wipe", client.person.device_id), json!({})).await.ok();
    client.queue = vec![new_goal(1, "goal-0002", "Ride the bus")];
    let mut v = vector(
        "device_wiped",
        "403 device_wiped, from every path: hand over what was never sent, then erase everything and stop.",
    );
    v.meanwhile("Ana reports the phone lost, which holds an unsent mutation.");
    asks(&mut v, &stand, &client, "").await.refused(403);
    v.client(
        &["hand over what was never sent to POST /sync/farewell, with the refresh token as bearer token"],
        client.state(),
    );
    let kept = v.says_farewell(&stand, &client.person, &json!({"mutations": client.queue})).await.ok();
    assert_eq!(kept, json!({"kept": 1}));
    v.client(&["erase everything and stop"], Client::of(client.person).state());
    v.holds();
}
