//! Proves that what is stored is what was stored: every byte of every object, and that
//! every backup finds all it refers to.
//!
//! ```text
//! objects -> checksums -> signatures -> seals (with the identity) -> names
//! manifests -> streams -> chunks that were proven above, or that an index or footer says are there
//! segments -> chunks of changes likewise
//! ```
//!
//! It changes nothing, and goes on after a problem: the report names them all, what they harm, and
//! how much was read to know it.

mod backups;
mod packs;
mod segments;
#[cfg(test)]
mod tampering_tests;
#[cfg(test)]
mod tests;

use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{LostSpan, Repository};
use crate::store::StoredObject;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{BackupId, ChunkId, KeyId, PackId, SeriesId};
use pgkeep_format::name::{KeyName, ObjectName};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to verify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Only this backup and what it needs; absent for the whole repository.
    pub backup: Option<BackupId>,
    /// How many of a hundred packs to read, chosen at random; absent for all. Not with `backup`.
    pub read_percent: Option<u8>,
    /// Opens no chunk of rows even where the identity is there. Manifests and entries are, so that
    /// what damage harms is told by its name.
    pub keyless: bool,
    /// No pack is begun when so much time is over; those that are read are chosen at random. Not
    /// with `backup`.
    pub budget: Option<Duration>,
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
    /// no identity was given or it was told so.
    pub unsealed: bool,
    /// How many packs were read; absent for one backup, whose chunks are read and no others.
    pub packs: Option<PacksRead>,
    /// References to chunks that were not read: an index or a footer says that they are there, and
    /// the pack has the length that it should have.
    pub looked_up: u64,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// Which share of the packs was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacksRead {
    /// Packs that were read, and their bytes.
    pub read: u64,
    /// See `read`.
    pub bytes_read: u64,
    /// Packs that are there, and their bytes.
    pub all: u64,
    /// See `all`.
    pub bytes: u64,
    /// Whether the time was over before all were read that should be.
    pub out_of_time: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The object, by its name in the repository.
    pub object: String,
    /// What is wrong with it, with causes.
    pub message: String,
    /// The backup that it harms, where it is known.
    pub backup: Option<BackupId>,
    /// The database that it harms, where it is known.
    pub database: Option<String>,
    /// The table whose rows or changes it harms, `schema.table`, where it is known.
    pub table: Option<String>,
    /// Which chunks of the table's rows, and which rows.
    pub lost: Option<LostSpan>,
    /// Which span of a change stream it harms.
    pub changes: Option<ChangeSpan>,
}

/// A span of a change stream: what committed in it cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeSpan {
    /// The change stream.
    pub stream: SeriesId,
    /// The position in the WAL where it begins.
    pub first: u64,
    /// Where it ends.
    pub last: u64,
    /// The time, microseconds since 1970 UTC, before which nothing of it committed; absent where
    /// that is not known.
    pub from: Option<i64>,
    /// The time after which nothing of it committed; absent where that is not known.
    pub to: Option<i64>,
}

/// What is known of a chunk that was proven good, where it was opened.
#[derive(Debug, Clone, Copy)]
struct Counted {
    plain_len: u32,
    /// Newlines: the rows of COPY text that end in it.
    lines: u32,
    /// The rows of binary COPY, where it is whole ones.
    tuples: Option<u32>,
    /// Whether its last row goes on in the next chunk.
    row_continues: bool,
}

