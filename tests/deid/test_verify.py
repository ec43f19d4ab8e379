"""The proof is right: no false alarm over what rightly stays, no miss of what is left."""

from __future__ import annotations

import re
import string
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEGBaseline8Bit

from pacsifier.deidentify.engine import uids
from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.profile import Options
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.model import Maps
from pacsifier.deidentify.searching import uids_in
from pacsifier.deidentify.verify import Verifier
from tests.deid import corpus, helpers
from tests.deid.test_constants import SYNTAXES, image, private
from tests.deid.test_patients_and_reports import put

UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
CREATOR = "Philips MR Imaging DD 005"


def subject(shift: int = 5, **more: object) -> Subject:
    """The patient that the images of `image` show."""
    known = Identifiers(days={"20190307", "19610317"}, births={"19610317"})
    known.add_name("Quetzaltenango^Ysolde")
    known.add_id("8841177")
    known.add_id("1000")
    return Subject("x", "P1", shift, 1, False, known, {"20190307": "20190312", "19610317": "19610318"})


def clean(syntax: str = ExplicitVRLittleEndian) -> Dataset:
    return image(
        syntax, PatientID="P1", PatientName="P1^sub", PatientBirthDate="19610318", StudyDate="20190312"
    )


def hits(ds: Dataset, folder: Path, who: Subject | None = None) -> set[str]:
    """The kinds of hits in a file; pydicom, which reads the first file of a task too, finds no others."""
    names = tuple(f"sub-{(who or subject()).new_id}/{each}.dcm" for each in "abc")
    for name in names:
        corpus.save(ds, folder / name)
    verifier = Verifier(folder, names_kept=False, old_uids=frozenset((corpus.uid(3),)))
    found = verifier((who or subject(), names))[1]
    by_pydicom, walked, remembered = ({what for name, _, what in found if name == each} for each in names)
    assert by_pydicom == walked == remembered
    return walked


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("vr", "value", "what"),
    [
        ("LO", "of Ysolde", "known identifier"),
        ("LO", "no 8841177", "known identifier"),
        ("LO", "Quetzaltenangos", "known identifier"),
        ("SH", "1000", "known identifier"),
        ("UN", b"no 8841177", "known identifier"),
        ("OB", b"\1\2\3Quetzaltenango\1", "known identifier"),
        ("OB", "\1\2Quetzaltenango".encode("utf_16_le"), "known identifier"),
        ("IS", "8841177", "known identifier"),
        ("LO", "20190307102000", "known date"),
        ("LO", "on 2019-03-07", "known date"),
        ("LO", "7.3.2019", "known date"),
        ("UN", b"scan=20190307102000\0", "known date"),
        ("OB", b"\1\2" * 2000 + b"20190307102000", "known date"),
        ("OB", b"\1\2" * 2000 + b"20190307", "known date"),
        ("OW", "20190307".encode("utf_16_le"), "known date"),
        ("IS", "20190307", "known date"),
        ("UL", 20190307, "known date"),
        ("DA", "19610317", "known date"),
        ("LO", "19610317000000", "known date"),
    ],
)
def test_what_is_left_is_found_whatever_it_is_dressed_in(tmp_path, syntax, vr, value, what):
    ds = private(clean(syntax), 0x2005, CREATOR, 0x90, vr, value)
    nested = clean(syntax)
    nested.SharedFunctionalGroupsSequence = Sequence([private(Dataset(), 0x2005, CREATOR, 0x90, vr, value)])
    if syntax != SYNTAXES[1] or vr not in ("UL",):  # in Implicit VR no VR tells that it is a number
        assert what in hits(ds, tmp_path / "a")
        assert what in hits(nested, tmp_path / "b")


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("IS", ["1000", "8"]),
        ("DS", "1000"),
        ("US", 1000),
        ("FD", 1000.0),
        ("LO", "b10001 18841177 88411770"),
        ("OB", b"188411770 120190307 2019030799"),
        ("UI", "2.25.18841177000112233445566778899"),
        ("OB", uids.same_length_uid(b"k" * 32, "1.2.3.8841177.20190307.1234").encode()),
        ("LO", "20190312102000"),
        ("DA", "20190312"),
        ("DA", "20190307"),
    ],
)
def test_what_rightly_stays_is_no_hit(tmp_path, syntax, vr, value):
    ds = private(clean(syntax), 0x2005, CREATOR, 0x90, vr, value)
    # In Implicit VR no VR tells a measure from a number of somebody, nor a date that has moved.
    if syntax != SYNTAXES[1] or vr not in ("IS", "DS", "DA"):
        assert hits(ds, tmp_path) == set()


def test_a_number_within_a_uid_of_ours_is_no_hit(tmp_path):
    ds = clean()
    ds.FrameOfReferenceUID = "2.25.8841177"
    ds.SeriesInstanceUID = "2.25.1388411770003344556677889900112233"
    assert hits(ds, tmp_path) == set()


