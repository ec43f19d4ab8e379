"""The layout on disk: names of folders and files, placing, walking. Staging and the run lock: `staging.py`.

`<out>/sub-<PatientID>/ses-<StudyDate><StudyTime>/<SeriesNumber>-<SeriesDescription>/<prefix>.<SOPInstanceUID>`. No
value of a query or of a PACS reaches a path but through `slug`, which leaves ASCII letters, digits and `_`.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain, count
from pathlib import Path
from typing import IO

from pacsifier import part10
from pacsifier.errors import InputError
from pacsifier.query import is_uid
from pacsifier.query.attributes import ATTRIBUTES, INFO_COLUMNS

WORK_FOLDER = ".pacsifier"
LOG_FOLDER = "logs"
LOG_NAME = "pacsifier_log.csv"
AUDIT_NAME = "audit.jsonl"
# Tells our logs folder from a user's own of that name, also when its tables were moved or the folder was renamed.
# Not hidden: a run leaves no hidden file behind, and the name tells people too.
LOG_MARK = "made_by_pacsifier"
UNEXPECTED_FOLDER = "unexpected"
PARTS_FOLDER = "parts"
NO_PATIENT_ID = "No_patient_ID"
NO_STUDY_DATE = "No_study_date"
NO_SERIES_DESCRIPTION = "No_series_description"

_LONGEST_SLUG = 100
# Patient, study, series.
_DEPTH = 3
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9]+")
# The names that `set_aside` gives.
_SET_ASIDE = re.compile(r"[A-Za-z0-9_]+\.([0-9.]+|malformed_[0-9a-f]{8})(_[0-9]+)?")
_AUDIT_KEYS = frozenset(("ended_at", "did", "query_sha256"))
_LONGEST_AUDIT_LINE = 1 << 20

_NAMING = (
    *("PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyInstanceUID"),
    *("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
)
_NOTHING: Mapping[str, list[str]] = {}
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


def part_folder(out: Path, number: int) -> Path:
    """The output folder of one part of many: `<out>/parts/<number>`, a tree of its own."""
    return out / PARTS_FOLDER / str(number)


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
    return f"{slug(prefix) or 'UN'}.{_uid_as_name(sop_instance_uid)}"


def deidentified_name(sop_instance_uid: str) -> str:
    """`<SOPInstanceUID>.dcm`; a malformed UID is hashed."""
    return f"{_uid_as_name(sop_instance_uid)}.dcm"


def _uid_as_name(uid: str) -> str:
    return uid if is_uid(uid) else f"malformed_{short_hash(uid)}"


def report_name(sop_instance_uid: str) -> str:
    """`Clean_Report_<SOPInstanceUID with _ for .>`, without suffix; a malformed UID is hashed."""
    if not is_uid(sop_instance_uid):
        sop_instance_uid = f"malformed_{short_hash(sop_instance_uid)}"
    return f"Clean_Report_{sop_instance_uid.replace('.', '_')}"


def pseudonym_paths(folder: Path, project: str) -> tuple[Path, Path, Path]:
    """Where pacsifier-get-pseudonyms writes: the pseudonyms, the day shifts, the log."""
    return (
        folder / f"new_ids_{project}.json",
        folder / f"day_shift_{project}.json",
        folder / "log_get_pseudonyms.csv",
    )


class Placed(Enum):
    """What placing a received instance came to."""

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
    def series_key(self) -> tuple[str, str]:
        """Study and Series Instance UID."""
        return self.study_uid, self.series_uid

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
        self._names: dict[str, dict[str, list[tuple[str, Occupant]]]] = defaultdict(dict)
        self._places: dict[tuple[str, str], tuple[str, str]] = {}
        self._listed: dict[str, Mapping[str, list[str]]] = {}
        self._placed: tuple[Path | None, dict[tuple[str, str], Path]] = None, {}

    @property
    def logs(self) -> Path:
        """The folder of log, redo table and unexpected objects (0700); made and marked when first asked for."""
        folder = self.folder / LOG_FOLDER
        check_own_folder(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        _mark_logs(folder)
        return folder

    def drop_partial_logs(self) -> None:
        """Removes what a run that was killed while it wrote its tables has left half written."""
        for path in (self.folder / LOG_FOLDER).glob(".*.partial"):
            path.unlink(missing_ok=True)

    def series_folder(self, series: SeriesIdentity) -> Path:
        """The folder of a series, made out at its first call and kept; does not make it.

        Where a name is taken by another patient, study or series (in this run, or on disk as the headers there
        tell), `_<8 hex of the SHA-256 of the UID>` is appended.
        """
        key = series.study_uid, series.series_uid
        if key not in self._places:
            place = self._find_place(series)
            self._places[key] = sys.intern(str(place.parent)), place.name
        return Path(*self._places[key])

    def placed_folders(self, series: SeriesIdentity, hint: str = "") -> list[Path]:
        """The folders on disk that hold this series, as the headers in them tell; none or one.

        Looked for among all series folders of its study, since the name may depend on what only the images told; then
        where `hint` says, relative to the tree: the PACS may not even tell the patient.
        """
        key = _me(series).series_key
        if folder := self._placed_of(self.patient_folder(series)).get(key):
            return [folder]
        parts = Path(hint).parts
        inside = len(parts) == _DEPTH and parts[0].startswith("sub-") and ".." not in parts
        folder = self.folder.joinpath(*parts)
        there = _occupant(folder) if inside and folder.is_dir() else None
        return [folder] if there is not None and there.series_key == key else []

    def _placed_of(self, patient: Path) -> Mapping[tuple[str, str], Path]:
        """The series folders of a patient by what the headers in them tell; only the last patient's are kept."""
        of, placed = self._placed
        if of != patient:
            placed = {}
            for folder in sorted(each for each in patient.glob("*/*") if each.is_dir()):
                if there := _occupant(folder):
                    placed.setdefault(there.series_key, folder)
            self._placed = patient, placed
        return placed

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
        target = folder / name
        try:
            os.link(staged, target)
        except FileNotFoundError:
            if folder.is_dir():
                raise
            folder.mkdir(parents=True)
            return self.place(staged, folder, name)
        except FileExistsError:
            return _settle_twins(staged, target)
        except OSError:  # a file system without hard links
            folder.mkdir(parents=True, exist_ok=True)
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
            if target.samefile(staged):
                return target
            if part10.dataset_bytes_equal(staged, target):
                staged.unlink()
                return target
            number += 1
            target = folder / f"{instance_name(prefix, sop_instance_uid)}_{number}"
        staged.chmod(0o600)
        shutil.move(staged, target)
        return target

    def _on_disk_as(self, parent: Path, name: str) -> list[Path]:
        """The folders of that name that were there before this run, whatever their case, or their info CSVs.

        The tree may be copied to a system for which they are one.
        """
        if str(parent) not in self._listed:
            listed: dict[str, list[str]] = defaultdict(list)
            with contextlib.suppress(OSError):
                names = {each.name.removesuffix(".csv") for each in parent.iterdir()}
                for each in sorted(names - {""}):
                    listed[each.casefold()].append(each)
            self._listed[str(parent)] = dict(listed) or _NOTHING
        return [parent / each for each in self._listed[str(parent)].get(name.casefold(), ())]

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
            taken = self._names[str(parent)].setdefault(candidate.casefold(), [])
            if not taken:
                twins = self._on_disk_as(parent, candidate)
                who = _patient if level == "patient" else _occupant
                taken += [(twin.name, there) for twin in twins if (there := who(twin))]
            for number, (where, other) in enumerate(taken):
                if _same(me, other, level):
                    # What one study leaves out (a birth date), another may tell: later ones are held against both.
                    taken[number] = where, other.completed_by(me)
                    return parent / where
            if not taken:
                taken.append((candidate, me))
                return parent / candidate
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
    values = series.patient_id, series.issuer, series.birth_date, series.study_uid, series.series_uid
    return Occupant(*map(_comparable, values))


