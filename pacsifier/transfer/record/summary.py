"""The figures at the end of a run."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.transfer.model import Status

log = logging.getLogger(__name__)


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
