"""Numbers that a person can read at a glance, and that say the same as the number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.figures import counted, size_text, time_text


@pytest.mark.parametrize(
    ("number", "noun", "plural", "text"),
    [
        (0, "file", "", "0 files"),
        (1, "file", "", "1 file"),
        (2, "file", "", "2 files"),
        (1, "study", "studies", "1 study"),
        (3, "study", "studies", "3 studies"),
        (1, "series", "series", "1 series"),
    ],
)
def test_one_thing_is_not_told_as_many(number: int, noun: str, plural: str, text: str) -> None:
    assert counted(number, noun, plural) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (999_400, "999 kB"),
        (999_600, "1.00 MB"),
        (12_345_678, "12.3 MB"),
        (6_300_000_000, "6.30 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_a_size_is_told_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(1000, 10**15))
def test_a_size_in_words_is_the_size(size: int) -> None:
    number, unit = size_text(size).split()
    told = float(number) * 1000 ** ["bytes", "kB", "MB", "GB", "TB"].index(unit)
    assert abs(told - size) <= 0.006 * size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (90 * 3600, "90 h 00 min"),
    ],
)
def test_a_time_is_told_for_people(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
