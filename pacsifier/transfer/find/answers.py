"""What an answer of a C-FIND says: caps, numbers, whether it matches; and what that tells of the rows. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.transcript import CANCELLED, REFUSED_OUT_OF_RESOURCES
from pacsifier.query import (
    ATTRIBUTES,
    Match,
    Query,
    Verdict,
    ascii_wildcards,
    matches,
)
from pacsifier.query.names import family_name, is_structured
from pacsifier.query.series import PackedValues
from pacsifier.transfer.model import RowReport

# An answer list of so many, or of a multiple of 500, looks like the cap of a PACS.
_CAPS = frozenset({100, 200, 250, 300, 400})
# Character sets of answers that cannot hold every name (PS3.3 C.12.1.1.2); others are taken at their word.
_CODECS = {"": "ascii", "ISO_IR 6": "ascii", "ISO_IR 100": "latin-1", "ISO_IR 101": "iso8859-2"}
NOTHING_UNKNOWN: Mapping[int, tuple[str, ...]] = MappingProxyType({})


def merged(study: Values, series: Values) -> PackedValues:
    """The values of both levels; a key that the SERIES level did not return has the value of the STUDY level."""
    own = {
        keyword: value
        for keyword, value in series.items()
        if keyword not in study or (value is not None and value != study[keyword])
    }
    return PackedValues(own, study)


def compare(query: Query, values: Values, columns: Collection[str]) -> Verdict:
    """Matches on this side; a column whose asked text the answer's character set cannot hold is unknown, not rejected.

    Such an answer comes mangled (PS3.5 6.1.2): its ASCII characters must still fit.
    """
    verdict = matches(query, values, columns)
    if verdict.result is not Match.NO:
        return verdict
    codec = _CODECS.get((values.get("SpecificCharacterSet") or "").strip())
    mangled = [each for each in verdict.rejected_by if codec and not _encodable(query.cells[each], codec)]
    if not mangled:
        return verdict
    cells = {
        **query.cells,
        **{each: f"*{ascii_wildcards(_core(query.cells[each], each))}*" for each in mangled},
    }
    loose = matches(replace(query, cells=cells), values, columns)
    if loose.result is Match.NO:
        return verdict
    return replace(loose, result=Match.UNKNOWN, unknown=(*loose.unknown, *mangled))


def _core(text: str, column: str) -> str:
    return family_name(text) if column == "PatientName" and not is_structured(text) else text


def _encodable(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def columns_at(*levels: str) -> frozenset[str]:
    """The query columns that stand at these levels."""
    return frozenset(
        keyword for keyword, each in ATTRIBUTES.items() if each.query_column and each.level in levels
    )


def looks_capped(result: FindResult) -> bool:
    """Whether a list looks cut by the PACS rather than like all there is: by its number of answers or its status.

    Cancelled (0xFE00), which we did not ask for, is how some PACS end a list at their limit.
    """
    count = len(result.answers)
    is_round = count in _CAPS or (count > 0 and count % 500 == 0)
    cut = result.status in (REFUSED_OUT_OF_RESOURCES, CANCELLED)
    return cut or (is_round and not result.outdone)


def uids_of(result: FindResult, keyword: str = "StudyInstanceUID") -> set[str]:
    """The different UIDs that a list of answers names."""
    return {answer.get(keyword) or "" for answer in result.answers}


def values_of(value: str | None) -> list[str]:
    """The values of a multi-valued attribute."""
    return [each.strip() for each in (value or "").split("\\")]


def whole_number(value: str | None) -> int | None:
    """An integer string; None where it is absent, empty or not a number: unknown is not zero."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def absent_keys(asked: Iterable[str], answers: Sequence[Values]) -> frozenset[str]:
    """The keys asked for that were returned in none of the answers; none of them where there is no answer."""
    if not answers:
        return frozenset()
    return frozenset(key for key in asked if all(answer.get(key) is None for answer in answers))


def is_worth_telling(verdict: Verdict) -> bool:
    """Whether a report has something to say of such a verdict."""
    return verdict.result is Match.NO or bool(verdict.lenient)


def reports_of(
    asked: Mapping[int, Query], failures: Mapping[int, str], verdicts: Mapping[tuple[int, Verdict], int]
) -> dict[int, RowReport]:
    """What one stage has to say of its rows; `verdicts`: how often a row got that verdict on an answer."""
    rejected: dict[int, Counter[str]] = defaultdict(Counter)
    lenient: dict[int, frozenset[str]] = {}
    for (row, verdict), number in verdicts.items():
        if verdict.result is Match.NO:
            rejected[row].update(dict.fromkeys(verdict.rejected_by, number))
        elif verdict.lenient:
            lenient[row] = lenient.get(row, frozenset()).union(verdict.lenient)
    return {
        row: RowReport(
            asked[row],
            failure=failures.get(row, ""),
            rejected=rejected.get(row, {}),
            lenient=lenient.get(row, frozenset()),
        )
        for row in {**failures, **rejected, **lenient}
    }


def joined(*parts: Mapping[int, RowReport]) -> dict[int, RowReport]:
    """The reports of several stages, in their order, as one of each row."""
    reports: dict[int, RowReport] = {}
    for part in parts:
        for row, report in part.items():
            reports[row] = reports[row].followed_by(report) if row in reports else report
    return reports
