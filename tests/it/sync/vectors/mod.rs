//! The conformance vectors of docs/vectors, played against the server and a reference client.
//!
//! Each test plays one exchange and compares it with the file of its name, on both databases. When the server changes
//! on purpose, `FIELDSTONE_WRITE_VECTORS=1 tests/with-postgres cargo test --test it vectors` writes them anew.

mod chapter;
mod native;
mod watermelondb;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use entities::clock::{Clock, Instant};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::support::database::Stage;
use crate::support::{Answer, Person, TestDb, World};

#[test]
fn every_vector_is_played() {
    let players = [("watermelondb", include_str!("watermelondb.rs")), ("native", include_str!("native.rs"))];
    for (face, player) in players {
        for file in std::fs::read_dir(folder().join(face)).expect("a folder") {
            let path = file.expect("a file").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            assert!(player.contains(&format!("\"{name}\"")), "{}: nothing plays it", path.display());
        }
    }
}

/// A world in which the same happens every time.
#[derive(Debug)]
pub(super) struct Stand(World);

impl Stage for Stand {
    async fn open(db: TestDb) -> Stand {
        let begin = Instant::parse("2027-03-01T15:00:00Z").expect("an instant");
        Stand(World::at(db, Clock::repeatable(begin, 1)).await)
    }
}

impl Stand {
    /// Somebody signed in on a device whose id is the same every time.
    pub(super) async fn person(&self, name: &str, device: &str) -> Person {
        let mut person = Person::at(&self.0.url, &format!("{name}@demo.example"));
        person.device_id = format!("{name}-{device}");
        person.logs_in().await;
        person
    }
}

/// Writes down what happens.
pub(super) struct Vector {
    face: &'static str,
    name: &'static str,
    says: &'static str,
    steps: Vec<Value>,
    names: Names,
}

impl Vector {
    pub(super) fn new(face: &'static str, name: &'static str, says: &'static str) -> Vector {
        Vector { face, name, says, steps: Vec::new(), names: Names::default() }
    }

    /// Names a cursor that the client had before the first step.
    pub(super) fn seals(&mut self, cursor: &str) {
        if !cursor.is_empty() {
            self.names.sealed("next_cursor", cursor);
        }
    }

    /// Something that happens elsewhere.
    pub(super) fn meanwhile(&mut self, what: &str) {
        self.steps.push(json!({"meanwhile": what}));
    }

    /// One exchange; a second passes before it, so that its numbers do not depend on what was done besides.
    pub(super) async fn asks(
        &mut self,
        stand: &Stand,
        person: &Person,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let request = person.request(method.clone(), path);
        self.exchanges(stand, person, request, (method, path), body).await
    }

    /// The last words of a device that was shut out: with the refresh token in place of the access token.
    pub(super) async fn says_farewell(&mut self, stand: &Stand, person: &Person, body: &Value) -> Answer {
        let token = person.session()["refresh_token"].as_str().expect("signed in").to_owned();
        let (method, path) = (Method::POST, "/sync/farewell");
        let request = stand.0.stranger().request(method.clone(), path).bearer_auth(token);
        self.exchanges(stand, person, request, (method, path), Some(body)).await
    }

    async fn exchanges(
        &mut self,
        stand: &Stand,
        person: &Person,
        mut request: RequestBuilder,
        (method, path): (Method, &str),
        body: Option<&Value>,
    ) -> Answer {
        stand.0.pass_secs(1);
        let mut asked = json!({"method": method.as_str(), "path": self.names.text(path)});
        if let Some(body) = body {
            // As text, whatever the content type: this is what the documented client sends.
            request = request.body(body.to_string());
            asked["body"] = self.names.value(None, body);
        }
        let answer = Answer::of(format!("{method} {path}"), request.send().await).await;
        let mut gets = json!({"status": answer.status});
        if !answer.text.is_empty() {
            let body = serde_json::from_str(&answer.text).unwrap_or_else(|_| json!(answer.text));
            gets["body"] = self.names.value(None, &body);
        }
        let who = person.email.split('@').next().unwrap_or_default();
        self.steps.push(json!({"who": who, "request": asked, "response": gets}));
        answer
    }

    /// What the client does with the last answer, and what it holds afterwards.
    pub(super) fn client(&mut self, does: &[&str], state: Value) {
        let state = self.names.value(None, &state);
        let step = self.steps.last_mut().expect("an exchange comes first");
        step["client"] = json!({"does": does, "then": state});
    }

