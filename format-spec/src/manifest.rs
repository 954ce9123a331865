//! A manifest: the object whose presence makes a backup exist.
//!
//! ```text
//! body = clear length u32 | clear part (CBOR) | sealed part (one frame, type Manifest)
//! ```
//!
//! The clear part tells what `list`, `prune` and a verify without keys need and nothing
//! that names the database; the sealed part holds the rest.

use crate::FormatError;
use crate::cbor;
use crate::frame;
use crate::id::{BackupId, KeyId, SeriesId};
use crate::limits;
use crate::reader::{Reader, limited};
use crate::stream::Stream;
use minicbor::{Decode, Encode};

/// The features that this version of the format knows. A reader refuses an object that
/// needs any other.
pub const FEATURES: &[&str] = &[];

pub(crate) fn check_features(what: &'static str, features: &[String]) -> Result<(), FormatError> {
    match features.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        Some(feature) => Err(FormatError::Feature { what, feature: feature.clone() }),
        None => Ok(()),
    }
}

/// What a manifest says in clear.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClearPart {
    /// The backup.
    #[n(1)]
    pub id: BackupId,
    /// Features that a reader must know.
    #[n(2)]
    pub features: Vec<String>,
    /// What kind of backup it is.
    #[n(3)]
    pub kind: BackupKind,
    /// Which database it is of, hashed; of several databases, which server.
    #[n(4)]
    pub series: SeriesId,
    /// When it was begun, microseconds since 1970 UTC by the writer's clock.
    #[n(5)]
    pub started_at: i64,
    /// When it was done, microseconds since 1970 UTC by the writer's clock.
    #[n(6)]
    pub finished_at: i64,
    /// The consistent point: an LSN of the server; of several databases the least.
    #[n(7)]
    pub lsn: u64,
    /// The program that wrote it, with version.
    #[n(8)]
    pub program: String,
    /// Tags, ascending by key.
    #[n(9)]
    pub tags: Vec<Tag>,
    /// Sums.
    #[n(10)]
    pub totals: Totals,
    /// The data keys that this run sealed with; none when nothing was sealed.
    #[n(11)]
    pub keys: Vec<KeyId>,
    /// All streams; entries refer to them by position.
    #[n(12)]
    pub streams: Vec<Stream>,
}

/// What kind of backup a manifest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum BackupKind {
    /// Entries and rows of one database or several.
    #[n(1)]
    Logical,
    /// Files of a whole server; reserved.
    #[n(2)]
    Physical,
    /// Rows of tables that a change stream lacks: a base for these, and for nothing else.
    #[n(3)]
    Copy,
}

/// A tag that the user gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Tag {
    /// Its key.
    #[n(1)]
    pub key: String,
    /// Its value, may be empty.
    #[n(2)]
    pub value: String,
}

/// Sums over a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Totals {
    /// Rows of all tables.
    #[n(1)]
    pub rows: u64,
    /// Bytes of all rows, plain.
    #[n(2)]
    pub plain_bytes: u64,
    /// Bytes of all chunks that the backup refers to, as stored, each counted once.
    #[n(3)]
    pub stored_bytes: u64,
    /// Bytes of the objects that this backup added to the repository, its own manifest not
    /// counted.
    #[n(4)]
    pub added_bytes: u64,
    /// Chunks referred to, each counted once.
    #[n(5)]
    pub chunks: u64,
    /// Chunks that the repository did not have.
    #[n(6)]
    pub new_chunks: u64,
    /// Catalog entries.
    #[n(7)]
    pub entries: u64,
}

