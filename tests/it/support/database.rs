//! A fresh database for each test: a copy of a migrated file on SQLite, of a migrated template on PostgreSQL.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use entities::clock::{Clock, Instant};
use entities::store::{Pool, Store};
use sea_orm::sqlx::{self, Connection, PgConnection};
use tokio::sync::OnceCell;

/// Which of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// What a test is given: made on a fresh database, asked at the end whether everything was left in order.
pub trait Stage: Sized {
    fn open(db: TestDb) -> impl Future<Output = Self>;
}

/// A database of the test's own, migrated and empty; gone when the test has ended.
#[derive(Clone, Debug)]
pub struct TestDb {
    pub kind: Kind,
    pub url: String,
}

impl Stage for TestDb {
    async fn open(db: TestDb) -> TestDb {
        db
    }
}

impl TestDb {
    /// A store on this database with a small pool. It waits long for a connection: two cores that run everything at
    /// once may be slow to give one, and that is not what tests are about.
    pub async fn store(&self, clock: Clock) -> Store {
        Store::open(&self.url, Pool { connections: 6, wait: Duration::from_secs(60) }, clock)
            .await
            .expect("the database opens")
    }

    /// A copy of this database as an operator makes one, while nothing is connected to it; gone with [`TestDb::drops`].
    pub async fn copied(&self) -> TestDb {
        match self.kind {
            Kind::Sqlite => {
                let file = self.url.trim_start_matches("sqlite://");
                let copy = format!("{}.copy-{}.db", file.trim_end_matches(".db"), uuid_text());
                std::fs::copy(file, &copy).expect("the file is copied");
                TestDb { kind: self.kind, url: format!("sqlite://{copy}") }
            }
            Kind::Postgres => {
                let server = postgres_url();
                let name = format!("fieldstone_test_{}", uuid_text());
                let original = self.url.rsplit('/').next().and_then(|name| name.split('?').next()).expect("its name");
                let mut admin = connect(&server).await;
                execute(&mut admin, &format!("create database {name} template {original}")).await;
                TestDb { kind: self.kind, url: with_database(&server, &name) }
            }
        }
    }

    /// Removes a copy; on SQLite it goes with the folder of its original.
    pub async fn drops(self) {
        if self.kind == Kind::Postgres {
            let name = self.url.rsplit('/').next().and_then(|name| name.split('?').next()).expect("its name");
            execute(&mut connect(&postgres_url()).await, &format!("drop database {name} with (force)")).await;
        }
    }
}

/// Runs a test body on a fresh database of this kind and removes the database again.
pub fn run<S: Stage, F: Future<Output = ()>>(kind: Kind, body: impl FnOnce(S) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let file = folder.path().join("fieldstone.db");
                std::fs::copy(sqlite_template().await, &file).expect("the migrated file is copied");
                // As the program makes it; of another one it warns.
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("closed to others");
                let url = format!("sqlite://{}", file.display());
                body(S::open(TestDb { kind, url }).await).await;
            }
            Kind::Postgres => {
                let server = postgres_url();
                let name = format!("fieldstone_test_{}", uuid_text());
                let template = postgres_template(&server).await;
                let mut admin = connect(&server).await;
                execute(&mut admin, &format!("create database {name} template {template}")).await;
                body(S::open(TestDb { kind, url: with_database(&server, &name) }).await).await;
                execute(&mut admin, &format!("drop database {name} with (force)")).await;
            }
        }
    });
}

/// The test server; a test without one fails, since a suite that skips half of itself says nothing.
pub fn postgres_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "how tests/with-postgres tells where its server is")]
    std::env::var("FIELDSTONE_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!(
            "no PostgreSQL to test on. Run `tests/run`, or for one test `tests/with-postgres cargo test NAME`, \
             or set FIELDSTONE_TEST_POSTGRES_URL"
        )
    })
}

/// A migrated database of this name on this PostgreSQL.
pub async fn fresh_on(server: &str, name: &str) -> TestDb {
    let db = empty_on(server, name).await;
    migrate(&db.url).await;
    db
}

/// A database of this name with nothing in it.
pub async fn empty_on(server: &str, name: &str) -> TestDb {
    execute(&mut connect(server).await, &format!("create database {name}")).await;
    TestDb { kind: Kind::Postgres, url: with_database(server, name) }
}

async fn sqlite_template() -> &'static PathBuf {
    static FILE: OnceCell<PathBuf> = OnceCell::const_new();
    FILE.get_or_init(|| async {
        // One for each build of the tests, and so for each set of migrations; other processes may be making it too.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("template-{}.db", build()));
        if !file.exists() {
            let making = folder.join(format!("making-{}.db", uuid_text()));
            migrate(&format!("sqlite://{}", making.display())).await;
            std::fs::rename(&making, &file).expect("the template is put in place");
        }
        file
    })
    .await
}

async fn postgres_template(server: &str) -> &'static String {
    static NAME: OnceCell<String> = OnceCell::const_new();
    NAME.get_or_init(|| async {
        let name = format!("fieldstone_template_{}", build());
        let mut admin = connect(server).await;
        execute(&mut admin, "select pg_advisory_lock(7426801)").await;
        let there = sqlx::query("select 1 from pg_database where datname = $1").bind(&name);
        if there.fetch_optional(&mut admin).await.expect("the server answers").is_none() {
            let making = format!("making_{}", uuid_text());
            execute(&mut admin, &format!("create database {making}")).await;
            migrate(&with_database(server, &making)).await;
            execute(&mut admin, &format!("alter database {making} rename to {name}")).await;
        }
        execute(&mut admin, "select pg_advisory_unlock(7426801)").await;
        name
    })
    .await
}

async fn migrate(url: &str) {
    let store = Store::open(url, Pool { connections: 1, ..Pool::default() }, Clock::manual(Instant(0)))
        .await
        .expect("an empty database opens");
    migrations::up(store.writer()).await.expect("the migrations apply");
    store.close().await.expect("the database closes");
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the PostgreSQL of FIELDSTONE_TEST_POSTGRES_URL answers")
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|why| panic!("{sql}: {why}"));
}

/// The server's URL with another database in its path.
fn with_database(server: &str, name: &str) -> String {
    let (before, options) = server.split_once('?').map_or((server, None), |(url, options)| (url, Some(options)));
    let authority = before.find("://").map_or(0, |at| at + 3);
    let end = before[authority..].find('/').map_or(before.len(), |at| authority + at);
    let options = options.map(|text| format!("?{text}")).unwrap_or_default();
    format!("{}/{name}{options}", &before[..end])
}

/// Tells one build of this test binary from another.
fn build() -> String {
    let about = std::env::current_exe().and_then(std::fs::metadata).expect("this program's own file");
    let modified = about.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    format!("{:x}_{:x}", about.len(), modified.map_or(0, |at| at.as_nanos()))
}

/// A UUID of the present moment, as an app mints it.
pub fn uuid() -> String {
    entities::clock::mint_at(Clock::System.now())
}

/// Thirty-two characters that nobody else has.
pub fn uuid_text() -> String {
    uuid().replace('-', "")
}
