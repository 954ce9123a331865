//! Join points: once in a while a segment that begins where the stream just is, so that what is
//! before it can be forgotten when no kept backup needs it any more.
//!
//! A backup that sees all that the join point's snapshot sees lacks only what commits behind it.
//! The snapshot must see all that committed before the point: it does when every transaction up to
//! the greatest that was streamed has ended. Where one runs long, the point is made later.

use super::begin::{self, Source};
use super::builder::Storage;
use crate::postgres::{Settings, Snapshot, SnapshotOptions};
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::segment::ClearPart;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long it waits before it tries again.
const RETRY: Duration = Duration::from_secs(10);

/// When the next join point is due, and the one that is being written.
pub(super) struct JoinPoints {
    interval: Duration,
    /// Microseconds since 1970 UTC, by the server's clock.
    newest: i64,
    tried: Option<Instant>,
    writing: Option<JoinHandle<Result<Option<ClearPart>>>>,
}

/// Where a join point may be: the end of a segment that is durable.
pub(super) struct Place {
    pub(super) source: Source,
    pub(super) slot: String,
    pub(super) last: Lsn,
    /// See [`ClearPart::known_until`].
    pub(super) known_until: i64,
    /// See [`ClearPart::greatest_xid`].
    pub(super) greatest_xid: u64,
    /// Whether changes of definitions are captured.
    pub(super) captures: bool,
    pub(super) storage: Storage,
}

impl JoinPoints {
    /// The newest is of this time.
    pub(super) fn new(interval: Duration, newest: i64) -> Self {
        Self { interval, newest, tried: None, writing: None }
    }

    /// Whether one should be written, at a time of the server's clock.
    pub(super) fn is_due(&self, time: i64) -> bool {
        let age =
            Duration::from_micros(u64::try_from(time.saturating_sub(self.newest)).unwrap_or(0));
        self.writing.is_none()
            && age >= self.interval
            && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY)
    }

    /// Begins to write one beside the stream.
    pub(super) fn begin(&mut self, settings: &Settings, place: Place) {
        self.tried = Some(Instant::now());
        let settings = settings.clone();
        self.writing = Some(tokio::spawn(async move { write(&settings, place).await }));
    }

    /// Whether one is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Waits for the one that is being written, for ever where none is; absent where it could not
    /// be yet. Dropping this loses nothing.
    pub(super) async fn written(&mut self) -> Result<Option<ClearPart>> {
        let Some(task) = &mut self.writing else { return std::future::pending().await };
        let done = task.await;
        self.writing = None;
        let written = done.map_err(|error| {
            Error::new(ErrorKind::Internal, "writing a join point did not end").because(error)
        })??;
        if let Some(clear) = &written {
            self.newest = clear.known_until;
        }
        Ok(written)
    }
}

async fn write(settings: &Settings, place: Place) -> Result<Option<ClearPart>> {
    let snapshot = Snapshot::open(settings, &SnapshotOptions::default()).await?;
    // A standby's snapshot does not tell what runs on the primary.
    let is_exact = snapshot.replayed().is_none() && snapshot.least_running()? > place.greatest_xid;
    let written = if is_exact {
        let lsn = Lsn(snapshot.lsn().max(place.last.0));
        let clear = ClearPart {
            known_until: place.known_until,
            greatest_xid: place.greatest_xid,
            joins_from: Some(lsn.0),
            ..begin::clear(&place.source, place.last.0, place.last.0, &place.storage)
        };
        let image = place.captures.then_some(lsn);
        let Place { source, slot, storage, .. } = &place;
        Some(begin::store(source, slot, &snapshot, image, clear, storage).await?)
    } else {
        None
    };
    snapshot.close().await?;
    Ok(written)
}
