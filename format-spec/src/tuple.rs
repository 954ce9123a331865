//! Tuples of binary COPY, as rows of a chunk have them: where fields and rows begin and end.
//!
//! ```text
//! fields i16 | fields × (length i32, -1 for NULL | value)          all of it big-endian
//! ```
//!
//! Bytes may come in pieces of any size. What a value means its type says, which is not known here.
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT>

use crate::FormatError;

const WHAT: &str = "binary rows";

/// OIDs of the types that a column of binary rows may have, each with that of its array: what their
/// values are FORMAT.md says ("Binary values").
pub const TYPES: [(u32, u32); 28] = [
    (16, 1000),
    (17, 1001),
    (19, 1003),
    (20, 1016),
    (21, 1005),
    (23, 1007),
    (25, 1009),
    (26, 1028),
    (114, 199),
    (650, 651),
    (700, 1021),
    (701, 1022),
    (774, 775),
    (829, 1040),
    (869, 1041),
    (1042, 1014),
    (1043, 1015),
    (1082, 1182),
    (1083, 1183),
    (1114, 1115),
    (1184, 1185),
    (1186, 1187),
    (1266, 1270),
    (1560, 1561),
    (1562, 1563),
    (1700, 1231),
    (2950, 2951),
    (3802, 3807),
];

/// Whether a column of binary rows may have this type.
#[must_use]
pub fn is_type(oid: u32) -> bool {
    TYPES.iter().any(|(one, array)| [*one, *array].contains(&oid))
}

/// What a walk comes by. Whoever looks at one thing only leaves the rest out.
pub trait Visitor {
    /// What a visitor may fail with.
    type Error: From<FormatError>;

    /// A row of so many fields begins.
    ///
    /// # Errors
    /// Whatever the visitor does not like.
    fn row(&mut self, _fields: usize) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A field begins whose value has so many bytes; absent for NULL. A length that was read is no
    /// promise that as many bytes come.
    ///
    /// # Errors
    /// Whatever the visitor does not like.
    fn field(&mut self, _len: Option<usize>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The next bytes of a value, never none.
    ///
    /// # Errors
    /// Whatever the visitor does not like.
    fn piece(&mut self, _piece: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A field ended: whether to go on now.
    ///
    /// # Errors
    /// Whatever the visitor does not like.
    fn end_of_field(&mut self) -> Result<bool, Self::Error> {
        Ok(true)
    }

    /// A row ended before the byte at this place of what is walked.
    ///
    /// # Errors
    /// Whatever the visitor does not like.
    fn end_of_row(&mut self, _at: usize) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Goes through tuples that follow each other.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    place: Place,
    /// Fields of this row that have not begun.
    fields: usize,
    /// A count or length of which a part is still to come.
    number: [u8; 4],
    number_len: usize,
}

/// What the next byte is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    FieldCount,
    FieldLength,
    /// A value of which so many bytes are to come.
    Value(usize),
}

impl Walk {
    /// Whether what was walked ends with a row.
    #[must_use]
    pub fn is_between_rows(&self) -> bool {
        self.place == Place::FieldCount && self.number_len == 0
    }

    /// Walks on until the bytes end or the visitor stops; returns how many bytes it went.
    ///
    /// # Errors
    /// [`FormatError`] when they are no tuples; what the visitor gives.
    pub fn walk<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) -> Result<usize, V::Error> {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::FieldCount => {
                    let Some(count) = self.number::<2>(bytes, &mut at) else { break };
                    let count = i16::from_be_bytes(count);
                    self.fields = usize::try_from(count)
                        .map_err(|_| FormatError::invalid(WHAT, format!("{count} fields")))?;
                    visitor.row(self.fields)?;
                    self.next(at, visitor)?;
                }
                Place::FieldLength => {
                    let Some(length) = self.number::<4>(bytes, &mut at) else { break };
                    let length = match i32::from_be_bytes(length) {
                        -1 => None,
                        length => Some(usize::try_from(length).map_err(|_| {
                            FormatError::invalid(WHAT, format!("a field of {length} bytes"))
                        })?),
                    };
                    visitor.field(length)?;
                    self.place = Place::Value(length.unwrap_or(0));
                    if length.unwrap_or(0) == 0 && !self.end_of_field(at, visitor)? {
                        break;
                    }
                }
                Place::Value(left) => {
                    let length = left.min(bytes.len() - at);
                    visitor.piece(&bytes[at..at + length])?;
                    at += length;
                    self.place = Place::Value(left - length);
                    if left == length && !self.end_of_field(at, visitor)? {
                        break;
                    }
                }
            }
        }
        Ok(at)
    }

    fn end_of_field<V: Visitor>(&mut self, at: usize, visitor: &mut V) -> Result<bool, V::Error> {
        let goes_on = visitor.end_of_field()?;
        self.next(at, visitor)?;
        Ok(goes_on)
    }

    /// Goes on to the next field of the row, or the next row.
    fn next<V: Visitor>(&mut self, at: usize, visitor: &mut V) -> Result<(), V::Error> {
        if self.fields == 0 {
            self.place = Place::FieldCount;
            return visitor.end_of_row(at);
        }
        self.fields -= 1;
        self.place = Place::FieldLength;
        Ok(())
    }

    /// A number of N bytes, once all of them are there.
    #[inline]
    fn number<const N: usize>(&mut self, bytes: &[u8], at: &mut usize) -> Option<[u8; N]> {
        if self.number_len == 0
            && let Some(whole) = bytes.get(*at..).and_then(<[u8]>::first_chunk::<N>)
        {
            *at += N;
            return Some(*whole);
        }
        let length = (N - self.number_len).min(bytes.len() - *at);
        let end = self.number_len + length;
        self.number[self.number_len..end].copy_from_slice(&bytes[*at..*at + length]);
        *at += length;
        self.number_len = if end == N { 0 } else { end };
        (end == N).then(|| *self.number.first_chunk().unwrap_or(&[0; N]))
    }
}