def test_a_pseudonym_that_the_user_insisted_on_is_no_hit(tmp_path):
    put(tmp_path / "in", "sub-8812345/a.dcm", PatientID="8812345")
    maps = Maps(new_ids={"8812345": "PROJ-8812345"})
    totals = helpers.run(
        tmp_path / "in", tmp_path / "out", maps=maps, verify=True, allow_identifying_ids=True
    )
    assert (totals.written, totals.hits) == (1, 0)
    ds = private(clean(), 0x2005, CREATOR, 0x90, "LO", "of 8841177")
    ds.PatientID, ds.PatientName = "X-8841177", "X-8841177^sub"
    who = Subject("x", "X-8841177", 5, 1, False, subject().known, subject().moved_days)
    assert "known identifier" in hits(ds, tmp_path / "b", who)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def jpeg(comment: bytes, trailer: bytes = b"") -> bytes:
    """The frame of a JPEG as far as its segments go: a large table, a comment, a scan."""
    table = segment(0xE2, b"ICC" + bytes(30_000))
    made = (
        b"\xff\xd8"
        + table
        + segment(0xFE, comment)
        + segment(0xDA, bytes(8))
        + b"\x12" * 500
        + b"\xff\xd9"
        + trailer
    )
    return made + bytes(len(made) % 2)


def jpeg2000(comment: bytes) -> bytes:
    made = (
        b"\xff\x4f"
        + segment(0x51, bytes(30_000))
        + segment(0x64, b"\0\1" + comment)
        + segment(0x90, bytes(8))
    )
    made += b"\x12" * 500 + b"\xff\xd9"
    return made + bytes(len(made) % 2)


def boxed(text: bytes) -> bytes:
    """A picture in boxes, one of them in the box of its header."""
    made = b""
    for kind, content in (
        (b"jP  ", b"\r\n\x87\n"),
        (b"jp2h", struct.pack(">L4s", len(text) + 8, b"xml ") + text),
        (b"jp2c", jpeg2000(b"nothing")),
    ):
        made += struct.pack(">L4s", len(content) + 8, kind) + content
    return made + bytes(len(made) % 2)


@pytest.mark.parametrize("frame", [0, 1, 2])
@pytest.mark.parametrize("what", [b"of Quetzaltenango", b"scan=20190307102000", b"no 8841177"])
@pytest.mark.parametrize(
    ("syntax", "make"),
    [
        (JPEGBaseline8Bit, jpeg),
        (JPEG2000, jpeg2000),
        (JPEG2000, boxed),
        (JPEGBaseline8Bit, lambda text: jpeg(b"", text)),
    ],
)
def test_comments_of_any_frame_are_looked_at(tmp_path, frame, what, syntax, make):
    ds = clean()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Rows = ds.Columns = 16
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.BitsAllocated, ds.BitsStored = 1, "MONOCHROME2", 8, 8
    ds.HighBit, ds.PixelRepresentation, ds.NumberOfFrames = 7, 0, 3
    ds.PixelData = encapsulate([make(what if number == frame else b"nothing") for number in range(3)])
    ds["PixelData"].is_undefined_length = True
    assert hits(ds, tmp_path)
    ds.PixelData = encapsulate([make(b"nothing")] * 3)
    assert not hits(ds, tmp_path / "without")


WORDS = st.text(string.ascii_letters, min_size=6, max_size=12)
NUMBERS = st.from_regex(r"[1-9][0-9]{5,9}", fullmatch=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    NUMBERS,
    st.sampled_from(("", "x", " ", "_", "=", "\\", "1", "0")),
    st.sampled_from(("", "x", " ", "7", ";")),
)
def test_numbers_are_found_by_their_borders(tmp_path, number, before, behind):
    known = Identifiers()
    known.add_id(number)
    who = Subject("x", "P1", 0, 1, False, known)
    text = f"{before}{number}{behind}"
    alone = before != "1" and behind != "7" and before != "0"
    ds = private(
        clean(), 0x2005, CREATOR, 0x90, "OB", b"\1\2" * 700 + text.encode() + b"\0" * (len(text) % 2)
    )
    assert bool(hits(ds, tmp_path, who)) == alone


@settings(max_examples=300)
@given(st.text("0127.x", max_size=40))
def test_every_uid_in_bytes_is_seen_as_long_as_it_goes(text):
    runs = {run.strip(".") for run in re.findall("[0-9.]+", text)}
    whole = {run.encode() for run in runs if ".." not in run and run.count(".") > 1}
    assert whole <= uids_in(text.encode())


PIECES = (
    *("quetzal", "tenango", "QUETZAL", "ysolde", "massen", "Maßen", "山田", "太", "郎", "ab", "12", "x9"),
    *(" ", "_", "-", "/", ".", "^", "0", "0088", "41", "177", "8", "17", "2019", "03", "07", "7", "1961"),
    *("march", "März", "1020"),
)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.booleans())
def test_what_is_looked_for_first_hides_nothing_from_the_pattern(text, with_days):
    known = Identifiers(days={"20190307", "19610317"} if with_days else set())
    known.add_name("Quetzal-tenango^Ysolde Maßen=山田^太郎")
    for each in ("0088 41-177", "8841177", "AB/12_x9"):
        known.add_id(each)
    matcher, folded = Matcher(known, {}), fold_for_search(text)
    by_pattern = [match.span() for match in matcher._pattern(matcher._marks).finditer(folded)]
    if folded.strip() in known.wholes:
        by_pattern = [(0, len(text))]
    spans = matcher.spans(text)
    if with_days:
        # Days in words and with other signs are found beside what the pattern finds.
        seen = {at for start, stop in spans for at in range(start, stop)}
        assert len(folded) != len(text) or seen >= {at for span in by_pattern for at in range(*span)}
        return
    assert len(spans) == len(by_pattern)
    assert len(folded) != len(text) or spans == by_pattern


