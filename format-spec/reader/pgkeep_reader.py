"""Reads pgkeep repositories: lists backups, writes a table's rows as CSV and its changes as JSON.

Written from FORMAT.md alone, to show that the text suffices: a folder or a single file,
sealed or not, with every check that the text asks for. It changes nothing, opens keys with
the age identity file, and knows rows in COPY text and COPY binary.

    pgkeep_reader.py REPOSITORY --identity FILE list
    pgkeep_reader.py REPOSITORY --identity FILE show BACKUP
    pgkeep_reader.py REPOSITORY --identity FILE csv BACKUP SCHEMA.TABLE > table.csv
    pgkeep_reader.py REPOSITORY --identity FILE changes STREAM SCHEMA.TABLE
"""

import argparse
import hashlib
import json
import os
import re
import struct
import sys
import zlib

import blake3
import pyrage
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import binary_values

PLAIN_MAX, STORED_MAX = 16 << 20, (16 << 20) + (64 << 10)
PACK_MAX, PACK_FRAMES_MAX = 1 << 30, 1 << 18
BODY_MAX, CLEAR_MAX, KEY_MAX = 512 << 20, 256 << 20, 1 << 20
NESTING_MAX, INLINE_MAX, OBJECTS_MAX, PARTIES_MAX = 16, 16, 1 << 20, 1024
VOUCHERS_MAX, DIGESTS_MAX, COLUMNS_MAX = 64, 1 << 20, 1664
# PostgreSQL has no value of more bytes.
VALUE_MAX = (1 << 30) - 1
CONFIG, PACK, INDEX, MANIFEST, SINGLE_FILE, SEGMENT = 1, 2, 3, 4, 5, 6
VOUCHER = 8
ROWS, ENTRIES, LIST, SEALED, FOOTER, CHANGES = 1, 2, 3, 4, 5, 6
ACTIONS = {1: "insert", 2: "update", 3: "delete", 4: "truncate"}
FRAME_TYPES, SECRETS_ID = {*range(1, 8), *range(128, 256)}, b"\xff" * 16
ZSTD, COLUMNS, TUPLE_COLUMNS = 1, 2, 3
# How many bytes more than the plain length what is under a codec may have.
HEADS_MAX = {ZSTD: 0, COLUMNS: 4 + 4 * COLUMNS_MAX, TUPLE_COLUMNS: 8 + 4 * COLUMNS_MAX}
PLANES, DIFFERENCES, SHORT, LONG, DICTIONARY, BY_LENGTH, PARTED, WORDS = range(1, 9)
ENTRIES_MAX, PARTS_MAX = 255, 254
COPY_TEXT, COPY_BINARY = 1, 2


class Refused(Exception):
    """Something that the text does not allow, or that is not there."""


def need(holds, message):
    if not holds:
        raise Refused(message)


def layout(what, form, data, at=0):
    """The fields of a table at an offset; reserved bytes (`x` in the form) must be zero."""
    piece = data[at:at + struct.calcsize(form)]
    need(len(piece) == struct.calcsize(form), f"{what} is truncated")
    fields = struct.unpack(form, piece)
    need(struct.pack(form, *fields) == piece, f"{what}: reserved bytes are not zero")
    return fields


def check_crc(what, data, found):
    need(zlib.crc32(data) == found, f"{what}: wrong checksum")


def cbor_item(data, at, depth=0):
    """Reads one item of deterministic CBOR; returns it and where it ends."""
    need(at < len(data), "structured value: truncated")
    major, argument, at = data[at] >> 5, data[at] & 31, at + 1
    need(argument <= 27, "structured value: indefinite length")
    if argument >= 24:
        size = 1 << argument - 24
        need(size <= len(data) - at, "structured value: truncated")
        shortest = 24 if size == 1 else 1 << 4 * size
        argument, at = int.from_bytes(data[at:at + size], "big"), at + size
        need(argument >= shortest and major < 7, "structured value: a number is not in its shortest form")
    if major < 2:
        return (argument if major == 0 else -1 - argument), at
    if major > 5:
        need(major == 7 and 20 <= argument <= 22, "structured value: a type that is not used")
        return (False, True, None)[argument - 20], at
    need(argument * (2 if major == 5 else 1) <= len(data) - at, "structured value: truncated")
    if major < 4:
        value, at = bytes(data[at:at + argument]), at + argument
        try:
            return (value if major == 2 else value.decode("utf-8")), at
        except UnicodeDecodeError:
            raise Refused("structured value: a text is not UTF-8") from None
    need(depth < NESTING_MAX, "structured value: nested too deeply")
    items, last = ([] if major == 4 else {}), -1
    for _ in range(argument):
        value, at = cbor_item(data, at, depth + 1)
        if major == 4:
            items.append(value)
            continue
        need(type(value) is int and value > last, "structured value: keys are not ascending unsigned integers")
        last = value
        items[last], at = cbor_item(data, at, depth + 1)
    return items, at


# The tables of structured values, with the fields that this reader looks at: a range is an
# integer within it, a number that many bytes, a list an array, `?` a field that may be absent.
U32, U64, I64 = range(1 << 32), range(1 << 64), range(-1 << 63, 1 << 63)
CONFIG_MAP = {2: ("features", [str]), 3: ("encrypted", bool), 4: ("recipients", [str]),
              5: ("writers", [{1: ("key", 32)}]),
              7: ("former_writers?", [{1: ("key", 32), 4: ("vouchers", [16])}])}
