//! Writing a page of the WatermelonDB face.
//!
//! The database writes the rows as JSON itself, some hundreds to a text, and the page is those
//! texts in a row: taking two dozen cells of each row out of the driver, only to write them down
//! again, was four fifths of what a page cost. They are read from the pull's snapshot in batches
//! and passed on at once, so that a first sync never stands in memory whole.

use std::io::Write;
use std::sync::LazyLock;

use sea_orm::{ConnectionTrait, DbBackend};

use crate::error::{Error, Result};
use crate::registry::{Column, Kind, SCHEMA_VERSION, TABLES, Table};
use crate::sql;

use super::pull::Pull;

const BATCH: usize = 500;

/// Writes the reply's body: `{changes, timestamp, has_more, complete, epoch}`, and a strategy where
/// the app has to replace what it holds. Every table of the app's schema is there with its three
/// arrays; live rows stand in `updated`, `created` is empty (M7).
pub async fn watermelon<W: Write>(pull: &Pull, mut out: W) -> Result<W> {
    out.write_all(b"{\"changes\":{")?;
    let mut comma: &[u8] = b"";
    for table in TABLES.iter().filter(|table| table.since <= pull.schema_version) {
        out.write_all(comma)?;
        comma = b",";
        write!(out, "\"{}\":{{\"created\":[],\"updated\":[", table.name)?;
        if let Some((_, ids)) = pull.live.iter().find(|(named, _)| named.name == table.name) {
            rows(pull, table, ids, &mut out).await?;
        }
        out.write_all(b"],\"deleted\":[")?;
        if let Some((_, ids)) = pull.gone.iter().find(|(named, _)| named.name == table.name) {
            // The letters of an id need no escape.
            write!(out, "\"{}\"", ids.join("\",\""))?;
        }
        out.write_all(b"]}")?;
    }
    let strategy = if pull.replaces { ",\"experimentalStrategy\":\"replacement\"" } else { "" };
    tail(&mut out, pull.timestamp, pull.has_more, pull.epoch, strategy)?;
    Ok(out)
}

/// The rows with these ids, separated by commas.
async fn rows(pull: &Pull, table: &Table, ids: &[String], out: &mut impl Write) -> Result<()> {
    let conn = &*pull.snapshot;
    let backend = conn.get_database_backend();
    let row = row(table, pull.schema_version, backend);
    let mut comma: &[u8] = b"";
    for batch in ids.chunks(BATCH) {
        let joined = if backend == DbBackend::Postgres { "string_agg" } else { "group_concat" };
        let among = sql::among(backend, "id", 1);
        let text = format!("select {joined}({row}, ',') from {} where {among}", table.name);
        let found = sql::one(conn, &text, vec![sql::list(backend, batch)]).await?;
        if let Some(rows) = found.map(|found| found.try_get_by_index::<Option<String>>(0)).transpose()?.flatten() {
            out.write_all(comma)?;
            out.write_all(rows.as_bytes())?;
            comma = b",";
        }
    }
    Ok(())
}

/// An expression for a row as JSON in the WatermelonDB dialect: strings, numbers, booleans and
/// null only.
fn row(table: &Table, version: u32, backend: DbBackend) -> String {
    let columns = table.wire_columns().map(|(_, column)| column).filter(|column| column.field.since <= version);
    if backend == DbBackend::Sqlite {
        let cell = |column: &Column| match column.field.kind {
            Kind::Bool => format!("'{0}', iif(\"{0}\", json('true'), json('false'))", column.name),
            _ => format!("'{0}', \"{0}\"", column.name),
        };
        return format!("json_object({})", columns.map(cell).collect::<Vec<_>>().join(", "));
    }
    let (mut form, mut cells) = (String::from("{"), String::new());
    for column in columns {
        if form.len() > 1 {
            form.push(',');
        }
        form.push_str(&format!("\"{}\":%s", column.name));
        let name = format!("\"{}\"", column.name);
        cells.push_str(&match column.field.kind {
            Kind::Bool => format!(", case when {name} then 'true' else 'false' end"),
            // What holds nothing that JSON would escape is not searched for it.
            Kind::Id | Kind::Code(_) | Kind::Date => format!(", coalesce('\"' || {name} || '\"', 'null')"),
            // A whole number as everywhere else, in SQLite and in the other faces: with its nought.
            Kind::Real(..) => format!(
                ", coalesce(case when {name} = trunc({name}) then {name}::bigint || '.0' else to_json({name})::text end, \
                 'null')"
            ),
            Kind::Int(..) | Kind::Instant => format!(", coalesce({name}::text, 'null')"),
            _ => format!(", coalesce(to_json({name})::text, 'null')"),
        });
    }
    form.push('}');
    format!("format('{form}'{cells})")
}

/// How a body begins that says that nothing is new, for each schema version: by far the most of all.
static EMPTY: LazyLock<Vec<String>> = LazyLock::new(|| {
    let empty = |version| {
        let tables = TABLES.iter().filter(|table| table.since <= version);
        let tables = tables.map(|table| format!("\"{}\":{{\"created\":[],\"updated\":[],\"deleted\":[]}}", table.name));
        format!("{{\"changes\":{{{}", tables.collect::<Vec<_>>().join(","))
    };
    (0..=*SCHEMA_VERSION).map(empty).collect()
});

/// The body that says that nothing is new.
pub fn nothing(schema_version: u32, timestamp: i64, epoch: i64) -> Result<Vec<u8>> {
    let begins = usize::try_from(schema_version.min(*SCHEMA_VERSION)).ok().and_then(|version| EMPTY.get(version));
    let begins = begins.ok_or_else(|| Error::Internal("no such schema version".into()))?;
    let mut out = Vec::with_capacity(begins.len() + 128);
    out.extend_from_slice(begins.as_bytes());
    tail(&mut out, timestamp, false, epoch, "")?;
    Ok(out)
}

fn tail(out: &mut impl Write, timestamp: i64, has_more: bool, epoch: i64, strategy: &str) -> std::io::Result<()> {
    let complete = !has_more;
    write!(
        out,
        "}},\"timestamp\":{timestamp},\"has_more\":{has_more},\"complete\":{complete},\"epoch\":{epoch}{strategy}}}"
    )
}
