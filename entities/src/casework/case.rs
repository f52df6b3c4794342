//! A case: one person, family or group that the agency works with.
//!
//! Its reference is drawn at random, so that it says nothing about when it was opened or how many
//! there are. Status is a state machine; stage is where the work stands and moves both ways.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Role, Stand};
use crate::clock::{Day, Instant, draw_plain, is_plain};
use crate::doc::Doc;
use crate::error::Fault;
use crate::registry::{Field, Fill, Move, Need, Row, Synced, Touch, erased};

use super::{case_assignment, supervises};

/// Columns of a case.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "cases")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// What the case is called outside the record: nine plain letters and digits, drawn at random.
    pub reference: String,
    /// `individual`, `family` or `group`.
    pub unit: String,
    /// What kind of group it is.
    pub group_kind: Option<String>,
    /// The way of working.
    pub practice_model: Option<String>,
    /// Where the work takes place.
    pub setting: Option<String>,
    /// Difficulties named by the client: a list of words.
    pub difficulty_tags: Option<Doc>,
    /// Where the work stands; it moves both ways.
    pub stage: String,
    /// State: see `MOVES`.
    pub status: String,
    /// Why it has this status.
    pub status_reason: Option<String>,
    /// When work resumes, of a case on hold.
    pub resume_on: Option<Day>,
    /// Which episode of help this is; it rises when the case is reopened.
    pub episode_no: i64,
    /// Who took the case over.
    pub receiving_agency: Option<String>,
    /// How much work it takes: `low`, `medium` or `high`. Not the risk.
    pub intensity: String,
    /// How safe the person is: `none`, `watch` or `elevated`. Not the work.
    pub risk: String,
    /// Holds substance-use records under 42 CFR Part 2.
    pub part2: bool,
    /// Day on which it was opened.
    pub opened_on: Option<Day>,
    /// Day on which it was closed.
    pub closed_on: Option<Day>,
    /// Day of the next review.
    pub next_review_on: Option<Day>,
    /// End of the last completed contact.
    pub last_contact_at: Option<Instant>,
    /// The team it belongs to; its supervisors see it.
    pub team_id: Option<String>,
    /// Time zone in which its dates are read, an IANA name; the agency's when absent.
    pub tz: Option<String>,
    /// In a few sentences, strengths first.
    pub summary: Option<String>,
    /// Nothing of it may be erased.
    pub legal_hold: bool,
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

/// States in which work goes on.
pub const OPEN: &[&str] = &["intake", "active", "on_hold", "closing"];

/// The six stages of the work.
pub const STAGES: &[&str] = &[
    "engagement_assessment",
    "goal_setting",
    "intervention_planning",
    "implementation",
    "monitoring_evaluation",
    "closure",
];
const STATUSES: &[&str] = &[
    "intake",
    "active",
    "on_hold",
    "closing",
    "closed",
    "screened_out",
    "withdrawn",
    "transferred_out",
    "entered_in_error",
];
const PRACTICE_MODELS: &[&str] = &["solution_based", "solution_focused", "strength_based", "client_centred", "general"];
const SETTINGS: &[&str] = &[
    "social_work_agency",
    "community_centre",
    "health_facility",
    "school",
    "correctional_facility",
    "government_programme",
    "other",
];

const BOTH: &[Role] = &[Role::Caseworker, Role::Supervisor];
const LEAD: &[Role] = &[Role::Supervisor];

