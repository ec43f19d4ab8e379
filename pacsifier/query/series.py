"""`Series`: one series as the PACS told it, with the query rows that want it; `PackedValues`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

# No two have the same: the table of interned texts would grow by 100 bytes for each.
_UNIQUE = frozenset({"SeriesInstanceUID", "SOPInstanceUID"})
_NOTHING: Mapping[str, str | None] = MappingProxyType({})


class PackedValues(Mapping[str, str | None]):
    """Values by keyword; None: the key was not returned.

    Takes a tenth of a dict's memory, for there may be 100,000: the same keywords and equal texts are held once, and
    what is in `below` and not in `values`, as the values of a study for each of its series, is only pointed to.
    """

    __slots__ = ("_below", "_places", "_texts")

    def __init__(self, values: Mapping[str, str | None], below: Mapping[str, str | None] = _NOTHING) -> None:
        self._below = below
        self._places = _places(tuple(values))
        self._texts = tuple(
            text if text is None or keyword in _UNIQUE else sys.intern(text)
            for keyword, text in values.items()
        )

    def __getitem__(self, keyword: str) -> str | None:
        place = self._places.get(keyword)
        return self._below[keyword] if place is None else self._texts[place]

    def __iter__(self) -> Iterator[str]:
        yield from self._below
        yield from (keyword for keyword in self._places if keyword not in self._below)

    def __len__(self) -> int:
        return len(self._below) + sum(keyword not in self._below for keyword in self._places)

    def __repr__(self) -> str:
        return f"PackedValues({dict(self)!r})"


@cache
def _places(keywords: tuple[str, ...]) -> dict[str, int]:
    return {keyword: place for place, keyword in enumerate(keywords)}


@dataclass(frozen=True, slots=True)
class Instance:
    """One line of an IMAGE-level answer; `sop_class` is "" where the PACS did not tell."""

    sop_instance_uid: str
    sop_class: str


@dataclass(frozen=True, slots=True)
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
