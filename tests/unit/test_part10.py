"""`pacsifier.dicom.part10` against pydicom on all of its test files, against cuts at every boundary, and by fuzzing."""

from __future__ import annotations

import io
import itertools
import os
import random
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian

import pacsifier
from pacsifier.dicom import part10
from pacsifier.dicom.text import decode_text, encode_text

# SC_rgb_jpeg.dcm is implicit under an explicit transfer syntax, and pydicom says so each time.
pytestmark = pytest.mark.filterwarnings("ignore:Expected explicit VR:UserWarning")

DATA = Path(pydicom.__file__).parent / "data"
NO_DICOM = {".py", ".pyc", ".json", ".md", ".txt", ".dump", ".icc", ".gz"}
FILES = sorted(
    path
    for path in DATA.rglob("*")
    if path.is_file() and path.suffix not in NO_DICOM and path.name != "README"
)

# What pydicom ships broken, each looked at: name -> (what is wrong, what the walker must say).
BROKEN = {
    "MR_truncated.dcm": "cut at byte 9630 in (7FE0,0010)",  # its PixelData is 72 bytes short of the declared 8192
    "rtplan_truncated.dcm": "cut at byte 2129 in (300A,00B0)",  # ends within BeamSequence
    "chrJapMulti.dcm": "no pixel data behind (300E,0002)",  # CR images whose PixelData was taken out
    "chrJapMultiExplicitIR6.dcm": "no pixel data behind (300E,0002)",
    "chrKoreanMulti.dcm": "no pixel data behind (300E,0002)",
    "ExplVR_BigEndNoMeta.dcm": "no DICM prefix",  # bare data sets: no preamble, no meta
    "ExplVR_LitEndNoMeta.dcm": "no DICM prefix",
    "rtstruct.dcm": "no DICM prefix",
    "no_meta.dcm": "no DICM prefix",
}

ROWS, PIXEL_DATA = 0x00280010, 0x7FE00010
PIXELS = {0x7FE00008, 0x7FE00009, PIXEL_DATA}
PREAMBLE = bytes(128) + b"DICM"


def _ids(path: Path) -> str:
    return str(path.relative_to(DATA))


def _meta(transfer_syntax: str) -> bytes:
    uid = transfer_syntax.encode() + b"\0" * (len(transfer_syntax) % 2)
    return PREAMBLE + struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid


EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    _meta(uid)
    for uid in (
        part10.EXPLICIT_VR_LITTLE_ENDIAN,
        part10.IMPLICIT_VR_LITTLE_ENDIAN,
        part10.EXPLICIT_VR_BIG_ENDIAN,
        DeflatedExplicitVRLittleEndian,
    )
)


def _long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr, size) + value


