"""The whole command on a corpus of files with text in their pixels, judged by what it wrote: by eye, as pixels.

A line is gone when at least 80 % of its ink's box is flat in every frame that shows it. A claim is false where a file
says PatientIdentityRemoved YES and a line that identifies is not gone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from tests.pixels.corpus import Sample, samples, write

GONE = 0.8
# How far from a line a blanked pixel still belongs to it: a share of the height of the line.
NEAR = 0.7


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
    flat = _flat(before, after)
    left = tuple(
        f"{text.text} ({text.how})"
        for text in this.texts
        if text.identifies and not _is_gone(flat, text.box, text.frames)
    )
    in_vain = flat.any(axis=0)
    for text in this.texts:
        near = text.box.grown(int(NEAR * min(text.box.width, text.box.height)) + 2)
        in_vain[max(near.top, 0) : near.bottom, max(near.left, 0) : near.right] = False
    changed = (before != after).reshape(*flat.shape, -1).any(axis=-1)
    return Verdict(
        this.kind,
        written=True,
        yes=yes,
        lines=sum(text.identifies for text in this.texts),
        left=left,
        pixels=in_vain.size,
        in_vain=int(in_vain.sum()),
        altered=int((changed & ~flat).sum()),
        touched=not this.texts and bool(changed.any()),
        free=not this.texts,
    )


def _pixels(path: Path) -> NDArray[np.generic]:
    """(frames, rows, columns, samples)"""
    data = pydicom.dcmread(path)
    samples_ = int(data.SamplesPerPixel)
    return data.pixel_array.reshape(int(data.get("NumberOfFrames", 1)), data.Rows, data.Columns, samples_)


def _flat(before: NDArray[np.generic], after: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where a file was blanked: pixels that changed to its one flat colour, or had it already, beside such."""
    changed = (before != after).any(axis=-1)
    if not changed.any():
        return changed
    colours, numbers = np.unique(after[changed], axis=0, return_counts=True)
    fill = colours[numbers.argmax()]
    rows, columns = np.where(changed.any(axis=0))
    same = (after == fill).all(axis=-1)
    within = np.zeros_like(same)
    within[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    # What had the colour before counts only inside the boxes: beside pixels that changed.
    from scipy.ndimage import binary_closing

    near = np.stack([binary_closing(np.pad(frame, 9), np.ones((9, 9)))[9:-9, 9:-9] for frame in changed])
    return (changed & same) | (same & near & within)


def _is_gone(flat: NDArray[np.bool_], box: object, frames: tuple[int, ...] | None) -> bool:
    shown = flat if frames is None else flat[list(frames)]
    part = shown[:, box.top : box.bottom, box.left : box.right]  # type: ignore[attr-defined]
    return bool((part.mean(axis=(1, 2)) >= GONE).all())
