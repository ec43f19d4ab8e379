"""What a user could lose by the faults of a PACS or of the link to it: one test at least for each fault."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest
from pacs.runs import (
    MARK,
    Row,
    Run,
    arguments,
    has_received,
    instance_paths,
    left_over,
    port_is_free,
    processes,
    run,
    until,
    wanted_series,
)
from pacs.servers import (
    LOOPBACK,
    RLE,
    Hospital,
    RawScp,
    Record,
    Server,
    _await_echo,
    _spawn,
    free_port,
    pacsifier_argv,
    read_record,
    start_dcmqrscp,
    start_orthanc,
)

from faults.quirk_pacs import FOR_EVER, QuirkPacs, Quirks, altered, start_quirk_pacs
from pacsifier.demo import make_archive
from pacsifier.dicom import part10

LOCALIZER = {"PatientID": "00123", "SeriesNumber": "1", "Modality": "MR"}
BRAIN = {"PatientID": "00123", "StudyDate": "20160420"}
ECHO = {"PatientID": "45322", "Modality": "US"}
EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
ARCHIVE = [{"PatientID": "BENCH00001"}]
QUICK = ("--retry_wait", "0.1", "--settle_time", "0.2")
"""Options that shorten every wait; tests of the waits themselves give their own."""

LOSSY = tuple(f"1.2.840.10008.1.2.4.{end}" for end in ("91", "50", "51", "81"))
LOSSLESS = tuple(f"1.2.840.10008.1.2.4.{end}" for end in ("90", "80", "70", "57"))

A700, A701, A702, A801, A900, C001 = 0xA700, 0xA701, 0xA702, 0xA801, 0xA900, 0xC001


# --- what should be there ----------------------------------------------------------------------------------------


def of(hospital: Hospital, *rows: Row) -> list[Record]:
    """The instances that the rows ask for."""
    wanted = set().union(*(wanted_series(hospital.records, row) for row in rows))
    return [record for record in hospital.records if record.series_uid in wanted]


def body(path: Path) -> bytes:
    """The data set of a Part 10 file."""
    return path.read_bytes()[part10.read(path, ()).dataset_offset :]


def uids(records: Sequence[Record]) -> list[str]:
    return sorted(record.sop_uid for record in records)


def assert_holds(done: Run, records: Sequence[Record]) -> None:
    """The tree holds these instances, byte for byte, and no other."""
    assert {uid: body(path) for uid, path in done.files.items()} == {
        record.sop_uid: body(record.path) for record in records
    }


def assert_complete(done: Run, records: Sequence[Record]) -> None:
    """The run says that all is there, and it is."""
    assert done.status == 0, done.stderr
    assert {row["Completed"] for row in done.log} == {"True"}, done.log
    assert done.redo == []
    assert_holds(done, records)
    assert unexpected(done) == []


def assert_incomplete(done: Run, records: Sequence[Record], *words: str) -> None:
    """The run says that something is missing and why; what the tree holds is right."""
    assert done.status == 1, done.stderr
    assert_holds(done, records)
    assert {row["Completed"] for row in done.log} != {"True"}
    assert done.redo != []
    reasons = " | ".join(row["Reason"] for row in done.log if row["Completed"] == "False")
    for word in words:
        assert word in reasons, reasons


def unexpected(done: Run) -> list[Path]:
    return [path for path in done.out.glob("logs/unexpected/**/*") if path.is_file()]


def patients(records: Sequence[Record]) -> list[Row]:
    return [{"PatientID": patient} for patient in dict.fromkeys(each.patient_id for each in records)]


def saved(pacs: Server, folder: Path, *rows: Row, options: Sequence[object] = (), **config: object) -> Run:
    return run(pacs, folder, rows, "--save", *QUICK, *options, **config)


def asked_uids(pacs: QuirkPacs) -> list[list[str]]:
    """For each C-MOVE request, the UIDs of its own level."""
    own = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
    return [move["keys"][own[move["level"]]].split("\\") for move in pacs.moves]


def gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


# --- no PACS, no association -------------------------------------------------------------------------------------


def test_a_calling_ae_title_that_the_pacs_does_not_know_is_told_and_not_tried_again(quirky, tmp_path):
    pacs = quirky()
    done = saved(pacs, tmp_path, LOCALIZER, AET="STRANGER")
    assert done.status == 3
    assert "STRANGER" in done.stderr
    assert "calling AE title" in done.stderr.replace("Calling", "calling").replace("Title", "title")
    assert len(pacs.entries("rejected")) == 1
    assert not done.out.exists()


def test_a_called_ae_title_that_is_wrong_is_told_and_not_tried_again(quirky, tmp_path):
    pacs = quirky()
    done = saved(pacs, tmp_path, LOCALIZER, server_AET="WRONG")
    assert done.status == 3
    assert "WRONG" in done.stderr
    assert len(pacs.entries("rejected")) == 1
    assert not done.out.exists()


def test_a_peer_that_takes_the_connection_and_never_answers_is_left(quirky, tmp_path):
    pacs = quirky(mute=True)
    began = time.monotonic()
    done = saved(pacs, tmp_path, LOCALIZER, options=("--acse_timeout", "1"))
    assert done.status == 3
    assert f"{pacs.aet} at {LOOPBACK}:{pacs.port}" in done.stderr
    assert time.monotonic() - began < 20
    assert not done.out.exists()


def test_a_port_behind_which_nothing_speaks_is_left(quirky, tmp_path):
    """The connection waits in the queue of a server that has hung: not even pynetdicom is there."""
    with socket.create_server((LOOPBACK, free_port())) as hung:
        port = hung.getsockname()[1]
        done = saved(quirky(), tmp_path, LOCALIZER, options=("--acse_timeout", "1"), port=port)
    assert done.status == 3
    assert f"{LOOPBACK}:{port}" in done.stderr
    assert not done.out.exists()


def test_a_pacs_that_is_busy_for_the_moment_is_asked_again_after_growing_waits(quirky, hospital, tmp_path):
    pacs = quirky(reject_first=3)
    done = saved(pacs, tmp_path, LOCALIZER, options=("--retry_wait", "0.2"))
    assert_complete(done, of(hospital, LOCALIZER))
    times = [entry["at"] for entry in pacs.entries("rejected")]
    waits = gaps([*times, pacs.entries("association")[0]["at"]])
    assert len(waits) == 3
    assert all(wait > 0.5 * 0.2 * 2**number for number, wait in enumerate(waits)), waits


def test_a_pacs_that_stays_busy_is_given_up(quirky, tmp_path):
    pacs = quirky(reject_first=1000)
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status == 3, done.stderr
    assert 2 <= len(pacs.entries("rejected")) <= 6
    assert not done.out.exists()


def test_a_pacs_that_is_busy_for_the_moment_when_it_is_to_send_is_asked_again(quirky, hospital, tmp_path):
    pacs = quirky(reject_first_moves=2)
    assert_complete(saved(pacs, tmp_path, LOCALIZER), of(hospital, LOCALIZER))
    assert [entry["offers"] for entry in pacs.entries("rejected")] == ["move", "move"]


def test_a_pacs_that_admits_nobody_any_more_is_given_up(quirky, hospital, tmp_path):
    pacs = quirky(reject_moves_after=1, break_after=2)
    done = saved(pacs, tmp_path, BRAIN)
    assert done.status == 1, done.stderr
    assert 2 <= len(pacs.entries("rejected")) <= 10
    assert {row["Completed"] for row in done.log} == {"False"}
    for uid, path in done.files.items():
        assert body(path) == body(hospital.by_sop[uid].path)


@pytest.mark.parametrize("how", ["transient", "permanent", "abort", "wait"])
def test_a_pacs_that_admits_one_association_gives_everything_over_one(quirky, hospital, tmp_path, how):
    pacs = quirky(most_associations=1, over_limit=how, pace=200)
    done = saved(pacs, tmp_path, *EVERYONE, options=("--associations", "4", "--acse_timeout", "2"))
    assert_complete(done, hospital.records)
    assert pacs.most_open == 1
    assert sorted(pacs.sent) == uids(hospital.records), "something was fetched twice"


@pytest.mark.parametrize(
    ("options", "most"), [((), 2), (("--associations", "1"), 1), (("--associations", "3"), 3)]
)
def test_no_more_associations_are_opened_than_allowed(quirky, hospital, tmp_path, options, most):
    pacs = quirky(pace=40)
    assert_complete(saved(pacs, tmp_path, *EVERYONE, options=options), hospital.records)
    assert pacs.most_open == most


def test_the_second_association_waits_for_the_first_to_be_answered(quirky, hospital, tmp_path):
    pacs = quirky(pace=100)
    assert_complete(saved(pacs, tmp_path, *EVERYONE), hospital.records)
    first, second, *_ = [entry["at"] for entry in pacs.entries("association") if entry["offers"] == "move"]
    answers = [entry["at"] for entry in pacs.entries("sent")]
    assert first < answers[0] < second


def test_a_release_that_is_not_answered_costs_nothing(quirky, hospital, tmp_path):
    done = saved(quirky(breaks_release=True), tmp_path, BRAIN)
    assert_complete(done, of(hospital, BRAIN))


# --- silence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "status"), [("STUDY", 3), ("SERIES", 1)])
def test_a_pacs_that_is_silent_in_a_find_is_left_and_nothing_found_is_not_said(
    quirky, tmp_path, level, status
):
    pacs = quirky(find_silence_s={level: FOR_EVER})
    done = saved(pacs, tmp_path, LOCALIZER, options=("--silence_timeout", "0.5"))
    assert done.status == status, done.stderr
    assert "nothing matches" not in done.stderr
    assert "silen" in done.stderr or "no answer for 0.5 s" in done.stderr


def test_a_pacs_that_finds_and_then_is_silent_is_left_and_nothing_is_said_to_be_complete(quirky, tmp_path):
    pacs = quirky(move_silence_s=FOR_EVER)
    began = time.monotonic()
    done = saved(pacs, tmp_path, LOCALIZER, options=("--silence_timeout", "0.5"))
    assert_incomplete(done, [], "0.5 s (--silence_timeout)")
    assert time.monotonic() - began < 20


def test_a_first_object_that_comes_late_from_tape_is_waited_for(quirky, hospital, tmp_path):
    pacs = quirky(move_silence_s=1.5)
    done = saved(pacs, tmp_path, LOCALIZER, options=("--silence_timeout", "20"))
    assert_complete(done, of(hospital, LOCALIZER))
    assert len(pacs.moves) == 1


def test_objects_that_come_are_no_silence_though_no_response_does(quirky, hospital, tmp_path):
    pacs = quirky(no_pending=True, pace=3)
    done = saved(pacs, tmp_path, LOCALIZER, options=("--silence_timeout", "0.9"))
    assert_complete(done, of(hospital, LOCALIZER))
    assert len(pacs.moves) == 1


# --- what a PACS refuses to send ---------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--save", "--move"])
def test_an_unknown_destination_is_told_with_what_is_to_be_declared(quirky, tmp_path, option):
    files = make_archive(tmp_path / "archive", 1, 40, 1, 1, 8)
    pacs = quirky(files, move_status=A801, move_silence_s=0.2)
    done = run(pacs, tmp_path, ARCHIVE, option, *QUICK, "--associations", "1")
    assert done.status == 1
    assert_incomplete(done, [])
    assert len(pacs.moves) <= 2, "all others would have failed alike"
    assert "0xA801" in done.stderr
    if option == "--save":
        assert all(word in done.stderr for word in (pacs.our_aet, LOOPBACK, str(pacs.our_port))), done.stderr
    else:
        assert pacs.move_aet in done.stderr


@pytest.mark.parametrize("status", [A701, A702])
@pytest.mark.parametrize("sends", [False, True])
def test_a_temporary_refusal_is_asked_again_after_growing_waits(quirky, hospital, tmp_path, status, sends):
    pacs = quirky(move_status=status, move_times=2, status_sends=sends)
    done = saved(pacs, tmp_path, LOCALIZER, options=("--retry_wait", "0.2"))
    assert_complete(done, of(hospital, LOCALIZER))
    if sends:
        assert len(pacs.moves) == 1, "all had come at the first time"
    else:
        waits = gaps([move["began"] for move in pacs.moves])
        assert len(waits) == 2
        assert all(wait > 0.5 * 0.2 * 2**number for number, wait in enumerate(waits)), waits


def test_a_pacs_that_cannot_reach_us_is_told_with_what_is_to_be_declared(quirky, tmp_path):
    pacs = quirky(move_status=A702)
    done = saved(pacs, tmp_path, *EVERYONE)
    assert_incomplete(done, [], "0xA702")
    assert len(pacs.moves) <= 6
    assert pacs.our_aet in done.stderr
    assert str(pacs.our_port) in done.stderr


def test_a_temporary_refusal_of_one_series_is_not_repeated_for_ever(quirky, hospital, tmp_path):
    """The others come: the PACS reaches us, and nothing is wrong with the destination."""
    pacs = quirky(move_status=A701, move_after=1)
    done = saved(pacs, tmp_path, LOCALIZER, {"PatientID": "SYN 05"}, options=("--associations", "1"))
    assert done.status == 1
    assert "0xA701" in " ".join(row["Reason"] for row in done.log)
    counts = [asked_uids(pacs).count(asked) for asked in asked_uids(pacs)]
    assert max(counts) <= 10, "five times in each of two rounds"


@pytest.mark.parametrize("status", [A900, C001, 0x0122])
def test_a_permanent_refusal_is_not_repeated(quirky, tmp_path, status):
    pacs = quirky(move_status=status)
    done = saved(pacs, tmp_path, LOCALIZER)
    assert_incomplete(done, [], f"0x{status:04X}")
    assert len(pacs.moves) == 1


def test_a_pacs_that_fails_and_fails_is_left_in_peace(quirky, tmp_path):
    """Four shares of ten requests: what stands behind the third failure is not asked for."""
    files = make_archive(tmp_path / "archive", 1, 40, 2, 2, 8)
    pacs = quirky(files, move_status=C001, move_after=2, move_silence_s=0.2)
    row = {**ARCHIVE[0], "SeriesNumber": "1"}
    done = saved(pacs, tmp_path, row, options=("--max_failures", "3", "--associations", "1"))
    assert done.status == 1
    assert "--max_failures" in done.stderr
    assert len(pacs.moves) <= 2 + 3 + 1
    assert [row["Completed"] for row in done.log].count("True") == 2
    assert len(done.files) == 4


# --- objects that do not come, or not in time --------------------------------------------------------------------


def test_an_object_that_the_pacs_has_lost_is_missed_and_the_others_are_there(quirky, hospital, tmp_path):
    lost, *others = of(hospital, BRAIN)
    pacs = quirky(lose=(lost.sop_uid,))
    done = saved(pacs, tmp_path, BRAIN)
    assert_incomplete(done, others, "failed")
    assert [row["SeriesInstanceUID"] for row in done.log if row["Completed"] == "False"] == [lost.series_uid]
    assert [row["FilesFound"] for row in done.log if row["Completed"] == "False"] == ["2"]
    assert len(pacs.sent) == len(set(pacs.sent)), "what had come was fetched again"


@pytest.mark.parametrize("fault", ["lose", "drop", "truncate", "cut_at"])
def test_an_object_that_fails_once_is_asked_for_alone_at_the_end(quirky, hospital, tmp_path, fault):
    records = of(hospital, BRAIN)
    uid = records[0].sop_uid
    how = {"truncate": {uid: "pixels"}, "cut_at": {uid: 0.8}}.get(fault, (uid,))
    pacs = quirky(**{fault: how}, object_times=1)
    assert_complete(saved(pacs, tmp_path, BRAIN), records)
    others = [each for each in pacs.sent if each != uid]
    assert len(others) == len(set(others)), "what had come was fetched again"
    if fault != "cut_at":
        last = pacs.moves[-1]
        assert (last["level"], last["keys"]["SOPInstanceUID"]) == ("IMAGE", uid)


def test_fewer_objects_than_announced_are_no_success_though_the_pacs_says_so(quirky, hospital, tmp_path):
    dropped, *others = of(hospital, BRAIN)
    done = saved(quirky(drop=(dropped.sop_uid,)), tmp_path, BRAIN)
    assert_incomplete(done, others, "2 of 3")


def test_a_series_of_which_nothing_comes_is_no_success_though_the_pacs_says_so(quirky, hospital, tmp_path):
    dropped = of(hospital, LOCALIZER)
    rest = [record for record in of(hospital, BRAIN) if record not in dropped]
    done = saved(quirky(drop=tuple(uids(dropped))), tmp_path, BRAIN)
    assert_incomplete(done, rest, "0 of 3")


def test_a_series_that_a_pacs_without_image_level_sends_short_is_asked_for_again_whole(
    quirky, hospital, tmp_path
):
    records = of(hospital, BRAIN)
    pacs = quirky(
        drop=(records[0].sop_uid,),
        object_times=1,
        refused_find_levels=("IMAGE",),
        refused_move_levels=("IMAGE",),
    )
    assert_complete(saved(pacs, tmp_path, BRAIN), records)
    assert asked_uids(pacs)[-1] == [records[0].series_uid]


def test_a_pacs_that_refuses_to_move_single_images_is_asked_for_the_series(quirky, hospital, tmp_path):
    records = of(hospital, BRAIN)
    pacs = quirky(lose=(records[0].sop_uid,), object_times=1, refused_move_levels=("IMAGE",))
    assert_complete(saved(pacs, tmp_path, BRAIN), records)
    assert [move["level"] for move in pacs.moves].count("IMAGE") == 1, "the refusal was not remembered"


@pytest.mark.parametrize("offset", [-1, 1, 7])
def test_an_announced_number_that_is_wrong_for_ever_is_noted_and_does_not_matter(
    quirky, hospital, tmp_path, offset
):
    pacs = quirky(announced_offset=offset)
    done = saved(pacs, tmp_path, LOCALIZER)
    assert_complete(done, of(hospital, LOCALIZER))
    assert [row["Reason"] for row in done.log] == [f"announced differs: {3 + offset}"]
    assert len(pacs.sent) == 3, "all had come at the first time"


def test_a_number_that_is_wrong_does_not_hide_an_object_that_is_missing(quirky, hospital, tmp_path):
    """Announced 3 - 1, and one of 3 lost: those two agree, but not with the 3 that the PACS says it has sent."""
    lost, *others = of(hospital, LOCALIZER)
    done = saved(quirky(announced_offset=-1, drop=(lost.sop_uid,)), tmp_path, LOCALIZER)
    assert_incomplete(done, others)


def test_more_objects_than_announced_are_all_kept(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    pacs = quirky(hidden=(records[-1].sop_uid,))
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status == 0, done.stderr
    assert_holds(done, records)


@pytest.mark.parametrize("late", [1, 3])
def test_objects_that_come_after_the_final_success_are_waited_for(quirky, hospital, tmp_path, late):
    pacs = quirky(late=late, late_s=0.6)
    done = saved(pacs, tmp_path, LOCALIZER, options=("--settle_time", "5"))
    assert_complete(done, of(hospital, LOCALIZER))
    assert len(pacs.moves) == 1


def test_objects_that_come_when_nobody_waits_any_more_are_asked_for_again(quirky, hospital, tmp_path):
    pacs = quirky(late=1, late_s=1.5)
    done = saved(pacs, tmp_path, LOCALIZER, options=("--settle_time", "0.1"))
    assert done.status in (0, 1), done.stderr
    if done.status == 0:
        assert_complete(done, of(hospital, LOCALIZER))
    again = saved(quirky(), tmp_path, LOCALIZER, options=("--resume",))
    assert_complete(again, of(hospital, LOCALIZER))


# --- objects that are not what they should be --------------------------------------------------------------------


def test_an_object_that_comes_twice_lies_there_once(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    done = saved(quirky(twice=tuple(uids(records))), tmp_path, LOCALIZER)
    assert_complete(done, records)


def test_two_objects_under_one_uid_are_both_kept_and_told(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    done = saved(quirky(twice=(records[0].sop_uid,), twice_differs=True), tmp_path, LOCALIZER)
    assert done.status == 1, done.stderr
    assert {row["Completed"] for row in done.log} == {"False"}
    assert "SOP Instance UID" in done.log[0]["Reason"]
    assert len(done.files) == 3
    (other,) = unexpected(done)
    both = [body(done.files[records[0].sop_uid]), body(other)]
    assert body(records[0].path) in both
    assert both[0][:-1] == both[1][:-1] != both[0]


def test_two_studies_that_share_a_sop_instance_uid_keep_their_own(quirky, hospital, tmp_path):
    originals = of(hospital, LOCALIZER)
    copies = [
        altered(
            record.path,
            tmp_path / "copies" / f"{number}.dcm",
            StudyInstanceUID="2.25.881",
            SeriesInstanceUID="2.25.882",
            StudyDate="20160421",
            SeriesDescription="copy",
        )
        for number, record in enumerate(originals)
    ]
    pacs = quirky([*(record.path for record in originals), *copies])
    done = run(pacs, tmp_path, [{"PatientID": "00123"}], "--save", *QUICK)
    assert done.status == 0, done.stderr
    assert {row["Completed"] for row in done.log} == {"True"}
    placed = {body(path) for path in instance_paths(done.out)}
    assert placed == {body(path) for path in (*(record.path for record in originals), *copies)}
    assert len(instance_paths(done.out)) == 6


def test_objects_that_nobody_asked_for_change_no_verdict_and_are_kept_apart(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    same_study = next(each for each in of(hospital, BRAIN) if each not in records)
    other_patient = hospital.by_patient["123421"][0]
    pacs = quirky(extra=(same_study.sop_uid, other_patient.sop_uid))
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status == 0, done.stderr
    assert {row["Completed"] for row in done.log} == {"True"}
    assert_holds(done, records)
    assert {body(path) for path in unexpected(done)} == {body(same_study.path), body(other_patient.path)}
    assert "unexpected objects: 2" in done.stderr


def test_images_of_a_merged_patient_are_not_mixed_with_those_of_another(quirky, hospital, tmp_path):
    """The index tells the new PatientID, the files still hold the old one."""
    records = of(hospital, LOCALIZER)
    pacs = quirky(index_says={records[0].study_uid: {"PatientID": "99999"}})
    done = saved(pacs, tmp_path, {"PatientID": "99999", "SeriesNumber": "1"})
    assert done.status == 1, done.stderr
    assert done.files == {}
    assert {row["Completed"] for row in done.log} == {"False"}
    assert "PatientID" in done.log[0]["Reason"]
    assert {body(path) for path in unexpected(done)} == {body(record.path) for record in records}


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_images_whose_uids_the_pacs_has_coerced_are_known_by_their_own(quirky, hospital, tmp_path, keyword):
    """Their SOP Instance UIDs are those of the series asked for, so they are its instances (decision 16)."""
    records = of(hospital, LOCALIZER)
    pacs = quirky(header_says={records[0].series_uid: {keyword: "2.25.4711"}})
    done = saved(pacs, tmp_path, LOCALIZER)
    kept = {*done.files, *(pydicom.dcmread(path).SOPInstanceUID for path in unexpected(done))}
    assert kept == set(uids(records)), "an image was thrown away"
    assert "2.25.4711" not in {row["SeriesInstanceUID"] for row in done.log}
    assert sorted(done.files) == uids(records)
    assert done.log[0]["Reason"] != ""


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_images_whose_uids_the_pacs_has_coerced_are_not_written_again_by_every_run(
    quirky, hospital, tmp_path, keyword, options
):
    records = of(hospital, LOCALIZER)
    pacs = quirky(header_says={records[0].series_uid: {keyword: "2.25.4711"}})
    first = saved(pacs, tmp_path, LOCALIZER)
    moves = len(pacs.moves)
    again = saved(pacs, tmp_path, LOCALIZER, options=options)
    assert again.status == 0, again.stderr
    assert again.files == first.files, "in the same folder, under the same names"
    assert len(instance_paths(again.out)) == len(records)
    if options:
        assert len(pacs.moves) == moves
        assert again.log[0]["Status"] == "skipped"


def test_an_image_under_a_new_sop_instance_uid_is_kept_with_its_series(quirky, hospital, tmp_path):
    """The number of instances agrees, so that the series is complete (decision 15)."""
    changed, *others = of(hospital, LOCALIZER)
    pacs = quirky(header_says={changed.sop_uid: {"SOPInstanceUID": "2.25.4712"}})
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status == 0, done.stderr
    assert done.files.keys() == {"2.25.4712", *uids(others)}
    kept = pydicom.dcmread(done.files["2.25.4712"])
    assert (kept.pixel_array == pydicom.dcmread(changed.path).pixel_array).all()


@pytest.mark.parametrize(("row", "where"), [(LOCALIZER, "pixels"), (LOCALIZER, "Rows"), (ECHO, "pixels")])
def test_a_truncated_object_is_never_placed(quirky, hospital, tmp_path, row, where):
    cut, *others = of(hospital, row)
    done = saved(quirky(truncate={cut.sop_uid: where}), tmp_path, row)
    assert_incomplete(done, others, "damaged")


def test_an_object_whose_transfer_is_always_cut_is_never_placed(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 1, 1, 1, 2, 1024)
    cut, other = map(read_record, files)
    pacs = quirky(files, cut_at={cut.sop_uid: 0.8})
    assert_incomplete(saved(pacs, tmp_path, *ARCHIVE), [other])


def test_an_object_whose_transfer_is_cut_once_comes_whole(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 1, 1, 1, 2, 1024)
    records = list(map(read_record, files))
    pacs = quirky(files, cut_at={records[0].sop_uid: 0.8}, object_times=1)
    assert_complete(saved(pacs, tmp_path, *ARCHIVE), records)
    assert pacs.sent.count(records[1].sop_uid) == 1, "what had come was fetched again"


@pytest.mark.parametrize("row", [LOCALIZER, ECHO])
def test_a_sender_that_offers_to_compress_with_loss_is_not_taken_at_it(quirky, hospital, tmp_path, row):
    """It offers them in one context, as a PACS that converts does; this one does not: it sends what it has."""
    pacs = quirky(offered=(*LOSSY, *LOSSLESS))
    done = saved(pacs, tmp_path, row)
    accepted = {syntax for entry in pacs.entries("contexts") for _, syntax in entry["accepted"]}
    if row == LOCALIZER:
        assert accepted == {"1.2.840.10008.1.2.1"}
        assert_complete(done, of(hospital, row))
    else:
        assert accepted
        assert accepted <= {*LOSSLESS, RLE}


@pytest.mark.parametrize(
    ("quirks", "options"),
    [
        ({}, ()),
        ({"omitted_keys": ("SOPClassesInStudy",)}, ()),
        ({"omitted_keys": ("SOPClassesInStudy", "SOPClassUID")}, ()),
        ({"omitted_keys": ("SOPClassesInStudy", "SOPClassUID")}, ("--sop_class", "1.3.12.2.1107.5.9.77")),
    ],
)
def test_objects_of_a_class_that_nobody_knows_come_too(quirky, hospital, tmp_path, quirks, options):
    records = of(hospital, LOCALIZER)
    files = [
        altered(record.path, tmp_path / f"{number}.dcm", SOPClassUID="1.3.12.2.1107.5.9.77")
        for number, record in enumerate(records)
    ]
    done = saved(quirky(files, **quirks), tmp_path, LOCALIZER, options=options)
    assert_complete(done, list(map(read_record, files)))


# --- associations that are cut -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "abort"])
@pytest.mark.parametrize("after", [0, 5])
def test_a_cut_association_is_gone_on_with_and_nothing_comes_twice(quirky, hospital, tmp_path, how, after):
    records = of(hospital, BRAIN)
    pacs = quirky(break_after=after, break_by=how, move_times=1)
    done = saved(pacs, tmp_path, BRAIN)
    assert_complete(done, records)
    assert pacs.entries("sent")[0]["move"] == 1 or after == 0
    assert len(pacs.sent) <= len(records) + 6, "more than the series in flight was fetched again"


def test_an_association_that_is_always_cut_is_not_tried_for_ever(quirky, hospital, tmp_path):
    pacs = quirky(break_after=1)
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status in (0, 1)
    assert len(pacs.moves) <= 12
    for uid, path in done.files.items():
        assert body(path) == body(hospital.by_sop[uid].path)


@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
def test_answers_that_are_cut_off_are_asked_for_again(quirky, hospital, tmp_path, level):
    pacs = quirky(find_break={level: 1}, find_times=1)
    done = saved(pacs, tmp_path, {"PatientID": "00123"})
    assert_complete(done, hospital.by_patient["00123"])


@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
def test_answers_that_are_always_cut_off_are_not_taken_for_all(quirky, tmp_path, level):
    done = saved(quirky(find_break={level: 1}), tmp_path, {"PatientID": "00123"})
    assert done.status in (1, 3), done.stderr
    assert done.redo or not done.out.exists()
    if done.out.exists():
        assert done.redo[0]["reason"].startswith("failed")


# --- the PACS dies -----------------------------------------------------------------------------------------------


def started(args: Sequence[object], mark: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        pacsifier_argv(*args),
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("start", "method"), [(start_dcmqrscp, "move"), (start_orthanc, "move"), (start_dcmqrscp, "get")]
)
def test_a_real_pacs_killed_in_the_middle_costs_only_another_run(peers, tmp_path, start, method):
    files = make_archive(tmp_path / "archive", 1, 1, 2, 150, 32)
    save = ("--save", "--retrieve_method", method, *QUICK)
    with start(tmp_path / "pacs", files, peers) as pacs:
        mark = uuid.uuid4().hex
        process = started(arguments(pacs, tmp_path, ARCHIVE, *save), mark)
        until(lambda: has_received(tmp_path / "out") or process.poll() is not None, 60)
        os.killpg(pacs.process.pid, signal.SIGKILL)
        pacs.process.wait(10)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1, stderr
        assert f"{pacs.aet} at {LOOPBACK}:{pacs.port}" in stderr
        assert "Traceback" not in stderr
        assert left_over(tmp_path / "out", mark) == []
        until(lambda: port_is_free(pacs.our_port) and not processes(mark), 5)
        pixels = {read_record(path).sop_uid: path.read_bytes()[-2048:] for path in files}
        before = {path: path.stat().st_ino for path in instance_paths(tmp_path / "out")}
        assert all(path.read_bytes()[-2048:] in pixels.values() for path in before)

        pacs.process = _spawn(pacs.process.args, pacs.folder, True)  # type: ignore[arg-type]
        _await_echo(pacs)
        again = run(pacs, tmp_path, ARCHIVE, *save, "--resume")
        assert again.status == 0, again.stderr
        assert {uid: path.read_bytes()[-2048:] for uid, path in again.files.items()} == pixels
        after = {path: path.stat().st_ino for path in instance_paths(tmp_path / "out")}
        assert before.items() <= after.items(), "what was there was fetched again"


def test_after_a_pacs_was_killed_only_what_is_missing_is_asked_for(peers, hospital, tmp_path):
    records = of(hospital, BRAIN)
    with start_quirk_pacs(tmp_path / "pacs", hospital.files, peers, Quirks(die_after=8)) as pacs:
        done = saved(pacs, tmp_path, BRAIN, options=("-vv",))
        assert done.status == 1, done.stderr
        assert 0 < len(done.files) <= 8
        assert done.stderr.count("starting movescu") <= 16, (
            "a PACS that is down is to be asked now and then only"
        )
        pacs.restart(Quirks(), hospital.files)
        again = saved(pacs, tmp_path, BRAIN, options=("--resume",))
        assert_complete(again, records)
        assert not set(pacs.sent) & set(done.files), "what was there was fetched again"


def test_a_pacs_that_comes_back_in_time_is_gone_on_with(peers, hospital, tmp_path):
    with start_quirk_pacs(tmp_path / "pacs", hospital.files, peers, Quirks(die_after=8)) as pacs:
        mark = uuid.uuid4().hex
        process = started(arguments(pacs, tmp_path, [BRAIN], "--save", "--retry_wait", "1"), mark)
        pacs.process.wait(60)
        pacs.restart(Quirks(), hospital.files)
        _, stderr = process.communicate(timeout=60)
    assert left_over(tmp_path / "out", mark) == []
    assert_complete(Run(tmp_path / "out", process.returncode, "", stderr, mark), of(hospital, BRAIN))


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0x0000, A700])
def test_a_list_that_the_pacs_caps_is_asked_for_in_parts(quirky, tmp_path, status):
    files = make_archive(tmp_path / "archive", 1, 130, 1, 1, 8)
    dates = {
        read_record(path).study_uid: {"StudyDate": f"20{10 + number // 12}{1 + number % 12:02d}15"}
        for number, path in enumerate(files)
    }
    pacs = quirky(files, find_cap={"STUDY": 100}, find_cap_status=status, index_says=dates)
    done = run(pacs, tmp_path, ARCHIVE, "--info")
    assert done.status == 0, done.stderr
    assert len(done.log) == 130


@pytest.mark.parametrize("status", [0x0000, A700])
def test_a_list_that_is_capped_even_for_one_day_is_not_taken_for_all(quirky, tmp_path, status):
    files = make_archive(tmp_path / "archive", 1, 110, 1, 1, 8)
    day = {read_record(path).study_uid: {"StudyDate": "20200101"} for path in files}
    pacs = quirky(files, find_cap={"STUDY": 100}, find_cap_status=status, index_says=day)
    done = run(pacs, tmp_path, ARCHIVE, "--info")
    assert done.status == 1
    assert "cap" in done.redo[0]["reason"] or "OutOfResources" in done.redo[0]["reason"]


@pytest.mark.parametrize("status", [0x0000, A700])
def test_a_list_of_series_that_is_capped_is_not_taken_for_all(quirky, tmp_path, status):
    files = make_archive(tmp_path / "archive", 1, 1, 110, 1, 8)
    pacs = quirky(files, find_cap={"SERIES": 100}, find_cap_status=status)
    done = run(pacs, tmp_path, ARCHIVE, "--info")
    assert done.status == 1, done.stderr
    assert done.redo[0]["reason"].startswith("failed")


@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
@pytest.mark.parametrize("status", [A700, A900, C001])
def test_a_find_that_fails_is_not_nothing_found_nor_asked_for_ever(quirky, tmp_path, level, status):
    pacs = quirky(find_status={level: status})
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status == 1, done.stderr
    assert len(pacs.finds(level)) <= (40 if status == A700 else 2)
    assert done.redo[0]["reason"].startswith("failed")
    assert "nothing matches" not in done.redo[0]["reason"]


@pytest.mark.parametrize("keys", [("*",), ("PatientID",), ("StudyInstanceUID",), ("SeriesInstanceUID",)])
def test_keys_that_the_pacs_ignores_bring_no_other_images(quirky, hospital, tmp_path, keys):
    pacs = quirky(ignored_keys=keys, lose=(of(hospital, BRAIN)[0].sop_uid,), object_times=1)
    done = saved(pacs, tmp_path, BRAIN)
    assert_complete(done, of(hospital, BRAIN))
    assert set(pacs.sent) == set(uids(of(hospital, BRAIN)))


UNTOLD = {
    "counts": ("NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedSeries"),
    "classes": ("SOPClassesInStudy", "InstanceAvailability", "IssuerOfPatientID", "ModalitiesInStudy"),
    "patient": ("PatientID", "PatientName", "PatientBirthDate"),
    "study": ("StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"),
    "series": ("SeriesDescription", "Modality", "SeriesNumber"),
    "instances": ("SOPInstanceUID", "SOPClassUID"),
}


@pytest.mark.parametrize("how", ["omitted_keys", "empty_keys"])
@pytest.mark.parametrize("keys", UNTOLD)
def test_what_a_pacs_does_not_tell_is_read_from_the_images(quirky, hospital, tmp_path, how, keys):
    row = {**BRAIN, "Modality": "MR", "SeriesDescription": "*DWI*"}
    done = saved(quirky(**{how: UNTOLD[keys]}), tmp_path, row, options=("--info",))
    assert_complete(done, of(hospital, row))
    folder = done.out / "sub-00123" / "ses-20160420140500_250000"
    assert sorted(path.name for path in folder.glob("*.csv"))[0] == "00003-DWI_b1000.csv"
    assert sorted(path.name for path in done.out.glob("sub-*")) == ["sub-00123"]
    again = saved(quirky(**{how: UNTOLD[keys]}), tmp_path, row, options=("--info", "--resume"))
    assert again.statuses() == {("skipped", "True")}, again.stderr


@pytest.mark.parametrize("how", ["omitted_keys", "empty_keys"])
@pytest.mark.parametrize("key", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_answers_without_their_uid_are_no_answers_and_not_nothing(quirky, tmp_path, how, key):
    done = saved(quirky(**{how: (key,)}), tmp_path, LOCALIZER)
    assert done.status in (0, 1), done.stderr
    if done.status == 1:
        assert done.redo[0]["reason"].startswith("failed")
        assert key in done.redo[0]["reason"]
    else:
        assert len(done.files) == 3


@pytest.mark.parametrize(("relational", "status"), [("refused", 1), ("everything", 1), ("answered", 0)])
def test_a_series_uid_alone_never_brings_another_patients_images(
    quirky, hospital, tmp_path, relational, status
):
    records = of(hospital, LOCALIZER)
    pacs = quirky(relational=relational)
    done = saved(pacs, tmp_path, {"SeriesInstanceUID": records[0].series_uid})
    assert done.status == status, done.stderr
    assert_holds(done, records if status == 0 else [])
    if status:
        assert "StudyInstanceUID" in done.redo[0]["reason"]
        assert pacs.moves == []


def test_a_series_uid_alone_is_found_by_listing_all_studies_where_that_is_allowed(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    done = saved(quirky(), tmp_path, {"SeriesInstanceUID": records[0].series_uid}, options=("--yes",))
    assert_complete(done, records)


NO_LISTS = [
    pytest.param({"uid_lists": "first"}, id="Success, and the first"),
    pytest.param({"uid_lists": "ignored"}, id="Success, and nothing"),
    pytest.param({"uid_lists": "aborted"}, id="A-ABORT"),
    pytest.param({"uid_lists": "reset"}, id="TCP reset"),
    *(
        pytest.param({"uid_lists": "refused", "list_status": status}, id=f"0x{status:04X}")
        for status in (A700, A701, A702, A801, A900, C001, 0x0122)
    ),
]
"""What a PACS may do with a list of UIDs that it does not understand."""
TOLD_APART = ("Success, and the first", "Success, and nothing", "TCP reset", "0xA702", "0xA801", "0xC001")
"""Those that a run tells from each other."""


FIRST_TWO: list[Row] = [{"PatientID": "BENCH00001", "SeriesNumber": number} for number in ("1", "2")]


def two_of_three_series(tmp_path: Path, studies: int) -> tuple[list[Path], list[Record]]:
    """An archive of studies of three series, and what `FIRST_TWO` wants of it: each study by a list of two."""
    files = make_archive(tmp_path / "archive", 1, studies, 3, 2, 8)
    return files, [record for record in map(read_record, files) if record.series_number < 3]


@pytest.mark.parametrize("no_lists", NO_LISTS)
def test_lists_of_uids_that_the_pacs_does_not_understand_are_asked_one_by_one(quirky, tmp_path, no_lists):
    """Of each of 8 studies two series of three are wanted, so that each is asked for by a list of two."""
    files, wanted = two_of_three_series(tmp_path, 8)
    pacs = quirky(files, **no_lists)
    done = saved(pacs, tmp_path, *FIRST_TWO, options=("--associations", "1"))
    assert_complete(done, wanted)
    lists = [asked for asked in asked_uids(pacs) if len(asked) > 1]
    assert 1 <= len(lists) <= 2, "those that were under way when it was learned, and no more"
    assert sorted(pacs.sent) == uids(wanted), "something was fetched twice"


@pytest.mark.parametrize("no_lists", [each for each in NO_LISTS if each.id in TOLD_APART])
def test_a_pacs_without_lists_is_no_pacs_that_fails(quirky, tmp_path, no_lists):
    """More lists than failures that a run bears, and each association begins with one."""
    files, wanted = two_of_three_series(tmp_path, 14)
    pacs = quirky(files, **no_lists)
    options = ("--associations", "4", "--max_failures", "3", "--retry_wait", "1")
    assert_complete(saved(pacs, tmp_path, *FIRST_TWO, options=options), wanted)


@pytest.mark.parametrize("no_lists", [each for each in NO_LISTS if each.id in TOLD_APART])
def test_by_get_a_pacs_without_lists_gives_everything_one_by_one(quirky, tmp_path, no_lists):
    files, wanted = two_of_three_series(tmp_path, 3)
    pacs = quirky(files, **no_lists)
    options = ("--retrieve_method", "get", "--associations", "1")
    assert_complete(saved(pacs, tmp_path, *FIRST_TWO, options=options), wanted)
    assert sum(len(asked) > 1 for asked in asked_uids(pacs)) <= 2


@pytest.mark.parametrize("option", [(), ("--retrieve_method", "auto")])
def test_a_destination_that_is_unknown_is_said_after_one_list_and_one_uid(quirky, tmp_path, option):
    files = make_archive(tmp_path / "archive", 1, 8, 3, 2, 8)
    pacs = quirky(files, undeclared="PACSIFIER")
    done = saved(pacs, tmp_path, *FIRST_TWO, options=("--associations", "1", *option))
    assert "0xA801" in done.stderr
    asked = [len(move["keys"]["SeriesInstanceUID"].split("\\")) for move in pacs.moves]
    assert asked[:2] == [2, 1]
    if option:
        assert done.status == 0
        assert set(asked[2:]) == {2}, "C-GET is judged by what it answers itself"
    else:
        assert asked[2:] == []
        assert done.status == 1
        assert "declared" in done.stderr


@pytest.mark.parametrize("no_lists", NO_LISTS)
def test_lists_of_studies_that_the_pacs_does_not_understand_are_asked_one_by_one(quirky, tmp_path, no_lists):
    files = make_archive(tmp_path / "archive", 12, 1, 2, 2, 8)
    wanted = list(map(read_record, files))
    pacs = quirky(files, **no_lists)
    done = saved(pacs, tmp_path, *patients(wanted), options=("--associations", "1"))
    assert_complete(done, wanted)
    lists = [asked for asked in asked_uids(pacs) if len(asked) > 1]
    assert 1 <= len(lists) <= 2, "those that were under way when it was learned, and no more"
    assert len(lists[0]) > 2
    assert sorted(pacs.sent) == uids(wanted), "something was fetched twice"


def test_one_series_that_the_pacs_lost_is_no_reason_to_fetch_the_studies_listed_with_it_again(
    quirky, tmp_path
):
    files = make_archive(tmp_path / "archive", 12, 1, 2, 2, 8)
    records = list(map(read_record, files))
    lost = [each for each in records if each.series_uid == records[0].series_uid]
    pacs = quirky(files, drop=tuple(uids(lost)))
    done = saved(pacs, tmp_path, *patients(records))
    assert done.status == 1
    assert_holds(done, [each for each in records if each not in lost])
    assert sorted(pacs.sent) == uids([each for each in records if each not in lost])


def test_of_studies_refused_together_for_now_each_is_asked_for_alone(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 12, 1, 2, 2, 8)
    records = list(map(read_record, files))
    pacs = quirky(files, move_status=0xA702, move_times=1)
    done = saved(pacs, tmp_path, *patients(records), options=("--retry_wait", "0.1", "--associations", "1"))
    assert_complete(done, records)
    assert sorted(pacs.sent) == uids(records)
    first, *others = asked_uids(pacs)
    assert len(first) > 2
    assert [[study] for study in first] == [asked for asked in others if asked[0] in first]


def test_of_studies_cut_off_together_only_what_is_missing_is_asked_for(quirky, tmp_path):
    files = make_archive(tmp_path / "archive", 12, 1, 2, 2, 8)
    records = list(map(read_record, files))
    pacs = quirky(files, break_after=9, move_times=1)
    done = saved(pacs, tmp_path, *patients(records), options=("--retry_wait", "0.1", "--associations", "1"))
    assert_complete(done, records)
    again = [uid for uid, times in Counter(pacs.sent).items() if times > 1]
    assert len(again) == 1, "one study of the list was half there"


def test_lists_of_instances_that_the_pacs_does_not_understand_are_not_the_end(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    pacs = quirky(uid_lists="first", lose=tuple(uids(records)[:2]), object_times=1)
    assert_complete(saved(pacs, tmp_path, LOCALIZER), records)


def test_thousands_of_series_are_listed(quirky, hospital, tmp_path):
    pacs = quirky(synthetic_series=12_000)
    done = run(pacs, tmp_path, [{"StudyInstanceUID": hospital.records[0].study_uid}], "--info", "--yes")
    assert done.status == 0, done.stderr
    assert len(done.log) == 12_000
    assert len(list(done.out.glob("sub-*/ses-*/*.csv"))) == 12_000


def test_a_hundred_thousand_series_are_counted(quirky, hospital, tmp_path):
    pacs = quirky(synthetic_series=100_000)
    args = arguments(
        pacs, tmp_path, [{"StudyInstanceUID": hospital.records[0].study_uid}], "--info", "--dry_run"
    )
    done = subprocess.run(
        pacsifier_argv(*args), capture_output=True, encoding="utf-8", check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "series: 100000" in done.stderr


# --- what fails for good ---------------------------------------------------------------------------------------


def _requests(pacs: QuirkPacs, series: str) -> int:
    """How often a series was asked for, alone."""
    return sum(each["keys"].get("SeriesInstanceUID") == series for each in pacs.moves)


@pytest.mark.parametrize("more", [("--resume",), ()], ids=["resume", "same command"])
@pytest.mark.parametrize(
    ("code", "how"),
    [
        pytest.param("not_sent", "lose all", id="no instance can be sent"),
        pytest.param("not_sent", "lose", id="one instance cannot be sent"),
        pytest.param("missing", "gone", id="one that is announced is not in the store"),
        pytest.param("refused", "series_status", id="the request is refused"),
    ],
)
def test_what_failed_for_good_is_asked_for_once_by_the_next_run_and_comes_once_it_can(  # noqa: PLR0917
    quirky, hospital, tmp_path, code, how, more
):
    records = of(hospital, LOCALIZER)
    series = records[0].series_uid
    everything = of(hospital, *EVERYONE)
    lost = records if how in ("lose all", "series_status") else records[:1]
    kept = [each for each in everything if each not in lost]
    quirks = {how.split()[0]: uids(lost)} if how != "series_status" else {how: {series: C001}}
    pacs = quirky(**quirks)
    if how == "series_status":
        pacs.become(Quirks(**quirks, lose=tuple(uids(records))), [each.path for each in hospital.records])
    first = run(pacs, tmp_path, EVERYONE, "--save", *QUICK)
    assert_incomplete(first, kept)
    assert {row["FailedForGood"] for row in first.log if row["SeriesInstanceUID"] == series} == {code}
    assert {row["FailedForGood"] for row in first.log if row["SeriesInstanceUID"] != series} == {""}

    before = _requests(pacs, series)
    second = run(pacs, tmp_path, EVERYONE, "--save", *more, *QUICK)
    assert_incomplete(second, kept)
    assert _requests(pacs, series) == before + 1
    assert "asked for once" in second.stderr
    assert {row["FailedForGood"] for row in second.log if row["SeriesInstanceUID"] == series} == {code}

    pacs.become(Quirks(), [each.path for each in hospital.records])
    third = run(pacs, tmp_path, EVERYONE, "--save", *more, *QUICK)
    assert_complete(third, everything)
    assert {row["FailedForGood"] for row in third.log} == {""}


def test_a_file_that_a_real_pacs_has_lost_is_asked_for_once_by_the_next_run(peers, hospital, tmp_path):
    wanted = [LOCALIZER, BRAIN]
    lost, *_ = of(hospital, LOCALIZER)
    folder = tmp_path / "pacs"
    with start_dcmqrscp(folder, hospital.files, peers) as pacs:
        content = lost.path.read_bytes()
        files = [path for path in (folder / "storage").rglob("*") if path.is_file()]
        (path,) = [path for path in files if path.read_bytes() == content]
        path.unlink()
        first, second = (run(pacs, tmp_path, wanted, "--save", "--resume", *QUICK) for _ in range(2))
    for done in (first, second):
        assert done.status == 1, done.stderr
        codes = {row["SeriesInstanceUID"]: row["FailedForGood"] for row in done.log if row["FailedForGood"]}
        assert codes == {lost.series_uid: "not_sent"}
    assert "asked for once" in second.stderr
    assert "asking again" not in second.stderr


def test_many_series_that_fail_for_good_do_not_stop_the_next_run(quirky, hospital, tmp_path):
    lost = of(hospital, BRAIN)
    others = [each for each in of(hospital, *EVERYONE) if each not in lost]
    pacs = quirky(lose=uids(lost))
    run(pacs, tmp_path, EVERYONE, "--save", "--max_failures", "3", *QUICK)
    # How many series a run that stops has learned of depends on what ran side by side.
    for _ in range(10):
        done = run(pacs, tmp_path, EVERYONE, "--save", "--resume", "--max_failures", "3", *QUICK)
        if "in a row" not in done.stderr:
            break
    assert_incomplete(done, others)
    assert "in a row" not in done.stderr
    known = {row["SeriesInstanceUID"] for row in done.log if row["FailedForGood"] == "not_sent"}
    assert known == {each.series_uid for each in lost}


@pytest.mark.parametrize(
    "quirks",
    [
        pytest.param({"move_status": A701}, id="out of resources"),
        pytest.param({"move_status": A702}, id="out of resources to send"),
        pytest.param({"break_after": 0}, id="cut off"),
        pytest.param({"drop": True}, id="lost on the way"),
    ],
)
def test_what_may_go_better_another_time_is_asked_for_again_as_often_by_the_next_run(
    quirky, hospital, tmp_path, quirks
):
    if "drop" in quirks:
        quirks = {"drop": uids(of(hospital, LOCALIZER)[:1])}
    pacs = quirky(**quirks)
    first = run(pacs, tmp_path, [LOCALIZER], "--save", *QUICK)
    requests = len(pacs.moves)
    second = run(pacs, tmp_path, [LOCALIZER], "--save", *QUICK)
    assert (first.status, second.status) == (1, 1)
    assert {row["FailedForGood"] for row in (*first.log, *second.log)} == {""}
    assert len(pacs.moves) == 2 * requests > 2


def test_a_move_that_fails_for_good_is_asked_for_once_by_the_next_run(quirky, hospital, tmp_path):
    lost, *_ = of(hospital, LOCALIZER)
    pacs = quirky(lose=(lost.sop_uid,))
    with RawScp(pacs.move_aet, pacs.move_port):
        run(pacs, tmp_path, [LOCALIZER], "--move", *QUICK)
        before = len(pacs.moves)
        again = run(pacs, tmp_path, [LOCALIZER], "--move", "--resume", *QUICK)
    assert len(pacs.moves) == before + 1
    assert [(row["FailedForGood"], row["FailedBy"]) for row in again.log] == [
        ("not_sent", f"C-MOVE to {pacs.move_aet}")
    ]


def test_what_failed_for_good_by_one_way_is_a_fresh_start_by_another(quirky, hospital, tmp_path):
    pacs = quirky(lose=uids(of(hospital, LOCALIZER)[:1]))
    run(pacs, tmp_path, EVERYONE, "--save", *QUICK)
    done = run(pacs, tmp_path, EVERYONE, "--save", "--resume", "--retrieve_method", "get", *QUICK)
    assert "asked for once" not in done.stderr
    assert {row["FailedBy"] for row in done.log if row["FailedForGood"]} == {"C-GET"}


# --- moves to another place --------------------------------------------------------------------------------------


def test_a_move_that_lost_an_object_is_not_complete(quirky, hospital, tmp_path):
    lost, *others = of(hospital, LOCALIZER)
    pacs = quirky(lose=(lost.sop_uid,))
    with RawScp(pacs.move_aet, pacs.move_port) as receiver:
        done = run(pacs, tmp_path, [LOCALIZER], "--move", *QUICK)
    assert_incomplete(done, [], "failed")
    assert {each.sop_uid for each in receiver.objects} == set(uids(others))


@pytest.mark.parametrize("counts", ["warning", "pending", "never"])
def test_a_move_is_done_once_whatever_of_its_counters_the_pacs_tells(quirky, hospital, tmp_path, counts):
    pacs = quirky(counts=counts)
    with RawScp(pacs.move_aet, pacs.move_port) as receiver:
        done = run(pacs, tmp_path, [LOCALIZER], "--move", *QUICK)
        again = run(pacs, tmp_path, [LOCALIZER], "--move", "--resume", *QUICK)
    assert (done.status, again.status) == (0, 0), done.stderr
    expected = uids(of(hospital, LOCALIZER))
    assert sorted(each.sop_uid for each in receiver.objects) == expected, "nothing is sent twice"
    assert [row["FilesMoved"] for row in done.log] == [str(len(expected))]


@pytest.mark.parametrize("counts", ["warning", "pending", "never"])
def test_a_move_that_failed_in_part_is_not_done_whatever_of_its_counters_the_pacs_tells(
    quirky, hospital, tmp_path, counts
):
    lost, *_ = of(hospital, LOCALIZER)
    pacs = quirky(lose=(lost.sop_uid,), counts=counts)
    with RawScp(pacs.move_aet, pacs.move_port):
        done = run(pacs, tmp_path, [LOCALIZER], "--move", *QUICK)
    assert_incomplete(done, [])


@pytest.mark.parametrize("method", ["move", "get"])
@pytest.mark.parametrize("counts", ["warning", "pending", "never"])
def test_what_came_is_complete_whatever_of_its_counters_the_pacs_tells(
    quirky, hospital, tmp_path, counts, method
):
    pacs = quirky(counts=counts)
    done = run(pacs, tmp_path, EVERYONE, "--save", "--retrieve_method", method, *QUICK)
    assert_complete(done, of(hospital, *EVERYONE))
    assert sorted(pacs.sent) == uids(of(hospital, *EVERYONE)), "nothing is sent twice"


def test_a_move_that_is_refused_for_the_moment_is_asked_again(quirky, hospital, tmp_path):
    pacs = quirky(move_status=A702, move_times=2)
    with RawScp(pacs.move_aet, pacs.move_port) as receiver:
        done = run(pacs, tmp_path, [LOCALIZER], "--move", *QUICK)
    assert done.status == 0, done.stderr
    assert sorted(each.sop_uid for each in receiver.objects) == uids(of(hospital, LOCALIZER))
