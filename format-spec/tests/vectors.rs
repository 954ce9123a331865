//! Walks the vectors of single structures (`vectors/structures`): bad ones are refused with
//! the class of error that they say; good ones give the values that they say, and are
//! written again as the same bytes. The vectors were not made by this crate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "vectors/segments.rs"]
mod segments;

use pgkeep_format::config::{Config, FormerWriter};
use pgkeep_format::entry::{Data, Entry, RowEncoding};
use pgkeep_format::frame::{self, FrameHeader, FrameType, InnerHeader};
use pgkeep_format::id::{KeyId, PackId, RepositoryId};
use pgkeep_format::key::KeyMaterial;
use pgkeep_format::manifest::{ClearPart, Database, SealedPart};
use pgkeep_format::name::ObjectName;
use pgkeep_format::object::{self, ObjectHeader};
use pgkeep_format::pack::{self, FooterEntry};
use pgkeep_format::prune::{Lease, PruneList, SeenLease};
use pgkeep_format::single_file::{self, Directory, RecordHeader};
use pgkeep_format::stream::{self, Stream};
use pgkeep_format::voucher::Voucher;
use pgkeep_format::{FormatError, cbor, columns, index, key, manifest, segment, tuple_columns};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a decoder found, and the bytes that the encoder makes of it.
type Found = Result<(Value, Vec<u8>), FormatError>;

#[test]
fn every_structure_is_read_as_the_vectors_say() {
    let mut count = 0;
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/structures")) {
        check(&path);
        count += 1;
    }
    assert!(count >= 330, "only {count} vectors were found");
}

/// Lengths and counts that lie are refused before memory is taken for them: the same walk
/// ends well where a process may have no more than 256 MiB of address space.
#[test]
#[cfg(target_os = "linux")]
fn no_vector_makes_the_decoders_take_much_memory() {
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 262144 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "every_structure_is_read_as_the_vectors_say", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn check(path: &Path) {
    let shown = path.display();
    let case: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let structure = case["structure"].as_str().unwrap();
    let text = case["input"].as_str().unwrap();
    let input = if structure == "object-name" { text.as_bytes().to_vec() } else { bytes(text) };
    match (decode(structure, &input, &case["with"]), case.get("error")) {
        (Err(error), Some(class)) => assert_eq!(class_of(&error), *class, "{shown}: {error}"),
        (Err(error), None) => panic!("{shown}: refused: {error}"),
        (Ok((value, _)), Some(class)) => panic!("{shown}: {class} expected, found {value}"),
        (Ok((value, again)), None) => {
            assert_eq!(value, case["ok"], "{shown}");
            if case.get("again") != Some(&json!(false)) {
                assert_eq!(again, input, "{shown}: other bytes when written again");
            }
        }
    }
}

fn class_of(error: &FormatError) -> &'static str {
    match error {
        FormatError::Truncated { .. } => "truncated",
        FormatError::Magic { .. } => "magic",
        FormatError::Version { .. } => "version",
        FormatError::Feature { .. } => "feature",
        FormatError::Checksum { .. } => "checksum",
        FormatError::Limit { .. } => "limit",
        FormatError::Invalid { .. } => "invalid",
        other => panic!("{other} has no class"),
    }
}

