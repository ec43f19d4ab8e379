"""What a content item says of somebody, by the code of its concept name: a birth date, an age, an identity."""

from __future__ import annotations

from enum import Enum
from functools import cache, lru_cache
from typing import NamedTuple

from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.profile import data_parts
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Coding
from pacsifier.dicom.text import decode_text

CONCEPT_NAME, UNITS = 0x0040A043, 0x004008EA
CODE_VALUES = (0x00080100, 0x00080119, 0x00080120)  # short, long, and as a URN
CODING_SCHEME, CODE_MEANING = 0x00080102, 0x00080104
_ITEM = 0xFFFEE000


class Role(Enum):
    """What a content item says of somebody."""

    NOTHING = ""
    BIRTH_DATE = "birth date"
    AGE = "age"
    IDENTITY = "identity"


class Says(NamedTuple):
    """What a content item says of somebody, and the code of the unit of its number."""

    role: Role = Role.NOTHING
    unit: str = ""


NOTHING = Says()


def of_code(said: Says, tag: int, value: str, scheme: str, meaning: str) -> Says:
    """What an item says after the code of its concept name or of its unit was read, `said` before."""
    if tag == CONCEPT_NAME:
        role = _role(value, scheme, meaning)
        return NOTHING if role is Role.NOTHING else said._replace(role=role)
    # Of a measured value it stands below the concept name, else before it.
    return said._replace(unit=value)


def of_items(said: Says, tag: int, raw: bytes, coding: Coding, character_sets: bytes) -> Says:
    """The same from the bytes of the sequence that has the code."""
    found: dict[int, str] = {}
    pos = 0
    try:
        while pos < len(raw):
            each, _, start, length = part10.header(raw, pos, coding)
            if each == _ITEM:
                pos = start
                continue
            if each > CODE_VALUES[-1] or start + length > len(raw):
                break
            found[each] = decode_text(raw[start : start + length], character_sets).strip(" \0")
            pos = start + length
    except part10.BrokenError:
        # The walk through the items tells.
        return said
    value = next(filter(None, map(found.get, CODE_VALUES)), "")
    return of_code(said, tag, value, found.get(CODING_SCHEME, ""), found.get(CODE_MEANING, ""))


@cache
def _roles() -> dict[str, Role]:
    return {line: Role(name) for name, lines in data_parts("concepts.txt").items() for line in lines}


@lru_cache(maxsize=1 << 12)
def _role(value: str, scheme: str, meaning: str) -> Role:
    by_code = _roles().get(f"{scheme} {value}")
    return by_code or _roles().get(f"meaning {fold_for_search(meaning).strip()}", Role.NOTHING)
