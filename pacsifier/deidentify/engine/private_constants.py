"""Which private texts are constants of the acquisition: by the standard's safe table, or by their dictionary names."""

from __future__ import annotations

import re
from functools import cache

from pacsifier.deidentify.engine.dictionary import private_name
from pacsifier.deidentify.engine.profile import data_parts, safe_private

_VRS = frozenset(("LO", "SH", "CS"))  # too short for what people write
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def is_constant(tag: int, vr: str, creator: str) -> bool:
    """Whether a maker defines what a private element may hold, as with SequenceName."""
    return vr in _VRS and bool(creator) and _is_constant(tag >> 16, tag & 0xFF, creator)


@cache
def _is_constant(group: int, element: int, creator: str) -> bool:
    if (creator, group, element) in safe_private():
        return True
    return _says_constant(private_name(group << 16 | 0x1000 | element, creator))


def _says_constant(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    constant, never, named = map(_words, ("words", "never", "named"))
    telling = (
        word in never and not (word in named and before in constant)
        for before, word in zip(["", *words], words, strict=False)
    )
    return not constant.isdisjoint(words) and not any(telling)


@cache
def _words(part: str) -> frozenset[str]:
    return frozenset(word for line in data_parts("private_constants.txt")[part] for word in line.split())
