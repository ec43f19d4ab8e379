"""The soak in small: what hours of random kills would lose, seen in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import soak


def test_random_kills_of_both_sides_lose_nothing_and_leave_nothing(capsys):
    assert soak.main(["--instances", "400", "--minutes", "0.2", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert "all 400 instances: in place, once, byte for byte" in told
    assert "disturbances: {}" not in told
