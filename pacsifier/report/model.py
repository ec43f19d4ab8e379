"""A report as a value, and which series stand on which page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pacsifier.report.beside import Beside
from pacsifier.report.facts import Kind, Logs, Series, is_suspicious, suspicion

SERIES_PER_PAGE = 250
_UIDS_PER_PAGE = 20_000


@dataclass(frozen=True)
class Report:
    """All that a report tells. `folder` is its name for the page; `again` the commands that bring what is missing.

    `others` counts files that are no images, `unread` those that cannot be read, `written_at` is now.
    """

    kind: Kind
    folder: str
    series: Sequence[Series]
    logs: Logs
    beside: Beside
    written_at: datetime
    others: int = 0
    unread: int = 0
    again: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Sheet:
    """The series of one page; `first` those that a person should look at first."""

    first: tuple[Series, ...]
    rest: tuple[Series, ...]


def sheets(report: Report) -> list[Sheet]:
    """The series by pages: at most 250 of them, and no more names of images than open quickly. Pure."""
    ordered = in_order(report)
    pages: list[list[Series]] = [[]]
    uids = 0
    for each in ordered:
        mine = len(each.on_disk.uids) if each.on_disk and report.kind is Kind.ANONYMIZED else 0
        if pages[-1] and (len(pages[-1]) >= SERIES_PER_PAGE or uids + mine > _UIDS_PER_PAGE):
            pages.append([])
            uids = 0
        pages[-1].append(each)
        uids += mine
    return [
        Sheet(
            tuple(each for each in of_it if comes_first(report, each)),
            tuple(each for each in of_it if not comes_first(report, each)),
        )
        for of_it in pages
    ]


def in_order(report: Report) -> list[Series]:
    """The series as they are shown: of anonymized data, the most suspicious first. Pure."""
    if report.kind is Kind.IDENTIFIED:
        return list(report.series)
    return sorted(report.series, key=lambda each: suspicion(each.on_disk) if each.on_disk else (0, 0, 0))


def comes_first(report: Report, series: Series) -> bool:
    """Whether a series is one that a person should look at before all others."""
    return report.kind is Kind.ANONYMIZED and series.on_disk is not None and is_suspicious(series.on_disk)
