//! Rows as CSV, byte for byte as `COPY … (FORMAT csv, HEADER)` writes them: NULL is
//! nothing, an empty string is `""`, what needs quotes has them. Rows are in the encoding of
//! the database, which is all that is known of them; a header with other letters than ASCII
//! is in UTF-8.

use super::rows::RowSplitter;
use super::{Export, ExportOutput, ExportReport, unwritable};
use crate::new_file::{NewFile, already_there};
use crate::postgres::SESSION_ENCODING;
use crate::postgres::copy_text::values;
use crate::progress::Event;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Kind};
use std::fs;
use std::io::{BufWriter, Write};

/// Bytes of a file's name, at most, on all common file systems.
const NAME_LEN_MAX: usize = 255;

pub(super) async fn write(export: &Export<'_>, output: ExportOutput) -> Result<ExportReport> {
    let tables = export.selected.iter().map(|at| (*at, &export.entries[*at]));
    let tables: Vec<(usize, &Entry, &Data)> = tables
        .filter(|(_, entry)| entry.kind == Kind::TableData)
        .filter_map(|(at, entry)| Some((at, entry, entry.data.as_deref()?)))
        .collect();
    let encoding = &export.database.encoding;
    if encoding != SESSION_ENCODING {
        let warning = format!("rows are in the database's encoding, {encoding}, not in UTF-8");
        export.progress.event(Event::Warning(warning));
    }
    let mut report = ExportReport::default();
    match output {
        ExportOutput::Stream(mut output) => {
            let [(_, entry, data)] = tables[..] else {
                let message = format!("CSV is of one table, {} are selected", tables.len());
                return Err(Error::new(ErrorKind::Usage, message)
                    .hint("Select one with -t, or write all into a directory: --output DIR/"));
            };
            write_table(export, entry, data, output.as_mut(), &mut report).await?;
        }
        ExportOutput::Directory(directory) => {
            fs::create_dir_all(&directory).map_err(unwritable)?;
            let path = |at, entry| directory.join(file_name(at, entry));
            // Before anything is written rather than after the first few tables.
            for (at, entry, _) in &tables {
                let path = path(*at, *entry);
                if path.symlink_metadata().is_ok() {
                    return Err(already_there(&path));
                }
            }
            for (at, entry, data) in tables {
                let path = path(at, entry);
                let file = NewFile::create(&path)?;
                let mut output = BufWriter::new(file.handle()?);
                write_table(export, entry, data, &mut output, &mut report).await?;
                drop(output);
                file.keep()?;
            }
        }
    }
    Ok(report)
}

/// `schema.table.csv`; bytes that could lead elsewhere are written as in URLs. What would be
/// too long for a file system is cut and told apart by its position in the backup.
fn file_name(at: usize, entry: &Entry) -> String {
    let schema = safe(entry.schema.as_deref().unwrap_or_default());
    let name = format!("{schema}.{}.csv", safe(&entry.name));
    if name.len() <= NAME_LEN_MAX {
        return name;
    }
    let end = format!("~{at}.csv");
    // All that is left of a name is ASCII or a letter; cut before one.
    let room = NAME_LEN_MAX - end.len();
    let cut = (0..=room).rev().find(|cut| name.is_char_boundary(*cut)).unwrap_or(0);
    format!("{}{end}", &name[..cut])
}

fn safe(name: &str) -> String {
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
}

async fn write_table(
    export: &Export<'_>,
    entry: &Entry,
    data: &Data,
    output: &mut (dyn Write + Send),
    report: &mut ExportReport,
) -> Result<()> {
    let columns = data.columns.len();
    let mut header = Vec::new();
    for (place, column) in data.columns.iter().enumerate() {
        if place > 0 {
            header.push(b',');
        }
        write_field(&mut header, Some(column.as_bytes()), columns == 1);
    }
    header.push(b'\n');
    output.write_all(&header).map_err(unwritable)?;
    let mut splitter = RowSplitter::default();
    export
        .for_each_chunk(entry, data, |plain| {
            let mut text = Vec::with_capacity(plain.len() + plain.len() / 8);
            splitter.split(plain, |row| write_row(row, columns, &mut text))?;
            output.write_all(&text).map_err(unwritable)
        })
        .await?;
    output.flush().map_err(unwritable)?;
    report.entries += 1;
    report.tables += 1;
    report.rows += data.rows;
    Ok(())
}

fn write_row(row: &[u8], columns: usize, text: &mut Vec<u8>) -> Result<()> {
    let single = columns == 1;
    // A table without columns has rows of nothing, not of an empty value.
    let values = values(row).take(columns);
    for (place, value) in values.enumerate() {
        if place > 0 {
            text.push(b',');
        }
        write_field(text, value?.as_deref(), single);
    }
    text.push(b'\n');
    Ok(())
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
    use pgkeep_format::entry::Section;

    fn csv(row: &str) -> String {
        let mut text = Vec::new();
        write_row(row.as_bytes(), 4, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn null_and_the_empty_string_differ_and_specials_are_quoted() {
        assert_eq!(csv("1\t\\N\t\ta\\tb"), "1,,\"\",a\tb\n");
        assert_eq!(
            csv("x,y\tsay \"hi\"\ttwo\\nlines\t\\\\."),
            "\"x,y\",\"say \"\"hi\"\"\",\"two\nlines\",\\.\n"
        );
    }

    #[test]
    fn names_of_files_lead_nowhere_else_and_differ() {
        let name = |schema: &str, name: &str| {
            let entry = Entry {
                kind: Kind::TableData.into(),
                section: Section::Data,
                schema: Some(schema.to_owned()),
                name: name.to_owned(),
                create: String::new(),
                drop: None,
                depends_on: Vec::new(),
                belongs_to: None,
                relation: None,
                data: None,
                owner: None,
                large_objects: None,
                storage: None,
                by_index: None,
            };
            file_name(7, &entry)
        };
        assert_eq!(name("app", "jobs"), "app.jobs.csv");
        assert_eq!(name("..", "../../etc/passwd"), "%2E%2E.%2E%2E%2F%2E%2E%2Fetc%2Fpasswd.csv");
        assert_eq!(name("a.b", "c"), "a%2Eb.c.csv");
        assert_eq!(name("a", "b.c"), "a.b%2Ec.csv");
        assert_eq!(name("", "\0\n"), ".%00%0A.csv");
        for letter in [" ", "é", "語"] {
            let long = name(&letter.repeat(63), &letter.repeat(63));
            assert!(long.len() <= NAME_LEN_MAX && long.ends_with("~7.csv"), "{long}");
        }
    }
}
