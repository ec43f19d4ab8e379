"""Pixels stay the same to the last bit, and nothing that is no picture goes out with them."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_fragments
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from pacsifier.deidentify.engine.instance import deidentify
from pacsifier.deidentify.engine.pixels import only_pixels
from pacsifier.deidentify.engine.reading import whole_instance
from pacsifier.dicom import part10
from pacsifier.dicom.splice import Piece, Range, UnreadableError
from tests.deid import corpus, helpers

SECRET = b"Zimmerlin Ottilie"
SIDE, FRAMES = 48, 3
UNKNOWN_TO_PYDICOM = ("1.2.840.10008.1.2.8.1", "1.2.840.113619.99.1")
ENCODINGS = {
    "baseline": ("dcmcjpeg", "+eb"),
    "extended": ("dcmcjpeg", "+ee"),
    "spectral": ("dcmcjpeg", "+es"),
    "progressive": ("dcmcjpeg", "+ep"),
    "lossless": ("dcmcjpeg", "+el"),
    "lossless first order": ("dcmcjpeg", "+e1"),
    "jpeg-ls": ("dcmcjpls", "+el"),
    "jpeg-ls near lossless": ("dcmcjpls", "+en"),
}


def picture(syntax: str = ExplicitVRLittleEndian, frames: int = FRAMES) -> Dataset:
    """An MR of noise, 8 bits, several frames."""
    ds = corpus.mr(1)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Rows = ds.Columns = SIDE
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.NumberOfFrames = 7, 0, frames
    ds.PixelData = bytes((at * at * 7 + at // 5) % 251 for at in range(SIDE * SIDE * frames))
    ds["PixelData"].VR = "OB"
    return ds


def tool(name: str, *arguments: object) -> None:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    subprocess.run([name, *map(str, arguments)], check=True, capture_output=True)


def decoded(path: Path, name: str) -> bytes:
    """The pixels by DCMTK."""
    out = path.with_name(f"{path.name}.{name}.raw.dcm")
    tool({"dcmcjpeg": "dcmdjpeg", "dcmcjpls": "dcmdjpls"}[name], path, out)
    return bytes(helpers.read(out).PixelData)


def with_comments(frame: bytes) -> bytes:
    """A comment, Exif, a maker's note and XMP behind the beginning; a comment before the end."""

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    head = segment(0xFE, SECRET) + segment(0xE1, b"Exif\0\0" + SECRET) + segment(0xED, SECRET * 999)
    frame = frame.rstrip(b"\0")
    return frame[:2] + head + frame[2:-2] + segment(0xFE, SECRET) + frame[-2:] + SECRET


def frames_of(ds: Dataset) -> list[bytes]:
    """The frames, by where JPEG streams begin."""
    made: list[bytes] = []
    for fragment in generate_fragments(ds.PixelData[8 + int.from_bytes(ds.PixelData[4:8], "little") :]):
        if fragment.startswith(b"\xff\xd8\xff"):
            made.append(fragment)
        else:
            made[-1] += fragment
    return made


def put(ds: Dataset, frames: list[bytes], table: str, fragments: int = 1) -> None:
    """Frames as encapsulated pixel data with no, a basic or an extended offset table."""
    even = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    if table == "extended":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(even)
    else:
        ds.PixelData = encapsulate(even, fragments_per_frame=fragments, has_bot=table == "basic")
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True


def written(ds: Dataset, folder: Path, **known: object) -> bytes:
    syntax = ds.file_meta.TransferSyntaxUID
    unknown = syntax in UNKNOWN_TO_PYDICOM
    if unknown:
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    path = corpus.save(ds, folder / "in.dcm")
    if unknown:
        path.write_bytes(
            path.read_bytes().replace(JPEGBaseline8Bit.encode(), syntax.encode().ljust(22, b"\0"))
        )
    deidentify(folder / "in.dcm", folder / "out.dcm", helpers.rules(**known))  # type: ignore[arg-type]
    return (folder / "out.dcm").read_bytes()


