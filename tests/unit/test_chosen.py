"""A series table that comes back from a spreadsheet: its UIDs decide, and what was damaged is named by its cell."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections import Counter
from datetime import date
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_finding import FakePacs

from pacsifier.errors import InputError
from pacsifier.query import SERIES_COLUMNS, Query, QueryTable, Shard, read_query_file
from pacsifier.query.chosen import is_series_table, noticed, read_deciding
from pacsifier.query.packed import PackedRows
from pacsifier.query.series import Series
from pacsifier.transfer.find.against import differing, held_against
from pacsifier.transfer.find.finder import find
from pacsifier.transfer.model import Found, RowReport

UID = "1.2.826.0.1.3680043.8.498.3"
LONGER = "1.23456789012345678901234567890"


def row(number: int = 1, study: int = 1, **cells: str) -> dict[str, str]:
    """A row as a run writes it; the series is `number` of its study."""
    told = {
        "StudyInstanceUID": f"{UID}.{study}",
        "SeriesInstanceUID": f"{UID}.{study}.{number}",
        "PatientID": f"00{study}",
        "PatientName": "Kenobi^Obi-Wan",
        "PatientBirthDate": "19700102",
        "StudyDate": "20150512",
        "StudyTime": "093000.5",
        "SeriesNumber": str(number),
        "SeriesDescription": "t1, sag",
        "status": "listed",
        "query_rows": "2",
    }
    return dict.fromkeys(SERIES_COLUMNS, "") | told | cells


def text(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read(folder: Path, content: str) -> QueryTable:
    path = folder / "series.csv"
    path.write_text(content, encoding="utf-8")
    return read_query_file(path)


def faults(folder: Path, content: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        read(folder, content)
    return [str(fault).partition("series.csv, ")[2] for fault in raised.value.faults]


# --- what it is


@pytest.mark.parametrize(
    ("missing", "chosen"),
    [("", True), ("status", False), ("query_rows", False), ("StudyInstanceUID", False), ("folder", True)],
)
def test_a_series_table_is_known_by_both_uids_status_and_query_rows(missing, chosen):
    assert is_series_table([column for column in SERIES_COLUMNS if column != missing]) is chosen


def test_any_other_file_filters_by_every_filled_column_as_before(tmp_path):
    content = text(
        {column: cell for column, cell in row().items() if column in ("StudyInstanceUID", "Modality")}
    )
    (query,) = read(tmp_path, content).queries
    assert dict(query.cells) == {"StudyInstanceUID": f"{UID}.1"}
    with pytest.raises(InputError, match="unknown column"):
        read(tmp_path, text({"PatientID": "1", "status": "listed"}))


def test_the_uids_decide_alone(tmp_path):
    table = read(tmp_path, text(row(1), row(2, Modality="XX", PatientID="*")))
    assert table.chosen
    assert [dict(query.cells) for query in table.queries] == [
        {"StudyInstanceUID": f"{UID}.1", "SeriesInstanceUID": f"{UID}.1.{number}"} for number in (1, 2)
    ]


def test_a_table_that_nobody_edited_needs_no_remark(tmp_path):
    assert read(tmp_path, text(*(row(number) for number in range(1, 9)))).notes == ()


@pytest.mark.parametrize("uid", ["1.2.x", f"{UID}.007", "1.2.840." + "1" * 70, "weird_uid-1"])
def test_whatever_uid_the_pacs_told_goes_back_as_it_is(uid):
    assert read_deciding("StudyInstanceUID", uid) == read_deciding("SeriesInstanceUID", f' ="{uid}" ')
    assert read_deciding("StudyInstanceUID", uid).problems == ()


# --- what a person adds


def test_pseudonyms_work_as_in_any_query(tmp_path):
    table = read(tmp_path, text(row(1, new_ids="P1"), row(2, new_ids="P1"), row(1, 2, new_ids="")))
    assert [query.new_id for query in table.queries] == ["P1", "P1", None]
    assert faults(tmp_path, text(row(1, new_ids="P1"), row(2, new_ids="P2")))[0].startswith(
        "row 3, column new_ids"
    )
    (note,) = read(tmp_path, text(row(1, 1, new_ids="P1"), row(1, 2, new_ids="P1"))).notes
    assert "several patients the same new_ids" in note


@pytest.mark.parametrize("name", ["New IDs", "newids", "row", "Outcome", "rows"])
def test_a_column_of_a_name_that_misleads_is_refused(tmp_path, name):
    (fault,) = faults(tmp_path, text(row(**{name: "x"})))
    assert fault.startswith(f"row 1, column {name}")


def test_a_persons_own_columns_are_carried_and_those_of_the_table_are_not(tmp_path):
    table = read(tmp_path, text(row(1, arm="A ", StudyDate="x")))
    assert table.carried == ("arm",)
    assert table.extra_cells(2) == {"arm": "A"}
    assert set(table.columns) == {*SERIES_COLUMNS, "arm"} - {"reason"}


def test_emptied_rows_choose_nothing_and_keep_the_numbers_of_the_others(tmp_path):
    table = read(tmp_path, f"{text(row(1))}{',' * 25}\n\n{text(row(2)).splitlines()[1]}\n")
    assert [query.rows for query in table.queries] == [(2,), (5,)]


# --- what a spreadsheet damages

DAMAGED = {
    "scientific": ("1.23457E+30", "rounded by the spreadsheet"),
    "with a comma": ("1,23457E+30", "rounded by the spreadsheet"),
    "short exponent": ("1.2E15", "rounded by the spreadsheet"),
    "15 digits": ("1.23456789012346", "cut the others off"),
    "15 digits and zeros": ("12345678901234500000", "cut the others off"),
    "a date": ("01.02.2003", "a date that the spreadsheet may have made"),
    "a month": ("2-May-03", "a date that the spreadsheet may have made"),
    "no UID": ("see below", "no UID"),
    "several": (f"{UID}.1\\{UID}.2", "no UID"),
    "a wildcard": (f"{UID}.*", "no UID"),
    "a word": ("nan", "no UID"),
    "an error of a language": ("N/A", "no UID"),
    "a negative number": ("-2.25", "no UID"),
    "a time": ("1:02:03", "no UID"),
    "separators of thousands": ("2,251,470", "no UID"),
    "15 digits behind a comma": ("2,25186001537791", "cut the others off"),
    "two texts joined": ('="1.2."&"840.1"', "a formula"),
    "an error": ("#NAME?", "an error value"),
    "a formula": ("=A2", "a formula"),
    "empty": ("", "is empty"),
    "narrow": ("########", "an error value"),
    "invisible": (f"{UID}\u200b.1", "invisible"),
}


@pytest.mark.parametrize("column", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize(("value", "problem"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_uid_is_a_fault_named_by_its_cell(tmp_path, column, value, problem):
    (fault,) = faults(tmp_path, text(row(1), row(2, **{column: value}), row(3)))
    assert fault.startswith(f"row 3, column {column}: {value!r}: "), fault
    assert problem in fault


def test_every_damaged_cell_is_named_at_once(tmp_path):
    content = text(*(row(number, SeriesInstanceUID="1E+20") for number in range(1, 40)))
    assert [fault.split(",")[0] for fault in faults(tmp_path, content)] == [f"row {n}" for n in range(2, 41)]


TOLD = {
    "day first": ("StudyDate", "12.05.2015", "write 20150512"),
    "year first": ("PatientBirthDate", "1970-01-02", "write 19700102"),
    "month first": ("AcquisitionDate", "5/12/2015", "write 20151205 or 20150512"),
    "the number of a day": ("StudyDate", "42136", "was 20150512 meant?"),
    "a time": ("StudyTime", "9:30:00", "write 093000"),
    "a time without its zero": ("StudyTime", "93000", "was 093000 meant?"),
    "a rounded number": ("PatientID", "1.23457E+12", "digits are lost"),
    "a float": ("AccessionNumber", "12345.0", "was 12345 meant?"),
    "a date of an ID": ("PatientID", "01.02.2003", "a date"),
    "an error": ("SeriesDescription", "#NAME?", "an error value"),
}


@pytest.mark.parametrize(("column", "value", "problem"), TOLD.values(), ids=TOLD)
def test_other_damage_is_told_by_its_cell_and_stops_nothing(tmp_path, column, value, problem):
    table = read(tmp_path, text(row(1), row(2, **{column: value})))
    (note,) = table.notes
    assert f"row 3, column {column}: {value!r}: " in note
    assert problem in note
    assert len(table.queries) == 2


UNDAMAGED = {
    "StudyDate": ("", "20150512", "2015.05.12", "unknown"),
    "StudyTime": ("", "093000", "093000.123456", "0930"),
    "PatientID": ("00123", "SYN 05", "12-34-5678", "A\\B"),
    "PatientName": ("Kenobi^Obi-Wan", "'t Hart^Jan", "=^Yamada"),
    "SeriesDescription": ("1.0", "TRUE", "3/4 view", "=sum"),
    "ImageType": ("ORIGINAL\\PRIMARY\\M",),
    "status": ("1E+20", "01.02.2003"),
    "folder": ("1.0",),
}


@pytest.mark.parametrize(
    ("column", "value"), [(column, value) for column, values in UNDAMAGED.items() for value in values]
)
def test_what_archives_tell_is_not_called_damaged(column, value):
    assert noticed(column, value) == ""


def test_a_workbook_brings_the_same_and_a_uid_that_it_holds_as_a_number_is_a_fault(tmp_path):
    book = openpyxl.Workbook()
    cells = row(1, new_ids="P1") | {"StudyDate": date(2015, 5, 12), "SeriesNumber": 1}
    book.active.append(list(cells))
    book.active.append([cell or None for cell in cells.values()])
    path = tmp_path / "chosen.xlsx"
    book.save(path)
    table = read_query_file(path)
    assert (table.chosen, table.notes) == (True, ())
    assert list(table.queries) == list(read(tmp_path, text(row(1, new_ids="P1"))).queries)
    place = list(cells).index("SeriesInstanceUID") + 1
    for value, problem in ((12345678901234567890, "digits are lost"), (date(2003, 2, 1), "a date")):
        book.active.cell(2, place, value)
        book.save(path)
        with pytest.raises(InputError, match=f"row 2, column SeriesInstanceUID.*{problem}"):
            read_query_file(path)


def test_of_many_damaged_cells_the_first_of_a_column_are_named_and_the_others_counted(tmp_path):
    notes = read(tmp_path, text(*(row(number, StudyDate="1.2.2015") for number in range(1, 41)))).notes
    assert len(notes) == 4
    assert notes[-1] == "and 37 more cells of column StudyDate"


# --- held against the PACS


def one_study_of(number: int) -> list[dict[str, str]]:
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "StudyDate", "SeriesNumber")
    return [
        {key: row(each)[key] for key in keys} | {"SOPInstanceUID": f"9.{each}"}
        for each in range(1, number + 1)
    ]


def found_by(pacs: FakePacs, table: QueryTable) -> Found:
    found = find(pacs, table.queries, image_values=False, list_all=False, headers_decide=True)
    return held_against(found, table)


def test_the_series_of_a_study_are_asked_for_together(tmp_path):
    pacs = FakePacs(one_study_of(30))
    found = found_by(pacs, read(tmp_path, text(*(row(number) for number in range(1, 30)))))
    assert len(found.series) == 29
    assert [series.rows for series in found.series] == [(number,) for number in range(2, 31)]
    assert len(pacs.asked) == 2, "one C-FIND at the STUDY level, one at the SERIES level"


@pytest.mark.parametrize("zeros", ["00", ""], ids=["as told", "zeros lost"])
def test_a_part_asks_only_its_share_and_together_they_find_all(tmp_path, zeros):
    """Where a spreadsheet took the zeros of a patient, the part by the table's text takes what the PACS tells."""
    cells = [
        row(study * 10 + number, study, PatientID=f"{zeros}{study}")
        for study in range(1, 7)
        for number in (1, 2)
    ]
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber")
    images = [
        {key: cell[key] for key in keys}
        | {"PatientID": f"00{cell['PatientID'].lstrip('0')}", "SOPInstanceUID": f"9.{number}"}
        for number, cell in enumerate(cells)
    ]
    table = read(tmp_path, text(*cells))
    asked: Counter[str] = Counter()
    for number in range(1, 4):
        shard = Shard(number, 3)
        part, pacs = shard.part(table), FakePacs(images)
        found = find(pacs, part.queries, image_values=False, list_all=False, headers_decide=True, shard=shard)
        asked.update(series.series_uid for series in found.series)
        mine = {query.cells["SeriesInstanceUID"] for query in part.queries}
        assert {series.series_uid for series in found.series} == mine
        assert list(part.raw) == [query.rows[0] for query in part.queries]
        assert not any(report.divided or report.not_found for report in found.rows.values())
    assert asked == {cell["SeriesInstanceUID"]: 1 for cell in cells}


