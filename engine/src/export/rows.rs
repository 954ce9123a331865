//! Rows as COPY text, as the source server sent them or would have: checked before any of
//! them is written, for a line that is no row would be taken for SQL by whoever reads the
//! script that it ends up in.

use super::Export;
use crate::postgres::copy_binary::TextRows;
use crate::progress::Event;
use crate::repository::{RowsSeen, WholeRows};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, RowEncoding};

/// Bytes of one row, at most: no server sends longer ones.
const ROW_LEN_MAX: usize = 1 << 30;

impl Export<'_> {
    /// Gives an entry's rows as COPY text, in order and in pieces, each checked; then their number
    /// is what the backup says.
    pub(super) async fn for_each_chunk(
        &self,
        entry: &Entry,
        data: &Data,
        mut each: impl FnMut(&[u8]) -> Result<()> + Send,
    ) -> Result<()> {
        let mut converter = match data.encoding {
            RowEncoding::CopyText => None,
            RowEncoding::CopyBinary => Some(TextRows::of(data)?),
            RowEncoding::Cbor => {
                let message = "rows are in an encoding that tables do not have";
                return Err(Error::new(ErrorKind::Damaged, message));
            }
        };
        let stream = self.backup.stream(data.stream)?;
        let table = match &entry.schema {
            Some(schema) => format!("{schema}.{}", entry.name),
            None => entry.name.clone(),
        };
        self.progress.event(Event::TableStarted { table: table.clone() });
        let mut check = RowCheck::new(data.columns.len());
        let allows_damage = self.missing.is_some();
        let references = match allows_damage {
            true => self.reader.references_left(stream).await?,
            false => self.reader.references(stream).await.map_err(names_the_option)?,
        };
        let mut seen = RowsSeen::new(&references, data.rows, data.bytes);
        let mut whole = WholeRows::new(&self.reader, &references, data.encoding);
        for (at, reference) in references.iter().enumerate() {
            let plain = match self.reader.read_rows(reference, data.encoding).await {
                Ok(plain) => plain,
                Err(error) if allows_damage && error.kind() == ErrorKind::Damaged => {
                    whole.take(at, None).await?;
                    seen.lost(at);
                    self.tell_lost(&table, at, &error);
                    continue;
                }
                Err(error) => return Err(names_the_option(error)),
            };
            let mut kept = plain.as_slice();
            if allows_damage {
                let whole = whole.take(at, Some(&plain)).await?;
                seen.read(at, plain.len(), &whole);
                kept = &plain[whole.range];
            }
            let stored = self.reader.locate(&reference.id)?.frame_len();
            let (before, bytes) = (check.rows, kept.len() as u64);
            let mut give = |text: &[u8]| {
                check.check(text).map_err(|error| of_table(&table, error))?;
                each(text)
            };
            match &mut converter {
                None => give(kept)?,
                Some(rows) => {
                    let of_table = |error| of_table(&table, error);
                    while let Some(text) = rows.next(&mut kept).map_err(of_table)? {
                        give(text)?;
                    }
                }
            }
            let rows = check.rows - before;
            self.progress.event(Event::Advanced { rows, bytes, stored });
        }
        let missing = seen.missing(table.clone());
        let expected = data.rows.saturating_sub(missing.as_ref().map_or(0, |it| it.rows));
        converter
            .map_or(Ok(()), |converter| converter.end())
            .and_then(|()| check.end(expected))
            .map_err(|error| of_table(&table, error))?;
        if let Some(missing) = missing {
            self.note_missing(missing);
        }
        let (rows, bytes) = (data.rows, data.bytes);
        self.progress.event(Event::TableFinished { table, rows, bytes });
        Ok(())
    }

    fn tell_lost(&self, table: &str, at: usize, error: &Error) {
        let warning = format!("chunk {} of table \"{table}\" is left out: {error}", at + 1);
        self.progress.event(Event::Warning(warning));
    }
}

/// Says how to go on without what is damaged.
fn names_the_option(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Damaged => {
            error.hint("Write what is left, and be told what is missing: --allow-damage")
        }
        _ => error,
    }
}

