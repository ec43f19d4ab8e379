"""Of Siemens' CSA headers only listed numbers get through, and readers still read them."""

import struct

import pytest

from pacsifier.deidentify.engine import csa


def header(elements: dict[str, tuple[str, list[str]]], *, behind: bytes = b"", items: int = 6) -> bytes:
    """A header of version SV10, as scanners write it."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(elements), 77)
    for name, (vr, values) in elements.items():
        number = max(len(values), items)
        out += name.encode().ljust(64, b"\0") + struct.pack("<I", len(values)) + vr.encode().ljust(4, b"\0")
        out += struct.pack("<III", 3, number, 77)
        for text in [*values, *[""] * (number - len(values))]:
            raw = text.encode() + b"\0" if text else b""
            out += struct.pack("<IIII", len(raw), len(raw), 77, len(raw)) + raw.ljust(
                (len(raw) + 3) // 4 * 4, b"\0"
            )
    return out + behind


NUMBERS = {
    "NumberOfImagesInMosaic": ("US", ["64"]),
    "BandwidthPerPixelPhaseEncode": ("FD", ["23.14800000"]),
    "DiffusionGradientDirection": ("FD", ["0.00000000", "-0.60000000", "0.80000000"]),
    "PhaseEncodingDirectionPositive": ("IS", ["1"]),
}
TEXTS = {
    "PatName": ("LO", ["Nachname^Vorname"]),
    "ImaCoilString": ("LO", ["HEA;HEP"]),
    "AcquisitionTime": ("TM", ["101112.125"]),
    "PatientOrderUID": ("UI", ["1.2.3.4"]),
}


def anything(_: str) -> bool:
    return True


def test_numbers_stay_as_they_were_and_nothing_else_does():
    cut = csa.cut_to_numbers(header({**NUMBERS, **TEXTS}, behind=b"Nachname"), anything)
    assert cut == header(NUMBERS).replace(struct.pack("<III", 3, 6, 77), struct.pack("<III", 0, 6, 77))


def test_an_element_without_a_value_stays_without_one():
    plain = {"B_value": ("IS", ["0"]), "DiffusionGradientDirection": ("FD", [])}
    cut = csa.cut_to_numbers(header({**plain, **TEXTS}), anything)
    assert cut == csa.cut_to_numbers(header(plain), anything)
    assert b"DiffusionGradientDirection" in cut


def test_a_listed_name_with_a_text_in_it_goes():
    for text in ("Nachname", "64 Nachname", "1.2.3", "nan", "0x40", "1" * 33, "٣"):
        hidden = header({"B_value": ("IS", ["1000"]), "SliceThickness": ("DS", [text])})
        assert csa.cut_to_numbers(hidden, anything) == csa.cut_to_numbers(
            header({"B_value": ("IS", ["1000"])}), anything
        )


def test_text_behind_a_number_behind_the_name_and_in_the_vr_goes():
    raw = bytearray(header({"B_value": ("Nach", ["1000"])}))
    raw[16 + 8 : 16 + 16] = b"\0Meier\0\0"
    raw += b"Meier"
    at = raw.index(b"1000\0") + 5
    raw[at : at + 3] = b"Mei"
    cut = csa.cut_to_numbers(bytes(raw), anything)
    assert b"1000" in cut
    assert b"Mei" not in cut
    assert b"Nach" not in cut


def test_what_may_not_stay_takes_its_element_along():
    two = header({"B_value": ("IS", ["1000"]), "EchoTrainLength": ("IS", ["4711"])})
    assert csa.cut_to_numbers(two, lambda text: text != "4711") == csa.cut_to_numbers(
        header({"B_value": ("IS", ["1000"])}), anything
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SV10",
        header(TEXTS),
        header({}),
        header({"B_value": ("IS", [])}),
        header(NUMBERS)[:-7],
        header(NUMBERS)[:100],
        header(NUMBERS)[4:],  # as the older form, without the magic
        b"SV10\4\3\2\1" + struct.pack("<II", 0xFFFFFFFF, 77),
        header(NUMBERS).replace(struct.pack("<III", 3, 6, 77), struct.pack("<III", 3, 0x7FFFFFFF, 77)),
        header(NUMBERS).replace(struct.pack("<II", 3, 3), struct.pack("<II", 3, 0xFFFFFFF0)),
    ],
)
def test_what_is_no_header_of_numbers_goes_whole(raw):
    assert csa.cut_to_numbers(raw, anything) == b""


def test_no_listed_name_speaks_of_dates_people_or_identifiers():
    assert len(csa.listed()) > 50
    for name in csa.listed():
        assert not any(
            part in name for part in ("Date", "UID", "ID", "Name", "Comment", "Patient_", "Protocol^")
        )
