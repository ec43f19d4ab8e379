"""Who the patients are: people told apart by issuer, PatientID, and the folders their files lie in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePath

from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.identifiers import name_words
from pacsifier.deidentify.model import Facts, Left, Patient, Reason
from pacsifier.maps import PREFIX, settled
from pacsifier.query import WHOLE, Shard

_Person = tuple[str, str]


def unit_of(path: str) -> str:
    """The folder that must hold one patient: the nearest `sub-` one, else that of the file; "" for the root."""
    return _unit_of_folder(path.rpartition("/")[0])


@lru_cache(maxsize=4096)
def _unit_of_folder(folder: str) -> str:
    parts = PurePath(folder).parts
    for at in range(len(parts), 0, -1):
        if parts[at - 1].startswith(PREFIX):
            return str(PurePath(*parts[:at]))
    return str(PurePath(*parts)) if parts else ""


def adopted(files: Iterable[Facts]) -> dict[_Person, _Person]:
    """Of each person without PatientID, who has no other study than that of one patient, this patient."""
    files = list(files)
    by_study: dict[str, dict[_Person, list[Facts]]] = defaultdict(lambda: defaultdict(list))
    for facts in files:
        if facts.study_uid:
            by_study[facts.study_uid][facts.person].append(facts)
    found: dict[_Person, _Person] = {}
    for people in by_study.values():
        named = [person for person, each in people.items() if each[0].patient_id]
        if not named or len(set(settled(named).values())) > 1:
            continue
        for person, theirs in people.items():
            both = Patient(*named[0], (*people[named[0]], *theirs))
            if not theirs[0].patient_id and not _is_two_people(both):
                found[person] = named[0]
    return found


def sort_out(files: Iterable[Facts], shard: Shard = WHOLE) -> tuple[dict[str, Patient], tuple[Left, ...]]:
    """The patients of this part by key, and the files of refused folders and patients of all parts.

    Takes readable files of all parts: a folder of two patients is refused in whatever parts they are.
    """
    files = list(files)
    persons = settled(facts.person for facts in files)
    units: dict[str, set[_Person]] = defaultdict(set)
    for facts in files:
        units[unit_of(facts.path)].add(persons[facts.person])
    left: list[Left] = []
    held: dict[_Person, list[Facts]] = defaultdict(list)
    for facts in files:
        unit = unit_of(facts.path)
        if unit and len(units[unit]) > 1:
            left.append(Left(facts.path, _two_in_one_folder(unit, units[unit])))
        else:
            held[persons[facts.person]].append(facts)
    patients = [_patient(person, each) for person, each in held.items()]
    accepted: dict[str, Patient] = {}
    for patient in patients:
        if _is_two_people(patient):
            reason = Reason("refused: one PatientID with two names and two birth dates", patient.patient_id)
            left += [Left(facts.path, reason) for facts in patient.files]
        elif shard.holds(patient.patient_id):
            accepted[patient.key] = patient
    return accepted, tuple(left)


def _two_in_one_folder(unit: str, persons: Iterable[_Person]) -> Reason:
    names = " and ".join(sorted(f"{issuer}|{one}".strip("|") for issuer, one in persons))
    return Reason("refused: a folder with more than one patient", f"in {unit}: {names}")


def _patient(person: _Person, files: list[Facts]) -> Patient:
    units = {unit_of(facts.path) for facts in files}
    folders = frozenset(unit for unit in units if unit.rpartition("/")[2].startswith(PREFIX))
    return Patient(*person, tuple(files), folders)


def _is_two_people(patient: Patient) -> bool:
    """Whether one PatientID stands for people who share neither birth date nor any word of their names."""
    met: dict[str, set[str]] = defaultdict(set)
    for facts in patient.files:
        if dates.parse(facts.birth_date) and facts.patient_name:
            met[facts.birth_date] |= name_words(facts.patient_name)
    people = list(met.values())
    return any(not one & other for at, one in enumerate(people) for other in people[at + 1 :])
