//! What the worker tells whom and when, read back from a mail server that nobody here wrote.

mod five_rules;
pub mod office;
