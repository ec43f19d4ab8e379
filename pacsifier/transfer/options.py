"""What a run is asked to do, and what it tells while it works."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, time, timezone
from pathlib import Path
from typing import Final

from pacsifier import allowed
from pacsifier.allowed import BYTES, POSITIVE, UID, Kind, kind, made_by, one_of, several
from pacsifier.config import PacsConfig
from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS, TIMEOUTS, Timeouts
from pacsifier.query import SHARD, WHOLE, QueryTable, Shard
from pacsifier.transfer.capabilities import USUAL, Capabilities
from pacsifier.transfer.exclusion import NOBODY, Excluded, excluded_of
from pacsifier.transfer.model import SeriesState

log = logging.getLogger(__name__)

_NUMBER: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)


@dataclass(frozen=True)
class Hours:
    """The part of the day in which work may start; it may go over midnight."""

    start: time
    end: time

    def __post_init__(self) -> None:
        if self.start == self.end or self.start.tzinfo or self.end.tzinfo:
            raise ValueError(str(self))

    @classmethod
    def parse(cls, text: str) -> Hours:
        """From `19:00-06:00`; seconds may follow.

        Raises:
            ValueError: it is none, or start and end are equal.
        """
        start, _, end = text.partition("-")
        return cls(time.fromisoformat(start.strip()), time.fromisoformat(end.strip()))

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

    def __post_init__(self) -> None:
        if not self.per_s > 0:
            raise ValueError(self.per_s)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """From `50` (instances) or `5MB`.

        Raises:
            ValueError: it is none, or nothing could come.
        """
        if _NUMBER.fullmatch(text):
            return cls(float(text))
        return cls(float(allowed.SIZE.of_text(text)), in_bytes=True)

    def pause_s(self, instances: int, size: int) -> float:
        """How long that much work must take."""
        return (size if self.in_bytes else instances) / self.per_s


HOURS: Final = made_by(Hours, "hours such as 19:00-06:00 are allowed", Hours.parse)
RATE: Final = made_by(Rate, "instances a second (50) or bytes a second (5MB) are allowed", Rate.parse)
METHOD: Final = one_of("move", "get", "auto")
_CLASSES: Final = several(UID, tuple, f"a list of UIDs is allowed, of each {UID.allowed}")
_CAPABILITIES: Final = made_by(
    Capabilities, "what pacsifier.transfer.capabilities.load_capabilities gives is allowed"
)
_EXCLUDED: Final = Kind(
    "a list of PatientIDs without wildcards, or what pacsifier.transfer.exclusion.load_excluded gives, is allowed",
    excluded_of,
    excluded_of,
)
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
    associations: int = field(default=2, metadata=kind(POSITIVE))
    # How --save gets the images: "move" (C-MOVE to our receiver), "get" (C-GET), or "auto": the first that works.
    retrieve_method: str = field(default="move", metadata=kind(METHOD))
    limit: int | None = field(default=None, metadata=kind(POSITIVE))
    sop_classes: tuple[str, ...] = field(default=(), metadata=kind(_CLASSES))
    timeouts: Timeouts = field(default=DEFAULT_TIMEOUTS, metadata=kind(TIMEOUTS))
    hours: Hours | None = field(default=None, metadata=kind(HOURS))
    rate: Rate | None = field(default=None, metadata=kind(RATE))
    # C-MOVE requests that may fail in a row before the run stops.
    max_failures: int = field(default=10, metadata=kind(POSITIVE))
    min_free_bytes: int = field(default=MIN_FREE_BYTES, metadata=kind(BYTES))
    # What logs/unexpected may hold.
    max_unexpected: int = field(default=MAX_UNEXPECTED, metadata=kind(POSITIVE))
    max_unexpected_bytes: int = field(default=MAX_UNEXPECTED_BYTES, metadata=kind(BYTES))
    capabilities: Capabilities = field(default=USUAL, metadata=kind(_CAPABILITIES))
    excluded: Excluded = field(default=NOBODY, metadata=kind(_EXCLUDED))
    # One part of many by patient; other parts run elsewhere, each into an output folder of its own.
    shard: Shard = field(default=WHOLE, metadata=kind(SHARD))


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
