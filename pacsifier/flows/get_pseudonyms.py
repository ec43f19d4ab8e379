"""Pseudonyms and day shifts for the patients of a project: from the de-ID service, or from a mapping of the user's.

All checks come before the first write; the files appear whole, all of them, or not at all.
"""

from __future__ import annotations

import json
import logging
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsifier.config import load_json
from pacsifier.disk.files import write_all_whole
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.names import pseudonym_paths, slug
from pacsifier.errors import AnswerError, Fault, InputError
from pacsifier.figures import counted
from pacsifier.flows.deid_service import Answers
from pacsifier.maps import PREFIX, named
from pacsifier.query.attributes import QUERY_COLUMNS
from pacsifier.query.cells import NEW_IDS, read_cell
from pacsifier.query.csvtext import BLANKS, NumberedRow
from pacsifier.query.table import QueryTable, read_query_file
from pacsifier.query.workbook import read_rows

log = logging.getLogger(__name__)

LARGEST_DRAWN_DAYS: Final = 30
_LONGEST_PROJECT: Final = 100
_EMPTY_MAPPING: Final = "is empty: lines of two columns are expected, the old pseudonym and the new one"
_HEADER_NAMES: Final = frozenset(name.lower() for name in (*QUERY_COLUMNS, NEW_IDS, "new_id", "old_id"))

Ask = Callable[[list[str]], Answers]


@dataclass(frozen=True)
class Written:
    """The outcome of a run: how many patients, the files that changed, all its files, notes for the user."""

    patients: int
    changed: tuple[Path, ...]
    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def check_project(project: str) -> None:
    """Raises InputError for a project name that cannot be part of a file name."""
    problem = ""
    if not project.strip():
        problem = "is blank"
    elif len(project.encode()) > _LONGEST_PROJECT:
        problem = f"is longer than {_LONGEST_PROJECT} bytes"
    elif "/" in project or "\\" in project or any(unicodedata.category(each)[0] == "C" for each in project):
        problem = "holds /, \\ or an invisible character"
    if problem:
        raise InputError(f"--project_name {project!r} {problem}: it becomes part of file names")


# --- from the service -------------------------------------------------------------------------------------------


def from_service(table: QueryTable, project: str, folder: Path, ask: Ask) -> Written:
    """Asks for every patient of a query file and writes pseudonyms, day shifts and the log.

    Patients of an earlier run stay in the files. Raises InputError for rows without a patient, or when the service
    now contradicts an earlier file; ServiceError and AnswerError as `ask` does, or for pseudonyms that
    cannot be used.
    """
    patients = patients_of(table)
    with OutputLock(folder):
        paths = pseudonym_paths(folder, project)
        earlier_ids, earlier_shifts = _earlier_texts(paths[0]), _earlier_shifts(paths[1])
        answers = ask(list(dict.fromkeys(patients.values())))
        _check_answers(answers.pseudonyms)
        _check_unchanged(paths[0], earlier_ids, answers.pseudonyms)
        _check_unchanged(paths[1], earlier_shifts, answers.shifts)
        new_ids = {**earlier_ids, **answers.pseudonyms}
        _check_unique(new_ids, paths[0])
        files = {
            paths[0]: _json(new_ids),
            paths[1]: _json({**earlier_shifts, **answers.shifts}),
            paths[2]: _log(table, patients, answers),
        }
        changed = write_all_whole(files)
    kept = len(new_ids) - len(answers.pseudonyms)
    notes = (
        (
            f"{counted(kept, 'patient of earlier runs was', 'patients of earlier runs were')} kept in the files",
        )
        if kept
        else ()
    )
    return Written(len(answers.pseudonyms), changed, paths, notes)


def read_patients(path: Path, *, extra_columns: bool = False) -> QueryTable:
    """Reads a query file whose every row names a patient; raises InputError with every fault."""
    table = read_query_file(path, extra_columns=extra_columns)
    patients_of(table)
    return table


def patients_of(table: QueryTable) -> dict[int, str]:
    """The PatientID of each row, by row number; raises InputError naming rows that have none, or a wildcard."""
    source = str(table.path)
    cells = table.patient_ids()
    by_row = {row: cell.text for row, cell in cells.items()}
    faults = [
        Fault(source, problem, row, "PatientID", cell.text)
        for row, cell in cells.items()
        for problem in cell.problems
    ]
    for row, patient in by_row.items():
        if not patient:
            problem = "is empty: a pseudonym can be had for a PatientID only"
            faults.append(Fault(source, problem, row, "PatientID"))
        elif "*" in patient or "?" in patient:
            problem = "a wildcard stands for no patient: write every PatientID in a row of its own"
            faults.append(Fault(source, problem, row, "PatientID", patient))
    if faults:
        raise InputError(*faults)
    return by_row


