"""Boxes are blanked in every encoding: flat inside, nothing else changed, as decoders see it that are not ours."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from pacsifier.errors import ToolError
from pacsifier.pictures.blanking import CannotBlank, blank
from pacsifier.pictures.boxes import Box
from pacsifier.pictures.decoding import frames_of
from pixels.kinds import COLUMNS, ENCODINGS, ROWS
from pixels.made import (
    BASELINE,
    BIG,
    DEFLATED,
    DEFLATED_FRAMES,
    ENCAPSULATED,
    EXPLICIT,
    EXTENDED,
    IMPLICIT,
    J2K,
    J2K_LOSSLESS,
    LS,
    LS_NEAR,
    RLE,
    compressed,
    header,
    independent,
    j2k,
    jpeg,
    plain,
    save,
    scene,
)

INSIDE, BORDER = Box(13, 5, 71, 17), Box(COLUMNS - 41, ROWS - 13, COLUMNS + 30, ROWS + 5)


BECOMES = {J2K: J2K_LOSSLESS, LS_NEAR: LS}


def _seen(path: Path) -> np.ndarray:
    """As a decoder sees it that is not ours; for two young transfer syntaxes, ours."""
    syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if syntax in (ENCAPSULATED, DEFLATED_FRAMES):
        return np.stack([frame.values for frame in frames_of(path)])
    return independent(path)


def _outside(array: np.ndarray, boxes: tuple[Box, ...], grown: int) -> np.ndarray:
    mask = np.ones(array.shape[:2], bool)
    for box in boxes:
        at = box.grown(grown)
        mask[max(at.top, 0) : at.bottom, max(at.left, 0) : at.right] = False
    return array[mask]


def _same_but_for_boxes(source: Path, target: Path, done) -> None:
    before, after = _seen(source), _seen(target)
    assert before.shape == after.shape
    smoothed = 2 if done.was in (BASELINE, EXTENDED) and before.ndim == 4 else 0
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        boxes = done.boxes.get(index, ())
        assert np.array_equal(_outside(one, boxes, smoothed), _outside(other, boxes, smoothed)), index
        for box in boxes:
            inside = other[
                box.top + smoothed : box.bottom - smoothed, box.left + smoothed : box.right - smoothed
            ]
            assert (inside == inside[:1, :1]).all(), (index, box)


@pytest.mark.parametrize("name", ENCODINGS)
def test_boxes_are_flat_and_nothing_else_changes(name, tmp_path, coders):
    source, target = ENCODINGS[name](tmp_path / "in.dcm"), tmp_path / "out.dcm"
    done = blank(source, target, {None: [INSIDE, BORDER]}, coders)
    assert done.touched == tuple(range(done.frames))
    _same_but_for_boxes(source, target, done)
    for boxes in done.boxes.values():
        assert any(box.left <= INSIDE.left and box.right >= INSIDE.right for box in boxes)
    one, other = dcmread(source), dcmread(target)
    assert other.file_meta.TransferSyntaxUID == BECOMES.get(done.was, done.was) == done.transfer_syntax
    for data in (one, other):
        for keyword in ("PixelData", "FloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in data:
                del data[keyword]
        if data.PhotometricInterpretation in ("YBR_ICT", "YBR_RCT"):
            del data.PhotometricInterpretation
        del data.file_meta.TransferSyntaxUID
    assert one == other
    assert one.file_meta == other.file_meta


MANY = [name for name in ENCODINGS if "frames" in name]


@pytest.mark.parametrize("name", MANY)
def test_a_frame_without_a_box_keeps_its_bytes(name, tmp_path, coders):
    source, target = ENCODINGS[name](tmp_path / "in.dcm"), tmp_path / "out.dcm"
    done = blank(source, target, {1: [INSIDE]}, coders)
    assert done.touched == (1,)
    assert done.transfer_syntax == done.was
    _same_but_for_boxes(source, target, done)
    if done.was not in (IMPLICIT, EXPLICIT, BIG, DEFLATED):
        assert _frame_digests(source, {1}) == _frame_digests(target, {1})


def _frame_digests(path: Path, without: set[int]) -> list[str]:
    """The bytes of frames as pydicom finds them, by the offset tables where there are any."""
    from pydicom.encaps import generate_frames

    data = dcmread(path)
    extended = None
    if "ExtendedOffsetTable" in data:
        extended = data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths
    frames = generate_frames(
        data.PixelData, number_of_frames=int(data.NumberOfFrames), extended_offsets=extended
    )
    return [hashlib.sha256(each).hexdigest() for at, each in enumerate(frames) if at not in without]


def test_without_a_box_in_the_picture_the_file_stays_as_it_is(tmp_path):
    source = ENCODINGS["JPEG"](tmp_path / "in.dcm")
    done = blank(
        source, tmp_path / "out.dcm", {None: [Box(-9, -9, 0, 0)], 0: [Box(COLUMNS, 0, COLUMNS + 9, 9)]}
    )
    assert done.touched == ()
    assert (tmp_path / "out.dcm").read_bytes() == source.read_bytes()


def test_a_box_for_a_frame_that_is_not_there_leaves_no_file(tmp_path):
    source = ENCODINGS["implicit 8"](tmp_path / "in.dcm")
    with pytest.raises(CannotBlank, match="not there"):
        blank(source, tmp_path / "out.dcm", {1: [INSIDE]})
    assert not (tmp_path / "out.dcm").exists()


# --- the colour ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photometric", "signed", "more"),
    [
        ("MONOCHROME2", False, {}),
        ("MONOCHROME2", True, {}),
        ("MONOCHROME1", False, {}),
        ("MONOCHROME1", True, {}),
        ("MONOCHROME2", True, {"PixelPaddingValue": -2000}),
        ("MONOCHROME2", True, {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}),
        ("MONOCHROME1", False, {"PixelPaddingValue": 4095}),
    ],
)
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_grey_is_blanked_with_the_darkest_value_of_the_picture(photometric, signed, more, syntax, tmp_path):
    array = scene(ROWS, COLUMNS, bits=10, signed=signed)
    levels = array[0, :40] if more else array
    darkest = levels.max() if photometric == "MONOCHROME1" else levels.min()
    if more:
        # No neighbour of the padding is made up: padding stays padding, and what is blanked is a level of the picture.
        array[0, 40:] = more["PixelPaddingValue"]
    path = plain(tmp_path / "in.dcm", array, syntax, photometric, 16 if signed else 12, **more)
    blank(path, tmp_path / "out.dcm", {None: [Box(10, 5, 30, 20)]})
    after = independent(tmp_path / "out.dcm")[0]
    assert set(after[5:20, 10:30].ravel()) == {darkest}
    assert (after.min(), after.max()) == (array.min(), array.max())


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name.startswith("palette")])
def test_a_palette_is_blanked_with_its_darkest_colour(name, tmp_path, coders):
    path = ENCODINGS[name](tmp_path / "in.dcm")
    blank(path, tmp_path / "out.dcm", {None: [INSIDE]}, coders)
    after = independent(tmp_path / "out.dcm")[0]
    assert set(after[6:16, 14:70].ravel()) == {107 if "100" in name else 7}


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("RGB by plane of 2 frames", (0, 0, 0)),
        ("YBR", (0, 128, 128)),
        ("YBR 422 of 2 frames", (0, 128, 128)),
        ("J2K lossless RGB", (0, 0, 0)),
        ("JPEG 444", (0, 128, 128)),
        ("JPEG 420 with restarts", (0, 128, 128)),
        ("JPEG RGB", (0, 0, 0)),
        ("JPEG", 0),
        ("JPEG inverted", 255),
        ("JPEG extended 12 of 2 frames", 0),
    ],
)
def test_colours_are_blanked_with_black(name, colour, tmp_path, coders):
    blank(ENCODINGS[name](tmp_path / "in.dcm"), tmp_path / "out.dcm", {None: [INSIDE]}, coders)
    for frame in frames_of(tmp_path / "out.dcm", coders):
        assert (frame.values[INSIDE.top : INSIDE.bottom, INSIDE.left : INSIDE.right] == colour).all()


def test_all_frames_are_blanked_with_one_colour(tmp_path):
    array = scene(ROWS, COLUMNS, frames=3, bits=12) + np.array([50, 0, 100], "u2").reshape(3, 1, 1)
    path = plain(tmp_path / "in.dcm", array, EXPLICIT, "MONOCHROME2", 12)
    blank(path, tmp_path / "out.dcm", {None: [INSIDE]})
    after = independent(tmp_path / "out.dcm")
    assert len(set(after[:, 6:16, 14:70].ravel())) == 1


def test_overlay_bits_go_inside_the_boxes_and_stay_outside(tmp_path):
    path = ENCODINGS["overlay bits"](tmp_path / "in.dcm")
    blank(path, tmp_path / "out.dcm", {None: [INSIDE]})
    before, after = (dcmread(each).pixel_array for each in (path, tmp_path / "out.dcm"))
    raw = np.frombuffer(dcmread(tmp_path / "out.dcm").PixelData, "<u2").reshape(ROWS, COLUMNS)
    assert not (raw[6:16, 14:70] & 0xF000).any()
    assert (raw[40:] & 0x2000).any()
    assert np.array_equal(before[40:], after[40:])


@pytest.mark.parametrize(
    "name", ["explicit 12 in 16", "RLE of 3 frames", "J2K lossy RGB", "JPEG", "deflated 12"]
)
def test_what_stands_behind_the_pixel_data_goes_over(name, tmp_path):
    path = ENCODINGS[name](tmp_path / "in.dcm")
    data = dcmread(path)
    data.add_new(0xFFFCFFFC, "OB", b"\0" * 30)
    data.save_as(path)
    blank(path, tmp_path / "out.dcm", {None: [INSIDE]})
    assert dcmread(tmp_path / "out.dcm")[0xFFFCFFFC].value == b"\0" * 30


# --- wherever boxes stand -----------------------------------------------------------------------------------------

edges = st.tuples(
    st.integers(-9, COLUMNS + 9), st.integers(-9, ROWS + 9), st.integers(1, COLUMNS), st.integers(1, ROWS)
)
some_boxes = st.lists(
    edges.map(lambda at: Box(at[0], at[1], at[0] + at[2], at[1] + at[3])), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    "name",
    [
        "explicit odd length",
        "YBR 422 of 2 frames",
        "single bits of 3 frames",
        "RLE of 3 frames",
        "J2K lossless RGB",
    ],
)
@settings(max_examples=12, deadline=None)
@given(boxes=some_boxes, which=st.sampled_from([None, 0]))
def test_wherever_boxes_stand_only_they_are_blanked(name, boxes, which, tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    source, target = ENCODINGS[name](folder / "in.dcm"), folder / "out.dcm"
    blank(source, target, {which: boxes})
    for one, other in zip(frames_of(source), frames_of(target), strict=True):
        expected = one.values.copy()
        if which in (None, one.index):
            for box in boxes:
                left = box.left // 2 * 2 if "422" in name else box.left
                right = -(-box.right // 2) * 2 if "422" in name else box.right
                inside = slice(max(box.top, 0), max(box.bottom, 0)), slice(max(left, 0), max(right, 0))
                expected[inside] = other.values[inside]
                seen = other.values[inside]
                assert seen.size == 0 or (seen == seen[:1, :1]).all()
        assert np.array_equal(expected, other.values)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if "JPEG-LS" in name])
def test_jpeg_ls_is_blanked_by_dcmtk_where_pyjpegls_is_not_installed(name, tmp_path, coders, monkeypatch):
    monkeypatch.setitem(sys.modules, "jpeg_ls", None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda each: None if each == "jpeg_ls" else find_spec(each)
    )
    source, target = ENCODINGS[name](tmp_path / "in.dcm"), tmp_path / "out.dcm"
    with pytest.raises(CannotBlank, match="dcmdjpls"):
        blank(source, target, {None: [INSIDE]})
    done = blank(source, target, {None: [INSIDE, BORDER]}, coders)
    _same_but_for_boxes(source, target, done)


# --- refused ------------------------------------------------------------------------------------------------------


def _with_syntax(path: Path, syntax: str) -> Path:
    """The file with another name of its transfer syntax, which pydicom need not know."""
    data = dcmread(path, stop_before_pixels=True)
    name = data.file_meta.TransferSyntaxUID.encode()
    raw = path.read_bytes()
    at = raw.index(name)
    length = len(name) + len(name) % 2
    wanted = syntax.encode() + b"\0" * (len(syntax) % 2)
    more = len(wanted) - length
    group = int.from_bytes(raw[140:144], "little") + more
    raw = (
        raw[:140]
        + group.to_bytes(4, "little")
        + raw[144 : at - 2]
        + len(wanted).to_bytes(2, "little")
        + wanted
    )
    path.write_bytes(raw + path.read_bytes()[at + length :])
    return path


def _overlay_in_jpeg(path: Path) -> Path:
    data = header(scene(ROWS, COLUMNS, bits=12), "MONOCHROME2", 12)
    data.add_new(0x60000100, "US", 16)
    data.add_new(0x60000102, "US", 13)
    return compressed(path, data, j2k(scene(ROWS, COLUMNS, bits=12), 12), J2K_LOSSLESS)


REFUSED = {
    "video": (lambda path: _with_syntax(ENCODINGS["JPEG"](path), "1.2.840.10008.1.2.4.102"), "video"),
    "HTJ2K": (
        lambda path: _with_syntax(ENCODINGS["J2K lossless 12"](path), "1.2.840.10008.1.2.4.201"),
        "not encoded",
    ),
    "JPEG XL": (lambda path: _with_syntax(ENCODINGS["JPEG"](path), "1.2.840.10008.1.2.4.110"), "not decoded"),
    "overlay in compressed": (_overlay_in_jpeg, "overlay"),
    "progressive": (
        lambda path: compressed(
            path,
            header(scene(ROWS, COLUMNS), "MONOCHROME2", 8),
            jpeg(scene(ROWS, COLUMNS), progressive=True),
            BASELINE,
        ),
        "sequential",
    ),
    "bytes in big endian words": (
        lambda path: save(
            header(scene(ROWS, COLUMNS), "MONOCHROME2", 8), path, BIG, scene(ROWS, COLUMNS).tobytes(), vr="OW"
        ),
        "big endian words",
    ),
    "compressed in name only": (
        lambda path: _with_syntax(ENCODINGS["implicit 8"](path), RLE),
        "not fit",
    ),
    "without DCMTK": (ENCODINGS["JPEG lossless 8"], "dcmdjpeg"),
    "other size": (
        lambda path: compressed(
            path, header(scene(ROWS, COLUMNS), "MONOCHROME2", 8), jpeg(scene(ROWS, COLUMNS - 8)), BASELINE
        ),
        "another size",
    ),
    "broken frame": (
        lambda path: compressed(
            path, header(scene(ROWS, COLUMNS), "MONOCHROME2", 8), [b"\xff\x4f\xff\x51" + b"x" * 300], J2K
        ),
        "decoded",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_blanked_is_refused_in_words_and_leaves_no_file(name, tmp_path):
    make, reason = REFUSED[name]
    with pytest.raises(CannotBlank, match=reason):
        blank(make(tmp_path / "in.dcm"), tmp_path / "out.dcm", {None: [INSIDE]})
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("at", [(3, 3), (50, 20)], ids=["outside", "inside"])
def test_a_coder_that_changes_a_pixel_is_found_out(at, tmp_path, coders):
    def lying(source: Path, target: Path) -> None:
        data = dcmread(source)
        array = data.pixel_array.copy()
        array[at] ^= 1
        data.PixelData = array.tobytes()
        data.save_as(source)
        coders.cjpeg(source, target)

    source = ENCODINGS["JPEG lossless 8"](tmp_path / "in.dcm")
    with pytest.raises(CannotBlank, match="not what it should be"):
        blank(source, tmp_path / "out.dcm", {None: [Box(0, 40, 60, 60)]}, replace(coders, cjpeg=lying))
    assert not (tmp_path / "out.dcm").exists()


def test_a_coder_that_fails_or_hangs_is_said(tmp_path, coders):
    source = ENCODINGS["JPEG lossless 8"](tmp_path / "in.dcm")

    def failing(_source: Path, _target: Path) -> None:
        raise ToolError("dcmcjpeg had not ended")

    with pytest.raises(CannotBlank, match="dcmcjpeg failed"):
        blank(source, tmp_path / "out.dcm", {None: [INSIDE]}, replace(coders, cjpeg=failing))
    assert not list(coders.scratch.glob("**/*.dcm"))


def test_the_output_is_private_and_never_written_through_a_link_or_over_a_file(tmp_path):
    source = ENCODINGS["implicit 8"](tmp_path / "in.dcm")
    blank(source, tmp_path / "out.dcm", {None: [INSIDE]})
    assert (tmp_path / "out.dcm").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link.dcm").symlink_to(tmp_path / "elsewhere.dcm")
    for name in ("out.dcm", "link.dcm"):
        with pytest.raises(FileExistsError):
            blank(source, tmp_path / name, {None: [INSIDE]})
    assert not (tmp_path / "elsewhere.dcm").exists()


@pytest.mark.parametrize(
    "name", ["explicit 12 in 16", "RLE RGB", "J2K lossy RGB", "JPEG 422 of 2 frames", "JPEG-LS 16"]
)
def test_dciodvfy_finds_no_new_error(name, tmp_path, coders):
    source, target = ENCODINGS[name](tmp_path / "in.dcm"), tmp_path / "out.dcm"
    blank(source, target, {None: [INSIDE]}, coders)
    before, after = _faults(source), _faults(target)
    assert not after - before


def _faults(path: Path) -> Counter[str]:
    """The errors that dciodvfy finds."""
    assert shutil.which("dciodvfy"), "dciodvfy is missing: scripts/test installs it"
    run = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (run.stdout + run.stderr).splitlines()
    assert lines
    return Counter(line for line in lines if line.startswith("Error"))
