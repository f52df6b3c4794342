//! SIGTERM: requests under way are answered, then the process ends by itself. And what it has written by then.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Kind, Phone, Town, on_both};

on_both!(
    a_push_that_is_under_way_when_the_server_is_asked_to_stop_is_answered,
    a_server_whose_terminal_is_closed_stops_as_one_that_is_asked_to,
    what_strangers_send_wrong_writes_no_line_that_asks_for_a_person,
    a_database_that_everybody_can_read_is_told_of_at_the_start,
);

async fn a_push_that_is_under_way_when_the_server_is_asked_to_stop_is_answered(town: Town) {
    let mut server = town.server().await;
    let ana = server.person("ana@demo.example").await;
    let mut phone = Phone::of(&ana);
    phone.pulls().await;
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "Pushed while stopping"}));
    let body = phone.outgoing().to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut line = TcpStream::connect(&address).expect("the server listens");
    // The interim answer tells that the request is being handled.
    let head = format!(
        "POST /api/v1/sync?last_pulled_at={} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        phone.cursor.expect("it has pulled"),
        ana.token(),
        body.len()
    );
    line.write_all(head.as_bytes()).expect("the head is taken");
    let mut interim = [0; 25];
    line.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    line.write_all(first.as_bytes()).expect("the first half is taken");
    server.is_asked_to_stop();
    server.says("stopping").await;
    line.write_all(rest.as_bytes()).expect("the second half is taken");
    let mut answer = String::new();
    line.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let status = server.ends().await;
    assert!(status.success(), "{status}: {}", server.log());

    let again = town.server().await;
    let mut fresh = Phone::of(&ana.through(&again.url));
    fresh.pulls().await;
    assert!(fresh.row("cases", &case).is_some(), "what was answered is there");
}

async fn a_server_whose_terminal_is_closed_stops_as_one_that_is_asked_to(town: Town) {
    let mut server = town.server().await;
    server.is_told("HUP");
    server.says("stopped").await;
    assert!(server.ends().await.success());
}

async fn what_strangers_send_wrong_writes_no_line_that_asks_for_a_person(town: Town) {
    let mut server = town.server().await;
    let address = server.url.trim_start_matches("http://").to_owned();
    for wrong in ["GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", "nonsense\r\n\r\n"] {
        let mut line = TcpStream::connect(&address).expect("the server listens");
        line.write_all(wrong.as_bytes()).expect("it is taken");
        let mut answer = String::new();
        line.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    server.is_asked_to_stop();
    assert!(server.ends().await.success());
    let log = server.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

async fn a_database_that_everybody_can_read_is_told_of_at_the_start(town: Town) {
    let server = town.server().await;
    assert!(!server.log().contains("open to other users"), "{}", server.log());
    if town.db.kind == Kind::Postgres {
        return; // who may read it there is for PostgreSQL to say
    }
    let file = town.db.url.trim_start_matches("sqlite://");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).expect("open to others");
    let server = town.server().await;
    server.says("open to other users of this machine").await;
}
