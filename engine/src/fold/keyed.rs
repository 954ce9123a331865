//! The fold of a table whose rows have a key: the last change of each key wins.
//!
//! Changes are read from the newest to the oldest, so the first that is seen of a key says
//! what became of it, and all older ones are passed over. Nothing is kept of a row but the
//! hash of its key, with one exception: a row with values that its last change left alone
//! (TOAST) *wants* them from an older change, from the key it had before, or from the backup.

use super::copy_row::{Lines, merge};
use super::hash::{Hash, HashMap128, HashSet128, Share};
use super::row_hash::{ChangeHashes, RowHasher, Scratch};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::change::{Action, Change};
use std::collections::HashMap;

/// Bytes that one hash takes in a set, room for growing included.
const HASH_BYTES: usize = 36;
/// Bytes that a row which wants values takes beside the row.
const PARTIAL_BYTES: usize = 160;

/// Hashes that are looked up at a time. A set is larger than the processor's caches: looked up
/// one right after another, it waits for several of them at once.
const AT_ONCE: usize = 64;

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
    hasher: RowHasher,
    share: Share,
    /// Keys whose older rows are no more.
    done: HashSet128,
    /// Keys whose older row has values that a newer one wants.
    wanted: HashMap128<Partial>,
    /// Changes whose new row is what a key has in the end, by units.
    finals: Vec<Vec<u32>>,
    /// Changes that have the last values that a row wants.
    providers: HashMap<Place, Partial>,
    partial_bytes: usize,
}

/// What is known of a key, looking back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Fresh,
    /// Older rows are no more, or are for another share.
    Over,
    /// An older row has values that are wanted.
    Wanted,
}

