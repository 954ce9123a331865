//! Few values that come again and again: each of them once, then which of them each row has.

use super::column::Form;
use super::field::{Field, LEN_LEN, NULL, Widths};
use super::invalid;
use crate::FormatError;
use crate::reader::Reader;

/// A byte says which value; 0 is NULL.
const ENTRIES_MAX: usize = u8::MAX as usize;
/// Values come again so many times, or are left as they are.
const TIMES_MIN: usize = 4;
/// Places by hash; a power of two, a few times as many as entries.
const PLACES_BITS: u32 = 10;
/// Bytes of a value that are compared without a loop.
const HALF: usize = 8;

/// Lays out what has few values, of which there is one at least.
pub(super) fn lay_out(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) -> bool {
    let entries_max = ENTRIES_MAX.min(widths.values / TIMES_MIN);
    let mut which = Vec::with_capacity(fields.len());
    let mut known = Known::new(rows);
    for field in fields {
        match field.len {
            NULL => which.push(0),
            _ => match known.number(*field, entries_max) {
                Some(number) => which.push(number),
                None => return false,
            },
        }
    }
    if known.entries.is_empty() {
        return false;
    }
    Form::Dictionary.head(0, false, laid);
    let count = u32::try_from(known.entries.len()).unwrap_or(u32::MAX);
    laid.extend_from_slice(&count.to_le_bytes());
    laid.extend(known.entries.iter().flat_map(|entry| entry.field.len.to_le_bytes()));
    for value in known.entries.iter().filter_map(|entry| entry.field.value(rows)) {
        laid.extend_from_slice(value);
    }
    laid.extend_from_slice(&which);
    true
}

/// The values that came before.
pub(super) struct Known<'a> {
    rows: &'a [u8],
    entries: Vec<Entry>,
    /// One more than the entry, 0 for none; collisions go to the next place.
    places: [u8; 1 << PLACES_BITS],
}

struct Entry {
    field: Field,
    ends: Ends,
}

/// A value's first and last bytes, which are all of it up to [`HALF`] × 2.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
}

impl Ends {
    #[inline]
    fn of(rows: &[u8], field: Field) -> Self {
        let (start, len) = (field.start as usize, field.len as usize);
        // Of a short value both are the whole of it; what lies behind it is read and thrown away, as
        // lengths come in no order that a processor could guess.
        let last = start + len.saturating_sub(HALF);
        match (rows[start..].first_chunk(), rows[last..].first_chunk()) {
            (Some(first), Some(last)) => {
                let bits = 8 * u32::try_from(len.min(HALF)).unwrap_or_default();
                let mask = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
                let half = |bytes: &[u8; HALF]| u64::from_le_bytes(*bytes) & mask;
                Self { first: half(first), last: half(last) }
            }
            _ => Self::near_end(&rows[start..start + len]),
        }
    }

    #[cold]
    fn near_end(value: &[u8]) -> Self {
        let half =
            |bytes: &[u8]| bytes.iter().rev().fold(0, |half, byte| half << 8 | u64::from(*byte));
        let len = value.len().min(HALF);
        Self { first: half(&value[..len]), last: half(&value[value.len() - len..]) }
    }

    #[inline]
    fn place(self, len: u32) -> usize {
        // Any odd number whose bits are mixed does.
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.first ^ self.last.rotate_left(29) ^ u64::from(len)).wrapping_mul(MIX);
        usize::try_from(mixed >> (u64::BITS - PLACES_BITS)).unwrap_or_default()
    }
}

impl<'a> Known<'a> {
    pub(super) fn new(rows: &'a [u8]) -> Self {
        Self { rows, entries: Vec::new(), places: [0; 1 << PLACES_BITS] }
    }

    /// One more than the number of a value's entry; absent when there are too many.
    #[inline]
    pub(super) fn number(&mut self, field: Field, entries_max: usize) -> Option<u8> {
        let ends = Ends::of(self.rows, field);
        let mut place = ends.place(field.len);
        loop {
            let number = self.places[place];
            let Some(entry) = usize::from(number).checked_sub(1) else { break };
            let entry = &self.entries[entry];
            if entry.ends == ends
                && entry.field.len == field.len
                && (field.len as usize <= 2 * HALF
                    || entry.field.value(self.rows) == field.value(self.rows))
            {
                return Some(number);
            }
            place = (place + 1) % self.places.len();
        }
        if self.entries.len() >= entries_max {
            return None;
        }
        self.entries.push(Entry { field, ends });
        let number = u8::try_from(self.entries.len()).ok()?;
        self.places[place] = number;
        Some(number)
    }
}

/// Such a column that is being taken apart.
pub(super) struct Dictionary<'a> {
    entries: Vec<&'a [u8]>,
    which: &'a [u8],
}

impl<'a> Dictionary<'a> {
    pub(super) fn read(rows: usize, reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > ENTRIES_MAX {
            return Err(invalid("a dictionary has too many values"));
        }
        let lens = reader.take(count * LEN_LEN)?.as_chunks::<LEN_LEN>().0;
        let entries: Result<Vec<_>, _> =
            lens.iter().map(|len| reader.take(u32::from_le_bytes(*len) as usize)).collect();
        Ok(Self { entries: entries?, which: reader.take(rows)? })
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Option<&[u8]>> {
        let Some(entry) = usize::from(*self.which.split_off_first()?).checked_sub(1) else {
            return Some(None);
        };
        Some(Some(self.entries.get(entry)?))
    }
}
