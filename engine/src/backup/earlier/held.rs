//! A chunk of the backup before, read back: which of its rows the table still has.

use super::RowHash;
use crate::{Error, Result};
use pgkeep_format::entry::RowEncoding;
use pgkeep_format::left_out::LeftOut;
use pgkeep_format::rows::Rows;
use pgkeep_format::stream::ChunkReference;
use std::ops::Range;

/// Rows behind the last one that was found among which the next one is looked for without a hash:
/// rows come in the order in which they were stored, but for those that are no more.
const AHEAD: usize = 3;
/// Rows of one hash that are compared at most.
const SAME_HASH_MAX: usize = 16;
/// Of a chunk that is referred to at least so many of its bytes are in rows that are there, in
/// hundredths: a restore reads all of it.
const USED_MIN: usize = 75;
/// Bytes of the runs of one reference at most.
const RUNS_LEN_MAX: usize = 64 << 10;
/// No row.
const NONE: u32 = u32::MAX;

/// A chunk whose rows are looked for in the table.
#[derive(Debug)]
pub(super) struct Held {
    /// Its place among the references of the backup before.
    pub(super) at: usize,
    /// Where its own reference goes, if its rows were gathered.
    pub(super) place: usize,
    /// The last chunk of the table in which a row of it was found.
    pub(super) found_in: u64,
    reference: ChunkReference,
    plain: Vec<u8>,
    ends: Vec<u32>,
    used: Vec<bool>,
    used_bytes: usize,
    /// The row behind the last one that was found.
    next: usize,
    places: Places,
}

/// What becomes of a chunk when all rows that it may have were looked for.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// It is referred to.
    Reference(ChunkReference),
    /// Too little of it is left: these rows are stored again.
    Rows(Vec<&'a [u8]>),
}

impl Held {
    /// Of the chunk that `reference` at place `at` names, with all its rows, those too that the
    /// backup before left out.
    ///
    /// # Errors
    /// [`Damaged`](crate::ErrorKind::Damaged) when these are no whole rows of the encoding.
    pub(super) fn new(
        at: usize,
        reference: &ChunkReference,
        plain: Vec<u8>,
        encoding: RowEncoding,
        hash: &RowHash,
    ) -> Result<Self> {
        let ends: std::result::Result<Vec<u32>, _> = Rows::new(encoding, &plain)
            .map(|row| row.map(|row| u32::try_from(row.end).unwrap_or(u32::MAX)))
            .collect();
        let ends =
            ends.map_err(|error| Error::undecodable(format!("chunk {}", reference.id), error))?;
        let mut held = Self {
            at,
            place: 0,
            found_in: 0,
            reference: ChunkReference { left_out: None, ..reference.clone() },
            plain,
            used: vec![false; ends.len()],
            ends,
            used_bytes: 0,
            next: 0,
            places: Places::default(),
        };
        held.places = Places::of(held.ends.len(), |row| hash.of(held.row(row)));
        Ok(held)
    }

    /// Whether its rows were gathered from several places of the table.
    pub(super) fn is_gathered(&self) -> bool {
        self.reference.ending.is_none()
    }

    /// Bytes of all its rows.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }

    /// Bytes of its rows that were found.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Rows of the chunk that a reference to it does not leave out.
    pub(super) fn rows_left(&self, reference: &ChunkReference) -> u64 {
        self.ends.len() as u64 - reference.rows_left_out()
    }

    fn range(&self, row: usize) -> Range<usize> {
        let end = |row: usize| self.ends.get(row).map_or(0, |end| *end as usize);
        (if row == 0 { 0 } else { end(row - 1) })..end(row)
    }

    fn row(&self, row: usize) -> &[u8] {
        self.plain.get(self.range(row)).unwrap_or_default()
    }

    fn is_at(&self, row: usize, wanted: &[u8]) -> bool {
        self.used.get(row) == Some(&false) && self.row(row) == wanted
    }

    /// Takes a row equal to this one near the last one that was taken; says which.
    pub(super) fn take_next(&mut self, wanted: &[u8]) -> Option<usize> {
        let row = (self.next..self.next + AHEAD).find(|row| self.is_at(*row, wanted))?;
        self.take(row);
        Some(row)
    }

    /// Takes a row equal to this one, wherever it is.
    pub(super) fn take_any(&mut self, wanted: &[u8], hash: u32) -> Option<usize> {
        let row = {
            let mut rows = self.places.rows(hash).take(SAME_HASH_MAX);
            rows.find(|row| self.is_at(*row, wanted))?
        };
        self.take(row);
        Some(row)
    }

    fn take(&mut self, row: usize) {
        self.used[row] = true;
        self.used_bytes += self.range(row).len();
        self.next = row + 1;
    }

    /// Gives back a row that was taken.
    pub(super) fn give_back(&mut self, row: usize) {
        self.used[row] = false;
        self.used_bytes -= self.range(row).len();
    }

    /// The rows that were taken.
    fn rows(&self) -> Vec<&[u8]> {
        let used = self.used.iter().enumerate().filter(|(_, used)| **used);
        used.map(|(row, _)| self.row(row)).collect()
    }

    /// What becomes of it; absent where no row of it is left.
    pub(super) fn outcome(&self) -> Option<Outcome<'_>> {
        if self.used_bytes == 0 {
            return None;
        }
        let left_out = LeftOut::of(self.used.iter().map(|used| !used)).map(Box::new);
        let is_worth_it = self.used_bytes * 100 >= self.plain.len() * USED_MIN
            && left_out.as_ref().is_none_or(|runs| runs.encode().len() <= RUNS_LEN_MAX);
        Some(match is_worth_it {
            true => Outcome::Reference(ChunkReference { left_out, ..self.reference.clone() }),
            false => Outcome::Rows(self.rows()),
        })
    }
}

/// Finds rows by their hashes: in each of the heads a row, for each row the next one.
#[derive(Debug, Default)]
struct Places {
    heads: Vec<u32>,
    next: Vec<u32>,
}

impl Places {
    fn of(rows: usize, hash: impl Fn(usize) -> u32) -> Self {
        let len = (2 * rows).next_power_of_two().max(1);
        let mut places = Self { heads: vec![NONE; len], next: vec![NONE; rows] };
        // From the last to the first: equal rows are found in their order.
        for row in (0..rows).rev() {
            let head = hash(row) as usize & (len - 1);
            places.next[row] = places.heads[head];
            places.heads[head] = u32::try_from(row).unwrap_or(NONE);
        }
        places
    }

    fn rows(&self, hash: u32) -> impl Iterator<Item = usize> + '_ {
        let head = self.heads.get(hash as usize & self.heads.len().wrapping_sub(1));
        let mut row = head.copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let found = usize::try_from(row).ok().filter(|_| row != NONE)?;
            row = self.next.get(found).copied().unwrap_or(NONE);
            Some(found)
        })
    }
}
