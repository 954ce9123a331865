//! Streaming without end: connects, finds where the stream goes on, and does so again when the
//! connection or the store is lost. What happens meanwhile is of [`super::line`].

use super::begin::{self, SlotFound, Source};
use super::builder::Storage;
use super::copies::{Copies, TableCopier};
use super::join::JoinPoints;
use super::leases::Leases;
use super::line::{Begun, Line};
use super::position::{self, Position};
use super::receive::{Receiver, Xids};
use super::watch::Watch;
use crate::postgres::{ReplicationSession, ServerError, Settings, only};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::Repository;
use crate::seal::Sealer;
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::segment::ClearPart;
use std::sync::Arc;
use std::time::Duration;

/// How long it waits before it connects again: doubled each time, from the first to the last.
const RETRY_WAIT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

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
    /// How often a point is written from which on the stream can do without what is before it.
    pub join_interval: Duration,
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
    let mut leases = Leases::default();
    loop {
        let before = report.segments;
        let mut streamer = Streamer {
            repository,
            settings,
            options,
            copier,
            progress,
            report: &mut report,
            leases: &mut leases,
        };
        let ended = streamer.once(&mut interrupt, &mut connected).await;
        leases.end_unused().await;
        let error = match ended {
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

/// Whether trying again may help: the connection, the store, another process that still has the
/// slot, or a prune that took us for dead.
fn is_passing(error: &Error) -> bool {
    const OBJECT_IN_USE: &str = "55006";
    let in_use = error.cause::<ServerError>().is_some_and(|it| it.sqlstate == OBJECT_IN_USE);
    in_use
        || matches!(
            error.kind(),
            ErrorKind::Connection | ErrorKind::StoreUnavailable | ErrorKind::Changed
        )
}

/// One connection's worth of streaming.
pub(super) struct Streamer<'a> {
    repository: &'a Repository,
    pub(super) settings: &'a Settings,
    pub(super) options: &'a StreamOptions,
    copier: &'a Arc<dyn TableCopier>,
    pub(super) progress: &'a Arc<dyn Progress>,
    pub(super) report: &'a mut StreamReport,
    pub(super) leases: &'a mut Leases,
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
        let storage = storage(self.repository, self.leases).await?;
        let Position { begun_at, last } =
            self.resume(&mut replication, &watch, &source, &storage).await?;
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
        let mut receiver = Receiver::new(&storage, &last, xids, token);
        if capture.is_some_and(|it| last.definitions.is_none() || it.installed > last.greatest_xid)
        {
            // It was installed, or replaced, after the last image.
            receiver.definitions.want_image();
        }
        let line = Line::begin(Begun {
            replicated,
            receiver,
            source,
            storage,
            watch,
            sample,
            last,
            copies: Copies::new(self.copier.clone()),
            join_points: JoinPoints::new(self.options.join_interval, begun_at),
        });
        line.run(self, interrupt).await
    }

    /// The segment to go on from; begins anew where the slot cannot.
    async fn resume(
        &mut self,
        replication: &mut ReplicationSession,
        watch: &Watch,
        source: &Source,
        storage: &Storage,
    ) -> Result<Position> {
        let Some(position) = position::last(self.repository, source.stream).await? else {
            let message = format!(
                "repository has no change stream of database \"{}\" of this server, whose system \
                 identifier is {}",
                source.database, source.system_identifier
            );
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("Connect to the server that the stream was set up on: -d URI")
                .hint("To begin one of this server, run: pgkeep setup"));
        };
        let last = &position.last;
        let diverged = diverged(replication, source, last).await?;
        let found = match diverged {
            Some(why) => match watch.slot().await? {
                Some(_) => SlotFound::Lost(why),
                None => SlotFound::Missing,
            },
            None => begin::find_slot(watch, last).await?,
        };
        let why = match found {
            SlotFound::Good => return Ok(position),
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
        Ok(Position { begun_at: begun.known_until, last: begun })
    }

    /// Tells the user, now and in the report.
    pub(super) fn warn(&mut self, warning: String) {
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

/// A data key and a lease of their own for each day.
pub(super) async fn storage(repository: &Repository, leases: &mut Leases) -> Result<Storage> {
    let lease = leases.take(repository).await?;
    let key = repository.new_data_key().await?.map(|(key, _)| key);
    let id = key.as_ref().map(|key| key.id);
    Ok(Storage { repository: repository.clone(), sealer: Sealer::new(key), key: id, lease })
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
    let row = only(&rows)?;
    row.parse("xid")
}
