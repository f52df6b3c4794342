//! Commands that end by themselves, and the exit code each ends with.

use crate::support::{TestDb, fieldstone, on_both};

on_both!(the_schema_of_an_empty_database_is_brought_up_and_said_to_be_current);

async fn the_schema_of_an_empty_database_is_brought_up_and_said_to_be_current(db: TestDb) {
    for args in [["migrate", "up"], ["migrate", "up"], ["migrate", "status"]] {
        let done = fieldstone(&args).env("FIELDSTONE_DATABASE_URL", &db.url).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(said.contains("current"), "{args:?}: {said}");
    }
}

#[test]
fn misuse_ends_with_2_and_an_invalid_configuration_with_78() {
    let code = |args: &[&str], settings: &[(&str, &str)]| {
        let done = fieldstone(args).envs(settings.iter().copied()).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!said.trim().is_empty(), "{args:?} ended with {} and said nothing", done.status);
        (done.status.code(), said)
    };
    assert_eq!(code(&["dance"], &[]).0, Some(2));
    assert_eq!(code(&["serve", "--tango"], &[]).0, Some(2));
    let (status, said) = code(&["serve"], &[("FIELDSTONE_DATABSE_URL", "sqlite://x.db")]);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("database_url"), "an unknown key is told the nearest one: {said}");
    let (status, said) = code(&["serve"], &[("FIELDSTONE_DATABASE_URL", "mysql://x")]);
    assert_eq!(status, Some(78), "{said}");
}

#[test]
fn every_command_explains_itself() {
    for args in [&["--help"][..], &["serve", "--help"], &["admin", "--help"], &["migrate", "--help"]] {
        let done = fieldstone(args).output().expect("it runs");
        assert!(done.status.success() && done.stdout.len() > 100, "{args:?}");
    }
}
