"""What a report tells, as values: of series, runs and rows; and the sums that follow from them. Pure.

What is not known is None or "", never 0: a folder that was moved has no logs, and a tree of PACSIFIER 1.0.0 had others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from pacsifier.pictures.boxes import Box

SeriesKey = tuple[str, str]
"""StudyInstanceUID and SeriesInstanceUID."""

COMPLETE, INCOMPLETE, FAILED, LISTED, MOVED = "complete", "incomplete", "failed", "listed", "moved"
GONE, UNKNOWN = "gone", "unknown"
"""Of this program's own: fewer images are here than once arrived; nothing tells what there should be."""

_HERE = ("complete", "skipped", "arrived")
_OPEN = ("incomplete", "failed", "pending", "undecided", "left_out", GONE)


class Kind(Enum):
    """The two kinds of report."""

    IDENTIFIED = "identified"
    ANONYMIZED = "anonymized"


@dataclass(frozen=True)
class Picture:
    """An image of a series, drawn into a file (`size` bytes of JPEG), or `why` there is none.

    `number` is its place in the series, from 1; `columns` and `rows` are those of the image, in which `boxes`
    count, which were blanked, and those `left`, where something like text was seen.
    """

    number: int = 1
    frame: int = 1
    frames: int = 1
    columns: int = 0
    rows: int = 0
    file: str = ""
    size: int = 0
    why: str = ""
    boxes: tuple[Box, ...] = ()
    left: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Pixels:
    """What is known of text in the pixels of a series' files.

    `looked_at` counts files, `blanked` boxes of the file that has most, `unread` what was seen there and left.
    """

    looked_at: int = 0
    blanked: int = 0
    unread: int = 0

    def and_of(self, other: Pixels) -> Pixels:
        """Of two parts of a series together."""
        blanked, unread = max(self.blanked, other.blanked), max(self.unread, other.unread)
        return Pixels(self.looked_at + other.looked_at, blanked, unread)


@dataclass(frozen=True)
class OnDisk:
    """What lies on the disk of one series; `values` by keyword, as its first image tells them.

    `frames` counts every frame of every file. `first_s` and `last_s`: when its files were written, in seconds since
    1970. `broken` are files that are cut. `by_us` carry our mark of a de-identification; of these `unclaimed` do not
    say YES in PatientIdentityRemoved, for `doubts`. `uids` are the SOP Instance UIDs of those, for a person's answer.
    """

    key: SeriesKey
    values: Mapping[str, str]
    folder: str
    files: int = 0
    frames: int = 0
    bytes: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    broken: int = 0
    by_us: int = 0
    unclaimed: int = 0
    doubts: Mapping[str, int] = field(default_factory=dict)
    pixels: Pixels = Pixels()
    uids: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Logged:
    """What the logs tell of one series; numbers None where they do not tell. `run` names the run that tells it."""

    key: SeriesKey
    values: Mapping[str, str]
    status: str
    reason: str = ""
    announced: int | None = None
    arrived: int | None = None
    bytes: int | None = None
    folder: str = ""
    run: str = ""


