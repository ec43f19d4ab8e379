"""Sequential JPEG edited among its Huffman codes: other blocks keep their bits, whatever tables and scans there are."""

from __future__ import annotations

import io
import itertools
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pacsifier.pictures.boxes import Box
from pacsifier.pictures.jpegblocks import Table, flattened, read, widened
from pacsifier.pictures.stored import PixelsError
from pixels.made import jpeg, scene

ROWS, COLUMNS = 70, 101


def _decoded(data: bytes, mode: str = "") -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        if mode:
            picture.draft(mode, picture.size)
        picture.load()
        return np.asarray(picture)


def _is_flat_inside_and_same_outside(data: bytes, boxes: list[Box], levels: tuple[int, ...]) -> bool:
    wide = widened(data, boxes, COLUMNS, ROWS)
    made = flattened(data, wide, levels)
    mode = "YCbCr" if len(levels) == 3 else ""
    before, after = _decoded(data, mode), _decoded(made, mode)
    smoothed = 2 if len(levels) == 3 else 0
    mask = np.ones(before.shape[:2], bool)
    for box in wide:
        at = box.grown(smoothed)
        mask[max(at.top, 0) : at.bottom, max(at.left, 0) : at.right] = False
    places = [inside for box in boxes if (inside := box.within(COLUMNS, ROWS))]
    flat = all((after[each.top : each.bottom, each.left : each.right] == levels).all() for each in places)
    return flat and np.array_equal(before[mask], after[mask])


def _without_codes(data: bytes) -> bytes:
    """A stream without what lies between the start of its scan and its end, restart markers apart."""
    start = data.index(b"\xff\xda")
    return data[:start] + b"".join(re.findall(rb"\xff[\xd0-\xd7]", data[start:]))


GREY = scene(ROWS, COLUMNS)
COLOUR = scene(ROWS, COLUMNS, samples=3)
STREAMS = {
    "grey": (jpeg(GREY, quality=85)[0], (0,)),
    "grey, few codes": (jpeg(GREY, quality=30, optimize=True)[0], (0,)),
    "grey, restarts": (jpeg(GREY, quality=92, restart_marker_blocks=5)[0], (255,)),
    "grey, finest": (jpeg(GREY, quality=100)[0], (0,)),
    "444": (jpeg(COLOUR, subsampling=0, quality=90)[0], (0, 128, 128)),
    "422": (jpeg(COLOUR, subsampling=1, optimize=True)[0], (0, 128, 128)),
    "420, restarts": (jpeg(COLOUR, subsampling=2, restart_marker_rows=1)[0], (0, 128, 128)),
}
edges = st.tuples(
    st.integers(-5, COLUMNS + 5), st.integers(-5, ROWS + 5), st.integers(1, 60), st.integers(1, 40)
)
boxes = st.lists(
    edges.map(lambda at: Box(at[0], at[1], at[0] + at[2], at[1] + at[3])), min_size=1, max_size=3
)


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes=boxes)
def test_wherever_boxes_stand_only_they_become_flat(name, boxes):
    data, levels = STREAMS[name]
    assert _is_flat_inside_and_same_outside(data, boxes, levels)


@pytest.mark.parametrize("name", STREAMS)
def test_without_boxes_not_a_byte_changes(name):
    data, levels = STREAMS[name]
    assert flattened(data, [], levels) == data


@pytest.mark.parametrize("name", ["grey", "grey, restarts", "444", "420, restarts"])
def test_tables_application_data_and_restart_markers_stay(name):
    data, levels = STREAMS[name]
    made = flattened(data, widened(data, [Box(10, 10, 50, 30)], COLUMNS, ROWS), levels)
    assert _without_codes(made) == _without_codes(data)


def test_the_picture_can_be_blanked_twice():
    data, levels = STREAMS["422"]
    once = flattened(data, widened(data, [Box(10, 10, 50, 30)], COLUMNS, ROWS), levels)
    assert _is_flat_inside_and_same_outside(once, [Box(40, 20, 90, 60), Box(0, 0, 3, 3)], levels)


def _segments(data: bytes) -> dict[int, list[bytes]]:
    out: dict[int, list[bytes]] = {}
    pos = 2
    while data[pos + 1] != 0xDA:
        length = int.from_bytes(data[pos + 2 : pos + 4], "big")
        out.setdefault(data[pos + 1], []).append(data[pos : pos + 2 + length])
        pos += 2 + length
    out[0xDA] = [data[pos + 10 : -2]]
    return out


