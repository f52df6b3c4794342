//! Follow-up after a contact: the day before the next one was promised, and on the day. Silent as
//! soon as a later contact is planned or held.

use crate::workflow::facts::{CaseFacts, ContactFact};
use crate::workflow::rule::Audience::Caseworker;
use crate::workflow::rule::Offset::Days;
use crate::workflow::rule::{Anchor, Because, CatchUp, Occurrence, Rule, Step};

const STEPS: &[Step] =
    &[Step::new("d1", Days(-1), &[Caseworker], "follow_up"), Step::new("d0", Days(0), &[Caseworker], "follow_up")];

/// The rule.
pub static RULE: Rule = Rule {
    id: "contact.follow_up",
    version: 2,
    subject_kind: "contact",
    at: None,
    catch_up: CatchUp::Latest,
    occurrences,
};

fn occurrences(facts: &CaseFacts) -> Vec<Occurrence> {
    facts
        .contacts
        .iter()
        .filter_map(|contact| {
            let promised = contact.next_contact_on?;
            let mut stops = Vec::new();
            if contact.status != "completed" {
                stops.push(Because::condition(
                    "a next contact is promised by a contact that was held",
                    format!("contacts.status = {}", contact.status),
                ));
            }
            if !facts.is_open() {
                stops.push(Because::condition("the case is open", format!("cases.status = {}", facts.status)));
            }
            if let Some(other) = facts.contacts.iter().find(|other| follows(other, contact)) {
                stops.push(Because::condition(
                    "no later contact is planned or held",
                    format!("contacts.status = {}", other.status),
                ));
            }
            Some(Occurrence {
                subject_id: contact.id.clone(),
                replaces: Vec::new(),
                anchor: Anchor::Day(promised),
                steps: STEPS,
                left_out: Vec::new(),
                stops,
            })
        })
        .collect()
}

fn follows(other: &ContactFact, contact: &ContactFact) -> bool {
    // Of several at the same instant one speaks, and rather one that promises.
    let place = |contact: &ContactFact| (contact.at, contact.next_contact_on, contact.id.clone());
    place(other) > place(contact)
        && ["planned", "confirmed", "in_progress", "completed"].contains(&other.status.as_str())
}
