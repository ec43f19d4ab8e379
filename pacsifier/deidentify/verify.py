"""The proof: the output read again, by other means than it was written, in search of what is known of the input.

Every file is decoded by pydicom, and its raw bytes (pixel data aside) are searched too. A hit is an error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from pacsifier.deidentify import report
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES, Identifiers, fold_for_search
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.model import FILES_PER_TASK, Request, Verified
from pacsifier.disk.walk import Progress

Hit = tuple[str, str, str]
"""File, tag and kind of what was found; never a value."""

_UID = re.compile(rb"[0-9]+(?:\.[0-9]+){2,}")
_TEXT_VRS = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "UR", "PN", "AE"))
# Codes, and the marks that de-identification itself sets.
_CODED = frozenset(
    (0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119, 0x00080120, 0x00120063, 0x00120064)
)
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_REMOVED = "removed"
_KNOWN_WORD, _KNOWN_DAY, _KNOWN_WHOLE = _KNOWN_KINDS = (
    "known identifier",
    "known date",
    "known identifier, as a whole",
)


def verify(
    outputs: Mapping[str, Sequence[str]],
    subjects: Mapping[str, Subject],
    old_uids: frozenset[str],
    request: Request,
    progress: Progress,
) -> Verified:
    """Searches the outputs of each patient; a row of the report is written for each hit as it is found."""
    tasks = [
        (subjects[name], tuple(names[at : at + FILES_PER_TASK]))
        for name, names in outputs.items()
        for at in range(0, len(names), FILES_PER_TASK)
    ]
    total, files, hits = sum(len(names) for _, names in tasks), 0, 0
    verifier = Verifier(request.out_folder, request.keep_patient_dir_names, old_uids)
    with report.Table(request.beside(report.VERIFY), ("file", "tag", "what")) as table:
        for number, found in shared(lambda: verifier, tasks, request.workers):
            files += number
            hits += len(found)
            for hit in found:
                table.row(hit)
            progress("files verified", files, total)
        for subject in subjects.values():
            for word in sorted(subject.known.wholes):
                table.row(("", "", f"{subject.new_id}: not searched, too short ({len(word)} characters)"))
    return Verified(files, hits, sum(len(subject.known.wholes) for subject in subjects.values()))


@dataclass(frozen=True)
class Verifier:
    """Searches files of one patient, one Verifier in each process.

    It knows where the output lies, whether folders keep their names, and every old UID met.
    """

    out_folder: Path
    names_kept: bool
    old_uids: frozenset[str]

    def __call__(self, task: tuple[Subject, tuple[str, ...]]) -> tuple[int, list[Hit]]:
        """How many files were read, and their hits."""
        subject, names = task
        search = _Search(subject, self.old_uids)
        hits: list[Hit] = []
        for name in names:
            if not self.names_kept:
                hits += [
                    (name, "name of the file", kind)
                    for kind in search.in_text(fold_for_search(name.replace("/", " ")))
                ]
            hits += [(name, tag, kind) for tag, kind in search.in_file(self.out_folder / name)]
        return len(names), hits


class _Search:
    """Looks for what is known of one patient."""

    def __init__(self, subject: Subject, old_uids: frozenset[str]) -> None:
        self._known: Identifiers = subject.known
        self._new = {fold_for_search(subject.new_id), fold_for_search(f"{subject.new_id}^sub")}
        self._moved = set(subject.moved_days.values())
        self._old_uids = old_uids
        self._bytes = sorted({*self._in_bytes(), *self._known.coded})

    def _in_bytes(self) -> Iterator[bytes]:
        for word in self._known.words:
            for encoding in ("latin_1", "utf_8", "utf_16_le"):
                needle = word.encode(encoding, "ignore")
                if len(needle.strip(b"\0")) >= SHORTEST_IN_BYTES * (2 if encoding == "utf_16_le" else 1):
                    yield needle

    def in_file(self, path: Path) -> Iterator[tuple[str, str]]:
        """Tag and kind of every hit in a file."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path, stop_before_pixels=True)
                exempt: list[bytes] = []
                found = list(self._in_dataset(dataset, exempt, ""))
            except Exception as error:  # whatever pydicom meets in a broken element
                yield "the whole file", f"cannot be read again: {type(error).__name__}"
                return
        yield from found
        named = any(kind in _KNOWN_KINDS for _, kind in found)
        yield from self._in_raw(path, b"\0".join(exempt), named)

    def _in_dataset(self, dataset: Dataset, exempt: list[bytes], above: str) -> Iterator[tuple[str, str]]:
        for tag in sorted(dataset.keys()):
            element = dataset[tag]
            spelled = f"{above}({tag.group:04X},{tag.element:04X})"
            if element.VR == "SQ":
                for item in element.value:
                    yield from self._in_dataset(item, exempt, f"{spelled}/")
            elif element.VR == "UI":
                values = element.value if element.VM > 1 else [element.value]
                if self._old_uids.intersection(str(value) for value in values):
                    yield spelled, "old UID"
            elif tag not in _CODED and (element.VR in _TEXT_VRS or tag.is_private):
                yield from ((spelled, kind) for kind in self._in_value(element.value))
            elif not isinstance(element.value, bytes):
                exempt.append(str(element.value).lower().encode("utf_8", "replace"))

    def _in_value(self, value: Any) -> Iterator[str]:
        for each in value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]:
            if isinstance(each, bytes):
                continue  # searched as raw bytes
            text = fold_for_search(str(each)).strip()
            if text and text not in self._new and text != _REMOVED:
                yield from self.in_text(text)

    def in_text(self, text: str) -> Iterator[str]:
        """The kinds of what is known in a folded text."""
        if any(_stands_in(word, text) for word in self._known.words):
            yield _KNOWN_WORD
        if any(day in text for day in self._known.days if day not in self._moved):
            yield _KNOWN_DAY
        if text in self._known.wholes:
            yield _KNOWN_WHOLE

    def _in_raw(self, path: Path, exempt: bytes, named: bool) -> Iterator[tuple[str, str]]:
        raw = _without_pixels(path)
        lower = raw.lower()
        if not named:
            for needle in self._bytes:
                if lower.count(needle) > exempt.count(needle) + sum(
                    each.encode().count(needle) for each in self._new
                ):
                    yield "raw bytes", _KNOWN_WORD
                    break
        if self._old_uids.intersection(match[0].decode() for match in _UID.finditer(raw)):
            yield "raw bytes", "old UID"


def _stands_in(word: str, text: str) -> bool:
    """Whether a word stands in a text on its own: not inside a longer word or number."""
    at = text.find(word)
    while at >= 0:
        before, after = text[at - 1 : at] if at else "", text[at + len(word) : at + len(word) + 1]
        inside = (before.isdigit() and word[0].isdigit()) or (after.isdigit() and word[-1].isdigit())
        inside = (
            inside or (before.isalpha() and word[0].isalpha()) or (after.isalpha() and word[-1].isalpha())
        )
        if not inside:
            return True
        at = text.find(word, at + 1)
    return False


def _without_pixels(path: Path) -> bytes:
    """The bytes of a file without the value of its pixel data; inflated where they are deflated."""
    from pacsifier.dicom import part10

    with path.open("rb", buffering=0) as handle:
        layout = part10.layout(handle)
        head = b"" if layout.deflated else layout.source[0 : layout.elements[0][2]]
        kept = [layout.source[each[2] : each[5]] for each in layout.elements if each[0] not in _PIXELS]
    return head + b"".join(kept)
