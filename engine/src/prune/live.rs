//! What backups and change streams need.

use crate::repository::{Backup, ChunkReader, Repository};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{BackupId, ChunkId, PackId};
use pgkeep_format::name::{BACKUPS, ObjectName, SegmentName};
use std::collections::HashSet;

/// Half of a chunk id: as good as the whole to tell chunks apart, at half the memory.
type Half = [u8; 16];

fn half(chunk: &ChunkId) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(&chunk.0[..16]);
    half
}

/// Everything that something refers to. It only grows: what is forgotten while a prune runs goes
/// with the next one.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Sorted.
    chunks: Vec<Half>,
    change_packs: HashSet<PackId>,
    backups: HashSet<BackupId>,
    segments: HashSet<SegmentName>,
}

impl Live {
    /// Adds what is not known yet; `reader` finds lists of chunks.
    ///
    /// # Errors
    /// What reading the store gives, and the first backup or segment that cannot be read: what it
    /// needs is not known, so nothing may go.
    pub(super) async fn look(&mut self, repository: &Repository, reader: &mut Lists) -> Result<()> {
        for object in repository.store().list(BACKUPS).await? {
            let ObjectName::Backup(id) = object.name else { continue };
            if self.backups.contains(&id) {
                continue;
            }
            match self.add_backup(repository, reader, id).await {
                // Forgotten just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                added => added.map_err(|error| cannot_tell(&format!("backup {id}"), error))?,
            }
            self.backups.insert(id);
        }
        self.chunks.sort_unstable();
        self.chunks.dedup();
        for name in repository.segment_names(None).await? {
            if self.segments.contains(&name) {
                continue;
            }
            match repository.segment(name).await {
                Ok(segment) => self.change_packs.extend(segment.clear.packs),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    let name = ObjectName::Segment(name);
                    return Err(cannot_tell(&format!("segment \"{name}\""), error));
                }
            }
            self.segments.insert(name);
        }
        Ok(())
    }

    async fn add_backup(
        &mut self,
        repository: &Repository,
        lists: &mut Lists,
        id: BackupId,
    ) -> Result<()> {
        let backup = repository.backup(id).await?;
        if backup.clear.streams.iter().any(|stream| !stream.lists.is_empty()) {
            let reader = lists.reader(repository).await?;
            self.add_references(&reader, &backup).await.map_err(|error| match error.kind() {
                // It is the backup that was not found, or nothing.
                ErrorKind::NotFound => {
                    Error::new(ErrorKind::Damaged, "list of chunks is lost").because(error)
                }
                _ => error,
            })?;
        } else {
            let none = ChunkReader::none(repository);
            self.add_references(&none, &backup).await?;
        }
        Ok(())
    }

    async fn add_references(&mut self, reader: &ChunkReader, backup: &Backup) -> Result<()> {
        for stream in &backup.clear.streams {
            self.chunks.extend(stream.lists.iter().map(half));
            let references = reader.references(stream).await?;
            self.chunks.extend(references.iter().map(|reference| half(&reference.id)));
        }
        Ok(())
    }

    /// Whether a backup needs the chunk.
    pub(super) fn needs(&self, chunk: &ChunkId) -> bool {
        self.chunks.binary_search(&half(chunk)).is_ok()
    }

    /// Whether a segment needs the pack of changes.
    pub(super) fn needs_changes(&self, pack: &PackId) -> bool {
        self.change_packs.contains(pack)
    }
}

/// Where lists of chunks lie, looked for when the first is needed.
#[derive(Debug, Default)]
pub(super) struct Lists {
    reader: Option<ChunkReader>,
}

impl Lists {
    async fn reader(&mut self, repository: &Repository) -> Result<ChunkReader> {
        if self.reader.is_none() {
            self.reader = Some(ChunkReader::of_lists(repository).await?);
        }
        self.reader.clone().ok_or_else(|| Error::new(ErrorKind::Internal, "no reader was made"))
    }
}

fn cannot_tell(what: &str, error: Error) -> Error {
    if error.is_of_store() {
        return error;
    }
    let message = format!("{what} cannot be read, so nobody can tell what it needs");
    Error::new(error.kind(), message)
        .because(error)
        .hint("Run: pgkeep verify")
        .hint("To give it up, run: pgkeep forget with its id, then prune again.")
}
