"""The values that a row's way is made of: the state of a series, what the finds brought, the cut of the work.

The states of a series, and the method of `SeriesState` that makes each transition:

    PENDING --list------------> LISTED                     --info, --dry_run: nothing is fetched
            --leave_undecided-> UNDECIDED                  the PACS told too little, and no image will decide
            --skip------------> SKIPPED                    --resume: an earlier run has all of it
            --leave_out-------> LEFT_OUT --take--> PENDING     beyond --limit; one before it was not wanted after all
            --complete--------> COMPLETE                   statuses, counts and what is in place agree
            --close-----------> INCOMPLETE | FAILED        the run is over: something came, or nothing did
    COMPLETE --reopen---------> PENDING                    what a stranger sent was taken out again
    any     --discard---------> NOT_WANTED --want--> PENDING    its images do not match the row; a late one does
            --exclude---------> EXCLUDED                   its images are of an excluded patient
            --spoil, close----> INCOMPLETE                 an object contradicts another, or is of another patient

An interrupted run leaves PENDING. `enter` and `postpone` keep the state: they write down how a request ended.
"""

from __future__ import annotations

import marshal
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.query import Query
from pacsifier.query.series import Instance, Series

SeriesKey = tuple[str, str]
"""Study and Series Instance UID."""

Conflicts = Mapping[SeriesKey, Mapping[str, str]]
"""Contradictions: series -> SOP Instance UID -> the name of its file in `logs/unexpected`."""

COUNTED = "counters agree"
# Instead of "see logs/unexpected", where nothing of it lies there.
DROPPED = "dropped, beyond --max_unexpected or --max_unexpected_size"
# Shared by all of which nothing has come, and never written into: 100,000 empty dicts would be 6 MB.
_NOTHING_FOUND: dict[str, int] = {}


class Status(Enum):
    """What has become of a series; `PENDING` is what an interrupted run leaves."""

    PENDING = "pending"
    LISTED = "listed"
    COMPLETE = "complete"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    NOT_WANTED = "not_wanted"
    UNDECIDED = "undecided"
    EXCLUDED = "excluded"
    LEFT_OUT = "left_out"

    @property
    def completed(self) -> bool:
        """Whether everything of the series is where it was asked for."""
        return self in (Status.COMPLETE, Status.SKIPPED)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.completed or self in (Status.LISTED, Status.NOT_WANTED, Status.EXCLUDED)


class Lasting(Enum):
    """Why a series failed for good: the codes of `FailedForGood` in the log, read back by the next run."""

    # Its own request ended with a status that time does not change.
    REFUSED = "refused"
    # The PACS reaches the destination, and failed to send instances of it at every try.
    NOT_SENT = "not_sent"
    # The PACS counts as sent all that it has, and announces more.
    MISSING = "missing"


class _Settled(Mapping[str, int]):
    """Instances by SOP Instance UID, with their sizes, of a series of which no more is expected: as bytes.

    The 200 of a usual series take 2 kB, as texts and numbers 30.
    """

    __slots__ = ("_number", "_packed", "bytes")

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._packed = zlib.compress(marshal.dumps(dict(sizes)), 1)
        self._number = len(sizes)
        self.bytes = sum(sizes.values())

    def unpacked(self) -> dict[str, int]:
        """The same as a dict of its own."""
        sizes: dict[str, int] = marshal.loads(zlib.decompress(self._packed))  # noqa: S302 - our own bytes
        return sizes

    def keys(self) -> KeysView[str]:
        """The UIDs, unpacked once for all comparisons."""
        return self.unpacked().keys()

    def __getitem__(self, sop_instance_uid: str) -> int:
        return self.unpacked()[sop_instance_uid]

    def __iter__(self) -> Iterator[str]:
        return iter(self.unpacked())

    def __len__(self) -> int:
        return self._number


