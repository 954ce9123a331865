//! Reads chunks back: found by the index, proven by checksum, seal and name.

use super::{ChunkIndex, Location, Repository};
use crate::seal::{self, Opened};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::ChunkId;
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::{ChunkReference, Stream, decode_references};
use std::sync::Arc;

/// Reads the chunks of a repository; cheap to clone.
#[derive(Debug, Clone)]
pub struct ChunkReader {
    repository: Repository,
    index: Arc<ChunkIndex>,
}

impl ChunkReader {
    /// Learns where all chunks are.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub async fn open(repository: &Repository) -> Result<Self> {
        let index = Arc::new(ChunkIndex::for_reading(repository).await?);
        Ok(Self { repository: repository.clone(), index })
    }

    /// Finds lists of chunks only, for who follows backups to their last chunk and reads none.
    ///
    /// # Errors
    /// As [`ChunkIndex::for_reading`].
    pub(crate) async fn of_lists(repository: &Repository) -> Result<Self> {
        let index = Arc::new(ChunkIndex::of_lists(repository).await?);
        Ok(Self { repository: repository.clone(), index })
    }

    /// Finds nothing.
    pub(crate) fn none(repository: &Repository) -> Self {
        Self { repository: repository.clone(), index: Arc::default() }
    }

    /// Where a chunk lies.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the repository does not have it.
    pub fn locate(&self, chunk: &ChunkId) -> Result<Location> {
        self.index.find(chunk).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, format!("chunk {chunk} is not in the repository"))
                .hint("Run: pgkeep verify")
        })
    }

    /// Reads a chunk of a type.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is missing or anything about it is not as it was
    /// stored; the message names its pack.
    pub async fn read(&self, chunk: &ChunkId, frame_type: FrameType) -> Result<Opened> {
        let location = self.locate(chunk)?;
        let name = ObjectName::Pack(location.pack);
        let range = location.offset..location.offset + location.frame_len();
        let frame = self.repository.store().read(&name, range).await?;
        self.open_frame(frame, &name, &location, chunk, frame_type).await.map_err(|error| {
            let message = format!("object \"{name}\" is damaged at byte {}", location.offset);
            Error::new(error.kind(), message).because(error)
        })
    }

    async fn open_frame(
        &self,
        frame: Bytes,
        name: &ObjectName,
        location: &Location,
        chunk: &ChunkId,
        frame_type: FrameType,
    ) -> Result<Opened> {
        let header = FrameHeader::decode(&frame)
            .map_err(|error| Error::undecodable(format!("chunk {chunk}"), error))?;
        if header.chunk != *chunk
            || header.frame_type != frame_type
            || header.stored_len != location.stored_len
        {
            let message = format!("object \"{name}\" holds another chunk than its index says");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        self.repository.open_frame(header, frame).await
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
