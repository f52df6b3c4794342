//! The real engine on a real database under random schedules; a part of them through the API, over HTTP.
//!
//! Five phones speak WatermelonDB's protocol, two of them counting their pushes, two laptops RxDB's, table by table, and one the
//! native one.
//! Every schedule is a list of steps drawn from a seed: work offline, sync with lost requests and answers, requests
//! that arrive long after, pages cut short, cases handed over, covers that begin and end by the clock, people moved between cases, notes narrowed, a
//! server that dies in mid-push, a backup restored, deletions forgotten while devices are away, apps that are older or
//! newer, clocks that are wrong; lists that several people edit, moves that are said natively, and kept work that somebody
//! takes in, gives to another case or leaves. What is taken in has to stand in a row or in its history. After every pull a phone may hold only what its owner may see (or what it has not
//! sent). At the end the faults stop, and within two rounds every phone is equal to its owner's view, and every word
//! that anybody typed is somewhere. What only a lost timeline knew and no device brings back is nobody's fault.
//!
//! `FIELDSTONE_SIMULATION_SEEDS` sets how many seeds, `FIELDSTONE_SIMULATION_FROM` where to begin. A failure prints its
//! seed and the fewest steps that still fail.

mod found_by_the_simulation;
mod steps;
mod world;

use std::cell::Cell;
use std::sync::Once;

use crate::support::{Kind, TestDb, run, setting};
use crate::sync::ways::Way;
use steps::{Step, schedule};
use world::World;

/// Runs a schedule; the panic's text where it breaks a rule.
fn attempt(kind: Kind, way: Way, steps: &[Step]) -> Result<(), String> {
    let steps = steps.to_vec();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(kind, |db: TestDb| async move {
            let mut world = World::open(&db, way).await;
            for step in steps {
                world.take(step).await;
            }
            // Most of what is kept is so at the end: somebody settles some of it before the devices are heard of again,
            // and some after it.
            for _ in 0..2 {
                let decided = world.decides_some().await;
                world.settle().await;
                if decided == 0 {
                    break;
                }
            }
            world.account().await;
            for device in &world.devices {
                assert!(device.most_conflicts <= 2, "{}: {} conflicts in a row", device.name, device.most_conflicts);
            }
            assert_eq!(entities::audit::verify(world.agency.store.connection()).await.expect("audit").err(), None);
        });
    }))
    .map_err(|why| {
        let text = why.downcast_ref::<String>().cloned();
        text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// The fewest steps that still fail, by leaving out ever smaller runs of them.
fn shrink(kind: Kind, way: Way, steps: Vec<Step>) -> Vec<Step> {
    let mut steps = steps;
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            if attempt(kind, way, &fewer).is_err() {
                steps = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the panics of attempts out of the output of this thread; other tests' are printed as ever.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |why| {
            if !QUIET.get() {
                usual(why);
            }
        }));
    });
    QUIET.set(true);
    let done = work();
    QUIET.set(false);
    done
}

/// One part of the seeds: the parts run side by side.
fn seeds(kind: Kind, way: Way, part: u64, parts: u64, default: u64) {
    let each = setting("FIELDSTONE_SIMULATION_SEEDS", default).div_ceil(parts);
    let from = setting("FIELDSTONE_SIMULATION_FROM", 1) + part * each;
    let failed = quietly(|| {
        let (seed, why) =
            (from..from + each).find_map(|seed| Some((seed, attempt(kind, way, &schedule(seed)).err()?)))?;
        let fewest = shrink(kind, way, schedule(seed));
        let then = attempt(kind, way, &fewest).err();
        Some(format!("seed {seed}: {why}\nfewest steps: {fewest:#?}\nwhich fail with: {then:?}"))
    });
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
}

mod two_thousand_schedules_lose_nothing_and_converge {
    use super::{Kind, Way, seeds};

    #[test]
    fn on_sqlite_first_part() {
        seeds(Kind::Sqlite, Way::Engine, 0, 4, 2000);
    }

    #[test]
    fn on_sqlite_second_part() {
        seeds(Kind::Sqlite, Way::Engine, 1, 4, 2000);
    }

    #[test]
    fn on_sqlite_third_part() {
        seeds(Kind::Sqlite, Way::Engine, 2, 4, 2000);
    }

    #[test]
    fn on_sqlite_fourth_part() {
        seeds(Kind::Sqlite, Way::Engine, 3, 4, 2000);
    }

    #[test]
    fn on_postgres() {
        seeds(Kind::Postgres, Way::Engine, 0, 20, 2000);
    }
}

mod some_of_them_hold_over_http_too {
    use super::{Kind, Way, seeds};

    #[test]
    fn on_sqlite() {
        seeds(Kind::Sqlite, Way::Http, 0, 100, 2000);
    }

    #[test]
    fn on_postgres() {
        seeds(Kind::Postgres, Way::Http, 0, 400, 2000);
    }
}
