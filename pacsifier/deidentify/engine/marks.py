"""What an instance says of its own de-identification: the four marks, and a new file meta information.

Source: DICOM PS3.15 section E.1.1, PS3.10 section 7.1.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pacsifier import __version__
from pacsifier.deidentify.engine import elements
from pacsifier.deidentify.engine.elements import Bystander, Scope, UnknownEncodingError
from pacsifier.deidentify.engine.profile import CODES, Options, codes, method
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Coding, Layout

_REMOVED, _METHOD, _CODES, _LONGITUDINAL = 0x00120062, 0x00120063, 0x00120064, 0x00280303
_DERIVATION, _BURNED_IN = 0x00082111, 0x00280301
_LONGEST_ST = 1024
MARKS = frozenset((_REMOVED, _METHOD, _CODES, _LONGITUDINAL))
"""The tags of the four marks."""
_CODE_VALUE, _CODING_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_LONGITUDINAL_ORDER = ("", "UNMODIFIED", "MODIFIED", "REMOVED")
_IMPLEMENTATION = "2.25.271337930462613457817297342384711870273"
OUR_VERSION = re.compile(rb"PACSIFIER_[0-9][0-9a-z.]{0,5}[ \0]?")
"""Implementation Version Name as this program writes it, of this version or of an earlier one."""
_PREAMBLE = bytes(128) + b"DICM"


@dataclass(frozen=True)
class PixelClaim:
    """What the marks say of pixels that were searched for text (PS3.15 section E.3.1).

    `method` names engine and version; `cleaned`: nothing that was seen is left; `no_text`: so much so that
    BurnedInAnnotation may say NO; `derivation`: what was done to the pixels, "" for nothing.
    """

    method: str
    cleaned: bool
    no_text: bool
    derivation: str = ""


def marks(
    layout: Layout, rules: Rules, identity_removed: bool, pixels: PixelClaim | None = None
) -> list[tuple[int, bytes]]:
    """The four marks, encoded, and what is to be said of cleaned pixels. Methods and dates of an earlier
    de-identification are never weakened; whether identity is removed was decided with its claim in view.

    Raises ValueError if the earlier methods and ours together are too long for the element.
    """
    options, coding = rules.options, layout.coding
    if pixels is None and layout.by_tag.keys().isdisjoint(MARKS):
        return list(_fresh_marks(options, coding, identity_removed, _moves(rules)))
    values = {tag: layout.value(tag) or b"" for tag in MARKS}
    encoded = _encoded_marks(
        identity_removed,
        _methods(values[_METHOD], rules, pixels),
        _code_items(values[_CODES], rules, coding, pixels),
        _longitudinal(values[_LONGITUDINAL], options, _moves(rules)),
        coding,
    )
    return sorted([*encoded, *_of_pixels(layout, rules, pixels)])


def _of_pixels(layout: Layout, rules: Rules, pixels: PixelClaim | None) -> Iterator[tuple[int, bytes]]:
    """BurnedInAnnotation and DerivationDescription, where they are to be written."""
    if pixels and pixels.no_text:
        yield _BURNED_IN, part10.encode_element(_BURNED_IN, "CS", b"NO", layout.coding)
    if pixels and pixels.derivation:
        there = layout.value(_DERIVATION) or b""
        kept = (rules.value(_DERIVATION, "ST", there, Scope(0, b"")) or b"").strip(b"\0 ") if there else b""
        ours = pixels.derivation.encode("ascii")
        text = b"; ".join(each for each in (kept[: _LONGEST_ST - len(ours) - 2], ours) if each)
        yield _DERIVATION, part10.encode_element(_DERIVATION, "ST", text, layout.coding)


@lru_cache(maxsize=64)
def _fresh_marks(
    options: Options, coding: Coding, identity_removed: bool, moves: bool
) -> tuple[tuple[int, bytes], ...]:
    """The marks of a file that had none."""
    methods = "\\".join(method(options)).encode()
    items = b"".join(_code_item(code, meaning, coding) for code, meaning in codes(options))
    return tuple(_encoded_marks(identity_removed, methods, items, _longitudinal(b"", options, moves), coding))


def _encoded_marks(
    removed: bool, methods: bytes, items: bytes, longitudinal: bytes, coding: Coding
) -> list[tuple[int, bytes]]:
    values = (
        (_REMOVED, "CS", b"YES" if removed else b"NO"),
        (_METHOD, "LO", methods),
        (_CODES, "SQ", items),
        (_LONGITUDINAL, "CS", longitudinal),
    )
    return [(tag, part10.encode_element(tag, vr, value, coding)) for tag, vr, value in values]


def _methods(existing: bytes, rules: Rules, pixels: PixelClaim | None) -> bytes:
    """The methods that are there, then ours that are not."""
    checked = rules.value(_METHOD, "LO", existing, Scope(0, b"")) or b""
    kept = [value.strip(b"\0 ") for value in checked.split(b"\\") if value.strip(b"\0 ")]
    ours = [value.encode() for value in (*method(rules.options), *([pixels.method] if pixels else []))]
    return b"\\".join(dict.fromkeys(kept + ours))


def _code_items(existing: bytes, rules: Rules, coding: Coding, pixels: PixelClaim | None) -> bytes:
    """The code items that are there, then ours that are not."""
    found = _FoundCodes()
    kept = b""
    if existing:
        try:
            elements.rewrite_items(existing, coding, _CODES, found, Scope(0, b""))
            kept = elements.rewrite_items(existing, coding, _CODES, rules, Scope(0, b""))
        except UnknownEncodingError:
            kept = b""
    applied = sorted((*codes(rules.options), *([CODES["pixels"]] if pixels and pixels.cleaned else [])))
    fresh = [_code_item(code, meaning, coding) for code, meaning in applied if code not in found.codes]
    return kept + b"".join(fresh)


class _FoundCodes(Bystander):
    """Collects the code values of a sequence of codes."""

    def __init__(self) -> None:
        self.codes: set[str] = set()

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """Remembers a code value."""
        if tag == _CODE_VALUE:
            self.codes.add(raw.decode("latin_1").strip(" \0"))
        return super().value(tag, vr, raw, scope)


def _code_item(code: str, meaning: str, coding: Coding) -> bytes:
    content = b"".join(
        part10.encode_element(tag, vr, value.encode(), coding)
        for tag, vr, value in (
            (_CODE_VALUE, "SH", code),
            (_CODING_SCHEME, "SH", "DCM"),
            (_CODE_MEANING, "LO", meaning),
        )
    )
    return elements.item_header(len(content), coding) + content


def _moves(rules: Rules) -> bool:
    return rules.subject.date_shift_days != 0


def _longitudinal(existing: bytes, options: Options, moves: bool) -> bytes:
    """What is now true of the study's dates; a map may say that those of a patient move by no day."""
    kept = "REMOVED" if options.basic and not options.fuzz_dates else "UNMODIFIED"
    ours = "MODIFIED" if options.fuzz_dates and moves else kept
    there = existing.decode("latin_1").strip("\0 ")
    there = there if there in _LONGITUDINAL_ORDER else ""
    return max(ours, there, key=_LONGITUDINAL_ORDER.index).encode()


