//! Streaming without end: reconnects when the connection is lost, stores a segment every few
//! seconds, and watches the slot.

use super::begin::{self, SlotFound, Source};
use super::builder::{Facts, SegmentBuilder, Storage};
use super::copies::{Copies, Done, TableCopier};
use super::position;
use super::receive::{LargeTransaction, Received, Receiver, Xids};
use super::watch::{Sample, Watch};
use crate::catalog::read_image;
use crate::postgres::{
    Replicated, ReplicationSession, ServerError, Settings, Snapshot, SnapshotOptions, WalSent,
};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::Repository;
use crate::seal::Sealer;
use crate::{Error, ErrorKind, Lsn, Result, clock};
use pgkeep_format::segment::{ClearPart, SealedPart, SequenceState};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// The server hears from us at least this often; it gives up after `wal_sender_timeout`, a
/// minute by default.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the stream may be without a segment when nothing happens.
const IDLE_SEGMENT_INTERVAL: Duration = Duration::from_secs(60);

/// How long it waits before it connects again: doubled each time, from the first to the last.
const RETRY_WAIT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Bytes of changes, in segments, that may be received while one is being stored.
const SEGMENTS_AHEAD: usize = 4;

/// How often the server is asked how far it is, by a stream that is to end there; else once for
/// each segment.
const LOOK_WHEN_ENDING: Duration = Duration::from_millis(200);

/// Of so many segments one says where sequences stand even if that has not changed: who looks for
/// it reads no more.
const SAMPLE_SEGMENTS: u32 = 64;

/// How often it is said that the slot keeps too much.
const SHOUT_INTERVAL: Duration = Duration::from_secs(60);

/// A data key is used for so long.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How to stream.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// A segment is stored so long after its first transaction.
    pub segment_time: Duration,
    /// Or when it has so many bytes of changes.
    pub segment_bytes: usize,
    /// Warns when the slot keeps more bytes of WAL than this.
    pub max_lag_bytes: u64,
    /// Ends once all is stored that the server had written when it began.
    pub until_caught_up: bool,
}

/// What was streamed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamReport {
    /// The database.
    pub database: String,
    /// Segments stored.
    pub segments: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Bytes of their changes as stored.
    pub stored_bytes: u64,
    /// Tables that were copied anew, as a command had rewritten or filled them.
    pub copied_tables: u64,
    /// How far the stream goes now.
    pub last: u64,
    /// What the user should look at, a sentence each.
    pub warnings: Vec<String>,
}

/// Streams until it is interrupted, which is no error. `copier` backs up tables whose rows the
/// stream lacks.
///
/// # Errors
/// What keeps it from going on at all: no stream was set up, the store refuses, a right is
/// missing. A lost connection is tried again.
pub async fn run(
    repository: &Repository,
    settings: &Settings,
    options: &StreamOptions,
    copier: &Arc<dyn TableCopier>,
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
) -> Result<StreamReport> {
    let mut report = StreamReport::default();
    let mut wait = RETRY_WAIT[0];
    let mut connected = false;
    loop {
        let before = report.segments;
        let mut streamer =
            Streamer { repository, settings, options, copier, progress, report: &mut report };
        let error = match streamer.once(&mut interrupt, &mut connected).await {
            Ok(()) => return Ok(report),
            Err(error) => error,
        };
        if !connected || !is_passing(&error) {
            return Err(error);
        }
        if report.segments > before {
            wait = RETRY_WAIT[0];
        }
        tracing::warn!("{error:?}");
        progress.event(Event::Warning(format!("{error}; trying again in {} s", wait.as_secs())));
        tokio::select! {
            () = interrupt.wait() => return Ok(report),
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(RETRY_WAIT[1]);
    }
}

/// Whether trying again may help: the connection, the store, or another process that still has the
/// slot.
fn is_passing(error: &Error) -> bool {
    const OBJECT_IN_USE: &str = "55006";
    let in_use = error.cause::<ServerError>().is_some_and(|it| it.sqlstate == OBJECT_IN_USE);
    in_use || matches!(error.kind(), ErrorKind::Connection | ErrorKind::StoreUnavailable)
}

/// One connection's worth of streaming.
struct Streamer<'a> {
    repository: &'a Repository,
    settings: &'a Settings,
    options: &'a StreamOptions,
    copier: &'a Arc<dyn TableCopier>,
    progress: &'a Arc<dyn Progress>,
    report: &'a mut StreamReport,
}

