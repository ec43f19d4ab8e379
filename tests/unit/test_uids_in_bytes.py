"""UIDs inside other bytes are found by a faster way than their pattern alone, and by no other rule."""

from hypothesis import given
from hypothesis import strategies as st

from pacsifier.deidentify.engine import uids

PIECES = st.sampled_from(
    [
        "1.2.840.10008.1.2",
        "1.2.276.0.7230010.3.1.4.8323329.1",
        "2.25.",
        "25.",
        "1",
        "0",
        "2",
        "9",
        "00",
        ".",
        "..",
        "-",
        "\0",
        " ",
        "x",
        "1" * 38,
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_uids_are_found_where_the_pattern_finds_them(text):
    raw = text.encode()
    assert list(uids.in_bytes(raw)) == [match.span() for match in uids.IN_BYTES.finditer(raw)]


def test_every_uid_of_some_bytes_is_replaced_and_nothing_else():
    raw = (
        b"a 1.2.276.0.7230010.3.1.4.8323329.1\0 1.2.840.10008.1.2.4.90 -1.5 2.25.12345678901234567890 v1.2.3"
    )
    new = uids.replace_in_bytes(raw, b"s" * 32)
    assert len(new) == len(raw)
    assert b"8323329" not in new
    assert b"12345678901234567890" not in new
    assert b"1.2.840.10008.1.2.4.90 -1.5" in new
    assert new.endswith(b" v1.2.3")
