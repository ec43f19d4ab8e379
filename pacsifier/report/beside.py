"""What pacsifier-anonymize left beside an output: why a mark says NO, what was seen in pixels, how the run ended.

The tables name the input, and what was read in its pixels. Nothing of that goes further: looks are kept by the names of
the outputs, what a page gets of them are boxes and numbers, and reasons of outputs are sentences of the program.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.deidentify.cleaning import RECORD, Look, SeriesBoxes, looks_of
from pacsifier.deidentify.pixel_page import PAGE
from pacsifier.deidentify.report import REPORT, REVIEW, SUMMARY, VERIFY
from pacsifier.disk.walk import PASSED_OVER
from pacsifier.pictures.boxes import Box, By, blanked_boxes
from pacsifier.report.facts import Pixels

NOT_TOLD = "the mark says NO, and the table that tells why is not here"


@dataclass(frozen=True)
class Beside:
    """What is told of an output; `doubts` are reasons by output, for those whose mark says NO.

    `left_out` counts inputs that have no output; `summary` are the lines that the run printed, which hold no value;
    `hits` of --verify, None where it was not run; `pages` are names of files beside it that a person should know.
    """

    there: bool = False
    doubts: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    summary: tuple[str, ...] = ()
    hits: int | None = None
    pages: tuple[str, ...] = ()
    looks: Mapping[str, Look] = field(default_factory=dict)
    boxes: SeriesBoxes = field(default_factory=lambda: SeriesBoxes(()))

    def boxes_of(self, output: str) -> tuple[Box, ...]:
        """The boxes that were blanked in an output."""
        look = self.looks.get(output)
        return blanked_boxes(self.boxes.regions(look)) if look else ()

    def pixels_of(self, output: str) -> Pixels:
        """What was seen in the pixels of one output."""
        look = self.looks.get(output)
        if look is None:
            return Pixels()
        return Pixels(1, len(self.boxes_of(output)), len(self.left_in(output)))

    def left_in(self, output: str) -> tuple[Box, ...]:
        """Where something like text was seen in an output, that nobody could read and that was not blanked."""
        look = self.looks.get(output)
        seen = {each.box for each in look.regions if each.by is By.SEEN} if look else set()
        blanked = self.boxes_of(output) if seen else ()
        return tuple(sorted(each for each in seen if not any(box.holds(each) for box in blanked)))


def read_beside(folder: Path, key: Path | None = None) -> Beside:
    """What lies beside an output, or beside its key where that lies elsewhere."""
    home = key.parent if key else folder.resolve().parent
    paths = {
        name: home / f"{folder.resolve().name}.{name}"
        for name in (REPORT, SUMMARY, REVIEW, VERIFY, RECORD, PAGE)
    }
    if not (paths[REPORT].is_file() or paths[SUMMARY].is_file()):
        return Beside()
    looks = _looks(paths[RECORD])
    doubts: dict[str, str] = {}
    left_out = 0
    of_output: dict[str, Look] = {}
    for row in _rows(paths[REPORT]):
        if not row.get("output"):
            left_out += 1
            continue
        if row.get("identity_removed") == "NO":
            doubts[row["output"]] = row.get("reason") or NOT_TOLD
        if look := looks.get(row.get("input") or ""):
            of_output[row["output"]] = look
    return Beside(
        there=True,
        doubts=doubts,
        left_out=left_out,
        # A folder of the input may be named after a patient.
        summary=tuple(line for line in _text(paths[SUMMARY]).splitlines() if PASSED_OVER not in line),
        hits=sum(bool(row.get("file")) for row in _rows(paths[VERIFY])) if paths[VERIFY].is_file() else None,
        pages=tuple(paths[name].name for name in (PAGE, REVIEW) if paths[name].is_file()),
        looks=of_output,
        boxes=SeriesBoxes(looks.values()),
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
    except (OSError, ValueError, csv.Error):
        return


def _looks(path: Path) -> Mapping[str, Look]:
    try:
        with path.open(encoding="utf-8") as record:
            return looks_of(record)
    except OSError:
        return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
