//! What was copied, as streams of the manifest; the entries, with what was learned of
//! their rows, as the last of them.

use super::TableReport;
use super::chunks::ChunkWriter;
use super::rows::CopiedTable;
use crate::catalog::Catalog;
use crate::seal::{Chunk, Cutter};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::cbor;
use pgkeep_format::frame::FrameType;
use pgkeep_format::limits::INLINE_CHUNKS_MAX;
use pgkeep_format::stream::{ChunkReference, Stream, encode_references};

/// References of one list at the least and at the most. Between, a list ends where an id
/// says so, about every thousand, so that one changed chunk changes one list.
const LIST_MIN: usize = 64;
const LIST_MAX: usize = 8192;
const LIST_CUT_MASK: u16 = 0x3ff;

/// All streams of a backup.
pub(super) struct StoredStreams {
    pub(super) streams: Vec<Stream>,
    pub(super) entries_stream: u32,
    pub(super) tables: Vec<TableReport>,
}

/// Writes lists and entries; notes in the entries where their rows are.
pub(super) async fn store(
    writer: &ChunkWriter,
    catalog: &mut Catalog,
    copied: Vec<CopiedTable>,
) -> Result<StoredStreams> {
    let mut streams = Vec::with_capacity(copied.len() + 1);
    let mut tables = Vec::with_capacity(copied.len());
    for (table, copied) in catalog.tables.iter().zip(copied) {
        let data = catalog
            .entries
            .get_mut(table.entry as usize)
            .and_then(|entry| entry.data.as_mut())
            .ok_or_else(|| Error::new(ErrorKind::Internal, "table has no entry for its rows"))?;
        data.stream = number(streams.len())?;
        (data.rows, data.bytes) = (copied.rows, copied.bytes);
        streams.push(stream(writer, FrameType::Rows, &copied.references).await?);
        tables.push(TableReport {
            schema: table.schema.clone(),
            name: table.name.clone(),
            rows: copied.rows,
            bytes: copied.bytes,
        });
    }
    let entries_stream = number(streams.len())?;
    let mut cutter = Cutter::new(writer.secrets());
    let mut chunks = Vec::new();
    for entry in &catalog.entries {
        cutter.push(&cbor::encode(entry), true, |chunk| chunks.push(chunk));
    }
    chunks.extend(cutter.finish());
    let mut references = Vec::with_capacity(chunks.len());
    for mut chunk in chunks {
        // Entries are not rows: nobody counts them as such.
        chunk.rows = 0;
        references.push(writer.write(FrameType::Entries, chunk).await?);
    }
    streams.push(stream(writer, FrameType::Entries, &references).await?);
    Ok(StoredStreams { streams, entries_stream, tables })
}

async fn stream(
    writer: &ChunkWriter,
    frame_type: FrameType,
    references: &[ChunkReference],
) -> Result<Stream> {
    let mut stream = Stream {
        frame_type: frame_type.code(),
        chunks: references.len() as u64,
        ..Stream::default()
    };
    if references.len() <= INLINE_CHUNKS_MAX {
        stream.inline = encode_references(references);
        return Ok(stream);
    }
    for list in lists(references) {
        let chunk = Chunk { plain: encode_references(list), rows: 0, row_continues: false };
        stream.lists.push(writer.write(FrameType::List, chunk).await?.id);
    }
    Ok(stream)
}

fn lists(references: &[ChunkReference]) -> Vec<&[ChunkReference]> {
    let mut lists = Vec::new();
    let mut start = 0;
    for (at, reference) in references.iter().enumerate() {
        let len = at + 1 - start;
        let mark = u16::from_le_bytes([reference.id.0[0], reference.id.0[1]]);
        if len >= LIST_MAX || (len >= LIST_MIN && mark & LIST_CUT_MASK == 0) {
            lists.push(&references[start..=at]);
            start = at + 1;
        }
    }
    if start < references.len() {
        lists.push(&references[start..]);
    }
    lists
}

fn number(position: usize) -> Result<u32> {
    u32::try_from(position)
        .map_err(|_| Error::new(ErrorKind::Internal, "backup has too many streams"))
}
