"""The vectors of single structures: one file for each rule, good or bad.

A case says which structure its input is, what must be known besides the bytes (`with`),
and either the values that a reader must find (`ok`) or the class of the error:
truncated, magic, version, feature, checksum, limit, invalid. `again: false` marks good
inputs that this version would not write itself (they hold something of a later one).
"""

import struct

from encode import (BY_LENGTH, DICTIONARY, DIFFERENCES, LONG, PLANES, SHORT, cbor, crc, dictionary,
                    file_trailer, footer_line, frame, frame_header, head, indexed_pack, inner_header,
                    key_content, laid_out, laid_out_tuples, leaving_out, made, manifest_body, object_header, pack_trailer,
                    parted, parted_column, record, reference, signed_object, tuple_column, tuples, words_column)

REPOSITORY, OBJECT = made("repository id", 16), made("object id", 16)
KEY, CHUNK, NONCE = made("key id", 16), made("chunk id", 32), made("nonce", 12)
NAMING, DATA_KEY, SEED = made("naming key", 32), made("data key", 32), made("writer seed", 32)
PLAIN_MAX, STORED_MAX, PACK_MAX, BODY_MAX = 16 << 20, (16 << 20) + (64 << 10), 1 << 30, 512 << 20
HUGE = (1 << 64) - 1


def patched(data, at, new, checksum_at=None):
    """`data` with other bytes at an offset, its checksum made to fit again."""
    data = data[:at] + new + data[at + len(new):]
    if checksum_at is not None:
        data = data[:checksum_at] + crc(data[:checksum_at]) + data[checksum_at + 4:]
    return data


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


class Cases:
    def __init__(self):
        self.files = {}

    def add(self, structure, name, data, expected, given):
        case = {"structure": structure, "rule": name.replace("-", " ")}
        if given:
            case["with"] = given
        case["input"] = data.hex() if isinstance(data, bytes) else data
        case.update(expected)
        path = f"{structure}/{name}.json"
        assert path not in self.files, path
        self.files[path] = case

    def good(self, structure, name, data, ok, again=True, **given):
        self.add(structure, name, data, {"ok": ok} | ({} if again else {"again": False}), given)

    def bad(self, structure, name, data, error, **given):
        self.add(structure, name, data, {"error": error}, given)


def objects(cases):
    what = "object-header"
    names = ["config", "pack", "index", "manifest", "single file", "change segment", "lease", None, "prune list"]
    for code, name in enumerate(names, 1):
        if name is None:
            continue
        size = BODY_MAX if code == 3 else 0
        cases.good(what, f"type-{code}-is-a-{name.replace(' ', '-')}",
                   object_header(code, REPOSITORY, OBJECT, size),
                   {"object_type": name, "repository": REPOSITORY.hex(), "id": OBJECT.hex(),
                    "body_len": size})
    cases.good(what, "type-8-is-a-voucher", object_header(8, REPOSITORY, OBJECT, 0),
               {"object_type": "voucher", "repository": REPOSITORY.hex(), "id": OBJECT.hex(), "body_len": 0})
    data = object_header(3, REPOSITORY, OBJECT, 7)
    cases.bad(what, "empty", b"", "truncated")
    cases.bad(what, "one-byte-short", data[:-1], "truncated")
    cases.bad(what, "other-magic", patched(data, 0, b"p", 60), "magic")
    cases.bad(what, "version-0", patched(data, 8, b"\0\0", 60), "version")
    cases.bad(what, "version-2", patched(data, 8, b"\2\0", 60), "version")
    cases.bad(what, "version-2-is-told-before-a-wrong-checksum", patched(data, 8, b"\2\0"), "version")
    cases.bad(what, "type-0", patched(data, 10, b"\0", 60), "invalid")
    cases.bad(what, "type-10-is-not-known", patched(data, 10, b"\n", 60), "invalid")
    cases.bad(what, "first-reserved-bytes-are-zero", patched(data, 15, b"\1", 60), "invalid")
    cases.bad(what, "second-reserved-bytes-are-zero", patched(data, 59, b"\1", 60), "invalid")
    cases.bad(what, "body-length-above-its-limit",
              patched(data, 48, struct.pack("<Q", BODY_MAX + 1), 60), "limit")
    cases.bad(what, "wrong-checksum", flipped(data, 20), "checksum")

    what = "signed-object"
    for name, body in (("empty-body", b""), ("with-body", b"hello")):
        data = signed_object(3, REPOSITORY, OBJECT, body, SEED)
        cases.good(what, name, data, {"object_type": "index", "body": body.hex(),
                                      "signer": data[-96:-64].hex(), "signature": data[-64:].hex()})
    cases.bad(what, "one-byte-short", data[:-1], "truncated")
    cases.bad(what, "body-longer-than-what-is-there",
              object_header(3, REPOSITORY, OBJECT, BODY_MAX) + data[64:], "truncated")
    cases.bad(what, "a-byte-follows", data + b"\0", "invalid")
    cases.bad(what, "body-changed", flipped(data, 64), "checksum")
    cases.bad(what, "reserved-bytes-are-zero", flipped(data, 64 + 5 + 4), "invalid")


def structured(cases, what, good, bad_type_key):
    """What holds for every structured value, shown on one."""
    data = cbor(good)
    cases.bad(what, "truncated-value", data[:-1], "invalid")
    cases.bad(what, "bytes-follow", data + b"\0", "invalid")
    cases.bad(what, "field-missing", cbor({k: v for k, v in good.items() if k != bad_type_key}), "invalid")
    cases.bad(what, "field-of-another-type", cbor(good | {bad_type_key: None}), "invalid")


def cbor_rules(cases):
    """The rules of structured values, on a config with one more key that nobody knows."""
    base = {1: 0, 2: [], 3: False, 4: [], 5: [], 6: {1: False}}
    plain = {"written_at": 0, "features": [], "encrypted": False, "recipients": [], "writers": [],
             "store": {"refuses_overwrite": False}}
    fields = [cbor(k) + cbor(v) for k, v in base.items()]
    def extra(item, key=b"\x18\x64"):
        return b"\xa7" + b"".join(fields) + key + item
    what = "config"
    deep = 15
    for name, item in (("integer", cbor(-7)), ("null", cbor(None)), ("map", cbor({1: [2, {3: b"4"}]})),
                       ("nesting-at-its-limit", b"\x81" * deep + b"\0")):
        cases.good(what, f"unknown-key-with-{name}-is-passed-over", extra(item), plain, again=False)
    for name, item in (
            ("nesting-above-its-limit", b"\x81" * (deep + 1) + b"\0"),
            ("array-of-indefinite-length", b"\x9f\xff"), ("map-of-indefinite-length", b"\xbf\xff"),
            ("bytes-of-indefinite-length", b"\x5f\xff"), ("text-of-indefinite-length", b"\x7f\xff"),
            ("number-not-in-shortest-form", b"\x18\x17"), ("length-not-in-shortest-form", b"\x58\x01a"),
            ("tag", b"\xc1\x00"), ("float", b"\xf9\x00\x00"), ("undefined", b"\xf7"),
            ("break-alone", b"\xff"), ("text-that-is-not-utf-8", b"\x61\xff"),
            ("array-of-more-items-than-bytes", b"\x9b" + b"\xff" * 8),
            ("map-of-more-items-than-bytes", b"\xbb" + b"\xff" * 8),
            ("bytes-longer-than-the-object", b"\x5b" + b"\x7f" + b"\xff" * 7),
            ("map-with-a-text-key", b"\xa1\x61a\x00")):
        cases.bad(what, name, extra(item), "invalid")
    cases.bad(what, "keys-not-ascending", b"\xa6" + b"".join(fields[::-1]), "invalid")
    cases.bad(what, "key-twice", b"\xa7" + b"".join(fields) + fields[-1], "invalid")
    structured(cases, what, base, 3)
    return base, plain


