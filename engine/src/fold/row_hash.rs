//! Hashes of rows: of their key, or of the whole row where they have none.

use super::copy_row::{fields, pick};
use super::hash::{Hash, Hasher128};
use super::keyed::nonsense;
use crate::Result;
use pgkeep_format::change::{Action, Change, OldRow};

/// Hashes rows of one table; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct RowHasher {
    hasher: Hasher128,
    /// Positions of the columns of the key; absent where rows have none.
    key: Option<Vec<usize>>,
    /// Fields that must be found to find the key.
    needed: usize,
}

/// Room to work in.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    fields: Vec<(usize, usize)>,
    key: Vec<u8>,
}

/// What most changes are looked at for, in a few bytes: the hashes of its rows, and what it is. The
/// change itself lies far apart, and often in another processor's cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangeHashes {
    /// What it did; absent where it does not count.
    pub(super) action: Option<Action>,
    /// Whether it left values alone.
    pub(super) leaves_values: bool,
    /// Of the old row, where the change has it.
    pub(super) old: Option<Hash>,
    /// Of the new row, where there is one.
    pub(super) new: Option<Hash>,
}

impl ChangeHashes {
    /// Of a change that does not count.
    pub(super) const NONE: Self = Self { action: None, leaves_values: false, old: None, new: None };
}

impl RowHasher {
    pub(super) fn new(key: Option<Vec<usize>>) -> Self {
        let needed = key.iter().flatten().max().map_or(0, |last| last + 1);
        Self { hasher: Hasher128::default(), key, needed }
    }

    /// Positions of the columns of the key.
    pub(super) fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    /// The hash of a whole row; absent when it lacks columns of the key.
    pub(super) fn row(&self, line: &[u8], scratch: &mut Scratch) -> Option<Hash> {
        let Some(key) = &self.key else { return Some(self.hasher.hash(line)) };
        fields(line, self.needed, &mut scratch.fields);
        scratch.key.clear();
        pick(line, &scratch.fields, key, &mut scratch.key).then(|| self.hasher.hash(&scratch.key))
    }

    /// The hashes of the rows of a change that is no truncate.
    pub(super) fn change(
        &self,
        change: &Change<'_>,
        scratch: &mut Scratch,
    ) -> Result<ChangeHashes> {
        let old = match change.old {
            // It has the key's columns alone.
            Some(OldRow { is_whole: false, row }) if self.key.is_some() => {
                Some(self.hasher.hash(row))
            }
            Some(OldRow { is_whole: true, row }) => {
                Some(self.row(row, scratch).ok_or_else(nonsense)?)
            }
            Some(_) => return Err(nonsense()),
            None => None,
        };
        let new = match change.action {
            Action::Insert | Action::Update => {
                Some(self.row(change.new, scratch).ok_or_else(nonsense)?)
            }
            Action::Delete | Action::Truncate => None,
        };
        let leaves_values = !change.unchanged.is_empty();
        Ok(ChangeHashes { action: Some(change.action), leaves_values, old, new })
    }
}
