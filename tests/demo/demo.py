"""The main job of pgkeep on a real server: back up, change, back up again, lose a table,
get it back, restore everything elsewhere, undo a DELETE without WHERE, and prove that it is the
same.

Run by `make demo`, which starts a scratch server and names it in PGHOST and PGPORT. Every
command is printed as it can be typed; psql and pg_dump are only here to make the data and
to judge the result, pgkeep itself uses neither.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHANGE = """
    UPDATE clients SET status = 'closed' WHERE id % 1000 = 0;
    UPDATE jobs SET state = 'done' WHERE id > (SELECT max(id) * 0.99 FROM jobs);
    INSERT INTO transactions (client_id, booked_on, amount, description)
    SELECT 1 + i % 100, '2026-01-05', i, 'new ' || i FROM generate_series(1, 5000) i;
    REFRESH MATERIALIZED VIEW monthly_totals; REFRESH MATERIALIZED VIEW yearly_totals
"""


class Demo:
    def __init__(self, folder, binary):
        self.repository = os.path.join(folder, "repository")
        self.identity = os.path.join(folder, "identity")
        self.environment = dict(os.environ)
        # Where key files go unless they are told to; the user's own stay apart from a demo's.
        self.environment["XDG_CONFIG_HOME"] = os.path.join(folder, "config")
        self.environment["PATH"] = os.path.dirname(binary) + os.pathsep + os.environ["PATH"]
        self.steps = []

    def uri(self, database):
        return f"postgresql://postgres@127.0.0.1:{os.environ['PGPORT']}/{database}"

    def say(self, text):
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    def run(self, *command, step=None, capture=False):
        """Prints a command, runs it, and notes how long it took under the name `step`."""
        print("$ " + " ".join(quoted(word) for word in command), flush=True)
        stored, start = self.stored(), time.monotonic()
        done = subprocess.run(command, env=self.environment, check=False, text=True,
                              stdout=subprocess.PIPE if capture else None)
        seconds = time.monotonic() - start
        if done.returncode != 0:
            sys.exit(f"demo: that failed with exit code {done.returncode}")
        if step:
            self.steps.append((step, seconds, self.stored() - stored))
        return done.stdout

    def psql(self, database, *arguments, **options):
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments,
                        self.uri(database), **options)

    def pgkeep(self, *arguments, **options):
        return self.run("pgkeep", *arguments, **options)

    def stored(self):
        """Bytes of all files of the repository."""
        return sum(os.path.getsize(os.path.join(folder, name))
                   for folder, _, names in os.walk(self.repository) for name in names)

    def quiet(self, *command):
        """Runs a judge, whose command line is of no interest."""
        return subprocess.run(command, env=self.environment, check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def digests(self, database):
        script = os.path.join(ROOT, "tests", "src", "digests.sql")
        lines = self.quiet("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", script,
                           self.uri(database)).splitlines()
        found = (json.loads(line) for line in lines)
        return {digest["name"]: (digest["rows"], digest["digest"]) for digest in found}

    def schema(self, database):
        text = self.quiet("pg_dump", "--schema-only", "--restrict-key=demo", self.uri(database))
        return [line for line in text.splitlines() if not line.startswith("-- Dumped ")]


def quoted(word):
    """A word as one would type it: SQL, which has single quotes, between double ones."""
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)


def fill(demo):
    demo.say("A scratch database with the platform: about a million rows.")
    demo.run("createdb", "--maintenance-db", demo.uri("postgres"), "platform")
    demo.psql("platform", "-v", "scale=1", "-f", "tests/fixtures/platform.sql", step="fill")


def back_up_twice(demo):
    repository = ["--repo", demo.repository]
    demo.say("A repository, encrypted for an identity that is kept elsewhere.")
    demo.pgkeep("init", *repository, "--identity-out", demo.identity, step="init")
    demo.environment["PGKEEP_IDENTITY"] = demo.identity
    print(f"$ export PGKEEP_IDENTITY={shlex.quote(demo.identity)}")
    demo.say("The first backup.")
    demo.pgkeep("backup", *repository, "-d", demo.uri("platform"), "--tag", "when=before",
                step="first backup")
    demo.say("A little changes.")
    demo.psql("platform", "-c", " ".join(CHANGE.split()), step="change")
    demo.say("The second backup adds only that.")
    demo.pgkeep("backup", *repository, "-d", demo.uri("platform"), "--tag", "when=after",
                step="second backup")
    demo.pgkeep("list", *repository)


def lose_and_restore_a_table(demo, before):
    demo.say("A table is lost, with the view on it.")
    demo.psql("platform", "-c", "DROP TABLE jobs CASCADE")
    demo.say("It comes back alone; the rest of the database is not touched.")
    demo.pgkeep("restore", "--repo", demo.repository, "-d", demo.uri("platform"), "-t", "jobs",
                "-t", "open_jobs", step="restore a table")
    return compare("lost and restored: jobs", before, demo.digests("platform"))


def restore_everything(demo, before, schema):
    demo.say("Everything comes back in a fresh database.")
    demo.run("createdb", "--maintenance-db", demo.uri("postgres"), "copy")
    demo.pgkeep("restore", "--repo", demo.repository, "-d", demo.uri("copy"),
                step="restore everything")
    demo.say("Nothing that is stored has rotted.")
    demo.pgkeep("verify", "--repo", demo.repository, step="verify")
    same = compare("restored database", before, demo.digests("copy"))
    copy = demo.schema("copy")
    lines = sum(1 for left, right in zip(schema, copy) if left != right)
    lines += abs(len(schema) - len(copy))
    print(f"  pg_dump --schema-only of both: {len(schema)} lines, {lines} differ")
    return same and lines == 0


def undo_a_delete(demo):
    repository, source = ["--repo", demo.repository], ["-d", demo.uri("platform")]
    demo.say("From now on every commit is kept: a stream, and a backup to begin with.")
    demo.pgkeep("setup", "--quiet", *repository, *source, "--keyless", "full")
    demo.pgkeep("backup", "--quiet", *repository, *source, step="backup that joins the stream")
    demo.psql("platform", "-c", "UPDATE jobs SET state = 'done' WHERE id % 100 = 0")
    before = demo.digests("platform")
    demo.say("Somebody commits a DELETE without WHERE. Others go on.")
    xid = demo.psql("platform", "-c", "BEGIN", "-c", "DELETE FROM jobs",
                    "-c", "SELECT pg_current_xact_id()", "-c", "COMMIT", capture=True).strip()
    print(f"  that was transaction {xid}")
    demo.psql("platform", "-c", "INSERT INTO transactions (client_id, booked_on, amount, "
              "description) SELECT 1, '2026-01-06', i, 'later' FROM generate_series(1, 100) i")
    after = demo.digests("platform")
    # It would run all the time; here it stores what there is and ends.
    demo.pgkeep("stream", "--quiet", *repository, *source, "--until-caught-up", step="stream")
    demo.pgkeep("list", *repository)
    demo.say("The table comes back as it was one transaction before; the others stay.")
    demo.pgkeep("restore", *repository, *source, "--to-xid", xid, "--exclusive", "--clean",
                "-t", "jobs", "-t", "open_jobs", step="undo the DELETE")
    expected = {name: before[name] if name == "public.jobs" else digest
                for name, digest in after.items()}
    if before["public.jobs"] == after["public.jobs"]:
        sys.exit("demo: the DELETE deleted nothing")
    return compare("undone: jobs", expected, demo.digests("platform"))


def compare(what, before, after):
    """Compares count and digest of each table, both computed by the server."""
    differing = sorted(name for name in before.keys() | after.keys()
                       if before.get(name) != after.get(name))
    rows = sum(rows for name, (rows, _) in before.items() if not name.endswith("_seq"))
    print(f"\n  {what}: {len(before)} tables and sequences, {rows:,} rows; "
          f"{len(differing)} differ from the database as it was {differing or ''}", flush=True)
    return not differing


def report(demo, size):
    demo.say("What happened")
    print(f"  {'':<30}{'seconds':>10}{'MB added to the repository':>30}")
    for step, seconds, added in demo.steps:
        print(f"  {step:<30}{seconds:>10.1f}" + (f"{added / 1e6:>30.1f}" if added else ""))
    first, second = (added for step, _, added in demo.steps if step in ("first backup", "second backup"))
    print(f"\n  database {size / 1e6:.0f} MB, first backup {first / 1e6:.1f} MB, "
          f"second {second / 1e6:.1f} MB ({100 * second / first:.1f} % of the first)")


def main():
    binary = os.path.abspath(sys.argv[1])
    os.chdir(ROOT)
    folder = tempfile.mkdtemp(prefix="pgkeep-demo-")
    demo = Demo(folder, binary)
    try:
        print(f"$ export PATH={shlex.quote(os.path.dirname(binary))}:$PATH")
        print(f"$ export XDG_CONFIG_HOME={shlex.quote(demo.environment['XDG_CONFIG_HOME'])}")
        fill(demo)
        back_up_twice(demo)
        before, schema = demo.digests("platform"), demo.schema("platform")
        size = int(demo.quiet("psql", "-X", "-A", "-t", "-c",
                              "SELECT pg_database_size('platform')", demo.uri("postgres")))
        proved = lose_and_restore_a_table(demo, before)
        proved = restore_everything(demo, before, schema) and proved
        proved = undo_a_delete(demo) and proved
        report(demo, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for database in ("platform", "copy"):
            subprocess.run(["dropdb", "--if-exists", "--force", "--maintenance-db",
                            demo.uri("postgres"), database], check=False,
                           stderr=subprocess.DEVNULL)
    if not proved:
        sys.exit("demo: the restored database is not the same (see above)")
    print("\nThe restored rows and definitions are the same. The scratch server and the repository "
          "are gone;\nthe commands above work on yours.")


if __name__ == "__main__":
    main()
