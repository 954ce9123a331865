//! Mends what can be: indexes are made anew from packs, good chunks are taken out of damaged packs.
//!
//! ```text
//! index  packs that no good index names -> checked -> new indexes -> useless indexes are removed
//! packs  damaged packs -> good frames -> new packs -> new indexes -> old indexes, damaged packs are
//!        removed
//! ```
//!
//! It needs a writer credential and never the identity: frames are compared with their checksums
//! and moved as they are. What is new is durable before anything is removed, so it may stop
//! anywhere and be run again, also beside running backups: whoever refers to a chunk names the
//! chunk and not its pack.

mod harm;
mod indexes;
mod packs;
#[cfg(test)]
mod tests;

use crate::progress::{Interrupt, Progress};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::{BackupId, ChunkId, KeyId, PackId};
use pgkeep_format::name::ObjectName;
use std::sync::Arc;

/// What to repair and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// Tells what would be done and changes nothing.
    pub dry_run: bool,
    /// Of [`packs`]: only these packs; empty for all.
    pub packs: Vec<PackId>,
    /// Of [`packs`]: takes out chunks too whose key is lost, so that they are stored again.
    pub lost_keys: bool,
}

/// What was repaired, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Packs that are named by new indexes: those that no index named before.
    pub indexed: Vec<PackId>,
    /// Indexes that were removed, each with the reason.
    pub removed_indexes: Vec<(ObjectName, String)>,
    /// Damaged packs.
    pub damaged: Vec<DamagedPack>,
    /// Chunks that no pack has any more and some backup needs.
    pub lost: Vec<ChunkId>,
    /// The backups that need them.
    pub harmed: Vec<HarmedBackup>,
    /// Keys of which no object is good, and what needs them.
    pub lost_keys: Vec<LostKey>,
    /// What was left as it is and somebody should look at, a sentence each.
    pub warnings: Vec<String>,
}

/// A pack with damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPack {
    /// The pack.
    pub pack: PackId,
    /// Chunks of it that are good: they are now in another pack.
    pub good: u64,
    /// Chunks of it that are not, as far as their names can be read.
    pub bad: Vec<ChunkId>,
    /// What is wrong with it, the first of it.
    pub message: String,
}

/// A backup that needs chunks that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarmedBackup {
    /// The backup.
    pub backup: BackupId,
    /// References to chunks that are lost.
    pub chunks: u64,
    /// Its streams that are harmed: tables, or definitions. Which is which, `verify` tells with the
    /// identity.
    pub streams: u64,
}

/// A key that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostKey {
    /// The key.
    pub key: KeyId,
    /// Backups whose run sealed under it; others may use its chunks too.
    pub backups: Vec<BackupId>,
    /// Segments of change streams that were sealed under it.
    pub segments: u64,
}

/// Writes new indexes for packs that no readable index names, and removes indexes that cannot be
/// read or name packs that are gone.
///
/// A pack is believed for its checksums where it cannot be opened: who can write to the store could
/// put one there. A verify with the identity tells.
///
/// # Errors
/// What the store gives; [`ErrorKind::WrongKey`] without a writer credential;
/// [`ErrorKind::Interrupted`].
pub async fn index(
    repository: &Repository,
    options: &RepairOptions,
    progress: &Arc<dyn Progress>,
    interrupt: Interrupt,
) -> Result<RepairReport> {
    repository.check_may_sign()?;
    or_interrupted(interrupt, indexes::repair(repository, options, progress)).await
}

/// Moves the good chunks of damaged packs into new packs, and removes the damaged ones. No index
/// names then what is lost, so the next backup stores it again, if its rows are still there.
///
/// # Errors
/// As [`index`].
pub async fn packs(
    repository: &Repository,
    options: &RepairOptions,
    progress: &Arc<dyn Progress>,
    interrupt: Interrupt,
) -> Result<RepairReport> {
    repository.check_may_sign()?;
    or_interrupted(interrupt, packs::repair(repository, options, progress)).await
}

async fn or_interrupted(
    mut interrupt: Interrupt,
    work: impl Future<Output = Result<RepairReport>>,
) -> Result<RepairReport> {
    tokio::select! {
        biased;
        () = interrupt.wait() => Err(Error::new(ErrorKind::Interrupted, "repair was interrupted")
            .hint("Run it again: nothing was removed that is not in a new place.")),
        report = work => report,
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
