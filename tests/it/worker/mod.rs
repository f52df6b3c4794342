//! What the worker tells whom and when, read back from a mail server that nobody here wrote.

mod all_rules;
mod by_time_alone;
mod changes;
mod five_rules;
mod housekeeping;
mod killed;
mod links;
mod mail_in_trouble;
mod many_workers;
pub mod office;
mod outages;
mod refused_addresses;
mod scripted;
mod snoozed;
mod who_is_told;
