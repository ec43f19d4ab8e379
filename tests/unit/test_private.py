"""Private elements: which stay, and what is overwritten in those that do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.deidentify.engine import private, uids
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.profile import Options, Profile
from pacsifier.deidentify.engine.replacing import Knowledge, Replacement, Value
from pacsifier.deidentify.engine.subject import Subject

SECRET = b"a secret of the tests, 32 bytes!"
NAME, BIRTH_DATE, NUMBER = "Quetzaltenango^Ysolde", "19610317", "884117"
OLD_UID = "1.2.826.0.1.3680043.9.7777.1"
NEW_UID = uids.new_uid(SECRET, OLD_UID)
IN_PLACE = uids.same_length_uid(SECRET, OLD_UID)
# Of the safe list: the creator, an element of its block, and one that is not on the list.
CREATOR, CREATOR_TAG, SAFE, UNSAFE = "Philips Imaging DD 001", 0x20010010, 0x20011003, 0x200110FE
MASKED, GONE, ANY = Options(), Options(remove_private=True), 0x00771001
SAFE_ONLY = Options(safe_private=True)
CHUNK = 1 << 20


def knowledge(options: Options = MASKED) -> Knowledge:
    known = Identifiers()
    known.add_name(NAME)
    known.add_id(NUMBER)
    known.add_id("5432")
    known.days.add(BIRTH_DATE)
    moved = {BIRTH_DATE: "19610322"}
    who = Subject("somebody", "P0001", 12, 5, False, known, moved)
    return Knowledge(Profile(options), SECRET, who, Vocabulary(), Matcher(known, moved))


def written(
    vr: str, raw: bytes, options: Options = MASKED, *, tag: int = ANY, creator: str = "", charset: bytes = b""
) -> Replacement:
    return private.replacement(Value(tag, vr, raw, charset), creator, knowledge(options))


@pytest.mark.parametrize(
    ("tag", "creator", "options", "barred"),
    [
        (ANY, "", MASKED, False),
        (ANY, "", GONE, True),
        (0x00770010, "", GONE, True),
        (0x00770000, "", MASKED, True),
        (0x00070010, "", MASKED, True),
        (0x00090010, "", MASKED, False),
        (SAFE, CREATOR, SAFE_ONLY, False),
        (SAFE | 0xF000, CREATOR, SAFE_ONLY, False),
        (UNSAFE, CREATOR, SAFE_ONLY, True),
        (SAFE, "", SAFE_ONLY, True),
        (SAFE, "Another", SAFE_ONLY, True),
        (SAFE - 0x00020000, CREATOR, SAFE_ONLY, True),
        (CREATOR_TAG, "", SAFE_ONLY, False),
        (CREATOR_TAG + 1, "", SAFE_ONLY, False),
        (SAFE, CREATOR, Options(safe_private=True, remove_private=True), True),
    ],
)
def test_an_element_stays_by_the_options_and_the_safe_list(tag, creator, options, barred):
    assert private.is_barred(tag, creator, options) is barred


@pytest.mark.parametrize(("tag", "odd"), [(0x00090010, True), (0x00080011, False), (0x00091001, True)])
def test_a_group_of_an_odd_number_is_private(tag, odd):
    assert private.is_private(tag) is odd


@pytest.mark.parametrize(
    ("tag", "raw", "options", "stays"),
    [
        (CREATOR_TAG, CREATOR.encode(), SAFE_ONLY, True),
        (CREATOR_TAG, f"{CREATOR} \0".encode(), SAFE_ONLY, True),
        (CREATOR_TAG, b"Another ", SAFE_ONLY, False),
        (0x00770010, CREATOR.encode(), SAFE_ONLY, False),
        (CREATOR_TAG, b"Another ", MASKED, True),
        (CREATOR_TAG, CREATOR.encode(), GONE, False),
        (SAFE, b"Another ", SAFE_ONLY, True),
    ],
)
def test_the_creator_of_a_block_stays_where_something_of_it_may(tag, raw, options, stays):
    expected = (raw, "cleaned") if stays else (None, "removed")
    assert written("LO", raw, options, tag=tag, creator=CREATOR)[:2] == expected


@pytest.mark.parametrize(
    ("options", "vr", "raw", "expected"),
    [
        (MASKED, "DA", b"20190307", Replacement(b"20190307", "")),
        (MASKED, "DA", b"somewhen", Replacement(b"", "malformed")),
        (MASKED, "DT", b"20190307101112", Replacement(b"20190307101112", "")),
        (MASKED, "DA", b"19610317", Replacement(b"19610322", "replaced")),
        (Options(fuzz_dates=True), "DA", b"20190307", Replacement(b"20190319", "replaced")),
        (Options(fuzz_dates=True), "DT", b"20190307101112", Replacement(b"20190319101112", "replaced")),
        (Options(fuzz_dates=True), "DA", b"19610317", Replacement(b"19610322", "replaced")),
        (Options(basic=True), "DA", b"20190307", Replacement(b"", "emptied")),
        (Options(basic=True, fuzz_dates=True), "DA", b"20190307", Replacement(b"20190319", "replaced")),
    ],
)
def test_dates_are_those_of_the_options(options, vr, raw, expected):
    assert written(vr, raw, options) == expected


@pytest.mark.parametrize(
    ("vr", "raw", "expected"),
    [
        ("PN", b"Somebody", Replacement(b"", "emptied")),
        ("LO", b"of Quetzaltenango ", Replacement(b"of XXXXXXXXXXXXXX ", "cleaned")),
        ("SH", b"born 19610317 ", Replacement(b"born 19610322 ", "cleaned")),
        ("UT", f"see {OLD_UID}".encode(), Replacement(f"see {IN_PLACE}".encode(), "cleaned")),
        ("AE", b"YSOLDE", Replacement(b"XXXXXX", "cleaned")),
        ("CS", b"YSOLDE", Replacement(b"XXXXXX", "cleaned")),
        ("TM", b"YSOLDE", Replacement(b"XXXXXX", "cleaned")),
        ("AS", b"YSOLDE", Replacement(b"XXXXXX", "cleaned")),
        ("DS", b"YSOLDE", Replacement(b"XXXXXX", "cleaned")),
        ("IS", b"YSOLDE", Replacement(b"XXXXXX", "cleaned")),
        ("FD", b"YSOLDE", Replacement(b"YSOLDE", "")),
        ("US", b"YSOLDE", Replacement(b"YSOLDE", "")),
    ],
)
def test_known_identifiers_are_overwritten_at_equal_length(vr, raw, expected):
    assert written(vr, raw) == expected


@pytest.mark.parametrize(
    ("vr", "raw", "new"),
    [
        ("DS", b"1.5\\884117", b"1.5\\0 "),
        ("IS", b"884117", b"0 "),
        ("IS", b"19610317", b"19610322"),
        ("IS", b"884117\\5432 ", b"0\\0 "),
        ("IS", b"5432", b"5432"),
        ("IS", b"8841171 ", b"8841171 "),
        ("DS", b" 884117 \0", b"0 "),
        ("DS", b"1.5\\2 ", b"1.5\\2 "),
    ],
)
def test_a_number_that_is_an_identifier_as_a_whole_goes_and_a_measure_stays(vr, raw, new):
    assert written(vr, raw) == Replacement(new, "cleaned")


@pytest.mark.parametrize("vr", ["LO", "OB"])
def test_a_changed_text_stays_in_its_character_set(vr):
    raw = "Schädel Quetzaltenango".encode("latin_1")
    new = "Schädel XXXXXXXXXXXXXX".encode("latin_1")
    assert written(vr, raw, charset=b"ISO_IR 100") == Replacement(new, "cleaned")


def test_uids_are_mapped_and_stay_where_they_are_retained():
    raw = OLD_UID.encode()
    assert written("UI", raw) == Replacement(NEW_UID.encode() + b"\0" * (len(NEW_UID) % 2), "replaced")
    assert written("UI", raw, Options(retain_uids=True)) == Replacement(raw, "")
    assert written("LO", raw, Options(retain_uids=True)) == Replacement(raw, "cleaned")
    assert written("OB", raw, Options(retain_uids=True)) == Replacement(raw, "cleaned")


# --- of unknown structure -----------------------------------------------------------------------------------------

SHORT = b"of Ysolde, 5432 "  # "5432" is too short to be looked for in bytes, and found in text


@pytest.mark.parametrize(
    ("raw", "new"),
    [
        (b"\0\1Quetzaltenango\2", b"\0\1XXXXXXXXXXXXXX\2"),
        (f"\1{OLD_UID}\2".encode(), f"\1{IN_PLACE}\2".encode()),
        (SHORT, b"of XXXXXX, XXXX "),
        (SHORT + b"\0\0", b"of XXXXXX, XXXX \0\0"),
        (b"\t\n\r\x1b" + SHORT, b"\t\n\r\x1bof XXXXXX, XXXX "),
        (b"\x1f" + SHORT, b"\x1fof XXXXXX, 5432 "),
        (b"\x08" + SHORT, b"\x08of XXXXXX, 5432 "),
        (b"\0 \0", b"\0 \0"),
        (b"x" * 1007 + b" " + SHORT, b"x" * 1007 + b" of XXXXXX, XXXX "),
        (b"x" * 1008 + b" " + SHORT, b"x" * 1008 + b" of XXXXXX, 5432 "),
    ],
)
@pytest.mark.parametrize("vr", ["OB", "OW", "UN", "OD", "OF", "OL", "OV"])
def test_no_byte_moves_in_a_value_of_unknown_structure(vr, raw, new):
    assert len(new) == len(raw)
    assert written(vr, raw) == Replacement(new, "cleaned")


def test_a_text_of_unknown_structure_whose_length_would_change_stays_as_the_bytes_say():
    """An odd text would be padded: a byte more."""
    assert written("OB", b"of 5432") == Replacement(b"of 5432", "cleaned")
    assert written("OB", b"of: 5432") == Replacement(b"of: XXXX", "cleaned")


PLAIN = re.compile(
    rb"(?<![0-9.])(?:2\.25\.[1-9][0-9]{15,38}|[0-2](?:\.(?:0|[1-9][0-9]{0,38})){5,})(?![0-9]|\.[0-9])"
)


@given(st.text("0125..a", min_size=5, max_size=60))
def test_uids_are_found_as_their_definition_says_it_plainly(text):
    raw = text.encode()
    assert [each.span() for each in uids.IN_BYTES.finditer(raw)] == [
        each.span() for each in PLAIN.finditer(raw)
    ]


# --- too large to be held -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 5, CHUNK - 7, CHUNK, 2 * CHUNK - 7, 2 * CHUNK + 40])
@pytest.mark.parametrize("what", [b"QUETZALTENANGO", OLD_UID.encode()])
def test_a_known_word_is_found_wherever_it_stands_in_a_large_value(what, at):
    size = 2 * CHUNK + 100
    source = b" " * 10 + b" " * at + what + b" " * (size - at - len(what)) + b"Ysolde"
    assert private.holds_known(source, 10, 10 + size, knowledge())


def test_what_stands_beside_a_large_value_is_not_in_it():
    source = b"Ysolde" + b" " * (CHUNK + 5) + b"Ysolde"
    assert not private.holds_known(source, 6, len(source) - 6, knowledge())
    assert private.holds_known(source, 6, len(source), knowledge())
    assert private.holds_known(source, 0, len(source) - 6, knowledge())


def test_a_uid_in_a_large_value_stays_where_uids_are_retained():
    source = b" " * 100 + OLD_UID.encode()
    assert not private.holds_known(source, 0, len(source), knowledge(Options(retain_uids=True)))


def test_a_large_value_is_never_held_as_a_whole():
    longest = 0

    class Source(bytes):
        def __getitem__(self, part):
            nonlocal longest
            longest = max(longest, part.stop - part.start)
            return super().__getitem__(part)

    private.holds_known(Source(2 * CHUNK + 1), 0, 2 * CHUNK + 1, knowledge())
    assert CHUNK <= longest <= CHUNK + 256
