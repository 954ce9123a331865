//! Forgets backups by rule or by name: removes manifests. What they alone needed goes with the
//! next prune.
//!
//! ```text
//! manifests -> by series -> rules -> decisions, each with its reason -> removed
//! segments  -> before the kept backups that need them? -> removed
//! ```
//!
//! It needs no key that reads. What it cannot judge it keeps: a manifest that cannot be read, a
//! backup from the future. The newest good backup of a series is never forgotten by rule.

mod changes;
mod rules;
#[cfg(test)]
mod tests;

pub use changes::StreamDecision;
pub use rules::{Rules, TagRule};

use crate::repository::{Backup, ChunkReader, Repository};
use crate::{Error, ErrorKind, Result};
use jiff::tz::TimeZone;
use pgkeep_format::id::{BackupId, SeriesId};
use pgkeep_format::manifest::BackupKind;
use pgkeep_format::name::{BACKUPS, ObjectName};
use rules::Candidate;
use std::collections::BTreeMap;
use std::time::Duration;

/// A backup that is so much later than this machine's clock is of a wrong clock, or a lie:
/// microseconds.
const FUTURE: i64 = 24 * 3600 * 1_000_000;

/// What to forget.
#[derive(Debug, Clone)]
pub struct ForgetOptions {
    /// By rule, for each series of its own.
    pub rules: Rules,
    /// By name: the first digits of ids. With names there are no rules.
    pub names: Vec<String>,
    /// With rules: changes are kept for so long before the end of their stream, with the backup
    /// that they begin with; absent for as long as a kept backup needs them.
    pub changes: Option<Duration>,
    /// With names: even the last good backup of a database.
    pub last_too: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// This machine's clock, microseconds since 1970 UTC.
    pub now: i64,
    /// Whose days and hours count.
    pub zone: TimeZone,
}

/// What was decided of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The backup.
    pub id: BackupId,
    /// Its manifest; absent where it cannot be read.
    pub backup: Option<Backup>,
    /// Whether it is kept.
    pub keep: bool,
    /// Why, a few words each.
    pub reasons: Vec<String>,
    /// Whether it is there only as the store does not let it go; a later run tries again.
    pub is_retained: bool,
}

