//! The real engine on a real database under random schedules.
//!
//! Every schedule is a list of steps drawn from a seed: work offline, sync with lost requests and answers, pages cut
//! short, cases handed over, covers that begin and end by the clock, people moved between cases, notes narrowed, a
//! server that dies in mid-push, a backup restored, deletions forgotten while devices are away, apps that are older or
//! newer, clocks that are wrong. After every pull a phone may hold only what its owner may see (or what it has not
//! sent). At the end the faults stop, and within two rounds every phone is equal to its owner's view, and every word
//! that anybody typed is somewhere. What only a lost timeline knew and no device brings back is nobody's fault.
//!
//! `FIELDSTONE_SIMULATION_SEEDS` sets how many seeds, `FIELDSTONE_SIMULATION_FROM` where to begin. A failure prints its
//! seed and the fewest steps that still fail.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Once;

use entities::casework::goal;
use entities::registry::TABLES;
use entities::sync::{self, purge};
use entities::{Instant, read, sql};
use serde_json::json;

use super::agency::Agency;
use super::phones::{Device, Habit, Network};
use super::restored::{backs_up, refills};
use crate::support::{Kind, TestDb, run};

/// One step of a schedule. Numbers are reduced to what there is when the step is taken.
#[derive(Clone, Copy, Debug)]
enum Step {
    Sync {
        device: usize,
        limit: usize,
        pull: usize,
        push: usize,
        twice: bool,
    },
    PullPage {
        device: usize,
        limit: usize,
    },
    WriteNote {
        device: usize,
        case: usize,
    },
    EditNote {
        device: usize,
        row: usize,
    },
    NarrowNote {
        device: usize,
        row: usize,
    },
    WriteGoal {
        device: usize,
        case: usize,
    },
    EditGoal {
        device: usize,
        row: usize,
        column: usize,
    },
    DropGoal {
        device: usize,
        row: usize,
    },
    OpenCase {
        device: usize,
    },
    EditPerson {
        device: usize,
        row: usize,
    },
    DeskEditsGoal {
        row: usize,
        column: usize,
    },
    HandOver {
        case: usize,
        to: usize,
        immediate: bool,
    },
    Cover {
        case: usize,
        who: usize,
        hours: i64,
    },
    MovePerson {
        person: usize,
        case: usize,
    },
    TimePasses {
        minutes: i64,
    },
    /// The server dies in the middle of a push, or of a pull, after so many waits.
    Crash {
        device: usize,
        pulls: bool,
        after: usize,
    },
    Backup,
    /// The last backup takes the place of the database, as an operator does it.
    Restore,
    /// After some time away, deletions older than so many days are forgotten.
    Purge {
        days: u32,
        hours: i64,
    },
    /// The app is updated where it lacked a table; else installed anew in a version that lacks one.
    App {
        device: usize,
        table: usize,
    },
    /// A device's clock is set wrong, by years even.
    DeviceClock {
        device: usize,
        minutes: i64,
    },
    /// The server's clock steps.
    ServerClock {
        minutes: i64,
    },
}

/// A small generator of our own numbers: the same seed gives the same schedule on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.roll(1 << 20)).unwrap_or(0)
    }

    fn step(&mut self) -> Step {
        match self.roll(116) {
            0..30 => Step::Sync {
                device: self.any(),
                limit: self.any(),
                pull: self.any(),
                push: self.any(),
                twice: self.roll(8) == 0,
            },
            30..34 => Step::PullPage { device: self.any(), limit: self.any() },
            34..46 => Step::WriteNote { device: self.any(), case: self.any() },
            46..51 => Step::EditNote { device: self.any(), row: self.any() },
            51..54 => Step::NarrowNote { device: self.any(), row: self.any() },
            54..60 => Step::WriteGoal { device: self.any(), case: self.any() },
            60..68 => Step::EditGoal { device: self.any(), row: self.any(), column: self.any() },
            68..70 => Step::DropGoal { device: self.any(), row: self.any() },
            70..72 => Step::OpenCase { device: self.any() },
            72..75 => Step::EditPerson { device: self.any(), row: self.any() },
            75..79 => Step::DeskEditsGoal { row: self.any(), column: self.any() },
            79..87 => Step::HandOver { case: self.any(), to: self.any(), immediate: self.roll(4) == 0 },
            87..90 => Step::Cover { case: self.any(), who: self.any(), hours: 1 + self.roll(30) as i64 },
            90..94 => Step::MovePerson { person: self.any(), case: self.any() },
            94..100 => Step::TimePasses { minutes: 1 + self.roll(900) as i64 },
            100..103 => Step::Crash { device: self.any(), pulls: self.roll(3) == 0, after: 1 + self.roll(60) as usize },
            103..105 => Step::Backup,
            105..107 => Step::Restore,
            107..109 => Step::Purge { days: 1 + self.roll(3) as u32, hours: self.roll(96) as i64 },
            109..112 => Step::App { device: self.any(), table: self.any() },
            112..114 => {
                let years = self.roll(9) as i64 - 4;
                Step::DeviceClock { device: self.any(), minutes: years * 525_600 + self.roll(600) as i64 }
            }
            _ => Step::ServerClock { minutes: self.roll(25) as i64 - 12 },
        }
    }
}

