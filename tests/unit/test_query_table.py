"""Reading the query file: values stay as written, and every fault is told at once."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsifier.errors import Fault, InputError
from pacsifier.query import Query, QueryTable, read_query_file
from pacsifier.query.cells import Cell, read_cell
from pacsifier.query.table import QUERY_COLUMNS

# Timing on a loaded machine is no finding.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "query.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(folder: Path, content: str | bytes) -> QueryTable:
    return read_query_file(write(folder, content))


def cells(folder: Path, content: str | bytes) -> list[dict[str, str]]:
    return [dict(query.cells) for query in read(folder, content).queries]


def faults(folder: Path, content: str | bytes) -> list[Fault]:
    with pytest.raises(InputError) as caught:
        read(folder, content)
    found = [fault for fault in caught.value.faults if isinstance(fault, Fault)]
    assert len(found) == len(caught.value.faults)
    assert all(fault.source == str(folder / "query.csv") for fault in found)
    return found


def problem(folder: Path, column: str, value: str) -> str:
    """The one problem of one cell, which must be named with row, column and value."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([[column], [value]])
    (fault,) = faults(folder, buffer.getvalue())
    assert (fault.row, fault.column) == (2, column)
    assert fault.value == value.strip(" ")[:100] + ("…" if len(value) > 100 else "")
    return fault.problem


# --- the examples of the documentation ---


def test_documentation_example_1(tmp_path: Path) -> None:
    table = read(tmp_path, "StudyDate,PatientID\n20150512,123421\n,45322\n20180102,\n")
    assert table.columns == ("StudyDate", "PatientID")
    assert table.queries == (
        Query((2,), {"StudyDate": "20150512", "PatientID": "123421"}, None),
        Query((3,), {"PatientID": "45322"}, None),
        Query((4,), {"StudyDate": "20180102"}, None),
    )
    assert table.notes == ()


def test_documentation_example_2(tmp_path: Path) -> None:
    assert cells(tmp_path, "StudyDate,PatientID\n20150512-20150612,124588\n") == [
        {"StudyDate": "20150512-20150612", "PatientID": "124588"}
    ]


def test_documentation_example_3(tmp_path: Path) -> None:
    assert cells(tmp_path, "ProtocolName,Modality,PatientBirthDate\nBEAT_SelfNav*,CT,19920611\n") == [
        {"ProtocolName": "BEAT_SelfNav*", "Modality": "CT", "PatientBirthDate": "19920611"}
    ]


# --- values stay as written ---


