//! One connection's stream: changes come in, a segment is stored every few seconds, the server is
//! told how far that is, and the slot is watched.
//!
//! ```text
//! server -> receiver -> open segment -> stored beside -> told to the server
//! ```

use super::begin;
use super::begin::Source;
use super::builder::{Facts, SegmentBuilder, Storage};
use super::copies::{Copies, Done};
use super::join::{JoinPoints, Place};
use super::lag::LagWarning;
use super::receive::{LargeTransaction, Received, Receiver};
use super::run::{Streamer, storage};
use super::said::Said;
use super::watch::{Sample, Watch};
use crate::catalog::read_image;
use crate::postgres::{Replicated, Snapshot, SnapshotOptions, WalSent};
use crate::progress::{Event, Interrupt};
use crate::{Error, ErrorKind, Lsn, Result, clock};
use pgkeep_format::segment::{ClearPart, SealedPart};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// The server hears from us at least this often; it gives up after `wal_sender_timeout`, a
/// minute by default.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the stream may be without a segment when nothing happens.
const IDLE_SEGMENT_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes of changes, in segments, that may be received while one is being stored.
const SEGMENTS_AHEAD: usize = 4;

/// How often the server is asked how far it is, by a stream that is to end there; else once for
/// each segment.
const LOOK_WHEN_ENDING: Duration = Duration::from_millis(200);

/// A data key is used for so long.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of one connection.
pub(super) struct Line {
    replicated: Replicated,
    receiver: Receiver,
    source: Source,
    storage: Storage,
    watch: Watch,
    /// All that committed up to here is durable.
    durable: Lsn,
    /// Where the segment that was begun last ends; not durable yet while one is written.
    assigned: Lsn,
    /// The server has sent all that committed up to here.
    sent: Lsn,
    greatest_xid: u64,
    known_until: i64,
    /// See [`ClearPart::definitions`].
    definitions: Option<u64>,
    /// Once the server has sent up to this position, the stream is known up to this time.
    promise: (Lsn, i64),
    /// When the server has sent up to here, all is there that was when we began.
    caught_up_at: Lsn,
    sample: Sample,
    said: Said,
    copies: Copies,
    join_points: JoinPoints,
    writing: Option<JoinHandle<Result<ClearPart>>>,
    last_stored: Instant,
    /// When the first transaction came that waits to be stored.
    first_waiting: Option<Instant>,
    key_since: Instant,
    lag: LagWarning,
}

/// What a line begins with.
pub(super) struct Begun {
    pub(super) replicated: Replicated,
    pub(super) receiver: Receiver,
    pub(super) source: Source,
    pub(super) storage: Storage,
    pub(super) watch: Watch,
    pub(super) sample: Sample,
    /// The segment to go on from.
    pub(super) last: ClearPart,
    pub(super) copies: Copies,
    pub(super) join_points: JoinPoints,
}

impl Line {
    /// Goes on from the last segment.
    pub(super) fn begin(begun: Begun) -> Self {
        let Begun { last, source, storage, watch, sample, .. } = begun;
        let Begun { replicated, receiver, copies, join_points, .. } = begun;
        let from = Lsn(last.last);
        Self {
            replicated,
            receiver,
            definitions: last.definitions,
            source,
            storage,
            watch,
            durable: from,
            assigned: from,
            sent: from,
            greatest_xid: last.greatest_xid,
            known_until: last.known_until,
            promise: (sample.written, sample.time),
            caught_up_at: sample.written,
            sample,
            said: Said::default(),
            copies,
            join_points,
            writing: None,
            last_stored: Instant::now(),
            first_waiting: None,
            key_since: Instant::now(),
            lag: LagWarning::default(),
        }
    }

