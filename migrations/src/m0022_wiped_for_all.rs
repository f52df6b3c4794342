//! Which devices an administrator reported lost, for whoever of the agency signs in from them later.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait is declared this way")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, &["ALTER TABLE devices ADD COLUMN wiped_for_all BOOLEAN NOT NULL DEFAULT FALSE"]).await
    }
}
