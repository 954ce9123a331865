//! Compares FORMAT.md with the crate: offsets and sizes of every table, limits, codes, keys
//! of structured values. A changed codec without a changed text fails here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use minicbor::data::Type;
use pgkeep_format::change::{self, Action, Change, OldRow};
use pgkeep_format::entry::{
    ByIndex, Column, Data, Entry, Kind, Relation, RowEncoding, Section, Storage,
};
use pgkeep_format::frame::{self, Codec, FrameHeader, FrameType, InnerHeader, Suite};
use pgkeep_format::id::{
    BackupId, ChunkId, KeyId, ObjectDigest, ObjectId, PackId, RepositoryId, SeriesId, VerifyKey,
};
use pgkeep_format::key::{self, KeyMaterial};
use pgkeep_format::left_out::LeftOut;
use pgkeep_format::manifest::{BackupKind, ClearPart, Database, SealedPart, Tag, Totals};
use pgkeep_format::object::{self, ObjectHeader, ObjectType};
use pgkeep_format::pack::{self, FooterEntry};
use pgkeep_format::prune::{Lease, PruneList, SeenLease};
use pgkeep_format::segment::{
    self, ChangeChunk, Mark, RelationVersion, Run, SequenceState, Transaction, VersionColumn,
};
use pgkeep_format::single_file::{self, DirectoryEntry, RecordHeader};
use pgkeep_format::stream::{self, ChunkReference, Ending, Stream};
use pgkeep_format::voucher::Voucher;
use pgkeep_format::{cbor, config, index, limits, manifest};
use std::collections::BTreeMap;

const TEXT: &str = include_str!("../FORMAT.md");

/// The rows of the table below a heading, without its head, as trimmed cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let mut lines = TEXT.lines().skip_while(|line| {
        line.trim_start_matches('#').trim() != heading || !line.starts_with('#')
    });
    assert!(lines.next().is_some(), "FORMAT.md has no heading \"{heading}\"");
    let rows: Vec<_> = lines
        .take_while(|line| !line.starts_with('#'))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty(), "no table below \"{heading}\"");
    rows
}

/// Compares a table of offsets with bytes that were written, field by field: fields lie
/// back to back and fill the bytes, `zero` is zero, and every other field is named here with
/// the bytes it has.
fn check_layout(heading: &str, written: &[u8], fields: &[(&str, Vec<u8>)]) {
    let mut fields: BTreeMap<&str, &Vec<u8>> = fields.iter().map(|(k, v)| (*k, v)).collect();
    let mut end = 0;
    for row in table(heading) {
        let (offset, size): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!(offset, end, "{heading}: {} does not follow what is before it", row[2]);
        end = offset + size;
        let found = written.get(offset..end).unwrap_or_else(|| panic!("{heading}: {}", row[2]));
        match row[2] {
            "zero" => assert!(found.iter().all(|byte| *byte == 0), "{heading} at {offset}"),
            "magic" => assert_eq!(found, magic(row[3]), "{heading}"),
            name if name.ends_with("checksum") && row[3].contains("bytes 0 to") => {
                assert!(row[3].contains(&format!("0 to {}", offset - 1)), "{heading}: {}", row[3]);
                assert_eq!(found, crc32fast::hash(&written[..offset]).to_le_bytes());
            }
            name => {
                let expected = fields.remove(name);
                assert_eq!(Some(found), expected.map(|bytes| &bytes[..]), "{heading}: {name}");
            }
        }
    }
    assert_eq!(end, written.len(), "{heading} has another length");
    assert!(fields.is_empty(), "{heading} lacks {fields:?}");
}