const WORKERS: [&str; 3] = ["ana", "ben", "cleo"];
const COLUMNS: [&str; 4] = ["statement", "measure", "why_it_matters", "unit"];

struct World {
    agency: Agency,
    devices: Vec<Device>,
    persons: Vec<String>,
    words: u32,
    /// Every word typed on a device that uploads what it is about to lose, and every word any server answered for.
    owed: BTreeSet<String>,
    /// What each device's owner was ever able to see.
    ever: Vec<BTreeSet<(String, String)>>,
    backup: Option<Vec<u8>>,
    /// The latest that the server's clock has shown.
    latest: Instant,
    /// The newest commit number.
    head: i64,
}

impl World {
    async fn open(db: &TestDb) -> World {
        let agency = Agency::found(db).await;
        let mut persons = Vec::new();
        for worker in ["ana", "ana", "ben", "cleo"] {
            persons.push(agency.opens_case(worker).await.1);
        }
        let devices = vec![
            Device::new(&agency, "ana", "ana-phone-1", Habit::Rescues),
            Device::new(&agency, "ana", "ana-tablet-", Habit::AsksToWait),
            Device::new(&agency, "ben", "ben-phone-1", Habit::Rescues),
            Device::new(&agency, "cleo", "cleo-phone", Habit::Rescues),
            Device::new(&agency, "sam", "sam-phone-1", Habit::Rescues),
        ];
        let ever = devices.iter().map(|_| BTreeSet::new()).collect();
        let latest = agency.clock.now();
        let (owed, backup) = (BTreeSet::new(), None);
        let mut world = World { agency, devices, persons, words: 0, owed, ever, backup, latest, head: 0 };
        world.look().await;
        world
    }

    /// A case that the server has.
    async fn stored_case(&self, at: usize) -> String {
        let rows =
            sql::all(self.agency.store.connection(), "select id from cases order by id", vec![]).await.expect("cases");
        rows[at % rows.len()].try_get_by_index(0).expect("id")
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("qzx{:06}x", self.words)
    }

    /// Notes what everybody can see at this moment.
    async fn look(&mut self) {
        let now = self.agency.clock.now();
        // What had begun does not end because the clock stepped back.
        for at in BTreeSet::from([now, self.latest.max(now)]) {
            self.agency.clock.set(at);
            let views = self.agency.views().await;
            for (at, device) in self.devices.iter().enumerate() {
                self.ever[at].extend(views[device.owner].iter().cloned());
            }
        }
        self.agency.clock.set(now);
    }

