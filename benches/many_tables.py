"""Many small tables: does the time and memory of a backup's first part, reading the catalogs and
making entries, stay within bounds, and are many small restores as fast as pg_restore's?

    make bench-tables        builds pgkeep, starts a scratch server, runs this

Run with the path of pgkeep and, if not 10,000, a number of tables. Each table has an index, a
comment and twenty rows. Times are of whole processes, the best of several runs taken in turn, so
that what else the machine does falls on both. Memory is the peak of the process (ru_maxrss).

Fails when `pgkeep backup --schema-only` takes SECONDS_MAX or more, or MEGABYTES_MAX or more.
"""

import os
import sys

from side_by_side import compare, fresh, measure, psql, scratch, uri

SECONDS_MAX = 5.0
MEGABYTES_MAX = 300
READS = 3
JOBS = "2"
TABLES = """
    DO $$ BEGIN
      FOR i IN 1..{count} LOOP
        EXECUTE format('CREATE TABLE t%s (id int, name text, at timestamptz DEFAULT now(),
                                          amount numeric)', i);
        EXECUTE format('INSERT INTO t%s SELECT g, ''name '' || g, now(), g
                        FROM generate_series(1, 20) g', i);
        EXECUTE format('CREATE INDEX i%s ON t%s (name)', i, i);
        EXECUTE format('COMMENT ON TABLE t%s IS ''table %s''', i, i);
        IF i % 500 = 0 THEN COMMIT; END IF;
      END LOOP;
    END $$"""
CHECK = """
    SELECT count(*) FILTER (WHERE relkind = 'r'), count(*) FILTER (WHERE relkind = 'i'),
           count(obj_description(oid, 'pg_class'))
    FROM pg_class WHERE relnamespace = 'public'::regnamespace"""


def main(binary, count):
    with scratch("bench_source", "bench_copy") as folder:
        run_all(os.path.abspath(binary), count, folder)


def run_all(binary, count, folder):
    environment = dict(os.environ, XDG_CONFIG_HOME=os.path.join(folder, "config"))
    repository, dump = os.path.join(folder, "repository"), os.path.join(folder, "dump")
    fresh("bench_source")
    psql("bench_source", TABLES.format(count=count))
    psql("bench_source", "VACUUM ANALYZE")

    def pgkeep(command, *arguments):
        return measure([binary, command, "-q", "--repo", repository, *arguments], environment)

    pgkeep("init", "--identity-out", os.path.join(folder, "identity"))
    identity = ["--identity", os.path.join(folder, "identity")]
    from_source = ["-d", uri("bench_source"), "-j", JOBS]
    ours, theirs = [], []
    for _ in range(READS):
        ours.append(pgkeep("backup", "--schema-only", *from_source))
        theirs.append(measure(["pg_dump", "--schema-only", "-d", uri("bench_source"),
                               "-f", os.devnull]))
    read = compare("definitions", min(ours), min(theirs))

    ours = pgkeep("backup", *from_source)
    theirs = measure(["pg_dump", "-Fd", "-j", JOBS, "-d", uri("bench_source"), "-f", dump])
    compare("backup", ours, theirs)

    fresh("bench_copy")
    ours = pgkeep("restore", *identity, "-d", uri("bench_copy"), "-j", JOBS)
    check(count)
    fresh("bench_copy")
    theirs = measure(["pg_restore", "-j", JOBS, "-d", uri("bench_copy"), dump])
    check(count)
    compare("restore", ours, theirs)

    if read.seconds >= SECONDS_MAX or read.megabytes >= MEGABYTES_MAX:
        sys.exit(f"definitions of {count} tables: {read.seconds:.2f} s of {SECONDS_MAX} s, "
                 f"{read.megabytes:.0f} MB of {MEGABYTES_MAX} MB")


def check(count):
    """What came back is all of it."""
    found = psql("bench_copy", CHECK).strip()
    if found != f"{count}|{count}|{count}":
        sys.exit(f"restored: {found}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
