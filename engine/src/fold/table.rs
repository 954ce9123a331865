//! The fold of one table: its changes read once to learn what became of its rows, then the
//! rows that they leave, and those of the backup that they leave alone.
//!
//! ```text
//! changes, newest first -> Part (hashes)
//! changes again         -> rows that they leave in the end
//! rows of the backup    -> those that no change touched, or that a changed row wants
//! ```
//!
//! A part takes a share of all keys that fits into memory; where the whole does, there is one
//! part, and the rows of the backup can pass through it on many connections at once.

use super::bag::Bag;
use super::changes::{Read, Unit, units};
use super::hash::Share;
use super::keyed::{BaseRow, Keyed, nonsense, unlike};
use super::recovery::Recovery;
use super::row_hash::{ChangeHashes, RowHasher, Scratch};
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::change::Action;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Units that are read ahead.
const UNITS_AHEAD: usize = 2;

/// Bytes of memory for each change, before it is known how many keys they have.
const CHANGE_BYTES: u64 = 40;

/// A table with changes.
pub struct TableFold {
    recovery: Arc<Recovery>,
    units: Vec<Unit>,
    name: String,
    hasher: RowHasher,
    changes: u64,
}

/// What became of a share of the table's rows.
pub struct Part {
    fold: Arc<TableFold>,
    kind: Kind,
    /// Units before this one, and changes of it before this one, are behind a truncate.
    truncated: Option<(usize, usize)>,
    /// Rows of the backup that were found of those whose values are wanted.
    found: AtomicUsize,
}

enum Kind {
    Keyed(Keyed),
    Bag(Bag),
}

/// What a connection keeps while rows of the backup pass through a part.
#[derive(Default)]
pub struct Passing {
    /// The beginning of a row that goes on in the next chunk.
    begun: Vec<u8>,
    scratch: Scratch,
}

impl TableFold {
    /// The fold of a table with these columns; absent when no change of it counts.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedFormat`] when its definition changed meanwhile.
    pub fn open(
        recovery: &Arc<Recovery>,
        table: u32,
        columns: &[String],
    ) -> Result<Option<Arc<Self>>> {
        let (units, changes) = units(recovery, table);
        let Some(first) = units.first() else { return Ok(None) };
        let version = first.version.clone();
        let name = format!("{}.{}", version.schema, version.name);
        let key = |version: &pgkeep_format::segment::RelationVersion| {
            let key = version.columns.iter().enumerate().filter(|(_, column)| column.is_key);
            let key: Vec<usize> = key.map(|(at, _)| at).collect();
            // With the identity of a whole row all columns are its key; equal rows may be
            // there more than once.
            (version.replica_identity != "f" && !key.is_empty()).then_some(key)
        };
        let own_key = key(&version);
        for unit in &units {
            let names = unit.version.columns.iter().map(|column| &column.name);
            if !names.eq(columns) || key(&unit.version) != own_key {
                let message =
                    format!("definition of table {name} changed between the backup and the moment");
                return Err(Error::new(ErrorKind::UnsupportedFormat, message)
                    .hint("Restore to a moment before the change, or after a later backup."));
            }
        }
        Ok(Some(Arc::new(Self {
            recovery: recovery.clone(),
            units,
            name,
            hasher: RowHasher::new(own_key),
            changes,
        })))
    }

    /// Units of changes.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Whether all of it fits into memory at once, as far as the number of changes tells.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.changes.saturating_mul(CHANGE_BYTES) <= self.recovery.memory as u64
    }

    /// Shares of the keys that fit into memory one after another, as far as can be told.
    fn shares(&self) -> Vec<Share> {
        let memory = (self.recovery.memory as u64).max(1);
        let of = self.changes.saturating_mul(CHANGE_BYTES).div_ceil(memory).max(1);
        (0..of).map(|number| Share { number, of }).collect()
    }

    /// Learns what became of all rows.
    ///
    /// # Errors
    /// What reading changes gives; [`ErrorKind::Damaged`] when they make no sense.
    pub async fn whole(self: &Arc<Self>) -> Result<Part> {
        let part = self.part(Share::WHOLE, usize::MAX).await?;
        part.ok_or_else(|| Error::new(ErrorKind::Internal, "memory has no limit and is used up"))
    }

    /// Learns what became of the rows share by share, each as large as fits into memory.
    #[must_use]
    pub fn parts(self: &Arc<Self>) -> Parts {
        let mut shares = self.shares();
        shares.reverse();
        Parts { fold: self.clone(), shares }
    }

    /// What became of a share; absent when that takes more memory than there is.
    async fn part(self: &Arc<Self>, share: Share, memory: usize) -> Result<Option<Part>> {
        let hasher = self.hasher.clone();
        let mut kind = match self.hasher.key() {
            Some(_) => Kind::Keyed(Keyed::new(hasher, share, self.units.len())),
            None => Kind::Bag(Bag::new(hasher, share)),
        };
        let reads: Vec<_> = (0..self.units.len()).rev().map(|unit| self.hashed(unit)).collect();
        let mut reads = stream::iter(reads).buffered(UNITS_AHEAD);
        let mut truncated = None;
        let mut number = self.units.len();
        'units: while let Some(read) = reads.next().await {
            number -= 1;
            let Hashed { read, hashes } = read.map_err(|error| self.of_table(error))?;
            let segment = self.units[number].segment(&self.recovery);
            let unit = u32::try_from(number).unwrap_or(u32::MAX);
            for at in (0..read.len()).rev() {
                let Some(change) = read.change(segment, at)? else { continue };
                if change.action == Action::Truncate {
                    truncated = Some((number, at));
                    break 'units;
                }
                let place = (unit, u32::try_from(at).unwrap_or(u32::MAX));
                let taken = match &mut kind {
                    Kind::Keyed(keyed) => keyed.take(place, &change, hashes[at]),
                    Kind::Bag(bag) => bag.take(&change, hashes[at]),
                };
                taken.map_err(|error| self.of_table(error))?;
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
        Ok(Some(Part { fold: self.clone(), kind, truncated, found: AtomicUsize::new(0) }))
    }

    /// Reads a unit and hashes the rows of its changes, beside the caller, who goes on with
    /// another unit meanwhile.
    async fn hashed(self: &Arc<Self>, unit: usize) -> Result<Hashed> {
        let read = Read::unit(&self.recovery, &self.units[unit]).await?;
        let fold = self.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            let segment = fold.units[unit].segment(&fold.recovery);
            let mut scratch = Scratch::default();
            let none = ChangeHashes { old: None, new: None };
            let hash = |at| match read.change(segment, at)? {
                Some(change) => fold.hasher.change(&change, &mut scratch),
                None => Ok(none),
            };
            let hashes = (0..read.len()).map(hash).collect::<Result<_>>()?;
            Ok(Hashed { read, hashes })
        });
        hashing.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "hashing changes did not end").because(error)
        })?
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
pub struct Parts {
    fold: Arc<TableFold>,
    /// Those to come, the next one last.
    shares: Vec<Share>,
}

