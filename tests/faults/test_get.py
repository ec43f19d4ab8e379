"""What a user could lose where the images come by C-GET: the faults of `test_far_side`, and those of its own."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from pacs.runs import Run, arguments, instance_paths, interrupt, left_over, port_is_free, processes, until
from pacs.servers import RLE, Hospital, Record, dcmtk_version, free_port

from faults.quirk_pacs import FOR_EVER, QuirkPacs, Quirks, altered, start_quirk_pacs
from faults.test_far_side import (
    BRAIN,
    C001,
    ECHO,
    EVERYONE,
    LOCALIZER,
    QUICK,
    assert_complete,
    assert_holds,
    assert_incomplete,
    of,
    saved,
    uids,
    unexpected,
)
from pacsifier.dcmtk import confinement
from pacsifier.demo import make_archive

AUTO = ("--retrieve_method", "auto")


def got(pacs: QuirkPacs, folder: Path, *rows, options=(), **config) -> Run:
    return saved(pacs, folder, *rows, options=("--retrieve_method", "get", *options), **config)


def told(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """What the index of a PACS says that tells in which transfer syntaxes it holds the images."""
    return {each.sop_uid: {"AvailableTransferSyntaxUID": each.transfer_syntax} for each in records}


def offers(pacs: QuirkPacs) -> set[str]:
    return {each["offers"] for each in pacs.entries("association")}


# --- all is well -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not confinement.is_possible(), reason="without Landlock getscu writes what it understood")
def test_everything_comes_byte_by_byte_and_no_port_is_opened(quirky, hospital: Hospital, tmp_path):
    """Several SOP classes in a study and compressed objects among them, by a PACS that converts nothing."""
    pacs = quirky()
    done = got(pacs, tmp_path, *EVERYONE, options=("-vv", "--associations", "3"))
    assert_complete(done, of(hospital, *EVERYONE))
    assert offers(pacs) == {"find", "get"}
    assert "starting storescp" not in done.stderr
    assert 1 < pacs.most_open <= 3
    assert all(len(asked["keys"]["StudyInstanceUID"].split("\\")) == 1 for asked in pacs.moves)


def test_a_port_that_another_program_uses_is_no_obstacle(quirky, hospital: Hospital, tmp_path):
    pacs = quirky()
    assert_complete(got(pacs, tmp_path, LOCALIZER, move_port=pacs.port), of(hospital, LOCALIZER))


def test_a_pacs_without_lists_of_uids_is_asked_one_by_one(quirky, hospital: Hospital, tmp_path):
    pacs = quirky(uid_lists="refused")
    rows = [{"PatientID": "00123", "SeriesNumber": number} for number in ("1", "2")]
    assert_complete(got(pacs, tmp_path, *rows), of(hospital, *rows))


# --- compressed objects ------------------------------------------------------------------------------------------


def test_what_the_pacs_says_it_holds_compressed_is_asked_for_so_at_once(quirky, hospital: Hospital, tmp_path):
    records = of(hospital, ECHO)
    pacs = quirky(index_says=told(records))
    done = got(pacs, tmp_path, ECHO)
    assert_complete(done, records)
    assert len(pacs.moves) == 1
    assert "compressed" not in done.stderr


def test_a_pacs_that_decompresses_is_told_of(quirky, hospital: Hospital, tmp_path):
    records = of(hospital, ECHO, LOCALIZER)
    done = got(quirky(decompresses=True, index_says=told(records)), tmp_path, ECHO, LOCALIZER)
    assert done.status == 0, done.stderr
    assert done.files.keys() == {each.sop_uid for each in records}
    reasons = {row["SeriesInstanceUID"]: row["Reason"] for row in done.log if row["Reason"]}
    assert reasons == {each.series_uid: "1 instance came decompressed" for each in of(hospital, ECHO)}
    assert "--retrieve_method move" in done.stderr


def test_a_pacs_that_does_not_tell_how_it_holds_the_images_may_have_decompressed_them(quirky, tmp_path):
    done = got(quirky(decompresses=True), tmp_path, ECHO)
    assert done.status == 0, done.stderr
    assert "does not tell" in done.stderr
    assert "--retrieve_method move" in done.stderr


def test_what_can_be_sent_in_no_syntax_that_is_proposed_is_named_and_not_waited_for(
    quirky, hospital: Hospital, tmp_path
):
    """getscu always proposes uncompressed syntaxes too, and such a PACS takes those, though it converts nothing."""
    records = of(hospital, ECHO, LOCALIZER)
    pacs = quirky(prefers_uncompressed=True)
    done = got(pacs, tmp_path, ECHO, LOCALIZER, options=("--retry_wait", "30"))
    plain = [each for each in records if each.transfer_syntax != RLE]
    assert_incomplete(done, plain, "in no transfer syntax that getscu proposes")
    assert len(pacs.moves) <= 14
    done = got(quirky(prefers_uncompressed=True, index_says=told(records)), tmp_path / "told", ECHO)
    assert_incomplete(done, [], f"it holds it in {RLE} (RLE Lossless)")
    assert "--retrieve_method move" in done.stderr


# --- refusals, failures, silence ---------------------------------------------------------------------------------


def test_a_pacs_that_does_not_offer_c_get_is_told_and_not_tried_again(quirky, tmp_path):
    pacs = quirky(no_get=True)
    done = got(pacs, tmp_path, LOCALIZER)
    assert done.status == 3, done.stderr
    assert "allow C-GET" in done.stderr
    assert [each["offers"] for each in pacs.entries("association")].count("get") == 1
    assert {row["Completed"] for row in done.log} == {"False"}


def test_an_association_that_is_refused_for_now_is_asked_for_again(quirky, hospital: Hospital, tmp_path):
    pacs = quirky(reject_first_moves=2)
    assert_complete(got(pacs, tmp_path, LOCALIZER), of(hospital, LOCALIZER))
    assert len(pacs.entries("rejected")) == 2


def test_requests_that_the_pacs_fails_end_the_run_before_long(quirky, tmp_path):
    pacs = quirky(make_archive(tmp_path / "archive", 1, 8, 1, 1, 8), move_status=C001)
    done = got(pacs, tmp_path, {"PatientID": "BENCH00001"}, options=("--max_failures", "2"))
    assert_incomplete(done, [], "0xC001", "C-GET")
    assert len(pacs.moves) <= 6


def test_objects_that_the_pacs_cannot_send_are_missing_and_come_by_resume(
    quirky, hospital: Hospital, tmp_path
):
    records = of(hospital, LOCALIZER)
    lost = uids(records)[:1]
    done = got(quirky(lose=tuple(lost), index_says=told(records)), tmp_path, LOCALIZER)
    assert_incomplete(done, [each for each in records if each.sop_uid not in lost], "sub-operation failed")
    pacs = quirky()
    assert_complete(got(pacs, tmp_path, LOCALIZER, options=("--resume",)), records)
    assert sorted(pacs.sent) == lost, "what was there was fetched again"


def test_a_sop_class_that_c_get_does_not_know_is_named(quirky, hospital: Hospital, tmp_path):
    first, second, *_ = of(hospital, LOCALIZER)
    private = altered(second.path, tmp_path / "private.dcm", SOPClassUID="1.3.12.2.1107.5.9.1")
    done = got(quirky([first.path, private], index_says=told([first, second])), tmp_path, LOCALIZER)
    assert_incomplete(done, [first], "sub-operation failed", "SOP class 1.3.12.2.1107.5.9.1")


def test_objects_that_are_counted_and_do_not_come_are_missing(quirky, hospital: Hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    done = got(quirky(drop=(records[0].sop_uid,)), tmp_path, LOCALIZER)
    assert_incomplete(done, records[1:], "of")


def test_a_silent_pacs_is_left(quirky, tmp_path):
    done = got(quirky(move_silence_s=FOR_EVER), tmp_path, LOCALIZER, options=("--silence_timeout", "0.5"))
    assert_incomplete(done, [], "0.5 s (--silence_timeout)")


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_a_cut_association_is_gone_on_with(quirky, hospital: Hospital, tmp_path, how):
    pacs = quirky(break_after=5, break_by=how, move_times=1)
    assert_complete(got(pacs, tmp_path, BRAIN), of(hospital, BRAIN))


def test_after_a_pacs_was_killed_only_what_is_missing_is_asked_for(peers, hospital: Hospital, tmp_path):
    with start_quirk_pacs(tmp_path / "pacs", hospital.files, peers, Quirks(die_after=8)) as pacs:
        done = got(pacs, tmp_path, BRAIN)
        assert done.status == 1, done.stderr
        assert 0 < len(done.files) < len(of(hospital, BRAIN))
        pacs.restart(Quirks(), hospital.files)
        assert_complete(got(pacs, tmp_path, BRAIN, options=("--resume",)), of(hospital, BRAIN))
        assert not set(pacs.sent) & set(done.files), "what was there was fetched again"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_ended_leaves_nothing_and_keeps_what_came(quirky, hospital, tmp_path, number):
    pacs = quirky(pace=4)
    args = arguments(pacs, tmp_path, [BRAIN], "--save", "--retrieve_method", "get", *QUICK)
    status, stderr, mark = interrupt(args, number, lambda: len(pacs.sent) > 2)
    assert status == 128 + number, stderr
    assert "--resume" in stderr
    until(lambda: not processes(mark), 5)
    assert left_over(tmp_path / "out", mark) == []
    sent = set(pacs.sent)
    kept = Run(tmp_path / "out", status, "", stderr, mark)
    assert len(kept.files) >= 2
    assert_holds(kept, [each for each in of(hospital, BRAIN) if each.sop_uid in kept.files])
    assert kept.files.keys() <= sent
    assert_complete(got(quirky(), tmp_path, BRAIN, options=("--resume",)), of(hospital, BRAIN))


# --- what getscu itself would lose or spoil ----------------------------------------------------------------------


def test_two_objects_of_one_study_that_share_a_uid_are_both_kept(quirky, hospital: Hospital, tmp_path):
    """getscu names its files by that UID, and so would overwrite the first."""
    first, *others = of(hospital, BRAIN)
    other = next(each for each in others if each.series_uid != first.series_uid)
    twin = altered(other.path, tmp_path / "twin.dcm", SOPInstanceUID=first.sop_uid)
    for _ in range(3):
        done = got(quirky([first.path, twin]), tmp_path, BRAIN, options=("--resume",))
        assert done.status == 0, done.stderr
        placed = sorted(path.read_bytes()[-64:] for path in done.out.glob("sub-*/ses-*/*/*"))
        assert placed == sorted(path.read_bytes()[-64:] for path in (first.path, other.path))


def test_no_file_that_a_pacs_names_is_written_to(quirky, hospital: Hospital, tmp_path):
    """getscu 3.6.7 takes an absolute path as SOP Instance UID for the file to write, 3.6.9 for no name."""
    first, second, *others = of(hospital, LOCALIZER)
    # A UID has 64 characters at most.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        mine, new = Path(folder) / "mine", Path(folder) / "new"
        mine.write_text("mine", encoding="ascii")
        says = {first.sop_uid: {"SOPInstanceUID": str(mine)}, second.sop_uid: {"SOPInstanceUID": str(new)}}
        done = got(quirky(header_says=says), tmp_path, LOCALIZER)
        assert list(Path(folder).iterdir()) == [mine]
        assert mine.read_text(encoding="ascii") == "mine"
    if dcmtk_version() >= (3, 6, 9):
        assert done.status == 0, done.stderr
        assert len(instance_paths(done.out)) == len(of(hospital, LOCALIZER))
    elif confinement.is_possible():
        assert done.status == 1, done.stderr
        assert set(done.files) <= {each.sop_uid for each in others}
    assert unexpected(done) == []


# --- auto --------------------------------------------------------------------------------------------------------


def test_auto_stays_with_c_move_where_that_works(quirky, hospital: Hospital, tmp_path):
    pacs = quirky()
    done = saved(pacs, tmp_path, LOCALIZER, options=AUTO)
    assert_complete(done, of(hospital, LOCALIZER))
    assert offers(pacs) == {"find", "move"}
    assert "C-GET" not in done.stderr


def test_auto_takes_c_get_where_the_destination_is_not_declared_and_says_so(quirky, hospital, tmp_path):
    pacs = quirky(undeclared="PACSIFIER")
    done = saved(pacs, tmp_path, LOCALIZER, options=AUTO)
    assert_complete(done, of(hospital, LOCALIZER))
    assert offers(pacs) == {"find", "move", "get"}
    assert "C-GET is used" in done.stderr
    assert "0xA801" in done.stderr


def test_auto_takes_c_get_where_nothing_reaches_the_port(quirky, hospital: Hospital, tmp_path):
    port = free_port()
    done = saved(quirky(), tmp_path, ECHO, options=AUTO, move_port=port)
    assert_complete(done, of(hospital, ECHO))
    assert "C-GET is used" in done.stderr
    assert port_is_free(port)


def test_auto_takes_c_get_where_objects_are_said_to_be_sent_and_none_comes(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    pacs = quirky(drop=tuple(uids(records)), object_times=1)
    done = saved(pacs, tmp_path, LOCALIZER, options=AUTO)
    assert_complete(done, records)
    assert "nothing reached port" in done.stderr


def test_auto_takes_c_get_where_the_port_cannot_be_opened(quirky, hospital: Hospital, tmp_path):
    pacs = quirky()
    done = saved(pacs, tmp_path, LOCALIZER, options=AUTO, move_port=pacs.port)
    assert_complete(done, of(hospital, LOCALIZER))
    assert offers(pacs) == {"find", "get"}
    assert "another program" in done.stderr


def test_auto_says_what_is_to_be_done_where_neither_works(quirky, tmp_path):
    done = saved(quirky(undeclared="PACSIFIER", no_get=True), tmp_path, LOCALIZER, options=AUTO)
    assert done.status == 3, done.stderr
    assert "have the AE title PACSIFIER declared" in done.stderr
    assert "allow C-GET" in done.stderr
