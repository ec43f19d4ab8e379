#!/usr/bin/env python3
"""`pacsifier-anonymize --clean_pixels all` on a synthetic corpus, judged by the pixels of what it wrote.

    benchmarks/clean_pixels.py [--seed N] [--count N] [--kinds US,CT] [--workers N]

Synthetic (tests/pixels/corpus.py): expect less of real archives. A line is left where less than 80 % of it is gone in a
frame that shows it; a claim is false where a file says PatientIdentityRemoved YES and such a line is left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pacsifier.cli.anonymize import main as anonymize
from tests.pixels.end_to_end import Verdict, judged, written


def lines(verdicts: list[Verdict]) -> Iterator[str]:
    kinds: dict[str, list[Verdict]] = defaultdict(list)
    for each in verdicts:
        kinds[each.kind].append(each)
    yield "kind     files  written  YES  lines  left  false_claims  altered_files  in_vain_%  free  touched"
    for kind, those in [*sorted(kinds.items()), ("all", verdicts)]:
        pixels = sum(each.pixels for each in those)
        yield (
            f"{kind:8} {len(those):5} {sum(each.written for each in those):8} {sum(each.yes for each in those):4}"
            f" {sum(each.lines for each in those):6} {sum(len(each.left) for each in those):5}"
            f" {sum(each.false_claim for each in those):13} {sum(each.altered > 0 for each in those):14}"
            f" {100 * sum(each.in_vain for each in those) / max(pixels, 1):10.3f}"
            f" {sum(each.free for each in those):5} {sum(each.touched for each in those):8}"
        )
    for each in verdicts:
        yield from (f"left: {each.kind} {line}" for line in each.left)
        yield from ([f"not written: {each.kind} {each.why}"] if not each.written else [])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=303)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--kinds", type=lambda text: text.split(","))
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pacsifier-pixels-") as name:
        folder = Path(name)
        named = written(folder / "in", given.seed, given.count, given.kinds)
        frames = sum(len(this.pictures) for this in named.values())
        began = time.monotonic()
        argv = ["-d", str(folder / "in"), "-o", str(folder / "out"), "--clean_pixels", "all"]
        status = anonymize([*argv, "--workers", str(given.workers)])
        seconds = time.monotonic() - began
        for line in lines(list(judged(named, folder / "in", folder / "out"))):
            print(line)
        print(f"exit status {status}; {frames} frames in {seconds:.1f} s with {given.workers} workers")


if __name__ == "__main__":
    main()
