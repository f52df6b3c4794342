//! The workflow engine at work: what comes due is told, once, to whoever is to be told.
//!
//! What is due and why is decided in `entities::workflow`, in the transaction that changes the
//! facts; this crate claims (`fire`, `digest`), addresses, words and sends (`mail`). Each step is
//! a function that does what is due at an instant and says how much it was; the loop around them
//! (`run`) is short, and tests call the steps. Any number of workers may run on one database, in
//! any order: there is no leader.

mod digest;
mod dirty;
mod fire;
pub mod mail;
mod purge;
mod run;

pub use mail::{BadSettings, Mailer, Posted, Route};
pub use purge::purge;
pub use run::{Done, drain_once, run};
