//! From ordered drafts to entries with positions; nothing here asks the server.

use crate::catalog::ordering::dependency::Dependencies;
use crate::catalog::ordering::graph::Graph;
use crate::catalog::ordering::refresh;
use crate::catalog::ordering::repair;
use crate::catalog::ordering::sort;
use crate::catalog::{Draft, Rows, Selection, Subject, TableToCopy};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding, Section, Storage};
use std::collections::HashMap;

/// Orders `drafts` and makes them entries, those that `selection` leaves out dropped.
pub(in crate::catalog) fn arrange(
    drafts: Vec<Draft>,
    dependencies: Dependencies,
    selection: &Selection,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Entry>, Vec<TableToCopy>)> {
    let mut drafts = drafts;
    for draft in drafts.iter_mut().filter(|draft| draft.kind == Kind::Acl) {
        // Privileges taken away would be missed by what is made after.
        draft.section = Section::PostData;
    }
    // In place: two more lists of all drafts would be a third of the memory that all this takes.
    let following = drafts.extract_if(.., |draft| sort::follows_its_parent(draft)).collect();
    let mut graph = Graph::new(drafts, dependencies);
    repair::repair(&mut graph, warnings);
    let unfilled = refresh::order_refreshes(&mut graph, warnings);
    refresh::wait_for_rows(&mut graph);
    let order = sort::sorted(&graph);
    if order.len() != graph.drafts.len() {
        return Err(Error::new(ErrorKind::Internal, "objects could not be put in order"));
    }
    let mut followers = followers(&graph, following, selection);
    let mut maker =
        Maker { graph, positions: HashMap::new(), entries: Vec::new(), tables: Vec::new() };
    for node in order {
        if unfilled.contains(&node) || !is_wanted(&maker.graph, node, selection) {
            continue;
        }
        let position = maker.node(node)?;
        for follower in followers.remove(&node).unwrap_or_default() {
            maker.follower(position, follower)?;
        }
    }
    maker.name_parents();
    Ok((maker.entries, maker.tables))
}

/// Owners, comments and labels by what they speak about, in order.
fn followers(
    graph: &Graph,
    drafts: Vec<Draft>,
    selection: &Selection,
) -> HashMap<usize, Vec<Draft>> {
    let mut followers: HashMap<usize, Vec<Draft>> = HashMap::new();
    for draft in drafts {
        // What speaks about an object that is not selected goes with it.
        let node = draft.belongs_to.and_then(|address| graph.resolve(address));
        let whole = node.map(|node| graph.drafts[node].kind);
        let wanted = selection.takes(Subject { kind: draft.kind, section: draft.section, whole });
        if let Some(node) = node.filter(|_| wanted) {
            followers.entry(node).or_default().push(draft);
        }
    }
    for drafts in followers.values_mut() {
        drafts.sort_by_cached_key(|draft| {
            (draft.kind != Kind::Owner, draft.kind, draft.name.clone(), sort::create(&draft.body))
        });
    }
    followers
}

/// Whether the selection takes a node, whatever its name is.
fn is_wanted(graph: &Graph, node: usize, selection: &Selection) -> bool {
    let draft = &graph.drafts[node];
    let whole = graph.parent(node).map(|parent| graph.drafts[parent].kind);
    selection.takes(Subject { kind: draft.kind, section: draft.section, whole })
}

struct Maker {
    /// Of the drafts that are entries by now only what the order needs is left.
    graph: Graph,
    positions: HashMap<usize, u32>,
    entries: Vec<Entry>,
    tables: Vec<TableToCopy>,
}

impl Maker {
    fn node(&mut self, node: usize) -> Result<u32> {
        let known = |other: &usize| self.positions.get(other).copied();
        let mut depends_on: Vec<u32> =
            self.graph.depends_on(node).iter().filter_map(known).collect();
        depends_on.sort_unstable();
        let belongs_to = self.graph.parent(node).as_ref().and_then(known);
        let draft = &mut self.graph.drafts[node];
        let mut entry = entry(draft, depends_on, belongs_to);
        let rows = draft.rows.take();
        if belongs_to.is_some_and(|parent| self.goes_with(parent, &entry.depends_on)) {
            entry.drop = None;
        }
        let (schema, name) = (entry.schema.clone().unwrap_or_default(), entry.name.clone());
        let position = self.push(entry)?;
        if let Some(rows) = rows {
            self.tables.push(TableToCopy { entry: position, schema, name, rows: *rows });
        }
        self.positions.insert(node, position);
        Ok(position)
    }

