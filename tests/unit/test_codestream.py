"""Comments in compressed pictures are found wherever they stand, and nothing else is touched."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.dicom import jpeg, jpeg2000, rle
from pacsifier.dicom.codestream import Found, StreamError


def edited(data: bytes, found: Found) -> bytes:
    out, pos = b"", 0
    for start, stop, new in found.edits:
        assert pos <= start <= stop
        out += data[pos:start] + new
        pos = stop
    return out + data[pos : found.end]


# --- JPEG ---------------------------------------------------------------------------------------------------------


def segment(marker: int, content: bytes, fill: int = 0) -> bytes:
    return b"\xff" * fill + bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"Adobe\0\x64\0\0\0\0\1"
NEEDED = [
    segment(0xE0, JFIF),
    segment(0xEE, ADOBE),
    segment(0xE2, b"ICC_PROFILE\0\1\1sRGB"),
    segment(0xDB, bytes(65)),
    segment(0xC4, bytes(20)),
    segment(0xDD, b"\0\4"),
    segment(0xC0, bytes(9)),
]
TELLING = st.builds(
    segment,
    st.sampled_from([0xFE, *range(0xE1, 0xF0), 0xE0]),
    st.binary(max_size=40).filter(lambda text: not text.startswith((b"JFIF", b"ICC_PROFILE", b"Adobe"))),
    st.integers(0, 3),
)
SCAN_DATA = st.binary(max_size=60).map(lambda raw: raw.replace(b"\xff", b"\xff\0"))
# In JPEG-LS a byte below 0x80 follows 0xFF: in JPEG it would be a marker.
LS_SCAN_DATA = st.lists(
    st.one_of(
        st.integers(0, 254).map(lambda value: bytes((value,))),
        st.integers(0, 127).map(lambda value: bytes((255, value))),
    ),
    max_size=40,
).map(b"".join)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream with comments, and the same without; scans with restarts, comments between scans."""
    is_ls = draw(st.booleans())
    parts = [*NEEDED[3:6], segment(0xF7, bytes(9)), segment(0xE8, b"mrfx\1")] if is_ls else NEEDED
    told, plain = b"\xff\xd8", b"\xff\xd8"
    for part in parts:
        told += b"".join(draw(st.lists(TELLING, max_size=2))) + part
        plain += part
    for _ in range(draw(st.integers(1, 3))):
        scan = segment(0xDA, bytes(6)) + draw(LS_SCAN_DATA if is_ls else SCAN_DATA) + b"\x01"
        scan += draw(st.sampled_from([b"", b"\xff\xd3\x02"]))
        told += scan + b"".join(draw(st.lists(TELLING, max_size=2)))
        plain += scan
    return told + b"\xff\xd9", plain + b"\xff\xd9"


@given(streams(), st.binary(max_size=9))
def test_a_jpeg_loses_its_comments_and_nothing_else(stream, tail):
    told, plain = stream
    found = jpeg.look(told + tail)
    assert found.end == len(told)
    assert edited(told + tail, found) == plain
    assert jpeg.look(plain).edits == ()


@pytest.mark.parametrize(
    ("marker", "content", "left"),
    [
        (0xE0, JFIF[:12] + b"\2\1" + b"pixels", JFIF),
        (0xE0, JFIF + b"Zimmerlin", JFIF),
        (0xE0, b"JFXX\0\x10thumbnail", None),
        (0xEE, ADOBE + b"Zimmerlin", ADOBE),
        (0xE1, b"Exif\0\0Zimmerlin", None),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>", None),
        (0xE2, b"MPF\0", None),
        (0xED, b"Photoshop 3.0\0", None),
        (0xE8, b"mrfx\1", None),
        (0xEE, b"other", None),
    ],
)
def test_application_data_stays_as_far_as_colours_need_it(marker, content, left):
    data = b"\xff\xd8" + segment(marker, content) + b"\xff\xd9"
    assert (
        edited(data, jpeg.look(data)) == b"\xff\xd8" + (segment(marker, left) if left else b"") + b"\xff\xd9"
    )


def test_a_jpeg_without_end_keeps_all_of_its_scan():
    data = b"\xff\xd8" + segment(0xFE, b"x") + segment(0xDA, bytes(6)) + b"scan"
    found = jpeg.look(data)
    assert found.end == len(data)
    assert b"scan" in edited(data, found)


@pytest.mark.parametrize(
    "rest",
    [
        segment(0xFE, b"cut")[:-1],
        b"\xff\xfe\x00\x01" + b"\xff\xd9",  # shorter than its own length
        segment(0xFE, b"whole"),  # nothing behind it
        b"Zimmerlin",
        segment(0xF7, bytes(9))[:3],
        segment(0xF4, b"unknown") + b"\xff\xd9",
        segment(0xF8, b"tables of JPEG-LS") + b"\xff\xd9",  # where no JPEG-LS is
        segment(0xC8, b"reserved") + b"\xff\xd9",
        segment(0x02, b"reserved") + b"\xff\xd9",
    ],
)
def test_what_is_cut_or_not_understood_in_a_jpeg_is_no_stream(rest):
    with pytest.raises(StreamError):
        jpeg.look(b"\xff\xd8" + rest)


