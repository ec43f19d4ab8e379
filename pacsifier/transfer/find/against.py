"""A series table against what the PACS says now: series that are gone, and patients that are told otherwise. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pacsifier.query import PADDING, QueryTable, fold, is_uid
from pacsifier.query.chosen import UIDS
from pacsifier.query.series import Series
from pacsifier.transfer.model import NOTHING_MATCHES, Found, RowReport, changed

_PATIENT = ("PatientID", "PatientName", "PatientBirthDate")
_GONE = f"{NOTHING_MATCHES}: the PACS lists this series of the table no more"


def held_against(found: Found, table: QueryTable) -> Found:
    """What was found, with what of it is otherwise than a series table says in the reports of the rows."""
    wanted = {row: series for series in found.series for row in series.rows}
    reports = {}
    for row in found.rows:
        report = found.rows[row]
        if report.not_found and not report.failure:
            gone = _GONE + _of_malformed(report.query.cells)
            reports[row] = replace(report, not_found=report.not_found.replace(NOTHING_MATCHES, gone, 1))
        elif row in wanted and (remark := _of_rows(report, wanted[row], table)):
            reports[row] = replace(report, remark=remark)
    return replace(found, rows=changed(found.rows, reports))


def _of_malformed(cells: Mapping[str, str]) -> str:
    malformed = " and ".join(column for column in UIDS if not is_uid(cells.get(column, "")))
    return f" (a malformed {malformed}: was the cell changed?)" if malformed else ""


def _of_rows(report: RowReport, series: Series, table: QueryTable) -> str:
    said = (differing(table.told(row, *_PATIENT), series.values) for row in report.query.rows)
    return next(filter(None, said), "")


def differing(told: Mapping[str, str], now: Mapping[str, str | None]) -> str:
    """What the PACS says of a patient otherwise than a row of the table; "" where both agree, or one says nothing.

    No value is told: a console is no place for them.
    """
    others = [column for column in _PATIENT if _differs(column, told[column], now.get(column) or "")]
    if not others:
        return ""
    zeros = told["PatientID"].lstrip("0") == (now.get("PatientID") or "").strip(PADDING).lstrip("0")
    mind = " (mind the leading zeros)" if "PatientID" in others and zeros else ""
    return f"the PACS tells another {', '.join(others)} of the series than the table{mind}"


def _differs(column: str, told: str, now: str) -> bool:
    now = now.strip(PADDING)
    if not told or not now:
        return False
    if column == "PatientName":
        return fold(told) != fold(now)
    if column == "PatientBirthDate" and not (told.isdecimal() and now.isdecimal() and len(told) == len(now)):
        # Written in another form, which the reader of the table has told of.
        return False
    return told != now
