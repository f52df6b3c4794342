//! Which database this is, and whether it was copied.
//!
//! A copied file, a clone and a database brought back to an earlier hour hold everything their original held, its
//! waiting mail and what its phones were told too. From inside they are the same; so each database remembers what it
//! looked like from outside when it was last used. One that looks otherwise sends no mail before a person has made
//! sure that the original sends none, and begins a new epoch, so that no phone takes its past for the original's.

use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use sea_orm::{ConnectionTrait, DbBackend};

use crate::backup::new_epoch;
use crate::error::Result;
use crate::sql;
use crate::store::Store;

/// What a look at the database said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// False where the database does not say what it looks like from outside, so that a copy goes unnoticed.
    pub told_apart: bool,
    /// It is not the one it was when it was last used: a new epoch was opened by this very look.
    pub moved: bool,
    /// Whether mail goes out of it.
    pub sends: bool,
}

/// Looks which database this is. A new one is remembered; one that is not what it was opens a new epoch for every
/// agency and sends nothing until [`confirm`], all in one transaction: of several processes that look at once, one
/// finds the difference.
pub async fn look(store: &Store) -> Result<Seen> {
    let Some(present) = fingerprint(store).await? else {
        return Ok(Seen { told_apart: false, moved: false, sends: sends(store.connection()).await? });
    };
    let side = store.side().await?;
    let first = "update wf_instance set fingerprint = $1 where fingerprint is null";
    sql::exec(&*side, first, vec![present.as_str().into()]).await?;
    let other = "update wf_instance set fingerprint = $1 where fingerprint <> $1";
    let moved = sql::exec(&*side, other, vec![present.as_str().into()]).await? > 0;
    if moved {
        new_epoch(&*side, side.now()).await?;
    }
    let sends = sends(&*side).await?;
    side.commit().await?;
    Ok(Seen { told_apart: true, moved, sends })
}

/// Lets mail go out of this database, as it looks now. False when it was going out already.
pub async fn confirm(store: &Store) -> Result<bool> {
    look(store).await?;
    let side = store.side().await?;
    let held =
        sql::exec(&*side, "update wf_instance set mail_enabled = true where not mail_enabled", vec![]).await? > 0;
    side.commit().await?;
    Ok(held)
}

/// Whether mail goes out: not from a restored or copied database that nobody has confirmed.
pub async fn sends(conn: &impl ConnectionTrait) -> Result<bool> {
    match sql::one(conn, "select mail_enabled from wf_instance where id = 1", vec![]).await? {
        Some(row) => Ok(row.try_get_by_index(0)?),
        None => Ok(false),
    }
}

/// What the database looks like from outside: on SQLite the file's inode and when it was made (a device's number
/// changes from boot to boot), on PostgreSQL the cluster, its timeline and the database's number there. `None` where
/// that cannot be read.
pub(crate) async fn fingerprint(store: &Store) -> Result<Option<String>> {
    match store.backend() {
        DbBackend::Postgres => cluster(store.connection()).await,
        _ => file(store.connection()).await,
    }
}

async fn file(conn: &impl ConnectionTrait) -> Result<Option<String>> {
    let Some(row) = sql::one(conn, "select file from pragma_database_list where name = 'main'", vec![]).await? else {
        return Ok(None);
    };
    let Ok(about) = std::fs::metadata(row.try_get_by_index::<String>(0)?) else { return Ok(None) };
    let made = about.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Ok(Some(format!("file {} made {}", about.ino(), made.map_or(0, |since| since.as_millis()))))
}

async fn cluster(conn: &impl ConnectionTrait) -> Result<Option<String>> {
    let may = "select has_function_privilege('pg_control_system()', 'execute') \
               and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')";
    let may = sql::one(conn, may, vec![]).await?.map(|row| row.try_get_by_index::<bool>(0)).transpose()?;
    if may != Some(true) {
        return Ok(None);
    }
    // The timeline that is written now: pg_control_checkpoint() tells of a new one only after its first checkpoint,
    // which may be minutes after the start that should have noticed.
    let text = "select 'cluster ' || system_identifier || ' timeline ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) \
                || ' database ' || (select oid from pg_database where datname = current_database()) \
                from pg_control_system()";
    Ok(sql::one(conn, text, vec![]).await?.map(|row| row.try_get_by_index(0)).transpose()?)
}
