//! Many phones at once, and few connections.

use std::time::Duration;

use entities::store::{Pool, Store};
use futures_util::future::join_all;

use super::rules::opens_case;
use crate::support::{Phone, World, on_both};

on_both!(
    first_syncs_that_outnumber_the_connections_are_all_answered,
    questions_that_outnumber_the_connections_are_all_answered,
);

async fn first_syncs_that_outnumber_the_connections_are_all_answered(world: World) {
    let ana = world.ana().await;
    let case = opens_case(&mut Phone::of(&ana)).await;
    // The limit only ends a test that has failed: connections that wait for each other wait for ever.
    let few = Pool { connections: 2, wait: Duration::from_secs(20) };
    let store = Store::open(&world.db.url, few, world.clock.clone()).await.expect("the database opens");
    let url = world.serve_on(store);
    let phones: Vec<Phone> = join_all((0..8).map(|_| async {
        let person = ana.on_another_device();
        person.logs_in().await;
        Phone::of(&person.through(&url))
    }))
    .await;
    let replies = join_all(phones.iter().map(|phone| phone.asks(""))).await;
    for reply in replies {
        assert_eq!(reply.ok()["changes"]["cases"]["updated"][0]["id"], case);
    }
}

async fn questions_that_outnumber_the_connections_are_all_answered(world: World) {
    let ana = world.ana().await;
    let case = opens_case(&mut Phone::of(&ana)).await;
    let few = Pool { connections: 2, wait: Duration::from_secs(20) };
    let store = Store::open(&world.db.url, few, world.clock.clone()).await.expect("the database opens");
    let ana = ana.through(&world.serve_on(store));
    let paths =
        [format!("/cases/{case}/workflow"), format!("/cases/{case}/history"), "/notes".into(), "/sync/digest".into()];
    for path in &paths {
        for answer in join_all((0..12).map(|_| ana.get(path))).await {
            answer.ok();
        }
    }
}
