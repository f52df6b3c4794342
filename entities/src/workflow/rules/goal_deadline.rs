//! Goal deadline: two weeks, one week and one day before, on the day, and three working days
//! after to the supervisor. Silent when the goal is closed, moved or paused with its case.

use crate::casework::goal::REMINDED;
use crate::workflow::facts::{CaseFacts, GoalFact};
use crate::workflow::rule::Audience::{Caseworker, Supervisor};
use crate::workflow::rule::Offset::{Days, WorkingDays};
use crate::workflow::rule::{Anchor, Because, CatchUp, Occurrence, Rule, Step};

const STEPS: &[Step] = &[
    Step::new("d14", Days(-14), &[Caseworker], "goal_deadline"),
    Step::new("d7", Days(-7), &[Caseworker], "goal_deadline"),
    Step::new("d1", Days(-1), &[Caseworker], "goal_deadline"),
    Step::new("d0", Days(0), &[Caseworker], "goal_deadline"),
    Step::new("late", WorkingDays(3), &[Supervisor], "goal_overdue"),
];

/// The steps by what a goal's `reminder_offsets_days` calls them: days before the due day, and -3 for
/// the working days after it.
pub const OFFSETS: &[(i64, &str)] = &[(14, "d14"), (7, "d7"), (1, "d1"), (0, "d0"), (-3, "late")];

/// The steps that a goal's own list does not name.
fn left_out(wanted: &[i64]) -> Vec<(&'static str, Because)> {
    let unwanted = OFFSETS.iter().filter(|(offset, _)| !wanted.contains(offset));
    unwanted
        .map(|(offset, step)| {
            (*step, Because::condition("the goal asks for it", format!("goals.reminder_offsets_days lacks {offset}")))
        })
        .collect()
}

/// The rule.
pub static RULE: Rule =
    Rule { id: "goal.deadline", version: 3, subject_kind: "goal", at: None, catch_up: CatchUp::Latest, occurrences };

/// The versions that led to this one, the newest first. What one of them was reminded of, the next is not.
fn earlier_versions(facts: &CaseFacts, goal: &GoalFact) -> Vec<String> {
    let replaced = |id: &String| facts.goals.iter().find(|goal| goal.id == *id)?.version_of.clone();
    // A circle has no first.
    std::iter::successors(goal.version_of.clone(), replaced).take(facts.goals.len()).collect()
}

fn occurrences(facts: &CaseFacts) -> Vec<Occurrence> {
    facts
        .goals
        .iter()
        .filter_map(|goal| {
            let due = goal.due_on?;
            let mut stops = Vec::new();
            if !REMINDED.contains(&goal.lifecycle.as_str()) {
                stops.push(Because::condition(
                    "only agreed and active goals are reminded",
                    format!("goals.lifecycle = {}", goal.lifecycle),
                ));
            }
            if !facts.is_open() || facts.status == "on_hold" {
                stops.push(Because::condition(
                    "goals are reminded while the case is open and not on hold",
                    format!("cases.status = {}", facts.status),
                ));
            }
            Some(Occurrence {
                subject_id: goal.id.clone(),
                replaces: earlier_versions(facts, goal),
                anchor: Anchor::Day(due),
                steps: STEPS,
                left_out: goal.offsets.as_deref().map(left_out).unwrap_or_default(),
                stops,
            })
        })
        .collect()
}
