"""A DICOM File-set of a folder's instances: copies under names that PS3.10 allows, and a DICOMDIR that lists all.

Every instance is read before the first is copied. The names follow from what is there, and stay: a later run into the
same folder adds what is new. A value that DCMTK's dcmmkdir demands and the standard does not is invented in the
copy of an instance that lacks it; an instance that dcmmkdir refuses to list gets a record of ours. Source: DICOM PS3.10
section 8, PS3.3 annex F.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pacsifier.dcmtk import dcmmkdir
from pacsifier.dicom import kinds, mediadir, part10, splice
from pacsifier.dicom.kinds import Kind
from pacsifier.disk.files import free_bytes, limit_mode, make_folders
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.names import short_hash
from pacsifier.disk.walk import Progress, Walk, walk_with_logs
from pacsifier.errors import InputError, ToolError, first_of
from pacsifier.figures import counted
from pacsifier.query import is_uid

if TYPE_CHECKING:
    from io import FileIO

    from pacsifier.dcmtk.toolbox import Toolbox


NAME: Final = "DICOMDIR"
_STANDARD_ROOT: Final = "1.2.840.10008."
_FICLONE: Final = 0x40049409
_NO_DATE: Final = "19000101"
_NO_TIME: Final = "000000"
_LONGEST_LIST: Final = 10
_MOST: Final = 999_999
_COMPONENT: Final = re.compile(r"[A-Z0-9_]{1,8}")
_ANYTHING: Final = re.compile(".*")
_OURS: Final = re.compile(r"PA\d{6}/ST\d{6}/SE\d{6}/IM\d{6}")
_WHY_NOT: Final[Mapping[Kind, str]] = {
    Kind.LINKED_FOLDER: f"{Kind.LINKED_FOLDER.value}: not looked into",
    Kind.FOLDER: f"{Kind.FOLDER.value}: not looked into",
    Kind.DEAD_LINK: Kind.DEAD_LINK.value,
    Kind.UNREADABLE: "cannot be read: {}",
    Kind.NOT_WHOLE: "not whole: {}",
}
_PREFIXES: Final = ("PA", "ST", "SE", "IM")

_TAGS: Final = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "SeriesDate": 0x00080021,
    "AcquisitionDate": 0x00080022,
    "ContentDate": 0x00080023,
    "StudyTime": 0x00080030,
    "SeriesTime": 0x00080031,
    "AcquisitionTime": 0x00080032,
    "ContentTime": 0x00080033,
    "AccessionNumber": 0x00080050,
    "Modality": 0x00080060,
    "StudyDescription": 0x00081030,
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "StudyID": 0x00200010,
    "SeriesNumber": 0x00200011,
    "InstanceNumber": 0x00200013,
    "Rows": 0x00280010,
}
_INDEX: Final = {keyword: index for index, keyword in enumerate(_TAGS)}
_VRS: Final = {
    **{"PatientName": "PN", "PatientID": "LO", "StudyDate": "DA", "StudyTime": "TM", "StudyID": "SH"},
    **{"SeriesNumber": "IS", "InstanceNumber": "IS", "StudyInstanceUID": "UI", "SeriesInstanceUID": "UI"},
    **{"Modality": "CS", "AccessionNumber": "SH", "StudyDescription": "LO"},
}
_NEEDED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_INVENTABLE: Final = ("PatientID", "StudyDate", "StudyTime", "StudyID", "SeriesNumber", "InstanceNumber")
_DATES: Final = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_TIMES: Final = ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")


_NOTHING: Final[Mapping[str, bytes]] = {}


def _nothing() -> Mapping[str, bytes]:
    return _NOTHING


@dataclass(slots=True)
class Instance:
    """An instance in a file: its values in the order of `_TAGS`, the name of its copy, and what is added to that.

    There may be millions of them.
    """

    path: str
    size: int
    syntax: str
    character_set: bytes
    values: tuple[bytes | None, ...]
    name: str = ""
    invented: Mapping[str, bytes] = field(default_factory=_nothing)

    def raw(self, keyword: str) -> bytes | None:
        """A value as it stands in the file; None where the element is absent."""
        return self.values[_INDEX[keyword]]

    def text(self, keyword: str) -> str:
        """A value that identifies or orders, without its padding."""
        return (self.raw(keyword) or b"").decode("latin_1").strip("\0 ")

    @property
    def patient(self) -> str:
        """The PatientID; without one, a name for the study's patient, of whom nothing else is known."""
        return self.text("PatientID") or f"NOID_{short_hash(self.text('StudyInstanceUID')).upper()}"

    @property
    def levels(self) -> tuple[str, str, str, str]:
        """What tells patients, studies, series and instances apart."""
        uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        return self.patient, *map(self.text, uids)  # type: ignore[return-value]

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts instances as a reader would list them."""
        series, instance = _number(self.text("SeriesNumber")), _number(self.text("InstanceNumber"))
        patient, study, of_series, uid = self.levels
        return (
            patient,
            self.text("StudyDate"),
            self.text("StudyTime"),
            study,
            series,
            of_series,
            instance,
            uid,
        )


@dataclass(frozen=True)
class FileSet:
    """The outcome of a run; `refused` are files that are not in the File-set, and why."""

    path: Path
    media_profile: str
    instances: int
    written: int
    changed: bool
    earlier: int
    others: int
    notes: tuple[str, ...]
    refused: tuple[tuple[Path | str, str], ...]


def create(in_folder: Path, out_folder: Path, toolbox: Toolbox, progress: Progress, *, link: bool) -> FileSet:
    """Makes the File-set of all instances below a folder; the same folder for both gets a DICOMDIR only.

    Raises InputError before anything is written: folders, logs of ours, names that PS3.10 does not allow, a File-set
    of somebody else's, a disk too small. ToolError when dcmmkdir cannot be used, or its DICOMDIR is not right.
    """
    _check_folders(in_folder, out_folder)
    toolbox.require(["dcmmkdir"])
    in_place = out_folder.exists() and out_folder.samefile(in_folder)
    read = _Reader()
    found = _scan(in_folder, out_folder, read, progress)
    if not found.instances:
        raise InputError(
            f"--in_folder {in_folder}: no DICOM instance in {counted(found.files, 'file')}",
            *found.passed_over,
            *_first(found.refused),
        )
    _check_stranger(out_folder, _ANYTHING if in_place else _OURS)
    if in_place:
        _check_in_place(in_folder, found)
    with OutputLock(out_folder) as lock:
        earlier = _Found() if in_place else _scan_copies(out_folder, read)
        notes = [] if in_place else [*_plan(found.instances, earlier.instances)]
        _check_space(out_folder, found.instances, link=link or in_place)
        written = 0 if in_place else _copy(found.instances, out_folder, lock.staging, progress, link=link)
        new = {each.name for each in found.instances}
        kept = [each for each in earlier.instances if each.name not in new]
        media_profile, changed, told = _write_directory(
            out_folder, sorted([*found.instances, *kept], key=lambda each: each.name), toolbox, lock.staging
        )
    total = len(found.instances) + len(kept)
    path, refused = out_folder / NAME, tuple(found.refused)
    notes = [*found.passed_over, *notes, *told]
    return FileSet(
        path, media_profile, total, written, changed, len(kept), found.others, tuple(notes), refused
    )


# --- what is there ------------------------------------------------------------------------------------------------


@dataclass
class _Found:
    instances: list[Instance] = field(default_factory=list)
    refused: list[tuple[Path | str, str]] = field(default_factory=list)
    others: int = 0
    files: int = 0
    passed_over: tuple[str, ...] = ()


def _check_folders(in_folder: Path, out_folder: Path) -> None:
    if not in_folder.is_dir():
        raise InputError(f"--in_folder {in_folder}: there is no such folder")
    if out_folder.exists() and not out_folder.is_dir():
        raise InputError(f"--out_folder {out_folder}: is a file, not a folder")


def _scan(in_folder: Path, out_folder: Path, read: _Reader, progress: Progress) -> _Found:
    """Reads the header of every file; twins are one instance, contradicting ones none."""
    found = _Found()
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    inside = os.path.relpath(out_folder.resolve(), in_folder.resolve())
    own = in_folder / inside if inside != "." and not inside.startswith("..") else None
    walk = Walk(in_folder)
    for path in walk:
        if own and path.is_relative_to(own):
            continue
        found.files += 1
        progress("files read", found.files, 0)
        instance = read(path)
        if instance is None:
            found.others += 1
        elif isinstance(instance, str):
            found.refused.append((path, instance))
        else:
            by_uid[instance.text("SOPInstanceUID")].append(instance)
    found.passed_over = walk.notes
    for twins in by_uid.values():
        first, *rest = twins
        differing = [each for each in rest if not part10.dataset_bytes_equal(first.path, each.path)]
        if differing:
            why = "another file has the same SOP Instance UID and differs: neither is taken"
            found.refused += [(each.path, why) for each in twins]
        else:
            found.instances.append(first)
            found.others += len(rest)
    found.instances.sort(key=lambda each: each.order)
    return found


class _Reader:
    """Reads files one after another; values that repeat from instance to instance are kept once."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def __call__(self, path: Path) -> Instance | str | None:
        """The instance in a file; else why it cannot be one of a File-set; None for what nobody would list."""
        read = kinds.examine(path, _TAGS.values())
        if read.kind in _WHY_NOT:
            return _WHY_NOT[read.kind].format(read.why)
        if read.kind not in (Kind.INSTANCE, Kind.BARE):
            return None
        file, known = read.file, self._values
        values = tuple(each and known.setdefault(each, each) for each in map(file.values.get, _TAGS.values()))
        instance = Instance(
            str(path), file.size, sys.intern(file.transfer_syntax), file.character_sets, values
        )
        if read.kind is Kind.INSTANCE:
            return _why_not(instance) or instance
        bare = "has no DICOM preamble and prefix, which PS3.10 demands"
        return bare if instance.text("SOPInstanceUID") else None


