//! A store that counts the bytes read from another.

use super::{Store, StoredObject, Upload};
use crate::Result;
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::name::ObjectName;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Passes everything on and counts what is read.
#[derive(Debug)]
pub struct Counted {
    store: Arc<dyn Store>,
    bytes_read: AtomicU64,
}

impl Counted {
    /// Counts the reads from `store` from now on.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, bytes_read: AtomicU64::new(0) }
    }

    /// The store itself.
    pub(crate) fn inner(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Bytes of objects read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for Counted {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.store.create(name).await
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.store.read(name, range).await?;
        self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.store.len(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        self.store.list(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.store.delete(name).await
    }

    async fn remove_unfinished(&self, idle: Duration) -> Result<()> {
        self.store.remove_unfinished(idle).await
    }
}