def configs(cases):
    what = "config"
    base, plain = cbor_rules(cases)
    cases.good(what, "not-encrypted", cbor(base), plain)
    sealed = base | {1: -1, 3: True, 4: ["age1first", "age1second"], 5: [{1: CHUNK, 2: "héron"}],
                     6: {1: True}}
    cases.good(what, "encrypted", cbor(sealed),
               {"written_at": -1, "features": [], "encrypted": True,
                "recipients": ["age1first", "age1second"],
                "writers": [{"key": CHUNK.hex(), "name": "héron"}],
                "store": {"refuses_overwrite": True}})
    cases.bad(what, "unknown-feature", cbor(base | {2: ["time travel"]}), "feature")
    cases.bad(what, "encrypted-without-recipients", cbor(base | {3: True}), "invalid")
    cases.bad(what, "recipients-without-encryption", cbor(base | {4: ["age1x"]}), "invalid")
    cases.bad(what, "too-many-recipients", cbor(base | {3: True, 4: [""] * 1025}), "invalid")
    former = {1: NAMING, 2: "gone", 3: 5, 4: [OBJECT]}
    cases.good(what, "with-a-former-writer", cbor(base | {7: [former]}),
               plain | {"former_writers": [{"key": NAMING.hex(), "name": "gone", "revoked_at": 5,
                                            "vouchers": [OBJECT.hex()]}]})
    cases.bad(what, "former-writer-twice", cbor(base | {7: [former, former]}), "invalid")
    cases.bad(what, "former-writer-that-is-a-writer", cbor(base | {5: [{1: NAMING, 2: ""}], 7: [former]}), "invalid")
    cases.bad(what, "too-many-vouchers", cbor(base | {7: [former | {4: [OBJECT] * 65}]}), "invalid")

    voucher = {1: NAMING, 2: [bytes(16), OBJECT]}
    cases.good("voucher", "two-digests", cbor(voucher),
               {"writer": NAMING.hex(), "digests": [bytes(16).hex(), OBJECT.hex()]})
    cases.good("voucher", "nothing", cbor(voucher | {2: []}), {"writer": NAMING.hex(), "digests": []})
    cases.bad("voucher", "digest-twice", cbor(voucher | {2: [OBJECT, OBJECT]}), "invalid")
    cases.bad("voucher", "digests-not-ascending", cbor(voucher | {2: [OBJECT, bytes(16)]}), "invalid")
    cases.bad("voucher", "digest-of-15-bytes", cbor(voucher | {2: [bytes(15)]}), "invalid")
    cases.bad(what, "signer-of-31-bytes", cbor(base | {5: [{1: bytes(31), 2: ""}]}), "invalid")


def leases(cases):
    what = "lease"
    good = {1: -1, 2: "pgkeep 1"}
    cases.good(what, "good", cbor(good), {"written_at": -1, "program": "pgkeep 1"})
    structured(cases, what, good, 2)

    what = "prune-list"
    good = {1: 5, 2: [], 3: [OBJECT], 4: [], 5: None}
    shown = {"written_at": 5, "features": [], "packs": [OBJECT.hex()], "change_packs": [], "leases": None}
    del good[5]
    cases.good(what, "not-looked-for-leases-yet", cbor(good), shown)
    seen = {1: KEY, 2: 7, 3: -9}
    cases.good(what, "waits-for-leases", cbor(good | {4: [KEY], 5: [seen]}),
               shown | {"change_packs": [KEY.hex()],
                        "leases": [{"id": KEY.hex(), "beat": 7, "seen_at": -9}]})
    cases.good(what, "waits-for-nobody", cbor(good | {5: []}), shown | {"leases": []})
    cases.bad(what, "unknown-feature", cbor(good | {2: ["time travel"]}), "feature")
    cases.bad(what, "pack-id-of-15-bytes", cbor(good | {3: [bytes(15)]}), "invalid")
    cases.bad(what, "beat-above-32-bits", cbor(good | {5: [seen | {2: 1 << 32}]}), "invalid")
    structured(cases, what, good, 3)


def keys(cases):
    what = "key"
    given = {"repository": REPOSITORY.hex(), "id": KEY.hex()}
    data = key_content(1, REPOSITORY, KEY, DATA_KEY)
    both = key_content(2, REPOSITORY, KEY, NAMING, DATA_KEY)
    cases.good(what, "data-key", data, {"data": DATA_KEY.hex()}, **given)
    cases.good(what, "repository-secrets", both, {"naming": NAMING.hex(), "cut": DATA_KEY.hex()}, **given)
    cases.bad(what, "empty", b"", "truncated", **given)
    cases.bad(what, "one-byte-short", data[:-1], "truncated", **given)
    cases.bad(what, "secrets-without-cut-key", both[:80], "truncated", **given)
    cases.bad(what, "a-byte-follows", data + b"\0", "invalid", **given)
    cases.bad(what, "other-magic", flipped(data, 0), "magic", **given)
    cases.bad(what, "purpose-0", patched(data, 8, b"\0"), "invalid", **given)
    cases.bad(what, "purpose-3-is-not-known", patched(data, 8, b"\3"), "invalid", **given)
    cases.bad(what, "reserved-bytes-are-zero", patched(data, 15, b"\1"), "invalid", **given)
    cases.bad(what, "of-another-repository", flipped(data, 16), "invalid", **given)
    cases.bad(what, "another-key", flipped(data, 32), "invalid", **given)


