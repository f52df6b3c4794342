//! A case note.
//!
//! A note is its author's to edit while it is a draft and nobody's once it is signed: a correction
//! is a new note that says which one it amends. Who sees it can be narrowed at any time, by its
//! author, and never widens through sync. A correction is seen by no more people than what it corrects.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Role, Stand};
use crate::clock::Instant;
use crate::error::Fault;
use crate::registry::{Field, Fill, Move, Need, Synced, Touch};

use super::supervises;

/// Columns of a note.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "notes")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// The contact it tells of.
    pub contact_id: Option<String>,
    /// What kind of note: a `restricted` one is its author's and the supervisors', a `supervision` one the supervisors'.
    pub kind: String,
    /// When it happened.
    pub occurred_at: Option<Instant>,
    /// When the server got it.
    pub recorded_at: Option<Instant>,
    /// Written more than three days after it happened, or after the writer had lost the case.
    pub late: bool,
    /// The text.
    pub body: Option<String>,
    /// What the client said, in the client's words.
    pub client_words: Option<String>,
    /// Who wrote it.
    pub author_id: Option<String>,
    /// Who sees it: `team`, `assigned` or `author_supervisor`.
    pub visibility: String,
    /// `draft` or `signed`.
    pub status: String,
    /// When it was signed.
    pub signed_at: Option<Instant>,
    /// The note that this one corrects.
    pub amends_note_id: Option<String>,
    /// Tells of somebody who is not a client.
    pub contains_third_party: bool,
    /// Holds substance-use content under 42 CFR Part 2: of those assigned, only who may see it does.
    pub part2: bool,
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

/// From the widest to the narrowest.
pub const VISIBILITY: &[&str] = &["team", "assigned", "author_supervisor"];
/// A note written this long after the event is a late entry: three days.
const LATE_MS: i64 = 3 * 24 * 3600 * 1000;

