"""What is known of words: which of them say what is imaged and how, which are names, and how sure that is.

The data are made by `scripts/make_vocabulary.py`. Words are folded: without accents, in small letters. A word is judged
by rules from the surest to the least sure; what a less sure one keeps is listed for a person to look through.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple

from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.letters import is_a_word
from pacsifier.deidentify.engine.profile import data_lines, data_parts

SHORTEST_JUDGED = 3
_SHORTEST_PART = 4
_SHORTEST_STEM = 6
_LONGEST_JUDGED = 64
_SHORTEST_BENT = 8
_SHORTEST_SPELLED = 6
_SHORTEST_OF_TWO_NOUNS = 8
_LINKS = ("", "s", "n", "en", "es", "e", "er", "o", "i")
# An abbreviation with small letters behind it: PTVopt.
_ABBREVIATED = re.compile(r"([A-Z]{3,})([a-z]{1,3})")
# With which letters a word may begin that is spelled alike with this one.
_FIRST_LETTERS = {"c": "ckqz", "f": "fp", "i": "iy", "e": "eao"}
_SHORT_ENDINGS = ("s", "es")
# How the five languages spell one word of Latin or Greek.
_SPELLINGS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        ("ph", "f"),
        ("(?<=[crt])h", ""),
        ("qu", "c"),
        ("[kz]", "c"),
        ("t(?=i[aeou])", "c"),
        ("y", "i"),
        ("[ao]e", "e"),
        (r"([bcdfgklmnpqrstvx])\1", r"\1"),
    )
)
# Names of hospitals are made of words: Inselspital.
_OF_A_HOUSE = re.compile("spital|klinik|clini[ck]|hopital|ospedal|krankenh|stift$|heim$|zentrum|centre?$")
# How people type letters that a keyboard or a console lacks; and Latin words, as Ösophagus, have them by their sound.
_SPELLED_OUT = re.compile("(?<=[aou])e")
_TO_SPELL_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
# What names begin with: a capital behind it says nothing.
_PARTICLES = frozenset(
    ("mc", "mac", "le", "la", "de", "di", "du", "da", "del", "van", "von", "al", "el", "st")
)
_NO_VOWEL = re.compile(r"[bcdfghjklmnpqrstvwxz]{3,5}")
_CAMEL = re.compile(r"[A-ZÀ-ÖØ-Þ]+(?![a-zß-öø-ÿ])|[A-ZÀ-ÖØ-Þ]?[a-zß-öø-ÿ]+")


class Verdict(NamedTuple):
    """Whether a word stays, and what the review table says of it ("": nothing)."""

    stays: bool
    why: str = ""


STAYS = Verdict(True)
UNKNOWN = Verdict(False, "it is not in the vocabulary")
NAME = Verdict(False, "it is a family or given name")
NAME_AND_WORD = Verdict(False, "it is a family or given name, and a common word")


class SortedWords(Collection[str]):
    """Words in the lines of a data file, sorted throughout: looked up there, as a set of 80,000 takes 20 ms."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __contains__(self, word: object) -> bool:
        at = bisect_right(self._lines, str(word), key=lambda line: line.partition(" ")[0])
        return at > 0 and word in self._lines[at - 1].split()

    def __iter__(self) -> Iterator[str]:
        return (word for line in self._lines for word in line.split())

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Lexicon:
    """The words of the data files; `names` are frequent names that are no technical word."""

    technical: frozenset[str]
    technical_names: frozenset[str]
    capitals: frozenset[str]
    common: SortedWords
    common_rare_names: SortedWords
    most_common_rare_names: SortedWords
    most_common_names: SortedWords
    quite_common_names: SortedWords
    names: SortedWords
    first: frozenset[str]
    second: frozenset[str]
    second_nouns: frozenset[str]
    last: tuple[str, ...]
    endings: tuple[str, ...]
    grammar: tuple[str, ...]
    eponyms: Mapping[str, frozenset[str]]
    _spelled: dict[str, frozenset[str]] = field(default_factory=dict, compare=False)

    def is_technical(self, folded: str) -> bool:
        """Whether a folded word says what is imaged or how, be it a name or not."""
        return folded in self.technical or folded in self.technical_names

    def is_compound(self, folded: str, depth: int = 0) -> bool:
        """Whether a folded word is made of technical words, as in German, or of parts of words of medicine."""
        if any(folded.endswith(last) and len(folded) - len(last) >= SHORTEST_JUDGED for last in self.last):
            return True
        for at in range(SHORTEST_JUDGED, len(folded) - SHORTEST_JUDGED):
            head, tail = folded[:at], folded[at:]
            if not self._begins(head) or len(tail) < _SHORTEST_PART:
                continue
            if self._ends(tail) or (depth < 2 and self.is_compound(tail, depth + 1)):
                return True
        return False

    def is_of_two_nouns(self, folded: str) -> bool:
        """Whether a folded word is a technical one and a short German noun behind it: Atemgurt."""
        if len(folded) < _SHORTEST_OF_TWO_NOUNS:
            return False
        return any(
            folded[at:] in self.second_nouns and self._is_first_noun(folded[:at])
            for at in range(_SHORTEST_PART, len(folded) - SHORTEST_JUDGED)
        )

    def _is_first_noun(self, head: str) -> bool:
        heads = (head, head.removesuffix("s"), head.removesuffix("n"), head.removesuffix("en"))
        return any(len(each) >= _SHORTEST_PART and each in self.technical for each in heads)

    def _ends(self, tail: str) -> bool:
        if (
            tail in self.technical
            or tail in self.second
            or (len(tail) > _SHORTEST_STEM and self.has_known_stem(tail))
        ):
            return True
        # Wichtung, Anlage: long enough to be no second half of a name, as Mann and Berg are.
        return len(tail) >= _SHORTEST_STEM and (tail in self.common or is_a_word(tail))

    def _begins(self, head: str) -> bool:
        if head in self.first:
            return True
        # Huftprothese: a word may lose its last letter before another one.
        heads = (f"{head}e", *(head.removesuffix(link) for link in _LINKS if head.endswith(link)))
        if any(len(each) >= _SHORTEST_PART and self.is_technical(each) for each in heads):
            return True
        spelled = _spelled_alike(head)
        return len(head) >= _SHORTEST_SPELLED and spelled in self._spelled_from(spelled[:1])

    def has_known_stem(self, folded: str) -> bool:
        """Whether a folded word differs from a technical one by its ending."""
        if any(folded.endswith(each) and folded.removesuffix(each) in self._bent for each in _SHORT_ENDINGS):
            return True
        spelled = _spelled_alike(folded)
        stems = set(self._stems(spelled))
        return any(
            stem in stems
            for word in self._spelled_from(spelled[:1])
            if word.startswith(spelled[:_SHORTEST_STEM])
            for stem in self._stems(word)
        )

    @cached_property
    def _bent(self) -> frozenset[str]:
        return frozenset(
            word for word in self.technical | self.technical_names if len(word) >= _SHORTEST_PART
        )

    def _spelled_from(self, letter: str) -> frozenset[str]:
        """The technical words that begin with a letter when they are spelled alike; made when first asked for."""
        found = self._spelled.get(letter)
        if found is None:
            begin = _FIRST_LETTERS.get(letter, letter)
            words = (_spelled_alike(word) for word in self.technical if word[:1] in begin)
            found = self._spelled[letter] = frozenset(word for word in words if word[:1] == letter)
        return found

    def _stems(self, word: str) -> Iterator[str]:
        """The word, and the word without each ending that it has, as long as enough of it is left."""
        if len(word) >= _SHORTEST_STEM:
            yield word
        for ending in self.endings:
            if len(word) - len(ending) >= _SHORTEST_STEM and word.endswith(ending):
                yield word[: -len(ending)]


