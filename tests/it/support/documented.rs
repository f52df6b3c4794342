//! Every answer that a test gets is one that the OpenAPI document promises.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use reqwest::header::HeaderMap;

struct Operation {
    method: String,
    /// Its path in parts, as `cases` and `{id}`.
    parts: Vec<String>,
    /// With each status the headers that it carries, of those that say something of the body.
    statuses: BTreeMap<u16, BTreeSet<String>>,
}

const HEADERS: [&str; 3] = ["etag", "location", "sync-after"];

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let today = entities::Instant::parse("2027-03-01T15:00:00Z").expect("an instant");
    let document = api::openapi::document(&api::operations(false), today);
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let statuses = operation["responses"].as_object().expect("responses").iter().map(|(status, answer)| {
                let headers = answer["headers"].as_object().into_iter().flatten().map(|(name, _)| name.to_lowercase());
                (status.parse().expect("a status"), headers.filter(|name| HEADERS.contains(&name.as_str())).collect())
            });
            all.push(Operation { method: method.to_uppercase(), parts: parts(path), statuses: statuses.collect() });
        }
    }
    all
});

fn parts(path: &str) -> Vec<String> {
    path.split('/').map(str::to_owned).collect()
}

/// Fails where the document knows the operation and does not know the status, or names other headers. What it does not know, such as a path that
/// is not there, is nobody's promise.
#[track_caller]
pub fn is_documented(method: &str, path: &str, status: u16, headers: &HeaderMap) {
    let asked = parts(path);
    let fits = |operation: &&Operation| {
        let same = |(one, other): (&String, &String)| one == other || (one.starts_with('{') && !other.is_empty());
        operation.method == method
            && operation.parts.len() == asked.len()
            && operation.parts.iter().zip(&asked).all(same)
    };
    // Where two fit, the one that is spelt out is meant.
    let named = |operation: &&Operation| operation.parts.iter().filter(|part| part.starts_with('{')).count();
    if let Some(operation) = OPERATIONS.iter().filter(fits).min_by_key(named) {
        let promised = operation.statuses.get(&status);
        let carried = HEADERS.iter().filter(|name| headers.contains_key(**name)).map(|name| (*name).to_owned());
        assert_eq!(
            Some(&carried.collect()),
            promised,
            "{method} {path} answered {status}, and the document promises {:?}",
            operation.statuses
        );
    }
}