def frames(cases):
    what = "frame-header"
    def header(frame_type=1, suite=1, stored=100, key=KEY, chunk=CHUNK, nonce=NONCE):
        return frame_header(frame_type, suite, stored, key, chunk, nonce, b"\1\2\3\4")
    def clear(frame_type=3, **changes):
        return header(**({"frame_type": frame_type, "suite": 0, "key": bytes(16), "nonce": bytes(12)} | changes))
    def ok(data):
        return {"frame_type": data[5], "suite": data[6], "stored_len": struct.unpack("<I", data[8:12])[0],
                "key": data[16:32].hex(), "chunk": data[32:64].hex(), "nonce": data[64:76].hex(),
                "payload_checksum": 0x04030201}
    good = {
        "rows-under-aes-256-gcm": header(), "entries-under-chacha20-poly1305": header(2, 2),
        "rows-not-sealed": clear(1), "list": clear(), "footer": clear(5, chunk=bytes(32)),
        "sealed-manifest": header(4), "reserved-changes": header(6), "reserved-pages": header(7),
        "ancillary-type-128": header(128), "ancillary-type-255-not-sealed": clear(255),
        "longest-payload": header(stored=STORED_MAX), "shortest-sealed-payload": header(stored=24),
        "shortest-clear-payload": clear(stored=8)}
    for name, data in good.items():
        cases.good(what, name, data, ok(data))
    data = header()
    cases.bad(what, "one-byte-short", data[:-1], "truncated")
    cases.bad(what, "other-magic", patched(data, 0, b"p", 92), "magic")
    cases.bad(what, "version-0", patched(data, 4, b"\0", 92), "version")
    cases.bad(what, "version-2", patched(data, 4, b"\2", 92), "version")
    for code in (0, 8, 127):
        cases.bad(what, f"type-{code}-is-not-known", header(code), "invalid")
    cases.bad(what, "suite-3-is-not-known", header(suite=3), "invalid")
    for name, at in (("first", 7), ("second", 15), ("third", 87)):
        cases.bad(what, f"{name}-reserved-bytes-are-zero", patched(data, at, b"\1", 92), "invalid")
    cases.bad(what, "payload-above-its-limit", header(stored=STORED_MAX + 1), "limit")
    cases.bad(what, "payload-shorter-than-inner-header", clear(stored=7), "invalid")
    cases.bad(what, "sealed-payload-shorter-than-tag", header(stored=23), "invalid")
    cases.bad(what, "a-list-is-never-sealed", header(3), "invalid")
    cases.bad(what, "a-footer-is-never-sealed", header(5, chunk=bytes(32)), "invalid")
    cases.bad(what, "a-footer-names-no-chunk", clear(5), "invalid")
    cases.bad(what, "not-sealed-but-names-a-key", clear(1, key=KEY), "invalid")
    cases.bad(what, "not-sealed-but-has-a-nonce", clear(1, nonce=NONCE), "invalid")
    cases.bad(what, "sealed-but-names-no-key", header(key=bytes(16)), "invalid")
    cases.bad(what, "wrong-checksum", flipped(data, 40), "checksum")

    what = "frame"
    data = frame(NAMING, 1, b"1\tone\n", suite=1, data_key=DATA_KEY, key_id=KEY, nonce=NONCE)
    cases.good(what, "payload-fits-its-header", data, {"payload": data[96:].hex()})
    cases.bad(what, "payload-changed", flipped(data, 99), "checksum")
    cases.bad(what, "payload-one-byte-short", data[:-1], "truncated")

    what = "inner-header"
    for name, codec, flags, body in (("raw", 0, 0, b"abc"), ("empty-raw", 0, 0, b""), ("zstd", 1, 0, b"?"),
                                     ("columns", 2, 0, b"?"), ("tuple-columns", 3, 0, b"?"),
                                     ("row-goes-on", 0, 1, b"abc")):
        size = len(body) if codec == 0 else PLAIN_MAX
        cases.good(what, name, inner_header(codec, flags, size) + body,
                   {"codec": codec, "flags": flags, "plain_len": size, "body": body.hex()})
    data = inner_header(0, 0, 3) + b"abc"
    cases.bad(what, "seven-bytes", data[:7], "truncated")
    cases.bad(what, "codec-4-is-not-known", patched(data, 0, b"\4"), "invalid")
    cases.bad(what, "unknown-flag", patched(data, 1, b"\2"), "invalid")
    cases.bad(what, "reserved-bytes-are-zero", patched(data, 3, b"\1"), "invalid")
    cases.bad(what, "plain-length-above-its-limit", inner_header(1, 0, PLAIN_MAX + 1) + b"?", "limit")
    cases.bad(what, "raw-body-shorter-than-it-says", data[:-1], "invalid")
    cases.bad(what, "raw-body-longer-than-it-says", data + b"d", "invalid")

    what = "columns"
    rows = b"1\tone\t\n22\t\\N\tz\n"
    good = laid_out([[b"1", b"22"], [b"one", b"\\N"], [b"", b"z"]])
    cases.good(what, "two-rows-of-three", good, {"rows": rows.hex()}, plain_len=len(rows))
    one = laid_out([[b"a", b"", b"b"]])
    cases.good(what, "one-column", one, {"rows": b"a\n\nb\n".hex()}, again=False, plain_len=5)
    most = laid_out([[b""]] * 1664)
    cases.good(what, "most-columns", most, {"rows": (b"\t" * 1663 + b"\n").hex()}, plain_len=1664)
    cases.bad(what, "three-bytes", good[:3], "truncated", plain_len=len(rows))
    cases.bad(what, "no-columns", laid_out([]), "invalid", plain_len=0)
    cases.bad(what, "too-many-columns", laid_out([[b""]] * 1665), "limit", plain_len=1665)
    cases.bad(what, "reserved-bytes-are-zero", patched(good, 2, b"\1"), "invalid", plain_len=len(rows))
    cases.bad(what, "lengths-cut-off", good[:14], "truncated", plain_len=len(rows))
    cases.bad(what, "column-beyond-the-end", patched(good, 4, b"\xff\xff\xff\xff"), "truncated", plain_len=len(rows))
    cases.bad(what, "bytes-follow-the-last-column", good + b"\n", "invalid", plain_len=len(rows) + 1)
    cases.bad(what, "shorter-than-the-plain-length", good, "invalid", plain_len=len(rows) + 1)
    cases.bad(what, "longer-than-the-plain-length", good, "invalid", plain_len=len(rows) - 1)
    cases.bad(what, "a-column-with-fewer-fields", laid_out([[b"1"], [b"one", b"two"]]), "invalid", plain_len=10)
    cases.bad(what, "a-column-with-more-fields", laid_out([[b"one", b"two"], [b"1"]]), "invalid", plain_len=10)
    ends = laid_out([[b"1"], [b"one"]])
    cases.bad(what, "a-column-that-does-not-end", ends[:-1] + b"x", "invalid", plain_len=6)


