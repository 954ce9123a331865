//! An index: the footers of many packs in one signed object, so that a backup learns what
//! the repository has without asking every pack. A cache: it can be made again from the
//! packs.
//!
//! ```text
//! body = packs × ( pack id (16) | pack length u64 | frames u32 | 0 u32 | footer entries )
//! ```

use crate::FormatError;
use crate::id::PackId;
use crate::limits;
use crate::pack::{self, FooterEntry};
use crate::reader::{Reader, limited};

/// What an index says of one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub pack: PackId,
    /// Bytes of the pack as a whole; a pack of another length is not the one indexed.
    pub len: u64,
    /// Its frames.
    pub entries: Vec<FooterEntry>,
}

/// Writes the body of an index.
#[must_use]
pub fn encode(packs: &[IndexedPack]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for pack in packs {
        // A pack never holds more frames than PACK_FRAMES_MAX.
        let frames = u32::try_from(pack.entries.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&pack.pack.0);
        bytes.extend_from_slice(&pack.len.to_le_bytes());
        bytes.extend_from_slice(&frames.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&pack::encode_footer(&pack.entries));
    }
    bytes
}

/// Reads the body of an index.
///
/// # Errors
/// [`FormatError`] when it breaks a rule.
pub fn decode(bytes: &[u8]) -> Result<Vec<IndexedPack>, FormatError> {
    let mut reader = Reader::new("index", bytes);
    let mut packs = Vec::new();
    while reader.remaining() > 0 {
        let pack = PackId(reader.array()?);
        let len = limited("pack length", reader.u64()?, limits::PACK_LEN_MAX)?;
        let frames = limited("frames in a pack", reader.u32()?.into(), limits::PACK_FRAMES_MAX)?;
        reader.reserved(4)?;
        // PACK_FRAMES_MAX keeps this product far below any machine's usize.
        let footer_len =
            usize::try_from(frames).unwrap_or(usize::MAX).saturating_mul(pack::FOOTER_ENTRY_LEN);
        let entries = pack::decode_footer(reader.take(footer_len)?)?;
        packs.push(IndexedPack { pack, len, entries });
    }
    Ok(packs)
}
