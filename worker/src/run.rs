//! The loops, and the same work done once for whoever asks.
//!
//! Firing and mail have a loop each: a mail server that keeps us waiting must not keep anything
//! from coming due.

use std::collections::HashSet;
use std::time::Duration;

use entities::access::{Actor, settle_due};
use entities::people::agency;
use entities::workflow::{rules, timers};
use entities::{Error, Instant, Result, Store, sql};
use tokio::sync::{Notify, watch};

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
/// own time); numbers, stamps and leases stay the clock's. What fails keeps none of the rest from
/// its turn and is told at the end.
pub async fn drain_once(store: &Store, mailer: &Mailer, now: Option<Instant>) -> Result<Done> {
    let due = match now {
        Some(at) => at,
        None => store.now().await?,
    };
    let worker = worker_id(store);
    let mut done = Done::default();
    let mut ended = renew(store, &mut HashSet::new()).await.and(look_over(store, due).await);
    loop {
        match dirty::step(store).await {
            Ok(Some(planned)) => done.planned += planned,
            Ok(None) => break,
            Err(why) => {
                ended = ended.and(Err(why));
                break;
            }
        }
    }
    // Each round of firing may make further steps due; each may put mail into the outbox.
    for _ in 0..10_000 {
        let fired = fire::round(store, due).await?;
        done.timers += fired.looked;
        if fired.looked == 0 {
            ended = ended.and(fired.passed_over.map_or(Ok(()), Err));
            break;
        }
    }
    done.mail = mailer.post(store, &worker, now, usize::MAX, &watch::channel(false).1).await?;
    ended.map(|()| done)
}

/// Runs until `stop` resolves: fires and sends what is due, and sleeps until something may be.
/// An error of the database is waited out. What is under way is finished before it returns.
pub async fn run(store: Store, mailer: Mailer, stop: impl Future<Output = ()>) {
    let worker = worker_id(&store);
    tracing::info!(worker, "the worker runs");
    let (tell, told) = watch::channel(false);
    let queued = Notify::new();
    tokio::join!(
        fires(&store, &worker, &queued, told.clone()),
        sends(&store, &mailer, &worker, &queued, told),
        async {
            stop.await;
            tell.send_replace(true);
        },
    );
    tracing::info!(worker, "the worker has stopped");
}

/// Fires, one bounded round after the other.
async fn fires(store: &Store, worker: &str, queued: &Notify, mut stop: watch::Receiver<bool>) {
    let (mut looked_over, mut renewed) = (Instant(0), Renewed::default());
    let mut trouble = 0;
    while !*stop.borrow() {
        let round = step(store, worker, &mut looked_over, &mut renewed).await;
        if matches!(round, Ok(true)) {
            queued.notify_one();
        }
        let pause = pause(store, SOONEST_TIMER, round, &mut trouble).await;
        tokio::select! {
            () = asked(&mut stop) => break,
            () = tokio::time::sleep(pause) => (),
        }
    }
}

/// Sends, one bounded round after the other.
async fn sends(store: &Store, mailer: &Mailer, worker: &str, queued: &Notify, mut stop: watch::Receiver<bool>) {
    let mut trouble = 0;
    while !*stop.borrow() {
        let round = post(store, mailer, worker, &stop).await;
        let pause = pause(store, SOONEST_MAIL, round, &mut trouble).await;
        tokio::select! {
            () = asked(&mut stop) => break,
            () = queued.notified() => (),
            () = tokio::time::sleep(pause) => (),
        }
    }
}

/// Until somebody asks to stop.
async fn asked(stop: &mut watch::Receiver<bool>) {
    // An error says that nobody is left to ask.
    let _asked = stop.wait_for(|stop| *stop).await.is_ok();
}

async fn post(store: &Store, mailer: &Mailer, worker: &str, stop: &watch::Receiver<bool>) -> Result<bool> {
    Ok(mailer.post(store, worker, None, MAIL_ROUND, stop).await? != Posted::default())
}

/// How long to sleep after a round: not at all when there may be more to do.
async fn pause(store: &Store, soonest: &str, round: Result<bool>, trouble: &mut u32) -> Duration {
    match round {
        Ok(more) => {
            *trouble = 0;
            if more { Duration::ZERO } else { sleep_for(store, soonest).await }
        }
        Err(why) => {
            *trouble = (*trouble + 1).min(5);
            tracing::warn!(error = %why, "the worker could not go on; it tries again");
            Duration::from_secs(1 << *trouble)
        }
    }
}

