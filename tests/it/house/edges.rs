//! The crate edges of ARCHITECTURE.md, read from `cargo metadata` so that no sentence has to be believed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Who may know whom, among our own crates. Dev-dependencies count too.
const EDGES: &[(&str, &[&str])] = &[
    ("fieldstone", &["api", "entities", "migrations", "worker"]),
    ("api", &["entities"]),
    ("worker", &["entities"]),
    ("entities", &[]),
    ("migrations", &[]),
];

#[test]
fn every_crate_knows_only_the_crates_it_may_know() {
    let wanted: BTreeMap<String, BTreeSet<String>> = EDGES
        .iter()
        .map(|(from, to)| ((*from).to_owned(), to.iter().map(|name| (*name).to_owned()).collect()))
        .collect();
    assert_eq!(edges(), wanted);
}

#[test]
fn entities_knows_no_http_no_mail_and_no_runtime() {
    for krate in ["entities", "migrations"] {
        let known = dependencies(krate);
        for banned in ["actix-web", "actix-http", "lettre", "tokio", "reqwest", "clap", "figment"] {
            assert!(!known.contains(banned), "{krate} must not depend on {banned}");
        }
    }
}

#[test]
fn what_is_for_tests_and_benchmarks_alone_is_in_no_release() {
    for package in metadata() {
        let asked = list(&package["dependencies"]).into_iter().filter(|dependency| dependency["kind"] != "dev");
        let asked =
            asked.flat_map(|dependency| list(&dependency["features"])).chain(list(&package["features"]["default"]));
        let asked: Vec<Value> = asked.filter(|feature| feature == "later" || feature == "wide").collect();
        assert_eq!(asked, Vec::<Value>::new(), "{}", name(&package));
    }
}

fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let packages = metadata();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let known = list(&package["dependencies"]).into_iter().map(|d| name(&d));
            (name(package), known.filter(|name| ours.contains(name)).collect())
        })
        .collect()
}

fn dependencies(krate: &str) -> BTreeSet<String> {
    let packages = metadata();
    let found = packages.iter().find(|package| name(package) == krate).expect("the crate is in the workspace");
    list(&found["dependencies"]).iter().filter(|dependency| dependency["kind"] != "dev").map(name).collect()
}

fn metadata() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata answers with JSON");
    list(&read["packages"])
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn name(of: &Value) -> String {
    of["name"].as_str().unwrap_or_default().to_owned()
}