def _check_answers(pseudonyms: Mapping[str, str]) -> None:
    """Raises AnswerError for pseudonyms that are empty, that nothing can be named after, or given twice."""
    empty = [patient for patient, new in pseudonyms.items() if not new.strip()]
    useless = [patient for patient, new in pseudonyms.items() if new.strip() and any(_problems(new))]
    twins = [patient for group in _twins(pseudonyms) for patient in group]
    messages = [
        f"the service gave {what} for {named(patients)}; nothing was written"
        for what, patients in (
            ("an empty pseudonym", empty),
            ("a pseudonym that is no valid LO or names no folder", useless),
            ("one pseudonym twice", twins),
        )
        if patients
    ]
    if messages:
        raise AnswerError("\n".join(messages))


def _check_unchanged(path: Path, earlier: Mapping[str, object], now: Mapping[str, object]) -> None:
    differing = [patient for patient in now if patient in earlier and earlier[patient] != now[patient]]
    if differing:
        raise InputError(
            f"{path} says otherwise than the service does now for {named(differing)}; data may have been shared "
            f"under the earlier values: move the file away to take the new ones. Nothing was written"
        )


def _check_unique(pseudonyms: Mapping[str, str], path: Path) -> None:
    twins = [patient for group in _twins(pseudonyms) for patient in group]
    if twins:
        raise InputError(f"{path} of an earlier run and this one give one pseudonym to {named(twins)}")


def _twins(pseudonyms: Mapping[str, str]) -> Iterator[list[str]]:
    """Patients that would share a pseudonym or, on some file systems, a folder."""
    groups: dict[str, list[str]] = {}
    for patient, new in pseudonyms.items():
        if new.strip():
            groups.setdefault(slug(new.strip()).casefold(), []).append(patient)
    return (group for group in groups.values() if len(group) > 1)


def _log(table: QueryTable, patients: Mapping[int, str], answers: Answers) -> str:
    """The rows of the query beside what they were given."""
    import pandas as pd

    rows = pd.DataFrame([table.raw[row] for row in patients], index=list(patients), columns=table.columns)
    of = pd.Series(patients)
    given = {"NewPseudonym": of.map(answers.pseudonyms), "DayShift": of.map(answers.shifts)}
    text: str = pd.concat([rows, pd.DataFrame(given)], axis="columns").to_csv(
        index=False, lineterminator="\r\n"
    )
    return text


# --- from a mapping of the user's ---------------------------------------------------------------------------------


def from_mapping(
    mapping: Mapping[str, str], project: str, folder: Path, *, shift_days: bool, new_shifts: bool
) -> Written:
    """Writes the pseudonyms of a mapping, and day shifts: 0, or drawn where an earlier file has none.

    Raises InputError when drawn shifts of an earlier run would be lost.
    """
    with OutputLock(folder):
        paths = pseudonym_paths(folder, project)[:2]
        earlier_ids, earlier_shifts = _earlier_texts(paths[0]), _earlier_shifts(paths[1])
        if not shift_days and any(earlier_shifts.values()):
            raise InputError(
                f"{paths[1]} holds day shifts of an earlier run, which would become 0: give --shift-days to keep "
                f"them, or move the file away"
            )
        if shift_days:
            kept = (
                {} if new_shifts else {key: earlier_shifts[key] for key in mapping if key in earlier_shifts}
            )
            drawn = {patient: _draw() for patient in mapping if patient not in kept}
            shifts = {**earlier_shifts, **kept, **drawn}
            notes = [*_shift_notes(kept, drawn, len(set(earlier_shifts) - set(mapping)))]
        else:
            shifts, notes = dict.fromkeys(mapping, 0), []
        differing = [key for key, new in mapping.items() if earlier_ids.get(key, new) != new]
        if differing:
            notes.append(f"an earlier {paths[0].name} gave other pseudonyms to {named(differing)}: replaced")
        changed = write_all_whole({paths[0]: _json(mapping), paths[1]: _json(shifts)})
    return Written(len(mapping), changed, paths, tuple(notes))


def _draw() -> int:
    """A day shift from -30 to 30 days, but not 0, which would leave every date as it was."""
    number = secrets.randbelow(2 * LARGEST_DRAWN_DAYS) - LARGEST_DRAWN_DAYS
    return number if number < 0 else number + 1


def _shift_notes(kept: Mapping[str, int], drawn: Mapping[str, int], others: int) -> Iterator[str]:
    if kept:
        zeros = sum(not days for days in kept.values())
        which = f" ({zeros} of them 0)" if zeros else ""
        whose = counted(len(kept), "patient")
        yield f"day shifts of an earlier run were kept for {whose}{which}; --new_shifts draws again"
    if drawn:
        yield f"day shifts were drawn for {counted(len(drawn), 'patient')}"
    if others:
        yield f"day shifts of {others} patients that are not in the mapping were kept"