def test_a_file_that_is_not_whole_is_a_hit(tmp_path):
    corpus.save(clean(), tmp_path / "sub-P1" / "a.dcm")
    whole = (tmp_path / "sub-P1" / "a.dcm").read_bytes()
    (tmp_path / "sub-P1" / "b.dcm").write_bytes(whole[:-700])
    verifier = Verifier(tmp_path, names_kept=False, old_uids=frozenset())
    found = verifier((subject(), ("sub-P1/a.dcm", "sub-P1/b.dcm")))[1]
    assert [(name, tag) for name, tag, _ in found] == [("sub-P1/b.dcm", "the whole file")]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_stands_in_a_uid_or_before_the_data_set_is_found(tmp_path, syntax):
    ds = clean(syntax)
    ds.SynchronizationFrameOfReferenceUID = corpus.uid(3)
    assert hits(ds, tmp_path / "a") == {"old UID"}
    ds = clean(syntax)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = corpus.uid(3)
    assert hits(ds, tmp_path / "b") == {"old UID"}
    ds = clean(syntax)
    ds.file_meta.SourceApplicationEntityTitle = "QUETZALTENANGO"
    assert hits(ds, tmp_path / "c") == {"known identifier"}


def test_the_summary_says_what_is_not_looked_at(tmp_path):
    put(tmp_path / "in", "sub-x/a.dcm")
    totals = helpers.run(tmp_path / "in", tmp_path / "out", Options(), verify=True)
    assert any("what the pixels show is not looked at" in line for line in totals.lines())


@pytest.mark.parametrize("who", [{"PatientID": "1000"}, {"StudyID": "1000"}, {"AccessionNumber": "1000"}])
@pytest.mark.parametrize(
    "text", ["ep2d_diff_b1000", "DTI TE1000 b1000", "t2 TR1000 b0 b1000", "bval1000 ADC"]
)
def test_numbers_of_the_acquisition_that_descriptions_keep_are_no_hits(tmp_path, who, text):
    put(tmp_path / "in", "sub-x/a.dcm", **who, SeriesDescription=text, SeriesNumber=3)
    totals = helpers.run(tmp_path / "in", tmp_path / "out", verify=True)
    assert totals.hits == 0, (tmp_path / "out.verify_report.csv").read_text()
    (image,) = helpers.outputs(tmp_path / "out")
    assert helpers.read(image).SeriesDescription == text


@pytest.mark.parametrize("text", ["x1000", "1000 b1000", "b1000 1000", "b 1000", "diff 1000"])
def test_another_number_beside_them_is_a_hit(tmp_path, text):
    ds = clean()
    ds.SeriesDescription = text
    assert "known identifier" in hits(ds, tmp_path)


@pytest.mark.parametrize("number", ["45152", "8812"])
def test_uids_that_are_retained_are_no_hits_in_the_name_of_a_file(tmp_path, number):
    uid = f"1.3.12.2.1107.5.2.19.{number}.2"
    values = {each: f"{uid}.{at}" for at, each in enumerate(UIDS)}
    put(tmp_path / "in", "sub-x/a.dcm", DeviceSerialNumber=number, **values)
    totals = helpers.run(tmp_path / "in", tmp_path / "out", Options(retain_uids=True), verify=True)
    assert totals.hits == 0, (tmp_path / "out.verify_report.csv").read_text()
    assert helpers.outputs(tmp_path / "out")[0].name == f"{uid}.0.dcm"


def test_what_stands_beside_the_uid_in_the_name_of_a_file_is_a_hit(tmp_path):
    ds = clean()
    name = f"sub-P1/ses-1/{ds.SOPInstanceUID} Ysolde.dcm"
    corpus.save(ds, tmp_path / name)
    found = Verifier(tmp_path, names_kept=False, old_uids=frozenset())((subject(), (name,)))[1]
    assert found == [(name, "name of the file", "known identifier")]


@pytest.mark.parametrize(
    "name", ["Pacsifier^Table", "Edition^Pacsifier", "Attributes^Retained", "Table^Basic"]
)
@pytest.mark.parametrize("options", [Options(), Options(fuzz_dates=True, safe_private=True)])
def test_what_we_write_of_ourselves_is_no_hit(tmp_path, name, options):
    put(tmp_path / "in", "sub-x/a.dcm", PatientName=name)
    totals = helpers.run(tmp_path / "in", tmp_path / "out", options, verify=True)
    assert totals.hits == 0, (tmp_path / "out.verify_report.csv").read_text()
