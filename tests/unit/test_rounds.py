"""From open series to settled ones: what a whole fetch does with a PACS, a way and a disk that are played.

The answers of the PACS stand in a script by request; what it does not name comes whole at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fetching import (
    SOP_CLASS,
    Association,
    Clock,
    Disk,
    Ear,
    FakePlacer,
    Inbox,
    Index,
    a_run,
    means_of,
    stopped_clock,
)
from series import (
    BUSY,
    NOT_UNDERSTOOD,
    SUCCESS,
    UNANSWERED,
    UNKNOWN_DESTINATION,
    WARNING,
    of_series,
    of_studies,
    state,
)

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import AssociationError, InputError, ToolError
from pacsifier.transfer.fetch.health import Health, Terms
from pacsifier.transfer.fetch.rounds import fetch
from pacsifier.transfer.fetch.ways import Place, Way
from pacsifier.transfer.model import Chunk, Cut, Lasting, Plan, SeriesState, Status
from pacsifier.transfer.options import Options, Rate
from pacsifier.transfer.run import Run

SAVE = Options(save=True)
ALL = 9999


@dataclass(frozen=True)
class Answer:
    """How a request ends, and how many instances of each of its series come before (at most those expected)."""

    end: MoveState = SUCCESS
    comes: int = ALL


CUT = Answer(UNANSWERED, 0)
Script = Mapping[MoveRequest, Sequence[Answer]]


@dataclass
class Late(Inbox):
    """An inbox in which objects of some series lie only after a while; `steadily`: so many come at each look."""

    clock: Clock | None = None
    late: dict[str, tuple[float, int]] = field(default_factory=dict)
    steadily: int = 0

    @property
    def now_s(self) -> float:
        return self.clock.now_s if self.clock else 0.0

    def scan(self) -> int:
        for uid, (at_s, number) in list(self.late.items()):
            if self.now_s >= at_s:
                self.comes[uid] = number
                del self.late[uid]
                return number
        return self.steadily


class Played(Way):
    """A way over which the PACS answers by a script; the last answer of a request stays."""

    def __init__(self, run: Run, script: Script | None = None, **traits: Any) -> None:
        terms = Terms("SERVER", "C-MOVE", "C-MOVE to US", "US", "reaching US", "silence", max_failures=10)
        super().__init__(means_of(run), terms)
        self.script = {request: list(answers) for request, answers in (script or {}).items()}
        self.asked: list[tuple[MoveRequest, ...]] = []
        self.associations: list[Association] = []
        self.opened: list[tuple[list[str], list[str]]] = []
        self.open_now = False
        self.inbox = Late(tally=run.placer.tally)
        self.proven: bool | None = None
        self.admits = True
        self.slow_steps = 0
        for name, value in traits.items():
            setattr(self, name, value)

    @contextmanager
    def open(
        self, states: Sequence[SeriesState], classes: Sequence[str], every: Mapping[Any, SeriesState]
    ) -> Iterator[Place]:
        self.opened.append(([each.series.series_uid for each in states], list(classes)))
        self.open_now = True
        try:
            yield self.inbox
        finally:
            self.open_now = False
            self.inbox.take(states)

    def start(self, chunk: Chunk) -> Any:
        self.asked.append(chunk.requests)
        self.inbox.taken.append("start")
        ends = [] if not self.admits else list(self._ends(chunk))
        tells = [*([[]] * self.slow_steps), ends]
        made = Association(
            len(chunk.parts), tells, admitted=self.admits, associated=self.admits, heard=self.inbox.now_s
        )
        self.associations.append(made)
        return made

    def _ends(self, chunk: Chunk) -> Iterator[MoveState]:
        for number, (request, states) in enumerate(chunk.parts):
            answers = self.script.get(request) or [Answer()]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            for each in states:
                expected = each.series.expected
                missing = answer.comes if expected is None else expected - len(each.found)
                self.inbox.comes[each.series.series_uid] = min(answer.comes, missing)
            if answer.end.status is None:
                return
            yield replace(answer.end, request=number)

    def explain(self, process: object) -> AssociationError:
        return AssociationError("no association")

    def reached(self, states: Any) -> bool:
        return super().reached(states) if self.proven is None else self.proven

    def advice(self, why: str, end: MoveState | None = None) -> str:
        return "ask them"

    def remark(self, series: SeriesState) -> str:
        return "as told"

    def afterword(self, states: Any) -> str:
        return "the end"


@dataclass
class Play:
    """A fetch: the plan, the run and its ways; `again` marks requests for what is short."""

    run: Run
    plan: Plan
    ways: list[Played]
    clock: Clock
    ticks: int = 0

    def fetch(self) -> Play:
        fetch(self.plan, self.ways, self.run, self._tick, lambda: None)
        return self

    def _tick(self) -> None:
        self.ticks += 1

    @property
    def asked(self) -> list[MoveRequest]:
        return [request for way in self.ways for requests in way.asked for request in requests]

    @property
    def verdicts(self) -> dict[str, Status]:
        return {each.series.series_uid: each.status for each in self.plan.states}

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self.plan.states]

    @property
    def told(self) -> list[str]:
        assert isinstance(self.run.observer, Ear)
        return self.run.observer.heard


Make = Callable[..., Play]


@pytest.fixture
def play() -> Iterator[Make]:
    with stopped_clock() as clock:

        def make(
            *states: SeriesState,
            script: Script | None = None,
            ways: int = 1,
            kind: type[Played] = Played,
            options: Options = SAVE,
            room: Disk | None = None,
            finds: Index | None = None,
            config: Mapping[str, Any] | None = None,
            of_study: Mapping[str, int] | None = None,
            **traits: Any,
        ) -> Play:
            run = a_run(options, room=room, finds=finds, **(config or {}))
            made = [kind(run, script, **traits), *(Played(run) for _ in range(ways - 1))]
            for way in made:
                way.inbox.clock = clock
            plan = Plan(states, {}, frozenset({"1.2.3"}), of_study or {})
            return Play(run, plan, made, clock)

        yield make


ONE, TWO = of_series("1.1.1"), of_series("1.2.1")
COMPLETE, INCOMPLETE, FAILED = Status.COMPLETE, Status.INCOMPLETE, Status.FAILED


# --- one round ---------------------------------------------------------------------------------------------------


def test_what_comes_whole_is_asked_for_once(play: Make) -> None:
    done = play(state("1.1.1"), state("1.2.1")).fetch()
    assert sorted(done.asked, key=str) == [ONE, TWO]
    assert done.verdicts == {"1.1.1": COMPLETE, "1.2.1": COMPLETE}
    assert (done.run.done, done.run.stop) == (2, None)
    assert done.ticks > 0
    assert done.ways[0].associations[0].closed


def test_the_work_ahead_and_done_is_told(play: Make) -> None:
    done = play(state("1.1.1"), state("1.2.1", announced=3)).fetch()
    ear = done.run.observer
    assert isinstance(ear, Ear)
    assert ear.plans == [(2, 5)]
    assert ear.steps[-1] == (2, 5)


def test_what_is_not_announced_is_listed_before_it_is_told_how_much_it_is(play: Make) -> None:
    finds = Index({"1.1.1": 3})
    done = play(state("1.1.1", announced=None), state("1.2.1"), finds=finds).fetch()
    assert done.run.observer.plans == [(2, 5)]
    assert finds.asked == ["1.1.1"]
    assert set(done.verdicts.values()) == {COMPLETE}


def test_a_number_that_nobody_tells_is_not_made_up(play: Make) -> None:
    done = play(state("1.1.1", announced=None), state("1.2.1")).fetch()
    assert done.run.observer.plans == [(2, None)]


def test_with_nothing_to_do_no_way_is_opened(play: Make) -> None:
    done = play(state(status=Status.SKIPPED)).fetch()
    assert (done.ways[0].opened, done.told, done.reasons) == ([], [], [""])


def test_what_an_index_that_is_gone_cannot_tell_is_fetched_no_more(play: Make) -> None:
    done = play(state(announced=None), finds=Index(lost=True)).fetch()
    assert (done.asked, done.verdicts) == ([], {"1.1.1": FAILED})
    assert done.run.stop is not None
    assert done.run.stop.reason == "the index is gone"


@pytest.mark.parametrize(
    ("batch_wait_s", "pauses"),
    [pytest.param(600.0, 2, id="three batches"), pytest.param(0.0, 0, id="no pause")],
)
def test_between_batches_the_pacs_has_its_pause_and_after_the_last_nobody_waits(
    play: Make, batch_wait_s: float, pauses: int
) -> None:
    states = [state(f"1.{number}.1") for number in range(1, 6)]
    done = play(*states, config={"batch_size": 2, "batch_wait_s": batch_wait_s}).fetch()
    assert set(done.verdicts.values()) == {COMPLETE}
    assert (done.clock.now_s - 1000) // 600 == pauses


def test_a_run_that_stops_begins_no_further_batch(play: Make) -> None:
    script = {ONE: [Answer(UNKNOWN_DESTINATION, 0)]}
    states = (state("1.1.1"), state("1.2.1"))
    done = play(*states, script=script, config={"batch_size": 1, "batch_wait_s": 600.0}).fetch()
    assert done.asked == [ONE]
    assert done.clock.now_s < 1600


# --- what came is placed before anything is said of it -----------------------------------------------------------


def test_what_came_before_a_cut_is_not_asked_for_again(play: Make) -> None:
    """Of two studies of one request one was there before the association ended."""
    both, second = of_studies("1.1", "1.2"), of_studies("1.2")

    class OneCame(Played):
        def _ends(self, chunk: Chunk) -> Iterator[MoveState]:
            yield from super()._ends(chunk)
            if chunk.requests == (both,):
                self.inbox.comes["1.2.1"] = 0

    states, of_study = (state("1.1.1"), state("1.2.1")), {"1.1": 1, "1.2": 1}
    done = play(*states, of_study=of_study, script={both: [Answer(UNANSWERED)]}, kind=OneCame).fetch()
    assert done.asked == [both, second]
    assert set(done.verdicts.values()) == {COMPLETE}


def test_an_end_is_believed_only_where_its_objects_had_room(play: Make) -> None:
    done = play(state("1.1.1"), state("1.2.1"), room=Disk("the disk is full")).fetch()
    assert len(done.ways[0].asked) == 1
    assert done.run.stop is not None
    assert done.run.stop.reason == "the disk is full"


def test_a_list_that_is_not_understood_is_learned_for_all_that_follows(play: Make) -> None:
    lists = [of_series(f"1.{study}.1", f"1.{study}.2") for study in (1, 2)]
    states = [state(f"1.{study}.{number}") for study in (1, 2) for number in (1, 2)]
    done = play(*states, script={each: [Answer(NOT_UNDERSTOOD, 0)] for each in lists}).fetch()
    assert sum(each in done.asked for each in lists) == 1
    assert not done.run.known.uid_lists
    assert set(done.verdicts.values()) == {COMPLETE}


def test_a_pacs_that_takes_no_whole_studies_is_not_taken_for_one_that_takes_no_lists(play: Make) -> None:
    uids = [f"1.{study}" for study in range(1, 13)]
    states = [state(f"{uid}.{number}", announced=150) for uid in uids for number in (1, 2)]
    script = {of_studies(uid): [Answer(NOT_UNDERSTOOD, 0)] for uid in uids}
    done = play(*states, script=script, of_study=dict.fromkeys(uids, 2)).fetch()
    assert set(done.verdicts.values()) == {COMPLETE}
    assert sum(not request.series_uids for request in done.asked) == 1, "the next ones are not refused first"
    assert [len(request.series_uids) for request in done.asked if request.series_uids] == [2] * 11 + [1] * 2
    assert done.run.known.uid_lists, "the index is asked in lists as before"


@pytest.mark.parametrize(
    ("comes", "after_s", "verdict"),
    [
        pytest.param(2, 0.5, COMPLETE, id="they came in time"),
        pytest.param(2, 20, INCOMPLETE, id="they came too late"),
    ],
)
def test_objects_that_come_after_the_final_response_are_waited_for(
    play: Make, comes: int, after_s: float, verdict: Status
) -> None:
    made = play(state(announced=3), script={ONE: [Answer(SUCCESS, 1)]})
    made.ways[0].inbox.late["1.1.1"] = (made.clock.now_s + after_s, comes)
    made.ways[0].script[ONE] = [Answer(SUCCESS, 1), Answer(SUCCESS, 0)]
    assert made.fetch().verdicts == {"1.1.1": verdict}
    assert len(made.asked) == (1 if verdict is COMPLETE else 2)


def test_a_complete_round_waits_for_nothing(play: Make) -> None:
    done = play(state(), state("1.2.1")).fetch()
    assert done.clock.now_s - 1000 < 1


@pytest.mark.parametrize(
    ("cut", "order"),
    [
        pytest.param(Cut(), "start 1 start start 2 3", id="the next association is opened first"),
        pytest.param(
            Cut(one_request_each=True),
            "start 1 start 2 start 3",
            id="where it must not, what came is placed first",
        ),
    ],
)
def test_placing_lets_the_next_association_pass_where_it_may(play: Make, cut: Cut, order: str) -> None:
    states = [state(f"1.{number}.1", announced=1000) for number in (1, 2, 3)]
    done = play(*states, cut=cut, proven=True, options=replace(SAVE, associations=1)).fetch()
    names = [each.split(".")[1] if "." in each else each for each in done.ways[0].inbox.taken]
    assert " ".join(names[: len(order.split())]) == order


@pytest.mark.parametrize(
    ("steadily", "ended"),
    [pytest.param(1, False, id="objects come"), pytest.param(0, True, id="nothing is heard of it")],
)
def test_an_association_that_brings_objects_is_not_silent(play: Make, steadily: int, ended: bool) -> None:
    options = replace(SAVE, timeouts=Timeouts(silence_timeout_s=0.1))
    made = play(state(), options=options, slow_steps=20)
    made.ways[0].inbox.steadily = steadily
    made.fetch()
    assert (made.ways[0].associations[0].process.endings > 0) is ended


def test_a_run_that_stops_ends_what_runs_and_keeps_what_came(play: Make) -> None:
    class Second(Played):
        def start(self, chunk: Chunk) -> Any:
            started = super().start(chunk)
            self.slow_steps = 0 if self.slow_steps else 10_000
            return started

    script = {ONE: [Answer()], TWO: [Answer()], of_series("1.3.1"): [Answer(NOT_UNDERSTOOD, 0)]}
    states = [state(f"1.{number}.1", announced=1000) for number in (1, 2, 3)]
    made = play(*states, script=script, kind=Second, proven=True)
    made.ways[0].terms = replace(made.ways[0].terms, max_failures=1)
    done = made.fetch()
    assert done.verdicts == {"1.1.1": COMPLETE, "1.2.1": INCOMPLETE, "1.3.1": FAILED}
    assert done.plan.states[1].files == 1000
    assert done.ways[0].associations[1].process.endings > 0
    assert done.clock.now_s - 1000 < 5


def test_the_disk_is_watched_with_what_is_still_to_come(play: Make) -> None:
    room = Disk()
    play(
        state("1.1.1", announced=5), state("1.2.1", found=1), state("1.3.1", status=Status.SKIPPED), room=room
    ).fetch()
    assert room.looks[0] == (0, 6)
    assert room.looks[-1] == (5, 1), "before the last ones were placed"


def test_what_is_asked_again_is_told_in_the_log(play: Make, caplog: pytest.LogCaptureFixture) -> None:
    play(state(), script={ONE: [Answer(BUSY, 0), Answer()]}).fetch()
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warnings == ["C-MOVE was temporarily refused: asking again in 2.0 s"]


def test_what_no_row_is_sure_to_want_is_not_called_complete(play: Make) -> None:
    done = play(state(rows=())).fetch()
    assert done.verdicts == {"1.1.1": INCOMPLETE}


# --- once more what is short -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "asked", "verdict"),
    [
        pytest.param([Answer(SUCCESS, 1), Answer()], (2, 1), COMPLETE, id="one was missing"),
        pytest.param([Answer(WARNING, 0), Answer()], (2, 1), COMPLETE, id="it failed"),
        pytest.param(
            [Answer(SUCCESS, 1), Answer(SUCCESS, 0)], (2, 1), INCOMPLETE, id="still missing: not for ever"
        ),
        pytest.param([Answer(NOT_UNDERSTOOD, 0)], (1, 1), FAILED, id="refused for good"),
        pytest.param([Answer(BUSY, 0)] * 5 + [Answer()], (6, 1), COMPLETE, id="busy for a while"),
        pytest.param([CUT, Answer()], (2, 2), COMPLETE, id="cut off, and the one behind it with it"),
    ],
)
def test_what_is_short_is_asked_for_once_more_and_what_was_refused_is_not(
    play: Make, answers, asked: tuple[int, int], verdict: Status
) -> None:
    done = play(state("1.1.1"), state("1.2.1"), script={ONE: answers}).fetch()
    assert (done.asked.count(ONE), done.asked.count(TWO)) == asked
    assert done.verdicts == {"1.1.1": verdict, "1.2.1": COMPLETE}


def test_what_is_short_is_listed_and_asked_for_series_by_series(play: Make) -> None:
    listed = of_series("1.1.1", "1.1.2")
    finds = Index({"1.1.1": 2, "1.1.2": 2})
    states = (state("1.1.1"), state("1.1.2"), state("1.2.1"))
    done = play(*states, script={listed: [Answer(WARNING, 0)]}, finds=finds).fetch()
    first, again = done.ways[0].opened
    assert first == (["1.1.1", "1.1.2", "1.2.1"], ["1.2.3"])
    assert again == (["1.1.1", "1.1.2"], ["1.2.3", SOP_CLASS]), "the receiver knows the classes listed"
    assert sorted(set(finds.asked)) == ["1.1.1", "1.1.2"], "not what is complete"
    assert {ONE, of_series("1.1.2")} < set(done.asked)
    assert "2 series are incomplete; asking for them once more" in done.told
    assert isinstance(done.run.placer, FakePlacer)
    assert done.run.placer.claimed == ["1.1.1", "1.1.2"], "objects under other UIDs are looked for"
    assert set(done.verdicts.values()) == {COMPLETE}


FAILS = Answer(replace(BUSY, completed=0, failed=2), 0)


def test_what_failed_for_good_before_is_asked_for_once_by_its_own_request_behind_the_others(
    play: Make,
) -> None:
    known = state("1.1.1")
    known.recall(Lasting.NOT_SENT, "C-MOVE to US")
    states = (known, state("1.1.2"))
    done = play(*states, script={ONE: [FAILS]}, of_study={"1.1": 2}).fetch()
    assert done.asked == [of_series("1.1.2"), ONE]
    assert (known.lasting, known.failed_by) == (Lasting.NOT_SENT, "C-MOVE to US")
    assert any("1 series failed for good before" in each for each in done.told)


def test_a_second_round_waits_for_nothing_that_was_repeated_in_vain(play: Make) -> None:
    failing = state("1.1.1")
    done = play(failing, state("1.2.1"), script={ONE: [FAILS]}).fetch()
    assert done.asked.count(ONE) == TRIES + 1
    assert (failing.lasting, failing.failed_by) == (Lasting.NOT_SENT, "C-MOVE to US")


@pytest.mark.parametrize("by", ["C-GET", "C-MOVE to OTHER"])
def test_what_failed_by_another_way_is_asked_for_as_ever(play: Make, by: str) -> None:
    known = state("1.1.1")
    known.recall(Lasting.NOT_SENT, by)
    done = play(known, state("1.2.1"), script={ONE: [FAILS, Answer()]}).fetch()
    assert done.verdicts == {"1.1.1": COMPLETE, "1.2.1": COMPLETE}
    assert known.failed_by == ""


def test_a_run_that_stopped_neither_lists_nor_asks_again(play: Make) -> None:
    finds = Index({"1.1.1": 2})
    done = play(state(), script={ONE: [Answer(UNKNOWN_DESTINATION, 0)]}, finds=finds).fetch()
    assert (done.asked, finds.asked, len(done.ways[0].opened)) == ([ONE], [], 1)
    assert done.verdicts == {"1.1.1": FAILED}


def test_elsewhere_the_counters_settle_and_late_objects_are_not_waited_for(play: Make) -> None:
    script = {
        ONE: [Answer(replace(SUCCESS, completed=2), 0)],
        TWO: [Answer(replace(SUCCESS, completed=1), 0)],
    }
    cut = Cut(one_series_each=True)
    done = play(
        state("1.1.1"), state("1.2.1"), script=script, sees=False, cut=cut, options=Options(move=True)
    ).fetch()
    assert done.verdicts == {"1.1.1": COMPLETE, "1.2.1": INCOMPLETE}
    assert done.clock.now_s - 1000 < 1
    assert done.run.observer.steps[-1] == (2, 3)


# --- associations that end early ---------------------------------------------------------------------------------

THREE = of_series("1.3.1")
TRIES = 5


def patient(play: Make, *states: SeriesState, **traits: Any) -> Play:
    """A run that no number of failures stops."""
    made = play(*states, **traits)
    made.ways[0].terms = replace(made.ways[0].terms, max_failures=ALL)
    return made


def test_a_request_that_ends_each_association_takes_no_other_along(play: Make) -> None:
    states = (state("1.1.1"), state("1.2.1"), state("1.3.1"))
    done = patient(play, *states, script={ONE: [CUT]}).fetch()
    assert done.verdicts == {"1.1.1": FAILED, "1.2.1": COMPLETE, "1.3.1": COMPLETE}
    assert done.asked.count(ONE) == 2 * TRIES, "in each of the two rounds"


def test_a_pacs_that_ends_each_association_is_asked_a_few_times_for_each_request_and_not_for_ever(
    play: Make,
) -> None:
    states = (state("1.1.1"), state("1.2.1"), state("1.3.1"))
    done = patient(play, *states, script={ONE: [CUT], TWO: [CUT], THREE: [CUT]}).fetch()
    assert set(done.verdicts.values()) == {FAILED}
    for request in (ONE, TWO, THREE):
        begun = [requests for requests in done.ways[0].asked if requests[0] == request]
        assert len(begun) == 2 * TRIES


def test_studies_of_a_list_that_ends_each_association_are_each_asked_a_few_times(play: Make) -> None:
    uids = ("1.1", "1.2", "1.3")
    requests = [of_studies(*uids), *(of_studies(uid) for uid in uids)]
    states = [state(f"{uid}.1") for uid in uids]
    script = {request: [CUT] for request in (*requests, ONE, TWO, THREE)}
    done = patient(play, *states, of_study=dict.fromkeys(uids, 1), script=script).fetch()
    assert set(done.verdicts.values()) == {FAILED}
    begun = [asked[0] for asked in done.ways[0].asked]
    assert begun.count(requests[0]) == 1
    # The first one was in flight as the list was cut; of the others that is not known.
    assert [begun.count(each) for each in requests[1:]] == [TRIES - 1, TRIES, TRIES]
    assert [begun.count(each) for each in (ONE, TWO, THREE)] == [TRIES] * 3, "in the second round"


# --- from one way to the next ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "proven", "turns"),
    [
        pytest.param(Answer(UNKNOWN_DESTINATION, 0), False, True, id="the destination is unknown"),
        pytest.param(Answer(SUCCESS, 0), False, True, id="nothing failed, and nothing came"),
        pytest.param(Answer(WARNING, 0), False, True, id="it failed"),
        pytest.param(Answer(WARNING, 1), None, False, id="something came"),
        pytest.param(Answer(), None, False, id="all came"),
        pytest.param(Answer(WARNING, 0), True, False, id="the PACS has reached us"),
    ],
)
def test_another_way_is_tried_only_where_nothing_reached_us(play: Make, answer, proven, turns: bool) -> None:
    done = play(state(), script={ONE: [answer]}, ways=2, proven=proven).fetch()
    assert bool(done.ways[1].asked) is turns
    assert any(each.startswith("--retrieve_method auto") for each in done.told) is turns
    if turns:
        assert (done.verdicts, done.run.stop) == ({"1.1.1": COMPLETE}, None)
        assert len(done.ways[0].opened) == 1, "the first way is not asked once more"


def test_a_turn_tells_why_and_the_next_way_begins_in_good_health(play: Make) -> None:
    done = play(state(), script={ONE: [Answer(UNKNOWN_DESTINATION, 0)]}, ways=2).fetch()
    why = "SERVER does not know the move destination US (0xA801): ask them"
    assert f"--retrieve_method auto: C-GET is used instead of C-MOVE: {why}" in done.told
    assert done.ways[1].health == Health(associated=True)
    silent = play(state(), script={ONE: [Answer(SUCCESS, 0)]}, ways=2).fetch()
    nothing = "nothing reached port 11112: ask them"
    assert f"--retrieve_method auto: C-GET is used instead of C-MOVE: {nothing}" in silent.told


@pytest.mark.parametrize("ways", [1, 2])
def test_a_full_disk_is_no_reason_for_another_way(play: Make, ways: int) -> None:
    done = play(state(), script={ONE: [Answer(WARNING, 0)]}, ways=ways, room=Disk("the disk is full")).fetch()
    assert done.asked == [ONE]
    assert done.reasons == [
        "0 of 2 instances; C-MOVE to US ended with 0xB000 Warning; the disk is full; as told"
    ]


def test_the_last_way_is_asked_once_more_instead(play: Make) -> None:
    done = play(state(), script={ONE: [Answer(SUCCESS, 0)]}).fetch()
    assert len(done.ways[0].opened) == 2
    assert not any(each.startswith("--retrieve_method auto") for each in done.told)


def test_who_may_not_be_declared_is_told_what_to_declare_after_the_first_refusal_and_once(play: Make) -> None:
    refused = MoveState(0, 0xC000, "Failed: Unable to process")
    ways = {each: [Answer(refused, 0)] for each in (ONE, TWO)}
    done = play(state(), state("1.2.1"), script=ways).fetch()
    told = [each for each in done.told if "nothing has come yet" in each]
    assert told == ["C-MOVE to US ended with 0xC000 Unable to process, and nothing has come yet: ask them"]


# --- no association ----------------------------------------------------------------------------------------------


def test_a_pacs_that_never_admits_us_ends_the_run(play: Make) -> None:
    made = play(state(), admits=False)
    with pytest.raises(AssociationError):
        made.fetch()
    assert made.asked == [ONE]


def test_a_pacs_that_admits_us_no_more_is_waited_for_and_then_left(play: Make) -> None:
    class Once(Played):
        def start(self, chunk: Chunk) -> Any:
            started = super().start(chunk)
            self.admits = False
            return started

    done = play(state("1.1.1", announced=200), state("1.2.1"), kind=Once).fetch()
    assert done.verdicts == {"1.1.1": COMPLETE, "1.2.1": FAILED}
    assert [len(each) for each in done.ways[0].asked] == [1] * 6, "five tries after the first association"
    assert done.clock.now_s - 1000 > sum((2, 4, 8, 16))
    assert done.run.stop is not None
    assert (done.run.stop.reason, done.run.stop.unreachable) == ("no association", False)


# --- every series has its verdict --------------------------------------------------------------------------------


class Raises:
    """Raises what it was made with, whatever is asked."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "place"),
    [
        pytest.param(AssociationError("gone"), "start", id="no association"),
        pytest.param(OSError("disk"), "inbox.take", id="the disk fails"),
        pytest.param(InputError("taken over"), "run.check_lock", id="another run has the folder"),
    ],
)
def test_every_open_series_has_a_verdict_whatever_fails(monkeypatch, play: Make, error, place: str) -> None:
    made = play(
        state("1.1.1", reason="before"), state("1.2.1", found=1), state("1.3.1", status=Status.SKIPPED)
    )
    way = made.ways[0]
    target: Any = {"inbox": way.inbox, "run": made.run}.get(place.partition(".")[0], way)
    monkeypatch.setattr(
        *((made, "_tick") if place == "tick" else (target, place.rpartition(".")[2])), Raises(error)
    )
    with pytest.raises(type(error)):
        made.fetch()
    verdicts = [each.status for each in made.plan.states]
    assert Status.PENDING not in verdicts
    assert verdicts[2] is Status.SKIPPED
    assert all("as told" in each for each in made.reasons[:2]), "the way has its word"
    assert made.reasons[2] == "", "what was settled before is left as it was"
    assert made.told[-1] == "the end"
    assert all(each.closed for each in way.associations), "nothing is left running"
    assert not way.open_now


