"""What cleaning does to descriptions and region names, step by step: what stays whole, and which strangers' names stay.

    python benchmarks/words.py [--half tuning|held_out|both] [--show]
    python benchmarks/words.py --letters      # the strangers that the judgement by letters did not learn from
    python benchmarks/words.py --sources      # by source of the vocabulary; needs what scripts/make_vocabulary.py needs

The lists are those of tests/deid/words. Each row adds a rule of `lexicon.RULES`, or a source, to those above it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HOME), str(HOME / "scripts")]

from pacsifier.deidentify.engine import descriptors, lexicon, titles  # noqa: E402
from pacsifier.deidentify.engine.descriptors import Vocabulary, words  # noqa: E402
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher  # noqa: E402
from pacsifier.deidentify.engine.lexicon import RULES, Lexicon, Rule, can_be_believed, judged  # noqa: E402

LISTS = HOME / "tests/deid/words"
HALVES = {"tuning": slice(0, None, 2), "held_out": slice(1, None, 2), "both": slice(None)}
NOBODY = Matcher(Identifiers(), {})
# A surname as people write it, alone and among words that say what is imaged.
FORMS = ("{}", "{lower} thorax", "{} Thorax", "T1 {} sag", "knee_{}_ap", "CT {upper}")
SURE = (
    "technical words",
    "technical words that are names too",
    "technical words but for those with one capital",
)


def rows(name: str, half: str = "both") -> list[str]:
    """The rows of a list."""
    lines = (LISTS / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")][HALVES[half]]


def damaged(vocabulary: Vocabulary, texts: list[str]) -> list[tuple[str, str]]:
    """The texts that do not stay whole, and what becomes of them."""
    cleaned = [(text, vocabulary.clean(text, NOBODY).text) for text in texts]
    return [(text, new) for text, new in cleaned if text != new]


def let_through(vocabulary: Vocabulary, names: list[str]) -> list[str]:
    """The names that stay in one of the forms."""
    found = []
    for name in names:
        texts = [form.format(name, upper=name.upper(), lower=name.lower()) for form in FORMS]
        if any(name.lower() in vocabulary.clean(text, NOBODY).text.lower() for text in texts):
            found.append(name)
    return found


class Measure:
    """The lists, and what a vocabulary makes of them."""

    def __init__(self, half: str) -> None:
        lists = [
            "descriptions.txt",
            *(f"descriptions_{number}.txt" for number in (2, 3, 4, 5) if half == "both"),
        ]
        self.texts = [row.split("|", 3)[3] for name in lists for row in rows(name, half)]
        self.regions = rows("regions.txt", half)
        self.names = rows("surnames.txt", half) + rows("surnames_2.txt", half)
        self.places = rows("places.txt", half)

    def head(self) -> None:
        print(
            f"{len(self.texts)} descriptions, {len(self.regions)} regions, {len(self.names)} surnames, ",
            end="",
        )
        print(f"{len(self.places)} places\n")
        print("| step | descriptions whole | regions whole | surnames that stay | places that stay |")
        print("|---|---|---|---|---|")

    def row(self, title: str, vocabulary: Vocabulary) -> None:
        whole = _share(len(self.texts) - len(damaged(vocabulary, self.texts)), len(self.texts))
        regions = _share(len(self.regions) - len(damaged(vocabulary, self.regions)), len(self.regions))
        names, places = (len(let_through(vocabulary, each)) for each in (self.names, self.places))
        print(f"| {title} | {whole} | {regions} | {names} | {places} |")

    def cohort(self) -> Vocabulary:
        """The vocabulary of a run where three patients have each description."""
        return shared_by_three(self.texts)


def shared_by_three(texts: list[str]) -> Vocabulary:
    """The vocabulary of a run where three patients have each of these descriptions."""
    believed = {word for text in texts for word in words(text) if can_be_believed(word)}
    return Vocabulary(shared=dict.fromkeys(believed, 3))


def _share(number: int, of: int) -> str:
    return f"{number} ({100 * number / of:.1f} %)"


def rare_words() -> Iterator[tuple[str, list[str]]]:
    """The lists that were written to hold rare words, in the order in which they were."""
    for number in (6, 7, 8):
        yield f"list {number}", [row.split("|", 3)[3] for row in rows(f"descriptions_{number}.txt")]
    for half in ("tuning", "held_out"):
        yield f"rarer exams, {half}", rows("rare_exams.txt", half)


# --- by source ----------------------------------------------------------------------------------------------------


def sources() -> Iterator[tuple[str, Lexicon, dict[str, Rule]]]:
    """Steps by source of the vocabulary: title, what is known, and the rules."""
    import make_vocabulary as maker

    whole, nothing = lexicon.lexicon(), frozenset[str]()
    sure = {name: RULES[name] for name in SURE}
    coded = maker.words_in(" ".join(phrase) for phrase in maker.concept_phrases()) | maker.words_in(
        maker.dictionary_names()
    )
    bare = replace(
        whole,
        technical=frozenset(coded),
        technical_names=nothing,
        capitals=nothing,
        names=nothing,
        eponyms={},
    )
    yield "coded concepts and names of the dictionary", bare, sure
    somebody, frequent = maker.people(), maker.frequent_words()
    coded -= somebody.frequent | (somebody.anybody - frequent)
    yield "less names", replace(bare, technical=frozenset(coded)), sure
    terms = frozenset(coded | maker.own_terms())
    yield "and our own terms and TG-263", replace(bare, technical=terms), sure
    yield "names: some words only without one capital, eponyms beside their noun", whole, sure
    for title in (
        "no vowel",
        "WordsWrittenAsOne",
        "compounds",
        "endings",
        "short words in capitals",
        "common words",
    ):
        sure = {**sure, "(names end the matter)": RULES["(names end the matter)"], title: RULES[title]}
        yield f"and {title}", whole, sure
    lists = {name: rule for name, rule in RULES.items() if name != "a word by its letters"}
    yield "and common words that are rare names, and endings, in small letters", whole, lists
    yield "and words by their letters: **the product**", whole, dict(RULES)
    wide = replace(whole, common=frozenset(frequent), names=nothing)
    yield "not taken: common words that are names as well, in any case", wide, dict(RULES)


def by_source(measure: Measure) -> None:
    for title, known, rules in sources():
        for module in (descriptors, lexicon, titles):
            module.lexicon = lambda known=known: known  # type: ignore[attr-defined]
        measure.row(title, Vocabulary(rules=rules))


def strangers() -> None:
    """How many rare surnames stay of those that nothing was learned from; they count once each, however rare."""
    import make_vocabulary as maker
    from letters import is_set_aside

    somebody, known = maker.people(), lexicon.lexicon()
    surnames = maker.census("dist.all.last") | maker.of_locales(
        "person", maker.AVAILABLE_LOCALES, "last_name"
    )
    words = maker.frequent_words() | known.technical | known.technical_names
    rare = sorted(
        name for name in surnames - somebody.frequent - words if len(name) > 3 and is_set_aside(name)
    )
    stay = [verdict for verdict in (judged(name.title()) for name in rare) if verdict.stays]
    by_letters = sum(verdict.why == lexicon.BY_LETTERS for verdict in stay)
    print(f"of {len(rare)} rare surnames {_share(len(stay), len(rare))} stay, {by_letters} by their letters")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=HALVES, default="both")
    parser.add_argument("--sources", action="store_true", help="steps by source of the vocabulary")
    parser.add_argument("--show", action="store_true", help="show what is damaged or let through in the end")
    parser.add_argument(
        "--letters", action="store_true", help="strangers that the letters did not learn from"
    )
    arguments = parser.parse_args()
    if arguments.letters:
        strangers()
        return
    measure = Measure(arguments.half)
    measure.head()
    if arguments.sources:
        by_source(measure)
        return
    for number, title in enumerate(RULES, 1):
        measure.row(title, Vocabulary(rules=dict(list(RULES.items())[:number])))
    measure.row("(a cohort: three patients have each description)", measure.cohort())
    for title, texts in rare_words():
        print(
            f"{title}: {_share(len(texts) - len(damaged(Vocabulary(), texts)), len(texts))} of {len(texts)} whole"
        )
    if arguments.show:
        for text, new in damaged(Vocabulary(), measure.texts + measure.regions):
            print(f"{text!r} -> {new!r}")
        print("names that stay:", *let_through(Vocabulary(), measure.names + measure.places))


if __name__ == "__main__":
    main()
