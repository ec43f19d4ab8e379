"""How the work is cut and when it may start: batches, chunks, hours, rate, the circuit breaker. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, overload

from pacsifier.dcmtk.identifiers import LONGEST_UID_LIST
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.query import is_single_key
from pacsifier.transfer.capabilities import USUAL, Capabilities
from pacsifier.transfer.model import Chunk, Lasting, Part, SeriesState

# Instances taken for a series whose number was not announced.
_UNKNOWN_SIZE = 50
_CHUNKS_AN_ASSOCIATION = 3
# An association costs as much as some tens of small instances.
_SMALLEST_SHARE = 40
# Instances that one association brings: movescu logs 0.6 kB for each.
_LARGEST_SHARE = 10_000
# Instances of a list: what a killed run has received of a request is asked for again.
_LARGEST_LIST = 500
# An association for each small study costs twice as much as the study; what is listed together is placed together.
_LARGEST_STUDY_LIST = 200


Item = TypeVar("Item")


@dataclass(frozen=True)
class Task:
    """A chunk that is to be asked for, after `repeats` repeats, in `wait_s` seconds; `first`: before all that waits.

    `doubt`: it may be on its way, and is asked for only where nothing comes; then that capability does not hold.
    `once`: its series failed for good before: an answer is not followed by a repeat.
    """

    chunk: Chunk
    repeats: int = 0
    wait_s: float = 0.0
    first: bool = False
    doubt: str = ""
    once: bool = False


def batches(states: Sequence[SeriesState], batch_size: int, batch_wait_s: float) -> list[list[SeriesState]]:
    """At most `batch_size` series each, the order kept; one batch where there is no pause to make."""
    if not batch_wait_s:
        return [list(states)] if states else []
    return [list(states[start : start + batch_size]) for start in range(0, len(states), batch_size)]


def chunks(
    states: Iterable[SeriesState],
    associations: int,
    series_of_study: Mapping[str, int],
    capabilities: Capabilities = USUAL,
    *,
    one_series_each: bool = False,
    one_request_each: bool = False,
    alone: Collection[str] = (),
) -> list[Chunk]:
    """Cuts a batch into about three shares an association, the largest first.

    A study all of whose series are wanted goes by a STUDY-level request, small ones together; else by one SERIES-level
    request with a UID list. A study larger than a share goes in several lists. With `one_series_each` each series is a
    request. Of a series that is partly there, only the missing instances are asked for, where their UIDs are known.
    `alone`: studies whose whole is asked for by a request of its own, whatever its size, for its counters are needed.
    """
    studies: dict[str, list[SeriesState]] = defaultdict(list)
    for state in states:
        studies[state.series.study_uid].append(state)
    total = sum(size_of(each) for each in studies.values())
    share = min(_LARGEST_SHARE, max(_SMALLEST_SHARE, total // (associations * _CHUNKS_AN_ASSOCIATION)))
    parts: list[Part | SeriesState] = []
    whole_studies: list[Part] = []
    for study_uid, wanted in studies.items():
        whole = []
        for state in wanted:
            in_part = _instances(state) if capabilities.image_moves else []
            parts += in_part
            whole += [] if in_part else [state]
        is_whole = capabilities.whole_studies and len(whole) == series_of_study.get(study_uid)
        if is_whole and study_uid in alone and not one_series_each:
            parts.append((MoveRequest((study_uid,)), tuple(whole)))
        elif one_series_each or not capabilities.uid_lists:
            parts += whole
        elif is_whole and (size_of(whole) <= share or len(whole) == 1):
            whole_studies.append((MoveRequest((study_uid,)), tuple(whole)))
        else:
            piece = 1 if one_request_each else min(share, _LARGEST_LIST)
            parts += _in_lists(study_uid, whole, piece if size_of(whole) > share else share)
    listed = capabilities.study_lists and capabilities.uid_lists and not one_request_each
    parts += _together(whole_studies, min(share, _LARGEST_STUDY_LIST)) if listed else whole_studies
    return _pack(parts, 0 if one_request_each else share)


class _Parts(Sequence[Part]):
    """Requests; one for a single series is made when somebody asks for it, as 100,000 of them would be 30 MB."""

    def __init__(self, parts: Sequence[Part | SeriesState]) -> None:
        self._parts = parts

    @overload
    def __getitem__(self, place: int) -> Part: ...
    @overload
    def __getitem__(self, place: slice) -> _Parts: ...
    def __getitem__(self, place: Any) -> Any:
        found = self._parts[place]
        if isinstance(place, slice):
            return _Parts(found)
        return _one_series(found) if isinstance(found, SeriesState) else found

    def __len__(self) -> int:
        return len(self._parts)


def one_chunk(parts: Sequence[Part]) -> Chunk:
    """Requests that go over one association."""
    return Chunk(tuple(parts), sum(size_of(states) for _, states in parts))


def beginning(chunk: Chunk, most: int, requests: int | None = None) -> tuple[Chunk, Sequence[Part]]:
    """The first requests, as many as bring `most` instances but at least one, as a chunk; and the others.

    `requests`: no more than so many of them.
    """
    size = number = 0
    for number, (_, states) in enumerate(chunk.parts):
        size += size_of(states)
        if number and (size > most or number == requests):
            return one_chunk(chunk.parts[:number]), chunk.parts[number:]
    return chunk, ()


def study_by_study(part: Part) -> list[Part]:
    """The same work with a request for each study."""
    request, states = part
    if len(request.study_uids) < 2:
        return [part]
    return [
        (MoveRequest((uid,)), tuple(state for state in states if state.series.study_uid == uid))
        for uid in request.study_uids
    ]


def in_series(part: Part) -> list[Part]:
    """The same work with lists of its series where it was for a whole study."""
    request, states = part
    if request.series_uids:
        return [part]
    (study_uid,) = request.study_uids
    return [*_in_lists(study_uid, states, _LARGEST_LIST)]


def simpler(part: Part) -> list[Part]:
    """The same work in requests that more PACS take: one study each, or else one series; empty where they are that."""
    request, states = part
    if len(request.study_uids) > 1:
        return study_by_study(part)
    if not request.instance_uids and len(request.series_uids) == 1:
        return []
    return [_one_series(state) for state in states]


def _together(studies: Iterable[Part], most: int) -> Iterator[Part]:
    """Whole studies, as many in a request as bring `most` instances, or one that is larger."""
    largest_first = sorted(studies, key=lambda part: -size_of(part[1]))
    for listed in _filled([(part, size_of(part[1])) for part in largest_first], most):
        uids = tuple(uid for request, _ in listed for uid in request.study_uids)
        yield MoveRequest(uids), tuple(state for _, states in listed for state in states)


def _in_lists(study_uid: str, states: Sequence[SeriesState], most: int) -> Iterator[Part]:
    """Requests with lists of series that bring `most` instances, or one series that is larger."""
    for listed in _filled([(state, size_of((state,))) for state in states], most):
        yield MoveRequest((study_uid,), tuple(each.series.series_uid for each in listed)), tuple(listed)


def _filled(items: Iterable[tuple[Item, int]], most: int) -> Iterator[list[Item]]:
    """Lists of items, in order, whose sizes sum up to `most`, or of one item that is larger."""
    listed: list[Item] = []
    total = 0
    for item, size in items:
        if listed and (total + size > most or len(listed) == LONGEST_UID_LIST):
            yield listed
            listed, total = [], 0
        listed.append(item)
        total += size
    if listed:
        yield listed


def _one_series(state: SeriesState) -> Part:
    return MoveRequest((state.series.study_uid,), (state.series.series_uid,)), (state,)


def _instances(state: SeriesState) -> list[Part]:
    missing = iter(_missing(state))
    lists = iter(lambda: tuple(islice(missing, LONGEST_UID_LIST)), ())
    series = state.series
    return [(MoveRequest((series.study_uid,), (series.series_uid,), uids), (state,)) for uids in lists]


def _missing(state: SeriesState) -> tuple[str, ...]:
    """The instances still to come of a series that is partly there; none where their UIDs are not known."""
    # Success for a list that brings nothing would look like a PACS that takes no lists, and be asked in another form.
    if not state.found or state.series.instances is None or state.lasting is Lasting.MISSING:
        return ()
    uids = (each.sop_instance_uid for each in state.series.instances)
    return tuple(uid for uid in uids if uid not in state.found and is_single_key(uid))


def size_of(states: Iterable[SeriesState]) -> int:
    """The number of instances still to come, guessed where it was not announced."""
    return sum(
        _UNKNOWN_SIZE if state.series.expected is None else max(1, state.series.expected - len(state.found))
        for state in states
    )


def _pack(parts: Iterable[Part | SeriesState], share: int) -> list[Chunk]:
    """Chunks of so many instances, the largest parts first; a series stands for a request for it alone."""
    packed: list[Chunk] = []
    pending: list[Part | SeriesState] = []
    size = 0
    for part in sorted(parts, key=lambda part: -_size_of_part(part)):
        pending.append(part)
        size += _size_of_part(part)
        if size >= share:
            packed.append(Chunk(_Parts(tuple(pending)), size))
            pending, size = [], 0
    if pending:
        packed.append(Chunk(_Parts(tuple(pending)), size))
    return packed


def _size_of_part(part: Part | SeriesState) -> int:
    return size_of((part,) if isinstance(part, SeriesState) else part[1])
