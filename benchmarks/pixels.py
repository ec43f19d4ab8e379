#!/usr/bin/env python3
"""How much of the text in pictures is found, what else is blanked, and how long it takes, by kind of picture.

The corpus is synthetic (tests/pixels/corpus.py): expect less of real archives. A line counts as found when 80 % of
its ink's box is covered, in every frame that shows it; blanked in vain are pixels away from any line of text.

    benchmarks/pixels.py [--seed N] [--count N] [--threads N] [--kinds US,CT] [--missed] [--models DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pacsifier.pictures import models
from pacsifier.pictures.boxes import Box, blanked_boxes
from pacsifier.pictures.engine import Engine
from pacsifier.pictures.finding import find_text
from pacsifier.pictures.frames import Looked, find_in_frames
from tests.pixels.corpus import KINDS, Sample, samples

FOUND = 0.8
# Boxes may be a little larger than their text.
NEAR = 0.7


@dataclass
class Count:
    """Sums over files; `touched`: files without text in which something was blanked."""

    files: int = 0
    lines: int = 0
    missed: int = 0
    harmless: int = 0
    harmless_found: int = 0
    free: int = 0
    touched: int = 0
    seen: int = 0
    pixels: int = 0
    in_vain: int = 0
    looks: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0

    def add(self, other: Count) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def covered(boxes: tuple[Box, ...], rows: int, columns: int) -> NDArray[np.bool_]:
    flags = np.zeros((rows, columns), np.bool_)
    for box in boxes:
        flags[box.top : box.bottom, box.left : box.right] = True
    return flags


def judged(this: Sample, looked: Looked) -> tuple[Count, list[str]]:
    """What of a file was found, and which lines were not."""
    rows, columns = this.pictures.shape[1:3]
    flags = covered(blanked_boxes(looked.regions), rows, columns)
    count = Count(
        files=1, free=not this.texts, touched=not this.texts and bool(flags.any()), pixels=flags.size
    )
    count.seen = sum(not each.blanked for each in looked.regions)
    missed = []
    for text in this.texts:
        box = text.box
        found = float(flags[box.top : box.bottom, box.left : box.right].mean()) >= FOUND
        if text.identifies:
            count.lines += 1
            count.missed += not found
        else:
            count.harmless += 1
            count.harmless_found += found
        if not found and text.identifies:
            missed.append(f"{this.number} {this.kind} {text.text!r} {text.how} {box} of {columns} x {rows}")
    for text in this.texts:
        near = text.box.grown(int(NEAR * min(text.box.width, text.box.height)) + 2).within(columns, rows)
        if near:
            flags[near.top : near.bottom, near.left : near.right] = False
    count.in_vain = int(flags.sum())
    return count, missed


def looked_at(this: Sample, engine: Engine) -> Looked:
    turned = KINDS[this.kind].turns
    return find_in_frames(
        this.pictures, lambda picture: find_text(picture, engine, turned=turned, known=lambda _: False)
    )


def rows_of(counts: dict[str, Count]) -> Iterator[str]:
    yield "kind     files  lines  missed  missed_%  in_vain_%  free  touched  seen  ms_a_look  ms_a_megapixel"
    for kind, each in counts.items():
        looks = max(each.looks, 1)
        yield (
            f"{kind:8} {each.files:5} {each.lines:6} {each.missed:7} {100 * each.missed / max(each.lines, 1):9.2f}"
            f" {100 * each.in_vain / max(each.pixels, 1):10.3f} {each.free:5} {each.touched:8} {each.seen:5}"
            f" {1000 * each.seconds / looks:10.0f} {1000 * each.seconds / max(each.megapixels, 1e-9):15.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=144)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--missed", action="store_true", help="name the lines that were not found, and false boxes"
    )
    parser.add_argument("--models", type=Path)
    given = parser.parse_args()
    engine = Engine(models.find(given.models), given.threads)
    print(f"{engine.name}; seed {given.seed}, {given.count} files, {given.threads} threads; CPU time")
    counts: dict[str, Count] = {}
    for this in samples(given.seed, given.count, given.kinds.split(",")):
        start = time.process_time()
        looked = looked_at(this, engine)
        seconds = time.process_time() - start
        count, missed = judged(this, looked)
        count.looks, count.seconds = looked.looks, seconds
        count.megapixels = looked.looks * count.pixels / 1e6
        counts.setdefault(this.kind, Count()).add(count)
        if given.missed:
            print(*(f"missed: {line}" for line in missed), sep="\n", end="\n" if missed else "")
            if count.in_vain:
                print(f"in vain: {this.number} {this.kind} {100 * count.in_vain / count.pixels:.2f} %"
                      f"{' free' if not this.texts else ''}", [r for r in looked.regions if r.blanked])  # fmt: skip
    total = Count()
    for each in counts.values():
        total.add(each)
    print(*rows_of({**counts, "all": total}), sep="\n")
    print(f"harmless lines: {total.harmless_found} of {total.harmless} blanked, too")


if __name__ == "__main__":
    main()
