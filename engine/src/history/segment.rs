//! The changes of one segment, the newest first.

use super::History;
use super::recorded::Recorded;
use crate::fold::{Counts, Read};
use crate::repository::{Repository, Segment};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::segment::{ChangeChunk, ClearPart, DEFINITIONS, SealedPart};
use std::collections::BTreeMap;

/// Transactions whose commits begin at `start` or later, and before `end`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The changes of one table, the newest first.
struct Cursor<'s> {
    /// Those that were not read yet, the newest last: the relation, and chunks.
    units: Vec<(u32, &'s [ChangeChunk])>,
    /// The one that is read, its relation, and how many of its changes are still to come.
    read: Option<(Read, u32, usize)>,
}

impl History<'_, '_> {
    /// Tells the changes of a segment that were asked for.
    pub(super) async fn read_segment(&mut self, segment: Segment, range: Range) -> Result<()> {
        segment.sealed_part()?;
        let (clear, Some(sealed)) = (segment.clear, segment.sealed) else { return Ok(()) };
        for version in sealed.relations.iter().filter(|version| version.oid != DEFINITIONS) {
            if self.asked.tables.matches(&version.schema, &version.name) {
                self.tables.insert(version.oid);
            }
        }
        let before = sealed.transactions.partition_point(|one| one.lsn < range.end);
        let counts = Counts::of(&sealed, before, |one| one.lsn < range.start);
        let mut cursors = self.cursors(&sealed);
        loop {
            // Between tables only the order of transactions is known.
            let mut newest: Option<(u32, usize)> = None;
            for (number, cursor) in cursors.iter_mut().enumerate() {
                let member = cursor.member(self.repository, &clear, &counts).await?;
                let place = member.map(|member| match sealed.rolled_back {
                    Some(_) => 0,
                    None => member,
                });
                if let Some(place) = place
                    && newest.is_none_or(|(greatest, _)| place > greatest)
                {
                    newest = Some((place, number));
                }
            }
            let Some((place, number)) = newest else { return Ok(()) };
            let transaction = *sealed.transactions.get(place as usize).ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "change is of no transaction of its segment")
            })?;
            if let Some((read, relation, left)) = &mut cursors[number].read {
                *left -= 1;
                let table = &sealed.relations[*relation as usize];
                if let Some(change) = read.change(&counts, *left)? {
                    self.tell(&Recorded::new(transaction, table, &change)?)?;
                }
            }
            if self.found.is_cut {
                return Ok(());
            }
        }
    }

    /// A cursor for each table that was asked for.
    fn cursors<'s>(&self, sealed: &'s SealedPart) -> Vec<Cursor<'s>> {
        let mut of_tables: BTreeMap<u32, Vec<(u32, &'s [ChangeChunk])>> = BTreeMap::new();
        for run in &sealed.runs {
            // The format's rules keep positions of relations within the list.
            let oid = sealed.relations[run.relation as usize].oid;
            if self.tables.contains(&oid) {
                let units = run.chunks.split_inclusive(|chunk| !chunk.continues);
                let units = units.map(|chunks| (run.relation, chunks));
                of_tables.entry(oid).or_default().extend(units);
            }
        }
        of_tables.into_values().map(|units| Cursor { units, read: None }).collect()
    }
}

impl Cursor<'_> {
    /// Which transaction made the next change that counts.
    async fn member(
        &mut self,
        repository: &Repository,
        clear: &ClearPart,
        counts: &Counts,
    ) -> Result<Option<u32>> {
        loop {
            if let Some((read, _, left)) = &mut self.read {
                while let Some(at) = left.checked_sub(1) {
                    if let Some(change) = read.change(counts, at)? {
                        return Ok(Some(change.member));
                    }
                    *left = at;
                }
            }
            let Some((relation, chunks)) = self.units.pop() else { return Ok(None) };
            let read = Read::chunks(repository, clear, chunks).await?;
            let len = read.len();
            self.read = Some((read, relation, len));
        }
    }
}
