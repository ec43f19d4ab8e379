"""The errors of pacsifier, sorted by who must act; only `pacsifier.cli` catches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

_Line = TypeVar("_Line")


class PacsifierError(Exception):
    """Anything that pacsifier itself reports; its text is fit for one or more lines on stderr."""


@dataclass(frozen=True)
class Fault:
    """One fault of the user's input: where it stands, what stands there, what is allowed.

    `row` counts as a spreadsheet does (the header is row 1), but from 0 in rows given from Python; `column` is a column
    or a JSON key.
    """

    source: str
    problem: str
    row: int | None = None
    column: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        place = [self.source]
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"{self.column!r}" if self.row is None else f"column {self.column}")
        value = "" if self.value is None else f"{self.value!r}: "
        return f"{', '.join(place)}: {value}{self.problem}"


def first_of(lines: Sequence[_Line], most: int, more: str = "more") -> list[_Line | str]:
    """The first of many lines of a message, and a last one that says how many more there are."""
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} {more}"] if rest > 0 else [])]


class InputError(PacsifierError):
    """The user must fix a config, query file, map, folder or option; holds every fault found."""

    def __init__(self, *faults: Fault | str) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))


class HeldError(InputError):
    """Another run holds the output folder."""


class PacsError(PacsifierError):
    """The far side or the link to it failed."""


class AssociationError(PacsError):
    """No association: the PACS is unreachable, rejects us, or is silent.

    `temporary`: the PACS itself says that it may admit us later (PS3.8 9.3.4, rejected-transient); `said` and `remedy`,
    what happened and what to do about it, are the parts of the text.
    """

    def __init__(self, message: str, *, temporary: bool = False, remedy: str = "") -> None:
        self.temporary = temporary
        self.said = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}" if remedy else message)


class OperationError(PacsError):
    """A DIMSE operation ended with a final status other than Success."""


class ServiceError(PacsifierError):
    """The de-ID service is unreachable, refuses us, or answers what cannot be used; never holds the token."""


class AnswerError(ServiceError):
    """The de-ID service answered, but not for everybody, or not what can be a pseudonym or a day shift."""


class ToolError(PacsifierError):
    """A DCMTK binary is absent, too old, another program of that name, or not understood.

    `said` and `remedy`, what is wrong and what to do about it, are the parts of the text.
    """

    def __init__(self, message: str, *, remedy: str = "", exit_status: int | None = None) -> None:
        self.said = message
        self.remedy = remedy
        self.exit_status = exit_status
        super().__init__(f"{message}; {remedy}" if remedy else message)
