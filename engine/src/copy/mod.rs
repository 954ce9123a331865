//! Copies backups into another repository, with another owner and other keys: a copy offsite.
//!
//! ```text
//! source  manifest -> streams -> chunks, opened with its identity
//! target  chunks named anew, known? sealed -> packs -> manifest under the same id
//! ```
//!
//! What a chunk is called depends on the repository, so each is opened, named and sealed again, and
//! what the target has is not stored twice. Backups keep their ids: one that is there is passed
//! over, and a copy that was stopped goes on where it was. Change streams are not copied.

#[cfg(test)]
mod tests;

use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{
    Backup, ChunkReader, ChunkWriter, FinishedBackup, PACK_TARGET, Packer, Repository, WriteRun,
};
use crate::seal::{Chunk, Layout, Sealer, Secrets, series_id};
use crate::{Error, ErrorKind, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, ChunkId, KeyId, SeriesId};
use pgkeep_format::manifest::{ClearPart, SealedPart, Totals};
use pgkeep_format::name::{BACKUPS, ObjectName};
use pgkeep_format::stream::{ChunkReference, Stream};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Chunks that are in work at the same time.
const CHUNKS_AT_ONCE: usize = 4;
/// Chunks whose new names are remembered, so that the next backup need not read them: some 100 MB.
const NAMES_MAX: usize = 1 << 20;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Backups that are in the target now and were not before, oldest first.
    pub copied: Vec<CopiedBackup>,
    /// Backups that were there.
    pub already: Vec<BackupId>,
    /// Backups that could not be read whole, and why; nothing of them is in the target.
    pub failed: Vec<(BackupId, String)>,
}

/// A backup that was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiedBackup {
    /// Its id, in both repositories.
    pub backup: BackupId,
    /// What the copy came to in the target.
    pub totals: Totals,
}

/// Copies backups of `from` into `to`: those that are named, or all. `from` is read with its
/// identity; `to` needs a writer credential alone.
///
/// # Errors
/// [`ErrorKind::WrongKey`] when a key is missing; [`ErrorKind::Usage`] when both are the same
/// repository; [`ErrorKind::Interrupted`]; what the stores give. A backup that is damaged is no
/// error, it is named in the report.
pub async fn run(
    from: &Repository,
    to: &Repository,
    backups: &[BackupId],
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
) -> Result<CopyReport> {
    to.check_may_sign()?;
    if from.id() == to.id() {
        let message = "both are the same repository";
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("To move a repository as it is, copy its files with any program."));
    }
    let mut run = None;
    let copied = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Error::new(ErrorKind::Interrupted, "copy was interrupted")
            .hint("Run it again: what is stored so far is used.")),
        report = copy(from, to, backups, progress, &mut run) => report,
    };
    if let Some(run) = run {
        run.end().await;
    }
    copied
}

