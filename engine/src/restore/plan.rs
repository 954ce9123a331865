//! In which order what is selected is restored: first one by one, then side by side, then
//! one by one again.

use super::RestoreOptions;
use crate::catalog::{Turn, turn};
use crate::postgres::qualified;
use pgkeep_format::entry::{Entry, EntryKind, Kind, Section};
use std::collections::{BTreeSet, HashMap};

/// The order of a restore. Positions are those of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// SQL of the drops, in their order.
    pub(super) drops: Vec<String>,
    /// Definitions.
    pub(super) before: Vec<usize>,
    /// Rows and what comes after them.
    pub(super) beside: Vec<Step>,
    /// Privileges, then refreshes, then event triggers.
    pub(super) after: Vec<usize>,
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
    /// Larger ones begin earlier: bytes of the table's rows.
    pub(super) weight: u64,
}

impl Plan {
    /// Plans what is `selected`; with `clean`, what was `asked` for is dropped first.
    pub(super) fn new(
        entries: &[Entry],
        selected: &BTreeSet<usize>,
        asked: &BTreeSet<usize>,
        options: &RestoreOptions,
    ) -> Self {
        let mut before = Vec::new();
        let mut beside = Vec::new();
        let mut after = Vec::new();
        for position in selected {
            let entry = &entries[*position];
            match turn(entries, entry) {
                Turn::Before => before.push(*position),
                Turn::Beside => beside.push(*position),
                turn => after.push((turn, *position)),
            }
        }
        after.sort_unstable();
        let drops = if options.clean { drops(entries, asked, options) } else { Vec::new() };
        let after = after.into_iter().map(|(_, position)| position).collect();
        Self { drops, before, beside: steps(entries, &beside), after }
    }

    /// Tables, rows and bytes of rows.
    pub(super) fn sums(&self, entries: &[Entry]) -> (u64, u64, u64) {
        let data = self.beside.iter().filter_map(|step| entries[step.entry].data.as_ref());
        data.fold((0, 0, 0), |(tables, rows, bytes), data| {
            (tables + 1, rows + data.rows, bytes + data.bytes)
        })
    }

    /// All entries, by kind and name, in the order of the phases.
    pub(super) fn names(&self, entries: &[Entry]) -> Vec<(String, String)> {
        let beside = self.beside.iter().map(|step| step.entry);
        let all = self.before.iter().copied().chain(beside).chain(self.after.iter().copied());
        all.map(|position| {
            let entry = &entries[position];
            let name = match &entry.schema {
                Some(schema) => format!("{schema}.{}", entry.name),
                None => entry.name.clone(),
            };
            (entry.kind.to_string(), name)
        })
        .collect()
    }
}

/// Drops in the reverse of the order of creation, so that nothing is dropped before what
/// stands on it.
fn drops(entries: &[Entry], asked: &BTreeSet<usize>, options: &RestoreOptions) -> Vec<String> {
    let drops = asked.iter().rev().filter_map(|position| entries[*position].drop.as_deref());
    let drops = drops.map(|sql| if options.if_exists { if_exists(sql) } else { sql.to_owned() });
    drops.chain(loose_sequences(entries, asked)).collect()
}

/// A sequence goes with the table that it belongs to, but a restore that was stopped may
/// have left it without its owner.
fn loose_sequences(entries: &[Entry], asked: &BTreeSet<usize>) -> Vec<String> {
    let parts = asked.iter().rev().map(|position| &entries[*position]).filter(|entry| {
        entry.kind == Kind::Sequence && entry.belongs_to.is_some() && entry.drop.is_none()
    });
    parts
        .map(|entry| {
            let schema = entry.schema.as_deref().unwrap_or_default();
            format!("DROP SEQUENCE IF EXISTS {};", qualified(schema, &entry.name))
        })
        .collect()
}

/// Kinds of object of which `DROP` takes two words or more, as a drop begins with them.
const LONG_KINDS: &[&str] = &[
    "ACCESS METHOD",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
];

/// `DROP TABLE x` as `DROP TABLE IF EXISTS x`; `ALTER TABLE x DROP CONSTRAINT y` as
/// `ALTER TABLE IF EXISTS x DROP CONSTRAINT IF EXISTS y`.
fn if_exists(sql: &str) -> String {
    if let Some(rest) = sql.strip_prefix("DROP ") {
        let long = LONG_KINDS.iter().find(|kind| rest.starts_with(**kind)).map(|kind| kind.len());
        let kind_len = long.or_else(|| rest.find(' ')).unwrap_or(0);
        let (kind, name) = rest.split_at(kind_len);
        return format!("DROP {kind} IF EXISTS{name}");
    }
    let Some(rest) = sql.strip_prefix("ALTER TABLE ") else { return sql.to_owned() };
    let (only, rest) = rest.strip_prefix("ONLY ").map_or(("", rest), |rest| ("ONLY ", rest));
    // The last such words: a table's name may hold the same ones.
    match rest.rsplit_once(" DROP CONSTRAINT ") {
        Some((table, constraint)) => {
            format!("ALTER TABLE IF EXISTS {only}{table} DROP CONSTRAINT IF EXISTS {constraint}")
        }
        None => sql.to_owned(),
    }
}

