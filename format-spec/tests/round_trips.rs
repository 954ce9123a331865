//! Whatever value a structure has, it reads back what was written; whatever bytes come, a
//! decoder answers and takes nothing that it would write otherwise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgkeep_format::config::{Config, FormerWriter, StoreFacts, Writer};
use pgkeep_format::entry::{
    ByIndex, Column, Data, Entry, EntryKind, Kind, Relation, RowEncoding, Section, Storage,
};
use pgkeep_format::frame::{self, Codec, FrameHeader, FrameType, InnerHeader, Suite};
use pgkeep_format::id::{
    BackupId, ChunkId, KeyId, ObjectId, PackId, RepositoryId, SeriesId, VerifyKey,
};
use pgkeep_format::index::{self, IndexedPack};
use pgkeep_format::key::{self, KeyMaterial};
use pgkeep_format::left_out::LeftOut;
use pgkeep_format::manifest::{self, BackupKind, ClearPart, Database, SealedPart, Tag, Totals};
use pgkeep_format::name::{self, KeyName, ObjectName};
use pgkeep_format::object::{self, ObjectHeader, ObjectType};
use pgkeep_format::pack::{self, FooterEntry, Trailer};
use pgkeep_format::single_file::{self, Directory, DirectoryEntry, RecordHeader};
use pgkeep_format::stream::{self, ChunkReference, Ending, Stream};
use pgkeep_format::{cbor, limits};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

const STORED_MAX: u32 = 16_842_752;

fn frame_type() -> impl Strategy<Value = FrameType> {
    prop_oneof![
        (1_u8..=7).prop_map(|code| FrameType::from_code(code).unwrap()),
        (128_u8..=255).prop_map(FrameType::Ancillary),
    ]
}

fn object_header() -> impl Strategy<Value = ObjectHeader> {
    let code = prop_oneof![1_u8..=7, Just(9_u8)];
    (code, any::<[u8; 16]>(), any::<[u8; 16]>(), 0..=limits::BODY_LEN_MAX).prop_map(
        |(code, repository, id, body_len)| ObjectHeader {
            object_type: ObjectType::from_code(code).unwrap(),
            repository: RepositoryId(repository),
            id,
            body_len,
        },
    )
}

fn frame_header() -> impl Strategy<Value = FrameHeader> {
    let parts = (
        frame_type(),
        0_u8..=2,
        24..=STORED_MAX,
        any::<[u8; 16]>().prop_filter("no key", |key| *key != [0; 16]),
        any::<[u8; 32]>(),
        any::<[u8; 12]>(),
        any::<u32>(),
    );
    parts.prop_map(|(frame_type, suite, stored_len, key, chunk, nonce, payload_checksum)| {
        let suite = match Suite::from_code(suite).unwrap() {
            _ if frame_type.is_clear() => Suite::None,
            suite => suite,
        };
        let sealed = suite != Suite::None;
        FrameHeader {
            frame_type,
            suite,
            stored_len,
            key: if sealed { KeyId(key) } else { KeyId::default() },
            chunk: if frame_type == FrameType::Footer {
                ChunkId::default()
            } else {
                ChunkId(chunk)
            },
            nonce: if sealed { nonce } else { [0; 12] },
            payload_checksum,
        }
    })
}

fn footer() -> impl Strategy<Value = Vec<FooterEntry>> {
    vec((any::<[u8; 32]>(), frame_type(), 8..=STORED_MAX), 0..20).prop_map(|frames| {
        let mut offset = object::HEADER_LEN as u64;
        let place = |(chunk, frame_type, stored_len)| {
            let entry = FooterEntry { chunk: ChunkId(chunk), frame_type, stored_len, offset };
            offset += entry.frame_len();
            entry
        };
        frames.into_iter().map(place).collect()
    })
}

