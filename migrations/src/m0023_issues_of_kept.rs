//! Finding the issues about a piece of kept work, which is asked when it is filed, settled or decided.

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
            &["CREATE INDEX sync_issues_of_kept ON sync_issues (quarantine_id) WHERE quarantine_id IS NOT NULL"],
        )
        .await
    }
}
