//! Documents: texts of which parts come again and again, as the keys of JSON do, with slots between
//! them that hold what differs. Parts are told once; slots behind the same part are a column.
//!
//! ```text
//! parts u32 | numbers u32 | parts × (length × 2 + 1 where it ends a value u32) | their bytes
//! | numbers × u8 | column of values as they are | for each part that ends no value: column of its slots
//! ```
//!
//! A value is the numbers of its parts in their order, up to one that ends it: 2 for the first part,
//! 3 for the second. NULL is 0 and a value without parts 1.
//!
//! Where parts end is guessed from JSON's grammar. A wrong guess costs bytes: what parts and slots are
//! put together to is what they were cut from.

use super::column::{self, Column, Form, HEAD_LEN, Head};
use super::field::{Field, LEN_LEN, NULL, Widths};
use super::{Plain, invalid};
use crate::FormatError;
use crate::reader::Reader;

const NUMBER_OF_NULL: u8 = 0;
const NUMBER_AS_IT_IS: u8 = 1;
const NUMBER_OF_FIRST_PART: u8 = 2;
const PARTS_MAX: usize = (u8::MAX - NUMBER_OF_FIRST_PART) as usize + 1;
/// Shorter values are not worth it.
const LEN_MIN: usize = 24;
/// One value in so many may be left as it is, or there are too many parts.
const AS_IT_IS_ONE_IN: usize = 4;
/// So many may in any case.
const AS_IT_IS_MIN: usize = 16;
/// Places by hash; a power of two, a few times as many as parts.
const PLACES: usize = 1024;

/// Lays out what looks like JSON, and is shorter then.
pub(super) fn lay_out(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) -> bool {
    if widths.bytes < LEN_MIN * widths.values.max(1) || !looks_like_json(rows, fields) {
        return false;
    }
    let mut parting = Parting::new(rows, fields.len());
    for field in fields {
        if !parting.take(*field) {
            return false;
        }
    }
    let start = laid.len();
    parting.lay_out(laid);
    // No longer than it would be as it is: readers make no more room.
    let fits = laid.len() - start <= HEAD_LEN + LEN_LEN * fields.len() + widths.bytes;
    if !fits {
        laid.truncate(start);
    }
    fits
}

fn looks_like_json(rows: &[u8], fields: &[Field]) -> bool {
    /// What stands before the text of a jsonb.
    const VERSION: u8 = 1;
    fields.iter().find_map(|field| field.value(rows)).is_some_and(|value| {
        matches!(value.strip_prefix(&[VERSION]).unwrap_or(value), [b'{' | b'[', ..])
    })
}

/// Takes values apart.
struct Parting<'a> {
    rows: &'a [u8],
    parts: Vec<Part>,
    /// One more than the part, 0 for none; collisions go to the next place.
    places: [u8; PLACES],
    numbers: Vec<u8>,
    as_they_are: Vec<Field>,
    values: usize,
    /// The part that the value before began with.
    first: usize,
}

/// Bytes that came before a slot, or that ended a value.
struct Part {
    start: usize,
    len: usize,
    kind: Kind,
    slots: Vec<Field>,
    /// The part that came behind its slot last; what comes next is likely the same.
    next: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A string's slot follows, up to the quotation mark.
    BeforeString,
    /// The slot of a number or a word follows.
    BeforeWord,
    EndsValue,
}

impl<'a> Parting<'a> {
    fn new(rows: &'a [u8], values: usize) -> Self {
        Self {
            rows,
            parts: Vec::new(),
            places: [0; PLACES],
            numbers: Vec::with_capacity(8 * values),
            as_they_are: Vec::new(),
            values: 0,
            first: 0,
        }
    }

    /// Takes the next field; false when too many have to stay as they are.
    fn take(&mut self, field: Field) -> bool {
        if field.len == NULL {
            self.numbers.push(NUMBER_OF_NULL);
            return true;
        }
        self.values += 1;
        let first_number = self.numbers.len();
        let (start, end) = (field.start as usize, field.start as usize + field.len as usize);
        if self.part(start, end).is_some() {
            return true;
        }
        // What was taken of it goes again.
        for number in self.numbers.drain(first_number..) {
            let part = &mut self.parts[usize::from(number - NUMBER_OF_FIRST_PART)];
            if part.kind != Kind::EndsValue {
                part.slots.pop();
            }
        }
        self.numbers.push(NUMBER_AS_IT_IS);
        self.as_they_are.push(field);
        let as_they_are = self.as_they_are.len();
        as_they_are <= AS_IT_IS_MIN || as_they_are * AS_IT_IS_ONE_IN <= self.values
    }

