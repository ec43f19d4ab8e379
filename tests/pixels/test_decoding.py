"""Pictures of every kind of pixels: right side up in brightness, in colour, one frame at a time."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import convert_color_space

from pacsifier.pictures import thumbnail
from pacsifier.pictures.decoding import count, frames_of, overlays, picture, pictures, shown
from pacsifier.pictures.stored import PixelsError
from pixels.kinds import ENCODINGS
from pixels.made import (
    BASELINE,
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    J2K_LOSSLESS,
    bits,
    compressed,
    halved,
    header,
    j2k,
    jpeg,
    plain,
    save,
    scene,
)

ROWS, COLUMNS = 40, 60


def _first(path: Path, **more) -> np.ndarray:
    return picture(next(iter(frames_of(path, **more))))


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_pictures_of_its_frames(name, tmp_path, coders):
    path = ENCODINGS[name](tmp_path / "in.dcm")
    data = dcmread(path, stop_before_pixels=True)
    frames = list(frames_of(path, coders))
    assert [frame.index for frame in frames] == list(range(int(data.NumberOfFrames)))
    assert count(path) == len(frames)
    for frame in frames:
        for made in (*pictures(frame), shown(frame)):
            assert made.dtype == np.uint8
            assert made.shape[:2] == (data.Rows, data.Columns)
            assert made.shape[2:] in ((), (3,))
            assert made.max() > 100 > made.min()


def test_only_the_frames_that_are_wanted_are_decoded(tmp_path):
    path = ENCODINGS["RLE of 3 frames"](tmp_path / "in.dcm")
    assert [frame.index for frame in frames_of(path, wanted={0, 2})] == [0, 2]


def test_text_stays_bright_where_the_lowest_value_is_white(tmp_path):
    array = np.full((1, ROWS, COLUMNS), 4000, "u2")
    array[0, 5:9, 5:50] = 10
    made = _first(plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME1", 12))
    assert made[6, 6] == 255
    assert made[30, 30] == 0


@pytest.mark.parametrize(
    ("syntax", "signed"), [(EXPLICIT, True), (BIG, True), (IMPLICIT, False), (DEFLATED, False)]
)
def test_all_levels_of_more_than_8_bits_are_spread(syntax, signed, tmp_path):
    low = -1024 if signed else 100
    array = (np.arange(ROWS * COLUMNS).reshape(1, ROWS, COLUMNS) + low).astype("i2" if signed else "u2")
    made = _first(plain(tmp_path / "in.dcm", array, syntax, "MONOCHROME2", 16))
    assert made[0, 0] == 0
    assert made[-1, -1] == 255
    assert (np.diff(made.ravel().astype(int)) >= 0).all()


def test_8_bits_are_shown_as_they_are(tmp_path):
    array = scene(ROWS, COLUMNS) // 2
    assert np.array_equal(_first(plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME2", 8)), array[0])


def test_where_few_pixels_make_the_range_wide_a_second_picture_shows_faint_text(tmp_path):
    array = scene(ROWS, COLUMNS, bits=8).astype("u2") % 100 + 1000
    array[0, 3:9, 3:30] += 40
    array[0, 0, 0] = 65000
    frame = next(iter(frames_of(plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME2", 16))))
    whole, narrow = pictures(frame)
    assert np.ptp(whole[1:]) < 5
    assert np.ptp(narrow[1:]) > 200


def test_padding_does_not_make_the_range_wide(tmp_path):
    array = scene(ROWS, COLUMNS, bits=8).astype("i2") % 100 + 1000
    array[0, :, :20] = -32000
    path = plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME2", 16, PixelPaddingValue=-32000)
    narrow = pictures(next(iter(frames_of(path))))[1]
    assert np.ptp(narrow[:, 20:]) > 200


@pytest.mark.parametrize("stored", [12, 16])
def test_bits_that_are_no_pixels_are_not_looked_at(stored, tmp_path):
    array = scene(ROWS, COLUMNS, bits=12)
    noise = (np.random.default_rng(1).integers(0, 16, array.shape) << 12).astype("u2")
    path = plain(tmp_path / "in.dcm", array | noise, EXPLICIT, "MONOCHROME2", stored)
    values = next(iter(frames_of(path))).values
    assert np.array_equal(values, (array if stored == 12 else array | noise)[0])


def test_samples_in_the_upper_bits_are_moved_down(tmp_path):
    array = scene(ROWS, COLUMNS, bits=12)
    path = plain(tmp_path / "in.dcm", array << 4, EXPLICIT, "MONOCHROME2", 12, HighBit=15)
    assert np.array_equal(next(iter(frames_of(path))).values, array[0])


COLOURS = (
    np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [250, 250, 20]]], "u1")
    .repeat(ROWS, 0)
    .repeat(16, 1)[None]
)


@pytest.mark.parametrize(
    "name", ["by pixel", "by plane", "YBR", "422", "JPEG YBR", "JPEG RGB", "J2K RCT", "J2K YBR"]
)
def test_colours_are_seen_as_they_were(name, tmp_path):
    path, ybr = tmp_path / "in.dcm", convert_color_space(COLOURS, "RGB", "YBR_FULL")
    {
        "by pixel": lambda: plain(path, COLOURS, EXPLICIT, "RGB", 8),
        "by plane": lambda: plain(path, COLOURS, EXPLICIT, "RGB", 8, PlanarConfiguration=1),
        "YBR": lambda: plain(path, ybr, EXPLICIT, "YBR_FULL", 8),
        "422": lambda: halved(path, ybr),
        "JPEG YBR": lambda: compressed(
            path, header(COLOURS, "YBR_FULL_422", 8), jpeg(COLOURS, quality=100, subsampling=0), BASELINE
        ),
        "JPEG RGB": lambda: compressed(
            path, header(COLOURS, "RGB", 8), jpeg(COLOURS, quality=100, keep_rgb=True), BASELINE
        ),
        "J2K RCT": lambda: compressed(
            path, header(COLOURS, "YBR_RCT", 8), j2k(COLOURS, 8, colour=1), J2K_LOSSLESS
        ),
        "J2K YBR": lambda: compressed(
            path, header(COLOURS, "YBR_FULL", 8), j2k(ybr, 8, colour=3), J2K_LOSSLESS
        ),
    }[name]()
    made = _first(path).astype(int)
    middle = slice(4, None, 16)
    assert abs(made[:, middle] - COLOURS[0, :, middle]).max() <= 12


@pytest.mark.parametrize("width", [8, 16])
def test_the_colours_of_a_palette_are_looked_up(width, tmp_path):
    array = scene(ROWS, COLUMNS, bits=4)
    entries = np.random.default_rng(2).integers(0, 256, (16, 3)).astype("u1")
    more = {}
    for place, name in enumerate(("Red", "Green", "Blue")):
        words = (
            entries[:, place].tobytes() if width == 8 else (entries[:, place].astype("<u2") << 8).tobytes()
        )
        more[f"{name}PaletteColorLookupTableDescriptor"] = [16, 0, width]
        more[f"{name}PaletteColorLookupTableData"] = words
    path = plain(tmp_path / "in.dcm", array, IMPLICIT, "PALETTE COLOR", 8, **more)
    assert np.array_equal(_first(path), entries[array[0]])


def test_a_lost_palette_is_said(tmp_path):
    path = plain(tmp_path / "in.dcm", scene(ROWS, COLUMNS), EXPLICIT, "PALETTE COLOR", 8)
    with pytest.raises(PixelsError, match="palette"):
        _first(path)


def test_single_bits_are_white_where_they_are_set(tmp_path):
    array = (scene(39, 61, frames=3) > 128).astype("u1")
    for frame in frames_of(bits(tmp_path / "in.dcm", array)):
        assert np.array_equal(picture(frame) > 0, array[frame.index] > 0)


def test_frames_more_than_the_header_tells_are_seen(tmp_path):
    path = plain(tmp_path / "in.dcm", scene(ROWS, COLUMNS, frames=3), EXPLICIT, "MONOCHROME2", 8)
    data = dcmread(path)
    data.NumberOfFrames = 1
    data.save_as(path)
    assert count(path) == 3


def test_overlays_are_told_and_drawn(tmp_path):
    data = header(scene(ROWS, COLUMNS) // 2, "MONOCHROME2", 8)
    plane = np.zeros((10, 20), "u1")
    plane[2:4, 3:9] = 1
    for element, vr, value in (
        (0x10, "US", 10),
        (0x11, "US", 20),
        (0x40, "CS", "G"),
        (0x50, "SS", [6, 11]),
        (0x100, "US", 1),
        (0x102, "US", 0),
        (0x3000, "OW", np.packbits(plane.ravel(), bitorder="little").tobytes() + b"\0"),
    ):
        data.add_new(0x60020000 | element, vr, value)
    path = save(data, tmp_path / "in.dcm", EXPLICIT, (scene(ROWS, COLUMNS) // 2).tobytes())
    frame = next(iter(frames_of(path)))
    assert overlays(frame.header) == (0x6002,)
    made = shown(frame)
    assert (made[7:9, 13:19] == 255).all()
    assert (made == 255).sum() == 12


def test_people_see_the_window_of_the_header(tmp_path):
    array = np.linspace(0, 4000, ROWS * COLUMNS).reshape(1, ROWS, COLUMNS).astype("u2")
    path = plain(
        tmp_path / "in.dcm",
        array,
        EXPLICIT,
        "MONOCHROME2",
        12,
        WindowCenter=["1000", "5"],
        WindowWidth=["1000", "5"],
        RescaleIntercept="-1000",
        RescaleSlope="1",
    )
    made = shown(next(iter(frames_of(path))))
    assert set(made[array[0] < 1400]) == {0}
    assert set(made[array[0] > 2600]) == {255}


@pytest.mark.parametrize("window", [("x", 5), (1000, 0), (90000, 10)])
def test_a_window_that_shows_nothing_is_passed_over(window, tmp_path):
    array = np.linspace(0, 4000, ROWS * COLUMNS).reshape(1, ROWS, COLUMNS).astype("u2")
    path = plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME2", 12)
    data = dcmread(path)
    data.add_new(0x00281050, "DS" if window[0] != "x" else "LO", str(window[0]))
    data.WindowWidth = window[1]
    data.save_as(path)
    made = shown(next(iter(frames_of(path))))
    assert made.min() == 0
    assert made.max() == 255


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda raw: raw[:500], "header|ends|no pixel"),
        (lambda raw: raw[:-1000], "ends"),
        (lambda raw: b"no file", "no DICOM"),
        (lambda raw: b"", "no DICOM"),
        (lambda raw: raw.replace(b"\x28\0\x10\0US\2\0\x28\0", b"\x28\0\x10\0US\2\0\xff\xff"), "shorter"),
        (lambda raw: raw.replace(b"\x28\0\x10\0US\2\0\x28\0", b"\x28\0\x10\0US\2\0\0\0"), "form"),
        (lambda raw: raw.replace(b"\x28\0\x00\1US\2\0\x08\0", b"\x28\0\x00\1US\2\0\x0c\0"), "length"),
        (lambda raw: raw.replace(b"\x28\0\x02\0US\2\0\x01\0", b"\x28\0\x02\0US\2\0\x04\0"), "form"),
    ],
)
def test_what_is_no_picture_is_said_in_words(spoil, reason, tmp_path):
    path = plain(tmp_path / "in.dcm", scene(ROWS, COLUMNS), EXPLICIT, "MONOCHROME2", 8)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(PixelsError, match=reason):
        list(frames_of(path))


def test_without_dcmtk_jpeg_lossless_is_said_to_need_it(tmp_path):
    path = ENCODINGS["JPEG lossless 8"](tmp_path / "in.dcm")
    with pytest.raises(PixelsError, match="dcmdjpeg"):
        list(frames_of(path))


@pytest.mark.parametrize("shape", [(300, 900), (900, 300), (300, 900, 3), (20, 30)])
def test_small_pictures_fit_and_keep_their_form(shape):
    array = np.random.default_rng(0).integers(0, 256, shape).astype("u1")
    for make, kind in ((thumbnail.jpeg, "JPEG"), (thumbnail.png, "PNG")):
        with Image.open(io.BytesIO(make(array, 90))) as made:
            assert made.format == kind
            assert made.size == {(300, 900): (90, 30), (900, 300): (30, 90), (20, 30): (30, 20)}[shape[:2]]
            assert made.mode == ("RGB" if len(shape) == 3 else "L")


def test_the_middle_of_frames_and_slices():
    picture = np.zeros((40, 60), np.uint8)
    shapes = {aspect: thumbnail.squared(picture, aspect).shape for aspect in (1, 1.01, 2, 0.5, 0.01, 100, 0)}
    assert shapes == {
        1: (40, 60),
        1.01: (40, 60),
        2: (80, 60),
        0.5: (20, 60),
        0.01: (40, 60),
        100: (40, 60),
        0: (40, 60),
    }
    assert [thumbnail.middle(number) for number in (0, 1, 2, 3, 4, 101)] == [0, 0, 0, 1, 1, 50]


def test_nothing_heavy_is_imported_before_it_is_used():
    code = "import sys, pacsifier.pictures.blanking, pacsifier.pictures.thumbnail\nprint(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "pydicom", "openjpeg", "rle", "jpeg_ls"} & set(ast.literal_eval(done.stdout))
