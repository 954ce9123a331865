"""Whole repositories: sealed, not encrypted, and in one file; and how each check fails.

`<name>/` and `<name>.pgkeep` are good repositories, `<name>.identity` what opens them,
`expected.json` what is in them. `bad/<rule>.json` says what to change in the sealed
repository (object name -> new bytes in hexadecimal, or null for an object that is gone)
and a piece of what a reader must say; `good/<rule>.json` likewise, and the reader must
find what it finds in the repository as it was.
"""

import hashlib
import json
import struct
import zlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from encode import (AES, CHACHA, COLUMNS, CONFIG, ENTRIES, INDEX, LIST, MANIFEST, NONE, RAW, ROWS, SEALED,
                    SECRETS_ID, TUPLE_COLUMNS, VOUCHER, ZSTD, age_encrypt, bech32, cbor, chunk_id, compress, crc,
                    footer_of, frame, frame_header, frame_key, indexed_pack, inner_header, key_content, leaving_out, made,
                    manifest_body, pack, public, reference, signed_object, single_file, tuples)

REPOSITORY = made("repository id", 16)
OWNER, WRITER, STRANGER = made("owner seed", 32), made("writer seed", 32), made("stranger seed", 32)
NAMING, CUT = made("naming key", 32), made("cut key", 32)
AGE_SECRET = made("age secret", 32)
AGE_PUBLIC = X25519PrivateKey.from_private_bytes(AGE_SECRET).public_key().public_bytes(
    Encoding.Raw, PublicFormat.Raw)
FIRST, SECOND = made("backup 1", 16), made("backup 2", 16)

CLIENTS = (b"1\tAda\t\\N\n" b"2\tBob \"the builder\"\tone\\ntwo\\\\three\\tfour\n" b"3\t\t,comma\n"
           b"4\tH\xc3\xa9ron\t\\\\N\n")
CLIENTS_CSV = ('1,Ada,\n2,"Bob ""the builder""","one\ntwo\\three\tfour"\n3,"",",comma"\n'
               '4,Héron,\\N\n')
LOG = [f"{n}\t{'x' * (n % 7)}\n".encode() for n in range(40)]
PIECES = b"16400\t0\t\\\\x00ff\n16400\t9\t\\\\x01\n"
# Name, type as SQL and OID of the type of the columns of binary rows.
BINARY_COLUMNS = [
    ("n", "integer", 23), ("id", "bigint", 20), ("at", "timestamp with time zone", 1184), ("day", "date", 1082),
    ("price", "numeric", 1700), ("ratio", "double precision", 701), ("part", "real", 700), ("ok", "boolean", 16),
    ("note", "text", 25), ("tags", "text[]", 1009), ("net", "inet", 869), ("key", "uuid", 2950)]
TAGS = struct.pack(">iiIii", 1, 1, 25, 3, 1) + b"\0\0\0\1a" + b"\0\0\0\4null" + b"\xff\xff\xff\xff"
BINARY_ROWS = [
    [struct.pack(">i", n), struct.pack(">q", 1000 * n), struct.pack(">q", 757_382_400_000_000 + 1_500_000 * n),
     struct.pack(">i", 8766 + n), struct.pack(">HhHH3H", 3, 1, 0x4000, 2, n, 2345, 6700), struct.pack(">d", n / 10),
     struct.pack(">f", n / 10), bytes([n % 2]), note, None if n % 2 else TAGS, bytes([2, 24, 0, 4, 10, 0, n, 0]),
     bytes([*range(15), n])]
    for n, note in enumerate((b"", b"plain", b'say "hi"\tto, all\n', None, b"\\N"), 1)]
BINARY = tuples(BINARY_ROWS)
BINARY_CSV = "".join(
    f"{n},{n}000,2024-01-01 00:00:0{second}+00,2024-01-0{n + 1},-{n}2345.67,0.{n},0.{n},{rest},"
    f"10.0.{n}.0/24,00010203-0405-0607-0809-0a0b0c0d0e0{n}\n"
    for n, second, rest in (
        (1, "1.5", 't,"",'), (2, "3", 'f,plain,"{a,""null"",NULL}"'), (3, "4.5", 't,"say ""hi""\tto, all\n",'),
        (4, "6", 'f,,"{a,""null"",NULL}"'), (5, "7.5", "t,\\N,")))
