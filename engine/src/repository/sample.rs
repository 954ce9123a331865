//! Small repositories in memory, for tests of what reads and mends them: one table of rows that the
//! test chooses, without a server.

use super::{
    Access, FinishedBackup, Identity, InitOptions, NewFrame, Packed, Packer, Repository, WriteRun,
    WriterCredential, init,
};
use crate::Result;
use crate::seal::{Sealer, chunk_id, series_id};
use crate::store::MemoryStore;
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding, Section};
use pgkeep_format::frame::{FrameType, InnerHeader};
use pgkeep_format::id::{BackupId, ChunkId, KeyId};
use pgkeep_format::limits::INLINE_CHUNKS_MAX;
use pgkeep_format::manifest::{BackupKind, ClearPart, Database, SealedPart, Totals};
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::{ChunkReference, Stream, encode_references};
use std::sync::Arc;

/// A repository and the keys to it.
pub(crate) struct Sample {
    pub(crate) store: MemoryStore,
    pub(crate) access: Access,
}

/// The rows of [`Sample::with_backup`], in two chunks.
pub(crate) const ROWS: [&[u8]; 2] = [b"1\tone\n2\ttwo\n", b"3\tthree\n"];

impl Sample {
    /// One without backups.
    pub(crate) async fn new(encrypted: bool) -> Self {
        let store = MemoryStore::default();
        let options =
            InitOptions { recipients: Vec::new(), encrypted, writer_name: "test".to_owned() };
        let made = init(&store, &options).await.unwrap();
        let access = Access {
            identity: Some(Identity::parse(&made.identity).unwrap()),
            writer: Some(WriterCredential::parse(&made.writer).unwrap()),
        };
        Self { store, access }
    }

    /// One with the backup 9 of [`ROWS`].
    pub(crate) async fn with_backup(encrypted: bool) -> Self {
        let sample = Self::new(encrypted).await;
        sample.back_up(9, &ROWS).await;
        sample
    }

    pub(crate) async fn open(&self) -> Result<Repository> {
        Repository::open(Arc::new(self.store.clone()), self.access.clone()).await
    }

    /// Opens it as a host does that only writes.
    pub(crate) async fn open_for_writing(&self) -> Repository {
        let access = Access { identity: None, writer: self.access.writer.clone() };
        Repository::open(Arc::new(self.store.clone()), access).await.unwrap()
    }

    /// The id of a chunk of rows.
    pub(crate) fn id_of(&self, rows: &[u8]) -> ChunkId {
        let secrets = &self.access.writer.as_ref().unwrap().secrets;
        chunk_id(secrets, FrameType::Rows, InnerHeader::flags_of(continues(rows)), rows)
    }

    /// Backs up the table `public.numbers` with these chunks of rows: what the repository has is
    /// not stored again. The last row of a chunk that ends with no newline goes on in the next.
    pub(crate) async fn back_up(&self, id: u8, rows: &[&[u8]]) -> Packed {
        let mut writing = Writing::begin(self).await;
        let entry = cbor::encode(&entry(rows));
        let rows = writing.stream(FrameType::Rows, rows).await;
        let entries = writing.stream(FrameType::Entries, &[&entry]).await;
        let packed = writing.packer.finish().await.unwrap();
        let clear = ClearPart {
            id: BackupId([id; 16]),
            features: Vec::new(),
            kind: BackupKind::Logical,
            series: series_id(writing.repository.secrets().unwrap(), u64::MAX, "test"),
            started_at: i64::from(id),
            finished_at: i64::from(id) + 1,
            lsn: 3,
            program: "test".to_owned(),
            tags: Vec::new(),
            totals: Totals::default(),
            keys: writing.keys,
            streams: vec![rows, entries],
        };
        let backup = FinishedBackup { clear, sealed: sealed_part() };
        writing.run.publish(&backup, &writing.sealer).await.unwrap();
        writing.run.end().await;
        packed
    }

    /// Stores lists of chunks, of a stream of rows that no backup has.
    pub(crate) async fn store_lists(&self, lists: &[Vec<ChunkReference>]) -> Stream {
        let mut writing = Writing::begin(self).await;
        let mut stream = Stream {
            frame_type: FrameType::Rows.code(),
            chunks: lists.iter().map(Vec::len).sum::<usize>() as u64,
            ..Stream::default()
        };
        for list in lists {
            stream.lists.push(writing.list(list).await);
        }
        writing.packer.finish().await.unwrap();
        writing.run.end().await;
        stream
    }

    pub(crate) fn objects(&self) -> Vec<(ObjectName, Bytes)> {
        self.store.tamper(|objects| objects.iter().map(|(n, b)| (*n, b.clone())).collect())
    }

