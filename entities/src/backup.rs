//! Backup and restore, while the server runs, from and to either database.
//!
//! A backup is lines of JSON: what it is, then for each table its columns and its rows, then the
//! number of rows and the SHA-256 of everything before. The four storage classes are the same on
//! both databases, so a backup of SQLite can be restored into PostgreSQL. Restoring opens a new
//! epoch, so that no phone takes the restored past for its own timeline, and switches mail off
//! until somebody confirms that this installation is the one to send it.

use std::io::{BufRead, Write};

use futures_util::TryStreamExt;
use ring::digest::{Context, SHA256};
use sea_orm::{ConnectionTrait, DbBackend, Statement, StreamTrait, Value};
use serde_json::{Value as Json, json};

use crate::audit::hex;
use crate::bulk::{Class, Insert};
use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::instance;
use crate::sql;
use crate::store::Store;
use crate::write::{leaps, leapt};

/// Tables that a backup leaves out: counters start afresh, and the newest number of each scope follows from the feed.
const LEFT_OUT: &[&str] =
    &["seaql_migrations", "throttle", "address_rates", "one_time_links", "wf_heartbeat", "sync_scope"];
/// Tables that others refer to, in the order in which they must be there.
const FIRST: &[&str] = &["agencies", "teams", "users"];
/// Rows stored by one statement.
const BATCH: usize = 1000;
/// How many commits a lost timeline may have had beyond its backup where the clock does not tell.
const UNKNOWN_COMMITS: i64 = 1_000_000;

/// What was written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Tables.
    pub tables: usize,
    /// Rows.
    pub rows: u64,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: Class,
}

/// The cell for a value as a backup writes it.
fn cell(class: Class, json: &Json) -> Option<Value> {
    Some(match class {
        Class::Text if json.is_null() => Value::String(None),
        Class::Bigint if json.is_null() => Value::BigInt(None),
        Class::Double if json.is_null() => Value::Double(None),
        Class::Boolean if json.is_null() => Value::Bool(None),
        Class::Text => json.as_str()?.into(),
        Class::Bigint => json.as_i64()?.into(),
        Class::Double => json.as_f64()?.into(),
        Class::Boolean => json.as_bool()?.into(),
    })
}

/// Writes a backup of one consistent view. `progress` hears the rows written so far.
pub async fn write(store: &Store, out: &mut (impl Write + Send), mut progress: impl FnMut(u64)) -> Result<Summary> {
    let snapshot = store.read_at_length().await?;
    let mut sealed = Sealed { out, context: Context::new(&SHA256) };
    let migrations = sql::all(&*snapshot, "select version from seaql_migrations order by version", vec![]).await?;
    let migrations: Vec<String> =
        migrations.iter().map(|row| row.try_get_by_index(0)).collect::<std::result::Result<_, _>>()?;
    sealed
        .line(&json!({"fieldstone_backup": 1, "at": snapshot.now().rfc3339(), "version": env!("CARGO_PKG_VERSION"),
        "migrations": migrations}))?;
    let (mut summary, backend) = (Summary { tables: 0, rows: 0 }, store.backend());
    for table in tables(&*snapshot, backend).await? {
        let columns = columns(&*snapshot, backend, &table).await?;
        let described: Vec<Json> =
            columns.iter().map(|column| json!({"name": column.name, "class": column.kind.word()})).collect();
        sealed.line(&json!({"table": table, "columns": described}))?;
        summary.tables += 1;
        let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        // One statement, whose rows are written as they come: pages of a table would be found by reading it anew.
        let text = format!("select {} from {table}", names.join(", "));
        let mut rows = snapshot.stream_raw(Statement::from_string(backend, text)).await?;
        while let Some(row) = rows.try_next().await? {
            let mut cells = Vec::with_capacity(columns.len());
            for (at, column) in columns.iter().enumerate() {
                cells.push(match column.kind {
                    Class::Text => json!(row.try_get_by_index::<Option<String>>(at)?),
                    Class::Bigint => json!(row.try_get_by_index::<Option<i64>>(at)?),
                    Class::Double => json!(row.try_get_by_index::<Option<f64>>(at)?),
                    Class::Boolean => json!(row.try_get_by_index::<Option<bool>>(at)?),
                });
            }
            sealed.line(&Json::Array(cells))?;
            summary.rows += 1;
            progress(summary.rows);
        }
    }
    let sum = hex(sealed.context.finish().as_ref());
    let last = json!({"rows": summary.rows, "sha256": sum});
    writeln!(sealed.out, "{last}").map_err(broken)?;
    sealed.out.flush().map_err(broken)?;
    Ok(summary)
}

