//! Whole rows out of chunks of which some are lost: no half row passes.
//!
//! Rows of COPY text end with a newline byte. Where those of binary COPY end tell only the lengths in
//! them, from a row's beginning on: behind a lost beginning, all passes by up to the next chunk that
//! begins with a row. A row may go on over several chunks. Before its beginning passes, the chunks with
//! its end are read once to see that they can be: memory does not grow with the row.

use super::ChunkReader;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::RowEncoding;
use pgkeep_format::frame::FrameType;
use pgkeep_format::stream::ChunkReference;
use pgkeep_format::tuple::{RowEnds, Walk};
use std::ops::Range;

/// Passes the whole rows of chunks that follow each other.
#[derive(Debug)]
pub struct WholeRows<'a> {
    reader: &'a ChunkReader,
    references: &'a [ChunkReference],
    encoding: RowEncoding,
    /// Whether the next chunk begins within a row of which a part is lost.
    dropping: bool,
    /// Rows that go on before this chunk can be read to their end.
    readable_until: usize,
    /// Of binary rows: where in them the next chunk begins, unless within a lost one.
    walk: Walk,
}

/// What is whole in a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whole {
    /// The bytes of whole rows, or of parts of rows that are whole with those of the chunks behind.
    pub range: Range<usize>,
    /// Rows that end in the chunk; absent where they cannot be counted.
    pub rows: Option<u64>,
    /// Rows that end in `range`.
    pub kept: u64,
}

impl<'a> WholeRows<'a> {
    /// Begins with the first of `references`, which begins with a row.
    #[must_use]
    pub fn new(
        reader: &'a ChunkReader,
        references: &'a [ChunkReference],
        encoding: RowEncoding,
    ) -> Self {
        let (dropping, readable_until, walk) = (false, 0, Walk::default());
        Self { reader, references, encoding, dropping, readable_until, walk }
    }

    /// What of the chunk at this position is whole. `plain` is absent where the chunk is lost. To be
    /// called for each chunk in order.
    ///
    /// # Errors
    /// What reading the store gives; [`ErrorKind::Damaged`] when the chunk has no rows of this
    /// encoding.
    pub async fn take(&mut self, at: usize, plain: Option<&[u8]>) -> Result<Whole> {
        let continues = self.references.get(at).is_some_and(|it| it.row_continues);
        let Some(plain) = plain else {
            self.dropping = continues;
            self.walk = Walk::default();
            return Ok(Whole::default());
        };
        let ends = continues && !self.can_be_read_to_its_end(at).await?;
        match self.encoding {
            RowEncoding::CopyBinary => self.whole_tuples(plain, continues, ends),
            _ => Ok(self.whole_lines(plain, continues, ends)),
        }
    }

    /// `ends` says that the row which goes on is lost.
    fn whole_lines(&mut self, plain: &[u8], continues: bool, ends: bool) -> Whole {
        let count = |lines: &[u8]| memchr::memchr_iter(b'\n', lines).count() as u64;
        let start = match memchr::memchr(b'\n', plain) {
            _ if !self.dropping => 0,
            Some(newline) => newline + 1,
            // All of it is a part of the row that is lost.
            None => {
                self.dropping = continues;
                return Whole { rows: Some(0), ..Whole::default() };
            }
        };
        self.dropping = ends;
        let end = if ends {
            memchr::memrchr(b'\n', plain).map_or(0, |newline| newline + 1).max(start)
        } else {
            plain.len()
        };
        Whole { range: start..end, rows: Some(count(plain)), kept: count(&plain[start..end]) }
    }

    fn whole_tuples(&mut self, plain: &[u8], continues: bool, ends: bool) -> Result<Whole> {
        if self.dropping {
            self.dropping = continues;
            return Ok(Whole::default());
        }
        let mut rows = RowEnds::default();
        self.walk.walk(plain, &mut rows).map_err(|error| {
            Error::new(ErrorKind::Damaged, "what is stored is no row of a binary COPY")
                .because(error)
        })?;
        self.dropping = ends;
        if ends {
            self.walk = Walk::default();
        }
        let end = if ends { rows.last } else { plain.len() };
        Ok(Whole { range: 0..end, rows: Some(rows.count), kept: rows.count })
    }

    async fn can_be_read_to_its_end(&mut self, at: usize) -> Result<bool> {
        if at < self.readable_until {
            return Ok(true);
        }
        for (next, reference) in self.references.iter().enumerate().skip(at + 1) {
            match self.reader.read(&reference.id, FrameType::Rows).await {
                Ok(opened) if opened.row_continues == reference.row_continues => {}
                Ok(_) => return Ok(false),
                Err(error) if error.is_of_store() => return Err(error),
                Err(_) => return Ok(false),
            }
            if !reference.row_continues {
                self.readable_until = next;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::sample::Sample;

    /// The rows that pass where these chunks are lost.
    async fn left(chunks: &[&[u8]], lost: &[usize], encoding: RowEncoding) -> Vec<u8> {
        let sample = Sample::new(true).await;
        sample.back_up(1, chunks).await;
        lost.iter().for_each(|at| sample.rot(&sample.id_of(chunks[*at])));
        let repository = sample.open().await.unwrap();
        let backup = repository.find("latest").await.unwrap();
        let reader = ChunkReader::open(&repository).await.unwrap();
        let references = reader.references(backup.stream(0).unwrap()).await.unwrap();
        let mut whole = WholeRows::new(&reader, &references, encoding);
        let mut left = Vec::new();
        for (at, reference) in references.iter().enumerate() {
            let plain = reader.read(&reference.id, FrameType::Rows).await;
            let plain = plain.ok().map(|opened| opened.plain);
            let taken = whole.take(at, plain.as_deref()).await.unwrap();
            left.extend_from_slice(&plain.unwrap_or_default()[taken.range]);
        }
        left
    }

    #[tokio::test]
    async fn what_passes_is_whole_rows_whatever_is_lost() {
        let chunks: [&[u8]; 7] =
            [b"a1\na2\n", b"b1\nb2", b"-goes", b"-on\nc1\n", b"d1\n", b"e1\ne2", b"-end\n"];
        let whole = String::from_utf8(chunks.concat()).unwrap();
        let rows: Vec<&str> = whole.split_inclusive('\n').collect();
        for set in 0..1_u32 << chunks.len() {
            let lost: Vec<usize> = (0..chunks.len()).filter(|at| set & 1 << at != 0).collect();
            let mut place = 0;
            let spans = chunks.iter().map(|chunk| {
                place += chunk.len();
                place - chunk.len()..place
            });
            let spans: Vec<_> = spans.collect();
            let mut at = 0;
            let expected = rows.iter().filter(|row| {
                let span = at..at + row.len();
                at = span.end;
                let meets =
                    |lost: &usize| spans[*lost].start < span.end && span.start < spans[*lost].end;
                !lost.iter().any(meets)
            });
            let expected: String = expected.copied().collect();
            let left = left(&chunks, &lost, RowEncoding::CopyText).await;
            assert_eq!(String::from_utf8(left).unwrap(), expected, "without {lost:?}");
        }
    }
}