    /// The objects that are packs of rows and entries.
    pub(crate) fn packs(&self) -> Vec<(ObjectName, Bytes)> {
        let is_pack = |(name, _): &(ObjectName, Bytes)| matches!(name, ObjectName::Pack(_));
        self.objects().into_iter().filter(is_pack).collect()
    }

    pub(crate) fn replace(&self, name: ObjectName, bytes: impl Into<Bytes>) {
        self.store.tamper(|objects| objects.insert(name, bytes.into()));
    }

    pub(crate) fn remove(&self, name: &ObjectName) {
        self.store.tamper(|objects| objects.remove(name));
    }

    /// Changes a byte of the payload of a chunk, in the first pack that has it.
    pub(crate) fn rot(&self, chunk: &ChunkId) {
        let frame_at = |bytes: &Bytes| bytes.windows(32).position(|window| window == chunk.0);
        let (name, bytes, at) = self
            .packs()
            .into_iter()
            .find_map(|(name, bytes)| frame_at(&bytes).map(|at| (name, bytes, at)))
            .expect("a pack with the chunk");
        let mut changed = bytes.to_vec();
        // The id lies 32 bytes into the frame's header of 96.
        changed[at + 70] ^= 1;
        self.replace(name, changed);
    }
}

struct Writing {
    sealer: Sealer,
    keys: Vec<KeyId>,
    packer: Packer,
    run: WriteRun,
    repository: Repository,
}

impl Writing {
    async fn begin(sample: &Sample) -> Self {
        let repository = sample.open_for_writing().await;
        let run = repository.begin_run().await.unwrap();
        let key = repository.new_data_key().await.unwrap().map(|(key, _)| key);
        let keys = key.iter().map(|key| key.id).collect();
        let packer = Packer::new(&repository, 1 << 20);
        Self { sealer: Sealer::new(key), keys, packer, run, repository }
    }

    async fn stream(&mut self, frame_type: FrameType, chunks: &[&[u8]]) -> Stream {
        let mut references = Vec::new();
        for plain in chunks {
            let row_continues = frame_type == FrameType::Rows && continues(plain);
            let id = self.store(frame_type, row_continues, plain).await;
            references.push(ChunkReference { row_continues, ..ChunkReference::whole(id) });
        }
        let mut stream = Stream {
            frame_type: frame_type.code(),
            chunks: references.len() as u64,
            ..Stream::default()
        };
        if references.len() <= INLINE_CHUNKS_MAX {
            stream.inline = encode_references(&references);
            return stream;
        }
        for list in references.chunks(INLINE_CHUNKS_MAX) {
            stream.lists.push(self.list(list).await);
        }
        stream
    }

    async fn list(&mut self, references: &[ChunkReference]) -> ChunkId {
        self.store(FrameType::List, false, &encode_references(references)).await
    }

    async fn store(&mut self, frame_type: FrameType, continues: bool, plain: &[u8]) -> ChunkId {
        let secrets = self.repository.secrets().unwrap();
        let chunk = chunk_id(secrets, frame_type, InnerHeader::flags_of(continues), plain);
        if self.run.known().find(&chunk).is_none() {
            let bytes = self.sealer.seal(frame_type, chunk, continues, plain).unwrap();
            self.packer.add(NewFrame { chunk, frame_type, bytes }).await.unwrap();
        }
        chunk
    }
}

fn continues(rows: &[u8]) -> bool {
    !rows.ends_with(b"\n")
}

fn entry(rows: &[&[u8]]) -> Entry {
    Entry {
        kind: Kind::TableData.into(),
        section: Section::Data,
        schema: Some("public".to_owned()),
        name: "numbers".to_owned(),
        create: String::new(),
        drop: None,
        depends_on: Vec::new(),
        belongs_to: None,
        relation: None,
        data: Some(Box::new(Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: vec!["id".to_owned(), "name".to_owned()],
            rows: rows.concat().iter().filter(|byte| **byte == b'\n').count() as u64,
            bytes: rows.iter().map(|rows| rows.len() as u64).sum(),
            table: None,
            numbers: None,
            types: None,
        })),
        owner: None,
        large_objects: None,
        storage: None,
        by_index: None,
    }
}

fn sealed_part() -> SealedPart {
    SealedPart {
        databases: vec![Database {
            name: "test".to_owned(),
            encoding: "UTF8".to_owned(),
            snapshot: "739:742:739".to_owned(),
            lsn: 3,
            entries_stream: 1,
            replayed: None,
        }],
        system_identifier: u64::MAX,
        server_version: 180_004,
        timeline: 1,
        host: "127.0.0.1".to_owned(),
        warnings: Vec::new(),
        selection: Vec::new(),
        globals_stream: None,
        copied_tables: None,
    }
}
