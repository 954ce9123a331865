//! Rows laid out column by column, as a codec has them before it compresses.
//!
//! ```text
//! columns u16 | 0 u16 | columns × (bytes u32) | columns × its fields, each with a newline behind it
//! ```
//!
//! What lies together is alike, and compresses better. Only whole rows of COPY text that all have
//! as many fields can be laid out so: in them a tab ends a field, a newline ends a row, and neither
//! is anywhere else.

use crate::FormatError;
use crate::limits;
use crate::reader::{Reader, limited};
use memchr::{memchr, memchr2_iter};

const WHAT: &str = "columns";
/// Bytes before the lengths of columns.
const HEAD_LEN: usize = 4;
/// Bytes of the length of a column.
const LEN_LEN: usize = 4;

/// Lays rows out by columns; absent where they cannot be, or have one column only.
#[must_use]
pub fn lay_out(rows: &[u8]) -> Option<Vec<u8>> {
    let first = &rows[..=memchr(b'\n', rows)?];
    let columns = memchr2_iter(b'\t', b'\n', first).count();
    if !(2..=limits::COLUMNS_MAX).contains(&columns) {
        return None;
    }
    let mut ends: Vec<usize> = Vec::with_capacity(rows.len() / 8);
    let mut lens = vec![0; columns];
    let (mut column, mut start) = (0, 0);
    for at in memchr2_iter(b'\t', b'\n', rows) {
        if (rows[at] == b'\n') != (column + 1 == columns) {
            return None;
        }
        lens[column] += at + 1 - start;
        start = at + 1;
        ends.push(start);
        column = if column + 1 == columns { 0 } else { column + 1 };
    }
    if start != rows.len() || column != 0 {
        return None;
    }
    let head = HEAD_LEN + LEN_LEN * columns;
    let mut laid = vec![0; head + rows.len()];
    laid[..2].copy_from_slice(&u16::try_from(columns).ok()?.to_le_bytes());
    let mut places = Vec::with_capacity(columns);
    let mut place = head;
    for (at, len) in lens.iter().enumerate() {
        let field = HEAD_LEN + LEN_LEN * at;
        laid[field..field + LEN_LEN].copy_from_slice(&u32::try_from(*len).ok()?.to_le_bytes());
        places.push(place);
        place += len;
    }
    let mut start = 0;
    for row in ends.chunks_exact(columns) {
        for (place, end) in places.iter_mut().zip(row) {
            let len = end - start;
            let to = &mut laid[*place..*place + len];
            to.copy_from_slice(&rows[start..*end]);
            to[len - 1] = b'\n';
            *place += len;
            start = *end;
        }
    }
    Some(laid)
}

/// The most bytes that rows of `plain_len` bytes have once laid out.
#[must_use]
pub fn laid_len_max(plain_len: usize) -> usize {
    plain_len.saturating_add(HEAD_LEN + LEN_LEN * limits::COLUMNS_MAX)
}

/// Puts rows together again that were laid out; they have `plain_len` bytes.
///
/// # Errors
/// [`FormatError`] when they are not that, or the columns have not equally many fields.
pub fn rows_of(laid: &[u8], plain_len: usize) -> Result<Vec<u8>, FormatError> {
    let mut reader = Reader::new(WHAT, laid);
    let count = limited("columns of a chunk", reader.u16()?.into(), limits::COLUMNS_MAX as u64)?;
    reader.reserved(2)?;
    let mut lens = Vec::new();
    for _ in 0..count {
        lens.push(usize::try_from(reader.u32()?).unwrap_or(usize::MAX));
    }
    let mut columns = Vec::with_capacity(lens.len());
    for len in lens {
        columns.push(reader.take(len)?);
    }
    let invalid = |reason: &str| FormatError::invalid(WHAT, reason.to_owned());
    if reader.remaining() > 0 {
        return Err(invalid("bytes follow them"));
    }
    if columns.iter().map(|column| column.len()).sum::<usize>() != plain_len {
        return Err(invalid("they are not as long as the rows"));
    }
    let last = columns.len().checked_sub(1).ok_or_else(|| invalid("there are none"))?;
    let mut rows = Vec::with_capacity(plain_len);
    while !columns[last].is_empty() {
        for (at, column) in columns.iter_mut().enumerate() {
            let end = memchr(b'\n', column).ok_or_else(|| invalid("a column ends too early"))?;
            let (field, rest) = column.split_at(end + 1);
            rows.extend_from_slice(&field[..end]);
            rows.push(if at == last { b'\n' } else { b'\t' });
            *column = rest;
        }
    }
    match columns.iter().all(|column| column.is_empty()) {
        true => Ok(rows),
        false => Err(invalid("one has more fields than another")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_that_are_not_alike_are_not_laid_out() {
        for rows in ["", "a", "a\n", "a\tb", "a\tb\nc", "a\tb\nc\n", "a\tb\nc\td\te\n", "a\tb\n\n"]
        {
            assert_eq!(lay_out(rows.as_bytes()), None, "{rows:?}");
        }
        let laid = lay_out(b"1\tx\t\n22\t\\N\tz\n").unwrap();
        assert_eq!(laid[..4], [3, 0, 0, 0]);
        assert_eq!(laid[16..], *b"1\n22\nx\n\\N\n\nz\n");
    }

    proptest! {
        #[test]
        fn rows_come_back_the_same(
            columns in 2usize..20,
            fields in prop::collection::vec("[a-z0-9 ]{0,12}", 1..600),
        ) {
            let rows: String = fields
                .chunks_exact(columns)
                .map(|row| row.join("\t") + "\n")
                .collect();
            if let Some(laid) = lay_out(rows.as_bytes()) {
                prop_assert_eq!(rows_of(&laid, rows.len()).unwrap(), rows.as_bytes());
            } else {
                prop_assert!(rows.is_empty());
            }
        }

        #[test]
        fn what_is_no_layout_is_refused_without_a_panic(
            laid in prop::collection::vec(0u8..12, 0..60),
            plain_len in 0usize..60,
        ) {
            if let Ok(rows) = rows_of(&laid, plain_len) {
                prop_assert_eq!(rows.len(), plain_len);
            }
        }
    }
}
