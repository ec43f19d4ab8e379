"""Short names and IDs in bytes go where they are a word of a text; names with umlauts in every part and encoding."""

from __future__ import annotations

import csv
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from tests.deid.test_constants import image, private, written

CREATOR = "ACME 1.0"


def machine(*names: str, ids: tuple[str, ...] = ()) -> Matcher:
    known = Identifiers()
    for name in names:
        known.add_name(name)
    for each in ids:
        known.add_id(each)
    return Matcher(known, {}, typed=False)


@pytest.mark.parametrize(
    ("raw", "goes"),
    [
        (b"\0\1Meyer\0Ida\0", True),
        (b"\0\1operator Meyer, Ida\0", True),
        (b"name=MEYER;x=1", True),
        (b"\0\1patient is_meyer_\0", True),
        (b"\0\1ID A123 of the study\0", True),
        ("\0\1Meyer\0".encode("utf_16_le"), True),
        ("von A123 an".encode("utf_16_be"), True),
        # Parts of other words, chance, and what nobody spells so.
        (b"\0\1the Meyers went\0", False),
        (b"\0\1Niedermeyer is here\0", False),
        (b"\0\1mEyER in some text\0", False),
        (b"\0\1A123\0\2", False),
        (b"\0\1xy A123\0\2", False),
        (b"\0\1q Meyer\0", False),
        (b"\0\1the A1234 of the study\0", False),
        (b"\0\1\xfcMeyer of the study\0", False),
        ("Meyers".encode("utf_16_le"), False),
    ],
)
def test_a_short_word_goes_from_bytes_as_a_word_of_a_text(raw, goes):
    known = machine("Meyer^Ida", ids=("A123",))
    masked = known.mask_bytes(raw)
    assert len(masked) == len(raw)
    assert (masked != raw) == goes


@given(st.from_regex(r"[a-z]{4,5}", fullmatch=True), st.integers(0, 1 << 30))
def test_a_short_word_is_not_met_in_noise(word, seed):
    noise = random.Random(seed).randbytes(1 << 15)
    assert machine(ids=(word,)).mask_bytes(noise) is noise


@pytest.mark.parametrize(
    "word", ["Müller", "Lüdenscheidt", "Jörg", "MÜLLER", "JÖRG", "lüdenscheidt", "Müller-Lüdenscheidt"]
)
@pytest.mark.parametrize("encoding", ["latin_1", "utf_8", "utf_16_le", "utf_16_be"])
def test_every_part_of_a_name_with_umlauts_goes_from_bytes(word, encoding):
    for text in (f" Herr {word} war hier ", f"Müller {word}"):
        raw = b"\0\1" + text.encode(encoding) + b"\0\1"
        masked = machine("Müller-Lüdenscheidt^Jörg").mask_bytes(raw)
        assert len(masked) == len(raw)
        assert word.encode(encoding) not in masked


@pytest.mark.parametrize("name", ["Head^Spin", "Body^Echo", "Hand^Ida", "Neck^Ida", "Flow^Ida", "Coil^Ida"])
@pytest.mark.parametrize("encoding", ["latin_1", "utf_16_le"])
def test_what_machines_call_the_coil_stays_in_bytes_whoever_the_patient_is(name, encoding):
    family = name.partition("^")[0]
    text = f'sCoilID = "{family}_32", {family.upper()} {family.lower()} of the scanner'.encode(encoding)
    assert machine(name).mask_bytes(text) is text


@pytest.mark.parametrize("text", ["A1234567", "A 123 45 67", "a-123-4567", "A 1234567", "A.12.34.567"])
def test_an_id_goes_however_its_digits_are_grouped(text):
    known = machine(ids=("A1234567",))
    assert "4" not in known.masked(f"of {text} x")
    for other in (f"1{text}"[:-1], f"{text}8", "A 123 45", "MR01 12"):
        assert known.masked(other) == other


def test_the_proof_says_what_it_cannot_look_for_in_bytes(tmp_path):
    ds = image(PatientName="Meyer^Ida", PatientID="4711")
    private(ds, 0x2005, CREATOR, 0x10, "OB", b"\0\1operator Meyer\0\1\2")
    after = written(ds, tmp_path)
    assert b"Meyer" not in after[0x20051010].value
    with (tmp_path / "out.verify_report.csv").open(encoding="utf-8") as handle:
        told = [row["what"].partition(": ")[2] for row in csv.DictReader(handle)]
    assert "searched in bytes only as a word of a text, too short (5 characters)" in told
    assert "not searched in bytes, too short (4 characters)" in told
    assert "not searched, too short (3 characters)" in told