/// What a manifest says under the seal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedPart {
    /// The databases, ascending by name; at least one.
    #[n(1)]
    pub databases: Vec<Database>,
    /// The server's system identifier (`pg_control_system()`); 0 where it may not be read.
    #[n(2)]
    pub system_identifier: u64,
    /// `server_version_num`.
    #[n(3)]
    pub server_version: u32,
    /// The timeline of the server.
    #[n(4)]
    pub timeline: u32,
    /// The host that the server was reached at.
    #[n(5)]
    pub host: String,
    /// What was said at backup time about what is not in the backup.
    #[n(6)]
    pub warnings: Vec<String>,
    /// The options that chose what is in the backup, as typed; empty for all of it.
    #[n(7)]
    pub selection: Vec<String>,
    /// Position of the stream that holds the entries of what belongs to no database: roles,
    /// tablespaces. Absent where they are not in the backup.
    #[n(8)]
    pub globals_stream: Option<u32>,
    /// In a [`BackupKind::Copy`]: the tables, `pg_class.oid` ascending.
    #[n(9)]
    pub copied_tables: Option<Vec<u32>>,
}

impl SealedPart {
    /// Checks what its shape alone does not say.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] without a database, or where they are not in order.
    pub fn validate(&self) -> Result<(), FormatError> {
        if self.databases.is_empty() {
            return Err(FormatError::invalid("manifest", "it names no database"));
        }
        if self.databases.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err(FormatError::invalid("manifest", "its databases are not in order"));
        }
        Ok(())
    }
}

/// One database of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Database {
    /// Its name.
    #[n(1)]
    pub name: String,
    /// The encoding of all its rows, by PostgreSQL's name for it.
    #[n(2)]
    pub encoding: String,
    /// `pg_current_snapshot()` of the snapshot that the backup saw of it.
    #[n(3)]
    pub snapshot: String,
    /// Its consistent point: an LSN of the server.
    #[n(4)]
    pub lsn: u64,
    /// Position of the stream that holds its entries.
    #[n(5)]
    pub entries_stream: u32,
    /// Of a backup from a standby: where replay had been halted when the snapshot was taken,
    /// so that exactly what committed up to there is in it. `snapshot` tells that of a
    /// primary only.
    #[n(6)]
    pub replayed: Option<u64>,
}

/// Writes the body of a manifest from its clear part and its sealed frame.
#[must_use]
pub fn encode_body(clear: &ClearPart, sealed_frame: &[u8]) -> Vec<u8> {
    encode_clear(clear, sealed_frame)
}

/// Reads the body of a manifest: its clear part, checked, and the bytes of its sealed
/// frame, whose header is checked and which is as long as it says.
///
/// # Errors
/// [`FormatError`] when it breaks a rule.
pub fn decode_body(body: &[u8]) -> Result<(ClearPart, &[u8]), FormatError> {
    let (clear, sealed): (ClearPart, _) =
        decode_clear("manifest", body, frame::FrameType::Manifest)?;
    check_features("manifest", &clear.features)?;
    clear.streams.iter().try_for_each(Stream::validate)?;
    Ok((clear, sealed))
}

/// Writes a body of a clear part and a sealed frame.
pub(crate) fn encode_clear<T: Encode<()>>(clear: &T, sealed_frame: &[u8]) -> Vec<u8> {
    let clear = cbor::encode(clear);
    // The writer keeps CLEAR_LEN_MAX; a clear part beyond u32 is refused by every reader.
    let clear_len = u32::try_from(clear.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(4 + clear.len() + sealed_frame.len());
    body.extend_from_slice(&clear_len.to_le_bytes());
    body.extend_from_slice(&clear);
    body.extend_from_slice(sealed_frame);
    body
}

/// Reads a body of a clear part and a sealed frame of a type.
pub(crate) fn decode_clear<'b, T: Decode<'b, ()>>(
    what: &'static str,
    body: &'b [u8],
    frame_type: frame::FrameType,
) -> Result<(T, &'b [u8]), FormatError> {
    let mut reader = Reader::new(what, body);
    let clear_len = limited("clear part length", reader.u32()?.into(), limits::CLEAR_LEN_MAX)?;
    let clear_bytes = reader.take(usize::try_from(clear_len).unwrap_or(usize::MAX))?;
    let sealed = reader.take(reader.remaining())?;
    let clear = cbor::decode(what, clear_bytes)?;
    let header = frame::FrameHeader::decode(sealed)?;
    if header.frame_type != frame_type || header.frame_len() != sealed.len() as u64 {
        return Err(FormatError::invalid(what, "its sealed part is not one frame"));
    }
    Ok((clear, sealed))
}
