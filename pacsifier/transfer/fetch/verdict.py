"""Whether a series is complete: by final statuses, counters, announced numbers, the IMAGE-level list. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, MoveState
from pacsifier.figures import counted
from pacsifier.transfer.model import Lasting, Part, Plan, SeriesKey, SeriesState, Status
from pacsifier.transfer.retry import is_clean, may_have_failed, refused_for_good


def is_complete(state: SeriesState) -> bool:
    """Whether the instances in place are those expected: by the IMAGE-level list where there is one."""
    series = state.series
    if series.instances is not None and state.found:
        return {instance.sop_instance_uid for instance in series.instances} <= state.found.keys()
    return series.expected is not None and state.files == series.expected > 0


def is_empty(state: SeriesState) -> bool:
    """Whether a series has no instances: none announced, none listed, none sent though all went well."""
    series = state.series
    return series.announced == 0 and series.instances == () and not state.files and not state.failed


def is_short(state: SeriesState) -> bool:
    """Whether fewer instances are in place than expected."""
    expected = state.series.expected
    return expected is not None and len(state.found) < expected


def left_behind(part: Part) -> list[SeriesState]:
    """The series of a request of which nothing came, or not all the instances that it names; of studies, whole ones."""
    request, states = part
    # Of what its images showed not to be wanted, nothing is kept: that says nothing of what came.
    states = tuple(state for state in states if state.status not in (Status.NOT_WANTED, Status.EXCLUDED))
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


def unproven(
    plan: Plan, ends: Mapping[str, MoveState], unasked: Mapping[SeriesKey, int]
) -> dict[str, list[SeriesState]]:
    """The series of each study of which fewer are listed than announced, where a request for it could still decide.

    `ends`: how requests for whole studies ended; `unasked`: objects of each series that came though nobody asked.
    """
    return {
        uid: states
        for uid, states in _settled_studies(plan, unasked).items()
        if plan.short[uid].whole and not brought_as_listed(ends.get(uid), states)
    }


def proven(plan: Plan, ends: Mapping[str, MoveState], unasked: Mapping[SeriesKey, int]) -> set[str]:
    """The studies of which fewer series are listed than announced, but a request for all of it brought no more."""
    settled = _settled_studies(plan, unasked)
    return {uid for uid, states in settled.items() if brought_as_listed(ends.get(uid), states)}


def brought_as_listed(end: MoveState | None, states: Sequence[SeriesState]) -> bool:
    """Whether a request for a whole study ended well, with as many objects counted as its series have.

    Counters that were not told, or left at 0, say nothing: then what came must do.
    """
    if end is None or not is_clean(end):
        return False
    return end.begun in (0, sum(len(state.found) for state in states))


def _settled_studies(plan: Plan, unasked: Mapping[SeriesKey, int]) -> dict[str, list[SeriesState]]:
    """Of each such study the series, where all that are listed are in place and no object came that is not listed."""
    studies: dict[str, list[SeriesState]] = {uid: [] for uid in plan.short}
    for state in plan.states:
        studies.get(state.series.study_uid, []).append(state)
    beyond = {study_uid for study_uid, _ in unasked.keys() - plan.every.keys()} if unasked else set()
    return {
        uid: states
        for uid, states in studies.items()
        if uid not in beyond
        and len(states) == plan.series_of_study.get(uid)
        and all(state.status.completed and not state.spoiled for state in states)
    }


def moved_by(state: SeriesState, end: MoveState) -> int:
    """The instances of a series that its own request moved elsewhere; where Success does not tell, all there are."""
    if end.done is None and is_clean(end):
        return state.series.expected or end.begun
    return end.begun


def lasting(state: SeriesState, end: MoveState, of: Sequence[SeriesState]) -> Lasting | None:
    """Why a series would fail again, by the end of a request that is not repeated any more; None: it may not.

    Of several series that one request was `of` only what the end says of each: that none of their objects was sent.
    Not for good: a lost association, silence, want of resources (also 0xA702 that counts no failure), a cancellation,
    and objects that were counted as sent and did not come.
    """
    if len(of) > 1:
        return Lasting.NOT_SENT if _sent_nothing_of_any(end, of) else None
    if refused_for_good(end):
        return Lasting.REFUSED
    if may_have_failed(end, last=False) or end.status == MOVE_DESTINATION_UNKNOWN:
        return Lasting.NOT_SENT
    fewer = end.done is not None and end.done < (state.series.expected or 0)
    if is_clean(end) and fewer and state.files >= (end.done or 0):
        return Lasting.MISSING
    return None


def _sent_nothing_of_any(end: MoveState, of: Sequence[SeriesState]) -> bool:
    """Whether as many sub-operations failed as its series have objects, and none was performed."""
    expected = [each.series.expected for each in of]
    if None in expected or end.begun or end.at_least or not end.failed:
        return False
    return end.failed >= sum(number or 0 for number in expected)


def conclude(
    state: SeriesState, end: MoveState, reason: str, *, of: Sequence[SeriesState], unfit: bool = False
) -> None:
    """Enters the end of a request into one of the series that it was `of`; completes it where all agrees.

    `unfit`: our receiver did not take what the PACS proposed, so that it did not refuse anything for good.
    """
    alone = len(of) == 1
    series, failed = state.series, not is_clean(end)
    # Not announced: the IMAGE level will be asked; should it be silent, the counters stand for it.
    unknown = not failed and series.expected is None
    counted = unknown and alone and end.done == state.files
    vouched = unknown and alone and end.done is None
    refused = alone and not unfit and refused_for_good(end)
    for_good = lasting(state, end, of)
    state.enter(reason, failed=failed, refused=refused, counted=counted, vouched=vouched, lasting=for_good)
    # More sub-operations than objects: they are late, came under other UIDs, or the announced number is too low.
    more = end.begun > sum(each.files for each in of)
    if failed or unknown:
        return
    if is_complete(state) and series.rows and not state.spoiled and not more:
        state.complete()


def judge(state: SeriesState, *, moved: bool) -> None:
    """Settles what counts and statuses left open, once the IMAGE level was asked; `moved`: not to us."""
    series = state.series
    if state.spoiled or (not series.rows and not moved):
        return
    if state.vouched and moved:
        state.trust()
    if series.expected is None:
        if state.counted and state.files:
            state.complete("not announced; the counters agree")
        elif state.vouched and moved:
            state.complete("not announced, not counted; the PACS says Success")
    elif state.failed and len(series.instances or ()) < (series.announced or 0):
        # The operation failed, and the PACS lists fewer than it announced: nothing says that all is here.
        return
    elif is_empty(state):
        state.complete("it has no instances")
    elif is_complete(state):
        differs = series.instances is not None and series.announced not in (None, len(series.instances))
        notes = [f"announced differs: {series.announced}"] if differs else []
        if state.relabelled:
            named = counted(state.relabelled, "object names", "objects name")
            notes.append(f"{named} another study or series than the PACS lists them under")
        state.complete("; ".join(notes))
