"""Whether a series is complete: by final statuses, counters, announced numbers, the IMAGE-level list. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, SUCCESS, WARNING_SUBOPERATIONS, MoveState
from pacsifier.query.series import Series
from pacsifier.transfer.model import Part, SeriesState, Status
from pacsifier.transfer.retry import is_temporary

_COUNTERS_AGREE = "counters agree"


def is_complete(state: SeriesState) -> bool:
    """Whether the instances in place are those expected: by the IMAGE-level list where there is one."""
    series = state.series
    if series.instances is not None and state.found:
        return {instance.sop_instance_uid for instance in series.instances} <= state.found.keys()
    return series.expected is not None and state.files == series.expected > 0


def is_short(state: SeriesState) -> bool:
    """Whether fewer instances are in place than expected."""
    expected = state.series.expected
    return expected is not None and len(state.found) < expected


def is_clean(end: MoveState) -> bool:
    """Whether a C-MOVE ended with Success and no failed sub-operation."""
    return end.status == SUCCESS and not end.failed


def refused_for_good(end: MoveState) -> bool:
    """Whether the PACS would not take the identifier itself: a failure that neither time nor another place mends."""
    if end.status in (None, SUCCESS, WARNING_SUBOPERATIONS, MOVE_DESTINATION_UNKNOWN):
        return False
    return not is_temporary(end) and not end.completed


def left_behind(part: Part) -> list[SeriesState]:
    """The series of a request of which nothing came, or not all the instances that it names; of studies, whole ones."""
    request, states = part
    if len(request.study_uids) > 1:
        came = {state.series.study_uid for state in states if state.found}
        return [
            state for state in states if state.series.study_uid not in came and state.series.expected != 0
        ]
    if request.instance_uids:
        return [state for state in states if not state.found.keys() >= set(request.instance_uids)]
    return [state for state in states if not state.found and state.series.expected != 0]


def took_only_some(part: Part, end: MoveState, came: int) -> bool:
    """Whether the PACS ended well but took only a part of a UID list, as some do."""
    request, states = part
    if not is_clean(end):
        return False
    left = left_behind(part)
    if request.instance_uids or len(request.study_uids) > 1:
        return bool(left)
    return len(request.series_uids) > 1 and came > 0 and 0 < len(left) < len(states)


def conclude(state: SeriesState, end: MoveState, reason: str, *, of: Sequence[SeriesState]) -> None:
    """Enters the end of a request into one of the series that it was `of`."""
    alone = len(of) == 1
    state.reason = reason
    state.failed = not is_clean(end)
    state.refused = alone and refused_for_good(end)
    # More sub-operations than objects: they are late, came under other UIDs, or the announced number is too low.
    more = (end.completed or 0) > sum(each.files for each in of)
    series = state.series
    if state.failed or series.expected is None:
        if not state.failed and alone and end.completed == state.files:
            # Not announced: the IMAGE level will be asked; should it be silent, the counters stand for it.
            state.reason = _COUNTERS_AGREE
    elif is_complete(state) and series.rows and not state.spoiled and not more:
        state.status, state.reason = Status.COMPLETE, ""


def judge(state: SeriesState, *, moved: bool) -> None:
    """Settles what counts and statuses left open, once the IMAGE level was asked; `moved`: not to us."""
    series = state.series
    if state.spoiled or (not series.rows and not moved):
        return
    if series.expected is None:
        if state.reason == _COUNTERS_AGREE and state.files:
            state.status, state.reason = Status.COMPLETE, "not announced; the counters agree"
    elif state.failed and len(series.instances or ()) < (series.announced or 0):
        # The operation failed, and the PACS lists fewer than it announced: nothing says that all is here.
        return
    elif is_complete(state):
        differs = series.instances is not None and series.announced not in (None, len(series.instances))
        state.status = Status.COMPLETE
        notes = [f"announced differs: {series.announced}"] if differs else []
        if state.relabelled:
            notes.append(
                f"{state.relabelled} objects name another study or series than the PACS lists them under"
            )
        state.reason = "; ".join(notes)


def close(state: SeriesState, stop_reason: str) -> None:
    """The final verdict on a series that is still open."""
    if state.spoiled:
        state.status, state.reason = Status.INCOMPLETE, state.spoiled
    if state.status is not Status.PENDING:
        return
    expected = state.series.expected
    counts = f"{state.files} of {'?' if expected is None else expected} instances"
    why = state.reason if state.reason != _COUNTERS_AGREE else ""
    state.status = Status.INCOMPLETE if state.files else Status.FAILED
    state.reason = "; ".join(each for each in (counts, why, stop_reason) if each)


def untold_columns(series: Series) -> str:
    """The columns of which the PACS told too little, as one text."""
    return ", ".join(sorted({column for columns in series.undecided.values() for column in columns}))