/// Where rows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowEnds {
    /// How many rows end.
    pub count: u64,
    /// Behind the last one; 0 where none ends.
    pub last: usize,
}

impl Visitor for RowEnds {
    type Error = FormatError;

    fn end_of_row(&mut self, at: usize) -> Result<(), FormatError> {
        self.count += 1;
        self.last = at;
        Ok(())
    }
}

/// The number of rows where the bytes are whole rows and nothing else.
#[must_use]
pub fn whole_rows(bytes: &[u8]) -> Option<u64> {
    let (mut walk, mut ends) = (Walk::default(), RowEnds::default());
    walk.walk(bytes, &mut ends).ok()?;
    walk.is_between_rows().then_some(ends.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields of rows, as the walk gives them.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Rows(Vec<Vec<Option<Vec<u8>>>>);

    impl Visitor for Rows {
        type Error = FormatError;

        fn row(&mut self, _fields: usize) -> Result<(), FormatError> {
            self.0.push(Vec::new());
            Ok(())
        }

        fn field(&mut self, len: Option<usize>) -> Result<(), FormatError> {
            self.0.last_mut().unwrap().push(len.map(|_| Vec::new()));
            Ok(())
        }

        fn piece(&mut self, piece: &[u8]) -> Result<(), FormatError> {
            let field = self.0.last_mut().unwrap().last_mut().unwrap();
            field.as_mut().unwrap().extend_from_slice(piece);
            Ok(())
        }

        fn end_of_field(&mut self) -> Result<bool, FormatError> {
            Ok(self.0.len().is_multiple_of(2))
        }
    }

    fn tuple(row: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut tuple = i16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
        for field in row {
            let len = field.as_ref().map_or(-1, |field| i32::try_from(field.len()).unwrap());
            tuple.extend(len.to_be_bytes());
            tuple.extend(field.iter().flatten());
        }
        tuple
    }

    #[test]
    fn what_is_no_tuple_is_refused() {
        for bytes in [&[0xff, 0xff][..], &[0, 1, 0xff, 0xff, 0xff, 0xfe], &[0x80, 0]] {
            assert!(Walk::default().walk(bytes, &mut RowEnds::default()).is_err(), "{bytes:?}");
        }
        assert_eq!(whole_rows(&[0, 0, 0, 0]), Some(2));
        assert_eq!(whole_rows(&[0, 1, 0, 0, 0, 0]), Some(1));
        assert_eq!(whole_rows(&[0, 1, 0, 0, 0, 1]), None);
        assert_eq!(whole_rows(&[0, 1, 0, 0, 0]), None);
        assert_eq!(whole_rows(&[0]), None);
    }

    proptest! {
        #[test]
        fn fields_are_the_same_whatever_the_pieces(
            rows in prop::collection::vec(
                prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..5),
                0..12,
            ),
            piece_len in 1usize..40,
        ) {
            let bytes: Vec<u8> = rows.iter().flat_map(|row| tuple(row)).collect();
            let (mut walk, mut found) = (Walk::default(), Rows::default());
            for mut piece in bytes.chunks(piece_len) {
                while !piece.is_empty() {
                    let went = walk.walk(piece, &mut found).unwrap();
                    piece = &piece[went..];
                }
            }
            prop_assert!(walk.is_between_rows());
            prop_assert_eq!(whole_rows(&bytes), Some(rows.len() as u64));
            prop_assert_eq!(found, Rows(rows));
        }

        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = whole_rows(&bytes);
        }
    }
}
