"""C-GET asks for compressed images in the form in which they are held, and does not try for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from pacs.servers import RLE

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.query.series import Series
from pacsifier.transfer.fetch.syntaxes import Syntaxes
from pacsifier.transfer.find.asking import CarefulFinds
from pacsifier.transfer.model import Part, SeriesState

NATIVE, J2K, J2K_LOSSY = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
FAILED = MoveState(0, 0xB000, completed=0, failed=2)


def series(number: int, expected: int = 2) -> SeriesState:
    values = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": f"1.1.{number}"}
    return SeriesState(Series(values, (2,), {}, announced=expected))


class Told:
    """A PACS that tells these syntaxes for the instances of each series."""

    def __init__(self, told: Mapping[str, Sequence[str]]) -> None:
        self.told = told
        self.asked: list[str] = []

    def find(self, level: str, requests: Sequence[Mapping[str, str]]) -> list[FindResult]:
        assert level == "IMAGE"
        self.asked += [request["SeriesInstanceUID"] for request in requests]
        return [
            FindResult(
                tuple(
                    {
                        "SOPInstanceUID": f"{request['SeriesInstanceUID']}.{number}",
                        "AvailableTransferSyntaxUID": each,
                    }
                    for number, each in enumerate(self.told[request["SeriesInstanceUID"]])
                ),
                0,
                None,
            )
            for request in requests
        ]


def asked_for(
    states: Sequence[SeriesState], told: Mapping[str, Sequence[str]]
) -> tuple[Syntaxes, Told, bool]:
    syntaxes, pacs = Syntaxes(), Told(told)
    return syntaxes, pacs, syntaxes.ask(cast(CarefulFinds, pacs), states)


def part(*states: SeriesState) -> Part:
    return MoveRequest(("1.1",)), states


def test_series_are_asked_for_apart_by_the_form_in_which_they_are_held() -> None:
    states = [series(number) for number in range(5)]
    told = [[NATIVE] * 2, [RLE] * 2, [J2K_LOSSY, J2K, J2K], [f"{NATIVE}\\{J2K}"] * 2, [RLE, RLE, NATIVE]]
    syntaxes, _, tells = asked_for(states, {f"1.1.{number}": each for number, each in enumerate(told)})
    assert tells
    assert [syntaxes.of([state]) for state in states] == ["", RLE, J2K, "", RLE]
    groups = syntaxes.groups(states)
    assert [[state.series.series_uid for state in each] for each in groups] == [
        ["1.1.0", "1.1.3"],
        ["1.1.1", "1.1.4"],
        ["1.1.2"],
    ]


def test_a_pacs_that_does_not_tell_is_asked_for_one_series_only() -> None:
    states = [series(number) for number in range(5)]
    syntaxes, pacs, tells = asked_for(states, {f"1.1.{number}": ["", ""] for number in range(5)})
    assert not tells
    assert pacs.asked == ["1.1.0"]
    assert syntaxes.of(states) == ""


def test_what_cannot_be_sent_is_asked_for_lossless_first_and_not_for_ever() -> None:
    syntaxes, asked = Syntaxes(), []
    for number in range(20):
        todo = [part(series(number))]
        while todo:
            todo = syntaxes.others(todo[0], FAILED, 0)
            asked += [syntaxes.of(states) for _, states in todo]
    assert set(asked[:5]) <= set(negotiation.LOSSLESS)
    assert len(asked) == 3 * len(set(asked)), "each for three series, and then no more"


def test_each_series_may_be_held_in_another_form() -> None:
    """The forms that did not fit the first series may be those of the next ones."""
    syntaxes, came = Syntaxes(), []
    held = [*negotiation.GETSCU_PREFERENCES][:9]
    for number, form in enumerate([*held, *reversed(held)]):
        todo = [part(series(number))]
        while todo:
            fits = syntaxes.of(todo[0][1]) == form
            end = MoveState(0, 0, completed=2, failed=0) if fits else FAILED
            came += [form] if fits else []
            todo = syntaxes.others(todo[0], end, 2 if fits else 0)
    assert came == [*held, *reversed(held)]


def test_the_form_that_worked_is_the_first_to_be_tried_for_the_next_series() -> None:
    syntaxes = Syntaxes()
    todo = syntaxes.others(part(series(1)), FAILED, 0)
    while syntaxes.of(todo[0][1]) != RLE:
        todo = syntaxes.others(todo[0], FAILED, 0)
    assert syntaxes.others(todo[0], MoveState(0, 0, completed=2, failed=0), 2) == []
    for number in range(2, 9):
        (again,) = syntaxes.others(part(series(number)), FAILED, 0)
        assert syntaxes.of(again[1]) == RLE
        assert syntaxes.others(again, MoveState(0, 0, completed=2, failed=0), 2) == []


def test_only_series_that_are_short_are_asked_for_again() -> None:
    whole, short = series(1), series(2)
    whole.found = {"1": 1, "2": 1}
    others = Syntaxes().others(part(whole, short), FAILED, 2)
    assert [(request.series_uids, states) for request, states in others] == [(("1.1.2",), (short,))]


def test_of_what_came_in_part_only_missing_instances_that_are_named_are_asked_for_in_another_form() -> None:
    state, syntaxes = series(1, 3), Syntaxes()
    state.found = {"1": 1}
    assert syntaxes.others(part(state), FAILED, 1) == []
    named = MoveRequest(("1.1",), ("1.1.1",), ("1", "2", "3"))
    assert syntaxes.others((named, (state,)), FAILED, 1) == [
        (MoveRequest(("1.1",), ("1.1.1",), ("2", "3")), (state,))
    ]


def test_only_what_the_pacs_tells_is_tried_and_then_the_first_form_proposed_again() -> None:
    state = series(1, 3)
    syntaxes, _, _ = asked_for([state], {"1.1.1": [RLE, RLE, J2K]})
    (other,) = syntaxes.others(part(state), FAILED, 0)
    assert syntaxes.of([state]) == J2K
    assert syntaxes.others(other, FAILED, 0) == []
    assert syntaxes.of([state]) == RLE


def test_every_syntax_that_getscu_can_prefer_is_one_that_a_receiver_takes() -> None:
    assert negotiation.GETSCU_PREFERENCES.keys() <= set(negotiation.LOSSLESS) | set(negotiation.LOSSY)
    assert len(set(negotiation.GETSCU_PREFERENCES.values())) == len(negotiation.GETSCU_PREFERENCES)
