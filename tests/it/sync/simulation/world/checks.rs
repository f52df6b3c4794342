//! What must hold: nobody hears of what they could never see, everybody is equal to their view in the end, and every
//! word is somewhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use entities::registry::{Face, TABLES};
use entities::{read, sql};
use sea_orm::DbBackend;
use serde_json::json;

use super::World;
use crate::sync::laptop::{Conditions, Laptop};
use crate::sync::phones::Network;

impl World {
    /// Nobody is told of the deletion of a row that they could never see.
    pub(super) fn could_see(&self, owner: &str, name: &str, named: &BTreeSet<(String, String)>) {
        let ever = &self.ever[self.device_of(owner)];
        let between = self.agency.between.lock().expect("a list");
        for key in named {
            // A row that its author may not see is taken from the author, on whichever device it was made.
            let made = self.devices.iter().any(|other| other.owner == owner && other.made.contains(key))
                || self.laptops.iter().any(|other| other.owner() == owner && other.made().contains(key));
            let seen = ever.contains(key) || made || between.iter().any(|views| views[owner].contains(key));
            assert!(seen, "{name} was told of the deletion of {key:?}, which {owner} could never see");
        }
    }

    /// The faults have stopped: every phone syncs twice, one after the other, and everybody is equal to their view.
    pub(in crate::sync::simulation) async fn settle(&mut self) {
        self.agency.clock.set(self.latest);
        for round in 1..=2 {
            self.agency.clock.advance_ms(60_000);
            for at in 0..self.devices.len() {
                self.sync(at, 1, Network::Works, Network::Works, false).await;
                // A client that was sent back pulls and pushes once more, as WatermelonDB's own does.
                if self.devices[at].phone.has_unsynced_changes() {
                    self.sync(at, 1, Network::Works, Network::Works, false).await;
                }
                let device = &self.devices[at];
                assert!(!device.phone.has_unsynced_changes(), "{} is stuck in round {round}", device.name);
            }
            self.look().await;
            for at in 0..self.laptops.len() {
                for part in self.laptops[at].parts() {
                    self.replicates(at, part, Conditions::GOOD).await;
                }
                let laptop = &self.laptops[at];
                assert!(!laptop.has_unsent_changes(), "{} is stuck in round {round}", laptop.name());
            }
        }
        self.scopes_are_known_to_be_new().await;
        for at in 0..self.devices.len() {
            self.compare(at).await;
        }
        for laptop in &self.laptops {
            self.compare_laptop(laptop).await;
        }
    }

    /// No entry of the feed lies beyond its scope's newest number, by which a pull chooses where to look.
    async fn scopes_are_known_to_be_new(&self) {
        if self.agency.store.backend() == DbBackend::Postgres {
            return; // it has no such numbers
        }
        let text = "select count(*) from sync_feed f left join sync_scope s on s.scope = f.scope \
                    where s.seq is null or s.seq < f.seq";
        let row = sql::one(self.agency.store.connection(), text, vec![]).await.expect("a look").expect("a row");
        assert_eq!(row.try_get_by_index::<i64>(0).expect("a number"), 0);
    }

    async fn compare_laptop(&self, laptop: &Laptop) {
        let view = self.agency.views().await.remove(laptop.owner()).expect("a view");
        for table in laptop.tables() {
            let seen: BTreeSet<String> =
                view.iter().filter(|(name, _)| name == table.name).map(|(_, id)| id.clone()).collect();
            assert_eq!(laptop.ids(table.name), seen, "{}, {}: held, and to be held", laptop.name(), table.name);
            let ids: Vec<String> = seen.into_iter().collect();
            for row in read::by_ids(self.agency.store.connection(), table, &ids).await.expect("rows") {
                let mut local = laptop.row(table.name, row.id());
                assert!(local.remove("_deleted").is_none_or(|gone| gone == json!(false)));
                let stored = row.object(Face::Rest);
                assert_eq!(local, stored, "{}, {}: held, and stored", laptop.name(), table.name);
            }
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
    pub(in crate::sync::simulation) async fn account(&self) {
        let mut everything = self.stored_words().await;
        for device in &self.devices {
            let _ = write!(everything, "{}", device.phone.outgoing());
        }
        for laptop in &self.laptops {
            everything.push_str(&laptop.outgoing());
        }
        let lost: Vec<_> = self.owed.iter().filter(|word| !everything.contains(word.as_str())).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }

    /// Every word in a row, in history, in quarantine or in what somebody is told.
    pub(super) async fn stored_words(&self) -> String {
        let kept = ["select raw from sync_quarantine", "select detail from sync_issues where detail is not null"];
        let mut everything = self.words_in_rows().await;
        everything.push_str(&self.words_of(kept.map(str::to_owned).to_vec()).await);
        everything
    }

    /// Every word in a row or in history.
    pub(super) async fn words_in_rows(&self) -> String {
        let mut queries = vec!["select old from row_history".to_owned()];
        for table in [
            "goals.statement",
            "goals.measure",
            "goals.why_it_matters",
            "goals.unit",
            "goals.strengths",
            "notes.body",
            "cases.summary",
            "cases.status_reason",
        ] {
            let (table, column) = table.split_once('.').expect("a column");
            queries.push(format!("select {column} from {table} where {column} is not null"));
        }
        self.words_of(queries).await
    }

    async fn words_of(&self, queries: Vec<String>) -> String {
        let mut everything = String::new();
        let conn = self.agency.store.connection();
        for query in queries {
            for row in sql::all(conn, &query, vec![]).await.expect("words") {
                everything.push_str(&row.try_get_by_index::<String>(0).expect("text"));
                everything.push('\n');
            }
        }
        everything
    }
}
