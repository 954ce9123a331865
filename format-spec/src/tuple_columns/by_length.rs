//! Numerics: values of a few lengths, each length byte by byte. What tells digits from signs and
//! scales is their place, which hangs on the length.

use super::column::Form;
use super::even::gather;
use super::field::{Field, NULL, Widths};
use super::{room, uneven};
use crate::FormatError;
use crate::reader::Reader;

/// Numerics of more bytes are too many digits that are alike in nothing.
const LEN_MAX: usize = 40;
/// Bytes of a numeric before its digits, of two bytes each; the first two count them.
const NUMERIC_HEAD_LEN: usize = 8;
/// So many values are looked at.
const LOOKED_AT: usize = 16;

/// Lays out what looks like numerics.
pub(super) fn lay_out(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) -> bool {
    if widths.widest as usize > LEN_MAX || !look_like_numerics(rows, fields) {
        return false;
    }
    Form::ByLength.head(0, false, laid);
    uneven::lens(fields, laid);
    let mut counts = [0_usize; LEN_MAX + 1];
    for field in fields.iter().filter(|field| field.len != NULL) {
        counts[field.len as usize] += 1;
    }
    // Where the next value of each length goes, in its first plane.
    let mut places = [0_usize; LEN_MAX + 1];
    let mut bytes = 0;
    for (len, count) in counts.iter().enumerate() {
        places[len] = bytes;
        bytes += len * count;
    }
    let planes = room(laid, bytes);
    for value in fields.iter().filter_map(|field| field.value(rows)) {
        let (mut place, apart) = (places[value.len()], counts[value.len()]);
        places[value.len()] += 1;
        for byte in value {
            planes[place] = *byte;
            place += apart;
        }
    }
    true
}

fn look_like_numerics(rows: &[u8], fields: &[Field]) -> bool {
    let mut values = fields.iter().filter_map(|field| field.value(rows)).take(LOOKED_AT).peekable();
    values.peek().is_some()
        && values.all(|value| {
            value.first_chunk().is_some_and(|digits| {
                value.len() == NUMERIC_HEAD_LEN + 2 * usize::from(u16::from_be_bytes(*digits))
            })
        })
}

/// Such a column that is being taken apart.
pub(super) struct ByLength<'a> {
    lens: &'a [u8],
    /// The values, by their lengths.
    values: Vec<u8>,
    /// Where the next value of each length is.
    places: Vec<usize>,
}

impl<'a> ByLength<'a> {
    pub(super) fn read(rows: usize, reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let lens = reader.take(rows)?;
        let longest = usize::from(lens.iter().copied().max().unwrap_or(0));
        let mut counts = vec![0_usize; longest];
        for len in lens.iter().filter_map(|len| len.checked_sub(1)) {
            counts[usize::from(len)] += 1;
        }
        let (mut values, mut places) = (Vec::new(), Vec::with_capacity(longest));
        for (len, count) in counts.into_iter().enumerate() {
            places.push(values.len());
            if len > 0 {
                values.extend(gather(reader.take(len.saturating_mul(count))?, len, count));
            }
        }
        Ok(Self { lens, values, places })
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Option<&[u8]>> {
        let Some(len) = self.lens.split_off_first()?.checked_sub(1).map(usize::from) else {
            return Some(None);
        };
        let place = self.places.get_mut(len)?;
        let start = std::mem::replace(place, *place + len);
        Some(Some(self.values.get(start..start + len)?))
    }
}
