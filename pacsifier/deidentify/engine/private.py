"""Private elements: which may stay, and what is written in their place; values in, values out.

A value of unknown structure keeps its length, because offsets inside it may depend on that.
"""

from __future__ import annotations

from dataclasses import replace

from pacsifier.deidentify.engine import csa, dates, uids
from pacsifier.deidentify.engine.dictionary import private_groups
from pacsifier.deidentify.engine.identifiers import Matcher
from pacsifier.deidentify.engine.private_constants import is_constant
from pacsifier.deidentify.engine.private_numbers import (
    NUMBERS,
    is_safe,
    number,
    number_of_unknown_vr,
    safe_number,
)
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

_MADE_VRS = frozenset(("CS", "TM", "AS"))
_MASKED_VRS = TEXT_VRS | _MADE_VRS | {"AE", "DS", "IS"}
_LONGEST_TEXT = 1024  # of a binary value that is also searched as text
_CHUNK = 1 << 20
_OVERLAP = 256
_FIRST_CREATOR = 0x10
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


def descends(tag: int, creator: str, options: Options) -> bool:
    """Whether the items of a private sequence are looked into: its elements are judged each by itself."""
    if is_barred(tag, "", replace(options, safe_private=False)):
        return False
    return (
        not options.safe_private
        or tag >> 16 in private_groups(creator)
        or not is_barred(tag, creator, options)
    )


def replacement(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    """What is written instead of the value of a private element."""
    options = knowledge.options
    if is_barred(value.tag, creator, options):
        barred = is_barred(value.tag, creator, replace(options, safe_private=False))
        return GONE if barred else _safe(value, creator, knowledge)
    if _is_creator(value.tag) and value.vr in ("LO", "UN"):
        return _creator(value, options)
    return _of_vr(value, creator, knowledge)


def _safe(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    """What no table calls safe: numbers stay, by themselves and in a header of Siemens."""
    if creator == csa.CREATOR and value.tag & 0xFF in csa.ELEMENTS and value.vr in BINARY_VRS:
        cut = csa.cut_to_numbers(value.raw, lambda text: is_safe(text, knowledge))
        return Replacement(cut, "cleaned") if cut else GONE
    return safe_number(value, creator, knowledge)


def _of_vr(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    if value.vr in ("DA", "DT"):
        return _date(value, knowledge)
    if value.vr in BINARY_VRS:
        return _opaque(value, knowledge)
    if value.vr == "UI" and not knowledge.options.retain_uids:
        return mapped_uids(value, knowledge)
    if value.vr in NUMBERS or (value.vr in ("DS", "IS") and is_number(value.raw)):
        return number(value, creator, knowledge)
    return _text(value, creator, knowledge)


def holds_known(source: part10.Buffer, start: int, stop: int, knowledge: Knowledge) -> bool:
    """Whether a value too large for memory holds a known identifier or a UID that would be replaced."""
    for at in range(start, stop, _CHUNK):
        # Overlaps the next chunk: an identifier may lie across the border.
        chunk = source[at : min(at + _CHUNK + _OVERLAP, stop)]
        if knowledge.made.mask_bytes(chunk) is not chunk or _without_uids(chunk, knowledge) != chunk:
            return True
    return False


def _is_creator(tag: int) -> bool:
    return _FIRST_CREATOR <= tag & 0xFFFF <= 0xFF


def _creator(value: Value, options: Options) -> Replacement:
    """The name of a block is defined by its maker; it stays where something of the block may."""
    name, group = value.raw.decode("latin_1").strip(" \0"), value.tag >> 16
    listed = any(creator == name and each == group for creator, each, _ in safe_private())
    if options.safe_private and not listed and group not in private_groups(name):
        return GONE
    return Replacement(value.raw, "cleaned")


def _date(value: Value, knowledge: Knowledge) -> Replacement:
    if known := known_days_moved(value.raw, knowledge.subject):
        return Replacement(known, "replaced")
    if knowledge.options.fuzz_dates:
        return shifted_dates(value, knowledge)
    if knowledge.options.basic:
        return EMPTY
    return Replacement(value.raw, "") if shifted(value.vr, value.raw, 0) is not None else MALFORMED


def _text(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    if value.vr == "PN":
        return EMPTY
    if value.vr == "AS" and (age := dates.capped_age(value.raw.decode("latin_1").strip(" \0"))):
        return Replacement(padded(age), "replaced")
    if value.vr in _MASKED_VRS:
        matcher = knowledge.made if value.vr in _MADE_VRS else knowledge.matcher
        if is_constant(value.tag, value.vr, creator):
            matcher = knowledge.dates_only
        return Replacement(_masked_text(value.raw, value.character_sets, knowledge, matcher), "cleaned")
    return Replacement(value.raw, "")


def _masked_text(raw: bytes, character_sets: bytes, knowledge: Knowledge, matcher: Matcher) -> bytes:
    """The text with known identifiers and old UIDs overwritten at equal length."""
    raw = _without_uids(raw, knowledge)
    text = decode_text(raw, character_sets)
    masked = matcher.masked(text)
    if masked != text:
        raw = encoded(masked, raw, character_sets)
    return matcher.word_needles.masked(raw)


def _opaque(value: Value, knowledge: Knowledge) -> Replacement:
    """A value of unknown structure is overwritten in place: no byte moves."""
    raw = value.raw
    if len(raw) <= _LONGEST_TEXT and _is_text(raw):
        masked = _masked_text(raw, value.character_sets, knowledge, knowledge.matcher)
        if len(masked) == len(raw):
            return Replacement(masked, "cleaned")
    new = number_of_unknown_vr(knowledge.made.mask_bytes(_without_uids(raw, knowledge)), knowledge)
    return Replacement(new, "cleaned")


def _without_uids(raw: bytes, knowledge: Knowledge) -> bytes:
    """The bytes with the old UIDs in them replaced, unless UIDs are retained."""
    return raw if knowledge.options.retain_uids else uids.replace_in_bytes(raw, knowledge.secret)


def _is_text(raw: bytes) -> bool:
    body = raw.rstrip(b"\0 ")
    return bool(body) and not any(each < 32 and each not in (9, 10, 13, 27) for each in body)
