"""Who the patients are, and who they become: pseudonyms and day shifts from maps, from the key, or drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath

from pacsifier.deidentify.engine import dates, uids
from pacsifier.deidentify.engine.identifiers import Identifiers, name_words
from pacsifier.deidentify.engine.profile import Options
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.key import Key, Shifts
from pacsifier.deidentify.scan import Facts
from pacsifier.deidentify.selection import Reason
from pacsifier.disk.names import patient_folder_name, slug
from pacsifier.errors import Fault, InputError
from pacsifier.maps import PREFIX, PSEUDONYM

NEW_ID_FILE = "new_id.txt"


@dataclass
class Patient:
    """One person of the input: issuer and PatientID, the files, and the `sub-` folders they lie in."""

    issuer: str
    patient_id: str
    files: list[Facts] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        """How maps and the key name the person."""
        return f"{self.issuer}|{self.patient_id}" if self.issuer else self.patient_id

    def days(self) -> Iterable[tuple[str, str, str]]:
        """Birth date, age and a day of each study met."""
        for facts in self.files:
            for day in facts.days or ("",):
                yield facts.birth_date, facts.age, day


@dataclass
class Maps:
    """What the user gave: pseudonyms and day shifts by patient; None where nothing was given."""

    new_ids: Mapping[str, str] | None = None
    day_shifts: Mapping[str, int] | None = None


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


def sort_out(files: Iterable[Facts]) -> tuple[dict[str, Patient], dict[str, Reason]]:
    """The patients of readable files by key, and the files of refused folders and patients with the reason."""
    files = list(files)
    persons = _persons(files)
    refused: dict[str, Reason] = {}
    units: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for facts in files:
        units[unit_of(facts.path)].add(persons[facts.person])
    patients: dict[str, Patient] = {}
    for facts in files:
        unit, person = unit_of(facts.path), persons[facts.person]
        if unit and len(units[unit]) > 1:
            names = " and ".join(sorted(f"{issuer}|{one}".strip("|") for issuer, one in units[unit]))
            refused[facts.path] = Reason(
                "refused: a folder with more than one patient", f"in {unit}: {names}"
            )
            continue
        patient = patients.setdefault("|".join(person), Patient(*person))
        patient.files.append(facts)
        if unit.rpartition("/")[2].startswith(PREFIX):
            patient.folders.add(unit)
    patients = {patient.key: patient for patient in patients.values()}
    for key, patient in list(patients.items()):
        if _is_two_people(patient):
            reason = Reason("refused: one PatientID with two names and two birth dates", patient.patient_id)
            refused.update((facts.path, reason) for facts in patients.pop(key).files)
    return patients, refused


def _persons(files: list[Facts]) -> dict[tuple[str, str], tuple[str, str]]:
    """Each person met under the issuer that is theirs: where one issuer is known, no issuer means that one."""
    issuers: dict[str, set[str]] = defaultdict(set)
    for facts in files:
        issuers[facts.person[1]].add(facts.person[0])
    persons = {}
    for issuer, patient_id in {facts.person for facts in files}:
        told = issuers[patient_id] - {""}
        persons[issuer, patient_id] = (next(iter(told)) if len(told) == 1 else issuer, patient_id)
    return persons


def _is_two_people(patient: Patient) -> bool:
    """Whether one PatientID stands for people who share neither birth date nor any word of their names."""
    met: dict[str, set[str]] = defaultdict(set)
    for facts in patient.files:
        if dates.parse(facts.birth_date) and facts.patient_name:
            met[facts.birth_date] |= name_words(facts.patient_name)
    people = list(met.values())
    return any(not one & other for at, one in enumerate(people) for other in people[at + 1 :])


# --- maps of the user -------------------------------------------------------------------------------------------


def _looked_up(patient: Patient, mapping: Mapping[str, object], ambiguous: bool) -> object | None:
    """What a map says of a patient, under any of the names it may have there."""
    named = f"{patient.issuer}|{patient.patient_id}"
    names = [named, f"{PREFIX}{named}"]
    if not ambiguous or not patient.issuer:
        names += [
            patient.patient_id,
            f"{PREFIX}{patient.patient_id}",
            patient_folder_name(patient.patient_id),
        ]
        names += [slug(patient.patient_id)]
        folders = sorted(PurePath(folder).name for folder in patient.folders)
        names += [name for folder in folders for name in (folder, folder.removeprefix(PREFIX))]
    return next((mapping[name] for name in names if name in mapping), None)


# --- who becomes who --------------------------------------------------------------------------------------------


def choose_pseudonyms(
    patients: dict[str, Patient], maps: Maps, key: Key, in_folder: Path, taken: set[str]
) -> dict[str, Reason]:
    """Settles the pseudonym of every patient in the key; gives the patients refused, with the reason.

    From the map; without a map from `new_id.txt` in the patient's folder, the key, or the next free number; `taken`
    are names of folders that may not be met by a new number. Raises InputError for a patient missing from the map
    and for two patients that would become one.
    """
    refused: dict[str, Reason] = {}
    faults: list[Fault | str] = []
    by_id: dict[str, int] = defaultdict(int)
    for patient in patients.values():
        by_id[patient.patient_id] += 1
    chosen: dict[str, str] = {}
    for name, patient in sorted(
        patients.items(), key=lambda item: min(facts.path for facts in item[1].files)
    ):
        ambiguous = by_id[patient.patient_id] > 1
        new = _given(patient, maps, in_folder, ambiguous, faults)
        if new is None and maps.new_ids is not None:
            if ambiguous:
                refused[name] = Reason(
                    "refused: two issuers under one PatientID; a map must name them issuer|PatientID"
                )
            else:
                faults.append(Fault("--new_ids", "this patient is missing from the map", value=patient.key))
            continue
        chosen[name] = new or key.pseudonyms.get(name) or _next_number(key, chosen, taken)
    faults += _clashes(chosen, key)
    if faults:
        raise InputError(*faults)
    key.pseudonyms.update(chosen)
    return refused


def _given(
    patient: Patient, maps: Maps, in_folder: Path, ambiguous: bool, faults: list[Fault | str]
) -> str | None:
    """What the map or the patient's folder says."""
    if maps.new_ids is not None and (found := _looked_up(patient, maps.new_ids, ambiguous)) is not None:
        return str(found)
    for folder in sorted(patient.folders):
        path = in_folder / folder / NEW_ID_FILE
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").strip().removeprefix(PREFIX)
            if PSEUDONYM.fullmatch(text):
                return text
            faults.append(Fault(str(path), "a text of 1 to 64 ASCII characters without \\ and ^ is allowed"))
    return None


