"""Private tags for Karnak: who the patient becomes, which album the study goes to, by how many days dates shift.

Every file is read before the first is changed. A file is written again in staging, byte for byte except for
the tags, and renamed over the old one when it is on disk. Source: DICOM PS3.5 section 7.8 (private data elements).
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsifier.dicom import kinds, part10
from pacsifier.dicom.kinds import Kind
from pacsifier.dicom.splice import Added, UnreadableError, spliced
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.walk import Progress, Walk
from pacsifier.errors import InputError
from pacsifier.maps import Person, looked_up, named, names_in_map, settled

CREATOR: Final = b"CHUV_DEV_TML"
_GROUP: Final = 0x000B0000
_CODE, _ALBUM, _SHIFT = 0x01, 0x02, 0x03
_WHO: Final = (0x00100021, 0x00100020, 0x00100030)  # IssuerOfPatientID, PatientID, PatientBirthDate
_LO: Final = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,64}")
_LO_ALLOWED: Final = "1 to 64 ASCII characters without backslash are allowed (VR LO)"
_AT_ONCE: Final = 4  # most of the time goes into waiting for the disk
_SLICE: Final = 100
_NO_FILE: Final = "a link, a folder that cannot be read, or no file: not changed"
_WHY_NOT: Final[Mapping[Kind, str]] = {
    **dict.fromkeys(kinds.NO_FILE, _NO_FILE),
    Kind.LINKED_FOLDER: f"{Kind.LINKED_FOLDER.value}: not changed",
    Kind.UNREADABLE: "cannot be read: {}",
    Kind.BARE: "has no DICOM preamble and prefix: not changed",
    Kind.NOT_WHOLE: "not whole: {}; not changed",
}
_NO_PATIENT_ID: Final = "(no PatientID)"


@dataclass(frozen=True)
class Tags:
    """What every file of a patient gets."""

    code: str
    album: str
    shift_days: int

    @property
    def values(self) -> Mapping[int, bytes]:
        """The value of each element of the block, padded to even length."""
        texts = {_CODE: self.code, _ALBUM: self.album, _SHIFT: str(self.shift_days)}
        return {element: _even(text.encode("ascii")) for element, text in texts.items()}


@dataclass(frozen=True)
class Tagged:
    """The outcome of a run; `failures` are path and reason."""

    patients: int
    changed: int
    already: int
    others: int
    notes: tuple[str, ...]
    failures: tuple[tuple[Path, str], ...]


def add_tags(
    in_folder: Path,
    new_ids: Mapping[str, str],
    day_shifts: Mapping[str, int] | None,
    album: str,
    progress: Progress,
    *,
    dry_run: bool,
) -> Tagged:
    """Tags every instance below a folder, in place; what carries these tags already stays untouched.

    Raises InputError before any change: album, folder, logs of ours, a patient without a code, two with one code.
    """
    _check_album(album)
    if not in_folder.is_dir():
        raise InputError(f"--in_folder {in_folder}: there is no such folder")
    found = _scan(in_folder, progress)
    tags, notes = _tags(found.files, new_ids, day_shifts or {}, album)
    if day_shifts is None and tags:
        notes = [f"no --day_shift: 0 days for all {len(tags)} patients"]
    notes = [*found.passed_over, *notes]
    notes += [
        f"patient {person[1]!r} has {len(days)} birth dates: if these are several people, they became one"
        for person, days in found.birth_dates.items()
        if len(days) > 1
    ]
    work = [(path, tags[person]) for person, paths in found.files.items() for path in paths]
    if dry_run:
        outcomes = _each(work, lambda path, of: _tag(path, of, None), progress)
    else:
        with OutputLock(in_folder) as lock:
            outcomes = _each(work, lambda path, of: _tag(path, of, lock.staging), progress)
    failures = [
        *found.failures,
        *((path, of.failure) for (path, _), of in zip(work, outcomes, strict=True) if of.failure),
    ]
    changed = sum(of.changed for of in outcomes)
    already = sum(not of.changed and not of.failure for of in outcomes)
    return Tagged(len(tags), changed, already, found.others, tuple(notes), tuple(failures))


# --- who gets what ------------------------------------------------------------------------------------------------


def _check_album(album: str) -> None:
    if not _LO.fullmatch(album) or not album.strip():
        raise InputError(f"--album_name {album!r}: {_LO_ALLOWED}")


# --- who is there -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    files: Mapping[Person, Sequence[Path]]
    birth_dates: Mapping[Person, set[str]]
    others: int
    passed_over: Sequence[str]
    failures: Sequence[tuple[Path, str]]


def _scan(in_folder: Path, progress: Progress) -> _Found:
    """The instances below a folder, by patient, and the files that cannot be tagged."""
    files: dict[Person, list[Path]] = defaultdict(list)
    birth_dates: dict[Person, set[str]] = defaultdict(set)
    failures: list[tuple[Path, str]] = []
    others = 0
    walk = Walk(in_folder)
    for number, path in enumerate(walk, 1):
        progress("files read", number, 0)
        read = _read(path)
        if read is None:
            others += 1
        elif isinstance(read, str):
            failures.append((path, read))
        else:
            person, birth_date = read
            files[person].append(path)
            birth_dates[person] |= {birth_date} - {""}
    return _Found(files, birth_dates, others, walk.notes, failures)


def _read(path: Path) -> tuple[Person, str] | str | None:
    """The person and birth date of an instance; else why it cannot be tagged; None for what nobody would tag."""
    if path.is_symlink():
        return _WHY_NOT[Kind.LINKED_FOLDER] if path.is_dir() else _NO_FILE
    read = kinds.examine(path, _WHO)
    if read.kind is not Kind.INSTANCE:
        return _WHY_NOT[read.kind].format(read.why) if read.kind in _WHY_NOT else None
    issuer, patient_id, birth_date = ((read.file.text(tag) or "").strip() for tag in _WHO)
    return (issuer, patient_id), birth_date


def _tags(
    files: Mapping[Person, Sequence[Path]], codes: Mapping[str, str], shifts: Mapping[str, int], album: str
) -> tuple[dict[Person, Tags], list[str]]:
    """What the files of each patient get, and a note on each day shift that is missing."""
    owners = settled(files)
    people = Counter(patient_id for _, patient_id in set(owners.values()))
    tags: dict[Person, Tags] = {}
    notes: list[str] = []
    missing: list[str] = []
    for person in files:
        issuer, patient_id = owners[person]
        shared = people[patient_id] > 1
        if not (issuer or patient_id or shared):
            patient_id = _NO_PATIENT_ID
        names = names_in_map((issuer, patient_id), shared=shared)
        code, shift = looked_up(codes, names), looked_up(shifts, names)
        if code is None:
            missing.append(f"{issuer}|{patient_id}" if issuer or shared else patient_id)
            continue
        if shift is None:
            notes.append(f"patient {person[1]!r}: no day shift in the map, 0 is written")
        tags[person] = Tags(code, album, shift or 0)
    if missing:
        raise InputError(
            f"--new_ids has no code for {named(missing)}; nothing was changed. (A PatientID that two issuers use must "
            f"stand there as issuer|PatientID for both.)"
        )
    _check_unique(tags)
    return tags, notes


def _check_unique(tags: Mapping[Person, Tags]) -> None:
    holders: dict[str, set[str]] = defaultdict(set)
    for (_, patient_id), of in tags.items():
        holders[of.code].add(patient_id)
    twins = sorted(patient for patients in holders.values() if len(patients) > 1 for patient in patients)
    if twins:
        raise InputError(
            f"--new_ids gives one code to {named(twins)}, who would become one; nothing was changed"
        )


# --- the files ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcome:
    """What became of one file; neither changed nor failed: it carried the tags already."""

    changed: bool = False
    failure: str = ""


def _each(
    work: Sequence[tuple[Path, Tags]], act: Callable[[Path, Tags], _Outcome], progress: Progress
) -> list[_Outcome]:
    """The outcome of each file, several at a time."""
    outcomes: list[_Outcome] = []
    executor = ThreadPoolExecutor(_AT_ONCE)
    try:
        for start in range(0, len(work), _SLICE):
            outcomes += executor.map(lambda each: act(*each), work[start : start + _SLICE])
            progress("files tagged", len(outcomes), len(work))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return outcomes


def _tag(path: Path, tags: Tags, staging: Path | None) -> _Outcome:
    """Tags one file; without staging it says only what would become of it."""
    try:
        with path.open("rb", buffering=0) as handle:
            layout = part10.layout(handle)
            added = _added(layout, tags)
            if not added:
                return _Outcome()
            content = spliced(handle, layout, added)
            if staging:
                staged = staging / f"{os.getpid()}-{id(handle)}"
                content.write(staged, mode=os.fstat(handle.fileno()).st_mode & 0o7777, durable=True)
                staged.replace(path)
    except UnreadableError as error:
        return _Outcome(failure=f"{error}; not changed")
    except OSError as error:
        return _Outcome(failure=f"cannot be read or written: {error.strerror}; not changed")
    return _Outcome(changed=True)


def _added(layout: part10.Layout, tags: Tags) -> list[Added]:
    """The elements that a file lacks or holds with another value; none where the tags are there."""
    there = {
        tag: layout.source[start:stop]
        for tag, _, _, start, stop, _ in layout.elements
        if tag & 0xFFFF0000 == _GROUP and stop - start < 1 << 16
    }
    ours = [tag & 0xFF for tag, value in there.items() if _is_creator(tag) and value.strip(b"\0 ") == CREATOR]
    block = (
        ours[0] if ours else _free_block([tag for tag, *_ in layout.elements if tag & 0xFFFF0000 == _GROUP])
    )
    wanted = {_GROUP | block: _even(CREATOR)}
    wanted |= {_GROUP | block << 8 | element: value for element, value in tags.values.items()}
    stale = [_GROUP | other << 8 | element for other in ours[1:] for element in tags.values]
    if all(there.get(tag) == value for tag, value in wanted.items()) and not there.keys() & set(stale):
        return []
    return [*((tag, "LO", value) for tag, value in wanted.items()), *((tag, "", b"") for tag in stale)]


def _is_creator(tag: int) -> bool:
    return 0x10 <= tag & 0xFFFF <= 0xFF


def _free_block(tags: Sequence[int]) -> int:
    """The first block that nobody has reserved, and nobody uses without having reserved it."""
    taken = {tag & 0xFF if _is_creator(tag) else tag >> 8 & 0xFF for tag in tags}
    free = next((block for block in range(0x10, 0x100) if block not in taken), None)
    if free is None:
        raise UnreadableError("all private blocks of group 000B are taken")
    return free


def _even(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)
