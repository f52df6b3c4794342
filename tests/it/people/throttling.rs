//! Guessing passwords, and being left alone by those who do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PASSWORD, Person, Town, World, on_both};

on_both!(
    guessing_one_account_is_stopped_for_a_quarter_of_an_hour,
    all_processes_count_together,
    a_device_that_the_account_knows_is_not_locked_out_by_strangers,
    what_nobody_had_time_to_look_at_was_no_attempt,
    one_house_counts_as_one_address,
    one_password_tried_on_many_accounts_is_stopped,
    success_does_not_use_up_tries,
    a_wiped_phone_with_the_right_password_uses_up_no_tries,
    a_flood_from_one_address_is_told_to_wait,
    what_one_process_let_through_counts_in_the_others,
    one_address_holds_so_many_connections_and_no_more,
);

/// A stranger on a device never seen before, trying an account.
async fn guess(base: &str, email: &str, password: &str) -> u16 {
    Person::at(base, email).tries_to_log_in(password).await.status
}

async fn guessing_one_account_is_stopped_for_a_quarter_of_an_hour(world: World) {
    for at in 0..10 {
        assert_eq!(guess(&world.url, "ben@demo.example", &format!("wrong guess {at}")).await, 401);
    }
    let stopped = Person::at(&world.url, "ben@demo.example").tries_to_log_in(PASSWORD).await;
    let wait: u64 = stopped.header("retry-after").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{wait}");
    stopped.refused(429);
    assert_eq!(guess(&world.url, "BEN@demo.example ", PASSWORD).await, 429, "however the address is written");
    world.pass_secs(901);
    assert_eq!(guess(&world.url, "ben@demo.example", PASSWORD).await, 200);
}

async fn all_processes_count_together(mut world: World) {
    let other = world.another_server().await;
    for at in 0..10 {
        let base = if at % 2 == 0 { &world.url } else { &other };
        assert_eq!(guess(base, "nobody@demo.example", &format!("wrong guess {at}")).await, 401);
    }
    for base in [&world.url, &other] {
        assert_eq!(
            guess(base, "nobody@demo.example", "another guess").await,
            429,
            "an unknown account is no different"
        );
    }
}

async fn a_device_that_the_account_knows_is_not_locked_out_by_strangers(world: World) {
    let ana = world.ana().await;
    for at in 0..12 {
        guess(&world.url, "ana@demo.example", &format!("wrong guess {at}")).await;
    }
    assert_eq!(guess(&world.url, "ana@demo.example", PASSWORD).await, 429);
    ana.tries_to_log_in(PASSWORD).await.ok();
    for at in 0..10 {
        ana.tries_to_log_in(&format!("mistyped {at}")).await.refused(401);
    }
    ana.tries_to_log_in(PASSWORD).await.refused(429);
}

async fn what_nobody_had_time_to_look_at_was_no_attempt(world: World) {
    let ana = world.ana().await;
    // A server that never comes to look at a password, with as many strangers waiting as there is room for.
    let url = world.serve_with(|config| config.passwords_at_once = 0);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for at in 0..40 {
        let (url, tell) = (url.clone(), tell.clone());
        tokio::spawn(async move {
            let status = guess(&url, &format!("nobody-{at}@x.example"), &format!("guess {at}")).await;
            tell.send(status).expect("somebody listens");
        });
    }
    assert_eq!(told.recv().await, Some(503), "there is no room for more");
    for _ in 0..12 {
        ana.through(&url).tries_to_log_in(PASSWORD).await.refused(503);
    }
    ana.tries_to_log_in(PASSWORD).await.ok();
    ana.tries_to_log_in("mistyped").await.refused(401);
}

async fn one_house_counts_as_one_address(world: World) {
    let url = world.serve_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")]);
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let mut seen = Vec::new();
    for at in 0..61 {
        let who = serde_json::json!({"email": format!("nobody-{at}@x.example"), "password": format!("guess {at}"),
            "device_id": "device-of-a-stranger"});
        let request = client.post(format!("{url}/api/v1/auth/login")).json(&who);
        // Some proxies write the port as well.
        let address = format!("2001:db8:1:1::{at:x}");
        let hop = if at % 2 == 0 { address } else { format!("[{address}]:443{at:02}") };
        let request = request.header("x-forwarded-for", hop);
        seen.push(request.send().await.expect("an answer").status().as_u16());
    }
    assert_eq!((seen[..60].iter().filter(|status| **status == 401).count(), seen[60]), (60, 429));
}

