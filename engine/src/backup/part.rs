//! A part of a table on its way from the cutter: its chunks are stored, or the backup refers to what the
//! repository has. Where the backup before is looked at, an [`EarlierPart`] says which.

use super::earlier::{self, Earlier, EarlierPart, Out};
use super::rows::CopiedTable;
use crate::repository::ChunkWriter;
use crate::seal::{Chunk, Layout};
use crate::{Error, ErrorKind, Result};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use pgkeep_format::entry::Data;
use pgkeep_format::id::ChunkId;
use pgkeep_format::stream::ChunkReference;

/// Chunks of one worker that may be compressed and sealed while it reads on.
const CHUNKS_IN_WORK: usize = 2;

/// A part of a table on its way.
pub(super) struct PartInWork<'a> {
    writer: &'a ChunkWriter,
    /// Where rows are looked for that need not be stored, until that was begun.
    earlier: Option<(&'a Earlier, &'a Data)>,
    /// Which part of the table it is.
    number: usize,
    /// The last chunk, as long as none are compared.
    last: Option<ChunkReference>,
    compared: Option<EarlierPart>,
    /// References of gathered rows, each with the number of the chunk that it goes before.
    gathered: Vec<(usize, ChunkReference)>,
    /// Whether chunks are sealed beside the reading.
    seals_aside: bool,
    layout: &'a Layout,
    copied: CopiedTable,
    sealing: FuturesOrdered<BoxFuture<'static, Result<ChunkReference>>>,
}

impl<'a> PartInWork<'a> {
    /// Begins the part of this number. With `earlier`, rows that the backup before has are looked for.
    pub(super) fn new(
        writer: &'a ChunkWriter,
        layout: &'a Layout,
        seals_aside: bool,
        earlier: Option<(&'a Earlier, &'a Data)>,
        number: usize,
    ) -> Self {
        Self {
            writer,
            earlier,
            number,
            last: None,
            compared: None,
            gathered: Vec::new(),
            seals_aside,
            layout,
            copied: CopiedTable::default(),
            sealing: FuturesOrdered::new(),
        }
    }

    /// Takes the next chunk.
    pub(super) async fn push(&mut self, chunk: Chunk) -> Result<()> {
        self.copied.rows += chunk.rows;
        self.copied.bytes += chunk.plain.len() as u64;
        if chunk.row_continues {
            // Nothing may come between the pieces of a row: the rest of the part goes without.
            self.earlier = None;
            self.end_comparing().await?;
        }
        if self.earlier.is_none() && self.compared.is_none() {
            return self.store(None, chunk).await;
        }
        let reference = self.writer.reference_of(&chunk);
        let is_there = self.writer.has(&reference.id);
        // Only now, as it costs reading the backup before.
        if !is_there
            && EarlierPart::looks_at(&chunk)
            && let Some((earlier, data)) = self.earlier.take()
            && let Some(table) = earlier.table(data).await
        {
            let passed = self.copied.references.len() + self.sealing.len();
            let (writer, last) = (self.writer.clone(), self.last.as_ref());
            self.compared = Some(EarlierPart::new(table, writer, self.number, passed, last));
        }
        if is_there {
            self.writer.passed(chunk.rows, chunk.plain.len() as u64);
        }
        let outs = match &mut self.compared {
            Some(compared) if is_there => compared.pass(reference),
            Some(compared) => compared.take(reference.id, chunk).await,
            None => {
                self.last = Some(reference.clone());
                vec![if is_there {
                    Out::Reference(reference)
                } else {
                    Out::Chunk(reference.id, chunk)
                }]
            }
        };
        self.settle(outs).await
    }

    async fn end_comparing(&mut self) -> Result<()> {
        match self.compared.take() {
            Some(compared) => self.settle(compared.finish()?).await,
            None => Ok(()),
        }
    }

    async fn settle(&mut self, outs: Vec<Out>) -> Result<()> {
        for out in outs {
            match out {
                Out::Chunk(id, chunk) => self.store(Some(id), chunk).await?,
                Out::Reference(reference) => {
                    self.refers(&reference)?;
                    self.sealing.push_back(Box::pin(std::future::ready(Ok(reference))));
                    while self.sealing.len() > CHUNKS_IN_WORK {
                        self.take_one().await?;
                    }
                }
                Out::Gathered(place, chunk) => {
                    let reference = self.writer.write_rows(None, chunk, self.layout).await?;
                    self.gathered.push((place, reference));
                }
                Out::GatheredBefore(place, reference) => {
                    self.refers(&reference)?;
                    self.gathered.push((place, reference));
                }
            }
        }
        Ok(())
    }

    /// Notes that the backup refers to a chunk that the repository has.
    fn refers(&self, reference: &ChunkReference) -> Result<()> {
        match self.writer.has(&reference.id) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Internal, "rows of no chunk were found")),
        }
    }

    /// Stores a chunk, which has this name where it has been named.
    async fn store(&mut self, id: Option<ChunkId>, chunk: Chunk) -> Result<()> {
        if !self.seals_aside {
            let reference = self.writer.write_rows_here(id, &chunk, self.layout).await?;
            self.sealing.push_back(Box::pin(std::future::ready(Ok(reference))));
            return self.take_one().await;
        }
        while self.sealing.len() >= CHUNKS_IN_WORK {
            self.take_one().await?;
        }
        self.sealing.push_back(Box::pin(self.writer.write_rows(id, chunk, self.layout)));
        Ok(())
    }

    async fn take_one(&mut self) -> Result<()> {
        if let Some(reference) = self.sealing.next().await {
            self.copied.references.push(reference?);
        }
        Ok(())
    }

    /// Ends the part, when all its chunks are on their way to packs.
    pub(super) async fn finish(mut self) -> Result<CopiedTable> {
        self.end_comparing().await?;
        while !self.sealing.is_empty() {
            self.take_one().await?;
        }
        if !self.gathered.is_empty() {
            let chunks = std::mem::take(&mut self.copied.references);
            self.copied.references = earlier::placed(chunks, self.gathered);
        }
        Ok(self.copied)
    }
}
