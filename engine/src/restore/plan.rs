//! In which order what is selected is restored: first what is replaced, then one by one, then
//! side by side, then one by one again.

use super::groups::Group;
use super::names::name;
use crate::catalog::{TablesBelow, Turn, table_locks, turn};
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use std::collections::{BTreeSet, HashMap};

/// The order of a restore. Positions are those of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// What is replaced first, definitions included.
    pub(super) groups: Vec<Group>,
    /// Definitions of what is not replaced.
    pub(super) before: Vec<usize>,
    /// Rows and what comes after them.
    pub(super) beside: Vec<Step>,
    /// Privileges, then refreshes.
    pub(super) after: Vec<usize>,
    /// Optimizer statistics.
    pub(super) statistics: Vec<usize>,
    /// Event triggers.
    pub(super) last: Vec<usize>,
}

/// An entry restored beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The entry.
    pub(super) entry: usize,
    /// Steps, by their place in [`Plan::beside`], that must be done first.
    pub(super) waits_for: Vec<usize>,
    /// Tables that the server locks for it: the table's entry, and whether nobody else may
    /// work on it meanwhile.
    pub(super) locks: Vec<(usize, bool)>,
    /// An estimate of how long it takes, in bytes of rows that are loaded meanwhile.
    pub(super) work: u64,
}

impl Plan {
    /// Plans what is `selected`, of which `groups` are replaced.
    pub(super) fn new(entries: &[Entry], selected: &BTreeSet<usize>, groups: Vec<Group>) -> Self {
        let replaced: BTreeSet<usize> =
            groups.iter().flat_map(|group| &group.definitions).copied().collect();
        let mut before = Vec::new();
        let mut beside = Vec::new();
        let (mut privileges, mut refreshes) = (Vec::new(), Vec::new());
        let (mut statistics, mut last) = (Vec::new(), Vec::new());
        for position in selected.difference(&replaced) {
            let entry = &entries[*position];
            let turn = match turn(entries, entry) {
                Turn::Before => &mut before,
                Turn::Beside => &mut beside,
                Turn::Privileges => &mut privileges,
                Turn::Refresh => &mut refreshes,
                Turn::Statistics => &mut statistics,
                Turn::EventTriggers => &mut last,
            };
            turn.push(*position);
        }
        let after = [privileges, refreshes].concat();
        Self { groups, before, beside: steps(entries, &beside), after, statistics, last }
    }

    /// Tables, rows and bytes of rows, where an entry counts.
    pub(super) fn sums(
        &self,
        entries: &[Entry],
        counts: impl Fn(usize) -> bool,
    ) -> (u64, u64, u64) {
        let steps = self.beside.iter().filter(|step| counts(step.entry));
        let data = steps.filter_map(|step| entries[step.entry].data.as_ref());
        data.fold((0, 0, 0), |(tables, rows, bytes), data| {
            (tables + 1, rows + data.rows, bytes + data.bytes)
        })
    }

    /// The entries that count, by kind and name, in the order of the phases.
    pub(super) fn names(
        &self,
        entries: &[Entry],
        counts: impl Fn(usize) -> bool,
    ) -> Vec<(String, String)> {
        let beside = self.beside.iter().map(|step| step.entry);
        let after = self.after.iter().chain(&self.statistics).chain(&self.last).copied();
        let all = self.definitions().chain(beside).chain(after);
        all.filter(|at| counts(*at))
            .map(|at| (entries[at].kind.to_string(), name(entries, at)))
            .collect()
    }

    /// Definitions that this restore makes.
    pub(super) fn definitions(&self) -> impl Iterator<Item = usize> + '_ {
        let replaced = self.groups.iter().flat_map(|group| &group.definitions);
        replaced.chain(&self.before).copied()
    }

    /// SQL of the drops, in their order.
    pub(super) fn drops(&self) -> Vec<String> {
        let drops = self.groups.iter().flat_map(|group| &group.drops);
        drops.map(|(_, sql)| sql.clone()).collect()
    }
}

/// Whether an entry is a table or what one is made of: many of them can be made side by side, since
/// the catalogs say all that one of them needs of another. Partitions are attached one after another: that
/// locks tables above and below the two, in an order that only the server knows.
pub(super) fn is_of_tables(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Known(
            Kind::Sequence
                | Kind::Table
                | Kind::SequenceOwnedBy
                | Kind::Default
                | Kind::Owner
                | Kind::Comment
        )
    )
}

