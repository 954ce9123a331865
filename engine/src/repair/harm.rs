//! What backups and change streams miss, as far as their clear parts tell.

use super::{HarmedBackup, LostKey, RepairReport, chain};
use crate::repository::{Backup, ChunkReader, Repository};
use crate::{ErrorKind, Result};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, ChunkId, KeyId, PackId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Finds the chunks and keys that are lost and what needs them. Packs among `going` count as gone,
/// but for the chunks that are `saved` from them.
pub(super) async fn find(
    repository: &Repository,
    going: &HashSet<PackId>,
    saved: &HashSet<ChunkId>,
    keys: &HashSet<KeyId>,
    report: &mut RepairReport,
) -> Result<()> {
    let reader = ChunkReader::open(repository).await?;
    let index = reader.index();
    let is_there = |chunk: &ChunkId| {
        saved.contains(chunk) || index.copies(chunk).any(|location| !going.contains(&location.pack))
    };
    let backups = repository.backups().await?;
    for (id, error) in backups.unreadable {
        report.warnings.push(format!("backup {id} cannot be read: {}", chain(&error)));
    }
    let mut lost = BTreeSet::new();
    let mut lost_keys: BTreeMap<KeyId, (Vec<BackupId>, u64)> = BTreeMap::new();
    for backup in backups.good {
        let id = backup.clear.id;
        for key in backup.clear.keys.iter().filter(|key| !keys.contains(key)) {
            lost_keys.entry(*key).or_default().0.push(id);
        }
        let (chunks, streams) = misses(&reader, &backup, &is_there, &mut lost).await?;
        if streams > 0 {
            report.harmed.push(HarmedBackup { backup: id, chunks, streams });
        }
    }
    for name in repository.segment_names(None).await? {
        let segment = match repository.segment(name).await {
            Ok(segment) => segment,
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                report.warnings.push(chain(&error));
                continue;
            }
        };
        for key in segment.clear.keys.iter().filter(|key| !keys.contains(key)) {
            lost_keys.entry(*key).or_default().1 += 1;
        }
    }
    report.lost = lost.into_iter().collect();
    let lost_keys = lost_keys.into_iter();
    report.lost_keys =
        lost_keys.map(|(key, (backups, segments))| LostKey { key, backups, segments }).collect();
    Ok(())
}

/// How many references of a backup lead nowhere, and of how many streams.
async fn misses(
    reader: &ChunkReader,
    backup: &Backup,
    is_there: &(dyn Fn(&ChunkId) -> bool + Send + Sync),
    lost: &mut BTreeSet<ChunkId>,
) -> Result<(u64, u64)> {
    let (mut chunks, mut streams) = (0, 0);
    for stream in &backup.clear.streams {
        if matches!(FrameType::from_code(stream.frame_type), Ok(FrameType::Ancillary(_))) {
            continue;
        }
        let before = chunks;
        match reader.references(stream).await {
            Ok(references) => {
                for reference in references.iter().filter(|it| !is_there(&it.id)) {
                    chunks += 1;
                    lost.insert(reference.id);
                }
            }
            Err(error) if error.is_of_store() => return Err(error),
            // Without its list, no chunk of the stream is found.
            Err(_) => {
                chunks += stream.chunks.max(1);
                lost.extend(stream.lists.iter().filter(|list| !is_there(list)));
            }
        }
        streams += u64::from(chunks > before);
    }
    Ok((chunks, streams))
}