TABLES = {"None.BLOBS": "16400,0,\\x00ff\n16400,9,\\x01\n", "app.clients": CLIENTS_CSV,
          "app.Nothing \"here\"": "\n\n\n",
          "app.log": "".join(f"{n},{'x' * (n % 7) or chr(34) * 2}\n" for n in range(40)),
          "app.empty": "", "app.binary": BINARY_CSV}


def number_id(number):
    return number.to_bytes(16, "big")


def key_name(key_id, data, suffix):
    return f"keys/{key_id.hex()}-{zlib.crc32(data):08x}.{suffix}"


def pack_name(pack_id):
    return f"packs/{pack_id[0]:02x}/{pack_id.hex()}"


class Run:
    """One run of a writer: a data key and a pack that fills."""

    def __init__(self, name, suite):
        self.name, self.suite, self.frames = name, suite, []
        self.key_id, self.data_key = made(f"{name} key id", 16), made(f"{name} data key", 32)
        self.pack_id = made(f"{name} pack", 16)

    def seal(self, frame_type, plain, flags=0, codec=ZSTD):
        suite = NONE if frame_type == LIST else self.suite
        secret = {} if suite == NONE else {
            "suite": suite, "data_key": self.data_key, "key_id": self.key_id,
            "nonce": made(f"{self.name} nonce {frame_type} {len(self.frames)}", 12)}
        return frame(NAMING, frame_type, plain, codec=codec, flags=flags, **secret)

    def chunk(self, frame_type, plain, flags=0, codec=ZSTD):
        self.frames.append(self.seal(frame_type, plain, flags, codec))
        return reference(chunk_id(NAMING, frame_type, flags, plain), flags)

    def keys(self, encrypted):
        if not encrypted:
            return {}
        data = age_encrypt(AGE_PUBLIC, key_content(1, REPOSITORY, self.key_id, self.data_key),
                           f"{self.name} age")
        return {key_name(self.key_id, data, "age"): data}


def stream(frame_type, references, lists=None):
    if lists is None:
        return {1: frame_type, 2: len(references), 3: b"".join(references), 4: []}
    return {1: frame_type, 2: len(references), 3: b"", 4: [item[:32] for item in lists]}


def entries(binary=()):
    """All entries; `binary` says what is else of the data of the table with binary rows, None what it lacks."""
    def column(name, type_name):
        return {1: name, 2: type_name, 3: False, 4: "", 5: ""}
    def table(name, columns, position):
        quoted = '"' + name.replace('"', '""') + '"'
        sql = ", ".join(f"{c} {t}" for c, t in columns)
        return {1: "TABLE", 2: 0, 3: "app", 4: name, 5: f"CREATE TABLE app.{quoted} ({sql});",
                6: f"DROP TABLE app.{quoted};", 7: [0],
                9: {1: [column(*c) for c in columns], 2: "d", 3: [], 4: False, 5: False, 6: []}}
    def rows(name, columns, belongs_to, stream_number, encoding, count, size):
        return {1: "TABLE DATA", 2: 1, 3: "app", 4: name, 5: "", 7: [belongs_to], 8: belongs_to,
                10: {1: stream_number, 2: encoding, 3: [c for c, _ in columns], 4: count, 5: size}}
    clients = [("id", "integer"), ("name", "text"), ("note", "text")]
    log = [("n", "integer"), ("line", "text")]
    out = [{1: "SCHEMA", 2: 0, 4: "app", 5: "CREATE SCHEMA app;", 6: "DROP SCHEMA app;", 7: []}]
    for name, columns, number, encoding, count, size in (
            ("clients", clients, 1, 1, 4, len(CLIENTS)), ('Nothing "here"', [], 2, 1, 3, 3),
            ("log", log, 3, 1, 40, sum(map(len, LOG))), ("empty", log, 4, 1, 0, 0),
            ("later", log, 4, 3, 0, 0),
            ("binary", [column[:2] for column in BINARY_COLUMNS], 5, 2, len(BINARY_ROWS), len(BINARY))):
        out.append(table(name, columns, 0))
        out.append(rows(name, columns, len(out) - 1, number, encoding, count, size))
    data = out[-1][10] | {8: [oid for _, _, oid in BINARY_COLUMNS]} | dict(binary)
    out[-1][10] = {key: value for key, value in data.items() if value is not None}
    out.append({1: "BLOBS", 2: 1, 4: "BLOBS", 5: "", 7: [],
                10: {1: 6, 2: 1, 3: ["loid", "offset", "data"], 4: 2, 5: len(PIECES)}})
    out.append({1: "A KIND OF LATER", 2: 2, 4: "x", 5: "SELECT 1;", 7: [0]})
    return out


