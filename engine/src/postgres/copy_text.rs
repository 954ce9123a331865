//! The text format of COPY, a line a row: values from fields, fields from values. See "File
//! Formats, Text Format" of <https://www.postgresql.org/docs/current/sql-copy.html>.

use crate::{Error, ErrorKind, Result};

/// The field of NULL.
pub const NULL: &[u8] = b"\\N";

/// The values of a row without its newline, absent for NULL.
pub fn values(row: &[u8]) -> impl Iterator<Item = Result<Option<Vec<u8>>>> {
    row.split(|byte| *byte == b'\t').map(value)
}

/// The value of a field, absent for NULL.
///
/// # Errors
/// [`ErrorKind::Damaged`] when no server writes such a field.
pub fn value(field: &[u8]) -> Result<Option<Vec<u8>>> {
    if field == NULL {
        return Ok(None);
    }
    let mut value = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        value.extend_from_slice(&rest[..at]);
        let known = rest.get(at + 1).and_then(|letter| {
            LETTERS.iter().find(|(known, _)| known == letter).map(|(_, byte)| *byte)
        });
        value.push(known.ok_or_else(|| {
            let message = "rows are not COPY text: they hold an escape that no server writes";
            Error::new(ErrorKind::Damaged, message)
        })?);
        rest = &rest[at + 2..];
    }
    value.extend_from_slice(rest);
    Ok(Some(value))
}

/// Appends the field of a value that is not NULL, as `CopyAttributeOutText` of the server does.
pub fn escape(value: &[u8], row: &mut Vec<u8>) {
    let letter = |byte: u8| LETTERS.iter().find(|(_, known)| *known == byte);
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        row.extend_from_slice(&rest[..at]);
        row.push(b'\\');
        row.extend(letter(rest[at]).map(|(letter, _)| *letter));
        rest = &rest[at + 1..];
    }
    row.extend_from_slice(rest);
}

/// The hexadecimal digits of bytes, two for each, as bytea has them.
pub fn hex_digits(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four_bits: u8| DIGITS[usize::from(four_bits)];
    bytes.iter().map(move |byte| [digit(byte >> 4), digit(byte & 15)])
}

/// What stands behind a backslash for a byte that cannot stand for itself.
const LETTERS: [(u8, u8); 7] = [
    (b'\\', b'\\'),
    (b'b', 0x08),
    (b'f', 0x0c),
    (b'n', b'\n'),
    (b'r', b'\r'),
    (b't', b'\t'),
    (b'v', 0x0b),
];

fn is_special(byte: u8) -> bool {
    byte == b'\\' || (0x08..=0x0d).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_written_as_copy_does() {
        let mut row = Vec::new();
        escape(b"a\tb\\c\nd\x0b\x0c\x08\r\\N\x07\x0e", &mut row);
        assert_eq!(row, b"a\\tb\\\\c\\nd\\v\\f\\b\\r\\\\N\x07\x0e");
    }

    #[test]
    fn what_no_server_writes_is_refused() {
        for field in [&b"end\\"[..], b"\\x41", b"\\."] {
            assert!(value(field).is_err(), "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn any_value_comes_back(expected in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut field = Vec::new();
            escape(&expected, &mut field);
            prop_assert!(!field.contains(&b'\t') && !field.contains(&b'\n'));
            prop_assert_eq!(value(&field).unwrap(), Some(expected));
        }

        #[test]
        fn no_field_makes_it_panic(field in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = value(&field);
        }
    }
}
