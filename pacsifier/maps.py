"""The maps of the user: who a patient becomes, by how many days dates shift; JSON, one entry per patient.

Here alone stands under which names a map may hold a patient.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pacsifier.config import load_json
from pacsifier.disk.names import patient_folder_name, slug
from pacsifier.errors import Fault, InputError, first_of

_Value = TypeVar("_Value")
Person = tuple[str, str]
"""IssuerOfPatientID and PatientID."""

PREFIX: Final = "sub-"
PSEUDONYM: Final = re.compile(r"[\x20-\x5b\x5d\x5f-\x7e]{1,64}")  # no backslash, no caret
LARGEST_SHIFT_DAYS: Final = 36525
_NAMED: Final = 10


def read_new_ids(path: Path) -> dict[str, str]:
    """The pseudonyms of `--new_ids`: `{"sub-1234": "P0001"}`, by the keys as they stand there.

    Raises InputError with every fault.
    """
    return new_ids_of(str(path), _read(path))


def new_ids_of(source: str, document: Mapping[str, object]) -> dict[str, str]:
    """As `read_new_ids`, of a map that is there already, which messages call `source`."""
    _check_keys(source, document)
    allowed = "a text of 1 to 64 ASCII characters without \\ and ^ is allowed"
    wrong = [
        (key, new) for key, new in document.items() if not isinstance(new, str) or not _is_pseudonym(new)
    ]
    if wrong:
        raise InputError(*(Fault(source, allowed, column=key, value=str(new)) for key, new in wrong))
    return {key: str(new).removeprefix(PREFIX).strip() for key, new in document.items()}


def read_day_shifts(path: Path) -> dict[str, int]:
    """The shifts of `--day_shift`: `{"sub-1234": "-1", "sub-87262": 35}`; raises InputError with every fault."""
    return day_shifts_of(str(path), _read(path))


def day_shifts_of(source: str, document: Mapping[str, object]) -> dict[str, int]:
    """As `read_day_shifts`, of a map that is there already, which messages call `source`."""
    _check_keys(source, document)
    wrong = [(key, days) for key, days in document.items() if not _is_shift(days)]
    if wrong:
        problem = "a whole number of days is allowed"
        raise InputError(*(Fault(source, problem, column=key, value=str(days)) for key, days in wrong))
    return {key: int(str(days)) for key, days in document.items()}


def _read(path: Path) -> dict[str, object]:
    document, repeated = load_json(path)
    if not isinstance(document, dict):
        raise InputError(Fault(str(path), "holds no JSON object ({...})"))
    if repeated:
        raise InputError(*(Fault(str(path), "stands twice", column=key) for key in repeated))
    return document


def _check_keys(source: str, document: Mapping[str, object]) -> None:
    if not_text := [repr(key) for key in document if not isinstance(key, str)]:
        raise InputError(
            *(Fault(source, "names a patient by what is no text", column=key) for key in not_text)
        )
    differing = [key for key in document if document.get(f"{PREFIX}{key}", document[key]) != document[key]]
    if differing:
        problem = "stands with and without sub-, and differs"
        raise InputError(*(Fault(source, problem, column=key) for key in differing))


def _is_pseudonym(text: str) -> bool:
    return bool(PSEUDONYM.fullmatch(text.removeprefix(PREFIX).strip()))


def _is_shift(value: object) -> bool:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,5}", text):
        return False
    return abs(int(text)) <= LARGEST_SHIFT_DAYS


# --- who is meant -----------------------------------------------------------------------------------------------


def settled(people: Iterable[Person]) -> dict[Person, Person]:
    """Each person under the issuer that is theirs: where one issuer is known, no issuer means that one."""
    people = set(people)
    issuers: dict[str, set[str]] = defaultdict(set)
    for issuer, patient_id in people:
        issuers[patient_id] |= {issuer} - {""}
    return {
        (issuer, patient_id): (
            next(iter(known)) if len(known := issuers[patient_id]) == 1 else issuer,
            patient_id,
        )
        for issuer, patient_id in people
    }


def names_in_map(person: Person, *, shared: bool = False, folders: Iterable[str] = ()) -> list[str]:
    """Under which names a map may hold a patient; the first that it holds counts.

    `shared`: other people have that PatientID too, so that only issuer|PatientID is theirs. `folders` are the names of
    the patient's own folders.
    """
    issuer, patient_id = person
    names = [f"{issuer}|{patient_id}", f"{PREFIX}{issuer}|{patient_id}"]
    if shared:
        return names
    if patient_id:
        names += [patient_id, f"{PREFIX}{patient_id}", patient_folder_name(patient_id), slug(patient_id)]
    names += [name for folder in folders for name in (folder, folder.removeprefix(PREFIX))]
    return names


def looked_up(values: Mapping[str, _Value], names: Iterable[str]) -> _Value | None:
    """What a map says under the first of the names that it holds; None where it holds none."""
    return next((values[name] for name in names if name in values), None)


def named(patients: Sequence[str]) -> str:
    """How many, and the first ten: `2 patients: '123', '45'`."""
    told = first_of([repr(each) for each in patients], _NAMED)
    names = " ".join([", ".join(told[:_NAMED]), *told[_NAMED:]])
    return f"{len(patients)} patient{'s' if len(patients) != 1 else ''}: {names}"
