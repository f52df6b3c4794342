//! The disk of the database is full: what is written is refused, and whoever can make room is told.

use entities::sql;
use serde_json::json;

use crate::support::server::free_port;
use crate::support::{Kind, Person, Town, on_both};

on_both!(a_full_disk_is_told_to_the_operator_while_it_lasts);

async fn a_full_disk_is_told_to_the_operator_while_it_lasts(town: Town) {
    let admin = format!("127.0.0.1:{}", free_port());
    let server = town.server_with(&[("FIELDSTONE_ADMIN_LISTEN", &admin), ("FIELDSTONE_LOG", "warn")]).await;
    let ana = server.person("ana@demo.example").await;
    let operator = Person::at(&format!("http://{admin}"), "operator");
    assert_eq!(operator.get("//readyz").await.ok()["storage"], "ok");
    // In the words of either database; every write ends with its event.
    let full: &[&str] = match town.db.kind {
        Kind::Sqlite => &["create trigger full_disk before insert on audit_event begin \
             select raise(abort, 'database or disk is full'); end"],
        Kind::Postgres => &[
            "create function full_disk() returns trigger language plpgsql as \
             $$ begin raise exception 'could not extend file: No space left on device'; end $$",
            "create trigger full_disk before insert on audit_event execute function full_disk()",
        ],
    };
    for text in full {
        sql::exec(town.store.writer(), text, vec![]).await.expect("it is done");
    }
    for _ in 0..3 {
        ana.post("/cases", json!({"summary": "There is no room for it"})).await.refused(507);
    }
    server.says("the disk of the database is full").await;
    assert_eq!(server.log().matches("the disk of the database is full").count(), 1, "{}", server.log());
    assert!(server.log().contains("ERROR"), "{}", server.log());
    let ready = operator.get("//readyz").await.ok();
    assert!(ready["storage"].as_str().is_some_and(|storage| storage.starts_with("full")), "{ready}");
    ana.get("/cases").await.ok();
}
