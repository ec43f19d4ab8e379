"""Identifiers where nobody expects them, a file a place: in odd spellings, under wrong VRs, inside other bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from deid import corpus, helpers
from pacsifier.deidentify.engine.profile import Options

KEEPING = Options(retain_descriptors=True)


def _out(ds: Dataset | bytes, folder: Path, options: Options = KEEPING) -> bytes:
    """The bytes of the output of one instance; b"" where it was left out."""
    path = folder / "in" / "sub-x" / "a.dcm"
    path.parent.mkdir(parents=True)
    if isinstance(ds, bytes):
        path.write_bytes(ds)
    else:
        corpus.save(ds, path)
    helpers.run(folder / "in", folder / "out", options, verify=True)
    return b"".join(each.read_bytes() for each in helpers.outputs(folder / "out"))


def _named(name: str, character_sets: str = "ISO_IR 192") -> Dataset:
    ds = corpus.mr(1)
    ds.SpecificCharacterSet, ds.PatientName = character_sets, name
    return ds


# --- spellings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("Müllerin^Jörg", "Muellerin"),
        ("MUELLERIN^JOERG", "Müllerin"),
        ("Groß^Änne", "Gross"),
        ("Łukasiewicz^Bożena", "Lukasiewicz"),
        ("Ångström^Bjørn", "Bjorn"),
        ("Sørensen^Ægir", "Soerensen"),
        ("Quetzal^Ysolde", "QuetzalYsolde"),
        ("Quetzal^Ysolde", "ysoldequetzal"),
        ("Li^Wu", "Li Wu"),
        ("Li^Wu", "Wu Li"),
        ("Li^Wu", "WU_LI"),
        ("O'Hara-Quetzal^Ysolde", "OHaraQuetzal"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎"),
        ("van der Quetzal^Ysolde", "vanderquetzal"),
        ("Quetzal^Ysolde", "quetzal.ysolde@spital.example"),
        ("Quetzal^Ysolde", '{"patient": {"family": "QUETZAL", "given": "Ysolde"}}'),
    ],
)
def test_a_name_spelled_in_another_way_is_found(name, spelled, tmp_path):
    ds = _named(name)
    ds.StudyDescription = f"head {spelled} sag"
    ds.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(0x20, "LT", f"for {spelled}, 1 mm")
    raw = _out(ds, tmp_path)
    assert raw
    assert spelled.lower() not in raw.decode("utf_8", "replace").lower()
    assert b"1 mm" in raw


@pytest.mark.parametrize("spelled", ["8841177", "008841177", "PID8841177", "88-41-177"])
def test_a_patient_id_with_other_zeros_and_signs_is_found(spelled, tmp_path):
    ds = corpus.mr(1)
    ds.PatientID = "0008841177"
    ds.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(0x20, "LO", f"id {spelled}")
    raw = _out(ds, tmp_path)
    assert raw
    assert spelled.encode() not in raw


@pytest.mark.parametrize(
    "spelled",
    [
        *("19610317", "1961-03-17", "17.03.1961", "17.3.1961", "3/17/1961", "17031961", "1961/3/17"),
        *("17 Mar 1961", "17-MAR-1961", "March 17, 1961", "17. März 1961", "17 mars 1961", "17 marzo 1961"),
        "1961-03-17T00:00:00",
    ],
)
def test_the_birth_date_is_found_as_people_write_it(spelled, tmp_path):
    ds = corpus.mr(1)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.Manufacturer = f"SIEMENS {spelled}"
    ds.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(0x20, "LT", f"born {spelled}, b 1000")
    raw = _out(ds, tmp_path)
    assert spelled.lower() not in raw.decode("utf_8", "replace").lower()
    assert b"b 1000" in raw


@pytest.mark.parametrize("encoding", ["latin_1", "utf_8", "utf_16_le", "utf_16_be"])
@pytest.mark.parametrize("spelled", ["Würmeling", "WÜRMELING", "würmeling", "Wurmeling"])
def test_a_name_in_private_bytes_is_found_in_any_encoding_and_case(spelled, encoding, tmp_path):
    ds = _named("Würmeling^Zoé", "ISO_IR 100")
    needle = spelled.encode(encoding)
    ds.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(
        0x20, "OB", b"\1\0" + needle + b"\0\0\2\3"
    )
    raw = _out(ds, tmp_path)
    assert raw
    assert needle not in raw
    # Its last zero reads as part of the name in the other byte order.
    assert b"\0\2\3" in raw


def test_latin_1_bytes_in_a_file_that_says_utf_8_are_found(tmp_path):
    ds = _named("Wurmeling^Zoe", "ISO_IR 192")
    ds.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(0x20, "LO", "for Wurmeling")
    corpus.save(ds, tmp_path / "a.dcm")
    raw = (tmp_path / "a.dcm").read_bytes().replace(b"Wurmeling", "Würmeling".encode("latin_1"))
    out = _out(raw, tmp_path)
    assert out
    assert b"rmeling" not in out


# --- places -------------------------------------------------------------------------------------------------------


def _wrong_vr(tag: int, vr: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: ds.add_new(tag, vr, value)


@pytest.mark.parametrize(
    "plant",
    [
        _wrong_vr(0x00104000, "CS", "NACHTFALTER"),
        _wrong_vr(0x00104000, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00081070, "CS", "NACHTFALTER"),
        _wrong_vr(0x0040A123, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00082111, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00280006, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00081111, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00081140, "LO", "NACHTFALTER"),
        _wrong_vr(0x00200052, "LO", "NACHTFALTER"),
        _wrong_vr(0x00081030, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00189074, "LO", "NACHTFALTER"),
        _wrong_vr(0x00180087, "LT", "NACHTFALTER"),
        _wrong_vr(0x00280010, "LO", "NACHTFALTER"),
        _wrong_vr(0x00420011, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x04000120, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00686300, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x0008041B, "OB", b"NACHTFALTER!"),
        _wrong_vr(0x00080121, "LO", "NACHTFALTER"),
        _wrong_vr(0x0008010D, "UI", "NACHTFALTER"),
        _wrong_vr(0x00080201, "SH", "NACHTFALTER"),
        _wrong_vr(0x00089123, "UI", "NACHTFALTER"),
        _wrong_vr(0x00181400, "LO", "NACHTFALTER"),
        _wrong_vr(0x30060026, "LO", "NACHTFALTER"),
        _wrong_vr(0x00400280, "ST", "NACHTFALTER"),
        _wrong_vr(0x00321060, "LO", "NACHTFALTER"),
        _wrong_vr(0x00091001, "LO", "NACHTFALTER"),
    ],
    ids=lambda plant: f"{plant.__closure__[0].cell_contents:08X} {plant.__closure__[2].cell_contents}",
)
def test_what_stands_under_a_vr_that_is_not_its_own_does_not_stay(plant, tmp_path):
    ds = corpus.mr(1)
    ds.PatientName = "Nachtfalter^Ysolde"
    plant(ds)
    raw = _out(ds, tmp_path, Options())
    assert raw
    assert b"NACHTFALTER" not in raw.upper()


@pytest.mark.parametrize("vr", ["IS", "DS"])
@pytest.mark.parametrize("value", ["8841177", "19610317"])
def test_an_identifier_that_is_a_private_number_does_not_stay(vr, value, tmp_path):
    ds = corpus.mr(1)
    ds.PatientID = "8841177"
    block = ds.private_block(0x0099, "PACSIFIER TEST", create=True)
    block.add_new(0x20, vr, value)
    block.add_new(0x21, vr, "1000")
    _out(ds, tmp_path)
    after = helpers.read(helpers.outputs(tmp_path / "out")[0])
    assert after[0x0099, 0x1021].value == 1000
    assert value.encode() not in helpers.outputs(tmp_path / "out")[0].read_bytes()


@pytest.mark.parametrize("options", [Options(), Options(fuzz_dates=True)], ids=["default", "-a"])
def test_the_birth_date_in_a_report_moves_as_the_birth_date_does(options, tmp_path):
    ds = corpus.report(1)
    born = corpus.code("121031", "DCM", "Subject Birth Date")
    ds.ContentSequence.append(corpus.content("HAS OBS CONTEXT", "DATE", born, Date="19610317"))
    ds.ContentSequence.append(corpus.content("HAS OBS CONTEXT", "DATETIME", born, DateTime="196103171200"))
    raw = _out(ds, tmp_path, options)
    after = helpers.read(helpers.outputs(tmp_path / "out")[0])
    assert b"19610317" not in raw
    assert after.ContentSequence[-2].Date == after.PatientBirthDate
    assert after.ContentSequence[-1].DateTime == f"{after.PatientBirthDate}1200"


def test_private_ranges_of_dates_move(tmp_path):
    ds = corpus.mr(1)
    block = ds.private_block(0x0099, "PACSIFIER TEST", create=True)
    block.add_new(0x20, "DT", "19610317-19620317")
    block.add_new(0x21, "DA", ["20190307", "19610317"])
    block.add_new(0x22, "LO", "19610317-20190307")
    raw = _out(ds, tmp_path, Options(fuzz_dates=True))
    assert b"19610317" not in raw
    assert b"20190307" not in raw


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_nested_private_sequences_of_any_encoding_are_looked_into(syntax, tmp_path):
    ds = corpus.mr(1, syntax)
    inner = Dataset()
    inner.PatientComments = inner.InstitutionName = "Nachtfalter"
    inner.PatientName = corpus.NAME
    middle = Dataset()
    middle.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(0x30, "SQ", [inner])
    middle[0x0099, 0x1030].is_undefined_length = True
    ds.private_block(0x0099, "PACSIFIER TEST", create=True).add_new(0x20, "SQ", [middle, middle])
    ds[0x0099, 0x1020].is_undefined_length = True
    content = corpus._as_implicit_items(middle)[8:]
    delimited = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0"
    ds[0x0099, 0x1008].value = delimited + b"\xfe\xff\xdd\xe0\0\0\0\0"
    raw = _out(ds, tmp_path, Options())
    assert raw
    assert b"NACHTFALTER" not in raw.upper()
    assert corpus.NAME.partition("^")[0].encode() not in raw


def test_a_name_in_the_colours_of_compressed_pixels_keeps_the_file_out(tmp_path):
    ds = corpus.ct(1, JPEGBaseline8Bit)
    profile = b"ICC_PROFILE\0\1\1" + f"patient {corpus.NAME}".encode()
    frame = b"\xff\xd8\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile + b"\xff\xd9"
    ds.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    assert not _out(ds, tmp_path)
    report = (tmp_path / "out.deidentification_report.csv").read_text()
    assert "compressed pixel data" in report


@pytest.mark.parametrize("where", ["SOP class", "transfer syntax"])
def test_a_uid_of_the_head_that_is_none_keeps_the_file_out(where, tmp_path):
    ds = corpus.mr(1)
    corpus.save(ds, tmp_path / "a.dcm")
    raw = (tmp_path / "a.dcm").read_bytes()
    old = corpus.MR.encode() if where == "SOP class" else ExplicitVRLittleEndian.encode() + b"\0"
    assert old in raw
    assert not _out(raw.replace(old, b"Nachtfalter".ljust(len(old), b"r")), tmp_path)


def test_a_link_to_an_instance_is_read_and_a_dangling_one_is_told(tmp_path):
    corpus.save(corpus.mr(1), tmp_path / "elsewhere" / "a.dcm")
    home = tmp_path / "in" / "sub-x"
    home.mkdir(parents=True)
    (home / "b.dcm").symlink_to(tmp_path / "elsewhere" / "a.dcm")
    (home / "c.dcm").symlink_to(tmp_path / "elsewhere" / "absent")
    (home / "round").symlink_to(tmp_path / "in")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert totals.written == 1
    assert totals.failures == 2
    assert "a link to a folder, which is not followed" in totals.left_out
    rows = (tmp_path / "out.deidentification_report.csv").read_text().splitlines()
    assert any('sub-x/round,,left out,"a link to a folder, which is not followed",' in row for row in rows)
    assert not any("Is a directory" in row for row in rows)
    assert not helpers.outputs(tmp_path / "out")[0].is_symlink()


def test_in_place_a_link_never_leaves_the_original_behind_unsaid(tmp_path):
    original = corpus.save(corpus.mr(1), tmp_path / "elsewhere" / "a.dcm")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.dcm").symlink_to(original)
    before = original.read_bytes()
    totals = helpers.run(tmp_path / "in", tmp_path / "in")
    assert original.read_bytes() == before
    assert totals.failures == 1


def test_patients_with_one_birth_date_keep_their_own_shifts(tmp_path):
    for number in range(4):
        ds = corpus.mr(number)
        ds.PatientID, ds.PatientName = f"PZ{number}{number}81", f"Quetzal{'abcd'[number]}^Ysolde"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = corpus.uid(8, number), corpus.uid(9, number)
        corpus.save(ds, tmp_path / "in" / f"sub-{number}" / "a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out", verify=True)
    births = {helpers.read(path).PatientBirthDate for path in helpers.outputs(tmp_path / "out")}
    assert len(births) > 1
    assert corpus.BIRTH_DATE not in births


def test_what_may_have_one_of_several_vrs_stays_under_each(tmp_path):
    ds = corpus.mr(1)
    for vr, value in (("OW", b"\1\0\2\0"), ("US", [1, 2])):
        item = Dataset()
        item.LUTDescriptor, item.ModalityLUTType = [2, 0, 16], "US"
        item.add_new(0x00283006, vr, value)
        ds.setdefault(0x00283000, DataElement(0x00283000, "SQ", [])).value.append(item)
    ds.add_new(0x00280106, "SS", -7)
    raw = _out(ds, tmp_path)
    assert raw.count(b"\1\0\2\0") >= 2
    after = helpers.read(helpers.outputs(tmp_path / "out")[0])
    assert after.SmallestImagePixelValue == -7
    assert [item["LUTData"].VR for item in after.ModalityLUTSequence] == ["OW", "US"]
