//! The schema, one frozen file for each change. Knows no entity: a migration says what the
//! database looked like on the day it was written, whatever the code has become since.
//!
//! Every statement is one text for both databases (see `ddl`). Expand first, contract a release
//! later. A file that has landed is never edited.

#![expect(clippy::disallowed_methods, reason = "a migration is SQL of its own, in a transaction of its own")]

mod ddl;
mod m0001_foundation;
mod m0002_people;
mod m0003_casework;
mod m0004_workflow;
mod m0005_address_rates;
mod m0006_refused_addresses;
mod m0007_time;
mod m0008_housekeeping;
mod m0009_instance;
mod m0010_stays;
mod m0011_scopes;
mod m0012_waiting;
mod m0013_widely;
mod m0014_turns;
mod m0015_cursor_key;
mod m0016_filling;
mod m0017_kept_turns;
mod m0018_pushed_since;
mod m0019_put_offs;
mod m0020_planned_by;
mod m0021_snoozed_times;
mod m0022_wiped_for_all;
mod m0023_issues_of_kept;
#[cfg(feature = "wide")]
mod wide;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_foundation::Migration),
            Box::new(m0002_people::Migration),
            Box::new(m0003_casework::Migration),
            Box::new(m0004_workflow::Migration),
            Box::new(m0005_address_rates::Migration),
            Box::new(m0006_refused_addresses::Migration),
            Box::new(m0007_time::Migration),
            Box::new(m0008_housekeeping::Migration),
            Box::new(m0009_instance::Migration),
            Box::new(m0010_stays::Migration),
            Box::new(m0011_scopes::Migration),
            Box::new(m0012_waiting::Migration),
            Box::new(m0013_widely::Migration),
            Box::new(m0014_turns::Migration),
            Box::new(m0015_cursor_key::Migration),
            Box::new(m0016_filling::Migration),
            Box::new(m0017_kept_turns::Migration),
            Box::new(m0018_pushed_since::Migration),
            Box::new(m0019_put_offs::Migration),
            Box::new(m0020_planned_by::Migration),
            Box::new(m0021_snoozed_times::Migration),
            Box::new(m0022_wiped_for_all::Migration),
            Box::new(m0023_issues_of_kept::Migration),
            #[cfg(feature = "wide")]
            Box::new(wide::Migration),
        ]
    }
}

/// The key of the advisory lock that lets one process migrate at a time on PostgreSQL.
const LOCK: i64 = 0x6669_656c_6473_746f;

/// Brings the schema up to this program's. Repeatable, and safe when several processes start at
/// once: on PostgreSQL under an advisory lock, on SQLite under the write lock of one transaction.
///
/// On PostgreSQL a change waits for whoever reads the table, such as a backup, and everybody else waits behind the
/// change. So it waits for a second only and then fails, as [`is_held_up`] tells; who asked lets the others pass and
/// tries again.
pub async fn up(db: &DatabaseConnection) -> Result<(), DbErr> {
    let tx = match db.get_database_backend() {
        DbBackend::Postgres => {
            let tx = db.begin().await?;
            for text in [
                "set local statement_timeout = 0".to_owned(),
                "set local lock_timeout = 0".to_owned(),
                format!("select pg_advisory_xact_lock({LOCK})"),
                "set local lock_timeout = '1s'".to_owned(),
            ] {
                tx.execute_raw(Statement::from_string(DbBackend::Postgres, text)).await?;
            }
            tx
        }
        _ => {
            db.begin_with_options(sea_orm_migration::sea_orm::TransactionOptions {
                sqlite_transaction_mode: Some(sea_orm_migration::sea_orm::SqliteTransactionMode::Immediate),
                ..Default::default()
            })
            .await?
        }
    };
    Migrator::up(&tx, None).await?;
    tx.commit().await
}

/// Whether somebody who reads a table for long stood in the way.
pub fn is_held_up(error: &DbErr) -> bool {
    error.to_string().contains("lock timeout")
}

/// Tables of somebody else, in a database that no Fieldstone has been in.
pub async fn strangers(db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let backend = db.get_database_backend();
    let text = match backend {
        DbBackend::Postgres => {
            "select table_name::text from information_schema.tables \
             where table_schema = current_schema() and table_type = 'BASE TABLE' \
             and not exists (select 1 from pg_depend d where d.deptype = 'e' and d.classid = 'pg_class'::regclass \
             and d.objid = to_regclass(quote_ident(table_schema) || '.' || quote_ident(table_name))) order by 1"
        }
        _ => "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1",
    };
    // One look: another process may bring the schema up meanwhile.
    let mut names = Vec::new();
    for row in db.query_all_raw(Statement::from_string(backend, text)).await? {
        names.push(row.try_get_by_index::<String>(0)?);
    }
    Ok(if names.iter().any(|name| name == "seaql_migrations") { Vec::new() } else { names })
}

/// How the database's schema stands to this program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are the same.
    Current,
    /// These migrations have not been applied yet.
    Behind(Vec<String>),
    /// The database holds migrations that this program does not know: it belongs to a newer one.
    Ahead(Vec<String>),
}

/// Compares the database's schema with this program's, changing nothing.
pub async fn standing(db: &DatabaseConnection) -> Result<Standing, DbErr> {
    let backend = db.get_database_backend();
    let known: Vec<String> = Migrator::migrations().iter().map(|file| file.name().to_owned()).collect();
    let table = match backend {
        DbBackend::Postgres => {
            "select 1 from information_schema.tables where table_name = 'seaql_migrations' and table_schema = current_schema()"
        }
        _ => "select 1 from sqlite_master where type = 'table' and name = 'seaql_migrations'",
    };
    let mut applied = Vec::new();
    if db.query_one_raw(Statement::from_string(backend, table)).await?.is_some() {
        let text = "select version from seaql_migrations order by version";
        for row in db.query_all_raw(Statement::from_string(backend, text)).await? {
            applied.push(row.try_get_by_index::<String>(0)?);
        }
    }
    let ahead: Vec<String> = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    if !ahead.is_empty() {
        return Ok(Standing::Ahead(ahead));
    }
    let behind: Vec<String> = known.into_iter().filter(|name| !applied.contains(name)).collect();
    Ok(if behind.is_empty() { Standing::Current } else { Standing::Behind(behind) })
}
