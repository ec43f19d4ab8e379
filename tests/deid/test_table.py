"""Every row of the standard's table holds, at top level and two sequences deep, whatever the options."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from deid import corpus, helpers
from pacsifier.deidentify.engine.instance import deidentify
from pacsifier.deidentify.engine.marks import PixelClaim
from pacsifier.deidentify.engine.profile import Options, Row, read_table

TOKEN = "Quetzalcoatl"
VALUES = {
    "DA": "20150607",
    "DT": "20150607081500.5",
    "TM": "081500",
    "AS": "045Y",
    "DS": "47.5",
    "IS": "47",
    "UI": corpus.uid(1, 2),
    "US": 4711,
    "CS": "QUETZALC",
    "AE": "QUETZALC",
    "OB": b"Quetzalcoatl",
    "UN": b"Quetzalcoatl",
    "SH": "Quetzalcoatl",
    "UR": "http://quetzalcoatl.example",
}
FLAGS = [field.name for field in fields(Options) if field.name not in ("delete_identifiable", "keep_sr")]
CASES = {name: Options(**{name: True}) for name in FLAGS} | {
    "default": Options(),
    "basic, -a": Options(basic=True, fuzz_dates=True),
    "basic, device": Options(basic=True, retain_device_identity=True),
    "device, -a": Options(retain_device_identity=True, fuzz_dates=True),
    "basic, institution": Options(basic=True, retain_institution=True),
    "basic, uids": Options(basic=True, retain_uids=True),
}
ROWS = [row for row in read_table() if row.tag != "private" and "xx" not in row.tag and row.tag[:4] > "0007"]
SPECIAL = {"PatientName", "PatientID", "PatientBirthDate", "PatientAge"}


def _vr(row: Row) -> str:
    return row.vr if row.vr != "-" else "LO"


def test_edition_and_counts_of_the_table_are_those_of_the_standard():
    text = (Path(__file__).parents[2] / "pacsifier/deidentify/engine/data/table_e1_1.txt").read_text(
        encoding="utf-8"
    )
    assert "basic actions: 2026c" in text
    assert "options: 2024b" in text
    rows = read_table()
    assert len(rows) == 656
    assert len({row.tag for row in rows}) == 656
    letters = {
        letter: sum(row.basic == letter for row in rows)
        for letter in ("X", "D", "U", "Z", "X/D", "X/Z", "X/Z/D")
    }
    assert letters == {"X": 416, "D": 93, "U": 55, "Z": 42, "X/D": 23, "X/Z": 11, "X/Z/D": 8}
    options = [option for row in rows for option, _ in row.options]
    assert {name: options.count(name) for name in sorted(set(options))} == {
        "characteristics": 13,
        "descriptors": 125,
        "device": 57,
        "full_dates": 165,
        "graphics": 4,
        "institution": 10,
        "modified_dates": 165,
        "safe_private": 1,
        "structured": 3,
        "uids": 59,
    }


def _planted() -> Dataset:
    ds = Dataset()
    for row in ROWS:
        vr = _vr(row)
        if vr == "SQ":
            item = Dataset()
            item.PatientName = item.TextValue = item.CodeMeaning = TOKEN
            ds.add_new(int(row.tag, 16), "SQ", [item])
        else:
            ds.add_new(int(row.tag, 16), vr, VALUES.get(vr, TOKEN))
    return ds


@pytest.fixture(scope="module", params=CASES)
def written(request, tmp_path_factory) -> tuple[Options, Dataset, Dataset]:
    home = tmp_path_factory.mktemp("table")
    top = corpus.instance(corpus.CT, "CT", 1)
    for tag in [element.tag for element in top if element.tag.group not in (0x0008, 0x0020)]:
        del top[tag]
    top.update({element.tag: element for element in _planted()})
    top.SOPInstanceUID, top.SOPClassUID = corpus.uid(5, 1), corpus.CT
    middle = Dataset()
    middle.add_new(0x00082220, "SQ", [_planted()])
    top.add_new(0x00082218, "SQ", [middle])
    top.file_meta.MediaStorageSOPInstanceUID = top.SOPInstanceUID
    corpus.save(top, home / "in.dcm")
    options = CASES[request.param]
    done = deidentify(home / "in.dcm", home / "out.dcm", helpers.rules(options))
    assert not done.by_pydicom
    after = helpers.read(home / "out.dcm")
    return options, after, after[0x0008, 0x2218].value[0][0x0008, 0x2220].value[0]


def _allowed(row: Row, options: Options) -> set[str]:
    """What the table lets become of a row, in words; written from the standard, not from the engine."""
    columns, letters = options.columns, dict(row.options)
    chosen = {letter for name, letter in letters.items() if name in columns}
    if "modified_dates" in columns and letters.get("modified_dates") == "C":
        if _vr(row) in ("DA", "DT"):
            return {"shifted"}
        if _vr(row) in ("TM", "SH"):
            return {"kept"}
        chosen = set()
    if "K" in chosen:
        return {"descended"} if _vr(row) == "SQ" else {"kept"}
    if "C" in chosen:
        if options.retain_descriptors and "descriptors" in letters and _vr(row) != "SQ":
            return {"kept", "absent"}
        return (
            {"descended", "absent", "empty", "dummy", "kept"}
            if _vr(row) in ("AE", "SQ", "CS")
            else {"absent", "empty", "dummy"}
        )
    allowed = set()
    for letter in row.basic.replace("*", "").split("/"):
        allowed |= {
            "X": {"absent"},
            "Z": {"empty", "dummy"},
            "D": {"dummy", "descended", "mapped"},
            "U": {"mapped", "descended"},
        }[letter]
    return allowed


def _outcome(row: Row, ds: Dataset) -> str:  # noqa: PLR0911
    tag = int(row.tag, 16)
    if tag not in ds:
        return "absent"
    element = ds[tag]
    if element.VR == "SQ":
        if not element.value:
            return "empty"
        values = " ".join(
            str(each.value)
            for each in helpers.every_element(element.value[0])
            if each.keyword != "CodeMeaning"
        )
        return "descended" if TOKEN not in values else "leaked"
    value, before = element.value, VALUES.get(_vr(row), TOKEN)
    if value in ("", None, b""):
        return "empty"
    if str(value) == str(before):
        return "kept"
    if str(value).startswith("20150619"):
        return "shifted"
    if str(value).startswith("2.25."):
        return "mapped"
    return "dummy" if TOKEN not in str(value) else "leaked"


@pytest.mark.parametrize("depth", ["top level", "two sequences deep"])
def test_every_row_holds(written, depth):
    options, top, deep = written
    broken = []
    for row in ROWS:
        if row.keyword in SPECIAL or (depth == "top level" and row.keyword in ("SOPInstanceUID",)):
            continue
        outcome = _outcome(row, top if depth == "top level" else deep)
        if outcome not in _allowed(row, options):
            broken.append((row.tag, row.keyword, row.basic, outcome, _allowed(row, options)))
    assert not broken
    assert len(ROWS) > 630


@pytest.mark.parametrize("depth", ["top level", "two sequences deep"])
def test_the_patient_becomes_the_pseudonym(written, depth):
    options, top, deep = written
    ds = top if depth == "top level" else deep
    assert (ds.PatientID, ds.PatientName) == ("P0001", "P0001^sub")
    assert ds.PatientBirthDate == ("" if options.basic else "20150612")
    if options.basic:
        assert "PatientAge" not in ds
    else:
        assert ds.PatientAge == "045Y"


def test_the_repeating_groups_go(tmp_path):
    ds = corpus.dx(1)
    ds.add_new(0x601E3000, "OW", b"OVERLAYQ")
    ds.add_new(0x501E0005, "US", 1)
    corpus.save(ds, tmp_path / "in.dcm")
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", helpers.rules())
    after = helpers.read(tmp_path / "out.dcm")
    assert not [element.tag for element in after if element.tag.group >> 8 in (0x50, 0x60)]


@pytest.mark.parametrize(
    ("options", "longitudinal", "codes", "said"),
    [
        (
            Options(),
            "UNMODIFIED",
            {"113100", "113103", "113104", "113105", "113106", "113108"},
            "private attributes retained",
        ),
        (
            Options(fuzz_dates=True, remove_private=True),
            "MODIFIED",
            {"113100", "113103", "113104", "113105", "113107", "113108"},
            "times of day retained",
        ),
        (Options(basic=True, remove_private=True), "REMOVED", {"113100"}, "PS3.15"),
        (
            Options(
                safe_private=True, retain_uids=True, retain_device_identity=True, retain_institution=True
            ),
            "UNMODIFIED",
            {
                "113100",
                "113103",
                "113104",
                "113105",
                "113106",
                "113108",
                "113109",
                "113110",
                "113111",
                "113112",
            },
            "birth date",
        ),
    ],
)
def test_the_marks_say_what_was_done(options, longitudinal, codes, said, tmp_path):
    corpus.save(corpus.ct(1), tmp_path / "in.dcm")
    rules = helpers.rules(options)
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", rules)
    after = helpers.read(tmp_path / "out.dcm")
    assert after.PatientIdentityRemoved == "YES"
    assert after.LongitudinalTemporalInformationModified == longitudinal
    assert {item.CodeValue for item in after.DeidentificationMethodCodeSequence} == codes
    methods = after.DeidentificationMethod
    assert said in " ".join([methods] if isinstance(methods, str) else methods)
    # Marks are idempotent: once more changes nothing about them.
    deidentify(tmp_path / "out.dcm", tmp_path / "again.dcm", rules)
    again = helpers.read(tmp_path / "again.dcm")
    for keyword in ("DeidentificationMethod", "DeidentificationMethodCodeSequence", "PatientIdentityRemoved"):
        assert again[keyword] == after[keyword]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        pytest.param(
            PixelClaim("pixels cleaned: x", True, True, "blanked"), (True, "NO", "MIP; blanked"), id="all"
        ),
        pytest.param(
            PixelClaim("pixels cleaned: x", True, False), (True, "YES", "MIP"), id="a person is wanted"
        ),
        pytest.param(
            PixelClaim("pixels cleaned: x", False, False, "blanked"),
            (False, "YES", "MIP; blanked"),
            id="open",
        ),
    ],
)
def test_the_marks_say_of_cleaned_pixels_what_is_known(plain, claim, expected, tmp_path):
    code, burned_in, derivation = expected
    ds = corpus.dx(1)
    ds.BurnedInAnnotation, ds.DerivationDescription = "YES", "MIP"
    source = corpus.save(ds, tmp_path / "in.dcm")
    deidentify(source, tmp_path / "out.dcm", helpers.rules(), pixel_claim=claim, plain=plain)
    after = helpers.read(tmp_path / "out.dcm")
    codes = [item.CodeValue for item in after.DeidentificationMethodCodeSequence]
    assert (("113101" in codes), codes) == (code, sorted(codes))
    assert (after.BurnedInAnnotation, after.DerivationDescription) == (burned_in, derivation)
    assert claim.method in after.DeidentificationMethod and after.PixelData == ds.PixelData
    assert list(after.keys()) == sorted(after.keys()) and after.ImageType == ds.ImageType


def test_marks_of_an_earlier_de_identification_are_never_weakened(tmp_path):
    ds = corpus.ct(1)
    ds.PatientIdentityRemoved, ds.LongitudinalTemporalInformationModified = "YES", "REMOVED"
    ds.DeidentificationMethod = "another engine"
    ds.DeidentificationMethodCodeSequence = [corpus.code("113101", "DCM", "Clean Pixel Data Option")]
    corpus.save(ds, tmp_path / "in.dcm")
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", helpers.rules())
    after = helpers.read(tmp_path / "out.dcm")
    assert after.PatientIdentityRemoved == "YES"
    assert after.LongitudinalTemporalInformationModified == "REMOVED"
    assert after.DeidentificationMethod[0] == "another engine"
    assert [item.CodeValue for item in after.DeidentificationMethodCodeSequence][:2] == ["113101", "113100"]
