"""The proof: the output read again, by other means than it was written, in search of what is known of the input.

Every file is decoded by pydicom, and its raw bytes (pixel data aside) are searched too, with what stands beside the
pixels of every compressed frame. A hit is an error. What the pixels show is not looked at.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from pacsifier.deidentify import report
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.dictionary import keyword
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES, Identifiers, Matcher, fold_for_search
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.needles import Needles
from pacsifier.deidentify.engine.profile import read_words
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.model import FILES_PER_TASK, Request, Verified
from pacsifier.dicom import part10
from pacsifier.disk.names import slug
from pacsifier.disk.walk import Progress

Hit = tuple[str, str, str]
"""File, tag and kind of what was found; never a value."""

_UID = re.compile(rb"[0-9]+(?:\.[0-9]+){2,}")
_TEXT_VRS = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "UR", "PN", "AE"))
_BYTES = frozenset(("UN", "OB", "OW"))
_LONGEST_TEXT, _IN_TEXT = 1024, b"\t\n\r\x1b"  # of bytes that are searched as text
_MADE_VRS = frozenset(("CS", "TM", "AS"))
# Of a code: the value in its three forms, the scheme, the meaning.
_CODED = frozenset((0x00080100, 0x00080119, 0x00080120, 0x00080102, 0x00080104))
# The marks that de-identification itself sets.
_MARKS = frozenset((0x00120063, 0x00120064))
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_REMOVED = "removed"
_KNOWN_WORD, _KNOWN_DAY, _KNOWN_WHOLE = "known identifier", "known date", "known identifier, as a whole"


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
    _last: dict[str, _Search] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, task: tuple[Subject, tuple[str, ...]]) -> tuple[int, list[Hit]]:
        """How many files were read, and their hits."""
        subject, names = task
        search = self._search_of(subject)
        hits: list[Hit] = []
        for name in names:
            if not self.names_kept:
                hits += [
                    (name, "name of the file", kind)
                    for kind in search.in_text(fold_for_search(name.replace("/", " ")))
                ]
            hits += [(name, tag, kind) for tag, kind in search.in_file(self.out_folder / name)]
        return len(names), hits

    def _search_of(self, subject: Subject) -> _Search:
        """Kept for the next files of the patient: what it looks for is put together once."""
        search = self._last.get(subject.key)
        if search is None or search.subject is not subject:
            self._last.clear()
            search = self._last[subject.key] = _Search(subject, self.old_uids)
        return search


@dataclass(frozen=True)
class _Kind:
    """Finds words and days of a patient in one kind of text."""

    words: Matcher
    days: Matcher

    def in_text(self, text: str) -> Iterator[str]:
        """The kinds of what is known in a text."""
        if fold_for_search(text).strip() in self.words.known.wholes:
            yield _KNOWN_WHOLE
        elif self.words.spans(text):
            yield _KNOWN_WORD
        if self.days.spans(text):
            yield _KNOWN_DAY


def _kind(known: Identifiers) -> _Kind:
    days = Identifiers(days=known.days)
    return _Kind(Matcher(replace(known, days=set()), {}), Matcher(days, {}))


class _Search:
    """Looks for what is known of one patient, in each kind of value as the rules for it say.

    What a maker or the standard defines holds no identifier; numbers stand alone; what was written by us is no hit.
    """

    def __init__(self, subject: Subject, old_uids: frozenset[str]) -> None:
        self.subject = subject
        # Where one known day moved to another one, nobody can tell which of them stands there.
        known = replace(subject.known, days=subject.known.days - set(subject.moved_days.values()))
        made = known.in_made_text(lexicon().is_technical)
        self._typed, self._made = _kind(known), _kind(made)
        self._defined = _kind(Identifiers(days=known.days))
        self._known = known
        new = subject.new_id
        self._new = {fold_for_search(each) for each in (new, f"{new}^sub", slug(new))}
        self._old_uids = old_uids
        self._words: Needles = self._made.words.needles
        self._days: Needles = self._made.days.needles
        self._seen: dict[tuple[int, str, bytes, bytes], tuple[tuple[str, ...], bytes]] = {}

    def in_text(self, text: str) -> Iterator[str]:
        """The kinds of what is known in the name of a file."""
        yield from self._typed.in_text(self._without_new(text))

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
        yield from self._in_raw(path, b"\0".join(exempt), {kind for _, kind in found})

    def _in_dataset(self, dataset: Dataset, exempt: list[bytes], above: str) -> Iterator[tuple[str, str]]:
        scheme = _scheme_of(dataset)
        for tag in sorted(dataset.keys()):
            spelled = f"{above}({tag.group:04X},{tag.element:04X})"
            raw: Any = dataset.get_item(tag)
            key = (int(tag), str(raw.VR), raw.value, scheme) if isinstance(raw.value, bytes) else None
            known = self._seen.get(key) if key else None
            if known is None:
                element = _converted(dataset, tag)
                if element.VR == "SQ":
                    for item in element.value:
                        yield from self._in_dataset(item, exempt, f"{spelled}/")
                    continue
                known = self._in_element(element, scheme)
                if key and len(key[2]) <= _REMEMBERED:
                    self._seen[key] = known
            yield from ((spelled, kind) for kind in known[0])
            exempt.append(known[1])

    def _in_element(self, element: DataElement, scheme: bytes) -> tuple[tuple[str, ...], bytes]:
        """The kinds of hits in a value, and the text of it in which the raw bytes may have what is known."""
        values = element.value if element.VM > 1 else [element.value]
        texts = [str(each) for each in values if each is not None and not isinstance(each, bytes)]
        if element.VR == "UI":
            written = "\0".join(texts).encode("ascii", "replace")
            return ("old UID",) if self._old_uids.intersection(texts) else (), written
        kind = self._kind_of(element, scheme)
        written = "\0".join(texts).lower().encode("utf_8", "replace")
        if kind is None:
            return self._in_numbers(element, texts), written
        texts += [each.decode("latin_1") for each in values if isinstance(each, bytes) and _is_text(each)]
        hits = {
            hit
            for text in texts
            if (folded := fold_for_search(text).strip()) and folded not in self._new and folded != _REMOVED
            for hit in kind.in_text(self._without_new(text))
        }
        return tuple(sorted(hits)), b"" if kind is self._typed else written

    def _kind_of(self, element: DataElement, scheme: bytes) -> _Kind | None:
        """What is looked for in a value; None where it is no text."""
        tag, vr = element.tag, element.VR
        if tag.is_private:
            if 0x10 <= tag.element <= 0xFF and vr in ("LO", "UN"):
                return _NOTHING
            return self._typed if vr in _TEXT_VRS | _BYTES else self._made if vr in _MADE_VRS else None
        if vr not in _TEXT_VRS:
            return None
        if tag in _MARKS or (tag in _CODED and scheme.decode("latin_1") in read_words("coding_schemes.txt")):
            return _NOTHING
        if keyword(int(tag)) in read_words("constants.txt"):
            return self._defined
        return (
            self._made if keyword(int(tag)) in read_words("kept_text.txt") - _CODES_BY_NAME else self._typed
        )

    def _in_numbers(self, element: DataElement, texts: Sequence[str]) -> tuple[str, ...]:
        """Days and long identifiers among private numbers; a birth date among dates. A short number is a measure."""
        if element.VR in ("DA", "DT"):
            return (_KNOWN_DAY,) if any(text[:8] in self._births for text in texts) else ()
        if not element.tag.is_private:
            return ()
        hits = set()
        for text in (each.removesuffix(".0") for each in texts):
            if dates.DAY_AS_NUMBER.fullmatch(text) and text[:8] in self._known.days:
                hits.add(_KNOWN_DAY)
            elif len(text) >= SHORTEST_IN_BYTES and element.VR in ("DS", "IS") and text in self._known.words:
                hits.add(_KNOWN_WORD)
        return tuple(sorted(hits))

    @property
    def _births(self) -> set[str]:
        return self._known.births & self._known.days

    def _without_new(self, text: str) -> str:
        """The text without the pseudonym: a user may insist on one that holds the PatientID."""
        folded = fold_for_search(text)
        if len(folded) == len(text):
            for new in self._new:
                at = folded.find(new)
                if at >= 0 and self._typed.words.spans(new):
                    text = text[:at] + " " * len(new) + text[at + len(new) :]
        return text

    def _in_raw(self, path: Path, exempt: bytes, found: set[str]) -> Iterator[tuple[str, str]]:
        raw = _without_pixels(path)
        searched = raw.lower()
        for new in self._new if any(self._typed.words.spans(new) for new in self._new) else ():
            searched = searched.replace(new.encode(), b"\0" * len(new.encode()))
        for needles, kind in ((self._words, _KNOWN_WORD), (self._days, _KNOWN_DAY)):
            if kind not in found and _more(needles, searched, exempt):
                yield "raw bytes", kind
        if self._old_uids.intersection(match[0].decode() for match in _UID.finditer(raw)):
            yield "raw bytes", "old UID"


_NOTHING = _kind(Identifiers())
_CODES_BY_NAME = frozenset(
    ("CodeValue", "CodeMeaning", "CodingSchemeDesignator", "LongCodeValue", "URNCodeValue")
)
_REMEMBERED = 1 << 12


def _converted(dataset: Dataset, tag: Any) -> DataElement:
    """An element; as bytes of unknown VR where pydicom cannot make a value of them."""
    try:
        return dataset[tag]
    except (ValueError, NotImplementedError, BytesLengthException):
        return DataElement(tag, "UN", dataset.get_item(tag).value)


def _is_text(raw: bytes) -> bool:
    body = raw.rstrip(b"\0 ")
    return 0 < len(body) <= _LONGEST_TEXT and not any(each < 32 and each not in _IN_TEXT for each in body)


def _scheme_of(item: Dataset) -> bytes:
    """The coding scheme of an item with a code value of its own."""
    values = [str(item.get(tag).value or "") for tag in (0x00080100, 0x00080119, 0x00080120) if tag in item]
    if not any(values) or 0x00080102 not in item:
        return b""
    return str(item[0x00080102].value or "").strip().encode("latin_1", "replace")


def _more(needles: Needles, raw: bytes, exempt: bytes) -> bool:
    """Whether a needle stands more often in the bytes than where it may stand."""
    found = Counter(raw[start:stop] for start, stop in needles.spans(raw))
    if not found:
        return False
    allowed = Counter(exempt[start:stop] for start, stop in needles.spans(exempt))
    return any(number > allowed[needle] for needle, number in found.items())


def _without_pixels(path: Path) -> bytes:
    """The bytes of a file without the value of its pixel data; inflated where they are deflated.

    Of compressed pixel data, what stands beside the pixels of each frame: comments, Exif.
    """
    with path.open("rb", buffering=0) as handle:
        layout = part10.layout(handle)
        head = b"" if layout.deflated else layout.source[0 : layout.elements[0][2]]
        kept = [layout.source[each[2] : each[5]] for each in layout.elements if each[0] not in _PIXELS]
        if layout.is_compressed:
            _, _, _, start, stop, _ = layout.by_tag[part10.PIXEL_DATA]
            kept += _beside_pixels(layout.source, start, stop)
    return head + b"\0".join(kept)


def _beside_pixels(source: part10.Buffer, start: int, stop: int) -> Iterator[bytes]:
    """The headers of every fragment, and what follows its picture."""
    while start + 8 <= stop:
        length = int.from_bytes(source[start + 4 : start + 8], "little")
        begin, end = start + 8, min(start + 8 + length, stop)
        if source[begin : begin + 2] in _PICTURES:
            yield source[begin : _end_of_headers(source, begin, end)]
            tail = source[max(begin, end - _LONGEST_TAIL) : end]
            yield tail[max(tail.rfind(b"\xff\xd9"), 0) :]
        start = end


_PICTURES = {
    b"\xff\xd8": b"\xff\xda",
    b"\xff\x4f": b"\xff\x90",
}  # JPEG and JPEG 2000: what ends their headers
_LONGEST_TAIL = 1 << 16


def _end_of_headers(source: part10.Buffer, begin: int, end: int) -> int:
    """Where the headers of a picture end; its end where they cannot be followed."""
    last, at = _PICTURES[source[begin : begin + 2]], begin + 2
    while at + 4 <= end:
        marker = source[at : at + 4]
        if marker[:1] != b"\xff" or marker[:2] == last:
            return at
        at += 2 + int.from_bytes(marker[2:], "big")
    return end
