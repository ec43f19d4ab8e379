"""A query that was typed into Excel asks for what its author sees there, or is refused with the cell."""

from __future__ import annotations

import builtins
import logging
import tracemalloc
import zipfile
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from pacsifier.errors import InputError
from pacsifier.flows.get_pseudonyms import read_mapping
from pacsifier.query import read_query_file
from pacsifier.query.workbook import read_workbook


def workbook(folder: Path, *rows: list[Any], formats: dict[str, str] | None = None) -> Path:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    for cell, number_format in (formats or {}).items():
        book.active[cell].number_format = number_format
    book.save(path := folder / "query.xlsx")
    return path


def change(path: Path, name: str, old: bytes, new: bytes) -> None:
    """Replaces bytes inside a workbook, for what openpyxl itself never writes."""
    with zipfile.ZipFile(path) as book:
        files = {each: book.read(each) for each in book.namelist()}
    assert old in files[name]
    with zipfile.ZipFile(path, "w") as book:
        for each, data in files.items():
            book.writestr(each, data.replace(old, new) if each == name else data)


def cells(path: Path) -> list[dict[str, str]]:
    return [dict(query.cells) for query in read_query_file(path).queries]


def test_numbers_dates_and_times_of_excel_are_asked_for_as_a_pacs_spells_them(tmp_path):
    path = workbook(
        tmp_path,
        ["PatientID", "StudyDate", "StudyTime", "SeriesNumber", "PatientBirthDate", "SeriesDescription"],
        [123421, date(2015, 5, 12), time(14, 5), 3.0, datetime(1992, 6, 11), "T1 Müller"],
        ["00123", "20150512-20160201", timedelta(hours=9, minutes=5, seconds=1), "4", None, 2.5],
        [45, "20150512", time(9, 5, 0, 250000), 7, None, True],
        formats={"A4": "00000"},
    )
    assert cells(path) == [
        {
            "StudyDate": "20150512",
            "StudyTime": "140500",
            "PatientID": "123421",
            "PatientBirthDate": "19920611",
            "SeriesDescription": "T1 Müller",
            "SeriesNumber": "3",
        },
        {
            "StudyDate": "20150512-20160201",
            "StudyTime": "090501",
            "PatientID": "00123",
            "SeriesDescription": "2.5",
            "SeriesNumber": "4",
        },
        {
            "StudyDate": "20150512",
            "StudyTime": "090500.250000",
            "PatientID": "00045",
            "SeriesDescription": "TRUE",
            "SeriesNumber": "7",
        },
    ]


def test_rows_keep_the_numbers_that_excel_shows_and_blank_ones_ask_for_nothing(tmp_path):
    path = workbook(tmp_path, ["PatientID", "Modality"], [], [7, "MR"], [" ", ""], [8])
    assert [query.rows for query in read_query_file(path).queries] == [(3,), (5,)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1234567890123456789, None], "row 2, column PatientID: '1.23456789012346E+18': rounded"),
        (["#N/A", None], "row 2, column PatientID: '#N/A': an error value"),
        ([1, datetime(2015, 5, 12, 14, 5)], "row 2, column StudyDate: '20150512 140500'"),
        ([1.5, "12.05.2015"], "write 20150512"),
        (
            [date(2019, 2, 3), None],
            "row 2, column PatientID: '20190203': a date that the spreadsheet may have made",
        ),
        ([time(14, 5), None], "row 2, column PatientID: '140500': a date"),
        ([True, None], "row 2, column PatientID: 'TRUE': a logical value"),
    ],
)
def test_what_excel_has_damaged_is_refused_with_its_cell(tmp_path, row, said):
    path = workbook(tmp_path, ["PatientID", "StudyDate"], row)
    with pytest.raises(InputError) as refused:
        read_query_file(path)
    assert said in str(refused.value)


def test_merged_cells_and_formulas_without_a_result_are_never_read_as_empty(tmp_path):
    book = Workbook()
    for row in (["PatientID", "StudyDate"], [1, "20150512"], [None, "20150513"], ["=1+1", "20150514"]):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    book.save(path := tmp_path / "query.xlsx")
    with pytest.raises(InputError) as refused:
        read_query_file(path)
    assert "A2:A3 are merged" in str(refused.value)
    assert "row 4: cell A4 holds a formula without a result" in str(refused.value)


def test_the_result_of_a_formula_counts(tmp_path):
    path = workbook(tmp_path, ["PatientID"], ["=40+2"])
    change(path, "xl/worksheets/sheet1.xml", b"<f>40+2</f><v />", b"<f>40+2</f><v>42</v>")
    assert cells(path) == [{"PatientID": "42"}]


def test_other_sheets_and_hidden_rows_are_told(tmp_path, caplog):
    book = Workbook()
    for row in (["PatientID"], [1], [2]):
        book.active.append(row)
    book.active.row_dimensions[3].hidden = True
    book.create_sheet("more").append(["PatientID"])
    book.save(path := tmp_path / "query.xlsx")
    with caplog.at_level(logging.WARNING):
        assert cells(path) == [{"PatientID": "1"}, {"PatientID": "2"}]
    assert "only the first of 2 sheets is read, 'Sheet'" in caplog.text
    assert "hidden rows (a filter?) are read all the same: 1" in caplog.text


def test_a_sheet_is_read_whole_whatever_size_it_says_that_it_has(tmp_path):
    path = workbook(tmp_path, ["PatientID", "StudyDate"], ["1", "20150512"], ["2", "20150513"])
    change(path, "xl/worksheets/sheet1.xml", b'<dimension ref="A1:B3"', b'<dimension ref="A1"')
    assert [row.cells for row in read_workbook(path)] == [
        ("PatientID", "StudyDate"),
        ("1", "20150512"),
        ("2", "20150513"),
    ]


def test_a_large_sheet_is_read_a_row_at_a_time(tmp_path):
    """Held as a whole, cells take some 50 times the size of their texts."""
    path = workbook(tmp_path, ["PatientID"], *([f"P{number}" * 20] for number in range(5000)))
    tracemalloc.start()
    try:
        number = sum(1 for _ in read_workbook(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number == 5001
    assert peak < 4_000_000


def test_without_openpyxl_the_message_says_what_to_do(tmp_path, monkeypatch):
    path = workbook(tmp_path, ["PatientID"], [1])
    there = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "openpyxl":
            raise ImportError(name)
        return there(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install 'pacsifier\[xlsx\]', or export it as CSV"):
        read_query_file(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"PK\x03\x04" + b"\0" * 500])
def test_an_archive_that_is_no_workbook_is_refused(tmp_path, content):
    (path := tmp_path / "query.xlsx").write_bytes(content)
    with pytest.raises(InputError, match="is no workbook that can be read"):
        read_query_file(path)


def test_a_text_archive_and_an_empty_workbook_are_refused(tmp_path):
    with zipfile.ZipFile(path := tmp_path / "letter.docx", "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(InputError, match="is no workbook"):
        read_query_file(path)
    with pytest.raises(InputError, match="is empty"):
        read_query_file(workbook(tmp_path))


def test_the_index_that_pandas_writes_is_one_fault(tmp_path):
    rows = [[number, f"{number:05}"] for number in range(50)]
    with pytest.raises(InputError, match="index=False") as raised:
        cells(workbook(tmp_path, [None, "PatientID"], *rows))
    assert len(raised.value.faults) == 1


def test_a_mapping_may_be_a_workbook_too(tmp_path):
    assert read_mapping(workbook(tmp_path, [1234, "P0001"], ["00123", "P0002"])) == {
        "1234": "P0001",
        "00123": "P0002",
    }