fn decode(structure: &str, input: &[u8], with: &Value) -> Found {
    match structure {
        "object-header" => object_header(input),
        "signed-object" => signed_object(input),
        "object-name" => object_name(std::str::from_utf8(input).unwrap()),
        "config" => config(input),
        "lease" => {
            let found = Lease::decode(input)?;
            let value = json!({"written_at": found.written_at, "program": found.program});
            Ok((value, cbor::encode(&found)))
        }
        "prune-list" => prune_list(input),
        "voucher" => voucher(input),
        "columns" => {
            let plain_len = usize::try_from(with["plain_len"].as_u64().unwrap()).unwrap();
            let rows = columns::rows_of(input, plain_len)?;
            Ok((json!({"rows": hex(&rows)}), columns::lay_out(&rows).unwrap_or_default()))
        }
        "tuple-columns" => {
            let plain_len = usize::try_from(with["plain_len"].as_u64().unwrap()).unwrap();
            let rows = tuple_columns::rows_of(input, plain_len)?;
            Ok((
                json!({"rows": hex(&rows)}),
                tuple_columns::Layer::default().lay_out(&rows).unwrap_or_default().to_vec(),
            ))
        }
        "key" => key_content(input, with),
        "frame-header" => frame_header(input),
        "frame" => whole_frame(input),
        "inner-header" => inner_header(input),
        "pack-footer" => {
            let entries = pack::decode_footer(input)?;
            Ok((json!({"entries": lines(&entries)}), pack::encode_footer(&entries)))
        }
        "pack-trailer" => {
            let found = pack::Trailer::decode(input, with["pack_len"].as_u64().unwrap())?;
            let value = json!({"footer_offset": found.footer_offset,
                "footer_len": found.footer_len, "frames": found.frames});
            Ok((value, found.encode().to_vec()))
        }
        "index" => index_body(input),
        "manifest-body" => manifest_body(input),
        "chunk-references" => references(input),
        "sealed-part" => sealed_part(input),
        "entry" => entry(input),
        "segment-body" => segments::body(input),
        "segment-sealed-part" => segments::sealed_part(input, with),
        "changes" => segments::changes(input),
        "record-header" => {
            let found = RecordHeader::decode(input)?;
            let value = json!({"name_len": found.name_len, "object_len": found.object_len,
                "checksum": found.checksum});
            Ok((value, found.encode().to_vec()))
        }
        "directory" => directory(input, with["end_offset"].as_u64().unwrap()),
        "single-file-trailer" => {
            let found = single_file::Trailer::decode(input, with["file_len"].as_u64().unwrap())?;
            let value = json!({"end_offset": found.end_offset,
                "directory_len": found.directory_len});
            Ok((value, found.encode().to_vec()))
        }
        other => panic!("no decoder for {other}"),
    }
}

fn object_header(input: &[u8]) -> Found {
    let found = ObjectHeader::decode(input)?;
    let value = json!({"object_type": type_name(found.object_type),
        "repository": found.repository.to_string(), "id": hex(&found.id),
        "body_len": found.body_len});
    Ok((value, found.encode().to_vec()))
}

fn type_name(object_type: object::ObjectType) -> &'static str {
    match object_type {
        object::ObjectType::Config => "config",
        object::ObjectType::Pack => "pack",
        object::ObjectType::Index => "index",
        object::ObjectType::Manifest => "manifest",
        object::ObjectType::SingleFile => "single file",
        object::ObjectType::ChangeSegment => "change segment",
        object::ObjectType::Lease => "lease",
        object::ObjectType::PruneList => "prune list",
        object::ObjectType::Voucher => "voucher",
    }
}

fn prune_list(input: &[u8]) -> Found {
    let found = PruneList::decode(input)?;
    let ids = |packs: &[PackId]| packs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let lease = |lease: &SeenLease| json!({"id": lease.id.to_string(), "beat": lease.beat, "seen_at": lease.seen_at});
    let leases = found.leases.as_ref().map(|leases| leases.iter().map(lease).collect::<Vec<_>>());
    let value = json!({"written_at": found.written_at, "features": found.features,
        "packs": ids(&found.packs), "change_packs": ids(&found.change_packs), "leases": leases});
    Ok((value, cbor::encode(&found)))
}

fn signed_object(input: &[u8]) -> Found {
    let found = object::decode_signed(input)?;
    let value = json!({"object_type": type_name(found.header.object_type),
        "body": hex(found.body), "signer": found.signer.to_string(),
        "signature": hex(&found.signature)});
    let again = object::encode_signed(&found.header, found.body, found.signer, &found.signature);
    Ok((value, again))
}

fn object_name(text: &str) -> Found {
    let name = ObjectName::parse(text)?.to_string();
    Ok((json!({"name": name}), name.into_bytes()))
}

