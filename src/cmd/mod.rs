//! The commands. What several of them need stands here: saying things, opening the database,
//! logging, and waiting to be asked to stop.

pub(crate) mod admin;
pub(crate) mod backup;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod migrate;
pub(crate) mod sample;
pub(crate) mod serve;
pub(crate) mod worker;

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use entities::{Clock, Pool, Store, instance};
use migrations::Standing;
use sea_orm::DbErr;
use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{EnvFilter, ParseError};

use crate::config::Config;
use crate::failure::{Failure, plainly, unusable};

/// Writes a line to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// Tells on standard error why a command failed.
pub(crate) fn complain(failure: &Failure) {
    // There is nobody left to tell when this fails.
    let _unheard = writeln!(std::io::stderr().lock(), "fieldstone: {failure}");
}

/// Tells where something broke. A message that was put together at that moment may hold anything, a
/// client's words too, so only what stands in the program is repeated.
pub(crate) fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let what = in_the_program(panic.payload());
    if tracing::dispatcher::has_been_set() {
        tracing::error!(at, what, "the program broke at one place; what it was working on is given up");
    } else {
        // There is nobody left to tell when this fails.
        let _unheard = writeln!(std::io::stderr().lock(), "fieldstone: broke at {at}: {what}");
    }
}

fn in_the_program(payload: &dyn std::any::Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(not repeated: it may hold somebody's words)")
}

/// Prints the OpenAPI document, or the table of who may call what.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn openapi(permissions: bool) -> Result<(), Failure> {
    let operations = api::operations(false);
    if permissions {
        return say(api::openapi::permissions(&operations).trim_end());
    }
    let document = api::openapi::document(&operations, entities::Clock::System.now());
    say(serde_json::to_string_pretty(&document).map_err(|error| Failure::failed(error.to_string()))?)
}

/// Starts the log: one JSON object a line on standard error.
///
/// # Errors
/// 78 when the filter cannot be read.
pub(crate) fn start_log(config: &Config) -> Result<(), Failure> {
    log_at(config.log())
}

/// Whether a text is a filter with parts of its own, and no bare level.
pub(crate) fn is_filter(text: &str) -> bool {
    text.contains(['=', ',', '['])
}

/// As [`start_log`], with a level or filter instead of a configuration.
///
/// # Errors
/// As there.
pub(crate) fn log_at(asked: &str) -> Result<(), Failure> {
    let filter = filter(asked).map_err(|error| Failure::config(format!("log: {error}")))?;
    // A second start in one process, as in tests, keeps the first.
    let _already = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    Ok(())
}

/// What to log, out of a level or a filter.
///
/// # Errors
/// When it is neither.
pub(crate) fn filter(asked: &str) -> Result<EnvFilter, ParseError> {
    // A bare level is about this program; its libraries tell each start, each migration, and what strangers send wrong.
    let asked = match asked {
        level if is_filter(level) => level.to_owned(),
        level => format!("{level},sea_orm_migration=warn,actix_server=warn,actix_http::h1::dispatcher=off"),
    };
    // What actix-web tells of a query that it cannot read has the path in it.
    let asked = format!("{asked},actix_web::types=warn");
    EnvFilter::try_new(asked)
}

/// Opens the database, and makes a SQLite file that is missing, readable by its owner alone.
///
/// # Errors
/// When it cannot be reached or made.
pub(crate) async fn open_or_make(config: &Config) -> Result<Store, Failure> {
    if let Some(file) = config.sqlite_file() {
        own_file(&file)?;
    }
    open(config).await
}

/// Whether there is an agency in it, whatever the version of its schema.
pub(crate) async fn is_filled(store: &Store) -> bool {
    // A database without the table has none.
    entities::sql::one(store.connection(), "select 1 from agencies", vec![]).await.is_ok_and(|row| row.is_some())
}

/// Opens a database that is there, and says in the log when everybody on this machine can read it.
///
/// # Errors
/// When it is not, or cannot be reached.
pub(crate) async fn open(config: &Config) -> Result<Store, Failure> {
    if let Some(file) = config.sqlite_file().filter(|file| !file.exists()) {
        let why = "there is no such file; database_url says which it is, and `fieldstone up` makes a new one";
        return Err(Failure::failed(format!("the database {}: {why}", file.display())));
    }
    if let Some(file) = config.sqlite_file() {
        let mode = std::fs::metadata(&file).map_or(0, |about| about.permissions().mode() & 0o777);
        if mode & 0o007 != 0 {
            let (file, mode) = (file.display(), format!("{mode:o}"));
            tracing::warn!(%file, mode, "the database is open to other users of this machine: chmod 600 it");
        }
    }
    let pool = Pool { connections: config.database_connections(), ..Pool::default() };
    let url = config.database_url();
    let store = Store::open(url.expose_secret(), pool, Clock::System).await;
    store.map_err(|error| {
        Failure::failed(format!("the database {}: {}", Store::place(url.expose_secret()), plainly(&error)))
    })
}