def backup(run, backup_id, streams, encrypted, at, **changes):
    clear = {1: backup_id, 2: [], 3: 1, 4: made("series", 16), 5: at, 6: at + 5_000_000, 7: 0x16B374D848,
             8: "vectors", 9: [{1: "why", 2: "deploy"}], 10: {n: n for n in range(1, 8)},
             11: [run.key_id] if encrypted else [], 12: streams}
    database = {1: "shop", 2: "UTF8", 3: "739:742:739", 4: 0x16B374D848, 5: 0} | changes.get("database", {})
    sealed = {1: [database], 2: 7_000_000_000_000_000_000, 3: 180004, 4: 1, 5: "127.0.0.1",
              6: ["skipped: role"], 7: []}
    clear |= changes.get("clear", {})
    sealed |= changes.get("sealed", {})
    body = manifest_body(cbor(clear), changes.get("frame") or run.seal(SEALED, cbor(sealed)))
    return signed_object(MANIFEST, changes.get("repository", REPOSITORY), changes.get("id", backup_id), body,
                         changes.get("seed", WRITER))


def settings(encrypted, seed=OWNER, number=1, **changes):
    config = {1: 1_700_000_000_000_000, 2: [], 3: encrypted,
              4: [bech32("age", AGE_PUBLIC)] if encrypted else [],
              5: [{1: public(WRITER), 2: "héron"}], 6: {1: False}} | changes.get("config", {})
    return signed_object(CONFIG, changes.get("repository", REPOSITORY), number_id(changes.get("id", number)),
                         cbor(config), seed)


class Repository:
    """Two backups: the second finds chunks of the first."""

    def __init__(self, encrypted):
        first, second = (Run("first", AES if encrypted else NONE), Run("second", CHACHA if encrypted else NONE))
        all_entries = b"".join(map(cbor, entries()))
        half = len(all_entries) // 2
        at = 1_700_000_000_000_000
        self.encrypted, self.first, self.second = encrypted, first, second
        # An entry goes on in the next chunk, and so does a row of the log.
        definition = stream(ENTRIES, [first.chunk(ENTRIES, all_entries[:half], 1), first.chunk(ENTRIES, all_entries[half:])])
        self.clients = stream(ROWS, [first.chunk(ROWS, CLIENTS[:10], 0, RAW), first.chunk(ROWS, CLIENTS[10:])])
        nothing = stream(ROWS, [first.chunk(ROWS, b"\n\n\n")])
        parts = [first.chunk(ROWS, b"".join(LOG[n:n + 2]), 0, COLUMNS if n % 4 else ZSTD) for n in range(0, 38, 2)]
        parts += [first.chunk(ROWS, LOG[38] + LOG[39][:1], 1), first.chunk(ROWS, LOG[39][1:])]
        lists = [first.chunk(LIST, b"".join(parts[:12])), first.chunk(LIST, b"".join(parts[12:]), 0, RAW)]
        log = stream(ROWS, parts, lists)
        # The third row goes on in the next chunk.
        two, three, four = (len(tuples(BINARY_ROWS[:count])) for count in (2, 3, 4))
        binary = stream(ROWS, [
            first.chunk(ROWS, BINARY[:two], 0, TUPLE_COLUMNS), first.chunk(ROWS, BINARY[two:three - 60], 1),
            first.chunk(ROWS, BINARY[three - 60:four]), first.chunk(ROWS, BINARY[four:], 0, TUPLE_COLUMNS)])
        objects = stream(ROWS, [first.chunk(ROWS, PIECES)])
        # Frames and streams of a type that comes later are passed over.
        later = stream(200, [first.chunk(200, b"later")])
        streams = [definition, self.clients, nothing, log, stream(ROWS, []), binary, objects, later]
        manifest = backup(first, FIRST, streams, encrypted, at)
        self.streams = [definition, stream(ROWS, [second.chunk(ROWS, CLIENTS)])] + streams[2:]
        # Chunks of which some rows are left out.
        self.more_clients = second.chunk(ROWS, b"8\tstale\t\\N\n" + CLIENTS + b"9\tstale\t\\N\n" * 2, 0, COLUMNS)
        self.more_binary = second.chunk(ROWS, tuples(BINARY_ROWS[:2]) + BINARY, 0, TUPLE_COLUMNS)
        newer = backup(second, SECOND, self.streams, encrypted, at + 86_400_000_000)
        secrets = key_content(2, REPOSITORY, SECRETS_ID, NAMING, CUT)
        suffix = "age" if encrypted else "key"
        if encrypted:
            secrets = age_encrypt(AGE_PUBLIC, secrets, "secrets age")
        packs = {run.pack_id: pack(REPOSITORY, run.pack_id, run.frames) for run in (first, second)}
        index_id = made("index", 16)
        index = signed_object(INDEX, REPOSITORY, index_id, indexed_pack(
            first.pack_id, len(packs[first.pack_id]), footer_of(first.frames)), WRITER)
        self.objects = {"config/00000001": settings(encrypted),
                        key_name(SECRETS_ID, secrets, suffix): secrets}
        self.objects |= first.keys(encrypted) | second.keys(encrypted)
        self.objects |= {pack_name(pack_id): data for pack_id, data in packs.items()}
        self.objects |= {f"indexes/{index_id.hex()}": index, f"backups/{FIRST.hex()}": manifest,
                         f"backups/{SECOND.hex()}": newer}

    def name(self, prefix, part=""):
        return next(name for name in self.objects if name.startswith(prefix) and part in name)