def _one_scan_for_each(array: np.ndarray) -> bytes:
    """Three grey streams as the components of one picture, each in a scan of its own with its own tables."""
    parts = [_segments(each) for each in jpeg(array.transpose(2, 0, 1), quality=70, optimize=True)]
    frame = b"\xff\xc0\0\x11\x08" + array.shape[0].to_bytes(2, "big") + array.shape[1].to_bytes(2, "big")
    frame += b"\x03" + b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    out = [b"\xff\xd8", *parts[0][0xDB], frame]
    for number, part in enumerate(parts, 1):
        out += [*part[0xC4], b"\xff\xda\0\x08\x01", bytes((number, 0, 0, 63, 0)), *part[0xDA]]
    return b"".join([*out, b"\xff\xd9"])


def test_components_in_scans_of_their_own_are_all_blanked():
    data = _one_scan_for_each(COLOUR[0])
    assert _decoded(data).shape == (ROWS, COLUMNS, 3)
    assert _is_flat_inside_and_same_outside(data, [Box(7, 3, 60, 22), Box(80, 50, 200, 200)], (0, 128, 128))


def test_a_stream_longer_than_the_window_is_read_over_its_seams():
    array = np.random.default_rng(3).integers(0, 256, (1, 500, 600)).astype("u1")
    data = jpeg(array, quality=97)[0]
    assert len(data) > 3 << 16
    box = Box(300, 240, 401, 321)
    wide = widened(data, [box], 600, 500)
    before, after = _decoded(data), _decoded(flattened(data, wide, (0,)))
    assert not after[box.top : box.bottom, box.left : box.right].any()
    mask = np.ones(before.shape, bool)
    mask[wide[0].top : wide[0].bottom, wide[0].left : wide[0].right] = False
    assert np.array_equal(before[mask], after[mask])


def test_a_missing_end_marker_is_no_hindrance():
    data, levels = STREAMS["grey"]
    made = flattened(data[:-2], [Box(8, 8, 64, 32)], levels)
    assert not _decoded(made + b"\xff\xd9")[8:32, 8:64].any()


def test_what_stands_behind_the_end_does_not_go_over():
    data, levels = STREAMS["grey"]
    made = flattened(data + b"\0" + data, [Box(8, 8, 64, 32)], levels)
    assert made == flattened(data, [Box(8, 8, 64, 32)], levels)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg(GREY, progressive=True)[0], "not sequential"),
        (STREAMS["grey"][0][:1500], "cut"),
        (STREAMS["grey, restarts"][0][:1500], "cut"),
        (STREAMS["grey"][0].replace(b"\xff\xc4", b"\xff\xe9"), "broken"),
        (b"\xff\xd8\xff\xd9", "broken"),
        (b"\xff\xd8", "broken"),
        (b"", "broken"),
        (b"no picture", "broken"),
    ],
)
def test_what_cannot_be_edited_is_refused_in_words(data, reason):
    with pytest.raises(PixelsError, match=reason):
        flattened(data, [Box(0, 0, COLUMNS, ROWS)], (0,))


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(20, len(STREAMS["420, restarts"][0]) - 3), change=st.binary(min_size=1, max_size=3))
def test_a_damaged_stream_is_refused_or_edited_but_never_ends_the_program(cut, change):
    data, levels = STREAMS["420, restarts"]
    spoiled = data[:cut] + change + data[cut + len(change) :]
    try:
        flattened(spoiled, [Box(16, 16, 48, 48)], levels)
    except PixelsError as error:
        assert "JPEG" in error.reason


