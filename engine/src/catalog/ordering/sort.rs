//! The order of drafts: by section and kind, after what they depend on, by name where
//! that leaves a choice. No OID has a say.

use crate::catalog::ordering::graph::Graph;
use crate::catalog::{Body, Draft};
use pgkeep_format::entry::{Kind, Section};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Kinds in the order in which they are created where nothing else decides.
const KINDS: &[Kind] = &[
    Kind::Database,
    Kind::DatabaseProperties,
    Kind::Schema,
    Kind::Language,
    Kind::Collation,
    Kind::Extension,
    Kind::ShellType,
    Kind::Type,
    Kind::Domain,
    // Before functions: a function's body may need a cast that no dependency tells of.
    Kind::Cast,
    Kind::Transform,
    Kind::Function,
    Kind::Procedure,
    Kind::Aggregate,
    Kind::AccessMethod,
    Kind::Operator,
    Kind::OperatorFamily,
    Kind::OperatorClass,
    Kind::Conversion,
    Kind::TextSearchParser,
    Kind::TextSearchTemplate,
    Kind::TextSearchDictionary,
    Kind::TextSearchConfiguration,
    Kind::ForeignDataWrapper,
    Kind::Server,
    Kind::UserMapping,
    Kind::Sequence,
    Kind::Table,
    Kind::ForeignTable,
    Kind::View,
    Kind::MaterializedView,
    Kind::TableAttach,
    Kind::SequenceOwnedBy,
    Kind::Default,
    Kind::TableData,
    Kind::SequenceSet,
    Kind::LargeObject,
    Kind::LargeObjectData,
    Kind::Constraint,
    Kind::CheckConstraint,
    Kind::Index,
    Kind::IndexAttach,
    Kind::Statistics,
    Kind::Rule,
    Kind::Trigger,
    Kind::ForeignKey,
    Kind::RowSecurity,
    Kind::Policy,
    Kind::Publication,
    Kind::PublicationTable,
    Kind::PublicationSchema,
    Kind::Subscription,
    Kind::Owner,
    Kind::Comment,
    Kind::SecurityLabel,
    // Default privileges would change what is made after them.
    Kind::DefaultAcl,
    Kind::Acl,
    // A view is refreshed by its owner, who may need the privileges.
    Kind::MaterializedViewData,
    Kind::StatisticsData,
    // Fires on all that would be made after it.
    Kind::EventTrigger,
];

fn priority(kind: Kind) -> usize {
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

/// What nodes are compared by: section, kind, schema, the parent's name, name.
type Key<'a> = (Section, usize, Option<&'a str>, Option<&'a str>, &'a str);

fn key(graph: &Graph, node: usize) -> Key<'_> {
    let draft = &graph.drafts[node];
    let parent = graph.parent(node).map(|parent| graph.drafts[parent].name.as_str());
    (draft.section, priority(draft.kind), draft.schema.as_deref(), parent, &draft.name)
}

/// Compares two nodes by section, kind, schema, the parent's name, name, and what tells
/// namesakes apart.
pub(in crate::catalog) fn compare(graph: &Graph, a: usize, b: usize) -> Ordering {
    key(graph, a).cmp(&key(graph, b)).then_with(|| compare_namesakes(graph, a, b))
}

fn compare_namesakes(graph: &Graph, a: usize, b: usize) -> Ordering {
    create(&graph.drafts[a].body).cmp(&create(&graph.drafts[b].body))
}

/// All nodes, each after those it depends on; nodes in circles come last.
pub(in crate::catalog) fn by_dependencies(graph: &Graph) -> Vec<usize> {
    sort(graph, &(0..graph.drafts.len()).collect::<Vec<_>>())
}

/// All nodes in the order in which their entries stand.
pub(in crate::catalog) fn sorted(graph: &Graph) -> Vec<usize> {
    let levels = levels(graph);
    let mut order: Vec<usize> = (0..graph.drafts.len()).collect();
    let keys: Vec<Key<'_>> = order.iter().map(|node| key(graph, *node)).collect();
    let level = |node: &usize| levels.get(node).copied().unwrap_or(0);
    order.sort_by(|a, b| {
        let rows = |node: usize| graph.drafts[node].kind == Kind::TableData;
        let by_level = if rows(*a) && rows(*b) { level(a).cmp(&level(b)) } else { Ordering::Equal };
        let by_name = || keys[*a].cmp(&keys[*b]);
        by_level.then_with(by_name).then_with(|| compare_namesakes(graph, *a, *b))
    });
    let mut ranks = vec![0; order.len()];
    for (rank, node) in order.into_iter().enumerate() {
        ranks[node] = rank;
    }
    sort(graph, &ranks)
}