/// One round of all but mail; true when there may be more to do at once.
async fn step(store: &Store, worker: &str, looked_over: &mut Instant, renewed: &mut Renewed) -> Result<bool> {
    let now = store.now().await?;
    let mut looked = Ok(());
    if !renewed.whole {
        // An agency whose clock somebody holds is marked in a later round; the others do not wait for it.
        looked = renew(store, &mut renewed.done).await;
        renewed.whole = looked.is_ok();
    }
    if now.0 - looked_over.0 > LOOK_OVER_SECS * 1000 || now < *looked_over {
        beat(store, worker, now).await?;
        looked = looked.and(look_over(store, now).await);
        *looked_over = now;
    }
    // What fails keeps none of the others from their turn.
    let planned = dirty::step(store).await;
    let fired = fire::round(store, now).await?;
    let waits = fired.passed_over.map_or(Ok(()), Err);
    let mut more = fired.looked > 0;
    for ended in [looked, planned.map(|planned| more |= planned.is_some()), waits] {
        match ended {
            // An agency whose clock somebody holds comes up again in the next round; the others do
            // not wait for it.
            Err(Error::Busy(why)) => tracing::warn!(why, "an agency was passed over; it is tried again"),
            ended => ended?,
        }
    }
    Ok(more)
}

/// What time alone changes: windows of access, and supervisors who have no timer yet.
async fn look_over(store: &Store, due: Instant) -> Result<()> {
    let mut ended = Ok(());
    for agency in agency::all(store.connection()).await? {
        ended = ended.and(settle(store, &agency.id).await);
    }
    ended.and(digest::arm(store, due).await.map(drop))
}

async fn settle(store: &Store, agency: &str) -> Result<()> {
    while settle_due(store, agency).await? {}
    Ok(())
}

const SOONEST_TIMER: &str = "select min(try_at) from wf_timer where state = 'pending'";
const SOONEST_MAIL: &str = "select min(next_at) from outbound_message where state in ('queued', 'uncertain')";

/// Which agencies this worker has marked for being planned anew, and whether that is all of them.
#[derive(Default)]
struct Renewed {
    done: HashSet<String>,
    whole: bool,
}

/// Has every case planned again where a program with other rules or other zone data planned them: a step that is new
/// would never come in a case that nobody touches. Asked once, at the start, so that two versions side by side do not
/// go on doing it to each other.
async fn renew(store: &Store, done: &mut HashSet<String>) -> Result<()> {
    let stamp = rules::stamp();
    let text = "select planned_by from wf_instance where id = 1";
    let known: Option<String> = match sql::one(store.connection(), text, vec![]).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => None,
    };
    if known.as_deref() == Some(stamp.as_str()) {
        return Ok(());
    }
    let mut ended = Ok(());
    for agency in agency::all(store.connection()).await? {
        if !done.contains(&agency.id) {
            match marked(store, &agency.id).await {
                Ok(()) => drop(done.insert(agency.id)),
                Err(why) => ended = Err(why),
            }
        }
    }
    ended?;
    let side = store.side().await?;
    sql::exec(&*side, "update wf_instance set planned_by = $1 where id = 1", vec![stamp.into()]).await?;
    side.commit().await
}

/// Marks an agency for being planned anew by this program, once.
async fn marked(store: &Store, agency: &str) -> Result<()> {
    let cause = rules::cause();
    let known = "select 1 from wf_dirty where agency_id = $1 and cause = $2 union all \
                 select 1 where not exists (select 1 from cases where agency_id = $1)";
    if sql::one(store.connection(), known, vec![agency.into(), cause.as_str().into()]).await?.is_some() {
        return Ok(());
    }
    let mut write = store.write(&Actor::system(agency)).await?;
    timers::mark(write.conn(), write.mint(), agency, &cause).await?;
    write.note("planned_anew", "by a program with other rules or zone data");
    write.commit().await?;
    Ok(())
}

/// Until the next timer or message, at most a few seconds.
async fn sleep_for(store: &Store, soonest: &str) -> Duration {
    let soonest = format!("{soonest} and {}", rules::ours(&[rules::digest::ID]));
    let soonest = match sql::one(store.connection(), &soonest, vec![]).await {
        Ok(Some(row)) => row.try_get_by_index::<Option<i64>>(0).ok().flatten(),
        _ => None,
    };
    let now = store.now().await.ok();
    match (soonest, now) {
        (Some(at), Some(now)) => {
            let wait = u64::try_from(at - now.0).unwrap_or(0);
            // Not shorter than a breath, or what waits for a server would keep us spinning.
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
