//! A goal: what the client wants to reach, in the client's words.
//!
//! A draft may be incomplete and still syncs. It becomes `agreed` only when it is SMART and the
//! client has agreed to it; from then on its scale texts and its baseline stand, and a change of
//! mind is a new version.

use sea_orm::entity::prelude::*;

use crate::access::{Actor, Role, Stand};
use crate::clock::{Day, Instant};
use crate::doc::Doc;
use crate::error::Fault;
use crate::registry::{Field, Fill, Holds, Move, Need, Synced, Touch};
use crate::workflow::rules::goal_deadline::OFFSETS;

use super::has_part;

/// Columns of a goal.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "goals")]
pub struct Model {
    /// Row id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Tenant.
    pub agency_id: String,
    /// Case it belongs to.
    pub case_id: String,
    /// Whose goal it is; none for a goal of the family or group.
    pub person_id: Option<String>,
    /// `individual`, `family` or `group`.
    pub level: String,
    /// The goal that this one replaces.
    pub version_of: Option<String>,
    /// What is to be reached, 15 to 500 characters once agreed.
    pub statement: Option<String>,
    /// How anyone can see that it is reached.
    pub measure: Option<String>,
    /// Unit of the baseline and the target.
    pub unit: Option<String>,
    /// Where the client stands today.
    pub baseline_value: Option<f64>,
    /// Where the client wants to be.
    pub target_value: Option<f64>,
    /// How often, for a recurring goal.
    pub cadence: Option<String>,
    /// How many times in each period.
    pub target_count: Option<i64>,
    /// Why it matters, in the client's words.
    pub why_it_matters: Option<String>,
    /// The client's confidence, 0 to 10.
    pub confidence: Option<i64>,
    /// Part of life it belongs to.
    pub life_area: Option<String>,
    /// Kind of need it answers.
    pub need_category: Option<String>,
    /// What in the assessment it answers.
    pub assessment_finding: Option<String>,
    /// Strengths and resources it builds on: a list of ids or texts.
    pub strengths: Option<Doc>,
    /// Importance to the client, 0 to 4.
    pub weight_importance: Option<i64>,
    /// Difficulty, 0 to 3.
    pub weight_difficulty: Option<i64>,
    /// Texts of the five attainment levels, keys `-2` to `2` (or `+1` and `+2`).
    pub gas_text: Option<Doc>,
    /// Attainment level at the start: -2, -1 or 0.
    pub gas_baseline: Option<i64>,
    /// First day.
    pub starts_on: Option<Day>,
    /// Day by which it is to be reached, in the case's zone.
    pub due_on: Option<Day>,
    /// Times the due date was moved after agreement.
    pub due_moves: i64,
    /// Days before the due date on which to remind, a list of 14, 7, 1, 0 (the day itself) and -3
    /// (the third working day after it, to the supervisor); all of them when absent or empty.
    pub reminder_offsets_days: Option<Doc>,
    /// State: see `MOVES`.
    pub lifecycle: String,
    /// `in_progress`, `achieved` or `not_achieved`.
    pub achievement: String,
    /// Why it ended, in the client's words.
    pub outcome_reason: Option<String>,
    /// Who agreed, when and how, in the client's words.
    pub client_agreement: Option<Doc>,
    /// When the scale texts and the baseline, by level and by value in its unit, were locked.
    pub locked_at: Option<Instant>,
    /// When the goal was completed.
    pub completed_at: Option<Instant>,
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

/// States in which a goal still asks something of somebody.
pub const OPEN: &[&str] = &["draft", "proposed", "agreed", "active", "on_hold"];
/// States in which the client is reminded of the due date: only agreed and active goals are.
pub const REMINDED: &[&str] = &["agreed", "active"];

const LIFECYCLE: &[&str] =
    &["draft", "proposed", "agreed", "active", "on_hold", "completed", "superseded", "withdrawn"];
const LIFE_AREAS: &[&str] = &[
    "mental_health",
    "physical_health",
    "family",
    "relationships",
    "housing",
    "employment",
    "education",
    "finances",
    "legal",
    "community",
    "other",
];

impl Synced for Entity {
    const NAME: &'static str = "goals";
    const RANK: u8 = 30;
    const WRITERS: &'static [Role] = &[Role::Caseworker];
    const DELETES: bool = true;
    const MOVES: &'static [Move<Model>] = &[
        Move { column: "lifecycle", ..Move::by_worker("propose", &["draft"], "proposed") },
        Move {
            column: "lifecycle",
            takes: &["client_agreement"],
            guard: |goal, _| smart(goal),
            effect: |goal, now, _| goal.locked_at = Some(now),
            ..Move::by_worker("agree", &["draft", "proposed"], "agreed")
        },
        Move { column: "lifecycle", ..Move::by_worker("start", &["agreed", "on_hold"], "active") },
        Move { column: "lifecycle", ..Move::by_worker("hold", &["agreed", "active"], "on_hold") },
        Move {
            column: "lifecycle",
            takes: &["achievement", "outcome_reason"],
            guard: |goal, _| match goal.achievement.as_str() {
                "achieved" | "not_achieved" => Vec::new(),
                _ => vec![Fault::field("achievement", "required", "say whether it was achieved or not_achieved")],
            },
            effect: |goal, now, _| goal.completed_at = Some(now),
            ..Move::by_worker("complete", &["agreed", "active", "on_hold"], "completed")
        },
        Move { column: "lifecycle", ..Move::by_worker("supersede", &["agreed", "active", "on_hold"], "superseded") },
        Move {
            column: "lifecycle",
            effect: |goal, _, _| {
                goal.achievement = "in_progress".into();
                goal.outcome_reason = None;
                goal.completed_at = None;
            },
            ..Move::by_worker("reopen", &["completed"], "active")
        },
        Move {
            column: "lifecycle",
            takes: &["outcome_reason"],
            guard: |goal, _| match goal.outcome_reason.as_deref() {
                Some(reason) if !reason.trim().is_empty() => Vec::new(),
                _ => vec![Fault::field("outcome_reason", "required", "say why, in the client's words")],
            },
            ..Move::by_worker("withdraw", &["draft", "proposed", "agreed", "active", "on_hold"], "withdrawn")
        },
    ];

