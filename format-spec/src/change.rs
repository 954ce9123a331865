//! Changes of one table, one after another, as a chunk of type `Changes` holds them.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | length: bytes of the change after this field |
//! | 4 | 1 | action: 1 insert, 2 update, 3 delete, 4 truncate |
//! | 5 | 1 | flags: 1 the old row is there, 2 it is whole, 4 values are unchanged |
//! | 6 | 2 | number of unchanged values; 0 without flag 4 |
//! | 8 | 4 | member: see [`Change::member`] |
//! | 12 | 4 | bytes of the old row; 0 without flag 1 |
//! | 16 | 2 each | positions of the columns whose values are unchanged, ascending |
//! | | | the old row |
//! | | | the new row: all that is left |
//!
//! A row is written as a line of `COPY … (FORMAT text)` without the newline. An old row that
//! is not whole has only the columns that identify a row. Where a value is unchanged, the new
//! row has `\N` in its place.

use crate::FormatError;
use crate::limits;
use crate::reader::Reader;

/// Bytes before the positions of unchanged values.
pub const HEADER_LEN: usize = 16;

/// Longest change; PostgreSQL's rows are shorter.
pub const CHANGE_LEN_MAX: u64 = u32::MAX as u64 - 1;

const OLD: u8 = 1;
const OLD_IS_WHOLE: u8 = 2;
const UNCHANGED: u8 = 4;

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A row came.
    Insert,
    /// A row changed.
    Update,
    /// A row went.
    Delete,
    /// All rows went.
    Truncate,
}

impl Action {
    const ALL: [(Self, u8); 4] =
        [(Self::Insert, 1), (Self::Update, 2), (Self::Delete, 3), (Self::Truncate, 4)];
}

/// A row as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldRow<'a> {
    /// Whether all columns are there.
    pub is_whole: bool,
    /// The values.
    pub row: &'a [u8],
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// What it did.
    pub action: Action,
    /// Which transaction made it: its position in the segment; or, where the segment has one
    /// transaction whose subtransactions are named, the subtransaction's id.
    pub member: u32,
    /// The row before; absent of an update that left alone what identifies the row.
    pub old: Option<OldRow<'a>>,
    /// Positions of the columns whose values are what they were before, ascending.
    pub unchanged: Vec<u16>,
    /// The row after; empty of a delete or truncate.
    pub new: &'a [u8],
}

impl Change<'_> {
    /// Appends the change to `bytes`.
    ///
    /// # Errors
    /// [`FormatError::Limit`] when it is longer than a change may be.
    pub fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let old = self.old.map_or(&[][..], |old| old.row);
        let len = HEADER_LEN - 4 + 2 * self.unchanged.len() + old.len() + self.new.len();
        let too_long = || FormatError::Limit {
            what: "change length",
            found: len as u64,
            limit: CHANGE_LEN_MAX,
        };
        let whole = u32::try_from(len).map_err(|_| too_long())?;
        let old_len = u32::try_from(old.len()).map_err(|_| too_long())?;
        let unchanged = u16::try_from(self.unchanged.len()).map_err(|_| too_long())?;
        let mut flags = 0;
        if let Some(old) = self.old {
            flags |= OLD | if old.is_whole { OLD_IS_WHOLE } else { 0 };
        }
        if unchanged > 0 {
            flags |= UNCHANGED;
        }
        let code = Action::ALL.iter().find(|(known, _)| *known == self.action);
        bytes.extend_from_slice(&whole.to_le_bytes());
        bytes.extend_from_slice(&[code.map_or(0, |(_, code)| *code), flags]);
        bytes.extend_from_slice(&unchanged.to_le_bytes());
        bytes.extend_from_slice(&self.member.to_le_bytes());
        bytes.extend_from_slice(&old_len.to_le_bytes());
        self.unchanged.iter().for_each(|at| bytes.extend_from_slice(&at.to_le_bytes()));
        bytes.extend_from_slice(old);
        bytes.extend_from_slice(self.new);
        Ok(())
    }
}

