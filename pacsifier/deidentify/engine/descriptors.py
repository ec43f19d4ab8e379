"""Cleans descriptions word by word: a word goes because it can be a name, a place or a number of somebody.

What of a description is judged is a token: letters and digits without a sign between them. Signs stay, and so do tokens
of one or two letters, unless they are the initials or the short name of a person met in the images of the patient.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.gluing import glued
from pacsifier.deidentify.engine.identifiers import Matcher, is_ideographic
from pacsifier.deidentify.engine.lexicon import (
    ABBREVIATION,
    BY_LETTERS,
    NAME,
    NAME_AND_WORD,
    NAME_WITH_ONE_CAPITAL,
    NAME_WITHOUT_CAPITAL,
    RARE_NAME,
    RULES,
    SHORTEST_JUDGED,
    STAYS,
    UNKNOWN,
    Rule,
    Verdict,
    judged,
    lexicon,
)
from pacsifier.deidentify.engine.titles import named_by_title

_TOKEN = re.compile(r"(?:[^\W\d_]['\u2019])?[^\W_]+")
_RUN = re.compile(r"[^\W\d_]+|\d+")
_LETTERS = re.compile(r"[^\W\d_]+")
# Numbers of an acquisition that may have five digits: b-values, echo, repetition, inversion and delay times.
_ACQUISITION = re.compile(r"(?:b|bval|te|tr|ti|td|pld|venc|fov)\d{1,5}")
_LONGEST_NUMBER = 4
_SHORTEST_CODE = 3
# How people write dates, phone numbers, numbers of the insured in groups, e-mail and web addresses.
_TELLING = re.compile(
    r"(?<![\d.])(?=(?:\.?\d){9})\d+(?:\.\d+){2,}|(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)|"
    r"(?<!\d)[12] ?\d\d ?(?:0\d|1[0-2]) ?\d[\dAB] ?\d{3} ?\d{3}(?: ?\d\d)?(?!\d)|"
    r"(?<!\d)(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})|(?:19|20)\d{2}([./-])\d{1,2}\2\d{1,2})(?!\d)|"
    r"(?<![\d.,])(?:\+|0)[\d]{1,4}(?:[ ./-]\d{2,4}){2,}(?!\d)|(?<!\d)\d{3}([ .-])\d{3}\3\d{4}(?!\d)|"
    r"\S+@\S+|https?:\S+|www\.\S+"
)
_MET = Verdict(False, "a person, an institution or a device of the run is called so")
_HIT = Verdict(False)
_TITLED = Verdict(False, "it stands behind a title")
_NUMBER = Verdict(False, "it is a number of five digits or more")
_CODE = Verdict(False, "it looks like somebody's code: unknown letters and a number")
_TELLS = Verdict(False, "it looks like a date, a phone number or an address")
_INITIALS = Verdict(False, "a person of the run has these initials or is called so")
_BESIDE = Verdict(False, "it is a name beside another one")
_KEPT_INITIALS = Verdict(
    True, "it is an abbreviation; a person of the run has these initials or is called so"
)
_SHARED_NAME = "{} patients share it: a common word, and a name as well"
_EPONYM = Verdict(True, "it is a name beside its noun")


class Remark(NamedTuple):
    """What a person should know of a word: whether it stayed, and why."""

    word: str
    stays: bool
    why: str


class Cleaned(NamedTuple):
    """A description as it may go out, and what there is to say of its words."""

    text: str
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Token:
    """A token of a description, as a slice of it."""

    text: str
    start: int
    stop: int

    @property
    def word(self) -> str:
        """The token without what an apostrophe cuts off in front."""
        return re.split("['\u2019]", self.text)[-1]


class Vocabulary:
    """Decides which words of descriptions may stay.

    `accepted` are words that a person accepted, `shared` those that enough patients share, with their number; `met` are
    the folded words of everybody and every place met in the run, `staff` the names of its staff, which go even where
    they are technical words as well.
    """

    def __init__(
        self,
        accepted: Collection[str] = (),
        shared: Mapping[str, int] | None = None,
        met: Collection[str] = (),
        staff: Collection[str] = (),
        rules: Mapping[str, Rule] = RULES,
    ) -> None:
        self._accepted = {fold_for_search(word) for word in accepted}
        self._shared, self._met, self._rules = shared or {}, met, rules
        self._staff = {name for name in staff if len(name) > SHORTEST_JUDGED}
        self._known: dict[str, Verdict] = {}

    def allows(self, word: str) -> bool:
        """Whether a word of a description may stay, where nobody of that name was met beside it."""
        return self._of_token(word).stays

    def clean(self, text: str, matcher: Matcher) -> Cleaned:
        """The description without what can be a name, a place or a number of somebody."""
        tokens = [Token(match[0], *match.span()) for match in _TOKEN.finditer(text)]
        verdicts = self._beside_names(tokens, list(self._judged(text, tokens, matcher)))
        remarks = tuple(
            Remark(fold_for_search(token.text), verdict.stays, verdict.why)
            for token, verdict in zip(tokens, verdicts, strict=True)
            if verdict.why
        )
        gone = [not verdict.stays for verdict in verdicts]
        if not any(gone):
            return Cleaned(text, remarks)
        return Cleaned(glued(text, [(token.start, token.stop) for token in tokens], gone), remarks)

    # --- by what stands around a token ----------------------------------------------------------------------------

    def _judged(self, text: str, tokens: Sequence[Token], matcher: Matcher) -> Iterator[Verdict]:
        hits, telling = matcher.spans(text), [match.span() for match in _TELLING.finditer(text)]
        titled = named_by_title(text, [(token.start, token.stop) for token in tokens])
        persons = _Persons(tokens, text, matcher)
        folded = [fold_for_search(token.word) for token in tokens]
        for at, token in enumerate(tokens):
            if _meets(token, hits) and not _is_of_acquisition(token, hits):
                yield _HIT
            elif _meets(token, telling):
                yield _TELLS
            elif folded[at] in self._accepted or fold_for_search(token.text) in self._accepted:
                yield STAYS
            elif at in titled:
                yield _TITLED
            elif (verdict := persons.verdict(at)) is not None:
                yield verdict
            elif not self._staff.isdisjoint({folded[at], *_folded_letters(token)}):
                yield _MET
            elif self._stands_by_its_noun(at, folded):
                yield _EPONYM
            elif _is_half_of_a_word(at, tokens, text):
                yield STAYS
            else:
                yield self._of_token(token.word)

    def _stands_by_its_noun(self, at: int, folded: Sequence[str]) -> bool:
        nouns = lexicon().eponyms.get(folded[at], ()) if folded[at] not in self._met else ()
        return any(each in nouns for each in (*folded[max(0, at - 2) : at], *folded[at + 1 : at + 3]))

    def _beside_names(self, tokens: Sequence[Token], verdicts: list[Verdict]) -> list[Verdict]:
        """A word that can be a name goes beside a word that went, and one judged by its letters beside a name."""
        gone = {
            at
            for at, verdict in enumerate(verdicts)
            if not verdict.stays and _LETTERS.search(tokens[at].text)
        }
        names = {at for at in gone if verdicts[at] in (NAME, NAME_AND_WORD, _MET, _TITLED)}
        unsure = {
            **dict.fromkeys((NAME_WITH_ONE_CAPITAL, NAME_WITHOUT_CAPITAL, RARE_NAME), gone),
            **dict.fromkeys({_SHARED_NAME.format(number) for number in self._shared.values()}, gone),
            BY_LETTERS: names,
        }
        return [
            _BESIDE if {at - 1, at + 1} & unsure.get(verdict.why, set()) else verdict
            for at, verdict in enumerate(verdicts)
        ]

    # --- by itself ------------------------------------------------------------------------------------------------

    def _of_token(self, text: str) -> Verdict:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._decided(text)
        return known

    def _decided(self, text: str) -> Verdict:
        """Of a token with digits in it, each run of letters is judged."""
        folded = fold_for_search(text)
        if folded in self._accepted or lexicon().is_technical(folded):
            return STAYS if folded not in lexicon().technical_names else judged(text, self._rules)
        if _ACQUISITION.fullmatch(folded):
            return STAYS
        runs = _RUN.findall(unicodedata.normalize("NFKC", text))
        if any(run.isdigit() and len(run) > _LONGEST_NUMBER for run in runs):
            return _NUMBER
        verdicts = [self._of_word(run) for run in runs if not run.isdigit() and _is_judged(run)]
        if any(verdict.why == ABBREVIATION for verdict in verdicts) and any(_is_code(run) for run in runs):
            return _CODE
        worst = [verdict for verdict in verdicts if not verdict.stays]
        return next(iter(worst or [verdict for verdict in verdicts if verdict.why] or [STAYS]))

    def _of_word(self, word: str) -> Verdict:
        folded = fold_for_search(word)
        if folded in self._accepted:
            return STAYS
        verdict = judged(word, self._rules)
        if folded in self._met and not lexicon().is_technical(folded):
            return _MET
        number = self._shared.get(folded)
        if number and verdict == UNKNOWN:
            return Verdict(True, f"{number} patients share it")
        if number and verdict == NAME_AND_WORD:
            return Verdict(True, _SHARED_NAME.format(number))
        return verdict


def words(text: str) -> set[str]:
    """The folded words of a description that could be accepted for their spread: those not behind a title."""
    tokens = [Token(match[0], *match.span()) for match in _TOKEN.finditer(text)]
    titled = named_by_title(text, [(token.start, token.stop) for token in tokens])
    return {
        fold_for_search(run)
        for at, token in enumerate(tokens)
        if at not in titled
        for run in _LETTERS.findall(unicodedata.normalize("NFKC", token.word))
        if _is_judged(run)
    }


def staff_words(names: Collection[str]) -> set[str]:
    """The names of staff that go from descriptions: not Abdomen, who is a team; of short ones case decides."""
    return {name for name in names if len(name) <= SHORTEST_JUDGED or name not in lexicon().technical}


def titled_words(text: str) -> set[str]:
    """The folded words of a description that stand behind a title."""
    tokens = [Token(match[0], *match.span()) for match in _TOKEN.finditer(text)]
    titled = named_by_title(text, [(token.start, token.stop) for token in tokens])
    return {fold_for_search(run) for at in titled for run in _LETTERS.findall(tokens[at].word)}


def _is_code(run: str) -> bool:
    """Whether digits are as many as codes of subjects have."""
    return run.isdigit() and len(run) >= _SHORTEST_CODE


def _is_judged(run: str) -> bool:
    """Whether letters can be a name by themselves: from three on, and in scripts that write a name in fewer."""
    return len(run) >= SHORTEST_JUDGED or is_ideographic(run)


def _folded_letters(token: Token) -> list[str]:
    return [fold_for_search(run) for run in _LETTERS.findall(token.word)]


def _meets(token: Token, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < token.stop and token.start < stop for start, stop in spans)


def telling(text: str, hits: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans of known identifiers in a description but those that are only a number of the acquisition, and stay."""
    tokens = [Token(match[0], *match.span()) for match in _TOKEN.finditer(text)] if hits else []
    kept = [token for token in tokens if _is_of_acquisition(token, hits)]
    return [hit for hit in hits if not any(token.start <= hit[0] and hit[1] <= token.stop for token in kept)]


