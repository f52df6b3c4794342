//! Pushes of 100 new rows beside a plain program that inserts as many rows of the same text in one statement.

use std::time::Instant;

use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, SqlitePool};
use serde_json::{Value, json};

use crate::QUIET;
use crate::support::database::uuid;
use crate::support::{Kind, Person, Phone, Town};
use crate::table::{Floor, Table, median};
use crate::usage::cpu_micros;
use crate::wire::{Wire, post};

pub const ROWS: usize = 100;
const PUSHES: usize = 40;
const ROUNDS: usize = 5;

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let server = town.server_with(QUIET).await;
    let ana = server.person("ana@demo.example").await;
    let (case, cursor) = case_of(&ana).await;
    let mut wire = Wire::open(&server.url).await;
    let raw = Raw::open(&town).await;
    let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let path = format!("/api/v1/sync?last_pulled_at={cursor}");
        let push = || post(&server.url, &path, &ana.token(), &json!({"notes": changes(&case, ROWS)}).to_string());
        let pushes: Vec<Vec<u8>> = (0..PUSHES).map(|_| push()).collect();
        let batches: Vec<Vec<Value>> = (0..PUSHES).map(|_| notes(&case, ROWS)).collect();
        let began = Instant::now();
        for batch in &batches {
            raw.insert(batch).await;
        }
        theirs.push(rows_a_second(began));
        let used = cpu_micros(server.pid());
        let began = Instant::now();
        for push in &pushes {
            let (status, body) = wire.ask(push).await;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        }
        ours.push(rows_a_second(began));
        cpu.push((cpu_micros(server.pid()) - used) / (PUSHES * ROWS) as f64);
    }
    let (ours, theirs, cpu) = (median(&mut ours), median(&mut theirs), median(&mut cpu));
    let share = ours / theirs;
    let what = format!("push of {ROWS} new rows, 1 connection, {kind:?}");
    let rates = format!("{ours:.0} rows/s beside {theirs:.0} rows/s raw: {:.1} %", share * 100.0);
    table.add(&what, rates, share, (kind == Kind::Postgres).then_some(Floor::AtLeast(0.35)));
    let most = (kind == Kind::Sqlite).then_some(Floor::AtMost(20.0));
    table.add(&format!("{what}, own CPU"), format!("{cpu:.1} µs a row"), cpu, most);
}

/// A case of this person's and the cursor after it.
pub async fn case_of(person: &Person) -> (String, i64) {
    let mut phone = Phone::of(person);
    phone.pulls().await;
    let case = phone.creates("cases", json!({"unit": "individual", "summary": "A case to push to"}));
    phone.syncs().await;
    phone.pulls().await;
    (case, phone.cursor.expect("a cursor"))
}

/// What a push of so many new notes carries for their table.
pub fn changes(case: &str, rows: usize) -> Value {
    json!({"created": notes(case, rows), "updated": [], "deleted": []})
}

/// New notes of about 500 bytes of JSON each.
fn notes(case: &str, rows: usize) -> Vec<Value> {
    let text = "Talked about the week, the school run and the letter from the landlord. ".repeat(4);
    let note = |_| json!({"id": uuid(), "case_id": case, "kind": "progress", "body": text, "client_words": "Better than last week", "_status": "created", "_changed": ""});
    (0..rows).map(note).collect()
}

fn rows_a_second(began: Instant) -> f64 {
    (PUSHES * ROWS) as f64 / began.elapsed().as_secs_f64()
}

/// The plain program: one table, one statement for each hundred rows, in the same database.
enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Raw {
    async fn open(town: &Town) -> Raw {
        let writer = town.store.writer();
        let raw = match town.db.kind {
            Kind::Sqlite => Raw::Sqlite(writer.get_sqlite_connection_pool().clone()),
            Kind::Postgres => Raw::Postgres(writer.get_postgres_connection_pool().clone()),
        };
        let table =
            "create table raw (id text primary key, case_id text, kind text, body text, words text, seq bigint)";
        raw.execute(table, &[]).await;
        raw
    }

    async fn insert(&self, rows: &[Value]) {
        let values: Vec<String> = (0..rows.len())
            .map(|row| {
                let at = row * 5;
                format!("(${}, ${}, ${}, ${}, ${}, 1)", at + 1, at + 2, at + 3, at + 4, at + 5)
            })
            .collect();
        let sql = format!("insert into raw values {}", values.join(","));
        self.execute(&sql, rows).await;
    }

    async fn execute(&self, sql: &str, rows: &[Value]) {
        let columns = ["id", "case_id", "kind", "body", "client_words"];
        let values = rows.iter().flat_map(|row| columns.map(|name| row[name].as_str().unwrap_or_default()));
        match self {
            Raw::Sqlite(pool) => {
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for value in values {
                    query = query.bind(value);
                }
                query.execute(pool).await.expect("the plain insert");
            }
            Raw::Postgres(pool) => {
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for value in values {
                    query = query.bind(value);
                }
                query.execute(pool).await.expect("the plain insert");
            }
        }
    }
}
