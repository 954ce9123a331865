"""What pgkeep must be, and wants to be. Where a figure was not measured there is no verdict."""

from typing import NamedTuple

DIRECTORY = "pg_dump -Fd -Z zstd:3"
FAST = "pg_dump -Fd -Z zstd:1"
FLOOR = "floor, COPY binary"
RESTORE = "pg_restore of -Fd -Z zstd:3"
MEMORY_MAX, MEMORY_GOAL = 256, 128


class Verdict(NamedTuple):
    what: str
    value: float
    bar: float
    goal: float
    unit: str = ""

    def word(self):
        return "goal" if self.value <= self.goal else "pass" if self.value <= self.bar else "FAIL"

    def figures(self):
        digits = 0 if self.unit else 2 if self.bar >= 0.1 else 3 if self.bar >= 0.01 else 5
        return [f"{number:.{digits}f}{self.unit}" for number in (self.value, self.bar, self.goal)]


def beside(results, part):
    """Who is 1 in a part's ratios: pg_dump as good as it gets here; pgkeep where no such is."""
    names = results.names(part)
    others = [name for name in names if name.startswith(("pg_dump", "pg_restore"))]
    return next(name for name in [DIRECTORY, RESTORE, *others, "pgkeep", *names] if name in names)


def verdicts(results):
    """All that can be said of what was measured."""
    first = "first backup"

    def again(which):
        part = f"second backup, {which} changed"
        # Where only this part was asked for, the first one was made for it.
        base = first if "pgkeep" in results.names(first) else "needed first"
        return results.ratio(part, "stored", "pgkeep", "pgkeep", base)

    def memory(*parts):
        peaks = [results.peak(part, "pgkeep") for part in parts]
        return max((peak for peak in peaks if peak is not None), default=None)

    bars = [
        (f"first backup, time of {DIRECTORY}",
         results.ratio(first, "seconds", "pgkeep", DIRECTORY), 0.50, 0.40),
        (f"first backup, time of {FAST}",
         results.ratio(first, "seconds", "pgkeep", FAST), 0.75, 0.65),
        ("first backup, time of the floor",
         results.ratio(first, "seconds", "pgkeep", FLOOR), 1.40, 1.15),
        (f"first backup, bytes of {DIRECTORY}",
         results.ratio(first, "stored", "pgkeep", DIRECTORY), 0.90, 0.75),
        ("second backup, nothing changed, bytes of the first", again("nothing"), 0.005, 0.001),
        ("second backup, newest 1 % changed, bytes of the first", again("newest 1 %"), 0.05, 0.03),
        # No bar, a goal alone: whoever reaches it passes.
        ("second backup, scattered 1 % changed, bytes of the first", again("scattered 1 %"),
         float("inf"), 0.30),
        ("restore, time of pg_restore -j",
         results.ratio("restore", "seconds", "pgkeep", RESTORE), 0.75, 0.60),
        ("restore of one small table, time of pg_restore -t",
         results.ratio("restore of one small table", "seconds", "pgkeep", RESTORE), 0.5, 0.2),
    ]
    found = [Verdict(*bar) for bar in bars if bar[1] is not None]
    peaks = [("peak memory of backups", memory(*(part for part in results.parts()
                                                 if "backup" in part))),
             ("peak memory of restores", memory("restore"))]
    found += [Verdict(what, peak, MEMORY_MAX, MEMORY_GOAL, " MB")
              for what, peak in peaks if peak is not None]
    return found