@dataclass(slots=True)
class SeriesState:
    """The progress of one series, changed by its own methods only; `reason` is text for people, never read back.

    `found` maps the SOP Instance UIDs in place to their sizes in bytes; `moved` counts the instances that a C-MOVE
    to another AE title completed; `seconds` that its requests took.
    """

    series: Series
    status: Status = Status.PENDING
    reason: str = ""
    found: Mapping[str, int] = field(default_factory=lambda: _NOTHING_FOUND)
    moved: int = 0
    seconds: float = 0.0
    # An object contradicted another or belongs to another patient: nothing can make this series complete.
    spoiled: str = ""
    tried: bool = False
    # Objects placed here that name another study or series in their own header.
    relabelled: int = 0
    # The last request for it ended otherwise than with Success and no failed sub-operation.
    failed: bool = False
    # The PACS refused it for good: asking again would be the same.
    refused: bool = False
    # Nothing was announced, but the counters of its own request and what is in place agree.
    counted: bool = False
    # Nothing was announced, and its own request ended with Success without telling how many it moved.
    vouched: bool = False
    # Why asking again would be in vain, by how its last request ended; and the way by which this or an earlier run
    # found so: by that way it is asked for once, without repeats.
    lasting: Lasting | None = None
    failed_by: str = ""
    # What is in place would survive a power cut.
    secure: bool = False
    # The folder in two texts that other series share, "" while there is none: a Path has 500 bytes.
    _parent: str = field(default="", init=False, repr=False)
    _name: str = field(default="", init=False, repr=False)

    @property
    def folder(self) -> Path | None:
        """Where its instances lie; None: nowhere."""
        return Path(self._parent, self._name) if self._name else None

    @property
    def bytes(self) -> int:
        """The size of its instances on disk."""
        return self.found.bytes if isinstance(self.found, _Settled) else sum(self.found.values())

    @property
    def files(self) -> int:
        """Instances on disk, or moved."""
        return len(self.found) or self.moved

    @property
    def arrived(self) -> bool:
        """Whether all of it is in place, but perhaps not yet on the disk itself."""
        return self.status.completed and bool(self.found) and not self.secure

    @property
    def pending(self) -> bool:
        """Whether nothing has settled it yet."""
        return self.status is Status.PENDING

    # -- before anything is fetched

    def list(self) -> None:
        """It is told of only."""
        self.status = Status.LISTED

    def leave_undecided(self, reason: str) -> None:
        """The PACS told too little, and nothing that this run fetches could decide."""
        self.status, self.reason = Status.UNDECIDED, reason

    def leave_out(self) -> None:
        """It is beyond --limit."""
        self.status, self.reason = Status.LEFT_OUT, "left out by --limit"

    def take(self) -> None:
        """It is within --limit after all."""
        if self.status is Status.LEFT_OUT:
            self.status, self.reason = Status.PENDING, ""

    def skip(self, reason: str = "", moved: int = 0) -> None:
        """An earlier run has all of it; `moved`: that many instances to the same AE title."""
        self.status, self.reason, self.moved = Status.SKIPPED, reason, max(moved, self.moved)
        self._pack()

    def recall(self, lasting: Lasting, failed_by: str) -> None:
        """An earlier run found that it fails for good by this way."""
        self.lasting, self.failed_by = lasting, failed_by

    def tell(self, instances: tuple[Instance, ...]) -> None:
        """Takes the IMAGE-level list of its instances."""
        self.series = replace(self.series, instances=instances)

    # -- what its objects say

    def put(self, sop_instance_uid: str, size: int) -> bool:
        """An instance of `size` bytes is in place; whether it is new."""
        found = self._unpacked()
        new = sop_instance_uid not in found
        found[sop_instance_uid] = size
        self.secure = self.secure and not new
        return new

    def drop(self, sop_instance_uid: str) -> None:
        """An instance does not count any more, whether it is still in its folder or not."""
        self._unpacked().pop(sop_instance_uid, None)

    def _pack(self) -> None:
        if self.found and not isinstance(self.found, _Settled):
            self.found = _Settled(self.found)

    def _unpacked(self) -> dict[str, int]:
        """What is in place, to be changed."""
        if isinstance(self.found, _Settled):
            self.found = self.found.unpacked()
        elif self.found is _NOTHING_FOUND or not isinstance(self.found, dict):
            self.found = dict(self.found)
        return self.found

    def lie_in(self, folder: Path | None) -> None:
        """Its instances are in this folder; None: in none."""
        self._parent, self._name = (
            (sys.intern(str(folder.parent)), sys.intern(folder.name)) if folder else ("", "")
        )

    def complete_values(self, values: Mapping[str, str | None]) -> None:
        """Takes the values that its images completed."""
        self.series = replace(self.series, values=values)

    def want(self, rows: Iterable[int]) -> None:
        """Images decided: these rows want it. One that was discarded is asked for again."""
        self.series = replace(self.series, rows=tuple(rows), undecided={})
        if self.status is Status.NOT_WANTED:
            self.status = Status.PENDING

    def discard(self, reason: str) -> None:
        """Images decided: no row wants it."""
        self.status, self.reason = Status.NOT_WANTED, reason

    def exclude(self, reason: str) -> None:
        """Its images are of a patient who must not be fetched."""
        self.status, self.reason = Status.EXCLUDED, reason

    def spoil(self, why: str) -> None:
        """Nothing can make it complete any more."""
        self.spoiled = why

    def damage(self, reason: str) -> None:
        """An object of it arrived damaged: the counters alone say nothing any more."""
        self.reason, self.counted = reason, False

    def claim(self) -> None:
        """An object in place names another study or series than the PACS lists it under."""
        self.relabelled += 1

    # -- what its requests came to

    def take_time(self, seconds: float, moved: int | None = None) -> None:
        """A request for it has ended after so long; `moved`: the instances it completed for this series alone."""
        self.tried = True
        self.seconds += seconds
        self.moved = max(self.moved, moved or 0)

    def postpone(self, reason: str, lasting: Lasting | None = None) -> None:
        """A request for it failed and will be repeated, or asked in another way; `lasting`: should this be the last."""
        self.tried = True
        if self.pending:
            self.reason, self.counted, self.lasting = reason, False, lasting

    def enter(
        self,
        reason: str,
        *,
        failed: bool,
        refused: bool,
        counted: bool = False,
        vouched: bool = False,
        lasting: Lasting | None = None,
    ) -> None:
        """A request for it has ended; the verdict comes later."""
        self.reason = COUNTED if counted else reason
        self.failed, self.refused, self.counted, self.vouched = failed, refused, counted, vouched
        self.lasting = lasting

    def trust(self) -> None:
        """A request whose counters are not told moved all that the PACS holds."""
        self.moved = max(self.moved, self.series.expected or 0)

    def complete(self, note: str = "") -> None:
        """All of it is where it was asked for."""
        self.status, self.reason = Status.COMPLETE, note
        self._pack()

    def settle_on_disk(self, error: str = "") -> None:
        """What is in place was waited for; `error`: it could not be written."""
        if error and self.arrived:
            self.status, self.reason = Status.INCOMPLETE, error
        self.secure = not error

    def reopen(self) -> None:
        """What made it complete was a stranger's, and is gone: it is open again."""
        self.status, self.reason, self.failed = (
            Status.PENDING,
            "objects of a stranger stood for its own",
            True,
        )

    def close(self, stop_reason: str = "") -> None:
        """The run is over for it: what is still open has failed, in part or as a whole."""
        if self.spoiled:
            self.status, self.reason = Status.INCOMPLETE, self.spoiled
        if self.status is not Status.PENDING:
            return
        expected = self.series.expected
        counts = f"{self.files} of {'?' if expected is None else expected} instances"
        why = "" if self.counted else self.reason
        self.status = Status.INCOMPLETE if self.files else Status.FAILED
        self.reason = "; ".join(each for each in (counts, why, stop_reason) if each)

    def remember(self, way: str, *, proven: bool) -> None:
        """The run is over for it: whether it failed for good by this way; `proven`: others came by it."""
        failed = self.status in (Status.INCOMPLETE, Status.FAILED)
        if not (failed and (proven or self.failed_by == way)):
            self.lasting = None
        self.failed_by = way if self.lasting else ""

    def remark(self, *words: str) -> None:
        """Adds to the reason; what is "" or stands there adds nothing."""
        self.reason = "; ".join(
            filter(None, (self.reason, *(each for each in words if each not in self.reason)))
        )


