"""What the benchmarks share: whole processes measured beside PostgreSQL's own programs, on the
scratch server that PGPORT names.
"""

import json
import os
import subprocess
import sys
import time


def measure(command, environment=None):
    """Runs a command; returns its seconds and the megabytes of its peak."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}")
    return time.monotonic() - start, usage.ru_maxrss / 1000


def compare(what, ours, theirs):
    print(json.dumps({"what": what, "seconds": round(ours[0], 2), "megabytes": round(ours[1]),
                      "postgresql_seconds": round(theirs[0], 2),
                      "ratio": round(ours[0] / theirs[0], 2)}), flush=True)
    return ours


def fresh(name):
    psql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    psql("postgres", f"CREATE DATABASE {name} TEMPLATE template0")


def uri(database):
    return f"postgresql://postgres@127.0.0.1:{os.environ['PGPORT']}/{database}"


def psql(database, sql):
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", uri(database)]
    return subprocess.run([*command, "-c", sql], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
