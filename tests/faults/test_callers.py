"""Anybody may send to the open port: what a stranger sends is told from what the archive sends, and changes nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pacs.runs import Run, arguments, read_table, until
from pacs.servers import Hospital, Record

from faults.quirk_pacs import altered
from faults.test_far_side import (
    BRAIN,
    ECHO,
    QUICK,
    asked_uids,
    assert_complete,
    assert_holds,
    of,
    saved,
    unexpected,
)
from faults.test_this_side import ARCHIVE, started
from pacsifier.demo import make_archive

SERIES = {**BRAIN, "SeriesNumber": "2"}


@pytest.fixture
def wanted(hospital: Hospital) -> list[Record]:
    """The instances of one series."""
    return of(hospital, SERIES)


def forged(tmp_path: Path, record: Record, **values: str) -> str:
    """A stranger's object that looks as one of the archive's, but for these values."""
    path = tmp_path / "forged.dcm"
    altered(record.path, path, **values)
    return str(path)


def test_a_strangers_new_object_under_a_wanted_series_is_set_aside_and_told(
    quirky, hospital, tmp_path, wanted
) -> None:
    stranger = forged(tmp_path, wanted[0], SOPInstanceUID="1.2.3.4.5.6.7")
    done = saved(quirky(intruders={stranger: "INTRUDER"}), tmp_path, SERIES)
    assert done.status == 0, done.stderr
    assert_holds(done, wanted)
    (row,) = done.log
    assert (row["Completed"], row["FilesFound"]) == ("True", str(len(wanted)))
    assert "1 objects from the AE title INTRUDER: see logs/unexpected" in row["Reason"]
    assert [path.name for path in unexpected(done)] == ["MR.1.2.3.4.5.6.7"]


def test_a_strangers_object_does_not_stand_for_one_that_the_archive_could_not_send(
    quirky, hospital, tmp_path, wanted
) -> None:
    missing = wanted[0]
    stranger = forged(tmp_path, missing, PatientComments="forged")
    pacs = quirky(intruders={stranger: "INTRUDER"}, lose=(missing.sop_uid,))
    done = saved(pacs, tmp_path, SERIES)
    assert done.status == 1
    assert_holds(done, wanted[1:])
    (row,) = done.log
    assert row["Completed"] == "False"
    alone = [move["keys"] for move in pacs.moves][-1]
    assert alone["SOPInstanceUID"] == missing.sop_uid, "it is asked for again, alone"


def test_what_the_archive_sends_at_the_second_asking_completes_the_series(
    quirky, hospital, tmp_path, wanted
) -> None:
    missing = wanted[0]
    stranger = forged(tmp_path, missing, PatientComments="forged")
    pacs = quirky(intruders={stranger: "INTRUDER"}, lose=(missing.sop_uid,), object_times=1)
    done = saved(pacs, tmp_path, SERIES)
    assert done.status == 0, done.stderr
    assert_holds(done, wanted)


def test_a_strangers_copy_of_a_wanted_object_is_no_contradiction(quirky, hospital, tmp_path, wanted) -> None:
    stranger = forged(tmp_path, wanted[0], PatientComments="forged")
    done = saved(quirky(intruders={stranger: "INTRUDER"}), tmp_path, SERIES)
    assert done.status == 0, done.stderr
    assert_holds(done, wanted)


def test_an_archive_that_sends_from_other_titles_than_the_one_asked_is_believed(
    quirky, hospital, tmp_path
) -> None:
    records = of(hospital, BRAIN, ECHO)
    pacs = quirky(sends_as=("NODE1", "NODE2"))
    done = saved(pacs, tmp_path, BRAIN, ECHO)
    assert_complete(done, records)
    assert pacs.lists == [], "where the counts agree nothing more is asked"


def test_more_objects_than_announced_and_counted_are_held_against_the_image_level(
    quirky, hospital, tmp_path, wanted
) -> None:
    """Whoever gives the archive's own title is no stranger; but the archive did not count the object."""
    stranger = forged(tmp_path, wanted[0], SOPInstanceUID="1.2.3.4.5.6.7")
    pacs = quirky()
    done = saved(quirky(intruders={stranger: pacs.aet}), tmp_path, SERIES)
    assert done.status == 0, done.stderr
    assert_holds(done, wanted)
    (row,) = done.log
    assert "1 objects that the PACS does not list: see logs/unexpected" in row["Reason"]
    assert len(pacs.lists) == 1


def test_a_strangers_object_of_an_excluded_patient_excludes_no_series_of_another(
    quirky, hospital, tmp_path, wanted
) -> None:
    stranger = forged(tmp_path, wanted[0], SOPInstanceUID="1.2.3.4.5.6.7", PatientID="OPTOUT")
    (tmp_path / "excluded.txt").write_text("OPTOUT\n")
    options = ("--exclude_patients", str(tmp_path / "excluded.txt"))
    done = saved(quirky(intruders={stranger: "INTRUDER"}), tmp_path, SERIES, options=options)
    assert done.status == 0, done.stderr
    assert_holds(done, wanted)
    assert unexpected(done) == []


