"""Parts by patient: nobody is lost between two parts, nobody is in two, from one version to the next."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_finding import FakePacs, find, image, query

from pacsifier.disk.names import patient_folder_name
from pacsifier.query import Match, Query, QueryTable, Shard, matches

patient_ids = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="*?\\"), max_size=20
)
counts = st.integers(1, 12)


def parts(count: int) -> list[Shard]:
    return [Shard(number, count) for number in range(1, count + 1)]


def home(patient_id: str | None, count: int) -> int:
    (only,) = [shard.number for shard in parts(count) if shard.holds(patient_id)]
    return only


@given(st.none() | patient_ids, counts)
def test_every_patient_is_in_exactly_one_part(patient_id, count):
    assert 1 <= home(patient_id, count) <= count


SPELLINGS = (
    lambda text: text,
    lambda text: f" {text}  ",
    lambda text: f"{text}\0",
    lambda text: text.upper(),
    lambda text: text.lower(),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: "".join(
        each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each)
    ),
)


@given(patient_ids.filter(str.strip), st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_a_patient_whom_a_row_finds_under_another_spelling_is_in_the_part_of_the_row(text, asked, found):
    row = Query((2,), {"PatientID": asked(text).strip()}, None)
    answer = {"PatientID": found(text)}
    if matches(row, answer, ("PatientID",)).result is Match.YES:
        assert home(row.cells["PatientID"], 97) == home(answer["PatientID"], 97)


@given(*(st.text(st.sampled_from("aAbB1 -_./é"), min_size=1, max_size=5) for _ in range(2)))
def test_patients_whose_folders_would_have_one_name_are_in_one_part(one, other):
    if patient_folder_name(one).casefold() == patient_folder_name(other).casefold():
        assert home(one, 97) == home(other, 97)


def test_a_new_version_leaves_every_patient_in_their_part():
    """Else `--resume` of parts that an earlier version began would fetch all again, into other folders."""
    known = {"123421": 6, "00123": 8, "SYN 05": 3, "é-1": 3, "": 5}
    assert {each: home(each, 8) for each in known} == known


def test_the_parts_are_of_about_the_same_size():
    sizes = Counter(home(str(number), 20) for number in range(10_000))
    assert len(sizes) == 20
    assert max(sizes.values()) < 1.25 * 500


@pytest.mark.parametrize(
    "text", ["0/8", "9/8", "1/0", "1", "1/", "/8", "-1/8", "1/8/9", "1 / 8", "٣/8", "a/b"]
)
def test_a_part_that_cannot_be_meant_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(text)):
        Shard.parse(text)


def test_a_part_is_read_as_it_is_written():
    assert str(Shard.parse("3/8")) == "3/8"
    assert Shard.parse("8/8") == Shard(8, 8)


# --- rows --------------------------------------------------------------------------------------------------------

rows = st.lists(
    st.fixed_dictionaries({}, optional={"PatientID": st.sampled_from(["1", "2", "3*", "4?", "é5"])}).map(
        lambda cells: cells or {"StudyDate": "20200101"}
    ),
    min_size=1,
    max_size=8,
)


@given(rows, counts)
def test_no_row_is_lost_and_a_row_of_one_patient_is_asked_once(cells, count):
    queries = tuple(Query((number,), each, None) for number, each in enumerate(cells, 2))
    raw = {each.rows[0]: tuple(each.cells.values()) for each in queries}
    table = QueryTable(Path("q.csv"), ("PatientID",), queries, raw, ())
    asked: Counter[int] = Counter()
    for shard in parts(count):
        part = shard.part(table)
        assert set(part.raw) == {each.rows[0] for each in part.queries}
        asked.update(part.raw.keys())
    for each in queries:
        one_patient = not set("*?") & set(each.cells.get("PatientID", "*"))
        assert asked[each.rows[0]] == (1 if one_patient else count)
        assert all(shard.divides(each) is (count > 1 and not one_patient) for shard in parts(count))


# --- what the parts find -----------------------------------------------------------------------------------------

HOSPITAL = [
    image("1", PatientID="P1"),
    image("2", PatientID="P1", StudyDate="20160101"),
    image("3", PatientID="p1 ", StudyDate="20160101"),
    image("4", PatientID="P2", AccessionNumber="A1"),
    image("5", PatientID="Q3", Modality="CT"),
    image("6", PatientID="Q4"),
    image("7", PatientID=""),
]
TABLE = [
    {"PatientID": "P1"},
    {"PatientID": "P?"},
    {"StudyDate": "20150512", "Modality": "CT"},
    {"StudyDate": "20160101"},
    {"AccessionNumber": "A1"},
    {"AccessionNumber": "nowhere"},
    {"StudyInstanceUID": "1.7"},
]


def found_by(shard: Shard):
    queries = tuple(query(number, **cells) for number, cells in enumerate(TABLE, 2))
    table = QueryTable(Path("q.csv"), (), queries, dict.fromkeys(range(2, 2 + len(TABLE)), ()), ())
    return find(FakePacs(HOSPITAL), *shard.part(table).queries, shard=shard)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 50])
def test_the_parts_find_together_what_one_run_finds_and_no_patient_is_in_two(count):
    whole = {(each.key, each.rows) for each in found_by(Shard()).series}
    found = [found_by(shard) for shard in parts(count)]
    together = [(each.key, each.rows) for one in found for each in one.series]
    assert sorted(together) == sorted(whole)
    homes = {
        (each.values["PatientID"].strip().lower(), number)
        for number, one in enumerate(found)
        for each in one.series
    }
    assert len(homes) == len({patient for patient, _ in homes})


@pytest.mark.parametrize("count", [2, 8, 50])
def test_an_accession_number_of_two_patients_is_ambiguous_though_they_are_in_two_parts(count):
    (whole,) = {report.ambiguous for row, report in found_by(Shard()).rows.items() if row == 6}
    assert "2 studies of 2 patients" in whole
    told = {
        found.rows[6].ambiguous
        for found in map(found_by, parts(count))
        if any(6 in each.rows for each in found.series)
    }
    assert told == {whole}
