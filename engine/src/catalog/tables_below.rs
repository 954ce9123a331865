//! Which tables are below which: partitions and children, and theirs.

use pgkeep_format::entry::Entry;
use std::collections::{BTreeSet, HashMap};

/// Of each table that has some: the tables right below it, as positions of their entries.
#[derive(Debug, Clone, Default)]
pub struct TablesBelow(HashMap<usize, Vec<usize>>);

impl TablesBelow {
    /// Finds them among all entries.
    #[must_use]
    pub fn new(entries: &[Entry]) -> Self {
        let mut below: HashMap<usize, Vec<usize>> = HashMap::new();
        for (table, entry) in entries.iter().enumerate() {
            for parent in entry.relation.iter().flat_map(|relation| &relation.parents) {
                below.entry(*parent as usize).or_default().push(table);
            }
        }
        Self(below)
    }

    /// The tables with all that are below them.
    #[must_use]
    pub fn with_all(&self, tables: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut open: Vec<usize> = tables.iter().copied().collect();
        let mut all = tables;
        while let Some(table) = open.pop() {
            let below = self.0.get(&table).into_iter().flatten();
            // A backup that lies may have tables below themselves.
            open.extend(below.filter(|below| all.insert(**below)));
        }
        all
    }
}
