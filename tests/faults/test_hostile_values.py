"""Values that are made to do harm, in the cells of a query and in what a PACS tells: they stay values."""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pacs.runs import Run, instance_paths, read_table, run, slug, write_query
from pacs.servers import LOOPBACK, OrthancServer, Server, free_port, start_dcmqrscp, start_orthanc

from faults.corpus import ROOT, TEXT_SR, write_instance
from pacsifier.cli.streams import visible
from pacsifier.dcmtk.identifiers import encode_identifier
from pacsifier.dicom import part10
from pacsifier.disk.info import write_info
from pacsifier.disk.names import instance_name, patient_folder_name, series_folder_name, study_folder_name
from pacsifier.disk.tree import SeriesIdentity, Tree
from pacsifier.errors import Fault, InputError
from pacsifier.query import (
    ATTRIBUTES,
    INFO_COLUMNS,
    QUERY_COLUMNS,
    Match,
    Query,
    QueryTable,
    is_single_key,
    is_uid,
    matches,
    read_query_file,
    study_keys,
)
from pacsifier.query.names import family_name
from pacsifier.transfer.record.outcomes import write_rows

# What pydicom thinks of such values is known.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
unhurried = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

CANARY = "CANARY"
CELLS = {
    "folder above": "../../../CANARY",
    "absolute path": "/tmp/CANARY",
    "home": "~/CANARY",
    "command": "$(touch CANARY)",
    "backticks": "`touch CANARY`",
    "semicolon": "; touch CANARY;",
    "pipe": "| tee CANARY",
    "redirection": "> CANARY",
    "variable": "$HOME",
    "option": "-od",
    "long option": "--output-directory",
    "options": "* -X -od CANARY",
    "brackets": "]]>[[x]]",
    "argument file": "@/etc/passwd",
    "hash": "#1",
    "percent": "%n%s%x",
    "braces": "{0.__class__}",
    "formula": '=HYPERLINK("x")',
    "quotes": "a\"b,c;d'e",
    "hebrew": "שלום",
    "emoji": "🧠👨‍👩‍👧",
    "dot at the end": "name.",
    "dots": "..",
    "device": "CON",
    "device with number": "COM1",
    "device with suffix": "nul.txt",
    "word null": "NULL",
    "word nan": "nan",
    "carets": "^^^",
    "many accents": "a" + "\u0301" * 20,
}
"""Texts that a cell may hold."""

CASES = ("Abc", "abc", "ABC")
VALUES = {
    **CELLS,
    **{f"case {text}": text for text in CASES},
    "controls": "\x01\x07\x08\x7f",
    "line ends": "line\nbreak\r\nand\rreturn",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "form feed": "\x0c",
    "escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "c1 escape": "\x9b31m",
    "next line": "\x85",
    "line separator": "\u2028",
    "right to left": "\u202egpj.exe\u202c",
    "backslash": "a\\b",
    "blank at the end": "name ",
    "blank at the beginning": " name",
    "blanks": "   ",
    "empty": "",
    "byte order mark": "\ufeffx",
}
"""Texts that a PACS may tell."""

# Orthanc answers with nothing above 256 characters.
LONG = "x" * 200
NUMBERS = {name: number for number, name in enumerate(VALUES, 1)}
KEYWORDS = (
    "PatientID",
    "PatientName",
    "StudyDescription",
    "SeriesDescription",
    "AccessionNumber",
    "ProtocolName",
)


def _study(name: str) -> str:
    return f"{ROOT}.{NUMBERS[name]}"


