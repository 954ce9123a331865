//! Drafts as nodes, dependencies as edges between them; nothing here asks the server.

use crate::catalog::ordering::dependency::Dependencies;
use crate::catalog::{Address, Body, Draft};
use std::collections::{HashMap, HashSet};

/// How many times an object may lie inside another that has no draft: an array type
/// inside a multirange inside a range inside an extension is the deepest known.
const DEPTH_MAX: usize = 8;

/// Drafts and the edges between them.
pub(in crate::catalog) struct Graph {
    /// The nodes; positions never change, new ones come last.
    pub(in crate::catalog) drafts: Vec<Draft>,
    dependencies: Dependencies,
    /// Edges given up because they ran in a circle, by node.
    broken: HashSet<(usize, usize)>,
    positions: HashMap<Address, usize>,
    /// For each node the nodes that it depends on, ascending.
    depends_on: Vec<Vec<usize>>,
}

impl Graph {
    /// Makes nodes of drafts; parts that are always apart become nodes of their own.
    pub(in crate::catalog) fn new(drafts: Vec<Draft>, dependencies: Dependencies) -> Self {
        let apart: Vec<Draft> = drafts
            .iter()
            .flat_map(|draft| draft.body.parts())
            .filter(|part| part.apart)
            .map(|part| part.alone.clone())
            .collect();
        let mut graph = Self {
            drafts,
            dependencies,
            broken: HashSet::new(),
            positions: HashMap::new(),
            depends_on: Vec::new(),
        };
        graph.drafts.extend(apart);
        graph.connect();
        graph
    }

    /// The nodes that a node depends on, ascending.
    pub(in crate::catalog) fn depends_on(&self, node: usize) -> &[usize] {
        &self.depends_on[node]
    }

    /// The node that makes an object.
    pub(in crate::catalog) fn resolve(&self, address: Address) -> Option<usize> {
        // Columns stand for their relation; what is below 0 was never a column.
        let mut address = Address { column: address.column.min(0), ..address };
        for _ in 0..DEPTH_MAX {
            if let Some(node) = self.positions.get(&address) {
                return Some(*node);
            }
            address = *self.dependencies.inside.get(&address)?;
        }
        None
    }

    /// The node that a node belongs to.
    pub(in crate::catalog) fn parent(&self, node: usize) -> Option<usize> {
        self.drafts[node]
            .belongs_to
            .and_then(|address| self.resolve(address))
            .filter(|parent| *parent != node)
    }

