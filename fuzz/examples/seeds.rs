//! Writes `seeds/`: for each target a few inputs named by what they hold, from which the
//! fuzzer starts. Run in this folder: `cargo run --example seeds`.

use pgkeep_format::change::{Action, Change, OldRow};
use pgkeep_format::entry::{Column, Data, Entry, EntryKind, Kind, Relation, RowEncoding, Section};
use pgkeep_format::frame::{Codec, FrameHeader, FrameType, InnerHeader, Suite};
use pgkeep_format::id::{BackupId, ChunkId, KeyId, PackId, RepositoryId, SeriesId, VerifyKey};
use pgkeep_format::left_out::LeftOut;
use pgkeep_format::manifest::{BackupKind, ClearPart, Database, SealedPart, Tag, Totals};
use pgkeep_format::object::{ObjectHeader, ObjectType};
use pgkeep_format::{
    cbor, config, index, key, manifest, object, pack, segment, single_file, stream, tuple_columns,
};
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let sealed = frame(FrameType::Manifest, Suite::Aes256Gcm, &[7; 40]);
    let plain = frame(FrameType::Manifest, Suite::None, &inner(b"hello"));
    write("frame", "sealed", &sealed)?;
    write("frame", "plain", &plain)?;
    write("frame", "inner_raw", &inner(b"one\ttwo\n"))?;
    write("chunk", "raw", &frame(FrameType::Rows, Suite::None, &inner(b"one\ttwo\n")))?;
    let mut zstd =
        InnerHeader { codec: Codec::Zstd, row_continues: false, plain_len: 9 }.encode().to_vec();
    // A zstd frame that holds nine bytes as they are.
    zstd.extend_from_slice(b"\x28\xb5\x2f\xfd\x20\x09\x49\0\0nine byte");
    write("chunk", "zstd", &frame(FrameType::Rows, Suite::None, &zstd))?;
    write("copy_rows", "text", b"\x06d\0\0\0\x09a\tb\\n\nc\0\0\0\x04")?;
    let mut binary = b"\x07D\0\0\0\x0f\0\x01\0\0\0\x05hello".to_vec();
    binary.extend_from_slice(b"C\0\0\0\x0dSELECT 1\0");
    write("copy_rows", "binary", &binary)?;
    let two = b"\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\x02\0\0\0\x04\0\0\0\x08\0\0\0\x01x";
    write("binary_rows", "int4_and_name", &[b"\x05\x03", &two[..]].concat())?;
    let laid = tuple_columns::Layer::default().lay_out(two).unwrap_or_default().to_vec();
    write("binary_rows", "laid_out", &[b"\x04\x03", &laid[..]].concat())?;
    let many = rows_of_all_looks();
    write("binary_rows", "of_all_looks", &[b"\x04\x03", &many[..]].concat())?;
    let laid = tuple_columns::Layer::default().lay_out(&many).unwrap_or_default().to_vec();
    let choice = u8::try_from(many.len() / 8).unwrap_or_default();
    write("binary_rows", "of_all_looks_laid_out", &[&[choice, 3], &laid[..]].concat())?;
    write("pack_footer", "footer", &pack::encode_footer(&footer()))?;
    write("pack_footer", "index", &index::encode(&[indexed()]))?;
    write("pack_footer", "references", &stream::encode_references(&references()))?;
    let trailer = pack::Trailer { footer_offset: 4096, footer_len: 200, frames: 2 };
    write("pack_footer", "trailer", &trailer.encode())?;
    let body = manifest::encode_body(&clear(), &plain);
    write("manifest", "body", &body)?;
    write("manifest", "object", &signed(&body))?;
    write("manifest", "sealed_part", &cbor::encode(&sealed_part()))?;
    write("manifest", "config", &cbor::encode(&settings()))?;
    let material = key::KeyMaterial::Data([9; 32]);
    write("manifest", "data_key", &key::encode(RepositoryId([1; 16]), KeyId([2; 16]), &material))?;
    let entries: Vec<u8> = entries().iter().flat_map(|entry| cbor::encode(entry)).collect();
    write("entries", "table_with_rows", &entries)?;
    let record = single_file::RecordHeader { name_len: 15, object_len: 9, checksum: 5 };
    write("single_file", "record", &record.encode())?;
    let trailer = single_file::Trailer { end_offset: 1000, directory_len: 50 };
    write("single_file", "trailer", &trailer.encode())?;
    write("single_file", "directory", &cbor::encode(&directory()))?;
    write("single_file", "name_config", b"config/00000001")?;
    write("single_file", "name_pack", format!("packs/01/{}", "01".repeat(16)).as_bytes())?;
    write("single_file", "name_key", format!("keys/{}-00000000.age", "ff".repeat(16)).as_bytes())?;
    write("changes", "changes", &changes())?;
    write("changes", "sealed_part", &cbor::encode(&segment()))?;
    write(
        "pgoutput",
        "relation",
        b"R\0\0\0\x07public\0t\0d\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff",
    )?;
    write("pgoutput", "update", b"U\0\0\0\x07K\0\x01t\0\0\0\x011N\0\x02t\0\0\0\x012u")?;
    write("pgoutput", "commit", &[&b"C\0"[..], &[1; 24]].concat())?;
    write("pgoutput", "truncate", b"T\0\0\0\x02\0\0\0\0\x01\0\0\0\x02")?;
    write("pgoutput", "message", b"M\x01\0\0\0\0\0\0\0\x09pgkeep.mark\0\0\0\0\x02ab")?;
    write("pgoutput", "stream", b"S\0\0\0\x09\x01")
}

