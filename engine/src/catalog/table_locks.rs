//! Which tables the server locks while an entry is made: what may be made beside it.

use super::TablesBelow;
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use std::collections::BTreeSet;

/// Tables that an entry locks, by their entries' positions, and whether it has them alone.
///
/// Index builds share a table, all else that alters a table has it alone, and all that are below
/// it: a constraint or trigger becomes theirs too, and whoever loads their rows looks at the table
/// above, so that each would wait for the other. Foreign keys have both tables. What makes a table
/// has the tables above it alone: nothing is below yet that others work on.
#[must_use]
pub fn table_locks(entries: &[Entry], entry: &Entry, below: &TablesBelow) -> Vec<(usize, bool)> {
    if entry.section == Section::Data {
        return Vec::new();
    }
    let is_relation =
        |position: &usize| entries.get(*position).is_some_and(|it| it.relation.is_some());
    let shared = matches!(
        entry.kind,
        EntryKind::Known(Kind::Index | Kind::Statistics | Kind::Comment | Kind::Owner)
    );
    let table = entry.belongs_to.map(|whole| whole as usize);
    let mut locks: BTreeSet<usize> = table.into_iter().filter(is_relation).collect();
    if !shared {
        locks.extend(entry.depends_on.iter().map(|needed| *needed as usize).filter(is_relation));
        if entry.section == Section::PostData {
            locks = below.with_all(locks);
        }
    }
    locks.into_iter().map(|table| (table, !shared)).collect()
}
