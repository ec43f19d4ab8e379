"""Matching again on this side: no certain mismatch passes, nothing uncertain is thrown away."""

from __future__ import annotations

import time
import unicodedata
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsifier.query import QUERY_COLUMNS, Match, Query, Verdict, halves, matches
from pacsifier.query.matching import _wildcard_match

# Timing on a loaded machine is no finding.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def verdict(column: str, asked: str, found: str | None) -> Verdict:
    return matches(Query((2,), {column: asked}, None), {column: found}, QUERY_COLUMNS)


def short(column: str, asked: str, found: str | None) -> str:
    result = verdict(column, asked, found)
    return "lenient" if result.lenient else result.result.value


# --- the three results ---


@pytest.mark.parametrize("found", [{}, {"Modality": None}, {"Modality": ""}, {"Modality": "  "}])
def test_what_the_pacs_did_not_return_is_unknown_and_not_rejected(found: dict[str, str | None]) -> None:
    assert matches(Query((2,), {"Modality": "MR"}, None), found, QUERY_COLUMNS) == Verdict(
        Match.UNKNOWN, (), ("Modality",), ()
    )


def test_a_certain_no_wins_over_unknown() -> None:
    query = Query((2,), {"PatientID": "1", "Modality": "MR", "ProtocolName": "x"}, None)
    assert matches(query, {"PatientID": "2", "Modality": "mr"}, QUERY_COLUMNS) == Verdict(
        Match.NO, ("PatientID",), ("ProtocolName",), ("Modality",)
    )


def test_only_the_keywords_of_the_level_are_compared() -> None:
    query = Query((2,), {"PatientID": "1", "Modality": "MR"}, None)
    assert matches(query, {"PatientID": "1"}, {"PatientID"}) == Verdict(Match.YES, (), (), ())


def test_a_row_without_cells_matches_everything() -> None:
    assert matches(Query((2,), {}, None), {}, QUERY_COLUMNS).result is Match.YES


# --- text ---


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("0012", "0012", "yes"),
        ("0012", "12", "no"),
        ("12", "123", "no"),
        ("12*", "123", "yes"),
        ("1?3", "123", "yes"),
        ("1?3", "13", "no"),
        ("a[1]", "a[1]", "yes"),
        ("a[1]", "a1", "no"),
        ("a.c", "abc", "no"),
        ("a+(b", "a+(b", "yes"),
        ("ABC", "abc", "lenient"),
        ("abc", "abc ", "lenient"),
        ("Rénée", "Renee", "lenient"),
        ("Re\u0301ne\u0301e", "Rénée", "lenient"),
        ("T1", "T1\\T2", "lenient"),
        ("*b*", "a\nb", "yes"),
    ],
)
def test_text_is_matched_with_wildcards_and_tolerance(asked: str, found: str, expected: str) -> None:
    assert short("SeriesDescription", asked, found) == expected
    assert short("PatientID", asked, found) == expected


@unhurried
@given(st.text())
def test_a_value_matches_itself_in_every_composition(value: str) -> None:
    for form in ("NFC", "NFD"):
        found = unicodedata.normalize(form, value)
        expected = {Match.YES} if found.strip(" \0") else {Match.UNKNOWN}
        assert verdict("SeriesDescription", value.replace("*", "?"), found).result in expected


def _slow_match(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _slow_match(pattern[1:], text) or (bool(text) and _slow_match(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and _slow_match(pattern[1:], text[1:])


@unhurried
@given(st.text("ab*?[\\.", max_size=8), st.text("ab[\\.", max_size=8))
def test_wildcards_mean_what_the_standard_says(pattern: str, text: str) -> None:
    assert _wildcard_match(pattern, text) is _slow_match(pattern, text)


def test_a_pattern_of_many_wildcards_does_not_stop_the_run() -> None:
    start = time.process_time()
    assert not _wildcard_match("*a" * 32 + "*b", "a" * 10_000)
    assert time.process_time() - start < 1


# --- names ---


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("Obi-Wan Kenobi", "Kenobi^Obi-Wan", "yes"),
        ("Obi-Wan Kenobi", "KENOBI^OBI-WAN", "lenient"),
        ("Kenobi", "KENOBI", "lenient"),
        ("Kenobi", "Obi-Wan Kenobi", "yes"),
        ("Kenobi", "KENOBI Obi-Wan", "lenient"),
        ("Kenobi", "Kenobi, Obi-Wan", "yes"),
        ("Kenobi", "Van Kenobi^Ben", "yes"),
        ("Kenobi", "Kenobisson^Ben", "no"),
        ("Kenobi", "Solo^Kenobi", "no"),
        ("Obi-Wan Kenobi", "SKYWALKER^LUKE", "no"),
        ("Müller", "MULLER^ANNA", "lenient"),
        ("Müller", "Mu\u0308ller^Anna", "lenient"),
        ("山田", "Yamada^Tarou=山田^太郎", "yes"),
        ("Yamada", "Yamada^Tarou=山田^太郎", "yes"),
        ("Kenobi", "^^^", "unknown"),
    ],
)
def test_a_plain_name_is_matched_on_the_family_name(asked: str, found: str, expected: str) -> None:
    assert short("PatientName", asked, found) == expected


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("Kenobi^Obi-Wan", "Kenobi^Obi-Wan", "yes"),
        ("Kenobi^Obi-Wan", "Kenobi^Obi-Wan^^^", "lenient"),
        ("Kenobi^Obi-Wan^^^", "Kenobi^Obi-Wan", "lenient"),
        ("Kenobi^Obi-Wan", "KENOBI^OBI-WAN", "lenient"),
        ("Kenobi^Obi-Wan", "Kenobi^Ben", "no"),
        ("Kenobi^*", "Kenobi^Ben", "yes"),
        ("Kenobi^*", "KENOBI", "lenient"),
        ("Kenobi*", "Kenobi^Ben", "yes"),
        ("*Kenobi", "Kenobi^Ben", "lenient"),
        ("Ken?bi*", "Solo^Han", "no"),
        ("Yamada^Tarou", "Yamada^Tarou=山田^太郎", "yes"),
        ("Yamada^Tarou=山田^太郎", "Yamada^Tarou=山田^太朗", "lenient"),
        ("Yamada^Tarou=山田^太郎", "Suzuki^Tarou=鈴木^太郎", "no"),
    ],
)
def test_a_name_with_components_is_matched_by_groups(asked: str, found: str, expected: str) -> None:
    assert short("PatientName", asked, found) == expected