impl Streamer<'_> {
    async fn once(&mut self, interrupt: &mut Interrupt, connected: &mut bool) -> Result<()> {
        self.progress.event(Event::Phase("connecting".to_owned()));
        let mut replication = ReplicationSession::connect(self.settings, "stream").await?;
        let watch =
            Watch::open(self.settings, &self.options.slot, &self.options.publication).await?;
        let secrets = self.repository.secrets()?;
        let source = Source::ask(&mut replication, watch.session(), secrets).await?;
        self.report.database.clone_from(&source.database);
        let storage = storage(self.repository).await?;
        let last = self.resume(&mut replication, &watch, &source, &storage).await?;
        let sample = watch.sample().await?;
        let capture = watch.capture().await?;
        replication.execute(&session_settings(&source.encoding)).await?;
        let plugin = [
            ("proto_version", "2".to_owned()),
            ("publication_names", crate::postgres::identifier(&self.options.publication)),
            ("messages", "true".to_owned()),
            ("streaming", "true".to_owned()),
        ];
        let from = Lsn(last.last);
        let replicated = replication.start(&self.options.slot, from, &plugin).await?;
        *connected = true;
        self.progress.event(Event::Phase(format!("streaming from {from}")));
        let xids = Xids::new(last.greatest_xid.max(next_xid(&watch).await?));
        let token = capture.as_ref().map(|capture| capture.token.as_str());
        let mut receiver = Receiver::new(&storage, from, xids, token);
        if capture.is_some_and(|it| last.definitions.is_none() || it.installed > last.greatest_xid)
        {
            // It was installed, or replaced, after the last image.
            receiver.definitions.want_image();
        }
        let line = Line {
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
            stored_sequences: None,
            stored_unpublished: None,
            since_sample: 0,
            copies: Copies::new(self.copier.clone()),
            writing: None,
            last_stored: Instant::now(),
            first_waiting: None,
            key_since: Instant::now(),
            shouted: None,
        };
        line.run(self, interrupt).await
    }

    /// The segment to go on from; begins anew where the slot cannot.
    async fn resume(
        &mut self,
        replication: &mut ReplicationSession,
        watch: &Watch,
        source: &Source,
        storage: &Storage,
    ) -> Result<ClearPart> {
        let Some(last) = position::last(self.repository, source.stream).await? else {
            let message = format!(
                "repository has no change stream of database \"{}\" of this server, whose system \
                 identifier is {}",
                source.database, source.system_identifier
            );
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("Connect to the server that the stream was set up on: -d URI")
                .hint("To begin one of this server, run: pgkeep setup"));
        };
        let diverged = diverged(replication, source, &last).await?;
        let found = match diverged {
            Some(why) => match watch.slot().await? {
                Some(_) => SlotFound::Lost(why),
                None => SlotFound::Missing,
            },
            None => begin::find_slot(watch, &last).await?,
        };
        let why = match found {
            SlotFound::Good => return Ok(last),
            SlotFound::Missing => "the replication slot is gone".to_owned(),
            SlotFound::Lost(why) => {
                replication.drop_slot(&self.options.slot).await?;
                why
            }
        };
        let slot = &self.options.slot;
        let captures = watch.capture().await?.is_some();
        let begun =
            begin::begin(replication, self.settings, source, slot, false, captures, storage)
                .await?;
        self.warn(format!(
            "{why}: what committed from {} to {} is not in the stream; take a backup now",
            Lsn(last.last),
            Lsn(begun.last)
        ));
        Ok(begun)
    }

    fn warn(&mut self, warning: String) {
        self.progress.event(Event::Warning(warning.clone()));
        self.report.warnings.push(warning);
    }
}

/// Why a server that was promoted, or recovered to a moment, cannot go on with the stream: it
/// does not have all that the repository has.
async fn diverged(
    replication: &mut ReplicationSession,
    source: &Source,
    last: &ClearPart,
) -> Result<Option<String>> {
    if source.timeline == last.timeline {
        return Ok(None);
    }
    let left = match source.timeline > last.timeline {
        true => replication.left_at(source.timeline, last.timeline).await?,
        false => None,
    };
    Ok(match left {
        Some(left) if last.last <= left.0 => None,
        Some(left) => Some(format!(
            "the server is on timeline {} since {left}, and the stream in the repository goes up to \
             {} on timeline {}",
            source.timeline,
            Lsn(last.last),
            last.timeline
        )),
        None => Some(format!(
            "the server's timeline {} does not come from timeline {}, which the stream in the \
             repository is of",
            source.timeline, last.timeline
        )),
    })
}

/// A data key of its own for each day.
pub(super) async fn storage(repository: &Repository) -> Result<Storage> {
    let key = repository.new_data_key().await?.map(|(key, _)| key);
    let id = key.as_ref().map(|key| key.id);
    Ok(Storage { repository: repository.clone(), sealer: Sealer::new(key), key: id })
}

/// Values are written as a backup's sessions have them written.
fn session_settings(encoding: &str) -> String {
    format!(
        "SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; \
         SET bytea_output = hex; SET extra_float_digits = 3; SET xmloption = content; \
         SET client_encoding = {}; SET statement_timeout = 0",
        crate::postgres::literal(encoding)
    )
}

/// The transaction id that the server gives next, with its epoch.
async fn next_xid(watch: &Watch) -> Result<u64> {
    let sql = "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) AS xid";
    let rows = watch.session().query(sql).await?;
    let row =
        rows.first().ok_or_else(|| Error::new(ErrorKind::Server, "server returned no row"))?;
    row.parse("xid")
}

