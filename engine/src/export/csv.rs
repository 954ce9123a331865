//! Rows as CSV, byte for byte as `COPY … (FORMAT csv, HEADER)` writes them: NULL is
//! nothing, an empty string is `""`, what needs quotes has them.

use super::{Export, ExportOutput, ExportReport, unwritable};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};

pub(super) async fn write(
    export: &Export<'_>,
    selected: &BTreeSet<usize>,
    output: ExportOutput,
) -> Result<ExportReport> {
    let tables = selected.iter().map(|at| &export.entries[*at]);
    let tables: Vec<(&Entry, &Data)> = tables
        .filter(|entry| entry.kind == Kind::TableData)
        .filter_map(|entry| Some((entry, entry.data.as_ref()?)))
        .collect();
    let mut report = ExportReport::default();
    match output {
        ExportOutput::Stream(mut output) => {
            let [(entry, data)] = tables[..] else {
                let message = format!("CSV is of one table, {} are selected", tables.len());
                return Err(Error::new(ErrorKind::Usage, message)
                    .hint("Select one with -t, or write all into a directory: --output DIR/"));
            };
            write_table(export, entry, data, output.as_mut(), &mut report).await?;
        }
        ExportOutput::Directory(directory) => {
            fs::create_dir_all(&directory).map_err(unwritable)?;
            for (entry, data) in tables {
                let path = directory.join(file_name(entry));
                let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(
                    |error| {
                        Error::new(
                            ErrorKind::Store,
                            format!("could not create \"{}\"", path.display()),
                        )
                        .because(error)
                    },
                )?;
                let mut output = BufWriter::new(file);
                write_table(export, entry, data, &mut output, &mut report).await?;
            }
        }
    }
    Ok(report)
}

/// `schema.table.csv`; bytes that could lead elsewhere are written as in URLs.
fn file_name(entry: &Entry) -> String {
    let safe = |name: &str| {
        let mut text = String::new();
        for character in name.chars() {
            if character.is_alphanumeric() || character == '_' || character == '-' {
                text.push(character);
            } else {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        text
    };
    format!("{}.{}.csv", safe(entry.schema.as_deref().unwrap_or_default()), safe(&entry.name))
}

async fn write_table(
    export: &Export<'_>,
    entry: &Entry,
    data: &Data,
    output: &mut (dyn Write + Send),
    report: &mut ExportReport,
) -> Result<()> {
    if data.encoding != RowEncoding::CopyText {
        return Err(Error::new(ErrorKind::UnsupportedFormat, "rows are not stored as text"));
    }
    let mut line = Vec::new();
    for (place, column) in data.columns.iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        write_field(&mut line, Some(column.as_bytes()), data.columns.len() == 1);
    }
    line.push(b'\n');
    output.write_all(&line).map_err(unwritable)?;
    let single = data.columns.len() == 1;
    let mut converter = Converter { row: Vec::new(), single, rows: 0 };
    export
        .for_each_chunk(data, |plain| {
            let mut text = Vec::with_capacity(plain.len() + plain.len() / 8);
            converter.convert(plain, &mut text)?;
            output.write_all(&text).map_err(unwritable)
        })
        .await?;
    output.flush().map_err(unwritable)?;
    if converter.rows != data.rows || !converter.row.is_empty() {
        let message = format!("rows of \"{}\" are not as many as the backup says", entry.name);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    report.entries += 1;
    report.tables += 1;
    report.rows += converter.rows;
    Ok(())
}

/// Turns COPY text into CSV, chunk by chunk.
struct Converter {
    /// The start of a row that goes on in the next chunk.
    row: Vec<u8>,
    single: bool,
    rows: u64,
}

impl Converter {
    fn convert(&mut self, plain: &[u8], text: &mut Vec<u8>) -> Result<()> {
        for piece in plain.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if self.row.is_empty() => self.write_row(end, text)?,
                Some(end) => {
                    let mut row = std::mem::take(&mut self.row);
                    row.extend_from_slice(end);
                    self.write_row(&row, text)?;
                }
                None => self.row.extend_from_slice(piece),
            }
        }
        Ok(())
    }

    fn write_row(&mut self, row: &[u8], text: &mut Vec<u8>) -> Result<()> {
        for (place, field) in row.split(|byte| *byte == b'\t').enumerate() {
            if place > 0 {
                text.push(b',');
            }
            let value = unescape(field)?;
            write_field(text, value.as_deref(), self.single);
        }
        text.push(b'\n');
        self.rows += 1;
        Ok(())
    }
}

/// The value of a field of COPY text; absent for NULL.
/// See "File Formats, Text Format" of the reference page of COPY.
fn unescape(field: &[u8]) -> Result<Option<Vec<u8>>> {
    if field == b"\\N" {
        return Ok(None);
    }
    let mut value = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        value.push(match bytes.next() {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0b,
            // The server writes no octal or hexadecimal escapes.
            Some(other) if !other.is_ascii_alphanumeric() => *other,
            _ => {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    "row holds an escape that COPY does not write",
                ));
            }
        });
    }
    Ok(Some(value))
}

/// Writes a field with quotes where COPY would: also around `\.` alone on a line, which
/// would end the data.
fn write_field(text: &mut Vec<u8>, value: Option<&[u8]>, single: bool) {
    let Some(value) = value else { return };
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if value.is_empty() || value.iter().any(special) || (single && value == b"\\.") {
        text.push(b'"');
        for byte in value {
            if *byte == b'"' {
                text.push(b'"');
            }
            text.push(*byte);
        }
        text.push(b'"');
    } else {
        text.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(copy_text: &str) -> String {
        let mut converter = Converter { row: Vec::new(), single: false, rows: 0 };
        let mut text = Vec::new();
        for piece in copy_text.as_bytes().chunks(3) {
            converter.convert(piece, &mut text).unwrap();
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn null_and_the_empty_string_differ_and_specials_are_quoted() {
        assert_eq!(csv("1\t\\N\t\ta\\tb\n"), "1,,\"\",a\tb\n");
        assert_eq!(
            csv("x,y\tsay \"hi\"\ttwo\\nlines\t\\\\.\n"),
            "\"x,y\",\"say \"\"hi\"\"\",\"two\nlines\",\\.\n"
        );
        assert!(unescape(b"\\q").is_err());
        assert!(unescape(b"\\").is_err());
    }
}