    async fn take(&mut self, step: Step) {
        let devices = self.devices.len();
        match step {
            Step::Sync { device, limit, pull, push, twice } => {
                self.sync(device % devices, limit, network(pull), network(push), twice).await;
            }
            Step::PullPage { device, limit } => {
                let at = device % devices;
                if self.devices[at].phone.cursor.is_some() {
                    self.pull(at, Some(1 + limit % 12), Network::Works).await;
                }
            }
            Step::WriteNote { device, case } => {
                let (word, at) = (self.word(), device % devices);
                let now = self.devices[at].now(&self.agency).0;
                let Some(case) = self.case_on(at, case) else { return };
                if self.devices[at].lacks.contains("notes") {
                    return;
                }
                let row = json!({"case_id": case, "body": word, "kind": "progress", "visibility": "team", "status": "draft",
                    "occurred_at": now});
                self.makes(at, "notes", row, &word);
            }
            Step::EditNote { device, row } => {
                let (word, at) = (self.word(), device % devices);
                self.edits(at, "notes", row, "body", &word).await;
            }
            Step::NarrowNote { device, row } => {
                let at = device % devices;
                let to = ["assigned", "author_supervisor"][row % 2];
                if let Some(id) = pick(&self.devices[at].phone.ids("notes"), row) {
                    self.devices[at].phone.edits("notes", &id, json!({"visibility": to}));
                }
            }
            Step::WriteGoal { device, case } => {
                let (word, at) = (self.word(), device % devices);
                let Some(case) = self.case_on(at, case) else { return };
                if self.devices[at].lacks.contains("goals") {
                    return;
                }
                let row = json!({"case_id": case, "statement": word, "level": "individual", "lifecycle": "draft",
                    "achievement": "in_progress"});
                self.makes(at, "goals", row, &word);
            }
            Step::EditGoal { device, row, column } => {
                let (word, at) = (self.word(), device % devices);
                self.edits(at, "goals", row, COLUMNS[column % 4], &word).await;
            }
            Step::DropGoal { device, row } => {
                let at = device % devices;
                // A row that was never sent may be thrown away, and its words with it.
                let known: BTreeSet<String> = self.devices[at]
                    .phone
                    .ids("goals")
                    .into_iter()
                    .filter(|id| self.ever[at].contains(&("goals".into(), id.clone())))
                    .collect();
                if let Some(id) = pick(&known, row) {
                    let unsent = self.devices[at].phone.outgoing().to_string();
                    if !unsent.contains(&id) {
                        let row = json!(self.devices[at].phone.row("goals", &id)).to_string();
                        self.gives_up(at, &row).await;
                        self.devices[at].phone.deletes("goals", &id);
                    }
                }
            }
            Step::OpenCase { device } => {
                let (word, at) = (self.word(), device % devices);
                if self.devices[at].phone.cursor.is_none() || self.devices[at].owner == "sam" {
                    return;
                }
                let row = json!({"summary": word, "unit": "individual", "status": "intake", "intensity": "low",
                    "stage": "engagement_assessment", "risk": "none"});
                self.makes(at, "cases", row, &word);
            }
            Step::EditPerson { device, row } => {
                let (word, at) = (self.word(), device % devices);
                self.edits(at, "persons", row, "language", &word[3..9]).await;
                self.owed.remove(&word[3..9]);
            }
            Step::DeskEditsGoal { row, column } => self.desk_edits(row, column).await,
            Step::HandOver { case, to, immediate } => {
                let case = self.stored_case(case).await;
                self.agency.reassigns(&case, WORKERS[to % 3], immediate).await;
            }
            Step::Cover { case, who, hours } => {
                let case = self.stored_case(case).await;
                let from = self.agency.clock.now().plus_ms(hours % 5 * 3_600_000);
                self.agency.covers(&case, WORKERS[who % 3], from, from.plus_ms(hours * 3_600_000)).await;
            }
            Step::MovePerson { person, case } => {
                let person = self.persons[person % self.persons.len()].clone();
                let case = self.stored_case(case).await;
                self.agency.moves_person(&person, &case).await;
            }
            Step::TimePasses { minutes } => {
                self.agency.clock.advance_ms(minutes * 60_000);
            }
            Step::Crash { device, pulls, after } => {
                self.devices[device % devices].is_cut_off(&self.agency, pulls, after).await;
            }
            Step::Backup => {
                self.agency.clock.set(self.latest);
                self.backup = Some(backs_up(&self.agency.store).await);
            }
            Step::Restore => self.restores().await,
            Step::Purge { days, hours } => {
                self.agency.clock.advance_ms(hours * 3_600_000);
                purge::all(&self.agency.store, days).await.expect("a purge");
            }
            Step::App { device, table } => self.changes_app(device % devices, ["goals", "notes"][table % 2]).await,
            Step::DeviceClock { device, minutes } => self.devices[device % devices].skew_ms = minutes * 60_000,
            Step::ServerClock { minutes } => {
                self.agency.clock.advance_ms(minutes * 60_000);
            }
        }
        self.look().await;
        self.latest = self.latest.max(self.agency.clock.advance_ms(7));
        let head = self.line().await.head;
        assert!(head >= self.head, "the commit clock fell from {} to {head} at {step:?}", self.head);
        self.head = head;
    }