def read_mapping(path: Path) -> dict[str, str]:
    """The pseudonym of each patient, in the order of the file: two columns, no header.

    Raises InputError with every fault at once: line, what stands there, what is allowed. A line that repeats
    another one word for word is no fault.
    """
    source = str(path)
    rows = tuple(read_rows(path, (), empty=_EMPTY_MAPPING))
    faults = [fault for row in rows for fault in _row_faults(source, row)]
    faults += _header_fault(source, rows[0])
    mapping: dict[str, str] = {}
    lines: dict[str, int] = {}
    holders: dict[str, str] = {}
    for row in rows:
        cells = _texts(row)
        if len(cells) != 2 or not all(cells):
            continue
        old, new = cells
        old = old.removeprefix(PREFIX)
        if mapping.setdefault(old, new) != new:
            problem = f"the patient of this line has another pseudonym in line {lines[old]}: {mapping[old]!r}"
            faults.append(Fault(source, problem, row.number, "2", new))
        holder = holders.setdefault(slug(new).casefold(), old)
        if holder != old:
            problem = f"names the same folder as the pseudonym in line {lines[holder]}, of another patient"
            faults.append(Fault(source, problem, row.number, "2", new))
        lines.setdefault(old, row.number)
    if faults:
        raise InputError(*sorted(faults, key=lambda fault: fault.row or 0))
    return mapping


_COLUMNS: Final = ("PatientID", NEW_IDS)


def _texts(row: NumberedRow) -> list[str]:
    """What the cells of a line say; the second of two is a pseudonym."""
    columns = (*_COLUMNS, *[NEW_IDS] * len(row.cells))
    return [read_cell(column, cell).text for column, cell in zip(columns, row.cells, strict=False)]


def _row_faults(source: str, row: NumberedRow) -> Iterator[Fault]:
    if len(row.cells) != 2:
        number = counted(len(row.cells), "column")
        yield Fault(source, f"{number}, two are expected: the old pseudonym and the new one", row.number)
        return
    for i, (column, raw) in enumerate(zip(_COLUMNS, row.cells, strict=True)):
        name, cell = str(i + 1), read_cell(column, raw, dated=i in row.dates)
        if not cell.text:
            yield Fault(source, "the cell is empty", row.number, name)
            continue
        problems = dict.fromkeys((*cell.problems, *(_as_name_problems(cell.text) if name == "2" else ())))
        yield from (Fault(source, each, row.number, name, raw.strip(BLANKS)) for each in problems)


def _problems(new: str) -> Iterable[str]:
    """What keeps a text from being a pseudonym: it becomes a PatientID, part of a name, and a folder."""
    yield from read_cell(NEW_IDS, new).problems
    yield from _as_name_problems(new)


def _as_name_problems(new: str) -> Iterator[str]:
    if not new.isascii() or "^" in new:
        yield "only ASCII characters without ^ are allowed in a pseudonym: it becomes a PatientName too"


def _header_fault(source: str, row: NumberedRow) -> Iterator[Fault]:
    header = [each for each in _texts(row) if each.lower().replace(" ", "") in _HEADER_NAMES]
    if header:
        problem = "looks like a header, and the file has none: remove the line"
        yield Fault(source, problem, row.number, value=header[0])


# --- the files ----------------------------------------------------------------------------------------------------


def _json(values: Mapping[str, str | int]) -> str:
    keyed = {f"{PREFIX}{patient}": value for patient, value in values.items()}
    return json.dumps(keyed, indent=4, ensure_ascii=False) + "\n"


def _earlier_texts(path: Path) -> dict[str, str]:
    earlier = _earlier(path)
    if not all(isinstance(value, str) for value in earlier.values()):
        raise _stranger(path)
    return {patient: str(value) for patient, value in earlier.items()}


def _earlier_shifts(path: Path) -> dict[str, int]:
    try:
        earlier = _earlier(path)
        if any(isinstance(value, bool) for value in earlier.values()):
            raise _stranger(path)
        return {patient: int(str(value)) for patient, value in earlier.items()}
    except ValueError:
        raise _stranger(path) from None


def _earlier(path: Path) -> dict[str, object]:
    """What a file of an earlier run holds, by PatientID; nothing where there is none."""
    if not path.exists():
        return {}
    document, _ = load_json(path)
    if not isinstance(document, dict):
        raise _stranger(path)
    return {key.removeprefix(PREFIX): value for key, value in document.items()}


def _stranger(path: Path) -> InputError:
    return InputError(f"{path} is not what an earlier run wrote, and would be lost: move it away")
