"""Whose object it is, by its own header against the index."""

from __future__ import annotations

import pytest

from pacsifier.transfer.finding import _number
from pacsifier.transfer.placing import _another_patient


@pytest.mark.parametrize(
    ("asked", "own", "another"),
    [
        ("12345", "12345 ", False),
        ("12345", "12346", True),
        ("12345", "É99", True),
        ("?99", "É99", False),
        ("99", "É99", False),
        ("", "12345", False),
        ("12345", "", False),
    ],
)
def test_an_object_of_another_patient_is_told_from_a_mangled_id(asked: str, own: str, another: bool) -> None:
    assert _another_patient(asked, own) is another


@pytest.mark.parametrize(
    ("text", "number"), [("8 ", 8), ("", None), ("²", None), ("x", None), ("9" * 99, None)]
)
def test_a_number_of_instances_that_is_none_does_not_end_a_run(text: str, number: int | None) -> None:
    assert _number(text) == number