fn of_table(table: &str, error: Error) -> Error {
    let message = format!("rows of \"{table}\" cannot be written");
    Error::new(error.kind(), message).because(error)
}

/// Checks that bytes are rows of `COPY … TO` as text and nothing else, piece by piece.
struct RowCheck {
    columns: usize,
    /// Fields of this row that ended.
    fields: usize,
    place: Place,
    len: usize,
    rows: u64,
}

/// Where in a field the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At its first byte.
    Start,
    /// Within its value.
    Value,
    /// Behind a backslash; whether that was the first byte.
    Escape { first: bool },
    /// Behind `\N`.
    Null,
}

impl RowCheck {
    fn new(columns: usize) -> Self {
        Self { columns, fields: 0, place: Place::Start, len: 0, rows: 0 }
    }

    fn check(&mut self, plain: &[u8]) -> Result<()> {
        let mut rest = plain;
        while !rest.is_empty() {
            let run = rest.iter().position(|byte| *byte < b' ' || *byte == b'\\');
            let run = run.unwrap_or(rest.len());
            let (ordinary, special) = rest.split_at(run);
            self.ordinary(ordinary)?;
            let Some((byte, after)) = special.split_first() else { break };
            rest = self.special(*byte, after)?;
        }
        if self.len > ROW_LEN_MAX {
            return Err(not_a_row("it is longer than a server can send"));
        }
        Ok(())
    }

    /// A run of bytes that stand for themselves.
    fn ordinary(&mut self, run: &[u8]) -> Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        self.len += run.len();
        match self.place {
            _ if self.columns == 0 => Err(not_a_row("it has a value but the table has no column")),
            Place::Start | Place::Value => {
                self.place = Place::Value;
                Ok(())
            }
            Place::Null => Err(not_a_row("something follows a null")),
            Place::Escape { first } => {
                self.place = match run[0] {
                    b'N' if first => Place::Null,
                    b'b' | b'f' | b'n' | b'r' | b't' | b'v' => Place::Value,
                    // `\.` among them, which would end the data.
                    _ => return Err(not_a_row("it holds an escape that no server writes")),
                };
                if run.len() > 1 { self.ordinary(&run[1..]) } else { Ok(()) }
            }
        }
    }

    /// A control character or a backslash; returns what follows it.
    fn special<'a>(&mut self, byte: u8, after: &'a [u8]) -> Result<&'a [u8]> {
        self.len += 1;
        match (byte, self.place) {
            (b'\\', _) if self.columns == 0 => {
                return Err(not_a_row("it has a value but the table has no column"));
            }
            (b'\\', Place::Start) => self.place = Place::Escape { first: true },
            (b'\\', Place::Value) => self.place = Place::Escape { first: false },
            (b'\\', Place::Escape { .. }) => self.place = Place::Value,
            (_, Place::Escape { .. }) => {
                return Err(not_a_row("it holds an escape that no server writes"));
            }
            (b'\t', _) => {
                self.fields += 1;
                self.place = Place::Start;
                if self.fields >= self.columns {
                    return Err(not_a_row("it has more fields than the table has columns"));
                }
            }
            (b'\n', _) => {
                if self.fields + 1 != self.columns.max(1) {
                    return Err(not_a_row("it has fewer fields than the table has columns"));
                }
                (self.fields, self.place, self.len) = (0, Place::Start, 0);
                self.rows += 1;
            }
            (0 | 0x08 | 0x0b | 0x0c | b'\r', _) => {
                return Err(not_a_row("it holds a control character that servers escape"));
            }
            (_, Place::Null) => return Err(not_a_row("something follows a null")),
            _ if self.columns == 0 => {
                return Err(not_a_row("it has a value but the table has no column"));
            }
            _ => self.place = Place::Value,
        }
        Ok(after)
    }

    /// After the last piece.
    fn end(&self, rows: u64) -> Result<()> {
        if self.len > 0 || self.rows != rows {
            return Err(not_a_row("there are not as many as the backup says"));
        }
        Ok(())
    }
}

