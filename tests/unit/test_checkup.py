"""What a check chooses to ask for and how it judges what came: never much, and never "it works" without proof."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.checkup.finds import FEW, Sample, recent_days, small_ones
from pacsifier.checkup.moves import Delivery, Trial, one_instance, planned, some_instances, took, two_series
from pacsifier.dcmtk.movescu import MoveRequest
from pacsifier.dcmtk.transcript import MoveState

SIZES = st.dictionaries(
    st.sampled_from(["A", "B", "C"]),
    st.dictionaries(st.sampled_from(["1", "2", "3", "4", "5"]), st.none() | st.integers(0, 500), min_size=1),
    min_size=1,
)


def sample(study: str, series: str, number: int) -> Sample:
    return Sample(study, series, tuple(f"{study}.{series}.{each}" for each in range(number)))


def requests(trials: list[Trial]) -> list[tuple[str, int]]:
    return [(trial.request.keys()["QueryRetrieveLevel"], len(trial.expected)) for trial in trials]


def test_the_days_asked_for_grow_without_a_gap_and_none_is_asked_twice() -> None:
    days = [each for _, each in recent_days(date(2030, 3, 1))]
    assert days == [
        *("20300301", "20300222-20300228", "20291231-20300221"),
        *("20280301-20291230", "20100306-20280229"),
    ]


@given(SIZES)
def test_few_series_are_listed_and_none_that_is_known_to_be_empty(sizes) -> None:
    chosen = small_ones(sizes)
    assert len(chosen) == len(set(chosen)) <= 4
    assert all(sizes[study][series] != 0 for study, series in chosen)
    known = [number for every in sizes.values() for number in every.values() if number != 0]
    assert bool(chosen) == bool(known)


def test_the_study_with_the_smallest_two_series_comes_first() -> None:
    sizes = {"A": {"1": 1, "2": 300}, "B": {"1": 5, "2": 3, "3": 400}, "C": {"1": 2}}
    assert small_ones(sizes)[:2] == [("B", "2"), ("B", "1")]


def test_one_image_is_asked_for_as_a_series_only_where_it_is_one() -> None:
    assert requests(one_instance([sample("A", "1", 1), sample("A", "2", 2)])) == [("SERIES", 1)]
    assert requests(one_instance([sample("A", "1", 3)])) == [("IMAGE", 1), ("SERIES", 3)]


def test_a_large_series_is_never_moved_as_a_whole() -> None:
    large = [sample("A", "1", FEW + 1), sample("A", "2", FEW + 2)]
    assert requests(one_instance(large)) == [("IMAGE", 1)]
    assert two_series(large) is None
    assert some_instances(large) is None
    assert planned(large) == 1


def test_the_list_names_two_series_of_one_study() -> None:
    trial = two_series([sample("A", "1", 1), sample("B", "1", 2), sample("B", "2", 4), sample("B", "3", 3)])
    assert trial is not None
    assert trial.request == MoveRequest(("B",), ("1", "3"))
    assert len(trial.expected) == 5
    assert two_series([sample("A", "1", 1), sample("B", "1", 1)]) is None


def test_instances_are_asked_for_only_where_a_whole_series_would_be_more() -> None:
    trial = some_instances([sample("A", "1", 1), sample("A", "2", 2), sample("A", "3", 3)])
    assert trial is not None
    assert trial.request == MoveRequest(("A",), ("3",), ("A.3.0", "A.3.1"))
    one_of_two = some_instances([sample("A", "2", 2)])
    assert one_of_two is not None
    assert len(one_of_two.expected) == 1
    assert some_instances([sample("A", "1", 1)]) is None


WHOLE = frozenset({"1", "2"})
SUCCESS = MoveState(0, 0x0000, completed=2, failed=0)


@pytest.mark.parametrize(
    ("came", "others", "end", "verdict"),
    [
        (WHOLE, 0, SUCCESS, True),
        (frozenset({"1"}), 0, SUCCESS, False),  # only the first counts
        (WHOLE, 7, SUCCESS, False),  # the list, or the level, is ignored
        (frozenset(), 0, SUCCESS, False),
        (frozenset(), 0, MoveState(0, 0xA900), False),  # it would not take the identifier
        (frozenset(), 0, MoveState(0, 0xA702), None),  # out of resources says nothing about lists
        (frozenset(), 0, MoveState(0, 0xA801), None),
        (frozenset({"1"}), 0, None, None),  # cut off
    ],
)
def test_an_ability_is_affirmed_or_denied_only_where_that_was_the_reason(came, others, end, verdict) -> None:
    trial = Trial(MoveRequest(("A",), ("1", "2")), WHOLE)
    assert took(trial, Delivery(came, others, end, 0.1)) is verdict