def tuple_columns(cases):
    what = "tuple-columns"
    def numbers(form, *found):
        return [None if number is None else struct.pack(form, number) for number in found]
    def good(name, *columns, again=True):
        """Columns, each a form and its fields."""
        rows = list(zip(*(fields for _, fields in columns)))
        data = laid_out_tuples(len(rows), [tuple_column(form, fields) for form, fields in columns])
        plain = tuples(rows)
        cases.good(what, name, data, {"rows": plain.hex()}, again, plain_len=len(plain))
        return data, len(plain)
    following = range(1000, 1040)
    good("planes", (PLANES, numbers(">i", 7, -1)))
    good("planes-of-one-byte", (PLANES, [b"t", b"f", b"t"]))
    good("planes-of-16-bytes", (PLANES, [made("uuid 1", 16), made("uuid 2", 16)]))
    good("differences-of-4-bytes", (DIFFERENCES, numbers(">i", *following)))
    good("differences-of-8-bytes", (DIFFERENCES, numbers(">q", *(3 * n + (1 << 50) for n in following))))
    around = [0, *(1_000_000 + (n if n % 2 else -n) for n in range(12))]
    good("differences-of-both-signs", (DIFFERENCES, numbers(">i", *around)))
    for size, form in ((4, ">i"), (8, ">q")):
        top = 1 << 8 * size - 1
        wrapping = numbers(form, 0, top - 1, -top, 1 - top, -1, 0, top - 1)
        good(f"differences-of-{size}-bytes-that-wrap", (DIFFERENCES, wrapping), again=False)
    good("planes-with-nulls", (PLANES, [None, b"\1\2", None, b"\3\4"]))
    good("differences-with-nulls", (DIFFERENCES, numbers(">q", None, *following, None, 1040, None)))
    good("short", (SHORT, [b"ab", None, b"", b"c" * 254]))
    good("short-nothing-but-nulls", (SHORT, [None, None]))
    good("short-nothing-but-empty-values", (SHORT, [b"", b""]))
    good("long", (LONG, [b"a" * 255, None, b"", b"b"]))
    modes = [b"AIR", b"SHIP", None, b"AIR", b"", b"a long text of one row in two"] * 4
    good("dictionary", (DICTIONARY, modes))
    good("dictionary-of-255-values", (DICTIONARY, [b"value %d" % (n % 255) for n in range(1020)]))
    good("256-values-are-too-many", (SHORT, [b"value %d" % (n % 256) for n in range(1024)]))
    good("dictionary-of-values-that-do-not-come-again", (DICTIONARY, [b"a", b"bc"]), again=False)
    numerics = [None if n % 5 == 4 else numeric(*range(n, n + n % 3)) for n in range(20)]
    good("by-length", (BY_LENGTH, numerics))
    good("by-length-of-all-lengths", (BY_LENGTH, [bytes(range(n)) for n in range(255)]), again=False)
    good("columns-of-all-forms", (DIFFERENCES, numbers(">i", *following)), (SHORT, [b"x" * n for n in range(40)]),
         (PLANES, [None if n % 3 else bytes([n % 2]) for n in following]), (LONG, [None] * 39 + [b"y" * 300]),
         (DICTIONARY, [b"x" * (n % 7) for n in following]), (BY_LENGTH, numerics * 2))
    good("most-columns", *[(SHORT, [None])] * 1664)
    cases.good(what, "no-rows", laid_out_tuples(0, [tuple_column(SHORT, []), tuple_column(PLANES, [])]),
               {"rows": ""}, again=False, plain_len=0)
    good("values-of-one-width-in-another-form", (SHORT, [b"a", b"b"]), (LONG, [b"c", b"d"]), again=False)
    good("nothing-but-nulls-in-planes", (PLANES, [None, None]), again=False)
    cases.good(what, "marks-without-nulls", laid_out_tuples(2, [tuple_column(PLANES, [b"a", b"b"], True)]),
               {"rows": tuples([[b"a"], [b"b"]]).hex()}, again=False, plain_len=14)

    data, size = good("two-columns", (PLANES, [b"\1\2", None, b"\3\4"]), (SHORT, [b"", b"one", None]))
    def bad(name, data, error="invalid", size=size):
        cases.bad(what, name, data, error, plain_len=size)
    bad("seven-bytes", data[:7], "truncated")
    bad("no-columns", laid_out_tuples(0, []), size=0)
    bad("rows-without-columns", laid_out_tuples(2, []), size=4)
    bad("too-many-columns", laid_out_tuples(1, [tuple_column(SHORT, [None])] * 1665), "limit", 2 + 4 * 1665)
    bad("reserved-bytes-are-zero", patched(data, 3, b"\1"))
    bad("a-row-more-than-fits", laid_out_tuples(4, [tuple_column(SHORT, [None] * 4)]), size=23)
    bad("as-many-rows-as-can-be-said", patched(data, 4, b"\xff\xff\xff\xff"))
    bad("head-of-a-column-cut-off", data[:11], "truncated")
    bad("reserved-byte-of-a-column-is-zero", patched(data, 11, b"\1"))
    for form in (0, 9):
        bad(f"form-{form}-is-not-known", patched(data, 8, bytes([form])))
    bad("width-0", laid_out_tuples(1, [b"\1\0\0\0"]), size=6)
    bad("width-17", laid_out_tuples(1, [tuple_column(PLANES, [bytes(17)])]), size=23)
    for width in (1, 2, 16):
        column = tuple_column(DIFFERENCES, [bytes(width)])
        bad(f"differences-of-{width}-bytes", laid_out_tuples(1, [column]), size=6 + width)
    bad("nulls-is-2", patched(data, 10, b"\2"))
    bad("a-mark-is-2", patched(data, 12, b"\2"))
    bad("marks-cut-off", data[:14], "truncated")
    for name, form in (("short", SHORT), ("long", LONG)):
        column = laid_out_tuples(2, [tuple_column(form, [b"abc", None])])
        bad(f"{name}-with-a-width", patched(column, 9, b"\1"), size=15)
        bad(f"{name}-with-nulls", patched(column, 10, b"\1"), size=15)
        bad(f"{name}-with-lengths-cut-off", column[:13], "truncated", 15)
        bad(f"{name}-with-values-cut-off", column[:-1], "truncated", 15)
    column = tuple_column(DICTIONARY, [b"abc", None])
    data = laid_out_tuples(2, [column])
    bad("dictionary-with-a-width", patched(data, 9, b"\1"), size=15)
    bad("dictionary-of-256-values", laid_out_tuples(1, [dictionary([b""] * 256, b"\1")]), size=6)
    bad("dictionary-with-lengths-cut-off", data[:14], "truncated", 15)
    bad("dictionary-with-values-cut-off", data[:18], "truncated", 15)
    bad("dictionary-with-numbers-cut-off", data[:-1], "truncated", 15)
    bad("a-value-that-is-in-no-dictionary", laid_out_tuples(2, [dictionary([b"abc"], b"\1\2")]), size=18)
    bad("a-dictionary-of-what-is-too-long", laid_out_tuples(2, [dictionary([b"abcdef"], b"\1\1")]), size=23)
    data = laid_out_tuples(2, [tuple_column(BY_LENGTH, [b"abc", b"de"])])
    bad("by-length-with-lengths-cut-off", data[:13], "truncated", 17)
    bad("by-length-with-planes-cut-off", data[:-1], "truncated", 17)
    bad("planes-cut-off", laid_out_tuples(2, [tuple_column(PLANES, [b"abc", b"def"])])[:-1], "truncated", 18)
    bad("differences-cut-off", laid_out_tuples(2, [tuple_column(DIFFERENCES, [bytes(8)] * 2)])[:-1], "truncated", 28)
    bad("a-length-beyond-all-bounds", laid_out_tuples(1, [b"\4\0\0\0\xfe\xff\xff\xffx"]), "truncated", 7)
    bad("bytes-follow-the-last-column", data + b"\0")
    bad("a-column-is-missing", patched(data, 0, b"\3"), "truncated", size + 12)
    bad("shorter-than-the-plain-length", data, size=size + 1)
    bad("longer-than-the-plain-length", data, size=size - 1)


def numeric(*digits):
    """As binary COPY has it: digits of four places each."""
    return struct.pack(f">HhHH{len(digits)}h", len(digits), 0, 0, 2, *digits)


