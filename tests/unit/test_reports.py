"""Texts of reports: nothing of what the radiologist wrote is lost, changed or mixed up."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import Done, invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from pacs.servers import find_binary
from pydicom.dataset import Dataset, FileMetaDataset

from pacsifier.demo import make_hospital
from pacsifier.flows.plaintext import plain_text

UID = "1.2.3.4"
NAME = "Clean_Report_1_2_3_4"


def code(meaning: str, value: str = "1") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99TEST", meaning
    return item


def item(kind: str, name: str = "", *children: Dataset, **values: Any) -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = "CONTAINS", kind
    if name:
        made.ConceptNameCodeSequence = [code(name)]
    if kind == "CONTAINER":
        made.ContinuityOfContent = "SEPARATE"
    for keyword, value in values.items():
        setattr(made, keyword, value)
    if children:
        made.ContentSequence = list(children)
    return made


def text(name: str, value: str, *children: Dataset) -> Dataset:
    return item("TEXT", name, *children, TextValue=value)


def save(path: Path, *children: Dataset, title: str = "Report", uid: str = UID, **values: Any) -> Path:
    report = item("CONTAINER", title, *children)
    del report.RelationshipType
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", uid
    report.PatientID, report.StudyDate, report.SpecificCharacterSet = "4711", "20150512", "ISO_IR 192"
    report.StudyInstanceUID, report.SeriesInstanceUID, report.Modality = "1.2", "1.3", "SR"
    for keyword, value in values.items():
        setattr(report, keyword, value)
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save_as(path, enforce_file_format=True)
    return path


def run(folder: Path, *more: str) -> Done:
    return invoke("extract_report", "-d", "data", *more, cwd=folder)


def extracted(folder: Path, *children: Dataset, **values: Any) -> str:
    save(folder / "data" / "any name", *children, **values)
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return (folder / "data" / f"{NAME}.txt").read_text(encoding="utf-8")


# --- the content tree ----------------------------------------------------------------------------------------------


def test_nested_containers_keep_their_order_and_headings(tmp_path):
    got = extracted(
        tmp_path,
        text("Indication", "Toux"),
        item(
            "CONTAINER",
            "Findings",
            text("Findings", "Poumons: normaux.\nCœur: normal."),
            item("CONTAINER", "Liver", text("Segment", "IV", text("Remark", "below a text"))),
            item("CONTAINER", "Empty"),
        ),
        text("Conclusion", "Rien."),
    )
    assert got == (
        "Report\nIndication: Toux\n\nFindings\nPoumons: normaux.\nCœur: normal.\n\nLiver\n"
        "Segment: IV\nRemark: below a text\nConclusion: Rien.\n"
    )


def test_every_kind_of_value_that_tells_something_is_there(tmp_path):
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.50", [code("millimeter", "mm")]
    unit = Dataset()
    unit.NumericValue, unit.MeasurementUnitsCodeSequence = "3", [code("no units", "1")]
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "9.9"
    got = extracted(
        tmp_path,
        item("NUM", "Size", MeasuredValueSequence=[measured]),
        item("NUM", "Count", MeasuredValueSequence=[unit]),
        item(
            "NUM",
            "Missing",
            MeasuredValueSequence=[],
            NumericValueQualifierCodeSequence=[code("not a number")],
        ),
        item("CODE", "Side", ConceptCodeSequence=[code("Left")]),
        item("PNAME", "Observer", PersonName="Crusher^Beverly^^Dr"),
        item("DATE", "Day", Date="20150512"),
        item("TIME", "Hour", Time="0830"),
        item("DATETIME", "Moment", DateTime="20150512083000"),
        item("UIDREF", "Device", UID="1.2.9"),
        item("IMAGE", "Key image", ReferencedSOPSequence=[reference]),
    )
    assert got.splitlines() == [
        *("Report", "Size: 12.50 mm", "Count: 3", "Missing: not a number", "Side: Left"),
        *(
            "Observer: Crusher Beverly Dr",
            "Day: 20150512",
            "Hour: 0830",
            "Moment: 20150512083000",
            "Device: 1.2.9",
        ),
    ]


def test_the_text_is_what_dsrdump_shows(tmp_path):
    """On the reports of the demo hospital, in three character sets: every value, and in the same order."""
    hospital = make_hospital(tmp_path / "data")
    done = run(tmp_path)
    assert done.returncode == 0
    reports = [path.parent / "IM0001" for path in (tmp_path / "data").rglob("Clean_Report_*.txt")]
    assert len(reports) == 3 < len(hospital)
    for report in reports:
        (written,) = report.parent.glob("Clean_Report_*.txt")
        dumped = subprocess.run(
            [find_binary("dsrdump"), "-q", "+Pl", "+U8", "-Ph", str(report)],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=True,
        ).stdout
        values = re.findall(r'(?:TEXT|NUM|PNAME):\([^=]*\)="([^"]*)"|=\([\w-]+,\w+,"([^"]*)"\)', dumped)
        headings = re.findall(r'CONTAINER:\(,,"([^"]*)"\)', dumped)
        wanted = [(one or other).replace("^^", " ").replace("^", " ") for one, other in values]
        told = written.read_text(encoding="utf-8")
        for parts in (wanted, headings):
            assert len(parts) >= 3
            places = [told.index(part) for part in parts]
            assert places == sorted(places)


@pytest.mark.parametrize(
    ("character_set", "encoding"),
    [
        ("ISO_IR 100", "latin_1"),
        ("ISO_IR 192", "utf_8"),
        ("ISO_IR 101", "iso8859_2"),
        ("ISO_IR 144", "iso8859_5"),
    ],
)
def test_the_character_set_of_the_report_counts(tmp_path, character_set, encoding):
    words = {"iso8859_2": "páteř, břicho", "iso8859_5": "лёгкие"}.get(encoding, "été à Genève")
    assert words in extracted(tmp_path, text("Finding", words), SpecificCharacterSet=character_set)


@pytest.mark.parametrize("declared", [None, "ISO_IR 100"])
def test_utf8_that_was_declared_as_something_else_is_read_all_the_same(tmp_path, declared):
    path = save(
        tmp_path / "data" / "x",
        text("Finding", "Épanchement à gauche: œdème"),
        SpecificCharacterSet="ISO_IR 192",
    )
    from pydicom import dcmread

    dataset = dcmread(path)
    raw = path.read_bytes()
    if declared is None:
        del dataset.SpecificCharacterSet
        dataset.save_as(path)
    else:
        path.write_bytes(raw.replace(b"ISO_IR 192", declared.encode()))
    assert run(tmp_path).returncode == 0
    assert "Épanchement à gauche: œdème" in (tmp_path / "data" / f"{NAME}.txt").read_text(encoding="utf-8")


# --- plain text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<p>un</p><p>deux</p>", "un\ndeux"),
        ("<div>a\r\n  b</div>c", "a b\nc"),
        ("<ul><li>x</li><li>y<ol><li>1st<li>2nd</ol></ul>z", "- x\n- y\n  1. 1st\n  2. 2nd\nz"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a\tb\nc"),
        (
            "<html><head><title>T</title><style>p {}</style></head><body>x<script>y</script></body></html>",
            "x",
        ),
        ("<b>Foie</b>:\r\nnormal", "Foie:\nnormal"),
        ("<pre>a  b\nc</pre>d", "a  b\nc\nd"),
        ('<span style="color:red">rouge</span>', "rouge"),
        ("&eacute;t&#233; &amp; &#xE9;t&eacute;&nbsp;!", "été & été !"),
        ("&lt;p&gt;un&lt;/p&gt;&lt;p&gt;deux&lt;/p&gt;", "un\ndeux"),
        ("5 < 7 mm, R&D, <3 cm, a<b and c>d", "5 < 7 mm, R&D, <3 cm, a<b and c>d"),
        ("<p>5 < 7 mm, <3 cm & more</p>", "5 < 7 mm, <3 cm & more"),
        ("<p>a <dr.x@y.ch> b</p>", "a <dr.x@y.ch> b"),
        ("x <!-- hidden --> y<br>", "x y"),
        ("Ã©tÃ© Ã  GenÃ¨ve", "été à Genève"),
        ("dÃ©jÃ \nété", "déjà\nété"),
        ("a\r\nb\rc\x0cd", "a\nb\nc\nd"),
        ("keep  two   blanks\n  and indents", "keep  two   blanks\n  and indents"),
        ("tab\there, null\0 gone", "tab\there, null gone"),
    ],
)
def test_what_a_reporting_system_wrote_becomes_what_a_reader_sees(written, plain):
    assert plain_text(written) == plain


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.characters(codec="latin-1", exclude_categories=["Cc"], exclude_characters="<>&\u00a0\u00ad"),
        max_size=60,
    )
)
def test_french_or_german_prose_is_never_touched(prose):
    from ftfy import fix_encoding

    if fix_encoding(prose) == prose:
        assert plain_text(prose) == prose.rstrip()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_gives_a_text_and_a_second_pass_finds_no_tag(anything):
    once = plain_text(anything)
    assert "\r" not in once
    assert not re.search(r"<br>|<p>|</p>", once) or "<" in anything or "&" in anything


# --- trees of files --------------------------------------------------------------------------------------------------


def test_reports_are_known_by_their_class_and_others_are_left_alone(tmp_path):
    data = tmp_path / "data"
    save(data / "sub-1/ses-2/00500-SR/MR.looks.like.an.image", text("Finding", "a"))
    save(data / "x/SRc.1.2.3", text("Finding", "b"), SOPClassUID="1.2.840.10008.5.1.4.1.1.4", uid="1.5")
    save(data / "x/KO", text("Finding", "c"), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.59", uid="1.6")
    (data / "notes.txt").write_text("no DICOM")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert run(tmp_path).returncode == 0
    made = {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()} - {
        path.relative_to(data).as_posix() for path in before
    }
    assert made == {f"sub-1/ses-2/00500-SR/{NAME}.txt", "reports.csv"}
    assert {path: path.read_bytes() for path in before} == before


def test_the_table_and_the_json_hold_everything(tmp_path):
    save(tmp_path / "data/a/x", text("Finding", 'l1\nl2; "q", é'), AccessionNumber="ACC1")
    save(tmp_path / "data/b/y", text("Finding", "=1+1"), uid="1.2.5")
    assert run(tmp_path, "--format", "json").returncode == 0
    rows = list(
        csv.DictReader(io.StringIO((tmp_path / "data/reports.csv").read_text(encoding="utf-8"), newline=""))
    )
    assert [row["File"] for row in rows] == ["a/x", "b/y"]
    assert rows[0]["Text"] == 'Report\nFinding:\nl1\nl2; "q", é\n'
    assert (rows[0]["PatientID"], rows[0]["AccessionNumber"], rows[0]["Title"]) == ("4711", "ACC1", "Report")
    document = json.loads((tmp_path / f"data/a/{NAME}.json").read_text(encoding="utf-8"))
    assert document["Text"] == rows[0]["Text"]
    (child,) = document["Content"]["children"]
    assert (child["type"], child["name"], child["value"]) == ("TEXT", "Finding", 'l1\nl2; "q", é')
    assert child["codes"] == [["1", "99TEST", "Finding"]]
    written = [*tmp_path.rglob("Clean_*"), tmp_path / "data/reports.csv"]
    assert len(written) == 5
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in written)


def test_a_second_run_writes_nothing(tmp_path):
    save(tmp_path / "data/x", text("Finding", "a"))
    run(tmp_path, "--format", "json")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = run(tmp_path, "--format", "json")
    assert (done.returncode, {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}) == (0, before)
    assert "0 files written" in done.stderr


def test_what_cannot_be_read_or_holds_no_text_is_named_and_the_others_go_on(tmp_path):
    data = tmp_path / "data"
    good = save(data / "good", text("Finding", "a"))
    save(data / "silent", item("CONTAINER", "Findings"), uid="1.2.6")
    (data / "cut").write_bytes(good.read_bytes()[:-20])
    save(data / "twin", text("Finding", "another"))
    (data / "linked").symlink_to(tmp_path)
    done = run(tmp_path)
    assert done.returncode == 1
    for name, why in (
        ("silent", "holds no text"),
        ("cut", "not whole"),
        ("twin", "another report"),
        ("linked", "link"),
    ):
        assert re.search(rf"data/{name}: .*{why}", done.stderr), name
    assert (data / f"{NAME}.txt").read_text() == "Report\nFinding: a\n"
    assert "4 not read" in done.stderr


@pytest.mark.parametrize("name", ["SRc.1.2.3", "SRe.1.2.3", "SRt1", "SR.1.2", "SRc", "SR_4.dcm", "SRcopy"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\0" * 300, b"\0" * 128 + b"DICM"])
def test_a_file_named_like_a_report_that_holds_none_is_named(tmp_path, name, content):
    save(tmp_path / "data" / "other", text("Findings", "None."))
    (tmp_path / "data" / "sub-1").mkdir()
    (tmp_path / "data" / "sub-1" / name).write_bytes(content)
    done = run(tmp_path)
    assert done.returncode == 1
    assert f"{name}: is named like a report, and is n" in done.stderr
    assert "reports: 1 of 2 files, 1 not read" in done.stderr


def test_a_link_named_like_a_report_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SRc.1").symlink_to("nowhere")
    done = run(tmp_path)
    assert (done.returncode, "SRc.1: is named like a report, and is a link that leads" in done.stderr) == (
        1,
        True,
    )


@pytest.mark.parametrize(
    "name", ["SRc.1.csv", "SR.json", "SResults", "SRc.1.partial", "MR.1.2", "sr.txt", "SRCE"]
)
def test_other_files_are_no_reports_by_their_name(tmp_path, name):
    save(tmp_path / "data" / "other", text("Findings", "None."))
    (tmp_path / "data" / name).write_text("x", encoding="utf-8")
    assert run(tmp_path).returncode == 0


def test_a_report_that_is_cut_before_its_sop_class_is_named_whatever_it_is_called(tmp_path):
    whole = save(tmp_path / "data" / "a", text("Findings", "None.")).read_bytes()
    (tmp_path / "data" / "b").write_bytes(whole[: whole.index(b"\x08\x00\x16\x00")])
    done = run(tmp_path)
    assert (done.returncode, "data/b: " in done.stderr) == (1, True)


def test_hostile_reports_end_no_run(tmp_path):
    data = tmp_path / "data"
    save(data / "z-good", text("Finding", "a"), uid="1.2.7")
    good = (data / "z-good").read_bytes()
    for number, at in enumerate(range(300, len(good), 7)):
        broken = bytearray(good)
        broken[at] ^= 0xFF
        (data / f"broken{number}").write_bytes(broken)
    # pydicom writes each level twice, and so on: by hand.
    level = bytes.fromhex("400030a75351 0000 ffffffff feff00e0ffffffff 400040a04353 0a00") + b"CONTAINER "
    level_end = bytes.fromhex("feff0de000000000 feffdde000000000")
    save(data / "deep", uid="1.2.8")
    save(data / "deepest", uid="1.2.9")
    for name, depth in (("deep", 100), ("deepest", 250)):
        with (data / name).open("ab") as file:
            file.write(level * depth + level_end * depth)
    done = run(tmp_path)
    assert done.returncode in (0, 1)
    assert "fault of pacsifier" not in done.stderr
    assert (data / "Clean_Report_1_2_7.txt").exists()


def test_a_uid_that_leads_elsewhere_names_no_path(tmp_path):
    save(tmp_path / "data/x", text("Finding", "a"), uid="../../1.2")
    run(tmp_path)
    assert [path.name for path in tmp_path.rglob("Clean_Report*")] == [
        path.name for path in (tmp_path / "data").glob("Clean_Report_malformed_*.txt")
    ]


def test_a_table_of_the_users_own_is_not_overwritten(tmp_path):
    save(tmp_path / "data/x", text("Finding", "a"))
    (tmp_path / "data/reports.csv").write_text("mine\n")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "reports.csv" in done.stderr
    assert not list(tmp_path.rglob("Clean*"))


def test_a_folder_without_reports_or_that_is_none_is_said(tmp_path):
    (tmp_path / "data").mkdir()
    done = run(tmp_path)
    assert (done.returncode, "no structured report" in done.stderr) == (1, True)
    shutil.rmtree(tmp_path / "data")
    done = run(tmp_path)
    assert (done.returncode, "data" in done.stderr) == (2, True)
    assert invoke("extract_report", cwd=tmp_path).returncode == 2