def rows_left_out(r, other):
    """Backups that refer to chunks without some of their rows."""
    def refer(number, *references):
        streams = [dict(value) for value in r.streams]
        streams[number] = stream(streams[number][1], references)
        at = 1_700_086_400_000_000
        return other(clear={5: at, 6: at + 5_000_000, 12: streams})
    runs = bytes([0, 1, 4, 2])
    yield "good", "rows-left-out", refer(1, leaving_out(r.more_clients, runs)), ""
    yield "good", "binary-rows-left-out", refer(5, leaving_out(r.more_binary, bytes([0, 2]))), ""
    # The table has four rows: each half of a chunk is referred to by itself.
    yield "good", "a-chunk-referred-to-twice", refer(
        1, leaving_out(r.more_clients, bytes([0, 1, 1, 5])), leaving_out(r.more_clients, bytes([0, 2, 3, 2]))), ""
    yield "bad", "rows-left-out-that-are-not-there", refer(1, leaving_out(r.more_clients, bytes([0, 1, 4, 3]))), "left out"
    yield "bad", "fewer-rows-left-out-than-the-backup-says", refer(1, leaving_out(r.more_clients, bytes([0, 1]))), "rows"


def identity(encrypted):
    text = (f"# made for the vectors\n# pgkeep repository: {REPOSITORY.hex()}\n"
            f"# pgkeep owner: {public(OWNER).hex()}\n# pgkeep owner secret: {OWNER.hex()}\n")
    if encrypted:
        text += bech32("age-secret-key-", AGE_SECRET).upper() + "\n"
    return text.encode()


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def changes(r):
    """What to change in the sealed repository: (good or bad, rule, objects, what is said)."""
    objects = r.objects
    config, newest, index = "config/00000001", f"backups/{SECOND.hex()}", r.name("indexes/")
    secrets, pack_1, pack_2 = r.name("keys/", SECRETS_ID.hex()), pack_name(r.first.pack_id), pack_name(r.second.pack_id)
    data_key = r.name("keys/", r.second.key_id.hex())
    def other(**kind):
        return {newest: backup(r.second, SECOND, r.streams, True, 0, **kind)}
    def rewrapped(key_id, content, label):
        data = age_encrypt(AGE_PUBLIC, content, label)
        return {key_name(key_id, data, "age"): data}
    yield "good", "no-index", {index: None}, ""
    yield "good", "index-of-a-pack-that-is-gone", {"indexes/" + "00" * 16: signed_object(
        INDEX, REPOSITORY, bytes(16), indexed_pack(bytes(16), 200, footer_of([])), WRITER)}, ""
    yield "good", "names-of-later-versions-and-unfinished-files", {
        "streams/00/x": b"x", "packs/.partial": b"x", "config/.partial": b"x"}, ""
    yield "good", "key-wrapped-twice", rewrapped(SECRETS_ID, key_content(2, REPOSITORY, SECRETS_ID, NAMING, CUT), "again"), ""
    copy = Run("copy", AES)
    copy.frames = list(r.first.frames)
    yield "good", "a-damaged-copy-beside-a-good-one", {
        pack_1: flip(objects[pack_1], 64 + 97),
        pack_name(copy.pack_id): pack(REPOSITORY, copy.pack_id, copy.frames)}, ""
    yield "good", "backup-of-a-later-kind-beside-it", {f"backups/{made('later', 16).hex()}": backup(
        r.second, made("later", 16), [], True, 0, clear={2: ["time travel"]})}, ""

    yield from revocations(r)
    yield from binary_rows(r, other)
    yield from rows_left_out(r, other)

    yield "bad", "no-config", {config: None}, "no config"
    yield "bad", "config-by-a-stranger", {config: settings(True, STRANGER)}, "not signed by the owner"
    yield "bad", "newer-config-by-a-stranger", {"config/00000002": settings(True, STRANGER, 2)}, "not signed by the owner"
    yield "bad", "older-config-under-a-new-number", {"config/00000002": objects[config]}, "repository or id"
    yield "bad", "config-of-another-repository", {config: settings(True, repository=bytes(16))}, "repository or id"
    yield "bad", "config-with-unknown-feature", {config: settings(True, config={2: ["time travel"]})}, "time travel"
    yield "bad", "config-changed-in-one-bit", {config: flip(objects[config], 70)}, "checksum"
    yield "bad", "config-signature-changed", {config: flip(objects[config], len(objects[config]) - 1)}, "signature"
    yield "bad", "no-secrets", {secrets: None}, "repository secrets"
    yield "bad", "secrets-changed", {secrets: flip(objects[secrets], len(objects[secrets]) - 1)}, "checksum"
    yield "bad", "secrets-of-another-repository", {secrets: None} | rewrapped(
        SECRETS_ID, key_content(2, bytes(16), SECRETS_ID, NAMING, CUT), "other"), "repository or id"
    stranger = X25519PrivateKey.from_private_bytes(made("stranger age", 32)).public_key().public_bytes(
        Encoding.Raw, PublicFormat.Raw)
    sealed_for_other = age_encrypt(stranger, key_content(2, REPOSITORY, SECRETS_ID, NAMING, CUT), "stranger")
    yield "bad", "secrets-wrapped-for-somebody-else", {
        secrets: None, key_name(SECRETS_ID, sealed_for_other, "age"): sealed_for_other}, "cannot be opened"
    yield "bad", "data-key-gone", {data_key: None}, r.second.key_id.hex()
    yield "bad", "data-key-of-another-name", {data_key: None} | rewrapped(
        r.second.key_id, key_content(1, REPOSITORY, r.first.key_id, r.first.data_key), "swapped"), "repository or id"
    yield "bad", "wrong-data-key", {data_key: None} | rewrapped(
        r.second.key_id, key_content(1, REPOSITORY, r.second.key_id, bytes(32)), "wrong"), "seal"
    yield "bad", "manifest-by-a-stranger", other(seed=STRANGER), "not signed by a writer"
    yield "bad", "manifest-by-the-owner", other(seed=OWNER), "not signed by a writer"
    yield "bad", "manifest-of-another-repository", other(repository=bytes(16)), "repository or id"
    yield "bad", "manifest-under-another-name", {newest: objects[f"backups/{FIRST.hex()}"]}, "repository or id"
    yield "bad", "manifest-with-another-id-inside", other(clear={1: FIRST}), "id"
    yield "bad", "manifest-truncated", {newest: objects[newest][:-1]}, "truncated"
    yield "bad", "manifest-is-a-config", {newest: signed_object(CONFIG, REPOSITORY, SECOND, b"\xa0", WRITER)}, "type"
    yield "bad", "manifest-needs-an-unknown-feature", other(clear={2: ["time travel"]}), "time travel"
    yield "bad", "manifest-of-a-reserved-kind", other(clear={3: 2}), "kind"
    yield "bad", "entries-stream-out-of-range", other(database={5: 99}), "stream"
    yield "bad", "no-database", other(sealed={1: []}), "database"
    yield "bad", "rows-taken-for-entries", other(database={5: 1}), "stream"
    wrong = [dict(value) for value in r.streams]
    wrong[1] = {1: ROWS, 2: 1, 3: reference(made("nowhere", 32)), 4: []}
    yield "bad", "chunk-that-is-nowhere", other(clear={12: wrong}), made("nowhere", 32).hex()
    swapped = [dict(value) for value in r.streams]
    swapped[1] = r.streams[2]
    yield "bad", "stream-of-another-table", other(clear={12: swapped}), "fields"
    flagged = [dict(value) for value in r.streams]
    flagged[1] = {1: ROWS, 2: 2, 3: r.clients[3][:32] + b"\1\0\0\0" + r.clients[3][36:], 4: []}
    yield "bad", "reference-with-another-flag", other(clear={12: flagged}), "flags"
    typed = [dict(value) for value in r.streams]
    typed[1] = r.streams[0] | {1: ROWS}
    yield "bad", "entries-taken-for-rows", other(clear={12: typed}), "type"
    counted = [dict(value) for value in r.streams]
    counted[3] = r.streams[3] | {2: 22}
    yield "bad", "lists-with-fewer-references-than-counted", other(clear={12: counted}), "chunks"
    yield "bad", "pack-gone", {pack_2: None}, "chunk"
    yield "bad", "pack-of-another-repository", {pack_2: pack(bytes(16), r.second.pack_id, r.second.frames)}, "repository or id"
    yield "bad", "pack-under-another-name", {pack_2: pack(REPOSITORY, r.first.pack_id, r.second.frames)}, "repository or id"
    yield "bad", "chunk-changed-in-one-bit", {pack_2: flip(objects[pack_2], 64 + 96 + 10)}, "checksum"
    whole = r.second.frames[0]
    changed = flip(whole, 96 + 10)
    changed = changed[:88] + struct.pack("<I", zlib.crc32(changed[96:]))
    changed += struct.pack("<I", zlib.crc32(changed)) + flip(whole, 106)[96:]
    yield "bad", "chunk-changed-and-checksums-made-to-fit", {pack_2: pack(REPOSITORY, r.second.pack_id, [changed])}, "seal"
    lying = frame(NAMING, ROWS, b"5\tEve\tgotcha\n")
    lying = lying[:32] + whole[32:64] + lying[64:92]
    lying += struct.pack("<I", zlib.crc32(lying)) + frame(NAMING, ROWS, b"5\tEve\tgotcha\n")[96:]
    yield "bad", "chunk-replaced-by-one-that-is-not-sealed", {pack_2: pack(REPOSITORY, r.second.pack_id, [lying])}, "chunk id"
    for rule, plain_len, body in (("zstd-longer-than-it-says", 10, None),
                                  ("zstd-shorter-than-it-says", 1000, None),
                                  ("zstd-that-is-none", 62, b"hello"),
                                  ("zstd-with-bytes-behind-it", len(CLIENTS), compress(ZSTD, CLIENTS) + b"x")):
        inner = inner_header(ZSTD, 0, plain_len) + (compress(ZSTD, CLIENTS) if body is None else body)
        chunk, nonce = whole[32:64], whole[64:76]
        header = frame_header(ROWS, CHACHA, len(inner) + 16, r.second.key_id, chunk, nonce, bytes(4))
        payload = ChaCha20Poly1305(frame_key(r.second.data_key, CHACHA, ROWS, chunk)).encrypt(nonce, inner, header[:88])
        header = frame_header(ROWS, CHACHA, len(payload), r.second.key_id, chunk, nonce, crc(payload))
        yield "bad", rule, {pack_2: pack(REPOSITORY, r.second.pack_id, [header + payload])}, "zstd"


