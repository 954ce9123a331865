"""The vectors of change streams: segments and changes; see cases.py."""

import struct

from cases import (CHUNK, DATA_KEY, HUGE, KEY, NAMING, NONCE, OBJECT, PACK_MAX, STORED_MAX, structured)
from encode import cbor, frame, manifest_body

CLEAR = {1: OBJECT, 2: [], 3: KEY, 4: 100, 5: 200, 6: 2, 7: 1_700_000_000_000_000, 8: HUGE, 9: False,
         10: -1, 11: "pgkeep 0.1.0", 12: [KEY], 13: [OBJECT], 14: 999, 15: 1, 16: 150}
CLEAR_NAMES = ["id", "features", "stream", "first", "last", "transactions", "known_until", "greatest_xid",
               "begins", "written_at", "program", "keys", "packs", "stored_bytes", "timeline", "definitions",
               "joins_from"]


def shown(value):
    """Bytes as a case's values have them."""
    if isinstance(value, bytes):
        return value.hex()
    return [shown(one) for one in value] if isinstance(value, list) else value


def segment_bodies(cases):
    what = "segment-body"
    sealed = frame(NAMING, 4, b"\xa0", suite=1, data_key=DATA_KEY, key_id=KEY, nonce=NONCE)
    def body(changes=(), sealed=sealed):
        return manifest_body(cbor(CLEAR | dict(changes)), sealed)
    def ok(changes=()):
        values = (CLEAR | dict(changes)).values()
        found = {name: shown(value) for name, value in zip(CLEAR_NAMES, values)}
        return {"joins_from": None} | found | {"sealed": sealed.hex()}
    cases.good(what, "goes-on", body(), ok())
    begins = {4: 100, 5: 100, 6: 0, 9: True, 12: [], 13: [], 14: 0}
    cases.good(what, "begins-a-run-where-it-ends", body(begins), ok(begins))
    cases.good(what, "join-point", body(begins | {17: 100}), ok(begins | {17: 100}))
    cases.good(what, "join-point-for-later-backups", body(begins | {17: HUGE}), ok(begins | {17: HUGE}))
    cases.bad(what, "join-point-before-it-begins", body(begins | {17: 99}), "invalid")
    cases.bad(what, "join-point-that-begins-nothing", body({17: 200}), "invalid")
    cases.bad(what, "join-point-with-a-length", body(begins | {5: 101, 17: 101}), "invalid")
    no_definitions = manifest_body(cbor({k: v for k, v in CLEAR.items() if k != 16}), sealed)
    cases.good(what, "nothing-said-of-definitions", no_definitions, ok({16: None}))
    cases.good(what, "unknown-key-is-passed-over", body({99: "later"}), ok(), again=False)
    cases.bad(what, "ends-before-it-begins", body({4: 201}), "invalid")
    cases.bad(what, "unknown-feature", body({2: ["time travel"]}), "feature")
    cases.bad(what, "stream-of-15-bytes", body({3: KEY[:15]}), "invalid")
    cases.bad(what, "timeline-above-32-bits", body({15: 1 << 32}), "invalid")
    cases.bad(what, "three-bytes", body()[:3], "truncated")
    cases.bad(what, "no-sealed-part", body(sealed=b""), "truncated")
    cases.bad(what, "a-byte-follows-the-sealed-part", body() + b"\0", "invalid")
    cases.bad(what, "sealed-part-of-another-type",
              body(sealed=frame(NAMING, 6, b"\xa0", suite=1, data_key=DATA_KEY, key_id=KEY, nonce=NONCE)), "invalid")


def chunk(pack=0, offset=64, stored=10, continues=False):
    return {1: CHUNK, 2: pack, 3: offset, 4: stored, 5: continues}


def chunk_ok(value):
    return dict(zip(["id", "pack", "offset", "stored_len", "continues"], map(shown, value.values())))