impl Synced for Entity {
    const NAME: &'static str = "cases";
    const RANK: u8 = 10;
    const MOVES: &'static [Move<Model>] = &[
        Move { who: BOTH, takes: &["status_reason"], ..Move::plain("activate", &["intake"], "active") },
        Move { takes: &["status_reason"], guard: reason, ..Move::plain("screen_out", &["intake"], "screened_out") },
        Move { takes: &["status_reason"], guard: reason, ..Move::plain("withdraw", &["intake"], "withdrawn") },
        Move {
            takes: &["status_reason", "resume_on"],
            guard: |case, now| {
                let mut faults = reason(case, now);
                if case.resume_on.is_none() {
                    faults.push(Fault::field("resume_on", "required", "say when work resumes"));
                }
                faults
            },
            ..Move::plain("hold", &["active"], "on_hold")
        },
        Move {
            takes: &["status_reason"],
            effect: |case, _, _| case.resume_on = None,
            ..Move::plain("resume", &["on_hold"], "active")
        },
        Move {
            takes: &["status_reason"],
            guard: reason,
            ..Move::plain("begin_closing", &["active", "on_hold"], "closing")
        },
        Move { takes: &["status_reason"], guard: reason, ..Move::plain("continue", &["closing"], "active") },
        Move {
            who: LEAD,
            takes: &["status_reason"],
            guard: reason,
            effect: |case, now, _| case.closed_on = Some(Day(now.utc().date_naive())),
            ..Move::plain("close", &["closing"], "closed")
        },
        Move {
            who: LEAD,
            takes: &["status_reason"],
            guard: reason,
            effect: |case, _, _| {
                case.episode_no += 1;
                case.closed_on = None;
            },
            ..Move::plain("reopen", &["closed"], "active")
        },
        Move {
            who: LEAD,
            takes: &["status_reason", "receiving_agency"],
            guard: |case, now| {
                let mut faults = reason(case, now);
                if blank(case.receiving_agency.as_deref()) {
                    faults.push(Fault::field("receiving_agency", "required", "say who takes the case over"));
                }
                faults
            },
            ..Move::plain("transfer_out", OPEN, "transferred_out")
        },
        Move {
            who: LEAD,
            takes: &["status_reason"],
            guard: reason,
            ..Move::plain("mark_error", STATUSES, "entered_in_error")
        },
    ];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::Reference => Field::text(20).server(),
            Column::Unit => Field::code(&["individual", "family", "group"]).or("individual"),
            Column::GroupKind => Field::text(60),
            Column::PracticeModel => Field::code(PRACTICE_MODELS),
            Column::Setting => Field::code(SETTINGS),
            Column::DifficultyTags => {
                Field::items(r#"{"description": "What is hard, a word or two each", "examples": [["housing"]]}"#)
            }
            Column::Stage => Field::code(STAGES).or("engagement_assessment"),
            Column::Status => Field::code(STATUSES).state().or("intake"),
            Column::StatusReason => Field::text(1000),
            Column::ResumeOn => Field::date(),
            Column::EpisodeNo => Field::int(1, 1000).server().or("1"),
            Column::ReceivingAgency => Field::text(200),
            Column::Intensity => Field::code(&["low", "medium", "high"]).or("medium"),
            Column::Risk => Field::code(&["none", "watch", "elevated"]).or("none"),
            Column::Part2 => Field::boolean().protective(),
            Column::OpenedOn => Field::date(),
            Column::ClosedOn => Field::date().server(),
            Column::NextReviewOn => Field::date(),
            Column::LastContactAt => Field::instant().server(),
            Column::TeamId => Field::id().server(),
            Column::Tz => Field::text(64),
            Column::Summary => Field::text(2000),
            Column::LegalHold => Field::boolean().protective(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Case(row.id.clone())]
    }

    fn check(_before: Option<&Model>, after: &Model) -> Vec<Fault> {
        match after.tz.as_deref() {
            Some(name) if jiff::tz::TimeZone::get(name).is_err() => {
                vec![Fault::field("tz", "unknown_zone", "must be an IANA time zone such as Europe/London")]
            }
            _ => Vec::new(),
        }
    }

    fn derive(row: &mut Model, _now: Instant, _actor: &Actor) {
        // It goes into mails, so it is never a text that somebody sent.
        if !is_plain(&row.reference, 9) {
            row.reference = draw_plain(9);
        }
    }

    /// The team of whoever opens it, and the end of the last contact that took place.
    fn fills(_before: Option<&Model>, after: &Model, actor: &Actor) -> Vec<Fill> {
        let mut fills = vec![Fill {
            column: "last_contact_at",
            text: "select max(ended_at) from contacts where case_id = $1 and status = 'completed' and deleted_at is null",
            values: vec![after.id.as_str().into()],
        }];
        if after.team_id.is_none() && actor.user_id.is_some() {
            fills.push(Fill {
                column: "team_id",
                text: "select team_id from users where id = $1",
                values: vec![actor.user().into()],
            });
        }
        fills
    }

    fn needs(before: Option<&Model>, after: &Model, now: Instant, actor: &Actor) -> Vec<Need> {
        let Some(before) = before else { return Vec::new() };
        let mut needs = Vec::new();
        if before.status != after.status {
            needs.extend(status_needs(before, after, now, actor));
        }
        if after.status == "on_hold" && (&before.status, before.resume_on) != (&after.status, after.resume_on) {
            needs.extend(rest_needs(before, after, now, actor));
        }
        needs
    }

    /// A caseworker who opens a case is its first primary, in the same commit.
    fn follow(before: Option<&Model>, after: &Model, now: Instant, actor: &Actor) -> Vec<Row> {
        let (None, Role::Caseworker, Some(user)) = (before, actor.role, &actor.user_id) else { return Vec::new() };
        let first = case_assignment::Model {
            case_id: after.id.clone(),
            user_id: user.clone(),
            role: "primary".into(),
            from_ts: now,
            reason: Some("opened the case".into()),
            ..Default::default()
        };
        erased::<case_assignment::Entity>(&first).into_iter().collect()
    }

    fn touches(before: Option<&Model>, after: &Model) -> Vec<Touch> {
        let moved = before.is_none_or(|before| before.team_id != after.team_id || before.status != after.status);
        if moved && matches!(after.status.as_str(), "closed" | "transferred_out") {
            vec![Touch::End(after.id.clone()), Touch::Access(after.id.clone())]
        } else if moved || after.deleted_at.is_some() {
            vec![Touch::Access(after.id.clone())]
        } else {
            vec![Touch::Plan(after.id.clone())]
        }
    }
}

