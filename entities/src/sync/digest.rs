//! "Is what I hold what you hold?", asked without sending rows.
//!
//! A row's fingerprint is the first 8 bytes of SHA-256 over `id:updated_at` (`updated_at` in
//! milliseconds, as the WatermelonDB face shows it), read as a big-endian number. A table's hash
//! is the sum of its rows' fingerprints modulo 2^64, in 16 hex digits: the order of rows does not
//! matter, and a device needs nothing that it does not hold.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::access::{Actor, visible_sql};
use crate::error::Result;
use crate::registry::{TABLES, Table, table};
use crate::sql;
use crate::store::Store;

use super::device;

/// The fingerprint of one row.
pub fn fingerprint(id: &str, updated_at: i64) -> u64 {
    let hash = digest(&SHA256, format!("{id}:{updated_at}").as_bytes());
    hash.as_ref()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[derive(Default)]
struct Sum {
    rows: u64,
    hash: u64,
}

impl Sum {
    fn add(&mut self, id: &str, updated_at: i64) {
        self.rows += 1;
        self.hash = self.hash.wrapping_add(fingerprint(id, updated_at));
    }

    fn json(&self) -> Value {
        json!({"rows": self.rows, "hash": format!("{:016x}", self.hash)})
    }
}

/// For each case the user has, and for what belongs to no case, each table's number of rows and
/// hash: `{cases: [{case_id, tables: {goals: {rows, hash}}}], other: {staff: {rows, hash}}}`.
pub async fn by_case(conn: &impl ConnectionTrait, actor: &Actor) -> Result<Value> {
    let mut cases: BTreeMap<String, BTreeMap<&'static str, Sum>> = BTreeMap::new();
    let mut other: BTreeMap<&'static str, Sum> = BTreeMap::new();
    for table in TABLES.iter() {
        let case = match (table.is_case(), table.has_case()) {
            (true, _) => "t.id",
            (_, true) => "t.case_id",
            _ => "''",
        };
        let text = format!(
            "select t.id, t.updated_at, {case} from {} t where t.deleted_at is null and {}",
            table.name,
            visible_sql(table.name, 1)
        );
        for row in sql::all(conn, &text, vec![actor.user().into()]).await? {
            let (id, updated_at): (String, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let sum = match row.try_get_by_index::<Option<String>>(2)?.filter(|case| !case.is_empty()) {
                Some(case) => cases.entry(case).or_default().entry(table.name).or_default(),
                None => other.entry(table.name).or_default(),
            };
            sum.add(&id, updated_at);
        }
    }
    let tables = |sums: &BTreeMap<&'static str, Sum>| -> Value {
        sums.iter().map(|(name, sum)| ((*name).to_owned(), sum.json())).collect::<serde_json::Map<_, _>>().into()
    };
    let cases: Vec<Value> = cases.iter().map(|(case, sums)| json!({"case_id": case, "tables": tables(sums)})).collect();
    Ok(json!({"cases": cases, "other": tables(&other)}))
}

/// The rows behind one case's hashes: `{goals: [[id, updated_at], …]}`.
pub async fn rows_of(conn: &impl ConnectionTrait, actor: &Actor, case_id: &str) -> Result<Value> {
    let mut tables = serde_json::Map::new();
    for table in TABLES.iter().filter(|table| table.has_case() || table.is_case()) {
        let column = if table.is_case() { "id" } else { "case_id" };
        let of_case = format!("t.{column} = $2");
        let rows = listed(conn, table, &of_case, vec![actor.user().into(), case_id.into()]).await?;
        if !rows.is_empty() {
            tables.insert(table.name.into(), rows.into());
        }
    }
    Ok(tables.into())
}

/// The rows behind the hash of one table in `other`, those of no case: `{persons: [[id, updated_at], …]}`.
pub async fn others_of(conn: &impl ConnectionTrait, actor: &Actor, table: &'static Table) -> Result<Value> {
    let of_no_case = match (table.is_case(), table.has_case()) {
        (true, _) => return Ok(json!({})),
        (_, true) => "coalesce(t.case_id, '') = ''",
        _ => "1 = 1",
    };
    let rows = listed(conn, table, of_no_case, vec![actor.user().into()]).await?;
    Ok(if rows.is_empty() { json!({}) } else { json!({table.name: rows}) })
}

/// Id and `updated_at` of the rows of a table that the user sees and that fit a condition; `$1` is the user.
async fn listed(
    conn: &impl ConnectionTrait,
    table: &Table,
    condition: &str,
    values: Vec<sea_orm::Value>,
) -> Result<Vec<Value>> {
    let text = format!(
        "select t.id, t.updated_at from {} t where t.deleted_at is null and {condition} and {} order by t.id",
        table.name,
        visible_sql(table.name, 1)
    );
    let rows = sql::all(conn, &text, values).await?;
    rows.iter().map(|row| Ok(json!([row.try_get_by_index::<String>(0)?, row.try_get_by_index::<i64>(1)?]))).collect()
}

/// Has rows sent to this device again: the ones it lacks or holds in another version, and, as
/// deletions, the ones it should not hold. Answers how many were taken in, each
/// once; unknown tables are not.
pub async fn repair(store: &Store, actor: &Actor, rows: &[(String, String)]) -> Result<usize> {
    let write = store.write(actor).await?;
    let mut count = 0;
    for (name, id) in rows.iter().collect::<BTreeSet<_>>() {
        if let Some(table) = table(name) {
            device::resend(&write, table.name, id).await?;
            count += 1;
        }
    }
    write.commit().await?;
    Ok(count)
}
