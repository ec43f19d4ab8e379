"""What a person at a terminal, and whoever reads the log file of a job, sees of a run."""

from __future__ import annotations

import io
import sys

import pytest

from pacsifier.cli import common, ticker
from pacsifier.cli.progress import Console
from pacsifier.cli.ticker import Ticker


class Stream(io.StringIO):
    """A stream that is a terminal or none."""

    def __init__(self, text: str = "", *, terminal: bool) -> None:
        super().__init__(text)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(ticker.time, "monotonic", lambda: now[0])
    return now


def stderr(monkeypatch, *, terminal: bool) -> Stream:
    """In the test itself: pytest sets the stream anew after the fixtures."""
    stream = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    # A job of CI may have a terminal that says it cannot move its lines.
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_a_log_file_gets_a_line_now_and_then_and_no_more(clock, monkeypatch):
    err = stderr(monkeypatch, terminal=False)
    with Ticker() as shown:
        for done in range(1, 62):
            clock[0] += 1
            shown("files read", done, 0 if done < 40 else 70)
    assert err.getvalue() == "30 files read\n60/70 files read\n"


def test_a_terminal_gets_one_line_that_is_gone_at_the_end(clock, monkeypatch):
    err = stderr(monkeypatch, terminal=True)
    with Ticker() as shown:
        for done in (1, 2, 3):
            clock[0] += 0.15
            shown("files read", done, 3)
    assert err.getvalue() == "\r\033[K2/3 files read\r\033[K"


def test_a_long_find_is_not_silent(clock, monkeypatch):
    err = stderr(monkeypatch, terminal=False)
    with Console() as console:
        for answered in range(0, 5001, 100):
            clock[0] += 1
            console.finding("STUDY", answered, 5000, answered + 7)
        clock[0] += 31
        console.finding("SERIES", 1, 40, 3)
    assert err.getvalue() == (
        "looking up rows: 2900/5000, 2907 studies found, 21 s left\nlooking up studies: 1/40, 3 series found\n"
    )


def test_a_transfer_tells_a_log_file_series_and_instances(clock, monkeypatch):
    err = stderr(monkeypatch, terminal=False)
    with Console() as console:
        console.planned(4, 20)
        clock[0] += 31
        console.progress(1, 7)
        console.progress(2, 8)
        console.say("2 series are incomplete")
    assert err.getvalue() == "1/4 series, 7/20 instances\n2 series are incomplete\n"


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_a_yes_of_a_person_is_a_yes(typed, answer, monkeypatch):
    err = stderr(monkeypatch, terminal=True)
    monkeypatch.setattr(sys, "stdin", Stream(typed, terminal=True))
    assert common.ask("Fetch them all?") is answer
    assert err.getvalue() == "Fetch them all? [y/N] "


@pytest.mark.parametrize("stdin", [None, Stream("y\n", terminal=False)])
@pytest.mark.parametrize("terminal", [True, False])
def test_where_nobody_can_answer_nobody_is_asked_and_a_run_goes_on(stdin, terminal, monkeypatch):
    err = stderr(monkeypatch, terminal=terminal)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert common.ask("Fetch them all?") is None
    assert err.getvalue() == ""
    assert Console().confirm("Fetch them all?")