@pytest.mark.parametrize("change", [0x00, 0x01, 0x10, 0x7F, 0xFF])
def test_whatever_byte_is_wrong_the_stream_is_refused_or_edited(change):
    data = jpeg(COLOUR[:, :40, :40], subsampling=1)[0]
    refused = 0
    for at in range(2, len(data)):
        try:
            flattened(data[:at] + bytes((change,)) + data[at + 1 :], [Box(8, 8, 24, 24)], (0, 128, 128))
        except PixelsError:
            refused += 1
    assert 0 < refused < len(data)


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(lengths=lengths, wanted=st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_codes_that_are_added_leave_the_others_as_they_are(lengths, wanted):
    counts = [0] * 16
    room = (1 << 16) - 1  # the code of ones only is not used
    symbols = []
    for number, length in enumerate(sorted(lengths)):
        if room <= 1 << (16 - length):
            break
        room -= 1 << (16 - length)
        counts[length - 1] += 1
        symbols.append(number)
    table = Table(tuple(counts), tuple(symbols))
    made = table.with_symbols(wanted)
    codes = made.codes()
    assert codes.items() >= table.codes().items()
    assert codes.keys() == set(symbols) | set(wanted)
    texts = sorted(f"{code:0{length}b}" for code, length in codes.values())
    assert all("0" in text and len(text) <= 16 for text in texts)
    assert not any(other.startswith(one) for one, other in itertools.pairwise(texts))


def test_what_the_stream_says_of_itself_is_read():
    picture = read(STREAMS["420, restarts"][0])
    assert (picture.rows, picture.columns, picture.precision) == (ROWS, COLUMNS, 8)
    assert picture.unit == (16, 16)
    assert not picture.is_rgb


JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
RGB_IDS = jpeg(COLOUR, keep_rgb=True)[0]
YBR_IDS = jpeg(COLOUR, subsampling=0)[0].replace(JFIF, b"")


def _adobe(transform: int, length: int = 12) -> bytes:
    body = (b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))[:length]
    return b"\xff\xee" + (2 + length).to_bytes(2, "big") + body


def _with(segment: bytes, data: bytes) -> bytes:
    return data[:2] + segment + data[2:]


@pytest.mark.parametrize(
    ("data", "is_rgb"),
    [
        (YBR_IDS, False),
        (_with(JFIF, YBR_IDS), False),
        (_with(_adobe(1), YBR_IDS), False),
        (_with(_adobe(0), YBR_IDS), True),
        (_with(JFIF + _adobe(0), YBR_IDS), False),
        (_with(_adobe(0, length=10), YBR_IDS), False),
        (_with(_adobe(0).replace(b"Adobe", b"other"), YBR_IDS), False),
        (_with(_adobe(0).replace(b"\xff\xee", b"\xff\xed"), YBR_IDS), False),
        (RGB_IDS[:2] + RGB_IDS[2:].replace(_adobe(0), b""), True),
        (_with(JFIF, RGB_IDS[:2] + RGB_IDS[2:].replace(_adobe(0), b"")), False),
        (_with(_adobe(1), RGB_IDS[:2] + RGB_IDS[2:].replace(_adobe(0), b"")), False),
    ],
)
def test_colours_are_taken_as_the_common_library_takes_them(data, is_rgb):
    assert read(data).is_rgb == is_rgb
    if is_rgb:
        # The library makes no YBR of what it takes for red, green and blue.
        with pytest.raises(OSError, match="broken data stream"):
            _decoded(data, "YCbCr")
    else:
        assert not np.array_equal(_decoded(data), _decoded(data, "YCbCr"))


@pytest.mark.parametrize("wide", [False, True], ids=["8 bits", "16 bits"])
def test_steps_are_read_from_segments_that_hold_several_tables(wide):
    data, levels = STREAMS["444"]
    tables = re.findall(rb"\xff\xdb\0\x43([\0-\1])(.{64})", data, re.DOTALL)
    assert len(tables) == 2
    body = b"".join(
        bytes((number[0] | 16 * wide,))
        + b"".join(bytes((0, each)) if wide else bytes((each,)) for each in table)
        for number, table in tables
    )
    segment = b"\xff\xdb" + (2 + len(body)).to_bytes(2, "big") + body
    first, second = (b"\xff\xdb\0\x43" + number + table for number, table in tables)
    changed = data.replace(first, b"").replace(second, segment).replace(b"\xff\xc0", b"\xff\xc1")
    box = [Box(9, 9, 40, 33)]
    steps = [component.quantisation for component in read(data).components]
    assert [component.quantisation for component in read(changed).components] == steps
    assert np.array_equal(_decoded(changed), _decoded(data))
    assert _is_flat_inside_and_same_outside(changed, box, levels)


def test_the_last_code_but_that_of_ones_is_used():
    table = Table((0, 3, *[0] * 14), (1, 2, 3))
    assert table.with_symbols([4]).codes()[4] == (0b110, 3)
    assert Table((0, 2, *[0] * 14), (1, 2)).with_symbols([4]).codes()[4] == (0b10, 2)


def test_a_full_table_is_said_to_be_full():
    counts = (1,) * 15 + (1,)
    with pytest.raises(PixelsError, match="full"):
        Table(counts, tuple(range(16))).with_symbols([200])