async fn one_password_tried_on_many_accounts_is_stopped(world: World) {
    for at in 0..20 {
        assert_eq!(guess(&world.url, &format!("user{at}@demo.example"), "Spring2027!!").await, 401);
    }
    assert_eq!(guess(&world.url, "user20@demo.example", "Spring2027!!").await, 429);
    assert_eq!(guess(&world.url, "user21@demo.example", "another one").await, 401);
}

async fn success_does_not_use_up_tries(world: World) {
    for _ in 0..25 {
        assert_eq!(guess(&world.url, "ana@demo.example", PASSWORD).await, 200);
    }
}

async fn a_flood_from_one_address_is_told_to_wait(world: World) {
    let url = world.serve_with(|config| {
        config.rate_per_second = 1;
        config.rate_burst = 5;
    });
    let client = reqwest::Client::new();
    let mut seen = Vec::new();
    for _ in 0..7 {
        let answer = client.get(format!("{url}/healthz")).header("x-forwarded-for", "192.0.2.1").send().await;
        seen.push(answer.expect("an answer").status().as_u16());
    }
    assert_eq!(seen[..5], [200; 5]);
    assert!(seen[5..].contains(&429), "{seen:?}: a claim to be somebody else is not believed");
}

/// Asks until it is told to wait, with so many milliseconds in between; how often it was answered before that.
async fn asks_until_refused(url: &str, most: usize, pause: u64) -> usize {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    for answered in 0..most {
        let answer = client.get(format!("{url}/healthz")).send().await.expect("an answer");
        if answer.status().as_u16() == 429 {
            return answered;
        }
        // Processes learn of each other a moment later: there is nothing here to be told by.
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    most
}

async fn what_one_process_let_through_counts_in_the_others(town: Town) {
    let settings = [("FIELDSTONE_RATE_PER_SECOND", "1"), ("FIELDSTONE_RATE_BURST", "1000")];
    let (one, other) = (town.server_with(&settings).await, town.server_with(&settings).await);
    let here = asks_until_refused(&one.url, 1200, 0).await;
    assert!((500..1200).contains(&here), "{here}: a burst, but for what asking whether it is ready used up");
    // It learns once it has told of a caller itself, not before: so not at its first request.
    let there = asks_until_refused(&other.url, 1000, 20).await;
    assert!(there < 500, "{there}: its own burst is used up by what the other has let through");
}

/// A connection on which a request was answered, or `None` where it was closed instead.
async fn connects(url: &str) -> Option<TcpStream> {
    let mut line = TcpStream::connect(url.trim_start_matches("http://")).await.expect("a connection");
    line.write_all(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n").await.ok()?;
    let mut answer = [0; 12];
    line.read_exact(&mut answer).await.ok()?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    Some(line)
}

async fn one_address_holds_so_many_connections_and_no_more(world: World) {
    let url = world.serve_with(|config| config.connections_per_address = 3);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connects(&url).await.expect("there is room"));
    }
    assert!(connects(&url).await.is_none(), "a fourth is closed");
    held.pop();
    // The server hears a moment later that one has gone.
    let mut again = None;
    while again.is_none() {
        again = connects(&url).await;
    }
    assert!(connects(&url).await.is_none());
    let proxied = world.serve_with(|config| {
        config.connections_per_address = 1;
        config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    });
    let (one, two) = (connects(&proxied).await, connects(&proxied).await);
    assert!(one.is_some() && two.is_some(), "everybody is behind the proxy");
}

async fn a_wiped_phone_with_the_right_password_uses_up_no_tries(world: World) {
    let (ana, ada) = (world.ana().await, world.ada().await);
    assert_eq!(ada.post(&format!("/devices/{}/wipe", ana.device_id), serde_json::json!({})).await.status, 204);
    for _ in 0..12 {
        ana.tries_to_log_in(PASSWORD).await.refused(403);
    }
    ana.on_another_device().logs_in().await;
    for at in 0..10 {
        ana.tries_to_log_in(&format!("guess {at}")).await.refused(401);
        ana.tries_to_log_in(PASSWORD).await.refused(if at < 9 { 403 } else { 429 });
    }
}
