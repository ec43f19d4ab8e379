"""What is written instead of a value, by the action of the profile."""

from __future__ import annotations

import pytest

from pacsifier.deidentify.engine import replacing, uids
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.profile import Action, Options, Profile
from pacsifier.deidentify.engine.replacing import Knowledge, Replacement, Value
from pacsifier.deidentify.engine.subject import Subject

SECRET = b"a secret of the tests, 32 bytes!"
NAME, BIRTH_DATE = "Quetzaltenango^Ysolde", "19610317"
OLD_UID, CT_STORAGE = "1.2.826.0.1.3680043.9.7777.1", "1.2.840.10008.5.1.4.1.1.2"
NEW_UID = uids.new_uid(SECRET, OLD_UID)
IN_PLACE = uids.same_length_uid(SECRET, OLD_UID).encode()
# An element without a rule of its own; a description with a row in the table; a date of a content item.
ANY, DESCRIPTION, CONTENT_DATE = 0x00181234, 0x0008103E, 0x0040A121


def knowledge(options: Options | None = None, **subject: object) -> Knowledge:
    known = Identifiers()
    known.add_name(NAME)
    known.days.add(BIRTH_DATE)
    values: dict[str, object] = {
        "date_shift_days": 12,
        "birth_shift_days": 5,
        "birth_date_emptied": False,
        "moved_days": {BIRTH_DATE: "19610322", "19630405": "00000000"},
        **subject,
    }
    who = Subject("somebody", "P0001", known=known, **values)  # type: ignore[arg-type]
    return Knowledge(Profile(options or Options()), SECRET, who, Vocabulary(), Matcher(known, who.moved_days))


def written(action: Action, vr: str, raw: bytes, tag: int = ANY, charset: bytes = b"") -> Replacement:
    return replacing.replacement(action, Value(tag, vr, raw, charset), knowledge())


def told(replacement: Replacement) -> tuple[bytes | str | None, ...]:
    """New value, kind of change, and the words left out."""
    said = replacement.said
    return (*replacement[:2], *(remark.word for remark in (said.remarks if said else ()) if not remark.stays))


@pytest.mark.parametrize(
    ("action", "raw", "new", "change"),
    [
        (Action.REMOVE, b"Wurmfarn", None, "removed"),
        (Action.EMPTY, b"Wurmfarn", b"", "emptied"),
        (Action.NEW_ID, b"PZ8841177 ", b"P0001 ", "replaced"),
        (Action.NEW_NAME, b"Quetzaltenango^Ysolde ", b"P0001^sub ", "replaced"),
        (Action.KEEP, b"Wurmfarn", b"Wurmfarn", ""),
        (Action.DESCEND, b"Wurmfarn", b"Wurmfarn", ""),
    ],
)
def test_an_action_means_the_same_for_every_text(action, raw, new, change):
    assert written(action, "LO", raw) == Replacement(new, change)


def test_every_action_of_the_profile_has_a_replacement():
    for action in Action:
        assert isinstance(written(action, "LO", b"20190307"), Replacement)


# --- K: kept ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw"),
    [
        ("DS", b"-1.5e3\\+2 "),
        ("DS", b"1E3 \0"),
        ("IS", b"12\\-3 "),
        ("UI", b"1.2.3\\4.5\0"),
        ("UI", b"1.2.3 "),
        ("TM", b"101112.123456-"),
        ("DA", b"20190307\\19000101"),
        ("DA", b"2019.03.07"),
        ("DT", b"20190307101112.5+0100"),
        ("CS", b"HEAD_1 \\A\0"),
        ("LO", b"what a person typed: ~"),
        ("OB", b"\xff\xfe~"),
    ],
)
def test_a_value_of_its_vr_stays_to_the_byte(vr, raw):
    assert written(Action.KEEP, vr, raw) == Replacement(raw, "")


