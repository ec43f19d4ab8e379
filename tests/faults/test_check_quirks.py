"""`--check` against a PACS that misbehaves: it names the quirk, asks for little, and later runs know."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest
from pacs.runs import MARK, processes, run, until
from pacs.servers import pacsifier_argv
from pacs.test_check import FINDS, GET, MOVES, Checked, check

from faults.quirk_pacs import QuirkPacs, Quirks, start_quirk_pacs
from faults.test_far_side import NO_LISTS, TOLD_APART

ASSOCIATIONS = "associations at a time"
REFUSED, NO_MATCHES = 0xA900, 0xA700


@pytest.fixture
def checked(quirky, tmp_path: Path):
    """A function that checks the quirk PACS with these quirks; the PACS, the check and the file it wrote."""

    def do(*options: object, consent: bool = True, files=None, **quirks: object):
        pacs = quirky(files, **quirks)
        pacs.write_config(tmp_path / "config.json")
        options = (*options, *(["--yes"] if consent else []))
        done = check(tmp_path, "--capabilities", tmp_path / "can.json", *options)
        written = tmp_path / "can.json"
        return pacs, done, json.loads(written.read_text()) if written.exists() else None

    return do


def only_warning(done: Checked, *names: str) -> None:
    assert done.status == 0, done.stdout
    assert done.named("FAILED") == set()
    assert done.warned - {"relational C-FIND"} == {*names}
    assert all(done.probes[name][2] for name in names)


def test_a_strict_pacs_passes_but_for_what_the_standard_lets_it_refuse(checked) -> None:
    pacs, done, written = checked()
    only_warning(done)
    assert done.outcome("relational C-FIND") == "warning"
    assert (written["relational"], written["uid_lists"], written["image_moves"]) == (False, True, True)
    assert len(pacs.sent) <= 25


def test_without_consent_the_pacs_is_never_asked_to_send(checked) -> None:
    pacs, done, _ = checked(consent=False)
    assert done.status == 0, done.stdout
    assert done.named("skipped") == {*MOVES}
    assert (pacs.moves, pacs.sent) == ([], [])
    assert done.outcome(GET) == "ok"


@pytest.mark.parametrize("consent", [False, True])
def test_a_pacs_without_c_get_is_remembered_as_that_and_asked_by_c_move(consent, checked) -> None:
    _, done, written = checked(consent=consent, no_get=True)
    only_warning(done, GET)
    assert "allow C-GET" in done.probes[GET][2]
    assert "only --retrieve_method get and auto need it" in done.probes[GET][2]
    assert (written["c_get"], written["retrieve_method"]) == (False, "move")
    assert done.stdout.splitlines()[-1].startswith("recommended: --retrieve_method move: ")


def test_a_pacs_that_sends_by_c_get_only_is_asked_that_way(checked) -> None:
    _, done, written = checked(undeclared="PACSIFIER")
    assert done.status == 1
    assert done.named("FAILED") == {MOVES[0]}
    assert (written["c_get"], written["retrieve_method"]) == (True, "get")
    assert "recommended: --retrieve_method get: images come by C-GET; C-MOVE brought nothing" in done.stdout


@pytest.mark.parametrize("no_lists", [each for each in NO_LISTS if each.id in TOLD_APART])
def test_a_pacs_that_does_not_take_lists_is_remembered_as_that(no_lists, checked, hospital, tmp_path) -> None:
    pacs, done, written = checked(**no_lists)
    only_warning(done, MOVES[1], MOVES[2])
    assert "lists of UIDs are not understood" in done.probes[MOVES[1]][1]
    assert "one series at a time" in done.probes[MOVES[1]][2]
    assert "quieter hour" not in done.stdout
    assert (written["uid_lists"], written["image_moves"]) == (False, False)
    asked = len(pacs.moves)
    rows = [{"PatientID": "00123", "Modality": "MR"}]
    saved = run(pacs, tmp_path / "later", rows, "--save", "--capabilities", tmp_path / "can.json")
    assert saved.status == 0, saved.stderr
    assert len(pacs.moves) > asked
    assert all("\\" not in move["keys"].get("SeriesInstanceUID", "") for move in pacs.moves[asked:])


def test_a_pacs_without_c_move_at_the_image_level_is_remembered_as_that(checked) -> None:
    _, done, written = checked(refused_move_levels=("IMAGE",))
    only_warning(done, MOVES[2])
    assert (written["uid_lists"], written["image_moves"]) == (True, False)


def test_what_failed_for_lack_of_resources_is_not_held_against_the_pacs(checked) -> None:
    _, done, written = checked(move_status=0xA702, move_after=1)
    assert done.outcome(MOVES[0]) == "ok"
    only_warning(done, MOVES[1], MOVES[2], GET)
    assert "quieter hour" in done.probes[MOVES[1]][2]
    assert (written["uid_lists"], written["image_moves"]) == (None, None)


@pytest.mark.parametrize("relational", ["refused", "answered", "everything"])
def test_a_relational_find_is_judged_by_its_answers(relational, checked) -> None:
    _, done, written = checked(relational=relational)
    assert done.status == 0, done.stdout
    assert written["relational"] is (relational == "answered")
    assert ("--yes" in done.probes["relational C-FIND"][2]) is (relational != "answered")


def test_an_archive_is_never_listed_though_no_key_restricts_anything(hospital, peers, tmp_path: Path) -> None:
    quirks = Quirks(synthetic_series=20_000, ignored_keys=("*",), relational="everything")
    with start_quirk_pacs(tmp_path / "pacs", hospital.files, peers, quirks) as pacs:
        assert isinstance(pacs, QuirkPacs)
        pacs.write_config(tmp_path / "config.json")
        done = check(tmp_path, "--yes")
        asked = len(pacs.finds())
    assert done.status == 0, done.stdout
    # The quirk PACS hears no C-CANCEL: what counts is how soon nobody listens any more.
    listed = int(done.probes["C-FIND, SERIES level"][1].split()[0])
    assert 100 <= listed < 2_000
    assert "other series" in done.probes["relational C-FIND"][1]
    assert asked < 15


def test_keys_that_are_ignored_are_told(checked) -> None:
    _, done, _ = checked(ignored_keys=("StudyDate", "PatientID"))
    only_warning(done, "C-FIND, STUDY level")
    assert "do not match what was asked" in done.probes["C-FIND, STUDY level"][1]


def test_keys_that_are_not_returned_are_told_and_written_down(checked) -> None:
    _, done, written = checked(omitted_keys=("NumberOfSeriesRelatedInstances", "ProtocolName"))
    only_warning(done, "returned keys")
    assert "ProtocolName" in done.probes["returned keys"][1]
    assert "NumberOfSeriesRelatedInstances" in done.probes["returned keys"][1]
    assert written["returned_keys"]["SERIES"]["NumberOfSeriesRelatedInstances"] is False
    assert done.outcome(MOVES[1]) == "ok"


def test_announced_numbers_that_are_wrong_are_told(checked) -> None:
    _, done, _ = checked(announced_offset=3)
    only_warning(done, "C-FIND, IMAGE level")
    assert "another number was announced" in done.probes["C-FIND, IMAGE level"][1]


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_a_level_that_is_refused_is_the_one_that_is_named(level, checked) -> None:
    _, done, _ = checked(refused_find_levels=(level,))
    assert done.status == 1
    assert done.named("FAILED") == {f"C-FIND, {level} level"}
    assert done.probes[f"C-FIND, {level} level"][2]
    if level != "IMAGE":
        assert done.named("skipped") >= {*FINDS[3:], *MOVES}


def test_a_pacs_that_is_silent_in_a_find_is_given_up(checked) -> None:
    _, done, _ = checked("--silence_timeout", "5", find_silence_s={"STUDY": 60})
    assert done.status == 1
    assert done.named("FAILED") == {"C-FIND, STUDY level"}
    assert "silent" in done.probes["C-FIND, STUDY level"][1]


def test_a_pacs_that_is_silent_in_a_move_is_given_up(checked) -> None:
    _, done, _ = checked("--silence_timeout", "5", move_silence_s=60)
    assert done.status == 1
    assert done.named("FAILED") == {MOVES[0]}
    assert "silent for 5 s" in done.probes[MOVES[0]][1]


@pytest.mark.parametrize("how", ["transient", "permanent", "abort", "wait"])
@pytest.mark.parametrize("most", [1, 3])
def test_the_number_of_associations_is_found_and_written_down(how, most, checked) -> None:
    pacs, done, written = checked(most_associations=most, over_limit=how, consent=False)
    assert done.status == 0, done.stdout
    assert done.probes[ASSOCIATIONS][1].startswith(f"{most}, no more")
    assert written["associations"] == most
    assert pacs.most_open <= most


def test_every_association_that_was_held_is_released(checked) -> None:
    pacs, done, written = checked(consent=False)
    assert done.probes[ASSOCIATIONS][1].startswith("4 or more")
    assert written["associations"] is None
    assert pacs.most_open == 4
    # Each C-FIND that held one was answered in full, and with one study.
    assert [(each["answers"], each["status"]) for each in pacs.finds("STUDY")[-4:]] == [(1, 0)] * 4


def test_a_check_that_is_ended_leaves_nothing(quirky, tmp_path: Path) -> None:
    pacs = quirky(find_silence_s={"STUDY": 60})
    mark = uuid.uuid4().hex
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        pacsifier_argv("--check", "-c", pacs.write_config(tmp_path / "config.json"), "-d", tmp_path / "out"),
        env={**os.environ, MARK: mark, "TMPDIR": str(tmp_path / "tmp")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: len(pacs.entries("association")) == 2, 60)
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (143, b"pacsifier: ended by SIGTERM\n")
    assert list((tmp_path / "tmp").iterdir()) == []
    until(lambda: processes(mark) == [], 5)


def test_an_unknown_destination_is_told_with_what_to_declare(checked) -> None:
    _, done, _ = checked(move_status=0xA801)
    assert done.status == 1
    assert done.named("FAILED") == {MOVES[0]}
    assert "0xA801" in done.probes[MOVES[0]][1]
    assert "declare the AE title" in done.probes[MOVES[0]][2]


def test_a_pacs_that_says_it_sent_and_did_not(checked, hospital) -> None:
    _, done, _ = checked(drop=tuple(hospital.by_sop))
    assert done.status == 1
    assert done.named("FAILED") == {MOVES[0]}
    assert "says that it sent" in done.probes[MOVES[0]][1]
    assert "stands for another machine" in done.probes[MOVES[0]][2]


def test_objects_nobody_asked_for_leave_nothing_behind(checked, hospital) -> None:
    extra = tuple(record.sop_uid for record in hospital.records[:3])
    _, done, _ = checked(extra=extra)
    assert done.outcome(MOVES[0]) == "ok"
    assert done.status == 0, done.stdout
