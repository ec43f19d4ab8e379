"""What a run will do with what was found: nobody excluded, nothing unconfirmed, nothing that cannot be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pacsifier.query import Query
from pacsifier.query.series import Series
from pacsifier.transfer.exclusion import Excluded
from pacsifier.transfer.model import Found, Note, Plan, Question, RowReport, Status
from pacsifier.transfer.options import Options
from pacsifier.transfer.plan import first_of_each_kind, make_plan, rows_of, within_limit
from pacsifier.transfer.record.outcomes import by_row, outcomes_of

SAVE, MOVE, INFO = Options(save=True), Options(move=True), Options(info=True)
NOBODY_NAMED = Query((2,), {"Modality": "MR"}, None)
OPTED_OUT = Excluded(frozenset({"a1"}))


def series(
    uid: str,
    patient: str | None = "A1",
    rows: tuple[int, ...] = (2,),
    announced: int | None = 2,
    undecided: Mapping[int, tuple[str, ...]] | None = None,
) -> Series:
    study_uid = uid.rpartition(".")[0]
    values = {"PatientID": patient, "StudyInstanceUID": study_uid, "SeriesInstanceUID": uid}
    return Series(values, rows, undecided or {}, announced)


def found(*all_series: Series, **report: Any) -> Found:
    """What the finds brought, with a report of row 2."""
    rows = {2: RowReport(report.pop("query", NOBODY_NAMED), **report)}
    return Found(all_series, rows, frozenset({"1.2.3"}), {"1.1": 3}, ())


def planned(plan: Plan) -> list[tuple[str, Status, str]]:
    return [(each.series.series_uid, each.status, each.reason) for each in plan.states]


# --- which series, in which order --------------------------------------------------------------------------------


def test_the_work_goes_patient_by_patient_then_by_study_and_series() -> None:
    all_series = [
        series("1.2.1", "B"),
        series("1.9.1", "A"),
        series("1.3.2", "A"),
        series("1.3.1", "A"),
        series("1.5.1", None),
        series("1.4.1", ""),
    ]
    plan = make_plan(found(*all_series), SAVE)
    assert [each.series.series_uid for each in plan.states] == [
        "1.4.1",
        "1.5.1",
        "1.3.1",
        "1.3.2",
        "1.9.1",
        "1.2.1",
    ]
    assert (plan.sop_classes, plan.series_of_study) == (frozenset({"1.2.3"}), {"1.1": 3})


def test_excluded_patients_are_left_out_and_counted_for_each_row_that_wanted_them() -> None:
    hers = series("1.1.1", "A1", rows=(2,))
    perhaps_hers = series("1.1.2", "a1 ", rows=(), undecided={2: ("Modality",), 3: ("Modality",)})
    brought = found(hers, perhaps_hers, series("1.2.1", "B2"), excluded=4)
    brought = replace(brought, rows={**brought.rows, 3: RowReport(NOBODY_NAMED), 4: RowReport(NOBODY_NAMED)})
    plan = make_plan(brought, replace(SAVE, excluded=OPTED_OUT))
    assert planned(plan) == [("1.2.1", Status.PENDING, "")]
    assert len(plan.barred) == 2
    assert {row: report.excluded for row, report in plan.rows.items()} == {2: 6, 3: 1, 4: 0}


@pytest.mark.parametrize(
    ("limit", "taken", "last_note", "left_out"),
    [
        (None, 3, "", []),
        (3, 3, "", []),
        (4, 3, "", []),
        (2, 2, "--limit: 2 of 3 series taken", [4]),
        (1, 1, "--limit: 1 of 3 series taken", [3, 4]),
        (0, 0, "--limit: 0 of 3 series taken", [2, 3, 4]),
    ],
)
def test_a_limit_takes_the_first_and_names_the_rows_that_miss_some(limit, taken, last_note, left_out) -> None:
    all_series = [
        series("1.1.1", rows=(2,)),
        series("1.1.2", rows=(3,)),
        series("1.1.3", rows=(), undecided={4: ("Modality",)}),
        series("1.1.4", "B2", rows=(5,)),
    ]
    rows = {row: RowReport(NOBODY_NAMED, failure="before" if row == 5 else "") for row in (2, 3, 4, 5)}
    brought = replace(found(*all_series), rows=rows)
    plan = make_plan(brought, replace(SAVE, limit=limit, excluded=Excluded(frozenset({"b2"}))))
    assert [each.series.series_uid for each in plan.todo] == [f"1.1.{n}" for n in range(1, taken + 1)]
    assert plan.last_note == last_note
    outcomes = outcomes_of(plan.rows, by_row(plan.states))
    assert [row for row in (2, 3, 4) if outcomes[row][0] == "left_out"] == [
        row for row in left_out if not any(row in rows_of(each.series) for each in plan.todo)
    ]
    assert {state.reason for state in plan.states if not state.pending} <= {"left out by --limit"}


def test_what_a_row_may_not_want_after_all_takes_no_place_within_the_limit() -> None:
    perhaps, surely = series("1.1.1", rows=(), undecided={2: ("Modality",)}), series("1.1.2", rows=(2,))
    plan = make_plan(found(perhaps, surely), replace(SAVE, limit=1))
    assert [each.series.series_uid for each in plan.todo] == ["1.1.2"]


def test_where_some_were_not_wanted_as_many_more_are_taken() -> None:
    plan = make_plan(
        found(*(series(f"1.1.{n}", rows=(), undecided={2: ("Modality",)}) for n in range(5))),
        replace(SAVE, limit=2),
    )
    assert within_limit(plan.states, 2) == []
    plan.states[0].discard("the images do not match the query row")
    more = within_limit(plan.states, 2)
    assert [each.series.series_uid for each in more] == ["1.1.2"]
    more[0].take()
    assert within_limit(plan.states, 2) == []
    assert within_limit(plan.states, None) == []


@pytest.mark.parametrize(
    ("number", "told", "others"), [(0, 0, 0), (20, 20, 0), (21, 21, 1), (5000, 21, 4980)]
)
def test_thousands_of_lines_of_a_kind_are_told_by_their_number(number: int, told: int, others: int) -> None:
    notes = [Note("that matched nothing", f"row {row}: nothing matches") for row in range(number)]
    lines, rest = first_of_each_kind([*notes, Note("that failed", "row 9: C-FIND failed")])
    assert "row 9: C-FIND failed" in lines, "what is rare is not lost among what is frequent"
    assert (len(lines) - 1, len(rest)) == (told, others)
    if others:
        more = "1 more row" if others == 1 else f"{others} more rows"
        assert lines[-1] == f"and {more} that matched nothing"


def test_a_series_is_wanted_by_its_rows_for_certain_or_perhaps() -> None:
    assert rows_of(series("1.1.1", rows=(2, 5), undecided={7: ("Modality",), 5: ("StudyDate",)})) == {2, 5, 7}


# --- what becomes of each ----------------------------------------------------------------------------------------

SURE = series("1.1.1")
UNSURE = series("1.1.1", rows=(), undecided={2: ("StudyDate", "Modality"), 3: ("Modality",)})
PARTLY_SURE = series("1.1.1", rows=(2,), undecided={3: ("Modality",)})
NAMELESS, BLANK = series("1.1.1", None), series("1.1.1", "")
OPEN = (Status.PENDING, "")
NO_IMAGES = "the PACS does not tell Modality, StudyDate; --move cannot decide by the images"
NO_PATIENT = "the PACS does not tell PatientID; --move cannot tell whether the patient is excluded"
EXCLUDING = Excluded(frozenset({"z9"}))


@pytest.mark.parametrize(
    ("options", "one", "becomes"),
    [
        pytest.param(SAVE, SURE, OPEN, id="fetched"),
        pytest.param(SAVE, UNSURE, OPEN, id="fetched: its images will decide"),
        pytest.param(
            replace(SAVE, excluded=EXCLUDING), NAMELESS, OPEN, id="its images will tell whose they are"
        ),
        pytest.param(replace(SAVE, info=True), SURE, OPEN, id="listed and fetched"),
        pytest.param(INFO, SURE, (Status.LISTED, ""), id="listed only"),
        pytest.param(INFO, PARTLY_SURE, (Status.LISTED, ""), id="one row is sure of it"),
        pytest.param(
            INFO,
            UNSURE,
            (Status.UNDECIDED, "unverified: the PACS does not tell Modality, StudyDate"),
            id="no row is sure of it, and no image will come",
        ),
        pytest.param(MOVE, SURE, OPEN, id="moved"),
        pytest.param(MOVE, PARTLY_SURE, OPEN, id="moved for the row that is sure of it"),
        pytest.param(MOVE, UNSURE, (Status.UNDECIDED, NO_IMAGES), id="no image to decide by"),
        pytest.param(MOVE, NAMELESS, OPEN, id="moved: nobody is excluded"),
        pytest.param(
            replace(MOVE, excluded=EXCLUDING), NAMELESS, (Status.UNDECIDED, NO_PATIENT), id="it may be Z9's"
        ),
        pytest.param(
            replace(MOVE, excluded=EXCLUDING),
            BLANK,
            (Status.UNDECIDED, NO_PATIENT),
            id="an empty PatientID may hide Z9",
        ),
        pytest.param(replace(MOVE, excluded=EXCLUDING), SURE, OPEN, id="it is another patient's"),
    ],
)
def test_a_series_is_begun_only_where_somebody_can_decide_on_it(options, one: Series, becomes) -> None:
    assert planned(make_plan(found(one), options)) == [("1.1.1", *becomes)]


@pytest.mark.parametrize(
    ("options", "announced", "moved", "becomes"),
    [
        pytest.param(replace(MOVE, resume=True), 2, 2, (Status.SKIPPED, 2), id="all were moved"),
        pytest.param(replace(MOVE, resume=True), 2, 3, (Status.SKIPPED, 3), id="and one more"),
        pytest.param(replace(MOVE, resume=True), 2, 1, (Status.PENDING, 0), id="one was not moved"),
        pytest.param(replace(MOVE, resume=True), 2, None, (Status.PENDING, 0), id="it was not moved at all"),
        pytest.param(replace(MOVE, resume=True), None, 1, (Status.SKIPPED, 1), id="of how many nobody tells"),
        pytest.param(replace(MOVE, resume=True), 0, 0, (Status.SKIPPED, 0), id="an empty series"),
        pytest.param(MOVE, 2, 2, (Status.PENDING, 0), id="moved again without --resume"),
        pytest.param(
            replace(SAVE, resume=True), 2, 2, (Status.PENDING, 0), id="saved: what is on disk will tell"
        ),
    ],
)
def test_a_resumed_move_leaves_out_what_the_same_place_has(options, announced, moved, becomes) -> None:
    one = series("1.1.1", announced=announced)
    earlier = {} if moved is None else {one.key: moved}
    (state,) = make_plan(found(one), options, earlier).states
    assert (state.status, state.moved) == becomes


def test_a_resumed_move_of_what_cannot_be_decided_stays_undecided() -> None:
    (state,) = make_plan(found(UNSURE), replace(MOVE, resume=True), {UNSURE.key: 2}).states
    assert state.status is Status.UNDECIDED


# --- what the user is told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "notes"),
    [
        ({}, ()),
        ({"failure": "refused"}, ("row 2: refused",)),
        ({"not_found": "nothing"}, ("row 2: nothing",)),
        ({"ambiguous": "two studies"}, ("row 2: two studies",)),
        (
            {"failure": "refused", "not_found": "nothing", "ambiguous": "two studies"},
            ("row 2: refused", "row 2: nothing", "row 2: two studies"),
        ),
        ({"not_found": "nothing", "divided": True}, ()),
        ({"failure": "refused", "divided": True}, ("row 2: refused",)),
        (
            {"lenient": frozenset({"ProtocolName", "PatientName"})},
            ("row 2: PatientName, ProtocolName matched only without regard to case, accents or parts",),
        ),
        (
            {"empty": {"StudyDate": 2, "Modality": 1}},
            (
                "row 2: series that came with an empty value were taken as not matching: "
                "Modality (1), StudyDate (2)",
            ),
        ),
    ],
)
def test_what_the_finds_have_to_say_of_a_row_is_told_before_the_work(report, notes) -> None:
    assert tuple(note.words for note in make_plan(found(**report), SAVE).notes) == notes


def many(number: int, **fields: Any) -> list[Series]:
    return [series(f"1.1.{each}", **fields) for each in range(1, number + 1)]


@pytest.mark.parametrize(
    ("number", "cells", "asks"),
    [
        pytest.param(500, {"Modality": "MR"}, False, id="as many as may be"),
        pytest.param(501, {"Modality": "MR"}, True, id="one more"),
        *(
            pytest.param(501, {"Modality": "MR", column: "1"}, False, id=f"it names a {column}")
            for column in (
                "PatientID",
                "AccessionNumber",
                "PatientName",
                "StudyInstanceUID",
                "SeriesInstanceUID",
            )
        ),
        pytest.param(501, {"StudyDate": "20200101"}, True, id="a date names nobody"),
    ],
)
def test_a_row_that_names_nobody_and_matches_a_whole_pacs_is_asked_about(number, cells, asks) -> None:
    plan = make_plan(found(*many(number), query=Query((2,), cells, None)), SAVE)
    question = Question(
        f"row 2 names no patient, accession or UID and matches {number} series; go on?",
        "row 2 was not confirmed; narrow it, or give --yes or --limit",
    )
    assert plan.questions == ((question,) if asks else ())


@pytest.mark.parametrize("options", [INFO, MOVE, replace(SAVE, limit=10), replace(SAVE, dry_run=True)])
def test_the_question_is_asked_whatever_is_to_be_done(options: Options) -> None:
    assert len(make_plan(found(*many(501)), options).questions) == 1


def test_a_user_who_asked_for_everything_is_not_asked_again() -> None:
    assert not make_plan(found(*many(501)), replace(SAVE, list_all=True)).questions


def test_series_that_a_row_perhaps_wants_count_for_the_question() -> None:
    perhaps = many(501, rows=(), undecided={2: ("Modality",)})
    assert len(make_plan(found(*perhaps), SAVE).questions) == 1
