"""The figures at the end of a run, and the plan that a dry run shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.query import Query
from pacsifier.transfer.model import Plan, SeriesState, Status, Stop, Tally
from pacsifier.transfer.record.outcomes import Outcome


@dataclass(frozen=True)
class RowPlan:
    """What a query row would bring, as far as the PACS tells; `instances` None: not all numbers were announced."""

    row: int
    outcome: str
    reason: str
    studies: int
    series: int
    instances: int | None


@dataclass(frozen=True)
class Summary:
    """The figures at the end of a run; `outcomes` counts query rows by outcome, `plan` is a dry run's."""

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    series: Counter[Status] = field(default_factory=Counter)
    instances: int = 0
    bytes: int = 0
    unexpected: int = 0
    dropped: int = 0
    conflicts: int = 0
    # Series, and objects that arrived all the same, of patients who are excluded.
    excluded_series: int = 0
    excluded_objects: int = 0
    seconds: float = 0.0
    redo: Path | None = None
    problems: tuple[str, ...] = ()
    plan: tuple[RowPlan, ...] = ()
    # Counts of patients by what became of them; None: not known.
    patients: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there; of a dry run, whether every row could be looked up."""
        failed = bool(self.plan) and self.outcomes["failed"] > 0
        return not self.problems and not self.conflicts and self.redo is None and not failed


def summed_up(
    plan: Plan,
    queries: Sequence[Query],
    outcomes: Mapping[int, Outcome],
    tally: Tally,
    *,
    stop: Stop | None = None,
    problems: Sequence[str] = (),
) -> Summary:
    """The figures of a run over these queries; `outcomes` by first row number."""
    stopped = stop is not None and not all(state.status.settled for state in plan.states)
    by_outcome: Counter[str] = Counter()
    for query in queries:
        by_outcome[outcomes[query.rows[0]][0]] += len(query.rows)
    return Summary(
        rows=sum(len(query.rows) for query in queries),
        outcomes=by_outcome,
        series=Counter(state.status for state in plan.states),
        instances=sum(state.files for state in plan.states),
        bytes=tally.bytes,
        unexpected=tally.unexpected,
        dropped=tally.dropped,
        conflicts=tally.conflicts,
        excluded_series=len(plan.barred),
        excluded_objects=tally.excluded,
        problems=tuple(dict.fromkeys([*problems, *([stop.reason] if stop and stopped else [])])),
    )


def row_plans(
    queries: Sequence[Query],
    outcomes: Mapping[int, Outcome],
    wanting: Mapping[int, Sequence[SeriesState]],
) -> Iterator[RowPlan]:
    """What each row of a dry run would bring; `wanting`: the series that each row wants, by first row number."""
    for query in queries:
        first = query.rows[0]
        for row in query.rows:
            yield _row_plan(row, *outcomes[first], wanting.get(first, ()))


def _row_plan(row: int, outcome: str, reason: str, states: Sequence[SeriesState]) -> RowPlan:
    ahead = [state for state in states if not state.status.completed and state.status is not Status.LEFT_OUT]
    numbers = [state.series.expected for state in ahead]
    untold = "the PACS tells neither number nor list of the instances" if None in numbers else ""
    return RowPlan(
        row,
        outcome,
        reason or untold,
        studies=len({state.series.study_uid for state in ahead}),
        series=len(ahead),
        instances=None if None in numbers else sum(number or 0 for number in numbers),
    )
