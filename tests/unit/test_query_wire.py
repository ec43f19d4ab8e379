"""What goes over the wire: no study of the row may be lost by the spelling of a key."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsifier.query import ATTRIBUTES, Query, ascii_wildcards, halves, study_keys
from pacsifier.query.matching import _wildcard_match

# Timing on a loaded machine is no finding.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def keys(**cells: str) -> list[dict[str, str]]:
    return [dict(mapping) for mapping in study_keys(Query((2,), cells, None))]


def test_only_study_level_cells_are_asked_at_study_level() -> None:
    assert keys(PatientID="1", Modality="MR", ImageType="M", StudyDate="2015-") == [
        {"PatientID": "1", "StudyDate": "2015-"}
    ]


def test_a_row_without_study_cells_asks_for_all_studies() -> None:
    assert keys(Modality="MR") == [{}]


def test_a_plain_name_asks_for_its_family_name_in_both_spellings() -> None:
    assert keys(PatientName="Obi-Wan Kenobi", PatientID="1") == [
        {"PatientName": "*KENOBI*", "PatientID": "1"},
        {"PatientName": "*Kenobi*", "PatientID": "1"},
    ]


def test_a_name_in_capitals_is_asked_once() -> None:
    assert keys(PatientName="OBI-WAN KENOBI") == [{"PatientName": "*KENOBI*"}]


@pytest.mark.parametrize("name", ["Kenobi^Obi-Wan", "Kenobi*", "K?nobi", "*"])
def test_a_name_with_components_or_wildcards_goes_as_typed(name: str) -> None:
    assert keys(PatientName=name) == [{"PatientName": name}]


def test_a_family_name_before_a_comma_is_the_family_name() -> None:
    assert keys(PatientName="KENOBI, OBI-WAN") == [{"PatientName": "*KENOBI*"}]


@unhurried
@given(st.text(min_size=1, max_size=64).filter(lambda text: text.strip()))
def test_the_pattern_of_a_name_fits_into_a_component_group(name: str) -> None:
    assert all(len(mapping["PatientName"]) <= max(64, len(name)) for mapping in keys(PatientName=name))


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("14", "140000-145959.999999"),
        ("1405", "140500-140559.999999"),
        ("140500", "140500-140500.999999"),
        ("140500.12", "140500.12-140500.129999"),
        ("140500.123456", "140500.123456-140500.123456"),
    ],
)
def test_a_study_time_finds_times_with_a_fraction(typed: str, sent: str) -> None:
    assert keys(StudyTime=typed) == [{"StudyTime": sent}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kenobi", "Kenobi"),
        ("*Müller*", "*M*ller*"),
        ("*Mu\u0308ller*", "*M*ller*"),
        ("éàü", "*"),
        ("*山田*", "*"),
        ("Renée Noël", "Ren*e No*l"),
        ("a*b**c", "a*b**c"),
    ],
)
def test_a_pacs_without_accents_is_asked_by_wildcards(text: str, expected: str) -> None:
    assert ascii_wildcards(text) == expected


@unhurried
@given(st.text(st.characters(exclude_characters="*?"), min_size=1))
def test_the_wildcard_form_is_ascii_and_still_finds_the_text(text: str) -> None:
    import unicodedata

    pattern = ascii_wildcards(text)
    assert pattern.isascii()
    assert _wildcard_match(pattern, unicodedata.normalize("NFC", text))


def covered(key: str | None, days: list[date]) -> set[date]:
    start, hyphen, end = ("", "-", "") if key is None else key.partition("-")
    end = end if hyphen else start
    texts = {day: f"{day.year:04}{day:%m%d}" for day in days}
    return {day for day, text in texts.items() if (not start or start <= text) and (not end or text <= end)}


def text(day: date) -> str:
    return f"{day.year:04}{day:%m%d}"


def day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


days_of_studies = st.dates(date(1890, 1, 1), date(2030, 12, 31))


@unhurried
@given(days_of_studies, days_of_studies, st.sampled_from(["closed", "from", "until", "all", "day"]))
def test_halves_cover_every_day_once(first: date, second: date, kind: str) -> None:
    first, second = min(first, second), max(first, second)
    key = {
        "closed": f"{text(first)}-{text(second)}",
        "from": f"{text(first)}-",
        "until": f"-{text(second)}",
        "all": None,
        "day": text(first),
    }[kind]
    parts = halves(key, "20260101")
    if parts is None:
        assert kind != "all"
        assert kind != "closed" or first == second
        return
    # Membership changes at the ends of ranges only: the days around each end stand for all.
    ends = {day(end) for part in (key or "-", *parts) for end in part.split("-") if end}
    days = [
        end + timedelta(days=n) for end in {*ends, date(1880, 1, 1), date(2040, 1, 1)} for n in (-1, 0, 1)
    ]
    left, right = (covered(part, days) for part in parts)
    assert left
    assert right
    assert not left & right
    assert left | right == covered(key, days)


def test_splitting_again_and_again_ends_at_single_days() -> None:
    todo: list[str | None] = [None]
    done: list[str] = []
    while todo:
        key = todo.pop()
        parts = halves(key, "19000301")
        if parts is None:
            done.append(str(key))
        else:
            todo += parts
    assert len(done) == 60
    assert {"-19000101", "19000301-"} < set(done)


def test_the_halves_of_two_days_are_the_days() -> None:
    assert halves("20150131-20150201", "20260101") == ("20150131-20150131", "20150201-20150201")
    assert halves("20150131-20150131", "20260101") is None


def test_every_query_column_knows_its_level() -> None:
    cells = {name: "1" for name, attribute in ATTRIBUTES.items() if attribute.query_column}
    assert len(keys(**cells)[0]) == 8
