//! Leases: a writer says that it is at work, so that a prune waits for it.
//!
//! A lease is an object that is there while the writer works. Nothing of it depends on a clock:
//! a writer that slept for days, and was taken for dead by a prune meanwhile, finds its lease
//! gone and then reports nothing as stored. Beats, further objects that come every hour, only
//! tell a prune that there is no reason to think so.

use super::{Repository, signed};
use crate::seal::random;
use crate::{Error, ErrorKind, Result, clock};
use pgkeep_format::cbor;
use pgkeep_format::id::ObjectId;
use pgkeep_format::name::{LeaseName, ObjectName, Work};
use pgkeep_format::object::ObjectType;
use pgkeep_format::prune;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often a writer tells that it is still at work; a prune waits for many of these.
const BEAT_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// That this process is at work. Dropped without [`Lease::end`] it stays in the repository, as
/// after a crash, until a prune takes its writer for dead.
#[derive(Debug)]
pub struct Lease {
    repository: Repository,
    work: Work,
    id: ObjectId,
    /// The greatest beat that was written.
    beat: Arc<AtomicU32>,
    beating: JoinHandle<()>,
}

impl Repository {
    /// Takes a lease. What it protects must be looked at after this.
    ///
    /// # Errors
    /// What writing to the store gives.
    pub async fn lease(&self, work: Work) -> Result<Lease> {
        let id = ObjectId(random()?);
        self.write_lease(LeaseName { work, id, beat: 0 }).await?;
        let beat = Arc::new(AtomicU32::new(0));
        let beating = tokio::spawn(go_on(self.clone(), work, id, beat.clone()));
        Ok(Lease { repository: self.clone(), work, id, beat, beating })
    }

    async fn write_lease(&self, name: LeaseName) -> Result<()> {
        let lease = prune::Lease {
            written_at: clock::now_micros(),
            program: concat!("pgkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let (name, body) = (ObjectName::Lease(name), cbor::encode(&lease));
        let signing = self.signing_key()?;
        signed::write(self.store(), &name, ObjectType::Lease, self.id(), &body, signing).await?;
        Ok(())
    }
}

/// Writes a beat every hour, and removes the one before.
async fn go_on(repository: Repository, work: Work, id: ObjectId, beat: Arc<AtomicU32>) {
    loop {
        tokio::time::sleep(BEAT_INTERVAL).await;
        let before = beat.load(Ordering::Relaxed);
        let token = ObjectName::Lease(LeaseName { work, id, beat: 0 });
        if matches!(repository.store().len(&token).await, Ok(None)) {
            // Taken for dead; the writer finds out when it ends.
            return;
        }
        let name = LeaseName { work, id, beat: before.saturating_add(1) };
        if let Err(error) = repository.write_lease(name).await {
            // The next one will do: a prune waits for many.
            tracing::warn!("could not tell that this writer is at work: {error:?}");
            continue;
        }
        beat.store(name.beat, Ordering::Relaxed);
        if before > 0 {
            remove(&repository, LeaseName { beat: before, ..name }).await;
        }
    }
}

/// Removes an object of a lease; one that stays only makes a prune wait.
async fn remove(repository: &Repository, name: LeaseName) {
    if let Err(error) = repository.store().delete(&ObjectName::Lease(name)).await {
        tracing::warn!("could not remove a lease: {error:?}");
    }
}

impl Lease {
    fn token(&self) -> LeaseName {
        LeaseName { work: self.work, id: self.id, beat: 0 }
    }

    /// Makes sure that no prune has taken this writer for dead.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when one has: what this writer relied on may be gone.
    pub async fn check(&self) -> Result<()> {
        let token = ObjectName::Lease(self.token());
        match self.repository.store().len(&token).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                ErrorKind::Changed,
                "a prune took this run for dead, and may have removed what it relied on",
            )
            .hint("Run it again: what is stored so far is used.")),
        }
    }

    /// As [`Lease::check`], after an object was written that makes others count. A prune that took
    /// this writer for dead looked for such objects after it had removed the lease: it has seen
    /// this one, or the lease is not there any more; then the object is removed again.
    ///
    /// # Errors
    /// As [`Lease::check`].
    pub(super) async fn check_after(&self, written: &ObjectName) -> Result<()> {
        let Err(error) = self.check().await else { return Ok(()) };
        if let Err(failure) = self.repository.store().delete(written).await {
            tracing::warn!("could not remove \"{written}\", which may not be whole: {failure:?}");
        }
        Err(error)
    }

    /// Ends the lease.
    pub async fn end(self) {
        self.beating.abort();
        remove(&self.repository, self.token()).await;
        let beat = self.beat.load(Ordering::Relaxed);
        if beat > 0 {
            remove(&self.repository, LeaseName { beat, ..self.token() }).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.abort();
    }
}