fn steps(entries: &[Entry], positions: &[usize]) -> Vec<Step> {
    let place: HashMap<usize, usize> =
        positions.iter().enumerate().map(|(place, position)| (*position, place)).collect();
    let tables = Tables::new(entries, positions);
    positions
        .iter()
        .map(|position| {
            let entry = &entries[*position];
            let needs = entry.depends_on.iter().chain(&entry.belongs_to).map(|n| *n as usize);
            let mut waits_for = BTreeSet::new();
            for needed in needs {
                waits_for.extend(place.get(&needed));
                // What stands on a table after the rows waits for the rows.
                if entry.section == Section::PostData {
                    let rows = tables.rows_of(needed).and_then(|rows| place.get(&rows));
                    waits_for.extend(rows);
                }
            }
            waits_for.remove(&place[position]);
            Step {
                entry: *position,
                waits_for: waits_for.into_iter().collect(),
                locks: locks(entries, entry),
                weight: tables.weight(entries, *position),
            }
        })
        .collect()
}

/// Which entry holds the rows of which table.
struct Tables {
    rows: HashMap<usize, usize>,
}

impl Tables {
    fn new(entries: &[Entry], positions: &[usize]) -> Self {
        let rows = positions.iter().filter(|position| entries[**position].data.is_some());
        let rows =
            rows.filter_map(|position| Some((entries[*position].belongs_to? as usize, *position)));
        Self { rows: rows.collect() }
    }

    fn rows_of(&self, table: usize) -> Option<usize> {
        self.rows.get(&table).copied()
    }

    fn weight(&self, entries: &[Entry], position: usize) -> u64 {
        let entry = &entries[position];
        let table = entry.belongs_to.and_then(|table| self.rows_of(table as usize));
        let rows = if entry.data.is_some() { Some(position) } else { table };
        rows.and_then(|rows| entries[rows].data.as_ref()).map_or(0, |data| data.bytes)
    }
}

/// Index builds share a table, all else that alters a table has it alone; foreign keys
/// have both tables.
fn locks(entries: &[Entry], entry: &Entry) -> Vec<(usize, bool)> {
    if entry.section != Section::PostData {
        return Vec::new();
    }
    let is_relation = |position: &usize| entries[*position].relation.is_some();
    let shared = matches!(
        entry.kind,
        EntryKind::Known(Kind::Index | Kind::Statistics | Kind::Comment | Kind::Owner)
    );
    let table = entry.belongs_to.map(|whole| whole as usize);
    let mut locks: BTreeSet<usize> = table.into_iter().filter(is_relation).collect();
    if !shared {
        locks.extend(entry.depends_on.iter().map(|needed| *needed as usize).filter(is_relation));
    }
    locks.into_iter().map(|table| (table, !shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_that_a_stopped_restore_left_alone_is_dropped_after_its_table() {
        let entry = |kind: Kind, name: &str, belongs_to, drop: Option<&str>| Entry {
            kind: kind.into(),
            section: Section::PreData,
            schema: Some("app".into()),
            name: name.into(),
            create: String::new(),
            drop: drop.map(str::to_owned),
            depends_on: Vec::new(),
            belongs_to,
            relation: None,
            data: None,
            owner: None,
            large_objects: None,
        };
        let entries = [
            entry(Kind::Table, "jobs", None, Some("DROP TABLE \"app\".\"jobs\";")),
            entry(Kind::Sequence, "jobs_id_seq", Some(0), None),
        ];
        let all = BTreeSet::from([0, 1]);
        let options = RestoreOptions {
            selection: crate::catalog::Selection::default(),
            jobs: std::num::NonZeroUsize::MIN,
            create: false,
            clean: true,
            if_exists: false,
            rename_schemas: Vec::new(),
            dry_run: false,
        };
        assert_eq!(
            drops(&entries, &all, &options),
            ["DROP TABLE \"app\".\"jobs\";", "DROP SEQUENCE IF EXISTS \"app\".\"jobs_id_seq\";"]
        );
    }

    #[test]
    fn drops_of_every_shape_take_if_exists() {
        for (sql, expected) in [
            ("DROP TABLE \"a\".\"b\";", "DROP TABLE IF EXISTS \"a\".\"b\";"),
            ("DROP MATERIALIZED VIEW x;", "DROP MATERIALIZED VIEW IF EXISTS x;"),
            ("DROP TRIGGER t ON x;", "DROP TRIGGER IF EXISTS t ON x;"),
            (
                "ALTER TABLE ONLY \"a\" DROP CONSTRAINT \"c\";",
                "ALTER TABLE IF EXISTS ONLY \"a\" DROP CONSTRAINT IF EXISTS \"c\";",
            ),
            (
                "ALTER TABLE \"a\" ALTER COLUMN b DROP DEFAULT;",
                "ALTER TABLE \"a\" ALTER COLUMN b DROP DEFAULT;",
            ),
        ] {
            assert_eq!(if_exists(sql), expected);
        }
    }
}
