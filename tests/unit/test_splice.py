"""The one writer of pieces: every byte arrives once, and no half file stays."""

from __future__ import annotations

import os
import zlib
from io import FileIO
from pathlib import Path

import pytest

from pacsifier.dicom import splice
from pacsifier.dicom.splice import MaskedRange, Range, Spliced, UnreadableError

LARGE = 3 << 20
PIECES = [
    b"head",
    Range(2, 9),
    b"",
    Range(5, 5),
    Range(100, LARGE - 7),
    b"between",
    Range(0, 1 << 16),
    b"end",
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(bytes(range(251)) * (LARGE // 251 + 1))
    return path


def expected(source: Path) -> bytes:
    raw = source.read_bytes()
    return b"".join(each if isinstance(each, bytes) else raw[each.start : each.stop] for each in PIECES)


@pytest.mark.parametrize("held", [False, True])
def test_pieces_are_written_in_order_to_the_byte(source, held, tmp_path):
    with FileIO(source) as handle:
        content = Spliced(handle, PIECES, source.read_bytes() if held else None)
        size = content.write(tmp_path / "out", mode=0o640, durable=True)
        assert content.equals(tmp_path / "out")
        assert b"".join(content.chunks()) == expected(source)
    assert (tmp_path / "out").read_bytes() == expected(source)
    assert size == len(expected(source))
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_a_file_with_one_other_byte_is_not_equal(source, tmp_path):
    raw = expected(source)
    with FileIO(source) as handle:
        content = Spliced(handle, PIECES)
        for other in (raw[:-1] + b"x", raw[:-1], raw + b"x", b"x" + raw[1:]):
            (tmp_path / "out").write_bytes(other)
            assert not content.equals(tmp_path / "out")
        assert not content.equals(tmp_path / "absent")


@pytest.mark.parametrize("masks", [(0x0F,), (0xFF, 0x0F), (0x0F, 0xFF), (1, 2, 4), (0, 0xFF, 0xFF, 0x3C)])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (3, 50), (7, (2 << 20) + 11)])
def test_only_the_masked_bits_are_cleared_across_the_chunks_of_a_range(masks, start, stop, source, tmp_path):
    raw = source.read_bytes()[start:stop]
    cleared = bytes(each & masks[at % len(masks)] for at, each in enumerate(raw))
    with FileIO(source) as handle:
        content = Spliced(handle, [b"head", MaskedRange(start, stop, masks), Range(0, 3)])
        assert content.write(tmp_path / "out") == 7 + stop - start
        assert content.equals(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"head" + cleared + source.read_bytes()[:3]


@pytest.mark.parametrize("piece", [Range(0, 100), Range(0, 1 << 17), MaskedRange(0, 100, (1,))])
def test_nothing_stays_of_a_file_whose_source_shrank(piece, source, tmp_path):
    with FileIO(source) as handle:
        os.truncate(source, 50)
        with pytest.raises(UnreadableError, match="shorter"):
            Spliced(handle, [b"head", piece]).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there_is_never_written_over(source, tmp_path):
    (tmp_path / "out").write_bytes(b"somebody's")
    with FileIO(source) as handle, pytest.raises(FileExistsError):
        Spliced(handle, PIECES).write(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"somebody's"


def test_a_kernel_without_copies_of_ranges_costs_time_and_no_byte(source, tmp_path, monkeypatch):
    def refuse(*_: object) -> int:
        raise OSError("not here")

    monkeypatch.setattr(splice, "_by_kernel", refuse)
    with FileIO(source) as handle:
        Spliced(handle, PIECES).write(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == expected(source)


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", Range(1, 4), b"d"], [], [b"ab", Range(0, 300)]])
def test_a_deflated_stream_has_an_even_length_and_holds_the_pieces(pieces):
    held = bytes(range(256)) * 2
    deflated = splice.deflated(held, pieces)
    assert len(deflated) % 2 == 0
    whole = b"".join(each if isinstance(each, bytes) else held[each.start : each.stop] for each in pieces)
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated) == whole