    /// Takes a value apart; absent when it cannot be. Parts before the first one that does not fit are
    /// taken.
    fn part(&mut self, start: usize, end: usize) -> Option<()> {
        let (mut at, mut likely, mut before) = (start, self.first, None);
        loop {
            let (number, slot) = match self.slot_behind(likely, at, end) {
                Some(slot) => (likely, slot),
                None => {
                    let number = self.number(before, at, end)?;
                    match before {
                        None => self.first = number,
                        Some(before) => self.parts[before].next = number,
                    }
                    (number, self.slot_behind(number, at, end)?)
                }
            };
            self.numbers.push(u8::try_from(number).ok()? + NUMBER_OF_FIRST_PART);
            let part = &mut self.parts[number];
            if part.kind == Kind::EndsValue {
                return Some(());
            }
            let (slot_start, slot_end) = slot;
            part.slots.push(Field {
                start: u32::try_from(slot_start).ok()?,
                len: u32::try_from(slot_end - slot_start).ok()?,
            });
            (likely, before, at) = (part.next, Some(number), slot_end);
        }
    }

    /// Where the slot is behind a part, if that part is here.
    #[inline]
    fn slot_behind(&self, number: usize, at: usize, end: usize) -> Option<(usize, usize)> {
        let part = self.parts.get(number)?;
        let start = at + part.len;
        if start > end || self.rows[at..start] != self.rows[part.start..part.start + part.len] {
            return None;
        }
        let value = &self.rows[..end];
        match part.kind {
            Kind::EndsValue => (start == end).then_some((end, end)),
            Kind::BeforeWord => {
                let word = word_end(value, start);
                (word > start).then_some((start, word))
            }
            // What a colon follows is a key, and of a part.
            Kind::BeforeString => {
                let quote = quote(value, start)?;
                (value.get(quote + 1) != Some(&b':')).then_some((start, quote))
            }
        }
    }

    /// The number of the part that is here, a new one if need be; absent when there are too many, or
    /// what is here is not JSON.
    fn number(&mut self, before: Option<usize>, at: usize, end: usize) -> Option<usize> {
        let ends_string = before.is_some_and(|part| self.parts[part].kind == Kind::BeforeString);
        let (len, kind) = next_part(&self.rows[at..end], ends_string)?;
        let text = &self.rows[at..at + len];
        let mut place = hash(text) % PLACES;
        while let Some(number) = usize::from(self.places[place]).checked_sub(1) {
            let part = &self.parts[number];
            if part.kind == kind && self.rows[part.start..part.start + part.len] == *text {
                return Some(number);
            }
            place = (place + 1) % PLACES;
        }
        if self.parts.len() >= PARTS_MAX {
            return None;
        }
        self.parts.push(Part { start: at, len, kind, slots: Vec::new(), next: 0 });
        self.places[place] = u8::try_from(self.parts.len()).ok()?;
        Some(self.parts.len() - 1)
    }

    fn lay_out(self, laid: &mut Vec<u8>) {
        Form::Parted.head(0, false, laid);
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        laid.extend_from_slice(&count(self.parts.len()).to_le_bytes());
        laid.extend_from_slice(&count(self.numbers.len()).to_le_bytes());
        for part in &self.parts {
            let ends_value = u32::from(part.kind == Kind::EndsValue);
            laid.extend_from_slice(&(count(part.len) << 1 | ends_value).to_le_bytes());
        }
        for part in &self.parts {
            laid.extend_from_slice(&self.rows[part.start..part.start + part.len]);
        }
        laid.extend_from_slice(&self.numbers);
        column::lay_out_slots(self.rows, &self.as_they_are, laid);
        for part in self.parts.iter().filter(|part| part.kind != Kind::EndsValue) {
            column::lay_out_slots(self.rows, &part.slots, laid);
        }
    }
}