@pytest.mark.parametrize("value", ["00012", "NA", "nan", "NULL", "None", "-", "1E5", "True", "[a]", "+5"])
def test_a_patient_id_keeps_its_leading_zeros_and_words(tmp_path: Path, value: str) -> None:
    assert cells(tmp_path, f"PatientID\n{value}\n") == [{"PatientID": value}]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_of_every_spreadsheet(tmp_path: Path, separator: str, end: str) -> None:
    rows = ["StudyDate,PatientID", "20150512,1", "", ",2"]
    text = end.join(rows).replace(",", separator)
    table = read(tmp_path, text)
    assert [query.rows for query in table.queries] == [(2,), (4,)]
    assert [dict(query.cells) for query in table.queries] == [
        {"StudyDate": "20150512", "PatientID": "1"},
        {"PatientID": "2"},
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_accents_survive_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    assert cells(tmp_path, "PatientName\nMüller\n".encode(encoding)) == [{"PatientName": "Müller"}]


def test_blanks_around_cells_and_names_do_not_count(tmp_path: Path) -> None:
    text = ' PatientID , PatientName \n 007 ,"Obi-Wan, Kenobi " \n\u00a08\u00a0, "x y"\n'
    assert cells(tmp_path, text) == [
        {"PatientID": "007", "PatientName": "Obi-Wan, Kenobi"},
        {"PatientID": "8", "PatientName": "x y"},
    ]


def test_row_numbers_are_those_a_spreadsheet_shows(tmp_path: Path) -> None:
    text = '\nPatientID,SeriesDescription\n\n1,"a, ""b"""\n   \n2,c\n\n\n3,"d"'
    table = read(tmp_path, text)
    assert [query.rows for query in table.queries] == [(4,), (6,), (9,)]
    assert table.queries[0].cells["SeriesDescription"] == 'a, "b"'
    assert list(table.raw) == [4, 6, 9]


def test_a_line_break_in_a_cell_does_not_shift_the_rows_after_it(tmp_path: Path) -> None:
    first, second = faults(tmp_path, 'PatientID,StudyDate\n"a\nb",20150512\n1,20150230\n')
    assert (first.row, first.column, first.value) == (2, "PatientID", "a\nb")
    assert (second.row, second.column, second.value) == (3, "StudyDate", "20150230")


def test_an_empty_line_of_a_one_column_file_is_a_blank_line(tmp_path: Path) -> None:
    assert [query.rows for query in read(tmp_path, "PatientID\n1\n\n2\n\n").queries] == [(2,), (4,)]


def test_empty_columns_that_excel_leaves_behind_are_harmless(tmp_path: Path) -> None:
    table = read(tmp_path, "PatientID;StudyDate;;\n1;20150512;;\n2;;;;;;\n")
    assert table.columns == ("PatientID", "StudyDate")
    assert table.raw == {2: ("1", "20150512"), 3: ("2", "")}


def test_the_raw_row_is_kept_for_the_redo_file(tmp_path: Path) -> None:
    table = read(tmp_path, "Modality,PatientID,new_ids\nMR,1 ,P1\nCT\n")
    assert table.columns == ("Modality", "PatientID", "new_ids")
    assert table.raw == {2: ("MR", "1 ", "P1"), 3: ("CT", "", "")}


def test_a_redo_file_can_be_run_again_as_it_stands(tmp_path: Path) -> None:
    table = read(tmp_path, "PatientID,reason\n1,not_found\n")
    assert (table.columns, table.raw) == (("PatientID",), {2: ("1",)})


def test_all_seventeen_columns_and_new_ids_are_read(tmp_path: Path) -> None:
    row = {
        "StudyDate": "20150512-",
        "StudyTime": "140500.5",
        "PatientID": "1",
        "PatientName": "Kenobi^Obi*",
        "PatientBirthDate": "19920611",
        "SeriesDescription": "T1?",
        "ProtocolName": "P*",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "Modality": "MR",
        "AcquisitionDate": "-20160101",
        "DeviceSerialNumber": "0012",
        "SeriesNumber": "03",
        "StudyDescription": "Kopf/Hals",
        "AccessionNumber": "A1",
        "SequenceName": "*tfl3d1",
        "ImageType": "ORIGINAL\\PRIMARY",
    }
    text = ",".join([*row, "new_ids"]) + "\n" + ",".join([*row.values(), "P0001"])
    assert read(tmp_path, text).queries == (Query((2,), row, "P0001"),)


# --- what is no query file ---


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n \r\n", "is empty"),
        (b'""\n', "is empty"),
        (" \ufeff".encode(), "is empty"),
        (b"PK\x03\x04xlsx", "export it as CSV"),
        (b"\xd0\xcf\x11\xe0xls", "export it as CSV"),
        (b"PatientID\n\x81\n", "neither UTF-8 nor Windows-1252"),
        (b"P\0a\0t\0i\0", "NUL"),
        (b"\xff\xfeP", "export it as CSV UTF-8"),
        (b"PatientID\n", "no rows"),
        (b"PatientID", "no rows"),
        (b'PatientID\n1\n"2\n3\n', "never closed"),
    ],
)
def test_what_is_no_query_file_is_said(tmp_path: Path, content: bytes, expected: str) -> None:
    (fault,) = faults(tmp_path, content)
    assert expected in fault.problem


def test_an_open_quote_is_named_by_its_row(tmp_path: Path) -> None:
    assert faults(tmp_path, 'PatientID\n1\n"2\n3\n')[0].row == 3


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_query_file(path)


