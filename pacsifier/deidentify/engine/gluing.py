"""Puts a description together again without some of its tokens; the signs of those that stay, stay."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPENING, _CLOSING = "([{<", ")]}>"
_SIGNS_BEFORE = "+-~/*#<>=@&"


def glued(text: str, tokens: Sequence[tuple[int, int]], gone: Sequence[bool]) -> str:
    """The text without the tokens that are gone and without the separators that served them alone."""
    kept = [span for span, away in zip(tokens, gone, strict=True) if not away]
    if not kept:
        return ""
    out: list[str] = []
    before: tuple[int, int] | None = None
    numbers = {span: at for at, span in enumerate(tokens)}
    for span in kept:
        at = numbers[span]
        missing = at > 0 and gone[at - 1]
        if before is None:
            out.append(_leading(text[tokens[at - 1][1] : span[0]]) if missing else text[: span[0]])
        elif missing:
            left = text[before[1] : tokens[numbers[before] + 1][0]]
            out.append(_joint(left, text[tokens[at - 1][1] : span[0]]))
        else:
            out.append(text[before[1] : span[0]])
        out.append(text[slice(*span)])
        before = span
    at = numbers[kept[-1]]
    out.append(
        text[kept[-1][1] :] if at == len(tokens) - 1 else _trailing(text[kept[-1][1] : tokens[at + 1][0]])
    )
    return _balanced("".join(out)).strip()


def _leading(separator: str) -> str:
    """Of what stands between a token that went and one that stays, the signs of the latter."""
    blank = max((separator.rfind(each) for each in " \t"), default=-1)
    if blank >= 0 or not separator:
        return separator[blank + 1 :]
    # Without a blank it joined both, except a sign behind another one: "_+C".
    return separator[1:] if separator[1:].strip(_SIGNS_BEFORE + _OPENING) == "" else ""


def _trailing(separator: str) -> str:
    """Of what stands between a token that stays and one that went, the signs of the former."""
    blank = re.search(r"\s", separator)
    if blank:
        return separator[: blank.start()].rstrip(_OPENING + ",;:")
    signs = separator.rstrip(_OPENING)
    return signs[:-1] if len(signs) > 1 else ""


def _joint(left: str, right: str) -> str:
    """What stands between two tokens that stay, where what was between them went."""
    ends, begins = _trailing(left), _leading(right)
    if any(each.isspace() for each in left + right):
        return f"{ends} {begins}"
    return f"{ends}{left[-1:].strip(_OPENING) or right[:1].strip(_CLOSING) or ' '}{begins}"


def _balanced(text: str) -> str:
    """Without brackets, where one of a pair went."""
    for opening, closing in zip(_OPENING[:3], _CLOSING[:3], strict=True):
        depth = 0
        for each in text:
            depth += (each == opening) - (each == closing)
            if depth < 0:
                break
        if depth:
            text = text.replace(opening, "").replace(closing, "")
        text = re.sub(rf"\s?{re.escape(opening)}\s*{re.escape(closing)}", "", text)
    return text
