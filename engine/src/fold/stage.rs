//! One stage of the fold of a table: changes during which the same columns identified its rows,
//! read once to learn what became of the rows, then the rows that they leave, and those of before
//! that they leave alone.
//!
//! ```text
//! changes, newest first -> Part (hashes)
//! changes again         -> rows that they leave in the end
//! rows of before        -> those that no change touched, or that a changed row wants
//! ```
//!
//! A part takes a share of all keys that fits into memory; where the whole does, there is one
//! part, and the rows of before can pass through it on many connections at once.

use super::bag::Bag;
use super::changes::{Read, Unit};
use super::copy_row::Lines;
use super::hash::Share;
use super::keyed::{Keyed, nonsense};
use super::recovery::Recovery;
use super::row_hash::{ChangeHashes, RowHasher, Scratch};
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Units that are read ahead.
const UNITS_AHEAD: usize = 2;

/// Bytes of memory for each change, before it is known how many keys they have.
const CHANGE_BYTES: usize = 40;

/// Changes of a table during which the same columns identified its rows.
pub(super) struct Stage {
    recovery: Arc<Recovery>,
    /// All their rows have the columns of the stage.
    units: Vec<Unit>,
    name: String,
    hasher: RowHasher,
    changes: u64,
    memory: usize,
}

/// What became of a share of the rows.
pub(super) struct Part {
    stage: Arc<Stage>,
    kind: Kind,
    /// Units before this one, and changes of it before this one, are behind a truncate.
    truncated: Option<(usize, usize)>,
    /// Rows of before that were found of those whose values are wanted.
    found: AtomicUsize,
}

enum Kind {
    Keyed(Keyed),
    Bag(Bag),
}

impl Stage {
    /// `key` has the positions of the columns that identify a row; absent where none do.
    pub(super) fn new(
        recovery: &Arc<Recovery>,
        units: Vec<Unit>,
        key: Option<Vec<usize>>,
        memory: usize,
    ) -> Self {
        let version = units.last().map(|unit| &unit.version);
        let name = version.map(|version| format!("{}.{}", version.schema, version.name));
        Self {
            recovery: recovery.clone(),
            changes: units.iter().fold(0, |sum: u64, unit| sum.saturating_add(unit.changes)),
            units,
            name: name.unwrap_or_default(),
            hasher: RowHasher::new(key),
            memory,
        }
    }

    pub(super) fn units(&self) -> usize {
        self.units.len()
    }

    /// Whether all of it fits into memory at once, as far as the number of changes tells.
    pub(super) fn fits(&self) -> bool {
        self.changes.saturating_mul(CHANGE_BYTES as u64) <= self.memory as u64
    }

    /// Shares of the keys that fit into memory one after another, as far as can be told.
    fn shares(&self) -> Vec<Share> {
        let memory = (self.memory as u64).max(1);
        let of = self.changes.saturating_mul(CHANGE_BYTES as u64).div_ceil(memory).max(1);
        (0..of).map(|number| Share { number, of }).collect()
    }

    /// Learns what became of all rows.
    ///
    /// # Errors
    /// What reading changes gives; [`ErrorKind::Damaged`] when they make no sense.
    pub(super) async fn whole(self: &Arc<Self>) -> Result<Part> {
        let part = self.part(Share::WHOLE, usize::MAX).await?;
        part.ok_or_else(|| Error::new(ErrorKind::Internal, "memory has no limit and is used up"))
    }

    /// Learns what became of the rows share by share, each as large as fits into memory.
    pub(super) fn parts(self: &Arc<Self>) -> Parts {
        let mut shares = self.shares();
        shares.reverse();
        Parts { stage: self.clone(), shares }
    }

    /// What became of a share; absent when that takes more memory than there is.
    async fn part(self: &Arc<Self>, share: Share, memory: usize) -> Result<Option<Part>> {
        let hasher = self.hasher.clone();
        let changes = usize::try_from(self.changes / share.of).unwrap_or(usize::MAX);
        let keys = changes.min(self.memory / CHANGE_BYTES);
        let mut kind = match self.hasher.key() {
            Some(_) => Kind::Keyed(Keyed::new(hasher, share, self.units.len(), keys)),
            None => Kind::Bag(Bag::new(hasher, share)),
        };
        let reads: Vec<_> = (0..self.units.len()).rev().map(|unit| self.ahead(unit)).collect();
        let mut reads = stream::iter(reads).buffered(UNITS_AHEAD);
        let mut truncated = None;
        for number in (0..self.units.len()).rev() {
            let Some(read) = reads.next().await else { break };
            let Hashed { read, hashes } = read.map_err(|error| self.of_table(error))?;
            let counts = self.units[number].counts(&self.recovery);
            let change = |at| read.change(counts, at);
            let taken = match &mut kind {
                Kind::Keyed(keyed) => keyed.take(number, change, &hashes),
                Kind::Bag(bag) => bag.take(change, &hashes),
            };
            if let Some(at) = taken.map_err(|error| self.of_table(error))? {
                truncated = Some((number, at));
                break;
            }
            let used = match &kind {
                Kind::Keyed(keyed) => keyed.memory(),
                Kind::Bag(bag) => bag.memory(),
            };
            if used > memory {
                return Ok(None);
            }
        }
        if let (Some(_), Kind::Keyed(keyed)) = (truncated, &kind) {
            keyed.end_without_base().map_err(|error| self.of_table(error))?;
        }
        Ok(Some(Part { stage: self.clone(), kind, truncated, found: AtomicUsize::new(0) }))
    }

