//! The tables of a build with the feature `wide`.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait is declared this way")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for letter in 'a'..='z' {
            ddl::synced(manager, &format!("wide_{letter}"), "case_id TEXT NOT NULL, title TEXT").await?;
        }
        Ok(())
    }
}
