//! Rows as INSERT statements, their values written as `pg_dump` writes them.
//!
//! A script is UTF-8. Values of a database in another encoding that are not plain ASCII are
//! written as bytes that the server converts when it reads them.

use super::large_objects::hex;
use super::rows::RowSplitter;
use super::unwritable;
use crate::postgres::copy_text::values;
use crate::postgres::{SESSION_ENCODING, identifier, literal, qualified};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Relation};
use std::io::Write;
use std::num::NonZeroU32;

/// How to write rows as INSERT statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsertOptions {
    /// Names the columns in each statement, not only where their order may change.
    pub name_columns: bool,
    /// Rows of one statement, at most.
    pub rows_per_insert: NonZeroU32,
    /// Passes over rows that are there.
    pub on_conflict_do_nothing: bool,
}

/// Writes the rows of one table.
pub(super) struct Inserts<'a> {
    splitter: RowSplitter,
    /// What stands before the values.
    head: String,
    /// What stands after them.
    tail: &'static str,
    slots: Vec<Slot<'a>>,
    /// The encoding of the rows where it is not UTF8.
    encoding: Option<String>,
    rows_per_insert: u32,
    /// Rows of the statement that is open.
    open: u32,
}

/// What stands in one place of a statement's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot<'a> {
    /// The next value of the row.
    Value(Form<'a>),
    /// `DEFAULT`, for a generated column.
    Default,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Number,
    Boolean,
    Bits,
    /// As a string; with its type, where it is known.
    Text(Option<&'a str>),
}

impl<'a> Inserts<'a> {
    /// Prepares statements for the rows `data` of `entry`; `relation` is the table's shape,
    /// absent for a table whose definition is an extension's.
    pub(super) fn new(
        entry: &Entry,
        data: &'a Data,
        relation: Option<&'a Relation>,
        encoding: &str,
        options: &InsertOptions,
    ) -> Self {
        let names: Vec<String> = data.columns.iter().map(|column| identifier(column)).collect();
        // Without names the server takes values for all columns, in the table's order. A child
        // that is made anew may have another order: columns that its parents gained later
        // come first.
        let unnamed =
            relation.filter(|relation| !options.name_columns && relation.parents.is_empty());
        let unnamed = unnamed.map(|relation| {
            relation.columns.iter().map(|column| match column.generated.as_str() {
                "" => Slot::Value(form(Some(&column.type_name))),
                _ => Slot::Default,
            })
        });
        let named = data.columns.iter().map(|name| {
            let mut columns = relation.into_iter().flat_map(|relation| &relation.columns);
            let column = columns.find(|column| column.name == *name);
            Slot::Value(form(column.map(|column| column.type_name.as_str())))
        });
        let fits = |slots: &Vec<Slot<'_>>| {
            let values = slots.iter().filter(|slot| matches!(slot, Slot::Value(_)));
            values.count() == data.columns.len()
        };
        let (slots, columns) = match unnamed.map(Iterator::collect).filter(fits) {
            Some(slots) => (slots, String::new()),
            None => (named.collect(), format!(" ({})", names.join(", "))),
        };
        // An identity column that is always generated takes values only if it is told to;
        // elsewhere the words change nothing.
        let always = relation
            .is_none_or(|relation| relation.columns.iter().any(|column| column.identity == "a"));
        let overriding = if always { " OVERRIDING SYSTEM VALUE" } else { "" };
        let table = qualified(entry.schema.as_deref().unwrap_or_default(), &entry.name);
        let head = if data.columns.is_empty() {
            format!("INSERT INTO {table} DEFAULT VALUES")
        } else {
            format!("INSERT INTO {table}{columns}{overriding} VALUES")
        };
        Self {
            splitter: RowSplitter::default(),
            head,
            tail: if options.on_conflict_do_nothing { " ON CONFLICT DO NOTHING;\n" } else { ";\n" },
            slots,
            encoding: (encoding != SESSION_ENCODING).then(|| literal(encoding)),
            rows_per_insert: options.rows_per_insert.get(),
            open: 0,
        }
    }

    /// Writes the rows that end in `plain`.
    pub(super) fn write(&mut self, plain: &[u8], output: &mut dyn Write) -> Result<()> {
        let mut splitter = std::mem::take(&mut self.splitter);
        let mut text = Vec::with_capacity(plain.len() * 2);
        splitter.split(plain, |row| self.row(row, &mut text))?;
        self.splitter = splitter;
        output.write_all(&text).map_err(unwritable)
    }

    /// Ends the statement that is open.
    pub(super) fn finish(&mut self, output: &mut dyn Write) -> Result<()> {
        if self.open > 0 {
            self.open = 0;
            output.write_all(self.tail.as_bytes()).map_err(unwritable)?;
        }
        Ok(())
    }

    fn row(&mut self, row: &[u8], text: &mut Vec<u8>) -> Result<()> {
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Value(_))) {
            text.extend_from_slice(self.head.as_bytes());
            text.extend_from_slice(self.tail.as_bytes());
            return Ok(());
        }
        if self.open == 0 {
            text.extend_from_slice(self.head.as_bytes());
            text.extend_from_slice(if self.rows_per_insert == 1 { b" (" } else { b"\n\t(" });
        } else {
            text.extend_from_slice(b",\n\t(");
        }
        let mut values = values(row);
        for (place, slot) in self.slots.iter().enumerate() {
            if place > 0 {
                text.extend_from_slice(b", ");
            }
            let form = match slot {
                Slot::Value(form) => *form,
                Slot::Default => {
                    text.extend_from_slice(b"DEFAULT");
                    continue;
                }
            };
            let value = values.next().ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "row has fewer fields than the table has columns")
            })??;
            write_value(text, value.as_deref(), form, self.encoding.as_deref());
        }
        text.push(b')');
        self.open += 1;
        if self.open == self.rows_per_insert {
            self.open = 0;
            text.extend_from_slice(self.tail.as_bytes());
        }
        Ok(())
    }
}

