"""What came in another transfer syntax than the PACS holds is told, and asked for with as few questions as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from series import state

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.transfer.fetch.converted import Converted, _Came

EXPLICIT, IMPLICIT, RLE, JPEG = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".5", ".4.50"))
MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"


class Pacs:
    """Answers with these syntaxes, whichever instance is asked for."""

    def __init__(self, told: str | None) -> None:
        self.told = told
        self.asked: list[str] = []

    def find(self, level: str, requests: Sequence[Mapping[str, str]]) -> list[FindResult]:
        assert level == "IMAGE"
        self.asked += [each["SOPInstanceUID"] for each in requests]
        return [
            FindResult(
                ({"SOPInstanceUID": each["SOPInstanceUID"], "AvailableTransferSyntaxUID": self.told},),
                0,
                None,
            )
            for each in requests
        ]


def arrival(series: str, number: int, syntax: str, sop_class: str = MR) -> Any:
    study = series.rpartition(".")[0]
    return SimpleNamespace(
        series_key=(study, series),
        sop_class=sop_class,
        sop_instance_uid=f"{series}.{number}",
        file=SimpleNamespace(transfer_syntax=syntax),
    )


def asked(told: str | None, *arrivals: Any) -> tuple[Converted, list[str]]:
    converted, pacs = Converted(), Pacs(told)
    for each in arrivals:
        converted.note(each)
    converted.ask(cast(Any, pacs))
    return converted, pacs.asked


@pytest.mark.parametrize(
    ("came", "told", "converted"),
    [
        (EXPLICIT, RLE, True),
        (EXPLICIT, f"{RLE}\\{JPEG}", True),
        (EXPLICIT, f"{RLE}\\{IMPLICIT}", False),
        (EXPLICIT, EXPLICIT, False),
        (EXPLICIT, IMPLICIT, False),
        (JPEG, EXPLICIT, True),
        (JPEG, JPEG, False),
        (EXPLICIT, "", False),
        (EXPLICIT, None, False),
    ],
)
def test_only_what_was_compressed_or_decompressed_on_its_way_is_told(came, told, converted) -> None:
    made, _ = asked(told, arrival("1.1.1", 1, came), arrival("1.1.1", 2, came))
    assert bool(made.remark(state("1.1.1"))) is converted
    assert bool(made.afterword([state("1.1.1")])) is converted
    if converted:
        assert made.remark(state("1.1.1")).startswith(f"2 instances came as {came} (")
    assert made.remark(state("1.1.2")) == ""


def test_one_instance_of_each_class_and_study_is_asked_for() -> None:
    arrivals = [
        arrival(f"1.{study}.{series}", 1, EXPLICIT, sop_class)
        for study in (1, 2)
        for series, sop_class in ((1, MR), (2, MR), (3, CT))
    ]
    made, questions = asked(RLE, *arrivals)
    assert questions == ["1.1.1.1", "1.1.3.1", "1.2.1.1", "1.2.3.1"]
    assert all(made.remark(state(f"1.{study}.{series}")) for study in (1, 2) for series in (1, 2, 3))


def test_a_pacs_that_does_not_tell_is_asked_once_and_what_came_compressed_is_not_asked_for() -> None:
    _, questions = asked(None, *(arrival(f"1.{number}.1", 1, EXPLICIT) for number in range(9)))
    assert questions == ["1.0.1.1"]
    assert asked(RLE, arrival("1.1.1", 1, RLE))[1] == []


def test_each_series_has_its_own_number_however_they_come():
    came = [arrival(f"1.1.{number}", each, EXPLICIT) for each, number in enumerate([1, 1, 2, 1, 3, 2, 1])]
    converted, _ = asked(RLE, *came)
    numbers = [converted.remark(state(f"1.1.{number}")).partition(" ")[0] for number in range(1, 5)]
    assert numbers == ["4", "2", "1", ""]


def test_a_series_is_looked_for_in_its_own_study_only(monkeypatch):
    """100,000 series in 9,000 studies took minutes, as each was looked for in all of them."""
    converted, _ = asked(RLE, *(arrival(f"1.{study}.1", 1, EXPLICIT) for study in range(50)))
    looked: list[Any] = []
    number = _Came.number
    monkeypatch.setattr(_Came, "number", lambda came, key: looked.append(key) or number(came, key))
    assert converted.remark(state("1.7.1")).startswith("1 instance")
    assert looked == [("1.7", "1.7.1")]
