"""Who the patients become: pseudonyms and day shifts from maps, the key, or drawn; the key keeps all of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path, PurePath
from typing import TypeVar

from pacsifier.deidentify.engine import dates, uids
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher, words_of
from pacsifier.deidentify.engine.lexicon import can_be_believed
from pacsifier.deidentify.engine.profile import Options, Profile
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.key import Key, Shifts
from pacsifier.deidentify.model import NEW_ID_FILE, Facts, Left, Patient, Reason, Request
from pacsifier.deidentify.scan import Gathered, Scanner
from pacsifier.disk.names import slug
from pacsifier.errors import Fault, InputError
from pacsifier.maps import PREFIX, PSEUDONYM, looked_up, names_in_map

_ACCEPTING_PATIENTS = 3
_SAME_BEGINNING = 4
_LIKE = 0.85

_Given = TypeVar("_Given")


@dataclass(frozen=True)
class Settled:
    """The patients who become somebody, by key, and the files of those who are refused."""

    patients: Mapping[str, Patient]
    left: tuple[Left, ...]


def settle(patients: Mapping[str, Patient], request: Request, key: Key, gathered: Gathered) -> Settled:
    """Enters into the key who every patient becomes, and the words that may stay; raises InputError."""
    out, maps = request.out_folder.resolve(), request.maps
    taken = set() if request.in_place else _numbers_in(out)
    given = given_pseudonyms(patients, maps.new_ids, request.in_folder)
    if not request.allow_identifying_ids and (faults := identifying(patients, given)):
        raise InputError(*faults)
    chosen, refused = choose_pseudonyms(
        patients,
        given,
        key.pseudonyms,
        taken=taken,
        ids=frozenset(patient.patient_id for patient in patients.values()),
        by_map=maps.new_ids is not None,
        place=lambda name: uids.drawn_place(key.secret, name),
    )
    accepted = {name: patient for name, patient in patients.items() if name not in refused}
    shifts = choose_shifts(accepted, maps.day_shifts, key.shifts, key.secret)
    key.pseudonyms.update(chosen)
    key.shifts.update(shifts)
    for name, patient in accepted.items():
        key.add_studies(chosen[name], _new_studies(patient, request.options, key.secret))
    key.words |= {fold_for_search(word) for word in request.kept_words}
    key.shared_words.update(spread_words(gathered))
    key.options[out.name] = asdict(request.options)
    left = [Left(facts.path, reason) for name, reason in refused.items() for facts in patients[name].files]
    return Settled(accepted, tuple(left))


def _numbers_in(out: Path) -> set[str]:
    """Pseudonyms that folders of the output have already, from a run with another key."""
    return {path.name.removeprefix(PREFIX) for path in out.iterdir() if path.name.startswith(PREFIX)}


def _new_studies(patient: Patient, options: Options, secret: bytes) -> set[str]:
    olds = {facts.study_uid for facts in patient.files}
    return olds if options.retain_uids else {uids.new_uid(secret, old) if old else old for old in olds}


def vocabulary_of(key: Key, gathered: Gathered) -> Vocabulary:
    """The words that may stay in descriptions of this run."""
    met = _met_words(gathered)
    return Vocabulary(key.words, _unlike(key.shared_words, met), met, gathered.staff)


def spread_words(gathered: Gathered) -> dict[str, int]:
    """Words of descriptions that at least three patients share, and that look like nobody and no place met here.

    With the number of these patients. What the vocabulary holds, or says to be a name, needs no number.
    """
    holders: Counter[str] = Counter()
    for words in gathered.words.values():
        holders.update(words)
    shared = {word: number for word, number in holders.items() if number >= _ACCEPTING_PATIENTS}
    return _unlike(
        {word: number for word, number in shared.items() if can_be_believed(word)}, _met_words(gathered)
    )


def _met_words(gathered: Gathered) -> set[str]:
    """The folded words of everybody, every institution and device met, and of who stands behind a title."""
    known = (word for each in gathered.known.values() for word in each.words | each.wholes | each.people)
    return gathered.barred_words | words_of(known)


def _unlike(shared: Mapping[str, int], met: Collection[str]) -> dict[str, int]:
    """The words that are not spelled much like one that was met."""
    beginnings: dict[str, list[str]] = defaultdict(list)
    for word in met:
        beginnings[word[:_SAME_BEGINNING]].append(word)
    return {
        word: number
        for word, number in shared.items()
        if not any(_is_like(word, each) for each in beginnings[word[:_SAME_BEGINNING]])
    }


def _is_like(word: str, other: str) -> bool:
    longer = max(len(word), len(other))
    return word == other or (
        longer > _SAME_BEGINNING
        and abs(len(word) - len(other)) <= 2
        and SequenceMatcher(None, word, other, autojunk=False).ratio() >= _LIKE
    )


# --- a run that is resumed --------------------------------------------------------------------------------------


def check_resumed(request: Request, key: Key, made: Iterable[Facts]) -> None:
    """Raises InputError where the options or the key are not those of the run that is resumed.

    `made` is what earlier runs have written. Another key would give its patients second pseudonyms.
    """
    options = asdict(request.options)
    if key.options.get(request.out_folder.resolve().name, options) != options:
        raise InputError("--resume: the options must be those of the run that is resumed")
    earlier = iter(made)
    first = next(earlier, None)
    if first is None or any(
        key.has_made(each.patient_id, each.study_uid) for each in chain([first], earlier)
    ):
        return
    path, out = request.key, request.out_folder
    if not path.exists():
        raise InputError(
            f"--resume: {out} holds images that were de-identified with a key, and there is none at {path}; "
            "bring it back there, or name its place with --key"
        )
    raise InputError(
        f"--resume: {path} is not the key that the images in {out} were de-identified with; name that one with "
        "--key, or take another output folder"
    )


def made_in(out: Path, profile: Profile) -> Iterator[Facts]:
    """What earlier runs have written into an output of its own: an image of each study, read as it is asked for."""
    scanner = Scanner(profile)
    for study in out.glob("sub-*/*"):
        image = next(study.glob("*/*.dcm"), None)
        if image is not None:
            yield scanner.scan(out, str(image.relative_to(out)))


# --- pseudonyms -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """What the user says of a patient's pseudonym; `ambiguous`: another issuer has the same PatientID."""

    pseudonym: str | None = None
    ambiguous: bool = False
    faults: tuple[Fault, ...] = ()
    source: str = ""


