"""Dates in every dress move or go as the profile says: glued to times, in bytes, as numbers, as seconds since 1970."""

from __future__ import annotations

import calendar
import re
import struct
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.private_numbers import NUMBERS, number
from pacsifier.deidentify.engine.profile import Options
from pacsifier.deidentify.engine.replacing import Value
from tests.deid.test_constants import SYNTAXES, image, private, written
from tests.unit.test_private import knowledge

SHIFTED, BASIC = Options(fuzz_dates=True), Options(basic=True)
STUDY, BIRTH = "20190307", "19610317"
CREATOR = "Philips MR Imaging DD 005"
DRESSES = [
    "{}",
    "{}102000",
    "{}102000.5",
    "{}102000123",
    "{}1020",
    "{}10",
    "{}_102000",
    "{}T102000",
    "scan={};",
    "a{}235960",
]


def days_in(value: object) -> set[str]:
    """Every run of digits that begins with a day."""
    text = value.decode("latin_1") if isinstance(value, bytes) else str(value)
    return {each[:8] for each in re.findall(r"\d{8,}", text)}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("vr", ["LO", "SH", "LT", "UT", "OB", "UN"])
def test_a_day_with_its_time_moves_with_the_study(tmp_path, syntax, dress, vr):
    text = dress.format(STUDY)
    value = (text + " " * (len(text) % 2)).encode() if vr in ("OB", "UN") else text
    ds = private(image(syntax), 0x2005, CREATOR, 0x90, vr, value)
    inner = private(Dataset(), 0x2005, CREATOR, 0x90, vr, value)
    ds.SharedFunctionalGroupsSequence = Sequence([inner])
    after = written(ds, tmp_path, SHIFTED)
    assert after.StudyDate != STUDY
    for each in (after, after.SharedFunctionalGroupsSequence[0]):
        assert days_in(each[0x20051090].value) == {after.StudyDate}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("options", [Options(), SHIFTED, BASIC, Options(safe_private=True)])
def test_a_birth_date_with_a_time_never_stays(tmp_path, syntax, dress, options):
    text = dress.format(BIRTH)
    ds = private(image(syntax), 0x2005, CREATOR, 0x90, "LO", text)
    private(ds, 0x2005, CREATOR, 0x91, "OB", (text + "\0" * (len(text) % 2)).encode())
    private(ds, 0x2005, CREATOR, 0x92, "OB", text.encode("utf_16_le"))
    private(ds, 0x2005, CREATOR, 0x93, "OB", b"\1\2" * 800 + text.encode() + b"\0" * (len(text) % 2))
    raw = written(ds, tmp_path, options)
    out = next((tmp_path / "out").rglob("*.dcm")).read_bytes()
    assert BIRTH.encode() not in out
    assert BIRTH.encode("utf_16_le") not in out
    assert raw.PatientBirthDate != BIRTH


def as_number(value: object, vr: str) -> str:
    """A number in digits; in Implicit VR no VR tells, so that its bytes are read back."""
    if not isinstance(value, bytes):
        return f"{value:.0f}"
    return value.decode() if vr in ("IS", "DS") else f"{struct.unpack('<' + NUMBERS[vr], value)[0]:.0f}"


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("vr", "make"),
    [
        ("UL", int),
        ("SL", int),
        ("FD", float),
        ("IS", str),
        ("DS", str),
        ("DS", lambda day: day + "102000.5"),
        ("UV", lambda day: int(day + "102000")),
        ("FD", lambda day: float(day + "102000")),
    ],
)
def test_a_day_as_a_number_moves(tmp_path, syntax, vr, make):
    ds = private(image(syntax), 0x2005, CREATOR, 0x90, vr, make(STUDY))
    private(ds, 0x2005, CREATOR, 0x91, vr, make(BIRTH))
    after = written(ds, tmp_path, SHIFTED)
    study, birth = (as_number(after[tag].value, vr) for tag in (0x20051090, 0x20051091))
    assert study.startswith(after.StudyDate)
    assert not birth.startswith(BIRTH)


@pytest.mark.parametrize("near", ["20190306", "20181201", "20200101"])
def test_days_near_those_of_the_study_move_with_it(tmp_path, near):
    ds = private(image(), 0x2005, CREATOR, 0x90, "LO", f"injected {near}231500")
    private(ds, 0x2005, CREATOR, 0x91, "LO", f"injected {near[:4]}-{near[4:6]}-{near[6:]}")
    private(ds, 0x2005, CREATOR, 0x92, "IS", near)
    after = written(ds, tmp_path, SHIFTED)
    shift = dates.parse(after.StudyDate) - dates.parse(STUDY)
    moved = f"{dates.parse(near) + shift:%Y%m%d}"
    assert days_in(after[0x20051090].value) == {moved}
    assert after[0x20051091].value.replace("-", "").endswith(moved)
    assert str(after[0x20051092].value) == moved