def _next_number(key: Key, chosen: Mapping[str, str], taken: set[str]) -> str:
    used = {*key.pseudonyms.values(), *chosen.values(), *taken}
    number = 1 + max((int(each) for each in used if each.isdigit() and len(each) <= 6), default=0)
    return f"{number:06d}"


def _clashes(chosen: Mapping[str, str], key: Key) -> Iterable[Fault]:
    """Two patients, of this run or an earlier one, whose pseudonyms or folders would be the same."""
    holders: dict[str, str] = {}
    for person, new in {**key.pseudonyms, **chosen}.items():
        other = holders.setdefault(slug(new).casefold(), person)
        if other != person and (person in chosen or other in chosen):
            yield Fault("pseudonyms", f"{other} and {person} would become one patient", value=new)


def choose_shifts(patients: Mapping[str, Patient], maps: Maps, key: Key) -> None:
    """Settles the shifts of every patient in the key; raises InputError for one missing from the map."""
    faults: list[Fault | str] = []
    for name, patient in patients.items():
        drawn = uids.drawn_shift(key.secret, name)
        given = None
        if maps.day_shifts is not None:
            found = _looked_up(patient, maps.day_shifts, ambiguous=False)
            if found is None:
                faults.append(Fault("--day_shift", "this patient is missing from the map", value=patient.key))
                continue
            given = int(str(found))
        before = key.shifts.get(name)
        drawn_anew = Shifts(given or drawn, drawn if given is None else given)
        shifts = before if before and given is None else drawn_anew
        shifts.birth_date_emptied |= bool(before and before.birth_date_emptied) or has_telling_age(patient)
        key.shifts[name] = shifts
    if faults:
        raise InputError(*faults)


def has_telling_age(patient: Patient) -> bool:
    """Whether the patient is under 2 or above 89 years of age at any study met."""
    for birth_text, age_text, day_text in patient.days():
        age = dates.age_in_years(age_text)
        if age is not None and (age < dates.YOUNGEST_AGE_YEARS or age >= dates.OLDEST_AGE_YEARS + 1):
            return True
        birth, day = dates.parse(birth_text), dates.parse(day_text)
        if birth and day:
            years = dates.years_between(birth, day)
            if years < dates.YOUNGEST_AGE_YEARS or years > dates.OLDEST_AGE_YEARS:
                return True
    return False


def subject_of(name: str, key: Key, known: Identifiers, options: Options, birth_dates: set[str]) -> Subject:
    """The patient as the engine needs it."""
    shifts = key.shifts[name]
    date_days = shifts.date_days if options.fuzz_dates else 0
    moved = {}
    for day in known.days:
        days = shifts.birth_date_days if day in birth_dates else date_days
        gone = day in birth_dates and (shifts.birth_date_emptied or options.basic)
        moved[day] = "0" * len(day) if gone else dates.shift_date(day, days) or "0" * len(day)
    return Subject(
        name,
        key.pseudonyms[name],
        date_days,
        shifts.birth_date_days,
        shifts.birth_date_emptied,
        known,
        moved,
    )
