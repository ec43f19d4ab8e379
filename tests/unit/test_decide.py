"""What follows when a request ends: what is asked again, in which words and when, and what a run learns of its PACS.

The tables are plain data; only the functions under "how the code is asked" know who decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fetching import (
    START_S,
    WAITS_S,
    Association,
    Disk,
    Inbox,
    Waits,
    a_pool,
    a_run,
    means_of,
    stopped_clock,
)
from series import (
    BUSY,
    NOT_UNDERSTOOD,
    SUCCESS,
    UNANSWERED,
    UNKNOWN_DESTINATION,
    WARNING,
    of_images,
    of_series,
    of_studies,
    state,
)

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import AssociationError
from pacsifier.transfer.capabilities import USUAL, Capabilities
from pacsifier.transfer.fetch import decide as module
from pacsifier.transfer.fetch import rounds
from pacsifier.transfer.fetch.health import Health
from pacsifier.transfer.fetch.lists import Lists, doubted
from pacsifier.transfer.fetch.lists import heard as after_request
from pacsifier.transfer.fetch.pool import CutOff, Ended, NotAdmitted, Pool
from pacsifier.transfer.fetch.syntaxes import Syntaxes
from pacsifier.transfer.fetch.ways import ByGet, Elsewhere, ToReceiver, Way
from pacsifier.transfer.fetch.work import Task, one_chunk
from pacsifier.transfer.model import Chunk, Part, Plan, SeriesState, Status
from pacsifier.transfer.options import Options, Rate

TO_US, BY_GET, ELSEWHERE = "C-MOVE to us", "C-GET", "C-MOVE to another place"
SILENCE = "no response for too long"
TOOK_S = 7.0


@dataclass(frozen=True)
class Has:
    """A series: how many instances it has, are there, and come with the request or before its end."""

    uid: str
    expected: int | None = 2
    found: int = 0
    comes: int = 0


@dataclass(frozen=True)
class Ask:
    """Requests that go over one association, after a wait, as the repeat of that number."""

    requests: tuple[MoveRequest, ...]
    after_s: float = 0
    repeats: int = 0


def ask(*requests: MoveRequest, after_s: float = 0, repeats: int = 0) -> Ask:
    return Ask(requests, after_s, repeats)


@dataclass(frozen=True)
class Said:
    """What is asked before and after the work that waits, what was learned, and for which series this was the end.

    `counts`: whether it may count as a failure of the PACS; `words`: with which the series ended.
    """

    next: tuple[Ask, ...] = ()
    later: tuple[Ask, ...] = ()
    learned: str = ""
    settled: tuple[str, ...] = ()
    counts: bool = True
    words: str = ""
    stop: str = ""


@dataclass(frozen=True)
class Entry:
    """What the end of a request leaves in a series."""

    status: Status = Status.PENDING
    tried: bool = True
    moved: int = 0
    seconds: float = TOOK_S
    failed: bool = False


# --- how the code is asked ---------------------------------------------------------------------------------------

WAYS: Mapping[str, type[ToReceiver] | type[ByGet] | type[Elsewhere]] = {
    TO_US: ToReceiver,
    BY_GET: ByGet,
    ELSEWHERE: Elsewhere,
}
OTHER_WORK = Task(one_chunk([(of_series("9.9.9"), (state("9.9.9"),))]))
LATER_S = 1000.0


def _part(request: MoveRequest, *series: Has) -> Part:
    return request, tuple(state(each.uid, each.expected, each.found) for each in series)


def _place(part: Part, series: Sequence[Has]) -> int:
    """What comes with a request, or before its end, is in place before anything is said of it."""
    _, states = part
    return Inbox({each.uid: each.comes for each in series}).take(states).instances


def _round(way: str, **options: Any) -> rounds.Round:
    run = a_run(Options(save=way != ELSEWHERE, move=way == ELSEWHERE, **options))
    made: Way = WAYS[way](means_of(run))
    return rounds.Round(made, run, Plan((), {}, frozenset(), {}), lambda: None, lambda: None)


def _unlearned(can: Capabilities) -> str:
    """What a PACS is known not to take."""
    names = ("uid_lists", "study_lists", "image_moves", "whole_studies")
    return " ".join(name for name in names if not getattr(can, name))


def _around_other_work(tasks: Sequence[Task]) -> tuple[tuple[Ask, ...], tuple[Ask, ...]]:
    """What is asked before and after the work that waits."""
    with stopped_clock() as clock:
        pool = a_pool()
        pool.add([OTHER_WORK])
        pool.add(tasks)
        return _asked(pool, clock)


def _asked(pool: Pool, clock: Any) -> tuple[tuple[Ask, ...], tuple[Ask, ...]]:
    clock.now_s += LATER_S
    waiting: list[Task] = []
    while (task := pool.due()) is not None:
        waiting.append(task)
    place = waiting.index(OTHER_WORK)
    asks = [Ask(each.chunk.requests, each.wait_s, each.repeats) for each in waiting]
    return tuple(asks[:place]), tuple(asks[place + 1 :])


def _said(said: module.Said, asked_of: Sequence[SeriesState]) -> Said:
    told = [each.series.series_uid for each in (*said.settled, *said.postponed)]
    assert sorted(told) == [each.series.series_uid for each in asked_of], "each series is told of once"
    before, behind = _around_other_work(said.again)
    return Said(
        before,
        behind,
        _unlearned(said.unable.enter(USUAL)) if said.unable else "",
        tuple(each.series.series_uid for each in said.settled),
        said.counts,
        said.end.words if said.settled else "",
    )


def after_end(way: str, part: tuple[Any, ...], end: MoveState, repeats: int, *, unfit: bool = False) -> Said:
    """What follows the end of the only request of an association."""
    request, *series = part
    ended = Ended(Task(one_chunk([_part(request, *series)]), repeats), end, 0.0)
    came = _place(ended.part, series) if WAYS[way].sees else 0
    others = Syntaxes().others(ended.part, end, came) if way == BY_GET else []
    wait_s = Waits().wait_s(repeats)
    sees = WAYS[way].sees
    said = module.decide(ended, came, others, wait_s, verb="C-MOVE", sees=sees, unfit=unfit)
    return _said(said, ended.part[1])


def pause_after_end(way: str, part: tuple[Any, ...], end: MoveState, rate: Rate) -> float:
    """How long after its begin a request keeps the next one waiting."""
    request, *series = part
    this = _round(way, rate=rate)
    comes = {each.uid: each.comes for each in series} if WAYS[way].sees else {}
    with stopped_clock() as clock:
        since = clock.now_s - TOOK_S
        ended = Ended(Task(one_chunk([_part(request, *series)])), end, since)
        rounds._handle(ended, a_pool(), Inbox(comes), this)
        clock.now_s = since
        while not this.run.traffic.may_start(0):
            clock.now_s += 1
        return clock.now_s - since


def is_given_up(*, heard_ago_s: float, limit_s: float, ended: bool) -> bool:
    """Whether an association is ended for its silence."""
    association = Association(lasts=True, ended=ended, heard=START_S - heard_ago_s)
    with stopped_clock():
        pool = a_pool(lambda chunk: association, silence_timeout_s=limit_s)
        pool.start(OTHER_WORK)
        events = pool.step(heard=False)
    given_up = association.process.endings > 0
    assert [event.silent for event in events if isinstance(event, CutOff)] == [given_up] * len(events)
    return given_up


def after_cut(
    way: str,
    parts: Sequence[tuple[Any, ...]],
    repeats: int,
    *,
    silent: bool,
    stopped: bool,
    unfit: bool = False,
) -> Said:
    """What follows where an association ends before these requests were answered."""
    made = [_part(*part) for part in parts]
    for part, (_, *series) in zip(made, parts, strict=True):
        _place(part, series)
    ends = tuple(replace(UNANSWERED, request=number) for number in range(len(parts)))
    cut = CutOff(Task(one_chunk(made), repeats), ends, 0.0, silent)
    said = module.cut_off(cut, Waits().wait_s(repeats), SILENCE, stopped=stopped, unfit=unfit)
    return _said(said, made[0][1])


def after_no_association(
    *, beside: int, rejected: bool, before: bool, temporary: bool, losses: int, full: bool
) -> Said | None:
    """What follows where an association was not admitted; None: the run fails."""
    this = _round(TO_US, associations=4)
    run, traffic = this.run, this.run.traffic
    run.room = Disk("the disk is full" if full else "")
    this.way.health = Health(associated=before)
    error = AssociationError("no association", temporary=temporary)
    task = Task(one_chunk([_part(of_series("1.1.1"), Has("1.1.1"))]))
    with stopped_clock() as clock:
        for _ in range(losses):
            traffic.lost()
            clock.now_s += 100
        pool = a_pool()
        pool.add([OTHER_WORK])
        try:
            rounds._handle(NotAdmitted(task, error, rejected, beside), pool, Inbox(), this)
        except AssociationError:
            return None
        # Where the PACS admits no more, the others go on without a wait.
        waits = "" if traffic.may_start(0) else "waits"
        learned = f"at most {traffic.most}" if traffic.most < 4 else ""
        asked = _asked(pool, clock)
    stop = run.stop.reason if run.stop else ""
    if full:
        assert stop == "the disk is full"
        stop = ""
    return Said(*asked, " ".join(filter(None, (learned, waits))), counts=False, stop=stop)


def cut(
    way: str, requests: Sequence[tuple[Any, ...]], can: Capabilities, *, reached: bool
) -> tuple[tuple[MoveRequest, ...], tuple[MoveRequest, ...]]:
    """The requests that the next association gets, and those that are left for another."""
    task = Task(one_chunk([_part(*part) for part in requests]), 2, wait_s=9)
    single = WAYS[way].cut.one_request_each
    first, rest = module.first_of(task, can, reached=reached, single=single)
    assert first == replace(task, chunk=first.chunk)
    if rest is None:
        return first.chunk.requests, ()
    assert rest == Task(rest.chunk, 2, first=True), "the others are due at once, before all that waits"
    return first.chunk.requests, rest.chunk.requests


def starts(waits_s: Sequence[float], *, running: int, stopped: bool) -> str | None:
    """The series that is asked for next, of 1.1.1, 1.2.1 and so on, each after such a wait."""
    this = _round(TO_US)
    run = this.run
    run.lost(AssociationError("stopped") if stopped else None)
    started: list[Chunk] = []

    def start(chunk: Chunk) -> Association:
        started.append(chunk)
        return Association(lasts=True)

    with stopped_clock():
        pool = a_pool(start, traffic=run.traffic)
        for _ in range(running):
            pool.start(OTHER_WORK)
        started.clear()
        uids = [f"1.{number}.1" for number, _ in enumerate(waits_s, 1)]
        pool.add(
            Task(one_chunk([_part(of_series(uid), Has(uid))]), wait_s=wait_s)
            for uid, wait_s in zip(uids, waits_s, strict=True)
        )
        rounds._start_what_is_due(pool, Inbox(), this)
    return started[0].requests[0].series_uids[0] if started else None


def entered(way: str, end: MoveState, *series: Has, earlier: Mapping[str, Any], again: bool) -> list[Entry]:
    """What the end of one request, which took 7 s, leaves in each of its series, that had `earlier` values."""
    request, states = _part(SERIES, *series)
    states = tuple(replace(each, **earlier) for each in states)
    said = module.Said(end, postponed=states) if again else module.Said(end, settled=states)
    with stopped_clock() as clock:
        ended = Ended(Task(one_chunk([(request, states)])), end, clock.now_s - TOOK_S)
        rounds._enter(said, ended, _round(way))
    return [Entry(each.status, each.tried, each.moved, each.seconds, each.failed) for each in states]


def may_be_placed_later(way: str, end: MoveState, *, first: bool, last: bool, rate: Rate | None) -> bool:
    """Whether the next association may be opened before what a request brought is placed."""
    part = _part(of_series("1.1.1"), Has("1.1.1"))
    associations = [
        Association(tells=[[SUCCESS]]),
        Association(number=1 if last else 2, tells=[[end]], lasts=True),
    ]
    with stopped_clock():
        hold_last = not _round(way, rate=rate).cut.one_request_each
        pool = a_pool(lambda chunk: associations.pop(0), hold_last=hold_last)
        if first:
            del associations[0]
        else:
            pool.start(OTHER_WORK)
            assert len(pool.step(heard=False)) == 1
        pool.start(Task(one_chunk([part] * (1 if last else 2))))
        return not pool.step(heard=False)


# --- a request ended ---------------------------------------------------------------------------------------------

SERIES, LIST, STUDY = of_series("1.1.1"), of_series("1.1.1", "1.1.2"), of_studies("1.1")
THREE_STUDIES = of_studies("1.1", "1.2", "1.3")
FIRST, SECOND, THIRD = Has("1.1.1"), Has("1.1.2"), Has("1.1.3")
ALL_OF = {uid: Has(uid, comes=2) for uid in ("1.1.1", "1.1.2", "1.2.1", "1.3.1")}
FAILED_2 = replace(WARNING, completed=0, failed=2)


LISTS = (
    ("series", LIST, (FIRST, SECOND), (SERIES, of_series("1.1.2"))),
    ("studies", of_studies("1.1", "1.2"), (FIRST, Has("1.2.1")), (STUDY, of_studies("1.2"))),
)
"""What a list holds, the list, its series, and each of its UIDs alone."""


def settled(*uids: str, words: str = "Success") -> Said:
    return Said(settled=uids, words=words)


@pytest.mark.parametrize(
    ("part", "end", "said"),
    [
        pytest.param((SERIES, ALL_OF["1.1.1"]), SUCCESS, settled("1.1.1"), id="all came"),
        pytest.param(
            (SERIES, FIRST), SUCCESS, settled("1.1.1"), id="nothing came: the verdict says so, not the end"
        ),
        pytest.param(
            (SERIES, FIRST), WARNING, settled("1.1.1", words="Warning"), id="some failed: the next round asks"
        ),
        pytest.param(
            (SERIES, FIRST),
            UNKNOWN_DESTINATION,
            settled("1.1.1", words=UNKNOWN_DESTINATION.words),
            id="the PACS does not know the destination",
        ),
        pytest.param(
            (SERIES, FIRST),
            NOT_UNDERSTOOD,
            settled("1.1.1", words=NOT_UNDERSTOOD.words),
            id="a single series is refused for good: nothing simpler is left",
        ),
        # Busy for now.
        pytest.param(
            (SERIES, FIRST),
            BUSY,
            Said(later=(ask(SERIES, after_s=2, repeats=1),)),
            id="busy: later, behind the others",
        ),
        pytest.param(
            (SERIES, FIRST),
            replace(BUSY, status=0xA701),
            Said(later=(ask(SERIES, after_s=2, repeats=1),)),
            id="busy in another word",
        ),
        pytest.param(
            (SERIES, ALL_OF["1.1.1"]),
            BUSY,
            settled("1.1.1", words=BUSY.words),
            id="busy, but all is here all the same",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            BUSY,
            Said(later=(ask(LIST, after_s=2, repeats=1),)),
            id="busy when one series of two was here",
        ),
        pytest.param(
            (THREE_STUDIES, ALL_OF["1.1.1"], Has("1.2.1"), Has("1.3.1", comes=1)),
            BUSY,
            Said(later=(ask(of_studies("1.2"), of_studies("1.3"), after_s=2, repeats=1),)),
            id="busy with several studies: one by one, without the one that is here",
        ),
        # Lists that a PACS does not take.
        pytest.param(
            (LIST, FIRST, SECOND),
            NOT_UNDERSTOOD,
            Said(later=(ask(SERIES), ask(of_series("1.1.2"))), learned="uid_lists", counts=False),
            id="a list of series is not understood",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            NOT_UNDERSTOOD,
            Said(later=(ask(of_series("1.1.2")),), learned="uid_lists", counts=False),
            id="a list of series is not understood, and one was here",
        ),
        pytest.param(
            (LIST, Has("1.1.1", found=2), Has("1.1.2", found=2)),
            NOT_UNDERSTOOD,
            settled("1.1.1", "1.1.2", words=NOT_UNDERSTOOD.words),
            id="a list is not understood of which all was here",
        ),
        pytest.param(
            (LIST, FIRST, SECOND),
            replace(NOT_UNDERSTOOD, completed=1),
            settled("1.1.1", "1.1.2", words=NOT_UNDERSTOOD.words),
            id="a list broke down on its way: it was understood",
        ),
        pytest.param(
            (STUDY, FIRST, SECOND),
            NOT_UNDERSTOOD,
            Said(later=(ask(SERIES), ask(of_series("1.1.2"))), learned="whole_studies"),
            id="a whole study is not understood: that says nothing of lists",
        ),
        pytest.param(
            (STUDY, FIRST),
            NOT_UNDERSTOOD,
            Said(later=(ask(SERIES),), learned="whole_studies"),
            id="a whole study of one series is not understood",
        ),
        # The end is believed of one UID only.
        *(
            pytest.param(
                (request, *series),
                UNKNOWN_DESTINATION,
                Said(next=(ask(one, repeats=1),), later=(ask(*others),), counts=False),
                id=f"the PACS does not know the destination, it says of a list of {what}: one alone says it",
            )
            for what, request, series, (one, *others) in LISTS
        ),
        *(
            pytest.param(
                (request, *series),
                replace(BUSY, status=status),
                Said(next=(ask(one, repeats=1),), later=(ask(*others, after_s=2),), counts=False),
                id=f"a list of {what} is refused for now (0x{status:04X}): it may be the list",
            )
            for what, request, series, (one, *others) in LISTS
            for status in (0xA700, 0xA701, 0xA702)
        ),
        *(
            pytest.param(
                (request, *series),
                MoveState(0, status, "Failed"),
                Said(later=tuple(map(ask, ones)), learned=kind, counts=False),
                id=f"a list of {what} fails (0x{status:04X}): its UIDs one by one",
            )
            for (what, request, series, ones), kind in zip(LISTS, ("uid_lists", "study_lists"), strict=True)
            for status in (0xA900, 0xC000, 0xC520, 0x0122)
        ),
        pytest.param(
            (of_images("1.1.1", range(1, 3)), Has("1.1.1", expected=3, found=1)),
            UNKNOWN_DESTINATION,
            Said(next=(ask(SERIES, repeats=1),), counts=False),
            id="the PACS does not know the destination, it says of a list of instances: their series says it",
        ),
        pytest.param(
            (LIST, FIRST, SECOND),
            replace(BUSY, failed=4),
            Said(later=(ask(LIST, after_s=2, repeats=1),)),
            id="a list was understood of which each sub-operation failed",
        ),
        pytest.param(
            (LIST, FIRST, SECOND),
            replace(SUCCESS, completed=0),
            Said(later=(ask(SERIES), ask(of_series("1.1.2"))), learned="uid_lists"),
            id="of a list the PACS says that there was nothing to send",
        ),
        pytest.param(
            (LIST, FIRST, SECOND),
            replace(SUCCESS, completed=4),
            settled("1.1.1", "1.1.2"),
            id="of a list the PACS says that all was sent: it is on its way, or lost",
        ),
        pytest.param(
            (THREE_STUDIES, FIRST, Has("1.2.1"), Has("1.3.1")),
            NOT_UNDERSTOOD,
            Said(
                later=tuple(ask(of_studies(uid)) for uid in ("1.1", "1.2", "1.3")),
                learned="study_lists",
                counts=False,
            ),
            id="a list of studies is not understood",
        ),
        pytest.param(
            (of_studies("1.1", "1.2"), FIRST, Has("1.2.1")),
            NOT_UNDERSTOOD,
            Said(later=(ask(STUDY), ask(of_studies("1.2"))), learned="study_lists", counts=False),
            id="a list of two studies is not understood",
        ),
        pytest.param(
            (of_images("1.1.1", range(1, 3)), Has("1.1.1", expected=3, found=1)),
            NOT_UNDERSTOOD,
            Said(later=(ask(SERIES),), learned="image_moves", counts=False),
            id="instances are not understood: their series whole",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            SUCCESS,
            Said(later=(ask(of_series("1.1.2")),), learned="uid_lists"),
            id="only the first series of a list came",
        ),
        pytest.param(
            (LIST, Has("1.1.1", found=2), SECOND),
            SUCCESS,
            settled("1.1.1", "1.1.2"),
            id="nothing came of a list: that says nothing of lists",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], ALL_OF["1.1.2"]),
            SUCCESS,
            settled("1.1.1", "1.1.2"),
            id="both series of a list came",
        ),
        pytest.param(
            (THREE_STUDIES, ALL_OF["1.1.1"], Has("1.2.1"), Has("1.3.1")),
            SUCCESS,
            Said(later=(ask(of_studies("1.2")), ask(of_studies("1.3"))), learned="study_lists"),
            id="only the first study of a list came",
        ),
        pytest.param(
            (of_images("1.1.1", range(1, 3)), Has("1.1.1", expected=3, found=1, comes=1)),
            SUCCESS,
            Said(later=(ask(SERIES),), learned="image_moves"),
            id="only the first instance of a list came",
        ),
    ],
)
def test_what_a_pacs_cannot_serve_now_or_in_this_form_is_not_given_up(
    part, end: MoveState, said: Said
) -> None:
    assert after_end(TO_US, part, end, repeats=0) == said


@pytest.mark.parametrize(
    ("end", "counts"),
    [
        (BUSY, False),
        (replace(BUSY, failed=2), False),
        (replace(BUSY, status=0xA701), False),
        (NOT_UNDERSTOOD, False),
        (WARNING, False),
        (UNKNOWN_DESTINATION, True),
    ],
)
@pytest.mark.parametrize("way", [TO_US, BY_GET, ELSEWHERE])
def test_what_failed_for_good_before_is_asked_for_once_and_stops_no_run(
    way: str, end: MoveState, counts: bool
) -> None:
    ended = Ended(Task(one_chunk([_part(SERIES, FIRST)]), once=True), end, 0.0)
    said = module.decide(ended, 0, [], 2.0, verb="C-MOVE", sees=WAYS[way].sees)
    assert _said(said, ended.part[1]) == replace(settled("1.1.1", words=end.words), counts=counts)


def test_a_series_that_failed_before_is_repeated_where_it_was_cut_off_and_still_known_after() -> None:
    parts = [_part(SERIES, FIRST), _part(of_series("1.1.2"), SECOND)]
    ends = tuple(replace(UNANSWERED, request=number) for number in range(2))
    cut = CutOff(Task(one_chunk(parts), once=True), ends, 0.0, silent=False)
    said = module.cut_off(cut, 2.0, SILENCE, stopped=False)
    assert [(each.once, each.wait_s) for each in said.again] == [(True, 2.0), (True, 2.0)]


@pytest.mark.parametrize(
    ("repeats", "said"),
    [
        *(
            (number, Said(later=(ask(SERIES, after_s=WAITS_S[number], repeats=number + 1),)))
            for number in range(4)
        ),
        (4, settled("1.1.1", words=BUSY.words)),
    ],
)
@pytest.mark.parametrize("way", [TO_US, BY_GET, ELSEWHERE])
def test_a_busy_pacs_is_asked_a_few_times_each_way_with_growing_waits(
    way: str, repeats: int, said: Said
) -> None:
    assert after_end(way, (SERIES, FIRST), BUSY, repeats) == said


@pytest.mark.parametrize(
    ("end", "words"),
    [
        pytest.param(NOT_UNDERSTOOD, NOT_UNDERSTOOD.words, id="refused for good"),
        pytest.param(SUCCESS, "Success", id="what came elsewhere cannot be seen"),
    ],
)
def test_nothing_is_learned_from_what_goes_elsewhere(end: MoveState, words: str) -> None:
    part = (LIST, ALL_OF["1.1.1"], SECOND)
    assert after_end(ELSEWHERE, part, end, repeats=0) == settled("1.1.1", "1.1.2", words=words)


@pytest.mark.parametrize(
    ("part", "end", "said"),
    [
        pytest.param(
            (SERIES, FIRST),
            FAILED_2,
            Said(next=(ask(SERIES),), counts=False),
            id="nothing could be sent in this form",
        ),
        pytest.param(
            (SERIES, ALL_OF["1.1.1"]),
            FAILED_2,
            settled("1.1.1", words="Warning"),
            id="what failed was here already",
        ),
        pytest.param(
            (SERIES, Has("1.1.1", comes=1)),
            FAILED_2,
            settled("1.1.1", words="Warning"),
            id="one came: the series is not asked for in another form",
        ),
        pytest.param(
            (of_images("1.1.1", range(2)), Has("1.1.1", comes=1)),
            FAILED_2,
            Said(next=(ask(of_images("1.1.1", range(1, 2))),), counts=False),
            id="one came of those named: the others in another form",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            FAILED_2,
            Said(next=(ask(of_series("1.1.2")),), settled=("1.1.1",), words="Warning"),
            id="one series came: the other in another form",
        ),
        pytest.param((SERIES, FIRST), SUCCESS, settled("1.1.1"), id="nothing failed"),
    ],
)
def test_by_get_what_failed_is_asked_for_in_another_form_at_once(part, end: MoveState, said: Said) -> None:
    assert after_end(BY_GET, part, end, repeats=0) == said


@pytest.mark.parametrize(
    ("way", "part", "end", "rate", "pause_s"),
    [
        pytest.param(
            TO_US, (SERIES, ALL_OF["1.1.1"]), SUCCESS, Rate(0.5), 4, id="2 instances at 0.5 a second"
        ),
        pytest.param(
            TO_US,
            (SERIES, Has("1.1.1", expected=3, found=1, comes=2)),
            SUCCESS,
            Rate(100, in_bytes=True),
            20,
            id="2000 new bytes at 100 a second",
        ),
        pytest.param(
            TO_US,
            (SERIES, Has("1.1.1", expected=3, found=1, comes=2)),
            replace(SUCCESS, completed=1),
            Rate(1),
            2,
            id="what was there already is not counted",
        ),
        pytest.param(
            TO_US,
            (SERIES, FIRST),
            replace(SUCCESS, completed=6),
            Rate(1),
            6,
            id="what was sent counts, late as it is",
        ),
        pytest.param(
            ELSEWHERE,
            (SERIES, FIRST),
            replace(SUCCESS, completed=6),
            Rate(1),
            6,
            id="what went elsewhere counts",
        ),
    ],
)
def test_the_rate_counts_what_came_and_what_was_sent(*, way, part, end, rate, pause_s) -> None:
    assert pause_after_end(way, part, end, rate) == pause_s


@pytest.mark.parametrize(
    ("heard_ago_s", "ended", "given_up"),
    [
        pytest.param(60, False, False, id="just as long as it may be"),
        pytest.param(61, False, True, id="too long"),
        pytest.param(61, True, False, id="it has ended by itself"),
        pytest.param(0, True, False, id="it has just ended"),
    ],
)
def test_an_association_is_ended_only_after_a_long_silence(heard_ago_s, ended, given_up) -> None:
    assert is_given_up(heard_ago_s=heard_ago_s, limit_s=60, ended=ended) is given_up


HERE = Has("1.1.1", found=2)
DONE = Entry(Status.COMPLETE)
MOVED_2 = replace(SUCCESS, completed=2)


@pytest.mark.parametrize(
    ("way", "end", "series", "earlier", "entries"),
    [
        pytest.param(TO_US, SUCCESS, (HERE,), {}, [DONE], id="all is here"),
        pytest.param(TO_US, SUCCESS, (FIRST,), {}, [Entry()], id="open until the IMAGE level was asked"),
        pytest.param(TO_US, WARNING, (FIRST,), {}, [Entry(failed=True)], id="failed"),
        pytest.param(
            TO_US, SUCCESS, (FIRST,), {"seconds": 5.0}, [Entry(seconds=12)], id="asked for a second time"
        ),
        pytest.param(
            TO_US,
            SUCCESS,
            (HERE, SECOND),
            {},
            [Entry(Status.COMPLETE, seconds=3.5), Entry(seconds=3.5)],
            id="two series share the time",
        ),
        pytest.param(
            TO_US,
            WARNING,
            (HERE,),
            {"status": Status.NOT_WANTED},
            [Entry(Status.NOT_WANTED)],
            id="what the headers have decided stays so",
        ),
        pytest.param(
            TO_US, MOVED_2, (FIRST,), {}, [Entry()], id="what was sent to us counts when it is here"
        ),
        pytest.param(
            ELSEWHERE,
            MOVED_2,
            (FIRST,),
            {},
            [Entry(Status.COMPLETE, moved=2)],
            id="what was sent elsewhere counts",
        ),
        pytest.param(
            ELSEWHERE,
            SUCCESS,
            (FIRST,),
            {},
            [Entry(Status.COMPLETE, moved=2)],
            id="Success without counters is success",
        ),
        pytest.param(
            ELSEWHERE,
            replace(SUCCESS, completed=1, at_least=True),
            (FIRST,),
            {},
            [Entry(Status.COMPLETE, moved=2)],
            id="Success without counters is success, whatever was told before",
        ),
        pytest.param(
            ELSEWHERE,
            replace(SUCCESS, completed=1),
            (FIRST,),
            {},
            [Entry(moved=1)],
            id="Success that counts fewer than announced is not all",
        ),
        pytest.param(
            ELSEWHERE,
            replace(SUCCESS, failed=1),
            (FIRST,),
            {},
            [Entry(failed=True)],
            id="Success that counts a failure is none",
        ),
        pytest.param(
            ELSEWHERE,
            replace(WARNING, completed=0, failed=0, warning=2),
            (FIRST,),
            {},
            [Entry(Status.COMPLETE, moved=2)],
            id="stored with a warning is stored",
        ),
        pytest.param(
            ELSEWHERE,
            replace(WARNING, failed=0),
            (FIRST,),
            {},
            [Entry(Status.COMPLETE, moved=2)],
            id="warnings of which none is a failure",
        ),
        pytest.param(
            ELSEWHERE,
            WARNING,
            (FIRST,),
            {},
            [Entry(failed=True)],
            id="warnings or failures: without counters nobody knows",
        ),
        pytest.param(
            ELSEWHERE,
            replace(WARNING, completed=1, failed=0, warning=0, at_least=True),
            (FIRST,),
            {},
            [Entry(moved=1, failed=True)],
            id="warnings or failures: what was told before is not the end",
        ),
        pytest.param(
            ELSEWHERE,
            replace(WARNING, completed=1),
            (FIRST,),
            {"moved": 2},
            [Entry(moved=2, failed=True)],
            id="fewer the second time: the first ones stay there",
        ),
        pytest.param(
            ELSEWHERE,
            MOVED_2,
            (FIRST, SECOND),
            {},
            [Entry(seconds=3.5), Entry(seconds=3.5)],
            id="the counter of two series is of neither",
        ),
    ],
)
def test_the_end_of_a_request_is_entered_into_each_of_its_series(
    *, way, end, series, earlier, entries
) -> None:
    assert entered(way, end, *series, earlier=earlier, again=False) == entries


def test_a_request_that_will_be_repeated_settles_nothing() -> None:
    assert entered(TO_US, BUSY, HERE, earlier={}, again=True) == [Entry(seconds=0)]


# --- success before the objects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completed", "comes", "waits"),
    [
        pytest.param(None, 2, True, id="no counters: more may come"),
        pytest.param(4, 2, True, id="more was sent than is here"),
        pytest.param(0, 0, True, id="nothing was sent of a list, or nothing yet"),
        pytest.param(2, 2, False, id="all that was sent is here: it took only the first of the list"),
    ],
)
def test_what_success_promised_is_asked_for_in_simpler_words_only_once_nothing_more_comes(
    completed: int | None, comes: int, waits: bool
) -> None:
    part = _part(LIST, Has("1.1.1", comes=comes), SECOND)
    simpler = 1 if comes else 2
    came = _place(part, (Has("1.1.1", comes=comes),))
    ended = Ended(Task(one_chunk([part])), replace(SUCCESS, completed=completed), 0.0)
    said = module.decide(ended, came, [], None, verb="C-MOVE", sees=True, settle_s=5)
    assert [(task.wait_s, task.doubt) for task in said.again] == (
        [(5, "uid_lists") if waits else (0, "")] * simpler
    )
    assert (said.unable is None) is waits


@pytest.mark.parametrize(
    ("comes", "asked", "learned"),
    [
        pytest.param({"1.1.1": 2, "1.1.2": 2}, [], "", id="all came meanwhile"),
        pytest.param(
            {"1.1.1": 1},
            [(of_series("1.1.1"), 5.0), (of_series("1.1.2"), 5.0)],
            "",
            id="some came: it waits on",
        ),
        pytest.param(
            {}, [(of_series("1.1.1"), 0.0), (of_series("1.1.2"), 0.0)], "uid_lists", id="nothing came"
        ),
    ],
)
def test_what_was_on_its_way_is_not_asked_for_and_the_rest_waits_as_long_as_some_comes(
    comes: dict[str, int], asked: list, learned: str
) -> None:
    parts = [_part(of_series(uid), Has(uid)) for uid in ("1.1.1", "1.1.2")]
    task = Task(one_chunk(parts), wait_s=5.0, doubt="uid_lists")
    this = _round(TO_US)
    this.way.lists = doubted(this.way.lists, ["uid_lists"])
    left = rounds._without_what_came(task, Inbox(dict(comes)), this)
    assert [(request, each.wait_s) for each in left for request in each.chunk.requests] == asked
    waits_on = bool(asked) and not learned
    assert bool(this.way.lists.doubted) is waits_on, "meanwhile no list is asked for"
    assert _unlearned(this.run.known) == learned


# --- our receiver does not take what the PACS proposed -----------------------------------------------------------


def refused(*uids: str, words: str, counts: bool = False) -> Said:
    return Said(settled=uids, words=words, counts=counts)


@pytest.mark.parametrize(
    ("part", "end", "said"),
    [
        pytest.param(
            (SERIES, FIRST),
            UNKNOWN_DESTINATION,
            refused("1.1.1", words=UNKNOWN_DESTINATION.words),
            id="0xA801",
        ),
        pytest.param((SERIES, FIRST), BUSY, refused("1.1.1", words=BUSY.words), id="0xA702: no wait helps"),
        pytest.param(
            (SERIES, FIRST), NOT_UNDERSTOOD, refused("1.1.1", words=NOT_UNDERSTOOD.words), id="0xA900"
        ),
        pytest.param(
            (LIST, FIRST, SECOND),
            NOT_UNDERSTOOD,
            refused("1.1.1", "1.1.2", words=NOT_UNDERSTOOD.words),
            id="a list: it was understood",
        ),
        pytest.param(
            (STUDY, ALL_OF["1.1.1"], SECOND),
            BUSY,
            refused("1.1.1", "1.1.2", words=BUSY.words),
            id="a study of which one series came",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            SUCCESS,
            refused("1.1.1", "1.1.2", words="Success", counts=True),
            id="success without the one that it could not send: it took the list",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            replace(WARNING, completed=2, failed=2),
            refused("1.1.1", "1.1.2", words="Warning", counts=True),
            id="some came: the PACS is well",
        ),
    ],
)
def test_what_our_receiver_refused_is_no_failure_of_the_pacs_and_waits_for_the_next_receiver(
    part, end, said: Said
) -> None:
    assert after_end(TO_US, part, end, repeats=0, unfit=True) == said


def test_an_association_that_broke_since_nothing_could_be_sent_is_not_repeated() -> None:
    parts = [(SERIES, FIRST), (of_series("1.1.2"), SECOND)]
    said = after_cut(TO_US, parts, 0, silent=False, stopped=False, unfit=True)
    assert said == replace(refused("1.1.1", words=UNANSWERED.words), next=(ask(of_series("1.1.2")),)), (
        "those behind it were never begun"
    )


# --- an association was cut off ----------------------------------------------------------------------------------

LOST = UNANSWERED.words
OTHER_SERIES = of_series("1.2.1")


@pytest.mark.parametrize(
    ("parts", "repeats", "ended", "said"),
    [
        pytest.param(
            [(SERIES, FIRST)],
            0,
            "",
            Said(later=(ask(SERIES, after_s=2, repeats=1),)),
            id="asked again after a wait",
        ),
        pytest.param(
            [(SERIES, FIRST)],
            3,
            "",
            Said(later=(ask(SERIES, after_s=16, repeats=4),)),
            id="and again, after a longer one",
        ),
        pytest.param([(SERIES, FIRST)], 4, "", settled("1.1.1", words=LOST), id="but not for ever"),
        pytest.param(
            [(SERIES, FIRST)], 0, "stopped", settled("1.1.1", words=LOST), id="nor where the run stops"
        ),
        pytest.param(
            [(SERIES, FIRST)], 0, "silent", settled("1.1.1", words=SILENCE), id="nor after a silence"
        ),
        pytest.param(
            [(SERIES, FIRST), (OTHER_SERIES, Has("1.2.1")), (of_series("1.3.1"), Has("1.3.1"))],
            1,
            "",
            Said(
                next=(ask(OTHER_SERIES, of_series("1.3.1"), after_s=4),),
                later=(ask(SERIES, after_s=4, repeats=2),),
            ),
            id="requests that never began come first, and have all their repeats",
        ),
        pytest.param(
            [(SERIES, FIRST), (OTHER_SERIES, Has("1.2.1"))],
            4,
            "",
            Said(next=(ask(OTHER_SERIES),), settled=("1.1.1",), words=LOST),
            id="one that fails each time does not take the others along",
        ),
        pytest.param(
            [(SERIES, FIRST), (OTHER_SERIES, Has("1.2.1"))],
            0,
            "silent",
            Said(next=(ask(OTHER_SERIES),), settled=("1.1.1",), words=SILENCE),
            id="after a silence the others are asked at once",
        ),
        pytest.param(
            [(THREE_STUDIES, ALL_OF["1.1.1"], Has("1.2.1"), Has("1.3.1", comes=1))],
            0,
            "",
            Said(later=(ask(of_studies("1.2"), of_studies("1.3"), after_s=2, repeats=1),)),
            id="of several studies not those that came before the cut",
        ),
        *(
            pytest.param(
                [(request, *series)],
                0,
                "",
                Said(next=(ask(one, repeats=1),), later=(ask(*others, after_s=2),), counts=False),
                id=f"a list of {what} of which nothing came: it may be the list",
            )
            for what, request, series, (one, *others) in LISTS
        ),
        pytest.param(
            [(SERIES, ALL_OF["1.1.1"])],
            0,
            "",
            Said(later=(ask(SERIES, after_s=2, repeats=1),)),
            id="all came, but no final response said so",
        ),
    ],
)
@pytest.mark.parametrize("way", [TO_US, BY_GET])
def test_a_cut_association_loses_no_request(way: str, parts, repeats: int, ended: str, said: Said) -> None:
    assert after_cut(way, parts, repeats, silent=ended == "silent", stopped=ended == "stopped") == said


# --- lists of UIDs -----------------------------------------------------------------------------------------------

NOTHING, BROUGHT = 0, 2


@pytest.mark.parametrize(
    ("heard", "learned", "judged"),
    [
        pytest.param(
            [(LIST, BUSY, NOTHING), (SERIES, SUCCESS, BROUGHT)], "uid_lists", "uid_lists", id="busy"
        ),
        pytest.param(
            [(LIST, UNKNOWN_DESTINATION, NOTHING), (SERIES, SUCCESS, BROUGHT)],
            "uid_lists",
            "uid_lists",
            id="unknown destination",
        ),
        pytest.param(
            [(LIST, UNANSWERED, NOTHING), (SERIES, SUCCESS, BROUGHT)], "uid_lists", "uid_lists", id="cut off"
        ),
        pytest.param(
            [(THREE_STUDIES, UNANSWERED, NOTHING), (LIST, BUSY, NOTHING), (STUDY, WARNING, BROUGHT)],
            "study_lists uid_lists",
            "study_lists uid_lists",
            id="two kinds",
        ),
        pytest.param(
            [(LIST, BUSY, NOTHING), (SERIES, BUSY, NOTHING)], "", "uid_lists", id="one UID fails too"
        ),
        pytest.param(
            [(LIST, BUSY, NOTHING), (SERIES, SUCCESS, NOTHING)], "", "", id="one UID brings nothing"
        ),
        pytest.param(
            [(LIST, SUCCESS, BROUGHT), (LIST, BUSY, NOTHING), (SERIES, SUCCESS, BROUGHT)],
            "",
            "uid_lists",
            id="a list was served before",
        ),
        pytest.param(
            [(LIST, BUSY, NOTHING), (LIST, SUCCESS, BROUGHT), (SERIES, SUCCESS, BROUGHT)],
            "",
            "uid_lists",
            id="a list is served now",
        ),
        pytest.param([(SERIES, BUSY, NOTHING), (SERIES, SUCCESS, BROUGHT)], "", "", id="no list at all"),
    ],
)
def test_lists_are_not_understood_where_one_brings_nothing_and_one_uid_something(
    heard: Sequence[tuple[MoveRequest, MoveState, int]], learned: str, judged: str
) -> None:
    seen, told = Lists(), set[str]()
    for request, end, came in heard:
        seen, now = after_request(seen, request, end, came)
        told |= now
    assert " ".join(sorted(told)) == learned
    assert " ".join(sorted(seen.judged)) == judged


def test_a_list_that_fails_as_one_uid_does_is_asked_again_as_any_request() -> None:
    ended = Ended(Task(one_chunk([_part(LIST, FIRST, SECOND)])), BUSY, 0.0)
    seen = Lists(judged=frozenset({"uid_lists"}))
    said = module.decide(ended, 0, [], 2.0, verb="C-MOVE", sees=True, lists=seen)
    assert _said(said, ended.part[1]) == Said(later=(ask(LIST, after_s=2, repeats=1),))


@pytest.mark.parametrize("seen", [Lists(), Lists(doubted=frozenset({"uid_lists"}))])
def test_while_lists_are_doubted_what_they_fail_of_is_no_failure_of_the_pacs(seen: Lists) -> None:
    ended = Ended(Task(one_chunk([_part(LIST, FIRST, SECOND)])), BUSY, 0.0)
    assert not module.decide(ended, 0, [], 2.0, verb="C-MOVE", sees=True, lists=seen).counts


# --- no association ----------------------------------------------------------------------------------------------

AGAIN = (ask(SERIES),)


@pytest.mark.parametrize(
    ("beside", "rejected", "before", "temporary", "losses", "said"),
    [
        pytest.param(
            0, True, False, False, 0, None, id="never admitted, for good: a wrong AE title is told at once"
        ),
        pytest.param(0, False, False, False, 0, None, id="never reached: a wrong address is told at once"),
        pytest.param(
            0, True, False, True, 0, Said(AGAIN, learned="waits"), id="never admitted, for now: later"
        ),
        pytest.param(0, True, False, True, 4, None, id="never admitted, for now, five times"),
        pytest.param(
            0, True, True, False, 0, Said(AGAIN, learned="waits"), id="admitted before: it may come back"
        ),
        pytest.param(
            0, False, True, False, 3, Said(AGAIN, learned="waits"), id="reached before: it may come back"
        ),
        pytest.param(
            0,
            False,
            True,
            False,
            4,
            Said(AGAIN, stop="no association"),
            id="reached before, but five times not",
        ),
        pytest.param(1, True, True, False, 0, Said(AGAIN, learned="at most 1"), id="it admits one at a time"),
        pytest.param(2, True, True, False, 0, Said(AGAIN, learned="at most 2"), id="it admits two at a time"),
        pytest.param(
            1, True, False, False, 0, Said(AGAIN, learned="at most 1"), id="a second is rejected at once"
        ),
        pytest.param(
            1, False, True, False, 0, Said(AGAIN, learned="waits"), id="lost while another one runs"
        ),
    ],
)
def test_a_pacs_that_admits_no_association_is_waited_for_only_where_it_may_come_back(
    *, beside, rejected, before, temporary, losses, said
) -> None:
    made = after_no_association(
        beside=beside, rejected=rejected, before=before, temporary=temporary, losses=losses, full=False
    )
    if said is not None:
        said = replace(said, counts=False)
    assert made == said


def test_on_a_full_disk_the_pacs_is_not_blamed() -> None:
    made = after_no_association(beside=0, rejected=True, before=False, temporary=False, losses=0, full=True)
    assert made == Said(counts=False)


# --- what an association gets ------------------------------------------------------------------------------------

STUDIES = [(of_studies(f"1.{number}"), Has(f"1.{number}.1", expected=40)) for number in (1, 2, 3)]
STUDY_1, STUDY_2, STUDY_3 = (of_studies(f"1.{number}") for number in (1, 2, 3))
PAIR = (of_studies("1.1", "1.2"), Has("1.1.1"), Has("1.2.1"))
LISTED = (LIST, FIRST, SECOND)
IMAGES = (of_images("1.1.1", range(1)), FIRST)
EACH_ASKED = tuple(of_series(f"1.1.{number}") for number in (1, 2, 3))
EACH_SERIES = [(each, Has(each.series_uids[0], expected=50)) for each in EACH_ASKED]


@pytest.mark.parametrize(
    ("way", "reached", "requests", "first", "others"),
    [
        pytest.param(TO_US, True, STUDIES, (STUDY_1, STUDY_2, STUDY_3), (), id="all over one association"),
        pytest.param(
            TO_US,
            False,
            STUDIES,
            (STUDY_1, STUDY_2),
            (STUDY_3,),
            id="first a hundred, to see whether they come",
        ),
        pytest.param(
            TO_US,
            False,
            [(LIST, FIRST, SECOND), STUDIES[2]],
            (LIST,),
            (STUDY_3,),
            id="first one list of series, to see whether it is understood",
        ),
        pytest.param(
            TO_US, False, [PAIR, STUDIES[2]], (PAIR[0],), (STUDY_3,), id="first one list of studies"
        ),
        pytest.param(
            TO_US, False, [IMAGES, STUDIES[2]], (IMAGES[0],), (STUDY_3,), id="first one list of instances"
        ),
        pytest.param(
            TO_US,
            False,
            [STUDIES[2], PAIR],
            (STUDY_3,),
            (PAIR[0],),
            id="a list behind another request waits for it",
        ),
        pytest.param(
            TO_US,
            False,
            EACH_SERIES,
            EACH_ASKED[:2],
            EACH_ASKED[2:],
            id="first a hundred, where each request is for one series",
        ),
        pytest.param(
            ELSEWHERE, False, STUDIES, (STUDY_1, STUDY_2), (STUDY_3,), id="first a hundred to another place"
        ),
        pytest.param(BY_GET, True, STUDIES, (STUDY_1,), (STUDY_2, STUDY_3), id="getscu takes one request"),
    ],
)
def test_an_unproven_way_gets_little_at_first(way, reached, requests, first, others) -> None:
    assert cut(way, requests, USUAL, reached=reached) == (first, others)


@pytest.mark.parametrize(
    ("waits_s", "running", "stopped", "next_"),
    [
        pytest.param((0, 0), 0, False, "1.1.1", id="the first that waits"),
        pytest.param((9, 0), 0, False, "1.2.1", id="one whose time has not come lets the next one pass"),
        pytest.param((9, 9), 0, False, None, id="no time has come"),
        pytest.param((0, 0), 1, False, None, id="there are as many associations as there may be"),
        pytest.param((0, 0), 0, True, None, id="the run stops"),
        pytest.param((), 0, False, None, id="nothing is left"),
    ],
)
def test_work_starts_in_its_order_when_its_time_has_come(*, waits_s, running, stopped, next_) -> None:
    assert starts(waits_s, running=running, stopped=stopped) == next_


@pytest.mark.parametrize(
    ("can", "requests", "asked"),
    [
        pytest.param(USUAL, [PAIR, LISTED, IMAGES], (PAIR[0], LIST, IMAGES[0]), id="a PACS that can all"),
        pytest.param(
            Capabilities(study_lists=False),
            [PAIR, LISTED],
            (STUDY_1, STUDY_2, LIST),
            id="no lists of studies",
        ),
        pytest.param(
            Capabilities(uid_lists=False),
            [PAIR, LISTED, (SERIES, FIRST), IMAGES, (STUDY, FIRST, SECOND)],
            (STUDY_1, STUDY_2, SERIES, of_series("1.1.2"), SERIES, IMAGES[0], STUDY),
            id="no lists at all",
        ),
        pytest.param(
            Capabilities(whole_studies=False),
            [PAIR, LISTED, (SERIES, FIRST), IMAGES, (STUDY, FIRST, SECOND)],
            (SERIES, of_series("1.2.1"), LIST, SERIES, IMAGES[0], LIST),
            id="no whole studies, but lists of their series",
        ),
        pytest.param(
            Capabilities(whole_studies=False),
            [(STUDY, Has("1.1.1", expected=400), Has("1.1.2", expected=400))],
            (SERIES, of_series("1.1.2")),
            id="no list of series is larger than others are",
        ),
        pytest.param(
            Capabilities(whole_studies=False, uid_lists=False),
            [PAIR, LISTED, (STUDY, FIRST, SECOND)],
            (SERIES, of_series("1.2.1"), SERIES, of_series("1.1.2"), SERIES, of_series("1.1.2")),
            id="neither whole studies nor lists",
        ),
    ],
)
def test_work_that_waits_is_put_in_words_that_the_pacs_is_known_to_take(can, requests, asked) -> None:
    assert cut(TO_US, requests, can, reached=True) == (asked, ())


@pytest.mark.parametrize(
    ("way", "end", "first", "last", "rate", "later"),
    [
        pytest.param(
            TO_US, SUCCESS, False, True, None, True, id="a good end, the next association is opened first"
        ),
        pytest.param(ELSEWHERE, SUCCESS, False, True, None, True, id="and elsewhere"),
        pytest.param(TO_US, WARNING, False, True, None, False, id="a bad end may change what is asked next"),
        pytest.param(
            TO_US, SUCCESS, True, True, None, False, id="the first end shows whether the PACS reaches us"
        ),
        pytest.param(TO_US, SUCCESS, False, False, None, False, id="the association goes on"),
        pytest.param(TO_US, SUCCESS, False, True, Rate(1), False, id="the rate must know what came"),
        pytest.param(
            BY_GET, SUCCESS, False, True, None, False, id="by C-GET it is in the folder of its getscu"
        ),
    ],
)
def test_placing_waits_only_for_what_depends_on_nothing(*, way, end, first, last, rate, later) -> None:
    assert may_be_placed_later(way, end, first=first, last=last, rate=rate) is later
