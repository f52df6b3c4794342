//! Bodies that are broken, wrong, too large or strangely packed.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Person, World, on_both};

on_both!(
    a_body_that_cannot_be_read_is_malformed,
    a_body_that_lacks_parts_names_them_all,
    of_thousands_of_faults_some_are_listed_and_the_others_counted,
    text_with_a_nul_is_refused_with_its_place,
    a_body_that_never_comes_ends_the_connection,
    a_body_that_nobody_reads_ends_the_connection,
    a_body_over_the_limit_is_refused_packed_or_not,
    an_unknown_or_doubled_encoding_is_refused,
    a_packed_body_is_read_as_what_it_holds,
    tokens_that_are_not_ours_are_refused,
);

/// Sends these bytes to an operation that takes a body.
async fn sent(person: &Person, encodings: &[&str], body: Vec<u8>) -> Answer {
    let mut request = person.request(Method::POST, "/teams").header("content-type", "application/json").body(body);
    for encoding in encodings {
        request = request.header("content-encoding", *encoding);
    }
    person.send("POST /teams", request).await
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory does not fail")
}

async fn a_body_that_cannot_be_read_is_malformed(world: World) {
    let ada = world.ada().await;
    let deep = "[".repeat(200) + &"]".repeat(200);
    for body in
        ["", "{", "{\"name\": 1e400}", "\u{feff}{}", "{\"name\":\"\\ud800\"}", "{\"name\":\"a\",\"name\":\"b\"}", &deep]
    {
        let problem = sent(&ada, &[], body.as_bytes().to_vec()).await.refused(400);
        assert_eq!(problem["code"], "malformed", "{body}");
        assert!(!problem.to_string().contains("line 1"), "no parser's words: {problem}");
    }
    sent(&ada, &[], b"{\"name\":\"\xff\"}".to_vec()).await.refused(400);
}

async fn a_body_that_lacks_parts_names_them_all(world: World) {
    let problem = world.stranger().post("/auth/login", json!({"email": 5, "role": "administrator"})).await.refused(422);
    let errors = problem["errors"].as_array().expect("a list");
    let named: Vec<_> = errors.iter().map(|fault| (fault["pointer"].clone(), fault["code"].clone())).collect();
    let expected =
        [("/email", "wrong_type"), ("/password", "required"), ("/device_id", "required"), ("/role", "unknown_field")];
    assert_eq!(named, expected.map(|(pointer, code)| (json!(pointer), json!(code))));
    world.stranger().post("/auth/login", json!([])).await.refused(422);
}

async fn text_with_a_nul_is_refused_with_its_place(world: World) {
    let ada = world.ada().await;
    let problem = ada.post("/teams", json!({"name": "a\0b"})).await.refused(422);
    assert_eq!((&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]), (&json!("/name"), &json!("nul")));
    let problem = ada.post("/teams", json!({"name": "two\r\nlines"})).await.refused(422);
    assert_eq!(problem["errors"][0]["code"], "control_character");
}

async fn a_body_over_the_limit_is_refused_packed_or_not(world: World) {
    let ada = world.ada().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(sent(&ada, &["gzip"], packed(large.as_bytes())).await.refused(413)["max_bytes"], 2 << 20);
    assert_eq!(sent(&ada, &["gzip"], packed(&vec![0; 200 << 20])).await.refused(413)["code"], "too_large");
    let fitting = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    sent(&ada, &["gzip"], packed(fitting.as_bytes())).await.refused(422);
}

async fn an_unknown_or_doubled_encoding_is_refused(world: World) {
    let ada = world.ada().await;
    let body = packed(b"{\"name\":\"West\"}");
    for encodings in [&["zzz"][..], &["br"], &["gzip, gzip"], &["gzip", "gzip"]] {
        sent(&ada, encodings, body.clone()).await.refused(415);
    }
    sent(&ada, &["gzip"], b"not packed at all".to_vec()).await.refused(400);
}

async fn a_packed_body_is_read_as_what_it_holds(world: World) {
    let ada = world.ada().await;
    assert_eq!(sent(&ada, &["gzip"], packed(b"{\"name\":\"West\"}")).await.ok()["name"], "West");
    assert_eq!(sent(&ada, &["identity"], b"{\"name\":\"East\"}".to_vec()).await.ok()["name"], "East");
}

async fn tokens_that_are_not_ours_are_refused(world: World) {
    let ana = world.ana().await;
    let good = ana.session()["access_token"].as_str().expect("a token").to_owned();
    let unsigned = format!("{}.", good.rsplit_once('.').expect("three parts").0);
    let client = reqwest::Client::new();
    for header in ["", "Bearer", "Bearer x", "Basic YTpi", &format!("Bearer {unsigned}"), &format!("Bearer {good}x")] {
        let asked = client.get(format!("{}/api/v1/me", world.url)).header("authorization", header);
        let answer = Answer::of(header.into(), asked.send().await).await;
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{header}");
        answer.refused(401);
    }
    let twice = client.get(format!("{}/api/v1/me", world.url)).bearer_auth(&good).header("authorization", "Bearer x");
    assert_eq!(twice.send().await.expect("an answer").status(), 401);
}

async fn a_body_that_never_comes_ends_the_connection(world: World) {
    let ada = world.ada().await;
    let host = world.url.trim_start_matches("http://").to_owned();
    let mut line = TcpStream::connect(&host).await.expect("a connection");
    let head = format!(
        "POST /api/v1/teams HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        ada.token()
    );
    line.write_all(head.as_bytes()).await.expect("it is read");
    let mut said = String::new();
    let read = tokio::time::timeout(Duration::from_secs(25), line.read_to_string(&mut said)).await;
    read.expect("the server hangs up").expect("text");
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.to_lowercase().contains("connection: close"), "{said}");
}

/// An answer may go out before a body of no declared length has come, and it may never end.
async fn a_body_that_nobody_reads_ends_the_connection(world: World) {
    let host = world.url.trim_start_matches("http://").to_owned();
    for (head, status) in
        [("PUT /healthz", 405), ("GET /healthz", 200), ("POST /api/v1/nowhere", 404), ("POST /api/v1/notes", 401)]
    {
        let mut line = TcpStream::connect(&host).await.expect("a connection");
        let text = format!("{head} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
        line.write_all(text.as_bytes()).await.expect("it is read");
        let mut said = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(25), line.read_to_end(&mut said)).await;
        read.unwrap_or_else(|_| panic!("{head}: the server goes on reading")).expect("bytes");
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
    }
    // One that has ended leaves the line open for the next request.
    let mut line = TcpStream::connect(&host).await.expect("a connection");
    let body = "0\r\n\r\n";
    let first = format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let second = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    line.write_all(format!("{first}{second}").as_bytes()).await.expect("it is read");
    let mut said = String::new();
    line.read_to_string(&mut said).await.expect("text");
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("HTTP/1.1 200 "), "{said}");
}

async fn of_thousands_of_faults_some_are_listed_and_the_others_counted(world: World) {
    let document = crate::support::Document::of(&world).await;
    let made_up: serde_json::Map<String, serde_json::Value> =
        (0..80_000).map(|at| (format!("m{at}"), json!(1))).collect();
    let answer = world.stranger().post("/auth/login", json!(made_up)).await;
    assert!(answer.text.len() < 20_000, "{}", answer.text.len());
    let problem = answer.refused(422);
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(100));
    assert_eq!(problem["more_errors"], 80_003 - 100);
    document.describes("login", 422, &problem);
    let nul = json!({"name": vec!["\0"; 3000]});
    assert_eq!(world.ada().await.post("/teams", nul).await.refused(422)["more_errors"], 2900);
}
