"""Siemens' CSA headers cut to listed numbers, for --safe_private: what is read, and what is written from it anew.

A header of version SV10 is: a magic, how many elements, and for each its name, VR, and items of text with their
lengths. Nothing of the input is copied but texts that are numbers, under names and VRs of our own list
(`csa_numbers.txt`): names that are not listed, texts, and bytes between or behind elements never get through. The older
form without the magic is not read. Source: published descriptions of the layout.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from pacsifier.deidentify.engine.profile import data_lines

CREATOR = "SIEMENS CSA HEADER"
ELEMENTS = frozenset((0x10, 0x20))
"""The elements of the creator's block that hold a header: of the image, and of its series."""
_MAGIC = b"SV10"
_START = struct.Struct("<4s4sII")  # magic, its end, number of elements, a mark
_ELEMENT = struct.Struct("<64sI4sIII")  # name, VM, VR, type, number of items, a mark
_ITEM = struct.Struct("<IIII")  # the length, three times, and a mark
_MARK = 77
_MOST_ELEMENTS, _MOST_ITEMS = 1000, 4096
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_LONGEST_NUMBER = 32


class Element(NamedTuple):
    """An element of a header; `items` are its texts, "" for those without one."""

    name: str
    items: tuple[str, ...]


def cut_to_numbers(raw: bytes, may_stay: Callable[[str], bool]) -> bytes:
    """A header of the listed elements whose texts are all numbers that may stay; empty where there are none."""
    try:
        kept = [each for each in _elements(raw) if _stays(each, may_stay)]
    except (struct.error, ValueError):
        return b""
    return _header(kept) if any(any(each.items) for each in kept) else b""


def _stays(element: Element, may_stay: Callable[[str], bool]) -> bool:
    """Listed elements without a value stay as well: readers tell them from absent ones."""
    texts = (text for text in element.items if text)
    return element.name in listed() and all(is_number(each) and may_stay(each) for each in texts)


def is_number(text: str) -> bool:
    """Whether a text is one number, as long as numbers are that say how an image was made."""
    return len(text) <= _LONGEST_NUMBER and bool(_NUMBER.fullmatch(text))


@cache
def listed() -> dict[str, str]:
    """The VR of each number that stays, by its name."""
    lines = (line.split("\t") for line in data_lines("csa_numbers.txt"))
    return {name: vr for vr, names in lines for name in names.split()}


# --- reading --------------------------------------------------------------------------------------------------------


def _elements(raw: bytes) -> Iterator[Element]:
    """The elements of a header; ValueError and struct.error where it is none."""
    magic, _, count, _ = _START.unpack_from(raw)
    if magic != _MAGIC or count > _MOST_ELEMENTS:
        raise ValueError("no header of version SV10")
    at = _START.size
    for _ in range(count):
        name, _, _, _, items, _ = _ELEMENT.unpack_from(raw, at)
        at += _ELEMENT.size
        if items > _MOST_ITEMS:
            raise ValueError("more items than any header has")
        texts = []
        for _ in range(items):
            text, at = _item(raw, at)
            texts.append(text)
        yield Element(name.partition(b"\0")[0].decode("latin_1"), tuple(texts))


def _item(raw: bytes, at: int) -> tuple[str, int]:
    """The text of an item, and where the next one begins."""
    length = _ITEM.unpack_from(raw, at)[1]
    start = at + _ITEM.size
    if start + length > len(raw):
        raise ValueError("an item is longer than its header")
    text = raw[start : start + length].partition(b"\0")[0].decode("latin_1").strip()
    return text, start + _padded(length)


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


# --- writing --------------------------------------------------------------------------------------------------------


def _header(elements: list[Element]) -> bytes:
    parts = [_START.pack(_MAGIC, b"\4\3\2\1", len(elements), _MARK)]
    for name, items in elements:
        number = sum(1 for text in items if text)
        # The type repeats the VR in numbers of the maker's own, which no reader needs.
        parts.append(_ELEMENT.pack(name.encode(), number, listed()[name].encode(), 0, len(items), _MARK))
        parts += [_written(text) for text in items]
    return b"".join(parts)


def _written(text: str) -> bytes:
    body = text.encode("ascii") + b"\0" if text else b""
    return _ITEM.pack(len(body), len(body), _MARK, len(body)) + body.ljust(_padded(len(body)), b"\0")