# --- the header ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("patientid", "PatientID"),
        ("Patient ID", "PatientID"),
        ("StudyDates", "StudyDate"),
        ("NEW_IDS", "new_ids"),
    ],
)
def test_an_unknown_column_gets_the_nearest_name(tmp_path: Path, name: str, expected: str) -> None:
    (fault,) = faults(tmp_path, f"Modality,{name}\nMR,1\n,2\n")
    assert (fault.row, fault.column) == (1, name)
    assert fault.problem == f"unknown column: did you mean {expected}?"


def test_a_column_without_any_likeness_gets_the_whole_list(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "Modality,xyz\nMR,1\n")
    assert all(name in fault.problem for name in QUERY_COLUMNS)


def test_a_file_without_header_is_not_read_as_columns(tmp_path: Path) -> None:
    problems = [fault.problem for fault in faults(tmp_path, "123,456\n1,2\n")]
    assert any("names no column to query" in text for text in problems)


def test_a_column_that_stands_twice_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "PatientID,PatientID\n1,2\n,3\n")
    assert (fault.column, "twice" in fault.problem) == ("PatientID", True)


def test_new_ids_alone_ask_for_nothing(tmp_path: Path) -> None:
    assert "names no column to query" in faults(tmp_path, "new_ids\nP1\n")[0].problem


# --- rows ---


def test_all_faults_of_all_rows_are_told_at_once(tmp_path: Path) -> None:
    text = "PatientID,StudyDate,Modality\n*,20150230,ct\n,,\n1,2015,MR,x\n2,20160101,MR\n3,#REF!,\n"
    assert [(fault.row, fault.column) for fault in faults(tmp_path, text)] == [
        (2, "StudyDate"),
        (2, "PatientID"),
        (2, "Modality"),
        (3, None),
        (4, None),
        (4, "StudyDate"),
        (6, "StudyDate"),
    ]


def test_a_row_of_empty_cells_would_fetch_everything(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "PatientID,StudyDate\n1,\n,,\n")
    assert (fault.row, "would ask for everything" in fault.problem) == (3, True)


def test_a_row_of_a_pseudonym_only_would_fetch_everything(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "PatientID,new_ids\n,P1\n")
    assert "new_ids only" in fault.problem


def test_too_many_cells_are_named(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "PatientID,StudyDate\n1,20150512,MR, ,CT\n")
    assert (fault.row, fault.value) == (2, "MR | CT")


@pytest.mark.parametrize(
    "content", ["PatientID,,StudyDate\n1,MR,20150512\n", "PatientID,,StudyDate\n1,MR,20150512\n2,CT\n"]
)
def test_a_cell_under_an_empty_column_name_is_not_lost(tmp_path: Path, content: str) -> None:
    (fault,) = faults(tmp_path, content)
    assert (fault.row, fault.value) == (2, "MR")
    assert "column 2 has no name" in fault.problem


@pytest.mark.parametrize("rows", [1, 300])
def test_the_index_of_pandas_is_one_fault_that_says_what_it_is(tmp_path: Path, rows: int) -> None:
    lines = "".join(f"{number},{number:05}\n" for number in range(rows))
    (fault,) = faults(tmp_path, f",PatientID\n{lines}")
    assert (fault.row, fault.value) == (2, "0")
    assert "column 1 has no name" in fault.problem
    assert "index=False" in fault.problem


def test_each_column_without_a_name_is_told_once_and_cells_beyond_the_header_for_each_row(
    tmp_path: Path,
) -> None:
    found = faults(tmp_path, ",PatientID,,StudyDate\n0,1,a\n1,2,b,20150512,x\n2,3,c,20150513,y\n")
    assert [(fault.row, fault.value) for fault in found] == [(2, "0"), (2, "a"), (3, "x"), (4, "y")]


