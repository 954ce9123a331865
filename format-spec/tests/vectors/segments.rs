//! Segments and changes of change streams, as the vectors show their values.

use super::{Found, hex};
use pgkeep_format::change::{self, Action, Change};
use pgkeep_format::id::{ObjectId, PackId, SeriesId};
use pgkeep_format::segment::{self, ChangeChunk, ClearPart, SealedPart};
use pgkeep_format::{FormatError, cbor};
use serde_json::{Value, json};

pub(super) fn body(input: &[u8]) -> Found {
    let (clear, sealed) = segment::decode_body(input)?;
    let value = json!({"id": clear.id.to_string(), "features": clear.features,
        "stream": clear.stream.to_string(), "first": clear.first, "last": clear.last,
        "transactions": clear.transactions, "known_until": clear.known_until,
        "greatest_xid": clear.greatest_xid, "begins": clear.begins,
        "written_at": clear.written_at, "program": clear.program,
        "keys": clear.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "packs": clear.packs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "stored_bytes": clear.stored_bytes, "timeline": clear.timeline,
        "definitions": clear.definitions, "joins_from": clear.joins_from, "sealed": hex(sealed)});
    Ok((value, segment::encode_body(&clear, sealed)))
}

/// A clear part of which only what a sealed part must agree with matters.
fn clear_part(with: &Value) -> ClearPart {
    let number = |name: &str| with[name].as_u64().unwrap();
    ClearPart {
        id: ObjectId([0; 16]),
        features: Vec::new(),
        stream: SeriesId([0; 16]),
        first: number("first"),
        last: number("last"),
        transactions: number("transactions"),
        known_until: 0,
        greatest_xid: 0,
        begins: with["begins"].as_bool().unwrap(),
        written_at: 0,
        program: String::new(),
        keys: Vec::new(),
        packs: (0..number("packs")).map(|_| PackId([0; 16])).collect(),
        stored_bytes: 0,
        timeline: 1,
        definitions: None,
        joins_from: None,
    }
}

pub(super) fn sealed_part(input: &[u8], with: &Value) -> Found {
    let found: SealedPart = cbor::decode("segment", input)?;
    found.validate(&clear_part(with))?;
    let begin = found.begin.as_ref().map(|begin| {
        json!({"snapshot": begin.snapshot, "system_identifier": begin.system_identifier,
            "database": begin.database, "slot": begin.slot, "encoding": begin.encoding,
            "server_version": begin.server_version})
    });
    let transactions = found
        .transactions
        .iter()
        .map(|one| json!({"xid": one.xid, "lsn": one.lsn, "end": one.end, "time": one.time}));
    let runs = found.runs.iter().map(|run| {
        json!({"relation": run.relation, "chunks": chunks(&run.chunks), "changes": run.changes,
            "bytes": run.bytes})
    });
    let marks = found.marks.iter().map(
        |mark| json!({"name": mark.name, "after": mark.after, "lsn": mark.lsn, "time": mark.time}),
    );
    let sequence = |one: &segment::SequenceState| {
        json!({"schema": one.schema, "name": one.name, "last_value": one.last_value,
            "is_called": one.is_called, "oid": one.oid})
    };
    let sequences =
        found.sequences.as_ref().map(|all| all.iter().map(sequence).collect::<Vec<_>>());
    let image = found.image.as_ref().map(|it| json!({"lsn": it.lsn, "chunks": chunks(&it.chunks)}));
    let value = json!({"begin": begin, "transactions": transactions.collect::<Vec<_>>(),
        "relations": relations(&found), "runs": runs.collect::<Vec<_>>(),
        "rolled_back": found.rolled_back, "marks": marks.collect::<Vec<_>>(),
        "sequences": sequences, "unpublished": found.unpublished, "image": image});
    Ok((value, cbor::encode(&found)))
}

fn relations(found: &SealedPart) -> Vec<Value> {
    let column = |one: &segment::VersionColumn| {
        json!({"name": one.name, "type_oid": one.type_oid, "type_modifier": one.type_modifier,
            "is_key": one.is_key, "number": one.number})
    };
    let relation = |one: &segment::RelationVersion| {
        json!({"oid": one.oid, "schema": one.schema, "name": one.name,
            "replica_identity": one.replica_identity,
            "columns": one.columns.iter().map(column).collect::<Vec<_>>()})
    };
    found.relations.iter().map(relation).collect()
}

fn chunks(chunks: &[ChangeChunk]) -> Vec<Value> {
    let chunk = |one: &ChangeChunk| {
        json!({"id": one.id.to_string(), "pack": one.pack, "offset": one.offset,
            "stored_len": one.stored_len, "continues": one.continues})
    };
    chunks.iter().map(chunk).collect()
}

pub(super) fn changes(input: &[u8]) -> Found {
    let offsets = change::offsets(input)?;
    let found = offsets.iter().map(|at| change::decode_at(input, *at));
    let found = found.collect::<Result<Vec<Change<'_>>, FormatError>>()?;
    let value = |one: &Change<'_>| {
        let action = match one.action {
            Action::Insert => "insert",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Truncate => "truncate",
        };
        let old = one.old.map(|old| json!({"is_whole": old.is_whole, "row": hex(old.row)}));
        json!({"action": action, "member": one.member, "old": old,
            "unchanged": one.unchanged, "new": hex(one.new)})
    };
    let values: Vec<Value> = found.iter().map(value).collect();
    let mut again = Vec::new();
    for one in &found {
        one.encode(&mut again)?;
    }
    Ok((json!({"changes": values}), again))
}