def revocations(r):
    """The writer was revoked, and what it had signed is vouched for, or is not."""
    newest, name = f"backups/{SECOND.hex()}", made("voucher", 16)
    digest = {path: hashlib.sha256(r.objects[path][:-104]).digest()[:16]
              for path in r.objects if path.startswith(("backups/", "indexes/"))}
    def revoked(vouchers, **more):
        former = {1: public(WRITER), 2: "héron", 3: 1_700_000_000_000_000, 4: vouchers}
        return {"config/00000002": settings(True, number=2, config={5: [], 7: [former]} | more)}
    def voucher(digests, seed=OWNER, writer=WRITER, own_id=name):
        body = cbor({1: public(writer), 2: sorted(digests)})
        return {f"vouchers/{name.hex()}": signed_object(VOUCHER, REPOSITORY, own_id, body, seed)}
    every = list(digest.values())
    config = revoked([name])
    yield "good", "former-writer-with-a-voucher", config | voucher(every), ""
    yield "good", "voucher-that-no-config-names", voucher([]), ""
    yield "bad", "former-writer-without-vouchers", revoked([]), "not vouched for"
    yield "bad", "former-writer-whose-voucher-is-gone", config, "is not there"
    yield "bad", "former-writer-with-a-voucher-for-others", config | voucher(
        [value for path, value in digest.items() if path != newest]), "not vouched for"
    yield "bad", "voucher-by-the-writer-itself", config | voucher(every, seed=WRITER), "not signed by the owner"
    yield "bad", "voucher-for-another-writer", config | voucher(every, writer=STRANGER), "another writer"
    yield "bad", "voucher-under-another-name", config | voucher(every, own_id=bytes(16)), "repository or id"
    yield "bad", "writer-and-former-writer-at-once", revoked([name], **{}) | voucher(every) | {
        "config/00000002": settings(True, number=2, config={7: [{1: public(WRITER), 2: "", 3: 0, 4: [name]}]})}, "not valid"