def seconds(day: str) -> int:
    return calendar.timegm(dates.parse(day).timetuple()) + 37200


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("group", "creator", "element", "vr"),
    [
        (0x0009, "GEMS_IDEN_01", 0x27, "SL"),
        (0x0047, "GEMS_IQTB_IDEN_47", 0x02, "UL"),
        (0x3711, "A.L.I. Technologies, Inc.", 0x04, "UL"),
        (0x07A1, "ELSCINT1", 0x04, "UL"),
        (0x7051, "PHILIPS NM -Private", 0x12, "DS"),
        (0x0021, "PHILIPS MR/PART", 0x00, "IS"),
    ],
)
def test_seconds_since_1970_move_where_a_dictionary_names_them_a_date(  # noqa: PLR0917
    tmp_path, syntax, group, creator, element, vr
):
    old = seconds(STUDY)
    ds = private(image(syntax), group, creator, element, vr, old if vr[1] == "L" else str(old))
    tag = group << 16 | 0x1000 | element
    for at, options in enumerate((Options(), SHIFTED, Options(fuzz_dates=True, safe_private=True))):
        after = written(ds, tmp_path / str(at), options)
        shift = dates.parse(after.StudyDate) - dates.parse(STUDY)
        assert int(after[tag].value) - old == shift.total_seconds()
        assert bool(shift) == options.fuzz_dates
    after = written(ds, tmp_path / "basic", BASIC)
    assert int(after[tag].value) == 0


def test_seconds_of_the_birth_date_never_stay(tmp_path):
    ds = private(image(PatientBirthDate="19890317"), 0x0009, "GEMS_IDEN_01", 0x27, "SL", seconds("19890317"))
    assert written(ds, tmp_path)[0x00091027].value == 0


def test_seconds_and_other_numbers_stay_where_no_dictionary_names_a_date(tmp_path):
    ds = private(image(), 0x0019, "GEMS_ACQU_01", 0xBB, "DS", str(seconds(STUDY)))
    private(ds, 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.5)
    private(ds, 0x0045, "GEMS_HELIOS_01", 0x19, "SS", 17)
    after = written(ds, tmp_path, SHIFTED)
    assert (after[0x001910BB].value, after[0x2005100E].value) == (seconds(STUDY), 0.5)
    assert after[0x00451019].value == 17


# --- what stays of private numbers under --safe_private -----------------------------------------------------------

SAFE = Options(safe_private=True, fuzz_dates=True)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("group", "creator", "element", "vr", "value"),
    [
        (0x0019, "SIEMENS MR HEADER", 0x29, "FD", [0.0, 500.0, 1000.0]),
        (0x0019, "SIEMENS MR HEADER", 0x0E, "FD", [1.0, 0.0, 0.0]),
        (0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.25),
        (0x2005, "Philips MR Imaging DD 001", 0xB0, "FL", 0.5),
        (0x2001, "Philips Imaging DD 001", 0x08, "IS", 3),
        (0x0019, "GEMS_ACQU_01", 0xBB, "DS", 0.25),
        (0x0019, "GEMS_ACQU_01", 0xBD, "DS", 0.75),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", [1000, 8, 0, 0]),
        (0x7053, "Philips PET Private Group", 0x09, "DS", 1.95),
    ],
)
def test_numbers_that_images_need_stay_under_safe_private(  # noqa: PLR0917
    tmp_path, syntax, group, creator, element, vr, value
):
    ds = private(image(syntax, StudyID="1000"), group, creator, element, vr, value)
    assert written(ds, tmp_path, SAFE)[group << 16 | 0x1000 | element].value == value


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("group", "creator", "element", "vr", "value"),
    [
        (0x0009, "GEMS_IDEN_01", 0x02, "SH", "suite"),
        (0x2001, "Philips Imaging DD 001", 0x03, "OB", b"ab"),
        (0x2001, "Philips Imaging DD 001", 0x08, "IS", "8841177"),
        (0x0019, "GEMS_ACQU_01", 0xBB, "DS", "8841177"),
        (0x2001, "Philips Imaging DD 001", 0x17, "SL", 8841177),
        (0x0019, "SIEMENS MR HEADER", 0x29, "FD", [0.0, 8841177.0]),
        (0x0055, "SIEMENS MED NM", 0x21, "DS", "123456789012"),
        (0x0019, "SIEMENS MED NM", 0x84, "SS", 17),
        (0x0099, "NOBODY KNOWS", 0x02, "FD", 1.0),
        (0x0019, "SIEMENS MR HEADER", 0x0B, "LO", "1.5 of Ysolde"),
    ],
)
def test_identifiers_dates_and_texts_go_under_safe_private(  # noqa: PLR0917
    tmp_path, syntax, group, creator, element, vr, value
):
    ds = private(image(syntax, PatientID="8841177"), group, creator, element, vr, value)
    after = written(ds, tmp_path, SAFE)
    tag = group << 16 | 0x1000 | element
    listed = (group, element) == (0x2001, 0x03)
    assert (tag in after) == listed