impl Decision {
    fn new(backup: &Backup, keep: bool, reason: &str) -> Self {
        let reasons = vec![reason.to_owned()];
        Self {
            id: backup.clear.id,
            backup: Some(backup.clone()),
            keep,
            reasons,
            is_retained: false,
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decisions {
    /// Of each backup, by series, newest first.
    pub backups: Vec<Decision>,
    /// Of each change stream.
    pub streams: Vec<StreamDecision>,
}

impl Decisions {
    /// How many objects were to go that the store does not let go yet.
    #[must_use]
    pub fn retained(&self) -> u64 {
        let backups = self.backups.iter().filter(|backup| backup.is_retained).count() as u64;
        backups + self.streams.iter().map(|stream| stream.retained).sum::<u64>()
    }
}

/// Forgets backups, and by rule the changes that none of the kept ones needs; returns what was
/// decided.
///
/// # Errors
/// [`ErrorKind::Usage`] when nothing says what to keep, or the last good backup is named;
/// [`ErrorKind::NotFound`] when a name is of no backup; what the store gives.
pub async fn run(repository: &Repository, options: &ForgetOptions) -> Result<Decisions> {
    if options.names.is_empty() && options.rules.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no rule says what to keep")
            .hint("Give one, such as: pgkeep forget --keep-daily 7 --keep-weekly 5 --dry-run")
            .hint("Or name the backups to forget."));
    }
    let mut decisions = match options.names.is_empty() {
        true => {
            let mut backups = by_rule(repository, options).await?;
            let streams = changes::decide(repository, &backups, options.changes).await?;
            drop_copies(&mut backups, &streams);
            Decisions { backups, streams }
        }
        false => Decisions { backups: by_name(repository, options).await?, streams: Vec::new() },
    };
    if !options.dry_run {
        // The oldest first: whoever stops in between has the newest.
        for decision in decisions.backups.iter_mut().rev().filter(|decision| !decision.keep) {
            if !repository.remove(&ObjectName::Backup(decision.id)).await? {
                (decision.keep, decision.is_retained) = (true, true);
                decision.reasons.push("the store does not let it go".to_owned());
            }
        }
        changes::remove_all(repository, &mut decisions.streams).await?;
    }
    Ok(decisions)
}

/// All logical backups by series, newest first; and those that no rule judges, decided.
async fn series(
    repository: &Repository,
) -> Result<(BTreeMap<SeriesId, Vec<Backup>>, Vec<Backup>, Vec<Decision>)> {
    let backups = repository.backups().await?;
    let mut series: BTreeMap<SeriesId, Vec<Backup>> = BTreeMap::new();
    let (mut copies, mut decided) = (Vec::new(), Vec::new());
    for (id, error) in backups.unreadable {
        let reasons = vec![format!("cannot be read ({error})")];
        decided.push(Decision { id, backup: None, keep: true, reasons, is_retained: false });
    }
    for backup in backups.good.into_iter().rev() {
        match backup.clear.kind {
            BackupKind::Copy => copies.push(backup),
            _ => series.entry(backup.clear.series).or_default().push(backup),
        }
    }
    Ok((series, copies, decided))
}

async fn by_rule(repository: &Repository, options: &ForgetOptions) -> Result<Vec<Decision>> {
    let (series, copies, unreadable) = series(repository).await?;
    let reader = ChunkReader::open(repository).await?;
    let mut decisions = Vec::new();
    for backups in series.values() {
        decisions.extend(decide(&reader, backups, options).await?);
    }
    let copies: Vec<Decision> = copies.iter().map(|copy| of_copy(copy, &decisions)).collect();
    decisions.extend(copies);
    decisions.extend(unreadable);
    Ok(decisions)
}

/// Decides of the backups of one series, which come newest first.
async fn decide(
    reader: &ChunkReader,
    backups: &[Backup],
    options: &ForgetOptions,
) -> Result<Vec<Decision>> {
    let mut decisions = Vec::new();
    let mut judged: Vec<&Backup> = Vec::new();
    for backup in backups {
        if backup.clear.finished_at > options.now.saturating_add(FUTURE) {
            decisions.push(Decision::new(backup, true, "is of the future, by this clock"));
        } else if let Err(error) = is_whole(reader, backup).await {
            if error.is_of_store() {
                return Err(error);
            }
            // It counts for no rule, or a damaged one would stand for a good one.
            decisions.push(Decision::new(backup, true, "is damaged; forget it by its id"));
        } else {
            judged.push(backup);
        }
    }
    let tags = |backup: &Backup| {
        backup.clear.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect::<Vec<_>>()
    };
    let tags: Vec<Vec<(String, String)>> = judged.iter().map(|backup| tags(backup)).collect();
    let candidates: Vec<Candidate<'_>> = judged
        .iter()
        .zip(&tags)
        .map(|(backup, tags)| Candidate {
            finished_at: backup.clear.finished_at,
            tags: tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        })
        .collect();
    let reasons = options.rules.reasons(&candidates, &options.zone);
    for (position, (backup, reasons)) in judged.iter().zip(reasons).enumerate() {
        decisions.push(match (reasons.is_empty(), position) {
            (false, _) => Decision { reasons, ..Decision::new(backup, true, "") },
            (true, 0) => Decision::new(backup, true, "is the last good one"),
            (true, _) => Decision::new(backup, false, "no rule keeps it"),
        });
    }
    Ok(decisions)
}

/// A copy of tables for a change stream leads nowhere without an older backup.
fn of_copy(copy: &Backup, decisions: &[Decision]) -> Decision {
    let leads = |decision: &Decision| {
        let backup = decision.backup.as_ref().filter(|_| decision.keep);
        // Backups of all databases of a server have a series of their own.
        backup.is_some_and(|backup| backup.clear.started_at <= copy.clear.finished_at)
    };
    match decisions.iter().any(leads) {
        true => Decision::new(copy, true, "completes the changes after a kept backup"),
        false => Decision::new(copy, false, "no kept backup is older"),
    }
}

/// A copy of tables from before what is kept of its stream leads nowhere either.
fn drop_copies(backups: &mut [Decision], streams: &[StreamDecision]) {
    for decision in backups.iter_mut().filter(|decision| decision.keep) {
        let Some(copy) = &decision.backup else { continue };
        let begins_later = |stream: &&StreamDecision| {
            stream.stream == copy.clear.series && stream.begins[1] > copy.clear.lsn
        };
        if copy.clear.kind == BackupKind::Copy && streams.iter().any(|it| begins_later(&it)) {
            decision.keep = false;
            decision.reasons = vec!["is before the changes that are kept".to_owned()];
        }
    }
}

/// Whether all chunks of a backup are where the index says, as far as that is known without
/// reading them.
async fn is_whole(reader: &ChunkReader, backup: &Backup) -> Result<()> {
    for stream in &backup.clear.streams {
        for reference in reader.references(stream).await? {
            reader.locate(&reference.id)?;
        }
    }
    Ok(())
}

async fn by_name(repository: &Repository, options: &ForgetOptions) -> Result<Vec<Decision>> {
    let objects = repository.store().list(BACKUPS).await?;
    let ids = objects.iter().filter_map(|object| match object.name {
        ObjectName::Backup(id) => Some(id),
        _ => None,
    });
    let ids: Vec<BackupId> = ids.collect();
    let mut named = Vec::new();
    for name in &options.names {
        let id = the_one(&ids, name)?;
        if !named.contains(&id) {
            named.push(id);
        }
    }
    if !options.last_too {
        refuse_the_last(repository, &named).await?;
    }
    let mut decisions = Vec::new();
    for id in named {
        let backup = match repository.backup(id).await {
            Ok(backup) => Some(backup),
            Err(error) if error.is_of_store() => return Err(error),
            Err(_) => None,
        };
        let reasons = vec!["was named".to_owned()];
        decisions.push(Decision { id, backup, keep: false, reasons, is_retained: false });
    }
    Ok(decisions)
}

fn the_one(ids: &[BackupId], name: &str) -> Result<BackupId> {
    let mut matching = ids.iter().filter(|id| !name.is_empty() && id.to_string().starts_with(name));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => {
            Err(Error::new(ErrorKind::NotFound, format!("backup \"{name}\" does not exist"))
                .hint("Run: pgkeep list"))
        }
        (Some(_), Some(_)) => {
            let message = format!("several backups begin with \"{name}\"");
            Err(Error::new(ErrorKind::Usage, message).hint("Run: pgkeep list"))
        }
    }
}

/// Makes sure that a good backup of each series is left.
async fn refuse_the_last(repository: &Repository, named: &[BackupId]) -> Result<()> {
    let (series, _, _) = series(repository).await?;
    let concerned =
        |backups: &&Vec<Backup>| backups.iter().any(|backup| named.contains(&backup.clear.id));
    let mut reader = None;
    'series: for backups in series.values().filter(concerned) {
        let reader = match &mut reader {
            Some(reader) => reader,
            none => none.insert(ChunkReader::open(repository).await?),
        };
        let mut had_a_good_one = false;
        for backup in backups {
            match is_whole(reader, backup).await {
                Ok(()) if !named.contains(&backup.clear.id) => continue 'series,
                Ok(()) => had_a_good_one = true,
                Err(error) if error.is_of_store() => return Err(error),
                Err(_) => {}
            }
        }
        if had_a_good_one {
            let id = backups.iter().map(|backup| backup.clear.id).find(|id| named.contains(id));
            let message =
                format!("backup {} is the last good one of its database", id.unwrap_or_default());
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("Take another one first: pgkeep backup")
                .hint("If the database is to be forgotten: --last-too"));
        }
    }
    Ok(())
}
