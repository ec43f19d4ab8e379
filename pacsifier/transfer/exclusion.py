"""Patients who must not be fetched: opt-outs and refused consent, by PatientID."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pacsifier.errors import Fault, InputError
from pacsifier.query.csvtext import BLANKS
from pacsifier.query.spreadsheet import as_typed

_HEADER = "patientid"


@dataclass(frozen=True)
class Excluded:
    """PatientIDs, compared without regard to case, width of characters and surrounding blanks.

    `people`: how many these are, of whom one may be spelled in two ways.
    """

    patient_ids: frozenset[str]
    people: int = 0

    def __contains__(self, patient_id: object) -> bool:
        return isinstance(patient_id, str) and _normal(patient_id) in self.patient_ids

    def __len__(self) -> int:
        return len(self.patient_ids)


NOBODY = Excluded(frozenset())


def excluded_of(patient_ids: Excluded | Iterable[str]) -> Excluded:
    """The patients of these PatientIDs; raises ValueError where one is none: empty, or with a wildcard."""
    if isinstance(patient_ids, Excluded):
        return Excluded(frozenset(map(_normal, patient_ids.patient_ids)), patient_ids.people)
    given = [] if isinstance(patient_ids, str) else list(patient_ids)
    sound = [
        each for each in given if isinstance(each, str) and _normal(each) and not set(each) & set("*?\\")
    ]
    if isinstance(patient_ids, str) or sound != given:
        raise ValueError(patient_ids)
    normal = frozenset(map(_normal, sound))
    return Excluded(normal, len(normal))


def load_excluded(path: Path) -> Excluded:
    """Reads a text file of one PatientID a line; a first line `PatientID` is a header, empty lines are skipped.

    Raises:
        InputError: the file cannot be read, names nobody, or a line holds a wildcard or several columns.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise InputError(Fault(str(path), "is not UTF-8 text: save it as UTF-8")) from error
    cells = {number: _unquoted(line.strip()) for number, line in enumerate(lines, 1)}
    if cells and _normal(cells.get(1, "")) == _HEADER:
        del cells[1]
    cells = {number: cell for number, cell in cells.items() if _normal(cell.strip(BLANKS))}
    faults = [
        Fault(
            str(path),
            "one PatientID a line is allowed, no wildcard and no further column",
            number,
            "PatientID",
            cell,
        )
        for number, cell in cells.items()
        if set(cell) & set("*?,;\t\\")
    ]
    faults += [
        Fault(str(path), problem, number, "PatientID", cell)
        for number, cell in cells.items()
        if (problem := as_typed(unicodedata.normalize("NFKC", cell)).problem)
    ]
    if not cells:
        faults = [Fault(str(path), "names no PatientID: one a line is expected")]
    if faults:
        raise InputError(*faults)
    # Signs that only save a text from a spreadsheet may as well belong to it: both are left out.
    spelled = {_normal(each) for cell in cells.values() for each in (cell.strip(BLANKS), as_typed(cell).text)}
    # `=""` says nothing, and is no patient without a PatientID.
    return Excluded(frozenset(spelled - {""}), len({_normal(as_typed(cell).text) for cell in cells.values()}))


def _unquoted(line: str) -> str:
    """A line without the quotation marks of a table, in which those of the text stand twice."""
    return line[1:-1].replace('""', '"') if len(line) > 1 and line[0] == line[-1] == '"' else line


def _normal(patient_id: str) -> str:
    return unicodedata.normalize("NFKC", patient_id.strip("\0")).strip().casefold()
