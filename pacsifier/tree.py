"""The layout on disk: names of folders and files, staging, the run lock, placing, walking.

`<out>/sub-<PatientID>/ses-<StudyDate><StudyTime>/<SeriesNumber>-<SeriesDescription>/<prefix>.<SOPInstanceUID>`. No
value of a query or of a PACS reaches a path but through `slug`, which leaves ASCII letters, digits and `_`.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import IO

from pacsifier import part10
from pacsifier.errors import InputError
from pacsifier.query.attributes import ATTRIBUTES, INFO_COLUMNS

WORK_FOLDER = ".pacsifier"
LOG_FOLDER = "logs"
LOG_NAME = "pacsifier_log.csv"
UNEXPECTED_FOLDER = "unexpected"
NO_PATIENT_ID = "No_patient_ID"
NO_STUDY_DATE = "No_study_date"
NO_SERIES_DESCRIPTION = "No_series_description"

_LONGEST_SLUG = 100
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9]+")
_UID = re.compile(r"[0-9.]{1,64}")

_NAMING = (
    *("PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyInstanceUID"),
    *("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
)
_NAMING_TAGS = {keyword: ATTRIBUTES[keyword].tag for keyword in _NAMING}


@dataclass(frozen=True)
class SeriesIdentity:
    """What the place of a series depends on; values as found, "" where absent or empty."""

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


def slug(text: str) -> str:
    """The text with accents stripped and every run of other than ASCII letters and digits as one `_`."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    name = _NOT_ALLOWED.sub("_", plain)
    if len(name) > _LONGEST_SLUG:
        return f"{name[:_LONGEST_SLUG]}_{short_hash(text)}"
    return name


def short_hash(text: str) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def patient_folder_name(patient_id: str) -> str:
    """`sub-<PatientID>`."""
    return f"sub-{slug(patient_id.strip()) or NO_PATIENT_ID}"


def study_folder_name(study_date: str, study_time: str) -> str:
    """`ses-<StudyDate><StudyTime>`; without a StudyTime `ses-<StudyDate>`."""
    return f"ses-{slug((study_date.strip() or NO_STUDY_DATE) + study_time.strip())}"


def series_folder_name(series_number: str, series_description: str) -> str:
    """`<SeriesNumber, zero-filled to 5>-<SeriesDescription>`."""
    description = series_description.strip()
    return f"{slug(series_number.strip()).zfill(5)}-{slug(description) if description else NO_SERIES_DESCRIPTION}"


def instance_name(prefix: str, sop_instance_uid: str) -> str:
    """`<prefix>.<SOPInstanceUID>`, as DCMTK names a received object; a malformed UID is hashed."""
    if not _UID.fullmatch(sop_instance_uid):
        sop_instance_uid = f"malformed_{short_hash(sop_instance_uid)}"
    return f"{slug(prefix) or 'UN'}.{sop_instance_uid}"


def deidentified_name(sop_instance_uid: str) -> str:
    """`<SOPInstanceUID>.dcm`; a malformed UID is hashed."""
    if not _UID.fullmatch(sop_instance_uid):
        sop_instance_uid = f"malformed_{short_hash(sop_instance_uid)}"
    return f"{sop_instance_uid}.dcm"


class Placed(Enum):
    """What placing a received instance came to."""

    NEW = "new"
    EQUAL = "equal"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Occupant:
    """Whose folder it is, read from an instance or an info CSV in it."""

    patient_id: str
    issuer: str
    birth_date: str
    study_uid: str
    series_uid: str

    def completed_by(self, other: Occupant) -> Occupant:
        """This occupant with the issuer and birth date of the other where its own are empty."""
        return replace(
            self, issuer=self.issuer or other.issuer, birth_date=self.birth_date or other.birth_date
        )

    def same_patient(self, other: Occupant) -> bool:
        """Whether both may be one person: an issuer or birth date that one of them lacks decides nothing."""
        return self.patient_id == other.patient_id and all(
            not mine or not theirs or mine == theirs
            for mine, theirs in ((self.issuer, other.issuer), (self.birth_date, other.birth_date))
        )


