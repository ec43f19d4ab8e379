"""What is asked again, how often and when: a PACS that is busy is not stormed, one that refuses is not nagged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import AssociationError
from pacsifier.transfer.find.asking import CarefulFinds
from pacsifier.transfer.retry import Retry, is_temporary

Answerer = Callable[[list[str]], list[FindResult]]


@given(st.floats(0.001, 60), st.integers(0, 8))
def test_waits_grow_are_spread_and_end(first: float, repeats: int) -> None:
    retry = Retry(first, repeats)
    for earlier in range(repeats):
        wait = retry.wait_s(earlier)
        mean = min(first * 2**earlier, 120)
        assert wait is not None
        assert mean * 0.5 <= wait <= mean * 1.5
    assert retry.wait_s(repeats) is None


def test_clients_that_were_refused_together_do_not_come_back_together() -> None:
    assert len({Retry().wait_s(0) for _ in range(20)}) > 15


@pytest.mark.parametrize(
    ("status", "temporary"),
    [
        (0xA701, True),
        (0xA702, True),
        (0xA801, False),
        (0xA900, False),
        (0xC000, False),
        (0x0000, False),
        (None, False),
    ],
)
def test_only_a_lack_of_resources_is_temporary(status: int | None, temporary: bool) -> None:
    assert is_temporary(MoveState(0, status)) is temporary


class Scripted:
    """Answers each call as the next of a list of functions says; remembers what it was asked."""

    def __init__(self, *answerers: Answerer) -> None:
        self.answerers = list(answerers)
        self.asked: list[list[str]] = []
        self.over: list[int] = []

    def find(self, level: str, requests: Sequence[Keys], *, associations: int = 1) -> list[FindResult]:
        names = [keys["PatientID"] for keys in requests]
        self.asked.append(names)
        self.over.append(associations)
        answer = self.answerers.pop(0) if len(self.answerers) > 1 else self.answerers[0]
        return answer(names)


def good(name: str) -> FindResult:
    return FindResult(({"PatientID": name},), 0, None)


def all_good(names: list[str]) -> list[FindResult]:
    return [good(name) for name in names]


def cut_before(*poison: str) -> Answerer:
    """An association that is lost when one of these is asked for."""

    def answer(names: list[str]) -> list[FindResult]:
        first = next((number for number, name in enumerate(names) if name in poison), len(names))
        if first == 0:
            raise AssociationError("lost", temporary=True)
        return all_good(names[:first]) + [FindResult.of_lost("cut off")] * (len(names) - first)

    return answer


def refuse(*, temporary: bool) -> Answerer:
    def answer(names: list[str]) -> list[FindResult]:
        raise AssociationError("refused", temporary=temporary)

    return answer


def ask(pacs: Scripted, names: str, repeats: int = 4) -> list[FindResult]:
    finds = CarefulFinds(pacs, Retry(0.0001, repeats))  # type: ignore[arg-type]
    return finds.find("STUDY", [{"PatientID": name} for name in names])


def test_what_was_cut_off_is_asked_again_and_nothing_else() -> None:
    pacs = Scripted(cut_before("c"), all_good)
    assert ask(pacs, "abcd") == all_good(list("abcd"))
    assert pacs.asked == [list("abcd"), list("cd")]


def test_a_row_that_kills_every_association_does_not_take_the_others_with_it() -> None:
    pacs = Scripted(cut_before("a"))
    results = ask(pacs, "abcd")
    assert [result.failure is None for result in results] == [False, True, True, True]
    assert len(pacs.asked) < 10


@given(st.sets(st.sampled_from("abcdef"), max_size=3), st.permutations("abcdef"))
def test_every_row_that_can_be_answered_is(poison: set[str], order: list[str]) -> None:
    pacs = Scripted(cut_before(*poison))
    if poison >= set(order):
        return
    results = ask(pacs, "".join(order), repeats=len(order))
    for name, result in zip(order, results, strict=True):
        assert (result.failure is None) is (name not in poison)
        assert not result.answers or result.answers[0]["PatientID"] == name


def test_many_finds_go_over_several_associations_only_once_one_went_well() -> None:
    pacs = Scripted(all_good)
    finds = CarefulFinds(pacs, Retry(0.0001), associations=3)  # type: ignore[arg-type]
    for names in ("a" * 40, "b" * 40, "c" * 17, "d"):
        finds.find("STUDY", [{"PatientID": name} for name in names])
    assert pacs.over == [1, 3, 2, 1]


def test_of_very_many_finds_the_first_few_go_alone_and_the_others_over_several_associations() -> None:
    pacs = Scripted(all_good)
    finds = CarefulFinds(pacs, Retry(0.0001), associations=4)  # type: ignore[arg-type]
    names = [f"{number}" for number in range(500)]
    assert finds.find("STUDY", [{"PatientID": name} for name in names]) == all_good(names)
    assert pacs.over == [1, 4]
    assert len(pacs.asked[0]) < 20
    assert [name for part in pacs.asked for name in part] == names


def test_of_very_many_finds_none_is_asked_behind_one_without_an_end() -> None:
    endless = FindResult((), None, "did not end", endless=True)
    pacs = Scripted(lambda names: [endless, *[FindResult.of_lost("cut off")] * (len(names) - 1)])
    finds = CarefulFinds(pacs, Retry(0.0001), associations=4)  # type: ignore[arg-type]
    results = finds.find("STUDY", [{"PatientID": "a"}] * 500)
    assert len(pacs.asked) == 1
    assert [result.lost for result in results] == [False] * 500
    assert all("did not end" in str(result.failure) for result in results)


def test_a_pacs_that_does_not_admit_several_associations_is_asked_over_one_from_then_on() -> None:
    pacs = Scripted(all_good, cut_before("c"), all_good)
    finds = CarefulFinds(pacs, Retry(0.0001), associations=2)  # type: ignore[arg-type]
    finds.find("STUDY", [{"PatientID": "a"}])
    asked = [{"PatientID": name} for name in "bbbbbbbbbbcccccccccccccccccccc"]
    assert not any(result.lost for result in finds.find("STUDY", asked))
    assert pacs.over == [1, 2, 1]


def test_a_permanent_rejection_is_not_repeated() -> None:
    pacs = Scripted(refuse(temporary=False))
    with pytest.raises(AssociationError):
        ask(pacs, "ab")
    assert len(pacs.asked) == 1


def test_a_temporary_rejection_is_repeated_but_not_for_ever() -> None:
    pacs = Scripted(refuse(temporary=True))
    with pytest.raises(AssociationError):
        ask(pacs, "ab", repeats=3)
    assert len(pacs.asked) == 4
    assert ask(Scripted(refuse(temporary=True), all_good), "ab") == all_good(["a", "b"])


def test_a_failure_that_the_pacs_states_is_not_repeated() -> None:
    failed = FindResult((), 0xA900, "C-FIND ended with 'Failed'")
    pacs = Scripted(lambda names: [failed for _ in names])
    assert ask(pacs, "ab") == [failed, failed]
    assert len(pacs.asked) == 1


def test_a_pacs_that_went_away_between_two_levels_fails_the_rows_and_not_the_run() -> None:
    pacs = Scripted(all_good, refuse(temporary=False))
    finds = CarefulFinds(pacs, Retry(0.0001, 2))  # type: ignore[arg-type]
    assert finds.find("STUDY", [{"PatientID": "a"}]) == [good("a")]
    (result,) = finds.find("SERIES", [{"PatientID": "a"}])
    assert result.failure
    assert len(pacs.asked) == 4