    /// Streams until it is interrupted, or has caught up where that is asked for.
    pub(super) async fn run(
        mut self,
        streamer: &mut Streamer<'_>,
        interrupt: &mut Interrupt,
    ) -> Result<()> {
        let options = streamer.options;
        let mut status = tokio::time::interval(STATUS_INTERVAL);
        let look = if options.until_caught_up { LOOK_WHEN_ENDING } else { options.segment_time };
        let mut look = tokio::time::interval(look);
        for interval in [&mut status, &mut look] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let due = self.first_waiting.map(|since| since + options.segment_time);
            let full = self.receiver.open.bytes >= options.segment_bytes || self.receiver.is_full();
            let is_due = due.is_some_and(|due| due <= Instant::now());
            let is_last = options.until_caught_up && self.has_received_all();
            if (full || is_due || is_last) && self.writing.is_none() && self.can_end() {
                self.begin_store(streamer).await?;
            }
            if options.until_caught_up && self.has_caught_up() {
                return self.finish(streamer).await;
            }
            let may_receive = self.writing.is_none()
                || self.receiver.open.bytes < SEGMENTS_AHEAD * options.segment_bytes;
            let due = due.filter(|_| self.writing.is_none() && self.can_end());
            tokio::select! {
                biased;
                () = interrupt.wait() => return self.finish(streamer).await,
                stored = stored(&mut self.writing) => self.stored(stored?, streamer).await?,
                done = self.copies.done() => self.copied(done?, streamer).await,
                written = self.join_points.written() => self.joined(written, streamer),
                _ = status.tick() => self.confirm(false).await?,
                () = at(due) => {}
                _ = look.tick() => self.look(streamer).await?,
                message = self.replicated.next(), if may_receive => {
                    let large = receive(&mut self.receiver, &mut self.sent, message?).await?;
                    self.received(large, streamer).await?;
                }
            }
        }
    }

    /// Whether a segment may end now: there is something in it, and no half transaction.
    fn can_end(&self) -> bool {
        self.receiver.is_between_transactions() && !self.receiver.open.is_empty()
    }

    /// Whether all is durable that was there when we began, and all was copied that was to be.
    fn has_caught_up(&self) -> bool {
        self.has_received_all()
            && self.writing.is_none()
            && self.durable >= self.caught_up_at
            && !self.copies.is_busy(&self.sample.rewritten)
    }

    /// Whether all has come that was there when we began.
    fn has_received_all(&self) -> bool {
        self.sent.max(self.last_commit()) >= self.caught_up_at
    }

    fn last_commit(&self) -> Lsn {
        self.receiver.open.transactions.last().map_or(self.assigned, |last| Lsn(last.end))
    }

    /// What follows from a message.
    async fn received(
        &mut self,
        received: Option<Incoming>,
        streamer: &mut Streamer<'_>,
    ) -> Result<()> {
        match received {
            None => {}
            Some(Incoming::Reply) => self.confirm(false).await?,
            Some(Incoming::Committed) => {
                self.first_waiting.get_or_insert_with(Instant::now);
            }
            Some(Incoming::Large(large)) => self.store_large(*large, streamer).await?,
        }
        if self.sent >= self.promise.0 {
            self.known_until = self.known_until.max(self.promise.1);
        }
        Ok(())
    }

    /// Reads all definitions again where following their changes does not do.
    async fn refresh_definitions(&mut self, streamer: &mut Streamer<'_>) -> Result<()> {
        if !self.receiver.definitions.wants_image() {
            return Ok(());
        }
        let snapshot = Snapshot::open(streamer.settings, &SnapshotOptions::default()).await?;
        match read_image(snapshot.session()).await {
            Ok(image) => {
                self.receiver.open.push_image(&image, Lsn(snapshot.lsn())).await?;
                self.receiver.definitions.has_image();
            }
            // Definitions may change while they are read. The next segment tries again.
            Err(error) => streamer.warn(format!("could not read all definitions: {error}")),
        }
        snapshot.close().await
    }

    /// Begins to store the open segment, with an image where one is wanted, beside the receiving.
    async fn begin_store(&mut self, streamer: &mut Streamer<'_>) -> Result<()> {
        self.refresh_definitions(streamer).await?;
        let builder = self.receiver.take_open();
        self.first_waiting = None;
        let last = match builder.transactions.last() {
            // A server that is idle says how far it is without transactions.
            Some(last) => Lsn(last.end).max(self.idle_position()),
            None => self.idle_position(),
        };
        let time = builder.transactions.iter().map(|transaction| transaction.time).max();
        self.spawn(builder, SealedPart::default(), last, time, streamer).await
    }

    /// How far the server has sent, where nothing is half received.
    fn idle_position(&self) -> Lsn {
        if self.receiver.is_between_transactions() {
            self.sent.max(self.assigned)
        } else {
            self.assigned
        }
    }

    async fn spawn(
        &mut self,
        builder: SegmentBuilder,
        mut sealed: SealedPart,
        last: Lsn,
        time: Option<i64>,
        streamer: &mut Streamer<'_>,
    ) -> Result<()> {
        let xids = builder.transactions.iter().map(|transaction| transaction.xid);
        self.greatest_xid = self.greatest_xid.max(xids.max().unwrap_or_default());
        self.known_until = self.known_until.max(time.unwrap_or_default());
        // Asked after the last transaction came: no row has a value that is ahead of it.
        self.sample = self.watch.sample().await?;
        self.said.say(&self.sample, &mut sealed);
        if self.key_since.elapsed() > KEY_LIFETIME {
            self.storage = storage(&self.storage.repository, streamer.leases).await?;
            self.receiver.renew(self.storage.clone());
            streamer.leases.end_unused().await;
            self.key_since = Instant::now();
        }
        if builder.has_definitions() {
            self.definitions = Some(last.0);
        }
        let clear = ClearPart {
            greatest_xid: self.greatest_xid,
            known_until: self.known_until,
            definitions: self.definitions,
            ..begin::clear(&self.source, self.assigned.0, last.0, &self.storage)
        };
        self.assigned = last;
        let facts = Facts { clear, sealed };
        self.writing = Some(tokio::spawn(builder.store(facts)));
        Ok(())
    }

    /// A transaction with a segment of its own: what came before it is stored first.
    async fn store_large(
        &mut self,
        large: LargeTransaction,
        streamer: &mut Streamer<'_>,
    ) -> Result<()> {
        self.wait_stored(streamer).await?;
        if !self.receiver.open.is_empty() {
            self.begin_store(streamer).await?;
            self.wait_stored(streamer).await?;
        }
        let sealed = SealedPart { rolled_back: Some(large.rolled_back), ..SealedPart::default() };
        self.spawn(large.builder, sealed, large.end, Some(large.time), streamer).await?;
        self.wait_stored(streamer).await
    }

    /// Waits for the segment that is being written, and keeps the server content meanwhile.
    async fn wait_stored(&mut self, streamer: &mut Streamer<'_>) -> Result<()> {
        let mut status = tokio::time::interval(STATUS_INTERVAL);
        while self.writing.is_some() {
            tokio::select! {
                stored = stored(&mut self.writing) => self.stored(stored?, streamer).await?,
                _ = status.tick() => self.confirm(false).await?,
            }
        }
        Ok(())
    }

    /// A segment is durable: the server may forget what is in it.
    async fn stored(&mut self, clear: ClearPart, streamer: &mut Streamer<'_>) -> Result<()> {
        self.durable = Lsn(clear.last);
        self.last_stored = Instant::now();
        let report = &mut *streamer.report;
        report.segments += 1;
        report.transactions += clear.transactions;
        report.stored_bytes += clear.stored_bytes;
        report.last = clear.last;
        streamer.progress.event(Event::Advanced {
            rows: clear.transactions,
            bytes: 0,
            stored: clear.stored_bytes,
        });
        streamer.progress.event(Event::Step(format!("stored up to {}", self.durable)));
        self.confirm(false).await
    }

    async fn confirm(&mut self, reply: bool) -> Result<()> {
        let received = self.sent.max(self.durable);
        self.replicated.confirm(received, self.durable, clock::now_micros(), reply).await
    }

    /// Looks at the server: how it is with the slot, and whether the stream is idle.
    async fn look(&mut self, streamer: &mut Streamer<'_>) -> Result<()> {
        self.sample = self.watch.sample().await?;
        if self.sent >= self.promise.0 {
            self.promise = (self.sample.written, self.sample.time);
        }
        if let Some(slot) = &self.sample.slot
            && let Some(told) = self.lag.look(slot, streamer.options.max_lag_bytes, Instant::now())
        {
            streamer.warn(told);
        }
        self.begin_join_point(streamer);
        if let Some(told) = self.copies.begin(&self.sample.rewritten) {
            streamer.progress.event(Event::Step(told));
        }
        let idle = self.receiver.open.is_empty() && self.writing.is_none();
        let moved = self.idle_position() > self.durable;
        let long = self.last_stored.elapsed() >= IDLE_SEGMENT_INTERVAL;
        let wanted = streamer.options.until_caught_up && self.has_received_all();
        let image = self.receiver.definitions.wants_image();
        if idle && moved && self.receiver.is_between_transactions() && (long || wanted || image) {
            self.begin_store(streamer).await?;
        }
        // The answer says how far the server is where it has nothing to send.
        self.confirm(true).await
    }

    /// Begins to write a join point where one is due and the last segment is durable.
    fn begin_join_point(&mut self, streamer: &Streamer<'_>) {
        if self.writing.is_some() || !self.join_points.is_due(self.known_until) {
            return;
        }
        let place = Place {
            source: self.source.clone(),
            slot: streamer.options.slot.clone(),
            last: self.assigned,
            known_until: self.known_until,
            greatest_xid: self.greatest_xid,
            captures: self.definitions.is_some(),
            storage: self.storage.clone(),
        };
        self.join_points.begin(streamer.settings, place);
        // What is said once and holds until it changes is to be said behind it.
        self.said.forget();
    }

    /// A join point was written, or could not be. The stream goes on without it.
    fn joined(&mut self, written: Result<Option<ClearPart>>, streamer: &mut Streamer<'_>) {
        match written {
            Ok(Some(clear)) => {
                let told = format!("can be cut at {}", Lsn(clear.last));
                streamer.progress.event(Event::Step(told));
            }
            Ok(None) => {}
            Err(error) => streamer.warn(format!(
                "could not write a point where the stream can be cut, and tries again: {error}"
            )),
        }
    }

    /// A copy of tables ended. It is a base only where the stream goes at least as far.
    async fn copied(&mut self, done: Done, streamer: &mut Streamer<'_>) {
        match self.copies.ended(done, &self.watch).await {
            Ok((lsn, tables)) => {
                streamer.report.copied_tables += tables;
                self.caught_up_at = self.caught_up_at.max(lsn);
            }
            Err(told) => streamer.warn(told),
        }
    }

    /// Stores what is whole and ends the session.
    async fn finish(mut self, streamer: &mut Streamer<'_>) -> Result<()> {
        self.wait_stored(streamer).await?;
        if self.receiver.is_between_transactions()
            && (!self.receiver.open.is_empty() || self.idle_position() > self.durable)
        {
            self.begin_store(streamer).await?;
            self.wait_stored(streamer).await?;
        }
        self.begin_join_point(streamer);
        if self.join_points.is_writing() {
            let written = self.join_points.written().await;
            self.joined(written, streamer);
        }
        self.watch.close().await;
        self.replicated.close().await;
        Ok(())
    }
}