_NO_COUNTS: Mapping[str, int] = MappingProxyType({})
_NO_STUDIES: Mapping[str, str | None] = MappingProxyType({})
# A reason that is also read back, from the tables of parts when they are merged.
NOTHING_MATCHES = "nothing matches"


@dataclass(frozen=True, slots=True)
class RowReport:
    """What is known of one query row; each stage of a find reports its part. Texts are "" while all is well."""

    query: Query
    failure: str = ""
    not_found: str = ""
    ambiguous: str = ""
    rejected: Mapping[str, int] = field(default_factory=lambda: _NO_COUNTS)
    lenient: frozenset[str] = frozenset()
    # What the PACS tells otherwise than the series table that asks.
    remark: str = ""
    # Series that are left out since their patient is excluded.
    excluded: int = 0
    # Columns that series came with empty, which was taken as not matching.
    empty: Mapping[str, int] = field(default_factory=lambda: _NO_COUNTS)
    # Other parts ask the row too, for their patients: only all parts together can tell that nothing matches.
    divided: bool = False
    # Its studies in other parts: how many; and, of a row that should find one study, which ones and whose.
    elsewhere: int = 0
    other_studies: Mapping[str, str | None] = field(default_factory=lambda: _NO_STUDIES)

    def followed_by(self, later: RowReport) -> RowReport:
        """Both reports of the row in one: counts are added; where both have a text, the later one stands."""
        return RowReport(
            self.query,
            failure=later.failure or self.failure,
            not_found=later.not_found or self.not_found,
            ambiguous=later.ambiguous or self.ambiguous,
            remark=later.remark or self.remark,
            rejected=_sum(self.rejected, later.rejected),
            lenient=self.lenient | later.lenient,
            excluded=self.excluded + later.excluded,
            empty=_sum(self.empty, later.empty),
            divided=self.divided or later.divided,
            elsewhere=self.elsewhere + later.elsewhere,
            other_studies={**self.other_studies, **later.other_studies},
        )


