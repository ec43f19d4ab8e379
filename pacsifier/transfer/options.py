"""What a run is asked to do, what it tells while it works, and the figures at its end."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS, Timeouts
from pacsifier.query import WHOLE, Shard
from pacsifier.transfer.capabilities import USUAL, Capabilities
from pacsifier.transfer.exclusion import NOBODY, Excluded
from pacsifier.transfer.journal import Status
from pacsifier.transfer.pace import Hours, Rate

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 200_000_000


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
    capabilities: Capabilities = USUAL
    excluded: Excluded = NOBODY
    # One part of many by patient; other parts run elsewhere, each into an output folder of its own.
    shard: Shard = WHOLE


class Observer:
    """What a run tells while it works; `cli` shows it. This one shows nothing."""

    def say(self, message: str) -> None:
        """A word to the user that no result holds."""

    def planned(self, series: int, instances: int | None) -> None:
        """The work ahead; None: not all numbers were announced."""

    def progress(self, series_done: int, instances: int) -> None:
        """The work done so far."""

    def confirm(self, question: str) -> bool:
        """Asks a person; without one the run goes on."""
        log.warning("%s", question)
        return True


@dataclass(frozen=True)
class RowPlan:
    """What a query row would bring, as far as the PACS tells; `instances` None: not all numbers were announced."""

    row: int
    outcome: str
    reason: str
    studies: int
    series: int
    instances: int | None


@dataclass
class Summary:
    """The figures at the end of a run; `outcomes` counts query rows by outcome. `plan`: of a dry run, a line a row."""

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    series: Counter[Status] = field(default_factory=Counter)
    instances: int = 0
    bytes: int = 0
    unexpected: int = 0
    conflicts: int = 0
    # Series, and objects that arrived all the same, of patients who are excluded.
    excluded_series: int = 0
    excluded_objects: int = 0
    seconds: float = 0.0
    redo: Path | None = None
    problems: list[str] = field(default_factory=list)
    plan: tuple[RowPlan, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return not self.problems and not self.conflicts and self.redo is None