    fn field(column: Column) -> Field {
        match column {
            Column::Id => Field::id().once(),
            Column::AgencyId => Field::id().hidden(),
            Column::CaseId => Field::refer("cases").once().required(),
            Column::PersonId => Field::refer("persons"),
            Column::Level => Field::code(&["individual", "family", "group"]).or("individual"),
            Column::VersionOf => Field::refer("goals").once(),
            Column::Statement => Field::text(500),
            Column::Measure => Field::text(500),
            Column::Unit => Field::text(40),
            Column::BaselineValue | Column::TargetValue => Field::real(-1e12, 1e12),
            Column::Cadence => Field::text(60),
            Column::TargetCount => Field::int(0, 10_000),
            Column::WhyItMatters => Field::text(1000),
            Column::Confidence => Field::int(0, 10),
            Column::LifeArea => Field::code(LIFE_AREAS),
            Column::NeedCategory => Field::text(60),
            Column::AssessmentFinding => Field::text(500),
            Column::Strengths => Field::items(STRENGTHS),
            Column::WeightImportance => Field::int(0, 4),
            Column::WeightDifficulty => Field::int(0, 3),
            Column::GasText => Field::json(Holds::Object(SCALE)),
            Column::GasBaseline => Field::int(-2, 0),
            Column::StartsOn | Column::DueOn => Field::date(),
            Column::DueMoves => Field::int(0, 1000).server().or("0"),
            Column::ReminderOffsetsDays => Field::json(Holds::List(REMINDERS)),
            Column::Lifecycle => Field::code(LIFECYCLE).state().or("draft"),
            Column::Achievement => Field::code(&["in_progress", "achieved", "not_achieved"]).or("in_progress"),
            Column::OutcomeReason => Field::text(1000),
            Column::ClientAgreement => Field::json(Holds::Object(AGREEMENT)),
            Column::LockedAt | Column::CompletedAt => Field::instant().server(),
            Column::Seq | Column::EditSeq => Field::int(0, i64::MAX).hidden(),
            Column::CreatedAt | Column::UpdatedAt => Field::instant().server(),
            Column::CreatedBy | Column::UpdatedBy => Field::id().server(),
            Column::DeletedAt => Field::instant().hidden(),
        }
    }

    fn stands(row: &Model) -> Vec<Stand> {
        vec![Stand::Case(row.case_id.clone())]
    }