/// The bytes at the start of a cell such as "`50 47` (text)".
fn magic(cell: &str) -> Vec<u8> {
    let digits = cell.split('`').nth(1).unwrap();
    digits.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn le(value: u64, len: usize) -> Vec<u8> {
    value.to_le_bytes()[..len].to_vec()
}

#[test]
fn object_headers_and_tails_lie_as_the_tables_say() {
    let header = ObjectHeader {
        object_type: ObjectType::Manifest,
        repository: RepositoryId([1; 16]),
        id: [2; 16],
        body_len: 4,
    };
    let version = le(object::VERSION.into(), 2);
    check_layout(
        "Object header",
        &header.encode(),
        &[
            ("version", version),
            ("object type", vec![4]),
            ("repository id", vec![1; 16]),
            ("id", vec![2; 16]),
            ("body length", le(4, 8)),
        ],
    );
    assert_eq!(header.encode()[..8], object::MAGIC[..]);
    let signed = object::encode_signed(&header, b"body", VerifyKey([3; 32]), &[4; 64]);
    let tail = &signed[object::HEADER_LEN + 4..];
    assert_eq!(tail.len(), object::TAIL_LEN);
    check_layout(
        "Tail of a signed object",
        tail,
        &[
            ("body checksum", crc32fast::hash(b"body").to_le_bytes().to_vec()),
            ("signer", vec![3; 32]),
            ("signature", vec![4; 64]),
        ],
    );
}

#[test]
fn frames_lie_as_the_tables_say() {
    let header = FrameHeader {
        frame_type: FrameType::Entries,
        suite: Suite::ChaCha20Poly1305,
        stored_len: 77,
        key: KeyId([1; 16]),
        chunk: ChunkId([2; 32]),
        nonce: [3; 12],
        payload_checksum: 9,
    };
    check_layout(
        "Frame header",
        &header.encode(),
        &[
            ("version", vec![frame::VERSION]),
            ("frame type", vec![2]),
            ("suite", vec![2]),
            ("stored length", le(77, 4)),
            ("key id", vec![1; 16]),
            ("chunk id", vec![2; 32]),
            ("nonce", vec![3; 12]),
            ("payload checksum", le(9, 4)),
        ],
    );
    let inner = InnerHeader { codec: Codec::Zstd, row_continues: true, plain_len: 5 };
    check_layout(
        "Inner header",
        &inner.encode(),
        &[("codec", vec![1]), ("flags", vec![1]), ("plain length", le(5, 4))],
    );
    let reference = ChunkReference {
        row_continues: true,
        ending: Ending::decode([7, 8, 9]),
        ..ChunkReference::whole(ChunkId([2; 32]))
    };
    check_layout(
        "Chunk reference",
        &stream::encode_references(&[reference]),
        &[("chunk id", vec![2; 32]), ("flags", vec![1]), ("ending", vec![7, 8, 9])],
    );
    let left_out = LeftOut::of([false, true]).map(Box::new);
    let reference = ChunkReference { left_out, ..ChunkReference::whole(ChunkId([2; 32])) };
    let bytes = stream::encode_references(&[reference]);
    check_layout("Rows left out", &bytes[stream::REFERENCE_LEN..][..4], &[("length", le(2, 4))]);
    assert_eq!(bytes[stream::REFERENCE_LEN + 4..], [1, 1]);
}

#[test]
fn packs_and_indexes_lie_as_the_tables_say() {
    let entry = FooterEntry {
        chunk: ChunkId([2; 32]),
        frame_type: FrameType::List,
        stored_len: 77,
        offset: 64,
    };
    let line = pack::encode_footer(&[entry]);
    check_layout(
        "Footer line",
        &line,
        &[
            ("chunk id", vec![2; 32]),
            ("frame type", vec![3]),
            ("stored length", le(77, 4)),
            ("offset", le(64, 8)),
        ],
    );
    check_layout(
        "Pack trailer",
        &pack::Trailer { footer_offset: 64, footer_len: 200, frames: 3 }.encode(),
        &[("footer offset", le(64, 8)), ("footer length", le(200, 8)), ("frames", le(3, 4))],
    );
    let packed = index::IndexedPack { pack: PackId([5; 16]), len: 300, entries: vec![entry] };
    let body = index::encode(&[packed]);
    let mut end = 0;
    let expected = [vec![5; 16], le(300, 8), le(1, 4), vec![0; 4], line];
    for (row, bytes) in table("Indexed pack").iter().zip(&expected) {
        let offset: usize = row[0].parse().unwrap();
        assert_eq!(offset, end, "{}", row[2]);
        end += bytes.len();
        assert_eq!(&body[offset..end], bytes, "{}", row[2]);
    }
    assert_eq!(end, body.len());
}

#[test]
fn keys_and_single_files_lie_as_the_tables_say() {
    let secrets = KeyMaterial::Secrets { naming: [3; 32], cut: [4; 32] };
    check_layout(
        "Key content",
        &key::encode(RepositoryId([1; 16]), KeyId([0xff; 16]), &secrets),
        &[
            ("purpose", vec![2]),
            ("repository id", vec![1; 16]),
            ("key id", vec![0xff; 16]),
            ("key", vec![3; 32]),
            ("cut key", vec![4; 32]),
        ],
    );
    check_layout(
        "Record header",
        &RecordHeader { name_len: 7, object_len: 8, checksum: 9 }.encode(),
        &[("name length", le(7, 2)), ("object length", le(8, 8)), ("record checksum", le(9, 4))],
    );
    check_layout(
        "Single file trailer",
        &single_file::Trailer { end_offset: 64, directory_len: 3 }.encode(),
        &[("end offset", le(64, 8)), ("directory length", le(3, 8))],
    );
}

#[test]
fn the_limits_are_those_of_the_table() {
    let said: BTreeMap<&str, u64> =
        table("Limits").iter().map(|row| (row[0], row[1].parse().unwrap())).collect();
    let kept = BTreeMap::from([
        ("PLAIN_LEN_MAX", limits::PLAIN_LEN_MAX),
        ("SEAL_OVERHEAD_MAX", limits::SEAL_OVERHEAD_MAX),
        ("STORED_LEN_MAX", limits::STORED_LEN_MAX),
        ("PACK_FRAMES_MAX", limits::PACK_FRAMES_MAX),
        ("PACK_LEN_MAX", limits::PACK_LEN_MAX),
        ("BODY_LEN_MAX", limits::BODY_LEN_MAX),
        ("CLEAR_LEN_MAX", limits::CLEAR_LEN_MAX),
        ("KEY_OBJECT_LEN_MAX", limits::KEY_OBJECT_LEN_MAX),
        ("VOUCHERS_MAX", limits::VOUCHERS_MAX as u64),
        ("VOUCHER_DIGESTS_MAX", limits::VOUCHER_DIGESTS_MAX as u64),
        ("CATALOG_IMAGE_LEN_MAX", limits::CATALOG_IMAGE_LEN_MAX as u64),
        ("INLINE_CHUNKS_MAX", limits::INLINE_CHUNKS_MAX as u64),
        ("PARTIES_MAX", limits::PARTIES_MAX as u64),
        ("NAME_LEN_MAX", limits::NAME_LEN_MAX as u64),
        ("FILE_OBJECTS_MAX", limits::FILE_OBJECTS_MAX as u64),
        ("COLUMNS_MAX", limits::COLUMNS_MAX as u64),
        ("NESTING_MAX", limits::NESTING_MAX as u64),
    ]);
    assert_eq!(said, kept);
    let source = include_str!("../src/limits.rs");
    assert_eq!(source.matches("pub const").count(), kept.len(), "a limit is in no table");
    assert!(manifest::FEATURES.is_empty() && TEXT.contains("Features of version 1: none."));
}

/// `ColumnsZstd` -> `columnszstd`; names of the text are compared without what parts words.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

/// Each code of a table is known by the name in the table, and no other code below 128 is.
fn check_codes(heading: &str, name_of: &dyn Fn(u8) -> Option<String>) {
    let said: BTreeMap<u8, String> =
        table(heading).iter().map(|row| (row[0].parse().unwrap(), plain(row[1]))).collect();
    let known: BTreeMap<u8, String> =
        (0..128).filter_map(|code| Some((code, plain(&name_of(code)?)))).collect();
    assert_eq!(said, known, "{heading}");
}

#[test]
fn the_codes_are_those_of_the_tables() {
    check_codes("Object types", &|code| Some(format!("{:?}", ObjectType::from_code(code).ok()?)));
    check_codes("Frame types", &|code| Some(format!("{:?}", FrameType::from_code(code).ok()?)));
    check_codes("Codecs", &|code| Some(format!("{:?}", Codec::from_code(code).ok()?)));
    check_codes("Sections", &|code| {
        Some(format!("{:?}", cbor::decode::<Section>("", &[code]).ok()?))
    });
    check_codes("Row encodings", &|code| {
        Some(format!("{:?}", cbor::decode::<RowEncoding>("", &[code]).ok()?))
    });
    check_codes("Backup kinds", &|code| {
        Some(format!("{:?}", cbor::decode::<BackupKind>("", &[code]).ok()?))
    });
    for row in table("Suites") {
        let suite = Suite::from_code(row[0].parse().unwrap()).unwrap();
        assert_eq!(suite.tag_len(), row[2].parse().unwrap(), "{row:?}");
        assert!(plain(row[1]).starts_with(&plain(&format!("{suite:?}"))), "{row:?}");
    }
    assert!(Suite::from_code(3).is_err());
    for row in table("Frame types") {
        let frame_type = FrameType::from_code(row[0].parse().unwrap()).unwrap();
        assert_eq!(frame_type.is_clear(), row[3] == "never", "{row:?}");
    }
    for code in frame::ANCILLARY_MIN..=255 {
        assert_eq!(FrameType::from_code(code), Ok(FrameType::Ancillary(code)));
    }
}

#[test]
fn the_entry_kinds_are_those_of_the_table() {
    let said: Vec<&str> = table("Entry kinds").iter().map(|row| row[0].trim_matches('`')).collect();
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(said, known);
}

/// The keys of the map that `bytes` begin with, each with its value's type in the words of
/// the text.
fn keys_and_types(bytes: &[u8]) -> Vec<(u64, &'static str)> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let count = decoder.map().unwrap().unwrap();
    let mut found = Vec::new();
    for _ in 0..count {
        let key = decoder.u64().unwrap();
        let name = match decoder.datatype().unwrap() {
            Type::Bool => "boolean",
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => "unsigned",
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => "integer",
            Type::Bytes => "bytes",
            Type::String => "text",
            Type::Array => "array",
            Type::Map => "map",
            other => panic!("{other} is not used"),
        };
        decoder.skip().unwrap();
        found.push((key, name));
    }
    found
}

/// Compares a table of keys with a value that has every field.
fn check_keys<T>(heading: &str, value: &T)
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    let bytes = cbor::encode(value);
    assert_eq!(&cbor::decode::<T>("value", &bytes).unwrap(), value);
    let rows = table(heading);
    let written = keys_and_types(&bytes);
    assert_eq!(rows.len(), written.len(), "{heading} has another number of keys");
    for (row, (key, found)) in rows.iter().zip(written) {
        assert_eq!(row[0], key.to_string(), "{heading}: {}", row[1]);
        let said = row[2].trim_end_matches('?');
        let fits = match found {
            "array" => said.starts_with("array of"),
            "bytes" => said.ends_with("bytes"),
            "map" => said.starts_with(char::is_uppercase),
            "unsigned" => said == "unsigned" || said == "integer",
            other => said == other,
        };
        assert!(fits, "{heading}: {} is {found}, the text says {}", row[1], row[2]);
        check_required(heading, &bytes, key, row[2].ends_with('?'), |bytes| {
            cbor::decode::<T>("value", bytes).is_ok()
        });
    }
}

