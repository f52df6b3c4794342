//! Mail addresses that a mail server has refused for good: nothing more is sent to them.

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
            &["CREATE TABLE refused_addresses (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL REFERENCES agencies (id),
                    address TEXT NOT NULL,
                    code BIGINT,
                    said TEXT NOT NULL,
                    refused_at BIGINT NOT NULL,
                    UNIQUE (agency_id, address)
                )"],
        )
        .await
    }
}