/// Takes at each step the node of the least rank of which all dependencies are done.
fn sort(graph: &Graph, ranks: &[usize]) -> Vec<usize> {
    let nodes = graph.drafts.len();
    let mut waiting: Vec<usize> = (0..nodes).map(|node| graph.depends_on(node).len()).collect();
    let mut dependents = vec![Vec::new(); nodes];
    for node in 0..nodes {
        for to in graph.depends_on(node) {
            dependents[*to].push(node);
        }
    }
    let mut ready: BinaryHeap<Reverse<(usize, usize)>> = (0..nodes)
        .filter(|node| waiting[*node] == 0)
        .map(|node| Reverse((ranks[node], node)))
        .collect();
    let mut order = Vec::with_capacity(nodes);
    while let Some(Reverse((_, node))) = ready.pop() {
        order.push(node);
        for dependent in &dependents[node] {
            waiting[*dependent] -= 1;
            if waiting[*dependent] == 0 {
                ready.push(Reverse((ranks[*dependent], *dependent)));
            }
        }
    }
    order
}

/// For the rows of each table how many foreign keys lie between it and a table that
/// references none: with rows loaded in this order, foreign keys that are there already
/// hold at each step. Where they run in a circle, one of them is passed over.
fn levels(graph: &Graph) -> HashMap<usize, usize> {
    let mut references: HashMap<usize, Vec<usize>> = HashMap::new();
    for (node, draft) in graph.drafts.iter().enumerate() {
        if draft.kind == Kind::ForeignKey
            && let Some(table) = graph.parent(node)
        {
            let others = graph.depends_on(node).iter().copied();
            references.entry(table).or_default().extend(
                others.filter(|other| *other != table && graph.drafts[*other].kind == Kind::Table),
            );
        }
    }
    // Where to enter a circle, and which way to go on, decides who is passed over.
    for others in references.values_mut() {
        others.sort_by(|a, b| compare(graph, *a, *b));
    }
    let mut tables: Vec<usize> = references.keys().copied().collect();
    tables.sort_by(|a, b| compare(graph, *a, *b));
    let mut levels: HashMap<usize, usize> = HashMap::new();
    for table in tables {
        measure(table, &references, &mut levels);
    }
    let rows = graph.drafts.iter().enumerate().filter(|(_, draft)| draft.kind == Kind::TableData);
    rows.filter_map(|(node, _)| Some((node, *levels.get(&graph.parent(node)?)?))).collect()
}

/// Finds the level of `table` and of all that it references, without recursion.
fn measure(
    table: usize,
    references: &HashMap<usize, Vec<usize>>,
    levels: &mut HashMap<usize, usize>,
) {
    let mut on_path = HashSet::from([table]);
    let mut path = vec![(table, 0, 0)];
    while let Some((node, next, level)) = path.last_mut() {
        let others = references.get(node).map_or(&[][..], Vec::as_slice);
        if let Some(other) = others.get(*next) {
            *next += 1;
            if let Some(known) = levels.get(other) {
                *level = (*level).max(known + 1);
            } else if on_path.insert(*other) {
                path.push((*other, 0, 0));
            }
            continue;
        }
        let (node, level) = (*node, *level);
        levels.insert(node, level);
        path.pop();
        if let Some((_, _, parent)) = path.last_mut() {
            *parent = (*parent).max(level + 1);
        }
    }
}

/// The SQL of a body without the parts that are made alone.
pub(in crate::catalog) fn create(body: &Body) -> String {
    match body {
        Body::Whole(create) | Body::View { create, .. } => create.clone(),
        Body::Elements { before, layout, elements, after } => {
            let texts: Vec<String> = elements
                .iter()
                .map(|element| match &element.part {
                    Some(part) if !part.apart => format!("{}{}", element.text, part.text),
                    _ => element.text.clone(),
                })
                .filter(|text| !text.is_empty())
                .collect();
            if texts.is_empty() {
                return format!("{before}{}{after}", layout.empty);
            }
            format!(
                "{before}{}{}{}{after}",
                layout.open,
                texts.join(layout.separator),
                layout.close
            )
        }
    }
}

/// The same, of a body that is no longer needed.
pub(in crate::catalog) fn into_create(body: Body) -> String {
    match body {
        Body::Whole(create) | Body::View { create, .. } => create,
        Body::Elements { .. } => create(&body),
    }
}

/// Whether a draft stands right after what it speaks about, and not in the order.
pub(in crate::catalog) fn follows_its_parent(draft: &Draft) -> bool {
    draft.kind.is_satellite() && draft.kind != Kind::Acl && draft.belongs_to.is_some()
}
