//! Tables and columns as though they had come with a later schema version. Only in a build with the feature `later`, by
//! which tests show what becomes of an app when its schema grows, before there is a second version.

use std::sync::OnceLock;

use super::Table;

/// A table, or one of its columns.
pub type Named = (&'static str, Option<&'static str>);

static DECLARED: OnceLock<(u32, &'static [Named])> = OnceLock::new();

/// Says that these came with this version. It holds for the whole process, and only where nothing has asked
/// for a table yet.
pub fn declare(version: u32, named: &'static [Named]) {
    DECLARED.get_or_init(|| (version, named));
}

pub(super) fn apply(tables: &mut [Table]) {
    let Some((version, named)) = DECLARED.get() else { return };
    for table in tables {
        for (_, column) in named.iter().filter(|(name, _)| *name == table.name) {
            match column {
                None => table.since = *version,
                Some(column) => {
                    let found = table.columns.iter_mut().filter(|known| known.name == *column);
                    found.for_each(|known| known.field.since = *version);
                }
            }
        }
    }
}
