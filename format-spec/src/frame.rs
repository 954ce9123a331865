//! One sealed chunk with its header.
//!
//! ```text
//! frame   = header (96 bytes) | payload (stored_len bytes)
//! payload = AEAD(inner header (8 bytes) | body) | tag      where the suite seals
//!         = inner header | body                            where it does not
//! ```
//!
//! The header is the AEAD's associated data (its first [`ASSOCIATED_LEN`] bytes), so none
//! of it can be changed; its two CRC32 find rot without any key. What tells about the
//! content (codec, plain length) is inside the seal.

use crate::FormatError;
use crate::id::{ChunkId, KeyId};
use crate::limits;
use crate::reader::{Reader, limited};

/// The first four bytes of a frame.
pub const MAGIC: &[u8; 4] = b"PGKF";
/// The newest version of the frame header.
pub const VERSION: u8 = 1;
/// Bytes of a frame header.
pub const HEADER_LEN: usize = 96;
/// Bytes of the header, from its start, that the seal covers.
pub const ASSOCIATED_LEN: usize = 88;
/// Bytes of the header inside the seal.
pub const INNER_LEN: usize = 8;
/// Bytes of the tag that both sealing suites append.
pub const TAG_LEN: usize = 16;
/// What a frame's key is derived with: HKDF-SHA256 of the data key, no salt, with this,
/// the suite, the frame type and the chunk id as info.
pub const KEY_DOMAIN: &[u8] = b"pgkeep frame key v1\0";

/// The least code of an ancillary frame type: one that a reader which does not know it
/// passes over. All types below must be known.
pub const ANCILLARY_MIN: u8 = 128;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameType {
    /// Rows of a table, or of large objects.
    Rows,
    /// Catalog entries.
    Entries,
    /// The ids of a stream's chunks, in clear.
    List,
    /// The sealed part of a manifest or segment.
    Manifest,
    /// The footer of a pack, in clear.
    Footer,
    /// Changes of the change stream.
    Changes,
    /// Pages of a relation's file; reserved.
    Pages,
    /// A type of a later version, by its code from [`ANCILLARY_MIN`] on: kept in footers
    /// and indexes, and never read.
    Ancillary(u8),
}

impl FrameType {
    /// The code that stands for the type in a frame header, a footer or a stream.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Rows => 1,
            Self::Entries => 2,
            Self::List => 3,
            Self::Manifest => 4,
            Self::Footer => 5,
            Self::Changes => 6,
            Self::Pages => 7,
            Self::Ancillary(code) => code,
        }
    }

    /// The type of this code.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the code is not known and not ancillary.
    pub fn from_code(code: u8) -> Result<Self, FormatError> {
        Ok(match code {
            1 => Self::Rows,
            2 => Self::Entries,
            3 => Self::List,
            4 => Self::Manifest,
            5 => Self::Footer,
            6 => Self::Changes,
            7 => Self::Pages,
            ANCILLARY_MIN.. => Self::Ancillary(code),
            _ => {
                return Err(FormatError::invalid("frame type", format!("{code} is not known")));
            }
        })
    }

    /// Whether frames of this type are never sealed, so that no key is needed to count,
    /// deduplicate and prune.
    #[must_use]
    pub fn is_clear(self) -> bool {
        matches!(self, Self::List | Self::Footer)
    }
}

/// How a payload is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// Not at all.
    None = 0,
    /// AES-256-GCM.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305 = 2,
}

impl Suite {
    /// The suite of this code.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the code is not known.
    pub fn from_code(code: u8) -> Result<Self, FormatError> {
        Ok(match code {
            0 => Self::None,
            1 => Self::Aes256Gcm,
            2 => Self::ChaCha20Poly1305,
            _ => return Err(FormatError::invalid("suite", format!("{code} is not known"))),
        })
    }