def _same(me: Occupant, other: Occupant, level: str) -> bool:
    if level == "series":
        return me.series_key == other.series_key
    if level == "study":
        return me.study_uid == other.study_uid
    if not me.patient_id:
        return me.study_uid == other.study_uid
    return me.same_patient(other)


def _patient(folder: Path) -> Occupant | None:
    """Whose patient folder it is; what its first study leaves out (a birth date), a later one may tell."""
    found: Occupant | None = None
    for study in sorted(each for each in folder.glob("ses-*") if each.is_dir()):
        there = _occupant(study)
        if there is not None:
            found = there if found is None else found.completed_by(there)
    return found or _occupant(folder)


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
    return Occupant(*(_comparable(values.get(keyword) or "") for keyword in keywords))


def _comparable(value: str) -> str:
    """A value as it can be held against one from an info CSV, which holds no NUL."""
    return value.replace("\0", "").strip()


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(parent, name)


class Walk:
    """Every file below a folder in a stable order, without staging and the logs of our runs.

    A link to a folder and a folder that cannot be read are yielded themselves, for the caller to name. Our logs hold
    objects of strangers and tables that name patients: they are no input, at whatever depth they lie. After the walk,
    `passed_over` holds them.

    Raises:
        InputError: the folder itself is, or lies in, logs of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed_over: list[Path] = []
        place = folder.resolve()
        for each in (place, *place.parents):
            if is_own_logs(each):
                raise InputError(
                    f"{shown(folder)}: lies in the logs of a pacsifier run ({shown(each)}), which are not read: they "
                    "hold objects that nobody asked for. Name the folder of the images, or copy what you have looked "
                    "at and want to use to another folder"
                )

    def __iter__(self) -> Iterator[Path]:
        self.passed_over.clear()
        return _walk_files(self.folder, self.passed_over)

    def of_logs(self) -> Iterator[Path]:
        """Every file in the logs that were passed over."""
        for folder in self.passed_over:
            yield from walk_with_logs(folder)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a run says of each folder that was passed over, fit for the console."""
        return tuple(
            f"{shown(each.relative_to(self.folder))}: passed over, not read: the logs of a pacsifier run"
            for each in self.passed_over
        )