    /// The nodes that one address of a node depends on.
    pub(in crate::catalog) fn depends_on_of(
        &self,
        address: Address,
    ) -> impl Iterator<Item = usize> + '_ {
        let edges = &self.dependencies.edges;
        let start = edges.partition_point(|(from, _)| *from < address);
        edges[start..]
            .iter()
            .take_while(move |(from, _)| *from == address)
            .filter_map(|(_, to)| self.resolve(*to))
    }

    /// Finds all edges anew; to be called after drafts or dependencies changed.
    pub(in crate::catalog) fn connect(&mut self) {
        self.positions.clear();
        for (node, draft) in self.drafts.iter().enumerate() {
            let inline = draft.body.parts().filter(|part| !part.apart);
            let own = draft.address.into_iter().chain(draft.stands_for.iter().copied());
            for address in own.chain(inline.filter_map(|part| part.alone.address)) {
                self.positions.entry(address).or_insert(node);
            }
        }
        let mut depends_on = vec![Vec::new(); self.drafts.len()];
        for (from, to) in &self.dependencies.edges {
            if let (Some(from), Some(to)) = (self.resolve(*from), self.resolve(*to)) {
                depends_on[from].push(to);
            }
        }
        for (node, draft) in self.drafts.iter().enumerate() {
            let named = draft.depends_on.iter().chain(&draft.belongs_to);
            depends_on[node].extend(named.filter_map(|address| self.resolve(*address)));
        }
        for (node, edges) in depends_on.iter_mut().enumerate() {
            edges.retain(|to| *to != node && !self.broken.contains(&(node, *to)));
            edges.sort_unstable();
            edges.dedup();
        }
        self.depends_on = depends_on;
    }

    /// Makes some inline parts of a node nodes of their own; says whether there were any.
    pub(in crate::catalog) fn set_apart(&mut self, node: usize, wanted: &[Address]) -> bool {
        let Body::Elements { elements, .. } = &mut self.drafts[node].body else { return false };
        let mut alone = Vec::new();
        for part in elements.iter_mut().filter_map(|element| element.part.as_deref_mut()) {
            let named = part.alone.address.is_some_and(|address| wanted.contains(&address));
            if named && !part.apart {
                part.apart = true;
                alone.push(part.alone.clone());
            }
        }
        let any = !alone.is_empty();
        self.drafts.extend(alone);
        any
    }

    /// Makes a view say nothing at first; says whether it was a view that said something.
    pub(in crate::catalog) fn make_dummy(&mut self, node: usize) -> bool {
        let draft = &mut self.drafts[node];
        if !matches!(draft.body, Body::View { .. }) {
            return false;
        }
        let body = std::mem::replace(&mut draft.body, Body::Whole(String::new()));
        if let Body::View { dummy, rule, .. } = body {
            draft.body = Body::Whole(dummy);
            draft.stands_for.retain(|address| Some(*address) != rule.address);
            self.drafts.push(*rule);
        }
        true
    }

    /// Lets nodes that depend on `object` depend on `address` instead.
    pub(in crate::catalog) fn redirect(
        &mut self,
        nodes: &[usize],
        object: usize,
        address: Address,
    ) {
        let mut edges = std::mem::take(&mut self.dependencies.edges);
        for (from, to) in &mut edges {
            let concerned = self.resolve(*from).is_some_and(|from| nodes.contains(&from));
            if concerned && self.resolve(*to) == Some(object) {
                *to = address;
            }
        }
        edges.sort_unstable();
        edges.dedup();
        self.dependencies.edges = edges;
    }

    /// Gives up an edge.
    pub(in crate::catalog) fn break_edge(&mut self, from: usize, to: usize) {
        self.broken.insert((from, to));
    }

    /// Adds an edge beyond those that the catalogs know.
    pub(in crate::catalog) fn add_edge(&mut self, from: usize, to: usize) {
        if let Err(place) = self.depends_on[from].binary_search(&to)
            && from != to
        {
            self.depends_on[from].insert(place, to);
        }
    }

    /// Sets of nodes that depend on one another in a circle, each ascending; none when
    /// the nodes can be ordered.
    pub(in crate::catalog) fn circles(&self) -> Vec<Vec<usize>> {
        let mut search = Search::new(self.depends_on.len());
        for node in 0..self.depends_on.len() {
            search.visit(node, &self.depends_on);
        }
        search.circles
    }
}

/// Tarjan's search for strongly connected components, without recursion: a chain of
/// dependencies may be as long as there are objects.
struct Search {
    order: Vec<Option<usize>>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    seen: usize,
    circles: Vec<Vec<usize>>,
}

impl Search {
    fn new(nodes: usize) -> Self {
        Self {
            order: vec![None; nodes],
            low: vec![0; nodes],
            on_stack: vec![false; nodes],
            stack: Vec::new(),
            seen: 0,
            circles: Vec::new(),
        }
    }

    fn enter(&mut self, node: usize) {
        self.order[node] = Some(self.seen);
        self.low[node] = self.seen;
        self.seen += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn visit(&mut self, root: usize, edges: &[Vec<usize>]) {
        if self.order[root].is_some() {
            return;
        }
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            if let Some(to) = edges[node].get(*next).copied() {
                *next += 1;
                match self.order[to] {
                    None => {
                        self.enter(to);
                        path.push((to, 0));
                    }
                    Some(order) if self.on_stack[to] => {
                        self.low[node] = self.low[node].min(order);
                    }
                    Some(_) => {}
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                self.low[*parent] = self.low[*parent].min(self.low[node]);
            }
            if Some(self.low[node]) == self.order[node] {
                self.leave(node);
            }
        }
    }

    /// Takes the component that `root` closes off the stack.
    fn leave(&mut self, root: usize) {
        let mut component = Vec::new();
        while let Some(node) = self.stack.pop() {
            self.on_stack[node] = false;
            component.push(node);
            if node == root {
                break;
            }
        }
        if component.len() > 1 {
            component.sort_unstable();
            self.circles.push(component);
        }
    }
}
