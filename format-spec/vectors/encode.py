"""Writes the structures of FORMAT.md, for generate.py.

Written from FORMAT.md, without the crate's code, so that the vectors say what the text
says. It checks nothing: bad vectors are made with it too. Randomness is replaced by
bytes made from a label, so every run writes the same files.
"""

import hashlib
import struct
import zlib

import blake3
import zstandard
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONFIG, PACK, INDEX, MANIFEST, SINGLE_FILE = 1, 2, 3, 4, 5
VOUCHER = 8
ROWS, ENTRIES, LIST, SEALED, FOOTER = 1, 2, 3, 4, 5
NONE, AES, CHACHA = 0, 1, 2
RAW, ZSTD, COLUMNS, TUPLE_COLUMNS = 0, 1, 2, 3
PLANES, DIFFERENCES, SHORT, LONG, DICTIONARY, BY_LENGTH, PARTED, WORDS = range(1, 9)
SECRETS_ID = b"\xff" * 16


def made(label, length):
    """Bytes that look random and are the same in every run."""
    out = b""
    while len(out) < length:
        out += hashlib.sha256(f"pgkeep vectors {label} {len(out)}".encode()).digest()
    return out[:length]


def crc(data):
    return struct.pack("<I", zlib.crc32(data))


def head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([major << 5 | code]) + argument.to_bytes(size, "big")
    raise ValueError(argument)


def cbor(value):
    """The deterministic CBOR of a value; a map is a dict with integer keys."""
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in sorted(value.items()))


