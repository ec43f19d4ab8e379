"""What a user could lose where the counts of one level contradict the next, or a list of answers is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from pacs.runs import run
from pacs.servers import Record, read_record

from faults.test_far_side import QUICK, assert_holds, saved, unexpected
from pacsifier.demo import make_archive

ARCHIVE = [{"PatientID": "BENCH00001"}]
A700, CANCELLED = 0xA700, 0xFE00


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """One study of ten series of two images."""
    return [read_record(path) for path in make_archive(tmp_path_factory.mktemp("study"), 1, 1, 10, 2, 8)]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Thirteen studies of one patient, of two series of two images."""
    return [read_record(path) for path in make_archive(tmp_path_factory.mktemp("studies"), 1, 13, 2, 2, 8)]


def paths(records: list[Record]) -> list[Path]:
    return [record.path for record in records]


def series_of(records: list[Record]) -> list[str]:
    return sorted({record.series_uid for record in records})


def days(records: list[Record]) -> dict[str, dict[str, str]]:
    """Each study on a day of its own."""
    uids = sorted({record.study_uid for record in records})
    return {uid: {"StudyDate": f"202305{number + 1:02d}"} for number, uid in enumerate(uids)}


# --- one level against the next ----------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [None, "", "0", "7", "-3"])
def test_series_that_the_pacs_sends_but_does_not_list_are_missed_in_the_exit_status(
    quirky, study, tmp_path, announced
):
    hidden = series_of(study)[3:6]
    pacs = quirky(paths(study), unlisted_series=hidden, announced_series=announced)
    done = saved(pacs, tmp_path, *ARCHIVE)
    listed = [record for record in study if record.series_uid not in hidden]
    assert_holds(done, listed)
    assert done.status == 1, done.stderr
    assert study[0].study_uid in done.redo[0]["reason"]
    assert len(unexpected(done)) == 6


def test_a_number_of_series_that_is_too_high_is_settled_by_one_request_for_the_study(quirky, study, tmp_path):
    pacs = quirky(paths(study), announced_series="12")
    done = saved(pacs, tmp_path, *ARCHIVE)
    assert_holds(done, study)
    assert (done.status, done.redo) == (0, []), done.stderr
    assert all("announced differs: 12" in row["Reason"] for row in done.log)
    assert [move["level"] for move in pacs.moves] == ["STUDY"]
    again = saved(pacs, tmp_path, *ARCHIVE, options=("--resume",))
    assert (again.status, again.redo) == (0, []), again.stderr


@pytest.mark.parametrize("extra", [(), ("--retrieve_method", "get")])
def test_what_was_missing_is_still_missing_when_the_run_is_resumed(quirky, study, tmp_path, extra):
    pacs = quirky(paths(study), unlisted_series=series_of(study)[:1])
    for options in (extra, (*extra, "--resume")):
        done = saved(pacs, tmp_path, *ARCHIVE, options=options)
        assert done.status == 1, done.stderr
        assert "announces 10 series of a study and lists 9" in done.redo[0]["reason"] or (
            "does not list" in done.redo[0]["reason"]
        )


def test_a_study_that_cannot_be_asked_for_as_a_whole_is_not_called_complete(quirky, study, tmp_path):
    pacs = quirky(paths(study), announced_series="12", refused_move_levels=("STUDY",))
    done = saved(pacs, tmp_path, *ARCHIVE)
    assert_holds(done, study)
    assert done.status == 1, done.stderr
    assert "announces 12 series of a study and lists 10" in done.redo[0]["reason"]


@pytest.mark.parametrize("options", [("--info",), ("--move", "OTHER")])
def test_without_images_a_study_of_which_fewer_series_are_listed_is_not_called_complete(
    quirky, study, tmp_path, options
):
    pacs = quirky(paths(study), unlisted_series=series_of(study)[:3])
    done = run(pacs, tmp_path, ARCHIVE, options[0], *QUICK)
    assert done.status == 1, done.stderr
    assert "announces 10 series of a study and lists 7" in done.redo[0]["reason"]


