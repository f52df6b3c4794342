//! A prompt: what the engine asks of a person, shown in the app and sent by mail.
//!
//! The server makes it and takes it back; the person sees, snoozes or finishes it. It carries no
//! words: the app words it from rule and step, so that no client's words are copied into it.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Role, Stand};
use crate::clock::{Day, Instant};
use crate::error::Fault;
use crate::registry::{Field, Fill, Move, Synced, Touch};

/// Columns of a prompt.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "prompts")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Case it is about.
    pub case_id: String,
    /// Rule that asks, such as `goal.deadline`.
    pub rule: String,
    /// Step of the rule, such as `d7`.
    pub step: String,
    /// Kind of row it is about, such as `goal`.
    pub subject_kind: String,
    /// That row.
    pub subject_id: String,
    /// What the rule counted from: a date, or the name of an event.
    pub anchor: String,
    /// Who is asked now; follows a reassignment.
    pub recipient_user_id: String,
    /// As what: `caseworker` or `supervisor`.
    pub recipient_role: String,
    /// When it was to be shown.
    pub due_at: Instant,
    /// The day it is about, where there is one.
    pub due_on: Option<Day>,
    /// State: see `MOVES`; the server sets `cancelled` when the reason is gone.
    pub status: String,
    /// Not shown again before.
    pub snooze_until: Option<Instant>,
    /// How often it was put off.
    pub snoozed_times: i64,
    /// Identity for ever: rule, subject, anchor, step and role.
    pub dedupe_key: String,
    /// Commit number of the last change.
    pub seq: i64,
    /// Commit number of the last change a client could have made.
    pub edit_seq: i64,
    /// When it was stored first.
    pub created_at: Instant,
    /// When it was stored last.
    pub updated_at: Instant,
    /// Who made it: none, the engine.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// When it was deleted.
    pub deleted_at: Option<Instant>,
}

impl ActiveModelBehavior for ActiveModel {}

/// States in which a prompt still asks something.
pub const OPEN: &[&str] = &["pending", "seen", "snoozed"];

/// How long a prompt can be put off: 14 days.
const MOST_SECS: i64 = 14 * 86_400;
/// How often.
const MOST_TIMES: i64 = 3;

const STATUS: &[&str] = &["pending", "seen", "snoozed", "done", "cancelled", "expired"];

impl Synced for Entity {
    const NAME: &'static str = "prompts";
    const RANK: u8 = 90;
    const ANEW: bool = true;
    const WRITERS: &'static [Role] = &[Role::Caseworker, Role::Supervisor];
    const MOVES: &'static [Move<Model>] = &[
        Move::plain("see", &["pending", "snoozed"], "seen"),
        Move {
            takes: &["snooze_until"],
            guard: |prompt, now| match prompt.snooze_until {
                _ if prompt.snoozed_times >= MOST_TIMES => vec![too_often()],
                Some(until) if until > now && until <= now.plus_secs(MOST_SECS) => Vec::new(),
                _ => vec![Fault::field("snooze_until", "range", "must lie within the next 14 days")],
            },
            effect: |prompt, _, _| prompt.snoozed_times += 1,
            ..Move::plain("snooze", &["pending", "seen"], "snoozed")
        },
        Move::plain("finish", &["pending", "seen", "snoozed"], "done"),
    ];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().server(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId | Column::SubjectId | Column::RecipientUserId => Field::id().server(),
            Column::Rule | Column::Step | Column::SubjectKind | Column::Anchor | Column::RecipientRole => {
                Field::text(120).server()
            }
            Column::DueAt => Field::instant().server(),
            Column::DueOn => Field::date().server(),
            Column::Status => Field::code(STATUS).state().or("pending"),
            Column::SnoozeUntil => Field::instant(),
            Column::SnoozedTimes => Field::int(0, MOST_TIMES).hidden().or("0"),
            Column::DedupeKey => Field::text(300).hidden(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn check(before: Option<&Model>, after: &Model) -> Vec<Fault> {
        match before {
            Some(before) if put_off_on(before, after) && before.snoozed_times >= MOST_TIMES => vec![too_often()],
            _ => Vec::new(),
        }
    }

    /// An edit that puts off what is put off already counts as a snooze does.
    fn fills(before: Option<&Model>, after: &Model, _actor: &Actor) -> Vec<Fill> {
        match before {
            Some(before) if put_off_on(before, after) => vec![Fill {
                column: "snoozed_times",
                text: "select 1 + snoozed_times from prompts where id = $1",
                values: vec![after.id.as_str().into()],
            }],
            _ => Vec::new(),
        }
    }

    /// Whoever edits the instant later puts off no further than who puts off.
    fn derive(row: &mut Model, now: Instant, _actor: &Actor) {
        row.snooze_until = row.snooze_until.map(|until| until.min(now.plus_secs(MOST_SECS)));
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::CaseUser(row.case_id.clone(), row.recipient_user_id.clone())]
    }

    /// What was put off comes back by a timer, and what is done stops the steps that it would.
    fn touches(before: Option<&Model>, after: &Model) -> Vec<Touch> {
        match before {
            Some(before) if (&before.status, before.snooze_until) != (&after.status, after.snooze_until) => {
                vec![Touch::Plan(after.case_id.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// Only the engine makes prompts, and only the person asked answers one.
    fn may_write(before: Option<&Model>, after: &Model, actor: &Actor) -> bool {
        before.is_some() && actor.user_id.as_deref() == Some(after.recipient_user_id.as_str())
    }
}

/// Whether a prompt that is put off is put off further, by an edit and not by a move.
fn put_off_on(before: &Model, after: &Model) -> bool {
    before.status == "snoozed" && after.status == "snoozed" && after.snooze_until > before.snooze_until
}

fn too_often() -> Fault {
    Fault::field("snooze_until", "too_often", "it was put off three times already; finish it, or leave it open")
}
