//! Tuples of binary COPY laid out column by column, as a codec has them before it compresses.
//!
//! ```text
//! columns u16 | 0 u16 | rows u32 | columns × column
//! column: form u8 | width u8 | nulls u8 | 0 u8 | nulls? rows × u8 | what the form says
//! ```
//!
//! Values of one width are laid out by their bytes: the first byte of all values, then the second of
//! all. Integers that follow each other closely are laid out by what one is more than the one before.
//! Only whole rows that all have as many fields can be laid out. No type is known here: whatever is laid
//! out comes back the same.

use crate::FormatError;
use crate::limits;
use crate::reader::{Reader, limited};

const WHAT: &str = "columns of tuples";
/// Bytes before the columns.
const HEAD_LEN: usize = 8;
/// Bytes before what a column's form says.
const COLUMN_HEAD_LEN: usize = 4;
/// Bytes of the length of a field in a row.
const LEN_LEN: usize = 4;
/// Values of more bytes are not laid out byte by byte.
const WIDTH_MAX: usize = 16;
/// So many neighbours are looked at, once in so many rows, to see whether differences are small.
const NEIGHBOURS: usize = 8;
const NEIGHBOURS_APART: usize = 64;
/// The length of NULL.
const NULL: u32 = u32::MAX;

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `width` × (one byte of each value).
    Planes = 1,
    /// The same, of the difference to the value before: as big-endian integers of `width` bytes,
    /// with the sign in the lowest bit.
    Deltas = 2,
    /// A byte for each row, 0 for NULL, else one more than the length; then the values.
    Short = 3,
    /// A u32 for each row, the length, all ones for NULL; then the values.
    Long = 4,
}

/// A field's value by its place in the rows; its length stands before it.
#[derive(Clone, Copy)]
struct Field(u32);

impl Field {
    /// [`NULL`] for NULL.
    fn len(self, rows: &[u8]) -> u32 {
        let start = self.0 as usize;
        rows[start - LEN_LEN..].first_chunk().map_or(NULL, |len| u32::from_be_bytes(*len))
    }

    fn value(self, rows: &[u8]) -> Option<&[u8]> {
        let start = self.0 as usize;
        match self.len(rows) {
            NULL => None,
            len => Some(&rows[start..start + len as usize]),
        }
    }
}

/// What is known of the values of a column.
#[derive(Clone, Copy)]
struct Widths {
    narrowest: u32,
    widest: u32,
    values: usize,
    bytes: usize,
}

impl Widths {
    const NONE: Self = Self { narrowest: NULL, widest: 0, values: 0, bytes: 0 };

    fn add(&mut self, len: u32) {
        self.narrowest = self.narrowest.min(len);
        self.widest = self.widest.max(len);
        self.values += 1;
        self.bytes += len as usize;
    }
}

/// Lays rows out by columns; absent where they cannot be.
#[must_use]
pub fn lay_out(rows: &[u8]) -> Option<Vec<u8>> {
    let columns = usize::from(u16::from_be_bytes(*rows.first_chunk()?));
    if !(1..=limits::COLUMNS_MAX).contains(&columns) {
        return None;
    }
    let (fields, widths) = fields(rows, columns)?;
    let row_count = u32::try_from(fields.len() / columns).ok()?;
    let mut laid = Vec::with_capacity(HEAD_LEN + COLUMN_HEAD_LEN * columns + rows.len());
    laid.extend_from_slice(&u16::try_from(columns).ok()?.to_le_bytes());
    laid.extend_from_slice(&[0; 2]);
    laid.extend_from_slice(&row_count.to_le_bytes());
    for (column, widths) in widths.into_iter().enumerate() {
        Column { rows, fields: &fields[column..], columns, widths }.lay_out(&mut laid);
    }
    Some(laid)
}

/// All fields, row by row, and what is known of each column; absent where the bytes are not whole
/// rows of so many fields.
fn fields(rows: &[u8], columns: usize) -> Option<(Vec<Field>, Vec<Widths>)> {
    let count = u16::try_from(columns).ok()?.to_be_bytes();
    let mut fields = Vec::with_capacity(rows.len() / 8);
    let mut all = vec![Widths::NONE; columns];
    let mut at = 0;
    while at < rows.len() {
        if rows.get(at..at + 2)? != count {
            return None;
        }
        at += 2;
        for widths in &mut all {
            let len = u32::from_be_bytes(*rows.get(at..)?.first_chunk()?);
            at += LEN_LEN;
            fields.push(Field(u32::try_from(at).ok()?));
            if len != NULL {
                at = at.checked_add(usize::try_from(len).ok()?).filter(|end| *end <= rows.len())?;
                widths.add(len);
            }
        }
    }
    Some((fields, all))
}