def walk_with_logs(folder: Path) -> Iterator[Path]:
    """Every file below a folder as `Walk` yields them, those in our logs too."""
    return _walk_files(folder, None)


def _walk_files(folder: Path, passed_over: list[Path] | None) -> Iterator[Path]:
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        # Only of these: to make a Path of each folder, and to look into it, costs more than the walk.
        suspect = LOG_MARK in files or parent.endswith(f"/{LOG_FOLDER}")
        if passed_over is not None and suspect and is_own_logs(Path(parent)):
            passed_over.append(Path(parent))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name != WORK_FOLDER)
        # Links to folders are not followed, but named: what lies behind them is not uploaded.
        yield from (path for name in folders if (path := Path(parent, name)).is_symlink())
        for name in sorted(files):
            yield Path(parent, name)
    yield from (Path(error.filename) for error in unreadable)


def is_own_logs(folder: Path) -> bool:
    """Whether a folder is the logs folder of a run: by its mark, else by what versions that knew no mark left there.

    Of those, `pacsifier-move-csv` takes the log; the audit and the unexpected objects stay.
    """
    if os.path.lexists(folder / LOG_MARK):
        return True
    if folder.name != LOG_FOLDER:
        return False
    return (
        os.path.isfile(folder / LOG_NAME)  # noqa: PTH113 - what may not be looked at is no error here
        or _is_audit(folder / AUDIT_NAME)
        or _holds_set_aside(folder / UNEXPECTED_FOLDER)
    )