fn changes() -> Vec<u8> {
    let update = Change {
        action: Action::Update,
        member: 7,
        old: Some(OldRow { is_whole: false, row: b"1" }),
        unchanged: vec![1],
        new: b"2\t\\N",
    };
    let truncate =
        Change { action: Action::Truncate, member: 8, old: None, unchanged: vec![], new: b"" };
    let mut bytes = Vec::new();
    for change in [update, truncate] {
        change.encode(&mut bytes).expect("it is short");
    }
    bytes
}

fn segment() -> segment::SealedPart {
    segment::SealedPart {
        transactions: vec![segment::Transaction { xid: 9, lsn: 3, end: 4, time: 5 }],
        rolled_back: Some(vec![11]),
        unpublished: Some(vec![16385]),
        ..segment::SealedPart::default()
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn inner(body: &[u8]) -> Vec<u8> {
    let plain_len = body.len() as u32;
    let header = InnerHeader { codec: Codec::Raw, row_continues: false, plain_len };
    [&header.encode()[..], body].concat()
}

fn frame(frame_type: FrameType, suite: Suite, payload: &[u8]) -> Vec<u8> {
    let sealed = suite != Suite::None;
    let header = FrameHeader {
        frame_type,
        suite,
        stored_len: payload.len() as u32,
        key: if sealed { KeyId([3; 16]) } else { KeyId::default() },
        chunk: ChunkId([4; 32]),
        nonce: if sealed { [5; 12] } else { [0; 12] },
        payload_checksum: crc32fast::hash(payload),
    };
    [&header.encode()[..], payload].concat()
}

fn footer() -> Vec<pack::FooterEntry> {
    let entry = |number: u8, offset| pack::FooterEntry {
        chunk: ChunkId([number; 32]),
        frame_type: FrameType::Rows,
        stored_len: 100,
        offset,
    };
    vec![entry(1, 64), entry(2, 64 + 196)]
}

fn indexed() -> index::IndexedPack {
    index::IndexedPack { pack: PackId([6; 16]), len: 1000, entries: footer() }
}

fn references() -> Vec<stream::ChunkReference> {
    let reference = |row_continues| stream::ChunkReference {
        row_continues,
        ..stream::ChunkReference::whole(ChunkId([8; 32]))
    };
    let left_out = LeftOut::of([true, false, true]).map(Box::new);
    let leaves_out = stream::ChunkReference { left_out, ..reference(false) };
    vec![reference(true), reference(false), leaves_out]
}

fn clear() -> ClearPart {
    let inline = stream::encode_references(&references());
    ClearPart {
        id: BackupId([1; 16]),
        features: vec![],
        kind: BackupKind::Logical,
        series: SeriesId([2; 16]),
        started_at: -1,
        finished_at: 1_800_000_000_000_000,
        lsn: 0x16_b374_d848,
        program: "pgkeep 0.1.0".to_owned(),
        tags: vec![Tag { key: "release".to_owned(), value: String::new() }],
        totals: Totals { rows: 3, ..Totals::default() },
        keys: vec![KeyId([3; 16])],
        streams: vec![
            stream::Stream { frame_type: FrameType::Rows.code(), chunks: 2, inline, lists: vec![] },
            stream::Stream {
                frame_type: FrameType::Rows.code(),
                chunks: 500,
                inline: vec![],
                lists: vec![ChunkId([9; 32])],
            },
        ],
    }
}

fn signed(body: &[u8]) -> Vec<u8> {
    let header = ObjectHeader {
        object_type: ObjectType::Manifest,
        repository: RepositoryId([1; 16]),
        id: [1; 16],
        body_len: body.len() as u64,
    };
    object::encode_signed(&header, body, VerifyKey([2; 32]), &[3; 64])
}

fn sealed_part() -> SealedPart {
    SealedPart {
        databases: vec![Database {
            name: "platform".to_owned(),
            encoding: "UTF8".to_owned(),
            snapshot: "739:742:739".to_owned(),
            lsn: 3,
            entries_stream: 0,
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

fn settings() -> config::Config {
    config::Config {
        written_at: 1,
        features: vec![],
        encrypted: true,
        recipients: vec!["age1example".to_owned()],
        writers: vec![config::Writer { key: VerifyKey([1; 32]), name: "host".to_owned() }],
        store: config::StoreFacts { refuses_overwrite: true },
        former_writers: None,
    }
}

fn entries() -> Vec<Entry> {
    let entry = |kind: EntryKind, section, create: &str| Entry {
        kind,
        section,
        schema: Some("public".to_owned()),
        name: "jobs".to_owned(),
        create: create.to_owned(),
        drop: None,
        depends_on: vec![],
        belongs_to: None,
        relation: None,
        data: None,
        owner: None,
        large_objects: None,
        storage: None,
        by_index: None,
    };
    let column = Column {
        name: "id".to_owned(),
        type_name: "bigint".to_owned(),
        not_null: true,
        generated: String::new(),
        identity: "a".to_owned(),
    };
    let relation = Relation {
        columns: vec![column],
        replica_identity: "d".to_owned(),
        primary_key: vec!["id".to_owned()],
        unlogged: false,
        partitioned: false,
        parents: Vec::new(),
    };
    let mut table =
        entry(Kind::Table.into(), Section::PreData, "CREATE TABLE public.jobs (id bigint);");
    table.drop = Some("DROP TABLE public.jobs;".to_owned());
    table.relation = Some(relation.into());
    let mut rows = entry(Kind::TableData.into(), Section::Data, "");
    rows.depends_on = vec![0];
    rows.belongs_to = Some(0);
    let columns = vec!["id".to_owned()];
    rows.data = Some(Box::new(Data {
        stream: 1,
        encoding: RowEncoding::CopyText,
        columns,
        rows: 3,
        bytes: 6,
        table: None,
        numbers: None,
        types: None,
    }));
    let later = entry(EntryKind::Other("A LATER KIND".to_owned()), Section::PostData, "SELECT 1;");
    vec![table, rows, later]
}

fn directory() -> single_file::Directory {
    let object =
        |name: &str, offset| single_file::DirectoryEntry { name: name.to_owned(), offset, len: 5 };
    single_file::Directory { objects: vec![object("config/00000001", 0), object("x/y", 7)] }
}

/// A numeric, a text of a few, a text of few words and a document: rows whose columns are laid out each in
/// its own way; a multiple of eight bytes, as the target counts them.
fn rows_of_all_looks() -> Vec<u8> {
    let mut rows = Vec::new();
    for row in 0..9_u16 {
        let digits: Vec<u16> = (0..=row % 2).map(|digit| row + digit).collect();
        let head = [digits.len() as u16, 0, 0, 2];
        let numeric: Vec<u8> =
            head.iter().chain(&digits).flat_map(|part| part.to_be_bytes()).collect();
        let name = ["in the stores", "on its way to nobody"][usize::from(row % 2)].to_owned();
        let words = format!("take {} back take", ["it", "them", "all"][usize::from(row % 3)]);
        let document = format!("{{\"user\": {row}, \"path\": \"/{}\"}}", row % 5);
        let fields = [numeric, name.into_bytes(), words.into_bytes(), document.into_bytes()];
        rows.extend((fields.len() as u16).to_be_bytes());
        for field in fields {
            rows.extend((field.len() as u32).to_be_bytes());
            rows.extend(field);
        }
    }
    rows
}