def check_tables(path: Path, number: int) -> None:
    """Every offset leads to the first fragment of its frame, and the lengths are those of the frames."""
    ds = helpers.read(path)
    data = bytes(ds.PixelData)
    size = int.from_bytes(data[4:8], "little")
    offsets = list(struct.unpack(f"<{size // 4}L", data[8 : 8 + size]))
    if "ExtendedOffsetTable" in ds:
        offsets = list(struct.unpack(f"<{number}Q", ds.ExtendedOffsetTable))
        lengths = struct.unpack(f"<{number}Q", ds.ExtendedOffsetTableLengths)
        for offset, length in zip(offsets, lengths, strict=True):
            assert int.from_bytes(data[8 + size + offset + 4 :][:4], "little") == length
    for offset in offsets:
        assert data[8 + size + offset :][:4] == b"\xfe\xff\x00\xe0"
        assert data[8 + size + offset + 8 :][:3] == b"\xff\xd8\xff"
    assert len(offsets) in (0, number)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("table", "fragments"), [("none", 1), ("basic", 1), ("basic", 3), ("none", 4), ("extended", 1)]
)
def test_comments_of_every_frame_go_and_the_pixels_are_the_same(encoding, table, fragments, tmp_path):
    name, option = ENCODINGS[encoding]
    corpus.save(picture(), tmp_path / "raw.dcm")
    tool(name, option, tmp_path / "raw.dcm", tmp_path / "plain.dcm")
    ds = helpers.read(tmp_path / "plain.dcm")
    frames = [with_comments(frame) for frame in frames_of(ds)]
    assert len(frames) == FRAMES
    put(ds, frames, table, fragments)
    raw = written(ds, tmp_path)
    assert SECRET in (tmp_path / "in.dcm").read_bytes()
    assert SECRET not in raw
    with (tmp_path / "out.dcm").open("rb", buffering=0) as handle:
        assert not whole_instance(handle).defect
    check_tables(tmp_path / "out.dcm", FRAMES)
    assert decoded(tmp_path / "out.dcm", name) == decoded(tmp_path / "plain.dcm", name)


@pytest.mark.parametrize("encoding", ["baseline", "jpeg-ls"])
def test_frames_without_comments_are_copied_byte_for_byte(encoding, tmp_path):
    name, option = ENCODINGS[encoding]
    corpus.save(picture(), tmp_path / "raw.dcm")
    tool(name, option, "+fs", 1, tmp_path / "raw.dcm", tmp_path / "plain.dcm")
    ds = helpers.read(tmp_path / "plain.dcm")
    frames = frames_of(ds)
    put(ds, frames, "basic", 4)
    if encoding == "baseline":  # DCMTK writes a comment of its own
        put(ds, frames_of(ds), "basic", 4)
    before = bytes(ds.PixelData)
    written(ds, tmp_path)
    after = helpers.read(tmp_path / "out.dcm")
    assert bytes(after.PixelData) == before
    assert decoded(tmp_path / "out.dcm", name) == decoded(tmp_path / "plain.dcm", name)


def test_an_offset_table_that_leads_nowhere_is_emptied(tmp_path):
    ds = picture(JPEGBaseline8Bit)
    stream = b"\xff\xd8\xff\xdb\x00\x05abc\xff\xd9\0"
    put(ds, [with_comments(stream)] * FRAMES, "basic")
    ds.PixelData = ds.PixelData[:4] + b"\x08\0\0\0" + bytes(8) + ds.PixelData[8 + 4 * FRAMES :]
    ds.PixelData = ds.PixelData[:8] + struct.pack("<2L", 0, 6) + ds.PixelData[16:]
    raw = written(ds, tmp_path)
    assert SECRET not in raw
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData)[:8] == b"\xfe\xff\x00\xe0\0\0\0\0"


def j2k(comments: bool) -> bytes:
    """A codestream of two tile-parts that no decoder looks into."""

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">HH", marker, len(content) + 2) + content

    comment = segment(0xFF64, b"\0\1" + SECRET) if comments else b""
    body = b""
    lengths = []
    for at, data in enumerate((b"packets", b"more packets")):
        length = 12 + len(comment) + 2 + len(data)
        lengths.append(length)
        body += segment(0xFF90, struct.pack(">HLBB", at, length, 0, 1)) + comment + b"\xff\x93" + data
    main = segment(0xFF51, bytes(38)) + comment + segment(0xFF55, b"\0\x40" + struct.pack(">2L", *lengths))
    return b"\xff\x4f" + main + body + b"\xff\xd9"


