//! The database: one handle for reading, writing and the clock.
//!
//! SQLite has one writer connection and a few readers (a reader per thread of a large pool would
//! each keep a page cache); PostgreSQL has one pool. What differs between the two is in this file
//! and nowhere else. Writes go through `write.rs`.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use crate::clock::{Clock, Instant};
use crate::error::{Error, Result};
use crate::instance;
use crate::sql;

/// How many connections to keep.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// SQLite readers, or all connections on PostgreSQL but the one that listens.
    pub connections: u32,
    /// How long a caller waits for a connection before it is told that the database is busy.
    pub wait: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Pool { connections: 8, wait: Duration::from_secs(5) }
    }
}

/// A handle on the database, cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    clock: Clock,
    /// A connection has come to another database than the one this was: a standby took over, or a copy its place.
    moved: Arc<AtomicBool>,
}

/// A consistent view of the database at one moment. Dropping it ends it.
#[derive(Debug)]
pub struct Snapshot {
    tx: DatabaseTransaction,
    now: Instant,
}

/// A transaction over rows that no device ever sees and no agency's clock orders: sessions,
/// leases, throttles, one-time links. Dropping it rolls it back.
#[derive(Debug)]
pub struct Side {
    tx: DatabaseTransaction,
    now: Instant,
}

impl Store {
    /// Whether a URL of PostgreSQL can be read. What stands in a password has to be percent-encoded, or it is taken
    /// for the end of it.
    pub fn reads(url: &str) -> bool {
        url.starts_with("sqlite:") || url.parse::<sea_orm::sqlx::postgres::PgConnectOptions>().is_ok()
    }

    /// Which database a URL leads to, for a message: its file, or its name and where its server listens. Never who signs
    /// in to it.
    pub fn place(url: &str) -> String {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return path.split('?').next().unwrap_or(path).to_owned();
        }
        let Ok(options) = url.parse::<sea_orm::sqlx::postgres::PgConnectOptions>() else { return String::new() };
        let name = options.get_database().unwrap_or_else(|| options.get_username());
        match options.get_socket() {
            Some(socket) => format!("{name} at {}", socket.display()),
            None => format!("{name} at {}:{}", options.get_host(), options.get_port()),
        }
    }

    /// Opens `sqlite://path` (the file is made if it is missing) or `postgres://…`.
    pub async fn open(url: &str, pool: Pool, clock: Clock) -> Result<Store> {
        if url.starts_with("sqlite:") {
            let writer = Database::connect(sqlite(url, 1, pool.wait)).await?;
            let reader = Database::connect(sqlite(url, pool.connections.max(1), pool.wait)).await?;
            return Ok(Store { reader, writer, clock, moved: Arc::default() });
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(Error::Internal("the database URL must start with sqlite:// or postgres://".into()));
        }
        if !Store::reads(url) {
            // The driver would repeat the whole of it, and so the password.
            return Err(Error::Internal("the database URL cannot be read".into()));
        }
        // Readers and writers do not share: writers that wait for each other's agency would otherwise hold every
        // connection, and phones that only ask would wait behind them. One more reads, for who listens.
        let writers = (pool.connections / 2).max(1);
        let readers = pool.connections.saturating_sub(writers).max(1) + 1;
        let moved = Arc::default();
        Ok(Store {
            reader: Database::connect(postgres(url, readers, pool.wait, &moved)).await?,
            writer: Database::connect(postgres(url, writers, pool.wait, &moved)).await?,
            clock,
            moved,
        })
    }

    /// The clock that stamps everything.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Which of the two databases this is.
    pub fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// The pool that reads, for what needs no snapshot (readiness, migrations).
    pub fn connection(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// The pool that writes; on SQLite it has one connection. Migrations and tests use it.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// The present instant: the database's own on PostgreSQL, so that processes whose clocks
    /// differ agree; this process's on SQLite; a manual clock's in tests.
    pub async fn now(&self) -> Result<Instant> {
        read_now(&self.reader, &self.clock).await
    }

    /// SQL for the present in milliseconds, for statements that must not pay a round trip for it. The text
    /// is always the same, so that the statement is not made anew each time; a manual clock's is a number.
    pub(crate) fn now_sql(&self) -> String {
        match (self.backend(), &self.clock) {
            (DbBackend::Postgres, Clock::System) => "(extract(epoch from clock_timestamp())*1000)::bigint".into(),
            (_, Clock::System) => "cast(round(unixepoch('subsec')*1000) as integer)".into(),
            _ => self.clock.now().0.to_string(),
        }
    }

    /// Opens a consistent view: REPEATABLE READ on PostgreSQL, a WAL read transaction on SQLite.
    pub async fn read(&self) -> Result<Snapshot> {
        let snapshot = self.view().await?;
        if !self.moved.load(SeqCst) {
            return Ok(snapshot);
        }
        drop(snapshot);
        // Whoever may only read does so all the same.
        drop(self.begin().await);
        self.view().await
    }

    async fn view(&self) -> Result<Snapshot> {
        let options = match self.backend() {
            DbBackend::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                sqlite_transaction_mode: None,
            },
            _ => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..Default::default()
            },
        };
        let mut left = 3;
        let tx = loop {
            match self.reader.begin_with_options(options).await {
                // Who went away in the middle of a `begin` left the connection in a transaction that nobody knows
                // of. This attempt has ended it.
                Err(why) if left > 0 && why.to_string().contains("must be called before any query") => left -= 1,
                begun => break begun?,
            }
        };
        Ok(Snapshot { tx, now: self.clock.now() })
    }

    /// The same for what reads all there is: PostgreSQL sets no statement of it a limit of time.
    pub async fn read_at_length(&self) -> Result<Snapshot> {
        let snapshot = self.read().await?;
        if self.backend() == DbBackend::Postgres {
            sql::exec(&*snapshot, "set local statement_timeout = 0", vec![]).await?;
        }
        Ok(snapshot)
    }

    /// Opens a transaction for rows that no device sees.
    pub async fn side(&self) -> Result<Side> {
        let tx = self.begin().await?;
        let now = read_now(&tx, &self.clock).await?;
        Ok(Side { tx, now })
    }

    /// Begins a write. Where the database is another than it was, the next epoch is opened before anything is written:
    /// what its phones hold beyond it would otherwise pass for known as soon as its numbers had caught up.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction> {
        let tx = self.transaction().await?;
        if !self.moved.load(SeqCst) {
            return Ok(tx);
        }
        drop(tx);
        if self.look(false).await?.moved {
            tracing::warn!(
                "another database has taken the place of this one, such as a standby: phones are sent everything they may \
                 see once more, and no mail goes out before `fieldstone admin confirm-instance`"
            );
        }
        self.transaction().await
    }

    /// Looks which database this is, in the belief that the clock is right or not; `instance.rs` says what that means.
    pub(crate) async fn look(&self, believes: bool) -> Result<instance::Seen> {
        let tx = self.transaction().await?;
        let now = read_now(&tx, &self.clock).await?;
        let seen = instance::look_in(&tx, now, believes).await?;
        tx.commit().await?;
        self.moved.store(false, SeqCst);
        Ok(seen)
    }

    /// IMMEDIATE on SQLite, since a transaction that reads first and writes later is refused there when another wrote
    /// between, whatever the busy timeout.
    async fn transaction(&self) -> Result<DatabaseTransaction> {
        Ok(self
            .writer
            .begin_with_options(TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..Default::default()
            })
            .await?)
    }

    /// Commits as they happen in any process on PostgreSQL; `None` on SQLite, which tells nobody.
    /// Takes a connection of those that read for good.
    pub async fn commits(&self) -> Result<Option<Commits>> {
        if self.backend() != DbBackend::Postgres {
            return Ok(None);
        }
        let broken = |err: sqlx::Error| Error::Busy(err.to_string());
        let pool = self.reader.get_postgres_connection_pool();
        let mut listener = sqlx::postgres::PgListener::connect_with(pool).await.map_err(broken)?;
        listener.listen(CHANNEL).await.map_err(broken)?;
        Ok(Some(Commits(listener)))
    }

    /// Closes every connection.
    pub async fn close(self) -> Result<()> {
        self.reader.close_by_ref().await?;
        Ok(self.writer.close_by_ref().await?)
    }
}