/// Entries as steps, each after those of them that it needs.
pub(super) fn steps(entries: &[Entry], positions: &[usize]) -> Vec<Step> {
    let place: HashMap<usize, usize> =
        positions.iter().enumerate().map(|(place, position)| (*position, place)).collect();
    let (tables, below) = (Tables::new(entries, positions), TablesBelow::new(entries));
    positions
        .iter()
        .map(|position| {
            let entry = &entries[*position];
            let needs = entry.depends_on.iter().chain(&entry.belongs_to).map(|n| *n as usize);
            let locks = table_locks(entries, entry, &below);
            let mut waits_for: BTreeSet<usize> =
                needs.clone().filter_map(|needed| place.get(&needed)).copied().collect();
            // What stands on a table after the rows waits for the rows.
            if entry.section == Section::PostData {
                let locked = locks.iter().map(|(table, _)| *table);
                let rows = needs.chain(locked).filter_map(|table| tables.rows_of(table));
                waits_for.extend(rows.filter_map(|rows| place.get(&rows)));
            }
            waits_for.remove(&place[position]);
            Step {
                entry: *position,
                waits_for: waits_for.into_iter().collect(),
                locks,
                work: work(entry, tables.bytes(entries, *position)),
            }
        })
        .collect()
}

/// Which entry holds the rows of which table.
struct Tables(HashMap<usize, usize>);

impl Tables {
    fn new(entries: &[Entry], positions: &[usize]) -> Self {
        let rows = positions.iter().filter(|position| entries[**position].data.is_some());
        let rows =
            rows.filter_map(|position| Some((entries[*position].belongs_to? as usize, *position)));
        Self(rows.collect())
    }

    fn rows_of(&self, table: usize) -> Option<usize> {
        self.0.get(&table).copied()
    }

    /// Bytes of the rows that an entry holds or stands on.
    fn bytes(&self, entries: &[Entry], position: usize) -> u64 {
        let entry = &entries[position];
        let table = entry.belongs_to.and_then(|table| self.rows_of(table as usize));
        let rows = if entry.data.is_some() { Some(position) } else { table };
        rows.and_then(|rows| entries[rows].data.as_ref()).map_or(0, |data| data.bytes)
    }
}

/// How long an entry takes beside the `bytes` of its table's rows: as measured (docs/performance.md)
/// a B-tree a quarter of what the rows take, and twice as long what takes values apart, as GIN
/// does, or calls functions of a type for each, as GiST does.
fn work(entry: &Entry, bytes: u64) -> u64 {
    // The order hangs on it and nothing else, so a name that looks like SQL does no harm.
    let says = |sql: &str| entry.create.contains(sql);
    let sorts = || [" USING btree ", " USING hash ", " USING brin "].into_iter().any(says);
    match entry.kind {
        _ if entry.data.is_some() => bytes,
        EntryKind::Known(Kind::Index) if !sorts() => bytes.saturating_mul(2),
        EntryKind::Known(Kind::Constraint) if says(" EXCLUDE USING ") => bytes.saturating_mul(2),
        EntryKind::Known(Kind::Index | Kind::Constraint | Kind::ForeignKey) => bytes / 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::sample::{entry, part};
    use pgkeep_format::entry::{Data, Relation, RowEncoding};

    #[test]
    fn what_alters_a_partitioned_table_waits_for_the_rows_of_all_partitions_and_has_them_alone() {
        let below = |name, parent| {
            let relation = Relation { parents: vec![parent], ..Relation::default() };
            Entry { relation: Some(relation), ..entry(Kind::Table, name) }
        };
        let data = Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: Vec::new(),
            rows: 1,
            bytes: 1,
            table: None,
            numbers: None,
            types: None,
        };
        let rows =
            |name, table| Entry { data: Some(data.clone()), ..part(Kind::TableData, name, table) };
        let entries = [
            entry(Kind::Table, "root"),
            below("part", 0),
            below("part_of_part", 1),
            rows("part_of_part", 2),
            part(Kind::Constraint, "check", 0),
            part(Kind::Index, "on_only_root", 0),
        ];
        let steps = steps(&entries, &[3, 4, 5]);
        assert_eq!(steps[1].waits_for, [0]);
        assert_eq!(steps[1].locks, [(0, true), (1, true), (2, true)]);
        assert_eq!((steps[2].waits_for.len(), &steps[2].locks), (0, &vec![(0, false)]));
    }
}