@dataclass(frozen=True)
class Run:
    """A run that wrote into the folder, by the audit trail."""

    ended_at: datetime
    seconds: float
    did: tuple[str, ...]
    ended: str = "ended"
    series: int = 0
    instances: int = 0
    bytes: int = 0
    name: str = ""

    @property
    def began_s(self) -> float:
        """When it began, in seconds since 1970."""
        return self.ended_at.timestamp() - self.seconds

    @property
    def bytes_per_s(self) -> float:
        """0 where nothing came, or no time passed."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Row:
    """A row of the query file: what became of it; `asked` is what it asks for, in words."""

    number: str
    outcome: str
    reason: str
    asked: str


@dataclass(frozen=True)
class Logs:
    """All that the logs of a folder tell; `there`: it has any. `has_redo`: a table of rows to run again is there.

    `patients` counts patients by what became of them, in the last run. `notes` say what could not be read.
    """

    there: bool = False
    series: tuple[Logged, ...] = ()
    runs: tuple[Run, ...] = ()
    rows: tuple[Row, ...] = ()
    patients: Mapping[str, int | None] = field(default_factory=dict)
    has_redo: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """A series as the report shows it: on disk, in the logs, or both."""

    key: SeriesKey
    values: Mapping[str, str]
    status: str
    reason: str = ""
    announced: int | None = None
    here: int = 0
    bytes: int = 0
    on_disk: OnDisk | None = None
    run: str = ""

    @property
    def missing(self) -> int | None:
        """How many of its images are missing; None: not known."""
        if self.status not in _OPEN:
            return 0 if self.status in (*_HERE, MOVED, LISTED) else None
        return None if self.announced is None else max(self.announced - self.here, 0)

    @property
    def is_open(self) -> bool:
        """Whether something of it is still to be fetched."""
        return self.status in _OPEN

    @property
    def modality(self) -> str:
        """ "?" where it is not told."""
        return self.values.get("Modality") or "?"


# --- from both sides ----------------------------------------------------------------------------------------------


def joined(parts: Iterable[OnDisk]) -> dict[SeriesKey, OnDisk]:
    """The series on disk; one that lies in several folders once."""
    whole: dict[SeriesKey, OnDisk] = {}
    for part in parts:
        there = whole.get(part.key)
        whole[part.key] = part if there is None else _together(there, part)
    return whole


def _together(one: OnDisk, other: OnDisk) -> OnDisk:
    large, small = (one, other) if one.files >= other.files else (other, one)
    return replace(
        large,
        files=one.files + other.files,
        frames=one.frames + other.frames,
        bytes=one.bytes + other.bytes,
        first_s=min(one.first_s, other.first_s),
        last_s=max(one.last_s, other.last_s),
        broken=one.broken + other.broken,
        by_us=one.by_us + other.by_us,
        unclaimed=one.unclaimed + other.unclaimed,
        doubts=Counter(one.doubts) + Counter(other.doubts),
        pixels=one.pixels.and_of(other.pixels),
        uids=one.uids + other.uids,
        pictures=large.pictures or small.pictures,
    )


def compared(on_disk: Mapping[SeriesKey, OnDisk], logs: Logs) -> list[Series]:
    """Every series of disk and logs, in the order of patients, studies and series numbers."""
    told = {each.key: each for each in logs.series}
    keys = dict.fromkeys([*on_disk, *told])
    return sorted((_compared(on_disk.get(key), told.get(key)) for key in keys), key=_place)


def _compared(there: OnDisk | None, told: Logged | None) -> Series:
    if told is None:
        assert there is not None  # noqa: S101 - one of the two has it
        return Series(there.key, there.values, UNKNOWN, "", None, there.files, there.bytes, there)
    here = there.files if there else 0
    status, reason = _now(told, here)
    values = {**told.values, **({key: text for key, text in there.values.items() if text} if there else {})}
    announced = told.arrived if status == GONE and told.announced is None else told.announced
    size = there.bytes if there else 0
    return Series(told.key, values, status, reason, announced, here, size, there, told.run)


def _now(told: Logged, here: int) -> tuple[str, str]:
    """The status of a series as the disk shows it now, and why."""
    if told.status not in _HERE:
        return told.status, told.reason
    if not told.folder and not here:
        return MOVED, told.reason
    if told.arrived is not None and here < told.arrived:
        return GONE, f"{told.arrived} had arrived, {here} of them are here now"
    return ("complete" if told.status == "skipped" else told.status), told.reason


def _place(series: Series) -> tuple[object, ...]:
    values = series.values
    number = (values.get("SeriesNumber") or "").strip()
    return (
        values.get("PatientID") or "",
        values.get("StudyDate") or "",
        values.get("StudyTime") or "",
        series.key[0],
        int(number) if number.isascii() and number.isdigit() else 1 << 31,
        number,
        series.key[1],
    )


# --- suspicion ----------------------------------------------------------------------------------------------------


def suspicion(there: OnDisk) -> tuple[int, int, int]:
    """Sorts series that may show a patient, most suspicious first; (0, 0, 0) where nothing is.

    What was seen and not blanked, then files whose mark does not say that identity is removed, then blanked text.
    """
    return -there.pixels.unread, -there.unclaimed, -there.pixels.blanked


def is_suspicious(there: OnDisk) -> bool:
    """Whether a person should look at it first."""
    return any(suspicion(there))


# --- sums ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Amount:
    """Series, images and bytes of one kind, such as a modality."""

    name: str
    series: int
    images: int
    bytes: int


def by_modality(series: Iterable[Series]) -> list[Amount]:
    """What is here by modality, most bytes first."""
    groups: dict[str, list[Series]] = defaultdict(list)
    for each in series:
        if each.here:
            groups[each.modality].append(each)
    amounts = [
        Amount(name, len(of_it), sum(each.here for each in of_it), sum(each.bytes for each in of_it))
        for name, of_it in groups.items()
    ]
    return sorted(amounts, key=lambda each: (-each.bytes, each.name))


def studies_by_month(series: Iterable[Series]) -> tuple[list[tuple[str, int]], int]:
    """Studies by month as `2019-03`, all months from the first to the last, and how many have no whole date.

    By year, as `2019`, where that would be more than three years.
    """
    dates = {each.key[0]: (each.values.get("StudyDate") or "").strip() for each in series}
    whole = [date for date in dates.values() if _is_date(date)]
    if not whole:
        return [], len(dates)
    months = Counter((int(date[:4]), int(date[4:6])) for date in whole)
    first, last = min(months), max(months)
    if (last[0] - first[0]) * 12 + last[1] - first[1] >= 36:
        years: Counter[int] = Counter()
        for (year, _), number in months.items():
            years[year] += number
        counted = [(f"{year:04}", years[year]) for year in range(first[0], last[0] + 1)]
    else:
        every = range(first[0] * 12 + first[1] - 1, last[0] * 12 + last[1])
        counted = [(f"{at // 12:04}-{at % 12 + 1:02}", months[at // 12, at % 12 + 1]) for at in every]
    return counted, len(dates) - len(whole)


def _is_date(text: str) -> bool:
    return len(text) == 8 and text.isascii() and text.isdigit() and 1 <= int(text[4:6]) <= 12 and text > "18"


@dataclass(frozen=True)
class Pace:
    """Bytes that arrived, by intervals of equal length from `began_s` on."""

    began_s: float
    step_s: float
    bytes: tuple[int, ...]


def pace(series: Iterable[Series], run: Run, intervals: int = 48) -> Pace | None:
    """How the images of one run arrived, by the times of their files; None where these are not of the run.

    The files of a series are taken as spread evenly between its first and its last one.
    """
    # The audit trail tells the end in whole seconds.
    earliest, latest = run.began_s - 2, run.ended_at.timestamp() + 2
    came = [
        each.on_disk
        for each in series
        if each.on_disk and earliest <= each.on_disk.first_s and each.on_disk.last_s <= latest
    ]
    if not came:
        return None
    began, ended = min(each.first_s for each in came), max(each.last_s for each in came)
    step = max((ended - began) / intervals, 0.05)
    sums = [0.0] * max(1, min(intervals, int((ended - began) / step) + 1))
    for each in came:
        _spread(sums, each.bytes, (each.first_s - began) / step, (each.last_s - began) / step)
    return Pace(began, step, tuple(round(each) for each in sums))


def _spread(sums: list[float], amount: int, first: float, last: float) -> None:
    """Adds an amount evenly to the intervals from one place to another; places are counted in intervals."""
    first, last = min(first, len(sums) - 1e-9), min(last, len(sums) - 1e-9)
    length = last - first
    for at in range(int(first), int(last) + 1):
        share = (min(at + 1, last) - max(at, first)) / length if length else 1.0
        sums[at] += amount * share


@dataclass(frozen=True)
class Totals:
    """The numbers at the head of a report."""

    patients: int
    studies: int
    series: int
    here: int
    images: int
    bytes: int
    announced: int | None
    missing: int | None
    open_series: int
    statuses: tuple[tuple[str, int], ...]


def totals(series: Sequence[Series]) -> Totals:
    """The sums of all series."""
    announced = [each.announced for each in series]
    missing = [each.missing for each in series if each.is_open]
    return Totals(
        patients=len({each.values.get("PatientID") or each.key[0] for each in series}),
        studies=len({each.key[0] for each in series}),
        series=len(series),
        here=sum(each.here > 0 for each in series),
        images=sum(each.here for each in series),
        bytes=sum(each.bytes for each in series),
        announced=None if None in announced else sum(number or 0 for number in announced),
        missing=None if None in missing else sum(number or 0 for number in missing),
        open_series=sum(each.is_open for each in series),
        statuses=tuple(Counter(each.status for each in series).most_common()),
    )
