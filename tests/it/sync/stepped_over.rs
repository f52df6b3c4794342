//! Pages of the RxDB face, where a row stands on several paths of which one ends: it is named, and once to a page.

use serde_json::{Value, json};

use super::rules::{hands_over, opens_case};
use super::rxdb::{Collection, find};
use crate::support::{Phone, World, on_both};

on_both!(
    a_row_that_stays_by_one_path_is_named_once_where_another_ended,
    a_row_is_not_stepped_over_where_one_of_its_paths_ends_between_two_pages,
    a_row_before_the_middle_of_a_commit_is_not_stepped_over_either,
);

/// A person of two cases one of which was lost, on a page that is filled from beyond the loss.
async fn a_row_that_stays_by_one_path_is_named_once_where_another_ended(world: World) {
    let ana = world.ana().await;
    let mut phone = Phone::of(&ana);
    let (a, b, d) = (opens_case(&mut phone).await, opens_case(&mut phone).await, opens_case(&mut phone).await);
    let person = async |cases: &[&String]| {
        let made = ana.post("/persons", json!({"given_name": "Noor"})).await.ok();
        let id = made["id"].as_str().expect("an id").to_owned();
        for case in cases {
            ana.post("/case_parties", json!({"case_id": case, "person_id": id})).await.ok();
            world.pass_secs(1);
        }
        id
    };
    let both = person(&[&a, &b]).await;
    person(&[&d]).await;
    hands_over(&world, &d, "ben@demo.example").await;
    let later = person(&[&a]).await;
    world.pass_secs(1);
    hands_over(&world, &b, "ben@demo.example").await;
    for limit in 1..6 {
        let documents = Collection::of(&ana, "persons").pulls(limit).await;
        for id in [&both, &later] {
            let named: Vec<_> = documents.iter().filter(|document| document["id"] == json!(id)).collect();
            assert!(!named.is_empty(), "{limit}");
            assert!(named.iter().all(|document| document["_deleted"] == json!(false)), "{limit}: {named:?}");
        }
        let mut collection = Collection::of(&ana, "persons");
        loop {
            let page = collection.page(limit).await;
            let mut ids: Vec<_> = page["documents"].as_array().expect("a list").iter().map(|one| &one["id"]).collect();
            let all = ids.len();
            ids.sort_by_key(|id| id.to_string());
            ids.dedup();
            assert_eq!(ids.len(), all, "a page names a row once");
            if all < limit {
                break;
            }
        }
    }
}

/// A person of two cases, gained one after the other; the second is lost when its page has been sent to its middle.
async fn a_row_is_not_stepped_over_where_one_of_its_paths_ends_between_two_pages(world: World) {
    let ben = world.ben().await;
    let mut phone = Phone::of(&ben);
    let (first, second) = (opens_case(&mut phone).await, opens_case(&mut phone).await);
    let person = async |cases: &[&String]| {
        world.pass_secs(1); // so that ids are in order
        let made = ben.post("/persons", json!({"given_name": "Noor"})).await.ok();
        for case in cases {
            ben.post("/case_parties", json!({"case_id": case, "person_id": made["id"]})).await.ok();
        }
        made["id"].clone()
    };
    let alone = [person(&[&second]).await, person(&[&second]).await];
    let both = person(&[&first, &second]).await;
    for case in [&first, &second] {
        world.pass_secs(1);
        hands_over(&world, case, "ana@demo.example").await;
    }
    world.pass_secs(1);
    let ana = world.ana().await;
    let mut persons = Collection::of(&ana, "persons");
    let page = persons.page(1).await;
    assert_eq!(page["documents"][0]["id"], alone[0], "the page ends before the person of both");
    hands_over(&world, &second, "ben@demo.example").await;
    let rest = persons.pulls(1).await;
    assert_eq!(find(&rest, both.as_str().expect("an id"))["_deleted"], json!(false), "{rest:?}");
}

/// The page ends in the middle of a commit, beyond the place that a row has there once its other path has ended.
async fn a_row_before_the_middle_of_a_commit_is_not_stepped_over_either(world: World) {
    let ben = world.ben().await;
    let mut phone = Phone::of(&ben);
    let cases = [opens_case(&mut phone).await, opens_case(&mut phone).await, opens_case(&mut phone).await];
    let person = async |of: &[usize]| {
        world.pass_secs(1); // so that ids are in order
        let made = ben.post("/persons", json!({"given_name": "Noor"})).await.ok();
        for case in of {
            ben.post("/case_parties", json!({"case_id": cases[*case], "person_id": made["id"]})).await.ok();
        }
        made["id"].clone()
    };
    let first = [person(&[0]).await, person(&[0]).await, person(&[0]).await];
    let (both, last) = (person(&[1, 2]).await, person(&[1]).await);
    for case in &cases {
        world.pass_secs(1);
        hands_over(&world, case, "ana@demo.example").await;
    }
    world.pass_secs(1);
    let ana = world.ana().await;
    let mut persons = Collection::of(&ana, "persons");
    let page = persons.page(4).await;
    let named: Vec<&Value> = page["documents"].as_array().expect("a list").iter().map(|one| &one["id"]).collect();
    assert_eq!(named, first.iter().chain([&last]).collect::<Vec<_>>());
    hands_over(&world, &cases[2], "ben@demo.example").await;
    let rest = persons.pulls(4).await;
    assert_eq!(find(&rest, both.as_str().expect("an id"))["_deleted"], json!(false), "{rest:?}");
}
