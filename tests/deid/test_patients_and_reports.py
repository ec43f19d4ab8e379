"""Who a file belongs to, who somebody becomes, what is input at all, and what the report of a resumed run says."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacsifier.deidentify.engine import uids
from pacsifier.deidentify.engine.profile import Options
from pacsifier.deidentify.model import Maps
from pacsifier.errors import InputError
from tests.deid import corpus, helpers
from tests.deid.test_constants import SYNTAXES, image

SHIFTED = Options(fuzz_dates=True)
drawn_place = uids.drawn_place  # before the tests put it in order


def put(folder: Path, name: str, number: int = 1, study: int = 1, **values: object) -> Dataset:
    """An image below the input; values that are None are absent."""
    ds = image(SOPInstanceUID=corpus.uid(5, number), StudyInstanceUID=corpus.uid(1, study))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    for keyword, value in values.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    corpus.save(ds, folder / name)
    return ds


def rows(out: Path) -> list[dict[str, str]]:
    with out.with_name(f"{out.name}.deidentification_report.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ids(out: Path) -> list[str | None]:
    return [helpers.read(path).get("PatientID") for path in helpers.outputs(out)]


# --- files without PatientID --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, "", " "])
@pytest.mark.parametrize("name", ["sub-x/b.dcm", "elsewhere/b.dcm", "sub-y/b.dcm"])
def test_a_file_without_patient_id_belongs_to_the_one_patient_of_its_study(tmp_path, missing, name):
    source, out = tmp_path / "in", tmp_path / "out"
    put(source, "sub-x/a.dcm")
    put(source, name, 2, PatientID=missing, PatientName=None, ImageComments="x", AccessionNumber="ACCQ7788")
    private = put(source, "sub-x/c.dcm", 3)
    private.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x90, "LO", "ACCQ7788")
    corpus.save(private, source / "sub-x/c.dcm")
    totals = helpers.run(source, out)
    assert (totals.written, totals.patients, totals.failures) == (3, 1, 0)
    assert ids(out) == ["000001"] * 3
    # What is known of one file is known of all of the patient's.
    assert not any(b"ACCQ7788" in path.read_bytes() for path in helpers.outputs(out))
    again = helpers.run(source, out, resume=True)
    assert (again.written, again.already) == (0, 3)


def test_a_file_without_patient_id_in_a_study_of_two_patients_belongs_to_nobody(tmp_path):
    put(tmp_path / "in", "a/a.dcm")
    put(tmp_path / "in", "b/b.dcm", 2, PatientID="PZ99", PatientName="Other^One", PatientBirthDate="19700101")
    put(tmp_path / "in", "c/c.dcm", 3, PatientID="", PatientName="")
    assert helpers.run(tmp_path / "in", tmp_path / "out").patients == 3


def test_a_file_without_patient_id_of_somebody_else_does_not_take_the_patient_out(tmp_path):
    put(tmp_path / "in", "a/a.dcm")
    put(tmp_path / "in", "c/c.dcm", 3, PatientID="", PatientName="Other^One", PatientBirthDate="19700101")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert (totals.written, totals.patients) == (2, 2)


# --- pseudonyms ---------------------------------------------------------------------------------------------------


def pseudonyms(tmp_path: Path, given: dict[str, str], *patients: str, **more: object) -> list[str | None]:
    for number, each in enumerate(patients):
        put(tmp_path / "in", f"sub-{each}/a.dcm", number, number, PatientID=each)
    helpers.run(tmp_path / "in", tmp_path / "out", maps=Maps(new_ids=given), **more)
    return ids(tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"8812345": "PROJ-8812345"}, "holds the PatientID"),
        ({"8812345": "x8812345y"}, "holds the PatientID"),
        ({"8812345": "8812345"}, "is the PatientID"),
        ({"8812345": "88-123-45"}, "holds the PatientID"),
        ({"ab1234": "X_AB1234"}, "holds the PatientID"),
        ({"0012345": "P12345"}, "holds the PatientID"),
        ({"1001": "1002", "1002": "1001"}, "is the PatientID"),
        ({"1001": "P1", "1002": "1001"}, "is the PatientID"),
        ({"AB1234": "P-CD3456", "CD3456": "Q1"}, "holds the PatientID of another patient"),
        ({"AB1234": "of cd3456, too", "CD3456": "Q1"}, "holds the PatientID of another patient"),
        ({"1001": "S_1002", "1002": "Q1"}, "holds the PatientID of another patient"),
        ({"1001": "S12345", "0012345": "Q1"}, "holds the PatientID of another patient"),
        ({"1001": "S21002", "1002": "Q1"}, ""),
        ({"1001": "S-102", "102": "Q1"}, ""),
        ({"AB1234": "XCD3456Y", "CD3456": "Q1"}, ""),
        ({"8812345": "P98812345"}, ""),
        ({"8812345": "P0001"}, ""),
        ({"12": "P12"}, ""),
        ({"ab1234": "P12345"}, ""),
    ],
)
def test_a_pseudonym_that_tells_the_patient_id_is_refused_unless_the_user_insists(tmp_path, given, refused):
    if refused:
        with pytest.raises(InputError, match=f"{refused}.*--allow_identifying_ids"):
            pseudonyms(tmp_path, given, *given)
        assert not helpers.outputs(tmp_path / "out")
    assert sorted(pseudonyms(tmp_path, given, *given, allow_identifying_ids=True)) == sorted(given.values())


def test_new_id_txt_is_held_to_the_same(tmp_path):
    put(tmp_path / "in", "sub-8812345/a.dcm", PatientID="8812345")
    (tmp_path / "in/sub-8812345/new_id.txt").write_text("PROJ-8812345")
    with pytest.raises(InputError, match="holds the PatientID"):
        helpers.run(tmp_path / "in", tmp_path / "out")


def test_a_map_and_a_new_id_txt_that_differ_are_both_named(tmp_path):
    put(tmp_path / "in", "sub-x/a.dcm")
    (tmp_path / "in/sub-x/new_id.txt").write_text("N77")
    with pytest.raises(InputError, match=r"new_id\.txt.*--new_ids.*X1.*N77|new_id\.txt.*N77.*--new_ids.*X1"):
        helpers.run(tmp_path / "in", tmp_path / "out", maps=Maps(new_ids={"PZ8841177": "X1"}))
    helpers.run(tmp_path / "in", tmp_path / "out", maps=Maps(new_ids={"PZ8841177": "N77"}))
    assert ids(tmp_path / "out") == ["N77"]


def test_numbers_are_drawn_in_an_order_that_tells_nothing_of_the_ids(tmp_path, monkeypatch):
    monkeypatch.setattr(uids, "drawn_place", drawn_place)
    names = [f"P{number:02d}" for number in range(12)]
    for number, each in enumerate(names):
        put(tmp_path / "in", f"sub-{each}/a.dcm", number, number, PatientID=each)
    orders = set()
    for run in ("one", "two"):
        helpers.run(tmp_path / "in", tmp_path / run)
        key = json.loads((tmp_path / f"{run}.key.json").read_text())["pseudonyms"]
        orders.add(tuple(sorted(key, key=key.__getitem__)))
    assert len(orders) == 2
    assert tuple(names) not in orders


def test_a_number_is_no_patient_id_of_the_run(tmp_path):
    put(tmp_path / "in", "sub-x/a.dcm", PatientID="000001")
    helpers.run(tmp_path / "in", tmp_path / "out")
    assert ids(tmp_path / "out") == ["000002"]


# --- what is input, and what is not -------------------------------------------------------------------------------


def test_an_output_below_the_input_is_never_input(tmp_path):
    source = tmp_path / "in"
    put(source, "sub-x/a.dcm")
    for out in ("out", "out", "second", "deep/er/third"):
        (source / out).parent.mkdir(parents=True, exist_ok=True)
        totals = helpers.run(source, source / out)
        assert (totals.found, totals.written, totals.patients) == (1, 1, 1)
    assert [each.split(":")[0] for each in totals.passed_over] == ["out", "second"]
    assert all("output of a de-identification" in each for each in totals.passed_over)


def test_an_output_is_input_where_it_is_named(tmp_path):
    put(tmp_path / "in", "sub-x/a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out")
    assert helpers.run(tmp_path / "out", tmp_path / "again").written == 1


def test_an_input_below_the_output_is_refused(tmp_path):
    put(tmp_path / "out/in", "sub-x/a.dcm")
    with pytest.raises(InputError, match="lies in the output folder"):
        helpers.run(tmp_path / "out/in", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in"]


def test_the_report_of_a_resumed_run_has_one_row_a_file(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        put(source, f"sub-x/{number}.dcm", number)
    (source / "sub-x/note.txt").write_text("no image")
    helpers.run(source, out)
    first = rows(out)
    put(source, "sub-x/9.dcm", 9)
    helpers.outputs(out)[0].unlink()
    statuses = []
    for _ in range(2):
        helpers.run(source, out, resume=True)
        told = rows(out)
        assert sorted(row["input"] for row in told) == sorted({row["input"] for row in told})
        assert len(told) == len(first) + 1
        images = [row for row in told if row["input"].endswith(".dcm")]
        assert all(row["output"] and row["patient"] and row["replaced"] != "0" for row in images)
        statuses.append(sorted(row["status"] for row in images))
    assert statuses == [["already there"] * 2 + ["written"] * 2, ["already there"] * 4]


def test_a_resumed_run_without_its_report_says_what_is_there(tmp_path):
    put(tmp_path / "in", "sub-x/a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out.deidentification_report.csv").unlink()
    helpers.run(tmp_path / "in", tmp_path / "out", resume=True)
    assert [row["status"] for row in rows(tmp_path / "out")] == ["already there"]


# --- the mark of the dates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("options", "days", "said"),
    [
        (SHIFTED, 0, "UNMODIFIED"),
        (SHIFTED, 5, "MODIFIED"),
        (Options(), 5, "UNMODIFIED"),
        (Options(basic=True), 0, "REMOVED"),
        (Options(basic=True, fuzz_dates=True), 0, "UNMODIFIED"),
    ],
)
def test_the_mark_tells_the_shift_of_each_patient(tmp_path, syntax, options, days, said):
    corpus.save(image(syntax), tmp_path / "in/sub-x/a.dcm")
    corpus.save(image(syntax, PatientID="PZ2", SOPInstanceUID=corpus.uid(5, 2)), tmp_path / "in/sub-y/b.dcm")
    maps = Maps(day_shifts={"PZ8841177": days, "PZ2": 7})
    helpers.run(tmp_path / "in", tmp_path / "out", options, maps=maps)
    marks = {}
    for path in helpers.outputs(tmp_path / "out"):
        ds = helpers.read(path)
        marks[ds.StudyDate] = ds.LongitudinalTemporalInformationModified
    if options.fuzz_dates:
        assert marks == {"20190307" if days == 0 else "20190312": said, "20190314": "MODIFIED"}
    else:
        assert set(marks.values()) == {said}


def test_the_option_is_told_by_help():
    done = subprocess.run(
        [sys.executable, "-m", "pacsifier.cli.anonymize", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--allow_identifying_ids" in done.stdout
