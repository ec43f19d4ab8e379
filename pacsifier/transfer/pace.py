"""How the work is cut: batches with pauses between them, chunks for a few associations. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pacsifier.dcmtk.pacs import MoveRequest
from pacsifier.transfer.journal import SeriesState

# Instances taken for a series whose number was not announced.
_UNKNOWN_SIZE = 50
_CHUNKS_AN_ASSOCIATION = 4


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


def batches(states: Sequence[SeriesState], batch_size: int, batch_wait_s: float) -> list[list[SeriesState]]:
    """At most `batch_size` series each, the order kept; one batch where there is no pause to make."""
    if not batch_wait_s:
        return [list(states)] if states else []
    return [list(states[start : start + batch_size]) for start in range(0, len(states), batch_size)]


def chunks(
    states: Iterable[SeriesState],
    associations: int,
    series_of_study: Mapping[str, int],
    *,
    one_series_each: bool = False,
) -> list[Chunk]:
    """Cuts a batch into about four shares an association, the largest first.

    A study all of whose series are wanted is one STUDY-level request; else one SERIES-level request with a UID list.
    A study larger than a share goes series by series, and so does everything with `one_series_each`.
    """
    studies: dict[str, list[SeriesState]] = defaultdict(list)
    for state in states:
        studies[state.series.study_uid].append(state)
    total = sum(size_of(each) for each in studies.values())
    share = max(1, total // (associations * _CHUNKS_AN_ASSOCIATION))
    parts: list[Part] = []
    for study_uid, wanted in studies.items():
        if one_series_each or (size_of(wanted) > share and len(wanted) > 1):
            parts += [(MoveRequest(study_uid, (each.series.series_uid,)), (each,)) for each in wanted]
        elif len(wanted) == series_of_study.get(study_uid):
            parts.append((MoveRequest(study_uid), tuple(wanted)))
        else:
            uids = tuple(each.series.series_uid for each in wanted)
            parts.append((MoveRequest(study_uid, uids), tuple(wanted)))
    return _pack(parts, share)


def size_of(states: Iterable[SeriesState]) -> int:
    """The number of instances still to come, guessed where it was not announced."""
    return sum(
        _UNKNOWN_SIZE if state.series.expected is None else max(1, state.series.expected - len(state.found))
        for state in states
    )


def _pack(parts: Iterable[Part], share: int) -> list[Chunk]:
    packed: list[Chunk] = []
    pending: list[Part] = []
    size = 0
    for part in sorted(parts, key=lambda part: -size_of(part[1])):
        pending.append(part)
        size += size_of(part[1])
        if size >= share:
            packed.append(Chunk(tuple(pending), size))
            pending, size = [], 0
    if pending:
        packed.append(Chunk(tuple(pending), size))
    return packed