    /// As [`Stage::hashed`], beside the caller, who goes on with another unit meanwhile.
    async fn ahead(self: &Arc<Self>, unit: usize) -> Result<Hashed> {
        let stage = self.clone();
        let hashing = tokio::spawn(async move { stage.hashed(unit).await });
        hashing.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "hashing changes did not end").because(error)
        })?
    }

    /// Reads a unit and hashes the rows of its changes.
    async fn hashed(&self, unit: usize) -> Result<Hashed> {
        let read = Read::unit(&self.recovery, &self.units[unit]).await?;
        let counts = self.units[unit].counts(&self.recovery);
        let mut scratch = Scratch::default();
        let mut hashes = Vec::with_capacity(read.len());
        for at in 0..read.len() {
            hashes.push(match read.change(counts, at)? {
                Some(change) => self.hasher.change(&change, &mut scratch)?,
                None => ChangeHashes::NONE,
            });
        }
        Ok(Hashed { read, hashes })
    }

    fn of_table(&self, error: Error) -> Error {
        let message = format!("could not read the changes of table {}", self.name);
        Error::new(error.kind(), message).because(error)
    }
}

/// A unit with the hashes of its changes.
struct Hashed {
    read: Read,
    hashes: Vec<ChangeHashes>,
}

/// The parts of a table, one after another.
pub(super) struct Parts {
    stage: Arc<Stage>,
    /// Those to come, the next one last.
    shares: Vec<Share>,
}

impl Parts {
    /// The next part.
    ///
    /// # Errors
    /// As [`Stage::whole`].
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        while let Some(share) = self.shares.pop() {
            if let Some(part) = self.stage.part(share, self.stage.memory).await? {
                return Ok(Some(part));
            }
            let [one, other] = share.halves();
            self.shares.extend([other, one]);
        }
        Ok(None)
    }
}

impl Part {
    /// Whether no row of before is left.
    pub(super) fn is_without_base(&self) -> bool {
        self.truncated.is_some()
    }

    /// Units of changes that may leave rows.
    pub(super) fn units(&self) -> std::ops::Range<usize> {
        self.truncated.map_or(0, |(unit, _)| unit)..self.stage.units.len()
    }

    /// The rows that the changes of a unit leave in the end, as COPY text.
    ///
    /// # Errors
    /// As [`Stage::whole`].
    pub(super) async fn changed(&self, unit: usize) -> Result<Vec<u8>> {
        let stage = &self.stage;
        let read = Read::unit(&stage.recovery, &stage.units[unit]).await;
        let read = read.map_err(|error| stage.of_table(error))?;
        let counts = stage.units[unit].counts(&stage.recovery);
        let mut rows = Vec::with_capacity(read.bytes());
        match &self.kind {
            Kind::Keyed(keyed) => {
                let change = |at| read.change(counts, at);
                keyed.write_changed(unit, change, read.len(), &mut rows)?;
            }
            Kind::Bag(bag) => {
                let first = match self.truncated {
                    Some((truncated, at)) if truncated == unit => at + 1,
                    _ => 0,
                };
                for at in first..read.len() {
                    if let Some(change) = read.change(counts, at)? {
                        bag.write_changed(&change, &mut rows);
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Appends what rows of before have become; returns how many there still are.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when a row has other columns than the changes.
    pub(super) fn pass(
        &self,
        lines: Lines<'_>,
        scratch: &mut Scratch,
        rows: &mut Vec<u8>,
    ) -> Result<u64> {
        let keyed = match &self.kind {
            Kind::Bag(bag) => return Ok(bag.write_base(lines, rows)),
            Kind::Keyed(keyed) => keyed,
        };
        let passed =
            keyed.write_base(lines, scratch, rows).map_err(|error| self.stage.of_table(error))?;
        self.found.fetch_add(passed.wanted, Ordering::Relaxed);
        Ok(passed.rows)
    }

    /// Checks, when all rows of before have passed, that those were among them that the
    /// changes speak of.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when some were not.
    pub(super) fn check(&self) -> Result<()> {
        let fits = match &self.kind {
            Kind::Bag(bag) => bag.is_settled(),
            Kind::Keyed(keyed) => {
                self.truncated.is_some() || self.found.load(Ordering::Relaxed) == keyed.wanted()
            }
        };
        if fits { Ok(()) } else { Err(self.stage.of_table(nonsense())) }
    }
}
