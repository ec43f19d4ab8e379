"""What follows when a request ends: what is asked again, in which words and when, and what a run learns of its PACS.

The tables are plain data; only the functions under "how today's code is asked" know who decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest
from series import (
    BUSY,
    NOT_UNDERSTOOD,
    SUCCESS,
    UNANSWERED,
    UNKNOWN_DESTINATION,
    WARNING,
    instance_uids,
    of_images,
    of_series,
    of_studies,
    state,
)

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import AssociationError
from pacsifier.query import QueryTable
from pacsifier.transfer.capabilities import USUAL, Capabilities
from pacsifier.transfer.fetch import engine as module
from pacsifier.transfer.fetch.syntaxes import Syntaxes
from pacsifier.transfer.fetch.traffic import Traffic
from pacsifier.transfer.fetch.work import one_chunk
from pacsifier.transfer.model import Part, SeriesState, Status
from pacsifier.transfer.options import Observer, Options, Rate
from pacsifier.transfer.retrieve import Retrieval

WAITS_S = (2.0, 4.0, 8.0, 16.0)
"""The waits before the repeats of a request; there is no fifth."""
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


# --- how today's code is asked -----------------------------------------------------------------------------------


class _Run:
    """Stands in for `Retrieval`: remembers what it is told."""

    def __init__(self, way: str, comes: Mapping[str, int] | None = None, *, stopped: bool = False) -> None:
        self.options = Options(save=way != ELSEWHERE, move=way == ELSEWHERE)
        self.capabilities = USUAL
        self.associated = False
        self.syntaxes = Syntaxes()
        self.verb, self.destination, self.silence = "C-MOVE", "US", SILENCE
        self.stopped = stopped
        self.full = False
        self.settled: list[str] = []
        self.words = self.stop_reason = ""
        self.counts = False
        self._comes = comes or {}
        self._reached = False

    def place(self, series: SeriesState, arrivals: object) -> None:
        uid = series.series.series_uid
        more = range(len(series.found), len(series.found) + self._comes.get(uid, 0))
        series.found |= dict.fromkeys(instance_uids(uid, more), 1000)

    def learn(self, part: Part) -> None:
        Retrieval.learn(cast(Retrieval, self), part)

    @property
    def learned(self) -> str:
        names = ("uid_lists", "study_lists", "image_moves")
        return " ".join(name for name in names if not getattr(self.capabilities, name))

    def request_ended(self, states: Sequence[SeriesState], end: MoveState, seconds: float, **_: bool) -> None:
        assert seconds == TOOK_S, "the log table tells how long a request took"
        self.settled += [each.series.series_uid for each in states]
        self.counts, self.words = True, end.words

    def request_failed(self, states: Sequence[SeriesState], end: MoveState, *, counts: bool = True) -> None:
        self.counts |= counts

    def check_place(self, *, now: bool = False) -> None:
        self.stopped |= self.full and now

    def stop(self, reason: str) -> None:
        self.stop_reason = reason

    def reached(self) -> bool:
        return self._reached


class _Clock:
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class _Waits:
    def wait_s(self, earlier: int) -> float | None:
        return WAITS_S[earlier] if earlier < len(WAITS_S) else None


class _Nothing:
    folder = Path()

    def scan(self) -> int:
        return 0


@dataclass
class _Process:
    """A movescu that has ended."""

    admitted: bool = True
    rejected: bool = False
    associated: bool = True
    ended: bool = True
    heard: float = 0.0
    process: Any = field(default_factory=SimpleNamespace)

    def close(self) -> None:
        pass


_OTHER_WORK = module._Task(one_chunk([(of_series("9.9.9"), (state("9.9.9"),))]))


def _engine(run: _Run, way: str, *, temporary: bool = False, **options: Any) -> module.Engine:
    traffic = Traffic(Options(save=True, **options), Observer())
    traffic.retry = cast(Any, _Waits())
    receiver = object() if way == TO_US else None
    receiving = None if way == ELSEWHERE else (receiver, _Nothing())
    no_association = AssociationError("no association", temporary=temporary)
    pacs = SimpleNamespace(no_association=lambda process: no_association)
    engine = module.Engine(cast(Any, run), cast(Any, pacs), traffic, cast(Any, None), cast(Any, receiving))
    engine._tasks.append(_OTHER_WORK)
    return engine


def _running(task: module._Task, *, silent: bool = False) -> module._Running:
    return module._Running(task, cast(Any, _Process()), _Clock.now_s - TOOK_S, silent)


def _part(request: MoveRequest, *series: Has) -> Part:
    return request, tuple(state(each.uid, each.expected, each.found) for each in series)


def _said(engine: module.Engine, run: _Run) -> Said:
    tasks = list(engine._tasks)
    place = tasks.index(_OTHER_WORK)
    asks = [
        Ask(each.chunk.requests, max(0.0, each.not_before - _Clock.now_s), each.repeats) for each in tasks
    ]
    settled, words = tuple(run.settled), run.words if run.settled else ""
    return Said(
        tuple(asks[:place]),
        tuple(asks[place + 1 :]),
        run.learned,
        settled,
        run.counts,
        words,
        run.stop_reason,
    )


def after_end(way: str, part: tuple[Any, ...], end: MoveState, repeats: int) -> Said:
    """What follows the end of the only request of an association."""
    request, *series = part
    run = _Run(way, {each.uid: each.comes for each in series})
    engine = _engine(run, way)
    task = module._Task(one_chunk([_part(request, *series)]), repeats)
    with patch.object(module, "time", _Clock()):
        engine._request_ended(_running(task), end)
    return _said(engine, run)


def pause_after_end(way: str, part: tuple[Any, ...], end: MoveState, rate: Rate) -> float:
    """How long after its begin a request keeps the next one waiting."""
    request, *series = part
    run = _Run(way, {each.uid: each.comes for each in series})
    engine = _engine(run, way, rate=rate)
    with patch.object(module, "time", _Clock()):
        engine._request_ended(_running(module._Task(one_chunk([_part(request, *series)]))), end)
    return engine._traffic._ready - (_Clock.now_s - TOOK_S)


def is_given_up(*, heard_ago_s: float, limit_s: float, ended: bool) -> bool:
    """Whether an association is ended for its silence."""
    run = _Run(TO_US)
    run.options = Options(save=True, timeouts=Timeouts(silence_timeout_s=limit_s))
    endings: list[str] = []
    process = _Process(ended=ended, process=SimpleNamespace(end=lambda: endings.append("end")))
    process.heard = _Clock.now_s - heard_ago_s
    running = module._Running(_OTHER_WORK, cast(Any, process))
    with patch.object(module, "time", _Clock()):
        _engine(run, TO_US)._check_silence(running)
    assert running.silent is bool(endings)
    return running.silent


def after_cut(
    way: str, parts: Sequence[tuple[Any, ...]], repeats: int, *, silent: bool, stopped: bool
) -> Said:
    """What follows where an association ends before these requests were answered."""
    run = _Run(way, {each.uid: each.comes for _, *series in parts for each in series}, stopped=stopped)
    engine = _engine(run, way)
    task = module._Task(one_chunk([_part(*part) for part in parts]), repeats)
    with patch.object(module, "time", _Clock()):
        engine._cut_off(
            _running(task, silent=silent),
            [replace(UNANSWERED, request=number) for number in range(len(parts))],
        )
    return _said(engine, run)


def after_no_association(
    *, beside: int, rejected: bool, before: bool, temporary: bool, losses: int, full: bool
) -> Said | None:
    """What follows where an association was not admitted; None: the run fails."""
    run = _Run(TO_US)
    run.associated, run.full = before, full
    engine = _engine(run, TO_US, temporary=temporary, associations=4)
    with patch("pacsifier.transfer.fetch.traffic.time", clock := _Clock()):
        for _ in range(losses):
            engine._traffic.lost()
            clock.now_s += 100
        engine._running = [cast(Any, None)] * beside
        task = module._Task(one_chunk([_part(of_series("1.1.1"), Has("1.1.1"))]))
        try:
            engine._not_admitted(module._Running(task, cast(Any, _Process(rejected=rejected))))
        except AssociationError:
            return None
        # Where the PACS admits no more, the others go on without a wait.
        learned = f"at most {engine._traffic.most}" if engine._traffic.most < 4 else ""
        waits = "" if engine._traffic.may_start(0) else "waits"
    return replace(_said(engine, run), learned=" ".join(filter(None, (learned, waits))), counts=False)


def cut(
    way: str, requests: Sequence[tuple[Any, ...]], can: Capabilities, *, reached: bool
) -> tuple[tuple[MoveRequest, ...], tuple[MoveRequest, ...]]:
    """The requests that the next association gets, and those that are left for another."""
    run = _Run(way)
    run.capabilities, run._reached = can, reached
    engine = _engine(run, way)
    engine._tasks.clear()
    engine._tasks.append(module._Task(one_chunk([_part(*part) for part in requests])))
    task = engine._next_task()
    assert task is not None
    return task.chunk.requests, tuple(each for task in engine._tasks for each in task.chunk.requests)


def starts(waits_s: Sequence[float], *, running: int, stopped: bool) -> str | None:
    """The series that is asked for next, of 1.1.1, 1.2.1 and so on, each after such a wait."""
    engine = _engine(_Run(TO_US, stopped=stopped), TO_US)
    engine._tasks.clear()
    engine._running = [cast(Any, None)] * running
    for number, wait_s in enumerate(waits_s, 1):
        part = _part(of_series(f"1.{number}.1"), Has(f"1.{number}.1"))
        engine._tasks.append(module._Task(one_chunk([part]), not_before=_Clock.now_s + wait_s))
    with patch.object(module, "time", _Clock()):
        task = engine._next_task()
    return task.chunk.requests[0].series_uids[0] if task else None


def entered(way: str, end: MoveState, *series: Has, earlier: Mapping[str, Any], again: bool) -> list[Entry]:
    """What the end of one request, which took 7 s, leaves in each of its series, that had `earlier` values."""
    options = Options(save=way != ELSEWHERE, move=way == ELSEWHERE)
    config = PacsConfig("pacs.example.org", 104, "SERVER", "US", "OTHER", 11112, 30, 0.0)
    table = QueryTable(Path("q.csv"), (), (), {}, ())
    run = Retrieval(config, table, Path("out"), options, toolbox=cast(Any, None))
    _, states = _part(SERIES, *series)
    for each in states:
        for name, value in earlier.items():
            setattr(each, name, value)
    if again:
        run.request_failed(states, end)
    else:
        run.request_ended(states, end, TOOK_S)
    return [Entry(each.status, each.tried, each.moved, each.seconds, each.failed) for each in states]


def may_be_placed_later(way: str, end: MoveState, *, first: bool, last: bool, rate: Rate | None) -> bool:
    """Whether the next association may be opened before what a request brought is placed."""
    engine = _engine(_Run(way), way, rate=rate)
    engine._served = not first
    task = module._Task(one_chunk([_part(of_series("1.1.1"), Has("1.1.1"))] * (1 if last else 2)))
    return engine._can_wait(module._Running(task, cast(Any, _Process())), end)


# --- a request ended ---------------------------------------------------------------------------------------------

SERIES, LIST, STUDY = of_series("1.1.1"), of_series("1.1.1", "1.1.2"), of_studies("1.1")
THREE_STUDIES = of_studies("1.1", "1.2", "1.3")
FIRST, SECOND, THIRD = Has("1.1.1"), Has("1.1.2"), Has("1.1.3")
ALL_OF = {uid: Has(uid, comes=2) for uid in ("1.1.1", "1.1.2", "1.2.1", "1.3.1")}
FAILED_2 = replace(WARNING, completed=0, failed=2)


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
            Said(later=(ask(SERIES), ask(of_series("1.1.2"))), learned="uid_lists"),
            id="a list of series is not understood",
        ),
        pytest.param(
            (LIST, ALL_OF["1.1.1"], SECOND),
            NOT_UNDERSTOOD,
            Said(later=(ask(of_series("1.1.2")),), learned="uid_lists"),
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
            Said(later=(ask(SERIES), ask(of_series("1.1.2"))), learned="uid_lists"),
            id="a whole study is not understood",
        ),
        pytest.param(
            (THREE_STUDIES, FIRST, Has("1.2.1"), Has("1.3.1")),
            NOT_UNDERSTOOD,
            Said(later=tuple(ask(of_studies(uid)) for uid in ("1.1", "1.2", "1.3")), learned="study_lists"),
            id="a list of studies is not understood",
        ),
        pytest.param(
            (of_studies("1.1", "1.2"), FIRST, Has("1.2.1")),
            NOT_UNDERSTOOD,
            Said(later=(ask(STUDY), ask(of_studies("1.2"))), learned="study_lists"),
            id="a list of two studies is not understood",
        ),
        pytest.param(
            (of_images("1.1.1", range(1, 3)), Has("1.1.1", expected=3, found=1)),
            NOT_UNDERSTOOD,
            Said(later=(ask(SERIES),), learned="image_moves"),
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
        pytest.param(ELSEWHERE, SUCCESS, (FIRST,), {}, [Entry()], id="no counter is no image"),
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
                next=(ask(OTHER_SERIES, of_series("1.3.1"), after_s=4, repeats=1),),
                later=(ask(SERIES, after_s=4, repeats=2),),
            ),
            id="requests that never began come first, and lose no repeat",
        ),
        pytest.param(
            [(SERIES, FIRST), (OTHER_SERIES, Has("1.2.1"))],
            4,
            "",
            Said(next=(ask(OTHER_SERIES, repeats=4),), settled=("1.1.1",), words=LOST),
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