VOUCHER_MAP = {1: ("writer", 32), 2: ("digests", [16])}
STREAM = {1: ("frame_type", range(256)), 2: ("chunks", U64), 3: ("inline", bytes), 4: ("lists", [32])}
CLEAR = {1: ("id", 16), 2: ("features", [str]), 3: ("kind", U64), 6: ("finished_at", I64),
         9: ("tags", [{1: ("key", str), 2: ("value", str)}]), 12: ("streams", [STREAM])}
SEALED_PART = {1: ("databases", [{1: ("name", str), 5: ("entries_stream", U32)}]), 3: ("server_version", U32)}
DATA = {1: ("stream", U32), 2: ("encoding", U64), 3: ("columns", [str]), 4: ("rows", U64), 5: ("bytes", U64),
        8: ("types?", [U32])}
ENTRY = {1: ("kind", str), 3: ("schema?", str), 4: ("name", str), 10: ("data?", DATA)}
CHANGE_CHUNK = {1: ("id", 32), 2: ("pack", U64), 3: ("offset", U64), 4: ("stored_len", U64), 5: ("continues", bool)}
SEGMENT_CLEAR = {
    1: ("id", 16), 2: ("features", [str]), 3: ("stream", 16), 4: ("first", U64), 5: ("last", U64),
    6: ("transactions", U64), 9: ("begins", bool), 12: ("keys", [16]), 13: ("packs", [16]),
    17: ("joins_from?", U64)}
COLUMN = {1: ("name", str), 4: ("is_key", bool)}
SEGMENT_SEALED = {
    1: ("begin?", {1: ("snapshot", str), 3: ("database", str), 5: ("encoding", str)}),
    2: ("transactions", [{1: ("xid", U64), 2: ("lsn", U64), 3: ("end", U64), 4: ("time", int)}]),
    3: ("relations", [{1: ("oid", U64), 2: ("schema", str), 3: ("name", str), 5: ("columns", [COLUMN])}]),
    4: ("runs", [{1: ("relation", U64), 2: ("chunks", [CHANGE_CHUNK]), 3: ("changes", U64), 4: ("bytes", U64)}]),
    5: ("rolled_back?", [U64])}
DIRECTORY = {1: ("objects", [{1: ("name", str), 2: ("offset", U64), 3: ("length", U64)}])}


def shaped(what, value, shape):
    """A value that has the types of a table; maps come back with names for keys."""
    if isinstance(shape, dict):
        need(isinstance(value, dict), f"{what} is not a map")
        out = {}
        for key, (name, inner) in shape.items():
            absent = value.get(key) is None
            need(not absent or name.endswith("?"), f"{what} has no field \"{name}\"")
            name = name.rstrip("?")
            out[name] = None if absent else shaped(f"{what}: {name}", value[key], inner)
        return out
    if isinstance(shape, list):
        need(isinstance(value, list), f"{what} is not an array")
        return [shaped(what, item, shape[0]) for item in value]
    if isinstance(shape, range):
        need(type(value) is int and value in shape, f"{what} is not valid")
    elif isinstance(shape, int):
        need(isinstance(value, bytes) and len(value) == shape, f"{what} is not {shape} bytes")
    else:
        need(type(value) is shape, f"{what} is of another type")
    return value


def structured(what, data, shape):
    value, end = cbor_item(data, 0)
    need(end == len(data), f"{what}: bytes follow its end")
    value = shaped(what, value, shape)
    need(not value.get("features"), f"{what} needs a newer reader, for: {value.get('features')}")
    return value


def sealed_part(data):
    """The sealed part of a manifest."""
    value = structured("sealed part", data, SEALED_PART)
    names = [database["name"] for database in value["databases"]]
    need(names and names == sorted(set(names)), "sealed part: no database, or they are not in order")
    return value


class Identity:
    """The identity file: whom to believe, and the secrets that open keys."""

    def __init__(self, text):
        self.repository = self.owner = None
        self.secrets = []
        for line in map(str.strip, text.splitlines()):
            if found := re.fullmatch(r"# pgkeep repository: ([0-9a-f]{32})", line):
                self.repository = bytes.fromhex(found[1])
            elif found := re.fullmatch(r"# pgkeep owner: ([0-9a-f]{64})", line):
                self.owner = bytes.fromhex(found[1])
            elif line and not line.startswith("#"):
                try:
                    self.secrets.append(pyrage.x25519.Identity.from_str(line))
                except pyrage.IdentityError:
                    raise Refused("the identity file holds a line that is no age secret") from None
        if self.owner is None:
            print("the identity file names no owner: anybody may have written what is read", file=sys.stderr)


class Store:
    """Where objects lie: name -> file, offset and length; of a folder or of a single file."""

    def __init__(self, path, identity):
        need(os.path.exists(path), f"there is no repository at {path!r}")
        self.objects = {}
        if not os.path.isdir(path):
            self.read_directory(path, identity)
        for folder, _, files in os.walk(path):
            for file in (os.path.join(folder, name) for name in files):
                self.objects[os.path.relpath(file, path).replace(os.sep, "/")] = file, 0, os.path.getsize(file)

    def read_directory(self, path, identity):
        size = os.path.getsize(path)
        self.objects[path] = path, 0, size
        repository, _, _ = object_header("single file", self.read(path, 0, 64), SINGLE_FILE)
        need(identity.repository in (None, repository), "the file is of another repository")
        trailer = self.read(path, max(size - 32, 0), 32)
        end, length, crc, magic = layout("single file trailer", "<QQ8xI4s", trailer)
        check_crc("single file trailer", trailer[:24], crc)
        need(magic == b"DNEK" and length <= BODY_MAX and end + 32 + length + 32 == size, "the single file is truncated")
        header, directory = self.read(path, end, 32), self.read(path, end + 32, length)
        magic, name_len, object_len, record_crc, crc = layout("end record", "<4sH2xQI8xI", header)
        check_crc("end record", header[:28], crc)
        check_crc("end record", directory, record_crc)
        need((magic, name_len, object_len) == (b"PGKR", 0, length), "the end record is not valid")
        objects = structured("directory", directory, DIRECTORY)["objects"]
        need(len(objects) <= OBJECTS_MAX, "directory: too many objects")
        for item in objects:
            name = item["name"]
            need(re.fullmatch(r"[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)+", name) and len(name) <= 255
                 and name not in self.objects, f"directory: {name!r} is no valid name, or twice")
            need(item["offset"] + item["length"] <= end, f"directory: {name} lies outside the records")
            self.objects[name] = path, item["offset"], item["length"]

    def names(self, pattern):
        return [name for name in sorted(self.objects) if re.fullmatch(pattern, name)]

    def read(self, name, offset, size):
        path, start, length = self.objects[name]
        with open(path, "rb") as file:
            file.seek(start + offset)
            return file.read(max(0, min(size, length - offset)))