def binary_rows(r, other):
    """Other binary rows, or something else is said of them."""
    def bad(rule, says, rows=BINARY, data=()):
        run, streams = Run(rule, AES), list(r.streams)
        streams[0] = stream(ENTRIES, [run.chunk(ENTRIES, b"".join(map(cbor, entries(data))))])
        streams[5] = stream(ROWS, [run.chunk(ROWS, rows)])
        return "bad", rule, other(clear={12: streams}) | run.keys(True) | {
            pack_name(run.pack_id): pack(REPOSITORY, run.pack_id, run.frames)}, says
    types = [oid for _, _, oid in BINARY_COLUMNS]
    yield bad("binary-rows-without-types", "type for each column", data={8: None})
    yield bad("binary-rows-with-a-type-less", "type for each column", data={8: types[:-1]})
    yield bad("binary-rows-of-a-type-that-is-not-known", "type 600 is not known", data={8: [600] + types[1:]})
    yield bad("binary-rows-in-text", "COPY text have types", data={2: 1})
    yield bad("binary-rows-more-than-said", "the backup says 4 rows", data={4: 4})
    yield bad("binary-rows-longer-than-said", "bytes found", data={5: len(BINARY) - 1})
    yield bad("binary-row-with-a-field-less", "fields", tuples([BINARY_ROWS[0][:-1]]))
    yield bad("binary-row-of-minus-one-field", "-1 fields", BINARY + b"\xff\xff")
    yield bad("binary-row-without-an-end", "no end", BINARY[:-1])
    yield bad("binary-field-of-minus-two-bytes", "-2 bytes", BINARY[:2] + b"\xff\xff\xff\xfe" + BINARY[6:])
    yield bad("binary-value-of-another-length", "3 bytes instead of 4", tuples([[b"\0\0\1", *BINARY_ROWS[0][1:]]]))


