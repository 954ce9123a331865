//! Whole rows out of chunks of which some are lost: no half row passes.
//!
//! Rows end with a newline byte, as those of COPY text do. A row may go on over several chunks.
//! Before its beginning passes, the chunks with its end are read once to see that they can be:
//! memory does not grow with the row.

use super::ChunkReader;
use crate::Result;
use pgkeep_format::frame::FrameType;
use pgkeep_format::stream::ChunkReference;
use std::ops::Range;

/// Passes the whole rows of chunks that follow each other.
#[derive(Debug)]
pub struct WholeRows<'a> {
    reader: &'a ChunkReader,
    references: &'a [ChunkReference],
    /// Whether the next chunk begins within a row of which a part is lost.
    dropping: bool,
    /// Rows that go on before this chunk can be read to their end.
    readable_until: usize,
}

impl<'a> WholeRows<'a> {
    /// Begins with the first of `references`, which begins with a row.
    #[must_use]
    pub fn new(reader: &'a ChunkReader, references: &'a [ChunkReference]) -> Self {
        Self { reader, references, dropping: false, readable_until: 0 }
    }

    /// Which bytes of the chunk at this position are whole rows, or parts of rows that are whole
    /// with those of the chunks behind. `plain` is absent where the chunk is lost. To be called for
    /// each chunk in order.
    ///
    /// # Errors
    /// What reading the store gives.
    pub async fn take(&mut self, at: usize, plain: Option<&[u8]>) -> Result<Range<usize>> {
        let continues = self.references.get(at).is_some_and(|it| it.row_continues);
        let Some(plain) = plain else {
            self.dropping = continues;
            return Ok(0..0);
        };
        let ends = continues && !self.can_be_read_to_its_end(at).await?;
        Ok(self.whole(plain, continues, ends))
    }

    /// `ends` says that the row which goes on is lost.
    fn whole(&mut self, plain: &[u8], continues: bool, ends: bool) -> Range<usize> {
        let start = match plain.iter().position(|byte| *byte == b'\n') {
            _ if !self.dropping => 0,
            Some(newline) => newline + 1,
            // All of it is a part of the row that is lost.
            None => {
                self.dropping = continues;
                return 0..0;
            }
        };
        self.dropping = ends;
        if !ends {
            return start..plain.len();
        }
        let end = plain.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        start..end.max(start)
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
    async fn left(chunks: &[&[u8]], lost: &[usize]) -> String {
        let sample = Sample::new(true).await;
        sample.back_up(1, chunks).await;
        lost.iter().for_each(|at| sample.rot(&sample.id_of(chunks[*at])));
        let repository = sample.open().await.unwrap();
        let backup = repository.find("latest").await.unwrap();
        let reader = ChunkReader::open(&repository).await.unwrap();
        let references = reader.references(backup.stream(0).unwrap()).await.unwrap();
        let mut whole = WholeRows::new(&reader, &references);
        let mut left = Vec::new();
        for (at, reference) in references.iter().enumerate() {
            let plain = reader.read(&reference.id, FrameType::Rows).await;
            let plain = plain.ok().map(|opened| opened.plain);
            let range = whole.take(at, plain.as_deref()).await.unwrap();
            left.extend_from_slice(&plain.unwrap_or_default()[range]);
        }
        String::from_utf8(left).unwrap()
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
            assert_eq!(left(&chunks, &lost).await, expected, "without {lost:?}");
        }
    }
}
