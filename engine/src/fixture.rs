//! Repositories in memory and backups without a server, for tests of what looks at many of them.

use crate::repository::{
    Access, ChunkReader, FinishedBackup, Identity, InitOptions, NewFrame, Packer, Repository,
    WriterCredential, init,
};
use crate::seal::{Sealer, chunk_id, random, series_id};
use crate::store::{MemoryStore, Store, StoredObject, Upload};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, ChunkId, ObjectId, SeriesId};
use pgkeep_format::manifest::{BackupKind, ClearPart, Database, SealedPart, Tag, Totals};
use pgkeep_format::name::{ObjectName, Work};
use pgkeep_format::segment;
use pgkeep_format::stream::{ChunkReference, Stream, encode_references};
use std::ops::Range;
use std::sync::Arc;

/// A repository in memory with its keys.
pub(crate) struct Fixture {
    pub(crate) store: MemoryStore,
    pub(crate) access: Access,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let store = MemoryStore::default();
        let options =
            InitOptions { recipients: Vec::new(), encrypted: true, writer_name: "test".to_owned() };
        let made = init(&store, &options).await.unwrap();
        let access = Access {
            identity: Some(Identity::parse(&made.identity).unwrap()),
            writer: Some(WriterCredential::parse(&made.writer).unwrap()),
        };
        Self { store, access }
    }

    /// Opened with all keys.
    pub(crate) async fn open(&self) -> Repository {
        self.open_in(Arc::new(self.store.clone()), self.access.clone()).await
    }

    /// Opened as a host that only writes does.
    pub(crate) async fn open_to_write(&self) -> Repository {
        self.open_to_write_in(Arc::new(self.store.clone())).await
    }

    /// As [`Fixture::open_to_write`], through another store.
    pub(crate) async fn open_to_write_in(&self, store: Arc<dyn Store>) -> Repository {
        let access = Access { identity: None, writer: self.access.writer.clone() };
        self.open_in(store, access).await
    }

    /// As [`Fixture::open_to_write`], where the store does not let go what `stays`.
    pub(crate) async fn open_where_it_stays(
        &self,
        stays: impl Fn(&ObjectName) -> bool + Send + Sync + 'static,
    ) -> Repository {
        let keeping = Keeping { store: self.store.clone(), stays: Box::new(stays) };
        self.open_to_write_in(Arc::new(keeping)).await
    }

    async fn open_in(&self, store: Arc<dyn Store>, access: Access) -> Repository {
        Repository::open(store, access).await.unwrap()
    }

    /// How many objects are below a prefix.
    pub(crate) async fn count(&self, prefix: &str) -> usize {
        self.store.list(prefix).await.unwrap().len()
    }

    /// Everything of a backup, read back.
    pub(crate) async fn read(&self, id: BackupId) -> Result<Vec<Vec<u8>>> {
        let repository = self.open().await;
        let backup = repository.backup(id).await?;
        let reader = ChunkReader::open(&repository).await?;
        let mut chunks = Vec::new();
        for reference in reader.references(&backup.clear.streams[0]).await? {
            chunks.push(reader.read(&reference.id, FrameType::Rows).await?.plain.to_vec());
        }
        Ok(chunks)
    }
}

/// A store that lets nothing go of which it is told that it stays.
struct Keeping {
    store: MemoryStore,
    stays: Box<dyn Fn(&ObjectName) -> bool + Send + Sync>,
}

impl std::fmt::Debug for Keeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl Store for Keeping {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn create(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.store.create(name).await
    }

    async fn read(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        self.store.read(name, range).await
    }

