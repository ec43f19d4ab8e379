"""Private tags for Karnak: who the patient becomes, which album the study goes to, by how many days dates shift.

Every file is read before the first is changed. A file is written anew in staging, byte for byte but for the tags, and
renamed into its place when it is on disk. Source: DICOM PS3.5 section 7.8 (private data elements).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pacsifier.dicom import part10
from pacsifier.dicom.splice import Added, UnreadableError, spliced
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.names import slug
from pacsifier.disk.walk import Walk
from pacsifier.errors import InputError
from pacsifier.flows.deid_service import named
from pacsifier.maps import PREFIX

CREATOR: Final = b"CHUV_DEV_TML"
_GROUP: Final = 0x000B0000
_CODE, _ALBUM, _SHIFT = 0x01, 0x02, 0x03
_META_CLASS, _SOP_CLASS = 0x00020002, 0x00080016
_WHO: Final = (0x00100021, 0x00100020, 0x00100030)  # IssuerOfPatientID, PatientID, PatientBirthDate
_DIRECTORY: Final = b"1.2.840.10008.1.3.10"
_LO: Final = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,64}")
_LO_ALLOWED: Final = "1 to 64 ASCII characters without backslash are allowed (VR LO)"
_AT_ONCE: Final = 4  # to wait for the disk is most of the work
_SLICE: Final = 100

_Value = TypeVar("_Value")
Person = tuple[str, str]
"""IssuerOfPatientID and PatientID."""
Progress = Callable[[str, int, int], None]


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
class Summary:
    """What a run came to; `failures` are path and reason."""

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
) -> Summary:
    """Tags every instance below a folder, in place; what is tagged so already stays untouched.

    Raises InputError before any change: album, folder, logs of ours, a patient without a code, two with one code.
    """
    codes, shifts = _unprefixed(new_ids), _unprefixed(day_shifts or {})
    _check_album(album)
    if not in_folder.is_dir():
        raise InputError(f"--in_folder {in_folder}: there is no such folder")
    found = _scan(in_folder, progress)
    tags, notes = _tags(found.files, codes, shifts, album)
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
    failures = [*found.failures, *((path, why) for (path, _), why in zip(work, outcomes, strict=True) if why)]
    changed, already = outcomes.count(None), outcomes.count("")
    return Summary(len(tags), changed, already, found.others, tuple(notes), tuple(failures))


# --- who gets what ------------------------------------------------------------------------------------------------


def _unprefixed(values: Mapping[str, _Value]) -> dict[str, _Value]:
    return {key.removeprefix(PREFIX): value for key, value in values.items()}


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
    """The instances below a folder by patient, and what cannot be tagged."""
    files: dict[Person, list[Path]] = defaultdict(list)
    birth_dates: dict[Person, set[str]] = defaultdict(set)
    failures: list[tuple[Path, str]] = []
    others = 0
    walk = Walk(in_folder)
    for number, path in enumerate(walk, 1):
        progress("files read", number, 0)
        read = _read(path)
        if isinstance(read, tuple):
            *person, birth_date = read
            files[person[0], person[1]].append(path)
            birth_dates[person[0], person[1]] |= {birth_date} - {""}
        elif read:
            failures.append((path, read))
        else:
            others += 1
    return _Found(files, birth_dates, others, walk.notes, failures)


def _read(path: Path) -> tuple[str, str, str] | str:
    """Issuer, PatientID and birth date; else why a file cannot be tagged, "" where nobody would expect it."""
    if path.is_symlink() or not path.is_file():
        return "a link, a folder that cannot be read, or no file: not changed"
    try:
        file = part10.read(path, (_META_CLASS, _SOP_CLASS, *_WHO))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not file.is_part10:
        known = (file.text(_SOP_CLASS) or "").startswith("1.2.840.10008.")
        return "has no DICOM preamble and prefix: not changed" if known else ""
    if file.values.get(_META_CLASS, b"").strip(b"\0 ") == _DIRECTORY:
        return ""
    if file.defect:
        return f"not whole: {file.defect}; not changed"
    issuer, patient_id, birth_date = ((file.text(tag) or "").strip() for tag in _WHO)
    return issuer, patient_id, birth_date


def _tags(
    files: Mapping[Person, Sequence[Path]], codes: Mapping[str, str], shifts: Mapping[str, int], album: str
) -> tuple[dict[Person, Tags], list[str]]:
    """What each patient's files get, and a word for each day shift that is missing."""
    issuers: dict[str, set[str]] = defaultdict(set)
    for issuer, patient_id in files:
        issuers[patient_id] |= {issuer} - {""}
    tags: dict[Person, Tags] = {}
    notes: list[str] = []
    missing: list[str] = []
    for issuer, patient_id in files:
        known = issuers[patient_id]
        # Where one issuer is known, none means that one.
        names = _names(issuer or (next(iter(known)) if len(known) == 1 else ""), patient_id, len(known) > 1)
        code = next((codes[name] for name in names if name in codes), None)
        shift = next((shifts[name] for name in names if name in shifts), None)
        if code is None:
            missing.append(names[0])
            continue
        if shift is None:
            notes.append(f"patient {patient_id!r}: no day shift in the map, 0 is written")
        tags[issuer, patient_id] = Tags(code, album, shift or 0)
    if missing:
        raise InputError(
            f"--new_ids has no code for {named(missing)}; nothing was changed. (A PatientID that two issuers use must "
            f"stand there as issuer|PatientID for both.)"
        )
    _check_unique(tags)
    return tags, notes


def _names(issuer: str, patient_id: str, ambiguous: bool) -> list[str]:
    """Under which keys a map may hold a patient, the most telling first."""
    full = f"{issuer}|{patient_id}"
    plain = [patient_id, slug(patient_id)] if patient_id else []
    if ambiguous:
        return [full]
    return list(dict.fromkeys([full, *plain])) if issuer else plain or ["(no PatientID)"]


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


def _each(
    work: Sequence[tuple[Path, Tags]], act: Callable[[Path, Tags], str | None], progress: Progress
) -> list[str | None]:
    """The outcome of each file, several at a time."""
    outcomes: list[str | None] = []
    executor = ThreadPoolExecutor(_AT_ONCE)
    try:
        for start in range(0, len(work), _SLICE):
            outcomes += executor.map(lambda each: act(*each), work[start : start + _SLICE])
            progress("files tagged", len(outcomes), len(work))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return outcomes


def _tag(path: Path, tags: Tags, staging: Path | None) -> str | None:
    """Tags one file; gives None where it changed (or would), "" where it is as it should be, else why it cannot be."""
    try:
        with path.open("rb", buffering=0) as handle:
            layout = part10.layout(handle)
            added = _added(layout, tags)
            if not added:
                return ""
            content = spliced(handle, layout, added)
            if staging:
                staged = staging / f"{os.getpid()}-{id(handle)}"
                content.write(staged, mode=os.fstat(handle.fileno()).st_mode & 0o7777, durable=True)
                staged.replace(path)
    except UnreadableError as error:
        return f"{error}; not changed"
    except OSError as error:
        return f"cannot be read or written: {error.strerror}; not changed"
    return None


def _added(layout: part10.Layout, tags: Tags) -> list[Added]:
    """The elements that a file lacks or has otherwise; none where the tags are there."""
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
    """The first block that nobody has reserved and nobody uses without."""
    taken = {tag & 0xFF if _is_creator(tag) else tag >> 8 & 0xFF for tag in tags}
    free = next((block for block in range(0x10, 0x100) if block not in taken), None)
    if free is None:
        raise UnreadableError("all private blocks of group 000B are taken")
    return free


def _even(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)
