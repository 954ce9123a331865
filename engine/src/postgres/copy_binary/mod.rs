//! The binary format of COPY: which types rows are read in it for, and such rows as COPY text.
//!
//! Binary rows cost the server less and are fewer bytes. They are restored as they are; whoever needs
//! fields as text (a fold, an export) passes them through [`TextRows`]. The text is what the server
//! writes with the settings that every session of ours has (ISO dates, UTC, shortest floats).
//! What a value looks like its send function says, which for the types of
//! [`TYPES`](pgkeep_format::tuple::TYPES) is the same in all supported versions; a type that is not
//! among them keeps its table's rows in text.

mod array;
mod form;
mod network;
mod number;
mod time;

use super::copy_text;
use crate::{Error, ErrorKind, Result};
use form::Form;
use pgkeep_format::FormatError;
use pgkeep_format::entry::Data;
use pgkeep_format::tuple::{Visitor, Walk};
use std::fmt;
use std::io::Write;

/// Text that is handed out at once, roughly: a numeric of a few bytes may stand for 150 KB.
const TEXT_BYTES: usize = 1 << 20;

/// Turns binary rows into rows of COPY text.
#[derive(Debug)]
pub struct TextRows {
    walk: Walk,
    fields: Fields,
}

impl TextRows {
    /// Of binary rows that are stored so.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when their types are not said, [`ErrorKind::UnsupportedFormat`] when
    /// one is not known.
    pub fn of(data: &Data) -> Result<Self> {
        let types = data.binary_types().map_err(|error| {
            Error::new(ErrorKind::Damaged, "binary rows cannot be told apart").because(error)
        })?;
        Self::new(types)
    }

    fn new(types: &[u32]) -> Result<Self> {
        let forms = types.iter().map(|oid| {
            Form::of(*oid).ok_or_else(|| {
                let message = format!("rows are binary with a type that is not known: {oid}");
                Error::new(ErrorKind::UnsupportedFormat, message)
            })
        });
        let forms: Result<Vec<Form>> = forms.collect();
        Ok(Self { walk: Walk::default(), fields: Fields { forms: forms?, ..Fields::default() } })
    }

    /// The text of the next bytes of rows, which need not begin or end where a row does, and which
    /// it takes from `plain`: not all of them when they are much text. Absent when there are none.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when they are no rows of these types.
    pub fn next(&mut self, plain: &mut &[u8]) -> Result<Option<&[u8]>> {
        if plain.is_empty() {
            return Ok(None);
        }
        self.fields.text.clear();
        let went = self.walk.walk(plain, &mut self.fields).map_err(|error| {
            Error::new(ErrorKind::Damaged, "what is stored is no row of a binary COPY")
                .because(error)
        })?;
        *plain = &plain[went..];
        Ok(Some(&self.fields.text))
    }

    /// Checks that no row is left half converted.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when one is.
    pub fn end(&self) -> Result<()> {
        match self.walk.is_between_rows() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Damaged, "the last row has no end")),
        }
    }
}

/// Where in a row the walk is, and its text.
#[derive(Debug, Default)]
struct Fields {
    forms: Vec<Form>,
    /// The field, from 0.
    at: usize,
    is_null: bool,
    /// What came of a value that is written only when it is whole.
    value: Vec<u8>,
    /// Of what was walked last.
    text: Vec<u8>,
}

impl Fields {
    fn form(&self) -> Form {
        self.forms.get(self.at).copied().unwrap_or(Form::Text)
    }
}

impl Visitor for Fields {
    type Error = FormatError;

    fn row(&mut self, fields: usize) -> Result<(), FormatError> {
        self.at = 0;
        if fields == self.forms.len() {
            return Ok(());
        }
        Err(invalid(format!("a row has {fields} fields, its table {}", self.forms.len())))
    }

    fn field(&mut self, len: Option<usize>) -> Result<(), FormatError> {
        if self.at > 0 {
            self.text.push(b'\t');
        }
        self.is_null = len.is_none();
        let form = self.form();
        match len {
            None => self.text.extend_from_slice(copy_text::NULL),
            Some(len) if form.len().is_some_and(|fixed| fixed != len) => {
                return Err(invalid(format!("a value of {form:?} has {len} bytes")));
            }
            // COPY doubles the backslash.
            Some(_) if form == Form::Bytea => self.text.extend_from_slice(b"\\\\x"),
            Some(_) => self.value.clear(),
        }
        Ok(())
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), FormatError> {
        match self.form() {
            Form::Text => copy_text::escape(piece, &mut self.text),
            Form::Bytea => hex(piece, &mut self.text),
            Form::Jsonb if self.value.is_empty() => {
                let (version, piece) = piece.split_at(1);
                if version != [1] {
                    return Err(invalid("a jsonb has another version than 1"));
                }
                self.value.push(1);
                copy_text::escape(piece, &mut self.text);
            }
            Form::Jsonb => copy_text::escape(piece, &mut self.text),
            _ => self.value.extend_from_slice(piece),
        }
        Ok(())
    }

    fn end_of_field(&mut self) -> Result<bool, FormatError> {
        let form = self.form();
        if !self.is_null {
            match form {
                Form::Text | Form::Bytea => {}
                Form::Jsonb if self.value.is_empty() => return Err(invalid("a jsonb is empty")),
                Form::Jsonb => {}
                Form::Array(_) => {
                    let mut text = Vec::new();
                    form.text(&self.value, &mut text)?;
                    copy_text::escape(&text, &mut self.text);
                }
                // No other value has a byte that COPY escapes.
                _ => form.text(&self.value, &mut self.text)?,
            }
        }
        self.at += 1;
        Ok(self.text.len() < TEXT_BYTES)
    }

    fn end_of_row(&mut self, _at: usize) -> Result<(), FormatError> {
        self.text.push(b'\n');
        Ok(())
    }
}

fn hex(bytes: &[u8], text: &mut Vec<u8>) {
    text.reserve(2 * bytes.len());
    for digits in copy_text::hex_digits(bytes) {
        text.extend_from_slice(&digits);
    }
}

/// Appends what is formatted.
fn append(text: &mut Vec<u8>, what: fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = text.write_fmt(what);
}

fn invalid(reason: impl Into<String>) -> FormatError {
    FormatError::Invalid { what: "binary value", reason: reason.into() }
}

#[cfg(test)]
mod tests;
