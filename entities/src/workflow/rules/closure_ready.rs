//! Ready to close: every goal of an active case is settled and at least one was completed. The
//! caseworker is told at once and again, with the supervisor, after two weeks. Withdrawn when a
//! goal reopens or a new one is set; ready again is a new question.

use crate::workflow::facts::{CaseFacts, GoalFact};
use crate::workflow::rule::Audience::{Caseworker, Supervisor};
use crate::workflow::rule::Offset::Days;
use crate::workflow::rule::{Anchor, Because, CatchUp, Occurrence, Rule, Step};

const STEPS: &[Step] = &[
    Step::new("ask", Days(0), &[Caseworker], "closure_ready"),
    Step::new("again", Days(14), &[Caseworker, Supervisor], "closure_ready").unless_done(),
];

/// The rule.
pub static RULE: Rule = Rule {
    id: "case.closure_ready",
    version: 1,
    subject_kind: "case",
    at: None,
    catch_up: CatchUp::Latest,
    occurrences,
};

/// What stands against proposing to close the case; nothing when it is ready.
pub fn stops(facts: &CaseFacts) -> Vec<Because> {
    let mut stops = Vec::new();
    if facts.status != "active" {
        stops.push(Because::condition("the case is active", format!("cases.status = {}", facts.status)));
    }
    let settled = ["completed", "withdrawn", "superseded"];
    match facts.goals.iter().find(|goal| !settled.contains(&goal.lifecycle.as_str())) {
        Some(open) => {
            stops.push(Because::condition("every goal is settled", format!("goals.lifecycle = {}", open.lifecycle)))
        }
        None if !facts.goals.iter().any(|goal| in_this_episode(facts, goal)) => {
            stops.push(Because::condition("at least one goal was completed", "goals.lifecycle = completed: none"));
        }
        None => (),
    }
    stops
}

/// What was completed before the case was closed is no reason to close it again.
fn in_this_episode(facts: &CaseFacts, goal: &GoalFact) -> bool {
    let since = |at| goal.completed_at.is_some_and(|completed| completed > at);
    goal.lifecycle == "completed" && facts.reopened_at.is_none_or(since)
}

fn occurrences(facts: &CaseFacts) -> Vec<Occurrence> {
    vec![Occurrence {
        subject_id: facts.id.clone(),
        replaces: Vec::new(),
        anchor: Anchor::Episode,
        steps: STEPS,
        left_out: Vec::new(),
        stops: stops(facts),
    }]
}