/// A value without one of its keys is read exactly where the text says `?`.
fn check_required(
    heading: &str,
    bytes: &[u8],
    key: u64,
    optional: bool,
    is_read: impl Fn(&[u8]) -> bool,
) {
    let mut decoder = minicbor::Decoder::new(bytes);
    let count = decoder.map().unwrap().unwrap();
    let mut without = minicbor::to_vec(minicbor::data::Int::from(0_u8)).unwrap();
    without[0] = 0xa0 | u8::try_from(count - 1).unwrap();
    for _ in 0..count {
        let start = decoder.position();
        let found = decoder.u64().unwrap();
        decoder.skip().unwrap();
        if found != key {
            without.extend_from_slice(&bytes[start..decoder.position()]);
        }
    }
    assert_eq!(is_read(&without), optional, "{heading}: key {key} absent");
}

#[test]
fn structured_values_have_the_keys_of_the_tables() {
    let writer = config::Writer { key: VerifyKey([1; 32]), name: "w".into() };
    let store = config::StoreFacts { refuses_overwrite: true };
    let former = config::FormerWriter {
        key: VerifyKey([2; 32]),
        name: "f".into(),
        revoked_at: -1,
        vouchers: vec![ObjectId([3; 16])],
    };
    check_keys("Writer", &writer);
    check_keys("StoreFacts", &store);
    check_keys(
        "Config",
        &config::Config {
            written_at: -1,
            features: vec![],
            encrypted: true,
            recipients: vec!["age1".into()],
            writers: vec![writer],
            store,
            former_writers: Some(vec![former.clone()]),
        },
    );
    let seen = SeenLease { id: ObjectId([1; 16]), beat: 1, seen_at: -1 };
    check_keys("Lease", &Lease { written_at: -1, program: "p".into() });
    check_keys("SeenLease", &seen);
    check_keys(
        "Prune list",
        &PruneList {
            written_at: -1,
            features: vec![],
            packs: vec![PackId([1; 16])],
            change_packs: vec![PackId([2; 16])],
            leases: Some(vec![seen]),
        },
    );
    check_keys("FormerWriter", &former);
    check_keys(
        "Body of a voucher",
        &Voucher { writer: VerifyKey([2; 32]), digests: vec![ObjectDigest([1; 16])] },
    );
    let tag = Tag { key: "k".into(), value: "v".into() };
    let stream = Stream { frame_type: 1, chunks: 0, inline: vec![], lists: vec![] };
    check_keys("Tag", &tag);
    check_keys("Totals", &Totals::default());
    check_keys("Stream", &stream);
    check_keys(
        "Clear part",
        &ClearPart {
            id: BackupId([1; 16]),
            features: vec![],
            kind: BackupKind::Logical,
            series: SeriesId([1; 16]),
            started_at: -1,
            finished_at: -1,
            lsn: 1,
            program: "p".into(),
            tags: vec![tag],
            totals: Totals::default(),
            keys: vec![KeyId([1; 16])],
            streams: vec![stream],
        },
    );
    let database = Database {
        name: "d".into(),
        encoding: "UTF8".into(),
        snapshot: "1:1:".into(),
        lsn: 1,
        entries_stream: 0,
        replayed: Some(1),
    };
    check_keys(
        "Sealed part",
        &SealedPart {
            databases: vec![database.clone()],
            system_identifier: 1,
            server_version: 180_000,
            timeline: 1,
            host: "h".into(),
            warnings: vec![],
            selection: vec![],
            globals_stream: Some(1),
            copied_tables: Some(vec![1]),
        },
    );
    check_keys("Database", &database);
    check_segment_keys();
    let directory_entry = DirectoryEntry { name: "a/b".into(), offset: 64, len: 0 };
    check_keys("DirectoryEntry", &directory_entry);
    check_keys("Directory", &single_file::Directory { objects: vec![directory_entry] });
}

