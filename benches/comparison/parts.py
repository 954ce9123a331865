"""What is measured. In each round every contender does the same work once, one after another and
beginning with another one each time, so that what else the machine does falls on all of them.
"""

import os
import shutil
from contextlib import nullcontext

from side_by_side import fresh, measure, psql

from . import data

SMALL_TABLE = ("small", "t7")


class Parts:
    def __init__(self, contenders, server, results, runs, folder):
        self.all, self.server, self.results = contenders, server, results
        self.runs, self.folder = runs, folder
        # Whose backup of the source is there.
        self.kept = set()

    def measure(self, part, contender, command, added=None, name=None):
        """Measures one command, after whatever the server had left to write; `added` tells the
        bytes that it stored."""
        psql("postgres", "CHECKPOINT")
        measured = measure(command, contender.environment, self.server.postmaster)
        self.results.add(part, name or contender.name, measured, added() if added else None)

    def rounds(self, contenders):
        """Each contender in each round, every time beginning with another one."""
        for number in range(self.runs):
            yield from contenders[number % len(contenders):] + contenders[:number % len(contenders)]

    def first_backup(self, contender, part="first backup"):
        contender.clear()
        contender.prepare()
        before = contender.stored() if os.path.isdir(contender.folder) else 0
        self.measure(part, contender, contender.backup(),
                     lambda: None if contender.stored() is None else contender.stored() - before)
        self.kept.add(contender.name)

    def need(self, *contenders):
        """Makes the backups that a part begins with, unless an earlier part left them."""
        data.drop(data.COPY, data.CHANGED)
        for contender in contenders:
            if contender.name not in self.kept:
                self.first_backup(contender, "needed first")

    # The parts, as `--part` names them.

    def backup(self):
        data.drop(data.COPY, data.CHANGED)
        # The source into the server's memory, before anybody is measured.
        self.measure("warming", self.all.floors[0], self.all.floors[0].backup())
        for contender in self.rounds(self.all.of_backup()):
            self.first_backup(contender)

    def again(self):
        """A second backup of what did not change, and after one row of a hundred did."""
        self.second("second backup, nothing changed", None)
        self.second("second backup, newest 1 % changed", "newest")
        self.second("second backup, scattered 1 % changed", "scattered")

    def second(self, part, change):
        contenders = [self.all.pgkeep] + ([self.all.pgbackrest] if self.all.pgbackrest else [])
        self.need(*contenders)
        for contender in self.rounds(contenders):
            if change:
                data.clone()
            if contender is self.all.pgkeep:
                used = contender.copy_to(os.path.join(self.folder, "pgkeep-again"))
            else:
                # It compares files, which the copy of the database has anew.
                used = contender
                used.clear()
                used.prepare()
                measure(used.backup(), used.environment)
            if change:
                data.change(change)
            before = used.stored()
            with data.changed_in_place() if change else nullcontext():
                self.measure(part, used, used.second(), lambda: used.stored() - before)
            if used is not contender:
                used.clear()
        data.drop(data.CHANGED)

    def restore(self):
        contenders = [self.all.pgkeep, self.all.dumps[0], self.all.dumps[-1]]
        self.need(*contenders)
        for contender in self.rounds(contenders):
            fresh(data.COPY)
            self.measure("restore", contender, contender.restore(data.COPY),
                         name=contender.restorer)
            self.check(contender)
        data.drop(data.COPY)

    def check(self, contender):
        """What came back is all of it."""
        count = """SELECT string_agg(format('%s: %s, %s indexes', c.oid::regclass,
                     (xpath('//n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s',
                       c.oid::regclass), false, true, '')))[1],
                     (SELECT count(*) FROM pg_index WHERE indrelid = c.oid)), E'\\n' ORDER BY c.oid)
                   FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"""
        found, wanted = (sorted(psql(name, count).splitlines())
                         for name in (data.COPY, data.SOURCE))
        if found != wanted:
            raise SystemExit(f"{contender.name} restored {found} instead of {wanted}")

    def table(self):
        """One small table of the whole."""
        contenders = [self.all.pgkeep, self.all.dumps[0], self.all.dumps[-1]]
        self.need(*contenders)
        schema, table = SMALL_TABLE
        # Short, so the clock's noise is large: more often.
        for _ in range(3):
            for contender in self.rounds(contenders):
                fresh(data.COPY)
                psql(data.COPY, f"CREATE SCHEMA {schema}")
                self.measure("restore of one small table", contender,
                             contender.restore_table(data.COPY, schema, table),
                             name=contender.restorer)
                if psql(data.COPY, f"SELECT count(*) FROM {schema}.{table}").strip() != "100":
                    raise SystemExit(f"{contender.name} did not restore {schema}.{table}")
        data.drop(data.COPY)

    def verify(self):
        contenders = [self.all.pgkeep] + ([self.all.pgbackrest] if self.all.pgbackrest else [])
        self.need(*contenders)
        for contender in self.rounds(contenders):
            self.measure("verify", contender, contender.verify())

    def copy(self):
        """From database to database: pgcopydb beside a backup and its restore."""
        if not self.all.pgcopydb:
            return
        for contender in self.rounds([self.all.pgkeep, self.all.pgcopydb]):
            data.drop(data.CHANGED)
            fresh(data.COPY)
            if contender is self.all.pgcopydb:
                shutil.rmtree(contender.folder, ignore_errors=True)
                self.measure("copy to another database", contender, contender.copy(data.COPY))
            else:
                contender.clear()
                contender.prepare()
                commands = [contender.backup(), contender.restore(data.COPY)]
                self.results.add("copy to another database", contender.name, added_up([
                    measure(command, contender.environment, self.server.postmaster)
                    for command in commands]), None)
                self.kept.add(contender.name)
        data.drop(data.COPY)

    NAMES = ["backup", "again", "restore", "table", "verify", "copy"]


def added_up(measured):
    """One after the other, as one."""
    return measured[0]._replace(
        megabytes=max(one.megabytes for one in measured),
        **{name: sum(getattr(one, name) for one in measured)
           for name in ("seconds", "client", "server", "machine")})
