"""What was measured: every run, and the medians that are compared."""

import json
import statistics


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

    def median(self, part, name, of):
        """The median of a figure of the runs; nothing where it was not measured."""
        runs = self.runs.get(part, {}).get(name)
        if not runs:
            return None
        values = [stored if of == "stored" else others(measured) if of == "others"
                  else getattr(measured, of) for measured, stored in runs]
        return None if None in values else statistics.median(values)

    def peak(self, part, name):
        runs = self.runs.get(part, {}).get(name)
        return max(measured.megabytes for measured, _ in runs) if runs else None

    def ratio(self, part, of, name, beside, beside_part=None):
        mine = self.median(part, name, of)
        theirs = self.median(beside_part or part, beside, of)
        return mine / theirs if mine is not None and theirs else None


def others(measured):
    """Processor time of everybody else meanwhile: how much a run was disturbed."""
    return max(0.0, measured.machine - measured.client - measured.server)
