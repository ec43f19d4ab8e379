"""Which AE titles are believed to send what was asked for."""

from __future__ import annotations

import pytest

from pacsifier.dcmtk.transcript import MoveState
from pacsifier.transfer.fetch.callers import is_foreign, learned

A, B = "ARCHIVE", "OTHER"


@pytest.mark.parametrize(
    ("known", "sent", "completed", "warning", "now"),
    [
        ((), {A: 4}, 4, 0, {A}),
        ((), {A: 3}, 2, 1, {A}),
        ((), {A: 3}, None, 3, {A}),
        ((), {A: 4, B: 1}, 4, 0, {A}),
        ((), {A: 4, B: 4}, 4, 0, set()),
        ((), {A: 2, B: 2}, 4, 0, set()),
        ((), {A: 3}, 4, 0, set()),
        ((), {A: 5}, 4, 0, set()),
        ((), {A: 4}, None, None, set()),
        ((), {}, 0, 0, set()),
        ((A,), {B: 2}, 2, 0, {A, B}),
        ((A,), {B: 1}, 0, 0, {A}),
        ((A,), {A: 3, B: 1}, 3, 0, {A}),
    ],
)
def test_a_title_is_known_once_the_counters_equal_what_it_sent(known, sent, completed, warning, now) -> None:
    end = MoveState(0, 0, completed=completed, warning=warning, failed=0)
    assert learned(frozenset(known), sent, end) == now


@pytest.mark.parametrize(
    ("title", "known", "foreign"), [(A, (), False), (A, (A,), False), (B, (A,), True), ("", (A,), True)]
)
def test_nobody_is_foreign_before_anybody_is_known(title: str, known: tuple[str, ...], foreign: bool) -> None:
    assert is_foreign(title, frozenset(known)) is foreign
