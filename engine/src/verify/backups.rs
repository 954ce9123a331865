//! Follows each backup from its manifest to its last chunk.

use super::packs::proven;
use super::{Findings, Problem, chain};
use crate::progress::{Event, Progress};
use crate::repository::{Backup, ChunkReader, Repository};
use crate::store::StoredObject;
use crate::{Error, Result};
use pgkeep_format::entry::{Entry, RowEncoding};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::BackupId;
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::ChunkReference;
use std::sync::Arc;

/// Follows all backups; their chunks were read before.
pub(super) async fn verify_all(
    repository: &Repository,
    objects: &[StoredObject],
    findings: &mut Findings,
) -> Result<()> {
    let reader = ChunkReader::open(repository).await?;
    for object in objects {
        let ObjectName::Backup(id) = object.name else { continue };
        findings.report.objects += 1;
        findings.report.bytes += object.len;
        let backup = repository.backup(id).await;
        if let Some(backup) = findings.note(&object.name, backup)? {
            follow(&reader, &backup, findings).await?;
        }
    }
    Ok(())
}

/// Follows one backup and reads its chunks.
pub(super) async fn verify_alone(
    repository: &Repository,
    id: BackupId,
    progress: &Arc<dyn Progress>,
    findings: &mut Findings,
) -> Result<()> {
    let reader = ChunkReader::open(repository).await?;
    let backup = repository.backup(id).await?;
    findings.report.objects += 1;
    findings.report.bytes += backup.manifest_len;
    progress.event(Event::Plan { tables: 1, bytes: backup.clear.totals.stored_bytes });
    for stream in &backup.clear.streams {
        let frame_type = FrameType::from_code(stream.frame_type)
            .map_err(|error| Error::undecodable("stream", error))?;
        if matches!(frame_type, FrameType::Ancillary(_)) {
            continue;
        }
        // What cannot be read is reported with its table, below.
        let Ok(references) = reader.references(stream).await else { continue };
        for reference in references {
            if findings.proven.contains_key(&reference.id) {
                continue;
            }
            let read = if repository.can_read() {
                reader.read(&reference.id, frame_type).await.map(|opened| proven(&opened))
            } else {
                reader.frame(&reference.id).await.map(|_| super::Proven {
                    plain_len: 0,
                    row_ends: 0,
                    row_continues: None,
                })
            };
            match read {
                Ok(known) => {
                    let len = reader.locate(&reference.id)?.frame_len();
                    findings.proven.insert(reference.id, known);
                    findings.report.chunks += 1;
                    findings.report.bytes += len;
                    progress.event(Event::Advanced { rows: 0, bytes: len, stored: 0 });
                }
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) => findings.report.problems.push(Problem {
                    object: ObjectName::Backup(id).to_string(),
                    message: chain(&error),
                    backup: Some(id),
                    table: None,
                }),
            }
        }
    }
    follow(&reader, &backup, findings).await
}

/// Compares what a backup refers to with the chunks that were proven.
async fn follow(reader: &ChunkReader, backup: &Backup, findings: &mut Findings) -> Result<()> {
    let id = backup.clear.id;
    let mut entries: Vec<Entry> = Vec::new();
    for stream in entries_streams(backup) {
        match reader.entries(backup, stream).await {
            Ok(read) => entries.extend(read),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => findings.harm(id, None, chain(&error)),
        }
    }
    for (number, stream) in backup.clear.streams.iter().enumerate() {
        // A stream of a later version; whoever knows it, checks it.
        if matches!(FrameType::from_code(stream.frame_type), Ok(FrameType::Ancillary(_))) {
            continue;
        }
        let entry = entries
            .iter()
            .find(|entry| entry.data.as_ref().is_some_and(|data| data.stream as usize == number));
        let table = entry
            .map(|entry| format!("{}.{}", entry.schema.as_deref().unwrap_or_default(), entry.name));
        match reader.references(stream).await {
            Ok(references) => {
                for message in compare(findings, entry, &references) {
                    findings.harm(id, table.clone(), message);
                }
            }
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => findings.harm(id, table, chain(&error)),
        }
    }
    findings.report.backups += 1;
    Ok(())
}

/// The streams that hold entries; none without the identity.
fn entries_streams(backup: &Backup) -> Vec<u32> {
    backup.sealed.as_ref().map_or_else(Vec::new, |sealed| {
        let databases = sealed.databases.iter().map(|database| database.entries_stream);
        databases.chain(sealed.globals_stream).collect()
    })
}

/// What is wrong with a stream.
fn compare(
    findings: &Findings,
    entry: Option<&Entry>,
    references: &[ChunkReference],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut bytes, mut row_ends) = (0, 0);
    for (place, reference) in references.iter().enumerate() {
        match findings.proven.get(&reference.id) {
            Some(proven) => {
                bytes += u64::from(proven.plain_len);
                row_ends += u64::from(proven.row_ends);
                if proven.row_continues.is_some_and(|found| found != reference.row_continues) {
                    wrong.push(format!("chunk {} is not cut as the backup says", reference.id));
                }
            }
            None => wrong.push(format!(
                "chunk {} ({} of {}) is missing or damaged",
                reference.id,
                place + 1,
                references.len()
            )),
        }
    }
    let data = entry.and_then(|entry| entry.data.as_ref());
    if let Some(data) = data.filter(|_| wrong.is_empty()) {
        if bytes != data.bytes {
            wrong.push(format!("rows have {bytes} bytes, the backup says {}", data.bytes));
        }
        // In this encoding a newline byte ends a row and is nowhere else.
        if data.encoding == RowEncoding::CopyText && row_ends != data.rows {
            wrong.push(format!("{row_ends} rows are there, the backup says {}", data.rows));
        }
    }
    wrong
}

impl Findings {
    fn harm(&mut self, backup: BackupId, table: Option<String>, message: String) {
        let object = ObjectName::Backup(backup).to_string();
        self.report.problems.push(Problem { object, message, backup: Some(backup), table });
    }
}
