"""A number that lost its zeros in a spreadsheet is not told as a patient whom the PACS does not know."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.errors import AssociationError
from pacsifier.query import Query
from pacsifier.transfer.find.zeros import with_zeros_told
from pacsifier.transfer.model import NOTHING_MATCHES, RowReport


class Pacs:
    """A PACS with these PatientIDs, which understands `*` at the beginning."""

    def __init__(self, *patients: str, lost: bool = False) -> None:
        self.patients, self.lost = patients, lost
        self.asked: list[str] = []

    def find(self, level: str, requests: Sequence[dict[str, str]]) -> list[FindResult]:
        if self.lost:
            raise AssociationError("no association")
        self.asked += [request["PatientID"] for request in requests]
        return [
            FindResult(
                tuple({"PatientID": f"{each} "} for each in self.patients if each.endswith(asked[1:])),
                0,
                None,
            )
            for asked in (request["PatientID"] for request in requests)
        ]


def missed(*patients: str, divided: bool = False) -> dict[int, RowReport]:
    return {
        row: RowReport(Query((row,), {"PatientID": each}, None), not_found=NOTHING_MATCHES, divided=divided)
        for row, each in enumerate(patients, 2)
    }


@pytest.mark.parametrize(
    ("there", "asked", "words"),
    [
        (("0012345",), "12345", "7 digits, the row with 5"),
        (("12345",), "0012345", "5 digits, the row with 7"),
        (("012345", "0012345"), "12345", "6 or 7 digits, the row with 5"),
        (("9912345", "A12345"), "12345", ""),
        (("12345",), "12345", ""),
        ((), "12345", ""),
    ],
)
def test_an_id_that_differs_by_its_zeros_is_told_by_its_length(
    there: tuple[str, ...], asked: str, words: str
) -> None:
    (report,) = with_zeros_told(Pacs(*there), missed(asked)).values()
    assert report.not_found.startswith(NOTHING_MATCHES)
    assert words in report.not_found
    assert bool(words) == ("leading zeros" in report.not_found)
    assert not any(each in report.not_found for each in there), "nobody is named on the console"


@pytest.mark.parametrize("asked", ["12", "0007", "A1234", "1234*", "", "\u0661\u0662\u0663\u0664"])
def test_what_is_no_number_or_would_match_half_the_archive_is_not_asked(asked: str) -> None:
    pacs = Pacs("0012345")
    assert with_zeros_told(pacs, missed(asked)) == missed(asked)
    assert pacs.asked == []


def test_of_a_file_that_lost_all_its_zeros_a_few_rows_are_asked() -> None:
    pacs = Pacs()
    with_zeros_told(pacs, missed(*(str(number) for number in range(1000, 1100))))
    assert len(pacs.asked) == 20


def test_other_parts_may_have_what_a_part_does_not_find() -> None:
    pacs = Pacs("0012345")
    with_zeros_told(pacs, missed("12345", divided=True))
    assert pacs.asked == []


def test_a_hint_that_cannot_be_had_ends_no_run() -> None:
    assert with_zeros_told(Pacs(lost=True), missed("12345")) == missed("12345")
