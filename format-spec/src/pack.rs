//! A pack: an object of many frames.
//!
//! ```text
//! pack = object header | frames … | footer frame | trailer (32 bytes)
//! ```
//!
//! The footer says where each frame lies, so two ranged reads tell what a pack holds; a
//! reader that has lost the footer can walk the frames, each says how long it is.

use crate::FormatError;
use crate::frame::{self, FrameType};
use crate::id::ChunkId;
use crate::limits;
use crate::object;
use crate::reader::{Reader, limited};

/// The last four bytes of a pack.
pub const TRAILER_MAGIC: &[u8; 4] = b"KCAP";
/// Bytes of a trailer.
pub const TRAILER_LEN: usize = 32;
/// Bytes of a footer's entry.
pub const FOOTER_ENTRY_LEN: usize = 48;

/// Where one frame of a pack lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FooterEntry {
    /// The chunk's name.
    pub chunk: ChunkId,
    /// What the frame holds.
    pub frame_type: FrameType,
    /// Bytes of the frame's payload.
    pub stored_len: u32,
    /// Where the frame begins, in bytes from the start of the pack.
    pub offset: u64,
}

impl FooterEntry {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        frame::HEADER_LEN as u64 + u64::from(self.stored_len)
    }
}

/// Writes the plain bytes of a footer.
#[must_use]
pub fn encode_footer(entries: &[FooterEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * FOOTER_ENTRY_LEN);
    for entry in entries {
        bytes.extend_from_slice(&entry.chunk.0);
        bytes.extend_from_slice(&[entry.frame_type.code(), 0, 0, 0]);
        bytes.extend_from_slice(&entry.stored_len.to_le_bytes());
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
    }
    bytes
}

/// Reads the plain bytes of a footer: frames in order, back to back, from the end of the
/// object header on.
///
/// # Errors
/// [`FormatError`] when an entry breaks a rule or leaves a gap.
pub fn decode_footer(bytes: &[u8]) -> Result<Vec<FooterEntry>, FormatError> {
    if !bytes.len().is_multiple_of(FOOTER_ENTRY_LEN) {
        return Err(FormatError::invalid("pack footer", "not a whole number of entries"));
    }
    let count = (bytes.len() / FOOTER_ENTRY_LEN) as u64;
    limited("frames in a pack", count, limits::PACK_FRAMES_MAX)?;
    let mut expected = object::HEADER_LEN as u64;
    let mut entries = Vec::with_capacity(bytes.len() / FOOTER_ENTRY_LEN);
    for bytes in bytes.chunks_exact(FOOTER_ENTRY_LEN) {
        let mut reader = Reader::new("pack footer entry", bytes);
        let chunk = ChunkId(reader.array()?);
        let frame_type = FrameType::from_code(reader.u8()?)?;
        reader.reserved(3)?;
        let stored_len = reader.u32()?;
        limited("frame payload length", stored_len.into(), limits::STORED_LEN_MAX)?;
        let entry = FooterEntry { chunk, frame_type, stored_len, offset: reader.u64()? };
        if entry.offset != expected {
            return Err(FormatError::invalid("pack footer", "frames do not lie back to back"));
        }
        expected += entry.frame_len();
        entries.push(entry);
    }
    Ok(entries)
}

/// The last bytes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the footer's frame begins, in bytes from the start of the pack.
    pub footer_offset: u64,
    /// Bytes of the footer's frame, header and payload.
    pub footer_len: u64,
    /// Number of frames, the footer's not counted.
    pub frames: u32,
}

impl Trailer {
    /// Writes the trailer.
    #[must_use]
    pub fn encode(&self) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        bytes[0..8].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.footer_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.frames.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
        bytes[28..32].copy_from_slice(TRAILER_MAGIC);
        bytes
    }

    /// Reads the trailer of a pack of `pack_len` bytes from its last [`TRAILER_LEN`].
    ///
    /// # Errors
    /// [`FormatError`] when it is not a trailer, or does not fit a pack of that length.
    pub fn decode(bytes: &[u8], pack_len: u64) -> Result<Self, FormatError> {
        let mut reader = Reader::new("pack trailer", bytes);
        let footer_offset = reader.u64()?;
        let footer_len = reader.u64()?;
        let frames = reader.u32()?;
        reader.reserved(4)?;
        reader.checksum_since(0)?;
        reader.magic(TRAILER_MAGIC)?;
        reader.finish()?;
        limited("pack length", pack_len, limits::PACK_LEN_MAX)?;
        limited("frames in a pack", frames.into(), limits::PACK_FRAMES_MAX)?;
        let end = footer_offset.checked_add(footer_len);
        if end != pack_len.checked_sub(TRAILER_LEN as u64) {
            return Err(FormatError::invalid("pack trailer", "the footer does not end before it"));
        }
        if footer_len < (frame::HEADER_LEN + frame::INNER_LEN) as u64
            || footer_len > frame::HEADER_LEN as u64 + limits::STORED_LEN_MAX
            || footer_offset < object::HEADER_LEN as u64
        {
            return Err(FormatError::invalid("pack trailer", "the footer has no valid place"));
        }
        Ok(Self { footer_offset, footer_len, frames })
    }
}
