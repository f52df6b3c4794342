//! Which database this is, and whether it was copied.
//!
//! A copied file, a clone and a database brought back to an earlier hour hold everything their original held, its
//! waiting mail and what its phones were told too. From inside they are the same; so each database remembers what it
//! looked like from outside when it was last used. One that looks otherwise sends no mail before a person has made
//! sure that the original sends none, and begins a new epoch, so that no phone takes its past for the original's.

use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::access::Actor;
use crate::backup::new_epoch;
use crate::clock::Instant;
use crate::error::Result;
use crate::people::agency;
use crate::sql;
use crate::store::Store;
use crate::write::{leaps, refuse_leap};

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
/// finds the difference. Fails with `Busy` where it would open an epoch at a present that has leapt.
pub async fn look(store: &Store) -> Result<Seen> {
    store.look(false).await
}

/// What [`look`] does, in a transaction of the caller's, who commits it. `believes` that the clock is right.
pub(crate) async fn look_in(conn: &impl ConnectionTrait, now: Instant, believes: bool) -> Result<Seen> {
    let Some(present) = fingerprint(conn).await? else {
        return Ok(Seen { told_apart: false, moved: false, sends: sends(conn).await? });
    };
    let first = "update wf_instance set fingerprint = $1 where fingerprint is null";
    sql::exec(conn, first, vec![present.as_str().into()]).await?;
    let other = "update wf_instance set fingerprint = $1 where fingerprint <> $1";
    let moved = sql::exec(conn, other, vec![present.as_str().into()]).await? > 0;
    if moved {
        if !believes {
            refuse_leap(conn, now).await?;
        }
        new_epoch(conn, now).await?;
    }
    Ok(Seen { told_apart: true, moved, sends: sends(conn).await? })
}

/// Whether a new connection leads to another database than the one that was looked at last; false where there is no
/// telling.
pub(crate) async fn is_another(line: &mut PgConnection) -> sqlx::Result<bool> {
    // While a migration has the table, everybody who asked would wait for its end.
    let taken = "exists (select 1 from pg_locks where relation = to_regclass('wf_instance') \
                 and mode = 'AccessExclusiveLock')";
    let may = format!(
        "select to_regclass('wf_instance') is not null and not pg_is_in_recovery() and {MAY_BE_ASKED} and not {taken}"
    );
    if !sqlx::query_scalar::<_, bool>(AssertSqlSafe(may)).fetch_one(&mut *line).await? {
        return Ok(false);
    }
    let other = format!("select exists (select 1 from wf_instance where fingerprint <> ({CLUSTER}))");
    Ok(sqlx::query_scalar(AssertSqlSafe(other)).fetch_one(line).await.unwrap_or(false))
}

/// What a confirmation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Mail was held, and goes out from now on.
    pub was_held: bool,
    /// The clock was not believed, and is from now on.
    pub had_leapt: bool,
}

/// Takes the present for right, and with `mail` lets mail go out of this database, as it looks now. The epoch of a copy
/// is opened first: it has to know where the copy stood. Every agency's trail says what changed, before any mail goes.
pub async fn confirm(store: &Store, mail: bool) -> Result<Confirmed> {
    let had_leapt = leaps(store.connection(), store.now().await?).await?;
    store.look(true).await?;
    store.confirm_clock().await?;
    let was_held = mail && !sends(store.connection()).await?;
    let said = [(was_held, "mail was held"), (had_leapt, "the clock had leapt")];
    let said: Vec<&str> = said.into_iter().filter_map(|(so, words)| so.then_some(words)).collect();
    if !said.is_empty() {
        for agency in agency::all(store.connection()).await? {
            let mut write = store.write(&Actor::system(&agency.id)).await?;
            write.note("instance_confirmed", said.join(", "));
            write.commit().await?;
        }
    }
    if mail {
        let side = store.side().await?;
        sql::exec(&*side, "update wf_instance set mail_enabled = true where not mail_enabled", vec![]).await?;
        side.commit().await?;
    }
    Ok(Confirmed { was_held, had_leapt })
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
pub(crate) async fn fingerprint(conn: &impl ConnectionTrait) -> Result<Option<String>> {
    match conn.get_database_backend() {
        DbBackend::Postgres => cluster(conn).await,
        _ => file(conn).await,
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
    let may = format!("select {MAY_BE_ASKED}");
    let may = sql::one(conn, &may, vec![]).await?.map(|row| row.try_get_by_index::<bool>(0)).transpose()?;
    if may != Some(true) {
        return Ok(None);
    }
    Ok(sql::one(conn, CLUSTER, vec![]).await?.map(|row| row.try_get_by_index(0)).transpose()?)
}

const MAY_BE_ASKED: &str = "has_function_privilege('pg_control_system()', 'execute') \
     and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')";

/// The timeline is the one that is written now: `pg_control_checkpoint()` tells of a new one only after its first
/// checkpoint, which may be minutes after the start that should have noticed.
const CLUSTER: &str = "select 'cluster ' || system_identifier || ' timeline ' || \
     left(pg_walfile_name(pg_current_wal_lsn()), 8) || ' database ' || \
     (select oid from pg_database where datname = current_database()) from pg_control_system()";
