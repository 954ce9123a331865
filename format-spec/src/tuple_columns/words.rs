//! Texts of few words: how many words each has, then all words as a column of their own. A space, and
//! nothing else, is between two words.

use super::Plain;
use super::column::{Column, Form, Head};
use super::dictionary::{self, Known};
use super::field::{Field, NULL, Widths};
use crate::FormatError;
use crate::reader::Reader;

/// Words of a text, at most; a byte says how many, and 0 is NULL.
const WORDS_MAX: usize = u8::MAX as usize - 1;
/// Shorter texts are hardly words.
const LEN_MIN: usize = 12;
/// So many words are looked at.
const LOOKED_AT: usize = 256;
/// Of them so many may be others than those before.
const KNOWN_MAX: usize = 128;

/// Lays out texts whose words are few enough for a dictionary.
pub(super) fn lay_out(rows: &[u8], fields: &[Field], widths: Widths, laid: &mut Vec<u8>) -> bool {
    if widths.bytes < LEN_MIN * widths.values.max(1) || !look_like_few_words(rows, fields) {
        return false;
    }
    let mut counts = Vec::with_capacity(fields.len());
    let mut words = Vec::with_capacity(4 * fields.len());
    for field in fields {
        let before = words.len();
        if field.len != NULL {
            words_of(rows, *field, |word| words.push(word));
        }
        match u8::try_from(words.len() - before) {
            Ok(count) if usize::from(count) <= WORDS_MAX => counts.push(count),
            _ => return false,
        }
    }
    let start = laid.len();
    Form::Words.head(0, false, laid);
    laid.extend_from_slice(&counts);
    let is_laid_out = dictionary::lay_out(rows, &words, Widths::of(&words), laid);
    if !is_laid_out {
        laid.truncate(start);
    }
    is_laid_out
}

fn look_like_few_words(rows: &[u8], fields: &[Field]) -> bool {
    let mut known = Known::new(rows);
    let (mut texts, mut words, mut is_few) = (0, 0, true);
    for field in fields.iter().filter(|field| field.len != NULL) {
        texts += 1;
        words_of(rows, *field, |word| {
            words += 1;
            is_few &= known.number(word, KNOWN_MAX).is_some();
        });
        if words >= LOOKED_AT || !is_few {
            break;
        }
    }
    is_few && words >= 2 * texts
}

/// Calls for each word of a text, of which there is one at least.
#[inline]
fn words_of(rows: &[u8], field: Field, mut word: impl FnMut(Field)) {
    let (mut start, end) = (field.start as usize, field.start as usize + field.len as usize);
    let mut give = |start: usize, end: usize| {
        // Both are within the field.
        if let (Ok(start), Ok(len)) = (u32::try_from(start), u32::try_from(end - start)) {
            word(Field { start, len });
        }
    };
    for at in memchr::memchr_iter(b' ', &rows[start..end]) {
        let at = field.start as usize + at;
        give(start, at);
        start = at + 1;
    }
    give(start, end);
}

/// Such a column that is being put together.
pub(super) struct Words<'a> {
    counts: &'a [u8],
    words: Column<'a>,
}

impl<'a> Words<'a> {
    pub(super) fn read(rows: usize, reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let counts = reader.take(rows)?;
        let words = counts.iter().map(|count| usize::from(*count)).sum();
        Ok(Self { counts, words: Column::read(&Head::read(reader)?, words, reader)? })
    }

    /// Appends the field of the next row.
    pub(super) fn append(&mut self, plain: &mut Plain) -> Result<(), FormatError> {
        let count = self.counts.split_off_first().copied();
        let count = count.ok_or_else(|| super::invalid("a column ends too early"))?;
        if count == 0 {
            return plain.field(None);
        }
        let field = plain.begin_field()?;
        for number in 0..count {
            if number > 0 {
                plain.push(b" ")?;
            }
            plain.push(self.words.value()?)?;
        }
        plain.end_field(field);
        Ok(())
    }
}
