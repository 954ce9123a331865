"""What was measured: every run, and the medians that are compared."""

import json
import statistics
from operator import truediv


FIGURES = {
    "seconds": lambda measured, stored: measured.seconds,
    "client": lambda measured, stored: measured.client,
    "server": lambda measured, stored: measured.server,
    "processor": lambda measured, stored: measured.client + measured.server,
    "others": lambda measured, stored: others(measured),
    "stored": lambda measured, stored: stored,
}


class Results:
    def __init__(self):
        # Part, then contender, then its runs.
        self.runs = {}

    def add(self, part, name, measured, stored):
        self.runs.setdefault(part, {}).setdefault(name, []).append((measured, stored))
        line = {"part": part, "who": name, "seconds": round(measured.seconds, 2),
                "client_cpu": round(measured.client, 2), "server_cpu": round(measured.server, 2),
                "megabytes": round(measured.megabytes),
                "others_cpu": round(others(measured), 2)}
        if stored is not None:
            line["stored_bytes"] = stored
        print(json.dumps(line), flush=True)

    def parts(self):
        return [part for part in self.runs if part not in ("warming", "needed first")]

    def names(self, part):
        return list(self.runs.get(part, {}))

    def values(self, part, name, of):
        """A figure of all rounds, in their order; nothing where it was not measured."""
        values = [FIGURES[of](measured, stored)
                  for measured, stored in self.runs.get(part, {}).get(name, [])]
        return [] if None in values else values

    def median(self, part, name, of):
        values = self.values(part, name, of)
        return statistics.median(values) if values else None

    def peak(self, part, name):
        runs = self.runs.get(part, {}).get(name)
        return max(measured.megabytes for measured, _ in runs) if runs else None

    def ratio(self, part, of, name, beside, beside_part=None):
        """The median of the rounds' ratios: what slows a round down slows both."""
        mine = self.values(part, name, of)
        theirs = self.values(beside_part or part, beside, of)
        if beside_part:
            # Of another part, so of other rounds.
            theirs = [statistics.median(theirs)] * len(mine) if theirs else []
        return statistics.median(map(truediv, mine, theirs)) if mine and theirs else None


def others(measured):
    """Processor time of everybody else meanwhile: how much a run was disturbed."""
    return max(0.0, measured.machine - measured.client - measured.server)
