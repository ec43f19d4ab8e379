"""What the tasks on Slurm make of events: the words of a command itself, also where it never said its last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pacsifier.cli.events import Events
from pacsifier.errors import HeldError, InputError

SCRIPT = Path(__file__).resolve().parents[2] / "pacsifier" / "slurm" / "told.py"


def told(what: str, *paths: Path) -> list[str]:
    argv = [sys.executable, str(SCRIPT), what, *map(str, paths)]
    return subprocess.run(argv, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()


@pytest.fixture
def path(tmp_path: Path, capsys) -> Path:
    """The events of a run that is on its way, and begins with more than anybody reads."""
    events = Events("pacsifier", wanted=True)
    events.started(["save"])
    for _ in range(1000):
        events.warning("x" * 100)
    for done in range(3):
        events.progress("transfer", done, 400)
        events._told = 0.0
    (tmp_path / "events").write_text(capsys.readouterr().out, encoding="utf-8")
    return tmp_path / "events"


def add(path: Path, capsys) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(capsys.readouterr().out)


def test_a_run_on_its_way_tells_how_far_it_is(path):
    assert told("progress", path) == ["2/400|-|-"]


def test_a_line_that_is_being_written_is_passed_over(path):
    with path.open("a", encoding="utf-8") as file:
        file.write('{"event": "progress", "done": 3')
    assert told("progress", path, path.with_name("none")) == ["2/400|-|-", "-|-|-"]


def test_the_last_word_is_that_of_the_summary(path, capsys):
    events = Events("pacsifier", wanted=True)
    events.result(rows={"complete": 3, "failed": 1})
    events.summary(1)
    add(path, capsys)
    assert told("progress", path) == ["2/400|-|3 complete,1 failed"]
    assert told("error", path) == [""]


@pytest.mark.parametrize(("error", "kind"), [(HeldError("x"), "HeldError"), (InputError("x"), "InputError")])
def test_a_folder_that_is_held_is_told_from_other_mistakes(path, capsys, error, kind):
    def work() -> int:
        raise error

    assert Events("pacsifier", wanted=True).run([], work) == 2
    add(path, capsys)
    assert told("error", path) == [kind]
