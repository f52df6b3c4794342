//! A worker's tick while 100,000 timers wait and none is due.

use std::time::Instant;

use worker::Mailer;

use crate::support::{Kind, Town};
use crate::table::{Floor, Table, median};

const TIMERS: i64 = 100_000;
const TICKS: usize = 100;

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let side = town.store.side().await.expect("a transaction");
    let soon = side.now().plus_secs(30 * 24 * 3600).0;
    let text = format!(
        "insert into wf_timer (id, agency_id, rule_id, rule_version, subject_kind, subject_id, anchor, step, key, \
         nominal_local, zone, due_at, try_at, state, reason, attempts, changed_at) \
         with recursive n(i) as (select 1 union all select i + 1 from n where i < {TIMERS}) \
         select 'timer-' || i, (select min(id) from agencies), 'goal.deadline', 1, 'goals', 'goal-' || i, \
         '2027-06-01', 'd14', 'key-' || i, '2027-05-18T08:00', 'UTC', {soon} + i, {soon} + i, 'pending', '', 0, 0 from n"
    );
    let rows = entities::sql::exec(&*side, &text, vec![]).await.expect("the timers");
    assert_eq!(i64::try_from(rows).ok(), Some(TIMERS));
    side.commit().await.expect("a commit");
    let mailer = Mailer::to_server(None, "Fieldstone <desk@agency.example>", "https://desk.agency.example");
    let mailer = mailer.expect("a mailer");
    let mut ticks = Vec::new();
    for _ in 0..TICKS {
        let began = Instant::now();
        let done = worker::drain_once(&town.store, &mailer, None).await.expect("a tick");
        ticks.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(done.timers, 0);
    }
    let p50 = median(&mut ticks);
    table.add(
        &format!("tick with {TIMERS} pending timers and none due, p50, {kind:?}"),
        format!("{p50:.2} ms"),
        p50,
        Floor::AtMost(5.0),
    );
}
