"""How much of the text in synthetic pictures is found, and how much else is blanked, by kind: a small corpus.

`benchmarks/pixels.py` measures the same on a large one. What is expected of so few pictures leaves room for chance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pacsifier.pictures.engine import Engine
from tests.pixels.corpus import KINDS, Sample, sample
from tests.pixels.judging import Count, judged, look

SEED = 5
MOST_PIXELS = 3_200_000


def _samples(kind: str, with_text: int, without: int) -> Iterator[Sample]:
    """The first ones of a kind that are small and have one frame, for the time that they take."""
    wanted = {True: with_text, False: without}
    for number in range(400):
        if not any(wanted.values()):
            return
        this = sample(SEED, number, kind)
        small = len(this.pictures) == 1 and np.prod(this.pictures.shape[1:3]) <= MOST_PIXELS
        if small and wanted[bool(this.texts)]:
            wanted[bool(this.texts)] -= 1
            yield this


@pytest.mark.parametrize("kind", KINDS)
def test_names_in_a_picture_are_found_and_little_else_is_blanked(kind: str, engine: Engine) -> None:
    total, missed = Count(), []
    for this in _samples(kind, with_text=2, without=1):
        said = judged(this, look(this, engine).regions)
        total.add(said.count)
        missed += said.missed
    assert total.lines >= 2 and total.free == 1
    assert len(missed) <= 0.1 * total.lines, missed
    assert total.in_vain <= 0.01 * total.pixels


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.moves])
def test_names_in_one_frame_of_many_are_found(kind: str, engine: Engine) -> None:
    this = next(
        each
        for each in (sample(SEED, number, kind) for number in range(400))
        if any(text.frames and text.identifies for text in each.texts) and len(each.pictures) <= 12
    )
    looked = look(this, engine)
    assert judged(this, looked.regions).missed == []
    assert looked.looked_at == looked.frames == len(this.pictures)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pictures_and_another_one_others(kind: str) -> None:
    one, same, other = sample(SEED, 3, kind), sample(SEED, 3, kind), sample(SEED + 1, 3, kind)
    np.testing.assert_array_equal(one.pictures, same.pictures)
    assert one.texts == same.texts
    assert one.pictures.shape != other.pictures.shape or (one.pictures != other.pictures).any()
