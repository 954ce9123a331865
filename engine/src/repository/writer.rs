//! From chunks to frames in packs: named, compared with what the repository has, and only
//! where they are new compressed, sealed and sent to the packer.

use super::{KnownChunks, NewFrame, Packed, Packer};
use crate::progress::{Event, Progress};
use crate::seal::{Chunk, Layout, Sealer, Secrets, chunk_id};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::{FrameType, HEADER_LEN, InnerHeader};
use pgkeep_format::id::ChunkId;
use pgkeep_format::stream::ChunkReference;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Frames that may wait for the store; each is at most a chunk.
const FRAMES_WAITING: usize = 4;

/// Names, seals and passes on chunks; shared by all workers.
#[derive(Clone)]
pub(crate) struct ChunkWriter {
    shared: Arc<Shared>,
    frames: mpsc::Sender<NewFrame>,
}

struct Shared {
    secrets: Secrets,
    sealer: Sealer,
    known: Arc<KnownChunks>,
    seen: Mutex<Seen>,
    progress: Arc<dyn Progress>,
}

#[derive(Default)]
struct Seen {
    chunks: HashSet<ChunkId>,
    counts: Counts,
}

/// What the chunks of a run came to, each chunk counted once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) chunks: u64,
    pub(crate) new_chunks: u64,
    pub(crate) stored_bytes: u64,
}

/// The task that writes packs; stops with its handle.
pub(crate) struct Packing(JoinHandle<Result<Packed>>);

impl Drop for Packing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ChunkWriter {
    pub(crate) fn begin(
        secrets: &Secrets,
        sealer: &Sealer,
        known: Arc<KnownChunks>,
        mut packer: Packer,
        progress: &Arc<dyn Progress>,
    ) -> (Self, Packing) {
        let (frames, mut arriving) = mpsc::channel(FRAMES_WAITING);
        let packing = tokio::spawn(async move {
            while let Some(frame) = arriving.recv().await {
                packer.add(frame).await?;
            }
            packer.finish().await
        });
        let shared = Shared {
            secrets: secrets.clone(),
            sealer: sealer.clone(),
            known,
            seen: Mutex::default(),
            progress: progress.clone(),
        };
        (Self { shared: Arc::new(shared), frames }, Packing(packing))
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.shared.secrets
    }

    /// Whether a chunk of this name need not be written: the repository has it, or this run has taken
    /// it on. It counts as referred to then.
    pub(crate) fn has(&self, id: &ChunkId) -> bool {
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.chunks.contains(id) {
            return true;
        }
        let Some(stored_len) = self.shared.known.find(id) else { return false };
        seen.chunks.insert(*id);
        seen.counts.chunks += 1;
        seen.counts.stored_bytes += HEADER_LEN as u64 + u64::from(stored_len);
        true
    }

    /// Whether the repository has a chunk that a backup may refer to; nothing is counted.
    pub(crate) fn relies_on(&self, id: &ChunkId) -> bool {
        self.shared.known.find(id).is_some()
    }

    /// The reference of a chunk of rows.
    pub(crate) fn reference_of(&self, chunk: &Chunk) -> ChunkReference {
        chunk.reference(self.shared.name(FrameType::Rows, chunk))
    }

    /// Tells of rows that need not be stored.
    pub(crate) fn passed(&self, rows: u64, bytes: u64) {
        self.shared.progress.event(Event::Advanced { rows, bytes, stored: 0 });
    }

    /// Stores a chunk unless it is there; returns its reference once its frame is on its
    /// way to a pack. The computation runs beside the caller, who may begin the next one.
    pub(crate) fn write(
        &self,
        frame_type: FrameType,
        chunk: Chunk,
    ) -> impl Future<Output = Result<ChunkReference>> + Send + use<> {
        self.write_laid_out(frame_type, None, chunk, None)
    }

    /// As [`ChunkWriter::write`], for rows of a table that compress as its other chunks do. `id` is
    /// their name where they have been named.
    pub(crate) fn write_rows(
        &self,
        id: Option<ChunkId>,
        chunk: Chunk,
        layout: &Layout,
    ) -> impl Future<Output = Result<ChunkReference>> + Send + use<> {
        self.write_laid_out(FrameType::Rows, id, chunk, Some(layout.clone()))
    }

