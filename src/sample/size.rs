//! Generated agencies in three sizes: teams, caseloads, and which case is whose.

use entities::people::agency;
use entities::{Instant, Result, Role, Store};

use super::chance::Chance;
use super::generated::{self, Fate};
use super::scene::{Scene, Worker};
use super::staff::{self, NewUser};
use super::words;

/// How much is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Size {
    /// 2 teams, 12 workers, 204 open and 150 closed cases
    Demo,
    /// 20 teams, 100 workers, 1,700 open and 2,500 closed cases
    M,
    /// 200 teams, 1,000 workers, 17,000 open and 40,000 closed cases
    L,
}

/// Numbers of a size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) teams: usize,
    pub(crate) workers: usize,
    pub(crate) open: usize,
    pub(crate) closed: usize,
}

impl Size {
    pub(crate) fn numbers(self) -> Numbers {
        let (teams, workers, open, closed) = match self {
            Size::Demo => (2, 12, 204, 150),
            Size::M => (20, 100, 1_700, 2_500),
            Size::L => (200, 1_000, 17_000, 40_000),
        };
        Numbers { teams, workers, open, closed }
    }
}

/// Open cases of each worker: normal around 17 with deviation 5, between 4 and 35, and together
/// exactly `total`.
fn caseloads(chance: &mut Chance, workers: usize, total: usize) -> Vec<usize> {
    let mut loads: Vec<i64> =
        (0..workers).map(|_| (17.0 + 5.0 * chance.normal()).round().clamp(4.0, 35.0) as i64).collect();
    let wanted = i64::try_from(total).unwrap_or(0).clamp(4 * workers as i64, 35 * workers as i64);
    loop {
        let left = wanted - loads.iter().sum::<i64>();
        if left == 0 {
            break;
        }
        let at = usize::try_from(chance.int(0, workers as i64 - 1)).unwrap_or(0);
        if (4..=35).contains(&(loads[at] + left.signum())) {
            loads[at] += left.signum();
        }
    }
    loads.into_iter().map(|load| usize::try_from(load).unwrap_or(0)).collect()
}

/// Fills the database with one agency and tells `done` after every case. The store's
/// clock must be one that can be set. Nobody can sign in without `hash`, a password's hash.
/// Answers the number of rows.
pub(crate) async fn fill(
    store: &Store,
    numbers: Numbers,
    seed: u64,
    now: Instant,
    hash: Option<&str>,
    mut done: impl FnMut(),
) -> Result<usize> {
    let mut chance = Chance::new(seed);
    let agency = agency::Model {
        id: chance.id(now),
        ..agency::Model::new("Alderbrook County Services", "America/New_York", store.clock())
    };
    let mut scene = staff::agency(store, agency, now).await?;
    staff::partners(store, &mut scene, &mut chance, words::PARTNERS.len()).await?;
    let workers = people(store, &scene, &mut chance, numbers, hash).await?;
    let loads = caseloads(&mut chance, workers.len(), numbers.open);
    let mut rows = 0;
    let mut label = 0;
    for (at, load) in loads.into_iter().enumerate() {
        let closed = numbers.closed * (at + 1) / workers.len() - numbers.closed * at / workers.len();
        for fate in (0..load).map(|_| Fate::Open).chain((0..closed).map(|_| Fate::Closed)) {
            label += 1;
            let before = &workers[(at + 1) % workers.len()];
            let mut draft = generated::case(&scene, &workers[at], before, chance.fork(label), fate)?;
            rows += draft.store(store, now).await?;
            done();
        }
    }
    store.clock().set(now);
    Ok(rows)
}

async fn people(
    store: &Store,
    scene: &Scene,
    chance: &mut Chance,
    numbers: Numbers,
    hash: Option<&str>,
) -> Result<Vec<Worker>> {
    let mut write = staff::operate(store, scene).await?;
    let at = write.now();
    let mut workers = Vec::with_capacity(numbers.workers);
    let mut number = 0;
    let mut person = |chance: &mut Chance, kind: &str, role, team: Option<&str>| {
        number += 1;
        NewUser {
            name: format!("{} {}", chance.pick(words::GIVEN).0, chance.pick(words::FAMILY)),
            email: format!("{kind}{number:04}@sample.example"),
            role,
            profession: chance.weighted(&[(0.6, "social worker"), (0.2, "counsellor"), (0.2, "case manager")]),
            team_id: team.map(str::to_owned),
            partner_org_id: None,
            hour: 8,
        }
    };
    for index in 0..numbers.teams {
        let first = words::TEAMS[index % words::TEAMS.len()];
        let name = if index < words::TEAMS.len() {
            first.to_owned()
        } else {
            format!("{first} {}", index / words::TEAMS.len() + 1)
        };
        let team = staff::team(&mut write, chance.id(at), &name).await?;
        let lead = person(chance, "supervisor", Role::Supervisor, Some(&team.id));
        let lead = staff::user(&mut write, chance.id(at), lead, hash).await?;
        let members = numbers.workers * (index + 1) / numbers.teams - numbers.workers * index / numbers.teams;
        for _ in 0..members {
            let new = person(chance, "worker", Role::Caseworker, Some(&team.id));
            workers.push(staff::user(&mut write, chance.id(at), new, hash).await?);
        }
        staff::lead(&mut write, team, &lead).await?;
    }
    let admin = NewUser { email: "admin@sample.example".into(), ..person(chance, "admin", Role::Administrator, None) };
    staff::user(&mut write, chance.id(at), admin, hash).await?;
    write.commit().await?;
    Ok(workers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use entities::{Clock, Pool, sql};

    #[test]
    fn caseloads_are_spread_and_come_to_the_total() {
        let loads = caseloads(&mut Chance::new(5), 100, 1_700);
        assert_eq!(loads.iter().sum::<usize>(), 1_700);
        assert!(loads.iter().all(|load| (4..=35).contains(load)));
        assert!(loads.iter().filter(|load| (12..=22).contains(*load)).count() > 55);
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_rows() {
        let mut digests = Vec::new();
        for seed in [3, 3, 4] {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}/sample.db", folder.path().display());
            let now = Instant::parse("2027-03-14T03:10:00Z").unwrap();
            let store = Store::open(&url, Pool::default(), Clock::manual(now)).await.unwrap();
            migrations::up(store.writer()).await.unwrap();
            let mut cases = 0;
            let few = Numbers { teams: 1, workers: 2, open: 20, closed: 10 };
            let rows = fill(&store, few, seed, now, None, || cases += 1).await.unwrap();
            assert_eq!(cases, 30);
            assert!((1_000..4_000).contains(&rows), "{rows}");
            let text = "select group_concat(id || body, '') from (select id, body from notes order by id)";
            let row = sql::one(store.connection(), text, vec![]).await.unwrap().unwrap();
            digests.push(row.try_get_by_index::<String>(0).unwrap());
        }
        assert!(digests[0] == digests[1] && digests[1] != digests[2]);
    }
}