fn references(most: usize) -> impl Strategy<Value = Vec<ChunkReference>> {
    let left_out = vec(any::<bool>(), 0..30).prop_map(|rows| LeftOut::of(rows).map(Box::new));
    let reference = |(id, row_continues, hash, left_out)| ChunkReference {
        id: ChunkId(id),
        row_continues,
        ending: Ending::of(hash),
        left_out,
    };
    vec((any::<[u8; 32]>(), any::<bool>(), any::<u64>(), left_out).prop_map(reference), 0..most)
}

fn stream() -> impl Strategy<Value = Stream> {
    let inline =
        (frame_type(), references(limits::INLINE_CHUNKS_MAX)).prop_map(|(kind, mut chunks)| {
            for chunk in &mut chunks {
                chunk.row_continues &= chunk.left_out.is_none() && kind != FrameType::Rows;
                chunk.left_out = chunk.left_out.take().filter(|_| kind == FrameType::Rows);
            }
            if let Some(last) = chunks.last_mut() {
                last.row_continues = false;
            }
            Stream {
                frame_type: kind.code(),
                chunks: chunks.len() as u64,
                inline: stream::encode_references(&chunks),
                lists: Vec::new(),
            }
        });
    let listed = (frame_type(), any::<u64>(), vec(any::<[u8; 32]>(), 1..5)).prop_map(
        |(kind, chunks, lists)| Stream {
            frame_type: kind.code(),
            chunks,
            inline: Vec::new(),
            lists: lists.into_iter().map(ChunkId).collect(),
        },
    );
    prop_oneof![inline, listed]
}

fn totals() -> impl Strategy<Value = Totals> {
    any::<[u64; 7]>().prop_map(|n| Totals {
        rows: n[0],
        plain_bytes: n[1],
        stored_bytes: n[2],
        added_bytes: n[3],
        chunks: n[4],
        new_chunks: n[5],
        entries: n[6],
    })
}

fn clear_part() -> impl Strategy<Value = ClearPart> {
    let tag = (".*", ".*").prop_map(|(key, value)| Tag { key, value });
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), vec(any::<[u8; 16]>(), 0..3));
    let numbers = (any::<i64>(), any::<i64>(), any::<u64>(), any::<bool>());
    (ids, numbers, ".*", vec(tag, 0..3), totals(), vec(stream(), 0..6)).prop_map(
        |(
            (id, series, keys),
            (started_at, finished_at, lsn, physical),
            program,
            tags,
            totals,
            streams,
        )| {
            ClearPart {
                id: BackupId(id),
                features: Vec::new(),
                kind: if physical { BackupKind::Physical } else { BackupKind::Logical },
                series: SeriesId(series),
                started_at,
                finished_at,
                lsn,
                program,
                tags,
                totals,
                keys: keys.into_iter().map(KeyId).collect(),
                streams,
            }
        },
    )
}

