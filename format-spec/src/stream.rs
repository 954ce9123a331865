//! Streams: the rows of a table, the entries of a backup, as an ordered run of chunks.
//!
//! A stream names its chunks in the manifest where they are few, and otherwise by *lists*:
//! clear frames that hold the ids in order. A list is a chunk itself, so the unchanged
//! table of tomorrow's backup costs one id.
//!
//! A chunk holds whole rows; only a row that is longer than a chunk may be goes on in the
//! next one, and then the chunk it goes on from is marked, in its inner header and in its
//! [`ChunkReference`].

use crate::FormatError;
use crate::id::ChunkId;
use crate::limits;
use crate::reader::Reader;
use minicbor::{Decode, Encode};

/// Bytes of one chunk reference.
pub const REFERENCE_LEN: usize = 36;

/// A chunk in its place in a stream: `chunk id (32) | flags u8 | 0 (3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkReference {
    /// The chunk.
    pub id: ChunkId,
    /// Whether its last row goes on in the next chunk.
    pub row_continues: bool,
}

/// Writes references one after another.
#[must_use]
pub fn encode_references(references: &[ChunkReference]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(references.len() * REFERENCE_LEN);
    for reference in references {
        bytes.extend_from_slice(&reference.id.0);
        bytes.extend_from_slice(&[u8::from(reference.row_continues), 0, 0, 0]);
    }
    bytes
}

/// Reads references.
///
/// # Errors
/// [`FormatError`] when they break a rule.
pub fn decode_references(bytes: &[u8]) -> Result<Vec<ChunkReference>, FormatError> {
    if !bytes.len().is_multiple_of(REFERENCE_LEN) {
        return Err(FormatError::invalid("chunk list", "not a whole number of references"));
    }
    bytes
        .chunks_exact(REFERENCE_LEN)
        .map(|bytes| {
            let mut reader = Reader::new("chunk reference", bytes);
            let id = ChunkId(reader.array()?);
            let flags = reader.u8()?;
            reader.reserved(3)?;
            if flags > 1 {
                return Err(FormatError::invalid("chunk reference", "unknown flag"));
            }
            Ok(ChunkReference { id, row_continues: flags == 1 })
        })
        .collect()
}

/// A stream as the manifest's clear part holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stream {
    /// The code of the chunks' frame type.
    #[n(1)]
    pub frame_type: u8,
    /// Number of chunks.
    #[n(2)]
    pub chunks: u64,
    /// The references themselves, where there are at most
    /// [`INLINE_CHUNKS_MAX`](limits::INLINE_CHUNKS_MAX); else empty.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub inline: Vec<u8>,
    /// The lists that hold the references, in order; empty where they are inline.
    #[n(4)]
    pub lists: Vec<ChunkId>,
}

impl Stream {
    /// Checks what can be checked without reading lists.
    ///
    /// # Errors
    /// [`FormatError`] when it breaks a rule.
    pub fn validate(&self) -> Result<(), FormatError> {
        crate::frame::FrameType::from_code(self.frame_type)?;
        let inline = decode_references(&self.inline)?;
        if inline.last().is_some_and(|last| last.row_continues) {
            return Err(FormatError::invalid("stream", "its last row has no end"));
        }
        let valid = if self.lists.is_empty() {
            inline.len() <= limits::INLINE_CHUNKS_MAX && inline.len() as u64 == self.chunks
        } else {
            inline.is_empty()
        };
        if !valid {
            return Err(FormatError::invalid("stream", "its count of chunks is wrong"));
        }
        Ok(())
    }
}