@pytest.mark.parametrize(
    ("vr", "raw"),
    [
        ("DS", b"DOE^JOHN"),
        ("IS", b"12 years"),
        ("UI", b"1.2.DOE "),
        ("TM", b"noon"),
        ("DA", b"DOE^JOHN"),
        ("DA", b"20190307\\DOE^"),
        ("DA", b"20190307101112"),
        ("DT", b"at noon "),
    ],
)
def test_what_is_no_value_of_its_vr_never_stays(vr, raw):
    assert written(Action.KEEP, vr, raw) == Replacement(b"", "malformed")


@pytest.mark.parametrize(
    ("raw", "new", "change"),
    [
        (b"Head", b"Head", ""),
        (b"HEAD QUETZALCOATL, ", b"HEAD", "malformed"),
        (b"head quetzaltenango", b"head", "malformed"),
        (b"T2-HEAD ", b"T2-HEAD ", ""),
        (b" Head ", b" Head ", ""),
    ],
)
def test_a_code_that_a_person_typed_is_cleaned_word_by_word(raw, new, change):
    assert written(Action.KEEP, "CS", raw) == Replacement(new, change)


@pytest.mark.parametrize(
    ("raw", "stays"),
    [
        (b"ISO_IR 100", True),
        (b"iso 2022 ir 6\\ISO 2022 IR 87", True),
        (b"ISO_IR 192 ", True),
        (b"\\ISO 2022 IR 87\0", True),
        (b"UTF-8 ", True),
        (b"GB18030", True),
        (b"Quetzaltenango", False),
        (b"ISO_IR 100\\Quetzaltenango", False),
    ],
)
def test_a_character_set_stays_and_a_name_in_its_place_does_not(raw, stays):
    assert written(Action.KEEP, "CS", raw, 0x00080005) == (
        Replacement(raw, "") if stays else Replacement(b"", "malformed")
    )


@pytest.mark.parametrize("action", [Action.KEEP, Action.SHIFT])
@pytest.mark.parametrize("tag", [0x0040A120, 0x0040A121, 0x0040A13A])
@pytest.mark.parametrize(
    ("raw", "new"),
    [
        (b"19610317", b"19610322"),
        (b"19610317101112", b"19610322101112"),
        (b"20190307\\19610317 ", b"20190319\\19610322 "),
        (b"99999999\\19610317 ", b"99999999\\19610322 "),
        (b"19630405", b"19000101"),
    ],
)
def test_a_content_item_never_tells_the_birth_date(action, tag, raw, new):
    assert written(action, "DT", raw, tag) == Replacement(new, "replaced")


def test_other_dates_of_a_content_item_are_of_the_action():
    assert written(Action.KEEP, "DA", b"20190307", CONTENT_DATE) == Replacement(b"20190307", "")
    assert written(Action.SHIFT, "DA", b"20190307", CONTENT_DATE) == Replacement(b"20190319", "replaced")


@pytest.mark.parametrize("action", [Action.KEEP, Action.SHIFT])
def test_a_known_day_elsewhere_is_a_date_like_another(action):
    new = b"19610317" if action is Action.KEEP else b"19610329"
    assert written(action, "DA", b"19610317").new == new


def test_digits_inside_a_longer_number_are_no_day():
    assert replacing.known_days_moved(b"2.19610317", knowledge().subject) == b""
    assert replacing.known_days_moved(b"119610317", knowledge().subject) == b""


# --- D: a dummy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "new"),
    [
        ("DA", b"19000101"),
        ("DT", b"19000101000000"),
        ("TM", b"000000"),
        ("AS", b"000Y"),
        ("DS", b"0 "),
        ("IS", b"0 "),
        ("LO", b"REMOVED "),
        ("PN", b"REMOVED "),
        ("UI", NEW_UID.encode() + b"\0" * (len(NEW_UID) % 2)),
        *((vr, bytes(4)) for vr in ("UL", "SL", "FL")),
        *((vr, bytes(2)) for vr in ("US", "SS", "OB", "OW", "UN", "OD", "OF", "OL", "OV")),
    ],
)
def test_a_dummy_is_a_valid_value_of_its_vr(vr, new):
    raw = OLD_UID.encode() if vr == "UI" else b"Wurmfarn"
    assert written(Action.DUMMY, vr, raw) == Replacement(new, "replaced")