    async fn line(&self) -> sync::Timeline {
        sync::timeline(self.agency.store.connection(), &self.agency.id).await.expect("a timeline")
    }

    /// The server goes back to the backup. From here on it answers for what the backup has, and for what a worker's
    /// device holds.
    async fn restores(&mut self) {
        let Some(bytes) = &self.backup else { return };
        self.agency.clock.set(self.latest.plus_ms(3_600_000));
        refills(&self.agency.store, bytes).await.expect("restored");
        let mut known = self.stored_words().await;
        for device in &mut self.devices {
            device.conflicts_in_a_row = 0;
            if device.owner != "sam" {
                let held = device.phone.everything();
                for table in ["goals", "notes", "cases"] {
                    known.push_str(&json!(held.get(table)).to_string());
                }
            }
        }
        self.owed.retain(|word| known.contains(word.as_str()));
    }

    /// A device that has not yet offered a restored server what it holds forgets words of its own accord: they may
    /// have been the only copy.
    async fn gives_up(&mut self, at: usize, words: &str) {
        let line = self.line().await;
        if line.epoch > 1 && self.devices[at].epoch != Some(line.epoch) {
            for at in words.match_indices("qzx").map(|(at, _)| at) {
                self.owed.remove(&words[at..at + 10]);
            }
        }
    }

    async fn changes_app(&mut self, at: usize, table: &'static str) {
        let current = Some(self.line().await.epoch);
        let device = &mut self.devices[at];
        if !device.lacks.is_empty() {
            device.is_updated();
        } else if !device.phone.has_unsynced_changes() && device.epoch == current {
            device.is_installed_without(table);
        }
    }

    async fn desk_edits(&mut self, row: usize, column: usize) {
        let word = self.word();
        let mut write = self.agency.store.write(&self.agency.system()).await.expect("door");
        let goals = read::models::<goal::Entity>(write.conn(), "t.deleted_at is null order by t.id", vec![])
            .await
            .expect("goals");
        if goals.is_empty() {
            return;
        }
        let before = goals[row % goals.len()].clone();
        let mut after = before.clone();
        match column % 4 {
            0 => after.statement = Some(word.clone()),
            1 => after.measure = Some(word.clone()),
            2 => after.why_it_matters = Some(word.clone()),
            _ => after.unit = Some(word.clone()),
        }
        write.change::<goal::Entity>(&before, after).await.expect("edited");
        write.commit().await.expect("commit");
        self.owed.insert(word);
    }

    fn case_on(&self, at: usize, case: usize) -> Option<String> {
        if self.devices[at].owner == "sam" {
            return None;
        }
        pick(&self.devices[at].phone.ids("cases"), case)
    }

    fn makes(&mut self, at: usize, table: &str, row: serde_json::Value, word: &str) {
        let mut row = row;
        row["id"] = json!(self.agency.clock.mint_at(self.devices[at].now(&self.agency)));
        let device = &mut self.devices[at];
        let id = device.phone.creates(table, row);
        device.made.insert((table.to_owned(), id));
        self.typed(at, word);
    }

    async fn edits(&mut self, at: usize, table: &str, row: usize, column: &str, word: &str) {
        if let Some(id) = pick(&self.devices[at].phone.ids(table), row) {
            let before = self.devices[at].phone.column(table, &id, column);
            // What this phone itself typed over before it was ever sent is its own to forget.
            if let Some(before) = before.as_str()
                && self.devices[at].phone.outgoing().to_string().contains(before)
            {
                self.owed.remove(before);
            }
            self.gives_up(at, &before.to_string()).await;
            let mut columns = serde_json::Map::new();
            columns.insert(column.to_owned(), json!(word));
            self.devices[at].phone.edits(table, &id, columns.into());
            self.typed(at, word);
        }
    }