class RowReports(Mapping[int, RowReport]):
    """The report of each row asked, by first row number; one that tells nothing is made when somebody asks for it.

    Of a series table there may be 100,000 such rows. `asked`: the rows' queries; `told`: the reports that tell
    something; `divides`: whether other parts ask a row, too.
    """

    def __init__(
        self,
        asked: Mapping[int, Query],
        told: Mapping[int, RowReport],
        divides: Callable[[Query], bool] = lambda _: False,
    ) -> None:
        self.asked = asked
        self.told = told
        self._divides = divides

    def __getitem__(self, row: int) -> RowReport:
        return self.told.get(row) or self.plain(row)

    def plain(self, row: int) -> RowReport:
        """The report of a row of which nothing is to be told."""
        query = self.asked[row]
        return RowReport(query, divided=self._divides(query))

    def changed(self, reports: Mapping[int, RowReport]) -> RowReports:
        """The same with these reports in the place of those of their rows."""
        return RowReports(self.asked, {**self.told, **reports}, self._divides) if reports else self

    def __iter__(self) -> Iterator[int]:
        return iter(self.asked)

    def __len__(self) -> int:
        return len(self.asked)


def telling(rows: Mapping[int, RowReport]) -> Mapping[int, RowReport]:
    """Those of the reports that may tell something."""
    return rows.told if isinstance(rows, RowReports) else rows


def changed(rows: Mapping[int, RowReport], reports: Mapping[int, RowReport]) -> Mapping[int, RowReport]:
    """The reports of all rows, with these in the place of those of their rows."""
    return rows.changed(reports) if isinstance(rows, RowReports) else {**rows, **reports}


def _sum(first: Mapping[str, int], later: Mapping[str, int]) -> Mapping[str, int]:
    # Most rows have nothing to count: the empty mapping stays shared.
    return Counter(first) + Counter(later) if first and later else first or later


