"""The results as people read them: RESULTS.md, with the chart beside it."""

import os
import platform

from .bars import beside, verdicts
from .chart import chart

INTRODUCTION = """# pgkeep beside pg_dump, pgBackRest and pgcopydb

Written by `make bench`; do not edit. Everybody did the same work on the same server through the
same Unix socket, in turns; figures are medians, ratios medians of the rounds' ratios. Ratios are
what holds on other machines: seconds of this one do not.

![Time and bytes beside pg_dump](results.svg)
"""

NOTES = """
*Client* and *server* are seconds of processor time, of all processes of each; the second ratio is
that of their sum. *Memory* is the peak
of the largest process of a command, and never less than the 20 MB of the program that measures.
*Others* is what everybody else used of the processors
meanwhile: how much a figure was disturbed. The *floor* are as many connections that drain `COPY`
and keep nothing: no reader of rows is faster. pgkeep encrypts, signs and deduplicates what it
stores; pg_dump does neither. pgBackRest copies the files of the whole cluster, indexes too, for
the same major version; it cannot restore a table. Of one table pg_restore restores neither key nor
index; pgkeep does.
"""


def write(folder, results, facts, contenders):
    with open(os.path.join(folder, "results.svg"), "w") as file:
        file.write(chart(results))
    with open(os.path.join(folder, "RESULTS.md"), "w") as file:
        file.write("\n".join([INTRODUCTION, about(facts, contenders), "## The bars\n",
                              bars(results), "## All figures\n", tables(results), NOTES]))


def about(facts, contenders):
    versions = ", ".join(sorted({f"{name.split(' ')[0]} {version}"
                                 for name, version in contenders.versions().items()}))
    lines = [f"- Data: {facts['bytes'] / 1e9:.2f} GB in PostgreSQL {facts['server']} with its "
             "indexes (`benches/comparison/data.py`).",
             f"- Programs: {versions}; {contenders.jobs} connections or processes each.",
             f"- Machine: {facts['processors']} processors ({processor()}), {memory()}, "
             f"{platform.system()} {platform.release()}.",
             f"- {facts['runs']} rounds."]
    if contenders.missing:
        lines.append(f"- Not on this machine: {', '.join(contenders.missing)}.")
    return "\n".join(lines) + "\n"


def processor():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")),
                    platform.machine())


def memory():
    with open("/proc/meminfo") as file:
        return f"{int(file.readline().split()[1]) / 1e6:.0f} GB of memory"


def bars(results):
    lines = ["| | pgkeep | bar | goal | |", "|---|---|---|---|---|"]
    for verdict in verdicts(results):
        value, bar, goal = verdict.figures()
        lines.append(f"| {verdict.what} | **{value}** | {'none' if bar == 'inf' else bar} | {goal} "
                     f"| {verdict.word()} |")
    return "\n".join(lines) + "\n"


def tables(results):
    return "\n".join(table(results, part) for part in results.parts())


def table(results, part):
    one = beside(results, part)
    lines = [f"### {part[0].upper()}{part[1:]}\n",
             f"Ratios: to {one}.\n",
             "| | seconds | ratio | client | server | ratio | others | memory, MB | stored, MB |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name in results.names(part):
        def median(of):
            return results.median(part, name, of)

        stored = median("stored")
        lines.append(f"| {name} | {median('seconds'):.2f} "
                     f"| {results.ratio(part, 'seconds', name, one):.2f} "
                     f"| {median('client'):.2f} | {median('server'):.2f} "
                     f"| {results.ratio(part, 'processor', name, one):.2f} "
                     f"| {median('others'):.2f} "
                     f"| {results.peak(part, name):.0f} "
                     f"| {'' if stored is None else f'{stored / 1e6:.2f}'} |")
    return "\n".join(lines) + "\n"