/// How long the part is that a text begins with, and what follows; absent where a string has no end.
/// The first byte is the end of a string when that was a slot.
fn next_part(text: &[u8], ends_string: bool) -> Option<(usize, Kind)> {
    let mut at = usize::from(ends_string);
    loop {
        match text.get(at) {
            None => return Some((at, Kind::EndsValue)),
            Some(b'"') => {
                let quote = quote(text, at + 1)?;
                if text.get(quote + 1) != Some(&b':') {
                    return Some((at + 1, Kind::BeforeString));
                }
                at = quote + 1;
            }
            Some(byte) if is_of_word(*byte) => return Some((at, Kind::BeforeWord)),
            Some(_) => at += 1,
        }
    }
}

/// Where the quotation mark is that ends the string in which `at` is.
#[inline]
fn quote(text: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest bit of what this gives is that of the first byte that is so.
    let is = |bytes: u64, byte: u8| {
        let other = bytes ^ (ONES * u64::from(byte));
        other.wrapping_sub(ONES) & !other & ONES << 7
    };
    loop {
        let Some(bytes) = text.get(at..)?.first_chunk() else { return quote_near_end(text, at) };
        let bytes = u64::from_le_bytes(*bytes);
        let found = is(bytes, b'"') | is(bytes, b'\\');
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn quote_near_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the number or word ends in which `at` is.
#[inline]
fn word_end(text: &[u8], at: usize) -> usize {
    let len = text[at..].iter().position(|byte| !is_of_word(*byte));
    len.map_or(text.len(), |len| at + len)
}

#[inline]
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

fn hash(text: &[u8]) -> usize {
    // FNV-1a.
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = text.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    usize::try_from(hash >> (u64::BITS / 2)).unwrap_or_default()
}

/// Such a column that is being put together.
pub(super) struct Parted<'a> {
    /// What was not taken yet.
    numbers: &'a [u8],
    as_they_are: Column<'a>,
    /// Each with its slots, where it does not end a value.
    parts: Vec<(&'a [u8], Option<Column<'a>>)>,
}

impl<'a> Parted<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (part_count, number_count) = (count(reader.u32()?), count(reader.u32()?));
        if part_count > PARTS_MAX {
            return Err(invalid("a column has too many parts"));
        }
        let heads = reader.take(part_count * LEN_LEN)?.as_chunks::<LEN_LEN>().0;
        let heads = heads.iter().map(|head| u32::from_le_bytes(*head));
        let texts: Result<Vec<_>, _> =
            heads.clone().map(|head| reader.take(count(head >> 1))).collect();
        let numbers = reader.take(number_count)?;
        let mut counts = [0; u8::MAX as usize + 1];
        for number in numbers {
            counts[usize::from(*number)] += 1;
        }
        let mut column = |rows| Column::read(&Head::read(reader)?, rows, reader);
        let as_they_are = column(counts[usize::from(NUMBER_AS_IT_IS)])?;
        let of_parts = &counts[usize::from(NUMBER_OF_FIRST_PART)..];
        let parts = heads.zip(texts?).zip(of_parts).map(|((head, text), slots)| {
            let ends_value = head & 1 == 1;
            Ok((text, if ends_value { None } else { Some(column(*slots)?) }))
        });
        let parts = parts.collect::<Result<_, FormatError>>()?;
        Ok(Self { numbers, as_they_are, parts })
    }

    /// Appends the field of the next row.
    pub(super) fn append(&mut self, plain: &mut Plain) -> Result<(), FormatError> {
        let mut number = self.number()?;
        match number {
            NUMBER_OF_NULL => return plain.field(None),
            NUMBER_AS_IT_IS => return plain.field(self.as_they_are.next()?),
            _ => {}
        }
        let field = plain.begin_field()?;
        loop {
            let part = number.checked_sub(NUMBER_OF_FIRST_PART).map(usize::from);
            let part = part.and_then(|part| self.parts.get_mut(part));
            let (text, slots) = part.ok_or_else(|| invalid("a value has a part that is none"))?;
            plain.push(text)?;
            let Some(slots) = slots else { break };
            plain.push(slots.value()?)?;
            number = self.number()?;
        }
        plain.end_field(field);
        Ok(())
    }

    fn number(&mut self) -> Result<u8, FormatError> {
        let number = self.numbers.split_off_first().copied();
        number.ok_or_else(|| invalid("a column ends too early"))
    }

    /// Whether all was taken.
    pub(super) fn is_used_up(&self) -> bool {
        self.numbers.is_empty()
    }
}
