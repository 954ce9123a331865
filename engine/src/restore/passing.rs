//! Rows of a group on their way from chunks to a COPY of the server: as they are, or as what changes
//! make of them, and as text where binary ones do not fit.

use crate::fold::{Part, Passing};
use crate::postgres::CopyIn;
use crate::postgres::copy_binary::TextRows;
use crate::progress::{Event, Progress};
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream};
use pgkeep_format::entry::{Data, RowEncoding};
use std::ops::Range;
use std::sync::Arc;

/// Chunks that are read ahead while one is sent.
pub(super) const CHUNKS_AHEAD: usize = 2;

/// Writes the rows that changes leave.
pub(super) async fn write_changed(
    part: &Part,
    units: Range<usize>,
    sink: &mut Sink<'_, '_>,
) -> Result<()> {
    let reads: Vec<_> = units.map(|unit| part.changed(unit)).collect();
    let mut reads = stream::iter(reads).buffered(CHUNKS_AHEAD);
    while let Some(changed) = reads.next().await {
        let rows = changed?;
        sink.write(&rows, 0).await?;
    }
    Ok(())
}

/// Rows of a group on their way from chunks to the server.
pub(super) struct RowsPassing<'a> {
    /// What makes text of them, where they are binary and the server gets text.
    converter: Option<TextRows>,
    changes: Changes<'a>,
}

/// What becomes of rows, where there are changes.
struct Changes<'a> {
    part: Option<&'a Part>,
    passing: Passing,
    rows: Vec<u8>,
}

impl<'a> RowsPassing<'a> {
    /// Of rows that are stored so, on their way to a `COPY` that takes them in an encoding.
    pub(super) fn new(part: Option<&'a Part>, data: &Data, taken: RowEncoding) -> Result<Self> {
        let converter = match (data.encoding, taken) {
            (RowEncoding::CopyBinary, RowEncoding::CopyText) => Some(TextRows::of(data)?),
            _ => None,
        };
        let changes = Changes { part, passing: Passing::default(), rows: Vec::new() };
        Ok(Self { converter, changes })
    }

    pub(super) async fn pass(
        &mut self,
        plain: &[u8],
        stored: u64,
        sink: &mut Sink<'_, '_>,
    ) -> Result<()> {
        let Some(converter) = &mut self.converter else {
            return self.changes.pass(plain, stored, sink).await;
        };
        let (mut rest, mut stored) = (plain, stored);
        while let Some(text) = converter.next(&mut rest)? {
            self.changes.pass(text, std::mem::take(&mut stored), sink).await?;
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<()> {
        self.converter.as_ref().map_or(Ok(()), TextRows::end)?;
        self.changes.passing.end()
    }
}

impl Changes<'_> {
    async fn pass(&mut self, rows: &[u8], stored: u64, sink: &mut Sink<'_, '_>) -> Result<()> {
        let Some(part) = self.part else { return sink.write(rows, stored).await };
        self.rows.clear();
        part.pass(rows, &mut self.passing, &mut self.rows)?;
        sink.write(&self.rows, stored).await
    }
}

/// A COPY, and whether it was the server that ended it.
pub(super) struct Sink<'a, 'w> {
    pub(super) copy: &'a mut CopyIn<'w>,
    pub(super) refused: Option<Error>,
    pub(super) progress: &'a Arc<dyn Progress>,
}

impl Sink<'_, '_> {
    async fn write(&mut self, rows: &[u8], stored: u64) -> Result<()> {
        if let Err(error) = self.copy.write(rows).await {
            self.refused = Some(error);
            return Err(Error::new(ErrorKind::Server, "server refused rows"));
        }
        let bytes = rows.len() as u64;
        self.progress.event(Event::Advanced { rows: 0, bytes, stored });
        Ok(())
    }
}