@pytest.mark.parametrize("tail", [b"", SECRET])
@pytest.mark.parametrize("fragments", [1, 2])
@pytest.mark.parametrize(
    "syntax", [JPEG2000, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.203"]
)
def test_comments_of_jpeg_2000_go_from_main_and_tile_headers(syntax, tail, fragments, tmp_path):
    ds = picture(syntax)
    put(ds, [j2k(True) + tail] * FRAMES, "basic", fragments)
    assert SECRET not in written(ds, tmp_path)
    data = bytes(helpers.read(tmp_path / "out.dcm").PixelData)
    plain = j2k(False)
    assert list(generate_fragments(data[8 + 4 * FRAMES :])) == [plain + b"\0" * (len(plain) % 2)] * FRAMES


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
@pytest.mark.parametrize("frames", [1, FRAMES])
def test_bytes_behind_the_last_pixel_go(syntax, frames, tmp_path):
    ds = picture(syntax, frames)
    pixels = bytes(ds.PixelData)
    if frames == 1:
        del ds.NumberOfFrames
    ds.PixelData = pixels + SECRET + b"\0" * (len(SECRET) % 2)
    raw = written(ds, tmp_path)
    assert SECRET not in raw
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == pixels


@pytest.mark.parametrize("samples", [2, 3])
def test_shared_colours_are_counted_as_they_are(samples, tmp_path):
    ds = picture(frames=2)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    pixels = bytes(at % 250 for at in range(SIDE * SIDE * samples * 2))
    ds.PixelData = pixels + SECRET + b"\0"
    assert SECRET not in written(ds, tmp_path)
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == pixels


def test_an_odd_number_of_pixels_is_padded_with_a_zero(tmp_path):
    ds = picture(frames=1)
    ds.Rows = ds.Columns = 5
    pixels = bytes(range(1, 26))
    ds.PixelData = pixels + SECRET
    assert SECRET not in written(ds, tmp_path)
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == pixels + b"\0"


@pytest.mark.parametrize(
    "odd",
    [
        {"NumberOfFrames": 1},  # whole frames more than the header tells are pictures
        {"Rows": None},
        {"BitsAllocated": None},
    ],
)
def test_pixels_whose_number_is_not_certain_are_not_cut(odd, tmp_path):
    ds = picture()
    pixels = bytes(ds.PixelData)
    for keyword, value in odd.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    written(ds, tmp_path)
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == pixels


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("text", [b"Dr Hauswirth says hello.\r\n", b"Inselspital Bern, 3010\0\0\0"])
def test_text_that_fills_whole_frames_behind_the_last_pixel_goes(text, frames, tmp_path):
    ds = picture(frames=frames)
    pixels = bytes(ds.PixelData)
    ds.PixelData = pixels + (text * SIDE * SIDE)[: SIDE * SIDE * 2]
    written(ds, tmp_path)
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == pixels


@pytest.mark.parametrize("values", [(0, 1), (0, 65, 66), (0, 255), tuple(range(30, 60)), tuple(range(256))])
def test_masks_and_pictures_in_whole_frames_stay(values, tmp_path):
    ds = picture(frames=1)
    more = (bytes(values) * SIDE * SIDE)[: SIDE * SIDE]
    ds.PixelData = pixels = bytes(ds.PixelData) + more
    written(ds, tmp_path)
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == pixels


def test_a_name_behind_pixels_whose_number_is_not_certain_keeps_the_file_out(tmp_path):
    ds = picture(frames=1)
    ds.PixelData = bytes(ds.PixelData) + (corpus.NAME.encode() + bytes(SIDE * SIDE))[: SIDE * SIDE]
    corpus.save(ds, tmp_path / "in" / "a.dcm")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert (totals.written, totals.failures) == (0, 1)


def rle_frame() -> bytes:
    """One frame, each sample a literal."""
    raw = bytes(at % 200 for at in range(SIDE * SIDE))
    body = b"".join(bytes((127,)) + raw[at : at + 128] for at in range(0, len(raw), 128))
    return struct.pack("<16L", 1, 64, *[0] * 14) + body


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_bytes_behind_an_rle_frame_go(frames, tmp_path):
    ds = picture(RLELossless, frames)
    put(ds, [rle_frame() + SECRET] * frames, "basic")
    assert SECRET not in written(ds, tmp_path)
    after = helpers.read(tmp_path / "out.dcm")
    assert list(generate_fragments(after.PixelData[8 + 4 * frames :])) == [rle_frame()] * frames


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"])
def test_bytes_behind_a_frame_in_a_fragment_of_its_own_go(syntax, tmp_path):
    ds = picture(syntax)
    frame = bytes(ds.PixelData)[: SIDE * SIDE]
    if syntax.endswith("8.1"):
        deflater = zlib.compressobj(wbits=-15)
        frame = deflater.compress(frame) + deflater.flush()
        frame += b"\0" * (len(frame) % 2)
    put(ds, [frame + SECRET] * FRAMES, "basic")
    assert SECRET not in written(ds, tmp_path)
    after = helpers.read(tmp_path / "out.dcm")
    assert list(generate_fragments(after.PixelData[8 + 4 * FRAMES :])) == [frame] * FRAMES


@pytest.mark.parametrize(
    ("syntax", "frames"),
    [
        (JPEGBaseline8Bit, [b"no picture at all "]),
        (JPEGBaseline8Bit, [b"\xff\xd8\xff\xf4\x00\x08Doe^Jo\xff\xd9"]),  # a segment that nobody knows
        (JPEGBaseline8Bit, [b"\xff\xd8\xff\xfe\x7f\x00cut "]),
        (JPEG2000, [b"\xff\x4f\xff\x51\x00\x04ab\xff\x99\x00\x04Jo"]),
        ("1.2.840.113619.99.1", [b"a vendor's own "]),
    ],
)
def test_what_nobody_can_look_into_stays_out(syntax, frames, tmp_path):
    ds = picture(syntax, 1)
    put(ds, frames, "none")
    with pytest.raises(UnreadableError, match="comments in compressed pixel data"):
        written(ds, tmp_path)
    assert not (tmp_path / "out.dcm").exists()


def test_two_pictures_in_one_fragment_are_never_cut_to_one(tmp_path):
    ds = picture(JPEGBaseline8Bit, 2)
    stream = b"\xff\xd8\xff\xdb\x00\x06abcd\xff\xd9"
    put(ds, [stream + stream], "none")
    with pytest.raises(UnreadableError, match="compressed pixel data"):
        written(ds, tmp_path)


def test_rle_frames_are_never_taken_for_one_where_the_header_forgot_them(tmp_path):
    ds = picture(RLELossless)
    put(ds, [rle_frame()] * FRAMES, "none")
    del ds.NumberOfFrames
    before = bytes(ds.PixelData)
    written(ds, tmp_path)
    assert bytes(helpers.read(tmp_path / "out.dcm").PixelData) == before


@pytest.mark.parametrize(("named", "written_files"), [(False, 1), (True, 0)])
def test_a_video_is_searched_to_its_end_and_never_called_clean(named, written_files, tmp_path):
    ds = picture("1.2.840.10008.1.2.4.102")
    name = corpus.NAME.partition("^")[0].encode() if named else b""
    put(ds, [b"\0\0\0\x18ftypmp42" + bytes(1 << 21) + name + bytes(100)], "none")
    corpus.save(ds, tmp_path / "in" / "a.dcm")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert totals.written == written_files
    assert {helpers.read(path).PatientIdentityRemoved for path in helpers.outputs(tmp_path / "out")} <= {"NO"}


def test_compressed_pixels_of_a_stated_length_stay_out(tmp_path):
    ds = picture(JPEGBaseline8Bit, 1)
    put(ds, [b"\xff\xd8\xff\xfe\x00\x08Doe^Jo\xff\xd9"], "none")
    del ds[0xFFFCFFFC]
    path = corpus.save(ds, tmp_path / "in.dcm")
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    head, pixels = path.read_bytes().removesuffix(end).split(b"OB\0\0\xff\xff\xff\xff")
    path.write_bytes(head + b"OB\0\0" + struct.pack("<L", len(pixels)) + pixels)
    with pytest.raises(UnreadableError, match="not encapsulated"):
        deidentify(path, tmp_path / "out.dcm", helpers.rules())


def test_the_report_says_that_the_pixel_data_was_touched_and_only_then(tmp_path):
    ds = picture(JPEGBaseline8Bit)
    stream = b"\xff\xd8\xff\xdb\x00\x06abcd\xff\xd9"
    for name, frames in (("told", [with_comments(stream)] * FRAMES), ("plain", [stream] * FRAMES)):
        put(ds, frames, "basic")
        corpus.save(ds, tmp_path / f"{name}.dcm")
        done = deidentify(tmp_path / f"{name}.dcm", tmp_path / f"{name}.out", helpers.rules())
        assert (("cleaned", 0x7FE00010) in done.changes) is (name == "told")


# --- whatever a sender makes of it --------------------------------------------------------------------------------

PARTS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\xff\xd8",
            b"\xff\xd9",
            b"\xff\xfe\0\4ab",
            b"\xff\xda\0\2scan",
            j2k(True),
            j2k(True)[:60],
        ]
    ),
    st.sampled_from(
        [
            b"\xff\xd8\xff\xdb\x00\x06abcd\xff\xd9",
            with_comments(b"\xff\xd8\xff\xdb\x00\x06abcd\xff\xd9"),
            rle_frame()[:200],
        ]
    ),
)
FRAGMENTS = st.lists(st.lists(PARTS, max_size=3).map(b"".join), max_size=4)
TABLES = st.one_of(
    st.just(b""),
    st.lists(st.integers(0, 200), max_size=4).map(lambda all_of: struct.pack(f"<{len(all_of)}L", *all_of)),
)