    fn check(before: Option<&Model>, after: &Model) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let (Some(from), Some(due)) = (after.starts_on, after.due_on)
            && due < from
        {
            faults.push(Fault::field("due_on", "before_start", "must not lie before starts_on"));
        }
        if before.is_none_or(|before| before.reminder_offsets_days != after.reminder_offsets_days)
            && after.reminder_offsets_days.as_ref().is_some_and(|list| !are_offsets(list))
        {
            let detail = "must be a list of the days 14, 7, 1, 0 and -3";
            faults.push(Fault::field("reminder_offsets_days", "wrong_value", detail));
        }
        if let Some(before) = before {
            faults.extend(broken(before, after));
        }
        if let Some(before) = before
            && before.locked_at.is_some()
        {
            for (name, moved) in [
                ("gas_text", before.gas_text != after.gas_text),
                ("gas_baseline", before.gas_baseline != after.gas_baseline),
                ("unit", before.unit != after.unit),
                ("baseline_value", before.baseline_value != after.baseline_value),
            ] {
                if moved {
                    faults.push(Fault::field(name, "locked", "stands once the goal is agreed; make a new version"));
                }
            }
        }
        faults
    }

    /// A goal that has ended stands as it is; only a move changes it.
    fn may_write(before: Option<&Model>, after: &Model, _actor: &Actor) -> bool {
        before.is_none_or(|before| OPEN.contains(&before.lifecycle.as_str()) || before.lifecycle != after.lifecycle)
    }

    /// Counts how often the due date was moved once the goal was agreed.
    fn fills(before: Option<&Model>, after: &Model, _actor: &Actor) -> Vec<Fill> {
        match before {
            Some(before) if before.locked_at.is_some() && before.due_on != after.due_on => vec![Fill {
                column: "due_moves",
                text: "select 1 + due_moves from goals where id = $1",
                values: vec![after.id.as_str().into()],
            }],
            _ => Vec::new(),
        }
    }

    /// A goal is of a person of the case. It is completed with a final rating, or with the reason why there is none; a
    /// rating of 0 or more is what achieved means.
    fn needs(before: Option<&Model>, after: &Model, _now: Instant, _actor: &Actor) -> Vec<Need> {
        let mut needs = Vec::new();
        needs.extend(has_part(&after.case_id, before.map(|before| &before.person_id), &after.person_id));
        if after.lifecycle != "completed" || before.is_some_and(|before| before.lifecycle == "completed") {
            return needs;
        }
        let id = || after.id.as_str().into();
        if after.outcome_reason.as_deref().is_none_or(|text| text.trim().is_empty()) {
            needs.push(Need::some(RATED, vec![id()]).or_fault(
                "outcome_reason",
                "no_final_rating",
                "rate the goal first, or say why there is no final rating",
            ));
        }
        let (text, detail) = match after.achievement.as_str() {
            "achieved" => (LAST_BELOW, "the last rating lies below 0, which is not achieved"),
            _ => (LAST_REACHED, "the last rating is 0 or more, which is achieved"),
        };
        needs.push(Need::none(text, vec![id()]).or_fault("achievement", "contradicts_rating", detail));
        needs
    }

    /// A draft may be thrown away; anything the client has seen is withdrawn instead.
    fn may_delete(row: &Model, _actor: &Actor) -> bool {
        row.lifecycle == "draft"
    }

    fn derive(row: &mut Model, _now: Instant, _actor: &Actor) {
        if row.lifecycle != "completed" && row.completed_at.is_some() {
            row.completed_at = None;
        }
    }

    fn touches(_before: Option<&Model>, after: &Model) -> Vec<Touch> {
        vec![Touch::Plan(after.case_id.clone())]
    }
}

const RATED: &str = "select 1 from goal_ratings where goal_id = $1 and deleted_at is null";
/// The last rating with a level that no later one corrects, by the day it stands for.
const LAST_BELOW: &str = "select 1 from goal_ratings r where r.goal_id = $1 and r.deleted_at is null and r.level < 0 \
    and not exists (select 1 from goal_ratings n where n.goal_id = $1 and n.deleted_at is null \
    and (n.replaces = r.id or (n.level is not null \
    and (n.rated_on > r.rated_on or (n.rated_on = r.rated_on and n.id > r.id)))))";
const LAST_REACHED: &str = "select 1 from goal_ratings r where r.goal_id = $1 and r.deleted_at is null and r.level >= 0 \
    and not exists (select 1 from goal_ratings n where n.goal_id = $1 and n.deleted_at is null \
    and (n.replaces = r.id or (n.level is not null \
    and (n.rated_on > r.rated_on or (n.rated_on = r.rated_on and n.id > r.id)))))";

/// The days of a goal's own list of reminders; `None` where it has none and all are sent.
pub fn offsets(list: &Doc) -> Option<Vec<i64>> {
    let days: Vec<i64> = list.0.as_array()?.iter().filter_map(serde_json::Value::as_i64).collect();
    if days.is_empty() { None } else { Some(days) }
}

fn are_offsets(list: &Doc) -> bool {
    let known = |day: &serde_json::Value| OFFSETS.iter().any(|(offset, _)| day.as_i64() == Some(*offset));
    list.0.as_array().is_some_and(|days| days.iter().all(known))
}

