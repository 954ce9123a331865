//! Rows of partitions that go in through the root of the partition tree, so that the server puts
//! each row where it belongs now.
//!
//! It has to be asked where a row's partition hangs on what differs from server to server: the hash
//! of an enum value is that of its OID, and a collation may call other texts equal. `pg_dump` decides
//! that while it dumps; here the target says it of the tables as they were made there.

use super::plan::Step;
use super::rename::Rename;
use crate::Result;
use crate::postgres::WireSession;
use pgkeep_format::entry::{Entry, Section};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Which tables' rows go through which root.
#[derive(Debug, Default)]
pub(super) struct Routes(HashMap<usize, usize>);

/// Tables partitioned by a hash that another server may compute otherwise: of enums and what may
/// hold them, of text under collations that call different texts equal.
const UNSTABLE: &str = "\
    SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_partitioned_table p \
    JOIN pg_catalog.pg_class c ON c.oid = p.partrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE p.partstrat = 'h' AND (EXISTS ( \
      SELECT FROM pg_catalog.pg_opclass o WHERE o.oid = ANY (p.partclass::oid[]) \
      AND pg_catalog.format_type(o.opcintype, NULL) IN \
        ('anyenum', 'anyarray', 'record', 'anyrange', 'anymultirange')) \
      OR EXISTS (SELECT FROM pg_catalog.pg_collation l \
        WHERE l.oid = ANY (p.partcollation::oid[]) AND NOT l.collisdeterministic))";

impl Routes {
    /// Finds the routes of the rows among `steps`: of all partitions with `all`, else of those
    /// that need one.
    pub(super) async fn find(
        wire: &mut WireSession,
        entries: &[Entry],
        steps: &[Step],
        rename: &Rename,
        all: bool,
    ) -> Result<Self> {
        let mut unstable = HashSet::new();
        if !all {
            for row in wire.query(UNSTABLE).await? {
                unstable.insert((row.text("schema")?.to_owned(), row.text("name")?.to_owned()));
            }
            if unstable.is_empty() {
                return Ok(Self::default());
            }
        }
        let is_unstable = |at: usize| {
            let schema = rename.new_name(entries[at].schema.as_deref().unwrap_or_default());
            all || unstable.contains(&(schema.to_owned(), entries[at].name.clone()))
        };
        Ok(Self::new(entries, steps, is_unstable))
    }

    fn new(entries: &[Entry], steps: &[Step], is_unstable: impl Fn(usize) -> bool) -> Self {
        let rows = steps.iter().filter(|step| entries[step.entry].data.is_some());
        let tables = rows.filter_map(|step| Some(entries[step.entry].belongs_to? as usize));
        let routes = tables.filter_map(|table| {
            let above = partitioned_above(entries, table);
            let root = above.last().copied()?;
            above.iter().any(|at| is_unstable(*at)).then_some((table, root))
        });
        Self(routes.collect())
    }

    /// The table, by its entry, through which the rows of an entry go, if not their own.
    pub(super) fn of(&self, rows: &Entry) -> Option<usize> {
        self.0.get(&(rows.belongs_to? as usize)).copied()
    }

    /// What comes after the rows of a table waits for all rows that may go there, which is those
    /// of its whole tree: it locks tables that the server finds only with a row.
    pub(super) fn wait(&self, entries: &[Entry], steps: &mut [Step]) {
        let mut rows: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, step) in steps.iter().enumerate() {
            let table = entries[step.entry].belongs_to.map(|table| table as usize);
            let root = table.and_then(|table| self.0.get(&table));
            if let Some(root) = root.filter(|_| entries[step.entry].data.is_some()) {
                rows.entry(*root).or_default().push(number);
            }
        }
        for step in steps.iter_mut() {
            let entry = &entries[step.entry];
            if entry.section != Section::PostData {
                continue;
            }
            let tables = entry.depends_on.iter().chain(&entry.belongs_to).map(|at| *at as usize);
            let roots: BTreeSet<usize> =
                tables.filter_map(|table| self.0.get(&table).copied().or(Some(table))).collect();
            let waits = roots.iter().filter_map(|root| rows.get(root)).flatten();
            let all: BTreeSet<usize> = step.waits_for.iter().chain(waits).copied().collect();
            step.waits_for = all.into_iter().collect();
        }
    }
}

/// The partitioned tables above a table, from its parent to the root.
fn partitioned_above(entries: &[Entry], table: usize) -> Vec<usize> {
    let parent = |at: usize| {
        let parents = entries.get(at)?.relation.as_ref()?.parents.iter().map(|at| *at as usize);
        let partitioned = |at: &usize| {
            let relation = entries.get(*at).and_then(|entry| entry.relation.as_ref());
            relation.is_some_and(|relation| relation.partitioned)
        };
        parents.into_iter().find(partitioned)
    };
    let mut above: Vec<usize> = Vec::new();
    let mut at = table;
    // A backup that lies may have tables above themselves.
    while let Some(next) = parent(at).filter(|next| !above.contains(next)) {
        above.push(next);
        at = next;
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::plan::Part;
    use crate::restore::sample::{entry, part};
    use pgkeep_format::entry::{Data, Kind, Relation, RowEncoding};

    #[test]
    fn rows_go_through_the_root_and_what_comes_after_waits_for_all_of_them() {
        let partition = |name, parent| {
            let relation = Relation { parents: vec![parent], ..Relation::default() };
            Entry { relation: Some(relation.into()), ..entry(Kind::Table, name) }
        };
        let rows = |name, table| {
            let encoding = RowEncoding::CopyText;
            let data = Data {
                stream: 0,
                encoding,
                columns: Vec::new(),
                rows: 1,
                bytes: 1,
                table: None,
                numbers: None,
                types: None,
            };
            Entry { data: Some(data.into()), ..part(Kind::TableData, name, table) }
        };
        let mut root = entry(Kind::Table, "root");
        root.relation = Some(Relation { partitioned: true, ..Relation::default() }.into());
        let entries = [
            root,
            partition("one", 0),
            partition("two", 0),
            rows("one", 1),
            rows("two", 2),
            part(Kind::Index, "one_id", 1),
        ];
        let step = |entry, waits_for| Step {
            entry,
            part: Part::Whole,
            waits_for,
            locks: Vec::new(),
            work: 0,
        };
        let mut steps = [step(3, Vec::new()), step(4, Vec::new()), step(5, vec![0])];
        let routes = Routes::new(&entries, &steps, |at| at == 0);
        assert_eq!(routes.of(&entries[3]), Some(0));
        routes.wait(&entries, &mut steps);
        assert_eq!(steps[2].waits_for, [0, 1]);
        assert!(Routes::new(&entries, &steps, |_| false).0.is_empty());
    }
}
