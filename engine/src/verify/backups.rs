//! Follows each backup from its manifest to its last chunk, and tells which rows damage takes.

use super::packs::counted;
use super::{Counted, Findings, Problem, chain};
use crate::progress::{Event, Progress};
use crate::repository::{
    Backup, ChunkIndex, ChunkReader, ChunkState, LostSpan, Repository, lost_spans,
};
use crate::store::StoredObject;
use crate::{Error, Result};
use pgkeep_format::entry::{Data, Entry, RowEncoding};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, ChunkId};
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::ChunkReference;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Follows all backups; the packs of their chunks were read before, or some of them.
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
            let read = if findings.opens {
                reader.read(&reference.id, frame_type).await.map(|opened| Some(counted(&opened)))
            } else {
                reader.frame(&reference.id).await.map(|_| None)
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
                Err(error) => findings.harm(Harm::of(id), chain(&error)),
            }
        }
    }
    // All that can be read was: what is not proven is damaged, wherever it lies.
    let index = reader.index();
    findings.read.extend(index.packs().copied());
    follow(&reader, &backup, findings).await
}

/// The rows of a stream.
struct Table {
    database: String,
    /// `schema.table`.
    name: String,
    data: Data,
}

/// Compares what a backup refers to with the chunks that were proven.
async fn follow(reader: &ChunkReader, backup: &Backup, findings: &mut Findings) -> Result<()> {
    let id = backup.clear.id;
    for key in backup.clear.keys.iter().filter(|key| !findings.keys.contains(key)) {
        let message = format!("key {key} is lost, and what this backup sealed under it");
        findings.report.problems.push(Harm::of(id).problem(message));
    }
    let (tables, unreadable) = tables(reader, backup, findings).await?;
    let index = reader.index();
    for (number, stream) in backup.clear.streams.iter().enumerate() {
        // A stream of a later version; whoever knows it, checks it.
        let later = matches!(FrameType::from_code(stream.frame_type), Ok(FrameType::Ancillary(_)));
        if later || unreadable.contains(&number) {
            continue;
        }
        let table = tables.get(&number);
        let harm = Harm { backup: id, table };
        match reader.references(stream).await {
            Ok(references) => compare(findings, &index, &harm, &references),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => {
                let message = format!("its list of chunks cannot be read: {}", chain(&error));
                findings.harm(harm.clone(), message);
                if let Ok(references) = reader.references_left(stream).await {
                    compare(findings, &index, &harm, &references);
                }
            }
        }
    }
    findings.report.backups += 1;
    Ok(())
}

/// The tables of all streams of rows, and the streams of entries that cannot be read; none without
/// the identity.
async fn tables(
    reader: &ChunkReader,
    backup: &Backup,
    findings: &mut Findings,
) -> Result<(HashMap<usize, Table>, HashSet<usize>)> {
    let (mut tables, mut unreadable) = (HashMap::new(), HashSet::new());
    let Some(sealed) = &backup.sealed else { return Ok((tables, unreadable)) };
    let databases = sealed.databases.iter().map(|it| (it.name.as_str(), it.entries_stream));
    let globals = sealed.globals_stream.map(|stream| ("", stream));
    for (database, stream) in databases.chain(globals) {
        let error = match reader.entries(backup, stream).await {
            Ok(entries) => {
                let with_rows = entries.into_iter().filter_map(|mut entry| {
                    let data = *entry.data.take()?;
                    let database = database.to_owned();
                    Some((data.stream as usize, Table { database, name: full_name(entry), data }))
                });
                tables.extend(with_rows);
                continue;
            }
            Err(error) => error,
        };
        if error.is_of_store() {
            return Err(error);
        }
        let what = match database {
            "" => "roles and tablespaces".to_owned(),
            name => format!("definitions of database \"{name}\""),
        };
        let message = format!("{what} cannot be read: {}", chain(&error));
        let mut problem = Harm::of(backup.clear.id).problem(message);
        problem.database = Some(database.to_owned()).filter(|name| !name.is_empty());
        findings.report.problems.push(problem);
        unreadable.insert(stream as usize);
    }
    Ok((tables, unreadable))
}

fn full_name(entry: Entry) -> String {
    match entry.schema {
        Some(schema) => format!("{schema}.{}", entry.name),
        None => entry.name,
    }
}