const STRENGTHS: &str =
    r#"{"description": "What the client can build on, a few words each", "examples": [["knows the stallholders"]]}"#;
const SCALE: &str = r#"{
    "description": "What each level of the scale looks like: a text under -2, -1, 0, 1 and 2",
    "examples": [{"-2": "stays in", "-1": "to the door", "0": "one walk", "1": "two walks", "2": "a walk most days"}]
}"#;
const REMINDERS: &str = r#"{"description": "Days before due_on on which to remind", "items": {"type": "integer", "enum": [14, 7, 1, 0, -3]}}"#;
const AGREEMENT: &str = r#"{
    "description": "Who agreed, when and how (signed or spoken); or why it could not be had",
    "properties": {
        "by": {"description": "client, or who speaks for the client"}, "on": {"description": "A date"},
        "how": {"description": "signed or spoken"}, "not_obtained": {"description": "The reason"}
    },
    "examples": [{"by": "client", "on": "2027-01-04", "how": "spoken"}]
}"#;

/// States in which a goal is what the client has agreed to.
const AGREED: &[&str] = &["agreed", "active", "on_hold"];

/// What of an agreed goal an edit would take away, at the columns that it changes: the letters and
/// the agreement stay whole. The due day may move, also beyond the year, but not go.
fn broken(before: &Model, after: &Model) -> Vec<Fault> {
    let stays = |goal: &Model| AGREED.contains(&goal.lifecycle.as_str());
    if !stays(before) || !stays(after) {
        return Vec::new();
    }
    let had: Vec<&str> = smart(before).into_iter().map(|fault| fault.code).collect();
    let mut faults = Vec::new();
    for (name, gone) in [
        ("starts_on", before.starts_on.is_some() && after.starts_on.is_none()),
        ("due_on", before.due_on.is_some() && after.due_on.is_none()),
    ] {
        if gone {
            faults.push(Fault::field(name, "smart_t", "T, time-bound: an agreed goal keeps its first and its due day"));
        }
    }
    for fault in smart(after).into_iter().filter(|fault| !had.contains(&fault.code) && fault.code != "smart_t") {
        let changed: Vec<(&str, bool)> = match fault.code {
            "smart_s" => vec![("statement", before.statement != after.statement)],
            "smart_m" => vec![
                ("measure", before.measure != after.measure),
                ("unit", before.unit != after.unit),
                ("baseline_value", before.baseline_value != after.baseline_value),
                ("target_value", before.target_value != after.target_value),
            ],
            "smart_a" => vec![
                ("confidence", before.confidence != after.confidence),
                ("strengths", before.strengths != after.strengths),
            ],
            "smart_r" => vec![("why_it_matters", before.why_it_matters != after.why_it_matters)],
            _ => vec![("client_agreement", before.client_agreement != after.client_agreement)],
        };
        let named = changed.iter().filter(|(_, changed)| *changed);
        faults.extend(named.map(|(name, _)| Fault::field(name, fault.code, fault.detail.clone())));
    }
    faults
}

/// The parts of SMART that are missing, with the letter in each sentence (a draft may lack any).
pub fn smart(goal: &Model) -> Vec<Fault> {
    let mut faults = Vec::new();
    let length = goal.statement.as_deref().map_or(0, |text| text.trim().chars().count());
    if length < 15 {
        faults.push(Fault::field("statement", "smart_s", "S, specific: at least 15 characters"));
    }
    let scale = goal.gas_text.as_ref().is_some_and(|texts| {
        // `+1` is how the scale is written on paper, `1` how a number is.
        [["-2", "-2"], ["-1", "-1"], ["0", "0"], ["1", "+1"], ["2", "+2"]]
            .iter()
            .all(|names| names.iter().any(|name| texts.0[*name].as_str().is_some_and(|text| !text.trim().is_empty())))
    });
    let measured = goal.unit.is_some() && goal.baseline_value.is_some() && goal.target_value.is_some();
    if goal.measure.as_deref().is_none_or(|text| text.trim().is_empty()) || !(scale || measured) {
        faults.push(Fault::field(
            "measure",
            "smart_m",
            "M, measurable: a measure, with all five scale texts or with unit, baseline_value and target_value",
        ));
    }
    let strengths = goal.strengths.as_ref().and_then(|list| list.0.as_array());
    if goal.confidence.is_none() || !strengths.is_some_and(|list| list.iter().any(says_something)) {
        faults.push(Fault::field(
            "confidence",
            "smart_a",
            "A, achievable: the client's confidence and at least one strength",
        ));
    }
    if goal.why_it_matters.as_deref().is_none_or(|text| text.trim().is_empty()) {
        faults.push(Fault::field("why_it_matters", "smart_r", "R, relevant: why it matters, in the client's words"));
    }
    match (goal.starts_on, goal.due_on) {
        (Some(from), Some(due)) if due > from && due <= from.plus_days(365) => (),
        _ => faults.push(Fault::field("due_on", "smart_t", "T, time-bound: due_on after starts_on, within 365 days")),
    }
    if !agreed(goal) {
        faults.push(Fault::field(
            "client_agreement",
            "required",
            "the client's agreement: by, on (a date) and how (signed or spoken); or not_obtained, with the reason",
        ));
    }
    faults
}

