//! Follow-up after a no-show: one working day after it; from the second in a row on, the
//! supervisor is told as well. Silent once a later contact was held.

use crate::workflow::facts::CaseFacts;
use crate::workflow::rule::Audience::{Caseworker, Supervisor};
use crate::workflow::rule::Offset::WorkingDays;
use crate::workflow::rule::{Anchor, Because, CatchUp, Occurrence, Rule, Step};

const FIRST: &[Step] = &[Step::new("next_day", WorkingDays(1), &[Caseworker], "no_show")];
const REPEATED: &[Step] = &[Step::new("next_day", WorkingDays(1), &[Caseworker, Supervisor], "no_show")];

/// The rule.
pub static RULE: Rule = Rule {
    id: "contact.no_show",
    version: 1,
    subject_kind: "contact",
    at: None,
    catch_up: CatchUp::Latest,
    occurrences,
};

fn occurrences(facts: &CaseFacts) -> Vec<Occurrence> {
    facts
        .contacts
        .iter()
        .filter(|contact| contact.status == "no_show")
        .map(|contact| {
            let mut stops = Vec::new();
            if !facts.is_open() {
                stops.push(Because::condition("the case is open", format!("cases.status = {}", facts.status)));
            }
            if facts.contacts.iter().any(|other| other.status == "completed" && other.at >= contact.at) {
                stops.push(Because::condition("no later contact was held", "contacts.status = completed"));
            }
            if facts.contacts.iter().any(|other| other.status == "no_show" && other.at > contact.at) {
                stops.push(Because::condition("it is the last no-show", "contacts.status = no_show"));
            }
            Occurrence {
                subject_id: contact.id.clone(),
                replaces: Vec::new(),
                anchor: Anchor::Moment { id: "no_show".into(), at: contact.at },
                steps: if contact.no_show_seq >= 2 { REPEATED } else { FIRST },
                left_out: Vec::new(),
                stops,
            }
        })
        .collect()
}
