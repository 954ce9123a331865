"""What the benchmarks share: whole processes measured beside PostgreSQL's own programs, on the
scratch server that PGHOST (the directory of its socket) and PGPORT name.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """What one run of a command took."""

    seconds: float
    # Of the largest process, where a command has several.
    megabytes: float
    # Seconds of processor time: of the command, of the server meanwhile, of everybody.
    client: float
    server: float
    machine: float


def measure(command, environment=None, postmaster=None):
    """Runs a command; with the server's first process also what the server did for it."""
    server, machine, start = server_seconds(postmaster), machine_seconds(), time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}")
    return Measured(seconds, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime,
                    server_seconds(postmaster) - server, machine_seconds() - machine)


def server_seconds(postmaster):
    """Processor time of a server: its first process, children that ended, children that run."""
    if postmaster is None:
        return 0.0
    ticks = sum(process_ticks(postmaster))
    with open(f"/proc/{postmaster}/task/{postmaster}/children") as file:
        children = file.read().split()
    for child in children:
        try:
            ticks += sum(process_ticks(child)[:2])
        except OSError:
            pass  # Ended since: its parent has its time soon.
    return ticks / TICKS


def process_ticks(process):
    """User and system time, and both of its children that ended."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]


def machine_seconds():
    """Processor time that anybody used: also what another machine on this hardware took."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal, *_ = (
            int(field) for field in file.readline().split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICKS


def compare(what, ours, theirs):
    print(json.dumps({"what": what, "seconds": round(ours.seconds, 2),
                      "megabytes": round(ours.megabytes),
                      "postgresql_seconds": round(theirs.seconds, 2),
                      "ratio": round(ours.seconds / theirs.seconds, 2)}), flush=True)
    return ours


@contextlib.contextmanager
def scratch(*databases):
    """A folder of its own; it goes at the end, and databases with it."""
    folder = tempfile.mkdtemp(prefix="pgkeep-bench-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        for database in databases:
            psql("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def fresh(name):
    psql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    psql("postgres", f"CREATE DATABASE {name} TEMPLATE template0")


def uri(database):
    return (f"postgresql:///{database}?host={os.environ['PGHOST']}&port={os.environ['PGPORT']}"
            "&user=postgres")


def psql(database, sql):
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", uri(database)]
    environment = dict(os.environ, PGOPTIONS="-c client_min_messages=warning")
    return subprocess.run(command, input=sql, check=True, text=True, env=environment,
                          stdout=subprocess.PIPE).stdout