def given_pseudonyms(
    patients: Mapping[str, Patient], new_ids: Mapping[str, str] | None, in_folder: Path
) -> dict[str, Given]:
    """What the map says, else `new_id.txt` in the patient's folder."""
    by_id = Counter(patient.patient_id for patient in patients.values())
    given: dict[str, Given] = {}
    for name, patient in patients.items():
        ambiguous = by_id[patient.patient_id] > 1
        found = _looked_up(patient, new_ids or {}, ambiguous)
        told = _told_by_folders(patient, in_folder, ambiguous)
        given[name] = told if found is None else Given(str(found), ambiguous, _differing(str(found), told))
    return given


def _differing(found: str, told: Given) -> tuple[Fault, ...]:
    """The fault of a map and a `new_id.txt` that name a patient differently."""
    if told.pseudonym in (None, found):
        return ()
    problem = f"differs from --new_ids, which says {found!r}: correct one of them, or remove the file"
    return (Fault(told.source, problem, value=told.pseudonym),)


def identifying(patients: Mapping[str, Patient], given: Mapping[str, Given]) -> list[Fault]:
    """The given pseudonyms that tell who somebody is: they are or hold a PatientID of this run."""
    ids = {fold_for_search(patient.patient_id) for patient in patients.values()}
    # One search for the IDs of everybody: a pattern for each patient and pseudonym would be a hundred million.
    anybody = _finding(patient.patient_id for patient in patients.values())
    faults = []
    for name, patient in patients.items():
        new = fold_for_search(given[name].pseudonym or "")
        what = ""
        if new in ids:
            what = "is the PatientID of a patient of this run"
        elif new and anybody.spans(new):
            own = _finding([patient.patient_id]).spans(new)
            what = "holds the PatientID" if own else "holds the PatientID of another patient of this run"
        if what and new:
            remedy = "choose another one, or insist with --allow_identifying_ids"
            faults.append(
                Fault(f"pseudonym of {patient.key}", f"{what}: {remedy}", value=given[name].pseudonym)
            )
    return faults


def _finding(ids: Iterable[str]) -> Matcher:
    """Finds PatientIDs that are long enough inside other text."""
    known = Identifiers()
    for each in ids:
        known.add_id(each)
    return Matcher(replace(known, wholes=set()), {})


def _looked_up(patient: Patient, mapping: Mapping[str, _Given], ambiguous: bool) -> _Given | None:
    """What a map says of a patient, under any of the names it may have there."""
    person = patient.issuer, patient.patient_id
    folders = sorted(PurePath(folder).name for folder in patient.folders)
    shared = ambiguous and bool(patient.issuer)
    return looked_up(mapping, names_in_map(person, shared=shared, folders=folders))


def _told_by_folders(patient: Patient, in_folder: Path, ambiguous: bool) -> Given:
    faults: list[Fault] = []
    for folder in sorted(patient.folders):
        path = in_folder / folder / NEW_ID_FILE
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").strip().removeprefix(PREFIX)
            if PSEUDONYM.fullmatch(text):
                return Given(text, ambiguous, tuple(faults), str(path))
            faults.append(Fault(str(path), "a text of 1 to 64 ASCII characters without \\ and ^ is allowed"))
    return Given(None, ambiguous, tuple(faults))


