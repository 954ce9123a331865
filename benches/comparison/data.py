"""What is backed up: about three gigabytes at scale 1, the same in every run.

Four large tables, each of a kind: numbers and short texts as in TPC-H, JSON documents of an event
log, bytes that do not compress, and pgbench's accounts; besides them one table with 200 columns
and many small ones. How far zstd shrinks their rows is what it is with real ones: 3, 4.4 and 2
times, and pgbench's 92, which is why pgbench alone proves nothing.
"""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from side_by_side import psql

SOURCE = "bench_source"
COPY = "bench_copy"
CHANGED = "bench_changed"
# The source, while the copy has its name.
ASIDE = "bench_aside"
SMALL_TABLES = 300
WIDE_COLUMNS = 200
WORDS = """about above accounts after against along among attainments blithely bold braids carefully
cajole daring decoys deposits detect dolphins doubt dugouts engage enticing epitaphs escapades even
excuses express final fluffily foxes frays furiously gifts grouches grow haggle hockey hinder idle
ideas instructions integrate ironic kindle lose maintain multipliers nag never orbits packages
patterns pearls permanent pinto platelets players poach print promise quick quickly quiet realms
regular requests ruthlessly sauternes sentiments serve silent slyly solve special stealthy sublate
theodolites thrash tithes unusual unwind use waters warhorses wake warthogs""".split()


def word():
    """SQL of a random word."""
    words = ",".join(f"'{word}'" for word in WORDS)
    return f"(ARRAY[{words}])[1 + floor(random() * {len(WORDS)})::int]"


def one_of(*values):
    return f"(ARRAY[{','.join(repr(value) for value in values)}])" \
           f"[1 + floor(random() * {len(values)})::int]"


LINEITEM = f"""
    CREATE TABLE lineitem (
      orderkey int NOT NULL, linenumber int NOT NULL, partkey int NOT NULL, suppkey int NOT NULL,
      quantity numeric(15,2) NOT NULL, extendedprice numeric(15,2) NOT NULL,
      discount numeric(15,2) NOT NULL, tax numeric(15,2) NOT NULL, returnflag char(1) NOT NULL,
      linestatus char(1) NOT NULL, shipdate date NOT NULL, commitdate date NOT NULL,
      receiptdate date NOT NULL, shipinstruct varchar(25) NOT NULL, shipmode varchar(10) NOT NULL,
      comment varchar(80) NOT NULL);
    INSERT INTO lineitem
    SELECT (i - 1) / 4 + 1, (i - 1) % 4 + 1, 1 + (random() * 200000)::int,
           1 + (random() * 10000)::int, 1 + (random() * 49)::int,
           (900 + random() * 104000)::numeric(15,2), floor(random() * 11) / 100,
           floor(random() * 9) / 100, {one_of("A", "N", "R")}, {one_of("F", "O")},
           ship, ship + (random() * 60)::int - 30, ship + 1 + (random() * 30)::int,
           {one_of("DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN")},
           {one_of("AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK")},
           concat_ws(' ', {word()}, {word()}, {word()}, {word()})
    FROM (SELECT i, date '1992-01-02' + (random() * 2500)::int AS ship
          FROM generate_series(1, {{rows}}) i) AS rows;
    ALTER TABLE lineitem ADD PRIMARY KEY (orderkey, linenumber);
    CREATE INDEX ON lineitem (shipdate);
    CREATE INDEX ON lineitem (partkey, suppkey)"""

EVENTS = f"""
    CREATE TABLE events (id bigint NOT NULL, at timestamptz NOT NULL, payload jsonb NOT NULL);
    INSERT INTO events
    SELECT i, timestamptz '2025-01-01' + i * interval '2.7 seconds' + random() * interval '2 s',
           format('{{{{"type": "%s", "user": %s, "session": "%s%s", "path": "/%s/%s", "ms": %s,
                   "device": {{{{"os": "%s", "app": "4.%s.1"}}}}, "tags": ["%s", "%s"]}}}}',
                  {one_of("view", "view", "view", "click", "search", "purchase")},
                  floor(random() * random() * 200000)::int,
                  to_hex(floor(random() * 4503599627370496)::bigint),
                  to_hex(floor(random() * 4503599627370496)::bigint),
                  {one_of("products", "categories", "orders", "account")},
                  floor(random() * random() * 50000)::int, floor(random() * 900)::int,
                  {one_of("ios", "android", "web", "macos")}, floor(random() * 30)::int,
                  {word()}, {word()})::jsonb
    FROM generate_series(1, {{rows}}) i;
    ALTER TABLE events ADD PRIMARY KEY (id);
    CREATE INDEX ON events (at);
    CREATE INDEX ON events USING gin (payload jsonb_path_ops)"""