def test_rows_that_ask_the_same_are_asked_once(tmp_path: Path) -> None:
    table = read(tmp_path, "PatientID,Modality\n1,MR\n2,\n1 , MR\n1,MR\n2,CT\n2,\n")
    assert [query.rows for query in table.queries] == [(2, 4, 5), (3, 7), (6,)]
    assert table.notes == (
        "rows 2, 4 and 5 ask the same: asked once",
        "rows 3 and 7 ask the same: asked once",
    )
    assert list(table.raw) == [2, 3, 4, 5, 6, 7]


def test_one_patient_never_gets_two_pseudonyms(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "PatientID,Modality,new_ids\n1,MR,P1\n2,MR,P2\n1,CT,P9\n1,CT,\n")
    assert (fault.row, fault.column, fault.value) == (4, "new_ids", "P9")
    assert "'P1' in row 2" in fault.problem


def test_the_same_cells_keep_their_pseudonyms_apart_without_patient(tmp_path: Path) -> None:
    queries = read(tmp_path, "AccessionNumber,new_ids\nA,P1\nA,P2\nA,\n").queries
    assert [(query.rows, query.new_id) for query in queries] == [((2, 4), "P1"), ((3,), "P2")]


def test_a_twin_row_without_pseudonym_takes_that_of_the_other(tmp_path: Path) -> None:
    (query,) = read(tmp_path, "PatientID,new_ids\n1,\n1,P1\n").queries
    assert (query.rows, query.new_id) == ((2, 3), "P1")


def test_two_patients_with_one_pseudonym_are_noted(tmp_path: Path) -> None:
    assert read(tmp_path, "PatientID,new_ids\n1,P\n2,P\n").notes == (
        "rows 2 and 3 give several patients the same new_ids",
    )


@pytest.mark.parametrize(
    ("new_id", "expected"),
    [
        ("P" * 65, "at most 64"),
        ("A\\B", "backslash"),
        ("A\tB", "invisible"),
        ("---", "names no folder"),
        ("1.2E+05", "rounded by the spreadsheet"),
        ("#N/A", "error value"),
    ],
)
def test_a_pseudonym_that_names_no_folder_is_a_fault(tmp_path: Path, new_id: str, expected: str) -> None:
    (fault,) = faults(tmp_path, f'PatientID,new_ids\n1,"{new_id}"\n')
    assert (fault.column, expected in fault.problem) == ("new_ids", True)


# --- cells ---


@pytest.mark.parametrize("value", ["*", "**", "* *"])
@pytest.mark.parametrize("column", ["PatientID", "PatientName", "Modality", "SeriesDescription"])
def test_the_wildcard_alone_is_not_accepted(tmp_path: Path, column: str, value: str) -> None:
    assert "* alone" in problem(tmp_path, column, value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("StudyInstanceUID", "1.2.*"),
        ("StudyDate", "2015*"),
        ("PatientBirthDate", "1992061?"),
        ("AcquisitionDate", "201505*"),
        ("StudyTime", "14*"),
        ("SeriesNumber", "1*"),
    ],
)
def test_a_wildcard_where_the_standard_has_none(tmp_path: Path, column: str, value: str) -> None:
    assert "wildcard is not allowed" in problem(tmp_path, column, value)


@pytest.mark.parametrize("column", ["StudyDate", "AcquisitionDate"])
@pytest.mark.parametrize(
    "value", ["20150512", "20150512-20150612", "20150512-20150512", "20150512-", "-20150512"]
)
def test_dates_and_ranges_pass(tmp_path: Path, column: str, value: str) -> None:
    assert cells(tmp_path, f"{column}\n{value}\n") == [{column: value}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20150230", "20150230 does not exist"),
        ("20150512-20150631", "20150631 does not exist"),
        ("00000000", "does not exist"),
        ("20150612-20150512", "write 20150512-20150612"),
        ("2015", "allowed: YYYYMMDD"),
        ("-", "allowed: YYYYMMDD"),
        ("20150101-20150201-20150301", "allowed: YYYYMMDD"),
        ("٢٠١٥٠٥١٢", "allowed: YYYYMMDD"),
        ("12.05.2015", "write 20150512"),
        ("2.5.2015", "write 20150502"),
        ("2015-05-12", "write 20150512"),
        ("2015-05-12 00:00:00", "write 20150512"),
        ("2015/05/12", "write 20150512"),
        ("25/12/2015", "write 20151225"),
        ("12/25/2015", "write 20151225"),
        ("05/12/2015", "write 20151205 or 20150512"),
        ("20150101 - 20150201", "write 20150101-20150201"),
        ("20150101\u201320150201", "write 20150101-20150201"),
        ("2.02E+07", "rounded by the spreadsheet"),
        ("20150512.0", "was 20150512 meant?"),
    ],
)
def test_a_wrong_date_is_told_with_the_right_spelling(tmp_path: Path, value: str, expected: str) -> None:
    assert expected in problem(tmp_path, "StudyDate", value)


