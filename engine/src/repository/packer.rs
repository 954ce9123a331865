//! Puts frames into packs, packs into the store, and says in indexes where they are; packs of
//! changes are in no index, the segment that they belong to says where its frames are.
//!
//! Memory holds no more of a pack than its footer: frames go to the store as they come.

use super::Repository;
use crate::seal::{Sealer, random};
use crate::store::Upload;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{ChunkId, PackId};
use pgkeep_format::index::IndexedPack;
use pgkeep_format::limits;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::{self, ObjectHeader, ObjectType};
use pgkeep_format::pack::{FooterEntry, TRAILER_LEN, Trailer, encode_footer};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// An index is written for so many packs, or after so long, so that an interrupted backup's work
/// is found by the next one.
const PACKS_PER_INDEX: usize = 16;
const INDEX_INTERVAL: Duration = Duration::from_secs(30);

/// Bytes of a pack, about.
pub const PACK_TARGET: u64 = 64 << 20;

/// A sealed frame on its way into a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFrame {
    /// The chunk in it.
    pub chunk: ChunkId,
    /// What it holds.
    pub frame_type: FrameType,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

/// What a packer wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Packs.
    pub packs: u64,
    /// Bytes of packs and indexes.
    pub bytes: u64,
}

/// Writes packs for one run.
pub struct Packer {
    repository: Repository,
    /// Whether the packs hold changes.
    changes: bool,
    target: u64,
    open: Option<OpenPack>,
    /// The pack that is being made durable while the next one is written; stops when dropped.
    finishing: JoinSet<Result<IndexedPack>>,
    finished: Vec<IndexedPack>,
    /// When the last index was written.
    indexed_at: Instant,
    packed: Packed,
}

struct OpenPack {
    id: PackId,
    upload: Box<dyn Upload>,
    len: u64,
    entries: Vec<FooterEntry>,
}

impl Packer {
    /// Begins to write to `repository` in packs of about `target` bytes.
    #[must_use]
    pub fn new(repository: &Repository, target: u64) -> Self {
        Self::begin_packs(repository, target, false)
    }

    /// As [`Packer::new`], for packs of changes; they end with [`Packer::finish_changes`].
    #[must_use]
    pub fn of_changes(repository: &Repository, target: u64) -> Self {
        Self::begin_packs(repository, target, true)
    }

    fn begin_packs(repository: &Repository, target: u64, changes: bool) -> Self {
        Self {
            repository: repository.clone(),
            changes,
            target,
            open: None,
            finishing: JoinSet::new(),
            finished: Vec::new(),
            indexed_at: Instant::now(),
            packed: Packed::default(),
        }
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// What writing to the store gives; the packer is then good for nothing but dropping.
    pub async fn add(&mut self, frame: NewFrame) -> Result<()> {
        let stored_len = frame.bytes.len().saturating_sub(pgkeep_format::frame::HEADER_LEN);
        let stored_len = u32::try_from(stored_len)
            .map_err(|_| Error::new(ErrorKind::Internal, "frame is larger than it may be"))?;
        if self.open.is_none() {
            self.open = Some(self.begin().await?);
        }
        let Some(pack) = self.open.as_mut() else {
            return Err(Error::new(ErrorKind::Internal, "no pack is open"));
        };
        let entry = FooterEntry {
            chunk: frame.chunk,
            frame_type: frame.frame_type,
            stored_len,
            offset: pack.len,
        };
        pack.len += frame.bytes.len() as u64;
        pack.entries.push(entry);
        pack.upload.write(frame.bytes.into()).await?;
        let full = pack.len >= self.target || pack.entries.len() as u64 >= limits::PACK_FRAMES_MAX;
        if full { self.end_pack().await } else { Ok(()) }
    }

    /// Ends the open pack and writes the last index; all frames are then durable.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub async fn finish(mut self) -> Result<Packed> {
        self.end_pack().await?;
        self.settle().await?;
        self.write_index().await?;
        Ok(self.packed)
    }

    /// Ends the open pack of changes; all frames are then durable. Returns what lies where.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub async fn finish_changes(mut self) -> Result<Vec<IndexedPack>> {
        self.end_pack().await?;
        self.settle().await?;
        Ok(self.finished)
    }

    async fn begin(&self) -> Result<OpenPack> {
        let id = PackId(random()?);
        let name = if self.changes { ObjectName::ChangePack(id) } else { ObjectName::Pack(id) };
        let mut upload = self.repository.store().create(&name).await?;
        let header = ObjectHeader {
            object_type: ObjectType::Pack,
            repository: self.repository.id(),
            id: id.0,
            body_len: 0,
        };
        upload.write(header.encode().to_vec().into()).await?;
        Ok(OpenPack { id, upload, len: object::HEADER_LEN as u64, entries: Vec::new() })
    }

    async fn end_pack(&mut self) -> Result<()> {
        let Some(mut pack) = self.open.take() else { return Ok(()) };
        let footer = encode_footer(&pack.entries);
        let frame =
            Sealer::new(None).seal(FrameType::Footer, ChunkId::default(), false, &footer)?;
        let trailer = Trailer {
            footer_offset: pack.len,
            footer_len: frame.len() as u64,
            frames: u32::try_from(pack.entries.len()).unwrap_or(u32::MAX),
        };
        pack.len += (frame.len() + TRAILER_LEN) as u64;
        pack.upload.write(frame.into()).await?;
        pack.upload.write(trailer.encode().to_vec().into()).await?;
        self.settle().await?;
        let enough =
            self.finished.len() >= PACKS_PER_INDEX || self.indexed_at.elapsed() >= INDEX_INTERVAL;
        self.finishing.spawn(async move {
            pack.upload.finish().await?;
            Ok(IndexedPack { pack: pack.id, len: pack.len, entries: pack.entries })
        });
        if enough && !self.changes { self.write_index().await } else { Ok(()) }
    }

    /// Waits until the pack before is durable; only then it may be in an index.
    async fn settle(&mut self) -> Result<()> {
        while let Some(ended) = self.finishing.join_next().await {
            let pack = ended.map_err(|error| {
                Error::new(ErrorKind::Internal, "ending a pack did not end").because(error)
            })??;
            self.packed.packs += 1;
            self.packed.bytes += pack.len;
            self.finished.push(pack);
        }
        Ok(())
    }

    async fn write_index(&mut self) -> Result<()> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let packs = std::mem::take(&mut self.finished);
        self.packed.bytes += self.repository.store_index(&packs).await?;
        self.indexed_at = Instant::now();
        Ok(())
    }
}
