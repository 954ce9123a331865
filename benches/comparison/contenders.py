"""Who is measured, and the commands that do the work. All connect to the same Unix socket, and
all may use as many connections or processes.
"""

import os
import re
import shutil
import subprocess

from side_by_side import uri

from .data import SOURCE
from .server import ROOT


def stored(folder):
    """Bytes of all files below a folder."""
    return sum(os.lstat(os.path.join(directory, name)).st_size
               for directory, _, names in os.walk(folder) for name in names)


def version(program, argument="--version"):
    """A program's version; nothing where it does not run."""
    try:
        done = subprocess.run([program, argument], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return re.search(r"\d+(\.\d+)+", done.stdout).group()


class Contender:
    """One program with its options; keeps what it backs up in a folder of its own."""

    environment = None
    # Whether it keeps the whole cluster's files, and so indexes and the rest.
    physical = False

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        # What it is called where it restores.
        self.restorer = name

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self):
        """What comes before the first backup and is not part of it."""

    def stored(self):
        return stored(self.folder)


class Pgkeep(Contender):
    def __init__(self, binary, folder, jobs):
        super().__init__("pgkeep", folder)
        self.binary, self.jobs = binary, str(jobs)
        self.environment = dict(os.environ, XDG_CONFIG_HOME=os.path.join(folder, "config"))
        self.version = version(binary)

    def command(self, command, *arguments):
        return [self.binary, command, "-q", "--repo", os.path.join(self.folder, "repository"),
                *arguments]

    def identity(self):
        return ["--identity", os.path.join(self.folder, "identity")]

    def prepare(self):
        init = self.command("init", "--identity-out", os.path.join(self.folder, "identity"))
        subprocess.run(init, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def backup(self, database=SOURCE):
        # With the identity a second backup stores only rows that are new, as it does where `init`
        # put it at its default place.
        return self.command("backup", *self.identity(), "-d", uri(database), "-j", self.jobs)

    second = backup

    def restore(self, database, *arguments):
        # Nor does pg_restore gather statistics of planning.
        return self.command("restore", *self.identity(), "-d", uri(database), "-j", self.jobs,
                            "--no-analyze", "--no-statistics", *arguments)

    def restore_table(self, database, schema, table):
        # The schema first, as for pg_restore, so that both restore the table alone.
        return self.restore(database, "-t", f"{schema}.{table}")

    def verify(self):
        return self.command("verify", *self.identity())

    def stored(self):
        return stored(os.path.join(self.folder, "repository"))

    def copy_to(self, folder):
        """Another of it with the same repository. What is stored never changes: links will do."""
        other = Pgkeep(self.binary, folder, self.jobs)
        other.clear()
        shutil.copytree(self.folder, folder, copy_function=os.link)
        return other


class PgDump(Contender):
    def __init__(self, programs, options, folder, jobs):
        super().__init__("pg_dump " + " ".join(options), folder)
        self.restorer = "pg_restore of " + " ".join(options)
        self.programs, self.options, self.jobs = programs, options, str(jobs)
        self.version = version(programs["pg_dump"])

    def backup(self, database=SOURCE):
        options = self.options + (["-j", self.jobs] if "-Fd" in self.options else [])
        return [self.programs["pg_dump"], *options, "-f", self.folder, "-d", uri(database)]

    def restore(self, database, *arguments):
        return [self.programs["pg_restore"], "-j", self.jobs, "-d", uri(database), *arguments,
                self.folder]

    def restore_table(self, database, schema, table):
        return self.restore(database, "-n", schema, "-t", table)

    def stored(self):
        return os.path.getsize(self.folder) if os.path.isfile(self.folder) else super().stored()

    def clear(self):
        if os.path.isfile(self.folder):
            os.remove(self.folder)
        super().clear()


class PgBackRest(Contender):
    """Copies the cluster's files: no rows, no single table, no other major version."""

    physical = True

    def __init__(self, program, server, folder, jobs):
        super().__init__("pgBackRest", folder)
        self.program, self.server, self.jobs = program, server, str(jobs)
        self.version = version(program, "version")

    def command(self, command, *options):
        return [self.program, "--no-config", "--stanza=bench", f"--cmd={self.program}",
                f"--repo1-path={self.folder}/repository",
                "--log-level-file=off", "--log-level-console=off", "--log-level-stderr=error",
                *options, command]

    def cluster(self):
        return [f"--pg1-path={self.server.data}", f"--pg1-socket-path={self.server.home}",
                f"--pg1-port={self.server.port}", "--pg1-user=postgres",
                f"--lock-path={self.folder}/lock"]

    def prepare(self):
        os.makedirs(self.folder)
        subprocess.run(self.command("stanza-create", *self.cluster()), check=True)

    def backup(self, database=SOURCE, kind="full"):
        return self.command("backup", *self.cluster(), f"--type={kind}",
                            f"--process-max={self.jobs}", "--start-fast", "--no-archive-check",
                            "--repo1-bundle", "--repo1-block", "--compress-type=zst",
                            "--compress-level=3", "--repo1-retention-full=9")

    def second(self, database=SOURCE):
        return self.backup(database, "incr")

    def verify(self):
        return self.command("verify", f"--process-max={self.jobs}")

    def stored(self):
        return stored(os.path.join(self.folder, "repository"))


class PgCopyDb(Contender):
    """From database to database, nothing kept: beside a backup and a restore."""

    def __init__(self, program, folder, jobs):
        super().__init__("pgcopydb clone", folder)
        self.program, self.jobs = program, str(jobs)
        self.version = version(program)
        # It starts pg_dump and pg_restore itself.
        path = os.path.dirname(program) + os.pathsep + os.environ["PATH"]
        self.environment = dict(os.environ, PATH=path)

    def copy(self, database):
        return [self.program, "clone", "--source", uri(SOURCE), "--target", uri(database),
                "--dir", self.folder, "--table-jobs", self.jobs, "--index-jobs", self.jobs,
                # As pgkeep: large tables in parts, and no statistics of planning afterwards.
                "--split-tables-larger-than", "128MB", "--skip-vacuum"]


class Floor(Contender):
    """Connections that drain COPY and keep nothing (benches/src/floor.rs)."""

    version = None

    def __init__(self, binary, rows, jobs):
        super().__init__(f"floor, COPY {rows}", os.devnull)
        self.binary, self.rows, self.jobs = binary, rows, str(jobs)

    def clear(self):
        pass

    def backup(self, database=SOURCE):
        return [self.binary, os.environ["PGHOST"], os.environ["PGPORT"], database, self.jobs,
                self.rows]

    def stored(self):
        return None


class Contenders:
    """All that this machine has."""

    def __init__(self, options, server, folder):
        def place(name):
            return os.path.join(folder, name)

        self.jobs, self.only = options.jobs, options.only
        # Where benches/rivals puts them.
        rivals = os.path.join(ROOT, os.environ.get("PGKEEP_DEV_DIR", ".pgkeep-dev"), "rivals")
        # pg_dump reads no server newer than itself.
        installed = os.path.exists(os.path.join(rivals, "done")) and options.major == "17"
        self.missing = [] if installed else ["pg_dump with zstd and lz4", "pgBackRest", "pgcopydb"]

        def program(name):
            return os.path.join(os.path.join(rivals, "bin") if installed else server.clients, name)

        programs = {name: program(name) for name in ("pg_dump", "pg_restore")}
        self.pgkeep = Pgkeep(options.pgkeep, place("pgkeep"), self.jobs)
        self.floors = [Floor(options.floor, rows, self.jobs) for rows in ("binary", "text")]
        codecs = ["zstd:3", "zstd:1", "lz4"] if installed else ["gzip:6"]
        self.dumps = [PgDump(programs, ["-Fd", "-Z", codec], place(f"dump-{codec}"), self.jobs)
                      for codec in codecs]
        self.dumps.append(PgDump(programs, ["-Fc"], place("dump.custom"), self.jobs))
        self.pgbackrest = self.pgcopydb = None
        if installed:
            self.pgbackrest = PgBackRest(program("pgbackrest"), server, place("pgbackrest"),
                                         self.jobs)
            self.pgcopydb = PgCopyDb(program("pgcopydb"), place("pgcopydb"), self.jobs)

    def of_backup(self):
        return [contender for contender in self.everybody() if hasattr(contender, "backup")
                and (not self.only or any(word in contender.name for word in self.only))]

    def everybody(self):
        everybody = [self.pgkeep, *self.dumps, *self.floors, self.pgbackrest, self.pgcopydb]
        return [contender for contender in everybody if contender]

    def versions(self):
        return {contender.name: contender.version for contender in self.everybody()
                if contender.version}