def test_a_swapped_day_is_not_guessed(tmp_path: Path) -> None:
    assert "write" not in problem(tmp_path, "StudyDate", "05.13.2015")


@pytest.mark.parametrize("value", ["19920101-19921231", "19920101-", "-19920101"])
def test_a_birth_date_takes_no_range(tmp_path: Path, value: str) -> None:
    assert "range is not supported" in problem(tmp_path, "PatientBirthDate", value)


@pytest.mark.parametrize("value", ["14", "1405", "140500", "000000", "235960", "140500.1", "140500.000000"])
def test_times_of_every_precision_pass(tmp_path: Path, value: str) -> None:
    assert cells(tmp_path, f"StudyTime\n{value}\n") == [{"StudyTime": value}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("240000", "no time of a day"),
        ("1460", "no time of a day"),
        ("140561", "no time of a day"),
        ("90500", "was 090500 meant?"),
        ("905", "was 0905 meant?"),
        ("9", "was 09 meant?"),
        ("90500.25", "was 090500.25 meant?"),
        ("14:05:00", "write 140500"),
        ("9:05", "write 0905"),
        ("140500.1234567", "allowed: HH"),
        ("1405.5", "allowed: HH"),
        ("140000-150000", "allowed: HH"),
        ("140500.0", "was 140500 meant?"),
    ],
)
def test_a_wrong_time_is_told_with_the_right_spelling(tmp_path: Path, value: str, expected: str) -> None:
    assert expected in problem(tmp_path, "StudyTime", value)


@pytest.mark.parametrize("column", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["1.2..3", ".1.2", "1.2.", "1.2.a", "1.2 .3", "1." * 32 + "1", "1.2.٣"])
def test_a_malformed_or_too_long_uid_is_a_fault(tmp_path: Path, column: str, value: str) -> None:
    assert "UID" in problem(tmp_path, column, value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("PatientID", "x" * 65),
        ("AccessionNumber", "x" * 17),
        ("SequenceName", "*" + "x" * 16),
        ("Modality", "X" * 17),
        ("ImageType", "ORIGINAL\\" + "X" * 17),
        ("PatientName", "Yamada^Tarou=" + "x" * 65),
        ("SeriesNumber", "1234567890123"),
        ("SeriesDescription", "é" * 101),
    ],
)
def test_a_value_longer_than_its_vr_is_a_fault(tmp_path: Path, column: str, value: str) -> None:
    assert " characters, at most " in problem(tmp_path, column, value)


def test_lengths_count_each_part_and_characters_not_bytes(tmp_path: Path) -> None:
    row = {
        "SeriesDescription": "é" * 64,
        "PatientName": "=".join(["x" * 64] * 3),
        "ImageType": "\\".join(["X" * 16] * 9),
    }
    text = ",".join(row) + "\n" + ",".join(row.values())
    assert cells(tmp_path, text) == [{name: row[name] for name in QUERY_COLUMNS if name in row}]


def test_a_modality_in_lower_case_is_told_in_upper_case(tmp_path: Path) -> None:
    assert "write CT" in problem(tmp_path, "Modality", "ct")


