//! Which quarantined work may be told to others than its author, for those who get the case later.

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
                "ALTER TABLE sync_quarantine ADD COLUMN widely BOOLEAN NOT NULL DEFAULT false",
                // What was told to others tells so by their issues. Where nobody else was there to be told, the
                // author's issue tells: it names the case only where it was for the author alone.
                "UPDATE sync_quarantine SET widely = true WHERE case_id IS NOT NULL AND id IN \
                 (SELECT quarantine_id FROM sync_issues WHERE audience <> 'author' OR case_id IS NULL)",
                "CREATE INDEX sync_quarantine_case ON sync_quarantine (case_id) WHERE state = 'open' AND widely",
            ],
        )
        .await
    }
}
