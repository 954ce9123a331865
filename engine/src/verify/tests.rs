//! A small repository, without a server, and everything that can happen to its bytes.

use super::{VerifyOptions, VerifyReport, run};
use crate::progress::{Progress, Silent, interrupt};
use crate::repository::{
    Access, FinishedBackup, Identity, InitOptions, NewFrame, Packer, Repository, WriterCredential,
    init,
};
use crate::seal::{Sealer, chunk_id, series_id};
use crate::store::MemoryStore;
use crate::{ErrorKind, Result};
use bytes::Bytes;
use pgkeep_format::cbor;
use pgkeep_format::entry::{Data, Entry, Kind, RowEncoding, Section};
use pgkeep_format::frame::FrameType;
use pgkeep_format::id::{BackupId, ChunkId};
use pgkeep_format::manifest::{BackupKind, ClearPart, Database, SealedPart, Totals};
use pgkeep_format::name::ObjectName;
use pgkeep_format::stream::{ChunkReference, Stream, encode_references};
use std::sync::Arc;

struct Small {
    store: MemoryStore,
    access: Access,
}

const ROWS: [&[u8]; 2] = [b"1\tone\n2\ttwo\n", b"3\tthree\n"];

impl Small {
    async fn new(encrypted: bool) -> Self {
        let store = MemoryStore::default();
        let options =
            InitOptions { recipients: Vec::new(), encrypted, writer_name: "test".to_owned() };
        let made = init(&store, &options).await.unwrap();
        let access = Access {
            identity: Some(Identity::parse(&made.identity).unwrap()),
            writer: Some(WriterCredential::parse(&made.writer).unwrap()),
        };
        let small = Self { store, access };
        small.back_up().await;
        small
    }

    async fn open(&self) -> Result<Repository> {
        Repository::open(Arc::new(self.store.clone()), self.access.clone()).await
    }

    /// Stores one table of three rows in two chunks, and its entry.
    async fn back_up(&self) {
        let repository = self.open().await.unwrap();
        let secrets = repository.secrets().unwrap().clone();
        let key = repository.new_data_key().await.unwrap().map(|(key, _)| key);
        let keys = key.iter().map(|key| key.id).collect();
        let sealer = Sealer::new(key);
        let mut packer = Packer::new(&repository, 1 << 20);
        let mut streams = Vec::new();
        let entry = cbor::encode(&entry());
        for (frame_type, chunks) in
            [(FrameType::Rows, ROWS.to_vec()), (FrameType::Entries, vec![&entry[..]])]
        {
            let mut references = Vec::new();
            for plain in chunks {
                let chunk = chunk_id(&secrets, frame_type, 0, plain);
                let bytes = sealer.seal(frame_type, chunk, false, plain).unwrap();
                packer.add(NewFrame { chunk, frame_type, bytes }).await.unwrap();
                references.push(ChunkReference { id: chunk, row_continues: false });
            }
            streams.push(Stream {
                frame_type: frame_type.code(),
                chunks: references.len() as u64,
                inline: encode_references(&references),
                lists: Vec::new(),
            });
        }
        packer.finish().await.unwrap();
        let clear = ClearPart {
            id: BackupId([9; 16]),
            features: Vec::new(),
            kind: BackupKind::Logical,
            series: series_id(&secrets, 1, "test"),
            started_at: 1,
            finished_at: 2,
            lsn: 3,
            program: "test".to_owned(),
            tags: Vec::new(),
            totals: Totals::default(),
            keys,
            streams,
        };
        let run = repository.begin_run().await.unwrap();
        let backup = FinishedBackup { clear, sealed: sealed_part() };
        run.publish(&backup, &sealer).await.unwrap();
        run.end().await;
    }

    async fn verify(&self) -> Result<VerifyReport> {
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let (_keep, interrupt) = interrupt();
        run(&self.open().await?, &VerifyOptions::default(), &progress, interrupt).await
    }

    /// What is wrong, as texts; an error is one of them.
    async fn problems(&self) -> Vec<String> {
        match self.verify().await {
            Ok(report) => report.problems.into_iter().map(|problem| problem.message).collect(),
            Err(error) => vec![format!("{error:?}")],
        }
    }

    fn objects(&self) -> Vec<(ObjectName, Bytes)> {
        self.store.tamper(|objects| objects.iter().map(|(n, b)| (*n, b.clone())).collect())
    }

    fn replace(&self, name: ObjectName, bytes: impl Into<Bytes>) {
        self.store.tamper(|objects| objects.insert(name, bytes.into()));
    }
}

fn entry() -> Entry {
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
        data: Some(Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: vec!["id".to_owned(), "name".to_owned()],
            rows: 3,
            bytes: ROWS.iter().map(|rows| rows.len() as u64).sum(),
            table: None,
            numbers: None,
        }),
        owner: None,
        large_objects: None,
        storage: None,
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

#[tokio::test]
async fn a_good_repository_has_no_problems_with_and_without_encryption() {
    for encrypted in [true, false] {
        let small = Small::new(encrypted).await;
        let report = small.verify().await.unwrap();
        assert_eq!(report.problems, []);
        assert_eq!((report.backups, report.chunks), (1, 3));
    }
}

