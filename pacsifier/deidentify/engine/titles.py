"""Finds who stands behind a title in a description: Dr. med. Anna Meier, Mme Lang, Sig.ra Bianchi."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.profile import data_parts

Span = tuple[int, int]

# Titles where they are written so; else abbreviations of what is imaged: MR, HR, M; dr is droit, too.
_SPELLED = frozenset(("Dr", "Mr", "Ms", "Sr", "Sig"))
_BARE = frozenset(("DR", "dr", "PD"))
_WITH_DOT = frozenset(("DR", "MR", "MS", "M", "Hr", "HR", "Fr", "FR", "Sr", "SR", "Sig", "MM"))
_JOINT = re.compile(r"[\s.,\-'\u2019_]{0,3}")


@cache
def _words() -> Mapping[str, frozenset[str]]:
    return {part: frozenset(" ".join(lines).split()) for part, lines in data_parts("titles.txt").items()}


@cache
def _between() -> frozenset[str]:
    """What stands between a title and a name."""
    return _words()["between"]


def named_by_title(text: str, tokens: Sequence[Span]) -> frozenset[int]:
    """The tokens, by their numbers, that a title says to be somebody's name."""
    found: set[int] = set()
    for at in range(len(tokens)):
        if at not in found and (strength := _title(text, tokens, at)):
            named = _named(text, tokens, at + 1, surely=strength > 1)
            # A sure title goes with the name; one that may say what is imaged stays.
            found.update([at, *named] if named and strength > 1 else named)
    return frozenset(found)


def _title(text: str, tokens: Sequence[Span], at: int) -> int:
    """2: surely a title; 1: one if a name follows; 0: none."""
    start, stop = tokens[at]
    word, dotted = text[start:stop], text[stop : stop + 1] == "."
    if fold_for_search(word) in _words()["titles"] or word in _SPELLED:
        return 2
    return 1 if word in _BARE or (dotted and word in _WITH_DOT) else 0


def _named(text: str, tokens: Sequence[Span], at: int, *, surely: bool) -> list[int]:
    """The tokens behind a title: the first one, particles, and those that go on like a name."""
    named: list[int] = []
    while at < len(tokens) and _JOINT.fullmatch(text[tokens[at - 1][1] : tokens[at][0]]):
        word = text[slice(*tokens[at])]
        folded = fold_for_search(word)
        if not _names_in(named, text, tokens) and folded in _between():
            named.append(at)
        elif not _is_named(word, folded, first=not _names_in(named, text, tokens), surely=surely):
            break
        else:
            named.append(at)
        at += 1
    return named if _names_in(named, text, tokens) else []


def _names_in(named: Sequence[int], text: str, tokens: Sequence[Span]) -> bool:
    return any(fold_for_search(text[slice(*tokens[at])]) not in _between() for at in named)


def _is_named(word: str, folded: str, *, first: bool, surely: bool) -> bool:
    """Whether a word behind a title is a name: not where no name is known that would be spelled so."""
    known = lexicon()
    if folded in known.technical or not any(each.isalpha() for each in word):
        return False
    if len(word) <= 2:
        return first and surely and word.istitle()
    if known.is_technical(folded):
        return first and (surely or word.istitle())
    return first or word[0].isupper()