def _short(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def _item(content: bytes) -> bytes:
    return _implicit(0xFFFEE000, content, 0xFFFFFFFF) + _implicit(0xFFFEE00D, b"")


SEQUENCE_END = _implicit(0xFFFEE0DD, b"")
PATIENT_ID = _short(0x00100020, b"LO", b"4711")


@pytest.fixture
def read(tmp_path):
    def read_bytes(content, *wanted):
        path = tmp_path / "object.dcm"
        path.write_bytes(content)
        return part10.read(path, wanted)

    return read_bytes


def _raw_elements(dataset):
    # Not get_item(): it converts what is empty, and then the VR is no longer the one of the file.
    return sorted(dataset._dict.items())


def _header_start(raw):
    """The byte where an element begins that pydicom read (it tells where the value begins)."""
    long_header = not raw.is_implicit_VR and part10._LENGTH_BYTES.get(str(raw.VR).encode(), 2) == 4
    return raw.value_tell - (12 if long_header else 8)


def _pydicom_read(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "_reading_validation_mode", pydicom.config.IGNORE)
        return pydicom.dcmread(path, force=True)


def _nested_starts(sequence):
    """Where items and elements begin inside sequences of undefined length."""
    for item in sequence:
        yield item.seq_item_tell
        for _, element in _raw_elements(item):
            if isinstance(element, RawDataElement):
                yield _header_start(element)
            elif element.VR == "SQ" and element.is_undefined_length:
                yield from _nested_starts(element.value)


def _boundaries(path):
    """The (tag, start) of top-level elements, and the starts of nested ones, as pydicom sees them."""
    dataset = _pydicom_read(path)
    top, nested = [], []
    for tag, element in _raw_elements(dataset):
        if isinstance(element, RawDataElement):
            top.append((int(tag), _header_start(element)))
        else:  # pydicom has looked into sequences of undefined length, and into SpecificCharacterSet
            long_header = element.VR == "SQ" and not dataset.original_encoding[0]
            top.append((int(tag), element.file_tell - (12 if long_header else 8)))
            nested.extend(_nested_starts(element.value) if element.VR == "SQ" else ())
    return sorted(top, key=lambda pair: pair[1]), sorted(nested)


def test_all_test_files_of_pydicom_are_at_hand():
    assert len(FILES) > 170
    assert set(BROKEN) <= {path.name for path in FILES}


# no_meta.dcm is a data set behind one stray byte: neither reads it.
@pytest.mark.parametrize("path", [path for path in FILES if path.name != "no_meta.dcm"], ids=_ids)
def test_every_raw_value_is_the_one_pydicom_reads_so_identity_is_never_misread(path):
    dataset = _pydicom_read(path)
    expected = {
        int(tag): element.value or b""
        for tag, element in _raw_elements(dataset)
        if isinstance(element, RawDataElement)
    }
    file = part10.read(path, set(dataset.keys()))
    if path.name in ("MR_truncated.dcm", "rtplan_truncated.dcm"):
        del expected[max(expected)]  # pydicom hands out the value that is cut, the walker does not
    assert {tag: file.values.get(tag) for tag in expected} == expected
    assert set(file.values) - set(expected) == {
        int(tag) for tag, element in _raw_elements(dataset) if not isinstance(element, RawDataElement)
    }
    assert file.transfer_syntax == dataset.file_meta.get("TransferSyntaxUID", "")
    assert file.size == path.stat().st_size


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_a_good_file_is_whole_and_a_broken_one_says_why(path):
    file = part10.read(path, ())
    assert file.defect == BROKEN.get(path.name, "")
    assert file.whole is (path.name not in BROKEN)
    assert file.is_part10 is (BROKEN.get(path.name) != "no DICM prefix")


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_text_is_what_pydicom_decodes_so_names_survive_every_character_set(path):
    dataset = _pydicom_read(path)
    file = part10.read(path, [0x00100010, 0x00080018])
    if "PatientName" in dataset:
        assert file.text(0x00100010).rstrip("=") == str(dataset.PatientName)
    if "SOPInstanceUID" in dataset:
        assert file.text(0x00080018) == dataset.SOPInstanceUID


@pytest.mark.parametrize(
    "path", [path for path in FILES if BROKEN.get(path.name, "") != "no DICM prefix"], ids=_ids
)
def test_a_cut_file_is_never_taken_for_whole(path, tmp_path):
    """A cut is missed only where the shorter file is legal.

    That is: between two top-level elements of the data set (of a tag that stands twice, pydicom tells the last
    place only), and not while Rows stands there without pixel data.
    Everything else must be found: cuts in the preamble, the meta group, element headers, values, sequences,
    items, fragments, and every top-level cut from Rows to PixelData.
    """
    content = path.read_bytes()
    offset = part10.read(path, ()).dataset_offset
    legal = _legal_cuts(path, content, offset)
    copy = tmp_path / "cut.dcm"
    copy.write_bytes(content)
    for cut in _cuts(path, content, offset):
        os.truncate(copy, cut)  # the cuts descend
        file = part10.read(copy, ())
        assert file.whole is (cut in legal), (cut, file.defect)


def _cuts(path, content, offset):
    size = len(content)
    starts = {0, 128, 132, offset, size}
    if part10.read(path, ()).transfer_syntax != DeflatedExplicitVRLittleEndian:
        top, nested = _boundaries(path)
        step = max(1, len(nested) // 60)
        starts |= {start for _, start in top} | set(nested[::step])
    near = {start + shift for start in starts for shift in (-1, 0, 1)}
    return sorted(
        (cut for cut in near | set(range(0, size, size // 100 or 1)) if 0 <= cut < size), reverse=True
    )


def _legal_cuts(path, content, offset):
    if part10.read(path, ()).transfer_syntax == DeflatedExplicitVRLittleEndian:
        stream = zlib.decompressobj(-15)
        stream.decompress(content[offset:])
        return {len(content) - len(stream.unused_data)}  # the trailer of gzip behind it is no part of it
    legal, seen = set(), set()
    for tag, start in _boundaries(path)[0]:
        if start > offset and (ROWS not in seen or seen & PIXELS):
            legal.add(start)
        seen.add(tag)
    return legal


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_a_file_read_through_the_window_reads_like_one_read_at_once(path, monkeypatch):
    wanted = [int(tag) for tag, _ in _raw_elements(_pydicom_read(path))]
    at_once = part10.read(path, wanted)
    monkeypatch.setattr(part10, "_HEAD", 140)
    monkeypatch.setattr(part10, "_WINDOW", 16)
    assert part10.read(path, wanted) == at_once


def test_half_a_gigabyte_of_pixels_is_neither_read_nor_copied(tmp_path):
    path = tmp_path / "large.dcm"
    header = EXPLICIT + PATIENT_ID + _short(ROWS, b"US", b"\0\2") + _long(PIXEL_DATA, b"OW", b"", 500 << 20)
    path.write_bytes(header)
    os.truncate(path, len(header) + (500 << 20))
    tracemalloc.start()
    file = part10.read(path, [0x00100020])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.whole
    assert file.text(0x00100020) == "4711"
    assert peak < 1 << 20
    os.truncate(path, len(header) + (500 << 20) - 1)
    assert part10.read(path, ()).defect == f"cut at byte {len(header) + (500 << 20) - 1} in (7FE0,0010)"


def _deflated(path, head, repeated=b"", times=0):
    """A deflated file that holds the head, and then a content so often."""
    stream = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    with path.open("wb") as file:
        file.write(DEFLATED + stream.compress(head) + stream.flush(zlib.Z_FULL_FLUSH))
        block = stream.compress(repeated) + stream.flush(zlib.Z_FULL_FLUSH)
        file.writelines(itertools.repeat(block, times))
        file.write(stream.flush())
    return path


_IN_LITTLE_MEMORY = """
import resource, sys, time
from pacsifier.dicom import part10
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (150 << 20), -1))
file = part10.read(sys.argv[1], [0x00100020])
print(file.text(0x00100020), file.defect, time.process_time() < 2, sep="|")
"""


def _read_in_little_memory(path):
    argv = [sys.executable, "-c", _IN_LITTLE_MEMORY, str(path)]
    ended = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip().split("|")


def test_a_few_bytes_that_inflate_to_gigabytes_are_a_defect_of_that_file_and_take_no_memory(tmp_path):
    head = PATIENT_ID + _long(PIXEL_DATA, b"OW", b"", 0xFFFFFFF0)
    bomb = _deflated(tmp_path / "bomb", head, bytes(1 << 20), 4096)
    assert bomb.stat().st_size < 20 << 20
    patient, defect, quick = _read_in_little_memory(bomb)
    assert (patient, quick) == ("4711", "True")
    assert defect.startswith("inflates beyond ")


def test_a_large_deflated_image_is_whole_without_lying_in_memory(tmp_path):
    header = PATIENT_ID + _short(ROWS, b"US", b"\0\2") + _long(PIXEL_DATA, b"OW", b"", 200 << 20)
    path = _deflated(tmp_path / "large", header, random.Random(1).randbytes(1 << 19) + bytes(7 << 19), 50)
    assert _read_in_little_memory(path) == ["4711", "", "True"]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert "cut" in _read_in_little_memory(path)[1]


@pytest.fixture
def through_marks(monkeypatch):
    """Nothing of a deflated data set is kept, and it comes in small pieces."""
    for name, value in {"_KEPT": 0, "_MARKED": 1 << 12, "_CHUNK": 1 << 10}.items():
        monkeypatch.setattr(part10, name, value)


def test_a_deflated_data_set_reads_the_same_where_it_is_not_kept_in_memory(tmp_path, through_marks):
    content = bytes(range(256)) * 300
    path = _deflated(tmp_path / "file", PATIENT_ID + _long(PIXEL_DATA, b"OW", content))
    with path.open("rb", buffering=0) as handle:
        layout = part10.layout(handle)
        assert (layout.defect, len(layout.source)) == ("", layout.elements[-1][5])
        begin, stop = layout.elements[-1][3:5]
        assert layout.source[begin:stop] == content
        for at in (70_000, 3, 5_000, 4_999, 76_795, 0):
            assert layout.source[begin + at : begin + at + 9] == content[at : at + 9]
        assert layout.source[layout.elements[0][3] : layout.elements[0][4]] == b"4711"
        assert layout.source[stop - 2 : stop + 10] == content[-2:]


def test_lengths_that_send_the_walk_to_and_fro_through_a_deflated_data_set_end_it(tmp_path, through_marks):
    odd = b"".join(struct.pack("<HH2sHL", 0x11, n, b"ZZ", 0xF000, 4) + b"odd." for n in range(4000))
    path = _deflated(tmp_path / "file", PATIENT_ID + odd + bytes(100_000))
    file = part10.read(path, [0x00100020])
    assert (file.text(0x00100020), file.defect) == (
        "4711",
        "lengths that lead to and fro in the deflated data set",
    )


def test_importing_the_walker_costs_no_foreign_library():
    code = "import sys, pacsifier.dicom.part10; print(*{'pydicom', 'numpy', 'pandas', 'pathlib'} & set(sys.modules))"
    home = Path(pacsifier.__file__).parents[1]
    argv = [sys.executable, "-S", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=home)
    assert done.stdout.strip() == ""


class TestWholeness:
    @pytest.mark.parametrize("content", [b"", b"\0", b"DICM", PREAMBLE[:-1], b"PK\3\4" + bytes(300)])
    def test_what_is_no_part_10_file_is_not_whole(self, read, content):
        file = read(content)
        assert not file.is_part10
        assert file.defect == "no DICM prefix"

    def test_a_header_without_data_set_is_not_whole(self, read):
        assert read(EXPLICIT).defect.startswith("no data set")
        assert not read(PREAMBLE).whole

    @pytest.mark.parametrize("padding", [2, 6, 8, 512, 70_000])
    def test_zeros_behind_the_last_element_do_no_harm(self, read, padding):
        assert read(EXPLICIT + PATIENT_ID + bytes(padding)).whole
        assert not read(EXPLICIT + PATIENT_ID + bytes(padding - 1) + b"\1").whole

    def test_data_set_trailing_padding_is_an_element(self, read):
        assert read(EXPLICIT + PATIENT_ID + _long(0xFFFCFFFC, b"OB", bytes(10))).whole

    def test_the_odd_zero_of_a_big_endian_tag_is_a_cut(self, read):
        dataset = struct.pack(">HH2sH4s", 0x10, 0x20, b"LO", 4, b"4711")
        assert read(BIG + dataset).whole
        assert not read(BIG + dataset + b"\0").whole

    @pytest.mark.parametrize("wrong", [None, 0, 4, 100_000])
    def test_a_wrong_or_missing_meta_group_length_is_no_matter(self, read, wrong):
        length = b"" if wrong is None else _short(0x00020000, b"UL", struct.pack("<L", wrong))
        file = read(PREAMBLE + length + EXPLICIT[132:] + PATIENT_ID, 0x00100020)
        assert file.whole
        assert file.text(0x00100020) == "4711"

    def test_wanted_meta_elements_are_given_too(self, read):
        assert read(EXPLICIT + PATIENT_ID, 0x00020010).text(0x00020010) == part10.EXPLICIT_VR_LITTLE_ENDIAN

    @pytest.mark.parametrize(
        ("meta", "dataset"),
        [
            (EXPLICIT, _implicit(0x00100020, b"4711")),
            (IMPLICIT, PATIENT_ID + _short(0x00100040, b"CS", b"M ")),
            (PREAMBLE, PATIENT_ID),
            (PREAMBLE, _implicit(0x00100020, b"4711")),
            (PREAMBLE, struct.pack(">HH2sH4s", 0x10, 0x20, b"LO", 4, b"4711")),
            (_meta("1.2.840.113619.5.2"), _implicit(0x00100020, b"4711")),  # GE private
            (_meta("1.2.3.4"), PATIENT_ID),
        ],
    )
    def test_a_wrong_missing_or_unknown_transfer_syntax_does_not_hide_the_patient(self, read, meta, dataset):
        file = read(meta + dataset, 0x00100020)
        assert file.whole
        assert file.text(0x00100020) == "4711"

    @pytest.mark.parametrize(
        "private",
        [
            _short(0x00091010, b"ZZ", b"abcd"),
            _long(0x00091010, b"ZZ", b"abcd"),
            _short(0x00091010, b"??", b"abcd"),
            _short(0x00091010, b"\0\0", b"abcd"),
            _implicit(0x00091010, b"abcd"),
        ],
    )
    def test_a_vr_outside_the_standard_does_not_end_the_walk(self, read, private):
        file = read(
            EXPLICIT + _short(0x00080060, b"CS", b"MR") + private + PATIENT_ID, 0x00100020, 0x00091010
        )
        assert file.whole
        assert file.values == {0x00100020: b"4711", 0x00091010: b"abcd"}

    @pytest.mark.parametrize(
        "sequence",
        [
            _long(0x00081140, b"SQ", _item(PATIENT_ID) + SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00081140, b"SQ", _item(b"") * 3 + SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00081140, b"SQ", SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00081140, b"SQ", _implicit(0xFFFEE000, PATIENT_ID) + SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00091010, b"UN", _item(_implicit(0x00100020, b"4711")) + SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00091010, b"UN", _item(PATIENT_ID * 1) + SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00081140, b"SQ", _item(_implicit(0x00100020, b"4711")) + SEQUENCE_END, 0xFFFFFFFF),
            _long(0x00081140, b"SQ", b"anything at all.", None),
        ],
    )
    def test_sequences_are_closed_or_broken(self, read, sequence):
        assert read(EXPLICIT + sequence).whole
        assert read(EXPLICIT + sequence + PATIENT_ID).whole
        for cut in range(1, len(sequence)):
            assert not read(EXPLICIT + sequence[:cut]).whole, cut

    def test_nested_undefined_lengths_in_implicit_un_are_followed(self, read):
        inner = _implicit(0x00091020, _item(_implicit(0x00100020, b"4711")) + SEQUENCE_END, 0xFFFFFFFF)
        outer = _long(0x00091010, b"UN", _item(inner) + SEQUENCE_END, 0xFFFFFFFF)
        assert read(EXPLICIT + outer + PATIENT_ID).whole

    def test_hostile_nesting_ends_in_a_defect(self, read):
        level = _long(0x00081140, b"SQ", _implicit(0xFFFEE000, b"", 0xFFFFFFFF), 0xFFFFFFFF)
        assert read(EXPLICIT + level * 100_000).defect.startswith("nested deeper than 512")

    def test_deep_honest_nesting_is_whole(self, read):
        level = _long(0x00081140, b"SQ", _implicit(0xFFFEE000, b"", 0xFFFFFFFF), 0xFFFFFFFF)
        close = _implicit(0xFFFEE00D, b"") + SEQUENCE_END
        assert read(EXPLICIT + level * 200 + close * 200).whole
        assert not read(EXPLICIT + level * 200 + close * 199).whole

    def test_a_cut_header_of_an_unannounced_implicit_element_is_no_empty_element(self, read):
        element = _implicit(0x00080008, b"DERIVED\\SECONDARY\\OTHER ")
        assert read(EXPLICIT + element).whole
        for cut in range(1, len(element)):
            assert not read(EXPLICIT + element[:cut]).whole, cut

    @pytest.mark.parametrize("stray", [SEQUENCE_END, _implicit(0xFFFEE00D, b""), _implicit(0xFFFEE000, b"")])
    def test_a_stray_item_is_a_defect(self, read, stray):
        assert read(EXPLICIT + PATIENT_ID + stray).defect.startswith("stray (FFFE,")

    def test_encapsulated_pixels_without_delimiter_are_short(self, read):
        fragments = _implicit(0xFFFEE000, b"") + _implicit(0xFFFEE000, b"\xff\xd8" + bytes(98))
        pixels = _long(PIXEL_DATA, b"OB", fragments, 0xFFFFFFFF)
        assert read(EXPLICIT + pixels + SEQUENCE_END).whole
        assert read(EXPLICIT + pixels).defect == f"cut at byte {len(EXPLICIT + pixels)} in (7FE0,0010)"

    def test_a_deflated_stream_must_end_and_be_whole_inside(self, read):
        def deflate(content):
            packer = zlib.compressobj(wbits=-15)
            return packer.compress(content) + packer.flush()

        stream = deflate(PATIENT_ID * 50)
        file = read(DEFLATED + stream, 0x00100020)
        assert file.whole
        assert file.text(0x00100020) == "4711"
        assert read(DEFLATED + stream + b"\0").whole
        assert not read(DEFLATED + stream + b"\1").whole
        assert "cut" in read(DEFLATED + stream[:-1]).defect
        assert "broken" in read(DEFLATED + b"\xff" * 50).defect
        assert read(DEFLATED + deflate(PATIENT_ID * 50 + PATIENT_ID[:-1])).defect.startswith("cut at byte")
        assert not read(DEFLATED).whole


class TestRowsWithoutPixels:
    IMAGE = (
        _short(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
        PATIENT_ID,
        _short(ROWS, b"US", b"\0\2"),
    )

    def test_an_image_without_its_pixels_is_short(self, read):
        assert read(EXPLICIT + b"".join(self.IMAGE)).defect == "no pixel data behind (0028,0010)"
        assert not read(EXPLICIT + b"".join(self.IMAGE[1:])).whole

    @pytest.mark.parametrize("tag", sorted(PIXELS))
    def test_each_of_the_three_pixel_elements_counts(self, read, tag):
        assert read(EXPLICIT + b"".join(self.IMAGE) + _long(tag, b"OW", bytes(8))).whole

    def test_the_offset_table_before_the_pixels_does_not_count(self, read):
        assert not read(EXPLICIT + b"".join(self.IMAGE) + _long(0x7FE00001, b"OV", bytes(8))).whole

    @pytest.mark.parametrize(
        "element",
        [
            _long(0x00287FE0, b"UR", b"http://pacs/jpip"),
            _long(0x56000020, b"OF", bytes(8)),
            _long(0x7FE11010, b"OB", bytes(8)),
            _long(0xFFFCFFFC, b"OB", bytes(8)),
        ],
        ids=["PixelDataProviderURL", "SpectroscopyData", "private data behind PixelData", "trailing padding"],
    )
    def test_objects_that_keep_their_data_elsewhere_are_whole(self, read, element):
        assert read(EXPLICIT + b"".join(self.IMAGE) + element).whole

    @pytest.mark.parametrize(
        "before",
        [
            _short(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.66"),
            _short(0x00080016, b"UI", b"1.3.46.670589.11.0.0.12.1\0"),
            _short(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0") + _short(0x00080052, b"CS", b"IMAGE "),
        ],
        ids=["Raw Data Storage", "private SOP class", "identifier of a C-FIND"],
    )
    def test_objects_that_need_no_pixels_are_whole(self, read, before):
        assert read(EXPLICIT + before + b"".join(self.IMAGE[1:])).whole

    @pytest.mark.parametrize("rows", [b"", b"\0\0"])
    def test_rows_without_a_number_asks_for_nothing(self, read, rows):
        assert read(EXPLICIT + _short(ROWS, b"US", rows)).whole


class TestText:
    def test_absent_empty_and_padded_values_are_told_apart(self, read):
        file = read(
            EXPLICIT
            + _short(0x00080018, b"UI", b"1.2\0")
            + _short(0x00100020, b"LO", b"  a\\b ")
            + PATIENT_ID[:0],
            0x00080018,
            0x00100020,
            0x00100010,
        )
        assert file.text(0x00080018) == "1.2"
        assert file.text(0x00100020) == "  a\\b"
        assert file.text(0x00100010) is None
        assert read(EXPLICIT + _short(0x00100020, b"LO", b""), 0x00100020).text(0x00100020) == ""

    def test_the_files_own_character_set_is_used_though_nobody_asked_for_it(self, read):
        content = EXPLICIT + _short(0x00080005, b"CS", b"ISO_IR 144")
        file = read(content + _short(0x00100010, b"PN", "Люк".encode("iso8859_5") + b" "), 0x00100010)
        assert file.text(0x00100010) == "Люк"
        assert set(file.values) == {0x00100010}

    @pytest.mark.parametrize(
        ("character_set", "codec", "text"),
        [
            (b"ISO_IR 100", "latin_1", "Müller"),
            (b"ISO_IR 101", "iso8859_2", "Čapek"),
            (b"ISO_IR 109", "iso8859_3", "Ġorġ"),
            (b"ISO_IR 110", "iso8859_4", "Ķēniņš"),
            (b"ISO_IR 144", "iso8859_5", "Люк"),
            (b"ISO_IR 127", "iso8859_6", "قباني"),
            (b"ISO_IR 126", "iso8859_7", "Διονυσιος"),
            (b"ISO_IR 138", "iso8859_8", "שרון"),
            (b"ISO_IR 148", "iso8859_9", "Çavuşoğlu"),
            (b"ISO_IR 13", "shift_jis", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
            (b"ISO_IR 166", "tis_620", "สมชาย"),
            (b"ISO_IR 192", "utf_8", "山田^太郎 Ω"),
            (b"GB18030", "gb18030", "王^小东"),
            (b"GBK ", "gbk", "王^小东"),
            (b"ISO 2022 IR 100", "latin_1", "Müller"),
            (b"ISO_IR_100", "latin_1", "Müller"),
            (b"ISO-IR 192", "utf_8", "Müller"),
            (b"", "utf_8", "Müller"),
            (b"", "latin_1", "Müller"),
            (b"ISO_IR 6", "latin_1", "Müller"),
            (b"NO SUCH SET", "utf_8", "Müller"),
            (b"\\ISO 2022 IR 87", "iso2022_jp", "Yamada^Tarou=山田^太郎"),
            (b"ISO 2022 IR 6\\ISO 2022 IR 159", "iso2022_jp_2", "丂"),
            (b"ISO 2022 IR 100\\ISO 2022 IR 126", "latin_1", "Müller"),
        ],
    )
    def test_names_are_decoded_by_their_character_set(self, character_set, codec, text):
        assert decode_text(text.encode(codec), character_set) == text

    def test_several_single_byte_sets_switch_by_escape_sequences(self):
        raw = b"Dionysios=\x1b\x2d\x46" + "Διονυσιος".encode("iso8859_7")
        assert decode_text(raw, b"ISO 2022 IR 100\\ISO 2022 IR 126") == "Dionysios=Διονυσιος"

    @given(
        st.binary(max_size=40), st.binary(max_size=40) | st.sampled_from([b"\\ISO 2022 IR 87", b"ISO_IR 192"])
    )
    def test_no_bytes_make_decoding_fail(self, raw, character_sets):
        assert isinstance(decode_text(raw, character_sets), str)

    @given(st.text(st.characters(codec="utf-8"), max_size=40).filter(lambda text: "\x1b" not in text))
    def test_text_survives_encoding_and_decoding(self, text):
        character_set, raw = encode_text(text)
        assert decode_text(raw, character_set.encode()) == text

    def test_the_plainest_character_set_is_chosen(self):
        assert encode_text("Skywalker") == ("", b"Skywalker")
        assert encode_text("Müller") == ("ISO_IR 100", "Müller".encode("latin_1"))
        assert encode_text("山田") == ("ISO_IR 192", "山田".encode())


class TestEncode:
    IDENTIFIER = (
        (0x0020000D, "UI", b"1.2.3"),
        (0x00080052, "CS", b"STUDY"),
        (0x00100010, "PN", "*Müller*".encode("latin_1")),
        (0x00080005, "CS", b"ISO_IR 100"),
        (0x00081140, "SQ", b""),
        (0x00091010, "UN", b"abc"),
        (0x00201206, "IS", b""),
    )

    def test_pydicom_reads_what_is_written(self):
        dataset = pydicom.dcmread(io.BytesIO(part10.encode(self.IDENTIFIER)))
        assert dataset.file_meta.TransferSyntaxUID == part10.EXPLICIT_VR_LITTLE_ENDIAN
        assert dataset.QueryRetrieveLevel == "STUDY"
        assert dataset.PatientName == "*Müller*"
        assert dataset.StudyInstanceUID == "1.2.3"
        assert list(dataset.keys()) == sorted(tag for tag, _, _ in self.IDENTIFIER)

    @pytest.mark.skipif(shutil.which("dcmdump") is None, reason="needs DCMTK")
    def test_dcmtk_reads_what_is_written_so_findscu_can_send_it(self, tmp_path):
        path = tmp_path / "identifier.dcm"
        path.write_bytes(part10.encode(self.IDENTIFIER))
        done = subprocess.run(
            ["dcmdump", "-E", "+U8", str(path)], capture_output=True, text=True, check=True, timeout=20
        )
        assert done.stderr == ""
        assert "(0008,0052) CS [STUDY]" in done.stdout
        assert "(0020,000d) UI [1.2.3]" in done.stdout
        assert "(0009,1010) UN 61\\62\\63\\00" in done.stdout

    values = st.dictionaries(
        st.integers(0x00080000, 0x7FDFFFFF),
        st.tuples(st.sampled_from(["LO", "UN", "UT", "UI"]), st.binary(max_size=9)),
    )

    @given(values.filter(bool))
    def test_the_walker_reads_what_is_written(self, elements):
        for needed in part10._NEEDED:
            elements.pop(needed, None)
        content = part10.encode([(tag, vr, raw) for tag, (vr, raw) in elements.items()])
        dataset = part10.parse_dataset(
            content, len(part10.encode(())), part10.EXPLICIT_VR_LITTLE_ENDIAN, elements
        )
        assert dataset.whole or not elements
        for tag, (vr, raw) in elements.items():
            pad = b" " if vr in ("LO", "UT") else b"\0"
            assert dataset.values[tag] == raw + pad * (len(raw) % 2)

    @pytest.mark.parametrize(
        "elements",
        [
            [(0x00100020, "LO", bytes(0xFFFF))],
            [(0x00100020, "XX", b"")],
            [(0x00020010, "UI", b"1.2")],
            [(0xFFFEE000, "UN", b"")],
            [(0x00100020, "LO", b"a"), (0x00100020, "LO", b"b")],
        ],
    )
    def test_what_cannot_be_written_is_refused(self, elements):
        with pytest.raises(ValueError, match=r"."):
            part10.encode(elements)

    @pytest.mark.parametrize(
        ("implicit", "big", "vr", "length", "fits"),
        [
            (False, False, "LO", 0xFFFE, True),
            (False, False, "LO", 0xFFFF, False),
            (False, True, "LO", 0x10000, False),
            (True, False, "LO", 0x10000, True),
            (False, False, "UT", 0x10000, True),
            (False, False, "XX", 2, False),
            (True, False, "XX", 2, False),
        ],
    )
    def test_an_element_too_long_for_its_length_field_is_refused_in_every_coding(
        self, implicit, big, vr, length, fits
    ):
        coding = part10.CODINGS[implicit, big]
        if fits:
            encoded = part10.encode_element(0x00100020, vr, bytes(length), coding)
            assert part10.header(encoded, 0, coding)[3] == length
        else:
            with pytest.raises(ValueError, match=r"\(0010,0020\): no VR"):
                part10.encode_element(0x00100020, vr, bytes(length), coding)


class TestLayout:
    def test_a_value_is_found_by_its_tag_and_the_last_element_ends_where_padding_begins(self):
        content = EXPLICIT + PATIENT_ID + _short(0x00100040, b"CS", b"F ")
        layout = part10.layout_of(content + bytes(10))
        assert layout.value(0x00100040) == b"F "
        assert layout.value(0x00100041) is None
        assert layout.end == len(content)

    @pytest.mark.parametrize(("name", "compressed"), [("JPEG2000.dcm", True), ("MR_small.dcm", False)])
    def test_pixel_data_of_undefined_length_is_compressed(self, name, compressed):
        raw = (DATA / "test_files" / name).read_bytes()
        assert part10.layout_of(raw).is_compressed is compressed

    def test_without_pixel_data_nothing_is_compressed(self):
        assert not part10.layout_of(EXPLICIT + PATIENT_ID).is_compressed


class TestDatasetBytesEqual:
    def _write(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    def test_only_the_data_set_counts(self, tmp_path):
        body = PATIENT_ID + _long(0x00091010, b"OB", bytes(3 << 20))
        one = self._write(tmp_path, "a", EXPLICIT + body)
        source = _short(0x00020016, b"AE", b"RECEIVER")
        assert part10.dataset_bytes_equal(one, self._write(tmp_path, "b", EXPLICIT + source + body))
        for other in (
            EXPLICIT + body[:-1] + b"\1",
            EXPLICIT + body[:-2],
            IMPLICIT + body,
            EXPLICIT + body + b"\0\0",
        ):
            assert not part10.dataset_bytes_equal(one, self._write(tmp_path, "b", other))

    def test_a_missing_file_is_an_error_not_a_difference(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            part10.dataset_bytes_equal(tmp_path / "absent", tmp_path / "absent")
        with pytest.raises(FileNotFoundError):
            part10.read(tmp_path / "absent", ())
        with pytest.raises(IsADirectoryError):
            part10.read(tmp_path, ())


SEEDS = [
    (DATA / "test_files" / name).read_bytes()
    for name in (
        "MR_small_implicit.dcm",
        "JPEG2000.dcm",
        "ExplVR_BigEnd.dcm",
        "reportsi.dcm",
        "image_dfl.dcm",
        "nested_priv_SQ.dcm",
        "UN_sequence.dcm",
    )
]
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 20), st.binary(max_size=20)),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from([b"", PREAMBLE, EXPLICIT, IMPLICIT, BIG, DEFLATED]), st.binary(max_size=300))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_whatever_make_the_walker_fail(tmp_path_factory, prefix, tail):
    path = tmp_path_factory.getbasetemp() / "fuzz.dcm"
    path.write_bytes(prefix + tail)
    file = part10.read(path, [0x00100020, PIXEL_DATA])
    assert file.size == len(prefix + tail)
    assert prefix or not file.whole


@given(st.sampled_from(SEEDS), EDITS)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_no_damage_to_a_real_file_makes_the_walker_fail(tmp_path_factory, seed, edits):
    content = bytearray(seed)
    for place, gone, new in edits:
        at = int(place * min(len(content), 4000))
        content[at : at + gone] = new
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(content)
    at_once = part10.read(path, [0x00100010, 0x00080018])
    at_once.text(0x00100010)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part10, "_HEAD", 140)
        patch.setattr(part10, "_WINDOW", 16)
        windowed = part10.read(path, [0x00100010, 0x00080018])
    assert windowed.defect == at_once.defect
    if "deflated" not in at_once.defect:  # how much of a broken stream comes out hangs on the chunks
        assert windowed == at_once
