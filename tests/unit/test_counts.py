"""What decides where the PACS contradicts itself: lists of series with and without counts, lists that are cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fetching import Index
from hypothesis import assume, given
from hypothesis import strategies as st
from series import instance_uids, state
from test_finding import FakePacs, find, image, query, uids

from pacsifier.dcmtk.findscu import Find, FindResult
from pacsifier.dcmtk.transcript import CANCELLED, SUCCESS, MoveState
from pacsifier.query import Query, around
from pacsifier.transfer.fetch.verdict import brought_as_listed, judge, proven, unproven
from pacsifier.transfer.find.answers import looks_capped
from pacsifier.transfer.find.asking import CarefulFinds
from pacsifier.transfer.find.images import tell_instances
from pacsifier.transfer.find.series import both
from pacsifier.transfer.model import Plan, RowReport, SeriesState, Shortage, Status
from pacsifier.transfer.record.outcomes import rows_in_doubt

NOBODY: Mapping[tuple[str, str], int] = {}


# --- lists of series ---------------------------------------------------------------------------------------------


def listing(*uids: str, failure: str | None = None) -> FindResult:
    return FindResult(tuple({"SeriesInstanceUID": uid} for uid in uids), SUCCESS, failure)


@pytest.mark.parametrize(
    ("counted", "plain", "told", "changed", "copies"),
    [
        ("ab", "ab", "ab", False, 0),
        ("a", "abc", "abc", True, 0),
        ("ab", "bc", "abc", True, 0),
        ("abc", "ab", "abc", False, 0),
        ("", "ab", "ab", False, 0),
        ("aabb", "aabb", "ab", False, 0),  # listed twice by cache and archive
        ("a", "bbbbb", "ab", True, 5),  # the last one in the place of all
        ("a", "aaa", "a", False, 3),
        ("", "bbb", "b", False, 3),
    ],
)
def test_both_lists_of_the_series_of_a_study_are_joined(
    counted: str, plain: str, told: str, changed: bool, copies: int
) -> None:
    joined = both(listing(*counted), listing(*plain))
    assert sorted({answer["SeriesInstanceUID"] for answer in joined.result.answers}) == sorted(told)
    assert (joined.changed, joined.copies) == (changed, copies)


def test_a_list_without_counts_that_fails_takes_nothing_back() -> None:
    first = listing("a", "b")
    assert both(first, listing("c", failure="refused")).result is first


def test_numbers_that_were_for_all_series_are_not_believed_for_one() -> None:
    def answer(level: str, keys: Mapping[str, str]) -> FindResult | None:
        if level == "SERIES" and "NumberOfSeriesRelatedInstances" in keys:
            one = {**dict.fromkeys(keys, ""), **image("1.1"), "NumberOfSeriesRelatedInstances": "9"}
            return FindResult((one,), SUCCESS, None)
        return None

    pacs = FakePacs([image("1.1"), image("1.2"), image("1.3")], wrong=answer)
    pacs.images = [{**each, "NumberOfStudyRelatedSeries": "3"} for each in pacs.images]
    found = find(pacs, query(PatientID="123421"))
    assert uids(found) == ["1.1.1", "1.1.2", "1.1.3"]
    assert [each.announced for each in found.series] == [None, None, None]
    assert found.short == {}


# --- lists of studies --------------------------------------------------------------------------------------------


def test_a_list_that_the_pacs_cancelled_by_itself_is_cut() -> None:
    assert looks_capped(FindResult((), CANCELLED, "cancelled"))


_days = st.integers(1, 28).map(lambda day: f"202305{day:02d}")


@given(st.lists(_days, min_size=4, max_size=30), st.integers(3, 12))
def test_a_question_about_the_middle_of_the_answers_shows_that_they_are_not_all(
    days: list[str], limit: int
) -> None:
    studies = list(enumerate(days))
    told = studies[:limit]
    assume(len(studies) > limit and len({day for _, day in told}) > 1)
    ranges = around("20230501-20230531", [day for _, day in told])
    parts = [[study for study in studies if day_range(part, study[1])][:limit] for part in ranges]
    assert any(set(part) - set(told) for part in parts)


def day_range(text: str, day: str) -> bool:
    first, _, last = text.partition("-")
    return (first or "0") <= day <= (last or "9")


@pytest.mark.parametrize(
    ("key", "days", "ranges"),
    [
        (None, ["20230503", "20230504"], ("-20230503", "20230504-")),
        (None, ["20230503"], ("-20230502", "20230504-")),
        ("20230501-20230531", ["20230501"], ("20230502-20230531",)),
        ("20230501-20230531", ["20230531"], ("20230501-20230530",)),
        ("20230503", ["20230503"], ()),
        (None, ["", "99999999", "20230231", "x", "99991231"], ()),
        (None, [], ()),
    ],
)
def test_ranges_lie_about_days_that_are_dates(
    key: str | None, days: Sequence[str], ranges: tuple[str, ...]
) -> None:
    assert around(key, days) == ranges


# --- answers without end -----------------------------------------------------------------------------------------


class Process:
    """Counts how often it was ended."""

    silenced = False
    endings = 0

    def end(self) -> None:
        self.endings += 1


@pytest.mark.parametrize(
    ("names", "most", "cut_off"),
    [
        (["same"] * 3000, 100_000, True),
        ([f"{number % 300}" for number in range(3000)], 100_000, False),
        ([str(number) for number in range(3000)], 100_000, False),
        ([str(number) for number in range(3000)], 2000, True),
    ],
    ids=["one again and again", "each ten times", "all different", "too many"],
)
def test_answers_that_do_not_end_are_cut_off_and_let_go(
    names: Sequence[str], most: int, cut_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(names)
    monkeypatch.setattr(
        "pacsifier.dcmtk.findscu._read_answer", lambda path, keys: {"StudyInstanceUID": next(answers)}
    )
    monkeypatch.setattr("pathlib.Path.unlink", lambda path: None)
    process = Process()
    wanted = [{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}] * 2
    running = Find(cast(Any, process), Path("answers"), wanted, None, most)
    lines = b"".join(b"I: Writing response dataset to file: ./r%d\n" % number for number in range(len(names)))
    running.hear(
        b"I: Sending Find Request (MsgID 1)\n" + lines + b"I: Received Final Find Response (Success)\n"
    )
    config = cast(Any, type("Config", (), {"server_aet": "ARCHIVE"}))
    first, behind = running.results(config, cast(Any, None))
    assert (first.endless, process.endings > 0) == (cut_off, cut_off)
    assert (len(first.answers), behind.lost) == (0 if cut_off else len(names), True)
    assert ("ARCHIVE" in (first.failure or "")) is cut_off


def test_behind_answers_that_do_not_end_nothing_is_asked_again() -> None:
    endless = FindResult((), None, "it does not end", endless=True)

    class Once:
        asked = 0

        def find(self, level: str, requests: Sequence[Any], associations: int = 1) -> list[FindResult]:
            self.asked += 1
            return [endless, *[FindResult.of_lost("cut off")] * (len(requests) - 1)]

    pacs = Once()
    waits = cast(Any, type("Waits", (), {"wait_s": staticmethod(lambda earlier: 0.0)}))
    results = CarefulFinds(cast(Any, pacs), waits).find("STUDY", [{}, {}, {}])
    assert pacs.asked == 1
    assert all(each.failure and not each.lost for each in results)


# --- verdicts ----------------------------------------------------------------------------------------------------


def end(status: int = SUCCESS, **counters: int) -> MoveState:
    return MoveState(0, status, **counters)


@pytest.mark.parametrize(
    ("ended", "as_listed"),
    [
        (end(completed=4, failed=0), True),
        (end(completed=3, warning=1, failed=0), True),
        (end(), True),
        (end(completed=0, failed=0), True),
        (end(completed=5, failed=0), False),
        (end(completed=4, failed=1), False),
        (end(0xB000, completed=3, warning=1, failed=0), True),
        (end(0xB000, completed=4, failed=1), False),
        (None, False),
    ],
)
def test_a_study_brought_what_is_listed_only_where_its_request_and_its_counters_say_so(
    ended: MoveState | None, as_listed: bool
) -> None:
    plan = a_plan(placed(), whole=True)
    ends = {} if ended is None else {"1.1": ended}
    assert brought_as_listed(ended, plan.states) is as_listed
    assert proven(plan, ends, NOBODY) == ({"1.1"} if as_listed else set())
    assert list(unproven(plan, ends, NOBODY)) == ([] if as_listed else ["1.1"])


def test_objects_of_series_that_are_not_listed_leave_nothing_to_compare() -> None:
    plan = a_plan(placed(), whole=True)
    beyond = {("1.1", "1.1.9"): 2}
    assert proven(plan, {"1.1": end()}, beyond) == set()
    assert unproven(plan, {}, beyond) == {}


def placed() -> SeriesState:
    made = state("1.1.1", announced=4)
    for number in range(4):
        made.put(f"1.1.1.{number}", 1)
    made.complete()
    return made


def a_plan(made: SeriesState, *, whole: bool, **cells: str) -> Plan:
    rows = {2: RowReport(Query((2,), cells or {"PatientID": "1"}, None))}
    return Plan((made,), rows, frozenset(), {"1.1": 1}, short={"1.1": Shortage(1, 3, (2,), whole)})


@pytest.mark.parametrize(
    ("plan", "shown", "beyond", "words"),
    [
        (a_plan(placed(), whole=True), set(), {}, "announces 3 series of a study and lists 1"),
        (a_plan(placed(), whole=False, Modality="MR"), set(), {}, "announces 3 series"),
        (a_plan(placed(), whole=True), {"1.1"}, {}, ""),
        (a_plan(placed(), whole=True), set(), {("1.1", "1.1.9"): 2}, "2 objects came of series that"),
        (replace(a_plan(placed(), whole=True), short={}), set(), {("1.1", "1.1.9"): 2}, "2 objects came"),
        (replace(a_plan(placed(), whole=True), short={}), set(), {("1.1", "1.1.1"): 2}, ""),
        (replace(a_plan(placed(), whole=True), short={}), set(), {("1.7", "1.7.1"): 2}, ""),
        (
            replace(a_plan(placed(), whole=False, Modality="MR"), short={}),
            set(),
            {("1.1", "1.1.9"): 2},
            "",
        ),
    ],
)
def test_a_row_fails_where_something_of_its_study_may_be_missing(
    plan: Plan, shown: set[str], beyond: Mapping[tuple[str, str], int], words: str
) -> None:
    failure = rows_in_doubt(plan, shown, beyond, saved=True)[2].failure
    assert words in failure
    assert bool(failure) is bool(words)


@pytest.mark.parametrize(
    ("kept", "where"), [({"1.1"}, "see logs/unexpected"), ({"1.7"}, "dropped"), ((), "dropped")]
)
def test_objects_beyond_the_limits_are_not_looked_for_in_a_folder(kept: Collection[str], where: str) -> None:
    came = {("1.1", "1.1.9"): 2}
    failure = rows_in_doubt(a_plan(placed(), whole=True), (), came, saved=True, kept=kept)[2].failure
    assert failure.partition(" does not list: ")[2].startswith(where)


@pytest.mark.parametrize(
    ("announced", "listed", "found", "failed", "verdict"),
    [
        (0, 0, 0, False, Status.COMPLETE),
        (0, 0, 0, True, Status.PENDING),
        (0, None, 0, False, Status.PENDING),
        (None, None, 0, False, Status.PENDING),
        (1, None, 0, False, Status.PENDING),
    ],
)
def test_a_series_without_instances_is_complete_where_all_say_so(
    announced: int | None, listed: int | None, found: int, failed: bool, verdict: Status
) -> None:
    made = state("1.1.1", announced=announced)
    made.enter("", failed=failed, refused=False)
    if listed is not None:
        made.tell(())
    judge(made, moved=False)
    assert made.status is verdict


@pytest.mark.parametrize(("came", "believed"), [(range(3), True), (range(2), True), (range(5), False)])
def test_a_list_of_instances_that_lacks_what_came_is_cut_and_speaks_against_no_number(
    came: range, believed: bool
) -> None:
    made = state("1.1.1", announced=9)
    for uid in instance_uids("1.1.1", came):
        made.put(uid, 1)
    tell_instances(Index({"1.1.1": 3}), [made], uid_lists=False)
    assert (made.series.instances is not None) is believed