def test_numbers_in_private_items_stay_under_safe_private(tmp_path):
    inner = private(Dataset(), 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.25)
    private(inner, 0x2005, "Philips MR Imaging DD 001", 0x5F, "CS", "UNKNOWN")
    inner.PatientName = "Quetzaltenango^Ysolde"
    ds = private(image(), 0x2005, CREATOR, 0x0F, "SQ", Sequence([inner]))
    item = written(ds, tmp_path, SAFE)[0x2005100F].value[0]
    assert item[0x2005100E].value == 0.25
    assert 0x2005105F not in item


def test_any_day_as_a_number_moves_under_safe_private(tmp_path):
    ds = private(image(), 0x2001, "Philips Imaging DD 001", 0x08, "IS", "20010911")
    after = written(ds, tmp_path, SAFE)
    shift = dates.parse(after.StudyDate) - dates.parse(STUDY)
    assert str(after[0x20011008].value) == f"{date(2001, 9, 11) + shift:%Y%m%d}"


# --- birth dates and ages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1950",
        "195002",
        "1950/02/03",
        "03.02.1950",
        "3 Feb 1950",
        "1950-02-03",
        "19500203120000",
        "19500000",
        "c. 1950",
        "03.02.50",
        "February 3rd, 1950",
        "1950-Feb-03",
        "19460101\\19500203",
    ],
)
@pytest.mark.parametrize("options", [Options(), SHIFTED])
def test_a_birth_date_in_another_form_is_emptied_and_searched(tmp_path, text, options):
    ds = private(image(PatientBirthDate=text), 0x2005, CREATOR, 0x90, "LO", "born 19500203000000, 1950-02-03")
    after = written(ds, tmp_path, options)
    assert not after.PatientBirthDate
    if len(text) > 6 and not text.endswith("0000") and not text.startswith("c"):
        assert "1950" not in after[0x20051090].value


