//! The sample agencies on a fresh database, served in this process on a loopback port, with a clock the test sets.

use std::net::TcpListener;
use std::sync::{Arc, LazyLock};

use entities::access::{Actor, Role};
use entities::clock::{Clock, Instant};
use entities::people::{agency, team, user};
use entities::store::Store;
use sea_orm::sqlx;
use secrecy::SecretString;
use tokio::sync::{OnceCell, oneshot};

use super::database::{Kind, Stage, TestDb};
use super::person::{PASSWORD, Person};
use super::server::Server;

/// Keeps a server up until it is dropped.
pub type Serving = oneshot::Sender<()>;

/// When every world begins: a Monday in New York, 10:00 in the morning (EST), 15:00 in London.
pub const BEGIN: &str = "2027-03-01T15:00:00Z";

/// The sample agencies on a fresh database and nothing that serves them: for the real binary, and on its clock.
#[derive(Debug)]
pub struct Town {
    pub db: TestDb,
    pub store: Store,
    folder: tempfile::TempDir,
}

impl Stage for Town {
    async fn open(db: TestDb) -> Town {
        let store = db.store(Clock::System).await;
        settle_in(&store).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        api::Keys::open(&folder.path().join("signing.json"), true).expect("signing keys");
        Town { db, store, folder }
    }
}

impl Town {
    /// `fieldstone serve` on this database.
    pub async fn server(&self) -> Server {
        self.server_with(&[]).await
    }

    /// The same with more settings.
    pub async fn server_with(&self, more: &[(&str, &str)]) -> Server {
        let settings = self.settings();
        let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.extend(more);
        Server::start(&["serve"], &settings).await
    }

    /// An api within this process, under the keys of those that are not.
    pub fn serves_here(&self) -> (String, Serving) {
        let file = self.folder.path().join("signing.json");
        let keys = Arc::new(api::Keys::open(&file, false).expect("signing keys"));
        serve_as(self.store.clone(), |config| config.keys = keys)
    }

    /// Asks the database itself whether anything in it is damaged.
    pub async fn is_intact(&self) {
        let pool = match self.db.kind {
            Kind::Sqlite => self.store.connection().get_sqlite_connection_pool(),
            Kind::Postgres => return, // it would not have started again
        };
        let said: String = sqlx::query_scalar("pragma integrity_check").fetch_one(pool).await.expect("an answer");
        assert_eq!(said, "ok");
    }

    /// The settings that point the binary at this database.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let key = self.folder.path().join("signing.json");
        vec![
            ("FIELDSTONE_DATABASE_URL", self.db.url.clone()),
            ("FIELDSTONE_SIGNING_KEY_FILE", key.display().to_string()),
            ("FIELDSTONE_RATE_PER_SECOND", "0".to_owned()),
        ]
    }
}

/// Riverbend (New York) with teams North and South, Hillside (London) with one caseworker; no cases yet.
#[derive(Debug)]
pub struct World {
    pub db: TestDb,
    pub store: Store,
    pub clock: Clock,
    /// Where the api listens.
    pub url: String,
    /// Riverbend's id.
    pub riverbend: String,
    /// Hillside's id.
    pub hillside: String,
    _serving: Vec<Serving>,
}

impl Stage for World {
    async fn open(db: TestDb) -> World {
        World::at(db, Clock::manual(Instant::parse(BEGIN).expect("an instant"))).await
    }
}

impl World {
    /// The same under a clock of the test's own.
    pub async fn at(db: TestDb, clock: Clock) -> World {
        let store = db.store(clock.clone()).await;
        let (riverbend, hillside) = settle_in(&store).await;
        let (url, serving) = serve(store.clone());
        World { db, store, clock, url, riverbend, hillside, _serving: vec![serving] }
    }

    /// Caseworker of Riverbend's team North.
    pub async fn ana(&self) -> Person {
        self.person("ana@demo.example").await
    }

    /// Caseworker of Riverbend's team North, Ana's colleague.
    pub async fn ben(&self) -> Person {
        self.person("ben@demo.example").await
    }

    /// Supervisor of Riverbend's team North.
    pub async fn sam(&self) -> Person {
        self.person("sam@demo.example").await
    }

    /// Caseworker of Riverbend's team South.
    pub async fn cleo(&self) -> Person {
        self.person("cleo@demo.example").await
    }

    /// Supervisor of Riverbend's team South.
    pub async fn sol(&self) -> Person {
        self.person("sol@demo.example").await
    }

    /// Administrator of Riverbend.
    pub async fn ada(&self) -> Person {
        self.person("ada@demo.example").await
    }

    /// Caseworker of Hillside, the other agency.
    pub async fn omar(&self) -> Person {
        self.person("omar@other.example").await
    }

    /// Somebody with an account here, logged in on a new device.
    pub async fn person(&self, email: &str) -> Person {
        let person = Person::at(&self.url, email);
        person.logs_in().await;
        person
    }

    /// Somebody with nothing but the address of the server.
    pub fn stranger(&self) -> Person {
        Person::at(&self.url, "stranger@nowhere.example")
    }

    /// Sets the clock.
    #[track_caller]
    pub fn set_clock(&self, to: &str) {
        self.clock.set(Instant::parse(to).expect("an instant such as 2027-03-01T15:00:00Z"));
    }

    /// Moves the clock forward.
    pub fn pass_secs(&self, secs: i64) {
        self.clock.advance_ms(secs * 1000);
    }

    /// A second api on the same database, as another process would be, with pools and caches of its own.
    pub async fn another_server(&mut self) -> String {
        let (url, serving) = serve(self.db.store(self.clock.clone()).await);
        self._serving.push(serving);
        url
    }