def segment_sealed_parts(cases):
    what = "segment-sealed-part"
    given = {"first": 100, "last": 200, "transactions": 2, "begins": True, "packs": 1}
    empty = given | {"transactions": 0, "begins": False}
    begin = {1: "7:9:8", 2: HUGE, 3: "shop", 4: "pgkeep_shop", 5: "UTF8", 6: 180004}
    first, second = {1: 742, 2: 110, 3: 120, 4: 5}, {1: HUGE, 2: 150, 3: 200, 4: -5}
    columns = [{1: "id", 2: 23, 3: -1, 4: True, 5: 1}, {1: "né", 2: 25, 3: 7, 4: False, 5: -32768}]
    relation = {1: 16384, 2: "app", 3: 'j"obs', 4: "d", 5: columns}
    run = {1: 0, 2: [chunk(continues=True), chunk(offset=200)], 3: 3, 4: 40}
    sequence = {1: "app", 2: "s", 3: -(1 << 63), 4: False, 5: 16390}
    image = {1: 90, 2: [chunk()]}
    mark = {1: "before-deploy", 2: 2, 3: 160, 4: 6}
    full = {1: begin, 2: [first, second], 3: [relation], 4: [run], 6: [mark], 7: [sequence], 8: [16400], 9: image}
    def named(names, value):
        return dict(zip(names.split(), map(shown, value.values())))
    relation_ok = named("oid schema name replica_identity", relation) | {
        "columns": [named("name type_oid type_modifier is_key number", one) for one in columns]}
    ok = {"begin": named("snapshot system_identifier database slot encoding server_version", begin),
          "transactions": [named("xid lsn end time", one) for one in (first, second)],
          "relations": [relation_ok],
          "runs": [{"relation": 0, "chunks": [chunk_ok(one) for one in run[2]], "changes": 3, "bytes": 40}],
          "rolled_back": None, "marks": [named("name after lsn time", mark)],
          "sequences": [named("schema name last_value is_called oid", sequence)],
          "unpublished": [16400], "image": {"lsn": 90, "chunks": [chunk_ok(one) for one in image[2]]}}
    nothing = {2: [], 3: [], 4: [], 6: []}
    nothing_ok = {name: [] if name in ("transactions", "relations", "runs", "marks") else None for name in ok}
    cases.good(what, "all-fields", cbor(full), ok, **given)
    cases.good(what, "nothing-happened", cbor(nothing), nothing_ok, **empty)
    one = {key: value for key, value in full.items() if key not in (1, 6)} | {2: [second], 5: [743, 750], 6: []}
    one_given = given | {"transactions": 1, "begins": False}
    cases.good(what, "one-transaction-some-of-it-rolled-back", cbor(one), ok | {
        "begin": None, "transactions": ok["transactions"][1:], "rolled_back": [743, 750], "marks": []}, **one_given)
    no_number = {k: v for k, v in columns[0].items() if k != 5}
    cases.good(what, "column-without-a-number", cbor(full | {3: [relation | {5: [no_number]}]}),
               ok | {"relations": [relation_ok | {"columns": [relation_ok["columns"][0] | {"number": None}]}]}, **given)
    for name, changes in (
            ("commits-out-of-order", {2: [second, first]}), ("commit-twice", {2: [first, first]}),
            ("commit-before-it-begins", {2: [first | {3: 100}, second]}),
            ("commit-behind-its-end", {2: [first, second | {3: 201}]}),
            ("fewer-transactions-than-the-clear-part-says", {2: [first]}),
            ("subtransactions-of-two-transactions", {5: [743]}),
            ("run-of-a-relation-that-is-not-there", {4: [run | {1: 1}]}),
            ("run-without-chunks", {4: [run | {2: []}]}),
            ("run-whose-last-chunk-goes-on", {4: [run | {2: [chunk(continues=True)]}]}),
            ("chunk-in-a-pack-that-is-not-there", {4: [run | {2: [chunk(pack=1)]}]}),
            ("chunk-behind-any-pack", {4: [run | {2: [chunk(offset=PACK_MAX + 1)]}]}),
            ("chunk-longer-than-any", {4: [run | {2: [chunk(stored=STORED_MAX + 1)]}]}),
            ("image-without-chunks", {9: image | {2: []}}),
            ("image-whose-last-chunk-goes-on", {9: image | {2: [chunk(continues=True)]}}),
            ("mark-behind-the-last-transaction", {6: [mark | {2: 3}]}),
            ("oid-above-32-bits", {8: [1 << 32]}), ("column-number-above-16-bits", {
                3: [relation | {5: [columns[0] | {5: 1 << 15}]}]})):
        cases.bad(what, name, cbor(full | changes), "invalid", **given)
    cases.bad(what, "begins-and-the-clear-part-says-not", cbor(full), "invalid", **(given | {"begins": False}))
    cases.bad(what, "begins-not-and-the-clear-part-says-so", cbor(nothing), "invalid", **(empty | {"begins": True}))
    structured(cases, what, nothing, 2)


