//! A contact: any interaction, planned or held.
//!
//! When a planned visit does not happen, who called it off matters: only the client's own no-shows
//! count, and `no_show_seq` says how many there were in a row. When it happened and when it was
//! typed are kept apart.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Role, Stand};
use crate::clock::{Day, Instant};
use crate::doc::Doc;
use crate::error::Fault;
use crate::registry::{Field, Fill, Move, Need, Synced, Touch};

use super::supervises;

/// Columns of a contact.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "contacts")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// The case.
    pub case_id: String,
    /// What kind of contact it is.
    pub kind: String,
    /// How the parties met.
    pub method: Option<String>,
    /// What for: a list of words, such as `counselling`.
    pub purposes: Option<Doc>,
    /// When it is to begin.
    pub planned_start: Option<Instant>,
    /// How long it is to last, in minutes.
    pub planned_minutes: Option<i64>,
    /// State: see `MOVES`.
    pub status: String,
    /// Why it was called off, moved or marked as an error.
    pub status_reason: Option<String>,
    /// When it began.
    pub started_at: Option<Instant>,
    /// When it ended.
    pub ended_at: Option<Instant>,
    /// When it happened, for what has no beginning and end, such as a letter or a try.
    pub occurred_at: Option<Instant>,
    /// Where.
    pub place: Option<String>,
    /// Who conducted it: a list of user ids.
    pub conducted_by: Option<Doc>,
    /// Who was there: a list of `{person_id, attended}`.
    pub parties_present: Option<Doc>,
    /// Goals that were worked on: a list of ids.
    pub goals_worked: Option<Doc>,
    /// Techniques that were used: a list.
    pub technique_uses: Option<Doc>,
    /// Travel, in minutes.
    pub travel_minutes: Option<i64>,
    /// Who called it off.
    pub cancelled_by: Option<String>,
    /// How many no-shows in a row this one makes; 0 unless it is one.
    pub no_show_seq: i64,
    /// The contact that takes its place.
    pub rescheduled_to: Option<String>,
    /// Day on which the next contact is due.
    pub next_contact_on: Option<Day>,
    /// Came in after the writer had lost the case.
    pub late: bool,
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

/// States in which a contact is still to come or under way.
pub const OPEN: &[&str] = &["planned", "confirmed", "in_progress"];

const KINDS: &[&str] =
    &["visit", "session", "call", "video", "text", "email", "letter", "group_session", "collateral", "team_meeting"];
const STATUSES: &[&str] = &[
    "planned",
    "confirmed",
    "in_progress",
    "completed",
    "attempted",
    "client_cancelled",
    "worker_cancelled",
    "rescheduled",
    "no_show",
    "entered_in_error",
];
const AHEAD: &[&str] = &["planned", "confirmed"];
/// A no-show may be recorded this long after the planned start: 15 minutes.
const GRACE_MS: i64 = 15 * 60 * 1000;
const IS_AHEAD: &str =
    "select 1 from contacts where id = $1 and status in ('planned', 'confirmed') and deleted_at is null";
/// Columns that say how a contact went.
const HELD: &[&str] = &[
    "started_at",
    "ended_at",
    "occurred_at",
    "method",
    "place",
    "conducted_by",
    "parties_present",
    "goals_worked",
    "technique_uses",
    "travel_minutes",
    "next_contact_on",
];

const PRESENT: &str = r#"{
    "description": "Who was asked to come, and whether they did",
    "examples": [[{"person_id": "0192f0c1-7a1b-7c00-8000-000000000001", "attended": true}]]
}"#;
const TECHNIQUES: &str = r#"{"description": "Techniques that were used", "examples": [["scaling question"]]}"#;

