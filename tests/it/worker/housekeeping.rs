//! What is over is forgotten in time, what is not stays however old, and an operator sees what waits.

use entities::casework::case;
use entities::sql;
use entities::workflow::prune;
use serde_json::json;

use super::office::{ANA, BEN, Office};
use crate::support::server::{Server, free_port};
use crate::support::{Person, Town, World, on_both};

on_both!(
    what_is_over_is_forgotten_and_what_is_pending_or_stuck_stays,
    a_deleted_case_takes_its_record_with_it,
    forgetting_goes_by_small_batches,
    a_worker_forgets_by_itself,
    queues_are_seen_on_the_admin_listener,
);

const DAYS: u32 = 400;

impl Office {
    async fn forgets(&self) -> u64 {
        let mut gone = 0;
        loop {
            match prune::batch(self.store(), DAYS).await.expect("it forgets") {
                0 => return gone,
                some => gone += some,
            }
        }
    }

    async fn count(&self, of: &str) -> String {
        self.asks(&format!("select '' || count(*) from {of}"), vec![]).await.remove(0)
    }
}

async fn what_is_over_is_forgotten_and_what_is_pending_or_stuck_stays(world: World) {
    let office = Office::open(world).await;
    let (case, bens) = (office.case_of(ANA).await, office.case_of(BEN).await);
    office.goal(&case, "2027-03-18").await;
    office.goal(&bens, "2027-03-18").await;
    office.post.refuses("data:ben@demo.example", "554 5.6.0 not this message");
    for instant in ["2027-03-04T13:05:00Z", "2027-03-11T13:05:00Z"] {
        office.works_at(instant).await;
    }
    let pending = office.count("wf_timer where state = 'pending'").await;
    let ledger = office.count("wf_ledger where case_id is not null").await;
    let sent = office.mails_to(ANA).len();
    for (what, of) in [
        ("fired", "wf_timer where state = 'fired'"),
        ("ended", "wf_ledger where case_id is null"),
        ("sent", "outbound_message where state = 'sent'"),
        ("dead", "outbound_message where state = 'dead'"),
    ] {
        assert_ne!(office.count(of).await, "0", "{what}");
    }
    office.world.set_clock("2028-04-06T13:00:00Z");
    assert_eq!(office.forgets().await, 0, "not before the retention is over");
    office.world.set_clock("2028-04-20T13:00:00Z");
    assert!(office.forgets().await > 4);
    for of in [
        "wf_timer where state <> 'pending' and state <> 'dead'",
        "wf_ledger where case_id is null",
        "outbound_message where state = 'sent'",
    ] {
        assert_eq!(office.count(of).await, "0", "{of}");
    }
    assert_eq!(office.count("wf_timer where state = 'pending'").await, pending);
    assert_eq!(office.count("outbound_message where state = 'dead'").await, "2");
    assert_eq!(office.count("wf_ledger where case_id is not null").await, ledger, "what makes `once` last");
    office.works().await;
    let again: Vec<String> = office.mails_to(ANA).into_iter().skip(sent).map(|mail| mail.subject).collect();
    assert!(!again.iter().any(|subject| subject.contains("14 days") || subject.contains("7 days")), "{again:?}");
}

async fn a_deleted_case_takes_its_record_with_it(world: World) {
    let office = Office::open(world).await;
    let (case, kept) = (office.case_of(ANA).await, office.case_of(ANA).await);
    office.goal(&case, "2027-03-18").await;
    office.goal(&kept, "2027-03-18").await;
    office.works_at("2027-03-04T13:05:00Z").await;
    let mut write = office.write().await;
    let row = write.load::<case::Entity>(&case).await.expect("a case").expect("it is there");
    write.remove::<case::Entity>(&row).await.expect("it is deleted");
    write.commit().await.expect("a commit");
    let of_case = async |table: &str, case: &str| office.count(&format!("{table} where case_id = '{case}'")).await;
    assert_ne!(of_case("wf_ledger", &case).await, "0");
    office.world.set_clock("2028-04-20T13:00:00Z");
    office.forgets().await;
    for table in ["wf_ledger", "wf_watch", "wf_timer"] {
        assert_eq!(of_case(table, &case).await, "0", "{table}");
    }
    assert_ne!(of_case("wf_ledger", &kept).await, "0");
    assert_ne!(of_case("wf_watch", &kept).await, "0");
}