# --- file meta information ----------------------------------------------------------------------------------------


def file_meta(layout: Layout, sop_class: str, sop_instance: str) -> bytes:
    """Preamble of zeros, prefix, and a file meta information that holds nothing of the input's."""
    before, after = _meta_of_class(sop_class, _true_syntax(layout))
    group = before + _meta_element(0x00020003, "UI", sop_instance.encode("latin_1")) + after
    return _PREAMBLE + _meta_element(0x00020000, "UL", struct.pack("<L", len(group))) + group


def _true_syntax(layout: Layout) -> str:
    """The transfer syntax that the data set really has; a compressed one stays."""
    syntax, coding = layout.transfer_syntax, layout.coding
    uncompressed = (
        part10.IMPLICIT_VR_LITTLE_ENDIAN,
        part10.EXPLICIT_VR_LITTLE_ENDIAN,
        part10.EXPLICIT_VR_BIG_ENDIAN,
    )
    if syntax and syntax not in uncompressed:
        return syntax
    if coding.implicit:
        return part10.IMPLICIT_VR_LITTLE_ENDIAN
    return part10.EXPLICIT_VR_BIG_ENDIAN if coding.big else part10.EXPLICIT_VR_LITTLE_ENDIAN


@lru_cache(maxsize=64)
def _meta_of_class(sop_class: str, syntax: str) -> tuple[bytes, bytes]:
    """The elements before and after the UID of the instance."""
    before = _meta_element(0x00020001, "OB", b"\0\1")
    before += _meta_element(0x00020002, "UI", sop_class.encode("latin_1"))
    version = f"PACSIFIER_{__version__.partition('.dev')[0]}"[:16]
    after = _meta_element(0x00020010, "UI", syntax.encode("latin_1"))
    after += _meta_element(0x00020012, "UI", _IMPLEMENTATION.encode())
    after += _meta_element(0x00020013, "SH", version.encode())
    return before, after


def _meta_element(tag: int, vr: str, value: bytes) -> bytes:
    return part10.encode_element(tag, vr, value, part10.CODINGS[False, False])