def test_a_row_that_tells_no_patient_is_asked_by_every_part(tmp_path):
    table = read(tmp_path, text(row(1, 1, PatientID="")))
    assert [len(Shard(number, 3).part(table).queries) for number in (1, 2, 3)] == [1, 1, 1]


def test_a_large_table_takes_little_more_than_the_uids_of_its_series(tmp_path):
    """What asks for nothing is kept compressed: where images are, their folders would be as large again."""
    number = 5000
    rows = [
        row(each, each // 11, folder=f"sub-{each:05}/ses-2015051209{'30' * 20}/{each}")
        for each in range(number)
    ]
    content = text(*rows)
    tracemalloc.start()
    try:
        table = read(tmp_path, content)
        live, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert live / number < 350
    assert table.told(number + 1, "folder") == {"folder": rows[-1]["folder"]}


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=100))
def test_packed_rows_are_those_that_were_packed(texts):
    rows = {number * 2: (each, "", each * 2) for number, each in enumerate(texts)}
    packed = PackedRows()
    for number, cells in rows.items():
        packed.add(number, cells)
    assert dict(packed) == rows
    for number in reversed(rows):
        assert packed[number] == rows[number]
    with pytest.raises(KeyError):
        packed[1]


def test_a_series_that_is_gone_is_told_of_its_row_only(tmp_path):
    found = found_by(FakePacs(one_study_of(2)), read(tmp_path, text(row(1), row(7), row(1, 5))))
    told = {number: report.not_found for number, report in found.rows.items()}
    assert told[2] == ""
    gone = "nothing matches: the PACS lists this series of the table no more"
    assert told[3] == f"{gone}; answers rejected here by SeriesInstanceUID (2)"
    assert told[4] == gone


