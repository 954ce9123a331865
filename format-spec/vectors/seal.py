"""The vectors of everything with a key: seal.json."""

from encode import AES, CHACHA, ENTRIES, LIST, NONE, RAW, ROWS, ZSTD
from encode import (chunk_id, cbor, crc, frame, frame_key, hkdf, made, object_header, public, sign,
                    signed_object)


def seal():
    naming, data_key, key_id = made("naming key", 32), made("data key", 32), made("key id", 16)
    rows = b"1\tone\n2\t\\N\n"
    plains = [(ROWS, 0, b""), (ROWS, 0, rows), (ROWS, 1, rows), (ENTRIES, 0, rows),
              (LIST, 0, made("a list", 72)), (ROWS, 0, made("long", 200_000))]
    out = {
        "about": "Made by generate.py from FORMAT.md; all bytes in hexadecimal. Plain bytes longer "
                 "than 1000 are given as a label: SHA-256 of 'pgkeep vectors LABEL OFFSET' for "
                 "OFFSET 0, 32, 64 …, put together and cut to the length.",
        "naming_key": naming.hex(), "data_key": data_key.hex(), "key_id": key_id.hex(),
        "crc32": [{"input": b"123456789".hex(), "output": 0xCBF43926}],
        "chunk_ids": [], "frame_keys": [], "frames": [], "signatures": [],
    }

    def plain_of(plain):
        if len(plain) > 1000:
            return {"plain_label": "long", "plain_len": len(plain)}
        return {"plain": plain.hex(), "plain_len": len(plain)}

    for frame_type, flags, plain in plains:
        out["chunk_ids"].append({"frame_type": frame_type, "flags": flags, **plain_of(plain),
                                 "chunk_id": chunk_id(naming, frame_type, flags, plain).hex()})
    for suite in (AES, CHACHA):
        for frame_type in (ROWS, ENTRIES):
            chunk = chunk_id(naming, frame_type, 0, rows)
            out["frame_keys"].append({
                "suite": suite, "frame_type": frame_type, "chunk_id": chunk.hex(),
                "frame_key": frame_key(data_key, suite, frame_type, chunk).hex()})
    for suite in (NONE, AES, CHACHA):
        for codec in (RAW, ZSTD):
            for frame_type, flags, plain in plains[:5]:
                if frame_type == LIST and suite:
                    continue
                nonce = made(f"nonce {suite} {codec} {len(out['frames'])}", 12) if suite else bytes(12)
                sealed = frame(naming, frame_type, plain, suite=suite, data_key=data_key,
                               key_id=key_id if suite else bytes(16), nonce=nonce, codec=codec,
                               flags=flags)
                out["frames"].append({
                    "suite": suite, "codec": codec, "frame_type": frame_type, "flags": flags,
                    "nonce": nonce.hex(), **plain_of(plain), "frame": sealed.hex()})
    seed, repository = made("writer seed", 32), made("repository id", 16)
    for number, body in enumerate((b"", cbor({1: 2}))):
        header = object_header(3, repository, made(f"object {number}", 16), len(body))
        message = b"pgkeep signed object v1\0" + header + body
        out["signatures"].append({
            "seed": seed.hex(), "public_key": public(seed).hex(), "header": header.hex(),
            "body": body.hex(), "message": message.hex(), "signature": sign(seed, message).hex(),
            "object": signed_object(3, repository, header[32:48], body, seed).hex()})
    return out
