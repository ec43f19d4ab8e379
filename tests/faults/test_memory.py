"""The memory benchmark in small: what 100,000 series would cost, seen in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import memory


def test_five_thousand_more_series_need_little_more_memory(capsys):
    # About 1.1 kB a series; dicts and a table built as one text took 5 kB.
    ended = memory.main(["--series", "1001", "6001", "--shape", "one", "--limit", "9"])
    assert ended == 0, capsys.readouterr().out
