//! The agency and its devices, and what is done to them step by step. `world/checks.rs` says what must hold, and
//! `world/kept.rs` what is decided about kept work.

mod checks;
mod kept;

use std::collections::BTreeSet;

use entities::casework::goal;
use entities::registry::Table;
use entities::sync::{self, purge};
use entities::{Instant, read, sql};
use serde_json::{Value, json};

use super::steps::Step;
use crate::support::{Serving, TestDb};
use crate::sync::agency::Agency;
use crate::sync::laptop::{Conditions, Laptop};
use crate::sync::native_device::NativeDevice;
use crate::sync::phones::{Device, Habit, Network};
use crate::sync::replica::Replica;
use crate::sync::restored::{backs_up, refills};
use crate::sync::ways::Way;

const WORKERS: [&str; 3] = ["ana", "ben", "cleo"];
/// A column that is merged item by item.
const LIST: &str = "strengths";
const COLUMNS: [&str; 4] = ["statement", "measure", "why_it_matters", "unit"];

/// Whose request the network still has, and whether it is a pull; of a laptop, of which table.
enum UnderWay {
    Phone(Device, bool),
    Laptop(Laptop, usize, bool),
}

pub(super) struct World {
    pub(super) agency: Agency,
    pub(super) devices: Vec<Device>,
    laptops: Vec<Laptop>,
    persons: Vec<String>,
    words: u32,
    /// Every word typed on a device that uploads what it is about to lose, and every word any server answered for.
    owed: BTreeSet<String>,
    /// Words that went out of a list before any server had them.
    taken_back: BTreeSet<String>,
    /// What each device's owner was ever able to see.
    ever: Vec<BTreeSet<(String, String)>>,
    /// Requests that the network still has, with their devices as they were then.
    under_way: Vec<UnderWay>,
    backup: Option<Vec<u8>>,
    /// The latest that the server's clock has shown.
    latest: Instant,
    /// The newest commit number.
    head: i64,
    _served: Option<Serving>,
}

