//! Tuples of binary COPY laid out column by column, as a codec has them before it compresses.
//!
//! ```text
//! columns u16 | 0 u16 | rows u32 | columns × column
//! column: form u8 | width u8 | nulls u8 | 0 u8 | nulls? rows × u8 | what the form says
//! ```
//!
//! Only whole rows that all have as many fields can be laid out. `field` finds them, `column` chooses
//! among the forms, each of which has a module that lays out and takes apart. No type is known here:
//! forms are told by how values look, and whatever is laid out comes back the same.

mod by_length;
mod column;
mod dictionary;
mod even;
mod field;
mod parted;
mod uneven;
mod words;

use crate::FormatError;
use crate::limits;
use crate::reader::{Reader, limited};
use column::{Column, Form, Head};
use field::{Field, LEN_LEN, NULL};
use parted::Parted;
use words::Words;

const WHAT: &str = "columns of tuples";
/// Bytes before the columns.
const HEAD_LEN: usize = 8;

/// Lays rows out, chunk after chunk, in memory that it keeps: to ask the system for it again for each
/// chunk costs a third of the work.
#[derive(Default)]
pub struct Layer {
    fields: Vec<Vec<Field>>,
    laid: Vec<u8>,
}

impl Layer {
    /// Lays rows out by columns; absent where they cannot be.
    #[must_use]
    pub fn lay_out(&mut self, rows: &[u8]) -> Option<&[u8]> {
        let count = u16::from_be_bytes(*rows.first_chunk()?);
        let columns = usize::from(count);
        if !(1..=limits::COLUMNS_MAX).contains(&columns) {
            return None;
        }
        field::find(rows, columns, &mut self.fields)?;
        let row_count = u32::try_from(self.fields.first()?.len()).ok()?;
        self.laid.clear();
        self.laid.extend_from_slice(&count.to_le_bytes());
        self.laid.extend_from_slice(&[0; 2]);
        self.laid.extend_from_slice(&row_count.to_le_bytes());
        for fields in &self.fields {
            column::lay_out(rows, fields, &mut self.laid);
        }
        Some(&self.laid)
    }
}

/// Makes room at the end.
fn room(laid: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let start = laid.len();
    laid.resize(start + len, 0);
    &mut laid[start..]
}

/// The most bytes that rows of `plain_len` bytes have once laid out.
#[must_use]
pub fn laid_len_max(plain_len: usize) -> usize {
    // A field takes no more than in a row, and no row has its count of fields.
    plain_len.saturating_add(HEAD_LEN + column::HEAD_LEN * limits::COLUMNS_MAX)
}

/// Puts rows together again that were laid out; they have `plain_len` bytes.
///
/// # Errors
/// [`FormatError`] when they are not that.
pub fn rows_of(laid: &[u8], plain_len: usize) -> Result<Vec<u8>, FormatError> {
    let mut reader = Reader::new(WHAT, laid);
    let count = reader.u16()?;
    limited("columns of a chunk", count.into(), limits::COLUMNS_MAX as u64)?;
    let columns = usize::from(count);
    reader.reserved(2)?;
    let rows = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    // Before anything is made room for by it.
    let least = columns.checked_mul(LEN_LEN).and_then(|row| row.checked_add(2)?.checked_mul(rows));
    if columns == 0 || least.is_none_or(|least| least > plain_len) {
        return Err(invalid("there are more or fewer rows than fit"));
    }
    let laid_columns: Result<Vec<_>, _> =
        (0..columns).map(|_| LaidColumn::read(&mut reader, rows)).collect();
    let mut laid_columns = laid_columns?;
    if reader.remaining() > 0 {
        return Err(invalid("bytes follow them"));
    }
    let mut plain = Plain { bytes: Vec::with_capacity(plain_len), len: plain_len };
    for _ in 0..rows {
        plain.push(&count.to_be_bytes())?;
        for column in &mut laid_columns {
            column.append(&mut plain)?;
        }
    }
    match plain.bytes.len() == plain_len && laid_columns.iter().all(LaidColumn::is_used_up) {
        true => Ok(plain.bytes),
        false => Err(invalid("they are not as long as the rows")),
    }
}