/// What came, as far as it is for the line.
enum Incoming {
    /// The server wants to hear from us.
    Reply,
    /// A transaction ended.
    Committed,
    /// One ended that has a segment of its own.
    Large(Box<LargeTransaction>),
}

async fn receive(
    receiver: &mut Receiver,
    sent: &mut Lsn,
    message: Option<WalSent<'_>>,
) -> Result<Option<Incoming>> {
    match message {
        None => Err(Error::new(ErrorKind::Connection, "server ended the stream")),
        Some(WalSent::Keepalive { end, reply }) => {
            *sent = (*sent).max(end);
            Ok(reply.then_some(Incoming::Reply))
        }
        Some(WalSent::Data { data, .. }) => match receiver.take(data).await? {
            Received::Nothing => Ok(None),
            Received::Committed => Ok(Some(Incoming::Committed)),
            Received::Large(large) => Ok(Some(Incoming::Large(large))),
        },
    }
}

/// Waits for a moment; for ever where there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for the segment that is being written; for ever where there is none.
async fn stored(writing: &mut Option<JoinHandle<Result<ClearPart>>>) -> Result<ClearPart> {
    let Some(task) = writing else { return std::future::pending().await };
    let done = task.await;
    *writing = None;
    done.map_err(|error| {
        Error::new(ErrorKind::Internal, "writing a segment did not end").because(error)
    })?
}
