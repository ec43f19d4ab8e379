"""What a run writes about itself, beside the key and never in the output: the input's names identify patients."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pacsifier.deidentify.cleaning import Cleaned
from pacsifier.deidentify.engine.instance import Done
from pacsifier.deidentify.engine.rules import CHANGES
from pacsifier.deidentify.key import Key
from pacsifier.deidentify.model import Job, Left, Patient, There
from pacsifier.deidentify.review import COLUMNS, Review
from pacsifier.disk.files import open_new, open_to_append, write_whole
from pacsifier.figures import counted
from pacsifier.pictures.boxes import By

REPORT = "deidentification_report.csv"
SUMMARY = "deidentification_summary.txt"
REVIEW = "descriptor_words.csv"
VERIFY = "verify_report.csv"
ALREADY = "already there"

_FIRST = ("input", "output", "status", "reason", "patient", "identity_removed", "way")
_CHANGED = tuple(name for kind in CHANGES for name in (kind, f"{kind}_tags"))
# Of files whose pixels were searched for text: regions by what found them, and the frames that were looked at.
_PIXELS = (
    *(f"pixels_{by.value}" for by in By),
    *("frames_looked_at", "frames"),
)
_NO_PIXELS: list[object] = [""] * len(_PIXELS)
_COLUMNS = (*_FIRST, *_CHANGED, *_PIXELS)


@dataclass(frozen=True)
class Seen:
    """What was seen in the pixels of a run: files, their regions by what found them, frames looked at, of how many."""

    files: int = 0
    frames: int = 0
    looked_at: int = 0
    regions: Mapping[By, int] = field(default_factory=dict)

    def and_of(self, cleaned: Cleaned) -> Seen:
        """The same with one more file."""
        look = cleaned.look
        regions = Counter(self.regions) + cleaned.counts
        return Seen(self.files + 1, self.frames + look.frames, self.looked_at + look.looked_at, regions)

    def lines(self) -> list[str]:
        """What the summary says; no values."""
        if not self.files:
            return []
        number = {by: self.regions.get(by, 0) for by in By}
        blanked = sum(number.values()) - number[By.SEEN] - number[By.KEPT]
        return [
            f"pixels: {counted(self.files, 'file')} searched for text ({self.looked_at} of {self.frames} frames); "
            f"{counted(blanked, 'box', 'boxes')} blanked ({number[By.RULE]} by rule, {number[By.READER]} read, "
            f"{number[By.SHAPE]} by shape, {number[By.PERSON]} by a person), {number[By.KEPT]} words kept, "
            f"{number[By.SEEN]} seen and left",
            "not found by this: handwriting, mirrored or curved text, text under 8 pixels or of little contrast, faces",
        ]


@dataclass(frozen=True)
class Totals:
    """The counts of a run; `left_out` by the kind of reason."""

    found: int = 0
    written: int = 0
    already: int = 0
    failures: int = 0
    bytes: int = 0
    patients: int = 0
    seconds: float = 0.0
    left_out: Mapping[str, int] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unclaimed: int = 0
    words: int = 0
    words_kept: int = 0
    equal_texts: int = 0
    hits: int = 0
    not_searched: int = 0
    verified: int = 0
    pixels_verified: bool = False
    pixels: Seen = field(default_factory=Seen)
    # The name of the table beside the key that a person should look through.
    review: str = REVIEW

    def lines(self) -> list[str]:
        """The summary, one line per fact; no values."""
        said = [
            f"files: {self.found} found, {self.written} written, {self.already} already there, "
            f"{sum(self.left_out.values())} left out",
            f"patients: {self.patients}; {self.bytes} bytes written in {self.seconds:.1f} s",
        ]
        said += [f"left out: {number} ({reason})" for reason, number in sorted(self.left_out.items())]
        said += self.passed_over
        if self.unclaimed:
            said.append(
                f"PatientIdentityRemoved is NO on {counted(self.unclaimed, 'file')} whose pixels may show the patient "
                "(look at them, then name them with --reviewed)"
            )
        said += self.pixels.lines()
        if self.words or self.words_kept or self.equal_texts:
            said.append(
                f"descriptions: {counted(self.words, 'word')} left out, {self.words_kept} kept that may be names, "
                f"texts that stand for several now: {self.equal_texts}; look through {self.review}"
            )
        if self.verified:
            looked = "" if self.pixels_verified else "not "
            said.append(
                f"verify: {self.verified} files read again, {self.hits} hits, {self.not_searched} identifiers too "
                f"short to be searched; what the pixels show is {looked}looked at"
            )
        return [*said, *self.problems]


class Table:
    """A CSV file that only its owner may read, written row by row; a context manager."""

    def __init__(self, path: Path, columns: Sequence[str], *, rows: Iterable[Sequence[str]] = ()) -> None:
        self.path, self._columns, self._rows = path, columns, rows
        self._file: IO[str] | None = None
        self._writer: Any = None

    def __enter__(self) -> Table:
        self._file = os.fdopen(
            open_new(self.path), "w", encoding="utf-8", errors="backslashreplace", newline=""
        )
        self._writer = csv.writer(self._file)
        self._writer.writerow(self._columns)
        self._writer.writerows(self._rows)
        self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def row(self, values: Iterable[object]) -> None:
        """Writes one row."""
        texts = [*map(str, values)]
        if "\0" in "".join(texts):
            texts = [text.replace("\0", "") for text in texts]
        self._writer.writerow(texts)


def report_table(path: Path, earlier: Iterable[Sequence[str]] = ()) -> Table:
    """The report: one row per file; `earlier` are the rows of a run that is resumed."""
    return Table(path, _COLUMNS, rows=earlier)


def rows_of(path: Path) -> list[list[str]]:
    """The rows of the report of an earlier run; none where there is none that can be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error):
        return []
    head, *others = rows or [[]]
    # Those from before pixels were looked at have fewer columns.
    if tuple(head) not in (_COLUMNS, (*_FIRST, *_CHANGED)):
        return []
    more = [""] * (len(_COLUMNS) - len(head))
    return [each + more for each in others if len(each) == len(head)]