def _is_of_acquisition(token: Token, hits: Sequence[tuple[int, int]]) -> bool:
    """Whether a known number is only the number of a b-value or a time here: exam 1000, b1000."""
    return bool(_ACQUISITION.fullmatch(fold_for_search(token.text))) and all(
        start > token.start for start, stop in hits if start < token.stop and token.start < stop
    )


def _is_half_of_a_word(at: int, tokens: Sequence[Token], text: str) -> bool:
    """Whether a token makes a technical word with the one beyond a hyphen: MP-RAGE."""
    for first in (at - 1, at):
        pair = tokens[first : first + 2] if first >= 0 else ()
        if len(pair) == 2 and text[pair[0].stop : pair[1].start] == "-":
            joint = fold_for_search(pair[0].text + pair[1].text)
            if joint in lexicon().technical:
                return True
    return False


class _Persons:
    """Tells initials and short names of the persons met in the patient's images from abbreviations."""

    def __init__(self, tokens: Sequence[Token], text: str, matcher: Matcher) -> None:
        self._tokens, self._text, self._known = tokens, text, matcher.known

    def verdict(self, at: int) -> Verdict | None:
        """The verdict on a token, if it can be a person's."""
        token = self._tokens[at]
        if not token.text.isalpha():
            runs = _LETTERS.findall(token.word)
            return next((_MET for run in runs if self._names(run)), None)
        if len(token.text) == 1:
            return self._of_dotted(at)
        if len(token.text) <= SHORTEST_JUDGED:
            return self._of_short(token.text)
        return _MET if self._names(token.word) else None

    def _names(self, word: str) -> bool:
        folded = fold_for_search(word)
        return len(folded) >= SHORTEST_JUDGED and folded in self._known.people

    def _of_short(self, text: str) -> Verdict | None:
        """Where an abbreviation is meant as well, case decides: Li is a name, LI a side."""
        folded = fold_for_search(text)
        is_name = folded in self._known.people
        if not is_name and (folded not in self._known.initials or not text[0].isupper()):
            return None
        if not lexicon().is_technical(folded):
            return _INITIALS
        return _INITIALS if is_name and text.istitle() else _KEPT_INITIALS

    def _of_dotted(self, at: int) -> Verdict | None:
        """Single letters: J.D. are initials where those of a person are J and D."""
        for first in (at - 1, at):
            pair = self._tokens[first : first + 2] if first >= 0 else ()
            if len(pair) == 2 and all(len(each.text) == 1 and each.text.isupper() for each in pair):
                joint = fold_for_search(pair[0].text + pair[1].text)
                between = self._text[pair[0].stop : pair[1].start]
                if between in (".", ". ") and joint in self._known.initials:
                    return _KEPT_INITIALS if lexicon().is_technical(joint) else _INITIALS
        return None