/// Reads a backup to its end and compares its checksum, changing nothing.
///
/// Fails with `Conflict` for a file that is cut off, damaged or not a backup.
pub fn check(input: impl BufRead) -> Result<Summary> {
    let mut context = Context::new(&SHA256);
    let (mut tables, mut rows, mut last) = (0, 0_u64, None);
    for line in input.lines() {
        let line = line.map_err(broken)?;
        if let Some(before) = last.replace(line) {
            context.update(before.as_bytes());
            context.update(b"\n");
            match before.as_bytes().first() {
                Some(b'[') => rows += 1,
                _ if before.starts_with("{\"table\"") => tables += 1,
                _ => (),
            }
        }
    }
    let seal: Json = last.and_then(|line| serde_json::from_str(&line).ok()).unwrap_or_default();
    let sum = hex(context.finish().as_ref());
    if seal["sha256"] != json!(sum) || seal["rows"] != json!(rows) {
        return Err(damaged("the file is cut off, damaged or not a backup of Fieldstone"));
    }
    Ok(Summary { tables, rows })
}

/// Fills an empty, migrated database from a backup that `check` found sound, in one transaction. `believes` that the
/// clock is right although the backup is years old.
///
/// Fails with `Conflict` when the database holds agencies already, or when the backup belongs to
/// another schema, and with `Busy` when the present has leapt beyond all that the backup holds.
pub async fn restore(
    store: &Store,
    input: impl BufRead,
    believes: bool,
    mut progress: impl FnMut(u64),
) -> Result<Summary> {
    let here = instance::fingerprint(store.connection()).await?;
    let side = store.side().await?;
    if sql::one(&*side, "select 1 from agencies limit 1", vec![]).await?.is_some() {
        return Err(damaged("this database is not empty: restore into a new one"));
    }
    let known = sql::all(&*side, "select version from seaql_migrations order by version", vec![]).await?;
    let known: Vec<String> = known.iter().map(|row| row.try_get_by_index(0)).collect::<std::result::Result<_, _>>()?;
    let mut summary = Summary { tables: 0, rows: 0 };
    let mut open: Option<(String, Vec<Column>)> = None;
    let mut batch: Vec<Vec<Value>> = Vec::new();
    for line in input.lines() {
        let line: Json = serde_json::from_str(&line.map_err(broken)?).map_err(|_| damaged("a line is not JSON"))?;
        if let Some(row) = line.as_array() {
            let Some((table, columns)) = &open else { return Err(damaged("a row stands before its table")) };
            if row.len() != columns.len() {
                return Err(damaged("a row does not fit its table"));
            }
            let cells = columns.iter().zip(row).map(|(column, json)| cell(column.kind, json));
            batch.push(cells.collect::<Option<_>>().ok_or_else(|| damaged("a value does not fit its column"))?);
            summary.rows += 1;
            if batch.len() >= BATCH {
                insert(&*side, table, columns, &mut batch).await?;
                progress(summary.rows);
            }
            continue;
        }
        if let Some((table, columns)) = open.take() {
            insert(&*side, &table, &columns, &mut batch).await?;
        }
        if let Some(name) = line["table"].as_str() {
            open = Some(begin(&*side, store.backend(), name, &line["columns"]).await?);
            summary.tables += 1;
        } else if line["fieldstone_backup"].is_number() && line["migrations"] != json!(known) {
            let version =
                line["version"].as_str().map_or_else(|| "another version".to_owned(), |told| format!("version {told}"));
            let last = |names: &Json| names.as_array()?.last()?.as_str().map(str::to_owned);
            let theirs = last(&line["migrations"]).unwrap_or_else(|| "none".into());
            return Err(damaged(&format!(
                "the backup was written by {version} of Fieldstone, whose schema is another (its last migration is \
                 {theirs}, this program's is {}): restore it into an empty database with that program, and bring the \
                 database up to this one's with `fieldstone migrate up`",
                known.last().map_or("none", String::as_str)
            )));
        }
    }
    if !believes && leaps(&*side, side.now()).await? {
        return Err(leapt("restore with --clock-is-right"));
    }
    new_epoch(&*side, side.now()).await?;
    // Sign-ins end with a restore. That there were any stays known, because a lost device is told to erase itself
    // however late it calls, and hands over what it had not sent.
    let ended = "update sessions set ended_at = $1, end_reason = 'restored' where ended_at is null";
    sql::exec(&*side, ended, vec![side.now().0.into()]).await?;
    // The backup brought its original's: the next start would open an epoch once more.
    sql::exec(&*side, "update wf_instance set fingerprint = $1", vec![here.into()]).await?;
    side.commit().await?;
    Ok(summary)
}