def object_header(what, data, object_type):
    """Repository id, own id and body length."""
    magic, version, found, repository, own_id, body_len, crc = layout(what, "<8sHB5x16s16sQ4xI", data)
    need(magic == b"PGKEEP\x1a\n", f"{what} does not begin with its magic bytes")
    need(version == 1, f"{what} has format version {version}, this reader knows 1")
    check_crc(f"{what}: header", data[:60], crc)
    need(found == object_type, f"{what} is an object of another type")
    need(body_len <= BODY_MAX, f"{what}: the body length is above its limit")
    return repository, own_id, body_len


class FrameHeader:
    def __init__(self, what, data):
        self.raw = data[:96]
        (magic, version, self.frame_type, self.suite, self.stored_len, self.key, self.chunk, self.nonce,
         self.payload_crc, crc) = layout(what, "<4sBBBxI4x16s32s12s12xII", data)
        need(magic == b"PGKF", f"{what} does not begin with its magic bytes")
        need(version == 1, f"{what} has format version {version}, this reader knows 1")
        check_crc(f"{what}: header", self.raw[:92], crc)
        need(self.frame_type in FRAME_TYPES, f"{what}: unknown frame type {self.frame_type}")
        need(self.suite <= 2, f"{what} has an unknown suite")
        need((24 if self.suite else 8) <= self.stored_len <= STORED_MAX, f"{what}: the payload length is not valid")
        need(any(self.key) == (self.suite > 0) and (self.suite or not any(self.nonce)), f"{what}: suite and key differ")
        need(not self.suite or self.frame_type not in (LIST, FOOTER), f"{what}: a clear type is sealed")
        need(self.frame_type != FOOTER or not any(self.chunk), f"{what}: a footer names a chunk")


def plain_of(what, inner):
    """Flags and plain bytes of what was under the seal."""
    codec, flags, size = layout(what, "<BB2xI", inner)
    body = inner[8:]
    need(codec < 4 and flags < 2 and size <= PLAIN_MAX, f"{what}: codec, flags or plain length are not valid")
    if codec > 0:
        room = size + HEADS_MAX[codec]
        try:
            facts = zstandard.get_frame_parameters(body)
            need((size if codec == ZSTD else 0) <= facts.content_size <= room and not facts.dict_id
                 and facts.window_size <= PLAIN_MAX, f"{what}: its zstd frame is not of {size} plain bytes")
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=room, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise Refused(f"{what}: zstd: {error}") from None
    if codec == COLUMNS:
        body = rows_of(what, body)
    if codec == TUPLE_COLUMNS:
        body = tuples_of(what, body, size)
    need(len(body) == size, f"{what}: the body has another length than it says")
    return flags, body


def rows_of(what, laid):
    """Rows out of their columns."""
    (count,) = layout(what, "<H2x", laid)
    need(0 < count <= COLUMNS_MAX, f"{what}: {count} columns")
    columns, at = [], 4 + 4 * count
    for size in layout(what, f"<{count}I", laid, 4):
        columns.append(laid[at:at + size].split(b"\n"))
        at += size
    need(at == len(laid) and all(column[-1] == b"" and len(column) == len(columns[0]) for column in columns),
         f"{what}: columns do not have the same number of fields")
    return b"".join(b"\t".join(row) + b"\n" for row in zip(*(column[:-1] for column in columns)))


def tuples_of(what, laid, size):
    """Binary tuples out of their columns; they have so many bytes."""
    count, rows = layout(what, "<H2xI", laid)
    need(0 < count <= COLUMNS_MAX, f"{what}: {count} columns")
    least = rows * (2 + 4 * count)
    need(least <= size, f"{what}: {rows} rows of {count} columns are longer than the plain length")
    columns, at = [], 8
    for _ in range(count):
        values, at = column_of(what, laid, at, rows, size)
        columns.append(values)
        least += sum(map(len, filter(None, values)))
        need(least <= size, f"{what}: the columns are longer than the plain length")
    need(at == len(laid), f"{what}: bytes follow the columns")
    head, null = struct.pack(">H", count), b"\xff\xff\xff\xff"
    return b"".join(part for row in zip(*columns) for part in (head, *(
        null if value is None else struct.pack(">I", len(value)) + value for value in row)))


