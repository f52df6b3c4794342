//! A small agency on a real database, and the desk's own ways of changing it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use entities::casework::{case, case_assignment, case_party, person};
use entities::people::{agency, team, user};
use entities::registry::{Row, Synced, TABLES};
use entities::{Actor, Clock, Instant, Role, Store, read};

use crate::support::{Serving, TestDb, everybodys_hash, serve};

/// Monday, 4 January 2027, 09:00 in New York.
pub const START: Instant = Instant(1_799_071_200_000);

/// Two teams: Ana and Ben with Sam in the north, Cleo with Sol in the south.
#[derive(Clone, Debug)]
pub struct Agency {
    pub store: Store,
    pub clock: Clock,
    pub id: String,
    pub users: Vec<(&'static str, String, Role)>,
    pub teams: Vec<String>,
    /// Where its API listens, if it has one.
    pub url: Option<String>,
    /// What everybody could see between two requests of one device.
    pub between: Arc<Mutex<Vec<BTreeMap<&'static str, Seen>>>>,
}

impl Agency {
    pub async fn found(db: &TestDb) -> Agency {
        let clock = Clock::repeatable(START, 1);
        let store = db.store(clock.clone()).await;
        let id = agency::create(&store, agency::Model::new("Riverbend", "America/New_York", &clock))
            .await
            .expect("agency")
            .id;
        let mut write = store.write(&Actor::system(&id)).await.expect("door");
        let mut users = Vec::new();
        let mut teams = Vec::new();
        let people = [
            ("sam", Role::Supervisor),
            ("sol", Role::Supervisor),
            ("ana", Role::Caseworker),
            ("ben", Role::Caseworker),
            ("cleo", Role::Caseworker),
        ];
        for (name, role) in people {
            let made = user::create(&mut write, user::Model::new(name, &format!("{name}@demo.example"), role)).await;
            users.push((name, made.expect("user").id, role));
        }
        for (name, supervisor) in [("North", 0), ("South", 1)] {
            let made = team::create(
                &mut write,
                team::Model {
                    name: name.into(),
                    supervisor_user_id: Some(users[supervisor].1.clone()),
                    ..team::Model::default()
                },
            );
            teams.push(made.await.expect("team").id);
        }
        write.commit().await.expect("commit");
        Agency { store, clock, id, users, teams, url: None, between: Arc::default() }
    }

    /// Everybody has a password, and an API to log in to for as long as what this gives is kept.
    pub async fn is_served(&mut self) -> Serving {
        let mut write = self.store.write(&self.system()).await.expect("door");
        for (_, id, _) in &self.users {
            user::set_password(&mut write, id, everybodys_hash().await, None).await.expect("a password");
        }
        write.commit().await.expect("commit");
        let (url, serving) = serve(self.store.clone());
        self.url = Some(url);
        serving
    }

    pub fn user(&self, name: &str) -> &str {
        &self.users.iter().find(|(known, ..)| *known == name).expect("a known name").1
    }

    /// This person at the desk, or on a device.
    pub fn actor(&self, name: &str, device: Option<&str>) -> Actor {
        let (_, id, role) = self.users.iter().find(|(known, ..)| *known == name).expect("a known name");
        Actor {
            agency_id: self.id.clone(),
            user_id: Some(id.clone()),
            role: *role,
            device_id: device.map(str::to_owned),
        }
    }

    pub fn system(&self) -> Actor {
        Actor::system(&self.id)
    }

    /// Opens a case for somebody, with one person in it. Gives the ids of both.
    pub async fn opens_case(&self, worker: &str) -> (String, String) {
        let mut write = self.store.write(&self.system()).await.expect("door");
        let team = if worker == "cleo" { 1 } else { 0 };
        let case = case::Model { team_id: Some(self.teams[team].clone()), status: "active".into(), ..blank_case() };
        let case = write.create::<case::Entity>(case).await.expect("case").id;
        let person = person::Model { given_name: Some("Invented".into()), ..fresh() };
        let person = write.create::<person::Entity>(person).await.expect("person").id;
        let party = case_party::Model {
            case_id: case.clone(),
            person_id: person.clone(),
            role: "primary_client".into(),
            ..fresh()
        };
        write.create::<case_party::Entity>(party).await.expect("party");
        self.assigns_in(&mut write, &case, worker, "primary", None).await;
        write.commit().await.expect("commit");
        (case, person)
    }

    async fn assigns_in(
        &self,
        write: &mut entities::Write,
        case: &str,
        worker: &str,
        role: &str,
        window: Option<(Instant, Instant)>,
    ) {
        let from = window.map_or(write.now(), |window| window.0);
        let assignment = case_assignment::Model {
            case_id: case.into(),
            user_id: self.user(worker).into(),
            role: role.into(),
            from_ts: from,
            to_ts: window.map(|window| window.1),
            reason: Some("test".into()),
            ..fresh()
        };
        write.create::<case_assignment::Entity>(assignment).await.expect("assignment");
    }