/// Opens the next epoch of every agency's timeline and switches mail off. A cursor from before
/// belongs to a past that this database does not have. The epoch is called after the number it begins
/// at: counted on from the backup's, a backup restored twice would open the same epoch twice, and a
/// phone that had met the first would take the second for its own. Where the clock stands behind the
/// backup, it does not tell how far the lost timeline went on, and `UNKNOWN_COMMITS` are left out: a number
/// given twice would pass what was lost for what is here.
pub(crate) async fn new_epoch(conn: &impl ConnectionTrait, now: Instant) -> Result<()> {
    // Nobody may commit between the two statements that count on from where the clocks stand.
    sql::exec(conn, "update sync_clock set epoch = epoch", vec![]).await?;
    let started = format!("case when seq >= $1 then seq + {UNKNOWN_COMMITS} else $1 end");
    let text = format!(
        "insert into sync_epoch (agency_id, epoch, restored_to_seq, started_seq, started_at) \
         select agency_id, {started}, seq, {started}, $1 from sync_clock"
    );
    sql::exec(conn, &text, vec![now.0.into()]).await?;
    let text = format!("update sync_clock set epoch = {started}, seq = {started}");
    sql::exec(conn, &text, vec![now.0.into()]).await?;
    sql::exec(conn, "update wf_instance set mail_enabled = false", vec![]).await?;
    Ok(())
}

async fn begin(
    conn: &impl ConnectionTrait,
    backend: DbBackend,
    name: &str,
    described: &Json,
) -> Result<(String, Vec<Column>)> {
    let here = tables(conn, backend).await?;
    let table =
        here.into_iter().find(|table| table == name).ok_or_else(|| damaged("it names a table we do not have"))?;
    let known = columns(conn, backend, &table).await?;
    let mut chosen = Vec::new();
    for column in described.as_array().into_iter().flatten() {
        let found = known.iter().find(|known| json!(known.name) == column["name"]);
        chosen.push(found.cloned().ok_or_else(|| damaged("it names a column we do not have"))?);
    }
    // What a migration puts there by itself comes with the backup.
    sql::exec(conn, &format!("delete from {table}"), vec![]).await?;
    Ok((table, chosen))
}

/// Stores the rows read so far.
async fn insert(
    conn: &impl ConnectionTrait,
    table: &str,
    columns: &[Column],
    batch: &mut Vec<Vec<Value>>,
) -> Result<()> {
    let named: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    let rows = std::mem::take(batch);
    Insert::new(table, &named, &[]).rows(conn, &[], &rows, |row, at| &row[at]).await
}

async fn tables(conn: &impl ConnectionTrait, backend: DbBackend) -> Result<Vec<String>> {
    let text = match backend {
        DbBackend::Postgres => {
            "select table_name::text from information_schema.tables \
             where table_schema = current_schema() and table_type = 'BASE TABLE'"
        }
        _ => "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'",
    };
    let mut names = Vec::new();
    for row in sql::all(conn, text, vec![]).await? {
        let name: String = row.try_get_by_index(0)?;
        if !LEFT_OUT.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), name.clone()));
    Ok(names)
}

async fn columns(conn: &impl ConnectionTrait, backend: DbBackend, table: &str) -> Result<Vec<Column>> {
    let text = match backend {
        DbBackend::Postgres => {
            "select column_name::text, data_type::text from information_schema.columns \
             where table_schema = current_schema() and table_name = $1 order by ordinal_position"
        }
        _ => "select name, type from pragma_table_info($1) order by cid",
    };
    let rows = sql::all(conn, text, vec![table.into()]).await?;
    rows.iter()
        .map(|row| {
            let declared: String = row.try_get_by_index(1)?;
            Ok(Column { name: row.try_get_by_index(0)?, kind: Class::of(&declared) })
        })
        .collect()
}

/// Writes lines and keeps their sum.
struct Sealed<'a, W> {
    out: &'a mut W,
    context: Context,
}

impl<W: Write> Sealed<'_, W> {
    fn line(&mut self, json: &Json) -> Result<()> {
        let line = format!("{json}\n");
        self.context.update(line.as_bytes());
        self.out.write_all(line.as_bytes()).map_err(broken)
    }
}

fn damaged(why: &str) -> Error {
    Error::Conflict { code: "backup", detail: why.into() }
}

fn broken(err: std::io::Error) -> Error {
    if err.kind() == std::io::ErrorKind::StorageFull { Error::StorageFull } else { Error::Internal(err.to_string()) }
}
