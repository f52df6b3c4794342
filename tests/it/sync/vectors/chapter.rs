//! What docs/sync.md demands of a client's requests, so that no vector teaches otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What is offered before all else.
pub(super) const FIRST: [&str; 2] = ["cases", "case_assignments"];

/// The first demand that a vector's client does not meet, in words.
pub(super) fn breach(face: &str, steps: &[Value]) -> Option<String> {
    let mut client = Client::default();
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.get("request").is_some()) {
        if let Err(why) = client.does(face, step) {
            return Some(format!("step {at}: {why}"));
        }
    }
    client.owes.map(|_| "it ends before a restored server has been offered everything".into())
}

/// What the steps so far tell of a client.
#[derive(Default)]
struct Client {
    /// The epoch that it is to name.
    epoch: Option<i64>,
    /// The epoch of a restored server that has not been offered everything yet.
    owes: Option<i64>,
    /// Its rows that a server has had, as `table/id`.
    held: BTreeSet<String>,
    unsent: usize,
    offered: BTreeSet<String>,
}

impl Client {
    fn does(&mut self, face: &str, step: &Value) -> Result<(), &'static str> {
        let path = step["request"]["path"].as_str().unwrap_or_default();
        let (route, query) = path.split_once('?').unwrap_or((path, ""));
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|part| part.split_once('=')).collect();
        let pulls = step["request"]["method"] == "GET" && ["/sync", "/sync/pull"].contains(&route);
        if (pulls || ["/sync", "/sync/push"].contains(&route)) && !query.contains_key("schema_version") {
            return Err("it does not say its schema_version");
        }
        if pulls {
            self.asks(face, &query)?;
        } else if route == "/sync/salvage" {
            self.offers(&step["request"]["body"])?;
        } else if ["/sync", "/sync/push"].contains(&route)
            && !query.contains_key("epoch")
            && step["request"]["body"].get("epoch").is_none()
        {
            return Err("a push names no epoch");
        } else if self.owes.is_some() && !route.starts_with("/auth/") {
            return Err("a restored server is offered everything before anything else");
        }
        self.hears(step, pulls, &query)
    }

    fn asks(&self, face: &str, query: &BTreeMap<&str, &str>) -> Result<(), &'static str> {
        let native = face == "native";
        let begins = ["", "null"].contains(query.get(if native { "cursor" } else { "last_pulled_at" }).unwrap_or(&""));
        let epoch = number(query, "epoch");
        if epoch.is_none() && !(begins && self.held.is_empty()) {
            return Err("a pull after the first names no epoch");
        }
        if epoch.is_some() && self.epoch.is_some_and(|known| epoch != Some(known)) {
            return Err("it names another epoch than the one that its rows belong to");
        }
        let Some(owes) = self.owes else { return Ok(()) };
        if !self.held.is_subset(&self.offered) {
            return Err("it pulls from a restored server before it has offered every row");
        }
        let goes_on = if native { begins } else { number(query, "salvaged") == Some(owes) };
        if !goes_on {
            return Err("after it has offered everything it pulls from the start, or with salvaged");
        }
        Ok(())
    }

    fn offers(&mut self, body: &Value) -> Result<(), &'static str> {
        let mut rows = BTreeSet::new();
        for (table, lists) in body.as_object().into_iter().flatten() {
            let ids = lists["updated"].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str());
            rows.extend(ids.map(|id| format!("{table}/{id}")));
        }
        let first = |row: &String| FIRST.iter().any(|table| row.starts_with(&format!("{table}/")));
        self.offered.extend(rows);
        if self.offered.iter().any(|row| !first(row))
            && self.held.iter().any(|row| first(row) && !self.offered.contains(row))
        {
            return Err("cases and their assignments are offered before what belongs to them");
        }
        Ok(())
    }

    fn hears(&mut self, step: &Value, pulls: bool, query: &BTreeMap<&str, &str>) -> Result<(), &'static str> {
        let (status, body) = (&step["response"]["status"], &step["response"]["body"]);
        let does = step["client"]["does"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let does: Vec<&str> = does.collect();
        if pulls && *status == 200 {
            let said = body["epoch"].as_i64();
            let known = self.epoch.or(number(query, "epoch"));
            let salvaged = number(query, "salvaged");
            if known.is_none() || known == said || salvaged == said && body["experimentalStrategy"] == "replacement" {
                (self.epoch, self.owes) = (said, None);
            } else if salvaged != said {
                (self.epoch, self.owes) = (known, said);
                self.offered.clear();
            }
        } else if body["code"] == "epoch_changed" {
            (self.epoch, self.owes) = (body["epoch"].as_i64(), body["epoch"].as_i64());
            self.offered.clear();
        }
        if self.owes.is_some() && does.contains(&"apply") {
            return Err("it applies the reply of a restored server before it has offered everything");
        }
        if body["code"] == "device_wiped" && self.unsent > 0 && does.iter().any(|what| what.starts_with("erase")) {
            return Err("it erases itself before it has handed over what was never sent");
        }
        let Some(then) = step["client"].get("then") else { return Ok(()) };
        let unsent: BTreeSet<&str> =
            then["unsent"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.unsent = unsent.len();
        self.held.clear();
        for (table, ids) in then["holds"].as_object().into_iter().flatten() {
            let rows = ids.as_array().into_iter().flatten().filter_map(Value::as_str);
            // One that was never sent is left to the push.
            self.held.extend(rows.map(|id| format!("{table}/{id}")).filter(|row| !unsent.contains(row.as_str())));
        }
        Ok(())
    }
}