class Tree:
    """The output folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[tuple[str, str], list[tuple[Path, Occupant]]] = {}
        self._places: dict[str, Path] = {}
        self._on_disk: dict[Path, Occupant | None] = {}

    @property
    def logs(self) -> Path:
        """The folder of log, redo table and unexpected objects (0700); made when first asked for."""
        folder = self.folder / LOG_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def series_folder(self, series: SeriesIdentity) -> Path:
        """The folder of a series, made out at its first call and kept; does not make it.

        Where a name is taken by another patient, study or series (in this run, or on disk as the headers there
        tell), `_<8 hex of the SHA-256 of the UID>` is appended.
        """
        place = self._places.get(series.series_uid + series.study_uid)
        if place is None:
            place = self._places[series.series_uid + series.study_uid] = self._find_place(series)
        return place

    def placed_folders(self, series: SeriesIdentity) -> list[Path]:
        """The folders on disk that hold this series, as the headers in them tell; none or one.

        Looked for among all series folders of its study: the name may depend on what only the images told.
        """
        patient = self.patient_folder(series)
        for study in sorted(patient.iterdir()) if patient.is_dir() else ():
            for folder in sorted(study.iterdir()) if study.is_dir() else ():
                if (
                    folder.is_dir()
                    and (there := self._occupants(folder))
                    and _same(there, _me(series), "series")
                ):
                    return [folder]
        return []

    def info_path(self, series: SeriesIdentity) -> Path:
        """The info CSV beside the series folder."""
        folder = self.series_folder(series)
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

    def patient_folder(self, series: SeriesIdentity) -> Path:
        """The `sub-` folder of the series' patient; does not make it."""
        me = _me(series)
        person = f"{me.issuer}|{me.patient_id}|{me.birth_date}"
        if not me.patient_id:
            # Without a PatientID nothing tells two people apart but their studies.
            person = me.study_uid
        return self._choose(self.folder, patient_folder_name(me.patient_id), me, person, "patient")

    def place(self, staged: Path, folder: Path, name: str) -> Placed:
        """Renames a received instance into its folder; a whole one that is there already is never overwritten."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / name
        try:
            os.link(staged, target)
        except FileExistsError:
            return _settle_twins(staged, target)
        except OSError:  # a file system without hard links
            if target.exists():
                return _settle_twins(staged, target)
            staged.rename(target)
            return Placed.NEW
        staged.unlink()
        return Placed.NEW

    def set_aside(self, staged: Path, prefix: str, sop_instance_uid: str) -> Path:
        """Moves an object that nobody asked for, or that contradicts one in the tree, to `logs/unexpected`."""
        folder = self.logs / UNEXPECTED_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / instance_name(prefix, sop_instance_uid)
        number = 1
        while target.exists():
            if part10.dataset_bytes_equal(staged, target):
                staged.unlink()
                return target
            number += 1
            target = folder / f"{instance_name(prefix, sop_instance_uid)}_{number}"
        shutil.move(staged, target)
        return target

    def _occupants(self, folder: Path) -> Occupant | None:
        if folder not in self._on_disk:
            self._on_disk[folder] = _occupant(folder)
        return self._on_disk[folder]

    def _find_place(self, series: SeriesIdentity) -> Path:
        me = _me(series)
        patient = self.patient_folder(series)
        study = self._choose(
            patient, study_folder_name(series.study_date, series.study_time), me, me.study_uid, "study"
        )
        name = series_folder_name(series.series_number, series.series_description)
        return self._choose(study, name, me, me.series_uid, "series")

    def _choose(self, parent: Path, name: str, me: Occupant, uid: str, level: str) -> Path:
        suffixed = f"{name}_{short_hash(uid)}"
        for candidate in chain((name, suffixed), (f"{suffixed}_{number}" for number in count(2))):
            path = parent / candidate
            taken = self._names.setdefault((str(parent), candidate.casefold()), [])
            if not taken and (there := _occupant(path)):
                taken.append((path, there))
            for number, (where, other) in enumerate(taken):
                if _same(me, other, level):
                    # What one study leaves out (a birth date), another may tell: later ones are held against both.
                    taken[number] = where, other.completed_by(me)
                    return where
            if not taken:
                taken.append((path, me))
                return path
        raise AssertionError


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
    return Occupant(
        series.patient_id.strip(), series.issuer, series.birth_date, series.study_uid, series.series_uid
    )


def _same(me: Occupant, other: Occupant, level: str) -> bool:
    if level == "series":
        return me.series_uid == other.series_uid and me.study_uid == other.study_uid
    if level == "study":
        return me.study_uid == other.study_uid
    if not me.patient_id:
        return me.study_uid == other.study_uid
    return me.same_patient(other)


def _occupant(folder: Path) -> Occupant | None:
    """Who is in a patient, study or series folder: by its first instance, else by an info CSV; None: nobody."""
    tables = [folder.with_name(f"{folder.name}.csv")]
    for path in filter(Path.is_file, _walk(folder)):
        if path.suffix == ".csv":
            tables.append(path)
            continue
        file = part10.read(path, set(_NAMING_TAGS.values()))
        if file.is_part10:
            return _occupant_of({keyword: file.text(tag) for keyword, tag in _NAMING_TAGS.items()})
    told = (read_info(path) for path in tables if path.is_file())
    return next((_occupant_of(values) for values in told if values.keys() >= set(INFO_COLUMNS[:-1])), None)


def _occupant_of(values: Mapping[str, str | None]) -> Occupant:
    keywords = ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID")
    return Occupant(*((values.get(keyword) or "").strip() for keyword in keywords))


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(parent, name)


def walk_files(folder: Path, *, with_logs: bool = False) -> Iterator[Path]:
    """Every file below a folder in a stable order, without staging and (but `with_logs`) the logs of a run.

    A link to a folder and a folder that cannot be read are yielded themselves, for the caller to name.
    """
    own_logs = not with_logs and (folder / LOG_FOLDER / LOG_NAME).is_file()
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if name != WORK_FOLDER)
        # Links to folders are not followed, but named: what lies behind them is not uploaded.
        yield from (path for name in folders if (path := Path(parent, name)).is_symlink())
        if own_logs and Path(parent) == folder:
            folders.remove(LOG_FOLDER)
        for name in sorted(files):
            yield Path(parent, name)
    yield from (Path(error.filename) for error in unreadable)


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Writes a file beside its place and renames it there, so that it is never seen half written."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_info(path: Path, values: Mapping[str, str | None]) -> None:
    """Writes an info CSV: one header, one row, the values as found ("" where the PACS told none)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(INFO_COLUMNS)
        # Python 3.10 refuses NUL in CSV; a text value holds none but by mistake.
        writer.writerow([(values.get(column) or "").replace("\0", "") for column in INFO_COLUMNS])
    partial.replace(path)