/// So many timers that came to their end long ago.
async fn plant_fired(store: &entities::Store, many: u64) {
    let side = store.side().await.expect("a transaction");
    let text = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {many}) \
         insert into wf_timer (id, agency_id, case_id, rule_id, rule_version, subject_kind, subject_id, anchor, step, key, \
         nominal_local, zone, due_at, try_at, state, reason, attempts, changed_at) \
         select 'old-' || i, 'a', null, 'r', 1, 'goal', 's', 'x', 'd1', 'old-' || i, '', 'UTC', 1, 1, 'fired', '', 0, 1 from n"
    );
    sql::exec(&*side, &text, vec![]).await.expect("they are planted");
    side.commit().await.expect("a commit");
}

async fn forgetting_goes_by_small_batches(world: World) {
    plant_fired(&world.store, 2 * prune::BATCH + 7).await;
    let mut batches = Vec::new();
    for _ in 0..4 {
        batches.push(prune::batch(&world.store, DAYS).await.expect("it forgets"));
    }
    assert_eq!(batches, [prune::BATCH, prune::BATCH, 7, 0]);
}

async fn a_worker_forgets_by_itself(town: Town) {
    plant_fired(&town.store, prune::BATCH + 7).await;
    let settings = town.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let worker = Server::launch(&["worker"], &settings);
    for tries in 0.. {
        let left = sql::all(town.store.connection(), "select 1 from wf_timer where id like 'old-%'", vec![]).await;
        if left.expect("timers").is_empty() {
            break;
        }
        assert!(tries < 1500, "it forgets nothing. It wrote:\n{}", worker.log());
        // Waiting for another process: there is nothing here to be told by.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn queues_are_seen_on_the_admin_listener(town: Town) {
    let admin = format!("127.0.0.1:{}", free_port());
    let server = town.server_with(&[("FIELDSTONE_ADMIN_LISTEN", &admin)]).await;
    let page =
        async || reqwest::get(format!("http://{admin}/metrics")).await.expect("a page").text().await.expect("text");
    let of = |page: &str, name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    let empty = page().await;
    for name in ["fieldstone_timers_due", "fieldstone_timers_oldest_due_seconds", "fieldstone_mail_oldest_due_seconds"]
    {
        assert_eq!(of(&empty, name), 0.0, "{name}");
    }
    // Nobody sends here, so an invitation waits; its wait and a timer are made older than a test can wait.
    let ada: Person = server.person("ada@demo.example").await;
    ada.post("/users", json!({"display_name": "Nia", "email": "nia@demo.example", "role": "caseworker"})).await.ok();
    plant_fired(&town.store, 3).await;
    let side = town.store.side().await.expect("a transaction");
    let hour_ago = side.now().plus_secs(-3600).0;
    for text in [
        "update outbound_message set next_at = $1",
        "update wf_timer set state = 'pending', try_at = $1 where id <> 'old-3'",
        "update wf_timer set state = 'dead', try_at = $1 where id = 'old-3'",
    ] {
        sql::exec(&*side, text, vec![hour_ago.into()]).await.expect("it waits for an hour");
    }
    side.commit().await.expect("a commit");
    let page = page().await;
    assert_eq!(of(&page, "fieldstone_timers_due"), 2.0);
    assert_eq!(of(&page, "fieldstone_timers_dead"), 1.0);
    assert_eq!(of(&page, "fieldstone_mail_waiting{state=\"queued\"}"), 1.0);
    assert_eq!(of(&page, "fieldstone_mail_waiting{state=\"dead\"}"), 0.0);
    for name in ["fieldstone_timers_oldest_due_seconds", "fieldstone_mail_oldest_due_seconds"] {
        assert!((3600.0..4200.0).contains(&of(&page, name)), "{name}: {}", of(&page, name));
    }
    assert!(!page.contains("nia@") && !page.contains("Nia"), "no name and no address");
    assert_eq!(of(&page, "fieldstone_database_up"), 1.0);
    // As far as a page of numbers can tell, a database that does not answer is away.
    sql::exec(town.store.writer(), "alter table outbound_message rename to gone", vec![]).await.expect("it is done");
    let page = reqwest::get(format!("http://{admin}/metrics")).await.expect("a page").text().await.expect("text");
    assert_eq!(of(&page, "fieldstone_database_up"), 0.0);
}
