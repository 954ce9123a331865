//! Reads chunks back: found by the index, proven by checksum, seal and name. What cannot be read
//! from one pack is read from another that has it.

use super::{ChunkIndex, Location, Repository};
use crate::seal::{self, Opened};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::ChunkId;
use pgkeep_format::limits;
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::{ChunkReference, REFERENCE_LEN, Stream, decode_references};
use std::sync::{Arc, PoisonError, RwLock};

/// How often a reader learns anew where chunks are. Each prune that runs meanwhile may take one;
/// a store that lists packs and does not have them must not cost one for each chunk.
const RENEWALS_MAX: u32 = 8;

/// References that a list can hold.
#[expect(clippy::cast_possible_truncation, reason = "16 MiB fit")]
const LIST_LEN_MAX: usize = limits::PLAIN_LEN_MAX as usize / REFERENCE_LEN;

/// Reads the chunks of a repository; cheap to clone.
///
/// A chunk may lie in several packs: when one copy is damaged or gone, the others are tried. When
/// the packs of all are gone, a prune has moved it meanwhile, and the index is read anew.
#[derive(Debug, Clone)]
pub struct ChunkReader {
    repository: Repository,
    known: Arc<RwLock<Known>>,
    /// Held by whoever reads the index anew; the others wait for what comes of it.
    renewing: Arc<tokio::sync::Mutex<()>>,
    /// Whether it finds lists of chunks and nothing else.
    lists_only: bool,
}

/// Where chunks are, as far as it is known.
#[derive(Debug, Clone)]
struct Known {
    index: Arc<ChunkIndex>,
    /// How often it was read anew.
    renewals: u32,
}

/// What came of trying all known copies of a chunk.
enum Tried {
    Good(Location, FrameHeader, Bytes, Option<Opened>),
    /// The pack of a copy is gone, or no copy is known, and no other is good; why.
    Gone(Option<Error>),
    /// All copies are there, and none is good.
    Damaged(Error),
}

