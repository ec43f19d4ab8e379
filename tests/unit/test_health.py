"""When a run stops by itself: early where all would fail for one reason, never while images still come.

The tables are plain data; only the functions under "how the code is asked" know who decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from fetching import Inbox, a_run, means_of
from series import BUSY, NOT_UNDERSTOOD, SUCCESS, UNANSWERED, UNKNOWN_DESTINATION, WARNING, of_series, state

from pacsifier.dcmtk.transcript import MoveState
from pacsifier.transfer.fetch import rounds
from pacsifier.transfer.fetch import ways as module
from pacsifier.transfer.fetch.decide import Said
from pacsifier.transfer.fetch.health import may_hide_unreached, told
from pacsifier.transfer.fetch.pool import Ended
from pacsifier.transfer.fetch.ways import ByGet, Elsewhere, ToReceiver, Way
from pacsifier.transfer.fetch.work import Task, one_chunk
from pacsifier.transfer.model import Plan
from pacsifier.transfer.options import Options
from pacsifier.transfer.run import Run

TO_US, BY_GET, ELSEWHERE = "C-MOVE to us", "C-GET", "C-MOVE to another place"
SOME_FAILED = replace(WARNING, completed=1, failed=1)
ALL_FAILED = replace(WARNING, completed=0, failed=2)


@dataclass(frozen=True)
class End:
    """The end of a request: it settles its series, or it is asked again (`counts`: as a failure of the PACS)."""

    state: MoveState
    again: bool = False
    counts: bool = True
    silent: bool = False


@dataclass(frozen=True)
class Stop:
    """Why a run stops; `unreachable`: since no image ever found the way, so that another way may help."""

    reason: str
    unreachable: bool = False


# --- how the code is asked ---------------------------------------------------------------------------------------

WAYS = {TO_US: ToReceiver, BY_GET: ByGet, ELSEWHERE: Elsewhere}


def _way(way: str, max_failures: int = 10) -> tuple[Way, Run]:
    run = a_run(Options(save=way != ELSEWHERE, move=way == ELSEWHERE, max_failures=max_failures))
    made: Way = WAYS[way](means_of(run))
    return made, run


def health(way: str, ends: Sequence[End], *, reached: str = "", max_failures: int = 10) -> list[Stop | None]:
    """Whether the run stops, after each end; `reached`: by an image here, or by a contact."""
    made, run = _way(way, max_failures)
    plan = Plan((state(found=1 if reached == "image" else 0),), {}, frozenset(), {})
    if way == TO_US:
        _open_once(made, contacted=reached == "contact")
    this = rounds.Round(made, run, plan, lambda: None, lambda: None)
    after: list[Stop | None] = []
    for end in ends:
        task = Task(one_chunk([(of_series("1.1.1"), states := (state(),))]))
        said = Said(end.state, postponed=states) if end.again else Said(end.state, settled=states)
        rounds._enter(replace(said, counts=end.counts), Ended(task, end.state, 0.0), this, silent=end.silent)
        after.append(Stop(run.stop.reason, run.stop.unreachable) if run.stop else None)
    return after


def _open_once(way: Way, *, contacted: bool) -> None:
    """A receiver runs here, which the PACS has contacted or not."""
    receiver = SimpleNamespace(
        folder=Inbox(),
        contacted=lambda: contacted,
        refused_classes=tuple,
        refusals=lambda since: [],
        check=lambda: None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Receiver", lambda *_, **__: nullcontext(receiver))
        patch.setattr(module, "Arrivals", lambda folder: folder)
        patch.setattr(module, "_emptied", lambda *_: nullcontext())
        with way.open([], [], {}):
            pass


def why(way: str, end: MoveState) -> str:
    """How the end of a request is told in the log table."""
    made, _ = _way(way)
    return told(end, made.terms.act)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_place", lambda config: "the place of this machine")


# --- an unknown destination --------------------------------------------------------------------------------------

HERE = "with the place of this machine, and let no firewall stand between"
DECLARE_US = f"have the AE title US declared on the PACS {HERE}"
DECLARE_OTHER = "have the AE title OTHER declared on the PACS, with the address and port where it listens"


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (TO_US, f"SERVER does not know the move destination US (0xA801): {DECLARE_US}"),
        (ELSEWHERE, f"SERVER does not know the move destination OTHER (0xA801): {DECLARE_OTHER}"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_destination_that_the_pacs_does_not_know_ends_the_run_at_once(way, reason, again) -> None:
    assert health(way, [End(UNKNOWN_DESTINATION, again)]) == [Stop(reason, unreachable=True)]


@pytest.mark.parametrize(
    ("way", "reached"),
    [
        pytest.param(TO_US, "image", id="images have come"),
        pytest.param(TO_US, "contact", id="it has called us, whatever it could send"),
        pytest.param(ELSEWHERE, "image", id="the other place got images"),
    ],
)
def test_a_destination_that_was_reached_is_known_whatever_the_pacs_says_later(way, reached) -> None:
    assert health(way, [End(UNKNOWN_DESTINATION)], reached=reached) == [None]


@pytest.mark.parametrize(
    ("status", "begun", "reached", "may"),
    [
        (0xC000, 0, False, True),
        (0xA900, 0, False, True),
        (0xC000, 0, True, False),  # the way to us is known to be good
        (0xC000, 1, False, False),  # it found us, or it would not have sent
        (0xA801, 0, False, False),  # it says so itself
        (0xA702, 0, False, False),
        (0x0000, 0, False, False),
        (None, 0, False, False),
    ],
)
def test_an_unknown_destination_may_hide_behind_any_refusal(status, begun, reached, *, may) -> None:
    assert may_hide_unreached(MoveState(0, status, completed=begun), reached=reached) is may


# --- a way that never brought anything ---------------------------------------------------------------------------

US_UNKNOWN = Stop(f"SERVER failed 3 times without ever reaching US: {DECLARE_US}", unreachable=True)
US_UNREACHED = Stop(
    "SERVER failed 3 times without ever reaching US: the PACS knows US, but does not reach it: have the place of this "
    "machine entered for it there, and let no firewall stand between",
    unreachable=True,
)
OTHER_UNREACHED = Stop(
    "SERVER failed 3 times without ever reaching OTHER: the PACS knows OTHER: see that OTHER listens at the "
    "address and port that the PACS has for it, and takes what is sent",
    unreachable=True,
)
GET_UNREACHED = Stop(
    "SERVER failed 3 times without ever bringing anything by C-GET: C-GET ended with 0xB000 Warning, "
    "2 sub-operations failed; have C-GET allowed to US",
    unreachable=True,
)
GET_CUT = Stop(
    f"SERVER failed 3 times without ever bringing anything by C-GET: {UNANSWERED.words}; have C-GET allowed to US",
    unreachable=True,
)


@pytest.mark.parametrize(
    ("way", "ends", "reached", "stops"),
    [
        pytest.param(TO_US, [ALL_FAILED] * 3, "", US_UNREACHED, id="it cannot reach us"),
        pytest.param(TO_US, [ALL_FAILED] * 2, "", None, id="twice may be chance"),
        pytest.param(TO_US, [WARNING, BUSY, NOT_UNDERSTOOD], "", US_UNKNOWN, id="whatever it says"),
        pytest.param(
            TO_US,
            [WARNING, SUCCESS, WARNING, SUCCESS, WARNING],
            "",
            US_UNKNOWN,
            id="an empty success in between",
        ),
        pytest.param(TO_US, [SUCCESS] * 5, "", None, id="nothing failed"),
        pytest.param(TO_US, [UNANSWERED] * 5, "", None, id="a cut association says nothing of the way to us"),
        pytest.param(TO_US, [ALL_FAILED] * 5, "image", None, id="an image came once"),
        pytest.param(TO_US, [ALL_FAILED] * 5, "contact", None, id="it has reached our receiver"),
        pytest.param(ELSEWHERE, [ALL_FAILED] * 3, "", OTHER_UNREACHED, id="it cannot reach the other place"),
        pytest.param(
            ELSEWHERE, [UNANSWERED] * 5, "", None, id="a cut association says nothing of the other place"
        ),
        pytest.param(ELSEWHERE, [ALL_FAILED] * 5, "image", None, id="the other place got an image"),
        pytest.param(BY_GET, [ALL_FAILED] * 3, "", GET_UNREACHED, id="C-GET brings nothing"),
        pytest.param(BY_GET, [UNANSWERED] * 3, "", GET_CUT, id="C-GET is cut off each time"),
        pytest.param(BY_GET, [SUCCESS] * 5, "", None, id="C-GET: nothing failed"),
        pytest.param(BY_GET, [UNANSWERED] * 5, "image", None, id="C-GET brought an image once"),
    ],
)
def test_a_way_that_never_brought_anything_is_given_up_after_three_failures(
    way, ends, reached, stops: Stop | None
) -> None:
    *before, last = health(way, [End(each) for each in ends], reached=reached)
    assert last == stops
    assert not any(before), "not earlier"


# --- too many failures in a row ----------------------------------------------------------------------------------

UNKNOWN_US = Stop(f"SERVER does not know the move destination US (0xA801): {DECLARE_US}", unreachable=True)
TOO_MANY = "requests failed in a row (--max_failures): "


@pytest.mark.parametrize(
    ("way", "ends", "stops"),
    [
        pytest.param(
            TO_US,
            [End(ALL_FAILED)] * 2,
            f"2 C-MOVE {TOO_MANY}C-MOVE to US ended with 0xB000 Warning, 2 sub-operations failed",
            id="two in a row",
        ),
        pytest.param(
            BY_GET,
            [End(ALL_FAILED)] * 2,
            f"2 C-GET {TOO_MANY}C-GET ended with 0xB000 Warning, 2 sub-operations failed",
            id="two in a row by C-GET",
        ),
        pytest.param(
            TO_US, [End(UNANSWERED)] * 2, f"2 C-MOVE {TOO_MANY}{UNANSWERED.words}", id="two that were cut off"
        ),
        pytest.param(
            TO_US,
            [End(BUSY, again=True), End(BUSY)],
            f"2 C-MOVE {TOO_MANY}C-MOVE to US ended with 0xA702 OutOfResources",
            id="also what will be asked again",
        ),
        pytest.param(
            BY_GET,
            [End(ALL_FAILED, again=True, counts=False)] * 9,
            None,
            id="by C-GET the search for the right form is no failure",
        ),
        pytest.param(
            TO_US, [End(ALL_FAILED), End(SUCCESS), End(ALL_FAILED)], None, id="a good one in between"
        ),
        pytest.param(TO_US, [End(SOME_FAILED)] * 5, None, id="some images came each time"),
        pytest.param(TO_US, [End(replace(SUCCESS, completed=0))] * 5, None, id="a good end without an image"),
        pytest.param(
            TO_US,
            [End(replace(SUCCESS, failed=1))] * 2,
            f"2 C-MOVE {TOO_MANY}C-MOVE to US ended with 0x0000 Success, 1 sub-operation failed",
            id="success in which all failed",
        ),
    ],
)
def test_a_pacs_that_fails_each_time_is_left_in_peace(way, ends, stops: str | None) -> None:
    *before, last = health(way, ends, reached="image", max_failures=2)
    assert last == (Stop(stops) if stops else None)
    assert not any(before), "not earlier"


# --- silence -----------------------------------------------------------------------------------------------------

SILENT, LOUD = End(UNANSWERED, silent=True), End(UNANSWERED)
SILENT_3 = Stop(
    "the PACS was silent 3 times in a row: no response and no object for 1800 s (--silence_timeout)"
)


@pytest.mark.parametrize(
    ("ends", "stops"),
    [
        pytest.param([SILENT] * 3, SILENT_3, id="three times in a row"),
        pytest.param([SILENT] * 2, None, id="twice may be chance"),
        pytest.param([SILENT, SILENT, LOUD, SILENT, SILENT], None, id="an answer in between"),
    ],
)
def test_a_silent_pacs_does_not_cost_the_whole_night(ends, stops: Stop | None) -> None:
    *before, last = health(TO_US, ends, reached="image")
    assert last == stops
    assert not any(before), "not earlier"


# --- the first reason counts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "max_failures", "first"),
    [
        pytest.param(
            [End(ALL_FAILED), End(ALL_FAILED), End(UNKNOWN_DESTINATION)],
            2,
            Stop(f"2 C-MOVE {TOO_MANY}C-MOVE to US ended with 0xB000 Warning, 2 sub-operations failed"),
            id="after too many failures an unknown destination does not call for another way",
        ),
        pytest.param(
            [End(ALL_FAILED)] * 3,
            2,
            Stop(f"2 C-MOVE {TOO_MANY}C-MOVE to US ended with 0xB000 Warning, 2 sub-operations failed"),
            id="nor do three failures without an image",
        ),
        pytest.param(
            [End(ALL_FAILED)] * 4, 4, US_UNREACHED, id="what stopped the run is told, not what came after"
        ),
        pytest.param([SILENT] * 3, 3, SILENT_3, id="silence is told, not that it failed"),
        pytest.param(
            [End(UNKNOWN_DESTINATION)] * 2,
            10,
            UNKNOWN_US,
            id="a second unknown destination does not take back that another way may help",
        ),
    ],
)
def test_the_first_reason_to_stop_is_the_one_that_is_told(ends, max_failures: int, first: Stop) -> None:
    assert health(TO_US, ends, max_failures=max_failures)[-1] == first


# --- in words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "end", "words"),
    [
        (TO_US, NOT_UNDERSTOOD, "C-MOVE to US ended with 0xA900 DataSetDoesNotMatchSOPClass"),
        (ELSEWHERE, BUSY, "C-MOVE to OTHER ended with 0xA702 OutOfResources"),
        (BY_GET, ALL_FAILED, "C-GET ended with 0xB000 Warning, 2 sub-operations failed"),
        (TO_US, replace(SUCCESS, failed=0), "C-MOVE to US ended with 0x0000 Success"),
        (TO_US, UNANSWERED, UNANSWERED.words),
    ],
)
def test_the_log_tells_how_a_request_ended(way: str, end: MoveState, words: str) -> None:
    assert why(way, end) == words