/// Notes what is wrong with a stream.
fn compare(
    findings: &mut Findings,
    index: &ChunkIndex,
    harm: &Harm<'_>,
    references: &[ChunkReference],
) {
    let data = harm.table.map(|table| &table.data);
    let encoding = data.map(|data| data.encoding);
    let mut states = Vec::with_capacity(references.len());
    let (mut bytes, mut rows, mut all_counted, mut all_rows_counted) = (0, 0, true, true);
    let leaves_out = references.iter().any(|reference| reference.left_out.is_some());
    if encoding == Some(RowEncoding::CopyBinary)
        && let Some(Err(error)) = data.map(|data| data.binary_types())
    {
        findings.harm(harm.clone(), error.to_string());
    }
    let mut begins_within = false;
    for reference in references {
        let is_whole = !std::mem::replace(&mut begins_within, reference.row_continues)
            && !reference.row_continues;
        let counted = match findings.proven.get(&reference.id) {
            Some(counted) => *counted,
            None => {
                all_counted = false;
                if is_looked_up(findings, index, &reference.id) {
                    findings.report.looked_up += 1;
                    states.push(ChunkState::Uncounted);
                } else {
                    states.push(ChunkState::Lost);
                }
                continue;
            }
        };
        let Some(counted) = counted else {
            all_counted = false;
            states.push(ChunkState::Uncounted);
            continue;
        };
        bytes += u64::from(counted.plain_len);
        match counted.rows(encoding) {
            Some(ended) => {
                let ended = u64::from(ended);
                if reference.left_out.as_ref().is_some_and(|left_out| left_out.end() > ended) {
                    let message = format!(
                        "rows of chunk {} are left out that it does not have",
                        reference.id
                    );
                    findings.harm(harm.clone(), message);
                }
                let kept = ended.saturating_sub(reference.rows_left_out());
                rows += kept;
                states.push(ChunkState::Good(kept));
            }
            None => {
                if is_whole && encoding == Some(RowEncoding::CopyBinary) {
                    let message = format!("chunk {} has no rows of binary COPY", reference.id);
                    findings.harm(harm.clone(), message);
                }
                all_rows_counted = false;
                states.push(ChunkState::Uncounted);
            }
        }
        if counted.row_continues != reference.row_continues {
            let message = format!("chunk {} is not cut as the backup says", reference.id);
            findings.harm(harm.clone(), message);
        }
    }
    let counts_rows = data.filter(|data| data.encoding != RowEncoding::Cbor);
    for span in lost_spans(references, &states, counts_rows.map(|data| data.rows)) {
        let mut problem = harm.problem(lost_text(&span));
        problem.lost = Some(span);
        findings.report.problems.push(problem);
    }
    let Some(data) = data.filter(|_| all_counted) else { return };
    // How long rows are that are left out only who reads their chunk knows.
    if bytes != data.bytes && !(leaves_out && bytes > data.bytes) {
        let message = format!("rows have {bytes} bytes, the backup says {}", data.bytes);
        findings.harm(harm.clone(), message);
    }
    if counts_rows.is_some() && all_rows_counted && rows != data.rows {
        let message = format!("{rows} rows are there, the backup says {}", data.rows);
        findings.harm(harm.clone(), message);
    }
}

impl Counted {
    /// The rows that end in it; absent where nothing is known of them.
    fn rows(&self, encoding: Option<RowEncoding>) -> Option<u32> {
        match encoding {
            // In this encoding a newline byte ends a row and is nowhere else.
            Some(RowEncoding::CopyText) => Some(self.lines),
            Some(RowEncoding::CopyBinary) => self.tuples,
            Some(RowEncoding::Cbor) | None => None,
        }
    }
}

/// Whether a chunk that was not proven lies in a pack that was not read.
fn is_looked_up(findings: &Findings, index: &ChunkIndex, chunk: &ChunkId) -> bool {
    index.copies(chunk).any(|location| !findings.read.contains(&location.pack))
}

fn lost_text(span: &LostSpan) -> String {
    let LostSpan { first_chunk, last_chunk, chunks, .. } = span;
    match first_chunk == last_chunk {
        true => format!("chunk {first_chunk} of {chunks} is missing or damaged"),
        false => format!("chunks {first_chunk} to {last_chunk} of {chunks} are missing or damaged"),
    }
}

/// What a problem harms.
#[derive(Clone)]
struct Harm<'a> {
    backup: BackupId,
    table: Option<&'a Table>,
}

impl Harm<'_> {
    /// A backup as a whole.
    fn of(backup: BackupId) -> Self {
        Self { backup, table: None }
    }

    fn problem(&self, message: String) -> Problem {
        Problem {
            object: ObjectName::Backup(self.backup).to_string(),
            message,
            backup: Some(self.backup),
            database: self.table.map(|table| table.database.clone()),
            table: self.table.map(|table| table.name.clone()),
            ..Problem::default()
        }
    }
}

impl Findings {
    fn harm(&mut self, harm: Harm<'_>, message: String) {
        self.report.problems.push(harm.problem(message));
    }
}