    /// Compares with the file, after a look whether the client does what the chapter demands.
    #[track_caller]
    pub(super) fn holds(self) {
        if let Some(breach) = chapter::breach(self.face, &self.steps) {
            panic!("{} of {} would teach a client that loses data: {breach}", self.name, self.face);
        }
        let written = json!({"face": self.face, "name": self.name, "says": self.says, "steps": self.steps});
        let path = folder().join(self.face).join(format!("{}.json", self.name));
        #[expect(clippy::disallowed_methods, reason = "how somebody who changes the server on purpose says so")]
        if std::env::var_os("FIELDSTONE_WRITE_VECTORS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
            std::fs::write(&path, pretty(&written)).expect("the file is written");
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let known: Value = serde_json::from_str(&text).expect("a vector is JSON");
        for (at, (known, step)) in steps(&known).iter().zip(steps(&written)).enumerate() {
            assert_eq!(known, step, "{}: step {at} is not as it was: see tests/it/sync/vectors/mod.rs", path.display());
        }
        assert_eq!(known, written, "{}: see tests/it/sync/vectors/mod.rs", path.display());
    }
}

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors")
}

fn steps(vector: &Value) -> &Vec<Value> {
    vector["steps"].as_array().expect("steps")
}

/// A line for each request, answer and decision: readable, and short enough to compare.
fn pretty(vector: &Value) -> String {
    let mut out = format!(
        "{{\n\"face\": {},\n\"name\": {},\n\"says\": {},\n\"steps\": [\n",
        vector["face"], vector["name"], vector["says"]
    );
    for (at, step) in steps(vector).iter().enumerate() {
        let parts = ["meanwhile", "who", "request", "response", "client"]
            .iter()
            .filter_map(|name| step.get(name).map(|value| format!(" {}: {value}", json!(name))));
        let parts: Vec<String> = parts.collect();
        out += &format!("{}{{\n{}\n}}", if at > 0 { ",\n" } else { "" }, parts.join(",\n"));
    }
    out + "\n]\n}\n"
}

/// What a client offers a restored server, part after part: cases together with their assignments, then the rest.
pub(super) fn offers(held: &BTreeMap<String, Vec<Value>>) -> [Value; 2] {
    [true, false].map(|first| {
        let of = held.iter().filter(|(table, _)| chapter::FIRST.contains(&table.as_str()) == first);
        let bodies = of.map(|(table, rows)| (table.clone(), json!({"created": [], "updated": rows, "deleted": []})));
        Value::Object(bodies.collect())
    })
}

/// Stable names for what is minted or sealed.
#[derive(Default)]
struct Names {
    ids: BTreeMap<String, String>,
    sealed: BTreeMap<String, String>,
}

/// Members whose values mean nothing to a client.
const SEALED: [&str; 5] = ["next_cursor", "access_token", "refresh_token", "request_id", "reference"];

impl Names {
    fn value(&mut self, member: Option<&str>, value: &Value) -> Value {
        match value {
            Value::String(text) if !text.is_empty() && member.is_some_and(|name| SEALED.contains(&name)) => {
                json!(self.sealed(member.unwrap_or_default(), text))
            }
            Value::String(text) => json!(self.text(text)),
            Value::Array(items) => {
                let mut items = items.clone();
                // Rows of one table stand in no order of their own.
                for rows in items.chunk_by_mut(|a, b| a["table"] == b["table"] && a["op"] == b["op"]) {
                    if rows.iter().all(|row| row.get("created_at").is_some() || row.get("row").is_some()) {
                        rows.sort_by_key(|row| row["id"].to_string());
                    }
                }
                items.iter().map(|item| self.value(None, item)).collect()
            }
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.clone(), self.value(Some(name), value)));
                Value::Object(members.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn sealed(&mut self, member: &str, text: &str) -> &str {
        let number = self.sealed.len() + 1;
        self.sealed.entry(text.to_owned()).or_insert_with(|| format!("{member}-{number}"))
    }

    /// The text with minted ids and sealed values under their stable names.
    fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (sealed, name) in &self.sealed {
            text = text.replace(sealed, name);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            match minted(rest) {
                Some(length) => {
                    let number = self.ids.len() + 1;
                    let example = if length == 36 {
                        format!("0195519e-0000-7000-8000-{number:012}")
                    } else {
                        format!("{number:032}")
                    };
                    out += self.ids.entry(rest[..length].to_owned()).or_insert(example);
                    rest = &rest[length..];
                }
                None => {
                    let next = rest.chars().next().map_or(0, char::len_utf8);
                    out += &rest[..next];
                    rest = &rest[next..];
                }
            }
        }
        out
    }
}

/// The length of the minted id that the text begins with: a UUID, or 32 hexadecimal digits.
fn minted(text: &str) -> Option<usize> {
    let hex = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let bytes = text.as_bytes();
    let uuid = bytes.get(..36).is_some_and(|part| {
        [8, 13, 18, 23].iter().all(|at| part[*at] == b'-') && part.split(|byte| *byte == b'-').all(hex)
    });
    if uuid {
        return Some(36);
    }
    bytes.get(..32).is_some_and(hex).then_some(32)
}

impl Vector {
    /// What comes down a stream that stays open; the caller has compared its form.
    pub(super) fn says_by_stream(&mut self, who: &str, text: &str) {
        let request = json!({"method": "GET", "path": "/sync/live"});
        self.steps.push(json!({"who": who, "request": request, "response": {"status": 200, "body": text}}));
    }
}
