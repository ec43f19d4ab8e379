"""Puts a description together again without some of its tokens; the signs of those that stay, stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_CLOSING_OF = {"(": ")", "[": "]", "{": "}"}
_OPENING_OF = {closing: opening for opening, closing in _CLOSING_OF.items()}
_ENDS = " \t_-^,;:/\\|.&="


def glued(text: str, tokens: Sequence[tuple[int, int]], gone: Sequence[bool]) -> str:
    """The text without the tokens that are gone and without the separators that served them alone."""
    out: list[str] = []
    at, was_gone, left = 0, False, ""
    for (start, stop), away in zip(tokens, gone, strict=True):
        separator = text[at:start]
        if away:
            left = left if was_gone else separator
        else:
            out += (_joint(left, separator, first=not out) if was_gone else separator, text[start:stop])
        at, was_gone = stop, away
    if was_gone:
        rest = _before(left, closing=_closing_in(text[at:], left)).rstrip(_ENDS)
        out.append(rest if out else "")
    elif out:
        out.append(text[at:])
    return _balanced("".join(out)).strip()


def _joint(left: str, right: str, *, first: bool) -> str:
    """What stands between two tokens, where `left` and `right` stood around what went between them."""
    opening, closing = _opening_in(left, right), _closing_in(right, left)
    behind = opening + _signs_of_next(right)
    if first:
        return behind
    before = _before(left, closing)
    if any(each.isspace() for each in left + right):
        return f"{before} {behind}"
    between = (left[-1:] or right[:1] or " ").translate(dict.fromkeys(map(ord, "()[]{}"), " "))
    return f"{before}{between}{behind}"


def _before(left: str, closing: str) -> str:
    return _signs_of_last(left) + closing


def _signs_of_last(left: str) -> str:
    """Of what stands behind a token that stays and before one that went, the signs of the former."""
    blank = re.search(r"\s", left)
    signs = left[: blank.start()] if blank else left[:-1]
    return "".join(each for each in signs if each not in _CLOSING_OF)


def _signs_of_next(right: str) -> str:
    """Of what stands behind a token that went and before one that stays, the signs of the latter."""
    signs = re.split(r"\s", right)[-1] if re.search(r"\s", right) else right[1:]
    return "".join(each for each in signs if each not in _OPENING_OF)


def _opening_in(left: str, right: str) -> str:
    """The brackets opened before what went that are not closed behind it."""
    return _unmatched(left, right, _CLOSING_OF)


def _closing_in(right: str, left: str) -> str:
    """The brackets closed behind what went that were not opened before it."""
    return _unmatched(right, left, _OPENING_OF)


def _unmatched(here: str, there: str, partner_of: Mapping[str, str]) -> str:
    """The brackets `here`, of those that have a partner, whose partner does not stand `there`."""
    bracket_of = {partner: bracket for bracket, partner in partner_of.items()}
    left = [each for each in here if each in partner_of]
    for each in there:
        if bracket_of.get(each) in left:
            left.remove(bracket_of[each])
    return "".join(left)


def _balanced(text: str) -> str:
    """Without the brackets of a kind of which one of a pair is missing."""
    for opening, closing in _CLOSING_OF.items():
        depth = 0
        for each in text:
            depth += (each == opening) - (each == closing)
            if depth < 0:
                break
        if depth:
            # Never joins two words: the outcome must read as it was judged.
            text = re.sub(rf"\s*[{re.escape(opening + closing)}]\s*", " ", text)
    return text