# --- a PACS full of them -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["dcmqrscp", "orthanc"])
def hostile(request, tmp_path_factory, peers) -> Iterator[Server]:
    """Each PACS with one study for each value, which stands in every text attribute of it, and one of long values."""
    folder = tmp_path_factory.mktemp("hostile")
    files = [
        write_instance(folder / f"{NUMBERS[name]}.dcm", NUMBERS[name], **dict.fromkeys(KEYWORDS, text))
        for name, text in VALUES.items()
    ]
    files.append(write_instance(folder / "long.dcm", 900, SeriesDescription=LONG, ProtocolName=LONG))
    if request.param == "dcmqrscp":
        server = start_dcmqrscp(folder / "server", files, peers)
    else:
        server = start_orthanc(folder / "server", [], peers)
        assert isinstance(server, OrthancServer)
        for path in files:
            server.rest("POST", "/instances", path.read_bytes())
    with server:
        yield server


@pytest.fixture(scope="module")
def saved(tmp_path_factory, hostile) -> Run:
    """All of it, saved with info, from a folder of its own."""
    rows = [{"StudyInstanceUID": f"{ROOT}.{number}"} for number in (*NUMBERS.values(), 900)]
    return _run(hostile, tmp_path_factory.mktemp("saved"), rows, "--save", "--info", "-v")


def _run(server: Server, folder: Path, rows: Any, *options: str) -> Run:
    """A run that must touch nothing but its output folder."""
    before = _around(folder.parent)
    done = run(server, folder / "run", rows, *options)
    assert not list(folder.rglob(CANARY)), "a value was taken for a file name or a command"
    assert not Path(f"/tmp/{CANARY}").exists()
    assert not Path(CANARY).exists()
    beside = {path.name for path in (folder / "run").iterdir()}
    assert beside <= {"config.json", "query.csv", "out"}
    assert _around(folder.parent) == before
    return done


