"""What the value of an option may be: as text of a command line, and as a value that a program gives.

Both doors, `cli/` and `api`, ask here; nothing behind them looks at a value again.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from pacsifier.errors import Fault, InputError

_KEY: Final = "kind"
_LONGEST_SHOWN: Final = 100


class Kind(NamedTuple):
    """One kind of value: `allowed` says in words what may stand there.

    `of_text` makes the value of a text, `of_value` of what a program gives; both raise ValueError, the second TypeError
    and AttributeError as well, for what is not allowed. A tuple: a dataclass would make every command start later.
    """

    allowed: str
    of_text: Callable[[str], Any]
    of_value: Callable[[Any], Any]


def kind(of: Kind) -> Mapping[str, Kind]:
    """The metadata by which a field of a dataclass says what is allowed in it; a field without is a flag."""
    return {_KEY: of}


def checked(given: Mapping[str, Any], options: type[Any]) -> dict[str, Any]:
    """The options that were given of those of a dataclass, as it takes them.

    None stands for the default where that is None. Raises InputError with a fault for each that is wrong: its name, its
    value, what is allowed.
    """
    faults: list[Fault | str] = []
    values = {}
    for each in fields(options):
        if each.name not in given or (given[each.name] is None and each.default is None):
            continue
        try:
            values[each.name] = taken(each.name, given[each.name], each.metadata.get(_KEY, FLAG))
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(*faults)
    return values


def taken(name: str, value: object, of: Kind) -> Any:
    """One value as it is taken; raises InputError with its name, and what is allowed."""
    try:
        return of.of_value(value)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}={shown(value)}: {of.allowed}") from error


def shown(value: object) -> str:
    """A value as a message shows it: as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# --- kinds of values


def _refuse(value: object) -> Any:
    raise ValueError(value)


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else _refuse(value)


FLAG: Final = Kind("True or False is allowed", _refuse, _flag)


def whole(least: int, allowed: str) -> Kind:
    """Whole numbers from `least`; numbers of numpy are some, truth values are none."""

    def of_value(value: Any) -> int:
        number = operator.index(_refuse(value) if isinstance(value, bool) else value)
        return number if number >= least else _refuse(value)

    def of_text(text: str) -> int:
        return of_value(int(text if text.isascii() and text.isdigit() else _refuse(text)))

    return Kind(allowed, of_text, of_value)


POSITIVE: Final = whole(1, "a whole number from 1 is allowed")


def _seconds(value: Any) -> float:
    seconds = float(_refuse(value) if isinstance(value, str | bool) else value)
    return seconds if 0 < seconds < float("inf") else _refuse(value)


SECONDS: Final = Kind("a number of seconds above 0 is allowed", lambda text: _seconds(float(text)), _seconds)


def _size(text: str) -> int:
    if text == "0":
        return 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?B)", text, re.ASCII | re.IGNORECASE) or _refuse(text)
    return int(float(found[1]) * 1000 ** ("bkmgt".index(found[2][0].lower())))


SIZE: Final = Kind("a size such as 500MB or 2GB is allowed", _size, _refuse)
BYTES: Final = whole(0, "a whole number of bytes from 0 is allowed")


def _uid(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9.]{1,64}", value) else _refuse(value)


UID: Final = Kind("a UID of digits and dots is allowed", _uid, _uid)


def one_of(*words: str) -> Kind:
    """One of these words."""

    def of_value(value: Any) -> str:
        return value if isinstance(value, str) and value in words else _refuse(value)

    return Kind(f"allowed: {', '.join(words)}", of_value, of_value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _refuse(value)


def _path(value: Any) -> Path:
    return Path(value).absolute()


PATH: Final = Kind("a path is allowed", _path, _path)
TEXT: Final = Kind("text is allowed", _text, _text)


def several(of: Kind, into: Callable[[Iterable[Any]], Any], allowed: str) -> Kind:
    """Any number of values of a kind; a text is none, though it has letters."""

    def of_value(value: Any) -> Any:
        return into([of.of_value(each) for each in (_refuse(value) if isinstance(value, str) else value)])

    return Kind(allowed, _refuse, of_value)


def made_by(of: type[Any], allowed: str, parse: Callable[[str], Any] = _refuse) -> Kind:
    """Values of a class, or the texts that `parse` makes them of."""

    def of_value(value: Any) -> Any:
        return value if isinstance(value, of) else parse(_text(value))

    return Kind(allowed, parse, of_value)
