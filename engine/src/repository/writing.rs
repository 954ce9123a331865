//! A run that adds backups: that it is at work, what it may rely on, and that it can still rely on
//! it when it says that a backup exists.

use super::{FinishedBackup, KnownChunks, Lease, Repository};
use crate::Result;
use crate::seal::Sealer;
use pgkeep_format::name::{ObjectName, Work};
use std::sync::Arc;

/// A run that adds backups. It must be ended, or a prune waits for it as for one that crashed.
#[derive(Debug)]
pub struct WriteRun {
    repository: Repository,
    /// Absent where nobody else comes: in a single file.
    lease: Option<Lease>,
    known: Arc<KnownChunks>,
}

impl Repository {
    /// Begins a run.
    ///
    /// # Errors
    /// What the store gives.
    pub async fn begin_run(&self) -> Result<WriteRun> {
        let mut run = WriteRun { repository: self.clone(), lease: None, known: Arc::default() };
        if self.is_shared() {
            let lease = run.lease.insert(self.lease(Work::Chunks).await?);
            match KnownChunks::load(self, lease).await {
                Ok(known) => run.known = Arc::new(known),
                Err(error) => {
                    run.end().await;
                    return Err(error);
                }
            }
        }
        Ok(run)
    }
}

impl WriteRun {
    /// What need not be stored again.
    #[must_use]
    pub fn known(&self) -> &Arc<KnownChunks> {
        &self.known
    }

    /// Writes the manifest. All that it names must be durable; when this returns, the backup
    /// exists. Returns the manifest's length in bytes.
    ///
    /// # Errors
    /// What writing to the store gives; [`ErrorKind::Changed`](crate::ErrorKind::Changed) when
    /// what the backup relies on may be gone.
    pub async fn publish(&self, backup: &FinishedBackup, sealer: &Sealer) -> Result<u64> {
        let Some(lease) = &self.lease else {
            return self.repository.store_manifest(backup, sealer).await;
        };
        lease.check().await?;
        self.known.check(&self.repository).await?;
        let len = self.repository.store_manifest(backup, sealer).await?;
        lease.check_after(&ObjectName::Backup(backup.clear.id)).await?;
        Ok(len)
    }

    /// Ends the run.
    pub async fn end(self) {
        if let Some(lease) = self.lease {
            lease.end().await;
        }
    }
}
