//! Makes streams of chunks that are stored: few are named in the stream itself, many in lists.

use super::ChunkWriter;
use crate::seal::Chunk;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::FrameType;
use pgkeep_format::limits::INLINE_CHUNKS_MAX;
use pgkeep_format::stream::{ChunkReference, Stream, encode_references};

/// References of one list at the least and at the most. Between, a list ends where an id
/// says so, about every thousand, so that one changed chunk changes one list.
const LIST_MIN: usize = 64;
const LIST_MAX: usize = 8192;
const LIST_CUT_MASK: u16 = 0x3ff;
/// A list ends, too, when the runs of rows left out have so many bytes.
const RUNS_LEN_MAX: usize = 1 << 20;

impl ChunkWriter {
    /// The stream of these chunks; stores its lists.
    pub(crate) async fn stream(
        &self,
        frame_type: FrameType,
        references: &[ChunkReference],
    ) -> Result<Stream> {
        let mut stream = Stream {
            frame_type: frame_type.code(),
            chunks: references.len() as u64,
            ..Stream::default()
        };
        // What no reader would take must not become a backup.
        stream.check(references).map_err(|error| {
            Error::new(ErrorKind::Internal, "stream is not valid").because(error)
        })?;
        let leaves_out = references.iter().any(|reference| reference.left_out.is_some());
        if references.len() <= INLINE_CHUNKS_MAX && !leaves_out {
            stream.inline = encode_references(references);
            return Ok(stream);
        }
        for list in lists(references) {
            let chunk = Chunk { plain: encode_references(list), ..Chunk::default() };
            stream.lists.push(self.write(FrameType::List, chunk).await?.id);
        }
        Ok(stream)
    }
}

fn lists(references: &[ChunkReference]) -> Vec<&[ChunkReference]> {
    let mut lists = Vec::new();
    let (mut start, mut runs_len) = (0, 0);
    for (at, reference) in references.iter().enumerate() {
        let len = at + 1 - start;
        runs_len += reference.left_out.as_ref().map_or(0, |left_out| left_out.encode().len());
        let mark = u16::from_le_bytes([reference.id.0[0], reference.id.0[1]]);
        let is_full = len >= LIST_MAX || runs_len >= RUNS_LEN_MAX;
        if is_full || (len >= LIST_MIN && mark & LIST_CUT_MASK == 0) {
            lists.push(&references[start..=at]);
            (start, runs_len) = (at + 1, 0);
        }
    }
    if start < references.len() {
        lists.push(&references[start..]);
    }
    lists
}