async fn copy(
    from: &Repository,
    to: &Repository,
    wanted: &[BackupId],
    progress: &Arc<dyn Progress>,
    run: &mut Option<WriteRun>,
) -> Result<CopyReport> {
    let phase = |text: String| progress.event(Event::Phase(text));
    phase("reading the source's index".to_owned());
    let mut report = CopyReport::default();
    let reader = ChunkReader::open(from).await?;
    let is_wanted = |id: &BackupId| wanted.is_empty() || wanted.contains(id);
    let backups = from.backups().await?;
    for (id, error) in backups.unreadable {
        if is_wanted(&id) {
            report.failed.push((id, error.to_string()));
        }
    }
    let there = there(to).await?;
    let (already, missing): (Vec<Backup>, Vec<Backup>) = backups
        .good
        .into_iter()
        .filter(|backup| is_wanted(&backup.clear.id))
        .partition(|backup| there.contains(&backup.clear.id));
    report.already = already.iter().map(|backup| backup.clear.id).collect();
    let bytes = missing.iter().map(|backup| backup.clear.totals.plain_bytes).sum();
    progress.event(Event::Plan { tables: missing.len() as u64, bytes });
    let Some(first) = missing.first() else { return Ok(report) };
    first.sealed_part()?;
    let mut copying = Copying {
        from: from.clone(),
        to: to.clone(),
        reader,
        names: Arc::default(),
        progress: progress.clone(),
        sealing: None,
    };
    for backup in missing {
        let id = backup.clear.id;
        phase(format!("copying backup {id}"));
        let begun = run.insert(to.begin_run().await?);
        let copied = copying.backup(begun, &backup).await;
        if let Some(ended) = run.take() {
            ended.end().await;
        }
        match copied {
            Ok(totals) => report.copied.push(CopiedBackup { backup: id, totals }),
            Err(error) if is_of_one(&error) => report.failed.push((id, chain(&error))),
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// The backups that the target has.
async fn there(to: &Repository) -> Result<HashSet<BackupId>> {
    let objects = to.store().list(BACKUPS).await?;
    let ids = objects.into_iter().filter_map(|object| match object.name {
        ObjectName::Backup(id) => Some(id),
        _ => None,
    });
    Ok(ids.collect())
}

/// Whether others can be copied although this one cannot.
fn is_of_one(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::UnsupportedFormat | ErrorKind::NotFound)
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What all backups of a copy share.
struct Copying {
    from: Repository,
    to: Repository,
    reader: ChunkReader,
    names: Arc<Names>,
    progress: Arc<dyn Progress>,
    /// How chunks of the target are sealed, and under which keys; made for the first backup.
    sealing: Option<(Sealer, Vec<KeyId>)>,
}

/// What chunks of the source are called in the target, as far as it is remembered.
#[derive(Default)]
struct Names(Mutex<HashMap<ChunkId, ChunkId>>);

impl Names {
    fn get(&self, old: &ChunkId) -> Option<ChunkId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(old).copied()
    }

    fn put(&self, old: ChunkId, new: ChunkId) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < NAMES_MAX {
            names.insert(old, new);
        }
    }
}

impl Copying {
    async fn backup(&mut self, run: &WriteRun, backup: &Backup) -> Result<Totals> {
        let secrets = self.to.secrets()?.clone();
        let (sealer, keys) = self.sealing().await?;
        let packer = Packer::new(&self.to, PACK_TARGET);
        let known = run.known().clone();
        let (writer, packing) =
            ChunkWriter::begin(&secrets, &sealer, known, packer, &self.progress);
        let streams = self.streams(&writer, backup).await;
        let (streams, counts, packed) = writer.end(streams, packing).await?;
        let totals = Totals {
            stored_bytes: counts.stored_bytes,
            added_bytes: packed.bytes,
            chunks: counts.chunks,
            new_chunks: counts.new_chunks,
            ..backup.clear.totals
        };
        let sealed = backup.sealed_part()?.clone();
        let series = self.series(&secrets, &backup.clear, &sealed)?;
        let clear = ClearPart { series, totals, keys, streams, ..backup.clear.clone() };
        run.publish(&FinishedBackup { clear, sealed }, &sealer).await?;
        Ok(totals)
    }

    async fn sealing(&mut self) -> Result<(Sealer, Vec<KeyId>)> {
        if let Some(sealing) = &self.sealing {
            return Ok(sealing.clone());
        }
        let key = self.to.new_data_key().await?.map(|(key, _)| key);
        let keys = key.iter().map(|key| key.id).collect();
        Ok(self.sealing.insert((Sealer::new(key), keys)).clone())
    }

    /// The streams of a backup, in their order: entries name them by their positions.
    async fn streams(&self, writer: &ChunkWriter, backup: &Backup) -> Result<Vec<Stream>> {
        let mut streams = Vec::with_capacity(backup.clear.streams.len());
        for stream in &backup.clear.streams {
            let frame_type = FrameType::from_code(stream.frame_type)
                .map_err(|error| Error::undecodable("stream", error))?;
            if matches!(frame_type, FrameType::Ancillary(_)) {
                let message = "backup has streams of a kind that this version does not copy";
                return Err(Error::new(ErrorKind::UnsupportedFormat, message)
                    .hint("Use a newer version of pgkeep."));
            }
            let references = self.reader.references(stream).await?;
            let layout = Layout::default();
            let chunks = references.into_iter().map(|reference| {
                let (reader, writer) = (self.reader.clone(), writer.clone());
                let (names, progress) = (self.names.clone(), self.progress.clone());
                let layout = layout.clone();
                async move {
                    let one = One { reader, writer, names, progress, frame_type, layout };
                    one.copy(reference).await
                }
            });
            let copied: Vec<ChunkReference> =
                stream::iter(chunks).buffered(CHUNKS_AT_ONCE).try_collect().await?;
            streams.push(writer.stream(frame_type, &copied).await?);
        }
        Ok(streams)
    }

    /// The series in the target: that of the same database or server, so that a copy stands beside
    /// backups that were taken into the target.
    fn series(&self, to: &Secrets, clear: &ClearPart, sealed: &SealedPart) -> Result<SeriesId> {
        let (from, server) = (self.from.secrets()?, sealed.system_identifier);
        // No database has the empty name: that is the series of the server.
        let mut names = sealed.databases.iter().map(|it| it.name.as_str()).chain([""]);
        let name = names.find(|name| series_id(from, server, name) == clear.series);
        let unknown = || clear.series.to_string();
        Ok(series_id(to, server, &name.map_or_else(unknown, str::to_owned)))
    }
}

/// A chunk on its way.
struct One {
    reader: ChunkReader,
    writer: ChunkWriter,
    names: Arc<Names>,
    progress: Arc<dyn Progress>,
    frame_type: FrameType,
    layout: Layout,
}

impl One {
    async fn copy(self, reference: ChunkReference) -> Result<ChunkReference> {
        let id = reference.id;
        if let Some(new) = self.names.get(&id).filter(|new| self.writer.has(new)) {
            self.progress.event(Event::Advanced { rows: 0, bytes: 0, stored: 0 });
            return Ok(ChunkReference { id: new, ..reference });
        }
        let plain = self.reader.read_whole(&reference, self.frame_type).await?;
        let ChunkReference { row_continues, ending, .. } = reference;
        let chunk = Chunk { plain, rows: 0, row_continues, ending };
        let copied = match self.frame_type {
            FrameType::Rows => self.writer.write_rows(None, chunk, &self.layout).await?,
            other => self.writer.write(other, chunk).await?,
        };
        self.names.put(id, copied.id);
        Ok(ChunkReference { id: copied.id, ..reference })
    }
}