/// Whether there is a word in it.
fn says_something(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => !text.trim().is_empty(),
        serde_json::Value::Array(items) => items.iter().any(says_something),
        serde_json::Value::Object(members) => members.values().any(says_something),
        _ => false,
    }
}

/// Nothing is agreed by the worker alone: who agreed, when and how, or why that could not be had.
fn agreed(goal: &Model) -> bool {
    let Some(record) = goal.client_agreement.as_ref().map(|doc| &doc.0) else { return false };
    let text = |part: &str| record[part].as_str().filter(|text| !text.trim().is_empty());
    let given = text("by").is_some()
        && text("on").is_some_and(|on| on.parse::<Day>().is_ok())
        && matches!(text("how"), Some("signed" | "spoken"));
    given || text("not_obtained").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Model {
        Model {
            statement: Some("Walk to the market twice a week".into()),
            measure: Some("walks a week".into()),
            unit: Some("walks".into()),
            baseline_value: Some(0.0),
            target_value: Some(2.0),
            strengths: Some(Doc(json!(["knows the stallholders"]))),
            confidence: Some(7),
            why_it_matters: Some("I want to see people again".into()),
            starts_on: Day::ymd(2027, 1, 4),
            due_on: Day::ymd(2027, 3, 14),
            client_agreement: Some(Doc(json!({"by": "client", "on": "2027-01-04", "how": "spoken"}))),
            ..Model::default()
        }
    }

    #[test]
    fn a_strength_has_a_word_in_it() {
        for (list, counts) in [
            (json!([]), false),
            (json!([null, "", " ", [], {}, 0]), false),
            (json!(["", "knows the stallholders"]), true),
            (json!([{"text": "knows the stallholders"}]), true),
        ] {
            let codes: Vec<_> = smart(&Model { strengths: Some(Doc(list.clone())), ..whole() }).into_iter().collect();
            assert_eq!(codes.is_empty(), counts, "{list}");
        }
    }

    #[test]
    fn a_goal_with_every_part_is_smart() {
        assert_eq!(smart(&whole()), Vec::new());
    }

    #[test]
    fn an_empty_goal_lacks_every_letter_and_the_agreement() {
        let codes: Vec<_> = smart(&Model::default()).into_iter().map(|fault| fault.code).collect();
        assert_eq!(codes, ["smart_s", "smart_m", "smart_a", "smart_r", "smart_t", "required"]);
    }

    #[test]
    fn five_scale_texts_do_instead_of_unit_baseline_and_target() {
        let texts = json!({"-2": "none", "-1": "one a month", "0": "one a week", "1": "two", "2": "three"});
        let goal = Model { unit: None, gas_text: Some(Doc(texts)), ..whole() };
        assert_eq!(smart(&goal), Vec::new());
        let signed = json!({"-2": "none", "-1": "one a month", "0": "one a week", "+1": "two", "+2": "three"});
        assert_eq!(smart(&Model { gas_text: Some(Doc(signed)), ..goal.clone() }), Vec::new());
        let goal = Model { gas_text: Some(Doc(json!({"0": "one a week"}))), ..goal };
        assert_eq!(smart(&goal).first().map(|fault| fault.code), Some("smart_m"));
    }

    #[test]
    fn a_declined_agreement_is_no_agreement_and_a_reason_stands_in_for_it() {
        let with = |record| Model { client_agreement: Some(Doc(record)), ..whole() };
        assert!(!smart(&with(json!({"by": "client", "on": "2027-01-04", "how": "declined"}))).is_empty());
        assert!(!smart(&with(json!({}))).is_empty());
        assert!(smart(&with(json!({"not_obtained": "in_hospital"}))).is_empty());
    }

    #[test]
    fn a_due_date_lies_after_the_start_and_within_a_year() {
        for due in [Day::ymd(2027, 1, 4), Day::ymd(2028, 1, 5), None] {
            assert_eq!(smart(&Model { due_on: due, ..whole() }).first().map(|fault| fault.code), Some("smart_t"));
        }
    }
}
