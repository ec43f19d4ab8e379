"""What makers and the standard define stays, whoever the patient is; what people type is searched."""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path

import pytest
from pydicom._private_dict import private_dictionaries
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.sr._concepts_dict import concepts
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacsifier.deidentify.engine.private_constants import is_constant
from pacsifier.deidentify.engine.profile import Options, read_words, safe_private
from tests.deid import corpus, helpers

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def image(syntax: str = ExplicitVRLittleEndian, **values: object) -> Dataset:
    """An image without anything that identifies, but for what is given."""
    ds = Dataset()
    ds.file_meta = corpus.mr(1, syntax).file_meta
    ds.preamble = bytes(128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = corpus.MR, corpus.uid(5, 1), "MR"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = corpus.uid(1), corpus.uid(2)
    ds.PatientID, ds.PatientName, ds.PatientBirthDate = "PZ8841177", "Quetzaltenango^Ysolde", "19610317"
    ds.StudyDate, ds.StudyID, ds.Manufacturer, ds.ManufacturerModelName = "20190307", "1", "SIEMENS", "Prisma"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def private(  # noqa: PLR0917
    ds: Dataset, group: int, creator: str, element: int, vr: str, value: object
) -> Dataset:
    ds.private_block(group, creator, create=True).add_new(element, vr, value)
    return ds


def written(ds: Dataset, folder: Path, options: Options | None = None) -> FileDataset:
    corpus.save(ds, folder / "in" / "sub-x" / "a.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        totals = helpers.run(folder / "in", folder / "out", options, verify=True)
    # What rightly stays is no hit, and what the proof finds was not left.
    assert totals.hits == 0, folder.joinpath("out.verify_report.csv").read_text()
    return helpers.read(helpers.outputs(folder / "out")[0])


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("patient", "creator"),
    [
        ("Siemens^Werner", "SIEMENS MR HEADER"),
        ("Philips^Ann", "Philips MR Imaging DD 001"),
        ("Header^Siemens", "SIEMENS MR HEADER"),
        ("Mayerlab^Anna", "MAYERLAB FLOW 1.0"),
        ("Acuson^Eve", "ACUSON:1.2.840.113680.1.0:7f10"),
    ],
)
def test_a_private_block_keeps_its_creator_whoever_the_patient_is(tmp_path, syntax, patient, creator):
    ds = private(image(syntax, PatientName=patient), 0x2005, creator, 0x90, "DS", "1.5")
    item = private(Dataset(), 0x2005, creator, 0x90, "DS", "2.5")
    ds.SharedFunctionalGroupsSequence = Sequence([item])
    after = written(ds, tmp_path)
    assert after[0x20050010].value == after.SharedFunctionalGroupsSequence[0][0x20050010].value == creator


@pytest.mark.parametrize(
    ("keyword", "value", "who"),
    [
        ("Manufacturer", "SIEMENS", {"PatientName": "Siemens^Werner"}),
        ("Manufacturer", "Ziehm Imaging GmbH", {"PatientName": "Ziehm^Anna"}),
        ("ManufacturerModelName", "Prisma", {"StationName": "Prisma"}),
        ("ManufacturerModelName", "Prisma", {"PatientName": "Prisma^Anna"}),
        ("ManufacturerModelName", "Aera 1234", {"PatientID": "Aera 1234"}),
        ("SequenceName", "*ep_b1000#1", {"StudyID": "1000"}),
        ("SequenceName", "*tfl3d1_16ns", {"PatientID": "tfl3d1_16ns"}),
        ("PulseSequenceName", "EPI2", {"PatientName": "Epi2^A"}),
        ("BodyPartExamined", "HAND", {"PatientName": "Hand^Head"}),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"], {"PatientName": "Primary^Original"}),
        ("ConvolutionKernel", "BONE", {"PatientName": "Bone^Anna"}),
        ("ReceiveCoilName", "HeadNeck_64", {"PatientName": "Head^Anna"}),
        ("SoftwareVersions", ["24", "LX", "DV24.0"], {"PatientID": "24"}),
        ("WindowCenterWidthExplanation", "LUNG", {"PatientName": "Lung^Mei"}),
    ],
)
def test_a_constant_stays_whoever_the_patient_is(tmp_path, keyword, value, who):
    after = written(image(**{keyword: value, **who}), tmp_path)
    assert after[keyword].value == value


def test_a_text_that_a_machine_made_does_not_keep_a_whole_name(tmp_path):
    after = written(image(PatientName="Hand^Werner", ReceiveCoilName="coil of HAND, Werner"), tmp_path)
    assert "erner" not in after.ReceiveCoilName.lower()


CODES = [
    ("T-D8700", "SRT", "Hand"),
    ("85562004", "SCT", "Hand"),
    ("8812345", "LN", "Hand of Ysolde"),
    ("113000", "DCM", "Of Interest"),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("code", CODES)
def test_a_code_of_a_public_scheme_is_never_searched(tmp_path, syntax, code):
    ds = image(syntax, PatientName="Hand^Ysolde", PatientID=code[0])
    ds.AnatomicRegionSequence = Sequence([corpus.code(*code)])
    ds.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = Sequence([corpus.code(*code)])
    item = written(ds, tmp_path).AnatomicRegionSequence[0]
    for each in (item, item.AnatomicRegionModifierSequence[0]):
        assert (each.CodeValue, each.CodingSchemeDesignator, each.CodeMeaning) == code


@pytest.mark.parametrize("scheme", ["99LOCAL", "99DCM", "L", "SRTX", "Inselspital", "sct", "NPI", "LOINC"])
def test_a_code_of_a_scheme_of_the_site_is_searched(tmp_path, scheme):
    ds = image()
    ds.AnatomicRegionSequence = Sequence([corpus.code("PZ8841177", scheme, "Hand of Ysolde")])
    item = written(ds, tmp_path).AnatomicRegionSequence[0]
    assert "PZ8841177" not in item.CodeValue
    assert "Ysolde" not in item.CodeMeaning


def test_the_schemes_whose_codes_are_never_searched_are_those_of_the_standard():
    """pydicom ships the codes of all context groups, and the UIDs of the schemes of the standard itself."""
    ours = read_words("coding_schemes.txt")
    assert concepts.keys() <= ours
    keywords = {each[4] for each in UID_dictionary.values() if each[1] == "Coding Scheme"}
    assert keywords - ours == {"MAYONRISBSASRG"}  # whose designator is MAYOASRG
    assert {each for each in ours if each.startswith("99")} == {"99SDM"}


@pytest.mark.parametrize("missing", ["CodeValue", "CodingSchemeDesignator"])
def test_a_meaning_without_a_code_of_its_own_is_a_text(tmp_path, missing):
    ds = image()
    ds.AnatomicRegionSequence = Sequence([corpus.code("T-D8700", "SRT", "Hand of Wurmfarn")])
    delattr(ds.AnatomicRegionSequence[0], missing)
    meaning = written(ds, tmp_path).AnatomicRegionSequence[0].CodeMeaning
    assert "Wurmfarn" not in meaning
    assert "Hand" in meaning


def test_a_meaning_does_not_take_the_code_of_an_item_above(tmp_path):
    ds = image()
    ds.AnatomicRegionSequence = Sequence([corpus.code("T-D8700", "SRT", "Hand")])
    inner = Dataset()
    inner.CodeMeaning = "Wurmfarn"
    ds.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = Sequence([inner])
    item = written(ds, tmp_path).AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0]
    assert "Wurmfarn" not in item.CodeMeaning


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "keyword",
    [
        "OperatorIdentificationSequence",
        "PersonIdentificationCodeSequence",
        "InstitutionCodeSequence",
        "InstitutionalDepartmentTypeCodeSequence",
        "RequestingPhysicianIdentificationSequence",
        "HumanPerformerCodeSequence",
        "VerifyingObserverSequence",
        "ResponsibleGroupCodeSequence",
    ],
)
def test_nothing_that_looks_like_a_code_stays_where_people_are_named(tmp_path, syntax, keyword):
    planted = corpus.code("225728007", "SCT", "Emergency of Wurmfarn")
    planted.ConceptCodeSequence = Sequence([corpus.code("225728008", "SCT", "Wurmfarn")])
    inner = Dataset()
    inner.EquivalentCodeSequence = Sequence([planted])
    ds = image(syntax)
    setattr(ds, keyword, Sequence([inner, planted]))
    written(ds, tmp_path)
    raw = helpers.outputs(tmp_path / "out")[0].read_bytes()
    assert b"Wurmfarn" not in raw
    assert b"22572800" not in raw