/// The state of one connection.
struct Line {
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
    stored_sequences: Option<Vec<SequenceState>>,
    stored_unpublished: Option<Vec<u32>>,
    /// Segments since both were stored whether they had changed or not.
    since_sample: u32,
    copies: Copies,
    writing: Option<JoinHandle<Result<ClearPart>>>,
    last_stored: Instant,
    /// When the first transaction came that waits to be stored.
    first_waiting: Option<Instant>,
    key_since: Instant,
    /// When it was last said that the slot keeps too much.
    shouted: Option<Instant>,
}

impl Line {
    async fn run(mut self, streamer: &mut Streamer<'_>, interrupt: &mut Interrupt) -> Result<()> {
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
                self.refresh_definitions(streamer).await?;
                self.begin_store().await?;
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

    /// Begins to store the open segment beside the receiving.
    async fn begin_store(&mut self) -> Result<()> {
        let builder = self.receiver.take_open();
        self.first_waiting = None;
        let last = match builder.transactions.last() {
            // A server that is idle says how far it is without transactions.
            Some(last) => Lsn(last.end).max(self.idle_position()),
            None => self.idle_position(),
        };
        let time = builder.transactions.iter().map(|transaction| transaction.time).max();
        self.spawn(builder, SealedPart::default(), last, time).await
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
    ) -> Result<()> {
        let xids = builder.transactions.iter().map(|transaction| transaction.xid);
        self.greatest_xid = self.greatest_xid.max(xids.max().unwrap_or_default());
        self.known_until = self.known_until.max(time.unwrap_or_default());
        // Asked after the last transaction came: no row has a value that is ahead of it.
        self.sample = self.watch.sample().await?;
        self.since_sample += 1;
        if self.since_sample >= SAMPLE_SEGMENTS {
            (self.stored_sequences, self.stored_unpublished) = (None, None);
            self.since_sample = 0;
        }
        if self.stored_sequences.as_ref() != Some(&self.sample.sequences) {
            sealed.sequences = Some(self.sample.sequences.clone());
            self.stored_sequences.clone_from(&sealed.sequences);
        }
        if self.stored_unpublished.as_ref() != Some(&self.sample.unpublished) {
            sealed.unpublished = Some(self.sample.unpublished.clone());
            self.stored_unpublished.clone_from(&sealed.unpublished);
        }
        if self.key_since.elapsed() > KEY_LIFETIME {
            self.storage = storage(&self.storage.repository).await?;
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
            self.begin_store().await?;
            self.wait_stored(streamer).await?;
        }
        let sealed = SealedPart { rolled_back: Some(large.rolled_back), ..SealedPart::default() };
        self.spawn(large.builder, sealed, large.end, Some(large.time)).await?;
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
        self.shout(streamer);
        if let Some(told) = self.copies.begin(&self.sample.rewritten) {
            streamer.progress.event(Event::Step(told));
        }
        let idle = self.receiver.open.is_empty() && self.writing.is_none();
        let moved = self.idle_position() > self.durable;
        let long = self.last_stored.elapsed() >= IDLE_SEGMENT_INTERVAL;
        let wanted = streamer.options.until_caught_up && self.has_received_all();
        let image = self.receiver.definitions.wants_image();
        if idle && moved && self.receiver.is_between_transactions() && (long || wanted || image) {
            self.refresh_definitions(streamer).await?;
            self.begin_store().await?;
        }
        // The answer says how far the server is where it has nothing to send.
        self.confirm(true).await
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

    /// Says so, once in a while, when the slot keeps much WAL from being removed, or is about to be
    /// lost.
    fn shout(&mut self, streamer: &mut Streamer<'_>) {
        let Some(slot) = &self.sample.slot else { return };
        let limit = streamer.options.max_lag_bytes;
        let told = match slot.wal_status.as_str() {
            "unreserved" => "the server is about to remove WAL that the stream still needs: raise \
                             max_slot_wal_keep_size until the stream has caught up"
                .to_owned(),
            _ if slot.retained_bytes > limit => format!(
                "the replication slot keeps {} bytes of WAL on the server, more than {limit}: if \
                 that grows, look for long transactions there and for a slow repository; pgkeep \
                 teardown frees it",
                slot.retained_bytes
            ),
            _ => return,
        };
        if self.shouted.is_none_or(|at| at.elapsed() >= SHOUT_INTERVAL) {
            self.shouted = Some(Instant::now());
            streamer.warn(told);
        }
    }

    /// Stores what is whole and ends the session.
    async fn finish(mut self, streamer: &mut Streamer<'_>) -> Result<()> {
        self.wait_stored(streamer).await?;
        if self.receiver.is_between_transactions()
            && (!self.receiver.open.is_empty() || self.idle_position() > self.durable)
        {
            self.refresh_definitions(streamer).await?;
            self.begin_store().await?;
            self.wait_stored(streamer).await?;
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
