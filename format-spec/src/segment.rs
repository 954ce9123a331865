//! A segment of a change stream: whole transactions in the order of their commits, from one
//! position in the WAL to another.
//!
//! ```text
//! body = clear length u32 | clear part (CBOR) | sealed part (one frame, type Manifest)
//! ```
//!
//! Changes lie in frames of change packs, table by table; a segment says where. It is
//! written when they are durable, so that it is either whole or not there. The segments of
//! a stream follow one another without a gap, as far as each begins where one before it
//! ends; one with a [`Begin`] begins anew.

use crate::FormatError;
use crate::frame;
use crate::id::{ChunkId, KeyId, ObjectId, PackId, SeriesId};
use crate::limits;
use crate::manifest::{check_features, decode_clear, encode_clear};
use minicbor::{Decode, Encode};

/// What a segment says in clear.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClearPart {
    /// The segment, as in its name.
    #[n(1)]
    pub id: ObjectId,
    /// Features that a reader must know.
    #[n(2)]
    pub features: Vec<String>,
    /// The stream: which database it is of, hashed.
    #[n(3)]
    pub stream: SeriesId,
    /// Where it begins: all that committed up to here is before it.
    #[n(4)]
    pub first: u64,
    /// Where it ends: all that committed up to here is in it or before it.
    #[n(5)]
    pub last: u64,
    /// Number of transactions.
    #[n(6)]
    pub transactions: u64,
    /// A moment of the server's clock, microseconds since 1970 UTC, up to which the stream
    /// is known: the greatest commit time, or a later one at which the server had no more.
    #[n(7)]
    pub known_until: i64,
    /// The greatest transaction id (64 bits, with epoch) that this segment or one before it,
    /// back to the one with a [`Begin`], has.
    #[n(8)]
    pub greatest_xid: u64,
    /// Whether the sealed part has a [`Begin`].
    #[n(9)]
    pub begins: bool,
    /// When it was written, microseconds since 1970 UTC by the writer's clock.
    #[n(10)]
    pub written_at: i64,
    /// The program that wrote it, with version.
    #[n(11)]
    pub program: String,
    /// The data keys that it and its changes are sealed with.
    #[n(12)]
    pub keys: Vec<KeyId>,
    /// The change packs that hold its changes.
    #[n(13)]
    pub packs: Vec<PackId>,
    /// Bytes of its changes as stored.
    #[n(14)]
    pub stored_bytes: u64,
    /// The timeline of the server.
    #[n(15)]
    pub timeline: u32,
    /// Where the newest segment of this run ends that says something of definitions, this one
    /// or one before it: an image, or changes of definitions. Absent where none does.
    #[n(16)]
    pub definitions: Option<u64>,
    /// There in a join point: a segment that begins where the run before it goes on, so that what
    /// is before it can be forgotten. A backup joins it whose consistent point is not before this
    /// position in the WAL.
    #[n(17)]
    pub joins_from: Option<u64>,
}

/// What a segment says under the seal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct SealedPart {
    /// What the stream begins with, where it begins here.
    #[n(1)]
    pub begin: Option<Begin>,
    /// Transactions in the order of their commits.
    #[n(2)]
    pub transactions: Vec<Transaction>,
    /// What the tables look like whose changes it has; a table may be there more than once,
    /// when it was altered.
    #[n(3)]
    pub relations: Vec<RelationVersion>,
    /// Where the changes are; the runs of one table come in the order of its changes.
    #[n(4)]
    pub runs: Vec<Run>,
    /// Whether the changes are those of one transaction and name their subtransaction, of
    /// which some were rolled back.
    #[n(5)]
    pub rolled_back: Option<Vec<u32>>,
    /// Names that were given to positions (`pgkeep mark`).
    #[n(6)]
    pub marks: Vec<Mark>,
    /// Where sequences stood after the last transaction, where that was asked and was not
    /// the same as before.
    #[n(7)]
    pub sequences: Option<Vec<SequenceState>>,
    /// OIDs of the tables whose changes are not in the stream, ascending, where that was asked
    /// and was not the same as before.
    #[n(8)]
    pub unpublished: Option<Vec<u32>>,
    /// All definitions, as they were at a moment.
    #[n(9)]
    pub image: Option<Image>,
}

