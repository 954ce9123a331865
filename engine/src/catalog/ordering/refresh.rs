//! Edges that no catalog knows: what waits for rows, and which materialized view is
//! refreshed before which.

use crate::catalog::Draft;
use crate::catalog::ordering::graph::Graph;
use crate::postgres::qualified;
use pgkeep_format::entry::{Kind, Section};
use std::collections::{HashMap, HashSet};

/// Lets all that is made of a table after the rows wait for its rows.
pub(in crate::catalog) fn wait_for_rows(graph: &mut Graph) {
    let mut rows = children(graph, Kind::TableData);
    // The rows of an extension's configuration are waited for by nothing.
    rows.retain(|parent, _| graph.drafts[*parent].kind == Kind::Table);
    let partitions = partitions(graph);
    let mut edges = Vec::new();
    for (node, draft) in graph.drafts.iter().enumerate() {
        if draft.section != Section::PostData {
            continue;
        }
        for to in graph.depends_on(node) {
            edges.extend(rows.get(to).map(|rows| (node, *rows)));
            // All else that is made of a partitioned table is made without its partitions.
            if draft.kind == Kind::ForeignKey {
                edges.extend(
                    below(*to, &partitions)
                        .iter()
                        .filter_map(|table| rows.get(table))
                        .map(|rows| (node, *rows)),
                );
            }
        }
    }
    for (from, to) in edges {
        graph.add_edge(from, to);
    }
}

/// Lets each materialized view be refreshed after those that it reads.
///
/// Returns the nodes that cannot be refreshed because what they read has no contents.
pub(in crate::catalog) fn order_refreshes(
    graph: &mut Graph,
    warnings: &mut Vec<String>,
) -> HashSet<usize> {
    let refreshes = children(graph, Kind::MaterializedViewData);
    let rules = view_rules(graph);
    let mut edges = Vec::new();
    let mut skipped = HashSet::new();
    for (view, refresh) in &refreshes {
        for read in materialized_views_read_by(graph, *view, &rules) {
            match refreshes.get(&read) {
                Some(other) => edges.push((*refresh, *other)),
                None => {
                    skipped.insert(*refresh);
                    let (of, by) = (&graph.drafts[*view], &graph.drafts[read]);
                    warnings.push(format!(
                        "{} will have no contents: it reads {}, which has none",
                        describe(of),
                        describe(by)
                    ));
                }
            }
        }
    }
    warnings.sort();
    for (from, to) in edges {
        graph.add_edge(from, to);
    }
    skipped
}

fn describe(draft: &Draft) -> String {
    format!(
        "materialized view {}",
        qualified(draft.schema.as_deref().unwrap_or_default(), &draft.name)
    )
}

/// For each node the one of a kind that belongs to it.
fn children(graph: &Graph, kind: Kind) -> HashMap<usize, usize> {
    let nodes = graph.drafts.iter().enumerate().filter(|(_, draft)| draft.kind == kind);
    nodes.filter_map(|(node, _)| Some((graph.parent(node)?, node))).collect()
}

/// For each partitioned table its partitions.
fn partitions(graph: &Graph) -> HashMap<usize, Vec<usize>> {
    let mut partitions: HashMap<usize, Vec<usize>> = HashMap::new();
    for (node, draft) in graph.drafts.iter().enumerate() {
        if draft.kind == Kind::TableAttach
            && let Some(partition) = graph.parent(node)
        {
            let tables = graph.depends_on(node).iter().filter(|table| **table != partition);
            for parent in tables.filter(|table| graph.drafts[**table].kind == Kind::Table) {
                partitions.entry(*parent).or_default().push(partition);
            }
        }
    }
    partitions
}

fn below(table: usize, partitions: &HashMap<usize, Vec<usize>>) -> Vec<usize> {
    let mut found = Vec::new();
    // A server may say that a table is a partition of itself.
    let mut seen = HashSet::from([table]);
    let mut open = vec![table];
    while let Some(table) = open.pop() {
        for part in partitions.get(&table).map_or(&[][..], Vec::as_slice) {
            if seen.insert(*part) {
                found.push(*part);
                open.push(*part);
            }
        }
    }
    found
}

/// For each view that says nothing at first, the rule that makes it the true one.
fn view_rules(graph: &Graph) -> HashMap<usize, usize> {
    let nodes = graph.drafts.iter().enumerate();
    let rules = nodes.filter(|(_, draft)| draft.kind == Kind::Rule && draft.name == "_RETURN");
    rules.filter_map(|(node, _)| Some((graph.parent(node)?, node))).collect()
}

fn materialized_views_read_by(
    graph: &Graph,
    view: usize,
    rules: &HashMap<usize, usize>,
) -> Vec<usize> {
    let mut seen = HashSet::from([view]);
    let mut open = vec![view];
    let mut found = Vec::new();
    while let Some(node) = open.pop() {
        for to in graph.depends_on(node).iter().chain(rules.get(&node)) {
            if !seen.insert(*to) {
                continue;
            }
            open.push(*to);
            if graph.drafts[*to].kind == Kind::MaterializedView {
                found.push(*to);
            }
        }
    }
    found
}
