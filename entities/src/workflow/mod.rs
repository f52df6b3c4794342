//! What is pure in the workflow engine, and the planning that happens inside the write door.
//!
//! A rule (`rules/`, one file each) looks at the facts of a case (`facts`) and says what it counts
//! from; the planner (`planner`) makes of that the instants at which somebody is to be told, in
//! wall time (`zone`, `calendar`). `timers` keeps the stored promises equal to the plan in the
//! transaction that changed the facts. `explain` and `simulate` ask the same planner. What fires,
//! addresses, words and sends is the `worker` crate.

pub mod calendar;
pub mod cron;
pub mod dead;
pub mod explain;
pub mod facts;
pub mod gauges;
pub mod load;
pub mod outbox;
pub mod planner;
pub mod prompt;
pub mod prune;
pub mod refused;
pub mod rule;
pub mod rules;
pub mod simulate;
pub mod snooze;
pub mod timers;
pub mod zone;
