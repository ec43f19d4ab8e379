"""A file reads the same with the runs of those before as without them."""

from __future__ import annotations

import random
import struct

import pytest

from pacsifier.dicom import part10
from pacsifier.dicom.part10 import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    Run,
)
from pacsifier.dicom.runs import Runs

TAGS = (
    *((0x00080005, "CS"), (0x00080016, "UI"), (0x00080018, "UI"), (0x00080060, "CS"), (0x00090010, "LO")),
    *((0x00091001, "OB"), (0x00100010, "PN"), (0x00100020, "LO"), (0x00101030, "DS"), (0x00120062, "CS")),
    *((0x00180050, "DS"), (0x00181030, "LO"), (0x00200013, "IS"), (0x00280010, "US"), (0x7FE00010, "OW")),
)
SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def _file(syntax: str, values: dict[int, bytes], pixels: int = 64) -> bytes:
    big, implicit = syntax == EXPLICIT_VR_BIG_ENDIAN, syntax == IMPLICIT_VR_LITTLE_ENDIAN
    coding = part10.CODINGS[implicit, big]
    little = part10.CODINGS[False, False]
    meta = part10.encode_element(0x00020010, "UI", syntax.encode(), little)
    group = part10.encode_element(0x00020000, "UL", struct.pack("<L", len(meta)), little)
    content = {tag: b"12" if tag != 0x7FE00010 else bytes(pixels) for tag, _ in TAGS} | values
    body = b"".join(part10.encode_element(tag, vr, content[tag], coding) for tag, vr in TAGS)
    return bytes(128) + b"DICM" + group + meta + body


def _told(layout: part10.Layout) -> tuple[object, ...]:
    return list(layout.elements), dict(layout.by_tag), layout.defect, layout.coding


def _flat(layout: part10.Layout) -> list[part10.Element]:
    return [
        element
        for stretch in layout.stretches
        for element in (stretch.elements if isinstance(stretch, Run) else (stretch,))
    ]


def _series(syntax: str, number: int) -> list[bytes]:
    return [
        _file(syntax, {0x00080018: b"1.2.%d" % (100 + at), 0x00200013: str(at).encode()})
        for at in range(number)
    ]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_stood_before_is_one_run_and_what_varies_is_in_none(syntax):
    runs = Runs()
    for raw in _series(syntax, 6):
        layout = part10.layout_of(raw, runs.walk)
    tags = [
        [each[0] for each in stretch.elements] if isinstance(stretch, Run) else stretch[0]
        for stretch in layout.stretches
    ]
    assert tags == [
        *(0x00080005, 0x00080016, 0x00080018, 0x00080060, 0x00090010, 0x00091001),
        [0x00100010, 0x00100020, 0x00101030, 0x00120062, 0x00180050, 0x00181030],
        *(0x00200013, 0x00280010, 0x7FE00010),
    ]


def test_no_run_reaches_over_a_border():
    runs = Runs(borders=(0x00120062,))
    for raw in _series(EXPLICIT_VR_LITTLE_ENDIAN, 6):
        layout = part10.layout_of(raw, runs.walk)
    met = [sorted(stretch.tags) for stretch in layout.stretches if isinstance(stretch, Run)]
    assert met == [[0x00100010, 0x00100020, 0x00101030], [0x00120062, 0x00180050, 0x00181030]]


@pytest.mark.parametrize("pixels", [64, 100_000])
def test_any_content_reads_the_same_with_runs(pixels, tmp_path):
    chance = random.Random(17)
    files = [raw for syntax in SYNTAXES for raw in _series(syntax, 12)]
    files = [_file(EXPLICIT_VR_LITTLE_ENDIAN, {}, pixels), *files]
    runs = Runs(borders=(0x00180050,))
    met = 0
    for number in range(1200):
        raw = bytearray(files[number // 15 % len(files)] if number % 3 else chance.choice(files))
        for _ in range(chance.choice((0, 0, 0, 1, 3))):
            raw[chance.randrange(132, min(len(raw), 600))] = chance.choice((0, 1, 2, 8, 0xFF, 0x41, 0xFE))
        if chance.random() < 0.1:
            del raw[chance.randrange(132, len(raw)) :]
        if chance.random() < 0.1:
            at = chance.randrange(132, len(raw))
            raw[at:at] = raw[at - 8 : at]
        path = tmp_path / "file"
        path.write_bytes(raw)
        with path.open("rb", buffering=0) as handle:
            layout = part10.layout(handle, runs.walk)
            handle.seek(0)
            assert _told(layout) == _told(part10.layout(handle))
        if not layout.defect:
            assert _flat(layout) == list(layout.elements)
        met += any(isinstance(stretch, Run) for stretch in layout.stretches)
    assert met > 200