impl Keyed {
    /// With room for so many keys: as it grows, a set is written anew again and again.
    pub(super) fn new(hasher: RowHasher, share: Share, units: usize, keys: usize) -> Self {
        Self {
            hasher,
            share,
            done: HashSet128::with_capacity_and_hasher(keys, Default::default()),
            wanted: HashMap128::default(),
            finals: vec![Vec::new(); units],
            providers: HashMap::new(),
            partial_bytes: 0,
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn memory(&self) -> usize {
        let finals: usize = self.finals.iter().map(|list| list.len() * 4).sum();
        self.done.len() * HASH_BYTES + self.partial_bytes + finals
    }

    /// Takes the changes of a unit that is older than all before, the newest first, up to a
    /// truncate; returns where that is. `change` gives those that count; few are asked for.
    pub(super) fn take<'c>(
        &mut self,
        unit: usize,
        change: impl Fn(usize) -> Result<Option<Change<'c>>>,
        hashes: &[ChangeHashes],
    ) -> Result<Option<usize>> {
        let mut over = [false; AT_ONCE];
        let mut end = hashes.len();
        while end > 0 {
            let start = end.saturating_sub(AT_ONCE);
            for (over, hashes) in over.iter_mut().zip(&hashes[start..end]) {
                *over = hashes.new.is_some_and(|new| self.done.contains(&new));
            }
            for at in (start..end).rev() {
                match hashes[at].action {
                    None => {}
                    Some(Action::Truncate) => return Ok(Some(at)),
                    Some(Action::Delete) => self.take_delete(hashes[at])?,
                    Some(Action::Insert | Action::Update) => {
                        let place = (u32_of(unit), u32_of(at));
                        let change = || change(at)?.ok_or_else(nonsense);
                        self.take_row(place, change, hashes[at], over[at - start])?;
                    }
                }
            }
            end = start;
        }
        Ok(None)
    }

    fn take_delete(&mut self, hashes: ChangeHashes) -> Result<()> {
        let key = hashes.old.ok_or_else(nonsense)?;
        match self.state(key, false) {
            State::Wanted => return Err(nonsense()),
            State::Fresh => self.end(key),
            State::Over => {}
        }
        Ok(())
    }

    /// Takes an insert or update; `is_over` where it is known that its new row's key is done.
    fn take_row<'c>(
        &mut self,
        place: Place,
        change: impl Fn() -> Result<Change<'c>>,
        hashes: ChangeHashes,
        is_over: bool,
    ) -> Result<()> {
        if hashes.leaves_values {
            let key = self.hasher.key().unwrap_or_default();
            if change()?.unchanged.iter().any(|at| key.contains(&usize::from(*at))) {
                return Err(nonsense());
            }
        }
        let new = hashes.new.ok_or_else(nonsense)?;
        let before = match hashes.action {
            Some(Action::Insert) => None,
            _ => Some(hashes.old.unwrap_or(new)),
        };
        let state = self.state(new, is_over);
        if state == State::Over && before.is_none_or(|before| before == new) {
            return Ok(());
        }
        let wanting = match state {
            State::Over => None,
            State::Fresh if !hashes.leaves_values => {
                self.finals[place.0 as usize].push(place.1);
                None
            }
            State::Fresh => {
                let change = change()?;
                Some(Partial { row: change.new.to_vec(), wants: change.unchanged })
            }
            State::Wanted => self.supply(new, place, &change()?)?,
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

    fn state(&self, key: Hash, is_over: bool) -> State {
        if !self.wanted.is_empty() && self.wanted.contains_key(&key) {
            State::Wanted
        } else if is_over || !self.share.has(key) || self.done.contains(&key) {
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
    ) -> Result<()> {
        for at in &self.finals[unit] {
            let change = change(*at as usize)?.ok_or_else(nonsense)?;
            rows.extend_from_slice(change.new);
            rows.push(b'\n');
        }
        if self.providers.is_empty() {
            return Ok(());
        }
        for at in 0..len {
            let place = (u32_of(unit), u32_of(at));
            let Some(partial) = self.providers.get(&place) else { continue };
            let change = change(at)?.ok_or_else(nonsense)?;
            let row = merge(&partial.row, &partial.wants, change.new).ok_or_else(nonsense)?;
            rows.extend_from_slice(&row);
            rows.push(b'\n');
        }
        Ok(())
    }

    /// Appends what rows of the backup have become: themselves, what wants their values, or
    /// nothing.
    pub(super) fn write_base(
        &self,
        lines: Lines<'_>,
        scratch: &mut Scratch,
        rows: &mut Vec<u8>,
    ) -> Result<Passed> {
        let mut passed = Passed::default();
        let mut hashes = [0; AT_ONCE];
        let mut over = [false; AT_ONCE];
        for first in (0..lines.len()).step_by(AT_ONCE) {
            let block = first..lines.len().min(first + AT_ONCE);
            for (line, hash) in block.clone().zip(&mut hashes) {
                *hash = self.hasher.row(lines.line(line), scratch).ok_or_else(unlike)?;
            }
            for (over, hash) in over.iter_mut().zip(&hashes[..block.len()]) {
                *over = !self.share.has(*hash) || self.done.contains(hash);
            }
            for (number, line) in block.enumerate() {
                let line = lines.line(line);
                let wanted = match self.wanted.is_empty() {
                    true => None,
                    false => self.wanted.get(&hashes[number]),
                };
                if let Some(partial) = wanted {
                    let row = merge(&partial.row, &partial.wants, line).ok_or_else(unlike)?;
                    rows.extend_from_slice(&row);
                    passed.wanted += 1;
                } else if over[number] {
                    continue;
                } else {
                    rows.extend_from_slice(line);
                }
                rows.push(b'\n');
                passed.rows += 1;
            }
        }
        Ok(passed)
    }

    /// Rows of the backup whose values are wanted; each must be there.
    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }
}

/// What rows of the backup have become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Passed {
    /// How many rows were added.
    pub(super) rows: u64,
    /// How many of them took values from a row of the backup.
    pub(super) wanted: usize,
}

fn size(partial: &Partial) -> usize {
    PARTIAL_BYTES + partial.row.len() + 2 * partial.wants.len()
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
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