    fn typed(&mut self, at: usize, word: &str) {
        if self.devices[at].habit == Habit::Rescues {
            self.owed.insert(word.to_owned());
        }
    }

    async fn sync(&mut self, at: usize, limit: usize, pull: Network, push: Network, twice: bool) {
        let limit = limit.is_multiple_of(3).then_some(1 + limit % 20);
        for _ in 0..200 {
            if self.pull(at, limit, pull).await {
                break;
            }
            if pull != Network::Works {
                return;
            }
        }
        let outgoing = self.devices[at].phone.outgoing().to_string();
        if self.devices[at].pushes(&self.agency, push, twice).await {
            // Acknowledged: from here on the server answers for it.
            for at in outgoing.match_indices("qzx").map(|(at, _)| at) {
                self.owed.extend(outgoing.get(at..at + 10).map(str::to_owned));
            }
        }
    }

    async fn pull(&mut self, at: usize, limit: Option<usize>, network: Network) -> bool {
        self.devices[at].named.clear();
        let done = self.devices[at].pulls(&self.agency, limit, network).await;
        self.look().await;
        let device = &self.devices[at];
        for key in &device.named {
            // A row that its author may not see is taken from the author, on whichever device it was made.
            let made = self.devices.iter().any(|other| other.owner == device.owner && other.made.contains(key));
            assert!(
                self.ever[at].contains(key) || made,
                "{} was told of the deletion of {key:?}, which {} could never see",
                device.name,
                device.owner
            );
        }
        done
    }

    /// The faults have stopped: two rounds, and everybody is equal to their view.
    async fn settle(&mut self) {
        self.agency.clock.set(self.latest);
        for round in 0..4 {
            self.agency.clock.advance_ms(60_000);
            for at in 0..self.devices.len() {
                // A conflict costs one more exchange, and a device that asks to wait needs a push before deletes come.
                for _ in 0..3 {
                    self.sync(at, 1, Network::Works, Network::Works, false).await;
                    if !self.devices[at].phone.has_unsynced_changes() {
                        break;
                    }
                }
                assert!(
                    !self.devices[at].phone.has_unsynced_changes(),
                    "round {round}: {} is stuck",
                    self.devices[at].name
                );
            }
        }
        for at in 0..self.devices.len() {
            self.compare(at).await;
        }
    }

    async fn compare(&self, at: usize) {
        let device = &self.devices[at];
        let view = self.agency.views().await.remove(device.owner).expect("a view");
        let mut held = BTreeSet::new();
        for (table, rows) in device.phone.everything() {
            held.extend(rows.into_keys().map(|id| (table.clone(), id)));
        }
        let missing: Vec<_> =
            view.difference(&held).filter(|(table, _)| !device.lacks.contains(table.as_str())).collect();
        let stale: Vec<_> = held.difference(&view).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", device.name);
        assert!(stale.is_empty(), "{} still holds {stale:?}", device.name);
        for table in TABLES.iter() {
            let ids: Vec<String> = device.phone.ids(table.name).into_iter().collect();
            for row in read::by_ids(self.agency.store.connection(), table, &ids).await.expect("rows") {
                let stored = row.object(entities::registry::Face::Watermelon);
                let local = device.phone.row(table.name, row.id()).expect("held");
                for (name, value) in &stored {
                    let same = local.get(name) == Some(value);
                    assert!(
                        same,
                        "{}: {}/{}.{name}: {:?} here, {value} stored",
                        device.name,
                        table.name,
                        row.id(),
                        local.get(name)
                    );
                }
            }
        }
    }

    /// Every owed word is in a row, in history, in quarantine or still waiting on a phone.
    async fn account(&self) {
        let mut everything = self.stored_words().await;
        for device in &self.devices {
            let _ = write!(everything, "{}", device.phone.outgoing());
        }
        let lost: Vec<_> = self.owed.iter().filter(|word| !everything.contains(word.as_str())).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }

