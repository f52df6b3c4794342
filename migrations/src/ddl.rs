//! One dialect for both databases.
//!
//! Columns are TEXT, BIGINT, DOUBLE PRECISION or BOOLEAN and nothing else. TEXT compares by byte
//! on SQLite; on PostgreSQL it is given the collation that does the same, because paging by key
//! breaks where the two orders differ.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// Runs statements in order, adapted to the database.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let conn = manager.get_connection();
    let postgres = conn.get_database_backend() == DbBackend::Postgres;
    for text in statements {
        let text = if postgres { collate(text) } else { (*text).to_owned() };
        conn.execute_unprepared(&text).await?;
    }
    Ok(())
}

/// ` TEXT` as a column type becomes ` TEXT COLLATE "C"`.
fn collate(text: &str) -> String {
    text.replace(" TEXT", " TEXT COLLATE \"C\"")
}

/// Makes a synced table: the given columns, the stamps that every synced row carries, an index on
/// the case where there is one, and the guard that no row changes without a greater commit number.
pub(crate) async fn synced(manager: &SchemaManager<'_>, name: &str, columns: &str) -> Result<(), DbErr> {
    run(
        manager,
        &[&format!(
            "CREATE TABLE {name} (
                id TEXT NOT NULL PRIMARY KEY,
                agency_id TEXT NOT NULL,
                {columns},
                seq BIGINT NOT NULL,
                edit_seq BIGINT NOT NULL,
                created_at BIGINT NOT NULL,
                updated_at BIGINT NOT NULL,
                created_by TEXT,
                updated_by TEXT,
                deleted_at BIGINT
            )"
        )],
    )
    .await?;
    if columns.contains("case_id TEXT") {
        run(manager, &[&format!("CREATE INDEX {name}_case ON {name} (case_id, id)")]).await?;
    }
    guard(manager, name).await
}

/// Aborts an update that does not raise the row's commit number: a writer that went round the
/// write door, whose change no device would ever see.
async fn guard(manager: &SchemaManager<'_>, name: &str) -> Result<(), DbErr> {
    let says = format!("{name}: a synced row changed without a greater commit number");
    match manager.get_connection().get_database_backend() {
        DbBackend::Postgres => {
            run(
                manager,
                &[
                    &format!(
                        "CREATE FUNCTION {name}_guard() RETURNS trigger LANGUAGE plpgsql AS $$
                         BEGIN
                             IF NEW.seq <= OLD.seq THEN RAISE EXCEPTION '{says}'; END IF;
                             RETURN NEW;
                         END $$"
                    ),
                    &format!(
                        "CREATE TRIGGER {name}_guard BEFORE UPDATE ON {name}
                         FOR EACH ROW EXECUTE FUNCTION {name}_guard()"
                    ),
                ],
            )
            .await
        }
        _ => {
            run(
                manager,
                &[&format!(
                    "CREATE TRIGGER {name}_guard BEFORE UPDATE ON {name} WHEN NEW.seq <= OLD.seq
                     BEGIN SELECT RAISE(ABORT, '{says}'); END"
                )],
            )
            .await
        }
    }
}