/// Closes the database whatever came of what was done with it: the last to leave a SQLite file brings what stands beside
/// it in the `-wal` back into it, so that the file alone is whole.
///
/// # Errors
/// As what was done, and when it cannot be closed.
pub(crate) async fn closing<T>(store: Store, done: Result<T, Failure>) -> Result<T, Failure> {
    let closed = store.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// Makes a SQLite file that is missing, readable by its owner alone.
///
/// # Errors
/// When it cannot be made or opened.
pub(crate) fn own_file(file: &Path) -> Result<(), Failure> {
    in_a_folder(file)?;
    let opened = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    opened
        .map(drop)
        .map_err(|error| Failure::failed(format!("the database {}", unusable(file, "database_url", &error))))
}

/// Looks whether the folder of a SQLite file is there.
///
/// # Errors
/// When it is not.
pub(crate) fn in_a_folder(file: &Path) -> Result<(), Failure> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => Err(Failure::failed(format!(
            "the database {}: there is no folder {}; make it, or name another in database_url",
            file.display(),
            folder.display()
        ))),
    }
}

/// Looks whether the database is a copy, and says what that means.
///
/// # Errors
/// When the database cannot be asked.
pub(crate) async fn look(store: &Store) -> Result<(), Failure> {
    let seen = instance::look(store).await?;
    if !seen.told_apart {
        tracing::warn!("this database does not say which one it is: a copy of it will go unnoticed and send mail");
    }
    // Made before the first cursor is, so that every backup of a database whose phones have cursors has it.
    entities::sync::native::cursor::CursorKey::of(store).await?;
    if seen.moved {
        tracing::warn!(
            "this database was restored, copied or moved: phones are sent everything they may see once more"
        );
    }
    if !seen.sends {
        tracing::warn!(
            "no mail goes out of this database until you have made sure that its original sends none, \
             and run `fieldstone admin confirm-instance`"
        );
    }
    Ok(())
}

/// How often a change of the schema that somebody stands in the way of is tried again, and how long the others are let
/// pass in between.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_secs(2);

/// Brings the schema up to this program's, and waits some minutes for those who read for long, such as a backup.
///
/// # Errors
/// When it cannot be changed, or the database is a newer program's or somebody else's.
pub(crate) async fn bring_up(store: &Store) -> Result<(), Failure> {
    let failed = |error: DbErr| Failure::failed(format!("the schema: {}", plainly(&error.into())));
    if let Standing::Ahead(unknown) = migrations::standing(store.writer()).await.map_err(failed)? {
        return Err(Failure::failed(newer(&unknown)));
    }
    let strangers = migrations::strangers(store.writer()).await.map_err(failed)?;
    if let Some(first) = strangers.first() {
        return Err(Failure::failed(format!(
            "the database holds {} table(s) of somebody else, the first is {first}: name an empty one in database_url",
            strangers.len()
        )));
    }
    for _ in 0..TRIES {
        match migrations::up(store.writer()).await {
            Ok(()) => return Ok(()),
            Err(error) if migrations::is_held_up(&error) => {
                let why = "somebody reads a table that is to change, such as a backup: trying again";
                let _unheard = writeln!(std::io::stderr().lock(), "fieldstone: {why}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Failure::failed("the schema: somebody reads a table that is to change, such as a backup: try again after it"))
}

/// Opens a database whose schema must be this program's.
///
/// # Errors
/// When it cannot be reached or its schema is older or newer.
pub(crate) async fn open_current(config: &Config) -> Result<Store, Failure> {
    let store = open(config).await?;
    match of_another(&store).await {
        Ok(None) => Ok(store),
        Ok(Some(why)) => closing(store, Err(Failure::failed(why))).await,
        Err(failure) => closing(store, Err(failure)).await,
    }
}

/// Why the schema is not this program's, where it is not.
///
/// # Errors
/// When the database cannot be asked.
pub(crate) async fn of_another(store: &Store) -> Result<Option<String>, Failure> {
    let standing = migrations::standing(store.connection())
        .await
        .map_err(|error| Failure::failed(format!("the database: {}", plainly(&error.into()))))?;
    Ok(match standing {
        Standing::Current => None,
        Standing::Behind(missing) => Some(format!(
            "the database lacks {} migration(s), the first is {}; run `fieldstone migrate up`",
            missing.len(),
            missing.first().map_or("", String::as_str)
        )),
        Standing::Ahead(unknown) => Some(newer(&unknown)),
    })
}

fn newer(unknown: &[String]) -> String {
    format!(
        "the database belongs to a newer Fieldstone: it holds {}, which this one does not know; run that one",
        unknown.join(", ")
    )
}

/// Completes when the process is asked to stop: by SIGTERM, by Ctrl-C, or because its terminal is closed, which would end
/// it at once in the middle of what it does.
pub(crate) async fn asked_to_stop() {
    tokio::select! {
        () = hears(SignalKind::terminate()) => {}
        () = hears(SignalKind::hangup()), if !outlives_its_terminal() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Whether whoever started it wants it to go on without a terminal, as `nohup` does: SIGHUP came ignored.
fn outlives_its_terminal() -> bool {
    let about = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = about.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|signals| signals & 1 == 1)
}

async fn hears(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // Without this one the others stop it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_repeats_nothing_that_was_put_together_at_that_moment() {
        let name = String::from("Ana");
        let plain = std::panic::catch_unwind(|| panic!("a plain sentence")).expect_err("it broke");
        let worded = std::panic::catch_unwind(|| panic!("no such row: {name}")).expect_err("it broke");
        assert_eq!(in_the_program(plain.as_ref()), "a plain sentence");
        assert!(!in_the_program(worded.as_ref()).contains("Ana"));
    }
}
