//! Reads chunks back: found by the index, proven by checksum, seal and name. What cannot be read
//! from one pack is read from another that has it.

use super::index::Wanted;
use super::{ChunkIndex, Location, Repository};
use crate::seal::{self, DataKey, Opened, Secrets};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::entry::RowEncoding;
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::ChunkId;
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::{ChunkReference, Stream, decode_references};
use std::sync::{Arc, PoisonError, RwLock};

/// How often a reader learns anew where chunks are. Each prune that runs meanwhile may take one;
/// a store that lists packs and does not have them must not cost one for each chunk.
const RENEWALS_MAX: u32 = 8;

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
    /// What it finds.
    wanted: Wanted,
    /// Whether chunks are opened by whoever reads them, not beside.
    opens_here: bool,
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
        Self::of(repository, Wanted::All).await
    }

    async fn of(repository: &Repository, wanted: Wanted) -> Result<Self> {
        let index = ChunkIndex::load(repository, &wanted).await?;
        Ok(Self::with(repository, Known { index: Arc::new(index), renewals: 0 }, wanted))
    }

    fn with(repository: &Repository, known: Known, wanted: Wanted) -> Self {
        Self {
            repository: repository.clone(),
            known: Arc::new(RwLock::new(known)),
            renewing: Arc::default(),
            wanted,
            opens_here: false,
        }
    }

    /// Finds lists of chunks only, for who follows backups to their last chunk and reads none.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub(crate) async fn of_lists(repository: &Repository) -> Result<Self> {
        Self::of(repository, Wanted::OfTypes(&[FrameType::List])).await
    }

    /// Finds what backups are told by, their lists and entries, and no rows.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub(crate) async fn of_definitions(repository: &Repository) -> Result<Self> {
        Self::of(repository, Wanted::OfTypes(&[FrameType::List, FrameType::Entries])).await
    }

    /// Finds these chunks of rows, and those few whose ids begin as one of these does. They are opened
    /// by whoever reads them: beside a backup no processor is idle, and what each thread keeps of
    /// memory adds up.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub(crate) async fn of_rows(repository: &Repository, chunks: &[ChunkId]) -> Result<Self> {
        let beginnings = chunks.iter().map(Wanted::beginning).collect();
        let reader = Self::of(repository, Wanted::Rows(Arc::new(beginnings))).await?;
        Ok(Self { opens_here: true, ..reader })
    }

    /// Finds nothing.
    pub(crate) fn none(repository: &Repository) -> Self {
        let known = Known { index: Arc::default(), renewals: RENEWALS_MAX };
        Self::with(repository, known, Wanted::All)
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

    /// Reads the rows of a chunk that a stream has.
    ///
    /// # Errors
    /// As [`ChunkReader::read`]; [`ErrorKind::Damaged`] when the chunk is not as its reference says.
    pub async fn read_rows(
        &self,
        reference: &ChunkReference,
        encoding: RowEncoding,
    ) -> Result<Vec<u8>> {
        let mut plain = self.read_whole(reference, FrameType::Rows).await?;
        if let Some(left_out) = &reference.left_out {
            left_out
                .remove(encoding, &mut plain)
                .map_err(|error| Error::undecodable(format!("chunk {}", reference.id), error))?;
        }
        Ok(plain)
    }

    /// Reads all of a chunk, with rows that the stream leaves out.
    ///
    /// # Errors
    /// As [`ChunkReader::read_rows`].
    pub(crate) async fn read_whole(
        &self,
        reference: &ChunkReference,
        frame_type: FrameType,
    ) -> Result<Vec<u8>> {
        let opened = self.read(&reference.id, frame_type).await?;
        if opened.row_continues != reference.row_continues {
            let message = format!("chunk {} does not end as its list says", reference.id);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        Ok(opened.plain)
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
        let opener = self.repository.opener(header, frame.clone()).await?;
        let opened = if self.opens_here { opener.open() } else { opener.open_beside().await };
        Ok((header, frame, Some(opened?)))
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
        let index = Arc::new(ChunkIndex::load(&self.repository, &self.wanted).await?);
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
        stream.check(&references).map_err(damaged)?;
        Ok(references)
    }

    /// The chunks of a stream as far as its lists can be read. In the place of each list that cannot
    /// is one reference that leads nowhere, and whose last row may go on.
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
        let mut references: Vec<ChunkReference> = Vec::new();
        for list in &stream.lists {
            let read = match self.read(list, FrameType::List).await {
                Err(error) if error.is_of_store() => return Err(error),
                read => read.ok().and_then(|opened| decode_references(&opened.plain).ok()),
            };
            match read {
                Some(read) => {
                    // Rows are left out only behind a row's end.
                    if read.first().is_some_and(|first| first.left_out.is_some())
                        && let Some(last) = references.last_mut()
                    {
                        last.row_continues = false;
                    }
                    references.extend(read);
                }
                None => {
                    let nowhere = ChunkReference::whole(ChunkId::default());
                    references.push(ChunkReference { row_continues: true, ..nowhere });
                }
            }
        }
        if let Some(last) = references.last_mut() {
            last.row_continues = false;
        }
        Ok(references)
    }
}

impl Repository {
    /// Opens a frame whose header was decoded: checksum, seal, name.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`]; [`ErrorKind::WrongKey`] when its key is not at hand.
    pub(crate) async fn open_frame(&self, header: FrameHeader, frame: Bytes) -> Result<Opened> {
        self.opener(header, frame).await?.open_beside().await
    }

    async fn opener(&self, header: FrameHeader, frame: Bytes) -> Result<Opener> {
        let key = match header.suite {
            Suite::None => None,
            _ => Some(self.inner.keys.data_key(self.store(), header.key).await?),
        };
        let secrets = self.inner.keys.secrets().cloned();
        Ok(Opener { header, frame, key, secrets })
    }
}

/// A frame and what it takes to open it.
struct Opener {
    header: FrameHeader,
    frame: Bytes,
    key: Option<DataKey>,
    secrets: Option<Secrets>,
}

impl Opener {
    /// Checks and opens it: milliseconds of pure computation.
    fn open(&self) -> Result<Opened> {
        let header = &self.header;
        let payload = self.frame.get(HEADER_LEN..).unwrap_or_default();
        header
            .check_payload(payload)
            .map_err(|error| Error::undecodable(format!("chunk {}", header.chunk), error))?;
        seal::open(header, payload, self.key.as_ref(), self.secrets.as_ref())
    }

    async fn open_beside(self) -> Result<Opened> {
        let opened = tokio::task::spawn_blocking(move || self.open());
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