/// Days of rest that a primary worker may decide alone.
const LONG_HOLD_DAYS: i64 = 30;
/// The primary worker, whoever covers for them now, or a supervisor of the case.
const IS_PRIMARY_OR_SUPERVISES: &str = "select 1 from case_assignments where case_id = $1 and user_id = $2 \
    and role in ('primary', 'covering') and deleted_at is null \
    and from_ts <= $3 and (to_ts is null or to_ts > $3) \
    union all select 1 from sync_access where user_id = $2 and scope = $4 and visible";
const HAS_PRIMARY: &str = "select 1 from case_assignments a join users u on u.id = a.user_id \
                           where a.case_id = $1 and a.role = 'primary' and a.to_ts is null and a.deleted_at is null \
                           and u.active and u.role in ('caseworker', 'supervisor')";
const OPEN_GOAL: &str = "select 1 from goals where case_id = $1 and deleted_at is null \
                         and lifecycle in ('proposed', 'agreed', 'active', 'on_hold')";
const OPEN_REFERRAL: &str = "select 1 from referrals where case_id = $1 and deleted_at is null \
                             and status in ('requested', 'accepted', 'in_progress', 'on_hold')";

/// What a change of status asks of the case's other rows, and of whoever makes it.
fn status_needs(before: &Model, after: &Model, now: Instant, actor: &Actor) -> Vec<Need> {
    let id = || after.id.as_str().into();
    let mut needs = Vec::new();
    match (before.status.as_str(), after.status.as_str()) {
        ("intake" | "on_hold" | "closing", "active") | (_, "on_hold" | "closing") => {
            let supervision = format!("case:{}/supervision", after.id);
            let values = vec![id(), actor.user().into(), now.0.into(), supervision.into()];
            let held = Need::some(IS_PRIMARY_OR_SUPERVISES, values);
            needs.push(held.or_forbidden("only the primary worker, their cover or the supervisor may do this"));
        }
        ("closed", "active") | (_, "closed" | "transferred_out" | "entered_in_error") => {
            needs.push(supervises(&after.id, actor).or_forbidden("only a supervisor of the case may do this"));
        }
        _ => (),
    }
    let goes_on = before.status == "intake" || before.status == "closed";
    match after.status.as_str() {
        "on_hold" | "closing" if !goes_on => (),
        "active" | "on_hold" | "closing" => needs.push(Need::some(HAS_PRIMARY, vec![id()]).or_fault(
            "status",
            "no_primary",
            "a case needs a primary worker first, who sees it: a caseworker or supervisor whose account is active",
        )),
        "closed" => {
            needs.push(Need::none(OPEN_GOAL, vec![id()]).or_fault(
                "goals",
                "open_goals",
                "every goal must be completed, withdrawn or superseded first",
            ));
        }
        _ => (),
    }
    // A partner reads and answers on, and once nobody sees the case any more nobody could stop it.
    if ["closed", "transferred_out", "entered_in_error"].contains(&after.status.as_str()) {
        needs.push(Need::none(OPEN_REFERRAL, vec![id()]).or_fault(
            "referrals",
            "open_referrals",
            "every referral must be answered and done, or cancelled, first",
        ));
    }
    needs
}

/// What the day on which work resumes has to be, whenever it or the rest is new.
fn rest_needs(before: &Model, after: &Model, now: Instant, actor: &Actor) -> Option<Need> {
    let today = Day(now.utc().date_naive());
    let Some(day) = after.resume_on else {
        return Some(Need::never().or_fault("resume_on", "required", "say when work resumes"));
    };
    // Wherever the case is, its day is no earlier than yesterday in UTC.
    if day < today.plus_days(-1) {
        return Some(Need::never().or_fault("resume_on", "past", "must not lie in the past"));
    }
    let long = "a rest of more than 30 days is the supervisor's to decide";
    let held = supervises(&after.id, actor);
    match day > today.plus_days(LONG_HOLD_DAYS) {
        // The day alone is what a push takes back.
        true if before.status == after.status => Some(held.or_fault("resume_on", "too_far", long)),
        true => Some(held.or_forbidden(long)),
        false => None,
    }
}

fn blank(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim().is_empty())
}

fn reason(case: &Model, _now: Instant) -> Vec<Fault> {
    if blank(case.status_reason.as_deref()) {
        vec![Fault::field("status_reason", "required", "say why")]
    } else {
        Vec::new()
    }
}
