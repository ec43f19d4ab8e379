"""What follows from the end of a request: what is settled, what is asked again and how, what was learned. Pure.

temporarily refused, not all is there   each study again, after a growing wait; after the last repeat: settled
not understood, or taken in part        the same work in simpler requests, and none of that kind any more
failed for good in an earlier run       settled as it is: it counts for nothing
a list failed, and it may be the list   its first UID alone, at once; what that brings says whether lists are understood
refused in one syntax (C-GET)           the series that are open again in another syntax, before all else
Success without what it was to bring    as if not understood, once nothing comes any more: it may be on its way
proposed what our receiver refused      settled, to be asked once more when it takes more; no failure of the PACS
cut off                                 the request in flight again after a wait; those behind it as if never asked
silent, or the run is to stop           settled as it is
anything else                           settled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pacsifier.dcmtk.transcript import MOVE_DESTINATION_UNKNOWN, MoveState
from pacsifier.transfer.capabilities import Capabilities
from pacsifier.transfer.fetch.lists import NOTHING_SEEN, Lists, is_dubious, is_passed_over, kind_of
from pacsifier.transfer.fetch.pool import CutOff, Ended, NotAdmitted
from pacsifier.transfer.fetch.verdict import is_complete, left_behind, took_only_some
from pacsifier.transfer.fetch.work import Task, beginning, in_series, one_chunk, simpler, study_by_study
from pacsifier.transfer.model import Chunk, Part, SeriesState
from pacsifier.transfer.retry import is_clean, is_temporary, refused_for_good

# Until something has come, so many instances show whether the PACS reaches the destination.
_FIRST_INSTANCES = 100
# movescu sends the next request at once: what fails in a row is on its way before the first failure is read.
_FIRST_REQUESTS = 2


@dataclass(frozen=True)
class Said:
    """What an end says: `settled` series get their verdict from `end`, `postponed` ones are asked `again`.

    `counts`: the end tells of the PACS's health; `unfit`: our receiver did not take what the PACS proposed; `unable`:
    what the PACS did not take; `warning`: what the log is told.
    """

    end: MoveState
    settled: tuple[SeriesState, ...] = ()
    postponed: tuple[SeriesState, ...] = ()
    again: tuple[Task, ...] = ()
    counts: bool = True
    unfit: bool = False
    unable: Unable | None = None
    warning: str = ""


@dataclass(frozen=True)
class Unable:
    """A field of `Capabilities` that does not hold, what the PACS did not take, and what is asked for instead."""

    capability: str
    refused: str
    instead: str

    def enter(self, known: Capabilities) -> Capabilities:
        """The capabilities without it."""
        return replace(known, **{self.capability: False})


IMAGE_MOVES = Unable("image_moves", "a list of UIDs", "whole series")
STUDY_LISTS = Unable("study_lists", "a list of UIDs", "one study at a time")
UID_LISTS = Unable("uid_lists", "a list of UIDs", "one series at a time")
WHOLE_STUDIES = Unable("whole_studies", "a whole study", "its series")
UNABLE = {each.capability: each for each in (IMAGE_MOVES, STUDY_LISTS, UID_LISTS, WHOLE_STUDIES)}


def decide(
    ended: Ended,
    came: int,
    others: Sequence[Part],
    wait_s: float | None,
    *,
    verb: str,
    sees: bool,
    lists: Lists = NOTHING_SEEN,
    unfit: bool = False,
    settle_s: float = 0.0,
) -> Said:
    """What follows from a final status, once what it brought (`came` instances) was placed.

    `others`: requests in another syntax for what could not be sent in this one; `wait_s`: before a repeat, None: no
    more repeats; `sees`: what comes can be looked at here; `lists`: what was seen of lists before; `unfit`: our
    receiver did not take what the PACS proposed; `settle_s`: so long after Success nothing more is on its way.
    """
    end, (_, states) = ended.end, ended.part
    if others:
        return _in_other_syntaxes(ended, others)
    if unfit:
        return Said(end, settled=states, counts=is_clean(end) or end.begun > 0, unfit=True)
    if ended.task.once:
        return _of_what_failed_before(ended, in_another_form=_in_another_form(ended, came, sees=sees))
    return _of_an_answer(ended, came, wait_s, verb=verb, sees=sees, lists=lists, settle_s=settle_s)


def _of_an_answer(
    ended: Ended,
    came: int,
    wait_s: float | None,
    *,
    verb: str,
    sees: bool,
    lists: Lists,
    settle_s: float,
) -> Said:
    """What follows from a final status that speaks for itself."""
    end, (request, states) = ended.end, ended.part
    dubious = sees and is_dubious(request, end, came, lists)
    if dubious and (alone := _first_alone(ended.task, ended.part, end, wait_s, lists)):
        return alone
    if is_temporary(end) and not all(is_complete(state) for state in states):
        return _after_a_while(ended, wait_s, verb, dubious=dubious)
    if _in_another_form(ended, came, sees=sees):
        return _in_simpler_requests(ended, settle_s if _on_its_way(ended, came) else 0.0)
    return Said(end, settled=states)


def _after_a_while(ended: Ended, wait_s: float | None, verb: str, *, dubious: bool) -> Said:
    _, states = ended.part
    if wait_s is None:
        return Said(ended.end, settled=states)
    return Said(
        ended.end,
        postponed=states,
        again=(Task(one_chunk(open_studies(ended.part)), ended.task.repeats + 1, wait_s),),
        counts=not dubious,
        warning=f"{verb} was temporarily refused: asking again in {wait_s:.1f} s",
    )


def _of_what_failed_before(ended: Ended, *, in_another_form: bool) -> Said:
    """No failure of the PACS, which others of the run do not meet, unless it has forgotten the destination."""
    said = _in_simpler_requests(ended, 0.0) if in_another_form else Said(ended.end, settled=ended.part[1])
    return replace(said, counts=ended.end.status == MOVE_DESTINATION_UNKNOWN)


def _in_another_form(ended: Ended, came: int, *, sees: bool) -> bool:
    """Whether the PACS did not take the request in this form."""
    passed_over = took_only_some(ended.part, ended.end, came) or is_passed_over(
        ended.part[0], ended.end, came
    )
    return sees and (refused_for_good(ended.end) or passed_over)


def _on_its_way(ended: Ended, came: int) -> bool:
    """Whether some of what Success tells of may still come."""
    return is_clean(ended.end) and not (came and came == ended.end.done)


def _in_other_syntaxes(ended: Ended, others: Sequence[Part]) -> Said:
    still_open = tuple(state for _, states in others for state in states)
    keys = {state.series.key for state in still_open}
    _, states = ended.part
    done = tuple(state for state in states if state.series.key not in keys)
    return Said(
        ended.end,
        settled=done,
        postponed=still_open,
        again=tuple(Task(one_chunk([each]), ended.task.repeats, first=True) for each in others),
        counts=bool(done),
    )


def _in_simpler_requests(ended: Ended, settle_s: float) -> Said:
    """The work in simpler requests; with `settle_s` only where nothing has come within it."""
    _, states = ended.part
    left = {state.series.key for state in left_behind(ended.part)}
    parts = [each for each in simpler(ended.part) if any(state.series.key in left for state in each[1])]
    if not parts:
        return Said(ended.end, settled=states)
    missing, once = unable(ended.part), ended.task.once
    # A list that is not understood says nothing of the way to us.
    counts = is_clean(ended.end) or not kind_of(ended.part[0])
    if settle_s:
        again = (
            Task(one_chunk([each]), wait_s=settle_s, doubt=missing.capability, once=once) for each in parts
        )
        return Said(ended.end, postponed=states, again=tuple(again), counts=counts)
    again = (Task(one_chunk([each]), once=once) for each in parts)
    return Said(ended.end, postponed=states, again=tuple(again), counts=counts, unable=missing)


def _first_alone(task: Task, part: Part, end: MoveState, wait_s: float | None, lists: Lists) -> Said | None:
    """The first UID of a list before all else, the others each by itself; None where the list is to be repeated."""
    request, states = part
    refused = end.status == MOVE_DESTINATION_UNKNOWN
    left = {state.series.key for state in left_behind(part)}
    parts = [each for each in simpler(part) if any(state.series.key in left for state in each[1])]
    if not parts or (not refused and (wait_s is None or kind_of(request) in lists.doubted)):
        return None
    one, *others = parts
    # Of the others it is not known whether they were ever begun.
    later = Task(one_chunk(others), task.repeats, 0.0 if refused else wait_s or 0.0)
    again = (Task(one_chunk([one]), task.repeats + 1, first=True), *([later] if others else []))
    return Said(end, postponed=states, again=again, counts=False)


def cut_off(
    cut: CutOff,
    wait_s: float | None,
    silence: str,
    *,
    stopped: bool,
    lists: Lists = NOTHING_SEEN,
    unfit: bool = False,
) -> Said:
    """What follows where an association ended before its last requests were answered; only the first was begun.

    `wait_s`: before a repeat, None: no more repeats; `silence`: how a silence that was too long is told; `lists`: what
    was seen of lists before; `unfit` as for `decide`.
    """
    first, *behind = cut.parts
    end, (request, states) = cut.ends[0], first
    wait_s = None if cut.silent or unfit else wait_s
    # Whatever the one in flight has used up, these were never begun.
    begun_later = Task(one_chunk(behind), wait_s=wait_s or 0.0, first=True, once=cut.task.once)
    rest = (begun_later,) if behind else ()
    if wait_s is None or stopped:
        end = replace(end, words=silence) if cut.silent else end
        return Said(end, settled=states, again=rest, counts=not unfit, unfit=unfit)
    dubious = not cut.task.once and is_dubious(request, end, sum(len(state.found) for state in states), lists)
    if dubious and (alone := _first_alone(cut.task, first, end, wait_s, lists)):
        return replace(alone, again=(*rest, *alone.again))
    task = Task(one_chunk(open_studies(first)), cut.task.repeats + 1, wait_s, once=cut.task.once)
    warning = f"the association was cut off: going on in {wait_s:.1f} s"
    return Said(end, postponed=states, again=(task, *rest), counts=not dubious, warning=warning)


class Refusal(Enum):
    """What it means that there was no association for a task."""

    TOO_MANY = "the PACS admits no more than those that run"
    FOR_GOOD = "there never was one, and nothing says that time will help"
    FOR_NOW = "it may be admitted later"


def refusal(refused: NotAdmitted, *, associated: bool) -> Refusal:
    """What it means that a task was not admitted; `associated`: another one ever was."""
    if refused.beside and refused.rejected:
        return Refusal.TOO_MANY
    if not associated and not refused.error.temporary:
        return Refusal.FOR_GOOD
    return Refusal.FOR_NOW


def unable(part: Part) -> Unable:
    """What the PACS cannot do that did not take this request."""
    request, _ = part
    if request.instance_uids:
        return IMAGE_MOVES
    if request.series_uids:
        return UID_LISTS
    # A request for one study holds no list: of lists it says nothing.
    return STUDY_LISTS if len(request.study_uids) > 1 else WHOLE_STUDIES


def understood(chunk: Chunk, known: Capabilities) -> Chunk:
    """The same work without the lists and whole studies that the PACS is known not to take."""
    parts = chunk.parts
    if not (known.study_lists and known.uid_lists and known.whole_studies):
        parts = tuple(single for part in parts for single in study_by_study(part))
    if not known.whole_studies:
        parts = tuple(listed for part in parts for listed in in_series(part))
    if not known.uid_lists:
        parts = tuple(single for part in parts for single in _one_by_one(part))
    return chunk if parts == chunk.parts else one_chunk(parts)


def first_of(task: Task, known: Capabilities, *, reached: bool, single: bool) -> tuple[Task, Task | None]:
    """What of a task is asked for now, in requests that the PACS is known to take, and what waits.

    Until something has come (`reached`), a little shows whether the PACS reaches the destination; `single`: each
    association takes one request.
    """
    chunk = understood(task.chunk, known)
    requests = None if reached else _FIRST_REQUESTS
    first, others = beginning(chunk, _most_at_once(chunk, reached=reached, single=single), requests)
    rest = replace(task, chunk=one_chunk(others), wait_s=0.0, first=True) if others else None
    return replace(task, chunk=first), rest


def _most_at_once(chunk: Chunk, *, reached: bool, single: bool) -> int:
    """The instances to ask for at once."""
    if single:
        return 1
    if reached:
        return chunk.size
    # Whether the PACS understands lists of UIDs is learned from one.
    listed = any(
        len(request.series_uids) > 1 or len(request.study_uids) > 1 or request.instance_uids
        for request in chunk.requests
    )
    return 1 if listed else _FIRST_INSTANCES


def open_studies(part: Part) -> list[Part]:
    """A request for several studies as one for each that is not complete: it may be one of them that fails."""
    studies = study_by_study(part)
    return [each for each in studies if not all(is_complete(state) for state in each[1])] or [part]


def _one_by_one(part: Part) -> list[Part]:
    """A request with a list of series as one request for each series."""
    request, _ = part
    return simpler(part) if len(request.series_uids) > 1 else [part]
