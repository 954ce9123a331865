//! Segments of change streams: listed, read, and made to exist; and the chunks of changes that
//! they refer to.

use super::{Lease, Repository, signed};
use crate::seal::{Opened, Sealer, chunk_id};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::SeriesId;
use pgkeep_format::name::{ObjectName, STREAMS, SegmentName};
use pgkeep_format::object::ObjectType;
use pgkeep_format::segment::{ChangeChunk, ClearPart, SealedPart, decode_body, encode_body};

/// A segment, proven by its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it says in clear.
    pub clear: ClearPart,
    /// What it says under the seal; absent without the identity.
    pub sealed: Option<SealedPart>,
    /// Bytes of the object.
    pub len: u64,
}

impl Segment {
    /// What the segment says under the seal.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] when it was read without the identity.
    pub fn sealed_part(&self) -> Result<&SealedPart> {
        self.sealed.as_ref().ok_or_else(|| {
            let message = "change stream is encrypted and no identity was given";
            Error::new(ErrorKind::WrongKey, message)
                .hint("Give the identity that was made with this repository: --identity FILE")
        })
    }
}

impl Repository {
    /// The names of all segments, of one stream or of all, in the order of their streams and
    /// positions.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    pub async fn segment_names(&self, stream: Option<SeriesId>) -> Result<Vec<SegmentName>> {
        let prefix = stream.map_or(STREAMS.to_owned(), |stream| format!("{STREAMS}{stream}/"));
        let objects = self.store().list(&prefix).await?;
        let mut names: Vec<SegmentName> = objects
            .into_iter()
            .filter_map(|object| match object.name {
                ObjectName::Segment(name) => Some(name),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a segment.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Damaged`], [`ErrorKind::Untrusted`].
    pub async fn segment(&self, name: SegmentName) -> Result<Segment> {
        let object = ObjectName::Segment(name);
        let body = self.read_of_writer(&object, ObjectType::ChangeSegment).await?;
        let damaged = |error| Error::undecodable(format!("object \"{object}\""), error);
        let (clear, frame) = decode_body(&body).map_err(damaged)?;
        let as_named = SegmentName {
            stream: clear.stream,
            first: clear.first,
            last: clear.last,
            id: clear.id,
        };
        if as_named != name {
            let message = format!("object \"{object}\" is another segment than its name says");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        let header = FrameHeader::decode(frame).map_err(damaged)?;
        // Whoever has no key still sees the clear part.
        let sealed = if header.suite != Suite::None && !self.inner.keys.reads() {
            None
        } else {
            let opened = self.open_frame(header, Bytes::copy_from_slice(frame)).await?;
            let sealed: SealedPart = cbor::decode("segment", &opened.plain).map_err(damaged)?;
            sealed.validate(&clear).map_err(damaged)?;
            Some(sealed)
        };
        Ok(Segment { clear, sealed, len: body.len() as u64 })
    }

    /// Writes a segment. Its change packs must be durable, and uploaded under this lease; when this
    /// returns, it exists. Returns the object's length in bytes.
    ///
    /// # Errors
    /// What writing to the store gives; [`ErrorKind::Internal`] when it is larger than the
    /// format allows; [`ErrorKind::Changed`] when its packs may be gone.
    pub async fn store_segment(
        &self,
        clear: &ClearPart,
        sealed: &SealedPart,
        sealer: &Sealer,
        lease: &Lease,
    ) -> Result<u64> {
        lease.check().await?;
        let plain = cbor::encode(sealed);
        let id = chunk_id(self.secrets()?, FrameType::Manifest, 0, &plain);
        let frame = sealer.seal(FrameType::Manifest, id, false, &plain)?;
        let body = encode_body(clear, &frame);
        let name = ObjectName::Segment(SegmentName {
            stream: clear.stream,
            first: clear.first,
            last: clear.last,
            id: clear.id,
        });
        let (store, signing) = (self.store(), self.signing_key()?);
        let len = signed::write(store, &name, ObjectType::ChangeSegment, self.id(), &body, signing)
            .await?;
        lease.check_after(&name).await?;
        Ok(len)
    }

    /// Reads a chunk of changes of a segment with this clear part.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is missing or anything about it is not as it was
    /// stored; the message names its pack.
    pub async fn change_chunk(&self, clear: &ClearPart, chunk: &ChangeChunk) -> Result<Opened> {
        let pack = clear.packs.get(chunk.pack as usize).ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "segment refers to a pack that it does not name")
        })?;
        let name = ObjectName::ChangePack(*pack);
        let end = chunk.offset + HEADER_LEN as u64 + u64::from(chunk.stored_len);
        let frame = self.store().read(&name, chunk.offset..end).await?;
        self.open_change_frame(frame, chunk).await.map_err(|error| {
            let message = format!("object \"{name}\" is damaged at byte {}", chunk.offset);
            Error::new(error.kind(), message).because(error)
        })
    }

    async fn open_change_frame(&self, frame: Bytes, chunk: &ChangeChunk) -> Result<Opened> {
        let header = FrameHeader::decode(&frame)
            .map_err(|error| Error::undecodable(format!("chunk {}", chunk.id), error))?;
        if header.chunk != chunk.id
            || header.frame_type != FrameType::Changes
            || header.stored_len != chunk.stored_len
        {
            let message = "another chunk lies there than the segment says";
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        let opened = self.open_frame(header, frame).await?;
        if opened.row_continues != chunk.continues {
            let message = format!("chunk {} does not end as the segment says", chunk.id);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        Ok(opened)
    }
}
