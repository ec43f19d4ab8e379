"""What a spreadsheet, or pasting, makes of a cell is understood, or a fault that names it; never `not found`."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.errors import Fault, InputError
from pacsifier.flows.get_pseudonyms import read_mapping
from pacsifier.query import Query, matches, read_query_file
from pacsifier.query.cells import read_cell
from pacsifier.query.matching import Match

IDENTIFIERS = ("PatientID", "AccessionNumber", "DeviceSerialNumber", "new_ids")
FREE = ("PatientName", "SeriesDescription", "ProtocolName", "StudyDescription", "SequenceName")


def csv_text(*rows: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def query(folder: Path, content: str | bytes, **options: bool):
    path = folder / "query.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_query_file(path, **options)


def refusal(folder: Path, content: str, **options: bool) -> list[Fault]:
    with pytest.raises(InputError) as caught:
        query(folder, content, **options)
    return [fault for fault in caught.value.faults if isinstance(fault, Fault)]


UNDERSTOOD = [
    ('="0012345"', "0012345"),
    ("=\u201c0012345\u201d", "0012345"),
    ('=""0012345""', "0012345"),
    ('= "0012345"', "0012345"),
    ('="12.0"', "12.0"),
    ('="TRUE"', "TRUE"),
    ('="1.234.567"', "1.234.567"),
    ("'0012345", "0012345"),
    ("\u20190012345", "0012345"),
    ("'0012345'", "0012345"),
    ("'1.5E+10", "1.5E+10"),
    ("\u00a00012345\u00a0", "0012345"),
    ("\ufeff0012345", "0012345"),
    ("\u200b0012345\u200e", "0012345"),
    ("\u202a0012345\u202c", "0012345"),
    ("0012345\n", "0012345"),
    ("\u20030012345", "0012345"),
]


@pytest.mark.parametrize("column", IDENTIFIERS)
@pytest.mark.parametrize(("cell", "text"), UNDERSTOOD)
def test_what_saves_an_identifier_from_a_spreadsheet_is_no_part_of_it(column, cell, text):
    read = read_cell(column, cell)
    assert (read.text, read.problems) == (text, ())


DAMAGED = [
    *("1.23457E+15", "1,23457E+15", "1.23457e15", "1E+15", "1.5E-05", "12345.0", "12345,0", "12345.00"),
    *(
        "1,234,567",
        "1'234'567",
        "1\u2019234\u2019567",
        "1\u00a0234\u00a0567",
        "1\u202f234",
        "1.234.567",
        "1 234 567",
    ),
    *("1,234", "1,234.00", "12,345"),
    *(
        "03.02.2019",
        "3/2/2019",
        "2019-02-03",
        "3-Feb",
        "03. Feb",
        "Feb-03",
        "2-M\u00e4r",
        "3-f\u00e9vr.",
        "03-Feb-19",
    ),
    *(
        "#N/A",
        "#NAME?",
        "#REF!",
        "#VALUE!",
        "#DIV/0!",
        "#NV",
        "#NOM?",
        "#WERT!",
        "#\u00a1REF!",
        "#\u00bfNOMBRE?",
    ),
    *("#N/D", "#I/T", "#SAKNAS!", "#YOK", "####", "Err:502", "#SPILL!"),
    *("TRUE", "FALSE", "WAHR", "FALSCH", "VRAI", "FAUX"),
    *("=1+1", "=A1", "=0012345", '=""', "'", "=Sheet1!A1", '="00"&"123"', '="A"="B"'),
    *('"0012345"', "\u201c0012345\u201d", "\u201e0012345\u201c", "\u00ab0012345\u00bb"),
    *(
        "\uff10\uff10\uff11\uff12",
        "\u0660\u0661\u0662",
        "12\u2013345",
        "12\u2011345",
        "12\u2212345",
        "\uff21\uff22\uff11",
    ),
    *("00\u200b12", "00\u00ad12", "00\ufeff12", "00\u200d12", "00\u00a012", "00\u300012", "00\t12", "00\n12"),
]


@pytest.mark.parametrize("column", IDENTIFIERS)
@pytest.mark.parametrize("cell", DAMAGED)
def test_a_damaged_identifier_is_refused_and_not_looked_for_in_vain(column, cell):
    assert read_cell(column, cell).problems


@pytest.mark.parametrize("column", ["StudyDate", "StudyTime", "SeriesNumber", "StudyInstanceUID", "Modality"])
@pytest.mark.parametrize("cell", [each for each in DAMAGED if not re.fullmatch("[0-9. ]+", each)])
def test_a_damaged_value_of_a_strict_form_is_refused(column, cell):
    assert read_cell(column, cell).problems


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "0012345",
            "AB-12/3",
            "1E5",
            "12E5",
            "007.5",
            "756.1234.5678.97",
            "12.345.678-9",
            "19500201-1234",
            "O'B",
        ),
        *(
            *("MAR-12", "12-34-5678", "1.2.3456", "010150-1234", "943 476 5919"),
            "Z\u00fcrich",
            "1,2",
            "12-3",
            "A=1",
            "#1",
            "Err",
            "True",
            "1 2",
            "3-4",
            "Dec",
            "+5",
            "-",
        ),
    ],
)
def test_an_identifier_that_is_none_of_these_is_kept_as_it_is(cell):
    assert read_cell("PatientID", cell) == read_cell("PatientID", f'="{cell}"')
    assert read_cell("PatientID", cell).text == cell


@pytest.mark.parametrize("column", FREE)
@pytest.mark.parametrize(
    "cell",
    [
        "'t Hart^Jan",
        "T1 'fast'",
        "\u5c71\u7530\u3000T1",
        "2.0",
        "TRUE",
        "Feb-03",
        "\u201eK\u201c und \u201eH\u201c",
        "=A^B",
        "O\u2019Brien",
    ],
)
def test_free_text_keeps_its_apostrophes_numbers_and_blanks(column, cell):
    read = read_cell(column, cell)
    assert read.text == cell
    assert not [each for each in read.problems if "characters" not in each]


@pytest.mark.parametrize("column", FREE)
def test_an_apostrophe_before_digits_is_none_of_a_name(column):
    assert read_cell(column, "'0012345").text == "0012345"


@pytest.mark.parametrize("cell", ["=B2", "\u201cT1\u201d", "#NAME?", '=""'])
@pytest.mark.parametrize("column", FREE)
def test_free_text_is_no_formula_and_no_error(column, cell):
    assert read_cell(column, cell).problems


@pytest.mark.parametrize(
    ("column", "cell", "remedy"),
    [
        ("PatientID", "1,234,567", "was 1234567 meant?"),
        ("PatientID", "1'234'567.00", "was 1234567 meant?"),
        ("PatientID", "1.234.567", '="..." around it'),
        ("PatientID", "12\u2013345", "write 12-345"),
        ("PatientID", "\uff10\uff10\uff11", "write 001"),
        ("PatientID", "\u201c0012\u201d", "write 0012"),
        ("PatientID", "12345.00", "was 12345 meant?"),
        ("StudyDate", "43499", "was 20190203 meant?"),
        ("StudyDate", "03.02.2019", "write 20190203"),
        ("StudyDate", "\uff12\uff10\uff11\uff15\uff10\uff15\uff11\uff12", "write 20150512"),
        ("SeriesNumber", "\u0663", "write 3"),
        ("StudyInstanceUID", "1.2.\uff13", "write 1.2.3"),
        ("PatientID", "TRUE", "format the column as text"),
        ("PatientID", "=1+1", "paste its result"),
    ],
)
def test_the_message_says_the_remedy(column, cell, remedy):
    (problem,) = read_cell(column, cell).problems
    assert remedy in problem


def test_a_fault_names_row_column_and_cell_as_it_stands_in_the_file(tmp_path):
    (fault,) = refusal(tmp_path, csv_text(["PatientID", "StudyDate"], ["1", "20150512"], ['="1"', '="2015"']))
    assert (fault.row, fault.column, fault.value) == (3, "StudyDate", '="2015"')


@given(st.from_regex(r"[0-9]{1,16}", fullmatch=True))
def test_zeros_that_were_saved_are_never_lost(digits):
    for cell in (digits, f'="{digits}"', f"'{digits}", f"\u00a0{digits}\u00a0"):
        assert read_cell("PatientID", cell).text == digits
        assert read_cell("PatientID", cell).problems == ()


@pytest.mark.parametrize("cell", ['="' + '"' * 50_000 + "x", "'" * 50_000, "1,234" * 20_000, "#" * 50_000])
def test_a_cell_that_is_endless_costs_no_time(cell):
    assert read_cell("PatientID", cell).problems


@given(st.text(min_size=1, max_size=20))
def test_any_cell_of_any_column_is_read(text):
    for column in (*IDENTIFIERS, *FREE, "StudyDate", "Modality", "ImageType"):
        read = read_cell(column, text)
        assert read.text or not read.problems


# --- the file around the cells ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;", "\ufeffsep=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_that_names_the_separator_is_no_row(tmp_path, first, end):
    table = query(tmp_path, end.join([first, "PatientID;StudyDate", "0012;20150512", ""]))
    assert table.queries == (Query((2,), {"StudyDate": "20150512", "PatientID": "0012"}, None),)


@pytest.mark.parametrize("separator", ["|", "\t", ",", ":"])
def test_any_separator_can_be_named(tmp_path, separator):
    text = f"sep={separator}\nPatientID{separator}Modality\n0012{separator}MR\n"
    assert dict(query(tmp_path, text).queries[0].cells) == {"PatientID": "0012", "Modality": "MR"}


def test_a_file_that_only_names_its_separator_is_empty(tmp_path):
    (fault,) = refusal(tmp_path, "sep=;\n")
    assert "is empty" in fault.problem


def test_files_that_were_joined_are_read_but_for_the_second_header(tmp_path):
    (fault,) = refusal(tmp_path, "PatientID,Modality\n1,MR\n\ufeffPatientID,Modality\n2,CT\n")
    assert fault.row == 3
    assert "once more" in fault.problem
    assert [dict(each.cells) for each in query(tmp_path, 'PatientID\n1\n\ufeff"02"\n').queries] == [
        {"PatientID": "1"},
        {"PatientID": "02"},
    ]


def test_the_header_is_read_like_a_cell(tmp_path):
    assert query(tmp_path, '"=""PatientID""",\u200bModality\n1,MR\n').columns == ("PatientID", "Modality")


