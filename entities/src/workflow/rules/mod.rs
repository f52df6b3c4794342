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

/// The rule of that name.
pub fn by_id(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}
