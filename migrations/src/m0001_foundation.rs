//! The feed, access, clocks, devices, history and the audit trail: what sync stands on.

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
                "CREATE TABLE sync_clock (
                    agency_id TEXT NOT NULL PRIMARY KEY,
                    seq BIGINT NOT NULL,
                    purged_below BIGINT NOT NULL,
                    epoch BIGINT NOT NULL
                )",
                "CREATE TABLE sync_epoch (
                    agency_id TEXT NOT NULL,
                    epoch BIGINT NOT NULL,
                    restored_to_seq BIGINT NOT NULL,
                    started_seq BIGINT NOT NULL,
                    started_at BIGINT NOT NULL,
                    PRIMARY KEY (agency_id, epoch)
                )",
                "CREATE TABLE sync_feed (
                    scope TEXT NOT NULL,
                    tbl TEXT NOT NULL,
                    row_id TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    entered BIGINT NOT NULL,
                    live BOOLEAN NOT NULL,
                    multi BOOLEAN NOT NULL
                )",
                "CREATE UNIQUE INDEX sync_feed_row ON sync_feed (row_id, tbl, scope)",
                "CREATE INDEX sync_feed_scope ON sync_feed (scope, seq, tbl, row_id, live, multi, entered)",
                "CREATE TABLE sync_access (
                    user_id TEXT NOT NULL,
                    scope TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    visible BOOLEAN NOT NULL,
                    immediate BOOLEAN NOT NULL,
                    spans TEXT NOT NULL,
                    PRIMARY KEY (user_id, scope)
                )",
                "CREATE INDEX sync_access_scope ON sync_access (scope, user_id)",
                "CREATE TABLE sync_due (
                    case_id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL,
                    at BIGINT NOT NULL
                )",
                "CREATE INDEX sync_due_at ON sync_due (agency_id, at)",
                "CREATE TABLE sync_device (
                    device_id TEXT NOT NULL,
                    user_id TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    acked_cursor BIGINT NOT NULL,
                    held_from BIGINT,
                    held_since BIGINT,
                    held_reply BIGINT,
                    schema_version BIGINT NOT NULL,
                    schema_offered BIGINT,
                    schema_reply BIGINT,
                    conflicts_in_a_row BIGINT NOT NULL,
                    last_push_at BIGINT,
                    last_pull_at BIGINT,
                    PRIMARY KEY (device_id, user_id)
                )",
                "CREATE TABLE sync_resend (
                    device_id TEXT NOT NULL,
                    user_id TEXT NOT NULL,
                    tbl TEXT NOT NULL,
                    row_id TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    PRIMARY KEY (device_id, user_id, tbl, row_id)
                )",
                "CREATE TABLE sync_quarantine (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL,
                    tbl TEXT NOT NULL,
                    row_id TEXT NOT NULL,
                    case_id TEXT,
                    user_id TEXT NOT NULL,
                    device_id TEXT,
                    at BIGINT NOT NULL,
                    op TEXT NOT NULL,
                    reason TEXT NOT NULL,
                    raw TEXT NOT NULL,
                    face TEXT NOT NULL,
                    state TEXT NOT NULL,
                    settled_at BIGINT,
                    settled_by TEXT,
                    settled_reason TEXT
                )",
                "CREATE INDEX sync_quarantine_row ON sync_quarantine (tbl, row_id)",
                "CREATE TABLE sync_mutation (
                    user_id TEXT NOT NULL,
                    device_id TEXT NOT NULL,
                    id TEXT NOT NULL,
                    hash TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    result TEXT NOT NULL,
                    PRIMARY KEY (user_id, device_id, id, hash)
                )",
                "CREATE TABLE row_history (
                    tbl TEXT NOT NULL,
                    row_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    part BIGINT NOT NULL,
                    agency_id TEXT NOT NULL,
                    at BIGINT NOT NULL,
                    op TEXT NOT NULL,
                    user_id TEXT,
                    device_id TEXT,
                    old TEXT NOT NULL,
                    PRIMARY KEY (tbl, row_id, seq, part)
                )",
                "CREATE TABLE audit_event (
                    agency_id TEXT NOT NULL,
                    seq BIGINT NOT NULL,
                    at BIGINT NOT NULL,
                    user_id TEXT,
                    role TEXT NOT NULL,
                    device_id TEXT,
                    action TEXT NOT NULL,
                    reason TEXT NOT NULL,
                    objects TEXT NOT NULL,
                    previous TEXT NOT NULL,
                    hash TEXT NOT NULL,
                    PRIMARY KEY (agency_id, seq)
                )",
            ],
        )
        .await?;
        ddl::synced(
            manager,
            "sync_issues",
            "user_id TEXT NOT NULL,
            case_id TEXT,
            audience TEXT NOT NULL,
            kind TEXT NOT NULL,
            about_table TEXT NOT NULL,
            about_id TEXT NOT NULL,
            quarantine_id TEXT,
            message TEXT NOT NULL,
            detail TEXT,
            status TEXT NOT NULL,
            settled_at BIGINT,
            settled_by TEXT,
            settled_reason TEXT",
        )
        .await
    }
}