@pytest.mark.parametrize("uid", ["2.25.", "1.2.A3", f"{UID}{'3' * 60}"])
def test_a_malformed_uid_that_the_pacs_does_not_list_is_told_as_perhaps_changed(tmp_path, uid):
    found = found_by(FakePacs(one_study_of(2)), read(tmp_path, text(row(1), row(1, SeriesInstanceUID=uid))))
    told = found.rows[3].not_found
    assert "(a malformed SeriesInstanceUID: was the cell changed?)" in told
    assert uid not in told


@pytest.mark.parametrize(
    ("told", "now", "columns"),
    [
        ({}, {}, ""),
        ({"PatientID": "1"}, {}, "PatientID (mind the leading zeros)"),
        ({"PatientID": ""}, {}, ""),
        ({}, {"PatientID": None}, ""),
        ({}, {"PatientID": "001 "}, ""),
        ({}, {"PatientID": "002"}, "PatientID"),
        ({}, {"PatientName": "KENOBI^OBI-WAN"}, ""),
        ({}, {"PatientName": "Vader^Darth"}, "PatientName"),
        ({"PatientBirthDate": "02.01.1970"}, {}, ""),
        ({}, {"PatientBirthDate": "19700103", "PatientID": "9"}, "PatientID, PatientBirthDate"),
    ],
)
def test_a_patient_that_differs_now_is_told_without_a_value(told, now, columns):
    mine = {column: row()[column] for column in ("PatientID", "PatientName", "PatientBirthDate")}
    words = differing(mine | told, mine | now)
    expected, _, zeros = columns.partition(" (")
    end = f" of the series than the table{' (' + zeros if zeros else ''}"
    assert words == (f"the PACS tells another {expected}{end}" if columns else "")


def test_a_remark_is_made_of_the_row_that_asked(tmp_path):
    table = read(tmp_path, text(row(1), row(2, PatientID="9")))
    series = tuple(Series(row(number), (number + 1,), {}) for number in (1, 2))
    reports = {number: RowReport(Query((number,), {}, None)) for number in (2, 3)}
    rows = held_against(Found(series, reports, frozenset(), {}, ()), table).rows
    assert [rows[2].remark, rows[3].remark] == [
        "",
        "the PACS tells another PatientID of the series than the table",
    ]


def test_the_index_that_pandas_writes_before_a_series_table_is_one_fault(tmp_path):
    rows = [{"": str(number), **row(number)} for number in range(1, 40)]
    (fault,) = faults(tmp_path, text(*rows))
    assert "column 1 has no name" in fault
    assert "index=False" in fault