/// Where a [`CatalogImage`](crate::catalog_image::CatalogImage) is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Image {
    /// A position in the WAL before which all committed that it knows of.
    #[n(1)]
    pub lsn: u64,
    /// Its bytes, in order; all chunks but the last go on in the next.
    #[n(2)]
    pub chunks: Vec<ChangeChunk>,
}

/// What a stream begins with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Begin {
    /// `pg_current_snapshot()` of what was committed before it: the stream has every
    /// transaction that this does not see.
    #[n(1)]
    pub snapshot: String,
    /// The server's system identifier.
    #[n(2)]
    pub system_identifier: u64,
    /// The database's name.
    #[n(3)]
    pub database: String,
    /// The replication slot.
    #[n(4)]
    pub slot: String,
    /// The encoding of all values, by PostgreSQL's name for it.
    #[n(5)]
    pub encoding: String,
    /// `server_version_num`.
    #[n(6)]
    pub server_version: u32,
}

/// A transaction that committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Transaction {
    /// Its top-level transaction id, 64 bits with epoch.
    #[n(1)]
    pub xid: u64,
    /// Where its commit record begins.
    #[n(2)]
    pub lsn: u64,
    /// Where its commit record ends.
    #[n(3)]
    pub end: u64,
    /// When it committed, microseconds since 1970 UTC by the server's clock.
    #[n(4)]
    pub time: i64,
}

/// The OID of a [`RelationVersion`] that is no table: its rows are what the server captured of
/// changes of definitions, a message a row, in the only column.
pub const DEFINITIONS: u32 = 0;

/// What a table looked like.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RelationVersion {
    /// Its OID.
    #[n(1)]
    pub oid: u32,
    /// Its schema, unquoted.
    #[n(2)]
    pub schema: String,
    /// Its name, unquoted.
    #[n(3)]
    pub name: String,
    /// `pg_class.relreplident`: `d`, `n`, `f` or `i`.
    #[n(4)]
    pub replica_identity: String,
    /// The columns of a row of a change, in its order.
    #[n(5)]
    pub columns: Vec<VersionColumn>,
}