def _why_not(instance: Instance) -> str:
    """Why a whole Part 10 file cannot be in a File-set, "" where it can."""
    missing = [keyword for keyword in _NEEDED if not instance.text(keyword)]
    if missing:
        return f"lacks {', '.join(missing)}, which cannot be invented"
    odd = [each for each in _NEEDED[:-1] if not is_uid(instance.text(each))]
    return f"its {odd[0]} is no UID" if odd else ""


def _scan_copies(out_folder: Path, read: _Reader) -> _Found:
    """The instances that an earlier run has put into the out folder."""
    found = _Found()
    for path in walk_with_logs(out_folder):
        name = path.relative_to(out_folder).as_posix()
        if _OURS.fullmatch(name):
            instance = read(path)
            if isinstance(instance, Instance):
                instance.name = name
                found.instances.append(instance)
    return found


def _first(refused: Sequence[tuple[Path | str, str]]) -> list[str]:
    return first_of([f"{path}: {why}" for path, why in refused], _LONGEST_LIST)


def _check_in_place(folder: Path, found: _Found) -> None:
    """Takes the names of the files as they are; raises InputError where a DICOMDIR cannot list them so."""
    faults: list[tuple[Path | str, str]] = []
    for each in found.instances:
        each.name = Path(each.path).relative_to(folder).as_posix()
        parts = each.name.split("/")
        lacking = [keyword for keyword in _INVENTABLE if not each.text(keyword)]
        if each.name == NAME or len(parts) > 8 or not all(map(_COMPONENT.fullmatch, parts)):
            faults.append(
                (each.path, "no name that PS3.10 allows: at most 8 parts of at most 8 of A-Z, 0-9 and _")
            )
        elif lacking or each.raw("PatientName") is None:
            faults.append((each.path, f"lacks {', '.join(lacking) or 'PatientName'}"))
    if faults:
        raise InputError(
            f"{folder} is the in folder and the out folder, and the files of a DICOMDIR cannot be listed as they are; "
            f"give another --out_folder: copies get other names, and what they lack",
            *_first(faults),
        )