impl ChunkReader {
    /// Learns where all chunks are.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub async fn open(repository: &Repository) -> Result<Self> {
        let index = Arc::new(ChunkIndex::for_reading(repository).await?);
        Ok(Self::with(repository, index, false))
    }

    fn with(repository: &Repository, index: Arc<ChunkIndex>, lists_only: bool) -> Self {
        let known = Known { index, renewals: 0 };
        Self {
            repository: repository.clone(),
            known: Arc::new(RwLock::new(known)),
            renewing: Arc::default(),
            lists_only,
        }
    }

    /// Finds lists of chunks only, for who follows backups to their last chunk and reads none.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub(crate) async fn of_lists(repository: &Repository) -> Result<Self> {
        let index = Arc::new(ChunkIndex::of_lists(repository).await?);
        Ok(Self::with(repository, index, true))
    }

    /// Finds nothing.
    pub(crate) fn none(repository: &Repository) -> Self {
        let index = Arc::default();
        let known = Known { index, renewals: RENEWALS_MAX };
        Self {
            known: Arc::new(RwLock::new(known)),
            ..Self::with(repository, Arc::default(), false)
        }
    }

    /// Where all chunks are, as this reader knows it now.
    #[must_use]
    pub fn index(&self) -> Arc<ChunkIndex> {
        self.known().index
    }

    /// Where a chunk lies; of several copies the first.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the repository does not have it.
    pub fn locate(&self, chunk: &ChunkId) -> Result<Location> {
        self.index().find(chunk).ok_or_else(|| lost(chunk))
    }

    /// Reads a chunk of a type.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when no copy is there or anything about all of them is not as it
    /// was stored; the message names the pack. [`ErrorKind::WrongKey`] without the identity.
    pub async fn read(&self, chunk: &ChunkId, frame_type: FrameType) -> Result<Opened> {
        let (_, _, _, opened) = self.take(chunk, Some(frame_type)).await?;
        opened.ok_or_else(|| Error::new(ErrorKind::Internal, "chunk was not opened"))
    }

    /// The frame of a chunk as it is stored, compared with its checksums; needs no key.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when no copy is there and whole.
    pub(crate) async fn frame(&self, chunk: &ChunkId) -> Result<(Location, FrameHeader, Bytes)> {
        let (location, header, frame, _) = self.take(chunk, None).await?;
        Ok((location, header, frame))
    }

    /// Takes a chunk from the first good copy, and opens it where a type is wanted.
    async fn take(
        &self,
        chunk: &ChunkId,
        wanted: Option<FrameType>,
    ) -> Result<(Location, FrameHeader, Bytes, Option<Opened>)> {
        let mut known = self.known();
        loop {
            let failure = match self.try_copies(&known.index, chunk, wanted).await? {
                Tried::Good(location, header, frame, opened) => {
                    return Ok((location, header, frame, opened));
                }
                Tried::Damaged(error) => return Err(error),
                Tried::Gone(failure) => failure,
            };
            // A chunk that a fresh index does not know is lost; one whose pack went since the
            // index was read may have been moved.
            let may_be_elsewhere = failure.is_some() || known.renewals == 0;
            let newer = match may_be_elsewhere {
                true => self.renew(known.renewals).await?,
                false => None,
            };
            match newer {
                Some(newer) => known = newer,
                None => return Err(failure.unwrap_or_else(|| lost(chunk))),
            }
        }
    }

    async fn try_copies(
        &self,
        index: &ChunkIndex,
        chunk: &ChunkId,
        wanted: Option<FrameType>,
    ) -> Result<Tried> {
        let mut damaged = None;
        let mut gone = None;
        for location in index.copies(chunk) {
            match self.try_copy(&location, chunk, wanted).await {
                Ok((header, frame, opened)) => {
                    return Ok(Tried::Good(location, header, frame, opened));
                }
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    gone = Some(lost(chunk).because(error));
                }
                Err(error) => {
                    let name = ObjectName::Pack(location.pack);
                    let message =
                        format!("object \"{name}\" is damaged at byte {}", location.offset);
                    damaged = Some(Error::new(error.kind(), message).because(error));
                }
            }
        }
        Ok(match (damaged, gone) {
            (Some(error), None) => Tried::Damaged(error),
            (damaged, gone) => Tried::Gone(damaged.or(gone)),
        })
    }

    async fn try_copy(
        &self,
        location: &Location,
        chunk: &ChunkId,
        wanted: Option<FrameType>,
    ) -> Result<(FrameHeader, Bytes, Option<Opened>)> {
        let name = ObjectName::Pack(location.pack);
        let range = location.offset..location.offset + location.frame_len();
        let frame = self.repository.store().read(&name, range).await?;
        let undecodable = |error| Error::undecodable(format!("chunk {chunk}"), error);
        let header = FrameHeader::decode(&frame).map_err(undecodable)?;
        if header.chunk != *chunk
            || header.frame_type != wanted.unwrap_or(location.frame_type)
            || header.stored_len != location.stored_len
        {
            let message = format!("object \"{name}\" holds another chunk than its index says");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        if wanted.is_none() {
            header.check_payload(&frame[HEADER_LEN..]).map_err(undecodable)?;
            return Ok((header, frame, None));
        }
        let opened = self.repository.open_frame(header, frame.clone()).await?;
        Ok((header, frame, Some(opened)))
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known after the index was read anew, by this caller or by another one since
    /// `renewals`; absent where it was read often enough.
    async fn renew(&self, renewals: u32) -> Result<Option<Known>> {
        let _alone = self.renewing.lock().await;
        let known = self.known();
        if known.renewals > renewals {
            return Ok(Some(known));
        }
        if known.renewals >= RENEWALS_MAX {
            return Ok(None);
        }
        tracing::info!("a chunk is not where it was: the index is read anew");
        let index = Arc::new(match self.lists_only {
            true => ChunkIndex::of_lists(&self.repository).await?,
            false => ChunkIndex::for_reading(&self.repository).await?,
        });
        let newer = Known { index, renewals: known.renewals + 1 };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = newer.clone();
        Ok(Some(newer))
    }

    /// The chunks of a stream, in order.
    ///
    /// # Errors
    /// As [`ChunkReader::read`], for the stream's lists.
    pub async fn references(&self, stream: &Stream) -> Result<Vec<ChunkReference>> {
        let damaged = |error| Error::undecodable("list of chunks", error);
        let mut references = decode_references(&stream.inline).map_err(damaged)?;
        for list in &stream.lists {
            let opened = self.read(list, FrameType::List).await?;
            references.extend(decode_references(&opened.plain).map_err(damaged)?);
            if references.len() as u64 > stream.chunks {
                break;
            }
        }
        if references.len() as u64 != stream.chunks {
            return Err(Error::new(ErrorKind::Damaged, "stream has another number of chunks"));
        }
        if references.last().is_some_and(|last| last.row_continues) {
            return Err(Error::new(ErrorKind::Damaged, "stream ends within a row"));
        }
        Ok(references)
    }

    /// The chunks of a stream as far as its lists can be read. In the place of those that a lost list
    /// named are references that lead nowhere, and whose last row may go on.
    ///
    /// # Errors
    /// What reading the store gives.
    pub async fn references_left(&self, stream: &Stream) -> Result<Vec<ChunkReference>> {
        let error = match self.references(stream).await {
            Ok(references) => return Ok(references),
            Err(error) => error,
        };
        if error.is_of_store() || stream.lists.is_empty() {
            return Err(error);
        }
        let mut lists = Vec::with_capacity(stream.lists.len());
        for list in &stream.lists {
            let read = self.read(list, FrameType::List).await;
            match read.map(|opened| decode_references(&opened.plain)) {
                Ok(references) => lists.push(references.ok()),
                Err(error) if error.is_of_store() => return Err(error),
                Err(_) => lists.push(None),
            }
        }
        let named: usize = lists.iter().flatten().map(Vec::len).sum();
        let unnamed = usize::try_from(stream.chunks).unwrap_or(usize::MAX).saturating_sub(named);
        let lost = lists.iter().filter(|list| list.is_none()).count();
        let nowhere = ChunkReference { id: ChunkId::default(), row_continues: true };
        // How many each of several lost lists named is not known; together it is.
        let share = unnamed.min(lost.saturating_mul(LIST_LEN_MAX)).div_ceil(lost.max(1)).max(1);
        let mut references = Vec::new();
        for list in lists {
            references.extend(list.unwrap_or_else(|| vec![nowhere; share]));
        }
        if let Some(last) = references.last_mut() {
            last.row_continues = false;
        }
        Ok(references)
    }

    /// Reads a whole stream of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// As [`ChunkReader::read`]; [`ErrorKind::Damaged`] when it is longer.
    pub async fn read_stream(&self, stream: &Stream, limit: usize) -> Result<Vec<u8>> {
        let frame_type = FrameType::from_code(stream.frame_type)
            .map_err(|error| Error::undecodable("stream", error))?;
        let mut bytes = Vec::new();
        for reference in self.references(stream).await? {
            let opened = self.read(&reference.id, frame_type).await?;
            if bytes.len() + opened.plain.len() > limit {
                return Err(Error::new(ErrorKind::Damaged, "stream is longer than it may be"));
            }
            bytes.extend_from_slice(&opened.plain);
        }
        Ok(bytes)
    }
}

impl Repository {
    /// Opens a frame whose header was decoded: checksum, seal, name.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`]; [`ErrorKind::WrongKey`] when its key is not at hand.
    pub(crate) async fn open_frame(&self, header: FrameHeader, frame: Bytes) -> Result<Opened> {
        let key = match header.suite {
            Suite::None => None,
            _ => Some(self.inner.keys.data_key(self.store(), header.key).await?),
        };
        let secrets = self.inner.keys.secrets().cloned();
        // Opening a chunk takes milliseconds of pure computation.
        let opened = tokio::task::spawn_blocking(move || {
            let payload = frame.get(HEADER_LEN..).unwrap_or_default();
            header
                .check_payload(payload)
                .map_err(|error| Error::undecodable(format!("chunk {}", header.chunk), error))?;
            seal::open(&header, payload, key.as_ref(), secrets.as_ref())
        });
        opened.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "opening a chunk did not end").because(error)
        })?
    }
}

fn lost(chunk: &ChunkId) -> Error {
    Error::new(ErrorKind::Damaged, format!("chunk {chunk} is not in the repository"))
        .hint("Run: pgkeep verify")
}

#[cfg(test)]
mod tests;
