"""The data dictionary of findscu and movescu: what it lacks would be written, and answered, as unknown bytes."""

from __future__ import annotations

import re
import subprocess

from pacs.servers import find_binary
from pydicom import Dataset
from pydicom.datadict import dictionary_keyword, dictionary_VR

from pacsifier.dcmtk import dictionary
from pacsifier.query import ATTRIBUTES

_LINE = re.compile(r"\(([0-9A-F]{4}),([0-9A-F]{4})\)\t([A-Z]{2})\t(\w+)\t1-n\tDICOM")


def _entries() -> dict[int, tuple[str, str]]:
    found = [_LINE.fullmatch(line) for line in dictionary.dictionary_text().splitlines()]
    assert all(found)
    return {int(each[1] + each[2], 16): (each[3], each[4]) for each in found if each}


def test_every_attribute_that_a_query_may_hold_is_known():
    assert {each.tag for each in ATTRIBUTES.values()} <= _entries().keys()


def test_every_entry_is_what_the_standard_says():
    for tag, (vr, keyword) in _entries().items():
        assert dictionary_VR(tag) == vr
        assert dictionary_keyword(tag) == keyword


def test_dcmtk_knows_each_attribute_of_an_answer_without_vrs_by_it(tmp_path):
    path = tmp_path / "small.dic"
    path.write_text(dictionary.dictionary_text(), encoding="ascii")
    answer = Dataset()
    for each in ATTRIBUTES.values():
        answer.add_new(each.tag, each.vr, None)
    answer.save_as(tmp_path / "answer.dcm", implicit_vr=True, little_endian=True)
    shown = subprocess.run(
        [find_binary("dcmdump"), "-f", "-ti", tmp_path / "answer.dcm"],
        env={"DCMDICTPATH": str(path)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    lines = {line.split()[-1]: line.split()[1] for line in shown.splitlines() if line.startswith("(")}
    assert lines == {each.keyword: each.vr for each in ATTRIBUTES.values()}
