//! How often a mail server put a mail off, apart from how often none was reached: only the one makes a mail dead.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait is declared this way")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, &["ALTER TABLE outbound_message ADD COLUMN put_offs BIGINT NOT NULL DEFAULT 0"]).await
    }
}
