//! Proves that what is stored is what was stored: every byte of every object, and that
//! every backup finds all it refers to.
//!
//! ```text
//! objects -> checksums -> signatures -> seals (with the identity) -> names
//! manifests -> streams -> chunks that were proven above
//! segments -> chunks of changes that were proven above
//! ```
//!
//! It changes nothing, and goes on after a problem: the report names them all.

mod backups;
mod packs;
mod segments;
#[cfg(test)]
mod tests;

use crate::progress::{Event, Interrupt, Progress};
use crate::repository::Repository;
use crate::store::StoredObject;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{BackupId, ChunkId};
use pgkeep_format::name::ObjectName;
use std::collections::HashMap;
use std::sync::Arc;

/// What to verify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Only this backup and what it needs; absent for the whole repository.
    pub backup: Option<BackupId>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Objects that were read.
    pub objects: u64,
    /// Chunks that were read.
    pub chunks: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Backups that were followed to their last chunk.
    pub backups: u64,
    /// Whether seals were opened and names computed, or checksums compared only, because
    /// no identity was given.
    pub unsealed: bool,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object, by its name in the repository.
    pub object: String,
    /// What is wrong with it, with causes.
    pub message: String,
    /// The backup that it harms, where it is known.
    pub backup: Option<BackupId>,
    /// The table whose rows it harms, `schema.table`, where it is known.
    pub table: Option<String>,
}

/// What is known of a chunk that was proven good.
#[derive(Debug, Clone, Copy)]
struct Proven {
    plain_len: u32,
    row_ends: u32,
    /// Whether its last row goes on in the next chunk; unknown where it stayed sealed.
    row_continues: Option<bool>,
}

/// What a verify has found so far.
struct Findings {
    report: VerifyReport,
    proven: HashMap<ChunkId, Proven>,
}

/// Verifies a repository.
///
/// # Errors
/// [`ErrorKind::Store`] when the store cannot be read at all,
/// [`ErrorKind::Interrupted`]. Damage is no error but a problem in the report.
pub async fn run(
    repository: &Repository,
    options: &VerifyOptions,
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
) -> Result<VerifyReport> {
    tokio::select! {
        biased;
        () = interrupt.wait() => Err(Error::new(ErrorKind::Interrupted, "verify was interrupted")),
        report = verify(repository, options, progress) => report,
    }
}

async fn verify(
    repository: &Repository,
    options: &VerifyOptions,
    progress: &Arc<dyn Progress>,
) -> Result<VerifyReport> {
    let report = VerifyReport { unsealed: repository.can_read(), ..VerifyReport::default() };
    let mut findings = Findings { report, proven: HashMap::new() };
    progress.event(Event::Phase("listing objects".to_owned()));
    let objects = repository.store().list("").await?;
    if let Some(backup) = options.backup {
        progress.event(Event::Phase("reading the backup".to_owned()));
        backups::verify_alone(repository, backup, progress, &mut findings).await?;
        return Ok(findings.report);
    }
    let packs = objects.iter().filter(|object| packs::is_pack(&object.name));
    let (count, bytes) = packs.fold((0, 0), |(count, bytes), pack| (count + 1, bytes + pack.len));
    progress.event(Event::Plan { tables: count, bytes });
    progress.event(Event::Phase("reading packs".to_owned()));
    packs::verify_all(repository, &objects, progress, &mut findings).await?;
    progress.event(Event::Phase("reading settings, keys and indexes".to_owned()));
    small_objects(repository, &objects, &mut findings).await?;
    progress.event(Event::Phase("following backups".to_owned()));
    backups::verify_all(repository, &objects, &mut findings).await?;
    progress.event(Event::Phase("following change streams".to_owned()));
    segments::verify_all(repository, &objects, &mut findings).await?;
    Ok(findings.report)
}

async fn small_objects(
    repository: &Repository,
    objects: &[StoredObject],
    findings: &mut Findings,
) -> Result<()> {
    for object in objects {
        let checked = match object.name {
            ObjectName::Config(_) => repository.check_config(&object.name).await,
            ObjectName::Key(key) => repository.check_key(key).await,
            ObjectName::Index(_) => repository.check_index(&object.name).await,
            ObjectName::PruneList(_) => repository.prune_list(&object.name).await.map(drop),
            ObjectName::Pack(_)
            | ObjectName::ChangePack(_)
            | ObjectName::Backup(_)
            | ObjectName::Segment(_)
            // Whoever works may end it at any time.
            | ObjectName::Lease(_) => continue,
        };
        findings.report.objects += 1;
        findings.report.bytes += object.len;
        findings.note(&object.name, checked)?;
    }
    Ok(())
}

impl Findings {
    /// Notes a failure as a problem of an object; an unreadable store ends the verify.
    fn note<T>(&mut self, object: &ObjectName, checked: Result<T>) -> Result<Option<T>> {
        match checked {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_of_store() => Err(error),
            Err(error) => {
                self.report.problems.push(Problem {
                    object: object.to_string(),
                    message: chain(&error),
                    backup: None,
                    table: None,
                });
                Ok(None)
            }
        }
    }
}

/// An error with its causes on one line.
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