def parted_columns(cases):
    """Columns of tuples whose values are put together: of parts and slots, or of words."""
    what = "tuple-columns"
    def good(name, values, data=None, again=True):
        plain = tuples([[b"".join(value) if isinstance(value, list) else value] for value in values])
        data = laid_out_tuples(len(values), [data or parted(values)])
        cases.good(what, name, data, {"rows": plain.hex()}, again, plain_len=len(plain))
        return data, len(plain)
    def event(kind, user, session):
        return [b'\1{"type": "', kind, b'", "user": ', user, b', "session": "', session, b'"}']
    events = [event(b"view", b"12", b"d3b07384d113"), event(b"click", b"3045", b"c157a79031e1"), None,
              event(b"view", b"7", b"1e9b2a5c7f40")]
    data, size = good("parts-and-slots", events)
    def tags(number):
        quoted = rb'a \"quoted\" one, %d' % number
        more = [b'", "', quoted] * (number % 2)
        return [b'{"tags": ["', b"red %d" % number, *more, b'"], "of": ["', b"that %d" % (number * number), b'"]}']
    good("parts-that-come-again-in-a-value", [tags(number) for number in range(12)])
    whole = [*events, b'{"a string that does not end": "', event(b"buy", b"-1.5e3", b"f00dfacecafe")]
    good("values-without-parts", whole)
    good("parts-of-what-is-not-json", [[b"GET /", b"index.html", b" HTTP/1.1"], [b"GET /", b"", b" HTTP/1.1"]], again=False)
    good("a-value-of-one-part", [[b"all"], [b"all"]], again=False)
    empty = tuple_column(SHORT, [])
    good("a-part-that-no-value-has", [[b"a", b"b", b"c"]],
         parted_column([(b"a", 0), (b"?", 0), (b"c", 1)], [2, 4], [empty, tuple_column(SHORT, [b"b"]), empty]), False)
    good("no-parts", [None, b"whole"], parted_column([], [0, 1], [tuple_column(SHORT, [b"whole"])]), False)
    most = [(b"%d" % n, n == 253) for n in range(254)]
    good("most-parts", [[b"253"]], parted_column(most, [255], [empty] * 254), False)

    texts = [b"deliver in person", b"take back", None, b" take  in ", b"take deliver person back in in in"] * 3
    words = [word for text in texts if text is not None for word in text.split(b" ")]
    counts = [0 if text is None else 1 + text.count(b" ") for text in texts]
    good("words", texts, words_column(counts, tuple_column(DICTIONARY, words)))
    good("words-that-do-not-come-again", [b"one two", None, b""],
         words_column([2, 0, 1], tuple_column(SHORT, [b"one", b"two", b""])), again=False)

    def bad(name, column, error="invalid", size=size, rows=1):
        cases.bad(what, name, laid_out_tuples(rows, [column]), error, plain_len=size)
    bad("words-with-counts-cut-off", words_column([2], b""), "truncated")
    words = tuple_column(SHORT, [b"one", b"two"])
    bad("fewer-words-than-counted", words_column([3], words), "truncated", 17)
    bad("more-words-than-counted", words_column([1], words), size=9)
    bad("a-word-is-null", words_column([2], tuple_column(SHORT, [b"one", None])), size=10)
    bad("words-of-words", words_column([1], words_column([2], words)), size=13)
    bad("words-with-parts", words_column([1], parted([[b"b"]])), size=7)
    bad("words-that-are-too-long", words_column([2], words), size=12)
    bad("words-with-a-width", patched(words_column([2], words), 1, b"\1"), size=13)
    ends, slot = [(b"a", 0), (b"c", 1)], tuple_column(SHORT, [b"b"])
    bad("too-many-parts", parted_column([(b"", 1)] * 255, [2], [empty]), size=6)
    bad("a-part-that-is-none", parted_column(ends, [2, 4], [empty, slot]), size=9)
    bad("null-within-a-value", parted_column(ends, [2, 0], [empty, slot]), size=9)
    bad("a-value-within-a-value", parted_column(ends, [2, 1], [slot, slot]), size=9)
    bad("a-value-that-does-not-end", parted_column(ends, [2], [empty, slot]), size=8)
    bad("fewer-values-than-rows", parted_column(ends, [2, 3], [empty, slot]), size=15, rows=2)
    bad("more-values-than-rows", parted_column(ends, [2, 3, 3], [empty, slot]), size=9)
    bad("a-slot-is-null", parted_column(ends, [2, 3], [empty, tuple_column(SHORT, [None])]), size=8)
    bad("slots-with-parts", parted_column(ends, [2, 3], [empty, parted([[b"b"]])]), size=9)
    bad("whole-values-with-parts", parted_column([], [1], [parted([[b"b"]])]), size=7)
    bad("parts-that-are-too-long", parted_column([(b"abc", 1)], [2, 2], [empty]), size=17, rows=2)
    bad("a-part-beyond-the-end", parted_column([], [], [])[:4] + struct.pack("<III", 1, 1, 0xFFFFFFFF), "truncated")
    bad("as-many-numbers-as-can-be-said", parted_column([], [], [])[:4] + struct.pack("<II", 0, 0xFFFFFFFF), "truncated")
    bad("slots-cut-off", parted_column(ends, [2, 3], [empty, slot])[:-1], "truncated", 9)
    bad("parts-with-a-width", patched(parted([[b"a"]]), 1, b"\1"), size=7)


def lines(count=3):
    """Footer lines that lie back to back, the last of an ancillary type."""
    found, out, offset = [], [], 64
    for number, frame_type in zip(range(count), (1, 3, 200)):
        chunk, stored = made(f"chunk {number}", 32), 100 + number
        found.append(footer_line(chunk, frame_type, stored, offset))
        out.append({"chunk": chunk.hex(), "frame_type": frame_type, "stored_len": stored, "offset": offset})
        offset += 96 + stored
    return found, out, offset