@pytest.mark.parametrize("value", ["CT/MR", "CT\\MR", "CT+"])
def test_several_modalities_need_rows_of_their_own(tmp_path: Path, value: str) -> None:
    assert "one" in problem(tmp_path, "Modality", value)


@pytest.mark.parametrize("value", ["3.5", "three", "9999999999", "٣"])
def test_a_series_number_is_a_whole_number(tmp_path: Path, value: str) -> None:
    assert "whole number" in problem(tmp_path, "SeriesNumber", value)


@pytest.mark.parametrize("column", ["PatientID", "SeriesDescription", "PatientName"])
def test_a_backslash_is_allowed_in_image_type_only(tmp_path: Path, column: str) -> None:
    assert "backslash" in problem(tmp_path, column, "A\\B")


@pytest.mark.parametrize("value", ["a\tb", "a\nb", "a\x7fb", "a\u200bb", "a\u2028b", "a\u202ab"])
def test_characters_that_nobody_sees_are_a_fault(tmp_path: Path, value: str) -> None:
    assert "invisible" in problem(tmp_path, "PatientID", value)


@pytest.mark.parametrize("value", ["1.23E+09", "1,23E+09", "1E+10", "1.23e+09"])
@pytest.mark.parametrize(
    "column",
    [
        "PatientID",
        "AccessionNumber",
        "DeviceSerialNumber",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "SeriesNumber",
    ],
)
def test_a_rounded_number_of_a_spreadsheet_is_a_fault(tmp_path: Path, column: str, value: str) -> None:
    assert "rounded by the spreadsheet" in problem(tmp_path, column, value)


@pytest.mark.parametrize(
    "column", ["PatientID", "AccessionNumber", "DeviceSerialNumber", "SeriesNumber", "StudyDate"]
)
def test_a_float_of_a_spreadsheet_is_a_fault(tmp_path: Path, column: str) -> None:
    assert "was 123 meant?" in problem(tmp_path, column, "123.0")


def test_numbers_in_text_columns_are_no_damage(tmp_path: Path) -> None:
    assert cells(tmp_path, "SeriesDescription\n2.0\n") == [{"SeriesDescription": "2.0"}]


@pytest.mark.parametrize(
    "value",
    [
        "#REF!",
        "#N/A",
        "#NAME?",
        "#VALUE!",
        "#DIV/0!",
        "#NUM!",
        "#NULL!",
        "####",
        "########",
        "#NOM?",
        "#WERT!",
    ],
)
@pytest.mark.parametrize("column", ["PatientID", "SeriesDescription", "StudyDate", "Modality"])
def test_an_error_value_of_a_spreadsheet_is_a_fault(tmp_path: Path, column: str, value: str) -> None:
    assert "error value" in problem(tmp_path, column, value)


@pytest.mark.parametrize("value", ["#1", "T1 # 2", "#abc?"])
def test_a_number_sign_is_no_error_value(tmp_path: Path, value: str) -> None:
    assert cells(tmp_path, f"SeriesDescription\n{value}\n") == [{"SeriesDescription": value}]


@pytest.mark.parametrize("value", ["^", "=", "^^="])
def test_a_name_of_separators_only_would_match_anybody(tmp_path: Path, value: str) -> None:
    assert "separators only" in problem(tmp_path, "PatientName", value)


# --- anything at all ---


def outcome(path: Path) -> QueryTable | InputError:
    try:
        return read_query_file(path)
    except InputError as error:
        return error


@unhurried
@given(st.binary(max_size=300))
def test_any_bytes_give_a_table_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    result = outcome(write(tmp_path_factory.getbasetemp(), content))
    assert isinstance(result, (QueryTable, InputError))


@unhurried
@given(st.text(alphabet='PatientID,;\t"\n\r 1*é\x0b\u2028', max_size=60))
def test_any_csv_gives_a_table_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    result = outcome(write(tmp_path_factory.getbasetemp(), "PatientID,SeriesDescription\n" + text))
    if isinstance(result, InputError):
        assert "understood" not in str(result), "the two CSV readers disagree"


