//! What `--clean` replaces together: groups of entries that stand on each other.
//!
//! The definitions of a group are dropped and made anew in one transaction, so that others see
//! the old ones or the new ones. Groups know nothing of each other: nothing in one depends on
//! anything in another, so they come one after another, each with as few locks as it needs.

use super::rename::Rename;
use super::there::There;
use crate::catalog::{Turn, drops, turn};
use pgkeep_format::entry::{Entry, EntryKind, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that are replaced together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// All of them, rows and what comes after rows included.
    pub(super) entries: BTreeSet<usize>,
    /// Entries with the SQL that drops them, in order.
    pub(super) drops: Vec<(usize, String)>,
    /// Definitions to make, in order.
    pub(super) definitions: Vec<usize>,
}

/// What is to be replaced.
pub(super) struct Replaced<'a> {
    /// What is restored.
    pub(super) selected: &'a BTreeSet<usize>,
    /// What of it is dropped first.
    pub(super) asked: &'a BTreeSet<usize>,
    /// Entries that are dropped otherwise than by their own SQL.
    pub(super) drops: Vec<(usize, String)>,
}

/// The groups of what is replaced: only those of which something has to be dropped. All else is
/// made where nothing is yet.
pub(super) fn groups(
    entries: &[Entry],
    replaced: Replaced<'_>,
    there: &There,
    rename: &Rename,
    if_exists: bool,
) -> Vec<Group> {
    // What every database has stays, so that what stands on it does not hang together by it.
    let stays = |at: usize| {
        let entry = &entries[at];
        let kind = &entry.kind;
        let is_general =
            matches!(kind, EntryKind::Known(Kind::Schema | Kind::Extension | Kind::Language));
        is_general && entry.drop.is_none() && there.has(entries, at, rename)
    };
    let moving = replaced.selected.iter().copied().filter(|at| !stays(*at)).collect();
    let otherwise: BTreeSet<usize> = replaced.drops.iter().map(|(at, _)| *at).collect();
    let mut groups = Vec::new();
    for members in components(entries, &moving) {
        let asked = members.intersection(replaced.asked).copied();
        let dropped = asked
            .filter(|at| !otherwise.contains(at))
            .filter(|at| !(if_exists && there.lacks(entries, *at, rename)))
            .collect();
        let first = replaced.drops.iter().filter(|(at, _)| members.contains(at)).cloned();
        let drops: Vec<_> = first.chain(drops(entries, &dropped, if_exists)).collect();
        if drops.is_empty() {
            continue;
        }
        let is_definition = |at: &usize| turn(entries, &entries[*at]) == Turn::Before;
        let definitions = members.iter().copied().filter(is_definition).collect();
        groups.push(Group { entries: members, drops, definitions });
    }
    groups
}

/// The connected components of what depends on what, in the order of their first entries.
fn components(entries: &[Entry], moving: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
    let mut leaders: Vec<usize> = (0..entries.len()).collect();
    for at in moving {
        let entry = &entries[*at];
        let parents = entry.relation.iter().flat_map(|relation| &relation.parents);
        for other in entry.depends_on.iter().chain(&entry.belongs_to).chain(parents) {
            let other = *other as usize;
            if moving.contains(&other) {
                let (one, two) = (leader(&mut leaders, *at), leader(&mut leaders, other));
                leaders[one.max(two)] = one.min(two);
            }
        }
    }
    let mut components: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for at in moving {
        components.entry(leader(&mut leaders, *at)).or_default().insert(*at);
    }
    components.into_values().collect()
}

/// The first entry of the component that an entry is in.
fn leader(leaders: &mut [usize], mut at: usize) -> usize {
    while leaders[at] != at {
        // Halves the path for whoever comes next.
        leaders[at] = leaders[leaders[at]];
        at = leaders[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::sample::{entry, on, part};

    #[test]
    fn a_group_is_what_hangs_together_by_what_is_replaced() {
        let entries = [
            entry(Kind::Schema, "app"),
            on(Kind::Table, "jobs", &[0]),
            on(Kind::Table, "other", &[0]),
            on(Kind::View, "open_jobs", &[0, 1]),
            part(Kind::Index, "jobs_state", 1),
            on(Kind::Table, "third", &[0]),
            on(Kind::ForeignKey, "key", &[1, 5]),
        ];
        // The schema is not replaced, and so connects nothing.
        let moving = BTreeSet::from([1, 2, 3, 4, 5, 6]);
        let expected = [BTreeSet::from([1, 3, 4, 5, 6]), BTreeSet::from([2])];
        assert_eq!(components(&entries, &moving), expected);
        let all = (0..entries.len()).collect();
        assert_eq!(components(&entries, &all), [all]);
    }
}
