"""What cleaning does to descriptions and region names, rule by rule: what stays whole, and which strangers' names stay.

    python benchmarks/words.py [--half tuning|held_out|both] [--show]

The lists are those of tests/deid/words. Each row adds a rule of `lexicon.RULES` to those above it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.lexicon import RULES

LISTS = Path(__file__).resolve().parent.parent / "tests/deid/words"
HALVES = {"tuning": slice(0, None, 2), "held_out": slice(1, None, 2), "both": slice(None)}
NOBODY = Matcher(Identifiers(), {})
# A surname as people write it, alone and among words that say what is imaged.
FORMS = ("{}", "{lower} thorax", "{} Thorax", "T1 {} sag", "knee_{}_ap", "CT {upper}")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=HALVES, default="both")
    parser.add_argument("--show", action="store_true", help="show what is damaged or let through in the end")
    arguments = parser.parse_args()
    descriptions = [row.split("|", 3)[3] for row in rows("descriptions.txt", arguments.half)]
    regions, names = rows("regions.txt", arguments.half), rows("surnames.txt", arguments.half)
    print(
        f"| rules | descriptions whole of {len(descriptions)} | regions of {len(regions)} | surnames of {len(names)} |"
    )
    print("|---|---|---|---|")
    for number in range(1, len(RULES) + 1):
        vocabulary = Vocabulary(rules=dict(list(RULES.items())[:number]))
        bad, bad_regions = damaged(vocabulary, descriptions), damaged(vocabulary, regions)
        through = let_through(vocabulary, names)
        whole, regions_whole = len(descriptions) - len(bad), len(regions) - len(bad_regions)
        print(
            f"| {list(RULES)[number - 1]} | {whole} ({100 * whole / len(descriptions):.1f} %) | "
            f"{regions_whole} ({100 * regions_whole / len(regions):.1f} %) | {len(through)} |"
        )
    if arguments.show:
        for text, new in (*bad, *bad_regions):
            print(f"{text!r} -> {new!r}")
        print("names that stay:", *through)


if __name__ == "__main__":
    main()
