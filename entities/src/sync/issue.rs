//! A sync issue: what the server could not do as a device asked, told to one person.
//!
//! Issues are an ordinary synced table, so the app shows them like anything else. Each has one
//! audience: the author sees their own text again; a holder of the case or a supervisor sees that
//! there is something, and reads it through REST under the rights of the case (S8).

use sea_orm::entity::prelude::*;

use crate::access::{Role, Stand};
use crate::clock::Instant;
use crate::doc::Doc;
use crate::registry::{Field, Kind, Move, Synced};

/// Columns of a sync issue.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "sync_issues")]
pub struct Model {
    /// Row id, made from what it is about, so that a repeated push makes no second one.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Whom it tells.
    pub user_id: String,
    /// The case it concerns, where the server knows it.
    pub case_id: Option<String>,
    /// `author`, `holder` or `supervisor`.
    pub audience: String,
    /// What happened: see `KINDS`.
    pub kind: String,
    /// Table of the row it is about.
    pub about_table: String,
    /// Id of the row it is about.
    pub about_id: String,
    /// The quarantined work, if there is some.
    pub quarantine_id: Option<String>,
    /// A sentence for a person.
    pub message: String,
    /// For the author: what was sent, by column.
    pub detail: Option<Doc>,
    /// `open`, or how it was settled.
    pub status: String,
    /// When it was settled.
    pub settled_at: Option<Instant>,
    /// By whom.
    pub settled_by: Option<String>,
    /// Why.
    pub settled_reason: Option<String>,
    /// Commit number of the last change.
    pub seq: i64,
    /// Commit number of the last change a client could have made.
    pub edit_seq: i64,
    /// When it was stored first.
    pub created_at: Instant,
    /// When it was stored last.
    pub updated_at: Instant,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// When it was deleted.
    pub deleted_at: Option<Instant>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Characters of what an issue says.
pub(crate) const MESSAGE: usize = 500;

/// Bytes of what an author sent that an issue shows.
pub(crate) const DETAIL: usize = 1 << 20;

/// What can have happened: part of a value was mended; a column kept its value; a move was not
/// legal; a deletion was refused; the whole row went to quarantine; late work was taken in; two
/// devices set one field and this one's value gave way; the server was restored from a backup.
pub const KINDS: &[&str] =
    &["conflict", "cleaned", "ignored", "illegal_move", "delete_refused", "quarantined", "late_accepted", "restored"];

impl Synced for Entity {
    const NAME: &'static str = "sync_issues";
    const RANK: u8 = 200;
    const ANEW: bool = true;
    const WRITERS: &'static [Role] = &[Role::Caseworker, Role::Supervisor];
    const MOVES: &'static [Move<Model>] = &[Move {
        takes: &["settled_reason"],
        effect: |issue, now, actor| {
            issue.settled_at = Some(now);
            issue.settled_by.clone_from(&actor.user_id);
        },
        ..Move::plain("dismiss", &["open"], "dismissed")
    }];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().server(),
            Column::AgencyId => Field::id().hidden(),
            Column::UserId | Column::CaseId | Column::AboutId | Column::QuarantineId => Field::id().server(),
            Column::Audience => Field::code(&["author", "holder", "supervisor"]).server(),
            Column::Kind => Field::code(KINDS).server(),
            Column::AboutTable => Field::text(60).server(),
            Column::Message => Field::text(MESSAGE).server(),
            Column::Detail => Field { holds: None, kind: Kind::Json(DETAIL), ..Field::items("{}") }.server(),
            Column::Status => {
                Field::code(&["open", "dismissed", "accepted", "rehomed", "discarded"]).state().or("open")
            }
            Column::SettledAt => Field::instant().server(),
            Column::SettledBy => Field::id().server(),
            Column::SettledReason => Field::text(1000),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        match &row.case_id {
            Some(case) if row.audience != "author" => vec![Stand::CaseUser(case.clone(), row.user_id.clone())],
            _ => vec![Stand::User(row.user_id.clone())],
        }
    }

    /// Issues are made by the server alone; their reader settles them, and what is settled stands.
    fn may_write(before: Option<&Model>, _after: &Model, actor: &crate::access::Actor) -> bool {
        before.is_some_and(|issue| issue.user_id == actor.user() && issue.status == "open")
    }
}