@dataclass(frozen=True, slots=True)
class Shortage:
    """A study of which the PACS lists fewer series than it announces, however it is asked.

    `rows`: the first row numbers of the rows that may lack what is not listed; `whole`: one of them wants all of the
    study, so that a request for the whole study can decide.
    """

    listed: int
    announced: int
    rows: tuple[int, ...]
    whole: bool

    @property
    def counts(self) -> str:
        """Both numbers in words."""
        return f"the PACS announces {self.announced} series of a study and lists {self.listed}"


_NO_SHORTAGES: Mapping[str, Shortage] = MappingProxyType({})


@dataclass(frozen=True)
class Found:
    """The series that the rows want, the rows' reports by first row number, and the SOP classes told of."""

    series: tuple[Series, ...]
    rows: Mapping[int, RowReport]
    sop_classes: frozenset[str]
    # How many series the PACS lists for each study, wanted or not.
    series_of_study: Mapping[str, int]
    # Keys that the PACS returned in no answer of their level, though asked.
    missing_keys: tuple[str, ...]
    # By StudyInstanceUID.
    short: Mapping[str, Shortage] = field(default_factory=lambda: _NO_SHORTAGES)


Part = tuple[MoveRequest, tuple[SeriesState, ...]]
"""One identifier of C-MOVE or C-GET, and the series that it brings."""


@dataclass(frozen=True)
class Chunk:
    """The requests of one association, each with the series it brings; `size` in instances."""

    parts: Sequence[Part]
    size: int

    @property
    def requests(self) -> tuple[MoveRequest, ...]:
        """The identifiers in the order sent."""
        return tuple(request for request, _ in self.parts)


@dataclass(frozen=True)
class Cut:
    """How small the pieces of work must be: a request for each series, an association for each request."""

    one_series_each: bool = False
    one_request_each: bool = False


@dataclass(frozen=True)
class Came:
    """What an ended request has brought that is new, once it was placed."""

    instances: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Stop:
    """Why nothing more is started; `unreachable`: nothing has ever reached us, so another way may do better.

    `failures`: for their number alone; each of them still says what it says.
    """

    reason: str
    unreachable: bool = False
    failures: bool = False


@dataclass(frozen=True)
class Question:
    """What a person is asked before the run goes on, and the fault where the answer is no."""

    words: str
    refusal: str


@dataclass(frozen=True)
class Note:
    """A line about a query row; lines of one `kind` are alike."""

    kind: str
    words: str


class _EverySeries(Mapping[SeriesKey, SeriesState]):
    """Series by their UIDs, held by the Series Instance UID alone: 100,000 pairs of UIDs would be 6 MB."""

    def __init__(self, states: Iterable[SeriesState]) -> None:
        self._by_uid: dict[str, SeriesState] = {}
        # Those whose Series Instance UID another one has, in another study.
        self._others: dict[SeriesKey, SeriesState] = {}
        for state in states:
            if self._by_uid.setdefault(state.series.series_uid, state) is not state:
                self._others[state.series.key] = state

    def __getitem__(self, key: SeriesKey) -> SeriesState:
        state = self._by_uid.get(key[1])
        return state if state is not None and state.series.study_uid == key[0] else self._others[key]

    def __iter__(self) -> Iterator[SeriesKey]:
        yield from (state.series.key for state in self._by_uid.values())
        yield from self._others

    def __len__(self) -> int:
        return len(self._by_uid) + len(self._others)


@dataclass(frozen=True)
class Plan:
    """What a run will do: the series in the order of the work, the rows with what became of them until now.

    `notes` are told first, then the questions are asked, then `last_note` is told.
    """

    states: tuple[SeriesState, ...]
    rows: Mapping[int, RowReport]
    sop_classes: frozenset[str]
    series_of_study: Mapping[str, int]
    notes: tuple[Note, ...] = ()
    questions: tuple[Question, ...] = ()
    last_note: str = ""
    # Series that are left out since their patient is excluded.
    barred: tuple[SeriesState, ...] = ()
    # Studies of which fewer series are listed than announced, by StudyInstanceUID.
    short: Mapping[str, Shortage] = field(default_factory=lambda: _NO_SHORTAGES)

    @property
    def todo(self) -> list[SeriesState]:
        """The series that are still open."""
        return [state for state in self.states if state.pending]

    @property
    def every(self) -> Mapping[SeriesKey, SeriesState]:
        """All series by their UIDs."""
        return _EverySeries(self.states)


