//! Which rows of a chunk a stream does without.
//!
//! ```text
//! left out = (kept, left out), (kept, left out), …       each a number of rows, LEB128
//! ```
//!
//! So a backup in which a few rows of a chunk have changed names the chunk that the repository has,
//! says which of its rows are no more, and stores those that are new.

use crate::FormatError;
use crate::entry::RowEncoding;
use crate::rows::end_of_row;

const WHAT: &str = "rows left out";

/// Runs of rows that are kept and left out in turn, from a chunk's first row on; those behind the
/// last run are kept. At least one row is left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeftOut {
    runs: Box<[u8]>,
    rows: u32,
    end: u32,
}

impl LeftOut {
    /// Of rows that are left out where `true` comes; absent where none does.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = bool>) -> Option<Self> {
        let mut runs = Vec::new();
        let (mut run, mut in_left_out) = (0_u32, false);
        let (mut left_out, mut end, mut at) = (0, 0, 0);
        for is_left_out in rows {
            if is_left_out != in_left_out {
                put(&mut runs, run);
                (run, in_left_out) = (0, is_left_out);
            }
            (run, at) = (run + 1, at + 1);
            if is_left_out {
                (left_out, end) = (left_out + 1, at);
            }
        }
        if in_left_out {
            put(&mut runs, run);
        }
        (left_out > 0).then(|| Self { runs: runs.into(), rows: left_out, end })
    }

    /// Reads runs that fill `bytes`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when they break a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut rest, mut rows, mut end) = (bytes, 0_u32, 0_u32);
        let mut is_first = true;
        let mut next = |rest: &mut &[u8]| {
            let run = take(rest)
                .filter(|run| *run > 0 || is_first)
                .ok_or_else(|| FormatError::invalid(WHAT, "a run is not valid"))?;
            is_first = false;
            end = end
                .checked_add(run)
                .ok_or_else(|| FormatError::invalid(WHAT, "more rows than a chunk has"))?;
            Ok::<u32, FormatError>(run)
        };
        loop {
            next(&mut rest)?;
            rows += next(&mut rest)?;
            if rest.is_empty() {
                return Ok(Self { runs: bytes.into(), rows, end });
            }
        }
    }

    /// The runs as they are written.
    #[must_use]
    pub fn encode(&self) -> &[u8] {
        &self.runs
    }

    /// How many rows are left out.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.into()
    }

    /// How many rows the chunk has at least.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end.into()
    }

    /// The runs: rows that are kept, and those behind them that are left out.
    fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut rest = &*self.runs;
        std::iter::from_fn(move || Some((take(&mut rest)?, take(&mut rest)?)))
    }

    /// Removes the rows that are left out from the whole rows of a chunk.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the chunk does not have them, or no such rows.
    pub fn remove(&self, encoding: RowEncoding, plain: &mut Vec<u8>) -> Result<(), FormatError> {
        let behind = |plain: &[u8], rows: u32, mut at: usize| {
            for _ in 0..rows {
                at = end_of_row(encoding, plain, at)?;
            }
            Ok::<usize, FormatError>(at)
        };
        let (mut start, mut len) = (0, 0);
        for (kept, left_out) in self.runs() {
            let end = behind(plain, kept, start)?;
            plain.copy_within(start..end, len);
            len += end - start;
            start = behind(plain, left_out, end)?;
        }
        let rest = plain.len() - start;
        plain.copy_within(start.., len);
        len += rest;
        plain.truncate(len);
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Takes a number in its shortest form.
fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for shift in (0..5).map(|at| 7 * at) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let is_shortest = *byte != 0 || shift == 0;
            return u32::try_from(number).ok().filter(|_| is_shortest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_written_in_turns() {
        assert_eq!(LeftOut::of([false, false]), None);
        let left_out = LeftOut::of([true, false, false, true, true, false]).unwrap();
        assert_eq!(left_out.encode(), [0, 1, 2, 2]);
        assert_eq!((left_out.rows(), left_out.end()), (3, 5));
        let many = LeftOut::of((0..300).map(|at| at == 200)).unwrap();
        assert_eq!(many.encode(), [0xc8, 0x01, 1]);
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let long: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f, 1];
        for bytes in [&[][..], &[1], &[0, 0], &[1, 1, 0, 1], &[1, 1, 1], &[0x81, 0, 1], long] {
            assert!(LeftOut::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn rows_that_are_not_there_are_not_left_out() {
        let left_out = LeftOut::decode(&[2, 1]).unwrap();
        let mut rows = b"1\n2\n".to_vec();
        assert!(left_out.remove(RowEncoding::CopyText, &mut rows).is_err());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_all_other_rows(rows in prop::collection::vec((any::<bool>(), 0_usize..9), 0..400)) {
            let text = |only_kept: bool| -> Vec<u8> {
                let rows = rows.iter().filter(|(is_left_out, _)| !(only_kept && *is_left_out));
                rows.flat_map(|(_, len)| [vec![b'x'; *len], vec![b'\n']].concat()).collect()
            };
            let mut kept = text(false);
            if let Some(left_out) = LeftOut::of(rows.iter().map(|row| row.0)) {
                prop_assert_eq!(LeftOut::decode(left_out.encode()), Ok(left_out.clone()));
                left_out.remove(RowEncoding::CopyText, &mut kept).unwrap();
            }
            prop_assert_eq!(kept, text(true));
        }

        #[test]
        fn any_bytes_are_refused_or_read_back_the_same(bytes in prop::collection::vec(any::<u8>(), 0..12), plain in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(left_out) = LeftOut::decode(&bytes) {
                prop_assert_eq!(left_out.encode(), &bytes[..]);
                let mut plain = plain;
                let _ = left_out.remove(RowEncoding::CopyBinary, &mut plain);
            }
        }
    }
}
