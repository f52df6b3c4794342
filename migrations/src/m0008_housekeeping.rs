//! Finding what the worker may forget, and what waits for a person, without reading what is pending.

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
                "CREATE INDEX wf_timer_over ON wf_timer (changed_at) WHERE state <> 'pending' AND state <> 'dead'",
                "CREATE INDEX wf_timer_dead ON wf_timer (id) WHERE state = 'dead'",
                "CREATE INDEX wf_ledger_apart ON wf_ledger (at) WHERE case_id IS NULL",
                "CREATE INDEX outbound_message_over ON outbound_message (created_at)
                    WHERE state IN ('sent', 'suppressed', 'dropped')",
                "CREATE INDEX outbound_message_stuck ON outbound_message (id) WHERE state IN ('dead', 'held')",
            ],
        )
        .await
    }
}
