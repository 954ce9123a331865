//! Values that all have as many bytes: the first byte of each, then the second, of the values or
//! of what each of them is more than the one before.

use super::column::{Form, Head};
use super::field::{Field, NULL, Widths};
use super::{invalid, room};
use crate::FormatError;
use crate::reader::Reader;

/// So many neighbours are looked at, once in so many rows, to see whether differences are small.
const NEIGHBOURS: usize = 8;
const NEIGHBOURS_APART: usize = 64;

pub(super) fn lay_out(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) {
    let width = widths.widest as usize;
    let form = if is_close(rows, fields, width) { Form::Differences } else { Form::Planes };
    let has_nulls = widths.values < fields.len();
    form.head(u8::try_from(width).unwrap_or_default(), has_nulls, laid);
    if has_nulls {
        laid.extend(fields.iter().map(|field| u8::from(field.len == NULL)));
    }
    let planes = room(laid, width * widths.values);
    let values = fields.iter().filter_map(|field| field.value(rows));
    match (form, width) {
        (Form::Differences, 4) => scatter::<4>(differences::<4>(values), planes),
        (Form::Differences, _) => scatter::<8>(differences::<8>(values), planes),
        (_, 1) => scatter::<1>(values, planes),
        (_, 2) => scatter::<2>(values, planes),
        (_, 4) => scatter::<4>(values, planes),
        (_, 8) => scatter::<8>(values, planes),
        (_, 16) => scatter::<16>(values, planes),
        _ => {
            for (row, value) in values.enumerate() {
                for (plane, byte) in value.iter().enumerate() {
                    planes[plane * widths.values + row] = *byte;
                }
            }
        }
    }
}

/// Whether differences of neighbours are much smaller than differences to the first value, as
/// far as some of them tell.
fn is_close(rows: &[u8], fields: &[Field], width: usize) -> bool {
    if width != 4 && width != 8 {
        return false;
    }
    let bits =
        |number: u64| u64::from(u64::BITS - signed(number, width).unsigned_abs().leading_zeros());
    let Some(first) = fields.iter().find_map(|field| field.value(rows)).map(number) else {
        return false;
    };
    let (mut close, mut far) = (0, 1);
    // Runs of neighbours, spread over the column.
    for run in fields.chunks(NEIGHBOURS_APART) {
        let run = run.iter().take(NEIGHBOURS + 1);
        let mut values = run.filter_map(|field| field.value(rows)).map(number);
        let Some(mut before) = values.next() else { continue };
        for value in values {
            close += bits(value.wrapping_sub(before));
            far += bits(value.wrapping_sub(first));
            before = value;
        }
    }
    close * 4 < far * 3
}

fn differences<'a, const W: usize>(
    values: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = [u8; W]> {
    let mut before = 0;
    values.map(move |value| {
        let value = number(value);
        let difference = fold_sign(value.wrapping_sub(before), W);
        before = value;
        *difference.to_be_bytes().last_chunk::<W>().unwrap_or(&[0; W])
    })
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

/// Such a column that is being taken apart.
pub(super) struct Even<'a> {
    width: usize,
    nulls: Option<&'a [u8]>,
    values: Vec<u8>,
    taken: usize,
}

impl<'a> Even<'a> {
    pub(super) fn read(
        head: &Head,
        rows: usize,
        reader: &mut Reader<'a>,
    ) -> Result<Self, FormatError> {
        let width = head.width;
        let nulls = if head.has_nulls { Some(reader.take(rows)?) } else { None };
        if nulls.is_some_and(|nulls| nulls.iter().any(|null| *null > 1)) {
            return Err(invalid("a field is neither NULL nor not"));
        }
        let count = nulls.map_or(rows, |nulls| nulls.iter().filter(|null| **null == 0).count());
        let planes = reader.take(count.saturating_mul(width))?;
        let values = match (head.form, width) {
            (Form::Planes, _) => gather(planes, width, count),
            (_, 4) => sums::<4>(planes, count),
            (_, 8) => sums::<8>(planes, count),
            _ => return Err(invalid("a column of differences has an impossible width")),
        };
        Ok(Self { width, nulls, values, taken: 0 })
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Option<&[u8]>> {
        if let Some(nulls) = &mut self.nulls
            && *nulls.split_off_first()? == 1
        {
            return Some(None);
        }
        let start = self.taken;
        self.taken += self.width;
        Some(Some(self.values.get(start..self.taken)?))
    }
}

/// Values out of their planes.
pub(super) fn gather(planes: &[u8], width: usize, count: usize) -> Vec<u8> {
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