def change(action, flags=0, member=7, unchanged=(), old=b"", new=b"", count=None, old_len=None):
    rest = struct.pack("<BBHII", action, flags, len(unchanged) if count is None else count, member,
                       len(old) if old_len is None else old_len)
    rest += b"".join(struct.pack("<H", at) for at in unchanged) + old + new
    return struct.pack("<I", len(rest)) + rest


def changes(cases):
    what = "changes"
    def ok(action, member=7, old=None, whole=None, unchanged=(), new=b""):
        old = None if old is None else {"is_whole": whole, "row": old.hex()}
        return {"action": action, "member": member, "old": old, "unchanged": list(unchanged), "new": new.hex()}
    insert, row = change(1, new=b"1\t\\N\tx"), b"1\t\\N\tx"
    for name, data, value in (
            ("insert", insert, ok("insert", new=row)),
            ("insert-of-no-columns", change(1), ok("insert")),
            ("update-that-leaves-the-key-alone", change(2, new=row), ok("update", new=row)),
            ("update-of-the-key", change(2, 1, old=b"9", new=row), ok("update", old=b"9", whole=False, new=row)),
            ("update-with-the-whole-row-before", change(2, 3, old=b"9\ta\tb", new=row),
             ok("update", old=b"9\ta\tb", whole=True, new=row)),
            ("update-that-leaves-values-alone", change(2, 4, unchanged=[1, 1663], new=row),
             ok("update", unchanged=[1, 1663], new=row)),
            ("delete-by-key", change(3, 1, old=b"9"), ok("delete", old=b"9", whole=False)),
            ("delete-of-a-whole-row-of-no-columns", change(3, 3), ok("delete", old=b"", whole=True)),
            ("truncate", change(4, member=(1 << 32) - 1), ok("truncate", member=(1 << 32) - 1))):
        cases.good(what, name, data, {"changes": [value]})
    cases.good(what, "none", b"", {"changes": []})
    cases.good(what, "two", insert + change(4), {"changes": [ok("insert", new=row), ok("truncate")]})
    cases.bad(what, "length-of-three-bytes", insert[:3], "truncated")
    cases.bad(what, "last-one-byte-short", insert[:-1], "truncated")
    cases.bad(what, "length-beyond-all-bounds", b"\xff" * 4 + insert[4:], "truncated")
    cases.bad(what, "shorter-than-a-header", struct.pack("<I", 11) + insert[4:15], "truncated")
    cases.bad(what, "old-row-behind-the-end", change(2, 1, old=b"9", old_len=HUGE & 0xffffffff), "truncated")
    cases.bad(what, "unchanged-positions-behind-the-end", change(2, 4, count=3), "truncated")
    for name, data in (
            ("action-0", change(0)), ("action-5", change(5)), ("unknown-flag", change(2, 8, new=row)),
            ("whole-without-an-old-row", change(2, 2, new=row)), ("old-row-without-its-flag", change(2, old=b"9", new=row)),
            ("unchanged-without-its-flag", change(2, unchanged=[1], new=row)),
            ("flag-of-unchanged-without-any", change(2, 4, new=row)),
            ("unchanged-out-of-order", change(2, 4, unchanged=[2, 1], new=row)),
            ("unchanged-twice", change(2, 4, unchanged=[1, 1], new=row)),
            ("more-unchanged-than-columns", change(2, 4, unchanged=range(1665), new=row)),
            ("insert-with-an-old-row", change(1, 1, old=b"9", new=row)), ("insert-with-unchanged", change(1, 4, unchanged=[1])),
            ("delete-without-an-old-row", change(3)), ("delete-with-a-new-row", change(3, 1, old=b"9", new=row)),
            ("truncate-with-a-new-row", change(4, new=row)), ("truncate-with-an-old-row", change(4, 1, old=b"9"))):
        cases.bad(what, name, data, "invalid")


WRITERS = (segment_bodies, segment_sealed_parts, changes)
