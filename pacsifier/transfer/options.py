"""What a run is asked to do, and what it tells while it works."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from datetime import datetime, time, timezone
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS, Timeouts
from pacsifier.query import WHOLE, QueryTable, Shard
from pacsifier.transfer.capabilities import USUAL, Capabilities
from pacsifier.transfer.exclusion import NOBODY, Excluded
from pacsifier.transfer.model import SeriesState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hours:
    """The part of the day in which work may start; it may go over midnight."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """From `19:00-06:00`; seconds may follow.

        Raises:
            ValueError: it is none, or start and end are equal.
        """
        start, separator, end = text.partition("-")
        hours = cls(time.fromisoformat(start.strip()), time.fromisoformat(end.strip()))
        if not separator or hours.start == hours.end or hours.start.tzinfo or hours.end.tzinfo:
            raise ValueError(text)
        return hours

    def open_at(self, moment: datetime) -> bool:
        """Whether work may start then (local time)."""
        now = moment.time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"


@dataclass(frozen=True)
class Rate:
    """The most that may come in a second, on average: instances, or bytes."""

    per_s: float
    in_bytes: bool = False

    def pause_s(self, instances: int, size: int) -> float:
        """How long that much work must take."""
        return (size if self.in_bytes else instances) / self.per_s


MIN_FREE_BYTES = 200_000_000
MAX_UNEXPECTED = 10_000
MAX_UNEXPECTED_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Options:
    """What a retrieval is to do; exactly one of save and move, or info alone."""

    save: bool = False
    info: bool = False
    move: bool = False
    resume: bool = False
    dry_run: bool = False
    list_all: bool = False
    associations: int = 2
    # How --save gets the images: "move" (C-MOVE to our receiver), "get" (C-GET), or "auto": the first that works.
    retrieve_method: str = "move"
    limit: int | None = None
    sop_classes: tuple[str, ...] = ()
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    hours: Hours | None = None
    rate: Rate | None = None
    # C-MOVE requests that may fail in a row before the run stops.
    max_failures: int = 10
    min_free_bytes: int = MIN_FREE_BYTES
    # What logs/unexpected may hold.
    max_unexpected: int = MAX_UNEXPECTED
    max_unexpected_bytes: int = MAX_UNEXPECTED_BYTES
    capabilities: Capabilities = USUAL
    excluded: Excluded = NOBODY
    # One part of many by patient; other parts run elsewhere, each into an output folder of its own.
    shard: Shard = WHOLE


def run_name() -> str:
    """A name for a run, by when it began (UTC), that tables and audit share; no spreadsheet takes it for a date."""
    return f"run-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"


@dataclass(frozen=True)
class Job:
    """A run: its options over a checked query table, of which a shard takes a part, into an output folder.

    `name` is the same in every table of the run.
    """

    config: PacsConfig
    table: QueryTable
    out: Path
    options: Options
    name: str = field(default_factory=run_name)

    @classmethod
    def of(cls, config: PacsConfig, table: QueryTable, out: Path, options: Options) -> Job:
        """The job with the part of the table that is this run's."""
        return cls(config, options.shard.part(table), out, options)


class Observer:
    """What a run tells while it works; `cli` shows it. This one shows nothing.

    `tells_series`: somebody wants to hear of each series.
    """

    tells_series: bool = False

    def say(self, message: str) -> None:
        """A word to the user that no result holds."""

    def finding(self, level: str, answered: int, asked: int, found: int) -> None:
        """A find at a level has so many of its identifiers answered, with so many answers."""

    def planned(self, series: int, instances: int | None) -> None:
        """The work ahead; None: not all numbers were announced."""

    def progress(self, series_done: int, instances: int, size: int = 0) -> None:
        """The work done so far; `size` in bytes."""

    def settled(self, state: SeriesState) -> None:
        """Something has become of a series; it may come again, where that was not the last word."""

    def confirm(self, question: str) -> bool:
        """Asks a person; without one the run goes on."""
        log.warning("%s", question)
        return True