    /// Tells tables where their parents are: one that is attached later may come first.
    fn name_parents(&mut self) {
        for (node, position) in &self.positions {
            let entry = &mut self.entries[*position as usize];
            let Some(relation) = &mut entry.relation else { continue };
            let parents = self.graph.drafts[*node].parents.iter();
            let nodes = parents.filter_map(|parent| self.graph.resolve(*parent));
            relation.parents =
                nodes.filter_map(|parent| self.positions.get(&parent).copied()).collect();
        }
    }

    /// Whether what depends on `depends_on` goes when its `parent` is dropped: entries are
    /// dropped in the order's reverse, so what stands after the parent and is dropped by
    /// itself must find nothing that depends on it.
    fn goes_with(&self, parent: u32, depends_on: &[u32]) -> bool {
        depends_on.iter().all(|other| {
            let entry = &self.entries[*other as usize];
            let with_parent = entry.belongs_to == Some(parent) && entry.drop.is_none();
            *other <= parent || entry.section == Section::Data || with_parent
        })
    }

    fn follower(&mut self, parent: u32, mut draft: Draft) -> Result<()> {
        let mut entry = entry(&mut draft, vec![parent], Some(parent));
        entry.section = self.entries[parent as usize].section;
        self.push(entry)?;
        Ok(())
    }

    fn push(&mut self, entry: Entry) -> Result<u32> {
        let position = u32::try_from(self.entries.len())
            .map_err(|error| Error::new(ErrorKind::Server, "too many objects").because(error))?;
        self.entries.push(entry);
        Ok(position)
    }
}

/// Takes what an entry is out of its draft: there are many, and both would not be needed.
fn entry(draft: &mut Draft, depends_on: Vec<u32>, belongs_to: Option<u32>) -> Entry {
    let large_objects = large_objects(draft);
    let storage = std::mem::take(&mut draft.storage);
    Entry {
        kind: draft.kind.into(),
        section: draft.section,
        schema: draft.schema.take(),
        name: std::mem::take(&mut draft.name),
        create: sort::into_create(std::mem::take(&mut draft.body)),
        drop: draft.drop.take(),
        depends_on,
        belongs_to,
        relation: draft.relation.take(),
        data: draft.rows.as_ref().map(|rows| Box::new(data(rows))),
        owner: draft.owner.take(),
        large_objects,
        storage: Some(storage).filter(|storage| *storage != Storage::default()).map(Box::new),
        by_index: draft.by_index.take(),
    }
}

/// What is known of rows that are to be copied.
fn data(rows: &Rows) -> Data {
    Data {
        stream: 0,
        encoding: match rows.types {
            Some(_) => RowEncoding::CopyBinary,
            None => RowEncoding::CopyText,
        },
        columns: rows.columns.clone(),
        rows: 0,
        bytes: 0,
        table: is_whole_table(rows).then_some(rows.oid),
        numbers: is_whole_table(rows).then(|| rows.numbers.clone()),
        types: rows.types.clone(),
    }
}

/// Changes are of whole tables: they do not fit rows that were chosen.
fn is_whole_table(rows: &Rows) -> bool {
    rows.oid != 0 && rows.query.is_none() && rows.filter.is_none()
}