impl Synced for Entity {
    const NAME: &'static str = "contacts";
    const RANK: u8 = 30;
    /// Anything else comes of a contact that was planned.
    const STARTS: &'static [&'static str] = &["completed", "attempted"];
    const MOVES: &'static [Move<Model>] = &[
        Move::by_worker("confirm", &["planned"], "confirmed"),
        Move {
            takes: &["started_at"],
            effect: |contact, now, _| contact.started_at = contact.started_at.or(Some(now)),
            ..Move::by_worker("begin", AHEAD, "in_progress")
        },
        Move {
            takes: HELD,
            effect: |contact, now, _| {
                contact.ended_at = contact.ended_at.or(contact.occurred_at).or(Some(now));
            },
            ..Move::by_worker("complete", OPEN, "completed")
        },
        Move {
            takes: &["occurred_at", "status_reason", "next_contact_on"],
            effect: |contact, now, _| contact.occurred_at = contact.occurred_at.or(Some(now)),
            ..Move::by_worker("attempt", OPEN, "attempted")
        },
        Move {
            takes: &["status_reason", "next_contact_on"],
            ..Move::by_worker("cancel_by_client", AHEAD, "client_cancelled")
        },
        Move {
            takes: &["status_reason", "next_contact_on"],
            ..Move::by_worker("cancel_by_worker", AHEAD, "worker_cancelled")
        },
        Move {
            takes: &["rescheduled_to", "status_reason"],
            guard: |contact, _| match &contact.rescheduled_to {
                Some(other) if *other != contact.id => Vec::new(),
                Some(_) => vec![Fault::field("rescheduled_to", "itself", "must be another contact")],
                None => vec![Fault::field("rescheduled_to", "required", "name the contact that takes its place")],
            },
            ..Move::by_worker("reschedule", AHEAD, "rescheduled")
        },
        Move {
            takes: &["occurred_at", "status_reason", "next_contact_on"],
            guard: |contact, now| match contact.planned_start {
                None => vec![Fault::field("planned_start", "required", "only who was expected can fail to come")],
                Some(planned) if now < planned.plus_ms(GRACE_MS) => vec![Fault::field(
                    "status",
                    "too_early",
                    "a no-show is recorded 15 minutes after the planned start at the earliest",
                )],
                _ => Vec::new(),
            },
            effect: |contact, now, _| {
                contact.occurred_at = contact.occurred_at.or(contact.planned_start).or(Some(now));
            },
            ..Move::by_worker("no_show", AHEAD, "no_show")
        },
        Move {
            who: &[Role::Supervisor],
            takes: &["status_reason"],
            ..Move::by_worker("mark_error", &["completed", "attempted", "no_show"], "entered_in_error")
        },
    ];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").once().required(),
            Column::Kind => Field::code(KINDS).or("visit"),
            Column::Method => Field::code(&["in_person", "phone", "video", "text", "email", "letter"]),
            Column::Purposes => {
                Field::items(r#"{"description": "What it is for, a word or two each", "examples": [["goal review"]]}"#)
            }
            Column::PlannedStart => Field::instant(),
            Column::PlannedMinutes => Field::int(0, 1440),
            Column::Status => Field::code(STATUSES).state().or("planned"),
            Column::StatusReason => Field::text(1000),
            Column::StartedAt | Column::EndedAt | Column::OccurredAt => Field::instant(),
            Column::Place => Field::code(&["home", "office", "school", "community", "facility", "remote"]),
            Column::ConductedBy => Field::items(r#"{"description": "Ids of the workers who held it"}"#),
            Column::PartiesPresent => Field::items(PRESENT),
            Column::GoalsWorked => Field::items(r#"{"description": "Ids of the goals that were worked on"}"#),
            Column::TechniqueUses => Field::items(TECHNIQUES),
            Column::TravelMinutes => Field::int(0, 1440),
            Column::CancelledBy => Field::code(&["client", "worker"]).server(),
            Column::NoShowSeq => Field::int(0, 1000).server().or("0"),
            Column::RescheduledTo => Field::refer("contacts"),
            Column::NextContactOn => Field::date(),
            Column::Late => Field::boolean().server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Case(row.case_id.clone())]
    }

    fn check(_before: Option<&Model>, after: &Model) -> Vec<Fault> {
        match (after.started_at, after.ended_at) {
            (Some(from), Some(to)) if to < from => {
                vec![Fault::field("ended_at", "before_start", "must not lie before started_at")]
            }
            _ => Vec::new(),
        }
    }

    /// A contact is edited until its final state; what was wrong with it then is said by marking
    /// it as an error.
    fn may_write(before: Option<&Model>, after: &Model, _actor: &Actor) -> bool {
        before.is_none_or(|before| OPEN.contains(&before.status.as_str()) || after.status == "entered_in_error")
    }

    fn occurred(row: &Model) -> Option<Instant> {
        if OPEN.contains(&row.status.as_str()) { None } else { row.ended_at.or(row.occurred_at).or(row.planned_start) }
    }

    fn derive(row: &mut Model, now: Instant, _actor: &Actor) {
        if row.status != "no_show" {
            row.no_show_seq = 0;
        }
        row.cancelled_by = match row.status.as_str() {
            "client_cancelled" => Some("client".into()),
            "worker_cancelled" => Some("worker".into()),
            _ => None,
        };
        if row.status == "completed" && row.ended_at.is_none() {
            row.ended_at = row.occurred_at.or(row.started_at).or(Some(now));
        }
    }

    /// What takes the place of a contact is still to come; what took place is an error where a supervisor of the case
    /// says so.
    fn needs(before: Option<&Model>, after: &Model, _now: Instant, actor: &Actor) -> Vec<Need> {
        let mut needs = Vec::new();
        if let Some(other) = &after.rescheduled_to
            && before.is_none_or(|before| before.rescheduled_to != after.rescheduled_to)
        {
            needs.push(Need::some(IS_AHEAD, vec![other.as_str().into()]).or_fault(
                "rescheduled_to",
                "not_ahead",
                "must be a contact that is planned or confirmed",
            ));
        }
        if after.status == "entered_in_error" && before.is_some_and(|before| before.status != after.status) {
            let held = supervises(&after.case_id, actor);
            needs.push(held.or_forbidden("only a supervisor of the case may do this"));
        }
        needs
    }

    /// A no-show counts those in a row before it; a completed contact starts the count anew.
    fn fills(_before: Option<&Model>, after: &Model, _actor: &Actor) -> Vec<Fill> {
        if after.status != "no_show" {
            return Vec::new();
        }
        let at = after.occurred_at.or(after.planned_start).unwrap_or(Instant::MAX);
        vec![Fill {
            column: "no_show_seq",
            text: "select 1 + count(*) from contacts n where n.case_id = $1 and n.id <> $2 and n.status = 'no_show' \
                   and n.deleted_at is null and coalesce(n.occurred_at, n.planned_start, n.created_at) <= $3 \
                   and not exists (select 1 from contacts d where d.case_id = n.case_id and d.status = 'completed' \
                   and d.deleted_at is null and d.ended_at <= $3 \
                   and d.ended_at >= coalesce(n.occurred_at, n.planned_start, n.created_at))",
            values: vec![after.case_id.as_str().into(), after.id.as_str().into(), at.0.into()],
        }]
    }

    fn touches(before: Option<&Model>, after: &Model) -> Vec<Touch> {
        let mut touches = vec![Touch::Plan(after.case_id.clone())];
        let is_or_was = |status: &str| after.status == status || before.is_some_and(|before| before.status == status);
        if is_or_was("completed") {
            touches.push(Touch::Refill("cases", after.case_id.clone()));
        }
        if is_or_was("completed") || is_or_was("no_show") {
            // Those after it may count otherwise, in whatever order they were written down.
            let (column, id, case_id) = ("status", "no_show".into(), after.case_id.clone());
            touches.push(Touch::RefillNaming { table: "contacts", column, id, case_id });
        }
        touches
    }
}
