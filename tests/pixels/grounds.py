"""Pictures without any text, as devices make them: (rows, columns) or (rows, columns, 3), float, 0 to 255.

Each function takes a numpy Generator, and may add what readers mistake for text: rulers, ribs, screws, teeth, grids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Ground = NDArray[np.float32]
Random = np.random.Generator


def between(random: Random, low: float, high: float) -> float:
    return float(random.uniform(low, high))


def one_of(random: Random, values: Any) -> Any:
    return values[int(random.integers(len(values)))]


def smooth(  # noqa: PLR0917
    random: Random, rows: int, columns: int, size: float, low: float, high: float
) -> Ground:
    """Soft clouds; `size`: of a cloud, in pixels."""
    small = random.random((max(int(rows / size), 2) + 2, max(int(columns / size), 2) + 2)).astype(np.float32)
    image = Image.fromarray(small).resize((columns, rows), Image.Resampling.BICUBIC)
    cloud = np.asarray(image)
    cloud = (cloud - cloud.min()) / max(float(np.ptp(cloud)), 1e-6)
    return low + cloud * (high - low)


def noise(random: Random, shape: tuple[int, ...], deviation: float) -> Ground:
    return random.standard_normal(shape, np.float32) * deviation


def drawn(rows: int, columns: int, draw: Callable[[ImageDraw.ImageDraw], None]) -> Ground:
    """What `draw` draws on black, smoothed a little."""
    image = Image.new("L", (columns, rows), 0)
    draw(ImageDraw.Draw(image))
    return np.asarray(image).astype(np.float32)


def ellipse(rows: int, columns: int, middle: tuple[float, float], half: tuple[float, float]) -> Ground:
    """1 at the middle, 0 at the border of an ellipse, below 0 outside; all given in rows and columns."""
    down = (np.arange(rows, dtype=np.float32)[:, None] - middle[0]) / half[0]
    across = (np.arange(columns, dtype=np.float32)[None] - middle[1]) / half[1]
    return 1 - np.sqrt(down**2 + across**2)


# --- what is mistaken for text --------------------------------------------------------------------


def ruler(random: Random, ground: Ground) -> None:
    """A scale with ticks, each fifth longer, along a side or across."""
    rows, columns = ground.shape[:2]
    upright = random.random() < 0.5
    length = rows if upright else columns
    step, level = int(random.integers(6, 24)), between(random, 120, 255)
    place = int(random.integers(4, (columns if upright else rows) - 20))
    for number, at in enumerate(range(int(length * 0.1), int(length * 0.9), step)):
        long = 12 if number % 5 == 0 else 6
        if upright:
            ground[at, place : place + long] = level
        else:
            ground[place : place + long, at] = level


def grid(random: Random, ground: Ground) -> None:
    rows, columns = ground.shape[:2]
    step, level = int(random.integers(16, 70)), between(random, 60, 200)
    top, left = int(random.integers(0, rows // 2)), int(random.integers(0, columns // 2))
    bottom, right = min(top + 8 * step + 1, rows), min(left + 10 * step + 1, columns)
    ground[top:bottom:step, left:right] = level
    ground[top:bottom, left:right:step] = level


def ribs(random: Random, ground: Ground) -> None:
    rows, columns = ground.shape[:2]
    thick = int(rows * between(random, 0.02, 0.035))

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for number in range(int(random.integers(6, 11))):
            top = rows * (0.05 + 0.09 * number)
            for left in (0.08, 0.52):
                area = (columns * left, top, columns * (left + 0.4), top + rows * 0.3)
                pen.arc(area, 190, 350, fill=200, width=thick)

    _add(ground, ndimage.gaussian_filter(drawn(rows, columns, draw), thick / 3) * between(random, 0.1, 0.3))


def screws(random: Random, ground: Ground) -> None:
    rows, columns = ground.shape[:2]

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for _ in range(int(random.integers(2, 6))):
            length, half = int(random.integers(25, 90)), int(random.integers(2, 6))
            left, top = int(random.integers(0, columns - 100)), int(random.integers(0, rows - 30))
            pen.rectangle((left, top, left + length, top + 2 * half), fill=255)
            pen.rectangle((left - 4, top - 4, left, top + 2 * half + 4), fill=255)
            for at in range(left + 4, left + length, 5):
                pen.line((at, top - 3, at + 2, top + 2 * half + 3), fill=255, width=2)

    ground[drawn(rows, columns, draw) > 0] = 250


def teeth(random: Random, ground: Ground) -> None:
    rows, columns = ground.shape[:2]
    wide, high = int(random.integers(16, 40)), int(random.integers(30, 70))
    top = int(random.integers(rows // 4, rows // 2))

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for row in (0, 1):
            for number in range(int(random.integers(6, 14))):
                left = columns * 0.2 + number * (wide + 3)
                area = (left, top + row * (high + 4), left + wide, top + row * (high + 4) + high)
                pen.rounded_rectangle(area, wide // 3, fill=int(random.integers(120, 220)))

    _add(ground, ndimage.gaussian_filter(drawn(rows, columns, draw), 1.2) * 0.6)


def bars(random: Random, ground: Ground) -> None:
    """A bar code."""
    rows, columns = ground.shape[:2]
    top, left = int(random.integers(0, rows - 60)), int(random.integers(0, max(columns - 220, 1)))
    at = left
    while at < min(left + 200, columns):
        wide = int(random.integers(1, 5))
        ground[top : top + 50, at : at + wide] = 10
        ground[top : top + 50, at + wide : at + wide + 3] = 245
        at += wide + int(random.integers(1, 4))


def marks(random: Random, ground: Ground) -> None:
    """Calipers, dotted lines, a scale of greys."""
    rows, columns = ground.shape[:2]
    for _ in range(int(random.integers(1, 4))):
        top, left = int(random.integers(20, rows - 20)), int(random.integers(20, columns - 20))
        ground[top, left - 6 : left + 7] = 240
        ground[top - 6 : top + 7, left] = 240
    row = int(random.integers(rows // 4, rows - 5))
    ground[row, columns // 4 : columns * 3 // 4 : 6] = 220
    high = min(rows // 2, 256)
    ramp = np.linspace(255, 0, high, dtype=np.float32)[:, None]
    ground[20 : 20 + high, 6:18] = ramp if ground.ndim == 2 else ramp[..., None]


def _add(ground: Ground, layer: Ground) -> None:
    ground += layer if ground.ndim == 2 else layer[..., None]


# --- by kind ---------------------------------------------------------------------------------------


def ultrasound(random: Random) -> Ground:
    columns, rows = one_of(random, [(640, 480), (800, 600), (1024, 768), (960, 720)])
    down = np.arange(rows, dtype=np.float32)[:, None] - rows * 0.08
    across = np.arange(columns, dtype=np.float32)[None] - columns / 2
    far, angle = np.hypot(down, across), np.abs(np.arctan2(across, down))
    inside = (
        (far > rows * 0.08) & (far < rows * between(random, 0.75, 0.86)) & (angle < between(random, 0.5, 0.8))
    )
    tissue = smooth(random, rows, columns, 60, 10, 150)
    grain = ndimage.gaussian_filter(random.exponential(1.0, (rows, columns)).astype(np.float32), (0.8, 1.6))
    return np.where(inside, tissue * grain, 0).astype(np.float32)


def screen(random: Random) -> Ground:
    columns, rows = one_of(random, [(800, 600), (1024, 768), (1280, 1024)])
    dark = random.random() < 0.5
    ground = np.full(
        (rows, columns), between(random, 5, 50) if dark else between(random, 190, 250), np.float32
    )
    for _ in range(int(random.integers(2, 6))):
        top, left = int(random.integers(0, rows - 80)), int(random.integers(0, columns - 120))
        high, wide = int(random.integers(40, rows // 2)), int(random.integers(60, columns // 2))
        ground[top : top + high, left : left + wide] += between(random, -25, 25)
        ground[top, left : left + wide] = 128
    if random.random() < 0.5:
        size = min(rows, columns) // 2
        ground[-size - 10 : -10, -size - 10 : -10] = slice_of_body(random, size)
    return ground


def angiogram(random: Random) -> Ground:
    size = one_of(random, [512, 768, 1024])
    ground = smooth(random, size, size, size / 4, 90, 210)

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for _ in range(int(random.integers(3, 8))):
            at, way = random.uniform(0, size, 2), between(random, 0, 6.3)
            points = []
            for _ in range(60):
                way += between(random, -0.3, 0.3)
                at = at + size / 70 * np.array([np.cos(way), np.sin(way)])
                points.append((float(at[0]), float(at[1])))
            pen.line(points, fill=255, width=int(random.integers(2, 10)))

    ground -= ndimage.gaussian_filter(drawn(size, size, draw), 1.5) * between(random, 0.2, 0.4)
    return ground + noise(random, ground.shape, between(random, 2, 6))


def radiograph(random: Random) -> Ground:
    rows, columns = one_of(random, [(1024, 1280), (1500, 1200), (1760, 1430), (2100, 1750)])
    body = (
        np.clip(ellipse(rows, columns, (rows * 0.55, columns / 2), (rows * 0.6, columns * 0.5)), 0, 0.6) / 0.6
    )
    ground = 15 + 170 * body**0.6 + smooth(random, rows, columns, rows / 6, -30, 30)
    if random.random() < 0.6:
        ribs(random, ground)
    return ground + noise(random, ground.shape, between(random, 1, 3))


def mammogram(random: Random) -> Ground:
    rows, columns = one_of(random, [(1600, 1280), (2048, 1536), (2294, 1914)])
    breast = np.clip(ellipse(rows, columns, (rows / 2, 0), (rows * 0.42, columns * 0.75)), 0, 1)
    texture = smooth(random, rows, columns, 120, 0.6, 1.1) * smooth(random, rows, columns, 14, 0.85, 1.1)
    ground = 4 + 200 * breast**0.4 * texture
    if random.random() < 0.5:
        ground = np.ascontiguousarray(ground[:, ::-1])
    return ground + noise(random, ground.shape, 1.0)


def slice_of_body(random: Random, size: int) -> Ground:
    body = ellipse(size, size, (size / 2, size / 2), (size * between(random, 0.3, 0.42), size * 0.46))
    ground = np.where(body > 0, 95, 2).astype(np.float32)
    ground[(body > 0.0) & (body < 0.06)] = 60
    for _ in range(int(random.integers(4, 10))):
        middle = tuple(random.uniform(0.3, 0.7, 2) * size)
        organ = ellipse(size, size, middle, tuple(random.uniform(0.04, 0.16, 2) * size))
        ground[(organ > 0) & (body > 0.08)] = between(random, 30, 150)
    spine = ellipse(size, size, (size * 0.68, size / 2), (size * 0.06, size * 0.07))
    ground[spine > 0] = 225
    ground[spine > 0.4] = 160
    return ndimage.gaussian_filter(ground, 1.0)


def ct(random: Random) -> Ground:
    ground = slice_of_body(random, 512)
    return ground + noise(random, ground.shape, between(random, 2, 8))


def mr(random: Random) -> Ground:
    size = one_of(random, [256, 320, 512])
    ground = slice_of_body(random, size) * smooth(random, size, size, size / 2, 0.6, 1.2)
    return np.hypot(ground + noise(random, ground.shape, 4), noise(random, ground.shape, 4))


def endoscopy(random: Random) -> Ground:
    columns, rows = one_of(random, [(720, 576), (640, 480), (1280, 1024)])
    light = smooth(random, rows, columns, 90, 60, 220)
    folds = ndimage.gaussian_filter(random.standard_normal((rows, columns)).astype(np.float32), 9)
    light += folds / max(float(np.abs(folds).max()), 1e-6) * 40
    ground = np.stack([light, light * 0.55, light * 0.42], axis=2)
    size = min(rows, columns) * 0.48
    outside = ellipse(rows, columns, (rows / 2, columns * between(random, 0.55, 0.68)), (size, size)) < 0
    ground[outside] = 3
    for _ in range(int(random.integers(0, 12))):
        top, left = int(random.integers(10, rows - 20)), int(random.integers(10, columns - 20))
        ground[top : top + 4, left : left + 7] = 250
    return ground.astype(np.float32) + noise(random, ground.shape, 2)


def label(random: Random) -> Ground:
    rows, columns = one_of(random, [(400, 600), (512, 512), (600, 800)])
    paper = np.array(
        [between(random, 200, 250), between(random, 200, 250), between(random, 180, 250)], np.float32
    )
    ground = np.ones((rows, columns, 1), np.float32) * paper
    ground += smooth(random, rows, columns, 200, -12, 12)[..., None]
    if random.random() < 0.6:
        bars(random, ground)
    return ground + noise(random, ground.shape, 2)


def letter(random: Random) -> Ground:
    rows, columns = one_of(random, [(1100, 850), (1400, 1000), (1754, 1240)])
    return np.full((rows, columns), between(random, 235, 255), np.float32) + noise(
        random, (rows, columns), 1.5
    )


def page(random: Random) -> Ground:
    rows, columns = one_of(random, [(512, 512), (512, 512), (860, 1132), (1024, 1024)])
    return np.full((rows, columns), between(random, 0, 20), np.float32)
