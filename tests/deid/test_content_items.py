"""Content items that say of somebody what the header says: birth date, age, identity; no more stays than there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.instance import deidentify
from pacsifier.deidentify.engine.profile import Options
from tests.deid import corpus, helpers
from tests.deid.test_constants import SYNTAXES, image, private, written

OPTIONS = [
    Options(),
    Options(fuzz_dates=True),
    Options(basic=True),
    Options(delete_identifiable=True, keep_sr=True),
]
BIRTH, OTHER = "19610317", "19700203"
BIRTH_CODES = [
    ("121031", "DCM", "Subject Birth Date"),
    ("21112-8", "LN", "Birth date"),
    ("184099003", "SCT", "Date of birth"),
    ("17", "99LOCAL", "Geburtsdatum"),
    ("17", "99LOCAL", "Date of Birth"),
]
AGE_CODES = [("121033", "DCM", "Subject Age"), ("30525-0", "LN", "Age"), ("5", "99LOCAL", "Patientenalter")]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def item(concept: tuple[str, str, str], **values: object) -> Dataset:
    ds = Dataset()
    ds.RelationshipType = "HAS OBS CONTEXT"
    ds.ConceptNameCodeSequence = Sequence([code(*concept)])
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def number(concept: tuple[str, str, str], value: str, unit: str, **more: object) -> Dataset:
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = Sequence([code(unit, "UCUM", unit)])
    for keyword, each in more.items():
        setattr(measured, keyword, each)
    return item(concept, ValueType="NUM", MeasuredValueSequence=Sequence([measured]))


def report(*items: Dataset, syntax: str = SYNTAXES[0], **values: object) -> Dataset:
    """The items at the top, and once more below a container."""
    below = item(("121028", "DCM", "Subject"), ValueType="CONTAINER", ContentSequence=Sequence(items))
    return image(syntax, ContentSequence=Sequence([*items, below]), **values)


def items_of(ds: Dataset) -> list[Dataset]:
    return [*ds.ContentSequence[:-1], *ds.ContentSequence[-1].ContentSequence]


@pytest.mark.parametrize(
    ("syntax", "concept", "options", "header"),
    [
        *((syntax, concept, OPTIONS[0], BIRTH) for syntax in SYNTAXES for concept in BIRTH_CODES),
        *((SYNTAXES[0], BIRTH_CODES[0], options, header) for options in OPTIONS for header in ("", OTHER)),
    ],
)
def test_a_birth_date_of_the_content_never_stays(tmp_path, syntax, concept, options, header):
    made = (
        item(concept, ValueType="DATE", Date=OTHER),
        item(concept, ValueType="DATETIME", DateTime=f"{OTHER}0315"),
    )
    ds = report(*made, syntax=syntax, PatientBirthDate=header)
    private(ds, 0x2005, "ACME", 0x90, "LO", f"born {OTHER}, 3 Feb 1970")
    after = written(ds, tmp_path, options)
    for day, moment in zip(*[iter(items_of(after))] * 2, strict=True):
        assert day.Date and day.Date != OTHER
        assert moment.DateTime and not moment.DateTime.startswith(OTHER)
        # Where the header has it, the two stay the same.
        if header == OTHER and not options.basic:
            assert day.Date == after.PatientBirthDate
    assert "1970" not in str(after[0x20051090].value).replace(after.PatientBirthDate or "none", "")


@pytest.mark.parametrize("concept", [("111060", "DCM", "Study Date"), ("11778-8", "LN", "EDD")])
def test_other_dates_of_the_content_stay_or_move_with_the_study(tmp_path, concept):
    ds = report(item(concept, ValueType="DATE", Date="20190310"))
    assert {each.Date for each in items_of(written(ds, tmp_path / "kept"))} == {"20190310"}
    after = written(ds, tmp_path / "moved", Options(fuzz_dates=True))
    shift = dates.parse(after.StudyDate) - dates.parse(ds.StudyDate)
    assert {dates.parse(each.Date) - dates.parse("20190310") for each in items_of(after)} == {shift}


@pytest.mark.parametrize(("syntax", "concept"), [*zip(SYNTAXES, AGE_CODES, strict=True)])
@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("3", "d", 0),
        ("95", "a", 90),
        ("34710", "d", 90 * 365.25),
        ("1150", "mo", 1080),
        ("45", "a", 45),
        ("45.7", "a", 45),
        ("40", "d", 30.44),
        ("60", "h", 0),
        ("5", "wk", 4.35),
        ("7", "mo", 7),
        ("95", "fortnights", 0),
    ],
)
def test_an_age_of_the_content_says_no_more_than_that_of_the_header(  # noqa: PLR0917
    tmp_path, syntax, concept, value, unit, expected
):
    ds = report(number(concept, value, unit, FloatingPointValue=float(value)), syntax=syntax)
    for each in items_of(written(ds, tmp_path)):
        (measured,) = each.MeasuredValueSequence
        assert float(measured.NumericValue) == pytest.approx(expected, abs=0.02)
        assert "FloatingPointValue" not in measured


@pytest.mark.parametrize(
    "concept",
    [
        ("18185-9", "LN", "Gestational Age"),
        ("111519", "DCM", "Age at First Full Term Pregnancy"),
        ("1", "99X", "Length"),
    ],
)
def test_other_numbers_of_the_content_stay(tmp_path, concept):
    ds = report(number(concept, "95", "d", FloatingPointValue=95.0))
    for each in items_of(written(ds, tmp_path)):
        (measured,) = each.MeasuredValueSequence
        assert (float(measured.NumericValue), measured.FloatingPointValue) == (95, 95.0)


@pytest.mark.parametrize("concept", [("121030", "DCM", "Subject ID"), ("113871", "DCM", "Person ID")])
def test_a_number_of_somebody_never_stays(tmp_path, concept):
    for each in items_of(written(report(number(concept, "771199", "1")), tmp_path)):
        assert float(each.MeasuredValueSequence[0].NumericValue) == 0


def test_an_age_of_the_acquisition_context_is_capped(tmp_path):
    context = item(AGE_CODES[0], ValueType="NUMERIC", NumericValue="95")
    context.MeasurementUnitsCodeSequence = Sequence([code("a", "UCUM", "year")])
    after = written(image(AcquisitionContextSequence=Sequence([context])), tmp_path)
    assert float(after.AcquisitionContextSequence[0].NumericValue) == 90


def test_both_ways_of_rewriting_agree_on_content_items(tmp_path):
    ds = report(
        item(BIRTH_CODES[0], ValueType="DATE", Date=OTHER),
        item(("111060", "DCM", "Study Date"), ValueType="DATE", Date="20190310"),
        *(number(concept, "95", "a") for concept in AGE_CODES),
        number(("18185-9", "LN", "Gestational Age"), "95", "d"),
    )
    corpus.save(ds, tmp_path / "in.dcm")
    for plain in (False, True):
        deidentify(tmp_path / "in.dcm", tmp_path / f"{plain}.dcm", helpers.rules(), plain=plain)
    walked, parsed = (helpers.read(tmp_path / f"{plain}.dcm") for plain in (False, True))
    assert walked == parsed
    assert [each.MeasuredValueSequence[0].NumericValue for each in walked.ContentSequence[2:6]] == [
        90,
        90,
        90,
        95,
    ]
    assert walked.ContentSequence[0].Date == "19000101"


@given(st.integers(0, 50_000), st.sampled_from(["d", "wk", "mo", "a", "h", "min", "s"]))
def test_a_capped_number_stays_so_and_is_never_more(number, unit):
    once = dates.capped_number(str(number), unit)
    assert once
    assert float(once) <= number + 0.01
    assert dates.capped_number(once, unit) == once
