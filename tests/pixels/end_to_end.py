"""The whole command on a corpus of files with text in their pixels, judged by what it wrote: by eye, as pixels.

A line is gone when at least 80 % of what its ink's box showed beside the flat colour became that colour, in every frame
that shows it. A claim is false where a file says PatientIdentityRemoved YES and a line that identifies is not gone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from tests.pixels.corpus import Sample, Text, samples, write
from tests.pixels.judging import FOUND, in_vain


@dataclass(frozen=True)
class Verdict:
    """What became of one file; `in_vain`: blanked pixels away from a line; `altered`: others than the blanked ones."""

    kind: str
    written: bool
    yes: bool = False
    lines: int = 0
    left: tuple[str, ...] = ()
    pixels: int = 0
    in_vain: int = 0
    altered: int = 0
    touched: bool = False
    free: bool = False
    why: str = ""

    @property
    def false_claim(self) -> bool:
        return self.yes and bool(self.left)


def written(folder: Path, seed: int, count: int, kinds: Sequence[str] | None = None) -> dict[str, Sample]:
    """Corpus files below a folder, a patient each, by their names there."""
    named = {}
    for this in samples(seed, count, kinds) if kinds else samples(seed, count):
        name = f"{this.number:05}-{this.kind}/image.dcm"
        (folder / name).parent.mkdir(parents=True)
        write(this, folder / name)
        named[name] = this
    return named


def judged(named: dict[str, Sample], source: Path, out: Path) -> Iterator[Verdict]:
    """A verdict for each file, by the report of the run and the pixels on the disk."""
    with out.with_name(f"{out.name}.deidentification_report.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["input"]: row for row in csv.DictReader(file)}
    for name, this in named.items():
        row = rows[name]
        if row["status"] != "written":
            yield Verdict(this.kind, written=False, why=row["reason"])
            continue
        yield _judged(this, _pixels(source / name), out / row["output"], yes=row["identity_removed"] == "YES")


def _judged(this: Sample, before: NDArray[np.generic], path: Path, *, yes: bool) -> Verdict:
    after = _pixels(path)
    changed = (before != after).any(axis=-1)
    fill = _fill(after, changed)
    flat = changed & (after == fill).all(axis=-1)
    left = tuple(
        f"{text.text} ({text.how})"
        for text in this.texts
        if text.identifies and not _is_gone(before, after, fill, text)
    )
    blanked = flat.any(axis=0)
    return Verdict(
        this.kind,
        written=True,
        yes=yes,
        lines=sum(text.identifies for text in this.texts),
        left=left,
        pixels=blanked.size,
        in_vain=in_vain(blanked, this),
        altered=int((changed & ~flat).sum()),
        touched=not this.texts and bool(changed.any()),
        free=not this.texts,
    )


def _pixels(path: Path) -> NDArray[np.generic]:
    """(frames, rows, columns, samples)"""
    data = pydicom.dcmread(path)
    samples_ = int(data.SamplesPerPixel)
    return data.pixel_array.reshape(int(data.get("NumberOfFrames", 1)), data.Rows, data.Columns, samples_)


def _fill(after: NDArray[np.generic], changed: NDArray[np.bool_]) -> NDArray[np.generic]:
    """The colour that most of the changed pixels have; what a file has nowhere where none changed."""
    if not changed.any():
        return np.full(after.shape[-1], -1, np.int64)
    colours, numbers = np.unique(after[changed], axis=0, return_counts=True)
    colour: NDArray[np.generic] = colours[numbers.argmax()]
    return colour


def _is_gone(
    before: NDArray[np.generic], after: NDArray[np.generic], fill: NDArray[np.generic], text: Text
) -> bool:
    frames = slice(None) if text.frames is None else list(text.frames)
    place = (frames, slice(text.box.top, text.box.bottom), slice(text.box.left, text.box.right))
    shown = (before[place] != fill).any(axis=-1)
    remains = (after[place] != fill).any(axis=-1)
    return bool((remains.sum(axis=(1, 2)) <= (1 - FOUND) * shown.sum(axis=(1, 2))).all())
