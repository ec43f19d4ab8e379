#!/usr/bin/env python3
"""How much of the text in pictures is found, what else is blanked, and how long it takes, by kind of picture.

The corpus is synthetic (tests/pixels/corpus.py): expect less of real archives. A line counts as found when 80 % of
its ink's box is covered, in every frame that shows it; blanked in vain are pixels away from any line of text.
Seeds below 100 were looked at while settings were chosen.

    benchmarks/pixels.py [--seed N] [--count N] [--threads N] [--kinds US,CT] [--missed] [--models DIR]
    benchmarks/pixels.py --frame          how long one 1024 x 768 ultrasound picture with ten lines takes
    benchmarks/pixels.py --memory         what a mammogram of 4000 x 5000 and a cine of 600 frames cost
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pacsifier.pictures import models
from pacsifier.pictures.engine import Engine
from pacsifier.pictures.finding import find_text
from pacsifier.pictures.frames import find_in_frames
from tests.pixels.corpus import KINDS, sample, samples
from tests.pixels.judging import Count, judged, look


def rows_of(counts: dict[str, Count]) -> Iterator[str]:
    yield "kind     files  lines  missed  missed_%  in_vain_%  free  touched  seen  ms_a_look  ms_a_megapixel"
    for kind, each in counts.items():
        yield (
            f"{kind:8} {each.files:5} {each.lines:6} {each.missed:7} {100 * each.missed / max(each.lines, 1):9.2f}"
            f" {100 * each.in_vain / max(each.pixels, 1):10.3f} {each.free:5} {each.touched:8} {each.seen:5}"
            f" {1000 * each.seconds / max(each.looks, 1):10.0f}"
            f" {1000 * each.seconds / max(each.megapixels, 1e-9):15.0f}"
        )


def measure(engine: Engine, seed: int, count: int, kinds: list[str], missed: bool) -> None:
    counts: dict[str, Count] = {}
    for this in samples(seed, count, kinds):
        start = time.process_time()
        looked = look(this, engine)
        seconds = time.process_time() - start
        said = judged(this, looked.regions)
        said.count.looks, said.count.seconds = looked.looks, seconds
        said.count.megapixels = looked.looks * said.count.pixels / 1e6
        counts.setdefault(this.kind, Count()).add(said.count)
        name = f"{this.number} {this.kind} {this.pictures.shape}"
        if missed and said.missed:
            print("missed:", name, *said.missed, sep="\n    ", flush=True)
        if missed and said.count.in_vain:
            blanked = [each for each in looked.regions if each.blanked]
            share = f"{100 * said.count.in_vain / said.count.pixels:.2f} %"
            print("in vain:", name, share, "" if this.texts else "free", *blanked, sep="\n    ", flush=True)
    total = Count()
    for each in counts.values():
        total.add(each)
    print(*rows_of({**counts, "all": total}), sep="\n")
    print(f"harmless lines: {total.harmless_found} of {total.harmless} blanked, too")


def one_frame(engine: Engine) -> None:
    """The first ultrasound picture of that size that is full of text, five times."""
    for number in range(1000):
        this = sample(7, number, "US")
        if this.pictures.shape[:3] == (1, 768, 1024) and len(this.texts) >= 8:
            break
    for _ in range(5):
        start, wall = time.process_time(), time.monotonic()
        found = find_text(this.pictures[0], engine, turned=False, known=lambda _: False)
        print(
            f"1024 x 768, {len(found)} regions: {time.process_time() - start:.2f} s CPU,"
            f" {time.monotonic() - wall:.2f} s"
        )


def memory(engine: Engine) -> None:
    def peak() -> str:
        return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most"

    random = np.random.default_rng(1)
    frame = sample(7, 0, "US").pictures[0]
    cine = (np.roll(frame, each, axis=1) for each in range(600))
    looked = find_in_frames(cine, lambda _: ())
    print(f"{looked.frames} frames of {frame.shape}, held in groups: {peak()}")
    picture = np.full((5000, 4000), 20, np.uint8)
    picture += random.integers(0, 40, picture.shape, dtype=np.uint8)
    start = time.process_time()
    find_text(picture, engine, turned=True, known=lambda _: False)
    print(f"4000 x 5000, strokes everywhere, turned too: {time.process_time() - start:.1f} s CPU, {peak()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--count", type=int, default=144)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--missed", action="store_true", help="name the lines that were not found, and false boxes"
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--frame", action="store_true")
    parser.add_argument("--memory", action="store_true")
    given = parser.parse_args()
    engine = Engine(models.find(given.models), given.threads)
    print(
        f"{engine.name}; seed {given.seed}, {given.count} files, {given.threads} threads; CPU time",
        flush=True,
    )
    if given.frame:
        one_frame(engine)
    elif given.memory:
        memory(engine)
    else:
        measure(engine, given.seed, given.count, given.kinds.split(","), given.missed)


if __name__ == "__main__":
    main()
