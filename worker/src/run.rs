//! The loop, and the same work done once for whoever asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use entities::access::settle_due;
use entities::people::agency;
use entities::{Instant, Result, Store, sql};

use crate::mail::{Mailer, Posted};
use crate::{digest, dirty, fire};

/// Polling alone must be correct; this is how late it may be.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How often supervisors' timers and windows of access are looked over.
const LOOK_OVER_SECS: i64 = 60;
/// Messages in one round of the loop.
const MAIL_ROUND: usize = 200;

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Timers that came due.
    pub timers: usize,
    /// Cases planned again.
    pub planned: usize,
    /// Mail.
    pub mail: Posted,
}

/// Does all that is due, then returns. `now` moves only what counts as due (`None`: the clock's
/// own time); numbers, stamps and leases stay the clock's.
pub async fn drain_once(store: &Store, mailer: &Mailer, now: Option<Instant>) -> Result<Done> {
    let due = match now {
        Some(at) => at,
        None => store.now().await?,
    };
    let worker = worker_id(store);
    let mut done = Done::default();
    look_over(store, due).await?;
    while let Some(planned) = dirty::step(store).await? {
        done.planned += planned;
    }
    // Each round of firing may make further steps due; each may put mail into the outbox.
    for _ in 0..10_000 {
        let fired = fire::round(store, due).await?;
        done.timers += fired;
        if fired == 0 {
            break;
        }
    }
    done.mail = mailer.post(store, &worker, due, usize::MAX, &AtomicBool::new(false)).await?;
    Ok(done)
}

/// Runs until `stop` resolves: fires and sends what is due, and sleeps until something may be.
/// An error of the database is waited out. What is under way is finished before it returns.
pub async fn run(store: Store, mailer: Mailer, stop: impl Future<Output = ()>) {
    let worker = worker_id(&store);
    tracing::info!(worker, "the worker runs");
    let mut stop = std::pin::pin!(stop);
    let mut looked_over = Instant(0);
    let mut trouble = 0_u32;
    let stopping = AtomicBool::new(false);
    loop {
        let round = {
            let mut round = std::pin::pin!(step(&store, &mailer, &worker, &mut looked_over, &stopping));
            tokio::select! {
                ended = &mut round => ended,
                () = &mut stop => {
                    stopping.store(true, Ordering::Relaxed);
                    round.await
                }
            }
        };
        if stopping.load(Ordering::Relaxed) {
            break;
        }
        let pause = match round {
            Ok(true) => {
                trouble = 0;
                Duration::ZERO
            }
            Ok(false) => {
                trouble = 0;
                sleep_for(&store).await
            }
            Err(why) => {
                trouble = (trouble + 1).min(5);
                tracing::warn!(error = %why, "the worker could not go on; it tries again");
                Duration::from_secs(1 << trouble)
            }
        };
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(pause) => (),
        }
    }
    tracing::info!(worker, "the worker has stopped");
}

/// One round; true when there may be more to do at once.
async fn step(
    store: &Store,
    mailer: &Mailer,
    worker: &str,
    looked_over: &mut Instant,
    stopping: &AtomicBool,
) -> Result<bool> {
    let now = store.now().await?;
    let mut looked = Ok(());
    if now.0 - looked_over.0 > LOOK_OVER_SECS * 1000 || now < *looked_over {
        beat(store, worker, now).await?;
        looked = look_over(store, now).await;
        *looked_over = now;
    }
    // What fails keeps none of the others from their turn.
    let planned = dirty::step(store).await;
    let fired = fire::round(store, now).await;
    let posted = mailer.post(store, worker, now, MAIL_ROUND, stopping).await;
    let (planned, fired, posted) = (planned?, fired?, posted?);
    looked?;
    Ok(planned.is_some() || fired > 0 || posted != Posted::default())
}

/// What time alone changes: windows of access, and supervisors who have no timer yet.
async fn look_over(store: &Store, due: Instant) -> Result<()> {
    for agency in agency::all(store.connection()).await? {
        while settle_due(store, &agency.id).await? {}
    }
    digest::arm(store, due).await?;
    Ok(())
}

/// Until the next timer or message, at most a few seconds.
async fn sleep_for(store: &Store) -> Duration {
    let text = "select least_at from (\
                select min(try_at) as least_at from wf_timer where state = 'pending' \
                union all select min(next_at) from outbound_message where state in ('queued', 'uncertain')) soon \
                where least_at is not null order by least_at limit 1";
    let soonest = match sql::one(store.connection(), text, vec![]).await {
        Ok(Some(row)) => row.try_get_by_index::<i64>(0).ok(),
        _ => None,
    };
    let now = store.now().await.ok();
    match (soonest, now) {
        (Some(at), Some(now)) => {
            let wait = u64::try_from(at - now.0).unwrap_or(0);
            // Not shorter than a breath, or mail that waits for a server would keep us spinning.
            Duration::from_millis(wait).clamp(Duration::from_millis(250), LONGEST_SLEEP)
        }
        _ => LONGEST_SLEEP,
    }
}

async fn beat(store: &Store, worker: &str, now: Instant) -> Result<()> {
    let side = store.side().await?;
    sql::exec(
        &*side,
        "insert into wf_heartbeat (worker_id, started_at, seen_at) values ($1, $2, $2) \
         on conflict (worker_id) do update set seen_at = excluded.seen_at",
        vec![worker.into(), now.0.into()],
    )
    .await?;
    // Workers that have not been seen for a day are gone.
    sql::exec(&*side, "delete from wf_heartbeat where seen_at < $1", vec![now.plus_secs(-86_400).0.into()]).await?;
    side.commit().await
}

fn worker_id(store: &Store) -> String {
    format!("worker-{}", store.clock().mint())
}