fn config(input: &[u8]) -> Found {
    let found = Config::decode(input)?;
    let writers: Vec<Value> = found
        .writers
        .iter()
        .map(|writer| json!({"key": writer.key.to_string(), "name": writer.name}))
        .collect();
    let mut value = json!({"written_at": found.written_at, "features": found.features,
        "encrypted": found.encrypted, "recipients": found.recipients, "writers": writers,
        "store": {"refuses_overwrite": found.store.refuses_overwrite}});
    if let Some(former) = &found.former_writers {
        let one = |writer: &FormerWriter| {
            let vouchers: Vec<String> = writer.vouchers.iter().map(ToString::to_string).collect();
            json!({"key": writer.key.to_string(), "name": writer.name,
                "revoked_at": writer.revoked_at, "vouchers": vouchers})
        };
        value["former_writers"] = former.iter().map(one).collect();
    }
    Ok((value, cbor::encode(&found)))
}

fn voucher(input: &[u8]) -> Found {
    let found = Voucher::decode(input)?;
    let digests: Vec<String> = found.digests.iter().map(ToString::to_string).collect();
    let value = json!({"writer": found.writer.to_string(), "digests": digests});
    Ok((value, cbor::encode(&found)))
}

fn key_content(input: &[u8], with: &Value) -> Found {
    let repository = RepositoryId::parse(with["repository"].as_str().unwrap()).unwrap();
    let id = KeyId::parse(with["id"].as_str().unwrap()).unwrap();
    let found = key::decode(input, repository, id)?;
    let value = match &found {
        KeyMaterial::Data(data) => json!({"data": hex(data)}),
        KeyMaterial::Secrets { naming, cut } => json!({"naming": hex(naming), "cut": hex(cut)}),
    };
    Ok((value, key::encode(repository, id, &found)))
}

fn frame_header(input: &[u8]) -> Found {
    let found = FrameHeader::decode(input)?;
    let value = json!({"frame_type": found.frame_type.code(), "suite": found.suite as u8,
        "stored_len": found.stored_len, "key": found.key.to_string(),
        "chunk": found.chunk.to_string(), "nonce": hex(&found.nonce),
        "payload_checksum": found.payload_checksum});
    assert_eq!(found.associated_data(), input[..frame::ASSOCIATED_LEN]);
    Ok((value, found.encode().to_vec()))
}

fn whole_frame(input: &[u8]) -> Found {
    let header = FrameHeader::decode(input)?;
    let payload = &input[frame::HEADER_LEN..];
    header.check_payload(payload)?;
    Ok((json!({"payload": hex(payload)}), [&header.encode(), payload].concat()))
}

fn inner_header(input: &[u8]) -> Found {
    let (found, body) = InnerHeader::decode(input)?;
    let value = json!({"codec": found.codec as u8, "flags": found.flags(),
        "plain_len": found.plain_len, "body": hex(body)});
    Ok((value, [&found.encode(), body].concat()))
}

fn lines(entries: &[FooterEntry]) -> Vec<Value> {
    let line = |entry: &FooterEntry| {
        json!({"chunk": entry.chunk.to_string(), "frame_type": entry.frame_type.code(),
            "stored_len": entry.stored_len, "offset": entry.offset})
    };
    entries.iter().map(line).collect()
}

fn index_body(input: &[u8]) -> Found {
    let found = index::decode(input)?;
    let packs: Vec<Value> = found
        .iter()
        .map(|pack| {
            json!({"pack": pack.pack.to_string(), "len": pack.len,
                "entries": lines(&pack.entries)})
        })
        .collect();
    Ok((json!({"packs": packs}), index::encode(&found)))
}

fn manifest_body(input: &[u8]) -> Found {
    let (clear, sealed) = manifest::decode_body(input)?;
    let again = manifest::encode_body(&clear, sealed);
    let mut value = clear_part(&clear);
    value["sealed"] = json!(hex(sealed));
    Ok((value, again))
}

