//! Where a first sync in pages has come to, so that no cursor from before it passes for one of its own.

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
                "ALTER TABLE sync_device ADD COLUMN filling_at BIGINT",
                "ALTER TABLE sync_device ADD COLUMN filling_was BIGINT",
            ],
        )
        .await
    }
}
