"""The rows of a large table as they stand in its file, compressed: cells that ask for nothing are seldom looked at."""

from __future__ import annotations

import marshal
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

# Neighbours are asked for one after the other: of so few rows one can be had without reading many others.
_ROWS: Final = 32
_FASTEST: Final = 1


def place_of(numbers: Sequence[int], number: int) -> int:
    """The place of a number among ascending ones; raises KeyError where it is none of them."""
    at = bisect_left(numbers, number)
    if at == len(numbers) or numbers[at] != number:
        raise KeyError(number)
    return at


class PackedRows(Mapping[int, tuple[str, ...]]):
    """The cells of each row by its number; 100,000 rows of a series table take 5 MB, as texts some 30."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._blocks: list[bytes] = []
        self._open: list[tuple[str, ...]] = []
        self._last: tuple[int, list[tuple[str, ...]]] = (-1, [])

    def add(self, number: int, cells: Sequence[str]) -> None:
        """Takes the next row; the numbers ascend."""
        self._numbers.append(number)
        self._open.append(tuple(cells))
        if len(self._open) == _ROWS:
            self._blocks.append(zlib.compress(marshal.dumps(self._open), _FASTEST))
            self._open = []

    def _block(self, number: int) -> list[tuple[str, ...]]:
        if number == len(self._blocks):
            return self._open
        if self._last[0] != number:
            self._last = number, marshal.loads(zlib.decompress(self._blocks[number]))  # noqa: S302 - our own bytes
        return self._last[1]

    def __getitem__(self, number: int) -> tuple[str, ...]:
        at = place_of(self._numbers, number)
        return self._block(at // _ROWS)[at % _ROWS]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class SomeRows(Mapping[int, tuple[str, ...]]):
    """Some of the rows of a table; `numbers` ascend."""

    def __init__(self, rows: Mapping[int, tuple[str, ...]], numbers: Sequence[int]) -> None:
        self._rows = rows
        self._numbers = numbers

    def __getitem__(self, number: int) -> tuple[str, ...]:
        place_of(self._numbers, number)
        return self._rows[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