def _spelled_alike(word: str) -> str:
    """A word of Latin or Greek in one spelling for all languages: sakral is sacral, torax thorax."""
    for pattern, plain in _SPELLINGS:
        word = pattern.sub(plain, word)
    return word


@cache
def lexicon() -> Lexicon:
    """The data files, read once in each process that asks."""
    parts = data_parts("vocabulary.txt")

    def words(title: str) -> frozenset[str]:
        return frozenset().union(*map(str.split, parts.get(title, ())))

    def sorted_words(title: str) -> SortedWords:
        return SortedWords(parts.get(title, ()))

    pairs = (line.partition(": ") for line in parts.get("eponyms", ()))
    return Lexicon(
        technical=words("technical"),
        technical_names=words("technical, and names too"),
        capitals=words("technical but names with one capital"),
        common=sorted_words("common"),
        common_rare_names=sorted_words("common, and rare names too"),
        most_common_rare_names=sorted_words("most common, and rare names too"),
        most_common_names=sorted_words("most common, and names too"),
        quite_common_names=sorted_words("quite common, and names too"),
        names=SortedWords(data_lines("names.txt")),
        first=words("first parts"),
        second=words("second halves"),
        second_nouns=words("other second halves"),
        last=tuple(sorted(words("last parts"))),
        endings=tuple(sorted(words("endings"))),
        grammar=tuple(sorted(words("grammar"))),
        eponyms={name: frozenset(nouns.split()) for name, _, nouns in pairs},
    )