def column_of(what, laid, at, rows, size, is_whole=True):
    """The values of a column of tuples, None for NULL, and where the column ends; those that are put
    together have at most so many bytes."""
    form, width, nulls = layout(f"{what}: column", "<BBBx", laid, at)
    at += 4
    def take(size):
        nonlocal at
        need(size <= len(laid) - at, f"{what}: a column is truncated")
        at += size
        return laid[at - size:at]
    def numbers(count):
        return struct.unpack(f"<{count}I", take(4 * count))
    need(PLANES <= form <= WORDS, f"{what}: a column has the form {form}, which is not known")
    widths = {PLANES: range(1, 17), DIFFERENCES: (4, 8)}.get(form, (0,))
    need(width in widths and nulls <= (form in (PLANES, DIFFERENCES)), f"{what}: a column has a wrong width, or nulls")
    if form in (PLANES, DIFFERENCES):
        marks = take(rows) if nulls else bytes(rows)
        need(set(marks) <= {0, 1}, f"{what}: a field is neither NULL nor not")
        lengths = [None if mark else width for mark in marks]
        return cut(unfolded(take(width * marks.count(0)), width, form == DIFFERENCES), lengths), at
    if form in (SHORT, BY_LENGTH):
        lengths = [length - 1 if length else None for length in take(rows)]
        if form == SHORT:
            return cut(take(sum(filter(None, lengths))), lengths), at
        values = {None: iter([None] * rows), 0: iter([b""] * rows)}
        for length in sorted(set(filter(None, lengths))):
            count = lengths.count(length)
            values[length] = iter(cut(unfolded(take(length * count), length, False), [length] * count))
        return [next(values[length]) for length in lengths], at
    if form == LONG:
        lengths = [None if length == 0xFFFFFFFF else length for length in numbers(rows)]
        return cut(take(sum(filter(None, lengths))), lengths), at
    if form == DICTIONARY:
        (count,) = numbers(1)
        need(count <= ENTRIES_MAX, f"{what}: a dictionary of {count} values")
        entries = [take(length) for length in numbers(count)]
        which = take(rows)
        need(max(which, default=0) <= count, f"{what}: a value is not in its dictionary")
        return [entries[number - 1] if number else None for number in which], at
    need(is_whole, f"{what}: parts of values have parts themselves")
    if form == WORDS:
        counts = take(rows)
        words, at = column_of(what, laid, at, sum(counts), size, False)
        need(None not in words and sum(map(len, words)) <= size, f"{what}: a word is NULL, or too long")
        words = iter(words)
        return [b" ".join(next(words) for _ in range(count)) if count else None for count in counts], at
    part_count, number_count = numbers(2)
    need(part_count <= PARTS_MAX, f"{what}: {part_count} parts")
    heads = numbers(part_count)
    texts = [take(head >> 1) for head in heads]
    which = take(number_count)
    whole, at = column_of(what, laid, at, which.count(1), size, False)
    slots = []
    for number, head in enumerate(heads, 2):
        if head & 1:
            slots.append(None)
            continue
        values, at = column_of(what, laid, at, which.count(number), size, False)
        need(None not in values, f"{what}: a slot is NULL")
        slots.append(iter(values))
    return parted(what, which, iter(whole), texts, slots, rows, size), at


def cut(values, lengths):
    """Values of these lengths that lie one after another."""
    found, at = [], 0
    for length in lengths:
        found.append(None if length is None else bytes(values[at:at + length]))
        at += length or 0
    return found


def parted(what, which, whole, texts, slots, rows, size):
    """Values put together of their parts and slots."""
    values, numbers = [], iter(which)
    for _ in range(rows):
        number = next(numbers, None)
        if number in (0, 1):
            values.append(next(whole) if number else None)
            continue
        pieces = []
        while True:
            need(number is not None and 2 <= number < 2 + len(texts), f"{what}: a value has a part that is none")
            slot = slots[number - 2]
            pieces += [texts[number - 2]] if slot is None else [texts[number - 2], next(slot)]
            size -= sum(map(len, pieces[-2:] if slot else pieces[-1:]))
            need(size >= 0, f"{what}: a column is longer than the plain length")
            if slot is None:
                break
            number = next(numbers, None)
        values.append(b"".join(pieces))
    need(next(numbers, None) is None, f"{what}: a column has more values than rows")
    return values


def unfolded(planes, width, are_differences):
    """Values of one width out of their planes, of themselves or of their differences."""
    values, count = bytearray(len(planes)), len(planes) // width
    for place in range(width):
        values[place::width] = planes[place * count:(place + 1) * count]
    if not are_differences:
        return values
    form, number, numbers = f">{count}{'I' if width == 4 else 'Q'}", 0, []
    for folded in struct.unpack(form, values):
        number = (number + (folded >> 1 ^ -(folded & 1))) % (1 << 8 * width)
        numbers.append(number)
    return struct.pack(form, *numbers)


def references(data):
    """The chunks of a stream: id, flag of the inner header, and the runs of rows left out, None where none are."""
    found, at = [], 0
    while at < len(data):
        chunk, flags, _ = layout("chunk reference", "<32sB3s", data, at)
        need(flags < 4, "a chunk reference has an unknown flag")
        at, runs = at + 36, None
        if flags & 2:
            length, = layout("rows left out", "<I", data, at)
            at += 4 + length
            need(at <= len(data), "rows left out: truncated")
            runs = left_out(data[at - length:at])
        found.append((chunk, flags & 1, runs))
    return found


def left_out(data):
    """Runs of rows that are kept and left out in turn."""
    runs, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            need((byte or shift == 7) and (number or not runs), "rows left out: a run is not valid")
            runs.append(number)
            number = shift = 0
    need(not shift and runs and len(runs) % 2 == 0 and sum(runs) < 1 << 32, "rows left out: runs are not valid")
    return runs


