//! Generated data.

use entities::Clock;
use entities::people::{agency, user};

use crate::support::{TestDb, fieldstone, on_both};

async fn sample_fills_an_empty_database_and_no_other(db: TestDb) {
    let fill = |seed: &str| {
        let mut command = fieldstone(&["sample", "--size", "demo", "--seed", seed]);
        command.env("FIELDSTONE_DATABASE_URL", &db.url).output().expect("the binary runs")
    };
    let done = fill("7");
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.starts_with("354 cases with "), "{said}");
    assert!(said.contains("of 12 caseworkers in 2 teams"), "{said}");
    let store = db.store(Clock::System).await;
    let found = agency::all(store.connection()).await.expect("the agencies");
    assert_eq!(found.len(), 1);
    let admin = user::by_email(store.connection(), "admin@sample.example").await.expect("the users");
    assert!(admin.expect("an administrator").password_hash.is_none(), "nobody can sign in unless asked for");

    let again = fill("7");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"), "{again:?}");
}
on_both!(sample_fills_an_empty_database_and_no_other);
