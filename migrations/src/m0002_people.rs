//! Agencies, teams, users and the synced list of staff; devices, sessions and what guards them.

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
                "CREATE TABLE agencies (
                    id TEXT NOT NULL PRIMARY KEY,
                    name TEXT NOT NULL,
                    tz TEXT NOT NULL,
                    locale TEXT NOT NULL,
                    work_days TEXT NOT NULL,
                    quiet_from TEXT,
                    quiet_to TEXT,
                    settings TEXT NOT NULL,
                    email_policy BIGINT NOT NULL,
                    retention_years BIGINT NOT NULL,
                    rev BIGINT NOT NULL,
                    created_at BIGINT NOT NULL,
                    updated_at BIGINT NOT NULL
                )",
                "CREATE TABLE teams (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL REFERENCES agencies (id),
                    name TEXT NOT NULL,
                    supervisor_user_id TEXT,
                    parent_team_id TEXT REFERENCES teams (id),
                    rev BIGINT NOT NULL,
                    created_at BIGINT NOT NULL,
                    updated_at BIGINT NOT NULL
                )",
                "CREATE INDEX teams_agency ON teams (agency_id, id)",
                "CREATE INDEX teams_supervisor ON teams (supervisor_user_id)",
                "CREATE INDEX teams_parent ON teams (parent_team_id)",
                "CREATE TABLE users (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL REFERENCES agencies (id),
                    display_name TEXT NOT NULL,
                    email TEXT NOT NULL UNIQUE,
                    role TEXT NOT NULL,
                    profession TEXT,
                    team_id TEXT REFERENCES teams (id),
                    partner_org_id TEXT,
                    tz TEXT,
                    languages TEXT NOT NULL,
                    active BOOLEAN NOT NULL,
                    digest_hour BIGINT NOT NULL,
                    away_from TEXT,
                    away_to TEXT,
                    cover_user_id TEXT,
                    password_hash TEXT,
                    password_set_at BIGINT,
                    rev BIGINT NOT NULL,
                    created_at BIGINT NOT NULL,
                    updated_at BIGINT NOT NULL
                )",
                "CREATE INDEX users_agency ON users (agency_id, id)",
                "CREATE INDEX users_team ON users (team_id)",
                "CREATE INDEX users_org ON users (partner_org_id)",
                "CREATE TABLE holidays (
                    id TEXT NOT NULL PRIMARY KEY,
                    agency_id TEXT NOT NULL REFERENCES agencies (id),
                    day TEXT NOT NULL,
                    name TEXT NOT NULL,
                    created_at BIGINT NOT NULL,
                    UNIQUE (agency_id, day)
                )",
                "CREATE TABLE devices (
                    user_id TEXT NOT NULL REFERENCES users (id),
                    id TEXT NOT NULL,
                    agency_id TEXT NOT NULL,
                    name TEXT NOT NULL,
                    platform TEXT,
                    app_version TEXT,
                    registered_at BIGINT NOT NULL,
                    last_seen_at BIGINT NOT NULL,
                    revoked_at BIGINT,
                    wipe_requested_at BIGINT,
                    PRIMARY KEY (user_id, id)
                )",
                "CREATE INDEX devices_agency ON devices (agency_id, id)",
                "CREATE TABLE sessions (
                    id TEXT NOT NULL PRIMARY KEY,
                    user_id TEXT NOT NULL REFERENCES users (id),
                    agency_id TEXT NOT NULL,
                    device_id TEXT NOT NULL,
                    generation BIGINT NOT NULL,
                    salt TEXT NOT NULL,
                    current_hash TEXT NOT NULL,
                    spent_hash TEXT,
                    rotated_at BIGINT NOT NULL,
                    received_at BIGINT,
                    opened_at BIGINT NOT NULL,
                    last_used_at BIGINT NOT NULL,
                    expires_at BIGINT NOT NULL,
                    ended_at BIGINT,
                    end_reason TEXT
                )",
                "CREATE INDEX sessions_user ON sessions (user_id, device_id)",
                "CREATE TABLE one_time_links (
                    hash TEXT NOT NULL PRIMARY KEY,
                    kind TEXT NOT NULL,
                    user_id TEXT NOT NULL REFERENCES users (id),
                    agency_id TEXT NOT NULL,
                    created_at BIGINT NOT NULL,
                    expires_at BIGINT NOT NULL,
                    used_at BIGINT
                )",
                "CREATE INDEX one_time_links_user ON one_time_links (user_id, kind)",
                "CREATE TABLE throttle (
                    key TEXT NOT NULL PRIMARY KEY,
                    count BIGINT NOT NULL,
                    ends_at BIGINT NOT NULL
                )",
            ],
        )
        .await?;
        ddl::synced(
            manager,
            "staff",
            "display_name TEXT NOT NULL,
             role TEXT NOT NULL,
             team_id TEXT,
             active BOOLEAN NOT NULL",
        )
        .await
    }
}