def _is_audit(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            line = json.loads(file.readline(_LONGEST_AUDIT_LINE))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(line, dict) and line.keys() >= _AUDIT_KEYS


def _holds_set_aside(folder: Path) -> bool:
    try:
        return any(map(_SET_ASIDE.fullmatch, os.listdir(folder)))  # noqa: PTH208 - only names are needed
    except OSError:
        return False


def _mark_logs(folder: Path) -> None:
    mark = folder / LOG_MARK
    try:
        # Empty, so that it is never half written; O_EXCL follows no link.
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(mark.lstat().st_mode):
            raise InputError(f"{mark} is no file; pacsifier needs a file of that name: remove it") from None


def shown(path: Path) -> str:
    """A path as the console may name it: without the PatientIDs in the folders of our trees, on one line."""
    parts = ("sub-…" if part.startswith("sub-") else part for part in path.parts)
    return str(Path(*parts)).replace("\n", "\\n")


def check_own_folder(folder: Path) -> None:
    """Checks that a folder of pacsifier's own (logs, staging) is one or can be made; nobody else may look into it.

    Raises:
        InputError: a link or a file stands in its place.
        PermissionError: it is there, and nothing can be written into it.
        FileNotFoundError: it vanished meanwhile.
    """
    try:
        mode = folder.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise InputError(f"{folder} is a link; pacsifier needs a folder of its own there: remove the link")
    if not stat.S_ISDIR(mode):
        raise InputError(f"{folder} is a file; pacsifier needs a folder of that name: move the file away")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        folder.lstat()
        why = f"{folder.name} cannot be written to: {os.strerror(errno.EACCES)}"
        raise PermissionError(errno.EACCES, why, str(folder))
    if mode & 0o077:
        with contextlib.suppress(PermissionError):
            folder.chmod(0o700)


def free_bytes(folder: Path) -> int:
    """The bytes that this user can still write where a folder is, or will be made; quotas are not counted."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextlib.contextmanager
def _written_beside(path: Path, mode: int = 0o666) -> Iterator[IO[str]]:
    """A file to write beside its place; renamed there when all went well, removed when not."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str | Iterable[str], mode: int = 0o666) -> None:
    """Writes a file beside its place and renames it there, so that it is never seen half written.

    Raises:
        OSError: it could not be written; the text names it, and the old one is as it was.
    """
    try:
        with _written_beside(path, mode) as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = f"{path.name} could not be written: {error.strerror or error}"
        raise OSError(error.errno, why, str(path)) from error


def write_all_whole(files: Mapping[Path, str], mode: int = 0o600) -> tuple[Path, ...]:
    """Writes several files, all of them whole before the first gets its name; gives those that were not so before.

    A file that holds its text already is left alone. Raises OSError; what was there is then as it was.
    """
    changed = {path: text for path, text in files.items() if not _holds(path, text)}
    with contextlib.ExitStack() as stack:
        for path, text in changed.items():
            file = stack.enter_context(_written_beside(path, mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return tuple(changed)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode("utf-8")
    except OSError:
        return False


def move_file(source: Path, target: Path) -> None:
    """Moves a file to another folder, which is made, also of another file system; never overwrites.

    A kill leaves the file in its old place, or whole in both. Raises FileExistsError or another OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without hard links
        _copy_whole(source, target)
    source.unlink()


def _copy_whole(source: Path, target: Path) -> None:
    """Copies a file beside its place and renames it there, if the place is still free."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(partial, target)
        except FileExistsError:
            raise
        except OSError:
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Appends a line to a file (0600) in one write, so that two runs do not mix their lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(f"{line}\n".encode())
        os.fsync(file.fileno())


def write_info(path: Path, values: Mapping[str, str | None]) -> None:
    """Writes an info CSV: one header, one row, the values as found ("" where the PACS told none)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _written_beside(path) as file:
        writer = csv.writer(file)
        writer.writerow(INFO_COLUMNS)
        # Python 3.10 refuses NUL in CSV; a text value holds none but by mistake.
        writer.writerow([(values.get(column) or "").replace("\0", "") for column in INFO_COLUMNS])


def read_info(path: Path) -> dict[str, str]:
    """The row of an info CSV by column; empty where the file is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(line.replace("\0", "") for line in file), {})
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {key: value for key, value in row.items() if key and isinstance(value, str)}
