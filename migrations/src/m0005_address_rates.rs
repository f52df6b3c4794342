//! How much of its allowance each address has used up, told by every process that serves it.

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
            &["CREATE TABLE address_rates (
                    address TEXT NOT NULL PRIMARY KEY,
                    empty_at BIGINT NOT NULL
                )"],
        )
        .await
    }
}