def public(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def object_header(kind, repository, object_id, body_len, version=1):
    data = b"PGKEEP\x1a\n" + struct.pack("<HB5x", version, kind) + repository + object_id
    data += struct.pack("<Q4x", body_len)
    return data + crc(data)


def signed_object(kind, repository, object_id, body, seed):
    header = object_header(kind, repository, object_id, len(body))
    signature = sign(seed, b"pgkeep signed object v1\0" + header + body)
    return header + body + crc(body) + bytes(4) + public(seed) + signature


def chunk_id(naming, frame_type, flags, plain):
    return blake3.blake3(bytes([frame_type, flags]) + plain, key=naming).digest()


def hkdf(salt, key, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def frame_key(data_key, suite, frame_type, chunk):
    info = b"pgkeep frame key v1\0" + bytes([suite, frame_type]) + chunk
    return hkdf(b"", data_key, info)


def frame_header(frame_type, suite, stored_len, key_id, chunk, nonce, payload_crc, version=1):
    data = b"PGKF" + struct.pack("<BBBxI4x", version, frame_type, suite, stored_len)
    data += key_id + chunk + nonce + bytes(12) + payload_crc
    return data + crc(data)


def inner_header(codec, flags, plain_len):
    return struct.pack("<BBxxI", codec, flags, plain_len)


def laid_out(columns, rest=b""):
    """Columns, each a list of fields, one after another."""
    columns = [b"".join(field + b"\n" for field in column) for column in columns]
    lengths = b"".join(struct.pack("<I", len(column)) for column in columns)
    return struct.pack("<H2x", len(columns)) + lengths + b"".join(columns) + rest


def tuples(rows):
    """Rows, each a list of fields, None for NULL, as binary COPY has them."""
    data = b""
    for row in rows:
        data += struct.pack(">h", len(row))
        for field in row:
            data += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
    return data


def fields_of(data):
    """The rows of binary tuples."""
    rows, at = [], 0
    while at < len(data):
        rows.append([])
        (count,) = struct.unpack_from(">h", data, at)
        at += 2
        for _ in range(count):
            (size,) = struct.unpack_from(">i", data, at)
            rows[-1].append(None if size < 0 else data[at + 4:at + 4 + size])
            at += 4 + max(size, 0)
    return rows


def folded(values, width):
    """Differences of values to the one before, small where they are near, whichever way."""
    out, before = [], 0
    for value in (int.from_bytes(value, "big") for value in values):
        difference, before = (value - before) % (1 << 8 * width), value
        if difference >= 1 << 8 * width - 1:
            difference = 2 * ((1 << 8 * width) - difference) - 1
        else:
            difference *= 2
        out.append(difference.to_bytes(width, "big"))
    return out


def tuple_column(form, fields, nulls=None):
    """One column of tuples; whether NULLs are marked is told by whether there are some, if it is not said."""
    values = [field for field in fields if field is not None]
    if form in (SHORT, LONG):
        lengths = bytes(0 if field is None else len(field) + 1 for field in fields) if form == SHORT else b"".join(
            struct.pack("<I", 0xFFFFFFFF if field is None else len(field)) for field in fields)
        return struct.pack("<BBBx", form, 0, 0) + lengths + b"".join(values)
    if form == BY_LENGTH:
        lengths = bytes(0 if field is None else len(field) + 1 for field in fields)
        planes = b"".join(planes_of([value for value in values if len(value) == size]) for size in range(1, 255))
        return struct.pack("<BBBx", form, 0, 0) + lengths + planes
    if form == DICTIONARY:
        entries = list(dict.fromkeys(values))
        which = bytes(0 if field is None else entries.index(field) + 1 for field in fields)
        return dictionary(entries, which)
    width, nulls = len((values or [b"?"])[0]), None in fields if nulls is None else nulls
    marks = bytes(field is None for field in fields) if nulls else b""
    if form == DIFFERENCES:
        values = folded(values, width)
    return struct.pack("<BBBx", form, width, nulls) + marks + planes_of(values)


def planes_of(values):
    """The first bytes of values that are as long as each other, then the second ones."""
    return bytes(byte for plane in zip(*values) for byte in plane)


def dictionary(entries, which):
    """A column whose fields are numbers of entries, from 1 on; 0 is NULL."""
    head = struct.pack(f"<BxxxI{len(entries)}I", DICTIONARY, len(entries), *map(len, entries))
    return head + b"".join(entries) + which


def parted_column(parts, numbers, columns):
    """A column of parts, each a text and whether it ends a value, and the columns of whole values and slots."""
    heads = [2 * len(text) + ends for text, ends in parts]
    head = struct.pack(f"<BxxxII{len(parts)}I", PARTED, len(parts), len(numbers), *heads)
    return head + b"".join(text for text, _ in parts) + bytes(numbers) + b"".join(columns)


def parted(values):
    """The same of values: each None, or whole, or a list of its parts and slots in turns."""
    parts, slots, numbers, whole = [], [], [], []
    for value in values:
        if not isinstance(value, list):
            numbers.append(0 if value is None else 1)
            whole += [] if value is None else [value]
            continue
        for place in range(0, len(value), 2):
            part = value[place], place + 1 == len(value)
            if part not in parts:
                parts.append(part)
                slots.append([])
            numbers.append(2 + parts.index(part))
            slots[parts.index(part)] += value[place + 1:place + 2]
    columns = [whole, *(found for found, (_, ends) in zip(slots, parts) if not ends)]
    return parted_column(parts, numbers, [tuple_column(tuple_form(column), column) for column in columns])


def words_column(counts, column):
    """A column of texts, of each how many words it has, and the column of the words; 0 is NULL."""
    return struct.pack("<Bxxx", WORDS) + bytes(counts) + column


def laid_out_tuples(rows, columns, rest=b""):
    """So many rows in columns that are laid out already."""
    return struct.pack("<H2xI", len(columns), rows) + b"".join(columns) + rest


def tuple_form(fields):
    """A form that a column can have."""
    widths = {len(field) for field in fields if field is not None}
    if len(widths) == 1 and max(widths) in range(1, 17):
        return DIFFERENCES if widths <= {4, 8} else PLANES
    return SHORT if max(widths, default=0) < 255 else LONG


def compress(codec, plain):
    if codec == RAW:
        return plain
    if codec == COLUMNS:
        plain = laid_out(zip(*(row.split(b"\t") for row in plain[:-1].split(b"\n"))))
    if codec == TUPLE_COLUMNS:
        rows = fields_of(plain)
        plain = laid_out_tuples(len(rows), [tuple_column(tuple_form(fields), fields) for fields in zip(*rows)])
    return zstandard.ZstdCompressor(level=1, write_content_size=True).compress(plain)


def frame(naming, frame_type, plain, *, suite=NONE, data_key=None, key_id=bytes(16),
          nonce=bytes(12), codec=RAW, flags=0):
    chunk = bytes(32) if frame_type == FOOTER else chunk_id(naming, frame_type, flags, plain)
    payload = inner_header(codec, flags, len(plain)) + compress(codec, plain)
    stored_len = len(payload) + (16 if suite else 0)
    head88 = frame_header(frame_type, suite, stored_len, key_id, chunk, nonce, bytes(4))[:88]
    if suite:
        aead = {AES: AESGCM, CHACHA: ChaCha20Poly1305}[suite]
        sealer = aead(frame_key(data_key, suite, frame_type, chunk))
        payload = sealer.encrypt(nonce, payload, head88)
    return frame_header(frame_type, suite, stored_len, key_id, chunk, nonce, crc(payload)) + payload


def footer_line(chunk, frame_type, stored_len, offset):
    return chunk + struct.pack("<B3xIQ", frame_type, stored_len, offset)


def footer_of(frames):
    lines, offset = [], 64
    for data in frames:
        stored_len = len(data) - 96
        lines.append(footer_line(data[32:64], data[5], stored_len, offset))
        offset += len(data)
    return lines


def pack_trailer(footer_offset, footer_len, frames):
    data = struct.pack("<QQI4x", footer_offset, footer_len, frames)
    return data + crc(data) + b"KCAP"


def pack(repository, pack_id, frames, codec=ZSTD):
    lines = footer_of(frames)
    data = object_header(PACK, repository, pack_id, 0) + b"".join(frames)
    footer = frame(None, FOOTER, b"".join(lines), codec=codec)
    return data + footer + pack_trailer(len(data), len(footer), len(frames))


def indexed_pack(pack_id, pack_len, lines):
    return pack_id + struct.pack("<QI4x", pack_len, len(lines)) + b"".join(lines)


def reference(chunk, flags=0, ending=b"\0\0\0"):
    return chunk + bytes([flags]) + ending


def leaving_out(chunk, runs, flags=2):
    """A reference to a chunk without some of its rows; `runs` as they are written."""
    return reference(chunk[:32], flags, b"end") + struct.pack("<I", len(runs)) + runs


def manifest_body(clear, sealed):
    return struct.pack("<I", len(clear)) + clear + sealed


def key_content(purpose, repository, key_id, *keys):
    return b"PGKKEY1\n" + struct.pack("<B7x", purpose) + repository + key_id + b"".join(keys)


def record(name, data, header_name_len=None):
    name = name.encode()
    header = b"PGKR" + struct.pack("<HxxQ", len(name), len(data)) + crc(name + data) + bytes(8)
    return header + crc(header) + name + data


def file_trailer(end_offset, directory_len):
    data = struct.pack("<QQ8x", end_offset, directory_len)
    return data + crc(data) + b"DNEK"


def single_file(repository, file_id, objects):
    data, entries = object_header(SINGLE_FILE, repository, file_id, 0), []
    for name, content in objects:
        entries.append({1: name, 2: len(data) + 32 + len(name), 3: len(content)})
        data += record(name, content)
    directory = cbor({1: entries})
    return data + record("", directory) + file_trailer(len(data), len(directory))


def bech32(prefix, data):
    """BIP 173, as age writes keys."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = (len(data) * 8 + 4) // 5
    values = [bits >> 5 * (count - 1 - i) & 31 for i in range(count)]
    def polymod(values):
        check = 1
        for value in values:
            top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
            for i, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                check ^= factor if top >> i & 1 else 0
        return check
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = polymod(expanded + values + [0] * 6) ^ 1
    return prefix + "1" + "".join(letters[v] for v in values + [check >> 5 * (5 - i) & 31 for i in range(6)])


def age_encrypt(recipient, plain, label):
    """An age file for one X25519 recipient (32 bytes), with made randomness."""
    import base64
    import hmac
    def b64(data):
        return base64.b64encode(data).rstrip(b"=")
    file_key, nonce = made(label + " file key", 16), made(label + " payload nonce", 16)
    ephemeral = X25519PrivateKey.from_private_bytes(made(label + " ephemeral", 32))
    share = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    wrap = hkdf(share + recipient, shared, b"age-encryption.org/v1/X25519")
    body = ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, b"")
    header = b"age-encryption.org/v1\n-> X25519 " + b64(share) + b"\n" + b64(body) + b"\n---"
    mac = hmac.new(hkdf(b"", file_key, b"header"), header, hashlib.sha256).digest()
    payload_key = hkdf(nonce, file_key, b"payload")
    sealed = ChaCha20Poly1305(payload_key).encrypt(bytes(11) + b"\1", plain, b"")
    return header + b" " + b64(mac) + b"\n" + nonce + sealed