@pytest.mark.parametrize("options", [Options(), SHIFTED])
def test_days_in_words_go_from_files_and_the_proof_agrees(tmp_path, options):
    forms = [
        "3 Feb 1950",
        "February 3rd, 1950",
        "1950-Feb-03",
        "Fri Feb  3 10:20:00 1950",
        "03.02.50",
        "3.2.1950",
    ]
    near = ["14 MAR 2019", "01.04.2019", "2019-03-13 08:00", "20190401"]
    ds = image(PatientBirthDate="19500203", InstanceCreationDate="20190401", ImageComments="born 3 Feb 1950")
    for at, text in enumerate([*forms, *near]):
        private(ds, 0x2005, CREATOR, 0x10 + at, "LO", text)
        private(ds, 0x2005, CREATOR, 0x40 + at, "OB", f"\0\1 {text} \0\1".encode()[: len(text) // 2 * 2 + 4])
    after = written(ds, tmp_path, options)
    for at, text in enumerate([*forms, *near]):
        assert (after[0x20051010 + at].value == text) == (at >= len(forms) and not options.fuzz_dates)
        stays = text.encode() in after[0x20051040 + at].value
        assert stays == (text == "03.02.50" or (at >= len(forms) and not options.fuzz_dates)), text


@pytest.mark.parametrize("value", ["20190307102000", "2019-03-07", "07.03.2019", "20190307"])
def test_a_time_of_day_that_holds_a_date_goes(tmp_path, value):
    after = written(image(StudyTime=value, AcquisitionTime="102000.5"), tmp_path, SHIFTED)
    assert not after.StudyTime
    assert after.AcquisitionTime == "102000.5"


@pytest.mark.parametrize("age", ["003D", "030D", "010W", "700D"])
def test_the_age_of_a_small_child_does_not_give_the_birth_date_back(tmp_path, age):
    ds = private(image(PatientBirthDate="20180901", PatientAge=age), 0x2005, CREATOR, 0x90, "AS", age)
    after = written(ds, tmp_path)
    assert not after.PatientBirthDate
    assert after.PatientAge.endswith("M")
    assert after[0x20051090].value == after.PatientAge


@given(st.integers(0, 999), st.sampled_from("DWMY"))
def test_an_age_is_whole_months_or_years_and_stays_so(number, unit):
    once = dates.capped_age(f"{number:03d}{unit}")
    assert once
    assert once[3] == ("M" if unit != "Y" and dates.age_in_years(once) < 2 else "Y")
    assert dates.capped_age(once) == once
    assert abs(min(dates.age_in_years(f"{number:03d}{unit}"), 90) - dates.age_in_years(once)) <= 1.01


DAYS = st.dates(date(1901, 1, 1), date(2099, 12, 31))
TIMES = st.builds(
    lambda hour, minute, second, fraction, length: f"{hour:02d}{minute:02d}{second:02d}{fraction}"[:length],
    *(st.integers(0, 23), st.integers(0, 59), st.integers(0, 60)),
    st.from_regex(r"[0-9]{0,6}", fullmatch=True),
    st.sampled_from((0, 2, 4, 6, 12)),
)
BORDER = st.sampled_from(("", " ", "a", "_", "=", "\\", "."))


def matcher(day: date, shift: int) -> Matcher:
    old, new = f"{day:%Y%m%d}", f"{day + timedelta(shift):%Y%m%d}"
    return Matcher(Identifiers(days={old}), {old: new}, shift)


@given(DAYS, TIMES, st.sampled_from((-30, -1, 1, 30)), BORDER, BORDER)
def test_a_day_moves_in_text_and_in_bytes_whatever_stands_around_it(day, time, shift, before, behind):
    old, new = f"{day:%Y%m%d}", f"{day + timedelta(shift):%Y%m%d}"
    text, moved = before + old + time + behind, before + new + time + behind
    known = matcher(day, shift)
    assert known.masked(text) == moved
    assert known.mask_bytes(text.encode()) == moved.encode()
    for encoding in ("utf_16_le", "utf_16_be"):
        assert known.mask_bytes(text.encode(encoding)) == moved.encode(encoding)


MONTHS = [
    names.split()
    for names in (
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    )
]
# d, m, y: without zeros; D, M: with them; N: the month's name.
FORMS = [
    *(f"{{{one}}}{sign}{{{two}}}{sign}{{y}}" for one, two in ("DM", "dm", "MD", "md") for sign in "./-"),
    *(f"{{y}}{sign}{{{one}}}{sign}{{{two}}}" for one, two in ("MD", "md") for sign in "./-"),
    *("{d} {N} {y}", "{D} {N} {y}", "{d}. {N} {y}", "{D}-{N}-{y}", "{D}{N}{y}", "{d}.{N}.{y}", "{y}{N}{D}"),
    *(
        "{N} {d}, {y}",
        "{N} {D} {y}",
        "{y}-{N}-{D}",
        "{y} {N} {d}",
        "{d}th of {N} {y}",
        "{d}th of {N}, {y}",
    ),
    *("{N} {d}st, {y}", "{N} {d}nd {y}", "{N} {d}rd, {y}", "{d} de {N} de {y}", "{d} de {N} del {y}"),
    *("Fri {N} {d} 10:20:00 {y}", "Fri {N}  {D} 10:20:00 CET {y}", "{N} {d} 10:20:00.123 AM {y}"),
    *("Friday, {N} {d}, {y}", "Fr, {D}.{M}.{y}", "Do {D}.{M}.{y}"),
]
LOOSE = ["{d}. {m}. {y}", "{D} {M} {y}", "{y} {M} {D}", "{D}_{M}_{y}", "{y}_{M}_{D}"]
BLOCK = [*(b"\0\1%s\0\2", b"%s", b"\xff\xfeat %s;"), bytes(range(32)) * 60 + b"%s" + bytes(70)]


def spelled(day: date, form: str, months: list[str]) -> str:
    return form.format(
        y=day.year, m=day.month, M=f"{day.month:02d}", N=months[day.month - 1], d=day.day, D=f"{day.day:02d}"
    )


@given(
    st.dates(date(1901, 1, 1), date(2099, 12, 31)),
    st.sampled_from([*FORMS, *LOOSE]),
    st.sampled_from(MONTHS),
    st.sampled_from((str, str.upper, str.lower)),
)
def test_a_known_day_goes_in_whatever_words_it_stands(day, form, months, case):
    known = Matcher(Identifiers(days={f"{day:%Y%m%d}"}), {})
    text = case(spelled(day, form, months))
    assert not re.search(r"\d{2}|[^\W\dX_]{3}", known.masked(f"at {text} x"))
    assert not re.search(r"\d{2}|[^\W\d_]{3}", known.without(f"at {text} x"))
    for encoding in ("utf_8", "latin_1", "utf_16_le", "utf_16_be"):
        for block in BLOCK:
            raw = block.replace(b"%s", text.encode(encoding))
            masked = known.mask_bytes(raw)
            assert len(masked) == len(raw)
            assert str(day.year).encode(encoding) not in masked


@given(
    st.dates(date(2019, 1, 5), date(2020, 2, 1)),
    st.sampled_from(FORMS),
    st.sampled_from(MONTHS),
)
def test_a_day_near_those_of_the_study_never_stays_in_words(day, form, months):
    text = spelled(day, form, months)
    near = matcher(date(2019, 3, 7), 11)
    moved = day + timedelta(11)
    for new in (near.masked(text), near.mask_bytes(b"\0\1" + text.encode()).decode()[2:]):
        assert text not in new
        assert not re.search(r"\d", new) or re.sub(r"\D", "", new).startswith(f"{moved:%Y%m%d}")
    # Without `-a` the study's dates stay, and with them all others.
    assert Matcher(Identifiers(days={"20190307"}), {}).masked(text) == text or day == date(2019, 3, 7)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1.2.3.4.2019",
            "5.3.2019.1",
            "2 3 2019",
            "12\\3\\2019",
            "2019 3 2",
            "syngo 2019",
            "32.01.2019",
            "13/13/2019",
        ),
        *(
            "2019",
            "201903",
            "03/2019",
            "marker 7 2019",
            "12019-03-01",
            "2019-03-011",
            "1.2.20190301",
            "T1 2019 1",
        ),
    ],
)
def test_numbers_that_are_no_day_stay(text):
    near = matcher(date(2019, 3, 7), 11)
    assert near.masked(text) == text
    assert near.mask_bytes(text.encode()) == text.encode()


