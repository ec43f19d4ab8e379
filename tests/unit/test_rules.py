"""What becomes of an element by its tag, its VR and its place; and what is remembered of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pacsifier.deidentify.engine import rules, uids
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.elements import Scope
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.profile import Options, Profile
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.dicom.part10 import CODINGS

SECRET = b"a secret of the tests, 32 bytes!"
CT, PRESENTATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.11.1"
CREATOR = "Philips Imaging DD 001"
OLD_UID = "1.2.826.0.1.3680043.9.7777.1"
# By the profile: a text, a number, a date that are kept; a description; a name; an identifier that goes.
KEPT, NUMBER, DATE, DESCRIPTION = 0x00181020, 0x00280010, 0x00080020, 0x0008103E
NAME, GONE, PIXELS = 0x00080090, 0x00101000, 0x7FE00010
REFERENCED_REQUEST, STUDY, PLACER = 0x0040A370, 0x00081110, 0x00401001
LITTLE, BIG = CODINGS[False, False], CODINGS[False, True]


def made(options: Options | None = None, sop_class: str = CT) -> Rules:
    known = Identifiers()
    known.add_name("Quetzaltenango^Ysolde")
    who = Subject("somebody", "P0001", 12, 5, False, known)
    visitor = Rules(Profile(options or Options()), SECRET, who, Vocabulary())
    visitor.start(sop_class)
    return visitor


def scope(parent: int = 0, creators: dict[int, str] | None = None) -> Scope:
    return Scope(parent, b"", creators or {})


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "vr", "raw", "new", "change"),
    [
        (0x00100020, "LO", b"PZ8841177 ", b"P0001 ", "replaced"),
        (0x00100010, "PN", b"Somebody", b"P0001^sub ", "replaced"),
        (0x00100030, "DA", b"19610317", b"19610322", "replaced"),
        (NAME, "PN", b"Somebody", b"", "emptied"),
        (GONE, "LO", b"Wurmfarn", None, "removed"),
        (KEPT, "LO", b"Wurmfarn", b"Wurmfarn", ""),
        (KEPT, "LO", b"of Ysolde ", b"of  ", "cleaned"),
        (DESCRIPTION, "LO", b"T2 wurmfarn ", b"T2", "cleaned"),
        (DATE, "DA", b"20190307", b"20190307", ""),
        (DATE, "DA", b"somewhen", b"", "malformed"),
        # Whatever is empty stays so, except what goes and the pseudonym.
        (NAME, "PN", b" \0", b" \0", ""),
        (DATE, "DA", b"  ", b"  ", ""),
        (GONE, "LO", b"", None, "removed"),
        (0x00100020, "LO", b"", b"P0001 ", "replaced"),
        (0x00100010, "PN", b"", b"P0001^sub ", "replaced"),
    ],
)
def test_a_public_value_becomes_what_the_profile_says(tag, vr, raw, new, change):
    visitor = made()
    assert visitor.value(tag, vr, raw, scope()) == new
    assert visitor.notes() == ([(change, tag)] if change else [])


@pytest.mark.parametrize(
    ("tag", "vr", "raw", "new"),
    [
        # A VR that the element cannot have, of a value that could hide a text in it.
        (0x00082218, "LO", b"Wurmfarn", b""),  # a sequence
        (0x00082218, "OB", b"Wurmfarn", b""),
        (PIXELS, "LO", b"Wurmfarn", b""),  # OB or OW
        (PIXELS, "UL", b"\1\0\0\0", b"\1\0\0\0"),
        (PIXELS, "UN", b"\1\0\0\0", b"\1\0\0\0"),
        (NUMBER, "LO", b"Wurmfarn", b""),  # US
        (NUMBER, "OB", b"\1\0", b""),
        (NUMBER, "UL", b"\1\0\0\0", b"\1\0\0\0"),
        (NUMBER, "UN", b"\1\0", b"\1\0"),
        # One text under the VR of another is what the dictionary says.
        (NAME, "LO", b"Somebody", b""),
        (0x00100010, "UT", b"Somebody", b"P0001^sub "),
        (0x00180050, "LO", b"Wurmfarn", b""),  # DS
        (0x00180050, "LO", b"1.5 ", b"1.5 "),
        (DATE, "LO", b"Wurmfarn", b""),
        # Known by no dictionary.
        (0x00089998, "LO", b"T2 wurmfarn ", b"T2"),
        (0x00089998, "OB", b"Wurmfarn", None),
    ],
)
def test_a_text_cannot_hide_under_another_vr(tag, vr, raw, new):
    assert made().value(tag, vr, raw, scope()) == new


@pytest.mark.parametrize("parent", [0x00080082, 0x00401101])
@pytest.mark.parametrize(
    ("tag", "vr", "raw", "new"),
    [
        (0x00080104, "LO", b"Spitalheim", b"REMOVED "),
        (0x00080100, "SH", b"SPH1", b"REMOVED "),
        (0x0008010B, "CS", b"Y ", b"Y "),
    ],
)
def test_codes_of_an_institution_or_a_person_become_dummies(parent, tag, vr, raw, new):
    visitor = made(Options(retain_institution=True))
    assert visitor.value(tag, vr, raw, scope(parent)) == new
    assert visitor.value(tag, vr, raw, replace(scope(), scheme=b"SCT")) == raw


@pytest.mark.parametrize(
    ("parent", "new"), [(REFERENCED_REQUEST, b""), (REFERENCED_REQUEST + 1, None), (0, None)]
)
def test_what_a_report_needs_there_is_emptied_and_not_removed(parent, new):
    assert made().value(PLACER, "SH", b"Wurmfarn", scope(parent)) == new


@pytest.mark.parametrize("tag", [0x00700082, 0x00700083])
@pytest.mark.parametrize(("sop_class", "there"), [(PRESENTATION, True), (CT, False)])
def test_the_creation_of_a_presentation_state_stays_there_as_a_dummy(tag, sop_class, there):
    visitor = made(Options(basic=True), sop_class)
    vr = "DA" if tag == 0x00700082 else "TM"
    new = visitor.value(tag, vr, b"20190307" if vr == "DA" else b"101112", scope())
    assert new == ((b"19000101" if vr == "DA" else b"000000") if there else None)


def test_other_elements_of_a_presentation_state_are_removed_as_everywhere():
    assert made(sop_class=PRESENTATION).value(GONE, "LO", b"Wurmfarn", scope()) is None
    assert made(sop_class=PRESENTATION).value(DATE, "DA", b"20190307", scope()) == b"20190307"


def test_what_does_not_change_is_the_same_object():
    """By that the walker knows that the bytes of the file can go over as they are."""
    visitor = made()
    for raw in (bytes(bytearray(b"Wurmfarn")), bytes(bytearray(b"Wurmfarn"))):
        assert visitor.value(KEPT, "LO", raw, scope()) is raw
        assert visitor.value(0x00771001, "LO", raw, scope()) is raw


def test_the_same_value_in_another_place_is_decided_anew():
    visitor = made()
    assert visitor.value(0x00080104, "LO", b"Head", scope()) == b"Head"
    assert visitor.value(0x00080104, "LO", b"Head", scope(0x00401101)) == b"REMOVED "
    assert visitor.value(0x00080104, "LO", b"Head", scope()) == b"Head"


@pytest.mark.parametrize(("creators", "stays"), [({0x200110: CREATOR}, True), ({0x200111: CREATOR}, False)])
def test_a_private_value_stays_by_the_creator_of_its_block(creators, stays):
    visitor = made(Options(safe_private=True))
    raw = b"\1\2\3\4"
    assert visitor.value(0x20011003, "FL", raw, scope()) is None
    assert visitor.value(0x20011003, "FL", raw, scope(0, creators)) == (raw if stays else None)
    # The creators of private blocks say nothing of a public element.
    assert visitor.value(0x20001003, "FL", raw, scope(0, creators)) == visitor.value(
        0x20001003, "FL", raw, scope()
    )


def test_a_private_text_is_overwritten_and_a_public_description_cleaned():
    visitor = made()
    assert visitor.value(0x00771001, "LO", b"of Ysolde ", scope()) == b"of XXXXXX "
    assert visitor.notes() == [("cleaned", 0x00771001)]


def test_a_uid_is_mapped_and_the_standards_own_stays():
    visitor = made()
    new = uids.new_uid(SECRET, OLD_UID)
    assert visitor.new_uid(OLD_UID) == new
    assert visitor.new_uid(CT) == CT
    assert visitor.value(0x0020000D, "UI", OLD_UID.encode(), scope()).rstrip(b"\0") == new.encode()


def test_a_known_identifier_is_found_in_bytes():
    assert made().names_somebody(b"\xff\xd8 quetzaltenango")
    assert not made().names_somebody(b"\xff\xd8 somebody else")


# --- sequences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "raw", "parent", "descends", "change"),
    [
        (0x00082218, b"items", 0, True, ""),  # its items are de-identified
        (0x00082218, b"", 0, False, ""),
        (0x00081120, b"items", 0, None, "removed"),  # X
        (0x00081120, b"", 0, None, "removed"),
        (0x00081110, b"items", 0, None, "removed"),  # X/Z, of type 2 in one place
        (STUDY, b"items", REFERENCED_REQUEST, b"", "emptied"),
        (STUDY, b"", REFERENCED_REQUEST, False, ""),
        (0x00081111, b"items", REFERENCED_REQUEST, True, ""),
        (0x00771001, b"items", 0, True, ""),
        (0x00771001, b"", 0, True, ""),
    ],
)
def test_a_sequence_goes_or_its_items_are_looked_at(tag, raw, parent, descends, change):
    visitor = made()
    decided = visitor.descends(tag, "SQ", raw, scope(parent))
    assert decided == descends
    assert type(decided) is type(descends)
    assert visitor.notes() == ([(change, tag)] if change else [])


def test_a_sequence_of_type_2_is_emptied():
    options = Options(basic=True)
    visitor = made(options)
    emptied = [
        tag
        for tag in (0x00081072, 0x00080096, 0x00321064, 0x00400555)
        if Profile(options).action(tag, "SQ").name == "EMPTY"
    ]
    assert emptied
    assert visitor.descends(emptied[0], "SQ", b"items", scope()) == b""
    assert visitor.descends(emptied[0], "SQ", b"", scope()) is False
    assert visitor.notes() == [("emptied", emptied[0])]


@pytest.mark.parametrize(
    ("options", "creators", "descends"),
    [
        (Options(remove_private=True), {}, None),
        (Options(safe_private=True), {}, None),
        (Options(safe_private=True), {0x200110: CREATOR}, True),
    ],
)
def test_a_private_sequence_goes_as_its_block_does(options, creators, descends):
    visitor = made(options)
    assert visitor.descends(0x20011003, "SQ", b"items", scope(0, creators)) is descends
    assert visitor.notes() == ([] if descends else [("removed", 0x20011003)])


# --- what is never looked at, and what is too large ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "raw_vr", "plain"),
    [
        (NUMBER, b"US", True),
        (NUMBER, b"", True),
        (NUMBER, b"UL", True),
        (NUMBER, b"LO", False),
        (NUMBER, b"UN", False),
        (0x00180050, b"DS", False),
        (0x00180050, b"", False),
        (0x00189073, b"FD", True),
        (0x00280009, b"AT", True),
        (KEPT, b"US", False),
        (0x00280000, b"UL", False),
        (0x00770000, b"UL", False),
        (0x00771001, b"US", False),
        (0x60000010, b"US", False),  # overlays go
    ],
)
def test_only_public_numbers_are_never_looked_at(tag, raw_vr, plain):
    visitor = made()
    assert visitor.is_plain(tag, raw_vr) is plain
    assert visitor.is_plain(tag, raw_vr) is plain


@pytest.mark.parametrize(
    ("options", "tag", "vr", "source", "keeps"),
    [
        (Options(), 0x00281201, "OW", b"Ysolde Quetzaltenango", True),
        (Options(), 0x00281201, "LT", b"numbers", False),
        (Options(), 0x00089999, "OB", b"numbers", False),  # known by nobody
        (Options(), 0x00771001, "OB", b"numbers", True),
        (Options(), 0x00771001, "LT", b"numbers", True),
        (Options(), 0x00771001, "OB", b"of Quetzaltenango", False),
        (Options(remove_private=True), 0x00771001, "OB", b"numbers", False),
        (Options(safe_private=True), 0x20011003, "OB", b"numbers", False),
    ],
)
def test_a_value_too_large_to_be_held_stays_only_where_it_needs_no_change(options, tag, vr, source, keeps):
    visitor = made(options)
    assert visitor.keeps_large(tag, vr, source, 0, len(source)) is keeps
    assert visitor.notes() == ([] if keeps else [("removed", tag)])


# --- the memory ---------------------------------------------------------------------------------------------------


def test_each_file_has_notes_of_its_own_and_a_remembered_value_is_noted_again():
    visitor = made()
    visitor.value(GONE, "LO", b"Wurmfarn", scope())
    first = visitor.notes()
    visitor.start(CT)
    assert visitor.notes() == []
    visitor.value(GONE, "LO", b"Wurmfarn", scope())
    assert first == visitor.notes() == [("removed", GONE)]


def test_dropped_words_are_collected_once_with_their_tag():
    visitor = made()
    for _ in range(2):
        visitor.value(DESCRIPTION, "LO", b"T2 wurmfarn zwetschge", scope())
        visitor.value(0x00081030, "LO", b"zwetschge ", scope())
    visitor.value(KEPT, "LO", b"Wurmfarn", scope())
    told = visitor.told()
    assert [(tag, remark.word, remark.stays) for tag, remark in told.remarks] == [
        (DESCRIPTION, "wurmfarn", False),
        (DESCRIPTION, "zwetschge", False),
        (0x00081030, "zwetschge", False),
    ]
    assert list(told.texts) == [
        (DESCRIPTION, "T2 wurmfarn zwetschge", "T2"),
        (0x00081030, "zwetschge", ""),
    ]
    assert not visitor.told().remarks


def test_elements_are_remembered_apart_by_what_they_are_encoded_in():
    visitor = made()
    memory = visitor.memory(LITTLE, b"", "")
    visitor.remember(memory, b"whole", (b"new", (("cleaned", KEPT),)))
    assert visitor.memory(LITTLE, b"", "") == {b"whole": (b"new", (("cleaned", KEPT),))}
    for other in ((BIG, b"", ""), (LITTLE, b"ISO_IR 100", ""), (LITTLE, b"", CREATOR)):
        assert visitor.memory(*other) == {}


@pytest.mark.parametrize(("sop_class", "forgets"), [(CT, False), (PRESENTATION, True)])
def test_a_class_of_its_own_is_decided_anew(sop_class, forgets):
    visitor = made()
    visitor.remember(visitor.memory(LITTLE, b"", ""), b"whole", (b"new", ()))
    visitor.start(sop_class)
    assert (visitor.memory(LITTLE, b"", "") == {}) is forgets


def _filled(visitor: Rules, number: int, length: int) -> None:
    memory = visitor.memory(LITTLE, b"", "")
    for each in range(number):
        visitor.remember(memory, each.to_bytes(length, "big"), (b"", ()))


@pytest.mark.parametrize("over", [0, 1])
def test_the_memory_is_emptied_above_its_limit_and_then_counts_from_zero(over):
    """16 MB: each element by twice its length and 400 bytes."""
    visitor = made()
    _filled(visitor, 2047, 3896)  # 8192 bytes each
    _filled(visitor, 1, 3896 + over)
    visitor.start(CT)
    assert (visitor.memory(LITTLE, b"", "") == {}) is bool(over)
    _filled(visitor, 2048, 3896)
    visitor.start(CT)
    assert (visitor.memory(LITTLE, b"", "") == {}) is (not over)


def test_values_count_by_their_length_and_400_bytes_unless_they_are_too_long_to_be_kept():
    visitor = made()
    table = 0x00281201
    visitor.remember(visitor.memory(LITTLE, b"", ""), b"", (b"", ()))  # 400 bytes
    for number in range(1952):
        visitor.value(table, "OW", number.to_bytes(8192, "big"), scope())
    visitor.value(table, "OW", bytes(8193), scope())
    visitor.value(table, "OW", bytes(4832), scope())  # makes 16 MB
    visitor.start(CT)
    assert visitor.memory(LITTLE, b"", "") != {}
    visitor.value(table, "OW", b"xy", scope())
    visitor.start(CT)
    assert visitor.memory(LITTLE, b"", "") == {}


def test_the_kinds_of_changes_are_those_of_the_report():
    assert rules.CHANGES == ("removed", "emptied", "replaced", "cleaned", "malformed")


def test_many_large_values_are_searched_as_the_first_of_them():
    known = Identifiers(days={"20190307"})
    known.add_id("4711471147")
    known.add_name("Brunnenmeister^Adelheid^Brunn")
    chance = random.Random(17)
    parts = (b"Brunnenmeister", b"ADELHEID", b"4711471147", b"20190307", b"120000", b"9", b" ", bytes(3000))
    raws = [b"".join(chance.choice(parts) for _ in range(60)) for _ in range(120)]
    assert sum(len(raw) > 1 << 14 for raw in raws) > 60
    needles = Matcher(known, {}).needles
    assert [needles.masked(raw) for raw in raws] == [Matcher(known, {}).mask_bytes(raw) for raw in raws]
