//! The newest number of each scope, so that a pull looks only into scopes in which something happened. For SQLite, where each
//! look is a page of the file read anew after every commit of another connection; PostgreSQL finds as fast without.
//!
//! The database keeps it by itself, whoever enters a row into the feed or stamps one there: a scope whose number stood
//! too low would hide its rows from every device.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait is declared this way")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_connection().get_database_backend() == DbBackend::Postgres {
            return Ok(());
        }
        let raise = "ON CONFLICT (scope) DO UPDATE SET seq = excluded.seq WHERE sync_scope.seq < excluded.seq";
        let table = "CREATE TABLE sync_scope (scope TEXT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL)";
        let known = "INSERT INTO sync_scope (scope, seq) SELECT scope, max(seq) FROM sync_feed GROUP BY scope";
        let after = |name: &str, event: &str| {
            format!(
                "CREATE TRIGGER sync_feed_{name} AFTER {event} ON sync_feed
                 WHEN NOT EXISTS (SELECT 1 FROM sync_scope WHERE scope = NEW.scope AND seq >= NEW.seq)
                 BEGIN INSERT INTO sync_scope (scope, seq) VALUES (NEW.scope, NEW.seq) {raise}; END"
            )
        };
        let (entered, stamped) = (after("entered", "INSERT"), after("stamped", "UPDATE OF seq"));
        // Looked up by the dozen in every pull: the table is its own index.
        ddl::run(manager, &[&format!("{table} WITHOUT ROWID"), known, &entered, &stamped]).await
    }
}