impl Parts {
    /// The next part.
    ///
    /// # Errors
    /// As [`TableFold::whole`].
    pub async fn next(&mut self) -> Result<Option<Part>> {
        while let Some(share) = self.shares.pop() {
            if let Some(part) = self.fold.part(share, self.fold.recovery.memory).await? {
                return Ok(Some(part));
            }
            let [one, other] = share.halves();
            self.shares.extend([other, one]);
        }
        Ok(None)
    }
}

impl Part {
    /// Whether no row of the backup is left.
    #[must_use]
    pub fn is_without_base(&self) -> bool {
        self.truncated.is_some()
    }

    /// Units of changes that may leave rows.
    #[must_use]
    pub fn units(&self) -> std::ops::Range<usize> {
        self.truncated.map_or(0, |(unit, _)| unit)..self.fold.units.len()
    }

    /// The rows that the changes of a unit leave in the end, as COPY text, and how many.
    ///
    /// # Errors
    /// As [`TableFold::whole`].
    pub async fn changed(&self, unit: usize) -> Result<(Vec<u8>, u64)> {
        let fold = &self.fold;
        let read = Read::unit(&fold.recovery, &fold.units[unit]).await;
        let read = read.map_err(|error| fold.of_table(error))?;
        let segment = fold.units[unit].segment(&fold.recovery);
        let mut rows = Vec::new();
        let count = match &self.kind {
            Kind::Keyed(keyed) => {
                let change = |at| read.change(segment, at);
                keyed.write_changed(unit, change, read.len(), &mut rows)?
            }
            Kind::Bag(bag) => {
                let first = match self.truncated {
                    Some((truncated, at)) if truncated == unit => at + 1,
                    _ => 0,
                };
                let mut count = 0;
                for at in first..read.len() {
                    if let Some(change) = read.change(segment, at)? {
                        count += u64::from(bag.write_changed(&change, &mut rows));
                    }
                }
                count
            }
        };
        Ok((rows, count))
    }

    /// What a chunk of rows of the backup has become; returns how many rows were added.
    /// `passing` keeps the beginning of a row that goes on in the next chunk.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the rows have other columns than their changes.
    pub fn pass(&self, chunk: &[u8], passing: &mut Passing, rows: &mut Vec<u8>) -> Result<u64> {
        let mut count = 0;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let line = &chunk[start..end];
            start = end + 1;
            if passing.begun.is_empty() {
                count += u64::from(self.pass_row(line, &mut passing.scratch, rows)?);
            } else {
                let mut begun = std::mem::take(&mut passing.begun);
                begun.extend_from_slice(line);
                count += u64::from(self.pass_row(&begun, &mut passing.scratch, rows)?);
            }
        }
        passing.begun.extend_from_slice(&chunk[start..]);
        Ok(count)
    }

    fn pass_row(&self, line: &[u8], scratch: &mut Scratch, rows: &mut Vec<u8>) -> Result<bool> {
        let keyed = match &self.kind {
            Kind::Bag(bag) => return Ok(bag.write_base(line, rows)),
            Kind::Keyed(keyed) => keyed,
        };
        let row =
            keyed.write_base(line, scratch, rows).map_err(|error| self.fold.of_table(error))?;
        if row == BaseRow::Wanted {
            self.found.fetch_add(1, Ordering::Relaxed);
        }
        Ok(row != BaseRow::Gone)
    }

    /// Checks, when all rows of the backup have passed, that those were among them that the
    /// changes speak of.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when some were not.
    pub fn check(&self) -> Result<()> {
        let fits = match &self.kind {
            Kind::Bag(bag) => bag.is_settled(),
            Kind::Keyed(keyed) => {
                self.truncated.is_some() || self.found.load(Ordering::Relaxed) == keyed.wanted()
            }
        };
        if fits { Ok(()) } else { Err(self.fold.of_table(nonsense())) }
    }
}

impl Passing {
    /// Checks that no row is left half passed.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when one is.
    pub fn end(&self) -> Result<()> {
        if self.begun.is_empty() { Ok(()) } else { Err(unlike()) }
    }
}
