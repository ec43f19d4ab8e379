"""No file that still shows whom it is about is called removed, none is damaged: judged by what the command wrote."""

from __future__ import annotations

import pytest

from pacsifier.cli.anonymize import main
from tests.pixels import end_to_end
from tests.pixels.corpus import KINDS


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    named = end_to_end.written(folder / "in", seed=101, count=2 * len(KINDS))
    assert main(["-d", str(folder / "in"), "-o", str(folder / "out"), "--clean_pixels", "all"]) == 0
    return list(end_to_end.judged(named, folder / "in", folder / "out"))


def test_every_file_goes_out_and_none_of_them_claims_what_is_not_so(verdicts):
    assert [each.why for each in verdicts if not each.written] == []
    assert [each.left for each in verdicts if each.false_claim] == []


def test_what_identifies_is_gone(verdicts):
    lines, left = sum(each.lines for each in verdicts), [line for each in verdicts for line in each.left]
    assert lines > 25
    assert len(left) <= 0.1 * lines, left


def test_next_to_nothing_else_is_blanked_and_no_other_pixel_changes(verdicts):
    assert sum(each.altered for each in verdicts) == 0
    assert sum(each.in_vain for each in verdicts) < 0.005 * sum(each.pixels for each in verdicts)


def test_only_kinds_of_which_nothing_else_is_feared_are_called_removed(verdicts):
    assert {each.kind for each in verdicts if each.yes} <= {"DX", "CR", "XA", "MG", "CT", "MR"}
    assert any(each.yes and each.lines for each in verdicts), "where all is gone, that is said"
