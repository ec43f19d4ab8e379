"""The deciders of a find, as tables: which answers are a row's, which lists are cut, and what each row is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_finding import FakePacs, image, query

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.identifiers import LONGEST_UID_LIST
from pacsifier.dcmtk.transcript import REFUSED_OUT_OF_RESOURCES, SUCCESS
from pacsifier.query import INFO_COLUMNS, WHOLE, Match, Query, Shard, Verdict
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.find.answers import (
    absent_keys,
    compare,
    joined,
    looks_capped,
    merged,
    reports_of,
    values_of,
    whole_number,
)
from pacsifier.transfer.find.finder import conclude, find
from pacsifier.transfer.find.images import (
    Decided,
    decide,
    decide_by_images,
    instances_of,
    list_instances,
    reject_empty,
)
from pacsifier.transfer.find.series import failure_of, image_columns, settle, take_series
from pacsifier.transfer.find.studies import (
    Studies,
    Study,
    answered_rows,
    find_studies,
    join_studies,
    names_accession,
    only_series_uid,
    study_uids,
    take_studies,
    with_wildcards,
)
from pacsifier.transfer.model import RowReport

FAILED = FindResult((), 0xC000, "it failed")
MR = "1.2.840.10008.5.1.4.1.1.4"
Unknown = Mapping[int, tuple[str, ...]]


def result(*answers: Mapping[str, str | None], failure: str | None = None, **more: Any) -> FindResult:
    return FindResult(answers, SUCCESS, failure, **more)


def asked(*queries: Query) -> dict[int, Query]:
    return {each.rows[0]: each for each in queries}


def no(*columns: str) -> Verdict:
    return Verdict(Match.NO, columns, (), ())


def yes(*lenient: str) -> Verdict:
    return Verdict(Match.YES, (), (), lenient)


def unknown(*columns: str, lenient: tuple[str, ...] = ()) -> Verdict:
    return Verdict(Match.UNKNOWN, (), columns, lenient)


def series(
    number: str = "1.1", rows: tuple[int, ...] = (2,), undecided: Unknown | None = None, **values: str
) -> Series:
    study, _, _ = number.partition(".")
    uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{number}"}
    return Series({**uids, "PatientID": "1", **values}, rows, undecided or {})


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "capped"),
    [
        *((count, True) for count in (100, 200, 250, 300, 400, 500, 1000, 2500)),
        *((count, False) for count in (0, 1, 99, 101, 150, 350, 499, 501, 600)),
    ],
)
def test_a_round_number_of_answers_is_not_taken_for_all_of_them(count: int, capped: bool) -> None:
    some = result(*[{}] * count)
    assert looks_capped(some) is capped
    assert not looks_capped(result(*[{}] * count, outdone=True)), "this PACS gave longer lists"


@pytest.mark.parametrize("count", [0, 7])
@pytest.mark.parametrize("outdone", [True, False])
def test_a_list_that_ended_for_want_of_resources_is_cut_whatever_its_length(
    count: int, outdone: bool
) -> None:
    cut = FindResult(({},) * count, REFUSED_OUT_OF_RESOURCES, "refused", outdone=outdone)
    assert looks_capped(cut)


@pytest.mark.parametrize(
    ("study", "at_series", "both"),
    [
        ({"A": "1"}, {"B": "2"}, {"A": "1", "B": "2"}),
        ({"A": "1"}, {"A": "2"}, {"A": "2"}),
        ({"A": "1"}, {"A": None}, {"A": "1"}),
        ({"A": "1"}, {"A": ""}, {"A": ""}),
        ({"A": None}, {"A": None, "B": None}, {"A": None, "B": None}),
        ({}, {"A": None}, {"A": None}),
    ],
)
def test_a_series_has_the_values_of_both_levels_and_absent_is_never_empty(
    study: Mapping[str, str | None], at_series: Mapping[str, str | None], both: Mapping[str, str | None]
) -> None:
    assert dict(merged(study, at_series)) == both


@pytest.mark.parametrize(
    ("answers", "absent"),
    [
        ([], set()),
        ([{"A": "1", "B": ""}], set()),
        ([{"A": "1"}], {"B"}),
        ([{"A": "1", "B": None}], {"B"}),
        ([{"A": None}, {"A": "1"}], {"B"}),
        ([{}, {}], {"A", "B"}),
    ],
)
def test_a_key_counts_as_not_returned_where_no_answer_has_it(
    answers: Sequence[Mapping[str, str | None]], absent: set[str]
) -> None:
    assert absent_keys(("A", "B"), answers) == absent


@pytest.mark.parametrize(
    ("name", "told", "character_set", "match"),
    [
        ("Müller^Zoé", "M?ller^Zo?", "ISO_IR 6", Match.UNKNOWN),
        ("Müller^Zoé", "M?ller^Zo?", "", Match.UNKNOWN),
        ("Müller^Zoé", "M?ller^Zo?", None, Match.UNKNOWN),
        ("Müller^Zoé", "M?ller^Zo?", " ISO_IR 6 ", Match.UNKNOWN),
        ("Müller", "M?ller^Zo?", "ISO_IR 6", Match.UNKNOWN),
        ("Zoé Müller", "M?ller^Zo?", "ISO_IR 6", Match.UNKNOWN),
        ("Zoé Müller^A", "x M?ller^A", "ISO_IR 6", Match.NO),
        ("Łukasz^A", "?ukasz^A", "ISO_IR 100", Match.UNKNOWN),
        ("Łukasz^A", "?ukasz^A", "ISO_IR 101", Match.NO),
        ("Müller^Zoé", "M?ller^Zo?", "ISO_IR 100", Match.NO),
        ("Müller^Zoé", "M?ller^Zo?", "ISO_IR 192", Match.NO),
        ("Müller^Zoé", "Köhler^Zo?", "ISO_IR 6", Match.NO),
        ("Muller^Zoe", "M?ller^Zo?", "ISO_IR 6", Match.NO),
        ("Müller^Zoé", "Müller^Zoé", "ISO_IR 6", Match.YES),
    ],
)
def test_a_name_is_not_rejected_for_what_the_answers_character_set_cannot_hold(
    name: str, told: str, character_set: str | None, match: Match
) -> None:
    values = {"PatientName": told, "SpecificCharacterSet": character_set}
    verdict = compare(query(PatientName=name), values, {"PatientName"})
    assert verdict.result is match
    assert (verdict.unknown == ("PatientName",)) is (match is Match.UNKNOWN)
    assert (verdict.rejected_by == ("PatientName",)) is (match is Match.NO)


def test_a_description_that_came_mangled_rejects_nothing_and_the_other_columns_still_do() -> None:
    row = query(StudyDescription="Schädel", PatientID="1")
    told = {"StudyDescription": "Sch?del", "PatientID": "1", "SpecificCharacterSet": "ISO_IR 6"}
    columns = {"StudyDescription", "PatientID"}
    assert compare(row, told, columns).unknown == ("StudyDescription",)
    other = compare(row, {**told, "PatientID": "2"}, columns)
    assert (other.result, other.rejected_by) == (Match.NO, ("StudyDescription", "PatientID"))
    assert compare(row, told, {"PatientID"}).result is Match.YES
    longer = query(StudyDescription="große Schädel")
    assert compare(longer, {**told, "StudyDescription": "x Sch?del"}, columns).result is Match.NO


@pytest.mark.parametrize(
    ("text", "values"), [(None, [""]), ("", [""]), ("a", ["a"]), ("a \\ b", ["a", "b"]), ("a\\", ["a", ""])]
)
def test_each_of_several_values_is_read(text: str | None, values: list[str]) -> None:
    assert values_of(text) == values


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), (" 7 ", 7), ("9" * 12, 999_999_999_999), ("9" * 13, None), ("-1", None), (None, None)],
)
def test_an_unknown_number_is_not_zero(text: str | None, number: int | None) -> None:
    assert whole_number(text) == number


# --- what is told of the rows ----------------------------------------------------------------------------------------


def test_the_verdicts_of_a_stage_are_counted_for_their_rows() -> None:
    rows = asked(query(2), query(3), query(4), query(5))
    verdicts = {
        (2, no("Modality", "PatientID")): 2,
        (2, no("Modality")): 3,
        (2, yes("PatientName")): 1,
        (2, unknown("StudyDate", lenient=("StudyTime",))): 7,
        (3, Verdict(Match.NO, ("Modality",), (), ("PatientName",))): 1,
        (4, yes()): 9,
    }
    reports = reports_of(rows, {5: "it failed"}, verdicts)
    assert reports == {
        2: RowReport(
            rows[2],
            rejected={"Modality": 5, "PatientID": 2},
            lenient=frozenset({"PatientName", "StudyTime"}),
        ),
        3: RowReport(rows[3], rejected={"Modality": 1}),
        5: RowReport(rows[5], failure="it failed"),
    }


ROW = query(2)
FULL = RowReport(
    ROW,
    failure="failed",
    not_found="nothing",
    ambiguous="two",
    rejected={"A": 1},
    lenient=frozenset({"L"}),
    excluded=1,
    empty={"E": 1},
    divided=True,
    elsewhere=1,
    other_studies={"1.1": "P"},
)
MORE = RowReport(
    ROW,
    failure="later",
    not_found="still nothing",
    ambiguous="three",
    rejected={"A": 2, "B": 1},
    lenient=frozenset({"M"}),
    excluded=2,
    empty={"E": 2, "F": 1},
    elsewhere=2,
    other_studies={"1.2": None},
)


@pytest.mark.parametrize(
    ("first", "later", "both"),
    [
        (RowReport(ROW), RowReport(ROW), RowReport(ROW)),
        (FULL, RowReport(ROW), FULL),
        (RowReport(ROW), FULL, FULL),
        (
            FULL,
            MORE,
            RowReport(
                ROW,
                failure="later",
                not_found="still nothing",
                ambiguous="three",
                rejected={"A": 3, "B": 1},
                lenient=frozenset({"L", "M"}),
                excluded=3,
                empty={"E": 3, "F": 1},
                divided=True,
                elsewhere=3,
                other_studies={"1.1": "P", "1.2": None},
            ),
        ),
    ],
)
def test_nothing_that_a_stage_reports_of_a_row_is_lost_in_the_next(
    first: RowReport, later: RowReport, both: RowReport
) -> None:
    assert first.followed_by(later) == both
    other = RowReport(query(3), failure="other")
    assert joined({2: first}, {}, {2: later, 3: other}) == {2: both, 3: other}


@pytest.mark.parametrize(
    ("report", "wanted", "not_found", "ambiguous"),
    [
        (RowReport(ROW), [], "nothing matches", ""),
        (RowReport(ROW, failure="it failed"), [], "", ""),
        (
            RowReport(ROW, rejected={"PatientID": 2, "Modality": 1}),
            [],
            "nothing matches; answers rejected here by Modality (1), PatientID (2)",
            "",
        ),
        (RowReport(ROW, rejected={"PatientID": 2}), [series()], "", ""),
        (RowReport(ROW), [series("1.1"), series("2.1")], "", ""),
        (RowReport(query(AccessionNumber="A")), [series("1.1"), series("1.2")], "", ""),
        (
            RowReport(query(AccessionNumber="A"), failure="it failed"),
            [series("1.1"), series("2.1")],
            "",
            "2 studies of 1 patients for one accession number",
        ),
        (
            RowReport(query(AccessionNumber="A"), other_studies={"1.9": "elsewhere", "1.8": "1"}),
            [series("1.1")],
            "",
            "3 studies of 2 patients for one accession number",
        ),
        (
            RowReport(query(AccessionNumber="A"), other_studies={"1.9": "elsewhere", "1.8": "1"}),
            [],
            "nothing matches",
            "",
        ),
        (RowReport(query(AccessionNumber="A*")), [series("1.1"), series("2.1")], "", ""),
    ],
)
def test_a_row_that_found_nothing_or_too_much_says_so(
    report: RowReport, wanted: list[Series], not_found: str, ambiguous: str
) -> None:
    concluded = conclude(report, wanted)
    assert (concluded.not_found, concluded.ambiguous) == (not_found, ambiguous)
    assert (concluded.failure, concluded.rejected) == (report.failure, report.rejected)


def test_the_reports_come_in_the_order_of_the_rows_and_each_row_has_one() -> None:
    rows = [query(4, PatientID="nobody"), query(2, PatientID="123421"), query(3, SeriesInstanceUID="9")]
    found = find(FakePacs([image()]), rows, image_values=False, list_all=False, headers_decide=True)
    assert list(found.rows) == [4, 2, 3]
    assert [report.query.rows[0] for report in found.rows.values()] == [4, 2, 3]


# --- STUDY level ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "alone"),
    [
        ({"SeriesInstanceUID": "1"}, True),
        ({"SeriesInstanceUID": "1", "Modality": "MR"}, True),
        ({"SeriesInstanceUID": "1", "PatientID": "1"}, False),
        ({"SeriesInstanceUID": "1", "StudyInstanceUID": "1"}, False),
        ({"Modality": "MR"}, False),
        ({}, False),
    ],
)
def test_only_a_row_without_anything_of_its_study_asks_across_all_studies(
    cells: dict[str, str], alone: bool
) -> None:
    assert only_series_uid(query(**cells)) is alone


@pytest.mark.parametrize(
    ("cells", "one"),
    [
        ({"AccessionNumber": "A"}, True),
        ({"AccessionNumber": "A*"}, False),
        ({"AccessionNumber": "A?"}, False),
        ({}, False),
    ],
)
def test_only_a_whole_accession_number_should_find_one_study(cells: dict[str, str], one: bool) -> None:
    assert names_accession(query(**cells)) is one


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("Muller^Zoe", []),
        ("Müller^Zoé", ["M*ller^Zo*"]),
        ("Müller", ["*M*LLER*", "*M*ller*"]),
        ("山田", []),
    ],
)
def test_only_a_name_of_which_some_ascii_is_left_is_asked_again(name: str, again: list[str]) -> None:
    requests = with_wildcards([query(3, PatientID="1"), query(PatientName=name, PatientID="1")])
    assert [keys["PatientName"] for _, keys in requests] == again
    assert {each.rows for each, _ in requests} <= {(2,)}


def test_a_row_with_one_key_that_would_ask_for_everything_is_not_asked_again() -> None:
    assert with_wildcards([query(PatientName="Müller^Zoé", StudyDescription="頭")]) == []


@pytest.mark.parametrize(
    ("report", "settled"),
    [
        (RowReport(query(3), failure="it failed"), True),
        (RowReport(query(3), elsewhere=1), True),
        (RowReport(query(3), rejected={"PatientID": 1}), False),
        (RowReport(query(3)), False),
    ],
)
def test_a_row_is_asked_again_unless_it_found_something_or_failed(report: RowReport, settled: bool) -> None:
    studies = Studies({"1.1": Study({}, {2: (), 4: ("StudyDate",)})}, {3: report})
    assert answered_rows(studies) == {2, 4} | ({3} if settled else set())


@pytest.mark.parametrize(
    ("found", "studies"),
    [
        (result(), []),
        (FAILED, None),
        (result({"SeriesInstanceUID": "9", "StudyInstanceUID": "1"}), ["1"]),
        (
            result(
                {"SeriesInstanceUID": "9", "StudyInstanceUID": "2"},
                {"SeriesInstanceUID": "9", "StudyInstanceUID": "1"},
                {"SeriesInstanceUID": "9", "StudyInstanceUID": "2"},
            ),
            ["1", "2"],
        ),
        (result({"SeriesInstanceUID": "8", "StudyInstanceUID": "1"}), None),
        (
            result(
                {"SeriesInstanceUID": "9", "StudyInstanceUID": "1"},
                {"SeriesInstanceUID": "8", "StudyInstanceUID": "1"},
            ),
            None,
        ),
        (result({"StudyInstanceUID": "1"}), None),
        (result({"SeriesInstanceUID": "9"}), None),
        (result({"SeriesInstanceUID": "9", "StudyInstanceUID": ""}), None),
        (result({"SeriesInstanceUID": "9", "StudyInstanceUID": "1*"}), None),
        (result({"SeriesInstanceUID": "9", "StudyInstanceUID": "1"}, failure="cut"), None),
    ],
)
def test_a_series_uid_alone_is_believed_only_where_every_answer_is_of_it(
    found: FindResult, studies: list[str] | None
) -> None:
    assert study_uids("9", found) == studies


def take(*told: tuple[Query, FindResult], shard: Shard = WHOLE) -> Studies:
    return take_studies([(row, {}) for row, _ in told], [each for _, each in told], shard)


def test_the_studies_of_all_rows_are_taken_once_with_what_is_unknown_for_each_row() -> None:
    one, other = query(2, PatientID="1"), query(3, StudyDate="2015-")
    study = {"StudyInstanceUID": "1.1", "PatientID": "1"}
    taken = take((one, result(study)), (other, result({**study, "PatientID": "another", "StudyDate": ""})))
    assert taken.studies == {"1.1": Study(study, {2: (), 3: ("StudyDate",)})}
    assert taken.reports == {}
    assert "StudyDate" in taken.missing_keys, "one of the two finds returned it in no answer"
    assert "PatientID" not in taken.missing_keys


@pytest.mark.parametrize(
    ("found", "report"),
    [
        (FAILED, {"failure": "STUDY level: it failed"}),
        (
            result({"PatientID": "1"}),
            {"failure": "STUDY level: an answer without a usable StudyInstanceUID"},
        ),
        (
            result({"StudyInstanceUID": "1*"}, failure="cut"),
            {"failure": "STUDY level: an answer without a usable StudyInstanceUID"},
        ),
        (result({"StudyInstanceUID": "1.1", "PatientID": "2"}), {"rejected": {"PatientID": 1}}),
    ],
)
def test_a_study_that_cannot_be_taken_is_told_of_its_row(found: FindResult, report: dict[str, Any]) -> None:
    row = query(PatientID="1")
    taken = take((row, found))
    assert (taken.studies, taken.reports) == ({}, {2: RowReport(row, **report)})


def test_what_is_usable_in_a_failed_result_is_taken_all_the_same() -> None:
    row = query(PatientID="1")
    usable, other = {"StudyInstanceUID": "1.1", "PatientID": "1"}, {"PatientID": "1"}
    taken = take((row, result(other, usable, failure="cut")))
    assert list(taken.studies) == ["1.1"]
    assert "usable" in taken.reports[2].failure


def test_a_study_matched_by_tolerance_is_told_of() -> None:
    row = query(AccessionNumber="a")
    taken = take((row, result({"StudyInstanceUID": "1.1", "AccessionNumber": "A"})))
    assert taken.reports == {2: RowReport(row, lenient=frozenset({"AccessionNumber"}))}


SHARD = Shard(1, 2)
MINE = next(each for each in "abcdefgh" if SHARD.holds(each))
OTHERS = next(each for each in "abcdefgh" if not SHARD.holds(each))


@pytest.mark.parametrize(
    ("cells", "studies", "elsewhere", "others"),
    [
        ({"AccessionNumber": "A"}, ["1.1"], 2, {"1.2": OTHERS, "1.3": OTHERS}),
        ({"AccessionNumber": "A*"}, ["1.1"], 2, {}),
        ({"PatientID": OTHERS}, ["1.2", "1.3"], 0, {}),
        ({"AccessionNumber": "B"}, [], 0, {}),
    ],
)
def test_the_studies_of_other_parts_are_counted_and_left_to_them(
    cells: dict[str, str], studies: list[str], elsewhere: int, others: dict[str, str]
) -> None:
    row = query(**cells)
    answers = [
        {"StudyInstanceUID": f"1.{number}", "PatientID": patient, "AccessionNumber": "A"}
        for number, patient in enumerate([MINE, OTHERS, OTHERS], 1)
    ]
    taken = take((row, result(*answers)), shard=SHARD)
    report = taken.reports.get(2, RowReport(row))
    assert (list(taken.studies), report.elsewhere, report.other_studies) == (studies, elsewhere, others)


def test_studies_of_several_asks_keep_all_their_rows_and_the_values_of_the_first() -> None:
    first = Studies({"1": Study({"A": "first"}, {2: ()})}, {2: RowReport(ROW, excluded=1)}, frozenset("K"))
    later = Studies(
        {"2": Study({}, {2: ()}), "1": Study({"A": "later"}, {3: (), 2: ("StudyDate",)})},
        {2: RowReport(ROW, excluded=2)},
        frozenset("L"),
    )
    assert join_studies(first, later) == Studies(
        {"1": Study({"A": "first"}, {2: ("StudyDate",), 3: ()}), "2": Study({}, {2: ()})},
        {2: RowReport(ROW, excluded=3)},
        frozenset({"K", "L"}),
    )


def refusing_pacs() -> FakePacs:
    """Refuses all; once the first half of a split is refused, the second is not split: each leads to one more."""
    refused = FindResult((), REFUSED_OUT_OF_RESOURCES, "refused")
    return FakePacs([], wrong=lambda _level, _keys: refused)


def test_the_rows_of_a_run_split_their_dates_at_most_200_times_together() -> None:
    pacs = refusing_pacs()
    rows = [
        query(number, StudyDescription=f"{number}", StudyDate="19000101-20401231") for number in range(2, 42)
    ]
    studies = find_studies(pacs, rows)
    assert len(pacs.asked) == len(rows) + 2 * 200
    assert all(report.failure == "STUDY level: refused" for report in studies.reports.values())
    assert set(studies.reports) == {row.rows[0] for row in rows}


def test_the_second_try_with_wildcards_splits_no_more_than_the_first_left() -> None:
    pacs = refusing_pacs()
    told = pacs.wrong
    # As typed, the last row finds nothing, and so is asked for again with wildcards.
    pacs.wrong = lambda level, keys: result() if keys["StudyDescription"] == "Schädel" else told(level, keys)
    rows = [
        query(number, StudyDescription=f"{number}", StudyDate="19000101-20401231") for number in range(2, 22)
    ]
    find_studies(pacs, [*rows, query(50, StudyDescription="Schädel", StudyDate="19000101-20401231")])
    assert len(pacs.asked) == len(rows) + 1 + 2 * 200 + 1


def test_a_split_stops_at_16_halves_one_below_the_other() -> None:
    pacs = refusing_pacs()
    find_studies(pacs, [query(StudyDescription="x", StudyDate="00010101-99991231")])
    assert len(pacs.asked) == 1 + 2 * 16


def test_the_studies_of_both_halves_and_those_without_a_date_are_found_once() -> None:
    days = {"1.1": "20150101", "1.2": "20150630", "1.3": "20151231", "1.4": ""}
    studies = [{"StudyInstanceUID": uid, "StudyDate": day} for uid, day in days.items()]
    cut = FindResult((studies[3], studies[0]), REFUSED_OUT_OF_RESOURCES, "refused")

    def answer(_level: str, keys: Mapping[str, str]) -> FindResult:
        first, _, last = keys["StudyDate"].partition("-")
        fitting = [each for each in studies if first <= each["StudyDate"] <= (last or "9")]
        return cut if not keys["StudyDate"] or len(fitting) > 1 else result(*fitting)

    found = find_studies(FakePacs([], wrong=answer), [query(Modality="MR")])
    assert {uid: study.values["StudyDate"] for uid, study in found.studies.items()} == days
    assert not found.reports
    within = find_studies(FakePacs([], wrong=answer), [query(StudyDate="20150101-20150101")])
    assert list(within.studies) == ["1.1"]


@pytest.mark.parametrize(
    ("list_all", "levels"), [(False, ["STUDY", "SERIES", "STUDY"]), (True, ["STUDY", "STUDY"])]
)
def test_all_studies_are_listed_for_a_series_uid_only_where_the_user_allows_it(
    list_all: bool, levels: list[str]
) -> None:
    pacs = FakePacs([image("1.1"), image("2.1", PatientID="other")])
    rows = [query(2, PatientID="123421"), query(3, SeriesInstanceUID="1.2.1")]
    studies = find_studies(pacs, rows, list_all=list_all)
    assert pacs.levels() == levels
    assert {uid: set(study.wanted_by) for uid, study in studies.studies.items()} == (
        {"1.1": {2, 3}, "1.2": {3}} if list_all else {"1.1": {2}, "1.2": {3}}
    )
    assert not studies.reports


def test_a_study_uid_whose_answer_looks_cut_is_not_split() -> None:
    pacs = FakePacs([image("1.1")] * 3, cap=1, cap_status=REFUSED_OUT_OF_RESOURCES)
    found = find_studies(pacs, [query(StudyInstanceUID="1.1")])
    assert len(pacs.asked) == 1
    assert "OutOfResources" in found.reports[2].failure


# --- SERIES level -----------------------------------------------------------------------------------------------------


def test_values_of_images_are_asked_for_where_a_row_or_the_info_table_wants_them() -> None:
    rows = [query(ProtocolName="p", PatientID="1"), query(3, Modality="MR")]
    assert image_columns(rows, image_values=False) == ("ProtocolName",)
    everything = image_columns(rows, image_values=True)
    assert set(everything) > {"ProtocolName"}
    assert set(everything) < set(INFO_COLUMNS)
    assert not {"PatientID", "Modality", "SeriesInstanceUID"} & set(everything)
    assert image_columns([], image_values=False) == ()


def listing(count: int, **more: Any) -> FindResult:
    return result(*({"SeriesInstanceUID": f"1.{number}"} for number in range(1, count + 1)), **more)


@pytest.mark.parametrize(
    ("announced", "found", "failure"),
    [
        ("3", listing(3), ""),
        ("3", listing(2), ""),
        ("3", listing(4), ""),
        ("", listing(0), ""),
        ("0", listing(0), ""),
        ("3", listing(0), "0 of 3 series of a study listed"),
        ("3", listing(0, outdone=True), "0 of 3 series of a study listed"),
        ("101", listing(100), "100 of 101 series of a study listed"),
        ("101", listing(100, outdone=True), ""),
        ("100", listing(100), ""),
        ("", listing(100), ""),
        ("many", listing(100), ""),
        ("3", FAILED, "it failed"),
        ("101", listing(100, failure="cut"), "cut"),
        ("3", result({"SeriesInstanceUID": ""}), "an answer without a usable SeriesInstanceUID"),
        ("3", result({"Modality": "MR"}), "an answer without a usable SeriesInstanceUID"),
        (
            "3",
            result({"SeriesInstanceUID": "1"}, {"SeriesInstanceUID": "*"}, failure="cut"),
            "an answer without a usable SeriesInstanceUID",
        ),
    ],
)
def test_a_study_of_which_not_all_series_are_told_fails_its_rows(
    announced: str, found: FindResult, failure: str
) -> None:
    study = Study({"NumberOfStudyRelatedSeries": announced}, {2: ()})
    assert failure_of(study, found) == (f"SERIES level: {failure}" if failure else "")


@pytest.mark.parametrize(
    ("wanted_by", "verdicts", "rows", "undecided"),
    [
        ({2: ()}, {2: yes()}, (2,), {}),
        ({2: ()}, {2: yes("PatientName")}, (2,), {}),
        ({2: ()}, {2: no("Modality")}, (), {}),
        ({2: ()}, {2: unknown("Modality")}, (), {2: ("Modality",)}),
        ({2: ("StudyDate",)}, {2: yes()}, (), {2: ("StudyDate",)}),
        ({2: ("StudyDate",)}, {2: no("Modality")}, (), {}),
        ({2: ("StudyDate",)}, {2: unknown("Modality")}, (), {2: ("StudyDate", "Modality")}),
        (
            {2: (), 3: (), 4: (), 5: ("StudyDate",)},
            {2: yes(), 3: no("Modality"), 4: yes(), 5: yes()},
            (2, 4),
            {5: ("StudyDate",)},
        ),
    ],
)
def test_a_row_wants_a_series_for_certain_only_where_both_levels_told_enough(
    wanted_by: Unknown, verdicts: Mapping[int, Verdict], rows: tuple[int, ...], undecided: Unknown
) -> None:
    assert settle(wanted_by, verdicts) == (rows, undecided)


ROWS = asked(query(2, Modality="MR"), query(3, PatientID="1"))
STUDIES = {
    "1.1": Study({"StudyInstanceUID": "1.1", "PatientID": "1"}, {2: (), 3: ()}),
    "1.2": Study({"StudyInstanceUID": "1.2", "PatientID": "1"}, {2: (), 3: ()}),
}


def told(uid: str, modality: str = "MR", study: str | None = None) -> dict[str, str | None]:
    return {"SeriesInstanceUID": uid, "Modality": modality, "StudyInstanceUID": study}


def test_the_series_of_all_studies_are_listed_with_their_rows() -> None:
    results = [result(told("8"), told("9", "CT", "1.1")), result(told("7", study="1.2"))]
    listed = take_series(ROWS, STUDIES, results, ["Modality", "SeriesNumber"])
    assert [(each.key, each.rows) for each in listed.series] == [
        (("1.1", "8"), (2, 3)),
        (("1.1", "9"), (3,)),
        (("1.2", "7"), (2, 3)),
    ]
    assert listed.reports == {2: RowReport(ROWS[2], rejected={"Modality": 1})}
    assert listed.series_of_study == {"1.1": 2, "1.2": 1}
    assert listed.missing_keys == {"SeriesNumber"}
    first, _, last = listed.series
    assert first.rows is last.rows, "the rows of 100,000 series are held once"


def test_a_series_that_is_answered_twice_is_listed_once_as_it_came_first() -> None:
    twice = result({**told("8"), "NumberOfSeriesRelatedInstances": "3"}, told("8"))
    listed = take_series(ROWS, STUDIES, [twice, result()], ["Modality"])
    assert [(each.key, each.announced) for each in listed.series] == [(("1.1", "8"), 3)]


def test_a_series_that_names_another_study_is_rejected_for_every_row_of_the_asked_one() -> None:
    listed = take_series(ROWS, STUDIES, [result(told("8", study="1.2")), result()], ["Modality"])
    assert listed.series == ()
    assert {row: report.rejected for row, report in listed.reports.items()} == {
        2: {"StudyInstanceUID": 1},
        3: {"StudyInstanceUID": 1},
    }


def test_a_failed_study_fails_its_rows_and_keeps_what_came_of_it() -> None:
    results = [result(told("8"), told("*")), result(failure="it failed")]
    listed = take_series(ROWS, STUDIES, results, ["Modality"])
    assert [each.key for each in listed.series] == [("1.1", "8")]
    assert {report.failure for report in listed.reports.values()} == {"SERIES level: it failed"}


# --- IMAGE level ------------------------------------------------------------------------------------------------------


def of_image(number: int = 1, **values: str) -> dict[str, str]:
    return {"SOPInstanceUID": f"1.1.1.{number}", "SOPClassUID": MR, **values}


@pytest.mark.parametrize(
    ("rows", "answers", "wanted", "undecided", "rejected"),
    [
        ((), [of_image(ProtocolName="p")], (2,), {}, {}),
        ((), [of_image(1, ProtocolName="x"), of_image(2, ProtocolName="p")], (2,), {}, {}),
        ((), [of_image(1, ProtocolName=""), of_image(2, ProtocolName="p")], (2,), {}, {}),
        ((3,), [of_image(ProtocolName="p")], (2, 3), {}, {}),
        ((3,), [of_image(ProtocolName="x")], (3,), {}, {2: no("ProtocolName")}),
        ((3,), [of_image()], (3,), {2: ("ProtocolName",)}, {}),
        (
            (),
            [of_image(1, ProtocolName="x"), of_image(2, ProtocolName="")],
            (),
            {2: ("ProtocolName",)},
            {},
        ),
    ],
)
def test_one_instance_that_matches_is_enough_and_only_all_that_do_not_reject(
    rows: tuple[int, ...],
    answers: list[dict[str, str]],
    wanted: tuple[int, ...],
    undecided: Unknown,
    rejected: dict[int, Verdict],
) -> None:
    open_series = series(rows=rows, undecided={2: ("ProtocolName",)})
    settled, verdicts = decide(asked(query(ProtocolName="p")), open_series, result(*answers))
    assert settled is not None
    assert (settled.rows, settled.undecided, verdicts) == (wanted, undecided, rejected)
    assert settled.expected == len(answers)


def test_a_series_that_no_row_wants_after_its_images_is_dropped_and_counted_once() -> None:
    row = query(ProtocolName="p")
    open_series = series(rows=(), undecided={2: ("ProtocolName",)})
    pacs = FakePacs([image("1.1.1", ProtocolName="x"), image("1.1.2", ProtocolName="y")])
    decided = decide_by_images(pacs, asked(row), (open_series, series("2.1")))
    assert decided == Decided((series("2.1"),), {2: RowReport(row, rejected={"ProtocolName": 1})})


@pytest.mark.parametrize("listed", [FAILED, result(), result(of_image(ProtocolName="x"), failure="cut")])
def test_a_list_of_instances_that_failed_or_is_empty_decides_nothing(listed: FindResult) -> None:
    open_series = series(rows=(), undecided={2: ("ProtocolName",)})
    assert decide(asked(query(ProtocolName="p")), open_series, listed) == (open_series, {})


def test_series_that_are_decided_ask_for_no_instances() -> None:
    pacs = FakePacs([image()])
    found = (series(),)
    assert decide_by_images(pacs, {}, found) == Decided(found, {})
    assert pacs.asked == []


UNSURE = {2: ("PatientBirthDate",)}


@pytest.mark.parametrize(
    ("value", "told_elsewhere", "rows", "left"),
    [
        ("", "19920611", (), None),
        ("", "19920611", (3,), {}),
        ("", "", (), UNSURE),
        ("", "", (3,), UNSURE),
        (None, "19920611", (), UNSURE),
        ("?", "19920611", (), UNSURE),
    ],
)
def test_an_empty_value_rejects_only_where_the_pacs_tells_the_key_of_another_series(
    value: str | None, told_elsewhere: str, rows: tuple[int, ...], left: Unknown | None
) -> None:
    row = query(PatientBirthDate="19920611")
    values = {} if value is None else {"PatientBirthDate": value}
    doubtful = series("1.1", rows=rows, undecided=UNSURE, **values)
    other = series("2.1", rows=(3,), PatientBirthDate=told_elsewhere)
    decided = reject_empty(asked(row), [doubtful, other])
    kept = [] if left is None else [replace(doubtful, undecided=left)]
    assert decided.series == (*kept, other)
    empty = {2: RowReport(row, empty={"PatientBirthDate": 1})}
    assert decided.reports == ({} if left == UNSURE else empty)


def test_two_columns_of_which_one_is_told_nowhere_leave_a_row_undecided() -> None:
    unsure = {2: ("PatientBirthDate", "StudyDate")}
    doubtful = series(rows=(), undecided=unsure, PatientBirthDate="", StudyDate="")
    told_one = series("2.1", PatientBirthDate="19920611")
    assert reject_empty(ROWS, [doubtful, told_one]).series == (doubtful, told_one)
    told_both = series("2.1", PatientBirthDate="19920611", StudyDate="20150512")
    rejected = reject_empty(ROWS, [doubtful, told_both])
    assert rejected.series == (told_both,)
    assert rejected.reports[2].empty == {"PatientBirthDate": 1, "StudyDate": 1}


def test_an_instance_that_is_told_twice_counts_once_and_one_without_a_uid_not_at_all() -> None:
    listed = result(
        of_image(1),
        of_image(1),
        of_image(2, SOPClassUID="no uid"),
        {"SOPClassUID": MR},
        {"SOPInstanceUID": ""},
    )
    assert instances_of(listed) == (Instance("1.1.1.1", MR), Instance("1.1.1.2", ""))


IMAGES = [image(f"{number}.{instance}") for number in ("1.1", "1.2", "2.1") for instance in (1, 2)]
ASKED = [series("1.1"), series("1.2"), series("2.1")]


def requests(pacs: FakePacs) -> list[str]:
    return [keys["SeriesInstanceUID"] for _, keys in pacs.asked]


def uids(results: Sequence[FindResult]) -> list[list[str]]:
    return [[each["SOPInstanceUID"] or "" for each in one.answers] for one in results]


EACH_ITS_OWN = [["1.1.1.1", "1.1.1.2"], ["1.1.2.1", "1.1.2.2"], ["1.2.1.1", "1.2.1.2"]]


def test_the_series_of_a_study_are_listed_at_once_where_the_pacs_takes_lists() -> None:
    pacs = FakePacs(IMAGES)
    assert uids(list_instances(pacs, ASKED, uid_lists=True)) == EACH_ITS_OWN
    assert requests(pacs) == ["1.1.1\\1.1.2", "1.2.1"]
    pacs = FakePacs(IMAGES)
    assert uids(list_instances(pacs, ASKED)) == EACH_ITS_OWN
    assert requests(pacs) == ["1.1.1", "1.1.2", "1.2.1"]
    pacs = FakePacs(IMAGES[:4])
    assert uids(list_instances(pacs, ASKED, uid_lists=True)) == [*EACH_ITS_OWN[:2], []]
    assert requests(pacs) == ["1.1.1\\1.1.2", "1.2.1"], "a series alone in its study is asked for once"


def test_instances_of_another_series_are_left_out_and_those_that_name_none_are_believed() -> None:
    told = result({"SOPInstanceUID": "7"}, {"SOPInstanceUID": "8", "SeriesInstanceUID": "1.1.2"})
    pacs = FakePacs([], wrong=lambda _level, _keys: told)
    assert uids(list_instances(pacs, [series("1.1")])) == [["7"]]


BOTH = [{**each} for each in IMAGES[:4]]


@pytest.mark.parametrize(
    "wrong",
    [
        result(),
        FAILED,
        result(*BOTH, failure="cut"),
        result(*BOTH[:2]),
        result(*BOTH, {"SOPInstanceUID": "9", "SeriesInstanceUID": "9"}),
        result(*BOTH, {"SOPInstanceUID": "9"}),
        result(*BOTH, *[BOTH[0]] * 96),
        FindResult(tuple(BOTH), REFUSED_OUT_OF_RESOURCES, None),
    ],
    ids=[
        "nothing",
        "failed",
        "cut",
        "one series left out",
        "a stranger",
        "no series told",
        "a cap",
        "refused",
    ],
)
def test_series_whose_common_list_is_not_whole_are_listed_one_by_one(wrong: FindResult) -> None:
    pacs = FakePacs(IMAGES, wrong=lambda _, keys: wrong if "\\" in keys["SeriesInstanceUID"] else None)
    assert uids(list_instances(pacs, ASKED, uid_lists=True)) == EACH_ITS_OWN
    assert requests(pacs) == ["1.1.1\\1.1.2", "1.1.1", "1.1.2", "1.2.1"]


def test_a_pacs_that_does_not_understand_the_first_list_gets_no_second() -> None:
    images = [image(f"{study}.{number}.1") for study in (1, 2) for number in (1, 2)]
    wanted = [series("1.1"), series("1.2"), series("2.1"), series("2.2")]
    pacs = FakePacs(images, wrong=lambda _, keys: FAILED if "\\" in keys["SeriesInstanceUID"] else None)
    list_instances(pacs, wanted, uid_lists=True)
    assert requests(pacs) == ["1.1.1\\1.1.2", "1.1.1", "1.1.2", "1.2.1", "1.2.2"]
    pacs = FakePacs(images)
    list_instances(pacs, wanted, uid_lists=True)
    assert requests(pacs) == ["1.1.1\\1.1.2", "1.2.1\\1.2.2"]


def test_a_list_of_series_stays_within_one_value() -> None:
    pacs = FakePacs([], wrong=lambda _, keys: result(*_one_each(keys["SeriesInstanceUID"])))
    wanted = [series(f"1.{number}") for number in range(LONGEST_UID_LIST + 1)]
    listed = list_instances(pacs, wanted, uid_lists=True)
    assert [len(each.split("\\")) for each in requests(pacs)] == [LONGEST_UID_LIST, 1]
    assert all(len(instances_of(each)) == 1 and each.outdone for each in listed)


def _one_each(series_uids: str) -> list[dict[str, str]]:
    found = [{"SOPInstanceUID": f"{uid}.1", "SeriesInstanceUID": uid} for uid in series_uids.split("\\")]
    # One more, so that the number is not a round one.
    return [*found, *found[:1]] if len(found) > 1 else found
