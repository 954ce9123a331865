//! A store that writes and reads no faster than it may.

use super::pace::{Pace, Rates};
use super::{Store, StoredObject, Upload};
use crate::Result;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pgkeep_format::name::ObjectName;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The largest range that is read at once from a store that reads as fast as it can.
const RANGE_MAX: u64 = 1 << 20;

/// Keeps another store to [`Rates`], with all that is written and read at the same time.
#[derive(Debug)]
pub struct Limited {
    store: Arc<dyn Store>,
    upload: Option<Pace>,
    download: Option<Pace>,
}

impl Limited {
    /// Keeps `store` to `rates`; as it is where there are none.
    #[must_use]
    pub fn wrap(store: Arc<dyn Store>, rates: Rates) -> Arc<dyn Store> {
        if rates == Rates::default() {
            return store;
        }
        let (upload, download) = (rates.upload.map(Pace::new), rates.download.map(Pace::new));
        Arc::new(Self { store, upload, download })
    }
}

#[async_trait]
impl Store for Limited {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        let upload = self.store.create(name).await?;
        Ok(match &self.upload {
            Some(pace) => Box::new(LimitedUpload { upload, pace: pace.clone() }),
            None => upload,
        })
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let Some(pace) = &self.download else { return self.store.read(name, range).await };
        let mut read = BytesMut::new();
        let mut at = range.start;
        while range.end.saturating_sub(at) > RANGE_MAX {
            pace.wait(RANGE_MAX).await;
            read.extend(self.store.read(name, at..at + RANGE_MAX).await?);
            at += RANGE_MAX;
        }
        pace.wait(range.end.saturating_sub(at)).await;
        let last = self.store.read(name, at..range.end).await?;
        if read.is_empty() {
            return Ok(last);
        }
        read.extend(last);
        Ok(read.freeze())
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

/// Passes pieces on when they may go.
struct LimitedUpload {
    upload: Box<dyn Upload>,
    pace: Pace,
}

#[async_trait]
impl Upload for LimitedUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.pace.piece()));
            self.pace.wait(piece.len() as u64).await;
            self.upload.write(piece).await?;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.upload.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, get, put};
    use pgkeep_format::id::PackId;
    use std::num::NonZeroU64;
    use tokio::time::Instant;

    const MIB: usize = 1 << 20;

    fn pack(number: u8) -> ObjectName {
        ObjectName::Pack(PackId([number; 16]))
    }

    fn limited(upload: u64, download: u64) -> Arc<dyn Store> {
        let rates = Rates { upload: NonZeroU64::new(upload), download: NonZeroU64::new(download) };
        Limited::wrap(Arc::new(MemoryStore::default()), rates)
    }

    #[tokio::test]
    async fn uploads_at_the_same_time_share_the_rate() {
        let store = limited(10 * MIB as u64, 0);
        let begun = Instant::now();
        let uploads =
            (0..4).map(|number| {
                let store = store.clone();
                async move {
                    put(store.as_ref(), &pack(number), Bytes::from(vec![number; 2 * MIB])).await
                }
            });
        let all = futures_util::future::join_all(uploads).await;
        assert!(all.into_iter().all(|upload| upload.is_ok()));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(800), "8 MiB at 10 MiB a second took {took:?}");
        assert_eq!(get(store.as_ref(), &pack(3), 1 << 30).await.unwrap(), vec![3; 2 * MIB]);
    }

    #[tokio::test]
    async fn what_is_read_is_whole_and_takes_its_time() {
        let store = limited(0, 5 * MIB as u64);
        let bytes: Vec<u8> = (0..=250).cycle().take(5 * MIB + 7).collect();
        put(store.as_ref(), &pack(1), Bytes::from(bytes.clone())).await.unwrap();
        let begun = Instant::now();
        assert_eq!(get(store.as_ref(), &pack(1), 1 << 30).await.unwrap(), bytes);
        let took = begun.elapsed();
        // A quarter of a second was saved up while nothing was read.
        assert!(took >= Duration::from_millis(750), "5 MiB at 5 MiB a second took {took:?}");
        let beyond = store.read(&pack(1), 0..bytes.len() as u64 + 1).await.unwrap_err();
        assert_eq!(beyond.kind(), crate::ErrorKind::Damaged);
        assert_eq!(store.read(&pack(1), 5..5).await.unwrap(), "");
    }
}