/// The channel on which commits are told.
pub(crate) const CHANNEL: &str = "fieldstone_commits";

/// A line on which commits are heard.
#[derive(Debug)]
pub struct Commits(sqlx::postgres::PgListener);

impl Commits {
    /// The next commit: agency and number. `None` when the line has broken.
    pub async fn next(&mut self) -> Option<(String, i64)> {
        loop {
            let note = self.0.try_recv().await.ok()??;
            if let Some((agency, seq)) = note.payload().rsplit_once(':')
                && let Ok(seq) = seq.parse()
            {
                return Some((agency.to_owned(), seq));
            }
        }
    }
}

impl Snapshot {
    /// When the view was opened, by this process's clock.
    pub fn now(&self) -> Instant {
        self.now
    }
}

impl Deref for Snapshot {
    type Target = DatabaseTransaction;
    fn deref(&self) -> &DatabaseTransaction {
        &self.tx
    }
}

impl Side {
    /// The instant of this transaction, read once.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Makes the changes stand.
    pub async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }
}

impl Deref for Side {
    type Target = DatabaseTransaction;
    fn deref(&self) -> &DatabaseTransaction {
        &self.tx
    }
}

async fn read_now(conn: &impl ConnectionTrait, clock: &Clock) -> Result<Instant> {
    if conn.get_database_backend() == DbBackend::Postgres && !clock.is_manual() {
        let text = "select (extract(epoch from clock_timestamp())*1000)::bigint";
        if let Some(row) = sql::one(conn, text, vec![]).await? {
            return Ok(Instant(row.try_get_by_index(0)?));
        }
    }
    Ok(clock.now())
}

/// How long a connection that was used is taken for alive.
const TRUSTED: Duration = Duration::from_secs(1);

fn postgres(url: &str, connections: u32, wait: Duration, moved: &Arc<AtomicBool>) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    let moved = Arc::clone(moved);
    options
        .map_sqlx_postgres_pool_opts(move |with| {
            let moved = Arc::clone(&moved);
            with.after_connect(move |line, _| {
                let moved = Arc::clone(&moved);
                Box::pin(async move {
                    if instance::is_another(line).await? {
                        moved.store(true, SeqCst);
                    }
                    Ok(())
                })
            })
        })
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(wait)
        // Asking a connection whether it is alive is a round trip, and most statements here are one. One that
        // was in use a moment ago is asked nothing; what breaks then is answered 503, and asked again.
        .test_before_acquire_if_idle_for(TRUSTED)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(|with| {
            with.options([
                ("lock_timeout", "3s"),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "30s"),
                // A pull reads little of much: PostgreSQL would compile its statement for a third
                // of a second, each time, and run it for a millisecond.
                ("jit", "off"),
            ])
        });
    options
}

fn sqlite(url: &str, connections: u32, wait: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(wait)
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(|with| {
            with.create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(5))
                .pragma("cache_size", "-6000")
        });
    options
}
