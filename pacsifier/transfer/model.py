"""The values that a row's way is made of: the state of a series, what the finds brought, the cut of the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.query import Query
from pacsifier.query.series import Series


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

    @property
    def completed(self) -> bool:
        """Whether everything of the series is where it was asked for."""
        return self in (Status.COMPLETE, Status.SKIPPED)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.completed or self in (Status.LISTED, Status.NOT_WANTED, Status.EXCLUDED)


@dataclass(slots=True)
class SeriesState:
    """The progress of one series: `found` maps the SOP Instance UIDs in place to their sizes in bytes."""

    series: Series
    status: Status = Status.PENDING
    reason: str = ""
    found: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    folder: Path | None = None
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

    @property
    def files(self) -> int:
        """Instances on disk, or moved."""
        return len(self.found) or self.moved


_NO_COUNTS: Mapping[str, int] = MappingProxyType({})
_NO_STUDIES: Mapping[str, str | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RowReport:
    """What is known of one query row; each stage of a find reports its part. Texts are "" while all is well."""

    query: Query
    failure: str = ""
    not_found: str = ""
    ambiguous: str = ""
    rejected: Mapping[str, int] = field(default_factory=lambda: _NO_COUNTS)
    lenient: frozenset[str] = frozenset()
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
            rejected=_sum(self.rejected, later.rejected),
            lenient=self.lenient | later.lenient,
            excluded=self.excluded + later.excluded,
            empty=_sum(self.empty, later.empty),
            divided=self.divided or later.divided,
            elsewhere=self.elsewhere + later.elsewhere,
            other_studies={**self.other_studies, **later.other_studies},
        )


def _sum(first: Mapping[str, int], later: Mapping[str, int]) -> Mapping[str, int]:
    # Most rows have nothing to count: the empty mapping stays shared.
    return Counter(first) + Counter(later) if first and later else first or later


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


Part = tuple[MoveRequest, tuple[SeriesState, ...]]


@dataclass(frozen=True)
class Chunk:
    """The requests of one movescu, each with the series it brings; `size` in instances."""

    parts: tuple[Part, ...]
    size: int

    @property
    def requests(self) -> tuple[MoveRequest, ...]:
        """The identifiers in the order sent."""
        return tuple(request for request, _ in self.parts)