def _check_stranger(out_folder: Path, names: re.Pattern[str]) -> None:
    """Raises InputError where a DICOMDIR is not ours, or lists files that we have not put there: it would be lost."""
    path = out_folder / NAME
    if path.exists():
        try:
            directory = mediadir.read(path.read_bytes())
            ours = all(names.fullmatch(each.file_id) for each in directory.leaves())
            ours = ours and directory.file_set_id == dcmmkdir.FILE_SET_ID
        except (OSError, ToolError):
            ours = False
        if not ours:
            raise InputError(
                f"{path} is of another File-set and would be lost: move it away, or name another folder"
            )


def _check_space(folder: Path, instances: Iterable[Instance], *, link: bool) -> None:
    size = sum(each.size for each in instances if not (folder / each.name).exists())
    if not link and size > (free := free_bytes(folder)):
        raise InputError(
            f"--out_folder {folder}: {size >> 20} MB are needed, {free >> 20} MB are free (--link needs less)"
        )


# --- names and what is invented -----------------------------------------------------------------------------------


def _plan(instances: Sequence[Instance], earlier: Sequence[Instance]) -> Iterator[str]:
    """Sets the name of every copy and the values that it lacks; yields a note on each kind of value."""
    names = _Names()
    for each in earlier:
        names.know(each)
    for each in instances:
        each.name = names.of(each.levels)
    studies: dict[tuple[str, ...], _Known] = {}
    series: dict[tuple[str, ...], _Known] = {}
    for each in instances:
        _remember(studies.setdefault(each.levels[:2], {}), each, ("StudyID",), "StudyID")
        _remember(studies[each.levels[:2]], each, _DATES, "StudyDate")
        _remember(studies[each.levels[:2]], each, _TIMES, "StudyTime")
        _remember(series.setdefault(each.levels[:3], {}), each, ("SeriesNumber",), "SeriesNumber")
    counts: dict[str, int] = defaultdict(int)
    for each in instances:
        each.invented = _invented(each, {**studies[each.levels[:2]], **series[each.levels[:3]]})
        for keyword in each.invented:
            counts[keyword] += 1
    for keyword, number in counts.items():
        yield f"{keyword} was missing in {counted(number, 'instance')}; the copies have {_INVENTIONS[keyword]}"