impl World {
    pub(super) async fn open(db: &TestDb, way: Way) -> World {
        let mut agency = Agency::found(db).await;
        let served = match way {
            Way::Engine => None,
            Way::Http => Some(agency.is_served().await),
        };
        let mut persons = Vec::new();
        for worker in ["ana", "ana", "ben", "cleo"] {
            persons.push(agency.opens_case(worker).await.1);
        }
        let mut devices = Vec::new();
        for (owner, name, habit) in [
            ("ana", "ana-phone-1", Habit::Rescues),
            ("ana", "ana-tablet-", Habit::AsksToWait),
            ("ben", "ben-phone-1", Habit::Rescues),
            ("cleo", "cleo-phone", Habit::Rescues),
            ("sam", "sam-phone-1", Habit::Rescues),
        ] {
            let mut device = Device::new(&agency, owner, name, habit).await;
            device.phone.counts = ["ana-phone-1", "cleo-phone"].contains(&name).then_some((0, 0));
            devices.push(device);
        }
        let laptops = vec![
            Laptop::Rxdb(Replica::new(&agency, "ana", "ana-laptop-").await),
            Laptop::Rxdb(Replica::new(&agency, "ben", "ben-laptop-").await),
            Laptop::Native(NativeDevice::new(&agency, "cleo", "cleo-laptop").await),
        ];
        let ever = devices.iter().map(|_| BTreeSet::new()).collect();
        let latest = agency.clock.now();
        let (owed, under_way, backup) = (BTreeSet::new(), Vec::new(), None);
        let (words, head, taken_back) = (0, 0, BTreeSet::new());
        let mut world = World {
            agency,
            devices,
            laptops,
            persons,
            words,
            owed,
            taken_back,
            ever,
            under_way,
            backup,
            latest,
            head,
            _served: served,
        };
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

    pub(super) async fn take(&mut self, step: Step) {
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
            Step::Replicate { laptop, first, parts, limit, pull, push } => {
                let at = laptop % self.laptops.len();
                let mut all = self.laptops[at].parts();
                let (first, some) = (first % all.len(), 1 + parts % all.len());
                all.rotate_left(first);
                let how = Conditions {
                    limit: if limit.is_multiple_of(3) { 1 + limit % 12 } else { 100 },
                    pull: Some((pull / 10 % 3, network(pull))),
                    push: network(push),
                };
                for part in all.into_iter().take(some) {
                    self.replicates(at, part, how).await;
                }
            }
            Step::WriteThere { laptop, case, goal } => {
                let (word, at) = (self.word(), laptop % self.laptops.len());
                let Some(case) = pick(&self.laptops[at].ids("cases"), case) else { return };
                let id = self.agency.clock.mint();
                let row = if goal {
                    json!({"id": id, "case_id": case, "statement": word, "level": "individual"})
                } else {
                    json!({"id": id, "case_id": case, "body": word, "kind": "progress"})
                };
                self.laptops[at].creates(if goal { "goals" } else { "notes" }, row);
                self.owed.insert(word);
            }
            Step::EditThere { laptop, row, column } => {
                let (word, at) = (self.word(), laptop % self.laptops.len());
                let (table, column) = [("notes", "body"), ("goals", COLUMNS[column / 2 % 4])][column % 2];
                let Some(id) = pick(&self.laptops[at].ids(table), row) else { return };
                let before = self.laptops[at].row(table, &id).get(column).cloned().unwrap_or_default();
                if let Some(before) = before.as_str().filter(|before| self.laptops[at].outgoing().contains(before)) {
                    self.owed.remove(before);
                }
                self.forgets(self.laptops[at].epoch(table), &before.to_string()).await;
                self.laptops[at].edits(table, &id, column, json!(word));
                self.owed.insert(word);
            }
            Step::DropThere { laptop, row } => {
                let at = laptop % self.laptops.len();
                let laptop = &self.laptops[at];
                let seen = &self.ever[self.device_of(laptop.owner())];
                let outgoing = laptop.outgoing();
                let settled = |id: &String| seen.contains(&("goals".into(), id.clone())) && !outgoing.contains(id);
                let known: BTreeSet<String> = laptop.ids("goals").into_iter().filter(settled).collect();
                if let Some(id) = pick(&known, row) {
                    let row = json!(laptop.row("goals", &id)).to_string();
                    self.forgets(laptop.epoch("goals"), &row).await;
                    self.laptops[at].deletes("goals", &id);
                }
            }
            Step::Decide { issue, how, case } => self.decides(issue, how, case).await,
            Step::EditList { device, row, out } => {
                let (word, at) = (self.word(), device % devices);
                let Some(id) = pick(&self.devices[at].phone.ids("goals"), row) else { return };
                let before = self.devices[at].phone.column("goals", &id, LIST);
                self.gives_up(at, &before.to_string()).await;
                let mut list: Vec<Value> =
                    before.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                let kept = list.iter().position(|item| item.is_string()).filter(|_| out);
                if let Some(place) = kept {
                    let item = list[place].take();
                    list[place] = json!({"value": item, "removed": true});
                } else {
                    list.push(json!(word));
                }
                self.devices[at].phone.edits("goals", &id, json!({LIST: json!(list).to_string()}));
                match kept {
                    None => self.typed(at, &word),
                    // What was never sent is its own to take back.
                    Some(_) => self.takes_back(&before.to_string()),
                }
            }
            Step::EditListThere { laptop, row, out } => {
                let (word, at) = (self.word(), laptop % self.laptops.len());
                let Some(id) = pick(&self.laptops[at].ids("goals"), row) else { return };
                let before = self.laptops[at].row("goals", &id).get(LIST).cloned().unwrap_or_default();
                self.forgets(self.laptops[at].epoch("goals"), &before.to_string()).await;
                let mut list = before.as_array().cloned().unwrap_or_default();
                if out && !list.is_empty() {
                    list.remove(0);
                    self.takes_back(&before.to_string());
                } else {
                    list.push(json!(word));
                    self.owed.insert(word);
                }
                self.laptops[at].edits("goals", &id, LIST, json!(list));
            }
            Step::Act { row, verb } => {
                let word = self.word();
                let Some(Laptop::Native(device)) = self.laptops.last_mut() else { return };
                let Some(id) = pick(&device.ids("cases"), row) else { return };
                device.acts("cases", &id, ["hold", "resume", "begin_closing", "continue"][verb % 4], &word);
                self.owed.insert(word);
            }
            Step::CrashThere { laptop, table, pulls, after } => {
                self.laptops[laptop % self.laptops.len()].is_cut_off(&self.agency, table, pulls, after).await;
            }
            Step::SetsOff { device, table, pulls } => {
                let at = device % (devices + self.laptops.len());
                self.under_way.push(match at.checked_sub(devices) {
                    None => UnderWay::Phone(self.devices[at].sets_off(), pulls),
                    Some(at) => UnderWay::Laptop(self.laptops[at].clone(), table, pulls),
                });
            }
            Step::Arrives { which } => {
                if !self.under_way.is_empty() {
                    match self.under_way.remove(which % self.under_way.len()) {
                        UnderWay::Phone(device, pulls) => device.arrives(&self.agency, pulls).await,
                        UnderWay::Laptop(laptop, table, pulls) => laptop.arrives(&self.agency, table, pulls).await,
                    }
                }
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
        for laptop in &self.laptops {
            for table in ["goals", "notes", "cases"] {
                for id in laptop.ids(table) {
                    known.push_str(&json!(laptop.row(table, &id)).to_string());
                }
            }
        }
        self.owed.retain(|word| known.contains(word.as_str()));
    }

    /// A device that has not yet offered a restored server what it holds forgets words of its own accord: they may
    /// have been the only copy.
    async fn gives_up(&mut self, at: usize, words: &str) {
        self.forgets(self.devices[at].epoch, words).await;
    }

    async fn forgets(&mut self, epoch: Option<i64>, words: &str) {
        let line = self.line().await;
        if line.epoch > 1 && epoch != Some(line.epoch) {
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

    /// What of a list has not reached any server may be gone for good when somebody takes it out again.
    fn takes_back(&mut self, list: &str) {
        let unsent: String = self.devices.iter().map(|device| device.phone.outgoing().to_string()).collect();
        let unsent = self.laptops.iter().fold(unsent, |all, laptop| all + &laptop.outgoing());
        for at in list.match_indices("qzx").map(|(at, _)| at) {
            if unsent.contains(&list[at..at + 10]) {
                self.owed.remove(&list[at..at + 10]);
                self.taken_back.insert(list[at..at + 10].to_owned());
            }
        }
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
                let word = outgoing.get(at..at + 10).filter(|word| !self.taken_back.contains(*word));
                self.owed.extend(word.map(str::to_owned));
            }
        }
    }

    async fn pull(&mut self, at: usize, limit: Option<usize>, network: Network) -> bool {
        self.devices[at].named.clear();
        let done = self.devices[at].pulls(&self.agency, limit, network).await;
        self.look().await;
        let device = &self.devices[at];
        self.could_see(device.owner, &device.name, &device.named);
        done
    }

    /// A part of what a laptop has, pulled and pushed; both go their own ways when the network fails.
    async fn replicates(&mut self, at: usize, part: Option<&'static Table>, how: Conditions) {
        self.laptops[at].pulls(&self.agency, part, how).await;
        let named = self.laptops[at].named();
        self.could_see(self.laptops[at].owner(), self.laptops[at].name(), &named);
        if self.laptops[at].pushes(&self.agency, part, how).await {
            self.look().await;
        }
    }

    fn device_of(&self, owner: &str) -> usize {
        self.devices.iter().position(|device| device.owner == owner).expect("a device of theirs")
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
