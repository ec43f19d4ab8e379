"""The mutation probe: it calls killed only what a test noticed, and survived only what none did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mutation
import pytest


def probe(folder: Path, module: str, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "toy.py").write_text(module)
    (folder / "test_toy.py").write_text(tests)
    argv = [sys.executable, mutation.__file__, "toy.py", "--tests", "test_toy.py", "-j", "2", *options]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


LARGER = "def larger(a, b):\n    return a if a > b else b\n"
TEST_LARGER = (
    "from toy import larger\n\n\ndef test_larger():\n    assert (larger(1, 2), larger(2, 1)) == (2, 2)\n"
)


@pytest.mark.parametrize(("percent", "status"), [("50", 0), ("51", 1)])
def test_a_change_that_no_test_notices_is_told_and_counts_against_the_module(
    tmp_path, percent, status
) -> None:
    done = probe(tmp_path, LARGER, TEST_LARGER, "--at-least", percent)
    assert sorted(done.stdout.splitlines()) == [
        "toy.py: 1 of 2 killed, 50.0 %",
        "toy.py:2: killed: a > b  ->  a <= b",
        "toy.py:2: survived: a > b  ->  a >= b",
    ]
    assert done.returncode == status
    assert (tmp_path / "toy.py").read_text() == LARGER


def test_a_change_that_never_ends_is_killed(tmp_path) -> None:
    module = "def drained(n):\n    while n:\n        n = n - 1\n    return n\n"
    tests = "from toy import drained\n\n\ndef test_drained():\n    assert drained(3) == 0\n"
    done = probe(tmp_path, module, tests, "--limit", "3", "--at-least", "100")
    assert "toy.py:3: killed by the time limit: n - 1  ->  n + 1" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ("def test_nothing():\n    pass\n", "never import"),
        ("import toy\n\n\ndef test_wrong():\n    assert toy.larger(1, 2) == 1\n", "fail without any change"),
    ],
)
def test_tests_that_can_say_nothing_are_refused(tmp_path, tests, words) -> None:
    done = probe(tmp_path, LARGER, tests)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("x = a == b", ["a != b"]),
        ("x = a < b", ["a <= b", "a >= b"]),
        ("x = a <= b < c", ["a < b < c", "a > b < c", "a <= b <= c", "a <= b >= c"]),
        ("x = a not in b", ["a in b"]),
        ("x = a is None", ["a is not None"]),
        ("x = a and b and c", ["a or b or c"]),
        ("x = not a", ["not not a"]),
        ("x = a if b else c", ["not b"]),
        ("x = a if not b else c", ["not not b"]),
        ("x = [a for a in b if a]", ["not a"]),
        ("if a == b:\n    c()", ["a != b"]),
        ("x = a + 1", ["a - 1", "a + 2"]),
        ("x -= 1", ["x += 1", "x -= 2"]),
        ("x = -a", ["+a"]),
        ("x = a == True", ["a != True"]),
        ("def f():\n    return True", ["return False"]),
        ("if TYPE_CHECKING:\n    import a", []),
        ("def f(a: int | None = 3) -> str: ...", []),
    ],
)
def test_every_kind_of_change_is_made_once(source, changed) -> None:
    assert [each.after for each in mutation.mutants(source)] == changed
