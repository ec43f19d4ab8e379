"""Look, choose, fetch with very many series: `--info`, the series table edited, and given back. Time and memory.

    python benchmarks/choose.py [--series N] [--shape one|many] [--keep SHARE] [--limit MB] [--without STEP ...]

The PACS is the synthetic one of `memory.py` (127.0.0.1, a process of its own). A first run lists every series into
`logs/series.csv`; of the table that share of the rows is kept (by default all), each with a pseudonym and a comment;
then the table is asked for again by `--info`, by `--move`, of which the PACS only says that it has moved all, and by
`--save`, for which it holds one tiny image of each series and sends it: each must lie on disk at the end. Beside the
runs stands what it takes to read the table alone. Measured is the process of pacsifier itself (VmHWM, CPU time),
without DCMTK's tools.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import memory

from pacsifier.query import read_query_file

_OWN = ("new_ids", "comment")
_AGAIN = ("--info again", "--move")


@dataclass(frozen=True)
class Step:
    """What one step took: memory in kB, times in s; and what it left behind."""

    name: str
    peak_kb: int
    wall_s: float
    cpu_s: float
    rows: int
    table_bytes: int

    def __str__(self) -> str:
        size = f"{self.table_bytes / 1e6:9.1f}"
        return (
            f"{self.name:14}{self.peak_kb / 1000:9.1f}{self.wall_s:9.1f}{self.cpu_s:9.1f}{self.rows:10}{size}"
        )


def choose(source: Path, target: Path, share: float) -> int:
    """Keeps that share of the rows of a table, with a pseudonym and a comment each; returns how many."""
    kept = 0
    with (
        source.open(encoding="utf-8", newline="") as table,
        target.open("w", encoding="utf-8", newline="") as chosen,
    ):
        reader = csv.DictReader(table)
        writer = csv.DictWriter(chosen, [*(reader.fieldnames or ()), *_OWN])
        writer.writeheader()
        for number, row in enumerate(reader):
            if int((number + 1) * share) > int(number * share):
                kept += 1
                writer.writerow({**row, "new_ids": f"P{row['PatientID']}", "comment": f"arm {number % 3}"})
    return kept


def read_alone(chosen: Path) -> Step:
    """Reads the table in a process of its own."""
    began = time.monotonic()
    code = [sys.executable, __file__, "--read", str(chosen)]
    cpu_s, peak_kb, rows = json.loads(subprocess.run(code, capture_output=True, check=True).stdout)
    return Step("read alone", peak_kb, time.monotonic() - began, cpu_s, rows, chosen.stat().st_size)


def read(path: Path) -> None:
    """Reads a table and prints CPU time, peak memory in kB and the number of its rows."""
    before = time.process_time()
    rows = len(read_query_file(path).queries)
    cpu_s = time.process_time() - before
    print(json.dumps([cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, rows]))


def steps(series: int, shape: str, share: float, without: Collection[str]) -> Iterator[Step]:
    """Runs the loop; each step is checked before its figures count."""
    with tempfile.TemporaryDirectory(prefix="pacsifier-choose-") as name:
        folder = Path(name)
        chosen = folder / "chosen.csv"
        with memory.synthetic_pacs(series, shape) as ports:
            memory.prepare(folder, ports)
            yield step("--info", folder, folder / "query.csv", folder / "listed", series)
            kept = choose(folder / "listed/logs/series.csv", chosen, share)
            yield read_alone(chosen)
            for number, each in enumerate(each for each in _AGAIN if each not in without):
                yield step(each, folder, chosen, folder / f"again{number}", kept)
        if "--save" not in without:
            with memory.synthetic_pacs(series, shape, instances=1) as ports:
                memory.prepare(folder, ports)
                yield step("--save", folder, chosen, folder / "saved", kept)


def step(name: str, folder: Path, query: Path, out: Path, expected: int) -> Step:
    """One run of pacsifier; its series table must hold so many rows, and all that was added to it."""
    figures = memory.run_once(folder, (name.split(maxsplit=1)[0], "-q", query, "-d", out))
    path = out / "logs" / "series.csv"
    rows = 0
    with path.open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            rows += 1
            sound = row["status"] == ("complete" if name in ("--move", "--save") else "listed")
            if name == "--save":
                sound = sound and sum(1 for _ in (out / row["folder"]).iterdir()) == 1
            if not sound or (query.name == "chosen.csv" and row["new_ids"] != f"P{row['PatientID']}"):
                sys.exit(f"{name}: row {rows} of {path} is not what it should be: {row}")
    if rows != expected:
        sys.exit(f"{name}: {rows} of {expected} series")
    return Step(name, figures.peak_kb, figures.wall_s, figures.cpu_s, rows, path.stat().st_size)


def main(argv: Sequence[str]) -> int:
    """Measures and prints."""
    if argv[:1] == ["--read"]:
        read(Path(argv[1]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--shape", choices=["one", "many"], default="many")
    parser.add_argument("--keep", type=float, default=1.0, metavar="SHARE", help="of the rows; default: 1")
    # Without their dashes, as argparse would take them for options.
    steps_by_word = {each.strip("-").partition(" ")[0]: each for each in (*_AGAIN, "--save")}
    parser.add_argument("--without", nargs="+", default=[], choices=[*steps_by_word], help="steps left out")
    parser.add_argument("--limit", type=float, metavar="MB", help="exit 1 when a step needs more")
    options = parser.parse_args(argv)
    print(f"{'step':14}{'peak MB':>9}{'wall s':>9}{'CPU s':>9}{'rows':>10}{'table MB':>9}")
    worst = 0.0
    without = [steps_by_word[word] for word in options.without]
    for each in steps(options.series, options.shape, options.keep, without):
        print(each, flush=True)
        worst = max(worst, each.peak_kb / 1000)
    return int(options.limit is not None and worst > options.limit)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
