"""What a run remembers of each series, in bytes: a run may have 100,000 of them and 150 MB.

The bounds lie a third above what Python 3.11 takes.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from series import state

from pacsifier.disk.tree import SeriesIdentity, Tree
from pacsifier.query.series import Series
from pacsifier.transfer.fetch.work import chunks
from pacsifier.transfer.model import Plan, SeriesState, Status
from pacsifier.transfer.record.outcomes import by_row, outcomes_of

_SERIES_OF_A_STUDY = 11
_NUMBER = 2200


def bytes_each(make: Callable[[], Any], number: int = _NUMBER) -> float:
    """What is held of each of so many once `make` has returned.

    The least of three times: a table of the interpreter, such as that of interned texts, may grow under one of them.
    """
    return min(_live_bytes(make) for _ in range(3)) / number


def _live_bytes(make: Callable[[], Any]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        live, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made is not None
    return live


def uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.{number // _SERIES_OF_A_STUDY}.{number}"


def some_states(found: int = 0) -> list[SeriesState]:
    return [state(uid(number), announced=2, found=found, rows=(number + 2,)) for number in range(_NUMBER)]


def identity(number: int) -> SeriesIdentity:
    study = number // _SERIES_OF_A_STUDY
    return SeriesIdentity(
        *(f"P{study}", "", "", f"1.2.{study}", "20200101", f"{study:06}", f"1.2.{study}.{number}"),
        *(str(number % 1000), f"t1_mprage_sag_p2_iso_{number % 40}"),
    )


def test_the_names_of_folders_that_are_planned(tmp_path: Path) -> None:
    def named() -> Tree:
        tree = Tree(tmp_path)
        for number in range(5 * _NUMBER):
            tree.info_path(identity(number))
        return tree

    assert bytes_each(named, 5 * _NUMBER) < 240


def test_names_that_were_taken_long_ago_stay_taken(tmp_path: Path) -> None:
    """Of many studies the names of the first are packed; their series must not change places."""
    tree = Tree(tmp_path)
    numbers = [number * _SERIES_OF_A_STUDY for number in range(300)]
    first = [tree.info_path(identity(number)) for number in numbers]
    assert [tree.info_path(identity(number)) for number in numbers] == first
    others = [replace(identity(number), series_uid=f"1.9.{number}") for number in numbers]
    assert not {tree.info_path(each) for each in others} & set(first)


@pytest.mark.parametrize(("found", "most"), [(0, 10), (1, 260), (200, 2000)])
def test_the_instances_of_a_series_that_is_settled(found: int, most: int) -> None:
    number = 200

    def settled() -> list[SeriesState]:
        states = [SeriesState(each.series) for each in bare]
        for each in states:
            for instance in range(found):
                each.put(
                    f"{each.series.series_uid}.31415926535897932384626433832795.{instance}",
                    500_000 + instance,
                )
            each.complete()
        return states

    bare = some_states()[:number]
    empty = bytes_each(lambda: [SeriesState(each.series) for each in bare], number)
    assert bytes_each(settled, number) - empty < most


def test_what_is_settled_says_what_it_said_before() -> None:
    series = state(found=3)
    before, keys = dict(series.found), series.found.keys()
    series.complete()
    assert (series.found, series.found.keys(), series.files, series.bytes) == (before, keys, 3, 3000)
    assert not series.put("1.1.1.0", 1000)
    assert series.put("1.1.1.9", 7)
    series.drop("1.1.1.1")
    assert series.found == {"1.1.1.0": 1000, "1.1.1.2": 1000, "1.1.1.9": 7}
    series.skip()
    assert (series.files, series.bytes) == (3, 2007)
    assert "1.1.1.1" not in series.found


def test_where_series_lie(tmp_path: Path) -> None:
    states = some_states()
    folders = [
        tmp_path / f"sub-{number // _SERIES_OF_A_STUDY}" / "ses-1" / f"{number % 40}-t1"
        for number in range(_NUMBER)
    ]

    def placed() -> list[SeriesState]:
        for each, folder in zip(states, folders, strict=True):
            each.lie_in(folder)
        return states

    assert bytes_each(placed) < 60
    assert states[12].folder == tmp_path / "sub-1" / "ses-1" / "12-t1"
    states[12].lie_in(None)
    assert states[12].folder is None


def test_requests_for_one_series_each() -> None:
    states = some_states()
    assert bytes_each(lambda: chunks(states, 2, {}, one_series_each=True)) < 30


def test_what_each_row_wants_and_has_come_to() -> None:
    states = some_states()
    plan = Plan(tuple(states), {}, frozenset(), {})

    def told() -> Any:
        wanting = by_row(plan.states)
        return wanting, outcomes_of(dict.fromkeys(()), wanting)

    assert bytes_each(told) < 20


def test_series_by_their_uids() -> None:
    states = some_states()
    plan = Plan(tuple(states), {}, frozenset(), {})
    assert bytes_each(lambda: plan.every) < 100


def test_two_studies_may_have_a_series_of_one_uid() -> None:
    values = [{"StudyInstanceUID": study, "SeriesInstanceUID": "1.9"} for study in ("1.1", "1.2")]
    first, second = (SeriesState(Series(each, (2,), {})) for each in values)
    every = Plan((first, second), {}, frozenset(), {}).every
    assert {key: every[key] for key in every} == {("1.1", "1.9"): first, ("1.2", "1.9"): second}
    assert len(every) == 2
    assert every.get(("1.3", "1.9")) is None


def test_rows_and_the_series_that_they_want() -> None:
    states = [state(f"1.1.{number}", rows=rows) for number, rows in enumerate([(2,), (4, 2), (7,), (2,)])]
    states[2].status = Status.NOT_WANTED
    wanting = by_row(states)
    assert {row: [*wanted] for row, wanted in wanting.items()} == {
        2: [states[0], states[1], states[3]],
        4: [states[1]],
    }
    assert (len(wanting), wanting.get(7), wanting.get(3)) == (2, None, None)
