"""Cleans descriptions word by word: names of sequences and regions and numbers stay, every other word goes."""

from __future__ import annotations

import re
from collections.abc import Collection

from pacsifier.deidentify.engine.identifiers import Matcher, fold_for_search
from pacsifier.deidentify.engine.profile import read_words

_WORD = re.compile(r"\d+(?:[.,]\d+)?[^\W\d_]*|[^\W\d_]+\d*[^\W_]*")
_EDGE = " _-^,;:/\\|.&+=*#'\""
_BRACKETS = re.compile(r"[()\[\]{}\"]+")
_UNIT = (
    r"(?:mm|cm|m|ms|s|sec|min|h|ml|cc|mg|g|kg|hz|khz|mhz|kv|kvp|ma|mas|mgy|gy|cgy|mbq|bq|mci|t|d|x|p|f|i|w|b|vol|deg|dir|dirs|"
    r"directions|frames?|phases?|slices?|views?|shots?|echos?|ch|st|nd|rd|th|ph|fx|mip|mpr)"
)
_NUMBER = re.compile(rf"\d{{1,4}}(?:[.,]\d{{1,4}})?{_UNIT}?|\d{{1,4}}(?:x\d{{1,4}}){{1,2}}")
_CODE = re.compile(
    r"b\d{1,5}|[a-z]\d{1,3}[a-z]?|(?:br|hr|bf|bl|bv|fc|ub|uc|qr|hp|hv|hf|te|tr|ti|fa|sl|th|cv|ctv|gtv|ptv|roi)\d{1,4}[a-z]?"
)
# How people write dates, phone numbers, e-mail and web addresses.
_TELLING = re.compile(
    r"(?<!\d)\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?!\d)|(?<!\d)(?:\+|00)?\d{2,4}(?:[ ./-]\d{2,4}){2,}(?!\d)|\d{5,}|\S+@\S+|"
    r"https?:\S+"
)


class Vocabulary:
    """The words that may stay: the shipped ones, and those that a person or their spread over patients accepted."""

    def __init__(self, accepted: Collection[str] = ()) -> None:
        self._words = read_words("vocabulary.txt") | {fold_for_search(word) for word in accepted}

    def allows(self, word: str) -> bool:
        """Whether a word of a description may stay."""
        folded = fold_for_search(word)
        if folded in self._words or _NUMBER.fullmatch(folded) or _CODE.fullmatch(folded):
            return True
        stem = folded.rstrip("0123456789")
        return len(folded) - len(stem) <= 4 and stem in self._words

    def clean(self, text: str, matcher: Matcher) -> tuple[str, list[str]]:
        """Returns the text without known identifiers and without words that are not allowed, and those words."""
        kept: list[str] = []
        dropped: list[str] = []
        at = 0
        barred = sorted(matcher.spans(text) + [match.span() for match in _TELLING.finditer(text)])
        for match in _WORD.finditer(text):
            hit = any(start < match.end() and match.start() < stop for start, stop in barred)
            if hit or not self.allows(match[0]):
                kept.append(text[at : match.start()])
                at = match.end()
                if not hit:
                    dropped.append(fold_for_search(match[0]))
        if not at:
            return text, []
        kept.append(text[at:])
        rest = _BRACKETS.sub(" ", "".join(kept))
        return re.sub(r"\s{2,}", " ", re.sub(r"([_\-])[_\-]+", r"\1", rest)).strip(_EDGE), dropped


def words(text: str) -> set[str]:
    """The folded words of a description that could be accepted: those with at least three letters."""
    return {
        fold_for_search(word) for word in _WORD.findall(text) if sum(each.isalpha() for each in word) >= 3
    }
