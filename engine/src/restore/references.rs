//! The order of rows where foreign keys are checked as they come in: those of the table that is
//! referred to first. Keys in a circle cannot all be followed; the server says so.

use super::plan::Step;
use pgkeep_format::entry::{Entry, Kind};
use std::collections::{BTreeSet, HashMap};

/// Makes the rows among `steps` wait for the rows that they refer to.
pub(super) fn wait(entries: &[Entry], steps: &mut [Step]) {
    let mut rows: HashMap<usize, Vec<usize>> = HashMap::new();
    for (number, step) in steps.iter().enumerate() {
        if let Some(table) = entries[step.entry].belongs_to.filter(|_| is_rows(entries, step)) {
            rows.entry(table as usize).or_default().push(number);
            // The rows of a partition are those of the tables above it, too.
            let relation = entries[table as usize].relation.as_ref();
            for parent in relation.iter().flat_map(|relation| &relation.parents) {
                rows.entry(*parent as usize).or_default().push(number);
            }
        }
    }
    let mut needs: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); steps.len()];
    for key in entries.iter().filter(|entry| entry.kind == Kind::ForeignKey) {
        let Some(referring) = key.belongs_to.and_then(|table| rows.get(&(table as usize))) else {
            continue;
        };
        let referred = key.depends_on.iter().filter(|table| Some(**table) != key.belongs_to);
        for referred in referred.filter_map(|table| rows.get(&(*table as usize))).flatten() {
            referring.iter().for_each(|number| needs[*number].extend([*referred]));
        }
    }
    let mut order = Order { needs: &needs, seen: vec![Seen::Not; steps.len()], kept: Vec::new() };
    (0..steps.len()).for_each(|number| order.visit(number));
    for (number, needed) in order.kept {
        steps[number].waits_for.push(needed);
        steps[number].waits_for.sort_unstable();
        steps[number].waits_for.dedup();
    }
}

fn is_rows(entries: &[Entry], step: &Step) -> bool {
    entries[step.entry].kind == Kind::TableData
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    OnTheWay,
    Done,
}

/// A walk that keeps all waits but those that would close a circle.
struct Order<'a> {
    needs: &'a [BTreeSet<usize>],
    seen: Vec<Seen>,
    kept: Vec<(usize, usize)>,
}

impl Order<'_> {
    /// With a stack of its own: a chain of tables may be long.
    fn visit(&mut self, number: usize) {
        if self.seen[number] != Seen::Not {
            return;
        }
        self.seen[number] = Seen::OnTheWay;
        let mut way = vec![(number, self.needs[number].iter())];
        while let Some((at, needs)) = way.last_mut() {
            let at = *at;
            match needs.next() {
                None => {
                    self.seen[at] = Seen::Done;
                    way.pop();
                }
                Some(needed) if self.seen[*needed] == Seen::OnTheWay => {}
                Some(needed) => {
                    self.kept.push((at, *needed));
                    if self.seen[*needed] == Seen::Not {
                        self.seen[*needed] = Seen::OnTheWay;
                        way.push((*needed, self.needs[*needed].iter()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::plan::Part;
    use crate::restore::sample::{entry, on, part};

    #[test]
    fn referred_rows_come_first_and_a_circle_is_cut() {
        let key = |of: u32, to: u32| Entry {
            belongs_to: Some(of),
            ..on(Kind::ForeignKey, "key", &[of.min(to), of.max(to)])
        };
        let entries = [
            entry(Kind::Table, "a"),
            entry(Kind::Table, "b"),
            entry(Kind::Table, "c"),
            part(Kind::TableData, "a", 0),
            part(Kind::TableData, "b", 1),
            part(Kind::TableData, "c", 2),
            key(0, 1),
            key(1, 2),
            key(2, 1),
        ];
        let step = |entry| Step {
            entry,
            part: Part::Whole,
            waits_for: Vec::new(),
            locks: Vec::new(),
            work: 0,
        };
        let mut steps = [step(3), step(4), step(5)];
        wait(&entries, &mut steps);
        let waits: Vec<_> = steps.iter().map(|step| step.waits_for.clone()).collect();
        assert_eq!(waits, [vec![1], vec![2], vec![]]);
    }
}
