"""What kind of file this is: every command that goes through a folder asks here, and decides for itself what to do."""

from __future__ import annotations

import errno
import stat
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from pacsifier.dicom import part10

SOP_CLASS: Final = 0x00080016
_MEDIA_CLASS: Final = 0x00020002
_DIRECTORY: Final = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_LEADS_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_STANDARD_ROOT: Final = "1.2.840.10008."


class Kind(Enum):
    """The kinds that a command may treat each in its own way; the value says it in a message."""

    INSTANCE = "a whole Part 10 file, no DICOMDIR"
    NOT_WHOLE = "a Part 10 file that is cut or contradicts itself"
    DIRECTORY = "a DICOMDIR, whole or not"
    BARE = "a data set of a standard SOP class without preamble and prefix"
    OTHER = "no DICOM"
    LINKED_FOLDER = "a link to a folder, which is not followed"
    FOLDER = "a folder that cannot be read"
    DEAD_LINK = "a link that leads nowhere"
    SPECIAL = "neither a file nor a folder: a pipe, a socket, a device"
    UNREADABLE = "a file that the system does not let us read"


NO_FILE: Final = frozenset((Kind.LINKED_FOLDER, Kind.FOLDER, Kind.DEAD_LINK, Kind.SPECIAL))


_NOTHING: Final = part10.Part10File({}, b"", "no file", False, False, "", 0, 0)


@dataclass(frozen=True)
class Examined:
    """A file's kind and the elements that were wanted of it; `why` is the defect, or what the system says."""

    kind: Kind
    file: part10.Part10File = _NOTHING
    why: str = ""

    @property
    def sop_class(self) -> str:
        """The SOP Class UID of the data set; "" where there is none."""
        return (self.file.text(SOP_CLASS) or "").strip()


def examine(path: Path, wanted: Collection[int]) -> Examined:
    """Read the wanted elements of whatever lies at a path, and say what it is; links to files are followed.

    Never raises OSError. Nothing but a regular file is opened: a pipe would wait for its writer.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return Examined(_folder(path) if stat.S_ISDIR(mode) else Kind.SPECIAL)
        file = part10.read(path, (*wanted, SOP_CLASS, _MEDIA_CLASS))
    except OSError as error:
        dead = error.errno in _LEADS_NOWHERE and path.is_symlink()
        kind = Kind.DEAD_LINK if dead else Kind.UNREADABLE
        return Examined(kind, why=error.strerror or str(error))
    return Examined(kind_of(file), file, file.defect)


def why_not_opened(path: Path, error: OSError) -> str:
    """What to say of a path in a walk that could not be opened: the system calls a link to a folder a directory."""
    return _folder(path).value if isinstance(error, IsADirectoryError) else error.strerror or str(error)


def _folder(path: Path) -> Kind:
    return Kind.LINKED_FOLDER if path.is_symlink() else Kind.FOLDER


def kind_of(file: part10.Part10File) -> Kind:
    """The kind of what was read from a regular file, SOP class and file meta information included."""
    if not file.is_part10:
        known = (file.text(SOP_CLASS) or "").strip().startswith(_STANDARD_ROOT)
        return Kind.BARE if known else Kind.OTHER
    if file.values.get(_MEDIA_CLASS, b"").strip(b"\0 ") == _DIRECTORY:
        return Kind.DIRECTORY
    return Kind.NOT_WHOLE if file.defect else Kind.INSTANCE