def test_a_receiver_that_died_for_good_ends_the_run_with_what_it_has(monkeypatch, play: Make) -> None:
    made = play(state("1.1.1"), state("1.2.1", found=1))
    monkeypatch.setattr(made.ways[0].inbox, "check", Raises(ToolError("storescp died")))
    made.fetch()
    assert [each.status for each in made.plan.states] == [Status.FAILED, Status.INCOMPLETE]
    assert all("storescp died" in reason for reason in made.reasons)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("start", id="as a request begins"),
        pytest.param("prepare", id="before it begins"),
    ],
)
def test_a_signal_leaves_what_was_not_begun_pending_and_tells_how_much_is_left(
    monkeypatch, play: Make, place: str
) -> None:
    made = play(
        state("1.1.1", reason="before"), state("1.2.1", found=1), state("1.3.1", status=Status.SKIPPED)
    )
    way = made.ways[0]
    monkeypatch.setattr(way, place, Raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        made.fetch()
    not_begun, begun, settled = (each.status for each in made.plan.states)
    assert not_begun is Status.PENDING
    assert begun is Status.INCOMPLETE
    assert settled is Status.SKIPPED
    assert "0 of 2 series done, 2 left" in made.told
    assert all(each.closed for each in way.associations), "nothing is left running"
    assert not way.open_now


def test_a_find_that_gets_no_association_before_it_begins_stops_the_run(monkeypatch, play: Make) -> None:
    made = play(state())
    monkeypatch.setattr(made.ways[0], "prepare", Raises(AssociationError("gone")))
    done = made.fetch()
    assert (done.asked, done.verdicts) == ([], {"1.1.1": FAILED})
    assert done.reasons == ["0 of 2 instances; gone; as told"]


# --- how small the requests are ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "cut", "associations"),
    [
        pytest.param(None, Cut(), 1, id="one association for small series"),
        pytest.param(Rate(1000), Cut(), 4, id="with a rate one for each series"),
        pytest.param(None, Cut(one_request_each=True), 2, id="the way takes one request each"),
        pytest.param(None, Cut(one_series_each=True), 1, id="the way takes one series each"),
    ],
)
def test_work_is_cut_as_the_way_and_the_rate_want_it(play: Make, rate, cut: Cut, associations: int) -> None:
    states = [state(f"1.{study}.{number}") for study in (1, 2) for number in (1, 2)]
    done = play(*states, options=replace(SAVE, rate=rate), cut=cut, proven=True).fetch()
    assert len(done.ways[0].asked) == associations
    each_series = rate is not None or cut.one_series_each
    assert len(done.asked) == (4 if each_series else 2)
    assert set(done.verdicts.values()) == {COMPLETE}