fn sealed_part() -> impl Strategy<Value = SealedPart> {
    let texts = (".*", vec(".*", 0..3), vec(".*", 0..3));
    let numbers =
        (any::<u64>(), any::<[u32; 2]>(), any::<Option<u32>>(), any::<Option<Vec<u32>>>());
    let database = (".*", ".*", any::<u64>(), any::<u32>(), any::<Option<u64>>());
    (btree_map(".*", database, 1..4), texts, numbers).prop_map(
        |(
            databases,
            (host, warnings, selection),
            (system_identifier, n, globals_stream, copied_tables),
        )| {
            let database = |(name, (encoding, snapshot, lsn, entries_stream, replayed))| Database {
                name,
                encoding,
                snapshot,
                lsn,
                entries_stream,
                replayed,
            };
            SealedPart {
                databases: databases.into_iter().map(database).collect(),
                system_identifier,
                server_version: n[0],
                timeline: n[1],
                host,
                warnings,
                selection,
                globals_stream,
                copied_tables,
            }
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let writer =
        (any::<[u8; 32]>(), ".*").prop_map(|(key, name)| Writer { key: VerifyKey(key), name });
    let former = (any::<[u8; 32]>(), ".*", any::<i64>(), vec(any::<[u8; 16]>(), 0..4)).prop_map(
        |(key, name, revoked_at, vouchers)| FormerWriter {
            key: VerifyKey(key),
            name,
            revoked_at,
            vouchers: vouchers.into_iter().map(ObjectId).collect(),
        },
    );
    let former = proptest::option::of(vec(former, 0..4));
    (any::<i64>(), vec(".*", 0..4), vec(writer, 0..4), any::<bool>(), former).prop_map(
        |(written_at, recipients, writers, refuses_overwrite, former_writers)| Config {
            written_at,
            features: Vec::new(),
            encrypted: !recipients.is_empty(),
            recipients,
            writers,
            store: StoreFacts { refuses_overwrite },
            former_writers,
        },
    )
}

fn relation() -> impl Strategy<Value = Relation> {
    let column = (".*", ".*", any::<bool>(), ".?", ".?").prop_map(
        |(name, type_name, not_null, generated, identity)| Column {
            name,
            type_name,
            not_null,
            generated,
            identity,
        },
    );
    (
        vec(column, 0..5),
        ".?",
        vec(".*", 0..3),
        any::<bool>(),
        any::<bool>(),
        vec(any::<u32>(), 0..3),
    )
        .prop_map(
            |(columns, replica_identity, primary_key, unlogged, partitioned, parents)| Relation {
                columns,
                replica_identity,
                primary_key,
                unlogged,
                partitioned,
                parents,
            },
        )
}

fn data() -> impl Strategy<Value = Data> {
    let encoding = prop::sample::select(vec![
        RowEncoding::CopyText,
        RowEncoding::CopyBinary,
        RowEncoding::Cbor,
    ]);
    let sums = (any::<u64>(), any::<u64>());
    (any::<u32>(), encoding, vec(".*", 0..4), sums, any::<Option<u32>>()).prop_map(
        |(stream, encoding, columns, (rows, bytes), table)| Data {
            numbers: table.map(|_| (1..).take(columns.len()).collect()),
            types: table.map(|oid| vec![oid; columns.len()]),
            stream,
            encoding,
            columns,
            rows,
            bytes,
            table,
        },
    )
}

fn kind() -> impl Strategy<Value = EntryKind> {
    let later = "[A-Z ]*".prop_map(|text| {
        let known = Kind::ALL.iter().find(|kind| kind.as_str() == text);
        known.map_or(EntryKind::Other(text), |kind| (*kind).into())
    });
    prop_oneof![prop::sample::select(Kind::ALL).prop_map(EntryKind::Known), later]
}

fn entry() -> impl Strategy<Value = Entry> {
    let section = prop::sample::select(vec![Section::PreData, Section::Data, Section::PostData]);
    let texts = (option::of(".*"), ".*", ".*", option::of(".*"));
    let links = (vec(any::<u32>(), 0..4), option::of(any::<u32>()));
    let storage = (option::of(".*"), option::of(".*"))
        .prop_map(|(tablespace, access_method)| Storage { tablespace, access_method });
    let by_index = (".*", ".*").prop_map(|(index, constraint)| ByIndex { index, constraint });
    let large_objects = option::of(vec(any::<u32>(), 0..4));
    let facts = (
        option::of(".*"),
        large_objects,
        option::of(storage.prop_map(Box::new)),
        option::of(by_index.prop_map(Box::new)),
    );
    (
        kind(),
        section,
        texts,
        links,
        option::of(relation().prop_map(Box::new)),
        option::of(data().prop_map(Box::new)),
        facts,
    )
        .prop_map(
            |(
                kind,
                section,
                (schema, name, create, drop),
                (depends_on, belongs_to),
                relation,
                data,
                (owner, large_objects, storage, by_index),
            )| {
                Entry {
                    kind,
                    section,
                    schema,
                    name,
                    create,
                    drop,
                    depends_on,
                    belongs_to,
                    relation,
                    data,
                    owner,
                    large_objects,
                    storage,
                    by_index,
                }
            },
        )
}

fn object_name() -> impl Strategy<Value = ObjectName> {
    let key = (any::<[u8; 16]>(), any::<u32>(), any::<bool>())
        .prop_map(|(id, checksum, wrapped)| KeyName { id: KeyId(id), checksum, wrapped });
    prop_oneof![
        (1_u32..=99_999_999).prop_map(ObjectName::Config),
        key.prop_map(ObjectName::Key),
        any::<[u8; 16]>().prop_map(|id| ObjectName::Pack(PackId(id))),
        any::<[u8; 16]>().prop_map(|id| ObjectName::Index(ObjectId(id))),
        any::<[u8; 16]>().prop_map(|id| ObjectName::Backup(BackupId(id))),
    ]
}

proptest! {
    #[test]
    fn headers_read_back(object in object_header(), frame in frame_header()) {
        prop_assert_eq!(ObjectHeader::decode(&object.encode()), Ok(object));
        prop_assert_eq!(FrameHeader::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn inner_headers_read_back(body in vec(any::<u8>(), 0..100), zstd: bool, row_continues: bool, size in 0..=16_u32 << 20) {
        let plain_len = if zstd { size } else { u32::try_from(body.len()).unwrap() };
        let codec = if zstd { Codec::Zstd } else { Codec::Raw };
        let inner = InnerHeader { codec, row_continues, plain_len };
        let written = [&inner.encode()[..], &body].concat();
        prop_assert_eq!(InnerHeader::decode(&written), Ok((inner, &body[..])));
    }

    #[test]
    fn signed_objects_read_back(header in object_header(), body in vec(any::<u8>(), 0..200), signer: [u8; 32], half: [u8; 32]) {
        let header = ObjectHeader { body_len: body.len() as u64, ..header };
        let signature = [half, signer].concat().try_into().unwrap();
        let written = object::encode_signed(&header, &body, VerifyKey(signer), &signature);
        let found = object::decode_signed(&written).unwrap();
        prop_assert_eq!((found.header, found.body, found.signer.0, found.signature), (header, &body[..], signer, signature));
    }

    #[test]
    fn footers_indexes_and_trailers_read_back(
        packs in vec((any::<[u8; 16]>(), 0..=limits::PACK_LEN_MAX, footer()), 0..4),
        offset in 64_u64..1 << 29, footer_len in 104_u64..1 << 24, frames in 0_u32..=1 << 18,
    ) {
        let packs: Vec<IndexedPack> = packs.into_iter().map(|(id, len, entries)| IndexedPack { pack: PackId(id), len, entries }).collect();
        for pack in &packs {
            let footer = pack::encode_footer(&pack.entries);
            prop_assert_eq!(pack::decode_footer(&footer).unwrap(), pack.entries.clone());
        }
        prop_assert_eq!(index::decode(&index::encode(&packs)), Ok(packs));
        let trailer = Trailer { footer_offset: offset, footer_len, frames };
        prop_assert_eq!(Trailer::decode(&trailer.encode(), offset + footer_len + 32), Ok(trailer));
    }

    #[test]
    fn references_and_keys_read_back(chunks in references(50), repository: [u8; 16], id: [u8; 16], first: [u8; 32], second: [u8; 32]) {
        prop_assert_eq!(stream::decode_references(&stream::encode_references(&chunks)), Ok(chunks));
        let (repository, id) = (RepositoryId(repository), KeyId(id));
        for material in [KeyMaterial::Data(first), KeyMaterial::Secrets { naming: first, cut: second }] {
            prop_assert_eq!(key::decode(&key::encode(repository, id, &material), repository, id), Ok(material));
        }
    }

    #[test]
    fn manifests_and_configs_read_back(clear in clear_part(), sealed in sealed_part(), header in frame_header(), config in config()) {
        let frame_of = FrameHeader { frame_type: FrameType::Manifest, stored_len: 30, ..header };
        let frame_of = [&frame_of.encode()[..], &[0; 30]].concat();
        let body = manifest::encode_body(&clear, &frame_of);
        prop_assert_eq!(manifest::decode_body(&body), Ok((clear, &frame_of[..])));
        prop_assert_eq!(cbor::decode::<SealedPart>("", &cbor::encode(&sealed)), Ok(sealed));
        prop_assert_eq!(Config::decode(&cbor::encode(&config)), Ok(config));
    }

    #[test]
    fn entries_read_back_one_after_another(entries in vec(entry(), 0..5)) {
        let written: Vec<u8> = entries.iter().flat_map(cbor::encode).collect();
        let (mut rest, mut found) = (&written[..], Vec::new());
        while !rest.is_empty() {
            let (entry, len) = cbor::decode_first::<Entry>("", rest).unwrap();
            found.push(entry);
            rest = &rest[len..];
        }
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn names_read_back_and_are_well_formed(name in object_name()) {
        let text = name.to_string();
        prop_assert_eq!(ObjectName::parse(&text), Ok(name));
        prop_assert!(name::is_well_formed(&text) && text.len() <= limits::NAME_LEN_MAX);
    }

    #[test]
    fn single_files_read_back(
        name_len in 0_u16..=255, object_len in 0..=limits::PACK_LEN_MAX, checksum: u32,
        names in prop::collection::btree_set(object_name(), 0..5), lens in vec(0_u64..1000, 5),
        end_offset in 64_u64..1 << 40, directory_len in 0..=limits::BODY_LEN_MAX,
    ) {
        let record = RecordHeader { name_len, object_len, checksum };
        prop_assert_eq!(RecordHeader::decode(&record.encode()), Ok(record));
        let trailer = single_file::Trailer { end_offset, directory_len };
        prop_assert_eq!(single_file::Trailer::decode(&trailer.encode(), end_offset + directory_len + 64), Ok(trailer));
        let objects: Vec<DirectoryEntry> = names.iter().zip(lens).map(|(name, len)| DirectoryEntry { name: name.to_string(), offset: 64, len }).collect();
        let directory = Directory { objects };
        prop_assert_eq!(Directory::decode(&cbor::encode(&directory), 2000), Ok(directory));
    }

    #[test]
    fn no_bytes_are_too_odd_for_a_decoder(bytes in vec(any::<u8>(), 0..400), text in ".*") {
        let _ = ObjectHeader::decode(&bytes);
        let _ = object::decode_signed(&bytes);
        let _ = FrameHeader::decode(&bytes);
        let _ = InnerHeader::decode(&bytes);
        let _ = pack::decode_footer(&bytes);
        let _ = Trailer::decode(&bytes, bytes.len() as u64);
        let _ = index::decode(&bytes);
        let _ = manifest::decode_body(&bytes);
        let _ = stream::decode_references(&bytes);
        let _ = Config::decode(&bytes);
        let _ = cbor::decode::<Entry>("", &bytes);
        let _ = key::decode(&bytes, RepositoryId::default(), KeyId::default());
        let _ = RecordHeader::decode(&bytes);
        let _ = Directory::decode(&bytes, 100);
        let _ = single_file::Trailer::decode(&bytes, bytes.len() as u64);
        prop_assert!(ObjectName::parse(&text).is_err());
    }

    /// Checksums made to fit: what is taken is written again as the same bytes, so no bit of
    /// a header is without a meaning.
    #[test]
    fn a_header_that_is_taken_has_no_bit_without_meaning(header in frame_header(), at in 0_usize..92, byte: u8) {
        let mut bytes = header.encode();
        bytes[at] = byte;
        let checksum = crc32fast::hash(&bytes[..92]);
        bytes[92..].copy_from_slice(&checksum.to_le_bytes());
        if let Ok(found) = FrameHeader::decode(&bytes) {
            prop_assert_eq!(found.encode(), bytes);
        }
        prop_assert_eq!(bytes.len(), frame::HEADER_LEN);
    }
}
