"""The change stream: does it keep up with pgbench, drain a backlog as fast as pg_recvlogical
writes one to a file, and does a restore to a moment cost about what restoring a backup costs?

    make bench-stream        builds pgkeep, starts a scratch server, runs this

Times are of whole processes. Fails where a bound below is not kept.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time

from side_by_side import compare, fresh, measure, psql, scratch, uri

SECONDS = 20
MEGABYTES_MAX = 200
SEGMENT_SECONDS = 5
DRAIN_RATIO_MAX = 1.0
FOLD_RATIO_MAX = 1.5
ROWS = 5_000_000
PAIRS = 3
JOBS = "2"
DATABASE = "bench_source"
SLOT = "pgkeep_bench_source"
failures = []


def main(binary, parts):
    with scratch(DATABASE, "bench_copy") as folder:
        try:
            bench = Bench(os.path.abspath(binary), folder)
            for part in parts or ["keeps_up", "drains", "folds"]:
                getattr(bench, part)()
        finally:
            psql("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    if failures:
        sys.exit("\n".join(failures))


def bound(what, value, limit):
    print(json.dumps({"what": what, "value": round(value, 2), "limit": limit}), flush=True)
    if value > limit:
        failures.append(f"{what}: {value:.2f}, more than {limit}")


class Bench:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.sources = binary, folder, 0
        self.environment = dict(os.environ, XDG_CONFIG_HOME=os.path.join(folder, "config"))

    def command(self, command, *arguments):
        return [self.binary, command, "-q", "--repo", self.repository, *arguments]

    def run(self, command, *arguments):
        return measure(self.command(command, *arguments), self.environment)

    def new_source(self, sql=None):
        self.sources += 1
        self.repository = os.path.join(self.folder, f"repository-{self.sources}")
        self.identity = os.path.join(self.folder, f"identity-{self.sources}")
        self.run("init", "--identity-out", self.identity)
        psql("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        fresh(DATABASE)
        if sql:
            psql(DATABASE, sql)
        else:
            subprocess.run(["pgbench", "-i", "-q", "-s", "10", uri(DATABASE)], check=True,
                           stderr=subprocess.DEVNULL)
        self.run("setup", "--keyless", "full", "-d", uri(DATABASE))

    def keeps_up(self):
        """pgbench at full speed, the streamer beside it."""
        self.new_source()
        stream = subprocess.Popen(
            self.command("stream", "-d", uri(DATABASE), "--segment-seconds", str(SEGMENT_SECONDS)),
            env=self.environment)
        lags, over = [], threading.Event()

        def watch():
            while not over.wait(0.5):
                lags.append(lag())

        watcher = threading.Thread(target=watch)
        watcher.start()
        rate = pgbench()
        begin, end = time.monotonic(), position()
        over.set()
        watcher.join()
        wait_confirmed(end)
        caught_up = time.monotonic() - begin
        waits = [commit_to_durable() for _ in range(3)]
        stream.terminate()
        _, status, usage = os.wait4(stream.pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            sys.exit("pgkeep stream failed")
        print(json.dumps({"what": "pgbench beside the stream", "transactions_per_second": rate,
                          "greatest_lag_megabytes": round(max(lags) / 1e6, 1)}), flush=True)
        bound("seconds to catch up after pgbench", caught_up, SEGMENT_SECONDS + 1)
        bound("seconds from commit to durable", max(waits), SEGMENT_SECONDS + 1)
        bound("megabytes of memory", usage.ru_maxrss / 1000, MEGABYTES_MAX)

    def drains(self):
        """The same backlog, by us into the repository, by pg_recvlogical into a file."""
        self.new_source()
        psql(DATABASE, "SELECT pg_create_logical_replication_slot('bench_file', 'pgoutput')")
        pgbench()
        end = position()
        file = os.path.join(self.folder, "file")
        theirs = measure(["pg_recvlogical", "-d", uri(DATABASE), "-S", "bench_file", "--start",
                          "--no-loop", f"--endpos={end}", "-f", file, "-o", "proto_version=1",
                          "-o", "publication_names=pgkeep"])
        ours = self.run("stream", "--until-caught-up", "-d", uri(DATABASE))
        compare("backlog", ours, theirs)
        bound("backlog, times of pg_recvlogical", ours.seconds / theirs.seconds, DRAIN_RATIO_MAX)

    def folds(self):
        """As many changes as rows, beside the backup of what they make."""
        self.new_source(f"""
            CREATE TABLE rows (id int PRIMARY KEY, at timestamptz, amount numeric, note text);
            INSERT INTO rows SELECT i, now(), i / 7.0, 'note ' || md5(i::text)
            FROM generate_series(1, {ROWS}) i""")
        self.run("backup", "-d", uri(DATABASE), "-j", JOBS)
        for part in range(10):
            psql(DATABASE, f"UPDATE rows SET amount = amount + 1 WHERE id % 10 = {part}")
        self.run("stream", "--until-caught-up", "-d", uri(DATABASE))
        digest = psql(DATABASE, "SELECT count(*), sum(amount) FROM rows")
        self.restore("--to-latest")
        if psql("bench_copy", "SELECT count(*), sum(amount) FROM rows") != digest:
            sys.exit("the moment is not what the source is")
        # Behind the end of the stream, so that the moment goes on from the first.
        self.run("backup", "-d", uri(DATABASE), "-j", JOBS)
        ratios = []
        for _ in range(PAIRS):
            to_moment, plain = self.restore("--to-latest"), self.restore()
            ratios.append(to_moment.seconds / plain.seconds)
            print(json.dumps({"what": f"restore after {ROWS} changes",
                              "seconds": round(to_moment.seconds, 2),
                              "megabytes": round(to_moment.megabytes),
                              "plain_seconds": round(plain.seconds, 2),
                              "plain_megabytes": round(plain.megabytes)}), flush=True)
        bound("restore to a moment, times of the plain one, median of pairs",
              statistics.median(ratios), FOLD_RATIO_MAX)

    def restore(self, *moment):
        fresh("bench_copy")
        return self.run("restore", "--identity", self.identity, "-d", uri("bench_copy"),
                        "-j", JOBS, "--no-analyze", *moment)


def pgbench():
    done = subprocess.run(["pgbench", "-n", "-c", "4", "-j", "2", "-T", str(SECONDS), uri(DATABASE)],
                          check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return float(next(line.split()[2] for line in done.stdout.splitlines()
                      if line.startswith("tps")))


def position():
    return psql(DATABASE, "SELECT pg_current_wal_lsn()").strip()


def lag():
    return int(psql(DATABASE, f"""SELECT pg_current_wal_lsn() - confirmed_flush_lsn
                                  FROM pg_replication_slots WHERE slot_name = '{SLOT}'"""))


def wait_confirmed(lsn):
    while psql(DATABASE, f"""SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots
                             WHERE slot_name = '{SLOT}'""").strip() != "t":
        time.sleep(0.05)


def commit_to_durable():
    begin = time.monotonic()
    psql(DATABASE, "UPDATE pgbench_branches SET bbalance = 0 WHERE bid = 1")
    wait_confirmed(position())
    return time.monotonic() - begin


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