    /// Every word in a row, in history or in quarantine.
    async fn stored_words(&self) -> String {
        let mut everything = String::new();
        let conn = self.agency.store.connection();
        let mut queries = vec!["select old from row_history".to_owned(), "select raw from sync_quarantine".to_owned()];
        for table in
            ["goals.statement", "goals.measure", "goals.why_it_matters", "goals.unit", "notes.body", "cases.summary"]
        {
            let (table, column) = table.split_once('.').expect("a column");
            queries.push(format!("select {column} from {table} where {column} is not null"));
        }
        for query in queries {
            for row in sql::all(conn, &query, vec![]).await.expect("words") {
                everything.push_str(&row.try_get_by_index::<String>(0).expect("text"));
                everything.push('\n');
            }
        }
        everything
    }
}

fn pick(ids: &BTreeSet<String>, at: usize) -> Option<String> {
    if ids.is_empty() { None } else { ids.iter().nth(at % ids.len()).cloned() }
}

fn network(roll: usize) -> Network {
    match roll % 10 {
        0 => Network::LosesRequest,
        1 | 2 => Network::LosesAnswer,
        _ => Network::Works,
    }
}

fn schedule(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed);
    let length = 20 + dice.roll(60);
    (0..length).map(|_| dice.step()).collect()
}

