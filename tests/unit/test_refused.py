"""What our receiver did not take: of which series it is told, and what the next receiver takes instead."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from series import state

from pacsifier.dcmtk.storescp import Refusal
from pacsifier.query.series import Instance
from pacsifier.transfer.fetch.refused import Refused, askings
from pacsifier.transfer.model import SeriesState, Status

MR, CT, DERMOSCOPY = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "2", "77.1.7"))
HTJ2K = "1.2.840.10008.1.2.4.203"
LAST = cast(Any, SimpleNamespace(version="3.6.7", sop_classes=(MR, CT)))


def series(number: int, *classes: str, found: int = 0) -> SeriesState:
    """A series whose instances are of these classes; none: the IMAGE level was not asked."""
    made = state(f"1.{number}.1", announced=max(1, len(classes)), found=found)
    instances = tuple(Instance(f"1.{number}.1.{at}", each) for at, each in enumerate(classes))
    made.series = replace(made.series, instances=instances or None)
    return made


def of_class(sop_class: str) -> Refusal:
    return Refusal(sop_class, (), True, 5.0)


def of_syntax(sop_class: str, *, whole: bool = True) -> Refusal:
    return Refusal(sop_class, (HTJ2K,), whole, 5.0)


@pytest.mark.parametrize(
    ("refusal", "asked", "unfit"),
    [
        pytest.param(of_class(DERMOSCOPY), series(1), True, id="a class, and nothing is known of the series"),
        pytest.param(of_class(DERMOSCOPY), series(1, DERMOSCOPY), True, id="the class that is missing"),
        pytest.param(
            of_class(DERMOSCOPY), series(1, MR, ""), True, id="a class may be missing that is not told"
        ),
        pytest.param(of_class(DERMOSCOPY), series(1, MR), False, id="a class that is not missing"),
        pytest.param(of_class(DERMOSCOPY), series(1, DERMOSCOPY, found=1), False, id="all is here"),
        pytest.param(of_syntax(CT), series(1, CT), True, id="a syntax of the class that is missing"),
        pytest.param(of_syntax(CT, whole=False), series(1, CT), False, id="it can be sent in another syntax"),
    ],
)
def test_what_was_refused_is_why_a_series_is_missing_only_where_it_can_be(refusal, asked, unfit) -> None:
    assert Refused().hear([refusal], [asked]) is unfit


def test_what_was_refused_at_each_asking_is_told_rather_than_what_others_proposed_meanwhile() -> None:
    refused, failed = Refused(), series(1)
    refused.hear([of_class(DERMOSCOPY), of_syntax(CT)], [failed])
    refused.hear([of_syntax(CT), of_syntax(MR)], [failed])
    assert refused.remark(failed, LAST).count("1.2.840.10008.5.1.4.1.1.") == 1
    assert CT in refused.remark(failed, LAST)


def test_a_series_that_cannot_come_names_its_class_and_its_syntax() -> None:
    refused, failed = Refused(), series(1)
    refused.hear([of_class(DERMOSCOPY), of_syntax(CT, whole=False)], [failed])
    told = refused.remark(failed, LAST)
    assert f"{DERMOSCOPY} (Dermoscopic Photography Image Storage)" in told
    assert f"--sop_class {DERMOSCOPY}" in told
    assert f"{CT} (CT Image Storage)" in told
    assert f"DCMTK 3.6.7 does not receive: {HTJ2K} (High-Throughput JPEG 2000 Image Compression)" in told


def test_nothing_is_said_of_what_is_complete_or_was_taken_in_the_end() -> None:
    refused, one, other = Refused(), series(1), series(2)
    refused.hear([of_class(MR)], [one, other])
    assert refused.remark(one, LAST) == "", "the last receiver takes it"
    other.status = Status.COMPLETE
    assert refused.remark(other, LAST) == ""
    assert refused.remark(series(3), LAST) == ""


# --- the next receiver -------------------------------------------------------------------------------------------


def classes(number: int) -> list[str]:
    return [f"1.3.12.{each:03}" for each in range(number)]


def test_one_receiver_takes_all_where_it_can() -> None:
    states = [series(1, MR, DERMOSCOPY), series(2)]
    assert askings(states, classes(100)) == [(states, tuple(sorted([MR, DERMOSCOPY, *classes(100)])))]


def test_more_classes_than_a_receiver_takes_go_to_several() -> None:
    states = [series(number, each) for number, each in enumerate(classes(300))]
    made = askings(states, [])
    assert [len(taken) for _, taken in made] == [128, 128, 44]
    assert [each for some, _ in made for each in some] == states
    for some, taken in made:
        assert {each.sop_class for one in some for each in one.series.instances or ()} == set(taken)


def test_a_series_of_unknown_class_is_asked_for_with_all_that_was_refused() -> None:
    known, unknown = series(1, MR), series(2)
    first, second, third = askings([known, unknown], classes(300)[:200])
    assert first == ([known], (MR,))
    assert second == ([unknown], tuple(classes(300)[:128]))
    assert third == ([unknown], tuple(classes(300)[128:200]))


def test_only_the_classes_of_what_is_missing_count() -> None:
    assert askings([series(1, MR, CT, found=1)], []) == [([series(1, MR, CT, found=1)], (CT,))]
