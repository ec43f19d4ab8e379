"""`Series`: one series as the PACS told it, with the query rows that want it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Instance:
    """One line of an IMAGE-level answer; `sop_class` is "" where the PACS did not tell."""

    sop_instance_uid: str
    sop_class: str


@dataclass(frozen=True)
class Series:
    """A series to list, fetch or move; `values` by keyword as found (None: the PACS did not return the key).

    `rows` want it for certain; for each row in `undecided` the PACS told too little of the columns named there.
    `announced` is NumberOfSeriesRelatedInstances; `instances` the IMAGE-level list, None where it was not asked.
    """

    values: Mapping[str, str | None]
    rows: tuple[int, ...]
    undecided: Mapping[int, tuple[str, ...]]
    announced: int | None = None
    instances: tuple[Instance, ...] | None = None

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID (0020,000D)."""
        return self.values.get("StudyInstanceUID") or ""

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID (0020,000E)."""
        return self.values.get("SeriesInstanceUID") or ""

    @property
    def key(self) -> tuple[str, str]:
        """Study and series UID: the identity of a series."""
        return self.study_uid, self.series_uid

    @property
    def expected(self) -> int | None:
        """The number of instances: of the IMAGE-level list where there is one, else as announced; None: unknown."""
        return self.announced if self.instances is None else len(self.instances)