# --- U: UIDs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "news"),
    [
        (OLD_UID.encode(), [NEW_UID]),
        (f"{OLD_UID}\0".encode(), [NEW_UID]),
        (f" {OLD_UID} ".encode(), [NEW_UID]),
        (f"{OLD_UID}\\{CT_STORAGE}\\".encode(), [NEW_UID, CT_STORAGE, ""]),
        (CT_STORAGE.encode() + b"\0", [CT_STORAGE]),
    ],
)
def test_every_uid_is_mapped_except_the_standards_own(raw, news):
    new, change, _ = written(Action.UID, "UI", raw)
    assert new is not None
    assert change == "replaced"
    assert new.rstrip(b"\0").decode().split("\\") == news
    assert len(new) % 2 == 0
    assert not new.endswith(b"\0\0")


@pytest.mark.parametrize(("old", "new"), [("", ""), (CT_STORAGE, CT_STORAGE), (OLD_UID, NEW_UID)])
def test_a_new_uid_is_that_of_the_secret(old, new):
    assert replacing.new_uid(old, SECRET) == new


def test_a_derived_name_is_short_and_the_same_for_the_same_old_one():
    new = uids.derived_name(SECRET, "Wurmfarn").encode()
    assert len(new) == 15
    assert written(Action.DERIVE, "SH", b"Wurmfarn\0").new == new + b" "
    assert written(Action.DERIVE, "SH", b" Wurmfarn ") == Replacement(new + b" ", "replaced")


# --- dates and ages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw", "new"),
    [
        ("DA", b"20190307", b"20190319"),
        ("DA", b"20190307\\20191231", b"20190319\\20200112 "),
        ("DA", b"2019.03.07 ", b"2019.03.19"),
        ("DA", b"20190307\\\\", b"20190319\\\\"),
        ("DA", b"20190307\0", b"20190319"),
        ("DT", b"20190307101112.5+0100 ", b"20190319101112.5+0100 "),
        ("DA", b"20190307101112", None),
        ("DA", b"20190307\\noon", None),
        ("DT", b"noon", None),
    ],
)
def test_dates_move_by_the_shift_of_the_patient(vr, raw, new):
    expected = Replacement(b"", "malformed") if new is None else Replacement(new, "replaced")
    assert written(Action.SHIFT, vr, raw) == expected


@pytest.mark.parametrize(
    ("raw", "emptied", "expected"),
    [
        (b"19610317", False, Replacement(b"19610322", "replaced")),
        (b"19610317", True, Replacement(b"", "emptied")),
        (b"unknown ", False, Replacement(b"", "malformed")),
        (b"unknown ", True, Replacement(b"", "malformed")),
        (b"1950", False, Replacement(b"", "emptied")),
        (b"195002", False, Replacement(b"", "emptied")),
        (b"1950.02.03", False, Replacement(b"", "emptied")),
        (b"1970/02/03", False, Replacement(b"", "malformed")),
        (b"19700203000000", False, Replacement(b"", "malformed")),
    ],
)
def test_a_birth_date_moves_by_its_own_shift_or_goes(raw, emptied, expected):
    known = knowledge(birth_date_emptied=emptied)
    assert replacing.replacement(Action.BIRTH_DATE, Value(0x00100030, "DA", raw), known) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"045Y", Replacement(b"045Y", "replaced")),
        (b"101Y", Replacement(b"090Y", "replaced")),
        (b"006M\0", Replacement(b"006M", "replaced")),
        (b"45  ", Replacement(b"", "malformed")),
    ],
)
def test_an_age_is_capped_or_goes(raw, expected):
    assert written(Action.AGE, "AS", raw) == expected


