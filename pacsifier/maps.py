"""The maps of the user: who a patient becomes, by how many days dates shift; JSON, an entry a patient."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pacsifier.config import load_json
from pacsifier.errors import Fault, InputError

PREFIX: Final = "sub-"
PSEUDONYM: Final = re.compile(r"[\x20-\x5b\x5d\x5f-\x7e]{1,64}")  # no backslash, no caret
LARGEST_SHIFT_DAYS: Final = 36525


def read_new_ids(path: Path) -> dict[str, str]:
    """The pseudonyms of `--new_ids`: `{"sub-1234": "P0001"}`, by the keys as they stand there.

    Raises InputError with every fault.
    """
    document = _read(path)
    allowed = "a text of 1 to 64 ASCII characters without \\ and ^ is allowed"
    wrong = [
        (key, new) for key, new in document.items() if not isinstance(new, str) or not _is_pseudonym(new)
    ]
    if wrong:
        raise InputError(*(Fault(str(path), allowed, column=key, value=str(new)) for key, new in wrong))
    return {key: str(new).removeprefix(PREFIX).strip() for key, new in document.items()}


def read_day_shifts(path: Path) -> dict[str, int]:
    """The shifts of `--day_shift`: `{"sub-1234": "-1", "sub-87262": 35}`; raises InputError with every fault."""
    document = _read(path)
    wrong = [(key, days) for key, days in document.items() if not _is_shift(days)]
    if wrong:
        problem = "a whole number of days is allowed"
        raise InputError(*(Fault(str(path), problem, column=key, value=str(days)) for key, days in wrong))
    return {key: int(str(days)) for key, days in document.items()}


def _read(path: Path) -> dict[str, object]:
    document, repeated = load_json(path)
    if not isinstance(document, dict):
        raise InputError(Fault(str(path), "holds no JSON object ({...})"))
    differing = [key for key in document if document.get(f"{PREFIX}{key}", document[key]) != document[key]]
    faults = [Fault(str(path), "stands twice", column=key) for key in repeated]
    faults += [Fault(str(path), "stands with and without sub-, and differs", column=key) for key in differing]
    if faults:
        raise InputError(*faults)
    return document


def _is_pseudonym(text: str) -> bool:
    return bool(PSEUDONYM.fullmatch(text.removeprefix(PREFIX).strip()))


def _is_shift(value: object) -> bool:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,5}", text):
        return False
    return abs(int(text)) <= LARGEST_SHIFT_DAYS