    async fn len(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.store.len(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        self.store.list(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        match (self.stays)(name) {
            true => Err(Error::new(ErrorKind::Retained, "its time is not over")),
            false => self.store.delete(name).await,
        }
    }
}

/// A backup to be made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) database: &'static str,
    pub(crate) kind: BackupKind,
    pub(crate) finished_at: i64,
    pub(crate) lsn: u64,
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    /// What it holds, a chunk each.
    pub(crate) chunks: Vec<Vec<u8>>,
    /// Whether its chunks are named by a list of its own.
    pub(crate) with_list: bool,
}

impl Made {
    pub(crate) fn of(chunks: &[&str]) -> Self {
        Self {
            database: "test",
            kind: BackupKind::Logical,
            finished_at: 2,
            lsn: 3,
            tags: Vec::new(),
            chunks: chunks.iter().map(|chunk| chunk.repeat(50).into_bytes()).collect(),
            with_list: false,
        }
    }
}

/// Makes a backup as `backup` does, each new chunk in a pack of its own. A run that fails ends its
/// lease, one that is dropped does not.
pub(crate) async fn back_up(repository: &Repository, made: &Made) -> Result<BackupId> {
    let run = repository.begin_run().await?;
    let taken = take(repository, &run, made).await;
    run.end().await;
    taken
}

pub(crate) async fn take(
    repository: &Repository,
    run: &crate::repository::WriteRun,
    made: &Made,
) -> Result<BackupId> {
    let secrets = repository.secrets()?.clone();
    let key = repository.new_data_key().await?.map(|(key, _)| key);
    let keys = key.iter().map(|key| key.id).collect();
    let sealer = Sealer::new(key);
    let mut packer = Packer::new(repository, 1);
    let mut references: Vec<ChunkReference> = Vec::new();
    for plain in &made.chunks {
        let id = chunk_id(&secrets, FrameType::Rows, 0, plain);
        if run.known().find(&id).is_none() && references.iter().all(|known| known.id != id) {
            let bytes = sealer.seal(FrameType::Rows, id, false, plain)?;
            packer.add(NewFrame { chunk: id, frame_type: FrameType::Rows, bytes }).await?;
        }
        references.push(ChunkReference::whole(id));
    }
    let encoded = encode_references(&references);
    let (mut inline, mut lists): (_, Vec<ChunkId>) = (encoded.clone(), Vec::new());
    if made.with_list {
        let id = chunk_id(&secrets, FrameType::List, 0, &encoded);
        if run.known().find(&id).is_none() {
            let bytes = Sealer::new(None).seal(FrameType::List, id, false, &encoded)?;
            packer.add(NewFrame { chunk: id, frame_type: FrameType::List, bytes }).await?;
        }
        (inline, lists) = (Vec::new(), vec![id]);
    }
    packer.finish().await?;
    let stream = Stream {
        frame_type: FrameType::Rows.code(),
        chunks: references.len() as u64,
        inline,
        lists,
    };
    let tag = |(key, value): &(&str, &str)| Tag { key: (*key).into(), value: (*value).into() };
    let clear = ClearPart {
        id: BackupId(random()?),
        features: Vec::new(),
        kind: made.kind,
        series: series_id(&secrets, 1, made.database),
        started_at: made.finished_at - 1,
        finished_at: made.finished_at,
        lsn: made.lsn,
        program: "test".to_owned(),
        tags: made.tags.iter().map(tag).collect(),
        totals: Totals::default(),
        keys,
        streams: vec![stream],
    };
    let id = clear.id;
    let backup = FinishedBackup { clear, sealed: sealed_part(made) };
    run.publish(&backup, &sealer).await?;
    Ok(id)
}

fn sealed_part(made: &Made) -> SealedPart {
    SealedPart {
        databases: vec![Database {
            name: made.database.to_owned(),
            encoding: "UTF8".to_owned(),
            snapshot: "739:742:739".to_owned(),
            lsn: made.lsn,
            entries_stream: 0,
            replayed: None,
        }],
        system_identifier: 1,
        server_version: 180_004,
        timeline: 1,
        host: "127.0.0.1".to_owned(),
        warnings: Vec::new(),
        selection: Vec::new(),
        globals_stream: None,
        copied_tables: (made.kind == BackupKind::Copy).then(Vec::new),
    }
}

/// Packs a chunk of changes and writes the segment that refers to it.
pub(crate) async fn stream_segment(
    repository: &Repository,
    first: u64,
    last: u64,
) -> Result<segment::ClearPart> {
    write_segment(repository, first, last, None).await
}

/// Writes a join point, which backups join from there on.
pub(crate) async fn join_point(repository: &Repository, at: u64) -> Result<segment::ClearPart> {
    write_segment(repository, at, at, Some(at)).await
}

async fn write_segment(
    repository: &Repository,
    first: u64,
    last: u64,
    joins_from: Option<u64>,
) -> Result<segment::ClearPart> {
    let lease = repository.lease(Work::Changes).await?;
    let secrets = repository.secrets()?.clone();
    let key = repository.new_data_key().await?.map(|(key, _)| key);
    let keys = key.iter().map(|key| key.id).collect();
    let sealer = Sealer::new(key);
    let mut packer = Packer::of_changes(repository, 1 << 20);
    let plain = format!("changes from {first} to {last}");
    let id = chunk_id(&secrets, FrameType::Changes, 0, plain.as_bytes());
    let bytes = sealer.seal(FrameType::Changes, id, false, plain.as_bytes())?;
    packer.add(NewFrame { chunk: id, frame_type: FrameType::Changes, bytes }).await?;
    let packs = packer.finish_changes().await?.iter().map(|pack| pack.pack).collect();
    let clear = segment::ClearPart {
        id: ObjectId(random()?),
        features: Vec::new(),
        stream: SeriesId(series_id(&secrets, 1, "test").0),
        first,
        last,
        transactions: 0,
        known_until: i64::try_from(last).unwrap_or(i64::MAX),
        greatest_xid: last,
        begins: first == last,
        written_at: i64::try_from(last).unwrap_or(i64::MAX),
        program: "test".to_owned(),
        keys,
        packs,
        stored_bytes: 0,
        timeline: 1,
        definitions: None,
        joins_from,
    };
    let sealed = segment::SealedPart::default();
    let stored = repository.store_segment(&clear, &sealed, &sealer, &lease).await;
    lease.end().await;
    stored.map(|_| clear)
}
