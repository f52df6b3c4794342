//! What every entity file promises and no type can check.

use super::*;

fn words(table: &Table, column: &str) -> &'static [&'static str] {
    match table.column(column).map(|column| column.field.kind) {
        Some(Kind::Code(words)) => words,
        _ => &[],
    }
}

#[test]
fn every_move_leads_between_states_that_exist_and_takes_columns_that_exist() {
    for table in TABLES.iter() {
        for step in &table.moves {
            let states = words(table, step.column);
            let place = format!("{} {}", table.name, step.verb);
            assert!(states.contains(&step.to), "{place}: to");
            assert!(!step.from.is_empty() && step.from.iter().all(|from| states.contains(from)), "{place}: from");
            assert_eq!(table.column(step.column).map(|column| column.field.merge), Some(Merge::State), "{place}");
            for name in step.takes {
                let column = table.column(name);
                assert!(column.is_some_and(|column| column.field.wire), "{place}: {name}");
            }
            assert!(!step.who.is_empty(), "{place}: nobody may");
            let rivals = table.moves.iter().filter(|other| {
                other.to == step.to
                    && other.column == step.column
                    && other.from.iter().any(|from| step.from.contains(from))
            });
            assert_eq!(rivals.count(), 1, "{place}: two moves between the same states are one to a device");
        }
        let states: Vec<_> = table.columns.iter().filter(|column| column.field.merge == Merge::State).collect();
        for start in table.starts {
            assert!(states.iter().any(|column| words(table, column.name).contains(start)), "{}: {start}", table.name);
        }
    }
}

#[test]
fn every_default_is_a_value_the_column_takes() {
    for table in TABLES.iter() {
        for column in table.columns.iter().filter(|column| column.field.default.is_some()) {
            assert_eq!(column.limit(&column.initial()), None, "{}.{}", table.name, column.name);
        }
    }
}

#[test]
fn a_code_that_must_be_there_has_a_default_or_is_required() {
    for table in TABLES.iter() {
        for column in table.columns.iter().filter(|column| matches!(column.field.kind, Kind::Code(_))) {
            let settled = column.nullable || column.field.default.is_some() || column.field.required;
            assert!(settled || !column.field.writable(), "{}.{}", table.name, column.name);
        }
    }
}

#[test]
fn a_reference_leads_to_a_table_that_is_stored_before() {
    for table in TABLES.iter() {
        for column in table.columns.iter() {
            let Some(target) = column.field.refers else { continue };
            let target = super::table(target);
            let before = target.is_some_and(|target| target.rank < table.rank || target.name == table.name);
            assert!(before, "{}.{}", table.name, column.name);
        }
    }
}

#[test]
fn whoever_writes_or_moves_can_read() {
    for table in TABLES.iter() {
        let movers = table.moves.iter().flat_map(|step| step.who).filter(|role| **role != Role::System);
        for role in table.writers.iter().chain(movers).filter(|role| **role != Role::System) {
            assert!(table.readers.contains(role), "{} {role:?}", table.name);
        }
    }
}
