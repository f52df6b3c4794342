//! What sync needs in the long run: indexes by which old deletions are found and forgotten, first syncs that go on for
//! pages, numbered pushes, what devices tell of themselves, and what was salvaged after a restore.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait is declared this way")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "CREATE INDEX sync_feed_ended ON sync_feed (agency_id, seq) WHERE NOT live",
                "CREATE INDEX sync_access_ended ON sync_access (agency_id, seq) WHERE NOT visible",
                "CREATE INDEX sync_mutation_seq ON sync_mutation (agency_id, seq)",
                "ALTER TABLE sync_device ADD COLUMN filling_from BIGINT",
                "ALTER TABLE sync_device ADD COLUMN clock_skew BIGINT",
                "CREATE TABLE sync_push (
                    device_id TEXT NOT NULL,
                    user_id TEXT NOT NULL,
                    number BIGINT NOT NULL,
                    agency_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    hash TEXT NOT NULL,
                    sent TEXT NOT NULL,
                    PRIMARY KEY (device_id, user_id, number)
                )",
                "CREATE TABLE sync_salvaged (
                    tbl TEXT NOT NULL,
                    row_id TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    epoch BIGINT NOT NULL,
                    updated_at BIGINT NOT NULL,
                    PRIMARY KEY (tbl, row_id)
                )",
            ],
        )
        .await
    }
}
