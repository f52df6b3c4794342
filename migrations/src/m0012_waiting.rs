//! Finding out at each write whether anybody's work waits for a row that has not arrived.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait is declared this way")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "CREATE INDEX sync_quarantine_open ON sync_quarantine (agency_id, reason) WHERE state = 'open'";
        ddl::run(manager, &[index]).await
    }
}
