"""The names on disk: which files our own commands lay beside images."""

from __future__ import annotations

import pytest

from pacsifier.disk.names import is_by_product


@pytest.mark.parametrize(
    "name",
    [
        *("DICOMDIR", "dicomdir", "new_id.txt", "mapper.json", "date_offsets.csv", "reports.csv"),
        *(
            "Clean_Report_1_2_840_5.txt",
            "00001-T1.csv",
            "out.key.json",
            "new_ids_PROJ.json",
            "day_shift_PROJ.json",
        ),
        *("log_get_pseudonyms.csv", ".pacsifier_log.csv.partial"),
    ],
)
def test_what_our_commands_lay_beside_images_is_no_failure_of_the_next_one(name: str) -> None:
    assert is_by_product(name)


@pytest.mark.parametrize(
    "name", ["MR.1.2.3", "notes.txt", "image.dcm", "Report.txt", "new_id.txt.bak", "DICOMDIR2"]
)
def test_a_file_of_the_user_is_named_when_it_cannot_be_used(name: str) -> None:
    assert not is_by_product(name)