impl Synced for Entity {
    const NAME: &'static str = "notes";
    const RANK: u8 = 40;
    const WRITERS: &'static [Role] = &[Role::Caseworker, Role::Supervisor];
    const DELETES: bool = true;
    const STARTS: &'static [&'static str] = &["signed"];
    const MOVES: &'static [Move<Model>] = &[Move {
        guard: |note, _| match note.body.as_deref() {
            Some(body) if !body.trim().is_empty() => Vec::new(),
            _ => vec![Fault::field("body", "required", "an empty note cannot be signed")],
        },
        effect: |note, now, _| note.signed_at = Some(now),
        ..Move::plain("sign", &["draft"], "signed")
    }];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").once().required(),
            Column::ContactId => Field::refer("contacts").once(),
            Column::Kind => {
                let words = &["progress", "assessment", "supervision", "restricted", "system"];
                Field::code(words).once().or("progress").in_doubt("restricted")
            }
            Column::OccurredAt => Field::instant(),
            Column::RecordedAt => Field::instant().server(),
            Column::Late => Field::boolean().server(),
            Column::Body => Field::text(20_000),
            Column::ClientWords => Field::text(4000),
            Column::AuthorId => Field::id().server(),
            Column::Visibility => Field::code(VISIBILITY).protective().or("team"),
            Column::Status => Field::code(&["draft", "signed"]).state().or("draft"),
            Column::SignedAt => Field::instant().server(),
            Column::AmendsNoteId => Field::refer("notes").once(),
            Column::ContainsThirdParty | Column::Part2 => Field::boolean().protective(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        let case = || row.case_id.clone();
        let mine = Stand::CaseUser(case(), row.author_id.clone().unwrap_or_default());
        match (row.kind.as_str(), row.visibility.as_str()) {
            ("progress" | "assessment" | "system", "team") if row.part2 => {
                vec![mine, Stand::Part2(case()), Stand::Supervision(case())]
            }
            ("progress" | "assessment" | "system", "assigned") if row.part2 => vec![mine, Stand::Part2(case())],
            ("supervision" | "restricted", _) | (_, "author_supervisor") => vec![mine, Stand::Supervision(case())],
            (_, "assigned") => vec![mine, Stand::Assigned(case())],
            _ => vec![Stand::Case(case())],
        }
    }

    /// The author edits a draft; of a signed note the author may only narrow who sees it. A
    /// supervisor writes notes of supervision and nothing else.
    fn may_write(before: Option<&Model>, after: &Model, actor: &Actor) -> bool {
        if (actor.role == Role::Supervisor) != (after.kind == "supervision") || after.kind == "system" {
            return actor.role == Role::System;
        }
        let Some(before) = before else { return true };
        if before.author_id.as_deref() != Some(actor.user()) {
            return false;
        }
        before.status == "draft"
            || Model { visibility: before.visibility.clone(), ..after.clone() } == *before
                && narrowness(&after.visibility) >= narrowness(&before.visibility)
    }

    /// A note of supervision is written by who supervises the case.
    fn needs(before: Option<&Model>, after: &Model, _now: Instant, actor: &Actor) -> Vec<Need> {
        if before.is_some() || after.kind != "supervision" {
            return Vec::new();
        }
        vec![supervises(&after.case_id, actor).or_forbidden("only a supervisor of the case may write this")]
    }

    /// The author may throw a draft away.
    fn may_delete(row: &Model, actor: &Actor) -> bool {
        row.status == "draft" && row.author_id.as_deref() == Some(actor.user())
    }

    /// A restricted note read by anyone but its author.
    fn watched(row: &Model, actor: &Actor) -> bool {
        let restricted =
            row.visibility == "author_supervisor" || ["restricted", "supervision"].contains(&row.kind.as_str());
        restricted && row.author_id.as_deref() != Some(actor.user())
    }

    /// Only a signed note adds and nothing else; a draft of somebody who lost the case could be signed by nobody (S18).
    fn occurred(row: &Model) -> Option<Instant> {
        row.occurred_at.filter(|_| row.status == "signed")
    }

    /// What corrects a note says what the note says, so it is seen by nobody else.
    fn fills(_before: Option<&Model>, after: &Model, _actor: &Actor) -> Vec<Fill> {
        let Some(amended) = after.amends_note_id.as_deref() else { return Vec::new() };
        vec![
            Fill {
                column: "visibility",
                text: "select case when own.seen = 'author_supervisor' or n.visibility = 'author_supervisor' \
                       or n.kind in ('restricted', 'supervision') then 'author_supervisor' \
                       when own.seen = 'assigned' or n.visibility = 'assigned' then 'assigned' else 'team' end \
                       from (select cast($2 as text) as seen) own left join notes n on n.id = $1",
                values: vec![amended.into(), after.visibility.as_str().into()],
            },
            Fill {
                column: "part2",
                text: "select cast($2 as boolean) or coalesce(n.part2, false) \
                       from (select 1 as one) own left join notes n on n.id = $1",
                values: vec![amended.into(), after.part2.into()],
            },
        ]
    }

    fn derive(row: &mut Model, now: Instant, actor: &Actor) {
        if row.author_id.is_none() {
            row.author_id = actor.user_id.clone();
        }
        let recorded = *row.recorded_at.get_or_insert(now);
        if row.occurred_at.is_some_and(|at| recorded > at.plus_ms(LATE_MS)) {
            row.late = true;
        }
        if row.status == "signed" && row.signed_at.is_none() {
            row.signed_at = Some(now);
        }
    }

    fn touches(before: Option<&Model>, after: &Model) -> Vec<Touch> {
        let mut touches = vec![Touch::Plan(after.case_id.clone())];
        match before {
            // What it corrects may be narrowed by the same push, after it was stored.
            None if after.amends_note_id.is_some() => touches.push(Touch::Refill("notes", after.id.clone())),
            Some(before)
                if (&before.visibility, &before.kind, before.part2)
                    != (&after.visibility, &after.kind, after.part2) =>
            {
                let (column, case_id) = ("amends_note_id", after.case_id.clone());
                touches.push(Touch::RefillNaming { table: "notes", column, id: after.id.clone(), case_id });
            }
            _ => (),
        }
        touches
    }
}

fn narrowness(visibility: &str) -> Option<usize> {
    VISIBILITY.iter().position(|word| *word == visibility)
}