/// One column of the rows; its fields are the first of every `columns`.
struct Column<'a> {
    rows: &'a [u8],
    fields: &'a [Field],
    columns: usize,
    widths: Widths,
}

impl<'a> Column<'a> {
    fn lens(&self) -> impl Iterator<Item = u32> + 'a {
        let rows = self.rows;
        self.fields.chunks(self.columns).map(move |row| row[0].len(rows))
    }

    fn values(&self) -> impl Iterator<Item = &'a [u8]> + 'a {
        let rows = self.rows;
        self.fields.chunks(self.columns).filter_map(move |row| row[0].value(rows))
    }

    fn lay_out(&self, laid: &mut Vec<u8>) {
        let Widths { narrowest, widest, values, bytes } = self.widths;
        let width = widest as usize;
        let is_even = widest == narrowest && (1..=WIDTH_MAX).contains(&width);
        let form = match () {
            () if is_even && self.is_close(width) => Form::Deltas,
            () if is_even => Form::Planes,
            () if widest < u32::from(u8::MAX) => Form::Short,
            () => Form::Long,
        };
        let has_nulls = is_even && values < self.fields.len().div_ceil(self.columns);
        let width_byte = if is_even { u8::try_from(width).unwrap_or_default() } else { 0 };
        laid.extend_from_slice(&[form as u8, width_byte, has_nulls.into(), 0]);
        if has_nulls {
            laid.extend(self.lens().map(|len| u8::from(len == NULL)));
        }
        match form {
            Form::Planes => self.planes(width, values, laid),
            Form::Deltas if width == 4 => self.deltas::<4>(values, laid),
            Form::Deltas => self.deltas::<8>(values, laid),
            // NULL is all ones, and one more than that 0.
            Form::Short => self.uneven(bytes, laid, |len| [len.wrapping_add(1).to_le_bytes()[0]]),
            Form::Long => self.uneven(bytes, laid, u32::to_le_bytes),
        }
    }

    /// Lengths as `length` has them, then the values.
    fn uneven<const N: usize>(
        &self,
        bytes: usize,
        laid: &mut Vec<u8>,
        length: impl Fn(u32) -> [u8; N],
    ) {
        let rows = self.fields.len().div_ceil(self.columns);
        let start = laid.len();
        room(laid, N * rows);
        laid.reserve(bytes);
        for (row, field) in self.fields.chunks(self.columns).map(|row| row[0]).enumerate() {
            let place = start + N * row;
            laid[place..place + N].copy_from_slice(&length(field.len(self.rows)));
            if let Some(value) = field.value(self.rows) {
                laid.extend_from_slice(value);
            }
        }
    }

    /// Whether differences of neighbours are much smaller than differences to the first value, as
    /// far as some of them tell.
    fn is_close(&self, width: usize) -> bool {
        if width != 4 && width != 8 {
            return false;
        }
        let bits = |number: u64| {
            u64::from(u64::BITS - signed(number, width).unsigned_abs().leading_zeros())
        };
        let Some(first) = self.values().next().map(number) else { return false };
        let (mut close, mut far) = (0, 1);
        // Runs of neighbours, spread over the column.
        for rows in self.fields.chunks(NEIGHBOURS_APART * self.columns) {
            let run = rows.chunks(self.columns).take(NEIGHBOURS + 1);
            let mut values = run.filter_map(|row| row[0].value(self.rows)).map(number);
            let Some(mut before) = values.next() else { continue };
            for value in values {
                close += bits(value.wrapping_sub(before));
                far += bits(value.wrapping_sub(first));
                before = value;
            }
        }
        close * 4 < far * 3
    }

    fn planes(&self, width: usize, values: usize, laid: &mut Vec<u8>) {
        let planes = room(laid, width * values);
        match width {
            1 => scatter::<1>(self.values(), planes),
            2 => scatter::<2>(self.values(), planes),
            4 => scatter::<4>(self.values(), planes),
            8 => scatter::<8>(self.values(), planes),
            16 => scatter::<16>(self.values(), planes),
            _ => {
                for (row, value) in self.values().enumerate() {
                    for (plane, byte) in value.iter().enumerate() {
                        planes[plane * values + row] = *byte;
                    }
                }
            }
        }
    }

    fn deltas<const W: usize>(&self, values: usize, laid: &mut Vec<u8>) {
        let mut before = 0;
        let deltas = self.values().map(|value| {
            let value = number(value);
            let delta = fold_sign(value.wrapping_sub(before), W);
            before = value;
            *delta.to_be_bytes().last_chunk::<W>().unwrap_or(&[0; W])
        });
        scatter::<W>(deltas, room(laid, W * values));
    }
}