def data_set(syntax: str, elements: list[tuple[int, str, bytes]], pixels: bytes) -> bytes:
    """A Part 10 file by hand, the pixel data as it is given."""
    coding = part10.CODINGS[False, False]
    meta = part10.encode_element(0x00020010, "UI", syntax.encode(), coding)
    return (
        bytes(128)
        + b"DICM"
        + meta
        + b"".join(part10.encode_element(*each, coding) for each in elements)
        + pixels
    )


def assembled(raw: bytes) -> bytes:
    layout = part10.layout_of(raw)
    pieces: list[Piece] = [Range(0, layout.end)]
    return b"".join(
        each if isinstance(each, bytes) else raw[each.start : each.stop]
        for each in only_pixels(layout, pieces, lambda data: SECRET in data)
    )


@settings(deadline=None)
@given(
    st.sampled_from(
        [JPEGBaseline8Bit, JPEG2000, RLELossless, "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1.98", ""]
    ),
    FRAGMENTS,
    TABLES,
    st.sampled_from([b"1", b"2", b"3", b"x", b""]),
    st.booleans(),
)
def test_pixel_data_of_any_bytes_comes_out_whole_and_clean_or_not_at_all(
    syntax, fragments, table, number, extended
):
    elements = [
        (0x00280008, "IS", number),
        *(
            (tag, "US", struct.pack("<H", value))
            for tag, value in ((0x00280010, 4), (0x00280011, 4), (0x00280100, 8))
        ),
    ]
    if extended:
        elements += [(0x7FE00001, "OV", bytes(8)), (0x7FE00002, "OV", bytes(8))]
    items = [each + b"\0" * (len(each) % 2) for each in (table, *fragments)]
    body = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(each)) + each for each in items)
    head = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    raw = data_set(syntax, elements, head + body + b"\xfe\xff\xdd\xe0\0\0\0\0")
    try:
        out = assembled(raw)
    except UnreadableError:
        return
    assert not part10.layout_of(out).defect
    assert SECRET not in out.partition(head)[2]
    assert assembled(out) == out