def packs(cases):
    what = "pack-footer"
    found, out, end = lines()
    data = b"".join(found)
    cases.good(what, "no-frames", b"", {"entries": []})
    cases.good(what, "three-frames-the-last-ancillary", data, {"entries": out})
    cases.bad(what, "not-a-whole-number-of-lines", data[:-1], "invalid")
    cases.bad(what, "first-frame-not-behind-the-header", patched(data, 40, b"\x41"), "invalid")
    cases.bad(what, "gap-between-frames", patched(data, 48 + 40, struct.pack("<Q", 65 + 196)), "invalid")
    cases.bad(what, "frames-overlap", patched(data, 48 + 40, struct.pack("<Q", 64)), "invalid")
    cases.bad(what, "offset-beyond-all-bounds", patched(data, 48 + 40, struct.pack("<Q", HUGE)), "invalid")
    cases.bad(what, "type-8-is-not-known", patched(data, 32, b"\x08"), "invalid")
    cases.bad(what, "reserved-bytes-are-zero", patched(data, 35, b"\1"), "invalid")
    cases.bad(what, "payload-above-its-limit", patched(data, 36, struct.pack("<I", STORED_MAX + 1)), "limit")

    what = "pack-trailer"
    good = pack_trailer(1000, 200, 3)
    cases.good(what, "footer-before-it", good, {"footer_offset": 1000, "footer_len": 200, "frames": 3}, pack_len=1232)
    cases.good(what, "empty-pack", pack_trailer(64, 104, 0), {"footer_offset": 64, "footer_len": 104, "frames": 0}, pack_len=200)
    for name, data, pack_len, error in (
            ("one-byte-short", good[:-1], 1232, "truncated"), ("a-byte-follows", good + b"\0", 1232, "invalid"),
            ("wrong-checksum", flipped(good, 0), 1232, "checksum"), ("other-magic", flipped(good, 31), 1232, "magic"),
            ("reserved-bytes-are-zero", patched(good, 23, b"\1", 24), 1232, "invalid"),
            ("pack-is-shorter", good, 1231, "invalid"), ("pack-is-longer", good, 1233, "invalid"),
            ("pack-shorter-than-a-trailer", good, 31, "invalid"),
            ("footer-begins-in-the-header", pack_trailer(63, 104, 0), 199, "invalid"),
            ("footer-shorter-than-a-frame", pack_trailer(64, 103, 0), 199, "invalid"),
            ("footer-longer-than-a-frame", pack_trailer(64, 97 + STORED_MAX, 0), 193 + STORED_MAX, "invalid"),
            ("offset-beyond-all-bounds", pack_trailer(HUGE, 200, 0), 231, "invalid"),
            ("pack-above-its-limit", pack_trailer(1000, PACK_MAX - 1031, 3), PACK_MAX + 1, "limit"),
            ("too-many-frames", pack_trailer(1000, 200, (1 << 18) + 1), 1232, "limit")):
        cases.bad(what, name, data, error, pack_len=pack_len)

    what = "index"
    first, second = made("pack 1", 16), made("pack 2", 16)
    data = indexed_pack(first, end + 500, found) + indexed_pack(second, 200, [])
    cases.good(what, "no-packs", b"", {"packs": []})
    cases.good(what, "two-packs-one-empty", data, {"packs": [
        {"pack": first.hex(), "len": end + 500, "entries": out}, {"pack": second.hex(), "len": 200, "entries": []}]})
    cases.bad(what, "one-byte-short", data[:-1], "truncated")
    cases.bad(what, "more-frames-than-are-there", patched(data, 24, struct.pack("<I", 9)), "truncated")
    cases.bad(what, "too-many-frames", patched(data, 24, struct.pack("<I", 0xFFFFFFFF)), "limit")
    cases.bad(what, "pack-above-its-limit", patched(data, 16, struct.pack("<Q", PACK_MAX + 1)), "limit")
    cases.bad(what, "reserved-bytes-are-zero", patched(data, 31, b"\1"), "invalid")
    cases.bad(what, "gap-between-frames", patched(data, 32 + 48 + 40, b"\0"), "invalid")


CLEAR = {1: OBJECT, 2: [], 3: 1, 4: KEY, 5: 1_700_000_000_000_000, 6: -1, 7: HUGE, 8: "pgkeep 0.1.0",
         9: [], 10: {n: n for n in range(1, 8)}, 11: [], 12: []}
CLEAR_OK = {"id": OBJECT.hex(), "features": [], "kind": 1, "series": KEY.hex(),
            "started_at": 1_700_000_000_000_000, "finished_at": -1, "lsn": HUGE, "program": "pgkeep 0.1.0",
            "tags": [], "totals": {"rows": 1, "plain_bytes": 2, "stored_bytes": 3, "added_bytes": 4,
                                   "chunks": 5, "new_chunks": 6, "entries": 7}, "keys": [], "streams": []}


def manifests(cases):
    what = "manifest-body"
    sealed = frame(NAMING, 4, b"\xa0", suite=1, data_key=DATA_KEY, key_id=KEY, nonce=NONCE)
    def body(changes=(), sealed=sealed):
        return manifest_body(cbor(CLEAR | dict(changes)), sealed)
    def stream(frame_type=1, chunks=0, inline=b"", lists=()):
        return {1: frame_type, 2: chunks, 3: inline, 4: list(lists)}
    references = [reference(made(f"chunk {n}", 32), int(n == 0)) for n in range(17)]
    sixteen = stream(1, 16, b"".join(references[:16]))
    listed = stream(2, 1000, lists=[CHUNK, CHUNK])
    cases.good(what, "no-streams", body(), CLEAR_OK | {"sealed": sealed.hex()})
    def stream_ok(value):
        return {"frame_type": value[1], "chunks": value[2], "inline": value[3].hex(),
                "lists": [chunk.hex() for chunk in value[4]]}
    full = [stream(), sixteen, listed, stream(200, 1, references[1])]
    cases.good(what, "streams-of-all-kinds",
               body({9: [{1: "why", 2: "deploy"}, {1: "zone", 2: ""}], 11: [KEY], 12: full}),
               CLEAR_OK | {"tags": [{"key": "why", "value": "deploy"}, {"key": "zone", "value": ""}],
                           "keys": [KEY.hex()], "streams": [stream_ok(value) for value in full],
                           "sealed": sealed.hex()})
    cases.good(what, "unknown-keys-are-passed-over", body({13: [1], 12: [stream() | {5: {1: b"later"}}]}),
               CLEAR_OK | {"streams": [stream_ok(stream())], "sealed": sealed.hex()}, again=False)
    data = body()
    cases.bad(what, "three-bytes", data[:3], "truncated")
    cases.bad(what, "clear-part-above-its-limit", struct.pack("<I", (256 << 20) + 1) + data[4:], "limit")
    cases.bad(what, "clear-part-longer-than-the-body", struct.pack("<I", 10_000) + data[4:], "truncated")
    cases.bad(what, "clear-part-shorter-than-its-value", patched(data, 0, bytes([data[0] - 1])), "invalid")
    cases.bad(what, "clear-part-longer-than-its-value", patched(data, 0, bytes([data[0] + 1])), "invalid")
    cases.bad(what, "no-sealed-part", body(sealed=b""), "truncated")
    cases.bad(what, "sealed-part-one-byte-short", data[:-1], "invalid")
    cases.bad(what, "a-byte-follows-the-sealed-part", data + b"\0", "invalid")
    cases.bad(what, "sealed-part-of-another-type",
              body(sealed=frame(NAMING, 2, b"\xa0", suite=1, data_key=DATA_KEY, key_id=KEY, nonce=NONCE)), "invalid")
    cases.bad(what, "sealed-part-with-wrong-checksum", body(sealed=flipped(sealed, 33)), "checksum")
    cases.bad(what, "unknown-feature", body({2: ["time travel"]}), "feature")
    cases.good(what, "copy", body({3: 3}), CLEAR_OK | {"kind": 3, "sealed": sealed.hex()})
    cases.bad(what, "kind-4-is-not-known", body({3: 4}), "invalid")
    cases.bad(what, "id-of-15-bytes", body({1: OBJECT[:15]}), "invalid")
    for name, wrong in (
            ("count-of-chunks-above-the-references", stream(1, 2, references[1])),
            ("count-of-chunks-below-the-references", stream(1, 0, references[1])),
            ("seventeen-inline-references", stream(1, 17, b"".join(references))),
            ("inline-references-and-lists", stream(1, 1, references[1], [CHUNK])),
            ("last-row-has-no-end", stream(1, 1, references[0])),
            ("entries-are-left-out", stream(2, 1, leaving_out(CHUNK, b"\0\1"))),
            ("a-row-left-out-goes-on", stream(1, 2, leaving_out(CHUNK, b"\0\1", 3) + references[1])),
            ("a-row-left-out-began-before", stream(1, 2, references[0] + leaving_out(CHUNK, b"\0\1"))),
            ("stream-of-type-8-is-not-known", stream(8)), ("stream-of-type-256", stream(256)),
            ("list-of-31-bytes", stream(1, 1, lists=[CHUNK[:31]]))):
        cases.bad(what, name, body({12: [wrong]}), "invalid")

    cases.bad(what, "inline-references-not-whole", body({12: [stream(1, 1, references[1][:-1])]}), "truncated")

    what = "chunk-references"
    data = references[0] + references[1]
    def said(data, row_continues=False, ending="000000", left_out=None):
        return {"id": data[:32].hex(), "row_continues": row_continues, "ending": ending, "left_out": left_out}
    cases.good(what, "two-the-first-goes-on", data, {"references": [said(data, True), said(data[36:])]})
    cases.good(what, "none", b"", {"references": []})
    ending = patched(references[1], 33, b"\7\0\xff")
    cases.good(what, "with-an-ending", ending, {"references": [said(ending, ending="0700ff")]})
    for name, runs in (("the-first-row", "0001"), ("rows-in-runs", "0001c80102"), ("many", "ffffffff0e01")):
        left = leaving_out(CHUNK, bytes.fromhex(runs))
        cases.good(what, f"leaves-out-{name}", left + data[36:], {"references": [
            said(left, ending=b"end".hex(), left_out=runs), said(data[36:])]})
    cases.bad(what, "cut-within-a-reference", data[:-1], "truncated")
    cases.bad(what, "unknown-flag", patched(data, 32, b"\4"), "invalid")
    for name, runs in (("nothing", ""), ("no-row", "01"), ("an-empty-run", "0100"), ("an-odd-number-of-runs", "010101"),
                       ("an-empty-run-within", "01010001"), ("a-number-in-a-longer-form", "018100"),
                       ("a-number-that-has-no-end", "0181"), ("rows-above-32-bits", "ffffffff0f01"),
                       ("a-number-above-32-bits", "ffffffff1f01")):
        cases.bad(what, f"leaves-out-{name}", leaving_out(CHUNK, bytes.fromhex(runs)), "invalid")
    cases.bad(what, "runs-that-are-not-there", leaving_out(CHUNK, b"\0\1")[:-1], "truncated")
    cases.bad(what, "more-runs-than-bytes", patched(leaving_out(CHUNK, b"\0\1"), 36, b"\xff" * 4), "truncated")

    what = "sealed-part"
    names = ["databases", "system_identifier", "server_version", "timeline", "host", "warnings", "selection",
             "globals_stream", "copied_tables"]
    database = {1: "shop", 2: "UTF8", 3: "739:742:739", 4: HUGE, 5: 0}
    good = {1: [database], 2: HUGE, 3: 180004, 4: 1, 5: "db", 6: ["w"], 7: [], 8: 3, 9: [16384, 4294967295]}
    said = dict(zip(["name", "encoding", "snapshot", "lsn", "entries_stream"], database.values()))
    cases.good(what, "all-fields", cbor(good), dict(zip(names, good.values())) | {"databases": [said]})
    two = good | {1: [database, database | {1: "zoo", 5: 1}]}
    two.pop(8), two.pop(9)
    cases.good(what, "two-databases-without-globals", cbor(two), dict(zip(names, good.values())) | {
        "databases": [said, said | {"name": "zoo", "entries_stream": 1}], "globals_stream": None, "copied_tables": None})
    cases.bad(what, "no-database", cbor(good | {1: []}), "invalid")
    cases.bad(what, "databases-out-of-order", cbor(good | {1: [database, database | {1: "a"}]}), "invalid")
    cases.bad(what, "the-same-database-twice", cbor(good | {1: [database, database]}), "invalid")
    cases.bad(what, "server-version-above-32-bits", cbor(good | {3: 1 << 32}), "invalid")
    cases.bad(what, "copied-table-above-32-bits", cbor(good | {9: [1 << 32]}), "invalid")
    cases.bad(what, "negative-timeline", cbor(good | {4: -1}), "invalid")
    structured(cases, what, good, 6)