    /// Hands a case to somebody else, as one commit.
    pub async fn reassigns(&self, case: &str, to: &str, immediate: bool) {
        let mut write = self.store.write(&self.system()).await.expect("door");
        let open = read::models::<case_assignment::Entity>(
            write.conn(),
            "t.case_id = $1 and t.role = 'primary' and t.to_ts is null and t.deleted_at is null",
            vec![case.into()],
        )
        .await
        .expect("assignments");
        for before in open {
            let to_ts = Some(write.now().max(before.from_ts));
            let after = case_assignment::Model { to_ts, ..before.clone() };
            write.change::<case_assignment::Entity>(&before, after).await.expect("ended");
        }
        if immediate {
            write.revoke_at_once();
        }
        self.assigns_in(&mut write, case, to, "primary", None).await;
        write.commit().await.expect("commit");
    }

    /// Lets somebody cover a case for a while, beginning later.
    pub async fn covers(&self, case: &str, who: &str, from: Instant, to: Instant) {
        let mut write = self.store.write(&self.system()).await.expect("door");
        self.assigns_in(&mut write, case, who, "covering", Some((from, to))).await;
        write.commit().await.expect("commit");
    }

    /// Ends a person's part in a case, or begins one.
    pub async fn moves_person(&self, person: &str, case: &str) {
        let mut write = self.store.write(&self.system()).await.expect("door");
        let parts = read::models::<case_party::Entity>(
            write.conn(),
            "t.case_id = $1 and t.person_id = $2 and t.left_on is null and t.deleted_at is null",
            vec![case.into(), person.into()],
        )
        .await
        .expect("parties");
        if let Some(before) = parts.first() {
            let after = case_party::Model { left_on: entities::Day::ymd(2027, 1, 4), ..before.clone() };
            write.change::<case_party::Entity>(before, after).await.expect("left");
        } else {
            let party =
                case_party::Model { case_id: case.into(), person_id: person.into(), role: "member".into(), ..fresh() };
            write.create::<case_party::Entity>(party).await.expect("joined");
        }
        write.commit().await.expect("commit");
    }

    /// Every row this person may see now, by table and id: worked out from assignments, teams and parts alone, without
    /// the feed and the access that the engine keeps.
    pub async fn views(&self) -> BTreeMap<&'static str, Seen> {
        let (now, conn) = (self.clock.now().0, self.store.connection());
        let mut rows = BTreeMap::new();
        for table in TABLES.iter() {
            let all = read::rows_where(conn, table, "t.deleted_at is null", vec![]).await.expect("rows");
            rows.insert(table.name, all);
        }
        let mut views = BTreeMap::new();
        for (name, user, _) in &self.users {
            let supervises = |case: &Row| match *name {
                "sam" => case.text("team_id") == Some(&self.teams[0]),
                "sol" => case.text("team_id") == Some(&self.teams[1]),
                _ => false,
            };
            let led: BTreeSet<&str> = rows["cases"].iter().filter(|case| supervises(case)).map(Row::id).collect();
            let worked: BTreeSet<&str> = rows["case_assignments"]
                .iter()
                .filter(|part| {
                    part.text("user_id") == Some(user)
                        && part.int("from_ts").is_some_and(|from| from <= now)
                        && part.int("to_ts").is_none_or(|to| to > now)
                })
                .filter_map(|part| part.text("case_id"))
                .collect();
            let mine = |case: &str| led.contains(case) || worked.contains(case);
            let parts = |person: &str, open: bool| {
                rows["case_parties"]
                    .iter()
                    .filter(|part| part.text("person_id") == Some(person) && part.text("left_on").is_none() == open)
                    .filter_map(|part| part.text("case_id"))
                    .collect::<Vec<_>>()
            };
            let sees = |row: &Row| match (row.table.name, row.case_id()) {
                ("staff" | "organizations", _) => true,
                ("persons", _) => {
                    // Nobody here made a person by themselves, so who has no part left stays with the cases.
                    let (open, ended) = (parts(row.id(), true), parts(row.id(), false));
                    if open.is_empty() { ended } else { open }.iter().any(|case| mine(case))
                }
                ("sync_issues", case) => {
                    row.text("user_id") == Some(user)
                        && (row.text("audience") == Some("author") || case.is_none_or(mine))
                }
                ("prompts", Some(case)) => row.text("recipient_user_id") == Some(user) && mine(case),
                ("notes", Some(case)) => match row.text("visibility") {
                    Some("assigned") => worked.contains(case) || (row.text("author_id") == Some(user) && mine(case)),
                    Some("author_supervisor") => {
                        led.contains(case) || (row.text("author_id") == Some(user) && mine(case))
                    }
                    _ => mine(case),
                },
                (_, Some(case)) => mine(case),
                _ => false,
            };
            let mut seen = Seen::new();
            for (table, all) in &rows {
                seen.extend(all.iter().filter(|row| sees(row)).map(|row| ((*table).to_owned(), row.id().to_owned())));
            }
            views.insert(*name, seen);
        }
        views
    }
}

/// Rows by table and id.
pub type Seen = BTreeSet<(String, String)>;

/// A row at its initial values.
fn fresh<E, M>() -> M
where
    E: Synced<Model = M>,
    M: sea_orm::ModelTrait<Entity = E>,
{
    entities::registry::fresh::<E>().expect("a registered table")
}

fn blank_case() -> case::Model {
    case::Model {
        unit: "individual".into(),
        stage: "engagement_assessment".into(),
        intensity: "medium".into(),
        risk: "none".into(),
        ..fresh()
    }
}
