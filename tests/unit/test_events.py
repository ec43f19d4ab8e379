"""Events for programs: not too many of them, and none that says what it cannot know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pacsifier.cli.events import Events, _seconds_left
from pacsifier.errors import AnswerError, Fault, InputError, ToolError

SECRET = "SECRET^NAME"


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_work_that_goes_fast_is_told_of_at_its_start_and_its_end(capsys):
    events = Events("x", wanted=True)
    for done in range(1001):
        events.progress("transfer", done, 1000, bytes=done)
    for _ in range(1000):
        events.progress("transfer", 1000, 1000, bytes=1000)
    assert [event["done"] for event in told(capsys)] == [0, 1000]


def test_each_stage_is_told_of(capsys):
    events = Events("x", wanted=True)
    for stage in ("looking up rows", "looking up studies", "transfer"):
        events.progress(stage, 1, 2)
    assert [event["stage"] for event in told(capsys)] == ["looking up rows", "looking up studies", "transfer"]


@pytest.mark.parametrize(
    ("passed_s", "done", "total", "left"),
    [(10, 5, 10, 10.0), (10, 0, 10, None), (0.1, 5, 10, None), (10, 10, 10, 0.0), (10, 5, None, None)],
)
def test_the_time_left_is_told_once_it_can_be_known(passed_s, done, total, left):
    assert _seconds_left(passed_s, done, total) == left


@pytest.mark.parametrize("identities", [False, True])
@pytest.mark.parametrize(
    "error", [InputError(Fault("q.csv", f"not {SECRET}", 2, "PatientName", SECRET)), ValueError(SECRET)]
)
def test_what_ended_a_command_is_told_without_the_value_that_it_quotes(capsys, identities, error):
    def work() -> int:
        raise error

    events = Events("x", wanted=True, identities=identities)
    with pytest.raises(type(error)):
        events.watched(work)
    assert events.summary(2) == 2
    (summary,) = told(capsys)
    assert summary["error"]["kind"] == type(error).__name__
    assert (SECRET in json.dumps(summary)) == (identities and isinstance(error, InputError))


@pytest.mark.parametrize("identities", [False, True])
@pytest.mark.parametrize("error", [InputError(f"{SECRET} twice"), AnswerError(f"nothing for {SECRET}")])
def test_an_error_that_names_a_patient_in_its_words_is_only_named(capsys, identities, error):
    def work() -> int:
        raise error

    events = Events("x", wanted=True, identities=identities)
    assert events.run([], work) > 0
    captured = capsys.readouterr()
    assert SECRET in captured.err
    assert (SECRET in captured.out) is identities


def test_what_a_person_must_do_is_told_to_the_program_too(capsys):
    def work() -> int:
        raise ToolError("no findscu", remedy="install DCMTK")

    events = Events("x", wanted=True)
    with pytest.raises(ToolError):
        events.watched(work)
    events.summary(4)
    assert told(capsys)[0]["error"]["message"] == "no findscu; install DCMTK"


@pytest.mark.parametrize("identities", [False, True])
def test_remarks_that_quote_cells_are_only_counted(capsys, identities):
    Events("x", wanted=True, identities=identities).warnings((f"row 2: {SECRET}", "row 3: x"), "remarks")
    events = told(capsys)
    assert len(events) == (2 if identities else 1)
    assert (SECRET in json.dumps(events)) is identities