# --- C: texts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"T2 liver", (b"T2 liver", "")),
        (b"T2 liver \0", (b"T2 liver \0", "")),
        (b"T2 liver wurmfarn", (b"T2 liver", "cleaned", "wurmfarn")),
        (b"Quetzaltenango T2 liver ", (b"T2 liver", "cleaned")),
        (b"liver\\wurmfarn\\T2", (b"liver\\\\T2 ", "cleaned", "wurmfarn")),
        (b"T2 wurmfarn\\zwetschge", (b"T2\\ ", "cleaned", "wurmfarn", "zwetschge")),
    ],
)
def test_a_description_keeps_the_words_that_are_allowed(raw, expected):
    assert told(written(Action.CLEAN, "LO", raw, DESCRIPTION)) == expected


def test_a_description_of_which_no_word_may_stay_becomes_what_the_table_says():
    assert told(written(Action.CLEAN, "LO", b"wurmfarn", DESCRIPTION)) == (None, "removed", "wurmfarn")
    assert told(written(Action.CLEAN, "LO", b"wurmfarn", ANY)) == (b"REMOVED ", "replaced", "wurmfarn")


def test_a_cleaned_description_stays_in_its_character_set():
    raw = "Müller Schädel ".encode("latin_1")
    known = knowledge()
    kept = Knowledge(known.profile, SECRET, known.subject, Vocabulary(["Schädel"]), known.matcher)
    value = Value(DESCRIPTION, "LO", raw, b"ISO_IR 100")
    new = replacing.replacement(Action.CLEAN, value, kept)
    assert told(new) == ("Schädel ".encode("latin_1"), "cleaned", "muller")


@pytest.mark.parametrize(
    ("raw", "retained", "new"),
    [
        (b"Wurmfarn", False, b"Wurmfarn"),
        (b"of Quetzaltenango", False, b"of  "),
        (b"Quetzaltenango\\of Ysolde", False, b"\\of "),
        (b"Quetzaltenango\\Ysolde", False, b"REMOVED "),
        (b"Quetzaltenango \0", False, b"REMOVED "),
        (b"v1 of " + OLD_UID.encode(), False, b"v1 of " + IN_PLACE),
        (b"v1 of " + OLD_UID.encode(), True, b"v1 of " + OLD_UID.encode()),
    ],
)
def test_a_text_that_stays_names_neither_the_patient_nor_an_old_uid(raw, retained, new):
    value = Value(0x00181020, "LO", raw)
    result = replacing.replacement(Action.CHECK, value, knowledge(Options(retain_uids=retained)))
    assert result == Replacement(new, "cleaned")


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw", "days", "moved"),
    [
        ("DA", b"20190307", 0, "20190307"),
        ("DA", b" 20190307 \0", 1, "20190308"),
        ("DA", b"", 1, ""),
        ("DA", b"20190307\\", 1, "20190308\\"),
        ("DT", b"20190307101112", 1, "20190308101112"),
        ("DA", b"20190307101112", 1, None),
        ("DA", b"20190307\\x", 1, None),
    ],
)
def test_shifted_moves_every_date_or_none(vr, raw, days, moved):
    assert replacing.shifted(vr, raw, days) == moved


@pytest.mark.parametrize(("text", "raw"), [("", b""), ("ab", b"ab"), ("abc", b"abc "), ("ü", b"? ")])
def test_padded_is_ascii_of_even_length(text, raw):
    assert replacing.padded(text) == raw


@pytest.mark.parametrize(
    ("text", "charset", "raw"),
    [("a", b"", b"a "), ("ü", b"ISO_IR 100", b"\xfc "), ("üb", b"", b"\xc3\xbcb ")],
)
def test_encoded_is_of_even_length(text, charset, raw):
    assert replacing.encoded(text, b"", charset) == raw
