//! The entity files and the migrations say the same.

use std::collections::BTreeMap;

use entities::registry::{Kind, TABLES};

use crate::support::{World, on_both};

on_both!(every_column_is_stored_as_its_entity_says);

async fn every_column_is_stored_as_its_entity_says(world: World) {
    let snapshot = world.store.read().await.expect("a snapshot");
    let postgres = world.db.kind == crate::support::Kind::Postgres;
    for table in TABLES.iter() {
        let text = if postgres {
            "select column_name, data_type, case when is_nullable = 'NO' then 1 else 0 end, collation_name \
             from information_schema.columns where table_name = $1"
        } else {
            "select name, type, \"notnull\", null from pragma_table_info($1)"
        };
        let mut stored = BTreeMap::new();
        for row in entities::sql::all(&*snapshot, text, vec![table.name.into()]).await.expect("the catalogue") {
            let name: String = row.try_get_by_index(0).expect("a name");
            let kind: String = row.try_get_by_index(1).expect("a type");
            let filled = row.try_get_by_index::<i32>(2).map(i64::from).or_else(|_| row.try_get_by_index::<i64>(2));
            let collation: Option<String> = row.try_get_by_index(3).expect("a collation");
            stored.insert(name, (kind.to_lowercase(), filled.expect("a flag") == 1, collation));
        }
        for column in &table.columns {
            let place = format!("{}.{}", table.name, column.name);
            let (kind, filled, collation) =
                stored.remove(column.name).unwrap_or_else(|| panic!("{place} is not stored"));
            let expected = match column.field.kind {
                Kind::Int(..) | Kind::Instant => "bigint",
                Kind::Real(..) => "double precision",
                Kind::Bool => "boolean",
                _ => "text",
            };
            assert_eq!(kind, expected, "{place}");
            assert_eq!(filled, !column.nullable, "{place}: NOT NULL");
            if postgres && expected == "text" {
                assert_eq!(collation.as_deref(), Some("C"), "{place}");
            }
        }
        assert!(stored.is_empty(), "{}: stored and unknown: {stored:?}", table.name);
    }
}
