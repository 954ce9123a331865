"""A repository of 100,000 packs and 50 million chunks: how long does a backup into it take to
begin, and how much memory? And prune, forget and a restore from it?

    make bench-repository        builds pgkeep, starts a scratch server, runs this

Run with the path of pgkeep and, if not 100,000, a number of packs. The packs are made here: their
indexes are real and signed by a writer, they themselves are holes in files, as long as the indexes
say. So what a run learns of them is measured, and what it would read of them is not. Indexes have
16 packs each, as a backup writes them.

Each command runs in an empty repository too: the difference is what the size costs.

Fails when a backup takes SECONDS_MAX longer than into an empty repository, or MEGABYTES_MAX.
"""

import json
import os
import struct
import sys

from side_by_side import fresh, measure, psql, scratch, uri

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "format-spec", "vectors"))
import encode

SECONDS_MAX = 10.0
MEGABYTES_MAX = 500
CHUNKS_PER_PACK = 500
PACKS_PER_INDEX = 16
ROUNDS = 3
# Frames of about 130 kB, so that a pack has about 64 MiB.
STORED_LEN = 134_000
FRAME_LEN = STORED_LEN + 96
PACK_LEN = 64 + CHUNKS_PER_PACK * FRAME_LEN + 20_000
# The part of a footer's line that comes behind the chunk id, for each place in a pack.
LINE_ENDS = [struct.pack("<B3xIQ", encode.ROWS, STORED_LEN, 64 + place * FRAME_LEN)
             for place in range(CHUNKS_PER_PACK)]


def main(binary, packs):
    with scratch("bench_source", "bench_copy") as folder:
        run_all(os.path.abspath(binary), packs, folder)


def run_all(binary, packs, folder):
    fresh("bench_source")
    psql("bench_source", "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS name "
                         "FROM generate_series(1, 100000) g")
    small, large = Repository(binary, folder, "small"), Repository(binary, folder, "large")
    size = fill(large, packs)
    print(json.dumps({"what": "made", "packs": packs, "chunks": packs * CHUNKS_PER_PACK,
                      "index_megabytes": round(size / 1e6)}), flush=True)

    # The first backup into each stores; the rounds that count only look things up.
    for repository in (small, large):
        repository.run("backup", "-d", uri("bench_source"))
    backup = compare("backup", ROUNDS, small, large, "backup", "-d", uri("bench_source"))
    compare("list", 1, small, large, "list")
    compare("forget", 1, small, large, "forget", "--keep-last", "2", "--dry-run")
    compare("prune", 1, small, large, "prune", "--dry-run")
    restored(small, large)
    if backup[0] >= SECONDS_MAX or backup[1] >= MEGABYTES_MAX:
        sys.exit(f"a backup began after {backup[0]:.1f} s with {backup[1]:.0f} MB: limits are "
                 f"{SECONDS_MAX} s and {MEGABYTES_MAX} MB")


def restored(small, large):
    def restore(repository):
        fresh("bench_copy")
        return repository.run("restore", *repository.identity, "-d", uri("bench_copy"))
    report("restore", restore(small), restore(large))


class Repository:
    """A repository with its own key files."""

    def __init__(self, binary, folder, name):
        self.binary, self.path = binary, os.path.join(folder, name)
        config = os.path.join(folder, f"{name}-config")
        self.environment = dict(os.environ, XDG_CONFIG_HOME=config)
        self.identity = ["--identity", os.path.join(folder, f"{name}-identity")]
        self.run("init", "--identity-out", self.identity[1])
        (writer,) = [os.path.join(top, file) for top, _, files in os.walk(config)
                     for file in files if file.endswith(".writer")]
        with open(writer, encoding="utf-8") as lines:
            self.writer = dict(line.strip().split(": ", 1) for line in lines if ": " in line)

    def run(self, command, *arguments):
        return measure([self.binary, command, "-q", "--repo", self.path, *arguments],
                       self.environment)


def fill(repository, packs):
    """Puts packs and their indexes into a repository; returns the bytes of the indexes."""
    name = bytes.fromhex(repository.writer["repository"])
    secret = bytes.fromhex(repository.writer["signing secret"])
    size = 0
    for first in range(0, packs, PACKS_PER_INDEX):
        body = b"".join(indexed_pack(repository.path)
                        for _ in range(first, min(first + PACKS_PER_INDEX, packs)))
        index = os.urandom(16)
        path = os.path.join(repository.path, "indexes", index.hex())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            size += file.write(encode.signed_object(encode.INDEX, name, index, body, secret))
    return size


def indexed_pack(repository):
    pack, ids = os.urandom(16), os.urandom(32 * CHUNKS_PER_PACK)
    path = os.path.join(repository, "packs", f"{pack[0]:02x}", pack.hex())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(PACK_LEN)
    lines = [ids[32 * place:32 * place + 32] + end for place, end in enumerate(LINE_ENDS)]
    return encode.indexed_pack(pack, PACK_LEN, lines)


def compare(what, rounds, small, large, *command):
    ours = [(small.run(*command), large.run(*command)) for _ in range(rounds)]
    return report(what, min(pair[0] for pair in ours), min(pair[1] for pair in ours))


def report(what, small, large):
    """Prints what the size costs: seconds beyond those in an empty repository, and the peak."""
    more = large[0] - small[0]
    print(json.dumps({"what": what, "seconds_empty": round(small[0], 2),
                      "seconds": round(large[0], 2), "seconds_more": round(more, 2),
                      "megabytes_empty": round(small[1]), "megabytes": round(large[1])}),
          flush=True)
    return more, large[1]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
