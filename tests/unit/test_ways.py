"""The ways that images take: which a run may go, and what each has to say of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from fetching import CONFIG, Association, Ear, Index, a_run, means_of
from series import SUCCESS, of_images, of_series, state

from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import InputError
from pacsifier.query.series import Instance
from pacsifier.transfer.fetch import ways as module
from pacsifier.transfer.fetch.ways import ByGet, Elsewhere, Kind, ToReceiver, Way, kinds_of, passable, turned
from pacsifier.transfer.fetch.work import one_chunk
from pacsifier.transfer.model import Came, Cut, SeriesState, Status, Tally
from pacsifier.transfer.options import Hours, Options

SAVE = Options(save=True)
KINDS: tuple[Kind, ...] = (ToReceiver, ByGet, Elsewhere)
PROMISES = "have the AE title {} declared on the PACS"


class Pacs:
    """Remembers what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def move(self, requests: Sequence[MoveRequest], destination: str) -> Association:
        self.asked.append((tuple(requests), destination))
        return Association()

    def get(self, request: MoveRequest, folder: Path, syntax: str) -> Association:
        self.asked.append((request, folder.name, syntax))
        return Association()


class Receiver:
    """A storescp that knows the classes it was made for; `made` are all of them."""

    made: list[Receiver]
    refuses: tuple[str, ...] = ()
    has_contact = False

    def __init__(
        self, toolbox: object, staging: Path, ae_title: str, port: int, classes: Sequence[str], **tls: object
    ) -> None:
        self.place, self.classes = (ae_title, port), list(classes)
        self.folder = staging
        self.log: list[str] = []
        self.made.append(self)

    def knows(self, classes: Sequence[str]) -> bool:
        return set(classes) <= set(self.classes)

    def start(self) -> None:
        self.log.append("start")

    def end(self) -> None:
        self.log.append("end")

    def __enter__(self) -> Receiver:
        self.log.append("enter")
        return self

    def __exit__(self, *error: object) -> None:
        self.log.append("exit")

    def refused_classes(self) -> tuple[str, ...]:
        return self.refuses

    def refusals(self, since: float = 0.0) -> list[object]:
        return []

    def contacted(self) -> bool:
        return self.has_contact

    def check(self) -> None:
        self.log.append("check")