def test_what_is_set_aside_is_named_with_its_sender_and_reason(quirky, hospital, tmp_path, wanted) -> None:
    stranger = forged(tmp_path, wanted[0], SOPInstanceUID="1.2.3.4.5.6.7", PatientID="SOMEBODY")
    done = saved(quirky(intruders={stranger: "INTRUDER"}), tmp_path, SERIES)
    table = done.out / "logs" / "unexpected.csv"
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    (row,) = read_table(table)
    record = wanted[0]
    assert row.pop("SetAsideAt").startswith("20")
    assert row == {
        "File": "MR.1.2.3.4.5.6.7",
        "StudyInstanceUID": record.study_uid,
        "SeriesInstanceUID": record.series_uid,
        "SOPInstanceUID": "1.2.3.4.5.6.7",
        "PatientID": "SOMEBODY",
        "CallingAETitle": "INTRUDER",
        "Why": "from an AE title that is not known to send it",
    }
    again = saved(quirky(), tmp_path, SERIES)
    assert len(read_table(again.out / "logs" / "unexpected.csv")) == 1, "a later run does not forget it"


@pytest.mark.parametrize("limit", [("--max_unexpected", "1"), ("--max_unexpected_size", "50kB")])
def test_a_flood_of_strangers_objects_does_not_fill_the_disk(
    quirky, hospital, tmp_path, wanted, limit
) -> None:
    strangers = {}
    for number in range(4):
        path = tmp_path / f"forged{number}.dcm"
        altered(wanted[0].path, path, SOPInstanceUID=f"1.2.3.4.{number}")
        strangers[str(path)] = "INTRUDER"
    assert 25_000 < path.stat().st_size < 50_000
    done = saved(quirky(intruders=strangers), tmp_path, SERIES, options=limit)
    assert done.status == 0, done.stderr
    assert_holds(done, wanted)
    assert len(unexpected(done)) == 1
    assert "3 dropped" in done.stderr


def test_a_flood_of_strangers_objects_is_bounded_while_the_run_goes_on(quirky, tmp_path) -> None:
    """A round may last for days: what nobody waits for does not lie in staging until it ends."""
    files = make_archive(tmp_path / "archive", 1, 1, 4, 2, 32)
    strangers = {}
    for number in range(4):
        path = tmp_path / f"forged{number}.dcm"
        altered(files[0], path, StudyInstanceUID="1.2.3", SOPInstanceUID=f"1.2.3.4.{number}")
        strangers[str(path)] = "INTRUDER"
    pacs = quirky(files, intruders=strangers, pace=1)
    out = tmp_path / "out"

    def in_staging() -> list[Path]:
        staged = out.glob(".pacsifier-*/received/*")
        return [path for path in staged if b"1.2.3.4." in path.read_bytes()]

    with started(arguments(pacs, tmp_path, ARCHIVE, "--save", "--max_unexpected", "1", *QUICK)) as (run, _):
        until((out / "logs" / "unexpected").is_dir, 20)
        until(lambda: not in_staging(), 20)
        assert run.poll() is None, "it goes on"
        assert len(list((out / "logs" / "unexpected").iterdir())) == 1


# --- contradictions -----------------------------------------------------------------------------------------------


def _contradicted(quirky, tmp_path: Path, uid: str) -> Run:
    done = saved(quirky(twice=(uid,), twice_differs=True), tmp_path, SERIES)
    assert done.status == 1
    assert "two different objects" in done.log[0]["Reason"]
    return done


@pytest.mark.parametrize("log_moved", [False, True])
def test_a_contradiction_is_not_forgotten_by_the_next_resume(
    quirky, hospital, tmp_path, wanted, log_moved
) -> None:
    uid = wanted[0].sop_uid
    done = _contradicted(quirky, tmp_path, uid)
    if log_moved:
        (done.out / "logs" / "pacsifier_log.csv").unlink()
    pacs = quirky(lose=(uid,))
    again = saved(pacs, tmp_path, SERIES, options=("--resume",))
    assert again.status == 1
    assert {row["Completed"] for row in again.log} == {"False"}
    assert all(asked == [uid] for asked in asked_uids(pacs)), "only that instance is asked for"


def test_a_contradiction_is_settled_once_the_pacs_sends_the_same_again(
    quirky, hospital, tmp_path, wanted
) -> None:
    _contradicted(quirky, tmp_path, wanted[0].sop_uid)
    for _ in range(2):
        again = saved(quirky(), tmp_path, SERIES, options=("--resume",))
        assert again.status == 0, again.stderr
        assert_holds(again, wanted)
    assert "was complete" in again.log[0]["Reason"], "it is asked for once"


@pytest.mark.parametrize("removed", ["logs/unexpected/*", "sub-*/*/*/*"])
def test_a_contradiction_is_settled_once_a_person_has_removed_one_of_the_two(
    quirky, hospital, tmp_path, wanted, removed
) -> None:
    uid = wanted[0].sop_uid
    done = _contradicted(quirky, tmp_path, uid)
    (path,) = [path for path in done.out.glob(removed) if path.name.endswith(uid)]
    path.unlink()
    again = saved(quirky(), tmp_path, SERIES, options=("--resume",))
    assert again.status == 0, again.stderr
    assert len(again.files) == len(wanted)
