"""Private elements: which may stay, and what is written in their place; values in, values out.

A value of unknown structure keeps its length, because offsets inside it may depend on that.
"""

from __future__ import annotations

from pacsifier.deidentify.engine import uids
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES
from pacsifier.deidentify.engine.profile import TEXT_VRS, Options, safe_private
from pacsifier.deidentify.engine.replacing import (
    BINARY_VRS,
    EMPTY,
    GONE,
    MALFORMED,
    Knowledge,
    Replacement,
    Value,
    encoded,
    is_number,
    known_days_moved,
    mapped_uids,
    padded,
    shifted,
    shifted_dates,
)
from pacsifier.dicom import part10
from pacsifier.dicom.text import decode_text

_MASKED_VRS = TEXT_VRS | {"AE", "CS", "TM", "AS", "DS", "IS"}
_LONGEST_TEXT = 1024  # of a binary value that is also searched as text
_CHUNK = 1 << 20
_OVERLAP = 256
_LOWEST_GROUP = 0x0009  # of private elements (PS3.5 section 7.8)


def is_private(tag: int) -> bool:
    """Whether an element is private: its group is odd."""
    return bool(tag & 0x10000)


def is_barred(tag: int, creator: str, options: Options) -> bool:
    """Whether a private element goes, whatever its value; `creator` is that of its block, "" if it has none."""
    if options.remove_private or tag & 0xFFFF == 0 or tag >> 16 < _LOWEST_GROUP:
        return True
    if not options.safe_private or _is_creator(tag):
        return False
    return (creator, tag >> 16, tag & 0xFF) not in safe_private()


def replacement(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    """What is written instead of the value of a private element."""
    options = knowledge.options
    if is_barred(value.tag, creator, options) or _is_barred_creator(value, options):
        return GONE
    if value.vr in ("DA", "DT"):
        return _date(value, knowledge)
    if value.vr in BINARY_VRS:
        return _opaque(value, knowledge)
    if value.vr == "UI" and not options.retain_uids:
        return mapped_uids(value, knowledge)
    return _text(value, knowledge)


def holds_known(source: part10.Buffer, start: int, stop: int, knowledge: Knowledge) -> bool:
    """Whether a value too large for memory holds a known identifier or a UID that would be replaced."""
    for at in range(start, stop, _CHUNK):
        # Overlaps the next chunk: an identifier may lie across the border.
        chunk = source[at : min(at + _CHUNK + _OVERLAP, stop)]
        if knowledge.matcher.mask_bytes(chunk) is not chunk or _without_uids(chunk, knowledge) != chunk:
            return True
    return False


def _is_creator(tag: int) -> bool:
    return tag & 0xFF00 == 0


def _is_barred_creator(value: Value, options: Options) -> bool:
    """Whether this names the creator of a block that has no safe elements."""
    if not options.safe_private or not _is_creator(value.tag):
        return False
    creators = {creator for creator, group, _ in safe_private() if group == value.tag >> 16}
    return value.raw.decode("latin_1").strip(" \0") not in creators


def _date(value: Value, knowledge: Knowledge) -> Replacement:
    if known := known_days_moved(value.raw, knowledge.subject):
        return Replacement(known, "replaced")
    if knowledge.options.fuzz_dates:
        return shifted_dates(value, knowledge)
    if knowledge.options.basic:
        return EMPTY
    return Replacement(value.raw, "") if shifted(value.vr, value.raw, 0) is not None else MALFORMED


def _text(value: Value, knowledge: Knowledge) -> Replacement:
    if value.vr == "PN":
        return EMPTY
    if value.vr in ("DS", "IS") and is_number(value.raw):
        return Replacement(_without_known_numbers(value.raw, knowledge), "cleaned")
    if value.vr in _MASKED_VRS:
        return Replacement(_masked_text(value.raw, value.character_sets, knowledge), "cleaned")
    return Replacement(value.raw, "")


def _without_known_numbers(raw: bytes, knowledge: Knowledge) -> bytes:
    """The numbers without those that are, as a whole, an identifier or a day of the patient."""
    values = [value.strip() for value in raw.decode("latin_1").strip("\0").split("\\")]
    days, words = knowledge.subject.moved_days, knowledge.subject.known.words
    known = [value in days or value in words for value in values]
    if not any(each and len(value) >= SHORTEST_IN_BYTES for each, value in zip(known, values, strict=True)):
        return raw
    return padded(
        "\\".join(days.get(value, "0") if each else value for each, value in zip(known, values, strict=True))
    )


def _masked_text(raw: bytes, character_sets: bytes, knowledge: Knowledge) -> bytes:
    """The text with known identifiers and old UIDs overwritten at equal length."""
    raw = _without_uids(raw, knowledge)
    text = decode_text(raw, character_sets)
    masked = knowledge.matcher.masked(text)
    if masked != text:
        raw = encoded(masked, raw, character_sets)
    return knowledge.matcher.mask_bytes(raw)


def _opaque(value: Value, knowledge: Knowledge) -> Replacement:
    """A value of unknown structure is overwritten in place: no byte moves."""
    new = knowledge.matcher.mask_bytes(_without_uids(value.raw, knowledge))
    if len(new) <= _LONGEST_TEXT and _is_text(new):
        masked = _masked_text(new, value.character_sets, knowledge)
        new = masked if len(masked) == len(new) else new
    return Replacement(new, "cleaned")


def _without_uids(raw: bytes, knowledge: Knowledge) -> bytes:
    """The bytes with the old UIDs in them replaced, unless UIDs are retained."""
    return raw if knowledge.options.retain_uids else uids.replace_in_bytes(raw, knowledge.secret)


def _is_text(raw: bytes) -> bool:
    body = raw.rstrip(b"\0 ")
    return bool(body) and not any(each < 32 and each not in (9, 10, 13, 27) for each in body)