async fn every_flipped_bit_is_found(encrypted: bool) {
    let small = Small::new(encrypted).await;
    for (name, bytes) in small.objects() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                small.replace(name, changed);
                assert!(!small.problems().await.is_empty(), "{name}: byte {at} bit {bit}");
            }
        }
        small.replace(name, bytes);
    }
    assert_eq!(small.problems().await, Vec::<String>::new());
}

#[tokio::test]
async fn every_flipped_bit_of_an_encrypted_repository_is_found() {
    every_flipped_bit_is_found(true).await;
}

#[tokio::test]
async fn every_flipped_bit_of_a_plain_repository_is_found() {
    every_flipped_bit_is_found(false).await;
}

#[tokio::test]
async fn an_object_that_is_cut_off_lengthened_or_gone_is_found() {
    let small = Small::new(true).await;
    for (name, bytes) in small.objects() {
        for len in 0..bytes.len() {
            small.replace(name, bytes.slice(..len));
            assert!(!small.problems().await.is_empty(), "{name} cut to {len}");
        }
        small.replace(name, [&bytes[..], b"x"].concat());
        assert!(!small.problems().await.is_empty(), "{name} lengthened");
        small.store.tamper(|objects| objects.remove(&name));
        // Without its manifest a backup is not there, and without an index it is found all
        // the same: neither can be told from a repository that never had them.
        if !matches!(name, ObjectName::Backup(_) | ObjectName::Index(_)) {
            assert!(!small.problems().await.is_empty(), "{name} gone");
        }
        small.replace(name, bytes);
    }
}

#[tokio::test]
async fn a_pack_or_manifest_of_another_repository_is_refused() {
    let (small, other) = (Small::new(true).await, Small::new(true).await);
    let of = |small: &Small, wanted: fn(&ObjectName) -> bool| {
        small.objects().into_iter().find(|(name, _)| wanted(name)).unwrap()
    };
    let wanted: [fn(&ObjectName) -> bool; 3] = [
        |name| matches!(name, ObjectName::Pack(_)),
        |name| matches!(name, ObjectName::Backup(_)),
        |name| matches!(name, ObjectName::Index(_)),
    ];
    for wanted in wanted {
        let (name, own) = of(&small, wanted);
        let (foreign_name, foreign) = of(&other, wanted);
        small.replace(name, foreign.clone());
        assert!(!small.problems().await.is_empty(), "{name} replaced");
        small.replace(name, own);
        if foreign_name != name {
            small.replace(foreign_name, foreign);
            assert!(!small.problems().await.is_empty(), "{foreign_name} added");
            small.store.tamper(|objects| objects.remove(&foreign_name));
        }
    }
}

#[tokio::test]
async fn keys_of_another_repository_open_nothing() {
    let (mut small, other) = (Small::new(true).await, Small::new(true).await);
    small.access = other.access.clone();
    assert_eq!(small.open().await.unwrap_err().kind(), ErrorKind::WrongKey);
    // The right repository's name on the wrong age key.
    let mut identity = other.access.identity.clone().unwrap();
    let small = Small::new(true).await;
    let own = small.access.identity.clone().unwrap();
    (identity.repository, identity.owner) = (own.repository, own.owner);
    let small = Small { access: Access { identity: Some(identity), writer: None }, ..small };
    assert_eq!(small.open().await.unwrap_err().kind(), ErrorKind::WrongKey);
}

#[tokio::test]
async fn without_the_identity_checksums_are_compared_and_nothing_is_read() {
    let small = Small::new(true).await;
    let small = Small { access: Access { identity: None, ..small.access }, ..small };
    let report = small.verify().await.unwrap();
    assert_eq!((report.problems, report.unsealed), (vec![], false));
    let repository = small.open().await.unwrap();
    let backup = repository.find("latest").await.unwrap();
    assert_eq!(backup.sealed, None);
    let (name, bytes) =
        small.objects().into_iter().find(|(name, _)| matches!(name, ObjectName::Pack(_))).unwrap();
    let mut changed = bytes.to_vec();
    changed[200] ^= 1;
    small.replace(name, changed);
    assert!(!small.problems().await.is_empty());
}

#[tokio::test]
async fn a_lost_chunk_is_told_with_the_backup_and_table_that_miss_it() {
    let small = Small::new(true).await;
    let secrets = small.access.writer.as_ref().unwrap().secrets.clone();
    let lost: ChunkId = chunk_id(&secrets, FrameType::Rows, 0, ROWS[1]);
    let (name, bytes) =
        small.objects().into_iter().find(|(name, _)| matches!(name, ObjectName::Pack(_))).unwrap();
    let at = bytes.windows(32).position(|window| window == lost.0).unwrap();
    let mut changed = bytes.to_vec();
    changed[at + 70] ^= 1;
    small.replace(name, changed);
    let report = small.verify().await.unwrap();
    let harmed = report.problems.iter().find(|problem| problem.backup == Some(BackupId([9; 16])));
    assert_eq!(harmed.and_then(|problem| problem.table.as_deref()), Some("public.numbers"));
}
