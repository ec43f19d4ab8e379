"""A disk that is about to be full is told of before it is, and never written full."""

from __future__ import annotations

from pathlib import Path

from pacsifier.disk.files import free_bytes
from pacsifier.transfer.fetch.space import DiskWatch
from pacsifier.transfer.options import Observer


class Said(Observer):
    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


def test_a_run_is_stopped_while_there_is_still_room_for_its_logs(tmp_path: Path) -> None:
    reason = DiskWatch(tmp_path, free_bytes(tmp_path) * 2, Said()).look(0, 0, lambda: 0)
    assert "--min_free" in reason
    assert "--resume" in reason


def test_what_will_not_fit_is_told_as_soon_as_sizes_are_known(tmp_path: Path) -> None:
    said, size = Said(), 10_000_000
    ahead = 2 * free_bytes(tmp_path) // size
    assert DiskWatch(tmp_path, 0, said).look(20, 20 * size, lambda: ahead) == ""
    assert len(said.words) == 1
    assert "MB are still to come" in said.words[0]


def test_what_fits_is_not_worth_a_word(tmp_path: Path) -> None:
    said = Said()
    assert DiskWatch(tmp_path, 0, said).look(20, 20, lambda: 1) == ""
    assert DiskWatch(tmp_path, 0, said).look(1, 10**15, lambda: 100) == "", "one object is no sample"
    assert said.words == []