/// Makes room at the end.
fn room(laid: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let start = laid.len();
    laid.resize(start + len, 0);
    &mut laid[start..]
}

/// Lays the bytes of values out, the first of each, then the second of each.
fn scatter<const W: usize>(values: impl Iterator<Item = impl AsRef<[u8]>>, planes: &mut [u8]) {
    let count = planes.len() / W;
    if count == 0 {
        return;
    }
    let mut places: Vec<&mut [u8]> = planes.chunks_exact_mut(count).collect();
    let Ok(places) = <&mut [&mut [u8]; W]>::try_from(places.as_mut_slice()) else { return };
    for (row, value) in values.enumerate() {
        let Some(value) = value.as_ref().first_chunk::<W>() else { return };
        for (plane, byte) in places.iter_mut().zip(value) {
            plane[row] = *byte;
        }
    }
}

/// A big-endian integer of at most 8 bytes; its upper bytes are zero.
fn number(value: &[u8]) -> u64 {
    match value.len() {
        4 => value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes).into()),
        _ => value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)),
    }
}

/// The integer of `width` bytes as one of 8.
fn signed(number: u64, width: usize) -> i64 {
    match width {
        4 => number.cast_signed() << 32 >> 32,
        _ => number.cast_signed(),
    }
}

/// The sign in the lowest bit: small numbers of either sign have few bits.
fn fold_sign(number: u64, width: usize) -> u64 {
    let number = signed(number, width);
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unfold_sign(folded: u64) -> u64 {
    (folded >> 1) ^ (folded & 1).wrapping_neg()
}

/// The most bytes that rows of `plain_len` bytes have once laid out.
#[must_use]
pub fn laid_len_max(plain_len: usize) -> usize {
    // A field takes no more than in a row, and no row has its count of fields.
    plain_len.saturating_add(HEAD_LEN + COLUMN_HEAD_LEN * limits::COLUMNS_MAX)
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
    let mut plain = Vec::with_capacity(plain_len);
    for row in 0..rows {
        plain.extend_from_slice(&count.to_be_bytes());
        for column in &mut laid_columns {
            column.take(row, &mut plain)?;
        }
        if plain.len() > plain_len {
            break;
        }
    }
    match plain.len() == plain_len && laid_columns.iter().all(|column| column.values.is_empty()) {
        true => Ok(plain),
        false => Err(invalid("they are not as long as the rows")),
    }
}

fn invalid(reason: &str) -> FormatError {
    FormatError::invalid(WHAT, reason.to_owned())
}

/// A column that is being taken apart.
struct LaidColumn<'a> {
    lens: Lens<'a>,
    /// The values that were not taken yet, or those of all.
    values: Values<'a>,
}

enum Lens<'a> {
    Even { width: usize, nulls: Option<&'a [u8]> },
    Short(&'a [u8]),
    Long(&'a [u8]),
}

enum Values<'a> {
    Borrowed(&'a [u8]),
    Owned { bytes: Vec<u8>, taken: usize },
}

impl Values<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Borrowed(bytes) => bytes.is_empty(),
            Self::Owned { bytes, taken } => *taken == bytes.len(),
        }
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        match self {
            Self::Borrowed(bytes) => {
                let (value, rest) = bytes.split_at_checked(len)?;
                *bytes = rest;
                Some(value)
            }
            Self::Owned { bytes, taken } => {
                let start = std::mem::replace(taken, taken.checked_add(len)?);
                bytes.get(start..*taken)
            }
        }
    }
}