    /// Bytes that the suite appends to what it seals.
    #[must_use]
    pub fn tag_len(self) -> usize {
        if self == Self::None { 0 } else { TAG_LEN }
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    Raw = 0,
    /// One zstd frame, its content size equal to the plain length.
    Zstd = 1,
    /// The chunk's columns one after another ([`columns`](crate::columns)), then zstd.
    ColumnsZstd = 2,
    /// The columns of its binary tuples ([`tuple_columns`](crate::tuple_columns)), then zstd.
    TupleColumnsZstd = 3,
}

impl Codec {
    /// The codec of this code.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the code is not known.
    pub fn from_code(code: u8) -> Result<Self, FormatError> {
        Ok(match code {
            0 => Self::Raw,
            1 => Self::Zstd,
            2 => Self::ColumnsZstd,
            3 => Self::TupleColumnsZstd,
            _ => return Err(FormatError::invalid("codec", format!("{code} is not known"))),
        })
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame holds.
    pub frame_type: FrameType,
    /// How its payload is sealed.
    pub suite: Suite,
    /// Bytes of the payload.
    pub stored_len: u32,
    /// Which data key it is sealed under; zero where the suite is [`Suite::None`].
    pub key: KeyId,
    /// The chunk's name; zero for footers.
    pub chunk: ChunkId,
    /// The AEAD's nonce, random; zero where the suite is [`Suite::None`].
    pub nonce: [u8; 12],
    /// CRC32 of the payload.
    pub payload_checksum: u32,
}

impl FrameHeader {
    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.frame_type.code();
        bytes[6] = self.suite as u8;
        bytes[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.key.0);
        bytes[32..64].copy_from_slice(&self.chunk.0);
        bytes[64..76].copy_from_slice(&self.nonce);
        bytes[88..92].copy_from_slice(&self.payload_checksum.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..92]);
        bytes[92..96].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header from the first [`HEADER_LEN`] of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`]; also when a clear type claims a seal.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new("frame header", bytes);
        reader.magic(MAGIC)?;
        let version = reader.u8()?;
        if version == 0 || version > VERSION {
            return Err(FormatError::Version {
                what: "frame",
                found: version.into(),
                supported: VERSION.into(),
            });
        }
        let (frame_type, suite) = (reader.u8()?, reader.u8()?);
        reader.reserved(1)?;
        let stored_len = reader.u32()?;
        reader.reserved(4)?;
        let key = KeyId(reader.array()?);
        let chunk = ChunkId(reader.array()?);
        let nonce = reader.array()?;
        reader.reserved(12)?;
        let payload_checksum = reader.u32()?;
        reader.checksum_since(0)?;
        let header = Self {
            frame_type: FrameType::from_code(frame_type)?,
            suite: Suite::from_code(suite)?,
            stored_len,
            key,
            chunk,
            nonce,
            payload_checksum,
        };
        header.validate()?;
        Ok(header)
    }

    fn validate(&self) -> Result<(), FormatError> {
        limited("frame payload length", self.stored_len.into(), limits::STORED_LEN_MAX)?;
        if (self.stored_len as usize) < INNER_LEN + self.suite.tag_len() {
            return Err(FormatError::invalid("frame payload length", "shorter than its frame"));
        }
        let unsealed = self.suite == Suite::None;
        if self.frame_type.is_clear() && !unsealed {
            return Err(FormatError::invalid("frame header", "a clear type is sealed"));
        }
        if self.frame_type == FrameType::Footer && self.chunk != ChunkId::default() {
            return Err(FormatError::invalid("frame header", "a footer names a chunk"));
        }
        if !unsealed && self.key == KeyId::default() {
            return Err(FormatError::invalid("frame header", "a sealed frame names no key"));
        }
        if unsealed && (self.key != KeyId::default() || self.nonce != [0; 12]) {
            return Err(FormatError::invalid("frame header", "an unsealed frame names a key"));
        }
        Ok(())
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.stored_len)
    }

    /// The bytes that the seal covers besides the payload.
    #[must_use]
    pub fn associated_data(&self) -> [u8; ASSOCIATED_LEN] {
        let mut data = [0; ASSOCIATED_LEN];
        data.copy_from_slice(&self.encode()[..ASSOCIATED_LEN]);
        data
    }

    /// Compares a payload with the header's length and checksum.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] or [`FormatError::Checksum`].
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), FormatError> {
        if payload.len() != self.stored_len as usize {
            return Err(FormatError::Truncated {
                what: "frame payload",
                needed: self.stored_len.into(),
                found: payload.len() as u64,
            });
        }
        let computed = crc32fast::hash(payload);
        if computed != self.payload_checksum {
            let found = self.payload_checksum;
            return Err(FormatError::Checksum { what: "frame payload", found, computed });
        }
        Ok(())
    }
}

/// The header inside the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerHeader {
    /// How the body is compressed.
    pub codec: Codec,
    /// Whether the chunk's last row goes on in the stream's next chunk.
    pub row_continues: bool,
    /// Bytes of the body once decompressed.
    pub plain_len: u32,
}

const ROW_CONTINUES: u8 = 1;

impl InnerHeader {
    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; INNER_LEN] {
        let mut bytes = [0; INNER_LEN];
        bytes[0] = self.codec as u8;
        bytes[1] = self.flags();
        bytes[4..8].copy_from_slice(&self.plain_len.to_le_bytes());
        bytes
    }

    /// The flags byte; part of what a chunk id is computed from.
    #[must_use]
    pub fn flags(&self) -> u8 {
        Self::flags_of(self.row_continues)
    }

    /// The flags byte of a chunk.
    #[must_use]
    pub const fn flags_of(row_continues: bool) -> u8 {
        if row_continues { ROW_CONTINUES } else { 0 }
    }

    /// Reads a header and returns the body that follows it.
    ///
    /// # Errors
    /// [`FormatError`]; a plain length above the limit is refused here, before anything
    /// is decompressed.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let mut reader = Reader::new("inner frame header", bytes);
        let codec = Codec::from_code(reader.u8()?)?;
        let flags = reader.u8()?;
        if flags & !ROW_CONTINUES != 0 {
            return Err(FormatError::invalid("inner frame header", "unknown flag"));
        }
        reader.reserved(2)?;
        let plain_len = reader.u32()?;
        limited("plain length", plain_len.into(), limits::PLAIN_LEN_MAX)?;
        let body = reader.take(reader.remaining())?;
        if codec == Codec::Raw && body.len() != plain_len as usize {
            return Err(FormatError::invalid("plain length", "not that of the raw body"));
        }
        Ok((Self { codec, row_continues: flags & ROW_CONTINUES != 0, plain_len }, body))
    }
}
