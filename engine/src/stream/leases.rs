//! The leases of a streamer: each storage has one, which ends when no segment is built with it any
//! more. Until then a prune leaves alone what was uploaded and is in no segment yet.

use crate::Result;
use crate::repository::{Lease, Repository};
use pgkeep_format::name::Work;
use std::sync::Arc;

/// The leases of a streamer, oldest first.
#[derive(Debug, Default)]
pub(super) struct Leases(Vec<Arc<Lease>>);

impl Leases {
    /// Takes one more.
    pub(super) async fn take(&mut self, repository: &Repository) -> Result<Arc<Lease>> {
        let lease = Arc::new(repository.lease(Work::Changes).await?);
        self.0.push(lease.clone());
        Ok(lease)
    }

    /// Ends those that nobody has any more.
    pub(super) async fn end_unused(&mut self) {
        let mut used = Vec::new();
        for lease in std::mem::take(&mut self.0) {
            match Arc::try_unwrap(lease) {
                Ok(lease) => lease.end().await,
                Err(lease) => used.push(lease),
            }
        }
        self.0 = used;
    }
}