@given(st.binary(max_size=80))
def test_any_bytes_have_an_end_or_are_no_stream(raw):
    looks = (
        (jpeg.look, b"\xff\xd8" + raw),
        (jpeg2000.look, b"\xff\x4f" + raw),
        (jpeg2000.look_into_boxes, raw),
        (lambda data: rle.look(data, 64), raw),
    )
    for look, data in looks:
        try:
            found = look(data)
        except StreamError:
            continue
        assert 0 <= found.end <= len(data)
        edited(data, found)


# --- JPEG 2000 ----------------------------------------------------------------------------------------------------


def j2k_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


COMMENT = st.binary(max_size=30).map(lambda text: j2k_segment(0xFF64, b"\0\1" + text))
MAIN = (j2k_segment(0xFF51, bytes(38)), j2k_segment(0xFF52, bytes(10)), j2k_segment(0xFF5C, bytes(4)))


@st.composite
def codestreams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A codestream with comments, and the same without: several tile-parts, lengths of them, and of packets."""
    number = draw(st.integers(1, 4))
    open_end, index, width = draw(st.booleans()), draw(st.integers(0, 2)), draw(st.sampled_from([2, 4]))
    tables = draw(st.integers(0, 2))
    packets = draw(
        st.lists(
            st.binary(max_size=30).map(lambda raw: raw.replace(b"\xff", b"\xfe")),
            min_size=number,
            max_size=number,
        )
    )
    comments = [draw(st.lists(COMMENT, max_size=2)) for _ in range(number)]
    main_comments = [draw(st.lists(COMMENT, max_size=2)) for _ in range(4)]

    def made(with_comments: bool) -> bytes:
        parts = []
        for at, data in enumerate(packets):
            head = b"".join(comments[at]) if with_comments else b""
            head += j2k_segment(0xFF58, b"\0" + bytes((len(data),)))
            length = 12 + len(head) + 2 + len(data)
            told = 0 if open_end and at == number - 1 else length
            parts.append(
                (
                    length,
                    j2k_segment(0xFF90, struct.pack(">HLBB", at, told, 0, 1)) + head + b"\xff\x93" + data,
                )
            )
        lengths = []
        for table in range(tables):
            mine = range(number)[table * number // tables : (table + 1) * number // tables]
            entries = b"".join(
                at.to_bytes(index, "big") + parts[at][0].to_bytes(width, "big")
                if index
                else parts[at][0].to_bytes(width, "big")
                for at in mine
            )
            lengths.append(
                j2k_segment(0xFF55, bytes((table, index << 4 | (0x40 if width == 4 else 0))) + entries)
            )
        between = [b"".join(each) if with_comments else b"" for each in main_comments]
        main = b"".join(part + each for part, each in zip((*MAIN, b"".join(lengths)), between, strict=True))
        return b"\xff\x4f" + main + b"".join(part for _, part in parts) + b"\xff\xd9"

    return made(True), made(False)


@given(codestreams(), st.binary(max_size=9))
def test_a_codestream_loses_its_comments_and_its_lengths_are_right(stream, tail):
    told, plain = stream
    found = jpeg2000.look(told + tail)
    assert edited(told + tail, found) == plain
    assert found.end == len(told)
    assert jpeg2000.look(plain).edits == ()


def tile_part(head: bytes, data: bytes, length: int | None = None) -> bytes:
    told = 12 + len(head) + 2 + len(data) if length is None else length
    return j2k_segment(0xFF90, struct.pack(">HLBB", 0, told, 0, 1)) + head + b"\xff\x93" + data


SOC, COM = b"\xff\x4f", j2k_segment(0xFF64, b"\0\1Zimmerlin")


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        # Without its end marker: to the end of the data.
        (SOC + MAIN[0] + COM + tile_part(b"", b"data"), SOC + MAIN[0] + tile_part(b"", b"data")),
        (SOC + COM + tile_part(COM, b"data", 0), SOC + tile_part(b"", b"data", 0)),
        (
            SOC + b"\xff\x30" + COM + tile_part(b"\xff\x31", b"data") + b"\xff\xd9",
            SOC + b"\xff\x30" + tile_part(b"\xff\x31", b"data") + b"\xff\xd9",
        ),
        (
            SOC + j2k_segment(0xFF59, b"") + COM + tile_part(b"", b"") + b"\xff\xd9",
            SOC + j2k_segment(0xFF59, b"") + tile_part(b"", b"") + b"\xff\xd9",
        ),
    ],
)
def test_codestreams_at_the_edge_of_the_standard_are_understood(told, plain):
    found = jpeg2000.look(told)
    assert (edited(told, found), found.end) == (plain, len(told))


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        MAIN[0][:-1],
        b"\xff\x64\x00\x01" + tile_part(b"", b""),
        j2k_segment(0xFF99, b"unknown") + tile_part(b"", b""),
        MAIN[0] + tile_part(COM, b"", 20) + b"\xff\xd9",  # ends in its own header
        MAIN[0] + tile_part(b"", b"data") + b"Zimmerlin",
        j2k_segment(0xFF55, b"\0\x40" + struct.pack(">L", 7)) + tile_part(COM, b"data") + b"\xff\xd9",
        j2k_segment(0xFF55, b"\0\x40" + struct.pack(">2L", 7, 7)) + tile_part(COM, b"data") + b"\xff\xd9",
    ],
)
def test_what_is_cut_or_not_understood_in_a_codestream_is_no_stream(rest):
    with pytest.raises(StreamError):
        jpeg2000.look(SOC + rest)


def test_tables_of_lengths_count_by_their_numbers_not_by_their_places():
    parts = [tile_part(COM, b"a"), tile_part(b"", b"bcd")]
    plain = [tile_part(b"", b"a"), parts[1]]

    def made(parts: list[bytes]) -> bytes:
        tables = [
            j2k_segment(0xFF55, bytes((at, 0x50, at)) + struct.pack(">L", len(part)))
            for at, part in enumerate(parts)
        ]
        return SOC + b"".join(reversed(tables)) + b"".join(parts) + b"\xff\xd9"

    assert edited(made(parts), jpeg2000.look(made(parts))) == made(plain)


def box(kind: bytes, content: bytes, size: int = 4) -> bytes:
    if size == 0:
        return struct.pack(">L", 0) + kind + content
    if size == 8:
        return struct.pack(">L4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">L", len(content) + 8) + kind + content


IHDR = box(b"ihdr", struct.pack(">LLHBBBB", 16, 16, 3, 7, 7, 0, 0))
COLR = box(b"colr", b"\1\0\0" + struct.pack(">L", 16))
PROFILE = box(b"colr", b"\2\0\0" + bytes(40))
CDEF = box(b"cdef", struct.pack(">H9H", 3, 0, 0, 1, 1, 0, 2, 2, 0, 3))
PCLR = box(b"pclr", struct.pack(">HB3B6B", 2, 3, 7, 7, 7, *range(6)))
RES = box(b"res ", box(b"resd", bytes(10)))
NAME, HEAD = b"Zimmerlin Ottilie 19700203", box(b"jP  ", b"\r\n\x87\n")
FTYP = box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
PLAIN = SOC + tile_part(b"", b"data") + b"\xff\xd9"


def jp2h(*boxes: bytes, size: int = 4) -> bytes:
    return box(b"jp2h", b"".join(boxes or (IHDR, COLR)), size)


INNER = (IHDR, box(b"bpcc", b"\7\7\7"), COLR, PROFILE, PCLR, box(b"cmap", bytes(12)), CDEF, RES)
TOLD = [
    box(b"xml ", b"<name>" + NAME + b"</name>"),
    box(b"xml ", NAME, 8),
    box(b"uuid", bytes(16) + NAME),
    box(b"lbl ", NAME),
    box(b"uinf", box(b"url ", NAME)),
    box(b"jp2h", box(b"xml ", NAME)),
    box(b"free", b""),
]


@given(
    st.lists(st.sampled_from(INNER), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(TOLD)), max_size=4),
    st.sampled_from([4, 8]),
)
def test_boxes_inside_the_header_of_a_picture_go_at_any_place(boxes, told, size):
    with_text = list(boxes)
    for place, each in told:
        with_text.insert(min(place, len(with_text)), each)
    data = HEAD + FTYP + jp2h(*with_text, size=size) + box(b"jp2c", PLAIN)
    found = jpeg2000.look_into_boxes(data)
    assert edited(data, found) == HEAD + FTYP + jp2h(*boxes, size=size) + box(b"jp2c", PLAIN)
    assert NAME not in found.kept


@pytest.mark.parametrize("inner", [IHDR, COLR, CDEF, PCLR, box(b"resd", bytes(10)), box(b"resc", bytes(10))])
@pytest.mark.parametrize("size", [4, 8])
def test_what_stands_behind_the_content_of_a_box_goes(inner, size):
    kind, content = inner[4:8], inner[8:]
    wrapped = (lambda each: box(b"res ", each)) if kind.startswith(b"res") else (lambda each: each)
    told, plain = (jp2h(wrapped(box(kind, content + tail, size))) for tail in (NAME, b""))
    data, after = (HEAD + FTYP + each + box(b"jp2c", PLAIN) for each in (told, plain))
    assert edited(data, jpeg2000.look_into_boxes(data)) == after


def test_what_stays_inside_the_header_of_a_picture_is_searched():
    data = HEAD + FTYP + jp2h(IHDR, box(b"colr", b"\2\0\0" + NAME)) + box(b"jp2c", PLAIN)
    assert NAME in jpeg2000.look_into_boxes(data).kept


@pytest.mark.parametrize("tail", [b"Zimm", b"Zimmerlin", b"jpx Zimmjp2 ", NAME, b"Z"])
@pytest.mark.parametrize("version", [bytes(4), b"Otti"])
def test_brands_of_a_file_are_known_ones(tail, version):
    data = HEAD + box(b"ftyp", b"jp2 " + version + b"jp2 " + tail) + jp2h() + box(b"jp2c", PLAIN)
    kept = b"jp2 \0\0\0\0jp2 " + (b"jpx jp2 " if b"jpx" in tail else b"")
    assert edited(data, jpeg2000.look_into_boxes(data)) == HEAD + box(b"ftyp", kept) + jp2h() + box(
        b"jp2c", PLAIN
    )


def test_a_file_of_an_unknown_brand_is_no_stream():
    with pytest.raises(StreamError):
        jpeg2000.look_into_boxes(HEAD + box(b"ftyp", b"Zimmerlin Ottili") + jp2h() + box(b"jp2c", PLAIN))


@given(codestreams(), st.sampled_from([0, 4, 8]))
def test_boxes_that_tell_of_the_picture_go(stream, size):
    told, plain = stream
    head = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    colours = jp2h()
    data = head + box(b"xml ", b"<name>Zimmerlin</name>") + colours + box(b"jp2c", told, size)
    if size:
        data += box(b"uuid", b"Exif Zimmerlin") + b"Zimmerlin"
    assert edited(data, jpeg2000.look_into_boxes(data)) == head + colours + box(b"jp2c", plain, size)


@pytest.mark.parametrize("size", [0, 4, 8])
def test_what_follows_the_codestream_in_its_box_goes(size):
    head, plain = box(b"jP  ", b"\r\n\x87\n"), SOC + tile_part(b"", b"data") + b"\xff\xd9"
    data = head + box(b"jp2c", plain + b"Zimmerlin", size)
    assert edited(data, jpeg2000.look_into_boxes(data)) == head + box(b"jp2c", plain, size)


def test_a_box_that_leads_nowhere_before_the_picture_is_no_stream():
    with pytest.raises(StreamError):
        jpeg2000.look_into_boxes(box(b"jP  ", b"\r\n\x87\n") + b"Zimmerlin Ottilie")


def test_boxes_around_jpeg_xl_go():
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    picture = box(b"jxlp", b"\0\0\0\0half") + box(b"jxlp", b"\x80\0\0\1half")
    told = head + box(b"Exif", b"Zimmerlin") + picture + box(b"brob", b"xml Zimmerlin") + box(b"jbrd", b"x")
    assert edited(told, jpeg2000.look_into_boxes(told)) == head + picture


# --- RLE ----------------------------------------------------------------------------------------------------------


RUNS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=128).map(lambda raw: (len(raw), bytes((len(raw) - 1,)) + raw)),
        st.integers(2, 128).map(lambda number: (number, bytes((257 - number, 7)))),
        st.just((0, b"\x80")),
    ),
    min_size=1,
    max_size=6,
)


@given(RUNS, st.integers(0, 14), st.binary(max_size=9))
def test_the_end_of_an_rle_frame_is_where_its_last_sample_is(runs, others, tail):
    samples = sum(number for number, _ in runs)
    segment = b"".join(raw for _, raw in runs)
    while runs and not runs[-1][0]:
        runs = runs[:-1]
    needed = b"".join(raw for _, raw in runs)
    offsets = [64 + 2 * at for at in range(others)] + [64 + 2 * others]
    head = struct.pack("<16L", len(offsets), *offsets, *[0] * (15 - len(offsets)))
    data = head + b"\0\7" * others + segment
    even = len(head) + 2 * others + len(needed) + len(needed) % 2
    assert rle.look(data + b"\0" * 9 + tail, samples).end == even
    assert rle.look(data, samples + 1).end == len(data)


@pytest.mark.parametrize(
    "head",
    [
        b"Zimmerlin",
        struct.pack("<16L", 0, *[0] * 15),
        struct.pack("<16L", 1, 70, *[0] * 14),
        struct.pack("<16L", 1, 64, *b"Zimmerlin Ott "),
    ],
)
def test_what_has_no_rle_header_is_no_rle(head):
    with pytest.raises(StreamError):
        rle.look(head.ljust(80, b"\0"), 9)
