//! What the tests are written with: databases, a world to act in, people, phones, servers and a postbox.

mod answer;
mod cluster;
pub mod database;
mod documented;
mod person;
mod phone;
mod postbox;
mod schema;
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
pub use schema::Document;
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

/// As `on_both!`, each test in a process of its own, in which `$first` is done before anything else: for what holds for
/// a whole process.
macro_rules! alone_on_both {
    (after $first:expr; $($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn on_sqlite() {
                alone("on_sqlite", crate::support::Kind::Sqlite);
            }
            #[test]
            fn on_postgres() {
                alone("on_postgres", crate::support::Kind::Postgres);
            }
            fn alone(test: &str, kind: crate::support::Kind) {
                crate::support::alone(concat!(module_path!(), "::"), test, || {
                    $first;
                    crate::support::run(kind, super::$name);
                });
            }
        }
    )+};
}
pub(crate) use alone_on_both;

/// Runs the body of the test of this name in a process of its own.
#[track_caller]
pub fn alone(module: &str, test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "FIELDSTONE_TEST_ALONE";
    let name = format!("{}{test}", module.split_once("::").expect("within this crate").1);
    #[expect(clippy::disallowed_methods, reason = "how the other process knows that it is the one")]
    let inside = std::env::var(INSIDE).is_ok_and(|inside| inside == name);
    if inside {
        return body();
    }
    let this = std::env::current_exe().expect("this program's own file");
    let mut process = std::process::Command::new(this);
    let ended = process.args([&name, "--exact", "--nocapture"]).env(INSIDE, &name).output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    let ran = ended.status.success() && said.contains("1 passed");
    assert!(ran, "{said}{}", String::from_utf8_lossy(&ended.stderr));
}