SHORT = [
    "07.03.19",
    "7.3.19",
    "03/07/19",
    "3/7/19",
    "19-03-07",
    "07-03-19",
    "(07.03.19)",
    "on 07.03.19, 10:20",
]


@pytest.mark.parametrize("text", SHORT)
def test_a_known_day_with_two_digits_of_the_year_goes_in_what_people_type(text):
    known = Identifiers(days={"20190307"})
    assert "3" not in Matcher(known, {}).masked(text)
    assert Matcher(known, {}, typed=False).masked(text) == text


@pytest.mark.parametrize(
    "text", ["190307", "1.07.03.19", "07.03.19.2", "v7.3.19", "07.03.19b", "7.3.190", "08.03.19", "7.3/19"]
)
def test_two_digits_of_a_year_that_may_be_a_version_stay(text):
    assert Matcher(Identifiers(days={"20190307"}), {}).masked(text) == text


@given(
    DAYS,
    st.from_regex(r"[0-9]{1,4}", fullmatch=True),
    st.from_regex(r"[3-9][0-9]{0,5}|[0-9]", fullmatch=True),
)
def test_a_part_of_a_longer_number_is_no_day(day, before, behind):
    known = matcher(day, 1)
    old = f"{day:%Y%m%d}"
    for text in (before + old, old + behind, before + old + behind):
        assert known.mask_bytes(text.encode()) == text.encode()


@given(DAYS, st.sampled_from(sorted(["UL", "SL", "FD", "UV", "SV"])), st.booleans())
def test_a_number_is_read_and_written_in_its_own_byte_order(day, vr, big):
    known = knowledge(SHIFTED)
    letter = (">" if big else "<") + NUMBERS[vr]
    old = int(f"{day:%Y%m%d}")
    raw = struct.pack(letter, old)
    new = number(Value(0x00771001, vr, raw, b"", big), "", known).new
    expected = 19610322 if old == 19610317 else old
    assert struct.unpack(letter, new)[0] == expected