def earlier_rows(
    rows: Iterable[Sequence[str]], now: Collection[str], there: Collection[str]
) -> dict[str, Sequence[str]]:
    """By input, the rows of earlier runs that this one does not write anew: what was changed in files that are there.

    `now` are the inputs that get a row, `there` the outputs that are there already.
    """
    kept: dict[str, Sequence[str]] = {}
    for each in rows:
        if each[1] and each[1] in there:
            kept[each[0]] = (*each[:2], ALREADY, *each[3:])
        elif each[0] not in now:
            kept[each[0]] = each
    return kept


def row(
    name: str,
    status: str,
    *,
    output: str = "",
    reason: str = "",
    patient: str = "",
    identity_removed: str = "",
    way: str = "",
    changes: tuple[tuple[str, int], ...] = (),
    cleaned: Cleaned | None = None,
) -> list[object]:
    """One file: what became of it, and which tags were changed how; never a value of an element."""
    first = [name, output, status, reason, patient, identity_removed, way]
    return [*first, *_cells(changes), *_of_pixels(cleaned)]


def _of_pixels(cleaned: Cleaned | None) -> list[object]:
    if cleaned is None:
        return _NO_PIXELS
    counts = cleaned.counts
    return [*(counts[by] for by in By), cleaned.look.looked_at, cleaned.look.frames]


def row_of_written(job: Job, done: Done) -> list[object]:
    """A file that was written."""
    return row(
        job.name,
        "written",
        output=job.target,
        reason=job.doubt,
        patient=job.target.partition("/")[0],
        identity_removed="YES" if job.identity_removed else "NO",
        way="pydicom" if done.by_pydicom else "raw elements",
        changes=done.changes,
        cleaned=job.cleaned,
    )


def write_set_apart(there: Iterable[There], left: Iterable[Left], table: Table) -> None:
    """The rows of the files that are not to be written."""
    for each in there:
        table.row(row(each.path, ALREADY, output=each.target))
    for out in left:
        table.row(row(out.path, "left out", reason=out.reason.text))


def add_to_verify(path: Path, found: Iterable[tuple[str, str]]) -> None:
    """Adds what is wrong with the pixels of files to the report of --verify."""
    with os.fdopen(open_to_append(path), "a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((name, "pixels", what) for name, what in found)


def write_review(path: Path, review: Review) -> None:
    """The words of descriptions that were left out, for a person to accept some, and those that may be names."""
    with Table(path, COLUMNS) as table:
        for each in review.rows():
            table.row(each)


def write_mapper(out: Path, patients: Mapping[str, Patient], key: Key, *, fuzz_dates: bool) -> None:
    """The two files of PACSIFIER 1.0.0, which undo the work: in the output, and only when asked for."""
    mapper = {key.pseudonyms[name]: patient.patient_id for name, patient in sorted(patients.items())}
    text = json.dumps(mapper, indent=4, ensure_ascii=False)
    write_whole(out / "mapper.json", text + "\n", mode=0o600)
    with Table(out / "date_offsets.csv", ("new_id", "birth_date_offset_days", "date_offset_days")) as table:
        for name in sorted(patients):
            shifts = key.shifts[name]
            days = shifts.date_days if fuzz_dates else 0
            table.row((key.pseudonyms[name], shifts.birth_date_days, days))


def write_summary(path: Path, totals: Totals) -> None:
    """The summary beside the key."""
    write_whole(path, "\n".join(totals.lines()) + "\n", mode=0o600)


@lru_cache(maxsize=256)
def _cells(changes: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Of each kind the number of changes, and the tags. The files of a series mostly share them."""
    cells: list[str] = []
    for kind in CHANGES:
        tags = [tag for each, tag in changes if each == kind]
        cells += [str(len(tags)), " ".join(f"{tag:08X}" for tag in dict.fromkeys(tags))]
    return tuple(cells)
