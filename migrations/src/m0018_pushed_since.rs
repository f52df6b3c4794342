//! On which pull a device's last push was made, so that a list it has not heard of since does not bring back what others
//! took out.

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
                "ALTER TABLE sync_device ADD COLUMN pushed_since BIGINT",
                "ALTER TABLE sync_push ADD COLUMN since BIGINT",
            ],
        )
        .await
    }
}
