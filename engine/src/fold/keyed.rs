//! The fold of a table whose rows have a key: the last change of each key wins.
//!
//! Changes are read from the newest to the oldest, so the first that is seen of a key says
//! what became of it, and all older ones are passed over. Nothing is kept of a row but the
//! hash of its key, with one exception: a row with values that its last change left alone
//! (TOAST) *wants* them from an older change, from the key it had before, or from the backup.

use super::copy_row::{fields, merge, pick};
use super::hash::{Hash, HashSet128, Hasher128, Share};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::change::{Action, Change};
use std::collections::HashMap;

/// Bytes that one hash takes in a set, room for growing included.
const HASH_BYTES: usize = 36;
/// Bytes that a row which wants values takes beside the row.
const PARTIAL_BYTES: usize = 160;

/// A row that wants values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Partial {
    /// With NULL where values are wanted.
    row: Vec<u8>,
    /// Positions of those, ascending.
    wants: Vec<u16>,
}

/// Where a change lies: its unit, and its position there.
pub(super) type Place = (u32, u32);

/// What became of the rows of a table.
pub(super) struct Keyed {
    hasher: Hasher128,
    share: Share,
    columns: usize,
    key: Vec<usize>,
    /// Keys whose older rows are no more.
    done: HashSet128,
    /// Keys whose older row has values that a newer one wants.
    wanted: HashMap<Hash, Partial>,
    /// Changes whose new row is what a key has in the end, by units.
    finals: Vec<Vec<u32>>,
    /// Changes that have the last values that a row wants.
    providers: HashMap<Place, Partial>,
    partial_bytes: usize,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    fields: Vec<(usize, usize)>,
    key: Vec<u8>,
}

/// What is known of a key, looking back.
enum State {
    /// Nothing yet.
    Fresh,
    /// Older rows are no more, or are for another share.
    Over,
    /// An older row has values that are wanted.
    Wanted,
}