@dataclass(frozen=True)
class Unexpected:
    """An object in `logs/unexpected`: its own values, who sent it, when it was set aside, and why."""

    file: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    patient_id: str
    caller: str
    at: str
    why: str


@dataclass
class Tally:
    """What was done with the objects that arrived: numbers of objects, and the bytes placed."""

    new_instances: int = 0
    bytes: int = 0
    unexpected: int = 0
    # Objects that were to be set aside beyond the limits, and were deleted.
    dropped: int = 0
    conflicts: int = 0
    # Objects of excluded patients, deleted as they arrived.
    excluded: int = 0


class Finds(Protocol):
    """Whatever answers C-FIND: `Pacs`, or `CarefulFinds`."""

    def find(self, level: str, requests: Sequence[Keys]) -> list[FindResult]:
        """Asks all identifiers at one level; one result for each."""
        ...


class Waits(Protocol):
    """How long to wait before a repeat: `Retry`."""

    def wait_s(self, earlier: int) -> float | None:
        """The wait before the next try after `earlier` repeats; None: no more."""
        ...


class Traffic(Protocol):
    """How many associations there may be, and when the next may start."""

    @property
    def retry(self) -> Waits:
        """What is waited before a repeat."""
        ...

    @property
    def one_request_each(self) -> bool:
        """Whether each request needs an association of its own."""
        ...

    def may_start(self, running: int) -> bool:
        """Whether one more association may be opened beside those that run."""
        ...

    def answered(self, running: int) -> None:
        """All associations that run have been answered."""
        ...

    def rejected(self, running: int) -> None:
        """The PACS admits no more than those that run."""
        ...

    def lost(self) -> bool:
        """There was no association; whether it is worth another try."""
        ...

    def brought(self, instances: int, size: int, since: float) -> None:
        """So much has come by work that began at `since`."""
        ...


class Placer(Protocol):
    """What brings objects to their place in the tree."""

    tally: Tally

    def adopt(self, state: SeriesState, folder: Path, *, write: bool = True) -> bool:
        """Takes over what an earlier run has placed; whether there is anything."""
        ...

    def adopt_listed(self, state: SeriesState) -> None:
        """Takes over what was placed that names another series, where the IMAGE level lists it for this one."""
        ...

    def decide_by_placed(self, state: SeriesState) -> None:
        """Settles by what an earlier run has placed whether a row wants the series."""
        ...

    def doubted(self, states: Iterable[SeriesState]) -> list[SeriesState]:
        """The series of which strangers sent objects, or of which more is in place than was announced."""
        ...

    def claim_strangers(self, states: Sequence[SeriesState]) -> None:
        """Places objects under other UIDs that the IMAGE level lists for these series."""
        ...

    def set_unlisted_aside(self, state: SeriesState) -> None:
        """Takes out of the tree what came in this run and the IMAGE level does not list."""
        ...


class Shelf(Protocol):
    """What keeps objects in `logs/unexpected`."""

    def unexpected(self) -> list[Unexpected]:
        """What this run has set aside."""
        ...

    def contradictions(self) -> list[Unexpected]:
        """What of it contradicts the tree or the index: a person or the PACS must settle it."""
        ...

    def remarks(self) -> Mapping[SeriesKey, str]:
        """What is to be said of objects under the UIDs of series that are not in their folders."""
        ...

    def unasked(self) -> Mapping[SeriesKey, int]:
        """How many objects of each series came from the PACS that nobody had asked for, kept or not."""
        ...


class Room(Protocol):
    """What watches the room that is left on the disk."""

    def look(self, came: int, size: int, ahead: Callable[[], int], *, now: bool = False) -> str:
        """Why the run must stop, "" while there is room."""
        ...
