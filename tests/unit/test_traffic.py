"""How fast a run may go: the PACS gets no more associations than it bears, none too early, none outside the hours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.transfer.capabilities import Capabilities
from pacsifier.transfer.fetch import traffic as module
from pacsifier.transfer.fetch.traffic import Traffic
from pacsifier.transfer.options import Hours, Observer, Options, Rate

NOON = datetime(2026, 3, 29, 12)


class Clock:
    """A clock that only the test, or a sleep, moves on."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def now(self) -> datetime:
        """Noon when the test begins."""
        return NOON + timedelta(seconds=self.now_s - 1000)


class Ear(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, message: str) -> None:
        self.heard.append(message)


Made = Callable[..., Traffic]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time stands still, and a wait of a repeat is as long as its mean."""
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "datetime", SimpleNamespace(now=made.now))
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    return made


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def make(clock: Clock, ear: Ear) -> Made:
    """A traffic whose repeats wait 10, 20, 40 and 80 s."""

    def made(**options) -> Traffic:
        return Traffic(Options(save=True, timeouts=Timeouts(retry_wait_s=10), **options), ear)

    return made


def startable(traffic: Traffic) -> int:
    """How many associations may run at a time now."""
    return next(number for number in range(100) if not traffic.may_start(number))


@pytest.mark.parametrize(
    ("asked", "admitted", "most"),
    [(4, None, 4), (4, 2, 2), (2, 4, 2), (1, 1, 1)],
)
def test_there_are_never_more_associations_than_asked_for_and_admitted(
    make: Made, asked, admitted, most
) -> None:
    traffic = make(associations=asked, capabilities=Capabilities(associations=admitted))
    assert traffic.most == most
    for running in range(1, 9):
        traffic.answered(running)
    assert startable(traffic) == most


def test_a_second_association_starts_only_once_the_first_was_answered(make: Made) -> None:
    traffic = make(associations=4)
    seen = [startable(traffic)]
    for running in (1, 2, 1, 3):
        traffic.answered(running)
        seen.append(startable(traffic))
    assert seen == [1, 2, 3, 3, 4]


@pytest.mark.parametrize(("running", "most"), [(0, 1), (1, 1), (2, 2)])
def test_after_a_rejection_no_more_are_tried_than_ran(make: Made, ear: Ear, running: int, most: int) -> None:
    traffic = make(associations=4)
    for each in (1, 2, 3):
        traffic.answered(each)
    traffic.rejected(running)
    assert (traffic.most, startable(traffic)) == (most, most)
    traffic.answered(3)
    assert startable(traffic) == most
    assert ear.heard == [f"the PACS admits {most} association(s) at a time: no more will be tried"]


# --- no association ----------------------------------------------------------------------------------------------


def test_after_each_loss_nothing_starts_for_twice_as_long_and_then_the_run_gives_up(
    make: Made, clock: Clock
) -> None:
    traffic = make(associations=2)
    for wait_s in (10, 20, 40, 80):
        assert traffic.lost()
        clock.now_s += wait_s - 0.1
        assert not traffic.may_start(0)
        clock.now_s += 0.1
        assert traffic.may_start(0)
    assert not traffic.lost()


def test_associations_that_are_lost_together_count_as_one_loss(make: Made, clock: Clock) -> None:
    traffic = make(associations=4)
    for _ in range(9):
        assert traffic.lost()
    clock.now_s += 10
    assert traffic.may_start(0)


def test_a_loss_while_the_rate_makes_the_next_start_wait_is_a_loss(make: Made, clock: Clock) -> None:
    traffic = make(rate=Rate(1))
    traffic.brought(5, 0, since=clock.now_s)
    assert traffic.lost()
    clock.now_s += 9
    assert not traffic.may_start(0)


def test_after_a_loss_one_association_shows_whether_the_pacs_is_back(make: Made, clock: Clock) -> None:
    traffic = make(associations=4)
    for running in (1, 2, 3):
        traffic.answered(running)
    traffic.lost()
    clock.now_s += 10
    assert startable(traffic) == 1
    traffic.answered(1)
    assert startable(traffic) == 2


def test_an_answer_makes_the_next_loss_the_first_again(make: Made, clock: Clock) -> None:
    traffic = make()
    for _ in range(20):
        assert traffic.lost()
        clock.now_s += 10
        assert traffic.may_start(0)
        traffic.answered(1)


# --- the rate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "pause_s"),
    [
        pytest.param(None, 0, id="as fast as it goes"),
        pytest.param(Rate(2), 10, id="20 instances at 2 a second"),
        pytest.param(Rate(1000, in_bytes=True), 40, id="40,000 bytes at 1000 a second"),
    ],
)
def test_the_next_start_waits_until_the_work_has_taken_as_long_as_the_rate_says(
    make: Made, clock: Clock, rate, pause_s
) -> None:
    traffic = make(rate=rate)
    assert traffic.one_request_each is (rate is not None)
    traffic.brought(20, 40_000, since=clock.now_s)
    if pause_s:
        clock.now_s += pause_s - 0.1
        assert not traffic.may_start(0)
        clock.now_s += 0.1
    assert traffic.may_start(0)


def test_time_that_the_work_took_counts_and_two_at_a_time_share_the_rate(make: Made, clock: Clock) -> None:
    traffic = make(rate=Rate(1), associations=2)
    began = clock.now_s
    clock.now_s += 4
    traffic.brought(10, 0, since=began)
    traffic.brought(10, 0, since=began)
    clock.now_s = began + 19.9
    assert not traffic.may_start(0)
    clock.now_s = began + 20
    assert traffic.may_start(0)


# --- the hours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "open_"), [("08:00-18:00", True), ("19:00-06:00", False)])
def test_nothing_starts_outside_the_hours(make: Made, hours: str, open_: bool) -> None:
    traffic = make(hours=Hours.parse(hours))
    assert traffic.may_start(0) is open_


def test_that_the_hours_are_over_is_said_once_each_time(make: Made, clock: Clock, ear: Ear) -> None:
    traffic = make(hours=Hours.parse("13:00-14:00"))
    for hour in (0, 0.5, 1, 2.5, 3, 25, 26.5):
        clock.now_s = 1000 + hour * 3600
        traffic.may_start(0)
    assert ear.heard == ["outside --hours 13:00:00-14:00:00: nothing starts until 13:00:00"] * 3


def test_finds_wait_for_the_hours_and_no_longer(make: Made, clock: Clock) -> None:
    traffic = make(hours=Hours.parse("12:01-14:00"))
    traffic.wait_until_open()
    assert 60 <= clock.now_s - 1000 < 61
    slept = len(clock.slept)
    traffic.wait_until_open()
    assert len(clock.slept) == slept
