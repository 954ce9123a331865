//! Where the rows of a chunk begin and end.
//!
//! Only for chunks of whole rows: a row that goes on in another chunk is the business of
//! [`Walk`](crate::tuple::Walk).

use crate::FormatError;
use crate::entry::RowEncoding;
use std::ops::Range;

/// The rows of a chunk, as ranges of its bytes. It ends behind the last row, or with an error where
/// the bytes are not whole rows of the encoding.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    encoding: RowEncoding,
    plain: &'a [u8],
    at: usize,
}

impl<'a> Rows<'a> {
    /// Begins with the first row of `plain`.
    #[must_use]
    pub fn new(encoding: RowEncoding, plain: &'a [u8]) -> Self {
        Self { encoding, plain, at: 0 }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Range<usize>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.plain.len() {
            return None;
        }
        let (start, end) = (self.at, end_of_row(self.encoding, self.plain, self.at));
        self.at = *end.as_ref().unwrap_or(&self.plain.len());
        Some(end.map(|end| start..end))
    }
}

/// Where the row ends that begins at a place.
///
/// # Errors
/// [`FormatError::Invalid`] where no whole row begins there.
pub(crate) fn end_of_row(
    encoding: RowEncoding,
    plain: &[u8],
    at: usize,
) -> Result<usize, FormatError> {
    let rest = plain.get(at..).unwrap_or_default();
    let len = match encoding {
        RowEncoding::CopyText => memchr::memchr(b'\n', rest).map(|newline| newline + 1),
        RowEncoding::CopyBinary => tuple_len(rest),
        RowEncoding::Cbor => None,
    };
    let len = len.ok_or_else(|| FormatError::invalid("rows", "they are not whole"))?;
    Ok(at + len)
}

/// Bytes of the binary tuple that `bytes` begin with; absent where there is no whole one.
fn tuple_len(bytes: &[u8]) -> Option<usize> {
    let fields = u16::try_from(i16::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let mut at = 2;
    for _ in 0..fields {
        let length = i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        at += 4;
        if length != -1 {
            at = at.checked_add(usize::try_from(length).ok()?)?;
        }
    }
    (at <= bytes.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::whole_rows;
    use proptest::prelude::*;

    #[test]
    fn rows_end_where_their_encoding_says() {
        let text: Result<Vec<_>, _> = Rows::new(RowEncoding::CopyText, b"a\tb\n\nc\n").collect();
        assert_eq!(text.unwrap(), [0..4, 4..5, 5..7]);
        let tuples = [0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 0];
        let binary: Result<Vec<_>, _> = Rows::new(RowEncoding::CopyBinary, &tuples).collect();
        assert_eq!(binary.unwrap(), [0..7, 7..9, 9..19]);
    }

    #[test]
    fn what_is_not_whole_rows_is_refused() {
        for (encoding, bytes) in [
            (RowEncoding::CopyText, &b"a\nb"[..]),
            (RowEncoding::CopyBinary, &[0, 1, 0, 0, 0, 2, b'a']),
            (RowEncoding::CopyBinary, &[0, 1, 255, 255, 255, 254]),
            (RowEncoding::CopyBinary, &[0, 0, 0]),
            (RowEncoding::CopyBinary, &[255, 255]),
            (RowEncoding::Cbor, &[0]),
        ] {
            let rows: Vec<_> = Rows::new(encoding, bytes).collect();
            assert!(rows.last().is_some_and(Result::is_err), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_exactly_where_a_walk_says_so(
            bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..40),
        ) {
            let rows: Result<Vec<_>, _> = Rows::new(RowEncoding::CopyBinary, &bytes).collect();
            prop_assert_eq!(rows.ok().map(|rows| rows.len() as u64), whole_rows(&bytes));
        }
    }
}