names = st.text(st.characters(categories=["L"]), min_size=1, max_size=12)


@unhurried
@given(names, names)
def test_a_person_is_found_however_the_name_is_stored(given_name: str, family: str) -> None:
    asked = f"{given_name} {family}"
    for stored in (f"{family}^{given_name}", f"{family}^{given_name}^^^", f"{given_name} {family}"):
        assert verdict("PatientName", asked, stored).result is Match.YES


# --- dates, times, numbers, UIDs ---


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("20150512", "20150512", "yes"),
        ("20150512", "2015.05.12", "yes"),
        ("20150512", "20150513", "no"),
        ("20150512-20150612", "20150512", "yes"),
        ("20150512-20150612", "20150612", "yes"),
        ("20150512-20150612", "20150613", "no"),
        ("20150512-", "20991231", "yes"),
        ("20150512-", "20150511", "no"),
        ("-20150512", "2015.05.12 ", "yes"),
        ("20150512", "201505", "unknown"),
        ("20150512", "00000000", "unknown"),
        ("20150512", "May 2015", "unknown"),
    ],
)
@pytest.mark.parametrize("column", ["StudyDate", "AcquisitionDate"])
def test_dates_are_compared_on_their_digits(column: str, asked: str, found: str, expected: str) -> None:
    assert short(column, asked, found) == expected


@unhurried
@given(st.dates(date(1880, 1, 1), date(2040, 1, 1)), st.dates(date(1880, 1, 1), date(2040, 1, 1)))
def test_a_day_is_in_exactly_one_half_of_its_range(day: date, other: date) -> None:
    first, last = sorted(str(item).replace("-", "") for item in (day, other))
    parts = halves(f"{first}-{last}", "20260101") or (first,)
    assert [short("StudyDate", part, first) for part in parts].count("yes") == 1


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("140500", "140500", "yes"),
        ("140500", "140500.123", "yes"),
        ("1405", "140559.9", "yes"),
        ("14", "14:59:59", "yes"),
        ("140500", "1405", "lenient"),
        ("140500.12", "140500.129", "yes"),
        ("140500.12", "140500.13", "no"),
        ("140500", "140501", "no"),
        ("14", "15", "no"),
        ("14", "9", "unknown"),
        ("14", "noon", "unknown"),
    ],
)
def test_times_are_compared_at_the_shorter_precision(asked: str, found: str, expected: str) -> None:
    assert short("StudyTime", asked, found) == expected


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("3", "3", "yes"),
        ("3", "03", "yes"),
        ("03", "3 ", "yes"),
        ("3", "+3", "yes"),
        ("3", "30", "no"),
        ("3", "3a", "unknown"),
    ],
)
def test_series_numbers_are_compared_as_numbers(asked: str, found: str, expected: str) -> None:
    assert short("SeriesNumber", asked, found) == expected


@pytest.mark.parametrize(
    ("found", "expected"), [("1.2.3", "yes"), ("1.2.3\0", "yes"), ("1.2.30", "no"), ("1.2.03", "no")]
)
def test_uids_are_compared_exactly(found: str, expected: str) -> None:
    assert short("StudyInstanceUID", "1.2.3", found) == expected


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("ORIGINAL", "ORIGINAL\\PRIMARY\\M\\ND", "yes"),
        ("M\\ORIGINAL", "ORIGINAL\\PRIMARY\\M\\ND", "yes"),
        ("ORIGINAL\\PRIMARY", "ORIGINAL\\PRIMARY", "yes"),
        ("ORIGINAL*ND", "ORIGINAL\\PRIMARY\\M\\ND", "yes"),
        ("*MPR*", "DERIVED\\SECONDARY\\CSA MPR", "yes"),
        ("original", "ORIGINAL \\PRIMARY", "lenient"),
        ("DERIVED", "ORIGINAL\\PRIMARY", "no"),
        ("ORIGINAL\\P", "ORIGINAL\\PRIMARY\\M", "no"),
    ],
)
def test_image_types_are_compared_by_component(asked: str, found: str, expected: str) -> None:
    assert short("ImageType", asked, found) == expected
