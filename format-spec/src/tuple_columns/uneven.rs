//! Values of any lengths: the lengths of all, then the values one behind the other.

use super::column::Form;
use super::field::{Field, LEN_LEN, NULL, Widths};
use super::room;
use crate::FormatError;
use crate::reader::Reader;

/// Values are copied in pieces of so many bytes: what is too much is written over by the next.
const PIECE: usize = 16;

pub(super) fn lay_out(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) {
    if is_short(widths) {
        Form::Short.head(0, false, laid);
        lens(fields, laid);
        values(rows, fields, widths.bytes, laid);
    } else {
        Form::Long.head(0, false, laid);
        laid.extend(fields.iter().flat_map(|field| field.len.to_le_bytes()));
        laid.reserve(widths.bytes);
        for value in fields.iter().filter_map(|field| field.value(rows)) {
            laid.extend_from_slice(value);
        }
    }
}

/// Whether a byte holds each length.
fn is_short(widths: Widths) -> bool {
    widths.widest < u32::from(u8::MAX)
}

/// Lengths that a byte holds: NULL is all ones, and one more than that 0.
pub(super) fn lens(fields: &[Field], laid: &mut Vec<u8>) {
    laid.extend(fields.iter().map(|field| field.len.wrapping_add(1).to_le_bytes()[0]));
}

/// Values of `bytes` bytes, one behind the other.
fn values(rows: &[u8], fields: &[Field], bytes: usize, laid: &mut Vec<u8>) {
    let mut to = 0;
    let places = room(laid, bytes);
    for field in fields.iter().filter(|field| field.len != NULL) {
        let (start, len) = (field.start as usize, field.len as usize);
        match (rows[start..].first_chunk::<PIECE>(), places[to..].first_chunk_mut::<PIECE>()) {
            (Some(piece), Some(place)) if len <= PIECE => *place = *piece,
            _ => places[to..to + len].copy_from_slice(&rows[start..start + len]),
        }
        to += len;
    }
}

/// Such a column that is being taken apart.
pub(super) struct Uneven<'a> {
    lens: Lens<'a>,
    /// The values that were not taken yet.
    values: &'a [u8],
}

enum Lens<'a> {
    Short(&'a [u8]),
    Long(&'a [[u8; LEN_LEN]]),
}

impl<'a> Uneven<'a> {
    pub(super) fn read_short(rows: usize, reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let lens = reader.take(rows)?;
        let bytes = lens.iter().map(|len| usize::from(len.saturating_sub(1))).sum();
        Ok(Self { lens: Lens::Short(lens), values: reader.take(bytes)? })
    }

    pub(super) fn read_long(rows: usize, reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let lens = reader.take(rows.saturating_mul(LEN_LEN))?.as_chunks::<LEN_LEN>().0;
        let bytes = lens.iter().fold(0_usize, |sum, len| match u32::from_le_bytes(*len) {
            NULL => sum,
            len => sum.saturating_add(len as usize),
        });
        Ok(Self { lens: Lens::Long(lens), values: reader.take(bytes)? })
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Option<&[u8]>> {
        let len = match &mut self.lens {
            Lens::Short(lens) => lens.split_off_first()?.checked_sub(1).map(usize::from),
            Lens::Long(lens) => {
                let len = u32::from_le_bytes(*lens.split_off_first()?);
                (len != NULL).then_some(len as usize)
            }
        };
        let Some(len) = len else { return Some(None) };
        let (value, rest) = self.values.split_at_checked(len)?;
        self.values = rest;
        Some(Some(value))
    }
}