fn large_objects(draft: &Draft) -> Option<Vec<u32>> {
    let all = draft.address.iter().chain(&draft.stands_for);
    (draft.kind == Kind::LargeObject).then(|| all.map(|one| one.oid).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::draft::{Element, Layout, Part};
    use crate::catalog::{Address, Aspect, Body};
    use proptest::prelude::*;

    const TABLE: u32 = 1;
    const OTHER: u32 = 2;

    fn class(oid: u32) -> Address {
        Address::new("pg_class", oid)
    }

    fn draft(kind: Kind, name: &str, address: Address) -> Draft {
        let section = match kind {
            Kind::TableData | Kind::SequenceSet => Section::Data,
            Kind::Constraint
            | Kind::Index
            | Kind::ForeignKey
            | Kind::Rule
            | Kind::Trigger
            | Kind::MaterializedViewData => Section::PostData,
            _ => Section::PreData,
        };
        let mut draft = Draft::new(kind, section, Some("s"), name);
        draft.address = Some(address);
        draft.body = Body::Whole(format!("CREATE {name};"));
        draft.drop = Some(format!("DROP {name};"));
        draft
    }

    fn part(kind: Kind, name: &str, address: Address, of: Address) -> Draft {
        let mut draft = draft(kind, name, address);
        draft.belongs_to = Some(of);
        draft
    }

    fn speaks(kind: Kind, name: &str, of: Address) -> Draft {
        let mut draft = Draft::new(kind, Section::PreData, Some("s"), name);
        draft.belongs_to = Some(of);
        draft
    }

    /// A table with one column, whose default is in `pg_attrdef` under the table's OID.
    fn table(name: &str, oid: u32) -> Draft {
        let default = Address::new("pg_attrdef", oid);
        let alone = part(Kind::Default, &format!("{name}.c"), default, class(oid));
        let part = Part { text: " DEFAULT 1".to_owned(), alone, apart: false };
        let element = Element { text: "\"c\" integer".to_owned(), part: Some(Box::new(part)) };
        let mut draft = draft(Kind::Table, name, class(oid));
        draft.body = Body::Elements {
            before: format!("CREATE TABLE {name}"),
            layout: Layout::TABLE,
            elements: vec![element],
            after: ";".to_owned(),
        };
        draft
    }

    fn view(name: &str, oid: u32) -> Draft {
        let rule = Address::new("pg_rewrite", oid);
        let mut draft = draft(Kind::View, name, class(oid));
        draft.stands_for = vec![rule];
        let mut made_later = part(Kind::Rule, "_RETURN", rule, class(oid));
        made_later.body = Body::Whole(format!("REPLACE {name};"));
        draft.body = Body::View {
            create: format!("CREATE VIEW {name};"),
            dummy: format!("DUMMY {name};"),
            rule: Box::new(made_later),
        };
        draft
    }

    fn rows(name: &str, of: u32) -> Draft {
        let mut draft = speaks(Kind::TableData, name, class(of));
        draft.section = Section::Data;
        draft.rows = Some(Box::new(crate::catalog::Rows { oid: of, ..Default::default() }));
        draft
    }

    fn edges(edges: &[(Address, Address)]) -> Dependencies {
        let mut dependencies = Dependencies { edges: edges.to_vec(), ..Dependencies::default() };
        dependencies.edges.sort_unstable();
        dependencies
    }

    fn arranged(drafts: Vec<Draft>, dependencies: Dependencies) -> (Vec<Entry>, Vec<String>) {
        let mut warnings = Vec::new();
        let (entries, _) =
            arrange(drafts, dependencies, &Selection::default(), &mut warnings).expect("an order");
        for (position, entry) in entries.iter().enumerate() {
            assert!(entry.depends_on.is_sorted());
            assert!(entry.depends_on.iter().all(|other| (*other as usize) < position));
        }
        assert!(entries.is_sorted_by_key(|entry| entry.section));
        (entries, warnings)
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| format!("{} {}", entry.kind, entry.name)).collect()
    }

    #[test]
    fn order_is_by_kind_and_name_whatever_the_oids() {
        let make = |oids: [u32; 4]| {
            let schema = draft(Kind::Schema, "z", Address::new("pg_namespace", oids[3]));
            vec![
                table("b", oids[0]),
                table("a", oids[1]),
                draft(Kind::Function, "f", Address::new("pg_proc", oids[2])),
                schema,
            ]
        };
        let expected = ["SCHEMA z", "FUNCTION f", "TABLE a", "TABLE b"];
        for oids in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
            let (entries, _) = arranged(make(oids), edges(&[]));
            assert_eq!(names(&entries), expected);
        }
    }

    #[test]
    fn a_dependency_comes_first_whatever_its_name_and_kind() {
        let function = Address::new("pg_proc", 7);
        let drafts = vec![table("a", TABLE), draft(Kind::Function, "f", function)];
        let (entries, _) = arranged(drafts, edges(&[(function, class(TABLE))]));
        assert_eq!(names(&entries), ["TABLE a", "FUNCTION f"]);
        assert_eq!(entries[1].depends_on, [0]);
    }

    #[test]
    fn a_default_that_needs_the_tables_own_sequence_is_set_apart() {
        let default = Address::new("pg_attrdef", TABLE);
        let sequence = part(Kind::Sequence, "q", class(OTHER), class(TABLE));
        let (entries, warnings) = arranged(
            vec![table("t", TABLE), sequence],
            edges(&[
                (default, class(OTHER)),
                (default, class(TABLE)),
                (class(OTHER), class(TABLE)),
            ]),
        );
        assert_eq!(names(&entries), ["TABLE t", "SEQUENCE q", "DEFAULT t.c"]);
        assert_eq!(entries[0].create, "CREATE TABLE t (\n    \"c\" integer\n);");
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_default_that_closes_no_circle_stays_in_the_table() {
        let default = Address::new("pg_attrdef", TABLE);
        let function = Address::new("pg_proc", 7);
        let (entries, _) = arranged(
            vec![table("t", TABLE), draft(Kind::Function, "f", function)],
            edges(&[(default, function), (default, class(TABLE))]),
        );
        assert_eq!(names(&entries), ["FUNCTION f", "TABLE t"]);
        assert_eq!(entries[1].create, "CREATE TABLE t (\n    \"c\" integer DEFAULT 1\n);");
    }

    #[test]
    fn of_views_in_a_circle_the_first_says_nothing_at_first() {
        let rule = |oid| Address::new("pg_rewrite", oid);
        let (entries, warnings) = arranged(
            vec![view("b", OTHER), view("a", TABLE)],
            edges(&[(rule(TABLE), class(OTHER)), (rule(OTHER), class(TABLE))]),
        );
        assert_eq!(names(&entries), ["VIEW a", "VIEW b", "RULE _RETURN"]);
        assert_eq!(entries[0].create, "DUMMY a;");
        assert_eq!(entries[2].create, "REPLACE a;");
        assert_eq!(entries[2].belongs_to, Some(0));
        assert_eq!(entries[2].depends_on, [0, 1]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_view_that_needs_a_key_becomes_true_after_the_rows() {
        let key = Address::new("pg_constraint", 5);
        let rule = Address::new("pg_rewrite", 3);
        let (entries, _) = arranged(
            vec![
                table("t", TABLE),
                part(Kind::Constraint, "t_pkey", key, class(TABLE)),
                view("v", 3),
                table("of_v", OTHER),
                rows("t", TABLE),
            ],
            edges(&[(rule, key), (rule, class(TABLE)), (class(OTHER), class(3))]),
        );
        let expected = [
            "TABLE t",
            "VIEW v",
            "TABLE of_v",
            "TABLE DATA t",
            "CONSTRAINT t_pkey",
            "RULE _RETURN",
        ];
        assert_eq!(names(&entries), expected);
        assert_eq!(entries[1].create, "DUMMY v;");
        // The key waits for the rows.
        assert_eq!(entries[4].depends_on, [0, 3]);
    }

    #[test]
    fn a_materialized_view_that_needs_a_key_is_made_after_the_rows() {
        let key = Address::new("pg_constraint", 5);
        let (entries, _) = arranged(
            vec![
                table("t", TABLE),
                part(Kind::Constraint, "t_pkey", key, class(TABLE)),
                draft(Kind::MaterializedView, "m", class(OTHER)),
                view("v", 3),
            ],
            edges(&[(class(OTHER), key), (Address::new("pg_rewrite", 3), class(OTHER))]),
        );
        let expected =
            ["TABLE t", "VIEW v", "CONSTRAINT t_pkey", "MATERIALIZED VIEW m", "RULE _RETURN"];
        assert_eq!(names(&entries), expected);
        assert_eq!(entries[3].section, Section::PostData);
    }

    #[test]
    fn a_type_and_its_functions_get_a_shell() {
        let (kind, input) = (Address::new("pg_type", 5), Address::new("pg_proc", 6));
        let (entries, warnings) = arranged(
            vec![draft(Kind::Type, "t", kind), draft(Kind::Function, "t_in", input)],
            edges(&[(kind, input), (input, kind)]),
        );
        assert_eq!(names(&entries), ["SHELL TYPE t", "FUNCTION t_in", "TYPE t"]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_circle_without_a_repair_is_told_and_loses_nothing() {
        let (f, g) = (Address::new("pg_proc", 5), Address::new("pg_proc", 6));
        let (entries, warnings) = arranged(
            vec![draft(Kind::Function, "g()", g), draft(Kind::Function, "f()", f)],
            edges(&[(f, g), (g, f)]),
        );
        assert_eq!(entries.len(), 2);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("function \"s\".\"f()\", function \"s\".\"g()\""));
    }

    #[test]
    fn owner_and_comment_follow_their_object_and_privileges_come_last() {
        let (entries, _) = arranged(
            vec![
                table("a", TABLE),
                table("b", OTHER),
                part(Kind::Index, "i", class(9), class(TABLE)),
                speaks(Kind::Comment, "TABLE a", class(TABLE)),
                speaks(Kind::Acl, "TABLE a", class(TABLE)),
                speaks(Kind::Owner, "TABLE a", class(TABLE)),
                speaks(Kind::Comment, "gone", class(77)),
            ],
            edges(&[]),
        );
        let expected =
            ["TABLE a", "OWNER TABLE a", "COMMENT TABLE a", "TABLE b", "INDEX i", "ACL TABLE a"];
        assert_eq!(names(&entries), expected);
        assert_eq!(entries[5].belongs_to, Some(0));
    }

    #[test]
    fn materialized_views_are_refreshed_after_those_they_read() {
        let (first, second, empty) = (class(11), class(12), class(13));
        let (entries, warnings) = arranged(
            vec![
                draft(Kind::MaterializedView, "z", first),
                part(Kind::MaterializedViewData, "z", Address::new("pg_class", 91), first),
                view("v", 3),
                draft(Kind::MaterializedView, "a", second),
                part(Kind::MaterializedViewData, "a", Address::new("pg_class", 92), second),
                draft(Kind::MaterializedView, "e", empty),
                draft(Kind::MaterializedView, "r", class(14)),
                part(Kind::MaterializedViewData, "r", Address::new("pg_class", 94), class(14)),
            ],
            edges(&[
                (Address::new("pg_rewrite", 3), first),
                (second, class(3)),
                (class(14), empty),
            ]),
        );
        let refreshes: Vec<String> = names(&entries)
            .into_iter()
            .filter(|name| name.starts_with("MATERIALIZED VIEW DATA"))
            .collect();
        assert_eq!(refreshes, ["MATERIALIZED VIEW DATA z", "MATERIALIZED VIEW DATA a"]);
        assert_eq!(
            warnings,
            ["materialized view \"s\".\"r\" will have no contents: \
              it reads materialized view \"s\".\"e\", which has none"]
        );
    }

    #[test]
    fn what_goes_with_its_parent_has_no_drop_unless_it_stands_on_something_later() {
        let function = Address::new("pg_proc", 7);
        let (entries, _) = arranged(
            vec![
                table("t", TABLE),
                draft(Kind::Function, "f(t)", function),
                part(Kind::Index, "plain", class(8), class(TABLE)),
                part(Kind::Index, "by_function", class(9), class(TABLE)),
            ],
            edges(&[(function, class(TABLE)), (class(9), function)]),
        );
        let drops: Vec<Option<&str>> = entries.iter().map(|entry| entry.drop.as_deref()).collect();
        assert_eq!(names(&entries)[2..], ["INDEX by_function", "INDEX plain"]);
        assert_eq!(drops[2..], [Some("DROP by_function;"), None]);
    }

    #[test]
    fn rows_of_referenced_tables_come_first_even_in_a_circle() {
        let key = |oid| Address::new("pg_constraint", oid);
        let (entries, _) = arranged(
            vec![
                table("a", 1),
                table("b", 2),
                table("c", 3),
                rows("a", 1),
                rows("b", 2),
                rows("c", 3),
                part(Kind::ForeignKey, "a_to_b", key(1), class(1)),
                part(Kind::ForeignKey, "b_to_c", key(2), class(2)),
                part(Kind::ForeignKey, "b_to_b", key(3), class(2)),
            ],
            edges(&[(key(1), class(2)), (key(2), class(3)), (key(3), class(2))]),
        );
        assert_eq!(names(&entries)[3..6], ["TABLE DATA c", "TABLE DATA b", "TABLE DATA a"]);
        let (entries, warnings) = arranged(
            vec![
                table("a", 1),
                table("b", 2),
                rows("a", 1),
                rows("b", 2),
                part(Kind::ForeignKey, "a_to_b", key(1), class(1)),
                part(Kind::ForeignKey, "b_to_a", key(2), class(2)),
            ],
            edges(&[(key(1), class(2)), (key(2), class(1))]),
        );
        assert_eq!(entries.len(), 6);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_selection_takes_definitions_or_rows_alone() {
        let make = || {
            let mut configured = rows("x", 9);
            configured.belongs_to = Some(Address::new("pg_extension", 5));
            vec![
                draft(Kind::Extension, "e", Address::new("pg_extension", 5)),
                configured,
                table("t", TABLE),
                rows("t", TABLE),
                part(Kind::Index, "i", class(9), class(TABLE)),
                speaks(Kind::Owner, "TABLE t", class(TABLE)),
            ]
        };
        let taken = |selection: Selection| {
            let (entries, tables) =
                arrange(make(), edges(&[]), &selection, &mut Vec::new()).expect("an order");
            for table in &tables {
                assert_eq!(entries[table.entry as usize].name, table.name);
            }
            names(&entries)
        };
        let schema = Selection { without: [Aspect::Rows].into(), ..Selection::default() };
        let expected = ["EXTENSION e", "TABLE t", "OWNER TABLE t", "TABLE DATA x", "INDEX i"];
        assert_eq!(taken(schema), expected);
        let data = Selection { without: [Aspect::Definitions].into(), ..Selection::default() };
        assert_eq!(taken(data), ["TABLE DATA x", "TABLE DATA t"]);
    }

    proptest! {
        #[test]
        fn any_graph_is_put_in_order_and_keeps_every_draft(
            kinds in prop::collection::vec(0_usize..5, 1..24),
            pairs in prop::collection::vec((0_usize..24, 0_usize..24), 0..60),
        ) {
            let address = |node: usize| {
                let oid = u32::try_from(node).expect("few nodes") + 1;
                match kinds[node] {
                    0 | 1 => class(oid),
                    2 => Address::new("pg_proc", oid),
                    3 => Address::new("pg_type", oid),
                    _ => Address::new("pg_constraint", oid),
                }
            };
            let drafts: Vec<Draft> = kinds.iter().enumerate().map(|(node, kind)| {
                let name = format!("n{node}");
                let oid = address(node).oid;
                match kind {
                    0 => table(&name, oid),
                    1 => view(&name, oid),
                    2 => draft(Kind::Function, &name, address(node)),
                    3 => draft(Kind::Type, &name, address(node)),
                    _ => draft(Kind::Constraint, &name, address(node)),
                }
            }).collect();
            // A table depends through its default, a view through its rule.
            let from = |node: usize| match kinds[node] {
                0 => Address::new("pg_attrdef", address(node).oid),
                1 => Address::new("pg_rewrite", address(node).oid),
                _ => address(node),
            };
            let pairs: Vec<(Address, Address)> = pairs
                .into_iter()
                .filter(|(a, b)| a != b && *a < kinds.len() && *b < kinds.len())
                .map(|(a, b)| (from(a), address(b)))
                .collect();
            let (entries, _) = arranged(drafts, edges(&pairs));
            let whole = entries.iter().filter(|entry| entry.name.starts_with('n'));
            let whole: Vec<&Entry> = whole
                .filter(|entry| entry.kind != Kind::ShellType && entry.kind != Kind::Default)
                .collect();
            prop_assert_eq!(whole.len(), kinds.len());
        }
    }
}
