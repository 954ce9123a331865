//! Makes a graph of drafts orderable: breaks circles by splitting what can be split, and
//! moves after the rows what needs something that is made after them.

use crate::catalog::objects::types;
use crate::catalog::ordering::graph::Graph;
use crate::catalog::ordering::sort;
use crate::catalog::{Address, Draft};
use crate::postgres::qualified;
use pgkeep_format::entry::{Kind, Section};

/// Repairs `graph` until it has no circle and no draft depends on one of a later section.
pub(in crate::catalog) fn repair(graph: &mut Graph, warnings: &mut Vec<String>) {
    // Each round splits a draft or gives up an edge, of which there are finitely many.
    loop {
        let circles = graph.circles();
        if circles.is_empty() {
            if !split_by_section(graph) {
                break;
            }
        } else {
            for circle in circles {
                repair_circle(graph, circle, warnings);
            }
        }
        graph.connect();
    }
    move_by_section(graph);
}

fn repair_circle(graph: &mut Graph, mut circle: Vec<usize>, warnings: &mut Vec<String>) {
    if set_parts_apart(graph, &circle) || make_shells(graph, &circle) {
        return;
    }
    circle.sort_by(|a, b| sort::compare(graph, *a, *b));
    if circle.iter().any(|node| graph.make_dummy(*node)) {
        return;
    }
    let names: Vec<String> = circle.iter().map(|node| describe(&graph.drafts[*node])).collect();
    warnings.push(format!(
        "objects depend on one another in a circle that cannot be restored in any order: {}",
        names.join(", ")
    ));
    for from in &circle {
        let to = circle.iter().find(|to| graph.depends_on(*from).contains(to));
        if let Some(to) = to {
            graph.break_edge(*from, *to);
            return;
        }
    }
}

fn describe(draft: &Draft) -> String {
    let name = match &draft.schema {
        Some(schema) => qualified(schema, &draft.name),
        None => draft.name.clone(),
    };
    format!("{} {name}", draft.kind.as_str().to_lowercase())
}

/// Defaults and constraints that depend on another draft of the circle are made alone.
fn set_parts_apart(graph: &mut Graph, circle: &[usize]) -> bool {
    let mut any = false;
    for node in circle {
        let wanted = parts_that(graph, *node, |to| to != *node && circle.contains(&to));
        any |= graph.set_apart(*node, &wanted);
    }
    any
}

/// The inline parts of a node that depend on a node that meets `condition`.
fn parts_that(graph: &Graph, node: usize, condition: impl Fn(usize) -> bool) -> Vec<Address> {
    let inline = graph.drafts[node].body.parts().filter(|part| !part.apart);
    inline
        .filter_map(|part| part.alone.address)
        .filter(|address| graph.depends_on_of(*address).any(&condition))
        .collect()
}

/// A type and the functions that read and write it: the functions name a shell of it.
fn make_shells(graph: &mut Graph, circle: &[usize]) -> bool {
    let mut any = false;
    for node in circle {
        let draft = &graph.drafts[*node];
        let (Kind::Type, Some(address)) = (draft.kind, draft.address) else { continue };
        let functions: Vec<usize> = circle
            .iter()
            .copied()
            .filter(|other| graph.drafts[*other].kind == Kind::Function)
            .filter(|function| graph.depends_on(*function).contains(node))
            .collect();
        if functions.is_empty() {
            continue;
        }
        let name = Address { column: -1, ..address };
        if graph.resolve(name).is_none() {
            let shell = types::shell(&mut graph.drafts[*node]);
            graph.drafts.push(shell);
        }
        graph.redirect(&functions, *node, name);
        // Neither can be dropped before the other, so the type takes its functions along.
        if let Some(drop) = &mut graph.drafts[*node].drop
            && !drop.ends_with(" CASCADE;")
        {
            *drop = format!("{} CASCADE;", drop.trim_end_matches(';'));
        }
        for function in functions {
            graph.drafts[function].drop = None;
        }
        any = true;
    }
    any
}

/// Splits views and tables that would have to come after the rows; says whether any was.
fn split_by_section(graph: &mut Graph) -> bool {
    let mut sections: Vec<Section> = graph.drafts.iter().map(|draft| draft.section).collect();
    let mut any = false;
    for node in sort::by_dependencies(graph) {
        let late = graph.depends_on(node).iter().any(|to| sections[*to] == Section::PostData);
        if !late || sections[node] != Section::PreData {
            let latest = graph.depends_on(node).iter().map(|to| sections[*to]).max();
            sections[node] = sections[node].max(latest.unwrap_or(Section::PreData));
            continue;
        }
        let wanted = parts_that(graph, node, |to| sections[to] == Section::PostData);
        if graph.set_apart(node, &wanted) || graph.make_dummy(node) {
            any = true;
        } else {
            sections[node] = Section::PostData;
        }
    }
    any
}

/// Gives each draft the latest section of those that it depends on.
fn move_by_section(graph: &mut Graph) {
    for node in sort::by_dependencies(graph) {
        let latest = graph.depends_on(node).iter().map(|to| graph.drafts[*to].section).max();
        let section = graph.drafts[node].section.max(latest.unwrap_or(Section::PreData));
        graph.drafts[node].section = section;
    }
}