fn check_segment_keys() {
    check_keys(
        "Clear part of a segment",
        &segment::ClearPart {
            id: ObjectId([1; 16]),
            features: vec![],
            stream: SeriesId([2; 16]),
            first: 1,
            last: 2,
            transactions: 1,
            known_until: 3,
            greatest_xid: 4,
            begins: true,
            written_at: 5,
            program: "p".into(),
            keys: vec![],
            packs: vec![],
            stored_bytes: 6,
            timeline: 1,
            definitions: Some(2),
            joins_from: Some(3),
        },
    );
    let begin = segment::Begin {
        snapshot: "1:1:".into(),
        system_identifier: 1,
        database: "d".into(),
        slot: "s".into(),
        encoding: "UTF8".into(),
        server_version: 180_000,
    };
    let column = VersionColumn {
        name: "c".into(),
        type_oid: 23,
        type_modifier: -1,
        is_key: true,
        number: Some(1),
    };
    let relation = RelationVersion {
        oid: 1,
        schema: "s".into(),
        name: "t".into(),
        replica_identity: "d".into(),
        columns: vec![column.clone()],
    };
    let chunk =
        ChangeChunk { id: ChunkId([1; 32]), pack: 0, offset: 64, stored_len: 9, continues: false };
    let run = Run { relation: 0, chunks: vec![chunk], changes: 1, bytes: 9 };
    let transaction = Transaction { xid: 1, lsn: 1, end: 2, time: 3 };
    let mark = Mark { name: "m".into(), after: 1, lsn: 2, time: 3 };
    let sequence = SequenceState {
        schema: "s".into(),
        name: "q".into(),
        last_value: 1,
        is_called: true,
        oid: 1,
    };
    let image = segment::Image { lsn: 1, chunks: vec![chunk] };
    check_keys("Begin", &begin);
    check_keys("Transaction", &transaction);
    check_keys("RelationVersion", &relation);
    check_keys("VersionColumn", &column);
    check_keys("Run", &run);
    check_keys("ChangeChunk", &chunk);
    check_keys("Mark", &mark);
    check_keys("SequenceState", &sequence);
    check_keys("Image", &image);
    check_keys(
        "Sealed part of a segment",
        &segment::SealedPart {
            begin: Some(begin),
            transactions: vec![transaction],
            relations: vec![relation],
            runs: vec![run],
            rolled_back: Some(vec![]),
            marks: vec![mark],
            sequences: Some(vec![sequence]),
            unpublished: Some(vec![1]),
            image: Some(image),
        },
    );
}