def test_a_row_of_one_listed_series_does_not_care_for_the_others(quirky, study, tmp_path):
    first, *others = series_of(study)
    pacs = quirky(paths(study), unlisted_series=others[:3])
    row = {"PatientID": "BENCH00001", "SeriesInstanceUID": first}
    done = saved(pacs, tmp_path, row)
    assert_holds(done, [record for record in study if record.series_uid == first])
    assert (done.status, done.redo) == (0, []), done.stderr


@pytest.mark.parametrize("announced", [None, ""])
def test_all_comes_from_a_pacs_that_answers_counts_with_one_line_for_all(
    quirky, studies, tmp_path, announced
):
    pacs = quirky(paths(studies), counts_as_one=True, announced_series=announced)
    rows = ARCHIVE if announced is None else [{"StudyInstanceUID": each} for each in days(studies)]
    done = saved(pacs, tmp_path, *rows)
    assert_holds(done, studies)
    assert (done.status, done.redo) == (0, []), done.stderr


# --- lists that are cut ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, A700, CANCELLED])
@pytest.mark.parametrize("cap", [5, 10])
@pytest.mark.parametrize("row", [{"StudyDate": "20230501-20230531"}, {"PatientID": "BENCH00001"}])
def test_a_list_of_studies_that_is_cut_at_any_number_is_asked_for_in_parts(  # noqa: PLR0917
    quirky, studies, tmp_path, status, cap, row
):
    pacs = quirky(paths(studies), find_cap={"STUDY": cap}, find_cap_status=status, index_says=days(studies))
    done = run(pacs, tmp_path, [row], "--info", *QUICK)
    assert (done.status, done.redo) == (0, []), done.stderr
    assert len(done.log) == 26


@pytest.mark.parametrize("status", [0, A700, CANCELLED])
@pytest.mark.parametrize("cap", [7, 9])
def test_a_list_of_series_that_is_cut_is_not_taken_for_the_study(quirky, study, tmp_path, status, cap):
    pacs = quirky(paths(study), find_cap={"SERIES": cap}, find_cap_status=status)
    done = saved(pacs, tmp_path, *ARCHIVE)
    assert done.status == 1, done.stderr
    assert done.redo[0]["reason"].startswith("failed")


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_answers_without_end_are_cut_off_and_the_server_is_named(quirky, study, tmp_path, level):
    more = {"announced_offset": 1} if level == "IMAGE" else {}
    pacs = quirky(paths(study), endless_finds=(level,), **more)
    done = saved(pacs, tmp_path, *ARCHIVE)
    assert done.status == 1, done.stderr
    if level != "IMAGE":
        assert "QUIRK did not end its answers to one question" in done.redo[0]["reason"]


# --- zero --------------------------------------------------------------------------------------------------------


def test_a_series_without_instances_is_complete_and_asked_for_once(quirky, study, tmp_path):
    empty = series_of(study)[0]
    records = [record for record in study if record.series_uid != empty]
    pacs = quirky(paths(study), emptied_series=(empty,))
    done = saved(pacs, tmp_path, *ARCHIVE)
    assert_holds(done, records)
    assert (done.status, done.redo) == (0, []), done.stderr
    assert {row["Completed"] for row in done.log} == {"True"}
    assert len(pacs.moves) == 1


@pytest.mark.parametrize("options", [(), ("--retrieve_method", "get")])
def test_a_row_of_a_series_without_instances_is_done_when_the_pacs_says_so(quirky, study, tmp_path, options):
    empty = series_of(study)[0]
    pacs = quirky(paths(study), emptied_series=(empty,))
    row = {"PatientID": "BENCH00001", "SeriesInstanceUID": empty}
    done = saved(pacs, tmp_path, row, options=options)
    assert (done.status, done.redo, done.files) == (0, [], {}), done.stderr
    assert len(pacs.moves) == 1


def test_a_series_announced_without_instances_that_cannot_be_sent_is_not_complete(quirky, study, tmp_path):
    empty = series_of(study)[0]
    pacs = quirky(paths(study), emptied_series=(empty,), move_status=0xC001)
    done = saved(pacs, tmp_path, {"PatientID": "BENCH00001", "SeriesInstanceUID": empty})
    assert done.status == 1, done.stderr