def choose_pseudonyms(
    patients: Mapping[str, Patient],
    given: Mapping[str, Given],
    known: Mapping[str, str],
    *,
    taken: Collection[str] = (),
    by_map: bool = False,
    ids: Collection[str] = (),
    place: Callable[[str], str] = str,
) -> tuple[dict[str, str], dict[str, Reason]]:
    """The pseudonym of every patient, and the patients refused, with the reason.

    What is given, else the one of the key (`known`), else the next free number; `taken` are names of folders, `ids` the
    PatientIDs of the run, which a new number may not meet; `place` says in which order numbers are drawn. Raises
    InputError for a patient missing from the map, where there is one (`by_map`), and for two patients that would become
    one.
    """
    refused: dict[str, Reason] = {}
    faults: list[Fault | str] = []
    chosen: dict[str, str] = {}
    for name, patient in sorted(patients.items(), key=lambda item: place(item[0])):
        said = given[name]
        faults += said.faults
        if said.pseudonym is None and by_map and said.ambiguous:
            refused[name] = Reason(
                "refused: two issuers under one PatientID; a map must name them issuer|PatientID"
            )
        elif said.pseudonym is None and by_map:
            faults.append(Fault("--new_ids", "this patient is missing from the map", value=patient.key))
        else:
            chosen[name] = said.pseudonym or known.get(name) or _next_number(known, chosen, taken, ids)
    faults += _clashes(chosen, known)
    if faults:
        raise InputError(*faults)
    return chosen, refused


def _next_number(
    known: Mapping[str, str], chosen: Mapping[str, str], taken: Collection[str], ids: Collection[str]
) -> str:
    used = {*known.values(), *chosen.values(), *taken}
    number = 1 + max((int(each) for each in used if each.isdecimal() and len(each) <= 6), default=0)
    while f"{number:06d}" in ids:
        number += 1
    return f"{number:06d}"


def _clashes(chosen: Mapping[str, str], known: Mapping[str, str]) -> Iterator[Fault]:
    """Two patients, of this run or an earlier one, whose pseudonyms or folders would be the same."""
    holders: dict[str, str] = {}
    for person, new in {**known, **chosen}.items():
        other = holders.setdefault(slug(new).casefold(), person)
        if other != person and (person in chosen or other in chosen):
            yield Fault("pseudonyms", f"{other} and {person} would become one patient", value=new)


# --- shifts -----------------------------------------------------------------------------------------------------


def choose_shifts(
    patients: Mapping[str, Patient],
    day_shifts: Mapping[str, int] | None,
    known: Mapping[str, Shifts],
    secret: bytes,
) -> dict[str, Shifts]:
    """The shifts of every patient: of the map, else of the key (`known`), else drawn.

    Raises InputError for a patient missing from the map.
    """
    faults: list[Fault | str] = []
    chosen: dict[str, Shifts] = {}
    for name, patient in patients.items():
        found = None if day_shifts is None else _looked_up(patient, day_shifts, ambiguous=False)
        if day_shifts is not None and found is None:
            faults.append(Fault("--day_shift", "this patient is missing from the map", value=patient.key))
            continue
        drawn = uids.drawn_shift(secret, name)
        before = known.get(name)
        shifts = Shifts(drawn, drawn) if before is None else before
        if found is not None:
            given = int(str(found))
            # The birth date never stays as it is.
            shifts = Shifts(given or drawn, given)
        emptied = bool(before and before.birth_date_emptied) or has_telling_age(patient)
        chosen[name] = replace(shifts, birth_date_emptied=emptied)
    if faults:
        raise InputError(*faults)
    return chosen


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


# --- as the engine needs them -----------------------------------------------------------------------------------


def subjects_of(
    patients: Mapping[str, Patient], gathered: Gathered, key: Key, options: Options
) -> dict[str, Subject]:
    """The patients as the engine needs them, with everything known of each, by key."""
    return {
        name: _subject(name, patient, _known_of(patient, gathered), key, options)
        for name, patient in patients.items()
    }


def _known_of(patient: Patient, gathered: Gathered) -> Identifiers:
    known = Identifiers()
    for person in {facts.person for facts in patient.files}:
        known.merge(gathered.known.get(person, Identifiers()))
    for folder in patient.folders:
        known.add_id(PurePath(folder).name.removeprefix(PREFIX))
    return known


def _subject(name: str, patient: Patient, known: Identifiers, key: Key, options: Options) -> Subject:
    shifts = key.shifts[name]
    date_days = shifts.date_days if options.fuzz_dates else 0
    written_as_da = {facts.birth_date for facts in patient.files}
    moved = {}
    for day in known.days:
        days = shifts.birth_date_days if day in known.births else date_days
        gone = day in known.births and (
            shifts.birth_date_emptied or options.basic or day not in written_as_da
        )
        moved[day] = "0" * len(day) if gone else dates.shift_date(day, days) or "0" * len(day)
    return Subject(
        name,
        key.pseudonyms[name],
        date_days,
        shifts.birth_date_days,
        shifts.birth_date_emptied,
        known,
        moved,
        has_id=not patient.is_nameless,
    )
