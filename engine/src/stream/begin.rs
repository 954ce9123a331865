//! The beginning of a stream, or a new one after a gap: a slot, and a segment that says which
//! transactions the stream has from there on.

use super::builder::{Facts, SegmentBuilder, Storage};
use super::watch::Watch;
use crate::catalog::read_image;
use crate::postgres::{ReplicationSession, Session, Settings, Snapshot, SnapshotOptions, only};
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::id::{ObjectId, SeriesId};
use pgkeep_format::segment::{Begin, ClearPart, SealedPart};

/// Which database a stream is of.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) stream: SeriesId,
    pub(super) system_identifier: u64,
    pub(super) timeline: u32,
    pub(super) database: String,
    pub(super) encoding: String,
    pub(super) server_version: u32,
}

impl Source {
    /// Asks the server.
    pub(super) async fn ask(
        replication: &mut ReplicationSession,
        session: &Session,
        secrets: &crate::seal::Secrets,
    ) -> Result<Self> {
        let identity = replication.identify().await?;
        let rows = session
            .query(
                "SELECT d.datname, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding \
                 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
            )
            .await?;
        let row = rows.first().ok_or_else(|| {
            Error::new(ErrorKind::Server, "server does not list the current database")
        })?;
        let database = row.text("datname")?.to_owned();
        let system_identifier = identity.system_identifier;
        Ok(Self {
            stream: crate::seal::series_id(secrets, system_identifier, &database),
            system_identifier,
            timeline: identity.timeline,
            encoding: row.text("encoding")?.to_owned(),
            server_version: session.version(),
            database,
        })
    }
}

/// Makes the slot and the segment that begins the stream; with an image of all definitions where
/// changes of them are captured.
///
/// # Errors
/// As creating a slot, naming the transactions that it waits for where it takes long; as
/// writing a segment.
pub(super) async fn begin(
    replication: &mut ReplicationSession,
    settings: &Settings,
    source: &Source,
    slot: &str,
    failover: bool,
    captures: bool,
    storage: &Storage,
) -> Result<ClearPart> {
    let new = replication.create_slot(slot, failover).await?;
    let at = new.consistent_point;
    let exported = SnapshotOptions { exported: Some(new.snapshot), ..SnapshotOptions::default() };
    let snapshot = Snapshot::open(settings, &exported).await.map_err(|error| {
        Error::new(error.kind(), "could not join the slot's snapshot")
            .hint("Connect to the server itself, not through a pooler or load balancer.")
            .because(error)
    })?;
    let known_until = clock_of(snapshot.session()).await?;
    let clear = ClearPart { known_until, ..clear(source, at.0, at.0, storage) };
    let begun = store(source, slot, &snapshot, captures.then_some(at), clear, storage).await?;
    snapshot.close().await?;
    Ok(begun)
}

/// Stores a segment that begins with a snapshot; with an image of all definitions where `image`
/// says before which position all committed that it knows of.
pub(super) async fn store(
    source: &Source,
    slot: &str,
    snapshot: &Snapshot,
    image: Option<Lsn>,
    clear: ClearPart,
    storage: &Storage,
) -> Result<ClearPart> {
    let mut builder = SegmentBuilder::new(storage);
    if let Some(before) = image {
        builder.push_image(&read_image(snapshot.session()).await?, before).await?;
    }
    let clear = ClearPart { begins: true, definitions: image.map(|_| clear.last), ..clear };
    let begin = Begin {
        snapshot: snapshot.xids().to_owned(),
        system_identifier: source.system_identifier,
        database: source.database.clone(),
        slot: slot.to_owned(),
        encoding: source.encoding.clone(),
        server_version: source.server_version,
    };
    let sealed = SealedPart { begin: Some(begin), ..SealedPart::default() };
    builder.store(Facts { clear, sealed }).await
}

/// The server's clock.
async fn clock_of(session: &Session) -> Result<i64> {
    let sql = "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000) \
               ::pg_catalog.int8 AS time";
    let rows = session.query(sql).await?;
    let row = only(&rows)?;
    row.parse("time")
}

/// The clear part of a segment between two positions; sums are for the builder.
pub(super) fn clear(source: &Source, first: u64, last: u64, storage: &Storage) -> ClearPart {
    ClearPart {
        id: ObjectId::default(),
        features: Vec::new(),
        stream: source.stream,
        first,
        last,
        transactions: 0,
        known_until: 0,
        greatest_xid: 0,
        begins: false,
        written_at: 0,
        program: concat!("pgkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        keys: storage.key.into_iter().collect(),
        packs: Vec::new(),
        stored_bytes: 0,
        timeline: source.timeline,
        definitions: None,
        joins_from: None,
    }
}

/// Whether a slot can go on from where the repository stands.
pub(super) enum SlotFound {
    /// It can.
    Good,
    /// There is none.
    Missing,
    /// It is there, but what comes next is not all: why.
    Lost(String),
}

pub(super) async fn find_slot(watch: &Watch, last: &ClearPart) -> Result<SlotFound> {
    let Some(slot) = watch.slot().await? else { return Ok(SlotFound::Missing) };
    if slot.wal_status == "lost" {
        let message = "the server removed WAL that the replication slot still needed";
        return Ok(SlotFound::Lost(message.to_owned()));
    }
    if slot.confirmed.0 > last.last {
        let message = format!(
            "the replication slot is at {}, after the end of the stream in the repository",
            slot.confirmed
        );
        return Ok(SlotFound::Lost(message));
    }
    Ok(SlotFound::Good)
}
