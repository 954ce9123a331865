"""What the capture of changes of definitions costs: one transaction of each kind in a database of
many tables, with the capture and without.

    make bench-definitions   builds pgkeep, starts a scratch server, runs this

Run with the path of pgkeep and, if not 10,000, a number of tables. Fails when a transaction takes
more than MILLISECONDS_MAX longer than it took without.
"""

import json
import os
import re
import subprocess
import sys

from many_tables import TABLES
from side_by_side import fresh, measure, psql, scratch, uri

MILLISECONDS_MAX = 500
DATABASE = "bench_source"
RUNS = 5
# One transaction each; {} is the number of the run.
TRANSACTIONS = {
    "add a column": "ALTER TABLE t{} ADD COLUMN c{} int DEFAULT 7",
    "create a table": "CREATE TABLE new{} (id serial PRIMARY KEY, v text)",
    "create an index": "CREATE INDEX new_i{} ON t{} (at)",
    "comment": "COMMENT ON TABLE t{} IS 'other'",
    "drop a table": "DROP TABLE new{}",
    "nothing of definitions": "INSERT INTO t{} SELECT 1, 'x', now(), 1",
}


def main(binary, count):
    with scratch(DATABASE) as folder:
        try:
            run_all(os.path.abspath(binary), count, folder)
        finally:
            psql("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def run_all(binary, count, folder):
    environment = dict(os.environ, XDG_CONFIG_HOME=os.path.join(folder, "config"))
    repository = ["--repo", os.path.join(folder, "repository")]
    fresh(DATABASE)
    psql(DATABASE, TABLES.format(count=count))
    psql(DATABASE, "VACUUM ANALYZE")
    without = milliseconds(0)
    measure([binary, "init", "-q", *repository, "--identity-out", os.path.join(folder, "id")],
            environment)
    setup = measure([binary, "setup", "-q", "--keyless", "full", *repository, "-d", uri(DATABASE)],
                    environment)
    print(json.dumps({"what": "setup", "seconds": round(setup.seconds, 2),
                      "megabytes": round(setup.megabytes)}), flush=True)
    captured = milliseconds(100)
    slow = []
    for what in TRANSACTIONS:
        print(json.dumps({"what": what, "milliseconds": round(captured[what]),
                          "without": round(without[what])}), flush=True)
        if captured[what] - without[what] > MILLISECONDS_MAX:
            slow.append(f"{what}: {captured[what]:.0f} ms, {without[what]:.0f} ms without")
    if slow:
        sys.exit("\n".join(slow))


def milliseconds(first):
    """The median of each kind, in one session that has its caches filled."""
    script = ["\\timing on", "SELECT 1"]
    for sql in TRANSACTIONS.values():
        script += [sql.replace("{}", str(first + run)) for run in range(1, RUNS + 1)]
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", uri(DATABASE)]
    done = subprocess.run(command, input=";\n".join(script).replace("on;", "on") + ";\n",
                          check=True, text=True, stdout=subprocess.PIPE)
    times = [float(time) for time in re.findall(r"Time: ([\d.]+) ms", done.stdout)][1:]
    found = {}
    for number, what in enumerate(TRANSACTIONS):
        found[what] = sorted(times[number * RUNS:(number + 1) * RUNS])[RUNS // 2]
    return found


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
