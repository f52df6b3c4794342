//! Backups of much, on slow disks.

use std::time::Duration;

use entities::{Clock, Pool, Store, backup, sql};
use sea_orm::sqlx::{self, Connection, PgConnection};

use crate::support::{Kind, TestDb, on_both};

on_both!(a_backup_reads_each_row_once_however_slow_its_disk_is);

const ROWS: u64 = 20_000;

/// A kilobyte in each row, so that what a disk does not take soon does not fit into the line's buffers.
async fn fill(store: &Store) {
    let text = format!(
        "insert into wf_ledger (key, agency_id, at, rule_version, outcome, reason) \
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {ROWS}) \
         select 'planted-' || i, 'nobody', i, 1, 'fired', '{}' from n",
        "x".repeat(1000)
    );
    sql::exec(store.writer(), &text, vec![]).await.expect("it is filled");
}

async fn a_backup_reads_each_row_once_however_slow_its_disk_is(db: TestDb) {
    let store =
        Store::open(&db.url, Pool { connections: 1, ..Pool::default() }, Clock::System).await.expect("it opens");
    fill(&store).await;
    if db.kind == Kind::Postgres {
        // Ten seconds in an installation. These two are all that read.
        let pool = store.connection().get_postgres_connection_pool();
        let mut lines = [pool.acquire().await.expect("a line"), pool.acquire().await.expect("another")];
        for line in &mut lines {
            sqlx::query("set statement_timeout = '1s'").execute(&mut **line).await.expect("it is set");
        }
    }
    let mut bytes = Vec::new();
    let mut planted = 0;
    let slow = |rows| {
        planted += u64::from(rows > 1000);
        if planted == 1 {
            std::thread::sleep(Duration::from_millis(1500));
        }
    };
    let summary = backup::write(&store, &mut bytes, slow).await.expect("a backup");
    assert_eq!(backup::check(bytes.as_slice()).expect("sound"), summary);
    let text = String::from_utf8(bytes).expect("text");
    let ids: std::collections::BTreeSet<&str> = text.lines().filter(|line| line.starts_with("[\"planted-")).collect();
    assert_eq!(ids.len() as u64, ROWS);
    store.close().await.expect("it closes");
    if db.kind == Kind::Postgres {
        assert_eq!(read_of("wf_ledger", &db.url).await, ROWS as i64);
    }
}

/// How many rows of a table were ever read by walking through it, by those who are gone.
async fn read_of(table: &str, url: &str) -> i64 {
    let mut line = PgConnection::connect(url).await.expect("the database answers");
    // A session tells what it has read when it ends.
    let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
                  and backend_type = 'client backend'";
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut line).await.expect("an answer") > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = "select seq_tup_read from pg_stat_user_tables where relname = $1";
    sqlx::query_scalar(text).bind(table).fetch_one(&mut line).await.expect("an answer")
}
