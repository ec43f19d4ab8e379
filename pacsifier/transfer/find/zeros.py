"""A PatientID that finds nothing may be one whose leading zeros a spreadsheet took away, or somebody added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pacsifier.errors import AssociationError
from pacsifier.transfer.model import Finds, RowReport, changed, telling

# One question each: of a file that lost all its zeros the first few rows tell enough.
_MOST_ASKED = 20
# Shorter numbers end too many others.
_FEWEST_DIGITS = 3


def with_zeros_told(finds: Finds, reports: Mapping[int, RowReport]) -> Mapping[int, RowReport]:
    """The reports of the rows; of those that found nothing, with what the PACS shows of their leading zeros."""
    asked = [row for row, report in telling(reports).items() if _may_lack_zeros(report)][:_MOST_ASKED]
    if not asked:
        return reports
    requests = [{"PatientID": f"*{_number(reports[row])}"} for row in asked]
    try:
        results = finds.find("STUDY", requests)
    except AssociationError:
        # It is a hint only, and what the rows found is known.
        return reports
    told = {}
    for row, result in zip(asked, results, strict=True):
        shown = {(answer.get("PatientID") or "").strip() for answer in result.answers}
        report = reports[row]
        own = report.query.cells["PatientID"]
        lengths = sorted({len(each) for each in shown if each != own and each.lstrip("0") == _number(report)})
        if lengths:
            digits = " or ".join(map(str, lengths))
            words = f"the PACS has this PatientID with {digits} digits, the row with {len(own)}: mind the leading zeros"
            told[row] = replace(report, not_found=f"{report.not_found}; {words}")
    return changed(reports, told)


def _may_lack_zeros(report: RowReport) -> bool:
    own = report.query.cells.get("PatientID", "")
    digits = own.isascii() and own.isdecimal()
    return bool(report.not_found) and not report.divided and digits and len(_number(report)) >= _FEWEST_DIGITS


def _number(report: RowReport) -> str:
    return report.query.cells["PatientID"].lstrip("0")