impl Keyed {
    pub(super) fn new(
        hasher: Hasher128,
        share: Share,
        columns: usize,
        key: Vec<usize>,
        units: usize,
    ) -> Self {
        Self {
            hasher,
            share,
            columns,
            key,
            done: HashSet128::default(),
            wanted: HashMap::new(),
            finals: vec![Vec::new(); units],
            providers: HashMap::new(),
            partial_bytes: 0,
            scratch: Scratch::default(),
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn memory(&self) -> usize {
        let finals: usize = self.finals.iter().map(|list| list.len() * 4).sum();
        self.done.len() * HASH_BYTES + self.partial_bytes + finals
    }

    /// Takes a change that is older than all before. It is no truncate.
    pub(super) fn take(&mut self, place: Place, change: &Change<'_>) -> Result<()> {
        let old = match change.old {
            None => None,
            Some(old) if old.is_whole => Some(self.key_of(old.row)?),
            // The old row has the key's columns alone.
            Some(old) => Some(self.hasher.hash(old.row)),
        };
        if change.action == Action::Delete {
            let key = old.ok_or_else(nonsense)?;
            return match self.state(key) {
                State::Wanted => Err(nonsense()),
                State::Fresh => {
                    self.end(key);
                    Ok(())
                }
                State::Over => Ok(()),
            };
        }
        if change.unchanged.iter().any(|at| self.key.contains(&usize::from(*at))) {
            return Err(nonsense());
        }
        let new = self.key_of(change.new)?;
        let before = match change.action {
            Action::Insert => None,
            _ => Some(old.unwrap_or(new)),
        };
        let wanting = match self.state(new) {
            State::Over => None,
            State::Fresh if change.unchanged.is_empty() => {
                self.finals[place.0 as usize].push(place.1);
                None
            }
            State::Fresh => {
                Some(Partial { row: change.new.to_vec(), wants: change.unchanged.clone() })
            }
            State::Wanted => self.supply(new, place, change)?,
        };
        match (before, wanting) {
            (None, Some(_)) => return Err(nonsense()),
            (None, None) => self.end(new),
            (Some(before), wanting) => {
                if before != new {
                    self.end(new);
                }
                match wanting {
                    Some(partial) => self.want(before, partial)?,
                    None => self.end(before),
                }
            }
        }
        Ok(())
    }

    /// Gives the row that wants values of this key what the change has; returns it if it still
    /// wants some.
    fn supply(&mut self, key: Hash, place: Place, change: &Change<'_>) -> Result<Option<Partial>> {
        let mut partial = self.wanted.remove(&key).ok_or_else(nonsense)?;
        self.partial_bytes -= size(&partial);
        let (still, here): (Vec<u16>, Vec<u16>) =
            partial.wants.iter().partition(|at| change.unchanged.contains(at));
        if still.is_empty() {
            // Its values may be long: they are taken when the change is read again.
            self.partial_bytes += size(&partial);
            self.providers.insert(place, partial);
            return Ok(None);
        }
        if !here.is_empty() {
            partial.row = merge(&partial.row, &here, change.new).ok_or_else(nonsense)?;
        }
        partial.wants = still;
        Ok(Some(partial))
    }

    fn state(&self, key: Hash) -> State {
        if self.wanted.contains_key(&key) {
            State::Wanted
        } else if !self.share.has(key) || self.done.contains(&key) {
            State::Over
        } else {
            State::Fresh
        }
    }

    fn end(&mut self, key: Hash) {
        if self.share.has(key) {
            self.done.insert(key);
        }
    }

    fn want(&mut self, key: Hash, partial: Partial) -> Result<()> {
        self.partial_bytes += size(&partial);
        match self.wanted.insert(key, partial) {
            None => Ok(()),
            Some(_) => Err(nonsense()),
        }
    }

    fn key_of(&mut self, row: &[u8]) -> Result<Hash> {
        let Scratch { fields: found, key } = &mut self.scratch;
        hash_key(&self.hasher, &self.key, self.columns, row, found, key).ok_or_else(nonsense)
    }

    /// Ends the reading back: all rows of the backup are no more (a truncate), and nobody may
    /// want their values.
    pub(super) fn end_without_base(&self) -> Result<()> {
        if self.wanted.is_empty() { Ok(()) } else { Err(nonsense()) }
    }

    /// Appends the rows that the changes of a unit leave in the end.
    pub(super) fn write_changed<'c>(
        &self,
        unit: usize,
        change: impl Fn(usize) -> Result<Option<Change<'c>>>,
        len: usize,
        rows: &mut Vec<u8>,
    ) -> Result<u64> {
        let mut count = 0;
        for at in &self.finals[unit] {
            let change = change(*at as usize)?.ok_or_else(nonsense)?;
            rows.extend_from_slice(change.new);
            rows.push(b'\n');
            count += 1;
        }
        if self.providers.is_empty() {
            return Ok(count);
        }
        for at in 0..len {
            let place = (u32_of(unit), u32_of(at));
            let Some(partial) = self.providers.get(&place) else { continue };
            let change = change(at)?.ok_or_else(nonsense)?;
            let row = merge(&partial.row, &partial.wants, change.new).ok_or_else(nonsense)?;
            rows.extend_from_slice(&row);
            rows.push(b'\n');
            count += 1;
        }
        Ok(count)
    }

    /// Appends what a row of the backup has become: itself, what wants its values, or nothing.
    pub(super) fn write_base(
        &self,
        line: &[u8],
        buffers: &mut (Vec<(usize, usize)>, Vec<u8>),
        rows: &mut Vec<u8>,
    ) -> Result<bool> {
        let (found, key) = buffers;
        let hash = hash_key(&self.hasher, &self.key, self.columns, line, found, key);
        let hash = hash.ok_or_else(unlike)?;
        if let Some(partial) = self.wanted.get(&hash) {
            let row = merge(&partial.row, &partial.wants, line).ok_or_else(unlike)?;
            rows.extend_from_slice(&row);
        } else if !self.share.has(hash) || self.done.contains(&hash) {
            return Ok(false);
        } else {
            rows.extend_from_slice(line);
        }
        rows.push(b'\n');
        Ok(true)
    }

    /// Rows of the backup whose values are wanted; each must be there.
    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Whether a row of the backup has values that are wanted.
    pub(super) fn wants(&self, line: &[u8], buffers: &mut (Vec<(usize, usize)>, Vec<u8>)) -> bool {
        let (found, key) = buffers;
        let hash = hash_key(&self.hasher, &self.key, self.columns, line, found, key);
        hash.is_some_and(|hash| self.wanted.contains_key(&hash))
    }
}

fn size(partial: &Partial) -> usize {
    PARTIAL_BYTES + partial.row.len() + 2 * partial.wants.len()
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn hash_key(
    hasher: &Hasher128,
    positions: &[usize],
    columns: usize,
    row: &[u8],
    found: &mut Vec<(usize, usize)>,
    key: &mut Vec<u8>,
) -> Option<Hash> {
    fields(row, found);
    key.clear();
    (found.len() == columns && pick(row, found, positions, key)).then(|| hasher.hash(key))
}

/// The error for changes that cannot have been.
pub(super) fn nonsense() -> Error {
    Error::new(ErrorKind::Damaged, "changes of a table do not fit one another")
        .hint("Run: pgkeep verify")
}

/// The error for a row of the backup that is not as the changes say.
pub(super) fn unlike() -> Error {
    Error::new(ErrorKind::Damaged, "rows of the backup have other columns than their changes")
}
