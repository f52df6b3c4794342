//! Speed beside its references, in one run: `tests/with-postgres --durable cargo bench --bench speed`.
//!
//! Absolute rates on a shared machine swing by a factor of two, so every rate is taken in rounds that alternate with its
//! reference and is stated as a ratio. Prints the table of docs/performance.md and fails when a floor is missed. Names
//! given as arguments run only those measures.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints, and stops when it cannot go on"
)]
#![expect(unreachable_pub, reason = "the rooms of a benchmark are its own")]

mod held;
mod hello;
mod idle;
mod live;
mod nochange;
mod office;
mod push;
mod table;
mod tick;
mod usage;
mod wire;

#[expect(dead_code, unused_imports, unused_macros, reason = "the tests use the rest of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;

use support::{Kind, run};
use table::Table;

/// A line for each request would be measured too.
const QUIET: &[(&str, &str)] = &[("FIELDSTONE_LOG", "warn")];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if args.first().is_some_and(|arg| arg == "hello") {
        hello::serve(&args.split_off(1));
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let mut table = Table::default();
    if wanted("idle") {
        idle::measure(&mut table);
    }
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if wanted("nochange") {
            run(kind, async |town| nochange::measure(kind, town, &mut table).await);
        }
        if wanted("push") {
            run(kind, async |town| push::measure(kind, town, &mut table).await);
        }
        if wanted("tick") {
            run(kind, async |town| tick::measure(kind, town, &mut table).await);
        }
        if wanted("live") {
            run(kind, async |town| live::measure(kind, town, &mut table).await);
        }
        if wanted("held") {
            run(kind, async |town| held::measure(kind, town, &mut table).await);
        }
    }
    println!("\n{} synced tables", entities::registry::TABLES.len());
    println!("{table}");
    if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