/// The form of values of a type, which is named as the server names it with an empty
/// `search_path`: a user's own type has its schema before it.
fn form(type_name: Option<&str>) -> Form<'_> {
    let Some(name) = type_name else { return Form::Text(None) };
    let bare = name.split_once('(').map_or(name, |(bare, _)| bare);
    match bare {
        _ if name.ends_with(']') => Form::Text(type_name),
        "smallint" | "integer" | "bigint" | "oid" | "real" | "double precision" | "numeric" => {
            Form::Number
        }
        "boolean" => Form::Boolean,
        "bit" | "bit varying" => Form::Bits,
        _ => Form::Text(type_name),
    }
}

fn write_value(text: &mut Vec<u8>, value: Option<&[u8]>, form: Form<'_>, encoding: Option<&str>) {
    let Some(value) = value else { return text.extend_from_slice(b"NULL") };
    match form {
        Form::Number if is_number(value) => text.extend_from_slice(value),
        Form::Boolean if value == b"t" => text.extend_from_slice(b"true"),
        Form::Boolean if value == b"f" => text.extend_from_slice(b"false"),
        Form::Bits if value.iter().all(|byte| matches!(byte, b'0' | b'1')) => {
            text.push(b'B');
            write_literal(text, value);
        }
        Form::Text(type_name) => match encoding.filter(|_| !value.is_ascii()) {
            Some(encoding) => write_converted(text, value, type_name, encoding),
            None => write_literal(text, value),
        },
        _ => write_literal(text, value),
    }
}

/// Whether the server reads it as the same number without quotes: not `NaN`, and not `-0`,
/// whose sign would be lost.
fn is_number(value: &[u8]) -> bool {
    let unsigned = value.strip_prefix(b"-").unwrap_or(value);
    let exponent_at = unsigned.iter().position(|byte| *byte == b'e');
    let (mantissa, exponent) = match exponent_at {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let point_at = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let (whole, fraction) = mantissa.split_at(point_at);
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let nothing = !mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    digits(whole)
        && (fraction.is_empty() || digits(&fraction[1..]))
        && exponent.is_none_or(|exponent| {
            digits(exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent))
        })
        && !(nothing && value.starts_with(b"-"))
}

/// A string, with `E''` where it holds a backslash.
fn write_literal(text: &mut Vec<u8>, value: &[u8]) {
    if value.contains(&b'\\') {
        text.push(b'E');
    }
    text.push(b'\'');
    for byte in value {
        if matches!(byte, b'\'' | b'\\') {
            text.push(*byte);
        }
        text.push(*byte);
    }
    text.push(b'\'');
}