fn not_a_row(why: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("what is stored is no row of a COPY: {why}")).hint(
        "The server that was backed up sent it, by a fault or on purpose; pgkeep restore loads \
         it as rows or not at all, never as SQL.",
    )
}

/// Puts rows together that were cut into pieces.
#[derive(Default)]
pub(super) struct RowSplitter {
    /// The start of a row that goes on in the next piece.
    row: Vec<u8>,
}

impl RowSplitter {
    /// Gives each row that ends in `plain`, without its newline.
    pub(super) fn split(
        &mut self,
        plain: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        for piece in plain.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if self.row.is_empty() => each(end)?,
                Some(end) => {
                    self.row.extend_from_slice(end);
                    each(&self.row)?;
                    self.row.clear();
                }
                None => self.row.extend_from_slice(piece),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::copy_text::values;
    use proptest::prelude::*;

    fn check(columns: usize, text: &[u8], piece_len: usize) -> Result<u64> {
        let mut check = RowCheck::new(columns);
        for piece in text.chunks(piece_len) {
            check.check(piece)?;
        }
        check.end(check.rows)?;
        Ok(check.rows)
    }

    #[test]
    fn what_a_server_writes_passes_however_it_is_cut() {
        let rows: [(usize, &str, u64); 5] = [
            (2, "1\t\\N\n\ta\\\\.b\n", 2),
            (1, "\\\\.\n\\\\N\n\n\\N\n", 4),
            (0, "\n\n", 2),
            (3, "\\t\\n\\r\t\\b\\f\\v\t\u{1}\u{7f}é\n", 1),
            (1, "", 0),
        ];
        for (columns, text, expected) in rows {
            for piece_len in 1..=text.len().max(1) {
                let found = check(columns, text.as_bytes(), piece_len).unwrap();
                assert_eq!(found, expected, "{text:?} in pieces of {piece_len}");
            }
        }
    }

    #[test]
    fn what_no_server_writes_is_refused_however_it_is_cut() {
        let rows = [
            (1, "a\n\\.\n\\! touch x\n"),
            (1, "\\.\n"),
            (1, "\\.\r\n"),
            (1, "a\\.\n"),
            (2, "one field\n"),
            (2, "1\t2\t3\n"),
            (0, "a\n"),
            (0, "\\N\n"),
            (0, "\u{1}\n"),
            (0, "\t\n"),
            (1, "\\Nx\n"),
            (1, "\\N\u{1}\n"),
            (1, "\\N\\n\n"),
            (1, "x\\N\n"),
            (1, "\\x41\n"),
            (1, "\\061\n"),
            (1, "a\\\n"),
            (2, "a\\\tb\n"),
            (1, "a\rb\n"),
            (1, "a\0b\n"),
            (1, "no newline"),
        ];
        for (columns, text) in rows {
            for piece_len in 1..=text.len() {
                let error = check(columns, text.as_bytes(), piece_len).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "{text:?}");
            }
        }
    }

    #[test]
    fn values_are_what_copy_reads() {
        let found: Result<Vec<_>> = values(b"\\N\t\t\\\\N\ta\\tb\\n").collect();
        let expected = [None, Some(b"".to_vec()), Some(b"\\N".to_vec()), Some(b"a\tb\n".to_vec())];
        assert_eq!(found.unwrap(), expected);
    }

    proptest! {
        #[test]
        fn what_passes_has_values_and_no_line_that_ends_the_data(
            columns in 0_usize..4,
            text in "[\\\\.Nnrt\t\n\rab]{0,40}",
        ) {
            if check(columns, text.as_bytes(), 7).is_ok() {
                let mut splitter = RowSplitter::default();
                let mut count = 0;
                splitter.split(text.as_bytes(), |row| {
                    count += 1;
                    assert_ne!(row, b"\\.");
                    assert_eq!(values(row).collect::<Result<Vec<_>>>()?.len(), columns.max(1));
                    Ok(())
                }).unwrap();
                prop_assert_eq!(count, text.matches('\n').count());
            }
        }
    }
}
