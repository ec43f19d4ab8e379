"""Work over a few associations: in its order, each end told once, none held back for long, nothing left running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fetching import START_S, Association, Clock, NoLimits, a_pool, stopped_clock
from series import NOT_UNDERSTOOD, SUCCESS, UNANSWERED, WARNING, of_series, state

from pacsifier.errors import AssociationError
from pacsifier.transfer.fetch.pool import CutOff, Ended, NotAdmitted, Pool, silence_words
from pacsifier.transfer.fetch.work import Task, one_chunk
from pacsifier.transfer.model import Chunk


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock() as made:
        yield made


def task(*uids: str, wait_s: float = 0.0, first: bool = False) -> Task:
    """A task with a request for each series."""
    chunk = one_chunk([(of_series(uid), (state(uid),)) for uid in uids])
    return Task(chunk, wait_s=wait_s, first=first)


def starter(*associations: Association) -> Callable[[Chunk], Association]:
    """Hands the associations out one by one."""
    left = list(associations)
    return lambda chunk: left.pop(0)


def running(*associations: Association, requests: int = 1, **options: Any) -> Pool:
    """A pool in which these associations run, of so many requests each."""
    pool = a_pool(starter(*associations), **options)
    for number, _ in enumerate(associations, 1):
        pool.start(task(*(f"1.{number}.{each}" for each in range(1, requests + 1))))
    return pool


def names(pool: Pool) -> list[str]:
    """The tasks that are due now, in their order."""
    names = []
    while (due := pool.due()) is not None:
        names.append(due.chunk.requests[0].series_uids[0])
    return names


# --- order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "after_s", "order"),
    [
        pytest.param([task("1.1.1"), task("1.2.1")], 0, ["1.1.1", "1.2.1"], id="as they were added"),
        pytest.param(
            [task("1.1.1"), task("1.2.1", first=True)],
            0,
            ["1.2.1", "1.1.1"],
            id="first before all that waits",
        ),
        pytest.param(
            [task("1.1.1"), task("1.2.1", first=True), task("1.3.1", first=True)],
            0,
            ["1.3.1", "1.2.1", "1.1.1"],
            id="of two that go first the later one",
        ),
        pytest.param(
            [task("1.1.1", wait_s=5), task("1.2.1")], 0, ["1.2.1"], id="one that waits lets others pass"
        ),
        pytest.param([task("1.1.1", wait_s=5)], 4.9, [], id="its time has not come"),
        pytest.param([task("1.1.1", wait_s=5), task("1.2.1")], 5, ["1.1.1", "1.2.1"], id="its time has come"),
        pytest.param(
            [task("1.1.1"), task("1.2.1", wait_s=5, first=True)], 0, ["1.1.1"], id="first, but not yet"
        ),
        pytest.param([], 0, [], id="nothing is left"),
    ],
)
def test_work_begins_in_its_order_and_not_before_its_time(clock: Clock, added, after_s, order) -> None:
    pool = a_pool()
    pool.add(added)
    assert pool.waiting is bool(added)
    clock.now_s += after_s
    assert names(pool) == order
    assert pool.waiting is (len(order) < len(added))


def test_a_wait_begins_when_the_task_is_added(clock: Clock) -> None:
    pool = a_pool()
    clock.now_s += 3
    pool.add([task("1.1.1", wait_s=5)])
    clock.now_s += 4
    assert pool.due() is None
    clock.now_s += 1
    assert pool.due() == task("1.1.1", wait_s=5)


def test_no_more_associations_are_opened_than_there_may_be(clock: Clock) -> None:
    pool = a_pool(traffic=NoLimits(most=2))
    pool.add([task("1.1.1"), task("1.2.1"), task("1.3.1")])
    started = 0
    while (due := pool.due()) is not None:
        pool.start(due)
        started += 1
    assert (started, pool.working, pool.waiting) == (2, True, True)


# --- what an association says ------------------------------------------------------------------------------------


def test_each_request_is_told_with_the_time_since_the_one_before(clock: Clock) -> None:
    association = Association(
        3, [[SUCCESS], [], [replace(WARNING, request=1)], [replace(SUCCESS, request=2)]]
    )
    pool = running(association, requests=3)
    events = []
    for _ in range(4):
        clock.now_s += 10
        events += pool.step(heard=False)
    ends = [(each.end.request, each.end.status, each.since - START_S) for each in events]
    assert ends == [(0, 0x0000, 0), (1, 0xB000, 10), (2, 0x0000, 30)]
    assert [each.part[0] for each in events] == [of_series(f"1.1.{number}") for number in (1, 2, 3)]
    assert (association.closed, pool.working) == (True, False)


def test_what_was_not_answered_is_told_together_the_one_in_flight_first(clock: Clock) -> None:
    association = Association(3, [[SUCCESS], []])
    pool = running(association, requests=3)
    clock.now_s += 10
    assert [type(each) for each in pool.step(heard=False)] == [Ended]
    (cut,) = pool.step(heard=False)
    assert isinstance(cut, CutOff)
    assert [request for request, _ in cut.parts] == [of_series("1.1.2"), of_series("1.1.3")]
    assert [(each.request, each.words) for each in cut.ends] == [(1, UNANSWERED.words), (2, UNANSWERED.words)]
    assert (cut.since, cut.silent) == (START_S + 10, False)
    assert (association.closed, pool.working) == (True, False)


@pytest.mark.parametrize("rejected", [False, True])
def test_a_task_that_got_no_association_is_told_with_those_that_ran_beside(
    clock: Clock, rejected: bool
) -> None:
    error = AssociationError("rejected")
    refused = Association(admitted=False, rejected=rejected, associated=False)
    pool = running(Association(lasts=True), refused, Association(lasts=True), error=error)
    assert pool.step(heard=False) == [NotAdmitted(task("1.2.1"), error, rejected, 2)]
    assert refused.closed
    assert pool.working


def test_whether_the_pacs_ever_admitted_an_association_is_remembered(clock: Clock) -> None:
    refused = Association(admitted=False, associated=False)
    pool = running(refused)
    pool.step(heard=False)
    assert not pool.admitted
    for association in (Association(tells=[[SUCCESS]]), refused):
        pool = running(association, Association(admitted=False, associated=False))
        pool.step(heard=False)
        assert pool.admitted is association.admitted


@pytest.mark.parametrize(
    ("associated", "told"),
    [
        ((True,), [1]),
        ((False,), []),
        ((True, True), [2, 2]),
        ((True, False), []),
    ],
)
def test_one_more_association_is_tried_only_when_all_that_run_are_answered(
    clock: Clock, associated, told
) -> None:
    traffic = NoLimits()
    pool = running(*(Association(lasts=True, associated=each) for each in associated), traffic=traffic)
    pool.step(heard=False)
    assert traffic.answers == told


# --- a good end may wait a moment --------------------------------------------------------------------------------


def held(end: Any = SUCCESS, *, requests: int = 1, hold_last: bool = True, lasts: bool = True) -> Any:
    """The events of the step that brings an end, and the pool."""
    association = Association(requests, [[], [end]], lasts=lasts)
    pool = running(
        Association(requests, [[SUCCESS]], lasts=True), association, requests=requests, hold_last=hold_last
    )
    assert [each.end for each in pool.step(heard=False)] == [SUCCESS], "the first end never waits"
    return pool.step(heard=False), pool


@pytest.mark.parametrize(
    ("end", "requests", "hold_last", "waits"),
    [
        pytest.param(SUCCESS, 1, True, True, id="good, and the last of its association"),
        pytest.param(SUCCESS, 2, True, False, id="its association goes on"),
        pytest.param(WARNING, 1, True, False, id="a bad one may change what is asked next"),
        pytest.param(replace(SUCCESS, failed=1), 1, True, False, id="a sub-operation failed"),
        pytest.param(NOT_UNDERSTOOD, 1, True, False, id="refused"),
        pytest.param(SUCCESS, 1, False, False, id="where nothing may wait"),
    ],
)
def test_only_a_good_last_end_may_wait(clock: Clock, end, requests, hold_last, waits) -> None:
    events, pool = held(end, requests=requests, hold_last=hold_last)
    assert [each.end for each in events] == ([] if waits else [end])
    assert pool.working


@pytest.mark.parametrize(
    ("after_s", "released"),
    [pytest.param(0.0625, False, id="a moment"), pytest.param(0.125, True, id="longer than 0.1 s")],
)
def test_an_end_waits_a_tenth_of_a_second_at_most(clock: Clock, after_s: float, released: bool) -> None:
    events, pool = held()
    assert events == []
    clock.now_s += after_s
    events = pool.step(heard=False)
    assert [each.end for each in events] == [SUCCESS] * released
    clock.now_s += 1
    assert len(pool.step(heard=False)) == 1 - released, "it is told once"


def test_an_end_is_told_when_its_association_is_over(clock: Clock) -> None:
    events, pool = held(lasts=False)
    assert events == [], "the next association is opened first"
    assert pool.working
    (event,) = pool.step(heard=False)
    assert (event.end, event.part[0]) == (SUCCESS, of_series("1.2.1"))


def test_a_pool_works_as_long_as_an_end_is_held(clock: Clock) -> None:
    association = Association(tells=[[], [SUCCESS]])
    pool = running(Association(tells=[[SUCCESS]]), association, hold_last=True)
    pool.step(heard=False)
    assert pool.step(heard=False) == []
    assert (association.closed, pool.working) == (True, True)
    assert len(pool.step(heard=False)) == 1
    assert not pool.working


# --- silence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet_s", "heard", "silent"),
    [
        pytest.param(60, False, False, id="as long as it may be"),
        pytest.param(60.5, False, True, id="longer"),
        pytest.param(60.5, True, False, id="objects have come"),
    ],
)
def test_a_silent_association_is_ended_and_told_as_silent(clock: Clock, quiet_s, heard, silent) -> None:
    association = Association(lasts=True)
    pool = running(association, silence_timeout_s=60)
    clock.now_s += quiet_s
    events = pool.step(heard=heard)
    assert [(type(each), each.silent) for each in events] == [(CutOff, True)] * silent
    assert association.process.endings == silent
    assert pool.working is not silent


def test_an_association_that_ends_by_itself_was_not_silent(clock: Clock) -> None:
    pool = running(Association(), Association(lasts=True))
    clock.now_s += 30
    (cut,) = pool.step(heard=False)
    assert not cut.silent


def test_silence_is_told_with_the_option_that_sets_it() -> None:
    assert silence_words(90.0) == "no response and no object for 90 s (--silence_timeout)"


# --- pauses and the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("associations", "slept_s"),
    [
        pytest.param([Association(lasts=True)], 0.01, id="something runs"),
        pytest.param([], 0.05, id="nothing runs"),
        pytest.param([Association(tells=[[SUCCESS]])], 0, id="an association has ended: the next one begins"),
        pytest.param([Association(tells=[[SUCCESS]]), Association(lasts=True)], 0, id="one of two has ended"),
    ],
)
def test_a_pool_rests_only_while_nothing_can_begin(clock: Clock, associations, slept_s: float) -> None:
    pool = running(*associations)
    pool.step(heard=False)
    before = clock.now_s
    pool.rest()
    assert clock.now_s - before == pytest.approx(slept_s)


def test_what_runs_can_be_ended_and_is_told_as_cut_off(clock: Clock) -> None:
    associations = [Association(lasts=True), Association(lasts=True)]
    pool = running(*associations)
    pool.end()
    assert [each.process.endings for each in associations] == [1, 1]
    assert [(type(each), each.silent) for each in pool.step(heard=False)] == [(CutOff, False)] * 2


def test_a_closed_pool_leaves_nothing_running_and_nothing_waiting(clock: Clock) -> None:
    associations = [Association(lasts=True), Association(lasts=True)]
    pool = running(*associations)
    pool.add([task("1.9.1"), task("1.9.2", first=True)])
    pool.close()
    assert [each.closed for each in associations] == [True, True]
    assert (pool.working, pool.waiting, pool.due()) == (False, False, None)