#[test]
fn changes_lie_as_the_table_says() {
    let change = Change {
        action: Action::Update,
        member: 7,
        old: Some(OldRow { is_whole: true, row: b"old" }),
        unchanged: vec![],
        new: b"",
    };
    let mut bytes = Vec::new();
    change.encode(&mut bytes).unwrap();
    check_layout(
        "Change",
        &bytes[..change::HEADER_LEN],
        &[
            ("length", le(15, 4)),
            ("action", vec![2]),
            ("flags", vec![3]),
            ("unchanged", le(0, 2)),
            ("member", le(7, 4)),
            ("old length", le(3, 4)),
        ],
    );
    assert_eq!(&bytes[change::HEADER_LEN..], b"old");
}

#[test]
fn entries_have_the_keys_of_the_tables() {
    let column = Column {
        name: "c".into(),
        type_name: "t".into(),
        not_null: true,
        generated: String::new(),
        identity: String::new(),
    };
    let relation = Relation {
        columns: vec![column.clone()],
        replica_identity: "d".into(),
        primary_key: vec![],
        unlogged: false,
        partitioned: false,
        parents: vec![],
    };
    let storage = Storage { tablespace: Some("t".into()), access_method: Some("a".into()) };
    let by_index = ByIndex { index: "CREATE".into(), constraint: "ALTER".into() };
    let data = Data {
        stream: 1,
        encoding: RowEncoding::CopyText,
        columns: vec![],
        rows: 0,
        bytes: 0,
        table: Some(1),
        numbers: Some(vec![1]),
        types: Some(vec![1]),
    };
    check_keys("Column", &column);
    check_keys("Relation", &relation);
    check_keys("Data", &data);
    check_keys("Storage", &storage);
    check_keys("ByIndex", &by_index);
    check_keys(
        "Entry",
        &Entry {
            kind: Kind::TableData.into(),
            section: Section::Data,
            schema: Some("s".into()),
            name: "n".into(),
            create: String::new(),
            drop: Some("DROP".into()),
            depends_on: vec![],
            belongs_to: Some(0),
            relation: Some(relation.into()),
            data: Some(data.into()),
            owner: Some("o".into()),
            large_objects: Some(vec![]),
            storage: Some(storage.into()),
            by_index: Some(by_index.into()),
        },
    );
}

#[test]
fn the_text_names_the_domains_and_versions() {
    for domain in [frame::KEY_DOMAIN, object::SIGNATURE_DOMAIN] {
        let text = std::str::from_utf8(&domain[..domain.len() - 1]).unwrap();
        assert!(TEXT.contains(&format!("\"{text}\" | 00 |")), "{text}");
        assert!(TEXT.contains(&format!("its {} ASCII bytes", text.len())), "{text}");
    }
    assert!(
        TEXT.contains(&format!("bytes 0 to {} of the frame header", frame::ASSOCIATED_LEN - 1))
    );
    assert!(TEXT.contains(&format!("format, version {}\n", object::VERSION)));
    assert_eq!(u16::from(frame::VERSION), object::VERSION, "the text says that both are 1");
    assert_eq!(table("Changes").len(), usize::from(object::VERSION));
}
