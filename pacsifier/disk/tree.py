"""`Tree`: the output folder of a run: which folder each series gets, and how received instances come into it.

`<out>/sub-<PatientID>/ses-<StudyDate><StudyTime>/<SeriesNumber>-<SeriesDescription>/<prefix>.<SOPInstanceUID>`; the
names are spelled in `names.py`. Staging and the run lock: `lock.py`.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import Any, Generic, TypeVar

from pacsifier.dicom import part10
from pacsifier.disk.durable import begin_to_write
from pacsifier.disk.files import check_own_folder, limit_mode, make_folders
from pacsifier.disk.info import read_info
from pacsifier.disk.names import (
    LOG_FOLDER,
    UNEXPECTED_FOLDER,
    instance_name,
    patient_folder_name,
    series_folder_name,
    short_hash,
    study_folder_name,
)
from pacsifier.disk.walk import mark_logs
from pacsifier.query.attributes import ATTRIBUTES, INFO_COLUMNS

# Patient, study, series.
_DEPTH = 3
# Folders whose contents are remembered: series come study by study.
_LISTINGS = 64
_NOTHING = marshal.dumps({})
SeriesKey = tuple[str, str]

_NAMING = (
    *("PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyInstanceUID"),
    *("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
)
_NAMING_TAGS = {keyword: ATTRIBUTES[keyword].tag for keyword in _NAMING}


@dataclass(frozen=True)
class SeriesIdentity:
    """What the folder of a series depends on; values as found, "" where absent or empty."""

    patient_id: str
    issuer: str
    birth_date: str
    study_uid: str
    study_date: str
    study_time: str
    series_uid: str
    series_number: str
    series_description: str

    @classmethod
    def of(cls, values: Mapping[str, str | None]) -> SeriesIdentity:
        """From values by DICOM keyword."""
        keywords = (
            *("PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate"),
            *("StudyTime", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"),
        )
        return cls(*(values.get(keyword) or "" for keyword in keywords))


class Placed(Enum):
    """What became of a received instance: put into its folder, there already, or contradicting one there."""

    NEW = "new"
    EQUAL = "equal"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Occupant:
    """Whose folder it is, read from an instance or an info CSV in it."""

    patient_id: str
    issuer: str
    birth_date: str
    study_uid: str
    series_uid: str

    @property
    def series_key(self) -> SeriesKey:
        """Study and Series Instance UID."""
        return self.study_uid, self.series_uid

    def completed_by(self, other: Occupant) -> Occupant:
        """This occupant with the issuer and birth date of the other where its own are empty."""
        issuer, birth_date = self.issuer or other.issuer, self.birth_date or other.birth_date
        if (issuer, birth_date) == (self.issuer, self.birth_date):
            return self
        return replace(self, issuer=issuer, birth_date=birth_date)

    def same_patient(self, other: Occupant) -> bool:
        """Whether both may be one person: an issuer or birth date that one of them lacks decides nothing."""
        return self.patient_id == other.patient_id and all(
            not mine or not theirs or mine == theirs
            for mine, theirs in ((self.issuer, other.issuer), (self.birth_date, other.birth_date))
        )


_Who = TypeVar("_Who")
_Key = TypeVar("_Key")


class _Remembered(Generic[_Key]):
    """What is remembered of the children of each folder or study, in dicts; as bytes where nobody asked for it lately.

    So the names of 100,000 series in 9,000 studies take 10 MB instead of 40. Where there are several dicts, they may
    hold numbers, texts, and tuples of them.
    """

    def __init__(self) -> None:
        self._used: dict[str, dict[_Key, tuple[Any, ...]]] = {}
        self._packed: dict[str, bytes] = {}

    def of(self, parent: str) -> dict[_Key, tuple[Any, ...]]:
        """What is remembered of the children of one parent, to be read and added to before another one is asked for."""
        children = self._used.pop(parent, None)
        if children is None:
            children = marshal.loads(self._packed.pop(parent, _NOTHING))  # noqa: S302 - our own bytes
        # Last, where what was used last stands.
        self._used[parent] = children
        if len(self._used) > _LISTINGS:
            longest_ago = next(iter(self._used))
            if packed := self._used.pop(longest_ago):
                self._packed[longest_ago] = marshal.dumps(packed)
        return children


class _Names(Generic[_Who]):
    """Who has which folder name, in the folders of one level.

    `listing` tells what is in a folder, by names in lower case; `look` whose folder it is, as the headers in it tell;
    `same` gives, where both are one, what is remembered of them.
    """

    def __init__(
        self,
        listing: Callable[[Path], Mapping[str, list[str]]],
        look: Callable[[Path], _Who | None],
        same: Callable[[_Who, _Who], _Who | None],
    ) -> None:
        self._listing = listing
        self._look = look
        self._same = same
        # By the name in lower case: the name as it is spelled and whose it is, of some names several of both.
        self._taken = _Remembered[str]()

    def choose(self, parent: Path, name: str, me: _Who, uid: str) -> Path:
        """My folder in `parent`: of that name, or, where somebody else has it, with a hash of the UID appended."""
        suffixed = f"{name}_{short_hash(uid)}"
        names = self._taken.of(sys.intern(str(parent)))
        for candidate in chain((name, suffixed), (f"{suffixed}_{number}" for number in count(2))):
            lower = candidate.casefold()
            taken = names.get(lower) or tuple(chain.from_iterable(self._on_disk_as(parent, lower)))
            for place in range(0, len(taken), 2):
                where, other = taken[place : place + 2]
                if (told := self._same(me, other)) is not None:
                    if told is not other or lower not in names:
                        names[lower] = (*taken[:place], where, told, *taken[place + 2 :])
                    return parent / str(where)
            names[lower] = taken or (candidate, me)
            if not taken:
                return parent / candidate
        raise AssertionError

    def _on_disk_as(self, parent: Path, lower: str) -> Iterator[tuple[str, _Who]]:
        """The folders of that name, in whatever case, and whose they are, by themselves or by their info CSVs.

        The tree may be copied to a system for which names in another case are the same.
        """
        for name in self._listing(parent).get(lower, ()):
            if (there := self._look(parent / name)) is not None:
                yield name, there


class Tree:
    """The output folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listing = lru_cache(_LISTINGS)(_listing)
        self._patients = _Names(listing, _patient, _one_patient)
        self._studies = _Names(listing, _key_in, _one_study)
        # A series is told from another by the hash of its key, of which 100,000 take a third of the keys' memory.
        self._series = _Names(listing, _hash_in, _one_hash)
        # Of each study by the hash of a series' key: where it lies.
        self._folders = _Remembered[int]()
        self._placed: tuple[Path | None, dict[SeriesKey, Path]] = None, {}
        self._logged: Mapping[SeriesKey, str] = {}

    @property
    def logs(self) -> Path:
        """The folder of log, redo table and unexpected objects (0700); created and marked when first asked for."""
        folder = self.folder / LOG_FOLDER
        check_own_folder(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        mark_logs(folder)
        return folder

    def drop_partial_logs(self) -> None:
        """Removes the half-written tables of a run that was killed while it wrote them."""
        for path in (self.folder / LOG_FOLDER).glob(".*.partial"):
            path.unlink(missing_ok=True)

    def heed(self, folders: Mapping[SeriesKey, str]) -> None:
        """Takes from the log in which folder, relative to the tree, earlier runs placed each series."""
        series = Counter(folders.values())
        self._logged = {key: folder for key, folder in folders.items() if series[folder] == 1}

    def series_folder(self, series: SeriesIdentity) -> Path:
        """The folder of a series. Chosen at the first call and remembered; creates nothing.

        Where a name is taken by another patient, study or series (in this run, or on disk as the headers there
        tell), `_<8 hex of the SHA-256 of the UID>` is appended.
        """
        me = _me(series)
        folder = self._folder_of(series, me)
        chosen = self._folders.of(me.study_uid)
        chosen.setdefault(hash(me.series_key), (sys.intern(str(folder.parent)), folder.name))
        return folder

    def placed_folders(self, series: SeriesIdentity) -> list[Path]:
        """The folders on disk that hold this series, as the headers in them or the log tell; none or one.

        Looks into all series folders of its patient, since the name may depend on what only the images told; then
        where the log says: the PACS may not even tell the patient.
        """
        me = _me(series)
        if folder := self._placed_of(self.patient_folder(series)).get(me.series_key):
            return [folder]
        folder, there = self._logged_place(me)
        return [folder] if there is not None and _may_be(me, there) else []

    def _logged_place(self, me: Occupant) -> tuple[Path, Occupant | None]:
        """Where the log has a series, and what the headers there tell; None where there is nothing."""
        parts = Path(self._logged.get(me.series_key, "")).parts
        inside = len(parts) == _DEPTH and parts[0].startswith("sub-") and ".." not in parts
        folder = self.folder.joinpath(*parts)
        return folder, _occupant(folder) if inside and folder.is_dir() else None

    def _placed_of(self, patient: Path) -> Mapping[SeriesKey, Path]:
        """The series folders of a patient as the headers in them tell; those of the last patient are remembered."""
        of, placed = self._placed
        if of != patient:
            placed = {}
            for folder in sorted(each for each in patient.glob("*/*") if each.is_dir()):
                if there := _occupant(folder):
                    placed.setdefault(there.series_key, folder)
            self._placed = patient, placed
        return placed

    def info_path(self, series: SeriesIdentity) -> Path:
        """The info CSV beside the series folder, which is chosen, and not remembered: 100,000 may only be listed."""
        folder = self._folder_of(series, _me(series))
        return folder.with_name(f"{folder.name}.csv")

    def drop_other_info(self, before: SeriesIdentity, after: SeriesIdentity) -> None:
        """Removes the info CSV of a series under the name it had before its images told number and description."""
        name = series_folder_name(before.series_number, before.series_description)
        if name == series_folder_name(after.series_number, after.series_description):
            return
        for each in (name, f"{name}_{short_hash(before.series_uid)}"):
            path = self.series_folder(after).with_name(f"{each}.csv")
            if path.is_file() and read_info(path).get("SeriesInstanceUID") == after.series_uid:
                path.unlink()

    def drop_info(self, series: SeriesIdentity) -> None:
        """Removes the info CSV of a series that an earlier run only looked at, and the folders that are empty then.

        Nothing else is removed: no file of that name that is not ours, none of a series of which there are images.
        """
        path = self.info_path(series)
        if self.series_folder(series).exists() or not path.is_file():
            return
        told = read_info(path)
        ours = list(told) == list(INFO_COLUMNS) and len(path.read_bytes().splitlines()) == 2
        if ours and told["SeriesInstanceUID"] == series.series_uid:
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()
                path.parent.parent.rmdir()

    def patient_folder(self, series: SeriesIdentity) -> Path:
        """The `sub-` folder of the series' patient; creates nothing."""
        me = _me(series)
        person = f"{me.issuer}|{me.patient_id}|{me.birth_date}"
        if not me.patient_id:
            # Without a PatientID nothing tells two people apart but their studies.
            person = me.study_uid
        return self._patients.choose(self.folder, patient_folder_name(me.patient_id), me, person)

    def place(self, staged: Path, folder: Path, name: str) -> Placed:
        """Renames a received instance into its folder; a whole one that is there already is never overwritten.

        Others get no rights; those of the group are as it was made in staging.
        """
        limit_mode(staged, 0o770)
        target = folder / name
        try:
            os.link(staged, target)
        except FileNotFoundError:
            if folder.is_dir():
                raise
            make_folders(folder)
            return self.place(staged, folder, name)
        except FileExistsError:
            return _settle_twins(staged, target)
        except OSError:  # a file system without hard links
            make_folders(folder)
            if target.exists():
                return _settle_twins(staged, target)
            staged.rename(target)
            return Placed.NEW
        staged.unlink()
        begin_to_write(target)
        return Placed.NEW

    def set_aside(self, staged: Path, prefix: str, sop_instance_uid: str) -> Path:
        """Moves an object that nobody asked for, or that contradicts one in the tree, to `logs/unexpected`."""
        folder = self.logs / UNEXPECTED_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / instance_name(prefix, sop_instance_uid)
        number = 1
        while target.exists():
            if target.samefile(staged):
                return target
            if part10.dataset_bytes_equal(staged, target):
                staged.unlink()
                return target
            number += 1
            target = folder / f"{instance_name(prefix, sop_instance_uid)}_{number}"
        limit_mode(staged, 0o600)
        shutil.move(staged, target)
        return target

    def unexpected_sizes(self) -> list[int]:
        """The sizes in bytes of what was set aside until now."""
        folder = self.folder / LOG_FOLDER / UNEXPECTED_FOLDER
        return [path.stat().st_size for path in folder.glob("*") if path.is_file()]

    def _folder_of(self, series: SeriesIdentity, me: Occupant) -> Path:
        key = me.series_key
        if chosen := self._folders.of(me.study_uid).get(hash(key)):
            return Path(*chosen)
        folder, there = self._logged_place(me)
        if there is not None and there.series_key != key and _may_be(me, there):
            return folder
        patient = self.patient_folder(series)
        name = study_folder_name(series.study_date, series.study_time)
        study = self._studies.choose(patient, name, key, me.study_uid)
        name = series_folder_name(series.series_number, series.series_description)
        return self._series.choose(study, name, hash(key), me.series_uid)


def _settle_twins(staged: Path, target: Path) -> Placed:
    """What becomes of an instance whose name is taken: the same one, a cut one to be replaced, or a contradiction."""
    if part10.dataset_bytes_equal(staged, target):
        staged.unlink()
        return Placed.EQUAL
    if not part10.read(target, ()).whole:
        staged.replace(target)
        return Placed.NEW
    return Placed.CONFLICT


def _me(series: SeriesIdentity) -> Occupant:
    values = series.patient_id, series.issuer, series.birth_date, series.study_uid, series.series_uid
    return Occupant(*map(_comparable, values))


def _one_patient(me: Occupant, there: Occupant) -> Occupant | None:
    """The patient of a folder, if it is mine, with what I know of them: later ones are compared with both."""
    same = me.same_patient(there) if me.patient_id else me.study_uid == there.study_uid
    return there.completed_by(me) if same else None


def _one_study(me: SeriesKey, there: SeriesKey) -> SeriesKey | None:
    return there if me[0] == there[0] else None


def _one_hash(me: int, there: int) -> int | None:
    return there if me == there else None


def _may_be(me: Occupant, there: Occupant) -> bool:
    """Whether what lies where the log has a series can be it; its images may name a study it was merged from."""
    return me.series_key == there.series_key or (bool(me.patient_id) and me.patient_id == there.patient_id)


def _listing(parent: Path) -> Mapping[str, list[str]]:
    """What is in a folder, by names in lower case, as series folders are called; nothing where it is not there."""
    listed: dict[str, list[str]] = defaultdict(list)
    with contextlib.suppress(OSError):
        names = {each.name.removesuffix(".csv") for each in parent.iterdir()}
        for each in sorted(names - {""}):
            listed[each.casefold()].append(each)
    return listed


def _key_in(folder: Path) -> SeriesKey | None:
    """Which study and series it is whose folder it is; of a study folder, its first series."""
    there = _occupant(folder)
    return there.series_key if there else None


def _hash_in(folder: Path) -> int | None:
    key = _key_in(folder)
    return None if key is None else hash(key)


def _patient(folder: Path) -> Occupant | None:
    """Whose patient folder it is; what its first study leaves out (a birth date), a later one may tell."""
    found: Occupant | None = None
    for study in sorted(each for each in folder.glob("ses-*") if each.is_dir()):
        there = _occupant(study)
        if there is not None:
            found = there if found is None else found.completed_by(there)
    return found or _occupant(folder)


def _occupant(folder: Path) -> Occupant | None:
    """Whose patient, study or series folder it is: by its first instance, else by an info CSV; None: nobody's."""
    tables = [folder.with_name(f"{folder.name}.csv")]
    for path in filter(Path.is_file, _walk(folder)):
        if path.suffix == ".csv":
            tables.append(path)
            continue
        file = part10.read(path, set(_NAMING_TAGS.values()))
        # A power cut may leave the first part of a file, which does not tell whose it is.
        if file.is_part10 and (file.whole or file.text(_NAMING_TAGS["SeriesInstanceUID"])):
            return _occupant_of({keyword: file.text(tag) for keyword, tag in _NAMING_TAGS.items()})
    told = (read_info(path) for path in tables if path.is_file())
    return next((_occupant_of(values) for values in told if values.keys() >= set(INFO_COLUMNS[:-1])), None)


def _occupant_of(values: Mapping[str, str | None]) -> Occupant:
    keywords = ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID")
    return Occupant(*(_comparable(values.get(keyword) or "") for keyword in keywords))


def _comparable(value: str) -> str:
    """A value as it can be compared with one from an info CSV, which holds no NUL."""
    return value.replace("\0", "").strip()


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(parent, name)
