//! The fold of a table whose rows nothing identifies: a bag, in which equal rows count.
//!
//! Each change says of a whole row that one more is there, or one less. The sums do not
//! depend on the order; only rows with a sum that is not zero need to be written or left out.

use super::copy_row::Lines;
use super::hash::{Hash, HashMap128, Share};
use super::keyed::nonsense;
use super::row_hash::{ChangeHashes, RowHasher, Scratch};
use crate::Result;
use pgkeep_format::change::{Action, Change};
use std::sync::{Mutex, PoisonError};

/// Bytes that one sum takes, room for growing included.
const SUM_BYTES: usize = 72;

/// How many more or less of each row there are.
pub(super) struct Bag {
    hasher: RowHasher,
    share: Share,
    sums: Mutex<HashMap128<i64>>,
}

impl Bag {
    pub(super) fn new(hasher: RowHasher, share: Share) -> Self {
        Self { hasher, share, sums: Mutex::default() }
    }

    /// Bytes that it takes, about.
    pub(super) fn memory(&self) -> usize {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).len() * SUM_BYTES
    }

    /// Takes the changes of a unit, the newest first, up to a truncate; returns where that is.
    /// `change` gives those that count.
    pub(super) fn take<'c>(
        &mut self,
        change: impl Fn(usize) -> Result<Option<Change<'c>>>,
        hashes: &[ChangeHashes],
    ) -> Result<Option<usize>> {
        for (at, hashes) in hashes.iter().enumerate().rev() {
            let Some(change) = change(at)? else { continue };
            if change.action == Action::Truncate {
                return Ok(Some(at));
            }
            if !change.unchanged.is_empty() {
                return Err(nonsense());
            }
            if change.action != Action::Insert {
                self.count(hashes.old.ok_or_else(nonsense)?, -1);
            }
            if let Some(new) = hashes.new {
                self.count(new, 1);
            }
        }
        Ok(None)
    }

    fn count(&mut self, hash: Hash, by: i64) {
        if self.share.has(hash) {
            let sums = self.sums.get_mut().unwrap_or_else(PoisonError::into_inner);
            let sum = sums.entry(hash).or_insert(0);
            *sum += by;
            if *sum == 0 {
                sums.remove(&hash);
            }
        }
    }

    /// Takes one of a row from its sum, towards zero; false when the sum is not of that sign.
    fn settle(&self, hash: Hash, sign: i64) -> bool {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sum) = sums.get_mut(&hash).filter(|sum| sum.signum() == sign) else {
            return false;
        };
        *sum -= sign;
        if *sum == 0 {
            sums.remove(&hash);
        }
        true
    }

    /// Appends the new row of a change if one more of it is there in the end.
    pub(super) fn write_changed(&self, change: &Change<'_>, rows: &mut Vec<u8>) {
        let is_there = |row| self.hash(row).is_some_and(|hash| self.settle(hash, 1));
        if change.action != Action::Delete && is_there(change.new) {
            rows.extend_from_slice(change.new);
            rows.push(b'\n');
        }
    }

    /// Appends rows of the backup, but for those of which there is one less; returns how many.
    pub(super) fn write_base(&self, lines: Lines<'_>, rows: &mut Vec<u8>) -> u64 {
        let gone = |hash| !self.share.has(hash) || self.settle(hash, -1);
        let mut count = 0;
        for line in lines.iter() {
            if self.hash(line).is_none_or(gone) {
                continue;
            }
            rows.extend_from_slice(line);
            rows.push(b'\n');
            count += 1;
        }
        count
    }

    fn hash(&self, row: &[u8]) -> Option<Hash> {
        self.hasher.row(row, &mut Scratch::default())
    }

    /// Whether every sum was settled: each row that went was there.
    pub(super) fn is_settled(&self) -> bool {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