    /// As [`ChunkWriter::write_rows`], computed by the caller itself: where no processor is idle,
    /// to hand it to another thread only costs.
    pub(crate) async fn write_rows_here(
        &self,
        id: Option<ChunkId>,
        chunk: &Chunk,
        layout: &Layout,
    ) -> Result<ChunkReference> {
        let sealed = self.shared.seal_if_new(FrameType::Rows, id, chunk, Some(layout))?;
        self.pass_on(sealed).await
    }

    fn write_laid_out(
        &self,
        frame_type: FrameType,
        id: Option<ChunkId>,
        chunk: Chunk,
        layout: Option<Layout>,
    ) -> impl Future<Output = Result<ChunkReference>> + Send + use<> {
        let (writer, shared) = (self.clone(), self.shared.clone());
        let work = tokio::task::spawn_blocking(move || {
            shared.seal_if_new(frame_type, id, &chunk, layout.as_ref())
        });
        async move {
            let sealed = work.await.map_err(|error| {
                Error::new(ErrorKind::Internal, "sealing a chunk did not end").because(error)
            })??;
            writer.pass_on(sealed).await
        }
    }

    /// Passes a frame on to its pack, where there is one.
    async fn pass_on(&self, sealed: (ChunkReference, Option<NewFrame>)) -> Result<ChunkReference> {
        let (reference, frame) = sealed;
        if let Some(frame) = frame {
            self.frames
                .send(frame)
                .await
                .map_err(|_| Error::new(ErrorKind::Internal, "packs are no longer written"))?;
        }
        Ok(reference)
    }

    /// Ends the run: waits until all frames are durable. A failure of the packer is the
    /// cause of whatever failed in the workers, and is told in its place.
    pub(crate) async fn end<T>(
        self,
        stored: Result<T>,
        mut packing: Packing,
    ) -> Result<(T, Counts, Packed)> {
        drop(self.frames);
        let failed = stored.as_ref().is_err_and(|error| error.kind() != ErrorKind::Internal);
        if failed {
            packing.0.abort();
        }
        let packed = (&mut packing.0).await;
        let stored = match (stored, packed) {
            (Err(error), Ok(Err(cause))) if error.kind() == ErrorKind::Internal => {
                return Err(cause);
            }
            (Err(error), _) => return Err(error),
            (Ok(stored), Ok(packed)) => (stored, packed?),
            (Ok(_), Err(error)) => {
                return Err(
                    Error::new(ErrorKind::Internal, "writing packs did not end").because(error)
                );
            }
        };
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((stored.0, seen.counts, stored.1))
    }
}

impl Shared {
    fn seal_if_new(
        &self,
        frame_type: FrameType,
        id: Option<ChunkId>,
        chunk: &Chunk,
        layout: Option<&Layout>,
    ) -> Result<(ChunkReference, Option<NewFrame>)> {
        let id = id.unwrap_or_else(|| self.name(frame_type, chunk));
        let frame = if self.is_new(&id) {
            let (continues, plain) = (chunk.row_continues, &chunk.plain);
            let bytes = self.sealer.seal_laid_out(frame_type, id, continues, plain, layout)?;
            self.count(|counts| {
                counts.new_chunks += 1;
                counts.stored_bytes += bytes.len() as u64;
            });
            Some(NewFrame { chunk: id, frame_type, bytes })
        } else {
            None
        };
        self.progress.event(Event::Advanced {
            rows: chunk.rows,
            bytes: chunk.plain.len() as u64,
            stored: frame.as_ref().map_or(0, |frame| frame.bytes.len() as u64),
        });
        Ok((chunk.reference(id), frame))
    }

    fn name(&self, frame_type: FrameType, chunk: &Chunk) -> ChunkId {
        let flags = InnerHeader::flags_of(chunk.row_continues);
        chunk_id(&self.secrets, frame_type, flags, &chunk.plain)
    }

    /// Whether this chunk must be stored: neither the repository has it nor has this run
    /// taken it on. Says yes once only.
    fn is_new(&self, id: &ChunkId) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.chunks.insert(*id) {
            return false;
        }
        seen.counts.chunks += 1;
        let Some(stored_len) = self.known.find(id) else { return true };
        seen.counts.stored_bytes += HEADER_LEN as u64 + u64::from(stored_len);
        false
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut seen.counts);
    }
}
