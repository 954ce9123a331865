//! What can be restored: from the first backup that joins a run of the stream to its end.

use super::chain::{Chain, chains};
use super::recovery::{Base, bases};
use crate::postgres::Visible;
use crate::repository::Repository;
use crate::{Lsn, Result};
use pgkeep_format::id::{BackupId, SeriesId};

/// Digits of an id that a sentence has.
const ID_DIGITS: usize = 8;

/// An id as a sentence has it.
pub(crate) fn short_id(id: impl ToString) -> String {
    let mut id = id.to_string();
    id.truncate(ID_DIGITS);
    id
}

/// A run of a change stream, and what it lets restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The stream.
    pub stream: SeriesId,
    /// The database; absent without the identity.
    pub database: Option<String>,
    /// Where the run begins.
    pub begins: u64,
    /// Where it ends.
    pub ends: u64,
    /// Up to when it is known, microseconds since 1970 UTC by the server's clock.
    pub known_until: i64,
    /// When its last segment was written, by the writer's clock.
    pub written_at: i64,
    /// Number of segments, the one that begins it not counted.
    pub segments: usize,
    /// The first backup that joins it and where: from there on every moment can be restored.
    /// Absent when there is none, or without the identity.
    pub from: Option<(BackupId, u64)>,
}

impl Window {
    /// What it is, for a hint.
    pub(super) fn sentence(&self) -> String {
        let ends = Lsn(self.ends);
        match &self.from {
            Some((backup, lsn)) => {
                let id = short_id(backup);
                format!("From {} (backup {id}) to {ends} every moment can be had.", Lsn(*lsn))
            }
            None => format!(
                "The stream from {} to {ends} has no backup to begin with.",
                Lsn(self.begins)
            ),
        }
    }
}

/// All windows of a repository, by streams, oldest first.
///
/// # Errors
/// What reading the store gives.
pub async fn windows(repository: &Repository) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    for chain in chains(repository).await? {
        let bases = match repository.can_read() {
            true => bases(repository, &chain).await?,
            false => Vec::new(),
        };
        windows.extend(windows_of(repository, &chain, &bases).await?);
    }
    Ok(windows)
}

/// The windows of one stream; `bases` are backups of its database.
pub(super) async fn windows_of(
    repository: &Repository,
    chain: &Chain,
    bases: &[Base],
) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    for run in &chain.runs {
        let begin = run.read_begin(repository).await?;
        let begin = begin.sealed.and_then(|sealed| sealed.begin);
        let mut from = None;
        if let Some(begin) = &begin {
            let begins = Visible::parse(&begin.snapshot)?;
            let joins = |base: &&Base| base.copied.is_none() && base.joins(run, &begins);
            from = bases.iter().find(joins).map(|base| (base.backup.clear.id, base.database.lsn));
        }
        windows.push(Window {
            stream: chain.stream,
            database: begin.map(|begin| begin.database),
            begins: run.begin.last,
            ends: run.last.last,
            known_until: run.last.known_until,
            written_at: run.last.written_at,
            segments: run.names.len(),
            from,
        });
    }
    Ok(windows)
}