def csa(tags: list[tuple[str, str]]) -> bytes:
    """A CSA header of Siemens: names of 64 bytes, each with a value."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, text in tags:
        out += name.encode().ljust(64, b"\0") + struct.pack("<I4sIII", 1, b"LO\0\0", 0, 1, 77)
        value = text.encode() + b"\0"
        out += (
            struct.pack("<IIII", len(value), len(value), 77, len(value)) + value + b"\0" * (-len(value) % 4)
        )
    return out


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "name", ["Siemens^Werner", "Mosaic^Number", "Vector^Anna", "Columns^Rows", "Prisma^Anna", "Position^X"]
)
def test_a_header_of_a_maker_stays_to_the_byte_whoever_the_patient_is(tmp_path, syntax, name):
    words = [
        "SliceNormalVector",
        "NumberOfImagesInMosaic",
        "Columns",
        "%SiemensSeq%\\ep2d",
        "Siemens",
        "Position",
    ]
    raw = csa([(word, "Prisma SIEMENS") for word in words])
    ds = private(image(syntax, PatientName=name), 0x0029, "SIEMENS CSA HEADER", 0x10, "OB", raw)
    private(ds, 0x0029, "SIEMENS CSA HEADER", 0x08, "CS", "IMAGE NUM 4")
    after = written(ds, tmp_path)
    assert after[0x00291010].value == raw
    assert after[0x00291008].value == "IMAGE NUM 4"


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "text", ["QuetzaltenangoYsolde", "SNQUETZALTENANGO", "Quetzaltenangos", "2019Ysolde"]
)
def test_a_name_within_a_longer_word_of_a_private_text_goes(tmp_path, syntax, text):
    written(private(image(syntax), 0x2005, "Philips MR Imaging DD 005", 0x90, "LO", text), tmp_path)
    raw = helpers.outputs(tmp_path / "out")[0].read_bytes().lower()
    assert b"quetzaltenango" not in raw
    assert b"ysolde" not in raw


@pytest.mark.parametrize("name", ["Siemens^Werner", "Quetzaltenango^Ysolde", "Prisma^Anna"])
def test_a_header_of_a_maker_does_not_name_the_patient(tmp_path, name):
    raw = csa([("PatientName", name), ("Other", name.split("^")[1] + " " + name.split("^")[0])])
    ds = private(image(PatientName=name), 0x0029, "SIEMENS CSA HEADER", 0x10, "OB", raw)
    after = written(ds, tmp_path)[0x00291010].value
    assert len(after) == len(raw)
    assert name.encode() not in after
    assert " ".join(name.split("^")[::-1]).encode() not in after


PRIVATE_CONSTANTS = [
    (0x0051, "SIEMENS MR HEADER", 0x11, "LO", "p2"),
    (0x0051, "SIEMENS MR HEADER", 0x0F, "LO", "HEAD"),
    (0x0051, "SIEMENS MR HEADER", 0x0B, "SH", "128*128s"),
    (0x0019, "SIEMENS MR HEADER", 0x0F, "SH", "Fast"),
    (0x0019, "GEMS_ACQU_01", 0x9C, "LO", "EPI2"),
    (0x0019, "GEMS_ACQU_01", 0x9E, "LO", "EPI2"),
    (0x0043, "GEMS_PARM_01", 0x81, "LO", "HEAD"),
    (0x0043, "GEMS_PARM_01", 0x27, "SH", "/1.5:1"),
    (0x2001, "Philips Imaging DD 001", 0x87, "SH", "Hydro"),
    (0x2005, "Philips Imaging DD 001", 0x8B, "SH", "BODY"),
    (0x7005, "TOSHIBA_MEC_CT3", 0x1B, "SH", "FC08"),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("constant", PRIVATE_CONSTANTS)
def test_a_private_constant_of_the_acquisition_stays_whoever_the_patient_is(tmp_path, syntax, constant):
    group, creator, element, vr, value = constant
    who = {"PatientID": value, "PatientName": f"{value}^Ysolde"}
    item = private(Dataset(), group, creator, element, vr, value)
    ds = private(image(syntax, **who), group, creator, element, vr, value)
    ds.SharedFunctionalGroupsSequence = Sequence([item])
    after = written(ds, tmp_path)
    tag = group << 16 | 0x1000 | element
    assert after[tag].value == after.SharedFunctionalGroupsSequence[0][tag].value == value


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "typed",
    [
        (0x0051, "SIEMENS MR HEADER", 0x16, "LO"),  # no name
        (0x2005, "Philips MR Imaging DD 001", 0x1F, "SH"),  # no name
        (0x0051, "ACME", 0x11, "LO"),
        (0x0019, "GEMS_DL_IMG_01", 0xB3, "LO"),  # Acquisition Protocol User Name
        (0x0019, "GEMS_DL_IMG_01", 0xB1, "LO"),  # Acquisition Mode Description
        (0x0019, "SIEMENS CM VA0  ACQU", 0x12, "LO"),  # Sequence File Owner
        (0x0011, "GEMS_GENIE_1", 0x10, "SH"),  # series name
        (0x0011, "SIEMENS MED NM", 0x10, "LO"),
    ],
)
def test_a_private_text_that_may_be_typed_is_searched(tmp_path, syntax, typed):
    ds = private(image(syntax, PatientID="p2zz1", PatientName="Kopf^Ysolde"), *typed, "p2zz1 Ysolde")
    written(ds, tmp_path)
    raw = helpers.outputs(tmp_path / "out")[0].read_bytes().lower()
    assert b"ysolde" not in raw
    assert b"p2zz1" not in raw


def test_a_private_constant_does_not_keep_the_days_of_the_patient(tmp_path):
    ds = private(image(), 0x0051, "SIEMENS MR HEADER", 0x0F, "LO", "HEA 20190307")
    after = written(ds, tmp_path, Options(fuzz_dates=True))
    assert "20190307" not in after[0x0051100F].value


TELLING = re.compile(
    r"(?i)patient|person|operator|physician|institution|hospital|station|serial|date|comment|description|\bids?\b|owner"
)


def test_no_private_constant_is_called_after_somebody():
    """A sweep over all that pydicom's dictionary names; a name is one of a thing where its word stands before it."""
    for creator, elements in private_dictionaries.items():
        for key, (vr, _, name, *_) in elements.items():
            if not re.fullmatch(r"[0-9A-F]{4}xx[0-9A-F]{2}", key):
                continue
            tag = int(key.replace("xx", "10"), 16)
            if is_constant(tag, vr, creator) and (creator, tag >> 16, tag & 0xFF) not in safe_private():
                assert vr in {"LO", "SH", "CS"}
                assert name.lower() != "unknown"
                assert not TELLING.search(name), name
                assert not re.search("(?i)name", name) or re.search(
                    "(?i)(sequence|coil|algorithm|manufacturer) ?name", name
                )
