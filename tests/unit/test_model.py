"""The states of a series as drawn at the head of model.py, and what else a series and a row remember of their way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from series import of_images, of_series, of_studies, state

from pacsifier.query import Query
from pacsifier.query.series import Instance
from pacsifier.transfer.model import (
    COUNTED,
    Chunk,
    Plan,
    RowReport,
    SeriesState,
    Status,
)

Does = Callable[[SeriesState], None]


# --- the drawing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "becomes", "reason"),
    [
        pytest.param(lambda it: it.list(), Status.LISTED, "", id="list"),
        pytest.param(
            lambda it: it.leave_undecided("told too little"),
            Status.UNDECIDED,
            "told too little",
            id="leave_undecided",
        ),
        pytest.param(lambda it: it.skip("was complete"), Status.SKIPPED, "was complete", id="skip"),
        pytest.param(lambda it: it.complete("a note"), Status.COMPLETE, "a note", id="complete"),
        pytest.param(lambda it: it.complete(), Status.COMPLETE, "", id="complete without a note"),
        pytest.param(lambda it: it.close(), Status.FAILED, "0 of 2 instances", id="close"),
        pytest.param(lambda it: it.discard("another"), Status.NOT_WANTED, "another", id="discard"),
        pytest.param(lambda it: it.exclude("opted out"), Status.EXCLUDED, "opted out", id="exclude"),
        pytest.param(lambda it: it.spoil("conflict"), Status.PENDING, "", id="spoil alone"),
        pytest.param(lambda it: it.want((2, 3)), Status.PENDING, "", id="want"),
        pytest.param(lambda it: it.postpone("busy"), Status.PENDING, "busy", id="postpone"),
        pytest.param(
            lambda it: it.enter("failed", failed=True, refused=False), Status.PENDING, "failed", id="enter"
        ),
        pytest.param(lambda it: it.damage("damaged"), Status.PENDING, "damaged", id="damage"),
        pytest.param(lambda it: it.claim(), Status.PENDING, "", id="claim"),
        pytest.param(lambda it: it.remark("a word"), Status.PENDING, "a word", id="remark"),
        pytest.param(lambda it: it.take_time(2.0), Status.PENDING, "", id="take_time"),
    ],
)
def test_an_open_series_goes_only_where_the_drawing_says(does: Does, becomes: Status, reason: str) -> None:
    series = state()
    does(series)
    assert (series.status, series.reason) == (becomes, reason)
    assert series.pending is (becomes is Status.PENDING)


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize(
    ("does", "becomes"),
    [
        pytest.param(lambda it: it.discard("why"), Status.NOT_WANTED, id="its images match no row"),
        pytest.param(
            lambda it: it.exclude("why"), Status.EXCLUDED, id="its images are of an excluded patient"
        ),
    ],
)
def test_what_its_images_say_counts_in_every_state(does: Does, becomes: Status, before: Status) -> None:
    series = state(found=2, status=before, reason="before")
    does(series)
    assert (series.status, series.reason) == (becomes, "why")


@pytest.mark.parametrize("before", list(Status))
def test_a_series_that_contradicts_itself_ends_incomplete_whatever_it_was_called(before: Status) -> None:
    series = state(found=2, status=before, reason="before")
    series.spoil("conflict")
    assert (series.status, series.reason) == (before, "before"), "the run is not over"
    series.close("stopped")
    assert (series.status, series.reason) == (Status.INCOMPLETE, "conflict")


@pytest.mark.parametrize("before", [each for each in Status if each is not Status.PENDING])
def test_the_end_of_a_run_changes_no_verdict(before: Status) -> None:
    series = state(found=1, status=before, reason="before")
    series.close("stopped")
    assert (series.status, series.reason) == (before, "before")


@pytest.mark.parametrize("before", list(Status))
def test_a_late_image_that_a_row_wants_opens_only_what_was_discarded(before: Status) -> None:
    series = state(rows=(), status=before)
    series.want(iter((2, 5)))
    assert (series.series.rows, series.series.undecided) == ((2, 5), {})
    assert series.status is (Status.PENDING if before is Status.NOT_WANTED else before)


@pytest.mark.parametrize(
    ("status", "completed", "settled"),
    [
        (Status.PENDING, False, False),
        (Status.LISTED, False, True),
        (Status.COMPLETE, True, True),
        (Status.SKIPPED, True, True),
        (Status.INCOMPLETE, False, False),
        (Status.FAILED, False, False),
        (Status.NOT_WANTED, False, True),
        (Status.UNDECIDED, False, False),
        (Status.EXCLUDED, False, True),
    ],
)
def test_what_is_left_to_do_is_known_by_the_status(status: Status, completed: bool, settled: bool) -> None:
    assert (status.completed, status.settled) == (completed, settled)


# --- close -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "stop", "verdict"),
    [
        pytest.param(state(found=1), "", (Status.INCOMPLETE, "1 of 2 instances"), id="something came"),
        pytest.param(state(moved=1), "", (Status.INCOMPLETE, "1 of 2 instances"), id="something was moved"),
        pytest.param(state(), "", (Status.FAILED, "0 of 2 instances"), id="nothing came"),
        pytest.param(
            state(announced=None), "", (Status.FAILED, "0 of ? instances"), id="of how many nobody told"
        ),
        pytest.param(
            state(announced=2, listed=3, found=1),
            "",
            (Status.INCOMPLETE, "1 of 3 instances"),
            id="the list says of how many",
        ),
        pytest.param(
            state(reason="why"), "disk full", (Status.FAILED, "0 of 2 instances; why; disk full"), id="why"
        ),
        pytest.param(
            state(announced=None, found=1, reason="agree", counted=True),
            "disk full",
            (Status.INCOMPLETE, "1 of ? instances; disk full"),
            id="counters that agreed are no reason",
        ),
    ],
)
def test_an_open_series_is_closed_with_its_counts_and_every_reason(series, stop: str, verdict) -> None:
    series = replace(series)
    series.close(stop)
    assert (series.status, series.reason) == verdict


# --- what a series remembers -------------------------------------------------------------------------------------


def test_what_was_moved_is_never_fewer_than_before() -> None:
    series = state()
    for seconds, moved in ((1.0, 2), (2.0, 1), (4.0, None)):
        series.take_time(seconds, moved)
    assert (series.tried, series.moved, series.seconds) == (True, 2, 7.0)


@pytest.mark.parametrize(("before", "moved", "after"), [(0, 3, 3), (3, 0, 3), (5, 3, 5)])
def test_a_skipped_series_keeps_the_number_that_was_moved(before: int, moved: int, after: int) -> None:
    series = state(moved=before)
    series.skip(moved=moved)
    assert (series.status, series.reason, series.moved) == (Status.SKIPPED, "", after)


def test_a_skip_needs_no_number() -> None:
    series = state()
    series.skip("was complete")
    assert series.moved == 0


def test_what_comes_after_all_was_on_the_disk_is_waited_for_once_more() -> None:
    series = state()
    series.complete()
    series.put("1.1", 10)
    series.settle_on_disk()
    assert not series.arrived
    series.put("1.1", 10)
    assert not series.arrived, "it was there"
    series.put("1.2", 10)
    assert series.arrived


def test_an_instance_is_new_once() -> None:
    series = state()
    assert (series.put("1.5", 10), series.put("1.5", 12), series.put("1.6", 3)) == (True, False, True)
    assert (series.found, series.files) == ({"1.5": 12, "1.6": 3}, 2)


@pytest.mark.parametrize(
    ("series", "files"),
    [(state(), 0), (state(found=2), 2), (state(moved=3), 3), (state(found=2, moved=3), 2)],
)
def test_instances_here_count_before_those_moved(series: SeriesState, files: int) -> None:
    assert series.files == files


def test_a_series_takes_its_folder_values_and_list() -> None:
    series = state()
    series.lie_in(Path("out/sub-1"))
    series.complete_values({**series.series.values, "Modality": "MR"})
    series.tell((Instance("1.1.1.0", "1.2.3"),))
    assert series.folder == Path("out/sub-1")
    assert (series.series.values["Modality"], series.series.expected, series.series.rows) == ("MR", 1, (2,))
    series.claim()
    series.claim()
    assert series.relabelled == 2


@pytest.mark.parametrize("counted", [False, True])
def test_the_end_of_a_request_is_written_down_for_the_verdict(counted: bool) -> None:
    series = state(failed=True, refused=True, counted=not counted)
    series.enter("ended", failed=False, refused=False, counted=counted)
    assert (series.failed, series.refused, series.counted) == (False, False, counted)
    assert series.reason == (COUNTED if counted else "ended")
    series.enter("refused", failed=True, refused=True)
    assert (series.failed, series.refused, series.counted) == (True, True, False)


@pytest.mark.parametrize(
    ("does", "tried"),
    [
        pytest.param(lambda it: it.postpone("busy"), True, id="asked again"),
        pytest.param(lambda it: it.damage("damaged"), False, id="an object arrived damaged"),
    ],
)
def test_counters_that_agreed_say_nothing_after(does: Does, tried: bool) -> None:
    series = state(announced=None, found=2, counted=True)
    does(series)
    assert (series.counted, series.tried) == (False, tried)


@pytest.mark.parametrize(
    ("before", "words", "reason"),
    [
        ("", (), ""),
        ("why", (), "why"),
        ("why", ("", ""), "why"),
        ("", ("late", "", "lossy"), "late; lossy"),
        ("why", ("late",), "why; late"),
    ],
)
def test_a_remark_is_added_and_replaces_nothing(before: str, words: tuple[str, ...], reason: str) -> None:
    series = state(reason=before)
    series.remark(*words)
    assert series.reason == reason


# --- a row's report ----------------------------------------------------------------------------------------------

QUERY = Query((2, 3), {"PatientID": "A1"}, None)
EARLY = RowReport(
    QUERY,
    failure="e-failure",
    not_found="e-nothing",
    ambiguous="e-two",
    rejected={"Modality": 2, "StudyDate": 1},
    lenient=frozenset({"PatientName"}),
    excluded=1,
    empty={"Modality": 1},
    divided=True,
    elsewhere=2,
    other_studies={"1.1": "A1", "1.2": None},
)
LATE = RowReport(
    QUERY,
    failure="l-failure",
    not_found="l-nothing",
    ambiguous="l-two",
    rejected={"Modality": 3},
    lenient=frozenset({"ProtocolName"}),
    excluded=4,
    empty={"StudyDate": 5},
    divided=False,
    elsewhere=3,
    other_studies={"1.2": "B2", "1.3": "C3"},
)


def test_of_two_reports_of_a_row_texts_the_later_stands_and_counts_are_added() -> None:
    assert EARLY.followed_by(LATE) == RowReport(
        QUERY,
        failure="l-failure",
        not_found="l-nothing",
        ambiguous="l-two",
        rejected=Counter({"Modality": 5, "StudyDate": 1}),
        lenient=frozenset({"PatientName", "ProtocolName"}),
        excluded=5,
        empty=Counter({"Modality": 1, "StudyDate": 5}),
        divided=True,
        elsewhere=5,
        other_studies={"1.1": "A1", "1.2": "B2", "1.3": "C3"},
    )


@pytest.mark.parametrize("report", [EARLY, LATE, RowReport(QUERY)])
def test_a_stage_that_has_nothing_to_report_changes_nothing(report: RowReport) -> None:
    nothing = RowReport(QUERY)
    assert report.followed_by(nothing) == report
    assert nothing.followed_by(report) == report


def test_rows_with_nothing_to_count_share_one_empty_mapping() -> None:
    both = RowReport(QUERY).followed_by(RowReport(QUERY))
    assert both.rejected is both.empty is RowReport(QUERY).rejected, "100,000 rows would cost a mapping each"


# --- a plan and a chunk ------------------------------------------------------------------------------------------


def test_a_plan_tells_what_is_open_and_every_series_by_its_uids() -> None:
    states = (state("1.1.1"), state("1.1.2", status=Status.SKIPPED), state("1.2.1"))
    plan = Plan(states, {}, frozenset(), {})
    assert plan.todo == [states[0], states[2]]
    assert plan.every == {each.series.key: each for each in states}


def test_the_requests_of_a_chunk_keep_their_order() -> None:
    requests = (of_studies("1.1"), of_images("1.2.1", range(2)), of_series("1.3.1"))
    assert Chunk(tuple((each, ()) for each in requests), 0).requests == requests