fn clear_part(clear: &ClearPart) -> Value {
    let tag = |tag: &manifest::Tag| json!({"key": tag.key, "value": tag.value});
    let stream = |stream: &Stream| {
        let lists: Vec<String> = stream.lists.iter().map(ToString::to_string).collect();
        json!({"frame_type": stream.frame_type, "chunks": stream.chunks,
            "inline": hex(&stream.inline), "lists": lists})
    };
    let kind = match clear.kind {
        manifest::BackupKind::Logical => 1,
        manifest::BackupKind::Physical => 2,
        manifest::BackupKind::Copy => 3,
    };
    let totals = &clear.totals;
    json!({"id": clear.id.to_string(), "features": clear.features, "kind": kind,
        "series": clear.series.to_string(), "started_at": clear.started_at,
        "finished_at": clear.finished_at, "lsn": clear.lsn, "program": clear.program,
        "tags": clear.tags.iter().map(tag).collect::<Vec<_>>(),
        "totals": {"rows": totals.rows, "plain_bytes": totals.plain_bytes,
            "stored_bytes": totals.stored_bytes, "added_bytes": totals.added_bytes,
            "chunks": totals.chunks, "new_chunks": totals.new_chunks,
            "entries": totals.entries},
        "keys": clear.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "streams": clear.streams.iter().map(stream).collect::<Vec<_>>()})
}

fn references(input: &[u8]) -> Found {
    let found = stream::decode_references(input)?;
    let value: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({
                "id": one.id.to_string(),
                "row_continues": one.row_continues,
                "ending": hex(&one.ending.encode()),
                "left_out": one.left_out.as_ref().map(|it| hex(it.encode())),
            })
        })
        .collect();
    Ok((json!({"references": value}), stream::encode_references(&found)))
}

fn sealed_part(input: &[u8]) -> Found {
    let found: SealedPart = cbor::decode("sealed part", input)?;
    found.validate()?;
    let database = |one: &Database| {
        json!({"name": one.name, "encoding": one.encoding, "snapshot": one.snapshot,
            "lsn": one.lsn, "entries_stream": one.entries_stream})
    };
    let value = json!({"databases": found.databases.iter().map(database).collect::<Vec<_>>(),
        "system_identifier": found.system_identifier, "server_version": found.server_version,
        "timeline": found.timeline, "host": found.host, "warnings": found.warnings,
        "selection": found.selection, "globals_stream": found.globals_stream,
        "copied_tables": found.copied_tables});
    Ok((value, cbor::encode(&found)))
}

fn entry(input: &[u8]) -> Found {
    let found: Entry = cbor::decode("entry", input)?;
    let relation = found.relation.as_ref().map(|relation| {
        let columns: Vec<Value> = relation
            .columns
            .iter()
            .map(|column| {
                json!({"name": column.name, "type_name": column.type_name,
                    "not_null": column.not_null, "generated": column.generated,
                    "identity": column.identity})
            })
            .collect();
        json!({"columns": columns, "replica_identity": relation.replica_identity,
            "primary_key": relation.primary_key, "unlogged": relation.unlogged,
            "partitioned": relation.partitioned, "parents": relation.parents})
    });
    let storage = found.storage.as_ref().map(
        |storage| json!({"tablespace": storage.tablespace, "access_method": storage.access_method}),
    );
    let by_index =
        found.by_index.as_ref().map(|it| json!({"index": it.index, "constraint": it.constraint}));
    let value = json!({"kind": found.kind.as_str(), "section": found.section as u8,
        "schema": found.schema, "name": found.name, "create": found.create,
        "drop": found.drop, "depends_on": found.depends_on, "belongs_to": found.belongs_to,
        "relation": relation, "data": found.data.as_deref().map(data), "owner": found.owner,
        "large_objects": found.large_objects, "storage": storage,
        "by_index": by_index});
    Ok((value, cbor::encode(&found)))
}

