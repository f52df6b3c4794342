//! What the tests are written with: databases, a world to act in, people, phones, servers and a postbox.

mod answer;
mod cluster;
pub mod database;
mod person;
mod phone;
mod postbox;
pub mod server;
mod world;

/// A number that the caller's environment sets, to ask for more than there is time for on every run.
pub fn setting(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how a longer run is asked for")]
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number: {text}")))
}

/// How many blows a test deals that kills the same process again and again: few on every run.
pub fn kills() -> u32 {
    u32::try_from(setting("FIELDSTONE_KILLS", 20)).expect("a number of kills")
}

pub use answer::Answer;
pub use cluster::Cluster;
pub use database::{Kind, TestDb, run, uuid};
pub use person::{PASSWORD, Person};
pub use phone::Phone;
pub use postbox::{Mail, Postbox};
pub use server::{Server, fieldstone};
pub use world::{Serving, Town, World, everybodys_hash, mails_queued, serve};

/// Makes one test for each database out of each function named, `NAME::on_sqlite` and `NAME::on_postgres`.
///
/// The functions take a `TestDb`, or anything else that can be built from one (see `database::Stage`).
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn on_sqlite() {
                crate::support::run(crate::support::Kind::Sqlite, super::$name);
            }
            #[test]
            fn on_postgres() {
                crate::support::run(crate::support::Kind::Postgres, super::$name);
            }
        }
    )+};
}
pub(crate) use on_both;