/// A column of a [`RelationVersion`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VersionColumn {
    /// Its name, unquoted.
    #[n(1)]
    pub name: String,
    /// OID of its type.
    #[n(2)]
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`.
    #[n(3)]
    pub type_modifier: i32,
    /// Whether it is part of what identifies a row.
    #[n(4)]
    pub is_key: bool,
    /// `pg_attribute.attnum`, where it is known: where it is not, the name tells, among the
    /// columns that the table had when the segment began.
    #[n(5)]
    pub number: Option<i16>,
}

/// Changes of one table in one version.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Run {
    /// Position in [`SealedPart::relations`].
    #[n(1)]
    pub relation: u32,
    /// Where the changes are, in order.
    #[n(2)]
    pub chunks: Vec<ChangeChunk>,
    /// Number of changes.
    #[n(3)]
    pub changes: u64,
    /// Bytes of the changes, plain.
    #[n(4)]
    pub bytes: u64,
}

/// A chunk of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChangeChunk {
    /// Its name.
    #[n(1)]
    pub id: ChunkId,
    /// Position of its pack in [`ClearPart::packs`].
    #[n(2)]
    pub pack: u32,
    /// Where in the pack its frame begins, in bytes.
    #[n(3)]
    pub offset: u64,
    /// Bytes of the frame's payload.
    #[n(4)]
    pub stored_len: u32,
    /// Whether its last change goes on in the next chunk.
    #[n(5)]
    pub continues: bool,
}

/// A name that was given to a position.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mark {
    /// The name.
    #[n(1)]
    pub name: String,
    /// Number of this segment's transactions that committed before it.
    #[n(2)]
    pub after: u64,
    /// Where in the WAL it is.
    #[n(3)]
    pub lsn: u64,
    /// When it was made, microseconds since 1970 UTC by the server's clock.
    #[n(4)]
    pub time: i64,
}

/// Where a sequence stood.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SequenceState {
    /// Its schema, unquoted.
    #[n(1)]
    pub schema: String,
    /// Its name, unquoted.
    #[n(2)]
    pub name: String,
    /// `last_value`.
    #[n(3)]
    pub last_value: i64,
    /// `is_called`: whether that value was given out.
    #[n(4)]
    pub is_called: bool,
    /// Its OID.
    #[n(5)]
    pub oid: u32,
}

impl ClearPart {
    fn validate(&self) -> Result<(), FormatError> {
        check_features("segment", &self.features)?;
        if self.first > self.last {
            return Err(FormatError::invalid("segment", "it ends before it begins"));
        }
        let is_beginning = self.begins && self.first == self.last;
        if self.joins_from.is_some_and(|from| !is_beginning || from < self.last) {
            return Err(FormatError::invalid("segment", "backups cannot join it there"));
        }
        Ok(())
    }
}

impl SealedPart {
    /// Checks what its shape alone does not say.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] where it does not agree with the clear part, or refers to
    /// what is not there.
    pub fn validate(&self, clear: &ClearPart) -> Result<(), FormatError> {
        let invalid = |reason: &str| Err(FormatError::invalid("segment", reason.to_owned()));
        if self.begin.is_some() != clear.begins {
            return invalid("it begins a stream, and not");
        }
        if self.transactions.len() as u64 != clear.transactions {
            return invalid("its number of transactions is wrong");
        }
        let mut before = clear.first;
        for transaction in &self.transactions {
            if transaction.end <= before || transaction.end > clear.last {
                return invalid("its transactions are not in order");
            }
            before = transaction.end;
        }
        if self.rolled_back.is_some() && self.transactions.len() != 1 {
            return invalid("it names subtransactions of more than one transaction");
        }
        let are_there = |chunks: &[ChangeChunk]| {
            chunks.last().is_some_and(|chunk| !chunk.continues)
                && chunks.iter().all(|chunk| {
                    (chunk.pack as usize) < clear.packs.len()
                        && u64::from(chunk.stored_len) <= limits::STORED_LEN_MAX
                        && chunk.offset <= limits::PACK_LEN_MAX
                })
        };
        let has =
            |run: &Run| (run.relation as usize) < self.relations.len() && are_there(&run.chunks);
        if !self.runs.iter().all(has) {
            return invalid("its runs refer to what is not there");
        }
        if self.image.as_ref().is_some_and(|image| !are_there(&image.chunks)) {
            return invalid("its image is not there");
        }
        if self.marks.iter().any(|mark| mark.after > clear.transactions) {
            return invalid("a mark is behind its last transaction");
        }
        Ok(())
    }
}

/// Writes the body of a segment from its clear part and its sealed frame.
#[must_use]
pub fn encode_body(clear: &ClearPart, sealed_frame: &[u8]) -> Vec<u8> {
    encode_clear(clear, sealed_frame)
}

/// Reads the body of a segment: its clear part, checked, and the bytes of its sealed frame,
/// whose header is checked and which is as long as it says.
///
/// # Errors
/// [`FormatError`] when it breaks a rule.
pub fn decode_body(body: &[u8]) -> Result<(ClearPart, &[u8]), FormatError> {
    let (clear, sealed): (ClearPart, _) =
        decode_clear("segment", body, frame::FrameType::Manifest)?;
    clear.validate()?;
    Ok((clear, sealed))
}
