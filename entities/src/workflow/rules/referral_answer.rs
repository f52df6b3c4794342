//! Referral without an answer: the partner is told when it is requested and reminded after three
//! and seven working days; then the caseworker, then the supervisor. Silent as soon as it is
//! answered, whatever the answer. An urgent one goes the same way in hours and days.

use crate::workflow::facts::CaseFacts;
use crate::workflow::rule::Audience::{Caseworker, Partner, Supervisor};
use crate::workflow::rule::Offset::{Hours, WorkingDays};
use crate::workflow::rule::{Anchor, Because, CatchUp, Occurrence, Rule, Step};

const ROUTINE: &[Step] = &[
    Step::new("told", Hours(0), &[Partner], "referral_requested"),
    Step::new("nudge", WorkingDays(3), &[Partner], "referral_reminder"),
    Step::new("second", WorkingDays(7), &[Partner], "referral_reminder"),
    Step::new("caseworker", WorkingDays(8), &[Caseworker], "referral_silent"),
    Step::new("supervisor", WorkingDays(10), &[Supervisor], "referral_silent").unless_done(),
];

const URGENT: &[Step] = &[
    Step::new("told", Hours(0), &[Partner], "referral_requested"),
    Step::new("nudge", Hours(4), &[Partner], "referral_reminder"),
    Step::new("second", WorkingDays(1), &[Partner], "referral_reminder"),
    Step::new("caseworker", WorkingDays(2), &[Caseworker], "referral_silent"),
    Step::new("supervisor", WorkingDays(3), &[Supervisor], "referral_silent").unless_done(),
];

/// Where no mail can reach the partner, the caseworker hears of it at the request and not after two
/// reminders that nobody got.
const UNREACHABLE: &[Step] = &[
    Step::new("unreachable", Hours(0), &[Caseworker], "referral_unreachable"),
    Step::new("caseworker", WorkingDays(8), &[Caseworker], "referral_silent"),
    Step::new("supervisor", WorkingDays(10), &[Supervisor], "referral_silent").unless_done(),
];

const UNREACHABLE_URGENT: &[Step] = &[
    Step::new("unreachable", Hours(0), &[Caseworker], "referral_unreachable"),
    Step::new("caseworker", WorkingDays(2), &[Caseworker], "referral_silent"),
    Step::new("supervisor", WorkingDays(3), &[Supervisor], "referral_silent").unless_done(),
];

/// The rule.
pub static RULE: Rule = Rule {
    id: "referral.answer",
    version: 3,
    subject_kind: "referral",
    at: None,
    catch_up: CatchUp::Latest,
    occurrences,
};

fn occurrences(facts: &CaseFacts) -> Vec<Occurrence> {
    facts
        .referrals
        .iter()
        .filter(|referral| referral.status != "draft")
        .map(|referral| {
            let mut stops = Vec::new();
            if referral.status != "requested" {
                stops.push(Because::condition(
                    "the referral waits for an answer",
                    format!("referrals.status = {}", referral.status),
                ));
            }
            if !referral.agreed {
                stops.push(Because::condition(
                    "the client agrees to its being shared",
                    "referrals.client_consent has ended or was withdrawn",
                ));
            }
            if !facts.is_open() {
                stops.push(Because::condition("the case is open", format!("cases.status = {}", facts.status)));
            }
            Occurrence {
                subject_id: referral.id.clone(),
                replaces: Vec::new(),
                anchor: Anchor::Moment {
                    id: format!("requested-{}", referral.requested_at.0),
                    at: referral.requested_at,
                },
                steps: match (referral.reachable, referral.priority.as_str()) {
                    (true, "urgent") => URGENT,
                    (true, _) => ROUTINE,
                    (false, "urgent") => UNREACHABLE_URGENT,
                    (false, _) => UNREACHABLE,
                },
                left_out: Vec::new(),
                stops,
            }
        })
        .collect()
}