impl<'a> LaidColumn<'a> {
    fn read(reader: &mut Reader<'a>, rows: usize) -> Result<Self, FormatError> {
        let (form, width, has_nulls) = (reader.u8()?, usize::from(reader.u8()?), reader.u8()?);
        reader.reserved(1)?;
        match form {
            1 | 2 => Self::read_even(reader, rows, form, width, has_nulls),
            3 | 4 if width > 0 || has_nulls > 0 => Err(invalid("a column has a width and lengths")),
            3 => {
                let lens = reader.take(rows)?;
                let bytes = lens.iter().map(|len| usize::from(len.saturating_sub(1))).sum();
                let values = Values::Borrowed(reader.take(bytes)?);
                Ok(Self { lens: Lens::Short(lens), values })
            }
            4 => {
                let lens = reader.take(rows.saturating_mul(LEN_LEN))?;
                let bytes = lens.as_chunks::<LEN_LEN>().0.iter().fold(0_usize, |sum, len| {
                    match u32::from_le_bytes(*len) {
                        NULL => sum,
                        len => sum.saturating_add(len as usize),
                    }
                });
                let values = Values::Borrowed(reader.take(bytes)?);
                Ok(Self { lens: Lens::Long(lens), values })
            }
            _ => Err(invalid("a column has a form that is not known")),
        }
    }

    fn read_even(
        reader: &mut Reader<'a>,
        rows: usize,
        form: u8,
        width: usize,
        has_nulls: u8,
    ) -> Result<Self, FormatError> {
        if !(1..=WIDTH_MAX).contains(&width) || has_nulls > 1 {
            return Err(invalid("a column has an impossible width"));
        }
        let nulls = if has_nulls == 1 { Some(reader.take(rows)?) } else { None };
        if nulls.is_some_and(|nulls| nulls.iter().any(|null| *null > 1)) {
            return Err(invalid("a field is neither NULL nor not"));
        }
        let count = nulls.map_or(rows, |nulls| nulls.iter().filter(|null| **null == 0).count());
        let planes = reader.take(count.saturating_mul(width))?;
        let bytes = match (form, width) {
            (1, _) => gather(planes, width, count),
            (2, 4) => sums::<4>(planes, count),
            (2, 8) => sums::<8>(planes, count),
            _ => return Err(invalid("a column of differences has an impossible width")),
        };
        Ok(Self { lens: Lens::Even { width, nulls }, values: Values::Owned { bytes, taken: 0 } })
    }

    /// Appends the field of a row.
    #[inline]
    fn take(&mut self, row: usize, plain: &mut Vec<u8>) -> Result<(), FormatError> {
        let len = match &self.lens {
            Lens::Even { width, nulls } => match nulls {
                Some(nulls) if nulls[row] == 1 => None,
                _ => Some(*width),
            },
            Lens::Short(lens) => lens[row].checked_sub(1).map(usize::from),
            Lens::Long(lens) => {
                let len =
                    lens[row * LEN_LEN..].first_chunk().map_or(NULL, |it| u32::from_le_bytes(*it));
                (len != NULL).then_some(len as usize)
            }
        };
        let Some(len) = len else {
            plain.extend_from_slice(&NULL.to_be_bytes());
            return Ok(());
        };
        let value = self.values.take(len).ok_or_else(|| invalid("a column ends too early"))?;
        plain.extend_from_slice(&u32::try_from(len).unwrap_or(NULL).to_be_bytes());
        plain.extend_from_slice(value);
        Ok(())
    }
}

/// Values out of their planes.
fn gather(planes: &[u8], width: usize, count: usize) -> Vec<u8> {
    let mut values = vec![0; planes.len()];
    for (at, plane) in planes.chunks_exact(count.max(1)).enumerate() {
        for (value, byte) in values.chunks_exact_mut(width).zip(plane) {
            value[at] = *byte;
        }
    }
    values
}

/// Values out of the planes of their differences.
fn sums<const W: usize>(planes: &[u8], count: usize) -> Vec<u8> {
    let mut values = gather(planes, W, count);
    let mut sum = 0_u64;
    for value in values.as_chunks_mut::<W>().0 {
        sum = sum.wrapping_add(unfold_sign(number(value)));
        value.copy_from_slice(sum.to_be_bytes().last_chunk::<W>().unwrap_or(&[0; W]));
    }
    values
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

    fn column(values: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<u8> {
        let rows: Vec<Row> = values.map(|value| vec![value]).collect();
        let plain = tuples(&rows);
        let laid = lay_out(&plain).unwrap();
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

    proptest! {
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
            laid in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..80),
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
