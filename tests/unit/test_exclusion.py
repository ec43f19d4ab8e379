"""Who opted out is left out, however the PACS spells the PatientID; a list that cannot be read stops the run."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.errors import InputError
from pacsifier.query.csvtext import BLANKS
from pacsifier.query.spreadsheet import as_typed
from pacsifier.transfer.exclusion import NOBODY, load_excluded


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "excluded.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "A-1\nB2\n",
        "PatientID\nA-1\nB2\n",
        "\ufeffA-1\r\n\r\nB2",
        'patientid\n a-1 \n"B2"\n',
        "A-1\nB2\nA-1\n",
        "\u00a0A-1\u200b\nB2\n",
    ],
)
def test_every_patient_of_the_list_is_excluded(tmp_path: Path, text: str) -> None:
    excluded = load_excluded(write(tmp_path, text))
    assert len(excluded) == 2
    for spelling in ("A-1", "a-1 ", " A-1", "B2", "b2\0"):
        assert spelling in excluded
    for other in ("A", "A-11", "", None, "PatientID"):
        assert other not in excluded


@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters='*?,;\\"'), min_size=1
    )
)
def test_any_id_that_a_line_can_hold_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    if not name.strip(BLANKS) or name.strip().casefold() == "patientid" or len(name.splitlines()) != 1:
        return
    if as_typed(unicodedata.normalize("NFKC", name)).problem:
        return
    assert name in load_excluded(write(tmp_path_factory.mktemp("list"), f"PatientID\n{name}\n"))


@pytest.mark.parametrize("line", ["\ufeff", "\u200b", "\u00a0 ", '""'])
def test_a_line_that_says_nothing_excludes_nobody_who_has_no_id(tmp_path: Path, line: str) -> None:
    excluded = load_excluded(write(tmp_path, f"PatientID\nA-1\n{line}\n"))
    assert "A-1" in excluded
    assert "" not in excluded
    assert len(excluded) == 1


@pytest.mark.parametrize(
    "line", ['="0012"', '"=""0012"""', "'0012", '"0012"', "\u00a00012\u00a0", "\uff10\uff10\uff11\uff12"]
)
def test_what_saves_zeros_from_a_spreadsheet_lets_nobody_through(tmp_path: Path, line: str) -> None:
    assert "0012" in load_excluded(write(tmp_path, f"PatientID\n{line}\n"))


@pytest.mark.parametrize(
    "line", ["1.23E+15", "12345.0", "#N/A", "TRUE", "=A1", "1'234'567", "12\u2013345", "3-Feb"]
)
def test_a_damaged_line_is_refused_as_it_would_let_somebody_through(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match="row 2, column PatientID"):
        load_excluded(write(tmp_path, f"PatientID\n{line}\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no PatientID"),
        ("PatientID\n\n", "names no PatientID"),
        ("A1\nB*\n", "row 2, column PatientID: 'B*'"),
        ("PatientID,Reason\nA1,no\n", "row 2, column PatientID: 'A1,no'"),
        (b"\xff\xfeA\x00", "not UTF-8"),
    ],
)
def test_a_list_that_could_miss_somebody_is_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("*", r"\*")):
        load_excluded(write(tmp_path, text))


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_excluded(tmp_path / "nowhere.txt")


def test_nobody_is_nobody() -> None:
    assert not NOBODY
    assert "A1" not in NOBODY
