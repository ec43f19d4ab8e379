"""The objects that lie in staging: read as they arrive, handed out by series once their request has ended."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pacsifier.dicom import part10
from pacsifier.query import ATTRIBUTES, INFO_COLUMNS

HEADER_KEYWORDS = (*INFO_COLUMNS, "SOPInstanceUID", "SOPClassUID", "IssuerOfPatientID")
# SourceApplicationEntityTitle: who sent it, as storescp writes it.
_CALLER = 0x00020016
_TAGS = frozenset(ATTRIBUTES[keyword].tag for keyword in (*HEADER_KEYWORDS, "LossyImageCompression")) | {
    _CALLER
}
_STUDY, _SERIES, _INSTANCE, _CLASS = (
    ATTRIBUTES[keyword].tag
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
)

_WEIGHED_S = 0.1


@dataclass(frozen=True)
class Arrival:
    """One received object; its identity is the triple of UIDs in its own header."""

    path: Path
    file: part10.Part10File

    @property
    def series_key(self) -> tuple[str, str]:
        """Study and Series Instance UID."""
        return self._uid(_STUDY), self._uid(_SERIES)

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return self._uid(_INSTANCE)

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        return self._uid(_CLASS)

    @property
    def caller(self) -> str:
        """The AE title that the sender gave; "" where it is not told."""
        return self._uid(_CALLER).strip()

    @property
    def prefix(self) -> str:
        """What DCMTK names a file of this class by: `MR`, `CT`, `SRc`."""
        return self.path.name.partition(".")[0]

    @property
    def is_lossy(self) -> bool:
        """Whether the pixels were ever compressed with loss (PS3.3 C.7.6.1.1.5)."""
        return self.text("LossyImageCompression") == "01"

    def text(self, keyword: str) -> str | None:
        """One of the header's values; None where the element is absent."""
        return self.file.text(ATTRIBUTES[keyword].tag)

    def values(self) -> dict[str, str | None]:
        """The header's values by keyword; None where the element is absent."""
        return {keyword: self.text(keyword) for keyword in HEADER_KEYWORDS}

    def _uid(self, tag: int) -> str:
        return self.file.values.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace")


def read_object(path: Path) -> Arrival:
    """Reads the header of an object and whether it is whole."""
    return Arrival(path, part10.read(path, _TAGS))


def _size(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return None


class Arrivals:
    """The staging folder of a receiver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole: dict[tuple[str, str], dict[str, Arrival]] = defaultdict(dict)
        self._broken: dict[str, Arrival] = {}
        self._known: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._weighed = 0.0
        self.received = 0

    def scan(self) -> int:
        """Reads the headers of objects that are new; the number of those that are whole now."""
        fresh = 0
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if entry.name not in self._known]
        for name in names:
            fresh += self._read(name)
        self.received += fresh
        return fresh

    def grew(self) -> bool:
        """Whether a file that is not whole has grown since the last time; looks every 0.1 s at most."""
        if time.monotonic() - self._weighed < _WEIGHED_S:
            return False
        before = self._sizes
        self._sizes = {name: _size(self.folder / name) or 0 for name in self._broken}
        self._weighed = time.monotonic()
        return any(size > before.get(name, 0) for name, size in self._sizes.items())

    def take(self, series_key: tuple[str, str]) -> Iterator[Arrival]:
        """Hands out the whole objects of a series, read again where the file grew after its first reading."""
        self._read_broken_again()
        for name, arrival in list(self._whole.get(series_key, {}).items()):
            if _size(arrival.path) != arrival.file.size:
                del self._whole[series_key][name]
                self._read(name)
        for name, arrival in self._whole.pop(series_key, {}).items():
            # A name in staging is used once (`+uf`): it need not be remembered.
            self._known.discard(name)
            yield arrival

    def waiting(self) -> list[tuple[str, str]]:
        """The series of which whole objects wait to be taken."""
        return list(self._whole)

    def callers(self, series_keys: Iterable[tuple[str, str]]) -> Counter[str]:
        """How many whole objects of these series wait to be taken, by the AE title of their sender."""
        self._read_broken_again()
        return Counter(arrival.caller for key in series_keys for arrival in self._whole.get(key, {}).values())

    def take_strangers(self) -> Iterator[Arrival]:
        """Hands out all whole objects that nobody took."""
        self._read_broken_again()
        for key in list(self._whole):
            yield from self.take(key)

    def take_broken(self) -> list[Arrival]:
        """Hands out the objects that are not whole; they stay on disk until the caller removes them."""
        self._read_broken_again()
        broken = list(self._broken.values())
        self._broken.clear()
        return broken

    def _read_broken_again(self) -> None:
        for name, arrival in list(self._broken.items()):
            # It is only ever appended to; a hostile one takes a second to read.
            if _size(arrival.path) != arrival.file.size:
                self._read(name)

    def _read(self, name: str) -> int:
        self._broken.pop(name, None)
        self._known.add(name)
        try:
            arrival = read_object(self.folder / name)
        except FileNotFoundError:
            # storescp removes what it could not finish, such as on a full disk.
            return 0
        if arrival.file.whole:
            self._whole[arrival.series_key][name] = arrival
            return 1
        self._broken[name] = arrival
        return 0