def all_repositories():
    found = {}
    sealed, plain = Repository(True), Repository(False)
    for name, repository in (("sealed", sealed), ("plain", plain)):
        found |= {f"{name}/{path}": data for path, data in repository.objects.items()}
        found[f"{name}.identity"] = identity(repository.encrypted)
        order = ("config/", "keys/", "packs/", "indexes/", "backups/")
        objects = sorted(repository.objects.items(), key=lambda item: [item[0].startswith(p) for p in order][::-1])
        found[f"{name}.pgkeep"] = single_file(REPOSITORY, bytes(16), objects)
    expected = {
        "repository": REPOSITORY.hex(),
        "backups": [{"id": FIRST.hex(), "finished_at": 1_700_000_005_000_000},
                    {"id": SECOND.hex(), "finished_at": 1_700_086_405_000_000}],
        "database": "shop", "tables": TABLES, "not_read": ["app.later"]}
    found["expected.json"] = (json.dumps(expected, indent=1, ensure_ascii=False) + "\n").encode()
    for kind, rule, objects, says in changes(sealed):
        case = {"rule": rule.replace("-", " "), "says": says,
                "table": {"lists": "app.log", "binary": "app.binary"}.get(rule.split("-")[0], "app.clients"),
                "objects": {name: None if data is None else data.hex() for name, data in objects.items()}}
        path = f"{kind}/{rule}.json"
        assert path not in found, path
        found[path] = (json.dumps(case, indent=1, ensure_ascii=False) + "\n").encode()
    return found