def entries(cases):
    what = "entry"
    base = {1: "SCHEMA", 2: 0, 4: "app", 5: "CREATE SCHEMA app;\n", 7: []}
    nothing = {"schema": None, "drop": None, "belongs_to": None, "relation": None, "data": None, "owner": None,
               "large_objects": None, "storage": None, "by_index": None}
    plain = {"kind": "SCHEMA", "section": 0, "name": "app", "create": "CREATE SCHEMA app;\n", "depends_on": []}
    cases.good(what, "no-optional-field", cbor(base), nothing | plain)
    table = {1: "TABLE", 2: 0, 3: 'od"d', 4: "héron\n", 5: "CREATE TABLE …;", 6: "DROP TABLE …;", 7: [0, 3], 8: 0,
             9: {1: [{1: "a", 2: "pg_catalog.int4", 3: True, 4: "", 5: "d"}], 2: "d", 3: ["a"], 4: True, 5: False, 6: [1, 9]}, 13: {1: 'fa"st', 2: "columnar"}}
    cases.good(what, "a-table", cbor(table), nothing | {
        "kind": "TABLE", "section": 0, "schema": 'od"d', "name": "héron\n", "create": "CREATE TABLE …;",
        "drop": "DROP TABLE …;", "depends_on": [0, 3], "belongs_to": 0, "data": None, "relation": {
            "columns": [{"name": "a", "type_name": "pg_catalog.int4", "not_null": True, "generated": "", "identity": "d"}],
            "replica_identity": "d", "primary_key": ["a"], "unlogged": True, "partitioned": False,
            "parents": [1, 9]}, "storage": {"tablespace": 'fa"st', "access_method": "columnar"}})
    owned = {1: "BLOB METADATA", 2: 1, 4: "7..9", 5: "SELECT …;", 7: [], 11: 'own"er', 12: [7, 9]}
    cases.good(what, "large-objects-of-an-owner", cbor(owned), nothing | {
        "kind": "BLOB METADATA", "section": 1, "name": "7..9", "create": "SELECT …;", "depends_on": [],
        "owner": 'own"er', "large_objects": [7, 9]})
    for code, columns, types in ((1, [], None), (2, ["n", "tags"], [23, 1009]), (3, [], None)):
        rows = {1: "TABLE DATA", 2: 1, 4: "t", 5: "", 7: [1], 8: 1, 10: {1: 7, 2: code, 3: columns, 4: HUGE, 5: 0}}
        if types is not None:
            rows[10][8] = types
        cases.good(what, f"rows-in-encoding-{code}", cbor(rows), nothing | {
            "kind": "TABLE DATA", "section": 1, "name": "t", "create": "", "depends_on": [1], "belongs_to": 1,
            "data": {"stream": 7, "encoding": code, "columns": columns, "rows": HUGE, "bytes": 0, "types": types}})
    cases.good(what, "unknown-kind-is-kept", cbor(base | {1: "PROPERTY GRAPH"}), nothing | plain | {"kind": "PROPERTY GRAPH"})
    key = {1: "CONSTRAINT", 2: 2, 4: "t t_pkey", 5: "ALTER TABLE …;", 7: [0], 8: 0, 14: {1: "CREATE UNIQUE INDEX …;", 2: "ALTER TABLE …;"}}
    cases.good(what, "a-key-in-two-steps", cbor(key), nothing | {
        "kind": "CONSTRAINT", "section": 2, "name": "t t_pkey", "create": "ALTER TABLE …;", "depends_on": [0], "belongs_to": 0,
        "by_index": {"index": "CREATE UNIQUE INDEX …;", "constraint": "ALTER TABLE …;"}})
    cases.bad(what, "a-key-without-its-second-step", cbor(key | {14: {1: "CREATE UNIQUE INDEX …;"}}), "invalid")
    cases.good(what, "unknown-key-is-passed-over", cbor(base | {99: "later"}), nothing | plain, again=False)
    cases.bad(what, "section-3-is-not-known", cbor(base | {2: 3}), "invalid")
    cases.bad(what, "encoding-4-is-not-known", cbor(rows | {10: rows[10] | {2: 4}}), "invalid")
    cases.bad(what, "type-above-32-bits", cbor(rows | {10: rows[10] | {8: [1 << 32]}}), "invalid")
    cases.bad(what, "position-above-32-bits", cbor(base | {7: [1 << 32]}), "invalid")
    cases.bad(what, "negative-position", cbor(base | {8: -1}), "invalid")
    cases.bad(what, "large-object-above-32-bits", cbor(owned | {12: [1 << 32]}), "invalid")
    cases.bad(what, "column-without-name", cbor(table | {9: table[9] | {1: [{2: "x", 3: True, 4: "", 5: ""}]}}), "invalid")
    structured(cases, what, base, 5)


