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
use crate::frame::FrameType;
use crate::id::ChunkId;
use crate::left_out::LeftOut;
use crate::limits;
use crate::reader::Reader;
use minicbor::{Decode, Encode};

/// Bytes of a chunk reference without the rows that it leaves out.
pub const REFERENCE_LEN: usize = 36;

const ROW_CONTINUES: u8 = 1;
const LEAVES_OUT: u8 = 2;

/// A chunk in its place in a stream: `chunk id (32) | flags u8 | ending u24`, and where rows are left
/// out `length u32 | runs`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChunkReference {
    /// The chunk.
    pub id: ChunkId,
    /// Whether its last row goes on in the next chunk.
    pub row_continues: bool,
    /// What tells writers which row the chunk ends with.
    pub ending: Ending,
    /// Its rows that the stream does without. They are whole rows, and so is all else in the chunk.
    pub left_out: Option<Box<LeftOut>>,
}

impl ChunkReference {
    /// All of a chunk of whole rows.
    #[must_use]
    pub fn whole(id: ChunkId) -> Self {
        Self { id, row_continues: false, ending: Ending::default(), left_out: None }
    }

    /// How many rows of the chunk are left out.
    #[must_use]
    pub fn rows_left_out(&self) -> u64 {
        self.left_out.as_ref().map_or(0, |left_out| left_out.rows())
    }
}

/// 24 bits of a keyed hash of a chunk's last row, by which a writer finds the chunk that ends as
/// one of its own does. 0 says nothing, or that the chunk's rows did not lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Ending(u32);

impl Ending {
    /// The ending of a hash; never 0.
    #[must_use]
    pub fn of(hash: u64) -> Self {
        let [a, b, c, ..] = hash.to_le_bytes();
        Self(u32::from_le_bytes([a, b, c, 0]).max(1))
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The three bytes as they are written.
    #[must_use]
    pub fn encode(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }

    /// Reads three bytes.
    #[must_use]
    pub fn decode([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([a, b, c, 0]))
    }
}

/// Writes references one after another.
#[must_use]
pub fn encode_references(references: &[ChunkReference]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(references.len() * REFERENCE_LEN);
    for reference in references {
        let left_out = reference.left_out.as_ref().map(|left_out| left_out.encode());
        let flags = if reference.row_continues { ROW_CONTINUES } else { 0 }
            | if left_out.is_some() { LEAVES_OUT } else { 0 };
        bytes.extend_from_slice(&reference.id.0);
        bytes.push(flags);
        bytes.extend_from_slice(&reference.ending.encode());
        if let Some(runs) = left_out {
            bytes.extend_from_slice(&u32::try_from(runs.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(runs);
        }
    }
    bytes
}

/// Reads references.
///
/// # Errors
/// [`FormatError`] when they break a rule.
pub fn decode_references(bytes: &[u8]) -> Result<Vec<ChunkReference>, FormatError> {
    let mut reader = Reader::new("chunk reference", bytes);
    let mut references = Vec::new();
    while reader.remaining() > 0 {
        references.push(decode_reference(&mut reader)?);
    }
    Ok(references)
}

fn decode_reference(reader: &mut Reader<'_>) -> Result<ChunkReference, FormatError> {
    let id = ChunkId(reader.array()?);
    let flags = reader.u8()?;
    if flags & !(ROW_CONTINUES | LEAVES_OUT) != 0 {
        return Err(FormatError::invalid("chunk reference", "unknown flag"));
    }
    let ending = Ending::decode(reader.array()?);
    let left_out = match flags & LEAVES_OUT {
        0 => None,
        _ => {
            let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
            Some(Box::new(LeftOut::decode(reader.take(len)?)?))
        }
    };
    Ok(ChunkReference { id, row_continues: flags & ROW_CONTINUES != 0, ending, left_out })
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
        let inline = decode_references(&self.inline)?;
        self.check(&inline)?;
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

    /// Checks references that follow each other up to the stream's end.
    ///
    /// # Errors
    /// [`FormatError`] when they break a rule.
    pub fn check(&self, references: &[ChunkReference]) -> Result<(), FormatError> {
        let has_rows = FrameType::from_code(self.frame_type)? == FrameType::Rows;
        let mut goes_on = false;
        for reference in references {
            let begins_within = std::mem::replace(&mut goes_on, reference.row_continues);
            let is_whole = !begins_within && !goes_on;
            if reference.left_out.is_some() && !(has_rows && is_whole) {
                return Err(FormatError::invalid("stream", "what it leaves out are no whole rows"));
            }
        }
        if goes_on {
            return Err(FormatError::invalid("stream", "its last row has no end"));
        }
        Ok(())
    }
}