/// What a verify has found so far.
struct Findings {
    report: VerifyReport,
    /// Whether seals are opened.
    opens: bool,
    /// Keys that can be had.
    keys: HashSet<KeyId>,
    /// Packs that were read.
    read: HashSet<PackId>,
    /// Chunks of rows and entries that are good, wherever they lie.
    proven: HashMap<ChunkId, Option<Counted>>,
    /// Chunks of changes that are good, by the place that a segment tells.
    changes: HashMap<(PackId, u64), ChunkId>,
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
    let deadline = options.budget.and_then(|budget| Instant::now().checked_add(budget));
    let opens = repository.can_read() && !options.keyless;
    let mut findings = Findings {
        report: VerifyReport { unsealed: opens, ..VerifyReport::default() },
        opens,
        keys: HashSet::new(),
        read: HashSet::new(),
        proven: HashMap::new(),
        changes: HashMap::new(),
    };
    progress.event(Event::Phase("listing objects".to_owned()));
    let objects = repository.store().list("").await?;
    if let Some(backup) = options.backup {
        progress.event(Event::Phase("reading the backup".to_owned()));
        findings.keys = repository.check_keys(&objects, false).await?.good;
        backups::verify_alone(repository, backup, progress, &mut findings).await?;
        return Ok(findings.report);
    }
    let chosen = packs::choose(&objects, options)?;
    let bytes = chosen.iter().map(|pack| pack.len).sum();
    progress.event(Event::Plan { tables: chosen.len() as u64, bytes });
    progress.event(Event::Phase("reading settings, keys and indexes".to_owned()));
    keys(repository, &objects, &mut findings).await?;
    small_objects(repository, &objects, &chosen, &mut findings).await?;
    progress.event(Event::Phase("reading packs".to_owned()));
    packs::verify_all(repository, &objects, &chosen, deadline, progress, &mut findings).await?;
    progress.event(Event::Phase("following backups".to_owned()));
    backups::verify_all(repository, &objects, &mut findings).await?;
    progress.event(Event::Phase("following change streams".to_owned()));
    segments::verify_all(repository, &objects, &mut findings).await?;
    Ok(findings.report)
}

async fn keys(
    repository: &Repository,
    objects: &[StoredObject],
    findings: &mut Findings,
) -> Result<()> {
    for object in objects.iter().filter(|object| matches!(object.name, ObjectName::Key(_))) {
        findings.report.objects += 1;
        findings.report.bytes += object.len;
    }
    let checks = repository.check_keys(objects, findings.opens).await?;
    for (name, error) in checks.bad {
        let KeyName { id, .. } = name;
        let message = match checks.good.contains(&id) {
            true => format!("{}; another object has the key, nothing is lost", chain(&error)),
            false => format!("{}; key {id} is lost, and what is sealed under it", chain(&error)),
        };
        let object = ObjectName::Key(name).to_string();
        findings.report.problems.push(Problem { object, message, ..Problem::default() });
    }
    findings.keys = checks.good;
    Ok(())
}

/// Configs and indexes; what indexes say is compared with the packs that are read.
async fn small_objects(
    repository: &Repository,
    objects: &[StoredObject],
    chosen: &[StoredObject],
    findings: &mut Findings,
) -> Result<()> {
    let lens: HashMap<PackId, u64> = objects
        .iter()
        .filter_map(|object| match object.name {
            ObjectName::Pack(pack) => Some((pack, object.len)),
            _ => None,
        })
        .collect();
    let compared = chosen.iter().map(|pack| packs::pack_id(&pack.name)).collect();
    for object in objects {
        let checked = match object.name {
            ObjectName::Config(_) => repository.check_config(&object.name).await,
            ObjectName::Index(_) => repository.check_index(&object.name, &lens, &compared).await,
            ObjectName::PruneList(_) => repository.prune_list(&object.name).await.map(drop),
            ObjectName::Voucher(id) => repository.check_voucher(id).await,
            ObjectName::Key(_)
            | ObjectName::Pack(_)
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
    /// Notes a failure as a problem of an object; an unreadable store ends the verify. An object
    /// that is gone since it was listed is none: whoever removed it may do so, and what needs it
    /// is found to miss it.
    fn note<T>(&mut self, object: &ObjectName, checked: Result<T>) -> Result<Option<T>> {
        match checked {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_of_store() => Err(error),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let backup = match object {
                    ObjectName::Backup(id) => Some(*id),
                    _ => None,
                };
                self.report.problems.push(Problem {
                    object: object.to_string(),
                    message: chain(&error),
                    backup,
                    ..Problem::default()
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