def single_files(cases):
    what = "record-header"
    data = record("config/00000001", b"abc")[:32]
    checksum = struct.unpack("<I", data[16:20])[0]
    cases.good(what, "a-record", data, {"name_len": 15, "object_len": 3, "checksum": checksum})
    cases.good(what, "the-end-record", record("", b"")[:32], {"name_len": 0, "object_len": 0, "checksum": 0})
    cases.bad(what, "one-byte-short", data[:-1], "truncated")
    cases.bad(what, "other-magic", patched(data, 0, b"p", 28), "magic")
    cases.bad(what, "first-reserved-bytes-are-zero", patched(data, 7, b"\1", 28), "invalid")
    cases.bad(what, "second-reserved-bytes-are-zero", patched(data, 27, b"\1", 28), "invalid")
    cases.bad(what, "name-above-its-limit", patched(data, 4, struct.pack("<H", 256), 28), "limit")
    cases.bad(what, "object-above-its-limit", patched(data, 8, struct.pack("<Q", PACK_MAX + 1), 28), "limit")
    cases.bad(what, "wrong-checksum", flipped(data, 9), "checksum")

    what = "directory"
    def directory(*objects):
        return cbor({1: [dict(zip((1, 2, 3), value)) for value in objects]})
    def ok(*objects):
        return {"objects": [dict(zip(("name", "offset", "len"), value)) for value in objects]}
    pair = [("config/00000001", 111, 3), (f"packs/{OBJECT[0]:02x}/{OBJECT.hex()}", 200, 0)]
    cases.good(what, "no-objects", directory(), ok(), end_offset=64)
    cases.good(what, "two-objects-up-to-the-end", directory(*pair), ok(*pair), end_offset=200)
    later = ("streams/00/ab_c-1.segment", 64, 1)
    cases.good(what, "a-name-of-a-later-version", directory(later), ok(later), end_offset=65)
    cases.bad(what, "object-behind-the-end", directory(*pair), "invalid", end_offset=199)
    cases.bad(what, "offset-beyond-all-bounds", directory((pair[0][0], HUGE, 3)), "invalid", end_offset=200)
    cases.bad(what, "a-name-twice", directory(pair[0], pair[1], pair[0]), "invalid", end_offset=200)
    for name, text in (("leads-up", "packs/../../etc/passwd"), ("is-absolute", "/etc/passwd"), ("has-one-part", "config"),
                       ("has-an-empty-part", "a//b"), ("is-hidden", "packs/.b"), ("has-upper-case", "a/B"),
                       ("has-a-backslash", "a/b\\c"), ("is-empty", ""), ("has-256-bytes", "a/" + "b" * 254)):
        cases.bad(what, f"name-{name}", directory((text, 64, 0)), "invalid", end_offset=64)
    cases.bad(what, "more-objects-than-bytes", b"\xa1\x01" + head(4, 1 << 60), "invalid", end_offset=64)

    what = "single-file-trailer"
    good = file_trailer(1000, 50)
    cases.good(what, "end-record-before-it", good, {"end_offset": 1000, "directory_len": 50}, file_len=1114)
    for name, data, file_len, error in (
            ("one-byte-short", good[:-1], 1114, "truncated"), ("wrong-checksum", flipped(good, 0), 1114, "checksum"),
            ("other-magic", flipped(good, 31), 1114, "magic"),
            ("reserved-bytes-are-zero", patched(good, 23, b"\1", 24), 1114, "invalid"),
            ("file-is-shorter", good, 1113, "invalid"), ("file-is-longer", good, 1115, "invalid"),
            ("offset-beyond-all-bounds", file_trailer(HUGE, 50), 113, "invalid"),
            ("directory-above-its-limit", file_trailer(64, BODY_MAX + 1), BODY_MAX + 129, "limit")):
        cases.bad(what, name, data, error, file_len=file_len)


def names(cases):
    what = "object-name"
    pack, key = f"packs/{OBJECT[0]:02x}/{OBJECT.hex()}", f"keys/{KEY.hex()}-0000abcd"
    for name, text in (("config", "config/00000012"), ("wrapped-key", key + ".age"), ("plain-key", key + ".key"),
                       ("pack", pack), ("index", f"indexes/{OBJECT.hex()}"), ("backup", f"backups/{OBJECT.hex()}"),
                       ("lease-of-chunks", f"writers/chunks-{OBJECT.hex()}-00000000"),
                       ("lease-of-changes", f"writers/changes-{OBJECT.hex()}-ffffffff"),
                       ("prune-list", f"prunes/{OBJECT.hex()}"),
                       ("voucher", f"vouchers/{OBJECT.hex()}")):
        cases.good(what, name, text, {"name": text})
    for name, text in (
            ("empty", ""), ("config-of-seven-digits", "config/0000012"), ("config-0", "config/00000000"),
            ("config-with-sign", "config/+0000012"), ("pack-in-another-folder", f"packs/zz/{OBJECT.hex()}"),
            ("upper-case", f"indexes/{OBJECT.hex().upper()}"), ("one-digit-short", pack[:-1]), ("a-byte-follows", pack + "0"),
            ("key-of-another-kind", key + ".gpg"), ("unknown-folder", f"streams/{OBJECT.hex()}"), ("leads-up", "backups/../x"),
            ("lease-of-other-work", f"writers/rows-{OBJECT.hex()}-00000000"),
            ("lease-without-a-beat", f"writers/chunks-{OBJECT.hex()}"),
            ("lease-with-a-short-beat", f"writers/chunks-{OBJECT.hex()}-0"),
            ("in-a-folder", f"a/backups/{OBJECT.hex()}")):
        cases.bad(what, name, text, "invalid")


def all_cases():
    from stream_cases import WRITERS
    cases = Cases()
    for write in (objects, configs, leases, keys, frames, tuple_columns, parted_columns, packs, manifests, entries,
                  single_files, names, *WRITERS):
        write(cases)
    return cases.files
