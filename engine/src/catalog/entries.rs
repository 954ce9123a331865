//! From ordered drafts to entries with positions; nothing here asks the server.

use super::dependency::Dependencies;
use super::graph::Graph;
use super::select::Selection;
use super::{Draft, TableToCopy, order, refresh, repair};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding, Section};
use std::collections::HashMap;

/// Orders `drafts` and makes them entries, those that `selection` leaves out dropped.
pub(super) fn arrange(
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
    let (following, drafts): (Vec<Draft>, Vec<Draft>) =
        drafts.into_iter().partition(order::follows_its_parent);
    let mut graph = Graph::new(drafts, dependencies);
    repair::repair(&mut graph, warnings);
    let unfilled = refresh::order_refreshes(&mut graph, warnings);
    refresh::wait_for_rows(&mut graph);
    let order = order::sorted(&graph);
    if order.len() != graph.drafts.len() {
        return Err(Error::new(ErrorKind::Internal, "objects could not be put in order"));
    }
    let followers = followers(&graph, following);
    let mut maker =
        Maker { graph: &graph, positions: HashMap::new(), entries: Vec::new(), tables: Vec::new() };
    for node in order {
        if unfilled.contains(&node) || !is_wanted(&graph, node, selection) {
            continue;
        }
        let position = maker.node(node)?;
        for follower in followers.get(&node).map_or(&[][..], Vec::as_slice) {
            maker.follower(position, follower)?;
        }
    }
    Ok((maker.entries, maker.tables))
}

/// Owners, comments and labels by what they speak about, in order.
fn followers(graph: &Graph, drafts: Vec<Draft>) -> HashMap<usize, Vec<Draft>> {
    let mut followers: HashMap<usize, Vec<Draft>> = HashMap::new();
    for draft in drafts {
        // What speaks about an object that is not selected goes with it.
        if let Some(node) = draft.belongs_to.and_then(|address| graph.resolve(address)) {
            followers.entry(node).or_default().push(draft);
        }
    }
    for drafts in followers.values_mut() {
        drafts.sort_by_cached_key(|draft| {
            (draft.kind != Kind::Owner, draft.kind, draft.name.clone(), order::create(&draft.body))
        });
    }
    followers
}

/// Whether a selection of definitions or of rows alone takes a node.
fn is_wanted(graph: &Graph, node: usize, selection: &Selection) -> bool {
    let draft = &graph.drafts[node];
    let subject = match (draft.kind, graph.parent(node)) {
        (Kind::Acl, Some(parent)) => &graph.drafts[parent],
        _ => draft,
    };
    let rows = matches!(
        subject.kind,
        Kind::TableData
            | Kind::SequenceSet
            | Kind::LargeObject
            | Kind::LargeObjectData
            | Kind::MaterializedViewData
    );
    // The rows of an extension's configuration are part of its definition.
    let configuration = draft.belongs_to.is_some_and(|address| address.catalog == "pg_extension");
    (rows || !selection.data_only) && (!rows || configuration || !selection.schema_only)
}

struct Maker<'a> {
    graph: &'a Graph,
    positions: HashMap<usize, u32>,
    entries: Vec<Entry>,
    tables: Vec<TableToCopy>,
}

impl Maker<'_> {
    fn node(&mut self, node: usize) -> Result<u32> {
        let draft = &self.graph.drafts[node];
        let known = |other: &usize| self.positions.get(other).copied();
        let mut depends_on: Vec<u32> =
            self.graph.depends_on(node).iter().filter_map(known).collect();
        depends_on.sort_unstable();
        let belongs_to = self.graph.parent(node).as_ref().and_then(known);
        let mut entry = entry(draft, depends_on, belongs_to);
        if let Some(parent) = belongs_to
            && entry.depends_on.iter().all(|other| *other <= parent)
        {
            // Entries are dropped in the order's reverse: the parent goes before all that
            // this stands on, and takes it along.
            entry.drop = None;
        }
        let position = self.push(entry)?;
        if let Some(rows) = &draft.rows {
            self.tables.push(TableToCopy {
                entry: position,
                schema: draft.schema.clone().unwrap_or_default(),
                name: draft.name.clone(),
                rows: rows.clone(),
            });
        }
        self.positions.insert(node, position);
        Ok(position)
    }

    fn follower(&mut self, parent: u32, draft: &Draft) -> Result<()> {
        let mut entry = entry(draft, vec![parent], Some(parent));
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

fn entry(draft: &Draft, depends_on: Vec<u32>, belongs_to: Option<u32>) -> Entry {
    Entry {
        kind: draft.kind.into(),
        section: draft.section,
        schema: draft.schema.clone(),
        name: draft.name.clone(),
        create: order::create(&draft.body),
        drop: draft.drop.clone(),
        depends_on,
        belongs_to,
        relation: draft.relation.clone(),
        data: draft.rows.as_ref().map(|rows| Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: rows.columns.clone(),
            rows: 0,
            bytes: 0,
        }),
    }
}