/// Bytes in the encoding of the rows, as text of the target's encoding, as the type.
fn write_converted(text: &mut Vec<u8>, value: &[u8], type_name: Option<&str>, encoding: &str) {
    let hex = hex(value);
    let converted = format!("pg_catalog.convert_from('\\x{hex}', {encoding})");
    text.extend_from_slice(converted.as_bytes());
    if let Some(name) = type_name {
        text.extend_from_slice(b"::");
        text.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::entry::{Column, Kind, RowEncoding, Section};

    fn entry() -> Entry {
        Entry {
            kind: Kind::TableData.into(),
            section: Section::Data,
            schema: Some("s".into()),
            name: "t".into(),
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
        }
    }

    fn data(columns: &[&str]) -> Data {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns,
            rows: 0,
            bytes: 0,
            table: None,
            numbers: None,
            types: None,
        }
    }

    fn relation(columns: &[(&str, &str, &str, &str)]) -> Relation {
        let column = |(name, type_name, generated, identity): &(&str, &str, &str, &str)| Column {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            not_null: false,
            generated: (*generated).to_owned(),
            identity: (*identity).to_owned(),
        };
        Relation { columns: columns.iter().map(column).collect(), ..Relation::default() }
    }

    fn options(rows: u32) -> InsertOptions {
        let rows_per_insert = NonZeroU32::new(rows).unwrap();
        InsertOptions { name_columns: false, rows_per_insert, on_conflict_do_nothing: false }
    }

    fn written(mut inserts: Inserts<'_>, rows: &[u8]) -> String {
        let mut output = Vec::new();
        for piece in rows.chunks(3) {
            inserts.write(piece, &mut output).unwrap();
        }
        inserts.finish(&mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn values_are_written_as_their_types_are_read() {
        let relation = relation(&[
            ("n", "numeric(12,2)", "", ""),
            ("g", "integer", "s", ""),
            ("b", "boolean", "", ""),
            ("v", "bit varying(3)", "", ""),
            ("a", "integer[]", "", ""),
            ("t", "text", "", ""),
        ]);
        let data = data(&["n", "b", "v", "a", "t"]);
        let inserts = Inserts::new(&entry(), &data, Some(&relation), "UTF8", &options(2));
        let rows =
            b"-1.50\tt\t01\t{1}\tit's \\\\x\nNaN\tf\t\\N\t{}\t\n1e+5\t\\N\t\t\\N\t\xc3\xa9\n";
        assert_eq!(
            written(inserts, rows),
            "INSERT INTO \"s\".\"t\" VALUES\n\t(-1.50, DEFAULT, true, B'01', '{1}', E'it''s \\\\x'),\n\
             \t('NaN', DEFAULT, false, NULL, '{}', '');\n\
             INSERT INTO \"s\".\"t\" VALUES\n\t(1e+5, DEFAULT, NULL, B'', NULL, 'é');\n"
        );
    }

    #[test]
    fn columns_are_named_where_asked_and_where_the_table_is_not_known() {
        let relation = relation(&[
            ("i\"d", "bigint", "", "a"),
            ("g", "bigint", "v", ""),
            ("d", "date", "", ""),
        ]);
        let data = data(&["i\"d", "d"]);
        let named =
            InsertOptions { name_columns: true, on_conflict_do_nothing: true, ..options(1) };
        let inserts = Inserts::new(&entry(), &data, Some(&relation), "UTF8", &named);
        assert_eq!(
            written(inserts, b"1\t2000-01-01\n"),
            "INSERT INTO \"s\".\"t\" (\"i\"\"d\", \"d\") OVERRIDING SYSTEM VALUE VALUES \
             (1, '2000-01-01') ON CONFLICT DO NOTHING;\n"
        );
        let child = Relation { parents: vec![0], ..relation };
        let inserts = Inserts::new(&entry(), &data, Some(&child), "UTF8", &options(1));
        assert!(written(inserts, b"1\tx\n").contains("(\"i\"\"d\", \"d\")"));
        let inserts = Inserts::new(&entry(), &data, None, "UTF8", &options(1));
        assert_eq!(
            written(inserts, b"1\tx\n"),
            "INSERT INTO \"s\".\"t\" (\"i\"\"d\", \"d\") OVERRIDING SYSTEM VALUE VALUES ('1', 'x');\n"
        );
    }

    #[test]
    fn rows_without_columns_are_made_of_defaults() {
        let data = data(&[]);
        let inserts = Inserts::new(&entry(), &data, None, "UTF8", &options(10));
        let one = "INSERT INTO \"s\".\"t\" DEFAULT VALUES;\n";
        assert_eq!(written(inserts, b"\n\n"), format!("{one}{one}"));
    }

    #[test]
    fn what_is_in_another_encoding_is_converted_by_the_server() {
        let relation = relation(&[("v", "s.\"mood\"", "", "")]);
        let data = data(&["v"]);
        let inserts = Inserts::new(&entry(), &data, Some(&relation), "LATIN1", &options(1));
        assert_eq!(
            written(inserts, b"plain\n\xe9'\n"),
            "INSERT INTO \"s\".\"t\" VALUES ('plain');\nINSERT INTO \"s\".\"t\" VALUES \
             (pg_catalog.convert_from('\\xe927', 'LATIN1')::s.\"mood\");\n"
        );
    }

    #[test]
    fn only_what_the_server_reads_as_the_same_number_is_bare() {
        for number in ["0", "-7", "1.50", "1e-45", "1.5e+300", "0.0", "00"] {
            assert!(is_number(number.as_bytes()), "{number}");
        }
        for other in [
            "", "-", "-0", "-0.0", "NaN", "Infinity", "1.", ".5", "1--2", "1 2", "e5", "1e", "--1",
            "+1", "1e5e",
        ] {
            assert!(!is_number(other.as_bytes()), "{other}");
        }
    }
}
