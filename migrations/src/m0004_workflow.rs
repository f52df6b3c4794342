//! The workflow engine's own tables: timers, watches, the ledger of what fired, prompts, mail.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

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
                // One row for each promise; at most one pending for each (rule, subject, anchor).
                "CREATE TABLE wf_timer (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL,
                    case_id TEXT,
                    rule_id TEXT NOT NULL,
                    rule_version BIGINT NOT NULL,
                    subject_kind TEXT NOT NULL,
                    subject_id TEXT NOT NULL,
                    anchor TEXT NOT NULL,
                    step TEXT NOT NULL,
                    key TEXT NOT NULL,
                    nominal_local TEXT NOT NULL,
                    zone TEXT NOT NULL,
                    due_at BIGINT NOT NULL,
                    try_at BIGINT NOT NULL,
                    state TEXT NOT NULL,
                    reason TEXT NOT NULL,
                    attempts BIGINT NOT NULL,
                    changed_at BIGINT NOT NULL
                )",
                "CREATE UNIQUE INDEX wf_timer_key ON wf_timer (key)",
                "CREATE INDEX wf_timer_due ON wf_timer (try_at, id) WHERE state = 'pending'",
                "CREATE INDEX wf_timer_case ON wf_timer (case_id) WHERE case_id IS NOT NULL",
                "CREATE INDEX wf_timer_subject ON wf_timer (rule_id, subject_id) WHERE state = 'pending'",
                // When an occurrence was armed first and last; what is due before is not made up for.
                "CREATE TABLE wf_watch (
                    rule_id TEXT NOT NULL,
                    subject_id TEXT NOT NULL,
                    anchor TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    case_id TEXT,
                    first_at BIGINT NOT NULL,
                    since BIGINT NOT NULL,
                    active BOOLEAN NOT NULL,
                    episode BIGINT NOT NULL,
                    PRIMARY KEY (rule_id, subject_id, anchor)
                )",
                "CREATE INDEX wf_watch_case ON wf_watch (case_id)",
                // What a key came to. Kept as long as its subject: this is what makes `once` last.
                "CREATE TABLE wf_ledger (
                    key TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL,
                    case_id TEXT,
                    at BIGINT NOT NULL,
                    rule_version BIGINT NOT NULL,
                    outcome TEXT NOT NULL,
                    reason TEXT NOT NULL
                )",
                "CREATE INDEX wf_ledger_case ON wf_ledger (case_id) WHERE case_id IS NOT NULL",
                // One row for each change that touches many cases; a worker reads, plans, deletes.
                "CREATE TABLE wf_dirty (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL,
                    after_case TEXT NOT NULL,
                    cause TEXT NOT NULL
                )",
                "CREATE TABLE wf_instance (
                    id BIGINT NOT NULL PRIMARY KEY,
                    mail_enabled BOOLEAN NOT NULL
                )",
                "INSERT INTO wf_instance (id, mail_enabled) VALUES (1, true)",
                "CREATE TABLE wf_heartbeat (
                    worker_id TEXT NOT NULL PRIMARY KEY,
                    started_at BIGINT NOT NULL,
                    seen_at BIGINT NOT NULL
                )",
                "CREATE TABLE outbound_message (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL,
                    message_key TEXT NOT NULL,
                    message_id TEXT NOT NULL,
                    rule_id TEXT,
                    rule_version BIGINT NOT NULL,
                    step TEXT,
                    timer_key TEXT,
                    anchor TEXT,
                    subject_kind TEXT,
                    subject_id TEXT,
                    case_id TEXT,
                    to_role TEXT NOT NULL,
                    to_user TEXT,
                    to_org TEXT,
                    to_address TEXT,
                    template TEXT NOT NULL,
                    data TEXT NOT NULL,
                    resend_policy TEXT NOT NULL,
                    not_before BIGINT NOT NULL,
                    expires_at BIGINT,
                    state TEXT NOT NULL,
                    reason TEXT NOT NULL,
                    attempts BIGINT NOT NULL,
                    resent BOOLEAN NOT NULL,
                    next_at BIGINT NOT NULL,
                    lease_owner TEXT,
                    lease_until BIGINT,
                    fence BIGINT NOT NULL,
                    last_code BIGINT,
                    last_error TEXT,
                    sent_to TEXT,
                    subject TEXT,
                    body_text TEXT,
                    body_html TEXT,
                    created_at BIGINT NOT NULL,
                    finished_at BIGINT
                )",
                "CREATE UNIQUE INDEX outbound_message_key ON outbound_message (message_key)",
                "CREATE INDEX outbound_message_due ON outbound_message (next_at, id)
                    WHERE state IN ('queued', 'uncertain')",
                "CREATE INDEX outbound_message_leased ON outbound_message (lease_until) WHERE state = 'sending'",
                "CREATE INDEX outbound_message_case ON outbound_message (case_id) WHERE case_id IS NOT NULL",
            ],
        )
        .await?;
        if manager.get_connection().get_database_backend() == DbBackend::Postgres {
            // These two are rewritten all day long: room in each page, and a vacuum that keeps up.
            for table in ["wf_timer", "outbound_message"] {
                ddl::run(
                    manager,
                    &[&format!("ALTER TABLE {table} SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)")],
                )
                .await?;
            }
        }
        ddl::synced(
            manager,
            "prompts",
            "case_id TEXT NOT NULL,
             rule TEXT NOT NULL,
             step TEXT NOT NULL,
             subject_kind TEXT NOT NULL,
             subject_id TEXT NOT NULL,
             anchor TEXT NOT NULL,
             recipient_user_id TEXT NOT NULL,
             recipient_role TEXT NOT NULL,
             due_at BIGINT NOT NULL,
             due_on TEXT,
             status TEXT NOT NULL,
             snooze_until BIGINT,
             dedupe_key TEXT NOT NULL UNIQUE",
        )
        .await
    }
}
