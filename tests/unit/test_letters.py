"""Words that nobody listed are told from names by their letters; what cannot be judged is taken for a name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.deidentify.engine.letters import LONGEST, SIZE, Letters, is_a_word, packed, runs

# What ends with "ung" is a word, and nothing else.
UNG = Letters(1, [2 if place in runs("messung") & runs("heizung") else 0 for place in range(SIZE)])


@given(st.text(max_size=40))
def test_any_text_is_judged_and_what_is_beyond_a_to_z_is_a_name(text):
    if not text.isascii() or not text.isalpha() or len(text) > LONGEST:
        assert not is_a_word(text)
    assert is_a_word(text) in (True, False)


@pytest.mark.parametrize(
    ("word", "stays"), [("vermessung", True), ("jung", False), ("messer", False), ("messung2", False)]
)
def test_the_runs_of_letters_and_their_place_decide(word, stays):
    assert is_a_word(word, UNG) is stays


def test_the_file_holds_the_bar_and_a_signed_byte_a_weight():
    data = packed(Letters(-300, [-127, 0, 127, *[1] * (SIZE - 3)]))
    assert len(data) == 4 + SIZE
    assert int.from_bytes(data[:4], "big", signed=True) == -300
    assert list(memoryview(data[4:7]).cast("b")) == [-127, 0, 127]
