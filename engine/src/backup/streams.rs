//! What was copied, as streams of the manifest; a database's entries, with what was learned
//! of their rows, after its rows.

use super::TableReport;
use super::rows::CopiedTable;
use crate::catalog::Catalog;
use crate::repository::ChunkWriter;
use crate::seal::Cutter;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::cbor;
use pgkeep_format::entry::Entry;
use pgkeep_format::frame::FrameType;
use pgkeep_format::stream::{ChunkReference, Stream};

/// The streams of a backup so far.
pub(super) struct Streams<'a> {
    writer: &'a ChunkWriter,
    list: Vec<Stream>,
}

impl<'a> Streams<'a> {
    pub(super) fn new(writer: &'a ChunkWriter) -> Self {
        Self { writer, list: Vec::new() }
    }

    pub(super) fn into_list(self) -> Vec<Stream> {
        self.list
    }

    /// Makes a stream of each table's rows; notes in the entries where they are.
    pub(super) async fn store_rows(
        &mut self,
        catalog: &mut Catalog,
        copied: Vec<CopiedTable>,
    ) -> Result<Vec<TableReport>> {
        let mut tables = Vec::with_capacity(copied.len());
        for (table, copied) in catalog.tables.iter().zip(copied) {
            let data = catalog
                .entries
                .get_mut(table.entry as usize)
                .and_then(|entry| entry.data.as_mut())
                .ok_or_else(|| {
                    Error::new(ErrorKind::Internal, "table has no entry for its rows")
                })?;
            data.stream = self.add(FrameType::Rows, &copied.references).await?;
            (data.rows, data.bytes) = (copied.rows, copied.bytes);
            tables.push(TableReport {
                database: catalog.database.name.clone(),
                schema: table.schema.clone(),
                name: table.name.clone(),
                rows: copied.rows,
                bytes: copied.bytes,
            });
        }
        Ok(tables)
    }

    /// Makes a stream of entries and returns its position.
    pub(super) async fn store_entries(&mut self, entries: &[Entry]) -> Result<u32> {
        let mut cutter = Cutter::new(self.writer.secrets());
        let mut chunks = Vec::new();
        for entry in entries {
            cutter.push(&cbor::encode(entry), |chunk| chunks.push(chunk));
        }
        chunks.extend(cutter.finish());
        let mut references = Vec::with_capacity(chunks.len());
        for mut chunk in chunks {
            // Entries are not rows: nobody counts them as such.
            chunk.rows = 0;
            references.push(self.writer.write(FrameType::Entries, chunk).await?);
        }
        self.add(FrameType::Entries, &references).await
    }

    async fn add(&mut self, frame_type: FrameType, references: &[ChunkReference]) -> Result<u32> {
        let position = u32::try_from(self.list.len())
            .map_err(|_| Error::new(ErrorKind::Internal, "backup has too many streams"))?;
        self.list.push(self.writer.stream(frame_type, references).await?);
        Ok(position)
    }
}