fn invalid(reason: &str) -> FormatError {
    FormatError::invalid(WHAT, reason.to_owned())
}

/// Rows that are being put together, never more bytes of them than there may be.
struct Plain {
    bytes: Vec<u8>,
    len: usize,
}

impl Plain {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() > self.len - self.bytes.len() {
            return Err(invalid("they are longer than the rows"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn field(&mut self, value: Option<&[u8]>) -> Result<(), FormatError> {
        let Some(value) = value else { return self.push(&NULL.to_be_bytes()) };
        self.push(&u32::try_from(value.len()).unwrap_or(NULL).to_be_bytes())?;
        self.push(value)
    }

    /// Begins a field whose length is not known yet; where its value begins.
    fn begin_field(&mut self) -> Result<usize, FormatError> {
        self.push(&[0; LEN_LEN])?;
        Ok(self.bytes.len())
    }

    fn end_field(&mut self, start: usize) {
        let len = u32::try_from(self.bytes.len() - start).unwrap_or(NULL);
        self.bytes[start - LEN_LEN..start].copy_from_slice(&len.to_be_bytes());
    }
}

/// A column of rows that is being taken apart.
enum LaidColumn<'a> {
    Whole(Column<'a>),
    Parted(Parted<'a>),
    Words(Words<'a>),
}

impl<'a> LaidColumn<'a> {
    fn read(reader: &mut Reader<'a>, rows: usize) -> Result<Self, FormatError> {
        let head = Head::read(reader)?;
        Ok(match head.form {
            Form::Parted => Self::Parted(Parted::read(reader)?),
            Form::Words => Self::Words(Words::read(rows, reader)?),
            _ => Self::Whole(Column::read(&head, rows, reader)?),
        })
    }

    /// Appends the field of the next row.
    #[inline]
    fn append(&mut self, plain: &mut Plain) -> Result<(), FormatError> {
        match self {
            Self::Whole(column) => plain.field(column.next()?),
            Self::Parted(column) => column.append(plain),
            Self::Words(column) => column.append(plain),
        }
    }

    /// Whether nothing is left: other columns than parted ones have as many values as rows.
    fn is_used_up(&self) -> bool {
        match self {
            Self::Whole(_) | Self::Words(_) => true,
            Self::Parted(column) => column.is_used_up(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn tuples(rows: &[Row]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend(u16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                let len = field.as_ref().map_or(NULL, |field| u32::try_from(field.len()).unwrap());
                bytes.extend(len.to_be_bytes());
                bytes.extend(field.iter().flatten());
            }
        }
        bytes
    }

    fn lay_out(rows: &[u8]) -> Option<Vec<u8>> {
        Layer::default().lay_out(rows).map(<[u8]>::to_vec)
    }

    fn column(values: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<u8> {
        let rows: Vec<Row> = values.map(|value| vec![value]).collect();
        let plain = tuples(&rows);
        let laid = lay_out(&plain).unwrap();
        assert!(
            laid.len() <= laid_len_max(plain.len()) - column::HEAD_LEN * (limits::COLUMNS_MAX - 1)
        );
        assert_eq!(rows_of(&laid, plain.len()).unwrap(), plain);
        laid[HEAD_LEN..].to_vec()
    }

    #[test]
    fn values_of_one_width_are_laid_out_by_bytes_or_differences() {
        let of = |numbers: &[i32]| column(numbers.iter().map(|it| Some(it.to_be_bytes().to_vec())));
        let following: Vec<i32> = (1000..1040).collect();
        let bytes = [&[2, 4, 0, 0][..], &[0; 80], &[7], &[0; 39], &[208], &[2; 39]].concat();
        assert_eq!(of(&following), bytes);
        assert_eq!(of(&[7, -1]), [1, 4, 0, 0, 0, 255, 0, 255, 0, 255, 7, 255]);
        let with_nulls = column([None, Some(vec![1, 2]), None, Some(vec![3, 4])].into_iter());
        assert_eq!(with_nulls, [1, 2, 1, 0, 1, 0, 1, 0, 1, 3, 2, 4]);
    }

    #[test]
    fn values_of_other_widths_have_their_lengths_before_them() {
        let of = |texts: &[Option<&[u8]>]| column(texts.iter().map(|it| it.map(<[u8]>::to_vec)));
        assert_eq!(of(&[Some(b"ab"), None, Some(b"")]), [3, 0, 0, 0, 3, 0, 1, b'a', b'b']);
        let long = of(&[Some(&[5; 300]), None]);
        assert_eq!(long[..12], [4, 0, 0, 0, 44, 1, 0, 0, 255, 255, 255, 255]);
        assert_eq!(long.len(), 12 + 300);
    }

    /// The form of a column of texts.
    fn form_of(texts: impl Iterator<Item = String>) -> u8 {
        column(texts.map(|text| Some(text.into_bytes())))[0]
    }

    #[test]
    fn few_values_become_a_dictionary_and_many_do_not() {
        let modes = ["AIR", "SHIP", "a mode of more than sixteen bytes"];
        let few = column((0..12).map(|row| Some(modes[row % 3].as_bytes().to_vec())));
        assert_eq!(few[..8], [5, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(few[few.len() - 12..], [1, 2, 3].repeat(4));
        assert_eq!(form_of((0..2000).map(|row| format!("value {}", row % 255))), 5);
        assert_eq!(form_of((0..2000).map(|row| format!("value {}", row % 256))), 3);
        assert_eq!(form_of((0..100).map(|row| format!("value {}", row % 26))), 3);
        assert_eq!(form_of((0..100).map(|row| format!("the same beginning{row}and end"))), 3);
    }

    #[test]
    fn numerics_are_laid_out_by_length() {
        let numeric = |digits: &[u16]| {
            let head = [u16::try_from(digits.len()).unwrap(), 0, 0, 2];
            Some(head.iter().chain(digits).flat_map(|digits| digits.to_be_bytes()).collect())
        };
        let laid = column([numeric(&[1]), None, numeric(&[2, 3]), numeric(&[4])].into_iter());
        assert_eq!(laid[..8], [6, 0, 0, 0, 11, 0, 13, 11]);
        assert_eq!(laid[8..28], [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 1, 4]);
        assert_eq!(laid[28..], [0, 2, 0, 0, 0, 0, 0, 2, 0, 2, 0, 3]);
    }

    #[test]
    fn documents_of_the_same_keys_are_laid_out_without_them() {
        let document = |row: u32| {
            let more = if row.is_multiple_of(3) { ", \"more\": [true, null]" } else { "" };
            format!("{{\"user\": {}, \"name\": \"a \\\"{row}\\\"\"{more}}}", row * 7919)
        };
        let laid = column((0..1000).map(|row| Some(document(row).into_bytes())));
        assert_eq!(laid[0], 7);
        let keys = laid.windows(6).filter(|bytes| bytes == b"\"user\"").count();
        assert_eq!(keys, 1);
    }

    #[test]
    fn texts_of_few_words_are_laid_out_by_words() {
        let text = |row: usize| format!("quick {} requests {}", row % 37, row % 40);
        let laid = column((0..1000).map(|row| (row % 9 > 0).then(|| text(row).into_bytes())));
        assert_eq!(laid[..8], [8, 0, 0, 0, 0, 4, 4, 4]);
        assert_eq!(form_of((0..1000).map(|row| format!("quick request number {row}"))), 3);
        assert_eq!(form_of((0..1000).map(|row| format!("quick{}", " ".repeat(row % 300)))), 4);
    }

    #[test]
    fn documents_whose_keys_never_come_again_stay_as_they_are() {
        assert_eq!(
            form_of((0..2000).map(|row| format!("{{\"the key {row}\": {row}, \"a\": 1}}"))),
            3
        );
        assert_ne!(form_of((0..20).map(|row| format!("{{\"a string that never ends: {row}"))), 7);
    }

    #[test]
    fn rows_that_are_not_alike_are_not_laid_out() {
        let alike = tuples(&[vec![Some(vec![1])], vec![None]]);
        assert!(lay_out(&alike).is_some());
        assert_eq!(lay_out(&alike[..alike.len() - 1]), None);
        assert_eq!(lay_out(&tuples(&[vec![None], vec![None, None]])), None);
        for rows in [&b""[..], b"\0\0", b"1\t2\n", b"\0\x01\xff\xff\xff\xfe"] {
            assert_eq!(lay_out(rows), None, "{rows:?}");
        }
    }

    fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..5))
    }

    /// What looks like JSON, or begins like it.
    fn document() -> impl Strategy<Value = Vec<u8>> {
        let tokens = [
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            ":",
            ", ",
            ": ",
            "\"key\": ",
            "\"a string\"",
            "12",
            "-1.5e3",
        ];
        let token = prop_oneof![
            8 => prop::sample::select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..20),
        ];
        (any::<bool>(), prop::collection::vec(token, 0..40)).prop_map(|(is_jsonb, tokens)| {
            let version: &[u8] = if is_jsonb { b"\x01{" } else { b"{" };
            [version, &tokens.concat()].concat()
        })
    }

    proptest! {
        #[test]
        fn documents_come_back_the_same(
            documents in prop::collection::vec(document(), 1..6),
            order in prop::collection::vec(prop::option::weighted(0.9, any::<prop::sample::Index>()), 1..80),
        ) {
            column(order.into_iter().map(|row| row.map(|row| row.get(&documents).clone())));
        }

        #[test]
        fn texts_of_words_come_back_the_same(
            texts in prop::collection::vec("[a-c]{0,3}( [a-c]{0,3}){0,9}", 1..100),
        ) {
            column(texts.into_iter().map(|text| (text != "a a").then_some(text.into_bytes())));
        }

        #[test]
        fn rows_come_back_the_same(
            widths in prop::collection::vec(prop_oneof![Just(0_usize), Just(4), Just(8), 1_usize..20], 1..6),
            seeds in prop::collection::vec((field(), any::<u64>(), any::<bool>()), 1..60),
            step in any::<u16>(),
        ) {
            let rows: Vec<Row> = seeds.iter().enumerate().map(|(at, (field, seed, null))| {
                widths.iter().map(|width| match width {
                    0 => field.clone(),
                    _ if *null && step & 1 == 1 => None,
                    8 => Some((at as u64 * u64::from(step)).to_be_bytes().to_vec()),
                    4 => Some((at as u64 * u64::from(step)).to_be_bytes()[4..].to_vec()),
                    width => Some(seed.to_be_bytes().iter().cycle().take(*width).copied().collect()),
                }).collect()
            }).collect();
            let plain = tuples(&rows);
            let laid = lay_out(&plain).unwrap();
            prop_assert!(laid.len() <= laid_len_max(plain.len()));
            prop_assert_eq!(rows_of(&laid, plain.len()).unwrap(), plain);
        }

        #[test]
        fn integers_come_back_the_same(numbers in prop::collection::vec(any::<i64>(), 1..50), shift in 0_u32..63) {
            column(numbers.iter().map(|it| Some((it >> shift).to_be_bytes().to_vec())));
            column(numbers.iter().map(|it| Some((it >> shift).to_be_bytes()[4..].to_vec())));
        }

        #[test]
        fn what_is_no_layout_is_refused_without_a_panic(
            laid in prop::collection::vec(prop_oneof![0_u8..9, any::<u8>()], 0..80),
            columns in 1_u8..4,
            rows in 0_u8..6,
            plain_len in 0_usize..120,
        ) {
            let mut laid = laid;
            if laid.len() >= HEAD_LEN {
                laid[..HEAD_LEN].copy_from_slice(&[columns, 0, 0, 0, rows, 0, 0, 0]);
            }
            if let Ok(rows) = rows_of(&laid, plain_len) {
                prop_assert_eq!(rows.len(), plain_len);
            }
        }
    }
}