/// Finds the changes in whole chunks: where each begins.
///
/// # Errors
/// [`FormatError`] when a length leads out of `bytes`.
pub fn offsets(bytes: &[u8]) -> Result<Vec<usize>, FormatError> {
    let mut offsets = Vec::new();
    let mut reader = Reader::new("change", bytes);
    while reader.remaining() > 0 {
        offsets.push(bytes.len() - reader.remaining());
        let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        reader.take(len)?;
    }
    Ok(offsets)
}

/// Reads the change that begins at `offset`.
///
/// # Errors
/// [`FormatError`] when it breaks a rule.
pub fn decode_at(bytes: &[u8], offset: usize) -> Result<Change<'_>, FormatError> {
    let mut whole = Reader::new("change", bytes.get(offset..).unwrap_or_default());
    let len = usize::try_from(whole.u32()?).unwrap_or(usize::MAX);
    let mut reader = Reader::new("change", whole.take(len)?);
    let invalid = |reason: &str| FormatError::invalid("change", reason.to_owned());
    let (code, flags) = (reader.u8()?, reader.u8()?);
    let action = Action::ALL.iter().find(|(_, known)| *known == code);
    let action = action.map(|(action, _)| *action).ok_or_else(|| invalid("unknown action"))?;
    if flags > OLD | OLD_IS_WHOLE | UNCHANGED || flags & (OLD | OLD_IS_WHOLE) == OLD_IS_WHOLE {
        return Err(invalid("unknown flags"));
    }
    let count = reader.u16()?;
    if (count > 0) != (flags & UNCHANGED > 0) || usize::from(count) > limits::COLUMNS_MAX {
        return Err(invalid("its number of unchanged values is wrong"));
    }
    let member = reader.u32()?;
    let old_len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    let mut unchanged = Vec::new();
    for _ in 0..count {
        unchanged.push(reader.u16()?);
    }
    if unchanged.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(invalid("its unchanged values are not in order"));
    }
    let row = reader.take(old_len)?;
    if flags & OLD == 0 && old_len > 0 {
        return Err(invalid("it has an old row, and not"));
    }
    let old = (flags & OLD > 0).then_some(OldRow { is_whole: flags & OLD_IS_WHOLE > 0, row });
    let new = reader.take(reader.remaining())?;
    let has = |old_row: bool, new_row: bool| {
        (old_row || old.is_none()) && (new_row || new.is_empty() && unchanged.is_empty())
    };
    let fits = match action {
        Action::Insert => has(false, true) && unchanged.is_empty(),
        Action::Update => true,
        Action::Delete => has(true, false) && old.is_some(),
        Action::Truncate => has(false, false),
    };
    if !fits {
        return Err(invalid("its rows do not fit its action"));
    }
    Ok(Change { action, member, old, unchanged, new })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn update() -> Change<'static> {
        Change {
            action: Action::Update,
            member: 7,
            old: Some(OldRow { is_whole: false, row: b"1" }),
            unchanged: vec![1, 3],
            new: b"2\t\\N\tx\t\\N",
        }
    }

    #[test]
    fn changes_read_back_in_their_order() {
        let delete = Change {
            action: Action::Delete,
            member: 8,
            old: Some(OldRow { is_whole: true, row: b"" }),
            unchanged: Vec::new(),
            new: b"",
        };
        let mut bytes = Vec::new();
        for change in [&update(), &delete] {
            change.encode(&mut bytes).unwrap();
        }
        let offsets = offsets(&bytes).unwrap();
        let read: Vec<_> = offsets.iter().map(|at| decode_at(&bytes, *at).unwrap()).collect();
        assert_eq!(read, [update(), delete]);
    }

    #[test]
    fn a_change_that_ends_early_is_refused() {
        let mut bytes = Vec::new();
        update().encode(&mut bytes).unwrap();
        for len in 1..bytes.len() {
            assert!(offsets(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for at in offsets(&bytes).unwrap_or_default() {
                let _ = decode_at(&bytes, at);
            }
            let mut led = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
            led.extend(&bytes);
            let _ = decode_at(&led, 0);
        }
    }
}
