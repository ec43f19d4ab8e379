"""Where nobody can take what is printed, a command ends as it would have: with its exit status, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "pacsifier" / "cli").glob("*.py")
    if "def main(" in path.read_text(encoding="utf-8")
)
_PRINTS = """
import sys
from pacsifier.cli import streams
streams.secure()
print({text!r} * {times})
print({text!r} * {times}, file=sys.stderr)
sys.exit({status})
"""


def _ended(argv: list[str], streams: str) -> subprocess.CompletedProcess[bytes]:
    """A command with its streams changed by the shell; stdout and stderr come back as they were left."""
    line = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, *argv]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "streams", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&-", ">&- 2>&-", "<&- >&- 2>&-"]
)
@pytest.mark.parametrize("times", [1, 100_000])
@pytest.mark.parametrize("status", [0, 1])
def test_a_full_disk_or_a_closed_stream_leaves_the_exit_status(streams, times, status):
    done = _ended(["-c", _PRINTS.format(text="x", times=times, status=status)], streams)
    assert done.returncode == status
    assert {*done.stdout, *done.stderr} <= {*b"x\n"}, done


@pytest.mark.parametrize("times", [1, 100_000])
@pytest.mark.parametrize("status", [0, 1])
def test_a_reader_that_has_gone_leaves_the_exit_status(times, status):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as gone:
        argv = [sys.executable, "-c", _PRINTS.format(text="x", times=times, status=status)]
        done = subprocess.run(argv, stdout=gone, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == status
    assert {*done.stderr} <= {*b"x\n"}, done


@pytest.mark.parametrize("command", COMMANDS)
def test_the_version_on_a_full_disk_is_no_fault_of_any_command(command):
    # The wrappers are one command of several names.
    name = "docker_pacsifier" if command == "docker" else command
    program = (
        f"import sys; sys.argv[0] = {name!r}; from pacsifier.cli.{command} import main; sys.exit(main())"
    )
    done = _ended(["-c", program, "--version"], ">/dev/full")
    assert (done.returncode, done.stderr) == (0, b"")