_INVENTIONS: Final = {
    "PatientID": "NOID_ and a hash of the Study Instance UID",
    "PatientName": "an empty one",
    "StudyDate": f"that of another instance, series or acquisition, or else {_NO_DATE}",
    "StudyTime": f"that of another instance, series or acquisition, or else {_NO_TIME}",
    "StudyID": "that of another instance, or else the number of the study in the File-set",
    "SeriesNumber": "that of another instance, or else the number of the series in the File-set",
    "InstanceNumber": "the number of the instance in the File-set",
}


_Known = dict[str, tuple[int, bytes]]
"""By keyword: the best value that any instance has, behind its rank among those (0: the best)."""


def _remember(known: _Known, each: Instance, sources: Iterable[str], keyword: str) -> None:
    """Keeps the best value for a keyword that any instance of a study or series has."""
    for rank, source in enumerate(sources):
        if each.text(source) and (keyword not in known or rank < known[keyword][0]):
            known[keyword] = rank, each.raw(source) or b""


def _invented(each: Instance, known: _Known) -> dict[str, bytes]:
    """The values that are added to the copy of an instance, by keyword."""
    numbers = [part[2:].lstrip("0").encode() for part in each.name.split("/")]
    otherwise = {
        "PatientID": each.patient.encode(),
        "StudyDate": _NO_DATE.encode(),
        "StudyTime": _NO_TIME.encode(),
        "StudyID": numbers[1],
        "SeriesNumber": numbers[2],
        "InstanceNumber": numbers[3],
    }
    invented = {
        key: known[key][1] if key in known else otherwise[key] for key in _INVENTABLE if not each.text(key)
    }
    return invented if each.raw("PatientName") is not None else {"PatientName": b"", **invented}


class _Names:
    """PA000001/ST000001/SE000001/IM000001 and so on: numbered, so that no name is used twice."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, ...], str] = {}
        self._highest: dict[str, int] = defaultdict(int)

    def know(self, each: Instance) -> None:
        """Remembers the name of a copy that an earlier run made."""
        for depth in range(4):
            parent, _, component = "/".join(each.name.split("/")[: depth + 1]).rpartition("/")
            self._given.setdefault(each.levels[: depth + 1], f"{parent}/{component}".lstrip("/"))
            self._highest[parent] = max(self._highest[parent], int(component[2:]))

    def of(self, levels: tuple[str, ...]) -> str:
        """The name of an instance; for the first of its levels, the folder of the series, study or patient."""
        if not levels:
            return ""
        if levels not in self._given:
            parent = self.of(levels[:-1])
            self._highest[parent] += 1
            if self._highest[parent] > _MOST:
                raise InputError(
                    f"more than {_MOST} {_PREFIXES[len(levels) - 1]} in one folder of the File-set"
                )
            component = f"{_PREFIXES[len(levels) - 1]}{self._highest[parent]:06}"
            self._given[levels] = f"{parent}/{component}".lstrip("/")
        return self._given[levels]


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[+-]?\d{1,12}", text, re.ASCII) else 0


# --- the copies ---------------------------------------------------------------------------------------------------


def _copy(
    instances: Sequence[Instance], out_folder: Path, staging: Path, progress: Progress, *, link: bool
) -> int:
    """Writes every copy that is not there already; returns how many were written."""
    written = 0
    for number, each in enumerate(instances, 1):
        progress("instances copied", number, len(instances))
        target = out_folder / each.name
        if target.exists() and target.samefile(each.path):
            continue
        with Path(each.path).open("rb", buffering=0) as handle:
            content = _content(handle, each)
            if content.equals(target):
                continue
            make_folders(target.parent)
            partial = staging / "copy"
            if each.invented or not link or not _linked(handle.fileno(), Path(each.path), partial):
                content.write(partial)
            partial.replace(target)
        written += 1
    return written


def _content(handle: FileIO, each: Instance) -> splice.Spliced:
    if not each.invented:
        return splice.unchanged(handle)
    added = [(_TAGS[keyword], _VRS[keyword], value) for keyword, value in each.invented.items()]
    return splice.spliced(handle, part10.layout(handle), added)


def _linked(source: int, path: Path, target: Path) -> bool:
    """Whether the file system shares the bytes: by a reflink, which passes no later changes on, else by a hard link."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
    try:
        fcntl.ioctl(descriptor, _FICLONE, source)
    except OSError:
        target.unlink()
    else:
        return True
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.link(path.resolve(), target)
        return True
    return False