class Placer:
    """Puts what lies in staging into a series; strangers go aside."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.log: list[str] = []

    def place(self, series: SeriesState, arrivals: Any, known: frozenset[str] = frozenset()) -> None:
        self.log.append(f"place {series.series.series_uid}")
        self.tally.new_instances += 2
        self.tally.bytes += 1000

    def set_strangers_aside(self, arrivals: object, every: object) -> None:
        self.log.append("strangers")


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Receiver]:
    """The receivers of a test, in order; nothing listens on a port."""
    receivers: list[Receiver] = []
    kind = type("Receiver", (Receiver,), {"made": receivers})
    monkeypatch.setattr(module, "Receiver", kind)
    monkeypatch.setattr(module, "own_place", lambda config: "the place of this machine")
    monkeypatch.setattr(module.confinement, "is_possible", lambda: True)
    return receivers


def a_way(kind: Kind, folder: Path = Path("staging"), **options: Any) -> Any:
    run = a_run(Options(save=kind is not Elsewhere, move=kind is Elsewhere, **options), placer=Placer())
    means = means_of(run)
    return kind(
        module.Means(means.config, means.options, means.toolbox, cast(Any, Pacs()), folder, means.placer)
    )


# --- which ways --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        pytest.param(SAVE, (ToReceiver,), id="save"),
        pytest.param(Options(save=True, retrieve_method="get"), (ByGet,), id="by C-GET"),
        pytest.param(Options(save=True, retrieve_method="auto"), (ToReceiver, ByGet), id="whichever works"),
        pytest.param(Options(move=True), (Elsewhere,), id="move"),
        pytest.param(Options(move=True, retrieve_method="get"), (Elsewhere,), id="a move is none to us"),
        pytest.param(Options(info=True), (), id="info fetches nothing"),
        pytest.param(Options(info=True, retrieve_method="auto"), (), id="nor by C-GET"),
        *(
            pytest.param(
                Options(save=True, dry_run=True, retrieve_method=method), (), id=f"dry run, {method}"
            )
            for method in ("move", "get", "auto")
        ),
        pytest.param(Options(move=True, dry_run=True), (), id="dry run of a move"),
    ],
)
def test_a_run_goes_the_ways_that_it_was_told(options: Options, kinds) -> None:
    assert kinds_of(options) == kinds


@pytest.mark.parametrize(
    ("kinds", "left", "told", "looked"),
    [
        pytest.param((ToReceiver, ByGet), (ByGet,), True, True, id="the other way is gone"),
        pytest.param((ToReceiver,), None, False, True, id="there is no other way"),
        pytest.param((ByGet,), (ByGet,), False, False, id="C-GET needs no port"),
        pytest.param((Elsewhere,), (Elsewhere,), False, False, id="nor does a move"),
        pytest.param((), (), False, False, id="nor does no way"),
    ],
)
def test_a_taken_port_ends_a_run_only_where_there_is_no_other_way(
    monkeypatch, kinds, left, told, looked
) -> None:
    ear, asked = Ear(), list[int]()

    def check(port: int, source: str) -> None:
        asked.append(port)
        raise InputError(f"cannot receive on port {port} ({source})")

    monkeypatch.setattr(module, "check_port", check)
    if left is None:
        with pytest.raises(InputError, match="port 11112"):
            passable(kinds, CONFIG, ear)
    else:
        assert passable(kinds, CONFIG, ear) == left
    words = (
        "--retrieve_method auto: C-GET is used instead of C-MOVE: cannot receive on port 11112 ('move_port')"
    )
    assert ear.heard == ([words] if told else [])
    assert asked == ([11112] if looked else [])


def test_a_free_port_leaves_all_ways(monkeypatch) -> None:
    monkeypatch.setattr(module, "check_port", lambda port, source: None)
    ear = Ear()
    assert passable([ToReceiver, ByGet], CONFIG, ear) == (ToReceiver, ByGet)
    assert ear.heard == []


def test_a_turn_is_told_with_its_reason() -> None:
    assert turned("why") == "--retrieve_method auto: C-GET is used instead of C-MOVE: why"


# --- what each says of itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "binaries", "cut", "sees", "hangs_up"),
    [
        (ToReceiver, ("movescu", "storescp"), Cut(), True, False),
        (ByGet, ("getscu",), Cut(one_request_each=True), True, True),
        (Elsewhere, ("movescu",), Cut(one_series_each=True), False, False),
    ],
)
def test_each_way_says_what_it_needs_and_how_small_its_requests_are(
    kind, binaries, cut, sees, hangs_up
) -> None:
    way = a_way(kind)
    assert (way.binaries, way.cut, way.sees, way.terms.hangs_up) == (binaries, cut, sees, hangs_up)


@pytest.mark.parametrize(
    ("kind", "verb", "act", "destination", "reaching"),
    [
        (ToReceiver, "C-MOVE", "C-MOVE to US", "US", "reaching US"),
        (ByGet, "C-GET", "C-GET", "US", "bringing anything by C-GET"),
        (Elsewhere, "C-MOVE", "C-MOVE to OTHER", "OTHER", "reaching OTHER"),
    ],
)
def test_each_way_has_its_own_words(kind, verb, act, destination, reaching) -> None:
    terms = a_way(kind, max_failures=7).terms
    assert (terms.verb, terms.act, terms.destination, terms.reaching) == (verb, act, destination, reaching)
    assert (terms.server, terms.max_failures) == ("SERVER", 7)
    assert terms.silence == "no response and no object for 1800 s (--silence_timeout)"


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (
            ToReceiver,
            PROMISES.format("US") + " with the place of this machine, and let no firewall stand between",
        ),
        (ByGet, "it failed; have C-GET allowed to US"),
        (Elsewhere, PROMISES.format("OTHER") + ", with the address and port where it listens"),
    ],
)
def test_each_way_says_what_the_administrator_is_to_be_asked(kind, advice: str) -> None:
    assert a_way(kind).advice("it failed") == advice


@pytest.mark.parametrize(
    ("status", "failed", "declare", "listen"),
    [
        (0xA801, None, True, False),
        (0xA702, 4, False, True),
        (0xB000, 4, False, True),
        (0xC000, None, True, True),
        (None, None, True, True),
    ],
)
def test_who_is_declared_but_does_not_listen_is_not_told_to_be_declared(
    status: int | None, failed: int | None, declare: bool, listen: bool
) -> None:
    words = a_way(Elsewhere).advice("it failed", MoveState(0, status, failed=failed))
    assert (words.startswith("have the AE title OTHER declared"), "that OTHER listens" in words) == (
        declare,
        listen,
    )


@pytest.mark.parametrize(
    ("status", "failed", "known"),
    [(0xA801, 4, False), (0xA702, 4, True), (0xB000, 4, True), (0xC000, None, False), (0xC000, 4, True)],
)
def test_a_pacs_that_began_to_send_is_not_asked_to_declare_the_name(status, failed, known: bool) -> None:
    words = a_way(ToReceiver).advice("it failed", MoveState(0, status, failed=failed))
    assert words.startswith(
        "the PACS knows US, but does not reach it" if known else "have the AE title US declared"
    )
    assert "the place of this machine" in words


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("states", "reached"),
    [((), False), ((state(),), False), ((state(), state(found=1)), True), ((state(moved=1),), True)],
)
def test_an_image_anywhere_proves_the_way(kind, states, reached: bool) -> None:
    assert a_way(kind).reached(states) is reached


@pytest.mark.parametrize("contact", [False, True])
def test_a_contact_proves_the_way_to_us_without_an_image(made, monkeypatch, tmp_path, contact: bool) -> None:
    monkeypatch.setattr(module.Receiver, "has_contact", contact)
    way = a_way(ToReceiver, tmp_path)
    assert not way.reached([state()]), "no receiver has run"
    with way.open([], [], {}):
        assert way.reached([state()]) is contact
    assert way.reached([state()]) is contact


@pytest.mark.parametrize("kind", [ToReceiver, Elsewhere])
def test_by_c_move_there_is_nothing_to_remark_or_to_ask_in_another_form(kind) -> None:
    way: Way = a_way(kind)
    one = state(listed=2, found=1)
    part = (of_series("1.1.1"), (one,))
    assert (way.remark(one), way.afterword([one]), way.others(part, SUCCESS, 1)) == ("", "", [])
    assert way.groups([one]) == [[one]]
    assert list(way.prepare(Index(), [one], uid_lists=True)) == []


MISSING_TWO = (Instance("1.1.1.0", "1.2.9"), Instance("1.1.1.1", "1.2.8"), Instance("1.1.1.2", "1.2.7"))


@pytest.mark.parametrize(
    ("instances", "found", "status", "remark"),
    [
        pytest.param(
            MISSING_TWO,
            1,
            Status.INCOMPLETE,
            "missing are objects of the SOP class 1.2.7, 1.2.8",
            id="two are missing",
        ),
        pytest.param(
            MISSING_TWO,
            0,
            Status.FAILED,
            "missing are objects of the SOP class 1.2.7, 1.2.8, 1.2.9",
            id="all are missing",
        ),
        pytest.param(MISSING_TWO, 3, Status.INCOMPLETE, "", id="none is missing"),
        pytest.param(MISSING_TWO, 1, Status.COMPLETE, "", id="complete"),
        pytest.param(MISSING_TWO, 1, Status.SKIPPED, "", id="skipped"),
        pytest.param((Instance("1.1.1.0", ""),), 0, Status.FAILED, "", id="its class was not told"),
        pytest.param(None, 0, Status.FAILED, "", id="no list"),
    ],
)
def test_by_c_get_the_classes_of_what_is_missing_are_named(instances, found, status, remark: str) -> None:
    one = state(found=found, status=status)
    if instances is not None:
        one.tell(instances)
    assert a_way(ByGet).remark(one) == remark


class Remarks:
    """Syntaxes that have something to say of these series."""

    def __init__(self, *uids: str) -> None:
        self._uids = uids

    def remark(self, series: SeriesState) -> str:
        return "1 instances came decompressed" if series.series.series_uid in self._uids else ""


def test_what_did_not_come_as_held_is_told_of_each_series_and_once_at_the_end() -> None:
    way = a_way(ByGet)
    way._syntaxes = Remarks("1.1.1", "1.1.2")
    states = [state(f"1.1.{number}", listed=1) for number in (1, 2, 3)]
    states[1].tell((Instance("1.1.2.0", "1.2.9"),))
    words = "1 instances came decompressed"
    assert [way.remark(each) for each in states[:2]] == [
        f"{words}; missing are objects of the SOP class {each}" if each else words for each in ("", "1.2.9")
    ]
    assert way.afterword(states).startswith("the objects of 2 series did not come in the compressed form")
    assert way.afterword(states[2:]) == ""


@pytest.mark.parametrize("possible", [False, True])
@pytest.mark.parametrize("tells", [False, True])
def test_by_c_get_the_user_is_told_before_what_may_come_changed(monkeypatch, possible, tells) -> None:
    monkeypatch.setattr(module.confinement, "is_possible", lambda: possible)
    way = a_way(ByGet)
    monkeypatch.setattr(way._syntaxes, "ask", lambda finds, states, uid_lists: tells)
    told = list(way.prepare(Index(), [state()], uid_lists=True))
    assert any("Landlock" in each for each in told) == (not possible)
    assert any("unnoticed" in each for each in told) == (not tells)
    assert len(told) == (not possible) + (not tells)


# --- how requests begin ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "destination"), [(ToReceiver, "US"), (Elsewhere, "OTHER")])
def test_c_move_asks_for_all_requests_of_a_chunk_to_its_destination(kind, destination: str) -> None:
    way = a_way(kind)
    requests = (of_series("1.1.1"), of_images("1.2.1", range(2)))
    way.start(one_chunk([(each, (state(),)) for each in requests]))
    assert way.means.pacs.asked == [(requests, destination)]


def test_c_get_asks_for_one_request_in_one_syntax(monkeypatch, tmp_path) -> None:
    way = a_way(ByGet, tmp_path)
    monkeypatch.setattr(way._syntaxes, "of", lambda states: f"syntax of {states[0].series.series_uid}")
    way.start(one_chunk([(of_series("1.1.1"), (state(),))]))
    assert way.means.pacs.asked == [(of_series("1.1.1"), "received", "syntax of 1.1.1")]


# --- while a way is open -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ToReceiver, ByGet])
def test_what_came_whole_is_kept_on_every_way_out_and_strangers_go_aside_last(kind, tmp_path) -> None:
    way = a_way(kind, tmp_path)
    with pytest.raises(KeyboardInterrupt), way.open([state("1.1.1"), state("1.1.2")], [], {}):
        raise KeyboardInterrupt
    assert way.means.placer.log == ["place 1.1.1", "place 1.1.2", "strangers"]


def test_a_place_tells_what_is_new_in_it(made, tmp_path) -> None:
    way = a_way(ToReceiver, tmp_path)
    with way.open([], [], {}) as place:
        assert place.scan() == 0
        assert place.take([state("1.1.1"), state("1.1.2")]) == Came(4, 2000)
        assert place.take([state("1.1.1")]) == Came(2, 1000)
        place.check()
    assert made[0].log == ["enter", "check", "exit"]


def test_elsewhere_nothing_is_seen() -> None:
    with a_way(Elsewhere).open([], [], {}) as place:
        place.check()
        assert (place.scan(), place.take([state()])) == (0, Came())


# --- the receiver ------------------------------------------------------------------------------------------------


def test_a_receiver_that_started_ahead_is_used_and_ended_in_any_case(made, tmp_path) -> None:
    way = a_way(ToReceiver, tmp_path, sop_classes=("1.2.3",))
    with way.ahead():
        assert made[0].log == ["start"]
        with way.open([], ["1.2.3"], {}):
            pass
    assert [each.log for each in made] == [["start", "enter", "exit", "end"]]
    assert made[0].place == ("US", 11112)


def test_a_receiver_that_started_ahead_gives_way_to_one_that_knows_more(made, tmp_path) -> None:
    way = a_way(ToReceiver, tmp_path, sop_classes=("1.2.3",))
    with way.ahead(), way.open([], ["1.2.3", "1.2.4"], {}):
        pass
    assert [each.log for each in made] == [["start", "end", "end"], ["enter", "exit"]]
    assert made[1].classes == ["1.2.3", "1.2.4"]


def test_a_second_round_takes_what_senders_offered_in_vain_in_the_first(made, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(module.Receiver, "refuses", ("1.2.9",))
    way = a_way(ToReceiver, tmp_path)
    for _ in range(2):
        with way.open([], ["1.2.3"], {}):
            pass
    assert [each.classes for each in made] == [["1.2.3"], ["1.2.3", "1.2.9"]]


def test_with_hours_no_receiver_starts_ahead(made, tmp_path) -> None:
    with a_way(ToReceiver, tmp_path, hours=Hours.parse("19:00-06:00")).ahead():
        assert made == []


@pytest.mark.parametrize("kind", [ByGet, Elsewhere])
def test_other_ways_start_nothing_ahead(kind, made) -> None:
    with a_way(kind).ahead():
        assert made == []