def kept(plain, runs, encoding):
    """The whole rows of a chunk without those that are left out."""
    ends, at = [], 0
    while at < len(plain):
        if encoding == COPY_TEXT:
            at = plain.find(b"\n", at) + 1
            need(at, "rows left out: a row has no end")
        else:
            fields, = layout("row", ">h", plain, at)
            at += 2
            for _ in range(fields):
                length, = layout("row", ">i", plain, at)
                at += 4 + max(length, 0)
        ends.append(at)
    starts, row, out = [0] + ends, 0, []
    need(sum(runs) <= len(ends), "rows are left out that are not there")
    for number, run in enumerate(runs + [len(ends) - sum(runs)]):
        if number % 2 == 0:
            out.append(plain[starts[row]:starts[row + run]])
        row += run
    return b"".join(out)


def footer_lines(what, data):
    """Chunk id and offset of each frame of a pack, and where the last one ends."""
    need(len(data) % 48 == 0 and len(data) // 48 <= PACK_FRAMES_MAX, f"{what}: lines are not whole or too many")
    found, end = [], 64
    for at in range(0, len(data), 48):
        chunk, frame_type, stored_len, offset = layout(what, "<32sB3xIQ", data, at)
        need(frame_type in FRAME_TYPES, f"{what}: unknown frame type {frame_type}")
        need(offset == end and stored_len <= STORED_MAX, f"{what}: frames do not lie back to back")
        end += 96 + stored_len
        found.append((chunk, offset))
    return found, end


class Repository:
    def __init__(self, path, identity):
        self.store, self.identity, self.repository = Store(path, identity), identity, identity.repository
        self.keys, self.chunks, self.writers, self.former, self.vouched = {}, {}, [], {}, {}
        configs = self.store.names("config/[0-9]{8}")
        need(configs, "there is no config: this is no repository")
        number = int(configs[-1][7:])
        config = structured("config", self.signed(configs[-1], CONFIG, number.to_bytes(16, "big")), CONFIG_MAP)
        need(number > 0 and max(len(config["recipients"]), len(config["writers"])) <= PARTIES_MAX
             and config["encrypted"] == bool(config["recipients"]), "the config is not valid")
        self.writers = [writer["key"] for writer in config["writers"]]
        former = config["former_writers"] or []
        self.former = {writer["key"]: writer["vouchers"] for writer in former}
        need(len(former) <= PARTIES_MAX and len({*self.writers, *self.former}) == len(self.writers) + len(former)
             and sum(map(len, self.former.values())) <= VOUCHERS_MAX, "the config is not valid")
        self.naming = self.key(SECRETS_ID, 2)
        self.read_footers()

    def signed(self, name, object_type, own_id):
        """The body of a signed object, its signer checked."""
        data = self.store.read(name, 0, 64 + BODY_MAX + 104 + 1)
        repository, found_id, body_len = object_header(name, data, object_type)
        self.repository = self.repository or repository
        need((repository, found_id) == (self.repository, own_id), f"{name} has another repository or id than its place")
        body = data[64:64 + body_len]
        crc, signer, signature = layout(name, "<I4x32s64s", data, 64 + body_len)
        check_crc(name, body, crc)
        need(len(data) == 64 + body_len + 104, f"{name}: bytes follow its end")
        of_owner = object_type in (CONFIG, VOUCHER)
        signers = [self.identity.owner or signer] if of_owner else [*self.writers, *self.former]
        need(signer in signers, f"{name} is not signed by {'the owner' if of_owner else 'a writer'}")
        try:
            message = b"pgkeep signed object v1\0" + data[:64] + body
            Ed25519PublicKey.from_public_bytes(signer).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise Refused(f"{name}: the signature is wrong") from None
        if not of_owner and signer in self.former:
            digest = hashlib.sha256(data[:64] + body).digest()[:16]
            need(digest in self.digests(signer), f"{name} is signed by a former writer, and not vouched for")
        return body

    def digests(self, writer):
        """What the owner vouches for of a former writer."""
        if writer not in self.vouched:
            found = set()
            for own_id in self.former[writer]:
                name = f"vouchers/{own_id.hex()}"
                need(name in self.store.objects, f"{name}, which the config names, is not there")
                voucher = structured(name, self.signed(name, VOUCHER, own_id), VOUCHER_MAP)
                digests = voucher["digests"]
                need(len(digests) <= DIGESTS_MAX and digests == sorted(set(digests)), f"{name}: digests are not in order")
                need(voucher["writer"] == writer, f"{name} vouches for another writer")
                found.update(digests)
            self.vouched[writer] = found
        return self.vouched[writer]

    def key(self, key_id, purpose):
        """A key by its id: a data key, or the naming key of the repository secrets."""
        reason = "it is not there"
        names = self.store.names(f"keys/{key_id.hex()}-[0-9a-f]{{8}}[.](age|key)")
        for name in names if key_id not in self.keys else ():
            try:
                data = self.store.read(name, 0, KEY_MAX)
                check_crc("key object", data, int(name[-12:-4], 16))
                content = pyrage.decrypt(data, self.identity.secrets) if name.endswith("age") else data
                form = "<8sB7x16s16s32s" + ("32s" if purpose == 2 else "")
                need(len(content) == struct.calcsize(form), "the key has another length")
                magic, code, repository, own_id, key, *_ = layout("key", form, content)
                need(magic == b"PGKKEY1\n" and code == purpose, "it is no key, or one for another purpose")
                need((repository, own_id) == (self.repository, key_id), "it has another repository or id than its place")
                self.keys[key_id] = key
            except (Refused, pyrage.DecryptError) as error:
                reason = f"{name}: {error}"
        what = "repository secrets" if purpose == 2 else f"data key {key_id.hex()}"
        need(key_id in self.keys, f"the {what} cannot be opened: {reason}")
        return self.keys[key_id]

    def open_frame(self, what, data):
        """Header, flags and plain bytes of a frame, every check made."""
        header, payload = FrameHeader(what, data), data[96:]
        need(len(payload) == header.stored_len, f"{what} is truncated")
        check_crc(f"{what}: payload", payload, header.payload_crc)
        if header.suite:
            info = b"pgkeep frame key v1\0" + bytes([header.suite, header.frame_type]) + header.chunk
            key = HKDF(hashes.SHA256(), 32, None, info).derive(self.key(header.key, 1))
            try:
                aead = (AESGCM, ChaCha20Poly1305)[header.suite - 1](key)
                payload = aead.decrypt(header.nonce, payload, header.raw[:88])
            except InvalidTag:
                raise Refused(f"{what}: the seal does not fit: it was changed, or the key is another") from None
        flags, plain = plain_of(what, payload)
        if header.frame_type != FOOTER:
            computed = blake3.blake3(bytes([header.frame_type, flags]) + plain, key=self.naming).digest()
            need(computed == header.chunk, f"{what}: its content has another chunk id")
        return header, flags, plain

    def read_footers(self):
        """Learns where chunks lie. Packs that cannot be read are passed over; indexes only repeat the footers."""
        for name in self.store.names("packs/[0-9a-f]{2}/[0-9a-f]{32}"):
            try:
                for chunk, offset in self.footer(name):
                    self.chunks.setdefault(chunk, []).append((name, offset))
            except Refused as error:
                print(f"passed over a pack: {error}", file=sys.stderr)

    def footer(self, name):
        size = self.store.objects[name][2]
        repository, own_id, _ = object_header(name, self.store.read(name, 0, 64), PACK)
        need(repository == self.repository and own_id.hex() == name[9:],
             f"{name} has another repository or id than its place")
        trailer = self.store.read(name, max(size - 32, 0), 32)
        offset, length, frames, crc, magic = layout(f"{name}: trailer", "<QQI4xI4s", trailer)
        check_crc(f"{name}: trailer", trailer[:24], crc)
        need(magic == b"KCAP" and 64 <= offset == size - length - 32 and 104 <= length <= 96 + STORED_MAX
             and size <= PACK_MAX, f"{name}: the trailer does not fit")
        header, _, plain = self.open_frame(f"{name}: footer", self.store.read(name, offset, length))
        lines, end = footer_lines(name, plain)
        need(header.frame_type == FOOTER and len(lines) == frames and end == offset, f"{name}: the footer does not fit")
        return lines

    def chunk(self, chunk, frame_type):
        """Flags and plain bytes of a chunk, from any copy that is whole."""
        reason = "no pack has it"
        for name, offset in self.chunks.get(chunk, []):
            what = f"{name} at {offset}"
            try:
                size = FrameHeader(what, self.store.read(name, offset, 96)).stored_len
                header, flags, plain = self.open_frame(what, self.store.read(name, offset, 96 + size))
                need(header.chunk == chunk, f"{what} is another chunk")
                need(header.frame_type == frame_type, f"{what} is of another type than its stream")
                return flags, plain
            except Refused as error:
                reason = error
        raise Refused(f"chunk {chunk.hex()} cannot be read: {reason}")

    def manifest(self, backup):
        """The clear part of a backup, and its sealed frame."""
        body, name = self.signed(f"backups/{backup}", MANIFEST, bytes.fromhex(backup)), f"backup {backup}"
        (size,) = layout(name, "<I", body)
        need(size <= min(CLEAR_MAX, len(body) - 4), f"{name}: the clear part is too long")
        clear = structured(name, body[4:4 + size], CLEAR)
        need(clear["id"].hex() == backup, f"{name} has another id inside")
        return clear, body[4 + size:]

    def backups(self):
        """The clear parts of all backups that can be read."""
        for name in self.store.names("backups/[0-9a-f]{32}"):
            try:
                yield self.manifest(name[8:])[0]
            except Refused as error:
                print(f"passed over a backup: {error}", file=sys.stderr)


class Backup:
    """One backup: what its manifest says, and its entries."""

    def __init__(self, repository, backup, database=None):
        found = [name[8:] for name in repository.store.names("backups/[0-9a-f]{32}") if name[8:].startswith(backup)]
        need(len(found) == 1, f"{len(found)} backups have an id that begins with {backup!r}")
        self.repository = repository
        self.clear, sealed = repository.manifest(found[0])
        need(self.clear["kind"] in (1, 3), f"backup {found[0]} is of a kind that this reader does not know")
        header, _, plain = repository.open_frame(f"backup {found[0]}: sealed part", sealed)
        need(header.frame_type == SEALED, "the sealed part is a frame of another type")
        self.sealed = sealed_part(plain)
        found = {one["name"]: one for one in self.sealed["databases"] if database in (None, one["name"])}
        need(len(found) == 1, "name one database of the backup with --database")
        self.database, = found.values()
        data, at, self.entries = b"".join(self.stream(self.database["entries_stream"], ENTRIES)), 0, []
        while at < len(data):
            value, at = cbor_item(data, at)
            self.entries.append(shaped("entry", value, ENTRY))

    def stream(self, number, frame_type, encoding=None):
        """The plain bytes of a stream, chunk by chunk; `encoding` is that of rows."""
        need(number < len(self.clear["streams"]), f"there is no stream {number}")
        stream = self.clear["streams"][number]
        need(stream["frame_type"] == frame_type, f"stream {number} is of another type")
        listed = references(stream["inline"])
        need(len(listed) <= INLINE_MAX and not (listed and stream["lists"]), f"stream {number} is not valid")
        for chunk in stream["lists"]:
            listed += references(self.repository.chunk(chunk, LIST)[1])
        need(len(listed) == stream["chunks"], f"stream {number} has another number of chunks than it says")
        need(not listed or listed[-1][1] == 0, f"stream {number}: its last row has no end")
        goes_on = 0
        for chunk, flags, runs in listed:
            found, plain = self.repository.chunk(chunk, frame_type)
            need(found == flags, f"chunk {chunk.hex()} has other flags than its reference")
            if runs is not None:
                need(encoding in (COPY_TEXT, COPY_BINARY) and not goes_on and not flags, "what is left out is no row")
                plain = kept(plain, runs, encoding)
            goes_on = flags
            yield plain

    def rows(self, data):
        """The rows of a table, each a list of its values as text, None for NULL; counts are checked."""
        need(data["encoding"] in (COPY_TEXT, COPY_BINARY),
             "the rows are neither in COPY text nor in COPY binary: this reader knows no other row encoding yet")
        rows, size, columns = 0, 0, data["columns"]
        def pieces():
            nonlocal size
            for plain in self.stream(data["stream"], ROWS, data["encoding"]):
                size += len(plain)
                yield plain
        if data["encoding"] == COPY_TEXT:
            need(data["types"] is None, "rows in COPY text have types")
            found = (values(line, len(columns)) for line in lines(pieces()))
        else:
            found = binary_rows(pieces(), columns, data["types"])
        for row in found:
            rows += 1
            yield row
        need((rows, size) == (data["rows"], data["bytes"]), f"{rows} rows, {size} bytes found; "
             f"the backup says {data['rows']} rows, {data['bytes']} bytes")


def lines(pieces):
    """Lines without their newlines; one may go on in the next piece."""
    rest = []
    for plain in pieces:
        found = plain.split(b"\n")
        if len(found) > 1:
            found[0], rest = b"".join(rest) + found[0], []
        yield from found[:-1]
        rest.append(found[-1])
    need(not any(rest), "the last row has no end")


def tuples(pieces, columns):
    """Binary tuples, each a list of its fields, None for NULL; one may go on in the next piece."""
    held, row, length = bytearray(), None, None
    for plain in pieces:
        held += plain
        at = 0
        while True:
            size = 2 if row is None else 4 if length is None else length
            if size > len(held) - at:
                break
            part, at = bytes(held[at:at + size]), at + size
            if row is None:
                count = int.from_bytes(part, "big", signed=True)
                need(count == columns, f"a row has {count} fields instead of {columns}")
                row = []
            elif length is None:
                length = int.from_bytes(part, "big", signed=True)
                need(-1 <= length <= VALUE_MAX, f"a field of {length} bytes")
                if length == -1:
                    row.append(None)
                    length = None
            else:
                row.append(part)
                length = None
            if length is None and len(row) == columns:
                yield row
                row = None
        del held[:at]
    need(row is None and not held, "the last row has no end")


def binary_rows(pieces, columns, types):
    """The rows of binary tuples, each a list of its values as text, None for NULL."""
    need(types is not None and len(types) == len(columns), "the rows do not have a type for each column")
    converters = [(name, of_column(name, binary_values.converter, oid)) for name, oid in zip(columns, types)]
    for fields in tuples(pieces, len(columns)):
        yield [None if field is None else of_column(name, convert, field)
               for field, (name, convert) in zip(fields, converters)]


def of_column(name, convert, argument):
    try:
        return convert(argument)
    except binary_values.NoValue as error:
        raise Refused(f"column {name!r}: {error}") from None


class Segment:
    """One segment of a change stream, and its changes."""

    def __init__(self, repository, name):
        self.repository, self.name = repository, name
        stream, first, last, own_id = re.split("[/-]", name)[1:]
        body = repository.signed(name, SEGMENT, bytes.fromhex(own_id))
        (size,) = layout(name, "<I", body)
        need(size <= min(CLEAR_MAX, len(body) - 4), f"{name}: the clear part is too long")
        self.clear = structured(name, body[4:4 + size], SEGMENT_CLEAR)
        need((self.clear["stream"].hex(), self.clear["first"], self.clear["last"], self.clear["id"].hex())
             == (stream, int(first, 16), int(last, 16), own_id), f"{name} is another segment than its name says")
        header, _, plain = repository.open_frame(f"{name}: sealed part", body[4 + size:])
        need(header.frame_type == SEALED, f"{name}: the sealed part is a frame of another type")
        self.sealed = structured(name, plain, SEGMENT_SEALED)
        need(len(self.sealed["transactions"]) == self.clear["transactions"], f"{name}: transactions are missing")
        need((self.sealed["begin"] is not None) == self.clear["begins"], f"{name} begins a run, and does not")

    def changes(self, table):
        """The changes of a table that count, in their order."""
        rolled_back = self.sealed["rolled_back"]
        for run in self.sealed["runs"]:
            need(run["relation"] < len(self.sealed["relations"]), f"{self.name}: a run is of no table")
            relation = self.sealed["relations"][run["relation"]]
            if relation["oid"] == 0 or f"{relation['schema']}.{relation['name']}" != table:
                continue
            data = b"".join(self.chunk(chunk) for chunk in run["chunks"])
            need(len(data) == run["bytes"], f"{self.name}: a run has another length than it says")
            at = 0
            while at < len(data):
                (size,) = layout("change", "<I", data, at)
                member, change = change_of(data[at + 4:at + 4 + size], size, relation["columns"])
                at += 4 + size
                if rolled_back is None:
                    need(member < self.clear["transactions"], "a change is of no transaction")
                elif member in rolled_back:
                    continue
                transaction = self.sealed["transactions"][member if rolled_back is None else 0]
                yield {"xid": transaction["xid"], **change}

    def chunk(self, chunk):
        need(chunk["pack"] < len(self.clear["packs"]), f"{self.name} refers to no pack")
        pack = self.clear["packs"][chunk["pack"]].hex()
        what = f"changes/{pack[:2]}/{pack} at {chunk['offset']}"
        data = self.repository.store.read(f"changes/{pack[:2]}/{pack}", chunk["offset"], 96 + chunk["stored_len"])
        header, flags, plain = self.repository.open_frame(what, data)
        need((header.frame_type, header.chunk, flags) == (CHANGES, chunk["id"], int(chunk["continues"])),
             f"{what} is another chunk than the segment says")
        return plain


def change_of(data, size, columns):
    """A change: its member, and what it did as JSON has it."""
    need(len(data) == size, "a change is truncated")
    action, flags, count, member, old_len = layout("change", "<BBHII", data)
    need(action in ACTIONS and flags < 8 and (flags & 3) != 2 and (count > 0) == (flags >= 4),
         "a change has an unknown action or flags")
    unchanged = layout("change", f"<{count}H", data, 12)
    need(sorted(set(unchanged)) == list(unchanged) and all(at < len(columns) for at in unchanged)
         and 12 + 2 * count + old_len <= size, "a change is not valid")
    start = 12 + 2 * count
    names = [column["name"] for column in columns]
    of_old = names if flags & 2 else [column["name"] for column in columns if column["is_key"]]
    old = dict(zip(of_old, texts(data[start:start + old_len], len(of_old)))) if flags & 1 else {}
    new = dict(zip(names, texts(data[start + old_len:], len(names)))) if action < 3 else {}
    for at in unchanged:
        need(new.pop(names[at]) is None, "a change has a value that is unchanged")
    return member, {"action": ACTIONS[action], "old": old, "new": new, "unchanged": [names[at] for at in unchanged]}


def values(line, count):
    """The values of a line of COPY text, None for NULL."""
    fields = line.split(b"\t") if count or line else []
    need(len(fields) == count, f"a row has {len(fields)} fields instead of {count}")
    return [None if field == b"\\N" else unescaped(field) for field in fields]


def texts(line, count):
    """The same as JSON has them."""
    return [None if value is None else value.decode("utf-8", "replace") for value in values(line, count)]


def segments(repository, stream):
    """The segments of a stream: of each run, each where the one before it ends."""
    names = repository.store.names(f"streams/{stream}[0-9a-f]*/[0-9a-f]{{16}}-[0-9a-f]{{16}}-[0-9a-f]{{32}}")
    bounds = [(int(name.split("/")[2][:16], 16), int(name.split("/")[2][17:33], 16), name) for name in names]
    need(bounds and len({name.split("/")[1] for name in names}) == 1, "name one stream of the repository")
    begins = [Segment(repository, name).clear for first, last, name in bounds if first == last]
    # A join point where a run begins is of that run, whichever of their ids is the smaller.
    begins = sorted((begin["last"], begin["joins_from"] is not None) for begin in begins if begin["begins"])
    start = end = 0
    for last, is_join_point in begins:
        if is_join_point and start <= last <= end:
            continue
        start = end = at = last
        while following := sorted(one for one in bounds if one[0] == at < one[1]):
            on = [one for one in following if any(other[0] == one[1] for other in bounds)]
            at, name = (on or following[-1:])[0][1:]
            end = at
            yield Segment(repository, name)


ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unescaped(field):
    """The value of a field of COPY text that is not NULL."""
    return re.sub(rb"\\(.?)", lambda found: ESCAPES.get(found[1], found[1]), field, flags=re.DOTALL)


def csv_line(row):
    """A row as PostgreSQL's COPY (FORMAT csv) writes it: NULL is empty, an empty text is quoted."""
    out = []
    for value in row:
        if value is None:
            value = b""
        elif not value or re.search(rb'[",\r\n]', value) or (len(row) == 1 and value == b"\\."):
            value = b'"' + value.replace(b'"', b'""') + b'"'
        out.append(value)
    return b",".join(out) + b"\n"


def run(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("--identity", required=True)
    parser.add_argument("--database", help="which one, of a backup of several")
    parser.add_argument("command", choices=("list", "show", "csv", "changes"))
    parser.add_argument("backup", nargs="?", default="", help="the first digits of its id, or of a stream's")
    parser.add_argument("table", nargs="?")
    options = parser.parse_args(arguments)
    with open(options.identity, encoding="utf-8", errors="replace") as file:
        repository = Repository(options.repository, Identity(file.read()))
    if options.command == "list":
        for clear in sorted(repository.backups(), key=lambda clear: (clear["finished_at"], clear["id"])):
            print(clear["id"].hex(), clear["finished_at"], *(f"{tag['key']}={tag['value']}" for tag in clear["tags"]))
        return
    if options.command == "changes":
        for segment in segments(repository, options.backup):
            for change in segment.changes(options.table):
                print(json.dumps(change))
        return
    backup = Backup(repository, options.backup, options.database)
    with_rows = {f"{entry['schema']}.{entry['name']}": entry["data"] for entry in backup.entries if entry["data"]}
    if options.command == "show":
        print(f"database {backup.database['name']!r} of server version {backup.sealed['server_version']}")
        for name, data in with_rows.items():
            print(f"{name!r}: {data['rows']} rows")
        return
    need(options.table in with_rows, f"the backup has no rows of a table {options.table!r}")
    for row in backup.rows(with_rows[options.table]):
        sys.stdout.buffer.write(csv_line(row))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        run(sys.argv[1:])
    except (Refused, OSError) as refused:
        sys.exit(f"pgkeep_reader: {refused}")
