"""What a terminal gets to see: no colour where none is wanted, letters that it has, no steering where nothing moves."""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pacsifier.cli import streams

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STEERING = re.compile(r"\x1b\[")
# A run as it shows itself, without a PACS: rows are looked up, a bar moves to its end, a line is said meanwhile.
SHOWN = """
import sys
from pathlib import Path
from pacsifier.cli import streams
streams.secure()
from pacsifier.cli.progress import Console
from pacsifier.disk.names import shown
with Console() as console:
    console.planned(4, 40)
    for done in range(5):
        console.progress(done, done * 10)
    console.say(f"left: {shown(Path('/data/sub-1/ses-2'))}")
"""


def _at_a_terminal(argv: list[str], environment: Mapping[str, str]) -> str:
    """What a program writes to a terminal of 80 columns."""
    ours, its = pty.openpty()
    try:
        with subprocess.Popen(
            argv, stdin=its, stdout=its, stderr=its, env={**_bare(), **environment}, close_fds=True
        ) as process:
            os.close(its)
            its = -1
            said = _all_of(ours)
            assert process.wait(timeout=60) == 0, said
    finally:
        os.close(ours)
        if its >= 0:
            os.close(its)
    return said.decode("utf-8", "replace")


def _bare() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    return {**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8"}


def _all_of(file: int) -> bytes:
    parts = []
    while True:
        try:
            part = os.read(file, 65536)
        except OSError as error:
            # A terminal that nobody holds any more.
            if error.errno == errno.EIO:
                break
            raise
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def _shown(**environment: str) -> str:
    return _at_a_terminal([sys.executable, "-c", SHOWN], environment)


def test_a_terminal_gets_a_bar_in_colours():
    said = _shown()
    assert COLOUR.search(said)
    assert "4/4 series, 40/40 instances" in COLOUR.sub("", said)


def test_no_color_takes_the_colours_and_leaves_the_bar():
    said = _shown(NO_COLOR="1")
    assert not any(code not in ("\x1b[0m", "\x1b[m") and _is_colour(code) for code in COLOUR.findall(said))
    assert "4/4 series, 40/40 instances" in COLOUR.sub("", said)


def _is_colour(code: str) -> bool:
    """Whether a sequence sets a colour: 30 to 49 and 90 to 107; bold and the like are none."""
    numbers = [int(number or 0) for number in code[2:-1].split(";")]
    return any(30 <= number <= 49 or 90 <= number <= 107 for number in numbers)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_lines_is_not_steered(term):
    assert not STEERING.search(_shown(TERM=term))


def test_what_is_no_terminal_gets_neither_colour_nor_steering():
    for forced in ({}, {"FORCE_COLOR": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", SHOWN],
            env={**_bare(), **forced},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0
        assert not STEERING.search(done.stdout + done.stderr)


def test_a_terminal_of_ascii_gets_words_and_a_bar_of_ascii():
    said = _shown(LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert said.isascii()
    assert "left: /data/sub-.../ses-2" in said
    assert "\\u2026" not in said


def test_a_terminal_of_latin_1_gets_its_own_letters():
    program = "from pacsifier.cli import streams; streams.secure(); print('Zo\\xe9 \\u2026 \\u0161')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**_bare(), "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == b"Zo\xe9 ... \\u0161\n"


@pytest.mark.parametrize("columns", [72, 100])
def test_help_takes_the_width_that_the_person_names(columns):
    said = _at_a_terminal(
        [sys.executable, "-m", "pacsifier.cli.anonymize", "--help"], {"COLUMNS": str(columns)}
    )
    lines = [line.rstrip() for line in said.splitlines()]
    assert columns - 12 < max(map(len, lines)) <= columns
    assert not STEERING.search(said)


def test_every_kind_of_error_ends_with_what_to_do_next(capsys):
    from pacsifier import errors
    from pacsifier.cli import common

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PacsifierError)
    ]
    for kind in kinds:

        def fail(kind: type[errors.PacsifierError] = kind) -> int:
            raise kind("it failed")

        common.run(fail, "pacsifier")
        first, last = capsys.readouterr().err.splitlines()
        assert first == "pacsifier: it failed"
        assert "run the same command again" in last or "pacsifier --check" in last, kind


def test_a_stream_is_steered_only_where_it_can_be(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert streams.moves(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not streams.moves(Terminal())
    with Path(os.devnull).open() as file:
        monkeypatch.setenv("TERM", "xterm")
        assert not streams.moves(file)