# --- the rules, from the surest to the least sure -------------------------------------------------------------------

Rule = Callable[[str, str, Lexicon], Verdict | None]
"""Of a word and its folded form, the verdict, or None where the rule does not know."""


def _technical(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    return STAYS if folded in known.technical else None


def _technical_name(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    if folded in known.technical_names:
        return Verdict(True, "it is a word of the vocabulary, and a name as well")
    return None


def _without_one_capital(word: str, folded: str, known: Lexicon) -> Verdict | None:
    """Lang is a name, lang is none."""
    if folded in known.capitals and (word.isupper() or word.islower()):
        return Verdict(True, NAME_WITH_ONE_CAPITAL)
    return None


def _most_common(word: str, folded: str, known: Lexicon) -> Verdict | None:
    """Black is a name, black is none; of words that are rare names, or small towns, the capital tells nothing."""
    if folded in known.most_common_names and word.islower():
        return Verdict(True, NAME_WITHOUT_CAPITAL)
    rare = folded in known.most_common_rare_names or (folded in known.common_rare_names and word.islower())
    return Verdict(True, RARE_NAME) if rare else None


def _name(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    if folded in known.capitals or folded in known.most_common_names or folded in known.quite_common_names:
        return NAME_AND_WORD
    return NAME if folded in known.names else None


def _without_vowel(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    return Verdict(True, ABBREVIATION) if _NO_VOWEL.fullmatch(folded) else None


def _camel(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    """Words written as one, each with a capital, or an abbreviation with small letters behind it: HeadCoil, PTVopt."""
    abbreviated = _ABBREVIATED.fullmatch(word)
    parts = [
        fold_for_search(part) for part in (abbreviated.groups() if abbreviated else _CAMEL.findall(word))
    ]
    long = [part for part in parts if len(part) >= SHORTEST_JUDGED]
    if len(parts) > 1 and long and parts[0] not in _PARTICLES and all(_is_sure(part, known) for part in long):
        return Verdict(True, "it is made of words of the vocabulary")
    return None


def _is_sure(part: str, known: Lexicon) -> bool:
    return known.is_technical(part) or bool(_NO_VOWEL.fullmatch(part)) or known.is_compound(part)


def _compound(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    if len(folded) >= _SHORTEST_PART and folded in known.first:
        return Verdict(True, "it is a part of words of the vocabulary")
    if known.is_compound(folded) or known.is_of_two_nouns(folded):
        return Verdict(True, "it is made of words of the vocabulary")
    return None


def _stem(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    return Verdict(True, "it is a form of a word of the vocabulary") if known.has_known_stem(folded) else None


def _common(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    many = len(folded) >= _SHORTEST_BENT and folded.removesuffix("s") in known.common
    return Verdict(True, "it is a common word") if many or folded in known.common else None


def _in_capitals(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    """Three or four capitals that are no name: of short names, the list has also the rare ones."""
    if len(word) in (3, 4) and word.isupper() and word.isascii():
        return Verdict(True, ABBREVIATION)
    return None


def _bent(word: str, folded: str, known: Lexicon) -> Verdict | None:
    if len(folded) >= _SHORTEST_BENT and word.islower() and folded.endswith(known.grammar):
        return Verdict(True, "it is no name by its ending and its small letters")
    return None


def _by_letters(word: str, folded: str, known: Lexicon) -> Verdict | None:  # noqa: ARG001
    return Verdict(True, BY_LETTERS) if is_a_word(folded) and not _OF_A_HOUSE.search(folded) else None


BY_LETTERS = "it is in no list, and by its letters a word, not a name"
ABBREVIATION = "it is an abbreviation: without a vowel, or short and in capitals"
RARE_NAME = "it is a common word, and a rare name as well"
NAME_WITH_ONE_CAPITAL = "it is a word of the vocabulary, and a name where only its first letter is a capital"
NAME_WITHOUT_CAPITAL = "it is a common word in small letters, and a name as well"

RULES: Mapping[str, Rule] = {
    "technical words": _technical,
    "technical words that are names too": _technical_name,
    "technical words but for those with one capital": _without_one_capital,
    "most common words that are names too, in small letters": _most_common,
    "(names end the matter)": _name,
    "no vowel": _without_vowel,
    "WordsWrittenAsOne": _camel,
    "compounds": _compound,
    "endings": _stem,
    "short words in capitals": _in_capitals,
    "common words": _common,
    "endings of adjectives and nouns, in small letters": _bent,
    "a word by its letters": _by_letters,
}
"""The rules in their order; `benchmarks/words.py` shows what each of them keeps."""


def judged(word: str, rules: Mapping[str, Rule] = RULES) -> Verdict:
    """What is to become of a word of at least three letters, whatever stands beside it."""
    # Schaedel is Schadel without the points; Mueller is as much a name as Muller.
    for each in _spellings(word):
        verdict = _judged_as_spelled(each, rules)
        # BOEHM is no abbreviation for being BOHM.
        if verdict != UNKNOWN and (each == word or verdict.why != ABBREVIATION):
            return verdict
    return UNKNOWN


def can_be_believed(word: str) -> bool:
    """Whether a folded word, as somebody may have written it, needs enough patients who share it to stay."""
    return any(judged(each) in (UNKNOWN, NAME_AND_WORD) for each in (word, word.title(), word.upper()))


def _judged_as_spelled(word: str, rules: Mapping[str, Rule]) -> Verdict:
    folded, known = fold_for_search(word), lexicon()
    if len(folded) <= _LONGEST_JUDGED:
        for rule in rules.values():
            verdict = rule(word, folded, known)
            if verdict is not None:
                return verdict
    return UNKNOWN


def _spellings(word: str) -> Iterator[str]:
    yield word
    spelled_out = unicodedata.normalize("NFC", word).translate(_TO_SPELL_OUT)
    if spelled_out != word:
        yield spelled_out.upper() if word.isupper() else spelled_out
    folded = fold_for_search(word)
    plain = _SPELLED_OUT.sub("", folded)
    if plain != folded and len(plain) >= SHORTEST_JUDGED:
        yield plain.upper() if word.isupper() else plain.title() if word[:1].isupper() else plain
