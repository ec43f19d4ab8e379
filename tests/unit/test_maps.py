"""Whose entry of a map is whose: under the wrong one a patient gets the pseudonym, or the day shift, of another."""

from __future__ import annotations

import pytest

from pacsifier.errors import first_of
from pacsifier.maps import looked_up, named, names_in_map, settled


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([("", "1")], {("", "1"): ("", "1")}),
        ([("", "1"), ("A", "1")], {("", "1"): ("A", "1"), ("A", "1"): ("A", "1")}),
        (
            [("", "1"), ("A", "1"), ("B", "1")],
            {("", "1"): ("", "1"), ("A", "1"): ("A", "1"), ("B", "1"): ("B", "1")},
        ),
        ([("", "1"), ("A", "2")], {("", "1"): ("", "1"), ("A", "2"): ("A", "2")}),
        ([], {}),
    ],
)
def test_no_issuer_means_the_only_one_that_is_known(people, expected):
    assert settled(people) == expected


@pytest.mark.parametrize(
    ("person", "shared", "folders", "found", "not_found"),
    [
        (("", "1/2"), False, (), ["1/2", "sub-1/2", "1_2", "sub-1_2"], ["A|1/2", "2"]),
        (("A", "1"), False, (), ["A|1", "sub-A|1", "1", "sub-1"], ["B|1"]),
        (("A", "1"), True, (), ["A|1", "sub-A|1"], ["1", "sub-1", "B|1"]),
        (("", "1"), True, (), ["|1"], ["1", "sub-1", "A|1"]),
        (("A", "sub-1"), False, (), ["A|sub-1", "sub-1", "sub-sub-1"], ["1"]),
        (("", "1"), False, ("sub-x",), ["1", "sub-x", "x"], ["y"]),
        (("", "1"), True, ("sub-x",), ["|1"], ["sub-x", "x"]),
        (("A", ""), False, (), ["A|", "sub-A|"], ["", "sub-", "sub-No_patient_ID"]),
    ],
)
def test_a_map_may_hold_a_patient_under_these_names_and_no_others(person, shared, folders, found, not_found):
    names = names_in_map(person, shared=shared, folders=folders)
    assert [looked_up({name: 5}, names) for name in found] == [5] * len(found)
    assert [looked_up({name: 5}, names) for name in not_found] == [None] * len(not_found)


def test_the_entry_that_names_the_issuer_goes_before_the_one_that_does_not():
    assert looked_up({"1": "P1", "A|1": "PA"}, names_in_map(("A", "1"))) == "PA"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, "1 patient: '0'"),
        (10, "10 patients: '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'"),
        (12, "12 patients: '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' and 2 more"),
    ],
)
def test_many_patients_are_counted_and_ten_of_them_named(number, expected):
    assert named([str(each) for each in range(number)]) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [([], []), (["a", "b"], ["a", "b"]), (["a", "b", "c", "d"], ["a", "b", "and 2 more"])],
)
def test_a_long_list_ends_with_how_many_more_there_are(lines, expected):
    assert first_of(lines, 2) == expected
