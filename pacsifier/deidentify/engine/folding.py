"""How letters are compared: without accents, strokes and case."""

from __future__ import annotations

import unicodedata

# Letters that Unicode does not decompose.
_WITHOUT_STROKES = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "\u0131": "i"}
)


def fold_for_search(text: str) -> str:
    """The text in the form that is compared: compatibility forms, no accents, lower case."""
    if text.isascii():
        return text.lower()
    return "".join(fold_character(each) for each in text)


def fold_character(character: str) -> str:
    """The same of one character, which may become several."""
    plain = unicodedata.normalize("NFKD", character)
    folded = "".join(each for each in plain if not unicodedata.combining(each)).casefold()
    return folded.translate(_WITHOUT_STROKES)
