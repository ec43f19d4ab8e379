"""What becomes of a region: blanked by reading, by shape, as a known identifier; or seen, and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pacsifier.pictures.boxes import Box, By, Region
from pacsifier.pictures.engine import Engine, Reading
from pacsifier.pictures.finding import FRAME, find_text, merged
from tests.pixels.corpus import FONTS

Picture = np.ndarray


@dataclass
class Scripted:
    """In place of the models: names one region, and reads what it is told, by which way a piece is turned.

    A stripe of 255 at the head of the region tells which way is up.
    """

    box: Box
    likely: float
    readings: dict[str, Reading] = field(default_factory=dict)
    only_at: float = 1
    looks: list[tuple[int, ...]] = field(default_factory=list)

    def detect(self, picture: Picture) -> np.ndarray:
        self.looks.append(picture.shape)
        likely = np.zeros(picture.shape[:2], np.float32)
        rows, columns = np.nonzero(picture > 210)
        if rows.size and (np.ptp(columns) + 1 >= self.box.width * self.only_at or self.only_at <= 1):
            likely[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = self.likely
        return likely

    def read(self, piece: Picture) -> Reading:
        flags = piece == 255
        heads = {"up": flags[:2], "down": flags[-2:], "left": flags[:, :2], "right": flags[:, -2:]}
        return self.readings.get(max(heads, key=lambda each: heads[each].mean()), Reading())


def picture_with(box: Box) -> Picture:
    picture = np.full((200, 300), 100, np.uint8)
    picture[box.top : box.bottom : 3, box.left : box.right] = 255
    picture[box.top : box.bottom, box.left] = 255
    return picture


LINE = Box(50, 60, 130, 72)
BLOCK = Box(50, 60, 75, 84)


@pytest.mark.parametrize(
    ("box", "likely", "reading", "by"),
    [
        (LINE, 0.6, Reading("AB", 0.5), By.READER),
        (LINE, 0.6, Reading("AB", 0.49), By.SEEN),
        (LINE, 0.6, Reading("A", 0.99), By.SEEN),
        (LINE, 0.6, Reading("|-", 0.99), By.SEEN),
        (LINE, 0.96, Reading("1 11-1", 0.99), By.SEEN),
        (LINE, 0.96, Reading("1 11", 0.99), By.SHAPE),
        (LINE, 0.6, Reading("1 11", 0.99), By.SEEN),
        (LINE, 0.96, Reading(".··.", 0.3), By.SEEN),
        (LINE, 0.96, Reading("...", 0.3), By.SHAPE),
        (LINE, 0.96, Reading("11112", 0.99), By.READER),
        (Box(50, 60, 70, 63), 0.96, Reading(), By.SEEN),
        (Box(50, 60, 60, 63), 0.6, Reading("12", 0.9), By.SEEN),
        (Box(50, 60, 60, 63), 0.6, Reading("Anna", 0.9), By.READER),
        (LINE, 0.94, Reading(), By.SEEN),
        (LINE, 0.96, Reading(), By.SHAPE),
        (BLOCK, 0.99, Reading(), By.SEEN),
        (LINE, 0.6, Reading("Q", 0.2), By.READER),
    ],
)
def test_what_a_region_is(box: Box, likely: float, reading: Reading, by: By) -> None:
    engine = Scripted(box, likely, dict.fromkeys(("up", "down", "left", "right"), reading))
    found = find_text(picture_with(box), engine, turned=False, known=lambda text: text == "Q")
    assert [each.by for each in found] == [by]
    assert found[0].text == reading.text
    whole = found[0].box
    assert (
        whole.left < box.left
        and whole.top < box.top
        and whole.right > box.right
        and whole.bottom > box.bottom
    )


@pytest.mark.parametrize(
    ("box", "likely", "read", "by"),
    [
        (LINE, 0.97, "", By.SHAPE),
        (LINE, 0.97, "渡<", By.SHAPE),
        (LINE, 0.97, "T", By.SEEN),
        (LINE, 0.95, "", By.SEEN),
        (Box(50, 60, 90, 74), 0.99, "", By.SEEN),
    ],
)
def test_a_look_that_sees_more_must_be_surer_of_a_shape(box: Box, likely: float, read: str, by: By) -> None:
    readings = dict.fromkeys(("up", "down", "left", "right"), Reading(read, 0.3))
    engine = Scripted(box, likely, readings, only_at=1.2)
    found = find_text(picture_with(box), engine, turned=False, known=lambda _: False)
    assert [each.by for each in found] == [by]


def test_what_stands_over_a_bar_code_is_blanked_and_a_bar_code_alone_is_not() -> None:
    engine = Scripted(LINE, 0.0)
    alone = np.full((200, 300), 220, np.uint8)
    alone[100:150, 40:240] = np.repeat(np.random.default_rng(1).permutation([10, 245] * 40), 3)[:200]
    written = alone.copy()
    image = Image.fromarray(written)
    font = ImageFont.truetype(str(FONTS / "dejavu" / "DejaVuSans.ttf"), 16)
    ImageDraw.Draw(image).text((90, 92), "Ferreira", fill=10, font=font)
    for turns in (0, 1):
        found = find_text(
            np.ascontiguousarray(np.rot90(alone, turns)), engine, turned=False, known=lambda _: False
        )
        assert found == ()
        picture = np.ascontiguousarray(np.rot90(np.asarray(image), turns))
        found = find_text(picture, engine, turned=False, known=lambda _: False)
        assert {each.by for each in found} == {By.SHAPE}
        changed = np.ascontiguousarray(np.rot90(np.asarray(image) != alone, turns))
        flags = np.zeros(picture.shape, np.bool_)
        for each in found:
            flags[each.box.top : each.box.bottom, each.box.left : each.box.right] = True
        assert flags[changed].mean() > 0.95
        assert flags.mean() < 0.05


def test_a_known_name_stays_one_when_its_line_is_read_on() -> None:
    @dataclass
    class Garbling(Scripted):
        def read(self, piece: Picture) -> Reading:
            wide = piece.shape[1] > 2 * LINE.width
            return Reading("Smitb of Nowhere", 0.9, 0.1, 0.9) if wide else Reading("Smith", 0.9, 0.2, 0.8)

    picture = picture_with(LINE)
    picture[LINE.top : LINE.bottom : 3, LINE.right + 16 : 290] = 205
    found = find_text(picture, Garbling(LINE, 0.6), turned=False, known=lambda text: text == "Smith")
    assert found[0].text == "Smith" and found[0].box.width > 2 * LINE.width


def test_nothing_is_read_twice_that_is_blanked_already() -> None:
    engine = Scripted(LINE, 0.6, dict.fromkeys(("up", "left"), Reading("Name", 0.9)))
    assert len(find_text(picture_with(LINE), engine, turned=True, known=lambda _: False)) == 1
    assert len(engine.looks) == 3


def test_sides_that_the_detector_sees_are_whole_multiples_with_a_frame() -> None:
    engine = Scripted(LINE, 0.6)
    find_text(picture_with(LINE), engine, turned=True, known=lambda _: False)
    for rows, columns in engine.looks:
        assert rows % 32 == columns % 32 == 0 and min(rows, columns) > 2 * FRAME


def region(box: tuple[int, int, int, int], by: By = By.READER) -> Region:
    return Region(Box(*box), by)


@pytest.mark.parametrize(
    ("regions", "left"),
    [
        ([region((0, 0, 9, 9)), region((0, 0, 9, 9))], 1),
        ([region((0, 0, 9, 9)), region((1, 1, 8, 8))], 1),
        ([region((0, 0, 9, 9)), region((1, 1, 10, 8))], 2),
        ([region((0, 0, 10, 10), By.SEEN), region((0, 0, 10, 6))], 1),
        ([region((0, 0, 10, 10), By.SEEN), region((0, 0, 10, 4))], 2),
        ([region((0, 0, 10, 10), By.SEEN), region((1, 1, 10, 12), By.SEEN)], 1),
        ([], 0),
    ],
)
def test_regions_in_one_another_are_told_once_and_nothing_blanked_is_lost(
    regions: list[Region], left: int
) -> None:
    kept = merged(regions)
    assert len(kept) == left
    flags = np.zeros((20, 20), np.bool_)
    for each in kept:
        if each.blanked:
            flags[each.box.top : each.box.bottom, each.box.left : each.box.right] = True
    for each in regions:
        assert not each.blanked or flags[each.box.top : each.box.bottom, each.box.left : each.box.right].all()


# --- with the models ----------------------------------------------------------------------------------


def written(text: str, size: int = 18, at: tuple[int, int] = (60, 90), level: int = 230) -> Picture:
    image = Image.new("L", (320, 240), 40)
    font = ImageFont.truetype(str(FONTS / "dejavu" / "DejaVuSans.ttf"), size)
    ImageDraw.Draw(image).text(at, text, fill=level, font=font)
    return np.asarray(image)


def covers(regions: tuple[Region, ...], picture: Picture, level: int) -> float:
    """How much of the letters is blanked."""
    flags = np.zeros(picture.shape[:2], np.bool_)
    for each in regions:
        if each.blanked:
            flags[each.box.top : each.box.bottom, each.box.left : each.box.right] = True
    letters = picture.max(axis=2) > level if picture.ndim == 3 else picture > level
    return float(flags[letters].mean())


def as_is(picture: Picture) -> Picture:
    return picture


@pytest.mark.parametrize(
    "change",
    [
        as_is,
        lambda picture: 255 - picture,
        lambda picture: np.repeat(picture[..., None], 3, axis=2),
        lambda picture: np.stack([picture, picture // 2, picture // 8], axis=2),
        lambda picture: np.pad(picture, ((900, 1800), (1600, 900)), mode="edge"),
        lambda picture: picture[90:],
        lambda picture: picture[:, 58:],
    ],
    ids=[
        "grey",
        "inverted",
        "RGB",
        "orange",
        "in a large picture",
        "at the top border",
        "at the left border",
    ],
)
def test_a_name_is_found_and_read(change: Callable[[Picture], Picture], engine: Engine) -> None:
    picture = np.ascontiguousarray(change(written("Ferreira, Ana")))
    found = find_text(picture, engine, turned=False, known=lambda _: False)
    assert "Ferreira" in "".join(each.text for each in found)
    dark = picture[-1, -1].max() > 127
    assert covers(found, 255 - picture if dark else picture, 120) > 0.98


def test_letters_of_a_large_picture_may_be_large(engine: Engine) -> None:
    image = Image.new("L", (1301, 901), 40)
    font = ImageFont.truetype(str(FONTS / "dejavu" / "DejaVuSans.ttf"), 150)
    ImageDraw.Draw(image).text((90, 300), "Ferreira 47", fill=230, font=font)
    picture = np.asarray(image)
    found = find_text(picture, engine, turned=False, known=lambda _: False)
    assert covers(found, picture, 120) > 0.98
    assert all(each.box.within(1301, 901) == each.box for each in found)


@pytest.mark.parametrize("turns", [1, 3])
def test_a_name_along_a_side_is_found(turns: int, engine: Engine) -> None:
    picture = np.ascontiguousarray(np.rot90(written("Ferreira, Ana"), turns))
    found = find_text(picture, engine, turned=True, known=lambda _: False)
    assert covers(found, picture, 120) > 0.98


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3), (64, 64, 3)])
@pytest.mark.parametrize("content", ["flat", "noise"])
def test_any_picture_can_be_looked_at(shape: tuple[int, ...], content: str, engine: Engine) -> None:
    random = np.random.default_rng(3)
    picture = (
        np.full(shape, 7, np.uint8) if content == "flat" else random.integers(0, 256, shape, dtype=np.uint8)
    )
    found = find_text(picture, engine, turned=True, known=lambda _: False)
    for each in found:
        assert each.box.within(shape[1], shape[0]) == each.box


def test_the_method_names_models_and_runtime_with_their_versions(engine: Engine) -> None:
    assert engine.name.startswith("PP-OCRv4 (rapidocr-onnxruntime 1.4.4), onnxruntime 1.")
