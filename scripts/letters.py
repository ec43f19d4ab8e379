"""Learns by which letters a word is told from a name, for make_vocabulary.py.

In integers only, and in an order that is fixed, so that every machine learns the same.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pacsifier.deidentify.engine.letters import LONGEST, SHORTEST, SIZE, Letters, runs

_ROUNDS = 4
_MARGIN = 60
# Inflected forms are many: of the words of the languages so many are enough; those of medicine count three times.
_MOST_WORDS = 300_000
_TIMES_MEDICAL = 3
_SET_ASIDE = 5
_STRANGERS_TAKEN_FOR_WORDS = 0.003


def learned(
    words: Iterable[str], medical: Iterable[str], names: Iterable[str], surnames: Collection[str]
) -> Letters:
    """The weights; the bar is set by the surnames that were set aside, of which three in a thousand may pass."""
    fit, medicine, everybody = (_fit(each) for each in (words, medical, names))
    examples = [(word, 1) for word in fit[:_MOST_WORDS]]
    examples += [(word, 1) for word in medicine] * _TIMES_MEDICAL
    examples += [(name, -1) for name in everybody if not is_set_aside(name)]
    examples.sort(key=lambda example: _drawn(example[0]))
    weights = _bytes(_weighed([(sorted(runs(word)), sign) for word, sign in examples]))
    aside = sorted(
        sum(weights[place] for place in runs(name))
        for name in everybody
        if is_set_aside(name) and name in surnames
    )
    return Letters(aside[int(len(aside) * (1 - _STRANGERS_TAKEN_FOR_WORDS))], weights)


def is_set_aside(name: str) -> bool:
    """Whether nothing is learned from a name; names of one beginning are kin and stay together."""
    return int(hashlib.sha256(name[:5].encode()).hexdigest(), 16) % _SET_ASIDE == 0


def _fit(words: Iterable[str]) -> list[str]:
    fit = {word for word in words if SHORTEST <= len(word) <= LONGEST and word.isascii() and word.isalpha()}
    return sorted(fit, key=_drawn)


def _drawn(word: str) -> str:
    """An order by chance that is the same everywhere."""
    return hashlib.sha256(word.encode()).hexdigest()


def _weighed(examples: list[tuple[list[int], int]]) -> list[int]:
    """The averaged weights of a perceptron with a margin, times the number of its steps."""
    now, later, step = [0] * SIZE, [0] * SIZE, 1
    for _ in range(_ROUNDS):
        for places, sign in examples:
            if sign * sum([now[place] for place in places]) <= _MARGIN:
                for place in places:
                    now[place] += sign
                    later[place] += sign * step
            step += 1
    return [weight * step - past for weight, past in zip(now, later, strict=True)]


def _bytes(weights: list[int]) -> list[int]:
    """The weights as signed bytes: four times the middle of their sizes is the largest."""
    unit = max(1, 4 * sum(map(abs, weights)) // len(weights) // 127)
    return [
        max(-127, min(127, (abs(each) + unit // 2) // unit * (1 if each > 0 else -1))) for each in weights
    ]
