//! A repository with its backups in one file, written in one pass with no seek.
//!
//! ```text
//! file   = object header (type SingleFile) | records … | end record | trailer (32 bytes)
//! record = record header (32 bytes) | object name | object bytes
//! ```
//!
//! Records hold the objects of a repository, byte for byte, under their names. The end
//! record is a record with an empty name; its bytes are a directory of all records before
//! it. A file without end record and trailer is truncated.

use crate::FormatError;
use crate::cbor;
use crate::limits;
use crate::name;
use crate::reader::{Reader, limited};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// The first four bytes of a record.
pub const RECORD_MAGIC: &[u8; 4] = b"PGKR";
/// Bytes of a record header.
pub const RECORD_HEADER_LEN: usize = 32;
/// The last four bytes of a single file.
pub const TRAILER_MAGIC: &[u8; 4] = b"DNEK";
/// Bytes of the trailer.
pub const TRAILER_LEN: usize = 32;

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the object's name, which follows; 0 for the end record.
    pub name_len: u16,
    /// Bytes of the object, which follow the name.
    pub object_len: u64,
    /// CRC32 of the name and the object.
    pub checksum: u32,
}

impl RecordHeader {
    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[0..4].copy_from_slice(RECORD_MAGIC);
        bytes[4..6].copy_from_slice(&self.name_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.object_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..28]);
        bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header from the first [`RECORD_HEADER_LEN`] of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] when it breaks a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new("record header", bytes);
        reader.magic(RECORD_MAGIC)?;
        let name_len = reader.u16()?;
        reader.reserved(2)?;
        let object_len = reader.u64()?;
        let checksum = reader.u32()?;
        reader.reserved(8)?;
        reader.checksum_since(0)?;
        limited("object name length", name_len.into(), limits::NAME_LEN_MAX as u64)?;
        limited("object length", object_len, limits::PACK_LEN_MAX)?;
        Ok(Self { name_len, object_len, checksum })
    }
}

/// Where one object lies in a single file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DirectoryEntry {
    /// The object's name.
    #[n(1)]
    pub name: String,
    /// Where the object's bytes begin, in bytes from the start of the file.
    #[n(2)]
    pub offset: u64,
    /// Bytes of the object.
    #[n(3)]
    pub len: u64,
}

/// What the end record holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Directory {
    /// All objects, in the order of the file.
    #[n(1)]
    pub objects: Vec<DirectoryEntry>,
}

impl Directory {
    /// Reads the directory of a file whose end record begins at `end_offset`.
    ///
    /// # Errors
    /// [`FormatError`] when an object has no valid name, or that of another one, or lies
    /// outside the records.
    pub fn decode(bytes: &[u8], end_offset: u64) -> Result<Self, FormatError> {
        let directory: Self = cbor::decode("directory", bytes)?;
        limited(
            "objects in a file",
            directory.objects.len() as u64,
            limits::FILE_OBJECTS_MAX as u64,
        )?;
        let mut names = BTreeSet::new();
        for object in &directory.objects {
            // A name of a later version is passed over by whoever looks for objects.
            if !name::is_well_formed(&object.name) {
                return Err(FormatError::invalid("directory", "an object has no valid name"));
            }
            if !names.insert(&object.name) {
                return Err(FormatError::invalid("directory", "an object is there twice"));
            }
            if object.offset.checked_add(object.len).is_none_or(|end| end > end_offset) {
                return Err(FormatError::invalid("directory", "an object lies outside the file"));
            }
        }
        Ok(directory)
    }
}

/// The last bytes of a single file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the end record begins, in bytes from the start of the file.
    pub end_offset: u64,
    /// Bytes of the directory in the end record.
    pub directory_len: u64,
}

impl Trailer {
    /// Writes the trailer.
    #[must_use]
    pub fn encode(&self) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        bytes[0..8].copy_from_slice(&self.end_offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.directory_len.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
        bytes[28..32].copy_from_slice(TRAILER_MAGIC);
        bytes
    }

    /// Reads the trailer of a file of `file_len` bytes from its last [`TRAILER_LEN`].
    ///
    /// # Errors
    /// [`FormatError`] when it is not a trailer, or does not fit a file of that length.
    pub fn decode(bytes: &[u8], file_len: u64) -> Result<Self, FormatError> {
        let mut reader = Reader::new("single file trailer", bytes);
        let end_offset = reader.u64()?;
        let directory_len = reader.u64()?;
        reader.reserved(8)?;
        reader.checksum_since(0)?;
        reader.magic(TRAILER_MAGIC)?;
        reader.finish()?;
        limited("directory length", directory_len, limits::BODY_LEN_MAX)?;
        let after_directory = end_offset
            .checked_add((RECORD_HEADER_LEN + TRAILER_LEN) as u64)
            .and_then(|offset| offset.checked_add(directory_len));
        if after_directory != Some(file_len) {
            return Err(FormatError::invalid("single file trailer", "it does not fit the file"));
        }
        Ok(Self { end_offset, directory_len })
    }
}