def test_a_mapping_is_read_in_the_same_way(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text(csv_text(['="0012"', "'0001"], ["13", "P2"]), encoding="utf-8")
    assert read_mapping(path) == {"0012": "0001", "13": "P2"}
    path.write_text(csv_text(["1.23E+15", "P1"], ["2", "TRUE"]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_mapping(path)
    assert [(each.row, each.column) for each in caught.value.faults if isinstance(each, Fault)] == [
        (1, "1"),
        (2, "2"),
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("O\u2019Brien^Pat", "O'Brien^Pat"),
        ("Kopf\u2013Hals", "Kopf-Hals"),
        ("T1\u00a0fast", "T1 fast"),
        ("O'B^P", "O\u2019B^P"),
    ],
)
def test_what_a_word_processor_writes_for_a_keys_character_matches_it(asked, found):
    column = "PatientName" if "^" in asked else "SeriesDescription"
    verdict = matches(Query((2,), {column: asked}, None), {column: found}, [column])
    assert (verdict.result, verdict.lenient) == (Match.YES, (column,))


# --- columns that ask for nothing -----------------------------------------------------------------------------------


def test_extra_columns_are_kept_beside_the_query_and_ask_for_nothing(tmp_path):
    text = "PatientID,Ward,Comment\n1,A 3,=x\n2,,TRUE\n"
    table = query(tmp_path, text, extra_columns=True)
    assert [dict(each.cells) for each in table.queries] == [{"PatientID": "1"}, {"PatientID": "2"}]
    assert (table.columns, table.extra) == (("PatientID", "Ward", "Comment"), ("Ward", "Comment"))
    assert table.raw == {2: ("1", "A 3", "=x"), 3: ("2", "", "TRUE")}
    assert [fault.column for fault in refusal(tmp_path, text)] == ["Ward", "Comment"]


def test_a_misspelt_column_is_not_kept_as_an_extra_one(tmp_path):
    for name in ("patientid", "Patient ID", "Study_Date", "NEW IDS"):
        (fault,) = refusal(tmp_path, f"Modality,{name}\nMR,1\n", extra_columns=True)
        assert "write " in fault.problem
    assert any(
        "did you mean PatientID?" in note
        for note in query(tmp_path, "Modality,PatientIDs\nMR,1\n", extra_columns=True).notes
    )


@pytest.mark.parametrize("name", ["row", "Outcome"])
def test_an_extra_column_takes_no_name_of_the_tables(tmp_path, name):
    (fault,) = refusal(tmp_path, f"Modality,{name}\nMR,1\n", extra_columns=True)
    assert "another name" in fault.problem


def test_a_row_of_extra_cells_only_would_ask_for_everything(tmp_path):
    (fault,) = refusal(tmp_path, "PatientID,Ward\n,A\n1,B\n", extra_columns=True)
    assert (fault.row, "would ask for everything" in fault.problem) == (2, True)


def test_rows_that_ask_the_same_run_again_with_each_of_their_extra_cells(tmp_path):
    table = query(tmp_path, "PatientID,Ward\n1,A\n1,B\n1,A\n", extra_columns=True)
    assert [each.rows for each in table.queries] == [(2, 3, 4)]
    assert table.to_run_again((2, 3, 4)) == [2, 3]