def _around(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_every_study_is_saved_whatever_its_values(saved):
    assert saved.status == 0, saved.stderr
    assert len(saved.files) == len(VALUES) + 1


def test_the_console_shows_no_value_and_obeys_none(saved):
    assert all(character.isprintable() or character == "\n" for character in saved.stderr), saved.stderr
    for word in (CANARY, "HYPERLINK", "passwd", "red", "gpj", "שלום", "🧠", "name.", "COM1", LONG[:64]):
        assert word not in saved.stderr
    assert "escape sequence" not in saved.stderr, "a library speaks to the user"


def test_every_folder_is_named_as_documented(saved):
    for name, text in VALUES.items():
        path = saved.files[f"{_study(name)}.1.1"]
        series, study, patient = path.parents[0], path.parents[1], path.parents[2]
        stripped = text.strip()
        assert _plain(patient) == f"sub-{slug(stripped) or 'No_patient_ID'}"
        assert _plain(study) == "ses-20200101120000"
        assert _plain(series) == f"00001-{slug(stripped) or 'No_series_description'}"
        assert path.name == f"SRt.{_study(name)}.1.1"
    patients = [path.name.casefold() for path in saved.out.glob("sub-*")]
    assert len(patients) == len(set(patients)), "two patients share a folder where case does not count"


def _plain(folder: Path) -> str:
    """The name of a folder without the suffix that a twin gets."""
    return re.sub(r"_[0-9a-f]{8}$", "", folder.name)


def test_no_two_patients_share_a_folder(saved):
    owners: dict[Path, set[str]] = {}
    for name, text in VALUES.items():
        folder = saved.files[f"{_study(name)}.1.1"].parents[2]
        owners.setdefault(folder, set()).add(text.strip())
    assert [texts for texts in owners.values() if len(texts) > 1] == []


def test_the_info_csv_tells_each_value_exactly(saved):
    for name, text in VALUES.items():
        folder = saved.files[f"{_study(name)}.1.1"].parent
        with folder.with_name(f"{folder.name}.csv").open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
        assert {keyword: row[keyword] for keyword in KEYWORDS} == dict.fromkeys(KEYWORDS, text.rstrip(" "))
    folder = saved.files[f"{ROOT}.900.1.1"].parent
    with folder.with_name(f"{folder.name}.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["SeriesDescription"] == LONG


def test_the_log_can_be_read_by_csv_and_by_pandas(saved):
    told = {row["StudyInstanceUID"]: row for row in saved.log}
    frame = pd.read_csv(saved.out / "logs" / "pacsifier_log.csv", dtype=str, keep_default_na=False)
    assert len(saved.log) == len(frame) == len(VALUES) + 1
    for name, text in VALUES.items():
        assert told[_study(name)]["PatientID"] == text.rstrip(" ")
        (row,) = frame[frame["StudyInstanceUID"] == _study(name)].to_dict("records")
        assert row["SeriesDescription"] == text.rstrip(" ")
        assert row["Completed"] == "True"


def test_a_second_run_recognizes_every_folder_and_fetches_nothing(hostile, saved):
    before = {path: path.stat().st_ino for path in instance_paths(saved.out)}
    rows = read_table(saved.out.parent / "query.csv")
    again = run(hostile, saved.out.parent, rows, "--save", "--resume")
    assert again.status == 0, again.stderr
    assert "0 bytes received" in again.stderr
    assert {path: path.stat().st_ino for path in instance_paths(saved.out)} == before


def test_each_value_in_a_cell_finds_its_own_patient_and_nobody_else(hostile, tmp_path):
    names = list(CELLS)
    rows = [{"PatientID": CELLS[name]} for name in names]
    done = _run(hostile, tmp_path, rows, "--info")
    assert {str(number): row["outcome"] for number, row in enumerate(_row_table(done), 2)} == {
        str(number): "listed" for number in range(2, len(names) + 2)
    }
    for number, name in enumerate(names, 2):
        assert done.series_of_row(number) == {f"{_study(name)}.1"}, name


def test_a_value_is_found_in_every_text_column(hostile, tmp_path):
    names = [name for name in CELLS if len(CELLS[name]) <= 16]
    # dcmqrscp does not tell the last two: the images decide.
    columns = ("AccessionNumber", "StudyDescription", "SeriesDescription", "ProtocolName")
    asked = [(column, name) for column in columns for name in names]
    rows = [{column: CELLS[name], "StudyInstanceUID": _study(name)} for column, name in asked]
    done = _run(hostile, tmp_path, rows, "--save")
    assert done.status == 0, done.stderr
    for number, (column, name) in enumerate(asked, 2):
        assert done.series_of_row(number) == {f"{_study(name)}.1"}, (column, name)


def _row_table(done: Run) -> list[dict[str, str]]:
    return read_table(done.out / "logs" / "query_rows.csv")


def test_a_name_that_differs_in_case_on_disk_is_not_shared_by_a_later_run(hostile, tmp_path):
    for text in CASES:
        assert run(hostile, tmp_path, [{"StudyInstanceUID": _study(f"case {text}")}], "--save").status == 0
    names = [path.name.casefold() for path in (tmp_path / "out").glob("sub-*")]
    assert len(names) == len(set(names)) == len(CASES)


# --- a PACS that tells UIDs that are none ------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What the PACS answers: datasets by level, whatever it is asked; `objects` is what a C-MOVE sends."""

    answers: Mapping[str, Sequence[Mapping[str, str]]]
    objects: Sequence[pydicom.Dataset] = ()


class Teller:
    """A PACS that answers what the test says; `asked` lists the identifiers that it got, with their level."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.moved: list[Mapping[str, str]] = []

    @contextlib.contextmanager
    def serve(self, tmp_path: Path) -> Iterator[Server]:
        from pynetdicom import AE, evt

        port, ours = free_port(), free_port()
        entity = AE(ae_title="TELLER")
        entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
        entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.2")
        entity.add_requested_context(TEXT_SR, "1.2.840.10008.1.2.1")
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_MOVE, self._move, [ours])]
        thread = entity.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
        peers = {"PACSIFIER": (LOOPBACK, ours), "OTHER": (LOOPBACK, ours)}
        try:
            yield Server("teller", tmp_path, "TELLER", port, peers, None)  # type: ignore[arg-type]
        finally:
            thread.shutdown()

    def _find(self, event: Any) -> Iterator[tuple[int, Any]]:
        asked = event.identifier
        level = asked.QueryRetrieveLevel
        keys = {each.keyword: str(each.value or "") for each in asked}
        self.asked.append((level, keys))
        for values in self.told.answers.get(level, ()):
            wanted = [keys.get(name, "") for name in ("PatientID", "StudyInstanceUID") if keys.get(name)]
            mine = [values.get(name, "") for name in ("PatientID", "StudyInstanceUID") if keys.get(name)]
            if wanted == mine:
                yield 0xFF00, _dataset({"QueryRetrieveLevel": level} | dict(values))

    def _move(self, event: Any, port: int) -> Iterator[Any]:
        self.moved.append({each.keyword: str(each.value) for each in event.identifier})
        yield LOOPBACK, port
        yield len(self.told.objects)
        for dataset in self.told.objects:
            yield 0xFF00, dataset


def _dataset(values: Mapping[str, str]) -> pydicom.Dataset:
    """A data set with raw values: nothing is checked on its way."""
    dataset = pydicom.Dataset()
    for keyword, text in values.items():
        attribute = ATTRIBUTES[keyword]
        raw = text.encode("utf-8")
        raw += (b"\0" if attribute.vr == "UI" else b" ") * (len(raw) % 2)
        dataset[attribute.tag] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(attribute.tag), attribute.vr, len(raw), raw, 0, False, True
        )
    return dataset


GOOD = f"{ROOT}.1"
HOSTILE_UIDS = [
    *("*", "1.2.*", "1.2?", "1.2\\1.3", "", "\x1b[31m1.2", "1.2\n1.3", "1.2 1.3", "é.1", "🧠"),
    *("1" * 129, "1" * 3000),
]
"""UIDs that would be a wildcard, a list, several lines or too much as a key."""

ODD_UIDS = [
    "../../../CANARY",
    "/tmp/CANARY",
    "1..2",
    "1.2.",
    "$(id)",
    "-od",
    "@file",
    "1" * 100,
    "CON",
    "a'b",
]
"""UIDs that are none, and can be asked for all the same."""


def _all_studies(uids: Sequence[str]) -> list[dict[str, str]]:
    studies = [{"StudyInstanceUID": uid, "PatientID": f"P{number}"} for number, uid in enumerate(uids)]
    common = {"StudyDate": "20200101", "NumberOfStudyRelatedSeries": "1"}
    return [each | common for each in [*studies, {"StudyInstanceUID": GOOD, "PatientID": "GOOD"}]]


def _series(study: str, series: str) -> dict[str, str]:
    return {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SeriesNumber": "1",
        "Modality": "SR",
        "NumberOfSeriesRelatedInstances": "1",
    }


def _rows(uids: Sequence[str]) -> list[dict[str, str]]:
    return [{"PatientID": "GOOD"}, *({"PatientID": f"P{number}"} for number in range(len(uids)))]


def test_a_uid_that_would_match_more_than_itself_is_never_asked_for(tmp_path):
    told = Told({"STUDY": _all_studies(HOSTILE_UIDS), "SERIES": [_series(GOOD, f"{GOOD}.1")]})
    teller = Teller(told)
    with teller.serve(tmp_path) as server:
        done = _run(server, tmp_path, _rows(HOSTILE_UIDS), "--info")
    assert {keys["StudyInstanceUID"] for level, keys in teller.asked if level == "SERIES"} == {GOOD}
    outcomes = [row["outcome"] for row in _row_table(done)]
    assert outcomes == ["listed", *["failed"] * len(HOSTILE_UIDS)]
    assert all(character.isprintable() or character == "\n" for character in done.stderr)


def test_a_series_uid_that_would_match_more_than_itself_fails_its_row_and_no_other(tmp_path):
    bad = [_series(f"{ROOT}.{number + 100}", uid) for number, uid in enumerate(HOSTILE_UIDS)]
    studies = _all_studies([each["StudyInstanceUID"] for each in bad])
    good = write_instance(tmp_path / "good.dcm", 1, PatientID="GOOD")
    told = Told({"STUDY": studies, "SERIES": [_series(GOOD, f"{GOOD}.1"), *bad]}, [pydicom.dcmread(good)])
    (tmp_path / "here").mkdir()
    teller = Teller(told)
    with teller.serve(tmp_path) as server:
        done = _run(server, tmp_path / "here", _rows(HOSTILE_UIDS), "--save")
    assert [each["StudyInstanceUID"] for each in teller.moved] == [GOOD]
    outcomes = [row["outcome"] for row in _row_table(done)]
    assert outcomes == ["complete", *["failed"] * len(HOSTILE_UIDS)]
    assert list(done.files) == [f"{GOOD}.1.1"]


def test_a_malformed_uid_is_asked_for_as_it_is_and_names_no_path(tmp_path):
    series = [_series(uid, f"{uid}.1") for uid in ODD_UIDS]
    teller = Teller(Told({"STUDY": _all_studies(ODD_UIDS), "SERIES": [*series, _series(GOOD, f"{GOOD}.1")]}))
    with teller.serve(tmp_path) as server:
        done = _run(server, tmp_path, _rows(ODD_UIDS), "--info")
    assert done.status == 0, done.stderr
    asked = {keys["StudyInstanceUID"] for level, keys in teller.asked if level == "SERIES"}
    assert asked == {*ODD_UIDS, GOOD}
    infos = [path.relative_to(done.out) for path in done.out.glob("sub-*/ses-*/*.csv")]
    assert len(infos) == len(ODD_UIDS) + 1
    assert {path.parts[0] for path in infos} == {"sub-GOOD", *(f"sub-P{n}" for n in range(len(ODD_UIDS)))}


@pytest.mark.parametrize("level", ["STUDY", "IMAGE"])
def test_a_sop_class_that_is_none_does_not_keep_the_receiver_from_starting(level, tmp_path):
    uids = ["1.2 x", "1.2\n[[Profiles]]", "é", "*", "CT", "1" * 100, "1..2", TEXT_SR]
    study = {"StudyInstanceUID": GOOD, "PatientID": "GOOD"}
    series = _series(GOOD, f"{GOOD}.1")
    images = [
        {"StudyInstanceUID": GOOD, "SOPInstanceUID": f"{GOOD}.1.{n}", "SOPClassUID": uid}
        for n, uid in enumerate(uids, 1)
    ]
    if level == "STUDY":
        study["SOPClassesInStudy"] = "\\".join(uids)
    else:
        series["NumberOfSeriesRelatedInstances"] = str(len(uids))
    good = pydicom.dcmread(write_instance(tmp_path / "good.dcm", 1, PatientID="GOOD"))
    (tmp_path / "here").mkdir()
    with Teller(Told({"STUDY": [study], "SERIES": [series], "IMAGE": images}, [good])).serve(
        tmp_path
    ) as server:
        done = _run(server, tmp_path / "here", [{"PatientID": "GOOD"}], "--save", "--settle_time", "0.1")
    assert list(done.files) == [f"{GOOD}.1.1"]
    assert done.status == (0 if level == "STUDY" else 1), done.stderr


def test_an_object_with_a_hostile_instance_uid_gets_a_harmless_name(tmp_path):
    uids = ["../../../CANARY", "/tmp/CANARY", "CON", "1.2.", "$(touch CANARY)", "1" * 64, f"{GOOD}.1.1"]
    objects = [
        pydicom.dcmread(write_instance(tmp_path / f"{n}.dcm", 1, PatientID="GOOD", SOPInstanceUID=each))
        for n, each in enumerate(uids)
    ]
    series = _series(GOOD, f"{GOOD}.1") | {"NumberOfSeriesRelatedInstances": str(len(uids))}
    answers = {"STUDY": [{"StudyInstanceUID": GOOD, "PatientID": "GOOD"}], "SERIES": [series]}
    (tmp_path / "here").mkdir()
    with Teller(Told(answers, objects)).serve(tmp_path) as server:
        done = _run(server, tmp_path / "here", [{"PatientID": "GOOD"}], "--save", "--settle_time", "0.1")
    assert done.status == 0, done.stderr
    names = {path.name for path in instance_paths(done.out)}
    assert {f"SRt.{GOOD}.1.1", f"SRt.{'1' * 64}"} <= names
    assert all(re.fullmatch(r"SRt\.([0-9.]+[0-9]|malformed_[0-9a-f]{8})", name) for name in names)
    assert len(names) == len(uids)


def test_a_value_with_a_nul_keeps_its_folder_from_run_to_run(tmp_path):
    study = {
        "StudyInstanceUID": GOOD,
        "PatientID": "A\0B",
        "PatientName": "A\0B",
        "IssuerOfPatientID": " HUG",
    }
    told = Told({"STUDY": [study], "SERIES": [_series(GOOD, f"{GOOD}.1")]})
    with Teller(told).serve(tmp_path) as server:
        for _ in range(2):
            done = _run(server, tmp_path, [{"StudyInstanceUID": GOOD}], "--info")
            assert done.status == 0, done.stderr
    (info,) = done.out.glob("sub-*/ses-*/*.csv")
    assert read_table(info)[0]["PatientID"] == "AB"


# --- cells: a fault says where, what and what is allowed ---------------------------------------------------------

DAMAGED_CELLS = {
    "control": "a\x01b",
    "escape": "a\x1b[31mb",
    "line end": "a\nb",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "right to left": "a\u202eb",
    "line separator": "a\u2028b",
    "backslash": "a\\b",
    "too long": "x" * 300,
    "wildcard": "*",
    "wildcards": "**",
}


@pytest.mark.parametrize("name", DAMAGED_CELLS)
@pytest.mark.parametrize(
    "column", ["PatientID", "SeriesDescription", "AccessionNumber", "StudyInstanceUID", "StudyDate"]
)
def test_a_harmful_cell_is_a_fault_with_row_column_value_and_remedy(name, column, tmp_path):
    text = DAMAGED_CELLS[name]
    path = write_query(
        tmp_path / "query.csv", [{column: "1", "Modality": "MR"}, {column: text}, {column: "1"}]
    )
    with pytest.raises(InputError) as caught:
        read_query_file(path)
    faults = [
        each
        for each in caught.value.faults
        if isinstance(each, Fault) and each.value == _cut(text.replace("\r", "\n"))
    ]
    assert faults
    assert {(each.row, each.column) for each in faults} == {(3, column)}
    assert "allowed" in str(caught.value) or "accepted" in str(caught.value)
    assert all(character.isprintable() or character == "\n" for character in str(caught.value))


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"


def test_a_nul_in_a_query_file_is_told_with_its_line(tmp_path):
    path = tmp_path / "query.csv"
    path.write_bytes(b"PatientID\n1\n2\0\n3\n")
    with pytest.raises(InputError, match="line 3"):
        read_query_file(path)


cell_texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=80
)


@unhurried
@given(st.sampled_from(QUERY_COLUMNS), cell_texts)
@example("PatientName", "=")
@example("PatientName", "^ =")
@example("StudyTime", "²")
@example("SeriesNumber", "٣")
@example("StudyDate", "\uff12\uff10\uff12\uff10\uff10\uff11\uff10\uff11")
def test_any_cell_is_a_fault_with_its_place_or_goes_out_as_it_was_typed(
    tmp_path_factory: pytest.TempPathFactory, column: str, text: str
) -> None:
    path = write_query(tmp_path_factory.getbasetemp() / "any.csv", [{column: text, "PatientID": "1"}])
    try:
        table = read_query_file(path)
    except InputError as error:
        for fault in error.faults:
            assert isinstance(fault, Fault)
            assert fault.row is not None
            assert fault.problem
            assert column != fault.column or fault.value
        return
    (query,) = table.queries
    for keys in study_keys(query):
        sent = _read_back(encode_identifier({"QueryRetrieveLevel": "STUDY", **keys}))
        assert {keyword: sent[keyword] for keyword in keys} == {
            keyword: value.rstrip("\0 ") for keyword, value in keys.items()
        }
    _assert_a_cell_matches_itself(query)


def _read_back(content: bytes) -> dict[str, str | None]:
    tags = {keyword: attribute.tag for keyword, attribute in ATTRIBUTES.items()}
    found = part10.parse_dataset(content, 132 + 12 + 28, "1.2.840.10008.1.2.1", tuple(tags.values()))
    assert found.whole, found.defect
    return {keyword: found.text(tag) for keyword, tag in tags.items()}


def _assert_a_cell_matches_itself(query: Query) -> None:
    verdict = matches(query, query.cells, query.cells)
    asked_ranges = [
        column for column in query.cells if "-" in query.cells[column] and column.endswith("Date")
    ]
    if not asked_ranges and verdict.result is Match.NO:
        assert any(set(query.cells[column]) & set("*?\\") for column in verdict.rejected_by)


@unhurried
@given(
    st.dictionaries(st.sampled_from(QUERY_COLUMNS), st.text(min_size=1, max_size=20), min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(QUERY_COLUMNS), st.none() | st.text(max_size=20), max_size=17),
)
def test_no_answer_of_a_pacs_brings_the_matching_down(
    cells: dict[str, str], found: dict[str, str | None]
) -> None:
    cells = {
        column: text for column, text in cells.items() if ATTRIBUTES[column].vr not in ("IS", "DA", "TM")
    }
    verdict = matches(Query((2,), cells, None), found, QUERY_COLUMNS)
    told = {column for column in cells if (found.get(column) or "").strip("\0 ")}
    assert set(verdict.rejected_by) <= told, "what was not told is never a reason to reject"


@unhurried
@given(st.text(min_size=1, max_size=70).filter(str.strip))
@example("Kenobi,")
@example(" , ")
@example("=Kenobi")
def test_a_family_name_is_a_part_of_the_name(name: str) -> None:
    family = family_name(name)
    assert family
    assert family in name


# --- UIDs, names, tables: anything at all ------------------------------------------------------------------------

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=140)
uid_like = (
    anything
    | st.text("0123456789.*?\\ -a", max_size=70)
    | st.from_regex(r"[0-9]+(\.[0-9]+)*", fullmatch=True)
)
DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9]|CONIN\$|CONOUT\$)(?:\..*)?", re.IGNORECASE)


@unhurried
@given(uid_like)
@example("1.2\n")
@example("1" * 65)
@example("٣.1")
def test_what_is_taken_for_a_uid_can_stand_in_a_profile_a_key_and_a_name(uid: str) -> None:
    if is_uid(uid):
        assert pydicom.uid.RE_VALID_UID_PREFIX
        assert re.fullmatch(r"[0-9][0-9.]{0,63}", uid, re.ASCII)
        assert ".." not in uid
        assert not uid.endswith(".")
        assert is_single_key(uid)
    if is_single_key(uid):
        assert not set(uid) & set("*?\\ ")
        assert uid.isascii()
        assert uid.isprintable()
        assert _read_back(encode_identifier({"StudyInstanceUID": uid}))["StudyInstanceUID"] == uid


@unhurried
@given(anything, anything)
@example("CON", "NUL")
@example("name.", "name ")
@example("", ".")
def test_no_name_means_something_else_to_another_system(one: str, two: str) -> None:
    names = [
        patient_folder_name(one),
        study_folder_name(one, two),
        series_folder_name(one, two),
        f"{series_folder_name(one, two)}.csv",
        instance_name("SRt", one),
        instance_name("UN", two),
    ]
    for name in names:
        assert not DEVICE.fullmatch(name)
        assert not name.endswith((".", " "))
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name)
        assert len(name) <= 230, "two suffixes must find room"


@unhurried
@given(anything, anything)
@example("A", "a")
@example("straße", "strasse")
@example("\u017f", "s")
@example("\u212a", "k")
def test_two_patients_never_share_a_folder_not_even_where_case_does_not_count(one: str, two: str) -> None:
    assume(one.strip() != two.strip())
    tree = Tree(Path("/nowhere"))
    identities = [
        SeriesIdentity.of({"PatientID": each, "StudyInstanceUID": f"1.{n}", "SeriesInstanceUID": f"1.{n}.1"})
        for n, each in enumerate((one, two))
    ]
    first, second = (tree.patient_folder(each).name.casefold() for each in identities)
    assert first != second


def test_two_pairs_of_uids_that_read_alike_in_a_row_are_two_series() -> None:
    tree = Tree(Path("/nowhere"))
    one = {"PatientID": "A", "SeriesInstanceUID": "1.2", "StudyInstanceUID": "34.5"}
    two = {"PatientID": "B", "SeriesInstanceUID": "1.23", "StudyInstanceUID": "4.5"}
    folders = [tree.series_folder(SeriesIdentity.of(each)) for each in (one, two)]
    assert [each.parent.parent.name for each in folders] == ["sub-A", "sub-B"]


@pytest.mark.parametrize("which", ["folder", "info"])
def test_a_folder_that_is_there_under_another_case_belongs_to_its_patient(which, tmp_path: Path) -> None:
    identities = [
        SeriesIdentity.of({"PatientID": each, "StudyInstanceUID": "1.2", "SeriesInstanceUID": f"1.2.{n}"})
        for n, each in enumerate(("Abc", "aBC"))
    ]
    first = Tree(tmp_path)
    write_info(first.info_path(identities[0]), {"PatientID": "Abc", "StudyInstanceUID": "1.2"})
    if which == "folder":
        write_instance(first.series_folder(identities[0]) / "a.dcm", 1, PatientID="Abc")
    later = Tree(tmp_path)
    assert later.patient_folder(identities[0]).name == "sub-Abc"
    assert later.patient_folder(identities[1]).name.casefold() != "sub-abc"


@unhurried
@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=5))
@example([("a\rb", "\r"), ("", "\n"), ('"', "'")])
def test_the_tables_come_back_from_csv_and_pandas_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    out = tmp_path_factory.getbasetemp() / "tables"
    out.mkdir(exist_ok=True)
    queries = tuple(Query((row,), {"PatientID": "1"}, None) for row in range(2, len(cells) + 2))
    raw = dict(enumerate(cells, 2))
    table = QueryTable(out / "query.csv", ("PatientID", "SeriesDescription"), queries, raw, ())
    outcomes = {row: ("failed", texts[0]) for row, texts in raw.items()}
    write_rows(Tree(out), table, outcomes)
    path = out / "logs" / "query_rows.csv"
    expected = [[_kept(text) for text in (texts[0], *texts)] for texts in cells]
    columns = ["reason", "PatientID", "SeriesDescription"]
    assert [[row[column] for column in columns] for row in read_table(path)] == expected
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    assert frame[columns].to_numpy().tolist() == expected


def _kept(text: str) -> str:
    return text.replace("\0", "")


@unhurried
@given(anything)
@example("\x1b[31m\x9b\u202e\x07")
def test_nothing_on_the_console_steers_a_terminal(text: str) -> None:
    shown = visible(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    if text.isprintable():
        assert shown == text


def test_every_info_column_is_an_attribute() -> None:
    assert set(INFO_COLUMNS) <= set(ATTRIBUTES)
    assert os.sep == "/"
