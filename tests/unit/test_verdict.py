"""What is called complete: nothing that lacks an instance, and nothing that is all there is asked for again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from series import (
    BUSY,
    NOT_UNDERSTOOD,
    SUCCESS,
    UNANSWERED,
    UNKNOWN_DESTINATION,
    WARNING,
    of_images,
    of_series,
    of_studies,
    state,
)

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.transfer.fetch.verdict import (
    conclude,
    is_complete,
    is_short,
    judge,
    lasting,
    left_behind,
    took_only_some,
)
from pacsifier.transfer.model import Lasting, SeriesState, Status
from pacsifier.transfer.plan import untold_columns
from pacsifier.transfer.retry import is_clean, may_have_failed, refused_for_good

NO_UID_OF_IT = {"9.9.9.0": 1000, "9.9.9.1": 1000}


@pytest.mark.parametrize(
    ("series", "complete"),
    [
        pytest.param(state(announced=2, found=2), True, id="as many as announced are all"),
        pytest.param(state(announced=1, found=1), True, id="a series of one image can be complete"),
        pytest.param(state(announced=2, found=1), False, id="one is missing"),
        pytest.param(state(announced=2, found=3), False, id="more than announced: the number is wrong"),
        pytest.param(state(announced=0, found=0), False, id="of an empty series nothing proves itself"),
        pytest.param(state(announced=None, found=2), False, id="without a number nobody knows"),
        pytest.param(state(announced=2, moved=2), True, id="what was moved elsewhere counts"),
        pytest.param(state(announced=2, moved=1), False, id="not all was moved"),
        pytest.param(state(listed=2, found=2), True, id="each listed instance is there"),
        pytest.param(state(listed=2, found=3), True, id="one more than listed takes nothing away"),
        pytest.param(state(announced=9, listed=2, found=2), True, id="the list counts, not the number"),
        pytest.param(state(listed=3, found=2), False, id="a listed instance is missing"),
        pytest.param(
            replace(state(listed=2), found=NO_UID_OF_IT), False, id="as many as listed, but other ones"
        ),
        pytest.param(state(listed=2, moved=2), True, id="moved elsewhere: UIDs are not known, the number is"),
    ],
)
def test_a_series_is_complete_only_with_all_that_the_pacs_holds(series: SeriesState, complete: bool) -> None:
    assert is_complete(series) is complete


@pytest.mark.parametrize(
    ("series", "short"),
    [
        (state(announced=2, found=1), True),
        (state(announced=2, found=2), False),
        (state(announced=2, found=3), False),
        (state(announced=None, found=0), False),
        (state(announced=2, listed=3, found=2), True),
        (state(announced=3, listed=2, found=2), False),
    ],
)
def test_late_objects_are_waited_for_only_where_some_are_missing(series: SeriesState, short: bool) -> None:
    assert is_short(series) is short


@pytest.mark.parametrize(
    ("end", "clean"),
    [
        (SUCCESS, True),
        (replace(SUCCESS, failed=0), True),
        (replace(SUCCESS, failed=1), False),
        (WARNING, False),
        (replace(WARNING, completed=1, warning=1, failed=1), False),
        (replace(WARNING, completed=2, warning=0, failed=0), False),
        (replace(WARNING, completed=1, warning=1, failed=0), True),
        (replace(WARNING, completed=0, warning=2, failed=0), True),
        (replace(WARNING, failed=0), True),
        (replace(WARNING, failed=0, at_least=True), False),
        (BUSY, False),
        (UNANSWERED, False),
    ],
)
def test_only_an_end_that_tells_of_no_failed_sub_operation_is_a_good_one(end: MoveState, clean: bool) -> None:
    assert is_clean(end) is clean


@pytest.mark.parametrize(
    ("end", "done", "begun"),
    [
        (SUCCESS, None, 0),
        (replace(SUCCESS, completed=2), 2, 2),
        (replace(SUCCESS, completed=0, warning=2), 2, 2),
        (replace(SUCCESS, completed=1, warning=2), 3, 3),
        (replace(SUCCESS, warning=1), None, 1),
        (replace(SUCCESS, completed=1, at_least=True), None, 1),
        (replace(WARNING, completed=1), None, 1),
        (replace(WARNING, completed=1, warning=1), 2, 2),
        (replace(BUSY, completed=1), 1, 1),
        (UNANSWERED, None, 0),
    ],
)
def test_what_is_done_is_completed_and_warning_and_what_is_absent_is_not_known(
    end: MoveState, done: int | None, begun: int
) -> None:
    assert (end.done, end.begun) == (done, begun)


@pytest.mark.parametrize(
    ("listed", "verdict"),
    [(None, Status.COMPLETE), (3, Status.COMPLETE)],
)
def test_elsewhere_success_without_any_number_is_success(listed: int | None, verdict: Status) -> None:
    series = state(announced=None)
    conclude(series, SUCCESS, "why", of=[series])
    if listed:
        series.tell(state(listed=listed).series.instances or ())
    judge(series, moved=True)
    assert (series.status, series.files) == (verdict, listed or 0)


def test_to_us_success_without_any_number_is_no_image() -> None:
    series = state(announced=None)
    conclude(series, SUCCESS, "why", of=[series])
    judge(series, moved=False)
    assert series.status is Status.PENDING


@pytest.mark.parametrize(
    ("end", "failed"),
    [
        (SUCCESS, False),
        (replace(SUCCESS, failed=1), True),
        (BUSY, True),
        (replace(BUSY, completed=0, failed=0), False),
        (replace(BUSY, completed=0, failed=0, at_least=True), True),
        (replace(BUSY, completed=0, failed=2), True),
        (WARNING, True),
        (replace(WARNING, completed=1, warning=1, failed=0), False),
        (NOT_UNDERSTOOD, False),
        (UNANSWERED, False),
    ],
)
def test_where_failures_are_not_counted_only_the_status_says_that_there_were_none(
    end: MoveState, failed: bool
) -> None:
    assert may_have_failed(end) is failed


def test_a_pacs_that_is_busy_and_counts_nothing_is_first_asked_the_same_again() -> None:
    assert not may_have_failed(BUSY, last=False)


@pytest.mark.parametrize(
    ("end", "for_good"),
    [
        pytest.param(NOT_UNDERSTOOD, True, id="identifier does not match"),
        pytest.param(replace(NOT_UNDERSTOOD, completed=0), True, id="nothing sent"),
        pytest.param(
            replace(NOT_UNDERSTOOD, completed=1), False, id="what began to come may come another time"
        ),
        pytest.param(replace(NOT_UNDERSTOOD, warning=1), False, id="what came with a warning came"),
        pytest.param(MoveState(0, 0xC000), True, id="unable to process"),
        pytest.param(MoveState(0, 0xA701), False, id="out of resources"),
        pytest.param(BUSY, False, id="out of resources to send"),
        pytest.param(UNKNOWN_DESTINATION, False, id="another place will do"),
        pytest.param(WARNING, False, id="some failed"),
        pytest.param(replace(WARNING, completed=0), False, id="all failed"),
        pytest.param(SUCCESS, False, id="success"),
        pytest.param(UNANSWERED, False, id="no answer"),
    ],
)
def test_a_refusal_is_for_good_only_where_nothing_else_can_explain_it(end: MoveState, for_good: bool) -> None:
    assert refused_for_good(end) is for_good


@pytest.mark.parametrize(
    ("series", "end", "code"),
    [
        pytest.param(state(), NOT_UNDERSTOOD, Lasting.REFUSED, id="the identifier is refused"),
        pytest.param(state(), MoveState(0, 0x0122), Lasting.REFUSED, id="the class of service is refused"),
        pytest.param(state(), replace(BUSY, failed=2), Lasting.NOT_SENT, id="no instance could be sent"),
        pytest.param(
            state(found=1), replace(WARNING, completed=1, failed=1), Lasting.NOT_SENT, id="one could not"
        ),
        pytest.param(state(), replace(SUCCESS, failed=1), Lasting.NOT_SENT, id="Success with a failure"),
        pytest.param(state(), WARNING, Lasting.NOT_SENT, id="failures that are not counted"),
        pytest.param(state(), UNKNOWN_DESTINATION, Lasting.NOT_SENT, id="what no context admitted"),
        pytest.param(state(found=1), replace(SUCCESS, completed=1), Lasting.MISSING, id="not in its store"),
        pytest.param(state(), replace(SUCCESS, completed=0), Lasting.MISSING, id="nothing in its store"),
        pytest.param(state(found=1), replace(SUCCESS, completed=2), None, id="lost on the way"),
        pytest.param(state(found=0), replace(SUCCESS, completed=1), None, id="all of it lost on the way"),
        pytest.param(state(found=1), SUCCESS, None, id="nobody knows how many were sent"),
        pytest.param(state(announced=None), replace(SUCCESS, completed=0), None, id="nothing is announced"),
        pytest.param(state(), BUSY, None, id="out of resources, without a count"),
        pytest.param(state(), replace(BUSY, completed=0, failed=0), None, id="out of resources to send"),
        pytest.param(state(), MoveState(0, 0xA701), None, id="out of resources to look"),
        pytest.param(state(), MoveState(0, 0xA700), None, id="out of resources"),
        pytest.param(state(), MoveState(0, 0x0213), None, id="a limit of resources"),
        pytest.param(state(), MoveState(0, 0xFE00), None, id="cancelled"),
        pytest.param(state(), UNANSWERED, None, id="cut off, or silent"),
    ],
)
def test_only_what_neither_time_nor_the_link_explains_fails_for_good(
    series: SeriesState, end: MoveState, code: Lasting | None
) -> None:
    assert lasting(series, end, [series]) is code


@pytest.mark.parametrize("known", ["", "C-MOVE to US"])
@pytest.mark.parametrize("proven", [True, False])
def test_a_series_fails_for_good_only_by_a_way_by_which_something_came(known: str, proven: bool) -> None:
    series = state(failed_by=known)
    conclude(series, NOT_UNDERSTOOD, "why", of=[series])
    series.close()
    series.remember("C-MOVE to US", proven=proven)
    assert series.failed_by == ("C-MOVE to US" if proven or known else "")


ALL_FOUR_FAILED = replace(BUSY, completed=0, failed=4)


@pytest.mark.parametrize(
    ("other", "end", "code"),
    [
        pytest.param(state("1.1.2"), ALL_FOUR_FAILED, Lasting.NOT_SENT, id="nothing of any of them was sent"),
        pytest.param(state("1.1.2"), replace(ALL_FOUR_FAILED, failed=3), None, id="one may not have failed"),
        pytest.param(
            state("1.1.2"), replace(ALL_FOUR_FAILED, completed=1), None, id="one was sent: nobody knows which"
        ),
        pytest.param(state("1.1.2"), replace(ALL_FOUR_FAILED, at_least=True), None, id="of a pending answer"),
        pytest.param(
            state("1.1.2", announced=None), ALL_FOUR_FAILED, None, id="nobody knows how many it has"
        ),
        pytest.param(state("1.1.2"), NOT_UNDERSTOOD, None, id="it may be the list that is refused"),
        pytest.param(state("1.1.2"), BUSY, None, id="out of resources, without a count"),
    ],
)
def test_what_failed_together_with_others_has_failed_for_good_only_where_nothing_of_any_was_sent(
    other: SeriesState, end: MoveState, code: Lasting | None
) -> None:
    series = state()
    conclude(series, end, "why", of=[series, other])
    assert series.lasting is code


# --- what a request left behind ----------------------------------------------------------------------------------

HERE, PART, AWAY = state("1.1.1", found=2), state("1.1.2", found=1), state("1.1.3")
EMPTY = state("1.1.4", announced=0)
OTHER_STUDY, THIRD_STUDY = state("1.2.1"), state("1.3.1", found=1)


@pytest.mark.parametrize(
    ("request_", "states", "left"),
    [
        pytest.param(
            of_series("1.1.1", "1.1.3"), (HERE, AWAY), ["1.1.3"], id="a series of a list that did not come"
        ),
        pytest.param(
            of_series("1.1.1", "1.1.2"), (HERE, PART), [], id="one that came in part was understood"
        ),
        pytest.param(of_series("1.1.4"), (EMPTY,), [], id="of an empty series nothing can come"),
        pytest.param(of_studies("1.1"), (HERE, AWAY), ["1.1.3"], id="a series of a whole study"),
        pytest.param(
            of_studies("1.1", "1.2"), (HERE, AWAY, OTHER_STUDY), ["1.2.1"], id="of two studies the whole one"
        ),
        pytest.param(
            of_studies("1.1", "1.2", "1.3"),
            (HERE, AWAY, OTHER_STUDY, THIRD_STUDY),
            ["1.2.1"],
            id="of several studies the whole ones, not the series of one that came",
        ),
        pytest.param(
            of_studies("1.1", "1.2"), (EMPTY, OTHER_STUDY), ["1.2.1"], id="an empty study is not missed"
        ),
        pytest.param(of_images("1.1.2", range(2)), (PART,), ["1.1.2"], id="an instance of those named"),
        pytest.param(of_images("1.1.2", range(1)), (PART,), [], id="all that were named came"),
        pytest.param(of_images("1.1.1", range(1)), (HERE,), [], id="more is there than was named"),
    ],
)
def test_what_did_not_come_is_known_by_its_request(request_, states, left) -> None:
    assert [each.series.series_uid for each in left_behind((request_, states))] == left


@pytest.mark.parametrize(
    ("request_", "states", "end", "came", "only_some"),
    [
        pytest.param(
            of_series("1.1.1", "1.1.3"), (HERE, AWAY), SUCCESS, 2, True, id="one of two series came"
        ),
        pytest.param(
            of_series("1.1.1", "1.1.3"),
            (HERE, AWAY),
            SUCCESS,
            1,
            True,
            id="one instance proves that it understood",
        ),
        pytest.param(
            of_series("1.1.1", "1.1.3"),
            (HERE, AWAY),
            WARNING,
            2,
            False,
            id="failures explain what is missing",
        ),
        pytest.param(
            of_series("1.1.1", "1.1.3"),
            (HERE, AWAY),
            SUCCESS,
            0,
            False,
            id="nothing new came: the link may be at fault",
        ),
        pytest.param(
            of_series("1.1.1", "1.1.2"), (HERE, PART), SUCCESS, 3, False, id="something of each came"
        ),
        pytest.param(
            of_series("1.1.3", "1.1.5"), (AWAY, state("1.1.5")), SUCCESS, 1, False, id="nothing of any came"
        ),
        pytest.param(of_series("1.1.3"), (AWAY,), SUCCESS, 1, False, id="a single series is no list"),
        pytest.param(of_studies("1.1"), (HERE, AWAY), SUCCESS, 2, False, id="a single study is no list"),
        pytest.param(
            of_studies("1.1", "1.2"), (HERE, OTHER_STUDY), SUCCESS, 2, True, id="one of two studies came"
        ),
        pytest.param(
            of_studies("1.1", "1.2"), (AWAY, OTHER_STUDY), SUCCESS, 0, True, id="neither of two studies came"
        ),
        pytest.param(
            of_studies("1.1", "1.3"), (HERE, THIRD_STUDY), SUCCESS, 3, False, id="both studies came"
        ),
        pytest.param(of_images("1.1.2", range(2)), (PART,), SUCCESS, 0, True, id="an instance did not come"),
        pytest.param(of_images("1.1.2", range(1)), (PART,), SUCCESS, 1, False, id="the instance came"),
    ],
)
def test_a_pacs_that_takes_only_the_first_of_a_list_is_found_out(
    request_, states, end, came, only_some
) -> None:
    assert took_only_some((request_, states), end, came) is only_some


# --- conclude: after a request -----------------------------------------------------------------------------------

WHY = "C-MOVE ended with 0x0000"
PENDING = (Status.PENDING, WHY)
COMPLETE = (Status.COMPLETE, "")
OTHER = state("1.1.2", announced=3, found=3)


@pytest.mark.parametrize(
    ("series", "end", "of", "verdict"),
    [
        pytest.param(state(found=2), SUCCESS, (), COMPLETE, id="all is here"),
        pytest.param(
            state(found=2), replace(SUCCESS, completed=2), (), COMPLETE, id="and the counter agrees"
        ),
        pytest.param(state(found=1), SUCCESS, (), PENDING, id="one is missing"),
        pytest.param(state(found=2), replace(SUCCESS, failed=1), (), PENDING, id="a sub-operation failed"),
        pytest.param(state(found=2), WARNING, (), PENDING, id="it ended with a warning"),
        pytest.param(state(found=2), UNANSWERED, (), PENDING, id="no end was told"),
        pytest.param(state(found=2, rows=()), SUCCESS, (), PENDING, id="no row is sure to want it"),
        pytest.param(
            state(found=2, spoiled="conflict"), SUCCESS, (), PENDING, id="an object contradicts another"
        ),
        pytest.param(
            state(found=2),
            replace(SUCCESS, completed=3),
            (),
            PENDING,
            id="one more was sent: it is still to come",
        ),
        pytest.param(
            state(found=2),
            replace(SUCCESS, completed=1),
            (),
            COMPLETE,
            id="fewer were sent: the rest was there",
        ),
        pytest.param(
            state(found=2),
            replace(SUCCESS, completed=5),
            (OTHER,),
            COMPLETE,
            id="the counter is of all its series",
        ),
        pytest.param(
            state(found=2),
            replace(SUCCESS, completed=6),
            (OTHER,),
            PENDING,
            id="one more than all its series",
        ),
        pytest.param(state(announced=2, moved=2), SUCCESS, (), COMPLETE, id="all was moved elsewhere"),
    ],
)
def test_a_request_settles_a_series_only_where_end_and_counts_agree(series, end, of, verdict) -> None:
    series = replace(series)
    conclude(series, end, WHY, of=(series, *of))
    assert (series.status, series.reason) == verdict


@pytest.mark.parametrize(
    ("end", "others", "failed", "refused"),
    [
        pytest.param(SUCCESS, 0, False, False, id="a good end"),
        pytest.param(replace(SUCCESS, failed=1), 0, True, False, id="a failed sub-operation"),
        pytest.param(UNANSWERED, 0, True, False, id="no answer"),
        pytest.param(BUSY, 0, True, False, id="busy"),
        pytest.param(NOT_UNDERSTOOD, 0, True, True, id="refused for good"),
        pytest.param(NOT_UNDERSTOOD, 1, True, False, id="refused with others: perhaps because of them"),
    ],
)
def test_a_series_is_given_up_only_where_the_refusal_was_its_own(end, others, failed, refused) -> None:
    series = state()
    conclude(series, end, WHY, of=[series, *([OTHER] * others)])
    assert (series.failed, series.refused) == (failed, refused)


def test_a_later_good_end_takes_an_earlier_failure_back() -> None:
    series = state(found=2)
    for end in (NOT_UNDERSTOOD, SUCCESS):
        conclude(series, end, WHY, of=[series])
    assert (series.failed, series.refused, series.status) == (False, False, Status.COMPLETE)


# --- without an announced number: the counters, and then the IMAGE level -----------------------------------------

UNANNOUNCED = state(announced=None, found=2)
SENT_2 = replace(SUCCESS, completed=2)


@pytest.mark.parametrize(
    ("series", "end", "others", "verdict"),
    [
        pytest.param(
            UNANNOUNCED,
            SENT_2,
            (),
            (Status.COMPLETE, "not announced; the counters agree"),
            id="as many came as were sent",
        ),
        pytest.param(UNANNOUNCED, replace(SUCCESS, completed=3), (), PENDING, id="one more was sent"),
        pytest.param(UNANNOUNCED, replace(SUCCESS, completed=1), (), PENDING, id="one fewer was sent"),
        pytest.param(UNANNOUNCED, SUCCESS, (), PENDING, id="no counter was told"),
        pytest.param(UNANNOUNCED, SENT_2, (OTHER,), PENDING, id="the counter is of two series"),
        pytest.param(UNANNOUNCED, replace(SENT_2, status=0xB000), (), PENDING, id="it ended with a warning"),
        pytest.param(UNANNOUNCED, replace(SENT_2, failed=1), (), PENDING, id="a sub-operation failed"),
        pytest.param(
            state(announced=None),
            replace(SUCCESS, completed=0),
            (),
            None,
            id="nothing was sent, nothing came",
        ),
    ],
)
def test_without_a_number_the_counters_stand_for_it(series, end, others, verdict) -> None:
    series = replace(series)
    conclude(series, end, WHY, of=(series, *others))
    assert series.status is Status.PENDING, "the IMAGE level is asked before"
    judge(series, moved=False)
    if verdict is None:
        assert series.status is Status.PENDING
    else:
        assert (series.status, series.reason) == verdict


@pytest.mark.parametrize("spoiled", ["", "conflict"])
def test_that_the_counters_agreed_is_no_word_for_people(spoiled: str) -> None:
    series = state(announced=None, found=2, spoiled=spoiled)
    conclude(series, SENT_2, WHY, of=[series])
    series.close("interrupted")
    assert "agree" not in series.reason


# --- judge: after the IMAGE level was asked ----------------------------------------------------------------------

OPEN = (Status.PENDING, "before")
DONE = (Status.COMPLETE, "")
UNDER = "another study or series than the PACS lists them under"


@pytest.mark.parametrize(
    ("series", "moved", "verdict"),
    [
        pytest.param(state(found=2), False, DONE, id="late objects made it whole"),
        pytest.param(state(found=1), False, OPEN, id="one is missing"),
        pytest.param(state(announced=2, listed=2, found=2), False, DONE, id="the list agrees"),
        pytest.param(state(announced=3, listed=3, found=2), False, OPEN, id="a listed one is missing"),
        pytest.param(
            state(announced=3, listed=2, found=2),
            False,
            (Status.COMPLETE, "announced differs: 3"),
            id="the list is shorter than announced",
        ),
        pytest.param(
            state(announced=1, listed=2, found=2),
            False,
            (Status.COMPLETE, "announced differs: 1"),
            id="the list is longer than announced",
        ),
        pytest.param(
            state(announced=None, listed=2, found=2), False, DONE, id="the list says what nobody announced"
        ),
        pytest.param(
            state(announced=3, listed=2, found=2, failed=True),
            False,
            OPEN,
            id="failed, and the list lost one too",
        ),
        pytest.param(
            state(announced=2, listed=2, found=2, failed=True),
            False,
            DONE,
            id="failed, but the list shows all here",
        ),
        pytest.param(
            state(announced=2, listed=3, found=3, failed=True),
            False,
            (Status.COMPLETE, "announced differs: 2"),
            id="failed, but more is listed than announced",
        ),
        pytest.param(
            state(announced=None, listed=2, found=2, failed=True),
            False,
            DONE,
            id="failed, never announced, all listed",
        ),
        pytest.param(state(announced=2, found=2, failed=True), False, OPEN, id="failed, and no list to tell"),
        pytest.param(state(announced=None, found=2), False, OPEN, id="no number, no list, no counter"),
        pytest.param(state(found=2, spoiled="conflict"), False, OPEN, id="an object contradicts another"),
        pytest.param(state(found=2, rows=()), False, OPEN, id="no row is sure to want it"),
        pytest.param(
            state(found=2, rows=(), spoiled="conflict"), True, OPEN, id="spoiled where it was moved to"
        ),
        pytest.param(
            state(announced=2, moved=2, rows=()), True, DONE, id="moved elsewhere: nobody looks into it"
        ),
        pytest.param(state(announced=2, moved=2), True, DONE, id="all was moved elsewhere"),
        pytest.param(
            state(found=2, relabelled=1),
            False,
            (Status.COMPLETE, f"1 object names {UNDER}"),
            id="objects under other UIDs are told",
        ),
        pytest.param(
            state(announced=3, listed=2, found=2, relabelled=2),
            False,
            (Status.COMPLETE, f"announced differs: 3; 2 objects name {UNDER}"),
            id="both notes are told",
        ),
    ],
)
def test_the_list_of_the_pacs_settles_what_counts_left_open(series, moved: bool, verdict) -> None:
    series = replace(series, reason="before")
    judge(series, moved=moved)
    assert (series.status, series.reason) == verdict


# --- close: at the end of the run --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "stop", "verdict"),
    [
        pytest.param(state(), "", (Status.FAILED, "0 of 2 instances"), id="nothing came"),
        pytest.param(state(found=1), "", (Status.INCOMPLETE, "1 of 2 instances"), id="one of two came"),
        pytest.param(
            state(announced=None, found=1),
            "",
            (Status.INCOMPLETE, "1 of ? instances"),
            id="of how many is not known",
        ),
        pytest.param(state(announced=0), "", (Status.FAILED, "0 of 0 instances"), id="an empty series"),
        pytest.param(state(moved=1), "", (Status.INCOMPLETE, "1 of 2 instances"), id="one of two was moved"),
        pytest.param(
            state(found=1, reason="why"),
            "disk full",
            (Status.INCOMPLETE, "1 of 2 instances; why; disk full"),
            id="why, and why the run stopped",
        ),
        pytest.param(
            state(found=2, spoiled="conflict", reason="why"),
            "disk full",
            (Status.INCOMPLETE, "conflict"),
            id="what contradicts itself is never complete",
        ),
        pytest.param(
            state(found=2, spoiled="conflict", status=Status.COMPLETE),
            "",
            (Status.INCOMPLETE, "conflict"),
            id="found out after it was called complete",
        ),
        pytest.param(
            state(found=2, status=Status.COMPLETE), "disk full", (Status.COMPLETE, ""), id="complete stays so"
        ),
        pytest.param(
            state(status=Status.UNDECIDED, reason="told too little"),
            "disk full",
            (Status.UNDECIDED, "told too little"),
            id="undecided stays so",
        ),
    ],
)
def test_each_series_ends_with_a_verdict_and_its_reason(series, stop: str, verdict) -> None:
    series = replace(series)
    series.close(stop)
    assert (series.status, series.reason) == verdict


@pytest.mark.parametrize(
    ("undecided", "columns"),
    [
        ({}, ""),
        ({2: ("Modality",)}, "Modality"),
        (
            {2: ("StudyDate", "Modality"), 3: ("Modality", "ProtocolName")},
            "Modality, ProtocolName, StudyDate",
        ),
    ],
)
def test_the_columns_that_the_pacs_does_not_tell_are_each_named_once(undecided, columns: str) -> None:
    assert untold_columns(replace(state().series, undecided=undecided)) == columns


@pytest.mark.parametrize("status", [Status.NOT_WANTED, Status.EXCLUDED])
def test_a_series_that_its_images_showed_not_to_be_wanted_is_not_asked_for_again(status: Status) -> None:
    kept, discarded = state("1.1.1", found=1), state("1.1.2", status=status)
    part = (MoveRequest(("1.1",), ("1.1.1", "1.1.2")), (kept, discarded))
    assert left_behind(part) == []
    assert not took_only_some(part, SUCCESS, 1)