/// Runs a schedule; the panic's text where it breaks a rule.
fn attempt(kind: Kind, steps: &[Step]) -> Result<(), String> {
    let steps = steps.to_vec();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(kind, |db: TestDb| async move {
            let mut world = World::open(&db).await;
            for step in steps {
                world.take(step).await;
            }
            world.settle().await;
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
fn shrink(kind: Kind, steps: Vec<Step>) -> Vec<Step> {
    let mut steps = steps;
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            if attempt(kind, &fewer).is_err() {
                steps = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}

fn setting(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how a longer run is asked for")]
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
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
fn seeds(kind: Kind, part: u64, parts: u64, default: u64) {
    let each = setting("FIELDSTONE_SIMULATION_SEEDS", default).div_ceil(parts);
    let from = setting("FIELDSTONE_SIMULATION_FROM", 1) + part * each;
    let failed = quietly(|| {
        let (seed, why) = (from..from + each).find_map(|seed| Some((seed, attempt(kind, &schedule(seed)).err()?)))?;
        let fewest = shrink(kind, schedule(seed));
        let then = attempt(kind, &fewest).err();
        Some(format!("seed {seed}: {why}\nfewest steps: {fewest:#?}\nwhich fail with: {then:?}"))
    });
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
}

mod two_thousand_schedules_lose_nothing_and_converge {
    use super::{Kind, seeds};

    #[test]
    fn on_sqlite_first_part() {
        seeds(Kind::Sqlite, 0, 4, 2000);
    }

    #[test]
    fn on_sqlite_second_part() {
        seeds(Kind::Sqlite, 1, 4, 2000);
    }

    #[test]
    fn on_sqlite_third_part() {
        seeds(Kind::Sqlite, 2, 4, 2000);
    }

    #[test]
    fn on_sqlite_fourth_part() {
        seeds(Kind::Sqlite, 3, 4, 2000);
    }

    #[test]
    fn on_postgres() {
        seeds(Kind::Postgres, 0, 20, 2000);
    }
}

/// Schedules that once broke a rule, by what went wrong.
mod found_by_the_simulation {
    use super::Step::{
        Backup, Cover, DeskEditsGoal, DropGoal, EditGoal, HandOver, MovePerson, NarrowNote, Purge, Restore, Sync,
        TimePasses, WriteGoal, WriteNote,
    };
    use super::{Kind, Step, attempt, quietly};

    fn holds(steps: &[Step]) {
        for kind in [Kind::Sqlite, Kind::Postgres] {
            assert_eq!(quietly(|| attempt(kind, steps)), Ok(()), "{kind:?}");
        }
    }

    #[test]
    fn a_page_that_ended_between_a_loss_and_a_later_change_stepped_over_the_row() {
        holds(&[
            Sync { device: 413_083, limit: 52_050, pull: 209_518, push: 928_743, twice: true },
            HandOver { case: 366_019, to: 94_728, immediate: false },
            MovePerson { person: 1_028_943, case: 263_706 },
            Sync { device: 83_668, limit: 697_800, pull: 270_648, push: 720_019, twice: false },
        ]);
    }

    #[test]
    fn an_edit_of_a_row_that_never_arrived_failed_the_whole_push() {
        holds(&[
            Sync { device: 632_241, limit: 704_742, pull: 113_606, push: 71_414, twice: false },
            HandOver { case: 454_941, to: 60_916, immediate: true },
            WriteNote { device: 413_856, case: 882_691 },
            Sync { device: 1_009_426, limit: 704_710, pull: 566_836, push: 151_867, twice: false },
            NarrowNote { device: 62_491, row: 262_167 },
        ]);
    }

    #[test]
    fn a_row_written_after_a_cover_had_ended_counted_as_seen() {
        holds(&[
            Cover { case: 244_462, who: 376_565, hours: 15 },
            Sync { device: 599_208, limit: 122_671, pull: 585_869, push: 819_723, twice: false },
            TimePasses { minutes: 758 },
            TimePasses { minutes: 305 },
            MovePerson { person: 1_038_531, case: 540_170 },
        ]);
    }

    #[test]
    fn a_lost_reply_with_held_deletes_was_taken_as_arrived() {
        holds(&[
            Sync { device: 868_241, limit: 386_083, pull: 476_263, push: 115_523, twice: false },
            WriteNote { device: 390_386, case: 180_485 },
            HandOver { case: 677_896, to: 342_122, immediate: false },
            Sync { device: 620_706, limit: 870_589, pull: 1_039_018, push: 100_687, twice: false },
            Sync { device: 140_356, limit: 391_943, pull: 265_821, push: 232_685, twice: false },
            WriteGoal { device: 218_101, case: 71_460 },
        ]);
    }

    #[test]
    fn a_backup_restored_twice_opened_the_same_epoch_twice() {
        holds(&[
            Backup,
            Restore,
            HandOver { case: 888_868, to: 419_450, immediate: true },
            Sync { device: 568_829, limit: 309_166, pull: 1_012_478, push: 79_837, twice: false },
            Restore,
        ]);
    }

    #[test]
    fn a_row_whose_answer_was_lost_stayed_when_its_end_had_been_forgotten() {
        holds(&[
            Sync { device: 952_705, limit: 423_316, pull: 91_997, push: 359_215, twice: false },
            WriteGoal { device: 736_390, case: 2484 },
            Sync { device: 686_965, limit: 587_057, pull: 937_406, push: 615_631, twice: false },
            HandOver { case: 600_116, to: 504_992, immediate: false },
            Purge { days: 1, hours: 27 },
        ]);
    }

    #[test]
    fn a_push_that_had_not_been_pulled_again_was_not_salvaged() {
        holds(&[
            Sync { device: 174_288, limit: 285_391, pull: 789_694, push: 636_745, twice: false },
            WriteGoal { device: 198_463, case: 348_826 },
            Sync { device: 550_713, limit: 1, pull: 9, push: 1, twice: false },
            EditGoal { device: 819_868, row: 476_907, column: 497_130 },
            Backup,
            Sync { device: 515_993, limit: 911_887, pull: 429_288, push: 535_028, twice: false },
            Restore,
        ]);
    }

    #[test]
    fn an_issue_offered_to_a_restored_server_failed_the_push_that_brought_it_about() {
        holds(&[
            Sync { device: 562_556, limit: 349_402, pull: 716_865, push: 81_512, twice: false },
            WriteNote { device: 212_906, case: 914_734 },
            HandOver { case: 77_360, to: 957_346, immediate: false },
            Backup,
            Sync { device: 135_486, limit: 815_984, pull: 963_804, push: 939_532, twice: false },
            Sync { device: 791_176, limit: 628_792, pull: 1_031_839, push: 309_752, twice: false },
            Restore,
        ]);
    }

    #[test]
    fn an_edit_that_only_a_device_still_had_was_dropped_when_another_deleted_the_row() {
        holds(&[
            Sync { device: 901_480, limit: 626_251, pull: 148_549, push: 317_418, twice: false },
            WriteGoal { device: 410_290, case: 774_518 },
            Sync { device: 110_100, limit: 1_002_140, pull: 785_225, push: 994_173, twice: false },
            Backup,
            DeskEditsGoal { row: 52_772, column: 865_448 },
            DropGoal { device: 705_095, row: 81_223 },
            Sync { device: 507_386, limit: 954_114, pull: 475_447, push: 73_258, twice: false },
            Restore,
        ]);
    }
}
