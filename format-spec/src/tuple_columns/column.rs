//! One column: the form it gets, and its head.

use super::by_length::{self, ByLength};
use super::dictionary::{self, Dictionary};
use super::even::{self, Even};
use super::field::{Field, Widths};
use super::invalid;
use super::parted;
use super::uneven::{self, Uneven};
use super::words;
use crate::FormatError;
use crate::reader::Reader;

/// Bytes before what a column's form says.
pub(super) const HEAD_LEN: usize = 4;
/// Values of more bytes are not laid out byte by byte.
const WIDTH_MAX: u32 = 16;
/// Values of up to so many bytes gain nothing by a dictionary: their bytes lie side by side already.
const PLANES_DO: u32 = 8;

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `width` × (one byte of each value).
    Planes = 1,
    /// The same, of the difference to the value before: as big-endian integers of `width` bytes,
    /// with the sign in the lowest bit.
    Differences = 2,
    /// A byte for each row, 0 for NULL, else one more than the length; then the values.
    Short = 3,
    /// A u32 for each row, the length, all ones for NULL; then the values.
    Long = 4,
    /// The values that there are, then a byte for each row that says which.
    Dictionary = 5,
    /// As `Short`, but the values are planes, of each length its own.
    ByLength = 6,
    /// What is the same in many values, and columns of what is not.
    Parted = 7,
    /// A byte for each row, 0 for NULL, else how many words; then the words as a column.
    Words = 8,
}

impl Form {
    const ALL: [Self; 8] = [
        Self::Planes,
        Self::Differences,
        Self::Short,
        Self::Long,
        Self::Dictionary,
        Self::ByLength,
        Self::Parted,
        Self::Words,
    ];

    /// Appends the head of a column.
    pub(super) fn head(self, width: u8, has_nulls: bool, laid: &mut Vec<u8>) {
        laid.extend_from_slice(&[self as u8, width, has_nulls.into(), 0]);
    }
}

/// Lays a column out.
pub(super) fn lay_out(rows: &[u8], fields: &[Field], laid: &mut Vec<u8>) {
    let widths = Widths::of(fields);
    let is_laid_out = lay_out_in_order(rows, fields, widths, laid)
        || parted::lay_out(rows, fields, widths, laid)
        || words::lay_out(rows, fields, widths, laid);
    if !is_laid_out {
        uneven::lay_out(rows, fields, widths, laid);
    }
}

/// Lays a column of slots out, which is never taken apart again.
pub(super) fn lay_out_slots(rows: &[u8], fields: &[Field], laid: &mut Vec<u8>) {
    let widths = Widths::of(fields);
    if !lay_out_in_order(rows, fields, widths, laid) {
        uneven::lay_out(rows, fields, widths, laid);
    }
}

/// Lays out what has an order that shows without looking into the values.
fn lay_out_in_order(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) -> bool {
    let width = widths.widest;
    let is_even = width == widths.narrowest && (1..=WIDTH_MAX).contains(&width);
    if (!is_even || width > PLANES_DO) && dictionary::lay_out(rows, fields, widths, laid) {
        return true;
    }
    if is_even {
        even::lay_out(rows, fields, widths, laid);
        return true;
    }
    by_length::lay_out(rows, fields, widths, laid)
}

/// A column that is being taken apart, value by value.
pub(super) enum Column<'a> {
    Even(Even<'a>),
    Uneven(Uneven<'a>),
    Dictionary(Dictionary<'a>),
    ByLength(ByLength<'a>),
}

/// A head that was read.
pub(super) struct Head {
    pub(super) form: Form,
    pub(super) width: usize,
    pub(super) has_nulls: bool,
}

impl Head {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (form, width, nulls) = (reader.u8()?, usize::from(reader.u8()?), reader.u8()?);
        reader.reserved(1)?;
        let form = Form::ALL
            .into_iter()
            .find(|known| *known as u8 == form)
            .ok_or_else(|| invalid("a column has a form that is not known"))?;
        let is_even = matches!(form, Form::Planes | Form::Differences);
        match is_even {
            true if !(1..=WIDTH_MAX as usize).contains(&width) || nulls > 1 => {
                Err(invalid("a column has an impossible width"))
            }
            false if width > 0 || nulls > 0 => Err(invalid("a column has a width and lengths")),
            _ => Ok(Self { form, width, has_nulls: nulls == 1 }),
        }
    }
}

impl<'a> Column<'a> {
    /// Reads what follows the head.
    pub(super) fn read(
        head: &Head,
        rows: usize,
        reader: &mut Reader<'a>,
    ) -> Result<Self, FormatError> {
        Ok(match head.form {
            Form::Planes | Form::Differences => Self::Even(Even::read(head, rows, reader)?),
            Form::Short => Self::Uneven(Uneven::read_short(rows, reader)?),
            Form::Long => Self::Uneven(Uneven::read_long(rows, reader)?),
            Form::Dictionary => Self::Dictionary(Dictionary::read(rows, reader)?),
            Form::ByLength => Self::ByLength(ByLength::read(rows, reader)?),
            Form::Parted | Form::Words => {
                return Err(invalid("parts of values have parts themselves"));
            }
        })
    }

    /// The next value; absent for NULL.
    ///
    /// # Errors
    /// [`FormatError`] when there is none, or it is none.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, FormatError> {
        let next = match self {
            Self::Even(column) => column.next(),
            Self::Uneven(column) => column.next(),
            Self::Dictionary(column) => column.next(),
            Self::ByLength(column) => column.next(),
        };
        next.ok_or_else(|| invalid("a column ends too early"))
    }

    /// The next value, of which a larger one is made.
    ///
    /// # Errors
    /// As [`Column::next`], and when it is NULL.
    #[inline]
    pub(super) fn value(&mut self) -> Result<&[u8], FormatError> {
        self.next()?.ok_or_else(|| invalid("a part of a value is NULL"))
    }
}