cell_texts = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"], exclude_characters="\\*#"),
    min_size=1,
    max_size=64,
).filter(
    lambda text: read_cell("SeriesDescription", text) == Cell(text)
)  # test_spreadsheet_cells.py has the others


@unhurried
@given(st.lists(cell_texts, min_size=1, max_size=5, unique=True), st.sampled_from(",;\t"))
def test_a_description_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[str], separator: str
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerows([["SeriesDescription", "Modality"], *([value, "MR"] for value in values)])
    table = read_query_file(write(tmp_path_factory.getbasetemp(), buffer.getvalue()))
    assert [query.cells["SeriesDescription"] for query in table.queries] == values
    assert [query.rows for query in table.queries] == [(row,) for row in range(2, len(values) + 2)]


@unhurried
@given(st.dates(), st.dates())
def test_every_day_passes_and_a_range_only_forwards(
    tmp_path_factory: pytest.TempPathFactory, first: object, second: object
) -> None:
    one, two = (str(day).replace("-", "") for day in (first, second))
    result = outcome(write(tmp_path_factory.getbasetemp(), f"StudyDate\n{one}-{two}\n"))
    assert isinstance(result, QueryTable) is (one <= two)


# --- rows that ask the same --------------------------------------------------------------------------------------

PATIENTS = st.sampled_from(["", "1", "1 ", "2", '="2"', "1*"])
PSEUDONYMS = st.sampled_from(["", "a", "b "])
ROWS = st.lists(
    st.tuples(PATIENTS, st.sampled_from(["MR", "CT", "CT "]), PSEUDONYMS), min_size=1, max_size=12
)


def _meant(cell: str) -> str:
    return cell.strip().removeprefix('="').removesuffix('"')


def _asked_once(rows: Sequence[tuple[str, ...]]) -> list[Query]:
    """The queries of rows of PatientID, Modality and new_ids, by looking at every row before each."""
    alike: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number, (patient, modality, new_id) in enumerate(rows, start=2):
        alike.setdefault((_meant(patient), _meant(modality)), []).append((number, _meant(new_id)))
    queries = []
    for (patient, modality), members in alike.items():
        cells = {"PatientID": patient, "Modality": modality}
        unnamed = [number for number, new_id in members if not new_id]
        for new_id in dict.fromkeys(each for _, each in members if each) or [""]:
            named = [number for number, each in members if each == new_id != ""]
            numbers = tuple(sorted([*named, *unnamed]))
            queries.append(Query(numbers, {k: v for k, v in cells.items() if v}, new_id or None))
            unnamed = []
    return queries


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_rows_are_asked_once_and_keep_their_cells_and_pseudonyms(
    tmp_path: Path, rows: list[tuple[str, ...]]
) -> None:
    path = tmp_path / "query.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("PatientID", "Modality", "new_ids"), *rows])
    try:
        table = read_query_file(path)
    except InputError as error:
        assert all("one patient, one pseudonym" in str(fault) for fault in error.faults)
        return
    queries = _asked_once(rows)
    assert [*table.queries] == queries
    assert [table.queries[at] for at in range(-len(queries), 0)] == queries
    assert table.queries[1:] == tuple(queries[1:])
    assert table.raw == dict(enumerate(rows, start=2))


def test_a_cell_that_means_the_text_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    """`''1` means `'1`, and a cell that holds `'1` means `1`; a thousand apostrophes are read one by one."""
    path = tmp_path / "query.csv"
    many = "'" * 990 + "A 1"
    path.write_text("\n".join(["AccessionNumber", "''A 1", "'A 1", "A 1"]) + "\n")
    assert [(query.rows, query.cells["AccessionNumber"]) for query in read_query_file(path).queries] == [
        ((2,), "'A 1"),
        ((3, 4), "A 1"),
    ]
    path.write_text(f"AccessionNumber\n{many}\n")
    with pytest.raises(InputError, match="at most 16 are allowed"):
        read_query_file(path)
