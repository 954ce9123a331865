//! In which order what is selected is restored: first what is replaced, then one by one, then
//! side by side, then one by one again.

use super::groups::Group;
use super::names::name;
use crate::catalog::{TablesBelow, Turn, table_locks, turn};
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use std::collections::{BTreeSet, HashMap};

/// The index of fewer bytes of rows is built in less time than another statement is worth.
const SPLIT_BYTES: u64 = 4 << 20;

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

/// What a step does of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Builds the index of a constraint: others of the table may be built meanwhile.
    Index,
    /// Makes that index the constraint.
    Constraint,
}

/// An entry restored beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The entry.
    pub(super) entry: usize,
    /// What it does of it.
    pub(super) part: Part,
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
        let beside = self.beside.iter().filter(|step| step.part != Part::Index);
        let beside = beside.map(|step| step.entry);
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
    let (tables, below) = (Tables::new(entries, positions), TablesBelow::new(entries));
    let parts = parts(entries, positions, &tables);
    // Of an entry in two parts the second stands for it.
    let place: HashMap<usize, usize> =
        parts.iter().enumerate().map(|(place, (position, _))| (*position, place)).collect();
    parts
        .iter()
        .enumerate()
        .map(|(number, (position, part))| {
            let entry = &entries[*position];
            let needs = entry.depends_on.iter().chain(&entry.belongs_to).map(|n| *n as usize);
            let mut locks = table_locks(entries, entry, &below);
            if *part == Part::Index {
                locks = entry.belongs_to.map(|table| (table as usize, false)).into_iter().collect();
            }
            let mut waits_for: BTreeSet<usize> =
                needs.clone().filter_map(|needed| place.get(&needed)).copied().collect();
            // What stands on a table after the rows waits for the rows.
            if entry.section == Section::PostData {
                let locked = locks.iter().map(|(table, _)| *table);
                let rows = needs.chain(locked).filter_map(|table| tables.rows_of(table));
                waits_for.extend(rows.filter_map(|rows| place.get(&rows)));
            }
            waits_for.remove(&place[position]);
            let mut work = work(entry, tables.bytes(entries, *position));
            if *part == Part::Constraint {
                waits_for.insert(number - 1);
                work = 0;
            }
            let waits_for = waits_for.into_iter().collect();
            Step { entry: *position, part: *part, waits_for, locks, work }
        })
        .collect()
}

/// The steps that entries make. A constraint is two where its table has other indexes, which would
/// have to wait for it, and rows enough for that to matter.
fn parts(entries: &[Entry], positions: &[usize], tables: &Tables) -> Vec<(usize, Part)> {
    let mut indexes: HashMap<u32, usize> = HashMap::new();
    for entry in positions.iter().map(|position| &entries[*position]) {
        if matches!(entry.kind, EntryKind::Known(Kind::Index | Kind::Constraint)) {
            entry.belongs_to.into_iter().for_each(|table| *indexes.entry(table).or_default() += 1);
        }
    }
    let is_alone = |entry: &Entry| {
        let count = entry.belongs_to.and_then(|table| indexes.get(&table));
        count.is_none_or(|count| *count < 2)
    };
    let parts = positions.iter().flat_map(|position| {
        let entry = &entries[*position];
        let is_small = || tables.bytes(entries, *position) < SPLIT_BYTES;
        let is_key = entry.kind == Kind::Constraint && entry.by_index.is_some();
        if !is_key || is_alone(entry) || is_small() {
            vec![(*position, Part::Whole)]
        } else {
            vec![(*position, Part::Index), (*position, Part::Constraint)]
        }
    });
    parts.collect()
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
    use pgkeep_format::entry::{ByIndex, Data, Relation, RowEncoding};

    fn rows(name: &str, table: u32, bytes: u64) -> Entry {
        let data = Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: Vec::new(),
            rows: 1,
            bytes,
            table: None,
            numbers: None,
            types: None,
        };
        Entry { data: Some(Box::new(data)), ..part(Kind::TableData, name, table) }
    }

    #[test]
    fn a_key_of_a_large_table_with_other_indexes_is_built_beside_them() {
        let table = || Entry { relation: Some(Box::default()), ..entry(Kind::Table, "t") };
        let by_index = ByIndex { index: String::new(), constraint: String::new() };
        let key = || Entry {
            by_index: Some(by_index.clone().into()),
            ..part(Kind::Constraint, "key", 0)
        };
        let parts_with = |bytes, more: &[Entry]| {
            let mut entries = vec![table(), rows("t", 0, bytes), key()];
            entries.extend_from_slice(more);
            let positions: Vec<usize> = (1..entries.len()).collect();
            steps(&entries, &positions)
        };
        let index = || part(Kind::Index, "index", 0);
        let kinds = |steps: &[Step]| steps.iter().map(|step| step.part).collect::<Vec<_>>();
        assert_eq!(kinds(&parts_with(SPLIT_BYTES, &[])), [Part::Whole; 2]);
        assert_eq!(kinds(&parts_with(SPLIT_BYTES - 1, &[index()])), [Part::Whole; 3]);
        let no_key = Entry { kind: Kind::Trigger.into(), belongs_to: Some(9), ..key() };
        assert_eq!(kinds(&parts_with(SPLIT_BYTES, &[no_key])), [Part::Whole; 3], "a forged one");

        let depends_on = vec![2];
        let refers = Entry { depends_on, ..part(Kind::ForeignKey, "refers", 0) };
        let steps = parts_with(SPLIT_BYTES, &[index(), refers]);
        let expected = [Part::Whole, Part::Index, Part::Constraint, Part::Whole, Part::Whole];
        assert_eq!(kinds(&steps), expected);
        assert_eq!((&steps[1].locks, &steps[3].locks), (&vec![(0, false)], &vec![(0, false)]));
        assert_eq!((&steps[2].locks, steps[2].work), (&vec![(0, true)], 0));
        assert_eq!((&steps[1].waits_for, &steps[2].waits_for), (&vec![0], &vec![0, 1]));
        assert_eq!(steps[4].waits_for, [0, 2], "what refers to the key waits for all of it");
    }

    #[test]
    fn what_alters_a_partitioned_table_waits_for_the_rows_of_all_partitions_and_has_them_alone() {
        let below = |name, parent| {
            let relation = Relation { parents: vec![parent], ..Relation::default() };
            Entry { relation: Some(relation.into()), ..entry(Kind::Table, name) }
        };
        let entries = [
            entry(Kind::Table, "root"),
            below("part", 0),
            below("part_of_part", 1),
            rows("part_of_part", 2, 1),
            part(Kind::Constraint, "check", 0),
            part(Kind::Index, "on_only_root", 0),
        ];
        let steps = steps(&entries, &[3, 4, 5]);
        assert_eq!(steps[1].waits_for, [0]);
        assert_eq!(steps[1].locks, [(0, true), (1, true), (2, true)]);
        assert_eq!((steps[2].waits_for.len(), &steps[2].locks), (0, &vec![(0, false)]));
    }
}