def read_info(path: Path) -> dict[str, str]:
    """The row of an info CSV by column; empty where the file is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(line.replace("\0", "") for line in file), {})
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {key: value for key, value in row.items() if key and isinstance(value, str)}


class OutputLock:
    """Keeps two runs out of one output folder; holds `<out>/.pacsifier`, the staging folder, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staging = folder / WORK_FOLDER
        self._made: list[Path] = []
        self._file: IO[str] | None = None

    def __enter__(self) -> OutputLock:
        self._make_folders()
        self._file = (self.staging / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another run"
            self._file.close()
            raise InputError(f"{self.folder} is in use by {holder}; wait for its end") from error
        self._file.truncate(0)
        self._file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n")
        self._file.flush()
        self._empty()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Under the lock to the last: a run that starts in between must not lose its staging folder.
        shutil.rmtree(self.staging, ignore_errors=True)
        if self._file is not None:
            self._file.close()
        for made in reversed(self._made):
            with contextlib.suppress(OSError):
                made.rmdir()

    def _make_folders(self) -> None:
        missing = [each for each in (self.folder, *self.folder.parents) if not each.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._made = list(reversed(missing))
            self.staging.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to the output folder {self.folder}: {error.strerror}") from error

    def _empty(self) -> None:
        """Removes what a killed run left in staging; nothing there was ever counted as received."""
        for path in self.staging.iterdir():
            if path.name != "lock":
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
