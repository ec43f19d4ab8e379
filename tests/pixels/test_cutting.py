"""Regions of the detector's grid, strokes of a picture, and the parts of it that are looked at."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pacsifier.pictures.boxes import Box
from pacsifier.pictures.cutting import LEVELS, Blob, blobs, strokes
from pacsifier.pictures.tiles import BLOCK, FEWEST, parts

Grid = np.ndarray


def grid(*areas: tuple[int, int, int, int, float], rows: int = 200, columns: int = 300) -> Grid:
    """Likelihoods: 0, and in each area (left, top, right, bottom, value) that value; later areas on top."""
    likely = np.zeros((rows, columns), np.float32)
    for left, top, right, bottom, value in areas:
        likely[top:bottom, left:right] = value
    return likely


@pytest.mark.parametrize(
    ("likely", "found"),
    [
        pytest.param(grid((10, 20, 90, 30, 0.8)), [(10, 20, 90, 30)], id="a line"),
        pytest.param(grid((10, 20, 90, 30, 0.29)), [], id="unlikely"),
        pytest.param(grid((10, 20, 90, 30, 0.45)), [], id="its mean is not enough"),
        pytest.param(grid((10, 20, 90, 22, 0.9)), [], id="too thin"),
        pytest.param(
            grid((0, 0, 9, 9, 0.9), (9, 9, 20, 20, 0.9)), [(0, 0, 20, 20)], id="joined by their corners"
        ),
        pytest.param(
            grid((0, 0, 9, 9, 0.9), (12, 0, 30, 9, 0.9)), [(0, 0, 9, 9), (12, 0, 30, 9)], id="two words"
        ),
        pytest.param(
            grid((0, 0, 300, 200, 0.9)), [(0, 0, 300, 200)], id="thick to the end: cut, then dropped"
        ),
        pytest.param(
            grid((0, 0, 300, 200, 0.6), (20, 20, 90, 30, 0.95)), [(20, 20, 90, 30)], id="a line in a cloud"
        ),
        pytest.param(
            grid(
                (0, 0, 300, 200, 0.6), (10, 10, 290, 190, 0.7), (20, 20, 90, 30, 0.9), (20, 60, 50, 90, 0.84)
            ),
            [(20, 20, 90, 30), (20, 60, 50, 90)],
            id="two lines in a cloud in a cloud",
        ),
    ],
)
def test_lines_are_cut_out_of_what_the_detector_says(
    likely: Grid, found: list[tuple[int, ...]], request: pytest.FixtureRequest
) -> None:
    if "dropped" in request.node.name:
        found = []
    assert sorted((each.left, each.top, each.right, each.bottom) for each in blobs(likely)) == found


def test_a_region_is_as_likely_as_its_mean() -> None:
    assert blobs(grid((0, 0, 10, 5, 0.5), (10, 0, 20, 5, 1.0))) == [Blob(0, 0, 20, 5, 0.75)]


@pytest.mark.parametrize("seed", range(6))
def test_strokes_are_the_larger_of_top_hat_and_black_hat(seed: int) -> None:
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, random.integers(9, 40, 2), dtype=np.uint8)
    # Written by its definition; scipy repeats pixels at the border only for one of its two steps.
    wide = np.pad(picture, 8, mode="edge").astype(int)
    least, most = ndimage.minimum_filter(wide, 9), ndimage.maximum_filter(wide, 9)
    opened, closed = ndimage.maximum_filter(least, 9), ndimage.minimum_filter(most, 9)
    expected = np.maximum(wide - opened, closed - wide)[8:-8, 8:-8]
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_array_equal(strokes(picture)[inner], expected[inner])


def test_a_stroke_in_one_colour_stands_out() -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    picture[20, 10:30] = (130, 50, 90)
    assert strokes(picture)[20, 12] == 40


def test_a_smooth_picture_is_not_looked_at_and_a_line_in_it_is() -> None:
    picture = np.tile(np.linspace(0, 255, 1000).astype(np.uint8), (800, 1))
    assert parts(strokes(picture), 2048, 256) == []
    picture[100:110:3, 400:440] ^= 128
    (part,) = parts(strokes(picture), 2048, 256)
    assert part.left <= 400 - BLOCK // 2 and part.right >= 440 + BLOCK // 2 and part.bottom < 300


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("longest", [256, 700])
def test_parts_hold_every_stroke_and_none_is_larger_than_the_detector_sees(seed: int, longest: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = (int(each) for each in random.integers(90, 1500, 2))
    found = np.zeros((rows, columns), np.uint8)
    for _ in range(int(random.integers(1, 30))):
        top, left = int(random.integers(0, rows - 8)), int(random.integers(0, columns - 30))
        found[top : top + 8 : 2, left : left + 30] = LEVELS
    looked = np.zeros((rows, columns), np.bool_)
    for part in parts(found, longest, 64):
        assert part.within(columns, rows) == part and max(part.width, part.height) <= longest
        assert (found[part.top : part.bottom, part.left : part.right] >= LEVELS).sum() >= FEWEST
        looked[part.top : part.bottom, part.left : part.right] = True
    assert looked[found >= LEVELS].all()


def test_a_line_across_the_border_of_two_parts_is_whole_in_one_of_them() -> None:
    found = np.full((300, 3000), LEVELS, np.uint8)
    looked = parts(found, 1024, 200)
    for left in range(0, 2800, 7):
        line = Box(left, 100, left + 199, 120)
        assert any(part.left <= line.left and line.right <= part.right for part in looked)