fn data(data: &Data) -> Value {
    let encoding = match data.encoding {
        RowEncoding::CopyText => 1,
        RowEncoding::CopyBinary => 2,
        RowEncoding::Cbor => 3,
    };
    json!({"stream": data.stream, "encoding": encoding, "columns": data.columns,
        "rows": data.rows, "bytes": data.bytes, "types": data.types})
}

fn directory(input: &[u8], end_offset: u64) -> Found {
    let found = Directory::decode(input, end_offset)?;
    let objects: Vec<Value> = found
        .objects
        .iter()
        .map(|object| json!({"name": object.name, "offset": object.offset, "len": object.len}))
        .collect();
    Ok((json!({"objects": objects}), cbor::encode(&found)))
}

/// The golden repositories were made from the text by another program; every object of
/// them decodes, down to the footers.
#[test]
fn every_object_of_the_golden_repositories_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/repositories");
    for repository in ["sealed", "plain"] {
        let root = folder.join(repository);
        let mut kinds = std::collections::BTreeSet::new();
        for path in files(&root) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let object = std::fs::read(&path).unwrap();
            kinds.insert(check_object(name, &object));
        }
        assert_eq!(kinds.len(), 5, "{repository}: {kinds:?}");
    }
}

fn check_object(name: &str, object: &[u8]) -> &'static str {
    let signed = || object::decode_signed(object).unwrap();
    match ObjectName::parse(name).unwrap() {
        ObjectName::Config(number) => {
            assert_eq!(signed().header.id, u128::from(number).to_be_bytes());
            Config::decode(signed().body).unwrap();
            "config"
        }
        ObjectName::Index(id) => {
            assert_eq!(signed().header.id, id.0);
            assert!(!index::decode(signed().body).unwrap().is_empty());
            "index"
        }
        ObjectName::Backup(id) => {
            assert_eq!(manifest::decode_body(signed().body).unwrap().0.id, id);
            "backup"
        }
        ObjectName::Key(key_name) => {
            let repository = object_repository();
            if !key_name.wrapped {
                key::decode(object, repository, key_name.id).unwrap();
            }
            "key"
        }
        ObjectName::Lease(name) => {
            assert_eq!(signed().header.id, name.id.0);
            Lease::decode(signed().body).unwrap();
            "lease"
        }
        ObjectName::PruneList(id) => {
            assert_eq!(signed().header.id, id.0);
            PruneList::decode(signed().body).unwrap();
            "prune list"
        }
        ObjectName::Voucher(id) => {
            assert_eq!(signed().header.id, id.0);
            Voucher::decode(signed().body).unwrap();
            "voucher"
        }
        ObjectName::Segment(name) => {
            assert_eq!(segment::decode_body(signed().body).unwrap().0.id, name.id);
            "segment"
        }
        ObjectName::Pack(id) | ObjectName::ChangePack(id) => {
            assert_eq!(ObjectHeader::decode(object).unwrap().id, id.0);
            check_pack(object);
            "pack"
        }
    }
}

fn object_repository() -> RepositoryId {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/repositories/expected.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
    RepositoryId::parse(expected["repository"].as_str().unwrap()).unwrap()
}

fn check_pack(object: &[u8]) {
    let at = object.len() - pack::TRAILER_LEN;
    let trailer = pack::Trailer::decode(&object[at..], object.len() as u64).unwrap();
    let mut offset = object::HEADER_LEN;
    let mut frames = 0;
    while offset < usize::try_from(trailer.footer_offset).unwrap() {
        let header = FrameHeader::decode(&object[offset..]).unwrap();
        let end = offset + usize::try_from(header.frame_len()).unwrap();
        header.check_payload(&object[offset + frame::HEADER_LEN..end]).unwrap();
        frames += 1;
        offset = end;
    }
    assert_eq!(frames, trailer.frames);
    let footer = FrameHeader::decode(&object[offset..]).unwrap();
    assert_eq!(footer.frame_type, FrameType::Footer);
    assert_eq!(footer.frame_len(), trailer.footer_len);
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}