fn number(query: &BTreeMap<&str, &str>, name: &str) -> Option<i64> {
    query.get(name)?.parse().ok()
}

/// One exchange of a client that held a case and two notes.
fn step(method: &str, path: &str, body: Value, status: u16, gets: Value, does: &[&str]) -> Value {
    let holds = json!({"cases": ["case-0001"], "notes": ["note-0001", "note-0002"]});
    json!({
        "request": {"method": method, "path": path, "body": body}, "response": {"status": status, "body": gets},
        "client": {"does": does, "then": {"holds": holds, "unsent": []}},
    })
}

fn pull(more: &str, gets: Value, does: &[&str]) -> Value {
    step("GET", &format!("/sync?last_pulled_at=7&schema_version=1{more}"), Value::Null, 200, gets, does)
}

fn salvage(tables: &[(&str, &[&str])]) -> Value {
    let tables = tables.iter().map(|(table, ids)| {
        let rows: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
        ((*table).to_owned(), json!({"created": [], "updated": rows, "deleted": []}))
    });
    step("POST", "/sync/salvage", Value::Object(tables.collect()), 200, json!({"stored": 1}), &["keep everything"])
}

#[test]
fn a_vector_whose_client_would_lose_data_is_found() {
    let changed = || pull("&epoch=1", json!({"epoch": 9}), &["do not apply"]);
    let all = || salvage(&[("cases", &["case-0001"]), ("notes", &["note-0001", "note-0002"])]);
    let replaced =
        || pull("&epoch=1&salvaged=9", json!({"epoch": 9, "experimentalStrategy": "replacement"}), &["apply"]);
    assert_eq!(breach("watermelondb", &[changed(), all(), replaced()]), None);
    for (steps, why) in [
        (vec![pull("", json!({"epoch": 1}), &["apply"])], "names no epoch"),
        (vec![pull("&epoch=1", json!({"epoch": 9}), &["apply"])], "before it has offered everything"),
        (vec![changed()], "it ends before"),
        (vec![changed(), replaced()], "before it has offered every row"),
        (vec![changed(), salvage(&[("cases", &["case-0001"]), ("notes", &["note-0002"])]), replaced()], "every row"),
        (vec![changed(), salvage(&[("notes", &["note-0001", "note-0002"])])], "cases and their assignments"),
        (vec![changed(), all(), pull("&epoch=1", json!({"epoch": 9}), &["apply"])], "with salvaged"),
        (vec![changed(), all(), pull("&epoch=9&salvaged=9", json!({"epoch": 9}), &["apply"])], "another epoch"),
    ] {
        let found = breach("watermelondb", &steps).unwrap_or_default();
        assert!(found.contains(why), "{why}: {found}");
    }
    // One that has not pulled yet says null.
    let pushed = |path: &str, body: Value| step("POST", path, body, 200, json!({}), &["go on"]);
    for path in ["/sync?last_pulled_at=7&schema_version=1", "/sync/push?schema_version=1"] {
        let found = breach("native", &[pushed(path, json!({"mutations": []}))]);
        assert_eq!(found.as_deref(), Some("step 0: a push names no epoch"));
    }
    assert_eq!(breach("watermelondb", &[pushed("/sync?last_pulled_at=7&schema_version=1&epoch=1", json!({}))]), None);
    assert_eq!(breach("native", &[pushed("/sync/push?schema_version=1", json!({"epoch": null}))]), None);
    let refused = || {
        let gets = json!({"code": "epoch_changed", "epoch": 9});
        step("GET", "/sync/pull?cursor=x&schema_version=1&epoch=1", Value::Null, 409, gets, &["keep everything"])
    };
    let native = |path: &str| step("GET", path, Value::Null, 200, json!({"epoch": 9}), &["apply"]);
    let afresh = "/sync/pull?cursor=&schema_version=1";
    assert_eq!(breach("native", &[refused(), all(), native(&format!("{afresh}&epoch=9"))]), None);
    for (steps, why) in [
        (vec![refused(), all(), native(afresh)], "names no epoch"),
        (vec![refused(), native(&format!("{afresh}&epoch=9"))], "every row"),
        (vec![native("/sync/pull?cursor=x&epoch=9")], "schema_version"),
    ] {
        let found = breach("native", &steps).unwrap_or_default();
        assert!(found.contains(why), "{why}: {found}");
    }
}
