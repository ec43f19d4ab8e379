"""What failed at the PACS is on the page, and the command there brings it once the PACS is well again."""

from __future__ import annotations

import shlex
from pathlib import Path

from bs4 import BeautifulSoup
from pacs.runs import run_arguments

from faults.test_far_side import saved

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322")]


def page_of(folder: Path) -> BeautifulSoup:
    return BeautifulSoup((folder / "report.html").read_text(encoding="utf-8"), "html.parser")


def test_the_command_on_the_page_brings_what_is_missing(quirky, hospital, tmp_path):
    whole, part = [records for records in hospital.by_series.values() if len(records) > 5][:2]
    lost = [*(record.sop_uid for record in whole), part[0].sop_uid]
    pacs = quirky(drop=lost)
    done = saved(pacs, tmp_path, *EVERYONE, options=("--report",))
    assert done.status == 1
    page = page_of(done.out)
    rows = page.select(".missing tbody tr")
    assert sorted([cell.text for cell in row.select("td.n")] for row in rows) == sorted(
        [["0", str(len(whole))], [str(len(part) - 1), str(len(part))]]
    )
    assert f"{len(lost)}images missing" in page.select_one(".figures").text
    quirky()
    words = shlex.split(page.select_one("pre code").text)
    assert words[0] == "pacsifier"
    brought = run_arguments(done.out, words[1:])
    assert brought.status == 0, brought.stderr
    assert len(brought.files) == sum(
        record.patient_id in {row["PatientID"] for row in EVERYONE} for record in hospital.records
    )
    assert "Nothing is missing" in page_of(done.out).text