# Images, PDFs, archives: SHA-512 of numbers stands for what was compressed before.
DOCS = f"""
    CREATE TABLE docs (id int NOT NULL, name text NOT NULL, made timestamptz NOT NULL,
                       body bytea NOT NULL);
    INSERT INTO docs
    SELECT i, concat_ws('-', {word()}, {word()}, i::text) || '.pdf',
           timestamptz '2025-01-01' + i * interval '7 minutes',
           (SELECT string_agg(sha512(int4send(i) || int4send(part)), '')
            FROM generate_series(1, 10 + blocks) part)
    FROM (SELECT i, floor(random() * 400)::int AS blocks
          FROM generate_series(1, {{rows}}) i) AS rows;
    ALTER TABLE docs ADD PRIMARY KEY (id);
    CREATE UNIQUE INDEX ON docs (name)"""

ACCOUNTS = """
    CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84))
      WITH (fillfactor = 100);
    INSERT INTO pgbench_accounts
    SELECT i, (i - 1) / 100000 + 1, 0, '' FROM generate_series(1, {rows}) i;
    ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)"""

# Of the wide table's columns, in turn: type, and value.
KINDS = [("int", "floor(random() * 1000)::int"),
         ("text", f"nullif({one_of('', '', 'open', 'closed', 'waiting')}, '')"),
         ("double precision", "random()"),
         ("timestamptz", "timestamptz '2025-01-01' + i * interval '1 minute'")]
WIDE = [KINDS[number % len(KINDS)] for number in range(WIDE_COLUMNS)]

OTHERS = f"""
    CREATE TABLE wide (id int PRIMARY KEY,
                       {", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(WIDE))});
    INSERT INTO wide SELECT i, {", ".join(value for _, value in WIDE)}
    FROM generate_series(1, {{rows}}) i;
    CREATE SCHEMA small;
    DO $$ BEGIN
      FOR n IN 1..{SMALL_TABLES} LOOP
        EXECUTE format('CREATE TABLE small.t%s (id int PRIMARY KEY, name text, amount numeric)', n);
        EXECUTE format('INSERT INTO small.t%s SELECT i, ''name '' || i * %s, i / 7.0
                        FROM generate_series(1, 100) i', n, n);
        EXECUTE format('CREATE INDEX ON small.t%s (name)', n);
      END LOOP;
    END $$"""

# SQL, and rows at scale 1. Longest first: two are made at a time.
TABLES = [(LINEITEM, 4_000_000), (EVENTS, 2_500_000), (DOCS, 20_000), (ACCOUNTS, 4_000_000),
          (OTHERS, 20_000)]

# Keys of the large tables, for the changes below.
KEYS = {"lineitem": ("orderkey", "comment = 'changed ' || left(comment, 30)"),
        "events": ("id", "payload = payload || '{\"seen\": true}'"),
        "docs": ("id", "body = sha512(body) || substr(body, 65)"),
        "pgbench_accounts": ("aid", "abalance = abalance + 1")}


def make(scale):
    """Makes the database, if this one with this scale is not there yet."""
    mark = f"scale {scale}, data {hash_of_definitions()}"
    found = psql("postgres", f"""SELECT shobj_description(oid, 'pg_database') FROM pg_database
                                 WHERE datname = '{SOURCE}'""").strip()
    if found == mark:
        return
    drop(SOURCE, ASIDE)
    psql("postgres", f"CREATE DATABASE {SOURCE} TEMPLATE template0")

    def run(table):
        sql, rows = table
        psql(SOURCE, f"SET max_parallel_workers_per_gather = 0; SELECT setseed(0.42);"
                     f"{sql.format(rows=int(rows * scale))};")

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, TABLES))
    psql(SOURCE, "VACUUM ANALYZE; CHECKPOINT;")
    psql("postgres", f"COMMENT ON DATABASE {SOURCE} IS '{mark}'")


def hash_of_definitions():
    return zlib.crc32(repr(TABLES).encode())


def clone():
    """A copy of the source that may be changed: the same rows in the same blocks."""
    drop(CHANGED)
    psql("postgres", f"CREATE DATABASE {CHANGED} TEMPLATE {SOURCE} STRATEGY file_copy")


@contextmanager
def changed_in_place():
    """The copy has the source's name meanwhile: a second backup is of the database of the first."""
    def rename(old, new):
        psql("postgres", f"ALTER DATABASE {old} RENAME TO {new}")

    rename(SOURCE, ASIDE)
    rename(CHANGED, SOURCE)
    try:
        yield
    finally:
        rename(SOURCE, CHANGED)
        rename(ASIDE, SOURCE)


def drop(*databases):
    for name in databases:
        psql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def change(which):
    """Changes one row of a hundred in each large table of the copy."""
    for table, (key, change_of) in KEYS.items():
        condition = {"newest": f"{key} > (SELECT max({key}) * 0.99 FROM {table})",
                     "scattered": f"hashint8({key}::bigint) % 100 = 0"}[which]
        psql(CHANGED, f"UPDATE {table} SET {change_of} WHERE {condition}")


def facts():
    """What the source is, for the report."""
    size = psql(SOURCE, f"SELECT pg_database_size('{SOURCE}')")
    return {"bytes": int(size), "server": psql(SOURCE, "SHOW server_version").strip(),
            "processors": os.cpu_count()}