    /// A server on this world's database with settings of its own; it lives as long as the test.
    pub fn serve_with(&self, settings: impl FnOnce(&mut api::Config)) -> String {
        let (url, serving) = serve_as(self.store.clone(), settings);
        std::mem::forget(serving);
        url
    }

    /// A server of its own on another handle of this world's database; it lives as long as the test.
    pub fn serve_on(&self, store: Store) -> String {
        let (url, serving) = serve(store);
        std::mem::forget(serving);
        url
    }

    /// A user's id.
    pub async fn id_of(&self, email: &str) -> String {
        let snapshot = self.store.read().await.expect("a snapshot");
        user::by_email(&*snapshot, email).await.expect("users").expect("the user is in the sample agencies").id
    }
}

/// Ids of the users for whom mail of this template is queued, sorted.
pub async fn mails_queued(store: &Store, template: &str) -> Vec<String> {
    let text = "select to_user from outbound_message where template = $1 order by to_user";
    let snapshot = store.read().await.expect("a snapshot");
    let rows = entities::sql::all(&*snapshot, text, vec![template.into()]).await.expect("the outbox");
    rows.iter().map(|row| row.try_get_by_index(0).expect("a user")).collect()
}

/// A server on this store: where it listens, and what it lives as long as.
pub fn serve(store: Store) -> (String, Serving) {
    serve_as(store, |_| ())
}

fn serve_as(store: Store, settings: impl FnOnce(&mut api::Config)) -> (String, Serving) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    // One set of keys for all servers, as processes of one installation have.
    static KEYS: LazyLock<Arc<api::Keys>> = LazyLock::new(|| Arc::new(api::Keys::ephemeral().expect("keys")));
    let keys = api::Keys::ephemeral().expect("keys");
    let mut config = api::Config {
        keys: Arc::clone(&KEYS),
        rate_per_second: 0,
        workers: 1,
        stop_secs: 1,
        ..api::Config::new(&url, keys)
    };
    settings(&mut config);
    let (serving, told) = oneshot::channel::<()>();
    let listeners = api::Listeners { public: listener, admin: None };
    tokio::spawn(api::run(api::State::new(config, store), listeners, async {
        // Ends when the world does, which drops the other side.
        let _ = told.await;
    }));
    (url, serving)
}

async fn settle_in(store: &Store) -> (String, String) {
    let clock = store.clock().clone();
    let riverbend = agency::Model::new("Riverbend Family Services", "America/New_York", &clock);
    let riverbend = agency::create(store, riverbend).await.expect("an agency").id;
    let north = found_team(store, &riverbend, "North").await;
    let south = found_team(store, &riverbend, "South").await;
    for (name, email, role, team) in [
        ("Ana Ortiz", "ana@demo.example", Role::Caseworker, Some(&north)),
        ("Ben Brook", "ben@demo.example", Role::Caseworker, Some(&north)),
        ("Sam Stone", "sam@demo.example", Role::Supervisor, Some(&north)),
        ("Cleo Clark", "cleo@demo.example", Role::Caseworker, Some(&south)),
        ("Sol Summers", "sol@demo.example", Role::Supervisor, Some(&south)),
        ("Ada Adams", "ada@demo.example", Role::Administrator, None),
    ] {
        hire(store, &riverbend, name, email, role, team).await;
    }
    lead(store, &riverbend, &north, "sam@demo.example").await;
    lead(store, &riverbend, &south, "sol@demo.example").await;
    let hillside = agency::Model::new("Hillside Outreach", "Europe/London", &clock);
    let hillside = agency::create(store, hillside).await.expect("an agency").id;
    hire(store, &hillside, "Omar Oakes", "omar@other.example", Role::Caseworker, None).await;
    (riverbend, hillside)
}

async fn found_team(store: &Store, agency: &str, name: &str) -> String {
    let mut write = store.write(&Actor::system(agency)).await.expect("the door");
    let team = team::Model { name: name.to_owned(), ..team::Model::default() };
    let id = team::create(&mut write, team).await.expect("a team").id;
    write.commit().await.expect("a commit");
    id
}

async fn hire(store: &Store, agency: &str, name: &str, email: &str, role: Role, team: Option<&String>) {
    let mut write = store.write(&Actor::system(agency)).await.expect("the door");
    let someone = user::Model { team_id: team.cloned(), ..user::Model::new(name, email, role) };
    let id = user::create(&mut write, someone).await.expect("a user").id;
    user::set_password(&mut write, &id, everybodys_hash().await, None).await.expect("a password");
    write.commit().await.expect("a commit");
}

/// The hash of the password that everybody has here; made once, since it is meant to take long.
pub async fn everybodys_hash() -> &'static str {
    static HASH: OnceCell<String> = OnceCell::const_new();
    let made = HASH.get_or_init(|| async {
        let passwords = api::password::Passwords::at_once(1);
        passwords.hash(SecretString::from(PASSWORD)).await.expect("a hash")
    });
    made.await
}

async fn lead(store: &Store, agency: &str, team: &str, email: &str) {
    let mut write = store.write(&Actor::system(agency)).await.expect("the door");
    let before = team::by_id(write.conn(), agency, team).await.expect("teams").expect("the team");
    let leader = user::by_email(write.conn(), email).await.expect("users").expect("the supervisor").id;
    let after = team::Model { supervisor_user_id: Some(leader), ..before.clone() };
    team::change(&mut write, &before, after).await.expect("a leader");
    write.commit().await.expect("a commit");
}
