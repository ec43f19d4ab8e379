"""Whether a description says that the picture is a page of dose or protocol, or a screen; the words are data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from pacsifier.deidentify.engine.profile import data_parts

_MOST_LINKS = 4  # between a subject and its document
_PAIRS = (("subjects", "documents"), ("summarized", "summaries"))


@lru_cache(maxsize=4096)
def says(texts: tuple[str, ...], image_type: str) -> frozenset[str]:
    """What the texts of a header say of a picture: `page`, `dose` (a word of dose or protocol), `screen`; `alone` where
    the first of them, the description, says dose or protocol and nothing else (a protocol may be called "Protocol").
    """
    values = [value.replace("_", " ") for value in image_type.split("\\")]
    plain = [" ".join(fold(text).split()) for text in (*texts, *values)]
    joined = [f" {_without_harmless(text)} " for text in plain]
    said = set()
    if any(map(_is_page, joined)) or _holds_word(joined[len(texts) :], "image_types"):
        said.add("page")
    if any(map(_says_nothing_else, plain[: len(texts[:1])])):
        said.add("alone")
    dose = any(_holds_part(text, "dose_inside") for text in joined)
    if said or dose or _holds_word(joined, "dose_words"):
        said.add("dose")
    screens = any(_holds_phrase(text, "screens") or _holds_part(text, "screens_inside") for text in joined)
    if screens or _holds_word(joined[len(texts) :], "screen_types"):
        said.add("screen")
    return frozenset(said)


def fold(text: str) -> str:
    """Small letters without accents; blanks for all that is no letter and no digit."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(
        each if each.isalnum() else " " for each in plain if not unicodedata.category(each).startswith("M")
    )


def _is_page(text: str) -> bool:
    return bool(
        _holds_phrase(text, "phrases")
        or _holds_part(text, "inside")
        or any(_holds_pair(text, *each) for each in _PAIRS)
    )


def _holds_pair(text: str, subjects: str, documents: str) -> bool:
    compound = _compound(subjects, documents)
    return any(map(compound.fullmatch, text.split())) or bool(_pair(subjects, documents).search(text))


def _says_nothing_else(text: str) -> bool:
    words = set(text.split())
    others = words - _words("alone")
    return others < words and others <= _words("alone_links") | _words("subjects")


def _without_harmless(text: str) -> str:
    """A low dose is no page of dose, a low dose protocol neither; a low dose report is one."""
    return _harmless().sub(" ", f" {text} ")


def _holds_word(texts: Iterable[str], part: str) -> bool:
    words = _words(part)
    return any(not words.isdisjoint(text.split()) for text in texts)


def _holds_phrase(text: str, part: str) -> bool:
    return any(f" {phrase} " in text for phrase in _phrases(part))


def _holds_part(text: str, part: str) -> bool:
    squeezed = text.replace(" ", "")
    return any(word in squeezed for word in _words(part))


@cache
def _words(part: str) -> frozenset[str]:
    return frozenset(fold(word) for line in data_parts("pages.txt")[part] for word in line.split())


@cache
def _phrases(part: str) -> frozenset[str]:
    lines = data_parts("pages.txt")[part]
    return frozenset(" ".join(fold(phrase).split()) for line in lines for phrase in line.split("|"))


@cache
def _compound(subjects: str, documents: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{_any(subjects)})\w{{0,8}}(?:{_any(documents)})")


@cache
def _pair(subjects: str, documents: str) -> re.Pattern[str]:
    """A subject and a document in either order, nothing but links and further subjects between them."""
    subject, document = _any(subjects), _any(documents)
    between = rf" (?:(?:{_any('links')}|{subject}) ){{0,{_MOST_LINKS}}}"
    return re.compile(
        rf"(?<= )(?:(?:{subject}){between}(?:{document})|(?:{document}){between}(?:{subject}))(?= )"
    )


@cache
def _harmless() -> re.Pattern[str]:
    phrases = "|".join(sorted(map(re.escape, _phrases("not_pages")), key=len, reverse=True))
    papers = "|".join(sorted(word for word in _words("documents") if not word.startswith(("proto", "прото"))))
    spaced = rf"(?<= )(?:{phrases})(?= )(?! (?:{papers}) )"
    return re.compile(spaced)


def _any(part: str) -> str:
    return "|".join(sorted(map(re.escape, _words(part)), key=len, reverse=True))