# --- the DICOMDIR -------------------------------------------------------------------------------------------------


def _write_directory(
    folder: Path, instances: Sequence[Instance], toolbox: Toolbox, staging: Path
) -> tuple[str, bool, list[str]]:
    """Writes the DICOMDIR of all instances; returns the media profile, whether anything changed, and notes."""
    names = [each.name for each in instances]
    for media_profile in dcmmkdir.profiles_for(frozenset(each.syntax for each in instances)):
        made = dcmmkdir.make_dicomdir(toolbox, folder, names, media_profile, staging)
        if not made.refused:
            break
    notes = [
        f"{name}: listed by a record of ours, since dcmmkdir says: {why}"
        for name, why in made.refused.items()
    ]
    if made.inconsistent:
        notes.append(
            f"{counted(made.inconsistent, 'file contradicts', 'files contradict')} others of their patient, study or "
            f"series (another PatientName for one PatientID, say); the DICOMDIR tells what the first of them says"
        )
    if not made.data:
        raise ToolError(
            f"dcmmkdir lists none of the {len(names)} instances: {next(iter(made.refused.values()))}"
        )
    leaves = [_leaf(each) for each in instances if each.name in made.refused]
    data = mediadir.named_by_content(mediadir.with_leaves(made.data, leaves) if leaves else made.data)
    _check(data, instances)
    path = folder / NAME
    changed = not path.exists() or path.read_bytes() != data
    if changed:
        (staging / NAME).write_bytes(data)
        with (staging / NAME).open("rb") as file:
            os.fsync(file.fileno())
        limit_mode(staging / NAME, 0o660)
        (staging / NAME).replace(path)
    return media_profile.name, changed, notes


def _check(data: bytes, instances: Sequence[Instance]) -> None:
    """Raises ToolError unless every instance is referenced once, under its own name, and nothing else is."""
    expected = sorted((each.name, each.text("SOPInstanceUID").encode()) for each in instances)
    listed = sorted((leaf.file_id, leaf.key) for leaf in mediadir.read(data).leaves())
    if listed != expected:
        strays = sorted(set(expected) ^ set(listed))
        names = ", ".join(name for name, _ in strays[:_LONGEST_LIST]) or "a file is listed twice"
        raise ToolError(f"the DICOMDIR does not list every instance once, so it was not kept: {names}")


def _leaf(each: Instance) -> mediadir.Leaf:
    """The record of an instance that dcmmkdir refuses, with those above it."""
    values = {key: (each.raw(key) or b"").strip(b"\0 ") for key in _VRS} | dict(each.invented)

    def elements(*keywords: str) -> list[mediadir.Element]:
        return [(_TAGS[keyword], _VRS[keyword], values[keyword]) for keyword in keywords]

    image = each.text("SOPClassUID").startswith(_STANDARD_ROOT) and each.raw("Rows") is not None
    study = ("StudyDate", "StudyTime", "AccessionNumber", "StudyDescription", "StudyInstanceUID", "StudyID")
    return mediadir.Leaf(
        kind="IMAGE" if image else "PRIVATE",
        file_id=each.name,
        sop_class=each.text("SOPClassUID"),
        sop_instance=each.text("SOPInstanceUID"),
        transfer_syntax=each.syntax,
        character_set=each.character_set.strip(b"\0 "),
        levels=(
            ("PATIENT", elements("PatientName", "PatientID")),
            ("STUDY", elements(*study)),
            ("SERIES", elements("Modality", "SeriesInstanceUID", "SeriesNumber")),
        ),
        elements=elements("InstanceNumber") if image else (),
    )
