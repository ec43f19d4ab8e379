"""The key to the patients: secret, pseudonyms, day shifts, accepted words. Kept apart from the images."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacsifier.disk.files import write_whole
from pacsifier.disk.lock import file_lock
from pacsifier.errors import Fault, InputError

_WARNING = (
    "Keep this file apart from the de-identified images: with it, every patient can be found again. Without it, "
    "a later export of the same patients does not fit this one."
)
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Shifts:
    """How far the dates of a patient move, in days, and whether the birth date is left empty for good."""

    birth_date_days: int
    date_days: int = 0
    birth_date_emptied: bool = False


@dataclass
class Key:
    """What makes a later export fit an earlier one; patients by `issuer|PatientID`.

    `studies` are the new StudyInstanceUIDs of each pseudonym, by which the images of an output tell their key; None in
    keys from before they were kept. `words` were accepted by a person, `shared_words` by how many patients share them.
    """

    secret: bytes
    pseudonyms: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, Shifts] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    shared_words: dict[str, int] = field(default_factory=dict)
    options: dict[str, dict[str, bool]] = field(default_factory=dict)
    studies: dict[str, set[str]] | None = field(default_factory=dict)

    def has_made(self, pseudonym: str, study_uid: str) -> bool:
        """Whether an image with these values was made with this key; without a PatientID it had none before."""
        if self.studies is None:
            return not pseudonym or pseudonym in self.pseudonyms.values()
        studies = [self.studies.get(pseudonym, ())] if pseudonym else self.studies.values()
        return any(study_uid in each for each in studies)

    def add_studies(self, pseudonym: str, study_uids: Iterable[str]) -> None:
        """Remembers new StudyInstanceUIDs of a patient."""
        self.studies = self.studies or {}
        self.studies.setdefault(pseudonym, set()).update(study_uids)


def key_path(out_folder: Path, chosen: Path | None) -> Path:
    """The file of the key: the chosen one, or `<out_folder>.key.json`; never in the output (InputError)."""
    out = out_folder.resolve()
    path = chosen.parent.resolve() / chosen.name if chosen else out.with_name(f"{out.name}.key.json")
    if not out.name:
        raise InputError(f"{out_folder}: the root of a file system is no output folder")
    if path.is_symlink():
        raise InputError(
            f"{path} is a link; the key to the patients is not written through one: name the file itself"
        )
    if out in path.parents:
        raise InputError(
            f"{path}: the key to the patients must not lie in the output folder; name another place"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(
            f"{path.parent}: the key to the patients cannot be written there; name a place with --key"
        )
    return path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Key]:
    """The key, read or made new; written back (0600) when all went well. No other run changes it meanwhile.

    Raises InputError where the file is no key.
    """
    with file_lock(path.with_name(f".{path.name}.lock")):
        key = read(path) if path.exists() else Key(secrets.token_bytes(_SECRET_BYTES))
        yield key
        write_whole(path, _spelled(key), mode=0o600)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> Key:
    """The key as it is on disk; raises InputError where the file is no key."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        studies = document.get("studies")
        secret = bytes.fromhex(document["secret"])
        if len(secret) < _SECRET_BYTES:
            raise ValueError("the secret is too short")
        return Key(
            secret,
            {str(person): str(new) for person, new in document["pseudonyms"].items()},
            {str(person): Shifts(**shifts) for person, shifts in document["day_shifts"].items()},
            set(document["kept_words"]),
            {str(word): int(number) for word, number in document.get("shared_words", {}).items()},
            dict(document.get("options", {})),
            None if studies is None else {str(new): set(uids) for new, uids in studies.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            Fault(str(path), f"is no key of pacsifier-anonymize ({type(error).__name__})")
        ) from error
    except OSError as error:
        raise InputError(Fault(str(path), f"cannot be read: {error.strerror}")) from error


def _spelled(key: Key) -> str:
    rest = json.dumps(
        {
            "version": 1,
            "secret": key.secret.hex(),
            "pseudonyms": dict(sorted(key.pseudonyms.items())),
            "day_shifts": {person: vars(shifts) for person, shifts in sorted(key.shifts.items())},
            "kept_words": sorted(key.words),
            "shared_words": dict(sorted(key.shared_words.items())),
            "options": key.options,
            "studies": {new: sorted(uids) for new, uids in sorted((key.studies or {}).items())},
        },
        indent=1,
        ensure_ascii=False,
    )
    return f'{{"keep_apart": {json.dumps(_WARNING)},\n{rest[2:]}\n'
